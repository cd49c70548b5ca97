// SPDX-License-Identifier: MIT
/* blas.c - matrix products on OpenBLAS */
#include <cblas.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "blas.h"

#define FEW_ROWS	8		/* above this many rows of x, packing pays for itself */
#define GEMM_BLOCK	128		/* rows of weights; small enough for kernels without packing */
#define GEMV_BLOCK_BYTES (256u << 10)	/* of weights, to stay in the second-level cache */

static char name[160];
static bool packs_small;	/* the chosen sgemm packs even the smallest operands */

void blas_init(void)
{
	const char *core = openblas_get_corename();

	openblas_set_num_threads(1);
	packs_small = strcmp(core, "SkylakeX") && strcmp(core, "Cooperlake") &&
		      strcmp(core, "SapphireRapids");
	snprintf(name, sizeof(name), "%s", openblas_get_config());
}

const char *blas_name(void)
{
	return name;
}

static void gemm_wt(const float *w, size_t rows, size_t cols, const float *x, size_t ldx, size_t m,
		    float beta, float *y, size_t ldy)
{
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, rows, cols, 1, x, ldx, w, cols,
		    beta, y, ldy);
}

static void gemv_wt(const float *w, size_t rows, size_t cols, const float *x, float beta, float *y)
{
	cblas_sgemv(CblasRowMajor, CblasNoTrans, rows, cols, 1, w, cols, x, 1, beta, y, 1);
}

void matmul_wt(const float *w, size_t rows, size_t cols, const float *x, size_t ldx, size_t m,
	       bool add, float *y, size_t ldy)
{
	const float beta = add ? 1 : 0;
	size_t block = GEMM_BLOCK;

	if (m == 1) {
		gemv_wt(w, rows, cols, x, beta, y);
		return;
	}
	if (m > FEW_ROWS) {
		gemm_wt(w, rows, cols, x, ldx, m, beta, y, ldy);
		return;
	}
	if (packs_small)
		block = GEMV_BLOCK_BYTES / sizeof(float) / cols + 1;
	for (size_t r = 0; r < rows; r += block) {
		size_t n = rows - r < block ? rows - r : block;

		if (!packs_small) {
			gemm_wt(w + r * cols, n, cols, x, ldx, m, beta, y + r, ldy);
			continue;
		}
		for (size_t i = 0; i < m; i++)
			gemv_wt(w + r * cols, n, cols, x + i * ldx, beta, y + i * ldy + r);
	}
}

void matmul_v(const float *v, size_t n, size_t cols, const float *p, size_t ldp, size_t m,
	      float *y, size_t ldy)
{
	if (m == 1 || (packs_small && m <= FEW_ROWS)) {
		for (size_t i = 0; i < m; i++)
			cblas_sgemv(CblasRowMajor, CblasTrans, n, cols, 1, v, cols, p + i * ldp, 1,
				    0, y + i * ldy, 1);
		return;
	}
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, cols, n, 1, p, ldp, v, cols, 0,
		    y, ldy);
}
