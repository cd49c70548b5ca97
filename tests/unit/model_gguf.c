// SPDX-License-Identifier: MIT
/* Description: a GGUF file is read if it is good, and refused with one line if it is not */
#include "model_fixture.h"

#include <errno.h>

#include "gguf.h"
#include "llama.h"
#include "tokenizer.h"

/* Open everything that reads a file; the first failure's errno, or 0. */
static int open_all(const char *path, struct model_error *err)
{
	struct tokenizer *t = NULL;
	struct llama *m = NULL;
	int ret;

	memset(err, 0, sizeof(*err));
	ret = llama_open(path, LLAMA_ROLE_EMBED, NULL, &m, err);
	if (!ret)
		ret = tokenizer_open(path, &t, err);
	tokenizer_free(t);
	llama_close(m);
	return ret;
}

/* A failure says so in one line that names the file. */
static void expect_refusal(const struct fx_buf *b, int want, const char *word)
{
	struct model_error err;
	const char *path = fx_path("bad.gguf");
	int ret;

	fx_write(path, b->data, b->len);
	ret = open_all(path, &err);
	if (want)
		assert_int_equal(ret, want);
	else
		assert_true(ret < 0);
	assert_non_null(strstr(err.text, "bad.gguf"));
	assert_null(strchr(err.text, '\n'));
	if (word && !strstr(err.text, word))
		fail_msg("'%s' does not name '%s'", err.text, word);
}

static void good_file_is_read(void **state)
{
	struct model_error err;
	struct gguf_str s;
	struct gguf *g;
	uint32_t v;
	float f;

	(void)state;
	for (uint32_t version = 2; version <= 3; version++) {
		struct fx_options opt = { .version = version };

		assert_int_equal(gguf_open(fx_model_file(&opt), &g, &err), 0);
		assert_int_equal(gguf_get_u32(g, "llama.block_count", &v, &err), 0);
		assert_int_equal(v, FX_LAYERS);
		assert_int_equal(gguf_get_f32(g, "llama.rope.freq_base", &f, &err), 0);
		assert_true(f == 10000);
		assert_int_equal(gguf_get_str(g, "tokenizer.ggml.model", &s, &err), 0);
		assert_int_equal(s.len, 4);
		assert_memory_equal(s.data, "gpt2", 4);
		assert_non_null(gguf_find_tensor(g, "blk.1.ffn_down.weight"));
		assert_null(gguf_find_tensor(g, "blk.2.ffn_down.weight"));
		gguf_close(g);
		assert_int_equal(open_all(fx_path("model.gguf"), &err), 0);
	}
}

static void wrong_types_and_missing_keys_are_named(void **state)
{
	struct model_error err;
	struct gguf *g;
	uint32_t v;
	float f;

	(void)state;
	assert_int_equal(gguf_open(fx_model_file(NULL), &g, &err), 0);
	assert_int_equal(gguf_get_u32(g, "no.such.key", &v, &err), -ENODATA);
	assert_non_null(strstr(err.text, "no.such.key"));
	assert_int_equal(gguf_get_u32(g, "tokenizer.ggml.model", &v, &err), -EINVAL);
	assert_non_null(strstr(err.text, "string"));
	assert_int_equal(gguf_get_f32(g, "llama.block_count", &f, &err), -EINVAL);
	assert_int_equal(gguf_get_u32_or(g, "no.such.key", 7, &v, &err), 0);
	assert_int_equal(v, 7);
	gguf_close(g);
}

static void files_that_are_no_models_are_refused(void **state)
{
	struct fx_buf text = { (uint8_t *)"#!/bin/sh\necho hello\n", 21, 0 };
	struct fx_buf empty = { (uint8_t *)"", 0, 0 };
	struct model_error err;

	(void)state;
	expect_refusal(&text, -EBADMSG, "not a GGUF file");
	expect_refusal(&empty, -EBADMSG, "empty");
	assert_int_equal(open_all(fx_path("missing.gguf"), &err), -ENOENT);
	assert_non_null(strstr(err.text, "missing.gguf"));
	assert_int_equal(open_all(fx_dir, &err), -EINVAL);
	assert_non_null(strstr(err.text, "regular file"));
}

/* Damage one field of the good file, expect a refusal. */
static void expect_patch(size_t offset, const void *value, size_t len, int want, const char *word)
{
	struct fx_buf b = fx_model(NULL);

	memcpy(b.data + offset, value, len);
	expect_refusal(&b, want, word);
	free(b.data);
}

static size_t offset_after(const char *name)
{
	struct fx_buf b = fx_model(NULL);
	size_t offset = fx_after(&b, name) - b.data;

	free(b.data);
	return offset;
}

