// SPDX-License-Identifier: MIT
/* Description: credits: how many messages of a producer are under way, and when a credit is back */
#include <sys/mman.h>

#include <sluice/credit.h>

#include "lib_ring.h"

#define CREDITS	4u

/* Between the processes of a test. */
struct shared {
	uint64_t sent;
	uint64_t acked;		/* counted before the ACK */
};

static struct shared *map_shared(void)
{
	return mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static int credit_send(struct sluice_credit *c, uint64_t n, int64_t timeout)
{
	struct sluice_msg m = text("x");

	m.counter = n;
	return sluice_credit_send(c, &m, timeout);
}

/* A consumer in a process of its own; the rest of it is the caller's. */
static struct sluice_ep *child_consumer(const char *stage, unsigned int ctx_flags)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *in;

	CHILD_EXPECT(!sluice_ctx_create(ctx_flags, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_CONSUMER, 0, &in));
	return in;
}

/* Never more than so many are under way, however slow the consumer is; and all arrive. */
TEST_F_TIMEOUT(ring, bounds_what_is_under_way, 120)
{
	struct shared *sh = map_shared();
	struct sluice_credit *c;
	uint64_t i;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, sh);
	sluice_detach(self->in);
	pid = fork();
	if (!pid) {
		struct sluice_ep *in = child_consumer(self->stage, variant->ctx_flags);
		unsigned int seed = 1;
		struct sluice_msg m;

		for (i = 0; i < 1000; i++) {
			struct timespec ts = { .tv_nsec = rand_r(&seed) % 200000 };

			CHILD_EXPECT(!sluice_claim(in, &m, 60 * SECOND));
			CHILD_EXPECT(m.counter == i);
			if (i % 3)
				nanosleep(&ts, NULL);
			__atomic_store_n(&sh->acked, i + 1, __ATOMIC_SEQ_CST);
			CHILD_EXPECT(!sluice_ack(in, &m));
		}
		_exit(0);
	}
	ASSERT_EQ(0, sluice_credit_create(self->out, CREDITS, &c));
	for (i = 0; i < 1000; i++) {
		ASSERT_EQ(0, credit_send(c, i, 60 * SECOND)) TH_LOG("%s", sluice_error());
		EXPECT_LE(i + 1 - __atomic_load_n(&sh->acked, __ATOMIC_SEQ_CST), CREDITS);
	}
	EXPECT_EQ(0, child_status(pid));
	EXPECT_EQ(0, sluice_credit_outstanding(c));
	EXPECT_GT(sluice_counters(self->out)->sleeps, 0);
	sluice_credit_free(c);
	munmap(sh, sizeof(*sh));
	/* for the teardown */
	ASSERT_EQ(0, sluice_attach(self->other, self->stage, SLUICE_CONSUMER, 0, &self->in));
}

#define HOLDS	20u		/* older messages that are kept for a while */
#define NEWER	50u		/* newer ones meanwhile, less than the ring has room for */

/* Until the producer looks, parks or sleeps: no sleep is that short. */
static void spin_for(uint64_t ns)
{
	uint64_t end = now_ns() + ns;

	while (now_ns() < end)
		;
}

/* Acknowledged, and then the producer must have used the credit. */
static void ack_and_await(struct sluice_ep *in, const struct sluice_msg *m, struct shared *sh)
{
	uint64_t want = ++sh->acked + 2, end = now_ns() + 60 * SECOND;

	CHILD_EXPECT(!sluice_ack(in, m));
	while (__atomic_load_n(&sh->sent, __ATOMIC_SEQ_CST) < want)
		CHILD_EXPECT(now_ns() < end);
}

/*
 * The consumer keeps the older of two messages until the newer one's credit has been used, many
 * times: a producer that sleeps is woken by any ACK of its messages. One that is missed hangs both.
 */
TEST_F_TIMEOUT(ring, acks_out_of_order, 240)
{
	struct shared *sh = map_shared();
	struct sluice_credit *c;
	unsigned int i, k, seed = 1;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, sh);
	sluice_detach(self->in);
	pid = fork();
	if (!pid) {
		struct sluice_ep *in = child_consumer(self->stage, variant->ctx_flags);
		struct sluice_msg old, m;

		for (k = 0; k < HOLDS; k++) {
			CHILD_EXPECT(!sluice_claim(in, &old, 60 * SECOND));
			for (i = 0; i < NEWER; i++) {
				CHILD_EXPECT(!sluice_claim(in, &m, 60 * SECOND));
				spin_for((uint64_t)rand_r(&seed) % 120000);
				ack_and_await(in, &m, sh);
			}
			ack_and_await(in, &old, sh);
		}
		_exit(0);
	}
	ASSERT_EQ(0, sluice_credit_create(self->out, 2, &c));
	for (i = 0; i < HOLDS * (NEWER + 1) + 2; i++) {
		ASSERT_EQ(0, credit_send(c, i, 60 * SECOND)) TH_LOG("%s", sluice_error());
		__atomic_store_n(&sh->sent, i + 1, __ATOMIC_SEQ_CST);
	}
	EXPECT_EQ(0, child_status(pid));
	sluice_credit_free(c);
	munmap(sh, sizeof(*sh));
	ASSERT_EQ(0, sluice_attach(self->other, self->stage, SLUICE_CONSUMER, 0, &self->in));
}

