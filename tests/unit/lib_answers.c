// SPDX-License-Identifier: MIT
/*
 * Description: when the reader of an answer is woken early: after quick ones, and while it pays
 *
 * The library's own source on a clock of ours.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "internal.h"

static u64 now;		/* ticks, each a nanosecond */

#define sluice_ticks()		now
#define sluice_ticks_to_ns(t)	(t)
#include "../../lib/early.c"

#define QUICKLY	(QUICK_NS / 2)
#define SLOWLY	(QUICK_NS * 10)

struct server {
	struct sluice_ctx ctx;
	struct sluice_ep out;
};

static void start(struct server *s)
{
	*s = (struct server) { .out.uring = true };
	s->out.ctx = &s->ctx;
	now = 1000000;
}

/*
 * Woken by a question, answer after @took; the answer finds its reader asleep, or awake. Then the
 * server is about to sleep again: will the reader be woken with it?
 */
static bool answer(struct server *s, u64 took, bool asleep)
{
	__sluice_early_woken(&s->ctx);
	now += took;
	s->out.published_at = now;
	if (asleep)
		__sluice_early_kicked(&s->out);
	now += 10 * QUICK_NS;
	return __sluice_early_for(&s->ctx) == &s->out;
}

static void test_after_a_quick_answer(void **state)
{
	struct server s;

	start(&s);
	assert_true(answer(&s, QUICKLY, true));
}

static void test_not_after_a_slow_one(void **state)
{
	struct server s;
	int i;

	start(&s);
	for (i = 0; i < 100; i++)
		assert_false(answer(&s, SLOWLY, true));
	/* what was earned is lost with the first slow one */
	for (i = 0; i < CREDIT_MAX; i++)
		assert_true(answer(&s, QUICKLY, !i));
	assert_false(answer(&s, SLOWLY, false));
	assert_true(answer(&s, QUICKLY, false));
	assert_false(answer(&s, QUICKLY, true));
}

/* A reader that never sleeps needs no waking. */
static void test_not_for_those_who_are_awake(void **state)
{
	struct server s;
	int i;

	start(&s);
	for (i = 0; i < 100; i++)
		assert_false(answer(&s, QUICKLY, false));
}

/* Woken early and asleep again each time: it stops, and tries again much later. */
static void test_a_pause_when_it_is_in_vain(void **state)
{
	struct server s;
	int i, early = 0;

	start(&s);
	for (i = 0; i < 1000; i++)
		early += answer(&s, QUICKLY, true);
	assert_in_range(early, 2, 1000 / -CREDIT_PAUSE + 1);
}

/* One in vain among many that were not does no harm. */
static void test_credit(void **state)
{
	struct server s;
	int i;

	start(&s);
	assert_true(answer(&s, QUICKLY, true));
	for (i = 0; i < CREDIT_MAX; i++)
		assert_true(answer(&s, QUICKLY, false));
	for (i = 0; i < 100; i++)
		assert_true(answer(&s, QUICKLY, !(i % (CREDIT_VAIN + 1))));
}

static void test_an_endpoint_that_goes(void **state)
{
	struct server s;
	struct sluice_ep other = { .ctx = &s.ctx };

	start(&s);
	assert_true(answer(&s, QUICKLY, true));
	__sluice_early_forget(&other);
	assert_ptr_equal(&s.out, s.ctx.early.ep);
	__sluice_early_forget(&s.out);
	assert_null(s.ctx.early.ep);
	assert_null(__sluice_early_for(&s.ctx));
}

/* Where io_uring is not to be had, nothing can be linked to a wait. */
static void test_only_with_io_uring(void **state)
{
	struct server s;

	start(&s);
	s.out.uring = false;
	assert_false(answer(&s, QUICKLY, true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_after_a_quick_answer),
		cmocka_unit_test(test_not_after_a_slow_one),
		cmocka_unit_test(test_not_for_those_who_are_awake),
		cmocka_unit_test(test_a_pause_when_it_is_in_vain),
		cmocka_unit_test(test_credit),
		cmocka_unit_test(test_an_endpoint_that_goes),
		cmocka_unit_test(test_only_with_io_uring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
