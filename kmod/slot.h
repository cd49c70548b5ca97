/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * slot.h: the whole protocol of a ring, as pure changes of one 64-bit word.
 *
 *  63       28 27        12 11     4 3    0
 *  [ lap (36) | owner (16) | attempt | state ]     ticket t = lap * nslots + index
 *
 *  FREE(t)      --producer p reserves-->    WRITING(t,p)
 *  WRITING(t,p) --publish-->                READY(t)
 *  WRITING(t,p) --discard, or p dies-->     FREE(t+N)
 *  FREE(t)      --sole producer publishes-> READY(t)
 *  READY(t)     --consumer c claims-->      CLAIMED(t,c,a+1)
 *  CLAIMED      --ack by the same token-->  FREE(t+N)
 *  CLAIMED      --retry (kernel only)-->    READY(t,a), or DEAD(t,a)
 *  DEAD(t)      --bury (kernel only)-->     FREE(t+N)
 *
 * In a broadcast nobody claims; a mask beside the word says who has not acknowledged:
 *
 *  WRITING(t,p) --address: bits into the mask, then publish-->  READY(t)
 *  READY(t)     --ack of one of several bits-->                 READY(t)
 *  READY(t)     --ack of the last bit-->                        FREE(t+N)
 *  READY(t)     --no bit of a living one (kernel only)-->       FREE(t+N)
 *
 * Compiled into the module, the library and the model checker. It includes only
 * <slot_env.h>, which each of the three supplies: u64/u32/bool, sl_load(),
 * sl_load_acquire(), sl_store_release(), sl_cas() (full barrier, true when it
 * changed the word), sl_fence() (full), sl_fence_acquire(), SL_ASSERT().
 *
 * Fences. A letter here is repeated where the code stands.
 *
 *   producer                               consumer
 *   --------                               --------
 *   write payload and slot                 claim: READY -> CLAIMED        (B)
 *   publish: WRITING -> READY       (A)    read payload and slot
 *   full fence                      (C)    word still my token?           (E)
 *   look for sleepers; kick                publish what was derived
 *                                          ack: CLAIMED -> FREE           (F)
 *   park (kernel): put me on the list      full fence                     (C)
 *   full fence                      (D)    look for sleepers; kick
 *   look at the word; sleep
 *
 * (A) pairs with (B): release and acquire. Without them a consumer reads a
 *     payload that is not there yet.
 * (C) pairs with (D): store-load on both sides. Without either, the word and the
 *     sleeper count can both be seen old, and somebody sleeps for ever. The
 *     (C) of a sole producer is the parking kernel's to pass: fence.c.
 * (E) acquire before the check. Without it a late consumer publishes a result
 *     computed from a payload that has already been overwritten (rule P12).
 * (F) pairs with the reserve of the next lap: full barrier. Without it the next
 *     producer's stores may be overtaken by this consumer's reads.
 */
#ifndef SLUICE_SLOT_H
#define SLUICE_SLOT_H

#include <slot_env.h>

enum slot_state {
	SLOT_FREE	= 0,	/* nobody's; who reserves its ticket first owns it */
	SLOT_WRITING	= 1,	/* the producer's, until publish, discard or its death */
	SLOT_READY	= 2,	/* nobody's; who claims it first owns it */
	SLOT_CLAIMED	= 3,	/* the consumer's, until ack, nack, timeout or its death */
	SLOT_DEAD	= 4,	/* the kernel's, until it is buried */
};

#define SLOT_LAP_BITS		36
#define SLOT_LAP_MASK		((1ull << SLOT_LAP_BITS) - 1)
#define SLOT_LAP_SHIFT		28
#define SLOT_OWNER_SHIFT	12
#define SLOT_OWNER_MASK		0xffffull
#define SLOT_ATTEMPT_SHIFT	4
#define SLOT_ATTEMPT_MASK	0xffull
#define SLOT_STATE_MASK		0xfull

