// SPDX-License-Identifier: MIT
/*
 * batch.c: sluice-perf batch: what gathering messages gains and what it costs, over the linger
 */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <sluice/batch.h>

#include "peer.h"
#include "perf.h"
#include "stats.h"

#define MESSAGES_MAX	1000000u
#define ROUNDS_MAX	100u
#define NSLOTS		1024u
#define TIMEOUT_S	120u
#define FLAT_OUT_TIMES	25u	/* so many more messages, for a run to last as long as others */

static const char usage_text[] =
"usage: sluice-perf batch [OPTION...]\n"
"\n"
"One producer, one consumer, each on a processor of its own. The producer gathers runs\n"
"(sluice_batch_add), or the consumer waits for more (sluice_batch_claim), for 0, 10 us, 100 us\n"
"and 1 ms; as fast as they can, and one message every --interval. All in turn in each round.\n"
"\n"
"  --messages N     of a paced run, default 20k; 25 times as many as fast as they can\n"
"  --batch N        messages of a run of the producer or a batch of the consumer, default 32\n"
"  --interval TIME  of the paced load, default 20us\n"
"  --mode MODE      how the consumer waits: sleep (default), adaptive, spin\n"
"  --rounds N       default 5\n"
"  --cpus A,B       default the first two\n"
"  --json           JSON instead of the table\n"
"  --plot-file FILE figures for gnuplot into FILE\n"
"  --quiet          no progress on standard error\n"
"\n"
"latency: from the moment the message was made (paced: was due) until the consumer has it to work\n"
"on; rate: messages a second; ratio: of the rate to that without a linger in the same round;\n"
"kicks: wake-ups the producer asked for, a message; cpu: of both processes, ns a message.\n"
"\n"
"example: sluice-perf batch --mode adaptive --interval 5us\n";

enum side { PRODUCER, CONSUMER, SIDES };
enum load { FLAT_OUT, PACED, LOADS };
#define LINGERS	4u

static const char *const side_names[SIDES] = { "producer", "consumer" };
static const char *const load_names[LOADS] = { "flat out", "paced" };
static const uint64_t lingers[LINGERS] = { 0, 10000, 100000, 1000000 };

/* What the three processes share. */
struct shared {
	pthread_barrier_t	barrier;
	uint64_t		begin, end;
	uint64_t		cpu_ns[2];
	uint64_t		samples[];
};

struct row {
	double rate[ROUNDS_MAX], ratio[ROUNDS_MAX], p50[ROUNDS_MAX], p99[ROUNDS_MAX];
	double kicks[ROUNDS_MAX], cpu[ROUNDS_MAX];
};

struct batch_perf {
	uint64_t	messages, batch, interval_ns, rounds;
	unsigned int	ctx_flags;
	const char	*mode;
	int		cpus[2];
	bool		json;
	const char	*plot;
	uint64_t	interval_ticks;
	struct shared	*sh;
	struct row	rows[LOADS][SIDES][LINGERS];
};

/* One run: who gathers, for how long, under which load. */
struct run {
	struct batch_perf	*p;
	enum side		side;
	enum load		load;
	uint64_t		linger_ns;
	uint64_t		messages;
	char			stage[SLUICE_NAME_MAX];
};

static int process_fails(void)
{
	perf_error("%s", sluice_error());
	return PERF_EXIT_FAILED;
}

static uint64_t cpu_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return ((uint64_t)u.ru_utime.tv_sec + (uint64_t)u.ru_stime.tv_sec) * 1000000000u +
	       ((uint64_t)u.ru_utime.tv_usec + (uint64_t)u.ru_stime.tv_usec) * 1000u;
}

/* -------------------------------------------------------------- the two ends --- */

