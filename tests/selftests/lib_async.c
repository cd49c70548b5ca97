// SPDX-License-Identifier: MIT
/* Description: an asynchronous send completes on the ACK, or with the reason why there is none */
#include "lib_ring.h"

TEST_F(ring, completes_on_ack)
{
	struct sluice_completion done;
	struct sluice_msg m = text("tell"), got;

	if (variant->attach_flags && variant->ctx_flags)
		SKIP(return, "a sole producer needs io_uring for this");
	ASSERT_EQ(0, sluice_send_async(self->out, &m, 42)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_claim(self->in, &got, SECOND));
	ASSERT_EQ(4, got.len);
	EXPECT_EQ(0, memcmp(got.data, "tell", 4));
	EXPECT_EQ(0, sluice_completions(self->ctx, &done, 1, SLUICE_NOW));
	EXPECT_EQ(0, sluice_completions(self->ctx, &done, 1, 20 * MS));
	ASSERT_EQ(0, sluice_ack(self->in, &got));
	ASSERT_EQ(1, sluice_completions(self->ctx, &done, 1, SECOND));
	EXPECT_EQ(42, done.cookie);
	EXPECT_EQ(0, done.result);
	EXPECT_EQ(self->out, done.ep);
	/* Nothing is under way any more, so there is nothing to wait for. */
	EXPECT_EQ(0, sluice_completions(self->ctx, &done, 1, SLUICE_FOREVER));
}

TEST_F(ring, nack_is_the_reason)
{
	struct sluice_completion done;
	struct sluice_msg m = text("bad"), got;

	ASSERT_EQ(0, sluice_send_async(self->out, &m, 1));
	ASSERT_EQ(0, sluice_claim(self->in, &got, SECOND));
	ASSERT_EQ(0, sluice_nack(self->in, &got, EDOM, 0, SLUICE_NACK_DEAD));
	ASSERT_EQ(1, sluice_completions(self->ctx, &done, 1, SECOND));
	EXPECT_EQ(-EDOM, done.result);
}

/* As many as the ring has slots: each is told once, in whatever order. */
TEST_F(ring, many_at_once)
{
	struct sluice_completion done[NSLOTS];
	unsigned char seen[NSLOTS] = { 0 };
	struct sluice_msg m, got;
	unsigned int i, told = 0;
	int n;

	for (i = 0; i < NSLOTS; i++) {
		m = text("many");
		m.counter = i;
		ASSERT_EQ(0, sluice_send_async(self->out, &m, i)) TH_LOG("%s", sluice_error());
	}
	for (i = 0; i < NSLOTS; i++) {
		ASSERT_EQ(0, sluice_claim(self->in, &got, SECOND)) TH_LOG("%s", sluice_error());
		ASSERT_EQ(i, got.counter);
		ASSERT_EQ(0, sluice_ack(self->in, &got));
	}
	while (told < NSLOTS) {
		n = sluice_completions(self->ctx, done, NSLOTS, SECOND);
		ASSERT_GT(n, 0) TH_LOG("%u told", told);
		for (i = 0; i < (unsigned int)n; i++) {
			ASSERT_LT(done[i].cookie, NSLOTS);
			EXPECT_EQ(0, seen[done[i].cookie]++);
			EXPECT_EQ(0, done[i].result);
			told++;
		}
	}
}

TEST_F(ring, payload_is_copied)
{
	struct sluice_completion done;
	struct sluice_msg m, got;
	char data[6000];

	memset(data, 'a', sizeof(data));
	m = (struct sluice_msg) { .data = data, .len = sizeof(data), .buffer = SLUICE_NO_BUFFER };
	ASSERT_EQ(0, sluice_send_async(self->out, &m, 1)) TH_LOG("%s", sluice_error());
	memset(data, 'b', sizeof(data));
	ASSERT_EQ(0, sluice_claim(self->in, &got, SECOND));
	ASSERT_EQ(sizeof(data), got.len);
	EXPECT_EQ('a', ((const char *)got.data)[5999]);
	ASSERT_EQ(0, sluice_ack(self->in, &got));
	ASSERT_EQ(1, sluice_completions(self->ctx, &done, 1, SECOND));
	EXPECT_EQ(0, done.result);
}

