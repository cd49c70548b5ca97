// SPDX-License-Identifier: MIT
/*
 * batch.c: runs of messages with a bound of time, on both sides; the next payload asked for ahead.
 *
 * The bound is Nagle's question (RFC 896: send now, or wait for more?) answered by a clock, as in
 * the linger of log producers: a run is published when it is full or its oldest message is due.
 */
#include <stdlib.h>
#include <string.h>

#include <sluice/batch.h>

#include "internal.h"

#define LINE	64u

/**
 * struct sluice_batch
 * @first_at:	ticks when the oldest was gathered
 * @msgs:	[max], the first @n are gathered; payload in @data or in a buffer
 * @data:	[max][SLUICE_INLINE_MAX]
 */
struct sluice_batch {
	struct sluice_ep	*ep;
	u32			max;
	u32			n;
	u64			linger_ns;
	u64			first_at;
	struct sluice_msg	*msgs;
	unsigned char		(*data)[SLUICE_INLINE_MAX];
};

int sluice_batch_create(struct sluice_ep *out, unsigned int max, uint64_t linger_ns,
			struct sluice_batch **batch)
{
	struct sluice_batch *b;

	*batch = NULL;
	if (out->role != SLUICE_PRODUCER)
		return __sluice_err(-EINVAL, "stage '%s': a consumer cannot publish", out->name);
	if (!max || max > SLUICE_BATCH_MAX || linger_ns > SLUICE_LINGER_MAX)
		return __sluice_err(-EINVAL, "stage '%s': a run has 1 to %u messages and waits "
				    "for an hour at most", out->name, SLUICE_BATCH_MAX);
	b = calloc(1, sizeof(*b));
	if (b) {
		b->msgs = calloc(max, sizeof(*b->msgs));
		b->data = calloc(max, sizeof(*b->data));
	}
	if (!b || !b->msgs || !b->data) {
		sluice_batch_free(b);
		return __sluice_err(-ENOMEM, "stage '%s': no memory for a run of %u", out->name,
				    max);
	}
	b->ep = out;
	b->max = max;
	b->linger_ns = linger_ns;
	/* The first look at the clock may take 10 ms: not among messages. */
	sluice_ticks_to_ns(1);
	*batch = b;
	return 0;
}

static void drop_buffer(struct sluice_batch *b, u32 index)
{
	struct sluice_buffer buf = { .index = index };

	if (index != SLUICE_NO_BUFFER)
		sluice_buffer_drop(b->ep, &buf);
}

void sluice_batch_free(struct sluice_batch *b)
{
	u32 i;

	if (!b)
		return;
	for (i = 0; i < b->n; i++)
		drop_buffer(b, b->msgs[i].buffer);
	free(b->msgs);
	free(b->data);
	free(b);
}

unsigned int sluice_batch_count(const struct sluice_batch *b)
{
	return b->n;
}

int64_t sluice_batch_deadline(const struct sluice_batch *b)
{
	u64 waited;

	if (!b->n)
		return SLUICE_FOREVER;
	waited = sluice_ticks_to_ns(sluice_ticks() - b->first_at);
	return waited < b->linger_ns ? (int64_t)(b->linger_ns - waited) : SLUICE_NOW;
}

/* The first @sent are gone; the others move up, and so do the bytes in their slots' stead. */
static void close_ranks(struct sluice_batch *b, u32 sent)
{
	u32 i;

	for (i = sent; i < b->n; i++) {
		struct sluice_msg *to = &b->msgs[i - sent];

		*to = b->msgs[i];
		if (to->buffer == SLUICE_NO_BUFFER)
			to->data = memcpy(b->data[i - sent], b->data[i], to->len);
	}
	b->n -= sent;
}

