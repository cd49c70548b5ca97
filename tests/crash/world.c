// SPDX-License-Identifier: MIT
/* world.c: memory that the tracer and its clients share at the same address. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "crash.h"

#define WORLD_BYTES	(1u << 20)
#define PAGE		4096ul

struct world *world;
static unsigned char *seen;	/* the ring as it was at the last look */

void world_map(void)
{
	world = mmap(NULL, WORLD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	seen = malloc(WORLD_BYTES);
	if (world == MAP_FAILED || !seen) {
		perror("crash: no memory");
		exit(2);
	}
}

static void *take(size_t bytes, size_t align)
{
	size_t at = (world->next + align - 1) & ~(align - 1);

	if (at + bytes > WORLD_BYTES) {
		fprintf(stderr, "crash: the world is full: WORLD_BYTES is too small\n");
		exit(2);
	}
	world->next = at + bytes;
	return memset((char *)world + at, 0, bytes);
}

/* The size stands before it, for realloc(). */
void *world_calloc(size_t n, size_t size)
{
	size_t *p = take(n * size + 16, 16);

	p[0] = n * size;
	return p + 2;
}

void *world_realloc(void *p, size_t size)
{
	void *more = world_calloc(1, size);

	return p ? memcpy(more, p, ((size_t *)p)[-2]) : more;
}

void *world_pages(size_t bytes)
{
	return take(bytes, PAGE);
}

u64 world_clock(void)
{
	return world->clock;
}

void world_reset(void)
{
	memset(world, 0, sizeof(*world));
	world->next = sizeof(*world);
	world->clock = 1000000000;
}

/* As sluice_attach() does it, with a module that is a function call. */
int world_attach(struct client *c, enum sluice_role role, uint32_t flags)
{
	struct reaper_endpoint told;
	int ret = reaper_attach(world->reaper, role, flags, &told);
	struct sluice_ep *ep = &c->ep;

	if (ret)
		return ret;
	memset(c, 0, sizeof(*c));
	c->used = true;
	ep->ctx = &c->ctx;
	ep->role = role;
	ep->id = told.id;
	ep->fd = (int)(c - world->client) + 1000;
	ep->sole = flags & SLUICE_ATTACH_SOLE;
	strcpy(ep->name, "crash");
	__sluice_ep_layout(ep, world->memory.hints, world->memory.control, world->memory.payload,
			   told.index);
	ep->ticket = told.tail & ticket_mask(ep->order);
	if (role == SLUICE_CONSUMER)
		ep->ticket = ticket_add(ep->ticket, -(long long)ep->nslots, ep->order);
	ep->high = ep->ticket;
	ep->buffer_hint = ep->nbufs - 1;
	ep->generation = world->memory.hints->generation;
	ep->recipient = told.recipient;
	ep->start = told.start;
	ep->early = true;
	/* Those who were there before look when all of them are, see begin(). */
	if (world->broadcast || (world->policy && c >= world->rest))
		__sluice_members_changed(ep);
	return 0;
}

void world_save(struct copy *copy)
{
	if (!copy->bytes)
		copy->bytes = malloc(WORLD_BYTES);
	if (!copy->bytes) {
		perror("crash: no memory");
		exit(2);
	}
	copy->used = world->next;
	memcpy(copy->bytes, world, copy->used);
}

void world_restore(const struct copy *copy)
{
	memcpy(world, copy->bytes, copy->used);
}

/* ------------------------------------------------------------------- ring --- */

struct range {
	const void	*at;
	size_t		bytes;
};

/* Where an endpoint's user space may write. */
static u32 ring_ranges(struct range *range)
{
	const struct sluice_hints *h = world->memory.hints;
	char *control = world->memory.control, *payload = world->memory.payload;
	u32 n = 0, i;

	range[n++] = (struct range) { control, 8 };
	range[n++] = (struct range) { control + offsetof(struct sluice_control, endpoint),
				      8 * sizeof(struct sluice_counters) };
	range[n++] = (struct range) { control + h->slots_offset,
				      NSLOTS * sizeof(struct sluice_slot) };
	for (i = 0; i < NBUFS; i++) {
		range[n++] = (struct range) { control + h->buffers_offset +
					      i * SLUICE_BUFFER_STRIDE, 8 };
		range[n++] = (struct range) { payload + (size_t)i * BUFSIZE, COPIED_BYTES };
	}
	return n;
}

bool ring_changed(void)
{
	struct range range[3 + 2 * NBUFS];
	u32 i, n = ring_ranges(range);
	unsigned char *old = seen;
	bool changed = false;

	for (i = 0; i < n; old += range[i++].bytes) {
		if (!memcmp(old, range[i].at, range[i].bytes))
			continue;
		memcpy(old, range[i].at, range[i].bytes);
		changed = true;
	}
	return changed;
}

static uint64_t hash_more(uint64_t h, const void *p, size_t bytes)
{
	const uint64_t *w = p;

	for (; bytes >= 8; bytes -= 8)
		h = (h ^ *w++) * 0x9e3779b97f4a7c15ull, h ^= h >> 29;
	return h;
}

/* Of what the protocol looks at: not of times and counters, which differ between runs. */
uint64_t ring_hash(void)
{
	const struct sluice_ep *ep = &world->client[FIRST].ep;
	struct range range[3 + 2 * NBUFS];
	u32 i, n = ring_ranges(range);
	uint64_t h = hash_more(1, range[0].at, 8);

	for (i = 0; i < NSLOTS; i++) {
		const struct sluice_slot *slot = &ep->slots[i];

		h = hash_more(h, slot, offsetof(struct sluice_slot, time));
		h = hash_more(h, &slot->len, sizeof(*slot) - offsetof(struct sluice_slot, len));
	}
	for (i = 3; i < n; i++)
		h = hash_more(h, range[i].at, range[i].bytes);
	return h;
}
