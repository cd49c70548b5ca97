/* SPDX-License-Identifier: MIT */
/* qmatmul_pvt.h - shared by the qmatmul_*.c files; use qmatmul.h */
#ifndef SLUICE_MODEL_QMATMUL_PVT_H
#define SLUICE_MODEL_QMATMUL_PVT_H

#include "dequant.h"
#include "qmatmul.h"

#define QMATMUL_BLOCK	32	/* values that a kernel takes at a time: a block, or 32 floats */

/*
 * How far ahead weights are fetched. Without it, reading them is half as fast: the processor's own
 * prefetch stops at every page, and a row is a fraction of one.
 */
#define QMATMUL_AHEAD	8192

/* One product; see qmatmul(). */
struct qmatmul_job {
	const uint8_t *w;
	size_t rows;
	size_t row_bytes;
	size_t n_blocks;	/* of QMATMUL_BLOCK values in a row */
	const float *x;
	size_t ldx;
	size_t m;
	float *y;
	size_t ldy;
	bool add;
};

typedef void (*qmatmul_fn)(const struct qmatmul_job *job);

/* The kernel of an instruction set for a format, or NULL. */
qmatmul_fn qmatmul_avx512(uint32_t type);
qmatmul_fn qmatmul_avx2(uint32_t type);

static inline void qmatmul_store(const struct qmatmul_job *j, size_t row, size_t k, float sum)
{
	float *y = j->y + k * j->ldy + row;

	*y = j->add ? *y + sum : sum;
}

#endif /* SLUICE_MODEL_QMATMUL_PVT_H */
