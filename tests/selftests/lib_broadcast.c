// SPDX-License-Identifier: MIT
/* Description: a broadcast: everybody gets everything, once and in order; the dead and the slow hold up nobody */
#include "lib_common.h"

#define ACK_TIMEOUT_MS	1000	/* who is only slow to be scheduled is not put out */

FIXTURE(broadcast)
{
	char stage[SLUICE_NAME_MAX];
	struct sluice_ctx *ctx;
	struct sluice_ep *out, *in[3];
};

FIXTURE_VARIANT(broadcast)
{
	unsigned int ctx_flags;
};

FIXTURE_VARIANT_ADD(broadcast, uring) { };
FIXTURE_VARIANT_ADD(broadcast, poll) { .ctx_flags = SLUICE_CTX_NO_URING };

static struct sluice_create broadcast(unsigned int ack_timeout_ms)
{
	return (struct sluice_create) {
		.policy = SLUICE_POLICY_BROADCAST,
		.ack_timeout_ms = ack_timeout_ms,
		.nbufs = 2,
		.bufsize = 4096,
	};
}

FIXTURE_SETUP(broadcast)
{
	int i;

	ASSERT_EQ(0, make_stage(self->stage, broadcast(ACK_TIMEOUT_MS))) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &self->ctx));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, 0, &self->out));
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0,
					   &self->in[i])) TH_LOG("%s", sluice_error());
}

FIXTURE_TEARDOWN(broadcast)
{
	sluice_ctx_destroy(self->ctx);
	EXPECT_EQ(0, sluice_destroy(self->stage, 0, 0)) TH_LOG("%s", sluice_error());
}

static struct sluice_info info_of(const char *stage)
{
	struct sluice_info info = { 0 };

	sluice_info(stage, &info);
	return info;
}

static unsigned int unfinished(const char *stage)
{
	struct sluice_info info = info_of(stage);

	return info.ready + info.claimed + info.writing + info.dead;
}

/* Asks every ms until it is so, for 10 s. */
static bool comes_to(const char *stage, unsigned int n)
{
	int tries;

	for (tries = 0; tries < 10000 && unfinished(stage) != n; tries++)
		sleep_ms(1);
	return unfinished(stage) == n;
}

static int send_number(struct sluice_ep *out, uint64_t n)
{
	struct sluice_msg m = text("n");

	m.counter = n;
	return sluice_send(out, &m, SLUICE_NOW);
}

static int take_number(struct sluice_ep *in, uint64_t n)
{
	struct sluice_msg m;
	int ret = sluice_claim(in, &m, 5 * SECOND);

	if (ret)
		return ret;
	if (m.counter != n || m.attempt != 1)
		return -EILSEQ;
	return sluice_holds(in, &m) ? sluice_ack(in, &m) : -ESTALE;
}

TEST_F(broadcast, everybody_in_order)
{
	uint64_t n;
	int i;

	/* more than the ring has, so that slots are used again */
	for (n = 0; n < 3 * NSLOTS; n++) {
		ASSERT_EQ(0, send_number(self->out, n)) TH_LOG("%s", sluice_error());
		for (i = 0; i < 3; i++)
			ASSERT_EQ(0, take_number(self->in[i], n)) TH_LOG("%d of %d", i, (int)n);
	}
	EXPECT_EQ(0, unfinished(self->stage));
}

TEST_F(broadcast, free_after_the_last)
{
	struct sluice_msg m[3];
	uint64_t n;
	int i;

	for (n = 0; n < NSLOTS; n++)
		ASSERT_EQ(0, send_number(self->out, n));
	EXPECT_EQ(-EAGAIN, send_number(self->out, n));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, sluice_claim(self->in[i], &m[i], SLUICE_NOW));
		EXPECT_EQ(-EAGAIN, send_number(self->out, n));
	}
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(-EAGAIN, send_number(self->out, n));
		EXPECT_EQ(0, sluice_ack(self->in[2 - i], &m[2 - i]));
		EXPECT_FALSE(sluice_holds(self->in[2 - i], &m[2 - i]));
		EXPECT_EQ(-ESTALE, sluice_ack(self->in[2 - i], &m[2 - i]));
	}
	EXPECT_EQ(0, send_number(self->out, n));
}

