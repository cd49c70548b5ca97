// SPDX-License-Identifier: MIT
/* Description: a batch waits for more, no longer than it was told; a run wakes its reader once */
#include <sys/time.h>

#include "lib_ring.h"

#include <sluice/batch.h>

#define LONG_TIME	(600 * SECOND)	/* so long that only what is tested can end it */

static struct sluice_ctx *interrupted_ctx;

static void on_alarm(int signal)
{
	sluice_interrupt(interrupted_ctx);
}

/* Sends @n messages, one at a time, with pauses in which a batch that does not wait would end. */
static pid_t trickle(const char *stage, unsigned int ctx_flags, unsigned int n)
{
	pid_t pid = fork();
	struct sluice_ctx *ctx;
	struct sluice_ep *out;

	if (pid)
		return pid;
	CHILD_EXPECT(!sluice_ctx_create(ctx_flags, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_PRODUCER, 0, &out));
	for (unsigned int i = 0; i < n; i++) {
		struct sluice_msg m = text("trickle");

		sleep_ms(5);
		m.counter = i;
		CHILD_EXPECT(!sluice_send(out, &m, 20 * SECOND));
	}
	sluice_ctx_destroy(ctx);
	_exit(0);
}

/* Full: it returns although it could wait for much longer. */
TEST_F(ring, claim_until_full)
{
	struct sluice_msg m[6];
	pid_t pid;

	sluice_detach(self->out);
	pid = trickle(self->stage, variant->ctx_flags, 7);
	ASSERT_EQ(6, sluice_batch_claim(self->in, m, 6, LONG_TIME, LONG_TIME));
	for (unsigned int i = 0; i < 6; i++)
		EXPECT_EQ(i, m[i].counter);
	EXPECT_EQ(6, sluice_ack_batch(self->in, m, 6));
	ASSERT_EQ(1, sluice_batch_claim(self->in, m, 1, LONG_TIME, LONG_TIME));
	EXPECT_EQ(6, m[0].counter);
	EXPECT_EQ(1, sluice_ack_batch(self->in, m, 1));
	EXPECT_EQ(0, child_status(pid));
}

/* Not full: it waits for the time it was told, and has what came. */
TEST_F(ring, claim_until_late)
{
	uint64_t linger = 30 * MS, begin;
	struct sluice_msg m[6];
	unsigned int i;

	for (i = 0; i < 2; i++) {
		m[0] = text("x");
		ASSERT_EQ(0, sluice_send(self->out, &m[0], SLUICE_NOW));
	}
	begin = now_ns();
	ASSERT_EQ(2, sluice_batch_claim(self->in, m, 6, SLUICE_NOW, linger));
	EXPECT_GE(now_ns() - begin, linger);
	EXPECT_EQ(2, sluice_ack_batch(self->in, m, 2));
	EXPECT_EQ(-EAGAIN, sluice_batch_claim(self->in, m, 6, MS, LONG_TIME));
}

/* A signal ends the wait for more; what was claimed is the caller's all the same. */
TEST_F(ring, claim_interrupted)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval soon = { .it_value.tv_usec = 20000 };
	struct sluice_msg m[6] = { text("x") };

	interrupted_ctx = self->other;
	ASSERT_EQ(0, sigaction(SIGALRM, &sa, NULL));
	ASSERT_EQ(0, sluice_send(self->out, &m[0], SLUICE_NOW));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &soon, NULL));
	ASSERT_EQ(1, sluice_batch_claim(self->in, m, 6, LONG_TIME, LONG_TIME));
	EXPECT_EQ(-EINTR, sluice_batch_claim(self->in, m + 1, 5, LONG_TIME, LONG_TIME));
	sluice_interrupt_clear(self->other);
	EXPECT_EQ(1, sluice_ack_batch(self->in, m, 1));
}

