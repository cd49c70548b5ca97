// SPDX-License-Identifier: MIT
/*
 * order.c: sluice-perf order: what the reorder window costs, without module and rings
 */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/order.h>

#include "perf.h"
#include "stats.h"

#define MESSAGES_MAX	10000000u
#define STREAMS_MAX	65536u
#define ROUNDS_MAX	1000u
#define BYTES_MAX	1000000u

static const char usage_text[] =
"usage: sluice-perf order [OPTION...]\n"
"\n"
"Puts messages into the reorder window of sluice/order.h and fetches them, in one process and\n"
"without a ring: in order; with each pair of neighbours swapped; with each message twice. In each\n"
"round all modes in turn: strict (in order, once), once (as they come, once), raw (as they come).\n"
"\n"
"  --messages N  of a run, default 200k\n"
"  --streams N   they belong to in turn, default 64\n"
"  --window N    counters of a stream, a power of two, default 256\n"
"  --size BYTES  of a payload, default 64\n"
"  --rounds N    default 9\n"
"  --json        JSON instead of the table\n"
"\n"
"ns: of a put and what it makes ready, for each message that goes in; the median over the rounds.\n"
"ratio: to raw in the same round, the median; raw copies the payload and does nothing else.\n"
"bytes/stream: of address space; a window that nothing ever waits in is never touched.\n"
"\n"
"example: sluice-perf order --streams 1000 --size 16\n";

enum pattern { IN_ORDER, SWAPPED, TWICE, PATTERNS };
#define MODES	3u

static const char *const pattern_names[PATTERNS] = { "in order", "swapped", "twice" };
static const char *const mode_names[MODES] = { "strict", "once", "raw" };

struct order_perf {
	uint64_t messages, streams, window, size, rounds;
	bool json;
	unsigned char *payload;
	double *ns[PATTERNS][MODES];	/* by round */
	double *ratio[PATTERNS][MODES];
	double bytes[MODES];		/* for each stream */
};

static int failed(void)
{
	perf_error("%s", sluice_error());
	return -EIO;
}

/* Which message comes as number @i: streams in turn, counters as the pattern says. */
static uint64_t counter_of(const struct order_perf *p, enum pattern pattern, uint64_t i)
{
	uint64_t turn = i / p->streams;

	switch (pattern) {
	case SWAPPED:		/* the opening one stays where it is */
		return turn ? ((turn - 1) ^ 1) + 1 : 0;
	case TWICE:
		return turn / 2;
	default:
		return turn;
	}
}

static struct sluice_order *make(const struct order_perf *p, unsigned int mode)
{
	const struct sluice_order_options opt = {
		.mode = mode, .streams = (uint32_t)p->streams, .window = (uint32_t)p->window,
		.bytes = UINT64_MAX / 2,
	};
	struct sluice_order *o;

	return sluice_order_create(&opt, &o) ? NULL : o;
}

