// SPDX-License-Identifier: MIT
/*
 * Description: what comes at once, without the module's timer, which comes once a minute here
 *
 * The timer finds what everybody else forgot. So that nothing is left to it, it is slow here.
 */
#include "kmod_process.h"
#include "kmod_uring.h"

#define MINUTE	60000u		/* ms */
#define SOON	scaled(2000)
#define BIG	"more than the seventy-six bytes that a slot has room for, so that it takes a buffer"

FIXTURE(both)
{
	struct ends r;
	struct io_uring ring;
};

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.nbufs = 2, .bufsize = PAGE, .ack_timeout_ms = 4 * MINUTE,
		.write_timeout_ms = 2 * MINUTE,
	}, 0));
	ASSERT_EQ(0, io_uring_queue_init(8, &self->ring, 0));
}

FIXTURE_TEARDOWN(both)
{
	io_uring_queue_exit(&self->ring);
	EXPECT_EQ(0, ends_close(&self->r));
}

TEST_F(both, send_completes_at_the_kick)
{
	struct sluice_send s = send_text("x", 0);
	u64 ticket, token;

	command_send(&self->ring, self->r.out.fd, &s, 1);
	io_uring_submit(&self->ring);
	ASSERT_EQ(0, end_claim(&self->r.in, &ticket, &token));
	EXPECT_EQ(0, end_ack(&self->r.in, ticket, token));
	EXPECT_EQ((int)ticket, completion(&self->ring, SOON, NULL));
}

TEST_F(both, queue_moves_at_the_kick)
{
	struct sluice_send s = send_text("kept", SLUICE_SEND_ACCEPT);
	u32 i;

	for (i = 0; i < NSLOTS; i++)
		ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	ASSERT_EQ(1, call(self->r.out.fd, SLUICE_IOC_SEND, &s));
	EXPECT_STATE("t", BOTH, .ready = NSLOTS, .queued = 1, .sends = 1);
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
	EXPECT_STATE("t", BOTH, .ready = NSLOTS, .sends = 1);
}

/* One after the other, as they were put off; the second is not left to the timer. */
TEST_F(both, delays_are_kept)
{
	struct end *in = &self->r.in;
	u64 ticket[2], token[2], i, start = now_ns();

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
		ASSERT_EQ(0, end_claim(in, &ticket[i], &token[i]));
		ASSERT_EQ(0, end_nack(in, ticket[i], token[i], 0, 50 + 100 * (u32)i, 0));
	}
	AWAIT_STATE("t", SOON, BOTH, .ready = 2, .nacks = 2, .redelivered = 2);
	EXPECT_GE(now_ns() - start, 149ull * MS);
}

/* A child that sleeps in read(2) or write(2), for one message. */
static int sleeper(struct child *c, bool writes, const char *text)
{
	char buf[PAGE];
	int fd;

	if (child_start(c))
		return c->pid < 0 ? -errno : 0;
	fd = stage_open("t", O_RDWR);
	say(c, 1);
	CHILD_EXPECT((writes ? write(fd, text, strlen(text)) : read(fd, buf, sizeof(buf))) ==
		     (ssize_t)strlen(text));
	say(c, 2);
	hear(c);
	_exit(0);
}

static int await_sleepers(const struct end *e, u32 ready, u32 room)
{
	u64 deadline = now_ns() + (u64)SOON * MS;

	while (sl_load(&e->hints->ready_sleepers) != ready ||
	       sl_load(&e->hints->room_sleepers) != room) {
		if (now_ns() >= deadline)
			return -ETIMEDOUT;
		sleep_ms(1);
	}
	return 0;
}

/* Within the time that nobody would call at once, and far from a minute. */
static u64 hear_soon(struct child *c)
{
	struct pollfd p = { .fd = c->socket, .events = POLLIN };

	return poll(&p, 1, (int)SOON) == 1 ? hear(c) : ~0ull;
}

TEST_F(both, write_wakes_a_reader)
{
	int fd = stage_open("t", O_WRONLY);
	struct child c;

	/* the first one attaches, which wakes everybody */
	ASSERT_EQ(5, write(fd, "first", 5));
	ASSERT_EQ(0, end_take_text(&self->r.in, "first"));
	ASSERT_EQ(0, sleeper(&c, false, "hello"));
	ASSERT_EQ(1, hear(&c));
	ASSERT_EQ(0, await_sleepers(&self->r.in, 1, 0));
	ASSERT_EQ(5, write(fd, "hello", 5));
	EXPECT_EQ(2, hear_soon(&c));
	EXPECT_EQ(0, child_end(&c));
	close(fd);
}

