// SPDX-License-Identifier: MIT
/*
 * program.c: command line, rendezvous, commands and replies of a peer program
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "program.h"

#define COMMANDS_MAX	100000000u	/* messages of one command */

/* The process is the program: program_fail() may be called from anywhere. */
static const struct program_peer *the_peer;
static struct program the_program;
static int reply_fd;

static void say(const char *fmt, va_list ap)
{
	char line[512];

	vsnprintf(line, sizeof(line), fmt, ap);
	/* What a library says of its errors may end in a newline. */
	line[strcspn(line, "\n")] = 0;
	fprintf(stderr, "%s %s: %s\n", the_peer->name, the_program.ping ? "ping" : "pong", line);
}

static void close_once(void)
{
	static bool closed;

	if (closed)
		return;
	closed = true;
	if (the_peer->close)
		the_peer->close(&the_program);
}

void program_use(const struct program_peer *peer)
{
	the_peer = peer;
}

void program_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	close_once();
	/* Not exit(): threads of a library may still run. */
	_exit(1);
}

char *program_path(const struct program *p, const char *before, const char *name)
{
	char *path;

	if (asprintf(&path, "%s%s/%s", before, p->dir, name) < 0)
		program_fail("no memory for a path");
	return path;
}

void *program_buffer(size_t bytes)
{
	size_t rounded = (bytes + PROGRAM_LINE - 1) / PROGRAM_LINE * PROGRAM_LINE;
	void *data = aligned_alloc(PROGRAM_LINE, rounded);

	if (!data)
		program_fail("no memory for %zu bytes", bytes);
	return memset(data, 0, rounded);
}

/* -------------------------------------------------------- command line --- */

static void usage_error(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

static void usage_error(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", the_peer->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs(" (--side ping|pong --mode spin|sleep --size BYTES --slots N --dir DIR)\n", stderr);
	exit(2);
}

/* Return: 0 if @text is no number from @min to @max; @min is never 0. */
static uint64_t number(const char *text, uint64_t min, uint64_t max)
{
	char *end;
	uint64_t v;

	if (*text < '0' || *text > '9')
		return 0;
	errno = 0;
	v = strtoull(text, &end, 10);
	return *end || errno || v < min || v > max ? 0 : v;
}

/* Which of two words @text is. */
static bool choice(const char *option, const char *text, const char *yes, const char *no)
{
	if (strcmp(text, yes) && strcmp(text, no))
		usage_error("%s: '%s' is neither %s nor %s", option, text, yes, no);
	return !strcmp(text, yes);
}

static void set_dir(struct program *p, const char *dir)
{
	const char *slash = strrchr(dir, '/');

	if (!slash || !slash[1] || access(dir, W_OK))
		usage_error("--dir: '%s' is no directory to write to, with a name", dir);
	p->dir = dir;
	p->unique = slash + 1;
}

static void set_option(struct program *p, int opt, const char *text)
{
	switch (opt) {
	case 's':
		p->ping = choice("--side", text, "ping", "pong");
		break;
	case 'm':
		p->spin = choice("--mode", text, "spin", "sleep");
		break;
	case 'b':
		p->size = number(text, PROGRAM_SIZE_MIN, PROGRAM_SIZE_MAX);
		if (!p->size)
			usage_error("--size: '%s' is no number from %zu to %u", text,
				    PROGRAM_SIZE_MIN, PROGRAM_SIZE_MAX);
		break;
	case 'n':
		p->slots = (unsigned int)number(text, 1, PROGRAM_SLOTS_MAX);
		if (!p->slots)
			usage_error("--slots: '%s' is no number from 1 to %u", text,
				    PROGRAM_SLOTS_MAX);
		break;
	case 'd':
		set_dir(p, text);
		break;
	}
}

static void parse(struct program *p, int argc, char **argv)
{
	static const struct option options[] = {
		{ "side", required_argument, NULL, 's' },
		{ "mode", required_argument, NULL, 'm' },
		{ "size", required_argument, NULL, 'b' },
		{ "slots", required_argument, NULL, 'n' },
		{ "dir", required_argument, NULL, 'd' },
		{ NULL, 0, NULL, 0 },
	};
	bool seen[128] = { false };
	int opt;

	opterr = 0;	/* one line is enough */
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == '?')
			usage_error("unknown or incomplete option '%s'", argv[optind - 1]);
		seen[opt] = true;
		set_option(p, opt, optarg);
	}
	if (optind < argc)
		usage_error("what is '%s'?", argv[optind]);
	for (const struct option *o = options; o->name; o++)
		if (!seen[o->val])
			usage_error("--%s is missing", o->name);
}

/* ---------------------------------------------------------- rendezvous --- */

/* A file of each side says how far it is. */
static void announce(const struct program *p, const char *what, bool ping)
{
	char name[64], *path;
	int fd;

	snprintf(name, sizeof(name), "%s.%s", ping ? "ping" : "pong", what);
	path = program_path(p, "", name);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		program_fail("cannot make %s: %s", path, strerror(errno));
	close(fd);
	free(path);
}

