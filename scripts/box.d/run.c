// SPDX-License-Identifier: MIT
/*
 * Host end of a box: starts a machine, gives it its orders, passes streams and signals, judges
 * the console at the end. scripts/box prepares the files and builds the command line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "keeper.h"
#include "mux.h"
#include "pin.h"
#include "verdict.h"

#define STATUS_TIMEOUT	124	/* as timeout(1) */
#define STATUS_FAULT	70	/* EX_SOFTWARE: the kernel inside misbehaved */
#define STATUS_BOX	125	/* the box itself failed, the command did not run */
#define LEAK_SECONDS	60	/* more of that for a search for leaks */
#define STOP_SECONDS	60	/* from the command's end until the machine is off */
#define GRACE_SECONDS	5	/* from SIGTERM or SIGHUP until the machine is ended */

enum phase { BOOTING, RUNNING, STOPPING, FAILED };

static struct {
	const char *faults, *known, *log_path, *judge_path;
	int boot_seconds, run_seconds, pin_cpus;
	char *machine[128];
	int nmachine;
	char *spec;
	size_t spec_len;
} opt = { .boot_seconds = 60 };

static struct mux mux;
static pid_t keeper_pid;
static enum phase phase = BOOTING;
static double deadline;		/* 0: none */
static int status = STATUS_BOX;
static int stop_seconds = STOP_SECONDS;
static int stopped_by;		/* signal that ended us before the command did */
static bool terminal_in, raw;
static struct termios saved_tio;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void set_deadline(int seconds)
{
	deadline = seconds ? now() + seconds : 0;
}

static void spec_add(const char *word)
{
	size_t len = strlen(word) + 1;

	opt.spec = realloc(opt.spec, opt.spec_len + len);
	if (!opt.spec) {
		fprintf(stderr, "box: no memory for the environment\n");
		exit(STATUS_BOX);
	}
	memcpy(opt.spec + opt.spec_len, word, len);
	opt.spec_len += len;
}

static void spec_pair(const char *key, const char *value)
{
	spec_add(key);
	spec_add(value);
}

static uint32_t window_size(void)
{
	struct winsize size = { 0 };

	for (int fd = 0; fd < MUX_STREAMS; fd++)
		if (ioctl(fd, TIOCGWINSZ, &size) == 0)
			break;
	return (uint32_t)size.ws_row << 16 | size.ws_col;
}

/* Which streams become a terminal in the box; input only together with output. */
static void spec_terminal(void)
{
	int streams = isatty(1) << 1 | isatty(2) << 2;
	uint32_t size = window_size();
	char buf[32];

	terminal_in = isatty(0) && isatty(1);
	streams |= terminal_in;
	if (!streams)
		return;
	snprintf(buf, sizeof(buf), "%d", streams);
	spec_pair("tty", buf);
	snprintf(buf, sizeof(buf), "%u", size >> 16);
	spec_add(buf);
	snprintf(buf, sizeof(buf), "%u", size & 0xffff);
	spec_add(buf);
}

static void set_raw(void)
{
	struct termios tio;

	if (!terminal_in || tcgetattr(0, &tio))
		return;
	cfmakeraw(&tio);
	raw = tcsetattr(0, TCSADRAIN, &tio) == 0;
}

static void set_cooked(void)
{
	if (raw)
		tcsetattr(0, TCSADRAIN, &saved_tio);
	raw = false;
}

static void send_orders(void)
{
	for (size_t pos = 0; pos < opt.spec_len; pos += MUX_PAYLOAD) {
		size_t len = opt.spec_len - pos;

		if (len > MUX_PAYLOAD)
			len = MUX_PAYLOAD;
		while (mux_send(&mux, MUX_SPEC, 0, opt.spec + pos, len) == -EAGAIN && !mux.dead)
			mux_poll(&mux, -1, -1);
	}
	mux_send(&mux, MUX_GO, 0, NULL, 0);
}

/* Before the command starts: its processes inherit where they are. */
static void pin(void)
{
	int err = opt.pin_cpus ? pin_machine(keeper_pid, opt.pin_cpus) : 0;

	if (err)
		fprintf(stderr, "box: --pin does not work here (%s): figures will scatter\n",
			strerror(-err));
}

