/* SPDX-License-Identifier: MIT */
/*
 * llama.h - forward pass of the llama architecture in f32
 *
 * Weights are mapped twice: dequantised in the cache file (weights.h), for products with many
 * tokens, and as they are packed in the model file, for products with few (qmatmul.h).
 *
 * All sizes come from the GGUF file. The pass is cut where the pipeline's stages are:
 *
 *	ids --llama_embed--> hidden --llama_prefill / llama_decode--> hidden --llama_logits--> logits
 *
 * A hidden state is n_embd floats; matrices of hidden states are row-major, [token][n_embd]. What
 * prefill and decode hand on is the residual stream after the last layer, before the final norm,
 * which llama_logits() applies.
 *
 * Threads: a model is immutable after llama_open() and may be shared; a workspace and a KV block
 * belong to one caller at a time. OpenBLAS is set to one thread per process.
 */
#ifndef SLUICE_MODEL_LLAMA_H
#define SLUICE_MODEL_LLAMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "weights.h"

/* Which weights a process is going to use; only these are faulted in. */
#define LLAMA_ROLE_EMBED	(1u << 0)	/* llama_embed() */
#define LLAMA_ROLE_LAYERS	(1u << 1)	/* llama_prefill(), llama_decode(), llama_layers() */
#define LLAMA_ROLE_OUTPUT	(1u << 2)	/* llama_logits() */
#define LLAMA_ROLE_ALL		(LLAMA_ROLE_EMBED | LLAMA_ROLE_LAYERS | LLAMA_ROLE_OUTPUT)

struct llama_config {
	uint32_t n_layer;
	uint32_t n_embd;	/* width of a hidden state */
	uint32_t n_head;
	uint32_t n_head_kv;
	uint32_t head_dim;
	uint32_t n_ff;
	uint32_t n_vocab;
	uint32_t n_ctx;		/* longest context the model was trained for, in tokens */
	uint32_t rope_dim;	/* leading elements of a head that are rotated */
	float rope_freq_base;
	float rope_freq_scale;	/* 1 / linear scaling factor */
	float rms_eps;
	int32_t bos_id;		/* -1 if there is none, here and below */
	int32_t eos_id;
	int32_t eot_id;		/* end of turn */
	bool tied_output;	/* lm_head is the embedding matrix */
};

struct llama_options {
	weights_progress_fn progress;	/* may be NULL */
	void *progress_ctx;
	/* Layers that this process runs, [layer_first, layer_last); 0, 0 = all. */
	uint32_t layer_first;
	uint32_t layer_last;
	/* Or part @part, from 1, of @parts as equal as can be; 0, 0 = all. */
	uint32_t part;
	uint32_t parts;
	/*
	 * Tokens or streams that this process usually computes at once; 0 = any number. If packed
	 * weights serve so many, pages of f32 weights come only when more are computed.
	 */
	uint32_t max_vectors;
	/*
	 * Do not wait for f32 weights that packed ones can stand in for: a thread faults them in
	 * meanwhile, at the price that a long prompt within the first second is slower.
	 */
	bool background;
};

struct llama;
struct llama_workspace;

/**
 * llama_open() - open a model and map the weights for some roles
 * @path: GGUF file; stays mapped, so see gguf.h on truncating it
 * @roles: LLAMA_ROLE_*; calling a function whose role is missing works, but faults pages in late
 * @opt: may be NULL
 * @out: free with llama_close()
 * @err: one-line reason
 *
 * Return: 0 or a negative errno: what gguf_open() and weights_open() return, -EOPNOTSUPP for
 * another architecture, -ENODATA for a missing key or tensor, -EINVAL for sizes that do not fit.
 */
int llama_open(const char *path, unsigned int roles, const struct llama_options *opt,
	       struct llama **out, struct model_error *err);

/** llama_close() - NULL is allowed */
void llama_close(struct llama *m);

/** llama_config() - sizes and ids; valid until llama_close() */
const struct llama_config *llama_config(const struct llama *m);

/** llama_part() - layers [first, last) of part @part, from 1, of @parts */
void llama_part(const struct llama *m, uint32_t part, uint32_t parts, uint32_t *first,
		uint32_t *last);

/** llama_weight_bytes() - bytes of weights that a step of @n streams reads, lm_head included */
uint64_t llama_weight_bytes(const struct llama *m, uint32_t n);

/*
 * KV cache. The caller provides the memory, so that it may lie in a message's payload. Keys are
 * stored after rotation. Layout, in floats:
 *
 *	[layer_last - layer_first][2: k, v][n_head_kv][capacity][head_dim]
 *
 * Positions 0 to n-1 of each [capacity][head_dim] plane are a contiguous prefix: llama_kv_copy()
 * moves a prefix between blocks of different capacity with one memcpy per plane.
 */
struct llama_kv {
	float *data;		/* llama_kv_bytes() bytes, 64-byte aligned for speed; not owned */
	uint32_t capacity;	/* tokens */
	uint32_t layer_first;	/* layers [layer_first, layer_last) are in the block */
	uint32_t layer_last;
};

