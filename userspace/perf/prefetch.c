// SPDX-License-Identifier: MIT
/*
 * prefetch.c: sluice-perf prefetch: payloads asked for ahead, and buffers kept ready
 */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sluice/batch.h>

#include "peer.h"
#include "perf.h"
#include "stats.h"

#define ROUNDS_MAX	100u
#define RUN		8u	/* buffers that are written into in turn */
#define LINE		64u
#define TIMEOUT_S	120u
#define TAKES		200u
#define CROWD		1024u	/* buffers of a pool that others hold */

static const char usage_text[] =
"usage: sluice-perf prefetch [OPTION...]\n"
"\n"
"1. A producer writes a run of payloads on one processor (few: they are still in a cache; 64 MiB:\n"
"   they are not), a consumer on another reads a byte of each cache line, with sluice_prefetch()\n"
"   of the next message before it works on this one, for some sizes; all in turn in each round.\n"
"   The time of the work alone, with and without.\n"
"2. A payload is written into a buffer that is touched for the first time; into one that the\n"
"   process had before; into one that was kept ready (sluice_ready_take).\n"
"3. A buffer is taken from a pool where all others are held: by looking for it, from those kept\n"
"   ready.\n"
"\n"
"  --runs N         of messages in a round, default 3\n"
"  --rounds N       default 9\n"
"  --cpus A,B       default the first two\n"
"  --json           JSON instead of the table\n"
"  --plot-file FILE figures for gnuplot into FILE\n"
"  --quiet          no progress on standard error\n"
"\n"
"us: for a message, the median over the rounds of the medians of each; ratio: to the first row of\n"
"its group in the same round.\n"
"\n"
"example: sluice-perf prefetch --rounds 15\n";

#define CASES	4u
static const struct {
	uint32_t size, run;
} cases[CASES] = { { 16384, 64 }, { 16384, 4096 }, { 1048576, 4 }, { 1048576, 64 } };

/* Rows of each case; those up to READ_16K differ in how much is asked for ahead. */
enum what {
	READ_0, READ_256, READ_1K, READ_4K, READ_16K,
	FIRST_TOUCH, AGAIN, READY,
	SEARCHED, STORED,
	WHATS,
};

static const struct {
	const char *name;
	enum what first;		/* of its group */
	unsigned int prefetch;
} whats[WHATS] = {
	[READ_0]	= { "read, nothing asked for", READ_0, 0 },
	[READ_256]	= { "read, 256 bytes ahead", READ_0, 256 },
	[READ_1K]	= { "read, 1 KiB ahead", READ_0, 1024 },
	[READ_4K]	= { "read, 4 KiB ahead", READ_0, 4096 },
	[READ_16K]	= { "read, 16 KiB ahead", READ_0, 16384 },
	[FIRST_TOUCH]	= { "write, first touch", FIRST_TOUCH, 0 },
	[AGAIN]		= { "write, had it before", FIRST_TOUCH, 0 },
	[READY]		= { "write, kept ready", FIRST_TOUCH, 0 },
	[SEARCHED]	= { "take, the last free one", SEARCHED, 0 },
	[STORED]	= { "take, kept ready", SEARCHED, 0 },
};

struct shared {
	pthread_barrier_t	barrier;
	uint64_t		ticks[WHATS];	/* of this round: a message, the median */
	uint32_t		sum;
};

struct prefetch_perf {
	uint64_t	runs, rounds;
	int		cpus[2];
	bool		json;
	const char	*plot;
	struct shared	*sh;
	double		us[CASES][WHATS][ROUNDS_MAX], ratio[CASES][WHATS][ROUNDS_MAX];
};

/* A process of a round. */
struct part {
	struct prefetch_perf	*p;
	uint32_t		size, run;
	char			stage[SLUICE_NAME_MAX];
};

static int process_fails(void)
{
	perf_error("%s", sluice_error());
	return PERF_EXIT_FAILED;
}

/* ------------------------------------------------------------------- reading --- */

/* Whole runs are published before the consumer begins, and written anew each time. */
static int write_runs(const struct part *part)
{
	struct prefetch_perf *p = part->p;
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	struct sluice_buffer buf;

	if (sluice_ctx_create(0, &ctx) ||
	    sluice_attach(ctx, part->stage, SLUICE_PRODUCER, 0, &out))
		return process_fails();
	for (uint64_t run = 0; run < p->runs * (READ_16K + 1); run++) {
		for (uint32_t i = 0; i < part->run; i++) {
			struct sluice_msg m = { .counter = i, .len = part->size };

			if (sluice_buffer_take(out, &buf, SLUICE_FOREVER))
				return process_fails();
			memset(buf.data, (int)(run + i), part->size);
			m.buffer = buf.index;
			if (sluice_send(out, &m, SLUICE_FOREVER))
				return process_fails();
		}
		pthread_barrier_wait(&p->sh->barrier);
		pthread_barrier_wait(&p->sh->barrier);
	}
	sluice_ctx_destroy(ctx);
	return 0;
}

