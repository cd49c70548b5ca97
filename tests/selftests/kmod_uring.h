/* SPDX-License-Identifier: MIT */
/* kmod_uring.h: the module's commands through io_uring. */
#ifndef SLUICE_TEST_KMOD_URING_H
#define SLUICE_TEST_KMOD_URING_H

#include <liburing.h>

#include "kmod_common.h"

#define NOTHING		(-12345)	/* no completion came */

/* A command of 16 bytes, put into the ring; not submitted. */
static inline struct io_uring_sqe *command(struct io_uring *ring, int fd, u32 op, const void *arg,
					   size_t len, u64 tag)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd, NULL, 0, 0);
	sqe->cmd_op = op;
	memset(sqe->cmd, 0, 16);
	memcpy(sqe->cmd, arg, len);
	sqe->user_data = tag;
	return sqe;
}

static inline void command_wait(struct io_uring *ring, const struct end *e, u16 what, u64 cursor,
				u64 tag)
{
	struct sluice_wait w = wait_for(e, what, cursor);

	command(ring, e->fd, SLUICE_CMD_WAIT, &w, sizeof(w), tag);
}

static inline void command_send(struct io_uring *ring, int fd, const struct sluice_send *s, u64 tag)
{
	struct sluice_send_cmd c = { .addr = (u64)(uintptr_t)s };

	command(ring, fd, SLUICE_CMD_SEND, &c, sizeof(c), tag);
}

static inline void command_kick(struct io_uring *ring, const struct end *e, u32 what, u64 tag)
{
	struct sluice_kick k = { .what = what };

	command(ring, e->fd, SLUICE_CMD_KICK, &k, sizeof(k), tag);
}

/* The next completion within @ms: its result, and its tag. NOTHING when none came. */
static inline int completion(struct io_uring *ring, unsigned int ms, u64 *tag)
{
	struct __kernel_timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * MS };
	struct io_uring_cqe *cqe;
	int res;

	if (io_uring_wait_cqe_timeout(ring, &cqe, &ts))
		return NOTHING;
	res = cqe->res;
	if (tag)
		*tag = cqe->user_data;
	io_uring_cqe_seen(ring, cqe);
	return res;
}

/* Submits, and the result of a command that is expected to be over soon. */
static inline int submit_one(struct io_uring *ring)
{
	io_uring_submit(ring);
	return completion(ring, scaled(2000), NULL);
}

/* A text to send, with @flags of SLUICE_SEND_*. */
static inline struct sluice_send send_text(const char *text, u32 flags)
{
	return (struct sluice_send) {
		.size = sizeof(struct sluice_send), .flags = flags, .stream = 7,
		.addr = (u64)(uintptr_t)text, .len = (u32)strlen(text), .kind = 3,
	};
}

#endif /* SLUICE_TEST_KMOD_URING_H */
