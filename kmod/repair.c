// SPDX-License-Identifier: GPL-2.0
/*
 * repair.c: put a stage back to work after somebody wrote nonsense into it.
 *
 * Everybody is put out first, so that nobody writes any more; what they owed is
 * reaped as at any death. Then each word is held against what a ring looks like:
 * with the next ticket T, slot i is FREE for the one ticket of [T, T + N) that
 * falls on it, or in use by the one of [T - N, T). T is what most slots agree on,
 * so that a minority of forged words cannot move it. What does not fit is made
 * FREE, what fits but cannot be delivered becomes a dead letter, and a buffer
 * that no message and no queue refers to is free.
 */
#include <linux/bitmap.h>
#include <linux/sort.h>

#include "internal.h"
#include "trace.h"

/**
 * struct sl_repair - one repair
 * @tail:	T
 * @queued:	buffers that the kernel has: in its queue, or filling them
 */
struct sl_repair {
	struct sl_stage		*s;
	struct sluice_repair	*found;
	u64			tail;
	unsigned long		*queued;
};

/* ------------------------------------------------------------------ tail --- */

static int sl_compare_votes(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* The newest ticket that slot @index says was used. */
static u64 sl_repair_vote(struct sl_stage *s, u32 index, u64 w)
{
	u64 t = ticket_of(slot_lap(w), index, s->order);

	return slot_state(w) == SLOT_FREE ? ticket_add(t, -(long long)s->nslots, s->order) : t;
}

/* The start of the nslots-wide window that most of the sorted @votes fall into; they wrap. */
static u64 sl_repair_window(struct sl_stage *s, const u64 *votes, u32 n)
{
	u32 first, last = 0, best = 0, most = 0;

	for (first = 0; first < n; first++) {
		while (last < first + n &&
		       ((votes[last % n] - votes[first]) & ticket_mask(s->order)) < s->nslots)
			last++;
		if (last - first > most) {
			most = last - first;
			best = first;
		}
	}
	return votes[best];
}

/*
 * The largest T that the majority allows: a ticket that may have been used is not
 * given out again.
 */
static int sl_repair_find_tail(struct sl_repair *r)
{
	struct sl_stage *s = r->s;
	u64 *votes = kvmalloc_array(s->nslots, sizeof(*votes), GFP_KERNEL_ACCOUNT);
	u32 i, n = 0;

	if (!votes)
		return -ENOMEM;
	for (i = 0; i < s->nslots; i++) {
		u64 w = sl_slot_word(s, i);

		if (!slot_forged(w))
			votes[n++] = sl_repair_vote(s, i, w);
		if (!(i % SL_SLOTS_PER_PAGE))
			cond_resched();
	}
	r->tail = s->tail;
	if (n) {
		sort(votes, n, sizeof(*votes), sl_compare_votes, NULL);
		r->tail = ticket_add(sl_repair_window(s, votes, n), s->nslots, s->order);
	}
	kvfree(votes);
	return 0;
}

/* ----------------------------------------------------------------- slots --- */

/* Nobody can take it, or take it for what it was. */
static bool sl_repair_undeliverable(struct sl_stage *s, u32 index, u64 w)
{
	u64 ticket = ticket_of(slot_lap(w), index, s->order);
	struct sl_message m;
	u64 *word;

	if (slot_attempt(w) >= SLOT_ATTEMPT_LAST || sl_ring_message(s, ticket, &m))
		return true;
	if (m.buf == SLUICE_NO_BUFFER)
		return false;
	word = sl_buffer_word(s, m.buf, false);
	return !word || READ_ONCE(*word) != buf_word(ticket, BUF_SENT);
}

/* A word of the right ticket: what remains of the dead is reaped, what is left must be whole. */
static void sl_repair_used(struct sl_repair *r, u32 index, u64 w)
{
	struct sl_stage *s = r->s;
	struct sluice_slot *slot = sl_slot(s, index);
	bool deferred = slot_owner(w) == SLOT_OWNER_KERNEL;

	if (slot_state(w) == SLOT_WRITING || (slot_state(w) == SLOT_CLAIMED && !deferred)) {
		r->found->slots_reaped += sl_reap_slot(s, index, w, false);
		w = READ_ONCE(slot->word);
	}
	if (slot_state(w) == SLOT_READY || slot_state(w) == SLOT_CLAIMED) {
		if (!sl_repair_undeliverable(s, index, w))
			return;
		w = slot_word(slot_lap(w), 0, slot_attempt(w), SLOT_DEAD);
		WRITE_ONCE(slot->word, w);
	}
	if (slot_state(w) == SLOT_DEAD) {
		r->found->messages_dead++;
		sl_bury(s, index, w, EBADMSG);
	}
}

static int sl_repair_slot(struct sl_repair *r, u32 index)
{
	struct sl_stage *s = r->s;
	u32 first = ticket_index(r->tail, s->order);
	/* of the ticket of [T, T + N) that falls on it */
	u64 next = slot_lap(slot_free(ticket_lap(r->tail, s->order) + (index < first)));
	u64 w = sl_slot_word(s, index);
	u64 at = s->slots_offset + (u64)index * sizeof(struct sluice_slot);
	struct sluice_slot *slot;
	void *page;

	if (w == slot_free(next))
		return 0;
	if (slot_state(w) != SLOT_FREE && !slot_forged(w) &&
	    lap_diff(next, slot_lap(w)) == 1) {
		sl_repair_used(r, index, w);
		return 0;
	}
	page = sl_region_get(&s->control, at >> PAGE_SHIFT);
	if (!page)
		return -ENOMEM;
	slot = page + offset_in_page(at);
	WRITE_ONCE(slot->word, slot_free(next));
	r->found->slots_reset++;
	return 0;
}

static int sl_repair_slots(struct sl_repair *r)
{
	int err = 0;
	u32 i;

	for (i = 0; i < r->s->nslots && !err; i++) {
		err = sl_repair_slot(r, i);
		if (!(i % SL_SLOTS_PER_PAGE))
			cond_resched();
	}
	return err;
}

/* --------------------------------------------------------------- buffers --- */

static bool sl_repair_buffer_used(struct sl_repair *r, u32 index, u64 word)
{
	struct sl_stage *s = r->s;
	struct sluice_slot *slot;
	u64 ticket, w;

	switch (buf_state(word)) {
	case BUF_FREE:
		return word == buf_word(0, BUF_FREE);
	case BUF_QUEUED:
		return word == buf_word(0, BUF_QUEUED) && test_bit(index, r->queued);
	case BUF_HELD:
		return false;	/* nobody is left */
	case BUF_SENT:
		break;
	}
	ticket = buf_who(word);
	if (ticket != (ticket & ticket_mask(s->order)))
		return false;
	slot = sl_slot(s, ticket_index(ticket, s->order));
	w = slot ? READ_ONCE(slot->word) : 0;
	return slot && slot_state(w) != SLOT_FREE &&
	       slot_lap(w) == ticket_lap(ticket, s->order) && READ_ONCE(slot->buf) == index;
}

static void sl_repair_buffers(struct sl_repair *r)
{
	struct sl_stage *s = r->s;
	u32 i;

	for (i = 0; i < s->nbufs; i++) {
		u64 *word = sl_buffer_word(s, i, false);

		if (!(i % 1024))
			cond_resched();
		if (!word || sl_repair_buffer_used(r, i, READ_ONCE(*word)))
			continue;
		/* one that a device still writes into is left for the tick, as HELD by nobody */
		WRITE_ONCE(*word, buf_word(SLOT_OWNER_KERNEL, BUF_HELD));
		r->found->buffers_freed++;
	}
}

static int sl_repair_queued(struct sl_repair *r)
{
	struct sl_stage *s = r->s;
	struct sl_send *e;
	struct sl_fill *f;

	r->queued = bitmap_zalloc(max(s->nbufs, 1u), GFP_KERNEL_ACCOUNT);
	if (!r->queued)
		return -ENOMEM;
	list_for_each_entry(e, &s->queue, list)
		if (e->m.buf != SLUICE_NO_BUFFER)
			__set_bit(e->m.buf, r->queued);
	list_for_each_entry(f, &s->fills, list)
		__set_bit(f->buf, r->queued);
	return 0;
}

/* ---------------------------------------------------------------- repair --- */

static void sl_repair_evict(struct sl_stage *s, struct sluice_repair *found)
{
	struct sl_endpoint *ep;
	unsigned long id;

	xa_for_each(&s->endpoints, id, ep) {
		if (ep->dead)
			continue;
		s->counts.evictions++;
		trace_sluice_evict(s, ep->id, ep->role);
		sl_endpoint_evict(ep);
		found->evicted++;
	}
	/* Its mapping may be there still, but nothing can be written through it (P20). */
	s->sole = NULL;
}

static int sl_repair_locked(struct sl_repair *r)
{
	struct sl_stage *s = r->s;
	bool freed = false;
	int err;

	lockdep_assert_held(&s->lock);
	if (s->gone)
		return -ESHUTDOWN;
	sl_repair_evict(s, r->found);
	err = sl_repair_queued(r) ?: sl_repair_find_tail(r) ?: sl_repair_slots(r);
	if (err)
		goto out;
	if (sl_is_broadcast(s))
		sl_broadcast_reset(s);
	sl_repair_buffers(r);
	sl_reap_buffers(s, 0, &freed);
	s->tail = r->tail;
	WRITE_ONCE(sl_control(s)->tail, r->tail);
	sl_count_racy(s, lies, r->found->slots_reset + r->found->messages_dead);
	sl_queue_pump(s);
	sl_generation(s);
out:
	bitmap_free(r->queued);
	return err;
}

/**
 * sl_stage_repair() - SLUICE_IOC_REPAIR
 * @found:	in: the name; out: what was done
 *
 * Return: 0, -EINVAL, -ENOENT, -EPERM, -ENOMEM (what is left is repaired by another
 * try), -ESHUTDOWN.
 */
int sl_stage_repair(struct sluice_repair *found)
{
	struct sl_repair r = { .found = found };
	int err;

	if (found->flags || strnlen(found->name, SLUICE_NAME_MAX) == SLUICE_NAME_MAX)
		return -EINVAL;
	r.s = sl_stage_by_name(found->name);
	if (!r.s)
		return -ENOENT;
	found->evicted = 0;
	found->slots_reset = 0;
	found->slots_reaped = 0;
	found->messages_dead = 0;
	found->buffers_freed = 0;
	err = sl_stage_may_manage(r.s);
	if (!err) {
		mutex_lock(&r.s->lock);
		err = sl_repair_locked(&r);
		mutex_unlock(&r.s->lock);
		sl_tick_start(r.s);
	}
	if (!err)
		trace_sluice_repair(r.s);
	sl_stage_put(r.s);
	return err;
}
