// SPDX-License-Identifier: MIT
/*
 * Process 1 of a box: mounts what the host asks for, runs one command, passes its streams and
 * signals, reports its exit status, switches the machine off.
 *
 * Orders come as a sequence of strings, each with its terminating zero:
 *
 *	mount TYPE SOURCE TARGET OPTIONS	("ro" or "rw" may lead OPTIONS; in this order)
 *	cwd DIR		env NAME=VALUE		arg WORD
 *	leaks 1				(search for leaked kernel memory at the end)
 *	tty STREAMS ROWS COLUMNS		(STREAMS: bit n set = stream n is a terminal)
 *
 * In a box whose root is an initramfs, /box-modules names the modules to insert first, and
 * /box-root holds one mount (TYPE SOURCE OPTIONS) that becomes the root.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "mux.h"

#define SPEC_MAX	(4u << 20)
#define ARGS_MAX	4096
#define END_SECONDS	30		/* for killed processes to end; a busy machine is slow */
#define DRAIN_MS	200		/* for output that is on its way through a terminal */
#define CHANNEL_NAME	"sluice.box"	/* of the virtio port */

static struct mux mux;
static char *spec;
static size_t spec_len;
static bool spec_complete;
static pid_t command;
static int command_status = -1;
static bool command_done;

/* What parse_spec() found. */
static char *args[ARGS_MAX], *envs[ARGS_MAX];
static int nargs, nenvs;
static const char *cwd = "/";
static bool find_leaks;
static unsigned int tty_streams, tty_rows, tty_cols;

static void die(void)
{
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

/* Tells the host why the command could not be started, then ends the box. */
static void __attribute__((format(printf, 1, 2))) fail(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "box-init: %s\n", text);
	if (mux.control) {
		mux_send(&mux, MUX_FAIL, 0, text, strlen(text));
		while (!mux_flushed(&mux))
			mux_poll(&mux, -1, -1);
		usleep(100000);		/* the line driver sends from a queue of its own */
	}
	die();
}

static void kmsg(const char *text)
{
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		perror("box-init: /dev/kmsg");
	close(fd);
}

static int mkdir_parents(const char *path)
{
	char buf[PATH_MAX];

	snprintf(buf, sizeof(buf), "%s", path);
	for (char *p = buf + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		mkdir(buf, 0755);
		*p = '/';
	}
	return mkdir(buf, 0755);
}

static int try_mount(const char *type, const char *source, const char *target, const char *options)
{
	unsigned long flags = 0;

	if (!strncmp(options, "rw,", 3))
		options += 3;
	if (!strncmp(options, "ro", 2) && (!options[2] || options[2] == ',')) {
		flags = MS_RDONLY;
		options += options[2] ? 3 : 2;
	}
	if (mount(source, target, type, flags, options) == 0)
		return 0;
	if (errno != ENOENT)
		return -errno;
	mkdir_parents(target);
	return mount(source, target, type, flags, options) ? -errno : 0;
}

static void mount_or_fail(const char *type, const char *source, const char *target,
			  const char *options)
{
	int err = try_mount(type, source, target, options);

	if (err)
		fail("mounting %s (%s) on %s: %s", source, type, target, strerror(-err));
}

static void mount_system(void)
{
	static const char * const links[][2] = {
		{ "/proc/self/fd", "/dev/fd" }, { "/proc/self/fd/0", "/dev/stdin" },
		{ "/proc/self/fd/1", "/dev/stdout" }, { "/proc/self/fd/2", "/dev/stderr" },
	};

	mount_or_fail("proc", "proc", "/proc", "");
	mount_or_fail("sysfs", "sysfs", "/sys", "");
	mount_or_fail("tmpfs", "tmpfs", "/dev/shm", "mode=1777");
	mount_or_fail("devpts", "devpts", "/dev/pts", "mode=620,ptmxmode=666");
	mount_or_fail("tmpfs", "tmpfs", "/run", "mode=755");
	mount_or_fail("tmpfs", "tmpfs", "/tmp", "mode=1777");
	/* Optional: a kernel may lack them, and the command may not need them. */
	try_mount("debugfs", "debugfs", "/sys/kernel/debug", "");
	try_mount("tracefs", "tracefs", "/sys/kernel/tracing", "");
	try_mount("cgroup2", "cgroup2", "/sys/fs/cgroup", "");
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (symlink(links[i][0], links[i][1]) && errno != EEXIST)
			perror(links[i][1]);
}

