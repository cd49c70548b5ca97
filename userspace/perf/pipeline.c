// SPDX-License-Identifier: MIT
/*
 * pipeline.c: sluice-perf pipeline: real stages against what sluicectl model predicts
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline.h"

static const char usage_text[] =
"usage: sluice-perf pipeline [OPTION...]\n"
"\n"
"Stages, each a process or several, claim a message, work, publish the result and\n"
"acknowledge. A client sends messages asynchronously (all at once), then\n"
"synchronously (each when the one before is back). First result, interval and\n"
"completion are compared with the prediction of 'sluicectl model'. Work is a sleep\n"
"of the given length, so that no stage needs a processor for it.\n"
"\n"
"  --times LIST      of the stages, default 60ms,90ms,120ms; at most 16, up to 10s\n"
"  --replicas LIST   processes of each stage, default 1 each; at most 16\n"
"  --messages N      default 10, 2 to 1000\n"
"  --rounds N        default 5; the median of them is compared\n"
"  --hop TIME        that the prediction takes from process to process, default 0\n"
"  --check PERCENT   exit status 1 if a ratio is farther from 1 than that\n"
"  --json            JSON on standard output instead of the table\n"
"  --json-file FILE  JSON into FILE as well\n"
"  --plot-file FILE  completion against the number of messages, for gnuplot, into FILE\n"
"  --quiet           no progress on standard error\n"
"\n"
"examples: sluice-perf pipeline\n"
"          sluice-perf pipeline --times 60ms,90ms,120ms --replicas 1,1,2 --check 10%\n";

struct pipeline_file {
	const char *path;
	FILE *f;
};

struct pipeline_files {
	bool json;
	struct pipeline_file json_file;
	struct pipeline_file plot_file;
};

/* --------------------------------------------------------- command line --- */

/* The parts of a list, one after the other; NULL at the end. */
static const char *next_part(char **rest)
{
	return strsep(rest, ",");
}

static int parse_times(struct pipeline *p, char *list)
{
	const char *part;
	int err = 0;

	p->in.nstages = 0;
	while (!err && (part = next_part(&list))) {
		if (p->in.nstages == PIPELINE_MAX_STAGES) {
			perf_error("--times: at most %d stages", PIPELINE_MAX_STAGES);
			return -EINVAL;
		}
		err = perf_parse_time("--times", part, PIPELINE_MAX_TIME_S * 1000000000ull,
				      &p->in.stage[p->in.nstages++].service_ns);
	}
	return err;
}

static int parse_replicas(struct pipeline *p, char *list)
{
	uint32_t n = 0;
	const char *part;

	if (!list)
		return 0;
	while ((part = next_part(&list))) {
		uint64_t replicas;
		int err = perf_parse_count("--replicas", part, 1, PIPELINE_MAX_REPLICAS, &replicas);

		if (err)
			return err;
		if (n < p->in.nstages)
			p->in.stage[n].replicas = (uint32_t)replicas;
		n++;
	}
	if (n == p->in.nstages)
		return 0;
	perf_error("--replicas: %u numbers for %u stages", n, p->in.nstages);
	return -EINVAL;
}

static int parse_percent(struct pipeline *p, const char *text)
{
	char *end;

	p->percent = strtod(text, &end);
	if (end != text && (!*end || !strcmp(end, "%")) && p->percent >= 0 && p->percent <= 1000)
		return 0;
	perf_error("--check: '%s' is not a percentage such as 10%%", text);
	return -EINVAL;
}

