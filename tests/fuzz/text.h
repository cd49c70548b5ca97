/* SPDX-License-Identifier: MIT */
/* text.h - what must hold of any text and any tokenizer */
#ifndef TESTS_FUZZ_TEXT_H
#define TESTS_FUZZ_TEXT_H

#include "fuzz.h"
#include "tokenizer_pvt.h"

/* The pieces one after the other; free() it. */
static inline char *text_pieces(const struct tokenizer *t, const int32_t *ids, size_t n, size_t *len)
{
	size_t total = 0, piece_len;
	char *text, *p;

	for (size_t i = 0; i < n; i++) {
		fuzz_check(tokenizer_piece(t, ids[i], &piece_len));
		total += piece_len;
	}
	text = p = malloc(total + 1);
	fuzz_check(text);
	for (size_t i = 0; i < n; i++) {
		const char *piece = tokenizer_piece(t, ids[i], &piece_len);

		memcpy(p, piece, piece_len);
		p += piece_len;
	}
	*len = total;
	return text;
}

/* Encoding leaves bytes out only if the vocabulary cannot say them, and never adds or moves one. */
static inline void text_check_pieces(const struct tokenizer *t, const char *text, size_t len,
				     const int32_t *ids, size_t n)
{
	size_t pieces_len, at = 0;
	char *pieces = text_pieces(t, ids, n, &pieces_len);

	for (size_t i = 0; i < len; i++) {
		if (at < pieces_len && pieces[at] == text[i])
			at++;
		else
			fuzz_check(t->byte_id[(uint8_t)text[i]] < 0);
	}
	fuzz_check(at == pieces_len);
	free(pieces);
}

/* What a stream shows is valid UTF-8, the same as of all the pieces at once. */
static inline void text_check_stream(const struct tokenizer *t, const int32_t *ids, size_t n)
{
	size_t bound = tokenizer_stream_bound(t);
	struct tokenizer_stream s = { .n_held = 0 };
	char *out = malloc(bound);
	size_t incomplete = 0;

	fuzz_check(out);
	for (size_t i = 0; i <= n; i++) {
		ssize_t len = i < n ? tokenizer_decode_stream(t, &s, ids[i], out) :
				      (ssize_t)tokenizer_decode_flush(&s, out);

		fuzz_check(len >= 0 && (size_t)len <= bound);
		for (ssize_t at = 0; at < len; ) {
			int seq = utf8_sequence((uint8_t *)out + at, (size_t)(len - at), NULL);

			fuzz_check(seq > 0);
			at += seq;
		}
		incomplete += s.n_held > 3;
	}
	fuzz_check(!incomplete && !s.n_held);
	free(out);
}

/* Encode, and check what comes back. The array has not one byte too much. Returns ids; free(). */
static inline int32_t *text_encode(const struct tokenizer *t, const char *text, size_t len,
				   unsigned int flags, size_t *n)
{
	int32_t *ids = malloc((len + 1) * sizeof(*ids));
	bool bos = flags & TOKENIZER_ADD_BOS && t->add_bos && t->bos >= 0;
	ssize_t ret;

	fuzz_check(ids);
	ret = tokenizer_encode(t, text, len, flags, ids, len + 1);
	fuzz_check(ret >= bos && (size_t)ret <= len + 1);
	fuzz_check(!bos || ids[0] == t->bos);
	for (ssize_t i = bos; i < ret; i++)
		fuzz_check(flags & TOKENIZER_PARSE_SPECIAL || !tokenizer_is_special(t, ids[i]));
	text_check_pieces(t, text, len, ids + bos, (size_t)ret - bos);
	text_check_stream(t, ids, (size_t)ret);
	*n = (size_t)ret;
	return ids;
}

#endif /* TESTS_FUZZ_TEXT_H */
