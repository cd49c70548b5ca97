// SPDX-License-Identifier: MIT
/* health.c - what the facts about a stage mean */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../stages/board.h"
#include "health.h"
#include "sluicectl.h"
#include "state.h"

const struct health_limits health_defaults = { 0, 0, 0 };

/* -------------------------------------------------------------------- facts --- */

static bool ends_with(const char *name, const char *end)
{
	size_t n = strlen(name), k = strlen(end);

	return n >= k && !strcmp(name + n - k, end);
}

static void count_letters(struct health *h)
{
	struct sluice_info dead = { 0 };
	char name[SLUICE_NAME_MAX + 8];

	snprintf(name, sizeof(name), "%s.dead", h->info.name);
	h->is_dead = ends_with(h->info.name, ".dead");
	if (!h->is_dead && h->info.dead_slots && !sluice_info(name, &dead))
		h->letters = dead.ready + dead.claimed + dead.queued;
}

/* What the pipeline's supervisor wrote down about its stage. */
static void read_state(struct health *h, pid_t *supervisor)
{
	struct json_object *about = state_about(h->info.name), *who;

	if (!about)
		return;
	h->daemons = (uint32_t)state_number(about, "daemons");
	h->limits.backlog = (uint32_t)state_number(about, "check_backlog");
	h->limits.age_ms = (uint32_t)state_number(about, "check_age_ms");
	h->limits.dead = (uint32_t)state_number(about, "check_dead");
	if (json_object_object_get_ex(about, "supervisor", &who))
		*supervisor = (pid_t)json_object_get_int64(who);
	json_object_put(about);
}

static void count_running(struct health *h, pid_t supervisor)
{
	struct sluice_endpoint_info e = { .index = 0 };

	for (; !sluice_endpoint(h->info.name, &e); e.index++)
		h->running += e.role == SLUICE_CONSUMER && (pid_t)e.pid != supervisor;
}

static void count_breaker(struct health *h, const struct board_row *row, uint64_t now)
{
	uint64_t wait = board_refuses(row, now);

	h->trips += row->starts.trips + row->work.trips;
	if (wait) {
		h->retry_ns = h->shut && h->retry_ns < wait ? h->retry_ns : wait;
		h->shut++;
	} else if (row->starts.state != BREAKER_CLOSED || row->work.state != BREAKER_CLOSED) {
		h->probing++;
	}
}

static void read_board(struct health *h)
{
	char *pipeline = state_pipeline_of(h->info.name), *path;
	struct board *board = NULL;

	path = pipeline ? state_path(pipeline, ".board") : NULL;
	if (path && !board_open(path, false, &board))
		for (uint32_t i = 0; i < board_rows(board); i++)
			if (!strncmp(board_row(board, i)->stage, h->info.name, SLUICE_NAME_MAX))
				count_breaker(h, board_row(board, i), board_now());
	board_close(board);
	free(path);
	free(pipeline);
}

void health_look(struct health *h)
{
	struct sluice_info info = h->info;
	pid_t supervisor = 0;

	*h = (struct health){ .info = info, .limits = health_defaults };
	count_letters(h);
	if (h->is_dead)
		return;
	read_state(h, &supervisor);
	count_running(h, supervisor);
	read_board(h);
}

/* ------------------------------------------------------------------ verdict --- */

static enum health_level say(enum health_level level, char why[HEALTH_WHY], const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static enum health_level say(enum health_level level, char why[HEALTH_WHY], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, HEALTH_WHY, format, args);
	va_end(args);
	return level;
}

static enum health_level broken(const struct health *h, char why[HEALTH_WHY])
{
	const struct sluice_info *i = &h->info;
	uint32_t waiting = i->ready + i->queued;
	char age[CTL_TEXT_MAX];

