// SPDX-License-Identifier: MIT
/*
 * peer_ring.c: a raw ring in shared memory, one each way: what a queue without any promise costs
 *
 * Lamport's ring for one producer and one consumer. Each side keeps a copy of the other's index
 * and looks again only when the copy says full or empty (FastForward, MCRingBuffer); the consumer
 * gives room back a quarter of the ring at a time. No acknowledgement, no death, no sleeping,
 * nothing checked: a floor, not something to build on.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "peer.h"

struct ring_shared {
	uint64_t head __attribute__((aligned(PEER_LINE)));	/* messages written */
	uint64_t tail __attribute__((aligned(PEER_LINE)));	/* messages read */
	char data[] __attribute__((aligned(PEER_LINE)));
};

/* One end of a ring, each process its own. */
struct ring {
	struct ring_shared *shared;
	uint64_t at;		/* the next message of this end */
	uint64_t limit;		/* what the other end is known to allow */
	uint64_t told;		/* consumer: what the producer knows of it */
};

struct ring_state {
	struct ring_shared *shared[2];	/* by the side that writes */
	size_t bytes;
	size_t stride;
	uint64_t slots;
	struct ring out;
	struct ring in;
};

static int ring_setup(struct peer_run *run)
{
	struct ring_state *s = calloc(1, sizeof(*s));

	run->state = s;
	if (!s)
		return peer_fail(run, ENOMEM, "no memory");
	s->stride = (run->size + 63) / 64 * 64;
	/* Payloads go one at a time: two places keep them in the cache, as fast as it can be. */
	s->slots = run->work == WORK_PAYLOAD ? 2 : run->slots;
	s->bytes = sizeof(struct ring_shared) + s->slots * s->stride;
	for (int side = PING; side <= PONG; side++) {
		s->shared[side] = peer_map(s->bytes);
		if (!s->shared[side])
			return peer_fail(run, ENOMEM, "no memory for %zu shared bytes", s->bytes);
	}
	return 0;
}

static int ring_open(struct peer_run *run, enum peer_side side)
{
	struct ring_state *s = run->state;

	s->out.shared = s->shared[side];
	s->out.limit = s->slots;
	s->in.shared = s->shared[side == PING ? PONG : PING];
	return 0;
}

static void ring_teardown(struct peer_run *run)
{
	struct ring_state *s = run->state;

	if (!s)
		return;
	for (int side = PING; side <= PONG; side++)
		if (s->shared[side])
			munmap(s->shared[side], s->bytes);
	free(s);
}

/* Where the next message is to be written; waits for room. */
static inline void *ring_reserve(struct ring_state *s)
{
	struct ring *r = &s->out;

	while (r->at == r->limit)
		r->limit = __atomic_load_n(&r->shared->tail, __ATOMIC_ACQUIRE) + s->slots;
	return r->shared->data + (r->at & (s->slots - 1)) * s->stride;
}

static inline void ring_publish(struct ring_state *s)
{
	__atomic_store_n(&s->out.shared->head, ++s->out.at, __ATOMIC_RELEASE);
}

static inline const void *ring_receive(struct ring_state *s)
{
	struct ring *r = &s->in;

	while (r->at == r->limit)
		r->limit = __atomic_load_n(&r->shared->head, __ATOMIC_ACQUIRE);
	return r->shared->data + (r->at & (s->slots - 1)) * s->stride;
}

static inline void ring_release(struct ring_state *s)
{
	struct ring *r = &s->in;

	r->at++;
	if (r->at - r->told < s->slots / 4)
		return;
	r->told = r->at;
	__atomic_store_n(&r->shared->tail, r->at, __ATOMIC_RELEASE);
}

static inline int ring_round_trip(struct peer_run *run, uint64_t number)
{
	struct ring_state *s = run->state;
	bool good;

	peer_stamp(ring_reserve(s), run->size, number);
	ring_publish(s);
	good = peer_stamped(ring_receive(s), run->size, number);
	ring_release(s);
	return good ? 0 : peer_fail(run, EBADMSG, "echo %llu is not what was sent",
				    (unsigned long long)number);
}

static int ring_ping(struct peer_run *run, uint64_t n, uint64_t *samples)
{
	return peer_ping_loop(run, n, samples, ring_round_trip);
}

static int ring_pong(struct peer_run *run, uint64_t n)
{
	struct ring_state *s = run->state;

	for (uint64_t i = 0; i < n; i++) {
		const void *in = ring_receive(s);

		memcpy(ring_reserve(s), in, run->size);
		ring_publish(s);
		ring_release(s);
	}
	return 0;
}

static int ring_flow_ping(struct peer_run *run, uint64_t n, uint64_t *samples)
{
	struct ring_state *s = run->state;

	for (uint64_t i = 0; i < n; i++) {
		peer_stamp(ring_reserve(s), run->size, i);
		ring_publish(s);
	}
	return 0;
}

static int ring_flow_pong(struct peer_run *run, uint64_t n)
{
	struct ring_state *s = run->state;
	uint64_t begin = 0;

	for (uint64_t i = 0; i < n; i++) {
		const void *in = ring_receive(s);

		if (!i)
			begin = sluice_ticks();
		if (!peer_stamped(in, run->size, i))
			return peer_fail(run, EBADMSG, "message %llu is not what was sent",
					 (unsigned long long)i);
		ring_release(s);
	}
	*run->elapsed = sluice_ticks() - begin;
	return 0;
}

static inline int ring_payload_trip(struct peer_run *run, uint64_t number)
{
	struct ring_state *s = run->state;
	uint64_t answer;

	peer_fill(ring_reserve(s), run->touched, number);
	ring_publish(s);
	memcpy(&answer, ring_receive(s), sizeof(answer));
	ring_release(s);
	return answer == number ? 0 : peer_fail(run, EBADMSG, "answer %llu is wrong",
						(unsigned long long)number);
}

static int ring_payload_ping(struct peer_run *run, uint64_t n, uint64_t *samples)
{
	return peer_ping_loop(run, n, samples, ring_payload_trip);
}

static int ring_payload_pong(struct peer_run *run, uint64_t n)
{
	struct ring_state *s = run->state;

	for (uint64_t i = 0; i < n; i++) {
		if (!peer_filled(ring_receive(s), run->touched, i))
			return peer_fail(run, EBADMSG, "payload %llu is not what was written",
					 (unsigned long long)i);
		memcpy(ring_reserve(s), &i, sizeof(i));
		ring_publish(s);
		ring_release(s);
	}
	return 0;
}

const struct peer peer_ring = {
	.name		= "ring",
	.title		= "raw ring in shared memory each way, nothing acknowledged",
	.modes		= MODE_SPIN,
	.setup		= ring_setup,
	.open		= ring_open,
	.job[WORK_ROUND]	= { ring_ping, ring_pong },
	.job[WORK_FLOW]		= { ring_flow_ping, ring_flow_pong },
	.job[WORK_PAYLOAD]	= { ring_payload_ping, ring_payload_pong },
	.teardown	= ring_teardown,
};
