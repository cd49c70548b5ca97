// SPDX-License-Identifier: MIT
/*
 * sltest.c: hostile processes against the module; see usage(). This part starts the workers and
 * the calm pair, starts again what dies, watches that nothing hangs, and judges at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hostile.h"

struct shared *shared;

static pid_t workers[WORKERS_MAX], calm[2];
static uint64_t stuck_ns = 60ull * 1000000000, seconds;
static uint64_t ops = 100000, lane_from, lane_to;
static const char *module;
static int tests, failures;

static void usage(void)
{
	puts("usage: sltest [OPTION...]\n"
	     "\n"
	     "Sends random and nearly right operations to the module from several processes and\n"
	     "threads, which also write nonsense into every page that they may write, die and\n"
	     "exec. Fails when anything hangs, when a read-only page can be written, when half a\n"
	     "mapping can be made, or when two well-behaved processes on another stage lose a\n"
	     "message. Runs as root, in a box: scripts/box -- build/tests/hostile/sltest ...\n"
	     "\n"
	     "  --module FILE    insert this module first, remove it at the end\n"
	     "  --seed N         of all random choices (default: the clock)\n"
	     "  --ops N          operations in all (default 100000)\n"
	     "  --seconds N      stop after so long, even with operations left\n"
	     "  --workers N      hostile processes, 1 to 8 (default 4); odd ones are not root\n"
	     "  --replay LANE[:FROM[-TO]]\n"
	     "                   one lane of a run alone, every operation said before it is done\n"
	     "\n"
	     "examples:\n"
	     "  sltest --module build/kmod/uml/sluice.ko --ops 1000000\n"
	     "  sltest --module build/kmod/uml/sluice.ko --seed 7 --replay 3:1200-1300");
}

static void result(bool ok, const char *fmt, ...)
{
	va_list ap;

	printf("%s %d - ", ok ? "ok" : "not ok", ++tests);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	failures += !ok;
}

static __attribute__((noreturn, format(printf, 1, 2))) void fail(const char *fmt, ...)
{
	va_list ap;

	fputs("sltest: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

/* ---------------------------------------------------------------- module --- */

static void insert_module(void)
{
	int fd = open(module, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || syscall(SYS_finit_module, fd, "max_total_mb=512", 0))
		fail("inserting %s: %s; build it with scripts/build-kmod", module, strerror(errno));
	close(fd);
}

static void remove_module(void)
{
	int i, err = 0;

	close(FD_CONTROL);
	/* the last reference of a command goes with deferred work */
	for (i = 0; i < 100; i++) {
		err = syscall(SYS_delete_module, "sluice", O_NONBLOCK) ? errno : 0;
		if (err != EAGAIN && err != EBUSY)
			break;
		usleep(100000);
	}
	result(!err, "the module can be removed%s%s", err ? ": " : "", err ? strerror(err) : "");
}

static int destroy(const char *name)
{
	struct sluice_destroy d = { .size = sizeof(d), .flags = SLUICE_DESTROY_FORCE };

	snprintf(d.name, sizeof(d.name), "%s", name);
	return ioctl(FD_CONTROL, SLUICE_IOC_DESTROY, &d) ? -errno : 0;
}

/* By order and not by name: also what random creations have left. */
static void destroy_all(void)
{
	struct sluice_info i = { .size = sizeof(i) };
	uint32_t n = 0, left = 0;

	while (!ioctl(FD_CONTROL, SLUICE_IOC_NEXT, &i)) {
		int err = destroy(i.name);

		/* a dead-letter stage goes with its parent */
		if (err && err != -ENOENT && !strstr(i.name, ".dead")) {
			printf("# destroying %s: %s\n", i.name, strerror(-err));
			left++;
		}
		n += !err;
	}
	result(!left, "every stage can be destroyed: %u", n);
}

static void create_stages(void)
{
	struct sluice_create c = {
		.size = sizeof(c), .name = CALM, .nslots = 256, .nbufs = 32, .bufsize = 8192,
		.ack_timeout_ms = 600000, .write_timeout_ms = 600000,
	};
	struct rng r = { .s = shared->seed };
	uint32_t i;

	if (ioctl(FD_CONTROL, SLUICE_IOC_CREATE, &c))
		fail("creating the calm stage: %s", strerror(errno));
	for (i = 0; i < STAGES; i++) {
		make_create(&r, i, &c);
		ioctl(FD_CONTROL, SLUICE_IOC_CREATE, &c);
	}
}

/* -------------------------------------------------------------- processes --- */

static void start_worker(uint32_t i)
{
	fflush(stdout);
	workers[i] = fork();
	if (!workers[i])
		worker_main(i, false);
	shared->spawned++;
}

static bool worker_done(uint32_t i)
{
	uint32_t l;

	for (l = i * LANES; l < (i + 1) * LANES; l++)
		if (shared->done[l] < shared->goal &&
		    !(shared->replay && l != shared->replay_lane))
			return false;
	return true;
}

