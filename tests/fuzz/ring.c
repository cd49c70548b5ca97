// SPDX-License-Identifier: MIT
/* ring.c - see ring.h */
#include "ring.h"

#define HEAD ((sizeof(struct sluice_control) + 4095) & ~4095ul)

static void attach(struct ring *r, struct sluice_ep *ep, enum sluice_role role, u32 id, u64 tail)
{
	memset(ep, 0, sizeof(*ep));
	ep->ctx = &r->ctx;
	ep->role = role;
	ep->id = id;
	ep->fd = -1;
	strcpy(ep->name, "fuzz");
	__sluice_ep_layout(ep, r->hints, r->control, r->payload, id);
	ep->ticket = tail;
	if (role == SLUICE_CONSUMER)
		ep->ticket = ticket_add(tail, -(long long)RING_SLOTS, RING_ORDER);
	ep->high = ep->ticket;
	ep->buffer_hint = RING_BUFFERS - 1;
}

static void *pages(size_t bytes)
{
	void *p;

	fuzz_check(!posix_memalign(&p, 4096, bytes));
	return p;
}

static void allocate(struct ring *r)
{
	r->control_bytes = HEAD + RING_SLOTS * sizeof(struct sluice_slot) +
			   RING_BUFFERS * SLUICE_BUFFER_STRIDE;
	r->hints = pages(4096);
	r->control = pages(r->control_bytes);
	r->payload = pages(RING_BUFFERS * RING_BUFSIZE);
	memset(r->payload, 0x55, RING_BUFFERS * RING_BUFSIZE);
}

void ring_make(struct ring *r, u64 tail)
{
	if (!r->hints)
		allocate(r);
	memset(&r->ctx, 0, sizeof(r->ctx));
	memset(r->hints, 0, 4096);
	memset(r->control + HEAD, 0, r->control_bytes - HEAD);
	memset(((struct sluice_control *)r->control)->endpoint, 0,
	       8 * sizeof(struct sluice_counters));
	r->hints->nslots = RING_SLOTS;
	r->hints->nbufs = RING_BUFFERS;
	r->hints->bufsize = RING_BUFSIZE;
	r->hints->max_attempts = 5;
	r->hints->slots_offset = HEAD;
	r->hints->buffers_offset = (u32)(HEAD + RING_SLOTS * sizeof(struct sluice_slot));
	for (u32 i = 0; i < RING_PRODUCERS; i++)
		attach(r, &r->out[i], SLUICE_PRODUCER, 1 + i, tail);
	for (u32 i = 0; i < RING_CONSUMERS; i++)
		attach(r, &r->in[i], SLUICE_CONSUMER, 4 + i, tail);
	r->out[0].control->tail = tail;
	r->out[0].control->buffer_hint = 0;
	for (u32 i = 0; i < RING_SLOTS; i++) {
		u64 t = ticket_add(tail, i, RING_ORDER);

		slot_at(&r->out[0], t)->word = slot_free(ticket_lap(t, RING_ORDER));
	}
}
