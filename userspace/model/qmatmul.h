/* SPDX-License-Identifier: MIT */
/*
 * qmatmul.h - products of a few vectors with weights as they are packed in the file
 *
 * OpenBLAS multiplies f32 only. For a few vectors such a product takes as long as reading its
 * weights, and packed ones are four to six times smaller: so they are unpacked in registers,
 * between memory and multiplication. Unpacked values, inputs and sums are f32: a result differs
 * from that of the f32 weights only by the order of additions. That order is the same for every
 * number of vectors, so a vector's result does not depend on the others.
 */
#ifndef SLUICE_MODEL_QMATMUL_H
#define SLUICE_MODEL_QMATMUL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* Most vectors at once, whatever the instructions; see qmatmul_limit(). */
#define QMATMUL_MAX	16u

struct qmatmul_weights {
	const void *data;	/* [rows][cols] in the blocks of the format */
	size_t rows;
	size_t cols;
	uint32_t type;		/* enum ggml_type */
};

/**
 * qmatmul_choose() - which instructions to use, for the whole process
 * @name: "avx512", "avx2", "portable"; "off" for none of them; "auto" or NULL for what is
 *	fastest on this processor
 *
 * Return: 0, -EINVAL for another name, -EOPNOTSUPP if this processor cannot do it.
 */
int qmatmul_choose(const char *name);

/**
 * qmatmul_init() - choose what the environment variable SLUICE_QMATMUL says, "auto" without it
 *
 * Return: as qmatmul_choose(), with a one-line reason.
 */
int qmatmul_init(struct model_error *err);

/** qmatmul_name() - what was chosen; "off" before */
const char *qmatmul_name(void);

/**
 * qmatmul_limit() - most vectors at once with what was chosen
 *
 * As many as are faster so than with f32 weights, which need no unpacking; 0 if "off".
 */
size_t qmatmul_limit(void);

/** qmatmul_takes() - is there a kernel for rows of @cols values of this format? */
bool qmatmul_takes(uint32_t type, size_t cols);

/** qmatmul_bytes() - size of @w */
size_t qmatmul_bytes(const struct qmatmul_weights *w);

/**
 * qmatmul() - y = x W^T (+ y)
 * @w: of a format and width that qmatmul_takes()
 * @x: [m] rows of w->cols values, @ldx floats apart
 * @m: at most qmatmul_limit()
 * @add: add to @y instead of overwriting it
 * @y: [m] rows of w->rows values, @ldy floats apart
 */
void qmatmul(const struct qmatmul_weights *w, const float *x, size_t ldx, size_t m, bool add,
	     float *y, size_t ldy);

#endif /* SLUICE_MODEL_QMATMUL_H */
