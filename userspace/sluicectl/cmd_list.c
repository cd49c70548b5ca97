// SPDX-License-Identifier: MIT
/* cmd_list.c - list, show and stats */

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "health.h"
#include "sluicectl.h"
#include "state.h"

/* ------------------------------------------------- what there is to know --- */

/* One number of struct sluice_info; the JSON key is the member's name. */
struct field {
	const char	*name;
	size_t		offset;
	size_t		size;
	const char	*meaning;
};

#define FIELD(member, meaning_) {						\
	.name = #member,							\
	.offset = offsetof(struct sluice_info, member),				\
	.size = sizeof(((struct sluice_info *)0)->member),			\
	.meaning = (meaning_),							\
}

static const struct field geometry_fields[] = {
	FIELD(nslots, "messages in the ring"),
	FIELD(nbufs, "payload buffers"),
	FIELD(bufsize, "bytes of a buffer"),
	FIELD(max_attempts, "failures before a message is dead"),
	FIELD(ack_timeout_ms, "a claim is taken back after it"),
	FIELD(max_hold_ms, "bound of a claim with all renewals"),
	FIELD(write_timeout_ms, "bound between reserve and publish"),
	FIELD(dead_slots, "slots of the dead-letter stage"),
	FIELD(queue_max, "messages that the kernel keeps while the ring is full"),
	FIELD(uid, "owner"),
	FIELD(gid, "group"),
};

static const struct field now_fields[] = {
	FIELD(producers, "producers attached"),
	FIELD(consumers, "consumers attached"),
	FIELD(sole, "one exclusive producer"),
	FIELD(ready, "messages that wait for a consumer"),
	FIELD(claimed, "messages in work"),
	FIELD(writing, "slots being written"),
	FIELD(dead, "dead messages that wait for their burial"),
	FIELD(queued, "messages in the kernel's queue"),
	FIELD(buffers_used, "buffers in use"),
	FIELD(ready_sleepers, "who sleeps until there is a message"),
	FIELD(room_sleepers, "who sleeps until there is room"),
	FIELD(oldest_age_ns, "age of the oldest unacknowledged message"),
	FIELD(bytes_resident, "memory paid for"),
	FIELD(tail, "tickets given out"),
};

static const struct field counter_fields[] = {
	FIELD(published, "messages published (as told by the endpoints)"),
	FIELD(claimed_total, "claims (as told by the endpoints)"),
	FIELD(acked, "messages acknowledged (as told by the endpoints)"),
	FIELD(stale, "ACKs that came too late (as told by the endpoints)"),
	FIELD(bytes, "payload bytes (as told by the endpoints)"),
	FIELD(redelivered, "claims given to somebody else"),
	FIELD(discarded, "half-written messages of the dead"),
	FIELD(timeouts, "claims that did not move in time"),
	FIELD(nacks, "messages given back"),
	FIELD(deaths, "endpoints that died"),
	FIELD(evictions, "living endpoints put out"),
	FIELD(expelled, "slow consumers put out of a broadcast"),
	FIELD(dead_letters, "messages given up"),
	FIELD(dead_dropped, "dead letters dropped for want of room"),
	FIELD(wakes, "sleepers woken"),
	FIELD(kicks, "calls that asked for a wake-up"),
	FIELD(sends, "SEND commands accepted"),
	FIELD(lies, "impossible values found in shared memory"),
};

#define ROWS(fields) (sizeof(fields) / sizeof((fields)[0]))

static uint64_t field_value(const struct sluice_info *info, const struct field *field)
{
	const char *at = (const char *)info + field->offset;
	uint64_t wide;
	uint32_t narrow;

	if (field->size == sizeof(narrow)) {
		memcpy(&narrow, at, sizeof(narrow));
		return narrow;
	}
	memcpy(&wide, at, sizeof(wide));
	return wide;
}

static void add_fields(struct json_object *object, const struct sluice_info *info,
		       const struct field *fields, size_t n)
{
	for (size_t i = 0; i < n; i++)
		json_object_object_add(object, fields[i].name,
				       json_object_new_uint64(field_value(info, &fields[i])));
}

