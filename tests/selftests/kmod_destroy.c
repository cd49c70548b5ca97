// SPDX-License-Identifier: MIT
/* Description: destroy refuses, drains or forces; whoever sleeps or comes later is told */
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
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) { .nbufs = 2, .bufsize = PAGE }, 0));
	ASSERT_EQ(0, io_uring_queue_init(8, &self->ring, 0));
	self->r.in.generation = self->r.in.hints->generation;
}

FIXTURE_TEARDOWN(both)
{
	struct sluice_info i;

	io_uring_queue_exit(&self->ring);
	end_close(&self->r.out);
	end_close(&self->r.in);
	if (!stage_info("t", &i))
		EXPECT_EQ(0, stage_destroy("t", 0, SLUICE_DESTROY_FORCE));
}

TEST_F(both, bad_arguments)
{
	struct sluice_destroy d = { .size = sizeof(d), .name = "t", .reserved = 1 };

	EXPECT_EQ(-EINVAL, control(SLUICE_IOC_DESTROY, &d));
	d.reserved = 0;
	d.flags = 2;
	EXPECT_EQ(-EINVAL, control(SLUICE_IOC_DESTROY, &d));
	d.flags = SLUICE_DESTROY_FORCE;
	d.size = 7;
	EXPECT_EQ(-EINVAL, control(SLUICE_IOC_DESTROY, &d));
	EXPECT_EQ(-ENOENT, stage_destroy("nobody", 0, 0));
	EXPECT_EQ(-ENOENT, stage_destroy("", 0, SLUICE_DESTROY_FORCE));
	EXPECT_STATE("t", BOTH);
}

TEST_F(both, busy)
{
	u32 generation;

	EXPECT_EQ(-EBUSY, stage_destroy("t", 0, 0));
	EXPECT_EQ(0, self->r.in.hints->closed);
	EXPECT_STATE("t", BOTH);
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
	end_close(&self->r.out);
	generation = self->r.in.hints->generation;
	EXPECT_EQ(-EBUSY, stage_destroy("t", 0, 0));
	EXPECT_GE(self->r.in.hints->generation, generation);
	end_close(&self->r.in);
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
	EXPECT_EQ(-ENOENT, stage_destroy("t", 0, 0));
}

/* A stage that does not empty in time is as it was before. */
TEST_F(both, drain_in_vain)
{
	u64 start = now_ns();

	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	EXPECT_EQ(-ETIMEDOUT, stage_destroy("t", 50, 0));
	EXPECT_GE(now_ns() - start, 50ull * MS);
	EXPECT_EQ(0, self->r.in.hints->closed);
	EXPECT_STATE("t", BOTH, .ready = 1);
	ASSERT_EQ(0, end_send(&self->r.out, "y", NULL));
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
	EXPECT_EQ(0, end_take_text(&self->r.in, "y"));
}

/* Draining: consumers go on, producers are told, nobody else gets in. */
TEST_F(both, drain)
{
	struct end *in = &self->r.in, *out = &self->r.out, other;
	struct sluice_send s = send_text("x", SLUICE_SEND_ACCEPT);
	struct sluice_info info;
	struct child c;
	u64 deadline = now_ns() + SOON * MS;

	ASSERT_EQ(0, end_send(out, "x", NULL));
	ASSERT_EQ(0, end_send(out, "y", NULL));
	ASSERT_GE(child_start(&c), 0);
	if (!c.pid)
		_exit(stage_destroy("t", 20000, 0) ? 1 : 0);
	while (!sl_load(&in->hints->closed) && now_ns() < deadline)
		sleep_ms(1);
	EXPECT_EQ(SLUICE_CLOSED_DRAIN, in->hints->closed);
	ASSERT_EQ(0, stage_info("t", &info));
	EXPECT_EQ(SLUICE_CLOSING, info.health);
	EXPECT_EQ(-ESHUTDOWN, call(out->fd, SLUICE_IOC_SEND, &s));
	EXPECT_EQ(-1, write(out->fd, "x", 1));
	EXPECT_EQ(ESHUTDOWN, errno);
	EXPECT_EQ(-ESHUTDOWN, end_make(&other, "t", SLUICE_CONSUMER, 0));
	EXPECT_EQ(0, end_take_text(in, "x"));
	EXPECT_EQ(0, kill(c.pid, 0));
	EXPECT_STATE("t", BOTH, .ready = 1);
	EXPECT_EQ(0, end_take_text(in, "y"));
	EXPECT_EQ(0, child_wait(&c));
	EXPECT_EQ(SLUICE_CLOSED_DRAIN | SLUICE_CLOSED_GONE, in->hints->closed);
	EXPECT_EQ(-ENOENT, stage_info("t", &info));
	EXPECT_EQ(-ENOENT, stage_open("t", O_RDWR));
	EXPECT_EQ(-ESHUTDOWN, end_wait(in, SLUICE_WAIT_READY, 2, -1));
}

