// SPDX-License-Identifier: MIT
/*
 * Description: lanes, credits and admission on plain memory: who is next, what is over, what is said
 *
 * Nobody sleeps here; lib_lanes, lib_credits and lib_admission of the selftests do.
 */
#include "../../lib/lanes.c"

#include "lib_memory.h"

#define MS	1000000ull
#define SECOND	(1000 * MS)

/* ------------------------------------------------------------------ lanes --- */

#define LANES	3u

struct bench {
	struct ring r[LANES];
	struct sluice_lanes lanes;
};

static void make_lanes(struct bench *b, u32 n)
{
	memset(b, 0, sizeof(*b));
	b->lanes.n = n;
	for (u32 i = 0; i < n; i++) {
		make(&b->r[i], 0);
		b->r[i].in.ctx = &b->r[0].ctx;
		b->lanes.lane[i] = (struct lane){ .ep = &b->r[i].in, .bound = SLUICE_LANES_BOUND };
	}
}

static void unmake_lanes(struct bench *b)
{
	for (u32 i = 0; i < b->lanes.n; i++)
		unmake(&b->r[i]);
}

static void fill(struct bench *b, u32 lane, u32 n)
{
	while (n--) {
		struct sluice_msg m = number(lane);

		assert_int_equal(0, sluice_send(&b->r[lane].out, &m, SLUICE_NOW));
	}
}

/* Claims and acknowledges one; whose it was. */
static int next(struct bench *b)
{
	struct sluice_ep *from = NULL;
	struct sluice_msg m;
	int lane = sluice_lanes_claim(&b->lanes, &m, &from, SLUICE_NOW);

	if (lane < 0)
		return lane;
	assert_ptr_equal(&b->r[lane].in, from);
	assert_int_equal(lane, m.counter);
	assert_int_equal(0, sluice_ack(from, &m));
	return lane;
}

/* The highest first; nothing is nothing. */
static void test_order_of_lanes(void **state)
{
	struct bench b;

	make_lanes(&b, 3);
	assert_int_equal(-EAGAIN, next(&b));
	fill(&b, 2, 2);
	fill(&b, 0, 2);
	fill(&b, 1, 2);
	for (int i = 0; i < 6; i++)
		assert_int_equal(i / 2, next(&b));
	assert_int_equal(-EAGAIN, next(&b));
	unmake_lanes(&b);
}

/* While a lower lane has something, exactly so many come before one of it. */
static void test_bound(void **state)
{
	static const u32 bounds[] = { 1, 3, 32 };

	for (int which = 0; which < 3; which++) {
		u32 bound = bounds[which], row = 0, low = 0;
		struct bench b;

		make_lanes(&b, 2);
		assert_int_equal(0, sluice_lanes_bound(&b.lanes, 1, bound));
		fill(&b, 1, 10);
		while (low < 10) {
			fill(&b, 0, 1);
			if (next(&b)) {
				assert_int_equal(bound, row);
				row = 0;
				low++;
			} else {
				row++;
			}
			assert_true(row <= bound);
		}
		unmake_lanes(&b);
	}
}

