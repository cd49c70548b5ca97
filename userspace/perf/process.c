// SPDX-License-Identifier: MIT
/*
 * process.c: measured processes, which never outlive the coordinator nor hang it
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "perf.h"

static const int watched[] = { SIGCHLD, SIGINT, SIGTERM, SIGHUP };

static void watched_set(sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++)
		sigaddset(set, watched[i]);
}

int perf_signals_block(void)
{
	sigset_t set;

	watched_set(&set);
	return sigprocmask(SIG_BLOCK, &set, NULL) ? -errno : 0;
}

pid_t perf_fork_on(int cpu)
{
	cpu_set_t before;
	pid_t pid;
	int err;

	if (sched_getaffinity(0, sizeof(before), &before))
		return -errno;
	err = perf_pin(cpu);
	if (err)
		return err;
	pid = perf_fork();
	if (pid > 0)
		sched_setaffinity(0, sizeof(before), &before);
	return pid;
}

pid_t perf_fork(void)
{
	pid_t parent = getpid(), pid;
	sigset_t set;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(PERF_EXIT_FAILED);
	/* Ctrl-C reaches the whole process group; the coordinator decides what it means. */
	signal(SIGINT, SIG_IGN);
	watched_set(&set);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	return 0;
}

int perf_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

void perf_kill(pid_t *pids, int n)
{
	for (int i = 0; i < n; i++)
		if (pids[i] > 0)
			kill(pids[i], SIGKILL);
	for (int i = 0; i < n; i++) {
		if (pids[i] <= 0)
			continue;
		while (waitpid(pids[i], NULL, 0) < 0 && errno == EINTR)
			;
		pids[i] = 0;
	}
}

/* Returns how many are left, or -ECHILD when one failed. */
static int reap(pid_t *pids, int *status, int n)
{
	int left = 0, err = 0;

	for (int i = 0; i < n; i++) {
		if (pids[i] <= 0)
			continue;
		if (waitpid(pids[i], &status[i], WNOHANG) != pids[i]) {
			left++;
			continue;
		}
		pids[i] = 0;
		if (status[i])
			err = -ECHILD;
	}
	return err ? err : left;
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

int perf_wait(pid_t *pids, int *status, int n, unsigned int timeout_s)
{
	int64_t deadline = now_ns() + timeout_s * 1000000000ll;
	sigset_t set;
	int err;

	watched_set(&set);
	while ((err = reap(pids, status, n)) > 0) {
		int64_t left = deadline - now_ns();
		struct timespec t = { left / 1000000000, left % 1000000000 };
		int sig = left > 0 ? sigtimedwait(&set, NULL, &t) : -1;

		if (sig < 0 && (left <= 0 || errno == EAGAIN))
			err = -ETIMEDOUT;
		else if (sig > 0 && sig != SIGCHLD)
			err = -EINTR;
		if (err < 0)
			break;
	}
	perf_kill(pids, n);
	return err;
}
