// SPDX-License-Identifier: MIT
/* route_length.c: by bytes of payload, label and type not counted. */
#include "route.h"

static const struct route_unit units[] = {
	{ "", 1 }, { "K", 1 << 10 }, { "M", 1 << 20 }, { "G", 1 << 30 },
	{ NULL, 0 }
};

static int parse(const char *text, struct sluice_condition *c)
{
	return __sluice_range_parse(text, units, ROUTE_NUMBER_MAX, c);
}

static bool match(const struct sluice_condition *c, const struct sluice_facts *f)
{
	return route_in_range(c, f->length);
}

static void format(const struct sluice_condition *c, char *text, size_t size)
{
	__sluice_range_format(c, "", text, size);
}

const struct route_kind __sluice_route_length = {
	.name = "length",
	.usage = "length > 4K",
	.parse = parse,
	.match = match,
	.covers = __sluice_range_covers,
	.format = format,
};