	if (h->daemons && h->shut >= h->daemons)
		return say(HEALTH_BROKEN, why, "shut off after repeated failures, tried again in "
			   "%s", ctl_format_ns(age, h->retry_ns));
	if (!h->running && (i->health == SLUICE_NO_CONSUMER || waiting + i->claimed))
		return say(HEALTH_BROKEN, why, "no consumer, %u messages wait", waiting);
	if (h->daemons && !h->running)
		return say(HEALTH_BROKEN, why, "none of %u daemons is attached", h->daemons);
	if (i->health == SLUICE_STALLED)
		return say(HEALTH_BROKEN, why, "stalled: the oldest message is %s old",
			   ctl_format_ns(age, i->oldest_age_ns));
	return HEALTH_GOOD;
}

static enum health_level degraded(const struct health *h, char why[HEALTH_WHY])
{
	const struct sluice_info *i = &h->info;
	uint32_t waiting = i->ready + i->queued;
	uint32_t backlog = h->limits.backlog ?: i->nslots;
	uint64_t age_ns = (h->limits.age_ms ?: i->ack_timeout_ms / 2) * 1000000ull;
	char age[CTL_TEXT_MAX];

	if (i->health == SLUICE_CLOSING)
		return say(HEALTH_DEGRADED, why, "being destroyed");
	if (h->shut)
		return say(HEALTH_DEGRADED, why, "%u of %u daemons shut off", h->shut, h->daemons);
	if (h->probing)
		return say(HEALTH_DEGRADED, why, "tried again after failures");
	if (h->running < h->daemons)
		return say(HEALTH_DEGRADED, why, "%u of %u daemons attached", h->running,
			   h->daemons);
	if (i->oldest_age_ns > age_ns)
		return say(HEALTH_DEGRADED, why, "the oldest message is %s old",
			   ctl_format_ns(age, i->oldest_age_ns));
	if (waiting > backlog)
		return say(HEALTH_DEGRADED, why, "%u messages wait, more than %u", waiting, backlog);
	if (h->letters > h->limits.dead)
		return say(HEALTH_DEGRADED, why, "%u dead letters: 'sluicectl dead list %s'",
			   h->letters, i->name);
	return HEALTH_GOOD;
}

enum health_level health_level(const struct health *h, char why[HEALTH_WHY])
{
	enum health_level level;

	why[0] = 0;
	/* Its letters wait for people; what they mean is said of the stage that they are from. */
	if (h->is_dead)
		return HEALTH_GOOD;
	level = broken(h, why);
	return level ? level : degraded(h, why);
}

const char *health_state_name(const struct sluice_info *info)
{
	bool waits = info->health == SLUICE_STALLED || info->health == SLUICE_NO_CONSUMER;

	return waits && ends_with(info->name, ".dead") ? "letters" : ctl_health_name(info->health);
}

const char *health_level_name(enum health_level level)
{
	static const char *const names[] = { "healthy", "degraded", "broken", "unknown" };

	return names[level];
}

const char *health_breaker_name(const struct health *h)
{
	return !h->daemons ? "-" : h->shut ? "open" : h->probing ? "half-open" : "closed";
}

/* -------------------------------------------------------------------- lists --- */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct health *)a)->info.name, ((const struct health *)b)->info.name);
}

static int add(struct health **healths, int *n, const struct sluice_info *info)
{
	struct health *grown = realloc(*healths, (*n + 1) * sizeof(**healths));

	if (!grown)
		return -ENOMEM;
	*healths = grown;
	grown[*n].info = *info;
	health_look(&grown[(*n)++]);
	return 0;
}

int health_all(char *const *names, int n, struct health **healths)
{
	struct sluice_info info = { .cookie = 0 };
	int found = 0, err = 0;

	*healths = NULL;
	for (int i = 0; names && !err && i < n; i++) {
		err = sluice_info(names[i], &info);
		if (!err)
			err = add(healths, &found, &info);
	}
	while (!names && !err && !(err = sluice_next(&info)))
		err = add(healths, &found, &info);
	if (err && (names || err != -ENOENT))
		return err;
	if (!names && found)
		qsort(*healths, found, sizeof(**healths), by_name);
	return found;
}
