// SPDX-License-Identifier: GPL-2.0
/*
 * reap.c: what the dead leave behind.
 *
 * A word says who held what; the kernel finishes it. What was being written is
 * discarded, what was claimed goes to somebody else, buffers come home.
 */
#include "internal.h"
#include "trace.h"

/**
 * sl_next_slot() - the next slot at or after @index whose page was ever touched
 * Return: true and @index, or false at the end. The others are FREE(0).
 */
bool sl_next_slot(struct sl_stage *s, u32 *index)
{
	unsigned long first = s->slots_offset >> PAGE_SHIFT;
	unsigned long chunk = first + *index / SL_SLOTS_PER_PAGE;

	if (*index >= s->nslots)
		return false;
	if (*index % SL_SLOTS_PER_PAGE)
		return true;	/* its page is the one of the slot before */
	cond_resched();
	if (!xa_find(&s->control.pages, &chunk, ULONG_MAX, XA_PRESENT))
		return false;
	*index = (chunk - first) * SL_SLOTS_PER_PAGE;
	return *index < s->nslots;
}

/* ----------------------------------------------------------------- slots --- */

/**
 * sl_reap_slot() - a word whose owner is no more
 * @charge:	the owner had begun to work on it (P2)
 *
 * Return: true when the word changed. Bounded tries against whoever else writes (P29).
 */
bool sl_reap_slot(struct sl_stage *s, u32 index, u64 word, bool charge)
{
	struct sluice_slot *slot = sl_slot(s, index);

	lockdep_assert_held(&s->lock);
	switch (slot_state(word)) {
	case SLOT_WRITING:
		if (sl_is_broadcast(s))
			WRITE_ONCE(slot->target, 0);	/* nobody else writes it now */
		if (slot_discard(&slot->word, slot_lap(word), slot_owner(word)) != SLOT_OK)
			return false;
		s->counts.discarded++;
		trace_sluice_discard(s, ticket_of(slot_lap(word), index, s->order), 0, EOWNERDEAD);
		return true;
	case SLOT_CLAIMED:
		return sl_retry_claim(s, index, word, charge, EOWNERDEAD);
	case SLOT_FREE:
	case SLOT_READY:
	case SLOT_DEAD:
		return false;
	}
	return false;
}

/* Runs are worked in ticket order: the lowest is the one that was begun. */
static bool sl_lowest_claim(struct sl_stage *s, u32 id, u64 *lowest)
{
	bool any = false;
	u32 i;

	for (i = 0; sl_next_slot(s, &i); i++) {
		u64 w = sl_slot_word(s, i);
		u64 t = ticket_of(slot_lap(w), i, s->order);

		if (slot_state(w) != SLOT_CLAIMED || slot_owner(w) != id)
			continue;
		if (!any || ticket_diff(t, *lowest, s->order) < 0)
			*lowest = t;
		any = true;
	}
	return any;
}

static void sl_reap_slots(struct sl_stage *s, u32 id)
{
	u64 lowest = 0;
	bool claims = sl_lowest_claim(s, id, &lowest);
	u32 i;

	for (i = 0; sl_next_slot(s, &i); i++) {
		u64 w = sl_slot_word(s, i);
		bool first = claims && ticket_of(slot_lap(w), i, s->order) == lowest;

		if ((slot_state(w) == SLOT_WRITING || slot_state(w) == SLOT_CLAIMED) &&
		    slot_owner(w) == id)
			sl_reap_slot(s, i, w, first);
	}
}

/* --------------------------------------------------------------- buffers --- */

/* A device may still write into it, or read from it (P25). */
static bool sl_buffer_pinned(struct sl_stage *s, u32 index)
{
	unsigned long first = ((u64)index * s->bufsize) >> PAGE_SHIFT;
	unsigned long last = first + (s->bufsize >> PAGE_SHIFT) - 1;
	struct page *page;
	unsigned long i;

	xa_for_each_range(&s->payload.pages, i, page, first, last)
		if (folio_maybe_dma_pinned(page_folio(page)))
			return true;
	return false;
}

/* SENT(t), but the slot went on: who should have freed it is dead (P18). */
static bool sl_buffer_left(struct sl_stage *s, u64 word, bool sole_died)
{
	u64 t = buf_who(word) & ticket_mask(s->order);
	u64 w = sl_slot_word(s, ticket_index(t, s->order));
	u64 lap = ticket_lap(t, s->order);

	if (lap_diff(slot_lap(w), lap) > 0)
		return true;
	return sole_died && w == slot_free(lap);
}

/**
 * sl_reap_buffers() - buffers that nobody living holds come home
 * @sole_id:	the sole producer that just died, or 0
 * @freed:	out: set when some did, and who waits for one should look
 *
 * Return: true when some have to wait, for a device that still uses them.
 */
bool sl_reap_buffers(struct sl_stage *s, u32 sole_id, bool *freed)
{
	bool left = false;
	u32 i;

	lockdep_assert_held(&s->lock);
	for (i = 0; i < s->nbufs; i++) {
		u64 *word = sl_buffer_word(s, i, false);
		u64 w = word ? READ_ONCE(*word) : 0;

		switch (buf_state(w)) {
		case BUF_HELD:
			if (sl_endpoint_alive(s, buf_who(w)))
				break;
			if (sl_buffer_pinned(s, i))
				left = true;
			else
				*freed |= sl_cas(word, w, buf_word(0, BUF_FREE));
			break;
		case BUF_SENT:
			if (sl_buffer_left(s, w, sole_id))
				*freed |= buf_free_sent(word, buf_who(w)) == SLOT_OK;
			break;
		case BUF_FREE:
		case BUF_QUEUED:
			break;
		}
	}
	return left;
}

/**
 * sl_reap() - an endpoint is dead
 *
 * The caller has marked it, under stage->lock, so nothing happens in its name any
 * more. Slots before buffers (P18); the generation after the words, and always (P6).
 */
void sl_reap(struct sl_stage *s, u32 id, bool was_sole)
{
	bool freed = false;

	lockdep_assert_held(&s->lock);
	sl_reap_slots(s, id);
	if (sl_reap_buffers(s, was_sole ? id : 0, &freed))
		sl_tick_start(s);
	sl_ring_find_tail(s);
	sl_queue_pump(s);
	sl_queue_check(s);
	sl_generation(s);
}
