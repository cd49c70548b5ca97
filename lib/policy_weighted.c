// SPDX-License-Identifier: MIT
/*
 * policy_weighted.c: in proportion to how fast each consumer works.
 *
 * The rate is measured while a consumer has something of ours to do; one that was never busy counts
 * as the average. Smooth weighted round robin (as nginx does it): everybody earns its weight, who
 * has most is chosen and pays what all have earned, so that no consumer gets its share in a burst.
 */
#include "policy.h"

#define SAMPLE		4u	/* messages that make a measurement */
#define KEEP		0.5	/* of the old rate, in the new one */

static void measure(struct sluice_ep *ep, struct choice *c, u64 now, u64 passed)
{
	u64 done;

	if (choice_outstanding(ep, c, now))
		c->busy += passed;
	done = c->done - c->measured;
	if (done < SAMPLE || !c->busy)
		return;
	c->rate = c->rate ? KEEP * c->rate + (1 - KEEP) * (double)done / (double)c->busy :
			    (double)done / (double)c->busy;
	c->measured = c->done;
	c->busy = 0;
}

static double average_rate(const struct choices *all)
{
	double sum = 0;
	u32 i, n = 0;

	for (i = 0; i < all->n; i++) {
		sum += all->of[i].rate;
		n += all->of[i].rate > 0;
	}
	return n ? sum / n : 1;
}

u32 __sluice_pick_weighted(struct sluice_ep *ep, u64 stream)
{
	struct choices *all = ep->choices;
	u64 now = sluice_ticks(), passed = all->looked_at ? now - all->looked_at : 0;
	double average, total = 0;
	u32 i, best = 0;

	all->looked_at = now;
	for (i = 0; i < all->n; i++)
		measure(ep, &all->of[i], now, passed);
	average = average_rate(all);
	for (i = 0; i < all->n; i++) {
		struct choice *c = &all->of[i];
		double weight = (c->rate ? c->rate : average) / average;

		c->credit += weight;
		total += weight;
		if (c->credit > all->of[best].credit)
			best = i;
	}
	all->of[best].credit -= total;
	return best;
}
