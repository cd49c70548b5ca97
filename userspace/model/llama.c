// SPDX-License-Identifier: MIT
/*
 * llama.c - open a model, KV blocks and workspaces; the pass itself is in llama_forward.c
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blas.h"
#include "llama_pvt.h"

#define CACHE_LINE	64u
#define SCORE_TOKENS	64u	/* query tokens of one block of prefill's attention */

static int map_weights(struct llama *m, const struct weights_plan *plan)
{
	const struct weights_entry *e = plan->entry + 1;
	struct llama_layer *l;

	m->layer = calloc(m->config.n_layer, sizeof(*m->layer));
	if (!m->layer)
		return -ENOMEM;
	for (l = m->layer; l < m->layer + m->config.n_layer; l++, e += PLAN_PER_LAYER) {
		l->attn_norm = weights_data(m->weights, e + PLAN_ATTN_NORM);
		llama_matrix_init(&l->qkv, m->weights, e + PLAN_QKV);
		llama_matrix_init(&l->attn_out, m->weights, e + PLAN_ATTN_OUT);
		l->ffn_norm = weights_data(m->weights, e + PLAN_FFN_NORM);
		llama_matrix_init(&l->gate_up, m->weights, e + PLAN_GATE_UP);
		llama_matrix_init(&l->ffn_down, m->weights, e + PLAN_FFN_DOWN);
	}
	m->embedding = weights_data(m->weights, plan->entry);
	m->output_norm = weights_data(m->weights, e);
	llama_matrix_init(&m->output, m->weights, m->config.tied_output ? plan->entry : e + 1);
	return 0;
}

static int open_weights(struct llama *m, const struct gguf *g, unsigned int roles,
			const struct llama_options *opt, struct model_error *err)
{
	struct weights_plan plan = { 0 };
	int ret;

	ret = llama_make_plan(g, m, &plan, err);
	if (!ret)
		ret = weights_open(g, &plan, opt ? opt->progress : NULL,
				   opt ? opt->progress_ctx : NULL, &m->weights, err);
	if (!ret && map_weights(m, &plan))
		ret = model_fail(err, ENOMEM, "%s: no memory", gguf_path(g));
	if (!ret) {
		ret = llama_populate(m, &plan, roles, opt);
		if (ret == -ERANGE)
			ret = model_fail(err, EINVAL, "layers %u to %u are not a range of the "
					 "model's %u layers; correct the range", opt->layer_first,
					 opt->layer_last, m->config.n_layer);
		else if (ret)
			ret = model_fail(err, -ret, "%s: cannot read the weights: %s; remove the "
					 "file to have it made again", weights_path(m->weights),
					 strerror(-ret));
	}
	free(plan.entry);
	return ret;
}

int llama_open(const char *path, unsigned int roles, const struct llama_options *opt,
	       struct llama **out, struct model_error *err)
{
	struct llama *m;
	int ret;

	*out = NULL;
	if (!roles || roles & ~LLAMA_ROLE_ALL)
		return model_fail(err, EINVAL, "%s: unknown role bits %#x", path, roles);
	m = calloc(1, sizeof(*m));
	if (!m)
		return model_fail(err, ENOMEM, "%s: no memory", path);
	blas_init();
	ret = qmatmul_init(err);
	if (!ret)
		ret = gguf_open(path, &m->file, err);
	if (!ret)
		ret = llama_read_config(m->file, m, err);
	if (!ret)
		ret = open_weights(m, m->file, roles, opt, err);
	if (ret)
		llama_close(m);
	else
		*out = m;
	return ret;
}

void llama_close(struct llama *m)
{
	if (!m)
		return;
	llama_populate_stop(m);
	weights_close(m->weights);
	gguf_close(m->file);
	free(m->rope_freq);
	free(m->layer);
	free(m);
}

const struct llama_config *llama_config(const struct llama *m)
{
	return &m->config;
}

void llama_part(const struct llama *m, uint32_t part, uint32_t parts, uint32_t *first,
		uint32_t *last)
{
	*first = (uint32_t)((uint64_t)m->config.n_layer * (part - 1) / parts);
	*last = (uint32_t)((uint64_t)m->config.n_layer * part / parts);
}

uint64_t llama_weight_bytes(const struct llama *m, uint32_t n)
{
	const struct llama_config *c = &m->config;
	uint64_t norms = (2ull * c->n_layer + 1) * c->n_embd * sizeof(float);
	uint64_t bytes = norms + llama_matrix_bytes(&m->output, n);

	for (const struct llama_layer *l = m->layer; l < m->layer + c->n_layer; l++)
		bytes += llama_matrix_bytes(&l->qkv, n) + llama_matrix_bytes(&l->attn_out, n) +
			 llama_matrix_bytes(&l->gate_up, n) + llama_matrix_bytes(&l->ffn_down, n);
	return bytes;
}

