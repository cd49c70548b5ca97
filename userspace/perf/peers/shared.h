/* SPDX-License-Identifier: MIT */
/*
 * shared.h: one message each way in a file that both sides map
 *
 * What the peers have in common that are no message systems, only a way to wake the other side.
 */
#ifndef SLUICE_PERF_SHARED_H
#define SLUICE_PERF_SHARED_H

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "program.h"

/**
 * struct shared_message - one direction
 * @count:	messages sent so far; the futex
 * @size:	of the last one
 * @data:	apart from the word, so that writing it does not disturb who looks at that
 */
struct shared_message {
	_Atomic uint32_t count;
	size_t size;
	char data[PROGRAM_SIZE_MAX] __attribute__((aligned(2 * PROGRAM_LINE)));
};

/**
 * struct shared - what a side knows
 * @in:		the other's; @out: its own
 * @taken:	messages received so far
 */
struct shared {
	struct shared_message *in, *out;
	uint32_t taken;
};

/* The file is DIR's: the coordinator removes it. */
static inline void shared_open(struct program *p, struct shared *s)
{
	size_t bytes = 2 * sizeof(struct shared_message);
	char *path = program_path(p, "", "message");
	struct shared_message *both;
	int fd = open(path, O_RDWR | O_CLOEXEC | (p->ping ? 0 : O_CREAT | O_EXCL), 0600);

	if (fd < 0 || (!p->ping && ftruncate(fd, (off_t)bytes)))
		program_fail("%s: %s", path, strerror(errno));
	both = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (both == MAP_FAILED)
		program_fail("mapping %s: %s", path, strerror(errno));
	close(fd);
	free(path);
	s->in = &both[!p->ping];
	s->out = &both[p->ping];
	/* Page tables of a new process are empty; neither page is anybody's message yet. */
	for (size_t i = 0; i < p->size; i += 4096) {
		(void)*(volatile char *)(s->in->data + i);
		s->out->data[i] = 0;
	}
}

#endif /* SLUICE_PERF_SHARED_H */