static struct json_object *info_json(const struct sluice_info *info)
{
	struct json_object *object = json_object_new_object();
	char mode[8];

	snprintf(mode, sizeof(mode), "%04o", info->mode & 07777);
	json_object_object_add(object, "name", json_object_new_string(info->name));
	json_object_object_add(object, "state",
			       json_object_new_string(health_state_name(info)));
	json_object_object_add(object, "policy",
			       json_object_new_string(ctl_policy_name(info->policy)));
	json_object_object_add(object, "mode", json_object_new_string(mode));
	add_fields(object, info, geometry_fields, ROWS(geometry_fields));
	add_fields(object, info, now_fields, ROWS(now_fields));
	add_fields(object, info, counter_fields, ROWS(counter_fields));
	return object;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct sluice_info *)a)->name, ((const struct sluice_info *)b)->name);
}

/* All stages, by name. Returns how many or a negative errno value; the caller frees *infos. */
static int all_stages(struct sluice_info **infos)
{
	struct sluice_info info = { .cookie = 0 }, *grown;
	int n = 0, room = 0, err;

	*infos = NULL;
	while (!(err = sluice_next(&info))) {
		if (n == room) {
			room = room ? 2 * room : 16;
			grown = realloc(*infos, room * sizeof(**infos));
			if (!grown)
				return -ENOMEM;
			*infos = grown;
		}
		(*infos)[n++] = info;
	}
	if (err != -ENOENT)
		return err;
	if (n)
		qsort(*infos, n, sizeof(**infos), by_name);
	return n;
}

/* ------------------------------------------------------------------- list --- */

struct list_args {
	bool json;
	bool all;
	int64_t watch_ns;	/* < 0: once */
	unsigned int rounds;	/* of --watch; 0: until Ctrl-C */
	int first;		/* index of the first name in argv, 0: none */
};

static const struct argp_option list_options[] = {
	CTL_OPTION_JSON,
	{ 0 }
};

