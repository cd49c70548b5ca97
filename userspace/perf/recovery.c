// SPDX-License-Identifier: MIT
/*
 * recovery.c: sluice-perf recovery: from the death of a consumer to its message elsewhere
 */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "peer.h"
#include "perf.h"
#include "stats.h"

#define RECOVERY_MAX	100000
#define PATIENCE_MS	30000

static const char usage_text[] =
"usage: sluice-perf recovery [OPTION...]\n"
"\n"
"A consumer claims a message and is killed (SIGKILL) with it. A second one sleeps in\n"
"sluice_claim(). How long from the kill until the second has the message? Beside it\n"
"the floor: how long from the kill until the parent can reap the process.\n"
"\n"
"  --rounds N   kills of each kind, default 200\n"
"  --json       JSON instead of the table\n"
"  --quiet      no progress on standard error\n"
"\n"
"The kinds: the victim only holds its claim; it also has a command parked in io_uring\n"
"(which the kernel has to give up first, and on 6.1 cannot cancel).\n"
"\n"
"example: sluice-perf recovery --rounds 500\n";

enum kind { HOLDS, PARKED, KINDS };

static const char *const kind_names[KINDS] = { "holds a claim", "and a parked command" };

struct recovery_shared {
	uint32_t claimed;	/* the victim has the message */
	uint32_t look;		/* round in which the second consumer shall begin to wait */
	uint32_t got;		/* round whose message it has */
	uint64_t at;		/* ticks when it had it */
	char error[256];
};

struct recovery {
	unsigned int rounds;
	bool json;
	char stage[2][SLUICE_NAME_MAX];		/* the second: for the parked command */
	unsigned int stages;
	struct recovery_shared *sh;
	pid_t standby;
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	uint64_t *redelivered[KINDS];		/* ns */
	uint64_t *reaped[KINDS];
};

static uint32_t get(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static void set(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_SEQ_CST);
}

static void nap(long us)
{
	struct timespec t = { 0, us * 1000 };

	nanosleep(&t, NULL);
}

/* ------------------------------------------------------------- processes --- */

static int process_fails(struct recovery_shared *sh)
{
	snprintf(sh->error, sizeof(sh->error), "%s", sluice_error());
	return PERF_EXIT_FAILED;
}

/* Claims one message and never gives it back. */
static int victim(struct recovery *r, enum kind kind)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *in, *other;
	struct sluice_msg msg;

	if (sluice_ctx_create(SLUICE_CTX_NO_SPIN, &ctx) ||
	    sluice_attach(ctx, r->stage[0], SLUICE_CONSUMER, 0, &in) ||
	    sluice_attach(ctx, r->stage[1], SLUICE_CONSUMER, 0, &other) ||
	    sluice_claim(in, &msg, SLUICE_FOREVER))
		return process_fails(r->sh);
	set(&r->sh->claimed, 1);
	if (kind == PARKED)
		sluice_claim(other, &msg, SLUICE_FOREVER);
	for (;;)
		pause();
}

/* The second consumer, over all rounds; ends when it is killed. */
static int standby(struct recovery *r)
{
	struct recovery_shared *sh = r->sh;
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	struct sluice_msg msg;

	if (sluice_ctx_create(SLUICE_CTX_NO_SPIN, &ctx) ||
	    sluice_attach(ctx, r->stage[0], SLUICE_CONSUMER, 0, &in))
		return process_fails(sh);
	for (;;) {
		while (get(&sh->look) == get(&sh->got))
			nap(200);
		if (sluice_claim(in, &msg, SLUICE_FOREVER))
			return process_fails(sh);
		sh->at = sluice_ticks();
		if (sluice_ack(in, &msg))
			return process_fails(sh);
		set(&sh->got, get(&sh->look));
	}
}

/* ------------------------------------------------------------------ round --- */

static int fail(struct recovery *r, const char *what)
{
	perf_error("%s: %s", what, r->sh->error[0] ? r->sh->error : "it did not happen in time");
	return -ETIMEDOUT;
}

