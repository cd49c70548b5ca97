// SPDX-License-Identifier: MIT
/* Description: the module's timer rests while everybody sleeps, and runs when somebody is awake */
#include "kmod_common.h"

#define TICK	scaled(50)	/* ms; a quarter of the ACK timeout */
#define NOBODY	7777u		/* a word of this owner is repaired at the next tick (P27) */

FIXTURE(both)
{
	struct ends r;
};

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.ack_timeout_ms = 4 * TICK, .write_timeout_ms = 4 * TICK,
	}, 0));
}

FIXTURE_TEARDOWN(both)
{
	EXPECT_EQ(0, ends_close(&self->r));
}

static void write_for_nobody(struct end *e)
{
	*end_word(e, 5) = slot_word(0, NOBODY, 0, SLOT_WRITING);
}

TEST_F(both, runs_while_a_consumer_is_awake)
{
	write_for_nobody(&self->r.out);
	AWAIT_STATE("t", 20 * TICK, BOTH, .discarded = 1);
	/* all slots are FREE for a while, and it still runs */
	sleep_ms(10 * TICK);
	write_for_nobody(&self->r.out);
	AWAIT_STATE("t", 20 * TICK, BOTH, .discarded = 2);
}

TEST_F(both, rests_while_all_sleep)
{
	struct pollfd p = { .fd = self->r.in.fd, .events = POLLIN };

	/* armed, and so a sleeper; the tick that is under way finds nothing to do */
	EXPECT_EQ(-EAGAIN, end_claim(&self->r.in, &(u64){ 0 }, &(u64){ 0 }));
	EXPECT_EQ(-EAGAIN, end_wait(&self->r.in, SLUICE_WAIT_READY, self->r.in.cursor, 0));
	EXPECT_EQ(0, poll(&p, 1, (int)(10 * TICK)));
	write_for_nobody(&self->r.out);
	sleep_ms(10 * TICK);
	EXPECT_STATE("t", BOTH, .writing = 1);
	/* awake again, whoever did it */
	EXPECT_EQ(0, end_kick(&self->r.out, SLUICE_KICK_READY));
	AWAIT_STATE("t", 20 * TICK, BOTH, .discarded = 1);
}

/* A message that is claimed keeps it running although the claimant sleeps for more. */
TEST_F(both, runs_while_a_claim_is_outstanding)
{
	u64 ticket, token;

	ASSERT_EQ(0, end_send(&self->r.out, "one", NULL));
	ASSERT_EQ(0, end_claim(&self->r.in, &ticket, &token));
	EXPECT_EQ(-EAGAIN, end_claim(&self->r.in, &(u64){ 0 }, &(u64){ 0 }));
	EXPECT_EQ(-EAGAIN, end_wait(&self->r.in, SLUICE_WAIT_READY, self->r.in.cursor, 0));
	AWAIT_STATE("t", 40 * TICK, BOTH, .ready = 1, .redelivered = 1, .timeouts = 1);
}

/* Its producer stopped before it looked for sleepers: as long as somebody is awake, nobody waits. */
TEST_F(both, wakes_for_what_nobody_announced)
{
	struct pollfd p = { .fd = self->r.in.fd, .events = POLLIN };
	struct end other, *out = &self->r.out;
	u64 t;

	ASSERT_EQ(0, end_make(&other, "t", SLUICE_CONSUMER, 0));
	EXPECT_EQ(-EAGAIN, end_claim(&self->r.in, &(u64){ 0 }, &(u64){ 0 }));
	EXPECT_EQ(-EAGAIN, end_wait(&self->r.in, SLUICE_WAIT_READY, self->r.in.cursor, 0));
	EXPECT_EQ(0, poll(&p, 1, (int)TICK));
	ASSERT_EQ(0, end_reserve(out, &t));
	end_fill(out, t, "x", 1, SLUICE_NO_BUFFER);
	ASSERT_EQ(SLOT_OK, slot_publish(end_word(out, t), ticket_lap(t, out->order), out->id));
	/* poll() would look by itself: whether the kernel took it off its list tells */
	while (sl_load(&out->hints->ready_sleepers) && t < 100 * TICK) {
		sleep_ms(1);
		t++;
	}
	EXPECT_EQ(0, sl_load(&out->hints->ready_sleepers));
	end_close(&other);
}

TEST_HARNESS_MAIN
