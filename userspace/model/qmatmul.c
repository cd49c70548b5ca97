// SPDX-License-Identifier: MIT
/*
 * qmatmul.c - products with packed weights: which kernel, and the one in plain C
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "qmatmul_pvt.h"

#define LANES		8u	/* sums that a compiler may keep in vectors */
#define RUN_BLOCKS	8u	/* blocks unpacked at a time */

/* A run of a row is unpacked once and multiplied with every vector. */
static void portable(const struct qmatmul_job *j, const struct dequant_format *f)
{
	const size_t per_run = QMATMUL_BLOCK / f->block_elems;

	for (size_t row = 0; row < j->rows; row++) {
		float sum[QMATMUL_MAX][LANES] = { { 0 } };

		for (size_t b = 0; b < j->n_blocks; b += RUN_BLOCKS) {
			size_t n = j->n_blocks - b < RUN_BLOCKS ? j->n_blocks - b : RUN_BLOCKS;
			float w[RUN_BLOCKS * QMATMUL_BLOCK];

			f->to_f32(j->w + row * j->row_bytes + b * per_run * f->block_bytes, w,
				  n * per_run);
			for (size_t k = 0; k < j->m; k++) {
				const float *x = j->x + k * j->ldx + b * QMATMUL_BLOCK;

				for (size_t i = 0; i < n * QMATMUL_BLOCK; i += LANES) {
					for (size_t l = 0; l < LANES; l++)
						sum[k][l] += w[i + l] * x[i + l];
				}
			}
		}
		for (size_t k = 0; k < j->m; k++) {
			for (size_t l = 1; l < LANES; l++)
				sum[k][0] += sum[k][l];
			qmatmul_store(j, row, k, sum[k][0]);
		}
	}
}

#define PORTABLE(name, type)					\
static void name(const struct qmatmul_job *j)			\
{								\
	portable(j, dequant_format(type));			\
}

PORTABLE(portable_f32, GGML_F32)
PORTABLE(portable_f16, GGML_F16)
PORTABLE(portable_q4_0, GGML_Q4_0)
PORTABLE(portable_q4_1, GGML_Q4_1)
PORTABLE(portable_q8_0, GGML_Q8_0)

static qmatmul_fn qmatmul_portable(uint32_t type)
{
	switch (type) {
	case GGML_F32: return portable_f32;
	case GGML_F16: return portable_f16;
	case GGML_Q4_0: return portable_q4_0;
	case GGML_Q4_1: return portable_q4_1;
	case GGML_Q8_0: return portable_q8_0;
	default: return NULL;
	}
}

static qmatmul_fn none(uint32_t type)
{
	(void)type;
	return NULL;
}

static bool always(void)
{
	return true;
}

#ifdef __x86_64__
static bool has_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
	       __builtin_cpu_supports("f16c");
}
#endif

/* The fastest first; "auto" takes the first that this processor can. */
static const struct choice {
	const char *name;
	qmatmul_fn (*kernel)(uint32_t type);
	bool (*possible)(void);
	size_t limit;
} choices[] = {
#ifdef __x86_64__
	{ "avx512", qmatmul_avx512, has_avx512, QMATMUL_MAX },
	{ "avx2", qmatmul_avx2, has_avx2, 8 },
#endif
	{ "off", none, always, 0 },
	{ "portable", qmatmul_portable, always, QMATMUL_MAX },
};

static const struct choice off = { "off", none, always, 0 };
static const struct choice *chosen = &off;

int qmatmul_choose(const char *name)
{
	bool any = !name || !strcmp(name, "auto");

	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
		const struct choice *c = &choices[i];

		if (!any && strcmp(name, c->name))
			continue;
		if (c->possible()) {
			chosen = c;
			return 0;
		}
		if (!any)
			return -EOPNOTSUPP;
	}
	return -EINVAL;
}

int qmatmul_init(struct model_error *err)
{
	const char *name = getenv("SLUICE_QMATMUL");
	int ret = qmatmul_choose(name);

	if (ret == -EOPNOTSUPP)
		return model_fail(err, EOPNOTSUPP, "SLUICE_QMATMUL is '%s', which this processor "
				  "cannot do; unset it", name);
	if (ret)
		return model_fail(err, EINVAL, "SLUICE_QMATMUL is '%s', not auto, avx512, avx2, "
				  "portable or off", name);
	return 0;
}

const char *qmatmul_name(void)
{
	return chosen->name;
}

size_t qmatmul_limit(void)
{
	return chosen->limit;
}

bool qmatmul_takes(uint32_t type, size_t cols)
{
	return cols % QMATMUL_BLOCK == 0 && chosen->kernel(type);
}

static size_t row_bytes(const struct qmatmul_weights *w)
{
	const struct dequant_format *f = dequant_format(w->type);

	return w->cols / f->block_elems * f->block_bytes;
}

size_t qmatmul_bytes(const struct qmatmul_weights *w)
{
	return w->rows * row_bytes(w);
}

void qmatmul(const struct qmatmul_weights *w, const float *x, size_t ldx, size_t m, bool add,
	     float *y, size_t ldy)
{
	struct qmatmul_job job = {
		.w = w->data, .rows = w->rows, .row_bytes = row_bytes(w),
		.n_blocks = w->cols / QMATMUL_BLOCK,
		.x = x, .ldx = ldx, .m = m, .y = y, .ldy = ldy, .add = add,
	};

	chosen->kernel(w->type)(&job);
}
