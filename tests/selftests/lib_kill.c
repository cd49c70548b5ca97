// SPDX-License-Identifier: MIT
/* Description: kill -9 of either side, at any moment, loses no message that was sent and wedges nobody */
#include <fcntl.h>
#include <sys/mman.h>

#include "lib_common.h"
#include "../history/history.h"

#define ROUNDS	40
#define PER_ROUND 300u

FIXTURE(kill9)
{
	char stage[SLUICE_NAME_MAX];
	struct sluice_ctx *ctx;
	struct history *h;	/* log 0 is the test's, 1 and 2 are the workers' */
	uint32_t *sent;		/* by round; shared */
	unsigned int seed;
};

FIXTURE_VARIANT(kill9)
{
	unsigned int ctx_flags;
	unsigned int attach_flags;
};

FIXTURE_VARIANT_ADD(kill9, uring) { };
FIXTURE_VARIANT_ADD(kill9, uring_sole) { .attach_flags = SLUICE_ATTACH_SOLE };
FIXTURE_VARIANT_ADD(kill9, poll) { .ctx_flags = SLUICE_CTX_NO_URING };

#define SENT_BYTES (ROUNDS * sizeof(uint32_t))

FIXTURE_SETUP(kill9)
{
	/* nobody's fault counts against a message here */
	struct sluice_create c = { .nbufs = 16, .bufsize = 4096, .max_attempts = 254 };
	const char *given = getenv("SLUICE_TEST_SEED");

	self->seed = given ? (unsigned int)atoi(given) : (unsigned int)now_ns();
	printf("# seed %u; again: SLUICE_TEST_SEED=%u tests/selftests/run lib_kill\n", self->seed,
	       self->seed);
	ASSERT_EQ(0, make_stage(self->stage, c)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &self->ctx));
	ASSERT_EQ(0, history_create(&self->h, NULL, 3, 1 << 15));
	self->sent = mmap(NULL, SENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			  -1, 0);
	ASSERT_NE(MAP_FAILED, self->sent);
}

FIXTURE_TEARDOWN(kill9)
{
	sluice_ctx_destroy(self->ctx);
	history_close(self->h);
	munmap(self->sent, SENT_BYTES);
	EXPECT_EQ(0, sluice_destroy(self->stage, 0, 0)) TH_LOG("%s", sluice_error());
}

static void sleep_us(unsigned int us)
{
	struct timespec ts = { .tv_nsec = us * 1000l };

	nanosleep(&ts, NULL);
}

/* Every third message goes through a buffer, so that those are reaped, too. */
static struct sluice_msg make_message(uint64_t n, char *data)
{
	return (struct sluice_msg) {
		.counter = n,
		.data = data,
		.len = n % 3 ? 8 : 1000,
		.buffer = SLUICE_NO_BUFFER,
	};
}

static void note(struct history *h, unsigned int log, enum history_what what,
		 const struct sluice_msg *m)
{
	history_add(h, log, (struct history_event) {
		.what = (uint8_t)what, .counter = m->counter, .ticket = m->ticket,
		.attempt = (uint16_t)m->attempt,
	});
}

static void note_all(struct history *h, unsigned int log, enum history_what what,
		     const struct sluice_msg *m, int n)
{
	while (n--)
		note(h, log, what, m++);
}

/* Works until it is killed. */
static void worker(const char *stage, unsigned int ctx_flags, struct history *h, unsigned int log)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	struct sluice_msg m[4];
	int n;

	CHILD_EXPECT(!sluice_ctx_create(ctx_flags, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_CONSUMER, 0, &in));
	history_add(h, log, (struct history_event) { .what = HISTORY_START, .id = sluice_id(in) });
	while ((n = sluice_claim_batch(in, m, 4, 20 * SECOND)) > 0) {
		note_all(h, log, HISTORY_DELIVERED, m, n);
		note_all(h, log, HISTORY_ACK, m, n);
		/* which of them came too late it does not say: they may have been acknowledged */
		if (sluice_ack_batch(in, m, n) == n)
			note_all(h, log, HISTORY_ACKED, m, n);
	}
	CHILD_EXPECT(n > 0);
	_exit(0);
}

/* How many were told within the time, or -1 if one of them failed. */
static int fetch(struct sluice_ctx *ctx, struct history *h, int64_t timeout)
{
	struct sluice_completion done[64];
	int n = sluice_completions(ctx, done, 64, timeout), i;

	for (i = 0; i < n; i++) {
		struct sluice_msg m = { .counter = done[i].cookie };

		if (done[i].result)
			return -1;
		note(h, 0, HISTORY_TOLD, &m);
	}
	return n;
}

/* Nothing is left, and everything that happened may happen. */
static uint64_t judge(const char *stage, struct history *h)
{
	const struct history_rules rules = { 0 };
	struct history_result found;
	struct sluice_info info;
	uint64_t left = 1, violations;

	if (!sluice_info(stage, &info))
		left = info.ready + info.claimed + info.writing + info.dead + info.queued +
		       info.buffers_used;
	history_add(h, 0, (struct history_event) { .what = HISTORY_LEFT, .value = left });
	if (history_check(h, &rules, &found))
		return 1;
	history_print(&found);
	violations = found.nfound;
	history_result_free(&found);
	return violations;
}