/* Until the stages have so many sleepers: then whoever shall sleep does. */
static int await_sleepers(struct recovery *r, int stage, uint32_t n)
{
	struct sluice_info info;

	for (int ms = 0; ms < PATIENCE_MS; ms++) {
		if (sluice_info(r->stage[stage], &info)) {
			perf_error("%s", sluice_error());
			return -EIO;
		}
		if (info.ready_sleepers >= n)
			return 0;
		nap(1000);
	}
	return fail(r, "the consumers do not fall asleep");
}

static int await_word(struct recovery *r, const uint32_t *word, uint32_t value, const char *what)
{
	for (int ms = 0; get(word) != value; ms++) {
		if (ms == PATIENCE_MS || r->sh->error[0])
			return fail(r, what);
		nap(1000);
	}
	return 0;
}

static int one_kill(struct recovery *r, enum kind kind, unsigned int i, pid_t pid)
{
	struct sluice_msg msg = { .buffer = SLUICE_NO_BUFFER };
	struct recovery_shared *sh = r->sh;
	uint64_t begin, reaped;
	int err, status;

	if (sluice_send(r->out, &msg, SLUICE_FOREVER)) {
		perf_error("%s", sluice_error());
		return -EIO;
	}
	err = await_word(r, &sh->claimed, 1, "the victim gets no message");
	if (err)
		return err;
	set(&sh->look, get(&sh->look) + 1);
	err = await_sleepers(r, 0, 1);
	if (!err && kind == PARKED)
		err = await_sleepers(r, 1, 1);
	if (err)
		return err;
	begin = sluice_ticks();
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	reaped = sluice_ticks();
	err = await_word(r, &sh->got, get(&sh->look), "the message does not come back");
	if (err)
		return err;
	r->redelivered[kind][i] = sluice_ticks_to_ns(sh->at - begin);
	r->reaped[kind][i] = sluice_ticks_to_ns(reaped - begin);
	return 0;
}

static int one_round(struct recovery *r, enum kind kind, unsigned int i)
{
	pid_t pid;
	int err;

	set(&r->sh->claimed, 0);
	pid = perf_fork();
	if (pid == 0)
		_exit(victim(r, kind));
	if (pid < 0) {
		perf_error("cannot start a process: %s", strerror(-pid));
		return pid;
	}
	err = one_kill(r, kind, i, pid);
	if (err) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return err;
}

/* The kinds in turn, so that a noisy second hits both alike. */
static int all_rounds(struct recovery *r)
{
	int err = 0;

	for (unsigned int i = 0; i < r->rounds && !err; i++) {
		for (int kind = 0; kind < KINDS && !err; kind++)
			err = one_round(r, (enum kind)kind, i);
		if ((i + 1) % 50 == 0)
			perf_progress("%u/%u kills of each kind", i + 1, r->rounds);
	}
	return err;
}

/* ----------------------------------------------------------------- report --- */

static const double shown[] = { 0.5, 0.9, 0.99, 1 };
static const char *const shown_names[] = { "p50", "p90", "p99", "max" };

#define N_SHOWN	(sizeof(shown) / sizeof(shown[0]))

static void report_row(const char *name, const char *what, const uint64_t *sorted, unsigned int n)
{
	printf("%-24s %-16s", name, what);
	for (size_t p = 0; p < N_SHOWN; p++)
		printf(" %10.1f", (double)stats_percentile(sorted, n, shown[p]) / 1e3);
	putchar('\n');
}

static struct json_object *report_json(const uint64_t *sorted, unsigned int n)
{
	struct json_object *o = json_object_new_object();

	for (size_t p = 0; p < N_SHOWN; p++)
		json_object_object_add(o, shown_names[p],
				       json_object_new_uint64(stats_percentile(sorted, n,
									       shown[p])));
	return o;
}

