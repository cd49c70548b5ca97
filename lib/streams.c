// SPDX-License-Identifier: MIT
/* streams.c: which streams a process knows: a hash table, two lists in the order of touching. */
#include <stdlib.h>

#include "streams.h"

#define NONE		UINT32_MAX
#define STREAMS_MAX	(1u << 24)
#define NS_PER_MS	1000000u
#define UNKNOWN_MS	1000u		/* of sluice_streams_retry_ms() */
#define LASTED_SHARE	8		/* weight of one stream in the average: 1/8 */

/*
 * Entries [max] and [max + 1] are the heads of the circular lists of the ended and the live.
 * @lasted: how long streams last on average, in ticks, 0 = none has ended
 */
struct sluice_streams {
	uint32_t	max;
	uint32_t	used;
	uint32_t	live;
	uint32_t	mask;
	uint64_t	lasted;
	uint32_t	*bucket;
	struct sluice_stream *entry;
};

static uint32_t list_head(const struct sluice_streams *t, bool live)
{
	return t->max + live;
}

static void list_remove(struct sluice_streams *t, uint32_t i)
{
	struct sluice_stream *e = t->entry;

	e[e[i].newer].older = e[i].older;
	e[e[i].older].newer = e[i].newer;
}

/* as the newest: a head's @older is the newest entry, its @newer the oldest */
static void list_add(struct sluice_streams *t, uint32_t i, bool live)
{
	struct sluice_stream *e = t->entry;
	uint32_t head = list_head(t, live);

	e[i].newer = head;
	e[i].older = e[head].older;
	e[e[head].older].newer = i;
	e[head].older = i;
}

int sluice_streams_create(uint32_t max, struct sluice_streams **out)
{
	struct sluice_streams *t = calloc(1, sizeof(*t));
	uint32_t buckets = 16;

	*out = NULL;
	if (!t || !max || max > STREAMS_MAX) {
		free(t);
		return __sluice_err(t ? -EINVAL : -ENOMEM,
				    "a table of streams has 1 to %u, not %u", STREAMS_MAX, max);
	}
	while (buckets < max)
		buckets *= 2;
	t->max = max;
	t->mask = buckets - 1;
	t->bucket = malloc(buckets * sizeof(*t->bucket));
	t->entry = calloc((size_t)max + 2, sizeof(*t->entry));
	if (!t->bucket || !t->entry) {
		sluice_streams_free(t);
		return __sluice_err(-ENOMEM, "no memory for %u streams", max);
	}
	for (uint32_t i = 0; i < buckets; i++)
		t->bucket[i] = NONE;
	for (uint32_t i = max; i < max + 2; i++)
		t->entry[i].newer = t->entry[i].older = i;
	*out = t;
	return 0;
}

void sluice_streams_free(struct sluice_streams *t)
{
	if (!t)
		return;
	free(t->bucket);
	free(t->entry);
	free(t);
}

/* Ids are random, but a hostile client chooses its own: mix all bits in. */
static uint32_t *bucket_of(struct sluice_streams *t, uint64_t id)
{
	id *= 0x9e3779b97f4a7c15ull;
	return &t->bucket[(id >> 32) & t->mask];
}

static void touch(struct sluice_streams *t, uint32_t i)
{
	if (t->entry[list_head(t, t->entry[i].live)].older != i) {
		list_remove(t, i);
		list_add(t, i, t->entry[i].live);
	}
	t->entry[i].seen = sluice_ticks();
}

static uint32_t lookup(struct sluice_streams *t, uint64_t id)
{
	uint32_t i = *bucket_of(t, id);

	while (i != NONE && t->entry[i].id != id)
		i = t->entry[i].chain;
	return i;
}

struct sluice_stream *sluice_streams_find(struct sluice_streams *t, uint64_t id)
{
	uint32_t i = lookup(t, id);

	if (i == NONE)
		return NULL;
	touch(t, i);
	return &t->entry[i];
}

static void forget(struct sluice_streams *t, uint32_t i)
{
	uint32_t *link = bucket_of(t, t->entry[i].id);

	while (*link != i)
		link = &t->entry[*link].chain;
	*link = t->entry[i].chain;
	list_remove(t, i);
	t->live -= t->entry[i].live;
}