/* Dead ones are started again as long as they have something to do. */
static bool look_after(void)
{
	bool busy = false;
	uint32_t i;
	int status;

	for (i = 0; i < shared->workers; i++) {
		if (!workers[i] || waitpid(workers[i], &status, WNOHANG) <= 0) {
			busy |= workers[i] != 0;
			continue;
		}
		workers[i] = 0;
		if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
			broken("worker %u ended by signal %d", i, WTERMSIG(status));
		if (!worker_done(i) && !shared->stop) {
			start_worker(i);
			busy = true;
		}
	}
	for (i = 0; i < 2; i++) {
		if (calm[i] && waitpid(calm[i], &status, WNOHANG) > 0) {
			calm[i] = 0;
			if (!shared->stop)
				broken("a calm process ended: status %#x", status);
		}
	}
	return busy;
}

/* What a lane did last, the newest at the end. */
static void show_lane(uint32_t lane)
{
	uint64_t n = shared->done[lane], i;

	printf("# lane %u:", lane);
	for (i = n > TRACE ? n - TRACE : 0; i < n; i++) {
		const struct trace *t = &shared->trace[lane][i % TRACE];

		printf(" %s=%d", op_by_index(t->op)->name, t->result);
	}
	printf(" (%llu)\n", (unsigned long long)n);
}

static void show_lanes(void)
{
	uint32_t i;

	for (i = 0; i < shared->workers * LANES; i++)
		show_lane(i);
}

/* Where its threads are in the kernel. */
static void show_stacks(uint32_t worker)
{
	char command[200];

	fflush(stdout);
	snprintf(command, sizeof(command), "for t in /proc/%d/task/*; do echo \"# $t $(cat $t/wchan)\"; "
		 "sed 's/^/#   /' $t/stack; done 2>/dev/null", workers[worker]);
	if (system(command))
		puts("# no stacks");
}

/* 0 when all is well; what has not moved for too long is told. */
static int watch(uint64_t started)
{
	static uint64_t seen[LANES_MAX + 1], since[LANES_MAX + 1];
	uint64_t now = now_ns(), value;
	uint32_t i;

	for (i = 0; i <= LANES_MAX; i++) {
		bool is_calm = i == LANES_MAX;

		if (!is_calm && (i >= shared->workers * LANES || shared->done[i] >= shared->goal ||
				 (shared->replay && i != shared->replay_lane)))
			continue;
		value = is_calm ? shared->calm_received : shared->done[i];
		if (value != seen[i] || !since[i]) {
			seen[i] = value;
			since[i] = now;
		}
		if (now - since[i] < stuck_ns)
			continue;
		result(false, "nothing hangs: %s %u did not move for %llu s",
		       is_calm ? "the calm pair, not lane" : "lane", i,
		       (unsigned long long)(stuck_ns / 1000000000));
		show_lanes();
		if (!is_calm)
			show_stacks(i / LANES);
		return -ETIME;
	}
	return seconds && now - started > seconds * 1000000000 ? 1 : 0;
}

/* Nobody may outlive kill -9. */
static void end_workers(void)
{
	uint64_t deadline = now_ns() + stuck_ns;
	uint32_t i, left = 0;

	for (i = 0; i < shared->workers; i++)
		if (workers[i])
			kill(workers[i], SIGKILL);
	for (i = 0; i < shared->workers; i++) {
		while (workers[i] && now_ns() < deadline && !waitpid(workers[i], NULL, WNOHANG))
			usleep(1000);
		if (workers[i] && now_ns() >= deadline) {
			left++;
			show_stacks(i);
		}
	}
	result(!left, "killed processes end: %u are left", left);
}

static void end_calm(void)
{
	uint64_t deadline = now_ns() + stuck_ns;
	uint32_t i;

	for (i = 0; i < 2; i++) {
		while (calm[i] && now_ns() < deadline && !waitpid(calm[i], NULL, WNOHANG))
			usleep(1000);
		if (calm[i])
			kill(calm[i], SIGKILL);
	}
	result(shared->calm_sent == shared->calm_received && shared->calm_sent > 10,
	       "the calm pair: %llu messages sent, %llu arrived in order, longest pause %llu ms",
	       (unsigned long long)shared->calm_sent, (unsigned long long)shared->calm_received,
	       (unsigned long long)shared->calm_slowest_ns / 1000000);
}

/* ------------------------------------------------------------------- main --- */

static void show_figures(uint64_t started)
{
	uint64_t total = 0, worked = 0, never = 0;
	uint32_t i, n = op_count();

	for (i = 0; i < n; i++) {
		total += shared->tried[i];
		worked += shared->worked[i];
		if (shared->tried[i] > 100 && !shared->worked[i])
			never++;
		printf("# %-14s %8llu tried %8llu worked %8llu us\n", op_by_index(i)->name,
		       (unsigned long long)shared->tried[i], (unsigned long long)shared->worked[i],
		       (unsigned long long)(shared->tried[i] ? shared->spent_ns[i] /
					    shared->tried[i] / 1000 : 0));
	}
	printf("# seed %llu: %llu operations, %llu worked, %llu stores of nonsense, %llu faults, "
	       "%llu processes, %.1f s\n", (unsigned long long)shared->seed,
	       (unsigned long long)total, (unsigned long long)worked,
	       (unsigned long long)shared->scribbles, (unsigned long long)shared->faults,
	       (unsigned long long)shared->spawned, (double)(now_ns() - started) / 1e9);
	result(total > 0 && worked > total / 10, "%llu operations, %llu of them did something",
	       (unsigned long long)total, (unsigned long long)worked);
}

