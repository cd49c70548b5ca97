// SPDX-License-Identifier: MIT
/* shape.c - how the stages of a pipeline file hang together: rules between them, and shards */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline_pvt.h"
#include "sluicectl.h"

/* ------------------------------------------------------------------ rules --- */

static int add_rules(const struct loader *l, const struct toml_node *node,
		     struct pipeline_routes *r, FILE *all)
{
	uint32_t before = r->rules.n;
	char *text;
	int status = loader_text(l, node, &text);

	if (status)
		return status;
	if (sluice_routes_parse(&r->rules, text))
		status = loader_fail(l, node->line, node->column, "'routes': %s", sluice_error());
	else
		fprintf(all, "%s%s", ftell(all) ? "\n" : "", text);
	for (uint32_t i = before; i < r->rules.n; i++) {
		r->line[i] = node->line;
		r->column[i] = node->column;
	}
	free(text);
	return status;
}

int shape_read_routes(const struct loader *l, const struct toml_node *node,
		      struct pipeline_routes **routes)
{
	struct pipeline_routes *r;
	int status = 0;
	size_t size;
	FILE *all;

	if (node->type != TOML_ARRAY || !node->nchildren)
		return loader_fail(l, node->line, node->column,
				   "'%s': a list of rules is wanted, [\"length > 4K -> slow\", "
				   "\"default -> fast\"]", node->key);
	r = calloc(1, sizeof(*r));
	if (!r)
		return loader_no_memory();
	*routes = r;
	all = open_memstream(&r->text, &size);
	if (!all)
		return loader_no_memory();
	for (size_t i = 0; !status && i < node->nchildren; i++)
		status = add_rules(l, &node->children[i], r, all);
	if (fclose(all) && !status)
		status = loader_no_memory();
	return status;
}

void shape_free_routes(struct pipeline_routes *routes)
{
	if (!routes)
		return;
	free(routes->text);
	free(routes);
}

static const struct pipeline_stage *find(const struct pipeline *p, const char *name)
{
	for (size_t i = 0; i < p->nstages; i++)
		if (!strcmp(p->stages[i].create.name, name))
			return &p->stages[i];
	return NULL;
}

static int unknown_stage(const struct loader *l, const struct pipeline *p,
			 const struct pipeline_routes *r, uint32_t rule, const char *name)
{
	const char *names[PIPELINE_MAX_STAGES + 1] = { NULL }, *close;

	for (size_t i = 0; i < p->nstages; i++)
		names[i] = p->stages[i].create.name;
	close = ctl_suggest(name, names);
	return loader_fail(l, r->line[rule], r->column[rule],
			   "'routes': there is no stage '%s' in this file%s%s%s", name,
			   close ? "; did you mean '" : "", close ?: "", close ? "'?" : "");
}

/* Does a message that goes on from @from by rules that do not say "loop" come to @to? */
static bool leads_to(const struct pipeline *p, const struct pipeline_stage *from,
		     const struct pipeline_stage *to, bool *seen)
{
	const struct sluice_routes *r = from->routes ? &from->routes->rules : NULL;

	if (from == to)
		return true;
	if (seen[from - p->stages] || !r)
		return false;
	seen[from - p->stages] = true;
	for (uint32_t i = 0; i < r->n; i++) {
		for (uint32_t j = 0; j < r->rule[i].nto; j++) {
			if (!(r->rule[i].loop & 1u << j) &&
			    leads_to(p, find(p, r->stage[r->rule[i].to[j]]), to, seen))
				return true;
		}
	}
	return false;
}

/* Rules @check_loops: all names are known by then. */
static int check_rules(const struct loader *l, const struct pipeline *p,
		       const struct pipeline_stage *stage, bool check_loops)
{
	const struct pipeline_routes *r = stage->routes;

	for (uint32_t i = 0; r && i < r->rules.n; i++) {
		const struct sluice_route *rule = &r->rules.rule[i];

		for (uint32_t j = 0; j < rule->nto; j++) {
			const char *name = r->rules.stage[rule->to[j]];
			bool seen[PIPELINE_MAX_STAGES] = { false };

			if (!check_loops && !find(p, name))
				return unknown_stage(l, p, r, i, name);
			if (check_loops && !(rule->loop & 1u << j) &&
			    leads_to(p, find(p, name), stage, seen))
				return loader_fail(l, r->line[i], r->column[i],
						   "'routes': '%s' leads back to '%s'; write 'loop "
						   "%s' if that is meant", name,
						   stage->create.name, name);
		}
	}
	return 0;
}

int shape_check(const struct loader *l, const struct pipeline *p)
{
	int status = 0;

	for (int loops = 0; loops < 2; loops++)
		for (size_t i = 0; !status && i < p->nstages; i++)
			status = check_rules(l, p, &p->stages[i], loops);
	return status;
}

/* ----------------------------------------------------------------- shards --- */

#define MORE_MAX 8	/* words that are put behind a command */

/* A list with @more, up to a NULL, behind a copy of @list; NULL without memory. */
static char **longer(char *const *list, const char *more, ...)
{
	size_t n = 0, added = 0;
	char **copy;
	va_list args;

	while (list && list[n])
		n++;
	copy = calloc(n + MORE_MAX + 1, sizeof(*copy));
	for (size_t i = 0; copy && i < n; i++)
		copy[i] = strdup(list[i]);
	va_start(args, more);
	for (; copy && more && added < MORE_MAX; more = va_arg(args, const char *))
		copy[n + added++] = strdup(more);
	va_end(args);
	return copy;
}