/* The kernel's own id: messages it publishes, claims it keeps back for a delay. */
#define SLOT_OWNER_KERNEL	0xffffu
/* A word with so many attempts is never READY again: the fence may not repeat (P2). */
#define SLOT_ATTEMPT_LAST	255u

static inline u64 slot_word(u64 lap, u32 owner, u32 attempt, enum slot_state state)
{
	return (lap & SLOT_LAP_MASK) << SLOT_LAP_SHIFT |
	       (u64)(owner & SLOT_OWNER_MASK) << SLOT_OWNER_SHIFT |
	       (u64)(attempt & SLOT_ATTEMPT_MASK) << SLOT_ATTEMPT_SHIFT | state;
}

static inline u64 slot_lap(u64 w)
{
	return w >> SLOT_LAP_SHIFT;
}

static inline u32 slot_owner(u64 w)
{
	return (u32)(w >> SLOT_OWNER_SHIFT & SLOT_OWNER_MASK);
}

static inline u32 slot_attempt(u64 w)
{
	return (u32)(w >> SLOT_ATTEMPT_SHIFT & SLOT_ATTEMPT_MASK);
}

static inline enum slot_state slot_state(u64 w)
{
	return (enum slot_state)(w & SLOT_STATE_MASK);
}

static inline u64 slot_free(u64 lap)
{
	return slot_word(lap, 0, 0, SLOT_FREE);
}

/* ------------------------------------------------------------- tickets --- */

/* nslots = 1 << order. Tickets have 36 + order bits and are compared modulo that (P1). */

static inline u64 ticket_mask(u32 order)
{
	return (1ull << (SLOT_LAP_BITS + order)) - 1;
}

static inline u32 ticket_index(u64 t, u32 order)
{
	return (u32)(t & ((1ull << order) - 1));
}

static inline u64 ticket_lap(u64 t, u32 order)
{
	return t >> order & SLOT_LAP_MASK;
}

static inline u64 ticket_of(u64 lap, u32 index, u32 order)
{
	return (lap & SLOT_LAP_MASK) << order | index;
}

static inline u64 ticket_add(u64 t, long long n, u32 order)
{
	return (t + (u64)n) & ticket_mask(order);
}

/* a - b, signed: negative when @a is the older ticket */
static inline long long ticket_diff(u64 a, u64 b, u32 order)
{
	u32 unused = 64 - SLOT_LAP_BITS - order;

	return (long long)((a - b) << unused) >> unused;
}

/* The same for laps: negative when the word's lap @a is older than @b. */
static inline long long lap_diff(u64 a, u64 b)
{
	return (long long)((a - b) << SLOT_LAP_SHIFT) >> SLOT_LAP_SHIFT;
}

/*
 * How far a walk may go on from a slot that holds ticket u, at least @laps laps newer than
 * the ticket @t that was looked for. Ticket u exists only since u - N is over, and u - N was
 * given out only after every older ticket was (rule P4). So what is older than u - N was
 * given out (a producer may go on there), and what is older than u - 2N is over (a consumer
 * may). Without this a consumer that was busy for a while would walk every ticket it missed.
 */
static inline u64 ticket_skip(u64 t, u64 word, int laps, u32 order)
{
	long long newer = lap_diff(slot_lap(word), ticket_lap(t, order)) - laps;

	return ticket_add(t, newer > 0 ? newer << order : 1, order);
}

/* ---------------------------------------------------- what a word means --- */

/* Not of our making: no transition leads to it, so none would lead on from it. */
static inline bool slot_forged(u64 w)
{
	return slot_state(w) > SLOT_DEAD || (slot_state(w) == SLOT_WRITING && slot_attempt(w));
}

/* To a consumer whose cursor is at lap @lap of this slot (P7). */
enum slot_look {
	LOOK_WAIT,	/* nothing here yet; do not pass */
	LOOK_CLAIM,	/* READY: try to claim it */
	LOOK_PASS,	/* somebody else's, or over: go on to the next ticket */
};

