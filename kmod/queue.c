// SPDX-License-Identifier: GPL-2.0
/*
 * queue.c: messages that wait for room, senders that wait for the ACK (P10, P30).
 *
 * SEND puts a message at the end of the stage's queue and pumps the queue into
 * the ring, in order. What is published and has a sender to be told is watched in
 * stage->sent until its slot holds a newer ticket. All of it under stage->lock.
 */
#include <linux/completion.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "internal.h"
#include "compat.h"

/* -------------------------------------------------------------- completion --- */

/* Tells whoever waits, if anybody still does; the message goes its way. */
static void sl_send_tell(struct sl_send *e, int result)
{
	if (e->cmd) {
		sl_uring_complete(e->cmd, result);
		put_task_struct(e->task);
	}
	e->cmd = NULL;
	if (e->result)
		*e->result = result;
	e->result = NULL;
	if (e->waiter)
		complete(e->waiter);
	e->waiter = NULL;
}

static void sl_send_free(struct sl_stage *s, struct sl_send *e)
{
	lockdep_assert_held(&s->lock);
	list_del(&e->list);
	if (e->published) {
		WRITE_ONCE(s->nsent, s->nsent - 1);
	} else {
		WRITE_ONCE(s->nqueue, s->nqueue - 1);
		WRITE_ONCE(s->hints->queued, s->nqueue);
	}
	kfree(e);
}

/* ------------------------------------------------------------------- pump --- */

/* The head of the queue is in the ring. */
static void sl_queue_published(struct sl_stage *s, struct sl_send *e, u64 ticket)
{
	if (e->accept) {
		sl_send_tell(e, 0);
		sl_send_free(s, e);
		return;
	}
	list_move_tail(&e->list, &s->sent);
	e->ticket = ticket;
	e->published = true;
	WRITE_ONCE(s->nsent, s->nsent + 1);
	WRITE_ONCE(s->nqueue, s->nqueue - 1);
	WRITE_ONCE(s->hints->queued, s->nqueue);
}

static void sl_queue_drop(struct sl_stage *s, struct sl_send *e, int result)
{
	if (e->m.buf != SLUICE_NO_BUFFER) {
		u64 *word = sl_buffer_word(s, e->m.buf, false);

		if (word)
			sl_cas(word, buf_word(0, BUF_QUEUED), buf_word(0, BUF_FREE));
	}
	sl_send_tell(e, result);
	sl_send_free(s, e);
}

/** sl_queue_pump() - into the ring, as many as fit, in order */
void sl_queue_pump(struct sl_stage *s)
{
	struct sl_send *e, *next;
	bool any = false;

	lockdep_assert_held(&s->lock);
	list_for_each_entry_safe(e, next, &s->queue, list) {
		u64 ticket;
		int err = sl_ring_publish(s, &e->m, 0, &ticket);

		if (err == -EAGAIN || err == -ENOMEM)
			break;		/* a kick or the tick comes back here */
		if (err)
			sl_queue_drop(s, e, err);
		else
			sl_queue_published(s, e, ticket);
		any = true;
	}
	if (!any)
		return;
	smp_mb();	/* (C) */
	sl_wake(s, SLUICE_WAIT_READY, 0);
	if (!s->nqueue)
		sl_wake(s, SLUICE_WAIT_ROOM | SLUICE_WAIT_BUFFER, 0);
}

/** sl_queue_check() - tell the senders whose slot holds a newer ticket */
void sl_queue_check(struct sl_stage *s)
{
	struct sl_send *e, *next;

	lockdep_assert_held(&s->lock);
	list_for_each_entry_safe(e, next, &s->sent, list) {
		u64 w = sl_slot_word(s, ticket_index(e->ticket, s->order));

		if (lap_diff(slot_lap(w), ticket_lap(e->ticket, s->order)) <= 0)
			continue;
		sl_send_tell(e, e->missed ? -ETIMEDOUT : (int)(e->ticket & INT_MAX));
		sl_send_free(s, e);
	}
}

/** sl_queue_dead() - @ticket is a dead letter: tell its sender, before the slot is freed (P16) */
void sl_queue_dead(struct sl_stage *s, u64 ticket, int reason)
{
	struct sl_send *e, *next;

	lockdep_assert_held(&s->lock);
	list_for_each_entry_safe(e, next, &s->sent, list) {
		if (e->ticket != ticket)
			continue;
		sl_send_tell(e, -reason);
		sl_send_free(s, e);
	}
}