/* The loop of batch.h: nobody adds any more, and the message goes out all the same. */
static void forward(const char *from, const char *to, unsigned int ctx_flags)
{
	struct sluice_ctx *ctx;
	struct sluice_batch *run;
	struct sluice_ep *in, *out;
	struct sluice_msg m;
	int ret;

	CHILD_EXPECT(!sluice_ctx_create(ctx_flags, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, from, SLUICE_CONSUMER, 0, &in));
	CHILD_EXPECT(!sluice_attach(ctx, to, SLUICE_PRODUCER, 0, &out));
	CHILD_EXPECT(!sluice_batch_create(out, 32, 20 * MS, &run));
	for (;;) {
		ret = sluice_claim(in, &m, sluice_batch_deadline(run));
		if (ret == -EAGAIN) {
			CHILD_EXPECT(sluice_batch_poll(run) >= 0);
			continue;
		}
		CHILD_EXPECT(!ret);
		m.buffer = SLUICE_NO_BUFFER;
		m.flags = 0;
		CHILD_EXPECT(sluice_batch_add(run, &m) >= 0);
		CHILD_EXPECT(!sluice_ack(in, &m));
	}
}

TEST_F(ring, deadline_without_add)
{
	struct sluice_create c = { .nslots = NSLOTS };
	char last[SLUICE_NAME_MAX];
	struct sluice_ctx *ctx;
	struct sluice_ep *end;
	struct sluice_msg m;
	pid_t pid;

	ASSERT_EQ(0, make_stage(last, c));
	sluice_detach(self->in);
	pid = fork();
	if (!pid)
		forward(self->stage, last, variant->ctx_flags);
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &ctx));
	ASSERT_EQ(0, sluice_attach(ctx, last, SLUICE_CONSUMER, 0, &end));
	for (uint64_t i = 0; i < 3; i++) {
		m = text("alone");
		m.counter = i;
		ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_NOW));
		ASSERT_EQ(0, sluice_claim(end, &m, LONG_TIME)) TH_LOG("%s", sluice_error());
		EXPECT_EQ(i, m.counter);
		EXPECT_EQ(0, sluice_ack(end, &m));
	}
	kill(pid, SIGKILL);
	EXPECT_EQ(256 + SIGKILL, child_status(pid));
	sluice_ctx_destroy(ctx);
	EXPECT_EQ(0, sluice_destroy(last, 0, 0)) TH_LOG("%s", sluice_error());
}

/* One wake-up for a run, however long. */
TEST_F(ring, one_kick)
{
	struct sluice_info before, after;
	struct sluice_batch *run;
	struct sluice_msg m;
	pid_t pid;

	pid = fork();
	if (!pid) {
		struct sluice_ctx *ctx;
		struct sluice_ep *in;
		struct sluice_msg got[16];
		int n = 0, more;

		CHILD_EXPECT(!sluice_ctx_create(variant->ctx_flags | SLUICE_CTX_NO_SPIN, &ctx));
		CHILD_EXPECT(!sluice_attach(ctx, self->stage, SLUICE_CONSUMER, 0, &in));
		for (; n < 16; n += more) {
			more = sluice_claim_batch(in, got, 16, LONG_TIME);
			CHILD_EXPECT(more > 0 && sluice_ack_batch(in, got, more) == more);
		}
		sluice_ctx_destroy(ctx);
		_exit(0);
	}
	sluice_detach(self->in);
	ASSERT_EQ(0, sluice_batch_create(self->out, 16, SLUICE_LINGER_MAX, &run));
	do {	/* until it sleeps */
		sleep_ms(1);
		ASSERT_EQ(0, sluice_info(self->stage, &before));
	} while (!before.ready_sleepers);
	for (uint64_t i = 0; i < 16; i++) {
		m = text("run");
		ASSERT_EQ(i < 15 ? 0 : 16, sluice_batch_add(run, &m));
	}
	ASSERT_EQ(0, sluice_info(self->stage, &after));
	EXPECT_EQ(1, after.kicks - before.kicks);
	EXPECT_EQ(0, child_status(pid));
	sluice_batch_free(run);
}

TEST_HARNESS_MAIN
