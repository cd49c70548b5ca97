// SPDX-License-Identifier: MIT
/* Description: each policy gives messages to whom it promises, and none is lost by it */
#include <fcntl.h>

#include "lib_common.h"

#define MEMBERS	4u
#define STREAMS	200u
#define NOBODY	MEMBERS
#define TIMEOUT_MS 100u

FIXTURE(group)
{
	char stage[SLUICE_NAME_MAX];
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	struct sluice_ep *in[MEMBERS];
};

FIXTURE_SETUP(group)
{
	struct sluice_create c = {
		.nslots = 1024, .nbufs = 4, .bufsize = 4096, .queue_max = 1024,
		.ack_timeout_ms = 100000, .policy = SLUICE_POLICY_ROUND_ROBIN,
	};
	unsigned int i;

	ASSERT_EQ(0, make_stage(self->stage, c)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_ctx_create(0, &self->ctx));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, 0, &self->out));
	for (i = 0; i < MEMBERS; i++)
		ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0,
					   &self->in[i])) TH_LOG("%s", sluice_error());
}

FIXTURE_TEARDOWN(group)
{
	sluice_ctx_destroy(self->ctx);
	EXPECT_EQ(0, sluice_destroy(self->stage, 0, SLUICE_DESTROY_FORCE));
}

static int policy(FIXTURE_DATA(group) *self, enum sluice_policy p)
{
	return sluice_set_policy(self->stage, p);
}

static int send_to(struct sluice_ep *out, uint64_t stream, uint64_t counter)
{
	struct sluice_msg m = text("x");

	m.stream = stream;
	m.counter = counter;
	return sluice_send(out, &m, 30 * SECOND);
}

/* Claims and acknowledges what there is for @in; who got which stream is written to @by. */
static unsigned int drain(struct sluice_ep *in, unsigned int *by, unsigned int me)
{
	struct sluice_msg m;
	unsigned int n = 0;

	while (!sluice_claim(in, &m, SLUICE_NOW)) {
		if (by && m.stream < STREAMS)
			by[m.stream] = me;
		if (sluice_ack(in, &m))
			return 0;
		n++;
	}
	return n;
}

TEST_F(group, round_robin)
{
	struct sluice_msg m;
	unsigned int i, k;

	for (i = 0; i < 10 * MEMBERS; i++)
		ASSERT_EQ(0, send_to(self->out, 0, i));
	for (k = 0; k < MEMBERS; k++) {
		for (i = 0; i < 10; i++) {
			ASSERT_EQ(0, sluice_claim(self->in[k], &m, SLUICE_NOW));
			EXPECT_EQ(k, m.counter % MEMBERS);
			EXPECT_EQ(0, sluice_ack(self->in[k], &m));
		}
		EXPECT_EQ(-EAGAIN, sluice_claim(self->in[k], &m, SLUICE_NOW));
	}
}

static void send_streams(struct __test_metadata *_metadata, FIXTURE_DATA(group) *self)
{
	uint64_t i;

	for (i = 0; i < STREAMS; i++)
		ASSERT_EQ(0, send_to(self->out, i, 0));
}

/* Everybody takes what is for it; every stream has been seen. */
static void homes(struct __test_metadata *_metadata, FIXTURE_DATA(group) *self, unsigned int *by)
{
	unsigned int i;

	for (i = 0; i < STREAMS; i++)
		by[i] = NOBODY;
	for (i = 0; i < MEMBERS; i++)
		if (self->in[i])
			drain(self->in[i], by, i);
	for (i = 0; i < STREAMS; i++)
		ASSERT_NE(NOBODY, by[i]) TH_LOG("stream %u", i);
}

TEST_F(group, affinity)
{
	unsigned int first[STREAMS], again[STREAMS], i, share[MEMBERS] = { 0 };

	ASSERT_EQ(0, policy(self, SLUICE_POLICY_AFFINITY));
	send_streams(_metadata, self);
	homes(_metadata, self, first);
	send_streams(_metadata, self);
	homes(_metadata, self, again);
	for (i = 0; i < STREAMS; i++) {
		EXPECT_EQ(first[i], again[i]);
		share[first[i]]++;
	}
	/* a binomial share of 200 / 4 is outside of this once in 10^5 */
	for (i = 0; i < MEMBERS; i++)
		EXPECT_TRUE(share[i] > 22 && share[i] < 78) TH_LOG("%u of member %u", share[i], i);
}

