// SPDX-License-Identifier: MIT
/*
 * Description: what the facts about a stage mean for `sluicectl check`: healthy, degraded or broken
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../userspace/sluicectl/health.h"

/* A stage of a pipeline with two daemons, both there, nothing in it. */
static struct health good(void)
{
	return (struct health){
		.info = { .name = "decoder", .health = SLUICE_LIVE, .nslots = 64,
			  .ack_timeout_ms = 30000, .consumers = 2 },
		.daemons = 2, .running = 2,
	};
}

static void expect(const struct health *h, enum health_level level, const char *words)
{
	char why[HEALTH_WHY];

	assert_int_equal(level, health_level(h, why));
	if (!strstr(why, words))
		fail_msg("'%s' does not say '%s'", why, words);
	if (level == HEALTH_GOOD)
		assert_string_equal("", why);
}

static void test_healthy(void **state)
{
	struct health h = good();

	expect(&h, HEALTH_GOOD, "");
	h.info.ready = 64;		/* a full ring that moves */
	h.info.oldest_age_ns = 15000000000ull;
	expect(&h, HEALTH_GOOD, "");
	/* a stage of nobody's pipeline that nobody uses */
	h = (struct health){ .info = { .health = SLUICE_IDLE, .nslots = 64 } };
	expect(&h, HEALTH_GOOD, "");
	h.info.health = SLUICE_LIVE;
	h.info.producers = 1;
	expect(&h, HEALTH_GOOD, "");
}

static void test_no_consumer(void **state)
{
	struct health h = good();

	h.running = 0;
	expect(&h, HEALTH_BROKEN, "none of 2 daemons");
	h.info.ready = 3;
	h.info.queued = 2;
	expect(&h, HEALTH_BROKEN, "no consumer, 5 messages wait");
	/* the supervisor stands in: the kernel sees a consumer, which is none */
	h.info.consumers = 1;
	h.info.ready = h.info.queued = 0;
	h.info.claimed = 1;
	expect(&h, HEALTH_BROKEN, "no consumer");
	h = (struct health){ .info = { .health = SLUICE_NO_CONSUMER, .ready = 1, .nslots = 64 } };
	expect(&h, HEALTH_BROKEN, "no consumer, 1 messages");
}

static void test_stalled(void **state)
{
	struct health h = good();

	h.info.health = SLUICE_STALLED;
	h.info.oldest_age_ns = 31000000000ull;
	expect(&h, HEALTH_BROKEN, "stalled: the oldest message is 31.0 s old");
}

static void test_breakers(void **state)
{
	struct health h = good();

	h.shut = 1;
	h.retry_ns = 2500000000ull;
	expect(&h, HEALTH_DEGRADED, "1 of 2 daemons shut off");
	assert_string_equal("open", health_breaker_name(&h));
	h.shut = 2;
	expect(&h, HEALTH_BROKEN, "tried again in 2.5 s");
	h.shut = 0;
	h.probing = 1;
	expect(&h, HEALTH_DEGRADED, "tried again after failures");
	assert_string_equal("half-open", health_breaker_name(&h));
	h.probing = 0;
	assert_string_equal("closed", health_breaker_name(&h));
	h.daemons = 0;
	assert_string_equal("-", health_breaker_name(&h));
}

static void test_degraded(void **state)
{
	struct health h = good();

	h.running = 1;
	expect(&h, HEALTH_DEGRADED, "1 of 2 daemons attached");
	h = good();
	h.info.oldest_age_ns = 15000000001ull;
	expect(&h, HEALTH_DEGRADED, "15.0 s old");
	h = good();
	h.letters = 1;
	expect(&h, HEALTH_DEGRADED, "1 dead letters: 'sluicectl dead list decoder'");
	h = good();
	h.info.ready = 64;
	h.info.queued = 1;
	expect(&h, HEALTH_DEGRADED, "65 messages wait, more than 64");
	h = good();
	h.info.health = SLUICE_CLOSING;
	expect(&h, HEALTH_DEGRADED, "destroyed");
}

static void test_limits(void **state)
{
	struct health h = good();

	h.limits = (struct health_limits){ .backlog = 10, .age_ms = 200, .dead = 2 };
	h.info.ready = 10;
	h.info.oldest_age_ns = 200000000;
	h.letters = 2;
	expect(&h, HEALTH_GOOD, "");
	h.letters = 3;
	expect(&h, HEALTH_DEGRADED, "3 dead letters");
	h.info.ready = 11;
	expect(&h, HEALTH_DEGRADED, "11 messages wait, more than 10");
	h.info.oldest_age_ns++;
	expect(&h, HEALTH_DEGRADED, "0.2 s old");
}

/* What lies in a dead-letter stage is told of the stage that it is from. */
static void test_dead_letters(void **state)
{
	struct health h = { .info = { .health = SLUICE_STALLED, .ready = 9 }, .is_dead = true };

	expect(&h, HEALTH_GOOD, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_healthy),
		cmocka_unit_test(test_no_consumer),
		cmocka_unit_test(test_stalled),
		cmocka_unit_test(test_breakers),
		cmocka_unit_test(test_degraded),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_dead_letters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
