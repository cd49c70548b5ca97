/* SPDX-License-Identifier: MIT */
/* world_heap.h: included before lib/policy.c, whose tables are in the world with their endpoint. */
#ifndef SLUICE_TEST_CRASH_WORLD_HEAP_H
#define SLUICE_TEST_CRASH_WORLD_HEAP_H

#include <stdlib.h>

void *world_calloc(size_t n, size_t size);

#define calloc(n, size)	world_calloc(n, size)
#define malloc(size)	world_calloc(1, size)
#define free(p)		((void)(p))

#endif /* SLUICE_TEST_CRASH_WORLD_HEAP_H */