static int consume(const struct run *r)
{
	struct sluice_msg m[SLUICE_BATCH_MAX];
	struct batch_perf *p = r->p;
	uint64_t linger = r->side == CONSUMER ? r->linger_ns : 0, before;
	struct sluice_ctx *ctx;
	struct sluice_ep *in;

	if (sluice_ctx_create(p->ctx_flags, &ctx) ||
	    sluice_attach(ctx, r->stage, SLUICE_CONSUMER, 0, &in))
		return process_fails();
	pthread_barrier_wait(&p->sh->barrier);
	before = cpu_ns();
	for (uint64_t got = 0; got < r->messages; ) {
		uint64_t left = r->messages - got, now;
		int n = sluice_batch_claim(in, m, (int)(left < p->batch ? left : p->batch),
					   SLUICE_FOREVER, linger);

		if (n <= 0)
			return process_fails();
		now = sluice_ticks();
		for (int i = 0; i < n; i++)
			p->sh->samples[m[i].counter] = now - m[i].stream;
		if (sluice_ack_batch(in, m, n) != n)
			return process_fails();
		got += (uint64_t)n;
	}
	p->sh->end = sluice_ticks();
	p->sh->cpu_ns[CONSUMER] = cpu_ns() - before;
	sluice_ctx_destroy(ctx);
	return 0;
}

/* The stream is the moment when the message was made. */
static int send_one(struct sluice_batch *b, struct sluice_ep *out, uint64_t counter, uint64_t made)
{
	struct sluice_msg m = { .stream = made, .counter = counter, .buffer = SLUICE_NO_BUFFER };
	int ret;

	if (!b)
		return sluice_send(out, &m, SLUICE_FOREVER);
	while ((ret = sluice_batch_add(b, &m)) == -EAGAIN)
		sluice_batch_flush(b, SLUICE_FOREVER);
	return ret < 0 ? ret : 0;
}

/* A run that finds no room stays gathered, and is late: that is what is measured. */
static int poll_run(struct sluice_batch *b)
{
	int ret = b ? sluice_batch_poll(b) : 0;

	return ret < 0 && ret != -EAGAIN ? ret : 0;
}

static int produce_all(const struct run *r, struct sluice_batch *b, struct sluice_ep *out)
{
	struct batch_perf *p = r->p;
	uint64_t due = p->sh->begin;

	for (uint64_t i = 0; i < r->messages; i++) {
		if (r->load == FLAT_OUT) {
			due = sluice_ticks();
		} else {
			due += p->interval_ticks;
			while ((int64_t)(sluice_ticks() - due) < 0)
				if (poll_run(b))
					return -EIO;
		}
		if (send_one(b, out, i, due))
			return -EIO;
	}
	while (b && sluice_batch_count(b))
		if (sluice_batch_flush(b, SLUICE_FOREVER) < 0)
			return -EIO;
	return 0;
}

static int produce(const struct run *r)
{
	struct sluice_batch *b = NULL;
	struct batch_perf *p = r->p;
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	uint64_t before;

	/* Without a linger it is a plain send, on either side. */
	if (sluice_ctx_create(p->ctx_flags, &ctx) ||
	    sluice_attach(ctx, r->stage, SLUICE_PRODUCER, 0, &out) ||
	    (r->side == PRODUCER && r->linger_ns &&
	     sluice_batch_create(out, (unsigned int)p->batch, r->linger_ns, &b)))
		return process_fails();
	pthread_barrier_wait(&p->sh->barrier);
	before = cpu_ns();
	p->sh->begin = sluice_ticks();
	if (produce_all(r, b, out))
		return process_fails();
	p->sh->cpu_ns[PRODUCER] = cpu_ns() - before;
	sluice_batch_free(b);
	sluice_ctx_destroy(ctx);
	return 0;
}

/* ---------------------------------------------------------------------- runs --- */

static int play(const struct run *r)
{
	int (*const ends[SIDES])(const struct run *) = { produce, consume };
	int status[2] = { 0, 0 }, err;
	pid_t pids[2] = { 0, 0 };

	for (int side = PRODUCER; side < SIDES; side++) {
		pids[side] = perf_fork_on(r->p->cpus[side]);
		if (!pids[side])
			_exit(ends[side](r));
		if (pids[side] < 0) {
			err = pids[side];
			pids[side] = 0;
			perf_kill(pids, 2);
			perf_error("cannot start a process: %s", strerror(-err));
			return err;
		}
	}
	err = perf_wait(pids, status, 2, TIMEOUT_S);
	if (err && err != -ECHILD)
		perf_error("%s", strerror(-err));
	return err;
}

