/* SPDX-License-Identifier: MIT */
/*
 * kernel_in_user.h: as much of Linux as the module's recovery needs, in user space.
 *
 * The Makefile makes a <linux/NAME.h> of one line for each header that the module includes; all
 * of them come here. What is real: arrays, lists of nothing, the clock, the words. What is not:
 * locks (one thread does all of it) and sleepers (nobody sleeps in this kernel).
 */
#ifndef SLUICE_TEST_KERNEL_IN_USER_H
#define SLUICE_TEST_KERNEL_IN_USER_H

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#include <slot_env.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __s32 s32;
typedef __s64 s64;
typedef unsigned int __poll_t;
typedef unsigned short umode_t;
typedef struct { unsigned int val; } kuid_t;
typedef struct { unsigned int val; } kgid_t;
typedef void *fl_owner_t;
typedef s64 ktime_t;

#define __user
#define __always_unused		__attribute__((unused))
#define PAGE_SHIFT		12
#define PAGE_SIZE		4096ul
#define HZ			1000
#define NSEC_PER_MSEC		1000000ull
#define NSEC_PER_SEC		1000000000ull
#define TASK_COMM_LEN		16
#define MAX_ERRNO		4095
#define BIT(n)			(1ul << (n))
#define GFP_KERNEL		0
#define GFP_KERNEL_ACCOUNT	0
#define __GFP_ZERO		0
#define SINGLE_DEPTH_NESTING	1
#define offset_in_page(p)	((unsigned long)(p) & (PAGE_SIZE - 1))
#define PAGE_ALIGN(n)		(((n) + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1))
#define READ_ONCE(x)		(*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v)	(*(volatile __typeof__(x) *)&(x) = (v))
#define data_race(x)		(x)
#ifdef __SANITIZE_THREAD__		/* it does not know fences; slot_env.h has what it knows */
#define smp_mb()		sl_fence()
#define smp_rmb()		sl_fence()
#define smp_wmb()		sl_fence()
#else
#define smp_mb()		__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define smp_rmb()		__atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_wmb()		__atomic_thread_fence(__ATOMIC_RELEASE)
#endif
#define min(a, b)		((a) < (b) ? (a) : (b))
#define max(a, b)		((a) > (b) ? (a) : (b))
#define min3(a, b, c)		min(a, min(b, c))
#define min_t(t, a, b)		((t)(a) < (t)(b) ? (t)(a) : (t)(b))
#define max_t(t, a, b)		((t)(a) > (t)(b) ? (t)(a) : (t)(b))
#define array_index_nospec(i, n) (i)
#define cond_resched()		((void)0)
#define signal_pending(task)	false
#define ERESTARTSYS		512	/* the kernel's own */
#define lockdep_assert_held(l)	((void)(l))
#define might_sleep()		((void)0)
#define WARN_ON_ONCE(c)		SL_ASSERT(!(c))
#define BUILD_BUG_ON(c)		_Static_assert(!(c), #c)
#define __ffs64(n)		((u32)__builtin_ctzll(n))
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))
#define DECLARE_BITMAP(name, bits) unsigned long name[((bits) + 63) / 64]

/* --------------------------------------------------------- locks and lists --- */

struct mutex { int unused; };
struct rw_semaphore { int unused; };
typedef struct { int unused; } spinlock_t;
typedef struct { int unused; } wait_queue_head_t;
typedef struct { int unused; } refcount_t;
typedef struct { long n; } atomic_long_t;
typedef void poll_table;
struct kref { int unused; };
struct hlist_node { void *unused; };
struct list_head { struct list_head *next, *prev; };
struct device { int unused; };
struct file_operations { int unused; };
struct address_space { int unused; };
struct work_struct { int unused; };
struct timer_list { unsigned long expires; };
struct delayed_work { struct work_struct work; struct timer_list timer; };
struct pid;
struct mm_struct;
struct file;
struct task_struct;
struct completion;
struct workqueue_struct;

#define mutex_lock(l)			((void)(l))
#define mutex_lock_nested(l, depth)	((void)(l))
#define mutex_unlock(l)			((void)(l))
#define to_delayed_work(w)		container_of(w, struct delayed_work, work)

/* The tick is whoever calls sl_tick(). */
#define queue_delayed_work(q, w, d)	((void)(q), (void)(w), (void)(d))
#define mod_delayed_work(q, w, d)	((void)(q), (void)(w), (void)(d))
#define delayed_work_pending(w)		((void)(w), true)

/* ---------------------------------------------------------------- arrays --- */

/* Of pointers, as long as its highest index; what was never stored is NULL. */
struct xarray { void **entry; unsigned long size; };

#define XA_PRESENT	0
void *xa_load(struct xarray *xa, unsigned long index);
void *xa_store(struct xarray *xa, unsigned long index, void *entry, int unused);
void *xa_find(struct xarray *xa, unsigned long *index, unsigned long max, int unused);
void xa_destroy(struct xarray *xa);
#define xa_is_err(p)		((p) == (void *)-1)
#define xa_init(xa)		memset(xa, 0, sizeof(*(xa)))
#define xa_for_each_range(xa, i, e, first, last)					\
	for ((i) = (first), (e) = xa_find(xa, &(i), last, 0); (e);			\
	     (i)++, (e) = xa_find(xa, &(i), last, 0))
#define xa_for_each(xa, i, e)	xa_for_each_range(xa, i, e, 0, ULONG_MAX)

/* ---------------------------------------------------------------- memory --- */

struct page { void *address; };

#define page_address(p)			((p)->address)
#define page_folio(p)			(p)
#define folio_maybe_dma_pinned(p)	((void)(p), false)
#define kfree(p)			free(p)
#define kcalloc(n, size, gfp)		calloc(n, size)

/* ------------------------------------------------------------------ time --- */

static inline u64 ktime_get_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec;
}

#define jiffies			((unsigned long)(ktime_get_ns() / NSEC_PER_MSEC))
#define msecs_to_jiffies(ms)	((unsigned long)(ms))
#define nsecs_to_jiffies(ns)	((unsigned long)((ns) / NSEC_PER_MSEC))
#define time_after(a, b)	((long)((b) - (a)) < 0)

/* --------------------------------------------------- compat.h and trace.h --- */

/* compat.h is about kernels, and there is none. */
#define SLUICE_COMPAT_H
#define SL_HAS_CANCEL			1

/* Tracepoints are functions that do nothing. */
#define TP_PROTO(...)			__VA_ARGS__
#define TP_ARGS(...)
#define TP_STRUCT__entry(...)
#define TP_fast_assign(...)
#define TP_printk(...)
#define DECLARE_EVENT_CLASS(...)
#define DEFINE_EVENT(template, name, proto, args)					\
	static inline void trace_##name(proto) { }
#define TRACE_EVENT(name, proto, ...)							\
	static inline void trace_##name(proto) { }

#endif /* SLUICE_TEST_KERNEL_IN_USER_H */
