// SPDX-License-Identifier: MIT
/*
 * Description: clocks, error lines and contexts, without a module
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <sluice/sluice.h>

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void test_ticks(void **state)
{
	uint64_t ticks = sluice_ticks(), ns = clock_ns(), by_ticks, by_clock, slack;

	assert_int_equal(0, sluice_ticks_to_ns(0));
	usleep(100000);
	by_clock = clock_ns() - ns;
	by_ticks = sluice_ticks_to_ns(sluice_ticks() - ticks);
	/* 1 % of it, and what the machine does between two readings */
	slack = by_clock / 100 + 2000000;
	assert_in_range(by_ticks, by_clock - slack, by_clock + slack);
	/* an interval of years does not overflow */
	assert_true(sluice_ticks_to_ns(1ull << 60) > sluice_ticks_to_ns(1ull << 59));
}

static void *no_error_yet(void *arg)
{
	return strcmp(sluice_error(), "no error") ? arg : NULL;
}

static void test_error_is_the_threads_own(void **state)
{
	struct sluice_ctx *ctx;
	pthread_t thread;
	void *failed;

	assert_int_equal(-EINVAL, sluice_ctx_create(1u << 30, &ctx));
	assert_non_null(strstr(sluice_error(), "0x40000000"));
	assert_int_equal(0, pthread_create(&thread, NULL, no_error_yet, &failed));
	assert_int_equal(0, pthread_join(thread, &failed));
	assert_null(failed);
	assert_null(strchr(sluice_error(), '\n'));
}

static void test_no_module(void **state)
{
	struct sluice_create c = { .name = "x", .nslots = 64 };
	struct sluice_info info = { 0 };
	struct sluice_ctx *ctx;
	struct sluice_ep *ep;

	if (!access("/dev/sluice/control", F_OK))
		skip();
	assert_int_equal(0, sluice_ctx_create(0, &ctx));
	assert_int_equal(-ENOENT, sluice_attach(ctx, "x", SLUICE_CONSUMER, 0, &ep));
	assert_non_null(strstr(sluice_error(), "load the module"));
	assert_int_equal(-ENOENT, sluice_create(&c));
	assert_non_null(strstr(sluice_error(), "load the module"));
	assert_int_equal(-ENOENT, sluice_next(&info));
	assert_non_null(strstr(sluice_error(), "load the module"));
	sluice_ctx_destroy(ctx);
}

static void test_no_uring(void **state)
{
	struct sluice_ctx *ctx;

	assert_int_equal(0, sluice_ctx_create(SLUICE_CTX_NO_URING, &ctx));
	assert_false(sluice_ctx_uses_uring(ctx));
	sluice_ctx_destroy(ctx);
	setenv("SLUICE_NO_URING", "1", 1);
	assert_int_equal(0, sluice_ctx_create(0, &ctx));
	assert_false(sluice_ctx_uses_uring(ctx));
	sluice_ctx_destroy(ctx);
	unsetenv("SLUICE_NO_URING");
	sluice_ctx_destroy(NULL);
	sluice_detach(NULL);
}

/* Interrupts stay until they are cleared; nothing is under way, so there is nothing to wait for. */
static void test_empty_context(void **state)
{
	struct sluice_completion done;
	struct sluice_ctx *ctx;

	assert_int_equal(0, sluice_ctx_create(0, &ctx));
	sluice_interrupt(ctx);
	sluice_interrupt(ctx);
	sluice_interrupt_clear(ctx);
	assert_int_equal(0, sluice_completions(ctx, &done, 1, SLUICE_FOREVER));
	assert_int_equal(0, sluice_flush(ctx));
	sluice_defer_kicks(ctx, true);
	sluice_defer_kicks(ctx, false);
	sluice_ctx_destroy(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ticks),
		cmocka_unit_test(test_error_is_the_threads_own),
		cmocka_unit_test(test_no_module),
		cmocka_unit_test(test_no_uring),
		cmocka_unit_test(test_empty_context),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