static inline enum slot_look slot_look(u64 w, u64 lap)
{
	long long d = lap_diff(slot_lap(w), lap);

	if (d > 0)
		return LOOK_PASS;
	if (d < 0)
		return LOOK_WAIT;
	switch (slot_state(w)) {
	case SLOT_FREE:
	case SLOT_WRITING:
		return LOOK_WAIT;
	case SLOT_READY:
		/* forged, if its attempts are used up: nobody could claim it (P2) */
		return slot_attempt(w) < SLOT_ATTEMPT_LAST ? LOOK_CLAIM : LOOK_PASS;
	case SLOT_CLAIMED:
	case SLOT_DEAD:
		return LOOK_PASS;
	}
	return LOOK_PASS;	/* no state of ours: the reaper repairs it, nobody waits for it */
}

/* To a producer that would like the ticket at lap @lap of this slot (P4). */
enum slot_room {
	ROOM_FREE,	/* reserve it */
	ROOM_USED,	/* the ticket is gone: help the tail forward, try the next */
	ROOM_FULL,	/* an older ticket's still, or forged: nobody spins on that */
};

static inline enum slot_room slot_room(u64 w, u64 lap)
{
	long long d = lap_diff(slot_lap(w), lap);

	if (d > 0 || (d == 0 && slot_state(w) != SLOT_FREE))
		return ROOM_USED;
	return w == slot_free(lap) ? ROOM_FREE : ROOM_FULL;
}

/* ---------------------------------------------------------- transitions --- */

/*
 * Each looks at the word once, decides over all states, and changes it with at
 * most one compare-and-swap, so it can be killed before or after, never between.
 */

enum slot_result {
	SLOT_OK,	/* changed */
	SLOT_LOST,	/* somebody was faster, or it is not in the state for this: look again */
	SLOT_STALE,	/* no longer the caller's */
};

static inline enum slot_result slot_reserve(u64 *word, u64 lap, u32 owner)
{
	return sl_cas(word, slot_free(lap), slot_word(lap, owner, 0, SLOT_WRITING)) ?
	       SLOT_OK : SLOT_LOST;
}

/* (A). Compare-and-swap, since the kernel may have put an endpoint out for being late. */
static inline enum slot_result slot_publish(u64 *word, u64 lap, u32 owner)
{
	return sl_cas(word, slot_word(lap, owner, 0, SLOT_WRITING),
		      slot_word(lap, 0, 0, SLOT_READY)) ? SLOT_OK : SLOT_STALE;
}

/*
 * (A) for a sole producer (P19, P20): the caller has seen FREE(lap) with acquire,
 * has written the slot and is the only one who may change a FREE word.
 */
static inline void slot_publish_sole(u64 *word, u64 lap)
{
	sl_store_release(word, slot_word(lap, 0, 0, SLOT_READY));
}

static inline enum slot_result slot_discard(u64 *word, u64 lap, u32 owner)
{
	return sl_cas(word, slot_word(lap, owner, 0, SLOT_WRITING), slot_free(lap + 1)) ?
	       SLOT_OK : SLOT_STALE;
}

/* (B). On SLOT_OK *@token is the word as the claim left it: the fence of the ACK. */
static inline enum slot_result slot_claim(u64 *word, u64 lap, u32 owner, u64 *token)
{
	u64 w = sl_load_acquire(word);

	if (slot_look(w, lap) != LOOK_CLAIM)
		return SLOT_LOST;
	*token = slot_word(lap, owner, slot_attempt(w) + 1, SLOT_CLAIMED);
	return sl_cas(word, w, *token) ? SLOT_OK : SLOT_LOST;
}

/* (E). After the last read of the message, before anything derived from it is published. */
static inline bool slot_holds(const u64 *word, u64 token)
{
	sl_fence_acquire();
	return sl_load(word) == token;
}

