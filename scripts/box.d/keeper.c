// SPDX-License-Identifier: MIT
/*
 * The keeper starts the machine and outlives the box's own process, whatever happens to that:
 * when its end of a pipe closes, the keeper ends every process of the machine, restores the
 * terminal and the host's settings, and goes. It is a session of its own, so that a signal to
 * the box's process group does not meet it, and a subreaper, so that no process of the machine
 * escapes by losing its parent.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keeper.h"

#define MAP_COUNT "/proc/sys/vm/max_map_count"

static long read_number(int fd)
{
	char buf[32] = "";

	if (pread(fd, buf, sizeof(buf) - 1, 0) <= 0)
		return -1;
	return strtol(buf, NULL, 10);
}

static int write_number(const char *path, long value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = -1;

	if (fd >= 0) {
		ret = dprintf(fd, "%ld\n", value);
		close(fd);
	}
	return ret < 0 ? -errno : 0;
}

/*
 * UML maps each run of guest pages into a host process: more than the host's default allows.
 * Every box holds the lock file shared while it runs; the one that raises the limit leaves the
 * old value in it, and the one that gets the lock for itself at its end is the last.
 */
static int map_count_raise(const struct keeper *keeper)
{
	int lock, sys;
	long have;

	if (!keeper->map_lock)
		return -1;
	lock = open(keeper->map_lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (lock >= 0)
		flock(lock, LOCK_SH);
	sys = open(MAP_COUNT, O_RDONLY | O_CLOEXEC);
	have = sys < 0 ? -1 : read_number(sys);
	close(sys);
	if (have < 0 || have >= keeper->map_count)
		return lock;
	if (access(MAP_COUNT, W_OK) || lock < 0 || dprintf(lock, "%-20ld\n", have) < 0 ||
	    write_number(MAP_COUNT, keeper->map_count))
		dprintf(2, "box: vm.max_map_count is %ld, and a process that touches much memory "
			"in the box may hang; remedy: sysctl -w vm.max_map_count=%ld\n",
			have, keeper->map_count);
	else if (keeper->verbose)
		dprintf(2, "box: vm.max_map_count raised from %ld to %ld until the last box ends\n",
			have, keeper->map_count);
	return lock;
}

static void map_count_restore(int lock)
{
	long old;

	if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB))
		return;		/* another box still runs */
	old = read_number(lock);
	if (old > 0 && !write_number(MAP_COUNT, old) && ftruncate(lock, 0))
		perror("box: forgetting vm.max_map_count");
	close(lock);
}

/* Parent of the process whose number is @pid, or -1. */
pid_t parent_of(const char *pid)
{
	char path[64], buf[512], *end;
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	len = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	buf[len > 0 ? len : 0] = 0;
	end = strrchr(buf, ')');	/* a process may have any name */
	return end ? atoi(end + 4) : -1;
}

/* Ends all descendants: each that loses its parent becomes our child. */
static void end_descendants(void)
{
	for (;;) {
		DIR *proc = opendir("/proc");
		struct dirent *entry;

		while (proc && (entry = readdir(proc)))
			if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9' &&
			    parent_of(entry->d_name) == getpid())
				kill(atoi(entry->d_name), SIGKILL);
		if (proc)
			closedir(proc);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
			return;
		usleep(2000);
	}
}

static void move_fd(int from, int to)
{
	if (from == to)
		fcntl(to, F_SETFD, 0);
	else
		dup2(from, to);
}

/* Does not return. */
static void exec_machine(const struct keeper *keeper, pid_t parent)
{
	const struct rlimit none_at_all = { 0, 0 };
	sigset_t none;
	int chan = fcntl(keeper->chan, F_DUPFD, 10);
	int log = fcntl(keeper->log, F_DUPFD, 10);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	setrlimit(RLIMIT_CORE, &none_at_all);	/* UML panics by dumping all of its memory */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	move_fd(chan, KEEPER_CHAN);
	move_fd(log, KEEPER_LOG);
	dup2(KEEPER_LOG, 1);
	dup2(KEEPER_LOG, 2);
	close_range(KEEPER_LOG + 1, ~0u, 0);
	execvp(keeper->machine[0], keeper->machine);
	dprintf(2, "box: cannot run %s: %s\n", keeper->machine[0], strerror(errno));
	_exit(127);
}

/* Waits until the machine ends or the box does. */
static void watch(pid_t machine, int life, int sigfd)
{
	struct pollfd pfd[2] = {
		{ .fd = life, .events = POLLIN },
		{ .fd = sigfd, .events = POLLIN },
	};
	struct signalfd_siginfo info;
	pid_t pid;

	for (;;) {
		poll(pfd, 2, -1);
		if (pfd[0].revents)
			return;
		if (read(sigfd, &info, sizeof(info)) < 0)
			continue;
		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			if (pid == machine)
				return;
	}
}

static void keep(struct keeper *keeper, int life)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t self = getpid(), machine;
	int map_lock, sigfd;
	sigset_t mask;

	setsid();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_NAME, "box-keeper");
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	sigfd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);

	map_lock = map_count_raise(keeper);
	/* Held open, the box's streams would never end for those who read them. */
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	machine = fork();
	if (machine == 0)
		exec_machine(keeper, self);
	close(keeper->chan);
	close(keeper->log);
	if (machine > 0)
		watch(machine, life, sigfd);
	end_descendants();
	if (keeper->tty >= 0)
		tcsetattr(keeper->tty, TCSANOW, &keeper->tio);
	map_count_restore(map_lock);
	_exit(0);
}

/**
 * keeper_start() - Start the machine under a keeper.
 * @keeper: what to start; @keeper->chan and @keeper->log stay open in the caller
 * @life: set to a descriptor; while it is open the machine may live
 * Return: process id of the keeper, which ends after the machine, or a negative errno value.
 */
pid_t keeper_start(struct keeper *keeper, int *life)
{
	int pipefd[2];
	pid_t pid;

	if (pipe2(pipefd, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0) {
		pid = -errno;
		close(pipefd[0]);
		close(pipefd[1]);
		return pid;
	}
	if (pid == 0) {
		close(pipefd[1]);
		keep(keeper, pipefd[0]);
	}
	close(pipefd[0]);
	*life = pipefd[1];
	return pid;
}
