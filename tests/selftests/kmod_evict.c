// SPDX-License-Identifier: MIT
/* Description: who keeps a slot half-written too long is put out: its stores fault, others go on */
#include <setjmp.h>

#include "kmod_process.h"

#define TIMEOUT	scaled(200)	/* ms */
#define SOON	scaled(3000)

FIXTURE(both)
{
	struct ends r;
	struct child c;
};

static sigjmp_buf jump;

static void on_bus(int sig)
{
	siglongjmp(jump, 1);
}

/* Stores to each writable region; how many of them faulted. */
static int stores_fault(struct end *e)
{
	volatile int n = 0;

	signal(SIGBUS, on_bus);
	if (sigsetjmp(jump, 1))
		n++;
	else
		*(volatile u64 *)&e->control->tail = 99;
	if (sigsetjmp(jump, 1))
		n++;
	else
		*(volatile unsigned char *)e->payload = 99;
	if (sigsetjmp(jump, 1))
		n++;
	else
		(void)*(volatile u32 *)&e->hints->generation;
	return n;
}

/* A producer that reserves, holds a buffer, and then does nothing any more. */
static void writer(struct child *c)
{
	struct sluice_attach a;
	struct end out;
	char byte = 0;
	u32 buf;
	u64 t;

	CHILD_EXPECT(!end_make(&out, "t", SLUICE_PRODUCER, 0));
	CHILD_EXPECT(!end_take(&out, &buf));
	CHILD_EXPECT(!end_reserve(&out, &t));
	tell_and_pause(c, t);
	/* it knows nothing of its fate, until it looks */
	CHILD_EXPECT(stores_fault(&out) == 3);
	CHILD_EXPECT(end_kick(&out, SLUICE_KICK_READY) == -ENOTCONN);
	CHILD_EXPECT(map_at(out.fd, SLUICE_MMAP_HINTS, PAGE, PROT_READ) == MAP_FAILED);
	CHILD_EXPECT(write(out.fd, &byte, 1) == -1 && errno == ENOTCONN);
	CHILD_EXPECT(attach_raw(out.fd, SLUICE_PRODUCER, 0, &a) == -EALREADY);
	say(c, 2);
	end_close(&out);
	CHILD_EXPECT(!end_make(&out, "t", SLUICE_PRODUCER, 0));
	CHILD_EXPECT(!end_send(&out, "again", NULL));
	tell_and_pause(c, 3);
	_exit(0);
}

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.nbufs = 2, .bufsize = PAGE, .write_timeout_ms = TIMEOUT,
	}, 0));
	ASSERT_GE(child_start(&self->c), 0);
	if (!self->c.pid)
		writer(&self->c);
	ASSERT_EQ(0, hear(&self->c));
	ASSERT_EQ(0, end_send(&self->r.out, "behind", NULL));
	EXPECT_STATE("t", .producers = 2, .consumers = 1, .writing = 1, .ready = 1, .buffers = 1);
}

FIXTURE_TEARDOWN(both)
{
	EXPECT_EQ(0, ends_close(&self->r));
}

TEST_F(both, living)
{
	u64 start = now_ns();

	AWAIT_STATE("t", SOON, BOTH, .ready = 1, .discarded = 1, .deaths = 1, .evictions = 1);
	printf("# write_timeout of %u ms: evicted after %llu ms\n", TIMEOUT,
	       (now_ns() - start) / MS);
	EXPECT_EQ(0, end_take_text(&self->r.in, "behind"));
	EXPECT_EQ(slot_free(1), *end_word(&self->r.in, 0));
	EXPECT_EQ(2, self->r.in.control->tail);
	say(&self->c, 0);
	EXPECT_EQ(2, hear(&self->c));
	EXPECT_NE(99, self->r.in.control->tail);
	EXPECT_NE(99, self->r.in.payload[0]);
	/* and may come back as another */
	EXPECT_EQ(3, hear(&self->c));
	EXPECT_EQ(0, end_take_text(&self->r.in, "again"));
	EXPECT_EQ(0, child_end(&self->c));
	AWAIT_STATE("t", SOON, BOTH, .discarded = 1, .deaths = 2, .evictions = 1);
}

TEST_F(both, stopped)
{
	ASSERT_EQ(0, child_stop(&self->c));
	AWAIT_STATE("t", SOON, BOTH, .ready = 1, .discarded = 1, .deaths = 1, .evictions = 1);
	EXPECT_EQ(0, end_take_text(&self->r.in, "behind"));
	kill(self->c.pid, SIGCONT);
	say(&self->c, 0);
	EXPECT_EQ(2, hear(&self->c));
	EXPECT_EQ(3, hear(&self->c));
	EXPECT_EQ(0, child_end(&self->c));
}

/* Stopped and then killed: nothing is done twice. */
TEST_F(both, stopped_and_killed)
{
	ASSERT_EQ(0, child_stop(&self->c));
	AWAIT_STATE("t", SOON, BOTH, .ready = 1, .discarded = 1, .deaths = 1, .evictions = 1);
	EXPECT_EQ(0, child_kill(&self->c));
	EXPECT_STATE("t", BOTH, .ready = 1, .discarded = 1, .deaths = 1, .evictions = 1);
}

/* In time is not too late, and one that writes all the time is never. */
TEST_F(both, in_time)
{
	u64 deadline;

	EXPECT_EQ(0, child_kill(&self->c));
	EXPECT_STATE("t", BOTH, .ready = 1, .discarded = 1, .deaths = 1);
	EXPECT_EQ(0, end_take_text(&self->r.in, "behind"));
	for (deadline = now_ns() + 3 * TIMEOUT * MS; now_ns() < deadline;) {
		u64 t;

		ASSERT_EQ(0, end_reserve(&self->r.out, &t));
		sleep_ms(1);
		end_fill(&self->r.out, t, "x", 1, SLUICE_NO_BUFFER);
		ASSERT_EQ(0, end_publish(&self->r.out, t));
		ASSERT_EQ(0, end_take_text(&self->r.in, "x"));
	}
	EXPECT_STATE("t", BOTH, .discarded = 1, .deaths = 1);
}

/* Who puts itself out with threads running: their stores fault as well. */
TEST_F(both, detached)
{
	EXPECT_EQ(0, child_kill(&self->c));
	ASSERT_EQ(0, call(self->r.out.fd, SLUICE_IOC_DETACH, NULL));
	EXPECT_EQ(3, stores_fault(&self->r.out));
	EXPECT_STATE("t", .consumers = 1, .ready = 1, .discarded = 1, .deaths = 2);
	EXPECT_EQ(0, end_take_text(&self->r.in, "behind"));
	EXPECT_STATE("t", .consumers = 1, .discarded = 1, .deaths = 2);
}

TEST_HARNESS_MAIN
