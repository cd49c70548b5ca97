// SPDX-License-Identifier: MIT
/* Description: a dead letter has head and payload, and its sender is told */
#include "kmod_process.h"
#include "kmod_uring.h"

#define SOON	scaled(2000)

FIXTURE(both)
{
	struct ends r;
	struct end dead;
};

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.nbufs = 2, .bufsize = 3 * PAGE, .dead_slots = 4, .max_attempts = 2,
		.mode = 0640,
	}, 0));
	ASSERT_EQ(0, end_make(&self->dead, "t.dead", SLUICE_CONSUMER, 0));
}

FIXTURE_TEARDOWN(both)
{
	end_close(&self->dead);
	EXPECT_EQ(0, ends_close(&self->r));
}

/* The next message of @in dies of @reason. */
static int kill_next(struct end *in, u32 reason)
{
	u64 ticket, token;
	int err = end_claim(in, &ticket, &token);

	return err ?: end_nack(in, ticket, token, SLUICE_NACK_DEAD, 0, reason);
}

static const struct sluice_dead_letter *letter_of(const struct end *dead, u64 ticket)
{
	return (void *)(dead->payload + (size_t)end_slot(dead, ticket)->buf * dead->bufsize);
}

TEST_F(both, inline_message)
{
	const struct sluice_dead_letter *head;
	struct end *dead = &self->dead;
	struct sluice_slot *slot;
	u64 ticket, token, original;

	ASSERT_EQ(0, end_send(&self->r.out, "first", NULL));
	ASSERT_EQ(0, end_send(&self->r.out, "hello", &original));
	EXPECT_EQ(0, end_take_text(&self->r.in, "first"));
	ASSERT_EQ(0, kill_next(&self->r.in, EXDEV));
	EXPECT_STATE("t", BOTH, .nacks = 1, .dead_letters = 1);
	EXPECT_STATE("t.dead", .consumers = 1, .ready = 1, .buffers = 1);
	ASSERT_EQ(0, end_claim(dead, &ticket, &token));
	slot = end_slot(dead, ticket);
	head = letter_of(dead, ticket);
	EXPECT_EQ(7, slot->stream);
	EXPECT_EQ(original, slot->counter);
	EXPECT_EQ(3, slot->kind);
	EXPECT_EQ(sizeof(*head) + 5, slot->len);
	EXPECT_EQ(original, head->ticket);
	EXPECT_EQ(1, head->attempts);
	EXPECT_EQ(1, head->charges);
	EXPECT_EQ(EXDEV, head->reason);
	EXPECT_EQ(5, head->len);
	EXPECT_EQ(5, head->copied);
	EXPECT_EQ(3, head->kind);
	EXPECT_EQ(1, head->time);
	EXPECT_EQ(0, memcmp(head + 1, "hello", 5));
	EXPECT_EQ(0, end_ack(dead, ticket, token));
	EXPECT_STATE("t.dead", .consumers = 1);
}

/* With its whole payload, and the buffer is free again. */
TEST_F(both, message_in_a_buffer)
{
	struct end *dead = &self->dead, *out = &self->r.out;
	const struct sluice_dead_letter *head;
	u64 t, ticket, token;
	u32 buf, i;

	ASSERT_EQ(0, end_take(out, &buf));
	for (i = 0; i < out->bufsize; i++)
		out->payload[buf * out->bufsize + i] = (unsigned char)(i * 7);
	ASSERT_EQ(0, end_reserve(out, &t));
	end_fill(out, t, out->payload + buf * out->bufsize, out->bufsize, buf);
	ASSERT_EQ(SLOT_OK, buf_send(end_buffer(out, buf), out->id, t));
	ASSERT_EQ(0, end_publish(out, t));
	ASSERT_EQ(0, kill_next(&self->r.in, EIO));
	EXPECT_STATE("t", BOTH, .nacks = 1, .dead_letters = 1);
	ASSERT_EQ(0, end_claim(dead, &ticket, &token));
	head = letter_of(dead, ticket);
	EXPECT_EQ(out->bufsize, head->len);
	EXPECT_EQ(out->bufsize, head->copied);
	for (i = 0; i < head->copied; i++)
		ASSERT_EQ((unsigned char)(i * 7), ((unsigned char *)(head + 1))[i]);
	EXPECT_EQ(0, end_ack(dead, ticket, token));
}

