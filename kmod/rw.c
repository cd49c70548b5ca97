// SPDX-License-Identifier: GPL-2.0
/*
 * rw.c: read(2) and write(2) move one message each, so echo and cat work on a stage.
 *
 * For those without a mapping (P36). A reader acknowledges after the copy: one that
 * dies later has lost that message (P28).
 */
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "internal.h"

/*
 * How often a reader that polls looks again after it has armed: each look may be a walk of three
 * laps. It stays armed after the last one, so that what comes next is told.
 */
#define SL_POLL_TRIES	64

/* ------------------------------------------------------------------- read --- */

static ssize_t sl_copy_out(struct sl_stage *s, const struct sl_message *m, char __user *buf)
{
	if (m->buf == SLUICE_NO_BUFFER)
		return copy_to_user(buf, m->data, m->len) ? -EFAULT : 0;
	return sl_region_copy_out(&s->payload, (u64)m->buf * s->bufsize, buf, m->len);
}

/* Gives a claim back as if it had never been made: nothing failed. */
static void sl_unclaim(struct sl_endpoint *ep, u64 ticket, u64 token)
{
	struct sl_stage *s = ep->stage;

	if (ep->recipient) {
		WRITE_ONCE(ep->cursor, ticket);
		return;
	}
	mutex_lock(&s->lock);
	if (sl_retry_claim(s, ticket_index(ticket, s->order), token, false, EMSGSIZE))
		sl_generation(s);
	mutex_unlock(&s->lock);
}

static void sl_reject(struct sl_endpoint *ep, u64 ticket, u64 token)
{
	struct sluice_nack n = {
		.ticket = ticket,
		.token = token,
		.reason = EBADMSG,
		.flags = SLUICE_NACK_DEAD,
	};

	if (ep->recipient)
		sl_broadcast_ack(ep, ticket, token);	/* nothing to read in it */
	else
		sl_nack(ep, &n);
}

/* (E): it may have timed out while a page was fetched */
static bool sl_read_ack(struct sl_endpoint *ep, u64 ticket, u64 token, const struct sl_message *m)
{
	struct sl_stage *s = ep->stage;
	struct sluice_slot *slot = sl_slot(s, ticket_index(ticket, s->order));

	if (ep->recipient)
		return slot_owes(&slot->word, &slot->target, token, ep->recipient) &&
		       sl_broadcast_ack(ep, ticket, token);
	if (!slot_holds(&slot->word, token) || slot_ack(&slot->word, token) != SLOT_OK)
		return false;
	sl_ring_acked(s, ticket, m);
	return true;
}

/* One claimed message to user space. -EAGAIN: it was not to be had after all, try the next. */
static ssize_t sl_read_claimed(struct sl_endpoint *ep, u64 ticket, u64 token, char __user *buf,
			       size_t len)
{
	struct sl_stage *s = ep->stage;
	struct sl_message m;
	ssize_t err;

	if (sl_ring_message(s, ticket, &m)) {
		sl_reject(ep, ticket, token);
		return -EAGAIN;
	}
	err = m.len > len ? -EMSGSIZE : sl_copy_out(s, &m, buf);
	if (err) {
		sl_unclaim(ep, ticket, token);
		return err;
	}
	return sl_read_ack(ep, ticket, token, &m) ? m.len : -EAGAIN;
}

/*
 * The message was not to be had: try the next? Words that change all the time may neither
 * keep this task in the kernel nor, where it must not block, for longer than a lap (P29).
 */
static ssize_t sl_read_again(struct sl_stage *s, bool nonblock, u32 tries)
{
	cond_resched();
	if (signal_pending(current))
		return -ERESTARTSYS;
	return nonblock && tries >= s->nslots ? -EAGAIN : 0;
}

/**
 * sl_read() - the next message, one a call
 * Return: its length, -EMSGSIZE (it does not fit and stays), -EAGAIN with
 * O_NONBLOCK, -EFAULT, -ERESTARTSYS, -ESHUTDOWN.
 */
ssize_t sl_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
{
	struct sl_endpoint *ep = file->private_data;
	struct sl_stage *s = ep->stage;
	bool nonblock = file->f_flags & O_NONBLOCK;
	u64 ticket, token;
	u32 tries = 0;
	ssize_t ret;
	int err = sl_endpoint_attach_implicit(file, SLUICE_CONSUMER);

	if (err)
		return err;
	if (mutex_lock_interruptible(&ep->read_lock))
		return -ERESTARTSYS;
	for (;;) {
		struct sluice_wait wait = { .what = SLUICE_WAIT_READY };

		ret = sl_ring_claim(s, ep, len, &ticket, &token);
		if (ret == -EMSGSIZE || ret == -ENOTCONN || ret == -ERESTARTSYS)
			break;
		if (!ret) {
			ret = sl_read_claimed(ep, ticket, token, buf, len);
			if (ret != -EAGAIN)
				break;
			ret = sl_read_again(s, nonblock, ++tries);
			if (ret)
				break;
			continue;
		}
		ret = -ESHUTDOWN;
		if (READ_ONCE(s->gone))
			break;
		wait.cursor = ep->cursor;
		wait.generation = ep->generation;
		if (nonblock) {
			ret = -EAGAIN;
			if (tries++ < SL_POLL_TRIES && sl_poll_again(ep, &wait))
				continue;
			break;
		}
		ret = sl_wait(ep, &wait, -1);
		if (!ret && signal_pending(current))
			ret = -ERESTARTSYS;	/* words that change all the time */
		if (ret)
			break;
		cond_resched();
	}
	mutex_unlock(&ep->read_lock);
	return ret;
}

