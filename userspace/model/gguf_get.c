// SPDX-License-Identifier: MIT
/* gguf_get.c - typed access to what gguf.c has checked */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gguf_pvt.h"

static const char *const type_names[GGUF_TYPE_COUNT] = {
	"u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64",
	"f64",
};

const char *gguf_path(const struct gguf *g)
{
	return g->path;
}

const void *gguf_map(const struct gguf *g, size_t *size)
{
	*size = g->size;
	return g->map;
}

static int key_cmp(const void *key, const void *kv)
{
	return gguf_str_cmp(*(const struct gguf_str *)key, ((const struct gguf_kv *)kv)->key);
}

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key)
{
	struct gguf_str s = { key, strlen(key) };

	return bsearch(&s, g->kv, g->n_kv, sizeof(*g->kv), key_cmp);
}

static int name_cmp(const void *name, const void *tensor)
{
	const struct gguf_tensor *const *t = tensor;

	return gguf_str_cmp(*(const struct gguf_str *)name, (*t)->name);
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name)
{
	struct gguf_str s = { name, strlen(name) };
	struct gguf_tensor **t;

	t = bsearch(&s, g->by_name, g->n_tensors, sizeof(*g->by_name), name_cmp);
	return t ? *t : NULL;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i)
{
	return i < g->n_tensors ? &g->tensor[i] : NULL;
}

static int fail_missing(const struct gguf *g, const char *key, struct model_error *err)
{
	return model_fail(err, ENODATA, "%s: key '%s' is missing; convert the model anew", g->path,
			  key);
}

static int fail_type(const struct gguf *g, const struct gguf_kv *kv, const char *want,
		     struct model_error *err)
{
	/* Every type in the table has passed skip_values(), so the index is in range. */
	return model_fail(err, EINVAL,
			  "%s: key '%.*s' is of type %s%s%s, expected %s; convert the model anew",
			  g->path, gguf_shown(kv->key), kv->key.data, type_names[kv->type],
			  kv->type == GGUF_ARRAY ? " of " : "",
			  kv->type == GGUF_ARRAY ? type_names[kv->elem] : "", want);
}

/* Any integer type as a signed 64-bit value; u64 above INT64_MAX is clamped (it fits nowhere). */
static int load_integer(enum gguf_type type, const uint8_t *p, int64_t *out)
{
	union {
		uint8_t u8;
		int8_t i8;
		uint16_t u16;
		int16_t i16;
		uint32_t u32;
		int32_t i32;
		uint64_t u64;
		int64_t i64;
	} v;

	memcpy(&v, p, gguf_scalar_size(type));
	switch (type) {
	case GGUF_U8:
		*out = v.u8;
		return 0;
	case GGUF_I8:
		*out = v.i8;
		return 0;
	case GGUF_U16:
		*out = v.u16;
		return 0;
	case GGUF_I16:
		*out = v.i16;
		return 0;
	case GGUF_U32:
		*out = v.u32;
		return 0;
	case GGUF_I32:
		*out = v.i32;
		return 0;
	case GGUF_U64:
		*out = v.u64 > INT64_MAX ? INT64_MAX : (int64_t)v.u64;
		return 0;
	case GGUF_I64:
		*out = v.i64;
		return 0;
	case GGUF_F32:
	case GGUF_F64:
	case GGUF_BOOL:
	case GGUF_STRING:
	case GGUF_ARRAY:
	case GGUF_TYPE_COUNT:
		break;
	}
	return -EINVAL;
}

int gguf_get_u32_or(const struct gguf *g, const char *key, uint32_t def, uint32_t *out,
		    struct model_error *err)
{
	const struct gguf_kv *kv = gguf_find(g, key);
	int64_t v;

	*out = def;
	if (!kv)
		return 0;
	if (load_integer(kv->type, kv->data, &v))
		return fail_type(g, kv, "an integer", err);
	if (v < 0 || v > UINT32_MAX)
		return model_fail(err, EINVAL, "%s: key '%s' is %" PRId64 ", which does not fit "
				  "32 bits unsigned; convert the model anew", g->path, key, v);
	*out = v;
	return 0;
}

int gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out, struct model_error *err)
{
	if (!gguf_find(g, key))
		return fail_missing(g, key, err);
	return gguf_get_u32_or(g, key, 0, out, err);
}

int gguf_get_f32_or(const struct gguf *g, const char *key, float def, float *out,
		    struct model_error *err)
{
	const struct gguf_kv *kv = gguf_find(g, key);
	double d;

	*out = def;
	if (!kv)
		return 0;
	if (kv->type == GGUF_F32) {
		memcpy(out, kv->data, sizeof(*out));
	} else if (kv->type == GGUF_F64) {
		memcpy(&d, kv->data, sizeof(d));
		*out = (float)d;
	} else {
		return fail_type(g, kv, "a floating-point number", err);
	}
	if (!__builtin_isfinite(*out))
		return model_fail(err, EINVAL, "%s: key '%s' is not a finite number; convert the "
				  "model anew", g->path, key);
	return 0;
}

int gguf_get_f32(const struct gguf *g, const char *key, float *out, struct model_error *err)
{
	if (!gguf_find(g, key))
		return fail_missing(g, key, err);
	return gguf_get_f32_or(g, key, 0, out, err);
}

int gguf_get_bool_or(const struct gguf *g, const char *key, bool def, bool *out,
		     struct model_error *err)
{
	const struct gguf_kv *kv = gguf_find(g, key);

	*out = def;
	if (!kv)
		return 0;
	if (kv->type != GGUF_BOOL)
		return fail_type(g, kv, "bool", err);
	*out = *kv->data != 0;
	return 0;
}

/* One string at @p; its length and bytes have been checked. Returns the byte after it. */
static const uint8_t *load_str(const uint8_t *p, struct gguf_str *out)
{
	uint64_t len;

	memcpy(&len, p, sizeof(len));
	out->data = (const char *)p + sizeof(len);
	out->len = len;
	return p + sizeof(len) + len;
}

int gguf_get_str(const struct gguf *g, const char *key, struct gguf_str *out,
		 struct model_error *err)
{
	const struct gguf_kv *kv = gguf_find(g, key);

	if (!kv)
		return fail_missing(g, key, err);
	if (kv->type != GGUF_STRING)
		return fail_type(g, kv, "string", err);
	load_str(kv->data, out);
	return 0;
}

int gguf_get_strings(const struct gguf *g, const char *key, struct gguf_str **out, size_t *n,
		     struct model_error *err)
{
	const struct gguf_kv *kv = gguf_find(g, key);
	const uint8_t *p;

	if (!kv)
		return fail_missing(g, key, err);
	if (kv->type != GGUF_ARRAY || kv->elem != GGUF_STRING)
		return fail_type(g, kv, "array of string", err);
	/* count is at most file size / 8, so the product cannot overflow; calloc checks anyway. */
	*out = calloc(kv->count ? kv->count : 1, sizeof(**out));
	if (!*out)
		return model_fail(err, ENOMEM, "%s: no memory for the %" PRIu64 " strings of '%s'",
				  g->path, kv->count, key);
	p = kv->data;
	for (uint64_t i = 0; i < kv->count; i++)
		p = load_str(p, &(*out)[i]);
	*n = kv->count;
	return 0;
}

int gguf_get_i32s(const struct gguf *g, const char *key, int32_t **out, size_t *n,
		  struct model_error *err)
{
	const struct gguf_kv *kv = gguf_find(g, key);

	if (!kv)
		return fail_missing(g, key, err);
	if (kv->type != GGUF_ARRAY || (kv->elem != GGUF_I32 && kv->elem != GGUF_U32))
		return fail_type(g, kv, "array of i32", err);
	*out = calloc(kv->count ? kv->count : 1, sizeof(**out));
	if (!*out)
		return model_fail(err, ENOMEM, "%s: no memory for the %" PRIu64 " numbers of '%s'",
				  g->path, kv->count, key);
	memcpy(*out, kv->data, kv->count * sizeof(**out));
	*n = kv->count;
	return 0;
}
