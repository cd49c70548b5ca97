// SPDX-License-Identifier: GPL-2.0
/*
 * broadcast.c: stages whose messages everybody gets (P21 to P23).
 *
 * Each consumer has a bit; the mask of a slot says who has not acknowledged. The kernel says who
 * there is (hints->recipients), takes the bits of those who are gone out of the masks, and puts out
 * who is slow. A bit is given to a newcomer only when nobody can clear it for the old one any more.
 *
 * What a newcomer gets has no gap. Its bit is among the recipients before the words are asked for
 * the next ticket T; whoever reserves T or a later one looks at the recipients after that, and so
 * sees it.
 */
#include "internal.h"
#include "trace.h"

static u32 sl_bit(u64 recipient)
{
	return __ffs64(recipient);
}

static void sl_set_recipients(struct sl_stage *s, u64 recipients)
{
	s->recipients = recipients;
	WRITE_ONCE(s->hints->recipients, recipients);
	smp_mb();	/* before the words are read: pairs with reserve, and with (C) of publish */
}

/** sl_broadcast_expelled() - was it put out? Then it gets nothing, and attaches anew */
bool sl_broadcast_expelled(const struct sl_endpoint *ep)
{
	return ep->recipient && !(READ_ONCE(ep->stage->recipients) & ep->recipient);
}

/* ------------------------------------------------------------------ prune --- */

/* READY that nobody owes: as if the last one had acknowledged it (P22). */
static bool sl_broadcast_free(struct sl_stage *s, u32 index, u64 word)
{
	struct sluice_slot *slot = sl_slot(s, index);
	u32 buf = READ_ONCE(slot->buf);
	u64 *bufword;

	if (slot_broadcast_free(&slot->word, word) != SLOT_OK)
		return false;
	bufword = buf < s->nbufs ? sl_buffer_word(s, buf, false) : NULL;
	if (bufword)
		buf_free_sent(bufword, ticket_of(slot_lap(word), index, s->order));
	return true;
}

/*
 * The bits of those who are gone out of one mask, whatever ticket it is of by now: nobody sends to
 * them any more. No bit of anybody else, which its owner alone may clear: this one may look at the
 * mask of another ticket than @word's. Return: true when the slot is free by it.
 */
static bool sl_broadcast_prune_slot(struct sl_stage *s, u32 index, u64 word)
{
	struct sluice_slot *slot = sl_slot(s, index);
	u64 gone = READ_ONCE(slot->target) & ~s->recipients;

	lockdep_assert_held(&s->lock);
	if (gone)
		mask_clear(&slot->target, gone);
	if (slot_state(word) != SLOT_READY || READ_ONCE(slot->target))
		return false;
	return sl_broadcast_free(s, index, word);
}

/**
 * sl_broadcast_prune() - the bits of those who are gone out of all masks
 * Return: whether slots became free.
 */
bool sl_broadcast_prune(struct sl_stage *s)
{
	bool freed = false;
	u32 i;

	lockdep_assert_held(&s->lock);
	for (i = 0; sl_next_slot(s, &i); i++)
		freed |= sl_broadcast_prune_slot(s, i, sl_slot_word(s, i));
	return freed;
}

/** sl_broadcast_reset() - nobody is attached and all words are in order: so are the masks */
void sl_broadcast_reset(struct sl_stage *s)
{
	u32 i;

	sl_broadcast_prune(s);
	for (i = 0; sl_next_slot(s, &i); i++)
		if (slot_state(sl_slot_word(s, i)) == SLOT_FREE)
			WRITE_ONCE(sl_slot(s, i)->target, 0);
}

/* --------------------------------------------------------- join and leave --- */

/*
 * A bit more in a mask that was empty while its message was being written. Was it still, when the
 * bit came? If others are in the mask by now, it was. If nobody is, all the others have
 * acknowledged, perhaps before it came, and then somebody is about to free the slot: so it is freed
 * here, before the newcomer can look. Else its ACK could hit the next ticket of the slot.
 */
static bool sl_broadcast_added(struct sl_stage *s, u32 index, u64 lap, u64 bit)
{
	u64 now = sl_slot_word(s, index);

	if (slot_lap(now) != lap)
		return false;	/* the slot's next ticket has the bit anyway */
	if (slot_state(now) != SLOT_READY)
		return slot_state(now) == SLOT_WRITING;
	smp_rmb();	/* READY, then the mask: address comes before publish */
	if (READ_ONCE(sl_slot(s, index)->target) != bit)
		return true;
	sl_broadcast_free(s, index, now);
	return false;
}

/*
 * A bit more in the mask of what is held. A mask that is not empty is one ticket's as long as the
 * word has its lap, and a slot of a newer ticket has the bit anyway. READY with an empty one is
 * over.
 */
