/* SPDX-License-Identifier: MIT */
/* ring.h - a stage on plain memory: the library's fast path without a kernel to ask */
#ifndef TESTS_FUZZ_RING_H
#define TESTS_FUZZ_RING_H

#include "fuzz.h"
#include "internal.h"

#define RING_SLOTS	64u
#define RING_ORDER	6u
#define RING_BUFFERS	4u
#define RING_BUFSIZE	4096u
#define RING_PRODUCERS	2u
#define RING_CONSUMERS	2u

struct ring {
	struct sluice_hints *hints;
	char *control;
	size_t control_bytes;
	char *payload;
	struct sluice_ctx ctx;
	struct sluice_ep out[RING_PRODUCERS];
	struct sluice_ep in[RING_CONSUMERS];
};

/* Made anew, with @tail as its next ticket. The memory is allocated once, to the byte. */
void ring_make(struct ring *r, u64 tail);

#endif /* TESTS_FUZZ_RING_H */
