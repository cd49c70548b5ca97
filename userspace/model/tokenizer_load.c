// SPDX-License-Identifier: MIT
/*
 * tokenizer_load.c - build a tokenizer from a GGUF file's metadata
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer_pvt.h"

#define TOKENIZER_MAX_VOCAB	(1u << 24)
#define MAX_TOKEN_BYTES		65536u
#define ALPHABET		324	/* code points used by the byte-level alphabet */

/* What is needed while loading only. */
struct loader {
	const struct gguf *g;
	struct tokenizer *t;
	struct model_error *err;
	int16_t byte_of[ALPHABET];	/* code point to byte, -1 if it is none of the alphabet */
	struct gguf_str *text;
	int32_t *type;
};

/*
 * GPT-2's alphabet writes each byte as a printable character: those that are printable in Latin-1
 * as themselves, the others as the code points from 256 on, in order.
 */
static void make_alphabet(int16_t *byte_of)
{
	int next = 256;

	memset(byte_of, -1, ALPHABET * sizeof(*byte_of));
	for (int b = 0; b < 256; b++) {
		bool printable = (b >= 33 && b <= 126) || (b >= 161 && b != 173);

		byte_of[printable ? b : next++] = b;
	}
}

/* Text in the alphabet to bytes, at most as many; -1 if a character does not belong to it. */
static ssize_t alphabet_to_bytes(const struct loader *l, struct gguf_str s, char *out)
{
	const uint8_t *p = (const uint8_t *)s.data;
	size_t n = 0;

	for (size_t i = 0; i < s.len; ) {
		int seq = utf8_sequence(p + i, s.len - i, NULL);
		uint32_t c = seq > 0 ? utf8_decode(p + i, seq) : ALPHABET;

		if (c >= ALPHABET || l->byte_of[c] < 0)
			return -1;
		out[n++] = (char)l->byte_of[c];
		i += seq;
	}
	return n;
}

static int fail_token(const struct loader *l, size_t id, const char *what)
{
	return model_fail(l->err, EINVAL, "%s: token %zu %s; convert the model anew",
			  gguf_path(l->g), id, what);
}

/* Tokens with their bytes, in one arena. */
static int load_tokens(struct loader *l)
{
	struct tokenizer *t = l->t;
	size_t total = 1;
	char *p;

	for (size_t i = 0; i < t->n_vocab; i++) {
		if (l->text[i].len > MAX_TOKEN_BYTES)
			return fail_token(l, i, "is longer than 64 KiB");
		total += l->text[i].len;	/* all of it lies inside the file: no overflow */
	}
	t->token = calloc(t->n_vocab, sizeof(*t->token));
	t->arena = p = malloc(total);
	if (!t->token || !t->arena)
		return model_fail(l->err, ENOMEM, "%s: no memory for its vocabulary",
				  gguf_path(l->g));
	for (size_t i = 0; i < t->n_vocab; i++) {
		struct token *tok = &t->token[i];
		ssize_t n = -1;

		tok->type = l->type ? (uint32_t)l->type[i] : TOKEN_NORMAL;
		tok->bytes = p;
		if (tok->type == TOKEN_NORMAL || tok->type == TOKEN_UNUSED)
			n = alphabet_to_bytes(l, l->text[i], p);
		if (n < 0) {
			n = l->text[i].len;
			memcpy(p, l->text[i].data, n);
		}
		tok->n_bytes = n;
		p += n;
		if (tok->n_bytes > t->max_bytes)
			t->max_bytes = tok->n_bytes;
	}
	return 0;
}

static int cmp_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return order ? order : (a_len > b_len) - (a_len < b_len);
}

static int by_bytes_cmp(const void *a, const void *b, void *tokens)
{
	const struct token *x = (struct token *)tokens + *(const int32_t *)a;
	const struct token *y = (struct token *)tokens + *(const int32_t *)b;
	int order = cmp_bytes(x->bytes, x->n_bytes, y->bytes, y->n_bytes);

	/* Of two equal ones the lower id is first, and found. */
	return order ? order : (x > y) - (x < y);
}

int32_t token_by_bytes(const struct tokenizer *t, const char *bytes, size_t len)
{
	size_t low = 0, high = t->n_by_bytes;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct token *tok = &t->token[t->by_bytes[mid]];

		if (cmp_bytes(tok->bytes, tok->n_bytes, bytes, len) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < t->n_by_bytes) {
		const struct token *tok = &t->token[t->by_bytes[low]];

		if (tok->n_bytes == len && !memcmp(tok->bytes, bytes, len))
			return t->by_bytes[low];
	}
	return -1;
}

static int longer_first(const void *a, const void *b, void *tokens)
{
	const struct token *x = (struct token *)tokens + *(const int32_t *)a;
	const struct token *y = (struct token *)tokens + *(const int32_t *)b;

	return (x->n_bytes < y->n_bytes) - (x->n_bytes > y->n_bytes);
}

