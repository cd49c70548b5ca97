// SPDX-License-Identifier: MIT
/*
 * Description: whoever falls asleep while a sole producer publishes without a fence is woken
 *
 * A stage's first sleeper is the one for whom the processors are interrupted, so there are many
 * stages; on the last one the producer says calm as often as it can. Each message is waited for
 * before the next is sent, and the timer, which finds who was forgotten, comes once a minute.
 */
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "lib_common.h"

#define STAGES		150
#define MESSAGES	6		/* on each, but for the last */
#define LAST_MS		4000		/* so long there */
#define KIND_LAST	1		/* the last message of all */
#define LATE		(10 * SECOND)
#define MINUTES		(4 * 60000)	/* ms */

struct shared {
	uint64_t attached[2];	/* stages, by the consumer and the producer */
	uint64_t got;		/* messages, of all stages */
};

static struct shared *shared;
static char stages[STAGES][SLUICE_NAME_MAX];

static uint64_t look(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void add(uint64_t *p)
{
	__atomic_fetch_add(p, 1, __ATOMIC_RELEASE);
}

static bool await(const uint64_t *p, uint64_t n)
{
	uint64_t deadline = now_ns() + LATE;

	while (look(p) < n) {
		if (now_ns() >= deadline)
			return false;
		sched_yield();
	}
	return true;
}

/* About as long as it takes to fall asleep, more or less. */
static void idle(unsigned int *seed)
{
	uint64_t end = now_ns() + (uint64_t)rand_r(seed) % 60000;

	while (now_ns() < end)
		;
}

static void produce(void)
{
	struct sluice_kick calm = { .what = SLUICE_KICK_CALM };
	struct sluice_msg m = text("x");
	unsigned int seed = 1, i, s;
	uint64_t sent = 0, end = 0;
	struct sluice_ctx *ctx;
	struct sluice_ep *out;

	CHILD_EXPECT(!sluice_ctx_create(0, &ctx));
	for (s = 0; s < STAGES; s++) {
		CHILD_EXPECT(!sluice_attach(ctx, stages[s], SLUICE_PRODUCER, SLUICE_ATTACH_SOLE,
					    &out));
		CHILD_EXPECT(sluice_hints(out)->features & SLUICE_F_FENCES);
		add(&shared->attached[1]);
		CHILD_EXPECT(await(&shared->attached[0], s + 1));
		end = now_ns() + LAST_MS * MS;
		for (i = 0; i < MESSAGES || (s == STAGES - 1 && now_ns() < end); i++) {
			idle(&seed);
			CHILD_EXPECT(!sluice_send(out, &m, SLUICE_NOW));
			CHILD_EXPECT(await(&shared->got, ++sent));
			CHILD_EXPECT(!ioctl(sluice_fd(out), SLUICE_IOC_KICK, &calm));
		}
		if (s == STAGES - 1) {
			m.kind = KIND_LAST;
			CHILD_EXPECT(!sluice_send(out, &m, SLUICE_NOW));
		}
		sluice_detach(out);
	}
	sluice_ctx_destroy(ctx);
	_exit(0);
}

/* Now it looks for a while, now it sleeps at once. */
static int claim(struct sluice_ep *in, struct sluice_msg *m, unsigned int *seed)
{
	int tries = rand_r(seed) % 2 ? rand_r(seed) % 200 : 0, ret;

	while (tries--) {
		ret = sluice_claim(in, m, SLUICE_NOW);
		if (ret != -EAGAIN)
			return ret;
	}
	return sluice_claim(in, m, LATE);
}

static void turn_on(void)
{
	FILE *f = fopen("/sys/module/sluice/parameters/asym_fence", "w");

	if (f) {
		fputs("1", f);
		fclose(f);
	}
}

TEST(nobody_is_forgotten)
{
	struct sluice_create c = { .ack_timeout_ms = MINUTES, .write_timeout_ms = MINUTES / 2 };
	unsigned int seed = 2, i, s, fenced = 0;
	struct sluice_ctx *ctx;
	struct sluice_msg m;
	struct sluice_ep *in;
	pid_t pid;

	turn_on();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	ASSERT_NE(MAP_FAILED, shared);
	for (s = 0; s < STAGES; s++)
		ASSERT_EQ(0, make_stage(stages[s], c)) TH_LOG("%s", sluice_error());
	pid = fork();
	if (!pid)
		produce();
	ASSERT_EQ(0, sluice_ctx_create(0, &ctx));
	for (s = 0; s < STAGES; s++) {
		ASSERT_EQ(0, sluice_attach(ctx, stages[s], SLUICE_CONSUMER, 0, &in));
		ASSERT_TRUE(await(&shared->attached[1], s + 1));
		EXPECT_EQ(0, sluice_hints(in)->fences);
		add(&shared->attached[0]);
		for (i = 0; i < MESSAGES || s == STAGES - 1; i++) {
			ASSERT_EQ(0, claim(in, &m, &seed))
				TH_LOG("stage %u, message %u: %s", s, i, sluice_error());
			ASSERT_EQ(0, sluice_ack(in, &m));
			add(&shared->got);
			if (m.kind == KIND_LAST)
				break;
		}
		fenced += sluice_hints(in)->fences;
		sluice_detach(in);
	}
	EXPECT_EQ(0, child_status(pid));
	EXPECT_LT(0, fenced);
	sluice_ctx_destroy(ctx);
	for (s = 0; s < STAGES; s++)
		EXPECT_EQ(0, sluice_destroy(stages[s], 0, SLUICE_DESTROY_FORCE));
}

TEST_HARNESS_MAIN
