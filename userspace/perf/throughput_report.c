// SPDX-License-Identifier: MIT
/*
 * throughput_report.c: the results of sluice-perf throughput as table, JSON and plot data
 */
#include <errno.h>
#include <json-c/json.h>

#include "throughput.h"

static const char *work_name(const struct throughput *t)
{
	return t->work == WORK_FLOW ? "flow" : "payload";
}

static void print_ratio(FILE *f, const struct throughput *t, const struct throughput_row *row,
			const char *to_name)
{
	const struct throughput_row *to = throughput_find(t, to_name, row->size);
	struct stats_spread s;

	if (!to) {
		fprintf(f, "  %20s", "-");
		return;
	}
	s = throughput_ratio(t, row, to);
	fprintf(f, "  %7.*f (%.*f-%.*f)", s.median < 100 ? 2 : 0, s.median, s.min < 100 ? 2 : 0,
		s.min, s.max < 100 ? 2 : 0, s.max);
}

static void print_row(const struct throughput *t, const struct throughput_row *row, FILE *f)
{
	struct stats_spread s;

	fprintf(f, "%-18s %8zu", row->peer->name, row->size);
	if (row->failed[0]) {
		fprintf(f, "  %s\n", row->failed);
		return;
	}
	s = stats_spread(row->ns, t->rounds);
	fprintf(f, " %12.1f %10.3f %9.3f", s.median, 1e3 / s.median,
		(double)row->size / s.median);
	print_ratio(f, t, row, "ring");
	print_ratio(f, t, row, "sluice");
	fputc('\n', f);
}

void throughput_print(const struct throughput *t, FILE *f)
{
	perf_machine_print(f);
	fprintf(f, "%s, %s, %u rounds interleaved, processors %d and %d%s\n\n",
		work_name(t), t->mode == MODE_SPIN ? "spinning" : "sleeping", t->rounds,
		t->cpus[0], t->cpus[1],
		t->untouched ? ", only the first word written and read" : "");
	fprintf(f, "%-18s %8s %12s %10s %9s   %s\n", "peer", "bytes", "ns", "million/s", "GB/s",
		"time x ring, time x sluice (least-most)");
	for (int i = 0; i < t->n_rows; i++)
		print_row(t, &t->row[i], f);
	fprintf(f, "\nns: %s; median of the rounds. Ratios: median of the rounds' ratios.\n",
		t->work == WORK_FLOW ? "for a message, at the receiver" :
				       "from writing a payload to its answer");
}

static void add_spread(struct json_object *o, const char *key, struct stats_spread s)
{
	struct json_object *v = json_object_new_object();

	json_object_object_add(v, "median", json_object_new_double(s.median));
	json_object_object_add(v, "min", json_object_new_double(s.min));
	json_object_object_add(v, "max", json_object_new_double(s.max));
	json_object_object_add(o, key, v);
}

static struct json_object *row_json(const struct throughput *t, const struct throughput_row *row)
{
	const struct throughput_row *ring = throughput_find(t, "ring", row->size);
	const struct throughput_row *sluice = throughput_find(t, "sluice", row->size);
	struct json_object *o = json_object_new_object(), *rounds;

	json_object_object_add(o, "peer", json_object_new_string(row->peer->name));
	json_object_object_add(o, "title", json_object_new_string(row->peer->title));
	json_object_object_add(o, "size", json_object_new_uint64(row->size));
	json_object_object_add(o, "slots", json_object_new_uint64(row->slots));
	if (row->failed[0]) {
		json_object_object_add(o, "failed", json_object_new_string(row->failed));
		return o;
	}
	rounds = json_object_new_array();
	for (unsigned int i = 0; i < t->rounds; i++)
		json_object_array_add(rounds, json_object_new_double(row->ns[i]));
	json_object_object_add(o, "messages", json_object_new_uint64(row->messages));
	json_object_object_add(o, "round_ns", rounds);
	add_spread(o, "ns", stats_spread(row->ns, t->rounds));
	if (ring)
		add_spread(o, "ratio_ring", throughput_ratio(t, row, ring));
	if (sluice)
		add_spread(o, "ratio_sluice", throughput_ratio(t, row, sluice));
	return o;
}

int throughput_write_json(const struct throughput *t, FILE *f)
{
	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();
	int err;

	json_object_object_add(o, "command", json_object_new_string("throughput"));
	json_object_object_add(o, "machine", perf_machine_json());
	json_object_object_add(o, "work", json_object_new_string(work_name(t)));
	json_object_object_add(o, "mode", json_object_new_string(t->mode == MODE_SPIN ? "spin" :
									  "sleep"));
	json_object_object_add(o, "untouched", json_object_new_boolean(t->untouched));
	json_object_object_add(o, "rounds", json_object_new_int((int)t->rounds));
	for (int i = 0; i < t->n_rows; i++)
		json_object_array_add(rows, row_json(t, &t->row[i]));
	json_object_object_add(o, "rows", rows);
	err = fprintf(f, "%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY)) < 0;
	json_object_put(o);
	return err ? -EIO : 0;
}

/* Rows are by size; a curve is by peer. */
int throughput_write_plot(const struct throughput *t, FILE *f)
{
	bool first = true;

	for (int i = 0; i < t->n_rows && t->row[i].size == t->sizes[0]; i++) {
		const char *name = t->row[i].peer->name;

		fprintf(f, "%s\"%s\"\n", first ? "" : "\n\n", name);
		first = false;
		for (int s = 0; s < t->n_sizes; s++) {
			const struct throughput_row *row = throughput_find(t, name, t->sizes[s]);
			double ns = row ? stats_spread(row->ns, t->rounds).median : 0;

			if (row)
				fprintf(f, "%zu %g\n", row->size, t->work == WORK_FLOW ?
					(double)row->size / ns : ns);
		}
	}
	return ferror(f) ? -EIO : 0;
}
