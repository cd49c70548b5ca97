// SPDX-License-Identifier: MIT
/*
 * Description: what a member of a broadcast gets has no gap, whoever comes and goes meanwhile
 *
 * The library's own walk, with something happening between two of its looks.
 */
#include "lib_memory.h"

static void (*between)(void);	/* done before the next look at a slot, once */
static struct ring ring;

static void happen(void)
{
	void (*what)(void) = between;

	between = NULL;
	if (what)
		what();
}

#define slot_look(w, lap)	(happen(), slot_look(w, lap))
#include "../../lib/broadcast.c"
#undef slot_look

#define ME	1u
#define OTHER	2u

static int begin(void **state)
{
	make(&ring, 0);
	ring.hints->policy = SLUICE_POLICY_BROADCAST;
	ring.hints->recipients = ME | OTHER;
	ring.out.policy = ring.other_out.policy = SLUICE_POLICY_BROADCAST;
	ring.in.recipient = ME;
	ring.other_in.recipient = OTHER;
	between = NULL;
	return 0;
}

static int end(void **state)
{
	unmake(&ring);
	return 0;
}

static void send_number(u64 n)
{
	struct sluice_msg m = number(n);

	assert_int_equal(0, sluice_send(&ring.out, &m, SLUICE_NOW));
}

static u64 *mask(u64 ticket)
{
	return &slot_at(&ring.out, ticket)->target;
}

static void test_everybody(void **state)
{
	struct sluice_msg mine, other;
	u64 n;

	for (n = 0; n < 3 * NSLOTS; n++) {
		send_number(n);
		assert_int_equal(0, sluice_claim(&ring.in, &mine, SLUICE_NOW));
		assert_int_equal(0, sluice_claim(&ring.other_in, &other, SLUICE_NOW));
		assert_int_equal(n, mine.counter);
		assert_int_equal(n, other.counter);
		assert_int_equal(1, mine.attempt);
		assert_true(sluice_holds(&ring.in, &mine));
		assert_int_equal(0, sluice_ack(&ring.in, &mine));
		assert_false(sluice_holds(&ring.in, &mine));
		assert_int_equal(-ESTALE, sluice_ack(&ring.in, &mine));
		assert_int_equal(0, sluice_ack(&ring.other_in, &other));
	}
}

/* Put out, what was ours is free; a producer had looked before, and sends something newer to us. */
static void put_out_and_address(void)
{
	ring.hints->recipients = OTHER;
	*mask(0) &= ~(u64)ME;
	*mask(1) &= ~(u64)ME;
	send_number(2);
	assert_int_equal(OTHER, *mask(2));
	*mask(2) |= ME;
}

static void test_no_gap_when_put_out(void **state)
{
	struct sluice_msg m;

	send_number(0);
	send_number(1);
	between = put_out_and_address;
	assert_int_equal(-ENOTCONN, sluice_claim(&ring.in, &m, SLUICE_NOW));
	assert_int_equal(-ENOTCONN, sluice_claim(&ring.in, &m, SLUICE_NOW));
}

static void put_out_and_free(void)
{
	struct sluice_msg m;
	int i;

	ring.hints->recipients = OTHER;
	for (i = 0; i < 2; i++) {
		*mask((u64)i) &= ~(u64)ME;
		assert_int_equal(0, sluice_claim(&ring.other_in, &m, SLUICE_NOW));
		assert_int_equal(0, sluice_ack(&ring.other_in, &m));
	}
	send_number(2);
	*mask(2) |= ME;
}

static void test_no_gap_when_freed(void **state)
{
	struct sluice_msg m;

	send_number(0);
	send_number(1);
	/* the walk has read slot 0 by then: its mask says that it is not ours */
	between = put_out_and_free;
	assert_int_equal(-ENOTCONN, sluice_claim(&ring.in, &m, SLUICE_NOW));
}

/* Of what is older than its start it clears its bit, and hands out none of it. */
static void test_early(void **state)
{
	struct sluice_msg m;

	send_number(0);
	send_number(1);
	send_number(2);
	*mask(0) = ME;
	*mask(1) = ME | OTHER;
	ring.in.early = true;
	ring.in.start = 2;
	assert_int_equal(0, sluice_claim(&ring.in, &m, SLUICE_NOW));
	assert_int_equal(2, m.counter);
	assert_int_equal(SLOT_FREE, slot_state(slot_at(&ring.out, 0)->word));
	assert_int_equal(OTHER, *mask(1));
	assert_int_equal(SLOT_READY, slot_state(slot_at(&ring.out, 1)->word));
}

/* Nobody would see it: nothing is sent, and slot and mask are as they were (P23). */
static void test_to_nobody(void **state)
{
	struct sluice_msg m = number(0);
	void *data;

	ring.hints->recipients = 0;
	assert_int_equal(-ENOTCONN, sluice_send(&ring.out, &m, SLUICE_NOW));
	assert_int_equal(-ENOTCONN, sluice_post(&ring.out, &m));
	assert_int_equal(0, sluice_reserve(&ring.out, &m, &data, SLUICE_NOW));
	assert_int_equal(-ENOTCONN, sluice_publish(&ring.out, &m));
	assert_int_equal(0, *mask(2));
	ring.hints->recipients = ME;
	send_number(7);
	assert_int_equal(0, sluice_claim(&ring.in, &m, SLUICE_NOW));
	assert_int_equal(7, m.counter);
}

/* Discarded: the mask is of nobody's ticket, and the next one's begins empty. */
static void test_discard(void **state)
{
	struct sluice_msg m = number(0);
	void *data;

	assert_int_equal(0, sluice_reserve(&ring.out, &m, &data, SLUICE_NOW));
	*mask(0) = ME;		/* the kernel, for somebody who joins now */
	assert_int_equal(0, sluice_discard(&ring.out, &m));
	assert_int_equal(0, *mask(0));
}

/* A buffer that is not ours: nothing is published, and nobody owes anything. */
static void test_bad_buffer(void **state)
{
	struct sluice_msg m = number(0);

	m.buffer = 1;
	m.len = 1;
	assert_int_equal(-EINVAL, sluice_send(&ring.out, &m, SLUICE_NOW));
	assert_int_equal(0, *mask(0));
	assert_int_equal(SLOT_FREE, slot_state(slot_at(&ring.out, 0)->word));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_everybody, begin, end),
		cmocka_unit_test_setup_teardown(test_no_gap_when_put_out, begin, end),
		cmocka_unit_test_setup_teardown(test_no_gap_when_freed, begin, end),
		cmocka_unit_test_setup_teardown(test_early, begin, end),
		cmocka_unit_test_setup_teardown(test_to_nobody, begin, end),
		cmocka_unit_test_setup_teardown(test_discard, begin, end),
		cmocka_unit_test_setup_teardown(test_bad_buffer, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
