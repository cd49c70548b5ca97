/* SPDX-License-Identifier: MIT */
/*
 * slot_env.h: what slot.h needs, as the model checker spells it.
 *
 * Every access acts on the memory of the model (memory.c), through the store
 * buffer of the actor whose turn it is. An operation of slot.h is one scheduling
 * point: README.md says why splitting it would show nothing new.
 */
#ifndef SLUICE_SLOT_ENV_H
#define SLUICE_SLOT_ENV_H

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t u64;
typedef uint32_t u32;
typedef uint16_t u16;
typedef uint8_t u8;

u64 mem_load(const u64 *p);
u64 mem_load_acquire(const u64 *p);
void mem_store_release(u64 *p, u64 v);
bool mem_cas(u64 *p, u64 old, u64 val);
void mem_fence(void);
void mem_fence_acquire(void);
void model_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define SL_ASSERT(cond)		((cond) ? (void)0 : model_fail("SL_ASSERT(%s)", #cond))
#define sl_load(p)		mem_load(p)
#define sl_load_acquire(p)	mem_load_acquire(p)
#define sl_store_release(p, v)	mem_store_release(p, v)
#define sl_fence()		mem_fence()
#define sl_fence_acquire()	mem_fence_acquire()
#define sl_cas(p, old, val)	mem_cas(p, old, val)

#endif /* SLUICE_SLOT_ENV_H */
