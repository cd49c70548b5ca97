// SPDX-License-Identifier: MIT
/* Description: a full dead-letter stage drops its oldest letter, or stops the lane */
#include "kmod_process.h"
#include "kmod_uring.h"

#define LETTERS	64u		/* the smallest ring that there is */
#define SOON	scaled(3000)

FIXTURE(both)
{
	struct ends r;
	struct end dead;
};

FIXTURE_VARIANT(both)
{
	u32 flags;
};

FIXTURE_VARIANT_ADD(both, drops)
{
};

FIXTURE_VARIANT_ADD(both, stops)
{
	.flags = SLUICE_CREATE_DEAD_STOPS,
};

FIXTURE_SETUP(both)
{
	unsigned int i;
	u64 ticket, token;

	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.flags = variant->flags, .dead_slots = LETTERS, .ack_timeout_ms = 200,
	}, 0));
	for (i = 0; i < LETTERS; i++) {
		char text[8];

		snprintf(text, sizeof(text), "%u", i);
		ASSERT_EQ(0, end_send(&self->r.out, text, NULL));
		ASSERT_EQ(0, end_claim(&self->r.in, &ticket, &token));
		ASSERT_EQ(0, end_nack(&self->r.in, ticket, token, SLUICE_NACK_DEAD, 0, 0));
	}
	EXPECT_STATE("t", BOTH, .nacks = LETTERS, .dead_letters = LETTERS);
	EXPECT_STATE("t.dead", .ready = LETTERS, .buffers = LETTERS);
	ASSERT_EQ(0, end_make(&self->dead, "t.dead", SLUICE_CONSUMER, 0));
}

FIXTURE_TEARDOWN(both)
{
	end_close(&self->dead);
	EXPECT_EQ(0, ends_close(&self->r));
}

/* The text of the oldest letter, which is then gone. */
static int take_letter(struct end *dead, const char *text)
{
	u64 ticket, token;
	const char *p;
	int err = end_claim(dead, &ticket, &token);

	if (err)
		return err;
	p = (char *)dead->payload + (size_t)end_slot(dead, ticket)->buf * dead->bufsize +
	    sizeof(struct sluice_dead_letter);
	if (memcmp(p, text, strlen(text)))
		return -EBADMSG;
	return end_ack(dead, ticket, token);
}

static int kill_one(struct end *out, struct end *in, const char *text)
{
	u64 ticket, token;
	int err = end_send(out, text, NULL);

	err = err ?: end_claim(in, &ticket, &token);
	return err ?: end_nack(in, ticket, token, SLUICE_NACK_DEAD, 0, EDOM);
}

TEST_F(both, one_too_many)
{
	struct end *out = &self->r.out, *in = &self->r.in, *dead = &self->dead;
	struct sluice_send s = send_text("told", 0);
	struct io_uring ring;
	u64 ticket, token;

	ASSERT_EQ(0, io_uring_queue_init(4, &ring, 0));
	command_send(&ring, out->fd, &s, 1);
	io_uring_submit(&ring);
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	ASSERT_EQ(0, end_nack(in, ticket, token, SLUICE_NACK_DEAD, 0, EDOM));
	if (!variant->flags) {
		EXPECT_EQ(-EDOM, completion(&ring, SOON, NULL));
		EXPECT_STATE("t", BOTH, .nacks = LETTERS + 1, .dead_letters = LETTERS + 1,
			     .sends = 1);
		EXPECT_STATE("t.dead", .consumers = 1, .ready = LETTERS, .buffers = LETTERS,
			     .dead_dropped = 1);
		EXPECT_EQ(0, take_letter(dead, "1"));
		io_uring_queue_exit(&ring);
		return;
	}
	/* it stands still, visibly, and the sender waits for a decision */
	EXPECT_EQ(NOTHING, completion(&ring, 150, NULL));
	EXPECT_STATE("t", BOTH, .dead = 1, .nacks = LETTERS + 1, .dead_letters = LETTERS,
		     .sends = 1);
	EXPECT_STATE("t.dead", .consumers = 1, .ready = LETTERS, .buffers = LETTERS);
	/* its own lane only: what comes behind goes on */
	EXPECT_EQ(0, end_send(out, "behind", NULL));
	EXPECT_EQ(0, end_take_text(in, "behind"));
	/* one is read, and it goes on without anybody's doing */
	EXPECT_EQ(0, take_letter(dead, "0"));
	EXPECT_EQ(-EDOM, completion(&ring, SOON, NULL));
	EXPECT_STATE("t", BOTH, .nacks = LETTERS + 1, .dead_letters = LETTERS + 1, .sends = 1);
	EXPECT_STATE("t.dead", .consumers = 1, .ready = LETTERS, .buffers = LETTERS);
	io_uring_queue_exit(&ring);
}

