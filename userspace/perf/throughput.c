// SPDX-License-Identifier: MIT
/*
 * throughput.c: sluice-perf throughput: messages one way, and payloads, of sluice and its peers
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>

#include "run.h"
#include "throughput.h"

#define MIN_TURNS	8u		/* of the ring: a round is no start and no end */
#define WARMUP_TURNS	2u		/* until all its memory is there */
#define RING_BYTES	(16u << 20)	/* a ring of large messages has fewer */
#define RING_MIN_SLOTS	16u
#define MAX_MESSAGES	200000000u

static const char usage_text[] =
"usage: sluice-perf throughput [OPTION...]\n"
"\n"
"Two pinned processes; all peers in turn in each round, so that a noisy second hits all alike.\n"
"flow: one sends messages one way as fast as they go, the other receives (and acknowledges, where\n"
"the peer has that), and checks each. payload: one writes the message where the peer wants it, the\n"
"other reads a word of each cache line of it and answers with 8 bytes; one at a time.\n"
"\n"
"  --work flow|payload    default flow\n"
"  --mode spin|sleep      how they wait; default spin\n"
"  --sizes LIST           bytes of a message, with k and M (1024); default 64 (payload: 1M)\n"
"  --untouched            payload: only its first word is written and read (built-in peers only)\n"
"  --rounds N             default 5\n"
"  --time T               of a round of one peer, default 200ms\n"
"  --cpus A,B             processors of the two processes; default the first two allowed\n"
"  --peers LIST           default all that can; see sluice-perf latency --list-peers\n"
"  --peer-programs FILE   peers that are programs of their own; scripts/perf/peers makes it\n"
"  --slots N              of rings, a power of two; default as many as have 16 MiB, 16 to 256\n"
"                         (payload: 16)\n"
"  --timeout S            longest time for one peer in one round; default 60\n"
"  --json                 JSON on standard output instead of the table\n"
"  --json-file FILE       JSON into FILE as well\n"
"  --plot-file FILE       figures over sizes for gnuplot into FILE\n"
"  --quiet                no progress on standard error\n"
"\n"
"examples: sluice-perf throughput --peers ring,sluice,unix\n"
"          sluice-perf throughput --sizes 64,1k,16k,256k,1M --plot-file sizes.dat\n"
"          sluice-perf throughput --work payload --sizes 4k,1M --untouched\n";

struct throughput_files {
	const char *json;
	const char *plot;
};

/* ------------------------------------------------------------- command line --- */

