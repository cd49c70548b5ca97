// SPDX-License-Identifier: MIT
/* Description: a context is made by one thread and used by another, and interrupted by a third */
#include <pthread.h>

#include "lib_ring.h"

struct work {
	struct sluice_ep *in;
	struct sluice_msg msg;
	int result;
};

static void *claim_one(void *arg)
{
	struct work *w = arg;

	w->result = sluice_claim(w->in, &w->msg, 5 * SECOND);
	if (!w->result)
		w->result = sluice_ack(w->in, &w->msg);
	return NULL;
}

TEST_F(ring, used_by_another_thread)
{
	struct work w = { .in = self->in, .result = -1 };
	struct sluice_msg m = text("x");
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, claim_one, &w));
	sleep_ms(50);
	ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_NOW));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, w.result);
	EXPECT_EQ(m.ticket, w.msg.ticket);
}

TEST_F(ring, interrupted_by_another_thread)
{
	struct work w = { .in = self->in, .result = -1 };
	uint64_t start = now_ns();
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, claim_one, &w));
	sleep_ms(50);
	sluice_interrupt(self->other);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(-EINTR, w.result);
	EXPECT_LT(now_ns() - start, SECOND);
}

/* The other end of another thread's endpoint in one process: contexts are independent. */
struct echo {
	const char *stage;
	unsigned int ctx_flags;
	int n, failed;
};

static void *produce(void *arg)
{
	struct echo *e = arg;
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	int i;

	e->failed = sluice_ctx_create(e->ctx_flags, &ctx);
	if (e->failed)
		return NULL;
	e->failed = sluice_attach(ctx, e->stage, SLUICE_PRODUCER, 0, &out);
	for (i = 0; i < e->n && !e->failed; i++) {
		struct sluice_msg m = text("x");

		m.counter = (uint64_t)i;
		e->failed = sluice_send(out, &m, 10 * SECOND);
	}
	sluice_ctx_destroy(ctx);
	return NULL;
}

TEST_F(ring, a_context_each)
{
	struct echo e[2] = {
		{ self->stage, variant->ctx_flags, 2000, -1 },
		{ self->stage, variant->ctx_flags, 2000, -1 },
	};
	pthread_t thread[2];
	struct sluice_msg m;
	int i, n = 0;

	sluice_detach(self->out);
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, produce, &e[i]));
	while (n < 4000) {
		ASSERT_EQ(0, sluice_claim(self->in, &m, 10 * SECOND)) TH_LOG("%s", sluice_error());
		ASSERT_EQ(0, sluice_ack(self->in, &m));
		n++;
	}
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_join(thread[i], NULL));
		EXPECT_EQ(0, e[i].failed);
	}
	EXPECT_EQ(-EAGAIN, sluice_claim(self->in, &m, SLUICE_NOW));
}

TEST_HARNESS_MAIN
