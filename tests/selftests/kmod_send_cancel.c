// SPDX-License-Identifier: MIT
/* Description: a SEND whose ring goes is cancelled; its message is not recalled */
#include <pthread.h>

#include "kmod_uring.h"

#define SOON	scaled(20000)
#define ROUNDS	200u

FIXTURE(both)
{
	struct ends r;
	struct io_uring ring;
	struct sluice_send send;
};

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) { .ack_timeout_ms = 60000 }, 0));
	if (!(self->r.in.hints->features & SLUICE_F_CANCEL)) {
		/* a set-up that skips is not torn down */
		ends_close(&self->r);
		SKIP(return, "this kernel cannot cancel commands: the ring's end waits for the ACK");
	}
	ASSERT_EQ(0, io_uring_queue_init(16, &self->ring, 0));
	self->send = send_text("hello", 0);
}

FIXTURE_TEARDOWN(both)
{
	if (self->ring.ring_fd > 0)
		io_uring_queue_exit(&self->ring);
	EXPECT_EQ(0, ends_close(&self->r));
}

TEST_F(both, published)
{
	command_send(&self->ring, self->r.out.fd, &self->send, 1);
	io_uring_submit(&self->ring);
	EXPECT_STATE("t", BOTH, .ready = 1, .sends = 1);
	io_uring_queue_exit(&self->ring);
	self->ring.ring_fd = -1;
	EXPECT_STATE("t", BOTH, .ready = 1, .sends = 1);
	EXPECT_EQ(0, end_take_text(&self->r.in, "hello"));
	EXPECT_STATE("t", BOTH, .sends = 1);
}

/* In the kernel's queue: it is published in its turn all the same. */
TEST_F(both, queued)
{
	u32 i;

	for (i = 0; i < NSLOTS; i++)
		ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	command_send(&self->ring, self->r.out.fd, &self->send, 1);
	io_uring_submit(&self->ring);
	EXPECT_STATE("t", BOTH, .ready = NSLOTS, .queued = 1, .sends = 1);
	io_uring_queue_exit(&self->ring);
	self->ring.ring_fd = -1;
	for (i = 0; i < NSLOTS; i++)
		ASSERT_EQ(0, end_take_text(&self->r.in, "x"));
	EXPECT_EQ(0, end_take_text(&self->r.in, "hello"));
	EXPECT_STATE("t", BOTH, .sends = 1);
}

/* Takes and acknowledges whatever comes, until all of it came. */
static void *acknowledge(void *arg)
{
	struct end *in = arg;
	u64 ticket, token;
	u32 n;

	for (n = 0; n < ROUNDS; n++) {
		if (end_await(in, &ticket, &token, SOON) || end_ack(in, ticket, token))
			break;
		/* the sender asked to be told */
		end_kick(in, SLUICE_KICK_ACKED | SLUICE_KICK_ROOM);
	}
	return (void *)(uintptr_t)n;
}

/* The ring goes while the message is acknowledged: whoever is first completes the command. */
TEST_F(both, crossing_the_ack)
{
	struct io_uring ring;
	pthread_t thread;
	void *taken;
	u32 i;

	ASSERT_EQ(0, pthread_create(&thread, NULL, acknowledge, &self->r.in));
	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, io_uring_queue_init(4, &ring, 0));
		command_send(&ring, self->r.out.fd, &self->send, 1);
		EXPECT_EQ(1, io_uring_submit(&ring));
		io_uring_queue_exit(&ring);
	}
	ASSERT_EQ(0, pthread_join(thread, &taken));
	EXPECT_EQ(ROUNDS, (uintptr_t)taken);
	EXPECT_STATE("t", BOTH, .sends = ROUNDS);
}

TEST_HARNESS_MAIN
