// SPDX-License-Identifier: MIT
/* Description: parked commands end with their ring, their endpoint, their process, or exec */
#include "kmod_process.h"
#include "kmod_uring.h"

#define SOON	scaled(2000)

FIXTURE(both)
{
	struct ends r;
	struct io_uring ring;
};

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		/* long ticks: they wake whoever sleeps beside a message */
		.write_timeout_ms = 60000,
	}, 0));
	ASSERT_EQ(0, io_uring_queue_init(8, &self->ring, 0));
	self->r.in.generation = self->r.in.hints->generation;
}

FIXTURE_TEARDOWN(both)
{
	if (self->ring.ring_fd > 0)
		io_uring_queue_exit(&self->ring);
	EXPECT_EQ(0, ends_close(&self->r));
}

static int sleepers(const struct end *e, u32 n)
{
	u64 deadline = now_ns() + SOON * MS;

	while (sl_load(&e->hints->ready_sleepers) != n) {
		if (now_ns() > deadline)
			return -ETIMEDOUT;
		sleep_ms(1);
	}
	return 0;
}

TEST_F(both, ring_exit)
{
	u64 start = now_ns();
	int i;

	for (i = 0; i < 8; i++)
		command_wait(&self->ring, &self->r.in, SLUICE_WAIT_READY, 0, 1);
	io_uring_submit(&self->ring);
	EXPECT_EQ(8, self->r.in.hints->ready_sleepers);
	io_uring_queue_exit(&self->ring);
	self->ring.ring_fd = -1;
	EXPECT_EQ(0, sleepers(&self->r.in, 0));
	/* without cancellation the kernel takes them off after 5 s */
	if (self->r.in.hints->features & SLUICE_F_CANCEL)
		EXPECT_LT(now_ns() - start, SOON * MS);
	EXPECT_STATE("t", BOTH);
}

/* What io_uring itself offers to cancel: where it cannot, it says so and the command stays. */
TEST_F(both, async_cancel)
{
	struct io_uring_sqe *sqe;
	int i, res = NOTHING, cancelled = NOTHING;
	u64 tag;

	command_wait(&self->ring, &self->r.in, SLUICE_WAIT_READY, 0, 77);
	io_uring_submit(&self->ring);
	sqe = io_uring_get_sqe(&self->ring);
	io_uring_prep_cancel64(sqe, 77, 0);
	sqe->user_data = 78;
	io_uring_submit(&self->ring);
	for (i = 0; i < 2; i++) {
		int got = completion(&self->ring, i ? 50 : SOON, &tag);

		if (got == NOTHING)
			break;
		*(tag == 77 ? &cancelled : &res) = got;
	}
	if (res == -ENOENT) {
		EXPECT_EQ(NOTHING, cancelled);
		EXPECT_EQ(1, self->r.in.hints->ready_sleepers);
		ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
		EXPECT_EQ(0, completion(&self->ring, SOON, &tag));
		EXPECT_EQ(77, tag);
	} else {
		EXPECT_EQ(0, res);
		EXPECT_EQ(-ECANCELED, cancelled);
	}
	EXPECT_EQ(0, self->r.in.hints->ready_sleepers);
}

TEST_F(both, detach)
{
	command_wait(&self->ring, &self->r.in, SLUICE_WAIT_READY, 0, 1);
	io_uring_submit(&self->ring);
	ASSERT_EQ(0, call(self->r.in.fd, SLUICE_IOC_DETACH, NULL));
	EXPECT_LE(completion(&self->ring, SOON, NULL), 0);
	EXPECT_EQ(0, self->r.out.hints->ready_sleepers);
	EXPECT_STATE("t", .producers = 1, .deaths = 1);
	command_wait(&self->ring, &self->r.in, SLUICE_WAIT_READY, 0, 1);
	EXPECT_EQ(-ENOTCONN, submit_one(&self->ring));
}

