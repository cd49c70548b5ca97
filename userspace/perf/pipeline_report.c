// SPDX-License-Identifier: MIT
/*
 * pipeline_report.c: prediction and measurement side by side, as table, JSON and plot data
 */
#include <errno.h>
#include <json-c/json.h>
#include <math.h>

#include "pipeline.h"

static const struct {
	const char *title;
	const char *key;
} rows[PIPELINE_ROWS] = {
	[ROW_FIRST]		= { "first result", "first_result" },
	[ROW_INTERVAL]		= { "then one every", "interval" },
	[ROW_ASYNCHRONOUS]	= { "all, asynchronously", "asynchronous" },
	[ROW_SYNCHRONOUS]	= { "all, synchronously", "synchronous" },
};

/* The value that a row has in one list of results. */
static double value(const struct pipeline *p, enum pipeline_row row, const uint64_t *done)
{
	uint64_t last = p->in.messages - 1;

	switch (row) {
	case ROW_FIRST:
		return (double)done[0];
	case ROW_INTERVAL:
		/* On average; behind replicas results come in groups. */
		return (double)(done[last] - done[0]) / (double)last;
	default:
		return (double)done[last];
	}
}

static enum pipeline_way way_of(enum pipeline_row row)
{
	return row == ROW_SYNCHRONOUS ? SYNCHRONOUS : ASYNCHRONOUS;
}

void pipeline_compare(struct pipeline *p)
{
	double v[PIPELINE_MAX_ROUNDS];

	for (int r = 0; r < PIPELINE_ROWS; r++) {
		enum pipeline_row row = (enum pipeline_row)r;
		enum pipeline_way way = way_of(row);

		for (unsigned int i = 0; i < p->rounds; i++)
			v[i] = value(p, row, p->sh->done[way][i]);
		p->row[r].measured = stats_spread(v, p->rounds);
		p->row[r].predicted = value(p, row, p->predicted[way]);
	}
}

/* Infinite where nothing is predicted to take any time. */
static double ratio(const struct pipeline *p, int row)
{
	return p->row[row].measured.median / p->row[row].predicted;
}

int pipeline_check(const struct pipeline *p)
{
	int err = 0;

	for (int row = 0; row < PIPELINE_ROWS && p->percent >= 0; row++) {
		double off = 100 * fabs(ratio(p, row) - 1);

		if (!(p->row[row].predicted > 0) || off <= p->percent)
			continue;
		perf_error("%s: measured %.3f ms, predicted %.3f ms, %.1f %% off", rows[row].title,
			   p->row[row].measured.median / 1e6, p->row[row].predicted / 1e6, off);
		err = -ERANGE;
	}
	return err;
}

static double worked_ns(const struct pipeline *p, uint32_t stage)
{
	return (double)p->sh->worked_ns[stage] / (double)p->sh->worked[stage];
}

void pipeline_print(const struct pipeline *p, FILE *f)
{
	perf_machine_print(f);
	fprintf(f, "%llu messages, %u rounds; work is a sleep\n\n",
		(unsigned long long)p->in.messages, p->rounds);
	fprintf(f, "%-8s %8s %12s %12s %10s\n", "stage", "replicas", "time, ms", "slept, ms",
		"busy");
	for (uint32_t i = 0; i < p->in.nstages; i++)
		fprintf(f, "%-8u %8u %12.3f %12.3f %9.1f%%%s\n", i + 1, p->in.stage[i].replicas,
			(double)p->in.stage[i].service_ns / 1e6, worked_ns(p, i) / 1e6,
			100 * p->result.utilisation[i],
			i == p->result.bottleneck ? "  <- bottleneck" : "");
	fprintf(f, "\n%-22s %12s %12s %8s   %s\n", "in ms", "predicted", "measured", "ratio",
		"least-most of the rounds");
	for (int row = 0; row < PIPELINE_ROWS; row++) {
		struct stats_spread m = p->row[row].measured;

		fprintf(f, "%-22s %12.3f %12.3f %8.3f   %.3f-%.3f\n", rows[row].title,
			p->row[row].predicted / 1e6, m.median / 1e6, ratio(p, row), m.min / 1e6,
			m.max / 1e6);
	}
	fprintf(f, "\na hop from process to process, without work: %.1f us; the prediction has "
		"%.1f us\n", p->sh->hop_ns / 1e3, (double)p->in.hop_ns / 1e3);
}

