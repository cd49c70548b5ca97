/* SPDX-License-Identifier: MIT */
/*
 * peer.h: what can be measured, sluice and its rivals alike
 *
 * A new peer is a file peer_<name>.c with one or more struct peer in it, and a
 * line in peers.c. Two processes play it: ping sends and waits for the echo,
 * pong sends back what it gets. Both do the whole of it themselves, a loop of
 * their own included, so that no call through a pointer is measured.
 */
#ifndef SLUICE_PERF_PEER_H
#define SLUICE_PERF_PEER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <sluice/sluice.h>

#include "perf.h"

/* How a process waits for its message. */
enum peer_mode {
	MODE_SPIN	= 1u << 0,	/* never sleeps */
	MODE_SLEEP	= 1u << 1,	/* sleeps in the kernel at once */
	MODE_ADAPTIVE	= 1u << 2,	/* spins for a while, then sleeps */
};

enum peer_side {
	PING = 0,
	PONG = 1,
};

/* What the two processes do with each other. */
enum peer_work {
	WORK_ROUND,	/* round trips of a message, one at a time */
	WORK_FLOW,	/* messages one way, as many as go */
	WORK_PAYLOAD,	/* a message written in place, one word of each line read; 8 bytes back */
	WORK_COUNT
};

#define PEER_SIZE_MAX	(1u << 20)	/* bytes of a message */
#define PEER_LINE	128		/* apart from each other: the line and its prefetched neighbour */

/**
 * struct peer_run - one peer measured once
 * @peer:	which
 * @mode:	how it waits
 * @work:	what its processes do
 * @size:	bytes of a message
 * @touched:	WORK_PAYLOAD: bytes of it that are written and read
 * @slots:	messages that a ring has room for, for peers that have one
 * @pause:	ticks that ping does something else between two round trips; built-in peers only
 * @state:	the peer's own, from setup(); the processes inherit it
 * @elapsed:	WORK_FLOW, set by pong: ticks from the first message to the last; shared memory
 * @error:	one line from either process, shared memory
 * @error_size:	of it
 */
struct peer_run {
	const struct peer *peer;
	enum peer_mode mode;
	enum peer_work work;
	size_t size;
	size_t touched;
	uint32_t slots;
	uint64_t pause;
	void *state;
	uint64_t *elapsed;
	char *error;
	size_t error_size;
};

/**
 * struct peer_job - a work's two sides
 * @ping:	ROUND, PAYLOAD: @n of them; @samples[i] = ticks of the i-th, from send to send.
 *		FLOW: sends @n messages
 * @pong:	its part of it; FLOW: receives @n messages and sets run->elapsed
 */
struct peer_job {
	int (*ping)(struct peer_run *run, uint64_t n, uint64_t *samples);
	int (*pong)(struct peer_run *run, uint64_t n);
};

/**
 * struct peer - something that carries messages between two processes
 * @name:	on the command line, in tables and files
 * @title:	one line that says what it is
 * @modes:	the enum peer_mode that it can do
 * @reference:	measured whatever mode was asked for: everything else is a ratio to it
 * @optional:	measured only if it is asked for by name
 * @min_size:	smallest message (all carry a 64-bit number to be checked)
 * @max_size:	largest; 0 = PEER_SIZE_MAX
 * @setup:	in the coordinator, before the two processes exist
 * @open:	in each of them, pinned already
 * @close:	in each of them, after the last of it is measured; may be NULL
 * @job:	by work; those that it cannot do are zero
 * @private:	the peer's own
 * @teardown:	in the coordinator, also after a failed setup()
 *
 * All return 0 or a negative errno after peer_fail().
 */
struct peer {
	const char *name;
	const char *title;
	unsigned int modes;
	bool reference;
	bool optional;
	size_t min_size;
	size_t max_size;
	int (*setup)(struct peer_run *run);
	int (*open)(struct peer_run *run, enum peer_side side);
	void (*close)(struct peer_run *run);
	struct peer_job job[WORK_COUNT];
	const void *private;
	void (*teardown)(struct peer_run *run);
};

/** peer_at() - the @i-th, in the order of the tables; NULL after the last */
const struct peer *peer_at(size_t i);

