/* SPDX-License-Identifier: MIT */
/* slot_env.h: what slot.h needs, as user space spells it (C11 atomics of the compiler). */
#ifndef SLUICE_SLOT_ENV_H
#define SLUICE_SLOT_ENV_H

#include <assert.h>
#include <stdbool.h>
#include <linux/types.h>

/* The types of the ABI (unsigned long long), so that a slot's word needs no cast. */
typedef __u64 u64;
typedef __u32 u32;

#define SL_ASSERT(cond)			assert(cond)
#define sl_load(p)			__atomic_load_n(p, __ATOMIC_RELAXED)
#define sl_load_acquire(p)		__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define sl_store_release(p, v)		__atomic_store_n(p, v, __ATOMIC_RELEASE)

#ifdef __SANITIZE_THREAD__
/* TSan does not know fences; a read-modify-write of a word of our own orders as much. */
static inline void sl_fence(void)
{
	int word = 0;

	__atomic_fetch_add(&word, 1, __ATOMIC_SEQ_CST);
}

#define sl_fence_acquire()		sl_fence()
#else
#define sl_fence()			__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define sl_fence_acquire()		__atomic_thread_fence(__ATOMIC_ACQUIRE)
#endif

static inline bool sl_cas(u64 *p, u64 old, u64 new_value)
{
	return __atomic_compare_exchange_n(p, &old, new_value, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_RELAXED);
}

#endif /* SLUICE_SLOT_ENV_H */