/* (F). */
static inline enum slot_result slot_ack(u64 *word, u64 token)
{
	return sl_cas(word, token, slot_free(slot_lap(token) + 1)) ? SLOT_OK : SLOT_STALE;
}

/* The rest is the kernel's alone (P13). */

/* A claim back to READY; the attempt stays, so that the next claim's token is new (P2). */
static inline enum slot_result slot_retry(u64 *word, u64 token)
{
	if (slot_state(token) != SLOT_CLAIMED || slot_attempt(token) >= SLOT_ATTEMPT_LAST)
		return SLOT_STALE;
	return sl_cas(word, token, slot_word(slot_lap(token), 0, slot_attempt(token),
					     SLOT_READY)) ? SLOT_OK : SLOT_STALE;
}

/* A claim taken over by the kernel, to be retried later. */
static inline enum slot_result slot_defer(u64 *word, u64 token)
{
	if (slot_state(token) != SLOT_CLAIMED)
		return SLOT_STALE;
	return sl_cas(word, token, slot_word(slot_lap(token), SLOT_OWNER_KERNEL,
					     slot_attempt(token), SLOT_CLAIMED)) ?
	       SLOT_OK : SLOT_STALE;
}

static inline enum slot_result slot_kill(u64 *word, u64 token)
{
	if (slot_state(token) != SLOT_CLAIMED)
		return SLOT_STALE;
	return sl_cas(word, token, slot_word(slot_lap(token), 0, slot_attempt(token),
					     SLOT_DEAD)) ? SLOT_OK : SLOT_STALE;
}

static inline enum slot_result slot_bury(u64 *word, u64 w)
{
	if (slot_state(w) != SLOT_DEAD)
		return SLOT_STALE;
	return sl_cas(word, w, slot_free(slot_lap(w) + 1)) ? SLOT_OK : SLOT_STALE;
}

/* ------------------------------------------------------------ broadcast --- */

/*
 * The word stays READY until nobody owes an ACK. A bit is set by the producer before it publishes,
 * or by the kernel when somebody joins; it is cleared by its consumer or, when that is gone, by the
 * kernel, once; and it is no newcomer's before the old one's mapping is gone (P21). Who clears the
 * last one frees the slot. Who dies between the two leaves READY with an empty mask, which the
 * kernel frees (P22). So a mask belongs to the ticket in the word for as long as it is not empty.
 */
#define SLOT_MASK_TRIES	128u	/* each lost one is somebody else's ACK or arrival: 64 of each */

static inline bool mask_set(u64 *mask, u64 bits)
{
	u32 tries;

	for (tries = 0; tries < SLOT_MASK_TRIES; tries++) {
		u64 owed = sl_load(mask);

		if (sl_cas(mask, owed, owed | bits))
			return true;
	}
	return false;
}

static inline bool mask_clear(u64 *mask, u64 bits)
{
	u32 tries;

	for (tries = 0; tries < SLOT_MASK_TRIES; tries++) {
		u64 owed = sl_load(mask);

		if (!(owed & bits) || sl_cas(mask, owed, owed & ~bits))
			return true;
	}
	return false;
}

/* (E) of a broadcast: is the message the one of @token, a READY word, and does @bit owe it? */
static inline bool slot_owes(const u64 *word, const u64 *mask, u64 token, u64 bit)
{
	sl_fence_acquire();
	if (!(sl_load(mask) & bit))
		return false;
	sl_fence_acquire();	/* the mask was this ticket's if the word still is */
	return sl_load(word) == token;
}

/* Nobody owes anything any more: free it. */
static inline enum slot_result slot_broadcast_free(u64 *word, u64 token)
{
	if (slot_state(token) != SLOT_READY)
		return SLOT_STALE;
	return sl_cas(word, token, slot_free(slot_lap(token) + 1)) ? SLOT_OK : SLOT_STALE;
}

/*
 * (F) of a broadcast. *@last: the slot is free now, and its buffer is the caller's to free.
 * SLOT_LOST only if somebody changes the mask for fun.
 */
