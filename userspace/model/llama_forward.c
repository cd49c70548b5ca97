// SPDX-License-Identifier: MIT
/*
 * llama_forward.c - from token ids to logits, in the cuts that llama.h describes
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "llama_pvt.h"
#include "vecmath.h"

/* The rows of one call: streams one after the other, each with its own KV block and position. */
struct batch {
	struct llama_kv *const *kv;
	const uint32_t *pos0;
	const uint32_t *n_tokens;
	uint32_t n_streams;
	uint32_t n_rows;
};

/* Can stream @i take its tokens? */
static int check_stream(const struct llama *m, const struct llama_kv *kv, uint32_t pos0,
			uint32_t n, uint32_t first, uint32_t last)
{
	uint64_t end = (uint64_t)pos0 + n;

	if (!n || !kv->data || kv->layer_first > first || kv->layer_last < last)
		return -EINVAL;
	return end > kv->capacity || end > m->config.n_ctx ? -ENOSPC : 0;
}

/* Cosine and sine of every row's angles; the same for all layers. */
static void make_rotations(const struct llama *m, struct llama_workspace *ws,
			   const struct batch *b)
{
	uint32_t half = m->config.rope_dim / 2;
	size_t at = 0;

	for (uint32_t s = 0; s < b->n_streams; s++) {
		for (uint32_t t = 0; t < b->n_tokens[s]; t++) {
			for (uint32_t i = 0; i < half; i++, at++) {
				double angle = (double)(b->pos0[s] + t) * m->rope_freq[i];

				ws->cosine[at] = (float)cos(angle);
				ws->sine[at] = (float)sin(angle);
			}
		}
	}
}

/* Rotate queries and keys in place, then store keys and values in the streams' blocks. */
static void rotate_and_store(const struct llama *m, struct llama_workspace *ws,
			     const struct batch *b, uint32_t layer)
{
	const struct llama_config *c = &m->config;
	const size_t dim = c->head_dim, half = c->rope_dim / 2;
	const float *cosine = ws->cosine, *sine = ws->sine;
	float *row = ws->qkv;

	for (uint32_t s = 0; s < b->n_streams; s++) {
		for (uint32_t t = 0; t < b->n_tokens[s]; t++) {
			size_t at = ((size_t)b->pos0[s] + t) * dim;
			const float *k = row + m->q_dim, *v = k + m->kv_dim;

			/* Queries and keys are neighbours: one run of heads. */
			vec_rope(row, c->n_head + c->n_head_kv, dim, c->rope_dim, cosine, sine);
			for (uint32_t h = 0; h < c->n_head_kv; h++) {
				memcpy(kv_plane(m, b->kv[s], layer, 0, h) + at, k + h * dim,
				       dim * sizeof(*k));
				memcpy(kv_plane(m, b->kv[s], layer, 1, h) + at, v + h * dim,
				       dim * sizeof(*v));
			}
			row += m->qkv_dim;
			cosine += half;
			sine += half;
		}
	}
}

static void norm_rows(const struct llama *m, const float *x, const float *gain, float *y,
		      uint32_t n)
{
	uint32_t embd = m->config.n_embd;

	for (uint32_t i = 0; i < n; i++)
		vec_rmsnorm(x + (size_t)i * embd, gain, y + (size_t)i * embd, embd,
			    m->config.rms_eps);
}

/* x += W_down (silu(W_gate norm(x)) * W_up norm(x)) */
static void feed_forward(const struct llama *m, struct llama_workspace *ws,
			 const struct llama_layer *l, float *x, uint32_t n)
{
	const size_t embd = m->config.n_embd, ff = m->config.n_ff;

	norm_rows(m, x, l->ffn_norm, ws->norm, n);
	llama_multiply(&l->gate_up, ws->norm, embd, n, false, ws->gate_up, 2 * ff);
	for (uint32_t i = 0; i < n; i++)
		vec_silu_mul(ws->gate_up + i * 2 * ff, ws->gate_up + i * 2 * ff + ff, ff);
	llama_multiply(&l->ffn_down, ws->gate_up, 2 * ff, n, true, x, embd);
}

static void attend(const struct llama *m, struct llama_workspace *ws, const struct batch *b,
		   uint32_t layer)
{
	size_t row = 0;

	for (uint32_t s = 0; s < b->n_streams; s++) {
		llama_attention(m, ws, b->kv[s], layer, b->pos0[s], b->n_tokens[s],
				ws->qkv + row * m->qkv_dim, m->qkv_dim, ws->attn + row * m->q_dim);
		row += b->n_tokens[s];
	}
}

static void run_layer(const struct llama *m, struct llama_workspace *ws, const struct batch *b,
		      uint32_t layer, float *x)
{
	const struct llama_layer *l = &m->layer[layer];
	const size_t embd = m->config.n_embd;

	norm_rows(m, x, l->attn_norm, ws->norm, b->n_rows);
	llama_multiply(&l->qkv, ws->norm, embd, b->n_rows, false, ws->qkv, m->qkv_dim);
	rotate_and_store(m, ws, b, layer);
	attend(m, ws, b, layer);
	llama_multiply(&l->attn_out, ws->attn, m->q_dim, b->n_rows, true, x, embd);
	feed_forward(m, ws, l, x, b->n_rows);
}

/*
 * The last layer of a prefill: all keys and values, but of the rest only the last row, since
 * nobody asks for the others.
 */
