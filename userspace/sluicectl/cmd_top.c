// SPDX-License-Identifier: MIT
/*
 * cmd_top.c - what all stages and their endpoints do, again and again
 *
 * Everything is asked with ioctls of the control device: nobody is attached to, woken or held up.
 * On a terminal that can (not TERM=dumb) the screen is written over; elsewhere one table follows
 * the other.
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "health.h"
#include "sluicectl.h"

#define HOME_AND_CLEAR	"\033[H\033[J"
#define FIRST_NS	200000000ll	/* before the first table: rates want two looks */

enum { OPT_ONCE = 256, OPT_ROUNDS, OPT_STAGES };

struct top_args {
	int64_t		interval_ns;
	unsigned int	rounds;		/* 0: until q or Ctrl-C */
	bool		json;
	bool		stages_only;
	int		first;		/* index of the first name in argv, 0: all */
};

/* One look at a stage and at those who are attached to it. */
struct sight {
	struct health			health;
	struct sluice_endpoint_info	*endpoints;
	size_t				n;
};

struct view {
	struct sight	*sights;
	int		n;
	uint64_t	at_ns;
};

static const struct argp_option top_options[] = {
	{ "interval", 'i', "TIME", 0, "Look again every TIME (1s)", 0 },
	{ "once", OPT_ONCE, NULL, 0, "One table, then end", 0 },
	{ "rounds", OPT_ROUNDS, "N", 0, "N tables, then end", 0 },
	{ "stages", OPT_STAGES, NULL, 0, "Leave the endpoints out", 0 },
	{ "json", 'j', NULL, 0, "One JSON object a table", 0 },
	{ 0 }
};

static error_t top_parser(int key, char *arg, struct argp_state *state)
{
	struct top_args *args = state->input;

	switch (key) {
	case 'i':
		args->interval_ns = ctl_option_duration(state, "--interval", arg);
		if (args->interval_ns < 10000000)
			argp_error(state, "--interval: at least 10ms");
		return 0;
	case OPT_ONCE:
		args->rounds = 1;
		return 0;
	case OPT_ROUNDS:
		args->rounds = (unsigned int)ctl_option_number(state, "--rounds", arg, UINT32_MAX);
		return 0;
	case OPT_STAGES:
		args->stages_only = true;
		return 0;
	case 'j':
		args->json = true;
		return 0;
	case ARGP_KEY_ARGS:
		args->first = state->next;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ------------------------------------------------------------------ looking --- */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int look_at_endpoints(struct sight *sight)
{
	struct sluice_endpoint_info e = { .index = 0 }, *grown;

	for (; !sluice_endpoint(sight->health.info.name, &e); e.index++) {
		grown = realloc(sight->endpoints, (sight->n + 1) * sizeof(e));
		if (!grown)
			return -ENOMEM;
		sight->endpoints = grown;
		grown[sight->n++] = e;
	}
	return 0;
}

static void forget(struct view *view)
{
	for (int i = 0; i < view->n; i++)
		free(view->sights[i].endpoints);
	free(view->sights);
	*view = (struct view){ .n = 0 };
}

static int look(const struct top_args *args, int argc, char **argv, struct view *view)
{
	struct health *healths;
	int err = 0, n = health_all(args->first ? argv + args->first : NULL,
				    args->first ? argc - args->first : 0, &healths);

	*view = (struct view){ .at_ns = now_ns() };
	if (n > 0)
		view->sights = calloc(n, sizeof(*view->sights));
	for (int i = 0; view->sights && !err && i < n; i++) {
		view->sights[view->n].health = healths[i];
		err = look_at_endpoints(&view->sights[view->n++]);
	}
	free(healths);
	return n < 0 ? n : n && !view->sights ? -ENOMEM : err;
}

/* -------------------------------------------------------------------- rates --- */

/* Messages that have left the ring, by the kernel's own count. */
static uint64_t done(const struct sluice_info *info)
{
	return info->tail - info->ready - info->claimed - info->writing - info->dead;
}

static const struct sight *before_of(const struct view *before, const char *name)
{
	for (int i = 0; i < before->n; i++)
		if (!strcmp(before->sights[i].health.info.name, name))
			return &before->sights[i];
	return NULL;
}

/* A stage that was made anew begins at 0 again. */
static double per_second(uint64_t now, uint64_t before, double seconds)
{
	return now < before || seconds <= 0 ? 0 : (double)(now - before) / seconds;
}

static double stage_rate(const struct sight *s, const struct sight *before, double seconds)
{
	return before ? per_second(done(&s->health.info), done(&before->health.info), seconds) : 0;
}

static double endpoint_rate(const struct sluice_endpoint_info *e, const struct sight *before,
			    double seconds)
{
	for (size_t i = 0; before && i < before->n; i++)
		if (before->endpoints[i].id == e->id)
			return per_second(e->counters.messages,
					  before->endpoints[i].counters.messages, seconds);
	return 0;
}

static const char *role_name(uint32_t role)
{
	return role == SLUICE_PRODUCER ? "producer" : "consumer";
}

/* ------------------------------------------------------------------- tables --- */

static void stage_row(struct libscols_table *table, const struct sight *s,
		      const struct sight *before, double seconds)
{
	const struct sluice_info *i = &s->health.info;
	char backlog[CTL_TEXT_MAX], oldest[CTL_TEXT_MAX], flight[CTL_TEXT_MAX], why[HEALTH_WHY];
	char again[CTL_TEXT_MAX], letters[CTL_TEXT_MAX], sleepers[CTL_TEXT_MAX], rate[CTL_TEXT_MAX];

	snprintf(rate, sizeof(rate), "%.1f", stage_rate(s, before, seconds));
	snprintf(sleepers, sizeof(sleepers), "%u+%u", i->ready_sleepers, i->room_sleepers);
	ctl_table_row(table, i->name, health_state_name(i),
		      health_level_name(health_level(&s->health, why)),
		      health_breaker_name(&s->health), rate,
		      ctl_format_count(backlog, i->ready + i->queued),
		      i->oldest_age_ns ? ctl_format_ns(oldest, i->oldest_age_ns) : "-",
		      ctl_format_count(flight, i->claimed), ctl_format_count(again, i->redelivered),
		      ctl_format_count(letters, s->health.letters), sleepers);
}

static void endpoint_rows(struct libscols_table *table, const struct sight *s,
			  const struct sight *before, double seconds)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct sluice_endpoint_info *e = &s->endpoints[i];
		char pid[CTL_TEXT_MAX], rate[CTL_TEXT_MAX], held[CTL_TEXT_MAX], comm[17];
		char again[CTL_TEXT_MAX];

		snprintf(comm, sizeof(comm), "%.16s", e->comm);
		snprintf(rate, sizeof(rate), "%.1f", endpoint_rate(e, before, seconds));
		ctl_table_row(table, s->health.info.name, role_name(e->role),
			      ctl_format_count(pid, e->pid), comm,
			      e->parked ? "asleep" : "awake", rate,
			      ctl_format_count(held, e->held),
			      ctl_format_count(again, e->counters.redelivered));
	}
}

