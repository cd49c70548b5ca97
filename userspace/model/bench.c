// SPDX-License-Identifier: MIT
/*
 * bench.c - load, prefill, decode and memory bandwidth of a model in one process
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "blas.h"
#include "llama_pvt.h"
#include "sampler.h"
#include "tokenizer.h"
#include "vecmath.h"

#define BENCH_MAX_STREAMS	256u
#define PREFILL_CHUNK		512u

struct bench {
	const struct model_bench_params *p;
	struct model_bench_result *r;
	struct model_error *err;
	struct llama *m;
	const struct llama_config *config;
	struct llama_workspace *ws;
	struct sampler *sampler;
	struct llama_kv kv[BENCH_MAX_STREAMS];
	struct llama_kv *kvp[BENCH_MAX_STREAMS];
	uint32_t pos[BENCH_MAX_STREAMS];
	int32_t next[BENCH_MAX_STREAMS];
	int32_t *prompt;
	uint32_t n_prompt;
	float *hidden;		/* [max(tokens of a prompt, streams)][n_embd] */
	float *logits;		/* [streams][n_vocab] */
	double *step_s;		/* [n_tokens] */
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int no_memory(struct bench *b)
{
	return model_fail(b->err, ENOMEM, "%s: no memory for the benchmark; use fewer tokens or "
			  "streams", b->p->model);
}

static int load(struct bench *b)
{
	struct llama_options opt = {
		.progress = b->p->progress, .progress_ctx = b->p->progress_ctx,
	};
	double start = now_s();
	int ret = llama_open(b->p->model, LLAMA_ROLE_ALL, &opt, &b->m, b->err);

	if (ret)
		return ret;
	b->r->load_s = now_s() - start;
	b->config = llama_config(b->m);
	b->r->blas = blas_name();
	b->r->weight_bytes = llama_weight_bytes(b->m, b->p->n_streams);
	b->r->qmatmul = qmatmul_name();
	return 0;
}

static int tokenise(struct bench *b)
{
	size_t len = strlen(b->p->prompt);
	struct tokenizer *t;
	ssize_t n;
	int ret = tokenizer_open(b->p->model, &t, b->err);

	if (ret)
		return ret;
	b->prompt = malloc((len + 1) * sizeof(*b->prompt));
	n = b->prompt ? tokenizer_encode(t, b->p->prompt, len, TOKENIZER_ADD_BOS, b->prompt,
					 len + 1) : -ENOMEM;
	tokenizer_free(t);
	if (n < 0)
		return model_fail(b->err, -n, "cannot tokenise the prompt: %s", strerror(-n));
	if (!n)
		return model_fail(b->err, EINVAL, "the prompt is empty; give some text to continue");
	b->n_prompt = n;
	return 0;
}

static int check_lengths(struct bench *b)
{
	uint64_t total = (uint64_t)b->n_prompt + b->p->n_tokens;
	uint32_t n_ctx = b->config->n_ctx;

	if (!b->p->n_tokens || !b->p->n_streams || b->p->n_streams > BENCH_MAX_STREAMS)
		return model_fail(b->err, EINVAL, "%u tokens on %u streams: both must be at least 1, "
				  "and streams at most %u", b->p->n_tokens, b->p->n_streams,
				  BENCH_MAX_STREAMS);
	if (total > n_ctx || b->p->n_prefill > n_ctx)
		return model_fail(b->err, EINVAL,
				  "a prompt of %u tokens and %u more, or a prefill of %u, do not fit "
				  "the model's context of %u; use fewer", b->n_prompt,
				  b->p->n_tokens, b->p->n_prefill, n_ctx);
	return 0;
}

static int allocate(struct bench *b)
{
	const struct model_bench_params *p = b->p;
	uint32_t rows = b->n_prompt > p->n_prefill ? b->n_prompt : p->n_prefill;
	uint32_t capacity = b->n_prompt + p->n_tokens;

	if (rows < p->n_streams)
		rows = p->n_streams;
	if (capacity < p->n_prefill)
		capacity = p->n_prefill;
	for (uint32_t i = 0; i < p->n_streams; i++) {
		size_t bytes = (llama_kv_bytes(b->m, capacity) + 63) & ~(size_t)63;
		void *block = aligned_alloc(64, bytes);

		if (!block)
			return no_memory(b);
		memset(block, 0, bytes);
		llama_kv_init(b->m, &b->kv[i], block, capacity);
		b->kvp[i] = &b->kv[i];
	}
	b->hidden = calloc((size_t)rows * b->config->n_embd, sizeof(float));
	b->logits = calloc((size_t)p->n_streams * b->config->n_vocab, sizeof(float));
	b->step_s = calloc(p->n_tokens, sizeof(double));
	b->r->ids = calloc(p->n_tokens, sizeof(int32_t));
	if (!b->hidden || !b->logits || !b->step_s || !b->r->ids ||
	    sampler_create(b->config->n_vocab, &b->sampler) ||
	    llama_workspace_create(b->m, rows < PREFILL_CHUNK ? rows : PREFILL_CHUNK,
				   p->n_streams, &b->ws))
		return no_memory(b);
	return 0;
}

static int measure_prefill(struct bench *b)
{
	uint32_t n = b->p->n_prefill, repeat = b->p->repeat ? b->p->repeat : 1;
	int32_t *ids = malloc((n + 1) * sizeof(*ids));
	double best = 0;
	int ret = ids ? 0 : no_memory(b);

	for (uint32_t i = 0; i < n && !ret; i++)
		ids[i] = b->prompt[i % b->n_prompt];
	for (uint32_t i = 0; i < repeat && n && !ret; i++) {
		double start = now_s(), s;

		ret = llama_embed(b->m, ids, n, b->hidden);
		if (!ret)
			ret = llama_prefill(b->m, b->ws, &b->kv[0], 0, b->hidden, n, b->hidden);
		s = now_s() - start;
		best = !i || s < best ? s : best;
	}
	free(ids);
	b->r->prefill_s = best;
	b->r->prefill_tok_s = best > 0 ? n / best : 0;
	return ret;
}

