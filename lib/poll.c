// SPDX-License-Identifier: MIT
/* poll.c: sleeping by ioctl and poll, for those who may not use io_uring. */
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#define LONGEST_NS	3600000000000ull

static int poll_until(struct pollfd *p, nfds_t n, u64 deadline)
{
	for (;;) {
		u64 now = deadline == DEADLINE_NEVER ? 0 : __sluice_now();
		u64 rest = deadline > now ? deadline - now : 0;
		struct timespec ts;
		int ret;

		if (rest > LONGEST_NS)
			rest = LONGEST_NS;
		ts.tv_sec = (time_t)(rest / 1000000000u);
		ts.tv_nsec = (long)(rest % 1000000000u);
		ret = ppoll(p, n, &ts, NULL);
		if (ret > 0)
			return 0;
		if (ret < 0)
			return -errno;
		if (deadline != DEADLINE_NEVER && __sluice_now() >= deadline)
			return -EAGAIN;
	}
}

void __sluice_clear_event(int fd)
{
	uint64_t value;
	ssize_t ignored = read(fd, &value, sizeof(value));

	(void)ignored;
}

/* 0: there is reason to look again. -EAGAIN: not yet, and poll() will tell. */
static int look(struct sluice_ep *ep, const struct sluice_wait_ioctl *w)
{
	if (!ioctl(ep->fd, SLUICE_IOC_WAIT, w))
		return 0;
	if (errno == ESHUTDOWN || errno == EAGAIN)
		return -errno;
	return __sluice_err(-errno, "stage '%s': cannot sleep: %s", ep->name, strerror(errno));
}

/* As __sluice_uring_park(): the descriptor is armed for this cursor, then polled. */
int __sluice_poll_park(struct sluice_ep *ep, u32 what, u64 deadline)
{
	struct sluice_wait_ioctl w = {
		.wait.cursor = ep->ticket,
		.wait.generation = ep->generation,
		.wait.what = (__u16)what,
	};
	struct pollfd p[] = {
		{ .fd = ep->fd, .events = what & SLUICE_WAIT_READY ? POLLIN : POLLOUT },
		{ .fd = ep->ctx->intr_fd, .events = POLLIN },
		/* A call has more to wait for: that its request is dead, that it is cancelled. */
		{ .fd = ep->ctx->callers ? ep->ctx->done_fd : -1, .events = POLLIN },
	};
	int ret = look(ep, &w);

	if (ret != -EAGAIN)
		return ret;
	ret = poll_until(p, sizeof(p) / sizeof(p[0]), deadline);
	/* Put out, or destroyed: which of the two? In the first case our mappings are gone. */
	if (!ret && p[0].revents & (POLLERR | POLLHUP))
		return look(ep, &w);
	if (!ret && p[1].revents) {
		__atomic_store_n(&ep->ctx->interrupted, 1, __ATOMIC_SEQ_CST);
		return -EINTR;
	}
	/* What it announces is in a list or a mark by then, and those are looked at first. */
	if (!ret && p[2].revents)
		__sluice_clear_event(ep->ctx->done_fd);
	return ret;
}

/* As __sluice_uring_wait(): until a send has completed. */
int __sluice_poll_wait(struct sluice_ctx *ctx, u64 deadline)
{
	struct pollfd p[] = {
		{ .fd = ctx->done_fd, .events = POLLIN },
		{ .fd = ctx->intr_fd, .events = POLLIN },
	};
	int ret = poll_until(p, sizeof(p) / sizeof(p[0]), deadline);

	if (ret)
		return ret;
	if (p[0].revents)
		__sluice_clear_event(ctx->done_fd);
	if (p[1].revents) {
		__atomic_store_n(&ctx->interrupted, 1, __ATOMIC_SEQ_CST);
		return -EINTR;
	}
	return 0;
}
