// SPDX-License-Identifier: MIT
/* expand.c - ${KEY} and ${KEY:-default} in a pipeline file */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expand.h"
#include "sluicectl.h"

#define MAX_DEPTH	8		/* of variables that name variables */
/* Eight variables that name each other often enough would grow beyond any memory. */
#define MAX_NAMED	4096		/* variables in one text, those in their values included */
#define MAX_BYTES	(128l << 10)	/* what an argument of a program may have */

struct expand {
	const char *const	*sets;
	bool			*used;		/* by index of @sets */
	struct {
		char *key, *value;
	}			*defaults;
	size_t			ndefaults;
	unsigned int		named;		/* in the present text */
};

int expand_create(const char *const *sets, struct expand **out)
{
	struct expand *e = calloc(1, sizeof(*e));
	size_t n = 0;

	while (sets && sets[n])
		n++;
	if (e)
		e->used = calloc(n + 1, sizeof(*e->used));
	if (!e || !e->used) {
		free(e);
		return -ENOMEM;
	}
	e->sets = sets;
	*out = e;
	return 0;
}

void expand_free(struct expand *e)
{
	for (size_t i = 0; i < e->ndefaults; i++) {
		free(e->defaults[i].key);
		free(e->defaults[i].value);
	}
	free(e->defaults);
	free(e->used);
	free(e);
}

static bool is_set(struct expand *e, const char *key, const char **value)
{
	size_t length = strlen(key);

	for (size_t i = 0; e->sets && e->sets[i]; i++) {
		if (strncmp(e->sets[i], key, length) || e->sets[i][length] != '=')
			continue;
		e->used[i] = true;
		*value = e->sets[i] + length + 1;
		return true;
	}
	return false;
}

int expand_default(struct expand *e, const char *key, const char *value)
{
	const char *ignored;
	void *grown = realloc(e->defaults, (e->ndefaults + 1) * sizeof(*e->defaults));

	if (!grown)
		return -ENOMEM;
	e->defaults = grown;
	e->defaults[e->ndefaults].key = strdup(key);
	e->defaults[e->ndefaults].value = strdup(value);
	e->ndefaults++;
	is_set(e, key, &ignored);	/* a declared variable may be set even if no stage asks */
	return e->defaults[e->ndefaults - 1].key && e->defaults[e->ndefaults - 1].value ? 0 :
											  -ENOMEM;
}

const char *expand_unused(const struct expand *e)
{
	for (size_t i = 0; e->sets && e->sets[i]; i++)
		if (!e->used[i])
			return e->sets[i];
	return NULL;
}

static int expand_into(struct expand *e, const char *text, FILE *out, int depth, char *why);

/* A value of the command line or the environment is taken as it is; one of the file is expanded. */
static int put_value(struct expand *e, const char *key, const char *fallback, FILE *out, int depth,
		     char *why)
{
	const char *value;

	if (++e->named > MAX_NAMED || ftell(out) > MAX_BYTES) {
		snprintf(why, CTL_WHY_MAX,
			 "with '%.64s' it names more than %d variables or has more than %ldK: "
			 "variables that name each other multiply", key, MAX_NAMED, MAX_BYTES >> 10);
		return -E2BIG;
	}
	if (is_set(e, key, &value)) {
		fputs(value, out);
		return 0;
	}
	for (size_t i = 0; i < e->ndefaults; i++) {
		if (strcmp(e->defaults[i].key, key))
			continue;
		if (depth < MAX_DEPTH)
			return expand_into(e, e->defaults[i].value, out, depth + 1, why);
		snprintf(why, CTL_WHY_MAX, "variable '%.64s' names itself", key);
		return -ELOOP;
	}
	value = getenv(key) ?: fallback;
	if (value) {
		fputs(value, out);
		return 0;
	}
	snprintf(why, CTL_WHY_MAX,
		 "${%.64s} has no value: give it one with --set %.64s=... or in the environment",
		 key, key);
	return -ENOENT;
}

/* "KEY" or "KEY:-default": cut in two. False: it is neither. */
static bool split(char *key, const char **fallback)
{
	static const char name[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
	size_t length = strspn(key, name);

	*fallback = NULL;
	if (length && !strncmp(key + length, ":-", 2)) {
		key[length] = 0;
		*fallback = key + length + 2;
	}
	return length && !key[length];
}

/* One ${...}; *text is moved behind it. */
static int expand_one(struct expand *e, const char **text, FILE *out, int depth, char *why)
{
	const char *end = strchr(*text, '}'), *fallback;
	char *key = end ? strndup(*text + 2, end - *text - 2) : NULL;
	int err;

	if (key && split(key, &fallback)) {
		err = put_value(e, key, fallback, out, depth, why);
		*text = end + 1;
	} else {
		snprintf(why, CTL_WHY_MAX,
			 "'%.32s': write ${KEY}, ${KEY:-default}, or $${ for just these characters",
			 *text);
		err = -EINVAL;
	}
	free(key);
	return err;
}

static int expand_into(struct expand *e, const char *text, FILE *out, int depth, char *why)
{
	const char *dollar;
	int err = 0;

	while (!err && (dollar = strchr(text, '$'))) {
		fwrite(text, 1, dollar - text, out);
		text = dollar;
		if (!strncmp(text, "$${", 3)) {
			fputs("${", out);
			text += 3;
		} else if (!strncmp(text, "${", 2)) {
			err = expand_one(e, &text, out, depth, why);
		} else {
			fputc('$', out);
			text++;
		}
	}
	fputs(text, out);
	return err;
}

int expand_text(struct expand *e, const char *text, char **out, char *why)
{
	size_t size;
	FILE *stream = open_memstream(out, &size);
	int err;

	e->named = 0;
	err = stream ? expand_into(e, text, stream, 0, why) : -ENOMEM;
	if (stream && fclose(stream) && !err)
		err = -ENOMEM;
	if (err == -ENOMEM)
		snprintf(why, CTL_WHY_MAX, "no memory");
	if (err && stream) {
		free(*out);
		*out = NULL;
	}
	return err;
}