/* A death moves the streams of the dead and no others, even those that are on their way to it. */
TEST_F(group, affinity_after_a_death)
{
	unsigned int first[STREAMS], on_the_way[STREAMS], later[STREAMS], i;

	ASSERT_EQ(0, policy(self, SLUICE_POLICY_AFFINITY));
	send_streams(_metadata, self);
	homes(_metadata, self, first);
	send_streams(_metadata, self);
	sluice_detach(self->in[1]);
	self->in[1] = NULL;
	homes(_metadata, self, on_the_way);
	send_streams(_metadata, self);
	homes(_metadata, self, later);
	for (i = 0; i < STREAMS; i++) {
		if (first[i] != 1)
			EXPECT_EQ(first[i], on_the_way[i]) TH_LOG("stream %u", i);
		EXPECT_EQ(on_the_way[i], later[i]) TH_LOG("stream %u", i);
	}
	/* who comes takes only what is its own from now on */
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0, &self->in[1]));
	send_streams(_metadata, self);
	homes(_metadata, self, first);
	for (i = 0; i < STREAMS; i++)
		if (first[i] != 1)
			EXPECT_EQ(later[i], first[i]) TH_LOG("stream %u", i);
}

TEST_F(group, least_outstanding)
{
	struct sluice_msg m[8], other;
	unsigned int i, n;

	ASSERT_EQ(0, policy(self, SLUICE_POLICY_LEAST_OUTSTANDING));
	/* two each; the first one keeps its two, the others give theirs back at once */
	for (i = 0; i < 2 * MEMBERS; i++)
		ASSERT_EQ(0, send_to(self->out, 0, i));
	ASSERT_EQ(2, sluice_claim_batch(self->in[0], m, 8, SLUICE_NOW));
	for (i = 1; i < MEMBERS; i++)
		ASSERT_EQ(2, drain(self->in[i], NULL, i));
	/* so the next three are for the others, and of two more rounds too */
	for (n = 0; n < 3; n++) {
		for (i = 1; i < MEMBERS; i++)
			ASSERT_EQ(0, send_to(self->out, 0, i));
		EXPECT_EQ(-EAGAIN, sluice_claim(self->in[0], &other, SLUICE_NOW));
		for (i = 1; i < MEMBERS; i++)
			EXPECT_EQ(1, drain(self->in[i], NULL, i)) TH_LOG("member %u", i);
	}
	ASSERT_EQ(2, sluice_ack_batch(self->in[0], m, 2));
	for (i = 0; i < MEMBERS; i++)
		ASSERT_EQ(0, send_to(self->out, 0, i));
	for (i = 0; i < MEMBERS; i++)
		EXPECT_EQ(1, drain(self->in[i], NULL, i)) TH_LOG("member %u", i);
}

/* Sleeps until there is something for it, then works for @ms on each message. */
static pid_t worker(const char *stage, unsigned int ms)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	struct sluice_msg m;
	pid_t pid = fork();

	if (pid)
		return pid;
	CHILD_EXPECT(!sluice_ctx_create(SLUICE_CTX_NO_SPIN, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_CONSUMER, 0, &in));
	for (;;) {
		CHILD_EXPECT(!sluice_claim(in, &m, SLUICE_FOREVER));
		sleep_ms(ms);
		CHILD_EXPECT(!sluice_ack(in, &m));
	}
}

static uint32_t consumers(const char *stage)
{
	struct sluice_info info;

	return sluice_info(stage, &info) ? 0 : info.consumers;
}

static uint64_t acked(const char *stage)
{
	struct sluice_info info;

	return sluice_info(stage, &info) ? 0 : info.acked;
}

static uint64_t acked_by(const char *stage, pid_t pid)
{
	struct sluice_endpoint_info info = { .index = 0 };

	for (; !sluice_endpoint(stage, &info); info.index++)
		if (info.pid == (uint32_t)pid)
			return info.counters.acked;
	return 0;
}

