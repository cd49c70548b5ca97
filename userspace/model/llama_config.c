// SPDX-License-Identifier: MIT
/*
 * llama_config.c - sizes and tensor names of a llama model, from its GGUF file
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llama_pvt.h"

static bool str_is(struct gguf_str s, const char *text)
{
	return s.len == strlen(text) && !memcmp(s.data, text, s.len);
}

static int check_range(const struct gguf *g, const char *what, uint32_t value, uint32_t max,
		       struct model_error *err)
{
	if (value >= 1 && value <= max)
		return 0;
	return model_fail(err, EINVAL, "%s: %s is %u, not 1 to %u; convert the model anew",
			  gguf_path(g), what, value, max);
}

static int read_sizes(const struct gguf *g, struct llama_config *c, struct model_error *err)
{
	const struct {
		const char *key;
		uint32_t *out;
		uint32_t max;
	} sizes[] = {
		{ "llama.block_count", &c->n_layer, LLAMA_MAX_LAYERS },
		{ "llama.embedding_length", &c->n_embd, LLAMA_MAX_WIDTH },
		{ "llama.feed_forward_length", &c->n_ff, LLAMA_MAX_FF },
		{ "llama.context_length", &c->n_ctx, LLAMA_MAX_CTX },
		{ "llama.attention.head_count", &c->n_head, LLAMA_MAX_WIDTH },
	};
	int ret = 0;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && !ret; i++) {
		ret = gguf_get_u32(g, sizes[i].key, sizes[i].out, err);
		if (!ret)
			ret = check_range(g, sizes[i].key, *sizes[i].out, sizes[i].max, err);
	}
	return ret;
}

static int read_heads(const struct gguf *g, struct llama_config *c, struct model_error *err)
{
	uint32_t value_dim;
	int ret;

	ret = gguf_get_u32_or(g, "llama.attention.head_count_kv", c->n_head, &c->n_head_kv, err);
	if (!ret)
		ret = gguf_get_u32_or(g, "llama.attention.key_length", c->n_embd / c->n_head,
				      &c->head_dim, err);
	if (!ret)
		ret = gguf_get_u32_or(g, "llama.attention.value_length", c->head_dim, &value_dim,
				      err);
	if (!ret)
		ret = check_range(g, "llama.attention.head_count_kv", c->n_head_kv, c->n_head, err);
	if (!ret)
		ret = check_range(g, "the width of a head", c->head_dim,
				  LLAMA_MAX_WIDTH / c->n_head, err);
	if (ret)
		return ret;
	if (c->n_head % c->n_head_kv || value_dim != c->head_dim)
		return model_fail(err, EOPNOTSUPP,
				  "%s: %u heads over %u KV heads, keys of %u and values of %u are "
				  "not supported; use a model with whole groups and equal widths",
				  gguf_path(g), c->n_head, c->n_head_kv, c->head_dim, value_dim);
	return 0;
}

static int read_rope(const struct gguf *g, struct llama_config *c, struct model_error *err)
{
	struct gguf_str scaling;
	float factor = 1;
	int ret;

	ret = gguf_get_u32_or(g, "llama.rope.dimension_count", c->head_dim, &c->rope_dim, err);
	if (!ret)
		ret = gguf_get_f32_or(g, "llama.rope.freq_base", 10000, &c->rope_freq_base, err);
	if (!ret)
		ret = gguf_get_f32_or(g, "llama.rope.scale_linear", 1, &factor, err);
	if (!ret && gguf_find(g, "llama.rope.scaling.type")) {
		ret = gguf_get_str(g, "llama.rope.scaling.type", &scaling, err);
		if (!ret && str_is(scaling, "linear"))
			ret = gguf_get_f32(g, "llama.rope.scaling.factor", &factor, err);
		else if (!ret && !str_is(scaling, "none"))
			return model_fail(err, EOPNOTSUPP,
					  "%s: rope scaling '%.*s' is not supported; use a model "
					  "with linear scaling or none", gguf_path(g),
					  gguf_shown(scaling), scaling.data);
	}
	if (ret)
		return ret;
	if (c->rope_dim % 2 || c->rope_dim > c->head_dim || !(c->rope_freq_base > 0) ||
	    !(factor > 0))
		return model_fail(err, EINVAL,
				  "%s: rope dimension %u, base %g and factor %g do not fit heads of "
				  "%u; convert the model anew", gguf_path(g), c->rope_dim,
				  (double)c->rope_freq_base, (double)factor, c->head_dim);
	c->rope_freq_scale = 1 / factor;
	return 0;
}

/* A token id that may be missing: -1 then, and also if it lies outside the vocabulary. */
static int read_id(const struct gguf *g, const char *key, uint32_t n_vocab, int32_t *out,
		   struct model_error *err)
{
	uint32_t id;
	int ret = gguf_get_u32_or(g, key, UINT32_MAX, &id, err);

	*out = !ret && id < n_vocab ? (int32_t)id : -1;
	return ret;
}

