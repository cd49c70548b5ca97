// SPDX-License-Identifier: MIT
/*
 * Description: sluice_peek() gives each message once and whole, and leaves the ring as it was
 */
#include <sluice/peek.h>

#include "lib_memory.h"

static void put(struct ring *r, u64 counter, const char *text)
{
	struct sluice_msg m = {
		.stream = 7, .counter = counter, .kind = 3, .data = text,
		.len = (u32)strlen(text) + 1, .buffer = SLUICE_NO_BUFFER,
	};

	assert_int_equal(0, sluice_send(&r->out, &m, SLUICE_NOW));
}

static void expect(struct ring *r, u64 counter, u32 attempt, const char *text)
{
	struct sluice_msg m;
	char copy[512];

	assert_int_equal(0, sluice_peek(&r->in, &m, copy, sizeof(copy)));
	assert_int_equal(counter, m.counter);
	assert_int_equal(7, m.stream);
	assert_int_equal(3, m.kind);
	assert_int_equal(attempt, m.attempt);
	assert_int_equal(strlen(text) + 1, m.len);
	assert_ptr_equal(copy, m.data);
	assert_string_equal(text, copy);
}

static void expect_nothing(struct ring *r)
{
	struct sluice_msg m;
	char copy[8];

	assert_int_equal(-EAGAIN, sluice_peek(&r->in, &m, copy, sizeof(copy)));
}

static void test_leaves_them(void **state)
{
	static const char large[] = "a text that is too long for the bytes of a slot, so that it goes "
				    "into a buffer of the pool";
	struct sluice_msg m;
	struct ring r;
	u64 word;

	make(&r, 0);
	expect_nothing(&r);
	put(&r, 1, "one");
	put(&r, 2, large);
	word = slot_at(&r.out, 0)->word;
	expect(&r, 1, 0, "one");
	expect(&r, 2, 0, large);
	expect_nothing(&r);
	assert_int_equal(word, slot_at(&r.out, 0)->word);
	assert_int_equal(0, sluice_claim(&r.other_in, &m, SLUICE_NOW));
	assert_int_equal(1, m.counter);
	unmake(&r);
}

/* What somebody has claimed is still there to be seen; what was acknowledged is not. */
static void test_claimed_and_gone(void **state)
{
	struct sluice_msg m[2];
	struct ring r;

	make(&r, 0);
	put(&r, 1, "gone");
	put(&r, 2, "claimed");
	put(&r, 3, "ready");
	assert_int_equal(2, sluice_claim_batch(&r.other_in, m, 2, SLUICE_NOW));
	assert_int_equal(0, sluice_ack(&r.other_in, &m[0]));
	expect(&r, 2, 1, "claimed");
	expect(&r, 3, 0, "ready");
	expect_nothing(&r);
	unmake(&r);
}

/* A new generation is no reason to give again what was given. */
static void test_once(void **state)
{
	struct ring r;

	make(&r, 0);
	put(&r, 1, "one");
	expect(&r, 1, 0, "one");
	r.hints->generation++;
	expect_nothing(&r);
	put(&r, 2, "two");
	expect(&r, 2, 0, "two");
	unmake(&r);
}

static void test_many_laps(void **state)
{
	struct sluice_msg m;
	struct ring r;

	make(&r, 0);
	for (u64 i = 0; i < 5 * NSLOTS; i++) {
		put(&r, i, "x");
		if (i % 7 == 0 || i > 4 * NSLOTS)
			expect(&r, i, 0, "x");
		assert_int_equal(0, sluice_claim(&r.other_in, &m, SLUICE_NOW));
		assert_int_equal(0, sluice_ack(&r.other_in, &m));
	}
	expect_nothing(&r);
	unmake(&r);
}

/* A small copy, and what a hostile endpoint may have written. */
static void test_bounds(void **state)
{
	struct sluice_msg m;
	char copy[4] = "....";
	struct ring r;

	make(&r, 0);
	put(&r, 1, "abcdef");
	put(&r, 2, "wrong length");
	put(&r, 3, "wrong buffer");
	put(&r, 4, "last");
	slot_at(&r.out, 1)->len = SLUICE_INLINE_MAX + 1;
	slot_at(&r.out, 2)->buf = NBUFS;
	assert_int_equal(0, sluice_peek(&r.in, &m, copy, 3));
	assert_int_equal(7, m.len);
	assert_memory_equal("abc.", copy, 4);
	expect(&r, 4, 0, "last");
	assert_int_equal(-EINVAL, sluice_peek(&r.out, &m, copy, sizeof(copy)));
	unmake(&r);
}

static void test_destroyed(void **state)
{
	struct sluice_msg m;
	char copy[8];
	struct ring r;

	make(&r, 0);
	put(&r, 1, "one");
	r.hints->closed = SLUICE_CLOSED_GONE;
	expect(&r, 1, 0, "one");
	assert_int_equal(-ESHUTDOWN, sluice_peek(&r.in, &m, copy, sizeof(copy)));
	unmake(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_leaves_them),
		cmocka_unit_test(test_claimed_and_gone),
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_many_laps),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_destroyed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
