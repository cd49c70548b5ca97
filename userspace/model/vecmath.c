// SPDX-License-Identifier: MIT
/* vecmath.c - norms, softmax, SiLU and rotary embedding as vectorisable loops */
#include <math.h>
#include <string.h>

#include "vecmath.h"

/*
 * x86-64-v4 is AVX-512 (F, BW, CD, DQ, VL), v3 is AVX2 with FMA. Sanitizers cannot stand that the
 * loader calls a function of ours, which chooses among the clones, before they are ready.
 */
#if defined(__x86_64__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
	!defined(__SANITIZE_THREAD__)
#define MULTIVERSION \
	__attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MULTIVERSION
#endif

#define READ_LANES	16	/* words of a cache line */
#define READ_AHEAD	2048	/* words; the processor's own prefetch stops at every page */

#define EXP_MIN	-87.3365f	/* below, the result would be subnormal: 0 instead */
#define EXP_MAX	88.3763f	/* 2^127.5 */

/*
 * exp(x) = 2^n exp(r) with n = round(x / ln 2) and |r| <= ln(2)/2. ln 2 is taken in two parts so
 * that r is exact to f32; the polynomial is Cephes' expf. Adding 1.5 * 2^23 rounds to an integer
 * and leaves it in the low mantissa bits.
 */
static inline __attribute__((always_inline)) float exp_one(float x)
{
	const float round = 0x1.8p23f;
	float c = x < EXP_MIN ? EXP_MIN : x > EXP_MAX ? EXP_MAX : x;
	float shifted = c * 1.44269504088896341f + round;
	float n = shifted - round;
	float r = c - n * 0.693359375f;
	float p = 1.9875691500e-4f;
	uint32_t bits, scale;
	float power;

	r = r + n * 2.12194440e-4f;
	p = p * r + 1.3981999507e-3f;
	p = p * r + 8.3334519073e-3f;
	p = p * r + 4.1665795894e-2f;
	p = p * r + 1.6666665459e-1f;
	p = p * r + 5.0000001201e-1f;
	p = p * (r * r) + r + 1.0f;

	memcpy(&bits, &shifted, sizeof(bits));
	scale = (bits + 127) << 23;
	memcpy(&power, &scale, sizeof(power));
	return x < EXP_MIN ? 0.0f : p * power;
}

MULTIVERSION
void vec_exp(const float *x, float *y, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] = exp_one(x[i]);
}

MULTIVERSION
void vec_rmsnorm(const float *x, const float *gain, float *y, size_t n, float eps)
{
	float sum = 0, scale;

#pragma omp simd reduction(+ : sum)
	for (size_t i = 0; i < n; i++)
		sum += x[i] * x[i];
	scale = 1.0f / sqrtf(sum / (float)n + eps);
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] = x[i] * scale * gain[i];
}

MULTIVERSION
void vec_softmax(float *x, size_t n, float scale)
{
	float max = x[0], sum = 0, share;

#pragma omp simd reduction(max : max)
	for (size_t i = 0; i < n; i++)
		max = x[i] > max ? x[i] : max;
#pragma omp simd reduction(+ : sum)
	for (size_t i = 0; i < n; i++) {
		x[i] = exp_one((x[i] - max) * scale);
		sum += x[i];
	}
	share = 1.0f / sum;
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		x[i] *= share;
}

/* Four rows of V at a time: their sum is written a quarter as often. */
MULTIVERSION
void vec_weighted_sums(const float *v, size_t n, size_t cols, const float *p, size_t m, float *y)
{
	memset(y, 0, m * cols * sizeof(*y));
	for (size_t t = 0; t < n; t += 4, v += 4 * cols) {
		size_t rows = n - t < 4 ? n - t : 4;

		for (size_t k = 0; k < m; k++) {
			const float *w = p + k * n + t;
			float *sum = y + k * cols;

			if (rows < 4) {
				for (size_t r = 0; r < rows; r++) {
#pragma omp simd
					for (size_t i = 0; i < cols; i++)
						sum[i] += w[r] * v[r * cols + i];
				}
				continue;
			}
#pragma omp simd
			for (size_t i = 0; i < cols; i++)
				sum[i] += w[0] * v[i] + w[1] * v[cols + i] +
					  w[2] * v[2 * cols + i] + w[3] * v[3 * cols + i];
		}
	}
}

MULTIVERSION
void vec_silu_mul(float *gate, const float *up, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		gate[i] = gate[i] / (1.0f + exp_one(-gate[i])) * up[i];
}

MULTIVERSION
void vec_rope(float *x, size_t n_heads, size_t head_dim, size_t rope_dim, const float *cosine,
	      const float *sine)
{
	for (size_t h = 0; h < n_heads; h++, x += head_dim) {
#pragma omp simd
		for (size_t i = 0; i < rope_dim / 2; i++) {
			float a = x[2 * i], b = x[2 * i + 1];

			x[2 * i] = a * cosine[i] - b * sine[i];
			x[2 * i + 1] = a * sine[i] + b * cosine[i];
		}
	}
}

MULTIVERSION
uint32_t vec_read(const uint32_t *x, size_t n)
{
	uint32_t lane[READ_LANES] = { 0 }, sum = 0;
	size_t i = 0;

	for (; i + READ_LANES <= n; i += READ_LANES) {
		__builtin_prefetch(x + i + READ_AHEAD);
		for (size_t l = 0; l < READ_LANES; l++)
			lane[l] ^= x[i + l];
	}
	for (size_t l = 0; l < READ_LANES; l++)
		sum ^= lane[l];
	for (; i < n; i++)
		sum ^= x[i];
	return sum;
}
