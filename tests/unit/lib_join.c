// SPDX-License-Identifier: MIT
/*
 * Description: parts find the others of their message, copies and late ones do not; several
 * messages in one come out as they went in
 */
#include <stdio.h>

#include <sluice/join.h>

#include "lib_memory.h"

/* Two rings whose consumers are of one context, and a join of them. */
struct pair {
	struct ring r[2];
	struct sluice_ep *in[2];
	struct sluice_join *join;
};

static void begin(struct pair *p, int64_t deadline_ns, uint32_t window)
{
	for (int i = 0; i < 2; i++) {
		make(&p->r[i], 0);
		p->r[i].hints->ack_timeout_ms = 30000;
		p->in[i] = &p->r[i].in;
	}
	p->in[1]->ctx = p->in[0]->ctx;
	assert_int_equal(sluice_join_create(p->in, 2, deadline_ns, window, &p->join), 0);
}

static void end(struct pair *p)
{
	sluice_join_destroy(p->join);
	unmake(&p->r[0]);
	unmake(&p->r[1]);
}

static void part(struct pair *p, int input, uint64_t stream, uint64_t counter, const char *text)
{
	struct sluice_msg m = {
		.stream = stream, .counter = counter, .data = text, .len = (uint32_t)strlen(text),
		.buffer = SLUICE_NO_BUFFER,
	};

	assert_int_equal(sluice_send(&p->r[input].out, &m, SLUICE_NOW), 0);
}

/* Messages of an input that nobody has acknowledged. */
static int left(struct pair *p, int input)
{
	int n = 0;

	for (u32 i = 0; i < NSLOTS; i++)
		n += slot_state(slot_at(&p->r[input].in, i)->word) != SLOT_FREE;
	return n;
}

static int claimed(struct pair *p, int input)
{
	int n = 0;

	for (u32 i = 0; i < NSLOTS; i++)
		n += slot_state(slot_at(&p->r[input].in, i)->word) == SLOT_CLAIMED;
	return n;
}

static void test_matches(void **state)
{
	struct sluice_joined set;
	struct pair p;

	begin(&p, INT64_MAX / 2, 0);
	part(&p, 0, 1, 1, "a1");
	part(&p, 0, 1, 2, "a2");
	part(&p, 0, 2, 1, "b1");
	assert_int_equal(sluice_join_next(p.join, &set, SLUICE_NOW), -EAGAIN);
	part(&p, 1, 2, 1, "B1");
	part(&p, 1, 1, 2, "A2");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sluice_join_next(p.join, &set, SLUICE_NOW), 0);
		assert_int_equal(set.have, 3);
		assert_int_equal(set.part[0].stream, set.stream);
		assert_int_equal(set.part[1].counter, set.counter);
		assert_memory_equal(set.part[0].data, set.stream == 1 ? "a2" : "b1", 2);
		assert_memory_equal(set.part[1].data, set.stream == 1 ? "A2" : "B1", 2);
		assert_true(sluice_join_holds(p.join, &set));
		assert_int_equal(sluice_join_ack(p.join, &set), 0);
		assert_int_equal(sluice_join_ack(p.join, &set), -ESTALE);
	}
	assert_int_equal(sluice_join_next(p.join, &set, SLUICE_NOW), -EAGAIN);
	assert_int_equal(left(&p, 0), 1);
	assert_int_equal(left(&p, 1), 0);
	end(&p);
}

/* While it waits, and when its set is over. */
static void test_copies(void **state)
{
	struct sluice_joined set;
	struct pair p;

	begin(&p, INT64_MAX / 2, 0);
	part(&p, 0, 1, 1, "a");
	part(&p, 0, 1, 1, "a");
	assert_int_equal(sluice_join_next(p.join, &set, SLUICE_NOW), -EAGAIN);
	assert_int_equal(left(&p, 0), 1);
	part(&p, 1, 1, 1, "A");
	assert_int_equal(sluice_join_next(p.join, &set, SLUICE_NOW), 0);
	assert_int_equal(sluice_join_ack(p.join, &set), 0);
	part(&p, 1, 1, 1, "A");
	part(&p, 0, 1, 1, "a");
	assert_int_equal(sluice_join_next(p.join, &set, SLUICE_NOW), -EAGAIN);
	assert_int_equal(left(&p, 0) + left(&p, 1), 0);
	end(&p);
}

