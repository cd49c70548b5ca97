// SPDX-License-Identifier: MIT
/* Description: consumers die in mid-pipe; its end sees each stream in order, each message once */
#include "lib_common.h"
#include "../history/history.h"

#include <sluice/order.h>

#define ROUNDS		40u
#define STREAMS		7u
#define PER_ROUND	30u
#define POISON		41u	/* each so manieth message is refused for good */
#define FATAL		53u	/* each so manieth message kills its worker */
#define MESSAGES	(ROUNDS * PER_ROUND)
#define LONG		1000u
#define TEST_LOG	0u	/* of the history; the workers' are 1 and 2 */
#define IDLE		(200 * MS)

FIXTURE(order_kill)
{
	char first[SLUICE_NAME_MAX], last[SLUICE_NAME_MAX], dead[SLUICE_NAME_MAX];
	struct sluice_ctx *ctx;
	struct sluice_ep *out, *in, *letters;
	struct sluice_order *order;
	struct history *h;
	unsigned int seed;
	pid_t pid[2];
	uint64_t sent, told, failed, effects, gaps;
	bool shown[MESSAGES];
};

FIXTURE_VARIANT(order_kill)
{
	unsigned int ctx_flags;
	unsigned int mode;
};

FIXTURE_VARIANT_ADD(order_kill, uring) { };
FIXTURE_VARIANT_ADD(order_kill, poll) { .ctx_flags = SLUICE_CTX_NO_URING };
FIXTURE_VARIANT_ADD(order_kill, unordered) { .mode = SLUICE_ORDER_ONCE };

FIXTURE_SETUP(order_kill)
{
	struct sluice_create c = {
		.nbufs = 64, .bufsize = 4096, .max_attempts = 254, .dead_slots = 256,
	};
	const struct sluice_order_options opt = {
		.mode = variant->mode, .streams = STREAMS, .window = 2048,
	};
	const char *given = getenv("SLUICE_TEST_SEED");

	self->seed = given ? (unsigned int)atoi(given) : (unsigned int)now_ns();
	printf("# seed %u; again: SLUICE_TEST_SEED=%u tests/selftests/run lib_order_kill\n",
	       self->seed, self->seed);
	ASSERT_EQ(0, make_stage(self->first, c)) TH_LOG("%s", sluice_error());
	c.dead_slots = 0;
	ASSERT_EQ(0, make_stage(self->last, c)) TH_LOG("%s", sluice_error());
	snprintf(self->dead, sizeof(self->dead), "%.40s.dead", self->first);
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &self->ctx));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->first, SLUICE_PRODUCER, 0, &self->out));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->last, SLUICE_CONSUMER, 0, &self->in));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->dead, SLUICE_CONSUMER, 0, &self->letters));
	ASSERT_EQ(0, sluice_order_create(&opt, &self->order));
	ASSERT_EQ(0, history_create(&self->h, NULL, 3, 1 << 15));
}