/* By read(2) as well. */
TEST_F(both, read)
{
	char buf[sizeof(struct sluice_dead_letter) + 100];
	struct sluice_dead_letter *head = (void *)buf;
	int fd;

	end_close(&self->dead);
	ASSERT_EQ(0, end_send(&self->r.out, "hello", NULL));
	ASSERT_EQ(0, kill_next(&self->r.in, 0));
	fd = stage_open("t.dead", O_RDONLY | O_NONBLOCK);
	EXPECT_EQ(sizeof(*head) + 5, read(fd, buf, sizeof(buf)));
	EXPECT_EQ(EIO, head->reason);
	EXPECT_EQ(0, memcmp(head + 1, "hello", 5));
	EXPECT_EQ(-1, read(fd, buf, sizeof(buf)));
	EXPECT_STATE("t.dead", .consumers = 1, .deaths = 1);
	close(fd);
}

TEST_F(both, kernel_is_the_only_producer)
{
	struct stat st;
	struct end e;
	int fd;

	EXPECT_EQ(-EPERM, end_make(&e, "t.dead", SLUICE_PRODUCER, 0));
	fd = stage_open("t.dead", O_WRONLY);
	EXPECT_EQ(-1, write(fd, "x", 1));
	EXPECT_EQ(EPERM, errno);
	close(fd);
	ASSERT_EQ(0, stat(NODE "t.dead", &st));
	EXPECT_EQ(S_IFCHR | 0640, st.st_mode);
	EXPECT_STATE("t.dead", .consumers = 1);
}

/* Each reason arrives at the sender, and the letter before that. */
TEST_F(both, sender_is_told)
{
	struct sluice_send s = send_text("x", 0);
	struct end *in = &self->r.in;
	u64 ticket, token;
	struct io_uring ring;
	int i;

	ASSERT_EQ(0, io_uring_queue_init(4, &ring, 0));
	command_send(&ring, self->r.out.fd, &s, 1);
	io_uring_submit(&ring);
	ASSERT_EQ(0, kill_next(in, ENOKEY));
	EXPECT_EQ(-ENOKEY, completion(&ring, SOON, NULL));
	EXPECT_STATE("t.dead", .consumers = 1, .ready = 1, .buffers = 1);
	/* the letter's own ACK is nobody's business */
	ASSERT_EQ(0, end_claim(&self->dead, &ticket, &token));
	EXPECT_EQ(0, end_slot(&self->dead, ticket)->flags);
	EXPECT_EQ(SLUICE_MSG_TELL, letter_of(&self->dead, ticket)->flags);
	EXPECT_EQ(0, end_ack(&self->dead, ticket, token));
	/* charged failures, the last of which it is told */
	command_send(&ring, self->r.out.fd, &s, 1);
	io_uring_submit(&ring);
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(NOTHING, completion(&ring, 0, NULL));
		ASSERT_EQ(0, end_claim(in, &ticket, &token));
		EXPECT_EQ(0, end_nack(in, ticket, token, 0, 0, i ? ESRCH : ENOENT));
	}
	EXPECT_EQ(-ESRCH, completion(&ring, SOON, NULL));
	EXPECT_STATE("t", BOTH, .nacks = 3, .redelivered = 1, .dead_letters = 2, .sends = 2);
	io_uring_queue_exit(&ring);
}

