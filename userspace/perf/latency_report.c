// SPDX-License-Identifier: MIT
/*
 * latency_report.c: the results of sluice-perf latency as table, JSON and plot data
 */
#include <errno.h>
#include <json-c/json.h>
#include <math.h>

#include "latency.h"

static const struct {
	const char *title;
	const char *key;
	double p;
} percentiles[] = {
	{ "p90", "p90", 0.9 },
	{ "p99", "p99", 0.99 },
	{ "p99.9", "p99_9", 0.999 },
	{ "max", "max", 1 },
};

#define N_PERCENTILES	(sizeof(percentiles) / sizeof(percentiles[0]))

/* Largest less smallest median of a round, as a fraction of the middle one. */
static double round_spread(const struct latency *l, const struct latency_row *row)
{
	struct stats_spread s = stats_spread(row->round_p50, l->rounds);

	return s.median > 0 ? (s.max - s.min) / s.median : 0;
}

/* How often a process slept for each message: 0 spinning, 1 sleeping. */
static double sleeps(const struct latency_row *row, enum peer_side side)
{
	return (double)row->switches[side] / (double)row->n_samples;
}

static void print_ratio(FILE *f, const struct latency *l, const struct latency_row *row,
			const struct latency_row *to)
{
	struct stats_spread s;

	if (!to) {
		fprintf(f, "  %18s", "-");
		return;
	}
	s = latency_ratio(l, row, to);
	if (s.median >= 100)
		fprintf(f, "  %6.0f (%.0f-%.0f)", s.median, s.min, s.max);
	else
		fprintf(f, "  %6.2f (%.2f-%.2f)", s.median, s.min, s.max);
}

void latency_print(const struct latency *l, FILE *f)
{
	const struct latency_row *to_floor = latency_floor(l);

	perf_machine_print(f);
	fprintf(f, "round trip of %zu bytes in ns, %u rounds interleaved, processors %d and %d\n\n",
		l->size, l->rounds, l->cpus[0], l->cpus[1]);
	fprintf(f, "%-12s %-8s %9s", "peer", "waits", "p50");
	for (size_t i = 0; i < N_PERCENTILES; i++)
		fprintf(f, " %9s", percentiles[i].title);
	fprintf(f, " %7s %6s   %s\n", "spread", "sleeps", "p50 x floor, p50 x unix (least-most)");
	for (int i = 0; i < l->n_rows; i++) {
		const struct latency_row *row = &l->row[i];

		if (row->failed[0]) {
			fprintf(f, "%-12s %-8s %s\n", row->peer->name,
				latency_mode_name(row->mode), row->failed);
			continue;
		}
		fprintf(f, "%-12s %-8s %9.1f", row->peer->name, latency_mode_name(row->mode),
			latency_median(row));
		for (size_t k = 0; k < N_PERCENTILES; k++)
			fprintf(f, " %9.0f", latency_percentile(row, percentiles[k].p));
		fprintf(f, " %6.1f%% %6.2f", 100 * round_spread(l, row), sleeps(row, PING));
		print_ratio(f, l, row, to_floor);
		print_ratio(f, l, row, latency_unix(l, row));
		fputc('\n', f);
	}
	fprintf(f, "\nfloor: one cache line bounced between two processes, no message\n"
		"spread: between the medians of the rounds; sleeps: of ping, for each message\n"
		"ratios: median of the rounds' ratios; unix: the stream socket that waits alike, "
		"else sleeping\n");
}

static void add_double(struct json_object *o, const char *key, double v)
{
	json_object_object_add(o, key, json_object_new_double(v));
}

static struct json_object *ratio_json(const struct latency *l, const struct latency_row *row,
				      const struct latency_row *to)
{
	struct json_object *o = json_object_new_object();
	struct stats_spread s = latency_ratio(l, row, to);

	add_double(o, "median", s.median);
	add_double(o, "min", s.min);
	add_double(o, "max", s.max);
	return o;
}

static struct json_object *row_json(const struct latency *l, const struct latency_row *row)
{
	struct json_object *o = json_object_new_object(), *rounds = json_object_new_array();
	const struct latency_row *to_floor = latency_floor(l), *to_unix = latency_unix(l, row);

	json_object_object_add(o, "peer", json_object_new_string(row->peer->name));
	json_object_object_add(o, "title", json_object_new_string(row->peer->title));
	json_object_object_add(o, "mode", json_object_new_string(latency_mode_name(row->mode)));
	if (row->failed[0]) {
		json_object_object_add(o, "failed", json_object_new_string(row->failed));
		json_object_put(rounds);
		return o;
	}
	json_object_object_add(o, "messages", json_object_new_uint64(row->messages));
	json_object_object_add(o, "warmup", json_object_new_uint64(row->warmup));
	json_object_object_add(o, "samples", json_object_new_uint64(row->n_samples));
	add_double(o, "min", latency_percentile(row, 0));
	add_double(o, "p50", latency_median(row));
	for (size_t i = 0; i < N_PERCENTILES; i++)
		add_double(o, percentiles[i].key, latency_percentile(row, percentiles[i].p));
	add_double(o, "mean", latency_mean(row));
	for (unsigned int i = 0; i < l->rounds; i++)
		json_object_array_add(rounds, json_object_new_double(row->round_p50[i]));
	json_object_object_add(o, "round_p50", rounds);
	add_double(o, "spread", round_spread(l, row));
	add_double(o, "sleeps_ping", sleeps(row, PING));
	add_double(o, "sleeps_pong", sleeps(row, PONG));
	if (to_floor)
		json_object_object_add(o, "ratio_floor", ratio_json(l, row, to_floor));
	if (to_unix)
		json_object_object_add(o, "ratio_unix", ratio_json(l, row, to_unix));
	return o;
}

int latency_write_json(const struct latency *l, FILE *f)
{
	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();
	struct json_object *cpus = json_object_new_array();
	int err;

	json_object_object_add(o, "command", json_object_new_string("latency"));
	json_object_object_add(o, "machine", perf_machine_json());
	json_object_object_add(o, "unit", json_object_new_string("ns"));
	json_object_object_add(o, "size", json_object_new_uint64(l->size));
	json_object_object_add(o, "rounds", json_object_new_int((int)l->rounds));
	json_object_object_add(o, "slots", json_object_new_uint64(l->slots));
	for (int i = 0; i < 2; i++)
		json_object_array_add(cpus, json_object_new_int(l->cpus[i]));
	json_object_object_add(o, "cpus", cpus);
	for (int i = 0; i < l->n_rows; i++)
		json_object_array_add(rows, row_json(l, &l->row[i]));
	json_object_object_add(o, "rows", rows);
	err = fprintf(f, "%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY)) < 0;
	json_object_put(o);
	return err ? -EIO : 0;
}

int latency_write_plot(const struct latency *l, FILE *f)
{
	for (int i = 0; i < l->n_rows; i++) {
		const struct latency_row *row = &l->row[i];

		if (row->failed[0])
			continue;
		fprintf(f, "%s\"%s %s\"\n", i ? "\n\n" : "", row->peer->name,
			latency_mode_name(row->mode));
		/* Evenly spaced on the logarithmic axis, as far as there are samples. */
		for (double x = 1; x <= (double)row->n_samples; x *= 1.05)
			fprintf(f, "%.6g %.0f\n", x, latency_percentile(row, 1 - 1 / x));
		fprintf(f, "%llu %.0f\n", (unsigned long long)row->n_samples,
			latency_percentile(row, 1));
	}
	return ferror(f) ? -EIO : 0;
}
