// SPDX-License-Identifier: MIT
/*
 * reaper.c: what surrounds the module's recovery: memory, endpoints, and the parts of stage.c,
 * endpoint.c and wait.c that are about nodes, mappings and sleepers in a kernel.
 */
#include <sys/mman.h>

#include "kernel_in_user.h"
#include <internal.h>

#include "reaper.h"

struct workqueue_struct *sl_workqueue;
void (*reaper_evict)(struct reaper *r, uint32_t id);

struct reaper {
	struct sl_stage	stage;
	struct reaper	*dead;
	struct page	*pages;
	size_t		control_bytes, payload_bytes;
	void		*control, *payload;
};

/* ---------------------------------------------------------------- arrays --- */

void *xa_load(struct xarray *xa, unsigned long index)
{
	return index < xa->size ? xa->entry[index] : NULL;
}

void *xa_store(struct xarray *xa, unsigned long index, void *entry, int unused)
{
	void **more;

	if (index >= xa->size) {
		more = realloc(xa->entry, (index + 64) * sizeof(*more));
		if (!more)
			return (void *)-1;
		memset(more + xa->size, 0, (index + 64 - xa->size) * sizeof(*more));
		xa->entry = more;
		xa->size = index + 64;
	}
	xa->entry[index] = entry;
	return NULL;
}

void *xa_find(struct xarray *xa, unsigned long *index, unsigned long max_index, int unused)
{
	for (; *index < xa->size && *index <= max_index; (*index)++)
		if (xa->entry[*index])
			return xa->entry[*index];
	return NULL;
}

void xa_destroy(struct xarray *xa)
{
	free(xa->entry);
	memset(xa, 0, sizeof(*xa));
}

/* --------------------------------------- region.c: pages, all there, side by side --- */

void *sl_region_peek(struct sl_region *region, unsigned long index)
{
	struct page *page = index < region->npages ? xa_load(&region->pages, index) : NULL;

	return page ? page_address(page) : NULL;
}

void *sl_region_get(struct sl_region *region, unsigned long index)
{
	return sl_region_peek(region, index);
}

int sl_region_write(struct sl_region *region, u64 to, const void *from, size_t len)
{
	memcpy((char *)sl_region_peek(region, 0) + to, from, len);
	return 0;
}

int sl_region_copy(struct sl_region *dst, u64 to, struct sl_region *src, u64 from, size_t len)
{
	return sl_region_write(dst, to, (char *)sl_region_peek(src, 0) + from, len);
}

/* ---------------------------------------- stage.c: where things are in memory --- */

struct sluice_slot *sl_slot(struct sl_stage *s, u32 index)
{
	u64 at = s->slots_offset + (u64)index * sizeof(struct sluice_slot);
	char *page = sl_region_peek(&s->control, at >> PAGE_SHIFT);

	return page ? (void *)(page + offset_in_page(at)) : NULL;
}

u64 sl_slot_word(struct sl_stage *s, u32 index)
{
	struct sluice_slot *slot = sl_slot(s, index);

	return slot ? READ_ONCE(slot->word) : slot_free(0);
}

u64 *sl_buffer_word(struct sl_stage *s, u32 index, bool make)
{
	u64 at = s->buffers_offset + (u64)index * SLUICE_BUFFER_STRIDE;
	char *page = sl_region_peek(&s->control, at >> PAGE_SHIFT);

	return page ? (void *)(page + offset_in_page(at)) : NULL;
}

struct sluice_control *sl_control(struct sl_stage *s)
{
	return sl_region_peek(&s->control, 0);
}

struct sluice_counters *sl_endpoint_counters(struct sl_stage *s, u32 index)
{
	/* the pages are one after the other here */
	return &sl_control(s)->endpoint[index];
}

struct sl_shadow *sl_shadow(struct sl_stage *s, u32 index, u64 lap)
{
	struct sl_shadow *sh = xa_load(&s->shadow, index);

	if (!sh) {
		sh = calloc(1, sizeof(*sh));
		if (!sh || xa_store(&s->shadow, index, sh, 0))
			abort();
	}
	if (sh->lap != lap || !sh->seen) {
		memset(sh, 0, sizeof(*sh));
		sh->lap = lap;
		sh->seen = sh->since = sh->claimed = ktime_get_ns();
	}
	return sh;
}

