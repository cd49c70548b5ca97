/* SPDX-License-Identifier: MIT */
/*
 * vecmath.h - the parts of the forward pass that BLAS has not
 *
 * Written as loops that gcc vectorises, compiled for several instruction sets; the loader picks
 * one, so the same binary runs on every x86-64.
 */
#ifndef SLUICE_MODEL_VECMATH_H
#define SLUICE_MODEL_VECMATH_H

#include <stddef.h>
#include <stdint.h>

/** vec_exp() - y[i] = exp(x[i]) within 2 ulp; 0 below -87.33, infinity above 88.37 */
void vec_exp(const float *x, float *y, size_t n);

/** vec_rmsnorm() - y = x / sqrt(mean(x^2) + eps) * gain, one vector of @n */
void vec_rmsnorm(const float *x, const float *gain, float *y, size_t n, float eps);

/** vec_softmax() - of x * @scale (above 0), in place, one vector of @n >= 1 values */
void vec_softmax(float *x, size_t n, float scale);

/**
 * vec_weighted_sums() - y = p V for few rows of p
 * @v: [n][cols]
 * @p: [m][n]
 * @y: [m][cols], overwritten
 */
void vec_weighted_sums(const float *v, size_t n, size_t cols, const float *p, size_t m, float *y);

/** vec_silu_mul() - gate = silu(gate) * up */
void vec_silu_mul(float *gate, const float *up, size_t n);

/**
 * vec_rope() - rotate adjacent pairs (x[2i], x[2i+1]) by the angles of one position
 * @x: @n_heads heads of @head_dim values; the first @rope_dim of each are rotated
 * @cosine: [rope_dim / 2]
 * @sine: [rope_dim / 2]
 */
void vec_rope(float *x, size_t n_heads, size_t head_dim, size_t rope_dim, const float *cosine,
	      const float *sine);

/** vec_read() - read @n words as fast as memory gives them; returns their exclusive or */
uint32_t vec_read(const uint32_t *x, size_t n);

#endif /* SLUICE_MODEL_VECMATH_H */
