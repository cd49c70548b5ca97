// SPDX-License-Identifier: MIT
/*
 * backlog.c: what is under way in a ring, as the words of its slots say.
 *
 * The words are the truth, the tail is a hint (P4). Others can write both, so each walk is bounded
 * by the ring; nonsense makes a wrong number, for whoever shares the stage with who wrote it (P35).
 */
#include "internal.h"

/* A newer ticket has the slot, or may have it: acknowledged, buried or discarded. */
bool __sluice_over(const struct sluice_ep *ep, u64 ticket)
{
	u64 word = sl_load_acquire(&slot_at(ep, ticket)->word);

	return lap_diff(slot_lap(word), ticket_lap(ticket, ep->order)) > 0;
}

/* The first ticket that was not given out yet. A hint may lag, but never leads. */
u64 __sluice_tail(const struct sluice_ep *ep)
{
	u64 t = sl_load(&ep->control->tail) & ticket_mask(ep->order);
	u32 steps = 4 * ep->nslots;

	if (ep->role == SLUICE_PRODUCER && ticket_diff(ep->ticket, t, ep->order) > 0)
		t = ep->ticket;
	while (steps--) {
		u64 word = sl_load_acquire(&slot_at(ep, t)->word);

		if (slot_room(word, ticket_lap(t, ep->order)) != ROOM_USED)
			break;
		t = ticket_skip(t, word, 1, ep->order);
	}
	return t;
}

static bool under_way(const struct sluice_ep *ep, u64 ticket)
{
	u64 word = sl_load_acquire(&slot_at(ep, ticket)->word);

	return slot_lap(word) == ticket_lap(ticket, ep->order) && slot_state(word) != SLOT_FREE;
}

/*
 * How many tickets from *@first, which moves on to the first of them, to @tail are under way.
 * What is a lap older than @tail is over: its slot has been given out again.
 */
u64 __sluice_unfinished(const struct sluice_ep *ep, u64 *first, u64 tail)
{
	u64 oldest = ticket_add(tail, -(long long)ep->nslots, ep->order), t, n = 0;

	if (ticket_diff(*first, oldest, ep->order) < 0 || ticket_diff(*first, tail, ep->order) > 0)
		*first = oldest;
	while (*first != tail && !under_way(ep, *first))
		*first = ticket_add(*first, 1, ep->order);
	for (t = *first; t != tail; t = ticket_add(t, 1, ep->order))
		n += under_way(ep, t);
	return n;
}
