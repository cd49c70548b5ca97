// SPDX-License-Identifier: MIT
/* route_tokens.c: by how many token ids a message has, or its prompt. */
#include "route.h"

static const struct route_unit units[] = {
	{ "", 1 }, { "K", 1 << 10 },
	{ NULL, 0 }
};

static int parse(const char *text, struct sluice_condition *c)
{
	return __sluice_range_parse(text, units, ROUTE_NUMBER_MAX, c);
}

static bool match(const struct sluice_condition *c, const struct sluice_facts *f)
{
	return route_in_range(c, f->tokens);
}

static void format(const struct sluice_condition *c, char *text, size_t size)
{
	__sluice_range_format(c, "", text, size);
}

const struct route_kind __sluice_route_tokens = {
	.name = "tokens",
	.usage = "tokens <= 512",
	.parse = parse,
	.match = match,
	.covers = __sluice_range_covers,
	.format = format,
};
