// SPDX-License-Identifier: MIT
/*
 * Description: the fast path on plain memory: laps that wrap, long absences, nonsense
 *
 * Nobody sleeps here, so the kernel is never asked; it is what the selftests are for.
 */
#include "lib_memory.h"

static u64 start_of(int which)
{
	u64 starts[] = { 0, 1, NSLOTS - 1, ticket_mask(6) - 100, ticket_mask(6) - NSLOTS,
			 ticket_mask(6), 1ull << 41 };

	return starts[which];
}

#define STARTS 7

/* What the kernel keeps goes first, also while there is a free slot (P30). */
static void test_queue_first(void **state)
{
	struct sluice_msg m = number(1);
	struct ring r;

	make(&r, 0);
	r.hints->queued = 1;
	assert_int_equal(-EAGAIN, sluice_send(&r.out, &m, SLUICE_NOW));
	assert_int_equal(SLOT_FREE, slot_state(slot_at(&r.out, 0)->word));
	r.hints->queued = 0;
	assert_int_equal(0, sluice_send(&r.out, &m, SLUICE_NOW));
	unmake(&r);
}

/* Random bursts over the place where tickets begin again, sole and shared. */
static void test_wrap(void **state)
{
	for (int which = 0; which < 2 * STARTS; which++) {
		u64 sent = 0, got = 0, start = start_of(which % STARTS);
		struct sluice_msg m;
		struct ring r;

		srand(3);
		make(&r, start);
		r.out.sole = which >= STARTS;
		while (got < 10 * NSLOTS) {
			for (int n = rand() % 100; n; n--) {
				m = number(sent);
				if (sluice_send(&r.out, &m, SLUICE_NOW))
					break;
				assert_int_equal(ticket_add(start, (long long)sent, 6), m.ticket);
				sent++;
			}
			for (int n = rand() % 100; n && !sluice_claim(&r.in, &m, SLUICE_NOW); n--) {
				assert_int_equal(got, m.counter);
				assert_int_equal(ticket_add(start, (long long)got, 6), m.ticket);
				got++;
				assert_int_equal(0, sluice_ack(&r.in, &m));
			}
			assert_true(sent - got <= NSLOTS);
		}
		assert_int_equal(ticket_add(start, (long long)sent, 6), r.out.control->tail);
		unmake(&r);
	}
}

/* A full ring is full, exactly, and one ACK makes room for one. */
static void test_full(void **state)
{
	for (int which = 0; which < STARTS; which++) {
		struct sluice_msg m, other;
		struct ring r;

		make(&r, start_of(which));
		for (u32 i = 0; i < NSLOTS; i++) {
			m = number(i);
			assert_int_equal(0, sluice_send(i % 2 ? &r.out : &r.other_out, &m,
							SLUICE_NOW));
		}
		assert_int_equal(-EAGAIN, sluice_send(&r.out, &m, SLUICE_NOW));
		assert_int_equal(-EAGAIN, sluice_send(&r.other_out, &m, SLUICE_NOW));
		assert_non_null(strstr(sluice_error(), "full"));
		assert_int_equal(0, sluice_claim(&r.in, &m, SLUICE_NOW));
		assert_int_equal(0, m.counter);
		other = number(98);
		assert_int_equal(-EAGAIN, sluice_send(&r.out, &other, SLUICE_NOW));
		assert_int_equal(0, sluice_ack(&r.in, &m));
		m = number(99);
		assert_int_equal(0, sluice_send(&r.other_out, &m, SLUICE_NOW));
		assert_int_equal(-EAGAIN, sluice_send(&r.out, &m, SLUICE_NOW));
		unmake(&r);
	}
}

