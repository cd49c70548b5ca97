// SPDX-License-Identifier: MIT
/*
 * gguf.c - map a GGUF file and check its structure
 *
 *	magic "GGUF", version u32, n_tensors u64, n_kv u64
 *	n_kv times:      key string, type u32, value
 *	n_tensors times: name string, n_dims u32, dims u64[], type u32, offset u64
 *	padding to the alignment, then the tensors' data; offsets count from here
 *
 * A string is a u64 length and its bytes. The parser is a cursor that never passes the file's end:
 * every read first asks how much is left, so no sum of attacker-chosen numbers can wrap.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dequant.h"
#include "gguf_pvt.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the GGUF reader expects a little-endian machine"
#endif

#define GGUF_DEFAULT_ALIGNMENT	32u
#define GGUF_MAX_ALIGNMENT	(1u << 20)

struct cursor {
	struct gguf *g;
	size_t pos;
	struct model_error *err;
};

static size_t cursor_left(const struct cursor *c)
{
	return c->g->size - c->pos;
}

static int cursor_truncated(struct cursor *c, const char *what)
{
	return model_fail(c->err, EBADMSG,
			  "%s: truncated: %s at offset %zu passes the end of the file (%zu bytes); "
			  "get the file again", c->g->path, what, c->pos, c->g->size);
}

static int read_bytes(struct cursor *c, void *out, size_t n, const char *what)
{
	if (cursor_left(c) < n)
		return cursor_truncated(c, what);
	memcpy(out, c->g->map + c->pos, n);
	c->pos += n;
	return 0;
}

static int read_u32(struct cursor *c, uint32_t *out, const char *what)
{
	return read_bytes(c, out, sizeof(*out), what);
}

static int read_u64(struct cursor *c, uint64_t *out, const char *what)
{
	return read_bytes(c, out, sizeof(*out), what);
}

static int read_str(struct cursor *c, struct gguf_str *out, const char *what)
{
	uint64_t len = 0;
	int ret = read_u64(c, &len, what);

	if (ret)
		return ret;
	if (cursor_left(c) < len)
		return cursor_truncated(c, what);
	out->data = (const char *)c->g->map + c->pos;
	out->len = len;
	c->pos += len;
	return 0;
}

size_t gguf_scalar_size(enum gguf_type type)
{
	switch (type) {
	case GGUF_U8:
	case GGUF_I8:
	case GGUF_BOOL:
		return 1;
	case GGUF_U16:
	case GGUF_I16:
		return 2;
	case GGUF_U32:
	case GGUF_I32:
	case GGUF_F32:
		return 4;
	case GGUF_U64:
	case GGUF_I64:
	case GGUF_F64:
		return 8;
	case GGUF_STRING:
	case GGUF_ARRAY:
	case GGUF_TYPE_COUNT:
		break;
	}
	return 0;
}

int gguf_str_cmp(struct gguf_str a, struct gguf_str b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int order = n ? memcmp(a.data, b.data, n) : 0;

	if (order)
		return order;
	return (a.len > b.len) - (a.len < b.len);
}

/* Step over @count values of @type, which must lie inside the file. */
static int skip_values(struct cursor *c, struct gguf_kv *kv, enum gguf_type type, uint64_t count)
{
	size_t size = gguf_scalar_size(type);
	struct gguf_str s;

	if (size) {
		if (count > cursor_left(c) / size)
			return cursor_truncated(c, "an array of metadata");
		c->pos += count * size;
		return 0;
	}
	if (type != GGUF_STRING)
		return model_fail(c->err, EOPNOTSUPP,
				  "%s: key '%.*s' at offset %zu has value type %u, which GGUF v2 and "
				  "v3 do not define there; get the file again or convert it anew",
				  c->g->path, gguf_shown(kv->key), kv->key.data, c->pos,
				  (unsigned int)type);
	/* Each string takes 8 bytes at least, so this bounds the loop too. */
	if (count > cursor_left(c) / sizeof(uint64_t))
		return cursor_truncated(c, "an array of strings");
	for (uint64_t i = 0; i < count; i++) {
		int ret = read_str(c, &s, "a metadata string");

		if (ret)
			return ret;
	}
	return 0;
}

