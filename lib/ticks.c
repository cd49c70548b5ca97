// SPDX-License-Identifier: MIT
/*
 * ticks.c: the cycle counter as a clock.
 *
 * A message carries the time of its publish. Reading a clock through the kernel would cost
 * more than the message, so where the cycle counter is constant and never stops, it is the
 * clock. All processes of a machine come to the same decision, so they can compare.
 */
#include <stdbool.h>
#include <time.h>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

#include "internal.h"

#define CALIBRATION_NS	10000000ull
#define READS		5

bool __sluice_tsc_is_a_clock;
static u64 base_ticks, base_ns;
static u64 multiplier;		/* ns per tick, 32.32 fixed point; 0: not yet known */

static u64 clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000ull + (u64)ts.tv_nsec;
}

static bool tsc_is_a_clock(void)
{
#if defined(__x86_64__) || defined(__i386__)
	unsigned int a, b, c, d;

	/* Advanced power management, bit 8: invariant TSC. */
	return __get_cpuid(0x80000007, &a, &b, &c, &d) && d & 1u << 8;
#else
	return false;
#endif
}

static inline u64 read_tsc(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return __rdtsc();
#else
	return 0;
#endif
}

/* Both clocks at one moment: the reading that was disturbed least. */
static void read_both(u64 *ticks, u64 *ns)
{
	u64 best = ~0ull;
	int i;

	for (i = 0; i < READS; i++) {
		u64 before = read_tsc(), now = clock_ns(), after = read_tsc();

		if (after - before < best) {
			best = after - before;
			*ticks = before + best / 2;
			*ns = now;
		}
	}
}

__attribute__((constructor)) static void ticks_init(void)
{
	__sluice_tsc_is_a_clock = tsc_is_a_clock();
	if (__sluice_tsc_is_a_clock)
		read_both(&base_ticks, &base_ns);
	else
		multiplier = 1ull << 32;
}

uint64_t sluice_ticks(void)
{
	return __sluice_tsc_is_a_clock ? read_tsc() : clock_ns();
}

/* Threads that come here at the same time compute nearly the same value; either will do. */
static u64 calibrate(void)
{
	u64 ticks, ns, value;

	read_both(&ticks, &ns);
	while (ns - base_ns < CALIBRATION_NS) {
		struct timespec rest = { .tv_nsec = (long)(CALIBRATION_NS - (ns - base_ns)) };

		clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, NULL);
		read_both(&ticks, &ns);
	}
	value = (u64)(((unsigned __int128)(ns - base_ns) << 32) / (ticks - base_ticks));
	__atomic_store_n(&multiplier, value, __ATOMIC_RELAXED);
	return value;
}

uint64_t sluice_ticks_to_ns(uint64_t ticks)
{
	u64 m = __atomic_load_n(&multiplier, __ATOMIC_RELAXED);

	if (!m)
		m = calibrate();
	return (uint64_t)((unsigned __int128)ticks * m >> 32);
}

/* Monotonic, in ns; only differences mean anything. Never DEADLINE_NOW. */
u64 __sluice_now(void)
{
	if (!__sluice_tsc_is_a_clock)
		return clock_ns();
	return base_ns + sluice_ticks_to_ns(read_tsc() - base_ticks);
}
