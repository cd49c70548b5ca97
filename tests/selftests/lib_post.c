// SPDX-License-Identifier: MIT
/* Description: a posted message waits in the kernel's queue, in order, and survives its sender */
#include "lib_common.h"

#define QUEUE	16u

FIXTURE(queue)
{
	char stage[SLUICE_NAME_MAX];
	struct sluice_ctx *ctx;
	struct sluice_ep *in, *out;
};

FIXTURE_VARIANT(queue)
{
	unsigned int ctx_flags;
};

FIXTURE_VARIANT_ADD(queue, uring) { };
FIXTURE_VARIANT_ADD(queue, poll) { .ctx_flags = SLUICE_CTX_NO_URING };

FIXTURE_SETUP(queue)
{
	struct sluice_create c = { .nbufs = 4, .bufsize = 4096, .queue_max = QUEUE };

	ASSERT_EQ(0, make_stage(self->stage, c)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &self->ctx));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, 0, &self->out));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0, &self->in));
}

FIXTURE_TEARDOWN(queue)
{
	sluice_ctx_destroy(self->ctx);
	EXPECT_EQ(0, sluice_destroy(self->stage, 0, 0)) TH_LOG("%s", sluice_error());
}

static int post_all(struct sluice_ep *out, uint64_t first, unsigned int n, int expect)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct sluice_msg m = text("posted");
		int ret;

		m.counter = first + i;
		ret = sluice_post(out, &m);
		if (ret != expect)
			return ret < 0 ? ret : -(int)i - 1000;
	}
	return 0;
}

TEST_F(queue, order_through_the_queue)
{
	struct sluice_msg m = text("late");
	unsigned int i;

	ASSERT_EQ(0, post_all(self->out, 0, NSLOTS, 0)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, post_all(self->out, NSLOTS, QUEUE, 1)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(-EAGAIN, sluice_post(self->out, &m));
	EXPECT_NE(NULL, strstr(sluice_error(), "queue"));
	/* Nothing overtakes what is queued. */
	EXPECT_EQ(-EAGAIN, sluice_send(self->out, &m, SLUICE_NOW));
	for (i = 0; i < NSLOTS + QUEUE; i++) {
		struct sluice_msg got;

		ASSERT_EQ(0, sluice_claim(self->in, &got, SECOND)) TH_LOG("%s", sluice_error());
		ASSERT_EQ(i, got.counter);
		ASSERT_EQ(6, got.len);
		EXPECT_EQ(0, memcmp(got.data, "posted", 6));
		ASSERT_EQ(0, sluice_ack(self->in, &got));
	}
	EXPECT_EQ(0, sluice_send(self->out, &m, SLUICE_NOW)) TH_LOG("%s", sluice_error());
}

TEST_F(queue, buffer_goes_with_it)
{
	struct sluice_msg m = { .len = 4000 }, got;
	struct sluice_buffer buf;
	unsigned int i;

	ASSERT_EQ(0, post_all(self->out, 0, NSLOTS, 0));
	ASSERT_EQ(0, sluice_buffer_take(self->out, &buf, SLUICE_NOW));
	memset(buf.data, 'q', 4000);
	m.buffer = buf.index;
	m.counter = NSLOTS;
	ASSERT_EQ(1, sluice_post(self->out, &m)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(-EINVAL, sluice_buffer_drop(self->out, &buf));
	for (i = 0; i <= NSLOTS; i++) {
		ASSERT_EQ(0, sluice_claim(self->in, &got, SECOND));
		ASSERT_EQ(i, got.counter);
		if (i == NSLOTS) {
			ASSERT_EQ(4000, got.len);
			EXPECT_EQ('q', ((const char *)got.data)[3999]);
		}
		ASSERT_EQ(0, sluice_ack(self->in, &got));
	}
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, sluice_buffer_take(self->out, &buf, SLUICE_NOW));
}

TEST_F(queue, survives_the_sender)
{
	struct sluice_msg got;
	unsigned int i;
	pid_t pid = fork();

	if (!pid) {
		struct sluice_ctx *ctx;
		struct sluice_ep *out;

		CHILD_EXPECT(!sluice_ctx_create(variant->ctx_flags, &ctx));
		CHILD_EXPECT(!sluice_attach(ctx, self->stage, SLUICE_PRODUCER, 0, &out));
		CHILD_EXPECT(!post_all(out, 0, NSLOTS, 0));
		CHILD_EXPECT(!post_all(out, NSLOTS, QUEUE, 1));
		kill(getpid(), SIGKILL);
	}
	ASSERT_EQ(256 + SIGKILL, child_status(pid));
	for (i = 0; i < NSLOTS + QUEUE; i++) {
		ASSERT_EQ(0, sluice_claim(self->in, &got, SECOND)) TH_LOG("%s", sluice_error());
		ASSERT_EQ(i, got.counter);
		ASSERT_EQ(0, sluice_ack(self->in, &got));
	}
}

/* A waiting sender goes on when the queue has drained, not before. */
TEST_F(queue, sender_waits_for_the_queue)
{
	struct sluice_msg m = text("last"), got;
	unsigned int i;
	pid_t pid;

	ASSERT_EQ(0, post_all(self->out, 0, NSLOTS, 0));
	ASSERT_EQ(0, post_all(self->out, NSLOTS, QUEUE, 1));
	sluice_detach(self->in);
	pid = fork();
	if (!pid) {
		struct sluice_ctx *ctx;

		CHILD_EXPECT(!sluice_ctx_create(variant->ctx_flags, &ctx));
		CHILD_EXPECT(!sluice_attach(ctx, self->stage, SLUICE_CONSUMER, 0, &self->in));
		for (i = 0; i <= NSLOTS + QUEUE; i++) {
			CHILD_EXPECT(!sluice_claim(self->in, &got, 5 * SECOND));
			CHILD_EXPECT(got.counter == i);
			CHILD_EXPECT(!sluice_ack(self->in, &got));
			sleep_ms(1);
		}
		_exit(0);
	}
	m.counter = NSLOTS + QUEUE;
	EXPECT_EQ(0, sluice_send(self->out, &m, 5 * SECOND)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(0, child_status(pid));
}

TEST_HARNESS_MAIN
