// SPDX-License-Identifier: MIT
/* health_look.c - the facts about a stage: from the kernel, the pipeline's state and its board */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../stages/board.h"
#include "health.h"
#include "sluicectl.h"
#include "state.h"

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

	*h = (struct health){ .info = info };
	count_letters(h);
	if (h->is_dead)
		return;
	read_state(h, &supervisor);
	count_running(h, supervisor);
	read_board(h);
}

const char *health_state_name(const struct sluice_info *info)
{
	bool waits = info->health == SLUICE_STALLED || info->health == SLUICE_NO_CONSUMER;

	return waits && ends_with(info->name, ".dead") ? "letters" : ctl_health_name(info->health);
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
