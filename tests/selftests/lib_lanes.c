// SPDX-License-Identifier: MIT
/* Description: classes of a stage: reserved room, order, one sleep for all of them, deaths */
#include <sluice/lanes.h>

#include "lib_common.h"

#define N_STORM	400u		/* messages of each lane */

static const char *const classes[] = { "high" };

FIXTURE(lanes)
{
	char stage[SLUICE_NAME_MAX];
	struct sluice_ctx *ctx, *other;
	struct sluice_lanes *in;
	struct sluice_ep *high, *low;
};

FIXTURE_VARIANT(lanes)
{
	unsigned int ctx_flags;
};

FIXTURE_VARIANT_ADD(lanes, uring) { .ctx_flags = SLUICE_CTX_NO_SPIN };
FIXTURE_VARIANT_ADD(lanes, uring_spin) { };
FIXTURE_VARIANT_ADD(lanes, poll) { .ctx_flags = SLUICE_CTX_NO_URING | SLUICE_CTX_NO_SPIN };

/* The kernel's timer wakes who sleeps over a message only after a fourth of the timeout. */
static int make_lanes(char *stage)
{
	static const struct sluice_lane high = { .name = "high", .nbufs = 2 };
	struct sluice_create c = {
		.nslots = NSLOTS, .nbufs = 4, .bufsize = 4096, .ack_timeout_ms = 1000000,
	};
	static int n;

	snprintf(c.name, sizeof(c.name), "test.%d.%d", getpid(), n++);
	strcpy(stage, c.name);
	return sluice_lanes_create(&c, &high, 1);
}

FIXTURE_SETUP(lanes)
{
	ASSERT_EQ(0, make_lanes(self->stage)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &self->ctx));
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &self->other));
	ASSERT_EQ(!(variant->ctx_flags & SLUICE_CTX_NO_URING), sluice_ctx_uses_uring(self->ctx));
	ASSERT_EQ(0, sluice_lanes_attach(self->ctx, self->stage, classes, 1, &self->in))
		TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_lane_attach(self->other, self->stage, "high", 0, &self->high));
	ASSERT_EQ(0, sluice_lane_attach(self->other, self->stage, NULL, 0, &self->low));
}

FIXTURE_TEARDOWN(lanes)
{
	sluice_lanes_detach(self->in);
	sluice_ctx_destroy(self->ctx);
	sluice_ctx_destroy(self->other);
	EXPECT_EQ(0, sluice_lanes_destroy(self->stage, classes, 1, 0, SLUICE_DESTROY_FORCE))
		TH_LOG("%s", sluice_error());
}

static int send_number(struct sluice_ep *out, uint64_t n)
{
	struct sluice_msg m = text("x");

	m.counter = n;
	return sluice_send(out, &m, SLUICE_NOW);
}

/* The lane of the next message, which is acknowledged where it came from. */
static int take(struct sluice_lanes *in, struct sluice_msg *m, int64_t timeout)
{
	struct sluice_ep *from = NULL;
	int lane = sluice_lanes_claim(in, m, &from, timeout);
	int err = lane < 0 ? 0 : sluice_ack(from, m);

	return err ? err : lane;
}

/* A flood of the low class takes nothing of what is the high one's. */
TEST_F(lanes, room_is_reserved)
{
	struct sluice_buffer buf;
	struct sluice_msg m;
	unsigned int i;

	for (i = 0; i < NSLOTS; i++)
		ASSERT_EQ(0, send_number(self->low, i));
	EXPECT_EQ(-EAGAIN, send_number(self->low, i));
	while (!sluice_buffer_take(self->low, &buf, SLUICE_NOW))
		;
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, sluice_buffer_take(self->high, &buf, SLUICE_NOW));
	EXPECT_EQ(-EAGAIN, sluice_buffer_take(self->high, &buf, SLUICE_NOW));
	for (i = 0; i < NSLOTS; i++)
		ASSERT_EQ(0, send_number(self->high, i));
	for (i = 0; i < SLUICE_LANES_BOUND; i++) {
		ASSERT_EQ(0, take(self->in, &m, SLUICE_NOW));
		EXPECT_EQ(i, m.counter);
	}
}

