// SPDX-License-Identifier: MIT
/* Description: SEND completes with its ticket when the message is acknowledged, or with why not */
#include "kmod_process.h"
#include "kmod_uring.h"

#define SOON	scaled(2000)
#define A_WHILE	20

FIXTURE(both)
{
	struct ends r;
	struct io_uring ring;
};

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) { .nbufs = 2, .bufsize = 4096 }, 0));
	ASSERT_EQ(0, io_uring_queue_init(16, &self->ring, 0));
}

FIXTURE_TEARDOWN(both)
{
	io_uring_queue_exit(&self->ring);
	EXPECT_EQ(0, ends_close(&self->r));
}

/* SLUICE_IOC_SEND, which does not sleep when it is refused or only wants to be accepted. */
static int send_ioctl(int fd, struct sluice_send s)
{
	return call(fd, SLUICE_IOC_SEND, &s);
}

static int send_uring(struct io_uring *ring, int fd, struct sluice_send s)
{
	command_send(ring, fd, &s, 1);
	return submit_one(ring);
}

TEST_F(both, bad_arguments)
{
	const struct sluice_send good = send_text("x", SLUICE_SEND_ACCEPT);
	int fd = self->r.out.fd;
	struct sluice_send_cmd c = { .addr = (u64)(uintptr_t)&good, .reserved = 1 };
	struct sluice_send s;
	unsigned int i;

#define EXPECT_REFUSED(err, change) do {					\
	s = good;								\
	change;									\
	EXPECT_EQ(err, send_ioctl(fd, s));					\
	EXPECT_EQ(err, send_uring(&self->ring, fd, s));				\
	s.flags &= ~SLUICE_SEND_ACCEPT;						\
	EXPECT_EQ(err, send_uring(&self->ring, fd, s));				\
} while (0)
	EXPECT_REFUSED(-EINVAL, s.flags |= 8);
	EXPECT_REFUSED(-EINVAL, s.flags |= 0x80000000u);
	EXPECT_REFUSED(-EINVAL, s.target = 0xffff);
	EXPECT_REFUSED(-EINVAL, s.msg_flags = 8);
	EXPECT_REFUSED(-EINVAL, s.size = 4);
	EXPECT_REFUSED(-EMSGSIZE, s.len = 4097);
	EXPECT_REFUSED(-EMSGSIZE, s.len = 0xffffffffu);
	EXPECT_REFUSED(-EFAULT, s.addr = 8);
	EXPECT_REFUSED(-EFAULT, (s.addr = 8, s.len = 4096));
	EXPECT_REFUSED(-EINVAL, (s.flags |= SLUICE_SEND_BUFFER, s.buf = 2));
	EXPECT_REFUSED(-EINVAL, (s.flags |= SLUICE_SEND_BUFFER, s.buf = SLUICE_NO_BUFFER));
	EXPECT_REFUSED(-EMSGSIZE, (s.flags |= SLUICE_SEND_BUFFER, s.buf = 0, s.len = 4097));
	EXPECT_REFUSED(-EBADF, (s.flags |= SLUICE_SEND_BUFFER, s.buf = 0));
	EXPECT_EQ(-EINVAL, send_ioctl(fd, send_text("", SLUICE_SEND_ACCEPT | SLUICE_SEND_TRACK)));
	EXPECT_EQ(-EBADF, send_ioctl(fd, send_text("", SLUICE_SEND_TRACK)));
	EXPECT_EQ(-EBADF, send_uring(&self->ring, fd, send_text("", SLUICE_SEND_TRACK)));
	EXPECT_EQ(-EBADF, send_ioctl(self->r.in.fd, good));
	EXPECT_EQ(-EFAULT, call(fd, SLUICE_IOC_SEND, NULL));
	command(&self->ring, fd, SLUICE_CMD_SEND, &c, sizeof(c), 1);
	EXPECT_EQ(-EINVAL, submit_one(&self->ring));
	for (i = 0; i < 2; i++) {
		c = (struct sluice_send_cmd) { .addr = i ? ~0ull : 0 };
		command(&self->ring, fd, SLUICE_CMD_SEND, &c, sizeof(c), 1);
		EXPECT_EQ(-EFAULT, submit_one(&self->ring));
	}
	EXPECT_STATE("t", BOTH);
}