static void control(struct mux *m, const struct mux_frame *frame, const char *data)
{
	switch (frame->type) {
	case MUX_HELLO:
		pin();
		send_orders();
		break;
	case MUX_STARTED:
		phase = RUNNING;
		set_deadline(opt.run_seconds);
		set_raw();
		mux_source(m, 0, fcntl(0, F_DUPFD_CLOEXEC, 3));
		break;
	case MUX_EXIT:
		status = mux_u32(data);
		phase = STOPPING;
		set_deadline(stop_seconds);
		if (m->stream[0].fd >= 0)
			close(m->stream[0].fd);
		m->stream[0].fd = -1;
		break;
	case MUX_FAIL:
		fprintf(stderr, "box: %.*s\n", frame->len, data);
		phase = FAILED;
		set_deadline(stop_seconds);
		break;
	}
}

static void take_signal(int sig)
{
	switch (sig) {
	case SIGWINCH:
		mux_send_u32(&mux, MUX_WINSIZE, 0, window_size());
		return;
	case SIGCHLD:
		return;
	case SIGTERM:
	case SIGHUP:
		if (!stopped_by)
			set_deadline(GRACE_SECONDS);
		stopped_by = sig;
		break;
	}
	if (phase == RUNNING)
		mux_send_u32(&mux, MUX_SIGNAL, 0, sig);
	else
		stopped_by = sig;
}

static void take_signals(int sigfd)
{
	struct signalfd_siginfo info;

	while (read(sigfd, &info, sizeof(info)) == sizeof(info))
		take_signal(info.ssi_signo);
}

/* Returns why the loop ended: 0 for the end of the machine, else a status. */
static int run(int sigfd, pid_t keeper)
{
	for (;;) {
		int wait_ms = -1;

		if (deadline) {
			double left = deadline - now();

			if (left <= 0)
				return stopped_by ? 128 + stopped_by : STATUS_TIMEOUT;
			wait_ms = left * 1000 + 1;
		}
		if (stopped_by && phase == BOOTING)
			return 128 + stopped_by;
		if (mux_poll(&mux, sigfd, wait_ms))
			take_signals(sigfd);
		if (mux.dead && mux_sinks_flushed(&mux) && waitpid(keeper, NULL, WNOHANG) == keeper)
			return 0;
	}
}

static int judge(int why, int log_fd)
{
	int fault = verdict(log_fd, opt.faults, opt.known);

	if (fault < 0)
		return STATUS_BOX;
	if (fault)
		return STATUS_FAULT;
	if (why == STATUS_TIMEOUT && phase == RUNNING) {
		fprintf(stderr, "box: the command did not end within %d s\n", opt.run_seconds);
		return STATUS_TIMEOUT;
	}
	if (why && why != STATUS_TIMEOUT)
		return why;
	if (phase == FAILED)
		return STATUS_BOX;
	if (phase == STOPPING && !why)
		return stopped_by ? 128 + stopped_by : status;
	fprintf(stderr, "box: the machine %s; the end of its console:\n",
		phase == STOPPING ? "did not switch itself off" :
		why ? "did not start in time" :
		phase == BOOTING ? "ended while it started" : "ended before the command did");
	show_log_end(log_fd, 40);
	return STATUS_FAULT;
}

