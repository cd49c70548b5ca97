/* SPDX-License-Identifier: MIT */
/*
 * sluice/order.h: each stream in order, each message once, where processes may die in between.
 *
 * A message may be worked on twice and may be overtaken; what tells it apart is (stream, counter).
 * In the middle of a pipe a mark for each stream is enough to drop copies (struct sluice_streams).
 * At its end a window for each stream also puts the counters back in order (struct sluice_order):
 *
 *	struct sluice_order_options opt = { .streams = 1024, .window = 256 };
 *	struct sluice_order *order;
 *	struct sluice_delivery d;
 *
 *	sluice_order_create(&opt, &order);
 *	while (!sluice_order_claim(order, in, &d, SLUICE_FOREVER)) {
 *		if (d.missing)
 *			complain(d.msg.stream, d.msg.counter, d.missing, d.reason);
 *		else
 *			show(d.msg.stream, d.msg.data, d.msg.len);
 *	}
 *
 * A stream begins with counter 0 and SLUICE_MSG_OPEN, each message has the counter of the one
 * before it plus 1, the last one has SLUICE_MSG_LAST. docs/order.md has states and costs.
 * An object belongs to one thread. Needs <sluice/sluice.h> only; the kernel knows nothing of it.
 */
#ifndef SLUICE_ORDER_H
#define SLUICE_ORDER_H

#include <sluice/sluice.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ streams --- */

/**
 * struct sluice_stream - what a process knows of a stream
 * @id:		the slot's stream
 * @done:	the caller's: the highest counter whose result it has published
 * @seen:	when the stream was touched last, in ticks of sluice_ticks()
 * @live:	not ended
 * @chain, @newer, @older: the table's
 */
struct sluice_stream {
	uint64_t	id;
	uint64_t	done;
	uint64_t	seen;
	uint64_t	began;
	bool		live;
	uint32_t	chain;
	uint32_t	newer, older;
};

/**
 * struct sluice_streams - which streams a process knows: a bounded table
 *
 * A stream that ended stays as a tombstone, so that a copy of one of its messages that was
 * redelivered is recognised and dropped. When the table is full the tombstone that nobody touched
 * for longest makes room, and if there is none the stream that nobody touched for longest (whose
 * copies are then worked twice, and dropped by the next process that knows).
 */
struct sluice_streams;

/** sluice_streams_create() - for @max streams and tombstones. Return: 0, -EINVAL, -ENOMEM. */
int sluice_streams_create(uint32_t max, struct sluice_streams **out);
/** sluice_streams_free() - NULL is allowed */
void sluice_streams_free(struct sluice_streams *t);

/** sluice_streams_find() - look a stream up and touch it; NULL if it is not known */
struct sluice_stream *sluice_streams_find(struct sluice_streams *t, uint64_t id);

/** sluice_streams_get() - the same, or a new live stream with nothing done; never NULL */
struct sluice_stream *sluice_streams_get(struct sluice_streams *t, uint64_t id);

/** sluice_streams_end() - leave a tombstone, whether the stream was known or not */
void sluice_streams_end(struct sluice_streams *t, uint64_t id);

/** sluice_streams_live() - number of live streams, after ending those untouched for @idle_ns */
uint32_t sluice_streams_live(struct sluice_streams *t, uint64_t idle_ns);

/**
 * sluice_streams_retry_ms() - when one of the live streams will have ended, as far as can be known
 *
 * They last as long as those before them did, on average: so the one that began first ends when it
 * has come to that age, and of n that run side by side one ends in a n-th of it. What is later
 * counts. 1000 while no stream has ended yet. At least 1.
 */
uint32_t sluice_streams_retry_ms(const struct sluice_streams *t);

/* ------------------------------------------------------- the end of the pipe --- */

struct sluice_order;

enum sluice_order_mode {
	SLUICE_ORDER_STRICT	= 0,	/* each stream by counter, each message once */
	SLUICE_ORDER_ONCE	= 1,	/* as they come, each message once */
	SLUICE_ORDER_RAW	= 2,	/* as they come, copies, too */
};

#define SLUICE_ORDER_WINDOW_MAX	(1u << 16)

/**
 * struct sluice_order_options - all bounds, given once
 * @mode:	enum sluice_order_mode
 * @streams:	known at a time: living, ended and not begun ones; at least the streams that are
 *		admitted at a time plus those that end within @keep_ns
 * @window:	counters of one stream, a power of two from 2 to SLUICE_ORDER_WINDOW_MAX: more
 *		than one stream ever has under way from the first to the last process of the pipe
 * @bytes:	of payload that may wait for its turn, of all streams; 0 = 64 MiB
 * @keep_ns:	a stream that ended stays known for at least so long: the longest time for which
 *		a copy of its messages may be on its way (the sum of max_attempts x max_hold)
 */
