// SPDX-License-Identifier: MIT
/*
 * idle.c: sluice-perf idle: what attached endpoints cost while nothing comes
 */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "peer.h"
#include "perf.h"

/* Endpoints of one stage; the rest get stages of their own. */
#define IDLE_PER_STAGE	128
#define IDLE_MAX	1000

static const char usage_text[] =
"usage: sluice-perf idle [OPTION...]\n"
"\n"
"Attaches consumers, one process each, lets them all sleep in sluice_claim() and\n"
"adds up the processor time that they use.\n"
"\n"
"  --endpoints N   default 100, at most 1000\n"
"  --seconds N     how long to look, default 10\n"
"  --json          JSON instead of text\n"
"\n"
"example: sluice-perf idle --endpoints 100 --seconds 10\n";

struct idle_shared {
	uint32_t attached;		/* endpoints about to sleep */
	char error[256];		/* of the first that failed */
};

struct idle_usage {
	uint64_t cpu_ns;		/* processor time */
	uint64_t switches;		/* context switches */
};

struct idle {
	unsigned int endpoints;
	unsigned int seconds;
	bool json;
	struct idle_shared *shared;
	pid_t pids[IDLE_MAX];
	char stage[IDLE_MAX / IDLE_PER_STAGE + 1][SLUICE_NAME_MAX];
	unsigned int stages;		/* created */
	/* results */
	double elapsed_s;
	struct idle_usage used;		/* by all endpoints, while looked at */
	uint64_t resident_bytes;	/* the stages' memory that is paid for */
};

static int create_stages(struct idle *d)
{
	unsigned int n = (d->endpoints + IDLE_PER_STAGE - 1) / IDLE_PER_STAGE;

	while (d->stages < n) {
		struct sluice_create c = { .nslots = SLUICE_MIN_SLOTS };
		char what[16];
		int err;

		snprintf(what, sizeof(what), "idle%u", d->stages);
		perf_stage_name(d->stage[d->stages], what);
		memcpy(c.name, d->stage[d->stages], sizeof(c.name));
		err = sluice_create(&c);
		if (err) {
			perf_error("%s", sluice_error());
			return err;
		}
		d->stages++;
	}
	return 0;
}

/* The endpoint's process; ends when it is killed. */
static int sleeper(struct idle_shared *sh, const char *stage)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *ep;
	struct sluice_msg msg;
	int err = sluice_ctx_create(0, &ctx);

	if (!err)
		err = sluice_attach(ctx, stage, SLUICE_CONSUMER, 0, &ep);
	if (!err) {
		__atomic_add_fetch(&sh->attached, 1, __ATOMIC_SEQ_CST);
		err = sluice_claim(ep, &msg, SLUICE_FOREVER);
	}
	snprintf(sh->error, sizeof(sh->error), "%s", err ? sluice_error() : "a message came");
	return PERF_EXIT_FAILED;
}

static int start_sleepers(struct idle *d)
{
	for (unsigned int i = 0; i < d->endpoints; i++) {
		d->pids[i] = perf_fork();
		if (d->pids[i] == 0)
			_exit(sleeper(d->shared, d->stage[i / IDLE_PER_STAGE]));
		if (d->pids[i] < 0) {
			int err = d->pids[i];

			perf_error("cannot start process %u: %s", i, strerror(-err));
			d->pids[i] = 0;
			return err;
		}
	}
	return 0;
}

/* Waits @ms. Return: 0, or the failure of an endpoint, or -EINTR. */
static int watch(struct idle *d, unsigned int ms)
{
	struct timespec t = { ms / 1000, (ms % 1000) * 1000000l };
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sig = sigtimedwait(&set, NULL, &t);
	if (sig == SIGCHLD) {
		perf_error("an endpoint ended early: %s",
			   d->shared->error[0] ? d->shared->error : "it was killed");
		return -ECHILD;
	}
	return sig > 0 ? -EINTR : 0;
}

/* Until all are attached, and then a second for the last to fall asleep. */
static int wait_attached(struct idle *d)
{
	int err = 0;

	for (unsigned int ms = 0; !err; ms += 20) {
		if (__atomic_load_n(&d->shared->attached, __ATOMIC_SEQ_CST) == d->endpoints)
			return watch(d, 1000);
		if (ms > 60000) {
			perf_error("only %u of %u endpoints attached within a minute",
				   d->shared->attached, d->endpoints);
			return -ETIMEDOUT;
		}
		err = watch(d, 20);
	}
	return err;
}

static uint64_t timespec_ns(struct timespec t)
{
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/*
 * How often a process was switched away from, so how often it ran. Where the
 * kernel's clock is as coarse as its tick (User-Mode Linux), short runs cost no
 * processor time, but they are seen here.
 */
static uint64_t switches_of(pid_t pid)
{
	char path[64], line[128];
	unsigned long long n;
	uint64_t sum = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "voluntary_ctxt_switches: %llu", &n) == 1 ||
		    sscanf(line, "nonvoluntary_ctxt_switches: %llu", &n) == 1)
			sum += n;
	if (f)
		fclose(f);
	return sum;
}

