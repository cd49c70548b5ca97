// SPDX-License-Identifier: MIT
/* any.c: the next message of several endpoints: one spin, one sleep, for all of them. */
#include "internal.h"

/* @at: out, whose message it is */
struct any {
	struct sluice_ep *const	*eps;
	struct sluice_msg	*msg;
	u32			n;
	u32			at;
};

/* In their order. What is wrong with one matters only if none of the others has anything. */
static int any_try(struct sluice_ep *first, void *arg)
{
	struct any *a = arg;
	int ret = -EAGAIN;
	u32 i;

	(void)first;
	for (i = 0; i < a->n; i++) {
		int one = sluice_claim(a->eps[i], a->msg, SLUICE_NOW);

		if (!one) {
			a->at = i;
			return 0;
		}
		if (one != -EAGAIN && ret == -EAGAIN)
			ret = one;
	}
	return ret;
}

/* As sleep_once() of wait.c. */
static int any_sleep(const struct any *a, u64 deadline)
{
	struct sluice_ctx *ctx = a->eps[0]->ctx;
	int ret = -EOPNOTSUPP;
	bool uring = true;
	u32 i;

	if (interrupted(ctx))
		return -EINTR;
	for (i = 0; i < a->n; i++) {
		count(&a->eps[i]->count->sleeps, 1);
		uring &= a->eps[i]->uring;
	}
	if (uring)
		ret = __sluice_uring_park_any(a->eps, a->n, deadline);
	if (ret != -EOPNOTSUPP)
		return ret;
	for (i = 0; i < a->n; i++)
		a->eps[i]->uring = false;
	sluice_flush(ctx);
	return __sluice_poll_park_any(a->eps, a->n, deadline);
}

static int any_wait(struct any *a, u64 deadline)
{
	struct sluice_ep *first = a->eps[0];
	u64 start = __sluice_now();
	int ret, slept;

	ret = __sluice_spin(first, any_try, a, start, deadline);
	if (ret != -EAGAIN || first->ctx->flags & SLUICE_CTX_SPIN)
		return ret;
	do {
		slept = any_sleep(a, deadline);
		/* Put out by the kernel: its mappings are no longer there to look at (P26). */
		if (slept == -ENOTCONN)
			return slept;
		ret = any_try(first, a);
		if (ret == -EAGAIN && slept)
			break;
	} while (ret == -EAGAIN);
	if (!ret || slept == -EAGAIN)
		__sluice_slept(first, ret ? NULL : a->msg, start);
	return ret == -EAGAIN ? slept : ret;
}

static int check(struct sluice_ep *const *eps, u32 n)
{
	u32 i;

	if (!n || n > SLUICE_ANY_MAX)
		return __sluice_err(-EINVAL, "messages of 1 to %u endpoints can be waited for "
				    "together, not of %u", SLUICE_ANY_MAX, n);
	for (i = 0; i < n; i++) {
		if (eps[i]->role != SLUICE_CONSUMER)
			return __sluice_err(-EINVAL, "stage '%s': a producer cannot claim",
					    eps[i]->name);
		if (eps[i]->ctx != eps[0]->ctx)
			return __sluice_err(-EINVAL, "stages '%s' and '%s': endpoints that are "
					    "waited for together belong to one context",
					    eps[0]->name, eps[i]->name);
	}
	return 0;
}

int sluice_claim_any(struct sluice_ep *const *eps, unsigned int n, struct sluice_msg *msg,
		     int64_t timeout_ns)
{
	struct any a = { .eps = eps, .msg = msg, .n = n };
	int ret = check(eps, n);

	if (unlikely(ret))
		return ret;
	ret = any_try(eps[0], &a);
	if (ret == -EAGAIN && timeout_ns)
		ret = any_wait(&a, deadline_of(timeout_ns));
	if (!ret)
		return (int)a.at;
	if (ret == -EAGAIN)
		return __sluice_err_lazy(ret, ERROR_EMPTY, n == 1 ? eps[0] : NULL);
	if (ret == -EINTR)
		return __sluice_err_lazy(ret, ERROR_INTERRUPTED, NULL);
	return ret;
}
