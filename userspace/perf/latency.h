/* SPDX-License-Identifier: MIT */
/*
 * latency.h: a latency measurement, its settings and its results
 */
#ifndef SLUICE_PERF_LATENCY_H
#define SLUICE_PERF_LATENCY_H

#include "peer.h"
#include "run.h"
#include "stats.h"

#define LATENCY_MAX_ROWS	64
#define LATENCY_MAX_ROUNDS	100

/**
 * struct latency_row - one peer in one mode, over all rounds
 * @samples:	room for rounds * messages round trips, in ticks; sorted when all are there
 * @round_p50:	median of each round, ns
 * @switches:	voluntary context switches of ping and of pong, all rounds
 * @failed:	why a peer that is a program of its own could not be measured; "" = it was
 */
struct latency_row {
	const struct peer *peer;
	enum peer_mode mode;
	uint64_t messages;
	uint64_t warmup;
	uint64_t *samples;
	uint64_t n_samples;
	double round_p50[LATENCY_MAX_ROUNDS];
	uint64_t switches[2];
	char failed[160];
};

struct latency {
	unsigned int modes;
	size_t size;
	uint32_t slots;
	unsigned int rounds;
	uint64_t messages;		/* 0: by mode */
	uint64_t round_ns;		/* a slow peer gets fewer messages, to be done in this time; 0: none */
	uint64_t warmup;		/* UINT64_MAX: a tenth of the messages */
	int cpus[2];
	unsigned int timeout_s;
	const struct peer *selected[LATENCY_MAX_ROWS];
	int n_selected;			/* 0: all */
	struct latency_row row[LATENCY_MAX_ROWS];
	int n_rows;
};

const char *latency_mode_name(enum peer_mode mode);

/** latency_floor() - the row that others are a ratio to; NULL if it was not measured */
const struct latency_row *latency_floor(const struct latency *l);
/** latency_unix() - the Unix stream socket waiting as @row does, or sleeping when it cannot */
const struct latency_row *latency_unix(const struct latency *l, const struct latency_row *row);

/* Of all rounds of a row, in ns; the median is finer than a coarse clock's steps. */
double latency_percentile(const struct latency_row *row, double p);
double latency_median(const struct latency_row *row);
double latency_mean(const struct latency_row *row);

/** latency_ratio() - of medians, round by round: both were measured within the same second */
struct stats_spread latency_ratio(const struct latency *l, const struct latency_row *row,
				  const struct latency_row *to);

/** latency_print() - the table */
void latency_print(const struct latency *l, FILE *f);
/** latency_write_json() - return: 0 or a negative errno */
int latency_write_json(const struct latency *l, FILE *f);
/**
 * latency_write_plot() - the distributions for gnuplot
 *
 * One block a row: its title in quotes, then lines of 1/(1-p) and ns.
 */
int latency_write_plot(const struct latency *l, FILE *f);

#endif /* SLUICE_PERF_LATENCY_H */
