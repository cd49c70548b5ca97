// SPDX-License-Identifier: MIT
/* Description: a killed producer's message is discarded, its buffers come home, others go on */
#include "kmod_process.h"
#include "kmod_uring.h"

#define SOON	scaled(1000)

FIXTURE(both)
{
	struct ends r;
};

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.nbufs = 4, .bufsize = PAGE, .ack_timeout_ms = 600000, .write_timeout_ms = 600000,
	}, 0));
}

FIXTURE_TEARDOWN(both)
{
	EXPECT_EQ(0, ends_close(&self->r));
}

/* How far the child gets before it is killed. */
enum step { TAKEN, RESERVED, FILLED, BUFFER_SENT, PUBLISHED };

static int writer(struct child *c, enum step until)
{
	struct end out;
	u64 t = 0;
	u32 buf;

	if (child_start(c))
		return c->pid < 0 ? -1 : 0;
	CHILD_EXPECT(!end_make(&out, "t", SLUICE_PRODUCER, 0));
	CHILD_EXPECT(!end_take(&out, &buf));
	if (until >= RESERVED)
		CHILD_EXPECT(!end_reserve(&out, &t));
	if (until >= FILLED)
		end_fill(&out, t, "half", 4, buf);
	if (until >= BUFFER_SENT)
		CHILD_EXPECT(buf_send(end_buffer(&out, buf), out.id, t) == SLOT_OK);
	if (until >= PUBLISHED)
		CHILD_EXPECT(slot_publish(end_word(&out, t), 0, out.id) == SLOT_OK);
	tell_and_pause(c, 1);
	_exit(0);
}

TEST_F(both, kill_at_each_step)
{
	struct child c;
	unsigned int step, discarded = 0;

	for (step = TAKEN; step <= PUBLISHED; step++) {
		bool writing = step > TAKEN && step < PUBLISHED;

		ASSERT_EQ(0, writer(&c, step));
		ASSERT_EQ(1, hear(&c));
		EXPECT_STATE("t", .producers = 2, .consumers = 1, .buffers = 1,
			     .writing = writing, .ready = step == PUBLISHED,
			     .discarded = discarded, .deaths = step);
		ASSERT_EQ(0, end_send(&self->r.out, "behind", NULL));
		if (writing)
			EXPECT_EQ(-EAGAIN, end_take_text(&self->r.in, "behind"));
		EXPECT_EQ(0, child_kill(&c));
		discarded += writing;
		EXPECT_STATE("t", BOTH, .ready = 1 + (step == PUBLISHED),
			     .buffers = step == PUBLISHED, .discarded = discarded,
			     .deaths = step + 1);
		if (step == PUBLISHED)
			EXPECT_EQ(0, end_take_text(&self->r.in, "half"));
		EXPECT_EQ(0, end_take_text(&self->r.in, "behind"));
		EXPECT_STATE("t", BOTH, .discarded = discarded, .deaths = step + 1);
	}
}

/* The consumer sleeps behind the half-written message; the death wakes it. */
TEST_F(both, sleeper_behind_it)
{
	struct end *in = &self->r.in;
	struct io_uring ring;
	struct child c;
	u64 start;

	ASSERT_EQ(0, writer(&c, RESERVED));
	ASSERT_EQ(1, hear(&c));
	ASSERT_EQ(0, end_send(&self->r.out, "behind", NULL));
	ASSERT_EQ(0, io_uring_queue_init(4, &ring, 0));
	in->generation = in->hints->generation;
	command_wait(&ring, in, SLUICE_WAIT_READY, 0, 1);
	io_uring_submit(&ring);
	EXPECT_EQ(NOTHING, completion(&ring, 20, NULL));
	start = now_ns();
	kill(c.pid, SIGKILL);
	EXPECT_EQ(0, completion(&ring, SOON, NULL));
	printf("# kill -9 of a producer in WRITING: consumer goes on after %llu us\n",
	       (now_ns() - start) / 1000);
	EXPECT_EQ(0, end_take_text(in, "behind"));
	EXPECT_EQ(256 + SIGKILL, child_wait(&c));
	io_uring_queue_exit(&ring);
}

/* Room in a full ring comes from the dead, too, and so do buffers. */
TEST_F(both, room_from_the_dead)
{
	struct end *out = &self->r.out;
	struct io_uring ring;
	struct child c, d;
	u32 buf;
	int i;

	ASSERT_EQ(0, writer(&c, RESERVED));
	ASSERT_EQ(1, hear(&c));
	ASSERT_EQ(0, writer(&d, TAKEN));
	ASSERT_EQ(1, hear(&d));
	for (i = 0; i < (int)NSLOTS - 1; i++)
		ASSERT_EQ(0, end_send(out, "x", NULL));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, end_take(out, &buf));
	EXPECT_EQ(-EAGAIN, end_send(out, "x", NULL));
	EXPECT_EQ(-ENOBUFS, end_take(out, &buf));
	ASSERT_EQ(0, io_uring_queue_init(4, &ring, 0));
	command_wait(&ring, out, SLUICE_WAIT_ROOM, NSLOTS, 1);
	command_wait(&ring, out, SLUICE_WAIT_BUFFER, NSLOTS, 2);
	io_uring_submit(&ring);
	EXPECT_EQ(NOTHING, completion(&ring, 20, NULL));
	EXPECT_EQ(0, child_kill(&c));
	EXPECT_EQ(0, completion(&ring, SOON, NULL));
	EXPECT_EQ(0, completion(&ring, SOON, NULL));
	EXPECT_EQ(0, end_send(out, "x", NULL));
	EXPECT_EQ(0, end_take(out, &buf));
	EXPECT_EQ(0, child_kill(&d));
	EXPECT_EQ(0, end_take(out, &buf));
	EXPECT_STATE("t", BOTH, .ready = NSLOTS, .buffers = 4, .discarded = 1, .deaths = 2);
	io_uring_queue_exit(&ring);
}

/* The tail hint is behind, as its mover died before: the kernel sets it right. */
TEST_F(both, tail_is_found_again)
{
	struct end *out = &self->r.out;
	struct child c;

	ASSERT_EQ(0, writer(&c, PUBLISHED));
	ASSERT_EQ(1, hear(&c));
	out->control->tail = 0;
	EXPECT_EQ(0, child_kill(&c));
	EXPECT_EQ(1, out->control->tail);
	EXPECT_EQ(0, end_take_text(&self->r.in, "half"));
}

TEST_HARNESS_MAIN