/* Letters that are being read are nobody's to drop: then the new one goes, or waits. */
TEST_F(both, all_are_being_read)
{
	struct end *out = &self->r.out, *in = &self->r.in, *dead = &self->dead;
	u64 ticket, token[LETTERS];
	unsigned int i;

	for (i = 0; i < LETTERS; i++)
		ASSERT_EQ(0, end_claim(dead, &ticket, &token[i]));
	ASSERT_EQ(0, kill_one(out, in, "new"));
	if (variant->flags) {
		EXPECT_STATE("t", BOTH, .dead = 1, .nacks = LETTERS + 1, .dead_letters = LETTERS);
		EXPECT_STATE("t.dead", .consumers = 1, .claimed = LETTERS, .buffers = LETTERS);
	} else {
		EXPECT_STATE("t", BOTH, .nacks = LETTERS + 1, .dead_letters = LETTERS + 1);
		EXPECT_STATE("t.dead", .consumers = 1, .claimed = LETTERS, .buffers = LETTERS,
			     .dead_dropped = 1);
	}
}

/* The order of laps: the oldest goes first, many times. */
TEST_F(both, a_lap_of_drops)
{
	struct end *out = &self->r.out, *in = &self->r.in, *dead = &self->dead;
	unsigned int i;
	char text[8];

	if (variant->flags)
		return;
	for (i = 0; i < 2 * LETTERS; i++) {
		snprintf(text, sizeof(text), "n%u.", i);
		ASSERT_EQ(0, kill_one(out, in, text));
	}
	EXPECT_STATE("t.dead", .consumers = 1, .ready = LETTERS, .buffers = LETTERS,
		     .dead_dropped = 2 * LETTERS);
	for (i = 0; i < LETTERS; i++) {
		snprintf(text, sizeof(text), "n%u.", LETTERS + i);
		EXPECT_EQ(0, take_letter(dead, text));
	}
	EXPECT_STATE("t.dead", .consumers = 1, .dead_dropped = 2 * LETTERS);
}

/* Forged: buffers are free although the ring is full. The letter finds its place, or waits. */
TEST_F(both, buffers_lie)
{
	struct end *out = &self->r.out, *in = &self->r.in, *dead = &self->dead;
	u64 ticket, token;
	unsigned int i;

	for (i = 0; i < LETTERS; i++)
		*end_buffer(dead, i) = 0;
	ASSERT_EQ(0, kill_one(out, in, "new"));
	if (variant->flags) {
		EXPECT_STATE("t", BOTH, .dead = 1, .nacks = LETTERS + 1, .dead_letters = LETTERS);
		EXPECT_STATE("t.dead", .consumers = 1, .ready = LETTERS);
		return;
	}
	EXPECT_STATE("t", BOTH, .nacks = LETTERS + 1, .dead_letters = LETTERS + 1);
	EXPECT_STATE("t.dead", .consumers = 1, .ready = LETTERS, .buffers = 1, .dead_dropped = 1);
	/* and when all are being read, the new one goes */
	for (i = 0; i < LETTERS; i++)
		ASSERT_EQ(0, end_claim(dead, &ticket, &token));
	ASSERT_EQ(0, kill_one(out, in, "newer"));
	EXPECT_STATE("t.dead", .consumers = 1, .claimed = LETTERS, .buffers = 1,
		     .dead_dropped = 2);
}

TEST_HARNESS_MAIN