static int read_vocab(const struct gguf *g, struct llama_config *c, struct model_error *err)
{
	const struct gguf_tensor *embd = gguf_find_tensor(g, "token_embd.weight");
	uint32_t claimed;
	int ret;

	if (!embd)
		return model_fail(err, ENODATA, "%s: tensor 'token_embd.weight' is missing; get "
				  "the file again", gguf_path(g));
	if (embd->dims[1] > LLAMA_MAX_VOCAB)
		return model_fail(err, EINVAL, "%s: a vocabulary of %" PRIu64 " is more than %u; "
				  "get the file again", gguf_path(g), embd->dims[1],
				  LLAMA_MAX_VOCAB);
	c->n_vocab = embd->dims[1];
	ret = gguf_get_u32_or(g, "llama.vocab_size", c->n_vocab, &claimed, err);
	if (!ret && claimed != c->n_vocab)
		ret = model_fail(err, EINVAL,
				 "%s: llama.vocab_size is %u, but token_embd.weight has %u rows; "
				 "convert the model anew", gguf_path(g), claimed, c->n_vocab);
	if (!ret)
		ret = read_id(g, "tokenizer.ggml.bos_token_id", c->n_vocab, &c->bos_id, err);
	if (!ret)
		ret = read_id(g, "tokenizer.ggml.eos_token_id", c->n_vocab, &c->eos_id, err);
	if (!ret)
		ret = read_id(g, "tokenizer.ggml.eot_token_id", c->n_vocab, &c->eot_id, err);
	c->tied_output = !gguf_find_tensor(g, "output.weight");
	return ret;
}

static int check_architecture(const struct gguf *g, struct model_error *err)
{
	struct gguf_str arch;
	uint32_t experts;
	int ret;

	ret = gguf_get_str(g, "general.architecture", &arch, err);
	if (ret)
		return ret;
	if (!str_is(arch, "llama"))
		return model_fail(err, EOPNOTSUPP,
				  "%s: architecture '%.*s' is not supported; use a model of "
				  "architecture 'llama'", gguf_path(g), gguf_shown(arch), arch.data);
	ret = gguf_get_u32_or(g, "llama.expert_count", 0, &experts, err);
	if (!ret && experts)
		ret = model_fail(err, EOPNOTSUPP, "%s: mixtures of experts are not supported; use "
				 "a dense model", gguf_path(g));
	return ret;
}

/* Angles per position, in double: at position 8000 f32 would be off by a thousandth. */
static int make_frequencies(const struct gguf *g, struct llama *m, struct model_error *err)
{
	const struct gguf_tensor *factors = gguf_find_tensor(g, "rope_freqs.weight");
	const struct llama_config *c = &m->config;
	uint32_t half = c->rope_dim / 2;

	/* Llama 3 divides the frequencies by factors of its own; type 0 is F32. */
	if (factors && (factors->type != 0 || factors->n_elements != half))
		return model_fail(err, EINVAL, "%s: tensor 'rope_freqs.weight' is not %u values of "
				  "F32; convert the model anew", gguf_path(g), half);
	m->rope_freq = calloc(half + 1, sizeof(*m->rope_freq));
	if (!m->rope_freq)
		return model_fail(err, ENOMEM, "%s: no memory", gguf_path(g));
	for (uint32_t i = 0; i < half; i++) {
		double f = pow(c->rope_freq_base, -2.0 * i / c->rope_dim) * c->rope_freq_scale;

		m->rope_freq[i] = factors ? f / ((const float *)factors->data)[i] : f;
	}
	return 0;
}

int llama_read_config(const struct gguf *g, struct llama *m, struct model_error *err)
{
	struct llama_config *c = &m->config;
	int ret;

	ret = check_architecture(g, err);
	if (!ret)
		ret = read_sizes(g, c, err);
	if (!ret)
		ret = read_heads(g, c, err);
	if (!ret)
		ret = read_rope(g, c, err);
	if (!ret)
		ret = gguf_get_f32(g, "llama.attention.layer_norm_rms_epsilon", &c->rms_eps, err);
	if (!ret && !(c->rms_eps >= 0))
		ret = model_fail(err, EINVAL, "%s: a negative norm epsilon; convert the model anew",
				 gguf_path(g));
	if (!ret)
		ret = read_vocab(g, c, err);
	if (!ret)
		ret = make_frequencies(g, m, err);
	m->q_dim = c->n_head * c->head_dim;
	m->kv_dim = c->n_head_kv * c->head_dim;
	m->qkv_dim = m->q_dim + 2 * m->kv_dim;
	return ret;
}

/* Where llama_make_plan() is, and what it is making. */
struct planner {
	const struct gguf *g;
	struct weights_plan *plan;
	struct model_error *err;
	bool *used;		/* by position in the file */
};

/* Start a matrix of @cols columns; its rows come with add_part(). */
static struct weights_entry *add_entry(struct planner *p, uint64_t cols, const char *fmt,
				       uint32_t layer)
{
	struct weights_entry *e = &p->plan->entry[p->plan->n++];

	e->cols = cols;
	snprintf(e->name, sizeof(e->name), fmt, layer);
	return e;
}