/**
 * peer_load_programs() - add peers that are programs of their own
 * @path:	a line each: name, modes, works, title, command, with tabs between; see
 *		peers/program.h for what such a program does
 *
 * Return: 0 or a negative errno after a message.
 */
int peer_load_programs(const char *path);

/** peer_find() - NULL if there is none of that name */
const struct peer *peer_find(const char *name);

/** peer_fail() - note why in @run->error (the first reason stays); returns -@errnum */
int peer_fail(struct peer_run *run, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** peer_map() - memory that both processes will see, zeroed; NULL when there is none */
void *peer_map(size_t bytes);

/*
 * Every message carries its number at both ends, so that each peer is seen to
 * carry the whole of it, and in order.
 */
static inline void peer_stamp(void *data, size_t size, uint64_t number)
{
	memcpy((char *)data + size - sizeof(number), &number, sizeof(number));
	memcpy(data, &number, sizeof(number));
}

/*
 * A payload: all words the same, so that the sum of one word of each line, as the reader makes it,
 * says whether all lines came. Of the size that the reader was told.
 */
#define PEER_TOUCH	64u	/* bytes between the words that are read */

static inline void peer_fill(void *data, size_t size, uint64_t number)
{
	/* As wide as the compiler can: the payload's way is measured, not a loop. */
	typedef uint64_t line __attribute__((vector_size(PEER_TOUCH), aligned(8), may_alias));
	uint64_t *word = data, *end = word + size / sizeof(*word);
	const line full = (line){ 0 } + (number + 1);

	for (; (size_t)(end - word) >= PEER_TOUCH / sizeof(*word); word += PEER_TOUCH / sizeof(*word))
		*(line *)word = full;
	while (word < end)
		*word++ = number + 1;
}

static inline bool peer_filled(const void *data, size_t size, uint64_t number)
{
	const char *line = data;
	uint64_t sum = 0, lines = (size + PEER_TOUCH - 1) / PEER_TOUCH;

	for (size_t i = 0; i < size; i += PEER_TOUCH)
		sum += *(const volatile uint64_t *)(line + i);
	return sum == (number + 1) * lines;
}

static inline bool peer_stamped(const void *data, size_t size, uint64_t number)
{
	uint64_t first, last;

	memcpy(&first, data, sizeof(first));
	memcpy(&last, (const char *)data + size - sizeof(last), sizeof(last));
	return first == number && last == number;
}

/**
 * peer_ping_loop() - time @n round trips with the peer's own @round_trip
 *
 * Always inline: @round_trip becomes part of the loop. The end of a round trip
 * is the start of the next, so the clock is read once each and nothing, an ACK
 * after the echo for one, falls between two samples.
 */
static inline __attribute__((always_inline)) int
peer_ping_loop(struct peer_run *run, uint64_t n, uint64_t *samples,
	       int (*round_trip)(struct peer_run *run, uint64_t number))
{
	uint64_t begin = sluice_ticks();

	for (uint64_t i = 0; i < n; i++) {
		uint64_t end;
		int err = round_trip(run, i);

		if (err)
			return err;
		end = sluice_ticks();
		samples[i] = end - begin;
		while (__builtin_expect(run->pause != 0, 0) && sluice_ticks() - end < run->pause)
			;
		begin = run->pause ? sluice_ticks() : end;
	}
	return 0;
}

/**
 * peer_batch_loop() - time @n round trips of which @size are under way at a time
 *
 * @batch(first, k) makes k of them, the numbers from @first on. The sample of each is the time of
 * its batch, divided by k: the inverse of a rate, beside which a round trip can be put.
 */
static inline __attribute__((always_inline)) int
peer_batch_loop(struct peer_run *run, uint64_t n, uint64_t *samples, unsigned int size,
		int (*batch)(struct peer_run *run, uint64_t first, unsigned int k))
{
	uint64_t i = 0;

	while (i < n) {
		unsigned int k = n - i < size ? (unsigned int)(n - i) : size;
		uint64_t begin = sluice_ticks(), each;
		int err = batch(run, i, k);

		if (err)
			return err;
		each = (sluice_ticks() - begin) / k;
		while (k--)
			samples[i++] = each;
	}
	return 0;
}

#endif /* SLUICE_PERF_PEER_H */
