// SPDX-License-Identifier: MIT
/*
 * priority.c: sluice-perf priority: what a flood of low messages does to a high one
 *
 * Service is a sleep unless --busy says otherwise, as in balance.c: so there can be more replicas
 * than processors, and what is measured is who gets what.
 */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <sluice/lanes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "peer.h"
#include "perf.h"
#include "stats.h"

#define REPLICAS_MAX	16u
#define MESSAGES_MAX	100000u
#define SLOTS		64u		/* of each lane: what the flood fills */
#define PATIENCE_NS	(600 * 1000000000ll)
#define FLOOD_STREAM	1u
#define HIGH_STREAM	2u

static const char usage_text[] =
"usage: sluice-perf priority [OPTION...]\n"
"\n"
"A high class and a low class of messages, served by the same replicas. The high one sends a\n"
"message, waits until it is acknowledged, thinks for a while, sends the next. That is measured\n"
"while nobody else sends (idle), and while a producer of the low class keeps its ring full\n"
"(flood), with\n"
"\n"
"  shared    one stage for both classes\n"
"  lanes     a stage for each class; all replicas take from both, the high one first\n"
"  reserved  the same, but some replicas take messages of the high class only\n"
"\n"
"  --replicas N     default 2, at most 16\n"
"  --reserve N      replicas that are kept for the high class under 'reserved', default 1\n"
"  --service US     time a message takes, in microseconds, default 1000\n"
"  --low-service US the same for messages of the low class, default as --service\n"
"  --think US       mean time between two messages of the high class, default as --service\n"
"  --busy           compute for that time instead of sleeping\n"
"  --messages N     of the high class, of a run, default 200\n"
"  --rounds N       default 5; all runs in turn in each\n"
"  --json           JSON instead of the table\n"
"  --plot-file FILE percentiles for gnuplot into FILE\n"
"  --quiet          no progress on standard error\n"
"\n"
"Latency: from the send to the ACK, all rounds together. ratio: of the two p99, flood to idle,\n"
"the median over the rounds, and between which values it lies. low: messages of the low class a\n"
"second.\n"
"\n"
"example: sluice-perf priority --replicas 4 --low-service 4000 --plot-file priority.dat\n";

enum setup { SHARED, LANES, RESERVED, SETUPS };
enum load { IDLE, FLOOD, LOADS };

static const char *const setup_names[SETUPS] = { "shared", "lanes", "reserved" };
static const char *const load_names[LOADS] = { "idle", "flood" };
static const char *const classes[] = { "high" };

/* What a run is about, for the processes that play in it. */
struct scene {
	char stage[SLUICE_NAME_MAX];
	enum setup setup;
	enum load load;
};

struct priority {
	unsigned int replicas, reserve, service_us, low_us, think_us, messages, rounds;
	bool busy, json;
	const char *plot;
	uint64_t *low_done;			/* shared: by replica */
	uint64_t *samples[SETUPS][LOADS];	/* ns; [rounds][messages] */
	double *ratio[SETUPS];			/* of the p99, by round */
	double low_rate[SETUPS];		/* the sum over the rounds */
	unsigned int seed;
};

/* ------------------------------------------------------------- processes --- */

static int process_fails(void)
{
	perf_error("%s", sluice_error());
	return PERF_EXIT_FAILED;
}

static void pause_us(uint64_t us)
{
	struct timespec t = {
		.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000,
	};

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

static void serve(const struct priority *p, uint64_t us)
{
	uint64_t begin = sluice_ticks();

	if (!p->busy) {
		pause_us(us);
		return;
	}
	while (sluice_ticks_to_ns(sluice_ticks() - begin) < us * 1000)
		;
}

/* Takes what its setup gives it, until it is killed. */
static int replica(struct priority *p, const struct scene *s, unsigned int me)
{
	bool only_high = s->setup == RESERVED && me < p->reserve;
	unsigned int n = s->setup == SHARED ? 0 : 1;
	struct sluice_lanes *lanes = NULL;
	char high[SLUICE_NAME_MAX];
	struct sluice_ep *from;
	struct sluice_ctx *ctx;
	struct sluice_msg msg;

	if (sluice_ctx_create(SLUICE_CTX_NO_SPIN, &ctx) ||
	    sluice_lane_name(high, s->stage, classes[0]))
		return process_fails();
	if (only_high ? sluice_attach(ctx, high, SLUICE_CONSUMER, 0, &from) :
			sluice_lanes_attach(ctx, s->stage, classes, n, &lanes))
		return process_fails();
	for (;;) {
		if (only_high ? sluice_claim(from, &msg, SLUICE_FOREVER) < 0 :
				sluice_lanes_claim(lanes, &msg, &from, SLUICE_FOREVER) < 0)
			return process_fails();
		serve(p, msg.stream == FLOOD_STREAM ? p->low_us : p->service_us);
		if (sluice_ack(from, &msg))
			return process_fails();
		if (msg.stream == FLOOD_STREAM)
			__atomic_fetch_add(&p->low_done[me], 1, __ATOMIC_RELAXED);
	}
}

static int flood(const struct scene *s)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *out;

	if (sluice_ctx_create(SLUICE_CTX_NO_SPIN, &ctx) ||
	    sluice_attach(ctx, s->stage, SLUICE_PRODUCER, 0, &out))
		return process_fails();
	for (uint64_t i = 0;; i++) {
		struct sluice_msg m = {
			.stream = FLOOD_STREAM, .counter = i, .buffer = SLUICE_NO_BUFFER,
		};

		if (sluice_send(out, &m, SLUICE_FOREVER))
			return process_fails();
	}
}

