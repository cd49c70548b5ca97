// SPDX-License-Identifier: MIT
/* Description: SLUICE_CMD_WAIT parks in io_uring and completes when there is reason to look */
#include "kmod_process.h"
#include "kmod_uring.h"

#define SOON	scaled(2000)
#define A_WHILE	20		/* ms in which nothing may come */
#define ROUNDS		300

FIXTURE(both)
{
	struct ends r;
	struct io_uring ring;
};

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) { .nbufs = 1, .bufsize = 4096 }, 0));
	ASSERT_EQ(0, io_uring_queue_init(16, &self->ring, 0));
	self->r.in.generation = self->r.in.hints->generation;
}

FIXTURE_TEARDOWN(both)
{
	io_uring_queue_exit(&self->ring);
	EXPECT_EQ(0, ends_close(&self->r));
}

static int wait_raw(struct io_uring *ring, int fd, struct sluice_wait w)
{
	command(ring, fd, SLUICE_CMD_WAIT, &w, sizeof(w), 1);
	return submit_one(ring);
}

TEST_F(both, bad_arguments)
{
	int in = self->r.in.fd, out = self->r.out.fd, fd = stage_open("t", O_RDWR);
	struct sluice_kick k = { .what = SLUICE_KICK_ALL + 1 };
	struct io_uring *ring = &self->ring;

	EXPECT_EQ(-EINVAL, wait_raw(ring, in, (struct sluice_wait) { 0 }));
	EXPECT_EQ(-EINVAL, wait_raw(ring, in, (struct sluice_wait) { .what = SLUICE_WAIT_AGAIN }));
	EXPECT_EQ(-EBADF, wait_raw(ring, in, (struct sluice_wait) {
		.what = SLUICE_WAIT_READY | SLUICE_WAIT_AGAIN }));
	EXPECT_EQ(-EINVAL, wait_raw(ring, in, (struct sluice_wait) { .what = 16 | 1 }));
	EXPECT_EQ(-EINVAL, wait_raw(ring, in, (struct sluice_wait) {
		.what = SLUICE_WAIT_READY, .reserved = 1 }));
	EXPECT_EQ(-EBADF, wait_raw(ring, in, (struct sluice_wait) { .what = SLUICE_WAIT_ROOM }));
	EXPECT_EQ(-EBADF, wait_raw(ring, out, (struct sluice_wait) { .what = SLUICE_WAIT_READY }));
	EXPECT_EQ(-ENOTCONN, wait_raw(ring, fd, (struct sluice_wait) { .what = 1 }));
	command(ring, in, SLUICE_CMD_KICK, &k, sizeof(k), 1);
	EXPECT_EQ(-EINVAL, submit_one(ring));
	k = (struct sluice_kick) { .what = 1, .reserved = { 0, 0, 1 } };
	command(ring, in, SLUICE_CMD_KICK, &k, sizeof(k), 1);
	EXPECT_EQ(-EINVAL, submit_one(ring));
	command(ring, in, 0xdead, &k, 16, 1);
	EXPECT_EQ(-ENOTTY, submit_one(ring));
	command(ring, in, SLUICE_IOC_ATTACH, &k, 16, 1);
	EXPECT_EQ(-ENOTTY, submit_one(ring));
	EXPECT_EQ(0, self->r.in.hints->ready_sleepers);
	EXPECT_STATE("t", BOTH);
	close(fd);
}

TEST_F(both, at_once_if_there_is_something)
{
	struct end *in = &self->r.in, *out = &self->r.out;
	int i;

	ASSERT_EQ(0, end_send(out, "x", NULL));
	for (i = 0; i < 10; i++) {
		command_wait(&self->ring, in, SLUICE_WAIT_READY, 0, 1);
		EXPECT_EQ(0, submit_one(&self->ring));
		command_wait(&self->ring, out, SLUICE_WAIT_ROOM, 1, 1);
		EXPECT_EQ(0, submit_one(&self->ring));
		command_wait(&self->ring, out, SLUICE_WAIT_BUFFER, 1, 1);
		EXPECT_EQ(0, submit_one(&self->ring));
	}
	in->generation--;
	command_wait(&self->ring, in, SLUICE_WAIT_READY, 1, 1);
	EXPECT_EQ(0, submit_one(&self->ring));
	EXPECT_EQ(0, in->hints->ready_sleepers);
	EXPECT_EQ(0, in->hints->room_sleepers);
	EXPECT_STATE("t", BOTH, .ready = 1);
}

