// SPDX-License-Identifier: GPL-2.0
/*
 * ring.c: the kernel's own reserve, publish, claim and ack.
 *
 * For read(2), write(2), SEND and dead letters. The kernel is one more producer
 * and one more consumer: the transitions are those of slot.h, the races are with
 * user space, and every walk is bounded by the kernel's own geometry.
 */
#include <linux/nospec.h>

#include "internal.h"
#include "trace.h"

/* Copies what may be shown of a slot; false when user space wrote nonsense into it. */
static bool sl_message_ok(struct sl_stage *s, const struct sl_message *m)
{
	if (m->buf == SLUICE_NO_BUFFER)
		return m->len <= SLUICE_INLINE_MAX;
	return m->buf < s->nbufs && m->len <= s->bufsize;
}

/**
 * sl_ring_message() - the message of @ticket, which the caller has claimed
 * Return: 0, -EBADMSG when lengths or buffer are impossible (counted).
 */
int sl_ring_message(struct sl_stage *s, u64 ticket, struct sl_message *m)
{
	struct sluice_slot *slot = sl_slot(s, ticket_index(ticket, s->order));

	memset(m, 0, sizeof(*m));
	m->buf = SLUICE_NO_BUFFER;
	if (!slot)
		return -EBADMSG;
	m->stream = READ_ONCE(slot->stream);
	m->counter = READ_ONCE(slot->counter);
	m->time = READ_ONCE(slot->time);
	m->len = READ_ONCE(slot->len);
	m->buf = READ_ONCE(slot->buf);
	m->kind = READ_ONCE(slot->kind);
	m->flags = READ_ONCE(slot->flags);
	if (!sl_message_ok(s, m)) {
		sl_count_racy(s, lies, 1);
		return -EBADMSG;
	}
	if (m->buf == SLUICE_NO_BUFFER)
		memcpy(m->data, slot->data, m->len);
	else
		m->buf = array_index_nospec(m->buf, s->nbufs);
	return 0;
}

/* --------------------------------------------------------------- buffers --- */

/** sl_buffer_take() - hold a free buffer. Return: 0, -ENOBUFS, -ENOMEM. */
int sl_buffer_take(struct sl_stage *s, u32 owner, u32 *index)
{
	u32 i, n = s->nbufs, first = n ? READ_ONCE(s->buffer_hint) % n : 0;

	for (i = 0; i < n; i++) {
		u32 at = (first + i) % n;
		u64 *word = sl_buffer_word(s, at, true);

		if (!word)
			return -ENOMEM;
		if (buf_take(word, owner) == SLOT_OK) {
			WRITE_ONCE(s->buffer_hint, at + 1);
			*index = at;
			return 0;
		}
	}
	return -ENOBUFS;
}

/** sl_buffer_drop() - give back what was taken; the caller kicks for ROOM afterwards */
void sl_buffer_drop(struct sl_stage *s, u32 index, u32 owner)
{
	u64 *word = sl_buffer_word(s, index, false);

	if (word)
		buf_drop(word, owner);
}

/* ------------------------------------------------------------------ tail --- */

/*
 * The hint of user space where it is believable: the ticket before it must have
 * been used, since nobody moves the hint sooner (P4). Else the words are asked.
 */
static u64 sl_ring_tail(struct sl_stage *s)
{
	u64 hint = READ_ONCE(sl_control(s)->tail) & ticket_mask(s->order);
	u64 last = ticket_add(hint, -1, s->order);
	u64 w;

	if (ticket_diff(hint, s->tail, s->order) <= 0)
		return s->tail;
	w = sl_slot_word(s, ticket_index(last, s->order));
	if (slot_room(w, ticket_lap(last, s->order)) == ROOM_USED)
		return hint;
	sl_count_racy(s, lies, 1);
	sl_ring_find_tail(s);
	return s->tail;
}

static void sl_ring_help_tail(struct sl_stage *s, u64 next)
{
	u64 *hint = &sl_control(s)->tail;
	u64 seen = READ_ONCE(*hint);

	s->tail = next;
	if (ticket_diff(next, seen & ticket_mask(s->order), s->order) > 0)
		sl_cas(hint, seen, next);
}

