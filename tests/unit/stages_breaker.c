// SPDX-License-Identifier: MIT
/*
 * Description: circuit breaker: opens after failures within a window, tries one, closes or waits longer
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../userspace/stages/breaker.h"

static const struct breaker_policy policy = {
	.failures = 3, .window_ns = 100, .backoff_ns = 10, .backoff_max_ns = 35,
};

static struct breaker made(void)
{
	struct breaker b;

	breaker_init(&b, &policy);
	return b;
}

/* Three failures in a row at @now; it must open at the third. */
static void open_it(struct breaker *b, uint64_t now)
{
	assert_false(breaker_failure(b, now));
	assert_false(breaker_failure(b, now));
	assert_true(breaker_failure(b, now));
	assert_int_equal(BREAKER_OPEN, b->state);
}

static void test_opens(void **state)
{
	struct breaker b = made();

	assert_true(breaker_allow(&b, 0));
	open_it(&b, 5);
	assert_int_equal(1, b.trips);
	assert_false(breaker_allow(&b, 5));
	assert_int_equal(10, breaker_retry_ns(&b, 5));
	assert_int_equal(1, breaker_retry_ns(&b, 14));
	assert_false(breaker_allow(&b, 14));
}

static void test_success_forgives(void **state)
{
	struct breaker b = made();

	breaker_failure(&b, 1);
	breaker_failure(&b, 2);
	assert_false(breaker_success(&b));
	open_it(&b, 3);
}

static void test_window(void **state)
{
	struct breaker b = made();

	assert_false(breaker_failure(&b, 0));
	assert_false(breaker_failure(&b, 60));
	assert_false(breaker_failure(&b, 101));	/* the first is older than the window */
	assert_true(breaker_failure(&b, 160));	/* 60, 101, 160: just within it */
}

static void test_one_probe(void **state)
{
	struct breaker b = made();

	open_it(&b, 0);
	assert_true(breaker_allow(&b, 10));
	assert_int_equal(BREAKER_HALF_OPEN, b.state);
	assert_int_equal(0, breaker_retry_ns(&b, 10));
	assert_false(breaker_allow(&b, 10));
	assert_false(breaker_allow(&b, 1000));
	assert_true(breaker_success(&b));
	assert_int_equal(BREAKER_CLOSED, b.state);
	assert_true(breaker_allow(&b, 11));
	/* as new: the same number opens it, for as short a time as the first */
	open_it(&b, 20);
	assert_int_equal(10, breaker_retry_ns(&b, 20));
}

static void test_backoff_doubles(void **state)
{
	static const uint64_t want[] = { 10, 20, 35, 35 };
	struct breaker b = made();
	uint64_t now = 0;

	open_it(&b, now);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(want[i], breaker_retry_ns(&b, now));
		now += want[i];
		assert_true(breaker_allow(&b, now));
		assert_true(breaker_failure(&b, now));	/* one is enough now */
	}
	assert_int_equal(5, b.trips);
}

/* Work that was begun before it opened fails afterwards: that does not move its time. */
static void test_late_failure(void **state)
{
	struct breaker b = made();

	open_it(&b, 0);
	assert_false(breaker_failure(&b, 9));
	assert_int_equal(1, b.trips);
	assert_true(breaker_allow(&b, 10));
}

static void test_skip(void **state)
{
	struct breaker b = made();

	breaker_skip(&b, 1);
	assert_int_equal(BREAKER_CLOSED, b.state);
	open_it(&b, 0);
	assert_true(breaker_allow(&b, 10));
	breaker_skip(&b, 12);
	assert_int_equal(BREAKER_OPEN, b.state);
	assert_true(breaker_allow(&b, 12));
	assert_int_equal(1, b.trips);
}

static void test_senseless_policy(void **state)
{
	const struct breaker_policy none = { .failures = 0, .backoff_ns = 7 };
	const struct breaker_policy many = { .failures = 1000, .window_ns = UINT64_MAX };
	struct breaker b;

	breaker_init(&b, &none);
	assert_true(breaker_failure(&b, 1));
	assert_int_equal(7, breaker_retry_ns(&b, 1));
	breaker_init(&b, &many);
	for (uint32_t i = 1; i < BREAKER_MAX_FAILURES; i++)
		assert_false(breaker_failure(&b, i));
	assert_true(breaker_failure(&b, 99));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opens),
		cmocka_unit_test(test_success_forgives),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_one_probe),
		cmocka_unit_test(test_backoff_doubles),
		cmocka_unit_test(test_late_failure),
		cmocka_unit_test(test_skip),
		cmocka_unit_test(test_senseless_policy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
