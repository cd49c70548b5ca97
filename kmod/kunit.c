// SPDX-License-Identifier: GPL-2.0
/*
 * kunit.c: parts of the module by themselves, without user space.
 *
 * What processes see is tested by tests/selftests; here is what they can hardly
 * reach: every state of a word against every transition, wrapping tickets, borders
 * of pages, the kernel's own ring, and a stage with forged words.
 */
#include <kunit/test.h>

#include "internal.h"

#define SLOTS	64
#define ORDER	6

/* ------------------------------------------------------------------ words --- */

static void tickets_wrap(struct kunit *test)
{
	u64 last = ticket_mask(ORDER), lap = SLOT_LAP_MASK;

	KUNIT_EXPECT_EQ(test, ticket_add(last, 1, ORDER), 0);
	KUNIT_EXPECT_EQ(test, ticket_add(0, -1, ORDER), last);
	KUNIT_EXPECT_EQ(test, ticket_diff(0, last, ORDER), 1);
	KUNIT_EXPECT_EQ(test, ticket_diff(last, 0, ORDER), -1);
	KUNIT_EXPECT_EQ(test, lap_diff(0, lap), 1);
	KUNIT_EXPECT_EQ(test, lap_diff(lap, 0), -1);
	KUNIT_EXPECT_EQ(test, ticket_of(ticket_lap(last, ORDER), ticket_index(last, ORDER), ORDER),
			last);
	/* the slot's next lap after the last is lap 0 */
	KUNIT_EXPECT_EQ(test, slot_lap(slot_free(lap + 1)), 0);
}

/* Each transition, tried on each of the 16 states: it changes its own and no other. */
static void transitions_keep_to_their_state(struct kunit *test)
{
	const u64 lap = 5;
	const u32 owner = 3;
	unsigned int state;

	for (state = 0; state < 16; state++) {
		u32 who = state == SLOT_WRITING || state == SLOT_CLAIMED ? owner : 0;
		u32 attempt = state == SLOT_CLAIMED ? 1 : 0;
		const u64 before = slot_word(lap, who, attempt, (enum slot_state)state);
		u64 w, token;

#define TRY(call, from) do {							\
	w = before;								\
	if (state == (from))							\
		KUNIT_EXPECT_EQ_MSG(test, call, SLOT_OK, "state %u", state);	\
	else									\
		KUNIT_EXPECT_NE_MSG(test, call, SLOT_OK, "state %u", state);	\
	KUNIT_EXPECT_EQ_MSG(test, w == before, state != (from), "state %u", state); \
} while (0)
		TRY(slot_reserve(&w, lap, owner), SLOT_FREE);
		TRY(slot_publish(&w, lap, owner), SLOT_WRITING);
		TRY(slot_discard(&w, lap, owner), SLOT_WRITING);
		TRY(slot_claim(&w, lap, owner, &token), SLOT_READY);
		TRY(slot_ack(&w, slot_word(lap, owner, 1, SLOT_CLAIMED)), SLOT_CLAIMED);
		TRY(slot_retry(&w, before), SLOT_CLAIMED);
		TRY(slot_defer(&w, before), SLOT_CLAIMED);
		TRY(slot_kill(&w, before), SLOT_CLAIMED);
		TRY(slot_bury(&w, before), SLOT_DEAD);
#undef TRY
	}
}

/* Somebody else's word of the right state. */
static void transitions_are_fenced(struct kunit *test)
{
	u64 w = slot_word(5, 3, 2, SLOT_CLAIMED), token;

	KUNIT_EXPECT_EQ(test, slot_ack(&w, slot_word(5, 3, 1, SLOT_CLAIMED)), SLOT_STALE);
	KUNIT_EXPECT_EQ(test, slot_ack(&w, slot_word(5, 4, 2, SLOT_CLAIMED)), SLOT_STALE);
	KUNIT_EXPECT_EQ(test, slot_ack(&w, slot_word(6, 3, 2, SLOT_CLAIMED)), SLOT_STALE);
	KUNIT_EXPECT_FALSE(test, slot_holds(&w, slot_word(5, 3, 1, SLOT_CLAIMED)));
	w = slot_word(5, 3, 0, SLOT_WRITING);
	KUNIT_EXPECT_EQ(test, slot_publish(&w, 5, 4), SLOT_STALE);
	KUNIT_EXPECT_EQ(test, slot_publish(&w, 6, 3), SLOT_STALE);
	/* the fence would repeat */
	w = slot_word(5, 0, SLOT_ATTEMPT_LAST, SLOT_READY);
	KUNIT_EXPECT_EQ(test, slot_claim(&w, 5, 3, &token), SLOT_LOST);
	w = slot_word(5, 3, SLOT_ATTEMPT_LAST, SLOT_CLAIMED);
	KUNIT_EXPECT_EQ(test, slot_retry(&w, w), SLOT_STALE);
}

