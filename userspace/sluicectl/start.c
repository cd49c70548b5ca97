// SPDX-License-Identifier: MIT
/* start.c - start a daemon so that it cannot outlive its supervisor */

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "start.h"

static char *executable(const char *directory, size_t length, const char *program)
{
	char *path;

	if (asprintf(&path, "%.*s/%s", (int)length, directory, program) < 0)
		return NULL;
	if (!access(path, X_OK))
		return path;
	free(path);
	return NULL;
}

char *spawn_find(const char *program)
{
	const char *search = getenv("PATH") ?: "/usr/local/bin:/usr/bin:/bin";
	char self[PATH_MAX], *found = NULL;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (strchr(program, '/'))
		return access(program, X_OK) ? NULL : strdup(program);
	if (n > 0) {
		self[n] = 0;
		dirname(self);
		found = executable(self, strlen(self), program);
	}
	while (!found && *search) {
		size_t length = strcspn(search, ":");

		if (length)
			found = executable(search, length, program);
		search += length + (search[length] == ':');
	}
	return found;
}

static void set_number(const char *name, uint32_t number)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", number);
	setenv(name, text, 1);
}

/* In the child. Only what a fork of a single-threaded process allows, which is everything. */
static void become(const char *pipeline, const struct pipeline_stage *stage, unsigned int replica,
		   int log_fd, const char *program, pid_t supervisor)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);

	/* From here on the supervisor's death is ours; if it was earlier, nobody told us. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != supervisor)
		_exit(0);
	setpgid(0, 0);
	dup2(null, STDIN_FILENO);
	if (dup2(log_fd, STDERR_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		_exit(127);
	close_range(3, ~0u, 0);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setenv("SLUICE_PIPELINE", pipeline, 1);
	setenv("SLUICE_STAGE", stage->create.name, 1);
	set_number("SLUICE_REPLICA", replica);
	if (stage->accepts)
		setenv("SLUICE_ACCEPTS", stage->accepts, 1);
	set_number("SLUICE_BREAKER_FAILURES", stage->breaker.failures);
	set_number("SLUICE_BREAKER_WINDOW_MS", stage->breaker.window_ms);
	set_number("SLUICE_BREAKER_BACKOFF_MS", stage->breaker.backoff_ms);
	set_number("SLUICE_BREAKER_MAX_MS", stage->breaker.backoff_max_ms);
	for (char **each = stage->environment; each && *each; each++)
		putenv(*each);
	execv(program, stage->command);
	fprintf(stderr, "sluicectl: cannot run '%s': %s\n", program, strerror(errno));
	_exit(127);
}

int spawn_daemon(const char *pipeline, const struct pipeline_stage *stage, unsigned int replica,
		 int log_fd, pid_t *pid)
{
	char *program = spawn_find(stage->command[0]);
	pid_t self = getpid();
	int err = 0;

	if (!program)
		return -ENOENT;
	fflush(NULL);
	*pid = fork();
	if (*pid < 0)
		err = -errno;
	else if (!*pid)
		become(pipeline, stage, replica, log_fd, program, self);
	free(program);
	return err;
}
