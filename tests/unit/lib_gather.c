// SPDX-License-Identifier: MIT
/*
 * Description: runs of messages are published whole, in order and when due; buffers are kept ready
 */
#include <stdio.h>
#include <time.h>

#include "lib_memory.h"

#include <sluice/batch.h>

#define HOUR	SLUICE_LINGER_MAX

static struct sluice_batch *make_batch(struct ring *r, unsigned int max, u64 linger_ns)
{
	struct sluice_batch *b;

	make(r, 0);
	assert_int_equal(0, sluice_batch_create(&r->out, max, linger_ns, &b));
	return b;
}

static int add(struct sluice_batch *b, u64 counter)
{
	struct sluice_msg m = number(counter);

	m.data = &counter;
	m.len = sizeof(counter);
	return sluice_batch_add(b, &m);
}

static void expect(struct ring *r, u64 first, u64 n)
{
	struct sluice_msg m;

	for (u64 i = first; i < first + n; i++) {
		assert_int_equal(0, sluice_claim(&r->in, &m, SLUICE_NOW));
		assert_int_equal(i, m.counter);
		assert_memory_equal(&i, m.data, sizeof(i));
		assert_int_equal(0, sluice_ack(&r->in, &m));
	}
	assert_int_equal(-EAGAIN, sluice_claim(&r->in, &m, SLUICE_NOW));
}

static void test_options(void **state)
{
	struct sluice_batch *b;
	struct ring r;

	make(&r, 0);
	assert_int_equal(-EINVAL, sluice_batch_create(&r.in, 4, 0, &b));
	assert_int_equal(-EINVAL, sluice_batch_create(&r.out, 0, 0, &b));
	assert_int_equal(-EINVAL, sluice_batch_create(&r.out, SLUICE_BATCH_MAX + 1, 0, &b));
	assert_int_equal(-EINVAL, sluice_batch_create(&r.out, 4, HOUR + 1, &b));
	assert_null(b);
	sluice_batch_free(NULL);
	unmake(&r);
}

/* Nothing is seen of a run before it is full; then all of it, and it begins anew. */
static void test_full(void **state)
{
	struct ring r;
	struct sluice_batch *b = make_batch(&r, 3, HOUR);

	for (u64 round = 0; round < 5; round++) {
		assert_int_equal(SLUICE_FOREVER, sluice_batch_deadline(b));
		assert_int_equal(0, add(b, 3 * round));
		assert_int_equal(0, add(b, 3 * round + 1));
		assert_int_equal(2, sluice_batch_count(b));
		expect(&r, 0, 0);
		assert_int_equal(3, add(b, 3 * round + 2));
		assert_int_equal(0, sluice_batch_count(b));
		expect(&r, 3 * round, 3);
	}
	sluice_batch_free(b);
	unmake(&r);
}

static void rest(long ns)
{
	struct timespec t = { .tv_nsec = ns };

	nanosleep(&t, NULL);
}

/* Not due before its time: the oldest counts, and only looking at the clock helps. */
static void test_not_yet(void **state)
{
	struct ring r;
	struct sluice_batch *b = make_batch(&r, 32, HOUR);
	int64_t left;

	assert_int_equal(0, add(b, 0));
	left = sluice_batch_deadline(b);
	assert_in_range(left, 1, HOUR);
	rest(20000000);
	assert_int_equal(0, add(b, 1));
	assert_true(sluice_batch_deadline(b) <= left - 20000000);
	assert_int_equal(0, sluice_batch_poll(b));
	expect(&r, 0, 0);
	sluice_batch_free(b);
	unmake(&r);
}

/* Due when the oldest has waited for long enough: at a poll, or at the next add. */
static void test_due(void **state)
{
	struct ring r;
	struct sluice_batch *b = make_batch(&r, 32, HOUR);

	assert_int_equal(0, add(b, 0));
	sluice_batch_free(b);
	assert_int_equal(0, sluice_batch_create(&r.out, 32, 1, &b));
	for (u64 i = 0; i < 10; i++) {
		/* overdue by the time of the look, or already when it was added */
		int n = add(b, i);

		rest(1000);
		assert_int_equal(n ? SLUICE_FOREVER : SLUICE_NOW, sluice_batch_deadline(b));
		assert_int_equal(1 - n, sluice_batch_poll(b));
		assert_int_equal(0, sluice_batch_poll(b));
	}
	expect(&r, 0, 10);
	sluice_batch_free(b);
	unmake(&r);
}

