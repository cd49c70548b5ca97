// SPDX-License-Identifier: MIT
/*
 * qmatmul_avx512.c - products with packed weights in vectors of 16
 */
#include "qmatmul_pvt.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <string.h>

#define VECTOR	__attribute__((target("avx512f,avx512vl,fma,f16c")))
#define INLINE	static inline VECTOR __attribute__((always_inline))

/* Accumulators and the values of four blocks fill the 32 registers. */
#define TILE_ROWS	4u
#define TILE_VECTORS	4u

/* The values of one block. */
struct values {
	__m512 lo, hi;
};

INLINE __m512 count_from(float first)
{
	return _mm512_setr_ps(first, first + 1, first + 2, first + 3, first + 4, first + 5,
			      first + 6, first + 7, first + 8, first + 9, first + 10, first + 11,
			      first + 12, first + 13, first + 14, first + 15);
}

/* A half-precision scale in all lanes. */
INLINE __m512 scale(const uint8_t *half)
{
	uint16_t bits;

	memcpy(&bits, half, sizeof(bits));
	return _mm512_cvtph_ps(_mm256_set1_epi16((short)bits));
}

/* A permutation looks at the low four bits of an index only: low nibbles need no mask. */
INLINE struct values look_up(const uint8_t *nibbles, __m512 table)
{
	__m512i q = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)nibbles));

	return (struct values){
		.lo = _mm512_permutexvar_ps(q, table),
		.hi = _mm512_permutexvar_ps(_mm512_srli_epi32(q, 4), table),
	};
}

INLINE struct values q4_0_values(const uint8_t *block)
{
	return look_up(block + 2, _mm512_mul_ps(count_from(-8), scale(block)));
}

/* Scale and minimum are neighbours: even and odd lanes of one conversion. */
INLINE struct values q4_1_values(const uint8_t *block)
{
	__m512 both, table;
	uint32_t bits;

	memcpy(&bits, block, sizeof(bits));
	both = _mm512_cvtph_ps(_mm256_set1_epi32((int)bits));
	table = _mm512_fmadd_ps(count_from(0), _mm512_moveldup_ps(both),
				_mm512_movehdup_ps(both));
	return look_up(block + 4, table);
}

INLINE __m512 signed_bytes(const uint8_t *bytes)
{
	return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)bytes)));
}

INLINE struct values q8_0_values(const uint8_t *block)
{
	__m512 d = scale(block);

	return (struct values){
		.lo = _mm512_mul_ps(d, signed_bytes(block + 2)),
		.hi = _mm512_mul_ps(d, signed_bytes(block + 18)),
	};
}

INLINE struct values f32_values(const uint8_t *block)
{
	return (struct values){
		.lo = _mm512_loadu_ps(block), .hi = _mm512_loadu_ps(block + 64),
	};
}

INLINE struct values f16_values(const uint8_t *block)
{
	return (struct values){
		.lo = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)block)),
		.hi = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(block + 32))),
	};
}

INLINE struct values block_values(const uint8_t *block, uint32_t type)
{
	switch (type) {
	case GGML_F32: return f32_values(block);
	case GGML_F16: return f16_values(block);
	case GGML_Q4_0: return q4_0_values(block);
	case GGML_Q4_1: return q4_1_values(block);
	default: return q8_0_values(block);
	}
}

/* The sums of four vectors' lanes. */
INLINE __m128 sums_of(const __m512 v[TILE_ROWS])
{
	__m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]));
	__m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]));
	__m512 all = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
	__m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm256_castpd_ps(
				    _mm512_extractf64x4_pd(_mm512_castps_pd(all), 1)));

	return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

INLINE void store(const struct qmatmul_job *j, size_t row, size_t k, size_t rows, __m128 sum)
{
	float *y = j->y + k * j->ldy + row;

	if (rows == 1) {
		qmatmul_store(j, row, k, _mm_cvtss_f32(sum));
		return;
	}
	if (j->add)
		sum = _mm_add_ps(_mm_loadu_ps(y), sum);
	_mm_storeu_ps(y, sum);
}

/*
 * One or four rows from @row on by @m vectors from @k on, all unrolled. A sum is made in the same order
 * whatever @rows and @m are.
 */
INLINE void tile(const struct qmatmul_job *j, size_t row, size_t k, size_t rows, size_t m,
		 uint32_t type, size_t block_bytes)
{
	const uint8_t *w = j->w + row * j->row_bytes;
	const float *x = j->x + k * j->ldx;
	__m512 sum[TILE_VECTORS][TILE_ROWS];

#pragma GCC unroll 4
	for (size_t i = 0; i < m; i++) {
#pragma GCC unroll 4
		for (size_t r = 0; r < TILE_ROWS; r++)
			sum[i][r] = _mm512_setzero_ps();
	}
	for (size_t b = 0; b < j->n_blocks; b++, w += block_bytes, x += QMATMUL_BLOCK) {
		struct values v[TILE_ROWS];

#pragma GCC unroll 4
		for (size_t r = 0; r < rows; r++) {
			v[r] = block_values(w + r * j->row_bytes, type);
			__builtin_prefetch(w + r * j->row_bytes + QMATMUL_AHEAD);
		}
#pragma GCC unroll 4
		for (size_t i = 0; i < m; i++) {
			__m512 lo = _mm512_loadu_ps(x + i * j->ldx);
			__m512 hi = _mm512_loadu_ps(x + i * j->ldx + QMATMUL_BLOCK / 2);

#pragma GCC unroll 4
			for (size_t r = 0; r < rows; r++) {
				sum[i][r] = _mm512_fmadd_ps(v[r].lo, lo, sum[i][r]);
				sum[i][r] = _mm512_fmadd_ps(v[r].hi, hi, sum[i][r]);
			}
		}
	}
#pragma GCC unroll 4
	for (size_t i = 0; i < m; i++)
		store(j, row, k + i, rows, sums_of(sum[i]));
}

#include "qmatmul_tiles.h"

qmatmul_fn qmatmul_avx512(uint32_t type)
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
