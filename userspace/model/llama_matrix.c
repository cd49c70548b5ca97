// SPDX-License-Identifier: MIT
/*
 * llama_matrix.c - products with the model's matrices: packed weights for few vectors, f32 for many
 */
#include "blas.h"
#include "dequant.h"
#include "llama_pvt.h"

void llama_matrix_f32(struct llama_matrix *w, const float *data, size_t rows, size_t cols)
{
	*w = (struct llama_matrix){ .f32 = data, .rows = rows, .cols = cols };
	if (qmatmul_takes(GGML_F32, cols)) {
		w->part[0] = (struct qmatmul_weights){ data, rows, cols, GGML_F32 };
		w->n_parts = 1;
	}
}

void llama_matrix_init(struct llama_matrix *w, const struct weights *weights,
		       const struct weights_entry *e)
{
	bool packed = false;

	/* What is f32 in the model as well is read where the large products read it. */
	llama_matrix_f32(w, weights_data(weights, e), e->rows, e->cols);
	for (unsigned int i = 0; i < e->n_parts; i++) {
		if (!qmatmul_takes(e->part[i]->type, e->cols))
			return;
		packed |= e->part[i]->type != GGML_F32;
	}
	if (!packed)
		return;
	w->n_parts = 0;
	for (unsigned int i = 0; i < e->n_parts; i++) {
		const struct gguf_tensor *t = e->part[i];

		w->part[w->n_parts++] = (struct qmatmul_weights){
			.data = t->data, .rows = t->n_elements / e->cols, .cols = e->cols,
			.type = t->type,
		};
	}
}

bool llama_matrix_packed(const struct llama_matrix *w, size_t n)
{
	return w->n_parts && n <= qmatmul_limit();
}

void llama_multiply(const struct llama_matrix *w, const float *x, size_t ldx, size_t n, bool add,
		    float *y, size_t ldy)
{
	if (!llama_matrix_packed(w, n)) {
		matmul_wt(w->f32, w->rows, w->cols, x, ldx, n, add, y, ldy);
		return;
	}
	for (unsigned int i = 0; i < w->n_parts; i++) {
		qmatmul(&w->part[i], x, ldx, n, add, y, ldy);
		y += w->part[i].rows;
	}
}

uint64_t llama_matrix_bytes(const struct llama_matrix *w, size_t n)
{
	uint64_t bytes = 0;

	if (!llama_matrix_packed(w, n))
		return (uint64_t)w->rows * w->cols * sizeof(float);
	for (unsigned int i = 0; i < w->n_parts; i++)
		bytes += qmatmul_bytes(&w->part[i]);
	return bytes;
}
