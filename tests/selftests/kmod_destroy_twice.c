// SPDX-License-Identifier: MIT
/* Description: of two who drain a stage, one that gives up does not open it for the other */
#include "kmod_process.h"
#include "kmod_uring.h"

#define SOON	scaled(10000)
#define LONG	600000u			/* ms: ended by a signal, or by success */

FIXTURE(twice)
{
	struct ends r;
	struct child first, second;
};

FIXTURE_SETUP(twice)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.ack_timeout_ms = 1000000,
	}, 0));
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
}

FIXTURE_TEARDOWN(twice)
{
	struct sluice_info i;

	end_close(&self->r.out);
	end_close(&self->r.in);
	if (!stage_info("t", &i))
		EXPECT_EQ(0, stage_destroy("t", 0, SLUICE_DESTROY_FORCE));
}

static void on_signal(int sig)
{
	(void)sig;
}

/* Drains; its exit status is the error. */
static int destroyer(struct child *c, u32 drain_ms)
{
	struct sigaction sa = { .sa_handler = on_signal };

	if (child_start(c))
		return c->pid < 0 ? -ECHILD : 0;
	sigaction(SIGUSR1, &sa, NULL);
	say(c, 1);
	_exit(-stage_destroy("t", drain_ms, 0));
}

/* It sleeps again and again: it drains. */
static int drains(struct child *c)
{
	u64 deadline = now_ns() + SOON * MS;
	int seen = 0;

	if (hear(c) != 1)
		return -ECHILD;
	while (seen < 20 && now_ns() < deadline) {
		seen += state_of(c->pid) == 'S';
		sleep_ms(2);
	}
	return seen < 20 ? -ETIMEDOUT : 0;
}

static void expect_closed(struct __test_metadata *_metadata, struct ends *r)
{
	struct sluice_send s = send_text("y", SLUICE_SEND_ACCEPT);
	struct end other;

	EXPECT_EQ(SLUICE_CLOSED_DRAIN, sl_load(&r->in.hints->closed));
	EXPECT_EQ(-ESHUTDOWN, call(r->out.fd, SLUICE_IOC_SEND, &s));
	EXPECT_EQ(-1, write(r->out.fd, "y", 1));
	EXPECT_EQ(ESHUTDOWN, errno);
	EXPECT_EQ(-ESHUTDOWN, end_make(&other, "t", SLUICE_CONSUMER, 0));
}

static void expect_open(struct __test_metadata *_metadata, struct ends *r)
{
	EXPECT_EQ(0, sl_load(&r->in.hints->closed));
	EXPECT_EQ(0, end_take_text(&r->in, "x"));
	EXPECT_EQ(1, write(r->out.fd, "y", 1));
	EXPECT_EQ(0, end_take_text(&r->in, "y"));
	EXPECT_STATE("t", BOTH);
}

static bool has_ended(struct child *c)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOWAIT | WNOHANG) || info.si_pid;
}

/* Its exit status, before long. */
static int ended(struct child *c)
{
	u64 deadline = now_ns() + SOON * MS;

	while (!has_ended(c) && now_ns() < deadline)
		sleep_ms(1);
	if (has_ended(c))
		return child_wait(c);
	child_kill(c);
	return -ETIMEDOUT;
}

static int interrupt(struct child *c)
{
	kill(c->pid, SIGUSR1);
	return ended(c) == EINTR ? 0 : -ECHILD;
}

/* The first is interrupted; the second goes on, and gets it. */
TEST_F_TIMEOUT(twice, first_interrupted, 300)
{
	struct sluice_info i;

	ASSERT_EQ(0, destroyer(&self->first, LONG));
	ASSERT_EQ(0, drains(&self->first));
	ASSERT_EQ(0, destroyer(&self->second, LONG));
	ASSERT_EQ(0, drains(&self->second));
	EXPECT_EQ(0, interrupt(&self->first));
	expect_closed(_metadata, &self->r);
	EXPECT_FALSE(has_ended(&self->second));
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
	EXPECT_EQ(0, ended(&self->second));
	EXPECT_EQ(-ENOENT, stage_info("t", &i));
}

/* The same when its time is up. */
TEST_F_TIMEOUT(twice, first_times_out, 300)
{
	struct sluice_info i;

	ASSERT_EQ(0, destroyer(&self->first, scaled(1000)));
	ASSERT_EQ(1, hear(&self->first));
	while (!sl_load(&self->r.in.hints->closed) && !has_ended(&self->first))
		sleep_ms(1);
	ASSERT_EQ(0, destroyer(&self->second, LONG));
	ASSERT_EQ(0, drains(&self->second));
	if (has_ended(&self->first))
		TH_LOG("it was slow: the first has given up before the second began");
	EXPECT_EQ(ETIMEDOUT, ended(&self->first));
	expect_closed(_metadata, &self->r);
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
	EXPECT_EQ(0, ended(&self->second));
	EXPECT_EQ(-ENOENT, stage_info("t", &i));
}

TEST_F_TIMEOUT(twice, second_interrupted, 300)
{
	ASSERT_EQ(0, destroyer(&self->first, LONG));
	ASSERT_EQ(0, drains(&self->first));
	ASSERT_EQ(0, destroyer(&self->second, LONG));
	ASSERT_EQ(0, drains(&self->second));
	EXPECT_EQ(0, interrupt(&self->second));
	expect_closed(_metadata, &self->r);
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
	EXPECT_EQ(0, ended(&self->first));
}

/* When both have given up it is as it was before. */
TEST_F_TIMEOUT(twice, both_interrupted, 300)
{
	ASSERT_EQ(0, destroyer(&self->first, LONG));
	ASSERT_EQ(0, drains(&self->first));
	ASSERT_EQ(0, destroyer(&self->second, LONG));
	ASSERT_EQ(0, drains(&self->second));
	EXPECT_EQ(0, interrupt(&self->first));
	expect_closed(_metadata, &self->r);
	EXPECT_EQ(0, interrupt(&self->second));
	expect_open(_metadata, &self->r);
}

/* Both have success, but only one of them destroys it. */
TEST_F_TIMEOUT(twice, both_succeed, 300)
{
	struct sluice_info i;
	int a, b;

	ASSERT_EQ(0, destroyer(&self->first, LONG));
	ASSERT_EQ(0, drains(&self->first));
	ASSERT_EQ(0, destroyer(&self->second, LONG));
	ASSERT_EQ(0, drains(&self->second));
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
	a = ended(&self->first);
	b = ended(&self->second);
	EXPECT_TRUE((!a && b == ENOENT) || (a == ENOENT && !b)) TH_LOG("%d and %d", a, b);
	EXPECT_EQ(-ENOENT, stage_info("t", &i));
}

TEST_HARNESS_MAIN
