// SPDX-License-Identifier: MIT
/*
 * Description: envelopes of calls are read as they were written, or refused; numbers meet no other
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "envelope.h"

/* A message in memory that ends where it ends: what reads on is seen by the sanitizer. */
static struct sluice_msg message(const void *data, size_t len)
{
	void *copy = malloc(len + !len);

	assert_non_null(copy);
	if (len)
		memcpy(copy, data, len);
	return (struct sluice_msg) { .data = copy, .len = (uint32_t)len };
}

static int read_request(const void *data, size_t len, struct request_envelope *e)
{
	struct sluice_msg m = message(data, len);
	int ret = request_read(&m, e);

	free((void *)m.data);
	return ret;
}

static int read_reply(const void *data, size_t len, struct reply_envelope *e)
{
	struct sluice_msg m = message(data, len);
	int ret = reply_read(&m, e);

	free((void *)m.data);
	return ret;
}

static struct request_envelope good_request(void)
{
	return (struct request_envelope) {
		.magic = ENVELOPE_REQUEST, .version = ENVELOPE_VERSION,
		.caller = 0x0123456789abcdef, .call = call_id(7, 3), .deadline = 99,
	};
}

static struct reply_envelope good_reply(void)
{
	return (struct reply_envelope) {
		.magic = ENVELOPE_REPLY, .version = ENVELOPE_VERSION, .call = call_id(7, 3),
	};
}

/* The bytes that docs/calls.md shows. */
static void test_layout(void **state)
{
	static const unsigned char request[] = {
		0x94, 'S', 'L', 'Q', 1, 0, 0, 0,
		0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01,
		3, 0, 7, 0, 0, 0, 0, 0,
		99, 0, 0, 0, 0, 0, 0, 0,
	};
	static const unsigned char reply[] = {
		0x94, 'S', 'L', 'R', 1, 0, 0, 0,
		3, 0, 7, 0, 0, 0, 0, 0,
	};
	struct request_envelope q = good_request(), q_back;
	struct reply_envelope r = good_reply(), r_back;

	assert_int_equal(SLUICE_CALL_HEADER, sizeof(request));
	assert_memory_equal(request, &q, sizeof(q));
	assert_memory_equal(reply, &r, sizeof(r));
	assert_int_equal(0, read_request(request, sizeof(request), &q_back));
	assert_memory_equal(&q, &q_back, sizeof(q));
	assert_int_equal(0, read_reply(reply, sizeof(reply), &r_back));
	assert_memory_equal(&r, &r_back, sizeof(r));
}

static void test_request_refused(void **state)
{
	struct request_envelope e = good_request(), back;
	char longer[100] = { 0 };

	for (size_t len = 0; len < sizeof(e); len++)
		assert_int_equal(-EBADMSG, read_request(&e, len, &back));
	memcpy(longer, &e, sizeof(e));
	assert_int_equal(0, read_request(longer, sizeof(longer), &back));
	for (unsigned int bit = 0; bit < 64; bit++) {
		/* magic, version and what must be 0: no bit of them may differ */
		longer[bit / 8] ^= (char)(1 << bit % 8);
		assert_int_equal(-EBADMSG, read_request(longer, sizeof(longer), &back));
		longer[bit / 8] ^= (char)(1 << bit % 8);
	}
	e.caller = 0;
	assert_int_equal(-EBADMSG, read_request(&e, sizeof(e), &back));
	e = good_request();
	e.call = 0;
	assert_int_equal(-EBADMSG, read_request(&e, sizeof(e), &back));
	e = good_request();
	e.deadline = 0;
	assert_int_equal(0, read_request(&e, sizeof(e), &back));
}

