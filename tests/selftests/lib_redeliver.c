// SPDX-License-Identifier: MIT
/* Description: nack, time-out and detach redeliver a message and fence who had it */
#include "lib_common.h"

FIXTURE(claims)
{
	char stage[SLUICE_NAME_MAX];
	struct sluice_ctx *ctx;
	struct sluice_ep *out, *one, *two;
};

FIXTURE_VARIANT(claims)
{
	unsigned int ctx_flags;
};

FIXTURE_VARIANT_ADD(claims, uring) { };
FIXTURE_VARIANT_ADD(claims, poll) { .ctx_flags = SLUICE_CTX_NO_URING };

FIXTURE_SETUP(claims)
{
	struct sluice_create c = { .ack_timeout_ms = 200, .max_attempts = 3, .nbufs = 4,
				   .bufsize = 4096 };

	ASSERT_EQ(0, make_stage(self->stage, c)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &self->ctx));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, 0, &self->out));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0, &self->one));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0, &self->two));
}

FIXTURE_TEARDOWN(claims)
{
	sluice_ctx_destroy(self->ctx);
	EXPECT_EQ(0, sluice_destroy(self->stage, 0, 0)) TH_LOG("%s", sluice_error());
}

TEST_F(claims, nack_redelivers)
{
	struct sluice_msg m = text("again"), got, again;

	ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_NOW));
	ASSERT_EQ(0, sluice_claim(self->one, &got, SLUICE_NOW));
	EXPECT_EQ(-EAGAIN, sluice_claim(self->two, &again, SLUICE_NOW));
	ASSERT_EQ(0, sluice_nack(self->one, &got, EIO, 0, 0)) TH_LOG("%s", sluice_error());
	EXPECT_FALSE(sluice_holds(self->one, &got));
	EXPECT_EQ(-ESTALE, sluice_ack(self->one, &got));
	EXPECT_EQ(-ESTALE, sluice_nack(self->one, &got, EIO, 0, 0));
	EXPECT_EQ(-ESTALE, sluice_renew(self->one, &got));
	EXPECT_EQ(3, sluice_counters(self->one)->stale);
	/* behind the cursor of whoever comes */
	ASSERT_EQ(0, sluice_claim(self->two, &again, 5 * SECOND)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(2, again.attempt);
	EXPECT_EQ(got.ticket, again.ticket);
	EXPECT_EQ(0, memcmp(again.data, "again", 5));
	EXPECT_EQ(1, sluice_counters(self->two)->redelivered);
	EXPECT_EQ(0, sluice_ack(self->two, &again));
}

TEST_F(claims, nack_dead_is_not_delivered_again)
{
	struct sluice_msg m = text("bad"), got;

	ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_NOW));
	ASSERT_EQ(0, sluice_claim(self->one, &got, SLUICE_NOW));
	ASSERT_EQ(0, sluice_nack(self->one, &got, EINVAL, 0, SLUICE_NACK_DEAD));
	EXPECT_EQ(-EAGAIN, sluice_claim(self->one, &got, 50 * MS));
	EXPECT_EQ(-EAGAIN, sluice_claim(self->two, &got, 50 * MS));
}

TEST_F(claims, nack_reason_is_checked)
{
	struct sluice_msg m = text("x"), got;

	ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_NOW));
	ASSERT_EQ(0, sluice_claim(self->one, &got, SLUICE_NOW));
	EXPECT_EQ(-EINVAL, sluice_nack(self->one, &got, -EIO, 0, 0));
	EXPECT_EQ(-EINVAL, sluice_nack(self->one, &got, EIO, 0, 1u << 30));
	EXPECT_EQ(0, sluice_ack(self->one, &got));
}

TEST_F(claims, delay_is_kept)
{
	struct sluice_msg m = text("x"), got;
	uint64_t start;

	ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_NOW));
	ASSERT_EQ(0, sluice_claim(self->one, &got, SLUICE_NOW));
	start = now_ns();
	ASSERT_EQ(0, sluice_nack(self->one, &got, EIO, 100, 0));
	ASSERT_EQ(0, sluice_claim(self->two, &got, 5 * SECOND)) TH_LOG("%s", sluice_error());
	EXPECT_GE(now_ns() - start, 90 * MS);
	EXPECT_EQ(0, sluice_ack(self->two, &got));
}

