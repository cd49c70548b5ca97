// SPDX-License-Identifier: MIT
/*
 * Description: how long a pipeline takes (userspace/sluicectl/predict.c), by hand
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../userspace/sluicectl/predict.h"

#define S	1000000000ull

/* Up to three stages with so many seconds; a negative one ends the list. */
static struct predict_input pipeline(uint64_t messages, int a, int b, int c)
{
	const int seconds[] = { a, b, c };
	struct predict_input in = { .messages = messages };

	for (; in.nstages < 3 && seconds[in.nstages] >= 0; in.nstages++)
		in.stage[in.nstages] = (struct predict_stage){
			.service_ns = (uint64_t)seconds[in.nstages] * S, .replicas = 1,
		};
	return in;
}

static struct predict_result answer(const struct predict_input *in)
{
	struct predict_result out;

	memset(&out, 0xcc, sizeof(out));
	assert_int_equal(predict(in, &out), 0);
	return out;
}

static void assert_near(double have, double want)
{
	if (fabs(have - want) > 1e-9 * fabs(want))
		fail_msg("%.12g instead of %.12g", have, want);
}

/* -------------------------------------------------- the article's example --- */

static void test_articles_formulas(void **state)
{
	struct predict_input in = pipeline(10, 2, 3, 4);
	struct predict_article article;

	assert_int_equal(predict_article(&in, 3, &article), 0);
	assert_int_equal(article.synchronous_ns, 4 * S);
	assert_int_equal(article.asynchronous_ns, 13 * S);
	assert_int_equal(article.balancers_ns, 12 * S);
}

/* Whatever else is asked: they know neither replicas nor hops nor how many messages. */
static void test_articles_formulas_are_its_own(void **state)
{
	struct predict_input in = pipeline(99, 2, 3, 4);
	struct predict_article article;

	in.stage[2].replicas = 4;
	in.hop_ns = S;
	assert_int_equal(predict_article(&in, 0, &article), 0);
	assert_int_equal(article.synchronous_ns, 4 * S);
	assert_int_equal(article.asynchronous_ns, 13 * S);
	assert_int_equal(article.balancers_ns, 0);
}

static void test_example(void **state)
{
	struct predict_input in = pipeline(10, 2, 3, 4);
	struct predict_result out = answer(&in);

	assert_int_equal(out.first_ns, 9 * S);
	assert_near(out.interval_ns, 4 * S);
	assert_near(out.per_second, 0.25);
	assert_int_equal(out.pipelined_ns, 45 * S);
	assert_int_equal(out.synchronous_ns, 90 * S);
	assert_int_equal(out.bottleneck, 2);
	assert_near(out.utilisation[0], 0.5);
	assert_near(out.utilisation[1], 0.75);
	assert_near(out.utilisation[2], 1);
}

/* In any order of the stages the times are the same: 9 s, then every 4 s. */
static void test_order_of_stages(void **state)
{
	const int orders[][3] = { { 2, 3, 4 }, { 2, 4, 3 }, { 3, 2, 4 },
				  { 3, 4, 2 }, { 4, 2, 3 }, { 4, 3, 2 } };
	uint64_t done[3];

	for (int i = 0; i < 6; i++) {
		struct predict_input in = pipeline(3, orders[i][0], orders[i][1], orders[i][2]);
		struct predict_result out = answer(&in);

		assert_int_equal(orders[i][out.bottleneck], 4);
		assert_int_equal(predict_results(&in, 3, done), 0);
		assert_int_equal(done[0], 9 * S);
		assert_int_equal(done[1], 13 * S);
		assert_int_equal(done[2], 17 * S);
	}
}

static void test_one_message(void **state)
{
	struct predict_input in = pipeline(1, 2, 3, 4);
	struct predict_result out = answer(&in);

	assert_int_equal(out.pipelined_ns, 9 * S);
	assert_int_equal(out.synchronous_ns, 9 * S);
}

static void test_one_stage(void **state)
{
	struct predict_input in = pipeline(7, 5, -1, -1);
	struct predict_result out = answer(&in);

	assert_int_equal(out.first_ns, 5 * S);
	assert_int_equal(out.pipelined_ns, 35 * S);
	assert_int_equal(out.synchronous_ns, 35 * S);
	assert_int_equal(out.bottleneck, 0);
}