struct sluice_order_options {
	uint32_t	mode;
	uint32_t	streams;
	uint32_t	window;
	uint64_t	bytes;
	uint64_t	keep_ns;
};

/**
 * sluice_order_create() - a window for each of so many streams
 * Return: 0, -EINVAL, -ENOMEM.
 */
int sluice_order_create(const struct sluice_order_options *opt, struct sluice_order **order);

/** sluice_order_free() - what waits for its turn is dropped; NULL is allowed */
void sluice_order_free(struct sluice_order *order);

/**
 * struct sluice_delivery - what comes out: a message, or the news that some are missing
 * @msg:	@data is the window's copy, valid until the next call for it; there is nothing to
 *		acknowledge. With @missing only @stream and @counter mean anything
 * @missing:	so many messages from @msg.counter on will not come; 0: @msg is a message
 * @reason:	of that: the errno of the dead letter, or EOVERFLOW when a message came that is a
 *		whole window ahead of the first one that is missing
 */
struct sluice_delivery {
	struct sluice_msg msg;
	uint64_t	missing;
	int		reason;
};

/**
 * sluice_order_claim() - the next thing to deliver, of any stream
 * @in:		where messages are claimed from, copied out and acknowledged at once
 * @d:		out
 * @timeout_ns:	as for sluice_claim()
 *
 * No claim is held on return. What finds no room in the window's bounds (-ENOBUFS, -EUSERS of
 * sluice_order_put()) is given back (SLUICE_NACK_BUSY) and comes again later.
 * Return: 0, or as sluice_claim(); -ENOMEM (the message was given back).
 */
int sluice_order_claim(struct sluice_order *order, struct sluice_ep *in,
		       struct sluice_delivery *d, int64_t timeout_ns);

/**
 * sluice_order_put() - the step by itself: one message goes in
 * @in:		the message was claimed there: copy it, ask whether it still is the caller's,
 *		take it in, acknowledge it; NULL: @msg is in the caller's own memory
 *
 * Fetch what became ready with sluice_order_next() before the next put.
 * Return: 0 (taken, or dropped as a copy), -ESTALE (the claim was lost: nothing happened),
 * -EBUSY (something is ready), and then the message is neither taken nor acknowledged:
 * -EUSERS (more streams than there is room for), -ENOBUFS (@bytes), -ENOMEM.
 */
int sluice_order_put(struct sluice_order *order, struct sluice_ep *in,
		     const struct sluice_msg *msg);

/** sluice_order_next() - what is ready to deliver. Return: 0, -EAGAIN. */
int sluice_order_next(struct sluice_order *order, struct sluice_delivery *d);

/**
 * sluice_order_dead() - a message will never come: it is a dead letter
 * @reason:	positive errno, as the letter has it
 *
 * The tombstone takes the message's place and comes out as a gap in its turn. If the message comes
 * first, or comes after all before its turn, it is delivered. Counter 0 opens a stream.
 * Return: as sluice_order_put(); -EINVAL.
 */
int sluice_order_dead(struct sluice_order *order, uint64_t stream, uint64_t counter, int reason);

/**
 * sluice_order_open() - the caller knows that a stream begins (it sent the request itself)
 * Return: 0, -EEXIST (it has ended already), -EUSERS, -EBUSY.
 */
int sluice_order_open(struct sluice_order *order, uint64_t stream);

/** sluice_order_end() - the caller wants no more of a stream; what waits is dropped */
void sluice_order_end(struct sluice_order *order, uint64_t stream);

/**
 * struct sluice_order_stats - what a window did; the last three are now
 * @delivered:	messages
 * @copies:	dropped: delivered already, or of a stream that has ended, or given up by a gap
 * @strays:	dropped: of a stream that never began
 * @early:	had to wait for an earlier one
 * @missing:	counters that were reported as missing
 * @refused:	-EUSERS, -ENOBUFS
 * @live:	streams that have begun and not ended
 * @waiting:	messages that wait for their turn
 * @bytes:	of payload that waits
 */
struct sluice_order_stats {
	uint64_t	delivered, copies, strays, early, missing, refused;
	uint64_t	live, waiting, bytes;
};

const struct sluice_order_stats *sluice_order_stats(struct sluice_order *order);

#ifdef __cplusplus
}
#endif
#endif /* SLUICE_ORDER_H */