static error_t list_parser(int key, char *arg, struct argp_state *state)
{
	struct list_args *args = state->input;

	switch (key) {
	case 'j':
		args->json = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s' is too much; 'sluicectl show %s' shows one stage", arg,
			   arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void list_row(struct libscols_table *table, const struct sluice_info *info)
{
	char slots[CTL_TEXT_MAX], ready[CTL_TEXT_MAX], claimed[CTL_TEXT_MAX], queued[CTL_TEXT_MAX];
	char who[CTL_TEXT_MAX], oldest[CTL_TEXT_MAX], bytes[CTL_TEXT_MAX], dead[CTL_TEXT_MAX];

	snprintf(who, sizeof(who), "%u/%u", info->producers, info->consumers);
	ctl_table_row(table, info->name, health_state_name(info),
		      ctl_format_count(slots, info->nslots), ctl_format_count(ready, info->ready),
		      ctl_format_count(claimed, info->claimed),
		      ctl_format_count(queued, info->queued),
		      ctl_format_count(dead, info->dead_letters), who,
		      info->oldest_age_ns ? ctl_format_ns(oldest, info->oldest_age_ns) : "-",
		      ctl_format_size(bytes, info->bytes_resident));
}

int cmd_list(const struct ctl_command *cmd, int argc, char **argv)
{
	static const char *const columns[] = {
		"NAME", "STATE", ">SLOTS", ">READY", ">CLAIMED", ">QUEUED", ">DEAD", ">PROD/CONS",
		">OLDEST", ">MEMORY", NULL
	};
	struct list_args args = { 0 };
	struct json_object *array;
	struct libscols_table *table;
	struct sluice_info *infos;
	int n, status = ctl_parse(cmd, list_options, list_parser, argc, argv, &args);

	if (status)
		return status;
	n = all_stages(&infos);
	if (n < 0) {
		free(infos);
		return ctl_library_error(n);
	}
	if (args.json) {
		array = json_object_new_array();
		for (int i = 0; i < n; i++)
			json_object_array_add(array, info_json(&infos[i]));
		ctl_print_json(array);
	} else if (n) {
		table = ctl_table(columns);
		for (int i = 0; i < n; i++)
			list_row(table, &infos[i]);
		ctl_table_print(table);
	}
	free(infos);
	return CTL_OK;
}

/* ------------------------------------------------------------------- show --- */

static const char *role_name(uint32_t role)
{
	return role == SLUICE_PRODUCER ? "producer" : role == SLUICE_CONSUMER ? "consumer" : "?";
}

static struct json_object *endpoint_json(const struct sluice_endpoint_info *e)
{
	struct json_object *object = json_object_new_object();
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{ "id", e->id }, { "pid", e->pid }, { "held", e->held },
		{ "messages", e->counters.messages }, { "bytes", e->counters.bytes },
		{ "acked", e->counters.acked }, { "stale", e->counters.stale },
		{ "redelivered", e->counters.redelivered }, { "full", e->counters.full },
		{ "spins", e->counters.spins }, { "sleeps", e->counters.sleeps },
	};

	json_object_object_add(object, "role", json_object_new_string(role_name(e->role)));
	json_object_object_add(object, "command",
			       json_object_new_string_len(e->comm, (int)strnlen(e->comm, 16)));
	json_object_object_add(object, "sole",
			       json_object_new_boolean(e->flags & SLUICE_ATTACH_SOLE));
	json_object_object_add(object, "parked", json_object_new_boolean(e->parked));
	for (size_t i = 0; i < ROWS(rows); i++)
		json_object_object_add(object, rows[i].name,
				       json_object_new_uint64(rows[i].value));
	return object;
}

static void endpoint_row(struct libscols_table *table, const struct sluice_endpoint_info *e)
{
	char id[CTL_TEXT_MAX], pid[CTL_TEXT_MAX], held[CTL_TEXT_MAX], messages[CTL_TEXT_MAX];
	char acked[CTL_TEXT_MAX], stale[CTL_TEXT_MAX], bytes[CTL_TEXT_MAX], comm[17];

	snprintf(comm, sizeof(comm), "%.16s", e->comm);
	ctl_table_row(table, ctl_format_count(id, e->id), role_name(e->role),
		      ctl_format_count(pid, e->pid), comm, e->parked ? "asleep" : "awake",
		      ctl_format_count(held, e->held),
		      ctl_format_count(messages, e->counters.messages),
		      ctl_format_size(bytes, e->counters.bytes),
		      ctl_format_count(acked, e->counters.acked),
		      ctl_format_count(stale, e->counters.stale));
}

/* Calls one of the two for each endpoint; returns 0 or a negative errno value. */
static int each_endpoint(const char *name, struct json_object *array, struct libscols_table *table)
{
	struct sluice_endpoint_info endpoint = { .index = 0 };
	int err;

	while (!(err = sluice_endpoint(name, &endpoint))) {
		if (array)
			json_object_array_add(array, endpoint_json(&endpoint));
		else
			endpoint_row(table, &endpoint);
		endpoint.index++;
	}
	return err == -ENOENT ? 0 : err;
}

static void show_geometry(const struct sluice_info *info)
{
	char size[CTL_TEXT_MAX], memory[CTL_TEXT_MAX], age[CTL_TEXT_MAX];
	const struct passwd *user = getpwuid(info->uid);
	const struct group *group = getgrgid(info->gid);

	printf("stage     %s: %s\n", info->name, health_state_name(info));
	printf("node      /dev/sluice/%s %04o", info->name, info->mode & 07777);
	user ? printf(" %s", user->pw_name) : printf(" %u", info->uid);
	group ? printf(":%s\n", group->gr_name) : printf(":%u\n", info->gid);
	printf("geometry  %u slots, %u buffers of %s, policy %s\n", info->nslots, info->nbufs,
	       ctl_format_size(size, info->bufsize), ctl_policy_name(info->policy));
	printf("retry     ack timeout %u ms, longest hold %u ms, write timeout %u ms, %u "
	       "attempts\n",
	       info->ack_timeout_ms, info->max_hold_ms, info->write_timeout_ms, info->max_attempts);
	if (info->dead_slots)
		printf("dead      letters go to %s.dead, %u slots\n", info->name, info->dead_slots);
	printf("slots     %u ready, %u claimed, %u writing, %u dead, %u free\n", info->ready,
	       info->claimed, info->writing, info->dead,
	       info->nslots - info->ready - info->claimed - info->writing - info->dead);
	printf("queue     %u of %u messages kept by the kernel\n", info->queued, info->queue_max);
	printf("memory    %u of %u buffers used, %s resident\n", info->buffers_used, info->nbufs,
	       ctl_format_size(memory, info->bytes_resident));
	printf("oldest    %s\n", info->oldest_age_ns ?
	       ctl_format_ns(age, info->oldest_age_ns) : "nothing unacknowledged");
	printf("attached  %u producers%s, %u consumers; asleep: %u for messages, %u for room\n",
	       info->producers, info->sole ? " (exclusive)" : "", info->consumers,
	       info->ready_sleepers, info->room_sleepers);
}

static struct json_object *breaker_json(const struct health *h)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "state", json_object_new_string(health_breaker_name(h)));
	json_object_object_add(object, "daemons", json_object_new_uint64(h->daemons));
	json_object_object_add(object, "shut", json_object_new_uint64(h->shut));
	json_object_object_add(object, "trips", json_object_new_uint64(h->trips));
	json_object_object_add(object, "retry_ns", json_object_new_uint64(h->retry_ns));
	return object;
}