/* An initramfs has no /dev/console when the kernel looks for it. */
static void open_standard_streams(void)
{
	int fd;

	do {
		fd = open("/dev/console", O_RDWR);
		if (fd < 0)
			fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd < 3);
	if (fd >= 3)
		close(fd);
}

static void insert_modules(void)
{
	char name[NAME_MAX], path[PATH_MAX];
	FILE *list = fopen("/box-modules", "re");

	if (!list)
		return;
	while (fscanf(list, "%254s", name) == 1) {
		int fd;

		snprintf(path, sizeof(path), "/modules/%s", name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
			fprintf(stderr, "box-init: inserting %s: %s\n", path, strerror(errno));
		close(fd);
	}
	fclose(list);
}

/* Leaves an initramfs for the root that /box-root names. */
static void switch_root(void)
{
	char type[32], source[64], options[256];
	FILE *file = fopen("/box-root", "re");

	if (!file)
		return;
	if (fscanf(file, "%31s %63s %255s", type, source, options) != 3)
		fail("/box-root of the initramfs is damaged; remove box/ from the cache");
	fclose(file);
	mkdir("/root", 0755);
	mount_or_fail(type, source, "/root", options);
	if (mount("/dev", "/root/dev", NULL, MS_MOVE, NULL) || chdir("/root") ||
	    mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		fail("switching to the root on %s: %s", source, strerror(errno));
}

/* The virtio port of the box, or the first serial line of UML. */
static int open_channel(void)
{
	struct termios tio;
	int fd = -1;

	for (int port = 0; port < 8 && fd < 0; port++) {
		char path[64], name[64] = "";
		FILE *file;

		snprintf(path, sizeof(path), "/sys/class/virtio-ports/vport%dp1/name", port);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (fscanf(file, "%63s", name) == 1 && !strcmp(name, CHANNEL_NAME)) {
			snprintf(path, sizeof(path), "/dev/vport%dp1", port);
			fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		}
		fclose(file);
	}
	if (fd >= 0)
		return fd;
	fd = open("/dev/ttyS0", O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || tcgetattr(fd, &tio))
		fail("no channel to the host: no virtio port, and /dev/ttyS0: %s", strerror(errno));
	cfmakeraw(&tio);
	tio.c_cflag |= CLOCAL | CREAD;
	tcsetattr(fd, TCSANOW, &tio);
	return fd;
}

static const char *spec_next(size_t *pos)
{
	const char *word = spec + *pos;

	if (*pos >= spec_len)
		fail("the host's orders are cut off");
	*pos += strlen(word) + 1;
	return word;
}

static void parse_spec(void)
{
	size_t pos = 0;

	while (pos < spec_len) {
		const char *key = spec_next(&pos);
		const char *value = spec_next(&pos);

		if (!strcmp(key, "mount")) {
			const char *source = spec_next(&pos);
			const char *target = spec_next(&pos);

			mount_or_fail(value, source, target, spec_next(&pos));
		} else if (!strcmp(key, "cwd")) {
			cwd = value;
		} else if (!strcmp(key, "env") && nenvs < ARGS_MAX - 1) {
			envs[nenvs++] = (char *)value;
		} else if (!strcmp(key, "arg") && nargs < ARGS_MAX - 1) {
			args[nargs++] = (char *)value;
		} else if (!strcmp(key, "leaks")) {
			find_leaks = true;
		} else if (!strcmp(key, "tty")) {
			tty_streams = atoi(value);
			tty_rows = atoi(spec_next(&pos));
			tty_cols = atoi(spec_next(&pos));
		} else {
			fail("more than %d arguments or variables, or an unknown order: %s",
			     ARGS_MAX - 1, key);
		}
	}
}

static void set_winsize(int fd, unsigned int rows, unsigned int cols)
{
	struct winsize size = { .ws_row = rows, .ws_col = cols };

	if (ioctl(fd, TIOCSWINSZ, &size))
		perror("box-init: window size");
}

static void control(struct mux *m, const struct mux_frame *frame, const char *data)
{
	switch (frame->type) {
	case MUX_SPEC:
		if (spec_len + frame->len >= SPEC_MAX)
			fail("environment and arguments exceed %u bytes", SPEC_MAX);
		memcpy(spec + spec_len, data, frame->len);
		spec_len += frame->len;
		break;
	case MUX_GO:
		spec_complete = true;
		break;
	case MUX_SIGNAL:
		if (command > 0 && !command_done)
			kill(-command, mux_u32(data));
		break;
	case MUX_WINSIZE:
		for (int i = 0; i < MUX_STREAMS; i++)
			if ((tty_streams & (1u << i)) && m->stream[i].fd >= 0)
				set_winsize(m->stream[i].fd, mux_u32(data) >> 16,
					    mux_u32(data) & 0xffff);
		break;
	}
}

/* Does not return. */
static void exec_command(int fds[MUX_STREAMS])
{
	sigset_t none;
	int status;

	setsid();
	for (int i = 0; i < MUX_STREAMS; i++)
		dup2(fds[i], i);
	for (int i = 0; i < MUX_STREAMS; i++)
		if ((tty_streams & (1u << i)) && ioctl(i, TIOCSCTTY, 0) == 0)
			break;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (chdir(cwd)) {
		dprintf(2, "box: directory %s is not visible in the box: %s; name it with --rw\n",
			cwd, strerror(errno));
		_exit(126);
	}
	environ = envs;
	execvp(args[0], args);
	status = errno == ENOENT ? 127 : 126;
	dprintf(2, "box: cannot run %s: %s\n", args[0], strerror(errno));
	_exit(status);
}

/* One pseudo-terminal for all streams that are a terminal on the host. */
static void open_terminal(int *master, int *slave)
{
	struct termios tio;

	*master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*master < 0 || grantpt(*master) || unlockpt(*master))
		fail("opening a pseudo-terminal: %s", strerror(errno));
	*slave = open(ptsname(*master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*slave < 0)
		fail("opening %s: %s", ptsname(*master), strerror(errno));
	set_winsize(*master, tty_rows, tty_cols);
	if (!(tty_streams & 1) && !tcgetattr(*slave, &tio)) {
		tio.c_oflag &= ~OPOST;	/* the host's terminal is not raw then, and does it */
		tcsetattr(*slave, TCSANOW, &tio);
	}
}

static void start_command(void)
{
	int master = -1, slave = -1, theirs[MUX_STREAMS], ours[MUX_STREAMS], pipefd[2];

	if (tty_streams)
		open_terminal(&master, &slave);
	for (int i = 0; i < MUX_STREAMS; i++) {
		if (tty_streams & (1u << i)) {
			/* Error output of a terminal comes with the output, in its order. */
			theirs[i] = slave;
			ours[i] = -1;
			if (i != 2 || !(tty_streams & 2))
				ours[i] = fcntl(master, F_DUPFD_CLOEXEC, 3);
			continue;
		}
		if (pipe2(pipefd, O_CLOEXEC))
			fail("pipe: %s", strerror(errno));
		theirs[i] = pipefd[i != 0];
		ours[i] = pipefd[i == 0];
	}
	command = fork();
	if (command < 0)
		fail("fork: %s", strerror(errno));
	if (command == 0)
		exec_command(theirs);
	for (int i = 0; i < MUX_STREAMS; i++)
		if (theirs[i] != slave)
			close(theirs[i]);
	close(slave);
	close(master);
	for (int i = 0; i < MUX_STREAMS; i++)
		if (ours[i] >= 0)
			fcntl(ours[i], F_SETFL, O_NONBLOCK);
	mux_sink(&mux, 0, ours[0]);
	mux_source(&mux, 1, ours[1]);
	mux_source(&mux, 2, ours[2]);
	mux_send(&mux, MUX_STARTED, 0, NULL, 0);
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != command)
			continue;
		command_done = true;
		command_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	}
}