static void await(const struct program *p, const char *what, bool ping, int seconds)
{
	char name[64], *path;
	int left = seconds * 1000;

	snprintf(name, sizeof(name), "%s.%s", ping ? "ping" : "pong", what);
	path = program_path(p, "", name);
	while (access(path, F_OK)) {
		struct timespec ms = { .tv_nsec = 1000000 };

		if (!left--)
			program_fail("%s did not come within %d s", ping ? "ping" : "pong",
				     seconds);
		nanosleep(&ms, NULL);
	}
	free(path);
}

static void late(int sig)
{
	static const char text[] = "the other side was not heard within 20 s\n";

	/* Names are gone already: this is after joined(). */
	_exit(write(STDERR_FILENO, text, sizeof(text) - 1) < 0 ? 1 : 1);
}

/* A connection may exist before anything passes through it. */
static void say_hello(struct program *p, const struct program_way *way)
{
	size_t size;

	signal(SIGALRM, late);
	alarm(PROGRAM_WAIT_S);
	if (!p->ping) {
		way->receive(p, &size);
		way->release(p);
	}
	memset(way->begin(p, sizeof(uint64_t)), 0, sizeof(uint64_t));
	way->send(p, sizeof(uint64_t));
	if (p->ping) {
		way->receive(p, &size);
		way->release(p);
	}
	alarm(0);
}

static void connect_both(struct program *p, const struct program_peer *peer)
{
	int seconds = PROGRAM_WAIT_S;

	if (peer->prepare) {
		seconds = PROGRAM_PREPARE_S;
		announce(p, "here", p->ping);
		await(p, "here", !p->ping, PROGRAM_WAIT_S);
		if (!p->ping)
			peer->prepare(p);
	}
	if (p->ping)
		await(p, "open", false, seconds);
	peer->open(p);
	announce(p, "open", p->ping);
	await(p, "open", !p->ping, PROGRAM_WAIT_S);
	if (peer->joined)
		peer->joined(p);
	say_hello(p, peer->way);
	if (peer->flush)
		peer->flush(p);
}

/* ------------------------------------------------------------ commands --- */

static void reply(const uint64_t *numbers, uint64_t n)
{
	const char *from = (const char *)numbers;
	size_t left = n * sizeof(*numbers);

	while (left) {
		ssize_t done = write(reply_fd, from, left);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			program_fail("cannot write a reply: %s", strerror(errno));
		from += done;
		left -= (size_t)done;
	}
}

static void reply_one(uint64_t value)
{
	reply(&value, 1);
}

/* round and payload: one time each, for ping. */
static void do_samples(struct program *p, const struct program_peer *peer, uint64_t n,
		       void (*work)(struct program *p, uint64_t n, uint64_t *ticks))
{
	uint64_t *ticks = p->ping ? program_buffer(n * sizeof(*ticks)) : NULL;

	work(p, n, ticks);
	if (peer->flush)
		peer->flush(p);
	if (!p->ping) {
		reply_one(0);
		return;
	}
	for (uint64_t i = 0; i < n; i++)
		ticks[i] = sluice_ticks_to_ns(ticks[i]);
	reply(ticks, n);
	free(ticks);
}

static void do_command(struct program *p, const struct program_peer *peer, const char *word,
		       uint64_t n)
{
	if (!strcmp(word, "round") && peer->round)
		do_samples(p, peer, n, peer->round);
	else if (!strcmp(word, "flow") && peer->flow)
		reply_one(sluice_ticks_to_ns(peer->flow(p, n)));
	else if (!strcmp(word, "payload") && peer->payload)
		do_samples(p, peer, n, peer->payload);
	else
		program_fail("cannot do '%s'", word);
}

static void obey(struct program *p, const struct program_peer *peer)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	while ((len = getline(&line, &room, stdin)) > 0) {
		char *count;
		uint64_t n;

		line[strcspn(line, "\n")] = 0;
		count = strchr(line, ' ');
		n = count ? number(count + 1, 1, COMMANDS_MAX) : 0;
		if (!n)
			program_fail("no command: '%s'; it is a word and a number up to %u", line,
				     COMMANDS_MAX);
		*count = 0;
		do_command(p, peer, line, n);
	}
	free(line);
}

/* Replies keep standard output for themselves: what a library writes there goes where errors go. */
static void guard_replies(void)
{
	reply_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (reply_fd < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		program_fail("standard output and error: %s", strerror(errno));
}

int program_main(int argc, char **argv, const struct program_peer *peer)
{
	struct program *p = &the_program;

	the_peer = peer;
	parse(p, argc, argv);
	/* A side that spins for a message would do so for ever if the coordinator were killed. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	guard_replies();
	sluice_ticks_to_ns(1);
	connect_both(p, peer);
	reply_one(0);
	obey(p, peer);
	close_once();
	return 0;
}