TEST_F(both, unmap)
{
	command_wait(&self->ring, &self->r.in, SLUICE_WAIT_READY, 0, 1);
	io_uring_submit(&self->ring);
	end_unmap(&self->r.in);
	EXPECT_LE(completion(&self->ring, SOON, NULL), 0);
	EXPECT_EQ(0, self->r.out.hints->ready_sleepers);
	EXPECT_STATE("t", .producers = 1, .deaths = 1);
}

/* The descriptor is closed, the command has it still: it works, and the end comes after it. */
TEST_F(both, closed_descriptor)
{
	command_wait(&self->ring, &self->r.in, SLUICE_WAIT_READY, 0, 1);
	io_uring_submit(&self->ring);
	close(self->r.in.fd);
	self->r.in.fd = -1;
	EXPECT_STATE("t", BOTH);
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	EXPECT_EQ(0, completion(&self->ring, SOON, NULL));
	EXPECT_STATE("t", BOTH, .ready = 1);
}

/* A child with commands parked, mapped or not, of WAIT and of SEND. */
static int parked_child(struct child *c, bool mapped, unsigned int ring_flags)
{
	struct io_uring_params p = { .flags = ring_flags, .sq_thread_idle = 10 };
	struct sluice_send s = send_text("sent", 0);
	struct end in, out;
	struct io_uring ring;

	if (child_start(c))
		return c->pid < 0 ? -1 : 0;
	CHILD_EXPECT(!end_make(&in, "t", SLUICE_CONSUMER, 0));
	CHILD_EXPECT(!end_make(&out, "t", SLUICE_PRODUCER, 0));
	CHILD_EXPECT(!io_uring_queue_init_params(8, &ring, &p));
	in.generation = in.hints->generation;
	command_send(&ring, out.fd, &s, 1);
	command_wait(&ring, &in, SLUICE_WAIT_READY, in.cursor + 2 * NSLOTS, 2);
	command_wait(&ring, &in, SLUICE_WAIT_READY, in.cursor + 2 * NSLOTS, 3);
	io_uring_submit(&ring);
	CHILD_EXPECT(completion(&ring, 100, NULL) == NOTHING);
	if (!mapped) {
		/* the endpoints' ends took the commands along */
		end_unmap(&in);
		end_unmap(&out);
	}
	tell_and_pause(c, 1);
	execl("/bin/sleep", "sleep", "5", NULL);
	_exit(1);
}

TEST_F(both, kill)
{
	u64 start, took;
	struct child c;

	ASSERT_EQ(0, parked_child(&c, true, 0));
	ASSERT_EQ(1, hear(&c));
	EXPECT_STATE("t", .producers = 2, .consumers = 2, .ready = 1, .sends = 1);
	start = now_ns();
	EXPECT_EQ(0, child_kill(&c));
	took = now_ns() - start;
	/* the message survives its sender */
	EXPECT_STATE("t", BOTH, .ready = 1, .sends = 1, .deaths = 2);
	EXPECT_EQ(0, sleepers(&self->r.in, 0));
	printf("# kill -9 with parked commands: gone after %llu us\n", took / 1000);
	EXPECT_LT(took, SOON * MS);
	EXPECT_EQ(0, end_take_text(&self->r.in, "sent"));
}