TEST_F_TIMEOUT(kill9, consumers, 120)
{
	char data[1000] = { 0 };
	struct sluice_ep *out;
	pid_t pid[2] = { 0, 0 };
	uint64_t sent = 0, told = 0;
	unsigned int round;
	int n, i;

	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, variant->attach_flags,
				   &out));
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < 2; i++) {
			if (!pid[i])
				pid[i] = fork();
			if (!pid[i])
				worker(self->stage, variant->ctx_flags, self->h,
				       1 + (unsigned int)i);
		}
		for (i = 0; i < 30; i++) {
			struct sluice_msg m = make_message(sent, data);

			note(self->h, 0, HISTORY_SEND, &m);
			if (!sluice_send_async(out, &m, sent))
				sent++;
			else
				note(self->h, 0, HISTORY_UNSENT, &m);
		}
		sleep_us(rand_r(&self->seed) % 3000);
		i = rand_r(&self->seed) % 2;
		history_add(self->h, 0, (struct history_event) {
			.what = HISTORY_KILL, .value = 1 + (unsigned int)i,
		});
		kill(pid[i], SIGKILL);
		EXPECT_EQ(256 + SIGKILL, child_status(pid[i]));
		pid[i] = 0;
		/* never more under way than the ring has room for */
		while (sent - told > NSLOTS - 30) {
			n = fetch(self->ctx, self->h, 20 * SECOND);
			ASSERT_GT(n, 0) TH_LOG("%s", sluice_error());
			told += (uint64_t)n;
		}
	}
	while (told < sent) {
		n = fetch(self->ctx, self->h, 20 * SECOND);
		ASSERT_GT(n, 0) TH_LOG("%llu of %llu told: %s", (unsigned long long)told,
				       (unsigned long long)sent, sluice_error());
		told += (uint64_t)n;
	}
	EXPECT_EQ(sent, told);
	EXPECT_GT(sent, ROUNDS);
	for (i = 0; i < 2; i++) {
		if (!pid[i])
			continue;
		kill(pid[i], SIGKILL);
		child_status(pid[i]);
	}
	EXPECT_EQ(0, judge(self->stage, self->h));
}

/* Sends until it is killed; *sent is how many it knows to have been sent. */
static void sender(const char *stage, unsigned int ctx_flags, unsigned int attach_flags,
		   uint64_t first, uint32_t *sent)
{
	char data[1000] = { 0 };
	struct sluice_ctx *ctx;
	struct sluice_ep *out;

	CHILD_EXPECT(!sluice_ctx_create(ctx_flags, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_PRODUCER, attach_flags, &out));
	while (*sent < PER_ROUND) {
		struct sluice_msg m = make_message(first + *sent, data);
		int ret = *sent % 2 && !attach_flags ? sluice_post(out, &m) :
						       sluice_send(out, &m, 20 * SECOND);

		CHILD_EXPECT(ret >= 0 || ret == -EAGAIN);
		if (ret >= 0)
			__atomic_store_n(sent, *sent + 1, __ATOMIC_RELEASE);
	}
	kill(getpid(), SIGKILL);
}

TEST_F_TIMEOUT(kill9, producers, 120)
{
	uint32_t *sent = self->sent;
	struct sluice_buffer buf;
	struct sluice_ep *in, *out;
	struct sluice_msg m;
	unsigned int round, i;

	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0, &in));
	for (round = 0; round < ROUNDS; round++) {
		uint64_t first = round * PER_ROUND, next = first, end;
		pid_t pid = fork();

		if (!pid)
			sender(self->stage, variant->ctx_flags, variant->attach_flags, first,
			       &sent[round]);
		end = now_ns() + (uint64_t)(rand_r(&self->seed) % 20000) * 1000;
		while (now_ns() < end && !sluice_claim(in, &m, MS)) {
			ASSERT_EQ(next, m.counter);
			next++;
			ASSERT_EQ(0, sluice_ack(in, &m));
		}
		kill(pid, SIGKILL);
		ASSERT_EQ(256 + SIGKILL, child_status(pid));
		/* one more than it knew may have gone out; none is missing, none comes twice */
		while (!sluice_claim(in, &m, 20 * MS)) {
			ASSERT_EQ(next, m.counter);
			next++;
			ASSERT_EQ(0, sluice_ack(in, &m));
		}
		EXPECT_GE(next - first, sent[round]);
		EXPECT_LE(next - first, sent[round] + 1);
	}
	/* and no buffer went with them */
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, 0, &out));
	for (i = 0; i < 16; i++)
		EXPECT_EQ(0, sluice_buffer_take(out, &buf, SLUICE_NOW))
			TH_LOG("%u: %s", i, sluice_error());
}

TEST_HARNESS_MAIN
