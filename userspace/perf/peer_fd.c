// SPDX-License-Identifier: MIT
/*
 * peer_fd.c: the loops of peers that are a pair of file descriptors with read and write
 *
 * To sleep they block in read(2), as nearly everybody does; to spin they are
 * non-blocking and read again until there is something.
 */
#include <stdlib.h>

#include "peer_fd.h"

struct fd_state *fd_state_create(struct peer_run *run)
{
	struct fd_state *s = calloc(1, sizeof(*s));

	run->state = s;
	if (!s) {
		peer_fail(run, ENOMEM, "no memory");
		return NULL;
	}
	for (int side = PING; side <= PONG; side++)
		s->in[side] = s->out[side] = -1;
	return s;
}

int fd_open(struct peer_run *run, enum peer_side side)
{
	struct fd_state *s = run->state;
	int flags;

	s->side = side;
	if (run->mode != MODE_SPIN)
		return 0;
	flags = fcntl(s->in[side], F_GETFL);
	if (flags < 0 || fcntl(s->in[side], F_SETFL, flags | O_NONBLOCK))
		return peer_fail(run, errno, "cannot make it non-blocking: %s", strerror(errno));
	return 0;
}

/* @size bytes of s->data */
static inline int fd_write(struct peer_run *run, struct fd_state *s, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = write(s->out[s->side], s->data + done, size - done);

		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			return peer_fail(run, errno, "write: %s", strerror(errno));
	}
	return 0;
}

static inline int fd_read(struct peer_run *run, struct fd_state *s, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = read(s->in[s->side], s->data + done, size - done);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0)
			return peer_fail(run, EPIPE, "the other process closed its end");
		else if (errno != EAGAIN && errno != EINTR)
			return peer_fail(run, errno, "read: %s", strerror(errno));
	}
	return 0;
}

static inline int fd_round_trip(struct peer_run *run, uint64_t number)
{
	struct fd_state *s = run->state;
	int err;

	peer_stamp(s->data, run->size, number);
	err = fd_write(run, s, run->size);
	if (!err)
		err = fd_read(run, s, run->size);
	if (err)
		return err;
	if (!peer_stamped(s->data, run->size, number))
		return peer_fail(run, EBADMSG, "echo %llu is not what was sent",
				 (unsigned long long)number);
	return 0;
}

int fd_ping(struct peer_run *run, uint64_t n, uint64_t *samples)
{
	return peer_ping_loop(run, n, samples, fd_round_trip);
}

/* So many sent, then as many read. */
static int fd_batch(struct peer_run *run, uint64_t first, unsigned int k)
{
	struct fd_state *s = run->state;
	int err;

	for (unsigned int i = 0; i < k; i++) {
		peer_stamp(s->data, run->size, first + i);
		err = fd_write(run, s, run->size);
		if (err)
			return err;
	}
	for (unsigned int i = 0; i < k; i++) {
		err = fd_read(run, s, run->size);
		if (err)
			return err;
		if (!peer_stamped(s->data, run->size, first + i))
			return peer_fail(run, EBADMSG, "echo %llu is not what was sent",
					 (unsigned long long)(first + i));
	}
	return 0;
}

int fd_ping_batch(struct peer_run *run, uint64_t n, uint64_t *samples)
{
	return peer_batch_loop(run, n, samples, 16, fd_batch);
}

int fd_pong(struct peer_run *run, uint64_t n)
{
	struct fd_state *s = run->state;

	for (uint64_t i = 0; i < n; i++) {
		int err = fd_read(run, s, run->size);

		if (!err)
			err = fd_write(run, s, run->size);
		if (err)
			return err;
	}
	return 0;
}

/* ------------------------------------------------------------------- one way --- */

int fd_flow_ping(struct peer_run *run, uint64_t n, uint64_t *samples)
{
	struct fd_state *s = run->state;

	for (uint64_t i = 0; i < n; i++) {
		int err;

		peer_stamp(s->data, run->size, i);
		err = fd_write(run, s, run->size);
		if (err)
			return err;
	}
	return 0;
}

/* As many whole messages as a read of this size brings, and the beginning of one at most. */
static ssize_t fd_read_some(struct peer_run *run, struct fd_state *s, size_t have, size_t wanted)
{
	ssize_t n;

	do {
		n = read(s->in[s->side], s->data + have, wanted - have);
	} while (n < 0 && (errno == EAGAIN || errno == EINTR));
	if (n > 0)
		return n;
	return peer_fail(run, n ? errno : EPIPE, "read: %s", n ? strerror(errno) : "end of file");
}

/* A stream is read in large pieces; one that keeps the bounds of messages gives one a read. */
int fd_flow_pong(struct peer_run *run, uint64_t n)
{
	struct fd_state *s = run->state;
	size_t piece = 1 << 16, have = 0;
	uint64_t begin = 0, i = 0;

	if (piece < run->size)
		piece = run->size;
	while (i < n) {
		size_t left = (n - i) * run->size, at = 0;
		ssize_t got = fd_read_some(run, s, have, left < piece ? left : piece);

		if (got < 0)
			return (int)got;
		if (!begin)
			begin = sluice_ticks();
		have += (size_t)got;
		for (; have - at >= run->size; at += run->size, i++)
			if (!peer_stamped(s->data + at, run->size, i))
				return peer_fail(run, EBADMSG, "message %llu is not what was sent",
						 (unsigned long long)i);
		have -= at;
		memmove(s->data, s->data + at, have);
	}
	*run->elapsed = sluice_ticks() - begin;
	return 0;
}

/* ------------------------------------------------------------------ payloads --- */

static inline int fd_payload_trip(struct peer_run *run, uint64_t number)
{
	struct fd_state *s = run->state;
	int err;

	peer_fill(s->data, run->touched, number);
	err = fd_write(run, s, run->size);
	if (!err)
		err = fd_read(run, s, sizeof(number));
	if (err)
		return err;
	return memcmp(s->data, &number, sizeof(number)) ?
		       peer_fail(run, EBADMSG, "answer %llu is wrong", (unsigned long long)number) :
		       0;
}

int fd_payload_ping(struct peer_run *run, uint64_t n, uint64_t *samples)
{
	return peer_ping_loop(run, n, samples, fd_payload_trip);
}

int fd_payload_pong(struct peer_run *run, uint64_t n)
{
	struct fd_state *s = run->state;

	for (uint64_t i = 0; i < n; i++) {
		int err = fd_read(run, s, run->size);

		if (err)
			return err;
		if (!peer_filled(s->data, run->touched, i))
			return peer_fail(run, EBADMSG, "payload %llu is not what was written",
					 (unsigned long long)i);
		memcpy(s->data, &i, sizeof(i));
		err = fd_write(run, s, sizeof(i));
		if (err)
			return err;
	}
	return 0;
}

void fd_teardown(struct peer_run *run)
{
	struct fd_state *s = run->state;

	if (!s)
		return;
	for (int side = PING; side <= PONG; side++) {
		if (s->in[side] >= 0)
			close(s->in[side]);
		if (s->out[side] >= 0 && s->out[side] != s->in[side])
			close(s->out[side]);
	}
	free(s);
}
