/* SPDX-License-Identifier: MIT */
/*
 * model_fixture.h - a tiny valid GGUF model made in memory, and ways to damage it
 *
 * Two layers, 32 wide, 4 heads over 2 KV heads, random weights; a vocabulary of the 256 bytes, a
 * few merges and three control tokens. Included by the model_*.c tests.
 */
#ifndef TESTS_UNIT_MODEL_FIXTURE_H
#define TESTS_UNIT_MODEL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "dequant.h"
#include "gguf.h"

#define FX_LAYERS	2u
#define FX_EMBD		32u
#define FX_HEADS	4u
#define FX_KV_HEADS	2u
#define FX_HEAD_DIM	8u
#define FX_FF		64u
#define FX_CTX		64u
#define FX_VOCAB	(256u + 6u + 3u)
#define FX_START	262	/* ids of the control tokens */
#define FX_END		263
#define FX_EOT		264

#define FX_TEMPLATE \
	"{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}" \
	"{{ '<|im_start|>system\nBe tiny<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + " \
	"message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}" \
	"{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

struct fx_buf {
	uint8_t *data;
	size_t len;
	size_t room;
};

/* What to write; zero means as usual. */
struct fx_options {
	uint32_t version;		/* 3 */
	const char *pre;		/* "smollm" */
	const char *chat_template;	/* FX_TEMPLATE */
	const char *skip_tensor;	/* leave this one out */
	const char *skip_key;
	const char *twice_key;		/* write this u32 key twice */
	const char *extra_tensor;	/* add one of this name */
	uint32_t seed;
	uint32_t packed;		/* matrices in this format, GGML_Q4_1 or GGML_Q8_0; 0: F32 */
};

static inline uint32_t fx_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