/* An input is asked for no more than its window; the other one still is. */
static void test_window(void **state)
{
	struct sluice_joined set;
	struct pair p;

	begin(&p, INT64_MAX / 2, 4);
	for (uint64_t i = 1; i <= 6; i++)
		part(&p, 0, 1, i, "x");
	assert_int_equal(sluice_join_next(p.join, &set, SLUICE_NOW), -EAGAIN);
	assert_int_equal(claimed(&p, 0), 4);
	part(&p, 1, 1, 3, "y");
	assert_int_equal(sluice_join_next(p.join, &set, SLUICE_NOW), 0);
	assert_int_equal(set.counter, 3);
	assert_int_equal(sluice_join_ack(p.join, &set), 0);
	assert_int_equal(sluice_join_next(p.join, &set, SLUICE_NOW), -EAGAIN);
	assert_int_equal(claimed(&p, 0), 4);
	assert_int_equal(left(&p, 0), 5);
	end(&p);
}

static void test_deadline(void **state)
{
	struct sluice_joined set;
	struct pair p;

	begin(&p, 1, 0);
	part(&p, 1, 9, 4, "alone");
	assert_int_equal(sluice_join_next(p.join, &set, SLUICE_FOREVER), -ETIME);
	assert_int_equal(set.have, 2);
	assert_int_equal(set.stream, 9);
	assert_int_equal(set.counter, 4);
	/* The caller has it: it is not told again, and it is not late twice. */
	assert_int_equal(sluice_join_next(p.join, &set, SLUICE_NOW), -EAGAIN);
	end(&p);
}

/* Somebody else may have it: the set waits for it again, the other part stays. */
static void test_lost(void **state)
{
	struct sluice_joined set;
	struct pair p;
	u64 *word;

	begin(&p, INT64_MAX / 2, 0);
	part(&p, 0, 1, 1, "a");
	part(&p, 1, 1, 1, "A");
	assert_int_equal(sluice_join_next(p.join, &set, SLUICE_NOW), 0);
	word = &slot_at(&p.r[0].in, set.part[0].ticket)->word;
	assert_int_equal(slot_retry(word, *word), SLOT_OK);
	p.r[0].hints->generation++;
	assert_false(sluice_join_holds(p.join, &set));
	assert_int_equal(sluice_join_ack(p.join, &set), -ESTALE);
	assert_int_equal(sluice_join_next(p.join, &set, SLUICE_NOW), 0);
	assert_int_equal(set.part[0].attempt, 2);
	assert_int_equal(set.part[1].attempt, 1);
	assert_true(sluice_join_holds(p.join, &set));
	assert_int_equal(sluice_join_ack(p.join, &set), 0);
	assert_int_equal(left(&p, 0) + left(&p, 1), 0);
	end(&p);
}

static void test_back(void **state)
{
	struct sluice_joined set;
	struct pair p;

	begin(&p, INT64_MAX / 2, 0);
	part(&p, 0, 1, 1, "a");
	part(&p, 1, 1, 1, "A");
	assert_int_equal(sluice_join_next(p.join, &set, SLUICE_NOW), 0);
	sluice_join_back(p.join, &set, 3600000);
	assert_int_equal(sluice_join_next(p.join, &set, SLUICE_NOW), -EAGAIN);
	end(&p);
	begin(&p, INT64_MAX / 2, 0);
	part(&p, 0, 1, 1, "a");
	part(&p, 1, 1, 1, "A");
	assert_int_equal(sluice_join_next(p.join, &set, SLUICE_NOW), 0);
	sluice_join_back(p.join, &set, 0);
	assert_int_equal(sluice_join_next(p.join, &set, SLUICE_NOW), 0);
	assert_int_equal(sluice_join_ack(p.join, &set), 0);
	end(&p);
}

