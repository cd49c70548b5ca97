/* SPDX-License-Identifier: MIT */
/* llama_pvt.h - shared by the llama_*.c files; use llama.h */
#ifndef SLUICE_MODEL_LLAMA_PVT_H
#define SLUICE_MODEL_LLAMA_PVT_H

#include "llama.h"
#include "qmatmul.h"

/* Bounds on sizes in a file, so that products of them stay far from overflow. */
#define LLAMA_MAX_LAYERS	1024u
#define LLAMA_MAX_WIDTH		65536u
#define LLAMA_MAX_FF		(1u << 20)
#define LLAMA_MAX_VOCAB		(1u << 24)
#define LLAMA_MAX_CTX		(1u << 24)

/* A matrix as f32 and, if there is a kernel for its format, as it is packed in the model. */
struct llama_matrix {
	const float *f32;		/* [rows][cols] */
	size_t rows;
	size_t cols;
	unsigned int n_parts;		/* 0: products on OpenBLAS only */
	struct qmatmul_weights part[WEIGHTS_MAX_PARTS];	/* stacked by rows */
};

/* Weights of one layer. */
struct llama_layer {
	const float *attn_norm;		/* [n_embd] */
	struct llama_matrix qkv;	/* [(n_head + 2 n_head_kv) head_dim][n_embd] */
	struct llama_matrix attn_out;	/* [n_embd][n_head head_dim] */
	const float *ffn_norm;		/* [n_embd] */
	struct llama_matrix gate_up;	/* [2 n_ff][n_embd], gate first */
	struct llama_matrix ffn_down;	/* [n_embd][n_ff] */
};

/* Entries of the weights plan: embedding, then these for each layer, then norm and lm_head. */
enum {
	PLAN_ATTN_NORM,
	PLAN_QKV,
	PLAN_ATTN_OUT,
	PLAN_FFN_NORM,
	PLAN_GATE_UP,
	PLAN_FFN_DOWN,
	PLAN_PER_LAYER
};

struct llama {
	struct llama_config config;
	uint32_t q_dim;		/* n_head * head_dim */
	uint32_t kv_dim;	/* n_head_kv * head_dim */
	uint32_t qkv_dim;	/* q_dim + 2 kv_dim */
	double *rope_freq;	/* [rope_dim / 2] radians per position */
	struct llama_layer *layer;
	const float *embedding;		/* [n_vocab][n_embd] */
	const float *output_norm;
	struct llama_matrix output;	/* [n_vocab][n_embd] */
	struct gguf *file;		/* what packed parts lie in */
	struct weights *weights;
	struct llama_filler *filler;	/* NULL: all pages are there that were to come */
};

/* Scratch of one caller. Rows are tokens: as many as max_tokens or max_streams, if more. */
struct llama_workspace {
	uint32_t max_rows;
	uint32_t max_tokens;
	uint32_t max_streams;
	uint32_t score_rows;	/* query rows of one block of attention */
	float *x;		/* [max_rows][n_embd] residual stream */
	float *norm;		/* [max_rows][n_embd] */
	float *qkv;		/* [max_rows][qkv_dim] */
	float *attn;		/* [max_rows][q_dim] */
	float *gate_up;		/* [max_rows][2 n_ff] */
	float *scores;		/* [score_rows][n_ctx] */
	float *cosine;		/* [max_rows][rope_dim / 2] */
	float *sine;
	uint32_t *ones;		/* [max_streams] token counts of a decode step */
	void *block;		/* the one allocation behind all of these */
};

/* The plane of one layer, key (0) or value (1), and KV head. */
static inline float *kv_plane(const struct llama *m, const struct llama_kv *kv, uint32_t layer,
			      unsigned int which, uint32_t head)
{
	size_t plane = (size_t)(layer - kv->layer_first) * 2 + which;

	return kv->data + (plane * m->config.n_head_kv + head) *
			  ((size_t)kv->capacity * m->config.head_dim);
}

/* Read sizes and options from the file's metadata and tensors, and check them. */
int llama_read_config(const struct gguf *g, struct llama *m, struct model_error *err);

/* Make the plan of all matrices; free plan->entry. */
int llama_make_plan(const struct gguf *g, const struct llama *m, struct weights_plan *plan,
		    struct model_error *err);

/*
 * Fault in what the roles use; what may come in the background takes over plan->entry, and sets it
 * to NULL. Return: 0, -ERANGE (layers that are none), or what reading failed with.
 */
int llama_populate(struct llama *m, struct weights_plan *plan, unsigned int roles,
		   const struct llama_options *opt);

/* Nothing is faulted in any more after it; NULL filler is allowed. */
void llama_populate_stop(struct llama *m);

/* Describe a matrix that is f32 anyway. */
void llama_matrix_f32(struct llama_matrix *w, const float *data, size_t rows, size_t cols);

/* Describe the matrix of an entry of the plan. */
void llama_matrix_init(struct llama_matrix *w, const struct weights *weights,
		       const struct weights_entry *e);

/* Does a product with @n vectors read the parts, not f32 on OpenBLAS? */
bool llama_matrix_packed(const struct llama_matrix *w, size_t n);

/* y = x W^T, or y += x W^T; @x is [n][ldx], @y [n][ldy]. */
void llama_multiply(const struct llama_matrix *w, const float *x, size_t ldx, size_t n, bool add,
		    float *y, size_t ldy);

/* Bytes that a product with @n vectors reads of the weights. */
uint64_t llama_matrix_bytes(const struct llama_matrix *w, size_t n);

/*
 * Attention of @n tokens of one stream from position @pos0 on, in one layer. @q is [n][ldq],
 * already rotated; keys and values of these tokens are in the block. @out is [n][q_dim].
 */
void llama_attention(const struct llama *m, struct llama_workspace *ws, const struct llama_kv *kv,
		     uint32_t layer, uint32_t pos0, uint32_t n, const float *q, size_t ldq,
		     float *out);

#endif /* SLUICE_MODEL_LLAMA_PVT_H */
