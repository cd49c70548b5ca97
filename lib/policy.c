// SPDX-License-Identifier: MIT
/*
 * policy.c: whom a message is for, in stages that have a policy.
 *
 * The kernel's hints say who lives. A producer chooses one of them and writes its id into the slot,
 * a consumer passes what is for others (policy.h of the module says when it may claim that, too).
 * Both keep a copy of the table and look at one word to see that it is old. A stage without a policy
 * pays one comparison with a word that lies beside what is read anyway.
 */
#include <stdlib.h>
#include <string.h>

#include "policy.h"
#include "../kmod/policy.h"

#define COPY_TRIES	1000u	/* of a table that is being changed: the kernel may be preempted */

static const pick_fn policies[] = {
	[SLUICE_POLICY_ROUND_ROBIN]		= __sluice_pick_round_robin,
	[SLUICE_POLICY_LEAST_OUTSTANDING]	= __sluice_pick_least_outstanding,
	[SLUICE_POLICY_WEIGHTED]		= __sluice_pick_weighted,
	[SLUICE_POLICY_AFFINITY]		= __sluice_pick_affinity,
};

static const char *const names[SLUICE_POLICY_COUNT] = {
	[SLUICE_POLICY_SHARED]			= "shared",
	[SLUICE_POLICY_ROUND_ROBIN]		= "round-robin",
	[SLUICE_POLICY_LEAST_OUTSTANDING]	= "least-outstanding",
	[SLUICE_POLICY_WEIGHTED]		= "weighted",
	[SLUICE_POLICY_AFFINITY]		= "affinity",
	[SLUICE_POLICY_BROADCAST]		= "broadcast",
};

const char *sluice_policy_name(unsigned int policy)
{
	return policy < SLUICE_POLICY_COUNT ? names[policy] : "unknown";
}

int sluice_policy_by_name(const char *name)
{
	int i;

	for (i = 0; i < SLUICE_POLICY_COUNT; i++)
		if (!strcmp(name, names[i]))
			return i;
	return __sluice_err(-EINVAL, "no policy is called '%s'; there are shared, round-robin, "
			    "least-outstanding, weighted, affinity and broadcast", name);
}

/* ----------------------------------------------------------------- who --- */

static u64 done_by(const struct sluice_ep *ep, const struct choice *c)
{
	const struct sluice_counters *count = &ep->control->endpoint[c->member.index %
								     SLUICE_MAX_ENDPOINTS];

	/* acknowledged, too late, given back */
	return sl_load(&count->acked) + sl_load(&count->stale) + sl_load(&count->full);
}

static void newcomer(struct sluice_ep *ep, struct choice *c, struct sluice_member member)
{
	memset(c, 0, sizeof(*c));
	c->member = member;
	c->done = c->base = c->measured = done_by(ep, c);
	c->moved_at = sluice_ticks();
}

/* Those who were there before keep what is known of them; both tables are in the order of ids. */
static void merge(struct sluice_ep *ep, const struct sluice_member *members, u32 n)
{
	struct choices *now = ep->choices, *old = NULL;
	u32 i, j;

	if (now->n) {
		old = malloc(sizeof(*old));
		if (old)
			*old = *now;
	}
	for (i = 0, j = 0; i < n; i++) {
		while (old && j < old->n && old->of[j].member.id < members[i].id)
			j++;
		if (old && j < old->n && old->of[j].member.id == members[i].id)
			now->of[i] = old->of[j];
		else
			newcomer(ep, &now->of[i], members[i]);
	}
	now->n = n;
	free(old);
}

/* What is measured while a policy is in force says nothing of the time before it. */
static void begin_measuring(struct sluice_ep *ep)
{
	struct choices *all = ep->choices;
	u32 i;

	all->looked_at = 0;
	for (i = 0; i < all->n; i++) {
		all->of[i].busy = 0;
		all->of[i].credit = 0;
		all->of[i].measured = done_by(ep, &all->of[i]);
	}
}

static u32 membership(const struct sluice_ep *ep)
{
	return __atomic_load_n(&ep->hints->membership, __ATOMIC_ACQUIRE);
}