size_t llama_kv_bytes_range(const struct llama *m, uint32_t capacity, uint32_t first,
			    uint32_t last)
{
	return (size_t)(last - first) * 2 * m->kv_dim * capacity * sizeof(float);
}

size_t llama_kv_bytes(const struct llama *m, uint32_t capacity)
{
	return llama_kv_bytes_range(m, capacity, 0, m->config.n_layer);
}

void llama_kv_init_range(const struct llama *m, struct llama_kv *kv, void *data,
			 uint32_t capacity, uint32_t first, uint32_t last)
{
	(void)m;
	kv->data = data;
	kv->capacity = capacity;
	kv->layer_first = first;
	kv->layer_last = last;
}

void llama_kv_init(const struct llama *m, struct llama_kv *kv, void *data, uint32_t capacity)
{
	llama_kv_init_range(m, kv, data, capacity, 0, m->config.n_layer);
}

int llama_kv_copy(const struct llama *m, struct llama_kv *dst, const struct llama_kv *src,
		  uint32_t n)
{
	size_t bytes = (size_t)n * m->config.head_dim * sizeof(float);

	if (n > dst->capacity || n > src->capacity || dst->layer_first != src->layer_first ||
	    dst->layer_last != src->layer_last)
		return -EINVAL;
	for (uint32_t l = dst->layer_first; l < dst->layer_last; l++) {
		for (unsigned int which = 0; which < 2; which++) {
			for (uint32_t h = 0; h < m->config.n_head_kv; h++)
				memcpy(kv_plane(m, dst, l, which, h),
				       kv_plane(m, src, l, which, h), bytes);
		}
	}
	return 0;
}

/* Hand out @n floats of the block, or count them while there is none. */
static float *take(struct llama_workspace *ws, size_t *used, size_t n)
{
	float *p = ws->block ? (float *)ws->block + *used : NULL;
	size_t align = CACHE_LINE / sizeof(float);

	*used += (n + align - 1) / align * align;
	return p;
}

static size_t lay_out(struct llama_workspace *ws, const struct llama *m)
{
	const struct llama_config *c = &m->config;
	size_t rows = ws->max_rows, used = 0;

	ws->x = take(ws, &used, rows * c->n_embd);
	ws->norm = take(ws, &used, rows * c->n_embd);
	ws->qkv = take(ws, &used, rows * m->qkv_dim);
	ws->attn = take(ws, &used, rows * m->q_dim);
	ws->gate_up = take(ws, &used, rows * 2 * c->n_ff);
	ws->cosine = take(ws, &used, rows * c->rope_dim / 2);
	ws->sine = take(ws, &used, rows * c->rope_dim / 2);
	ws->ones = (uint32_t *)take(ws, &used, ws->max_streams);
	ws->scores = take(ws, &used, (size_t)ws->score_rows * c->n_ctx);
	return used * sizeof(float);
}

int llama_workspace_create(const struct llama *m, uint32_t max_tokens, uint32_t max_streams,
			   struct llama_workspace **out)
{
	const struct llama_config *c = &m->config;
	uint32_t group = c->n_head / c->n_head_kv;
	struct llama_workspace *ws;

	*out = NULL;
	if (!max_tokens || !max_streams || max_tokens > LLAMA_MAX_CTX ||
	    max_streams > LLAMA_MAX_CTX)
		return -EINVAL;
	ws = calloc(1, sizeof(*ws));
	if (!ws)
		return -ENOMEM;
	ws->max_tokens = max_tokens;
	ws->max_streams = max_streams;
	ws->max_rows = max_tokens > max_streams ? max_tokens : max_streams;
	ws->score_rows = max_tokens < SCORE_TOKENS ? max_tokens : SCORE_TOKENS;
	if (ws->score_rows < group)
		ws->score_rows = group;
	ws->block = aligned_alloc(CACHE_LINE, lay_out(ws, m));
	if (!ws->block) {
		free(ws);
		return -ENOMEM;
	}
	/* Touch it all now; and no product ever meets a stray NaN in what it overwrites. */
	memset(ws->block, 0, lay_out(ws, m));
	for (uint32_t i = 0; i < max_streams; i++)
		ws->ones[i] = 1;
	*out = ws;
	return 0;
}

void llama_workspace_free(struct llama_workspace *ws)
{
	if (!ws)
		return;
	free(ws->block);
	free(ws);
}
