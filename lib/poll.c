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

static int interrupted_by(struct sluice_ctx *ctx)
{
	__atomic_store_n(&ctx->interrupted, 1, __ATOMIC_SEQ_CST);
	return -EINTR;
}

/* As __sluice_uring_park(): the descriptor is armed for @cursor, then polled. */
int __sluice_poll_park_at(struct sluice_ep *ep, u64 cursor, u32 what, u64 deadline)
{
	struct sluice_wait_ioctl w = {
		.wait.cursor = cursor,
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
	if (!ret && p[1].revents)
		return interrupted_by(ep->ctx);
	/* What it announces is in a list or a mark by then, and those are looked at first. */
	if (!ret && p[2].revents)
		__sluice_clear_event(ep->ctx->done_fd);
	return ret;
}

int __sluice_poll_park(struct sluice_ep *ep, u32 what, u64 deadline)
{
	return __sluice_poll_park_at(ep, ep->ticket, what, deadline);
}

/*
 * As __sluice_uring_park_any(). Each descriptor is armed: its owner counts as a sleeper from then
 * on, and poll() itself looks at the word at the cursor once more after it is on the list, so what
 * is published after the walk that put the cursor there is never missed.
 */
int __sluice_poll_park_any(struct sluice_ep *const *eps, u32 n, u64 deadline)
{
	struct pollfd p[SLUICE_ANY_MAX + 1];
	struct sluice_ctx *ctx = eps[0]->ctx;
	struct sluice_wait_ioctl w = { .wait.what = SLUICE_WAIT_READY };
	int ret;
	u32 i;

	for (i = 0; i < n; i++) {
		w.wait.cursor = eps[i]->ticket;
		w.wait.generation = eps[i]->generation;
		ret = look(eps[i], &w);
		if (ret != -EAGAIN)
			return ret;
		p[i] = (struct pollfd){ .fd = eps[i]->fd, .events = POLLIN };
	}
	p[n] = (struct pollfd){ .fd = ctx->intr_fd, .events = POLLIN };
	ret = poll_until(p, n + 1, deadline);
	if (ret)
		return ret;
	for (i = 0; i < n; i++) {
		if (!(p[i].revents & (POLLERR | POLLHUP)))
			continue;
		w.wait.cursor = eps[i]->ticket;
		w.wait.generation = eps[i]->generation;
		ret = look(eps[i], &w);
		if (ret)
			return ret;
	}
	return p[n].revents ? interrupted_by(ctx) : 0;
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
	return p[1].revents ? interrupted_by(ctx) : 0;
}
