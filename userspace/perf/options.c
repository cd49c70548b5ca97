// SPDX-License-Identifier: MIT
/*
 * options.c: messages and the parts of command lines that several commands share
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "perf.h"

static bool quiet;

void perf_error(const char *fmt, ...)
{
	va_list ap;

	fputs("sluice-perf: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void perf_set_quiet(bool q)
{
	quiet = q;
}

void perf_progress(const char *fmt, ...)
{
	va_list ap;

	if (quiet)
		return;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int perf_no_arguments(const char *command, int argc, char **argv)
{
	if (optind >= argc)
		return 0;
	perf_error("%s takes no argument '%s'; see sluice-perf %s --help", command, argv[optind],
		   command);
	return -EINVAL;
}

static uint64_t count_unit(char c)
{
	switch (c) {
	case '\0':
		return 1;
	case 'k':
		return 1000;
	case 'M':
		return 1000 * 1000;
	case 'G':
		return 1000 * 1000 * 1000;
	}
	return 0;
}

int perf_parse_count(const char *option, const char *text, uint64_t min, uint64_t max,
		     uint64_t *value)
{
	uint64_t unit, n = 0;
	char *end = NULL;

	errno = 0;
	if (isdigit((unsigned char)text[0]))
		n = strtoull(text, &end, 10);
	unit = end ? count_unit(end[0]) : 0;
	if (!unit || (end[0] && end[1]) || errno || n < min / unit || n > max / unit ||
	    n * unit < min) {
		perf_error("%s: '%s' is not a number from %llu to %llu", option, text,
			   (unsigned long long)min, (unsigned long long)max);
		return -EINVAL;
	}
	*value = n * unit;
	return 0;
}

int perf_parse_time(const char *option, const char *text, uint64_t max, uint64_t *ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = { { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 } };
	uint64_t n = 0;
	char *end = NULL;

	errno = 0;
	if (isdigit((unsigned char)text[0]))
		n = strtoull(text, &end, 10);
	for (size_t i = 0; end && !errno && i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].name) || !n || n > max / units[i].ns)
			continue;
		*ns = n * units[i].ns;
		return 0;
	}
	perf_error("%s: '%s' is not a time from 1us to %llus, such as 20ms", option, text,
		   (unsigned long long)(max / 1000000000));
	return -EINVAL;
}

static int cpus_allowed(cpu_set_t *set)
{
	CPU_ZERO(set);
	if (sched_getaffinity(0, sizeof(*set), set)) {
		perf_error("cannot read which processors are allowed");
		return -EINVAL;
	}
	return 0;
}

static int cpus_default(int cpus[2])
{
	cpu_set_t set;
	int n = 0, err = cpus_allowed(&set);

	if (err)
		return err;
	for (int cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++)
		if (CPU_ISSET(cpu, &set))
			cpus[n++] = cpu;
	if (n == 1)
		cpus[1] = cpus[0];
	return 0;
}

int perf_parse_cpus(const char *text, int cpus[2])
{
	cpu_set_t set;
	char *end;
	int err;

	if (!text)
		return cpus_default(cpus);
	err = cpus_allowed(&set);
	if (err)
		return err;
	for (int i = 0; i < 2; i++) {
		long cpu = isdigit((unsigned char)text[0]) ? strtol(text, &end, 10) : -1;

		if (cpu < 0 || *end != (i ? '\0' : ',')) {
			perf_error("--cpus: two processor numbers, such as 0,1");
			return -EINVAL;
		}
		if (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &set)) {
			perf_error("--cpus: processor %ld is not one that this process may run on",
				   cpu);
			return -EINVAL;
		}
		cpus[i] = (int)cpu;
		text = end + 1;
	}
	return 0;
}