/*
 * The table again. Without memory for it, or while the kernel is at it, the old one stays: whoever
 * chooses wrongly, nothing is lost.
 */
void __sluice_members_changed(struct sluice_ep *ep)
{
	struct sluice_member members[SLUICE_MAX_ENDPOINTS];
	u32 tries, i, n, before, policy, old = ep->policy;

	/* It never was and never will be anything else, and its members are in one word. */
	if (hint(&ep->hints->policy) == SLUICE_POLICY_BROADCAST) {
		ep->policy = SLUICE_POLICY_BROADCAST;
		ep->membership = membership(ep);
		return;
	}
	for (tries = 0; tries < COPY_TRIES; tries++) {
		before = membership(ep);
		if (before % 2)
			continue;
		policy = hint(&ep->hints->policy);
		n = hint(&ep->hints->consumers);
		if (policy == SLUICE_POLICY_SHARED || policy >= SLUICE_POLICY_COUNT)
			n = 0;
		if (n > SLUICE_MAX_ENDPOINTS)
			n = SLUICE_MAX_ENDPOINTS;
		for (i = 0; i < n; i++) {
			members[i].id = hint(&ep->hints->members[i].id);
			members[i].index = hint(&ep->hints->members[i].index);
		}
		sl_fence_acquire();
		if (membership(ep) != before)
			continue;
		if (n && !ep->choices)
			ep->choices = calloc(1, sizeof(*ep->choices));
		ep->policy = n && ep->choices ? policy : SLUICE_POLICY_SHARED;
		if (ep->choices)
			merge(ep, members, n);
		if (ep->choices && ep->policy != old)
			begin_measuring(ep);
		ep->membership = before;
		return;
	}
}

/* ---------------------------------------------------------------- choose --- */

u64 choice_outstanding(struct sluice_ep *ep, struct choice *c, u64 now)
{
	u64 done = done_by(ep, c);

	if (done != c->done) {
		c->done = done;
		c->moved_at = now;
	}
	/* It also does what others have sent, and what was meant for those who died. */
	if (done - c->base > c->sent)
		c->base = done - c->sent;
	/* What it did not do within the stage's timeout somebody else does by now. */
	if (done - c->base < c->sent &&
	    sluice_ticks_to_ns(now - c->moved_at) > hint(&ep->hints->ack_timeout_ms) * 1000000ull) {
		c->base = done - c->sent;
		c->moved_at = now;
	}
	return c->sent - (done - c->base);
}

/* The consumer that @stream's next message is for; 0: anybody. */
u32 __sluice_choose(struct sluice_ep *ep, u64 stream)
{
	struct choice *c;

	if (!ep->choices->n)
		return 0;
	c = &ep->choices->of[policies[ep->policy](ep, stream)];
	if (c->sent == c->done - c->base)
		c->moved_at = sluice_ticks();	/* it had nothing to do */
	c->sent++;
	return c->member.id;
}

/* The same where the kernel publishes it: in a broadcast it addresses the message, too. */
u32 __sluice_target(struct sluice_ep *ep, u64 stream)
{
	if (!ep->policy || ep->policy == SLUICE_POLICY_BROADCAST)
		return 0;
	return __sluice_choose(ep, stream);
}

/* ------------------------------------------------------------------ walk --- */

/* May this consumer claim the READY message at its cursor? */
bool __sluice_mine(struct sluice_ep *ep, const struct sluice_slot *slot, u64 word)
{
	struct sluice_member members[SLUICE_MAX_ENDPOINTS];
	u64 target = sl_load(&slot->target);
	bool overdue;
	u32 i;

	/* Nearly all are for us, or for somebody who lives. */
	if (!target || target == ep->id || slot_attempt(word))
		return true;
	overdue = ticket_diff(ep->ticket, sl_load(&ep->hints->overdue), ep->order) <= 0;
	for (i = 0; i < ep->choices->n; i++)
		members[i] = ep->choices->of[i].member;
	return policy_mine(target, ep->id, word, overdue, sl_load(&slot->stream), members,
			   ep->choices->n);
}