static void show_breaker(const struct health *h)
{
	char wait[CTL_TEXT_MAX];

	if (!h->daemons)
		return;
	printf("breaker   %s", health_breaker_name(h));
	if (h->shut)
		printf(": %u of %u daemons shut off, tried again in %s", h->shut, h->daemons,
		       ctl_format_ns(wait, h->retry_ns));
	if (h->trips)
		printf("; opened %llu times", (unsigned long long)h->trips);
	putchar('\n');
}

struct show_args {
	bool json;
	const char *name;
};

static error_t show_parser(int key, char *arg, struct argp_state *state)
{
	struct show_args *args = state->input;

	switch (key) {
	case 'j':
		args->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num)
			argp_error(state, "one stage at a time, '%s' is too much", arg);
		args->name = arg;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which stage? 'sluicectl list' shows them");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cmd_show(const struct ctl_command *cmd, int argc, char **argv)
{
	static const char *const columns[] = {
		">ID", "ROLE", ">PID", "COMMAND", "STATE", ">HELD", ">MESSAGES", ">BYTES", ">ACKED",
		">STALE", NULL
	};
	struct show_args args = { 0 };
	struct json_object *object, *array;
	struct libscols_table *table;
	struct sluice_info info = { 0 };
	struct health health;
	char *accepts;
	int err, status = ctl_parse(cmd, list_options, show_parser, argc, argv, &args);

	if (status)
		return status;
	err = sluice_info(args.name, &info);
	if (err)
		return ctl_library_error(err);
	health.info = info;
	health_look(&health);
	accepts = state_accepts(args.name);
	if (args.json) {
		object = info_json(&info);
		if (accepts)
			json_object_object_add(object, "accepts", json_object_new_string(accepts));
		json_object_object_add(object, "breaker", breaker_json(&health));
		array = json_object_new_array();
		err = each_endpoint(args.name, array, NULL);
		json_object_object_add(object, "endpoints", array);
		ctl_print_json(object);
	} else {
		show_geometry(&info);
		if (accepts)
			printf("accepts   %s\n", accepts);
		show_breaker(&health);
		table = ctl_table(columns);
		err = each_endpoint(args.name, NULL, table);
		if (info.producers + info.consumers)
			putchar('\n');
		ctl_table_print(table);
	}
	free(accepts);
	return err ? ctl_library_error(err) : CTL_OK;
}

/* ------------------------------------------------------------------ stats --- */

enum { OPT_ROUNDS = 256 };

static const struct argp_option stats_options[] = {
	{ "all", 'a', NULL, 0, "All stages", 0 },
	{ "watch", 'w', "TIME", OPTION_ARG_OPTIONAL,
	  "Print again every TIME (1s), with the difference per second", 0 },
	{ "rounds", OPT_ROUNDS, "N", 0, "Stop --watch after N prints", 0 },
	CTL_OPTION_JSON,
	{ 0 }
};

static error_t stats_parser(int key, char *arg, struct argp_state *state)
{
	struct list_args *args = state->input;

	switch (key) {
	case 'a':
		args->all = true;
		return 0;
	case 'w':
		args->watch_ns = arg ? ctl_option_duration(state, "--watch", arg) : 1000000000;
		if (args->watch_ns < 10000000)
			argp_error(state, "--watch: at least 10ms");
		return 0;
	case OPT_ROUNDS:
		args->rounds = ctl_option_number(state, "--rounds", arg, UINT32_MAX);
		return 0;
	case 'j':
		args->json = true;
		return 0;
	case ARGP_KEY_ARGS:
		args->first = state->next;
		return 0;
	case ARGP_KEY_END:
		if (!args->first == !args->all)
			argp_error(state, "name the stages, or say --all");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* The stages named from argv[first] on; as all_stages(). */
static int named_stages(int first, int argc, char **argv, struct sluice_info **infos)
{
	int err;

	*infos = calloc(argc - first, sizeof(**infos));
	if (!*infos)
		return -ENOMEM;
	for (int i = first; i < argc; i++) {
		err = sluice_info(argv[i], &(*infos)[i - first]);
		if (err)
			return err;
	}
	return argc - first;
}

static const struct sluice_info *find_stage(const struct sluice_info *infos, int n,
					    const char *name)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(infos[i].name, name))
			return &infos[i];
	return NULL;
}

static void print_counters(const struct sluice_info *info, const struct sluice_info *before,
			   double seconds)
{
	static const char *const once[] = { "COUNTER", ">VALUE", "MEANING", NULL };
	static const char *const again[] = { "COUNTER", ">VALUE", ">PER SECOND", "MEANING", NULL };
	struct libscols_table *table = ctl_table(before ? again : once);

	for (size_t i = 0; i < ROWS(counter_fields); i++) {
		const struct field *field = &counter_fields[i];
		char value[CTL_TEXT_MAX], rate[CTL_TEXT_MAX];
		uint64_t now = field_value(info, field);

		ctl_format_count(value, now);
		if (!before) {
			ctl_table_row(table, field->name, value, field->meaning);
			continue;
		}
		/* Counters of endpoints go with them, so a sum may fall. */
		snprintf(rate, sizeof(rate), "%.1f",
			 (double)(int64_t)(now - field_value(before, field)) / seconds);
		ctl_table_row(table, field->name, value, rate, field->meaning);
	}
	printf("%s: %s\n", info->name, health_state_name(info));
	ctl_table_print(table);
}

static void print_stats(bool json, const struct sluice_info *infos, int n,
			const struct sluice_info *before, int nbefore, double seconds)
{
	struct json_object *array;

	if (!json) {
		for (int i = 0; i < n; i++)
			print_counters(&infos[i], find_stage(before, nbefore, infos[i].name),
				       seconds);
		return;
	}
	array = json_object_new_array();
	for (int i = 0; i < n; i++)
		json_object_array_add(array, info_json(&infos[i]));
	ctl_print_json(array);
}

int cmd_stats(const struct ctl_command *cmd, int argc, char **argv)
{
	struct list_args args = { .watch_ns = -1 };
	struct sluice_info *infos = NULL, *before = NULL;
	int n, nbefore = 0, status = ctl_parse(cmd, stats_options, stats_parser, argc, argv, &args);
	struct timespec pause;

	if (status)
		return status;
	for (unsigned int round = 1;; round++) {
		n = args.all ? all_stages(&infos) : named_stages(args.first, argc, argv, &infos);
		if (n < 0) {
			status = ctl_library_error(n);
			break;
		}
		print_stats(args.json, infos, n, before, nbefore, args.watch_ns / 1e9);
		if (args.watch_ns < 0 || round == args.rounds)
			break;
		fflush(stdout);
		free(before);
		before = infos;
		nbefore = n;
		infos = NULL;
		pause.tv_sec = args.watch_ns / 1000000000;
		pause.tv_nsec = args.watch_ns % 1000000000;
		nanosleep(&pause, NULL);
	}
	free(infos);
	free(before);
	return status;
}
