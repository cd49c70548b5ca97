// SPDX-License-Identifier: MIT
/*
 * Description: the text of an answer (userspace/stages/answer.c): the pieces put together are the
 * text up to the first stop string, no piece is ever taken back, and each is a function of history
 */
#include "model_fixture.h"

#include <errno.h>

#include "../../userspace/stages/answer.h"

#define MAX_TEXT	64

static struct tokenizer *tok;
static struct answer *answer;

static int setup(void **state)
{
	struct model_error err;

	return fx_make_dir(state) || tokenizer_open(fx_model_file(NULL), &tok, &err) ||
	       answer_create(tok, &answer);
}

static int teardown(void **state)
{
	answer_free(answer);
	tokenizer_free(tok);
	return fx_remove_dir(state);
}

static struct msg_view with_stops(const char *const *stops, uint32_t n)
{
	struct msg_view v = { .head = { .n_stops = n } };
	char *p = v.stops;

	for (uint32_t i = 0; i < n; i++)
		p = stpcpy(p, stops[i]) + 1;
	v.head.stop_bytes = (uint32_t)(p - v.stops);
	return v;
}

/* Feeds bytes as tokens until a stop string or the end; the pieces together. */
static size_t collect(const struct msg_view *v, const char *text, size_t len, char *out)
{
	int32_t ids[MAX_TEXT];
	size_t got = 0, n;
	const char *piece;

	for (size_t i = 0; i < len; i++) {
		int ret;

		ids[i] = (uint8_t)text[i];
		ret = answer_next(answer, v, ids, (uint32_t)i + 1, i + 1 == len, false, &piece, &n);
		assert_true(ret == 0 || ret == 1);
		memcpy(out + got, piece, n);
		got += n;
		if (ret)
			break;
	}
	return got;
}

/* The definition, counted by hand: the text before the stop string that is complete first. */
static size_t expected(const char *text, size_t len, const char *const *stops, uint32_t n)
{
	for (size_t end = 1; end <= len; end++) {
		size_t first = len + 1;

		for (uint32_t i = 0; i < n; i++) {
			size_t k = strlen(stops[i]);

			for (size_t at = 0; at + k <= end; at++) {
				if (!memcmp(text + at, stops[i], k) && at < first)
					first = at;
			}
		}
		if (first <= len)
			return first;
	}
	return len;
}

static void random_texts_and_stops(void **state)
{
	char text[MAX_TEXT], out[4 * MAX_TEXT], stop[3][5];
	unsigned int stopped = 0;
	uint32_t random = 5;

	for (int round = 0; round < 20000; round++) {
		const char *stops[3] = { stop[0], stop[1], stop[2] };
		uint32_t n = fx_random(&random) % 4;
		size_t len = 1 + fx_random(&random) % (MAX_TEXT - 1), want;
		struct msg_view v;

		for (size_t i = 0; i < len; i++)
			text[i] = (char)('a' + fx_random(&random) % 3);
		for (uint32_t i = 0; i < n; i++) {
			size_t k = 1 + fx_random(&random) % 4;

			for (size_t j = 0; j < k; j++)
				stop[i][j] = (char)('a' + fx_random(&random) % 3);
			stop[i][k] = '\0';
		}
		v = with_stops(stops, n);
		want = expected(text, len, stops, n);
		assert_int_equal(collect(&v, text, len, out), want);
		assert_memory_equal(out, text, want);
		stopped += want < len;
	}
	assert_in_range(stopped, 1000, 19000);
}

static void what_could_become_a_stop_is_held_back(void **state)
{
	const char *const stops[] = { "END" };
	struct msg_view v = with_stops(stops, 1);
	const int32_t ids[] = { 'x', 'E', 'N', 'x' };
	static const char *const want[] = { "x", "", "", "ENx" };
	const char *piece;
	size_t n;

	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(answer_next(answer, &v, ids, i + 1, false, false, &piece, &n), 0);
		assert_int_equal(n, strlen(want[i]));
		assert_memory_equal(piece, want[i], n);
	}
	/* The end of the answer releases it. */
	assert_int_equal(answer_next(answer, &v, ids, 3, true, false, &piece, &n), 0);
	assert_int_equal(n, 2);
	assert_memory_equal(piece, "EN", 2);
}

static void half_characters_wait(void **state)
{
	struct msg_view v = with_stops(NULL, 0);
	const int32_t ids[] = { 0xe4, 0xbd, 0xa0, 0xe4, FX_END };
	static const char *const want[] = { "", "", "\xe4\xbd\xa0", "", "\xef\xbf\xbd" };
	const char *piece;
	size_t n;

	for (uint32_t i = 0; i < 5; i++) {
		assert_int_equal(answer_next(answer, &v, ids, i + 1, false, i == 4, &piece, &n), 0);
		assert_int_equal(n, strlen(want[i]));
		assert_memory_equal(piece, want[i], n);
	}
}

static void ids_outside_the_vocabulary(void **state)
{
	struct msg_view v = with_stops(NULL, 0);
	const int32_t ids[] = { 'a', FX_VOCAB };
	const char *piece;
	size_t n;

	assert_int_equal(answer_next(answer, &v, ids, 2, false, false, &piece, &n), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_texts_and_stops),
		cmocka_unit_test(what_could_become_a_stop_is_held_back),
		cmocka_unit_test(half_characters_wait),
		cmocka_unit_test(ids_outside_the_vocabulary),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
