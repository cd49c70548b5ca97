// SPDX-License-Identifier: MIT
/*
 * wait.c: spin a little, then sleep; and wake others.
 *
 * Spinning pays only if what is waited for comes within the time that a sleep would cost.
 * Each endpoint keeps a moving average of how long its waits take and spins only if that is
 * within the bound; now and then it spins anyway, to learn that times have changed.
 */
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>

#include "internal.h"

#define PROBE_EVERY	16	/* waits between two spins that are not expected to pay */
#define EAGER_LOOKS	256	/* without a pause, which may last as long as a message takes */
#define LOOKS_PER_CHECK	16	/* looks at the word between two looks at the clock */
/*
 * A context that never sleeps yields so rarely because the call may take longer (100 us in
 * User-Mode Linux) than its partner's patience: then both would yield in turn for ever.
 */
#define YIELD_EVERY_NS	2000000ull
#define EXPECT_MAX_NS	1000000ull
#define EXPECT_SHARE	8	/* weight of one wait in the average: 1/8 */

/* ---------------------------------------------------------------- kicks --- */

static void kick_failed(struct sluice_ep *ep, int err)
{
	/* Whoever sleeps is woken by the kernel's tick then; the message is where it belongs. */
	__sluice_err(-err, "stage '%s': cannot wake others: %s", ep->name, strerror(err));
}

static void kick_now(struct sluice_ep *ep, u32 what)
{
	struct sluice_kick kick = { .what = what };

	if (ioctl(ep->fd, SLUICE_IOC_KICK, &kick) < 0)
		kick_failed(ep, errno);
}

void __sluice_kick(struct sluice_ep *ep, u32 what)
{
	struct sluice_ctx *ctx = ep->ctx;

	if (what & SLUICE_KICK_READY)
		__sluice_early_kicked(ep);
	if (!ctx->defer) {
		kick_now(ep, what);
		return;
	}
	if (!ep->kicks) {
		ep->next_kick = ctx->kick_list;
		ctx->kick_list = ep;
	}
	ep->kicks |= what;
}

void __sluice_forget_kicks(struct sluice_ep *ep)
{
	struct sluice_ep **at = &ep->ctx->kick_list;

	if (!ep->kicks)
		return;
	while (*at != ep)
		at = &(*at)->next_kick;
	*at = ep->next_kick;
	kick_now(ep, ep->kicks);
	ep->kicks = 0;
}

void sluice_defer_kicks(struct sluice_ctx *ctx, bool on)
{
	ctx->defer = on;
	if (!on)
		sluice_flush(ctx);
}

int sluice_flush(struct sluice_ctx *ctx)
{
	while (ctx->kick_list)
		__sluice_forget_kicks(ctx->kick_list);
	return ctx->uring ? __sluice_uring_submit(ctx) : 0;
}

/* ----------------------------------------------------------------- spin --- */

static bool spin_pays(struct sluice_ep *ep)
{
	struct sluice_ctx *ctx = ep->ctx;

	if (ctx->flags & SLUICE_CTX_SPIN)
		return true;
	/* Those whose wake-up waits for our sleep cannot answer before it. */
	if (!ctx->may_spin || ctx->kick_list)
		return false;
	return ep->expect_ns <= ctx->spin_ns || ++ep->waits % PROBE_EVERY == 0;
}

/*
 * How long we would have had to spin. To have slept makes a short wait long, but a message says
 * when it was published (according to somebody who may be wrong).
 */
static u64 waited_for(const struct sluice_msg *msg, u64 start)
{
	u64 waited = __sluice_now() - start, late = 0, ticks;

	if (msg) {
		ticks = sluice_ticks() - msg->time;
		late = ticks >> 63 ? 0 : sluice_ticks_to_ns(ticks);
	}
	return late < waited ? waited - late : 0;
}

static void learn(struct sluice_ep *ep, u64 waited, bool spun)
{
	u64 bound = ep->ctx->spin_ns;

	if (waited > EXPECT_MAX_NS)
		waited = EXPECT_MAX_NS;
	/* A sleep for room cannot tell, so that a spin that succeeded counts for more. */
	if (spun && ep->expect_ns > bound)
		ep->expect_ns = bound;
	ep->expect_ns += waited / EXPECT_SHARE - ep->expect_ns / EXPECT_SHARE;
}

/* -EAGAIN: not within the bound (or, if the context never sleeps, the deadline). */
static int spin(struct sluice_ep *ep, try_fn attempt, void *arg, u64 start, u64 deadline)
{
	struct sluice_ctx *ctx = ep->ctx;
	bool never_sleep = ctx->flags & SLUICE_CTX_SPIN;
	u64 bound = never_sleep ? YIELD_EVERY_NS : ctx->spin_ns, end = start + bound;
	u32 looks;

	if (never_sleep)
		sluice_flush(ctx);
	for (looks = 1;; looks++) {
		int ret = attempt(ep, arg);
		u64 now;

		if (ret != -EAGAIN)
			return ret;
		if (looks > EAGER_LOOKS)
			cpu_relax();
		if (looks % LOOKS_PER_CHECK)
			continue;
		if (interrupted(ctx))
			return -EINTR;
		now = __sluice_now();
		if (now >= deadline)
			return -EAGAIN;
		if (now < end)
			continue;
		if (!never_sleep)
			return -EAGAIN;
		/* Nor does it keep its processor from everybody else. */
		sched_yield();
		end = now + bound;
	}
}

