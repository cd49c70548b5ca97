// SPDX-License-Identifier: MIT
/*
 * policy_least_outstanding.c: the consumer with the fewest messages that it has not acknowledged.
 *
 * Each producer counts its own. With several producers each of them balances what it sends itself.
 */
#include "policy.h"

u32 __sluice_pick_least_outstanding(struct sluice_ep *ep, u64 stream)
{
	struct choices *all = ep->choices;
	u64 now = sluice_ticks(), fewest = ~0ull;
	u32 i, at, best = 0;

	for (i = 0; i < all->n && fewest; i++) {
		u64 n;

		at = (all->turn + i) % all->n;
		n = choice_outstanding(ep, &all->of[at], now);
		if (n < fewest) {
			fewest = n;
			best = at;
		}
	}
	all->turn = best + 1;
	return best;
}
