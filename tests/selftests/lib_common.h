/* SPDX-License-Identifier: MIT */
/*
 * lib_common.h: what the library's selftests share. Every test has a stage of its own.
 */
#ifndef SLUICE_TEST_LIB_COMMON_H
#define SLUICE_TEST_LIB_COMMON_H

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sluice/sluice.h>

#include "kselftest_harness.h"

#define MS	1000000ll		/* in ns */
#define SECOND	(1000 * MS)
#define NSLOTS	64u

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

static inline void sleep_ms(unsigned int ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * MS };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

/* A stage that nobody else uses; the name is written to @name. */
static inline int make_stage(char *name, struct sluice_create c)
{
	static int n;

	if (!c.nslots)
		c.nslots = NSLOTS;
	snprintf(c.name, sizeof(c.name), "test.%d.%d", getpid(), n++);
	strcpy(name, c.name);
	return sluice_create(&c);
}

static inline struct sluice_msg text(const char *s)
{
	return (struct sluice_msg) {
		.data = s,
		.len = (uint32_t)strlen(s),
		.buffer = SLUICE_NO_BUFFER,
	};
}

/* A child says what it did not find, and its exit status tells. */
#define CHILD_EXPECT(cond) do {							\
	if (!(cond)) {								\
		fprintf(stderr, "# %s:%d: child: %s: %s\n", __FILE__, __LINE__,	\
			#cond, sluice_error());					\
		_exit(1);							\
	}									\
} while (0)

static inline int child_status(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

#endif /* SLUICE_TEST_LIB_COMMON_H */
