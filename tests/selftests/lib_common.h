/* SPDX-License-Identifier: MIT */
/*
 * lib_common.h: what the library's selftests share: a stage of their own per test, in both
 * ways to sleep (io_uring, and poll where that is forbidden).
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

/* What a child found out, as its exit status: 0, or the line that failed. */
#define CHILD_EXPECT(cond) do { if (!(cond)) _exit(__LINE__ & 0xff ? __LINE__ & 0xff : 1); } while (0)

static inline int child_status(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

/* A stage, a context and both ends in this process; each test runs with every variant. */
FIXTURE(ring)
{
	char stage[SLUICE_NAME_MAX];
	struct sluice_ctx *ctx, *other;
	struct sluice_ep *in, *out;
};

FIXTURE_VARIANT(ring)
{
	unsigned int ctx_flags;
	unsigned int attach_flags;
};

FIXTURE_VARIANT_ADD(ring, uring)
{
};

FIXTURE_VARIANT_ADD(ring, uring_sole)
{
	.attach_flags = SLUICE_ATTACH_SOLE,
};

FIXTURE_VARIANT_ADD(ring, poll)
{
	.ctx_flags = SLUICE_CTX_NO_URING,
};

FIXTURE_SETUP(ring)
{
	struct sluice_create c = { .nbufs = 8, .bufsize = 8192 };

	ASSERT_EQ(0, make_stage(self->stage, c)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &self->ctx));
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &self->other));
	ASSERT_EQ(!(variant->ctx_flags & SLUICE_CTX_NO_URING), sluice_ctx_uses_uring(self->ctx));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, variant->attach_flags,
				   &self->out)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_attach(self->other, self->stage, SLUICE_CONSUMER, 0, &self->in))
		TH_LOG("%s", sluice_error());
}

FIXTURE_TEARDOWN(ring)
{
	sluice_ctx_destroy(self->ctx);
	sluice_ctx_destroy(self->other);
	EXPECT_EQ(0, sluice_destroy(self->stage, 0, 0)) TH_LOG("%s", sluice_error());
}

#endif /* SLUICE_TEST_LIB_COMMON_H */
