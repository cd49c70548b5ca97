/* SPDX-License-Identifier: MIT */
/*
 * blas.h - the shapes of matrix product that the forward pass needs, on OpenBLAS
 *
 * Everything is row-major f32. OpenBLAS packs its operands before a product, which for a few rows
 * of x costs more than the product; so weights are then taken in blocks of rows small enough for
 * its kernels without packing, or that stay in the second-level cache between streams.
 */
#ifndef SLUICE_MODEL_BLAS_H
#define SLUICE_MODEL_BLAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** blas_init() - one BLAS thread for this process, and find out which kernels OpenBLAS chose */
void blas_init(void);

/** blas_name() - OpenBLAS version and core, a static string */
const char *blas_name(void);

/**
 * matmul_wt() - y = x W^T (+ y)
 * @w: [rows][cols] weights
 * @x: [m] rows of @cols values, @ldx floats apart
 * @y: [m] rows of @rows values, @ldy floats apart
 * @add: add to @y instead of overwriting it
 */
void matmul_wt(const float *w, size_t rows, size_t cols, const float *x, size_t ldx, size_t m,
	       bool add, float *y, size_t ldy);

/**
 * matmul_v() - y = p V, where V has as many rows as p has columns
 * @v: [n][cols]
 * @p: [m] rows of @n values, @ldp floats apart
 * @y: [m] rows of @cols values, @ldy floats apart; overwritten
 */
void matmul_v(const float *v, size_t n, size_t cols, const float *p, size_t ldp, size_t m,
	      float *y, size_t ldy);

#endif /* SLUICE_MODEL_BLAS_H */
