// SPDX-License-Identifier: MIT
/*
 * llama_attention.c - causal attention with grouped KV heads, as matrix products
 */
#include <math.h>
#include <string.h>

#include "blas.h"
#include "llama_pvt.h"
#include "vecmath.h"

/* A single token: all query heads of a group, which lie side by side, against their KV head. */
static void attend_one(const struct llama *m, struct llama_workspace *ws,
		       const struct llama_kv *kv, uint32_t layer, uint32_t pos, const float *q,
		       float *out)
{
	const struct llama_config *c = &m->config;
	const uint32_t dim = c->head_dim, group = c->n_head / c->n_head_kv, n = pos + 1;
	const float scale = 1.0f / sqrtf((float)dim);

	for (uint32_t h = 0; h < c->n_head_kv; h++) {
		size_t at = (size_t)h * group * dim;
		struct llama_matrix keys;

		llama_matrix_f32(&keys, kv_plane(m, kv, layer, 0, h), n, dim);
		llama_multiply(&keys, q + at, dim, group, false, ws->scores, n);
		for (uint32_t g = 0; g < group; g++)
			vec_softmax(ws->scores + (size_t)g * n, n, scale);
		vec_weighted_sums(kv_plane(m, kv, layer, 1, h), n, dim, ws->scores, group,
				  out + at);
	}
}

/*
 * A block of tokens and one query head. Row i may look at pos0 + i + 1 keys; the product covers
 * the keys of the last row, so of the masked half only a triangle of one block is computed.
 */
static void attend_block(const struct llama *m, struct llama_workspace *ws,
			 const struct llama_kv *kv, uint32_t layer, uint32_t pos0, uint32_t n,
			 uint32_t head, const float *q, size_t ldq, float *out)
{
	const struct llama_config *c = &m->config;
	const uint32_t dim = c->head_dim, kv_head = head / (c->n_head / c->n_head_kv);
	const size_t n_keys = (size_t)pos0 + n;
	const float scale = 1.0f / sqrtf((float)dim);

	matmul_wt(kv_plane(m, kv, layer, 0, kv_head), n_keys, dim, q + (size_t)head * dim, ldq, n,
		  false, ws->scores, n_keys);
	for (uint32_t i = 0; i < n; i++) {
		float *row = ws->scores + i * n_keys;
		size_t visible = (size_t)pos0 + i + 1;

		vec_softmax(row, visible, scale);
		memset(row + visible, 0, (n_keys - visible) * sizeof(*row));
	}
	matmul_v(kv_plane(m, kv, layer, 1, kv_head), n_keys, dim, ws->scores, n_keys, n,
		 out + (size_t)head * dim, m->q_dim);
}

void llama_attention(const struct llama *m, struct llama_workspace *ws, const struct llama_kv *kv,
		     uint32_t layer, uint32_t pos0, uint32_t n, const float *q, size_t ldq,
		     float *out)
{
	uint32_t step = ws->score_rows;

	if (n == 1) {
		attend_one(m, ws, kv, layer, pos0, q, out);
		return;
	}
	for (uint32_t t = 0; t < n; t += step) {
		uint32_t rows = n - t < step ? n - t : step;

		for (uint32_t head = 0; head < m->config.n_head; head++)
			attend_block(m, ws, kv, layer, pos0 + t, rows, head, q + t * ldq, ldq,
				     out + (size_t)t * m->q_dim);
	}
}