/* Four hops of a second: later, but not less often. */
static void test_hops(void **state)
{
	struct predict_input in = pipeline(10, 2, 3, 4);
	struct predict_result out;

	in.hop_ns = S;
	out = answer(&in);
	assert_int_equal(out.first_ns, 13 * S);
	assert_near(out.interval_ns, 4 * S);
	assert_int_equal(out.pipelined_ns, 49 * S);
	assert_int_equal(out.synchronous_ns, 130 * S);
}

/* --------------------------------------------------------------- replicas --- */

/* Two decoders: the encoder is the bottleneck, 9 + 9 * 3. */
static void test_replicas_move_the_bottleneck(void **state)
{
	struct predict_input in = pipeline(10, 2, 3, 4);
	struct predict_result out;

	in.stage[2].replicas = 2;
	out = answer(&in);
	assert_int_equal(out.bottleneck, 1);
	assert_near(out.interval_ns, 3 * S);
	assert_near(out.stage_interval_ns[2], 2 * S);
	assert_near(out.utilisation[2], 2.0 / 3);
	assert_int_equal(out.first_ns, 9 * S);
	assert_int_equal(out.pipelined_ns, 36 * S);
	assert_int_equal(out.synchronous_ns, 90 * S);
}

/* Three at a time: 4, 4, 4, 8, 8, 8, 12 and never a third of it. */
static void test_fewer_messages_than_replicas(void **state)
{
	struct predict_input in = pipeline(2, 4, -1, -1);
	uint64_t done[7];

	in.stage[0].replicas = 3;
	assert_int_equal(answer(&in).pipelined_ns, 4 * S);
	assert_int_equal(predict_results(&in, 7, done), 0);
	for (int k = 0; k < 7; k++)
		assert_int_equal(done[k], (uint64_t)(k / 3 + 1) * 4 * S);
	assert_near(answer(&in).interval_ns, 4 * S / 3.0);
}

/* 1 s, then 10 s at three: arrivals 1, 2, 3, 4 leave at 11, 12, 13 and 21. */
static void test_replicas_behind_a_stage(void **state)
{
	const uint64_t want[] = { 11, 12, 13, 21, 22, 23, 31 };
	struct predict_input in = pipeline(7, 1, 10, -1);
	uint64_t done[7];

	in.stage[1].replicas = 3;
	assert_int_equal(predict_results(&in, 7, done), 0);
	for (int k = 0; k < 7; k++)
		assert_int_equal(done[k], want[k] * S);
	assert_int_equal(answer(&in).pipelined_ns, 31 * S);
}

/* 4 s at two and 2 s at one: both every 2 s, the first of them is named. */
static void test_equal_stages(void **state)
{
	struct predict_input in = pipeline(5, 4, 2, -1);
	struct predict_result out;

	in.stage[0].replicas = 2;
	out = answer(&in);
	assert_int_equal(out.bottleneck, 0);
	assert_near(out.utilisation[1], 1);
}

static void test_policies_by_turn_are_alike(void **state)
{
	struct predict_input in = pipeline(11, 2, 3, 4);

	in.stage[2].replicas = 3;
	for (int policy = PREDICT_SHARED; policy <= PREDICT_LEAST_OUTSTANDING; policy++) {
		in.stage[2].policy = (enum predict_policy)policy;
		assert_int_equal(answer(&in).pipelined_ns, 39 * S);
	}
}

/* What is left out of many messages, against following each of them. */
static void test_many_messages_against_each(void **state)
{
	static uint64_t done[3000];

	srand(3);
	for (int round = 0; round < 300; round++) {
		struct predict_input in = { .nstages = 1 + (uint32_t)rand() % 4 };

		for (uint32_t i = 0; i < in.nstages; i++)
			in.stage[i] = (struct predict_stage){
				.service_ns = (uint64_t)rand() % 50,
				.replicas = 1 + (uint32_t)rand() % 9,
			};
		in.messages = 1;
		assert_int_equal(predict_results(&in, 3000, done), 0);
		for (; in.messages <= 3000; in.messages += 1 + in.messages / 20)
			assert_int_equal(answer(&in).pipelined_ns, done[in.messages - 1]);
	}
}

/* --------------------------------------------------------------- affinity --- */

static struct predict_input affine(uint64_t messages, uint32_t replicas, uint32_t streams)
{
	struct predict_input in = pipeline(messages, 4, -1, -1);

