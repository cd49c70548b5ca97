// SPDX-License-Identifier: MIT
/*
 * peer_program.c: peers that are programs of their own, in whatever language
 *
 * Each of the two measured processes starts the peer's program as its child, on the same
 * processor, tells it what to do in lines, and gets numbers back: peers/program.h says how. The
 * program measures by itself; nothing of this process is inside a sample.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer_program.h"

#define MAX_PROGRAMS	64
#define END_SECONDS	20	/* a program, its broker, its driver have this long to go */

/* A line of the list, taken apart. */
struct program {
	struct peer peer;
	char *line;
	const char *command;
};

struct program_state {
	char dir[64];
	pid_t pid;
	int commands;		/* to its standard input */
	FILE *replies;		/* from its standard output */
};

static struct program programs[MAX_PROGRAMS];
static size_t n_programs;

const struct peer *peer_program_at(size_t i)
{
	return i < n_programs ? &programs[i].peer : NULL;
}

/* ------------------------------------------------------------- a measurement --- */

static int program_setup(struct peer_run *run)
{
	struct program_state *s = calloc(1, sizeof(*s));

	run->state = s;
	if (!s)
		return peer_fail(run, ENOMEM, "no memory");
	snprintf(s->dir, sizeof(s->dir), "/tmp/sluice-perf-%s-XXXXXX", run->peer->name);
	if (!mkdtemp(s->dir)) {
		s->dir[0] = '\0';
		return peer_fail(run, errno, "cannot make a directory in /tmp: %s", strerror(errno));
	}
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void program_teardown(struct peer_run *run)
{
	struct program_state *s = run->state;

	if (s && s->dir[0])
		nftw(s->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(s);
}

/* In the child: never returns. */
static void program_exec(const struct peer_run *run, enum peer_side side, int in, int out)
{
	const struct program *p = run->peer->private;
	const struct program_state *s = run->state;
	char command[2048];
	int n = snprintf(command, sizeof(command),
			 "exec %s --side %s --mode %s --size %zu --slots %u --dir %s", p->command,
			 side == PING ? "ping" : "pong", run->mode == MODE_SPIN ? "spin" : "sleep",
			 run->size, run->slots, s->dir);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (n < (int)sizeof(command) && dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0)
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

static int read_numbers(struct peer_run *run, uint64_t *v, uint64_t n)
{
	struct program_state *s = run->state;
	int status;

	if (fread(v, sizeof(*v), n, s->replies) == n)
		return 0;
	if (waitpid(s->pid, &status, 0) == s->pid && WIFEXITED(status))
		return peer_fail(run, EPIPE, "its program ended with status %d; it says why above",
				 WEXITSTATUS(status));
	return peer_fail(run, EPIPE, "its program died");
}

static int program_open(struct peer_run *run, enum peer_side side)
{
	struct program_state *s = run->state;
	int in[2], out[2];
	uint64_t ready;

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		return peer_fail(run, errno, "pipe: %s", strerror(errno));
	s->pid = fork();
	if (!s->pid)
		program_exec(run, side, in[0], out[1]);
	close(in[0]);
	close(out[1]);
	s->commands = in[1];
	s->replies = fdopen(out[0], "r");
	if (s->pid < 0 || !s->replies)
		return peer_fail(run, errno, "cannot start its program: %s", strerror(errno));
	return read_numbers(run, &ready, 1);
}

/* Of its own accord, so that what it has made outside its directory goes, too. */
static void program_close(struct peer_run *run)
{
	struct program_state *s = run->state;

	close(s->commands);
	for (int tenths = 0; tenths < END_SECONDS * 10; tenths++) {
		if (waitpid(s->pid, NULL, WNOHANG) != 0)
			return;
		usleep(100000);
	}
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
}

static int program_command(struct peer_run *run, uint64_t n)
{
	static const char *const words[WORK_COUNT] = {
		[WORK_ROUND] = "round", [WORK_FLOW] = "flow", [WORK_PAYLOAD] = "payload",
	};
	struct program_state *s = run->state;

	if (dprintf(s->commands, "%s %" PRIu64 "\n", words[run->work], n) < 0)
		return peer_fail(run, errno, "its program does not listen: %s", strerror(errno));
	return 0;
}

static uint64_t ticks_of_ns(uint64_t ns)
{
	return (uint64_t)((double)ns * (double)(1ull << 32) /
			  (double)sluice_ticks_to_ns(1ull << 32));
}

static int program_ping(struct peer_run *run, uint64_t n, uint64_t *samples)
{
	uint64_t replies = run->work == WORK_FLOW ? 1 : n;
	int err = program_command(run, n);

	if (!err)
		err = read_numbers(run, samples, replies);
	for (uint64_t i = 0; !err && i < replies; i++)
		samples[i] = ticks_of_ns(samples[i]);
	return err;
}

static int program_pong(struct peer_run *run, uint64_t n)
{
	uint64_t elapsed;
	int err = program_command(run, n);

	if (!err)
		err = read_numbers(run, &elapsed, 1);
	if (!err && run->work == WORK_FLOW)
		*run->elapsed = ticks_of_ns(elapsed);
	return err;
}

/* ------------------------------------------------------------------ the list --- */

static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = list; (p = strstr(p, word)); p += len)
		if ((p == list || p[-1] == ',') && (!p[len] || p[len] == ','))
			return true;
	return false;
}

static int add_program(char *line)
{
	const struct peer_job job = { program_ping, program_pong };
	struct program *p = &programs[n_programs];
	char *modes, *works, *save = NULL;

	p->line = line;
	p->peer.name = strtok_r(line, "\t", &save);
	modes = strtok_r(NULL, "\t", &save);
	works = strtok_r(NULL, "\t", &save);
	p->peer.title = strtok_r(NULL, "\t", &save);
	p->command = strtok_r(NULL, "\t\n", &save);
	if (!p->command || strspn(p->peer.name, "abcdefghijklmnopqrstuvwxyz0123456789-") !=
			   strlen(p->peer.name))
		return -EINVAL;
	p->peer.modes = (has_word(modes, "spin") ? MODE_SPIN : 0) |
			(has_word(modes, "sleep") ? MODE_SLEEP : 0);
	p->peer.job[WORK_ROUND] = has_word(works, "round") ? job : (struct peer_job){ 0 };
	p->peer.job[WORK_FLOW] = has_word(works, "flow") ? job : (struct peer_job){ 0 };
	p->peer.job[WORK_PAYLOAD] = has_word(works, "payload") ? job : (struct peer_job){ 0 };
	p->peer.setup = program_setup;
	p->peer.open = program_open;
	p->peer.close = program_close;
	p->peer.teardown = program_teardown;
	p->peer.private = p;
	n_programs++;
	return 0;
}

int peer_load_programs(const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;
	int number = 0, err = 0;

	if (!f) {
		perf_error("--peer-programs: %s: %s", path, strerror(errno));
		return -ENOENT;
	}
	while (!err && getline(&line, &size, f) > 0) {
		number++;
		err = n_programs < MAX_PROGRAMS ? add_program(line) : -E2BIG;
		if (err)
			perf_error("--peer-programs: %s:%d: not name, modes, works, title, command "
				   "with tabs between", path, number);
		line = NULL;
		size = 0;
	}
	free(line);
	fclose(f);
	return err;
}
