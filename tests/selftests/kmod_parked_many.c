// SPDX-License-Identifier: MIT
/* Description: one endpoint parks no more than 64 commands, and goes as quickly as any other */
#include "kmod_process.h"
#include "kmod_uring.h"

#define PARKED	64
#define SOON	scaled(10000)

FIXTURE(many)
{
	struct ends r;
	struct io_uring ring;
};

FIXTURE_SETUP(many)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) { .nbufs = 1, .bufsize = PAGE }, 0));
	ASSERT_EQ(0, io_uring_queue_init(2 * PARKED, &self->ring, 0));
	self->r.in.generation = self->r.in.hints->generation;
}

FIXTURE_TEARDOWN(many)
{
	io_uring_queue_exit(&self->ring);
	EXPECT_EQ(0, ends_close(&self->r));
}

static int park(struct io_uring *ring, struct end *e, u16 what, u64 cursor, int n)
{
	int i;

	for (i = 0; i < n; i++)
		command_wait(ring, e, what, cursor, (u64)i);
	return io_uring_submit(ring);
}

/* So many completions, all of them @res. */
static int completions(struct io_uring *ring, int n, int res)
{
	int i, is;

	for (i = 0; i < n; i++) {
		is = completion(ring, SOON, NULL);
		if (is != res)
			return is ?: -ENOMSG;
	}
	return 0;
}

TEST_F_TIMEOUT(many, bounded, 120)
{
	struct end *in = &self->r.in;

	ASSERT_EQ(PARKED, park(&self->ring, in, SLUICE_WAIT_READY, 0, PARKED));
	EXPECT_EQ(NOTHING, completion(&self->ring, 20, NULL));
	EXPECT_EQ(PARKED, in->hints->ready_sleepers);
	ASSERT_EQ(3, park(&self->ring, in, SLUICE_WAIT_READY, 0, 3));
	EXPECT_EQ(0, completions(&self->ring, 3, -EBUSY));
	EXPECT_EQ(NOTHING, completion(&self->ring, 20, NULL));
	EXPECT_EQ(PARKED, in->hints->ready_sleepers);
	/* those that are parked are woken */
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	EXPECT_EQ(0, completions(&self->ring, PARKED, 0));
	EXPECT_EQ(0, in->hints->ready_sleepers);
	EXPECT_EQ(0, end_take_text(in, "x"));
	/* and there is room again */
	ASSERT_EQ(2, park(&self->ring, in, SLUICE_WAIT_READY, in->cursor, 2));
	EXPECT_EQ(NOTHING, completion(&self->ring, 20, NULL));
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	EXPECT_EQ(0, completions(&self->ring, 2, 0));
}

TEST_F_TIMEOUT(many, producers_too, 120)
{
	struct end *out = &self->r.out;
	int i;

	for (i = 0; i < (int)NSLOTS; i++)
		ASSERT_EQ(0, end_send(out, "x", NULL));
	ASSERT_EQ(PARKED, park(&self->ring, out, SLUICE_WAIT_ROOM, NSLOTS, PARKED));
	EXPECT_EQ(NOTHING, completion(&self->ring, 20, NULL));
	ASSERT_EQ(1, park(&self->ring, out, SLUICE_WAIT_BUFFER | SLUICE_WAIT_ROOM, NSLOTS, 1));
	EXPECT_EQ(-EBUSY, completion(&self->ring, SOON, NULL));
	EXPECT_EQ(PARKED, out->hints->room_sleepers);
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
	EXPECT_EQ(0, completions(&self->ring, PARKED, 0));
}

/* Each endpoint has its own. */
TEST_F_TIMEOUT(many, not_of_others, 120)
{
	struct end *in = &self->r.in, other;

	ASSERT_EQ(0, end_make(&other, "t", SLUICE_CONSUMER, 0));
	in->generation = other.generation;
	ASSERT_EQ(PARKED, park(&self->ring, in, SLUICE_WAIT_READY, 0, PARKED));
	ASSERT_EQ(2, park(&self->ring, &other, SLUICE_WAIT_READY, 0, 2));
	EXPECT_EQ(NOTHING, completion(&self->ring, 20, NULL));
	EXPECT_EQ(PARKED + 2, in->hints->ready_sleepers);
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	EXPECT_EQ(0, completions(&self->ring, PARKED + 2, 0));
	end_close(&other);
}

/* A process that dies with all it may have: its endpoint is gone, the machine goes on. */
TEST_F_TIMEOUT(many, death, 120)
{
	struct child c;

	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		struct io_uring ring;
		struct end e;

		CHILD_EXPECT(!end_make(&e, "t", SLUICE_CONSUMER, 0));
		CHILD_EXPECT(!io_uring_queue_init(2 * PARKED, &ring, 0));
		CHILD_EXPECT(park(&ring, &e, SLUICE_WAIT_READY, 0, PARKED + 2) == PARKED + 2);
		CHILD_EXPECT(!completions(&ring, 2, -EBUSY));
		tell_and_pause(&c, sl_load(&e.hints->ready_sleepers));
	}
	EXPECT_EQ(PARKED, hear(&c));
	EXPECT_EQ(0, child_kill(&c));
	AWAIT_STATE("t", SOON, BOTH, .deaths = 1);
	EXPECT_EQ(0, self->r.in.hints->ready_sleepers);
}

TEST_HARNESS_MAIN
