/* SPDX-License-Identifier: MIT */
/* gguf_pvt.h - inside of the GGUF reader; use gguf.h */
#ifndef SLUICE_MODEL_GGUF_PVT_H
#define SLUICE_MODEL_GGUF_PVT_H

#include "gguf.h"

struct gguf {
	char *path;
	const uint8_t *map;
	size_t size;
	uint32_t version;
	uint32_t alignment;
	size_t n_kv;
	size_t n_tensors;
	struct gguf_kv *kv;		/* sorted by key */
	struct gguf_tensor *tensor;	/* in file order */
	struct gguf_tensor **by_name;	/* sorted by name */
};

/* Bytes of one scalar of this type; 0 for strings, arrays and unknown types. */
size_t gguf_scalar_size(enum gguf_type type);

/* Order of two byte strings: by content, then by length. */
int gguf_str_cmp(struct gguf_str a, struct gguf_str b);

#endif /* SLUICE_MODEL_GGUF_PVT_H */
