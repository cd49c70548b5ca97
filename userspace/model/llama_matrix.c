// SPDX-License-Identifier: MIT
/*
 * llama_matrix.c - products with the model's matrices: packed weights for few vectors, f32 for many
 */
#include "blas.h"
#include "llama_pvt.h"

void llama_matrix_init(struct llama_matrix *w, const struct weights *weights,
		       const struct weights_entry *e)
{
	*w = (struct llama_matrix){
		.f32 = weights_data(weights, e), .rows = e->rows, .cols = e->cols,
	};
	for (unsigned int i = 0; i < e->n_parts; i++) {
		const struct gguf_tensor *t = e->part[i];

		if (!qmatmul_takes(t->type, e->cols)) {
			w->n_parts = 0;
			return;
		}
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
		matmul_wt(w->f32, w->rows, w->cols, x, ldx, n, 1, add ? 1 : 0, y, ldy);
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