/* Never mapped: the descriptor is all there is of the endpoint, and the command holds it. */
TEST_F(both, kill_without_mapping)
{
	struct io_uring ring;
	struct child c = { 0 };

	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		struct sluice_wait w = { .what = SLUICE_WAIT_READY };
		int fd = stage_open("t", O_RDWR);
		struct sluice_attach a;

		CHILD_EXPECT(fd >= 0 && !attach_raw(fd, SLUICE_CONSUMER, 0, &a));
		CHILD_EXPECT(!io_uring_queue_init(8, &ring, 0));
		say(&c, 1);
		w.generation = (u32)hear(&c);
		w.cursor = a.tail + 2 * NSLOTS;
		command(&ring, fd, SLUICE_CMD_WAIT, &w, sizeof(w), 1);
		io_uring_submit(&ring);
		CHILD_EXPECT(completion(&ring, 100, NULL) == NOTHING);
		tell_and_pause(&c, 2);
		_exit(1);
	}
	ASSERT_EQ(1, hear(&c));
	say(&c, sl_load(&self->r.in.hints->generation));
	ASSERT_EQ(2, hear(&c));
	EXPECT_STATE("t", .producers = 1, .consumers = 2);
	EXPECT_EQ(0, child_kill(&c));
	/* sooner than the end that a command has where nothing can cancel it */
	AWAIT_STATE("t", 3000, BOTH, .deaths = 1);
	EXPECT_EQ(0, sleepers(&self->r.in, 0));
}

TEST_F(both, exec)
{
	struct child c;

	ASSERT_EQ(0, parked_child(&c, true, 0));
	ASSERT_EQ(1, hear(&c));
	say(&c, 0);
	AWAIT_STATE("t", SOON, BOTH, .ready = 1, .sends = 1, .deaths = 2);
	EXPECT_EQ(0, sleepers(&self->r.in, 0));
	EXPECT_EQ(0, kill(c.pid, 0));
	EXPECT_EQ(0, child_kill(&c));
}

TEST_F(both, exec_unmapped)
{
	struct child c;

	ASSERT_EQ(0, parked_child(&c, false, 0));
	ASSERT_EQ(1, hear(&c));
	EXPECT_STATE("t", BOTH, .ready = 1, .sends = 1, .deaths = 2);
	say(&c, 0);
	sleep_ms(50);
	EXPECT_EQ(0, child_kill(&c));
	EXPECT_STATE("t", BOTH, .ready = 1, .sends = 1, .deaths = 2);
}

/* A polling thread shares the address space: its end is waited for before the mappings go. */
TEST_F(both, polling_thread)
{
	struct child c;

	if (!(self->r.in.hints->features & SLUICE_F_CANCEL))
		SKIP(return, "this kernel does not park from a polling thread");
	ASSERT_EQ(0, parked_child(&c, true, IORING_SETUP_SQPOLL));
	ASSERT_EQ(1, hear(&c));
	EXPECT_EQ(0, child_kill(&c));
	AWAIT_STATE("t", SOON, BOTH, .ready = 1, .sends = 1, .deaths = 2);
	ASSERT_EQ(0, parked_child(&c, true, IORING_SETUP_SQPOLL));
	ASSERT_EQ(1, hear(&c));
	say(&c, 0);
	AWAIT_STATE("t", SOON, BOTH, .ready = 2, .sends = 2, .deaths = 4);
	EXPECT_EQ(0, child_kill(&c));
}

/* Wakes against ends, again and again: each command completes exactly once. */
TEST_F(both, race_of_wake_and_exit)
{
	struct child c;
	int i, n;

	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		struct end out;

		CHILD_EXPECT(!end_make(&out, "t", SLUICE_PRODUCER, 0));
		say(&c, 1);
		for (;;)
			end_kick(&out, SLUICE_KICK_READY);
	}
	ASSERT_EQ(1, hear(&c));
	self->r.in.generation = self->r.in.hints->generation;
	for (i = 0; i < 50; i++) {
		struct io_uring ring;

		ASSERT_EQ(0, io_uring_queue_init(8, &ring, 0));
		for (n = 0; n < 8; n++)
			command_wait(&ring, &self->r.in, SLUICE_WAIT_READY, 0, 1);
		io_uring_submit(&ring);
		if (i % 2)
			EXPECT_EQ(0, completion(&ring, SOON, NULL));
		io_uring_queue_exit(&ring);
	}
	EXPECT_EQ(0, child_kill(&c));
	EXPECT_EQ(0, sleepers(&self->r.in, 0));
	EXPECT_STATE("t", BOTH, .deaths = 1);
}

TEST_HARNESS_MAIN
