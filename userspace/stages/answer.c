// SPDX-License-Identifier: MIT
/* answer.c - detokenising with stop strings */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"

struct answer {
	const struct tokenizer	*tokenizer;
	char			*text;
	size_t			size;
};

int answer_create(const struct tokenizer *t, struct answer **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	(*out)->tokenizer = t;
	return 0;
}

void answer_free(struct answer *a)
{
	if (!a)
		return;
	free(a->text);
	free(a);
}

static int reserve(struct answer *a, size_t size)
{
	char *p;

	if (size <= a->size)
		return 0;
	p = realloc(a->text, 2 * size);
	if (!p)
		return -ENOMEM;
	a->text = p;
	a->size = 2 * size;
	return 0;
}

/* Decode @n tokens; *before is the length without the last one. */
static ssize_t decode(struct answer *a, const int32_t *ids, uint32_t n, bool flush, bool end,
		      size_t *before)
{
	size_t bound = tokenizer_stream_bound(a->tokenizer), len = 0;
	struct tokenizer_stream s = { .n_held = 0 };
	ssize_t add;

	*before = 0;
	for (uint32_t i = 0; i < n; i++) {
		*before = len;
		if (reserve(a, len + 2 * bound))
			return -ENOMEM;
		if (end && i == n - 1)
			break;
		add = tokenizer_decode_stream(a->tokenizer, &s, ids[i], a->text + len);
		if (add < 0)
			return add;
		len += (size_t)add;
	}
	if (flush)
		len += tokenizer_decode_flush(&s, a->text + len);
	return (ssize_t)len;
}

/* Where the earliest stop string in text[0..len) begins, or @len. */
static size_t find_stop(const struct msg_view *v, const char *text, size_t len)
{
	size_t first = len;

	for (uint32_t i = 0; i < v->head.n_stops; i++) {
		const char *stop = msg_stop(v, i);
		const char *hit = memmem(text, len, stop, strlen(stop));

		if (hit && (size_t)(hit - text) < first)
			first = (size_t)(hit - text);
	}
	return first;
}

/* How much of text[0..len) cannot become part of a stop string any more. */
static size_t settled(const struct msg_view *v, const char *text, size_t len)
{
	size_t first = len > MSG_MAX_STOP ? len - MSG_MAX_STOP : 0;

	for (size_t p = first; p < len && v->head.n_stops; p++) {
		for (uint32_t i = 0; i < v->head.n_stops; i++) {
			const char *stop = msg_stop(v, i);

			if (len - p < strlen(stop) && !memcmp(text + p, stop, len - p))
				return p;
		}
	}
	return len;
}

int answer_next(struct answer *a, const struct msg_view *v, const int32_t *ids, uint32_t n,
		bool last, bool end, const char **text, size_t *len)
{
	size_t before, from, to, stop;
	ssize_t total = decode(a, ids, n, last || end, end, &before);

	if (total < 0)
		return (int)total;
	from = settled(v, a->text, before);
	stop = find_stop(v, a->text, (size_t)total);
	to = stop < (size_t)total ? stop :
	     last || end ? (size_t)total : settled(v, a->text, (size_t)total);
	*text = a->text + from;
	*len = to > from ? to - from : 0;
	return stop < (size_t)total;
}
