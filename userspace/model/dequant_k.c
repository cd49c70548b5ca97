// SPDX-License-Identifier: MIT
/*
 * dequant_k.c - GGML's K-quants: super-blocks of 256 values with small integer scales inside
 */
#include "dequant_pvt.h"

struct block_q2_k {
	uint8_t scales[QK_K / 16];	/* low nibble scale, high nibble minimum */
	uint8_t qs[QK_K / 4];
	uint16_t d, dmin;
};

void dequant_q2_k(const void *blocks, float *out, size_t n)
{
	const struct block_q2_k *b = blocks;

	for (; n; n--, b++) {
		float d = half_to_float(b->d);
		float dmin = half_to_float(b->dmin);

		/* Value i: 128 to a half, 4 layers of bits over the half's 32 bytes. */
		for (int i = 0; i < QK_K; i++) {
			int half = i / 128, shift = i / 32 % 4 * 2;
			int q = b->qs[half * 32 + i % 32] >> shift & 3;
			int scale = b->scales[i / 16];

			*out++ = d * (scale & 15) * q - dmin * (scale >> 4);
		}
	}
}

struct block_q3_k {
	uint8_t hmask[QK_K / 8];
	uint8_t qs[QK_K / 4];
	uint8_t scales[12];		/* 16 scales of 6 bits */
	uint16_t d;
};

static int q3_k_scale(const uint8_t *s, int j)
{
	int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
	int high = s[8 + j % 4] >> (j / 4 * 2) & 3;

	return (low | high << 4) - 32;
}

void dequant_q3_k(const void *blocks, float *out, size_t n)
{
	const struct block_q3_k *b = blocks;

	for (; n; n--, b++) {
		float d = half_to_float(b->d);

		for (int i = 0; i < QK_K; i++) {
			int half = i / 128, layer = i / 32 % 4;
			int q = b->qs[half * 32 + i % 32] >> (layer * 2) & 3;
			int high = b->hmask[i % 32] >> (half * 4 + layer) & 1;

			*out++ = d * q3_k_scale(b->scales, i / 16) * (q - (high ? 0 : 4));
		}
	}
}

/* Scale and minimum j of 8, six bits each, packed in 12 bytes. Shared by Q4_K and Q5_K. */
static void q45_k_scale(const uint8_t *s, int j, int *scale, int *min)
{
	if (j < 4) {
		*scale = s[j] & 63;
		*min = s[j + 4] & 63;
	} else {
		*scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
		*min = s[j + 4] >> 4 | s[j] >> 6 << 4;
	}
}

struct block_q4_k {
	uint16_t d, dmin;
	uint8_t scales[12];
	uint8_t qs[QK_K / 2];
};

void dequant_q4_k(const void *blocks, float *out, size_t n)
{
	const struct block_q4_k *b = blocks;

	for (; n; n--, b++) {
		float d = half_to_float(b->d);
		float dmin = half_to_float(b->dmin);

		/* Sub-block j of 32: low nibbles of 32 bytes if even, high ones if odd. */
		for (int j = 0; j < 8; j++) {
			const uint8_t *q = b->qs + j / 2 * 32;
			int scale, min;

			q45_k_scale(b->scales, j, &scale, &min);
			for (int l = 0; l < 32; l++)
				*out++ = d * scale * (q[l] >> (j % 2 * 4) & 15) - dmin * min;
		}
	}
}

struct block_q5_k {
	uint16_t d, dmin;
	uint8_t scales[12];
	uint8_t qh[QK_K / 8];
	uint8_t qs[QK_K / 2];
};

void dequant_q5_k(const void *blocks, float *out, size_t n)
{
	const struct block_q5_k *b = blocks;

	for (; n; n--, b++) {
		float d = half_to_float(b->d);
		float dmin = half_to_float(b->dmin);

		for (int j = 0; j < 8; j++) {
			const uint8_t *q = b->qs + j / 2 * 32;
			int scale, min;

			q45_k_scale(b->scales, j, &scale, &min);
			for (int l = 0; l < 32; l++) {
				int v = (q[l] >> (j % 2 * 4) & 15) | (b->qh[l] >> j & 1) << 4;

				*out++ = d * scale * v - dmin * min;
			}
		}
	}
}

struct block_q6_k {
	uint8_t ql[QK_K / 2];
	uint8_t qh[QK_K / 4];
	int8_t scales[QK_K / 16];
	uint16_t d;
};

void dequant_q6_k(const void *blocks, float *out, size_t n)
{
	const struct block_q6_k *b = blocks;

	for (; n; n--, b++) {
		float d = half_to_float(b->d);

		for (int i = 0; i < QK_K; i++) {
			int half = i / 128, layer = i / 32 % 4, l = i % 32;
			int low = b->ql[half * 64 + layer % 2 * 32 + l] >> (layer / 2 * 4) & 15;
			int high = b->qh[half * 32 + l] >> (layer * 2) & 3;

			*out++ = d * b->scales[i / 16] * ((low | high << 4) - 32);
		}
	}
}

_Static_assert(sizeof(struct block_q2_k) == 84, "q2_k block");
_Static_assert(sizeof(struct block_q3_k) == 110, "q3_k block");
_Static_assert(sizeof(struct block_q4_k) == 144, "q4_k block");
_Static_assert(sizeof(struct block_q5_k) == 176, "q5_k block");
_Static_assert(sizeof(struct block_q6_k) == 210, "q6_k block");
