// SPDX-License-Identifier: MIT
/*
 * balance.c: sluice-perf balance: how each policy spreads work over replicas
 *
 * Service is a sleep, not computing: so there can be more replicas than processors, and what is
 * measured is who gets what.
 */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "peer.h"
#include "perf.h"
#include "stats.h"

/* Those that give a message to one of several; the last one gives it to all. */
#define SHARING_POLICIES	SLUICE_POLICY_BROADCAST

#define REPLICAS_MAX	16u
#define MESSAGES_MAX	100000u
#define STREAMS		16u
#define SKEW_EVERY	10u	/* skewed: each tenth message takes ten times as long */
#define SLOWER		4u	/* one slow replica: so many times slower */
#define PATIENCE_S	600u

static const char usage_text[] =
"usage: sluice-perf balance [OPTION...]\n"
"\n"
"One producer, some replicas, each a process. All policies in turn in each round, over three\n"
"kinds of work: equal; skewed (each tenth message takes ten times as long); and one replica\n"
"that is four times slower than the others.\n"
"\n"
"  --replicas N     default 4, at most 16\n"
"  --messages N     of a run, default 200\n"
"  --service US     time a message takes, in microseconds, default 2000; it is slept\n"
"  --outstanding N  messages under way at a time, default 4 a replica\n"
"  --rounds N       default 3\n"
"  --json           JSON instead of the table\n"
"  --plot-file FILE makespans for gnuplot into FILE\n"
"  --quiet          no progress on standard error\n"
"\n"
"makespan: from the first send to the last ACK, the median over the rounds, and as a ratio to the\n"
"best that is possible: all the work, spread evenly over what the replicas can do.\n"
"fairness: Jain's index of how long the replicas were busy; 1 is even, 1/N is all on one.\n"
"\n"
"example: sluice-perf balance --replicas 3 --service 5000 --plot-file balance.dat\n";

enum work { EQUAL, SKEWED, ONE_SLOW, WORKS };

static const char *const work_names[WORKS] = { "equal", "skewed", "one slow" };

struct balance {
	unsigned int replicas, messages, service_us, outstanding, rounds;
	bool json;
	const char *plot;
	uint64_t *busy;			/* shared: ns, by replica */
	uint64_t *makespan[WORKS][SHARING_POLICIES];	/* ns, by round */
	double fairness[WORKS][SHARING_POLICIES];	/* the sum over the rounds */
};

static uint64_t factor(enum work work, unsigned int replica, uint64_t number)
{
	if (work == SKEWED && number % SKEW_EVERY == SKEW_EVERY - 1)
		return SKEW_EVERY;
	return work == ONE_SLOW && !replica ? SLOWER : 1;
}

/* What an ideal balancer would take, in ns: the work over the speed of all replicas. */
static double ideal(const struct balance *b, enum work work)
{
	double units = 0, speed = b->replicas;

	for (unsigned int i = 0; i < b->messages; i++)
		units += (double)factor(work == SKEWED ? work : EQUAL, 1, i);
	if (work == ONE_SLOW)
		speed -= 1 - 1.0 / SLOWER;
	return units * b->service_us * 1e3 / speed;
}

/* ------------------------------------------------------------- processes --- */

static int process_fails(void)
{
	perf_error("%s", sluice_error());
	return PERF_EXIT_FAILED;
}

static void serve(uint64_t us)
{
	struct timespec t = { .tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000 };

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

/* Until it is told to stop by the kind of a message that never comes back. */
static int replica(struct balance *b, const char *stage, enum work work, unsigned int me)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	struct sluice_msg msg;

	if (sluice_ctx_create(SLUICE_CTX_NO_SPIN, &ctx) ||
	    sluice_attach(ctx, stage, SLUICE_CONSUMER, 0, &in))
		return process_fails();
	for (;;) {
		uint64_t begin;

		if (sluice_claim(in, &msg, SLUICE_FOREVER))
			return process_fails();
		begin = sluice_ticks();
		serve(factor(work, me, msg.counter) * b->service_us);
		__atomic_fetch_add(&b->busy[me], sluice_ticks_to_ns(sluice_ticks() - begin),
				   __ATOMIC_RELAXED);
		if (sluice_ack(in, &msg))
			return process_fails();
	}
}

/* Sends all, with a bounded number under way; returns when the last is acknowledged. */
static int produce(struct balance *b, struct sluice_ctx *ctx, struct sluice_ep *out)
{
	unsigned int sent = 0, done = 0;

	while (done < b->messages) {
		struct sluice_completion c[64];
		int n;

		for (; sent < b->messages && sent - done < b->outstanding; sent++) {
			struct sluice_msg m = {
				.stream = sent % STREAMS, .counter = sent,
				.buffer = SLUICE_NO_BUFFER,
			};

			if (sluice_send_async(out, &m, sent))
				return process_fails();
		}
		n = sluice_completions(ctx, c, 64, PATIENCE_S * 1000000000ll);
		if (n <= 0)
			return process_fails();
		for (int i = 0; i < n; i++)
			if (c[i].result) {
				perf_error("a message failed: %s", strerror(-c[i].result));
				return PERF_EXIT_FAILED;
			}
		done += (unsigned int)n;
	}
	return 0;
}

