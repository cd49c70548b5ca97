// SPDX-License-Identifier: MIT
/*
 * broadcast.c: stages whose messages everybody gets.
 *
 * A producer copies the bits of the consumers there are (the hints say so) into the mask of its
 * slot, between reserve and publish; a consumer clears its own by the ACK. The rules are in slot.h
 * and in broadcast.c of the module. A walk never goes back: nothing behind the cursor becomes ours.
 */
#include "internal.h"

static u64 recipients(const struct sluice_ep *ep)
{
	return sl_load(&ep->hints->recipients);
}

/*
 * Not put out? Asked after the mask: who is, loses its bits one after the other, and must not be
 * given what comes after a message that it has lost.
 */
static bool member(const struct sluice_ep *ep)
{
	sl_fence_acquire();
	return recipients(ep) & ep->recipient;
}

/* -------------------------------------------------------------- produce --- */

/*
 * After reserve, whose compare-and-swap orders the look behind it: who joins later begins after
 * this ticket. Return: 0, -ENOTCONN (nobody is there, P23).
 */
int __sluice_broadcast_address(struct sluice_ep *ep, struct sluice_slot *slot)
{
	u64 mask = recipients(ep);

	if (!mask)
		return -ENOTCONN;
	/* Added, not stored: the kernel does the same for somebody who joins now. */
	if (!mask_set(&slot->target, mask))
		return -EBUSY;
	ep->addressed |= mask;
	return 0;
}

/* After publish and (C): who went meanwhile can no longer acknowledge what it was sent (P22). */
void __sluice_broadcast_look(struct sluice_ep *ep)
{
	u64 gone = ep->addressed & ~recipients(ep);

	ep->addressed = 0;
	if (unlikely(gone))
		__sluice_kick(ep, SLUICE_KICK_GONE);
}

/* -------------------------------------------------------------- consume --- */

/* The slot at the cursor has nonsense in it, for everybody: there is nothing to hand out. */
static struct sluice_msg nothing_at(const struct sluice_ep *ep, u64 word)
{
	return (struct sluice_msg) {
		.buffer = SLUICE_NO_BUFFER,
		.ticket = ep->ticket,
		.token = word,
	};
}

/* A READY message at the cursor that is ours: 0, or -EAGAIN when it was not to be read. */
static int take(struct sluice_ep *ep, struct sluice_slot *slot, u64 word, struct sluice_msg *msg)
{
	bool good = __sluice_read_slot(ep, slot, word, msg);

	if (unlikely(!good))
		*msg = nothing_at(ep, word);
	ep->ticket = ticket_add(ep->ticket, 1, ep->order);
	__builtin_prefetch(slot_at(ep, ep->ticket));
	if (unlikely(!good)) {
		if (__sluice_broadcast_ack(ep, msg))
			__sluice_look_after_ack(ep, true);
		return -EAGAIN;
	}
	msg->attempt = 1;
	count(&ep->count->messages, 1);
	count(&ep->count->bytes, msg->len);
	return 0;
}

/* Older than what it joined at: its bit is in the mask by a race, and nobody else clears it. */
static void pass_early(struct sluice_ep *ep, struct sluice_slot *slot, u64 word)
{
	struct sluice_msg msg;

	if (!__sluice_read_slot(ep, slot, word, &msg))
		msg = nothing_at(ep, word);
	ep->ticket = ticket_add(ep->ticket, 1, ep->order);
	if (__sluice_broadcast_ack(ep, &msg))
		__sluice_look_after_ack(ep, msg.flags & SLUICE_MSG_TELL);
}

static bool put_out(const struct sluice_ep *ep)
{
	return !(recipients(ep) & ep->recipient);
}

/* Not ours: its bit is not set, or it is older than what we joined at. */
static bool pass(struct sluice_ep *ep, struct sluice_slot *slot, u64 word)
{
	if (!(sl_load(&slot->target) & ep->recipient)) {
		sl_fence_acquire();	/* the mask before who there is */
		ep->ticket = ticket_add(ep->ticket, 1, ep->order);
		return true;
	}
	if (likely(!ep->early))
		return false;
	ep->early = ticket_diff(ep->ticket, ep->start, ep->order) < 0;
	if (ep->early)
		pass_early(ep, slot, word);
	return ep->early;
}

/*
 * As the walk of claim.c. -ENOTCONN: put out for being slow. What was passed may have been ours
 * until then, and a producer that had looked before may address us for some time: that is behind a gap.
 */
int __sluice_broadcast_walk(struct sluice_ep *ep, struct sluice_msg *msg)
{
	u32 steps = 4 * ep->nslots;
	bool passed = false;

	ep->generation = __atomic_load_n(&ep->hints->generation, __ATOMIC_ACQUIRE);
	if (unlikely(put_out(ep)))
		return -ENOTCONN;
	while (steps--) {
		struct sluice_slot *slot = slot_at(ep, ep->ticket);
		u64 word = sl_load_acquire(&slot->word);

		switch (slot_look(word, ticket_lap(ep->ticket, ep->order))) {
		case LOOK_WAIT:
			return -EAGAIN;
		case LOOK_CLAIM:
			if (pass(ep, slot, word)) {
				passed = true;
				break;
			}
			if (unlikely(passed) && put_out(ep))
				return -ENOTCONN;
			if (!msg)
				return 0;
			if (!take(ep, slot, word, msg))
				return 0;
			break;
		case LOOK_PASS:
			ep->ticket = ticket_skip(ep->ticket, word, 2, ep->order);
			passed = true;
			break;
		}
	}
	return -EAGAIN;
}

bool __sluice_broadcast_holds(struct sluice_ep *ep, const struct sluice_msg *msg)
{
	struct sluice_slot *slot = slot_at(ep, msg->ticket);

	return slot_owes(&slot->word, &slot->target, msg->token, ep->recipient) && member(ep);
}

/* The last one frees the slot, then its buffer (P17). */
bool __sluice_broadcast_ack(struct sluice_ep *ep, const struct sluice_msg *msg)
{
	struct sluice_slot *slot = slot_at(ep, msg->ticket);
	bool last;

	if (slot_broadcast_ack(&slot->word, &slot->target, msg->token, ep->recipient, &last) !=
	    SLOT_OK)
		return false;
	if (last && msg->buffer < ep->nbufs)
		buf_free_sent(buffer_word(ep, msg->buffer), msg->ticket);
	return true;
}