/* Whatever the high class sends, the low one has its share. */
TEST_F(lanes, nobody_starves)
{
	unsigned int i, high = 0, low = 0;
	struct sluice_msg m;

	ASSERT_EQ(0, sluice_lanes_bound(self->in, 1, 3));
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, send_number(self->low, i));
		ASSERT_EQ(0, send_number(self->high, i));
	}
	for (i = 0; i < 40; i++) {
		int lane = take(self->in, &m, SLUICE_NOW);

		ASSERT_GE(lane, 0);
		EXPECT_EQ(i % 4 == 3, lane) TH_LOG("claim %u", i);
		if (lane) {
			EXPECT_EQ(low++, m.counter);
		} else {
			ASSERT_EQ(0, send_number(self->high, 10 + high++));
		}
	}
	EXPECT_EQ(10, low);
}

/* A child of its own endpoints; @seed 0: one after the other, as slowly as it gets to sleep. */
static pid_t sender(const char *stage, unsigned int ctx_flags, const char *class_name,
		    unsigned int n, unsigned int seed)
{
	pid_t pid = fork();
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	unsigned int i;

	if (pid)
		return pid;
	CHILD_EXPECT(!sluice_ctx_create(ctx_flags, &ctx));
	CHILD_EXPECT(!sluice_lane_attach(ctx, stage, class_name, 0, &out));
	for (i = 0; i < n; i++) {
		struct sluice_msg m = text("late");
		struct timespec ts = { .tv_nsec = seed ? rand_r(&seed) % 300000 : 5 * MS };

		nanosleep(&ts, NULL);
		m.counter = i;
		CHILD_EXPECT(!sluice_send(out, &m, 60 * SECOND));
	}
	sluice_ctx_destroy(ctx);
	_exit(0);
}

/* Asleep for both at once, it is woken by either, and sleeps at all. */
TEST_F(lanes, either_wakes)
{
	struct sluice_msg m;
	unsigned int i, k;
	pid_t pid;

	for (k = 0; k < 4; k++) {
		pid = sender(self->stage, variant->ctx_flags, k % 2 ? NULL : "high", 10, 0);
		for (i = 0; i < 10; i++) {
			ASSERT_EQ(k % 2, take(self->in, &m, 20 * SECOND))
				TH_LOG("%s", sluice_error());
			EXPECT_EQ(i, m.counter);
		}
		EXPECT_EQ(0, child_status(pid));
	}
	for (i = 0; i < 2; i++)
		EXPECT_GT(sluice_counters(sluice_lanes_ep(self->in, i))->sleeps, 0);
}

/*
 * Two senders at random moments, most of them while this one falls asleep or wakes. A wake-up that
 * is lost is the timer's 250 seconds later.
 */
TEST_F_TIMEOUT(lanes, no_wake_up_is_lost, 240)
{
	unsigned int seen[2] = { 0, 0 }, seed = (unsigned int)now_ns() | 1;
	struct sluice_msg m;
	pid_t pid[2];

	printf("# seed %u\n", seed);
	pid[0] = sender(self->stage, variant->ctx_flags, "high", N_STORM, seed);
	pid[1] = sender(self->stage, variant->ctx_flags, NULL, N_STORM, seed + 2);
	while (seen[0] + seen[1] < 2 * N_STORM) {
		int lane = take(self->in, &m, 60 * SECOND);

		ASSERT_GE(lane, 0) TH_LOG("after %u and %u: %s", seen[0], seen[1], sluice_error());
		EXPECT_EQ(seen[lane], m.counter);
		seen[lane]++;
	}
	EXPECT_EQ(0, child_status(pid[0]));
	EXPECT_EQ(0, child_status(pid[1]));
	EXPECT_EQ(-EAGAIN, take(self->in, &m, SLUICE_NOW));
}