/**
 * sl_queue_lost() - slot @index is made anew, and whatever was in it is not known
 *
 * Its newer ticket would look like an ACK.
 */
void sl_queue_lost(struct sl_stage *s, u32 index)
{
	struct sl_send *e, *next;

	lockdep_assert_held(&s->lock);
	list_for_each_entry_safe(e, next, &s->sent, list) {
		if (ticket_index(e->ticket, s->order) != index)
			continue;
		sl_send_tell(e, -EBADMSG);
		sl_send_free(s, e);
	}
}

/** sl_queue_missed() - of a broadcast's @word somebody will not get to see the message */
void sl_queue_missed(struct sl_stage *s, u32 index, u64 word)
{
	u64 ticket = ticket_of(slot_lap(word), index, s->order);
	struct sl_send *e;

	lockdep_assert_held(&s->lock);
	list_for_each_entry(e, &s->sent, list)
		if (e->ticket == ticket)
			e->missed = true;
}

/** sl_queue_close() - the stage is gone */
void sl_queue_close(struct sl_stage *s)
{
	struct sl_send *e, *next;

	lockdep_assert_held(&s->lock);
	list_for_each_entry_safe(e, next, &s->queue, list)
		sl_queue_drop(s, e, -ESHUTDOWN);
	list_for_each_entry_safe(e, next, &s->sent, list) {
		sl_send_tell(e, -ESHUTDOWN);
		sl_send_free(s, e);
	}
}

/* Nobody waits for @e any more; a message that is not published yet still will be. */
static void sl_send_forget(struct sl_stage *s, struct sl_send *e, int result)
{
	sl_send_tell(e, result);
	e->accept = true;
	if (e->published)
		sl_send_free(s, e);
}

/** sl_send_orphan() - the sender died; what was accepted survives it (P30) */
void sl_send_orphan(struct sl_endpoint *ep)
{
	struct sl_stage *s = ep->stage;
	struct sl_send *e, *next;

	lockdep_assert_held(&s->lock);
	list_for_each_entry_safe(e, next, &s->sent, list)
		if (e->owner == ep->id)
			sl_send_forget(s, e, -ECANCELED);
	list_for_each_entry_safe(e, next, &s->queue, list)
		if (e->owner == ep->id)
			sl_send_forget(s, e, -ECANCELED);
}

/**
 * sl_send_leavers() - commands that nothing can cancel, of tasks that exit or exec (6.1)
 *
 * Without it an exec, which cannot be killed meanwhile, waits for the ACK.
 */
void sl_send_leavers(struct sl_stage *s)
{
	struct sl_send *e, *next;

	lockdep_assert_held(&s->lock);
	list_for_each_entry_safe(e, next, &s->sent, list)
		if (e->cmd && sl_task_leaves(e->task))
			sl_send_forget(s, e, -ECANCELED);
	list_for_each_entry_safe(e, next, &s->queue, list)
		if (e->cmd && sl_task_leaves(e->task))
			sl_send_forget(s, e, -ECANCELED);
}

static struct sl_send *sl_send_find(struct sl_stage *s, const struct io_uring_cmd *cmd)
{
	struct sl_send *e;

	lockdep_assert_held(&s->lock);
	list_for_each_entry(e, &s->sent, list)
		if (e->cmd == cmd)
			return e;
	list_for_each_entry(e, &s->queue, list)
		if (e->cmd == cmd)
			return e;
	return NULL;
}

/** sl_send_cancel() - io_uring gives up the wait; the message is not recalled */
void sl_send_cancel(struct sl_stage *s, struct io_uring_cmd *cmd)
{
	struct sl_send *e;

	mutex_lock(&s->lock);
	e = sl_send_find(s, cmd);
	if (e)
		sl_send_forget(s, e, -ECANCELED);
	mutex_unlock(&s->lock);
}

/* ------------------------------------------------------------------- send --- */

