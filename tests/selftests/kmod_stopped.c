// SPDX-License-Identifier: MIT
/* Description: who is stopped for longer than the ACK timeout loses its claim, and learns it */
#include "kmod_process.h"

#define TIMEOUT_MS	100
#define SOON		scaled(5000)

FIXTURE(both)
{
	struct ends r;
	struct child c;
};

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.ack_timeout_ms = TIMEOUT_MS, .max_attempts = 3,
	}, 0));
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
}

FIXTURE_TEARDOWN(both)
{
	EXPECT_EQ(0, ends_close(&self->r));
}

/* A child that claims, is stopped, and afterwards tries all that the holder of a claim may do. */
static void late(struct child *c)
{
	u64 ticket, token;
	struct end in;

	if (child_start(c))
		return;
	CHILD_EXPECT(!end_make(&in, "t", SLUICE_CONSUMER, 0));
	CHILD_EXPECT(!end_claim(&in, &ticket, &token));
	tell_and_pause(c, 1);
	/* (E): nothing derived from it may be published */
	CHILD_EXPECT(!slot_holds(end_word(&in, ticket), token));
	CHILD_EXPECT(end_renew(&in, ticket, token) == -ESTALE);
	CHILD_EXPECT(end_nack(&in, ticket, token, 0, 0, 0) == -ESTALE);
	CHILD_EXPECT(end_ack(&in, ticket, token) == -ESTALE);
	/* it is alive: the next message may be its own */
	say(c, 2);
	CHILD_EXPECT(!end_await(&in, &ticket, &token, 10000));
	CHILD_EXPECT(!end_ack(&in, ticket, token));
	_exit(0);
}

TEST_F_TIMEOUT(both, stopped, 60)
{
	u64 ticket, token;

	late(&self->c);
	ASSERT_EQ(1, hear(&self->c));
	ASSERT_EQ(0, child_stop(&self->c));
	/* The word is still a claim's; the tick gives it to us. */
	ASSERT_EQ(0, end_await(&self->r.in, &ticket, &token, 10000));
	EXPECT_EQ(2, slot_attempt(token));
	kill(self->c.pid, SIGCONT);
	say(&self->c, 0);
	ASSERT_EQ(2, hear(&self->c));
	/* None of what it tried touched our claim. */
	EXPECT_TRUE(slot_holds(end_word(&self->r.in, ticket), token));
	EXPECT_EQ(0, end_ack(&self->r.in, ticket, token));
	ASSERT_EQ(0, end_send(&self->r.out, "y", NULL));
	EXPECT_EQ(0, child_wait(&self->c));
	AWAIT_STATE("t", SOON, BOTH, .redelivered = 1, .timeouts = 1, .deaths = 1);
}

TEST_HARNESS_MAIN
