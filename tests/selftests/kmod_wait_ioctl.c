// SPDX-License-Identifier: MIT
/* Description: SLUICE_IOC_WAIT sleeps until there is reason to look, a deadline or a signal */
#include <sys/time.h>

#include "kmod_process.h"

#define SOON	scaled(2000)	/* ms in which a wake-up has to come on a busy machine */

FIXTURE(both)
{
	struct ends r;
};

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) { .nbufs = 1, .bufsize = 4096 }, 0));
}

FIXTURE_TEARDOWN(both)
{
	EXPECT_EQ(0, ends_close(&self->r));
}

TEST_F(both, bad_arguments)
{
	struct end *in = &self->r.in, *out = &self->r.out;
	struct sluice_wait_ioctl w = { .wait = { .what = SLUICE_WAIT_READY, .reserved = 1 } };

	EXPECT_EQ(-EINVAL, end_wait(in, 0, 0, 0));
	EXPECT_EQ(-EINVAL, end_wait(in, 8, 0, 0));
	EXPECT_EQ(-EINVAL, end_wait(in, 0x8001, 0, 0));
	EXPECT_EQ(-EBADF, end_wait(in, SLUICE_WAIT_ROOM, 0, 0));
	EXPECT_EQ(-EBADF, end_wait(in, SLUICE_WAIT_READY | SLUICE_WAIT_BUFFER, 0, 0));
	EXPECT_EQ(-EBADF, end_wait(out, SLUICE_WAIT_READY, 0, 0));
	EXPECT_EQ(-EBADF, end_wait(out, SLUICE_WAIT_ALL, 0, 0));
	EXPECT_EQ(-EINVAL, call(in->fd, SLUICE_IOC_WAIT, &w));
	EXPECT_EQ(-EFAULT, call(in->fd, SLUICE_IOC_WAIT, NULL));
	EXPECT_STATE("t", BOTH);
}

TEST_F(both, only_looks)
{
	struct end *in = &self->r.in, *out = &self->r.out;
	u64 ticket, token;
	u32 buf;

	in->generation = in->hints->generation;
	EXPECT_EQ(-EAGAIN, end_wait(in, SLUICE_WAIT_READY, 0, 0));
	EXPECT_EQ(0, end_wait(out, SLUICE_WAIT_ROOM, 0, 0));
	EXPECT_EQ(0, end_wait(out, SLUICE_WAIT_BUFFER, 0, 0));
	EXPECT_EQ(0, end_wait(out, SLUICE_WAIT_ROOM | SLUICE_WAIT_BUFFER, 0, 0));
	ASSERT_EQ(0, end_send_buffer(out, "x", &ticket, &buf));
	EXPECT_EQ(0, end_wait(in, SLUICE_WAIT_READY, 0, 0));
	EXPECT_EQ(-EAGAIN, end_wait(in, SLUICE_WAIT_READY, 1, 0));
	EXPECT_EQ(-EAGAIN, end_wait(out, SLUICE_WAIT_BUFFER, 0, 0));
	EXPECT_EQ(-EAGAIN, end_wait(out, SLUICE_WAIT_ROOM | SLUICE_WAIT_BUFFER, 1, 0));
	EXPECT_EQ(0, end_wait(out, SLUICE_WAIT_ROOM, 1, 0));
	/* full: the slot of the next lap is still in use */
	EXPECT_EQ(-EAGAIN, end_wait(out, SLUICE_WAIT_ROOM, NSLOTS, 0));
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	/* claimed by another is no reason to look */
	EXPECT_EQ(0, end_wait(in, SLUICE_WAIT_READY, 0, 0));
	EXPECT_EQ(0, end_ack(in, ticket, token));
	EXPECT_EQ(0, end_wait(out, SLUICE_WAIT_ROOM, NSLOTS, 0));
	EXPECT_EQ(0, end_wait(out, SLUICE_WAIT_BUFFER, 0, 0));
	EXPECT_STATE("t", BOTH);
}

