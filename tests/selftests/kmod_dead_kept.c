// SPDX-License-Identifier: MIT
/* Description: a dead letter is not lost however often its readers die, give it back or are late */
#include "kmod_process.h"

#define MAX_ATTEMPTS	2
#define DEATHS		(3 * MAX_ATTEMPTS)
#define READINGS	600	/* a word counts to 255 */
#define TICKS		scaled(200)	/* ms; what waits for the timer does not wait for long */

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

/* The letter of @ticket is read once more, for the last time that its word can count. */
static int read_last(struct end *dead, u64 ticket)
{
	u64 token;
	int err;

	*end_word(dead, ticket) = slot_word(0, 0, SLOT_ATTEMPT_LAST - 1, SLOT_READY);
	dead->cursor = ticket;
	err = end_claim(dead, &ticket, &token);
	return err ?: end_nack(dead, ticket, token, 0, 0, 0);
}

/* With letters in all places; the dead-letter stage's own end in @dead. */
static int fill(struct ends *r, struct end *dead)
{
	u64 ticket, token;
	unsigned int i;
	int err = 0;

	for (i = 1; i < NSLOTS && !err; i++) {
		err = end_send(&r->out, "other", NULL);
		err = err ?: end_claim(&r->in, &ticket, &token);
		err = err ?: end_nack(&r->in, ticket, token, SLUICE_NACK_DEAD, 0, EXDEV);
	}
	return err ?: end_make(dead, "t.dead", SLUICE_CONSUMER, 0);
}

/* One after the other, until the one of @original comes. */
static int read_up_to(struct end *dead, u64 original)
{
	u64 ticket, token, counter;
	int err;

	do {
		err = end_await(dead, &ticket, &token, 2000);
		if (err)
			return err;
		counter = end_slot(dead, ticket)->counter;
		err = end_ack(dead, ticket, token);
	} while (!err && counter != original);
	return err;
}

/* The oldest one in a full ring: its new place is its old one. */
TEST_F(letter, the_oldest_is_read_many_times)
{
	struct end dead;

	ASSERT_EQ(0, letter_make(self, TICKS));
	ASSERT_EQ(0, fill(&self->r, &dead));
	ASSERT_EQ(0, read_last(&dead, 0));
	EXPECT_STATE("t.dead", .consumers = 1, .ready = NSLOTS, .buffers = NSLOTS, .nacks = 1);
	EXPECT_EQ(0, read_up_to(&dead, self->original));
	EXPECT_STATE("t.dead", .consumers = 1, .nacks = 1);
	end_close(&dead);
}

/* Another one waits until there is an end that it can go to. */
TEST_F(letter, another_is_read_many_times)
{
	struct end dead;
	u64 counter;

	ASSERT_EQ(0, letter_make(self, TICKS));
	ASSERT_EQ(0, fill(&self->r, &dead));
	counter = end_slot(&dead, 5)->counter;
	ASSERT_EQ(0, read_last(&dead, 5));
	EXPECT_STATE("t.dead", .consumers = 1, .ready = NSLOTS - 1, .dead = 1, .buffers = NSLOTS,
		     .nacks = 1);
	dead.cursor = 0;
	EXPECT_EQ(0, read_up_to(&dead, self->original));
	EXPECT_EQ(0, read_up_to(&dead, counter));
	EXPECT_STATE("t.dead", .consumers = 1, .nacks = 1);
	end_close(&dead);
}

/* Its buffer was spoilt: it cannot be told from nonsense, and is in nobody's way. */
TEST_F(letter, read_many_times_and_spoilt)
{
	struct end dead;

	ASSERT_EQ(0, letter_make(self, TICKS));
	ASSERT_EQ(0, end_make(&dead, "t.dead", SLUICE_CONSUMER, 0));
	*end_buffer(&dead, end_slot(&dead, 0)->buf) = 0;
	ASSERT_EQ(0, read_last(&dead, 0));
	EXPECT_STATE("t.dead", .consumers = 1, .nacks = 1, .dead_letters = 1);
	end_close(&dead);
}

TEST_F(letter, read_many_times_without_a_buffer)
{
	struct end dead;

	ASSERT_EQ(0, letter_make(self, TICKS));
	ASSERT_EQ(0, end_make(&dead, "t.dead", SLUICE_CONSUMER, 0));
	end_slot(&dead, 0)->buf = SLUICE_NO_BUFFER;
	end_slot(&dead, 0)->len = 1;
	ASSERT_EQ(0, read_last(&dead, 0));
	/* the buffer that nothing refers to any more comes home with the tick */
	AWAIT_STATE("t.dead", scaled(3000), .consumers = 1, .nacks = 1, .dead_letters = 1);
	end_close(&dead);
}

TEST_HARNESS_MAIN
