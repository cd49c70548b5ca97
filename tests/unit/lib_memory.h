/* SPDX-License-Identifier: MIT */
/* lib_memory.h: the library's ends on plain memory. Nobody sleeps, so the kernel is never asked. */
#ifndef SLUICE_TEST_LIB_MEMORY_H
#define SLUICE_TEST_LIB_MEMORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "internal.h"

#define NSLOTS	64u
#define NBUFS	4u
#define BUFSIZE	4096u
#define HEAD	((sizeof(struct sluice_control) + 4095) & ~4095ul)

struct ring {
	struct sluice_hints *hints;
	char *control, *payload;
	struct sluice_ctx ctx;
	struct sluice_ep out, other_out, in, other_in;
};

static inline void attach(struct ring *r, struct sluice_ep *ep, enum sluice_role role, u32 id,
			  u64 tail)
{
	memset(ep, 0, sizeof(*ep));
	ep->ctx = &r->ctx;
	ep->role = role;
	ep->id = id;
	ep->fd = -1;
	strcpy(ep->name, "test");
	__sluice_ep_layout(ep, r->hints, r->control, r->payload, id);
	ep->ticket = tail;
	if (role == SLUICE_CONSUMER)
		ep->ticket = ticket_add(tail, -(long long)NSLOTS, ep->order);
	ep->high = ep->ticket;
	ep->buffer_hint = NBUFS - 1;
}

/* A ring whose next ticket is @tail, as if it had been in use for long. */
static inline void make(struct ring *r, u64 tail)
{
	size_t bytes = HEAD + NSLOTS * sizeof(struct sluice_slot) + NBUFS * SLUICE_BUFFER_STRIDE;
	u32 order = 6, i;

	memset(r, 0, sizeof(*r));
	r->hints = aligned_alloc(4096, 4096);
	r->control = aligned_alloc(4096, (bytes + 4095) & ~4095ul);
	r->payload = aligned_alloc(4096, NBUFS * BUFSIZE);
	memset(r->hints, 0, 4096);
	memset(r->control, 0, bytes);
	r->hints->nslots = NSLOTS;
	r->hints->nbufs = NBUFS;
	r->hints->bufsize = BUFSIZE;
	r->hints->slots_offset = HEAD;
	r->hints->buffers_offset = (u32)(HEAD + NSLOTS * sizeof(struct sluice_slot));
	attach(r, &r->out, SLUICE_PRODUCER, 1, tail);
	attach(r, &r->other_out, SLUICE_PRODUCER, 2, tail);
	attach(r, &r->in, SLUICE_CONSUMER, 3, tail);
	attach(r, &r->other_in, SLUICE_CONSUMER, 4, tail);
	r->out.control->tail = tail;
	for (i = 0; i < NSLOTS; i++) {
		u64 t = ticket_add(tail, i, order);

		slot_at(&r->out, t)->word = slot_free(ticket_lap(t, order));
	}
}

static inline void unmake(struct ring *r)
{
	free(r->hints);
	free(r->control);
	free(r->payload);
}

static inline struct sluice_msg number(u64 n)
{
	return (struct sluice_msg) { .counter = n, .buffer = SLUICE_NO_BUFFER };
}

#endif /* SLUICE_TEST_LIB_MEMORY_H */
