// SPDX-License-Identifier: MIT
/*
 * run.c: one peer measured once, by two pinned processes
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run.h"

/* What the coordinator and the two processes share. */
struct run_shared {
	pthread_barrier_t barrier;
	uint64_t switches[2];
	uint64_t elapsed;
	char error[256];
	uint64_t samples[];
};

static struct run_shared *shared_create(uint64_t samples)
{
	struct run_shared *sh = peer_map(sizeof(*sh) + samples * sizeof(sh->samples[0]));
	pthread_barrierattr_t attr;

	if (!sh)
		return NULL;
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&sh->barrier, &attr, 2);
	pthread_barrierattr_destroy(&attr);
	return sh;
}

static uint64_t voluntary_switches(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)u.ru_nvcsw;
}

/* A flow has one figure, whatever the number of messages; the warm-up writes its own, too. */
static uint64_t n_samples(const struct peer_run *run, const struct run_settings *set)
{
	if (run->work == WORK_FLOW)
		return 1;
	return set->messages > set->warmup ? set->messages : set->warmup;
}

static int play_warmup(struct peer_run *run, const struct run_settings *set,
		       struct run_shared *sh, enum peer_side side)
{
	const struct peer_job *job = &run->peer->job[run->work];

	/* The page tables of a new process are empty; fill them before the clock runs. */
	if (side == PING)
		memset(sh->samples, 0, n_samples(run, set) * sizeof(sh->samples[0]));
	pthread_barrier_wait(&sh->barrier);
	if (!set->warmup)
		return 0;
	return side == PING ? job->ping(run, set->warmup, sh->samples) : job->pong(run, set->warmup);
}

static int play(struct peer_run *run, const struct run_settings *set, struct run_shared *sh,
		enum peer_side side)
{
	const struct peer_job *job = &run->peer->job[run->work];
	uint64_t before;
	int err;

	err = run->peer->open(run, side);
	if (!err)
		err = play_warmup(run, set, sh, side);
	if (err)
		return err;
	/* A flow's sender is done before its receiver. */
	pthread_barrier_wait(&sh->barrier);
	before = voluntary_switches();
	err = side == PING ? job->ping(run, set->messages, sh->samples) :
			     job->pong(run, set->messages);
	sh->switches[side] = voluntary_switches() - before;
	/* Neither tears its mappings down while the other still measures. */
	if (err)
		return err;
	pthread_barrier_wait(&sh->barrier);
	if (run->peer->close)
		run->peer->close(run);
	return 0;
}

static const char *side_name(int side)
{
	return side == PING ? "ping" : "pong";
}

/* Says what is known about a failure: the process' own words, else how it ended. */
static void describe(const struct run_shared *sh, const struct run_settings *set, int err,
		     const int *status, char *error, size_t size)
{
	if (sh->error[0]) {
		snprintf(error, size, "%s", sh->error);
		return;
	}
	if (err == -ETIMEDOUT) {
		snprintf(error, size, "not done after %u s; see --timeout and --messages",
			 set->timeout_s);
		return;
	}
	snprintf(error, size, "%s", strerror(-err));
	for (int side = PING; side <= PONG; side++)
		if (WIFSIGNALED(status[side]) && WTERMSIG(status[side]) != SIGKILL)
			snprintf(error, size, "the %s process died of signal %d", side_name(side),
				 WTERMSIG(status[side]));
}

static int play_both(struct peer_run *run, const struct run_settings *set,
		     struct run_shared *sh, int *status)
{
	pid_t pids[2] = { 0, 0 };

	for (int side = PING; side <= PONG; side++) {
		pids[side] = perf_fork_on(set->cpus[side]);
		if (pids[side] == 0)
			_exit(play(run, set, sh, side) ? PERF_EXIT_FAILED : 0);
		if (pids[side] < 0) {
			int err = pids[side];

			perf_kill(pids, 2);
			return peer_fail(run, -err, "cannot start a process on processor %d",
					 set->cpus[side]);
		}
	}
	return perf_wait(pids, status, 2, set->timeout_s);
}

int run_peer(struct peer_run *run, const struct run_settings *set, uint64_t *samples,
	     uint64_t switches[2], char *error, size_t error_size)
{
	uint64_t n = n_samples(run, set);
	struct run_shared *sh = shared_create(n);
	int status[2] = { 0, 0 }, err;

	if (!sh) {
		snprintf(error, error_size, "no memory for %llu samples; see --messages",
			 (unsigned long long)n);
		return -ENOMEM;
	}
	run->state = NULL;
	run->elapsed = &sh->elapsed;
	run->error = sh->error;
	run->error_size = sizeof(sh->error);
	err = run->peer->setup(run);
	if (!err)
		err = play_both(run, set, sh, status);
	run->peer->teardown(run);
	if (err) {
		describe(sh, set, err, status, error, error_size);
	} else {
		if (run->work == WORK_FLOW)
			samples[0] = sh->elapsed;
		else
			memcpy(samples, sh->samples, set->messages * sizeof(*samples));
		memcpy(switches, sh->switches, sizeof(sh->switches));
	}
	munmap(sh, sizeof(*sh) + n * sizeof(sh->samples[0]));
	return err;
}