static void keep(struct batch_perf *p, const struct run *r, unsigned int at, unsigned int round,
		 double kicks)
{
	struct row *row = &p->rows[r->load][r->side][at];
	struct shared *sh = p->sh;

	stats_sort(sh->samples, r->messages);
	row->rate[round] = (double)r->messages * 1e9 /
			   (double)sluice_ticks_to_ns(sh->end - sh->begin);
	row->ratio[round] = row->rate[round] / p->rows[r->load][r->side][0].rate[round];
	row->p50[round] = (double)sluice_ticks_to_ns(
		stats_percentile(sh->samples, r->messages, 0.5)) / 1e3;
	row->p99[round] = (double)sluice_ticks_to_ns(
		stats_percentile(sh->samples, r->messages, 0.99)) / 1e3;
	row->kicks[round] = kicks / (double)r->messages;
	row->cpu[round] = (double)(sh->cpu_ns[0] + sh->cpu_ns[1]) / (double)r->messages;
}

static int one_run(struct run *r, unsigned int at, unsigned int round)
{
	struct sluice_create c = { .nslots = NSLOTS };
	struct sluice_info info;
	int err;

	perf_stage_name(c.name, "batch");
	strcpy(r->stage, c.name);
	if (sluice_create(&c))
		return -process_fails();
	err = play(r);
	if (!err && sluice_info(r->stage, &info))
		err = -process_fails();
	if (!err)
		keep(r->p, r, at, round, (double)info.kicks);
	sluice_destroy(r->stage, 0, SLUICE_DESTROY_FORCE);
	return err;
}

static int one_round(struct batch_perf *p, unsigned int round)
{
	int err = 0;

	perf_progress("round %u of %llu", round + 1, (unsigned long long)p->rounds);
	for (int load = 0; load < LOADS; load++)
		for (unsigned int at = 0; at < LINGERS; at++)
			for (int side = 0; !err && side < SIDES; side++) {
				struct run r = {
					.p = p, .side = (enum side)side, .load = (enum load)load,
					.linger_ns = lingers[at], .messages = p->messages,
				};

				if (load == FLAT_OUT)
					r.messages *= FLAT_OUT_TIMES;
				err = one_run(&r, at, round);
			}
	return err;
}

/* -------------------------------------------------------------------- report --- */

struct medians {
	double rate, ratio, p50, p99, kicks, cpu;
};

static struct medians medians_of(const struct batch_perf *p, const struct row *row)
{
	return (struct medians){
		stats_median(row->rate, p->rounds), stats_median(row->ratio, p->rounds),
		stats_median(row->p50, p->rounds), stats_median(row->p99, p->rounds),
		stats_median(row->kicks, p->rounds), stats_median(row->cpu, p->rounds),
	};
}

static void report_table(const struct batch_perf *p)
{
	perf_machine_print(stdout);
	printf("%llu messages, batches of %llu, %llu rounds; consumer: %s\n\n",
	       (unsigned long long)p->messages, (unsigned long long)p->batch,
	       (unsigned long long)p->rounds, p->mode);
	printf("%-9s %-9s %9s %12s %6s %10s %10s %7s %8s\n", "load", "gathers", "linger us",
	       "rate/s", "ratio", "p50 us", "p99 us", "kicks", "cpu ns");
	for (int load = 0; load < LOADS; load++)
		for (int side = 0; side < SIDES; side++)
			for (unsigned int at = 0; at < LINGERS; at++) {
				struct medians m = medians_of(p, &p->rows[load][side][at]);

				printf("%-9s %-9s %9.0f %12.0f %6.2f %10.1f %10.1f %7.3f %8.0f\n",
				       load_names[load], side_names[side],
				       (double)lingers[at] / 1e3, m.rate, m.ratio, m.p50, m.p99,
				       m.kicks, m.cpu);
			}
}

