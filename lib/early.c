// SPDX-License-Identifier: MIT
/*
 * early.c: wake the reader of an answer before the answer is there.
 *
 * Who answers a message within less than a wake-up takes (10 to 20 us where an idle processor has
 * to be fetched out of a halt) can hide that time: at the moment when it is woken itself, it has
 * the kernel wake the one who will read its answer, and both wake-ups run side by side. A Unix
 * stream socket does the same by accident: its sender is woken when its bytes are read.
 *
 * It is done only while it pays: after quick answers whose reader slept. A publish that has to
 * wake the reader all the same shows that the early wake-up was in vain (it found nobody asleep,
 * or the reader found nothing and sleeps again); if most are, there are none for a while.
 */
#include "internal.h"

#define QUICK_NS	15000ull	/* an answer: sooner than the wake-up of its reader */
#define CREDIT_MAX	8
#define CREDIT_VAIN	3		/* one in vain costs as much as that many answers earn */
#define CREDIT_PAUSE	(-64)		/* so many quick answers without */

/* A sleep of this context ended. */
void __sluice_early_woken(struct sluice_ctx *ctx)
{
	ctx->early.woken_at = sluice_ticks();
}

/* A publish found the reader asleep. */
void __sluice_early_kicked(struct sluice_ep *ep)
{
	struct early *early = &ep->ctx->early;

	if (early->ep != ep) {
		early->ep = ep;
		early->credit = 0;
	} else if (early->armed) {
		early->credit -= CREDIT_VAIN;
		if (early->credit < 0)
			early->credit = CREDIT_PAUSE;
	}
	early->armed = false;
}

/* The endpoint goes. */
void __sluice_early_forget(struct sluice_ep *ep)
{
	if (ep->ctx->early.ep == ep)
		ep->ctx->early.ep = NULL;
}

static bool answered_quickly(const struct early *early)
{
	u64 took = early->ep->published_at - early->woken_at;

	return !(took >> 63) && sluice_ticks_to_ns(took) < QUICK_NS;
}

/* About to sleep: whose reader shall be woken together with us? NULL: nobody's. */
struct sluice_ep *__sluice_early_for(struct sluice_ctx *ctx)
{
	struct early *early = &ctx->early;

	early->armed = false;
	if (!early->ep || !early->ep->uring)
		return NULL;
	if (!answered_quickly(early)) {
		if (early->credit > 0)
			early->credit = 0;
		return NULL;
	}
	if (early->credit < CREDIT_MAX)
		early->credit++;
	early->armed = early->credit > 0;
	return early->armed ? early->ep : NULL;
}
