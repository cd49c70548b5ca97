// SPDX-License-Identifier: MIT
/*
 * latency.c: sluice-perf latency: round trips of sluice and its peers, interleaved
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>

#include "latency.h"

/*
 * Rounds are short and many: on virtual machines the cost of a line changes by
 * a factor of three as the host moves processors about, every few seconds, and
 * only what was measured in the same moment can be compared.
 */
static const struct {
	const char *name;
	enum peer_mode mode;
	uint64_t messages;	/* a round, unless --messages says otherwise */
} modes[] = {
	{ "spin", MODE_SPIN, 50000 },
	{ "sleep", MODE_SLEEP, 3000 },
	{ "adaptive", MODE_ADAPTIVE, 20000 },
};

#define N_MODES		(sizeof(modes) / sizeof(modes[0]))

static const char usage_text[] =
"usage: sluice-perf latency [OPTION...]\n"
"\n"
"Round trips between two pinned processes: one sends a message, the other sends\n"
"it back. All peers are measured in turn in each round (A B C A B C ...), so that\n"
"a noisy second hits all of them alike.\n"
"\n"
"  --mode LIST       spin, sleep, adaptive; default spin,sleep\n"
"  --size BYTES      of a message, 8 to 1048576; default 64\n"
"  --rounds N        default 10\n"
"  --messages N      round trips a round; default 50000 spinning, 3000 sleeping,\n"
"                    20000 adaptive\n"
"  --time T          of a peer in a round, at most: slow ones get fewer messages\n"
"  --warmup N        round trips before them; default a tenth\n"
"  --cpus A,B        processors of the two processes; default the first two allowed\n"
"  --peers LIST      default all but calls; the floor is measured in any case\n"
"  --peer-programs FILE  peers that are programs of their own; scripts/perf/peers makes it\n"
"  --slots N         of sluice's rings, a power of two; default 256\n"
"  --timeout S       longest time for one peer in one round; default 120\n"
"  --json            JSON on standard output instead of the table\n"
"  --json-file FILE  JSON into FILE as well\n"
"  --plot-file FILE  distributions for gnuplot into FILE\n"
"  --list-peers      name them and say what they are\n"
"  --quiet           no progress on standard error\n"
"\n"
"examples: sluice-perf latency\n"
"          sluice-perf latency --mode sleep --peers sluice,unix,pipe --rounds 9\n"
"          sluice-perf latency --mode spin --peers floor-data --cpus 0,1 --json\n";

/* Opened before measuring: a wrong path is worth knowing before the minutes are gone. */
struct latency_file {
	const char *path;
	FILE *f;
};

struct latency_files {
	bool json;
	struct latency_file json_file;
	struct latency_file plot_file;
};

const char *latency_mode_name(enum peer_mode mode)
{
	for (size_t i = 0; i < N_MODES; i++)
		if (modes[i].mode == mode)
			return modes[i].name;
	return "?";
}

/* --------------------------------------------------------- command line --- */

static int parse_modes(struct latency *l, char *list)
{
	char *save = NULL;

	l->modes = 0;
	for (char *name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		size_t i = 0;

		while (i < N_MODES && strcmp(name, modes[i].name))
			i++;
		if (i == N_MODES) {
			perf_error("--mode: '%s' is not one of spin, sleep, adaptive", name);
			return -EINVAL;
		}
		l->modes |= modes[i].mode;
	}
	if (!l->modes)
		perf_error("--mode: name at least one of spin, sleep, adaptive");
	return l->modes ? 0 : -EINVAL;
}

static int parse_peers(struct latency *l, char *list)
{
	char *save = NULL;

	for (char *name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		const struct peer *p = peer_find(name);

		if (!p || l->n_selected == LATENCY_MAX_ROWS) {
			perf_error("--peers: no peer '%s'; see sluice-perf latency --list-peers",
				   name);
			return -EINVAL;
		}
		l->selected[l->n_selected++] = p;
	}
	return 0;
}

static void list_peers(void)
{
	const struct peer *p;

	for (size_t k = 0; (p = peer_at(k)); k++) {
		printf("%-12s %s (", p->name, p->title);
		for (size_t i = 0, n = 0; i < N_MODES; i++)
			if (p->modes & modes[i].mode)
				printf("%s%s", n++ ? ", " : "", modes[i].name);
		puts(")");
	}
}