/**
 * sl_ring_find_tail() - from the words, which alone are true (P4)
 *
 * The newest ticket that was ever used, plus one. Called at every death and attach.
 */
void sl_ring_find_tail(struct sl_stage *s)
{
	u64 tail = s->tail;
	u32 i;

	lockdep_assert_held(&s->lock);
	for (i = 0; sl_next_slot(s, &i); i++) {
		u64 w = sl_slot_word(s, i);
		u64 next = ticket_of(slot_lap(w), i, s->order);

		/* FREE(t) was used up to t - N, the others up to t itself. */
		if (slot_state(w) == SLOT_FREE)
			next = ticket_add(next, -(long long)s->nslots, s->order);
		next = ticket_add(next, 1, s->order);
		if (ticket_diff(next, tail, s->order) > 0)
			tail = next;
	}
	s->tail = tail;
	WRITE_ONCE(sl_control(s)->tail, tail);
}

/* --------------------------------------------------------------- publish --- */

static void sl_ring_fill(struct sluice_slot *slot, const struct sl_message *m)
{
	WRITE_ONCE(slot->target, m->target);
	WRITE_ONCE(slot->stream, m->stream);
	WRITE_ONCE(slot->counter, m->counter);
	WRITE_ONCE(slot->time, m->time);
	WRITE_ONCE(slot->len, m->len);
	WRITE_ONCE(slot->buf, m->buf);
	WRITE_ONCE(slot->kind, m->kind);
	WRITE_ONCE(slot->flags, m->flags);
	if (m->buf == SLUICE_NO_BUFFER)
		memcpy(slot->data, m->data, m->len);
}

/* HELD by an endpoint or QUEUED becomes SENT before the ticket can be seen (P17). */
static bool sl_buffer_send(struct sl_stage *s, const struct sl_message *m, u32 owner, u64 ticket)
{
	u64 *word;

	if (m->buf == SLUICE_NO_BUFFER)
		return true;
	word = sl_buffer_word(s, m->buf, false);
	if (!word)
		return false;
	return (owner ? buf_send(word, owner, ticket) : buf_send_queued(word, ticket)) == SLOT_OK;
}

/**
 * sl_ring_publish() - one message, from kernel memory
 * @m:		its buffer, if any, is HELD by @buf_owner, or QUEUED when that is 0
 * @ticket:	out; with -EAGAIN the one that found no room
 *
 * Wakes nobody. Return: 0, -EAGAIN (full), -ENOMEM, -EBADMSG (the buffer is not
 * what it should be), -EBUSY (a sole producer's ring, P19), -ENOTCONN (a broadcast to nobody).
 */
int sl_ring_publish(struct sl_stage *s, struct sl_message *m, u32 buf_owner, u64 *ticket)
{
	u64 t = sl_ring_tail(s);
	u32 tries;

	lockdep_assert_held(&s->lock);
	if (s->sole)
		return -EBUSY;
	if (sl_is_broadcast(s)) {
		if (!s->recipients)
			return -ENOTCONN;	/* P23 */
		m->target = s->recipients;
	}
	for (tries = 0; tries < 2 * s->nslots; tries++) {
		u32 index = ticket_index(t, s->order);
		u64 lap = ticket_lap(t, s->order);
		u64 at = s->slots_offset + (u64)index * sizeof(struct sluice_slot);
		struct sluice_slot *slot;
		void *page = sl_region_get(&s->control, at >> PAGE_SHIFT);

		if (!page)
			return -ENOMEM;
		slot = page + offset_in_page(at);
		switch (slot_room(READ_ONCE(slot->word), lap)) {
		case ROOM_FULL:
			*ticket = t;
			return -EAGAIN;
		case ROOM_FREE:
			if (slot_reserve(&slot->word, lap, SLOT_OWNER_KERNEL) == SLOT_OK)
				goto reserved;
			break;		/* somebody was faster: look at the same ticket again */
		case ROOM_USED:
			t = ticket_add(t, 1, s->order);
			sl_ring_help_tail(s, t);
			break;
		}
		continue;
reserved:
		if (!sl_buffer_send(s, m, buf_owner, t)) {
			slot_discard(&slot->word, lap, SLOT_OWNER_KERNEL);
			sl_count_racy(s, lies, 1);
			return -EBADMSG;
		}
		sl_ring_fill(slot, m);
		slot_publish(&slot->word, lap, SLOT_OWNER_KERNEL);	/* (A) */
		sl_ring_help_tail(s, ticket_add(t, 1, s->order));
		*ticket = t;
		return 0;
	}
	*ticket = t;
	return -EAGAIN;
}

