// SPDX-License-Identifier: MIT
/*
 * Description: products with packed weights, by every kernel that this processor can run, are
 * those of the dequantised weights
 *
 * Weights, vectors and results end where memory ends: a kernel that reads or writes more is seen.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "dequant.h"
#include "qmatmul.h"

#define MAX_COLS	1536u
#define MAX_ROWS	33u

static const uint32_t types[] = { GGML_F32, GGML_F16, GGML_Q4_0, GGML_Q4_1, GGML_Q8_0 };
static const char *const kernels[] = { "portable", "avx2", "avx512" };

#define N_TYPES		(sizeof(types) / sizeof(types[0]))
#define N_KERNELS	(sizeof(kernels) / sizeof(kernels[0]))

/* Half-precision scales: 0.1, -0.075, 0, -0, subnormal, smallest, largest, infinite, no number. */
static const uint16_t scales[] = {
	0x2e66, 0xacc0, 0x0000, 0x8000, 0x83ff, 0x0001, 0x7bff, 0x7c00, 0xfc00, 0x7e00, 0x7c01,
};

#define FINITE_SCALES	7u
#define N_SCALES	(sizeof(scales) / sizeof(scales[0]))

/* One product, and what it must give. */
struct product {
	struct qmatmul_weights w;
	size_t m, ldx, ldy;
	bool add;
	float *x, *y;
	float *old;		/* y before */
	float *f32;		/* the weights, dequantised */
};

static uint32_t seed = 1;
static uint8_t *page_end[4];	/* of the regions for weights, x, y and old */

static uint32_t random_u32(void)
{
	seed = seed * 1664525u + 1013904223u;
	return seed >> 8;
}

static float random_float(void)
{
	return (float)random_u32() / (1 << 23) - 1;
}

/* Regions that are followed by a page without access. */
static int setup(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = 64 * page;

	(void)state;
	for (size_t i = 0; i < sizeof(page_end) / sizeof(page_end[0]); i++) {
		uint8_t *p = mmap(NULL, size + page, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED || mprotect(p + size, page, PROT_NONE))
			return -1;
		page_end[i] = p + size;
	}
	return 0;
}

static void *at_end(unsigned int region, size_t bytes)
{
	assert_in_range(bytes, 1, 64 * (size_t)sysconf(_SC_PAGESIZE));
	return page_end[region] - bytes;
}

/* Random blocks; every scale of a quantised one is that of @scales[first] to [first + n - 1]. */
static void make_weights(struct product *p, size_t first, size_t n)
{
	const struct dequant_format *f = dequant_format(p->w.type);
	size_t n_blocks = p->w.rows * p->w.cols / f->block_elems;
	uint8_t *w = at_end(0, n_blocks * f->block_bytes);

	p->w.data = w;
	for (size_t i = 0; i < n_blocks; i++, w += f->block_bytes) {
		float value = random_float();

		for (size_t k = 0; k < f->block_bytes; k++)
			w[k] = (uint8_t)random_u32();
		if (p->w.type == GGML_F32) {
			memcpy(w, &value, sizeof(value));
		} else if (p->w.type == GGML_F16) {
			w[1] = (w[1] & 0x83) | 0x38;	/* an exponent near that of 1 */
		} else {
			memcpy(w, &scales[first + random_u32() % n], 2);
			if (p->w.type == GGML_Q4_1)
				memcpy(w + 2, &scales[first + random_u32() % n], 2);
		}
	}
	f->to_f32(p->w.data, p->f32, n_blocks);
}

static void make(struct product *p, size_t first_scale, size_t n_scales)
{
	size_t n_y = (p->m - 1) * p->ldy + p->w.rows;

	p->f32 = malloc(p->w.rows * p->w.cols * sizeof(float));
	assert_non_null(p->f32);
	make_weights(p, first_scale, n_scales);
	p->x = at_end(1, ((p->m - 1) * p->ldx + p->w.cols) * sizeof(float));
	p->y = at_end(2, n_y * sizeof(float));
	p->old = at_end(3, n_y * sizeof(float));
	for (size_t i = 0; i < (p->m - 1) * p->ldx + p->w.cols; i++)
		p->x[i] = random_float();
	for (size_t i = 0; i < n_y; i++)
		p->old[i] = p->y[i] = random_float();
}