/* A consumer that is killed gives no credit back; whoever does its work does. */
TEST_F(ring, killed_consumer)
{
	struct sluice_credit *c;
	struct sluice_msg m;
	unsigned int i;
	pid_t pid;

	ASSERT_EQ(0, sluice_credit_create(self->out, CREDITS, &c));
	pid = fork();
	if (!pid) {
		struct sluice_ep *in = child_consumer(self->stage, variant->ctx_flags);

		for (i = 0; i < CREDITS; i++)
			CHILD_EXPECT(!sluice_claim(in, &m, 60 * SECOND));
		raise(SIGKILL);
	}
	for (i = 0; i < CREDITS; i++)
		ASSERT_EQ(0, credit_send(c, i, SLUICE_NOW));
	EXPECT_EQ(256 + SIGKILL, child_status(pid));
	EXPECT_EQ(-EAGAIN, credit_send(c, i, 50 * MS));
	EXPECT_EQ(CREDITS, sluice_credit_outstanding(c));
	for (i = 0; i < CREDITS; i++) {
		ASSERT_EQ(0, sluice_claim(self->in, &m, 20 * SECOND));
		EXPECT_EQ(2, m.attempt);
		EXPECT_EQ(CREDITS - i, sluice_credit_outstanding(c));
		EXPECT_EQ(0, sluice_ack(self->in, &m));
	}
	EXPECT_EQ(0, sluice_credit_outstanding(c));
	sluice_credit_free(c);
}

/* What a dead producer had under way is delivered, and its successor has all of its credits. */
TEST_F(ring, killed_producer)
{
	struct sluice_credit *c;
	struct sluice_msg m;
	unsigned int i;
	pid_t pid;

	sluice_detach(self->out);
	pid = fork();
	if (!pid) {
		struct sluice_ctx *ctx;
		struct sluice_ep *out;

		CHILD_EXPECT(!sluice_ctx_create(variant->ctx_flags, &ctx));
		CHILD_EXPECT(!sluice_attach(ctx, self->stage, SLUICE_PRODUCER,
					    variant->attach_flags, &out));
		CHILD_EXPECT(!sluice_credit_create(out, CREDITS, &c));
		for (i = 0; i < CREDITS; i++)
			CHILD_EXPECT(!credit_send(c, i, SLUICE_NOW));
		raise(SIGKILL);
	}
	EXPECT_EQ(256 + SIGKILL, child_status(pid));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, variant->attach_flags,
				   &self->out)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_credit_create(self->out, CREDITS, &c));
	for (i = 0; i < CREDITS; i++)
		ASSERT_EQ(0, credit_send(c, CREDITS + i, SLUICE_NOW));
	EXPECT_EQ(-EAGAIN, credit_send(c, 0, SLUICE_NOW));
	for (i = 0; i < 2 * CREDITS; i++) {
		ASSERT_EQ(0, sluice_claim(self->in, &m, 20 * SECOND));
		EXPECT_EQ(i, m.counter);
		EXPECT_EQ(0, sluice_ack(self->in, &m));
	}
	sluice_credit_free(c);
}