FIXTURE_TEARDOWN(order_kill)
{
	sluice_order_free(self->order);
	sluice_ctx_destroy(self->ctx);
	history_close(self->h);
	EXPECT_EQ(0, sluice_destroy(self->first, 0, 0)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(0, sluice_destroy(self->last, 0, 0)) TH_LOG("%s", sluice_error());
}

/* ------------------------------------------------------------------- messages --- */

static bool poisoned(uint64_t stream, uint64_t counter)
{
	return (stream * 13 + counter) % POISON == POISON - 1;
}

/* Who gets it first dies of it, when its result is published and its input not acknowledged. */
static bool fatal(const struct sluice_msg *m)
{
	return m->attempt == 1 && (m->stream * 7 + m->counter) % FATAL == FATAL - 1;
}

/* Every third message goes through a buffer. */
static uint32_t length(uint64_t stream, uint64_t counter)
{
	return (stream + counter) % 3 ? 16 : LONG;
}

static void fill(unsigned char *data, uint64_t stream, uint64_t counter)
{
	for (uint32_t i = 0; i < length(stream, counter); i++)
		data[i] = (unsigned char)(stream * 5 + counter * 3 + i);
}

static bool is_right(const struct sluice_msg *m)
{
	unsigned char data[LONG];

	fill(data, m->stream, m->counter);
	return m->len == length(m->stream, m->counter) && !memcmp(data, m->data, m->len);
}

static void note(struct history *h, unsigned int log, enum history_what what,
		 const struct sluice_msg *m)
{
	history_add(h, log, (struct history_event) {
		.what = (uint8_t)what, .stream = m->stream, .counter = m->counter,
		.ticket = m->ticket, .attempt = (uint16_t)m->attempt,
	});
}

/* -------------------------------------------------------- in the middle of the pipe --- */

/* One message on its way, its input acknowledged after that; or refused for good. */
static void pass_on(struct sluice_ep *in, struct sluice_ep *out, struct sluice_msg *m,
		    struct history *h, unsigned int log)
{
	unsigned char data[LONG];
	struct sluice_msg result = {
		.stream = m->stream, .counter = m->counter, .data = data, .len = m->len,
		.buffer = SLUICE_NO_BUFFER,
		.flags = m->flags & (SLUICE_MSG_OPEN | SLUICE_MSG_LAST),
	};
	int ret;

	CHILD_EXPECT(m->len <= LONG);
	memcpy(data, m->data, m->len);
	if (poisoned(m->stream, m->counter)) {
		ret = sluice_nack(in, m, EILSEQ, 0, SLUICE_NACK_DEAD);
		CHILD_EXPECT(!ret || ret == -ESTALE);
		note(h, log, ret ? HISTORY_STALE : HISTORY_NACKED, m);
		return;
	}
	if (!sluice_holds(in, m))
		return;
	while ((ret = sluice_post(out, &result)) == -EAGAIN)
		sleep_ms(1);
	CHILD_EXPECT(ret >= 0);
	if (fatal(m)) {
		history_add(h, log, (struct history_event) { .what = HISTORY_KILL, .value = log });
		kill(getpid(), SIGKILL);
	}
	note(h, log, HISTORY_ACK, m);
	ret = sluice_ack(in, m);
	CHILD_EXPECT(!ret || ret == -ESTALE);
	note(h, log, ret ? HISTORY_STALE : HISTORY_ACKED, m);
}

/* Works until it is killed. Runs of several are worked in any order. */
static void worker(const char *from, const char *to, unsigned int ctx_flags, struct history *h,
		   unsigned int log)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *in, *out;
	struct sluice_msg m[4];
	int n, i;

	CHILD_EXPECT(!sluice_ctx_create(ctx_flags, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, from, SLUICE_CONSUMER, 0, &in));
	CHILD_EXPECT(!sluice_attach(ctx, to, SLUICE_PRODUCER, 0, &out));
	history_add(h, log, (struct history_event) { .what = HISTORY_START, .id = sluice_id(in) });
	while ((n = sluice_claim_batch(in, m, 4, 60 * SECOND)) > 0) {
		for (i = 0; i < n; i++)
			note(h, log, HISTORY_DELIVERED, &m[i]);
		for (i = n; i--; )
			pass_on(in, out, &m[i], h, log);
	}
	CHILD_EXPECT(n > 0);
	_exit(0);
}

static void start_workers(FIXTURE_DATA(order_kill) *self, unsigned int ctx_flags)
{
	for (unsigned int i = 0; i < 2; i++) {
		if (self->pid[i] && waitpid(self->pid[i], NULL, WNOHANG) == self->pid[i])
			self->pid[i] = 0;
		if (!self->pid[i])
			self->pid[i] = fork();
		if (!self->pid[i])
			worker(self->first, self->last, ctx_flags, self->h, 1 + i);
	}
}

static int kill_worker(FIXTURE_DATA(order_kill) *self, unsigned int i)
{
	int status;

	history_add(self->h, TEST_LOG, (struct history_event) {
		.what = HISTORY_KILL, .value = 1 + i,
	});
	kill(self->pid[i], SIGKILL);
	status = child_status(self->pid[i]);
	self->pid[i] = 0;
	return status;
}

/* ------------------------------------------------------------------ both its ends --- */

static int send_some(FIXTURE_DATA(order_kill) *self, uint64_t until)
{
	unsigned char data[LONG];
	int ret = 0;

	for (; !ret && self->sent < until; self->sent++) {
		uint64_t stream = self->sent % STREAMS, counter = self->sent / STREAMS;
		struct sluice_msg m = {
			.stream = stream, .counter = counter, .data = data,
			.len = length(stream, counter), .buffer = SLUICE_NO_BUFFER,
			.flags = (uint16_t)((counter ? 0 : SLUICE_MSG_OPEN) |
				 (self->sent + STREAMS >= MESSAGES ? SLUICE_MSG_LAST : 0)),
		};

		fill(data, stream, counter);
		note(self->h, TEST_LOG, HISTORY_SEND, &m);
		ret = sluice_send_async(self->out, &m, self->sent);
	}
	return ret;
}

static int fetch(FIXTURE_DATA(order_kill) *self, int64_t timeout)
{
	struct sluice_completion done[64];
	int n = sluice_completions(self->ctx, done, 64, timeout);

	for (int i = 0; i < n; i++) {
		struct sluice_msg m = {
			.stream = done[i].cookie % STREAMS, .counter = done[i].cookie / STREAMS,
		};

		note(self->h, TEST_LOG, done[i].result ? HISTORY_FAILED : HISTORY_TOLD, &m);
		if (done[i].result && done[i].result != -EILSEQ)
			return -1;
		self->failed += done[i].result != 0;
		self->told++;
	}
	return n;
}

