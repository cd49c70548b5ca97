// SPDX-License-Identifier: MIT
/* Description: a turn of somebody who is stopped passes on, though everybody else sleeps */
#include "kmod_process.h"

#define WRITE_TIMEOUT	200u		/* ms */
#define PASSES		(WRITE_TIMEOUT + scaled(10000))

FIXTURE(stopped)
{
	struct ends r;
	struct child owner, sender;
};

FIXTURE_VARIANT(stopped)
{
	u16 what;
};

FIXTURE_VARIANT_ADD(stopped, slots) { .what = SLUICE_WAIT_ROOM };
FIXTURE_VARIANT_ADD(stopped, buffers) { .what = SLUICE_WAIT_BUFFER };

/* Comes too late twice for the only room when told so, and never uses its turn. */
static void owner_body(struct child *c, u16 what)
{
	struct end e;

	CHILD_EXPECT(!end_make(&e, "t", SLUICE_PRODUCER, 0));
	tell_and_pause(c, e.id);
	end_wait(&e, what, NSLOTS, 0);
	end_wait(&e, what | SLUICE_WAIT_AGAIN, NSLOTS, 0);
	end_wait(&e, what | SLUICE_WAIT_AGAIN, NSLOTS, 0);
	tell_and_pause(c, 1);
	_exit(0);
}

/* One message, in a slot or a buffer, when told so. */
static void sender_body(struct child *c, u16 what)
{
	static const char big[PAGE] = "more than a slot has room for";
	ssize_t len = what == SLUICE_WAIT_ROOM ? 1 : (ssize_t)sizeof(big);
	struct end e;

	CHILD_EXPECT(!end_make(&e, "t", SLUICE_PRODUCER, 0));
	tell_and_pause(c, 1);
	CHILD_EXPECT(write(e.fd, big, (size_t)len) == len);
	tell_and_pause(c, 2);
	_exit(0);
}

FIXTURE_SETUP(stopped)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.nbufs = 1, .bufsize = PAGE, .write_timeout_ms = WRITE_TIMEOUT,
		.ack_timeout_ms = 100000,
	}, 0));
	ASSERT_GE(child_start(&self->owner), 0);
	if (!self->owner.pid)
		owner_body(&self->owner, variant->what);
	ASSERT_GE(child_start(&self->sender), 0);
	if (!self->sender.pid)
		sender_body(&self->sender, variant->what);
	ASSERT_EQ(1, hear(&self->sender));
}

FIXTURE_TEARDOWN(stopped)
{
	EXPECT_EQ(0, child_kill(&self->owner));
	EXPECT_EQ(0, child_kill(&self->sender));
	EXPECT_EQ(0, ends_close(&self->r));
}

static u32 turn(const struct end *e, u16 what)
{
	return sl_load(what == SLUICE_WAIT_ROOM ? &e->hints->room_turn : &e->hints->buffer_turn);
}

static int drain(struct end *in)
{
	u64 ticket, token;
	int err;

	while (!(err = end_claim(in, &ticket, &token)))
		if (end_ack(in, ticket, token))
			return -ESTALE;
	return err == -EAGAIN ? 0 : err;
}

/* Everything is taken, and the only consumer sleeps. Nobody keeps the tick running. */
static int drain_and_park(struct end *in)
{
	int err;

	do {
		err = drain(in);
		err = err ?: end_wait(in, SLUICE_WAIT_READY, in->cursor, 0);
	} while (!err);
	return err == -EAGAIN ? 0 : err;
}

static int take_turn(struct child *owner)
{
	int err = say(owner, 0);

	return err ?: hear(owner) == 1 ? child_stop(owner) : -ECHILD;
}

/* The sender is through before long. */
static int sent_within(struct child *c, unsigned int ms)
{
	struct pollfd p = { .fd = c->socket, .events = POLLIN };
	int err = say(c, 0);

	if (err || poll(&p, 1, (int)ms) != 1)
		return err ?: -ETIMEDOUT;
	return hear(c) == 2 ? 0 : -ECHILD;
}

TEST_F_TIMEOUT(stopped, drained_after_it, 300)
{
	struct end *in = &self->r.in;
	u64 ticket, id;
	u32 buf;

	ASSERT_EQ(0, end_send_buffer(&self->r.out, "b", &ticket, &buf));
	while (!end_send(&self->r.out, "x", NULL))
		;
	id = hear(&self->owner);
	ASSERT_LT(id, SLOT_OWNER_KERNEL);
	ASSERT_EQ(0, take_turn(&self->owner));
	ASSERT_EQ(0, drain_and_park(in));
	if (turn(in, variant->what) != id)
		TH_LOG("it was slow: the turn has passed on before");
	EXPECT_EQ(0, sent_within(&self->sender, PASSES));
	EXPECT_EQ(0, drain(in));
}

/* Nothing happens for so long that the tick has stopped: the turn alone makes it run. */
TEST_F_TIMEOUT(stopped, in_an_idle_stage, 300)
{
	struct end *in = &self->r.in;

	ASSERT_LT(hear(&self->owner), SLOT_OWNER_KERNEL);
	ASSERT_EQ(0, drain_and_park(in));
	sleep_ms(scaled(500));
	ASSERT_EQ(0, take_turn(&self->owner));
	EXPECT_EQ(0, sent_within(&self->sender, PASSES));
	EXPECT_EQ(0, drain(in));
}

TEST_HARNESS_MAIN
