// SPDX-License-Identifier: GPL-2.0
/*
 * retry.c: timeouts, nack, renew, dead letters.
 *
 * Claims happen in user space, so the kernel looks: the tick compares each word
 * with the one that it saw before, in its own shadow, and what did not move for
 * too long is given to somebody else. It runs only while somebody is awake or
 * something is outstanding (P11).
 */
#include "internal.h"
#include "compat.h"
#include "trace.h"

/* ----------------------------------------------------------- dead letters --- */

/* The oldest letter makes room, if nobody is reading it at this moment (P15). */
static bool sl_dead_drop_oldest(struct sl_stage *d)
{
	u32 index = ticket_index(d->tail, d->order);
	u64 w = sl_slot_word(d, index), token;
	struct sluice_slot *slot = sl_slot(d, index);
	u64 lap = slot_lap(w);
	struct sl_message m;
	u64 *word;

	if (!slot || slot_claim(&slot->word, lap, SLOT_OWNER_KERNEL, &token) != SLOT_OK)
		return false;
	sl_ring_message(d, ticket_of(lap, index, d->order), &m);
	slot_ack(&slot->word, token);
	word = m.buf < d->nbufs ? sl_buffer_word(d, m.buf, false) : NULL;
	if (word)
		buf_free_sent(word, ticket_of(lap, index, d->order));
	d->counts.dead_dropped++;
	trace_sluice_dead_dropped(d, ticket_of(lap, index, d->order), slot_attempt(w), 0);
	return true;
}

static int sl_dead_fill(struct sl_stage *s, const struct sl_message *m,
			struct sluice_dead_letter *head, struct sl_message *letter)
{
	struct sl_stage *d = s->dead;
	u64 at;
	int err = sl_buffer_take(d, SLOT_OWNER_KERNEL, &letter->buf);

	if (err)
		return err;
	at = (u64)letter->buf * d->bufsize;
	head->copied = min_t(u32, head->len, d->bufsize - sizeof(*head));
	letter->len = sizeof(*head) + head->copied;
	err = sl_region_write(&d->payload, at, head, sizeof(*head));
	if (!err && m->buf == SLUICE_NO_BUFFER)
		err = sl_region_write(&d->payload, at + sizeof(*head), m->data, head->copied);
	else if (!err)
		err = sl_region_copy(&d->payload, at + sizeof(*head), &s->payload,
				     (u64)m->buf * s->bufsize, head->copied);
	if (err)
		sl_buffer_drop(d, letter->buf, SLOT_OWNER_KERNEL);
	return err;
}

static int sl_dead_publish(struct sl_stage *s, const struct sl_message *m,
			   struct sluice_dead_letter *head)
{
	struct sl_stage *d = s->dead;
	bool stops = s->flags & SLUICE_CREATE_DEAD_STOPS;
	struct sl_message letter = {
		.stream = m->stream,
		.counter = m->counter,
		.time = m->time,
		.kind = m->kind,
		.flags = m->flags & ~SLUICE_MSG_TELL,
	};
	u64 ticket;
	int err;

	mutex_lock_nested(&d->lock, SINGLE_DEPTH_NESTING);
	err = sl_dead_fill(s, m, head, &letter);
	if (err == -ENOBUFS && !stops && sl_dead_drop_oldest(d))
		err = sl_dead_fill(s, m, head, &letter);
	if (!err) {
		err = sl_ring_publish(d, &letter, SLOT_OWNER_KERNEL, &ticket);
		if (err == -EAGAIN && !stops && sl_dead_drop_oldest(d))
			err = sl_ring_publish(d, &letter, SLOT_OWNER_KERNEL, &ticket);
		if (err)
			sl_buffer_drop(d, letter.buf, SLOT_OWNER_KERNEL);
	}
	if (err && !stops)
		d->counts.dead_dropped++;	/* all of them are being read: this one goes */
	mutex_unlock(&d->lock);
	if (!err)
		sl_kick(d, SLUICE_KICK_READY);
	return stops ? err : 0;
}