/* Whoever found nothing may be about to poll(): it counts as a sleeper until the next wake. */
TEST_F(both, a_look_arms_poll)
{
	struct end *in = &self->r.in;
	int i;

	in->generation = in->hints->generation;
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(-EAGAIN, end_wait(in, SLUICE_WAIT_READY, 0, 0));
		EXPECT_EQ(1, in->hints->ready_sleepers);
	}
	EXPECT_EQ(0, end_kick(in, SLUICE_KICK_READY));
	EXPECT_EQ(0, in->hints->ready_sleepers);
	/* nor does it end for the others who poll the descriptor if one of them finds something */
	in->generation--;
	EXPECT_EQ(0, end_wait(in, SLUICE_WAIT_READY, 0, 0));
	EXPECT_EQ(1, in->hints->ready_sleepers);
	EXPECT_STATE("t", BOTH);
}

TEST_F(both, deadline)
{
	struct end *in = &self->r.in;
	u64 start = now_ns(), took;

	in->generation = in->hints->generation;
	EXPECT_EQ(-EAGAIN, end_wait(in, SLUICE_WAIT_READY, 0, 30 * MS));
	took = now_ns() - start;
	EXPECT_GE(took, 30ull * MS);
	EXPECT_LT(took, SOON * MS);
	EXPECT_EQ(-EAGAIN, end_wait(in, SLUICE_WAIT_READY, 0, 1));
	EXPECT_STATE("t", BOTH);
}

/* The generation that the caller read is old: what it looked at may be as well. */
TEST_F(both, other_generation)
{
	struct end *in = &self->r.in;

	in->generation = in->hints->generation - 1;
	EXPECT_EQ(0, end_wait(in, SLUICE_WAIT_READY, 0, -1));
	in->generation = in->hints->generation + 1;
	EXPECT_EQ(0, end_wait(in, SLUICE_WAIT_READY, 0, -1));
}

/* A child that waits for @what at @cursor and says what came of it. */
static int waiter(struct child *c, u32 role, u16 what, u64 cursor, s64 timeout_ns)
{
	struct end e;

	if (child_start(c))
		return c->pid < 0 ? -1 : 0;
	CHILD_EXPECT(!end_make(&e, "t", role, 0));
	say(c, 1);
	hear(c);	/* others attached since: that was a new generation */
	e.generation = e.hints->generation;
	say(c, 2);
	tell_and_pause(c, (u64)-end_wait(&e, what, cursor, timeout_ns));
	end_close(&e);
	_exit(0);
}

/* It sleeps, as the hints say. */
static int asleep(const struct end *e, u32 ready, u32 room)
{
	u64 deadline = now_ns() + SOON * MS;

	while (now_ns() < deadline) {
		if (sl_load(&e->hints->ready_sleepers) == ready &&
		    sl_load(&e->hints->room_sleepers) == room)
			return 0;
		sleep_ms(1);
	}
	return -ETIMEDOUT;
}

/* Attached; and on its way to sleep. */
#define START_WAITER(c, ...) do {						\
	ASSERT_EQ(0, waiter(c, __VA_ARGS__));					\
	ASSERT_EQ(1, hear(c));							\
} while (0)

#define LET_WAIT(c) do {							\
	say(c, 0);								\
	ASSERT_EQ(2, hear(c));							\
} while (0)

TEST_F(both, woken_by_a_message)
{
	struct child c;

	START_WAITER(&c, SLUICE_CONSUMER, SLUICE_WAIT_READY, 0, -1);
	LET_WAIT(&c);
	ASSERT_EQ(0, asleep(&self->r.in, 1, 0));
	EXPECT_STATE("t", .producers = 1, .consumers = 2);
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	EXPECT_EQ(0, hear(&c));
	EXPECT_EQ(0, child_end(&c));
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
	EXPECT_STATE("t", BOTH, .deaths = 1);
}

