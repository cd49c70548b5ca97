/* SPDX-License-Identifier: MIT */
/*
 * stats.h: exact percentiles of recorded samples
 *
 * Every sample is kept and sorted: a run has a few million at most, and nothing
 * is rounded into a histogram's buckets.
 */
#ifndef SLUICE_PERF_STATS_H
#define SLUICE_PERF_STATS_H

#include <stddef.h>
#include <stdint.h>

/** stats_sort() - ascending, in place */
void stats_sort(uint64_t *v, size_t n);

/**
 * stats_percentile() - the smallest sample that at least a fraction @p is not above
 * @sorted:	ascending, @n > 0 of them
 * @p:		0..1; 0 is the smallest sample, 1 the largest
 *
 * The nearest-rank definition: always one of the samples.
 */
uint64_t stats_percentile(const uint64_t *sorted, size_t n, double p);

/**
 * stats_median_grouped() - the median between the steps of a coarse clock
 * @sorted:	ascending, @n > 0 of them
 *
 * Cycle counters of virtual machines may advance in steps of 10 ns, a tenth of
 * what is measured here. Equal samples are taken as spread evenly halfway to
 * their next neighbours (the median of grouped data), so that two medians can
 * be told apart by less than a step. Without equal samples it is the median.
 */
double stats_median_grouped(const uint64_t *sorted, size_t n);

double stats_mean(const uint64_t *v, size_t n);

/** stats_median() - of a few values in any order; the mean of the middle two if @n is even */
double stats_median(const double *v, size_t n);

/** struct stats_spread - the median of a few values and how far they lie apart */
struct stats_spread {
	double median;
	double min;
	double max;
};

/** stats_spread() - of @n > 0 values */
struct stats_spread stats_spread(const double *v, size_t n);

#endif /* SLUICE_PERF_STATS_H */