/* Bytes that wait in a stream's pipe; a terminal hands its own over a little later. */
static uint64_t source_waiting(const struct mux_stream *stream)
{
	int waiting = 0;

	if (stream->fd < 0 || ioctl(stream->fd, FIONREAD, &waiting))
		return 0;
	return waiting;
}

static bool drained(const uint64_t goal[MUX_STREAMS])
{
	for (int i = 1; i < MUX_STREAMS; i++)
		if (mux.stream[i].fd >= 0 && mux.stream[i].sent < goal[i])
			return false;
	return true;
}

/*
 * Passes on what the command had written when it ended, not what its descendants still write:
 * they may do so for ever.
 */
static void drain(void)
{
	uint64_t goal[MUX_STREAMS] = { 0 };

	for (int ms = 0; tty_streams && ms < DRAIN_MS && !mux.dead; ms += 10) {
		if (mux.stream[1].fd < 0)	/* the terminal is closed: all has come */
			break;
		mux_poll(&mux, -1, 10);
	}
	for (int i = 1; i < MUX_STREAMS; i++)
		goal[i] = mux.stream[i].sent + source_waiting(&mux.stream[i]);
	while (!mux.dead && !drained(goal))
		mux_poll(&mux, -1, -1);
}

static void run_command(int sigfd)
{
	struct signalfd_siginfo info;

	while (!command_done && !mux.dead) {
		if (mux_poll(&mux, sigfd, -1) && read(sigfd, &info, sizeof(info)) > 0)
			reap();
	}
	drain();
	mux_send_u32(&mux, MUX_EXIT, 0, command_status);
	while (!mux_flushed(&mux))
		mux_poll(&mux, -1, -1);
}