static void buffers_keep_to_their_state(struct kunit *test)
{
	const u64 all[] = {
		buf_word(0, BUF_FREE), buf_word(3, BUF_HELD), buf_word(0, BUF_QUEUED),
		buf_word(77, BUF_SENT),
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(all); i++) {
		enum buf_state state = buf_state(all[i]);
		u64 w;

#define TRY(call, from) do {							\
	w = all[i];								\
	KUNIT_EXPECT_EQ(test, (call) == SLOT_OK, state == (from));		\
	KUNIT_EXPECT_EQ(test, w == all[i], state != (from));			\
} while (0)
		TRY(buf_take(&w, 3), BUF_FREE);
		TRY(buf_drop(&w, 3), BUF_HELD);
		TRY(buf_send(&w, 3, 77), BUF_HELD);
		TRY(buf_queue(&w, 3), BUF_HELD);
		TRY(buf_send_queued(&w, 77), BUF_QUEUED);
		TRY(buf_unsend(&w, 3, 77), BUF_SENT);
		TRY(buf_free_sent(&w, 77), BUF_SENT);
#undef TRY
		w = all[i];
		KUNIT_EXPECT_NE(test, buf_drop(&w, 4), SLOT_OK);
		KUNIT_EXPECT_NE(test, buf_free_sent(&w, 78), SLOT_OK);
	}
}

/* Everybody clears a bit of the right ticket, once; the last one frees the slot. */
static void masks_are_of_one_ticket(struct kunit *test)
{
	const u64 token = slot_word(5, 0, 0, SLOT_READY), newer = slot_word(6, 0, 0, SLOT_READY);
	u64 w = token, mask = 0;
	bool last;

	KUNIT_EXPECT_TRUE(test, mask_set(&mask, 5));
	KUNIT_EXPECT_TRUE(test, mask_set(&mask, 2));
	KUNIT_EXPECT_EQ(test, mask, 7);
	KUNIT_EXPECT_TRUE(test, slot_owes(&w, &mask, token, 4));
	KUNIT_EXPECT_FALSE(test, slot_owes(&w, &mask, token, 8));
	KUNIT_EXPECT_FALSE(test, slot_owes(&w, &mask, newer, 4));
	KUNIT_EXPECT_EQ(test, slot_broadcast_ack(&w, &mask, newer, 4, &last), SLOT_STALE);
	KUNIT_EXPECT_EQ(test, slot_broadcast_ack(&w, &mask, token, 8, &last), SLOT_STALE);
	KUNIT_EXPECT_EQ(test, slot_broadcast_ack(&w, &mask, token, 4, &last), SLOT_OK);
	KUNIT_EXPECT_FALSE(test, last);
	KUNIT_EXPECT_EQ(test, slot_broadcast_ack(&w, &mask, token, 4, &last), SLOT_STALE);
	KUNIT_EXPECT_TRUE(test, mask_clear(&mask, 9));
	KUNIT_EXPECT_EQ(test, mask, 2);
	KUNIT_EXPECT_EQ(test, w, token);
	KUNIT_EXPECT_EQ(test, slot_broadcast_ack(&w, &mask, token, 2, &last), SLOT_OK);
	KUNIT_EXPECT_TRUE(test, last);
	KUNIT_EXPECT_EQ(test, w, slot_free(6));
	/* what the kernel freed meanwhile is not freed twice */
	mask = 1;
	w = token;
	KUNIT_EXPECT_EQ(test, slot_broadcast_free(&w, newer), SLOT_STALE);
	KUNIT_EXPECT_EQ(test, slot_broadcast_free(&w, slot_word(5, 3, 0, SLOT_WRITING)),
			SLOT_STALE);
	KUNIT_EXPECT_EQ(test, slot_broadcast_free(&w, token), SLOT_OK);
	KUNIT_EXPECT_EQ(test, slot_broadcast_free(&w, token), SLOT_STALE);
	KUNIT_EXPECT_EQ(test, slot_broadcast_ack(&w, &mask, token, 1, &last), SLOT_STALE);
	KUNIT_EXPECT_EQ(test, mask, 1);
}

/* ------------------------------------------------------------------ stage --- */

