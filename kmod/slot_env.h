/* SPDX-License-Identifier: GPL-2.0 */
/* slot_env.h: what slot.h needs, as the kernel spells it. */
#ifndef SLUICE_SLOT_ENV_H
#define SLUICE_SLOT_ENV_H

#include <linux/atomic.h>
#include <linux/bug.h>
#include <linux/compiler.h>
#include <linux/types.h>

#define SL_ASSERT(cond)			WARN_ON_ONCE(!(cond))
#define sl_load(p)			READ_ONCE(*(p))
/* Which fence pairs with which is said where slot.h uses them. */
#define sl_load_acquire(p)		smp_load_acquire(p)	/* (B) */
#define sl_store_release(p, v)		smp_store_release(p, v)	/* (A) */
#define sl_fence()			smp_mb()		/* (C), (D) */
#define sl_fence_acquire()		smp_rmb()		/* (E) */

static inline bool sl_cas(u64 *p, u64 old, u64 new)
{
	return try_cmpxchg(p, &old, new);
}

#endif /* SLUICE_SLOT_ENV_H */
