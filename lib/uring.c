// SPDX-License-Identifier: MIT
/*
 * uring.c: one ring per context; parked WAITs, deferred kicks, asynchronous sends.
 *
 * Whoever reaps dispatches everything: a WAIT's completion is noted in its park, a SEND's
 * goes to the list that sluice_completions() reads.
 */
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

#define SQ_ENTRIES	64
#define CQ_ENTRIES	1024
/* "For ever" has an end, so that a return without a completion tells a signal. */
#define LONGEST_NS	3600000000000ull
#define CLOCK_SLACK_NS	1000000ull

/* What a completion is about: pointer and kind share user_data. */
enum tag {
	TAG_NONE, TAG_WAIT, TAG_SEND, TAG_INTERRUPT, TAG_KICK, TAG_EARLY, TAG_NEWS, TAG_MASK = 7,
};

static void set_tag(struct io_uring_sqe *sqe, const void *p, enum tag tag)
{
	sqe->user_data = (u64)(uintptr_t)p | tag;
}

/* ----------------------------------------------------------------- ring --- */

/*
 * Disabled at first: the thread that enables it is the one it belongs to, so a context may be
 * made by one thread and used by another.
 */
static const unsigned int setups[] = {
	IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
		IORING_SETUP_TASKRUN_FLAG,
	IORING_SETUP_R_DISABLED | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
	IORING_SETUP_R_DISABLED,
};

int __sluice_uring_init(struct sluice_ctx *ctx)
{
	unsigned int i;
	int ret = -EINVAL;

	for (i = 0; i < sizeof(setups) / sizeof(setups[0]) && ret == -EINVAL; i++) {
		struct io_uring_params p = {
			.flags = setups[i] | IORING_SETUP_CQSIZE,
			.cq_entries = CQ_ENTRIES,
		};

		ret = io_uring_queue_init_params(SQ_ENTRIES, &ctx->ring, &p);
		if (ret)
			continue;
		/* Both are older than uring_cmd itself. */
		if (p.features & IORING_FEAT_EXT_ARG && p.features & IORING_FEAT_CQE_SKIP) {
			/* A child could do nothing with it but keep it alive. */
			io_uring_ring_dontfork(&ctx->ring);
			return 0;
		}
		io_uring_queue_exit(&ctx->ring);
		ret = -ENOSYS;
	}
	return ret;
}

void __sluice_uring_exit(struct sluice_ctx *ctx)
{
	if (ctx->enabled)
		__sluice_uring_reap(ctx);
	io_uring_queue_exit(&ctx->ring);
}

static int enable(struct sluice_ctx *ctx)
{
	int ret;

	if (likely(ctx->enabled))
		return 0;
	/* By hand: liburing 2.3 forgot to export its own function for this. */
	ret = (int)syscall(__NR_io_uring_register, ctx->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS,
			   NULL, 0);
	if (ret) {
		ret = -errno;
		return __sluice_err(ret, "context: cannot enable its io_uring: %s; set "
				    "SLUICE_NO_URING=1 to do without", strerror(-ret));
	}
	ctx->enabled = true;
	return 0;
}

/* ------------------------------------------------------------- complete --- */

static void interrupt_done(struct sluice_ctx *ctx)
{
	struct pollfd p = { .fd = ctx->intr_fd, .events = POLLIN };

	ctx->intr_armed = false;
	/* It may have been cleared since. */
	if (poll(&p, 1, 0) == 1)
		__atomic_store_n(&ctx->interrupted, 1, __ATOMIC_SEQ_CST);
}

static void wait_done(struct park *park, int result)
{
	struct sluice_ep *ep = park->ep;

	park->armed = false;
	park->result = result;
	ep->commands--;
	__sluice_early_woken(ep->ctx);
	__sluice_ep_put_zombie(ep);
}