static int parse_kv(struct cursor *c, struct gguf_kv *kv)
{
	uint32_t type = 0, elem = 0;
	int ret;

	ret = read_str(c, &kv->key, "a metadata key");
	if (ret)
		return ret;
	if (!kv->key.len || kv->key.len > GGUF_MAX_NAME)
		return model_fail(c->err, EBADMSG,
				  "%s: metadata key before offset %zu is %zu bytes long, not 1 to "
				  "%u; get the file again", c->g->path, c->pos, kv->key.len,
				  GGUF_MAX_NAME);
	ret = read_u32(c, &type, "a metadata type");
	if (ret)
		return ret;

	kv->type = type;
	kv->elem = type;
	kv->count = 1;
	if (type == GGUF_ARRAY) {
		ret = read_u32(c, &elem, "an array's element type");
		if (!ret)
			ret = read_u64(c, &kv->count, "an array's length");
		if (ret)
			return ret;
		kv->elem = elem;
	}
	kv->data = c->g->map + c->pos;
	return skip_values(c, kv, kv->elem, kv->count);
}

static int kv_cmp(const void *a, const void *b)
{
	return gguf_str_cmp(((const struct gguf_kv *)a)->key, ((const struct gguf_kv *)b)->key);
}

static int parse_all_kv(struct cursor *c)
{
	struct gguf *g = c->g;
	int ret;

	g->kv = calloc(g->n_kv ? g->n_kv : 1, sizeof(*g->kv));
	if (!g->kv)
		return model_fail(c->err, ENOMEM, "%s: no memory for %zu metadata keys", g->path,
				  g->n_kv);
	for (size_t i = 0; i < g->n_kv; i++) {
		ret = parse_kv(c, &g->kv[i]);
		if (ret)
			return ret;
	}

	qsort(g->kv, g->n_kv, sizeof(*g->kv), kv_cmp);
	for (size_t i = 1; i < g->n_kv; i++) {
		if (!kv_cmp(&g->kv[i - 1], &g->kv[i]))
			return model_fail(c->err, EBADMSG,
					  "%s: key '%.*s' occurs twice; convert the model anew",
					  g->path, gguf_shown(g->kv[i].key), g->kv[i].key.data);
	}
	return 0;
}

/* Number of elements and bytes of a tensor, from its dimensions. */
static int tensor_size(struct cursor *c, struct gguf_tensor *t)
{
	const struct dequant_format *f = dequant_format(t->type);
	const char *path = c->g->path;
	int len = gguf_shown(t->name);

	if (!f)
		return model_fail(c->err, EOPNOTSUPP,
				  "%s: tensor '%.*s' has GGML type %u, which is not supported; use a "
				  "file with %s", path, len, t->name.data, t->type,
				  dequant_names());
	t->n_elements = 1;
	for (unsigned int i = 0; i < GGUF_MAX_DIMS; i++) {
		if (!t->dims[i] ||
		    __builtin_mul_overflow(t->n_elements, t->dims[i], &t->n_elements))
			return model_fail(c->err, EBADMSG,
					  "%s: tensor '%.*s': dimension %u is %" PRIu64 ", the size "
					  "is zero or overflows; get the file again", path, len,
					  t->name.data, i, t->dims[i]);
	}
	if (t->dims[0] % f->block_elems)
		return model_fail(c->err, EBADMSG,
				  "%s: tensor '%.*s': rows of %" PRIu64 " are not a multiple of "
				  "%s's block of %u; convert the model anew", path, len,
				  t->name.data, t->dims[0], f->name, f->block_elems);
	if (__builtin_mul_overflow(t->n_elements / f->block_elems, f->block_bytes, &t->n_bytes))
		return model_fail(c->err, EBADMSG, "%s: tensor '%.*s': size in bytes overflows; "
				  "get the file again", path, len, t->name.data);
	return 0;
}

