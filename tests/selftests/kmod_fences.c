// SPDX-License-Identifier: MIT
/* Description: hints->fences is 0 until somebody waits for messages, and again once it is calm */
#include "kmod_process.h"
#include "kmod_uring.h"

#define SOON		scaled(2000)
#define CALM_EVERY	SECOND		/* no sooner than so long after the last time */

FIXTURE(both)
{
	struct ends r;
	struct io_uring ring;
};

static int set_asym_fence(const char *on)
{
	FILE *f = fopen("/sys/module/sluice/parameters/asym_fence", "w");

	if (!f)
		return -errno;
	fputs(on, f);
	return fclose(f) ? -errno : 0;
}

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, set_asym_fence("1"));
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) { 0 }, 0));
	ASSERT_EQ(0, io_uring_queue_init(16, &self->ring, 0));
	self->r.in.generation = self->r.in.hints->generation;
	self->r.in.cursor = 0;
	EXPECT_EQ(SLUICE_F_FENCES, self->r.in.hints->features & SLUICE_F_FENCES);
	ASSERT_EQ(0, self->r.in.hints->fences);
}

FIXTURE_TEARDOWN(both)
{
	io_uring_queue_exit(&self->ring);
	EXPECT_EQ(0, ends_close(&self->r));
}

static u32 fences(const struct ends *r)
{
	return sl_load(&r->in.hints->fences);
}

static int wait_a_moment(struct ends *r)
{
	return end_wait(&r->in, SLUICE_WAIT_READY, r->in.cursor, MS);
}

TEST_F(both, wait_ioctl)
{
	EXPECT_EQ(-EAGAIN, wait_a_moment(&self->r));
	EXPECT_EQ(1, fences(&self->r));
	/* it stays, though nobody sleeps any more */
	EXPECT_EQ(0, self->r.in.hints->ready_sleepers);
	EXPECT_EQ(-EAGAIN, wait_a_moment(&self->r));
	EXPECT_EQ(1, fences(&self->r));
}

TEST_F(both, look_that_arms_poll)
{
	EXPECT_EQ(-EAGAIN, end_wait(&self->r.in, SLUICE_WAIT_READY, self->r.in.cursor, 0));
	EXPECT_EQ(1, fences(&self->r));
}

/* Who finds something need not sleep, but was about to. */
TEST_F(both, wait_that_finds_something)
{
	u64 ticket;

	ASSERT_EQ(0, end_send(&self->r.out, "x", &ticket));
	EXPECT_EQ(0, fences(&self->r));
	EXPECT_EQ(0, end_wait(&self->r.in, SLUICE_WAIT_READY, ticket, MS));
	EXPECT_EQ(1, fences(&self->r));
}

TEST_F(both, wait_uring)
{
	command_wait(&self->ring, &self->r.in, SLUICE_WAIT_READY, self->r.in.cursor, 1);
	io_uring_submit(&self->ring);
	EXPECT_EQ(1, fences(&self->r));
	EXPECT_EQ(0, end_kick(&self->r.out, SLUICE_KICK_READY));
	EXPECT_EQ(0, completion(&self->ring, SOON, NULL));
}

TEST_F(both, poll)
{
	int fd = stage_open("t", O_RDWR | O_NONBLOCK);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	/* so that it is known what poll() is to look at */
	EXPECT_EQ(-1, read(fd, &c, 1));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(0, fences(&self->r));
	EXPECT_EQ(0, poll(&p, 1, 0));
	EXPECT_EQ(1, fences(&self->r));
	close(fd);
}

TEST_F(both, read)
{
	struct child c = { .pid = -1 };
	char buf[PAGE];
	u64 deadline;
	int fd;

	if (!child_start(&c)) {
		fd = stage_open("t", O_RDWR);
		CHILD_EXPECT(read(fd, buf, sizeof(buf)) == 1);
		_exit(0);
	}
	ASSERT_LT(0, c.pid);
	deadline = now_ns() + (u64)SOON * MS;
	while (!sl_load(&self->r.in.hints->ready_sleepers) && now_ns() < deadline)
		sleep_ms(1);
	EXPECT_EQ(1, fences(&self->r));
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	EXPECT_EQ(0, child_end(&c));
}

