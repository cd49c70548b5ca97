// SPDX-License-Identifier: MIT
/*
 * peer_floor.c: the raw cache line, which no message system can be faster than
 *
 * "floor" bounces one word in one line: the cost of the cores' coherence and of
 * nothing else. "floor-data" moves the message too: a word and the bytes in
 * neighbouring lines, a pair for each direction, no acknowledgement.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "peer.h"

struct floor_lane {
	uint64_t word __attribute__((aligned(PEER_LINE)));
	char data[PEER_SIZE_MAX] __attribute__((aligned(64)));
};

struct floor_shared {
	struct floor_lane lane[2];	/* by the side that writes it */
};

/* A round trip leaves the word odd on its way to pong and even when it is back. */
struct floor_state {
	struct floor_shared *shared;
	uint64_t turn;			/* the last value seen, each process its own */
};

static int floor_setup(struct peer_run *run)
{
	struct floor_state *s = calloc(1, sizeof(*s));

	run->state = s;
	if (s)
		s->shared = peer_map(sizeof(*s->shared));
	if (!s || !s->shared)
		return peer_fail(run, ENOMEM, "no memory for %zu shared bytes",
				 sizeof(*s->shared));
	return 0;
}

static int floor_open(struct peer_run *run, enum peer_side side)
{
	return 0;
}

static void floor_teardown(struct peer_run *run)
{
	struct floor_state *s = run->state;

	if (s && s->shared)
		munmap(s->shared, sizeof(*s->shared));
	free(s);
}

static inline void floor_await(const uint64_t *word, uint64_t value)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value)
		;
}

static inline int floor_round_trip(struct peer_run *run, uint64_t number)
{
	struct floor_state *s = run->state;
	uint64_t *word = &s->shared->lane[PING].word;

	__atomic_store_n(word, s->turn + 1, __ATOMIC_RELEASE);
	s->turn += 2;
	floor_await(word, s->turn);
	return 0;
}

static int floor_ping(struct peer_run *run, uint64_t n, uint64_t *samples)
{
	return peer_ping_loop(run, n, samples, floor_round_trip);
}

static int floor_pong(struct peer_run *run, uint64_t n)
{
	struct floor_state *s = run->state;
	uint64_t *word = &s->shared->lane[PING].word;

	for (uint64_t i = 0; i < n; i++) {
		floor_await(word, s->turn + 1);
		s->turn += 2;
		__atomic_store_n(word, s->turn, __ATOMIC_RELEASE);
	}
	return 0;
}

static inline int floor_data_round_trip(struct peer_run *run, uint64_t number)
{
	struct floor_state *s = run->state;
	struct floor_lane *out = &s->shared->lane[PING], *in = &s->shared->lane[PONG];

	peer_stamp(out->data, run->size, number);
	__atomic_store_n(&out->word, ++s->turn, __ATOMIC_RELEASE);
	floor_await(&in->word, s->turn);
	if (!peer_stamped(in->data, run->size, number))
		return peer_fail(run, EBADMSG, "echo %llu is not what was sent",
				 (unsigned long long)number);
	return 0;
}

static int floor_data_ping(struct peer_run *run, uint64_t n, uint64_t *samples)
{
	return peer_ping_loop(run, n, samples, floor_data_round_trip);
}

static int floor_data_pong(struct peer_run *run, uint64_t n)
{
	struct floor_state *s = run->state;
	struct floor_lane *out = &s->shared->lane[PONG], *in = &s->shared->lane[PING];

	for (uint64_t i = 0; i < n; i++) {
		floor_await(&in->word, ++s->turn);
		memcpy(out->data, in->data, run->size);
		__atomic_store_n(&out->word, s->turn, __ATOMIC_RELEASE);
	}
	return 0;
}

const struct peer peer_floor = {
	.name		= "floor",
	.title		= "one cache line bounced between two processes, no message",
	.modes		= MODE_SPIN,
	.reference	= true,
	.setup		= floor_setup,
	.open		= floor_open,
	.job[WORK_ROUND]	= { floor_ping, floor_pong },
	.teardown	= floor_teardown,
};

const struct peer peer_floor_data = {
	.name		= "floor-data",
	.title		= "raw shared memory: a word and the message's lines each way, no ACK",
	.modes		= MODE_SPIN,
	.setup		= floor_setup,
	.open		= floor_open,
	.job[WORK_ROUND]	= { floor_data_ping, floor_data_pong },
	.teardown	= floor_teardown,
};
