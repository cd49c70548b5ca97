// SPDX-License-Identifier: GPL-2.0
/*
 * turn.c: who waits for room is served, though others are faster.
 *
 * Freed room goes to whoever takes it first, which is never the one that has to be
 * woken for it. So a waiter that was woken and came too late says so when it parks
 * again; after a few times the next room is its alone: the hints name it, everybody
 * else keeps off, and it gives the turn back when it has what it wanted. Whose wait
 * began first comes first. (The same as the hand-off of mutexes and rw-semaphores.)
 *
 * Slots and buffers have a turn each: a producer that has a buffer and waits for a
 * slot would otherwise wait for one that has the turn and waits for its buffer.
 */
#include "internal.h"

#define SL_TURN_LOST	2	/* wake-ups in vain before it is */

static int sl_turn_kind(u16 what)
{
	switch (what & SLUICE_WAIT_ALL) {
	case SLUICE_WAIT_ROOM:
		return SL_TURN_ROOM;
	case SLUICE_WAIT_BUFFER:
		return SL_TURN_BUFFER;
	}
	return -1;	/* both, or something else: it takes what it gets */
}

static u32 *sl_turn_word(struct sl_stage *s, int kind)
{
	return kind == SL_TURN_ROOM ? &s->hints->room_turn : &s->hints->buffer_turn;
}

/** sl_turn_allows() - is what @w waits for not somebody else's? */
bool sl_turn_allows(struct sl_stage *s, const struct sl_waiter *w)
{
	int kind = sl_turn_kind(w->wait.what);
	u32 turn = kind < 0 ? 0 : READ_ONCE(*sl_turn_word(s, kind));

	return !turn || turn == w->ep->id;
}

/* The one that has waited longest of those that were woken in vain; nobody else knows yet. */
static void sl_turn_next(struct sl_stage *s, int kind)
{
	struct sl_endpoint *best = NULL;
	struct sl_waiter *w;

	lockdep_assert_held(&s->wait_lock);
	list_for_each_entry(w, &s->sleepers, list) {
		struct sl_endpoint *ep = w->ep;

		if (sl_turn_kind(w->wait.what) != kind || ep->lost[kind] < SL_TURN_LOST)
			continue;
		if (!best || time_before64(ep->waits_since[kind], best->waits_since[kind]))
			best = ep;
	}
	s->turn_since[kind] = get_jiffies_64();
	WRITE_ONCE(*sl_turn_word(s, kind), best ? best->id : 0);
	if (best)
		sl_tick_start(s);	/* which takes it away again if it is not used */
}

/** sl_turn_parked() - @w has just been put on the list */
void sl_turn_parked(struct sl_stage *s, struct sl_waiter *w)
{
	int kind = sl_turn_kind(w->wait.what);
	struct sl_endpoint *ep = w->ep;

	lockdep_assert_held(&s->wait_lock);
	if (kind < 0)
		return;
	if (w->wait.what & SLUICE_WAIT_AGAIN) {
		ep->lost[kind] += ep->lost[kind] < SL_TURN_LOST;
	} else {
		ep->lost[kind] = 0;
		ep->waits_since[kind] = get_jiffies_64();
	}
	if (!*sl_turn_word(s, kind))
		sl_turn_next(s, kind);
}

/* True when it was @ep's, so that others have to be woken. */
static bool sl_turn_take(struct sl_endpoint *ep, int kind)
{
	struct sl_stage *s = ep->stage;
	bool was;

	spin_lock(&s->wait_lock);
	ep->lost[kind] = 0;
	was = *sl_turn_word(s, kind) == ep->id;
	if (was)
		sl_turn_next(s, kind);
	spin_unlock(&s->wait_lock);
	return was;
}

/** sl_turn_end() - @ep has what it wanted, or wants it no more */
void sl_turn_end(struct sl_endpoint *ep)
{
	bool room = sl_turn_take(ep, SL_TURN_ROOM);
	bool buffer = sl_turn_take(ep, SL_TURN_BUFFER);

	smp_mb();	/* (C) */
	if (room || buffer)
		sl_wake(ep->stage, SLUICE_WAIT_ROOM | SLUICE_WAIT_BUFFER, 0);
}

/** sl_turn_tick() - who has the turn and does not use it loses it */
void sl_turn_tick(struct sl_stage *s)
{
	u64 limit = nsecs_to_jiffies64(s->write_timeout_ns);
	bool ended = false;
	int kind;

	spin_lock(&s->wait_lock);
	for (kind = 0; kind < SL_TURNS; kind++) {
		if (!*sl_turn_word(s, kind) ||
		    time_before64(get_jiffies_64(), s->turn_since[kind] + limit))
			continue;
		WRITE_ONCE(*sl_turn_word(s, kind), 0);
		ended = true;
	}
	spin_unlock(&s->wait_lock);
	smp_mb();	/* (C) */
	if (ended)
		sl_wake(s, SLUICE_WAIT_ROOM | SLUICE_WAIT_BUFFER, 0);
}
