// SPDX-License-Identifier: MIT
/* once.c - a hash table with chains over a ring of entries, the oldest of which makes room */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "once.h"

#define NONE	UINT32_MAX
#define BUCKETS	(2 * ONCE_MAX)		/* a power of two */

struct entry {
	uint64_t	stream;
	uint64_t	counter;
	uint16_t	kind;
	uint32_t	chain;		/* next entry of the bucket */
};

struct once {
	uint32_t	bucket[BUCKETS];
	struct entry	entry[ONCE_MAX];
	uint32_t	next;		/* entry that is written next */
	uint32_t	used;
};

int once_create(struct once **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	for (uint32_t i = 0; i < BUCKETS; i++)
		(*out)->bucket[i] = NONE;
	return 0;
}

void once_free(struct once *o)
{
	free(o);
}

static uint32_t bucket_of(uint64_t stream, uint64_t counter, uint16_t kind)
{
	uint64_t h = (stream ^ kind) * 0x9e3779b97f4a7c15ull + counter;

	return (uint32_t)((h * 0xff51afd7ed558ccdull) >> 40) & (BUCKETS - 1);
}

bool once_seen(const struct once *o, const struct sluice_msg *msg)
{
	uint32_t i = o->bucket[bucket_of(msg->stream, msg->counter, msg->kind)];

	while (i != NONE && (o->entry[i].stream != msg->stream ||
			     o->entry[i].counter != msg->counter || o->entry[i].kind != msg->kind))
		i = o->entry[i].chain;
	return i != NONE;
}

static void forget(struct once *o, uint32_t i)
{
	const struct entry *e = &o->entry[i];
	uint32_t *link = &o->bucket[bucket_of(e->stream, e->counter, e->kind)];

	while (*link != i)
		link = &o->entry[*link].chain;
	*link = e->chain;
}

void once_add(struct once *o, const struct sluice_msg *msg)
{
	uint32_t i = o->next, *bucket = &o->bucket[bucket_of(msg->stream, msg->counter, msg->kind)];

	if (!msg->stream || once_seen(o, msg))
		return;
	if (o->used == ONCE_MAX)
		forget(o, i);
	else
		o->used++;
	o->entry[i] = (struct entry){
		.stream = msg->stream, .counter = msg->counter, .kind = msg->kind,
		.chain = *bucket,
	};
	*bucket = i;
	o->next = (i + 1) % ONCE_MAX;
}
