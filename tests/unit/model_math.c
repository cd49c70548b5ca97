// SPDX-License-Identifier: MIT
/* Description: loops beside BLAS, and every shape of matrix product, against plain double loops */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "blas.h"
#include "vecmath.h"

static uint32_t seed = 1;

static float random_float(void)
{
	seed = seed * 1664525u + 1013904223u;
	return (float)(seed >> 8) / (1 << 23) - 1;
}

static float *random_array(size_t n)
{
	float *x = malloc(n * sizeof(*x));

	assert_non_null(x);
	for (size_t i = 0; i < n; i++)
		x[i] = random_float();
	return x;
}

static void assert_close(float got, double want, double tolerance)
{
	if (!(fabs(got - want) <= tolerance * (1 + fabs(want))))
		fail_msg("%.9g instead of %.9g", (double)got, want);
}

static void exp_is_within_two_ulp(void **state)
{
	enum { N = 4096 };
	static float x[N], y[N];
	double worst = 0;

	(void)state;
	for (double base = -87.3; base < 88; base += 0.25) {
		for (int i = 0; i < N; i++)
			x[i] = (float)(base + 0.25 * i / N);
		vec_exp(x, y, N);
		for (int i = 0; i < N; i++) {
			double want = exp((double)x[i]);
			float f = (float)want;
			double ulp = (double)nextafterf(f, INFINITY) - (double)f;

			worst = fmax(worst, fabs((double)y[i] - want) / ulp);
		}
	}
	assert_true(worst <= 2);
}

static void exp_keeps_its_limits(void **state)
{
	float x[] = { -INFINITY, -1000, -88, 0, 89, INFINITY, NAN };
	float y[7];

	(void)state;
	vec_exp(x, y, 7);
	assert_true(y[0] == 0 && y[1] == 0 && y[2] == 0);
	assert_true(y[3] == 1);
	assert_true(isinf(y[4]) && isinf(y[5]));
	assert_true(isnan(y[6]));
}

static void softmax_sums_to_one(void **state)
{
	(void)state;
	for (size_t n = 1; n < 200; n += 7) {
		float *x = random_array(n), *y = malloc(n * sizeof(*y)), max = -INFINITY;
		float scale = n % 2 ? 1 : 0.1f;
		double sum = 0;

		for (size_t i = 0; i < n; i++) {
			x[i] = x[i] * 50 + 1000;	/* would overflow without the maximum */
			max = fmaxf(max, x[i]);
		}
		memcpy(y, x, n * sizeof(*y));
		vec_softmax(y, n, scale);
		for (size_t i = 0; i < n; i++)
			sum += exp(((double)x[i] - (double)max) * (double)scale);
		for (size_t i = 0; i < n; i++)
			assert_close(y[i], exp(((double)x[i] - (double)max) * (double)scale) / sum,
				     2e-6);
		free(x);
		free(y);
	}
}

static void rmsnorm_is_exact(void **state)
{
	(void)state;
	for (size_t n = 1; n < 700; n = n * 3 + 1) {
		float *x = random_array(n), *gain = random_array(n);
		float *y = malloc(n * sizeof(*y));
		double sum = 0;

		vec_rmsnorm(x, gain, y, n, 1e-5f);
		for (size_t i = 0; i < n; i++)
			sum += (double)x[i] * (double)x[i];
		for (size_t i = 0; i < n; i++)
			assert_close(y[i], (double)x[i] / sqrt(sum / (double)n + 1e-5) *
				     (double)gain[i], 1e-5);
		free(x);
		free(gain);
		free(y);
	}
}

static void silu_is_exact(void **state)
{
	enum { N = 1000 };
	float *g = random_array(N), *u = random_array(N), *y = malloc(N * sizeof(*y));

	(void)state;
	for (int i = 0; i < N; i++)
		y[i] = g[i] *= 100;
	vec_silu_mul(y, u, N);
	for (int i = 0; i < N; i++)
		assert_close(y[i], (double)g[i] / (1 + exp(-(double)g[i])) * (double)u[i], 1e-5);
	free(g);
	free(u);
	free(y);
}

