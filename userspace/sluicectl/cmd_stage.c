// SPDX-License-Identifier: MIT
/* cmd_stage.c - create and destroy */

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sluice/lanes.h>

#include "sluicectl.h"

enum {
	OPT_POLICY = 256, OPT_MAX_ATTEMPTS, OPT_ACK_TIMEOUT, OPT_MAX_HOLD, OPT_WRITE_TIMEOUT,
	OPT_DEAD_LETTERS, OPT_DEAD_STOPS, OPT_SLOW_WAITS, OPT_QUEUE, OPT_OWNER, OPT_GROUP, OPT_MODE,
	OPT_CLASS,
};

static const struct argp_option create_options[] = {
	{ "slots", 'n', "N", 0, "Messages in the ring, a power of two (256)", 0 },
	{ "buffers", 'b', "N", 0, "Payload buffers (0: only messages of up to 76 bytes)", 0 },
	{ "buffer-size", 's', "SIZE", 0, "Bytes of each buffer, such as 64K (64K)", 0 },
	{ "policy", OPT_POLICY, "NAME", 0, "Who gets a message: shared (the default), "
	  "round-robin, least-outstanding, weighted, affinity, broadcast (everybody)", 0 },
	{ "class", OPT_CLASS, "CLASS", 0, "The lane of a class of priority, which is the stage "
	  "NAME.CLASS: slots and buffers of its own", 0 },
	{ "max-attempts", OPT_MAX_ATTEMPTS, "N", 0, "Failures before a message is dead (5)", 0 },
	{ "ack-timeout", OPT_ACK_TIMEOUT, "TIME", 0, "A claim is taken back after it (30s)", 0 },
	{ "max-hold", OPT_MAX_HOLD, "TIME", 0,
	  "Bound of a claim with all renewals (10 x ack timeout)", 0 },
	{ "write-timeout", OPT_WRITE_TIMEOUT, "TIME", 0,
	  "Bound between reserve and publish (1s)", 0 },
	{ "dead-letters", OPT_DEAD_LETTERS, "N", 0,
	  "Slots of the dead-letter stage NAME.dead, a power of two (0: none)", 0 },
	{ "dead-stops", OPT_DEAD_STOPS, NULL, 0,
	  "A full dead-letter stage stops the stage instead of dropping its oldest letter", 0 },
	{ "slow-waits", OPT_SLOW_WAITS, NULL, 0,
	  "A broadcast waits for a slow consumer instead of putting it out after the ack timeout", 0 },
	{ "queue", OPT_QUEUE, "N", 0,
	  "Messages that the kernel keeps while the ring is full (as many as slots)", 0 },
	{ "owner", OPT_OWNER, "USER", 0, "Owner of the node (you)", 0 },
	{ "group", OPT_GROUP, "GROUP", 0, "Group of the node (yours)", 0 },
	{ "mode", OPT_MODE, "OCTAL", 0, "Permissions of the node (0600)", 0 },
	CTL_OPTION_JSON,
	{ 0 }
};

struct create_args {
	struct sluice_create create;
	const char *class_name;
	bool json;
};

static uint32_t option_policy(struct argp_state *state, const char *text)
{
	int policy = sluice_policy_by_name(text);

	if (policy < 0)
		argp_error(state, "--policy: %s", sluice_error());
	return (uint32_t)policy;
}

static uint32_t option_owner(struct argp_state *state, const char *text)
{
	const struct passwd *user = getpwnam(text);

	return user ? user->pw_uid :
		      (uint32_t)ctl_option_number(state, "--owner", text, UINT32_MAX);
}

static uint32_t option_group(struct argp_state *state, const char *text)
{
	const struct group *group = getgrnam(text);

	return group ? group->gr_gid :
		       (uint32_t)ctl_option_number(state, "--group", text, UINT32_MAX);
}

static uint32_t option_mode(struct argp_state *state, const char *text)
{
	char *end;
	unsigned long mode = strtoul(text, &end, 8);

	if (end == text || *end || !mode || mode > 0777)
		argp_error(state, "--mode: '%s' is not an octal mode such as 0660", text);
	return (uint32_t)mode;
}

static void set_name(struct argp_state *state, char name[SLUICE_NAME_MAX], const char *text)
{
	if (snprintf(name, SLUICE_NAME_MAX, "%s", text) >= SLUICE_NAME_MAX)
		argp_error(state, "a name longer than %d characters: '%s...'", SLUICE_NAME_MAX - 1,
			   name);
}

