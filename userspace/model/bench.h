/* SPDX-License-Identifier: MIT */
/*
 * bench.h - the same math in one process, without rings: what the pipeline is measured against
 */
#ifndef SLUICE_MODEL_BENCH_H
#define SLUICE_MODEL_BENCH_H

#include <stdint.h>

#include "error.h"
#include "weights.h"

struct model_bench_params {
	const char *model;	/* GGUF file */
	const char *prompt;	/* text to continue, raw */
	uint32_t n_tokens;	/* tokens to generate, greedily; end-of-sequence does not stop it */
	uint32_t n_prefill;	/* tokens of the prefill measurement (512 in the goals); 0 = none */
	uint32_t n_streams;	/* streams decoded at once; 1 is the usual case */
	uint32_t repeat;	/* repetitions of the prefill and bandwidth runs; best is taken */
	weights_progress_fn progress;
	void *progress_ctx;
};

struct model_bench_result {
	double load_s;			/* llama_open(), weights faulted in */
	double prefill_tok_s;		/* tokens a second through all layers, best run */
	double prefill_s;		/* the time of that run */
	double decode_tok_s;		/* tokens a second over all streams, whole loop */
	double decode_p50_s;		/* of one step: embed, layers, logits, argmax */
	double decode_p99_s;
	double decode_gb_s;		/* weight bytes per step / p50 */
	double read_gb_s;		/* streaming read of the same weights: the bandwidth limit */
	double fraction;		/* decode_gb_s / read_gb_s */
	uint64_t weight_bytes;		/* of weights that one step reads, packed or f32 */
	uint32_t n_ids;			/* generated ids of the first stream; free() ids */
	int32_t *ids;
	const char *blas;		/* OpenBLAS version and core, static string */
	const char *qmatmul;		/* what multiplies packed weights, static string */
};

/**
 * model_bench() - measure a model in this process
 *
 * Return: 0 or a negative errno with a one-line reason. The caller frees result->ids.
 */
int model_bench(const struct model_bench_params *p, struct model_bench_result *r,
		struct model_error *err);

#endif /* SLUICE_MODEL_BENCH_H */
