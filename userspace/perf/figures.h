/* SPDX-License-Identifier: MIT */
/*
 * figures.h: the common part of commands that measure figures over some x, in rounds
 *
 * Options from a table, and results as series of points: table, JSON and plot data are written in
 * one place for all.
 */
#ifndef SLUICE_PERF_FIGURES_H
#define SLUICE_PERF_FIGURES_H

#include "perf.h"
#include "stats.h"

#define FIGURES_MAX_POINTS	256
#define FIGURES_MAX_ROUNDS	50

/**
 * struct figures_option - an option of a command
 * @value:	its default, and what was given
 * @min:	at least; ignored for a time
 * @max:	at most (ns, for a time)
 * @is_time:	a duration with its unit
 * @help:	what it is, with the default
 */
struct figures_option {
	const char *name;
	const char *argument;
	uint64_t *value;
	uint64_t min;
	uint64_t max;
	bool is_time;
	const char *help;
};

/**
 * struct figures_point - one figure, measured in every round
 * @series:	what it belongs to
 * @x:		at which place
 */
struct figures_point {
	const char *series;
	double x;
	double round[FIGURES_MAX_ROUNDS];
	unsigned int rounds;
};

/**
 * struct figures - a command's description, settings and results
 * @command:	its name
 * @about:	paragraphs for --help
 * @example:	for --help, too
 * @options:	its own, ended by one without a name
 * @x_name:	what the points stand at, with its unit
 * @unit:	of a figure
 * @base:	series that the others are a ratio to, at the same x; NULL: the same series' first
 * @rounds:	of measuring; a default, then what was asked for
 */
struct figures {
	const char *command;
	const char *about;
	const char *example;
	const struct figures_option *options;
	const char *x_name;
	const char *unit;
	const char *base;
	unsigned int rounds;
	bool json;
	const char *json_file;
	const char *plot_file;
	struct figures_point point[FIGURES_MAX_POINTS];
	int n;
};

/** figures_parse() - return: 0 go on, 1 done already (--help), or a negative errno */
int figures_parse(struct figures *f, int argc, char **argv);

/** figures_add() - the next round's figure of @series at @x; @series is kept, not copied */
void figures_add(struct figures *f, const char *series, double x, double value);

/** figures_find() - NULL if nothing was measured there */
const struct figures_point *figures_find(const struct figures *f, const char *series, double x);

/** figures_ratio() - of two points, round by round */
struct stats_spread figures_ratio(const struct figures_point *p, const struct figures_point *to);

/** figures_report() - table or JSON on standard output, and the files; 0 or a negative errno */
int figures_report(const struct figures *f);

/** figures_exit() - exit status of a command that ended with @err */
int figures_exit(int err);

#endif /* SLUICE_PERF_FIGURES_H */