/* ------------------------------------------------------------------- run --- */

static uint64_t low_done(const struct priority *p)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < p->replicas; i++)
		sum += __atomic_load_n(&p->low_done[i], __ATOMIC_RELAXED);
	return sum;
}

static int start(struct priority *p, const struct scene *s, pid_t *pids)
{
	for (unsigned int i = 0; i < p->replicas + s->load; i++) {
		pids[i] = perf_fork();
		if (!pids[i])
			_exit(i < p->replicas ? replica(p, s, i) : flood(s));
		if (pids[i] < 0) {
			perf_error("cannot start a process: %s", strerror(-pids[i]));
			pids[i] = 0;
			return -EAGAIN;
		}
	}
	return 0;
}

/* Everybody is there, and the flood has come to its level. */
static int await(struct priority *p, const struct scene *s)
{
	unsigned int all = s->setup == RESERVED ? p->replicas - p->reserve : p->replicas;
	char high[SLUICE_NAME_MAX];
	struct sluice_info info = { 0 }, above = { 0 };

	if (sluice_lane_name(high, s->stage, classes[0]))
		return -process_fails();
	for (unsigned int ms = 0; ms < 30000; ms++) {
		if (sluice_info(s->stage, &info) ||
		    (s->setup != SHARED && sluice_info(high, &above)))
			return -process_fails();
		if (info.consumers == all &&
		    (s->setup == SHARED || above.consumers == p->replicas) &&
		    (s->load == IDLE || info.ready + info.claimed >= SLOTS - p->replicas))
			return 0;
		pause_us(1000);
	}
	perf_error("the replicas do not attach, or the flood does not come");
	return -ETIMEDOUT;
}

static int measure(struct priority *p, const struct scene *s, unsigned int round)
{
	uint64_t *samples = p->samples[s->setup][s->load] + (size_t)round * p->messages;
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	int err = 0;

	if (sluice_ctx_create(SLUICE_CTX_NO_SPIN, &ctx))
		return -process_fails();
	if (sluice_lane_attach(ctx, s->stage, s->setup == SHARED ? NULL : classes[0], 0, &out))
		err = -process_fails();
	for (unsigned int i = 0; !err && i < p->messages; i++) {
		struct sluice_msg m = {
			.stream = HIGH_STREAM, .counter = i, .buffer = SLUICE_NO_BUFFER,
		};
		uint64_t begin;

		pause_us((uint64_t)rand_r(&p->seed) % (2 * (uint64_t)p->think_us + 1));
		begin = sluice_ticks();
		if (sluice_send_sync(out, &m, PATIENCE_NS))
			err = -process_fails();
		samples[i] = sluice_ticks_to_ns(sluice_ticks() - begin);
	}
	sluice_ctx_destroy(ctx);
	return err;
}

static int one_run(struct priority *p, struct scene *s, unsigned int round)
{
	static const struct sluice_lane high = { .name = "high" };
	struct sluice_create c = { .nslots = SLOTS };
	unsigned int n = s->setup == SHARED ? 0 : 1;
	pid_t pids[REPLICAS_MAX + 1] = { 0 };
	uint64_t begin, before;
	int err;

	perf_stage_name(c.name, "priority");
	memcpy(s->stage, c.name, sizeof(c.name));
	if (sluice_lanes_create(&c, &high, n))
		return process_fails();
	err = start(p, s, pids);
	if (!err)
		err = await(p, s);
	begin = sluice_ticks();
	before = low_done(p);
	if (!err)
		err = measure(p, s, round);
	if (s->load == FLOOD)
		p->low_rate[s->setup] += (double)(low_done(p) - before) * 1e9 /
			(double)sluice_ticks_to_ns(sluice_ticks() - begin);
	perf_kill(pids, (int)p->replicas + 1);
	sluice_lanes_destroy(c.name, classes, n, 0, SLUICE_DESTROY_FORCE);
	return err;
}

