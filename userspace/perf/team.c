// SPDX-License-Identifier: MIT
/*
 * team.c: several measured processes that begin together
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "team.h"

void team_init(struct team *team, int n)
{
	pthread_barrierattr_t attr;

	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&team->start, &attr, (unsigned int)n);
	pthread_barrierattr_destroy(&attr);
	team->n = n;
}

void team_ready(struct team *team)
{
	pthread_barrier_wait(&team->start);
}

int team_run(struct team *team, const int *cpu, unsigned int timeout_s,
	     int (*member)(void *arg, int index), void *arg)
{
	pid_t pids[TEAM_MAX] = { 0 };
	int status[TEAM_MAX] = { 0 }, err;

	for (int i = 0; i < team->n; i++) {
		pids[i] = cpu[i] == TEAM_SPREAD ? perf_fork() : perf_fork_on(cpu[i]);
		if (!pids[i])
			_exit(member(arg, i));
		if (pids[i] < 0) {
			err = pids[i];
			pids[i] = 0;
			perf_kill(pids, i);
			perf_error("cannot start a process: %s", strerror(-err));
			return err;
		}
	}
	err = perf_wait(pids, status, team->n, timeout_s);
	if (err == -ETIMEDOUT)
		perf_error("the processes are not done after %u s", timeout_s);
	return err;
}