/* Ends every process, so that what the kernel does at their deaths is seen while somebody looks. */
static void end_processes(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	kill(-1, SIGKILL);
	for (int i = 0; i < END_SECONDS * 100; i++) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
			return;
		usleep(10000);
	}
	kmsg("<2>sluice-box: BUG: a killed process did not end in time\n");
}

/*
 * kmemleak reports only what is older than five seconds and did not change between two scans.
 * What the kernel itself leaked at its start is forgotten before the command runs.
 */
static void search_leaks(bool before)
{
	char buf[4096];
	ssize_t len;
	int fd = open("/sys/kernel/debug/kmemleak", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		kmsg("<2>sluice-box: BUG: --leaks, but this kernel has no kmemleak\n");
		return;
	}
	for (int i = 0; i < 2; i++) {
		sleep(i ? 1 : 6);
		if (write(fd, "scan", 4) != 4)
			perror("box-init: kmemleak");
	}
	if (before && write(fd, "clear", 5) != 5)
		perror("box-init: kmemleak");
	while (!before && (len = read(fd, buf, sizeof(buf))) > 0)
		if (write(2, buf, len) != len)
			break;
	close(fd);
}

static void set_up_network(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr))
		perror("box-init: lo");
	close(fd);
	if (sethostname("sluice-box", 10))
		perror("box-init: host name");
}

int main(void)
{
	sigset_t mask;
	int sigfd;

	umask(022);
	if (access("/box-modules", F_OK) == 0 && mount("devtmpfs", "/dev", "devtmpfs", 0, ""))
		return 1;
	open_standard_streams();
	insert_modules();
	mkdir("/sys", 0755);
	if (access("/sys/class", F_OK))
		try_mount("sysfs", "sysfs", "/sys", "");
	mux_init(&mux, open_channel(), false);
	mux.control = control;
	switch_root();
	mount_system();
	set_up_network();

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	sigfd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	spec = calloc(1, SPEC_MAX);
	if (sigfd < 0 || !spec)
		fail("preparing: %s", strerror(errno));

	mux_send(&mux, MUX_HELLO, 0, NULL, 0);
	while (!spec_complete && !mux.dead)
		mux_poll(&mux, -1, -1);
	if (mux.dead)
		die();
	parse_spec();
	if (!nargs)
		fail("no command was named");
	if (find_leaks)
		search_leaks(true);
	kmsg("<4>sluice-box: command starts\n");
	start_command();
	run_command(sigfd);
	end_processes();
	if (find_leaks)
		search_leaks(false);
	die();
	return 0;
}
