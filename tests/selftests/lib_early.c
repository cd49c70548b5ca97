// SPDX-License-Identifier: MIT
/* Description: quick answers wake their reader early, slow ones do not, and none is lost */
#include "lib_common.h"

#define QUICK	2000u
#define SLOW	40u
#define BOUT	64u	/* the last answer of a bout is slow */
#define BOUTS	400u

/* The kind of a question: how it is to be answered. */
enum { ANSWER_QUICKLY, ANSWER_SLOWLY, ANSWER_LAST };

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

/* A child that answers until it is told to stop; then it goes on to wait without its outlet. */
static pid_t answer(char stage[2][SLUICE_NAME_MAX])
{
	pid_t pid = fork();
	struct sluice_ctx *ctx;
	struct sluice_ep *out, *in;
	struct sluice_msg m;
	bool last = false;

	if (pid)
		return pid;
	CHILD_EXPECT(!sluice_ctx_create(SLUICE_CTX_NO_SPIN, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage[0], SLUICE_CONSUMER, 0, &in));
	CHILD_EXPECT(!sluice_attach(ctx, stage[1], SLUICE_PRODUCER, 0, &out));
	sluice_defer_kicks(ctx, true);
	while (!last) {
		struct sluice_msg reply = text("answer");

		CHILD_EXPECT(!sluice_claim(in, &m, SLUICE_FOREVER));
		last = m.kind == ANSWER_LAST;
		if (m.kind == ANSWER_SLOWLY)
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

/* How often the answer's reader slept. */
static uint64_t ask(struct __test_metadata *_metadata, FIXTURE_DATA(pair) *self, uint16_t kind)
{
	const struct sluice_counters *mine = sluice_counters(self->in);
	struct sluice_msg m = text("question"), reply;
	uint64_t sleeps = mine->sleeps;

	m.kind = kind;
	m.counter = mine->messages;
	ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_FOREVER));
	ASSERT_EQ(0, sluice_claim(self->in, &reply, 60 * SECOND))
		TH_LOG("answer %llu: %s", (unsigned long long)m.counter, sluice_error());
	ASSERT_EQ(m.counter, reply.counter);
	ASSERT_EQ(0, sluice_ack(self->in, &reply));
	return mine->sleeps - sleeps;
}

/* The last question, and one more for when the child has no outlet any more. */
static void ask_no_more(struct __test_metadata *_metadata, FIXTURE_DATA(pair) *self)
{
	struct sluice_msg m = text("question");

	ask(_metadata, self, ANSWER_LAST);
	ASSERT_EQ(0, sluice_flush(self->ctx));
	sleep_ms(50);
	ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_FOREVER));
	ASSERT_EQ(0, sluice_flush(self->ctx));
}

TEST_F_TIMEOUT(pair, quick, 120)
{
	pid_t pid = answer(self->stage);
	unsigned int i;

	for (i = 0; i < QUICK; i++)
		ask(_metadata, self, ANSWER_QUICKLY);
	ask_no_more(_metadata, self);
	EXPECT_EQ(0, child_status(pid));
}

/* After quick ones, the reader of a slow answer is woken before it: it has to sleep twice. */
TEST_F_TIMEOUT(pair, before_the_answer, 120)
{
	pid_t pid = answer(self->stage);
	bool early = false;
	unsigned int i;

	for (i = 0; i < BOUTS * BOUT && !early; i++) {
		bool slow = i % BOUT == BOUT - 1;
		uint64_t sleeps = ask(_metadata, self, slow ? ANSWER_SLOWLY : ANSWER_QUICKLY);

		early = slow && sleeps > 1;
	}
	EXPECT_TRUE(early);
	ask_no_more(_metadata, self);
	EXPECT_EQ(0, child_status(pid));
}

TEST_F_TIMEOUT(pair, slow, 120)
{
	struct sluice_info info = { .size = sizeof(info) };
	pid_t pid = answer(self->stage);
	unsigned int i;

	for (i = 0; i < SLOW; i++)
		ask(_metadata, self, ANSWER_SLOWLY);
	ask_no_more(_metadata, self);
	EXPECT_EQ(0, child_status(pid));
	ASSERT_EQ(0, sluice_info(self->stage[1], &info));
	/* One for each answer; attach and detach wake, too. */
	EXPECT_LE(info.wakes, SLOW + 6);
}

TEST_HARNESS_MAIN