static void test_refused(void **state)
{
	struct sluice_join *join;
	struct pair p;

	begin(&p, 1, 0);
	assert_int_equal(sluice_join_create(p.in, 0, 1, 0, &join), -EINVAL);
	assert_int_equal(sluice_join_create(p.in, 9, 1, 0, &join), -EINVAL);
	assert_int_equal(sluice_join_create(p.in, 2, 0, 0, &join), -EINVAL);
	assert_int_equal(sluice_join_create(p.in, 2, 1, NSLOTS / 2 + 1, &join), -EINVAL);
	assert_non_null(strstr(sluice_error(), "more than half of its 64 slots"));
	p.in[1] = &p.r[1].out;
	assert_int_equal(sluice_join_create(p.in, 2, 1, 0, &join), -EINVAL);
	assert_null(join);
	end(&p);
}

/* ------------------------------------------------------------------ parts --- */

static char *buf;
static struct sluice_msg whole;

static void write_parts(void)
{
	static char hundred[100] = "hundred";
	const struct sluice_msg in[3] = {
		{ .data = "one", .len = 3, .kind = 1 }, { .len = 0, .kind = 2 },
		{ .data = hundred, .len = 100, .kind = 3 },
	};

	whole = (struct sluice_msg){ .stream = 5, .counter = 6, .data = buf,
				     .len = (uint32_t)sluice_parts_bytes(in, 3) };
	assert_int_equal(whole.len, 256 + 64 + 100);
	assert_int_equal(sluice_parts_write(buf, whole.len - 1, in, 3), -EMSGSIZE);
	assert_int_equal(sluice_parts_write(buf, whole.len, in, 3), 0);
	assert_int_equal(sluice_parts_write(buf, 4096, in, 0), -EINVAL);
	assert_int_equal(sluice_parts_write(buf, 4096, in, 9), -EINVAL);
}

static void test_parts(void **state)
{
	struct sluice_msg out[SLUICE_JOIN_INPUTS];

	write_parts();
	assert_int_equal(sluice_parts_read(&whole, out), 3);
	assert_memory_equal(out[0].data, "one", 3);
	assert_int_equal(out[0].len, 3);
	assert_int_equal(out[1].len, 0);
	assert_int_equal(out[2].len, 100);
	assert_string_equal(out[2].data, "hundred");
	assert_int_equal(out[2].kind, 3);
	assert_int_equal(out[1].stream, 5);
	assert_int_equal(out[1].counter, 6);
	assert_ptr_equal((const char *)out[2].data + 100, buf + whole.len);
	whole.data = "hello";
	whole.len = 5;
	assert_int_equal(sluice_parts_read(&whole, out), -ENOMSG);
}

#define SPOIL(change)								\
	do {									\
		struct sluice_parts *at __attribute__((unused)) = (void *)buf;	\
		write_parts();							\
		change;								\
		assert_int_equal(sluice_parts_read(&whole, out), -EBADMSG);	\
	} while (0)

static void test_bad_parts(void **state)
{
	struct sluice_msg out[SLUICE_JOIN_INPUTS];

	SPOIL(at->version = 2);
	SPOIL(at->n = 0);
	SPOIL(at->n = 9);
	SPOIL(at->n = 2);		/* and something behind them */
	SPOIL(at->part[0].offset = 0);
	SPOIL(at->part[0].len = 65);	/* into the next one */
	SPOIL(at->part[2].offset += 64);
	SPOIL(at->part[2].len++);
	SPOIL(at->part[2].len = UINT32_MAX);
	SPOIL(whole.len--);
	SPOIL(whole.len++);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_back),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_bad_parts),
	};
	int ret;

	buf = malloc(4096);
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	free(buf);
	return ret;
}
