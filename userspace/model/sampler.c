// SPDX-License-Identifier: MIT
/*
 * sampler.c - greedy, temperature, top-k and top-p
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "sampler.h"
#include "vecmath.h"

struct sampler {
	uint32_t n_vocab;
	float *prob;	/* [n_vocab] unnormalised */
	int32_t *heap;	/* [n_vocab] ids, the likeliest on top */
	int32_t *kept;	/* [n_vocab] ids that may be drawn, likeliest first */
};

int sampler_create(uint32_t n_vocab, struct sampler **out)
{
	struct sampler *s = calloc(1, sizeof(*s));

	*out = NULL;
	if (!n_vocab || n_vocab > INT32_MAX) {
		free(s);
		return -EINVAL;
	}
	if (!s)
		return -ENOMEM;
	s->n_vocab = n_vocab;
	s->prob = malloc(n_vocab * sizeof(*s->prob));
	s->heap = malloc(n_vocab * sizeof(*s->heap));
	s->kept = malloc(n_vocab * sizeof(*s->kept));
	if (!s->prob || !s->heap || !s->kept) {
		sampler_free(s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

void sampler_free(struct sampler *s)
{
	if (!s)
		return;
	free(s->prob);
	free(s->heap);
	free(s->kept);
	free(s);
}

int sampler_check(const struct sampler_params *p, struct model_error *err)
{
	/* Written so that NaN fails. */
	if (!(p->temperature >= 0 && p->temperature <= 100))
		return model_fail(err, EINVAL, "temperature %g is not between 0 (greedy) and 100",
				  (double)p->temperature);
	if (!(p->top_p > 0 && p->top_p <= 1))
		return model_fail(err, EINVAL, "top-p %g is not above 0 and at most 1",
				  (double)p->top_p);
	return 0;
}

/* Philox 4x32-10 (Salmon et al. 2011): ten rounds of a keyed bijection of the counter. */
static void philox(uint32_t c[4], uint32_t k0, uint32_t k1)
{
	for (int round = 0; round < 10; round++) {
		uint64_t a = (uint64_t)c[0] * 0xd2511f53u;
		uint64_t b = (uint64_t)c[2] * 0xcd9e8d57u;

		c[0] = (uint32_t)(b >> 32) ^ c[1] ^ k0;
		c[2] = (uint32_t)(a >> 32) ^ c[3] ^ k1;
		c[1] = (uint32_t)b;
		c[3] = (uint32_t)a;
		k0 += 0x9e3779b9u;
		k1 += 0xbb67ae85u;
	}
}

double sampler_uniform(uint64_t seed, uint64_t counter)
{
	uint32_t c[4] = { (uint32_t)counter, (uint32_t)(counter >> 32), 0, 0 };

	philox(c, (uint32_t)seed, (uint32_t)(seed >> 32));
	return (double)(((uint64_t)c[1] << 32 | c[0]) >> 11) * 0x1p-53;
}

/* Index of the largest number, the first of equals; -EINVAL if there is none. */
static int32_t argmax(const float *x, uint32_t n)
{
	int32_t best = -EINVAL;

	for (uint32_t i = 0; i < n; i++) {
		if (!isnan(x[i]) && (best < 0 || x[i] > x[best]))
			best = i;
	}
	return best;
}

/* exp((logit - max) / temperature) for all; 0 for NaN. Returns the sum. */
static double make_probs(struct sampler *s, const float *logits, float max, float temperature)
{
	double sum = 0;

	for (uint32_t i = 0; i < s->n_vocab; i++) {
		float x = (logits[i] - max) / temperature;

		s->prob[i] = isnan(x) ? -INFINITY : x;
	}
	vec_exp(s->prob, s->prob, s->n_vocab);
	for (uint32_t i = 0; i < s->n_vocab; i++)
		sum += s->prob[i];
	return sum;
}

static int goes_before(const struct sampler *s, int32_t a, int32_t b)
{
	return s->prob[a] != s->prob[b] ? s->prob[a] > s->prob[b] : a < b;
}

static void sift_down(struct sampler *s, size_t i, size_t n)
{
	int32_t id = s->heap[i];

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= n)
			break;
		if (child + 1 < n && goes_before(s, s->heap[child + 1], s->heap[child]))
			child++;
		if (!goes_before(s, s->heap[child], id))
			break;
		s->heap[i] = s->heap[child];
		i = child;
	}
	s->heap[i] = id;
}

/*
 * Move the likeliest ids from the heap to kept, likeliest first, until there are k of them or they
 * make up @enough. Building a heap is linear, and only those that are kept get sorted.
 */
static uint32_t keep_best(struct sampler *s, uint32_t k, double enough, double *sum)
{
	uint32_t n = s->n_vocab, n_kept = 0;

	for (uint32_t i = 0; i < n; i++)
		s->heap[i] = i;
	for (size_t i = n / 2; i--; )
		sift_down(s, i, n);
	*sum = 0;
	while (n && n_kept < k && *sum < enough) {
		s->kept[n_kept] = s->heap[0];
		*sum += s->prob[s->heap[0]];
		n_kept++;
		s->heap[0] = s->heap[--n];
		sift_down(s, 0, n);
	}
	return n_kept;
}

/* Of the k best, the fewest that make up top_p of their sum. */
static uint32_t cut_top_p(const struct sampler *s, uint32_t n, float top_p, double *sum)
{
	double enough = *sum * top_p;

	*sum = 0;
	for (uint32_t i = 0; i < n; i++) {
		*sum += s->prob[s->kept[i]];
		if (*sum >= enough)
			return i + 1;
	}
	return n;
}

/* The id at which the running sum passes @target; the last possible one if rounding eats it. */
static int32_t walk(const struct sampler *s, const int32_t *ids, uint32_t n, double target)
{
	int32_t last = -EINVAL;
	double sum = 0;

	for (uint32_t i = 0; i < n; i++) {
		int32_t id = ids ? ids[i] : (int32_t)i;

		if (!(s->prob[id] > 0))
			continue;
		sum += s->prob[id];
		last = id;
		if (sum > target)
			break;
	}
	return last;
}

int32_t sampler_sample(struct sampler *s, const struct sampler_params *p, uint64_t counter,
		       const float *logits)
{
	int32_t best = argmax(logits, s->n_vocab);
	double sum, u;
	uint32_t n;

	if (sampler_check(p, NULL))
		return -EINVAL;
	/* With an infinite logit there is nothing to draw. */
	if (best < 0 || p->temperature == 0 || p->top_k == 1 || isinf(logits[best]))
		return best;

	u = sampler_uniform(p->seed, counter);
	sum = make_probs(s, logits, logits[best], p->temperature);
	if (!p->top_k && p->top_p >= 1)
		return walk(s, NULL, s->n_vocab, u * sum);
	if (!p->top_k) {
		n = keep_best(s, s->n_vocab, sum * p->top_p, &sum);
	} else {
		n = keep_best(s, p->top_k, INFINITY, &sum);
		if (p->top_p < 1)
			n = cut_top_p(s, n, p->top_p, &sum);
	}
	return walk(s, s->kept, n, u * sum);
}
