// SPDX-License-Identifier: MIT
/* predict.c - how long a pipeline takes, from the service times of its stages */

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "predict.h"

const char *const predict_policies[] = {
	[PREDICT_SHARED]		= "shared",
	[PREDICT_ROUND_ROBIN]		= "round-robin",
	[PREDICT_LEAST_OUTSTANDING]	= "least-outstanding",
	[PREDICT_WEIGHTED]		= "weighted",
	[PREDICT_AFFINITY]		= "affinity",
	NULL
};

static bool by_stream(const struct predict_stage *s)
{
	return s->policy == PREDICT_AFFINITY && s->replicas > 1;
}

static bool any_by_stream(const struct predict_input *in)
{
	for (uint32_t i = 0; i < in->nstages; i++)
		if (by_stream(&in->stage[i]))
			return true;
	return false;
}

static int check(const struct predict_input *in)
{
	if (!in->nstages || in->nstages > PREDICT_MAX_STAGES || !in->messages)
		return -EINVAL;
	for (uint32_t i = 0; i < in->nstages; i++) {
		const struct predict_stage *s = &in->stage[i];

		if (!s->replicas || s->replicas > PREDICT_MAX_REPLICAS ||
		    s->policy > PREDICT_AFFINITY || (by_stream(s) && !in->streams))
			return -EINVAL;
	}
	return 0;
}

/* ------------------------------------------------------------- bottleneck --- */

/* The stage's interval is service * share / of: the busiest replica gets that share of messages. */
struct busiest {
	uint32_t share;
	uint32_t of;
};

static struct busiest busiest(const struct predict_input *in, const struct predict_stage *s)
{
	uint32_t streams = in->streams, replicas = s->replicas;

	if (!by_stream(s))
		return (struct busiest){ 1, replicas };
	return (struct busiest){ streams / replicas + (streams % replicas != 0), streams };
}

/* In whole numbers, so that equal stages are equal: 64 + 32 + 32 bits. */
static bool is_slower(const struct predict_input *in, uint32_t a, uint32_t b)
{
	struct busiest x = busiest(in, &in->stage[a]), y = busiest(in, &in->stage[b]);

	return (unsigned __int128)in->stage[a].service_ns * x.share * y.of >
	       (unsigned __int128)in->stage[b].service_ns * y.share * x.of;
}

static uint32_t bottleneck(const struct predict_input *in)
{
	uint32_t slowest = 0;

	for (uint32_t i = 1; i < in->nstages; i++)
		if (is_slower(in, i, slowest))
			slowest = i;
	return slowest;
}

static void steady_flow(const struct predict_input *in, struct predict_result *out)
{
	for (uint32_t i = 0; i < in->nstages; i++) {
		struct busiest b = busiest(in, &in->stage[i]);

		out->stage_interval_ns[i] = (double)in->stage[i].service_ns * b.share / b.of;
	}
	out->bottleneck = bottleneck(in);
	out->interval_ns = out->stage_interval_ns[out->bottleneck];
	out->per_second = out->interval_ns > 0 ? 1e9 / out->interval_ns : INFINITY;
	for (uint32_t i = 0; i < in->nstages; i++) {
		const struct predict_stage *s = &in->stage[i];

		out->utilisation[i] = out->interval_ns > 0 ?
			(double)s->service_ns / s->replicas / out->interval_ns : 0;
	}
}

/* --------------------------------------------------- message by message --- */

struct message {
	uint64_t at;		/* when it is where it is */
	uint64_t number;
};