static void dispatch(struct sluice_ctx *ctx, u64 user_data, int result)
{
	void *p = (void *)(uintptr_t)(user_data & ~(u64)TAG_MASK);

	switch ((enum tag)(user_data & TAG_MASK)) {
	case TAG_WAIT:
		wait_done(p, result);
		break;
	case TAG_EARLY:
		/* Never started: the WAIT before it failed, and has said so itself. */
		if (result != -ECANCELED)
			wait_done(p, 0);
		break;
	case TAG_SEND:
		__sluice_send_done(p, result);
		break;
	case TAG_INTERRUPT:
		interrupt_done(ctx);
		break;
	case TAG_NEWS:
		ctx->done_armed = false;
		ctx->news = true;
		__sluice_clear_event(ctx->done_fd);
		break;
	case TAG_KICK:	/* only failures come; the kernel's tick wakes whoever sleeps */
	case TAG_NONE:
	case TAG_MASK:
		break;
	}
}

static int reap(struct sluice_ctx *ctx)
{
	struct io_uring_cqe *cqe;
	int n = 0;

	while (!io_uring_peek_cqe(&ctx->ring, &cqe)) {
		u64 user_data = cqe->user_data;
		int result = cqe->res;

		/* Before the dispatch, which may free what it points to. */
		io_uring_cqe_seen(&ctx->ring, cqe);
		dispatch(ctx, user_data, result);
		n++;
	}
	return n;
}

/* Whatever has completed by now, without sleeping. Returns how many. */
int __sluice_uring_reap(struct sluice_ctx *ctx)
{
	return ctx->enabled ? reap(ctx) : 0;
}

/* --------------------------------------------------------------- submit --- */

int __sluice_uring_submit(struct sluice_ctx *ctx)
{
	int ret;

	if (!io_uring_sq_ready(&ctx->ring))
		return 0;
	ret = enable(ctx);
	if (ret)
		return ret;
	do {
		ret = io_uring_submit(&ctx->ring);
	} while (ret == -EINTR);
	/* -EBUSY: completions have to be fetched first. */
	if (ret == -EBUSY) {
		reap(ctx);
		ret = io_uring_submit(&ctx->ring);
	}
	if (ret < 0)
		return __sluice_err(ret, "context: io_uring refuses commands: %s", strerror(-ret));
	return 0;
}

static struct io_uring_sqe *get_sqe(struct sluice_ctx *ctx)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ctx->ring);

	if (unlikely(!sqe)) {
		__sluice_uring_submit(ctx);
		sqe = io_uring_get_sqe(&ctx->ring);
	}
	return sqe;
}

static struct io_uring_sqe *get_command(struct sluice_ep *ep, u32 op, const void *arg, size_t len)
{
	struct io_uring_sqe *sqe = get_sqe(ep->ctx);

	if (unlikely(!sqe))
		return NULL;
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, ep->fd, NULL, 0, 0);
	sqe->cmd_op = op;
	memset(sqe->cmd, 0, 16);
	memcpy(sqe->cmd, arg, len);
	return sqe;
}

/* Successful kicks leave no completion, so that they do not end the sleep they go with. */
static void queue_kicks(struct sluice_ctx *ctx)
{
	while (ctx->kick_list) {
		struct sluice_ep *ep = ctx->kick_list;
		struct sluice_kick kick = { .what = ep->kicks };
		struct io_uring_sqe *sqe;

		sqe = ep->uring ? get_command(ep, SLUICE_CMD_KICK, &kick, sizeof(kick)) : NULL;
		if (!sqe) {
			__sluice_forget_kicks(ep);
			continue;
		}
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
		set_tag(sqe, NULL, TAG_KICK);
		ctx->kick_list = ep->next_kick;
		ep->kicks = 0;
	}
}

static int watch(struct sluice_ctx *ctx, int fd, bool *armed, enum tag tag)
{
	struct io_uring_sqe *sqe;

	if (*armed)
		return 0;
	sqe = get_sqe(ctx);
	if (!sqe)
		return -EBUSY;
	io_uring_prep_poll_add(sqe, fd, POLLIN);
	set_tag(sqe, NULL, tag);
	*armed = true;
	return 0;
}

