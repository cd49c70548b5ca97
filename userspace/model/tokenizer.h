/* SPDX-License-Identifier: MIT */
/*
 * tokenizer.h - byte-level BPE from the vocabulary and merges of a GGUF file
 *
 * Text is split by the pre-tokenizer that `tokenizer.ggml.pre` names (PCRE2 supplies the Unicode
 * properties), then each piece is merged pair by pair in the order of the model's merges.
 *
 * Text need not be valid UTF-8: a byte that is not part of a well-formed UTF-8 sequence counts, for
 * splitting, as a character that is neither letter, digit nor white space; nothing is replaced or
 * refused, and decoding gives the byte back. Only bytes for which a vocabulary has no token at all
 * (SmolLM2's lacks some control characters, and bytes that no UTF-8 contains) are left out, as in
 * the Hugging Face implementation.
 *
 * A tokenizer is immutable once created; threads may share it.
 */
#ifndef SLUICE_MODEL_TOKENIZER_H
#define SLUICE_MODEL_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "error.h"
#include "gguf.h"

/* Longest text that tokenizer_encode() takes, in bytes. */
#define TOKENIZER_MAX_TEXT	(4u << 20)

/* Flags of tokenizer_encode(). */
#define TOKENIZER_PARSE_SPECIAL	(1u << 0)	/* "<|im_start|>" in the text is that token */
#define TOKENIZER_ADD_BOS	(1u << 1)	/* put BOS first, if the model's file asks for it */

struct tokenizer;

/**
 * tokenizer_create() - build the tokenizer of a model
 * @g: the model file; not needed afterwards
 * @out: free with tokenizer_free()
 * @err: one-line reason
 *
 * Return: 0, -EOPNOTSUPP for a tokenizer model or pre-tokenizer that is not supported, -EINVAL
 * or -ENODATA for inconsistent metadata, -ENOMEM.
 */
int tokenizer_create(const struct gguf *g, struct tokenizer **out, struct model_error *err);

/** tokenizer_open() - tokenizer_create() from a file name */
int tokenizer_open(const char *path, struct tokenizer **out, struct model_error *err);

/** tokenizer_free() - NULL is allowed */
void tokenizer_free(struct tokenizer *t);

/** tokenizer_n_vocab() - number of tokens; ids are 0 to this less one */
uint32_t tokenizer_n_vocab(const struct tokenizer *t);

/* Ids from the metadata, -1 if the model has none. */
int32_t tokenizer_bos(const struct tokenizer *t);
int32_t tokenizer_eos(const struct tokenizer *t);
int32_t tokenizer_eot(const struct tokenizer *t);

/** tokenizer_is_eog() - does this token end generation (end of sequence, turn or message)? */
bool tokenizer_is_eog(const struct tokenizer *t, int32_t id);

/** tokenizer_find() - id of the token that stands for exactly these bytes, or -1 */
int32_t tokenizer_find(const struct tokenizer *t, const char *text, size_t len);

/** tokenizer_chat_template() - the model's Jinja template, or NULL if it has none */
const char *tokenizer_chat_template(const struct tokenizer *t);

/**
 * tokenizer_encode() - text to token ids
 * @text: @len bytes, any bytes
 * @flags: TOKENIZER_*
 * @ids: room for @max_ids ids; @len + 1 are always enough
 *
 * Return: number of ids, -E2BIG for more than TOKENIZER_MAX_TEXT bytes, -ENOSPC if @max_ids are
 * not enough, -ENOMEM.
 */
ssize_t tokenizer_encode(const struct tokenizer *t, const char *text, size_t len,
			 unsigned int flags, int32_t *ids, size_t max_ids);

/**
 * tokenizer_piece() - the bytes a token stands for
 * @len: their number; special tokens give their text
 *
 * Return: bytes owned by the tokenizer (not NUL terminated), NULL for an id out of range.
 */
const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *len);

/** tokenizer_is_special() - control tokens, which plain text cannot produce and decoding omits */
bool tokenizer_is_special(const struct tokenizer *t, int32_t id);

/* State of one stream of output; all zero at the start. Plain data, may be copied. */
struct tokenizer_stream {
	uint8_t held[4];	/* the start of a UTF-8 sequence that is not complete yet */
	uint8_t n_held;
};

/** tokenizer_stream_bound() - bytes that one call of tokenizer_decode_stream() may write */
size_t tokenizer_stream_bound(const struct tokenizer *t);

/**
 * tokenizer_decode_stream() - the text that one more token adds
 * @s: state of the stream
 * @id: next token; special tokens add nothing
 * @out: at least tokenizer_stream_bound() bytes; always receives valid UTF-8, no NUL is appended
 *
 * Bytes that begin a character are held back until it is complete; bytes that cannot be UTF-8
 * become U+FFFD, one for each maximal ill-formed part, as Unicode recommends and Python does.
 *
 * Return: bytes written, maybe 0; -EINVAL for an id out of range.
 */
ssize_t tokenizer_decode_stream(const struct tokenizer *t, struct tokenizer_stream *s, int32_t id,
				char *out);

/** tokenizer_decode_flush() - end of stream: U+FFFD if something is held back, else nothing */
size_t tokenizer_decode_flush(struct tokenizer_stream *s, char *out);

#endif /* SLUICE_MODEL_TOKENIZER_H */
