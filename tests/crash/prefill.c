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

/* Under a policy as many of these as are for it. */
static bool helper_claims(uint32_t n)
{
	struct client *h = &world->client[HELPER];

	while (n--) {
		if (!sluice_claim(&h->ep, &h->msg[0], SLUICE_NOW))
			continue;
		if (!world->policy)
			abort();
		return false;
	}
	return true;
}

static void helper_acks(uint32_t n)
{
	struct client *h = &world->client[HELPER];

	while (n--) {
		if (!helper_claims(1))
			return;
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

/* Of a broadcast: the helper is ahead of the others, or with what everybody else has to do. */
static void helper_ahead(struct client *p)
{
	put(p, 4);
	helper_acks(2);
}

static void helper_done(struct client *p)
{
	put(p, 4);
	helper_acks(4);
}

static void helper_gone(struct client *p)
{
	struct client *h = &world->client[HELPER];

	put(p, 4);
	helper_acks(1);
	reaper_died(world->reaper, h->ep.id);
	h->dead = true;
}

static void comes_now(struct client *c, uint32_t flags)
{
	uint32_t next_id = c->next_id, i;

	reaper_died(world->reaper, c->ep.id);
	if (world_attach(c, SLUICE_CONSUMER, flags))
		abort();
	c->next_id = next_id;
	c->older = world->begun & ~scan_from(c->ep.start);
	/* of who had reserved before that, and looked after it */
	for (i = 0; i < NSLOTS; i++) {
		struct sluice_slot *slot = &c->ep.slots[i];
		uint64_t t = ticket_of(slot_lap(slot->word), i, c->ep.order);

		if (slot_state(slot->word) == SLOT_READY &&
		    ticket_diff(t, c->ep.start, c->ep.order) < 0)
			mask_set(&slot->target, c->ep.recipient);
	}
}

/* The first joins with what is held, the second without; and both have had a bit before. */
static void newcomers(struct client *p)
{
	struct client *c = world->client;

	put(p, 3);
	if (c[FIRST].ep.role == SLUICE_CONSUMER)
		comes_now(&c[FIRST], SLUICE_ATTACH_OLDEST);
	if (c[SECOND].ep.role == SLUICE_CONSUMER)
		comes_now(&c[SECOND], 0);
	put(p, 2);
}

const struct prefill prefills[] = {
	{ "empty", empty, 0 },
	{ "one", one, 0 },
	{ "some", some, 0 },
	{ "nearly_full", nearly_full, 0 },
	{ "full", full, 0 },
	{ "used", used, NOT_BROADCAST | NOT_POLICY },
	{ "claimed", claimed, 0 },
	{ "out_of_order", out_of_order, NOT_BROADCAST },
	{ "being_written", being_written, NOT_SOLE },
	{ "discarded", discarded, NOT_SOLE },
	{ "redelivered", redelivered, NOT_BROADCAST },
	{ "no_buffers", no_buffers, NOT_SOLE },
	{ "old_hint", old_hint, NOT_SOLE },
	{ "helper_ahead", helper_ahead, NOT_SOLE | BROADCAST_ONLY },
	{ "helper_done", helper_done, NOT_SOLE | BROADCAST_ONLY },
	{ "helper_gone", helper_gone, NOT_SOLE | BROADCAST_ONLY },
	{ "newcomers", newcomers, NOT_SOLE | BROADCAST_ONLY },
};

const uint32_t nprefills = sizeof(prefills) / sizeof(prefills[0]);