static int parse_sizes(struct throughput *t, char *list)
{
	char *save = NULL;

	t->n_sizes = 0;
	for (char *word = strtok_r(list, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		char *end;
		unsigned long v = strtoul(word, &end, 10);

		if (*end == 'k' || *end == 'K')
			v <<= 10, end++;
		else if (*end == 'M')
			v <<= 20, end++;
		if (*end || v < sizeof(uint64_t) || v > PEER_SIZE_MAX ||
		    t->n_sizes == THROUGHPUT_MAX_SIZES) {
			perf_error("--sizes: '%s' is not 8 to 1M bytes, at most %d of them", word,
				   THROUGHPUT_MAX_SIZES);
			return -EINVAL;
		}
		t->sizes[t->n_sizes++] = v;
	}
	return t->n_sizes ? 0 : -EINVAL;
}

static int parse_peers(struct throughput *t, char *list)
{
	char *save = NULL;

	for (char *name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		const struct peer *p = peer_find(name);

		if (!p || !p->job[t->work].ping || t->n_selected == THROUGHPUT_MAX_ROWS) {
			perf_error("--peers: %s '%s'; see sluice-perf latency --list-peers",
				   p ? "that work cannot be done by" : "no peer", name);
			return -EINVAL;
		}
		t->selected[t->n_selected++] = p;
	}
	return 0;
}

static int parse_word(const char *option, const char *text, const char *first, const char *second)
{
	if (!strcmp(text, first))
		return 0;
	if (!strcmp(text, second))
		return 1;
	perf_error("%s: '%s' is neither %s nor %s", option, text, first, second);
	return -EINVAL;
}

static int parse_number(struct throughput *t, int opt, const char *text)
{
	uint64_t v = 0;
	int err = -EINVAL;

	switch (opt) {
	case 'r':
		err = perf_parse_count("--rounds", text, 1, THROUGHPUT_MAX_ROUNDS, &v);
		t->rounds = (unsigned int)v;
		break;
	case 't':
		err = perf_parse_time("--time", text, 60000000000ull, &t->round_ns);
		break;
	case 's':
		err = perf_parse_count("--slots", text, 4, SLUICE_MAX_SLOTS, &v);
		t->slots = (uint32_t)v;
		if (!err && v & (v - 1)) {
			perf_error("--slots: %s is no power of two", text);
			err = -EINVAL;
		}
		break;
	case 'T':
		err = perf_parse_count("--timeout", text, 1, 3600, &v);
		t->timeout_s = (unsigned int)v;
		break;
	}
	return err;
}

static const struct option long_options[] = {
	{ "work", required_argument, NULL, 'w' },
	{ "mode", required_argument, NULL, 'm' },
	{ "sizes", required_argument, NULL, 'S' },
	{ "untouched", no_argument, NULL, 'u' },
	{ "rounds", required_argument, NULL, 'r' },
	{ "time", required_argument, NULL, 't' },
	{ "cpus", required_argument, NULL, 'c' },
	{ "peers", required_argument, NULL, 'p' },
	{ "peer-programs", required_argument, NULL, 'P' },
	{ "slots", required_argument, NULL, 's' },
	{ "timeout", required_argument, NULL, 'T' },
	{ "json", no_argument, NULL, 'j' },
	{ "json-file", required_argument, NULL, 'J' },
	{ "plot-file", required_argument, NULL, 'f' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

/* What depends on several options, when all are known. */
static int settle(struct throughput *t, char *names, char *sizes, const char *cpus)
{
	char standard[] = "64", large[] = "1M";
	int err = parse_sizes(t, sizes ? sizes : t->work == WORK_PAYLOAD ? large : standard);

	if (!err && names)
		err = parse_peers(t, names);
	if (!err)
		err = perf_parse_cpus(cpus, t->cpus);
	if (!err && t->cpus[0] == t->cpus[1] && t->mode == MODE_SPIN) {
		perf_error("spinning needs two processors, there is one: use --mode sleep, or --cpus");
		err = -EINVAL;
	}
	return err;
}

/* Return: 0 go on, 1 done already, or a negative errno. */
static int parse_options(struct throughput *t, struct throughput_files *files, int argc, char **argv)
{
	char *names = NULL, *sizes = NULL;
	const char *cpus = NULL;
	int opt, err = 0;

	while (err >= 0 && (opt = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (opt) {
		case 'w':
			err = parse_word("--work", optarg, "flow", "payload");
			t->work = err == 1 ? WORK_PAYLOAD : WORK_FLOW;
			break;
		case 'm':
			err = parse_word("--mode", optarg, "spin", "sleep");
			t->mode = err == 1 ? MODE_SLEEP : MODE_SPIN;
			break;
		case 'S': sizes = optarg; break;
		case 'u': t->untouched = true; break;
		case 'c': cpus = optarg; break;
		case 'p': names = optarg; break;
		case 'P': err = peer_load_programs(optarg); break;
		case 'j': t->json = true; break;
		case 'J': files->json = optarg; break;
		case 'f': files->plot = optarg; break;
		case 'q': perf_set_quiet(true); break;
		case 'h': fputs(usage_text, stdout); return 1;
		case '?': return -EINVAL;
		default: err = parse_number(t, opt, optarg); break;
		}
	}
	if (err >= 0)
		err = perf_no_arguments("throughput", argc, argv);
	return err < 0 ? err : settle(t, names, sizes, cpus);
}

/* --------------------------------------------------------------------- rows --- */

static uint32_t ring_slots(const struct throughput *t, size_t size)
{
	uint32_t slots = t->work == WORK_PAYLOAD ? RING_MIN_SLOTS : 256;

	if (t->slots)
		return t->slots;
	while (slots > RING_MIN_SLOTS && slots * size > RING_BYTES)
		slots /= 2;
	return slots;
}

static bool is_wanted(const struct throughput *t, const struct peer *p, size_t size)
{
	size_t max = p->max_size ? p->max_size : PEER_SIZE_MAX;

	if (!p->job[t->work].ping || !(p->modes & t->mode) || size > max || size < p->min_size)
		return false;
	/* A program writes and reads all of it; there is no word for another wish. */
	if (t->untouched && (p->private || !(p->modes & MODE_SPIN)))
		return false;
	for (int i = 0; i < t->n_selected; i++)
		if (t->selected[i] == p)
			return true;
	return !t->n_selected && !p->optional;
}

static int make_rows(struct throughput *t)
{
	for (int s = 0; s < t->n_sizes; s++) {
		const struct peer *p;

		for (size_t i = 0; (p = peer_at(i)); i++) {
			if (!is_wanted(t, p, t->sizes[s]))
				continue;
			if (t->n_rows == THROUGHPUT_MAX_ROWS)
				return -E2BIG;
			t->row[t->n_rows].peer = p;
			t->row[t->n_rows].slots = ring_slots(t, t->sizes[s]);
			t->row[t->n_rows++].size = t->sizes[s];
		}
	}
	if (!t->n_rows)
		perf_error("none of the peers can do that; see sluice-perf latency --list-peers");
	return t->n_rows ? 0 : -EINVAL;
}

const struct throughput_row *throughput_find(const struct throughput *t, const char *peer,
					     size_t size)
{
	for (int i = 0; i < t->n_rows; i++)
		if (t->row[i].size == size && !strcmp(t->row[i].peer->name, peer))
			return t->row[i].failed[0] ? NULL : &t->row[i];
	return NULL;
}

struct stats_spread throughput_ratio(const struct throughput *t, const struct throughput_row *row,
				     const struct throughput_row *to)
{
	double ratio[THROUGHPUT_MAX_ROUNDS];

	for (unsigned int i = 0; i < t->rounds; i++)
		ratio[i] = row->ns[i] / to->ns[i];
	return stats_spread(ratio, t->rounds);
}

/* ---------------------------------------------------------------- measuring --- */

static double ns_per_tick(void)
{
	return (double)sluice_ticks_to_ns(1ull << 32) / (double)(1ull << 32);
}

/* @ns: of one message, or of one round trip in the middle. */
static int run_row(const struct throughput *t, struct throughput_row *row, uint64_t messages,
		   double *ns)
{
	struct peer_run run = {
		.peer = row->peer, .mode = t->mode, .work = t->work, .size = row->size,
		.touched = t->untouched ? sizeof(uint64_t) : row->size, .slots = row->slots,
	};
	struct run_settings set = {
		.warmup = messages / 5 + WARMUP_TURNS * row->slots, .messages = messages,
		.cpus = { t->cpus[0], t->cpus[1] }, .timeout_s = t->timeout_s,
	};
	uint64_t *samples = malloc((t->work == WORK_FLOW ? 1 : messages) * sizeof(*samples));
	uint64_t switches[2];
	int err;

	if (!samples) {
		perf_error("no memory for the samples; see --time");
		return -ENOMEM;
	}
	err = run_peer(&run, &set, samples, switches, row->failed, sizeof(row->failed));
	if (!err && t->work == WORK_FLOW) {
		*ns = (double)samples[0] * ns_per_tick() / (double)(messages - 1);
	} else if (!err) {
		stats_sort(samples, messages);
		*ns = stats_median_grouped(samples, messages) * ns_per_tick();
	}
	free(samples);
	return err;
}

static uint64_t clamp(double v, uint64_t min, uint64_t max)
{
	if (v < (double)min)
		return min;
	return v > (double)max ? max : (uint64_t)v;
}

static int calibrate(const struct throughput *t, struct throughput_row *row)
{
	uint64_t min = MIN_TURNS * (uint64_t)row->slots;
	double ns;
	int err = run_row(t, row, min, &ns);

	if (!err)
		row->messages = clamp((double)t->round_ns / ns, min, MAX_MESSAGES);
	return err;
}

/* A peer that fails is reported in its row; the others go on. */
static int measure_row(const struct throughput *t, struct throughput_row *row, unsigned int round)
{
	int err = 0;

	if (row->failed[0])
		return 0;
	if (!row->messages)
		err = calibrate(t, row);
	if (!err)
		err = run_row(t, row, row->messages, &row->ns[round]);
	if (err == -EINTR)
		return err;
	if (err)
		perf_error("%s, %zu bytes: %s", row->peer->name, row->size, row->failed);
	else
		perf_progress("round %u/%u  %-16s %8zu bytes  %12.1f ns", round + 1, t->rounds,
			      row->peer->name, row->size, row->ns[round]);
	return 0;
}

static int measure(struct throughput *t)
{
	for (unsigned int round = 0; round < t->rounds; round++) {
		for (int i = 0; i < t->n_rows; i++) {
			int err = measure_row(t, &t->row[i], round);

			if (err)
				return err;
		}
	}
	for (int i = 0; i < t->n_rows; i++)
		if (!t->row[i].failed[0])
			return 0;
	return -EIO;
}

static int write_file(const struct throughput *t, const char *path,
		      int (*write)(const struct throughput *t, FILE *f))
{
	FILE *f;
	int err;

	if (!path)
		return 0;
	f = fopen(path, "we");
	err = f ? write(t, f) : -errno;
	if ((f && fclose(f)) || err)
		perf_error("%s: cannot write it: %s", path, strerror(err ? -err : errno));
	return err;
}

int perf_throughput_main(int argc, char **argv)
{
	static struct throughput t = {
		.work = WORK_FLOW, .mode = MODE_SPIN, .rounds = 5, .round_ns = 200000000,
		.timeout_s = 60,
	};
	struct throughput_files files = { 0 };
	int err = parse_options(&t, &files, argc, argv);

	if (err)
		return err > 0 ? 0 : PERF_EXIT_USAGE;
	perf_stages_sweep();
	err = perf_signals_block();
	if (!err)
		err = make_rows(&t);
	if (!err)
		err = measure(&t);
	if (!err && t.json)
		err = throughput_write_json(&t, stdout);
	else if (!err)
		throughput_print(&t, stdout);
	if (!err)
		err = write_file(&t, files.json, throughput_write_json);
	if (!err)
		err = write_file(&t, files.plot, throughput_write_plot);
	if (err == -EINTR)
		return 130;
	return err ? PERF_EXIT_FAILED : 0;
}