static int sl_send_check(struct sl_endpoint *ep, const struct sluice_send *arg)
{
	struct sl_stage *s = ep->stage;

	if (arg->flags & ~SLUICE_SEND_ALL || arg->target >= SLOT_OWNER_KERNEL ||
	    arg->msg_flags & ~SLUICE_MSG_ALL)
		return -EINVAL;
	if (ep->role != SLUICE_PRODUCER)
		return -EBADF;
	if (arg->flags & SLUICE_SEND_TRACK)
		return arg->flags == SLUICE_SEND_TRACK ? 0 : -EINVAL;
	if (arg->flags & SLUICE_SEND_BUFFER) {
		if (arg->buf >= s->nbufs)
			return -EINVAL;
		return arg->len > s->bufsize ? -EMSGSIZE : 0;
	}
	return arg->len > max_t(u32, s->bufsize, SLUICE_INLINE_MAX) ? -EMSGSIZE : 0;
}

/* The payload, before anything is reserved (P28). The caller's buffer stays HELD, @f is QUEUED. */
static int sl_send_payload(struct sl_endpoint *ep, const struct sluice_send *arg,
			   struct sl_message *m, struct sl_fill *f)
{
	void __user *from = u64_to_user_ptr(arg->addr);
	int err;

	m->buf = SLUICE_NO_BUFFER;
	if (arg->flags & SLUICE_SEND_BUFFER) {
		m->buf = arg->buf;
		return 0;
	}
	if (arg->len <= SLUICE_INLINE_MAX)
		return copy_from_user(m->data, from, arg->len) ? -EFAULT : 0;
	err = sl_fill(ep, f, from, arg->len);
	m->buf = f->buf;
	return err;
}

/* One that never was on a list; its command is completed by who submitted it. */
static void sl_send_discard(struct sl_send *e)
{
	if (e->cmd)
		put_task_struct(e->task);
	kfree(e);
}

/* What is published holds a slot, but for what was acknowledged a moment ago. */
static bool sl_queue_full(const struct sl_stage *s)
{
	return s->nqueue >= s->queue_max || s->nqueue + s->nsent >= s->queue_max + s->nslots;
}

/* May it be accepted? On 0 its buffer is the kernel's. @filled: it was before. */
static int sl_send_admit(struct sl_endpoint *ep, const struct sl_message *m, bool filled)
{
	struct sl_stage *s = ep->stage;
	u64 *word;

	if (s->closed)
		return -ESHUTDOWN;
	if (ep->dead)
		return -ENOTCONN;
	if (s->sole)
		return -EBUSY;
	if (sl_is_broadcast(s) && !s->recipients)
		return -ENOTCONN;
	if (sl_queue_full(s)) {
		/* of some ACKs the kick may still be on its way */
		sl_queue_check(s);
		if (sl_queue_full(s))
			return -EAGAIN;
	}
	if (m->buf == SLUICE_NO_BUFFER || filled)
		return 0;
	word = sl_buffer_word(s, m->buf, false);
	return word && buf_queue(word, ep->id) == SLOT_OK ? 0 : -EBADF;
}

/*
 * Into the queue and, if there is room, the ring. Takes @e in any case.
 * 0 published, 1 queued, or why not.
 */
static int sl_send_enqueue(struct sl_endpoint *ep, struct sl_send *e, bool filled)
{
	struct sl_stage *s = ep->stage;
	int state = 1, err = sl_send_admit(ep, &e->m, filled);

	lockdep_assert_held(&s->lock);
	if (err) {
		sl_send_discard(e);
		return err;
	}
	list_add_tail(&e->list, &s->queue);
	WRITE_ONCE(s->nqueue, s->nqueue + 1);
	WRITE_ONCE(s->hints->queued, s->nqueue);
	s->counts.sends++;
	smp_mb();	/* (D): an ACK after this look sees that the queue waits */
	if (e->accept) {
		e->result = &state;
		sl_queue_pump(s);
		if (state == 1)
			e->result = NULL;	/* it is still in the queue */
		return state;
	}
	sl_queue_pump(s);
	return 0;
}