static int stage_init(struct kunit *test)
{
	const struct sluice_create c = {
		.size = sizeof(c), .name = "kunit", .nslots = SLOTS, .nbufs = 4,
		.bufsize = 2 * PAGE_SIZE, .dead_slots = 4, .max_attempts = 1,
	};
	int err = sl_stage_create(&c);

	test->priv = err ? NULL : sl_stage_by_name("kunit");
	return err;
}

static void stage_exit(struct kunit *test)
{
	const struct sluice_destroy d = {
		.size = sizeof(d), .name = "kunit", .flags = SLUICE_DESTROY_FORCE,
	};

	if (!test->priv)
		return;
	KUNIT_EXPECT_EQ(test, sl_stage_destroy(&d), 0);
	sl_stage_put(test->priv);
}

static int publish(struct sl_stage *s, u64 counter)
{
	struct sl_message m = { .counter = counter, .len = 1, .buf = SLUICE_NO_BUFFER };
	u64 ticket;
	int err;

	mutex_lock(&s->lock);
	err = sl_ring_publish(s, &m, 0, &ticket);
	mutex_unlock(&s->lock);
	return err ?: ticket == counter ? 0 : -EILSEQ;
}

static u32 count(struct sl_stage *s, enum slot_state state)
{
	u32 i, n = 0;

	for (i = 0; i < s->nslots; i++)
		n += slot_state(sl_slot_word(s, i)) == state;
	return n;
}

static void regions_have_borders(struct kunit *test)
{
	struct sl_stage *s = test->priv;
	char in[64], out[sizeof(in)];
	int err;

	memset(in, 'a', sizeof(in));
	/* never touched: nothing there, and looking makes nothing */
	KUNIT_EXPECT_NULL(test, sl_region_peek(&s->payload, 1));
	KUNIT_EXPECT_NULL(test, sl_region_peek(&s->payload, 1));
	KUNIT_EXPECT_NULL(test, sl_region_get(&s->payload, s->payload.npages));
	KUNIT_EXPECT_NULL(test, sl_region_page(&s->payload, ULONG_MAX, &err));
	KUNIT_EXPECT_EQ(test, err, -EINVAL);
	/* over a border of pages, and from what was never touched */
	KUNIT_EXPECT_EQ(test, sl_region_write(&s->payload, PAGE_SIZE - 32, in, sizeof(in)), 0);
	KUNIT_EXPECT_EQ(test, sl_region_copy(&s->payload, 3 * PAGE_SIZE - 16, &s->payload,
					     PAGE_SIZE - 32, sizeof(in)), 0);
	memcpy(out, sl_region_peek(&s->payload, 2) + PAGE_SIZE - 16, 16);
	memcpy(out + 16, sl_region_peek(&s->payload, 3), sizeof(out) - 16);
	KUNIT_EXPECT_MEMEQ(test, out, in, sizeof(in));
	KUNIT_EXPECT_EQ(test, sl_region_copy(&s->payload, 0, &s->payload, 4 * PAGE_SIZE, 16), 0);
	KUNIT_EXPECT_EQ(test, *(u64 *)sl_region_peek(&s->payload, 0), 0);
	/* past the end */
	KUNIT_EXPECT_NE(test, sl_region_write(&s->payload, (s->payload.npages << PAGE_SHIFT) - 8,
					      in, sizeof(in)), 0);
}

static void ring_fills_and_says_so(struct kunit *test)
{
	struct sl_stage *s = test->priv;
	u64 i;

	for (i = 0; i < SLOTS; i++)
		KUNIT_ASSERT_EQ(test, publish(s, i), 0);
	KUNIT_EXPECT_EQ(test, publish(s, i), -EAGAIN);
	KUNIT_EXPECT_EQ(test, count(s, SLOT_READY), SLOTS);
	/* the hint lies; the words do not */
	WRITE_ONCE(sl_control(s)->tail, 1000000);
	WRITE_ONCE(sl_slot(s, 0)->word, slot_free(1));
	KUNIT_EXPECT_EQ(test, publish(s, SLOTS), 0);
}

static void lengths_are_not_believed(struct kunit *test)
{
	struct sl_stage *s = test->priv;
	struct sl_message m;

	KUNIT_ASSERT_EQ(test, publish(s, 0), 0);
	KUNIT_EXPECT_EQ(test, sl_ring_message(s, 0, &m), 0);
	WRITE_ONCE(sl_slot(s, 0)->len, SLUICE_INLINE_MAX + 1);
	KUNIT_EXPECT_EQ(test, sl_ring_message(s, 0, &m), -EBADMSG);
	WRITE_ONCE(sl_slot(s, 0)->buf, 4);
	KUNIT_EXPECT_EQ(test, sl_ring_message(s, 0, &m), -EBADMSG);
	WRITE_ONCE(sl_slot(s, 0)->buf, 3);
	KUNIT_EXPECT_EQ(test, sl_ring_message(s, 0, &m), 0);
	WRITE_ONCE(sl_slot(s, 0)->len, 2 * PAGE_SIZE + 1);
	KUNIT_EXPECT_EQ(test, sl_ring_message(s, 0, &m), -EBADMSG);
	KUNIT_EXPECT_EQ(test, s->counts.lies, 3);
}