static void run_last_layer(const struct llama *m, struct llama_workspace *ws,
			   const struct batch *b, uint32_t layer, float *x, float *last_hidden)
{
	const struct llama_layer *l = &m->layer[layer];
	const size_t embd = m->config.n_embd, last = b->n_rows - 1;

	norm_rows(m, x, l->attn_norm, ws->norm, b->n_rows);
	llama_multiply(&l->qkv, ws->norm, embd, b->n_rows, false, ws->qkv, m->qkv_dim);
	rotate_and_store(m, ws, b, layer);
	llama_attention(m, ws, b->kv[0], layer, b->pos0[0] + last, 1, ws->qkv + last * m->qkv_dim,
			m->qkv_dim, ws->attn);
	memcpy(last_hidden, x + last * embd, embd * sizeof(*x));
	llama_multiply(&l->attn_out, ws->attn, m->q_dim, 1, true, last_hidden, embd);
	feed_forward(m, ws, l, last_hidden, 1);
}

int llama_layers(const struct llama *m, struct llama_workspace *ws, struct llama_kv *const *kv,
		 const uint32_t *pos0, const uint32_t *n_tokens, uint32_t n_streams, float *hidden,
		 uint32_t first, uint32_t last)
{
	struct batch b = { kv, pos0, n_tokens, n_streams, 0 };
	int ret;

	if (!n_streams || first >= last || last > m->config.n_layer)
		return -EINVAL;
	for (uint32_t s = 0; s < n_streams; s++) {
		if (n_tokens[s] > ws->max_rows - b.n_rows)
			return -EINVAL;
		b.n_rows += n_tokens[s];
		ret = check_stream(m, kv[s], pos0[s], n_tokens[s], first, last);
		if (ret)
			return ret;
	}
	make_rotations(m, ws, &b);
	for (uint32_t l = first; l < last; l++)
		run_layer(m, ws, &b, l, hidden);
	return 0;
}

int llama_prefill_range(const struct llama *m, struct llama_workspace *ws, struct llama_kv *kv,
			uint32_t pos0, const float *hidden, uint32_t n, uint32_t first,
			uint32_t last, float *out)
{
	const size_t embd = m->config.n_embd;
	bool whole = last == m->config.n_layer;
	int ret = first < last && last <= m->config.n_layer ?
		  check_stream(m, kv, pos0, n, first, last) : -EINVAL;

	if (ret)
		return ret;
	for (uint32_t t = 0; t < n; t += ws->max_tokens) {
		uint32_t rows = n - t < ws->max_tokens ? n - t : ws->max_tokens;
		uint32_t pos = pos0 + t;
		struct batch b = { &kv, &pos, &rows, 1, rows };

		memcpy(ws->x, hidden + t * embd, rows * embd * sizeof(*hidden));
		make_rotations(m, ws, &b);
		for (uint32_t l = first; l < last - whole; l++)
			run_layer(m, ws, &b, l, ws->x);
		if (whole)
			run_last_layer(m, ws, &b, last - 1, ws->x, out);
		else
			memcpy(out + t * embd, ws->x, rows * embd * sizeof(*out));
	}
	return 0;
}

int llama_prefill(const struct llama *m, struct llama_workspace *ws, struct llama_kv *kv,
		  uint32_t pos0, const float *hidden, uint32_t n, float *last_hidden)
{
	return llama_prefill_range(m, ws, kv, pos0, hidden, n, 0, m->config.n_layer, last_hidden);
}

int llama_decode(const struct llama *m, struct llama_workspace *ws, struct llama_kv *const *kv,
		 const uint32_t *pos, uint32_t n_streams, float *hidden)
{
	int ret;

	if (!n_streams)
		return -EINVAL;
	for (uint32_t s = 0; s < n_streams; s++) {
		ret = check_stream(m, kv[s], pos[s], 1, 0, m->config.n_layer);
		if (ret)
			return ret;
	}
	for (uint32_t s = 0; s < n_streams; s += ws->max_streams) {
		uint32_t n = n_streams - s < ws->max_streams ? n_streams - s : ws->max_streams;

		ret = llama_layers(m, ws, kv + s, pos + s, ws->ones, n,
				   hidden + (size_t)s * m->config.n_embd, 0, m->config.n_layer);
		if (ret)
			return ret;
	}
	return 0;
}

int llama_embed(const struct llama *m, const int32_t *ids, uint32_t n, float *out)
{
	const size_t embd = m->config.n_embd;

	for (uint32_t i = 0; i < n; i++) {
		if (ids[i] < 0 || (uint32_t)ids[i] >= m->config.n_vocab)
			return -EINVAL;
	}
	for (uint32_t i = 0; i < n; i++)
		memcpy(out + i * embd, m->embedding + ids[i] * embd, embd * sizeof(*out));
	return 0;
}

int llama_logits(const struct llama *m, struct llama_workspace *ws, const float *hidden,
		 uint32_t n, float *logits)
{
	const size_t embd = m->config.n_embd, vocab = m->config.n_vocab;

	if (!n)
		return -EINVAL;
	for (uint32_t i = 0; i < n; i += ws->max_rows) {
		uint32_t rows = n - i < ws->max_rows ? n - i : ws->max_rows;

		norm_rows(m, hidden + i * embd, m->output_norm, ws->norm, rows);
		llama_multiply(&m->output, ws->norm, embd, rows, false, logits + i * vocab, vocab);
	}
	return 0;
}