/* ------------------------------------------------------------------- run --- */

static double jain(const uint64_t *busy, unsigned int n)
{
	double sum = 0, squares = 0;

	for (unsigned int i = 0; i < n; i++) {
		sum += (double)busy[i];
		squares += (double)busy[i] * (double)busy[i];
	}
	return squares > 0 ? sum * sum / (n * squares) : 0;
}

static int start_replicas(struct balance *b, const char *stage, enum work work, pid_t *pids)
{
	struct sluice_info info = { 0 };

	for (unsigned int i = 0; i < b->replicas; i++) {
		pids[i] = perf_fork();
		if (!pids[i])
			_exit(replica(b, stage, work, i));
		if (pids[i] < 0) {
			perf_error("cannot start a process: %s", strerror(-pids[i]));
			pids[i] = 0;
			return -EAGAIN;
		}
	}
	for (unsigned int ms = 0; ms < 30000; ms++) {
		if (sluice_info(stage, &info))
			return -process_fails();
		if (info.consumers == b->replicas)
			return 0;
		serve(1000);
	}
	perf_error("the replicas do not attach");
	return -ETIMEDOUT;
}

static int measure(struct balance *b, const char *stage, enum work work, unsigned int policy,
		   unsigned int round)
{
	struct sluice_ctx *ctx = NULL;
	struct sluice_ep *out;
	uint64_t begin;
	int err = 0;

	if (sluice_ctx_create(SLUICE_CTX_NO_SPIN, &ctx) ||
	    sluice_attach(ctx, stage, SLUICE_PRODUCER, 0, &out))
		err = process_fails();
	begin = sluice_ticks();
	if (!err)
		err = produce(b, ctx, out);
	b->makespan[work][policy][round] = sluice_ticks_to_ns(sluice_ticks() - begin);
	b->fairness[work][policy] += jain(b->busy, b->replicas);
	sluice_ctx_destroy(ctx);
	return err;
}

static int one_run(struct balance *b, enum work work, unsigned int policy, unsigned int round)
{
	struct sluice_create c = { .nslots = 4096, .policy = policy };
	pid_t pids[REPLICAS_MAX] = { 0 };
	int err;

	perf_stage_name(c.name, "balance");
	memset(b->busy, 0, b->replicas * sizeof(*b->busy));
	if (sluice_create(&c))
		return process_fails();
	err = start_replicas(b, c.name, work, pids);
	if (!err)
		err = measure(b, c.name, work, policy, round);
	perf_kill(pids, (int)b->replicas);
	sluice_destroy(c.name, 0, SLUICE_DESTROY_FORCE);
	return err;
}

static int all_runs(struct balance *b)
{
	for (unsigned int round = 0; round < b->rounds; round++)
		for (int work = 0; work < WORKS; work++)
			for (unsigned int p = 0; p < SHARING_POLICIES; p++) {
				int err = one_run(b, (enum work)work, p, round);

				if (err)
					return err;
				perf_progress("round %u/%u  %-9s %-18s %8.1f ms", round + 1, b->rounds,
					      work_names[work], sluice_policy_name(p),
					      (double)b->makespan[work][p][round] / 1e6);
			}
	return 0;
}

/* ----------------------------------------------------------------- report --- */

static double median_ms(struct balance *b, int work, unsigned int policy)
{
	stats_sort(b->makespan[work][policy], b->rounds);
	return (double)stats_percentile(b->makespan[work][policy], b->rounds, 0.5) / 1e6;
}

static void report_table(struct balance *b)
{
	perf_machine_print(stdout);
	printf("%u replicas, %u messages of %u us, %u under way, %u rounds\n\n", b->replicas,
	       b->messages, b->service_us, b->outstanding, b->rounds);
	printf("%-10s %-18s %12s %8s %10s\n", "work", "policy", "makespan, ms", "x ideal", "fairness");
	for (int work = 0; work < WORKS; work++)
		for (unsigned int p = 0; p < SHARING_POLICIES; p++) {
			double ms = median_ms(b, work, p);

			printf("%-10s %-18s %12.1f %8.2f %10.2f\n", p ? "" : work_names[work],
			       sluice_policy_name(p), ms, ms * 1e6 / ideal(b, (enum work)work),
			       b->fairness[work][p] / b->rounds);
		}
}