/* One attempt is allowed: whoever dies with a message has killed it. */
static void deaths_make_letters(struct kunit *test)
{
	struct sl_stage *s = test->priv;
	u64 i, token;

	for (i = 0; i < 6; i++) {
		KUNIT_ASSERT_EQ(test, publish(s, i), 0);
		KUNIT_ASSERT_EQ(test, slot_claim(&sl_slot(s, i)->word, 0, 9, &token), SLOT_OK);
	}
	mutex_lock(&s->lock);
	sl_reap(s, 9, false);
	mutex_unlock(&s->lock);
	/* the lowest of the run is charged, the others go to somebody else */
	KUNIT_EXPECT_EQ(test, s->counts.dead_letters, 1);
	KUNIT_EXPECT_EQ(test, count(s, SLOT_READY), 5);
	for (i = 1; i < 6; i++) {
		KUNIT_ASSERT_EQ(test, slot_claim(&sl_slot(s, i)->word, 0, 9, &token), SLOT_OK);
		mutex_lock(&s->lock);
		sl_reap(s, 9, false);
		mutex_unlock(&s->lock);
	}
	KUNIT_EXPECT_EQ(test, s->counts.dead_letters, 6);
	KUNIT_EXPECT_EQ(test, count(s, SLOT_FREE), SLOTS);
	/* 64 slots and buffers is the smallest: all six have room */
	KUNIT_EXPECT_EQ(test, count(s->dead, SLOT_READY), 6);
	KUNIT_EXPECT_EQ(test, s->dead->counts.dead_dropped, 0);
}

static void repair_finds_the_majority(struct kunit *test)
{
	struct sluice_repair r = { .size = sizeof(r), .name = "kunit" };
	struct sl_stage *s = test->priv;
	u64 i;

	for (i = 0; i < 20; i++)
		KUNIT_ASSERT_EQ(test, publish(s, i), 0);
	/* half of the ring space away, the past, states that are not */
	for (i = 0; i < 10; i++)
		WRITE_ONCE(sl_slot(s, 2 * i)->word,
			   slot_word((1ull << 35) + i * 977, i, i, (enum slot_state)(i % 6)));
	KUNIT_EXPECT_EQ(test, sl_stage_repair(&r), 0);
	KUNIT_EXPECT_EQ(test, r.slots_reset, 10);
	KUNIT_EXPECT_EQ(test, count(s, SLOT_READY), 10);
	KUNIT_EXPECT_EQ(test, s->tail, 20);
	for (i = 20; i < SLOTS; i++)
		KUNIT_EXPECT_EQ(test, publish(s, i), 0);
	/* what was reset is of the next lap */
	KUNIT_EXPECT_EQ(test, sl_slot_word(s, 0), slot_free(1));
	KUNIT_EXPECT_EQ(test, publish(s, SLOTS), 0);
	KUNIT_EXPECT_EQ(test, publish(s, SLOTS + 1), -EAGAIN);
}

static struct kunit_case word_cases[] = {
	KUNIT_CASE(tickets_wrap),
	KUNIT_CASE(transitions_keep_to_their_state),
	KUNIT_CASE(transitions_are_fenced),
	KUNIT_CASE(buffers_keep_to_their_state),
	KUNIT_CASE(masks_are_of_one_ticket),
	{}
};

static struct kunit_case stage_cases[] = {
	KUNIT_CASE(regions_have_borders),
	KUNIT_CASE(ring_fills_and_says_so),
	KUNIT_CASE(lengths_are_not_believed),
	KUNIT_CASE(deaths_make_letters),
	KUNIT_CASE(repair_finds_the_majority),
	{}
};

static struct kunit_suite word_suite = {
	.name		= "sluice-word",
	.test_cases	= word_cases,
};

static struct kunit_suite stage_suite = {
	.name		= "sluice-stage",
	.init		= stage_init,
	.exit		= stage_exit,
	.test_cases	= stage_cases,
};

kunit_test_suites(&word_suite, &stage_suite);
