/* SPDX-License-Identifier: MIT */
/*
 * qmatmul_tiles.h - a product cut into tiles, for the vector kernels; included by each of them
 *
 * Behind tile(), TILE_ROWS, TILE_VECTORS, INLINE and VECTOR, which differ: the compiler makes a
 * kernel for each format, with the includer's instructions.
 */
INLINE void product(const struct qmatmul_job *j, uint32_t type, size_t block_bytes)
{
	size_t row = 0, k;

	for (; row + TILE_ROWS <= j->rows; row += TILE_ROWS) {
		for (k = 0; k + TILE_VECTORS <= j->m; k += TILE_VECTORS)
			tile(j, row, k, TILE_ROWS, TILE_VECTORS, type, block_bytes);
		switch (j->m - k) {
		case 3: tile(j, row, k, TILE_ROWS, 3, type, block_bytes); break;
		case 2: tile(j, row, k, TILE_ROWS, 2, type, block_bytes); break;
		case 1: tile(j, row, k, TILE_ROWS, 1, type, block_bytes); break;
		}
	}
	for (; row < j->rows; row++) {
		for (k = 0; k < j->m; k++)
			tile(j, row, k, 1, 1, type, block_bytes);
	}
}

static VECTOR void f32(const struct qmatmul_job *j)
{
	product(j, GGML_F32, 128);
}

static VECTOR void f16(const struct qmatmul_job *j)
{
	product(j, GGML_F16, 64);
}

static VECTOR void q4_0(const struct qmatmul_job *j)
{
	product(j, GGML_Q4_0, 18);
}

static VECTOR void q4_1(const struct qmatmul_job *j)
{
	product(j, GGML_Q4_1, 20);
}

static VECTOR void q8_0(const struct qmatmul_job *j)
{
	product(j, GGML_Q8_0, 34);
}