/*
 * A letter that was claimed as often as a word can count goes to the end, as a new one: it is not
 * lost for having been read. Where the end has no room it stays DEAD and the tick comes back.
 * Return: false when it is no letter of ours.
 */
static bool sl_dead_again(struct sl_stage *d, u32 index, u64 word, struct sl_message *m)
{
	u64 *buf = m->buf < d->nbufs ? sl_buffer_word(d, m->buf, false) : NULL;
	u64 ticket = ticket_of(slot_lap(word), index, d->order), again;
	u64 *slot = &sl_slot(d, index)->word;
	int err;

	lockdep_assert_held(&d->lock);
	if (!buf || !sl_cas(buf, buf_word(ticket, BUF_SENT), buf_word(SLOT_OWNER_KERNEL, BUF_HELD)))
		return false;
	err = sl_ring_publish(d, m, SLOT_OWNER_KERNEL, &again);
	/* of a full ring's oldest letter the end is where it is: it would wait for itself */
	if (err == -EAGAIN && ticket_index(again, d->order) == index &&
	    slot_bury(slot, word) == SLOT_OK)
		err = sl_ring_publish(d, m, SLOT_OWNER_KERNEL, &again);
	if (err)
		sl_cas(buf, buf_word(SLOT_OWNER_KERNEL, BUF_HELD), buf_word(ticket, BUF_SENT));
	else
		slot_bury(slot, word);
	return true;
}

/**
 * sl_bury() - DEAD to FREE, with a letter and a word to the sender (P15, P16)
 * @word:	DEAD
 *
 * Where a full dead-letter stage stops the lane, the slot stays DEAD and the tick
 * comes back.
 */
void sl_bury(struct sl_stage *s, u32 index, u64 word, int reason)
{
	struct sluice_slot *slot = sl_slot(s, index);
	u64 ticket = ticket_of(slot_lap(word), index, s->order);
	struct sl_shadow *sh = sl_shadow(s, index, slot_lap(word));
	struct sluice_dead_letter head = {
		.ticket = ticket,
		.attempts = slot_attempt(word),
		.charges = sh ? sh->charges : 0,
		.reason = reason,
	};
	struct sl_message m;

	lockdep_assert_held(&s->lock);
	if (sh)
		sh->reason = reason;
	if (sl_ring_message(s, ticket, &m)) {
		m.len = 0;		/* nothing of it can be believed */
		m.buf = SLUICE_NO_BUFFER;
	}
	head.len = m.len;
	head.kind = m.kind;
	head.flags = m.flags;
	head.time = m.time;
	if (s->dead && sl_dead_publish(s, &m, &head))
		return;
	if (s->is_dead && head.attempts >= SLOT_ATTEMPT_LAST && sl_dead_again(s, index, word, &m))
		return;
	sl_queue_dead(s, ticket, reason);
	if (slot_bury(&slot->word, word) != SLOT_OK)
		return;
	if (m.buf != SLUICE_NO_BUFFER) {
		u64 *buf = sl_buffer_word(s, m.buf, false);

		if (buf)
			buf_free_sent(buf, ticket);
	}
	s->counts.dead_letters++;
	trace_sluice_dead_letter(s, ticket, head.attempts, reason);
}

/* ------------------------------------------------------------------ retry --- */

/**
 * sl_retry_claim() - take @word, a claim, from its owner
 * @charge:	count it as a failure of the message
 *
 * Return: true when it changed; the caller raises the generation afterwards (P6).
 */
bool sl_retry_claim(struct sl_stage *s, u32 index, u64 word, bool charge, int reason)
{
	struct sluice_slot *slot = sl_slot(s, index);
	struct sl_shadow *sh = sl_shadow(s, index, slot_lap(word));
	u32 charges = sh ? sh->charges + charge : charge;
	u64 ticket = ticket_of(slot_lap(word), index, s->order);

	lockdep_assert_held(&s->lock);
	/* a letter never dies, whoever read it so far did not finish (P15) */
	if ((charges >= s->max_attempts && !s->is_dead) ||
	    slot_attempt(word) >= SLOT_ATTEMPT_LAST) {
		if (slot_kill(&slot->word, word) != SLOT_OK)
			return false;
		if (sh)
			sh->charges = charges;
		sl_bury(s, index, READ_ONCE(slot->word), reason);
		return true;
	}
	if (slot_retry(&slot->word, word) != SLOT_OK)
		return false;
	if (sh) {
		sh->charges = charges;
		sh->reason = reason;
	}
	s->counts.redelivered++;
	trace_sluice_redeliver(s, ticket, slot_attempt(word), reason);
	return true;
}

