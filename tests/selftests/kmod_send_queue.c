// SPDX-License-Identifier: MIT
/* Description: with the ring full the kernel keeps messages in order, within its bound */
#include <sys/time.h>

#include "kmod_process.h"
#include "kmod_uring.h"

#define SOON	scaled(2000)
#define QUEUE	4

FIXTURE(both)
{
	struct ends r;
	struct io_uring ring;
};

FIXTURE_SETUP(both)
{
	int i;

	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.nbufs = 2, .bufsize = 4096, .queue_max = QUEUE,
	}, 0));
	ASSERT_EQ(0, io_uring_queue_init(16, &self->ring, 0));
	for (i = 0; i < (int)NSLOTS; i++)
		ASSERT_EQ(0, end_send(&self->r.out, "ring", NULL));
	EXPECT_STATE("t", BOTH, .ready = NSLOTS);
}

FIXTURE_TEARDOWN(both)
{
	io_uring_queue_exit(&self->ring);
	EXPECT_EQ(0, ends_close(&self->r));
}

static int accept_text(const struct end *e, const char *text)
{
	struct sluice_send s = send_text(text, SLUICE_SEND_ACCEPT);

	return call(e->fd, SLUICE_IOC_SEND, &s);
}

static int take_many(struct end *in, unsigned int n, const char *text)
{
	int err = 0;

	while (n-- && !err)
		err = end_take_text(in, text);
	return err;
}

TEST_F(both, kept_and_published_in_order)
{
	struct end *in = &self->r.in, *out = &self->r.out;
	char text[8];
	int i;

	for (i = 0; i < QUEUE; i++) {
		snprintf(text, sizeof(text), "q%d", i);
		EXPECT_EQ(1, accept_text(out, text));
		EXPECT_STATE("t", BOTH, .ready = NSLOTS, .queued = i + 1, .sends = i + 1);
		EXPECT_EQ(i + 1, in->hints->queued);
	}
	EXPECT_EQ(-EAGAIN, accept_text(out, "too many"));
	EXPECT_STATE("t", BOTH, .ready = NSLOTS, .queued = QUEUE, .sends = QUEUE);
	/* each ACK makes room for one */
	EXPECT_EQ(0, end_take_text(in, "ring"));
	EXPECT_STATE("t", BOTH, .ready = NSLOTS, .queued = QUEUE - 1, .sends = QUEUE);
	EXPECT_EQ(1, accept_text(out, "q4"));
	EXPECT_EQ(0, take_many(in, NSLOTS - 1, "ring"));
	for (i = 0; i < 5; i++) {
		snprintf(text, sizeof(text), "q%d", i);
		EXPECT_EQ(0, end_take_text(in, text));
	}
	EXPECT_EQ(0, in->hints->queued);
	EXPECT_STATE("t", BOTH, .sends = 5);
}

/* A command that is refused completes, and does not overtake or get overtaken. */
TEST_F(both, queue_full)
{
	struct sluice_send s[QUEUE + 2];
	char text[QUEUE + 2][8];
	unsigned int refused = 0;
	u64 tag;
	int i, res;

	for (i = 0; i < QUEUE + 2; i++) {
		snprintf(text[i], sizeof(text[i]), "q%d", i);
		s[i] = send_text(text[i], 0);
		command_send(&self->ring, self->r.out.fd, &s[i], (u64)i);
	}
	ASSERT_EQ(QUEUE + 2, io_uring_submit(&self->ring));
	while ((res = completion(&self->ring, 50, &tag)) != NOTHING) {
		EXPECT_EQ(-EAGAIN, res);
		refused |= 1u << tag;
	}
	EXPECT_EQ(3u << QUEUE, refused);
	EXPECT_STATE("t", BOTH, .ready = NSLOTS, .queued = QUEUE, .sends = QUEUE);
	EXPECT_EQ(0, take_many(&self->r.in, NSLOTS, "ring"));
	for (i = 0; i < QUEUE; i++)
		EXPECT_EQ(0, end_take_text(&self->r.in, text[i]));
	for (i = 0; i < QUEUE; i++) {
		EXPECT_EQ((int)NSLOTS + i, completion(&self->ring, SOON, &tag));
		EXPECT_EQ(i, tag);
	}
	EXPECT_STATE("t", BOTH, .sends = QUEUE);
}

