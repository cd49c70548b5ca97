// SPDX-License-Identifier: MIT
/*
 * Description: slot.h: tickets, laps and every transition from every state
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <slot.h>

#define N(v) (sizeof(v) / sizeof((v)[0]))

static const u64 laps[] = { 0, 1, 2, 1ull << 35, SLOT_LAP_MASK - 1, SLOT_LAP_MASK };
static const enum slot_state states[] = {
	SLOT_FREE, SLOT_WRITING, SLOT_READY, SLOT_CLAIMED, SLOT_DEAD,
};

static void test_word_fields(void **state)
{
	for (size_t i = 0; i < N(laps); i++) {
		for (size_t k = 0; k < N(states); k++) {
			u64 w = slot_word(laps[i], 0xabcd, 0x5e, states[k]);

			assert_int_equal(laps[i], slot_lap(w));
			assert_int_equal(0xabcd, slot_owner(w));
			assert_int_equal(0x5e, slot_attempt(w));
			assert_int_equal(states[k], slot_state(w));
		}
	}
	/* a lap or attempt that is too large does not reach its neighbours */
	assert_int_equal(slot_word(0, 0, 0, SLOT_FREE),
			 slot_word(1ull << 36, 0x10000, 256, SLOT_FREE));
}

static void test_tickets_wrap(void **state)
{
	for (u32 order = 6; order <= 20; order++) {
		u64 nslots = 1ull << order, last = ticket_mask(order);

		assert_int_equal(0, ticket_add(last, 1, order));
		assert_int_equal(last, ticket_add(0, -1, order));
		assert_int_equal(1, ticket_diff(0, last, order));
		assert_int_equal(-1, ticket_diff(last, 0, order));
		assert_int_equal(nslots - 1, ticket_index(last, order));
		assert_int_equal(SLOT_LAP_MASK, ticket_lap(last, order));
		assert_int_equal(last, ticket_of(SLOT_LAP_MASK, (u32)nslots - 1, order));
		for (size_t i = 0; i < N(laps); i++) {
			u64 t = ticket_of(laps[i], 5, order);
			u64 next = ticket_add(t, (long long)nslots, order);

			assert_int_equal(laps[i], ticket_lap(t, order));
			assert_int_equal(5, ticket_index(t, order));
			assert_int_equal(nslots, ticket_diff(next, t, order));
			assert_int_equal(slot_lap(slot_free(laps[i] + 1)), ticket_lap(next, order));
		}
	}
}

static void test_lap_diff(void **state)
{
	for (size_t i = 0; i < N(laps); i++) {
		assert_int_equal(0, lap_diff(laps[i], laps[i]));
		assert_int_equal(1, lap_diff((laps[i] + 1) & SLOT_LAP_MASK, laps[i]));
		assert_int_equal(-1, lap_diff((laps[i] - 1) & SLOT_LAP_MASK, laps[i]));
		assert_int_equal(-(1ll << 35), lap_diff((laps[i] + (1ull << 35)) & SLOT_LAP_MASK,
							laps[i]));
	}
}

/* Words that no transition makes. */
static void test_forged(void **state)
{
	for (size_t i = 0; i < N(laps); i++) {
		for (size_t k = 0; k < N(states); k++) {
			assert_false(slot_forged(slot_word(laps[i], 3, 0, states[k])));
			assert_int_equal(states[k] == SLOT_WRITING,
					 slot_forged(slot_word(laps[i], 3, 1, states[k])));
		}
		assert_true(slot_forged(slot_word(laps[i], 0, 0, (enum slot_state)5)));
		assert_true(slot_forged(slot_word(laps[i], 0, 0, (enum slot_state)15)));
	}
}

