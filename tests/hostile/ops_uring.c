// SPDX-License-Identifier: MIT
/*
 * ops_uring.c: WAIT, SEND and KICK through io_uring: parked, linked, on fixed files, from an
 * SQPOLL thread, cancelled in every way, abandoned with the ring.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hostile.h"

#define ENTRIES		16u
#define FIXED		8u

/* A child's copies are its parent's rings. */
void rings_forget(struct lane *l)
{
	memset(l->ring_made, 0, sizeof(l->ring_made));
}

static int op_ring_make(struct lane *l)
{
	static const unsigned int flags[] = {
		0, 0, 0, IORING_SETUP_SQPOLL, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_COOP_TASKRUN, IORING_SETUP_SQE128, IORING_SETUP_CQE32,
		IORING_SETUP_IOPOLL, IORING_SETUP_SUBMIT_ALL,
	};
	uint32_t i = rng_below(&l->rng, RINGS), n;
	struct io_uring_params p = {
		.flags = RNG_PICK(&l->rng, flags), .sq_thread_idle = 1,
	};
	int files[FIXED], ret;

	if (l->ring_made[i])
		return -EBUSY;
	pthread_mutex_lock(&l->w->map_lock);
	ret = io_uring_queue_init_params(ENTRIES, &l->ring[i], &p);
	pthread_mutex_unlock(&l->w->map_lock);
	if (ret)
		return ret;
	l->ring_made[i] = true;
	for (n = 0; n < FIXED; n++) {
		struct fd_slot *f = pick_end(l);

		files[n] = f->kind == FD_STAGE ? f->fd : -1;
	}
	io_uring_register_files(&l->ring[i], files, FIXED);
	return 0;
}

/* With commands parked; the mapping of the stage stays. */
static int op_ring_close(struct lane *l)
{
	uint32_t i = rng_below(&l->rng, RINGS);

	if (!l->ring_made[i])
		return -EBADF;
	l->ring_made[i] = false;
	pthread_mutex_lock(&l->w->map_lock);
	io_uring_queue_exit(&l->ring[i]);
	pthread_mutex_unlock(&l->w->map_lock);
	return 0;
}

static struct io_uring *pick_ring(struct lane *l)
{
	uint32_t i = rng_below(&l->rng, RINGS);

	if (!l->ring_made[i])
		i = (i + 1) % RINGS;
	return l->ring_made[i] ? &l->ring[i] : NULL;
}

static void prepare_command(struct lane *l, struct io_uring_sqe *sqe, const struct fd_slot *f)
{
	struct rng *r = &l->rng;
	struct sluice_send *s = (void *)(l->scratch + SCRATCH / 2 + rng_below(r, 64) * 128);
	union {
		struct sluice_wait wait;
		struct sluice_send_cmd send;
		struct sluice_kick kick;
		uint64_t words[2];
	} arg = { .words = { 0, 0 } };
	uint32_t op = SLUICE_CMD_WAIT;

	switch (rng_below(r, 4)) {
	case 0:
		op = SLUICE_CMD_KICK;
		arg.kick.what = rng_below(r, 8);
		break;
	case 1:
		op = SLUICE_CMD_SEND;
		make_send(l, f, s);
		if (rng_one_in(r, 2))
			s->flags &= ~SLUICE_SEND_ACCEPT;
		arg.send.addr = rng_one_in(r, 16) ? (uintptr_t)pick_buffer(l, sizeof(*s)) :
				(uintptr_t)s;
		break;
	default:
		make_wait(l, f, &arg.wait);
	}
	if (rng_one_in(r, 16))
		arg.words[rng_below(r, 2)] = rng_edge(r);
	if (rng_one_in(r, 32))
		op = (uint32_t)rng_next(r);
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, f->fd, NULL, 0, 0);
	sqe->cmd_op = op;
	memcpy(sqe->cmd, &arg, 16);
	if (rng_one_in(r, 64))
		sqe->uring_cmd_flags = (uint32_t)rng_edge(r);
}