static const struct option long_options[] = {
	{ "times", required_argument, NULL, 't' },
	{ "replicas", required_argument, NULL, 'r' },
	{ "messages", required_argument, NULL, 'n' },
	{ "rounds", required_argument, NULL, 'R' },
	{ "hop", required_argument, NULL, 'H' },
	{ "check", required_argument, NULL, 'c' },
	{ "json", no_argument, NULL, 'j' },
	{ "json-file", required_argument, NULL, 'J' },
	{ "plot-file", required_argument, NULL, 'P' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int parse_value(struct pipeline *p, int opt, const char *text)
{
	uint64_t v = 0;
	int err;

	switch (opt) {
	case 'n':
		return perf_parse_count("--messages", text, 2, PIPELINE_MAX_MESSAGES,
					&p->in.messages);
	case 'R':
		err = perf_parse_count("--rounds", text, 1, PIPELINE_MAX_ROUNDS, &v);
		p->rounds = (unsigned int)v;
		return err;
	case 'H':
		return perf_parse_time("--hop", text, 1000000000, &p->in.hop_ns);
	case 'c':
		return parse_percent(p, text);
	}
	return -EINVAL;
}

/* Return: 0 go on, 1 done already, or a negative errno. */
static int parse_options(struct pipeline *p, struct pipeline_files *files, int argc, char **argv)
{
	char *replicas = NULL;
	int opt, err = 0;

	while (!err && (opt = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (opt) {
		case 't': err = parse_times(p, optarg); break;
		case 'r': replicas = optarg; break;
		case 'j': files->json = true; break;
		case 'J': files->json_file.path = optarg; break;
		case 'P': files->plot_file.path = optarg; break;
		case 'q': perf_set_quiet(true); break;
		case 'h': fputs(usage_text, stdout); return 1;
		case '?': return -EINVAL;
		default: err = parse_value(p, opt, optarg); break;
		}
	}
	if (!err)
		err = perf_no_arguments("pipeline", argc, argv);
	return err ? err : parse_replicas(p, replicas);
}

/* ---------------------------------------------------------------- whole --- */

static int open_file(struct pipeline_file *file)
{
	if (!file->path)
		return 0;
	file->f = fopen(file->path, "we");
	if (file->f)
		return 0;
	perf_error("%s: %s", file->path, strerror(errno));
	return -EIO;
}

static int write_file(const struct pipeline *p, struct pipeline_file *file,
		      int (*write)(const struct pipeline *p, FILE *f))
{
	int err;

	if (!file->f)
		return 0;
	err = write(p, file->f);
	if (fclose(file->f) || err) {
		perf_error("%s: cannot write it", file->path);
		return -EIO;
	}
	return 0;
}

static int report(const struct pipeline *p, struct pipeline_files *files)
{
	int err = 0;

	if (files->json)
		err = pipeline_write_json(p, stdout);
	else
		pipeline_print(p, stdout);
	fflush(stdout);
	if (!err)
		err = write_file(p, &files->json_file, pipeline_write_json);
	if (!err)
		err = write_file(p, &files->plot_file, pipeline_write_plot);
	return err;
}

static int make_prediction(struct pipeline *p)
{
	uint64_t n = p->in.messages;
	int err = predict(&p->in, &p->result);

	if (!err)
		err = predict_results(&p->in, n, p->predicted[ASYNCHRONOUS]);
	for (uint64_t k = 0; k < n; k++)
		p->predicted[SYNCHRONOUS][k] = (k + 1) * p->result.first_ns;
	if (err)
		perf_error("no prediction: %s", strerror(-err));
	return err;
}

int perf_pipeline_main(int argc, char **argv)
{
	static struct pipeline p = { .rounds = 5, .percent = -1, .in = { .messages = 10 } };
	struct pipeline_files files = { 0 };
	char times[] = "60ms,90ms,120ms";
	int err;

	for (int i = 0; i < PIPELINE_MAX_STAGES; i++)
		p.in.stage[i].replicas = 1;
	err = parse_times(&p, times);
	if (!err)
		err = parse_options(&p, &files, argc, argv);
	if (err)
		return err > 0 ? 0 : PERF_EXIT_USAGE;
	err = open_file(&files.json_file);
	if (!err)
		err = open_file(&files.plot_file);
	if (!err)
		err = make_prediction(&p);
	if (!err)
		err = pipeline_run(&p);
	if (!err) {
		pipeline_compare(&p);
		err = report(&p, &files);
	}
	if (!err)
		err = pipeline_check(&p);
	if (err == -EINTR)
		return 130;
	return err ? PERF_EXIT_FAILED : 0;
}