/* What a cursor may pass (P7) and where a producer may go (P4), for every state and lap. */
static void test_look_and_room(void **state)
{
	static const enum slot_look look[] = {
		LOOK_WAIT, LOOK_WAIT, LOOK_CLAIM, LOOK_PASS, LOOK_PASS,
	};

	for (size_t i = 0; i < N(laps); i++) {
		u64 lap = laps[i], older = (lap - 1) & SLOT_LAP_MASK;
		u64 newer = (lap + 1) & SLOT_LAP_MASK;

		for (size_t k = 0; k < N(states); k++) {
			enum slot_state s = states[k];

			assert_int_equal(look[k], slot_look(slot_word(lap, 3, 1, s), lap));
			assert_int_equal(LOOK_WAIT, slot_look(slot_word(older, 3, 1, s), lap));
			assert_int_equal(LOOK_PASS, slot_look(slot_word(newer, 3, 1, s), lap));
			/* FREE with an owner is forged: nobody reserves it, nobody spins on it */
			assert_int_equal(s == SLOT_FREE ? ROOM_FULL : ROOM_USED,
					 slot_room(slot_word(lap, 3, 1, s), lap));
			assert_int_equal(ROOM_FULL, slot_room(slot_word(older, 3, 1, s), lap));
			assert_int_equal(ROOM_USED, slot_room(slot_word(newer, 3, 1, s), lap));
		}
		assert_int_equal(ROOM_FREE, slot_room(slot_free(lap), lap));
		/* what nobody could claim, and what is no state of ours: nobody waits for it */
		assert_int_equal(LOOK_PASS, slot_look(slot_word(lap, 0, SLOT_ATTEMPT_LAST, SLOT_READY),
						      lap));
		assert_int_equal(LOOK_CLAIM, slot_look(slot_word(lap, 0, SLOT_ATTEMPT_LAST - 1,
								 SLOT_READY), lap));
		assert_int_equal(LOOK_PASS,
				 slot_look(slot_word(lap, 0, 0, (enum slot_state)9), lap));
	}
}

enum { RESERVE, PUBLISH, DISCARD, CLAIM, ACK, RETRY, KILL, BURY, VERBS };

static enum slot_result apply(int verb, u64 *w, u64 lap, u64 token)
{
	u64 claimed;

	switch (verb) {
	case RESERVE:
		return slot_reserve(w, lap, 7);
	case PUBLISH:
		return slot_publish(w, lap, 7);
	case DISCARD:
		return slot_discard(w, lap, 7);
	case CLAIM:
		return slot_claim(w, lap, 7, &claimed);
	case ACK:
		return slot_ack(w, token);
	case RETRY:
		return slot_retry(w, token);
	case KILL:
		return slot_kill(w, token);
	default:
		return slot_bury(w, *w);
	}
}

/* Each verb works from its one state and changes nothing in any other, other lap or owner. */
static void test_transitions(void **state)
{
	u64 lap = SLOT_LAP_MASK, other = 0;	/* the lap after it is 0 */
	u64 token = slot_word(lap, 7, 1, SLOT_CLAIMED);
	struct {
		u64 from, to;
	} rule[VERBS] = {
		[RESERVE] = { slot_free(lap), slot_word(lap, 7, 0, SLOT_WRITING) },
		[PUBLISH] = { slot_word(lap, 7, 0, SLOT_WRITING),
			      slot_word(lap, 0, 0, SLOT_READY) },
		[DISCARD] = { slot_word(lap, 7, 0, SLOT_WRITING), slot_free(other) },
		[CLAIM] = { slot_word(lap, 0, 0, SLOT_READY), token },
		[ACK] = { token, slot_free(other) },
		[RETRY] = { token, slot_word(lap, 0, 1, SLOT_READY) },
		[KILL] = { token, slot_word(lap, 0, 1, SLOT_DEAD) },
		[BURY] = { slot_word(lap, 0, 1, SLOT_DEAD), slot_free(other) },
	};
	u64 words[] = {
		slot_free(lap), slot_free(other), slot_word(lap, 7, 0, SLOT_WRITING),
		slot_word(lap, 8, 0, SLOT_WRITING), slot_word(other, 7, 0, SLOT_WRITING),
		slot_word(lap, 0, 0, SLOT_READY), slot_word(other, 0, 0, SLOT_READY), token,
		slot_word(lap, 8, 1, SLOT_CLAIMED), slot_word(lap, 7, 2, SLOT_CLAIMED),
		slot_word(other, 7, 1, SLOT_CLAIMED), slot_word(lap, 0, 1, SLOT_DEAD),
	};

	for (int v = 0; v < VERBS; v++) {
		for (size_t i = 0; i < N(words); i++) {
			u64 w = words[i];
			enum slot_result r = apply(v, &w, lap, token);

			if (words[i] == rule[v].from) {
				assert_int_equal(SLOT_OK, r);
				assert_int_equal(rule[v].to, w);
			} else {
				assert_int_not_equal(SLOT_OK, r);
				assert_int_equal(words[i], w);
			}
		}
	}
}

/* The attempt is the fence: it never repeats, so at its end nothing is READY again (P2). */
static void test_attempt_saturates(void **state)
{
	u64 w = slot_word(3, 0, 0, SLOT_READY), token = 0;
	u32 attempts = 0;

	while (slot_claim(&w, 3, 7, &token) == SLOT_OK) {
		assert_int_equal(++attempts, slot_attempt(token));
		if (slot_retry(&w, token) != SLOT_OK)
			break;
	}
	assert_int_equal(SLOT_ATTEMPT_LAST, attempts);
	assert_int_equal(SLOT_CLAIMED, slot_state(w));
	assert_int_equal(SLOT_OK, slot_kill(&w, token));
}

