/* SPDX-License-Identifier: MIT */
/*
 * dequant.h - GGML block formats to f32
 */
#ifndef SLUICE_MODEL_DEQUANT_H
#define SLUICE_MODEL_DEQUANT_H

#include <stddef.h>
#include <stdint.h>

/* Numbers as they stand in GGUF files. */
enum ggml_type {
	GGML_F32 = 0, GGML_F16 = 1, GGML_Q4_0 = 2, GGML_Q4_1 = 3, GGML_Q5_0 = 6, GGML_Q5_1 = 7,
	GGML_Q8_0 = 8, GGML_Q2_K = 10, GGML_Q3_K = 11, GGML_Q4_K = 12, GGML_Q5_K = 13,
	GGML_Q6_K = 14, GGML_BF16 = 30,
};

/* One format: @block_elems values are stored in @block_bytes bytes. */
struct dequant_format {
	const char *name;
	uint32_t type;
	uint32_t block_elems;
	uint32_t block_bytes;
	void (*to_f32)(const void *blocks, float *out, size_t n_blocks);
};

/** dequant_format() - the format of a GGML type number, or NULL if it is not supported */
const struct dequant_format *dequant_format(uint32_t type);

/** dequant_names() - names of all supported formats, comma separated, for messages */
const char *dequant_names(void);

#endif /* SLUICE_MODEL_DEQUANT_H */
