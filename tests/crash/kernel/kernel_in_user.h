/* SPDX-License-Identifier: MIT */
/*
 * kernel_in_user.h: the kernel of the kill storms, but all that it allocates lies in the world of
 * the crash test, so that it can be put back to an earlier moment; and its clock is the test's.
 */
#ifndef SLUICE_CRASH_KERNEL_IN_USER_H
#define SLUICE_CRASH_KERNEL_IN_USER_H

#include <sys/mman.h>

#include "../../storm/reaper/kernel_in_user.h"

void *world_calloc(size_t n, size_t size);
void *world_realloc(void *p, size_t size);
void *world_pages(size_t bytes);
u64 world_clock(void);

#undef kfree
#undef kcalloc
#define kfree(p)			((void)(p))
#define kcalloc(n, size, gfp)		world_calloc(n, size)
#define calloc(n, size)			world_calloc(n, size)
#define realloc(p, size)		world_realloc(p, size)
#define free(p)				((void)(p))
#define mmap(at, bytes, ...)		world_pages(bytes)
#define munmap(p, bytes)		((void)(p))
#define ktime_get_ns()			world_clock()

#endif /* SLUICE_CRASH_KERNEL_IN_USER_H */
