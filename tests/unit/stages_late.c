// SPDX-License-Identifier: MIT
/*
 * Description: a daemon whose claim was given to somebody else publishes nothing of it (P12)
 */
#include "../../userspace/stages/stage.h"
#include "lib_memory.h"

static const struct stage_ops ops = { .self = MSG_DECODER };

/* One claimed message, as run() would get it. */
static void claimed(struct ring *r, struct stage *st, struct stage_input *in)
{
	struct sluice_msg m = number(5);

	make(r, 0);
	memset(st, 0, sizeof(*st));
	memset(in, 0, sizeof(*in));
	st->ops = &ops;
	st->in = &r->in;
	assert_int_equal(0, sluice_send(&r->out, &m, SLUICE_NOW));
	assert_int_equal(0, sluice_claim(&r->in, &in->m, SLUICE_NOW));
}

/* What the kernel does when a claim does not move. */
static void time_out(struct ring *r, const struct stage_input *in)
{
	u64 *word = &slot_at(&r->in, in->m.ticket)->word;

	assert_int_equal(SLOT_OK, slot_retry(word, *word));
	r->hints->generation++;
}

static void test_in_time(void **state)
{
	struct stage_input in;
	struct stage st;
	struct ring r;

	claimed(&r, &st, &in);
	assert_true(stage_holds(&st, &in));
	assert_int_equal(0, sluice_ack(&r.in, &in.m));
	unmake(&r);
}

static void test_ready_again(void **state)
{
	struct stage_input in;
	struct stage st;
	struct ring r;

	claimed(&r, &st, &in);
	time_out(&r, &in);
	assert_false(stage_holds(&st, &in));
	unmake(&r);
}

/* Somebody else has it, or this very process once more: the old claim is over all the same. */
static void test_claimed_again(void **state)
{
	for (int self = 0; self < 2; self++) {
		struct stage_input in;
		struct sluice_msg m;
		struct stage st;
		struct ring r;

		claimed(&r, &st, &in);
		time_out(&r, &in);
		assert_int_equal(0, sluice_claim(self ? &r.in : &r.other_in, &m, SLUICE_NOW));
		assert_int_equal(5, m.counter);
		assert_int_equal(2, m.attempt);
		assert_false(stage_holds(&st, &in));
		assert_int_equal(-ESTALE, sluice_ack(&r.in, &in.m));
		unmake(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_time),
		cmocka_unit_test(test_ready_again),
		cmocka_unit_test(test_claimed_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
