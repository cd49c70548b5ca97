// SPDX-License-Identifier: MIT
/* Description: who came too late twice has the next room or buffer to itself, longest waiter first */
#include "kmod_uring.h"

#define NBUFS	2u
#define WRITE_TIMEOUT	scaled(300)	/* ms */
#define SOON		scaled(5000)

FIXTURE(crowd)
{
	struct ends r;
	struct end late, later;		/* producers */
	u64 full;			/* the ticket that has no room */
};

FIXTURE_VARIANT(crowd)
{
	u16 what;
};

FIXTURE_VARIANT_ADD(crowd, slots) { .what = SLUICE_WAIT_ROOM };
FIXTURE_VARIANT_ADD(crowd, buffers) { .what = SLUICE_WAIT_BUFFER };

FIXTURE_SETUP(crowd)
{
	u32 i, buf;

	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.nbufs = NBUFS, .bufsize = PAGE, .write_timeout_ms = WRITE_TIMEOUT,
		.ack_timeout_ms = 100000,
	}, 0));
	ASSERT_EQ(0, end_make(&self->late, "t", SLUICE_PRODUCER, 0));
	ASSERT_EQ(0, end_make(&self->later, "t", SLUICE_PRODUCER, 0));
	for (i = 0; i < NBUFS; i++)
		ASSERT_EQ(0, end_send_buffer(&self->r.out, "b", &self->full, &buf));
	while (!end_send(&self->r.out, "x", &self->full))
		;
	self->full = ticket_add(self->full, 1, self->r.out.order);
}

FIXTURE_TEARDOWN(crowd)
{
	end_close(&self->late);
	end_close(&self->later);
	EXPECT_EQ(0, ends_close(&self->r));
}

static u32 turn(const struct end *e, u16 what)
{
	return sl_load(what == SLUICE_WAIT_ROOM ? &e->hints->room_turn : &e->hints->buffer_turn);
}

/* Sleeps (a poll would wake it), for the first time or after a wake-up in vain. */
static int sleeps(struct end *e, u16 what, u64 cursor, bool again)
{
	return end_wait(e, what | (again ? SLUICE_WAIT_AGAIN : 0), cursor, 0);
}

static int loses(struct end *e, u16 what, u64 cursor)
{
	int err = sleeps(e, what, cursor, false);

	if (err == -EAGAIN)
		err = sleeps(e, what, cursor, true);
	return err == -EAGAIN ? sleeps(e, what, cursor, true) : err;
}

static u32 turn_within(const struct end *e, u16 what, u32 unwanted, unsigned int ms)
{
	u64 deadline = now_ns() + (u64)ms * MS;

	while (turn(e, what) == unwanted && now_ns() < deadline)
		sleep_ms(1);
	return turn(e, what);
}

/* One slot and one buffer become free. */
static int make_room(struct ends *r)
{
	u64 ticket, token;
	int err = end_claim(&r->in, &ticket, &token);

	return err ?: end_ack(&r->in, ticket, token);
}

TEST_F(crowd, after_two_wakes_in_vain)
{
	struct end *e = &self->late;

	EXPECT_EQ(0, turn(e, variant->what));
	EXPECT_EQ(-EAGAIN, sleeps(e, variant->what, self->full, false));
	EXPECT_EQ(0, turn(e, variant->what));
	EXPECT_EQ(-EAGAIN, sleeps(e, variant->what, self->full, true));
	EXPECT_EQ(0, turn(e, variant->what));
	EXPECT_EQ(-EAGAIN, sleeps(e, variant->what, self->full, true));
	EXPECT_EQ(e->id, turn(e, variant->what));
	EXPECT_EQ(0, end_kick(e, SLUICE_KICK_TURN));
	EXPECT_EQ(0, turn(e, variant->what));
}

TEST_F(crowd, a_first_sleep_is_no_loss)
{
	int i;

	for (i = 0; i < 10; i++)
		EXPECT_EQ(-EAGAIN, sleeps(&self->late, variant->what, self->full, false));
	EXPECT_EQ(0, turn(&self->late, variant->what));
}

/* What one has had counts no more once it is served. */
TEST_F(crowd, a_served_wait_is_over)
{
	EXPECT_EQ(-EAGAIN, loses(&self->late, variant->what, self->full));
	EXPECT_EQ(0, end_kick(&self->late, SLUICE_KICK_TURN));
	EXPECT_EQ(-EAGAIN, sleeps(&self->late, variant->what, self->full, true));
	EXPECT_EQ(0, turn(&self->late, variant->what));
}