static void multiply(struct product *p)
{
	memcpy(p->y, p->old, ((p->m - 1) * p->ldy + p->w.rows) * sizeof(float));
	qmatmul(&p->w, p->x, p->ldx, p->m, p->add, p->y, p->ldy);
}

/* Row @r times vector @k in double; *@size is the sum of magnitudes, which rounding goes by. */
static double exact(const struct product *p, size_t r, size_t k, double *size)
{
	double sum = p->add ? (double)p->old[k * p->ldy + r] : 0;

	*size = fabs(sum);
	for (size_t c = 0; c < p->w.cols; c++) {
		double term = (double)p->f32[r * p->w.cols + c] * (double)p->x[k * p->ldx + c];

		sum += term;
		*size += fabs(term);
	}
	return sum;
}

static void assert_result(const struct product *p, const char *kernel)
{
	for (size_t i = 0; i < (p->m - 1) * p->ldy + p->w.rows; i++) {
		size_t r = i % p->ldy, k = i / p->ldy;
		double size, want;

		if (r >= p->w.rows) {
			assert_true(p->y[i] == p->old[i]);
			continue;
		}
		want = exact(p, r, k, &size);
		if (isnan(want) ? isnan(p->y[i]) : isinf(want) ? (double)p->y[i] == want :
		    fabs((double)p->y[i] - want) <= 1e-6 * size)
			continue;
		fail_msg("%s, %s, %zu x %zu, %zu vectors: row %zu of vector %zu is %.9g, not %.9g",
			 kernel, dequant_format(p->w.type)->name, p->w.rows, p->w.cols, p->m, r, k,
			 (double)p->y[i], want);
	}
}

/* Is there this kernel here? Chooses it. */
static bool choose(const char *kernel)
{
	int ret = qmatmul_choose(kernel);

	assert_true(!ret || ret == -EOPNOTSUPP);
	if (!ret)
		assert_string_equal(qmatmul_name(), kernel);
	return !ret;
}

static void all_shapes_are_right(void **state)
{
	static const size_t rows[] = { 1, 2, 3, 4, 5, 7, MAX_ROWS }, cols[] = { 32, 96, 576, 1536 };

	(void)state;
	for (size_t i = 0; i < N_KERNELS; i++) {
		if (!choose(kernels[i]))
			continue;
		for (size_t n = 0; n < N_TYPES * 7 * 4 * qmatmul_limit(); n++) {
			size_t m = n / (N_TYPES * 7 * 4) + 1;
			struct product p = {
				.w.type = types[n % N_TYPES], .w.rows = rows[n / N_TYPES % 7],
				.w.cols = cols[n / N_TYPES / 7 % 4], .m = m,
			};

			p.ldx = p.w.cols + n % 4;
			p.ldy = p.w.rows + n % 3;
			p.add = n % 2;
			make(&p, 0, 2);
			multiply(&p);
			assert_result(&p, kernels[i]);
			free(p.f32);
		}
	}
}

/* A vector with a single 1 gives a column of the weights: to the last bit, for every scale. */
static void values_are_exact(void **state)
{
	(void)state;
	for (size_t n = 0; n < N_KERNELS * N_TYPES * FINITE_SCALES * 32; n++) {
		size_t column = n / N_KERNELS / N_TYPES / FINITE_SCALES;
		struct product p = {
			.w.type = types[n / N_KERNELS % N_TYPES], .w.rows = MAX_ROWS, .w.cols = 32,
			.m = 1, .ldx = 32, .ldy = MAX_ROWS,
		};

		if (!choose(kernels[n % N_KERNELS]))
			continue;
		make(&p, n / N_KERNELS / N_TYPES % FINITE_SCALES, 1);
		memset(p.x, 0, 32 * sizeof(float));
		p.x[column] = 1;
		multiply(&p);
		for (size_t r = 0; r < MAX_ROWS; r++)
			assert_true(p.y[r] == p.f32[r * 32 + column]);
		free(p.f32);
	}
}

/* Infinite scales and NaN end where they do in f32. */
static void what_is_not_finite_stays_so(void **state)
{
	(void)state;
	for (size_t n = 0; n < N_KERNELS * N_TYPES * N_SCALES * 4; n++) {
		struct product p = {
			.w.type = types[n / N_KERNELS % N_TYPES], .w.rows = 6, .w.cols = 64,
			.m = 1 + n % 4, .ldx = 64, .ldy = 6,
		};

		if (!choose(kernels[n % N_KERNELS]))
			continue;
		make(&p, n / N_KERNELS / N_TYPES % N_SCALES, 1);
		multiply(&p);
		assert_result(&p, kernels[n % N_KERNELS]);
		free(p.f32);
	}
}

