// SPDX-License-Identifier: MIT
/* pipeline.c - what may stand in a pipeline file, and what it means */

#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sluice/tensor.h>

#include "../stages/breaker.h"
#include "expand.h"
#include "pipeline.h"
#include "sluicectl.h"
#include "toml.h"

const char *const pipeline_roles[PIPELINE_ROLES + 1] = {
	"embedding", "encoder", "decoder", "output", NULL
};

const char *const pipeline_restarts[] = {
	[RESTART_ALWAYS]	= "always",
	[RESTART_ON_FAILURE]	= "on-failure",
	[RESTART_NEVER]		= "never",
	NULL
};

enum key_type {
	KEY_STRING,		/* char * */
	KEY_NUMBER,		/* uint32_t, at most max */
	KEY_SIZE,		/* uint32_t bytes, at most max */
	KEY_MS,			/* uint32_t milliseconds */
	KEY_CHOICE,		/* uint32_t index into choices */
	KEY_LIST,		/* char **, NULL terminated */
	KEY_ENVIRONMENT,	/* char **, NAME=VALUE, NULL terminated */
	KEY_NAME,		/* char[SLUICE_NAME_MAX] */
	KEY_MODE,		/* uint32_t from an octal string */
	KEY_USER,		/* uint32_t */
	KEY_GROUP,		/* uint32_t */
	KEY_FLAG,		/* boolean: the flag of struct sluice_create that is @max */
	KEY_ACCEPTS,		/* char *, the declarations in one line */
};

struct key {
	const char		*name;
	enum key_type		type;
	size_t			offset;
	uint32_t		max;
	const char *const	*choices;
};

#define WHOLE(member)	offsetof(struct pipeline, member)
#define STAGE(member)	offsetof(struct pipeline_stage, member)

static const struct key pipeline_keys[] = {
	{ "name", KEY_STRING, WHOLE(name), 0, NULL },
	{ "description", KEY_STRING, WHOLE(description), 0, NULL },
	{ "ready_timeout", KEY_MS, WHOLE(ready_ms), 0, NULL },
	{ "drain_timeout", KEY_MS, WHOLE(drain_ms), 0, NULL },
	{ NULL, 0, 0, 0, NULL }
};

static const struct key client_keys[] = {
	{ "embedding", KEY_STRING, WHOLE(client[0]), 0, NULL },
	{ "encoder", KEY_STRING, WHOLE(client[1]), 0, NULL },
	{ "decoder", KEY_STRING, WHOLE(client[2]), 0, NULL },
	{ "output", KEY_STRING, WHOLE(client[3]), 0, NULL },
	{ NULL, 0, 0, 0, NULL }
};

