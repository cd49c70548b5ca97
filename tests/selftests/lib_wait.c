// SPDX-License-Identifier: MIT
/* Description: waits end when there is something, at their deadline, or when interrupted */
#include <poll.h>

#include "lib_ring.h"

#define LATE	(3 * SECOND)	/* what a busy machine may add to a time-out */

static struct sluice_ctx *interrupt_me;

static void interrupt(int sig)
{
	if (interrupt_me)
		sluice_interrupt(interrupt_me);
}

static void alarm_in(unsigned int ms, struct sluice_ctx *ctx)
{
	struct sigaction sa = { .sa_handler = interrupt, .sa_flags = SA_RESTART };
	struct itimerspec when = { .it_value = { ms / 1000, ms % 1000 * MS } };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
	timer_t timer;

	interrupt_me = ctx;
	sigaction(SIGALRM, &sa, NULL);
	timer_create(CLOCK_MONOTONIC, &ev, &timer);
	timer_settime(timer, 0, &when, NULL);
}

TEST_F(ring, claim_times_out)
{
	struct sluice_msg m;
	uint64_t start = now_ns(), took;
	int i;

	EXPECT_EQ(-EAGAIN, sluice_claim(self->in, &m, SLUICE_NOW));
	/* The second finds the command of the first still parked. */
	for (i = 1; i <= 3; i++) {
		EXPECT_EQ(-EAGAIN, sluice_claim(self->in, &m, 30 * MS));
		took = now_ns() - start;
		EXPECT_GE(took, i * 30 * MS - MS);
		EXPECT_LT(took, i * 30 * MS + LATE);
	}
}

TEST_F(ring, send_times_out)
{
	struct sluice_msg m = text("x");
	uint64_t start;
	unsigned int i;

	for (i = 0; i < NSLOTS; i++)
		ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_NOW));
	EXPECT_EQ(-EAGAIN, sluice_send(self->out, &m, SLUICE_NOW));
	EXPECT_NE(NULL, strstr(sluice_error(), "full"));
	start = now_ns();
	EXPECT_EQ(-EAGAIN, sluice_send(self->out, &m, 30 * MS));
	EXPECT_GE(now_ns() - start, 29 * MS);
	EXPECT_LT(now_ns() - start, 30 * MS + LATE);
}

/* A child of its own address space and endpoint sends after a while. */
static pid_t send_later(const char *stage, unsigned int ctx_flags, int n, unsigned int ms)
{
	pid_t pid = fork();
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	int i;

	if (pid)
		return pid;
	CHILD_EXPECT(!sluice_ctx_create(ctx_flags, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_PRODUCER, 0, &out));
	for (i = 0; i < n; i++) {
		struct sluice_msg m = text("late");

		sleep_ms(ms);
		m.counter = (uint64_t)i;
		CHILD_EXPECT(!sluice_send(out, &m, SLUICE_FOREVER));
	}
	sluice_ctx_destroy(ctx);
	_exit(0);
}

TEST_F(ring, claim_is_woken)
{
	struct sluice_msg m;
	pid_t pid;
	int i;

	/* Whoever is sole would keep the child out. */
	sluice_detach(self->out);
	pid = send_later(self->stage, variant->ctx_flags, 20, 5);
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, sluice_claim(self->in, &m, 5 * SECOND)) TH_LOG("%s", sluice_error());
		EXPECT_EQ(i, m.counter);
		EXPECT_EQ(0, sluice_ack(self->in, &m));
	}
	EXPECT_EQ(0, child_status(pid));
	EXPECT_GT(sluice_counters(self->in)->sleeps, 0);
}

static pid_t claim_later(const char *stage, unsigned int ctx_flags, unsigned int n, unsigned int ms)
{
	pid_t pid = fork();
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	struct sluice_msg m;

	if (pid)
		return pid;
	CHILD_EXPECT(!sluice_ctx_create(ctx_flags, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_CONSUMER, 0, &in));
	while (n--) {
		sleep_ms(ms);
		CHILD_EXPECT(!sluice_claim(in, &m, 5 * SECOND));
		CHILD_EXPECT(!sluice_ack(in, &m));
	}
	sluice_ctx_destroy(ctx);
	_exit(0);
}