/* ------------------------------------------------------------------ write --- */

/* Behind what the kernel's queue keeps, into the ring. @ticket: that there is no room for. */
static int sl_write_publish(struct sl_endpoint *ep, struct sl_message *m, u64 *ticket)
{
	struct sl_stage *s = ep->stage;
	int err;

	mutex_lock(&s->lock);
	if (s->closed)
		err = -ESHUTDOWN;
	else if (ep->dead)
		err = -ENOTCONN;
	else if (s->nqueue || !sl_turn_is(ep, READ_ONCE(s->hints->room_turn)))
		err = -EAGAIN;
	else
		err = sl_ring_publish(s, m, 0, ticket);
	mutex_unlock(&s->lock);
	if (err)
		return err;
	smp_mb();	/* (C) */
	if (READ_ONCE(s->hints->ready_sleepers))
		sl_kick(s, SLUICE_KICK_READY);
	sl_tick_start(s);
	return 0;
}

/*
 * 0: try again. The cursor is the kernel's own, not the hint in shared memory: whoever
 * writes there could keep this task from ever sleeping. The same is why it looks for
 * signals although it did not sleep.
 */
static int sl_write_wait(struct file *file, struct sl_endpoint *ep, u16 what, u64 cursor,
			 bool again)
{
	struct sluice_wait wait = {
		.cursor = cursor,
		.what = what | (again ? SLUICE_WAIT_AGAIN : 0),
	};
	int err;

	if (file->f_flags & O_NONBLOCK)
		return !again && sl_poll_again(ep, &wait) ? 0 : -EAGAIN;
	err = sl_wait(ep, &wait, -1);
	if (!err && signal_pending(current))
		return -ERESTARTSYS;
	cond_resched();
	return err;
}

/* Payload that does not fit into a slot: a buffer, filled before anything is reserved (P28). */
static int sl_write_buffer(struct file *file, struct sl_endpoint *ep, const char __user *from,
			   u32 len, struct sl_fill *fill)
{
	struct sl_stage *s = ep->stage;
	bool again = false;
	int err;

	for (;; again = true) {
		err = -ENOBUFS;
		if (sl_turn_is(ep, READ_ONCE(s->hints->buffer_turn)))
			err = sl_fill(ep, fill, from, len);
		if (err == -ENOBUFS)
			err = sl_write_wait(file, ep, SLUICE_WAIT_BUFFER, 0, again);
		else
			break;
		if (err)
			break;
	}
	if (again)
		sl_turn_end(ep);
	return err;
}

/**
 * sl_write() - one message of kind 0, stream 0
 * Return: @len, -EMSGSIZE, -EAGAIN with O_NONBLOCK, -EBUSY (a sole producer's ring),
 * -EFAULT, -ERESTARTSYS, -ESHUTDOWN.
 */
ssize_t sl_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	struct sl_endpoint *ep = file->private_data;
	struct sl_stage *s = ep->stage;
	struct sl_message m = { .len = len, .buf = SLUICE_NO_BUFFER };
	struct sl_fill fill = { .buf = SLUICE_NO_BUFFER };
	bool again = false;
	u64 ticket = 0;
	int err = sl_endpoint_attach_implicit(file, SLUICE_PRODUCER);

	if (err)
		return err;
	if (len > max_t(size_t, s->bufsize, SLUICE_INLINE_MAX))
		return -EMSGSIZE;
	if (len <= SLUICE_INLINE_MAX)
		err = copy_from_user(m.data, buf, len) ? -EFAULT : 0;
	else
		err = sl_write_buffer(file, ep, buf, len, &fill);
	if (err)
		return err;
	m.buf = fill.buf;
	while ((err = sl_write_publish(ep, &m, &ticket)) == -EAGAIN) {
		err = sl_write_wait(file, ep, SLUICE_WAIT_ROOM, ticket, again);
		if (err)
			break;
		again = true;
	}
	if (again)
		sl_turn_end(ep);
	sl_fill_end(s, &fill, !err);
	return err ?: len;
}