	in.stage[0].replicas = replicas;
	in.stage[0].policy = PREDICT_AFFINITY;
	in.streams = streams;
	return in;
}

static void test_affinity_with_few_streams(void **state)
{
	struct predict_input in = affine(8, 4, 2);
	struct predict_result out = answer(&in);

	assert_near(out.interval_ns, 2 * S);
	assert_near(out.utilisation[0], 0.5);
	assert_int_equal(out.pipelined_ns, 16 * S);
	in = affine(8, 4, 1);
	assert_int_equal(answer(&in).pipelined_ns, 32 * S);
}

static void test_affinity_with_many_streams(void **state)
{
	struct predict_input in = affine(8, 4, 8);
	struct predict_result out = answer(&in);

	assert_near(out.interval_ns, S);
	assert_near(out.utilisation[0], 1);
	assert_int_equal(out.pipelined_ns, 8 * S);
}

/* Three streams, two replicas: one of them serves two of three messages. */
static void test_affinity_that_is_uneven(void **state)
{
	const uint64_t want[] = { 4, 4, 8, 8, 12, 16 };
	struct predict_input in = affine(6, 2, 3);
	struct predict_result out = answer(&in);
	uint64_t done[6];

	assert_near(out.interval_ns, 8 * S / 3.0);
	assert_near(out.utilisation[0], 0.75);
	assert_int_equal(predict_results(&in, 6, done), 0);
	for (int k = 0; k < 6; k++)
		assert_int_equal(done[k], want[k] * S);
}

/* Behind it messages come as they are done, not as they were sent: 4, 4, 8, 8, 12, 16, then 1 s. */
static void test_stage_behind_affinity(void **state)
{
	const uint64_t want[] = { 5, 6, 9, 10, 13, 17 };
	struct predict_input in = affine(6, 2, 3);
	uint64_t done[6];

	in.nstages = 2;
	in.stage[1] = (struct predict_stage){ .service_ns = S, .replicas = 1 };
	assert_int_equal(predict_results(&in, 6, done), 0);
	for (int k = 0; k < 6; k++)
		assert_int_equal(done[k], want[k] * S);
}

/* ----------------------------------------------------------------- limits --- */

static void test_zero_times(void **state)
{
	struct predict_input in = pipeline(1000000000000, 0, 0, -1);
	struct predict_result out = answer(&in);

	assert_int_equal(out.first_ns, 0);
	assert_int_equal(out.pipelined_ns, 0);
	assert_int_equal(out.synchronous_ns, 0);
	assert_true(out.interval_ns == 0 && isinf(out.per_second));
	assert_true(out.utilisation[0] == 0 && out.utilisation[1] == 0);
	in = pipeline(3, 0, 4, 0);
	out = answer(&in);
	assert_int_equal(out.bottleneck, 1);
	assert_int_equal(out.pipelined_ns, 12 * S);
}

/* 10^18 messages of a nanosecond and a few more: exact, and at once. */
static void test_huge_number_of_messages(void **state)
{
	struct predict_input in = pipeline(1000000000000000000, 0, 0, 0);
	struct predict_result out;

	in.stage[0].service_ns = 1;
	in.stage[1].service_ns = 9;
	in.stage[2].service_ns = 3;
	in.stage[1].replicas = 3;
	in.stage[2].replicas = 2;
	out = answer(&in);
	/* 13 + knapsack of 10^18 - 1 = 3 * 333333333333333333, with 9 for each 3 */
	assert_int_equal(out.pipelined_ns, 13 + 9 * 333333333333333333ull);
	assert_int_equal(out.synchronous_ns, 13000000000000000000ull);
}