TEST_F(ring, send_is_woken)
{
	struct sluice_msg m = text("x");
	unsigned int i;
	pid_t pid;

	sluice_detach(self->in);
	pid = claim_later(self->stage, variant->ctx_flags, NSLOTS + 20, 2);
	for (i = 0; i < NSLOTS + 20; i++)
		ASSERT_EQ(0, sluice_send(self->out, &m, 5 * SECOND)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(0, child_status(pid));
	EXPECT_GT(sluice_counters(self->out)->full, 0);
}

TEST_F(ring, buffer_is_woken)
{
	struct sluice_buffer buf;
	struct sluice_msg m = { .len = 100 };
	unsigned int i;
	pid_t pid;

	sluice_detach(self->in);
	pid = claim_later(self->stage, variant->ctx_flags, 30, 2);
	for (i = 0; i < 30; i++) {
		ASSERT_EQ(0, sluice_buffer_take(self->out, &buf, 5 * SECOND))
			TH_LOG("%s", sluice_error());
		m.buffer = buf.index;
		ASSERT_EQ(0, sluice_send(self->out, &m, 5 * SECOND)) TH_LOG("%s", sluice_error());
	}
	EXPECT_EQ(0, child_status(pid));
}

/* SA_RESTART does not make a wait go on: the caller decides. */
TEST_F(ring, signal_ends_wait)
{
	struct sluice_msg m;
	uint64_t start = now_ns();
	int i;

	for (i = 0; i < 3; i++) {
		alarm_in(30, NULL);
		EXPECT_EQ(-EINTR, sluice_claim(self->in, &m, i ? 5 * SECOND : SLUICE_FOREVER));
		EXPECT_GE(now_ns() - start, (i + 1) * 29 * MS);
	}
	EXPECT_LT(now_ns() - start, LATE);
	EXPECT_EQ(-EAGAIN, sluice_claim(self->in, &m, MS));
}

TEST_F(ring, interrupt_ends_wait)
{
	struct sluice_msg m;
	int i;

	for (i = 0; i < 3; i++) {
		alarm_in(20, self->other);
		EXPECT_EQ(-EINTR, sluice_claim(self->in, &m, 5 * SECOND));
		/* It stays so. */
		EXPECT_EQ(-EINTR, sluice_claim(self->in, &m, 5 * SECOND));
		EXPECT_EQ(-EAGAIN, sluice_claim(self->in, &m, SLUICE_NOW));
		sluice_interrupt_clear(self->other);
		EXPECT_EQ(-EAGAIN, sluice_claim(self->in, &m, 5 * MS));
	}
}

/* Before the wait as well, and a message that is there comes first. */
TEST_F(ring, interrupt_before_wait)
{
	struct sluice_msg m = text("x");

	sluice_interrupt(self->other);
	EXPECT_EQ(-EINTR, sluice_claim(self->in, &m, 5 * SECOND));
	m = text("x");
	ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_NOW));
	EXPECT_EQ(0, sluice_claim(self->in, &m, 5 * SECOND));
	EXPECT_EQ(0, sluice_ack(self->in, &m));
}

TEST_F(ring, destroy_ends_wait)
{
	struct sluice_msg m;
	pid_t pid = fork();

	if (!pid) {
		sleep_ms(50);
		_exit(sluice_destroy(self->stage, 0, SLUICE_DESTROY_FORCE) ? 1 : 0);
	}
	EXPECT_EQ(-ESHUTDOWN, sluice_claim(self->in, &m, 5 * SECOND));
	EXPECT_NE(NULL, strstr(sluice_error(), "destroyed"));
	EXPECT_EQ(0, child_status(pid));
	m = text("x");
	EXPECT_EQ(-ESHUTDOWN, sluice_send(self->out, &m, SLUICE_FOREVER));
	/* for the teardown */
	ASSERT_EQ(0, make_stage(self->stage, (struct sluice_create) { 0 }));
}

