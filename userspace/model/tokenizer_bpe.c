// SPDX-License-Identifier: MIT
/*
 * tokenizer_bpe.c - byte-pair merging of one piece of text
 *
 * The neighbours with the lowest rank are merged until none are left that may be; of equal ranks
 * the leftmost goes first. Symbols form a linked list, candidate pairs a heap; a pair in the heap
 * that no longer matches the list is skipped. So n bytes take O(n log n), however long a word is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer_pvt.h"

struct bpe_symbol {
	int32_t id;	/* -1: merged into the one before */
	int32_t prev;	/* index, -1 at the ends */
	int32_t next;
};

struct bpe_pair {
	int32_t rank;
	int32_t pos;	/* index of the left symbol */
	int32_t id;	/* what the pair becomes */
	int32_t left;	/* ids that it was made of */
	int32_t right;
};

static const struct merge *merge_find(const struct tokenizer *t, int32_t left, int32_t right)
{
	uint64_t pair = (uint64_t)left << 32 | (uint32_t)right;
	uint32_t i = merge_slot(pair);

	for (;; i++) {
		const struct merge *m = &t->merge[i & t->merge_mask];

		if (m->rank < 0)
			return NULL;
		if (m->pair == pair)
			return m;
	}
}

static bool goes_first(const struct bpe_pair *a, const struct bpe_pair *b)
{
	return a->rank != b->rank ? a->rank < b->rank : a->pos < b->pos;
}

static void heap_push(struct bpe_pair *heap, size_t *n, struct bpe_pair p)
{
	size_t i = (*n)++;

	while (i && goes_first(&p, &heap[(i - 1) / 2])) {
		heap[i] = heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	heap[i] = p;
}

static struct bpe_pair heap_pop(struct bpe_pair *heap, size_t *n)
{
	struct bpe_pair top = heap[0], p = heap[--*n];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= *n)
			break;
		if (child + 1 < *n && goes_first(&heap[child + 1], &heap[child]))
			child++;
		if (!goes_first(&heap[child], &p))
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = p;
	return top;
}

/* Put the pair at @pos and its successor into the heap, if they may be merged. */
static void offer(struct encoder *e, size_t *n_heap, int32_t pos)
{
	const struct bpe_symbol *s = e->symbol;
	const struct merge *m;

	if (pos < 0 || s[pos].next < 0)
		return;
	m = merge_find(e->t, s[pos].id, s[s[pos].next].id);
	if (m)
		heap_push(e->heap, n_heap, (struct bpe_pair){ m->rank, pos, m->id, s[pos].id,
							      s[s[pos].next].id });
}

static void merge_all(struct encoder *e, size_t *n_heap)
{
	struct bpe_symbol *s = e->symbol;

	while (*n_heap) {
		struct bpe_pair p = heap_pop(e->heap, n_heap);
		int32_t right = s[p.pos].id < 0 ? -1 : s[p.pos].next;

		/* Changed since it was offered? */
		if (s[p.pos].id != p.left || right < 0 || s[right].id != p.right)
			continue;
		s[p.pos].id = p.id;
		s[p.pos].next = s[right].next;
		if (s[right].next >= 0)
			s[s[right].next].prev = p.pos;
		s[right].id = -1;
		offer(e, n_heap, s[p.pos].prev);
		offer(e, n_heap, p.pos);
	}
}

/* Room for a piece of @len bytes: each merge offers two new pairs and removes a symbol. */
static int reserve(struct encoder *e, size_t len)
{
	size_t max = e->max_symbols ? e->max_symbols : 256;

	if (len <= e->max_symbols)
		return 0;
	while (max < len)
		max *= 2;
	free(e->symbol);
	free(e->heap);
	e->max_symbols = 0;
	e->symbol = malloc(max * sizeof(*e->symbol));
	e->heap = malloc(3 * max * sizeof(*e->heap));
	if (!e->symbol || !e->heap)
		return -ENOMEM;
	e->max_symbols = max;
	return 0;
}

int encode_piece(struct encoder *e, const uint8_t *text, size_t len)
{
	size_t n_heap = 0;
	int32_t n = 0;
	int32_t whole = -1;
	int ret;

	if (e->t->pre->whole_words)
		whole = token_by_bytes(e->t, (const char *)text, len);
	if (whole >= 0)
		return id_push(&e->out, whole);
	ret = reserve(e, len);
	if (ret)
		return ret;
	for (size_t i = 0; i < len; i++) {
		int32_t id = e->t->byte_id[text[i]];

		if (id < 0)
			continue;	/* the vocabulary cannot say this byte */
		e->symbol[n] = (struct bpe_symbol){ id, n - 1, n + 1 };
		n++;
	}
	if (!n)
		return 0;
	e->symbol[n - 1].next = -1;
	for (int32_t i = 0; i < n; i++)
		offer(e, &n_heap, i);
	merge_all(e, &n_heap);
	for (int32_t i = 0; i >= 0 && !ret; i = e->symbol[i].next)
		ret = id_push(&e->out, e->symbol[i].id);
	return ret;
}