TEST_F(broadcast, one_payload_for_all)
{
	struct sluice_buffer buf, none;
	struct sluice_msg m = { .len = 4096 }, got[3];
	int i, round;

	for (round = 0; round < 5; round++) {
		ASSERT_EQ(0, sluice_buffer_take(self->out, &buf, SLUICE_NOW));
		memset(buf.data, 'a' + round, 4096);
		m.buffer = buf.index;
		ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_NOW));
		for (i = 0; i < 3; i++) {
			ASSERT_EQ(0, sluice_claim(self->in[i], &got[i], SLUICE_NOW));
			EXPECT_EQ('a' + round, ((const char *)got[i].data)[4095]);
		}
		EXPECT_EQ(0, sluice_ack(self->in[0], &got[0]));
		EXPECT_EQ(0, sluice_ack(self->in[1], &got[1]));
		/* the second of two is free, the first still read */
		ASSERT_EQ(0, sluice_buffer_take(self->out, &buf, SLUICE_NOW));
		EXPECT_EQ(-EAGAIN, sluice_buffer_take(self->out, &none, SLUICE_NOW));
		EXPECT_EQ('a' + round, ((const char *)got[2].data)[0]);
		EXPECT_EQ(0, sluice_ack(self->in[2], &got[2]));
		EXPECT_EQ(0, sluice_buffer_take(self->out, &none, SLUICE_NOW));
		EXPECT_EQ(0, sluice_buffer_drop(self->out, &buf));
		EXPECT_EQ(0, sluice_buffer_drop(self->out, &none));
	}
}

TEST_F(broadcast, to_nobody)
{
	struct sluice_msg m = text("nobody");
	struct sluice_completion done;
	void *data;
	int i;

	for (i = 0; i < 3; i++)
		sluice_detach(self->in[i]);
	EXPECT_EQ(-ENOTCONN, sluice_send(self->out, &m, SLUICE_NOW));
	EXPECT_TRUE(strstr(sluice_error(), "nobody")) TH_LOG("%s", sluice_error());
	EXPECT_EQ(-ENOTCONN, sluice_post(self->out, &m));
	ASSERT_EQ(0, sluice_reserve(self->out, &m, &data, SLUICE_NOW));
	EXPECT_EQ(-ENOTCONN, sluice_publish(self->out, &m));
	i = sluice_send_async(self->out, &m, 1);
	if (!i) {
		ASSERT_EQ(1, sluice_completions(self->ctx, &done, 1, 5 * SECOND));
		i = done.result;
	}
	EXPECT_EQ(-ENOTCONN, i);
	EXPECT_EQ(0, unfinished(self->stage));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0, &self->in[0]));
	EXPECT_EQ(0, send_number(self->out, 7));
	EXPECT_EQ(0, take_number(self->in[0], 7));
	EXPECT_EQ(0, unfinished(self->stage));
}

TEST_F(broadcast, late_joiners)
{
	struct sluice_ep *tail, *oldest;
	uint64_t n;
	int i;

	for (n = 0; n < 5; n++)
		ASSERT_EQ(0, send_number(self->out, n));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0, &tail));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, SLUICE_ATTACH_OLDEST,
				   &oldest));
	ASSERT_EQ(0, send_number(self->out, 5));
	EXPECT_EQ(0, take_number(tail, 5));
	for (n = 0; n < 6; n++)
		EXPECT_EQ(0, take_number(oldest, n)) TH_LOG("%d", (int)n);
	for (i = 0; i < 3; i++)
		for (n = 0; n < 6; n++)
			EXPECT_EQ(0, take_number(self->in[i], n));
	EXPECT_EQ(0, unfinished(self->stage));
	sluice_detach(tail);
	sluice_detach(oldest);
}