/* ------------------------------------------ endpoint.c, wait.c, queue.c --- */

bool sl_endpoint_alive(struct sl_stage *s, u32 id)
{
	struct sl_endpoint *ep = xa_load(&s->endpoints, id);

	return ep && !ep->dead;
}

static void count_members(struct sl_stage *s, u32 role, int n)
{
	if (role == SLUICE_PRODUCER)
		s->producers += n;
	else
		s->consumers += n;
	s->hints->producers = s->producers;
	if (role == SLUICE_CONSUMER)
		sl_policy_members(s);
}

void sl_endpoint_die(struct sl_endpoint *ep)
{
	struct sl_stage *s = ep->stage;

	if (ep->dead)
		return;
	ep->dead = true;
	count_members(s, ep->role, -1);
	s->indices[ep->index / 64] &= ~(1ul << ep->index % 64);
	s->counts.deaths++;
	sl_broadcast_leave(ep);
	sl_reap(s, ep->id, s->sole == ep);
	if (s->sole == ep)
		s->sole = NULL;
}

void sl_endpoint_evict(struct sl_endpoint *ep)
{
	reaper_evict(container_of(ep->stage, struct reaper, stage), ep->id);
	sl_endpoint_die(ep);
}

void sl_generation(struct sl_stage *s)
{
	smp_wmb();	/* the words before the generation */
	WRITE_ONCE(s->hints->generation, s->hints->generation + 1);
}

/* Nobody sleeps in this kernel, and nothing is sent through it. */
void sl_kick(struct sl_stage *s, u32 what)
{
}

void sl_wake(struct sl_stage *s, u32 what, int result)
{
}

bool sl_all_parked(struct sl_stage *s)
{
	return false;
}

bool sl_parked_commands(struct sl_stage *s)
{
	return false;
}

void sl_wake_expired(struct sl_stage *s)
{
}

void sl_queue_pump(struct sl_stage *s)
{
}

void sl_queue_check(struct sl_stage *s)
{
}

void sl_queue_dead(struct sl_stage *s, u64 ticket, int reason)
{
}

void sl_queue_lost(struct sl_stage *s, u32 index)
{
}

void sl_queue_missed(struct sl_stage *s, u32 index, u64 word)
{
}

void sl_send_leavers(struct sl_stage *s)
{
}

void sl_turn_tick(struct sl_stage *s)
{
}

/* ---------------------------------------------------------------- stages --- */

