/* SPDX-License-Identifier: MIT */
/*
 * sluice/batch.h: several messages at once, none later than a bound; payloads and buffers ahead.
 *
 * Who sends gathers a run (struct sluice_batch):
 *
 *	sluice_batch_create(out, 32, 100000, &run);		// 32 messages or 100 us
 *	for (;;) {
 *		ret = sluice_claim(in, &msg, sluice_batch_deadline(run));
 *		if (!ret)
 *			sluice_batch_add(run, &result);
 *		else if (ret == -EAGAIN)
 *			sluice_batch_poll(run);
 *	}
 *
 * Who receives waits a little for more (sluice_batch_claim()). There is no thread and no timer: a
 * bound holds for who comes back in time. docs/batching.md has costs, bounds and measurements.
 */
#ifndef SLUICE_BATCH_H
#define SLUICE_BATCH_H

#include <sluice/sluice.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_BATCH_MAX	4096u		/* messages of a run */
#define SLUICE_LINGER_MAX	3600000000000ull	/* ns: an hour */

/* ------------------------------------------------------------- producer side --- */

struct sluice_batch;

/**
 * sluice_batch_create() - gather messages for an endpoint
 * @out:	producer; it outlives the batch
 * @max:	messages that make a run, 1..SLUICE_BATCH_MAX
 * @linger_ns:	the oldest waits no longer, up to SLUICE_LINGER_MAX; 0: each goes at once
 *
 * Return: 0, -EINVAL, -ENOMEM.
 */
int sluice_batch_create(struct sluice_ep *out, unsigned int max, uint64_t linger_ns,
			struct sluice_batch **b);

/**
 * sluice_batch_free() - NULL is allowed
 *
 * What was not published is dropped, its buffers are free again: flush first.
 */
void sluice_batch_free(struct sluice_batch *b);

/**
 * sluice_batch_add() - gather one message; publish the run if that is due
 * @msg:	as for sluice_send(): @data is copied (what does not fit into a slot, into a buffer
 *		that is taken for it now), or @buffer is given over
 *
 * The run is published when it is full or its oldest message is overdue. A gathered message is not
 * sent yet: it is lost if the process dies. So acknowledge what it was made from after the flush.
 * Return: how many were published (0: gathered only), or, with the message still the caller's,
 * -EAGAIN (the run is full and so is the ring, or no buffer is free), or as sluice_send().
 */
int sluice_batch_add(struct sluice_batch *b, const struct sluice_msg *msg);

/**
 * sluice_batch_poll() - publish the run if its oldest message is overdue
 * Return: as sluice_batch_flush(); 0 when nothing is due.
 */
int sluice_batch_poll(struct sluice_batch *b);

/**
 * sluice_batch_flush() - publish what is gathered now, in order
 * @timeout_ns:	to wait for room, in all
 *
 * The messages of a run are published one after the other; then there is one look for sleepers and
 * at most one wake-up. Other producers' messages may lie between them.
 * Return: how many were published, also if that is not all of them (see sluice_batch_count());
 * or none and -EAGAIN, -EINTR, -ESHUTDOWN. What was not published stays gathered.
 */
int sluice_batch_flush(struct sluice_batch *b, int64_t timeout_ns);

/**
 * sluice_batch_deadline() - how long a loop may do something else
 *
 * Return: ns until the run is overdue: a timeout for sluice_claim(), sluice_batch_claim() and the
 * like; SLUICE_NOW when it is due, SLUICE_FOREVER when nothing is gathered.
 */
int64_t sluice_batch_deadline(const struct sluice_batch *b);

/** sluice_batch_count() - messages that are gathered and not published */
unsigned int sluice_batch_count(const struct sluice_batch *b);

/* ------------------------------------------------------------- consumer side --- */

/**
 * sluice_batch_claim() - wait for one message, then a little for more
 * @msgs:	out, @n of them
 * @timeout_ns:	to wait for the first
 * @linger_ns:	to wait for more, counted from the claim of the first; 0: what is there
 *
 * Returns as soon as there are @n. All claims are held meanwhile: the stage's ack timeout is longer
 * than @linger_ns plus the work. A wait that ends early (a signal, the stage is destroyed) ends the
 * batch, not the claims it has.
 * Return: how many, or as sluice_claim().
 */
int sluice_batch_claim(struct sluice_ep *in, struct sluice_msg *msgs, int n, int64_t timeout_ns,
		       uint64_t linger_ns);

/**
 * sluice_prefetch() - ask for the beginning of the next message's payload
 * @bytes:	of it at most, up to SLUICE_PREFETCH_MAX
 *
 * A hint to the processor, to be given between a claim and the work on it: if the message after it
 * has been published and has a buffer, its first lines are on their way while the work is done.
 * Nothing is claimed, nobody waits. Return: how many bytes were asked for.
 */
#define SLUICE_PREFETCH_MAX	16384u
unsigned int sluice_prefetch(struct sluice_ep *in, unsigned int bytes);

/* ----------------------------------------------------------- buffers kept ready --- */

struct sluice_ready;

/**
 * sluice_ready_create() - keep payload buffers ready for an endpoint
 * @out:	producer; it outlives the store
 * @n:		buffers that are held, at least 1; nobody else can have them meanwhile
 *
 * Each is touched once on every page, so that who writes into it takes no page fault.
 * Return: 0 (also when fewer were free), -ENOBUFS (the stage has none), -EINVAL, -ENOMEM.
 */
int sluice_ready_create(struct sluice_ep *out, unsigned int n, struct sluice_ready **r);

/** sluice_ready_free() - its buffers are free again; NULL is allowed */
void sluice_ready_free(struct sluice_ready *r);

/**
 * sluice_ready_take() - a buffer without looking for one; as sluice_buffer_take() if none is ready
 * Return: as sluice_buffer_take().
 */
int sluice_ready_take(struct sluice_ready *r, struct sluice_buffer *buf, int64_t timeout_ns);

/** sluice_ready_put() - a taken buffer that was not sent: kept ready, or dropped */
int sluice_ready_put(struct sluice_ready *r, struct sluice_buffer *buf);

/**
 * sluice_ready_fill() - take free buffers until all are ready again
 *
 * For a moment in which there is nothing else to do: before a claim that may sleep.
 * Return: how many are ready.
 */
unsigned int sluice_ready_fill(struct sluice_ready *r);

#ifdef __cplusplus
}
#endif
#endif /* SLUICE_BATCH_H */
