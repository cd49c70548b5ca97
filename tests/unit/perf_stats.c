// SPDX-License-Identifier: MIT
/*
 * Description: percentiles and medians of the benchmarks (userspace/perf/stats.c)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../../userspace/perf/stats.h"

#define N(v) (sizeof(v) / sizeof((v)[0]))

/* The definition, counted by hand: the smallest value that at least p * n values do not exceed. */
static uint64_t counted_percentile(const uint64_t *v, size_t n, size_t per_mille)
{
	uint64_t best = UINT64_MAX;

	for (size_t i = 0; i < n; i++) {
		size_t not_above = 0;

		for (size_t k = 0; k < n; k++)
			not_above += v[k] <= v[i];
		if (not_above * 1000 >= per_mille * n && v[i] < best)
			best = v[i];
	}
	return best;
}

static void test_percentile_is_nearest_rank(void **state)
{
	uint64_t v[251];

	srand(7);
	for (size_t n = 1; n <= N(v); n += 25) {
		for (size_t i = 0; i < n; i++)
			v[i] = (uint64_t)(rand() % 97);
		stats_sort(v, n);
		for (size_t k = 0; k <= 1000; k++)
			assert_int_equal(stats_percentile(v, n, (double)k / 1000),
					 counted_percentile(v, n, k));
	}
}

static void test_percentile_of_round_numbers(void **state)
{
	static uint64_t v[1000000];

	for (size_t i = 0; i < N(v); i++)
		v[i] = i + 1;
	assert_int_equal(stats_percentile(v, N(v), 0), 1);
	assert_int_equal(stats_percentile(v, N(v), 0.5), 500000);
	assert_int_equal(stats_percentile(v, N(v), 0.99), 990000);
	assert_int_equal(stats_percentile(v, N(v), 0.999), 999000);
	assert_int_equal(stats_percentile(v, N(v), 1), 1000000);
	assert_int_equal(stats_percentile(v, 1, 0.999), 1);
}

static void test_sort_keeps_large_values_apart(void **state)
{
	uint64_t v[] = { UINT64_MAX, 0, 1ull << 63, 5, (1ull << 63) + 1, 5 };
	const uint64_t sorted[] = { 0, 5, 5, 1ull << 63, (1ull << 63) + 1, UINT64_MAX };

	stats_sort(v, N(v));
	assert_memory_equal(v, sorted, sizeof(v));
}

static void test_median_and_spread(void **state)
{
	const double odd[] = { 9, 1, 5 }, even[] = { 4, 1, 3, 2 };
	struct stats_spread s = stats_spread(odd, N(odd));

	assert_true(stats_median(odd, N(odd)) == 5);
	assert_true(stats_median(even, N(even)) == 2.5);
	assert_true(s.median == 5 && s.min == 1 && s.max == 9);
	s = stats_spread(odd, 1);
	assert_true(s.median == 9 && s.min == 9 && s.max == 9);
}

/* A clock that ticks in steps of 26 sees 310 ticks as 286 or 312: the median is between. */
static void test_grouped_median_of_a_coarse_clock(void **state)
{
	static uint64_t v[100000];
	double median;

	for (size_t i = 0; i < N(v); i++) {
		uint64_t begin = i * 7, end = begin + 310;

		v[i] = end / 26 * 26 - begin / 26 * 26;
	}
	stats_sort(v, N(v));
	assert_int_equal(stats_percentile(v, N(v), 0.5), 312);
	median = stats_median_grouped(v, N(v));
	assert_true(median > 307 && median < 313);
}

static void test_grouped_median_without_steps(void **state)
{
	const uint64_t v[] = { 3, 10, 11, 50, 1000 }, same[] = { 8, 8, 8 };

	assert_true(stats_median_grouped(v, N(v)) == 11);
	assert_true(stats_median_grouped(v, 1) == 3);
	assert_true(stats_median_grouped(same, N(same)) == 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_percentile_is_nearest_rank),
		cmocka_unit_test(test_percentile_of_round_numbers),
		cmocka_unit_test(test_sort_keeps_large_values_apart),
		cmocka_unit_test(test_median_and_spread),
		cmocka_unit_test(test_grouped_median_of_a_coarse_clock),
		cmocka_unit_test(test_grouped_median_without_steps),
	};

	return cmocka_run_group_tests_name("perf_stats", tests, NULL, NULL);
}