TEST_F(both, parks_until_a_message)
{
	struct end *in = &self->r.in;
	u64 tag, i;

	for (i = 0; i < 10; i++) {
		command_wait(&self->ring, in, SLUICE_WAIT_READY, i, 40 + i);
		io_uring_submit(&self->ring);
		EXPECT_EQ(NOTHING, completion(&self->ring, i ? 0 : A_WHILE, &tag));
		EXPECT_EQ(1, in->hints->ready_sleepers);
		ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
		EXPECT_EQ(0, completion(&self->ring, SOON, &tag));
		EXPECT_EQ(40 + i, tag);
		EXPECT_EQ(0, in->hints->ready_sleepers);
	}
	EXPECT_STATE("t", BOTH, .ready = 10);
}

/* Kick and wait in one system call. */
TEST_F(both, kick_and_wait_together)
{
	struct end *in = &self->r.in, other;
	struct io_uring ring;
	u64 tag;

	ASSERT_EQ(0, io_uring_queue_init(4, &ring, 0));
	ASSERT_EQ(0, end_make(&other, "t", SLUICE_CONSUMER, 0));
	in->generation = other.generation = in->hints->generation;
	command_wait(&ring, &other, SLUICE_WAIT_READY, 0, 1);
	io_uring_submit(&ring);
	EXPECT_EQ(NOTHING, completion(&ring, 0, NULL));
	command_kick(&self->ring, in, SLUICE_KICK_READY, 2);
	command_wait(&self->ring, in, SLUICE_WAIT_READY, 0, 3);
	io_uring_submit(&self->ring);
	EXPECT_EQ(0, completion(&self->ring, SOON, &tag));
	EXPECT_EQ(2, tag);
	EXPECT_EQ(NOTHING, completion(&self->ring, A_WHILE, &tag));
	EXPECT_EQ(0, completion(&ring, SOON, &tag));
	EXPECT_EQ(1, tag);
	EXPECT_EQ(1, in->hints->ready_sleepers);
	io_uring_queue_exit(&ring);
	end_close(&other);
	/* its going is a new generation */
	EXPECT_EQ(0, completion(&self->ring, SOON, &tag));
	EXPECT_EQ(3, tag);
}

TEST_F(both, room_and_buffer)
{
	struct end *in = &self->r.in, *out = &self->r.out;
	u64 ticket, tag, i;
	u32 buf;

	ASSERT_EQ(0, end_send_buffer(out, "first", &ticket, &buf));
	for (i = 1; i < NSLOTS; i++)
		ASSERT_EQ(0, end_send(out, "x", NULL));
	command_wait(&self->ring, out, SLUICE_WAIT_ROOM, NSLOTS, 1);
	command_wait(&self->ring, out, SLUICE_WAIT_BUFFER, NSLOTS, 2);
	command_wait(&self->ring, out, SLUICE_WAIT_ROOM | SLUICE_WAIT_BUFFER, NSLOTS, 3);
	io_uring_submit(&self->ring);
	EXPECT_EQ(NOTHING, completion(&self->ring, A_WHILE, &tag));
	EXPECT_EQ(3, in->hints->room_sleepers);
	EXPECT_EQ(0, end_take_text(in, "first"));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, completion(&self->ring, SOON, &tag));
	EXPECT_EQ(0, in->hints->room_sleepers);
	EXPECT_STATE("t", BOTH, .ready = NSLOTS - 1);
}

/* Many parked commands, of one endpoint and one message: everybody looks. */
TEST_F(both, many_parked)
{
	struct end *in = &self->r.in;
	int i;

	for (i = 0; i < 16; i++)
		command_wait(&self->ring, in, SLUICE_WAIT_READY, 0, (u64)i);
	EXPECT_EQ(16, io_uring_submit(&self->ring));
	EXPECT_EQ(16, in->hints->ready_sleepers);
	EXPECT_EQ(0, end_kick(in, SLUICE_KICK_READY));
	for (i = 0; i < 16; i++)
		EXPECT_EQ(0, completion(&self->ring, SOON, NULL));
	EXPECT_EQ(0, in->hints->ready_sleepers);
	EXPECT_EQ(NOTHING, completion(&self->ring, 0, NULL));
}