TEST_F(both, completes_on_ack)
{
	struct end *in = &self->r.in;
	u64 ticket, token, i, tag;

	for (i = 0; i < 3; i++) {
		struct sluice_send s = send_text("hello", 0);

		command_send(&self->ring, self->r.out.fd, &s, 50 + i);
		io_uring_submit(&self->ring);
		memset(&s, GARBAGE, sizeof(s));		/* copied at submission */
		EXPECT_EQ(NOTHING, completion(&self->ring, i ? 0 : A_WHILE, &tag));
		EXPECT_STATE("t", BOTH, .ready = 1, .sends = i + 1);
		ASSERT_EQ(0, end_claim(in, &ticket, &token));
		EXPECT_EQ(SLUICE_MSG_TELL, end_slot(in, ticket)->flags);
		EXPECT_EQ(7, end_slot(in, ticket)->stream);
		EXPECT_EQ(3, end_slot(in, ticket)->kind);
		EXPECT_EQ(NOTHING, completion(&self->ring, 0, &tag));
		EXPECT_STATE("t", BOTH, .claimed = 1, .sends = i + 1);
		EXPECT_EQ(0, end_ack(in, ticket, token));
		EXPECT_EQ((int)ticket, completion(&self->ring, SOON, &tag));
		EXPECT_EQ(50 + i, tag);
		EXPECT_STATE("t", BOTH, .sends = i + 1);
	}
}

/* Accepted is not acknowledged: it comes at once, and nobody is told of the ACK. */
TEST_F(both, accept)
{
	struct end *in = &self->r.in;
	u64 ticket, token;

	EXPECT_EQ(0, send_ioctl(self->r.out.fd, send_text("a", SLUICE_SEND_ACCEPT)));
	EXPECT_EQ(0, send_uring(&self->ring, self->r.out.fd, send_text("b", SLUICE_SEND_ACCEPT)));
	EXPECT_STATE("t", BOTH, .ready = 2, .sends = 2);
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	EXPECT_EQ(0, end_slot(in, ticket)->flags & SLUICE_MSG_TELL);
	EXPECT_EQ(0, end_ack(in, ticket, token));
	EXPECT_EQ(0, end_take_text(in, "b"));
	EXPECT_STATE("t", BOTH, .sends = 2);
}

TEST_F(both, fields_arrive)
{
	struct sluice_send s = send_text("x", SLUICE_SEND_ACCEPT);
	struct end *in = &self->r.in;
	struct sluice_slot *slot;
	u64 ticket, token;

	s.stream = 0x1122334455667788ull;
	s.counter = 0x99aabbccddeeff00ull;
	s.time = 123456789;
	s.kind = 0xbeef;
	s.msg_flags = SLUICE_MSG_OPEN | SLUICE_MSG_LAST | 0x5500;
	ASSERT_EQ(0, send_ioctl(self->r.out.fd, s));
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	slot = end_slot(in, ticket);
	EXPECT_EQ(s.stream, slot->stream);
	EXPECT_EQ(s.counter, slot->counter);
	EXPECT_EQ(s.time, slot->time);
	EXPECT_EQ(s.kind, slot->kind);
	EXPECT_EQ(s.msg_flags, slot->flags);
	EXPECT_EQ(1, slot->len);
	EXPECT_EQ(SLUICE_NO_BUFFER, slot->buf);
	EXPECT_EQ('x', slot->data[0]);
	EXPECT_EQ(0, end_ack(in, ticket, token));
}

