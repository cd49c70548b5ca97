// SPDX-License-Identifier: MIT
/* Description: claims of a killed consumer are READY at once, and only the first is charged */
#include "kmod_process.h"
#include "kmod_uring.h"

#define SOON	scaled(1000)

FIXTURE(both)
{
	struct ends r;
};

FIXTURE_SETUP(both)
{
	/* no tick would help within the test: it is the death that does it */
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.max_attempts = 2, .dead_slots = 64, .ack_timeout_ms = 600000,
		.write_timeout_ms = 600000,
	}, 0));
}

FIXTURE_TEARDOWN(both)
{
	EXPECT_EQ(0, ends_close(&self->r));
}

/* A child that claims @n messages and waits for its end. */
static int claimer(struct child *c, u64 n)
{
	u64 ticket, token, i;
	struct end in;

	if (child_start(c))
		return c->pid < 0 ? -1 : 0;
	CHILD_EXPECT(!end_make(&in, "t", SLUICE_CONSUMER, 0));
	for (i = 0; i < n; i++)
		CHILD_EXPECT(!end_claim(&in, &ticket, &token));
	tell_and_pause(c, n);
	_exit(0);
}

static int send_many(struct end *out, unsigned int n)
{
	char text[8];
	int err = 0;
	unsigned int i;

	for (i = 0; i < n && !err; i++) {
		snprintf(text, sizeof(text), "%u", i);
		err = end_send(out, text, NULL);
	}
	return err;
}

TEST_F(both, kill)
{
	struct end *in = &self->r.in;
	u32 generation;
	struct child c;
	u64 start;
	char text[8];
	int i;

	ASSERT_EQ(0, send_many(&self->r.out, 10));
	ASSERT_EQ(0, claimer(&c, 5));
	ASSERT_EQ(5, hear(&c));
	EXPECT_STATE("t", .producers = 1, .consumers = 2, .ready = 5, .claimed = 5);
	generation = in->hints->generation;
	start = now_ns();
	kill(c.pid, SIGKILL);
	while (sl_load(&in->hints->generation) == generation && now_ns() - start < SOON * MS)
		sched_yield();
	printf("# kill -9 with claims: redelivered after %llu us\n", (now_ns() - start) / 1000);
	EXPECT_STATE("t", BOTH, .ready = 10, .redelivered = 5, .deaths = 1);
	EXPECT_EQ(1, in->hints->consumers);
	EXPECT_EQ(256 + SIGKILL, child_wait(&c));
	for (i = 0; i < 10; i++) {
		snprintf(text, sizeof(text), "%d", i);
		EXPECT_EQ(0, end_take_text(in, text));
	}
	EXPECT_STATE("t", BOTH, .redelivered = 5, .deaths = 1);
}

/* Runs are worked in ticket order: the lowest was begun, the others are innocent. */
TEST_F(both, only_the_lowest_is_charged)
{
	struct end *in = &self->r.in;
	const struct sluice_dead_letter *head;
	struct child c;
	u64 ticket, token;
	struct end dead;
	int i;

	ASSERT_EQ(0, send_many(&self->r.out, 4));
	/* after two attempts the first is dead, then the second takes its place */
	for (i = 1; i <= 4; i++) {
		ASSERT_EQ(0, claimer(&c, (u64)(4 - (i - 1) / 2)));
		EXPECT_NE(~0ull, hear(&c));
		EXPECT_EQ(0, child_kill(&c));
		EXPECT_STATE("t", BOTH, .ready = 4 - i / 2, .deaths = i, .dead_letters = i / 2,
			     .redelivered = i == 1 ? 4 : i == 2 ? 7 : i == 3 ? 10 : 12);
	}
	ASSERT_EQ(0, end_make(&dead, "t.dead", SLUICE_CONSUMER, 0));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, end_claim(&dead, &ticket, &token));
		head = (void *)(dead.payload + end_slot(&dead, ticket)->buf * dead.bufsize);
		EXPECT_EQ(i, head->ticket);
		EXPECT_EQ(2, head->charges);
		EXPECT_EQ(EOWNERDEAD, head->reason);
		EXPECT_EQ(i ? 4 : 2, head->attempts);
		EXPECT_EQ(0, end_ack(&dead, ticket, token));
	}
	end_close(&dead);
	EXPECT_EQ(0, end_take_text(in, "2"));
	EXPECT_EQ(0, end_take_text(in, "3"));
}