static void report_json(const struct batch_perf *p)
{
	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();

	json_object_object_add(o, "machine", perf_machine_json());
	json_object_object_add(o, "batch", json_object_new_int64((int64_t)p->batch));
	json_object_object_add(o, "rows", rows);
	for (int i = 0; i < LOADS * SIDES * (int)LINGERS; i++) {
		int at = i % (int)LINGERS, side = i / (int)LINGERS % SIDES;
		int load = i / (int)LINGERS / SIDES;
		struct medians m = medians_of(p, &p->rows[load][side][at]);
		struct json_object *row = json_object_new_object();

		json_object_object_add(row, "load", json_object_new_string(load_names[load]));
		json_object_object_add(row, "gathers", json_object_new_string(side_names[side]));
		json_object_object_add(row, "linger_ns",
				       json_object_new_int64((int64_t)lingers[at]));
		json_object_object_add(row, "rate", json_object_new_double(m.rate));
		json_object_object_add(row, "ratio", json_object_new_double(m.ratio));
		json_object_object_add(row, "p50_us", json_object_new_double(m.p50));
		json_object_object_add(row, "p99_us", json_object_new_double(m.p99));
		json_object_object_add(row, "kicks", json_object_new_double(m.kicks));
		json_object_object_add(row, "cpu_ns", json_object_new_double(m.cpu));
		json_object_array_add(rows, row);
	}
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY));
	json_object_put(o);
}

/* A block a load; a line a linger: ratio of the rate, p50, p99 of each side. */
static int write_plot(const struct batch_perf *p)
{
	FILE *f = fopen(p->plot, "we");

	if (!f) {
		perf_error("cannot write '%s': %s", p->plot, strerror(errno));
		return -errno;
	}
	for (int load = 0; load < LOADS; load++) {
		for (unsigned int at = 0; at < LINGERS; at++) {
			fprintf(f, "%.0f", (double)lingers[at] / 1e3);
			for (int side = 0; side < SIDES; side++) {
				struct medians m = medians_of(p, &p->rows[load][side][at]);

				fprintf(f, "\t%.3f\t%.2f\t%.2f", m.ratio, m.p50, m.p99);
			}
			fputc('\n', f);
		}
		fputs("\n\n", f);
	}
	return fclose(f) ? -errno : 0;
}

/* ---------------------------------------------------------------------- main --- */

static int parse_mode(struct batch_perf *p, const char *text)
{
	static const struct {
		const char *name;
		unsigned int flags;
	} modes[] = {
		{ "sleep", SLUICE_CTX_NO_SPIN }, { "adaptive", 0 }, { "spin", SLUICE_CTX_SPIN },
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(text, modes[i].name)) {
			p->mode = modes[i].name;
			p->ctx_flags = modes[i].flags;
			return 0;
		}
	perf_error("--mode: '%s' is not sleep, adaptive or spin", text);
	return -EINVAL;
}

/* Return: 0 go on, 1 done already, or a negative errno. */
static int parse_options(struct batch_perf *p, int argc, char **argv)
{
	static const struct option options[] = {
		{ "messages", required_argument, NULL, 'm' },
		{ "batch", required_argument, NULL, 'b' },
		{ "interval", required_argument, NULL, 'i' },
		{ "mode", required_argument, NULL, 'w' },
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
		case 'm':
			err = perf_parse_count("--messages", optarg, 100, MESSAGES_MAX,
					       &p->messages);
			break;
		case 'b': err = perf_parse_count("--batch", optarg, 1, NSLOTS, &p->batch); break;
		case 'i':
			err = perf_parse_time("--interval", optarg, 1000000000, &p->interval_ns);
			break;
		case 'w': err = parse_mode(p, optarg); break;
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
		err = perf_no_arguments("batch", argc, argv);
	return err ? err : perf_parse_cpus(cpus, p->cpus);
}

static int setup(struct batch_perf *p)
{
	pthread_barrierattr_t attr;
	int err = perf_signals_block();

	if (err)
		return err;
	p->sh = peer_map(sizeof(*p->sh) +
			 FLAT_OUT_TIMES * p->messages * sizeof(p->sh->samples[0]));
	if (!p->sh) {
		perf_error("no memory for %llu samples", (unsigned long long)p->messages);
		return -ENOMEM;
	}
	p->interval_ticks = p->interval_ns * 1000000000u / sluice_ticks_to_ns(1000000000u);
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&p->sh->barrier, &attr, 2);
	pthread_barrierattr_destroy(&attr);
	perf_stages_sweep();
	return 0;
}

int perf_batch_main(int argc, char **argv)
{
	static struct batch_perf p = {
		.messages = 20000, .batch = 32, .interval_ns = 20000, .rounds = 5,
		.ctx_flags = SLUICE_CTX_NO_SPIN, .mode = "sleep",
	};
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