static void print_tables(const struct top_args *args, const struct view *view,
			 const struct view *before, double seconds)
{
	static const char *const stages[] = {
		"STAGE", "STATE", "HEALTH", "BREAKER", ">RATE/s", ">BACKLOG", ">OLDEST",
		">IN FLIGHT", ">REDELIVERED", ">DEAD", ">ASLEEP", NULL
	};
	static const char *const endpoints[] = {
		"STAGE", "ROLE", ">PID", "COMMAND", "IS", ">RATE/s", ">HELD", ">REDELIVERED", NULL
	};
	struct libscols_table *table = ctl_table(stages);

	for (int i = 0; i < view->n; i++)
		stage_row(table, &view->sights[i],
			  before_of(before, view->sights[i].health.info.name), seconds);
	ctl_table_print(table);
	if (args->stages_only)
		return;
	putchar('\n');
	table = ctl_table(endpoints);
	for (int i = 0; i < view->n; i++)
		endpoint_rows(table, &view->sights[i],
			      before_of(before, view->sights[i].health.info.name), seconds);
	ctl_table_print(table);
}

/* --------------------------------------------------------------------- JSON --- */

static void add_number(struct json_object *object, const char *name, uint64_t value)
{
	json_object_object_add(object, name, json_object_new_uint64(value));
}

static struct json_object *endpoint_json(const struct sluice_endpoint_info *e, double rate)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "role", json_object_new_string(role_name(e->role)));
	add_number(object, "id", e->id);
	add_number(object, "pid", e->pid);
	json_object_object_add(object, "command",
			       json_object_new_string_len(e->comm, (int)strnlen(e->comm, 16)));
	json_object_object_add(object, "rate", json_object_new_double(rate));
	add_number(object, "held", e->held);
	json_object_object_add(object, "parked", json_object_new_boolean(e->parked));
	add_number(object, "redelivered", e->counters.redelivered);
	return object;
}