enum latency_option {
	OPT_MODE = 256, OPT_SIZE, OPT_ROUNDS, OPT_MESSAGES, OPT_WARMUP, OPT_CPUS, OPT_PEERS,
	OPT_SLOTS, OPT_TIMEOUT, OPT_JSON, OPT_JSON_FILE, OPT_PLOT_FILE, OPT_LIST_PEERS, OPT_QUIET,
	OPT_PEER_PROGRAMS, OPT_TIME, OPT_HELP,
};

static const struct option long_options[] = {
	{ "mode", required_argument, NULL, OPT_MODE },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "rounds", required_argument, NULL, OPT_ROUNDS },
	{ "messages", required_argument, NULL, OPT_MESSAGES },
	{ "time", required_argument, NULL, OPT_TIME },
	{ "warmup", required_argument, NULL, OPT_WARMUP },
	{ "cpus", required_argument, NULL, OPT_CPUS },
	{ "peers", required_argument, NULL, OPT_PEERS },
	{ "peer-programs", required_argument, NULL, OPT_PEER_PROGRAMS },
	{ "slots", required_argument, NULL, OPT_SLOTS },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "json-file", required_argument, NULL, OPT_JSON_FILE },
	{ "plot-file", required_argument, NULL, OPT_PLOT_FILE },
	{ "list-peers", no_argument, NULL, OPT_LIST_PEERS },
	{ "quiet", no_argument, NULL, OPT_QUIET },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static int parse_number(struct latency *l, int opt, const char *text)
{
	uint64_t v = 0;
	int err;

	switch (opt) {
	case OPT_SIZE:
		err = perf_parse_count("--size", text, sizeof(uint64_t), PEER_SIZE_MAX, &v);
		l->size = v;
		return err;
	case OPT_ROUNDS:
		err = perf_parse_count("--rounds", text, 1, LATENCY_MAX_ROUNDS, &v);
		l->rounds = (unsigned int)v;
		return err;
	case OPT_MESSAGES:
		return perf_parse_count("--messages", text, 1, 100000000, &l->messages);
	case OPT_TIME:
		return perf_parse_time("--time", text, 60000000000ull, &l->round_ns);
	case OPT_WARMUP:
		return perf_parse_count("--warmup", text, 0, 100000000, &l->warmup);
	case OPT_SLOTS:
		err = perf_parse_count("--slots", text, SLUICE_MIN_SLOTS, SLUICE_MAX_SLOTS, &v);
		l->slots = (uint32_t)v;
		return err;
	case OPT_TIMEOUT:
		err = perf_parse_count("--timeout", text, 1, 86400, &v);
		l->timeout_s = (unsigned int)v;
		return err;
	}
	return -EINVAL;
}