static int read_usage(const struct idle *d, struct idle_usage *sum)
{
	*sum = (struct idle_usage){ 0 };
	for (unsigned int i = 0; i < d->endpoints; i++) {
		struct timespec t;
		clockid_t clock;

		if (clock_getcpuclockid(d->pids[i], &clock) || clock_gettime(clock, &t)) {
			perf_error("cannot read the processor time of process %d",
				   (int)d->pids[i]);
			return -ESRCH;
		}
		sum->cpu_ns += timespec_ns(t);
		sum->switches += switches_of(d->pids[i]);
	}
	return 0;
}

static int resident(struct idle *d)
{
	for (unsigned int i = 0; i < d->stages; i++) {
		struct sluice_info info = { 0 };
		int err = sluice_info(d->stage[i], &info);

		if (err) {
			perf_error("%s", sluice_error());
			return err;
		}
		d->resident_bytes += info.bytes_resident;
	}
	return 0;
}

static int look(struct idle *d)
{
	struct timespec begin, end;
	struct idle_usage before, after;
	int err = wait_attached(d);

	if (!err)
		err = read_usage(d, &before);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	if (!err)
		err = watch(d, d->seconds * 1000);
	clock_gettime(CLOCK_MONOTONIC, &end);
	if (!err)
		err = read_usage(d, &after);
	if (err)
		return err;
	d->used.cpu_ns = after.cpu_ns - before.cpu_ns;
	d->used.switches = after.switches - before.switches;
	d->elapsed_s = (double)(timespec_ns(end) - timespec_ns(begin)) / 1e9;
	return resident(d);
}

static void report(const struct idle *d)
{
	double percent = (double)d->used.cpu_ns / 1e7 / d->elapsed_s;
	struct json_object *o;

	if (!d->json) {
		perf_machine_print(stdout);
		printf("%u endpoints asleep for %.1f s: %.3f ms of processor time, "
		       "%.4f %% of one processor, %llu context switches; "
		       "%llu bytes of stage memory each\n",
		       d->endpoints, d->elapsed_s, (double)d->used.cpu_ns / 1e6, percent,
		       (unsigned long long)d->used.switches,
		       (unsigned long long)(d->resident_bytes / d->endpoints));
		return;
	}
	o = json_object_new_object();
	json_object_object_add(o, "command", json_object_new_string("idle"));
	json_object_object_add(o, "machine", perf_machine_json());
	json_object_object_add(o, "endpoints", json_object_new_uint64(d->endpoints));
	json_object_object_add(o, "seconds", json_object_new_double(d->elapsed_s));
	json_object_object_add(o, "cpu_ns", json_object_new_uint64(d->used.cpu_ns));
	json_object_object_add(o, "context_switches", json_object_new_uint64(d->used.switches));
	json_object_object_add(o, "cpu_percent", json_object_new_double(percent));
	json_object_object_add(o, "resident_bytes", json_object_new_uint64(d->resident_bytes));
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY));
	json_object_put(o);
}

/* Return: 0 go on, 1 done already, or a negative errno. */
static int parse_options(struct idle *d, int argc, char **argv)
{
	static const struct option options[] = {
		{ "endpoints", required_argument, NULL, 'e' },
		{ "seconds", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t endpoints = 100, seconds = 10;
	int opt, err = 0;

	while (!err && (opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'e': err = perf_parse_count("--endpoints", optarg, 1, IDLE_MAX, &endpoints); break;
		case 's': err = perf_parse_count("--seconds", optarg, 1, 86400, &seconds); break;
		case 'j': d->json = true; break;
		case 'h': fputs(usage_text, stdout); return 1;
		default: return -EINVAL;
		}
	}
	if (!err)
		err = perf_no_arguments("idle", argc, argv);
	d->endpoints = (unsigned int)endpoints;
	d->seconds = (unsigned int)seconds;
	return err;
}

int perf_idle_main(int argc, char **argv)
{
	static struct idle d;
	int err = parse_options(&d, argc, argv);

	if (err)
		return err > 0 ? 0 : PERF_EXIT_USAGE;
	d.shared = peer_map(sizeof(*d.shared));
	if (!d.shared) {
		perf_error("no memory");
		return PERF_EXIT_FAILED;
	}
	err = perf_signals_block();
	perf_stages_sweep();
	if (!err)
		err = create_stages(&d);
	if (!err)
		err = start_sleepers(&d);
	if (!err)
		err = look(&d);
	perf_kill(d.pids, (int)d.endpoints);
	for (unsigned int i = 0; i < d.stages; i++)
		sluice_destroy(d.stage[i], 0, SLUICE_DESTROY_FORCE);
	munmap(d.shared, sizeof(*d.shared));
	if (!err)
		report(&d);
	if (err == -EINTR)
		return 130;
	return err ? PERF_EXIT_FAILED : 0;
}