/* A lane that was asked and had nothing has not been passed over: its count begins anew. */
static void test_bound_of_an_empty_lane(void **state)
{
	struct bench b;

	make_lanes(&b, 2);
	assert_int_equal(0, sluice_lanes_bound(&b.lanes, 1, 4));
	fill(&b, 0, 60);
	/* asked before the fifth and before the ninth, in vain */
	for (int i = 0; i < 9; i++)
		assert_int_equal(0, next(&b));
	fill(&b, 1, 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(0, next(&b));
	assert_int_equal(1, next(&b));
	unmake_lanes(&b);
}

/* Each of several lower lanes has its own bound, and nobody's turn is another's. */
static void test_two_bounds(void **state)
{
	u32 got[LANES] = { 0 }, since[LANES] = { 0 };
	struct bench b;

	make_lanes(&b, 3);
	assert_int_equal(0, sluice_lanes_bound(&b.lanes, 1, 3));
	assert_int_equal(0, sluice_lanes_bound(&b.lanes, 2, 7));
	for (int i = 0; i < 400; i++) {
		int lane;

		for (u32 k = 0; k < LANES; k++)
			if (got[k] == since[k] || !i)
				fill(&b, k, i ? 0 : 40);
		lane = next(&b);
		assert_true(lane >= 0);
		got[lane]++;
		fill(&b, (u32)lane, 1);
	}
	/* one of lane 2 after seven others, one of lane 1 after three of lane 0 */
	assert_in_range(got[2], 400 / 9, 400 / 8);
	assert_in_range(got[1], (400 - got[2]) / 5, (400 - got[2]) / 4 + 1);
	unmake_lanes(&b);
}

static void test_strict(void **state)
{
	struct bench b;

	make_lanes(&b, 2);
	assert_int_equal(0, sluice_lanes_bound(&b.lanes, 1, 0));
	fill(&b, 1, 1);
	for (int i = 0; i < 1000; i++) {
		fill(&b, 0, 1);
		assert_int_equal(0, next(&b));
	}
	assert_int_equal(1, next(&b));
	unmake_lanes(&b);
}

/* One stage that is gone does not keep back what the others have. */
static void test_gone(void **state)
{
	struct bench b;

	make_lanes(&b, 2);
	fill(&b, 1, 1);
	b.r[0].hints->closed = SLUICE_CLOSED_DRAIN | SLUICE_CLOSED_GONE;
	assert_int_equal(1, next(&b));
	assert_int_equal(-ESHUTDOWN, next(&b));
	unmake_lanes(&b);
}

static void test_bad_lanes(void **state)
{
	char name[SLUICE_NAME_MAX], stage[SLUICE_NAME_MAX];
	struct sluice_ep *eps[SLUICE_ANY_MAX + 1];
	struct sluice_msg m;
	struct bench b;

	make_lanes(&b, 2);
	for (u32 i = 0; i <= SLUICE_ANY_MAX; i++)
		eps[i] = &b.r[0].in;
	assert_int_equal(-EINVAL, sluice_claim_any(eps, 0, &m, SLUICE_NOW));
	assert_int_equal(-EINVAL, sluice_claim_any(eps, SLUICE_ANY_MAX + 1, &m, SLUICE_NOW));
	assert_int_equal(-EAGAIN, sluice_claim_any(eps, SLUICE_ANY_MAX, &m, SLUICE_NOW));
	eps[1] = &b.r[0].out;
	assert_int_equal(-EINVAL, sluice_claim_any(eps, 2, &m, SLUICE_NOW));
	eps[1] = &b.r[1].other_in;
	assert_int_equal(-EINVAL, sluice_claim_any(eps, 2, &m, SLUICE_NOW));
	assert_int_equal(-EINVAL, sluice_lanes_bound(&b.lanes, 2, 1));

	assert_int_equal(0, sluice_lane_name(name, "decoder", "high"));
	assert_string_equal("decoder.high", name);
	assert_int_equal(0, sluice_lane_name(name, "decoder", NULL));
	assert_string_equal("decoder", name);
	assert_int_equal(-EINVAL, sluice_lane_name(name, "decoder", "dead"));
	assert_int_equal(-EINVAL, sluice_lane_name(name, "decoder", ""));
	memset(stage, 'x', sizeof(stage));
	stage[SLUICE_NAME_MAX - 1 - 5] = '\0';
	assert_int_equal(0, sluice_lane_name(name, stage, "high"));
	stage[SLUICE_NAME_MAX - 1 - 5] = 'x';
	stage[SLUICE_NAME_MAX - 1 - 4] = '\0';
	assert_int_equal(-ENAMETOOLONG, sluice_lane_name(name, stage, "high"));
	unmake_lanes(&b);
}

/* ---------------------------------------------------------------- credits --- */

static int credit_send(struct sluice_credit *c, u64 counter)
{
	struct sluice_msg m = number(counter);

	return sluice_credit_send(c, &m, SLUICE_NOW);
}

/* Only acknowledged messages give a credit back, in any order, over laps and the end of tickets. */
static void test_credits(void **state)
{
	static const u64 starts[] = { 0, 1ull << 41, (1ull << 42) - 70 };

	for (int which = 0; which < 3; which++) {
		struct sluice_credit *c;
		struct sluice_msg m[4];
		struct ring r;

		make(&r, starts[which]);
		assert_int_equal(0, sluice_credit_create(&r.out, 4, &c));
		for (u64 round = 0; round < 100; round++) {
			static const int orders[4][4] = {
				{ 0, 1, 2, 3 }, { 3, 2, 1, 0 }, { 1, 3, 0, 2 }, { 2, 0, 3, 1 },
			};
			const int *order = orders[round % 4];

			for (int i = 0; i < 4; i++)
				assert_int_equal(0, credit_send(c, round));
			assert_int_equal(-EAGAIN, credit_send(c, round));
			assert_non_null(strstr(sluice_error(), "credit"));
			assert_int_equal(4, sluice_claim_batch(&r.in, m, 4, SLUICE_NOW));
			assert_int_equal(-EAGAIN, credit_send(c, round));
			for (int i = 0; i < 4; i++) {
				assert_int_equal(4 - i, sluice_credit_outstanding(c));
				assert_int_equal(0, sluice_ack(&r.in, &m[order[i]]));
			}
			assert_int_equal(0, sluice_credit_outstanding(c));
		}
		sluice_credit_free(c);
		unmake(&r);
	}
}

/* What others have in the ring is none of ours, and a redelivered message is still under way. */
static void test_credits_are_own(void **state)
{
	struct sluice_msg m = number(7), got;
	struct sluice_credit *c, *other;
	struct ring r;

	make(&r, 0);
	assert_int_equal(0, sluice_credit_create(&r.out, 1, &c));
	assert_int_equal(0, sluice_credit_create(&r.other_out, 2, &other));
	assert_int_equal(0, credit_send(other, 1));
	assert_int_equal(0, credit_send(c, 2));
	assert_int_equal(0, sluice_claim(&r.in, &got, SLUICE_NOW));
	assert_int_equal(0, sluice_ack(&r.in, &got));
	assert_int_equal(-EAGAIN, credit_send(c, 3));
	assert_int_equal(0, sluice_credit_outstanding(other));
	assert_int_equal(0, sluice_claim(&r.in, &got, SLUICE_NOW));
	assert_int_equal(2, got.counter);
	/* as the kernel does it after a NACK */
	slot_retry(&slot_at(&r.in, got.ticket)->word, got.token);
	assert_int_equal(-EAGAIN, credit_send(c, 3));
	r.hints->generation++;
	assert_int_equal(0, sluice_claim(&r.other_in, &got, SLUICE_NOW));
	assert_int_equal(-EAGAIN, credit_send(c, 3));
	assert_int_equal(0, sluice_ack(&r.other_in, &got));
	assert_int_equal(0, credit_send(c, 3));
	/* what failed took no credit */
	assert_int_equal(0, sluice_credit_set(c, 100));
	while (!sluice_send(&r.other_out, &m, SLUICE_NOW))
		;
	assert_int_equal(1, sluice_credit_outstanding(c));
	m.ticket = got.ticket + 1;	/* as of the one under way */
	assert_false(__sluice_over(&r.out, m.ticket));
	assert_int_equal(-EAGAIN, sluice_credit_send(c, &m, SLUICE_NOW));
	assert_non_null(strstr(sluice_error(), "full"));
	assert_int_equal(1, sluice_credit_outstanding(c));
	sluice_credit_free(c);
	sluice_credit_free(other);
	unmake(&r);
}

static void test_credits_change(void **state)
{
	struct sluice_credit *c = NULL;
	struct sluice_msg got;
	struct ring r;

	make(&r, 0);
	assert_int_equal(-EINVAL, sluice_credit_create(&r.out, 0, &c));
	assert_int_equal(-EINVAL, sluice_credit_create(&r.out, SLUICE_CREDITS_MAX + 1, &c));
	assert_int_equal(-EINVAL, sluice_credit_create(&r.in, 1, &c));
	assert_null(c);
	assert_int_equal(0, sluice_credit_create(&r.out, 3, &c));
	for (int i = 0; i < 3; i++)
		assert_int_equal(0, credit_send(c, 0));
	assert_int_equal(0, sluice_credit_set(c, 1));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(-EAGAIN, credit_send(c, 1));
		assert_int_equal(0, sluice_claim(&r.in, &got, SLUICE_NOW));
		assert_int_equal(0, sluice_ack(&r.in, &got));
	}
	assert_int_equal(0, credit_send(c, 1));
	assert_int_equal(-EAGAIN, credit_send(c, 1));
	assert_int_equal(0, sluice_credit_set(c, 40));
	for (int i = 0; i < 39; i++)
		assert_int_equal(0, credit_send(c, 1));
	assert_int_equal(-EAGAIN, credit_send(c, 1));
	r.hints->closed = SLUICE_CLOSED_DRAIN;
	assert_int_equal(-ESHUTDOWN, credit_send(c, 1));
	sluice_credit_free(c);
	unmake(&r);
}