/* A drain that is interrupted is off. */
TEST_F(both, drain_interrupted)
{
	struct end *in = &self->r.in;
	u64 deadline = now_ns() + SOON * MS;
	struct child c;

	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	ASSERT_GE(child_start(&c), 0);
	if (!c.pid)
		_exit(stage_destroy("t", 20000, 0) ? 1 : 0);
	while (!sl_load(&in->hints->closed) && now_ns() < deadline)
		sleep_ms(1);
	EXPECT_EQ(0, child_kill(&c));
	EXPECT_EQ(0, in->hints->closed);
	EXPECT_STATE("t", BOTH, .ready = 1);
}

/* A child that sleeps in one of the ways until the stage is gone. */
static void sleeper(struct child *c, int way)
{
	struct sluice_send s = send_text("sleeper", 0);
	struct end e;
	char byte[10];
	int fd, err;

	if (way == 0) {
		fd = stage_open("t", O_RDONLY);
		say(c, 1);
		while (read(fd, byte, sizeof(byte)) > 0)
			;
		CHILD_EXPECT(errno == ESHUTDOWN);
		_exit(0);
	}
	CHILD_EXPECT(!end_make(&e, "t", way == 1 ? SLUICE_PRODUCER : SLUICE_CONSUMER, 0));
	say(c, 1);
	do {
		e.generation = e.hints->generation;
		err = way == 1 ? call(e.fd, SLUICE_IOC_SEND, &s) :
				 end_wait(&e, SLUICE_WAIT_READY, 4096, -1);
	} while (err >= 0);
	CHILD_EXPECT(err == -ESHUTDOWN);
	_exit(0);
}

/* All who sleep are woken and told; what they have mapped stays until they go. */
TEST_F(both, force)
{
	struct end *in = &self->r.in, *out = &self->r.out;
	struct sluice_send s = send_text("x", 0);
	struct sluice_wait w = wait_for(in, SLUICE_WAIT_READY, 64);
	u64 ticket, token, tag = 0;
	struct child c[3];
	int i, res[3];

	EXPECT_EQ(-EBUSY, stage_destroy("t", 0, 0));
	for (i = 0; i < 3; i++) {
		ASSERT_GE(child_start(&c[i]), 0);
		if (!c[i].pid) {
			sleeper(&c[i], i);
		}
		ASSERT_EQ(1, hear(&c[i]));
	}
	sleep_ms(50);
	w.generation = in->hints->generation;
	command(&self->ring, in->fd, SLUICE_CMD_WAIT, &w, sizeof(w), 0);
	command_send(&self->ring, out->fd, &s, 1);
	io_uring_submit(&self->ring);
	/* the reader may have it already, then the SEND is over */
	ASSERT_EQ(0, end_send(out, "y", NULL));
	ASSERT_EQ(0, stage_destroy("t", 0, SLUICE_DESTROY_FORCE));
	for (i = 0; i < 2; i++) {
		int r = completion(&self->ring, SOON, &tag);

		ASSERT_LT(tag, 2);
		res[tag] = r;
	}
	EXPECT_LE(res[0], 0);
	EXPECT_TRUE(res[1] >= 0 || res[1] == -ESHUTDOWN);
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, child_wait(&c[i])) TH_LOG("child %d", i);
	/* the memory is there, the words still work, commands say what is the matter */
	EXPECT_EQ(SLUICE_CLOSED_DRAIN | SLUICE_CLOSED_GONE, in->hints->closed);
	while (!end_claim(in, &ticket, &token))
		EXPECT_EQ(SLOT_OK, slot_ack(end_word(in, ticket), token));
	EXPECT_EQ(-ESHUTDOWN, end_wait(in, SLUICE_WAIT_READY, 64, 0));
	command_wait(&self->ring, in, SLUICE_WAIT_READY, 64, 1);
	EXPECT_EQ(-ESHUTDOWN, submit_one(&self->ring));
	EXPECT_EQ(-ESHUTDOWN, call(out->fd, SLUICE_IOC_SEND, &s));
	/* a new one of that name is another */
	ASSERT_EQ(0, stage_create("t", (struct sluice_create) { 0 }));
	EXPECT_STATE("t", 0);
}

