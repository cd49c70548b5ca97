/* SPDX-License-Identifier: MIT */
/*
 * streams.h - which streams a stage knows, and how far each has come
 *
 * A bounded table. A stream that ended stays as a tombstone, so that a copy of one of its messages
 * that was redelivered is recognised and dropped; when the table is full the tombstone that nobody
 * touched for longest makes room, and if there is none the stream that nobody touched for longest
 * (whose copies are then worked twice, and dropped by the next stage that knows).
 */
#ifndef SLUICE_STREAMS_H
#define SLUICE_STREAMS_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct stream - what a stage knows of a stream
 * @id:		the slot's stream
 * @done:	the highest counter whose result this stage has published
 * @seen_ns:	when the stream was touched last, CLOCK_MONOTONIC
 * @began_ns:	when it was first heard of
 * @live:	not ended
 */
struct stream {
	uint64_t	id;
	uint64_t	done;
	uint64_t	seen_ns;
	uint64_t	began_ns;
	bool		live;
	uint32_t	chain;		/* next entry with the same hash */
	uint32_t	newer, older;	/* order of touching, among the live or the ended */
};

struct streams;

/** streams_create() - a table for @max streams and tombstones; free with streams_free() */
int streams_create(uint32_t max, struct streams **out);
void streams_free(struct streams *t);

/** streams_find() - look a stream up and touch it; NULL if it is not known */
struct stream *streams_find(struct streams *t, uint64_t id);

/** streams_get() - streams_find(), or a new live stream with nothing done; never NULL */
struct stream *streams_get(struct streams *t, uint64_t id);

/** streams_end() - leave a tombstone, whether the stream was known or not */
void streams_end(struct streams *t, uint64_t id);

/** streams_live() - number of live streams, after ending those untouched for @idle_ns */
uint32_t streams_live(struct streams *t, uint64_t idle_ns);

/**
 * streams_retry_ms() - when one of the live streams will have ended, as far as can be known
 *
 * They last as long as those before them did, on average: so the one that began first ends when it
 * has come to that age, and of n that run side by side one ends in a n-th of it. What is later
 * counts. 1000 while no stream has ended yet. At least 1.
 */
uint32_t streams_retry_ms(const struct streams *t);

#endif /* SLUICE_STREAMS_H */