static double p99_of_round(const struct priority *p, const struct scene *s, unsigned int round)
{
	uint64_t *samples = p->samples[s->setup][s->load] + (size_t)round * p->messages;

	stats_sort(samples, p->messages);
	return (double)stats_percentile(samples, p->messages, 0.99);
}

static int all_runs(struct priority *p)
{
	for (unsigned int round = 0; round < p->rounds; round++)
		for (int setup = 0; setup < SETUPS; setup++) {
			double p99[LOADS];

			for (int load = 0; load < LOADS; load++) {
				struct scene s = { .setup = (enum setup)setup,
						   .load = (enum load)load };
				int err = one_run(p, &s, round);

				if (err)
					return err;
				p99[load] = p99_of_round(p, &s, round);
				perf_progress("round %u/%u  %-8s %-5s  p99 %9.0f us", round + 1,
					      p->rounds, setup_names[setup], load_names[load],
					      p99[load] / 1e3);
			}
			p->ratio[setup][round] = p99[FLOOD] / p99[IDLE];
		}
	for (int setup = 0; setup < SETUPS; setup++)
		for (int load = 0; load < LOADS; load++)
			stats_sort(p->samples[setup][load], (size_t)p->rounds * p->messages);
	return 0;
}

/* ----------------------------------------------------------------- report --- */

static const double percentiles[] = { 0.5, 0.99, 0.999 };
static const char *const percentile_names[] = { "p50", "p99", "p99.9" };

#define PERCENTILES	(sizeof(percentiles) / sizeof(percentiles[0]))

static double us(const struct priority *p, int setup, int load, size_t which)
{
	return (double)stats_percentile(p->samples[setup][load], (size_t)p->rounds * p->messages,
					percentiles[which]) / 1e3;
}

static void report_table(const struct priority *p)
{
	perf_machine_print(stdout);
	printf("%u replicas, %u of them reserved; %u us a message, %u us one of the low class, "
	       "%s;\n%u messages, %u rounds\n\n", p->replicas, p->reserve, p->service_us, p->low_us,
	       p->busy ? "computed" : "slept", p->messages, p->rounds);
	printf("%-10s %-6s %10s %10s %10s   %-22s %10s\n", "", "", "p50, us", "p99, us",
	       "p99.9, us", "ratio of p99", "low, msg/s");
	for (int setup = 0; setup < SETUPS; setup++)
		for (int load = 0; load < LOADS; load++) {
			struct stats_spread r = stats_spread(p->ratio[setup], p->rounds);

			printf("%-10s %-6s %10.0f %10.0f %10.0f", load ? "" : setup_names[setup],
			       load_names[load], us(p, setup, load, 0), us(p, setup, load, 1),
			       us(p, setup, load, 2));
			if (load == FLOOD)
				printf("   %5.2f (%.2f to %.2f) %*s%10.0f", r.median, r.min, r.max, 3,
				       "", p->low_rate[setup] / p->rounds);
			putchar('\n');
		}
}

static struct json_object *row_json(const struct priority *p, int setup, int load)
{
	struct stats_spread r = stats_spread(p->ratio[setup], p->rounds);
	struct json_object *row = json_object_new_object();

	json_object_object_add(row, "setup", json_object_new_string(setup_names[setup]));
	json_object_object_add(row, "load", json_object_new_string(load_names[load]));
	for (size_t i = 0; i < PERCENTILES; i++) {
		char key[32];

		snprintf(key, sizeof(key), "%s_us", percentile_names[i]);
		json_object_object_add(row, key, json_object_new_double(us(p, setup, load, i)));
	}
	if (load == IDLE)
		return row;
	json_object_object_add(row, "ratio_p99", json_object_new_double(r.median));
	json_object_object_add(row, "ratio_p99_min", json_object_new_double(r.min));
	json_object_object_add(row, "ratio_p99_max", json_object_new_double(r.max));
	json_object_object_add(row, "low_per_second",
			       json_object_new_double(p->low_rate[setup] / p->rounds));
	return row;
}

static void report_json(const struct priority *p)
{
	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();
	const struct {
		const char *name;
		unsigned int value;
	} options[] = {
		{ "replicas", p->replicas }, { "reserve", p->reserve },
		{ "service_us", p->service_us }, { "low_service_us", p->low_us },
		{ "think_us", p->think_us }, { "messages", p->messages }, { "rounds", p->rounds },
	};

	json_object_object_add(o, "command", json_object_new_string("priority"));
	json_object_object_add(o, "machine", perf_machine_json());
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		json_object_object_add(o, options[i].name,
				       json_object_new_uint64(options[i].value));
	json_object_object_add(o, "busy", json_object_new_boolean(p->busy));
	json_object_object_add(o, "runs", rows);
	for (int setup = 0; setup < SETUPS; setup++)
		for (int load = 0; load < LOADS; load++)
			json_object_array_add(rows, row_json(p, setup, load));
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY));
	json_object_put(o);
}