static uint32_t read_lines(const struct sluice_msg *m)
{
	const volatile unsigned char *data = m->data;
	uint32_t sum = 0;

	for (uint32_t at = 0; at < m->len; at += LINE)
		sum += data[at];
	return sum;
}

/* The first has nobody before it who could ask, the last nobody to ask for. */
static int read_run(const struct part *part, struct sluice_ep *in, unsigned int ahead,
		    uint64_t *sample)
{
	struct prefetch_perf *p = part->p;

	for (uint32_t i = 0; i < part->run; i++) {
		struct sluice_msg m;
		uint64_t begin;

		if (sluice_claim(in, &m, SLUICE_FOREVER))
			return process_fails();
		begin = sluice_ticks();
		if (ahead)
			sluice_prefetch(in, ahead);
		p->sh->sum += read_lines(&m);
		if (i && i < part->run - 1)
			*sample++ = sluice_ticks() - begin;
		if (sluice_ack(in, &m))
			return process_fails();
	}
	return 0;
}

static int read_runs(const struct part *part)
{
	struct prefetch_perf *p = part->p;
	uint64_t *samples[READ_16K + 1], n = part->run - 2;
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	int err = 0;

	for (int what = READ_0; what <= READ_16K; what++) {
		samples[what] = calloc(p->runs, n * sizeof(uint64_t));
		if (!samples[what])
			return PERF_EXIT_FAILED;
	}
	if (sluice_ctx_create(0, &ctx) ||
	    sluice_attach(ctx, part->stage, SLUICE_CONSUMER, 0, &in))
		return process_fails();
	for (uint64_t run = 0; !err && run < p->runs * (READ_16K + 1); run++) {
		int what = (int)(run % (READ_16K + 1));

		pthread_barrier_wait(&p->sh->barrier);
		err = read_run(part, in, whats[what].prefetch,
			       samples[what] + run / (READ_16K + 1) * n);
		pthread_barrier_wait(&p->sh->barrier);
	}
	for (int what = READ_0; what <= READ_16K; what++) {
		stats_sort(samples[what], p->runs * n);
		p->sh->ticks[what] = stats_percentile(samples[what], p->runs * n, 0.5);
		free(samples[what]);
	}
	sluice_ctx_destroy(ctx);
	return err;
}

/* ------------------------------------------------------------------- writing --- */

static void median_of(const struct part *part, enum what what, uint64_t *samples, size_t n)
{
	stats_sort(samples, n);
	part->p->sh->ticks[what] = stats_percentile(samples, n, 0.5);
}

/* All of them, one after the other: nobody sends, so no buffer comes twice. */
static int write_each(const struct part *part, struct sluice_ep *out, struct sluice_ready *ready,
		      enum what what)
{
	uint64_t samples[RUN];
	struct sluice_buffer buf[RUN];

	for (uint32_t i = 0; i < RUN; i++) {
		uint64_t begin = sluice_ticks();
		int ret = ready ? sluice_ready_take(ready, &buf[i], SLUICE_NOW) :
				  sluice_buffer_take(out, &buf[i], SLUICE_NOW);

		if (ret)
			return process_fails();
		memset(buf[i].data, (int)i, part->size);
		samples[i] = sluice_ticks() - begin;
	}
	for (uint32_t i = 0; i < RUN; i++)
		sluice_buffer_drop(out, &buf[i]);
	median_of(part, what, samples, RUN);
	return 0;
}

/* A process of its own: which pages it has is what is measured. */
static int write_into(const struct part *part)
{
	struct sluice_ready *ready;
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	int err;

	if (sluice_ctx_create(0, &ctx) ||
	    sluice_attach(ctx, part->stage, SLUICE_PRODUCER, 0, &out))
		return process_fails();
	err = write_each(part, out, NULL, FIRST_TOUCH) ?: write_each(part, out, NULL, AGAIN);
	/* Another mapping, which has no page yet. */
	sluice_detach(out);
	if (err || sluice_attach(ctx, part->stage, SLUICE_PRODUCER, 0, &out) ||
	    sluice_ready_create(out, RUN, &ready))
		return err ? err : process_fails();
	err = write_each(part, out, ready, READY);
	sluice_ready_free(ready);
	sluice_ctx_destroy(ctx);
	return err;
}

/* -------------------------------------------------------------------- taking --- */