static void rope_rotates_adjacent_pairs(void **state)
{
	enum { HEADS = 3, DIM = 10, ROPE = 6 };
	float *x = random_array(HEADS * DIM), y[HEADS * DIM], c[ROPE / 2], s[ROPE / 2];

	(void)state;
	for (int i = 0; i < ROPE / 2; i++) {
		c[i] = cosf((float)i + 1);
		s[i] = sinf((float)i + 1);
	}
	memcpy(y, x, sizeof(y));
	vec_rope(y, HEADS, DIM, ROPE, c, s);
	for (int h = 0; h < HEADS; h++) {
		for (int i = 0; i < DIM; i++) {
			int at = h * DIM + i, pair = i / 2;
			float a = x[h * DIM + 2 * pair], b = x[h * DIM + 2 * pair + 1];
			float want = i >= ROPE ? x[at] :
				     i % 2 ? a * s[pair] + b * c[pair] : a * c[pair] - b * s[pair];

			assert_close(y[at], want, 1e-6);
		}
	}
	free(x);
}

/* x W^T for every number of rows that takes another path, with gaps between the rows. */
static void products_match_plain_loops(void **state)
{
	static const size_t shapes[][2] = { { 1, 1 }, { 7, 5 }, { 128, 64 }, { 300, 96 }, { 515, 33 } };

	(void)state;
	for (size_t k = 0; k < sizeof(shapes) / sizeof(shapes[0]); k++) {
		size_t rows = shapes[k][0], cols = shapes[k][1], ldx = cols + 3, ldy = rows + 2;

		for (size_t m = 1; m <= 20; m++) {
			float *w = random_array(rows * cols), *x = random_array(m * ldx);
			float *y = random_array(m * ldy), *old = malloc(m * ldy * sizeof(*old));

			memcpy(old, y, m * ldy * sizeof(*old));
			matmul_wt(w, rows, cols, x, ldx, m, m % 2, y, ldy);
			for (size_t i = 0; i < m * ldy; i++) {
				size_t r = i % ldy, t = i / ldy;
				double want = r < rows && !(m % 2) ? 0 : (double)old[i];

				for (size_t c = 0; r < rows && c < cols; c++)
					want += (double)w[r * cols + c] * (double)x[t * ldx + c];
				assert_close(y[i], want, 1e-5);
			}
			free(w);
			free(x);
			free(y);
			free(old);
		}
	}
}

static void weighted_sums_match_plain_loops(void **state)
{
	enum { COLS = 23 };

	(void)state;
	for (size_t n = 1; n < 300; n = n * 2 + 1) {
		for (size_t m = 1; m <= 12; m++) {
			float *v = random_array(n * COLS), *p = random_array(m * n);
			float y[12 * COLS], z[12 * COLS];

			memset(y, 0x7f, sizeof(y));
			matmul_v(v, n, COLS, p, n, m, y, COLS);
			memset(z, 0x7f, sizeof(z));
			vec_weighted_sums(v, n, COLS, p, m, z);
			for (size_t i = 0; i < m * COLS; i++) {
				double want = 0;

				for (size_t j = 0; j < n; j++)
					want += (double)p[i / COLS * n + j] *
						(double)v[j * COLS + i % COLS];
				assert_close(y[i], want, 1e-5);
				assert_close(z[i], want, 1e-5);
			}
			free(v);
			free(p);
		}
	}
}

static int setup(void **state)
{
	(void)state;
	blas_init();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exp_is_within_two_ulp),
		cmocka_unit_test(exp_keeps_its_limits),
		cmocka_unit_test(softmax_sums_to_one),
		cmocka_unit_test(rmsnorm_is_exact),
		cmocka_unit_test(silu_is_exact),
		cmocka_unit_test(rope_rotates_adjacent_pairs),
		cmocka_unit_test(products_match_plain_loops),
		cmocka_unit_test(weighted_sums_match_plain_loops),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, NULL);
}
