// SPDX-License-Identifier: MIT
/* policy_round_robin.c: one consumer after the other. For messages that cost the same everywhere. */
#include "policy.h"

u32 __sluice_pick_round_robin(struct sluice_ep *ep, u64 stream)
{
	return ep->choices->turn++ % ep->choices->n;
}