static int by_time(const void *a, const void *b)
{
	const struct message *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static int delay_all(struct message *m, uint64_t n, uint64_t ns)
{
	for (uint64_t k = 0; k < n; k++)
		if (__builtin_add_overflow(m[k].at, ns, &m[k].at))
			return -EOVERFLOW;
	return 0;
}

/* The tandem queue: a message leaves at max(its arrival, its replica is free) + T. */
static int pass_stage(const struct predict_input *in, const struct predict_stage *s,
		      struct message *m, uint64_t n)
{
	uint64_t idle_from[PREDICT_MAX_REPLICAS] = { 0 };

	for (uint64_t k = 0; k < n; k++) {
		uint64_t turn = by_stream(s) ? m[k].number % in->streams : k;
		uint64_t *idle = &idle_from[turn % s->replicas];
		uint64_t start = m[k].at > *idle ? m[k].at : *idle;

		if (__builtin_add_overflow(start, s->service_ns, idle))
			return -EOVERFLOW;
		m[k].at = *idle;
	}
	/* Where replicas serve in turn, messages leave in the order in which they came. */
	if (by_stream(s))
		qsort(m, n, sizeof(*m), by_time);
	return 0;
}

static int pass_all(const struct predict_input *in, struct message *m, uint64_t n)
{
	int err = delay_all(m, n, in->hop_ns);

	for (uint32_t i = 0; i < in->nstages && !err; i++) {
		err = pass_stage(in, &in->stage[i], m, n);
		if (!err)
			err = delay_all(m, n, in->hop_ns);
	}
	return err;
}

/* In order; *done is freed by the caller. */
static int follow(const struct predict_input *in, uint64_t n, struct message **done)
{
	struct message *m;
	int err;

	if (n > PREDICT_MAX_STEPS)
		return -E2BIG;
	m = calloc(n, sizeof(*m));
	if (!m)
		return -ENOMEM;
	for (uint64_t k = 0; k < n; k++)
		m[k].number = k;
	err = pass_all(in, m, n);
	if (err)
		free(m);
	else
		*done = m;
	return err;
}

int predict_results(const struct predict_input *in, uint64_t n, uint64_t *done)
{
	struct message *m;
	int err = check(in);

	if (!err && n)
		err = follow(in, n, &m);
	if (err || !n)
		return err;
	for (uint64_t k = 0; k < n; k++)
		done[k] = m[k].at;
	free(m);
	return 0;
}

/* ------------------------------------------------------------------ whole --- */

/*
 * How many rounds of the bottleneck's replicas may be left out of @n messages, and added as their
 * service times afterwards, exactly.
 *
 * Where replicas serve in turn, the recursion unfolds to: the last of n messages is done after
 * sum T_i plus the best filling of a knapsack of n - 1 with items of weight r_i and value T_i. The
 * bottleneck b has the best value for its weight. Among any r_b other items some have weights that
 * add up to a multiple of r_b, and bottlenecks instead of them are not worse. So fewer than r_b
 * other items are needed, and whatever room they leave is filled with bottlenecks.
 */
static uint64_t rounds_left_out(const struct predict_input *in, uint64_t n)
{
	uint32_t own = in->stage[bottleneck(in)].replicas, most = 1;
	uint64_t enough;

	if (any_by_stream(in))
		return 0;
	for (uint32_t i = 0; i < in->nstages; i++)
		if (in->stage[i].replicas > most)
			most = in->stage[i].replicas;
	enough = (uint64_t)(own - 1) * most + own;
	return n > enough ? (n - 1 - enough) / own + 1 : 0;
}

static int pipelined(const struct predict_input *in, uint64_t *ns)
{
	const struct predict_stage *b = &in->stage[bottleneck(in)];
	uint64_t rounds = rounds_left_out(in, in->messages), rest;
	uint64_t n = in->messages - rounds * b->replicas;
	struct message *m;
	int err = follow(in, n, &m);

	if (err)
		return err;
	*ns = m[n - 1].at;
	free(m);
	if (__builtin_mul_overflow(rounds, b->service_ns, &rest) ||
	    __builtin_add_overflow(*ns, rest, ns))
		return -EOVERFLOW;
	return 0;
}

static int sum_service(const struct predict_input *in, uint64_t *sum)
{
	*sum = 0;
	for (uint32_t i = 0; i < in->nstages; i++)
		if (__builtin_add_overflow(*sum, in->stage[i].service_ns, sum))
			return -EOVERFLOW;
	return 0;
}

int predict(const struct predict_input *in, struct predict_result *out)
{
	uint64_t hops;
	int err = check(in);

	if (!err)
		err = sum_service(in, &out->first_ns);
	if (err)
		return err;
	if (__builtin_mul_overflow(in->hop_ns, in->nstages + 1, &hops) ||
	    __builtin_add_overflow(out->first_ns, hops, &out->first_ns) ||
	    __builtin_mul_overflow(in->messages, out->first_ns, &out->synchronous_ns))
		return -EOVERFLOW;
	steady_flow(in, out);
	return pipelined(in, &out->pipelined_ns);
}

int predict_article(const struct predict_input *in, uint64_t balancers,
		    struct predict_article *out)
{
	uint64_t longest = 0, sum;
	int err = check(in);

	if (!err)
		err = sum_service(in, &sum);
	if (err)
		return err;
	for (uint32_t i = 0; i < in->nstages; i++)
		if (in->stage[i].service_ns > longest)
			longest = in->stage[i].service_ns;
	out->synchronous_ns = longest;
	if (__builtin_add_overflow(longest, sum, &out->asynchronous_ns) ||
	    __builtin_mul_overflow(balancers, longest, &out->balancers_ns))
		return -EOVERFLOW;
	return 0;
}
