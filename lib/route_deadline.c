// SPDX-License-Identifier: MIT
/* route_deadline.c: by the time that is left; a message without a deadline has more than any. */
#include "route.h"

static const struct route_unit units[] = {
	{ "ns", 1 }, { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 },
	{ "m", 60000000000ull },
	{ NULL, 0 }
};

static int parse(const char *text, struct sluice_condition *c)
{
	return __sluice_range_parse(text, units, ROUTE_NUMBER_MAX, c);
}

static bool match(const struct sluice_condition *c, const struct sluice_facts *f)
{
	return route_in_range(c, f->deadline_ns < 0 ? ROUTE_NUMBER_MAX : (u64)f->deadline_ns);
}

static void format(const struct sluice_condition *c, char *text, size_t size)
{
	__sluice_range_format(c, "ns", text, size);
}

const struct route_kind __sluice_route_deadline = {
	.name = "deadline",
	.usage = "deadline < 200ms",
	.parse = parse,
	.match = match,
	.covers = __sluice_range_covers,
	.format = format,
};