/* Add tensor @fmt of @layer, which must be [rows][cols], to a matrix. */
static int add_part(struct planner *p, struct weights_entry *e, uint64_t rows, const char *fmt,
		    uint32_t layer)
{
	const struct gguf_tensor *t;
	char name[WEIGHTS_NAME_MAX];

	snprintf(name, sizeof(name), fmt, layer);
	t = gguf_find_tensor(p->g, name);
	if (!t)
		return model_fail(p->err, ENODATA, "%s: tensor '%s' is missing; get the file again",
				  gguf_path(p->g), name);
	if (t->dims[0] != e->cols || t->dims[1] != rows || t->dims[2] != 1 || t->dims[3] != 1)
		return model_fail(p->err, EINVAL,
				  "%s: tensor '%s' is %" PRIu64 " x %" PRIu64 " x %" PRIu64
				  " x %" PRIu64 ", expected %" PRIu64 " x %" PRIu64
				  "; convert the model anew", gguf_path(p->g), name, t->dims[0],
				  t->dims[1], t->dims[2], t->dims[3], e->cols, rows);
	e->part[e->n_parts++] = t;
	e->rows += rows;
	p->used[t - gguf_tensor_at(p->g, 0)] = true;
	return 0;
}

static int add_layer(struct planner *p, const struct llama *m, uint32_t i)
{
	const struct llama_config *c = &m->config;
	const uint32_t embd = c->n_embd;
	struct weights_entry *e;
	int ret;

	e = add_entry(p, embd, "blk.%u.attn_norm", i);
	ret = add_part(p, e, 1, "blk.%u.attn_norm.weight", i);
	e = add_entry(p, embd, "blk.%u.attn_qkv", i);
	if (!ret)
		ret = add_part(p, e, m->q_dim, "blk.%u.attn_q.weight", i);
	if (!ret)
		ret = add_part(p, e, m->kv_dim, "blk.%u.attn_k.weight", i);
	if (!ret)
		ret = add_part(p, e, m->kv_dim, "blk.%u.attn_v.weight", i);
	e = add_entry(p, m->q_dim, "blk.%u.attn_output", i);
	if (!ret)
		ret = add_part(p, e, embd, "blk.%u.attn_output.weight", i);
	e = add_entry(p, embd, "blk.%u.ffn_norm", i);
	if (!ret)
		ret = add_part(p, e, 1, "blk.%u.ffn_norm.weight", i);
	e = add_entry(p, embd, "blk.%u.ffn_gate_up", i);
	if (!ret)
		ret = add_part(p, e, c->n_ff, "blk.%u.ffn_gate.weight", i);
	if (!ret)
		ret = add_part(p, e, c->n_ff, "blk.%u.ffn_up.weight", i);
	e = add_entry(p, c->n_ff, "blk.%u.ffn_down", i);
	if (!ret)
		ret = add_part(p, e, embd, "blk.%u.ffn_down.weight", i);
	return ret;
}

/* A tensor that nobody reads would mean another model than the one that was trained. */
static int check_all_used(const struct planner *p)
{
	const struct gguf_tensor *rope = gguf_find_tensor(p->g, "rope_freqs.weight");
	const struct gguf_tensor *t;

	for (size_t i = 0; (t = gguf_tensor_at(p->g, i)); i++) {
		if (!p->used[i] && t != rope)
			return model_fail(p->err, EOPNOTSUPP,
					  "%s: tensor '%.*s' has no place in the plain llama "
					  "architecture; use a model without it", gguf_path(p->g),
					  gguf_shown(t->name), t->name.data);
	}
	return 0;
}

static int add_all(struct planner *p, const struct llama *m)
{
	const struct llama_config *c = &m->config;
	struct weights_entry *e;
	int ret;

	e = add_entry(p, c->n_embd, "token_embd", 0);
	ret = add_part(p, e, c->n_vocab, "token_embd.weight", 0);
	for (uint32_t i = 0; i < c->n_layer && !ret; i++)
		ret = add_layer(p, m, i);
	if (!ret) {
		e = add_entry(p, c->n_embd, "output_norm", 0);
		ret = add_part(p, e, 1, "output_norm.weight", 0);
	}
	if (!ret && !c->tied_output) {
		e = add_entry(p, c->n_embd, "output", 0);
		ret = add_part(p, e, c->n_vocab, "output.weight", 0);
	}
	return ret ? ret : check_all_used(p);
}

int llama_make_plan(const struct gguf *g, const struct llama *m, struct weights_plan *plan,
		    struct model_error *err)
{
	struct planner p = { .g = g, .plan = plan, .err = err };
	size_t max_entries = (size_t)m->config.n_layer * PLAN_PER_LAYER + 3;
	int ret;

	plan->n = 0;
	plan->entry = calloc(max_entries, sizeof(*plan->entry));
	p.used = calloc(GGUF_MAX_TENSORS, sizeof(*p.used));
	if (plan->entry && p.used)
		ret = add_all(&p, m);
	else
		ret = model_fail(err, ENOMEM, "%s: no memory", gguf_path(g));
	free(p.used);
	return ret;
}
