// SPDX-License-Identifier: MIT
/*
 * route.c: rules that name the next stage of a message: read, checked against each other, and
 * asked. What the kinds of conditions are stands in route_*.c, one file each.
 */
#include <stdio.h>
#include <string.h>

#include "route.h"

#define LINE_MAX	512	/* bytes of one rule */

static const struct route_kind *const kinds[] = {
	&__sluice_route_length, &__sluice_route_tokens, &__sluice_route_deadline,
	&__sluice_route_kind, &__sluice_route_type, &__sluice_route_model,
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

_Static_assert(sizeof(struct sluice_label) == SLUICE_LABEL_BYTES, "the payload begins there");
_Static_assert(SLUICE_ROUTE_TO <= 32, "a bit for each in sluice_route.loop");

/* ---------------------------------------------------------------- words --- */

/* A piece of text that is cut further; not NUL terminated. */
struct piece {
	const char	*text;
	size_t		len;
};

static struct piece trim(struct piece p)
{
	while (p.len && p.text[0] == ' ') {
		p.text++;
		p.len--;
	}
	while (p.len && p.text[p.len - 1] == ' ')
		p.len--;
	return p;
}

static bool is(struct piece p, const char *word)
{
	return p.len == strlen(word) && !memcmp(p.text, word, p.len);
}

/* Up to @separator, or all; @p becomes what is behind it, with a text of NULL behind the last. */
static struct piece cut(struct piece *p, const char *separator)
{
	const char *at = p->len ? memmem(p->text, p->len, separator, strlen(separator)) : NULL;
	struct piece first = { p->text, at ? (size_t)(at - p->text) : p->len };

	if (at) {
		p->len -= first.len + strlen(separator);
		p->text = at + strlen(separator);
	} else {
		*p = (struct piece){ NULL, 0 };
	}
	return trim(first);
}

static int refuse(struct piece rule, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int refuse(struct piece rule, const char *fmt, ...)
{
	char why[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	return __sluice_err(-EINVAL, "'%.*s': %s", rule.len > 100 ? 100 : (int)rule.len, rule.text,
			    why);
}

/* ------------------------------------------------------------- conditions --- */

static int unknown_kind(struct piece rule, struct piece word)
{
	char known[128] = "";

	for (size_t i = 0; i < KINDS; i++)
		__sluice_append(known, sizeof(known), "%s%s", i ? ", " : "", kinds[i]->name);
	return refuse(rule, "unknown condition '%.*s'; there are %s, and default",
		      word.len > 30 ? 30 : (int)word.len, word.text, known);
}

static int add_condition(struct sluice_route *r, struct piece rule, struct piece part)
{
	char text[LINE_MAX], why[256];
	struct piece word = part;
	struct sluice_condition *c;
	u32 i = 0;

	if (!part.len)
		return refuse(rule, "a condition is wanted before and after each 'and'");
	if (r->nif == SLUICE_ROUTE_CONDITIONS)
		return refuse(rule, "more than %d conditions", SLUICE_ROUTE_CONDITIONS);
	word.len = 0;
	while (word.len < part.len && part.text[word.len] >= 'a' && part.text[word.len] <= 'z')
		word.len++;
	while (i < KINDS && !is(word, kinds[i]->name))
		i++;
	if (i == KINDS)
		return unknown_kind(rule, word.len ? word : part);
	c = &r->conditions[r->nif++];
	c->about = i;
	snprintf(text, sizeof(text), "%.*s", (int)(part.len - word.len), part.text + word.len);
	if (!kinds[i]->parse(text, c))
		return 0;
	snprintf(why, sizeof(why), "%.200s", sluice_error());
	return refuse(rule, "%s, as in '%s'", why, kinds[i]->usage);
}

static int read_conditions(struct sluice_route *r, struct piece rule, struct piece left)
{
	int ret = 0;

	if (is(left, "default"))
		return 0;
	if (!left.len)
		return refuse(rule, "which messages? write a condition, or default, before '->'");
	while (!ret && left.text)
		ret = add_condition(r, rule, cut(&left, " and "));
	return ret;
}

/* ---------------------------------------------------------------- targets --- */

static bool name_valid(struct piece name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.text[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') &&
		    c != '.' && c != '_' && c != '-')
			return false;
	}
	return name.len && name.len < SLUICE_NAME_MAX && name.text[0] != '.';
}

/* The stage's place in the list of all; -E2BIG. */
static int stage_index(struct sluice_routes *r, struct piece name)
{
	u32 i = 0;

	while (i < r->nstages && !is(name, r->stage[i]))
		i++;
	if (i < r->nstages)
		return (int)i;
	if (i == SLUICE_ROUTE_STAGES)
		return __sluice_err(-E2BIG, "the rules name more than %d stages",
				    SLUICE_ROUTE_STAGES);
	memcpy(r->stage[i], name.text, name.len);
	r->stage[i][name.len] = '\0';
	r->nstages++;
	return (int)i;
}

static int add_target(struct sluice_routes *all, struct sluice_route *r, struct piece rule,
		      struct piece name)
{
	bool loop = name.len > 5 && !memcmp(name.text, "loop ", 5);
	int stage;

	if (loop)
		name = trim((struct piece){ name.text + 5, name.len - 5 });
	if (!name_valid(name))
		return refuse(rule, "'%.*s' is no name of a stage", name.len > 60 ? 60 :
			      (int)name.len, name.len ? name.text : "");
	if (r->nto == SLUICE_ROUTE_TO)
		return refuse(rule, "more than %d stages", SLUICE_ROUTE_TO);
	stage = stage_index(all, name);
	if (stage < 0)
		return stage;
	for (u32 i = 0; i < r->nto; i++)
		if (r->to[i] == stage)
			return refuse(rule, "stage '%s' stands there twice", all->stage[stage]);
	r->loop |= (u32)loop << r->nto;
	r->to[r->nto++] = (uint8_t)stage;
	return 0;
}

/* ------------------------------------------------------------------ rules --- */

/* Each condition of the earlier rule holds whenever the later rule matches. */
static bool covers(const struct sluice_route *earlier, const struct sluice_route *later)
{
	for (u32 i = 0; i < earlier->nif; i++) {
		const struct sluice_condition *a = &earlier->conditions[i];
		bool covered = false;

		for (u32 j = 0; j < later->nif && !covered; j++) {
			const struct sluice_condition *b = &later->conditions[j];

			covered = a->about == b->about && kinds[a->about]->covers(a, b);
		}
		if (!covered)
			return false;
	}
	return true;
}

static int check_reached(const struct sluice_routes *all, struct piece rule)
{
	char earlier[SLUICE_ROUTE_TEXT];

	for (u32 i = 0; i + 1 < all->n; i++) {
		if (!covers(&all->rule[i], &all->rule[all->n - 1]))
			continue;
		return refuse(rule, "this rule is never reached: '%.100s' takes all that it "
			      "matches; put it before that", sluice_route_format(all, i, earlier));
	}
	return 0;
}

static int add_rule(struct sluice_routes *all, struct piece rule)
{
	struct piece right = rule, left = cut(&right, "->");
	struct sluice_route *r;
	int ret;

	for (size_t i = 0; i < rule.len; i++)
		if (rule.text[i] < ' ' || rule.text[i] > '~')
			return __sluice_err(-EINVAL, "a rule is one line of plain ASCII");
	if (rule.len >= LINE_MAX)
		return refuse(rule, "a rule has at most %d bytes", LINE_MAX - 1);
	if (!right.text)
		return refuse(rule, "where to? write '-> stage' behind it");
	if (all->n == SLUICE_ROUTES_MAX)
		return __sluice_err(-E2BIG, "more than %d rules", SLUICE_ROUTES_MAX);
	r = &all->rule[all->n++];
	memset(r, 0, sizeof(*r));
	ret = read_conditions(r, rule, left);
	while (!ret && right.text)
		ret = add_target(all, r, rule, cut(&right, ","));
	return ret ?: check_reached(all, rule);
}

int sluice_routes_parse(struct sluice_routes *r, const char *text)
{
	struct piece rest = { text, strlen(text) };
	struct sluice_routes more = *r;
	u32 before = r->n;
	int ret = 0;

	while (!ret && rest.text) {
		struct piece line = cut(&rest, "\n");

		while (!ret && line.text) {
			struct piece rule = cut(&line, ";");

			if (rule.len)
				ret = add_rule(&more, rule);
		}
	}
	if (!ret && more.n == before)
		ret = __sluice_err(-EINVAL, "no rule: write one such as 'length > 4K -> slow'");
	if (!ret)
		*r = more;
	return ret;
}

int sluice_routes_match(const struct sluice_routes *r, const struct sluice_facts *f)
{
	for (u32 i = 0; i < r->n; i++) {
		const struct sluice_route *rule = &r->rule[i];
		u32 n = 0;

		while (n < rule->nif &&
		       kinds[rule->conditions[n].about]->match(&rule->conditions[n], f))
			n++;
		if (n == rule->nif)
			return (int)i;
	}
	return -ENOENT;
}

const char *sluice_route_format(const struct sluice_routes *r, uint32_t i,
				char text[SLUICE_ROUTE_TEXT])
{
	const struct sluice_route *rule = &r->rule[i];
	char value[SLUICE_TYPE_TEXT + 32];

	snprintf(text, SLUICE_ROUTE_TEXT, "%s", rule->nif ? "" : "default");
	for (u32 n = 0; n < rule->nif; n++) {
		const struct route_kind *kind = kinds[rule->conditions[n].about];

		kind->format(&rule->conditions[n], value, sizeof(value));
		__sluice_append(text, SLUICE_ROUTE_TEXT, "%s%s %s", n ? " and " : "", kind->name,
				value);
	}
	for (u32 n = 0; n < rule->nto; n++)
		__sluice_append(text, SLUICE_ROUTE_TEXT, "%s%s%s", n ? ", " : " -> ",
				rule->loop & 1u << n ? "loop " : "", r->stage[rule->to[n]]);
	return text;
}