TEST_F(claims, timeout_redelivers)
{
	struct sluice_msg m = text("slow"), slow, got;

	ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_NOW));
	ASSERT_EQ(0, sluice_claim(self->one, &slow, SLUICE_NOW));
	ASSERT_EQ(0, sluice_claim(self->two, &got, 5 * SECOND)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(slow.ticket, got.ticket);
	EXPECT_FALSE(sluice_holds(self->one, &slow));
	EXPECT_EQ(-ESTALE, sluice_ack(self->one, &slow));
	EXPECT_NE(NULL, strstr(sluice_error(), "no longer"));
	EXPECT_TRUE(sluice_holds(self->two, &got));
	EXPECT_EQ(0, sluice_ack(self->two, &got));
}

TEST_F(claims, renew_keeps)
{
	struct sluice_msg m = text("slow"), got, other;
	int i;

	ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_NOW));
	ASSERT_EQ(0, sluice_claim(self->one, &got, SLUICE_NOW));
	for (i = 0; i < 6; i++) {
		EXPECT_EQ(-EAGAIN, sluice_claim(self->two, &other, 100 * MS));
		ASSERT_EQ(0, sluice_renew(self->one, &got)) TH_LOG("%s", sluice_error());
	}
	EXPECT_EQ(0, sluice_ack(self->one, &got));
}

/* What an endpoint held is somebody else's when it goes; its buffers are free again. */
TEST_F(claims, detach_gives_back)
{
	struct sluice_msg m = text("x"), got;
	struct sluice_buffer buf;
	struct sluice_ep *out;
	int i;

	ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_NOW));
	ASSERT_EQ(0, sluice_claim(self->one, &got, SLUICE_NOW));
	sluice_detach(self->one);
	ASSERT_EQ(0, sluice_claim(self->two, &got, SECOND)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(2, got.attempt);
	EXPECT_EQ(0, sluice_ack(self->two, &got));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, 0, &out));
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, sluice_buffer_take(out, &buf, SLUICE_NOW));
	EXPECT_EQ(-EAGAIN, sluice_buffer_take(self->out, &buf, SLUICE_NOW));
	sluice_detach(out);
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, sluice_buffer_take(self->out, &buf, SECOND));
}

/* A reserved slot that is never published does not stop those behind it. */
TEST_F(claims, discard_is_passed)
{
	struct sluice_msg m = text("x"), hole = text("y"), got;
	void *data;

	ASSERT_EQ(0, sluice_reserve(self->out, &hole, &data, SLUICE_NOW));
	ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_NOW));
	EXPECT_EQ(-EAGAIN, sluice_claim(self->one, &got, SLUICE_NOW));
	ASSERT_EQ(0, sluice_discard(self->out, &hole));
	EXPECT_EQ(-ESTALE, sluice_discard(self->out, &hole));
	ASSERT_EQ(0, sluice_claim(self->one, &got, SLUICE_NOW));
	EXPECT_EQ(m.ticket, got.ticket);
	EXPECT_EQ(0, sluice_ack(self->one, &got));
}

/* Who sleeps is told of a redelivery, wherever its cursor is. */
TEST_F(claims, sleeper_gets_redelivery)
{
	struct sluice_msg m = text("x"), got;
	siginfo_t si;
	pid_t pid;
	int i;

	for (i = 0; i < 5; i++)
		ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_NOW));
	sluice_detach(self->two);
	self->two = NULL;
	pid = fork();
	if (!pid) {
		struct sluice_ctx *ctx;
		struct sluice_ep *in;

		CHILD_EXPECT(!sluice_ctx_create(variant->ctx_flags, &ctx));
		CHILD_EXPECT(!sluice_attach(ctx, self->stage, SLUICE_CONSUMER, 0, &in));
		for (i = 0; i < 5; i++) {
			CHILD_EXPECT(!sluice_claim(in, &got, 5 * SECOND));
			if (i != 2)
				CHILD_EXPECT(!sluice_ack(in, &got));
		}
		/* the third one is given back by dying */
		kill(getpid(), SIGKILL);
	}
	/* dead, but not waited for yet */
	ASSERT_EQ(0, waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT));
	ASSERT_EQ(0, sluice_claim(self->one, &got, 5 * SECOND)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(2, got.attempt);
	EXPECT_EQ(0, sluice_ack(self->one, &got));
	EXPECT_EQ(256 + SIGKILL, child_status(pid));
	EXPECT_EQ(-EAGAIN, sluice_claim(self->one, &got, SLUICE_NOW));
}

TEST_HARNESS_MAIN