/* Sends @n, a few under way at a time: what waits for the slow one is a wall for the next lap. */
static void send_some(struct __test_metadata *_metadata, struct sluice_ep *out, uint64_t n)
{
	const char *stage = sluice_stage_name(out);
	uint64_t end = now_ns() + 60 * SECOND, begin = acked(stage), i;

	for (i = 0; i < n; i++) {
		ASSERT_EQ(0, send_to(out, i, i));
		while (acked(stage) + 16 < begin + i && now_ns() < end)
			sleep_ms(1);
	}
	while (acked(stage) < begin + n && now_ns() < end)
		sleep_ms(1);
	EXPECT_EQ(begin + n, acked(stage));
}

/* From the start, and after another policy that gave both the same. */
static void weighted(struct __test_metadata *_metadata, struct sluice_ctx *ctx, uint64_t before,
		     uint64_t n)
{
	struct sluice_create c = {
		.policy = before ? SLUICE_POLICY_ROUND_ROBIN : SLUICE_POLICY_WEIGHTED,
	};
	uint64_t end = now_ns() + 60 * SECOND, quick, slow;
	char stage[SLUICE_NAME_MAX];
	struct sluice_ep *out;
	pid_t pid[2];

	ASSERT_EQ(0, make_stage(stage, c));
	pid[0] = worker(stage, 1);
	pid[1] = worker(stage, 8);
	while (consumers(stage) < 2 && now_ns() < end)
		sleep_ms(1);
	ASSERT_EQ(0, sluice_attach(ctx, stage, SLUICE_PRODUCER, 0, &out));
	send_some(_metadata, out, before);
	ASSERT_EQ(0, sluice_set_policy(stage, SLUICE_POLICY_WEIGHTED));
	quick = acked_by(stage, pid[0]);
	slow = acked_by(stage, pid[1]);
	EXPECT_EQ(quick, slow);
	send_some(_metadata, out, n);
	quick = acked_by(stage, pid[0]) - quick;
	slow = acked_by(stage, pid[1]) - slow;
	EXPECT_EQ(n, quick + slow);
	TH_LOG("%llu and %llu", (unsigned long long)quick, (unsigned long long)slow);
	EXPECT_GT(quick, 2 * slow);
	EXPECT_GT(slow, 1);
	kill(pid[0], SIGKILL);
	kill(pid[1], SIGKILL);
	EXPECT_EQ(256 + SIGKILL, child_status(pid[0]));
	EXPECT_EQ(256 + SIGKILL, child_status(pid[1]));
	sluice_detach(out);
	EXPECT_EQ(0, sluice_destroy(stage, 0, SLUICE_DESTROY_FORCE));
}

TEST_F_TIMEOUT(group, weighted, 120)
{
	weighted(_metadata, self->ctx, 0, 600);
}

TEST_F_TIMEOUT(group, weighted_later, 120)
{
	weighted(_metadata, self->ctx, 100, 200);
}

/* One that lives and takes nothing keeps nothing back for longer than the timeout. */
TEST_F_TIMEOUT(group, a_member_that_does_not_claim, 60)
{
	struct sluice_create c = {
		.policy = SLUICE_POLICY_ROUND_ROBIN, .ack_timeout_ms = TIMEOUT_MS,
	};
	char stage[SLUICE_NAME_MAX];
	struct sluice_ep *out, *in[2];
	struct sluice_msg m;
	unsigned int i, n;

	ASSERT_EQ(0, make_stage(stage, c));
	ASSERT_EQ(0, sluice_attach(self->ctx, stage, SLUICE_PRODUCER, 0, &out));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, sluice_attach(self->ctx, stage, SLUICE_CONSUMER, 0, &in[i]));
	for (i = 0; i < 10; i++)
		ASSERT_EQ(0, send_to(out, 0, i));
	for (n = 0; n < 10 && !sluice_claim(in[1], &m, 30 * SECOND); n++) {
		EXPECT_EQ(1, m.attempt);
		EXPECT_EQ(0, sluice_ack(in[1], &m));
	}
	EXPECT_EQ(10, n);
	sluice_detach(in[0]);
	sluice_detach(in[1]);
	sluice_detach(out);
	EXPECT_EQ(0, sluice_destroy(stage, 0, 0));
}

/* What one gives back is anybody's. */
TEST_F(group, a_failure)
{
	struct sluice_msg m;
	unsigned int i;

	for (i = 0; i < MEMBERS; i++)
		ASSERT_EQ(0, send_to(self->out, 0, i));
	ASSERT_EQ(0, sluice_claim(self->in[0], &m, SLUICE_NOW));
	ASSERT_EQ(0, sluice_nack(self->in[0], &m, EIO, 0, 0));
	ASSERT_EQ(0, sluice_claim(self->in[3], &m, SLUICE_NOW));
	EXPECT_EQ(0, m.counter);
	EXPECT_EQ(2, m.attempt);
	EXPECT_EQ(0, sluice_ack(self->in[3], &m));
}