static void headers_that_lie_are_refused(void **state)
{
	static const uint64_t huge[] = { UINT64_MAX, 1ull << 63, UINT64_MAX / 24, 1ull << 32,
					 0x100000001ull, 65537 };
	uint32_t versions[] = { 0, 1, 4, 0x03000000 };

	(void)state;
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		expect_patch(4, &versions[i], 4, -EOPNOTSUPP, "version");
	for (size_t i = 0; i < sizeof(huge) / sizeof(huge[0]); i++) {
		expect_patch(8, &huge[i], 8, -EBADMSG, "tensors");
		expect_patch(16, &huge[i], 8, -EBADMSG, "keys");
		expect_patch(24, &huge[i], 8, -EBADMSG, NULL);	/* length of the first key */
	}
}

static void metadata_that_lies_is_refused(void **state)
{
	static const uint64_t huge[] = { UINT64_MAX, UINT64_MAX - 7, 1ull << 61, 1ull << 32 };
	size_t tokens = offset_after("tokenizer.ggml.tokens");
	size_t types = offset_after("tokenizer.ggml.token_type");
	size_t arch = offset_after("general.architecture");
	uint32_t type;

	(void)state;
	for (size_t i = 0; i < sizeof(huge) / sizeof(huge[0]); i++) {
		expect_patch(tokens + 8, &huge[i], 8, -EBADMSG, "truncated");	/* array length */
		expect_patch(types + 8, &huge[i], 8, -EBADMSG, "truncated");
		expect_patch(tokens + 16, &huge[i], 8, -EBADMSG, NULL);		/* first string */
		expect_patch(arch + 4, &huge[i], 8, -EBADMSG, NULL);
	}
	type = 13;
	expect_patch(arch, &type, 4, -EOPNOTSUPP, "general.architecture");
	type = UINT32_MAX;
	expect_patch(arch, &type, 4, -EOPNOTSUPP, NULL);
	type = GGUF_ARRAY;	/* an array of arrays */
	expect_patch(tokens + 4, &type, 4, -EOPNOTSUPP, NULL);
}

static void sizes_that_do_not_fit_are_refused(void **state)
{
	static const char *const keys[] = {
		"llama.block_count", "llama.embedding_length", "llama.feed_forward_length",
		"llama.context_length", "llama.attention.head_count",
		"llama.attention.head_count_kv",
	};
	static const uint32_t values[] = { 0, UINT32_MAX, 1u << 31 };
	uint32_t v;

	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		for (size_t j = 0; j < sizeof(values) / sizeof(values[0]); j++)
			expect_patch(offset_after(keys[i]) + 4, &values[j], 4, -EINVAL, NULL);
	}
	v = 3;	/* heads do not divide */
	expect_patch(offset_after("llama.attention.head_count_kv") + 4, &v, 4, -EOPNOTSUPP, NULL);
	v = 3;	/* more layers than there are */
	expect_patch(offset_after("llama.block_count") + 4, &v, 4, -ENODATA, "blk.2.");
	v = 7;	/* odd */
	expect_patch(offset_after("llama.rope.dimension_count") + 4, &v, 4, -EINVAL, "rope");
	v = 24;
	expect_patch(offset_after("general.alignment") + 4, &v, 4, -EBADMSG, "alignment");
	v = 0;
	expect_patch(offset_after("general.alignment") + 4, &v, 4, -EBADMSG, "alignment");
	v = 0x7fc00000;	/* NaN */
	expect_patch(offset_after("llama.rope.freq_base") + 4, &v, 4, -EINVAL, "freq_base");
}

static void tensors_that_lie_are_refused(void **state)
{
	static const uint64_t huge[] = { 0, UINT64_MAX, 1ull << 63, 1ull << 62, 1ull << 32 };
	size_t embd = offset_after("token_embd.weight");
	size_t dims = embd + 4, type = dims + 16, offset = type + 4;
	uint32_t v;
	uint64_t o;

	(void)state;
	for (size_t i = 0; i < sizeof(huge) / sizeof(huge[0]); i++) {
		expect_patch(dims, &huge[i], 8, -EBADMSG, "token_embd.weight");
		expect_patch(dims + 8, &huge[i], 8, -EBADMSG, "token_embd.weight");
		if (huge[i])
			expect_patch(offset, &huge[i], 8, -EBADMSG, "token_embd.weight");
	}
	v = 0;
	expect_patch(embd, &v, 4, -EBADMSG, "dimensions");
	v = 5;
	expect_patch(embd, &v, 4, -EBADMSG, "dimensions");
	v = 4711;
	expect_patch(type, &v, 4, -EOPNOTSUPP, "4711");
	v = 12;	/* Q4_K has blocks of 256, rows are 32 */
	expect_patch(type, &v, 4, -EBADMSG, "256");
	o = 8;
	expect_patch(offset, &o, 8, -EBADMSG, "aligned");
	o = 1ull << 20;
	expect_patch(offset, &o, 8, -EBADMSG, "truncated");
	o = 31;	/* another shape */
	expect_patch(offset_after("blk.0.attn_q.weight") + 12, &o, 8, -EINVAL, "attn_q");
}