/* The data pointer holds the offset until the start of the data section is known. */
static int parse_tensor(struct cursor *c, struct gguf_tensor *t)
{
	uint64_t offset = 0;
	int ret;

	ret = read_str(c, &t->name, "a tensor's name");
	if (ret)
		return ret;
	if (!t->name.len || t->name.len > GGUF_MAX_NAME)
		return model_fail(c->err, EBADMSG,
				  "%s: tensor name before offset %zu is %zu bytes long, not 1 to %u; "
				  "get the file again", c->g->path, c->pos, t->name.len,
				  GGUF_MAX_NAME);
	ret = read_u32(c, &t->n_dims, "a tensor's number of dimensions");
	if (ret)
		return ret;
	if (!t->n_dims || t->n_dims > GGUF_MAX_DIMS)
		return model_fail(c->err, EBADMSG,
				  "%s: tensor '%.*s' has %u dimensions, not 1 to %u; get the file "
				  "again", c->g->path, gguf_shown(t->name), t->name.data, t->n_dims,
				  GGUF_MAX_DIMS);
	for (unsigned int i = 0; i < GGUF_MAX_DIMS; i++) {
		t->dims[i] = 1;
		if (i < t->n_dims)
			ret = read_u64(c, &t->dims[i], "a tensor's dimension");
		if (ret)
			return ret;
	}
	ret = read_u32(c, &t->type, "a tensor's type");
	if (!ret)
		ret = read_u64(c, &offset, "a tensor's offset");
	if (!ret)
		ret = tensor_size(c, t);
	if (!ret)
		t->data = (const void *)(uintptr_t)offset;
	return ret;
}

static int place_tensor(struct cursor *c, struct gguf_tensor *t, size_t data_start)
{
	struct gguf *g = c->g;
	uint64_t offset = (uintptr_t)t->data;
	size_t room = g->size - data_start;

	if (offset % g->alignment)
		return model_fail(c->err, EBADMSG,
				  "%s: tensor '%.*s': offset %" PRIu64 " is not aligned to %u; "
				  "convert the model anew", g->path, gguf_shown(t->name),
				  t->name.data, offset, g->alignment);
	if (offset > room || t->n_bytes > room - offset)
		return model_fail(c->err, EBADMSG,
				  "%s: truncated: tensor '%.*s' needs %" PRIu64 " bytes at offset "
				  "%zu + %" PRIu64 ", the file has %zu; get the file again",
				  g->path, gguf_shown(t->name), t->name.data, t->n_bytes, data_start,
				  offset, g->size);
	t->data = g->map + data_start + offset;
	return 0;
}

static int tensor_ptr_cmp(const void *a, const void *b)
{
	const struct gguf_tensor *const *ta = a, *const *tb = b;

	return gguf_str_cmp((*ta)->name, (*tb)->name);
}

static int sort_tensors(struct cursor *c)
{
	struct gguf *g = c->g;

	for (size_t i = 0; i < g->n_tensors; i++)
		g->by_name[i] = &g->tensor[i];
	qsort(g->by_name, g->n_tensors, sizeof(*g->by_name), tensor_ptr_cmp);
	for (size_t i = 1; i < g->n_tensors; i++) {
		struct gguf_str name = g->by_name[i]->name;

		if (!gguf_str_cmp(g->by_name[i - 1]->name, name))
			return model_fail(c->err, EBADMSG,
					  "%s: tensor '%.*s' occurs twice; convert the model anew",
					  g->path, gguf_shown(name), name.data);
	}
	return 0;
}

static int parse_all_tensors(struct cursor *c)
{
	struct gguf *g = c->g;
	size_t data_start;
	int ret;

	g->tensor = calloc(g->n_tensors ? g->n_tensors : 1, sizeof(*g->tensor));
	g->by_name = calloc(g->n_tensors ? g->n_tensors : 1, sizeof(*g->by_name));
	if (!g->tensor || !g->by_name)
		return model_fail(c->err, ENOMEM, "%s: no memory for %zu tensors", g->path,
				  g->n_tensors);
	for (size_t i = 0; i < g->n_tensors; i++) {
		ret = parse_tensor(c, &g->tensor[i]);
		if (ret)
			return ret;
	}
	/* pos <= size <= SSIZE_MAX and the alignment is small: no overflow here. */
	data_start = (c->pos + g->alignment - 1) / g->alignment * g->alignment;
	if (data_start > g->size) {
		if (g->n_tensors)
			return cursor_truncated(c, "the tensor data");
		data_start = g->size;
	}
	for (size_t i = 0; i < g->n_tensors; i++) {
		ret = place_tensor(c, &g->tensor[i], data_start);
		if (ret)
			return ret;
	}
	return sort_tensors(c);
}