/* ----------------------------------------------------------------- claim --- */

/**
 * sl_walk_interrupted() - for walks over words that may lead in circles
 *
 * They are bounded by the size of the ring, which is no comfort to who waits for the task's end.
 */
bool sl_walk_interrupted(u32 steps)
{
	if (steps % SL_SLOTS_PER_PAGE)
		return false;
	cond_resched();
	return signal_pending(current);
}

/**
 * sl_ring_claim() - the next message for a reader without a mapping
 * @room:	bytes that it can take; a longer message stays, unclaimed
 *
 * Return: 0, -EMSGSIZE, -ENOTCONN (put out of a broadcast), -ERESTARTSYS, -EAGAIN (nothing;
 * ep->cursor and generation say what was seen).
 */
int sl_ring_claim(struct sl_stage *s, struct sl_endpoint *ep, size_t room, u64 *ticket, u64 *token)
{
	u32 generation = READ_ONCE(s->hints->generation);
	u32 tries, len;

	lockdep_assert_held(&ep->read_lock);
	if (sl_is_broadcast(s))
		return sl_broadcast_next(s, ep, room, ticket, token);
	smp_rmb();	/* the generation before the words (P7) */
	if (generation != ep->generation) {
		/* poll() looks at them without the lock */
		WRITE_ONCE(ep->cursor, ticket_add(ep->cursor, -(long long)s->nslots, s->order));
		WRITE_ONCE(ep->generation, generation);
	}
	/* one lap back, one forward, and what is published meanwhile */
	for (tries = 0; tries < 3 * s->nslots; tries++) {
		u64 cursor = ep->cursor, lap = ticket_lap(cursor, s->order), w;
		struct sluice_slot *slot = sl_slot(s, ticket_index(cursor, s->order));

		if (sl_walk_interrupted(tries))
			return -ERESTARTSYS;
		w = slot ? READ_ONCE(slot->word) : slot_free(0);
		switch (slot_look(w, lap)) {
		case LOOK_WAIT:
			return -EAGAIN;
		case LOOK_CLAIM:
			if (!sl_policy_mine(s, ep, slot, cursor, w)) {
				WRITE_ONCE(ep->cursor, ticket_add(cursor, 1, s->order));
				break;
			}
			len = READ_ONCE(slot->len);
			if (len > room && len <= max_t(u32, s->bufsize, SLUICE_INLINE_MAX))
				return -EMSGSIZE;
			if (slot_claim(&slot->word, lap, ep->id, token) != SLOT_OK)
				break;	/* look at it again */
			*ticket = cursor;
			WRITE_ONCE(ep->cursor, ticket_add(cursor, 1, s->order));
			return 0;
		case LOOK_PASS:
			WRITE_ONCE(ep->cursor, ticket_skip(cursor, w, 2, s->order));
			break;
		}
	}
	return -EAGAIN;
}

/** sl_ring_acked() - what follows the ACK of a slot: buffer, fence, sleepers (P5, P17) */
void sl_ring_acked(struct sl_stage *s, u64 ticket, const struct sl_message *m)
{
	if (m->buf != SLUICE_NO_BUFFER && m->buf < s->nbufs) {
		u64 *word = sl_buffer_word(s, m->buf, false);

		if (word)
			buf_free_sent(word, ticket);
	}
	smp_mb();	/* (C) */
	sl_kick(s, SLUICE_KICK_ROOM | (m->flags & SLUICE_MSG_TELL ? SLUICE_KICK_ACKED : 0));
}