/* -------------------------------------------------------------- admission --- */

struct door {
	struct ring r;
	struct sluice_admission *d;
	u64 now;
};

static void make_door(struct door *x, struct sluice_admission_limits limits)
{
	make(&x->r, 1000);
	x->r.hints->consumers = 1;
	assert_int_equal(0, sluice_admission_create(&x->r.out, &limits, &x->d));
	/* the test's clock runs on from there, by hand */
	x->now = __sluice_now() + SECOND;
}

static void unmake_door(struct door *x)
{
	sluice_admission_free(x->d);
	unmake(&x->r);
}

static void send_n(struct door *x, u32 n)
{
	struct sluice_msg m = number(0);

	while (n--)
		assert_int_equal(0, sluice_send(&x->r.out, &m, SLUICE_NOW));
}

/* One after the other, each in @each ns; the door looks after every one. */
static void serve(struct door *x, u32 n, u64 each)
{
	struct sluice_msg m;

	while (n--) {
		assert_int_equal(0, sluice_claim(&x->r.in, &m, SLUICE_NOW));
		x->now += each;
		assert_int_equal(0, sluice_ack(&x->r.in, &m));
		__sluice_admit_at(x->d, x->now, 0, NULL);
	}
}

static int admit(struct door *x, u64 deadline, u64 *retry)
{
	*retry = 0;
	return __sluice_admit_at(x->d, x->now, deadline, retry);
}

