// SPDX-License-Identifier: MIT
/*
 * figures.c: options, table, JSON and plot data of commands that measure figures in rounds
 */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "figures.h"

/* ------------------------------------------------------------------ options --- */

#define MAX_OPTIONS	16
#define FIRST_OWN	256

enum { OPT_ROUNDS = 1, OPT_JSON, OPT_JSON_FILE, OPT_PLOT_FILE, OPT_QUIET };

static const struct option common[] = {
	{ "rounds", required_argument, NULL, OPT_ROUNDS },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "json-file", required_argument, NULL, OPT_JSON_FILE },
	{ "plot-file", required_argument, NULL, OPT_PLOT_FILE },
	{ "quiet", no_argument, NULL, OPT_QUIET },
	{ "help", no_argument, NULL, 'h' },
};

#define N_COMMON	(sizeof(common) / sizeof(common[0]))

static void help(const struct figures *f)
{
	char left[32];

	printf("usage: sluice-perf %s [OPTION...]\n\n%s\n", f->command, f->about);
	for (const struct figures_option *o = f->options; o->name; o++) {
		snprintf(left, sizeof(left), "--%s %s", o->name, o->argument);
		printf("  %-18s %s\n", left, o->help);
	}
	printf("  %-18s default %u\n", "--rounds N", f->rounds);
	puts("  --json             JSON on standard output instead of the table\n"
	     "  --json-file FILE   JSON into FILE as well\n"
	     "  --plot-file FILE   series for gnuplot into FILE: x, median, least, most\n"
	     "  --quiet            no progress on standard error\n");
	printf("example: %s\n", f->example);
}

static int own_option(const struct figures_option *o, const char *text)
{
	char name[32];

	snprintf(name, sizeof(name), "--%s", o->name);
	if (o->is_time)
		return perf_parse_time(name, text, o->max, o->value);
	return perf_parse_count(name, text, o->min, o->max, o->value);
}

static int common_option(struct figures *f, int opt, const char *text)
{
	uint64_t v = 0;
	int err = 0;

	switch (opt) {
	case OPT_ROUNDS:
		err = perf_parse_count("--rounds", text, 1, FIGURES_MAX_ROUNDS, &v);
		f->rounds = (unsigned int)v;
		break;
	case OPT_JSON:
		f->json = true;
		break;
	case OPT_JSON_FILE:
		f->json_file = text;
		break;
	case OPT_PLOT_FILE:
		f->plot_file = text;
		break;
	case OPT_QUIET:
		perf_set_quiet(true);
		break;
	default:
		err = -EINVAL;
	}
	return err;
}

int figures_parse(struct figures *f, int argc, char **argv)
{
	struct option all[N_COMMON + MAX_OPTIONS + 1] = { 0 };
	int opt, err = 0, n = N_COMMON;

	memcpy(all, common, sizeof(common));
	for (const struct figures_option *o = f->options; o->name && n < MAX_OPTIONS; o++)
		all[n++] = (struct option){ o->name, required_argument, NULL,
					    FIRST_OWN + (int)(o - f->options) };
	while (!err && (opt = getopt_long(argc, argv, "h", all, NULL)) != -1) {
		if (opt == 'h') {
			help(f);
			return 1;
		}
		err = opt >= FIRST_OWN ? own_option(&f->options[opt - FIRST_OWN], optarg) :
					 common_option(f, opt, optarg);
	}
	return err ? err : perf_no_arguments(f->command, argc, argv);
}

/* ------------------------------------------------------------------- points --- */

const struct figures_point *figures_find(const struct figures *f, const char *series, double x)
{
	for (int i = 0; i < f->n; i++)
		if (f->point[i].x == x && !strcmp(f->point[i].series, series))
			return &f->point[i];
	return NULL;
}

void figures_add(struct figures *f, const char *series, double x, double value)
{
	struct figures_point *p = (struct figures_point *)figures_find(f, series, x);

	if (!p) {
		if (f->n == FIGURES_MAX_POINTS)
			return;
		p = &f->point[f->n++];
		p->series = series;
		p->x = x;
	}
	if (p->rounds < FIGURES_MAX_ROUNDS)
		p->round[p->rounds++] = value;
	perf_progress("round %2u  %-12s %12g  %14.2f %s", p->rounds, series, x, value, f->unit);
}

struct stats_spread figures_ratio(const struct figures_point *p, const struct figures_point *to)
{
	unsigned int n = p->rounds < to->rounds ? p->rounds : to->rounds;
	double ratio[FIGURES_MAX_ROUNDS];

	for (unsigned int i = 0; i < n; i++)
		ratio[i] = p->round[i] / to->round[i];
	return stats_spread(ratio, n);
}