static void keep_log(int log_fd)
{
	char buf[65536];
	ssize_t len;
	off_t pos = 0;
	int fd;

	if (!opt.log_path)
		return;
	fd = open(opt.log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	while (fd >= 0 && (len = pread(log_fd, buf, sizeof(buf), pos)) > 0) {
		if (write(fd, buf, len) != len)
			break;
		pos += len;
	}
	if (fd < 0 || close(fd))
		fprintf(stderr, "box: %s: %s\n", opt.log_path, strerror(errno));
}

static int block_signals(void)
{
	static const int signals[] = {
		SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCHLD,
	};
	sigset_t mask;

	sigemptyset(&mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&mask, signals[i]);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void parse_options(int argc, char **argv, struct keeper *keeper)
{
	static const struct option options[] = {
		{ "vm", 1, NULL, 'v' }, { "mount", 1, NULL, 'm' }, { "cwd", 1, NULL, 'c' },
		{ "setenv", 1, NULL, 'e' }, { "faults", 1, NULL, 'f' }, { "known", 1, NULL, 'k' },
		{ "log", 1, NULL, 'l' }, { "boot-timeout", 1, NULL, 'b' },
		{ "timeout", 1, NULL, 't' }, { "map-lock", 1, NULL, 'M' },
		{ "map-count", 1, NULL, 'C' }, { "verbose", 0, NULL, 'V' },
		{ "leaks", 0, NULL, 'L' }, { "pin", 1, NULL, 'p' },
		{ "judge", 1, NULL, 'j' }, { NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		switch (c) {
		case 'v':
			if (opt.nmachine < 127)
				opt.machine[opt.nmachine++] = optarg;
			break;
		case 'm':	/* --mount TYPE SOURCE TARGET OPTIONS: four words */
			spec_pair("mount", optarg);
			for (int i = 0; i < 3 && optind < argc; i++)
				spec_add(argv[optind++]);
			break;
		case 'c': spec_pair("cwd", optarg); break;
		case 'e': putenv(optarg); break;
		case 'f': opt.faults = optarg; break;
		case 'k': opt.known = optarg; break;
		case 'j': opt.judge_path = optarg; break;
		case 'l': opt.log_path = optarg; break;
		case 'b': opt.boot_seconds = atoi(optarg); break;
		case 't': opt.run_seconds = atoi(optarg); break;
		case 'M': keeper->map_lock = optarg; break;
		case 'C': keeper->map_count = atol(optarg); break;
		case 'L': spec_pair("leaks", "1"); stop_seconds += LEAK_SECONDS; break;
		case 'p': opt.pin_cpus = atoi(optarg); break;
		case 'V': keeper->verbose = true; break;
		default: exit(STATUS_BOX);
		}
	}
	for (char **env = environ; *env; env++)
		spec_pair("env", *env);
	for (int i = optind; i < argc; i++)
		spec_pair("arg", argv[i]);
}

/* Only the verdict on a log that somebody else has taken. */
static int judge_file(void)
{
	int fd = open(opt.judge_path, O_RDONLY | O_CLOEXEC);
	int fault = fd < 0 ? -errno : verdict(fd, opt.faults, opt.known);

	if (fault < 0) {
		fprintf(stderr, "box: %s: %s\n", opt.judge_path, strerror(-fault));
		return STATUS_BOX;
	}
	return fault ? STATUS_FAULT : 0;
}

int main(int argc, char **argv)
{
	struct keeper keeper = { .tty = -1, .machine = opt.machine };
	int sock[2], life, sigfd, why;

	parse_options(argc, argv, &keeper);
	if (opt.judge_path)
		return judge_file();
	spec_terminal();
	if (terminal_in && tcgetattr(0, &saved_tio) == 0) {
		keeper.tty = fcntl(0, F_DUPFD_CLOEXEC, 10);
		keeper.tio = saved_tio;
	}
	keeper.log = memfd_create("box-console", MFD_CLOEXEC);
	if (keeper.log < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock)) {
		fprintf(stderr, "box: preparing the channels: %s\n", strerror(errno));
		return STATUS_BOX;
	}
	fcntl(keeper.log, F_SETFL, O_APPEND);
	keeper.chan = sock[1];
	sigfd = block_signals();
	keeper_pid = keeper_start(&keeper, &life);
	if (keeper_pid < 0 || sigfd < 0) {
		fprintf(stderr, "box: starting the machine: %s\n",
			strerror(keeper_pid < 0 ? -keeper_pid : errno));
		return STATUS_BOX;
	}
	close(sock[1]);
	fcntl(sock[0], F_SETFL, O_NONBLOCK);
	mux_init(&mux, sock[0], true);
	mux.control = control;
	mux_sink(&mux, 1, fcntl(1, F_DUPFD_CLOEXEC, 3));
	mux_sink(&mux, 2, fcntl(2, F_DUPFD_CLOEXEC, 3));
	set_deadline(opt.boot_seconds);
	why = run(sigfd, keeper_pid);
	set_cooked();
	if (why) {
		close(life);
		waitpid(keeper_pid, NULL, 0);
	}
	keep_log(keeper.log);
	return judge(why, keeper.log);
}
