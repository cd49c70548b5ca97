/* SPDX-License-Identifier: MIT */
/* dequant_pvt.h - shared by dequant.c and dequant_k.c; use dequant.h */
#ifndef SLUICE_MODEL_DEQUANT_PVT_H
#define SLUICE_MODEL_DEQUANT_PVT_H

#include <string.h>

#include "dequant.h"

#define QK_K	256	/* values in a super-block of the K-quants */

/*
 * IEEE half to single. The exponent is rebased by a multiplication, which also normalises
 * subnormals; infinities and NaN keep their meaning. No branch on data, so loops vectorise.
 */
static inline float half_to_float(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16;
	uint32_t rest = (uint32_t)(h & 0x7fff) << 13;
	uint32_t bits;
	float f;

	memcpy(&f, &rest, sizeof(f));
	f *= 0x1p112f;
	memcpy(&bits, &f, sizeof(bits));
	bits |= (h & 0x7c00) == 0x7c00 ? 0x7f800000u : 0;
	bits |= sign;
	memcpy(&f, &bits, sizeof(f));
	return f;
}

void dequant_q2_k(const void *blocks, float *out, size_t n_blocks);
void dequant_q3_k(const void *blocks, float *out, size_t n_blocks);
void dequant_q4_k(const void *blocks, float *out, size_t n_blocks);
void dequant_q5_k(const void *blocks, float *out, size_t n_blocks);
void dequant_q6_k(const void *blocks, float *out, size_t n_blocks);

#endif /* SLUICE_MODEL_DEQUANT_PVT_H */