/* What a killed consumer had of each lane comes to one that sleeps for both. */
TEST_F(lanes, killed_consumer)
{
	unsigned int i, seen[2] = { 0, 0 };
	struct sluice_msg m;
	pid_t pid = fork();

	if (!pid) {
		struct sluice_lanes *in;
		struct sluice_ctx *ctx;
		struct sluice_ep *from;

		CHILD_EXPECT(!sluice_ctx_create(variant->ctx_flags, &ctx));
		CHILD_EXPECT(!sluice_lanes_attach(ctx, self->stage, classes, 1, &in));
		for (i = 0; i < 2; i++)
			CHILD_EXPECT(sluice_lanes_claim(in, &m, &from, 20 * SECOND) >= 0);
		sleep_ms(100);
		raise(SIGKILL);
	}
	for (i = 0; i < 2; i++) {
		struct sluice_info info = { 0 };

		/* not ours before it is the child's */
		ASSERT_EQ(0, send_number(i ? self->low : self->high, 7));
		for (unsigned int ms = 0; ms < 20000 && !info.claimed; ms++) {
			char name[SLUICE_NAME_MAX];

			ASSERT_EQ(0, sluice_lane_name(name, self->stage, i ? NULL : "high"));
			ASSERT_EQ(0, sluice_info(name, &info));
			sleep_ms(1);
		}
		ASSERT_EQ(1, info.claimed);
	}
	for (i = 0; i < 2; i++) {
		int lane = take(self->in, &m, 20 * SECOND);

		ASSERT_GE(lane, 0) TH_LOG("%s", sluice_error());
		EXPECT_EQ(2, m.attempt);
		seen[lane]++;
	}
	EXPECT_EQ(1, seen[0]);
	EXPECT_EQ(1, seen[1]);
	EXPECT_EQ(256 + SIGKILL, child_status(pid));
}

TEST_F(lanes, times_out_and_is_interrupted)
{
	uint64_t start = now_ns();
	struct sluice_msg m;
	int i;

	for (i = 1; i <= 3; i++) {
		EXPECT_EQ(-EAGAIN, take(self->in, &m, 30 * MS));
		EXPECT_GE(now_ns() - start, i * 30 * MS - MS);
	}
	EXPECT_NE(NULL, strstr(sluice_error(), "nothing to claim"));
	sluice_interrupt(self->ctx);
	EXPECT_EQ(-EINTR, take(self->in, &m, SLUICE_FOREVER));
	ASSERT_EQ(0, send_number(self->low, 3));
	EXPECT_EQ(1, take(self->in, &m, SLUICE_FOREVER));
	sluice_interrupt_clear(self->ctx);
	EXPECT_EQ(-EAGAIN, take(self->in, &m, 5 * MS));
}

/* Who has nothing to do sleeps, once. */
TEST_F(lanes, sleeps_on)
{
	const struct sluice_counters *count = sluice_counters(sluice_lanes_ep(self->in, 0));
	struct sluice_msg m;
	uint64_t before;

	EXPECT_EQ(-EAGAIN, take(self->in, &m, 10 * MS));
	before = count->sleeps;
	EXPECT_EQ(-EAGAIN, take(self->in, &m, SECOND));
	EXPECT_LE(count->sleeps - before, 2);
}