static void add_double(struct json_object *o, const char *key, double v)
{
	json_object_object_add(o, key, isfinite(v) ? json_object_new_double(v) : NULL);
}

static struct json_object *stages_json(const struct pipeline *p)
{
	struct json_object *stages = json_object_new_array();

	for (uint32_t i = 0; i < p->in.nstages; i++) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "service_ns",
				       json_object_new_uint64(p->in.stage[i].service_ns));
		json_object_object_add(o, "replicas",
				       json_object_new_uint64(p->in.stage[i].replicas));
		add_double(o, "slept_ns", worked_ns(p, i));
		add_double(o, "utilisation", p->result.utilisation[i]);
		json_object_array_add(stages, o);
	}
	return stages;
}

static struct json_object *row_json(const struct pipeline *p, int row)
{
	struct json_object *o = json_object_new_object();

	add_double(o, "predicted_ns", p->row[row].predicted);
	add_double(o, "measured_ns", p->row[row].measured.median);
	add_double(o, "min_ns", p->row[row].measured.min);
	add_double(o, "max_ns", p->row[row].measured.max);
	add_double(o, "ratio", ratio(p, row));
	return o;
}

/* The median of the rounds. */
static double measured(const struct pipeline *p, enum pipeline_way way, uint64_t k)
{
	double v[PIPELINE_MAX_ROUNDS];

	for (unsigned int i = 0; i < p->rounds; i++)
		v[i] = (double)p->sh->done[way][i][k];
	return stats_median(v, p->rounds);
}

static struct json_object *results_json(const struct pipeline *p, enum pipeline_way way)
{
	struct json_object *results = json_object_new_array();

	for (uint64_t k = 0; k < p->in.messages; k++) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "predicted_ns",
				       json_object_new_uint64(p->predicted[way][k]));
		add_double(o, "measured_ns", measured(p, way, k));
		json_object_array_add(results, o);
	}
	return results;
}

int pipeline_write_json(const struct pipeline *p, FILE *f)
{
	struct json_object *o = json_object_new_object(), *compared = json_object_new_object();
	int err;

	json_object_object_add(o, "command", json_object_new_string("pipeline"));
	json_object_object_add(o, "machine", perf_machine_json());
	json_object_object_add(o, "messages", json_object_new_uint64(p->in.messages));
	json_object_object_add(o, "rounds", json_object_new_int((int)p->rounds));
	json_object_object_add(o, "stages", stages_json(p));
	json_object_object_add(o, "bottleneck", json_object_new_uint64(p->result.bottleneck));
	json_object_object_add(o, "hop_ns", json_object_new_uint64(p->in.hop_ns));
	add_double(o, "measured_hop_ns", p->sh->hop_ns);
	for (int row = 0; row < PIPELINE_ROWS; row++)
		json_object_object_add(compared, rows[row].key, row_json(p, row));
	json_object_object_add(o, "rows", compared);
	json_object_object_add(o, "asynchronous", results_json(p, ASYNCHRONOUS));
	json_object_object_add(o, "synchronous", results_json(p, SYNCHRONOUS));
	err = fprintf(f, "%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY)) < 0;
	json_object_put(o);
	return err ? -EIO : 0;
}

int pipeline_write_plot(const struct pipeline *p, FILE *f)
{
	fputs("# n, then seconds: asynchronously predicted, measured, synchronously alike\n", f);
	for (uint64_t k = 0; k < p->in.messages; k++) {
		fprintf(f, "%llu", (unsigned long long)k + 1);
		for (int way = 0; way < PIPELINE_WAYS; way++)
			fprintf(f, " %.6f %.6f", (double)p->predicted[way][k] / 1e9,
				measured(p, (enum pipeline_way)way, k) / 1e9);
		fputc('\n', f);
	}
	return ferror(f) ? -EIO : 0;
}