/* One entry of any kind; most are commands of ours. */
static void prepare(struct lane *l, struct io_uring_sqe *sqe)
{
	static const unsigned int cancel[] = {
		0, IORING_ASYNC_CANCEL_ALL, IORING_ASYNC_CANCEL_ANY,
		IORING_ASYNC_CANCEL_FD, IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL,
	};
	struct fd_slot f = *pick_end(l);
	struct rng *r = &l->rng;
	unsigned int flags;

	switch (rng_below(r, 12)) {
	case 0:
	case 1:
		flags = RNG_PICK(r, cancel);
		if (flags & IORING_ASYNC_CANCEL_FD)
			io_uring_prep_cancel_fd(sqe, f.fd, flags);
		else
			io_uring_prep_cancel64(sqe, rng_below(r, 8), (int)flags);
		break;
	case 2:
		io_uring_prep_poll_add(sqe, f.fd, (unsigned int)rng_next(r) & 0x2fff);
		break;
	case 3:
		io_uring_prep_read(sqe, f.fd, l->scratch, rng_below(r, 4096), 0);
		break;
	case 4:
		io_uring_prep_write(sqe, f.fd, l->scratch, rng_below(r, 4096), 0);
		break;
	case 5:
		io_uring_prep_nop(sqe);
		break;
	default:
		prepare_command(l, sqe, &f);
	}
	sqe->user_data = rng_below(r, 8);
	if (rng_one_in(r, 6) && sqe->opcode != IORING_OP_NOP) {
		sqe->flags |= IOSQE_FIXED_FILE;
		sqe->fd = (int)rng_below(r, FIXED + 1);
	}
	if (rng_one_in(r, 6))
		sqe->flags |= rng_one_in(r, 2) ? IOSQE_IO_LINK : IOSQE_IO_HARDLINK;
	if (rng_one_in(r, 8))
		sqe->flags |= rng_one_in(r, 2) ? IOSQE_ASYNC : IOSQE_IO_DRAIN;
	if (rng_one_in(r, 12))
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

static int op_ring_submit(struct lane *l)
{
	struct io_uring *ring = pick_ring(l);
	uint32_t n = 1 + rng_below(&l->rng, 6);
	struct io_uring_sqe *sqe;

	if (!ring)
		return op_ring_make(l);
	while (n-- && (sqe = io_uring_get_sqe(ring)))
		prepare(l, sqe);
	return io_uring_submit(ring);
}

static int op_ring_reap(struct lane *l)
{
	struct __kernel_timespec ts = { .tv_nsec = 200000 };
	struct io_uring *ring = pick_ring(l);
	struct io_uring_cqe *cqes[ENTRIES], *cqe;
	unsigned int n;

	if (!ring)
		return -EBADF;
	if (rng_one_in(&l->rng, 4))
		io_uring_wait_cqe_timeout(ring, &cqe, &ts);
	n = io_uring_peek_batch_cqe(ring, cqes, ENTRIES);
	io_uring_cq_advance(ring, n);
	return (int)n;
}

static int op_ring_cancel(struct lane *l)
{
	struct io_uring *ring = pick_ring(l);
	struct io_uring_sync_cancel_reg reg = {
		.addr = rng_below(&l->rng, 8), .fd = -1, .timeout = { .tv_nsec = 1000000 },
		.flags = rng_one_in(&l->rng, 2) ? IORING_ASYNC_CANCEL_ANY : 0,
	};

	return ring ? io_uring_register_sync_cancel(ring, &reg) : -EBADF;
}

/* Fixed files come and go; pages of a stage become a ring's buffers. */
static int op_ring_register(struct lane *l)
{
	struct io_uring *ring = pick_ring(l);
	struct map_slot m = *pick_map(l);
	struct iovec iov = { .iov_base = m.addr, .iov_len = PAGE };
	int fd = pick_fd(l, FD_STAGE)->fd;

	if (!ring)
		return -EBADF;
	switch (rng_below(&l->rng, 4)) {
	case 0:
		return m.parts ? io_uring_register_buffers(ring, &iov, 1) : -EINVAL;
	case 1:
		return io_uring_unregister_buffers(ring);
	case 2:
		return io_uring_unregister_files(ring);
	default:
		return io_uring_register_files_update(ring, rng_below(&l->rng, FIXED), &fd, 1);
	}
}

const struct op ops_uring[] = {
	{ "ring_make", 15, false, op_ring_make },
	{ "ring_close", 5, true, op_ring_close },
	{ "ring_submit", 100, true, op_ring_submit },
	{ "ring_reap", 50, true, op_ring_reap },
	{ "ring_cancel", 8, true, op_ring_cancel },
	{ "ring_register", 10, false, op_ring_register },
	{ NULL, 0, false, NULL },
};
