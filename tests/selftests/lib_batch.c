// SPDX-License-Identifier: MIT
/* Description: batches of sends, claims and acks do what so many single ones do */
#include "lib_ring.h"

TEST_F(ring, batch_round)
{
	struct sluice_msg m[NSLOTS + 10], got[NSLOTS + 10];
	uint64_t next = 0;
	unsigned int round, i;

	for (round = 0; round < 10; round++) {
		for (i = 0; i < NSLOTS + 10; i++) {
			m[i] = text("batch");
			m[i].counter = round * NSLOTS + i;
		}
		/* as many as there is room for */
		ASSERT_EQ(NSLOTS, sluice_send_batch(self->out, m, NSLOTS + 10, SLUICE_NOW))
			TH_LOG("%s", sluice_error());
		EXPECT_EQ(-EAGAIN, sluice_send_batch(self->out, m, 1, SLUICE_NOW));
		ASSERT_EQ(NSLOTS, sluice_claim_batch(self->in, got, NSLOTS + 10, SLUICE_NOW));
		EXPECT_EQ(-EAGAIN, sluice_claim_batch(self->in, got, 1, SLUICE_NOW));
		for (i = 0; i < NSLOTS; i++)
			ASSERT_EQ(next++, got[i].counter);
		ASSERT_EQ(NSLOTS, sluice_ack_batch(self->in, got, NSLOTS));
		EXPECT_EQ(0, sluice_ack_batch(self->in, got, NSLOTS));
	}
	EXPECT_EQ(10 * NSLOTS, sluice_counters(self->out)->messages);
	EXPECT_EQ(10 * NSLOTS, sluice_counters(self->in)->messages);
	EXPECT_EQ(10 * NSLOTS, sluice_counters(self->in)->acked);
	EXPECT_EQ(10 * NSLOTS, sluice_counters(self->in)->stale);
	EXPECT_EQ(10 * NSLOTS * 5, sluice_counters(self->in)->bytes);
}

TEST_F(ring, batch_of_none)
{
	struct sluice_msg m;

	EXPECT_EQ(0, sluice_send_batch(self->out, &m, 0, SLUICE_FOREVER));
	EXPECT_EQ(0, sluice_claim_batch(self->in, &m, 0, SLUICE_FOREVER));
	EXPECT_EQ(0, sluice_ack_batch(self->in, &m, 0));
}

/* The verbs by themselves. */
TEST_F(ring, reserve_publish)
{
	struct sluice_msg m = { .len = 10, .buffer = SLUICE_NO_BUFFER }, got;
	void *data;
	int i;

	for (i = 0; i < 200; i++) {
		m.counter = (uint64_t)i;
		ASSERT_EQ(0, sluice_reserve(self->out, &m, &data, SLUICE_NOW));
		memcpy(data, "0123456789", 10);
		EXPECT_EQ(-EAGAIN, sluice_claim(self->in, &got, SLUICE_NOW));
		ASSERT_EQ(0, sluice_publish(self->out, &m));
		ASSERT_EQ(0, sluice_claim(self->in, &got, SLUICE_NOW));
		EXPECT_EQ(i, got.counter);
		EXPECT_EQ(0, memcmp(got.data, "0123456789", 10));
		ASSERT_EQ(0, sluice_ack(self->in, &got));
		/* a change of mind */
		ASSERT_EQ(0, sluice_reserve(self->out, &m, &data, SLUICE_NOW));
		ASSERT_EQ(0, sluice_discard(self->out, &m));
	}
}

/* Two producers and two consumers, each a process: nothing lost, nothing twice, order kept. */
static void produce(const char *stage, unsigned int ctx_flags, unsigned int who, unsigned int n)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	unsigned int i = 0;

	CHILD_EXPECT(!sluice_ctx_create(ctx_flags, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_PRODUCER, 0, &out));
	while (i < n) {
		struct sluice_msg m[7];
		int k, sent;

		for (k = 0; k < 7; k++)
			m[k] = (struct sluice_msg) { .stream = who, .counter = i + (unsigned int)k,
						     .buffer = SLUICE_NO_BUFFER };
		sent = sluice_send_batch(out, m, n - i < 7 ? (int)(n - i) : 7, 20 * SECOND);
		CHILD_EXPECT(sent > 0);
		i += (unsigned int)sent;
	}
	sluice_ctx_destroy(ctx);
	_exit(0);
}

static void consume(const char *stage, unsigned int ctx_flags, unsigned int who, int to)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	uint64_t last[2] = { 0, 0 };
	struct sluice_msg m[5];
	int n, i;

	CHILD_EXPECT(!sluice_ctx_create(ctx_flags, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_CONSUMER, 0, &in));
	while ((n = sluice_claim_batch(in, m, 5, 2 * SECOND)) > 0) {
		for (i = 0; i < n; i++) {
			uint32_t seen = (uint32_t)(m[i].stream << 24 | m[i].counter);

			CHILD_EXPECT(m[i].stream < 2 && m[i].attempt == 1);
			CHILD_EXPECT(!m[i].counter || m[i].counter >= last[m[i].stream]);
			last[m[i].stream] = m[i].counter;
			CHILD_EXPECT(write(to, &seen, sizeof(seen)) == sizeof(seen));
		}
		CHILD_EXPECT(sluice_ack_batch(in, m, n) == n);
	}
	CHILD_EXPECT(n == -EAGAIN);
	sluice_ctx_destroy(ctx);
	_exit(0);
}

TEST_F(ring, several_of_each)
{
	enum { N = 5000 };
	static unsigned char seen[2][N];
	int pipes[2], i, ends = 0;
	pid_t pid[4];
	uint32_t got;

	sluice_detach(self->in);
	sluice_detach(self->out);
	ASSERT_EQ(0, pipe(pipes));
	for (i = 0; i < 4; i++) {
		pid[i] = fork();
		if (pid[i])
			continue;
		if (i < 2)
			consume(self->stage, variant->ctx_flags, (unsigned int)i, pipes[1]);
		produce(self->stage, variant->ctx_flags, (unsigned int)i - 2, N);
	}
	close(pipes[1]);
	while (read(pipes[0], &got, sizeof(got)) == sizeof(got)) {
		ASSERT_LT(got & 0xffffff, N);
		ASSERT_EQ(0, seen[got >> 24][got & 0xffffff]++);
		ends++;
	}
	EXPECT_EQ(2 * N, ends);
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, child_status(pid[i]));
}

TEST_HARNESS_MAIN