static void test_overflow(void **state)
{
	struct predict_input in = pipeline(2, 0, -1, -1);
	struct predict_result out;
	struct predict_article article;
	uint64_t done[2];

	in.stage[0].service_ns = UINT64_MAX / 2;
	assert_int_equal(answer(&in).synchronous_ns, UINT64_MAX - 1);
	in.messages = 3;
	assert_int_equal(predict(&in, &out), -EOVERFLOW);
	in.messages = UINT64_MAX;
	assert_int_equal(predict(&in, &out), -EOVERFLOW);
	in.stage[0].service_ns = 1;
	assert_int_equal(answer(&in).pipelined_ns, UINT64_MAX);
	in.stage[0].service_ns = UINT64_MAX;
	in.messages = 1;
	assert_int_equal(answer(&in).pipelined_ns, UINT64_MAX);
	assert_int_equal(predict_results(&in, 2, done), -EOVERFLOW);
	assert_int_equal(predict_article(&in, 0, &article), -EOVERFLOW);
	in.hop_ns = 1;
	assert_int_equal(predict(&in, &out), -EOVERFLOW);
	in.hop_ns = UINT64_MAX;
	in.stage[0].service_ns = 0;
	assert_int_equal(predict(&in, &out), -EOVERFLOW);
	in = pipeline(1, 0, 1, -1);
	in.stage[0].service_ns = UINT64_MAX;
	assert_int_equal(predict(&in, &out), -EOVERFLOW);
}

static void test_article_overflow(void **state)
{
	struct predict_input in = pipeline(1, 4, -1, -1);
	struct predict_article article;

	assert_int_equal(predict_article(&in, UINT64_MAX, &article), -EOVERFLOW);
	in.nstages = 0;
	assert_int_equal(predict_article(&in, 1, &article), -EINVAL);
}

static void test_wrong_input(void **state)
{
	const struct predict_input good = pipeline(10, 2, 3, 4);
	struct predict_input in = good;
	struct predict_result out;
	uint64_t done[1];

	in.nstages = 0;
	assert_int_equal(predict(&in, &out), -EINVAL);
	in.nstages = PREDICT_MAX_STAGES + 1;
	assert_int_equal(predict(&in, &out), -EINVAL);
	assert_int_equal(predict_results(&in, 1, done), -EINVAL);
	in = good;
	in.messages = 0;
	assert_int_equal(predict(&in, &out), -EINVAL);
	in = good;
	in.stage[1].replicas = 0;
	assert_int_equal(predict(&in, &out), -EINVAL);
	in.stage[1].replicas = PREDICT_MAX_REPLICAS + 1;
	assert_int_equal(predict(&in, &out), -EINVAL);
	in.stage[1].replicas = PREDICT_MAX_REPLICAS;
	assert_int_equal(predict(&in, &out), 0);
	in.stage[1].policy = PREDICT_AFFINITY;
	assert_int_equal(predict(&in, &out), -EINVAL);
	in.streams = 1;
	assert_int_equal(predict(&in, &out), 0);
	in.stage[1].policy = PREDICT_AFFINITY + 1;
	assert_int_equal(predict(&in, &out), -EINVAL);
	assert_int_equal(predict_results(&good, 0, NULL), 0);
}

static void test_too_many_to_follow(void **state)
{
	struct predict_input in = affine(PREDICT_MAX_STEPS, 2, 2);
	struct predict_result out;

	assert_int_equal(answer(&in).pipelined_ns, PREDICT_MAX_STEPS / 2 * 4 * S);
	in.messages++;
	assert_int_equal(predict(&in, &out), -E2BIG);
	in.stage[0].policy = PREDICT_SHARED;
	assert_int_equal(predict(&in, &out), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_articles_formulas),
		cmocka_unit_test(test_articles_formulas_are_its_own),
		cmocka_unit_test(test_example),
		cmocka_unit_test(test_order_of_stages),
		cmocka_unit_test(test_one_message),
		cmocka_unit_test(test_one_stage),
		cmocka_unit_test(test_hops),
		cmocka_unit_test(test_replicas_move_the_bottleneck),
		cmocka_unit_test(test_fewer_messages_than_replicas),
		cmocka_unit_test(test_replicas_behind_a_stage),
		cmocka_unit_test(test_equal_stages),
		cmocka_unit_test(test_policies_by_turn_are_alike),
		cmocka_unit_test(test_many_messages_against_each),
		cmocka_unit_test(test_affinity_with_few_streams),
		cmocka_unit_test(test_affinity_with_many_streams),
		cmocka_unit_test(test_affinity_that_is_uneven),
		cmocka_unit_test(test_stage_behind_affinity),
		cmocka_unit_test(test_zero_times),
		cmocka_unit_test(test_huge_number_of_messages),
		cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_article_overflow),
		cmocka_unit_test(test_wrong_input),
		cmocka_unit_test(test_too_many_to_follow),
	};

	return cmocka_run_group_tests_name("sluicectl_predict", tests, NULL, NULL);
}
