/* SPDX-License-Identifier: MIT */
/* policy.h: choosing a consumer. One policy, one file: its pick() stands in policies[]. */
#ifndef SLUICE_LIB_POLICY_H
#define SLUICE_LIB_POLICY_H

#include "internal.h"

/**
 * struct choice - a consumer that lives, and what this producer knows of it
 * @sent:	messages that were meant for it
 * @base:	what it had done before those
 * @done:	when it was looked at last
 * @moved_at:	ticks, when @done changed last
 * @busy:	ticks that it had something of ours to do, since @measured
 * @measured:	@done at the last measurement of @rate
 * @rate:	messages a tick while it is busy; 0 = not known yet
 * @credit:	of the weighted round robin
 */
struct choice {
	struct sluice_member	member;
	u64			sent;
	u64			base;
	u64			done;
	u64			moved_at;
	u64			busy;
	u64			measured;
	double			rate;
	double			credit;
};

/**
 * struct choices - the consumers of a stage, as an endpoint saw them last
 * @turn:	where the next choice begins, so that equals take turns
 * @looked_at:	ticks
 */
struct choices {
	u32		n;
	u32		turn;
	u64		looked_at;
	struct choice	of[SLUICE_MAX_ENDPOINTS];
};

/** choice_outstanding() - messages of ours that it has not acknowledged */
u64 choice_outstanding(struct sluice_ep *ep, struct choice *c, u64 now);

/* Each returns a position in @ep->choices, which has at least one. */
typedef u32 (*pick_fn)(struct sluice_ep *ep, u64 stream);

u32 __sluice_pick_round_robin(struct sluice_ep *ep, u64 stream);
u32 __sluice_pick_least_outstanding(struct sluice_ep *ep, u64 stream);
u32 __sluice_pick_weighted(struct sluice_ep *ep, u64 stream);
u32 __sluice_pick_affinity(struct sluice_ep *ep, u64 stream);

#endif /* SLUICE_LIB_POLICY_H */
