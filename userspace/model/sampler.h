/* SPDX-License-Identifier: MIT */
/*
 * sampler.h - from logits to a token
 *
 * Sampling is a pure function of (logits, parameters, counter): no state is carried from one token
 * to the next, so a stage that repeats a step after a death picks the same token again. Logits are
 * divided by the temperature first, then the top k are kept, then of these the top p.
 */
#ifndef SLUICE_MODEL_SAMPLER_H
#define SLUICE_MODEL_SAMPLER_H

#include <stdint.h>

#include "error.h"

struct sampler_params {
	float temperature;	/* 0 = greedy; otherwise > 0 */
	uint32_t top_k;		/* keep the k best; 0 = all */
	float top_p;		/* keep the best that sum up to this, (0, 1]; 1 = all */
	uint64_t seed;
};

struct sampler;

/** sampler_create() - working memory for vocabularies of @n_vocab; free with sampler_free() */
int sampler_create(uint32_t n_vocab, struct sampler **out);

/** sampler_free() - NULL is allowed */
void sampler_free(struct sampler *s);

/**
 * sampler_check() - are these parameters in range (not NaN, not negative)?
 *
 * Return: 0, or -EINVAL with the name of the parameter and its range.
 */
int sampler_check(const struct sampler_params *p, struct model_error *err);

/**
 * sampler_sample() - choose a token
 * @s: working memory; not shared between threads
 * @p: parameters that sampler_check() accepts
 * @counter: number of this token in its stream; with the seed it gives the random number
 * @logits: [n_vocab], not changed
 *
 * Ties go to the lower id. NaN logits are never chosen.
 *
 * Return: a token id, -EINVAL if no logit is a number or a parameter is out of range.
 */
int32_t sampler_sample(struct sampler *s, const struct sampler_params *p, uint64_t counter,
		       const float *logits);

/** sampler_uniform() - random number in [0, 1) of (seed, counter), by Philox 4x32-10 */
double sampler_uniform(uint64_t seed, uint64_t counter);

#endif /* SLUICE_MODEL_SAMPLER_H */