static void missing_and_double_parts_are_named(void **state)
{
	const struct {
		struct fx_options opt;
		int want;
		const char *word;
	} cases[] = {
		{ { .skip_tensor = "token_embd.weight" }, -ENODATA, "token_embd.weight" },
		{ { .skip_tensor = "output_norm.weight" }, -ENODATA, "output_norm.weight" },
		{ { .skip_tensor = "blk.1.attn_v.weight" }, -ENODATA, "blk.1.attn_v.weight" },
		{ { .extra_tensor = "blk.0.attn_q.bias" }, -EOPNOTSUPP, "attn_q.bias" },
		{ { .extra_tensor = "blk.0.attn_norm.weight" }, -EBADMSG, "twice" },
		{ { .twice_key = "llama.block_count" }, -EBADMSG, "twice" },
		{ { .skip_key = "llama.block_count" }, -ENODATA, "llama.block_count" },
		{ { .skip_key = "general.architecture" }, -ENODATA, "general.architecture" },
		{ { .skip_key = "tokenizer.ggml.tokens" }, -ENODATA, "tokenizer.ggml.tokens" },
		{ { .skip_key = "tokenizer.ggml.merges" }, -ENODATA, "tokenizer.ggml.merges" },
		{ { .skip_key = "tokenizer.ggml.pre" }, -ENODATA, "tokenizer.ggml.pre" },
		{ { .pre = "klingon" }, -EOPNOTSUPP, "klingon" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fx_buf b = fx_model(&cases[i].opt);

		expect_refusal(&b, cases[i].want, cases[i].word);
		free(b.data);
	}
}

static void every_truncation_is_refused(void **state)
{
	struct fx_buf b = fx_model(NULL);
	size_t full = b.len;
	size_t header = (size_t)(fx_after(&b, "output_norm.weight") - b.data) + 24;

	(void)state;
	/* Each length within the metadata, then some within the data. */
	for (b.len = 1; b.len < header; b.len += b.len < 200 ? 1 : 13)
		expect_refusal(&b, 0, NULL);
	for (b.len = header; b.len < full; b.len += 997)
		expect_refusal(&b, -EBADMSG, "truncated");
	b.len = full - 32;	/* less than the last tensor */
	expect_refusal(&b, -EBADMSG, "output_norm");
	free(b.data);
}

/* Any damage ends in success or a message; sanitizers and the kernel watch for the rest. */
static void random_damage_never_crashes(void **state)
{
	struct fx_buf good = fx_model(NULL), b = good;
	size_t header = (size_t)(fx_after(&good, "output_norm.weight") - good.data) + 24;
	const char *path = fx_path("fuzz.gguf");
	uint32_t random = 4;
	int refused = 0;

	(void)state;
	b.data = malloc(good.len);
	for (int round = 0; round < 1500; round++) {
		struct model_error err;
		struct gguf *g;
		int ret;

		memcpy(b.data, good.data, good.len);
		for (uint32_t n = fx_random(&random) % 4 + 1; n; n--) {
			static const uint8_t edge[] = { 0, 1, 0x7f, 0x80, 0xff };

			b.data[fx_random(&random) % header] = fx_random(&random) % 2 ?
				edge[fx_random(&random) % 5] : fx_random(&random);
		}
		fx_write(path, b.data, b.len);
		err.text[0] = '\0';
		ret = gguf_open(path, &g, &err);
		if (!ret) {
			struct tokenizer *t = NULL;

			ret = tokenizer_create(g, &t, &err);
			tokenizer_free(t);
			gguf_close(g);
		}
		if (!ret && round % 8 == 0)
			ret = open_all(path, &err);
		assert_int_equal(!!ret, err.text[0] != '\0');
		refused += !!ret;
	}
	assert_true(refused > 100);
	free(b.data);
	free(good.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_file_is_read),
		cmocka_unit_test(wrong_types_and_missing_keys_are_named),
		cmocka_unit_test(files_that_are_no_models_are_refused),
		cmocka_unit_test(headers_that_lie_are_refused),
		cmocka_unit_test(metadata_that_lies_is_refused),
		cmocka_unit_test(sizes_that_do_not_fit_are_refused),
		cmocka_unit_test(tensors_that_lie_are_refused),
		cmocka_unit_test(missing_and_double_parts_are_named),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(random_damage_never_crashes),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, fx_make_dir, fx_remove_dir);
}
