// SPDX-License-Identifier: MIT
/* cmd_check.c - a verdict on stages, for scripts and monitoring */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "health.h"
#include "sluicectl.h"

enum { OPT_BACKLOG = 256, OPT_AGE, OPT_DEAD };

struct check_args {
	bool			json;
	bool			quiet;
	int			first;		/* index of the first name in argv, 0: none */
	struct health_limits	limits;
	bool			set[3];
};

static const struct argp_option check_options[] = {
	{ "backlog", OPT_BACKLOG, "N", 0,
	  "Degraded when more than N messages wait (check_backlog of the pipeline, the ring)", 0 },
	{ "age", OPT_AGE, "TIME", 0,
	  "Degraded when the oldest message is older (check_age, half of ack_timeout)", 0 },
	{ "dead", OPT_DEAD, "N", 0,
	  "Degraded when more than N dead letters lie there (check_dead, 0)", 0 },
	{ "quiet", 'q', NULL, 0, "Say nothing, only the exit status tells", 0 },
	CTL_OPTION_JSON,
	{ 0 }
};

static error_t check_parser(int key, char *arg, struct argp_state *state)
{
	struct check_args *args = state->input;

	switch (key) {
	case OPT_BACKLOG:
		args->limits.backlog = (uint32_t)ctl_option_number(state, "--backlog", arg,
								   UINT32_MAX);
		args->set[0] = true;
		return 0;
	case OPT_AGE:
		args->limits.age_ms = ctl_option_ms(state, "--age", arg);
		args->set[1] = true;
		return 0;
	case OPT_DEAD:
		args->limits.dead = (uint32_t)ctl_option_number(state, "--dead", arg, UINT32_MAX);
		args->set[2] = true;
		return 0;
	case 'q':
		args->quiet = true;
		return 0;
	case 'j':
		args->json = true;
		return 0;
	case ARGP_KEY_INIT:
		argp_err_exit_status = HEALTH_UNKNOWN;	/* 2 means something else here */
		return 0;
	case ARGP_KEY_ARGS:
		args->first = state->next;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static struct json_object *verdict_json(const struct health *h, enum health_level level,
					const char *why)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "level", json_object_new_string(health_level_name(level)));
	json_object_object_add(object, "state",
			       json_object_new_string(health_state_name(&h->info)));
	json_object_object_add(object, "reason", json_object_new_string(why));
	json_object_object_add(object, "breaker", json_object_new_string(health_breaker_name(h)));
	json_object_object_add(object, "ready", json_object_new_uint64(h->info.ready));
	json_object_object_add(object, "queued", json_object_new_uint64(h->info.queued));
	json_object_object_add(object, "oldest_age_ns",
			       json_object_new_uint64(h->info.oldest_age_ns));
	json_object_object_add(object, "letters", json_object_new_uint64(h->letters));
	json_object_object_add(object, "consumers", json_object_new_uint64(h->running));
	json_object_object_add(object, "daemons", json_object_new_uint64(h->daemons));
	return object;
}

static enum health_level check_one(const struct check_args *args, struct health *h,
				   struct json_object *stages)
{
	enum health_level level;
	char why[HEALTH_WHY];

	if (args->set[0])
		h->limits.backlog = args->limits.backlog;
	if (args->set[1])
		h->limits.age_ms = args->limits.age_ms;
	if (args->set[2])
		h->limits.dead = args->limits.dead;
	level = health_level(h, why);
	json_object_object_add(stages, h->info.name, verdict_json(h, level, why));
	if (level && !args->quiet)
		ctl_error("stage '%s' is %s: %s", h->info.name, health_level_name(level), why);
	return level;
}

int cmd_check(const struct ctl_command *cmd, int argc, char **argv)
{
	enum health_level worst = HEALTH_GOOD, level;
	struct check_args args = { 0 };
	struct json_object *result, *stages;
	struct health *healths = NULL;
	int n;

	if (ctl_parse(cmd, check_options, check_parser, argc, argv, &args))
		return HEALTH_UNKNOWN;
	n = args.first ? health_all(argv + args.first, argc - args.first, &healths) :
			 health_all(NULL, 0, &healths);
	if (n < 0) {
		free(healths);
		ctl_library_error(n);
		return HEALTH_UNKNOWN;
	}
	stages = json_object_new_object();
	for (int i = 0; i < n; i++) {
		level = check_one(&args, &healths[i], stages);
		worst = level > worst ? level : worst;
	}
	free(healths);
	result = json_object_new_object();
	json_object_object_add(result, "level", json_object_new_string(health_level_name(worst)));
	json_object_object_add(result, "stages", stages);
	if (args.json)
		ctl_print_json(result);
	else
		json_object_put(result);
	return worst;
}