/* Sort ids into normal and special tokens, and find the tokens of single bytes. */
static int index_tokens(struct loader *l)
{
	struct tokenizer *t = l->t;

	t->by_bytes = malloc(t->n_vocab * sizeof(*t->by_bytes));
	t->special = malloc(t->n_vocab * sizeof(*t->special));
	if (!t->by_bytes || !t->special)
		return model_fail(l->err, ENOMEM, "%s: no memory for its vocabulary",
				  gguf_path(l->g));
	for (uint32_t i = 0; i < t->n_vocab; i++) {
		const struct token *tok = &t->token[i];

		switch (tok->type) {
		case TOKEN_NORMAL:
		case TOKEN_UNUSED:
			t->by_bytes[t->n_by_bytes++] = i;
			break;
		case TOKEN_CONTROL:
		case TOKEN_UNKNOWN:
		case TOKEN_USER_DEFINED:
			if (!tok->n_bytes)
				return fail_token(l, i, "is special, but empty");
			t->special[t->n_special++] = i;
			t->special_start[(uint8_t)tok->bytes[0]] = true;
			break;
		default:
			return fail_token(l, i, "has a type that byte-level BPE does not know");
		}
	}
	qsort_r(t->by_bytes, t->n_by_bytes, sizeof(*t->by_bytes), by_bytes_cmp, t->token);
	qsort_r(t->special, t->n_special, sizeof(*t->special), longer_first, t->token);
	for (int b = 0; b < 256; b++) {
		char byte = (char)b;

		t->byte_id[b] = token_by_bytes(t, &byte, 1);
	}
	return 0;
}

static void merge_insert(struct tokenizer *t, struct merge m)
{
	uint32_t i = merge_slot(m.pair);

	for (;; i++) {
		struct merge *at = &t->merge[i & t->merge_mask];

		if (at->rank >= 0 && at->pair == m.pair)
			return;		/* the first mention has the lower rank */
		if (at->rank < 0) {
			*at = m;
			return;
		}
	}
}

/* "left right", in the alphabet, where neither contains a space. */
static int load_merge(struct loader *l, struct gguf_str s, int32_t rank, char *buf)
{
	const char *space = s.len ? memchr(s.data, ' ', s.len) : NULL;
	struct gguf_str part[2];
	ssize_t n[2] = { -1, -1 };
	int32_t left, right, id;

	if (!space || s.len > 2 * MAX_TOKEN_BYTES)
		return model_fail(l->err, EINVAL, "%s: merge %d is not two tokens and a space; "
				  "convert the model anew", gguf_path(l->g), rank);
	part[0] = (struct gguf_str){ s.data, space - s.data };
	part[1] = (struct gguf_str){ space + 1, s.len - part[0].len - 1 };
	n[0] = alphabet_to_bytes(l, part[0], buf);
	if (n[0] > 0)
		n[1] = alphabet_to_bytes(l, part[1], buf + n[0]);
	if (n[1] <= 0)
		return model_fail(l->err, EINVAL, "%s: merge %d is not in the byte-level alphabet; "
				  "convert the model anew", gguf_path(l->g), rank);
	left = token_by_bytes(l->t, buf, n[0]);
	right = token_by_bytes(l->t, buf + n[0], n[1]);
	id = token_by_bytes(l->t, buf, n[0] + n[1]);
	if (left < 0 || right < 0 || id < 0)
		return model_fail(l->err, EINVAL, "%s: merge %d names a token that the vocabulary "
				  "has not; convert the model anew", gguf_path(l->g), rank);
	merge_insert(l->t, (struct merge){ (uint64_t)left << 32 | (uint32_t)right, rank, id });
	return 0;
}

static int load_merges(struct loader *l)
{
	struct tokenizer *t = l->t;
	struct gguf_str *merges = NULL;
	size_t n, slots = 16;
	char *buf = NULL;
	int ret;

	ret = gguf_get_strings(l->g, "tokenizer.ggml.merges", &merges, &n, l->err);
	if (ret)
		return ret;
	if (n > TOKENIZER_MAX_VOCAB) {
		free(merges);
		return model_fail(l->err, EINVAL, "%s: %zu merges are more than %u; get the file "
				  "again", gguf_path(l->g), n, TOKENIZER_MAX_VOCAB);
	}
	while (slots < 2 * n)
		slots *= 2;
	t->merge = malloc(slots * sizeof(*t->merge));
	buf = malloc(2 * MAX_TOKEN_BYTES);
	if (!t->merge || !buf)
		ret = model_fail(l->err, ENOMEM, "%s: no memory for %zu merges", gguf_path(l->g), n);
	t->merge_mask = slots - 1;
	for (size_t i = 0; i < slots && !ret; i++)
		t->merge[i].rank = -1;
	for (size_t i = 0; i < n && !ret; i++)
		ret = load_merge(l, merges[i], i, buf);
	free(buf);
	free(merges);
	return ret;
}

