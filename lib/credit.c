// SPDX-License-Identifier: MIT
/*
 * credit.c: how many messages of its own a producer may have under way.
 *
 * Each message that was published has a ticket, and is over when the slot holds a newer one. What
 * the kernel keeps in its queue (P30) has no ticket that we know: it is counted, until the queue is
 * seen empty. Then it has been published, at a ticket below the tail of that moment, so it is over
 * when everything from where the tail was before to there is.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* How long the poll path may sleep before it looks at all tickets, not only at the oldest one. */
#define SLICE_FIRST_NS	1000000ull
#define SLICE_LAST_NS	50000000ull
#define NO_TICKET	(~0ull)		/* more bits than a ticket has */

/**
 * struct sluice_credit - what a producer has under way
 * @tickets:	[@n], of messages that were published, in the order of sending
 * @room:	tickets that fit
 * @queued:	messages in the kernel's queue
 * @queued_from: the tail when the first of those was put there
 * @ranged:	messages that have left the queue, at tickets from @from to before @to
 */
struct sluice_credit {
	struct sluice_ep	*ep;
	u64			*tickets;
	u32			limit;
	u32			room;
	u32			n;
	u32			queued;
	u32			ranged;
	u64			queued_from;
	u64			from;
	u64			to;
};

/* ----------------------------------------------------------- what is over --- */

static u32 used(const struct sluice_credit *c)
{
	return c->n + c->queued + c->ranged;
}

/* Pairs with the kernel's publish, which comes before its change of @queued. */
static bool queue_is_empty(const struct sluice_ep *ep)
{
	return !__atomic_load_n(&ep->hints->queued, __ATOMIC_ACQUIRE);
}

/* Those from the queue are somewhere below the tail by now. */
static void queue_left(struct sluice_credit *c)
{
	if (!c->ranged)
		c->from = c->queued_from;
	c->to = __sluice_tail(c->ep);
	c->ranged += c->queued;
	c->queued = 0;
}

static void sweep(struct sluice_credit *c)
{
	u32 i, n = 0;

	for (i = 0; i < c->n; i++)
		if (!__sluice_over(c->ep, c->tickets[i]))
			c->tickets[n++] = c->tickets[i];
	c->n = n;
	if (c->queued && queue_is_empty(c->ep))
		queue_left(c);
	if (c->ranged && !__sluice_unfinished(c->ep, &c->from, c->to))
		c->ranged = 0;
}

/* 0: there is a credit. Also what __sluice_spin() tries. */
static int credit_try(struct sluice_ep *ep, void *arg)
{
	struct sluice_credit *c = arg;

	if (likely(used(c) < c->limit))
		return 0;
	if (unlikely(hint(&ep->hints->closed)))
		return -ESHUTDOWN;
	sweep(c);
	return used(c) < c->limit ? 0 : -EAGAIN;
}

/* ------------------------------------------------------------------- wait --- */

/* There is room at this ticket as soon as the message that went first is over. */
static u64 next_lap(const struct sluice_credit *c)
{
	const struct sluice_ep *ep = c->ep;

	if (c->n)
		return ticket_add(c->tickets[0], ep->nslots, ep->order);
	return c->ranged ? ticket_add(c->from, ep->nslots, ep->order) : ep->ticket;
}

/*
 * Any message of ours that is over will do, but the kernel looks at one word only, and only as a
 * waiter parks. So with io_uring the WAIT is parked first, and all our tickets are looked at while
 * it is (P5): whoever acknowledges one later sees a sleeper and kicks, which ends the sleep,
 * whatever its cursor. poll() looks at that word again each time it is woken, and sleeps on if it
 * is not the one: it must not sleep for long.
 */
static int credit_sleep(struct sluice_credit *c, u64 *slice, u64 deadline)
{
	struct sluice_ep *ep = c->ep;
	int ret = -EOPNOTSUPP;
	u64 end;

	if (interrupted(ep->ctx))
		return -EINTR;
	count(&ep->count->sleeps, 1);
	if (ep->uring)
		ret = __sluice_uring_park_look(ep, next_lap(c), deadline);
	if (ret != -EOPNOTSUPP)
		return ret;
	ep->uring = false;
	sluice_flush(ep->ctx);
	end = __sluice_now() + *slice;
	ret = __sluice_poll_park_at(ep, next_lap(c), SLUICE_WAIT_ROOM,
				    end < deadline ? end : deadline);
	if (*slice < SLICE_LAST_NS)
		*slice *= 2;
	return ret == -EAGAIN && end < deadline ? 0 : ret;
}