TEST_F(both, generation_wakes)
{
	struct end *in = &self->r.in, other;

	command_wait(&self->ring, in, SLUICE_WAIT_READY, 0, 1);
	io_uring_submit(&self->ring);
	EXPECT_EQ(NOTHING, completion(&self->ring, 0, NULL));
	ASSERT_EQ(0, end_make(&other, "t", SLUICE_PRODUCER, 0));
	EXPECT_EQ(0, completion(&self->ring, SOON, NULL));
	EXPECT_NE(in->generation, in->hints->generation);
	end_close(&other);
}

/* Forced to a worker thread, which has the same address space, it does the same. */
TEST_F(both, from_a_worker)
{
	struct end *in = &self->r.in;
	struct sluice_wait w = wait_for(in, SLUICE_WAIT_READY, 0);
	struct io_uring_sqe *sqe = command(&self->ring, in->fd, SLUICE_CMD_WAIT, &w, sizeof(w), 1);
	u64 deadline = now_ns() + SOON * MS;

	sqe->flags |= IOSQE_ASYNC;
	io_uring_submit(&self->ring);
	if (!(in->hints->features & SLUICE_F_CANCEL)) {
		/* nothing could end it there: like a polling thread it is told to poll instead */
		EXPECT_EQ(-EAGAIN, completion(&self->ring, SOON, NULL));
		return;
	}
	while (!sl_load(&in->hints->ready_sleepers) && now_ns() < deadline)
		sleep_ms(1);
	EXPECT_EQ(1, in->hints->ready_sleepers);
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	EXPECT_EQ(0, completion(&self->ring, SOON, NULL));
}

/* With a polling thread of the kernel, where it can be parked at all. */
TEST_F(both, from_a_polling_thread)
{
	struct io_uring_params p = { .flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 10 };
	struct end *in = &self->r.in;
	struct io_uring ring;
	int res;

	if (io_uring_queue_init_params(4, &ring, &p))
		SKIP(return, "no SQPOLL");
	command_wait(&ring, in, SLUICE_WAIT_READY, 0, 1);
	io_uring_submit(&ring);
	res = completion(&ring, 200, NULL);
	if (in->hints->features & SLUICE_F_CANCEL) {
		EXPECT_EQ(NOTHING, res);
		ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
		EXPECT_EQ(0, completion(&ring, SOON, NULL));
	} else {
		EXPECT_EQ(-EAGAIN, res);
	}
	io_uring_queue_exit(&ring);
}

/* A race without end in either direction: whoever loses a wake-up hangs here. */
TEST_F(both, ping_pong)
{
	struct ends *r = &self->r;
	struct child c;
	u64 i, ticket, token;

	ASSERT_EQ(0, stage_create("back", (struct sluice_create) { 0 }));
	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		struct end in, out;
		struct io_uring ring;

		CHILD_EXPECT(!end_make(&in, "t", SLUICE_CONSUMER, 0));
		CHILD_EXPECT(!end_make(&out, "back", SLUICE_PRODUCER, 0));
		CHILD_EXPECT(!io_uring_queue_init(4, &ring, 0));
		say(&c, 1);
		for (i = 0; i < ROUNDS; i++) {
			while (end_claim(&in, &ticket, &token)) {
				command_wait(&ring, &in, SLUICE_WAIT_READY, in.cursor, 1);
				CHILD_EXPECT(!submit_one(&ring));
			}
			CHILD_EXPECT(!end_send(&out, "pong", NULL));
			CHILD_EXPECT(!end_ack(&in, ticket, token));
		}
		_exit(0);
	}
	end_close(&r->in);
	ASSERT_EQ(0, end_make(&r->in, "back", SLUICE_CONSUMER, 0));
	ASSERT_EQ(1, hear(&c));
	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, end_send(&r->out, "ping", NULL));
		while (end_claim(&r->in, &ticket, &token)) {
			command_wait(&self->ring, &r->in, SLUICE_WAIT_READY, r->in.cursor, 1);
			ASSERT_EQ(0, submit_one(&self->ring)) TH_LOG("lost a wake-up at %llu", i);
		}
		ASSERT_EQ(0, end_ack(&r->in, ticket, token));
	}
	EXPECT_EQ(0, child_wait(&c));
	AWAIT_STATE("t", SOON, .producers = 1, .deaths = 2);
	EXPECT_EQ(0, stage_destroy("back", 0, SLUICE_DESTROY_FORCE));
}

TEST_HARNESS_MAIN