TEST_F(broadcast, oldest_begins_behind_what_is_over)
{
	struct sluice_ep *oldest;
	struct sluice_msg m[3][4];
	int i, n;

	for (n = 0; n < 4; n++)
		ASSERT_EQ(0, send_number(self->out, (uint64_t)n));
	for (i = 0; i < 3; i++)
		for (n = 0; n < 4; n++)
			ASSERT_EQ(0, sluice_claim(self->in[i], &m[i][n], SLUICE_NOW));
	/* 1 is over, 0 is not: without a gap there are 2 and 3 */
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, sluice_ack(self->in[i], &m[i][1]));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, SLUICE_ATTACH_OLDEST,
				   &oldest));
	EXPECT_EQ(0, take_number(oldest, 2));
	EXPECT_EQ(0, take_number(oldest, 3));
	EXPECT_EQ(3, sluice_ack_batch(self->in[0], (struct sluice_msg[]) { m[0][0], m[0][2],
				      m[0][3] }, 3));
	sluice_detach(self->in[1]);
	sluice_detach(self->in[2]);
	EXPECT_EQ(0, unfinished(self->stage));
	sluice_detach(oldest);
}

TEST_F(broadcast, no_retry)
{
	struct sluice_msg m;
	int i;

	ASSERT_EQ(0, send_number(self->out, 1));
	ASSERT_EQ(0, sluice_claim(self->in[0], &m, SLUICE_NOW));
	EXPECT_EQ(-EOPNOTSUPP, sluice_nack(self->in[0], &m, EIO, 0, 0));
	EXPECT_EQ(-EOPNOTSUPP, sluice_renew(self->in[0], &m));
	EXPECT_EQ(0, sluice_ack(self->in[0], &m));
	for (i = 1; i < 3; i++)
		EXPECT_EQ(0, take_number(self->in[i], 1));
}

/* It holds up nobody for longer than the ack timeout, and hears of it; so does the sender. */
TEST_F(broadcast, the_slow_is_put_out)
{
	struct sluice_msg m = text("slow"), late;
	struct sluice_completion done;
	struct sluice_info info;

	ASSERT_EQ(0, sluice_send_async(self->out, &m, 77)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_claim(self->in[0], &late, 5 * SECOND));
	EXPECT_EQ(0, take_number(self->in[1], 0));
	EXPECT_EQ(0, take_number(self->in[2], 0));
	ASSERT_EQ(1, sluice_completions(self->ctx, &done, 1, 20 * SECOND));
	EXPECT_EQ(77, done.cookie);
	EXPECT_EQ(-ETIMEDOUT, done.result);
	EXPECT_EQ(0, unfinished(self->stage));
	info = info_of(self->stage);
	EXPECT_EQ(1, info.expelled);
	EXPECT_EQ(0, info.dead_letters + info.redelivered);

	EXPECT_FALSE(sluice_holds(self->in[0], &late));
	EXPECT_EQ(-ESTALE, sluice_ack(self->in[0], &late));
	/* what is sent now is for the two others */
	ASSERT_EQ(0, send_number(self->out, 1));
	EXPECT_EQ(-ENOTCONN, sluice_claim(self->in[0], &late, SLUICE_FOREVER));
	EXPECT_TRUE(strstr(sluice_error(), "attach anew")) TH_LOG("%s", sluice_error());
	EXPECT_EQ(0, take_number(self->in[1], 1));
	EXPECT_EQ(0, take_number(self->in[2], 1));
	EXPECT_EQ(0, unfinished(self->stage));

	sluice_detach(self->in[0]);
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0, &self->in[0]));
	ASSERT_EQ(0, send_number(self->out, 2));
	EXPECT_EQ(0, take_number(self->in[0], 2));
}

/* Who joins at a message that is nearly late has as much time for it as everybody. */
TEST_F(broadcast, a_newcomer_has_its_time)
{
	struct sluice_ep *oldest;
	struct sluice_msg m;
	int i;

	ASSERT_EQ(0, send_number(self->out, 1));
	for (i = 1; i < 3; i++)
		EXPECT_EQ(0, take_number(self->in[i], 1));
	sleep_ms(ACK_TIMEOUT_MS * 3 / 4);
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, SLUICE_ATTACH_OLDEST,
				   &oldest));
	/* the slow one is put out over it, the newcomer is not */
	EXPECT_EQ(-ENOTCONN, sluice_claim(self->in[0], &m, SLUICE_NOW) ?:
			     sluice_claim(self->in[0], &m, 20 * SECOND));
	EXPECT_EQ(0, take_number(oldest, 1));
	EXPECT_EQ(1, info_of(self->stage).expelled);
	EXPECT_EQ(0, unfinished(self->stage));
	sluice_detach(oldest);
}

