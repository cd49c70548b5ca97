// SPDX-License-Identifier: MIT
/*
 * dequant.c - GGML's plain formats (blocks of 32) to f32, and the table of all formats
 *
 * The K-quants, which share scales inside super-blocks of 256, are in dequant_k.c.
 */
#include <string.h>

#include "dequant_pvt.h"

#define BLOCK	32	/* values in a block of every format here but the float ones */

static void f32_to_f32(const void *blocks, float *out, size_t n)
{
	memcpy(out, blocks, n * sizeof(*out));
}

static void f16_to_f32(const void *blocks, float *out, size_t n)
{
	const uint16_t *in = blocks;

	for (size_t i = 0; i < n; i++)
		out[i] = half_to_float(in[i]);
}

static void bf16_to_f32(const void *blocks, float *out, size_t n)
{
	const uint16_t *in = blocks;

	for (size_t i = 0; i < n; i++) {
		uint32_t bits = (uint32_t)in[i] << 16;

		memcpy(&out[i], &bits, sizeof(bits));
	}
}

struct block_q4_0 {
	uint16_t d;
	uint8_t qs[BLOCK / 2];
};

static void q4_0_to_f32(const void *blocks, float *out, size_t n)
{
	const struct block_q4_0 *b = blocks;

	for (; n; n--, b++, out += BLOCK) {
		float d = half_to_float(b->d);

		for (int j = 0; j < BLOCK / 2; j++) {
			out[j] = d * ((b->qs[j] & 15) - 8);
			out[j + BLOCK / 2] = d * ((b->qs[j] >> 4) - 8);
		}
	}
}

struct block_q4_1 {
	uint16_t d, m;
	uint8_t qs[BLOCK / 2];
};

static void q4_1_to_f32(const void *blocks, float *out, size_t n)
{
	const struct block_q4_1 *b = blocks;

	for (; n; n--, b++, out += BLOCK) {
		float d = half_to_float(b->d);
		float m = half_to_float(b->m);

		for (int j = 0; j < BLOCK / 2; j++) {
			out[j] = d * (b->qs[j] & 15) + m;
			out[j + BLOCK / 2] = d * (b->qs[j] >> 4) + m;
		}
	}
}

struct block_q5_0 {
	uint16_t d;
	uint8_t qh[4];
	uint8_t qs[BLOCK / 2];
};

static void q5_0_to_f32(const void *blocks, float *out, size_t n)
{
	const struct block_q5_0 *b = blocks;

	for (; n; n--, b++, out += BLOCK) {
		float d = half_to_float(b->d);
		uint32_t qh;

		memcpy(&qh, b->qh, sizeof(qh));
		for (int j = 0; j < BLOCK / 2; j++) {
			int lo = (b->qs[j] & 15) | ((qh >> j) & 1) << 4;
			int hi = (b->qs[j] >> 4) | ((qh >> (j + 16)) & 1) << 4;

			out[j] = d * (lo - 16);
			out[j + BLOCK / 2] = d * (hi - 16);
		}
	}
}

struct block_q5_1 {
	uint16_t d, m;
	uint8_t qh[4];
	uint8_t qs[BLOCK / 2];
};

static void q5_1_to_f32(const void *blocks, float *out, size_t n)
{
	const struct block_q5_1 *b = blocks;

	for (; n; n--, b++, out += BLOCK) {
		float d = half_to_float(b->d);
		float m = half_to_float(b->m);
		uint32_t qh;

		memcpy(&qh, b->qh, sizeof(qh));
		for (int j = 0; j < BLOCK / 2; j++) {
			int lo = (b->qs[j] & 15) | ((qh >> j) & 1) << 4;
			int hi = (b->qs[j] >> 4) | ((qh >> (j + 16)) & 1) << 4;

			out[j] = d * lo + m;
			out[j + BLOCK / 2] = d * hi + m;
		}
	}
}

struct block_q8_0 {
	uint16_t d;
	int8_t qs[BLOCK];
};

static void q8_0_to_f32(const void *blocks, float *out, size_t n)
{
	const struct block_q8_0 *b = blocks;

	for (; n; n--, b++, out += BLOCK) {
		float d = half_to_float(b->d);

		for (int j = 0; j < BLOCK; j++)
			out[j] = d * b->qs[j];
	}
}

_Static_assert(sizeof(struct block_q4_0) == 18, "q4_0 block");
_Static_assert(sizeof(struct block_q4_1) == 20, "q4_1 block");
_Static_assert(sizeof(struct block_q5_0) == 22, "q5_0 block");
_Static_assert(sizeof(struct block_q5_1) == 24, "q5_1 block");
_Static_assert(sizeof(struct block_q8_0) == 34, "q8_0 block");

static const struct dequant_format formats[] = {
	{ "F32", GGML_F32, 1, 4, f32_to_f32 },
	{ "F16", GGML_F16, 1, 2, f16_to_f32 },
	{ "BF16", GGML_BF16, 1, 2, bf16_to_f32 },
	{ "Q4_0", GGML_Q4_0, BLOCK, sizeof(struct block_q4_0), q4_0_to_f32 },
	{ "Q4_1", GGML_Q4_1, BLOCK, sizeof(struct block_q4_1), q4_1_to_f32 },
	{ "Q5_0", GGML_Q5_0, BLOCK, sizeof(struct block_q5_0), q5_0_to_f32 },
	{ "Q5_1", GGML_Q5_1, BLOCK, sizeof(struct block_q5_1), q5_1_to_f32 },
	{ "Q8_0", GGML_Q8_0, BLOCK, sizeof(struct block_q8_0), q8_0_to_f32 },
	{ "Q2_K", GGML_Q2_K, QK_K, 84, dequant_q2_k },
	{ "Q3_K", GGML_Q3_K, QK_K, 110, dequant_q3_k },
	{ "Q4_K", GGML_Q4_K, QK_K, 144, dequant_q4_k },
	{ "Q5_K", GGML_Q5_K, QK_K, 176, dequant_q5_k },
	{ "Q6_K", GGML_Q6_K, QK_K, 210, dequant_q6_k },
};

const struct dequant_format *dequant_format(uint32_t type)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (formats[i].type == type)
			return &formats[i];
	}
	return NULL;
}

const char *dequant_names(void)
{
	return "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K or Q6_K";
}