static error_t create_parser(int key, char *arg, struct argp_state *state)
{
	struct create_args *args = state->input;
	struct sluice_create *c = &args->create;

	switch (key) {
	case 'n':
		c->nslots = ctl_option_number(state, "--slots", arg, UINT32_MAX);
		return 0;
	case 'b':
		c->nbufs = ctl_option_number(state, "--buffers", arg, UINT32_MAX);
		return 0;
	case 's':
		c->bufsize = ctl_option_size(state, "--buffer-size", arg, SLUICE_MAX_BUFFER_SIZE);
		return 0;
	case OPT_POLICY:
		c->policy = option_policy(state, arg);
		return 0;
	case OPT_CLASS:
		args->class_name = arg;
		return 0;
	case OPT_MAX_ATTEMPTS:
		c->max_attempts =
			ctl_option_number(state, "--max-attempts", arg, SLUICE_MAX_ATTEMPTS);
		return 0;
	case OPT_ACK_TIMEOUT:
		c->ack_timeout_ms = ctl_option_ms(state, "--ack-timeout", arg);
		return 0;
	case OPT_MAX_HOLD:
		c->max_hold_ms = ctl_option_ms(state, "--max-hold", arg);
		return 0;
	case OPT_WRITE_TIMEOUT:
		c->write_timeout_ms = ctl_option_ms(state, "--write-timeout", arg);
		return 0;
	case OPT_DEAD_LETTERS:
		c->dead_slots = ctl_option_number(state, "--dead-letters", arg, UINT32_MAX);
		return 0;
	case OPT_DEAD_STOPS:
		c->flags |= SLUICE_CREATE_DEAD_STOPS;
		return 0;
	case OPT_SLOW_WAITS:
		c->flags |= SLUICE_CREATE_SLOW_WAITS;
		return 0;
	case OPT_QUEUE:
		c->queue_max = ctl_option_number(state, "--queue", arg, UINT32_MAX);
		return 0;
	case OPT_OWNER:
		c->uid = option_owner(state, arg);
		return 0;
	case OPT_GROUP:
		c->gid = option_group(state, arg);
		return 0;
	case OPT_MODE:
		c->mode = option_mode(state, arg);
		return 0;
	case 'j':
		args->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num)
			argp_error(state, "one name at a time, '%s' is too much", arg);
		set_name(state, c->name, arg);
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which name shall the stage have?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cmd_create(const struct ctl_command *cmd, int argc, char **argv)
{
	struct create_args args = {
		.create = { .nslots = 256, .uid = getuid(), .gid = getgid() },
	};
	struct sluice_create *c = &args.create;
	struct json_object *object;
	char why[CTL_WHY_MAX], stage[SLUICE_NAME_MAX];
	int err = ctl_parse(cmd, create_options, create_parser, argc, argv, &args);

	if (err)
		return err;
	memcpy(stage, c->name, sizeof(stage));
	if (sluice_lane_name(c->name, stage, args.class_name)) {
		ctl_error("%s", sluice_error());
		return CTL_USAGE;
	}
	if (c->nbufs && !c->bufsize)
		c->bufsize = 64 << 10;
	if (ctl_geometry_check(c, why)) {
		ctl_error("cannot create '%s': %s", c->name, why);
		return CTL_USAGE;
	}
	err = sluice_create(c);
	if (err)
		return ctl_library_error(err);
	if (!args.json)
		return CTL_OK;
	object = json_object_new_object();
	json_object_object_add(object, "created", json_object_new_string(c->name));
	ctl_print_json(object);
	return CTL_OK;
}

/* ---------------------------------------------------------------- destroy --- */

static const struct argp_option destroy_options[] = {
	{ "drain", 'd', "TIME", 0, "Wait so long for the stage to empty", 0 },
	{ "force", 'f', NULL, 0,
	  "Destroy it (after the wait) even if somebody is attached: they get ESHUTDOWN", 0 },
	CTL_OPTION_JSON,
	{ 0 }
};

struct destroy_args {
	uint32_t drain_ms;
	uint32_t flags;
	bool json;
	int first;		/* index of the first name in argv */
};

static error_t destroy_parser(int key, char *arg, struct argp_state *state)
{
	struct destroy_args *args = state->input;

	switch (key) {
	case 'd':
		args->drain_ms = ctl_option_ms(state, "--drain", arg);
		return 0;
	case 'f':
		args->flags |= SLUICE_DESTROY_FORCE;
		return 0;
	case 'j':
		args->json = true;
		return 0;
	case ARGP_KEY_ARGS:
		args->first = state->next;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which stage? 'sluicectl list' shows them");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cmd_destroy(const struct ctl_command *cmd, int argc, char **argv)
{
	struct destroy_args args = { 0 };
	struct json_object *object, *names;
	int status = ctl_parse(cmd, destroy_options, destroy_parser, argc, argv, &args);

	if (status)
		return status;
	names = json_object_new_array();
	for (int i = args.first; i < argc; i++) {
		int err = sluice_destroy(argv[i], args.drain_ms, args.flags);

		if (!err)
			json_object_array_add(names, json_object_new_string(argv[i]));
		else
			status = ctl_library_error(err);
	}
	object = json_object_new_object();
	json_object_object_add(object, "destroyed", names);
	if (args.json)
		ctl_print_json(object);
	else
		json_object_put(object);
	return status;
}

/* ----------------------------------------------------------------- repair --- */

static const struct argp_option repair_options[] = {
	CTL_OPTION_JSON,
	{ 0 }
};

struct repair_args {
	bool json;
	int first;		/* index of the first name in argv */
};

static error_t repair_parser(int key, char *arg, struct argp_state *state)
{
	struct repair_args *args = state->input;

	(void)arg;
	switch (key) {
	case 'j':
		args->json = true;
		return 0;
	case ARGP_KEY_ARGS:
		args->first = state->next;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which stage? 'sluicectl list' shows them");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static struct json_object *repair_json(const struct sluice_repair *r)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "name", json_object_new_string(r->name));
	json_object_object_add(o, "evicted", json_object_new_int64(r->evicted));
	json_object_object_add(o, "slots_reset", json_object_new_int64(r->slots_reset));
	json_object_object_add(o, "slots_reaped", json_object_new_int64(r->slots_reaped));
	json_object_object_add(o, "messages_dead", json_object_new_int64(r->messages_dead));
	json_object_object_add(o, "buffers_freed", json_object_new_int64(r->buffers_freed));
	return o;
}

static void repair_print(const struct sluice_repair *r)
{
	printf("%s: %u endpoints put out, %u slots reset, %u finished for others, %u messages "
	       "made dead letters, %u buffers freed\n", r->name, r->evicted, r->slots_reset,
	       r->slots_reaped, r->messages_dead, r->buffers_freed);
}

int cmd_repair(const struct ctl_command *cmd, int argc, char **argv)
{
	struct repair_args args = { 0 };
	struct json_object *all;
	int status = ctl_parse(cmd, repair_options, repair_parser, argc, argv, &args);

	if (status)
		return status;
	all = json_object_new_array();
	for (int i = args.first; i < argc; i++) {
		struct sluice_repair r;
		int err = sluice_repair(argv[i], &r);

		if (err) {
			status = ctl_library_error(err);
			continue;
		}
		json_object_array_add(all, repair_json(&r));
		if (!args.json)
			repair_print(&r);
	}
	if (args.json)
		ctl_print_json(all);
	else
		json_object_put(all);
	return status;
}

/* ----------------------------------------------------------------- policy --- */

static const struct argp_option policy_options[] = {
	{ 0 }
};

struct policy_args {
	const char *stage;
	enum sluice_policy policy;
};

static error_t policy_parser(int key, char *arg, struct argp_state *state)
{
	struct policy_args *args = state->input;
	int policy;

	switch (key) {
	case ARGP_KEY_ARG:
		if (state->arg_num > 1)
			argp_error(state, "a stage and a policy, '%s' is too much", arg);
		if (!state->arg_num) {
			args->stage = arg;
			return 0;
		}
		policy = sluice_policy_by_name(arg);
		if (policy < 0)
			argp_error(state, "%s", sluice_error());
		args->policy = (enum sluice_policy)policy;
		return 0;
	case ARGP_KEY_END:
		if (state->arg_num < 2)
			argp_error(state, "which stage, and which policy?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cmd_policy(const struct ctl_command *cmd, int argc, char **argv)
{
	struct policy_args args = { 0 };
	int status = ctl_parse(cmd, policy_options, policy_parser, argc, argv, &args);
	int err = status ? 0 : sluice_set_policy(args.stage, args.policy);

	return err ? ctl_library_error(err) : status;
}
