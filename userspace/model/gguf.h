/* SPDX-License-Identifier: MIT */
/*
 * gguf.h - reader for GGUF model files, versions 2 and 3 (little endian)
 *
 * The file is mapped read-only and trusted for nothing: every count, offset, size and string is
 * checked against the file's end with overflow-safe arithmetic when it is opened, so what the
 * accessors hand out afterwards lies inside the mapping. Strings are not NUL terminated.
 *
 * A file that another process truncates while it is mapped raises SIGBUS, as with any mapping:
 * replace model files by rename, never in place.
 */
#ifndef SLUICE_MODEL_GGUF_H
#define SLUICE_MODEL_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* Bounds on what a file may claim; far above any real model, far below what could hurt. */
#define GGUF_MAX_KEYS		65536u
#define GGUF_MAX_TENSORS	65536u
#define GGUF_MAX_DIMS		4u
#define GGUF_MAX_NAME		256u

enum gguf_type {
	GGUF_U8 = 0, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL,
	GGUF_STRING, GGUF_ARRAY, GGUF_U64, GGUF_I64, GGUF_F64,
	GGUF_TYPE_COUNT
};

/* A run of bytes inside the mapping; not NUL terminated, not necessarily UTF-8. */
struct gguf_str {
	const char *data;
	size_t len;
};

/* Precision for "%.*s", bounded: a hostile file may claim a string of gigabytes. */
static inline int gguf_shown(struct gguf_str s)
{
	return s.len < 128 ? (int)s.len : 128;
}

/* One metadata entry. A scalar has count 1; an array has the element type in elem. */
struct gguf_kv {
	struct gguf_str key;
	enum gguf_type type;
	enum gguf_type elem;
	uint64_t count;
	const uint8_t *data;	/* unaligned: read through the accessors */
};

struct gguf_tensor {
	struct gguf_str name;
	uint32_t type;		/* enum ggml_type, see dequant.h */
	uint32_t n_dims;
	uint64_t dims[GGUF_MAX_DIMS];	/* dims[0] is the contiguous one; unused ones are 1 */
	uint64_t n_elements;
	uint64_t n_bytes;
	const void *data;
};

struct gguf;

/**
 * gguf_open() - map a GGUF file and check all of its structure
 * @path: file name
 * @out: the open file; free with gguf_close()
 * @err: one-line reason on failure, may be NULL
 *
 * Return: 0, -ENOENT and friends from open(), -EBADMSG for a file that is no valid GGUF or is
 * truncated, -EOPNOTSUPP for a version or tensor type that this reader does not know, -ENOMEM.
 */
int gguf_open(const char *path, struct gguf **out, struct model_error *err);

/** gguf_close() - unmap and free; NULL is allowed. Everything handed out becomes invalid. */
void gguf_close(struct gguf *g);

/** gguf_path() - the name given to gguf_open(), for messages */
const char *gguf_path(const struct gguf *g);

/** gguf_map() - the whole mapped file and its size in bytes, e.g. to hash it */
const void *gguf_map(const struct gguf *g, size_t *size);

/** gguf_find() - metadata entry by key, or NULL */
const struct gguf_kv *gguf_find(const struct gguf *g, const char *key);

/** gguf_find_tensor() - tensor by name, or NULL */
const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name);

/** gguf_tensor_at() - the i-th tensor in file order, or NULL past the last one */
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i);

/*
 * Typed access. The get functions fail with -ENODATA when the key is missing and -EINVAL when it
 * has another type or does not fit; the message names file and key. Any integer type is accepted
 * where its value fits. The _or variants return 0 and the default when the key is missing, and
 * still fail on a wrong type.
 */
int gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out, struct model_error *err);
int gguf_get_u32_or(const struct gguf *g, const char *key, uint32_t def, uint32_t *out,
		    struct model_error *err);
int gguf_get_f32(const struct gguf *g, const char *key, float *out, struct model_error *err);
int gguf_get_f32_or(const struct gguf *g, const char *key, float def, float *out,
		    struct model_error *err);
int gguf_get_bool_or(const struct gguf *g, const char *key, bool def, bool *out,
		     struct model_error *err);
int gguf_get_str(const struct gguf *g, const char *key, struct gguf_str *out,
		 struct model_error *err);

/**
 * gguf_get_strings() - an array of strings
 * @out: allocated array of @n entries that point into the mapping; free() it
 */
int gguf_get_strings(const struct gguf *g, const char *key, struct gguf_str **out, size_t *n,
		     struct model_error *err);

/**
 * gguf_get_i32s() - an array of 32-bit integers, signed or not
 * @out: allocated copy of @n entries; free() it
 */
int gguf_get_i32s(const struct gguf *g, const char *key, int32_t **out, size_t *n,
		  struct model_error *err);

#endif /* SLUICE_MODEL_GGUF_H */
