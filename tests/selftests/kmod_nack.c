// SPDX-License-Identifier: MIT
/* Description: NACK gives a claim back at once, later, uncharged or for dead, and only one's own */
#include "kmod_process.h"
#include "kmod_uring.h"

#define SOON	scaled(2000)

FIXTURE(both)
{
	struct ends r;
	u64 ticket, token;
};

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.max_attempts = 3, .dead_slots = 4,
	}, 0));
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	ASSERT_EQ(0, end_claim(&self->r.in, &self->ticket, &self->token));
	EXPECT_STATE("t", BOTH, .claimed = 1);
}

FIXTURE_TEARDOWN(both)
{
	EXPECT_EQ(0, ends_close(&self->r));
}

TEST_F(both, bad_arguments)
{
	const struct sluice_nack good = { .ticket = self->ticket, .token = self->token };
	struct end *in = &self->r.in;
	struct sluice_nack n;

#define EXPECT_REFUSED(cmd, err, change) do {					\
	n = good;								\
	change;									\
	EXPECT_EQ(err, call(in->fd, cmd, &n));					\
	EXPECT_STATE("t", BOTH, .claimed = 1);					\
} while (0)
	EXPECT_REFUSED(SLUICE_IOC_NACK, -EINVAL, n.flags = 4);
	EXPECT_REFUSED(SLUICE_IOC_NACK, -EINVAL, n.flags = 0x80000000u);
	EXPECT_REFUSED(SLUICE_IOC_NACK, -EINVAL, n.reserved = 1);
	EXPECT_REFUSED(SLUICE_IOC_NACK, -EINVAL, n.reason = 4096);
	EXPECT_REFUSED(SLUICE_IOC_NACK, -EINVAL, n.reason = 0xffffffffu);
	EXPECT_REFUSED(SLUICE_IOC_NACK, -EINVAL, n.delay_ms = 0x80000000u);
	EXPECT_REFUSED(SLUICE_IOC_NACK, -EINVAL, n.token = 0);
	EXPECT_REFUSED(SLUICE_IOC_NACK, -EINVAL, n.token = slot_word(0, in->id, 0, SLOT_READY));
	EXPECT_REFUSED(SLUICE_IOC_NACK, -EINVAL, n.ticket = NSLOTS);
	EXPECT_REFUSED(SLUICE_IOC_RENEW, -EINVAL, n.flags = SLUICE_NACK_BUSY);
	EXPECT_REFUSED(SLUICE_IOC_RENEW, -EINVAL, n.reserved = 1);
	EXPECT_REFUSED(SLUICE_IOC_RENEW, -EINVAL, n.reason = 1);
	EXPECT_REFUSED(SLUICE_IOC_RENEW, -EINVAL, n.delay_ms = 1);
	EXPECT_REFUSED(SLUICE_IOC_RENEW, -EINVAL, n.token = 0);
	EXPECT_EQ(-EBADF, end_nack(&self->r.out, self->ticket, self->token, 0, 0, 0));
	EXPECT_EQ(-EBADF, end_renew(&self->r.out, self->ticket, self->token));
	EXPECT_EQ(-EFAULT, call(in->fd, SLUICE_IOC_NACK, NULL));
	EXPECT_STATE("t", BOTH, .claimed = 1);
}

/* The fence: another attempt, another slot, another lap, another's claim. */
TEST_F(both, stale_and_foreign_tokens)
{
	struct end *in = &self->r.in, other;
	u64 old = self->token;

	EXPECT_EQ(-ESTALE, end_nack(in, self->ticket, slot_word(0, in->id, 2, SLOT_CLAIMED), 0, 0, 0));
	EXPECT_EQ(-ESTALE, end_nack(in, self->ticket + 1, self->token, 0, 0, 0));
	EXPECT_EQ(-ESTALE, end_renew(in, self->ticket, slot_word(0, in->id, 2, SLOT_CLAIMED)));
	EXPECT_STATE("t", BOTH, .claimed = 1);

	ASSERT_EQ(0, end_make(&other, "t", SLUICE_CONSUMER, 0));
	EXPECT_EQ(-EINVAL, end_nack(&other, self->ticket, self->token, 0, 0, 0));
	EXPECT_EQ(-EINVAL, end_renew(&other, self->ticket, self->token));
	EXPECT_STATE("t", .producers = 1, .consumers = 2, .claimed = 1);

	EXPECT_EQ(0, end_nack(in, self->ticket, self->token, 0, 0, 0));
	EXPECT_EQ(-ESTALE, end_nack(in, self->ticket, self->token, 0, 0, 0));
	EXPECT_STATE("t", .producers = 1, .consumers = 2, .ready = 1, .nacks = 1, .redelivered = 1);
	/* claimed by the other, and again by this one: the old token never fits again */
	ASSERT_EQ(0, end_claim(&other, &self->ticket, &self->token));
	EXPECT_EQ(2, slot_attempt(self->token));
	EXPECT_EQ(-ESTALE, end_nack(in, self->ticket, old, 0, 0, 0));
	EXPECT_EQ(-ESTALE, end_ack(in, self->ticket, old));
	EXPECT_EQ(0, end_nack(&other, self->ticket, self->token, 0, 0, 0));
	ASSERT_EQ(0, end_claim(in, &self->ticket, &self->token));
	EXPECT_EQ(3, slot_attempt(self->token));
	EXPECT_EQ(-ESTALE, end_nack(in, self->ticket, old, 0, 0, 0));
	EXPECT_EQ(-ESTALE, end_ack(in, self->ticket, old));
	EXPECT_EQ(0, end_ack(in, self->ticket, self->token));
	EXPECT_STATE("t", .producers = 1, .consumers = 2, .nacks = 2, .redelivered = 2);
	end_close(&other);
}