/* Inline as long as it fits, else in a buffer that the kernel takes. */
TEST_F(both, sizes)
{
	static const u32 sizes[] = { 0, 1, 12, 13, 75, 76, 77, 4095, 4096 };
	struct end *in = &self->r.in;
	char text[4097];
	unsigned int i, j;
	u64 sends = 0;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (j = 0; j < sizes[i]; j++)
			text[j] = (char)('a' + (i + j) % 26);
		text[j] = 0;
		EXPECT_EQ(0, send_ioctl(self->r.out.fd, send_text(text, SLUICE_SEND_ACCEPT)));
		EXPECT_STATE("t", BOTH, .ready = 1, .buffers = sizes[i] > SLUICE_INLINE_MAX,
			     .sends = ++sends);
		EXPECT_EQ(0, end_take_text(in, text)) TH_LOG("size %u", sizes[i]);
		EXPECT_STATE("t", BOTH, .sends = sends);
	}
}

TEST_F(both, out_of_buffers)
{
	struct end *out = &self->r.out;
	char text[100];
	u32 a, b;

	memset(text, 'x', sizeof(text));
	text[99] = 0;
	ASSERT_EQ(0, end_take(out, &a));
	ASSERT_EQ(0, end_take(out, &b));
	EXPECT_EQ(-ENOBUFS, send_ioctl(out->fd, send_text(text, SLUICE_SEND_ACCEPT)));
	EXPECT_EQ(-ENOBUFS, send_uring(&self->ring, out->fd, send_text(text, 0)));
	EXPECT_STATE("t", BOTH, .buffers = 2);
	ASSERT_EQ(SLOT_OK, buf_drop(end_buffer(out, b), out->id));
	EXPECT_EQ(0, send_ioctl(out->fd, send_text(text, SLUICE_SEND_ACCEPT)));
	EXPECT_STATE("t", BOTH, .ready = 1, .buffers = 2, .sends = 1);
	EXPECT_EQ(0, end_take_text(&self->r.in, text));
}

/* A buffer of its own is the sender's until acceptance. */
TEST_F(both, own_buffer)
{
	struct end *out = &self->r.out;
	struct sluice_send s = send_text("", SLUICE_SEND_BUFFER);
	u32 buf;

	ASSERT_EQ(0, end_take(out, &buf));
	memcpy(out->payload + buf * out->bufsize, "in a buffer", 11);
	s.buf = buf;
	s.len = 11;
	command_send(&self->ring, out->fd, &s, 1);
	io_uring_submit(&self->ring);
	EXPECT_EQ(buf_word(0, BUF_SENT), *end_buffer(out, buf));
	EXPECT_STATE("t", BOTH, .ready = 1, .buffers = 1, .sends = 1);
	/* twice is once too often */
	EXPECT_EQ(-EBADF, send_ioctl(out->fd, s));
	EXPECT_EQ(0, end_take_text(&self->r.in, "in a buffer"));
	EXPECT_EQ(0, completion(&self->ring, SOON, NULL));
	EXPECT_STATE("t", BOTH, .sends = 1);
	/* somebody else's */
	*end_buffer(out, buf) = buf_word(self->r.in.id, BUF_HELD);
	EXPECT_EQ(-EBADF, send_ioctl(out->fd, s));
	*end_buffer(out, buf) = 0;
}

/* The ioctl sleeps until the ACK. */
TEST_F(both, ioctl_sleeps)
{
	struct child c;

	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		struct end out;

		CHILD_EXPECT(!end_make(&out, "t", SLUICE_PRODUCER, 0));
		CHILD_EXPECT(!send_ioctl(out.fd, send_text("first", 0)));
		say(&c, 1);
		CHILD_EXPECT(send_ioctl(out.fd, send_text("second", 0)) == 1);
		_exit(0);
	}
	AWAIT_STATE("t", SOON, .producers = 2, .consumers = 1, .ready = 1, .sends = 1);
	EXPECT_EQ(0, end_take_text(&self->r.in, "first"));
	EXPECT_EQ(1, hear(&c));
	AWAIT_STATE("t", SOON, .producers = 2, .consumers = 1, .ready = 1, .sends = 2);
	EXPECT_EQ(0, end_take_text(&self->r.in, "second"));
	EXPECT_EQ(0, child_wait(&c));
}

