// SPDX-License-Identifier: MIT
/* Description: somebody else's look at a descriptor does not make who polls it miss a message */
#include "kmod_process.h"

#define SOON	((int)scaled(10000))

FIXTURE(pollers)
{
	struct ends r;
	struct child c;			/* polls the same descriptor */
};

static short asked(u32 role)
{
	return role == SLUICE_CONSUMER ? POLLIN : POLLOUT;
}

/* In poll() from the start, and says what it was told. At a timeout poll() would look again. */
static int poller(struct child *c, int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n;

	if (child_start(c))
		return c->pid < 0 ? -ECHILD : 0;
	say(c, 1);
	n = poll(&p, 1, -1);
	tell_and_pause(c, n == 1 ? (u64)p.revents : 0);
	_exit(0);
}

/* It is in poll(), and was not told of anything so far. */
static int polls(struct child *c)
{
	u64 deadline = now_ns() + (u64)SOON * MS;
	int seen = 0;

	if (hear(c) != 1)
		return -ECHILD;
	while (seen < 20 && now_ns() < deadline) {
		seen = state_of(c->pid) == 'S' ? seen + 1 : 0;
		sleep_ms(2);
	}
	return seen < 20 ? -ETIMEDOUT : 0;
}

FIXTURE_SETUP(pollers)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) { .ack_timeout_ms = 1000000 }, 0));
}

FIXTURE_TEARDOWN(pollers)
{
	EXPECT_EQ(0, child_kill(&self->c));
	EXPECT_EQ(0, ends_close(&self->r));
}

static void begin(struct __test_metadata *_metadata, FIXTURE_DATA(pollers) *self, u64 cursor)
{
	struct end *in = &self->r.in;

	in->generation = sl_load(&in->hints->generation);
	ASSERT_EQ(-EAGAIN, end_wait(in, SLUICE_WAIT_READY, cursor, 0));
	ASSERT_EQ(0, poller(&self->c, in->fd, asked(SLUICE_CONSUMER)));
	ASSERT_EQ(0, polls(&self->c));
	ASSERT_EQ(1, sl_load(&in->hints->ready_sleepers));
}

/* Whoever publishes kicks if somebody sleeps, and only then. */
TEST_F_TIMEOUT(pollers, stale_generation, 120)
{
	struct end *in = &self->r.in;

	begin(_metadata, self, 0);
	in->generation--;
	EXPECT_EQ(0, end_wait(in, SLUICE_WAIT_READY, 0, 0));
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	EXPECT_EQ(POLLIN, hear(&self->c));
}

TEST_F_TIMEOUT(pollers, stale_cursor, 120)
{
	struct end *in = &self->r.in;

	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	ASSERT_EQ(0, end_take_text(in, "x"));
	begin(_metadata, self, 1);
	EXPECT_EQ(0, end_wait(in, SLUICE_WAIT_READY, 0, 0));
	ASSERT_EQ(0, end_send(&self->r.out, "y", NULL));
	EXPECT_EQ(POLLIN, hear(&self->c));
}

/* Nor does a poll() that returns at once take the other off. */
TEST_F_TIMEOUT(pollers, message_taken_by_the_other, 120)
{
	struct pollfd p = { .fd = self->r.in.fd, .events = POLLIN };
	struct end *in = &self->r.in;

	begin(_metadata, self, 0);
	in->generation--;
	EXPECT_EQ(0, end_wait(in, SLUICE_WAIT_READY, 0, 0));
	EXPECT_EQ(1, poll(&p, 1, 0));
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	EXPECT_EQ(POLLIN, hear(&self->c));
}

/* The producer's side: a full ring, and a look at a slot that is not. */
TEST_F_TIMEOUT(pollers, room, 120)
{
	struct end *out = &self->r.out;
	int i;

	for (i = 0; i < (int)NSLOTS; i++)
		ASSERT_EQ(0, end_send(out, "x", NULL));
	ASSERT_EQ(-EAGAIN, end_wait(out, SLUICE_WAIT_ROOM, NSLOTS, 0));
	ASSERT_EQ(0, poller(&self->c, out->fd, asked(SLUICE_PRODUCER)));
	ASSERT_EQ(0, polls(&self->c));
	ASSERT_EQ(1, sl_load(&out->hints->room_sleepers));
	EXPECT_EQ(0, end_wait(out, SLUICE_WAIT_ROOM, 0, 0));
	ASSERT_EQ(0, end_take_text(&self->r.in, "x"));
	EXPECT_EQ(POLLOUT, hear(&self->c));
}

TEST_HARNESS_MAIN