/* A second consumer and a second producer that come back after thousands of laps. */
static void test_long_absence(void **state)
{
	for (int which = 0; which < STARTS; which++) {
		struct sluice_msg m;
		struct ring r;
		u64 i;

		make(&r, start_of(which));
		/* not a whole number of laps: the slot at the old hint is not the next one */
		for (i = 0; i < 5000ull * NSLOTS + 17; i++) {
			m = number(i);
			assert_int_equal(0, sluice_send(&r.out, &m, SLUICE_NOW));
			assert_int_equal(0, sluice_claim(&r.in, &m, SLUICE_NOW));
			assert_int_equal(0, sluice_ack(&r.in, &m));
		}
		/* its hint is as old as it can be: user space may have written that, too */
		r.out.control->tail = start_of(which);
		m = number(i);
		assert_int_equal(0, sluice_send(&r.other_out, &m, SLUICE_NOW));
		assert_int_equal(ticket_add(start_of(which), (long long)i, 6), m.ticket);
		assert_int_equal(0, sluice_claim(&r.other_in, &m, SLUICE_NOW));
		assert_int_equal(i, m.counter);
		assert_int_equal(0, sluice_ack(&r.other_in, &m));
		assert_int_equal(-EAGAIN, sluice_claim(&r.in, &m, SLUICE_NOW));
		unmake(&r);
	}
}

/* After an absence with messages left unclaimed: none of them is jumped over. */
static void test_absence_passes_nothing(void **state)
{
	for (int which = 0; which < STARTS; which++) {
		for (u32 left = 1; left <= NSLOTS; left += 7) {
			struct sluice_msg m;
			struct ring r;
			u64 i, laps = 3ull * NSLOTS + left;

			make(&r, start_of(which));
			for (i = 0; i < laps; i++) {
				m = number(i);
				assert_int_equal(0, sluice_send(&r.out, &m, SLUICE_NOW));
				if (i >= laps - left)
					continue;
				assert_int_equal(0, sluice_claim(&r.in, &m, SLUICE_NOW));
				assert_int_equal(0, sluice_ack(&r.in, &m));
			}
			for (i = laps - left; i < laps; i++) {
				assert_int_equal(0, sluice_claim(&r.other_in, &m, SLUICE_NOW));
				assert_int_equal(i, m.counter);
				assert_int_equal(0, sluice_ack(&r.other_in, &m));
			}
			assert_int_equal(-EAGAIN, sluice_claim(&r.other_in, &m, SLUICE_NOW));
			unmake(&r);
		}
	}
}

/*
 * The slot at the old cursor is one that was reserved and discarded beside one that is still
 * being written: its word is two laps ahead of what was claimed last, and still nothing may be
 * jumped over.
 */
static void test_absence_and_discard(void **state)
{
	for (int which = 0; which < STARTS; which++) {
		struct sluice_msg m, slow = number(1), gone = number(2);
		struct ring r;
		void *data;

		make(&r, start_of(which));
		for (u32 i = 0; i < 5 * NSLOTS - 1; i++) {
			m = number(0);
			assert_int_equal(0, sluice_send(&r.out, &m, SLUICE_NOW));
			assert_int_equal(0, sluice_claim(&r.in, &m, SLUICE_NOW));
			assert_int_equal(0, sluice_ack(&r.in, &m));
		}
		assert_int_equal(0, sluice_reserve(&r.out, &slow, &data, SLUICE_NOW));
		assert_int_equal(0, sluice_reserve(&r.other_out, &gone, &data, SLUICE_NOW));
		assert_int_equal(0, sluice_discard(&r.other_out, &gone));
		assert_int_equal(ticket_index(gone.ticket, 6), ticket_index(r.other_in.ticket, 6));
		assert_int_equal(-EAGAIN, sluice_claim(&r.other_in, &m, SLUICE_NOW));
		assert_int_equal(0, sluice_publish(&r.out, &slow));
		assert_int_equal(0, sluice_claim(&r.other_in, &m, SLUICE_NOW));
		assert_int_equal(1, m.counter);
		unmake(&r);
	}
}

