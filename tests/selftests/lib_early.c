// SPDX-License-Identifier: MIT
/* Description: quick answers wake their reader early, slow ones do not, and none is lost */
#include "lib_common.h"

#define QUICK	2000u
#define SLOW	40u
#define BOUT	64u	/* the last answer of a bout is slow */
#define BOUTS	20u

FIXTURE(pair)
{
	char stage[2][SLUICE_NAME_MAX];		/* there, back */
	struct sluice_ctx *ctx;
	struct sluice_ep *out, *in;
};

FIXTURE_SETUP(pair)
{
	struct sluice_create c = { 0 };

	ASSERT_EQ(0, make_stage(self->stage[0], c)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, make_stage(self->stage[1], c));
	ASSERT_EQ(0, sluice_ctx_create(SLUICE_CTX_NO_SPIN, &self->ctx));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage[0], SLUICE_PRODUCER, 0, &self->out));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage[1], SLUICE_CONSUMER, 0, &self->in));
	sluice_defer_kicks(self->ctx, true);
}

FIXTURE_TEARDOWN(pair)
{
	sluice_ctx_destroy(self->ctx);
	EXPECT_EQ(0, sluice_destroy(self->stage[0], 0, 0));
	EXPECT_EQ(0, sluice_destroy(self->stage[1], 0, 0));
}

/*
 * A child that answers @n messages, each @every'th (0: none) after 5 ms; then it goes on to wait
 * without its outlet.
 */
static pid_t answer(char stage[2][SLUICE_NAME_MAX], unsigned int n, unsigned int every)
{
	pid_t pid = fork();
	struct sluice_ctx *ctx;
	struct sluice_ep *out, *in;
	struct sluice_msg m;
	unsigned int i;

	if (pid)
		return pid;
	CHILD_EXPECT(!sluice_ctx_create(SLUICE_CTX_NO_SPIN, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage[0], SLUICE_CONSUMER, 0, &in));
	CHILD_EXPECT(!sluice_attach(ctx, stage[1], SLUICE_PRODUCER, 0, &out));
	sluice_defer_kicks(ctx, true);
	for (i = 0; i < n; i++) {
		struct sluice_msg reply = text("answer");

		CHILD_EXPECT(!sluice_claim(in, &m, SLUICE_FOREVER));
		if (every && i % every == every - 1)
			sleep_ms(5);
		reply.counter = m.counter;
		CHILD_EXPECT(!sluice_send(out, &reply, SLUICE_FOREVER));
		CHILD_EXPECT(!sluice_ack(in, &m));
	}
	CHILD_EXPECT(!sluice_flush(ctx));
	/* A wait may be parked with a wake-up of @out's reader behind it. */
	CHILD_EXPECT(sluice_claim(in, &m, 10 * MS) == -EAGAIN);
	sluice_detach(out);
	CHILD_EXPECT(!sluice_claim(in, &m, SLUICE_FOREVER));
	CHILD_EXPECT(!sluice_ack(in, &m));
	sluice_ctx_destroy(ctx);
	_exit(0);
}

static void ask_once(struct __test_metadata *_metadata, FIXTURE_DATA(pair) *self, uint64_t counter)
{
	struct sluice_msg m = text("question"), reply;

	m.counter = counter;
	ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_FOREVER));
	ASSERT_EQ(0, sluice_claim(self->in, &reply, 60 * SECOND))
		TH_LOG("answer %llu: %s", (unsigned long long)counter, sluice_error());
	ASSERT_EQ(counter, reply.counter);
	ASSERT_EQ(0, sluice_ack(self->in, &reply));
}

/* One more question, for when the child has no outlet any more. */
static void ask_no_more(struct __test_metadata *_metadata, FIXTURE_DATA(pair) *self)
{
	struct sluice_msg m = text("question");

	ASSERT_EQ(0, sluice_flush(self->ctx));
	sleep_ms(50);
	ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_FOREVER));
	ASSERT_EQ(0, sluice_flush(self->ctx));
}

TEST_F_TIMEOUT(pair, quick, 120)
{
	pid_t pid = answer(self->stage, QUICK, 0);
	unsigned int i;

	for (i = 0; i < QUICK; i++)
		ask_once(_metadata, self, i);
	ask_no_more(_metadata, self);
	EXPECT_EQ(0, child_status(pid));
}

/* After quick ones, the reader of a slow answer is woken before it: it has to sleep twice. */
TEST_F_TIMEOUT(pair, before_the_answer, 120)
{
	const struct sluice_counters *mine = sluice_counters(self->in);
	pid_t pid = answer(self->stage, BOUTS * BOUT, BOUT);
	unsigned int i, early = 0;

	for (i = 0; i < BOUTS * BOUT; i++) {
		uint64_t sleeps = mine->sleeps;

		ask_once(_metadata, self, i);
		if (i % BOUT == BOUT - 1)
			early += mine->sleeps - sleeps > 1;
	}
	ask_no_more(_metadata, self);
	EXPECT_EQ(0, child_status(pid));
	TH_LOG("%u of %u readers were woken early", early, BOUTS);
	EXPECT_GT(early, 0);
}

TEST_F_TIMEOUT(pair, slow, 120)
{
	struct sluice_info info = { .size = sizeof(info) };
	pid_t pid = answer(self->stage, SLOW, 1);
	unsigned int i;

	for (i = 0; i < SLOW; i++)
		ask_once(_metadata, self, i);
	ask_no_more(_metadata, self);
	EXPECT_EQ(0, child_status(pid));
	ASSERT_EQ(0, sluice_info(self->stage[1], &info));
	/* One for each answer; attach and detach wake, too. */
	EXPECT_LE(info.wakes, SLOW + 5);
}

TEST_HARNESS_MAIN