static int take_last(const struct part *part)
{
	static struct sluice_buffer held[CROWD];
	uint64_t samples[2][TAKES], begin;
	struct sluice_ready *ready;
	struct sluice_ctx *ctx;
	struct sluice_ep *out;

	if (sluice_ctx_create(0, &ctx) ||
	    sluice_attach(ctx, part->stage, SLUICE_PRODUCER, 0, &out))
		return process_fails();
	for (uint32_t i = 0; i < CROWD; i++)
		if (sluice_buffer_take(out, &held[i], SLUICE_NOW))
			return process_fails();
	/* Each time another one comes free: none of those that were taken lately. */
	for (uint32_t i = 0; i < TAKES; i++) {
		struct sluice_buffer *buf = &held[i * 619 % CROWD];

		sluice_buffer_drop(out, buf);
		begin = sluice_ticks();
		if (sluice_buffer_take(out, buf, SLUICE_NOW))
			return process_fails();
		samples[0][i] = sluice_ticks() - begin;
	}
	sluice_buffer_drop(out, &held[0]);
	if (sluice_ready_create(out, 1, &ready))
		return process_fails();
	for (uint32_t i = 0; i < TAKES; i++) {
		begin = sluice_ticks();
		if (sluice_ready_take(ready, &held[0], SLUICE_NOW))
			return process_fails();
		samples[1][i] = sluice_ticks() - begin;
		sluice_ready_put(ready, &held[0]);
	}
	median_of(part, SEARCHED, samples[0], TAKES);
	median_of(part, STORED, samples[1], TAKES);
	sluice_ready_free(ready);
	sluice_ctx_destroy(ctx);
	return 0;
}

/* --------------------------------------------------------------------- rounds --- */

/* One or two processes, on the processors of producer and consumer, and their stage. */
static int run_parts(struct part *part, int (*first)(const struct part *),
		     int (*second)(const struct part *), uint32_t nbufs)
{
	int (*const mains[2])(const struct part *) = { first, second };
	struct sluice_create c = { .nslots = 4096, .nbufs = nbufs, .bufsize = part->size };
	int status[2] = { 0, 0 }, err = 0;
	pid_t pids[2] = { 0, 0 };

	perf_stage_name(c.name, "prefetch");
	strcpy(part->stage, c.name);
	if (sluice_create(&c))
		return -process_fails();
	for (int i = 0; i < 2 && mains[i] && !err; i++) {
		pids[i] = perf_fork_on(part->p->cpus[i]);
		if (!pids[i])
			_exit(mains[i](part));
		if (pids[i] < 0) {
			perf_error("cannot start a process: %s", strerror(-pids[i]));
			err = pids[i];
			pids[i] = 0;
			perf_kill(pids, 2);
		}
	}
	if (!err) {
		err = perf_wait(pids, status, second ? 2 : 1, TIMEOUT_S);
		if (err && err != -ECHILD)
			perf_error("%s", strerror(-err));
	}
	sluice_destroy(part->stage, 0, SLUICE_DESTROY_FORCE);
	return err;
}

static int one_round(struct prefetch_perf *p, unsigned int round)
{
	perf_progress("round %u of %llu", round + 1, (unsigned long long)p->rounds);
	for (unsigned int at = 0; at < CASES; at++) {
		struct part part = { .p = p, .size = cases[at].size, .run = cases[at].run };
		int err = run_parts(&part, write_runs, read_runs, part.run);

		err = err ?: run_parts(&part, write_into, NULL, RUN);
		part.size = 4096;
		err = err ?: run_parts(&part, take_last, NULL, CROWD);
		if (err)
			return err;
		for (int what = 0; what < WHATS; what++)
			p->us[at][what][round] =
				(double)sluice_ticks_to_ns(p->sh->ticks[what]) / 1e3;
		for (int what = 0; what < WHATS; what++)
			p->ratio[at][what][round] = p->us[at][what][round] /
						    p->us[at][whats[what].first][round];
	}
	return 0;
}

/* --------------------------------------------------------------------- report --- */

/* What does not depend on the case is reported with the first one. */
static bool is_reported(unsigned int at, int what)
{
	return what <= READ_16K || (what < SEARCHED ? at % 2 == 0 : at == 0);
}