/* What the kernel does in a retry: READY again, then a new generation (P6). */
static void test_generation(void **state)
{
	for (int which = 0; which < STARTS; which++) {
		struct sluice_msg m[NSLOTS], again;
		struct ring r;

		make(&r, start_of(which));
		for (u32 i = 0; i < NSLOTS; i++) {
			m[i] = number(i);
			assert_int_equal(0, sluice_send(&r.out, &m[i], SLUICE_NOW));
		}
		assert_int_equal(NSLOTS, sluice_claim_batch(&r.in, m, NSLOTS, SLUICE_NOW));
		assert_int_equal(-EAGAIN, sluice_claim(&r.other_in, &again, SLUICE_NOW));
		for (u32 k = 0; k < NSLOTS; k += 9) {
			u64 *word = &slot_at(&r.in, m[k].ticket)->word;

			assert_int_equal(SLOT_OK, slot_retry(word, m[k].token));
			/* twice, so that a walk that began anew begins anew */
			r.hints->generation += 2;
			assert_int_equal(0, sluice_claim(&r.other_in, &again, SLUICE_NOW));
			assert_int_equal(k, again.counter);
			assert_int_equal(2, again.attempt);
			assert_int_equal(-ESTALE, sluice_ack(&r.in, &m[k]));
			assert_false(sluice_holds(&r.in, &m[k]));
			assert_true(sluice_holds(&r.other_in, &again));
			assert_int_equal(0, sluice_ack(&r.other_in, &again));
			assert_int_equal(-EAGAIN, sluice_claim(&r.other_in, &again, SLUICE_NOW));
		}
		unmake(&r);
	}
}

/* Nonsense that any endpoint may write: never followed, never waited for, never a crash. */
static void test_nonsense(void **state)
{
	struct {
		u32 len, buf;
	} bad[] = { { 77, SLUICE_NO_BUFFER }, { ~0u, SLUICE_NO_BUFFER }, { 1, NBUFS },
		    { 1, ~0u - 1 }, { BUFSIZE + 1, 0 }, { ~0u, 3 } };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct sluice_msg m = number(1), good = number(2);
		struct ring r;

		make(&r, 0);
		assert_int_equal(0, sluice_send(&r.out, &m, SLUICE_NOW));
		slot_at(&r.out, m.ticket)->len = bad[i].len;
		slot_at(&r.out, m.ticket)->buf = bad[i].buf;
		assert_int_equal(0, sluice_send(&r.out, &good, SLUICE_NOW));
		assert_int_equal(0, sluice_claim(&r.in, &m, SLUICE_NOW));
		assert_int_equal(2, m.counter);
		unmake(&r);
	}
}

/* Words of every kind, anywhere: each call comes back. */
static void test_random_words(void **state)
{
	struct sluice_msg m;
	struct ring r;

	make(&r, 0);
	srand(11);
	for (int round = 0; round < 20000; round++) {
		u64 word = (u64)rand() << 33 ^ (u64)rand() << 11 ^ (u64)rand();

		/* near the present half of the time, or all would be passed as newer */
		if (round % 2)
			word = slot_word(slot_lap(slot_at(&r.in, r.in.ticket)->word) + word % 5 - 2,
					 (u32)word, (u32)(word >> 20),
					 (enum slot_state)(word >> 40 & 15));
		slot_at(&r.in, (u64)rand())->word = word;
		if (round % 16 == 0)
			r.out.control->tail = word;
		if (round % 64 == 0)
			r.hints->generation++;
		if (round % 256 == 0)
			*buffer_word(&r.out, (u32)rand() % NBUFS) = word;
		m = number(0);
		m.len = round % 3 ? 0 : 100;
		m.data = r.hints;
		sluice_send(&r.out, &m, SLUICE_NOW);
		if (!sluice_claim(&r.in, &m, SLUICE_NOW))
			sluice_ack(&r.in, &m);
	}
	unmake(&r);
}

