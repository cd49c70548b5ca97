// SPDX-License-Identifier: GPL-2.0
/*
 * fence.c: who parks pays for the fence (C) of a sole producer, who has none to pay.
 *
 * A sole producer publishes with one store. The full fence that would have to follow, so that
 * either its look sees the sleeper or the sleeper's look the message, costs it about as much as
 * all the rest, and is of no use while nobody sleeps. So whoever parks for messages says in
 * hints->fences that he does, has every processor pass a full fence, and looks at the ring only
 * then. A producer loads hints->fences after its store:
 *
 *   loaded before the interrupt, it may be 0, but then the fence there came after the store,
 *	which the sleeper's look will see;
 *   loaded after the interrupt, it is 1, and the producer fences itself, as everybody does;
 *   and what does not run passed a fence when it was switched out.
 *
 * That is what membarrier(2) does, and costs. hints->fences stays 1 until a producer that has
 * long met nobody asleep says so (SLUICE_KICK_CALM), and goes back to 0 once a second at most:
 * so seldom can anybody, whatever he does, have the processors of a stage's machine interrupted
 * anew (a waiter who comes while they are interrupted does it once more, for himself).
 *
 *	stage->fenced	stage->fencing	hints->fences
 *	false		0		0		nobody sleeps, nobody fences
 *	false		> 0		1		so many waiters interrupt the processors
 *	true		any		1		done, for all who park from now on
 */
#include <linux/jiffies.h>
#include <linux/smp.h>

#include "internal.h"

/**
 * sl_fence_begin() - somebody who waits for messages is on the list
 * Return: sl_fence_everywhere() has to come before his look. Another waiter's does not do: it may
 * have passed the producer's processor, or not have come to it.
 */
bool sl_fence_begin(struct sl_stage *s)
{
	lockdep_assert_held(&s->wait_lock);
	if (s->fenced)
		return false;
	s->fencing++;
	WRITE_ONCE(s->hints->fences, 1);
	return true;
}

static void sl_fence_here(void *unused)
{
	smp_mb();	/* (C), in the place of whoever was interrupted */
}

/** sl_fence_everywhere() - does not sleep, but interrupts must be on, and no spinlock held */
void sl_fence_everywhere(struct sl_stage *s)
{
	smp_mb();	/* hints->fences first */
	on_each_cpu(sl_fence_here, NULL, 1);
	spin_lock(&s->wait_lock);
	s->fencing--;
	s->fenced = true;
	spin_unlock(&s->wait_lock);
}

/**
 * sl_fence_calm() - SLUICE_KICK_CALM: may sole producers leave out their fences again?
 *
 * Not while an old interrupt is under way: who sent it would say that it was done for later ones.
 */
void sl_fence_calm(struct sl_stage *s)
{
	u64 now = get_jiffies_64();

	spin_lock(&s->wait_lock);
	if (READ_ONCE(sl_asym_fence) && s->fenced && !s->fencing && !s->hints->ready_sleepers &&
	    time_after_eq64(now, s->calm_after)) {
		s->fenced = false;
		s->calm_after = now + HZ;
		WRITE_ONCE(s->hints->fences, 0);
	}
	spin_unlock(&s->wait_lock);
}