/* Return: 0 go on, 1 done already, or a negative errno. */
static int parse_options(struct latency *l, struct latency_files *files, int argc, char **argv)
{
	const char *cpus = NULL;
	char *names = NULL;
	int opt, err = 0;
	bool list = false;

	while (!err && (opt = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (opt) {
		case OPT_MODE: err = parse_modes(l, optarg); break;
		case OPT_PEERS: names = optarg; break;
		case OPT_PEER_PROGRAMS: err = peer_load_programs(optarg); break;
		case OPT_CPUS: cpus = optarg; break;
		case OPT_JSON: files->json = true; break;
		case OPT_JSON_FILE: files->json_file.path = optarg; break;
		case OPT_PLOT_FILE: files->plot_file.path = optarg; break;
		case OPT_QUIET: perf_set_quiet(true); break;
		case OPT_LIST_PEERS: list = true; break;
		case OPT_HELP:
		case 'h': fputs(usage_text, stdout); return 1;
		case '?': return -EINVAL;
		default: err = parse_number(l, opt, optarg); break;
		}
	}
	if (!err)
		err = perf_no_arguments("latency", argc, argv);
	/* Programs may have added some. */
	if (!err && list) {
		list_peers();
		return 1;
	}
	if (!err && names)
		err = parse_peers(l, names);
	return err ? err : perf_parse_cpus(cpus, l->cpus);
}

/* ----------------------------------------------------------------- rows --- */

static bool is_selected(const struct latency *l, const struct peer *p)
{
	if (!l->n_selected || p->reference)
		return !p->optional;
	for (int i = 0; i < l->n_selected; i++)
		if (l->selected[i] == p)
			return true;
	return false;
}

static int add_row(struct latency *l, const struct peer *p, size_t mode)
{
	struct latency_row *row = &l->row[l->n_rows];

	row->peer = p;
	row->mode = modes[mode].mode;
	row->messages = l->messages ? l->messages : modes[mode].messages;
	row->warmup = l->warmup == UINT64_MAX ? row->messages / 10 : l->warmup;
	row->samples = malloc(row->messages * l->rounds * sizeof(*row->samples));
	if (!row->samples) {
		perf_error("no memory for %llu samples of %u rounds; see --messages",
			   (unsigned long long)row->messages, l->rounds);
		return -ENOMEM;
	}
	l->n_rows++;
	return 0;
}

/* Modes are the outer order, so that the tables group what waits alike. */
static int make_rows(struct latency *l)
{
	bool one_cpu = l->cpus[0] == l->cpus[1];

	if (one_cpu && l->modes & MODE_SPIN) {
		perf_error("spinning needs two processors, there is one: use --mode sleep, or --cpus");
		return -EINVAL;
	}
	for (size_t m = 0; m < N_MODES; m++) {
		const struct peer *p;

		for (size_t i = 0; (p = peer_at(i)); i++) {
			bool wanted = l->modes & modes[m].mode || (p->reference && !one_cpu);
			int err;

			if (!wanted || !(p->modes & modes[m].mode) ||
			    !p->job[WORK_ROUND].ping || !is_selected(l, p))
				continue;
			if (l->n_rows == LATENCY_MAX_ROWS)
				return -E2BIG;
			err = add_row(l, p, m);
			if (err)
				return err;
		}
	}
	return 0;
}

static void free_rows(struct latency *l)
{
	for (int i = 0; i < l->n_rows; i++)
		free(l->row[i].samples);
}

/* ------------------------------------------------------------ measuring --- */

/* sluice_ticks_to_ns() in fractions; intervals are short, ratios of them matter. */
static double ns_per_tick(void)
{
	return (double)sluice_ticks_to_ns(1ull << 32) / (double)(1ull << 32);
}

#define CALIBRATE	100	/* round trips that tell how many fit into --time */

/* A program that fails is left out; what is built in has to work. */
static int row_failed(struct latency_row *row, int err, const char *error)
{
	if (err == -EINTR)
		return err;
	perf_error("%s (%s): %s", row->peer->name, latency_mode_name(row->mode), error);
	if (!row->peer->private)
		return err;
	snprintf(row->failed, sizeof(row->failed), "%s", error);
	return 0;
}

static int calibrate_row(struct latency *l, struct latency_row *row)
{
	uint64_t samples[CALIBRATE], switches[2], fit;
	struct peer_run run = {
		.peer = row->peer, .mode = row->mode, .size = l->size, .slots = l->slots,
	};
	struct run_settings set = {
		.warmup = CALIBRATE, .messages = CALIBRATE,
		.cpus = { l->cpus[0], l->cpus[1] }, .timeout_s = l->timeout_s,
	};
	char error[256];
	int err = run_peer(&run, &set, samples, switches, error, sizeof(error));

	if (err)
		return row_failed(row, err, error);
	stats_sort(samples, CALIBRATE);
	fit = (uint64_t)((double)l->round_ns / (stats_median_grouped(samples, CALIBRATE) *
						ns_per_tick()));
	if (fit < CALIBRATE)
		fit = CALIBRATE;
	if (fit < row->messages)
		row->messages = fit;
	if (row->warmup > row->messages)
		row->warmup = row->messages / 10;
	return 0;
}

static int measure_row(struct latency *l, struct latency_row *row, unsigned int round)
{
	struct peer_run run = {
		.peer = row->peer, .mode = row->mode, .size = l->size, .slots = l->slots,
	};
	struct run_settings set = {
		.warmup = row->warmup, .messages = row->messages,
		.cpus = { l->cpus[0], l->cpus[1] }, .timeout_s = l->timeout_s,
	};
	uint64_t *samples = row->samples + row->n_samples;
	uint64_t switches[2];
	char error[256];
	int err = run_peer(&run, &set, samples, switches, error, sizeof(error));

	if (err)
		return row_failed(row, err, error);
	stats_sort(samples, row->messages);
	row->round_p50[round] = stats_median_grouped(samples, row->messages) * ns_per_tick();
	row->n_samples += row->messages;
	row->switches[PING] += switches[PING];
	row->switches[PONG] += switches[PONG];
	perf_progress("round %u/%u  %-10s %-8s p50 %10.1f ns", round + 1, l->rounds,
		      row->peer->name, latency_mode_name(row->mode), row->round_p50[round]);
	return 0;
}

static int measure(struct latency *l)
{
	for (int i = 0; l->round_ns && i < l->n_rows; i++) {
		int err = calibrate_row(l, &l->row[i]);

		if (err)
			return err;
	}
	for (unsigned int round = 0; round < l->rounds; round++) {
		for (int i = 0; i < l->n_rows; i++) {
			int err = l->row[i].failed[0] ? 0 : measure_row(l, &l->row[i], round);

			if (err)
				return err;
		}
	}
	for (int i = 0; i < l->n_rows; i++)
		stats_sort(l->row[i].samples, l->row[i].n_samples);
	return 0;
}

double latency_percentile(const struct latency_row *row, double p)
{
	return (double)stats_percentile(row->samples, row->n_samples, p) * ns_per_tick();
}

double latency_median(const struct latency_row *row)
{
	return stats_median_grouped(row->samples, row->n_samples) * ns_per_tick();
}

double latency_mean(const struct latency_row *row)
{
	return stats_mean(row->samples, row->n_samples) * ns_per_tick();
}

struct stats_spread latency_ratio(const struct latency *l, const struct latency_row *row,
				  const struct latency_row *to)
{
	double ratio[LATENCY_MAX_ROUNDS];

	for (unsigned int i = 0; i < l->rounds; i++)
		ratio[i] = row->round_p50[i] / to->round_p50[i];
	return stats_spread(ratio, l->rounds);
}

static const struct latency_row *find_row(const struct latency *l, const char *peer,
					  enum peer_mode mode)
{
	for (int i = 0; i < l->n_rows; i++)
		if (l->row[i].mode == mode && !strcmp(l->row[i].peer->name, peer))
			return l->row[i].failed[0] ? NULL : &l->row[i];
	return NULL;
}

const struct latency_row *latency_floor(const struct latency *l)
{
	return find_row(l, "floor", MODE_SPIN);
}

const struct latency_row *latency_unix(const struct latency *l, const struct latency_row *row)
{
	const struct latency_row *same = find_row(l, "unix", row->mode);

	return same ? same : find_row(l, "unix", MODE_SLEEP);
}

/* --------------------------------------------------------------- output --- */

static int open_file(struct latency_file *file)
{
	if (!file->path)
		return 0;
	file->f = fopen(file->path, "we");
	if (file->f)
		return 0;
	perf_error("%s: %s", file->path, strerror(errno));
	return -EIO;
}

static int write_file(const struct latency *l, struct latency_file *file,
		      int (*write)(const struct latency *l, FILE *f))
{
	int err;

	if (!file->f)
		return 0;
	err = write(l, file->f);
	if (fclose(file->f) || err) {
		perf_error("%s: cannot write it", file->path);
		return -EIO;
	}
	return 0;
}

static int report(const struct latency *l, struct latency_files *files)
{
	int err = 0;

	if (files->json)
		err = latency_write_json(l, stdout);
	else
		latency_print(l, stdout);
	if (!err)
		err = write_file(l, &files->json_file, latency_write_json);
	if (!err)
		err = write_file(l, &files->plot_file, latency_write_plot);
	return err;
}

int perf_latency_main(int argc, char **argv)
{
	static struct latency l = {
		.modes = MODE_SPIN | MODE_SLEEP, .size = 64, .slots = 256, .rounds = 10,
		.warmup = UINT64_MAX, .timeout_s = 120,
	};
	struct latency_files files = { 0 };
	int err = parse_options(&l, &files, argc, argv);

	if (err)
		return err > 0 ? 0 : PERF_EXIT_USAGE;
	err = open_file(&files.json_file);
	if (!err)
		err = open_file(&files.plot_file);
	if (err)
		return PERF_EXIT_FAILED;
	perf_stages_sweep();
	err = perf_signals_block();
	if (!err)
		err = make_rows(&l);
	if (!err)
		err = measure(&l);
	if (!err)
		err = report(&l, &files);
	free_rows(&l);
	if (err == -EINTR)
		return 130;
	return err ? PERF_EXIT_FAILED : 0;
}
