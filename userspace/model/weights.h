/* SPDX-License-Identifier: MIT */
/*
 * weights.h - f32 weights in a cache file that all processes map
 *
 * Dequantising takes time and memory, so it is done once per model file: the result lies in
 *
 *	${SLUICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}/weights/<sha256>-<layout>.f32
 *
 * where <sha256> is that of the GGUF file and <layout> a digest of the plan below. The file is
 * written under a temporary name, synced and renamed; a lock keeps two processes that start at
 * once from both writing it. The SHA-256 is remembered under weights/index/ by the source's
 * (device, inode, size, mtime), so that later starts do not read the source again.
 *
 * A plan lists the matrices in file order; several tensors that one product can serve (Q, K and V;
 * gate and up) are parts of one matrix, stacked by rows.
 */
#ifndef SLUICE_MODEL_WEIGHTS_H
#define SLUICE_MODEL_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "gguf.h"

#define WEIGHTS_MAX_PARTS	3
#define WEIGHTS_NAME_MAX	64

/* One matrix (rows x cols, row-major f32) and the tensors whose rows it is made of. */
struct weights_entry {
	char name[WEIGHTS_NAME_MAX];
	const struct gguf_tensor *part[WEIGHTS_MAX_PARTS];
	unsigned int n_parts;
	uint64_t rows;
	uint64_t cols;
	uint64_t offset;	/* bytes from the start of the cache file; set by weights_open() */
};

struct weights_plan {
	struct weights_entry *entry;
	size_t n;
};

/**
 * typedef weights_progress_fn - called now and then while the cache file is being made
 * @ctx: as given
 * @what: "hash" while the source is read, "dequantise" while the cache is written,
 *        "wait" while another process writes it
 * @done: bytes done
 * @total: bytes in all
 */
typedef void (*weights_progress_fn)(void *ctx, const char *what, uint64_t done, uint64_t total);

struct weights;

/**
 * weights_open() - map the f32 cache of a model, making it first if need be
 * @g: the model file
 * @plan: the matrices wanted; offsets are filled in
 * @progress: progress callback, may be NULL
 * @ctx: its first argument
 * @out: free with weights_close(); does not need @g afterwards
 * @err: one-line reason
 *
 * A cache file whose header, checksum, size or layout does not fit is thrown away and made again.
 *
 * Return: 0, -ENOSPC, -EACCES, -ENOMEM or another negative errno from the file system.
 */
int weights_open(const struct gguf *g, struct weights_plan *plan, weights_progress_fn progress,
		 void *ctx, struct weights **out, struct model_error *err);

/** weights_close() - unmap; NULL is allowed */
void weights_close(struct weights *w);

/** weights_data() - the matrix of an entry of the plan that weights_open() was given */
const float *weights_data(const struct weights *w, const struct weights_entry *e);

/**
 * weights_populate() - fault in the pages of entries [first, last] of the plan, in file order
 *
 * Return: 0, or a negative errno if the kernel could not read them (EIO, for one).
 */
int weights_populate(const struct weights *w, const struct weights_plan *plan, size_t first,
		     size_t last);

/** weights_populate_run() - the same for a run of bytes of any mapped file */
int weights_populate_run(const void *data, size_t len);

/** weights_path() - name of the cache file */
const char *weights_path(const struct weights *w);

#endif /* SLUICE_MODEL_WEIGHTS_H */
