// SPDX-License-Identifier: MIT
/* route_type.c: by the type that a message says it has, as stages declare it. */
#include <stdio.h>
#include <string.h>

#include "route.h"

static int parse(const char *text, struct sluice_condition *c)
{
	return sluice_type_parse(text, &c->type);
}

static bool match(const struct sluice_condition *c, const struct sluice_facts *f)
{
	return f->typed && __sluice_type_matches(&f->type, &c->type);
}

/* All of a modality, or the very same declaration with no smaller limit. */
static bool covers(const struct sluice_condition *a, const struct sluice_condition *b)
{
	struct sluice_tensor x = a->type, y = b->type;

	if (x.bytes && (!y.bytes || y.bytes > x.bytes))
		return false;
	if (x.modality == y.modality && x.dtype == SLUICE_DTYPE_ANY && x.rank == SLUICE_RANK_ANY &&
	    !x.rate && !x.media[0])
		return true;
	x.bytes = y.bytes = 0;
	return !memcmp(&x, &y, sizeof(x));
}

static void format(const struct sluice_condition *c, char *text, size_t size)
{
	char type[SLUICE_TYPE_TEXT];

	snprintf(text, size, "%s", sluice_tensor_format(&c->type, type));
	if (c->type.bytes)
		__sluice_append(text, size, " <= %u", c->type.bytes);
}

const struct route_kind __sluice_route_type = {
	.name = "type",
	.usage = "type image/png",
	.parse = parse,
	.match = match,
	.covers = covers,
	.format = format,
};
