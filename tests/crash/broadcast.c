// SPDX-License-Identifier: MIT
/*
 * broadcast.c: what else must hold of a crash state where everybody gets everything.
 *
 * A message is in the ring for as long as a living member owes its ACK; each mask says who does. A
 * death takes the dead one's bits away and nothing else.
 */
#include "crash.h"

/* Lives, and is to get what is sent. */
bool is_member(const struct client *c)
{
	return c->used && !c->dead && !c->out && c->ep.recipient;
}

static uint64_t ticket_in(const struct sluice_ep *ep, uint32_t index)
{
	return ticket_of(slot_lap(ep->slots[index].word), index, ep->order);
}

/* Is what member @c owes of this message what it wrote down? */
static void check_debt(const struct client *c, uint32_t index)
{
	const struct sluice_slot *slot = &c->ep.slots[index];
	uint64_t id = bit((uint32_t)slot->counter);
	bool owes = slot->target & c->ep.recipient;

	if (ticket_diff(ticket_in(&c->ep, index), c->ep.start, c->ep.order) < 0)
		return;
	if (!owes && !(c->acking & id))
		violated("P21: message %u of slot %u is not for member %#llx",
			 (unsigned int)slot->counter, index, (unsigned long long)c->ep.recipient);
	if (owes && c->acked & id)
		violated("member %#llx has acknowledged message %u, and owes it",
			 (unsigned long long)c->ep.recipient, (unsigned int)slot->counter);
}

void check_masks(void)
{
	const struct sluice_ep *ep = &world->client[FIRST].ep;
	uint32_t i;
	int who;

	for (who = 0; who < CLIENTS + 2; who++)
		for (i = 0; i < NSLOTS && is_member(client_at(who)); i++)
			if (slot_state(ep->slots[i].word) == SLOT_READY)
				check_debt(client_at(who), i);
}

/* Nothing that was sent is over before each member has begun to acknowledge it. */
void check_members(uint64_t sent, uint64_t live)
{
	int who;

	for (who = 0; who < CLIENTS + 2; who++) {
		const struct client *c = client_at(who);
		uint64_t lost = sent & ~live & ~c->acking & ~c->older;

		if (is_member(c) && lost)
			violated("messages %#llx are lost for member %#llx",
				 (unsigned long long)lost, (unsigned long long)c->ep.recipient);
	}
}

/* P22: who is dead owes nothing, and gets nothing. */
void check_gone(const struct client *c, const char *name)
{
	uint64_t gone = c->ep.recipient;
	uint32_t i;

	if (world->memory.hints->recipients & gone)
		violated("P21: %s died and is sent to", name);
	for (i = 0; i < NSLOTS; i++) {
		const struct sluice_slot *slot = &c->ep.slots[i];

		if (slot->target & gone)
			violated("P22: %s died and still owes slot %u", name, i);
		if (slot_state(slot->word) == SLOT_READY && !slot->target && gone)
			violated("P22: nobody owes slot %u, and it is not free", i);
	}
}

/* P22: an operation that is over has told the kernel of whom it addressed in vain. */
void check_told(const char *name)
{
	const struct sluice_ep *ep = &world->client[FIRST].ep;
	uint32_t i;

	for (i = 0; i < NSLOTS; i++)
		if (slot_state(ep->slots[i].word) == SLOT_READY &&
		    ep->slots[i].target & ~world->memory.hints->recipients)
			violated("P22: %s is over, and slot %u is owed by who is gone", name, i);
}

/* The messages that at least one living member owes. */
uint64_t owed_by_living(void)
{
	uint64_t owed = 0;
	uint32_t i;
	int who;

	for (who = 0; who < CLIENTS + 2; who++)
		for (i = 0; i < NSLOTS && is_member(client_at(who)); i++) {
			const struct sluice_slot *slot = &client_at(who)->ep.slots[i];

			if (slot_state(slot->word) == SLOT_READY &&
			    slot->target & client_at(who)->ep.recipient)
				owed |= bit((uint32_t)slot->counter);
		}
	return owed;
}

/* The clock ran away from all of them: whoever owed anything is out, and owes nothing. */
void see_who_is_out(void)
{
	uint64_t there = world->memory.hints->recipients;
	int who;

	if (owed_by_living() & scan_from(ALL))
		violated("the slow hold up the ring");
	for (who = 0; who < CLIENTS; who++) {
		struct client *c = &world->client[who];

		c->out = c->used && c->ep.recipient && !(there & c->ep.recipient);
	}
}

/* With what is held: nothing that is held and of the same run lies before its first. */
void check_start(const struct client *c)
{
	const struct sluice_ep *ep = &c->ep;
	uint64_t before = ticket_add(ep->start, -1, ep->order);
	const struct sluice_slot *slot = &ep->slots[ticket_index(before, ep->order)];

	if (world->join_flags & SLUICE_ATTACH_OLDEST && slot_state(slot->word) == SLOT_READY &&
	    slot_lap(slot->word) == ticket_lap(before, ep->order) &&
	    slot->target & ~ep->recipient)
		violated("a joiner that wants the oldest begins behind message %u",
			 (unsigned int)slot->counter);
}