static int credit_wait(struct sluice_credit *c, u64 deadline)
{
	struct sluice_ep *ep = c->ep;
	u64 start, slice = SLICE_FIRST_NS;
	int ret = credit_try(ep, c), slept;

	if (likely(ret != -EAGAIN) || deadline == DEADLINE_NOW)
		return ret;
	start = __sluice_now();
	ret = __sluice_spin(ep, credit_try, c, start, deadline);
	if (ret != -EAGAIN || ep->ctx->flags & SLUICE_CTX_SPIN)
		return ret;
	do {
		slept = credit_sleep(c, &slice, deadline);
		/* Put out by the kernel: our mappings are no longer there to look at (P26). */
		if (slept == -ENOTCONN)
			return slept;
		ret = credit_try(ep, c);
	} while (ret == -EAGAIN && !slept);
	__sluice_slept(ep, NULL, start);
	return ret == -EAGAIN ? slept : ret;
}

static int failed(struct sluice_credit *c, int ret)
{
	switch (ret) {
	case -EAGAIN:
		return __sluice_err_lazy(ret, ERROR_NO_CREDIT, c->ep);
	case -EINTR:
		return __sluice_err_lazy(ret, ERROR_INTERRUPTED, c->ep);
	case -ESHUTDOWN:
		return __sluice_err_lazy(ret, ERROR_CLOSED, c->ep);
	default:
		return ret;
	}
}

int sluice_credit_wait(struct sluice_credit *c, int64_t timeout_ns)
{
	int ret = credit_wait(c, deadline_of(timeout_ns));

	return ret ? failed(c, ret) : 0;
}

/* ------------------------------------------------------------------- send --- */

int sluice_credit_send(struct sluice_credit *c, struct sluice_msg *msg, int64_t timeout_ns)
{
	u64 deadline = deadline_of(timeout_ns);
	int ret = credit_wait(c, deadline);

	if (unlikely(ret))
		return failed(c, ret);
	ret = sluice_send(c->ep, msg, timeout_until(deadline));
	if (!ret)
		c->tickets[c->n++] = msg->ticket;
	return ret;
}

int sluice_credit_post(struct sluice_credit *c, struct sluice_msg *msg)
{
	u64 tail;
	int ret = credit_wait(c, DEADLINE_NOW);

	if (unlikely(ret))
		return failed(c, ret);
	tail = sl_load(&c->ep->control->tail) & ticket_mask(c->ep->order);
	msg->ticket = NO_TICKET;
	ret = sluice_post(c->ep, msg);
	if (!ret && msg->ticket != NO_TICKET) {
		c->tickets[c->n++] = msg->ticket;
	} else if (ret >= 0) {
		/* In the queue, or already out of it again: at a ticket that nobody told us. */
		if (!c->queued++)
			c->queued_from = tail;
	}
	return ret;
}

/* ------------------------------------------------------------------ object --- */

int sluice_credit_set(struct sluice_credit *c, unsigned int n)
{
	u64 *more;

	if (!n || n > SLUICE_CREDITS_MAX)
		return __sluice_err(-EINVAL, "stage '%s': a producer has 1 to %u credits, not %u",
				    c->ep->name, SLUICE_CREDITS_MAX, n);
	if (n > c->room) {
		more = realloc(c->tickets, n * sizeof(*more));
		if (!more)
			return __sluice_err(-ENOMEM, "stage '%s': out of memory", c->ep->name);
		c->tickets = more;
		c->room = n;
	}
	c->limit = n;
	return 0;
}

int sluice_credit_create(struct sluice_ep *ep, unsigned int n, struct sluice_credit **out)
{
	struct sluice_credit *c;
	int ret;

	if (ep->role != SLUICE_PRODUCER)
		return __sluice_err(-EINVAL, "stage '%s': credits are a producer's", ep->name);
	c = calloc(1, sizeof(*c));
	if (!c)
		return __sluice_err(-ENOMEM, "stage '%s': out of memory", ep->name);
	c->ep = ep;
	ret = sluice_credit_set(c, n);
	if (ret) {
		sluice_credit_free(c);
		return ret;
	}
	*out = c;
	return 0;
}

void sluice_credit_free(struct sluice_credit *c)
{
	if (!c)
		return;
	free(c->tickets);
	free(c);
}

unsigned int sluice_credit_outstanding(struct sluice_credit *c)
{
	sweep(c);
	return used(c);
}
