// SPDX-License-Identifier: MIT
/* Description: a claim that does not move is redelivered; RENEW extends it, within max_hold */
#include "kmod_process.h"
#include "kmod_uring.h"

#define TIMEOUT	200u		/* ms */
#define SOON	scaled(3000)

FIXTURE(both)
{
	struct ends r;
};

static const struct sluice_create create = {
	.max_attempts = 3, .ack_timeout_ms = TIMEOUT, .max_hold_ms = 5 * TIMEOUT, .dead_slots = 4,
};

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, ends_make(&self->r, create, 0));
}

FIXTURE_TEARDOWN(both)
{
	EXPECT_EQ(0, ends_close(&self->r));
}

TEST_F(both, redelivered_and_fenced)
{
	struct end *in = &self->r.in, other;
	u64 ticket, token, again, start;
	u32 generation;

	ASSERT_EQ(0, end_make(&other, "t", SLUICE_CONSUMER, 0));
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	start = now_ns();
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	generation = in->hints->generation;
	AWAIT_STATE("t", SOON, .producers = 1, .consumers = 2, .ready = 1, .timeouts = 1,
		    .redelivered = 1);
	printf("# timeout of %u ms: seen after %llu ms\n", TIMEOUT, (now_ns() - start) / MS);
	EXPECT_GE(now_ns() - start, TIMEOUT * MS);
	EXPECT_NE(generation, in->hints->generation);
	EXPECT_EQ(false, slot_holds(end_word(in, ticket), token));
	EXPECT_EQ(-ESTALE, end_ack(in, ticket, token));
	ASSERT_EQ(0, end_claim(&other, &ticket, &again));
	EXPECT_EQ(slot_attempt(token) + 1, slot_attempt(again));
	EXPECT_EQ(-ESTALE, end_ack(in, ticket, token));
	EXPECT_EQ(0, end_ack(&other, ticket, again));
	EXPECT_STATE("t", .producers = 1, .consumers = 2, .timeouts = 1, .redelivered = 1);
	end_close(&other);
}

/* The sleeper gets what the other did not finish. */
TEST_F(both, sleeper_is_woken)
{
	struct end *in = &self->r.in, other;
	u64 ticket, token, mine;
	struct io_uring ring;

	ASSERT_EQ(0, end_make(&other, "t", SLUICE_CONSUMER, 0));
	ASSERT_EQ(0, io_uring_queue_init(4, &ring, 0));
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	command_wait(&ring, &other, SLUICE_WAIT_READY, 1, 1);
	io_uring_submit(&ring);
	EXPECT_EQ(0, completion(&ring, SOON, NULL));
	ASSERT_EQ(0, end_claim(&other, &mine, &token));
	EXPECT_EQ(ticket, mine);
	EXPECT_EQ(0, end_ack(&other, mine, token));
	io_uring_queue_exit(&ring);
	end_close(&other);
}

TEST_F(both, until_dead)
{
	struct end *in = &self->r.in;
	u64 ticket, token;
	int i;

	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	for (i = 1; i <= 3; i++) {
		ASSERT_EQ(0, end_await(in, &ticket, &token, SOON));
		EXPECT_EQ(i, slot_attempt(token));
		AWAIT_STATE("t", SOON, BOTH, .ready = i < 3, .timeouts = i,
			    .redelivered = i < 3 ? i : 2, .dead_letters = i == 3);
	}
	EXPECT_STATE("t.dead", .ready = 1, .buffers = 1);
}

/* Claims and renews until it may not; how long that was, and whether no renewal was late. */
static int hold(struct end *in, u64 *held, bool *in_time)
{
	u64 ticket, token, start, last, now;
	int err = end_claim(in, &ticket, &token);

	*in_time = true;
	start = last = now_ns();
	while (!err && last - start < scaled(20 * TIMEOUT) * MS) {
		err = end_renew(in, ticket, token);
		now = now_ns();
		/* a box that had no processor for a while: the claim may have ended for that */
		*in_time &= now - last < TIMEOUT / 2 * MS;
		last = now;
		sleep_ms(TIMEOUT / 10);
	}
	*held = last - start;
	return err;
}

/* Each RENEW begins a timeout anew, and the sum of them is bounded. */
TEST_F(both, renew)
{
	struct end *in = &self->r.in;
	u64 ticket, token, held;
	unsigned int tries = 0;
	bool in_time;
	int err;

	do {
		if (tries++) {
			EXPECT_EQ(0, ends_close(&self->r));
			ASSERT_EQ(0, ends_make(&self->r, create, 0));
		}
		ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
		err = hold(in, &held, &in_time);
	} while (!in_time && tries < 20);
	printf("# max_hold of %u ms: held for %llu ms\n", 5 * TIMEOUT, held / MS);
	EXPECT_EQ(-ESTALE, err);
	EXPECT_GE(held, 5ull * TIMEOUT * MS - MS);
	EXPECT_STATE("t", BOTH, .ready = 1, .timeouts = 1, .redelivered = 1);
	/* the next claim has its own time */
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	EXPECT_EQ(0, end_renew(in, ticket, token));
	EXPECT_EQ(0, end_ack(in, ticket, token));
	EXPECT_STATE("t", BOTH, .timeouts = 1, .redelivered = 1);
}

/* Renewing one does nothing for the other. */
TEST_F(both, renew_is_of_one_claim)
{
	struct end *in = &self->r.in;
	u64 a, b, token_a, token_b, deadline = now_ns() + SOON * MS;

	ASSERT_EQ(0, end_send(&self->r.out, "a", NULL));
	ASSERT_EQ(0, end_send(&self->r.out, "b", NULL));
	ASSERT_EQ(0, end_claim(in, &a, &token_a));
	ASSERT_EQ(0, end_claim(in, &b, &token_b));
	while (slot_holds(end_word(in, b), token_b) && now_ns() < deadline) {
		EXPECT_EQ(0, end_renew(in, a, token_a));
		sleep_ms(TIMEOUT / 20);
	}
	EXPECT_EQ(-ESTALE, end_ack(in, b, token_b));
	EXPECT_EQ(0, end_ack(in, a, token_a));
	EXPECT_STATE("t", BOTH, .ready = 1, .timeouts = 1, .redelivered = 1);
}

/* A message that nobody claims does not time out. */
TEST_F(both, ready_waits)
{
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	sleep_ms(3 * TIMEOUT);
	EXPECT_STATE("t", BOTH, .ready = 1);
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
}

TEST_HARNESS_MAIN
