/* SPDX-License-Identifier: MIT */
/* weights_pvt.h - shared by the weights_*.c files; use weights.h */
#ifndef SLUICE_MODEL_WEIGHTS_PVT_H
#define SLUICE_MODEL_WEIGHTS_PVT_H

#include <limits.h>
#include <stdint.h>

#include "weights.h"

#define SHA256_BYTES	32
#define SHA256_HEX	(2 * SHA256_BYTES + 1)

#define WEIGHTS_MAGIC	"SLUICEWT"
#define WEIGHTS_VERSION	1u
/* Every matrix starts on a page, so that roles can be faulted in one by one. */
#define WEIGHTS_ALIGN	4096u

/* First page of the cache file. The plan's digest in the file name and here fixes the rest. */
struct weights_header {
	char magic[8];
	uint32_t version;
	uint32_t n_entries;
	uint64_t file_size;
	uint8_t source[SHA256_BYTES];	/* of the GGUF file */
	uint8_t layout[SHA256_BYTES];	/* of names, shapes and offsets of the plan */
	uint8_t check[SHA256_BYTES];	/* of this header with this field zero */
};

struct weights_job {
	const struct gguf *g;
	struct weights_plan *plan;
	weights_progress_fn progress;
	void *ctx;
	struct model_error *err;
	struct weights_header header;	/* as the file must have it */
	char path[PATH_MAX];
};

void weights_report(const struct weights_job *job, const char *what, uint64_t done,
		    uint64_t total);

/* SHA-256 of a run of bytes; 0 or -EIO if the library refuses. */
int weights_sha256(const void *data, size_t len, uint8_t out[SHA256_BYTES]);

/* Bytes as hexadecimal digits with a NUL. */
void weights_hex(const uint8_t *bytes, size_t n, char *out);

/*
 * SHA-256 of the model file, remembered under @dir/index by device, inode, size and mtime.
 * Failing to remember is no error: it costs time only.
 */
int weights_source_hash(struct weights_job *job, const char *dir, uint8_t out[SHA256_BYTES]);

/* The cache directory, created if need be. @out has room for PATH_MAX bytes. */
int weights_cache_dir(char *out, struct model_error *err);

/* Write the cache file of @job under a temporary name and rename it. The caller holds the lock. */
int weights_build(struct weights_job *job);

#endif /* SLUICE_MODEL_WEIGHTS_PVT_H */