TEST_F(crowd, longest_waiter_first)
{
	struct end third;

	ASSERT_EQ(0, end_make(&third, "t", SLUICE_PRODUCER, 0));
	EXPECT_EQ(-EAGAIN, loses(&third, variant->what, self->full));
	EXPECT_EQ(third.id, turn(&third, variant->what));
	EXPECT_EQ(-EAGAIN, loses(&self->late, variant->what, self->full));
	sleep_ms(scaled(30));
	EXPECT_EQ(-EAGAIN, loses(&self->later, variant->what, self->full));
	/* parked last, and waits for the longest all the same */
	EXPECT_EQ(-EAGAIN, sleeps(&self->late, variant->what, self->full, true));
	EXPECT_EQ(third.id, turn(&third, variant->what));
	EXPECT_EQ(0, end_kick(&third, SLUICE_KICK_TURN));
	EXPECT_EQ(self->late.id, turn(&third, variant->what));
	EXPECT_EQ(0, end_kick(&self->late, SLUICE_KICK_TURN));
	EXPECT_EQ(self->later.id, turn(&third, variant->what));
	end_close(&third);
}

TEST_F(crowd, others_keep_off)
{
	static const char big[PAGE] = "more than a slot has room for";
	size_t len = variant->what == SLUICE_WAIT_ROOM ? 1 : sizeof(big);
	int fd = stage_open("t", O_RDWR | O_NONBLOCK);
	u64 room = self->full;

	ASSERT_GE(fd, 0);
	EXPECT_EQ(-EAGAIN, loses(&self->late, variant->what, self->full));
	ASSERT_EQ(0, make_room(&self->r));
	EXPECT_EQ(-EAGAIN, sleeps(&self->later, variant->what, room, false));
	EXPECT_EQ(-1, write(fd, big, len));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(0, sleeps(&self->late, variant->what, room, true));
	EXPECT_EQ(0, end_kick(&self->late, SLUICE_KICK_TURN));
	EXPECT_EQ(0, sleeps(&self->later, variant->what, room, false));
	EXPECT_EQ(len, write(fd, big, len));
	close(fd);
}

/* A sleeper that may go on now is woken, or it would sleep beside free room. */
TEST_F(crowd, others_are_woken_after_it)
{
	struct pollfd p = { .fd = self->later.fd, .events = POLLOUT };

	EXPECT_EQ(-EAGAIN, loses(&self->late, variant->what, self->full));
	ASSERT_EQ(0, make_room(&self->r));
	EXPECT_EQ(-EAGAIN, sleeps(&self->later, variant->what, self->full, false));
	EXPECT_EQ(0, poll(&p, 1, 20));
	EXPECT_EQ(0, end_kick(&self->late, SLUICE_KICK_TURN));
	EXPECT_EQ(1, poll(&p, 1, (int)SOON));
}

TEST_F(crowd, ends_with_its_owner)
{
	EXPECT_EQ(-EAGAIN, loses(&self->late, variant->what, self->full));
	EXPECT_EQ(self->late.id, turn(&self->later, variant->what));
	end_close(&self->late);
	EXPECT_EQ(0, turn(&self->later, variant->what));
}

TEST_F(crowd, passes_on_at_a_death)
{
	EXPECT_EQ(-EAGAIN, loses(&self->late, variant->what, self->full));
	EXPECT_EQ(-EAGAIN, loses(&self->later, variant->what, self->full));
	EXPECT_EQ(self->late.id, turn(&self->r.in, variant->what));
	end_close(&self->late);
	EXPECT_EQ(self->later.id, turn(&self->r.in, variant->what));
}

TEST_F(crowd, unused_it_is_taken_away)
{
	u64 begun = now_ns();

	EXPECT_EQ(-EAGAIN, loses(&self->late, variant->what, self->full));
	EXPECT_EQ(self->late.id, turn(&self->late, variant->what));
	EXPECT_EQ(0, turn_within(&self->late, variant->what, self->late.id, SOON));
	EXPECT_GE(now_ns() - begun, (WRITE_TIMEOUT - 50) * MS);
}

/* The same command through io_uring. */
TEST_F(crowd, given_back_by_a_command)
{
	struct end *e = &self->late;
	struct io_uring ring;

	ASSERT_EQ(0, io_uring_queue_init(4, &ring, 0));
	EXPECT_EQ(-EAGAIN, loses(e, variant->what, self->full));
	EXPECT_EQ(e->id, turn(e, variant->what));
	command_kick(&ring, e, SLUICE_KICK_TURN, 1);
	EXPECT_EQ(0, submit_one(&ring));
	EXPECT_EQ(0, turn(e, variant->what));
	io_uring_queue_exit(&ring);
}

TEST_HARNESS_MAIN