static void report_json(struct balance *b)
{
	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();

	json_object_object_add(o, "command", json_object_new_string("balance"));
	json_object_object_add(o, "machine", perf_machine_json());
	json_object_object_add(o, "replicas", json_object_new_uint64(b->replicas));
	json_object_object_add(o, "messages", json_object_new_uint64(b->messages));
	json_object_object_add(o, "service_us", json_object_new_uint64(b->service_us));
	json_object_object_add(o, "outstanding", json_object_new_uint64(b->outstanding));
	json_object_object_add(o, "rounds", json_object_new_uint64(b->rounds));
	json_object_object_add(o, "runs", rows);
	for (int work = 0; work < WORKS; work++)
		for (unsigned int p = 0; p < SHARING_POLICIES; p++) {
			struct json_object *row = json_object_new_object();
			double ms = median_ms(b, work, p);

			json_object_object_add(row, "work", json_object_new_string(work_names[work]));
			json_object_object_add(row, "policy",
					       json_object_new_string(sluice_policy_name(p)));
			json_object_object_add(row, "makespan_ms", json_object_new_double(ms));
			json_object_object_add(row, "times_ideal",
					       json_object_new_double(ms * 1e6 /
								      ideal(b, (enum work)work)));
			json_object_object_add(row, "fairness",
					       json_object_new_double(b->fairness[work][p] /
								      b->rounds));
			json_object_array_add(rows, row);
		}
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY));
	json_object_put(o);
}

/* A line a policy, a column a kind of work: times the ideal makespan. */
static int write_plot(struct balance *b)
{
	FILE *f = fopen(b->plot, "we");

	if (!f) {
		perf_error("cannot write '%s': %s", b->plot, strerror(errno));
		return -errno;
	}
	fputs("policy", f);
	for (int work = 0; work < WORKS; work++)
		fprintf(f, "\t\"%s\"", work_names[work]);
	for (unsigned int p = 0; p < SHARING_POLICIES; p++) {
		fprintf(f, "\n%s", sluice_policy_name(p));
		for (int work = 0; work < WORKS; work++)
			fprintf(f, "\t%.3f", median_ms(b, work, p) * 1e6 / ideal(b, (enum work)work));
	}
	fputc('\n', f);
	return fclose(f) ? -errno : 0;
}

/* ------------------------------------------------------------------- main --- */

/* Return: 0 go on, 1 done already, or a negative errno. */
static int parse_options(struct balance *b, int argc, char **argv)
{
	static const struct option options[] = {
		{ "replicas", required_argument, NULL, 'n' },
		{ "messages", required_argument, NULL, 'm' },
		{ "service", required_argument, NULL, 's' },
		{ "outstanding", required_argument, NULL, 'o' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "plot-file", required_argument, NULL, 'p' },
		{ "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t n = 4, messages = 200, service = 2000, outstanding = 0, rounds = 3;
	int opt, err = 0;

	while (!err && (opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'n': err = perf_parse_count("--replicas", optarg, 2, REPLICAS_MAX, &n); break;
		case 'm': err = perf_parse_count("--messages", optarg, 1, MESSAGES_MAX, &messages); break;
		case 's': err = perf_parse_count("--service", optarg, 1, 10000000, &service); break;
		case 'o': err = perf_parse_count("--outstanding", optarg, 1, 1000, &outstanding); break;
		case 'r': err = perf_parse_count("--rounds", optarg, 1, 1000, &rounds); break;
		case 'p': b->plot = optarg; break;
		case 'j': b->json = true; break;
		case 'q': perf_set_quiet(true); break;
		case 'h': fputs(usage_text, stdout); return 1;
		default: return -EINVAL;
		}
	}
	if (!err)
		err = perf_no_arguments("balance", argc, argv);
	b->replicas = (unsigned int)n;
	b->messages = (unsigned int)messages;
	b->service_us = (unsigned int)service;
	b->outstanding = (unsigned int)(outstanding ?: 4 * n);
	b->rounds = (unsigned int)rounds;
	return err;
}

static int setup(struct balance *b)
{
	b->busy = peer_map(REPLICAS_MAX * sizeof(*b->busy));
	for (int work = 0; work < WORKS; work++)
		for (unsigned int p = 0; p < SHARING_POLICIES; p++) {
			b->makespan[work][p] = calloc(b->rounds, sizeof(uint64_t));
			if (!b->makespan[work][p])
				b->busy = NULL;
		}
	if (!b->busy) {
		perf_error("no memory");
		return -ENOMEM;
	}
	perf_stages_sweep();
	return 0;
}

int perf_balance_main(int argc, char **argv)
{
	static struct balance b;
	int err = parse_options(&b, argc, argv);

	if (err)
		return err > 0 ? 0 : PERF_EXIT_USAGE;
	err = setup(&b) ?: all_runs(&b);
	if (!err && b.plot)
		err = write_plot(&b);
	if (err)
		return PERF_EXIT_FAILED;
	if (b.json)
		report_json(&b);
	else
		report_table(&b);
	return 0;
}
