// SPDX-License-Identifier: MIT
/* Description: a producer that sleeps for room is served although others never sleep */
#include "lib_common.h"

#define MESSAGES	1500u
#define SLEEPERS	2u
#define HOG		SLEEPERS	/* stream of the one that spins */
#define SHARE		20u		/* each sleeper gets a twentieth at least */

FIXTURE(crowd)
{
	char stage[SLUICE_NAME_MAX];
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	pid_t pid[SLEEPERS + 1];
};

FIXTURE_VARIANT(crowd)
{
	unsigned int flags;	/* of the sleepers' contexts */
	uint32_t len;		/* of a message; longer than inline takes a buffer */
};

FIXTURE_VARIANT_ADD(crowd, slots) { .flags = SLUICE_CTX_NO_SPIN, .len = 8 };
FIXTURE_VARIANT_ADD(crowd, slots_poll)
{
	.flags = SLUICE_CTX_NO_SPIN | SLUICE_CTX_NO_URING, .len = 8,
};
FIXTURE_VARIANT_ADD(crowd, buffers) { .flags = SLUICE_CTX_NO_SPIN, .len = 100 };

/* Sends until it is killed. */
static pid_t producer(const char *stage, uint64_t stream, unsigned int flags, uint32_t len)
{
	static const char payload[100] = "payload";
	pid_t pid = fork();
	struct sluice_msg m = {
		.stream = stream, .data = payload, .len = len, .buffer = SLUICE_NO_BUFFER,
	};
	struct sluice_ctx *ctx;
	struct sluice_ep *out;

	if (pid)
		return pid;
	CHILD_EXPECT(!sluice_ctx_create(flags, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_PRODUCER, 0, &out));
	for (;; m.counter++)
		CHILD_EXPECT(!sluice_send(out, &m, SLUICE_FOREVER));
}

FIXTURE_SETUP(crowd)
{
	struct sluice_create c = { .nbufs = 8, .bufsize = 4096 };
	uint64_t i;

	ASSERT_EQ(0, make_stage(self->stage, c)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_ctx_create(0, &self->ctx));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0, &self->in));
	self->pid[HOG] = producer(self->stage, HOG, SLUICE_CTX_SPIN, variant->len);
	for (i = 0; i < SLEEPERS; i++)
		self->pid[i] = producer(self->stage, i, variant->flags, variant->len);
}

FIXTURE_TEARDOWN(crowd)
{
	unsigned int i;

	for (i = 0; i <= SLEEPERS; i++) {
		kill(self->pid[i], SIGKILL);
		EXPECT_EQ(256 + SIGKILL, child_status(self->pid[i]));
	}
	sluice_ctx_destroy(self->ctx);
	EXPECT_EQ(0, sluice_destroy(self->stage, 100, SLUICE_DESTROY_FORCE));
}

TEST_F_TIMEOUT(crowd, nobody_starves, 120)
{
	unsigned int got[SLEEPERS + 1] = { 0 }, i;
	struct sluice_msg m;

	for (i = 0; i < MESSAGES; i++) {
		ASSERT_EQ(0, sluice_claim(self->in, &m, 30 * SECOND))
			TH_LOG("after %u messages: %s", i, sluice_error());
		ASSERT_LE(m.stream, HOG);
		ASSERT_EQ(got[m.stream], m.counter);
		got[m.stream]++;
		/* A slow consumer: the ring is always full. */
		usleep(300);
		ASSERT_EQ(0, sluice_ack(self->in, &m));
	}
	TH_LOG("of %u messages the sleepers sent %u and %u, the one that spins %u", MESSAGES,
	       got[0], got[1], got[HOG]);
	for (i = 0; i < SLEEPERS; i++)
		EXPECT_GE(got[i], MESSAGES / SHARE);
	EXPECT_GT(got[HOG], 0);
}

TEST_HARNESS_MAIN