static void test_no_linger(void **state)
{
	struct ring r;
	struct sluice_batch *b = make_batch(&r, 32, 0);

	assert_int_equal(1, add(b, 0));
	expect(&r, 0, 1);
	sluice_batch_free(b);
	unmake(&r);
}

/* A full ring leaves the rest gathered, in order, with its bytes. */
static void test_full_ring(void **state)
{
	struct ring r;
	struct sluice_batch *b = make_batch(&r, 48, HOUR);
	u64 i;

	for (i = 0; i < 47; i++)
		assert_int_equal(0, add(b, i));
	assert_int_equal(48, add(b, i++));
	for (; i < 95; i++)
		assert_int_equal(0, add(b, i));
	assert_int_equal(NSLOTS - 48, add(b, i++));	/* the ring is full now */
	assert_int_equal(96 - NSLOTS, sluice_batch_count(b));
	assert_int_equal(-EAGAIN, sluice_batch_flush(b, SLUICE_NOW));
	for (; i < 112; i++)
		assert_int_equal(0, add(b, i));
	assert_int_equal(-EAGAIN, add(b, i));		/* and so is the run */
	expect(&r, 0, NSLOTS);
	assert_int_equal(48, add(b, i++));
	assert_int_equal(1, sluice_batch_count(b));
	expect(&r, NSLOTS, 48);
	assert_int_equal(1, sluice_batch_flush(b, SLUICE_NOW));
	expect(&r, 112, 1);
	sluice_batch_free(b);
	unmake(&r);
}

/* Long payloads and buffers given over come through; what was not published is free again. */
static void test_buffers(void **state)
{
	static const char bytes[1000] = "long";
	struct ring r;
	struct sluice_batch *b = make_batch(&r, 8, HOUR);
	struct sluice_msg m = number(0), got;
	struct sluice_buffer buf;

	m.data = bytes;
	m.len = sizeof(bytes);
	assert_int_equal(0, sluice_batch_add(b, &m));
	assert_int_equal(0, sluice_buffer_take(&r.out, &buf, SLUICE_NOW));
	strcpy(buf.data, "given");
	m = (struct sluice_msg){ .counter = 1, .len = 6, .buffer = buf.index };
	assert_int_equal(0, sluice_batch_add(b, &m));
	assert_int_equal(2, sluice_batch_flush(b, SLUICE_NOW));
	assert_int_equal(0, sluice_claim(&r.in, &got, SLUICE_NOW));
	assert_memory_equal(bytes, got.data, sizeof(bytes));
	assert_int_equal(0, sluice_claim(&r.in, &got, SLUICE_NOW));
	assert_string_equal("given", got.data);
	/* two of the four buffers are left, then none: the run gives its own away */
	m = number(2);
	m.data = bytes;
	m.len = sizeof(bytes);
	assert_int_equal(0, sluice_batch_add(b, &m));
	assert_int_equal(0, sluice_batch_add(b, &m));
	assert_int_equal(-EAGAIN, sluice_batch_add(b, &m));
	assert_int_equal(0, sluice_batch_count(b));
	assert_int_equal(0, sluice_ack(&r.in, &got));
	assert_int_equal(0, sluice_batch_add(b, &m));
	sluice_batch_free(b);
	assert_int_equal(0, sluice_buffer_take(&r.out, &buf, SLUICE_NOW));
	unmake(&r);
}

static void test_claim(void **state)
{
	struct sluice_msg m[8];
	struct ring r;
	struct sluice_batch *b = make_batch(&r, 8, HOUR);

	for (u64 i = 0; i < 7; i++)
		assert_int_equal(0, add(b, i));
	assert_int_equal(8, add(b, 7));
	assert_int_equal(5, sluice_batch_claim(&r.in, m, 5, SLUICE_NOW, HOUR));
	assert_int_equal(3, sluice_batch_claim(&r.in, m + 5, 3, SLUICE_NOW, HOUR));
	for (u64 i = 0; i < 8; i++)
		assert_int_equal(i, m[i].counter);
	assert_int_equal(-EAGAIN, sluice_batch_claim(&r.in, m, 5, SLUICE_NOW, HOUR));
	assert_int_equal(1, add(b, 8) + sluice_batch_flush(b, SLUICE_NOW));
	assert_int_equal(1, sluice_batch_claim(&r.in, m, 5, SLUICE_NOW, 0));
	assert_int_equal(-EINVAL, sluice_batch_claim(&r.out, m, 5, SLUICE_NOW, 0));
	sluice_batch_free(b);
	unmake(&r);
}