/* At once, with the next attempt, and everybody walks again. */
TEST_F(both, retry)
{
	struct end *in = &self->r.in;
	u32 generation = in->hints->generation;
	u64 t;

	ASSERT_EQ(0, end_send(&self->r.out, "y", NULL));
	EXPECT_EQ(0, end_nack(in, self->ticket, self->token, 0, 0, 0));
	EXPECT_EQ(generation + 1, in->hints->generation);
	EXPECT_STATE("t", BOTH, .ready = 2, .nacks = 1, .redelivered = 1);
	ASSERT_EQ(0, end_claim(in, &t, &self->token));
	EXPECT_EQ(self->ticket, t);
	EXPECT_EQ(2, slot_attempt(self->token));
	EXPECT_EQ(0, end_ack(in, t, self->token));
	EXPECT_EQ(0, end_take_text(in, "y"));
}

TEST_F(both, sleepers_hear_of_it)
{
	struct end *in = &self->r.in, other;
	struct io_uring ring;

	ASSERT_EQ(0, end_make(&other, "t", SLUICE_CONSUMER, 0));
	ASSERT_EQ(0, io_uring_queue_init(4, &ring, 0));
	command_wait(&ring, &other, SLUICE_WAIT_READY, 1, 1);
	io_uring_submit(&ring);
	EXPECT_EQ(NOTHING, completion(&ring, 0, NULL));
	EXPECT_EQ(0, end_nack(in, self->ticket, self->token, 0, 0, 0));
	EXPECT_EQ(0, completion(&ring, SOON, NULL));
	EXPECT_EQ(0, end_take_text(&other, "x"));
	io_uring_queue_exit(&ring);
	end_close(&other);
}

/* After so many charged failures, the dead-letter stage. */
TEST_F(both, until_dead)
{
	struct end *in = &self->r.in;
	int i;

	for (i = 1; i < 3; i++) {
		EXPECT_EQ(0, end_nack(in, self->ticket, self->token, 0, 0, EIO));
		EXPECT_STATE("t", BOTH, .ready = 1, .nacks = i, .redelivered = i);
		ASSERT_EQ(0, end_claim(in, &self->ticket, &self->token));
		EXPECT_EQ(i + 1, slot_attempt(self->token));
	}
	EXPECT_EQ(0, end_nack(in, self->ticket, self->token, 0, 0, EIO));
	EXPECT_STATE("t", BOTH, .nacks = 3, .redelivered = 2, .dead_letters = 1);
	EXPECT_STATE("t.dead", .ready = 1, .buffers = 1);
	EXPECT_EQ(-EAGAIN, end_claim(in, &self->ticket, &self->token));
}

TEST_F(both, dead_at_once)
{
	struct end *in = &self->r.in;

	EXPECT_EQ(0, end_nack(in, self->ticket, self->token, SLUICE_NACK_DEAD, 0, EILSEQ));
	EXPECT_STATE("t", BOTH, .nacks = 1, .dead_letters = 1);
	EXPECT_STATE("t.dead", .ready = 1, .buffers = 1);
	EXPECT_EQ(-ESTALE, end_ack(in, self->ticket, self->token));
	/* its slot is free for the next lap */
	EXPECT_EQ(slot_free(1), *end_word(in, self->ticket));
}

/* Busy is nobody's failure, however often. */
TEST_F(both, busy_is_not_charged)
{
	struct end *in = &self->r.in;
	int i;

	for (i = 1; i <= 20; i++) {
		EXPECT_EQ(0, end_nack(in, self->ticket, self->token, SLUICE_NACK_BUSY, 0, 0));
		/* not at once; but where all is slow it may be back before we look */
		if (scaled(1) == 1)
			EXPECT_EQ(-EAGAIN, end_claim(in, &self->ticket, &self->token));
		ASSERT_EQ(0, end_await(in, &self->ticket, &self->token, SOON));
		EXPECT_EQ(i + 1, slot_attempt(self->token));
	}
	EXPECT_STATE("t", BOTH, .claimed = 1, .nacks = 20, .redelivered = 20);
	EXPECT_EQ(0, end_ack(in, self->ticket, self->token));
}

/* But an attempt is one of 255: the fence may not come round. */
TEST_F(both, attempts_are_finite)
{
	struct end *in = &self->r.in;
	u64 t = self->ticket, token = self->token;
	int i;

	/* the kernel decides by the word, so begin late */
	token = slot_word(0, in->id, 250, SLOT_CLAIMED);
	*end_word(in, t) = token;
	for (i = 1; i < 6; i++) {
		EXPECT_EQ(0, end_nack(in, t, token, SLUICE_NACK_BUSY, 0, EBUSY));
		if (i < 6)
			ASSERT_EQ(0, end_await(in, &t, &token, SOON)) TH_LOG("%d", i);
	}
	EXPECT_EQ(SLOT_ATTEMPT_LAST, slot_attempt(token));
	EXPECT_EQ(0, end_nack(in, t, token, SLUICE_NACK_BUSY, 0, EBUSY));
	EXPECT_STATE("t", BOTH, .nacks = 6, .redelivered = 5, .dead_letters = 1);
}

TEST_HARNESS_MAIN