TEST_F(ring, sync_send)
{
	struct sluice_msg m = text("sync"), got;
	pid_t pid;
	int i;

	sluice_detach(self->in);
	EXPECT_EQ(-ETIME, sluice_send_sync(self->out, &m, 20 * MS));
	pid = fork();
	if (!pid) {
		struct sluice_ctx *ctx;

		CHILD_EXPECT(!sluice_ctx_create(variant->ctx_flags, &ctx));
		CHILD_EXPECT(!sluice_attach(ctx, self->stage, SLUICE_CONSUMER, 0, &self->in));
		for (i = 0; i < 21; i++) {
			CHILD_EXPECT(!sluice_claim(self->in, &got, 5 * SECOND));
			if (i == 20)
				CHILD_EXPECT(!sluice_nack(self->in, &got, EILSEQ, 0,
							  SLUICE_NACK_DEAD));
			else
				CHILD_EXPECT(!sluice_ack(self->in, &got));
		}
		sluice_ctx_destroy(ctx);
		_exit(0);
	}
	for (i = 1; i < 20; i++)
		ASSERT_EQ(0, sluice_send_sync(self->out, &m, 5 * SECOND))
			TH_LOG("%s", sluice_error());
	EXPECT_EQ(-EILSEQ, sluice_send_sync(self->out, &m, 5 * SECOND));
	EXPECT_EQ(0, child_status(pid));
}

/* A full ring: the kernel keeps them for a shared producer, a sole one is told. */
/* Whoever gave up on a synchronous send is not told later, by a cookie that was never given. */
TEST_F(ring, sync_gave_up)
{
	struct sluice_completion done;
	struct sluice_msg m = text("slow"), got;

	ASSERT_EQ(-ETIME, sluice_send_sync(self->out, &m, 20 * MS)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_claim(self->in, &got, SECOND));
	ASSERT_EQ(0, sluice_ack(self->in, &got));
	EXPECT_EQ(0, sluice_completions(self->ctx, &done, 1, 50 * MS));
	ASSERT_EQ(0, sluice_send_async(self->out, &m, 5)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_claim(self->in, &got, SECOND));
	ASSERT_EQ(0, sluice_ack(self->in, &got));
	ASSERT_EQ(1, sluice_completions(self->ctx, &done, 1, SECOND));
	EXPECT_EQ(5, done.cookie);
	EXPECT_EQ(0, sluice_completions(self->ctx, &done, 1, SLUICE_NOW));
}

TEST_F(ring, beyond_the_ring)
{
	struct sluice_completion done[2 * NSLOTS];
	struct sluice_msg m = text("x"), got;
	unsigned int i, n = 0;
	int ret;

	for (i = 0; i < NSLOTS + 20; i++) {
		ret = sluice_send_async(self->out, &m, i);
		if (ret)
			break;
	}
	if (variant->attach_flags & SLUICE_ATTACH_SOLE) {
		EXPECT_EQ(-EAGAIN, ret);
		EXPECT_EQ(NSLOTS, i);
	}
	while (n < i) {
		ASSERT_EQ(0, sluice_claim(self->in, &got, 5 * SECOND))
			TH_LOG("%u of %u: %s", n, i, sluice_error());
		ASSERT_EQ(0, sluice_ack(self->in, &got));
		n++;
	}
	while (n) {
		ret = sluice_completions(self->ctx, done, 2 * NSLOTS, SECOND);
		ASSERT_GT(ret, 0);
		n -= (unsigned int)ret;
		while (ret--)
			EXPECT_EQ(0, done[ret].result);
	}
}

/* Going away with sends under way: nobody is told, nothing is left behind. */
TEST_F(ring, detach_under_way)
{
	struct sluice_completion done;
	struct sluice_msg m = text("x");
	int i;

	for (i = 0; i < 10; i++)
		ASSERT_EQ(0, sluice_send_async(self->out, &m, 1));
	sluice_detach(self->out);
	EXPECT_EQ(0, sluice_completions(self->ctx, &done, 1, 50 * MS));
}

/* Kicks and sends that are deferred leave with the wait for completions. */
TEST_F(ring, deferred)
{
	struct sluice_completion done;
	struct sluice_msg m = text("x"), got;
	pid_t pid;
	int i;

	sluice_detach(self->in);
	pid = fork();
	if (!pid) {
		struct sluice_ctx *ctx;

		CHILD_EXPECT(!sluice_ctx_create(variant->ctx_flags, &ctx));
		CHILD_EXPECT(!sluice_attach(ctx, self->stage, SLUICE_CONSUMER, 0, &self->in));
		for (i = 0; i < 50; i++) {
			CHILD_EXPECT(!sluice_claim(self->in, &got, 5 * SECOND));
			CHILD_EXPECT(!sluice_ack(self->in, &got));
		}
		sluice_ctx_destroy(ctx);
		_exit(0);
	}
	sluice_defer_kicks(self->ctx, true);
	for (i = 0; i < 50; i++) {
		ASSERT_EQ(0, sluice_send_async(self->out, &m, (uint64_t)i));
		ASSERT_EQ(1, sluice_completions(self->ctx, &done, 1, 5 * SECOND))
			TH_LOG("%d: %s", i, sluice_error());
		EXPECT_EQ(i, done.cookie);
		EXPECT_EQ(0, done.result);
	}
	EXPECT_EQ(0, child_status(pid));
}

TEST_HARNESS_MAIN