/* Published by somebody who did not look for sleepers: while anybody is awake the tick does (P8). */
TEST_F(both, publisher_that_did_not_look)
{
	struct end *out = &self->r.out;
	struct child c;
	u64 t;

	START_WAITER(&c, SLUICE_CONSUMER, SLUICE_WAIT_READY, 0, -1);
	LET_WAIT(&c);
	ASSERT_EQ(0, asleep(&self->r.in, 1, 0));
	ASSERT_EQ(0, end_reserve(out, &t));
	end_fill(out, t, "x", 1, SLUICE_NO_BUFFER);
	ASSERT_EQ(SLOT_OK, slot_publish(end_word(out, t), ticket_lap(t, out->order), out->id));
	EXPECT_EQ(0, hear(&c));
	EXPECT_EQ(0, child_end(&c));
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
}

/* Far beyond what a clock can hold is for ever. */
TEST_F(both, longest_timeout)
{
	struct child c;

	START_WAITER(&c, SLUICE_CONSUMER, SLUICE_WAIT_READY, 0, INT64_MAX);
	LET_WAIT(&c);
	ASSERT_EQ(0, asleep(&self->r.in, 1, 0));
	sleep_ms(20);
	EXPECT_EQ(0, asleep(&self->r.in, 1, 0));
	EXPECT_EQ(0, end_kick(&self->r.out, SLUICE_KICK_READY));
	EXPECT_EQ(0, hear(&c));
	EXPECT_EQ(0, child_end(&c));
}

/* All who sleep for messages are woken, and nobody who sleeps for room. */
TEST_F(both, kick_wakes_whom_it_names)
{
	struct child c, d, e;
	unsigned int i;

	for (i = 0; i < NSLOTS; i++)
		ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	START_WAITER(&c, SLUICE_CONSUMER, SLUICE_WAIT_READY, NSLOTS, -1);
	START_WAITER(&d, SLUICE_CONSUMER, SLUICE_WAIT_READY, NSLOTS, -1);
	START_WAITER(&e, SLUICE_PRODUCER, SLUICE_WAIT_ROOM, NSLOTS, -1);
	LET_WAIT(&c);
	LET_WAIT(&d);
	LET_WAIT(&e);
	/* a tick that finds READY unmoved wakes consumers too: they may look again */
	EXPECT_EQ(0, asleep(&self->r.in, 2, 1));
	EXPECT_EQ(0, end_kick(&self->r.out, SLUICE_KICK_READY));
	EXPECT_EQ(0, hear(&c));
	EXPECT_EQ(0, hear(&d));
	EXPECT_EQ(0, asleep(&self->r.in, 0, 1));
	EXPECT_EQ(0, child_end(&c));
	EXPECT_EQ(0, child_end(&d));
	/* their going is news for everybody */
	EXPECT_EQ(0, hear(&e));
	EXPECT_EQ(0, child_end(&e));
	AWAIT_STATE("t", SOON, BOTH, .ready = NSLOTS, .deaths = 3);
}

TEST_F(both, kick_room)
{
	struct end *in = &self->r.in;
	struct child c;
	unsigned int i;

	for (i = 0; i < NSLOTS; i++)
		ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	START_WAITER(&c, SLUICE_PRODUCER, SLUICE_WAIT_ROOM, NSLOTS, -1);
	LET_WAIT(&c);
	ASSERT_EQ(0, asleep(in, 0, 1));
	EXPECT_EQ(0, end_kick(in, SLUICE_KICK_READY));
	EXPECT_EQ(0, asleep(in, 0, 1));
	EXPECT_EQ(0, end_take_text(in, "x"));
	EXPECT_EQ(0, hear(&c));
	EXPECT_EQ(0, child_end(&c));
	AWAIT_STATE("t", SOON, BOTH, .ready = NSLOTS - 1, .deaths = 1);
}

