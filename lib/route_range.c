// SPDX-License-Identifier: MIT
/* route_range.c: conditions that compare a number: "> 4K", "1K..4K", "7". */
#include <stdio.h>
#include <string.h>

#include "route.h"

static const char *behind_space(const char *text)
{
	return text + strspn(text, " ");
}

/* Digits and a unit; moves *text behind them. False: neither, or more than @max. */
static bool number(const char **text, const struct route_unit *units, u64 max, u64 *value)
{
	const char *p = behind_space(*text);
	size_t length;
	u64 n = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (n > (max - (u64)(*p - '0')) / 10)
			return false;
		n = n * 10 + (u64)(*p - '0');
	}
	length = strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
	for (; units->name; units++)
		if (strlen(units->name) == length && !memcmp(units->name, p, length))
			break;
	if (!units->name || n > max / units->factor)
		return false;
	*value = n * units->factor;
	*text = p + length;
	return true;
}

/* Two letters before one, so that ">=" is not ">". */
static const char *const operators[] = { "<=", ">=", "==", "<", ">" };

static const char *comparison(const char **text)
{
	*text = behind_space(*text);
	for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
		size_t length = strlen(operators[i]);

		if (strncmp(*text, operators[i], length))
			continue;
		*text += length;
		return operators[i];
	}
	return "";
}

/* False: nothing is less than 0, and nothing more than the largest number. */
static bool limits(const char *op, u64 value, u64 max, struct sluice_condition *c)
{
	c->min = 0;
	c->max = max;
	if (!strcmp(op, "<=")) {
		c->max = value;
	} else if (!strcmp(op, ">=")) {
		c->min = value;
	} else if (!strcmp(op, "<")) {
		if (!value)
			return false;
		c->max = value - 1;
	} else if (!strcmp(op, ">")) {
		if (value == max)
			return false;
		c->min = value + 1;
	} else {
		c->min = c->max = value;
	}
	return true;
}

static int refuse(const char *text, u64 max)
{
	return __sluice_err(-EINVAL, "'%.60s' compares with no number from 0 to %llu", text,
			    (unsigned long long)max);
}

int __sluice_range_parse(const char *text, const struct route_unit *units, u64 max,
			 struct sluice_condition *c)
{
	const char *p = text, *op = comparison(&p);
	u64 value, last;

	if (!number(&p, units, max, &value) || !limits(op, value, max, c))
		return refuse(text, max);
	p = behind_space(p);
	if (!op[0] && !strncmp(p, "..", 2)) {
		p += 2;
		if (!number(&p, units, max, &last))
			return refuse(text, max);
		c->max = last;
		if (c->max < c->min)
			return __sluice_err(-EINVAL, "'%.60s' is a range without a number in it: "
					    "write the smaller one first", text);
	}
	if (*behind_space(p))
		return refuse(text, max);
	return 0;
}

bool __sluice_range_covers(const struct sluice_condition *a, const struct sluice_condition *b)
{
	return a->min <= b->min && b->max <= a->max;
}

void __sluice_range_format(const struct sluice_condition *c, const char *unit, char *text,
			   size_t size)
{
	snprintf(text, size, "%llu%s..%llu%s", (unsigned long long)c->min, unit,
		 (unsigned long long)c->max, unit);
}