/* What a point is put beside: the base at its place, or the beginning of its own series. */
static const struct figures_point *base_of(const struct figures *f, const struct figures_point *p)
{
	if (f->base)
		return figures_find(f, f->base, p->x);
	for (int i = 0; i < f->n; i++)
		if (!strcmp(f->point[i].series, p->series))
			return &f->point[i];
	return NULL;
}

/* ------------------------------------------------------------------- output --- */

static void print(const struct figures *f, FILE *out)
{
	perf_machine_print(out);
	fprintf(out, "%s, %u rounds interleaved\n\n", f->command, f->rounds);
	fprintf(out, "%-14s %12s %14s %24s   x %s (least-most)\n", "", f->x_name, f->unit,
		"(least-most)", f->base ? f->base : "the first");
	for (int i = 0; i < f->n; i++) {
		const struct figures_point *p = &f->point[i], *to = base_of(f, p);
		struct stats_spread s = stats_spread(p->round, p->rounds);
		char range[40];

		snprintf(range, sizeof(range), "(%.2f-%.2f)", s.min, s.max);
		fprintf(out, "%-14s %12g %14.2f %24s", p->series, p->x, s.median, range);
		if (to) {
			s = figures_ratio(p, to);
			fprintf(out, "   %.3f (%.3f-%.3f)", s.median, s.min, s.max);
		}
		fputc('\n', out);
	}
}

static struct json_object *spread_json(struct stats_spread s)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "median", json_object_new_double(s.median));
	json_object_object_add(o, "min", json_object_new_double(s.min));
	json_object_object_add(o, "max", json_object_new_double(s.max));
	return o;
}

static struct json_object *point_json(const struct figures *f, const struct figures_point *p)
{
	struct json_object *o = json_object_new_object(), *rounds = json_object_new_array();
	const struct figures_point *to = base_of(f, p);

	json_object_object_add(o, "series", json_object_new_string(p->series));
	json_object_object_add(o, "x", json_object_new_double(p->x));
	for (unsigned int i = 0; i < p->rounds; i++)
		json_object_array_add(rounds, json_object_new_double(p->round[i]));
	json_object_object_add(o, "rounds", rounds);
	json_object_object_add(o, "value", spread_json(stats_spread(p->round, p->rounds)));
	if (to)
		json_object_object_add(o, "ratio", spread_json(figures_ratio(p, to)));
	return o;
}

static int write_json(const struct figures *f, FILE *out)
{
	struct json_object *o = json_object_new_object(), *points = json_object_new_array();
	int err;

	json_object_object_add(o, "command", json_object_new_string(f->command));
	json_object_object_add(o, "machine", perf_machine_json());
	json_object_object_add(o, "x", json_object_new_string(f->x_name));
	json_object_object_add(o, "unit", json_object_new_string(f->unit));
	json_object_object_add(o, "rounds", json_object_new_int((int)f->rounds));
	for (const struct figures_option *opt = f->options; opt->name; opt++)
		json_object_object_add(o, opt->name, json_object_new_uint64(*opt->value));
	for (int i = 0; i < f->n; i++)
		json_object_array_add(points, point_json(f, &f->point[i]));
	json_object_object_add(o, "points", points);
	err = fprintf(out, "%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY)) < 0;
	json_object_put(o);
	return err ? -EIO : 0;
}

/* A block a series, in the order of their first points. */
static int write_plot(const struct figures *f, FILE *out)
{
	for (int i = 0; i < f->n; i++) {
		const struct figures_point *first = &f->point[i];

		if (base_of(f, first) != first && f->base == NULL)
			continue;
		for (int k = 0; k < i; k++)
			if (!strcmp(f->point[k].series, first->series))
				goto seen;
		fprintf(out, "%s\"%s\"\n", i ? "\n\n" : "", first->series);
		for (int k = i; k < f->n; k++) {
			const struct figures_point *p = &f->point[k];
			struct stats_spread s = stats_spread(p->round, p->rounds);

			if (!strcmp(p->series, first->series))
				fprintf(out, "%g %g %g %g\n", p->x, s.median, s.min, s.max);
		}
seen:		;
	}
	return ferror(out) ? -EIO : 0;
}

static int write_file(const struct figures *f, const char *path,
		      int (*write)(const struct figures *f, FILE *out))
{
	FILE *out;
	int err;

	if (!path)
		return 0;
	out = fopen(path, "we");
	err = out ? write(f, out) : -errno;
	if (out && fclose(out) && !err)
		err = -errno;
	if (err)
		perf_error("%s: cannot write it: %s", path, strerror(-err));
	return err;
}

int figures_report(const struct figures *f)
{
	int err = 0;

	if (f->json)
		err = write_json(f, stdout);
	else
		print(f, stdout);
	if (!err)
		err = write_file(f, f->json_file, write_json);
	if (!err)
		err = write_file(f, f->plot_file, write_plot);
	return err;
}

int figures_exit(int err)
{
	if (err == -EINTR)
		return 130;
	return err ? PERF_EXIT_FAILED : 0;
}