static void report(struct recovery *r)
{
	struct json_object *o, *k;

	for (int kind = 0; kind < KINDS; kind++) {
		stats_sort(r->redelivered[kind], r->rounds);
		stats_sort(r->reaped[kind], r->rounds);
	}
	if (!r->json) {
		perf_machine_print(stdout);
		printf("from SIGKILL, in us, %u kills of each kind\n\n", r->rounds);
		printf("%-24s %-16s", "the victim", "until");
		for (size_t p = 0; p < N_SHOWN; p++)
			printf(" %10s", shown_names[p]);
		putchar('\n');
		for (int kind = 0; kind < KINDS; kind++) {
			report_row(kind_names[kind], "redelivered", r->redelivered[kind], r->rounds);
			report_row("", "reaped (floor)", r->reaped[kind], r->rounds);
		}
		return;
	}
	o = json_object_new_object();
	json_object_object_add(o, "command", json_object_new_string("recovery"));
	json_object_object_add(o, "machine", perf_machine_json());
	json_object_object_add(o, "rounds", json_object_new_uint64(r->rounds));
	for (int kind = 0; kind < KINDS; kind++) {
		k = json_object_new_object();
		json_object_object_add(k, "redelivered_ns", report_json(r->redelivered[kind],
									r->rounds));
		json_object_object_add(k, "reaped_ns", report_json(r->reaped[kind], r->rounds));
		json_object_object_add(o, kind == HOLDS ? "holds" : "parked", k);
	}
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY));
	json_object_put(o);
}

/* ------------------------------------------------------------------- main --- */

/* Return: 0 go on, 1 done already, or a negative errno. */
static int parse_options(struct recovery *r, int argc, char **argv)
{
	static const struct option options[] = {
		{ "rounds", required_argument, NULL, 'r' },
		{ "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t rounds = 200;
	int opt, err = 0;

	while (!err && (opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'r': err = perf_parse_count("--rounds", optarg, 1, RECOVERY_MAX, &rounds); break;
		case 'j': r->json = true; break;
		case 'q': perf_set_quiet(true); break;
		case 'h': fputs(usage_text, stdout); return 1;
		default: return -EINVAL;
		}
	}
	if (!err)
		err = perf_no_arguments("recovery", argc, argv);
	r->rounds = (unsigned int)rounds;
	return err;
}

static int setup(struct recovery *r)
{
	int err = 0;

	for (int kind = 0; kind < KINDS; kind++) {
		r->redelivered[kind] = calloc(r->rounds, sizeof(uint64_t));
		r->reaped[kind] = calloc(r->rounds, sizeof(uint64_t));
		if (!r->redelivered[kind] || !r->reaped[kind])
			err = -ENOMEM;
	}
	r->sh = peer_map(sizeof(*r->sh));
	if (err || !r->sh) {
		perf_error("no memory");
		return -ENOMEM;
	}
	perf_stages_sweep();
	for (; r->stages < 2 && !err; r->stages += !err) {
		struct sluice_create c = { .nslots = SLUICE_MIN_SLOTS };

		perf_stage_name(r->stage[r->stages], r->stages ? "parked" : "recovery");
		memcpy(c.name, r->stage[r->stages], sizeof(c.name));
		err = sluice_create(&c);
	}
	if (!err)
		r->standby = perf_fork();
	if (!err && r->standby == 0)
		_exit(standby(r));
	if (!err)
		err = sluice_ctx_create(0, &r->ctx);
	if (!err)
		err = sluice_attach(r->ctx, r->stage[0], SLUICE_PRODUCER, 0, &r->out);
	if (err)
		perf_error("%s", sluice_error());
	return err;
}

int perf_recovery_main(int argc, char **argv)
{
	static struct recovery r;
	int err = parse_options(&r, argc, argv);

	if (err)
		return err > 0 ? 0 : PERF_EXIT_USAGE;
	err = setup(&r);
	if (!err)
		err = all_rounds(&r);
	perf_kill(&r.standby, 1);
	sluice_ctx_destroy(r.ctx);
	for (unsigned int i = 0; i < r.stages; i++)
		sluice_destroy(r.stage[i], 0, SLUICE_DESTROY_FORCE);
	if (!err)
		report(&r);
	return err ? PERF_EXIT_FAILED : 0;
}