static size_t allocated(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static int measure_memory(struct order_perf *p)
{
	for (unsigned int mode = 0; mode < MODES; mode++) {
		size_t before = allocated();
		struct sluice_order *o = make(p, mode);

		if (!o)
			return failed();
		p->bytes[mode] = (double)(allocated() - before) / (double)p->streams;
		sluice_order_free(o);
	}
	return 0;
}

/* How many came out, or a negative errno. */
static int64_t put_all(const struct order_perf *p, struct sluice_order *o, enum pattern pattern)
{
	struct sluice_delivery d;
	int64_t out = 0;

	for (uint64_t i = 0; i < p->messages; i++) {
		struct sluice_msg m = {
			.stream = i % p->streams, .counter = counter_of(p, pattern, i),
			.data = p->payload, .len = (uint32_t)p->size, .buffer = SLUICE_NO_BUFFER,
		};

		m.flags = m.counter ? 0 : SLUICE_MSG_OPEN;
		if (sluice_order_put(o, NULL, &m))
			return failed();
		while (!sluice_order_next(o, &d))
			out++;
	}
	return out;
}

static int measure(struct order_perf *p, enum pattern pattern, unsigned int mode,
		   unsigned int round)
{
	struct sluice_order *o = make(p, mode);
	uint64_t begin;
	int64_t out;

	if (!o)
		return failed();
	begin = sluice_ticks();
	out = put_all(p, o, pattern);
	p->ns[pattern][mode][round] = (double)sluice_ticks_to_ns(sluice_ticks() - begin) /
				      (double)p->messages;
	sluice_order_free(o);
	if (out < 0)
		return -EIO;
	/* A window that keeps what it should give measures nothing. */
	if ((uint64_t)out + 2 * p->streams <
	    p->messages / (pattern == TWICE && mode != SLUICE_ORDER_RAW ? 2 : 1)) {
		perf_error("only %lld messages came out", (long long)out);
		return -EIO;
	}
	return 0;
}

static int one_round(struct order_perf *p, unsigned int round)
{
	for (unsigned int pattern = 0; pattern < PATTERNS; pattern++) {
		for (unsigned int i = 0; i < MODES; i++) {
			/* not always the same one first */
			int err = measure(p, pattern, (i + round) % MODES, round);

			if (err)
				return err;
		}
		for (unsigned int mode = 0; mode < MODES; mode++)
			p->ratio[pattern][mode][round] = p->ns[pattern][mode][round] /
							 p->ns[pattern][2][round];
	}
	return 0;
}

/* ----------------------------------------------------------------- report --- */

static void report_table(const struct order_perf *p)
{
	perf_machine_print(stdout);
	printf("%llu messages of %llu bytes, %llu streams, windows of %llu, %llu rounds\n\n",
	       (unsigned long long)p->messages, (unsigned long long)p->size,
	       (unsigned long long)p->streams, (unsigned long long)p->window,
	       (unsigned long long)p->rounds);
	printf("%-10s %-8s %10s %18s %8s %14s\n", "messages", "mode", "ns", "least..most", "ratio",
	       "bytes/stream");
	for (unsigned int pattern = 0; pattern < PATTERNS; pattern++)
		for (unsigned int mode = 0; mode < MODES; mode++) {
			struct stats_spread s = stats_spread(p->ns[pattern][mode], p->rounds);
			char range[32];

			snprintf(range, sizeof(range), "%.1f..%.1f", s.min, s.max);
			printf("%-10s %-8s %10.1f %18s %8.2f %14.0f\n", pattern_names[pattern],
			       mode_names[mode], s.median, range,
			       stats_median(p->ratio[pattern][mode], p->rounds), p->bytes[mode]);
		}
}

static void report_json(const struct order_perf *p)
{
	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();

	json_object_object_add(o, "machine", perf_machine_json());
	json_object_object_add(o, "streams", json_object_new_int64((int64_t)p->streams));
	json_object_object_add(o, "window", json_object_new_int64((int64_t)p->window));
	json_object_object_add(o, "size", json_object_new_int64((int64_t)p->size));
	json_object_object_add(o, "rows", rows);
	for (unsigned int pattern = 0; pattern < PATTERNS; pattern++)
		for (unsigned int mode = 0; mode < MODES; mode++) {
			struct json_object *row = json_object_new_object();

			json_object_object_add(row, "messages",
					       json_object_new_string(pattern_names[pattern]));
			json_object_object_add(row, "mode",
					       json_object_new_string(mode_names[mode]));
			json_object_object_add(row, "ns", json_object_new_double(
				stats_median(p->ns[pattern][mode], p->rounds)));
			json_object_object_add(row, "ratio", json_object_new_double(
				stats_median(p->ratio[pattern][mode], p->rounds)));
			json_object_object_add(row, "bytes_per_stream",
					       json_object_new_double(p->bytes[mode]));
			json_object_array_add(rows, row);
		}
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY));
	json_object_put(o);
}

/* ------------------------------------------------------------------- main --- */

/* Return: 0 go on, 1 done already, or a negative errno. */
static int parse_options(struct order_perf *p, int argc, char **argv)
{
	static const struct option options[] = {
		{ "messages", required_argument, NULL, 'm' },
		{ "streams", required_argument, NULL, 's' },
		{ "window", required_argument, NULL, 'w' },
		{ "size", required_argument, NULL, 'b' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int opt, err = 0;

	while (!err && (opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'm':
			err = perf_parse_count("--messages", optarg, 1000, MESSAGES_MAX,
					       &p->messages);
			break;
		case 's':
			err = perf_parse_count("--streams", optarg, 1, STREAMS_MAX, &p->streams);
			break;
		case 'w':
			err = perf_parse_count("--window", optarg, 2, SLUICE_ORDER_WINDOW_MAX,
					       &p->window);
			break;
		case 'b': err = perf_parse_count("--size", optarg, 0, BYTES_MAX, &p->size); break;
		case 'r':
			err = perf_parse_count("--rounds", optarg, 1, ROUNDS_MAX, &p->rounds);
			break;
		case 'j': p->json = true; break;
		case 'h': fputs(usage_text, stdout); return 1;
		default: return -EINVAL;
		}
	}
	if (!err)
		err = perf_no_arguments("order", argc, argv);
	return err;
}

static int setup(struct order_perf *p)
{
	bool ok;

	p->payload = calloc(1, p->size + 1);
	ok = p->payload;
	for (unsigned int pattern = 0; pattern < PATTERNS; pattern++)
		for (unsigned int mode = 0; mode < MODES; mode++) {
			p->ns[pattern][mode] = calloc(p->rounds, sizeof(double));
			p->ratio[pattern][mode] = calloc(p->rounds, sizeof(double));
			ok = ok && p->ns[pattern][mode] && p->ratio[pattern][mode];
		}
	if (ok)
		return measure_memory(p);
	perf_error("no memory");
	return -ENOMEM;
}

int perf_order_main(int argc, char **argv)
{
	static struct order_perf p = {
		.messages = 200000, .streams = 64, .window = 256, .size = 64, .rounds = 9,
	};
	int err = parse_options(&p, argc, argv);

	if (err)
		return err > 0 ? 0 : PERF_EXIT_USAGE;
	err = setup(&p);
	for (unsigned int round = 0; !err && round < p.rounds; round++)
		err = one_round(&p, round);
	if (err)
		return PERF_EXIT_FAILED;
	if (p.json)
		report_json(&p);
	else
		report_table(&p);
	return 0;
}
