// SPDX-License-Identifier: MIT
/*
 * tokenizer.c - text to token ids, and questions about tokens
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer_pvt.h"

/* Stands in for an ill-formed byte: one byte, and neither letter, number nor white space. */
#define ILL_FORMED	'\x01'

uint32_t tokenizer_n_vocab(const struct tokenizer *t)
{
	return t->n_vocab;
}

int32_t tokenizer_bos(const struct tokenizer *t)
{
	return t->bos;
}

int32_t tokenizer_eos(const struct tokenizer *t)
{
	return t->eos;
}

int32_t tokenizer_eot(const struct tokenizer *t)
{
	return t->eot;
}

const char *tokenizer_chat_template(const struct tokenizer *t)
{
	return t->chat_template;
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
	return id >= 0 && (uint32_t)id < t->n_vocab &&
	       (t->token[id].type == TOKEN_CONTROL || t->token[id].type == TOKEN_UNKNOWN);
}

bool tokenizer_is_eog(const struct tokenizer *t, int32_t id)
{
	/* Models end a turn or a text with these, whatever the file calls its end of sequence. */
	static const char *const ends[] = {
		"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end|>",
		"<|end_of_text|>", "<end_of_turn>",
	};

	if (!tokenizer_is_special(t, id))
		return id >= 0 && (id == t->eos || id == t->eot);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		if (t->token[id].n_bytes == strlen(ends[i]) &&
		    !memcmp(t->token[id].bytes, ends[i], t->token[id].n_bytes))
			return true;
	}
	return id == t->eos || id == t->eot;
}

int32_t tokenizer_find(const struct tokenizer *t, const char *text, size_t len)
{
	for (uint32_t i = 0; i < t->n_special; i++) {
		const struct token *tok = &t->token[t->special[i]];

		if (tok->n_bytes == len && !memcmp(tok->bytes, text, len))
			return t->special[i];
	}
	return token_by_bytes(t, text, len);
}

const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *len)
{
	if (id < 0 || (uint32_t)id >= t->n_vocab)
		return NULL;
	*len = t->token[id].n_bytes;
	return t->token[id].bytes;
}

/* The longest special token that the text starts with, or -1. */
static int32_t special_at(const struct tokenizer *t, const char *text, size_t len,
			  unsigned int flags)
{
	if (!t->special_start[(uint8_t)*text])
		return -1;
	for (uint32_t i = 0; i < t->n_special; i++) {
		const struct token *tok = &t->token[t->special[i]];

		if (tok->type != TOKEN_USER_DEFINED && !(flags & TOKENIZER_PARSE_SPECIAL))
			continue;
		if (tok->n_bytes <= len && !memcmp(tok->bytes, text, tok->n_bytes))
			return t->special[i];
	}
	return -1;
}

/* A copy of @text with ILL_FORMED for every ill-formed byte; @text itself if there is none. */
static const char *make_shape(const char *text, size_t len, char **copy)
{
	*copy = NULL;
	for (size_t i = 0; i < len; ) {
		int seq = utf8_sequence((const uint8_t *)text + i, len - i, NULL);

		if (seq > 0) {
			i += seq;
			continue;
		}
		if (!*copy) {
			*copy = malloc(len);
			if (!*copy)
				return NULL;
			memcpy(*copy, text, len);
		}
		for (; seq < 0; seq++)
			(*copy)[i++] = ILL_FORMED;
	}
	return *copy ? *copy : text;
}

/* Cut at special tokens; what lies between them is ordinary text. */
static int encode_all(struct encoder *e, const char *text, const char *shape, size_t len,
		      unsigned int flags)
{
	size_t start = 0, pos = 0;
	int ret = 0;

	while (pos < len && !ret) {
		int32_t id = special_at(e->t, text + pos, len - pos, flags);

		if (id < 0) {
			pos++;
			continue;
		}
		ret = encode_text(e, text + start, shape + start, pos - start);
		if (!ret)
			ret = id_push(&e->out, id);
		pos += e->t->token[id].n_bytes;
		start = pos;
	}
	return ret ? ret : encode_text(e, text + start, shape + start, len - start);
}

ssize_t tokenizer_encode(const struct tokenizer *t, const char *text, size_t len,
			 unsigned int flags, int32_t *ids, size_t max_ids)
{
	struct encoder e = { .t = t, .out = { ids, 0, max_ids } };
	const char *shape;
	char *copy = NULL;
	int ret = -ENOMEM;

	if (flags & ~(TOKENIZER_PARSE_SPECIAL | TOKENIZER_ADD_BOS))
		return -EINVAL;
	if (len > TOKENIZER_MAX_TEXT)
		return -E2BIG;
	shape = make_shape(text, len, &copy);
	e.match = pcre2_match_data_create(1, NULL);
	e.context = pcre2_match_context_create(NULL);
	if (shape && e.match && e.context) {
		/* The patterns do not backtrack more than once over a text of this size. */
		pcre2_set_match_limit(e.context, UINT32_MAX);
		ret = 0;
		if (flags & TOKENIZER_ADD_BOS && t->add_bos && t->bos >= 0)
			ret = id_push(&e.out, t->bos);
		if (!ret)
			ret = encode_all(&e, text, shape, len, flags);
	}
	pcre2_match_context_free(e.context);
	pcre2_match_data_free(e.match);
	free(e.symbol);
	free(e.heap);
	free(copy);
	return ret ? ret : (ssize_t)e.out.n;
}