static const struct key stage_keys[] = {
	{ "name", KEY_NAME, STAGE(create.name), 0, NULL },
	{ "slots", KEY_NUMBER, STAGE(create.nslots), UINT32_MAX, NULL },
	{ "buffers", KEY_NUMBER, STAGE(create.nbufs), UINT32_MAX, NULL },
	{ "buffer_size", KEY_SIZE, STAGE(create.bufsize), SLUICE_MAX_BUFFER_SIZE, NULL },
	{ "policy", KEY_CHOICE, STAGE(create.policy), 0, ctl_policies },
	{ "max_attempts", KEY_NUMBER, STAGE(create.max_attempts), SLUICE_MAX_ATTEMPTS, NULL },
	{ "ack_timeout", KEY_MS, STAGE(create.ack_timeout_ms), 0, NULL },
	{ "max_hold", KEY_MS, STAGE(create.max_hold_ms), 0, NULL },
	{ "write_timeout", KEY_MS, STAGE(create.write_timeout_ms), 0, NULL },
	{ "dead_letters", KEY_NUMBER, STAGE(create.dead_slots), UINT32_MAX, NULL },
	{ "dead_stops", KEY_FLAG, STAGE(create.flags), SLUICE_CREATE_DEAD_STOPS, NULL },
	{ "slow_waits", KEY_FLAG, STAGE(create.flags), SLUICE_CREATE_SLOW_WAITS, NULL },
	{ "queue", KEY_NUMBER, STAGE(create.queue_max), UINT32_MAX, NULL },
	{ "owner", KEY_USER, STAGE(create.uid), 0, NULL },
	{ "group", KEY_GROUP, STAGE(create.gid), 0, NULL },
	{ "mode", KEY_MODE, STAGE(create.mode), 0, NULL },
	{ "command", KEY_LIST, STAGE(command), 0, NULL },
	{ "environment", KEY_ENVIRONMENT, STAGE(environment), 0, NULL },
	{ "replicas", KEY_NUMBER, STAGE(replicas), PIPELINE_MAX_REPLICAS, NULL },
	{ "restart", KEY_CHOICE, STAGE(restart), 0, pipeline_restarts },
	{ "accepts", KEY_ACCEPTS, STAGE(accepts), 0, NULL },
	{ "breaker_failures", KEY_NUMBER, STAGE(breaker.failures), BREAKER_MAX_FAILURES, NULL },
	{ "breaker_window", KEY_MS, STAGE(breaker.window_ms), 0, NULL },
	{ "breaker_backoff", KEY_MS, STAGE(breaker.backoff_ms), 0, NULL },
	{ "breaker_backoff_max", KEY_MS, STAGE(breaker.backoff_max_ms), 0, NULL },
	{ "check_backlog", KEY_NUMBER, STAGE(limits.backlog), UINT32_MAX, NULL },
	{ "check_age", KEY_MS, STAGE(limits.age_ms), 0, NULL },
	{ "check_dead", KEY_NUMBER, STAGE(limits.dead), UINT32_MAX, NULL },
	{ NULL, 0, 0, 0, NULL }
};

_Static_assert(sizeof(enum pipeline_restart) == sizeof(uint32_t), "KEY_CHOICE writes 32 bits");

struct loader {
	const char	*path;
	struct expand	*expand;
};

