/* SPDX-License-Identifier: MIT */
/* tokenizer_pvt.h - shared by the tokenizer_*.c files; use tokenizer.h */
#ifndef SLUICE_MODEL_TOKENIZER_PVT_H
#define SLUICE_MODEL_TOKENIZER_PVT_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <errno.h>
#include <pcre2.h>

#include "tokenizer.h"

/* Token types as they stand in GGUF files. */
enum token_type {
	TOKEN_NORMAL = 1,
	TOKEN_UNKNOWN = 2,
	TOKEN_CONTROL = 3,
	TOKEN_USER_DEFINED = 4,
	TOKEN_UNUSED = 5,
};

struct token {
	const char *bytes;	/* what it stands for; not NUL terminated */
	uint32_t n_bytes;
	uint32_t type;
};

/* A pair of neighbours that becomes one token; lower ranks go first. */
struct merge {
	uint64_t pair;		/* left id << 32 | right id */
	int32_t rank;
	int32_t id;
};

/* Where the search for a pair starts in the hash table, before masking. */
static inline uint32_t merge_slot(uint64_t pair)
{
	return (pair * 0x9e3779b97f4a7c15ull) >> 32;	/* Fibonacci hashing */
}

/* How a model's text is cut before merging. */
struct pretokenizer {
	const char *name;
	const char *pattern;
	bool split_digits;	/* every numeric character is a piece of its own, first of all */
	bool whole_words;	/* a piece that is a token is not merged up from bytes */
};

struct tokenizer {
	struct token *token;
	uint32_t n_vocab;
	uint32_t max_bytes;	/* longest token */
	char *arena;		/* the bytes of all tokens */
	int32_t *by_bytes;	/* ids of the normal tokens, sorted by their bytes */
	uint32_t n_by_bytes;
	int32_t byte_id[256];	/* token of a single byte, -1 if there is none */
	struct merge *merge;	/* hash table, open addressing; rank -1 is empty */
	uint32_t merge_mask;
	int32_t *special;	/* ids of control and user-defined tokens, longest first */
	uint32_t n_special;
	bool special_start[256];	/* some special token starts with this byte */
	const struct pretokenizer *pre;
	pcre2_code *pattern;	/* of t->pre */
	pcre2_code *number;	/* one numeric character */
	int32_t bos, eos, eot;
	bool add_bos;
	char *chat_template;
};

/* Ids under construction. */
struct id_list {
	int32_t *ids;
	size_t n;
	size_t max;
};

/* Working memory of one tokenizer_encode(). */
struct encoder {
	const struct tokenizer *t;
	struct id_list out;
	pcre2_match_data *match;
	pcre2_match_context *context;
	struct bpe_symbol *symbol;	/* see tokenizer_bpe.c */
	struct bpe_pair *heap;
	size_t max_symbols;
};

/* The pretokenizer of that name, or NULL; and all names, for messages. */
const struct pretokenizer *pretokenizer_find(const char *name, size_t len);
const char *pretokenizer_names(void);

/* Compile the patterns of t->pre. */
int pretokenizer_compile(struct tokenizer *t, struct model_error *err);

/*
 * Cut text without special tokens into pieces and merge each. @shape is @text with ill-formed
 * bytes replaced, of the same length: it is what the pattern sees.
 */
int encode_text(struct encoder *e, const char *text, const char *shape, size_t len);

/* The normal token of exactly these bytes, or -1. */
int32_t token_by_bytes(const struct tokenizer *t, const char *bytes, size_t len);

/* Append the tokens of one piece. */
int encode_piece(struct encoder *e, const uint8_t *text, size_t len);

/* Append an id; -ENOSPC if there is no room. */
static inline int id_push(struct id_list *l, int32_t id)
{
	if (l->n == l->max)
		return -ENOSPC;
	l->ids[l->n++] = id;
	return 0;
}

/*
 * Length of the well-formed UTF-8 sequence at @p (1 to 4), or minus the length of the maximal
 * ill-formed part (1 to 3). @left >= 1. A sequence cut off by the end is ill-formed as far as it
 * goes; *@incomplete then tells that more bytes could complete it. May be NULL.
 */
int utf8_sequence(const uint8_t *p, size_t left, bool *incomplete);

/* Code point of a well-formed sequence of @len bytes. */
uint32_t utf8_decode(const uint8_t *p, int len);

#endif /* SLUICE_MODEL_TOKENIZER_PVT_H */
