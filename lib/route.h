/* SPDX-License-Identifier: MIT */
/*
 * route.h: kinds of conditions. One kind, one file: its struct route_kind stands in kinds[] of
 * route.c. (The public header is sluice/route.h.)
 */
#ifndef SLUICE_LIB_ROUTE_H
#define SLUICE_LIB_ROUTE_H

#include <sluice/route.h>

#include "internal.h"

/**
 * struct route_kind - what one kind of condition is
 * @name:	the word that it begins with
 * @usage:	how it is written, for messages of errors
 * @parse:	what stands behind the name; 0 or what __sluice_err() returned
 * @match:	does it hold?
 * @covers:	does @a hold whenever @b does? "no" is always right, and finds fewer rules that
 *		can never match
 * @format:	what stands behind the name, to be parsed again
 */
struct route_kind {
	const char	*name;
	const char	*usage;
	int		(*parse)(const char *text, struct sluice_condition *c);
	bool		(*match)(const struct sluice_condition *c, const struct sluice_facts *f);
	bool		(*covers)(const struct sluice_condition *a,
				  const struct sluice_condition *b);
	void		(*format)(const struct sluice_condition *c, char *text, size_t size);
};

extern const struct route_kind __sluice_route_length, __sluice_route_tokens, __sluice_route_kind;
extern const struct route_kind __sluice_route_deadline, __sluice_route_type, __sluice_route_model;

#define ROUTE_NUMBER_MAX	((u64)INT64_MAX)

/* A unit of numbers: what is behind the digits, and what it multiplies them with. */
struct route_unit {
	const char	*name;
	u64		factor;
};

/*
 * "> 4K", "1K..4K", "7": sets @min and @max. @units ends with a name of NULL; the empty name is
 * there if digits alone are allowed.
 */
int __sluice_range_parse(const char *text, const struct route_unit *units, u64 max,
			 struct sluice_condition *c);
bool __sluice_range_covers(const struct sluice_condition *a, const struct sluice_condition *b);
void __sluice_range_format(const struct sluice_condition *c, const char *unit, char *text,
			   size_t size);

static inline bool route_in_range(const struct sluice_condition *c, u64 value)
{
	return c->min <= value && value <= c->max;
}

/* A name of a model, from @allowed besides letters and digits, that fits with its NUL. */
bool __sluice_model_valid(const char *name, const char *allowed);

#endif /* SLUICE_LIB_ROUTE_H */