/* What the kernel keeps comes before anything that is written later. */
TEST_F(both, write_waits_behind_the_queue)
{
	struct end *in = &self->r.in, *out = &self->r.out;
	int fd = stage_open("t", O_WRONLY | O_NONBLOCK);
	u64 ticket, token;

	EXPECT_EQ(1, accept_text(out, "kept"));
	EXPECT_EQ(-1, write(fd, "x", 1));
	EXPECT_EQ(EAGAIN, errno);
	/* room in the ring, but the kernel has not seen it yet */
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	ASSERT_EQ(SLOT_OK, slot_ack(end_word(in, ticket), token));
	if (write(fd, "x", 1) < 0)
		EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(-EAGAIN, end_wait(out, SLUICE_WAIT_ROOM, NSLOTS + 1, 0));
	EXPECT_EQ(0, end_kick(in, SLUICE_KICK_ROOM));
	EXPECT_EQ(0, take_many(in, NSLOTS - 1, "ring"));
	EXPECT_EQ(0, end_take_text(in, "kept"));
	EXPECT_EQ(1, write(fd, "x", 1));
	EXPECT_EQ(0, end_take_text(in, "x"));
	close(fd);
}

/* A buffer of a message that waits is the kernel's. */
TEST_F(both, queued_buffer)
{
	struct end *in = &self->r.in, *out = &self->r.out;
	struct sluice_send s = send_text("", SLUICE_SEND_ACCEPT | SLUICE_SEND_BUFFER);
	u32 buf;

	ASSERT_EQ(0, end_take(out, &buf));
	memcpy(out->payload + buf * out->bufsize, "waits", 5);
	s.buf = buf;
	s.len = 5;
	EXPECT_EQ(1, call(out->fd, SLUICE_IOC_SEND, &s));
	EXPECT_EQ(buf_word(0, BUF_QUEUED), *end_buffer(out, buf));
	EXPECT_EQ(SLOT_STALE, buf_drop(end_buffer(out, buf), out->id));
	EXPECT_STATE("t", BOTH, .ready = NSLOTS, .queued = 1, .buffers = 1, .sends = 1);
	EXPECT_EQ(0, take_many(in, NSLOTS, "ring"));
	EXPECT_EQ(buf_word(NSLOTS, BUF_SENT), *end_buffer(out, buf));
	EXPECT_EQ(0, end_take_text(in, "waits"));
	EXPECT_STATE("t", BOTH, .sends = 1);
}

/* The buffer's word is changed while it waits: only that message is lost, and it is told. */
TEST_F(both, queued_buffer_is_spoilt)
{
	struct end *in = &self->r.in, *out = &self->r.out;
	struct sluice_send s = send_text("", SLUICE_SEND_BUFFER);
	u32 buf;

	ASSERT_EQ(0, end_take(out, &buf));
	s.buf = buf;
	s.len = 5;
	command_send(&self->ring, out->fd, &s, 1);
	io_uring_submit(&self->ring);
	EXPECT_EQ(1, accept_text(out, "next"));
	*end_buffer(out, buf) = buf_word(0, BUF_FREE);
	EXPECT_EQ(0, take_many(in, NSLOTS, "ring"));
	EXPECT_EQ(-EBADMSG, completion(&self->ring, SOON, NULL));
	EXPECT_EQ(0, end_take_text(in, "next"));
	EXPECT_STATE("t", BOTH, .sends = 2, .lies = 1);
}