static struct json_object *stage_json(const struct sight *s, const struct sight *before,
				      double seconds)
{
	struct json_object *object = json_object_new_object(), *array = json_object_new_array();
	const struct sluice_info *i = &s->health.info;
	char why[HEALTH_WHY];
	enum health_level level = health_level(&s->health, why);

	json_object_object_add(object, "name", json_object_new_string(i->name));
	json_object_object_add(object, "state", json_object_new_string(health_state_name(i)));
	json_object_object_add(object, "health", json_object_new_string(health_level_name(level)));
	json_object_object_add(object, "reason", json_object_new_string(why));
	json_object_object_add(object, "breaker",
			       json_object_new_string(health_breaker_name(&s->health)));
	json_object_object_add(object, "rate",
			       json_object_new_double(stage_rate(s, before, seconds)));
	add_number(object, "backlog", i->ready + i->queued);
	add_number(object, "oldest_age_ns", i->oldest_age_ns);
	add_number(object, "in_flight", i->claimed);
	add_number(object, "redelivered", i->redelivered);
	add_number(object, "dead_letters", i->dead_letters);
	add_number(object, "letters", s->health.letters);
	add_number(object, "ready_sleepers", i->ready_sleepers);
	add_number(object, "room_sleepers", i->room_sleepers);
	for (size_t e = 0; e < s->n; e++)
		json_object_array_add(array, endpoint_json(&s->endpoints[e],
				      endpoint_rate(&s->endpoints[e], before, seconds)));
	json_object_object_add(object, "endpoints", array);
	return object;
}

static void print_json(const struct view *view, const struct view *before, double seconds)
{
	struct json_object *object = json_object_new_object(), *array = json_object_new_array();

	for (int i = 0; i < view->n; i++)
		json_object_array_add(array, stage_json(&view->sights[i],
				      before_of(before, view->sights[i].health.info.name),
				      seconds));
	json_object_object_add(object, "seconds", json_object_new_double(seconds));
	json_object_object_add(object, "stages", array);
	ctl_print_json(object);
}

/* ----------------------------------------------------------------- terminal --- */

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
	stopped = 1;
}

/* Keys come at once and are not shown. Returns false if standard input is no terminal of ours. */
static bool take_keys(struct termios *old)
{
	struct termios raw;

	if (!isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) != getpgrp() ||
	    tcgetattr(STDIN_FILENO, old))
		return false;
	raw = *old;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	return !tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

static bool can_write_over(void)
{
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && term && term[0] && strcmp(term, "dumb");
}

/* Until @ns have passed; false: somebody wants to leave. */
static bool pause_for(int64_t ns, bool keys)
{
	struct pollfd p = { .fd = keys ? STDIN_FILENO : -1, .events = POLLIN };
	uint64_t end = now_ns() + (uint64_t)ns, now;
	char key;

	while (!stopped && (now = now_ns()) < end) {
		struct timespec left = {
			.tv_sec = (time_t)((end - now) / 1000000000),
			.tv_nsec = (long)((end - now) % 1000000000),
		};

		if (ppoll(&p, 1, &left, NULL) <= 0)
			continue;
		if (read(STDIN_FILENO, &key, 1) != 1)
			p.fd = -1;
		else if (key == 'q' || key == 'Q')
			return false;
	}
	return !stopped;
}

static int show_rounds(const struct top_args *args, int argc, char **argv, bool keys)
{
	bool over = !args->json && args->rounds != 1 && can_write_over();
	int64_t wait = args->interval_ns < FIRST_NS ? args->interval_ns : FIRST_NS;
	struct view before, view = { .n = 0 };
	int err = look(args, argc, argv, &before);

	for (unsigned int round = 1; !err; round++) {
		double seconds;

		if (!pause_for(args->rounds == 1 ? args->interval_ns : wait, keys))
			break;
		wait = args->interval_ns;
		err = look(args, argc, argv, &view);
		if (err)
			break;
		seconds = (double)(view.at_ns - before.at_ns) / 1e9;
		if (over)
			fputs(HOME_AND_CLEAR, stdout);
		else if (round > 1 && !args->json)
			putchar('\n');
		if (args->json)
			print_json(&view, &before, seconds);
		else
			print_tables(args, &view, &before, seconds);
		if (!ctl_flush() || round == args->rounds)
			break;
		forget(&before);
		before = view;
		view = (struct view){ .n = 0 };
	}
	forget(&before);
	forget(&view);
	return err ? ctl_library_error(err) : CTL_OK;
}

int cmd_top(const struct ctl_command *cmd, int argc, char **argv)
{
	const struct sigaction action = { .sa_handler = on_signal };
	struct top_args args = { .interval_ns = 1000000000 };
	int status = ctl_parse(cmd, top_options, top_parser, argc, argv, &args);
	struct termios old;
	bool keys;

	if (status)
		return status;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	keys = take_keys(&old);
	status = show_rounds(&args, argc, argv, keys);
	if (keys)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &old);
	return status;
}