static void test_reply_refused(void **state)
{
	struct reply_envelope e = good_reply(), back;
	char longer[sizeof(e) + ENVELOPE_REASON_MAX + 1] = { 0 };

	for (size_t len = 0; len < sizeof(e); len++)
		assert_int_equal(-EBADMSG, read_reply(&e, len, &back));
	for (unsigned int bit = 0; bit < 48; bit++) {
		memcpy(longer, &e, sizeof(e));
		longer[bit / 8] ^= (char)(1 << bit % 8);
		assert_int_equal(-EBADMSG, read_reply(longer, sizeof(longer), &back));
	}
	memcpy(longer, &e, sizeof(e));
	assert_int_equal(0, read_reply(longer, sizeof(longer), &back));
	e.error = ENVELOPE_ERROR_MAX;
	memcpy(longer, &e, sizeof(e));
	assert_int_equal(0, read_reply(longer, sizeof(longer) - 1, &back));
	/* a reason that is too long for one */
	assert_int_equal(-EBADMSG, read_reply(longer, sizeof(longer), &back));
	e.error++;
	assert_int_equal(-EBADMSG, read_reply(&e, sizeof(e), &back));
	e = good_reply();
	e.call = 0;
	assert_int_equal(-EBADMSG, read_reply(&e, sizeof(e), &back));
}

static void test_names(void **state)
{
	char name[SLUICE_NAME_MAX];

	reply_stage_name(0x0123456789abcdef, name);
	assert_string_equal("reply.0123456789abcdef", name);
	assert_true(is_reply_stage(name));
	reply_stage_name(1, name);
	assert_string_equal("reply.0000000000000001", name);
	assert_true(is_reply_stage(name));
	assert_false(is_reply_stage("reply."));
	assert_false(is_reply_stage("reply.0123456789abcde"));
	assert_false(is_reply_stage("reply.0123456789abcdef0"));
	assert_false(is_reply_stage("reply.0123456789ABCDEF"));
	assert_false(is_reply_stage("reply.0123456789abcdeg"));
	assert_false(is_reply_stage("Reply.0123456789abcdef"));
	assert_false(is_reply_stage("decoder"));
}

static void test_deadline(void **state)
{
	assert_false(deadline_passed(0, ~0ull));
	assert_false(deadline_passed(1000, 999));
	assert_true(deadline_passed(1000, 1000));
	assert_true(deadline_passed(1000, 1001));
	/* the counter goes round */
	assert_false(deadline_passed(5, ~0ull - 5));
	assert_true(deadline_passed(~0ull - 5, 5));
}

static void test_reason(void **state)
{
	char text[ENVELOPE_REASON_MAX + 1], hostile[ENVELOPE_REASON_MAX + 50];

	reason_copy(text, "no such language", 16);
	assert_string_equal("no such language", text);
	reason_copy(text, "no such", 2);
	assert_string_equal("no", text);
	reason_copy(text, "", 0);
	assert_string_equal("", text);
	reason_copy(text, "a\nb\x1b[2Jc\xff" "d\0e", 14);
	assert_string_equal("a?b?[2Jc?d", text);
	memset(hostile, 'x', sizeof(hostile));
	reason_copy(text, hostile, sizeof(hostile));
	assert_int_equal(ENVELOPE_REASON_MAX, strlen(text));
}

/* Somebody waits as long as the board has exactly this number. */
static void test_board(void **state)
{
	uint64_t board[8] = { 0 };
	uint64_t last = call_id(9, 7), next = call_id(10, 7);

	assert_false(board_has(NULL, 64, last));
	assert_false(board_has(board, 64, last));
	board_put(board, last);
	assert_true(board_has(board, 64, last));
	assert_false(board_has(board, 64, next));
	/* what a forged request names beyond the buffer is not looked at */
	assert_false(board_has(board, 64, call_id(9, 8)));
	assert_false(board_has(board, 64, call_id(9, 65535)));
	assert_false(board_has(board, 63, last));
	board_put(board, next);
	/* a late cancellation of the last one does not end the next */
	board_remove(board, last);
	assert_true(board_has(board, 64, next));
	board_remove(board, next);
	assert_false(board_has(board, 64, next));
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(0, board[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_request_refused),
		cmocka_unit_test(test_reply_refused),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_reason),
		cmocka_unit_test(test_board),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