/* Who asks for both is not told of one, or it would spin (P9). */
TEST_F(both, slot_and_buffer)
{
	struct end *in = &self->r.in, *out = &self->r.out;
	u64 last = 0, ticket, token;
	u32 buf;

	while (!end_send(out, "x", &last))
		;
	last = ticket_add(last, 1, out->order);
	EXPECT_EQ(-EAGAIN, end_wait(out, SLUICE_WAIT_ROOM | SLUICE_WAIT_BUFFER, last, 0));
	EXPECT_EQ(0, end_wait(out, SLUICE_WAIT_BUFFER, last, 0));
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	EXPECT_EQ(0, end_ack(in, ticket, token));
	EXPECT_EQ(0, end_wait(out, SLUICE_WAIT_ROOM | SLUICE_WAIT_BUFFER, last, 0));
	ASSERT_EQ(0, end_take(out, &buf));
	EXPECT_EQ(-EAGAIN, end_wait(out, SLUICE_WAIT_ROOM | SLUICE_WAIT_BUFFER, last, 0));
	EXPECT_EQ(0, end_wait(out, SLUICE_WAIT_ROOM, last, 0));
}

TEST_F(both, kick_for_a_buffer)
{
	struct end *in = &self->r.in;
	struct child c;
	u64 ticket;
	u32 buf;

	ASSERT_EQ(0, end_send_buffer(&self->r.out, "x", &ticket, &buf));
	START_WAITER(&c, SLUICE_PRODUCER, SLUICE_WAIT_BUFFER, 1, -1);
	LET_WAIT(&c);
	ASSERT_EQ(0, asleep(in, 0, 1));
	EXPECT_EQ(0, end_take_text(in, "x"));
	EXPECT_EQ(0, hear(&c));
	EXPECT_EQ(0, child_end(&c));
}

/*
 * Acknowledged, but its buffer is not given back, and the consumer lives: the kernel
 * finds it, and whoever sleeps for a buffer is told (P5).
 */
TEST_F(both, forgotten_buffer)
{
	struct end *in = &self->r.in;
	u64 ticket, token;
	struct child c;
	u32 buf;

	ASSERT_EQ(0, end_send_buffer(&self->r.out, "x", &ticket, &buf));
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	START_WAITER(&c, SLUICE_PRODUCER, SLUICE_WAIT_BUFFER, 1, -1);
	LET_WAIT(&c);
	ASSERT_EQ(0, asleep(in, 0, 1));
	ASSERT_EQ(SLOT_OK, slot_ack(end_word(in, ticket), token));
	EXPECT_EQ(0, hear(&c));
	EXPECT_EQ(0, child_end(&c));
	AWAIT_STATE("t", SOON, BOTH, .deaths = 1);
}

static void on_alarm(int sig)
{
}

TEST_F(both, signal)
{
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct itimerval when = { .it_value = { 0, 30000 } };
	struct end *in = &self->r.in;
	int i;

	sigaction(SIGALRM, &sa, NULL);
	in->generation = in->hints->generation;
	for (i = 0; i < 2; i++) {
		setitimer(ITIMER_REAL, &when, NULL);
		EXPECT_EQ(-EINTR, end_wait(in, SLUICE_WAIT_READY, 0, i ? 10 * SECOND : -1));
		EXPECT_EQ(0, in->hints->ready_sleepers);
	}
}

TEST_F(both, killed_while_asleep)
{
	struct child c;

	START_WAITER(&c, SLUICE_CONSUMER, SLUICE_WAIT_READY, 0, -1);
	LET_WAIT(&c);
	ASSERT_EQ(0, asleep(&self->r.in, 1, 0));
	EXPECT_EQ(0, child_kill(&c));
	EXPECT_EQ(0, asleep(&self->r.in, 0, 0));
	EXPECT_STATE("t", BOTH, .deaths = 1);
}

TEST_F(both, attach_wakes)
{
	struct child c;
	struct end other;

	START_WAITER(&c, SLUICE_CONSUMER, SLUICE_WAIT_READY, 0, -1);
	LET_WAIT(&c);
	ASSERT_EQ(0, asleep(&self->r.in, 1, 0));
	ASSERT_EQ(0, end_make(&other, "t", SLUICE_CONSUMER, 0));
	EXPECT_EQ(0, hear(&c));
	EXPECT_EQ(0, child_end(&c));
	end_close(&other);
}

TEST_HARNESS_MAIN
