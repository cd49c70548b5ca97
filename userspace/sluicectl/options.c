// SPDX-License-Identifier: MIT
/* options.c - numbers, sizes and durations as people write them */

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluicectl.h"

struct unit {
	const char	*suffix;
	uint64_t	factor;
};

static const struct unit no_units[] = { { "", 1 }, { NULL, 0 } };

static const struct unit size_units[] = {
	{ "", 1 }, { "B", 1 },
	{ "K", 1ull << 10 }, { "KiB", 1ull << 10 },
	{ "M", 1ull << 20 }, { "MiB", 1ull << 20 },
	{ "G", 1ull << 30 }, { "GiB", 1ull << 30 },
	{ NULL, 0 }
};

static const struct unit time_units[] = {
	{ "", 1000000000 },
	{ "ns", 1 }, { "us", 1000 }, { "ms", 1000000 },
	{ "s", 1000000000 }, { "m", 60000000000 }, { "h", 3600000000000 },
	{ NULL, 0 }
};

static int parse_units(const char *text, const struct unit *units, uint64_t max, uint64_t *value)
{
	unsigned long long number;
	uint64_t product;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 0);
	if (errno)
		return -ERANGE;
	for (; units->suffix; units++) {
		if (strcasecmp(end, units->suffix))
			continue;
		if (__builtin_mul_overflow(number, units->factor, &product) || product > max)
			return -ERANGE;
		*value = product;
		return 0;
	}
	return -EINVAL;
}

int ctl_parse_number(const char *text, uint64_t max, uint64_t *value, char why[CTL_WHY_MAX])
{
	int err = parse_units(text, no_units, max, value);

	if (err)
		snprintf(why, CTL_WHY_MAX, "'%.64s' is not a whole number from 0 to %" PRIu64, text,
			 max);
	return err;
}

int ctl_parse_size(const char *text, uint64_t max, uint64_t *bytes, char why[CTL_WHY_MAX])
{
	int err = parse_units(text, size_units, max, bytes);
	char most[CTL_TEXT_MAX];

	if (err)
		snprintf(why, CTL_WHY_MAX,
			 "'%.64s' is not a size of at most %s: write bytes, or 64K, 2M, 1G", text,
			 ctl_format_size(most, max));
	return err;
}

int ctl_parse_duration(const char *text, int64_t *ns, char why[CTL_WHY_MAX])
{
	uint64_t value;
	int err = parse_units(text, time_units, INT64_MAX, &value);

	if (err)
		snprintf(why, CTL_WHY_MAX,
			 "'%.64s' is not a duration: write 500ms, 5s, 2m or 1h", text);
	else
		*ns = (int64_t)value;
	return err;
}

int ctl_parse_real(const char *text, double min, double max, double *value,
		   char why[CTL_WHY_MAX])
{
	char *end;

	errno = 0;
	*value = strtod(text, &end);
	if (end != text && !*end && !errno && isfinite(*value) && *value >= min && *value <= max)
		return 0;
	snprintf(why, CTL_WHY_MAX, "'%.64s' is not a number from %g to %g", text, min, max);
	return -EINVAL;
}

static void refuse(struct argp_state *state, const char *option, const char *why)
{
	argp_error(state, "%s: %s", option, why);
}

uint64_t ctl_option_number(struct argp_state *state, const char *option, const char *text,
			   uint64_t max)
{
	char why[CTL_WHY_MAX];
	uint64_t value = 0;

	if (ctl_parse_number(text, max, &value, why))
		refuse(state, option, why);
	return value;
}

uint64_t ctl_option_size(struct argp_state *state, const char *option, const char *text,
			 uint64_t max)
{
	char why[CTL_WHY_MAX];
	uint64_t value = 0;

	if (ctl_parse_size(text, max, &value, why))
		refuse(state, option, why);
	return value;
}

int64_t ctl_option_duration(struct argp_state *state, const char *option, const char *text)
{
	char why[CTL_WHY_MAX];
	int64_t ns = 0;

	if (ctl_parse_duration(text, &ns, why))
		refuse(state, option, why);
	return ns;
}

uint32_t ctl_option_ms(struct argp_state *state, const char *option, const char *text)
{
	int64_t ms = ctl_option_duration(state, option, text) / 1000000;

	if (ms > UINT32_MAX)
		refuse(state, option, "longer than 49 days");
	return (uint32_t)ms;
}

double ctl_option_real(struct argp_state *state, const char *option, const char *text,
		       double min, double max)
{
	char why[CTL_WHY_MAX];
	double value = 0;

	if (ctl_parse_real(text, min, max, &value, why))
		refuse(state, option, why);
	return value;
}
