/* SPDX-License-Identifier: MIT */
/* health.h - what the facts about a stage mean: for top, check and show; nobody is attached to */
#ifndef SLUICECTL_HEALTH_H
#define SLUICECTL_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include <sluice/sluice.h>

/* Exit statuses of `sluicectl check`. */
enum health_level {
	HEALTH_GOOD	= 0,
	HEALTH_DEGRADED	= 1,	/* it works, but somebody should look */
	HEALTH_BROKEN	= 2,	/* messages that come now are not served */
	HEALTH_UNKNOWN	= 3,	/* no such stage, no module, wrong command line */
};

/**
 * struct health_limits - beyond which a stage is degraded; all zero are the defaults
 * @backlog:	messages that wait, in the ring and in the kernel's queue; 0: as many as the ring has
 * @age_ms:	of the oldest unacknowledged message; 0: half of ack_timeout
 * @dead:	dead letters that lie there
 */
struct health_limits {
	uint32_t	backlog;
	uint32_t	age_ms;
	uint32_t	dead;
};

/**
 * struct health - one stage now
 * @info:	as the kernel says it
 * @letters:	in its dead-letter stage
 * @is_dead:	it is a dead-letter stage itself: what lies there is waiting for people
 * @daemons:	that its pipeline wants; 0: it is in none that is up
 * @running:	consumers that are attached, without the supervisor that stands in
 * @shut:	daemons whose circuit breaker is open
 * @probing:	daemons whose circuit breaker is half-open
 * @trips:	how often their breakers opened
 * @retry_ns:	until the first of the shut ones is tried again
 * @limits:	from the pipeline's file, else the defaults
 */
struct health {
	struct sluice_info	info;
	uint32_t		letters;
	bool			is_dead;
	uint32_t		daemons;
	uint32_t		running;
	uint32_t		shut;
	uint32_t		probing;
	uint64_t		trips;
	uint64_t		retry_ns;
	struct health_limits	limits;
};

/** health_look() - of a stage whose @h->info is filled in */
void health_look(struct health *h);

#define HEALTH_WHY 192

/**
 * health_level() - the verdict
 * @why:	out: the worst reason in words, "" when it is healthy
 */
enum health_level health_level(const struct health *h, char why[HEALTH_WHY]);

/**
 * health_state_name() - the state of a stage, as ctl_health_name()
 *
 * But for a dead-letter stage: what lies there waits for people, so it is "letters", not stalled.
 */
const char *health_state_name(const struct sluice_info *info);

/** health_level_name() - "healthy", "degraded", "broken" */
const char *health_level_name(enum health_level level);

/** health_breaker_name() - "closed", "open", "half-open", "-" without a pipeline */
const char *health_breaker_name(const struct health *h);

/**
 * health_all() - all stages, by name, or the @n that are named
 * @names:	NULL: all
 *
 * Return: how many, or a negative errno value; the caller frees *healths.
 */
int health_all(char *const *names, int n, struct health **healths);

#endif /* SLUICECTL_HEALTH_H */
