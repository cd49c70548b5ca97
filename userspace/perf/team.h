/* SPDX-License-Identifier: MIT */
/*
 * team.h: several measured processes that begin together
 */
#ifndef SLUICE_PERF_TEAM_H
#define SLUICE_PERF_TEAM_H

#include <pthread.h>

#include "perf.h"

#define TEAM_MAX	32
#define TEAM_SPREAD	(-1)	/* @cpu: wherever the scheduler likes */

/**
 * struct team - in shared memory, with whatever a command shares besides
 * @start:	all members wait here when they are ready to be measured
 */
struct team {
	pthread_barrier_t start;
	int n;
};

/** team_init() - for @n processes */
void team_init(struct team *team, int n);

/**
 * team_run() - run @member in @n processes of their own, until all are done
 * @cpu:	of each, or TEAM_SPREAD
 * @member:	returns an exit status, after a message if it failed
 *
 * Return: 0 or a negative errno after a message.
 */
int team_run(struct team *team, const int *cpu, unsigned int timeout_s,
	     int (*member)(void *arg, int index), void *arg);

/** team_ready() - a member: wait until all are */
void team_ready(struct team *team);

#endif /* SLUICE_PERF_TEAM_H */