TEST_F(broadcast, asleep_when_put_out)
{
	struct sluice_msg held, m;

	ASSERT_EQ(0, send_number(self->out, 1));
	ASSERT_EQ(0, sluice_claim(self->in[0], &held, SLUICE_NOW));
	EXPECT_EQ(0, take_number(self->in[1], 1));
	EXPECT_EQ(0, take_number(self->in[2], 1));
	/* nothing else wakes it */
	EXPECT_EQ(-ENOTCONN, sluice_claim(self->in[0], &m, 20 * SECOND));
}

TEST_F(broadcast, or_waited_for)
{
	struct sluice_create c = broadcast(20);
	char stage[SLUICE_NAME_MAX];
	struct sluice_ep *out, *in;
	uint64_t n;

	c.flags = SLUICE_CREATE_SLOW_WAITS;
	ASSERT_EQ(0, make_stage(stage, c)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_attach(self->ctx, stage, SLUICE_PRODUCER, 0, &out));
	ASSERT_EQ(0, sluice_attach(self->ctx, stage, SLUICE_CONSUMER, 0, &in));
	for (n = 0; n < NSLOTS; n++)
		ASSERT_EQ(0, send_number(out, n));
	sleep_ms(200);
	EXPECT_EQ(-EAGAIN, send_number(out, n));
	EXPECT_EQ(SLUICE_STALLED, info_of(stage).health);
	EXPECT_EQ(0, info_of(stage).expelled);
	for (n = 0; n < NSLOTS; n++)
		EXPECT_EQ(0, take_number(in, n));
	EXPECT_EQ(0, send_number(out, n));
	EXPECT_EQ(0, take_number(in, n));
	sluice_detach(in);
	sluice_detach(out);
	EXPECT_EQ(0, sluice_destroy(stage, 0, 0)) TH_LOG("%s", sluice_error());
}

TEST_F(broadcast, the_dead_owe_nothing)
{
	struct sluice_msg m = text("death");
	struct sluice_completion done;
	int pipes[2], status;
	pid_t child;
	char c;

	ASSERT_EQ(0, pipe(pipes));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct sluice_ctx *ctx;
		struct sluice_ep *in;

		CHILD_EXPECT(!sluice_ctx_create(variant->ctx_flags, &ctx));
		CHILD_EXPECT(!sluice_attach(ctx, self->stage, SLUICE_CONSUMER, 0, &in));
		CHILD_EXPECT(write(pipes[1], "a", 1) == 1);
		CHILD_EXPECT(!sluice_claim(in, &m, SLUICE_FOREVER));
		CHILD_EXPECT(write(pipes[1], "b", 1) == 1);
		pause();
	}
	ASSERT_EQ(1, read(pipes[0], &c, 1));
	ASSERT_EQ(0, sluice_send_async(self->out, &m, 5));
	ASSERT_EQ(1, read(pipes[0], &c, 1));
	EXPECT_EQ(0, take_number(self->in[0], 0));
	EXPECT_EQ(0, take_number(self->in[1], 0));
	EXPECT_EQ(0, take_number(self->in[2], 0));
	EXPECT_EQ(1, unfinished(self->stage));
	kill(child, SIGKILL);
	ASSERT_EQ(1, sluice_completions(self->ctx, &done, 1, 20 * SECOND));
	EXPECT_EQ(0, done.result);
	EXPECT_EQ(0, unfinished(self->stage));
	EXPECT_EQ(0, info_of(self->stage).expelled);
	EXPECT_EQ(256 + SIGKILL, (status = child_status(child)));
	close(pipes[0]);
	close(pipes[1]);
}

TEST_F(broadcast, sixty_four_at_most)
{
	struct sluice_ep *in[SLUICE_MAX_RECIPIENTS], *none;
	int i;

	for (i = 3; i < SLUICE_MAX_RECIPIENTS; i++)
		ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0, &in[i]));
	EXPECT_EQ(-EUSERS, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0, &none));
	ASSERT_EQ(0, send_number(self->out, 9));
	for (i = 0; i < SLUICE_MAX_RECIPIENTS; i++)
		EXPECT_EQ(0, take_number(i < 3 ? self->in[i] : in[i], 9)) TH_LOG("%d", i);
	EXPECT_EQ(0, unfinished(self->stage));
	sluice_detach(in[40]);
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0, &in[40]));
	ASSERT_EQ(0, send_number(self->out, 10));
	EXPECT_EQ(0, take_number(in[40], 10));
	for (i = 3; i < SLUICE_MAX_RECIPIENTS; i++)
		sluice_detach(in[i]);
}

