// SPDX-License-Identifier: MIT
/* prefill.c: what the ring holds before the first client moves. */
#include <stdlib.h>

#include "crash.h"

static void put(struct client *p, uint32_t n)
{
	while (n--)
		if (client_send(p, n % 3 ? 20 : 100) && client_send(p, 20))
			abort();
}

static void helper_claims(uint32_t n)
{
	struct client *h = &world->client[HELPER];

	while (n--)
		if (sluice_claim(&h->ep, &h->msg[0], SLUICE_NOW))
			abort();
}

static void helper_acks(uint32_t n)
{
	struct client *h = &world->client[HELPER];

	while (n--) {
		helper_claims(1);
		if (sluice_ack(&h->ep, &h->msg[0]))
			abort();
		h->acked |= bit((uint32_t)h->msg[0].counter);
		h->acking |= h->acked;
	}
}

static void writer_writes(void)
{
	struct client *w = &world->client[WRITER];
	void *data;

	w->msg[0] = message(w->next_id++, 30);
	if (sluice_reserve(&w->ep, &w->msg[0], &data, SLUICE_NOW))
		abort();
}

static void empty(struct client *p)
{
}

static void one(struct client *p)
{
	put(p, 1);
}

static void some(struct client *p)
{
	put(p, 4);
}

static void nearly_full(struct client *p)
{
	put(p, NSLOTS - 1);
}

static void full(struct client *p)
{
	put(p, NSLOTS);
}

static void used(struct client *p)
{
	put(p, 6);
	helper_acks(6);
	put(p, 3);
}

static void claimed(struct client *p)
{
	put(p, 4);
	helper_claims(2);
}

/* the oldest is done, the next one is not, what is newer is done too */
static void out_of_order(struct client *p)
{
	put(p, 2);
	helper_claims(1);
	put(p, 2);
	helper_acks(2);
}

static void being_written(struct client *p)
{
	put(p, 1);
	writer_writes();
	put(p, 2);
}

static void discarded(struct client *p)
{
	struct client *w = &world->client[WRITER];

	writer_writes();
	put(p, 1);
	sluice_discard(&w->ep, &w->msg[0]);
}

/* its consumer died: behind everybody's cursor, with a new generation */
static void redelivered(struct client *p)
{
	struct client *h = &world->client[HELPER];

	put(p, 3);
	helper_claims(2);
	reaper_died(world->reaper, h->ep.id);
	h->dead = true;
}

static void no_buffers(struct client *p)
{
	struct sluice_buffer buf;

	put(p, 2);
	while (!sluice_buffer_take(&p->ep, &buf, SLUICE_NOW))
		;
}

/* a producer was killed before it moved the hint */
static void old_hint(struct client *p)
{
	u64 tail = p->ep.control->tail;

	put(p, 3);
	p->ep.control->tail = tail;
}

const struct prefill prefills[] = {
	{ "empty", empty, false }, { "one", one, false }, { "some", some, false },
	{ "nearly_full", nearly_full, false }, { "full", full, false }, { "used", used, false },
	{ "claimed", claimed, false }, { "out_of_order", out_of_order, false },
	{ "being_written", being_written, true }, { "discarded", discarded, true },
	{ "redelivered", redelivered, false }, { "no_buffers", no_buffers, true },
	{ "old_hint", old_hint, true },
};

const uint32_t nprefills = sizeof(prefills) / sizeof(prefills[0]);
