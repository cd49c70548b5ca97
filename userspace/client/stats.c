// SPDX-License-Identifier: MIT
/* stats.c - the timing chains of many tokens, as one table */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

struct samples {
	uint64_t	*ns;
	size_t		n, max;
	uint64_t	total;
};

struct hop_stats {
	struct samples	queue, service;
	uint64_t	bytes;
};

struct client_stats {
	struct hop_stats hop[MSG_STAGE_COUNT];
	uint64_t	tokens;
	uint64_t	first_published;	/* request, in ticks */
	uint64_t	first_claimed;		/* first token here */
	uint64_t	last_claimed;
};

int client_stats_create(struct client_stats **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void client_stats_free(struct client_stats *s)
{
	if (!s)
		return;
	for (int i = 0; i < MSG_STAGE_COUNT; i++) {
		free(s->hop[i].queue.ns);
		free(s->hop[i].service.ns);
	}
	free(s);
}

static int sample_add(struct samples *s, uint64_t from, uint64_t to)
{
	/* Cycle counters of two processors may differ by a little: not less than nothing. */
	uint64_t ns = to > from ? sluice_ticks_to_ns(to - from) : 0;

	if (s->n == s->max) {
		size_t max = s->max ? 2 * s->max : 256;
		uint64_t *p = realloc(s->ns, max * sizeof(*p));

		if (!p)
			return -ENOMEM;
		s->ns = p;
		s->max = max;
	}
	s->ns[s->n++] = ns;
	s->total += ns;
	return 0;
}

int client_stats_add(struct client_stats *s, const struct client_event *ev)
{
	for (uint32_t i = 0; i < ev->n_hops; i++) {
		const struct msg_hop *h = &ev->hops[i];
		struct hop_stats *to = &s->hop[h->stage];

		if (sample_add(&to->queue, h->published, h->claimed) ||
		    sample_add(&to->service, h->claimed, h->done))
			return -ENOMEM;
		to->bytes += h->bytes;
	}
	if (!ev->n_hops || ev->type == CLIENT_ERROR)
		return 0;
	if (!s->first_claimed) {
		s->first_published = ev->hops[0].published;
		s->first_claimed = ev->hops[ev->n_hops - 1].claimed;
	}
	s->last_claimed = ev->hops[ev->n_hops - 1].claimed;
	s->tokens++;
	return 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Nearest rank, as usual for latencies. */
static uint64_t percentile(const struct samples *s, unsigned int percent)
{
	uint64_t *sorted, value;
	size_t rank = (s->n * percent + 99) / 100;

	sorted = s->n ? malloc(s->n * sizeof(*sorted)) : NULL;
	if (!sorted)
		return 0;
	memcpy(sorted, s->ns, s->n * sizeof(*sorted));
	qsort(sorted, s->n, sizeof(*sorted), compare);
	value = sorted[rank ? rank - 1 : 0];
	free(sorted);
	return value;
}

int client_stats_row(const struct client_stats *s, enum msg_stage stage,
		     struct client_stats_row *row)
{
	const struct hop_stats *h = &s->hop[stage];
	uint64_t all = 0;

	if (!h->queue.n)
		return -ENOENT;
	for (int i = 0; i < MSG_STAGE_COUNT; i++)
		all += s->hop[i].queue.total + s->hop[i].service.total;
	*row = (struct client_stats_row){
		.stage = stage,
		.messages = h->queue.n,
		.bytes = h->bytes,
		.queue_p50 = percentile(&h->queue, 50),
		.queue_p99 = percentile(&h->queue, 99),
		.service_p50 = percentile(&h->service, 50),
		.service_p99 = percentile(&h->service, 99),
		.queue_total = h->queue.total,
		.service_total = h->service.total,
		.share = all ? (double)(h->queue.total + h->service.total) / (double)all : 0,
	};
	return 0;
}

double client_stats_rate(const struct client_stats *s)
{
	uint64_t ticks = s->last_claimed - s->first_claimed;

	if (s->tokens < 2 || !ticks)
		return 0;
	return (double)(s->tokens - 1) * 1e9 / (double)sluice_ticks_to_ns(ticks);
}

uint64_t client_stats_first(const struct client_stats *s)
{
	return s->tokens ? sluice_ticks_to_ns(s->first_claimed - s->first_published) : 0;
}

/* ------------------------------------------------------------- the table --- */

static const char *duration(uint64_t ns, char text[16])
{
	if (ns < 10000000)
		snprintf(text, 16, "%.1f us", (double)ns / 1e3);
	else if (ns < 10000000000)
		snprintf(text, 16, "%.1f ms", (double)ns / 1e6);
	else
		snprintf(text, 16, "%.2f s", (double)ns / 1e9);
	return text;
}

static const char *size(uint64_t bytes, char text[16])
{
	if (bytes < 10000)
		snprintf(text, 16, "%llu B", (unsigned long long)bytes);
	else if (bytes < 10000000)
		snprintf(text, 16, "%.1f kB", (double)bytes / 1e3);
	else
		snprintf(text, 16, "%.1f MB", (double)bytes / 1e6);
	return text;
}

void client_stats_print(const struct client_stats *s, FILE *f)
{
	struct client_stats_row row;
	char b[16], q50[16], q99[16], s50[16], s99[16], first[16];

	fprintf(f, "%-10s %8s %10s %12s %12s %12s %12s %7s\n", "hop to", "messages", "bytes",
		"queue p50", "queue p99", "service p50", "service p99", "share");
	for (unsigned int i = 0; i < MSG_STAGE_COUNT; i++) {
		if (client_stats_row(s, (enum msg_stage)i, &row))
			continue;
		fprintf(f, "%-10s %8llu %10s %12s %12s %12s %12s %5.1f %%\n", msg_stage_name(i),
			(unsigned long long)row.messages, size(row.bytes, b),
			duration(row.queue_p50, q50), duration(row.queue_p99, q99),
			duration(row.service_p50, s50), duration(row.service_p99, s99),
			row.share * 100);
	}
	fprintf(f, "%llu tokens, the first after %s, then %.1f tokens/s\n",
		(unsigned long long)s->tokens, duration(client_stats_first(s), first),
		client_stats_rate(s));
}
