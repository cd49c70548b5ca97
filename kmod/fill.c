// SPDX-License-Identifier: GPL-2.0
/*
 * fill.c: a payload buffer that the kernel fills from user memory, for write(2) and SEND.
 *
 * The copy may sleep for as long as its source does not come (a fault that somebody else
 * serves), and nothing is locked meanwhile. So the buffer is the kernel's own, QUEUED, from
 * before the copy until the message is published: what is HELD by an endpoint is taken from it
 * when it dies, by the reaper or a repair, or given away by another of its threads, and the copy
 * would go on into somebody else's message (P25, P28).
 */
#include "internal.h"

/* FREE becomes QUEUED; both steps under the lock, under which an endpoint dies. */
static int sl_fill_take(struct sl_endpoint *ep, struct sl_fill *f)
{
	struct sl_stage *s = ep->stage;
	u64 *word;
	u32 index;
	int err;

	lockdep_assert_held(&s->lock);
	if (ep->dead)
		return -ENOTCONN;
	err = sl_buffer_take(s, ep->id, &index);
	if (err)
		return err;
	word = sl_buffer_word(s, index, false);
	if (!word || buf_queue(word, ep->id) != SLOT_OK)
		return -EBADF;	/* somebody with a mapping wrote over it */
	f->buf = index;
	list_add(&f->list, &s->fills);
	return 0;
}

/**
 * sl_fill() - take a free buffer and copy @len bytes into it
 * @f:	of the caller; to be ended by sl_fill_end() when this returns 0
 *
 * Return: 0, -ENOBUFS (none is free), -ENOMEM, -ENOTCONN (dead), -EFAULT.
 */
int sl_fill(struct sl_endpoint *ep, struct sl_fill *f, const void __user *from, u32 len)
{
	struct sl_stage *s = ep->stage;
	int err;

	f->buf = SLUICE_NO_BUFFER;
	mutex_lock(&s->lock);
	err = sl_fill_take(ep, f);
	mutex_unlock(&s->lock);
	if (err)
		return err;
	err = sl_region_copy_in(&s->payload, (u64)f->buf * s->bufsize, from, len);
	if (err)
		sl_fill_end(s, f, false);
	return err;
}

/**
 * sl_fill_end() - the buffer belongs to a message, or to the kernel's queue, or is free again
 * @used:	false: nobody has it
 */
void sl_fill_end(struct sl_stage *s, struct sl_fill *f, bool used)
{
	u64 *word;

	if (f->buf == SLUICE_NO_BUFFER)
		return;
	mutex_lock(&s->lock);
	list_del(&f->list);
	word = used ? NULL : sl_buffer_word(s, f->buf, false);
	if (word)
		sl_cas(word, buf_word(0, BUF_QUEUED), buf_word(0, BUF_FREE));
	mutex_unlock(&s->lock);
	f->buf = SLUICE_NO_BUFFER;
	if (!used)
		sl_kick(s, SLUICE_KICK_ROOM);
}
