// SPDX-License-Identifier: MIT
/* Description: a delayed NACK keeps the message back so long, and holds up nothing else */
#include "kmod_process.h"

#define SOON	scaled(3000)

FIXTURE(both)
{
	struct ends r;
};

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.max_attempts = 2, .ack_timeout_ms = 400,
	}, 0));
}

FIXTURE_TEARDOWN(both)
{
	EXPECT_EQ(0, ends_close(&self->r));
}

/* Kept as a claim of the kernel's own; not sooner, not much later. */
TEST_F(both, not_before_its_time)
{
	struct end *in = &self->r.in;
	u64 ticket, token, start, took;

	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	start = now_ns();
	EXPECT_EQ(0, end_nack(in, ticket, token, 0, 150, 0));
	EXPECT_STATE("t", BOTH, .claimed = 1, .nacks = 1);
	EXPECT_EQ(SLOT_OWNER_KERNEL, slot_owner(*end_word(in, ticket)));
	EXPECT_EQ(-ESTALE, end_ack(in, ticket, token));
	EXPECT_EQ(-EINVAL, end_renew(in, ticket, *end_word(in, ticket)));
	ASSERT_EQ(0, end_await(in, &ticket, &token, SOON));
	took = now_ns() - start;
	EXPECT_GE(took, 149ull * MS);
	printf("# NACK with a delay of 150 ms: back after %llu ms\n", took / MS);
	EXPECT_EQ(2, slot_attempt(token));
	EXPECT_STATE("t", BOTH, .claimed = 1, .nacks = 1, .redelivered = 1);
	/* it was charged: the second failure is the last */
	EXPECT_EQ(0, end_nack(in, ticket, token, 0, 150, 0));
	EXPECT_STATE("t", BOTH, .nacks = 2, .redelivered = 1, .dead_letters = 1);
}

/* The claim beside it times out as if nothing had been. */
TEST_F(both, others_time_out)
{
	struct end *in = &self->r.in;
	u64 a, b, token_a, token_b, start = now_ns();

	ASSERT_EQ(0, end_send(&self->r.out, "a", NULL));
	ASSERT_EQ(0, end_send(&self->r.out, "b", NULL));
	ASSERT_EQ(0, end_claim(in, &a, &token_a));
	ASSERT_EQ(0, end_claim(in, &b, &token_b));
	EXPECT_EQ(0, end_nack(in, b, token_b, 0, 3600 * 1000, 0));
	AWAIT_STATE("t", SOON, BOTH, .ready = 1, .claimed = 1, .nacks = 1, .timeouts = 1,
		    .redelivered = 1);
	EXPECT_GE(now_ns() - start, 400ull * MS);
	EXPECT_EQ(-ESTALE, end_ack(in, a, token_a));
}

/* Many that are put off soon after one another do not put off the look either. */
TEST_F(both, a_flood_of_delays)
{
	struct end *in = &self->r.in;
	u64 a, t, token_a, token, start = now_ns();
	struct state is;

	ASSERT_EQ(0, end_send(&self->r.out, "a", NULL));
	ASSERT_EQ(0, end_claim(in, &a, &token_a));
	do {
		int err = end_send(&self->r.out, "x", NULL);

		if (!err && !end_claim(in, &t, &token))
			EXPECT_EQ(0, end_nack(in, t, token, SLUICE_NACK_BUSY, 90, 0));
		sleep_ms(15);
		ASSERT_EQ(0, state_get("t", &is));
	} while (!is.timeouts && now_ns() - start < SOON * MS);
	EXPECT_EQ(1, is.timeouts);
}

/* Who had it dies meanwhile: it is the kernel's, and comes back at its time. */
TEST_F(both, survives_who_nacked)
{
	struct end *in = &self->r.in;
	u64 ticket, token;

	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	EXPECT_EQ(0, end_nack(in, ticket, token, 0, 100, 0));
	end_close(in);
	AWAIT_STATE("t", 20, .producers = 1, .claimed = 1, .nacks = 1, .deaths = 1);
	ASSERT_EQ(0, end_make(in, "t", SLUICE_CONSUMER, 0));
	EXPECT_EQ(0, end_await(in, &ticket, &token, SOON));
	EXPECT_EQ(2, slot_attempt(token));
	EXPECT_EQ(0, end_ack(in, ticket, token));
	EXPECT_STATE("t", BOTH, .nacks = 1, .redelivered = 1, .deaths = 1);
}

TEST_HARNESS_MAIN
