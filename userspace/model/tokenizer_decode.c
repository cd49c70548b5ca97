// SPDX-License-Identifier: MIT
/*
 * tokenizer_decode.c - token ids to valid UTF-8, one token at a time
 */
#include <errno.h>
#include <string.h>

#include "tokenizer_pvt.h"

static const char replacement[] = "\xef\xbf\xbd";	/* U+FFFD */
#define REPLACEMENT_LEN	(sizeof(replacement) - 1)

int utf8_sequence(const uint8_t *p, size_t left, bool *incomplete)
{
	uint8_t low = 0x80, high = 0xbf;	/* range of the second byte */
	int len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 :
		  p[0] < 0xf5 ? 4 : 0;

	if (incomplete)
		*incomplete = false;
	if (len <= 1)
		return len ? 1 : -1;
	/* No overlong forms, no surrogates, nothing above U+10FFFF. */
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	for (int i = 1; i < len; i++, low = 0x80, high = 0xbf) {
		if ((size_t)i == left) {
			if (incomplete)
				*incomplete = true;
			return -i;
		}
		if (p[i] < low || p[i] > high)
			return -i;
	}
	return len;
}

uint32_t utf8_decode(const uint8_t *p, int len)
{
	uint32_t c = len == 1 ? p[0] : p[0] & (0x7f >> len);

	for (int i = 1; i < len; i++)
		c = c << 6 | (p[i] & 0x3f);
	return c;
}

size_t tokenizer_stream_bound(const struct tokenizer *t)
{
	return (t->max_bytes + sizeof(((struct tokenizer_stream *)0)->held)) * REPLACEMENT_LEN;
}

/*
 * Copy @len bytes to @out as valid UTF-8. Stops before a sequence that more bytes could complete;
 * *@used tells how far it got.
 */
static size_t copy_valid(const uint8_t *p, size_t len, char *out, size_t *used)
{
	size_t n = 0, i = 0;

	while (i < len) {
		bool incomplete;
		int seq = utf8_sequence(p + i, len - i, &incomplete);

		if (incomplete)
			break;
		if (seq > 0) {
			memcpy(out + n, p + i, seq);
			n += seq;
			i += seq;
		} else {
			memcpy(out + n, replacement, REPLACEMENT_LEN);
			n += REPLACEMENT_LEN;
			i -= seq;
		}
	}
	*used = i;
	return n;
}

/* Feed bytes one by one while something is held back, so that held and new bytes are joined. */
static size_t feed_held(struct tokenizer_stream *s, uint8_t byte, char *out)
{
	size_t used, n;

	s->held[s->n_held++] = byte;
	n = copy_valid(s->held, s->n_held, out, &used);
	s->n_held -= used;
	memmove(s->held, s->held + used, s->n_held);
	return n;
}

ssize_t tokenizer_decode_stream(const struct tokenizer *t, struct tokenizer_stream *s, int32_t id,
				char *out)
{
	const uint8_t *p;
	size_t len, i = 0, n = 0, used;

	if (id < 0 || (uint32_t)id >= t->n_vocab || s->n_held >= sizeof(s->held))
		return -EINVAL;
	if (tokenizer_is_special(t, id))
		return 0;
	p = (const uint8_t *)t->token[id].bytes;
	len = t->token[id].n_bytes;
	while (s->n_held && i < len)
		n += feed_held(s, p[i++], out + n);
	n += copy_valid(p + i, len - i, out + n, &used);
	/* What is left is an incomplete sequence of at most three bytes; nothing was held before. */
	if (i + used < len) {
		s->n_held = len - i - used;
		memcpy(s->held, p + i + used, s->n_held);
	}
	return n;
}

size_t tokenizer_decode_flush(struct tokenizer_stream *s, char *out)
{
	if (!s->n_held)
		return 0;
	s->n_held = 0;
	memcpy(out, replacement, REPLACEMENT_LEN);
	return REPLACEMENT_LEN;
}