static void test_buffer_words(void **state)
{
	u64 w = buf_word(0, BUF_FREE), t = ticket_mask(20);

	assert_int_equal(SLOT_OK, buf_take(&w, 9));
	assert_int_equal(SLOT_LOST, buf_take(&w, 8));
	assert_int_equal(SLOT_STALE, buf_drop(&w, 8));
	assert_int_equal(SLOT_STALE, buf_send(&w, 8, t));
	assert_int_equal(SLOT_OK, buf_send(&w, 9, t));
	assert_int_equal(BUF_SENT, buf_state(w));
	assert_int_equal(t, buf_who(w));
	assert_int_equal(SLOT_STALE, buf_free_sent(&w, t - 1));
	assert_int_equal(SLOT_OK, buf_unsend(&w, 9, t));
	assert_int_equal(SLOT_OK, buf_queue(&w, 9));
	assert_int_equal(SLOT_STALE, buf_drop(&w, 9));
	assert_int_equal(SLOT_OK, buf_send_queued(&w, t));
	assert_int_equal(SLOT_OK, buf_free_sent(&w, t));
	assert_int_equal(buf_word(0, BUF_FREE), w);
	/* a fresh page is full of free buffers and free slots of lap 0 */
	assert_int_equal(0, buf_word(0, BUF_FREE));
	assert_int_equal(0, slot_free(0));
}

/* Everybody clears a bit of the right ticket, once; the last one frees the slot (P21, P22). */
static void test_masks(void **state)
{
	const u64 token = slot_word(5, 0, 0, SLOT_READY), newer = slot_word(6, 0, 0, SLOT_READY);
	u64 w = token, mask = 0;
	bool last;

	assert_true(mask_set(&mask, 5));
	assert_true(mask_set(&mask, 2));
	assert_int_equal(7, mask);
	assert_true(slot_owes(&w, &mask, token, 4));
	assert_false(slot_owes(&w, &mask, token, 8));
	assert_false(slot_owes(&w, &mask, newer, 4));
	assert_int_equal(SLOT_STALE, slot_broadcast_ack(&w, &mask, newer, 4, &last));
	assert_int_equal(SLOT_STALE, slot_broadcast_ack(&w, &mask, token, 8, &last));
	assert_int_equal(7, mask);
	assert_int_equal(SLOT_OK, slot_broadcast_ack(&w, &mask, token, 4, &last));
	assert_false(last);
	assert_int_equal(SLOT_STALE, slot_broadcast_ack(&w, &mask, token, 4, &last));
	assert_true(mask_clear(&mask, 9));
	assert_int_equal(2, mask);
	assert_int_equal(token, w);
	assert_int_equal(SLOT_OK, slot_broadcast_ack(&w, &mask, token, 2, &last));
	assert_true(last);
	assert_int_equal(slot_free(6), w);
}

/* Of all states only READY is freed so, and only the word that was seen; the lap wraps. */
static void test_broadcast_free(void **state)
{
	for (u32 from = 0; from < 16; from++) {
		u64 w = slot_word(SLOT_LAP_MASK, 0, 0, (enum slot_state)from), before = w;
		enum slot_result r = slot_broadcast_free(&w, w);

		assert_int_equal(from == SLOT_READY ? SLOT_OK : SLOT_STALE, r);
		assert_int_equal(from == SLOT_READY ? slot_free(0) : before, w);
	}
}

/* Kernel and last consumer want to free it: one of them does, and the buffer is that one's. */
static void test_freed_once(void **state)
{
	u64 w = slot_word(5, 0, 0, SLOT_READY), token = w, mask = 1;
	bool last;

	assert_int_equal(SLOT_OK, slot_broadcast_free(&w, token));
	assert_int_equal(SLOT_STALE, slot_broadcast_free(&w, token));
	assert_int_equal(SLOT_STALE, slot_broadcast_ack(&w, &mask, token, 1, &last));
	assert_false(last);
	assert_int_equal(1, mask);
	assert_int_equal(slot_free(6), w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_word_fields),
		cmocka_unit_test(test_tickets_wrap),
		cmocka_unit_test(test_lap_diff),
		cmocka_unit_test(test_forged),
		cmocka_unit_test(test_look_and_room),
		cmocka_unit_test(test_transitions),
		cmocka_unit_test(test_attempt_saturates),
		cmocka_unit_test(test_buffer_words),
		cmocka_unit_test(test_masks),
		cmocka_unit_test(test_broadcast_free),
		cmocka_unit_test(test_freed_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