/* Where nothing is rounded, all kernels give the same bits. */
static void kernels_agree_on_integers(void **state)
{
	const uint16_t one = 0x3c00;
	float want[3 * 9];

	(void)state;
	for (size_t n = 0; n < N_TYPES * N_KERNELS; n++) {
		struct product p = {
			.w.type = types[n / N_KERNELS], .w.rows = 9, .w.cols = 96, .m = 3, .ldx = 96,
			.ldy = 9,
		};
		size_t bytes = dequant_format(p.w.type)->block_bytes;

		if (p.w.type == GGML_F32 || p.w.type == GGML_F16 || !choose(kernels[n % N_KERNELS]))
			continue;
		seed = 5;
		make(&p, 0, 1);
		for (size_t b = 0; b < p.w.rows * p.w.cols / 32; b++) {
			memcpy((uint8_t *)p.w.data + b * bytes, &one, 2);
			if (p.w.type == GGML_Q4_1)
				memcpy((uint8_t *)p.w.data + b * bytes + 2, &one, 2);
		}
		for (size_t i = 0; i < p.m * p.ldx; i++)
			p.x[i] = floorf(p.x[i] * 64);
		multiply(&p);
		if (n % N_KERNELS)
			assert_memory_equal(p.y, want, sizeof(want));
		memcpy(want, p.y, sizeof(want));
		free(p.f32);
	}
}

/* A row's product with a vector does not depend on what else is computed. */
static void results_do_not_depend_on_the_batch(void **state)
{
	(void)state;
	for (size_t n = 0; n < N_KERNELS * N_TYPES; n++) {
		struct product p = {
			.w.type = types[n / N_KERNELS], .w.rows = 11, .w.cols = 576, .ldx = 576,
			.ldy = 11,
		};
		float one[11], last;

		if (!choose(kernels[n % N_KERNELS]))
			continue;
		p.m = qmatmul_limit();
		make(&p, 0, 2);
		multiply(&p);
		for (size_t k = 0; k < p.m; k++) {
			qmatmul(&p.w, p.x + k * p.ldx, 0, 1, false, one, 0);
			assert_memory_equal(one, p.y + k * p.ldy, sizeof(one));
		}
		p.w.data = (const uint8_t *)p.w.data + qmatmul_bytes(&p.w) / 11 * 10;
		p.w.rows = 1;
		qmatmul(&p.w, p.x, 0, 1, false, &last, 0);
		assert_true(last == p.y[10]);
		free(p.f32);
	}
}

static void only_what_has_a_kernel_is_taken(void **state)
{
	struct model_error err;

	(void)state;
	assert_int_equal(qmatmul_choose("fast"), -EINVAL);
	assert_int_equal(qmatmul_choose("off"), 0);
	assert_false(qmatmul_takes(GGML_Q4_1, 576));
	assert_int_equal(qmatmul_limit(), 0);
	assert_int_equal(qmatmul_choose("portable"), 0);
	for (size_t i = 0; i < N_TYPES; i++) {
		assert_true(qmatmul_takes(types[i], 576));
		assert_false(qmatmul_takes(types[i], 592));
	}
	assert_false(qmatmul_takes(GGML_Q4_K, 512));
	assert_in_range(qmatmul_limit(), 1, QMATMUL_MAX);

	setenv("SLUICE_QMATMUL", "off", 1);
	assert_int_equal(qmatmul_init(&err), 0);
	assert_string_equal(qmatmul_name(), "off");
	setenv("SLUICE_QMATMUL", "quick", 1);
	assert_int_equal(qmatmul_init(&err), -EINVAL);
	assert_non_null(strstr(err.text, "'quick'"));
	unsetenv("SLUICE_QMATMUL");
	assert_int_equal(qmatmul_init(&err), 0);
	assert_string_not_equal(qmatmul_name(), "portable");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_shapes_are_right),
		cmocka_unit_test(values_are_exact),
		cmocka_unit_test(what_is_not_finite_stays_so),
		cmocka_unit_test(kernels_agree_on_integers),
		cmocka_unit_test(results_do_not_depend_on_the_batch),
		cmocka_unit_test(only_what_has_a_kernel_is_taken),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, NULL);
}