/* Room is made with compare-and-swaps, which fence for themselves. */
TEST_F(both, room_needs_none)
{
	struct pollfd p = { .fd = self->r.out.fd, .events = POLLOUT };
	u32 i;

	for (i = 0; i < NSLOTS; i++)
		ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	EXPECT_EQ(-EAGAIN, end_wait(&self->r.out, SLUICE_WAIT_ROOM, NSLOTS, MS));
	EXPECT_EQ(0, poll(&p, 1, 0));
	command_wait(&self->ring, &self->r.out, SLUICE_WAIT_ROOM, NSLOTS, 1);
	io_uring_submit(&self->ring);
	EXPECT_EQ(NOTHING, completion(&self->ring, 1, NULL));
	EXPECT_EQ(0, fences(&self->r));
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
	EXPECT_EQ(0, completion(&self->ring, SOON, NULL));
	EXPECT_EQ(0, fences(&self->r));
}

TEST_F(both, not_calm_while_somebody_sleeps)
{
	command_wait(&self->ring, &self->r.in, SLUICE_WAIT_READY, self->r.in.cursor, 1);
	io_uring_submit(&self->ring);
	ASSERT_EQ(1, self->r.in.hints->ready_sleepers);
	EXPECT_EQ(0, end_kick(&self->r.out, SLUICE_KICK_CALM));
	EXPECT_EQ(0, end_kick(&self->r.in, SLUICE_KICK_CALM));
	EXPECT_EQ(1, fences(&self->r));
	EXPECT_EQ(0, end_kick(&self->r.out, SLUICE_KICK_READY));
	EXPECT_EQ(0, completion(&self->ring, SOON, NULL));
	EXPECT_EQ(1, fences(&self->r));
	EXPECT_EQ(0, end_kick(&self->r.out, SLUICE_KICK_CALM));
	EXPECT_EQ(0, fences(&self->r));
}

/* Wakes first, so that both may be said at once; and as a command. */
TEST_F(both, kicks_go_together)
{
	command_wait(&self->ring, &self->r.in, SLUICE_WAIT_READY, self->r.in.cursor, 1);
	io_uring_submit(&self->ring);
	command_kick(&self->ring, &self->r.out, SLUICE_KICK_READY | SLUICE_KICK_CALM, 1);
	io_uring_submit(&self->ring);
	EXPECT_EQ(0, completion(&self->ring, SOON, NULL));
	EXPECT_EQ(0, completion(&self->ring, SOON, NULL));
	EXPECT_EQ(0, fences(&self->r));
}

TEST_F(both, calm_once_a_second)
{
	u64 start;
	int i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(-EAGAIN, wait_a_moment(&self->r));
		start = now_ns();
		EXPECT_EQ(0, end_kick(&self->r.out, SLUICE_KICK_CALM));
		EXPECT_EQ(0, fences(&self->r));
		ASSERT_EQ(-EAGAIN, wait_a_moment(&self->r));
		EXPECT_EQ(0, end_kick(&self->r.out, SLUICE_KICK_CALM));
		if (now_ns() - start < CALM_EVERY - 20 * MS)
			EXPECT_EQ(1, fences(&self->r));
		sleep_ms(1100);
		EXPECT_EQ(1, fences(&self->r));
	}
}

/* Where the processors must not be interrupted, everybody fences for himself, for ever. */
TEST_F(both, switched_off)
{
	struct end in;

	ASSERT_EQ(0, set_asym_fence("0"));
	/* a stage that was there already does it once more */
	EXPECT_EQ(0, fences(&self->r));
	EXPECT_EQ(-EAGAIN, wait_a_moment(&self->r));
	EXPECT_EQ(1, fences(&self->r));
	EXPECT_EQ(0, end_kick(&self->r.out, SLUICE_KICK_CALM));
	EXPECT_EQ(1, fences(&self->r));
	ASSERT_EQ(0, stage_create("u", (struct sluice_create) { 0 }));
	ASSERT_EQ(0, end_make(&in, "u", SLUICE_CONSUMER, 0));
	EXPECT_EQ(1, in.hints->fences);
	EXPECT_EQ(0, end_kick(&in, SLUICE_KICK_CALM));
	EXPECT_EQ(1, in.hints->fences);
	end_close(&in);
	EXPECT_EQ(0, stage_destroy("u", 0, 0));
	ASSERT_EQ(0, set_asym_fence("1"));
}

TEST_HARNESS_MAIN
