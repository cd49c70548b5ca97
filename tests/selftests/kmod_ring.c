// SPDX-License-Identifier: MIT
/* Description: what the five verbs do in mapped memory is what the kernel sees */
#include "kmod_common.h"

FIXTURE(ring)
{
	struct ends r;
};

FIXTURE_SETUP(ring)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) { .nbufs = 4, .bufsize = 4096 }, 0));
	EXPECT_STATE("t", BOTH);
}

FIXTURE_TEARDOWN(ring)
{
	EXPECT_EQ(0, ends_close(&self->r));
}

TEST_F(ring, constants_in_hints)
{
	const struct sluice_hints *h = self->r.in.hints;

	EXPECT_EQ(SLUICE_ABI_VERSION, h->abi_version);
	EXPECT_EQ(NSLOTS, h->nslots);
	EXPECT_EQ(4, h->nbufs);
	EXPECT_EQ(4096, h->bufsize);
	EXPECT_EQ(5, h->max_attempts);
	EXPECT_EQ(30000, h->ack_timeout_ms);
	EXPECT_EQ(SLUICE_POLICY_SHARED, h->policy);
	EXPECT_EQ(0, h->slots_offset % PAGE);
	EXPECT_EQ(0, h->buffers_offset % PAGE);
	EXPECT_EQ(1, h->producers);
	EXPECT_EQ(1, h->consumers);
	EXPECT_EQ(0, h->closed);
	EXPECT_EQ(0, h->ready_sleepers);
	EXPECT_EQ(0, h->room_sleepers);
	EXPECT_EQ(0, h->queued);
}

TEST_F(ring, reserve_publish_claim_ack)
{
	u32 generation = self->r.in.hints->generation;
	u64 t, claimed, token;

	EXPECT_EQ(-EAGAIN, end_claim(&self->r.in, &claimed, &token));
	ASSERT_EQ(0, end_reserve(&self->r.out, &t));
	EXPECT_EQ(0, t);
	EXPECT_STATE("t", BOTH, .writing = 1);
	EXPECT_EQ(-EAGAIN, end_claim(&self->r.in, &claimed, &token));
	end_fill(&self->r.out, t, "one", 3, SLUICE_NO_BUFFER);
	ASSERT_EQ(0, end_publish(&self->r.out, t));
	EXPECT_STATE("t", BOTH, .ready = 1);
	ASSERT_EQ(0, end_claim(&self->r.in, &claimed, &token));
	EXPECT_EQ(t, claimed);
	EXPECT_EQ(self->r.in.id, slot_owner(token));
	EXPECT_EQ(1, slot_attempt(token));
	EXPECT_STATE("t", BOTH, .claimed = 1);
	EXPECT_EQ(0, end_ack(&self->r.in, claimed, token));
	EXPECT_STATE("t", BOTH);
	EXPECT_EQ(-ESTALE, end_ack(&self->r.in, claimed, token));
	EXPECT_STATE("t", BOTH);
	/* Nothing of this went behind a cursor. */
	EXPECT_EQ(generation, self->r.in.hints->generation);
}

TEST_F(ring, discard_leaves_a_gap)
{
	u64 t, claimed, token;

	ASSERT_EQ(0, end_reserve(&self->r.out, &t));
	ASSERT_EQ(0, end_send(&self->r.out, "next", NULL));
	EXPECT_STATE("t", BOTH, .writing = 1, .ready = 1);
	EXPECT_EQ(-EAGAIN, end_claim(&self->r.in, &claimed, &token));
	ASSERT_EQ(SLOT_OK, slot_discard(end_word(&self->r.out, t), 0, self->r.out.id));
	EXPECT_STATE("t", BOTH, .ready = 1);
	EXPECT_EQ(-ESTALE, end_publish(&self->r.out, t));
	EXPECT_EQ(0, end_take_text(&self->r.in, "next"));
	EXPECT_STATE("t", BOTH);
}

TEST_F(ring, payload_in_a_buffer)
{
	u64 t;
	u32 buf;

	ASSERT_EQ(0, end_take(&self->r.out, &buf));
	EXPECT_STATE("t", BOTH, .buffers = 1);
	ASSERT_EQ(SLOT_OK, buf_drop(end_buffer(&self->r.out, buf), self->r.out.id));
	EXPECT_STATE("t", BOTH);
	ASSERT_EQ(0, end_send_buffer(&self->r.out, "in a buffer", &t, &buf));
	EXPECT_EQ(buf_word(t, BUF_SENT), *end_buffer(&self->r.in, buf));
	EXPECT_STATE("t", BOTH, .ready = 1, .buffers = 1);
	EXPECT_EQ(0, end_take_text(&self->r.in, "in a buffer"));
	EXPECT_EQ(buf_word(0, BUF_FREE), *end_buffer(&self->r.in, buf));
	EXPECT_STATE("t", BOTH);
}

/* Full is full, in order, for many laps. */
TEST_F(ring, full_and_empty_for_laps)
{
	char text[16];
	unsigned int lap, i;
	u64 t;

	for (lap = 0; lap < 5; lap++) {
		for (i = 0; i < NSLOTS; i++) {
			snprintf(text, sizeof(text), "%u.%u", lap, i);
			ASSERT_EQ(0, end_send(&self->r.out, text, &t));
			ASSERT_EQ(lap * NSLOTS + i, t);
		}
		EXPECT_EQ(-EAGAIN, end_send(&self->r.out, "no", NULL));
		EXPECT_STATE("t", BOTH, .ready = NSLOTS);
		for (i = 0; i < NSLOTS; i++) {
			snprintf(text, sizeof(text), "%u.%u", lap, i);
			ASSERT_EQ(0, end_take_text(&self->r.in, text));
		}
		EXPECT_EQ(-EAGAIN, end_take_text(&self->r.in, ""));
		EXPECT_STATE("t", BOTH);
	}
}

TEST_F(ring, kernel_finds_the_tail)
{
	struct sluice_info i;
	unsigned int n;

	for (n = 0; n < 3; n++)
		ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	/* Only a hint: the kernel asks the words. */
	self->r.out.control->tail = 0;
	ASSERT_EQ(0, stage_info("t", &i));
	EXPECT_EQ(3, i.tail);
	EXPECT_EQ(3, self->r.out.control->tail);
	EXPECT_LT(i.oldest_age_ns, 60ull * SECOND);
	EXPECT_STATE("t", BOTH, .ready = 3);
}

/* The message goes to one of two consumers, and each sees the order. */
TEST_F(ring, two_consumers_share)
{
	struct end other;
	u64 t, mine, theirs, token;
	unsigned int i;

	ASSERT_EQ(0, end_make(&other, "t", SLUICE_CONSUMER, 0));
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, end_send(&self->r.out, "x", &t));
	ASSERT_EQ(0, end_claim(&self->r.in, &mine, &token));
	ASSERT_EQ(0, end_claim(&other, &theirs, &token));
	EXPECT_EQ(0, mine);
	EXPECT_EQ(1, theirs);
	EXPECT_EQ(0, end_ack(&other, theirs, token));
	ASSERT_EQ(0, end_claim(&self->r.in, &mine, &token));
	EXPECT_EQ(2, mine);
	EXPECT_STATE("t", .producers = 1, .consumers = 2, .claimed = 2, .ready = 1);
	end_close(&other);
	AWAIT_STATE("t", 100, BOTH, .claimed = 2, .ready = 1, .deaths = 1);
}

TEST_HARNESS_MAIN