/* The last consumer's death is a reason too. */
TEST_F(both, owner_dead)
{
	struct sluice_send s = send_text("x", 0);
	const struct sluice_dead_letter *head;
	u64 ticket, token;
	struct io_uring ring;
	int i;

	ASSERT_EQ(0, io_uring_queue_init(4, &ring, 0));
	command_send(&ring, self->r.out.fd, &s, 1);
	io_uring_submit(&ring);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, end_claim(&self->r.in, &ticket, &token));
		end_close(&self->r.in);
		ASSERT_EQ(0, end_make(&self->r.in, "t", SLUICE_CONSUMER, 0));
	}
	EXPECT_EQ(-EOWNERDEAD, completion(&ring, SOON, NULL));
	EXPECT_STATE("t", BOTH, .redelivered = 1, .deaths = 2, .dead_letters = 1, .sends = 1);
	ASSERT_EQ(0, end_claim(&self->dead, &ticket, &token));
	head = letter_of(&self->dead, ticket);
	EXPECT_EQ(EOWNERDEAD, head->reason);
	EXPECT_EQ(2, head->attempts);
	EXPECT_EQ(2, head->charges);
	io_uring_queue_exit(&ring);
}

/* Without a dead-letter stage the message is gone, counted, and the sender is told. */
TEST_F(both, no_dead_letter_stage)
{
	struct sluice_send s = send_text("x", 0);
	struct end out, in;
	struct io_uring ring;

	ASSERT_EQ(0, stage_create("u", (struct sluice_create) { 0 }));
	ASSERT_EQ(0, end_make(&out, "u", SLUICE_PRODUCER, 0));
	ASSERT_EQ(0, end_make(&in, "u", SLUICE_CONSUMER, 0));
	ASSERT_EQ(0, io_uring_queue_init(4, &ring, 0));
	command_send(&ring, out.fd, &s, 1);
	io_uring_submit(&ring);
	ASSERT_EQ(0, kill_next(&in, EDOM));
	EXPECT_EQ(-EDOM, completion(&ring, SOON, NULL));
	EXPECT_STATE("u", BOTH, .nacks = 1, .dead_letters = 1, .sends = 1);
	io_uring_queue_exit(&ring);
	end_close(&out);
	end_close(&in);
	EXPECT_EQ(0, stage_destroy("u", 0, 0));
}

/* Unread letters are not destroyed by the way. */
TEST_F(both, destroy_minds_letters)
{
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	ASSERT_EQ(0, kill_next(&self->r.in, 0));
	end_close(&self->dead);
	end_close(&self->r.out);
	end_close(&self->r.in);
	EXPECT_EQ(-EBUSY, stage_destroy("t", 0, 0));
	EXPECT_STATE("t", .deaths = 2, .nacks = 1, .dead_letters = 1);
	EXPECT_STATE("t.dead", .ready = 1, .buffers = 1, .deaths = 1);
	EXPECT_EQ(-ETIMEDOUT, stage_destroy("t", 20, 0));
	EXPECT_STATE("t.dead", .ready = 1, .buffers = 1, .deaths = 1);
	ASSERT_EQ(0, end_make(&self->dead, "t.dead", SLUICE_CONSUMER, 0));
}

/* What nobody ever wrote into reads as zeroes, in the letter too. */
TEST_F(both, untouched_buffer)
{
	struct end *dead = &self->dead, *out = &self->r.out;
	const struct sluice_dead_letter *head;
	u64 t, ticket, token;
	u32 buf, i;

	ASSERT_EQ(0, end_take(out, &buf));
	ASSERT_EQ(0, end_reserve(out, &t));
	end_fill(out, t, NULL, 0, buf);
	end_slot(out, t)->len = out->bufsize;
	ASSERT_EQ(SLOT_OK, buf_send(end_buffer(out, buf), out->id, t));
	ASSERT_EQ(0, end_publish(out, t));
	ASSERT_EQ(0, kill_next(&self->r.in, EIO));
	ASSERT_EQ(0, end_claim(dead, &ticket, &token));
	head = letter_of(dead, ticket);
	EXPECT_EQ(out->bufsize, head->copied);
	for (i = 0; i < head->copied; i++)
		ASSERT_EQ(0, ((unsigned char *)(head + 1))[i]);
	EXPECT_EQ(0, end_ack(dead, ticket, token));
}

TEST_HARNESS_MAIN