/* A dead letter is over, too: who sleeps for a credit is told by the kernel. */
TEST_F(ring, dead_letter)
{
	struct sluice_credit *c;
	struct sluice_msg m;
	pid_t pid;

	ASSERT_EQ(0, sluice_credit_create(self->out, 1, &c));
	sluice_detach(self->in);
	pid = fork();
	if (!pid) {
		struct sluice_ep *in = child_consumer(self->stage, variant->ctx_flags);

		CHILD_EXPECT(!sluice_claim(in, &m, 60 * SECOND));
		sleep_ms(50);
		CHILD_EXPECT(!sluice_nack(in, &m, EIO, 0, SLUICE_NACK_DEAD));
		CHILD_EXPECT(!sluice_claim(in, &m, 60 * SECOND));
		CHILD_EXPECT(m.counter == 2 && !sluice_ack(in, &m));
		_exit(0);
	}
	ASSERT_EQ(0, credit_send(c, 1, SLUICE_NOW));
	EXPECT_EQ(0, credit_send(c, 2, 60 * SECOND)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(0, child_status(pid));
	sluice_credit_free(c);
	ASSERT_EQ(0, sluice_attach(self->other, self->stage, SLUICE_CONSUMER, 0, &self->in));
}

/*
 * A message in the kernel's queue keeps its credit until it is acknowledged, although nobody knows
 * its ticket. And one that the kernel could put into the ring at once.
 */
TEST_F(ring, posted)
{
	struct sluice_msg m, got;
	struct sluice_credit *c;
	unsigned int i, round, extra;

	if (variant->attach_flags & SLUICE_ATTACH_SOLE)
		SKIP(return, "the kernel queues nothing beside a sole producer");
	ASSERT_EQ(0, sluice_credit_create(self->out, 2, &c));
	for (round = 0; round < 6; round++) {
		bool over[2] = { false, false };

		extra = round % 3;
		for (i = 0; i < NSLOTS + extra; i++) {
			m = text("other");
			m.stream = 1;
			ASSERT_LE(0, sluice_post(self->out, &m));
		}
		for (i = 0; i < 2; i++) {
			m = text("own");
			m.stream = 2;
			m.counter = i;
			ASSERT_EQ(1, sluice_credit_post(c, &m)) TH_LOG("%s", sluice_error());
		}
		EXPECT_EQ(-EAGAIN, sluice_credit_post(c, &m));
		EXPECT_NE(NULL, strstr(sluice_error(), "credit"));
		for (i = 0; i < NSLOTS + extra + 2; i++) {
			ASSERT_EQ(0, sluice_claim(self->in, &got, 20 * SECOND));
			EXPECT_LE(2u - over[0] - over[1], sluice_credit_outstanding(c))
				TH_LOG("round %u, message %u", round, i);
			if (got.stream == 2)
				over[got.counter] = true;
			ASSERT_EQ(0, sluice_ack(self->in, &got));
		}
		EXPECT_TRUE(over[0] && over[1]);
		EXPECT_EQ(0, sluice_credit_outstanding(c));
	}
	sluice_credit_free(c);
}

TEST_F(ring, waits_end)
{
	struct sluice_credit *c;
	struct sluice_msg m;
	uint64_t start;
	pid_t pid;
	int i;

	ASSERT_EQ(0, sluice_credit_create(self->out, 1, &c));
	ASSERT_EQ(0, sluice_credit_wait(c, SLUICE_NOW));
	ASSERT_EQ(0, credit_send(c, 0, SLUICE_NOW));
	start = now_ns();
	for (i = 1; i <= 3; i++) {
		EXPECT_EQ(-EAGAIN, credit_send(c, 1, 30 * MS));
		EXPECT_GE(now_ns() - start, i * 30 * MS - MS);
	}
	EXPECT_EQ(-EAGAIN, sluice_credit_wait(c, 5 * MS));
	sluice_interrupt(self->ctx);
	EXPECT_EQ(-EINTR, credit_send(c, 1, SLUICE_FOREVER));
	sluice_interrupt_clear(self->ctx);
	/* a credit that is there is not waited for */
	ASSERT_EQ(0, sluice_claim(self->in, &m, SLUICE_NOW));
	ASSERT_EQ(0, sluice_ack(self->in, &m));
	EXPECT_EQ(0, sluice_credit_wait(c, SLUICE_NOW));
	ASSERT_EQ(0, credit_send(c, 1, SLUICE_NOW));
	pid = fork();
	if (!pid) {
		sleep_ms(50);
		_exit(sluice_destroy(self->stage, 0, SLUICE_DESTROY_FORCE) ? 1 : 0);
	}
	EXPECT_EQ(-ESHUTDOWN, credit_send(c, 2, 20 * SECOND));
	EXPECT_EQ(0, child_status(pid));
	sluice_credit_free(c);
	/* for the teardown */
	ASSERT_EQ(0, make_stage(self->stage, (struct sluice_create) { 0 }));
}

/* Who waits for a credit sleeps: once with io_uring, without it at most every 50 ms in the end. */
TEST_F(ring, sleeps_on)
{
	struct sluice_credit *c;
	struct sluice_msg m;
	uint64_t before;

	ASSERT_EQ(0, sluice_credit_create(self->out, 1, &c));
	ASSERT_EQ(0, credit_send(c, 0, SLUICE_NOW));
	EXPECT_EQ(-EAGAIN, sluice_credit_wait(c, 10 * MS));
	before = sluice_counters(self->out)->sleeps;
	EXPECT_EQ(-EAGAIN, sluice_credit_wait(c, SECOND));
	EXPECT_LE(sluice_counters(self->out)->sleeps - before,
		  sluice_ctx_uses_uring(self->ctx) ? 2 : 28);
	ASSERT_EQ(0, sluice_claim(self->in, &m, SLUICE_NOW));
	ASSERT_EQ(0, sluice_ack(self->in, &m));
	sluice_credit_free(c);
}

TEST_HARNESS_MAIN
