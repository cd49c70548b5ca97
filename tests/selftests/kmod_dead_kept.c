// SPDX-License-Identifier: MIT
/* Description: a dead letter is not lost however often its readers die, give it back or are late */
#include "kmod_process.h"

#define MAX_ATTEMPTS	2
#define DEATHS		(3 * MAX_ATTEMPTS)
#define READINGS	600	/* a word counts to 255 */

FIXTURE(letter)
{
	struct ends r;
	u64 original;
};

FIXTURE_SETUP(letter)
{
	self->r.out.fd = self->r.in.fd = -1;
}

/* The letter; its readers are put off after @ack_timeout_ms. */
static int letter_make(FIXTURE_DATA(letter) *self, u32 ack_timeout_ms)
{
	u64 ticket, token;
	int err = ends_make(&self->r, (struct sluice_create) {
		.nbufs = 2, .bufsize = PAGE, .dead_slots = 4, .max_attempts = MAX_ATTEMPTS,
		.ack_timeout_ms = ack_timeout_ms,
	}, 0);

	err = err ?: end_send(&self->r.out, "hello", &self->original);
	err = err ?: end_claim(&self->r.in, &ticket, &token);
	return err ?: end_nack(&self->r.in, ticket, token, SLUICE_NACK_DEAD, 0, EXDEV);
}

FIXTURE_TEARDOWN(letter)
{
	EXPECT_EQ(0, ends_close(&self->r));
}

/* It is there, it is whole, there is one of it; and then there is none. */
static int take_letter(u64 original)
{
	const struct sluice_dead_letter *head;
	struct sluice_slot *slot;
	struct end dead;
	u64 ticket, token;
	int err = end_make(&dead, "t.dead", SLUICE_CONSUMER, 0);

	if (err)
		return err;
	err = end_await(&dead, &ticket, &token, 2000);
	if (!err) {
		slot = end_slot(&dead, ticket);
		head = (void *)(dead.payload + (size_t)slot->buf * dead.bufsize);
		if (slot->counter != original || head->ticket != original ||
		    head->reason != EXDEV || head->copied != 5 || memcmp(head + 1, "hello", 5))
			err = -EBADMSG;
	}
	err = err ?: end_ack(&dead, ticket, token);
	if (!err && end_claim(&dead, &ticket, &token) != -EAGAIN)
		err = -EEXIST;
	end_close(&dead);
	return err;
}

TEST_F(letter, readers_die)
{
	unsigned int i;

	ASSERT_EQ(0, letter_make(self, 600000));
	for (i = 0; i < DEATHS; i++) {
		struct child c = { 0 };

		if (!child_start(&c)) {
			struct end dead;
			u64 ticket, token;

			CHILD_EXPECT(!end_make(&dead, "t.dead", SLUICE_CONSUMER, 0));
			CHILD_EXPECT(!end_await(&dead, &ticket, &token, 2000));
			tell_and_pause(&c, 1);
			_exit(0);
		}
		ASSERT_EQ(1, hear(&c)) TH_LOG("reader %u has found nothing", i);
		ASSERT_EQ(0, child_kill(&c));
	}
	EXPECT_EQ(0, take_letter(self->original));
	EXPECT_STATE("t.dead", .redelivered = DEATHS, .deaths = DEATHS + 1);
}

TEST_F(letter, readers_are_late)
{
	struct end dead;
	u64 ticket, token;
	unsigned int i;

	ASSERT_EQ(0, letter_make(self, 50));
	ASSERT_EQ(0, end_make(&dead, "t.dead", SLUICE_CONSUMER, 0));
	for (i = 0; i < DEATHS; i++)
		ASSERT_EQ(0, end_await(&dead, &ticket, &token, 5000)) TH_LOG("reading %u", i);
	end_close(&dead);
	EXPECT_EQ(0, take_letter(self->original));
}

/* More often than the attempts of a word can be counted. */
TEST_F(letter, read_many_times)
{
	struct end dead;
	u64 ticket, token;
	unsigned int i;

	ASSERT_EQ(0, letter_make(self, 600000));
	ASSERT_EQ(0, end_make(&dead, "t.dead", SLUICE_CONSUMER, 0));
	for (i = 0; i < READINGS; i++) {
		ASSERT_EQ(0, end_await(&dead, &ticket, &token, 5000)) TH_LOG("reading %u", i);
		ASSERT_EQ(0, end_nack(&dead, ticket, token, 0, 0, 0));
	}
	end_close(&dead);
	EXPECT_EQ(0, take_letter(self->original));
	EXPECT_STATE("t.dead", .redelivered = READINGS - READINGS / 255, .nacks = READINGS,
		     .deaths = 2);
}

TEST_HARNESS_MAIN