/* Every stream starts with the same prompt. */
static int start_streams(struct bench *b)
{
	size_t embd = b->config->n_embd;
	int ret = llama_embed(b->m, b->prompt, b->n_prompt, b->hidden);

	if (!ret)
		ret = llama_prefill(b->m, b->ws, &b->kv[0], 0, b->hidden, b->n_prompt, b->hidden);
	for (uint32_t i = 0; i < b->p->n_streams && !ret; i++) {
		b->pos[i] = b->n_prompt;
		if (!i)
			continue;
		ret = llama_kv_copy(b->m, &b->kv[i], &b->kv[0], b->n_prompt);
		memcpy(b->hidden + i * embd, b->hidden, embd * sizeof(float));
	}
	return ret;
}

/* Logits, choice, embedding, layers: one token for every stream. */
static int step(struct bench *b, uint32_t i)
{
	static const struct sampler_params greedy = { .top_p = 1 };
	uint32_t n = b->p->n_streams;
	int ret = llama_logits(b->m, b->ws, b->hidden, n, b->logits);

	for (uint32_t s = 0; s < n && !ret; s++) {
		b->next[s] = sampler_sample(b->sampler, &greedy, i,
					    b->logits + (size_t)s * b->config->n_vocab);
		if (b->next[s] < 0)
			ret = b->next[s];
	}
	b->r->ids[i] = b->next[0];
	if (!ret)
		ret = llama_embed(b->m, b->next, n, b->hidden);
	if (!ret)
		ret = llama_decode(b->m, b->ws, b->kvp, b->pos, n, b->hidden);
	for (uint32_t s = 0; s < n; s++)
		b->pos[s]++;
	return ret;
}

static int cmp_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int measure_decode(struct bench *b)
{
	uint32_t n = b->p->n_tokens;
	double start;
	int ret = start_streams(b);

	start = now_s();
	for (uint32_t i = 0; i < n && !ret; i++) {
		double t = now_s();

		ret = step(b, i);
		b->step_s[i] = now_s() - t;
	}
	if (ret)
		return ret;
	b->r->n_ids = n;
	b->r->decode_tok_s = (double)n * b->p->n_streams / (now_s() - start);
	qsort(b->step_s, n, sizeof(*b->step_s), cmp_double);
	b->r->decode_p50_s = b->step_s[n / 2];
	b->r->decode_p99_s = b->step_s[(size_t)n * 99 / 100];
	b->r->decode_gb_s = (double)b->r->weight_bytes / b->r->decode_p50_s * 1e-9;
	return 0;
}

static uint32_t read_matrix(const struct llama_matrix *w, uint32_t n)
{
	uint32_t sum = 0;

	if (!llama_matrix_packed(w, n))
		return vec_read((const uint32_t *)w->f32, w->rows * w->cols);
	for (unsigned int i = 0; i < w->n_parts; i++)
		sum ^= vec_read(w->part[i].data, qmatmul_bytes(&w->part[i]) / sizeof(uint32_t));
	return sum;
}

/* Read what a step reads, but for the norms, and do nothing with it: no step can be faster. */
static void measure_bandwidth(struct bench *b)
{
	uint32_t repeat = b->p->repeat > 3 ? b->p->repeat : 3, n = b->p->n_streams;
	double best = 0;
	volatile uint32_t sink;

	for (uint32_t i = 0; i < repeat; i++) {
		double start = now_s(), s;

		sink = read_matrix(&b->m->output, n);
		for (uint32_t k = 0; k < b->config->n_layer; k++) {
			const struct llama_layer *l = &b->m->layer[k];

			sink ^= read_matrix(&l->qkv, n) ^ read_matrix(&l->attn_out, n) ^
				read_matrix(&l->gate_up, n) ^ read_matrix(&l->ffn_down, n);
		}
		s = now_s() - start;
		best = !i || s < best ? s : best;
	}
	(void)sink;
	b->r->read_gb_s = (double)b->r->weight_bytes / best * 1e-9;
	b->r->fraction = b->r->decode_gb_s / b->r->read_gb_s;
}

static void release(struct bench *b)
{
	for (uint32_t i = 0; i < BENCH_MAX_STREAMS; i++)
		free(b->kv[i].data);
	llama_workspace_free(b->ws);
	sampler_free(b->sampler);
	llama_close(b->m);
	free(b->prompt);
	free(b->hidden);
	free(b->logits);
	free(b->step_s);
	free(b);
}

int model_bench(const struct model_bench_params *p, struct model_bench_result *r,
		struct model_error *err)
{
	struct bench *b = calloc(1, sizeof(*b));
	int ret;

	memset(r, 0, sizeof(*r));
	if (!b)
		return model_fail(err, ENOMEM, "no memory for the benchmark");
	if (err)
		err->text[0] = '\0';
	b->p = p;
	b->r = r;
	b->err = err;
	ret = load(b);
	if (!ret)
		ret = tokenise(b);
	if (!ret)
		ret = check_lengths(b);
	if (!ret)
		ret = allocate(b);
	if (!ret)
		ret = measure_prefill(b);
	if (!ret)
		ret = measure_decode(b);
	if (!ret)
		measure_bandwidth(b);
	if (ret && err && !err->text[0])
		model_fail(err, -ret, "%s: the forward pass failed: %s", p->model, strerror(-ret));
	release(b);
	if (ret) {
		free(r->ids);
		r->ids = NULL;
	}
	return ret;
}
