// SPDX-License-Identifier: MIT
/*
 * peek.c: messages that are looked at and left where they are.
 *
 * From publish to the word that frees it a slot does not change, nor does its buffer (P17: freed
 * after the slot). So a copy between two looks at the word is whole if both show the same ticket
 * published, whoever claims the message meanwhile: the idea of a seqlock.
 */
#include <string.h>

#include <sluice/peek.h>

#include "internal.h"

static bool published(u64 word, u64 lap)
{
	enum slot_state state = slot_state(word);

	return slot_lap(word) == lap &&
	       (state == SLOT_READY || state == SLOT_CLAIMED || state == SLOT_DEAD);
}

/* As read_slot() of claim.c: anybody may have written nonsense, nothing outside is read. */
static bool copy_out(const struct sluice_ep *ep, const struct sluice_slot *slot, u64 word,
		     struct sluice_msg *msg, void *copy, size_t size)
{
	u32 len = __atomic_load_n(&slot->len, __ATOMIC_RELAXED);
	u32 buf = __atomic_load_n(&slot->buf, __ATOMIC_RELAXED);
	const void *data = slot->data;

	if (buf == SLUICE_NO_BUFFER ? len > SLUICE_INLINE_MAX :
				      buf >= ep->nbufs || len > ep->bufsize)
		return false;
	if (buf != SLUICE_NO_BUFFER)
		data = ep->payload + (size_t)buf * ep->bufsize;
	memcpy(copy, data, len < size ? len : size);
	*msg = (struct sluice_msg){
		.stream = sl_load(&slot->stream), .counter = sl_load(&slot->counter),
		.data = copy, .len = len, .time = sl_load(&slot->time),
		.kind = __atomic_load_n(&slot->kind, __ATOMIC_RELAXED),
		.flags = __atomic_load_n(&slot->flags, __ATOMIC_RELAXED),
		.buffer = SLUICE_NO_BUFFER, .ticket = ep->ticket, .attempt = slot_attempt(word),
	};
	/* Everything above was read before the word is looked at again. */
	sl_fence_acquire();
	return published(sl_load_acquire(&slot->word), ticket_lap(ep->ticket, ep->order));
}

/* Whoever else sleeps for messages was perhaps not woken, since we were (P8). */
static void pass_on(struct sluice_ep *ep)
{
	sl_fence();
	if (hint(&ep->hints->ready_sleepers))
		__sluice_kick(ep, SLUICE_KICK_READY);
}

int sluice_peek(struct sluice_ep *ep, struct sluice_msg *msg, void *copy, size_t size)
{
	u32 steps = 4 * ep->nslots;

	if (ep->role != SLUICE_CONSUMER)
		return __sluice_err(-EINVAL, "stage '%s': a producer cannot peek", ep->name);
	/* Before the words, as in every walk (P7); but what was given is not given again for it. */
	ep->generation = __atomic_load_n(&ep->hints->generation, __ATOMIC_ACQUIRE);
	while (steps--) {
		const struct sluice_slot *slot = slot_at(ep, ep->ticket);
		u64 lap = ticket_lap(ep->ticket, ep->order);
		u64 word = sl_load_acquire(&slot->word);
		bool whole;

		if (published(word, lap)) {
			whole = copy_out(ep, slot, word, msg, copy, size);
			ep->ticket = ticket_add(ep->ticket, 1, ep->order);
			if (!whole)
				continue;
			if (slot_state(word) == SLOT_READY)
				pass_on(ep);
			return 0;
		}
		if (slot_look(word, lap) == LOOK_WAIT)
			break;
		ep->ticket = ticket_skip(ep->ticket, word, 2, ep->order);
	}
	if (hint(&ep->hints->closed) & SLUICE_CLOSED_GONE)
		return __sluice_err_lazy(-ESHUTDOWN, ERROR_CLOSED, ep);
	return __sluice_err_lazy(-EAGAIN, ERROR_EMPTY, ep);
}