/* ---------------------------------------------------------------- sleep --- */

/* 0: look again; -EAGAIN at the deadline; -EINTR; -ESHUTDOWN. */
static int sleep_once(struct sluice_ep *ep, u32 what, u64 deadline)
{
	int ret = -EOPNOTSUPP;

	if (interrupted(ep->ctx))
		return -EINTR;
	count(&ep->count->sleeps, 1);
	if (ep->uring)
		ret = __sluice_uring_park(ep, what, deadline);
	if (ret == -EOPNOTSUPP) {
		/* The kernel will not park our commands (6.1, SQPOLL): poll does the same. */
		ep->uring = false;
		sluice_flush(ep->ctx);
		ret = __sluice_poll_park(ep, what, deadline);
	}
	return ret;
}

/*
 * If the kernel gave the next room to us alone, we have it now. If we give up, it must not do so
 * later, for the sake of a wait that may still be parked.
 */
static void give_turn_back(struct sluice_ep *ep, bool gave_up)
{
	if (unlikely(gave_up || hint(&ep->hints->room_turn) == ep->id ||
		     hint(&ep->hints->buffer_turn) == ep->id))
		kick_now(ep, SLUICE_KICK_TURN);
}

/* The spin before a sleep, if it pays. -EAGAIN: it did not help, or the context never sleeps. */
int __sluice_spin(struct sluice_ep *ep, try_fn attempt, void *arg, u64 start, u64 deadline)
{
	int ret;

	if (!spin_pays(ep))
		return -EAGAIN;
	count(&ep->count->spins, 1);
	ret = spin(ep, attempt, arg, start, deadline);
	if (!ret && !(ep->ctx->flags & SLUICE_CTX_SPIN))
		learn(ep, __sluice_now() - start, true);
	return ret;
}

/* A wait that slept is over. @msg: what came, if it tells when it was published. */
void __sluice_slept(struct sluice_ep *ep, const struct sluice_msg *msg, u64 start)
{
	learn(ep, waited_for(msg, start), false);
}

/*
 * Try until it works or the deadline has passed. The caller has tried once; @what is what
 * the kernel is to wait for at the place where the last attempt stopped.
 */
int __sluice_retry(struct sluice_ep *ep, try_fn attempt, void *arg, u32 what, u64 deadline)
{
	u64 start = __sluice_now();
	u32 again = 0;
	int ret;

	ret = __sluice_spin(ep, attempt, arg, start, deadline);
	if (ret != -EAGAIN || ep->ctx->flags & SLUICE_CTX_SPIN)
		return ret;
	do {
		int slept = sleep_once(ep, what | again, deadline);

		/* Put out by the kernel: our mappings are no longer there to look at (P26). */
		if (slept == -ENOTCONN)
			return slept;
		ret = attempt(ep, arg);
		if (ret == -EAGAIN && slept) {
			ret = slept;
			break;
		}
		if (what != SLUICE_WAIT_READY)
			again = SLUICE_WAIT_AGAIN;
	} while (ret == -EAGAIN);
	if (what != SLUICE_WAIT_READY)
		give_turn_back(ep, ret && again);
	if (!ret || ret == -EAGAIN)
		__sluice_slept(ep, !ret && what == SLUICE_WAIT_READY ? arg : NULL, start);
	return ret;
}

/* Until anything happens to the context: a completion, an interrupt. */
int __sluice_wait_more(struct sluice_ctx *ctx, u64 deadline)
{
	if (interrupted(ctx))
		return -EINTR;
	if (ctx->uring)
		return __sluice_uring_wait(ctx, deadline);
	sluice_flush(ctx);
	return __sluice_poll_wait(ctx, deadline);
}

int sluice_poll_arm(struct sluice_ep *ep)
{
	struct sluice_wait_ioctl w = {
		.wait.cursor = ep->ticket,
		.wait.generation = ep->generation,
		.wait.what = SLUICE_WAIT_ROOM,
	};

	sluice_flush(ep->ctx);
	if (ep->role == SLUICE_CONSUMER) {
		if (__sluice_claim_peek(ep) != -EAGAIN)
			return 1;
		w.wait.cursor = ep->ticket;
		w.wait.generation = ep->generation;
		w.wait.what = SLUICE_WAIT_READY;
	}
	if (!ioctl(ep->fd, SLUICE_IOC_WAIT, &w))
		return 1;
	if (errno == EAGAIN)
		return 0;
	if (errno == ESHUTDOWN)
		return 1;
	return __sluice_err(-errno, "stage '%s': cannot be polled: %s", ep->name, strerror(errno));
}
