// SPDX-License-Identifier: MIT
/*
 * Description: a publish and a park that cross each other leave nobody asleep (fences C and D)
 *
 * Both sides store, then look at what the other stores. Without a full fence on either side
 * both can see the old value. The window is some ten nanoseconds wide, so each round the
 * partner is steered to it: it acts a little sooner when it came too late, and later when it
 * came too soon. The module's timer, which would help a sleeper up, comes once a minute here.
 */
#include <sys/mman.h>
#include <sys/prctl.h>

#include "lib_common.h"

#define MINUTE_MS	60000u
#define LOST		(5 * SECOND)	/* who sleeps for so long beside work was not woken */
#define FULL		(~0u)		/* the partner has filled the ring */
#define RUN_NS		(3 * SECOND)
#define STEP_MIN	16u		/* ticks: a part of the window */
#define STEP_MAX	4096u

/* What both processes share: the round, the last one that the partner has finished, figures. */
struct meeting {
	unsigned int round, done, stop;
	unsigned int sooner, later;
};

/* When to act in a round: in ticks from its beginning. */
struct steering {
	uint64_t delay;
	unsigned int step;
	bool was_late;
};

FIXTURE(pair)
{
	char stage[SLUICE_NAME_MAX];
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	struct meeting *at;
};

FIXTURE_SETUP(pair)
{
	struct sluice_create c = {
		.ack_timeout_ms = 4 * MINUTE_MS, .write_timeout_ms = 2 * MINUTE_MS,
	};

	self->at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->at);
	ASSERT_EQ(0, make_stage(self->stage, c)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_ctx_create(SLUICE_CTX_NO_SPIN, &self->ctx));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0, &self->in));
}

FIXTURE_TEARDOWN(pair)
{
	sluice_ctx_destroy(self->ctx);
	EXPECT_EQ(0, sluice_destroy(self->stage, 0, SLUICE_DESTROY_FORCE));
}

static void wait_ticks(uint64_t ticks)
{
	uint64_t begun = sluice_ticks();

	while (sluice_ticks() - begun < ticks)
		;
}

/* The next round, or 0 when there are no more. */
static unsigned int next_round(struct meeting *at, unsigned int before)
{
	unsigned int round;

	do {
		if (__atomic_load_n(&at->stop, __ATOMIC_ACQUIRE))
			return 0;
		round = __atomic_load_n(&at->round, __ATOMIC_ACQUIRE);
	} while (round == before);
	return round;
}

static void await_partner(const struct meeting *at)
{
	while (__atomic_load_n(&at->done, __ATOMIC_ACQUIRE) != at->round)
		;
}

/* Larger steps as long as they go in one direction, smaller ones once it is found. */
static void steer(struct meeting *at, struct steering *s, bool late)
{
	unsigned int step = s->step + (unsigned int)rand() % STEP_MIN;

	at->sooner += late;
	at->later += !late;
	if (late == s->was_late)
		s->step = s->step < STEP_MAX ? s->step + s->step / 4 : STEP_MAX;
	else
		s->step = s->step / 2 > STEP_MIN ? s->step / 2 : STEP_MIN;
	s->was_late = late;
	if (late)
		s->delay -= s->delay > step ? step : s->delay;
	else
		s->delay += step;
}

/* As many stores as a slot has room for stand in the store buffer before the publish. */
static struct sluice_msg full_slot(void)
{
	static char bytes[SLUICE_INLINE_MAX + 1];

	memset(bytes, 'x', SLUICE_INLINE_MAX);
	return text(bytes);
}

static unsigned int sum(const struct sluice_msg *m)
{
	const unsigned char *bytes = m->data;
	unsigned int i, n = 0;

	for (i = 0; i < m->len; i++)
		n += bytes[i];
	return n;
}