int sluice_batch_flush(struct sluice_batch *b, int64_t timeout_ns)
{
	u64 deadline = deadline_of(timeout_ns), now;
	u32 published = 0;
	int ret = 0;

	while (published < b->n) {
		ret = sluice_send_batch(b->ep, &b->msgs[published], (int)(b->n - published),
					timeout_ns);
		if (ret < 0)
			break;
		published += (u32)ret;
		if (timeout_ns > 0) {
			now = __sluice_now();
			timeout_ns = now < deadline ? (int64_t)(deadline - now) : SLUICE_NOW;
		}
	}
	close_ranks(b, published);
	return published ? (int)published : ret;
}

int sluice_batch_poll(struct sluice_batch *b)
{
	return sluice_batch_deadline(b) == SLUICE_NOW ? sluice_batch_flush(b, SLUICE_NOW) : 0;
}

/* A message moves into the run; its payload, too, unless its buffer was given over. */
static int gather(struct sluice_batch *b, const struct sluice_msg *msg)
{
	struct sluice_msg *to = &b->msgs[b->n];
	struct outgoing out;
	int ret = __sluice_outgoing(b->ep, msg, &out, DEADLINE_NOW);

	if (ret)
		return ret;
	*to = *msg;
	to->buffer = out.buffer;
	to->data = NULL;
	if (out.buffer == SLUICE_NO_BUFFER)
		to->data = msg->len ? memcpy(b->data[b->n], msg->data, msg->len) : b->data[b->n];
	if (!b->n++)
		b->first_at = sluice_ticks();
	return 0;
}

int sluice_batch_add(struct sluice_batch *b, const struct sluice_msg *msg)
{
	int published = 0, ret;

	/* Left there by a ring that was full. */
	if (b->n == b->max) {
		published = sluice_batch_flush(b, SLUICE_NOW);
		if (published < 0)
			return published;
	}
	ret = gather(b, msg);
	/* Its own run may hold all buffers there are. */
	if (ret == -EAGAIN && b->n) {
		int more = sluice_batch_flush(b, SLUICE_NOW);

		published += more > 0 ? more : 0;
	}
	if (ret)
		return ret;
	if (b->n == b->max || sluice_batch_deadline(b) == SLUICE_NOW) {
		ret = sluice_batch_flush(b, SLUICE_NOW);
		published += ret > 0 ? ret : 0;
	}
	return published;
}

/* ------------------------------------------------------------- consumer side --- */

int sluice_batch_claim(struct sluice_ep *in, struct sluice_msg *msgs, int n, int64_t timeout_ns,
		       uint64_t linger_ns)
{
	int got = sluice_claim_batch(in, msgs, n, timeout_ns), more;
	u64 end, now;

	if (got <= 0 || got == n || !linger_ns)
		return got;
	if (linger_ns > SLUICE_LINGER_MAX)
		linger_ns = SLUICE_LINGER_MAX;
	now = __sluice_now();
	for (end = now + linger_ns; got < n && now < end; now = __sluice_now()) {
		more = sluice_claim_batch(in, msgs + got, n - got, (int64_t)(end - now));
		if (more <= 0)
			break;
		got += more;
	}
	return got;
}

unsigned int sluice_prefetch(struct sluice_ep *in, unsigned int bytes)
{
	const struct sluice_slot *slot = slot_at(in, in->ticket);
	u64 word = sl_load_acquire(&slot->word);
	const char *payload;
	u32 buf, len, at;

	if (slot_look(word, ticket_lap(in->ticket, in->order)) != LOOK_CLAIM)
		return 0;
	buf = __atomic_load_n(&slot->buf, __ATOMIC_RELAXED);
	len = __atomic_load_n(&slot->len, __ATOMIC_RELAXED);
	if (buf >= in->nbufs)
		return 0;
	if (bytes > SLUICE_PREFETCH_MAX)
		bytes = SLUICE_PREFETCH_MAX;
	if (bytes > in->bufsize)
		bytes = in->bufsize;
	if (bytes > len)
		bytes = len;
	payload = in->payload + (size_t)buf * in->bufsize;
	for (at = 0; at < bytes; at += LINE)
		__builtin_prefetch(payload + at);
	return bytes;
}