static int fail(const struct loader *l, const struct toml_node *at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(const struct loader *l, const struct toml_node *at, const char *format, ...)
{
	char what[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	ctl_error("%s:%u:%u: %s", l->path, at->line, at->column, what);
	return CTL_BAD_FILE;
}

static int no_memory(void)
{
	ctl_error("no memory");
	return CTL_FAILED;
}

/* ----------------------------------------------------------------- values --- */

/* The text of a scalar with its variables put in; freed by the caller. */
static int text_of(const struct loader *l, const struct toml_node *node, char **text)
{
	char why[CTL_WHY_MAX];

	if (node->type == TOML_INTEGER) {
		if (asprintf(text, "%lld", (long long)node->integer) < 0)
			return no_memory();
		return 0;
	}
	if (node->type != TOML_STRING)
		return fail(l, node, "%s%s%s is wanted here, not %s", node->key ? "'" : "",
			    node->key ?: "text", node->key ? "': a string" : "",
			    toml_type_name(node->type));
	if (expand_text(l->expand, node->string, text, why))
		return fail(l, node, "%s", why);
	return 0;
}

static int set_list(const struct loader *l, const struct toml_node *node, char ***list)
{
	int status = 0;

	if (node->type != TOML_ARRAY)
		return fail(l, node,
			    "'%s': a list of strings is wanted, [\"program\", \"argument\"], not "
			    "%s",
			    node->key, toml_type_name(node->type));
	if (!node->nchildren)
		return fail(l, node, "'%s' is empty: leave it out for a stage without a daemon",
			    node->key);
	*list = calloc(node->nchildren + 1, sizeof(**list));
	if (!*list)
		return no_memory();
	for (size_t i = 0; !status && i < node->nchildren; i++)
		status = text_of(l, &node->children[i], &(*list)[i]);
	return status;
}

static int set_environment(const struct loader *l, const struct toml_node *node, char ***list)
{
	int status = 0;

	if (node->type != TOML_TABLE)
		return fail(l, node, "'%s': a table is wanted, { NAME = \"value\" }, not %s",
			    node->key, toml_type_name(node->type));
	*list = calloc(node->nchildren + 1, sizeof(**list));
	if (!*list)
		return no_memory();
	for (size_t i = 0; !status && i < node->nchildren; i++) {
		char *value;

		status = text_of(l, &node->children[i], &value);
		if (status)
			break;
		if (asprintf(&(*list)[i], "%s=%s", node->children[i].key, value) < 0) {
			(*list)[i] = NULL;
			status = no_memory();
		}
		free(value);
	}
	return status;
}

static int set_flag(const struct loader *l, const struct toml_node *node, uint32_t *flags,
		    uint32_t flag)
{
	if (node->type != TOML_BOOLEAN)
		return fail(l, node, "'%s': true or false is wanted, not %s", node->key,
			    toml_type_name(node->type));
	if (node->boolean)
		*flags |= flag;
	return 0;
}

/* Each is checked where it stands, and put into one line for those who are told of it. */
static int add_accepts(const struct loader *l, const struct toml_node *node,
		       struct sluice_accepts *types, FILE *line)
{
	char *text;
	int status = text_of(l, node, &text);

	if (status)
		return status;
	if (sluice_accepts_parse(types, text))
		status = fail(l, node, "'accepts': %s", sluice_error());
	else
		fprintf(line, "%s%s", ftell(line) ? ", " : "", text);
	free(text);
	return status;
}

static int set_accepts(const struct loader *l, const struct toml_node *node, char **accepts)
{
	struct sluice_accepts types = { .n = 0 };
	int status = 0;
	size_t size;
	FILE *line;

	if (node->type != TOML_ARRAY || !node->nchildren)
		return fail(l, node,
			    "'%s': a list of types is wanted, [\"tokens:i32[?]\", \"image/png\"]; "
			    "leave it out for a stage that says nothing",
			    node->key);
	line = open_memstream(accepts, &size);
	if (!line)
		return no_memory();
	for (size_t i = 0; !status && i < node->nchildren; i++)
		status = add_accepts(l, &node->children[i], &types, line);
	if (fclose(line) && !status)
		status = no_memory();
	return status;
}

static int choose(const char *text, const char *const *choices, uint32_t *value,
		  char why[CTL_WHY_MAX])
{
	size_t used;

	for (uint32_t i = 0; choices[i]; i++) {
		if (!strcmp(text, choices[i])) {
			*value = i;
			return 0;
		}
	}
	used = snprintf(why, CTL_WHY_MAX, "'%.64s' is none of", text);
	for (uint32_t i = 0; choices[i]; i++)
		used += snprintf(why + used, CTL_WHY_MAX - used, "%s '%s'", i ? "," : "",
				 choices[i]);
	return -EINVAL;
}

static int parse_mode(const char *text, uint32_t *mode, char why[CTL_WHY_MAX])
{
	char *end;
	unsigned long value = strtoul(text, &end, 8);

	if (end != text && !*end && value && value <= 0777) {
		*mode = (uint32_t)value;
		return 0;
	}
	snprintf(why, CTL_WHY_MAX, "'%.64s' is not an octal mode such as \"0660\"", text);
	return -EINVAL;
}

static int parse_user(const char *text, uint32_t *id, char why[CTL_WHY_MAX])
{
	const struct passwd *user = getpwnam(text);
	uint64_t number;
	int err = 0;

	if (user)
		*id = user->pw_uid;
	else if (!(err = ctl_parse_number(text, UINT32_MAX, &number, why)))
		*id = (uint32_t)number;
	else
		snprintf(why, CTL_WHY_MAX, "there is no user '%.64s'", text);
	return err;
}

static int parse_group(const char *text, uint32_t *id, char why[CTL_WHY_MAX])
{
	const struct group *group = getgrnam(text);
	uint64_t number;
	int err = 0;

	if (group)
		*id = group->gr_gid;
	else if (!(err = ctl_parse_number(text, UINT32_MAX, &number, why)))
		*id = (uint32_t)number;
	else
		snprintf(why, CTL_WHY_MAX, "there is no group '%.64s'", text);
	return err;
}

static int parse_name(const char *text, char name[SLUICE_NAME_MAX], char why[CTL_WHY_MAX])
{
	if (strlen(text) < SLUICE_NAME_MAX) {
		strcpy(name, text);
		return 0;
	}
	snprintf(why, CTL_WHY_MAX, "the name is longer than %d characters", SLUICE_NAME_MAX - 1);
	return -EINVAL;
}

static int parse_ms(const char *text, uint32_t *ms, char why[CTL_WHY_MAX])
{
	int64_t ns;
	int err = ctl_parse_duration(text, &ns, why);

	if (err)
		return err;
	if (ns / 1000000 > UINT32_MAX) {
		snprintf(why, CTL_WHY_MAX, "'%.64s' is longer than 49 days", text);
		return -ERANGE;
	}
	*ms = (uint32_t)(ns / 1000000);
	return 0;
}

/* Scalars: their text, whatever it was in the file, is parsed as on the command line. */
static int set_scalar(const struct key *key, const char *text, void *at, char why[CTL_WHY_MAX])
{
	uint64_t number = 0;
	int err;

	switch (key->type) {
	case KEY_NUMBER:
		err = ctl_parse_number(text, key->max, &number, why);
		*(uint32_t *)at = (uint32_t)number;
		return err;
	case KEY_SIZE:
		err = ctl_parse_size(text, key->max, &number, why);
		*(uint32_t *)at = (uint32_t)number;
		return err;
	case KEY_MS:
		return parse_ms(text, at, why);
	case KEY_CHOICE:
		return choose(text, key->choices, at, why);
	case KEY_MODE:
		return parse_mode(text, at, why);
	case KEY_USER:
		return parse_user(text, at, why);
	case KEY_GROUP:
		return parse_group(text, at, why);
	case KEY_NAME:
		return parse_name(text, at, why);
	case KEY_STRING:
		*(char **)at = strdup(text);
		snprintf(why, CTL_WHY_MAX, "no memory");
		return *(char **)at ? 0 : -ENOMEM;
	case KEY_LIST:
	case KEY_ENVIRONMENT:
	case KEY_FLAG:
	case KEY_ACCEPTS:
		break;
	}
	return -EINVAL;
}

static int set_value(const struct loader *l, const struct key *key, const struct toml_node *node,
		     void *base)
{
	void *at = (char *)base + key->offset;
	char why[CTL_WHY_MAX], *text;
	int status;

	if (key->type == KEY_LIST)
		return set_list(l, node, at);
	if (key->type == KEY_ENVIRONMENT)
		return set_environment(l, node, at);
	if (key->type == KEY_FLAG)
		return set_flag(l, node, at, key->max);
	if (key->type == KEY_ACCEPTS)
		return set_accepts(l, node, at);
	status = text_of(l, node, &text);
	if (status)
		return status;
	if (set_scalar(key, text, at, why))
		status = fail(l, node, "'%s': %s", key->name, why);
	free(text);
	return status;
}

/* ----------------------------------------------------------------- tables --- */

static int unknown_key(const struct loader *l, const struct toml_node *node,
		       const char *const *names, const char *where)
{
	const char *close = ctl_suggest(node->key, names);

	if (close)
		return fail(l, node, "%s has no key '%s'; did you mean '%s'?", where, node->key,
			    close);
	return fail(l, node, "%s has no key '%s'; sluicectl(8) lists the keys", where, node->key);
}

static int read_table(const struct loader *l, const struct toml_node *table, const struct key *keys,
		      const char *where, void *base)
{
	const char *names[64] = { NULL };
	int status = 0;

	if (table->type != TOML_TABLE)
		return fail(l, table, "%s must be a table", where);
	for (int i = 0; keys[i].name; i++)
		names[i] = keys[i].name;
	for (size_t i = 0; !status && i < table->nchildren; i++) {
		const struct toml_node *node = &table->children[i];
		const struct key *key = keys;

		while (key->name && strcmp(key->name, node->key))
			key++;
		status = key->name ? set_value(l, key, node, base) :
				     unknown_key(l, node, names, where);
	}
	return status;
}

static int check_stage(const struct loader *l, const struct toml_node *node,
		       const struct pipeline *p, struct pipeline_stage *stage)
{
	char why[CTL_WHY_MAX];

	if (!stage->create.name[0])
		return fail(l, node, "this [[stage]] has no name: add name = \"...\"");
	if (stage->create.nbufs && !stage->create.bufsize)
		stage->create.bufsize = 64 << 10;
	if (ctl_geometry_check(&stage->create, why))
		return fail(l, node, "stage '%s': %s", stage->create.name, why);
	if (!stage->breaker.failures)
		return fail(l, node, "stage '%s': breaker_failures must be from 1 to %u",
			    stage->create.name, BREAKER_MAX_FAILURES);
	if (!stage->replicas)
		return fail(l, node, "stage '%s': at least 1 replica; leave 'command' out for none",
			    stage->create.name);
	for (const struct pipeline_stage *other = p->stages; other < stage; other++)
		if (!strcmp(other->create.name, stage->create.name))
			return fail(l, node, "a stage '%s' stands in line %u already",
				    stage->create.name, other->line);
	return 0;
}

static int read_stages(const struct loader *l, const struct toml_node *array, struct pipeline *p)
{
	int status = 0;

	if (array->type != TOML_ARRAY || array->nchildren > PIPELINE_MAX_STAGES)
		return fail(l, array, "stages are written as [[stage]], at most %d of them",
			    PIPELINE_MAX_STAGES);
	p->stages = calloc(array->nchildren, sizeof(*p->stages));
	if (!p->stages)
		return no_memory();
	for (size_t i = 0; !status && i < array->nchildren; i++) {
		const struct toml_node *node = &array->children[i];
		struct pipeline_stage *stage = &p->stages[i];

		stage->create.nslots = 256;
		stage->create.uid = getuid();
		stage->create.gid = getgid();
		stage->replicas = 1;
		stage->breaker = (struct pipeline_breaker){ 8, 30000, 2000, 60000 };
		stage->line = node->line;
		p->nstages = i + 1;
		status = read_table(l, node, stage_keys, "[[stage]]", stage);
		if (!status)
			status = check_stage(l, node, p, stage);
	}
	return status;
}

static bool has_stage(const struct pipeline *p, const char *name)
{
	for (size_t i = 0; i < p->nstages; i++)
		if (!strcmp(p->stages[i].create.name, name))
			return true;
	return false;
}

static int check_pipeline(const struct loader *l, const struct toml_node *root,
			  const struct pipeline *p)
{
	if (!p->name || !p->name[0])
		return fail(l, root,
			    "the pipeline has no name: add [pipeline] with name = \"...\"");
	if (strlen(p->name) >= SLUICE_NAME_MAX || strchr(p->name, '/') || p->name[0] == '.')
		return fail(l, root,
			    "the pipeline's name '%s' must be short, without '/', not begin with "
			    "'.'",
			    p->name);
	if (!p->nstages)
		return fail(l, root,
			    "the pipeline has no stage: add [[stage]] with name and command");
	for (int i = 0; i < PIPELINE_ROLES; i++)
		if (p->client[i] && !has_stage(p, p->client[i]))
			return fail(l, root, "[client] names a stage '%s' that is not in this file",
				    p->client[i]);
	return 0;
}

static int read_root(const struct loader *l, const struct toml_node *root, struct pipeline *p)
{
	static const char *const names[] = { "pipeline", "variables", "stage", "client", NULL };
	const char *unused;
	int status = 0;

	for (size_t i = 0; !status && i < root->nchildren; i++) {
		const struct toml_node *node = &root->children[i];

		if (!strcmp(node->key, "pipeline"))
			status = read_table(l, node, pipeline_keys, "[pipeline]", p);
		else if (!strcmp(node->key, "client"))
			status = read_table(l, node, client_keys, "[client]", p);
		else if (!strcmp(node->key, "stage"))
			status = read_stages(l, node, p);
		else if (strcmp(node->key, "variables"))
			status = unknown_key(l, node, names, "a pipeline file");
	}
	if (!status)
		status = check_pipeline(l, root, p);
	if (status)
		return status;
	unused = expand_unused(l->expand);
	if (unused) {
		ctl_error("--set %s: %s has no such variable in [variables]", unused, l->path);
		return CTL_USAGE;
	}
	return 0;
}

static int set_variables(const struct loader *l, const struct toml_node *root)
{
	for (size_t i = 0; i < root->nchildren; i++) {
		const struct toml_node *table = &root->children[i];

		if (strcmp(table->key, "variables"))
			continue;
		if (table->type != TOML_TABLE)
			return fail(l, table, "[variables] must be a table");
		for (size_t j = 0; j < table->nchildren; j++) {
			const struct toml_node *node = &table->children[j];
			char number[24];

			snprintf(number, sizeof(number), "%lld", (long long)node->integer);
			if (node->type != TOML_STRING && node->type != TOML_INTEGER)
				return fail(l, node,
					    "variable '%s': a string or a whole number is wanted, "
					    "not %s",
					    node->key, toml_type_name(node->type));
			if (expand_default(l->expand, node->key,
					   node->type == TOML_STRING ? node->string : number))
				return no_memory();
		}
	}
	return 0;
}

/* ------------------------------------------------------------------- whole --- */

char *pipeline_find(const char *word)
{
	static const char *const forms[] = { "%s/../share/sluice/pipelines/%s",
					     "%s/../share/sluice/pipelines/%s.toml" };
	char self[PATH_MAX], *path;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (!access(word, F_OK) || strchr(word, '/') || n < 0)
		return strdup(word);
	self[n] = 0;
	dirname(self);
	for (int i = 0; i < 2; i++) {
		if (asprintf(&path, i ? forms[1] : forms[0], self, word) < 0)
			return NULL;
		if (!access(path, F_OK))
			return path;
		free(path);
	}
	return strdup(word);
}

int pipeline_load(const char *path, const char *const *sets, struct pipeline **out)
{
	struct pipeline *p = calloc(1, sizeof(*p));
	struct loader l = { .path = path };
	char error[TOML_ERROR_MAX];
	struct toml_node *root;
	int status, err;

	if (!p || expand_create(sets, &l.expand)) {
		free(p);
		return no_memory();
	}
	p->ready_ms = 120000;
	p->drain_ms = 10000;
	err = toml_load(path, &root, error);
	if (err) {
		ctl_error("%s", error);
		status = err == -EINVAL ? CTL_BAD_FILE :
			 err == -ENOENT ? CTL_NOT_FOUND :
					  ctl_exit_of(err);
	} else {
		p->path = realpath(path, NULL);
		status = p->path ? set_variables(&l, root) : no_memory();
		if (!status)
			status = read_root(&l, root, p);
		toml_free(root);
	}
	expand_free(l.expand);
	if (status)
		pipeline_free(p);
	else
		*out = p;
	return status;
}

static void free_list(char **list)
{
	for (char **each = list; each && *each; each++)
		free(*each);
	free(list);
}

void pipeline_free(struct pipeline *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->nstages; i++) {
		free_list(p->stages[i].command);
		free_list(p->stages[i].environment);
		free(p->stages[i].accepts);
	}
	for (int i = 0; i < PIPELINE_ROLES; i++)
		free(p->client[i]);
	free(p->stages);
	free(p->description);
	free(p->name);
	free(p->path);
	free(p);
}
