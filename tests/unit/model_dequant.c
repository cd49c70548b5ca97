// SPDX-License-Identifier: MIT
/*
 * Description: every block format gives the values that the gguf package's own dequantize gives
 *
 * One block (32 values of the float formats) of pseudo-random bytes a format. The scales in the
 * blocks are set to 0.1 and -0.075, and the exponents of floats to that of 1: all is finite.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dequant.h"

#define MAX_VALUES	256

static const struct golden {
	uint32_t type;
	unsigned int scale_at[2];	/* offsets of half-precision scales in the block */
	unsigned int n_scales;
	double value[6];	/* at 0, 1, n/3, n/2, n-2, n-1 */
	double check;		/* sum of value[i] * (i + 1) */
} golden[] = {
	{ GGML_F32, { 0 }, 0,
	  { -1.0106883, -1.54974508, 1.31231558, 1.02291238, -1.87593377, 1.1186831 },
	  338.959177 },
	{ GGML_F16, { 0 }, 0,
	  { 1.30859375, -1.296875, -1.7265625, -1.57421875, -1.86328125, -1.03613281 },
	  -69.84375 },
	{ GGML_BF16, { 0 }, 0,
	  { 1.4921875, -1.0859375, -1.890625, 1.4609375, 1.4375, 1.265625 },
	  180.125 },
	{ GGML_Q4_0, { 0 }, 1,
	  { 0.699829102, -0.0999755859, 0.299926758, 0.49987793, -0.599853516, -0.299926758 },
	  16.1960449 },
	{ GGML_Q4_1, { 0, 2 }, 2,
	  { 1.12469482, 1.12469482, 1.02471924, -0.075012207, 0.824768066, 0.224914551 },
	  326.804077 },
	{ GGML_Q5_0, { 0 }, 1,
	  { -0.399902344, -0.299926758, 0.699829102, -1.09973145, 0.49987793, 0.699829102 },
	  98.9758301 },
	{ GGML_Q5_1, { 0, 2 }, 2,
	  { 1.82452393, 2.52435303, 0.424865723, 0.824768066, 2.7243042, 2.82427979 },
	  875.07019 },
	{ GGML_Q8_0, { 0 }, 1,
	  { -0.49987793, 0, 10.2974854, 1.79956055, 0.999755859, -4.2989502 },
	  -225.644897 },
	{ GGML_Q2_K, { 80, 82 }, 2,
	  { 0.225036621, 2.82440186, 3.37457275, 2.07452393, 1.9498291, 0.75012207 },
	  48022.788 },
	{ GGML_Q3_K, { 108 }, 1,
	  { -1.99951172, -2.99926758, -2.39941406, 1.69958496, -8.99780273, 2.99926758 },
	  413.898926 },
	{ GGML_Q4_K, { 0, 2 }, 2,
	  { 4.64978027, 4.64978027, 53.6633911, 0.375061035, 13.2730103, 23.47052 },
	  746994.872 },
	{ GGML_Q5_K, { 0, 2 }, 2,
	  { 34.8674927, 51.0635376, 57.2371826, 116.072754, 71.3830566, 71.3830566 },
	  1490712.61 },
	{ GGML_Q6_K, { 208 }, 1,
	  { -202.950439, 202.950439, -0.49987793, -123.169922, -15.2962646, -21.5947266 },
	  -39424.5725 },
};

/* The bytes of one test case, as the generator of the table made them. */
static void make_block(const struct golden *g, const struct dequant_format *f, size_t n_blocks,
		       uint8_t *raw)
{
	static const uint8_t scales[2][2] = { { 0x66, 0x2e }, { 0xcd, 0xac } };
	uint32_t random = g->type + 1;

	for (size_t i = 0; i < n_blocks * f->block_bytes; i++) {
		random = random * 1664525u + 1013904223u;
		raw[i] = random >> 24;
	}
	for (unsigned int i = 0; i < g->n_scales; i++)
		memcpy(raw + g->scale_at[i], scales[i], 2);
	for (size_t i = 0; f->block_elems == 1 && i < n_blocks; i++) {
		uint8_t *top = raw + (i + 1) * f->block_bytes - 2;

		if (g->type == GGML_F16) {
			top[1] = (top[1] & 0x83) | 0x3c;
		} else {
			top[1] = (top[1] & 0x80) | 0x3f;
			top[0] |= 0x80;
		}
	}
}

static void assert_near(double got, double want)
{
	if (!(fabs(got - want) <= 1e-6 * (fabs(want) + 0.1)))
		fail_msg("%.9g instead of %.9g", got, want);
}

static void values_are_the_reference_ones(void **state)
{
	_Alignas(16) uint8_t raw[512];
	float out[MAX_VALUES];

	(void)state;
	for (size_t k = 0; k < sizeof(golden) / sizeof(golden[0]); k++) {
		const struct golden *g = &golden[k];
		const struct dequant_format *f = dequant_format(g->type);
		size_t n_blocks = f->block_elems == 1 ? 32 : 1, n = n_blocks * f->block_elems;
		size_t at[6] = { 0, 1, n / 3, n / 2, n - 2, n - 1 };
		double check = 0;

		assert_non_null(f);
		make_block(g, f, n_blocks, raw);
		f->to_f32(raw, out, n_blocks);
		for (size_t i = 0; i < 6; i++)
			assert_near((double)out[at[i]], g->value[i]);
		for (size_t i = 0; i < n; i++)
			check += (double)out[i] * (double)(i + 1);
		assert_near(check, g->check);
	}
}

static void halves_cover_their_range(void **state)
{
	static const struct {
		uint16_t bits;
		float want;
	} cases[] = {
		{ 0x0000, 0.0f }, { 0x3c00, 1.0f }, { 0xc000, -2.0f }, { 0x7bff, 65504.0f },
		{ 0x0001, 0x1p-24f }, { 0x03ff, 0x1.ff8p-15f }, { 0x0400, 0x1p-14f },
		{ 0x7c00, INFINITY }, { 0xfc00, -INFINITY },
	};
	const struct dequant_format *f = dequant_format(GGML_F16);
	uint16_t nan_bits = 0x7e00;
	float out;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		f->to_f32(&cases[i].bits, &out, 1);
		assert_true(out == cases[i].want);
	}
	f->to_f32(&nan_bits, &out, 1);
	assert_true(isnan(out));
}

static void unknown_types_have_no_format(void **state)
{
	static const uint32_t unknown[] = { 4, 5, 9, 15, 16, 31, 4711, UINT32_MAX };

	(void)state;
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		assert_null(dequant_format(unknown[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_the_reference_ones),
		cmocka_unit_test(halves_cover_their_range),
		cmocka_unit_test(unknown_types_have_no_format),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