/* Everything that was asleep in io_uring learns it. */
TEST_F(both, force_completes_parked)
{
	struct end *in = &self->r.in, *out = &self->r.out;
	struct sluice_send s = send_text("x", 0);
	int i;

	command_send(&self->ring, out->fd, &s, 1);
	io_uring_submit(&self->ring);
	command_wait(&self->ring, in, SLUICE_WAIT_READY, 64, 2);
	command_wait(&self->ring, out, SLUICE_WAIT_ROOM, 64, 3);
	io_uring_submit(&self->ring);
	EXPECT_STATE("t", BOTH, .ready = 1, .sends = 1);
	EXPECT_EQ(1, in->hints->ready_sleepers);
	EXPECT_EQ(1, in->hints->room_sleepers);
	ASSERT_EQ(0, stage_destroy("t", 0, SLUICE_DESTROY_FORCE));
	for (i = 0; i < 3; i++) {
		u64 tag;
		int res = completion(&self->ring, SOON, &tag);

		/* a wait may come back to look, and would be told then */
		if (tag != 1 && !res)
			continue;
		EXPECT_EQ(-ESHUTDOWN, res);
	}
	EXPECT_EQ(NOTHING, completion(&self->ring, 0, NULL));
}

TEST_F(both, poll_hears_of_it)
{
	struct pollfd p = { .fd = self->r.in.fd, .events = POLLIN };
	struct child c;

	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		sleep_ms(50);
		_exit(stage_destroy("t", 0, SLUICE_DESTROY_FORCE) ? 1 : 0);
	}
	EXPECT_EQ(-EAGAIN, end_wait(&self->r.in, SLUICE_WAIT_READY, 0, 0));
	EXPECT_EQ(1, poll(&p, 1, (int)SOON));
	EXPECT_EQ(0, child_wait(&c));
	EXPECT_EQ(1, poll(&p, 1, 0));
	EXPECT_EQ(POLLERR | POLLHUP, p.revents);
}

/* FORCE with a time waits for it first. */
TEST_F(both, force_after_a_while)
{
	u64 start = now_ns();

	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	EXPECT_EQ(0, stage_destroy("t", 50, SLUICE_DESTROY_FORCE));
	EXPECT_GE(now_ns() - start, 50ull * MS);
}

/* Whoever drains in vain a stage that is gone meanwhile does not open it again. */
TEST_F(both, forced_while_it_drains)
{
	struct end *out = &self->r.out;
	struct sluice_send s = send_text("x", SLUICE_SEND_ACCEPT);
	struct child c;
	u64 deadline;

	ASSERT_EQ(0, end_send(out, "in the way", NULL));
	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		say(&c, (u64)-stage_destroy("t", scaled(300), 0));
		hear(&c);
		_exit(0);
	}
	for (deadline = now_ns() + SOON * MS; !sl_load(&out->hints->closed) &&
	     now_ns() < deadline;)
		sleep_ms(1);
	EXPECT_EQ(SLUICE_CLOSED_DRAIN, out->hints->closed);
	ASSERT_EQ(0, stage_destroy("t", 0, SLUICE_DESTROY_FORCE));
	EXPECT_EQ(ENOENT, hear(&c));
	EXPECT_EQ(0, child_end(&c));
	EXPECT_EQ(SLUICE_CLOSED_DRAIN | SLUICE_CLOSED_GONE, out->hints->closed);
	EXPECT_EQ(-ESHUTDOWN, call(out->fd, SLUICE_IOC_SEND, &s));
}

TEST_HARNESS_MAIN