TEST_F(both, read_wakes_a_writer)
{
	int fd = stage_open("t", O_RDWR);
	struct child c;
	char buf[PAGE];

	/* the first one attaches, which wakes everybody */
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	ASSERT_EQ(1, read(fd, buf, sizeof(buf)));
	while (!end_send(&self->r.out, "x", NULL))
		;
	ASSERT_EQ(0, sleeper(&c, true, "hello"));
	ASSERT_EQ(1, hear(&c));
	ASSERT_EQ(0, await_sleepers(&self->r.in, 0, 1));
	ASSERT_EQ(1, read(fd, buf, sizeof(buf)));
	EXPECT_EQ(2, hear_soon(&c));
	EXPECT_EQ(0, child_end(&c));
	close(fd);
}

/* The message that could not be copied stays, and others hear of it. */
TEST_F(both, a_read_that_fails_wakes_others)
{
	int fd = stage_open("t", O_RDWR | O_NONBLOCK);
	char *volatile nowhere = (char *)8;
	u32 generation;
	char buf[2];

	ASSERT_EQ(0, end_send(&self->r.out, "hello", NULL));
	EXPECT_EQ(-1, read(fd, buf, sizeof(buf)));
	EXPECT_EQ(EMSGSIZE, errno);
	generation = sl_load(&self->r.in.hints->generation);
	EXPECT_EQ(-1, read(fd, nowhere, 100));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_NE(generation, sl_load(&self->r.in.hints->generation));
	close(fd);
}

/* Buffers come home with the message, whoever ends it. */
TEST_F(both, buffers_come_home)
{
	int fd = stage_open("t", O_RDWR);
	u64 ticket, token;
	char buf[PAGE];

	ASSERT_EQ(sizeof(BIG), write(fd, BIG, sizeof(BIG)));
	EXPECT_STATE("t", .producers = 2, .consumers = 1, .ready = 1, .buffers = 1);
	close(fd);
	fd = stage_open("t", O_RDWR);
	ASSERT_EQ(sizeof(BIG), read(fd, buf, sizeof(buf)));
	EXPECT_STATE("t", .producers = 1, .consumers = 2, .deaths = 1);
	close(fd);
	ASSERT_EQ(0, end_send_buffer(&self->r.out, BIG, &ticket, &(u32){ 0 }));
	ASSERT_EQ(0, end_claim(&self->r.in, &ticket, &token));
	EXPECT_EQ(0, end_nack(&self->r.in, ticket, token, SLUICE_NACK_DEAD, 0, EIO));
	EXPECT_STATE("t", BOTH, .deaths = 2, .nacks = 1, .dead_letters = 1);
}

/* What was written for a bad address is nobody's. */
TEST_F(both, failed_copies_keep_no_buffer)
{
	struct sluice_send s = send_text(BIG, SLUICE_SEND_ACCEPT);
	volatile uintptr_t bad = 8;
	int fd = stage_open("t", O_RDWR);

	EXPECT_EQ(-1, write(fd, (const void *)bad, sizeof(BIG)));
	EXPECT_EQ(EFAULT, errno);
	s.addr = bad;
	s.len = sizeof(BIG);
	EXPECT_EQ(-EFAULT, call(self->r.out.fd, SLUICE_IOC_SEND, &s));
	EXPECT_STATE("t", .producers = 2, .consumers = 1);
	close(fd);
}

/* A reader that was away finds what came back behind its cursor (P7). */
TEST_F(both, read_goes_back)
{
	int fd = stage_open("t", O_RDWR | O_NONBLOCK);
	struct end *in = &self->r.in;
	u64 ticket, token;
	char buf[16];

	ASSERT_EQ(0, end_send(&self->r.out, "first", NULL));
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	ASSERT_EQ(0, end_send(&self->r.out, "second", NULL));
	EXPECT_EQ(6, read(fd, buf, sizeof(buf)));
	EXPECT_EQ(0, end_nack(in, ticket, token, 0, 0, 0));
	EXPECT_EQ(5, read(fd, buf, sizeof(buf)));
	close(fd);
}

TEST_HARNESS_MAIN