/* The sender dies: what was accepted, kept or published, is delivered; its buffers come home. */
TEST_F(both, survives_its_sender)
{
	struct end *in = &self->r.in;
	struct child c;

	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		struct sluice_send told = send_text("told", 0), s;
		struct io_uring ring;
		struct end out;
		u32 buf;

		CHILD_EXPECT(!end_make(&out, "t", SLUICE_PRODUCER, 0));
		CHILD_EXPECT(!io_uring_queue_init(4, &ring, 0));
		CHILD_EXPECT(accept_text(&out, "accepted") == 1);
		CHILD_EXPECT(!end_take(&out, &buf));
		memcpy(out.payload + buf * out.bufsize, "in a buffer", 11);
		s = send_text("", SLUICE_SEND_ACCEPT | SLUICE_SEND_BUFFER);
		s.len = 11;
		s.buf = buf;
		CHILD_EXPECT(call(out.fd, SLUICE_IOC_SEND, &s) == 1);
		command_send(&ring, out.fd, &told, 1);
		io_uring_submit(&ring);
		CHILD_EXPECT(!end_take(&out, &buf));	/* held at its death */
		tell_and_pause(&c, 1);
		_exit(0);
	}
	ASSERT_EQ(1, hear(&c));
	EXPECT_STATE("t", .producers = 2, .consumers = 1, .ready = NSLOTS, .queued = 3,
		     .buffers = 2, .sends = 3);
	EXPECT_EQ(0, child_kill(&c));
	EXPECT_STATE("t", BOTH, .ready = NSLOTS, .queued = 3, .buffers = 1, .sends = 3,
		     .deaths = 1);
	EXPECT_EQ(0, take_many(in, NSLOTS, "ring"));
	EXPECT_EQ(0, end_take_text(in, "accepted"));
	EXPECT_EQ(0, end_take_text(in, "in a buffer"));
	EXPECT_EQ(0, end_take_text(in, "told"));
	EXPECT_STATE("t", BOTH, .sends = 3, .deaths = 1);
}

/* Room to send is for who comes later, too. */
TEST_F(both, room_only_behind_the_queue)
{
	struct end *in = &self->r.in, *out = &self->r.out;

	EXPECT_EQ(1, accept_text(out, "kept"));
	command_wait(&self->ring, out, SLUICE_WAIT_ROOM, NSLOTS, 1);
	io_uring_submit(&self->ring);
	EXPECT_EQ(0, end_take_text(in, "ring"));
	/* the queue took the room; now it is empty, and the waiter looks at its own slot */
	EXPECT_EQ(0, in->hints->queued);
	EXPECT_EQ(0, completion(&self->ring, SOON, NULL));
	EXPECT_EQ(-EAGAIN, end_send(out, "x", NULL));
	EXPECT_EQ(0, end_take_text(in, "ring"));
	EXPECT_EQ(0, end_send(out, "x", NULL));
	EXPECT_STATE("t", BOTH, .ready = NSLOTS, .sends = 1);
}

/* A slot is free, and nobody has said so to the kernel yet: it is the queue's all the same. */
TEST_F(both, no_room_while_something_is_kept)
{
	struct end *in = &self->r.in, *out = &self->r.out;
	u64 ticket, token;

	EXPECT_EQ(1, accept_text(out, "kept"));
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	ASSERT_EQ(SLOT_OK, slot_ack(end_word(in, ticket), token));
	EXPECT_EQ(-EAGAIN, end_wait(out, SLUICE_WAIT_ROOM, NSLOTS, 0));
	EXPECT_EQ(0, end_kick(in, SLUICE_KICK_ROOM));
	EXPECT_EQ(0, in->hints->queued);
	EXPECT_STATE("t", BOTH, .ready = NSLOTS, .sends = 1);
}

/* A destroyed stage keeps nothing: each sender is told. */
TEST_F(both, destroyed)
{
	struct sluice_send s = send_text("x", 0);

	command_send(&self->ring, self->r.out.fd, &s, 1);
	command_send(&self->ring, self->r.out.fd, &s, 2);
	io_uring_submit(&self->ring);
	EXPECT_STATE("t", BOTH, .ready = NSLOTS, .queued = 2, .sends = 2);
	ASSERT_EQ(0, stage_destroy("t", 0, SLUICE_DESTROY_FORCE));
	EXPECT_EQ(-ESHUTDOWN, completion(&self->ring, SOON, NULL));
	EXPECT_EQ(-ESHUTDOWN, completion(&self->ring, SOON, NULL));
	EXPECT_EQ(-ESHUTDOWN, accept_text(&self->r.out, "x"));
	ASSERT_EQ(0, stage_create("t", (struct sluice_create) { 0 }));	/* for the teardown */
}