static bool sl_broadcast_add(struct sl_stage *s, u64 ticket, u64 bit)
{
	u32 index = ticket_index(ticket, s->order);
	struct sluice_slot *slot = sl_slot(s, index);
	u64 w = slot ? READ_ONCE(slot->word) : 0, owed;

	if (!slot || slot_lap(w) != ticket_lap(ticket, s->order))
		return false;
	if (slot_state(w) != SLOT_WRITING && slot_state(w) != SLOT_READY)
		return false;
	smp_rmb();	/* the word, then the mask: address comes before publish */
	owed = READ_ONCE(slot->target);
	if (!owed && slot_state(w) == SLOT_READY)
		return false;
	if (!sl_cas(&slot->target, owed, owed | bit))
		return false;
	if (owed)
		return slot_lap(READ_ONCE(slot->word)) == slot_lap(w);
	return sl_broadcast_added(s, index, slot_lap(w), bit);
}

/* The first ticket of an unbroken run of held messages that ends before @tail. */
static u64 sl_broadcast_oldest(struct sl_stage *s, u64 tail, u64 bit)
{
	u64 start = tail;
	u32 n;

	for (n = 0; n < s->nslots; n++) {
		u64 before = ticket_add(start, -1, s->order);

		if (!(n % SL_SLOTS_PER_PAGE))
			cond_resched();
		if (!sl_broadcast_add(s, before, bit))
			break;
		start = before;
	}
	return start;
}

/*
 * Of whoever had it before: a producer had looked before that one went, and wrote it down later.
 * What is free by it, the tick finds.
 */
static void sl_broadcast_clear(struct sl_stage *s, u64 bit)
{
	u32 i;

	for (i = 0; sl_next_slot(s, &i); i++)
		mask_clear(&sl_slot(s, i)->target, bit);
}

/**
 * sl_broadcast_join() - a consumer of a broadcast gets a bit
 *
 * What is older than its start is not for it, although a mask may have the bit by then: of a
 * producer who looked before the bit's last owner went. It acknowledges that without a look, and
 * nobody else does. The caller has seen that a bit is left.
 */
void sl_broadcast_join(struct sl_stage *s, struct sl_endpoint *ep)
{
	u64 bit = ~s->bits_taken & (s->bits_taken + 1);

	lockdep_assert_held(&s->lock);
	s->bits_taken |= bit;
	ep->recipient = bit;
	ep->joined = ktime_get_ns();
	sl_broadcast_clear(s, bit);
	sl_set_recipients(s, s->recipients | bit);
	sl_ring_find_tail(s);
	s->starts[sl_bit(bit)] = s->tail;
	if (ep->flags & SLUICE_ATTACH_OLDEST)
		s->starts[sl_bit(bit)] = sl_broadcast_oldest(s, s->tail, bit);
}

/** sl_broadcast_leave() - it is dead and cannot clear its bit any more */
void sl_broadcast_leave(struct sl_endpoint *ep)
{
	struct sl_stage *s = ep->stage;

	lockdep_assert_held(&s->lock);
	if (!ep->recipient)
		return;
	sl_set_recipients(s, s->recipients & ~ep->recipient);
	sl_broadcast_prune(s);
	s->bits_taken &= ~ep->recipient;
}

/* It was too slow: from now on it owes nothing and gets nothing; its bit stays taken (P21). */
static void sl_broadcast_expel(struct sl_endpoint *ep)
{
	struct sl_stage *s = ep->stage;
	u32 i;

	for (i = 0; sl_next_slot(s, &i); i++) {
		struct sluice_slot *slot = sl_slot(s, i);
		u64 w = READ_ONCE(slot->word);

		if (slot_state(w) == SLOT_READY &&
		    slot_owes(&slot->word, &slot->target, w, ep->recipient))
			sl_queue_missed(s, i, w);
	}
	sl_set_recipients(s, s->recipients & ~ep->recipient);
	s->counts.expelled++;
	trace_sluice_expel(s, ep->id, ep->role);
}

/* ------------------------------------------------------------------- tick --- */

/** sl_broadcast_starts() - one that stays behind would look ahead after half of all tickets */
void sl_broadcast_starts(struct sl_stage *s)
{
	u64 left = s->recipients;

	lockdep_assert_held(&s->lock);
	while (left) {
		u64 *start = &s->starts[sl_bit(left)];

		left &= left - 1;
		if (ticket_diff(s->tail, *start, s->order) > 2 * (long long)s->nslots)
			*start = ticket_add(s->tail, -2 * (long long)s->nslots, s->order);
	}
}

/**
 * sl_broadcast_tick() - a READY word of a broadcast
 * @late:	it is so for longer than ack_timeout
 *
 * Who owes is asked before the word is, once more: nobody is put out for the slot's next ticket.
 *
 * Return: true when slots became free.
 */