int __sluice_uring_send(struct sluice_ctx *ctx, struct send_op *op)
{
	struct sluice_send_cmd cmd = { .addr = (u64)(uintptr_t)&op->arg };
	struct io_uring_sqe *sqe = get_command(op->ep, SLUICE_CMD_SEND, &cmd, sizeof(cmd));
	int ret;

	if (!sqe)
		return __sluice_err(-EBUSY, "stage '%s': io_uring takes no more commands",
				    op->ep->name);
	set_tag(sqe, op, TAG_SEND);
	op->ep->commands++;
	ret = ctx->defer ? 0 : __sluice_uring_submit(ctx);
	if (ret) {
		/* It was not consumed, and must not be later: @op is the caller's again. */
		io_uring_prep_nop(sqe);
		set_tag(sqe, NULL, TAG_NONE);
		op->ep->commands--;
	}
	return ret;
}

/* ----------------------------------------------------------------- wait --- */

/*
 * A call that submitted something and then slept tells how much it submitted, not why it woke.
 * With nothing completed it was the time-out or a signal handler; our clock and the kernel's
 * may differ a little, so that the last moment counts as the time-out.
 */
static bool came_early(u64 start, u64 rest)
{
	return __sluice_now() - start < rest - rest / 64 && rest > CLOCK_SLACK_NS &&
	       __sluice_now() - start < rest - CLOCK_SLACK_NS;
}

/*
 * Submit what is queued and sleep until something completes: 0. -EAGAIN at the deadline,
 * -EINTR after a signal or sluice_interrupt().
 */
int __sluice_uring_wait(struct sluice_ctx *ctx, u64 deadline)
{
	struct io_uring_cqe *cqe;
	int ret;

	ret = enable(ctx);
	if (ret)
		return ret;
	queue_kicks(ctx);
	ret = watch(ctx, ctx->intr_fd, &ctx->intr_armed, TAG_INTERRUPT);
	if (!ret && ctx->callers)
		ret = watch(ctx, ctx->done_fd, &ctx->done_armed, TAG_NEWS);
	if (ret)
		return ret;
	for (;;) {
		u64 now = __sluice_now();
		u64 rest = deadline > now ? deadline - now : 0;
		struct __kernel_timespec ts;

		if (rest > LONGEST_NS)
			rest = LONGEST_NS;
		ts.tv_sec = (long long)(rest / 1000000000u);
		ts.tv_nsec = (long long)(rest % 1000000000u);
		ret = io_uring_submit_and_wait_timeout(&ctx->ring, &cqe, 1, &ts, NULL);
		if (reap(ctx))
			return interrupted(ctx) ? -EINTR : 0;
		if (deadline != DEADLINE_NEVER && __sluice_now() >= deadline)
			return -EAGAIN;
		if (ret == -EINTR || (ret >= 0 && came_early(now, rest)))
			return -EINTR;
		if (ret < 0 && ret != -ETIME && ret != -EAGAIN && ret != -EBUSY)
			return __sluice_err(ret, "context: io_uring cannot wait: %s",
					    strerror(-ret));
	}
}

/*
 * When the WAIT succeeds, the kernel wakes the reader of @early, before it returns to us. The pair
 * has one completion, that of its end: with the WAIT's own we might return before the kick.
 */
static void link_kick(struct io_uring_sqe *wait, struct sluice_ep *early, struct park *park)
{
	struct sluice_kick kick = { .what = SLUICE_KICK_READY };
	struct io_uring_sqe *sqe = get_command(early, SLUICE_CMD_KICK, &kick, sizeof(kick));

	if (!sqe)
		return;
	wait->flags |= IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
	set_tag(sqe, park, TAG_EARLY);
}

static int arm_at(struct sluice_ep *ep, struct park *park, u64 cursor, u32 what)
{
	struct sluice_wait wait = {
		.cursor = cursor,
		.generation = ep->generation,
		.what = (__u16)what,
	};
	struct io_uring_sqe *sqe;
	struct sluice_ep *early;

	/* Room for both, or they would not be submitted together. */
	if (io_uring_sq_space_left(&ep->ctx->ring) < 2)
		__sluice_uring_submit(ep->ctx);
	sqe = get_command(ep, SLUICE_CMD_WAIT, &wait, sizeof(wait));
	if (!sqe)
		return -EBUSY;
	set_tag(sqe, park, TAG_WAIT);
	park->armed = true;
	ep->commands++;
	early = what & SLUICE_WAIT_READY ? __sluice_early_for(ep->ctx) : NULL;
	if (early)
		link_kick(sqe, early, park);
	return 0;
}