/* The policy changes all the time, members come and go: every message arrives once. */
TEST_F_TIMEOUT(group, changes_at_run_time, 120)
{
	unsigned int i, n = 0, seen[2000] = { 0 };
	struct sluice_msg m;
	unsigned int k;

	for (i = 0; i < 2000; i++) {
		if (i % 7 == 0)
			ASSERT_EQ(0, policy(self, (enum sluice_policy)(i / 7 % SLUICE_POLICY_BROADCAST)));
		ASSERT_EQ(0, send_to(self->out, i % 31, i));
		if (i % 50 == 49) {
			sluice_detach(self->in[i / 50 % MEMBERS]);
			ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0,
						   &self->in[i / 50 % MEMBERS]));
		}
		if (i % 3)
			continue;
		for (k = 0; k < MEMBERS; k++) {
			if (sluice_claim(self->in[k], &m, SLUICE_NOW))
				continue;
			seen[m.counter]++;
			ASSERT_EQ(0, sluice_ack(self->in[k], &m));
			n++;
		}
	}
	for (k = 0; n < 2000 && k < 4 * MEMBERS; k++) {
		while (!sluice_claim(self->in[k % MEMBERS], &m, k < MEMBERS ? SLUICE_NOW : SECOND)) {
			seen[m.counter]++;
			ASSERT_EQ(0, sluice_ack(self->in[k % MEMBERS], &m));
			n++;
		}
	}
	for (i = 0; i < 2000; i++)
		EXPECT_EQ(1, seen[i]) TH_LOG("message %u", i);
}

/* The kernel's own ways: a message that waited in its queue, a member that only read()s. */
TEST_F(group, queue_and_read)
{
	struct sluice_msg m = text("x");
	char path[80], buf[8];
	unsigned int i, n = 0;
	int fd;

	for (i = 0; i < 1024 + 4 * MEMBERS; i++) {
		m.counter = i;
		ASSERT_LE(0, sluice_post(self->out, &m));
	}
	for (i = 0; i < MEMBERS; i++)
		n += drain(self->in[i], NULL, i);
	/* those from the queue came after some had looked */
	for (i = 0; i < MEMBERS; i++)
		n += drain(self->in[i], NULL, i);
	EXPECT_EQ(1024 + 4 * MEMBERS, n);

	snprintf(path, sizeof(path), "/dev/sluice/%s", self->stage);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(-1, read(fd, buf, sizeof(buf)));
	for (i = 0; i < 2 * (MEMBERS + 1); i++)
		ASSERT_EQ(0, send_to(self->out, 0, i));
	for (i = 0; i < MEMBERS; i++)
		EXPECT_EQ(2, drain(self->in[i], NULL, i));
	for (i = 0; i < 2; i++)
		EXPECT_EQ(1, read(fd, buf, sizeof(buf)));
	EXPECT_EQ(-1, read(fd, buf, sizeof(buf)));
	close(fd);
}

TEST_F(group, bad_arguments)
{
	struct sluice_create c = { .policy = SLUICE_POLICY_COUNT };
	char name[SLUICE_NAME_MAX];
	struct sluice_info info;
	int i;

	EXPECT_EQ(-EINVAL, make_stage(name, c));
	EXPECT_EQ(-EINVAL, policy(self, SLUICE_POLICY_COUNT));
	EXPECT_EQ(-ENOENT, sluice_set_policy("nobody", SLUICE_POLICY_SHARED));
	EXPECT_EQ(-EINVAL, sluice_policy_by_name("fastest"));
	for (i = 0; i < SLUICE_POLICY_COUNT; i++) {
		EXPECT_EQ(i, sluice_policy_by_name(sluice_policy_name((unsigned int)i)));
		if (i == SLUICE_POLICY_BROADCAST)
			continue;	/* from creation on, or never */
		EXPECT_EQ(0, policy(self, (enum sluice_policy)i));
		ASSERT_EQ(0, sluice_info(self->stage, &info));
		EXPECT_EQ(i, info.policy);
	}
}

TEST_HARNESS_MAIN