static inline void fx_put(struct fx_buf *b, const void *data, size_t len)
{
	if (b->len + len > b->room) {
		b->room = (b->len + len) * 2;
		b->data = realloc(b->data, b->room);
		assert_non_null(b->data);
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

static inline void fx_u32(struct fx_buf *b, uint32_t v)
{
	fx_put(b, &v, sizeof(v));
}

static inline void fx_u64(struct fx_buf *b, uint64_t v)
{
	fx_put(b, &v, sizeof(v));
}

static inline void fx_str(struct fx_buf *b, const char *s)
{
	fx_u64(b, strlen(s));
	fx_put(b, s, strlen(s));
}

/* Metadata under construction: the entries and how many they are. */
struct fx_meta {
	struct fx_buf buf;
	uint64_t n;
	const struct fx_options *opt;
};

static inline int fx_key(struct fx_meta *m, const char *key, enum gguf_type type)
{
	if (m->opt->skip_key && !strcmp(m->opt->skip_key, key))
		return 0;
	fx_str(&m->buf, key);
	fx_u32(&m->buf, type);
	m->n++;
	return 1;
}

static inline void fx_kv_u32(struct fx_meta *m, const char *key, uint32_t v)
{
	int times = m->opt->twice_key && !strcmp(m->opt->twice_key, key) ? 2 : 1;

	while (times--) {
		if (fx_key(m, key, GGUF_U32))
			fx_u32(&m->buf, v);
	}
}

static inline void fx_kv_f32(struct fx_meta *m, const char *key, float v)
{
	if (fx_key(m, key, GGUF_F32))
		fx_put(&m->buf, &v, sizeof(v));
}

static inline void fx_kv_str(struct fx_meta *m, const char *key, const char *v)
{
	if (fx_key(m, key, GGUF_STRING))
		fx_str(&m->buf, v);
}

static inline int fx_kv_array(struct fx_meta *m, const char *key, enum gguf_type elem, uint64_t n)
{
	if (!fx_key(m, key, GGUF_ARRAY))
		return 0;
	fx_u32(&m->buf, elem);
	fx_u64(&m->buf, n);
	return 1;
}

/* The byte-level alphabet's character for a byte, as UTF-8. */
static inline void fx_byte_char(int byte, char out[4])
{
	int next = 256, c = -1;

	for (int b = 0; b <= byte; b++) {
		int printable = (b >= 33 && b <= 126) || (b >= 161 && b != 173);

		c = printable ? b : next++;
	}
	snprintf(out, 4, c < 128 ? "%c" : "%c%c", c < 128 ? c : 0xc0 | c >> 6, 0x80 | (c & 63));
}

static inline void fx_vocabulary(struct fx_meta *m)
{
	static const char *const merged[] = { "he", "ll", "hell", "hello", "\xc4\xa0w", "aa" };
	static const char *const merges[] = { "h e", "l l", "he ll", "hell o", "\xc4\xa0 w", "a a" };
	static const char *const control[] = { "<|im_start|>", "<|im_end|>", "<|endoftext|>" };
	char c[4];

	if (fx_kv_array(m, "tokenizer.ggml.tokens", GGUF_STRING, FX_VOCAB)) {
		for (int b = 0; b < 256; b++) {
			fx_byte_char(b, c);
			fx_str(&m->buf, c);
		}
		for (int i = 0; i < 6; i++)
			fx_str(&m->buf, merged[i]);
		for (int i = 0; i < 3; i++)
			fx_str(&m->buf, control[i]);
	}
	if (fx_kv_array(m, "tokenizer.ggml.token_type", GGUF_I32, FX_VOCAB)) {
		for (uint32_t i = 0; i < FX_VOCAB; i++)
			fx_u32(&m->buf, i < FX_START ? 1 : 3);
	}
	if (fx_kv_array(m, "tokenizer.ggml.merges", GGUF_STRING, 6)) {
		for (int i = 0; i < 6; i++)
			fx_str(&m->buf, merges[i]);
	}
}

static inline void fx_metadata(struct fx_meta *m)
{
	const struct fx_options *o = m->opt;

	fx_kv_str(m, "general.architecture", "llama");
	fx_kv_u32(m, "general.alignment", 32);
	fx_kv_u32(m, "llama.block_count", FX_LAYERS);
	fx_kv_u32(m, "llama.embedding_length", FX_EMBD);
	fx_kv_u32(m, "llama.feed_forward_length", FX_FF);
	fx_kv_u32(m, "llama.context_length", FX_CTX);
	fx_kv_u32(m, "llama.attention.head_count", FX_HEADS);
	fx_kv_u32(m, "llama.attention.head_count_kv", FX_KV_HEADS);
	fx_kv_u32(m, "llama.rope.dimension_count", FX_HEAD_DIM);
	fx_kv_f32(m, "llama.rope.freq_base", 10000);
	fx_kv_f32(m, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
	fx_kv_str(m, "tokenizer.ggml.model", "gpt2");
	fx_kv_str(m, "tokenizer.ggml.pre", o->pre ? o->pre : "smollm");
	fx_kv_u32(m, "tokenizer.ggml.bos_token_id", FX_START);
	fx_kv_u32(m, "tokenizer.ggml.eos_token_id", FX_END);
	fx_kv_str(m, "tokenizer.chat_template", o->chat_template ? o->chat_template : FX_TEMPLATE);
	fx_vocabulary(m);
}

/* Tensors under construction: their descriptions and their data. */
struct fx_tensors {
	struct fx_buf info;
	struct fx_buf data;
	uint64_t n;
	uint32_t random;
	const struct fx_options *opt;
};

/* Random blocks; scales are such that values are those of the F32 tensors, more or less. */
static inline void fx_blocks(struct fx_tensors *t, uint64_t n)
{
	const uint16_t scale = t->opt->packed == GGML_Q8_0 ? 0x1c00 : 0x2c00, min = 0xb800;
	const struct dequant_format *f = dequant_format(t->opt->packed);
	uint8_t block[64];

	for (uint64_t i = 0; i < n / f->block_elems; i++) {
		for (uint32_t k = 0; k < f->block_bytes; k++)
			block[k] = (uint8_t)fx_random(&t->random);
		memcpy(block, &scale, 2);
		if (t->opt->packed == GGML_Q4_1)
			memcpy(block + 2, &min, 2);
		fx_put(&t->data, block, f->block_bytes);
	}
}

static inline void fx_tensor(struct fx_tensors *t, const char *name, uint64_t cols, uint64_t rows,
			     float centre, float spread)
{
	static const uint8_t zeros[32];

	if (t->opt->skip_tensor && !strcmp(t->opt->skip_tensor, name))
		return;
	fx_str(&t->info, name);
	fx_u32(&t->info, rows > 1 ? 2 : 1);
	fx_u64(&t->info, cols);
	if (rows > 1)
		fx_u64(&t->info, rows);
	fx_u32(&t->info, rows > 1 ? t->opt->packed : GGML_F32);
	fx_u64(&t->info, t->data.len);
	if (rows > 1 && t->opt->packed)
		fx_blocks(t, cols * rows);
	for (uint64_t i = 0; i < cols * rows && !(rows > 1 && t->opt->packed); i++) {
		float v = centre + spread * ((float)fx_random(&t->random) / (1 << 23) - 1);

		fx_put(&t->data, &v, sizeof(v));
	}
	fx_put(&t->data, zeros, (32 - t->data.len % 32) % 32);
	t->n++;
}

static inline void fx_layer(struct fx_tensors *t, unsigned int i)
{
	static const struct {
		const char *name;
		uint32_t cols, rows;
	} parts[] = {
		{ "attn_q", FX_EMBD, FX_HEADS * FX_HEAD_DIM },
		{ "attn_k", FX_EMBD, FX_KV_HEADS * FX_HEAD_DIM },
		{ "attn_v", FX_EMBD, FX_KV_HEADS * FX_HEAD_DIM },
		{ "attn_output", FX_HEADS * FX_HEAD_DIM, FX_EMBD },
		{ "ffn_gate", FX_EMBD, FX_FF },
		{ "ffn_up", FX_EMBD, FX_FF },
		{ "ffn_down", FX_FF, FX_EMBD },
	};
	char name[64];

	snprintf(name, sizeof(name), "blk.%u.attn_norm.weight", i);
	fx_tensor(t, name, FX_EMBD, 1, 1, 0.1f);
	snprintf(name, sizeof(name), "blk.%u.ffn_norm.weight", i);
	fx_tensor(t, name, FX_EMBD, 1, 1, 0.1f);
	for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++) {
		snprintf(name, sizeof(name), "blk.%u.%s.weight", i, parts[p].name);
		fx_tensor(t, name, parts[p].cols, parts[p].rows, 0, 0.5f);
	}
}

/* The whole file; free() data. */
static inline struct fx_buf fx_model(const struct fx_options *opt)
{
	static const struct fx_options usual;
	struct fx_meta meta = { .opt = opt ? opt : &usual };
	struct fx_tensors t = { .opt = meta.opt, .random = meta.opt->seed + 1 };
	struct fx_buf file = { 0 };
	static const uint8_t zeros[32];

	fx_metadata(&meta);
	fx_tensor(&t, "token_embd.weight", FX_EMBD, FX_VOCAB, 0, 0.5f);
	for (unsigned int i = 0; i < FX_LAYERS; i++)
		fx_layer(&t, i);
	fx_tensor(&t, "output_norm.weight", FX_EMBD, 1, 1, 0.1f);
	if (t.opt->extra_tensor)
		fx_tensor(&t, t.opt->extra_tensor, FX_EMBD, 1, 0, 1);

	fx_put(&file, "GGUF", 4);
	fx_u32(&file, meta.opt->version ? meta.opt->version : 3);
	fx_u64(&file, t.n);
	fx_u64(&file, meta.n);
	fx_put(&file, meta.buf.data, meta.buf.len);
	fx_put(&file, t.info.data, t.info.len);
	fx_put(&file, zeros, (32 - file.len % 32) % 32);
	fx_put(&file, t.data.data, t.data.len);
	free(meta.buf.data);
	free(t.info.data);
	free(t.data.data);
	return file;
}

/* Where the bytes after a key or tensor name begin. */
static inline uint8_t *fx_after(struct fx_buf *b, const char *name)
{
	uint64_t len = strlen(name);

	for (size_t i = 0; i + 8 + len <= b->len; i++) {
		if (!memcmp(b->data + i, &len, 8) && !memcmp(b->data + i + 8, name, len))
			return b->data + i + 8 + len;
	}
	fail_msg("no %s in the fixture", name);
	return NULL;
}

static inline void fx_write(const char *path, const void *data, size_t len)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

/* A directory of this test's own, which is also SLUICE_CACHE; removed by fx_remove_dir(). */
static char fx_dir[64];

static inline int fx_make_dir(void **state)
{
	(void)state;
	strcpy(fx_dir, "/tmp/model-test-XXXXXX");
	if (!mkdtemp(fx_dir))
		return -1;
	return setenv("SLUICE_CACHE", fx_dir, 1);
}

static inline int fx_remove_dir(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", fx_dir);
	return system(command);
}

/* Path of a file in the directory; a static buffer. */
static inline const char *fx_path(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", fx_dir, name);
	return path;
}

/* Write a model file with these options and return its path. */
static inline const char *fx_model_file(const struct fx_options *opt)
{
	struct fx_buf b = fx_model(opt);
	const char *path = fx_path("model.gguf");

	fx_write(path, b.data, b.len);
	free(b.data);
	return path;
}

#endif /* TESTS_UNIT_MODEL_FIXTURE_H */
