// SPDX-License-Identifier: MIT
/*
 * stats.c: exact percentiles of recorded samples
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stats.h"

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void stats_sort(uint64_t *v, size_t n)
{
	qsort(v, n, sizeof(*v), compare_u64);
}

/* Index of the first sample that is not below @v. */
static size_t lower_bound(const uint64_t *sorted, size_t n, uint64_t v)
{
	size_t low = 0;

	while (low < n) {
		size_t mid = low + (n - low) / 2;

		if (sorted[mid] < v)
			low = mid + 1;
		else
			n = mid;
	}
	return low;
}

uint64_t stats_percentile(const uint64_t *sorted, size_t n, double p)
{
	/* p * n may lie a hair above the whole number it stands for. */
	double rank = ceil(p * (double)n - 1e-12 * (double)n);

	if (rank < 1)
		return sorted[0];
	if (rank > (double)n)
		return sorted[n - 1];
	return sorted[(size_t)rank - 1];
}

double stats_median_grouped(const uint64_t *sorted, size_t n)
{
	uint64_t v = stats_percentile(sorted, n, 0.5);
	size_t first = lower_bound(sorted, n, v), end = lower_bound(sorted, n, v + 1);
	double below = first ? (double)(v - sorted[first - 1]) / 2 : 0;
	double above = end < n ? (double)(sorted[end] - v) / 2 : below;

	if (end - first == 1)
		return (double)v;
	if (!first)
		below = above;
	return (double)v - below +
	       (below + above) * ((double)n / 2 - (double)first) / (double)(end - first);
}

double stats_mean(const uint64_t *v, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)v[i];
	return n ? sum / (double)n : 0;
}

double stats_median(const double *v, size_t n)
{
	double sorted[n ? n : 1];

	if (!n)
		return 0;
	memcpy(sorted, v, n * sizeof(*v));
	qsort(sorted, n, sizeof(*sorted), compare_double);
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

struct stats_spread stats_spread(const double *v, size_t n)
{
	struct stats_spread s = { .median = stats_median(v, n), .min = v[0], .max = v[0] };

	for (size_t i = 1; i < n; i++) {
		s.min = fmin(s.min, v[i]);
		s.max = fmax(s.max, v[i]);
	}
	return s;
}