/* Asks for what is published next and nothing else, within its bounds; claims nothing. */
static void test_prefetch(void **state)
{
	struct sluice_msg m = number(0), got;
	struct sluice_buffer buf;
	struct ring r;

	make(&r, 0);
	assert_int_equal(-EAGAIN, sluice_claim(&r.in, &got, SLUICE_NOW));
	slot_at(&r.in, r.in.ticket)->len = 100;		/* of a lap ago */
	assert_int_equal(0, sluice_prefetch(&r.in, 64));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(0, sluice_buffer_take(&r.out, &buf, SLUICE_NOW));
		m = (struct sluice_msg){ .len = 100, .buffer = buf.index };
		assert_int_equal(0, sluice_send(&r.out, &m, SLUICE_NOW));
	}
	assert_int_equal(0, sluice_claim(&r.in, &got, SLUICE_NOW));
	assert_int_equal(64, sluice_prefetch(&r.in, 64));
	assert_int_equal(100, sluice_prefetch(&r.in, ~0u));
	slot_at(&r.in, r.in.ticket)->len = ~0u;		/* somebody's nonsense */
	assert_int_equal(BUFSIZE, sluice_prefetch(&r.in, ~0u));
	slot_at(&r.in, r.in.ticket)->buf = NBUFS;
	assert_int_equal(0, sluice_prefetch(&r.in, 64));
	slot_at(&r.in, r.in.ticket)->buf = m.buffer;
	slot_at(&r.in, r.in.ticket)->len = m.len;
	assert_int_equal(0, sluice_claim(&r.in, &got, SLUICE_NOW));
	assert_int_equal(0, sluice_prefetch(&r.in, 64));
	unmake(&r);
}

/* So many are held, no more; they go out warm end first, and all come back in the end. */
static void test_ready(void **state)
{
	struct sluice_buffer buf[NBUFS];
	struct sluice_ready *ready;
	struct ring r;
	u32 i;

	make(&r, 0);
	assert_int_equal(-EINVAL, sluice_ready_create(&r.in, 1, &ready));
	assert_int_equal(-EINVAL, sluice_ready_create(&r.out, 0, &ready));
	assert_int_equal(-EINVAL, sluice_ready_create(&r.out, NBUFS + 1, &ready));
	memset(r.payload, 7, NBUFS * BUFSIZE);
	assert_int_equal(0, sluice_ready_create(&r.out, NBUFS - 1, &ready));
	for (i = 0; i < NBUFS * BUFSIZE; i++)
		assert_int_equal(7, r.payload[i]);	/* touched, not changed */
	assert_int_equal(0, sluice_buffer_take(&r.other_out, &buf[0], SLUICE_NOW));
	assert_int_equal(-EAGAIN, sluice_buffer_take(&r.other_out, &buf[1], SLUICE_NOW));
	for (i = 1; i < NBUFS; i++) {
		assert_int_equal(0, sluice_ready_take(ready, &buf[i], SLUICE_NOW));
		assert_int_equal(buf_word(r.out.id, BUF_HELD), *buffer_word(&r.out, buf[i].index));
		assert_ptr_equal(r.payload + (size_t)buf[i].index * BUFSIZE, buf[i].data);
	}
	assert_int_equal(-EAGAIN, sluice_ready_take(ready, &buf[1], SLUICE_NOW));
	assert_int_equal(0, sluice_ready_fill(ready));
	assert_int_equal(0, sluice_ready_put(ready, &buf[2]));
	assert_null(buf[2].data);
	assert_int_equal(1, sluice_ready_fill(ready));
	assert_int_equal(0, sluice_buffer_drop(&r.other_out, &buf[0]));
	assert_int_equal(2, sluice_ready_fill(ready));
	assert_int_equal(0, sluice_ready_put(ready, &buf[1]));
	assert_int_equal(0, sluice_ready_put(ready, &buf[3]));	/* one too many: anybody's */
	assert_int_equal(0, sluice_buffer_take(&r.other_out, &buf[0], SLUICE_NOW));
	sluice_ready_free(ready);
	for (i = 1; i < NBUFS; i++)
		assert_int_equal(0, sluice_buffer_take(&r.other_out, &buf[i], SLUICE_NOW));
	unmake(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_not_yet),
		cmocka_unit_test(test_due),
		cmocka_unit_test(test_no_linger),
		cmocka_unit_test(test_full_ring),
		cmocka_unit_test(test_buffers),
		cmocka_unit_test(test_claim),
		cmocka_unit_test(test_prefetch),
		cmocka_unit_test(test_ready),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