/* ------------------------------------------------------------ nack, renew --- */

/* The claim that @n names, if it is the caller's: 0, -ESTALE, -EBADF, -EINVAL. */
static int sl_own_claim(struct sl_endpoint *ep, const struct sluice_nack *n, u32 *index)
{
	struct sl_stage *s = ep->stage;

	if (ep->role != SLUICE_CONSUMER)
		return -EBADF;
	*index = ticket_index(n->ticket, s->order);
	if (slot_state(n->token) != SLOT_CLAIMED || slot_owner(n->token) != ep->id ||
	    slot_lap(n->token) != ticket_lap(n->ticket, s->order))
		return -EINVAL;
	return sl_slot_word(s, *index) == n->token ? 0 : -ESTALE;
}

static unsigned long sl_tick_period(const struct sl_stage *s)
{
	u64 ns = min(s->ack_timeout_ns / 4, s->write_timeout_ns / 2);

	/* exec waits for commands that cannot be cancelled, see sl_send_leavers() */
	if (!SL_HAS_CANCEL)
		ns = min_t(u64, ns, NSEC_PER_SEC);
	return max_t(unsigned long, nsecs_to_jiffies(ns), 1);
}

/* Sooner if need be, never later: other claims may time out meanwhile. */
static void sl_tick_within(struct sl_stage *s, unsigned long delay)
{
	if (!delayed_work_pending(&s->tick) ||
	    time_after(READ_ONCE(s->tick.timer.expires), jiffies + delay))
		mod_delayed_work(sl_workqueue, &s->tick, min(delay, sl_tick_period(s)));
}

/* Kept by the kernel until its time comes; the tick gives it back. */
static bool sl_defer_claim(struct sl_stage *s, u32 index, u64 token, u32 delay_ms, int reason,
			   bool charge)
{
	struct sl_shadow *sh = sl_shadow(s, index, slot_lap(token));

	if (!sh || slot_defer(&sl_slot(s, index)->word, token) != SLOT_OK)
		return false;
	sh->not_before = ktime_get_ns() + (u64)delay_ms * NSEC_PER_MSEC;
	sh->reason = reason;
	sh->charges += charge;
	sl_tick_within(s, msecs_to_jiffies(delay_ms));
	return true;
}

static bool sl_nack_locked(struct sl_stage *s, u32 index, const struct sluice_nack *n)
{
	int reason = n->reason ?: EIO;
	bool busy = n->flags & SLUICE_NACK_BUSY;
	u32 delay = busy ? max_t(u32, n->delay_ms, SL_BUSY_DELAY_MS) : n->delay_ms;
	struct sl_shadow *sh = sl_shadow(s, index, slot_lap(n->token));
	u32 charges = (sh ? sh->charges : 0) + !busy;

	if (n->flags & SLUICE_NACK_DEAD) {
		if (slot_kill(&sl_slot(s, index)->word, n->token) != SLOT_OK)
			return false;
		if (sh)
			sh->charges = charges;
		sl_bury(s, index, sl_slot_word(s, index), reason);
		return true;
	}
	if (delay && charges < s->max_attempts && slot_attempt(n->token) < SLOT_ATTEMPT_LAST)
		return sl_defer_claim(s, index, n->token, delay, reason, !busy);
	return sl_retry_claim(s, index, n->token, !busy, reason);
}

/**
 * sl_nack() - SLUICE_IOC_NACK (P13)
 * Return: 0, -ESTALE, -EBADF, -EINVAL.
 */