static void *shared(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void region_init(struct sl_region *region, char *memory, size_t bytes, struct page *pages)
{
	size_t i;

	region->npages = bytes >> PAGE_SHIFT;
	for (i = 0; i < bytes >> PAGE_SHIFT; i++) {
		pages[i].address = memory + (i << PAGE_SHIFT);
		if (xa_store(&region->pages, i, &pages[i], 0))
			abort();
	}
}

static void geometry(struct sl_stage *s, const struct sluice_create *c)
{
	snprintf(s->name, sizeof(s->name), "%s", c->name);
	s->nslots = c->nslots;
	s->order = (u32)__builtin_ctz(c->nslots);
	s->nbufs = c->nbufs;
	s->bufsize = c->nbufs ? (u32)PAGE_ALIGN(c->bufsize) : 0;
	s->flags = c->flags;
	s->policy = c->policy;
	s->max_attempts = c->max_attempts ?: 5;
	s->dead_slots = c->dead_slots;
	s->ack_timeout_ns = (c->ack_timeout_ms ?: 30000) * NSEC_PER_MSEC;
	s->max_hold_ns = c->max_hold_ms ? c->max_hold_ms * NSEC_PER_MSEC : 10 * s->ack_timeout_ns;
	s->write_timeout_ns = (c->write_timeout_ms ?: 1000) * NSEC_PER_MSEC;
	s->buffers_offset = (u32)PAGE_ALIGN(sizeof(struct sluice_control));
	s->slots_offset = (u32)PAGE_ALIGN(s->buffers_offset + (u64)s->nbufs * SLUICE_BUFFER_STRIDE);
}

static void hints_init(struct sl_stage *s)
{
	struct sluice_hints *h = s->hints;

	h->abi_version = SLUICE_ABI_VERSION;
	h->nslots = s->nslots;
	h->nbufs = s->nbufs;
	h->bufsize = s->bufsize;
	h->max_attempts = s->max_attempts;
	h->ack_timeout_ms = (u32)(s->ack_timeout_ns / NSEC_PER_MSEC);
	h->buffers_offset = s->buffers_offset;
	h->slots_offset = s->slots_offset;
	h->policy = s->policy;
	h->generation = 1;
}

/* As if all tickets before @first had been used. */
static void first_ticket(struct sl_stage *s, u64 first)
{
	u32 i;

	for (i = 0; i < s->nslots; i++) {
		u64 t = ticket_add(first, i, s->order);

		sl_slot(s, ticket_index(t, s->order))->word = slot_free(ticket_lap(t, s->order));
	}
	s->tail = first;
	sl_control(s)->tail = first;
}

static struct reaper *create_one(const struct sluice_create *c, u64 first)
{
	struct reaper *r = calloc(1, sizeof(*r));
	struct sl_stage *s = r ? &r->stage : NULL;

	if (!r)
		return NULL;
	geometry(s, c);
	r->control_bytes = PAGE_ALIGN(s->slots_offset + s->nslots * sizeof(struct sluice_slot));
	r->payload_bytes = (size_t)s->nbufs * s->bufsize;
	s->hints = shared(PAGE_SIZE);
	r->control = shared(r->control_bytes);
	r->payload = r->payload_bytes ? shared(r->payload_bytes) : NULL;
	r->pages = calloc((r->control_bytes + r->payload_bytes) >> PAGE_SHIFT, sizeof(*r->pages));
	if (!s->hints || !r->control || (r->payload_bytes && !r->payload) || !r->pages)
		return NULL;	/* the test ends */
	region_init(&s->control, r->control, r->control_bytes, r->pages);
	region_init(&s->payload, r->payload, r->payload_bytes,
		    r->pages + (r->control_bytes >> PAGE_SHIFT));
	hints_init(s);
	first_ticket(s, first);
	if (sl_is_broadcast(s)) {
		s->starts = kcalloc(SLUICE_MAX_RECIPIENTS, sizeof(*s->starts), GFP_KERNEL);
		if (!s->starts)
			return NULL;
	}
	return r;
}

struct reaper *reaper_create(const struct sluice_create *c, uint64_t first)
{
	struct reaper *r = create_one(c, first);
	struct sluice_create d = {
		.nslots = SLUICE_MIN_SLOTS, .nbufs = c->dead_slots, .max_attempts = c->max_attempts,
		.bufsize = (u32)PAGE_ALIGN(max(c->bufsize, SLUICE_INLINE_MAX) +
					   sizeof(struct sluice_dead_letter)),
		.ack_timeout_ms = c->ack_timeout_ms,
	};

	if (!r || !c->dead_slots)
		return r;
	while (d.nslots < c->dead_slots)
		d.nslots *= 2;
	snprintf(d.name, sizeof(d.name), "%.40s.dead", c->name);
	r->dead = create_one(&d, 0);
	if (!r->dead)
		return NULL;
	r->dead->stage.is_dead = true;
	r->stage.dead = &r->dead->stage;
	return r;
}

void reaper_destroy(struct reaper *r)
{
	struct sl_stage *s = &r->stage;
	unsigned long i;
	void *entry;

	if (r->dead)
		reaper_destroy(r->dead);
	xa_for_each(&s->shadow, i, entry)
		free(entry);
	xa_for_each(&s->endpoints, i, entry)
		free(entry);
	xa_destroy(&s->shadow);
	xa_destroy(&s->endpoints);
	xa_destroy(&s->control.pages);
	xa_destroy(&s->payload.pages);
	munmap(s->hints, PAGE_SIZE);
	munmap(r->control, r->control_bytes);
	if (r->payload)
		munmap(r->payload, r->payload_bytes);
	kfree(s->starts);
	free(r->pages);
	free(r);
}

struct reaper *reaper_dead_stage(struct reaper *r)
{
	return r->dead;
}

struct reaper_memory reaper_memory(struct reaper *r)
{
	return (struct reaper_memory) {
		.hints = r->stage.hints, .control = r->control, .payload = r->payload,
	};
}

/* ------------------------------------------------------------- endpoints --- */

static int free_index(struct sl_stage *s)
{
	int i;

	for (i = 0; i < SLUICE_MAX_ENDPOINTS; i++)
		if (!(s->indices[i / 64] & 1ul << i % 64))
			return i;
	return -EUSERS;
}

/* As sl_attach_locked(). */
void reaper_set_policy(struct reaper *r, enum sluice_policy policy)
{
	sl_policy_set(&r->stage, policy);
}

int reaper_attach(struct reaper *r, enum sluice_role role, uint32_t flags,
		  struct reaper_endpoint *out)
{
	struct sl_stage *s = &r->stage;
	struct sl_endpoint *ep;
	int index = free_index(s);

	if (index < 0)
		return index;
	if (sl_is_broadcast(s) && role == SLUICE_CONSUMER && !~s->bits_taken)
		return -EUSERS;
	if (role == SLUICE_PRODUCER && (s->sole || (flags & SLUICE_ATTACH_SOLE && s->producers)))
		return -EBUSY;
	do {
		s->next_id = s->next_id % (SLOT_OWNER_KERNEL - 1) + 1;
	} while (sl_endpoint_alive(s, s->next_id));
	free(xa_load(&s->endpoints, s->next_id));
	ep = calloc(1, sizeof(*ep));
	if (!ep || xa_store(&s->endpoints, s->next_id, ep, 0))
		return -ENOMEM;
	ep->stage = s;
	ep->id = s->next_id;
	ep->index = (u32)index;
	ep->role = role;
	ep->flags = flags;
	ep->attached = true;
	s->indices[index / 64] |= 1ul << index % 64;
	if (flags & SLUICE_ATTACH_SOLE)
		s->sole = ep;
	memset(sl_endpoint_counters(s, ep->index), 0, sizeof(struct sluice_counters));
	if (sl_is_broadcast(s) && role == SLUICE_CONSUMER)
		sl_broadcast_join(s, ep);
	else
		sl_ring_find_tail(s);
	count_members(s, role, 1);
	sl_generation(s);
	*out = (struct reaper_endpoint) {
		.id = ep->id, .index = ep->index, .tail = s->tail, .recipient = ep->recipient,
	};
	if (ep->recipient)
		out->start = s->starts[__ffs64(ep->recipient)];
	return 0;
}

void reaper_died(struct reaper *r, uint32_t id)
{
	struct sl_endpoint *ep = xa_load(&r->stage.endpoints, id);

	if (ep)
		sl_endpoint_die(ep);
}

void reaper_tick(struct reaper *r)
{
	sl_tick(&r->stage.tick.work);
	if (r->dead)
		sl_tick(&r->dead->stage.tick.work);
}

void reaper_info(struct reaper *r, struct sluice_info *info)
{
	struct sl_stage *s = &r->stage;
	const struct sl_counts *c = &s->counts;
	u32 i;

	memset(info, 0, sizeof(*info));
	for (i = 0; i < s->nslots; i++) {
		enum slot_state state = slot_state(sl_slot_word(s, i));

		info->writing += state == SLOT_WRITING;
		info->ready += state == SLOT_READY;
		info->claimed += state == SLOT_CLAIMED;
		info->dead += state == SLOT_DEAD;
	}
	for (i = 0; i < s->nbufs; i++) {
		u64 w = READ_ONCE(*sl_buffer_word(s, i, false));

		info->buffers_used += buf_state(w) != BUF_FREE;
	}
	info->producers = s->producers;
	info->consumers = s->consumers;
	info->redelivered = c->redelivered;
	info->expelled = c->expelled;
	info->discarded = c->discarded;
	info->timeouts = c->timeouts;
	info->deaths = c->deaths;
	info->evictions = c->evictions;
	info->dead_letters = c->dead_letters;
	info->dead_dropped = c->dead_dropped;
	info->lies = c->lies;
}