static void report_table(const struct prefetch_perf *p)
{
	perf_machine_print(stdout);
	printf("%llu runs, %llu rounds\n\n", (unsigned long long)p->runs,
	       (unsigned long long)p->rounds);
	printf("%8s %6s  %-26s %10s %19s %7s %12s\n", "payload", "run", "", "us", "least..most",
	       "ratio", "least..most");
	for (unsigned int at = 0; at < CASES; at++)
		for (int what = 0; what < WHATS; what++) {
			struct stats_spread us = stats_spread(p->us[at][what], p->rounds);
			struct stats_spread ratio = stats_spread(p->ratio[at][what], p->rounds);
			char a[32], b[32];

			if (!is_reported(at, what))
				continue;
			snprintf(a, sizeof(a), "%.2f..%.2f", us.min, us.max);
			snprintf(b, sizeof(b), "%.2f..%.2f", ratio.min, ratio.max);
			printf("%8u %6u  %-26s %10.3f %19s %7.3f %12s\n", cases[at].size,
			       cases[at].run, whats[what].name, us.median, a, ratio.median, b);
		}
}

static void report_json(const struct prefetch_perf *p)
{
	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();

	json_object_object_add(o, "machine", perf_machine_json());
	json_object_object_add(o, "rows", rows);
	for (unsigned int at = 0; at < CASES; at++)
		for (int what = 0; what < WHATS; what++) {
			struct json_object *row;

			if (!is_reported(at, what))
				continue;
			row = json_object_new_object();
			json_object_object_add(row, "payload",
					       json_object_new_int64(cases[at].size));
			json_object_object_add(row, "run", json_object_new_int64(cases[at].run));
			json_object_object_add(row, "what",
					       json_object_new_string(whats[what].name));
			json_object_object_add(row, "us", json_object_new_double(
				stats_median(p->us[at][what], p->rounds)));
			json_object_object_add(row, "ratio", json_object_new_double(
				stats_median(p->ratio[at][what], p->rounds)));
			json_object_array_add(rows, row);
		}
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY));
	json_object_put(o);
}

/* A line for each way to read: ratios of each case. */
static int write_plot(const struct prefetch_perf *p)
{
	FILE *f = fopen(p->plot, "we");

	if (!f) {
		perf_error("cannot write '%s': %s", p->plot, strerror(errno));
		return -errno;
	}
	fputs("what", f);
	for (unsigned int at = 0; at < CASES; at++)
		fprintf(f, "\t\"%u x %u KiB\"", cases[at].run, cases[at].size / 1024);
	fputc('\n', f);
	for (int what = READ_0; what <= READ_16K; what++) {
		fprintf(f, "\"%s\"", whats[what].name);
		for (unsigned int at = 0; at < CASES; at++)
			fprintf(f, "\t%.4f", stats_median(p->ratio[at][what], p->rounds));
		fputc('\n', f);
	}
	return fclose(f) ? -errno : 0;
}

/* ----------------------------------------------------------------------- main --- */

/* Return: 0 go on, 1 done already, or a negative errno. */
static int parse_options(struct prefetch_perf *p, int argc, char **argv)
{
	static const struct option options[] = {
		{ "runs", required_argument, NULL, 'n' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "cpus", required_argument, NULL, 'c' },
		{ "json", no_argument, NULL, 'j' },
		{ "plot-file", required_argument, NULL, 'p' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *cpus = NULL;
	int opt, err = 0;

	while (!err && (opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'n': err = perf_parse_count("--runs", optarg, 1, 100000, &p->runs); break;
		case 'r':
			err = perf_parse_count("--rounds", optarg, 1, ROUNDS_MAX, &p->rounds);
			break;
		case 'c': cpus = optarg; break;
		case 'j': p->json = true; break;
		case 'p': p->plot = optarg; break;
		case 'q': perf_set_quiet(true); break;
		case 'h': fputs(usage_text, stdout); return 1;
		default: return -EINVAL;
		}
	}
	if (!err)
		err = perf_no_arguments("prefetch", argc, argv);
	return err ? err : perf_parse_cpus(cpus, p->cpus);
}

static int setup(struct prefetch_perf *p)
{
	pthread_barrierattr_t attr;
	int err = perf_signals_block();

	if (err)
		return err;
	p->sh = peer_map(sizeof(*p->sh));
	if (!p->sh) {
		perf_error("no memory");
		return -ENOMEM;
	}
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&p->sh->barrier, &attr, 2);
	pthread_barrierattr_destroy(&attr);
	perf_stages_sweep();
	return 0;
}

int perf_prefetch_main(int argc, char **argv)
{
	static struct prefetch_perf p = { .runs = 3, .rounds = 9 };
	int err = parse_options(&p, argc, argv);

	if (err)
		return err > 0 ? 0 : PERF_EXIT_USAGE;
	err = setup(&p);
	for (unsigned int round = 0; !err && round < p.rounds; round++)
		err = one_round(&p, round);
	if (!err && p.plot)
		err = write_plot(&p);
	if (err)
		return PERF_EXIT_FAILED;
	if (p.json)
		report_json(&p);
	else
		report_table(&p);
	return 0;
}