static inline enum slot_result slot_broadcast_ack(u64 *word, u64 *mask, u64 token, u64 bit,
						  bool *last)
{
	u32 tries;

	*last = false;
	for (tries = 0; tries < SLOT_MASK_TRIES; tries++) {
		u64 owed = sl_load(mask);

		if (!(owed & bit) || sl_load(word) != token)
			return SLOT_STALE;
		if (!sl_cas(mask, owed, owed & ~bit))
			continue;
		if (owed == bit)
			*last = slot_broadcast_free(word, token) == SLOT_OK;
		return SLOT_OK;
	}
	return SLOT_LOST;
}

/* ---------------------------------------------------------- buffer words --- */

/*
 *  FREE --take--> HELD(endpoint) --send--> SENT(ticket) --who freed the slot--> FREE
 *                 HELD --queue--> QUEUED (the kernel's) --send--> SENT(ticket)
 *                 HELD --drop, or the holder dies--> FREE
 *
 * A buffer is SENT before its ticket is published and freed after its slot (P17),
 * so a word that says SENT(t) with a slot newer than t is a leftover of somebody
 * who died between the two, and the reaper frees it (P18).
 */
enum buf_state {
	BUF_FREE	= 0,
	BUF_HELD	= 1,	/* the endpoint's that took it */
	BUF_QUEUED	= 2,	/* the kernel's: its message waits for room */
	BUF_SENT	= 3,	/* goes with the ticket's slot */
};

static inline u64 buf_word(u64 who, enum buf_state state)
{
	return who << 2 | state;
}

static inline enum buf_state buf_state(u64 w)
{
	return (enum buf_state)(w & 3);
}

/* the endpoint of HELD, the ticket of SENT */
static inline u64 buf_who(u64 w)
{
	return w >> 2;
}

static inline enum slot_result buf_take(u64 *word, u32 owner)
{
	if (sl_load(word) != buf_word(0, BUF_FREE))
		return SLOT_LOST;
	return sl_cas(word, buf_word(0, BUF_FREE), buf_word(owner, BUF_HELD)) ?
	       SLOT_OK : SLOT_LOST;
}

static inline enum slot_result buf_drop(u64 *word, u32 owner)
{
	return sl_cas(word, buf_word(owner, BUF_HELD), buf_word(0, BUF_FREE)) ?
	       SLOT_OK : SLOT_STALE;
}

static inline enum slot_result buf_send(u64 *word, u32 owner, u64 ticket)
{
	return sl_cas(word, buf_word(owner, BUF_HELD), buf_word(ticket, BUF_SENT)) ?
	       SLOT_OK : SLOT_STALE;
}

/* The ticket was discarded after buf_send(): the buffer is the holder's again. */
static inline enum slot_result buf_unsend(u64 *word, u32 owner, u64 ticket)
{
	return sl_cas(word, buf_word(ticket, BUF_SENT), buf_word(owner, BUF_HELD)) ?
	       SLOT_OK : SLOT_STALE;
}

/* By whoever freed the slot of @ticket, afterwards. */
static inline enum slot_result buf_free_sent(u64 *word, u64 ticket)
{
	return sl_cas(word, buf_word(ticket, BUF_SENT), buf_word(0, BUF_FREE)) ?
	       SLOT_OK : SLOT_STALE;
}

/* The kernel's queue. */
static inline enum slot_result buf_queue(u64 *word, u32 owner)
{
	return sl_cas(word, buf_word(owner, BUF_HELD), buf_word(0, BUF_QUEUED)) ?
	       SLOT_OK : SLOT_STALE;
}

static inline enum slot_result buf_send_queued(u64 *word, u64 ticket)
{
	return sl_cas(word, buf_word(0, BUF_QUEUED), buf_word(ticket, BUF_SENT)) ?
	       SLOT_OK : SLOT_STALE;
}

#endif /* SLUICE_SLOT_H */