static void assert_near(u64 value, u64 want)
{
	assert_in_range(value, want - want / 20, want + want / 20);
}

static void test_backlog_limit(void **state)
{
	struct sluice_admission_limits limits = { .max_backlog = 8 };
	struct door x;
	u64 retry;

	make_door(&x, limits);
	send_n(&x, 7);
	assert_int_equal(0, admit(&x, 0, &retry));
	send_n(&x, 1);
	assert_int_equal(-EBUSY, admit(&x, 0, &retry));
	assert_true(retry > 0);
	serve(&x, 1, 10 * MS);
	assert_int_equal(0, admit(&x, 0, &retry));
	/* what the kernel keeps counts, too */
	x.r.hints->queued = 1;
	assert_int_equal(-EBUSY, admit(&x, 0, &retry));
	x.r.hints->queued = 0;
	unmake_door(&x);
}

/* The hint is what came to be: after that time, and not before, it is let in. */
static void test_retry_after(void **state)
{
	struct sluice_admission_limits limits = { .max_backlog = 4 };
	struct door x;
	u64 retry;

	make_door(&x, limits);
	send_n(&x, 40);
	serve(&x, 20, 10 * MS);
	assert_int_equal(-EBUSY, admit(&x, 0, &retry));
	/* 20 are there, 17 have to go */
	assert_near(retry, 170 * MS);
	assert_non_null(strstr(sluice_error(), "try again in 17"));
	serve(&x, 16, 10 * MS);
	assert_int_equal(-EBUSY, admit(&x, 0, &retry));
	serve(&x, 1, 10 * MS);
	assert_int_equal(0, admit(&x, 0, &retry));
	unmake_door(&x);
}

static void test_deadline(void **state)
{
	struct sluice_admission_limits limits = { .max_wait_ns = 300 * MS };
	struct door x;
	u64 retry;

	make_door(&x, limits);
	send_n(&x, 40);
	/* no rate is known yet: nobody is refused for its time */
	assert_int_equal(0, admit(&x, 1, &retry));
	serve(&x, 20, 10 * MS);
	/* it would be the 21st */
	assert_int_equal(0, admit(&x, 0, &retry));
	assert_int_equal(0, admit(&x, 215 * MS, &retry));
	assert_int_equal(-EBUSY, admit(&x, 150 * MS, &retry));
	assert_near(retry, 60 * MS);
	/* a deadline makes the stage's own limit no wider */
	send_n(&x, 20);
	assert_int_equal(-EBUSY, admit(&x, SECOND, &retry));
	assert_near(retry, 110 * MS);
	/* into an empty one everybody may come */
	serve(&x, 40, 10 * MS);
	assert_int_equal(0, admit(&x, 1, &retry));
	unmake_door(&x);
}

