// SPDX-License-Identifier: MIT
/* main.c: which scenarios, for how long, and what is said about them. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crash.h"

uint64_t seed = 1;
static bool verbose;

static const char usage[] =
"usage: crash [--seed N] [--seconds N] [--scenario N] [--verbose]\n"
"\n"
"Single-steps the operations of libsluice under ptrace. After each instruction that changed\n"
"the ring, processes die in every way, the module's reaper runs on a copy, invariants are\n"
"checked, and the ring has to work on.\n"
"\n"
"  --seed N       order of the scenarios, and stops between two changes (default 1)\n"
"  --seconds N    stop then; without it: all scenarios, about a quarter of an hour\n"
"  --scenario N   this one only, as a failure prints it\n"
"  --verbose      say each scenario\n"
"\n"
"example: tests/crash/run --seed 7 --seconds 30\n";

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static uint64_t number(const char *text, const char *option)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	if (*text && !*end)
		return n;
	fprintf(stderr, "crash: --%s needs a number, not '%s' (see --help)\n", option, text);
	exit(2);
}

static void explore(uint32_t n)
{
	struct scenario s;
	char text[256];

	if (!scenario_get(n, &s)) {
		fprintf(stderr, "crash: there is no scenario %u of that kind\n", n);
		exit(2);
	}
	if (verbose) {
		scenario_describe(&s, text, sizeof(text));
		printf("# %u: %s\n", n, text);
		fflush(stdout);
	}
	scenario_explore(n, &s);
}

static void shuffle(uint32_t *order, uint32_t from, uint32_t to)
{
	uint64_t x = seed * 2 + 1;
	uint32_t i, j, swap;

	for (i = from; i < to; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		j = i + (uint32_t)((x >> 33) % (to - i));
		swap = order[i];
		order[i] = order[j];
		order[j] = swap;
	}
}

/* The scenarios of some kinds, in an order that the seed chooses. */
static uint32_t collect(uint32_t *order, uint32_t kind, uint32_t kinds)
{
	uint32_t each = scenario_count() / KINDS, count = 0, n;
	struct scenario s;

	for (n = kind * each; n < (kind + kinds) * each; n++)
		if (scenario_get(n, &s))
			order[count++] = n;
	shuffle(order, 0, count);
	return count;
}

/* Kinds that take turns, so that a short run sees all; the two of broadcast share one. */
static const struct {
	uint32_t	first, n;
} groups[] = { { 0, 1 }, { 1, 1 }, { 2, 2 }, { 4, 1 } };

#define GROUPS	(sizeof(groups) / sizeof(groups[0]))

static void explore_all(double end)
{
	uint32_t *order[GROUPS], count[GROUPS], kind, i, most = 0;

	for (kind = 0; kind < GROUPS; kind++) {
		order[kind] = calloc(scenario_count(), sizeof(*order[kind]));
		if (!order[kind])
			exit(2);
		count[kind] = collect(order[kind], groups[kind].first, groups[kind].n);
		most = count[kind] > most ? count[kind] : most;
	}
	for (i = 0; i < most; i++)
		for (kind = 0; kind < GROUPS && (end == 0 || now() < end); kind++)
			if (i < count[kind])
				explore(order[kind][i]);
	for (kind = 0; kind < GROUPS; kind++)
		free(order[kind]);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "seconds", required_argument, NULL, 't' },
		{ "scenario", required_argument, NULL, 'n' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	uint64_t only = NONE, seconds = 0;
	double start = now();
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		switch (c) {
		case 's': seed = number(optarg, "seed"); break;
		case 't': seconds = number(optarg, "seconds"); break;
		case 'n': only = number(optarg, "scenario"); break;
		case 'v': verbose = true; break;
		case 'h': fputs(usage, stdout); return 0;
		default: fputs(usage, stderr); return 2;
		}
	}
	if (only != NONE && only >= scenario_count()) {
		fprintf(stderr, "crash: there are scenarios 0 to %u\n", scenario_count() - 1);
		return 2;
	}
	world_map();
	world_reset();
	messages_init();
	steps_init();
	if (only != NONE)
		explore((uint32_t)only);
	else
		explore_all(seconds ? start + (double)seconds : 0);
	steps_exit();
	printf("ok 1 - a death between any two instructions loses nothing, and the ring works on\n"
	       "# seed %llu: %llu crash states (%llu different), %llu instructions, %llu changed "
	       "the ring,\n# %llu times somebody went on, %llu times late; %llu scenarios, "
	       "%.0f s\n1..1\n", (unsigned long long)seed, (unsigned long long)figures.states,
	       (unsigned long long)figures.distinct, (unsigned long long)steps_taken,
	       (unsigned long long)figures.changes, (unsigned long long)figures.resumed,
	       (unsigned long long)figures.late, (unsigned long long)figures.scenarios,
	       now() - start);
	return 0;
}