/* All that were concerned have gone: nobody can miss what is kept. */
TEST_F(both, destroyed_by_nobody)
{
	EXPECT_EQ(1, accept_text(&self->r.out, "kept"));
	end_close(&self->r.out);
	EXPECT_EQ(-EBUSY, stage_destroy("t", 0, 0));
	end_close(&self->r.in);
	EXPECT_STATE("t", .ready = NSLOTS, .queued = 1, .sends = 1, .deaths = 2);
	EXPECT_EQ(-ETIMEDOUT, stage_destroy("t", 20, 0));
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
	ASSERT_EQ(0, stage_create("t", (struct sluice_create) { 0 }));	/* for the teardown */
}

static void on_alarm(int sig)
{
}

/* Interrupted before it was published: it is not recalled, and nobody is told twice. */
TEST_F(both, ioctl_and_a_signal)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval when = { .it_value = { 0, 100000 } };
	struct sluice_send s = send_text("commanded", 0), slept = send_text("slept", 0);
	struct end *in = &self->r.in;
	int i;

	/* one that is published and one that is not are in front of it */
	EXPECT_EQ(0, end_take_text(in, "ring"));
	for (i = 0; i < 2; i++)
		command_send(&self->ring, self->r.out.fd, &s, (u64)i);
	ASSERT_EQ(2, io_uring_submit(&self->ring));
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &when, NULL);
	EXPECT_EQ(-EINTR, call(self->r.out.fd, SLUICE_IOC_SEND, &slept));
	EXPECT_STATE("t", BOTH, .ready = NSLOTS, .queued = 2, .sends = 3);
	EXPECT_EQ(0, take_many(in, NSLOTS - 1, "ring"));
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, end_take_text(in, "commanded"));
	EXPECT_EQ(0, end_take_text(in, "slept"));
	for (i = 0; i < 2; i++)
		EXPECT_EQ((int)NSLOTS + i, completion(&self->ring, SOON, NULL));
	EXPECT_STATE("t", BOTH, .sends = 3);
}

/* The kernel takes a buffer for it and finds the queue full: the buffer is nobody's again. */
TEST_F(both, no_room_for_a_buffer)
{
	struct end *out = &self->r.out;
	struct sluice_send s;
	char text[200];
	int i;

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	for (i = 0; i < QUEUE; i++)
		EXPECT_EQ(1, accept_text(out, "q"));
	EXPECT_EQ(-EAGAIN, accept_text(out, text));
	s = send_text(text, 0);
	EXPECT_EQ(-EAGAIN, call(out->fd, SLUICE_IOC_SEND, &s));
	command_send(&self->ring, out->fd, &s, 1);
	EXPECT_EQ(-EAGAIN, submit_one(&self->ring));
	EXPECT_STATE("t", BOTH, .ready = NSLOTS, .queued = QUEUE, .sends = QUEUE);
}

/* With the stage its buffers go, and whoever still has it mapped can see that. */
TEST_F(both, destroyed_with_a_buffer)
{
	struct end *out = &self->r.out;
	struct sluice_send s = send_text("", SLUICE_SEND_BUFFER);
	u32 buf;

	ASSERT_EQ(0, end_take(out, &buf));
	s.buf = buf;
	command_send(&self->ring, out->fd, &s, 1);
	io_uring_submit(&self->ring);
	EXPECT_EQ(buf_word(0, BUF_QUEUED), *end_buffer(out, buf));
	ASSERT_EQ(0, stage_destroy("t", 0, SLUICE_DESTROY_FORCE));
	EXPECT_EQ(-ESHUTDOWN, completion(&self->ring, SOON, NULL));
	EXPECT_EQ(0, *end_buffer(out, buf));
	ASSERT_EQ(0, stage_create("t", (struct sluice_create) { 0 }));	/* for the teardown */
}

TEST_HARNESS_MAIN