TEST_F(ring, poll_reports)
{
	struct pollfd p = { .fd = sluice_fd(self->in), .events = POLLIN };
	struct sluice_msg m = text("x");

	ASSERT_EQ(0, sluice_poll_arm(self->in)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(0, poll(&p, 1, 10));
	ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_NOW));
	EXPECT_EQ(1, poll(&p, 1, 5000));
	EXPECT_EQ(POLLIN, p.revents & (POLLIN | POLLERR | POLLHUP));
	EXPECT_EQ(1, sluice_poll_arm(self->in));
	ASSERT_EQ(0, sluice_claim(self->in, &m, SLUICE_NOW));
	ASSERT_EQ(0, sluice_ack(self->in, &m));
	EXPECT_EQ(0, sluice_poll_arm(self->in));
}

/* A deferred kick goes with the next sleep, so two that wait for each other go on. */
TEST_F(ring, deferred_kicks)
{
	struct sluice_create c = { 0 };
	char back[SLUICE_NAME_MAX];
	struct sluice_ep *in;
	struct sluice_msg m;
	pid_t pid;
	int i;

	ASSERT_EQ(0, make_stage(back, c));
	pid = fork();
	if (!pid) {
		struct sluice_ctx *ctx;
		struct sluice_ep *echo_in, *echo_out;

		CHILD_EXPECT(!sluice_ctx_create(variant->ctx_flags, &ctx));
		sluice_defer_kicks(ctx, true);
		CHILD_EXPECT(!sluice_attach(ctx, self->stage, SLUICE_CONSUMER, 0, &echo_in));
		CHILD_EXPECT(!sluice_attach(ctx, back, SLUICE_PRODUCER, variant->attach_flags,
					    &echo_out));
		for (i = 0; i < 200; i++) {
			CHILD_EXPECT(!sluice_claim(echo_in, &m, 5 * SECOND));
			CHILD_EXPECT(!sluice_ack(echo_in, &m));
			m.data = NULL;
			m.len = 0;
			CHILD_EXPECT(!sluice_send(echo_out, &m, 5 * SECOND));
		}
		sluice_ctx_destroy(ctx);
		_exit(0);
	}
	sluice_detach(self->in);
	sluice_ctx_spin_us(self->ctx, 0);
	sluice_defer_kicks(self->ctx, true);
	ASSERT_EQ(0, sluice_attach(self->ctx, back, SLUICE_CONSUMER, 0, &in));
	for (i = 0; i < 200; i++) {
		m = text("ping");
		ASSERT_EQ(0, sluice_send(self->out, &m, 5 * SECOND));
		ASSERT_EQ(0, sluice_claim(in, &m, 5 * SECOND)) TH_LOG("%d: %s", i, sluice_error());
		ASSERT_EQ(0, sluice_ack(in, &m));
	}
	EXPECT_EQ(0, child_status(pid));
	sluice_detach(in);
	EXPECT_EQ(0, sluice_destroy(back, 0, 0));
}

/* Idle costs nothing: neither time on a processor nor switches. */
TEST_F(ring, idle_uses_no_cpu)
{
	struct sluice_msg m;
	struct timespec before, after;
	int64_t used;

	EXPECT_EQ(-EAGAIN, sluice_claim(self->in, &m, 10 * MS));
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	EXPECT_EQ(-EAGAIN, sluice_claim(self->in, &m, SECOND));
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	used = (after.tv_sec - before.tv_sec) * SECOND + after.tv_nsec - before.tv_nsec;
	/* its own resolution is 10 ms in User-Mode Linux */
	EXPECT_LE(used, 20 * MS);
}

TEST_HARNESS_MAIN
