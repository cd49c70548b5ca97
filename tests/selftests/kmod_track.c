// SPDX-License-Identifier: MIT
/* Description: a sole producer publishes itself and is told of the ACK of the tickets it tracks */
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
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) { .dead_slots = 4 },
			       SLUICE_ATTACH_SOLE));
	ASSERT_EQ(0, io_uring_queue_init(16, &self->ring, 0));
}

FIXTURE_TEARDOWN(both)
{
	io_uring_queue_exit(&self->ring);
	EXPECT_EQ(0, ends_close(&self->r));
}

static void track(struct io_uring *ring, const struct end *e, u64 ticket)
{
	static struct sluice_send s;

	s = send_text("", SLUICE_SEND_TRACK);
	s.ticket = ticket;
	command_send(ring, e->fd, &s, ticket);
	io_uring_submit(ring);
}

/* FREE -> READY, as only a sole producer may. */
static void publish_told(struct end *e, u64 ticket)
{
	end_fill(e, ticket, "x", 1, SLUICE_NO_BUFFER);
	end_slot(e, ticket)->flags = SLUICE_MSG_TELL;
	slot_publish_sole(end_word(e, ticket), ticket_lap(ticket, e->order));
	e->control->tail = ticket + 1;
}

TEST_F(both, before_it_is_published)
{
	struct end *out = &self->r.out, *in = &self->r.in;
	u64 t;

	for (t = 0; t < 2 * NSLOTS; t++) {
		track(&self->ring, out, t);
		EXPECT_EQ(NOTHING, completion(&self->ring, 0, NULL));
		publish_told(out, t);
		EXPECT_EQ(0, end_take_text(in, "x"));
		EXPECT_EQ((int)t, completion(&self->ring, SOON, NULL));
	}
	EXPECT_STATE("t", BOTH, .sole = 1, .sends = 2 * NSLOTS);
}

TEST_F(both, after_its_ack)
{
	struct end *out = &self->r.out, *in = &self->r.in;

	publish_told(out, 0);
	EXPECT_EQ(0, end_take_text(in, "x"));
	track(&self->ring, out, 0);
	EXPECT_EQ(0, completion(&self->ring, SOON, NULL));
	EXPECT_STATE("t", BOTH, .sole = 1, .sends = 1);
}

TEST_F(both, dead_letter)
{
	struct end *out = &self->r.out, *in = &self->r.in;
	u64 ticket, token;

	track(&self->ring, out, 0);
	publish_told(out, 0);
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	EXPECT_EQ(0, end_nack(in, ticket, token, SLUICE_NACK_DEAD, 0, EXDEV));
	EXPECT_EQ(-EXDEV, completion(&self->ring, SOON, NULL));
	EXPECT_STATE("t", BOTH, .sole = 1, .sends = 1, .nacks = 1, .dead_letters = 1);
}

/* As many as there are slots, and no more. */
TEST_F(both, bounded)
{
	struct end *out = &self->r.out;
	struct io_uring ring;
	u64 t;

	ASSERT_EQ(0, io_uring_queue_init(128, &ring, 0));
	for (t = 0; t < NSLOTS; t++)
		track(&ring, out, t);
	EXPECT_EQ(NOTHING, completion(&ring, 20, NULL));
	track(&ring, out, t);
	EXPECT_EQ(-EAGAIN, completion(&ring, SOON, NULL));
	EXPECT_STATE("t", BOTH, .sole = 1, .sends = NSLOTS);
	io_uring_queue_exit(&ring);
	/* given up, not recalled */
	publish_told(out, 0);
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
	track(&self->ring, out, 1);
	EXPECT_EQ(NOTHING, completion(&self->ring, 0, NULL));
}

/* What is acknowledged does not count, whether or not the kernel has heard of it. */
TEST_F(both, acknowledged_without_a_kick)
{
	struct end *out = &self->r.out, *in = &self->r.in;
	u64 t, ticket, token;
	struct io_uring ring;

	ASSERT_EQ(0, io_uring_queue_init(256, &ring, 0));
	for (t = 0; t < NSLOTS; t++) {
		track(&ring, out, t);
		publish_told(out, t);
	}
	for (t = 0; t < NSLOTS; t++) {
		ASSERT_EQ(0, end_claim(in, &ticket, &token));
		ASSERT_EQ(SLOT_OK, slot_ack(end_word(in, ticket), token));
	}
	for (t = NSLOTS; t < NSLOTS + 8; t++)
		track(&ring, out, t);
	for (t = 0; t < NSLOTS; t++)
		EXPECT_LE(0, completion(&ring, SOON, NULL));
	EXPECT_EQ(NOTHING, completion(&ring, 0, NULL));
	io_uring_queue_exit(&ring);
}

TEST_F(both, only_the_sole_producer)
{
	struct end *out = &self->r.out, other;
	struct sluice_send s = send_text("", SLUICE_SEND_TRACK);

	end_close(out);
	ASSERT_EQ(0, end_make(out, "t", SLUICE_PRODUCER, 0));
	ASSERT_EQ(0, end_make(&other, "t", SLUICE_PRODUCER, 0));
	EXPECT_EQ(-EBADF, call(out->fd, SLUICE_IOC_SEND, &s));
	EXPECT_EQ(-EBADF, call(self->r.in.fd, SLUICE_IOC_SEND, &s));
	end_close(&other);
}

/* What it published before it died goes on; what it had not is FREE. */
TEST_F(both, sole_dies)
{
	struct end *in = &self->r.in;
	struct child c;

	end_close(&self->r.out);
	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		struct io_uring ring;
		struct end out;

		CHILD_EXPECT(!end_make(&out, "t", SLUICE_PRODUCER, SLUICE_ATTACH_SOLE));
		CHILD_EXPECT(!io_uring_queue_init(4, &ring, 0));
		track(&ring, &out, 0);
		publish_told(&out, 0);
		track(&ring, &out, 1);
		tell_and_pause(&c, 1);
		_exit(0);
	}
	ASSERT_EQ(1, hear(&c));
	EXPECT_STATE("t", BOTH, .sole = 1, .ready = 1, .sends = 2, .deaths = 1);
	EXPECT_EQ(0, child_kill(&c));
	EXPECT_STATE("t", .consumers = 1, .ready = 1, .sends = 2, .deaths = 2);
	EXPECT_EQ(0, end_take_text(in, "x"));
	ASSERT_EQ(0, end_make(&self->r.out, "t", SLUICE_PRODUCER, SLUICE_ATTACH_SOLE));
	EXPECT_EQ(1, self->r.out.control->tail);
	EXPECT_EQ(0, *end_word(in, 1));
}

TEST_HARNESS_MAIN