static int arm(struct sluice_ep *ep, struct park *park, u32 what)
{
	return arm_at(ep, park, ep->ticket, what);
}

/* What the last completion of a WAIT says: 0 look again, or why there is nothing to look at. */
static int park_result(const struct park *park)
{
	struct sluice_ep *ep = park->ep;

	switch (park->result) {
	case -EAGAIN:
	case -EOPNOTSUPP:
	case -ENOTTY:
		return -EOPNOTSUPP;
	case -ETIME:		/* this kernel does not keep commands for long (6.1) */
	case -ECANCELED:
		return 0;
	case -ESHUTDOWN:
		return -ESHUTDOWN;
	case -ENOTCONN:
		return __sluice_err(-ENOTCONN, "stage '%s': the kernel put this endpoint out, or "
				    "it was detached", ep->name);
	default:
		if (park->result >= 0)
			return 0;
		return __sluice_err(park->result, "stage '%s': cannot sleep: %s", ep->name,
				    strerror(-park->result));
	}
}

/*
 * Sleep until there is reason to look again. One that is still parked from an earlier call
 * serves as well, wherever its cursor was: it counts as a sleeper, so every later publish
 * (or ack) tells the kernel, which completes it if there is anything to look at.
 */
int __sluice_uring_park(struct sluice_ep *ep, u32 what, u64 deadline)
{
	struct park *park = &ep->park[what & SLUICE_WAIT_BUFFER ? PARK_BUFFER : PARK_MAIN];
	int ret;

	if (!park->armed) {
		ret = arm(ep, park, what);
		if (ret)
			return ret;
	}
	while (park->armed) {
		ret = __sluice_uring_wait(ep->ctx, deadline);
		if (ret)
			return ret;
		if (park->armed && ep->ctx->news)
			return 0;
	}
	return park_result(park);
}

/*
 * Sleep until there is reason to look at any of @eps, consumers of one context, again. Nothing is
 * missed: as we sleep, each of them has a WAIT that is on the kernel's list or has completed and
 * ends the sleep. One that is parked here looks at the word at its cursor once it is on the list;
 * one that was parked before was on the list while the caller walked, so whoever published after
 * that saw a sleeper and told the kernel (C, D).
 */
int __sluice_uring_park_any(struct sluice_ep *const *eps, u32 n, u64 deadline)
{
	int ret, one;
	u32 i;

	for (i = 0; i < n; i++) {
		if (eps[i]->park[PARK_MAIN].armed)
			continue;
		ret = arm(eps[i], &eps[i]->park[PARK_MAIN], SLUICE_WAIT_READY);
		if (ret)
			return ret;
	}
	ret = __sluice_uring_wait(eps[0]->ctx, deadline);
	for (i = 0; i < n; i++) {
		if (eps[i]->park[PARK_MAIN].armed)
			continue;
		/* Also when the sleep ended otherwise: the mappings may be gone. */
		one = park_result(&eps[i]->park[PARK_MAIN]);
		if (one == -ENOTCONN || (one && !ret))
			return one;
	}
	return ret;
}

/*
 * For a wait whose end the word at @cursor need not show (credit.c). The first call only parks:
 * the caller looks again, at everything, while the WAIT is on the list; the next one sleeps.
 * Whatever the caller did not see then happens after that, finds a sleeper and ends the sleep.
 */
int __sluice_uring_park_look(struct sluice_ep *ep, u64 cursor, u64 deadline)
{
	struct park *park = &ep->park[PARK_CREDIT];
	int ret;

	if (!park->armed) {
		ret = arm_at(ep, park, cursor, SLUICE_WAIT_ROOM);
		return ret ? ret : __sluice_uring_submit(ep->ctx);
	}
	ret = __sluice_uring_wait(ep->ctx, deadline);
	if (park->armed || (ret && park->result != -ENOTCONN))
		return ret;
	return park_result(park);
}