/* A sole producer has published it: watch the ticket (P19). */
static int sl_send_track(struct sl_endpoint *ep, struct sl_send *e, u64 ticket)
{
	struct sl_stage *s = ep->stage;
	int err;

	lockdep_assert_held(&s->lock);
	/* what is acknowledged does not count, although its kick may still be on its way */
	sl_queue_check(s);
	err = s->sole != ep ? -EBADF : s->gone ? -ESHUTDOWN : s->nsent >= s->nslots ? -EAGAIN : 0;
	if (err) {
		sl_send_discard(e);
		return err;
	}
	e->ticket = ticket & ticket_mask(s->order);
	e->published = true;
	list_add_tail(&e->list, &s->sent);
	WRITE_ONCE(s->nsent, s->nsent + 1);
	s->counts.sends++;
	smp_mb();	/* (D) */
	sl_queue_check(s);
	return 0;
}

/* SLUICE_IOC_SEND: sleeps until it is told. The message is not recalled by a signal. */
static int sl_send_wait(struct sl_stage *s, struct completion *done, int *result)
{
	struct sl_send *e;

	if (!wait_for_completion_interruptible(done))
		return *result;
	mutex_lock(&s->lock);
	list_for_each_entry(e, &s->sent, list)
		if (e->waiter == done)
			goto found;
	list_for_each_entry(e, &s->queue, list)
		if (e->waiter == done)
			goto found;
	mutex_unlock(&s->lock);
	return *result;		/* told while the signal came */
found:
	e->result = NULL;
	e->waiter = NULL;
	sl_send_forget(s, e, 0);
	mutex_unlock(&s->lock);
	return -EINTR;
}

static struct sl_send *sl_send_alloc(struct sl_endpoint *ep, const struct sluice_send *arg,
				     struct io_uring_cmd *cmd)
{
	struct sl_send *e = kzalloc(sizeof(*e), GFP_KERNEL_ACCOUNT);

	if (!e)
		return NULL;
	e->owner = ep->id;
	e->accept = arg->flags & SLUICE_SEND_ACCEPT;
	e->cmd = e->accept ? NULL : cmd;
	e->m.stream = arg->stream;
	e->m.counter = arg->counter;
	e->m.time = arg->time;
	e->m.len = arg->len;
	e->m.buf = SLUICE_NO_BUFFER;
	e->m.kind = arg->kind;
	e->m.target = arg->target;
	e->m.flags = arg->msg_flags & ~SLUICE_MSG_TELL;
	if (!e->accept)
		e->m.flags |= SLUICE_MSG_TELL;
	return e;
}

/**
 * sl_send() - SLUICE_CMD_SEND (with @cmd) and SLUICE_IOC_SEND (without)
 *
 * Return: -EIOCBQUEUED (the command completes later), 0 or 1 for an accepted
 * one, 0 when the ioctl's message is acknowledged, or why not; see struct sluice_send.
 */
int sl_send(struct sl_endpoint *ep, const struct sluice_send *arg, struct io_uring_cmd *cmd,
	    unsigned int issue_flags)
{
	struct sl_stage *s = ep->stage;
	bool track = arg->flags & SLUICE_SEND_TRACK;
	DECLARE_COMPLETION_ONSTACK(done);
	int err = sl_send_check(ep, arg), result = 0;
	struct sl_fill fill = { .buf = SLUICE_NO_BUFFER };
	struct sl_send *e;
	bool accept;

	if (err)
		return err;
	e = sl_send_alloc(ep, arg, cmd);
	if (!e)
		return -ENOMEM;
	err = track ? 0 : sl_send_payload(ep, arg, &e->m, &fill);
	if (err) {
		kfree(e);
		return err;
	}
	accept = e->accept;
	if (!cmd && !accept) {
		e->waiter = &done;
		e->result = &result;
	}
	if (e->cmd) {
		e->task = current;
		get_task_struct(current);
		io_uring_cmd_mark_cancelable(cmd, issue_flags);
	}
	mutex_lock(&s->lock);
	err = track ? sl_send_track(ep, e, arg->ticket) :
		      sl_send_enqueue(ep, e, fill.buf != SLUICE_NO_BUFFER);
	mutex_unlock(&s->lock);
	sl_fill_end(s, &fill, err >= 0);
	sl_tick_start(s);
	if (err < 0 && cmd && !accept) {
		/* Returned, it would stay on io_uring's list of cancelable commands. */
		sl_cmd_done(cmd, err, issue_flags);
		return -EIOCBQUEUED;
	}
	if (err < 0 || accept)
		return err;
	return cmd ? -EIOCBQUEUED : sl_send_wait(s, &done, &result);
}