static int give_router(struct pipeline_stage *stage)
{
	stage->command = longer(NULL, "sluicectl", "route", stage->create.name, NULL);
	return stage->command ? 0 : loader_no_memory();
}

/* "A-B" of each shard begins where the one before ends, the first one at 0. */
static int check_layers(const struct loader *l, const struct toml_node *node,
			const struct pipeline_stage *stage)
{
	unsigned int next = 0, a, b;
	char end;

	for (size_t i = 0; stage->layers[i]; i++) {
		if (sscanf(stage->layers[i], "%u-%u%c", &a, &b, &end) != 2 || a > b || a != next)
			return loader_fail(l, node->line, node->column,
					   "stage '%s': layers \"%s\": ranges such as \"0-14\", "
					   "\"15-29\" are wanted, each from where the one before "
					   "ends, here from %u", stage->create.name,
					   stage->layers[i], next);
		next = b + 1;
	}
	return 0;
}

static int shard_name(const struct loader *l, const struct toml_node *node,
		      const struct pipeline_stage *stage, unsigned int shard,
		      char name[SLUICE_NAME_MAX])
{
	int n;

	if (shard == 1)
		n = snprintf(name, SLUICE_NAME_MAX, "%s", stage->create.name);
	else
		n = snprintf(name, SLUICE_NAME_MAX, "%s.%u", stage->create.name, shard);
	if (n < SLUICE_NAME_MAX)
		return 0;
	return loader_fail(l, node->line, node->column,
			   "stage '%s': no room for '.%u' behind its name: shorten it",
			   stage->create.name, shard);
}

/* Each shard is the stage with another ring, another part of the layers and another successor. */
static int make_shard(const struct loader *l, const struct toml_node *node,
		      const struct pipeline_stage *whole, unsigned int k, struct pipeline_stage *s)
{
	char name[SLUICE_NAME_MAX], next[SLUICE_NAME_MAX], part[32];
	int status = shard_name(l, node, whole, k, name);

	if (!status)
		status = shard_name(l, node, whole, k + (k < whole->shards), next);
	if (status)
		return status;
	snprintf(part, sizeof(part), "%u/%u", k, whole->shards);
	*s = *whole;
	memcpy(s->create.name, name, sizeof(name));
	s->layers = NULL;
	s->routes = NULL;
	s->accepts = whole->accepts ? strdup(whole->accepts) : NULL;
	s->environment = whole->environment ? longer(whole->environment, NULL) : NULL;
	s->command = longer(whole->command, "--decoder", name,
			    whole->layers ? "--layers" : "--shard",
			    whole->layers ? whole->layers[k - 1] : part,
			    k < whole->shards ? "--next" : NULL, next, NULL);
	return s->command && (s->environment || !whole->environment) ? 0 : loader_no_memory();
}

static void free_list(char **list)
{
	for (char **each = list; each && *each; each++)
		free(*each);
	free(list);
}

static int make_shards(const struct loader *l, const struct toml_node *node, struct pipeline *p)
{
	struct pipeline_stage *first = &p->stages[p->nstages - 1], whole = *first;
	int status = 0;

	memset(first, 0, sizeof(*first));
	p->nstages--;
	for (unsigned int k = 1; !status && k <= whole.shards; k++) {
		struct pipeline_stage *shard = &p->stages[p->nstages];

		if (p->nstages == PIPELINE_MAX_STAGES)
			status = loader_fail(l, node->line, node->column,
					     "with its shards the file has more than %d stages",
					     PIPELINE_MAX_STAGES);
		else
			status = make_shard(l, node, &whole, k, shard);
		if (!status && find(p, shard->create.name))
			status = loader_fail(l, node->line, node->column,
					     "shard %u is called '%s', as a stage in line %u is", k,
					     shard->create.name, find(p, shard->create.name)->line);
		p->nstages += shard < p->stages + PIPELINE_MAX_STAGES;
	}
	free_list(whole.command);
	free_list(whole.environment);
	free_list(whole.layers);
	free(whole.accepts);
	return status;
}

int shape_expand(const struct loader *l, const struct toml_node *node, struct pipeline *p)
{
	struct pipeline_stage *stage = &p->stages[p->nstages - 1];
	uint32_t ranges = 0;
	int status;

	if (stage->routes && !stage->command)
		return give_router(stage);
	while (stage->layers && stage->layers[ranges])
		ranges++;
	if (!stage->shards)
		stage->shards = ranges ?: 1;
	if (ranges && stage->shards != ranges)
		return loader_fail(l, node->line, node->column,
				   "stage '%s': %u shards and %u ranges of layers: leave 'shards' "
				   "out", stage->create.name, stage->shards, ranges);
	if (ranges) {
		status = check_layers(l, node, stage);
		if (status)
			return status;
	}
	if (stage->shards == 1 && !ranges)
		return 0;
	if (!stage->command || stage->routes)
		return loader_fail(l, node->line, node->column,
				   "stage '%s': shards are processes in a row: it needs a 'command' "
				   "and takes no 'routes'", stage->create.name);
	return make_shards(l, node, p);
}
