// SPDX-License-Identifier: MIT
/*
 * Description: the table of streams (lib/streams.c) against an obviously right one
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include <sluice/order.h>

#define MAX	8u

/* The model: entries in the order of touching, oldest first. */
struct entry {
	uint64_t id;
	int live;
};

static struct entry model[MAX];
static unsigned int n_model;

static int model_find(uint64_t id)
{
	for (unsigned int i = 0; i < n_model; i++) {
		if (model[i].id == id)
			return (int)i;
	}
	return -1;
}

static struct entry model_remove(int at)
{
	struct entry e = model[at];

	n_model--;
	for (unsigned int i = (unsigned int)at; i < n_model; i++)
		model[i] = model[i + 1];
	return e;
}

static void model_touch(uint64_t id, int add)
{
	int at = model_find(id);
	struct entry e = { id, 1 };

	if (at < 0 && !add)
		return;
	if (at >= 0) {
		e = model_remove(at);
	} else if (n_model == MAX) {
		for (at = 0; at < (int)MAX && model[at].live; at++)
			;
		model_remove(at < (int)MAX ? at : 0);
	}
	model[n_model++] = e;
}

static uint32_t model_live(void)
{
	uint32_t n = 0;

	for (unsigned int i = 0; i < n_model; i++)
		n += (uint32_t)model[i].live;
	return n;
}

static void test_random_use(void **state)
{
	struct sluice_streams *t;

	srand(3);
	assert_int_equal(sluice_streams_create(MAX, &t), 0);
	for (int i = 0; i < 200000; i++) {
		uint64_t id = 1 + (uint64_t)(rand() % 20);
		int known = model_find(id);
		struct sluice_stream *s;

		switch (rand() % 4) {
		case 0:
			s = sluice_streams_find(t, id);
			assert_int_equal(s != NULL, known >= 0);
			model_touch(id, 0);
			break;
		case 1:
		case 2:
			s = sluice_streams_get(t, id);
			model_touch(id, 1);
			assert_int_equal(s->id, id);
			assert_int_equal(s->live, known < 0 || model[n_model - 1].live);
			if (known < 0)
				assert_int_equal(s->done, 0);
			s->done = (uint64_t)i;
			break;
		default:
			sluice_streams_end(t, id);
			model_touch(id, 1);
			/* ended now, which makes it the newest of the ended */
			model[n_model - 1].live = 0;
		}
		assert_int_equal(sluice_streams_live(t, UINT64_MAX), model_live());
	}
	sluice_streams_free(t);
}

static void test_idle_streams_end(void **state)
{
	struct timespec pause = { .tv_nsec = 20000000 };
	struct sluice_streams *t;

	assert_int_equal(sluice_streams_create(MAX, &t), 0);
	sluice_streams_get(t, 1);
	sluice_streams_get(t, 2);
	nanosleep(&pause, NULL);
	sluice_streams_get(t, 2);
	sluice_streams_get(t, 3);
	assert_int_equal(sluice_streams_live(t, 10000000), 2);
	assert_false(sluice_streams_find(t, 1)->live);
	assert_true(sluice_streams_find(t, 2)->live);
	sluice_streams_free(t);
}

static void test_ends_stay_known(void **state)
{
	struct sluice_streams *t;

	assert_int_equal(sluice_streams_create(MAX, &t), 0);
	sluice_streams_end(t, 42);
	assert_non_null(sluice_streams_find(t, 42));
	assert_false(sluice_streams_find(t, 42)->live);
	assert_false(sluice_streams_get(t, 42)->live);
	sluice_streams_free(t);
}

#define S_NS	1000000000ull

/* A stream that began @age_ns ago. */
static void began(struct sluice_streams *t, uint64_t id, uint64_t age_ns)
{
	struct sluice_stream *s = sluice_streams_get(t, id);

	/* ticks, of which nobody says how long they are but this */
	s->began = s->seen - (uint64_t)((double)age_ns * (1u << 30) /
					(double)sluice_ticks_to_ns(1u << 30));
}

/* When to come again follows from how long streams last, and how long those that live have. */
static void test_retry(void **state)
{
	struct timespec pause = { .tv_nsec = 2000000 };
	struct sluice_streams *t;

	assert_int_equal(sluice_streams_create(MAX, &t), 0);
	began(t, 1, 3 * S_NS);
	assert_int_equal(sluice_streams_retry_ms(t), 1000);
	sluice_streams_end(t, 1);
	for (uint64_t id = 2; id < 40; id++) {
		began(t, id, 8 * S_NS);
		sluice_streams_end(t, id);
	}
	/* no end of a stream that nobody knew, nor of one that was left, is a measurement */
	for (uint64_t id = 40; id < 60; id++) {
		sluice_streams_end(t, id);
		began(t, 100 + id, 500 * S_NS);
	}
	nanosleep(&pause, NULL);
	assert_int_equal(sluice_streams_live(t, 1), 0);
	sluice_streams_end(t, 159);
	began(t, 200, S_NS);
	began(t, 201, 2 * S_NS);
	began(t, 202, 0);
	began(t, 203, S_NS);
	assert_in_range(sluice_streams_retry_ms(t), 5500, 6000);
	/* it is past its time: one of four ends in a fourth of it */
	began(t, 201, 30 * S_NS);
	assert_in_range(sluice_streams_retry_ms(t), 1850, 2000);
	sluice_streams_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_use),
		cmocka_unit_test(test_idle_streams_end),
		cmocka_unit_test(test_ends_stay_known),
		cmocka_unit_test(test_retry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