int sl_nack(struct sl_endpoint *ep, const struct sluice_nack *n)
{
	struct sl_stage *s = ep->stage;
	u32 index;
	int err;

	if (n->flags & ~SLUICE_NACK_ALL || n->reserved || n->reason > MAX_ERRNO ||
	    n->delay_ms > INT_MAX)
		return -EINVAL;
	mutex_lock(&s->lock);
	err = sl_own_claim(ep, n, &index);
	if (!err && !sl_nack_locked(s, index, n))
		err = -ESTALE;
	if (!err) {
		s->counts.nacks++;
		sl_queue_pump(s);
		sl_generation(s);
	}
	mutex_unlock(&s->lock);
	return err;
}

/**
 * sl_renew() - SLUICE_IOC_RENEW: the claim's timeout begins anew, within max_hold (P14)
 * Return: 0, -ESTALE, -EBADF, -EINVAL, -ENOMEM.
 */
int sl_renew(struct sl_endpoint *ep, const struct sluice_nack *n)
{
	struct sl_stage *s = ep->stage;
	struct sl_shadow *sh;
	u32 index;
	int err;

	if (n->flags || n->reserved || n->reason || n->delay_ms)
		return -EINVAL;
	mutex_lock(&s->lock);
	err = sl_own_claim(ep, n, &index);
	if (!err) {
		sh = sl_shadow(s, index, slot_lap(n->token));
		if (!sh) {
			err = -ENOMEM;
		} else {
			sh->since = ktime_get_ns();
			if (sh->word != n->token)
				sh->claimed = sh->since;
			sh->word = n->token;
		}
	}
	mutex_unlock(&s->lock);
	return err;
}

/* ------------------------------------------------------------------- tick --- */

/* What one tick found. */
struct sl_tick_state {
	u64	now;
	bool	changed;	/* words that somebody can now claim or reserve */
	bool	busy;		/* slots that are not FREE */
	bool	stuck;		/* READY that did not move since the last tick */
	u64	next;		/* a deferred claim is due then, 0 = none */
};

/** sl_tick_start() - somebody is awake, or something is outstanding */
void sl_tick_start(struct sl_stage *s)
{
	/* A full barrier on the pending bit: a tick that is deciding to stop is queued again. */
	queue_delayed_work(sl_workqueue, &s->tick, sl_tick_period(s));
}

static void sl_tick_writing(struct sl_stage *s, u32 index, u64 w, struct sl_shadow *sh,
			    struct sl_tick_state *t)
{
	u32 owner = slot_owner(w);
	struct sl_endpoint *ep;

	if (owner != SLOT_OWNER_KERNEL && sl_endpoint_alive(s, owner)) {
		if (t->now - sh->since < s->write_timeout_ns)
			return;
		ep = xa_load(&s->endpoints, owner);
		s->counts.evictions++;
		trace_sluice_evict(s, ep->id, ep->role);
		sl_endpoint_evict(ep);	/* reaps this slot too */
		return;
	}
	/* nobody's (P27); the kernel itself writes under the lock only */
	t->changed |= sl_reap_slot(s, index, w, false);
}

static void sl_tick_claimed(struct sl_stage *s, u32 index, u64 w, struct sl_shadow *sh,
			    struct sl_tick_state *t)
{
	u32 owner = slot_owner(w);

	if (owner == SLOT_OWNER_KERNEL) {
		if (t->now >= sh->not_before)
			t->changed |= sl_retry_claim(s, index, w, false, sh->reason ?: EIO);
		else if (!t->next || sh->not_before < t->next)
			t->next = sh->not_before;
		return;
	}
	if (!sl_endpoint_alive(s, owner)) {
		t->changed |= sl_reap_slot(s, index, w, true);
		return;
	}
	if (t->now - sh->since < s->ack_timeout_ns && t->now - sh->claimed < s->max_hold_ns)
		return;
	if (sl_retry_claim(s, index, w, true, ETIMEDOUT)) {
		s->counts.timeouts++;
		t->changed = true;
	}
}

/* A word that cannot be: the slot is put back where the next lap expects it. */
static void sl_tick_lie(struct sl_stage *s, u32 index, u64 w, struct sl_tick_state *t)
{
	struct sluice_slot *slot = sl_slot(s, index);
	u64 lap = ticket_lap(s->tail, s->order) + (index < ticket_index(s->tail, s->order));

	sl_count_racy(s, lies, 1);
	if (!sl_cas(&slot->word, w, slot_free(lap)))
		return;
	sl_queue_lost(s, index);
	t->changed = true;
}

