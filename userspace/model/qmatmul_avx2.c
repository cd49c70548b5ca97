// SPDX-License-Identifier: MIT
/*
 * qmatmul_avx2.c - products with packed weights in vectors of 8
 */
#include "qmatmul_pvt.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <string.h>

#define VECTOR	__attribute__((target("avx2,fma,f16c")))
#define INLINE	static inline VECTOR __attribute__((always_inline))

/* Eight accumulators, and of each row a scale, a minimum and eight values: 16 registers. */
#define TILE_ROWS	2u
#define TILE_VECTORS	4u

/* A block before its last step: numbers as bytes, and what makes values of them. */
struct numbers {
	const uint8_t *floats;	/* F32 and F16 have none of what follows */
	__m128i lo, hi;		/* 16 each */
	__m256 scale, min;	/* value = number * scale + min; no min for Q8_0 */
};

INLINE __m256 half(const uint8_t *bytes)
{
	uint16_t bits;

	memcpy(&bits, bytes, sizeof(bits));
	return _mm256_cvtph_ps(_mm_set1_epi16((short)bits));
}

INLINE __m128i load16(const uint8_t *bytes)
{
	return _mm_loadu_si128((const __m128i *)bytes);
}

INLINE struct numbers block_numbers(const uint8_t *block, uint32_t type)
{
	const __m128i low = _mm_set1_epi8(15);
	struct numbers n = { .floats = block };
	__m128i q;

	if (type == GGML_F32 || type == GGML_F16)
		return n;
	n.scale = half(block);
	if (type == GGML_Q8_0) {
		n.lo = load16(block + 2);
		n.hi = load16(block + 18);
		return n;
	}
	q = load16(block + (type == GGML_Q4_1 ? 4 : 2));
	n.lo = _mm_and_si128(q, low);
	n.hi = _mm_and_si128(_mm_srli_epi16(q, 4), low);
	if (type == GGML_Q4_0) {
		n.lo = _mm_sub_epi8(n.lo, _mm_set1_epi8(8));
		n.hi = _mm_sub_epi8(n.hi, _mm_set1_epi8(8));
	} else {
		n.min = half(block + 2);
	}
	return n;
}

/* Values @at to @at + 7 of a block. */
INLINE __m256 eight_values(const struct numbers *n, size_t at, uint32_t type)
{
	__m128i bytes;
	__m256 q;

	if (type == GGML_F32)
		return _mm256_loadu_ps((const float *)(const void *)n->floats + at);
	if (type == GGML_F16)
		return _mm256_cvtph_ps(load16(n->floats + at * 2));
	bytes = at < 16 ? n->lo : n->hi;
	if (at % 16)
		bytes = _mm_unpackhi_epi64(bytes, bytes);
	q = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
	if (type == GGML_Q4_1)
		return _mm256_fmadd_ps(q, n->scale, n->min);
	return _mm256_mul_ps(q, n->scale);
}

INLINE float sum_of(__m256 v)
{
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/*
 * @rows rows from @row on by @m vectors from @k on, all unrolled. A sum is made in the same order
 * whatever @rows and @m are.
 */
INLINE void tile(const struct qmatmul_job *j, size_t row, size_t k, size_t rows, size_t m,
		 uint32_t type, size_t block_bytes)
{
	const uint8_t *w = j->w + row * j->row_bytes;
	const float *x = j->x + k * j->ldx;
	__m256 sum[TILE_ROWS][TILE_VECTORS];

#pragma GCC unroll 2
	for (size_t r = 0; r < rows; r++) {
#pragma GCC unroll 4
		for (size_t i = 0; i < m; i++)
			sum[r][i] = _mm256_setzero_ps();
	}
	for (size_t b = 0; b < j->n_blocks; b++, w += block_bytes, x += QMATMUL_BLOCK) {
		struct numbers n[TILE_ROWS];

#pragma GCC unroll 2
		for (size_t r = 0; r < rows; r++) {
			n[r] = block_numbers(w + r * j->row_bytes, type);
			__builtin_prefetch(w + r * j->row_bytes + QMATMUL_AHEAD);
		}
#pragma GCC unroll 4
		for (size_t at = 0; at < QMATMUL_BLOCK; at += 8) {
#pragma GCC unroll 2
			for (size_t r = 0; r < rows; r++) {
				__m256 v = eight_values(&n[r], at, type);

#pragma GCC unroll 4
				for (size_t i = 0; i < m; i++)
					sum[r][i] = _mm256_fmadd_ps(v, _mm256_loadu_ps(
						x + i * j->ldx + at), sum[r][i]);
			}
		}
	}
#pragma GCC unroll 2
	for (size_t r = 0; r < rows; r++) {
#pragma GCC unroll 4
		for (size_t i = 0; i < m; i++)
			qmatmul_store(j, row + r, k + i, sum_of(sum[r][i]));
	}
}

#include "qmatmul_tiles.h"

qmatmul_fn qmatmul_avx2(uint32_t type)
{
	switch (type) {
	case GGML_F32: return f32;
	case GGML_F16: return f16;
	case GGML_Q4_0: return q4_0;
	case GGML_Q4_1: return q4_1;
	case GGML_Q8_0: return q8_0;
	default: return NULL;
	}
}
#endif /* __x86_64__ */