/* What is ready leaves the pipe, for good. */
static int show(FIXTURE_DATA(order_kill) *self)
{
	struct sluice_delivery d;

	while (!sluice_order_next(self->order, &d)) {
		if (d.missing && (d.missing > 1 || d.reason != EILSEQ))
			return -1;
		if (!d.missing && !is_right(&d.msg))
			return -2;
		if (self->shown[d.msg.counter * STREAMS + d.msg.stream])
			return -3;
		self->shown[d.msg.counter * STREAMS + d.msg.stream] = true;
		note(self->h, TEST_LOG, d.missing ? HISTORY_GAVE_UP : HISTORY_EFFECT, &d.msg);
		self->gaps += d.missing;
		self->effects += !d.missing;
	}
	return 0;
}

/* The reason in a dead letter goes into the window in the message's stead. */
static int read_letters(FIXTURE_DATA(order_kill) *self)
{
	struct sluice_dead_letter letter;
	struct sluice_msg m;
	int ret = 0;

	while (!ret && !sluice_claim(self->letters, &m, SLUICE_NOW)) {
		memcpy(&letter, m.data, sizeof(letter));
		history_add(self->h, TEST_LOG, (struct history_event) {
			.what = HISTORY_DEAD, .stream = m.stream, .counter = m.counter,
			.ticket = letter.ticket, .attempt = (uint16_t)letter.attempts,
		});
		ret = sluice_order_dead(self->order, m.stream, m.counter, (int)letter.reason);
		sluice_ack(self->letters, &m);
		ret = ret ? ret : show(self);
	}
	return ret;
}

/* Until nothing more comes for a while. */
static int drain(FIXTURE_DATA(order_kill) *self, int64_t timeout)
{
	struct sluice_msg m;
	int ret = 0;

	while (!ret && !sluice_claim(self->in, &m, timeout)) {
		ret = sluice_order_put(self->order, self->in, &m);
		ret = ret ? ret : show(self);
	}
	return ret ? ret : read_letters(self);
}

static uint64_t left_in(const char *stage)
{
	struct sluice_info info;

	if (sluice_info(stage, &info))
		return 1;
	return info.ready + info.claimed + info.writing + info.dead + info.queued +
	       info.buffers_used;
}

static uint64_t judge(FIXTURE_DATA(order_kill) *self, unsigned int mode)
{
	/* In any order, if so it was asked: then show() alone knows of copies. */
	const struct history_rules rules = { .effects = mode == SLUICE_ORDER_STRICT ? 1 : 0 };
	struct history_result found;
	uint64_t violations;

	history_add(self->h, TEST_LOG, (struct history_event) {
		.what = HISTORY_LEFT, .value = left_in(self->first) + left_in(self->last),
	});
	if (history_check(self->h, &rules, &found))
		return 1;
	history_print(&found);
	violations = found.nfound;
	history_result_free(&found);
	return violations;
}

TEST_F_TIMEOUT(order_kill, consumers, 180)
{
	for (unsigned int round = 0; round < ROUNDS; round++) {
		start_workers(self, variant->ctx_flags);
		ASSERT_EQ(0, send_some(self, (round + 1) * PER_ROUND)) TH_LOG("%s", sluice_error());
		ASSERT_EQ(0, drain(self, rand_r(&self->seed) % 3000 * 1000));
		EXPECT_EQ(256 + SIGKILL, kill_worker(self, rand_r(&self->seed) % 2));
		while (self->sent - self->told > NSLOTS - PER_ROUND) {
			start_workers(self, variant->ctx_flags);
			ASSERT_EQ(0, drain(self, MS));
			ASSERT_GE(fetch(self, MS), 0);
		}
	}
	start_workers(self, variant->ctx_flags);
	while (self->told < self->sent || self->effects + self->gaps < self->sent) {
		ASSERT_EQ(0, drain(self, MS));
		ASSERT_GE(fetch(self, MS), 0);
	}
	/* copies that are still on their way are dropped */
	ASSERT_EQ(0, drain(self, IDLE));
	for (unsigned int i = 0; i < 2; i++)
		EXPECT_EQ(256 + SIGKILL, kill_worker(self, i));
	ASSERT_EQ(0, drain(self, IDLE));
	EXPECT_EQ(MESSAGES, self->effects + self->gaps);
	EXPECT_EQ(self->failed, self->gaps);
	EXPECT_GT(self->gaps, 0);
	EXPECT_GT(sluice_order_stats(self->order)->copies, 0);
	EXPECT_EQ(0, sluice_order_stats(self->order)->live);
	EXPECT_EQ(0, sluice_order_stats(self->order)->waiting);
	printf("# %llu effects, %llu gaps, %llu copies dropped, %llu came early\n",
	       (unsigned long long)self->effects, (unsigned long long)self->gaps,
	       (unsigned long long)sluice_order_stats(self->order)->copies,
	       (unsigned long long)sluice_order_stats(self->order)->early);
	EXPECT_EQ(0, judge(self, variant->mode));
}

TEST_HARNESS_MAIN