/* Somebody sleeps meanwhile, in each of the ways, and hears of it. */
TEST_F(both, sleepers_hear_of_it)
{
	struct end *in = &self->r.in;
	struct io_uring ring;
	struct child c;

	ASSERT_EQ(0, send_many(&self->r.out, 1));
	ASSERT_EQ(0, claimer(&c, 1));
	ASSERT_EQ(1, hear(&c));
	ASSERT_EQ(0, io_uring_queue_init(4, &ring, 0));
	in->generation = in->hints->generation;
	command_wait(&ring, in, SLUICE_WAIT_READY, 1, 1);
	io_uring_submit(&ring);
	EXPECT_EQ(NOTHING, completion(&ring, 20, NULL));
	EXPECT_EQ(0, child_kill(&c));
	EXPECT_EQ(0, completion(&ring, SOON, NULL));
	EXPECT_EQ(0, end_take_text(in, "0"));
	io_uring_queue_exit(&ring);
}

/* One that leaves in peace is no different: it owes what it did not acknowledge. */
TEST_F(both, exit)
{
	struct child c;

	ASSERT_EQ(0, send_many(&self->r.out, 3));
	ASSERT_EQ(0, claimer(&c, 2));
	ASSERT_EQ(2, hear(&c));
	EXPECT_EQ(0, child_end(&c));
	EXPECT_STATE("t", BOTH, .ready = 3, .redelivered = 2, .deaths = 1);
}

/* Between the ACK of the slot and the buffer: the buffer comes home. */
TEST_F(both, between_slot_and_buffer)
{
	struct ends r;
	struct child c;
	u64 ticket;
	u32 buf;

	ASSERT_EQ(0, stage_create("u", (struct sluice_create) {
		.nbufs = 2, .bufsize = PAGE, .ack_timeout_ms = 600000, .write_timeout_ms = 600000,
	}));
	ASSERT_EQ(0, end_make(&r.out, "u", SLUICE_PRODUCER, 0));
	ASSERT_EQ(0, end_send_buffer(&r.out, "x", &ticket, &buf));
	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		struct end in;
		u64 t, token;

		CHILD_EXPECT(!end_make(&in, "u", SLUICE_CONSUMER, 0));
		CHILD_EXPECT(!end_claim(&in, &t, &token));
		CHILD_EXPECT(slot_ack(end_word(&in, t), token) == SLOT_OK);
		tell_and_pause(&c, 1);
		_exit(0);
	}
	ASSERT_EQ(1, hear(&c));
	EXPECT_STATE("u", BOTH, .buffers = 1);
	EXPECT_EQ(0, child_kill(&c));
	EXPECT_STATE("u", .producers = 1, .deaths = 1);
	end_close(&r.out);
	EXPECT_EQ(0, stage_destroy("u", 0, 0));
}

/* A process with threads: it is the address space that dies. */
TEST_F(both, many_at_once)
{
	struct child c[8];
	unsigned int i;

	ASSERT_EQ(0, send_many(&self->r.out, 32));
	for (i = 0; i < 8; i++) {
		ASSERT_EQ(0, claimer(&c[i], 4));
		ASSERT_EQ(4, hear(&c[i]));
	}
	EXPECT_STATE("t", .producers = 1, .consumers = 9, .claimed = 32);
	for (i = 0; i < 8; i++)
		kill(c[i].pid, SIGKILL);
	for (i = 0; i < 8; i++)
		EXPECT_EQ(256 + SIGKILL, child_wait(&c[i]));
	EXPECT_STATE("t", BOTH, .ready = 32, .redelivered = 32, .deaths = 8);
}

TEST_HARNESS_MAIN