/* An id that may be missing; -1 then, or if it lies outside the vocabulary. */
static int load_id(struct loader *l, const char *key, int32_t *out)
{
	uint32_t id;
	int ret = gguf_get_u32_or(l->g, key, UINT32_MAX, &id, l->err);

	*out = !ret && id < l->t->n_vocab ? (int32_t)id : -1;
	return ret;
}

static int load_options(struct loader *l)
{
	struct tokenizer *t = l->t;
	struct gguf_str s;
	int ret;

	ret = load_id(l, "tokenizer.ggml.bos_token_id", &t->bos);
	if (!ret)
		ret = load_id(l, "tokenizer.ggml.eos_token_id", &t->eos);
	if (!ret)
		ret = load_id(l, "tokenizer.ggml.eot_token_id", &t->eot);
	if (!ret)
		ret = gguf_get_bool_or(l->g, "tokenizer.ggml.add_bos_token", false, &t->add_bos,
				       l->err);
	if (ret || !gguf_find(l->g, "tokenizer.chat_template"))
		return ret;
	ret = gguf_get_str(l->g, "tokenizer.chat_template", &s, l->err);
	if (ret)
		return ret;
	t->chat_template = strndup(s.data, s.len);
	return t->chat_template ? 0 : model_fail(l->err, ENOMEM, "%s: no memory",
						 gguf_path(l->g));
}

static int check_kind(struct loader *l)
{
	struct gguf_str model, pre;
	int ret;

	ret = gguf_get_str(l->g, "tokenizer.ggml.model", &model, l->err);
	if (ret)
		return ret;
	if (model.len != 4 || memcmp(model.data, "gpt2", 4))
		return model_fail(l->err, EOPNOTSUPP,
				  "%s: tokenizer '%.*s' is not supported; use a model with "
				  "byte-level BPE ('gpt2')", gguf_path(l->g), gguf_shown(model),
				  model.data);
	ret = gguf_get_str(l->g, "tokenizer.ggml.pre", &pre, l->err);
	if (ret)
		return ret;
	l->t->pre = pretokenizer_find(pre.data, pre.len);
	if (!l->t->pre)
		return model_fail(l->err, EOPNOTSUPP,
				  "%s: pre-tokenizer '%.*s' is not supported; use a model with %s",
				  gguf_path(l->g), gguf_shown(pre), pre.data, pretokenizer_names());
	return 0;
}

static int read_vocabulary(struct loader *l)
{
	size_t n, n_types;
	int ret;

	ret = gguf_get_strings(l->g, "tokenizer.ggml.tokens", &l->text, &n, l->err);
	if (ret)
		return ret;
	if (!n || n > TOKENIZER_MAX_VOCAB)
		return model_fail(l->err, EINVAL, "%s: a vocabulary of %zu tokens, not 1 to %u; "
				  "get the file again", gguf_path(l->g), n, TOKENIZER_MAX_VOCAB);
	l->t->n_vocab = n;
	if (!gguf_find(l->g, "tokenizer.ggml.token_type"))
		return 0;
	ret = gguf_get_i32s(l->g, "tokenizer.ggml.token_type", &l->type, &n_types, l->err);
	if (!ret && n_types != n)
		ret = model_fail(l->err, EINVAL, "%s: %zu tokens, but %zu token types; convert the "
				 "model anew", gguf_path(l->g), n, n_types);
	return ret;
}

int tokenizer_create(const struct gguf *g, struct tokenizer **out, struct model_error *err)
{
	struct loader l = { .g = g, .err = err };
	int ret;

	*out = NULL;
	l.t = calloc(1, sizeof(*l.t));
	if (!l.t)
		return model_fail(err, ENOMEM, "%s: no memory", gguf_path(g));
	make_alphabet(l.byte_of);
	ret = check_kind(&l);
	if (!ret)
		ret = read_vocabulary(&l);
	if (!ret)
		ret = load_tokens(&l);
	if (!ret)
		ret = index_tokens(&l);
	if (!ret)
		ret = load_merges(&l);
	if (!ret)
		ret = load_options(&l);
	if (!ret)
		ret = pretokenizer_compile(l.t, err);
	free(l.text);
	free(l.type);
	if (ret)
		tokenizer_free(l.t);
	else
		*out = l.t;
	return ret;
}

int tokenizer_open(const char *path, struct tokenizer **out, struct model_error *err)
{
	struct gguf *g;
	int ret = gguf_open(path, &g, err);

	*out = NULL;
	if (ret)
		return ret;
	ret = tokenizer_create(g, out, err);
	gguf_close(g);
	return ret;
}

void tokenizer_free(struct tokenizer *t)
{
	if (!t)
		return;
	pcre2_code_free(t->pattern);
	pcre2_code_free(t->number);
	free(t->token);
	free(t->arena);
	free(t->by_bytes);
	free(t->special);
	free(t->merge);
	free(t->chat_template);
	free(t);
}
