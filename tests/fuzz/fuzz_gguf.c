// SPDX-License-Identifier: MIT
/*
 * Description: a GGUF file that is accepted has everything inside it, and can be asked for anything
 *
 * Beside the reader: what the daemons do with a file that it accepts, up to the weights.
 */
#include "dequant.h"
#include "fuzz.h"
#include "gguf_pvt.h"
#include "llama_pvt.h"
#include "tokenizer.h"

#define DEQUANT_MAX	4096u	/* elements of a tensor that are looked at */

static bool inside(const struct gguf *g, const void *p, uint64_t len)
{
	size_t size;
	const uint8_t *map = gguf_map(g, &size), *from = p;

	return from >= map && from <= map + size && len <= (uint64_t)(map + size - from);
}

static void check_tensor(const struct gguf *g, const struct gguf_tensor *t)
{
	static float out[DEQUANT_MAX];
	const struct dequant_format *f = dequant_format(t->type);
	uint64_t n = t->n_elements < DEQUANT_MAX ? t->n_elements : DEQUANT_MAX;
	char name[GGUF_MAX_NAME + 1];

	fuzz_check(f && inside(g, t->name.data, t->name.len) && inside(g, t->data, t->n_bytes));
	fuzz_check(t->name.len <= GGUF_MAX_NAME);
	fuzz_check(t->n_elements / f->block_elems * f->block_bytes == t->n_bytes);
	memcpy(name, t->name.data, t->name.len);
	name[t->name.len] = '\0';
	if (strlen(name) == t->name.len)
		fuzz_check(gguf_find_tensor(g, name) == t);
	n -= n % f->block_elems;
	f->to_f32(t->data, out, n / f->block_elems);
}

static void check_value(const struct gguf *g, const struct gguf_kv *kv, const char *key)
{
	struct gguf_str s, *strings = NULL;
	int32_t *numbers = NULL;
	uint32_t u;
	size_t n;
	float f;
	bool b;

	fuzz_check(gguf_find(g, key) == kv);
	gguf_get_u32(g, key, &u, NULL);
	gguf_get_f32(g, key, &f, NULL);
	gguf_get_bool_or(g, key, false, &b, NULL);
	if (!gguf_get_str(g, key, &s, NULL))
		fuzz_check(inside(g, s.data, s.len));
	if (!gguf_get_strings(g, key, &strings, &n, NULL)) {
		for (size_t i = 0; i < n; i++)
			fuzz_check(inside(g, strings[i].data, strings[i].len));
		free(strings);
	}
	if (!gguf_get_i32s(g, key, &numbers, &n, NULL)) {
		fuzz_check(n == kv->count);
		free(numbers);
	}
}

/* What llama_open() asks a file before it builds weights. */
static void check_model(const struct gguf *g)
{
	struct weights_plan plan = { 0 };
	struct llama m = { 0 };
	struct model_error err;

	if (!llama_read_config(g, &m, &err) && !llama_make_plan(g, &m, &plan, &err)) {
		for (size_t i = 0; i < plan.n; i++) {
			uint64_t rows = 0;

			for (size_t p = 0; p < plan.entry[i].n_parts; p++)
				rows += plan.entry[i].part[p]->dims[1];
			fuzz_check(rows == plan.entry[i].rows);
		}
	}
	free(plan.entry);
	free(m.rope_freq);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model_error err = { "" };
	const struct gguf_tensor *t;
	struct tokenizer *tokenizer;
	struct gguf *g;
	int ret;

	fuzz_file(data, size);
	ret = gguf_open("fuzz.gguf", &g, &err);
	fuzz_file(NULL, 0);
	if (ret) {
		fuzz_check(ret < 0 && !g && err.text[0] && !strchr(err.text, '\n'));
		return 0;
	}
	for (size_t i = 0; (t = gguf_tensor_at(g, i)); i++)
		check_tensor(g, t);
	for (size_t i = 0; i < g->n_kv; i++) {
		const struct gguf_kv *kv = &g->kv[i];
		char key[GGUF_MAX_NAME + 1];

		fuzz_check(kv->key.len <= GGUF_MAX_NAME && inside(g, kv->key.data, kv->key.len));
		memcpy(key, kv->key.data, kv->key.len);
		key[kv->key.len] = '\0';
		if (strlen(key) == kv->key.len)
			check_value(g, kv, key);
	}
	check_model(g);
	if (!tokenizer_create(g, &tokenizer, &err))
		tokenizer_free(tokenizer);
	gguf_close(g);
	return 0;
}
