// SPDX-License-Identifier: MIT
/* route_kind.c: by the kind that the sender gave. */
#include "route.h"

static const struct route_unit units[] = {
	{ "", 1 },
	{ NULL, 0 }
};

static int parse(const char *text, struct sluice_condition *c)
{
	return __sluice_range_parse(text, units, UINT16_MAX, c);
}

static bool match(const struct sluice_condition *c, const struct sluice_facts *f)
{
	return route_in_range(c, f->kind);
}

static void format(const struct sluice_condition *c, char *text, size_t size)
{
	__sluice_range_format(c, "", text, size);
}

const struct route_kind __sluice_route_kind = {
	.name = "kind",
	.usage = "kind 7",
	.parse = parse,
	.match = match,
	.covers = __sluice_range_covers,
	.format = format,
};