static void on_alarm(int sig)
{
}

/* Interrupted, it is not recalled. */
TEST_F(both, ioctl_and_a_signal)
{
	struct sigaction sa = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &sa, NULL);
	alarm(1);
	EXPECT_EQ(-EINTR, send_ioctl(self->r.out.fd, send_text("x", 0)));
	EXPECT_STATE("t", BOTH, .ready = 1, .sends = 1);
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
	EXPECT_STATE("t", BOTH, .sends = 1);
}

/* Many ACKs, one kick. */
TEST_F(both, acks_share_a_kick)
{
	struct end *in = &self->r.in;
	struct sluice_send s = send_text("x", 0);
	u64 ticket, token, tag = 0;
	unsigned int seen = 0;
	int i;

	for (i = 0; i < 8; i++)
		command_send(&self->ring, self->r.out.fd, &s, (u64)i);
	ASSERT_EQ(8, io_uring_submit(&self->ring));
	for (i = 0; i < 8; i++) {
		ASSERT_EQ(0, end_claim(in, &ticket, &token));
		EXPECT_EQ(SLOT_OK, slot_ack(end_word(in, ticket), token));
	}
	EXPECT_EQ(0, end_kick(in, SLUICE_KICK_ACKED));
	/* each with its own ticket; 6.1 tells those of one moment in reverse */
	for (i = 0; i < 8; i++) {
		int result = completion(&self->ring, SOON, &tag);

		EXPECT_EQ(tag, (u64)result);
		seen |= 1u << (tag & 31);
	}
	EXPECT_EQ(0xff, seen);
	EXPECT_STATE("t", BOTH, .sends = 8);
}

/* What is acknowledged does not count, whether or not the kernel has heard of it. */
TEST_F(both, acknowledged_without_a_kick)
{
	struct end *in = &self->r.in;
	struct sluice_send s = send_text("x", 0);
	u64 ticket, token;
	struct io_uring ring;
	u32 lap, i;

	ASSERT_EQ(0, io_uring_queue_init(512, &ring, 0));
	for (lap = 0; lap < 3; lap++) {
		for (i = 0; i < NSLOTS; i++)
			command_send(&ring, self->r.out.fd, &s, 1);
		ASSERT_EQ(NSLOTS, io_uring_submit(&ring));
		for (i = 0; i < NSLOTS; i++) {
			ASSERT_EQ(0, end_claim(in, &ticket, &token));
			ASSERT_EQ(SLOT_OK, slot_ack(end_word(in, ticket), token));
		}
	}
	ASSERT_EQ(0, end_kick(in, SLUICE_KICK_ACKED));
	for (i = 0; i < 3 * NSLOTS; i++)
		ASSERT_LE(0, completion(&ring, SOON, NULL)) TH_LOG("%u", i);
	io_uring_queue_exit(&ring);
}

/* Whoever forgets to kick is found out by the tick. */
TEST_F(both, ack_without_a_kick)
{
	struct end *in = &self->r.in;
	struct sluice_send s = send_text("x", 0);
	u64 ticket, token;

	command_send(&self->ring, self->r.out.fd, &s, 1);
	io_uring_submit(&self->ring);
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	EXPECT_EQ(SLOT_OK, slot_ack(end_word(in, ticket), token));
	EXPECT_EQ(0, completion(&self->ring, SOON, NULL));
	EXPECT_STATE("t", BOTH, .sends = 1);
}

TEST_HARNESS_MAIN
