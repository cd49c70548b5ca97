// SPDX-License-Identifier: MIT
/* streams.c - a hash table with chains, and two lists in the order of touching */

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "streams.h"

#define NONE	UINT32_MAX
#define NS_PER_MS	1000000u
#define UNKNOWN_MS	1000u		/* of streams_retry_ms() */
#define LASTED_SHARE	8		/* weight of one stream in the average: 1/8 */

/*
 * Entries [max] and [max + 1] are the heads of the circular lists of the ended and the live.
 * @lasted_ns: how long streams last on average, 0 = none has ended
 */
struct streams {
	uint32_t	max;
	uint32_t	used;
	uint32_t	live;
	uint32_t	mask;
	uint64_t	lasted_ns;
	uint32_t	*bucket;
	struct stream	*entry;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint32_t list_head(const struct streams *t, bool live)
{
	return t->max + live;
}

static void list_remove(struct streams *t, uint32_t i)
{
	struct stream *e = t->entry;

	e[e[i].newer].older = e[i].older;
	e[e[i].older].newer = e[i].newer;
}

/* as the newest: a head's @older is the newest entry, its @newer the oldest */
static void list_add(struct streams *t, uint32_t i, bool live)
{
	struct stream *e = t->entry;
	uint32_t head = list_head(t, live);

	e[i].newer = head;
	e[i].older = e[head].older;
	e[e[head].older].newer = i;
	e[head].older = i;
}

int streams_create(uint32_t max, struct streams **out)
{
	struct streams *t = calloc(1, sizeof(*t));
	uint32_t buckets = 16;

	*out = NULL;
	if (!t || !max || max > 1u << 24) {
		free(t);
		return t ? -EINVAL : -ENOMEM;
	}
	while (buckets < max)
		buckets *= 2;
	t->max = max;
	t->mask = buckets - 1;
	t->bucket = malloc(buckets * sizeof(*t->bucket));
	t->entry = calloc((size_t)max + 2, sizeof(*t->entry));
	if (!t->bucket || !t->entry) {
		streams_free(t);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < buckets; i++)
		t->bucket[i] = NONE;
	for (uint32_t i = max; i < max + 2; i++)
		t->entry[i].newer = t->entry[i].older = i;
	*out = t;
	return 0;
}

void streams_free(struct streams *t)
{
	if (!t)
		return;
	free(t->bucket);
	free(t->entry);
	free(t);
}

/* Ids are random, but a hostile client chooses its own: mix all bits in. */
static uint32_t *bucket_of(struct streams *t, uint64_t id)
{
	id *= 0x9e3779b97f4a7c15ull;
	return &t->bucket[(id >> 32) & t->mask];
}

static void touch(struct streams *t, uint32_t i)
{
	list_remove(t, i);
	list_add(t, i, t->entry[i].live);
	t->entry[i].seen_ns = now_ns();
}

static uint32_t lookup(struct streams *t, uint64_t id)
{
	uint32_t i = *bucket_of(t, id);

	while (i != NONE && t->entry[i].id != id)
		i = t->entry[i].chain;
	return i;
}

struct stream *streams_find(struct streams *t, uint64_t id)
{
	uint32_t i = lookup(t, id);

	if (i == NONE)
		return NULL;
	touch(t, i);
	return &t->entry[i];
}

static uint32_t evict(struct streams *t)
{
	uint32_t i = t->entry[list_head(t, false)].newer, *link;

	if (i == list_head(t, false))
		i = t->entry[list_head(t, true)].newer;
	link = bucket_of(t, t->entry[i].id);
	while (*link != i)
		link = &t->entry[*link].chain;
	*link = t->entry[i].chain;
	list_remove(t, i);
	t->live -= t->entry[i].live;
	return i;
}

struct stream *streams_get(struct streams *t, uint64_t id)
{
	struct stream *s = streams_find(t, id);
	uint32_t i, *bucket;

	if (s)
		return s;
	i = t->used < t->max ? t->used++ : evict(t);
	bucket = bucket_of(t, id);
	t->entry[i] = (struct stream){
		.id = id, .live = true, .seen_ns = now_ns(), .chain = *bucket,
	};
	t->entry[i].began_ns = t->entry[i].seen_ns;
	*bucket = i;
	list_add(t, i, true);
	t->live++;
	return &t->entry[i];
}

static void end_entry(struct streams *t, uint32_t i)
{
	if (!t->entry[i].live)
		return;
	list_remove(t, i);
	t->entry[i].live = false;
	list_add(t, i, false);
	t->live--;
}

/* One that was cut short because nobody touched it says nothing of how long they last. */
static void learn(struct streams *t, const struct stream *s)
{
	uint64_t lasted = s->seen_ns - s->began_ns;

	if (!s->live || !lasted)
		return;
	t->lasted_ns = t->lasted_ns ? t->lasted_ns - t->lasted_ns / LASTED_SHARE +
				      lasted / LASTED_SHARE : lasted;
}

void streams_end(struct streams *t, uint64_t id)
{
	struct stream *s = streams_get(t, id);

	learn(t, s);
	end_entry(t, (uint32_t)(s - t->entry));
}

uint32_t streams_retry_ms(const struct streams *t)
{
	uint64_t now = now_ns(), oldest = now, age, rest, ms;
	uint32_t head = list_head(t, true), i;

	if (!t->lasted_ns || !t->live)
		return t->live ? UNKNOWN_MS : 1;
	for (i = t->entry[head].newer; i != head; i = t->entry[i].newer)
		if (t->entry[i].began_ns < oldest)
			oldest = t->entry[i].began_ns;
	age = now - oldest;
	rest = t->lasted_ns / t->live;
	if (t->lasted_ns > age && t->lasted_ns - age > rest)
		rest = t->lasted_ns - age;
	ms = rest / NS_PER_MS;
	return ms > UINT32_MAX ? UINT32_MAX : ms ? (uint32_t)ms : 1;
}

uint32_t streams_live(struct streams *t, uint64_t idle_ns)
{
	uint32_t head = list_head(t, true), i;
	uint64_t now = now_ns();

	while ((i = t->entry[head].newer) != head && now - t->entry[i].seen_ns > idle_ns)
		end_entry(t, i);
	return t->live;
}