/* The entry that was not touched for longest: an ended one if there is any. */
static uint32_t evict(struct sluice_streams *t)
{
	uint32_t i = t->entry[list_head(t, false)].newer;

	if (i == list_head(t, false))
		i = t->entry[list_head(t, true)].newer;
	forget(t, i);
	return i;
}

static struct sluice_stream *insert(struct sluice_streams *t, uint32_t i, uint64_t id, bool live)
{
	uint32_t *bucket = bucket_of(t, id);

	t->entry[i] = (struct sluice_stream){
		.id = id, .live = live, .seen = sluice_ticks(), .chain = *bucket,
	};
	t->entry[i].began = t->entry[i].seen;
	*bucket = i;
	list_add(t, i, live);
	t->live += live;
	return &t->entry[i];
}

struct sluice_stream *sluice_streams_get(struct sluice_streams *t, uint64_t id)
{
	struct sluice_stream *s = sluice_streams_find(t, id);

	if (s)
		return s;
	return insert(t, t->used < t->max ? t->used++ : evict(t), id, true);
}

struct sluice_stream *__sluice_streams_add(struct sluice_streams *t, u64 id, bool live,
					   u64 keep_ticks)
{
	uint32_t oldest = t->entry[list_head(t, false)].newer;

	if (t->used < t->max)
		return insert(t, t->used++, id, live);
	if (oldest == list_head(t, false) ||
	    sluice_ticks() - t->entry[oldest].seen < keep_ticks)
		return NULL;
	forget(t, oldest);
	return insert(t, oldest, id, live);
}

static void list_as(struct sluice_streams *t, uint32_t i, bool live)
{
	list_remove(t, i);
	t->live -= t->entry[i].live;
	t->entry[i].live = live;
	t->live += live;
	list_add(t, i, live);
}

void __sluice_streams_live(struct sluice_streams *t, struct sluice_stream *s)
{
	list_as(t, (uint32_t)(s - t->entry), true);
}

u32 __sluice_streams_index(const struct sluice_streams *t, const struct sluice_stream *s)
{
	return (u32)(s - t->entry);
}

u32 __sluice_streams_count(const struct sluice_streams *t)
{
	return t->live;
}

static void end_entry(struct sluice_streams *t, uint32_t i)
{
	if (t->entry[i].live)
		list_as(t, i, false);
}

/* One that was cut short because nobody touched it says nothing of how long they last. */
static void learn(struct sluice_streams *t, const struct sluice_stream *s)
{
	uint64_t lasted = s->seen - s->began;

	if (!s->live || !lasted)
		return;
	t->lasted = t->lasted ? t->lasted - t->lasted / LASTED_SHARE + lasted / LASTED_SHARE :
		    lasted;
}

uint32_t sluice_streams_retry_ms(const struct sluice_streams *t)
{
	uint64_t now = sluice_ticks(), oldest = now, age, rest, ms;
	uint32_t head = list_head(t, true), i;

	if (!t->lasted || !t->live)
		return t->live ? UNKNOWN_MS : 1;
	for (i = t->entry[head].newer; i != head; i = t->entry[i].newer)
		if (t->entry[i].began < oldest)
			oldest = t->entry[i].began;
	age = now - oldest;
	rest = t->lasted / t->live;
	if (t->lasted > age && t->lasted - age > rest)
		rest = t->lasted - age;
	ms = sluice_ticks_to_ns(rest) / NS_PER_MS;
	return ms > UINT32_MAX ? UINT32_MAX : ms ? (uint32_t)ms : 1;
}

void sluice_streams_end(struct sluice_streams *t, uint64_t id)
{
	struct sluice_stream *s = sluice_streams_get(t, id);

	learn(t, s);
	end_entry(t, (uint32_t)(s - t->entry));
}

uint32_t sluice_streams_live(struct sluice_streams *t, uint64_t idle_ns)
{
	uint32_t head = list_head(t, true), i;
	uint64_t now = sluice_ticks();

	while ((i = t->entry[head].newer) != head &&
	       sluice_ticks_to_ns(now - t->entry[i].seen) > idle_ns)
		end_entry(t, i);
	return t->live;
}
