// SPDX-License-Identifier: MIT
/* route_model.c: by the name of the model that a message asks for. */
#include <stdio.h>
#include <string.h>

#include "route.h"

/*
 * '*' is any letters, '?' any one. Goes back to the last star only, so the time is at most the
 * product of both lengths, which are short.
 */
static bool glob(const char *pattern, const char *name)
{
	const char *star = NULL, *again = NULL;

	while (*name) {
		if (*pattern == '*') {
			star = ++pattern;
			again = name;
		} else if (*pattern == '?' || *pattern == *name) {
			pattern++;
			name++;
		} else if (star) {
			pattern = star;
			name = ++again;
		} else {
			return false;
		}
	}
	return !pattern[strspn(pattern, "*")];
}

static int parse(const char *text, struct sluice_condition *c)
{
	size_t length;

	text += strspn(text, " ");
	length = strcspn(text, " ");
	if (length >= sizeof(c->pattern) || text[length + strspn(text + length, " ")])
		return __sluice_err(-EINVAL, "'%.60s' is not the name of a model: one word of at "
				    "most %d letters is wanted", text, SLUICE_MODEL_MAX - 1);
	memcpy(c->pattern, text, length);
	c->pattern[length] = '\0';
	if (!length || !__sluice_model_valid(c->pattern, "._-:/+@*?"))
		return __sluice_err(-EINVAL, "'%.60s' is not the name of a model: write letters, "
				    "digits and . _ - : / + @, * for any, ? for any one", text);
	return 0;
}

/* Who does not say which model matches no name, not even "*". */
static bool match(const struct sluice_condition *c, const struct sluice_facts *f)
{
	return f->model[0] && glob(c->pattern, f->model);
}

/* A pattern that matches the other one as if it were a name matches all that it does. */
static bool covers(const struct sluice_condition *a, const struct sluice_condition *b)
{
	if (!strpbrk(a->pattern, "?"))
		return glob(a->pattern, b->pattern);
	return !strcmp(a->pattern, b->pattern);
}

static void format(const struct sluice_condition *c, char *text, size_t size)
{
	snprintf(text, size, "%s", c->pattern);
}

const struct route_kind __sluice_route_model = {
	.name = "model",
	.usage = "model smollm*",
	.parse = parse,
	.match = match,
	.covers = covers,
	.format = format,
};