/* A line a setup, a column a percentile of each load, in ms. */
static int write_plot(const struct priority *p)
{
	FILE *f = fopen(p->plot, "we");

	if (!f) {
		perf_error("cannot write '%s': %s", p->plot, strerror(errno));
		return -errno;
	}
	fputs("setup", f);
	for (int load = 0; load < LOADS; load++)
		for (size_t i = 0; i < PERCENTILES; i++)
			fprintf(f, "\t\"%s, %s\"", load_names[load], percentile_names[i]);
	for (int setup = 0; setup < SETUPS; setup++) {
		fprintf(f, "\n%s", setup_names[setup]);
		for (int load = 0; load < LOADS; load++)
			for (size_t i = 0; i < PERCENTILES; i++)
				fprintf(f, "\t%.4f", us(p, setup, load, i) / 1e3);
	}
	fputc('\n', f);
	return fclose(f) ? -errno : 0;
}

/* ------------------------------------------------------------------- main --- */

static int check_options(struct priority *p)
{
	if (p->reserve < p->replicas)
		return 0;
	perf_error("--reserve must be less than --replicas: somebody has to serve the low class");
	return -EINVAL;
}

/* Return: 0 go on, 1 done already, or a negative errno. */
static int parse_options(struct priority *p, int argc, char **argv)
{
	static const struct option options[] = {
		{ "replicas", required_argument, NULL, 'n' },
		{ "reserve", required_argument, NULL, 'R' },
		{ "service", required_argument, NULL, 's' },
		{ "low-service", required_argument, NULL, 'l' },
		{ "think", required_argument, NULL, 't' },
		{ "busy", no_argument, NULL, 'b' },
		{ "messages", required_argument, NULL, 'm' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "plot-file", required_argument, NULL, 'p' },
		{ "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t n = 2, reserve = 1, service = 1000, low = 0, think = 0, messages = 200, rounds = 5;
	const uint64_t longest = 10000000;
	int opt, err = 0;

	while (!err && (opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'n': err = perf_parse_count("--replicas", optarg, 2, REPLICAS_MAX, &n); break;
		case 'R': err = perf_parse_count("--reserve", optarg, 1, REPLICAS_MAX, &reserve); break;
		case 's': err = perf_parse_count("--service", optarg, 1, longest, &service); break;
		case 'l': err = perf_parse_count("--low-service", optarg, 1, longest, &low); break;
		case 't': err = perf_parse_count("--think", optarg, 1, longest, &think); break;
		case 'm': err = perf_parse_count("--messages", optarg, 1, MESSAGES_MAX, &messages); break;
		case 'r': err = perf_parse_count("--rounds", optarg, 1, 1000, &rounds); break;
		case 'p': p->plot = optarg; break;
		case 'b': p->busy = true; break;
		case 'j': p->json = true; break;
		case 'q': perf_set_quiet(true); break;
		case 'h': fputs(usage_text, stdout); return 1;
		default: return -EINVAL;
		}
	}
	if (!err)
		err = perf_no_arguments("priority", argc, argv);
	p->replicas = (unsigned int)n;
	p->reserve = (unsigned int)reserve;
	p->service_us = (unsigned int)service;
	p->low_us = (unsigned int)(low ?: service);
	p->think_us = (unsigned int)(think ?: service);
	p->messages = (unsigned int)messages;
	p->rounds = (unsigned int)rounds;
	return err ?: check_options(p);
}

static int setup_memory(struct priority *p)
{
	bool good = true;

	p->low_done = peer_map(REPLICAS_MAX * sizeof(*p->low_done));
	p->seed = 1;
	for (int setup = 0; setup < SETUPS; setup++) {
		p->ratio[setup] = calloc(p->rounds, sizeof(double));
		good &= p->ratio[setup] != NULL;
		for (int load = 0; load < LOADS; load++) {
			p->samples[setup][load] = calloc((size_t)p->rounds * p->messages,
							 sizeof(uint64_t));
			good &= p->samples[setup][load] != NULL;
		}
	}
	if (!p->low_done || !good) {
		perf_error("no memory");
		return -ENOMEM;
	}
	perf_stages_sweep();
	return 0;
}

int perf_priority_main(int argc, char **argv)
{
	static struct priority p;
	int err = parse_options(&p, argc, argv);

	if (err)
		return err > 0 ? 0 : PERF_EXIT_USAGE;
	err = setup_memory(&p) ?: all_runs(&p);
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