/* A sole producer, whose publish is a store and no compare-and-swap. */
static pid_t publisher(const char *stage, struct meeting *at)
{
	struct sluice_msg m = full_slot();
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	unsigned int round = 0;
	struct steering steering = { .step = STEP_MIN };
	const struct sluice_hints *h;
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHILD_EXPECT(!sluice_ctx_create(SLUICE_CTX_NO_SPIN, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_PRODUCER, SLUICE_ATTACH_SOLE, &out));
	h = sluice_hints(out);
	while ((round = next_round(at, round))) {
		wait_ticks(steering.delay);
		steer(at, &steering, __atomic_load_n(&h->ready_sleepers, __ATOMIC_RELAXED));
		CHILD_EXPECT(!sluice_send(out, &m, SLUICE_NOW));
		__atomic_store_n(&at->done, round, __ATOMIC_RELEASE);
	}
	sluice_ctx_destroy(ctx);
	_exit(0);
}

TEST_F_TIMEOUT(pair, publish_and_park, 120)
{
	pid_t pid = publisher(self->stage, self->at);
	uint64_t end;
	struct sluice_msg m;

	for (end = now_ns() + RUN_NS; now_ns() < end;) {
		__atomic_store_n(&self->at->round, self->at->round + 1, __ATOMIC_RELEASE);
		ASSERT_EQ(0, sluice_claim(self->in, &m, LOST))
			TH_LOG("round %u: asleep beside a message", self->at->round);
		ASSERT_EQ(SLUICE_INLINE_MAX * 'x', sum(&m));
		ASSERT_EQ(0, sluice_ack(self->in, &m));
		await_partner(self->at);
	}
	__atomic_store_n(&self->at->stop, 1, __ATOMIC_RELEASE);
	EXPECT_EQ(0, child_status(pid));
	TH_LOG("%u rounds, %u too late and %u too soon", self->at->round, self->at->sooner,
	       self->at->later);
}

/* A producer that has the kernel keep a message, because the ring is full, again and again. */
static pid_t poster(const char *stage, struct meeting *at)
{
	struct sluice_msg m = text("x");
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	unsigned int round = 0;
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHILD_EXPECT(!sluice_ctx_create(SLUICE_CTX_NO_SPIN, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_PRODUCER, 0, &out));
	while (!sluice_send(out, &m, SLUICE_NOW))
		;
	__atomic_store_n(&at->done, FULL, __ATOMIC_RELEASE);
	while ((round = next_round(at, round))) {
		CHILD_EXPECT(sluice_post(out, &m) >= 0);
		__atomic_store_n(&at->done, round, __ATOMIC_RELEASE);
	}
	sluice_ctx_destroy(ctx);
	_exit(0);
}

static bool queue_drains(const struct sluice_hints *h)
{
	uint64_t end = now_ns() + LOST;

	while (__atomic_load_n(&h->queued, __ATOMIC_RELAXED))
		if (now_ns() > end)
			return false;
	return true;
}

TEST_F_TIMEOUT(pair, ack_and_queue, 120)
{
	const struct sluice_hints *h = sluice_hints(self->in);
	pid_t pid = poster(self->stage, self->at);
	struct steering steering = { .step = STEP_MIN };
	struct sluice_msg m;
	uint64_t end;

	while (__atomic_load_n(&self->at->done, __ATOMIC_ACQUIRE) != FULL)
		sleep_ms(1);
	for (end = now_ns() + RUN_NS; now_ns() < end;) {
		ASSERT_EQ(0, sluice_claim(self->in, &m, LOST));
		__atomic_store_n(&self->at->round, self->at->round + 1, __ATOMIC_RELEASE);
		wait_ticks(steering.delay);
		steer(self->at, &steering, __atomic_load_n(&h->queued, __ATOMIC_RELAXED));
		ASSERT_EQ(0, sluice_ack(self->in, &m));
		await_partner(self->at);
		ASSERT_TRUE(queue_drains(h))
			TH_LOG("round %u: kept by the kernel beside room", self->at->round);
	}
	__atomic_store_n(&self->at->stop, 1, __ATOMIC_RELEASE);
	EXPECT_EQ(0, child_status(pid));
	TH_LOG("%u rounds, %u too late and %u too soon", self->at->round, self->at->sooner,
	       self->at->later);
}

TEST_HARNESS_MAIN
