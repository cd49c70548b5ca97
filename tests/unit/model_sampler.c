// SPDX-License-Identifier: MIT
/* Description: sampling keeps to its parameters, its seed and its counter */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sampler.h"

enum { N = 1000 };

static struct sampler *sampler;
static float logits[N];

static int setup(void **state)
{
	(void)state;
	return sampler_create(N, &sampler);
}

static int teardown(void **state)
{
	(void)state;
	sampler_free(sampler);
	return 0;
}

/* Four candidates with probabilities 1/2, 1/4, 1/8, 1/8 in places 10, 20, 30, 40. */
static void four_candidates(void)
{
	for (int i = 0; i < N; i++)
		logits[i] = -1000;
	logits[10] = 3;
	logits[20] = 3 - logf(2);
	logits[30] = logits[40] = 3 - logf(4);
}

static void greedy_takes_the_first_of_equals(void **state)
{
	struct sampler_params p = { .top_p = 1 };

	(void)state;
	for (int i = 0; i < N; i++)
		logits[i] = NAN;
	logits[500] = logits[700] = -2;
	assert_int_equal(sampler_sample(sampler, &p, 0, logits), 500);
	logits[3] = -INFINITY;
	assert_int_equal(sampler_sample(sampler, &p, 0, logits), 500);
	logits[999] = INFINITY;
	assert_int_equal(sampler_sample(sampler, &p, 0, logits), 999);
	p.temperature = 1;
	assert_int_equal(sampler_sample(sampler, &p, 0, logits), 999);
}

static void no_number_is_an_error(void **state)
{
	struct sampler_params p = { .top_p = 1, .temperature = 1 };

	(void)state;
	for (int i = 0; i < N; i++)
		logits[i] = NAN;
	assert_int_equal(sampler_sample(sampler, &p, 0, logits), -EINVAL);
}

static void parameters_are_checked(void **state)
{
	struct sampler_params bad[] = {
		{ .temperature = -1, .top_p = 1 }, { .temperature = NAN, .top_p = 1 },
		{ .temperature = INFINITY, .top_p = 1 }, { .top_p = 0 }, { .top_p = 1.5f },
		{ .top_p = NAN },
	};
	struct model_error err;

	(void)state;
	four_candidates();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(sampler_check(&bad[i], &err), -EINVAL);
		assert_true(strstr(err.text, "temperature") || strstr(err.text, "top-p"));
		assert_int_equal(sampler_sample(sampler, &bad[i], 0, logits), -EINVAL);
	}
}

/* How often each of the four was drawn in 4000 draws; nothing else may be. */
static void draw(struct sampler_params p, int count[4])
{
	memset(count, 0, 4 * sizeof(*count));
	for (uint64_t i = 0; i < 4000; i++) {
		int32_t id = sampler_sample(sampler, &p, i, logits);

		assert_true(id >= 10 && id <= 40 && id % 10 == 0);
		count[id / 10 - 1]++;
	}
}

static void frequencies_follow_probabilities(void **state)
{
	int c[4];

	(void)state;
	four_candidates();
	draw((struct sampler_params){ .temperature = 1, .top_p = 1, .seed = 5 }, c);
	/* Four standard deviations are 126, 110 and 84. */
	assert_in_range(c[0], 2000 - 126, 2000 + 126);
	assert_in_range(c[1], 1000 - 110, 1000 + 110);
	assert_in_range(c[2], 500 - 84, 500 + 84);
	/* At temperature 1/2 probabilities are squared: 8:2:1/2:1/2 of 11. */
	draw((struct sampler_params){ .temperature = 0.5f, .top_p = 1, .seed = 6 }, c);
	assert_in_range(c[0], 4000 * 8 / 11 - 113, 4000 * 8 / 11 + 113);
}

static void top_k_keeps_k(void **state)
{
	int c[4];

	(void)state;
	four_candidates();
	draw((struct sampler_params){ .temperature = 1, .top_p = 1, .top_k = 1 }, c);
	assert_int_equal(c[0], 4000);
	draw((struct sampler_params){ .temperature = 1, .top_p = 1, .top_k = 2 }, c);
	assert_int_equal(c[0] + c[1], 4000);
	assert_in_range(c[0], 2667 - 120, 2667 + 120);
	/* Of the two equal ones the lower id stays. */
	draw((struct sampler_params){ .temperature = 1, .top_p = 1, .top_k = 3 }, c);
	assert_true(c[2] > 0);
	assert_int_equal(c[3], 0);
	draw((struct sampler_params){ .temperature = 1, .top_p = 1, .top_k = 5000 }, c);
	assert_true(c[3] > 0);
}

static void top_p_keeps_the_fewest(void **state)
{
	int c[4];

	(void)state;
	four_candidates();
	draw((struct sampler_params){ .temperature = 1, .top_p = 0.4f }, c);
	assert_int_equal(c[0], 4000);
	draw((struct sampler_params){ .temperature = 1, .top_p = 0.7f }, c);
	assert_int_equal(c[0] + c[1], 4000);
	assert_true(c[1] > 0);
	/* Of the best three, 1/2 of 7/8 is 57 per cent: top-p counts within top-k. */
	draw((struct sampler_params){ .temperature = 1, .top_p = 0.55f, .top_k = 3 }, c);
	assert_int_equal(c[0], 4000);
}

static void same_seed_and_counter_same_token(void **state)
{
	struct sampler_params p = { .temperature = 1.5f, .top_p = 0.95f, .top_k = 50, .seed = 42 };
	struct sampler_params q = p;
	int differ = 0;

	(void)state;
	q.seed++;
	for (int i = 0; i < N; i++)
		logits[i] = sinf((float)i);
	for (uint64_t i = 0; i < 200; i++) {
		int32_t first = sampler_sample(sampler, &p, i, logits);

		differ += first != sampler_sample(sampler, &q, i, logits);
		assert_int_equal(sampler_sample(sampler, &p, i, logits), first);
	}
	assert_true(differ > 100);
}

/* Known answers of Random123: counter and key all zero begin with 6627e8d5 e169c58d. */
static void random_numbers_are_philox(void **state)
{
	double sum = 0;

	(void)state;
	assert_true(sampler_uniform(0, 0) == (double)(0xe169c58d6627e8d5ull >> 11) * 0x1p-53);
	for (uint64_t i = 0; i < 10000; i++) {
		double u = sampler_uniform(7, i);

		assert_true(u >= 0 && u < 1);
		sum += u;
	}
	assert_true(fabs(sum / 10000 - 0.5) < 0.015);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(greedy_takes_the_first_of_equals),
		cmocka_unit_test(no_number_is_an_error),
		cmocka_unit_test(parameters_are_checked),
		cmocka_unit_test(frequencies_follow_probabilities),
		cmocka_unit_test(top_k_keeps_k),
		cmocka_unit_test(top_p_keeps_the_fewest),
		cmocka_unit_test(same_seed_and_counter_same_token),
		cmocka_unit_test(random_numbers_are_philox),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
