// SPDX-License-Identifier: MIT
/*
 * futex.c: no system at all: a message in shared memory, a word that says so, and a futex
 *
 * One message may be under way each way: what any message system that sleeps must spend at least.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "program.h"
#include "shared.h"

static struct shared s;

static const struct program_peer futex;

static void futex_open(struct program *p)
{
	shared_open(p, &s);
}

static void *futex_begin(struct program *p, size_t size)
{
	return s.out->data;
}

static void futex_send(struct program *p, size_t size)
{
	s.out->size = size;
	atomic_fetch_add_explicit(&s.out->count, 1, memory_order_release);
	if (syscall(SYS_futex, &s.out->count, FUTEX_WAKE, 1, NULL, NULL, 0) < 0)
		program_fail("FUTEX_WAKE: %s", strerror(errno));
}

static const void *futex_receive(struct program *p, size_t *size)
{
	while (atomic_load_explicit(&s.in->count, memory_order_acquire) == s.taken)
		if (syscall(SYS_futex, &s.in->count, FUTEX_WAIT, s.taken, NULL, NULL, 0) &&
		    errno != EAGAIN && errno != EINTR)
			program_fail("FUTEX_WAIT: %s", strerror(errno));
	s.taken++;
	*size = s.in->size;
	return s.in->data;
}

static void futex_release(struct program *p)
{
}

static const struct program_way way = {
	.begin		= futex_begin,
	.send		= futex_send,
	.receive	= futex_receive,
	.release	= futex_release,
};

PROGRAM_WORKS(futex, way, way, way)

static const struct program_peer futex = {
	.name		= "futex",
	.open		= futex_open,
	.way		= &way,
	.round		= futex_round,
	.payload	= futex_payload,
};

int main(int argc, char **argv)
{
	return program_main(argc, argv, &futex);
}