/* ------------------------------------------------------------ coming and going --- */

#define PRODUCERS	2
#define MEMBERS		4
#define MESSAGES	1500u

static void produce(const char *stage, uint64_t stream)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	uint64_t n;

	CHILD_EXPECT(!sluice_ctx_create(0, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_PRODUCER, 0, &out));
	for (n = 0; n < MESSAGES; n++) {
		struct sluice_msg m = text("x");
		int ret;

		m.stream = stream;
		m.counter = n;
		do {
			ret = sluice_send(out, &m, SLUICE_FOREVER);
		} while (ret == -ENOTCONN);	/* nobody was there at that moment: nobody missed it */
		CHILD_EXPECT(!ret);
	}
	sluice_ctx_destroy(ctx);
	_exit(0);
}

/* From the first message of each producer on, all of them; half of the members die of it. */
static void take_part(const char *stage, unsigned int seed)
{
	unsigned int flags = seed % 2 ? SLUICE_ATTACH_OLDEST : 0, left = 1 + seed * 2654435761u % 97;
	uint64_t next[PRODUCERS + 1] = { 0 };
	bool known[PRODUCERS + 1] = { 0 };
	struct sluice_ctx *ctx;
	struct sluice_ep *in;

	CHILD_EXPECT(!sluice_ctx_create(0, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_CONSUMER, flags, &in));
	while (left--) {
		struct sluice_msg m;
		int ret = sluice_claim(in, &m, 200 * MS);

		if (ret == -EAGAIN)
			break;
		CHILD_EXPECT(!ret);
		CHILD_EXPECT(m.stream >= 1 && m.stream <= PRODUCERS);
		CHILD_EXPECT(!known[m.stream] || m.counter == next[m.stream]);
		known[m.stream] = true;
		next[m.stream] = m.counter + 1;
		if (!left && seed % 4 >= 2)
			kill(getpid(), SIGKILL);
		CHILD_EXPECT(!sluice_ack(in, &m));
	}
	sluice_ctx_destroy(ctx);
	_exit(0);
}

TEST_F(broadcast, joins_without_a_gap)
{
	char stage[SLUICE_NAME_MAX];
	pid_t producers[PRODUCERS], pid;
	struct sluice_ep *in;
	unsigned int running = 0, seed = 0, i, done = 0;
	uint64_t next[PRODUCERS + 1] = { 0 };
	struct sluice_msg m;
	int status;

	ASSERT_EQ(0, make_stage(stage, broadcast(60000))) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_attach(self->ctx, stage, SLUICE_CONSUMER, 0, &in));
	for (i = 0; i < PRODUCERS; i++) {
		producers[i] = fork();
		if (!producers[i])
			produce(stage, i + 1);
	}
	while (done < PRODUCERS * MESSAGES) {
		int ret;

		for (; running < MEMBERS; running++, seed++)
			if (!fork())
				take_part(stage, seed);
		/* this one was there from the beginning: it gets all of them */
		ret = sluice_claim(in, &m, 20 * SECOND);
		ASSERT_EQ(0, ret) TH_LOG("%s", sluice_error());
		ASSERT_EQ(next[m.stream], m.counter);
		next[m.stream]++;
		ASSERT_EQ(0, sluice_ack(in, &m));
		done++;
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
			EXPECT_TRUE(!status || WIFSIGNALED(status)) TH_LOG("status %d", status);
			if (pid != producers[0] && pid != producers[1])
				running--;
		}
	}
	while (waitpid(-1, &status, 0) > 0)
		EXPECT_TRUE(!status || WIFSIGNALED(status)) TH_LOG("status %d", status);
	EXPECT_TRUE(comes_to(stage, 0));
	EXPECT_EQ(0, info_of(stage).lies);
	sluice_detach(in);
	EXPECT_EQ(0, sluice_destroy(stage, 0, 0)) TH_LOG("%s", sluice_error());
	TH_LOG("%u came and went", seed);
}

TEST_HARNESS_MAIN
