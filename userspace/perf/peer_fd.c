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

static inline int fd_send(struct peer_run *run, struct fd_state *s)
{
	size_t done = 0;

	while (done < run->size) {
		ssize_t n = write(s->out[s->side], s->data + done, run->size - done);

		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			return peer_fail(run, errno, "write: %s", strerror(errno));
	}
	return 0;
}

static inline int fd_receive(struct peer_run *run, struct fd_state *s)
{
	size_t done = 0;

	while (done < run->size) {
		ssize_t n = read(s->in[s->side], s->data + done, run->size - done);

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
	err = fd_send(run, s);
	if (!err)
		err = fd_receive(run, s);
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
		err = fd_send(run, s);
		if (err)
			return err;
	}
	for (unsigned int i = 0; i < k; i++) {
		err = fd_receive(run, s);
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
		int err = fd_receive(run, s);

		if (!err)
			err = fd_send(run, s);
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