static void open_shared(void)
{
	int fd = memfd_create("sltest", 0);

	if (fd < 0 || ftruncate(fd, sizeof(*shared)) || dup2(fd, FD_SHARED) < 0)
		fail("shared memory: %s", strerror(errno));
	close(fd);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, FD_SHARED, 0);
	if (shared == MAP_FAILED)
		fail("shared memory: %s", strerror(errno));
}

static void open_all(void)
{
	int mail[2], fd = open("/dev/sluice/control", O_RDWR);

	if (fd < 0 || dup2(fd, FD_CONTROL) < 0)
		fail("/dev/sluice/control: %s; insert the module with --module", strerror(errno));
	close(fd);
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, mail) || dup2(mail[0], FD_MAIL) < 0 ||
	    dup2(mail[1], FD_MAIL + 1) < 0)
		fail("a pair of sockets: %s", strerror(errno));
	close(mail[0]);
	close(mail[1]);
}

static void parse_replay(const char *text)
{
	char *end;

	shared->replay = 1;
	shared->replay_lane = (uint32_t)strtoul(text, &end, 0);
	if (*end == ':')
		lane_from = strtoull(end + 1, &end, 0);
	if (*end == '-')
		lane_to = strtoull(end + 1, &end, 0);
	if (*end || shared->replay_lane >= LANES_MAX)
		fail("--replay %s: LANE[:FROM[-TO]], with a lane below %u", text, LANES_MAX);
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "module", 1, NULL, 'm' }, { "seed", 1, NULL, 's' }, { "ops", 1, NULL, 'o' },
		{ "seconds", 1, NULL, 't' }, { "workers", 1, NULL, 'w' },
		{ "replay", 1, NULL, 'r' }, { "help", 0, NULL, 'h' }, { 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'm': module = optarg; break;
		case 's': shared->seed = strtoull(optarg, NULL, 0); break;
		case 'o': ops = strtoull(optarg, NULL, 0); break;
		case 't': seconds = strtoull(optarg, NULL, 0); break;
		case 'w': shared->workers = (uint32_t)strtoul(optarg, NULL, 0); break;
		case 'r': parse_replay(optarg); break;
		case 'h': usage(); exit(0);
		default: exit(2);
		}
	}
	if (optind < argc || !ops || !shared->workers || shared->workers > WORKERS_MAX)
		fail("a number is out of range, or an argument too many; see --help");
	shared->goal = (ops + shared->workers * LANES - 1) / (shared->workers * LANES);
	if (shared->replay) {
		shared->goal = lane_to ? lane_to + 1 : shared->goal;
		shared->done[shared->replay_lane] = lane_from;
		shared->workers = shared->replay_lane / LANES + 1;
	}
}

static void run(uint64_t started)
{
	int verdict = 0;
	uint32_t i;

	calm[0] = fork();
	if (!calm[0])
		calm_consume();
	calm[1] = fork();
	if (!calm[1])
		calm_produce();
	for (i = 0; i < shared->workers; i++)
		if (!worker_done(i))
			start_worker(i);
	while (look_after() && !shared->broken && !(verdict = watch(started)))
		usleep(10000);
	__atomic_store_n(&shared->stop, 1, __ATOMIC_RELEASE);
	if (verdict >= 0)
		result(true, "nothing hangs");
}

int main(int argc, char **argv)
{
	const char *scale = getenv("SLUICE_TEST_SCALE");
	uint64_t started = now_ns();

	if (argc == 3 && !strcmp(argv[1], "--worker")) {
		shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, FD_SHARED,
			      0);
		if (shared == MAP_FAILED)
			return 98;
		worker_main((uint32_t)atoi(argv[2]), true);
	}
	if (scale && atoi(scale) > 1)
		stuck_ns *= 4;
	open_shared();
	shared->seed = rng_mix((uint64_t)time(NULL) << 20 ^ (uint64_t)getpid()) >> 32;
	shared->workers = 4;
	parse(argc, argv);
	if (module)
		insert_module();
	open_all();
	printf("TAP version 13\n# again: --seed %llu --ops %llu --workers %u; "
	       "one lane: --replay LANE:FROM-TO\n", (unsigned long long)shared->seed,
	       (unsigned long long)ops, shared->workers);
	create_stages();
	run(started);
	end_workers();
	end_calm();
	result(!shared->broken, "nothing happened that must not%s%s", shared->broken ? ": " : "",
	       shared->broken ? shared->broken_text : "");
	if (shared->broken)
		show_lanes();
	show_figures(started);
	close(FD_MAIL);
	close(FD_MAIL + 1);
	destroy_all();
	if (module)
		remove_module();
	printf("1..%d\n", tests);
	return failures ? 1 : 0;
}
