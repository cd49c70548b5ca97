// SPDX-License-Identifier: MIT
/* Description: nonsense that another endpoint writes into a slot is never followed */
#include <stdint.h>

#include "internal.h"
#include "lib_ring.h"

/* A message that is fine when it is sent and is not when it is claimed. */
static struct sluice_slot *send_one(struct sluice_ep *out, struct sluice_msg *m)
{
	*m = text("fine");
	if (sluice_send(out, m, SLUICE_NOW))
		return NULL;
	return slot_at(out, m->ticket);
}

TEST_F(ring, lengths_and_buffers)
{
	struct {
		uint32_t len, buf;
	} bad[] = { { 77, SLUICE_NO_BUFFER }, { ~0u, SLUICE_NO_BUFFER }, { 1, 8 }, { 1, ~0u - 1 },
		    { 8193, 0 }, { ~0u, 7 } };
	struct sluice_msg m, got;
	struct sluice_slot *slot;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		slot = send_one(self->out, &m);
		ASSERT_NE(NULL, slot);
		slot->len = bad[i].len;
		slot->buf = bad[i].buf;
		ASSERT_NE(NULL, send_one(self->out, &m));
		ASSERT_EQ(0, sluice_claim(self->in, &got, SECOND)) TH_LOG("%s", sluice_error());
		EXPECT_EQ(m.ticket, got.ticket);
		EXPECT_EQ(0, sluice_ack(self->in, &got));
		EXPECT_EQ(-EAGAIN, sluice_claim(self->in, &got, 20 * MS));
	}
	EXPECT_EQ(sizeof(bad) / sizeof(bad[0]), sluice_counters(self->in)->full);
}

TEST_F(ring, sender_is_told)
{
	struct sluice_completion done;
	struct sluice_msg m = text("x"), got;

	ASSERT_EQ(0, sluice_send_async(self->out, &m, 5)) TH_LOG("%s", sluice_error());
	/* without io_uring a thread publishes it */
	while (slot_state(self->in->slots[0].word) != SLOT_READY)
		sleep_ms(1);
	self->in->slots[0].len = 1000;
	EXPECT_EQ(-EAGAIN, sluice_claim(self->in, &got, 20 * MS));
	ASSERT_EQ(1, sluice_completions(self->ctx, &done, 1, SECOND));
	EXPECT_EQ(5, done.cookie);
	EXPECT_EQ(-EBADMSG, done.result);
}

/* Words that are no states, attempts at their end, laps far away: whoever waits still sleeps. */
TEST_F(ring, words)
{
	const char *scale = getenv("SLUICE_TEST_SCALE");
	int64_t allowed = (scale ? atoi(scale) : 1) * 200 * MS;
	unsigned int i;

	for (i = 0; i < 16; i++) {
		struct timespec before, after;
		struct sluice_msg m = text("x"), got;
		uint64_t start = now_ns();
		int64_t used;

		self->in->slots[i].word = slot_word(i % 3, i, i % 2 ? 255 : i, (enum slot_state)i);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
		while (!sluice_claim(self->in, &got, 20 * MS) && now_ns() - start < SECOND)
			sluice_ack(self->in, &got);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
		used = (after.tv_sec - before.tv_sec) * SECOND + after.tv_nsec - before.tv_nsec;
		EXPECT_LT(now_ns() - start, SECOND);
		EXPECT_LE(used, allowed);
		sluice_send(self->out, &m, SLUICE_NOW);
	}
}

TEST_HARNESS_MAIN