static int parse_header(struct cursor *c)
{
	struct gguf *g = c->g;
	uint64_t n_tensors = 0, n_kv = 0;
	char magic[4];
	int ret;

	ret = read_bytes(c, magic, sizeof(magic), "the magic number");
	if (ret)
		return ret;
	if (memcmp(magic, "GGUF", sizeof(magic)))
		return model_fail(c->err, EBADMSG, "%s: not a GGUF file (its first bytes are not "
				  "'GGUF'); give a .gguf model file", g->path);
	ret = read_u32(c, &g->version, "the version");
	if (ret)
		return ret;
	if (g->version != 2 && g->version != 3)
		return model_fail(c->err, EOPNOTSUPP,
				  "%s: GGUF version %u%s is not supported; convert it to version 3, "
				  "little endian", g->path, g->version,
				  g->version & 0xffff ? "" : " (big endian?)");
	ret = read_u64(c, &n_tensors, "the number of tensors");
	if (!ret)
		ret = read_u64(c, &n_kv, "the number of metadata keys");
	if (ret)
		return ret;
	if (n_tensors > GGUF_MAX_TENSORS || n_kv > GGUF_MAX_KEYS)
		return model_fail(c->err, EBADMSG,
				  "%s: header claims %" PRIu64 " tensors and %" PRIu64 " keys, more "
				  "than the limits of %u and %u; get the file again", g->path,
				  n_tensors, n_kv, GGUF_MAX_TENSORS, GGUF_MAX_KEYS);
	g->n_tensors = n_tensors;
	g->n_kv = n_kv;
	return 0;
}

static int parse(struct gguf *g, struct model_error *err)
{
	struct cursor c = { .g = g, .err = err };
	int ret;

	ret = parse_header(&c);
	if (!ret)
		ret = parse_all_kv(&c);
	if (!ret)
		ret = gguf_get_u32_or(g, "general.alignment", GGUF_DEFAULT_ALIGNMENT,
				      &g->alignment, err);
	if (ret)
		return ret;
	/* A multiple of 8 keeps every block format's fields naturally aligned. */
	if (g->alignment < 8 || g->alignment > GGUF_MAX_ALIGNMENT ||
	    (g->alignment & (g->alignment - 1)))
		return model_fail(err, EBADMSG,
				  "%s: general.alignment is %u, not a power of two from 8 to %u; "
				  "convert the model anew", g->path, g->alignment,
				  GGUF_MAX_ALIGNMENT);
	return parse_all_tensors(&c);
}

static int map_file(struct gguf *g, struct model_error *err)
{
	struct stat st;
	int ret = 0;
	void *map;
	/* O_NONBLOCK: a FIFO by that name must not hang us. */
	int fd = open(g->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return model_fail(err, errno, "%s: %s; check the model's path and permissions",
				  g->path, strerror(errno));
	if (fstat(fd, &st) < 0) {
		ret = model_fail(err, errno, "%s: %s", g->path, strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		ret = model_fail(err, EINVAL, "%s: not a regular file; give a .gguf model file",
				 g->path);
	} else if (!st.st_size) {
		ret = model_fail(err, EBADMSG, "%s: the file is empty; get it again", g->path);
	} else {
		g->size = st.st_size;
		map = mmap(NULL, g->size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (map == MAP_FAILED)
			ret = model_fail(err, errno, "%s: cannot map %zu bytes: %s", g->path,
					 g->size, strerror(errno));
		else
			g->map = map;
	}
	close(fd);
	return ret;
}

int gguf_open(const char *path, struct gguf **out, struct model_error *err)
{
	struct gguf *g = calloc(1, sizeof(*g));
	int ret;

	*out = NULL;
	if (g)
		g->path = strdup(path);
	if (!g || !g->path) {
		free(g);
		return model_fail(err, ENOMEM, "%s: no memory", path);
	}
	ret = map_file(g, err);
	if (!ret)
		ret = parse(g, err);
	if (ret) {
		gguf_close(g);
		return ret;
	}
	*out = g;
	return 0;
}

void gguf_close(struct gguf *g)
{
	if (!g)
		return;
	if (g->map)
		munmap((void *)g->map, g->size);
	free(g->kv);
	free(g->tensor);
	free(g->by_name);
	free(g->path);
	free(g);
}