/* How many different ones somebody gets who takes one at a time. */
static u32 take_turns(struct ring *r, u32 times)
{
	struct sluice_buffer b;
	u32 seen = 0, last = SLUICE_NO_BUFFER;

	while (times--) {
		assert_int_equal(0, sluice_buffer_take(&r->out, &b, SLUICE_NOW));
		assert_true(b.index != last || r->out.nturns == 1);
		last = b.index;
		seen |= 1u << last;
		assert_int_equal(0, sluice_buffer_drop(&r->out, &b));
	}
	return (u32)__builtin_popcount(seen);
}

/* Small buffers take turns, all of them; of large ones no more than 4 MiB become resident. */
static void test_buffers_take_turns(void **state)
{
	static const struct { u32 bufsize, turns; } of[] = {
		{ BUFSIZE, NBUFS }, { 1u << 20, NBUFS }, { 2u << 20, 2 }, { 91u << 20, 1 },
	};

	for (u32 i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		struct sluice_buffer b;
		struct ring r;

		make(&r, 0);
		r.out.bufsize = of[i].bufsize;	/* nothing is written into them */
		assert_int_equal(of[i].turns, take_turns(&r, 20));
		/* the others are there for who needs more at a time */
		for (u32 k = 0; k < NBUFS; k++)
			assert_int_equal(0, sluice_buffer_take(&r.out, &b, SLUICE_NOW));
		unmake(&r);
	}
}

/* What is in use has no turn, and when everything is, there is none. */
static void test_buffers(void **state)
{
	struct sluice_buffer a, all[NBUFS];
	struct ring r;

	make(&r, 0);
	for (u32 round = 0; round < 3; round++) {
		u32 seen = 0;

		for (u32 i = 0; i < NBUFS; i++) {
			assert_int_equal(0, sluice_buffer_take(&r.out, &all[i], SLUICE_NOW));
			seen |= 1u << all[i].index;
		}
		assert_int_equal((1u << NBUFS) - 1, seen);
		assert_int_equal(-EAGAIN, sluice_buffer_take(&r.out, &a, SLUICE_NOW));
		for (u32 i = 0; i < NBUFS; i++)
			assert_int_equal(0, sluice_buffer_drop(&r.out,
							       &all[(i * 3 + round) % NBUFS]));
	}
	unmake(&r);
}

/* Who was too slow is told, and frees neither the slot nor the buffer (P12, P17). */
static void test_late_ack(void **state)
{
	char big[200] = "more than a slot has room for";
	struct sluice_msg m = { .data = big, .len = sizeof(big), .buffer = SLUICE_NO_BUFFER };
	struct sluice_msg late, other;
	struct ring r;
	u64 *word;

	make(&r, 0);
	assert_int_equal(0, sluice_send(&r.out, &m, SLUICE_NOW));
	assert_int_equal(0, sluice_claim(&r.in, &late, SLUICE_NOW));
	assert_true(sluice_holds(&r.in, &late));
	/* as the kernel does after the timeout */
	assert_int_equal(SLOT_OK, slot_retry(&slot_at(&r.in, m.ticket)->word, late.token));
	r.hints->generation++;
	assert_false(sluice_holds(&r.in, &late));
	assert_int_equal(0, sluice_claim(&r.other_in, &other, SLUICE_NOW));
	assert_int_equal(2, other.attempt);
	word = buffer_word(&r.out, other.buffer);
	assert_int_equal(-ESTALE, sluice_ack(&r.in, &late));
	assert_true(*word == buf_word(m.ticket, BUF_SENT));
	assert_true(sluice_holds(&r.other_in, &other));
	assert_int_equal(0, sluice_ack(&r.other_in, &other));
	assert_true(*word == buf_word(0, BUF_FREE));
	unmake(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queue_first),
		cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_long_absence),
		cmocka_unit_test(test_absence_passes_nothing),
		cmocka_unit_test(test_absence_and_discard),
		cmocka_unit_test(test_generation),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_random_words),
		cmocka_unit_test(test_buffers_take_turns),
		cmocka_unit_test(test_buffers),
		cmocka_unit_test(test_late_ack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