/* One lane that is destroyed ends the sleep; what the others have comes first. */
TEST_F(lanes, destroyed)
{
	char name[SLUICE_NAME_MAX];
	struct sluice_msg m;
	pid_t pid;

	ASSERT_EQ(0, sluice_lane_name(name, self->stage, "high"));
	pid = fork();
	if (!pid) {
		sleep_ms(50);
		_exit(sluice_destroy(name, 0, SLUICE_DESTROY_FORCE) ? 1 : 0);
	}
	EXPECT_EQ(-ESHUTDOWN, take(self->in, &m, 20 * SECOND));
	EXPECT_EQ(0, child_status(pid));
	ASSERT_EQ(0, send_number(self->low, 1));
	EXPECT_EQ(1, take(self->in, &m, SECOND));
	EXPECT_EQ(-ESHUTDOWN, take(self->in, &m, SECOND));
	/* for the teardown */
	sluice_lanes_detach(self->in);
	self->in = NULL;
	EXPECT_EQ(-ENOENT,
		  sluice_lanes_destroy(self->stage, classes, 1, 0, SLUICE_DESTROY_FORCE));
	ASSERT_EQ(0, make_lanes(self->stage));
}

/* Put out of one lane while it sleeps for both: it is told, and does not die of its mappings. */
TEST_F(lanes, put_out)
{
	struct sluice_repair found;
	struct sluice_info info = { 0 };
	pid_t pid;
	int i;

	/* Alone there: the end of another would wake it, and who is awake may die of its mappings. */
	sluice_detach(self->low);
	sluice_lanes_detach(self->in);
	self->in = NULL;
	pid = fork();
	if (!pid) {
		struct sluice_lanes *in;
		struct sluice_ctx *ctx;
		struct sluice_msg m;

		CHILD_EXPECT(!sluice_ctx_create(variant->ctx_flags, &ctx));
		CHILD_EXPECT(!sluice_lanes_attach(ctx, self->stage, classes, 1, &in));
		CHILD_EXPECT(take(in, &m, SLUICE_FOREVER) == -ENOTCONN);
		sluice_lanes_detach(in);
		sluice_ctx_destroy(ctx);
		_exit(0);
	}
	for (i = 0; i < 20000 && !info.ready_sleepers; i++) {
		ASSERT_EQ(0, sluice_info(self->stage, &info));
		sleep_ms(1);
	}
	ASSERT_EQ(1, info.ready_sleepers);
	sleep_ms(100);
	ASSERT_EQ(0, sluice_repair(self->stage, &found)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(0, child_status(pid));
}

/* All lanes or none. */
TEST(created_together)
{
	static const struct sluice_lane two[] = { { .name = "high" }, { .name = "middle" } };
	static const struct sluice_lane wrong[] = { { .name = "high" }, { .name = "dead" } };
	static const char *const names[] = { "high", "middle" };
	struct sluice_create c = { .nslots = NSLOTS }, other = { .nslots = NSLOTS };
	struct sluice_info info;

	snprintf(c.name, sizeof(c.name), "test.%d.t", getpid());
	ASSERT_EQ(0, sluice_lane_name(other.name, c.name, "middle"));
	ASSERT_EQ(0, sluice_create(&other));
	EXPECT_EQ(-EEXIST, sluice_lanes_create(&c, two, 2));
	EXPECT_EQ(-ENOENT, sluice_info(c.name, &info));
	ASSERT_EQ(0, sluice_destroy(other.name, 0, 0));
	ASSERT_EQ(0, sluice_lane_name(other.name, c.name, "high"));
	EXPECT_EQ(-ENOENT, sluice_info(other.name, &info));
	EXPECT_EQ(-EINVAL, sluice_lanes_create(&c, wrong, 2));
	EXPECT_EQ(-ENOENT, sluice_info(other.name, &info));
	ASSERT_EQ(0, sluice_create(&c));
	EXPECT_EQ(-EEXIST, sluice_lanes_create(&c, two, 2));
	EXPECT_EQ(-ENOENT, sluice_info(other.name, &info));
	ASSERT_EQ(0, sluice_destroy(c.name, 0, 0));
	ASSERT_EQ(0, sluice_lanes_create(&c, two, 2));
	EXPECT_EQ(0, sluice_lanes_destroy(c.name, names, 2, 0, 0));
	EXPECT_EQ(-ENOENT, sluice_info(c.name, &info));
}

TEST_HARNESS_MAIN