static void sl_tick_slot(struct sl_stage *s, u32 index, u64 w, struct sl_tick_state *t)
{
	struct sl_shadow *sh;
	u64 before;

	if (slot_state(w) == SLOT_FREE)
		return;
	t->busy = true;
	sh = sl_shadow(s, index, slot_lap(w));
	if (!sh)
		return;		/* no memory: the next tick */
	before = sh->word;
	if (before != w) {
		sh->word = w;
		sh->since = t->now;
		if (slot_state(w) == SLOT_CLAIMED)
			sh->claimed = t->now;
	}
	if (slot_forged(w)) {
		sl_tick_lie(s, index, w, t);
		return;
	}
	switch (slot_state(w)) {
	case SLOT_FREE:
		return;
	case SLOT_WRITING:
		sl_tick_writing(s, index, w, sh, t);
		return;
	case SLOT_READY:
		if (slot_attempt(w) >= SLOT_ATTEMPT_LAST) {
			sl_tick_lie(s, index, w, t);
			return;
		}
		t->stuck |= before == w;
		if (sl_is_broadcast(s))
			t->changed |= sl_broadcast_tick(s, index, w,
							t->now - sh->since >= s->ack_timeout_ns);
		else if (s->policy && t->now - sh->since >= s->ack_timeout_ns)
			t->changed |= sl_policy_overdue(s, ticket_of(slot_lap(w), index, s->order));
		return;
	case SLOT_CLAIMED:
		sl_tick_claimed(s, index, w, sh, t);
		return;
	case SLOT_DEAD:
		sl_bury(s, index, w, sh->reason ?: EIO);
		t->changed |= sl_slot_word(s, index) != w;
		return;
	}
}

/* P11: all slots FREE, no SEND pending, every consumer parked */
static bool sl_tick_may_stop(struct sl_stage *s, const struct sl_tick_state *t)
{
	lockdep_assert_held(&s->lock);
	if (t->busy || t->changed || s->nqueue || s->nsent)
		return false;
	/* whoever has a turn may be stopped, and nothing else takes it away */
	if (READ_ONCE(s->hints->room_turn) || READ_ONCE(s->hints->buffer_turn))
		return false;
	if (!SL_HAS_CANCEL && sl_parked_commands(s))
		return false;
	return sl_all_parked(s);
}

/** sl_tick() - the work item */
void sl_tick(struct work_struct *work)
{
	struct sl_stage *s = container_of(to_delayed_work(work), struct sl_stage, tick);
	struct sl_tick_state t = { 0 };
	unsigned long period = sl_tick_period(s);
	bool pinned, stop;
	u32 i;

	mutex_lock(&s->lock);
	/* Not before the lock: nothing in the shadow may be younger than now. */
	t.now = ktime_get_ns();
	for (i = 0; sl_next_slot(s, &i); i++)
		sl_tick_slot(s, i, sl_slot_word(s, i), &t);
	sl_policy_tick(s);
	sl_queue_pump(s);
	sl_queue_check(s);
	if (!SL_HAS_CANCEL)
		sl_send_leavers(s);
	pinned = sl_reap_buffers(s, 0, &t.changed);
	if (t.changed)
		sl_generation(s);
	stop = !pinned && sl_tick_may_stop(s, &t);
	mutex_unlock(&s->lock);

	sl_turn_tick(s);
	if (t.stuck && READ_ONCE(s->hints->ready_sleepers))
		sl_wake(s, SLUICE_WAIT_READY, 0);	/* P8 */
	if (!SL_HAS_CANCEL)
		sl_wake_expired(s);
	if (stop || READ_ONCE(s->gone))
		return;
	if (t.next)
		period = min(period, nsecs_to_jiffies(t.next > t.now ? t.next - t.now : 0) + 1);
	queue_delayed_work(sl_workqueue, &s->tick, period);
}