/* Times without work say nothing of how fast it goes. */
static void test_idle_is_not_slow(void **state)
{
	struct door x;
	u64 retry;

	make_door(&x, (struct sluice_admission_limits) { 0 });
	send_n(&x, 40);
	serve(&x, 40, 10 * MS);
	for (int i = 0; i < 50; i++) {
		x.now += 10 * SECOND;
		assert_int_equal(0, admit(&x, MS, &retry));
		send_n(&x, 1);
		serve(&x, 1, 10 * MS);
	}
	send_n(&x, 20);
	assert_int_equal(-EBUSY, admit(&x, 100 * MS, &retry));
	assert_near(retry, 110 * MS);
	unmake_door(&x);
}

/* A consumer that became faster, or slower, or stands still, is seen to. */
static void test_follows(void **state)
{
	struct sluice_load load;
	struct door x;
	u64 retry;

	make_door(&x, (struct sluice_admission_limits) { 0 });
	send_n(&x, 60);
	serve(&x, 20, 10 * MS);
	serve(&x, 30, MS);
	assert_int_equal(-EBUSY, admit(&x, MS, &retry));
	assert_near(retry, 10 * MS);
	/* nothing for a second: with the less than four before it, at most four a second, then */
	x.now += SECOND;
	assert_int_equal(-EBUSY, admit(&x, MS, &retry));
	assert_in_range(retry, 10 * SECOND / 4, 12 * SECOND);
	/* nobody is sent away for ever */
	x.now += 1000 * SECOND;
	assert_int_equal(-EBUSY, admit(&x, MS, &retry));
	assert_int_equal(60 * SECOND, retry);
	sluice_admission_load(x.d, &load);
	assert_int_equal(10, load.backlog);
	unmake_door(&x);
}

/* Holes in the ring, of what was acknowledged out of order, are no backlog. */
static void test_counts_what_is_there(void **state)
{
	struct sluice_msg m[40];
	struct sluice_load load;
	struct door x;
	u64 retry;

	make_door(&x, (struct sluice_admission_limits) { .max_backlog = 3 });
	send_n(&x, 40);
	assert_int_equal(40, sluice_claim_batch(&x.r.in, m, 40, SLUICE_NOW));
	assert_int_equal(38, sluice_ack_batch(&x.r.in, m + 1, 38));
	sluice_admission_load(x.d, &load);
	assert_int_equal(2, load.backlog);
	assert_int_equal(1, load.consumers);
	assert_int_equal(0, admit(&x, 0, &retry));
	send_n(&x, 1);
	assert_int_equal(-EBUSY, admit(&x, 0, &retry));
	/* the tail is a hint: it may lag, and others have sent since */
	for (int i = 1; i < 4; i++)
		assert_int_equal(0, sluice_send(&x.r.other_out, &m[i], SLUICE_NOW));
	x.r.out.control->tail = 1000;
	sluice_admission_load(x.d, &load);
	assert_int_equal(6, load.backlog);
	for (int i = 0; i < 4; i++) {
		struct sluice_msg got;

		assert_int_equal(-EBUSY, admit(&x, 0, &retry));
		assert_int_equal(0, sluice_claim(&x.r.other_in, &got, SLUICE_NOW));
		assert_int_equal(0, sluice_ack(&x.r.other_in, &got));
	}
	assert_int_equal(0, admit(&x, 0, &retry));
	assert_int_equal(2, sluice_ack_batch(&x.r.in, (struct sluice_msg[]) { m[0], m[39] }, 2));
	sluice_admission_load(x.d, &load);
	assert_int_equal(0, load.backlog);
	x.r.hints->closed = SLUICE_CLOSED_DRAIN;
	assert_int_equal(-ESHUTDOWN, admit(&x, 0, &retry));
	unmake_door(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_of_lanes),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_bound_of_an_empty_lane),
		cmocka_unit_test(test_two_bounds),
		cmocka_unit_test(test_strict),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_bad_lanes),
		cmocka_unit_test(test_credits),
		cmocka_unit_test(test_credits_are_own),
		cmocka_unit_test(test_credits_change),
		cmocka_unit_test(test_backlog_limit),
		cmocka_unit_test(test_retry_after),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_idle_is_not_slow),
		cmocka_unit_test(test_follows),
		cmocka_unit_test(test_counts_what_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
