// SPDX-License-Identifier: MIT
/*
 * Description: two threads pass messages; the fences order every byte of them (A, B, F)
 *
 * Built with SANITIZE=thread a byte that is not ordered is found on any machine, although this
 * one may never show it.
 */
#include <pthread.h>
#include <sched.h>

#include "lib_memory.h"

#define MESSAGES	4000u
#define BIG		200u	/* more than a slot has room for: a buffer */

/* Of its own thread, with a context of its own: nothing but the ring is shared. */
struct side {
	struct ring *ring;
	struct sluice_ep *ep;
	struct sluice_ctx ctx;
	u32 big;	/* every so many messages one that needs a buffer; 0: none, buffers order too */
	u64 bad;
};

static void *produce(void *arg)
{
	struct side *s = arg;
	unsigned char bytes[BIG];
	u64 n;

	for (n = 0; n < MESSAGES; n++) {
		struct sluice_msg m = number(n);

		memset(bytes, (int)n, sizeof(bytes));
		m.data = bytes;
		m.len = s->big && !(n % s->big) ? BIG : 8 + (u32)(n % 60);
		m.stream = n;
		while (sluice_send(s->ep, &m, SLUICE_NOW) == -EAGAIN)
			sched_yield();
	}
	return NULL;
}

static void *consume(void *arg)
{
	struct side *s = arg;
	struct sluice_msg m;
	u64 n;

	for (n = 0; n < MESSAGES; n++) {
		const unsigned char *bytes;
		u32 i;

		while (sluice_claim(s->ep, &m, SLUICE_NOW) == -EAGAIN)
			sched_yield();
		bytes = m.data;
		s->bad += m.counter != n || m.stream != n;
		for (i = 0; i < m.len; i++)
			s->bad += bytes[i] != (unsigned char)n;
		s->bad += !sluice_holds(s->ep, &m);
		s->bad += sluice_ack(s->ep, &m) != 0;
	}
	return NULL;
}

static void run(bool sole, u32 big)
{
	struct side from = { .big = big }, to = { 0 };
	pthread_t thread;
	struct ring r;

	make(&r, 0);
	from.ep = &r.out;
	to.ep = &r.in;
	r.out.ctx = &from.ctx;
	r.in.ctx = &to.ctx;
	r.out.sole = sole;
	assert_int_equal(0, pthread_create(&thread, NULL, produce, &from));
	consume(&to);
	assert_int_equal(0, pthread_join(thread, NULL));
	assert_int_equal(0, to.bad);
	unmake(&r);
}

static void test_sole_producer(void **state)
{
	run(true, 0);
	run(true, 3);
}

static void test_shared_ring(void **state)
{
	run(false, 0);
	run(false, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sole_producer),
		cmocka_unit_test(test_shared_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
