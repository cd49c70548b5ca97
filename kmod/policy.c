// SPDX-License-Identifier: GPL-2.0
/*
 * policy.c: who lives and what the policy is, for those who choose and those who walk.
 *
 * Producers choose a consumer in user space and write it into the slot; consumers pass what is for
 * others. The kernel says who there is, and sees to it that a wish does not become a wall: what
 * nobody takes for ack_timeout may be taken by anybody.
 */
#include "internal.h"
#include "policy.h"

/**
 * sl_policy_members() - the table of living consumers, anew
 *
 * Who reads it does not lock: an odd membership says that it is being changed.
 */
void sl_policy_members(struct sl_stage *s)
{
	struct sluice_hints *h = s->hints;
	struct sl_endpoint *ep;
	unsigned long id;
	u32 n = 0;

	lockdep_assert_held(&s->lock);
	WRITE_ONCE(h->membership, h->membership + 1);
	smp_wmb();	/* odd before the first change */
	xa_for_each(&s->endpoints, id, ep) {
		if (ep->dead || ep->role != SLUICE_CONSUMER || n >= SLUICE_MAX_ENDPOINTS)
			continue;
		WRITE_ONCE(h->members[n].id, ep->id);
		WRITE_ONCE(h->members[n].index, ep->index);
		n++;
	}
	WRITE_ONCE(h->consumers, n);
	WRITE_ONCE(h->policy, s->policy);
	smp_wmb();	/* even after the last one */
	WRITE_ONCE(h->membership, h->membership + 1);
}

/** sl_policy_set() - from now on; what is in the ring keeps its consumer */
void sl_policy_set(struct sl_stage *s, u32 policy)
{
	lockdep_assert_held(&s->lock);
	WRITE_ONCE(s->policy, policy);
	sl_policy_members(s);
	sl_generation(s);
}

/** sl_policy_mine() - may the kernel claim @ticket in the name of @ep? */
bool sl_policy_mine(struct sl_stage *s, const struct sl_endpoint *ep,
		    const struct sluice_slot *slot, u64 ticket, u64 word)
{
	const struct sluice_hints *h = s->hints;
	bool overdue;

	if (READ_ONCE(s->policy) == SLUICE_POLICY_SHARED)
		return true;
	overdue = ticket_diff(ticket, READ_ONCE(h->overdue), s->order) <= 0;
	return policy_mine(READ_ONCE(slot->target), ep->id, word, overdue, READ_ONCE(slot->stream),
			   h->members, min_t(u32, READ_ONCE(h->consumers), SLUICE_MAX_ENDPOINTS));
}

/**
 * sl_policy_overdue() - everything up to @ticket waits for too long: it is anybody's
 * Return: whether that is new; then everybody has to walk again (P6).
 */
bool sl_policy_overdue(struct sl_stage *s, u64 ticket)
{
	lockdep_assert_held(&s->lock);
	if (ticket_diff(ticket, s->hints->overdue, s->order) <= 0)
		return false;
	WRITE_ONCE(s->hints->overdue, ticket);
	return true;
}

/** sl_policy_tick() - an old mark would look like a new one after half of all tickets */
void sl_policy_tick(struct sl_stage *s)
{
	lockdep_assert_held(&s->lock);
	if (!s->policy)
		return;
	sl_ring_find_tail(s);
	if (sl_is_broadcast(s)) {
		sl_broadcast_starts(s);
		return;
	}
	if (ticket_diff(s->tail, s->hints->overdue, s->order) > 2 * (long long)s->nslots)
		WRITE_ONCE(s->hints->overdue,
			   ticket_add(s->tail, -2 * (long long)s->nslots, s->order));
}
