// SPDX-License-Identifier: MIT
/*
 * policy_affinity.c: a stream stays with the consumer that has its state (a KV cache, say).
 *
 * By rendezvous hashing, see policy_home(): whoever asks comes to the same answer, and a death moves
 * the streams of the dead only.
 */
#include "policy.h"
#include "../kmod/policy.h"

u32 __sluice_pick_affinity(struct sluice_ep *ep, u64 stream)
{
	const struct choices *all = ep->choices;
	u64 best = 0;
	u32 i, home = 0;

	for (i = 0; i < all->n; i++) {
		u64 score = policy_score(stream, all->of[i].member.id);

		if (!i || score > best) {
			best = score;
			home = i;
		}
	}
	return home;
}