bool sl_broadcast_tick(struct sl_stage *s, u32 index, u64 word, bool late)
{
	bool freed = sl_broadcast_prune_slot(s, index, word);
	u64 owed, now = ktime_get_ns();
	struct sl_endpoint *ep;
	unsigned long id;

	if (freed || !late || s->flags & SLUICE_CREATE_SLOW_WAITS)
		return freed;
	owed = READ_ONCE(sl_slot(s, index)->target) & s->recipients;
	smp_rmb();	/* the mask, then the word: it was this ticket's */
	if (!owed || sl_slot_word(s, index) != word)
		return false;
	xa_for_each(&s->endpoints, id, ep) {
		/* who joined at an old message has its time, too */
		if (ep->dead || !(ep->recipient & owed) || now - ep->joined < s->ack_timeout_ns)
			continue;
		sl_broadcast_expel(ep);
		freed = true;	/* they are told, too */
	}
	if (freed)
		sl_broadcast_prune(s);
	return freed;
}

/* ---------------------------------------------------------------- read(2) --- */

/**
 * sl_broadcast_ack() - by the kernel, in the name of @ep
 *
 * Under the lock, since another thread of @ep may unmap it meanwhile: then its bit is another's.
 *
 * Return: false when it was not owed any more.
 */
bool sl_broadcast_ack(struct sl_endpoint *ep, u64 ticket, u64 token)
{
	struct sl_stage *s = ep->stage;
	struct sluice_slot *slot = sl_slot(s, ticket_index(ticket, s->order));
	struct sl_message m = {
		.buf = READ_ONCE(slot->buf),
		.flags = READ_ONCE(slot->flags),
	};
	bool last = false, owed;

	mutex_lock(&s->lock);
	owed = !ep->dead && slot_broadcast_ack(&slot->word, &slot->target, token, ep->recipient,
					       &last) == SLOT_OK;
	mutex_unlock(&s->lock);
	if (!owed)
		return false;
	if (last)
		sl_ring_acked(s, ticket, &m);
	return true;
}

/**
 * sl_broadcast_next() - the next message for a reader without a mapping
 * @room:	bytes that it can take; a longer message stays
 * @token:	out, the word; nothing is changed by the look
 *
 * A walk never goes back: behind the cursor nobody's bit is set. What it passed may have been for
 * it until it was put out, and a producer that had looked before may address it for some time.
 * Return: 0, -EMSGSIZE, -ENOTCONN (put out), -ERESTARTSYS, -EAGAIN (nothing).
 */
int sl_broadcast_next(struct sl_stage *s, struct sl_endpoint *ep, size_t room, u64 *ticket,
		      u64 *token)
{
	u64 start = READ_ONCE(s->starts[sl_bit(ep->recipient)]);
	bool passed = false;
	u32 tries, len;

	lockdep_assert_held(&ep->read_lock);
	WRITE_ONCE(ep->generation, READ_ONCE(s->hints->generation));
	smp_rmb();	/* the generation before the words (P7) */
	if (sl_broadcast_expelled(ep))
		return -ENOTCONN;
	for (tries = 0; tries < 3 * s->nslots; tries++) {
		u64 cursor = ep->cursor, w;
		struct sluice_slot *slot = sl_slot(s, ticket_index(cursor, s->order));

		if (sl_walk_interrupted(tries))
			return -ERESTARTSYS;
		w = slot ? sl_load_acquire(&slot->word) : slot_free(0);
		switch (slot_look(w, ticket_lap(cursor, s->order))) {
		case LOOK_WAIT:
			return -EAGAIN;
		case LOOK_CLAIM:
			if (!(READ_ONCE(slot->target) & ep->recipient)) {
				passed = true;
				break;
			}
			if (ticket_diff(cursor, start, s->order) < 0) {
				sl_broadcast_ack(ep, cursor, w);
				break;
			}
			smp_rmb();	/* what was passed before who there is */
			if (passed && sl_broadcast_expelled(ep))
				return -ENOTCONN;
			len = READ_ONCE(slot->len);
			if (len > room && len <= max_t(u32, s->bufsize, SLUICE_INLINE_MAX))
				return -EMSGSIZE;
			*ticket = cursor;
			*token = w;
			WRITE_ONCE(ep->cursor, ticket_add(cursor, 1, s->order));
			return 0;
		case LOOK_PASS:
			WRITE_ONCE(ep->cursor, ticket_skip(cursor, w, 2, s->order));
			passed = true;
			continue;
		}
		WRITE_ONCE(ep->cursor, ticket_add(cursor, 1, s->order));
	}
	return -EAGAIN;
}

/** sl_broadcast_held() - messages that it has not acknowledged */
u32 sl_broadcast_held(struct sl_stage *s, const struct sl_endpoint *ep)
{
	u32 i, n = 0;

	lockdep_assert_held(&s->lock);
	for (i = 0; sl_next_slot(s, &i); i++) {
		u64 w = sl_slot_word(s, i);

		n += slot_state(w) == SLOT_READY &&
		     READ_ONCE(sl_slot(s, i)->target) & ep->recipient;
	}
	return n;
}