/** llama_kv_bytes() - size of a block for @capacity tokens of all layers of the model */
size_t llama_kv_bytes(const struct llama *m, uint32_t capacity);

/** llama_kv_init() - describe a block for all layers; its contents need no initialisation */
void llama_kv_init(const struct llama *m, struct llama_kv *kv, void *data, uint32_t capacity);

/** llama_kv_bytes_range(), llama_kv_init_range() - the same for layers [first, last) */
size_t llama_kv_bytes_range(const struct llama *m, uint32_t capacity, uint32_t first,
			    uint32_t last);
void llama_kv_init_range(const struct llama *m, struct llama_kv *kv, void *data,
			 uint32_t capacity, uint32_t first, uint32_t last);

/**
 * llama_kv_copy() - copy the first @n positions of every plane
 *
 * @src may be read-only memory. Both must hold the same layers and must not overlap.
 *
 * Return: 0, -EINVAL if @n is more than either capacity or the layers differ.
 */
int llama_kv_copy(const struct llama *m, struct llama_kv *dst, const struct llama_kv *src,
		  uint32_t n);

/**
 * llama_workspace_create() - scratch memory; nothing is allocated afterwards
 * @max_tokens: tokens that prefill computes at once; longer input is cut into chunks of this many
 * @max_streams: streams that decode computes at once; more are cut likewise
 *
 * Return: 0, -EINVAL for zero, -ENOMEM.
 */
int llama_workspace_create(const struct llama *m, uint32_t max_tokens, uint32_t max_streams,
			   struct llama_workspace **out);

/** llama_workspace_free() - NULL is allowed */
void llama_workspace_free(struct llama_workspace *ws);

/**
 * llama_embed() - rows of the embedding matrix
 * @out: [n][n_embd]
 *
 * Return: 0, -EINVAL for an id outside the vocabulary.
 */
int llama_embed(const struct llama *m, const int32_t *ids, uint32_t n, float *out);

/**
 * llama_prefill() - run @n tokens of one stream through all layers
 * @kv: holds positions 0 to @pos0 - 1; receives @pos0 to @pos0 + @n - 1
 * @pos0: position of the first token; not 0 to continue a stream
 * @hidden: [n][n_embd], not changed
 * @last_hidden: [n_embd], state of the last token
 *
 * Return: 0, -EINVAL for @n of 0 or a block without all layers, -ENOSPC if the block or the
 * model's context is too short.
 */
int llama_prefill(const struct llama *m, struct llama_workspace *ws, struct llama_kv *kv,
		  uint32_t pos0, const float *hidden, uint32_t n, float *last_hidden);

/**
 * llama_prefill_range() - llama_prefill() through layers [first, last) only
 * @out: if @last is the model's last layer [n_embd], the state of the last token, bit by bit what
 *	llama_prefill() gives when it is cut into the same pieces; else [n][n_embd], of all tokens,
 *	for the process that has the layers from @last on. May be @hidden.
 *
 * Return: as llama_prefill(); -EINVAL also if these are no layers of the model.
 */
int llama_prefill_range(const struct llama *m, struct llama_workspace *ws, struct llama_kv *kv,
			uint32_t pos0, const float *hidden, uint32_t n, uint32_t first,
			uint32_t last, float *out);

/**
 * llama_decode() - one token for each of several streams
 * @kv: [n_streams] blocks, different ones
 * @pos: [n_streams] position of each stream's new token; positions before it must be in its block
 * @hidden: [n_streams][n_embd], replaced by the result
 *
 * A stream's result depends on the others of the batch by float rounding only.
 *
 * Return: 0, -EINVAL, or -ENOSPC as above (then no stream has been changed).
 */
int llama_decode(const struct llama *m, struct llama_workspace *ws, struct llama_kv *const *kv,
		 const uint32_t *pos, uint32_t n_streams, float *hidden);

/**
 * llama_layers() - layers [first, last) only, for stages that hold a part of the layers
 * @kv: [n_streams]; every block holds at least these layers
 * @pos0: [n_streams] position of each stream's first token here
 * @n_tokens: [n_streams] tokens of each stream in this call
 * @hidden: [sum of n_tokens][n_embd] streams one after the other, replaced by the result
 *
 * Return: as llama_decode(); -EINVAL also if the tokens are more than the workspace's max_tokens.
 */
int llama_layers(const struct llama *m, struct llama_workspace *ws, struct llama_kv *const *kv,
		 const uint32_t *pos0, const uint32_t *n_tokens, uint32_t n_streams, float *hidden,
		 uint32_t first, uint32_t last);

/**
 * llama_logits() - final norm and lm_head
 * @hidden: [n][n_embd], not changed
 * @logits: [n][n_vocab]
 *
 * Return: 0, -EINVAL for @n of 0.
 */
int llama_logits(const struct llama *m, struct llama_workspace *ws, const float *hidden,
		 uint32_t n, float *logits);

#endif /* SLUICE_MODEL_LLAMA_H */
