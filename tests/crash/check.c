// SPDX-License-Identifier: MIT
/*
 * check.c: what must hold of a crash state.
 *
 * The words say which messages there are, and they must agree with what the clients wrote down.
 * Then somebody dies, the module's reaper runs, and the words must say the same; the ring is
 * drained by a consumer that knows nothing, everybody else dies too, nothing may be left behind;
 * and it has to do its work as if it were new.
 */
#include <string.h>

#include "crash.h"

#define FIRST_OF_REST	16	/* messages of works_on() */

static const char *const names[CLIENTS] = { "the first", "the second", "the helper", "the writer" };

/* ------------------------------------------------------------------- words --- */

static struct sluice_msg message_in(const struct sluice_slot *slot)
{
	struct sluice_msg m = {
		.stream = slot->stream, .counter = slot->counter, .len = slot->len,
		.buffer = slot->buf, .kind = slot->kind, .flags = slot->flags, .data = slot->data,
	};

	if (m.buffer != SLUICE_NO_BUFFER && m.buffer < NBUFS)
		m.data = (char *)world->memory.payload + (size_t)m.buffer * BUFSIZE;
	return m;
}

/* A message in the ring: whole (A), and its buffer goes with it (P17). */
static uint32_t check_message(const struct sluice_ep *ep, uint32_t index, uint64_t ticket)
{
	const struct sluice_slot *slot = &ep->slots[index];
	struct sluice_msg m = message_in(slot);

	if (m.buffer != SLUICE_NO_BUFFER &&
	    (m.buffer >= NBUFS || *buffer_word(ep, m.buffer) != buf_word(ticket, BUF_SENT)))
		violated("slot %u is READY or claimed, and its buffer %u is not its own", index,
			 m.buffer);
	if (!message_whole(&m))
		violated("slot %u is READY or claimed, and its message is not whole", index);
	return (uint32_t)m.counter;
}

static bool living(uint32_t id)
{
	int i;

	for (i = 0; i < CLIENTS; i++)
		if (world->client[i].used && !world->client[i].dead &&
		    world->client[i].ep.id == id)
			return true;
	return false;
}

uint64_t scan_from(uint64_t start)
{
	const struct sluice_ep *ep = &world->client[FIRST].ep;
	uint64_t tail = ep->control->tail, live = 0, older = 0;
	uint32_t i, id;

	for (i = 0; i < NSLOTS; i++) {
		uint64_t w = ep->slots[i].word;
		uint64_t t = ticket_of(slot_lap(w), i, ep->order);

		switch (slot_state(w)) {
		case SLOT_FREE:
			if (ticket_diff(t, tail, ep->order) < 0)
				violated("P4: slot %u is FREE for a ticket below the tail hint", i);
			continue;
		case SLOT_WRITING:
			if (!living(slot_owner(w)))
				violated("slot %u is being written by nobody", i);
			continue;
		case SLOT_CLAIMED:
			if (world->broadcast)
				violated("slot %u is claimed, in a broadcast", i);
			if (!living(slot_owner(w)) && !(world->rest[1].used &&
			    slot_owner(w) == world->rest[1].ep.id))
				violated("slot %u is claimed by nobody", i);
			break;
		case SLOT_READY:
			break;
		case SLOT_DEAD:
		default:
			violated("slot %u has a word that it cannot have: %#llx", i,
				 (unsigned long long)w);
		}
		id = check_message(ep, i, t);
		if (live & bit(id))
			violated("message %u is in the ring twice", id);
		live |= bit(id);
		if (start != ALL && ticket_diff(t, start, ep->order) < 0)
			older |= bit(id);
	}
	return live & ~older;
}

/* The messages that are in the ring. */
static uint64_t scan(void)
{
	if (world->broadcast)
		check_masks();
	return scan_from(ALL);
}

/* ----------------------------------------------------------------- history --- */

struct client *client_at(int i)
{
	return i < CLIENTS ? &world->client[i] : &world->rest[i - CLIENTS];
}

/* What the clients wrote down, against what is there. */
static void check_history(uint64_t live)
{
	uint64_t sent = 0, acking = 0, acked = 0, refused = 0;
	int i;

	for (i = 0; i < CLIENTS + 2; i++) {
		const struct client *c = client_at(i);

		if (!c->used)
			continue;
		if (c->bad)
			violated("a message that was claimed is not what was sent");
		if (c->acked & acked && !world->broadcast)
			violated("messages %#llx were acknowledged twice",
				 (unsigned long long)(c->acked & acked));
		sent |= c->sent;
		refused |= c->refused;
		acking |= c->acking;
		acked |= c->acked;
	}
	if (world->broadcast)
		check_members(sent, live);
	if (sent & ~live & ~acking && !world->broadcast)
		violated("messages %#llx are lost: sent, not acknowledged, not in the ring",
			 (unsigned long long)(sent & ~live & ~acking));
	if (acked & live && !world->broadcast)
		violated("messages %#llx were acknowledged and are still in the ring",
			 (unsigned long long)(acked & live));
	if (refused & live)
		violated("messages %#llx were refused and are in the ring",
			 (unsigned long long)(refused & live));
}

/* ------------------------------------------------------------------- death --- */

static void after_death(const struct client *c, const char *name)
{
	const struct sluice_ep *ep = &world->client[FIRST].ep;
	uint32_t i;

	for (i = 0; i < NSLOTS; i++) {
		uint64_t w = ep->slots[i].word;

		if ((slot_state(w) == SLOT_WRITING || slot_state(w) == SLOT_CLAIMED) &&
		    slot_owner(w) == c->ep.id)
			violated("%s died and still owns slot %u", name, i);
	}
	for (i = 0; i < NBUFS; i++)
		if (*buffer_word(ep, i) == buf_word(c->ep.id, BUF_HELD))
			violated("%s died and still holds buffer %u", name, i);
	if (world->broadcast)
		check_gone(c, name);
}

static void kill_client(int who)
{
	struct client *c = &world->client[who];
	uint32_t generation = world->memory.hints->generation;

	if (!c->used || c->dead)
		return;
	c->dead = true;
	reaper_died(world->reaper, c->ep.id);
	after_death(c, names[who]);
	if (world->memory.hints->generation == generation)
		violated("P6: %s died and the generation is as it was", names[who]);
}

void check_deaths(uint32_t dead)
{
	uint64_t before = scan(), after, owed = 0;
	int who;

	check_history(before);
	for (who = 0; who < CLIENTS; who++)
		if (dead & bit((uint32_t)who))
			kill_client(who);
	after = scan();
	if (world->broadcast)
		owed = owed_by_living();
	if (world->broadcast ? after & ~before || owed & ~after : before != after)
		violated("recovery changed the messages in the ring from %#llx to %#llx",
			 (unsigned long long)before, (unsigned long long)after);
}

/* ---------------------------------------------------------------- recovery --- */

/* Somebody new takes what there is. Returns which messages. */
static uint64_t drain(void)
{
	struct client *c = &world->rest[1];
	struct sluice_msg m;
	uint64_t got = 0, last = 0;
	bool first = true;
	int n = 0;

	while (!sluice_claim(&c->ep, &m, SLUICE_NOW)) {
		uint64_t id = bit((uint32_t)m.counter);

		if (!message_whole(&m))
			violated("a message came out that is not what was sent");
		if (m.attempt == 1) {
			if (!first && ticket_diff(m.ticket, last, c->ep.order) <= 0)
				violated("P3: a first delivery came after a newer one");
			last = m.ticket;
			first = false;
		}
		if (got & id || n++ > 2 * IDS)
			violated("message %u came out twice", (unsigned int)m.counter);
		got |= id;
		if (!sluice_holds(&c->ep, &m) || sluice_ack(&c->ep, &m))
			violated("a good ACK was refused");
		c->acking |= id;
		c->acked |= id;
	}
	return got;
}

static void check_all_free(void)
{
	const struct sluice_ep *ep = &world->client[FIRST].ep;
	uint32_t i;

	/* what a dead producer addressed to somebody who went before it, nobody has said */
	if (world->broadcast)
		reaper_tick(world->reaper);
	for (i = 0; i < NSLOTS; i++)
		if (slot_state(ep->slots[i].word) != SLOT_FREE)
			violated("everybody is dead, everything is drained, slot %u is not FREE",
				 i);
	for (i = 0; i < NBUFS; i++)
		if (*buffer_word(ep, i) != buf_word(0, BUF_FREE))
			violated("everybody is dead, everything is drained, buffer %u is not FREE",
				 i);
}

/* Somebody new, who knows nothing. */
void join(void)
{
	struct client *c = &world->rest[1];

	if (c->used)
		return;
	if (world_attach(c, SLUICE_CONSUMER, world->join_flags))
		violated("no consumer can attach any more");
	c->older = world->begun & ~scan_from(c->ep.start);
	if (world->broadcast)
		check_start(c);
}

/* Exactly as many messages as there are slots, in order, with all buffers. */
static void check_works_on(void)
{
	struct client *p = &world->rest[0], *c = &world->rest[1];
	struct sluice_msg m;
	uint32_t i, round;

	if (world_attach(p, SLUICE_PRODUCER, 0))
		violated("no producer can attach any more");
	for (round = 0; round < 2; round++) {
		p->next_id = FIRST_OF_REST;
		for (i = 0; i < NSLOTS; i++)
			if (client_send(p, i < NBUFS ? 100 : 20))
				violated("the ring takes %u messages only", i);
		if (!client_send(p, 20))
			violated("the ring takes more messages than it has slots");
		for (i = 0; i < NSLOTS; i++) {
			if (sluice_claim(&c->ep, &m, SLUICE_NOW))
				violated("message %u of %u does not come", i, NSLOTS);
			if (m.counter != FIRST_OF_REST + i || !message_whole(&m))
				violated("message %u of %u is another", i, NSLOTS);
			if (sluice_ack(&c->ep, &m))
				violated("a good ACK was refused");
		}
	}
	check_all_free();
}

/* Nobody moves any more: drained, everybody dead, and then the ring is as good as new. */
void check_end(void)
{
	uint64_t live = scan(), got, again;
	int who;

	check_history(live);
	join();
	if (world->broadcast)
		live = scan_from(world->rest[1].ep.start) & ~world->rest[1].acked;
	got = drain();
	for (who = 0; who < CLIENTS; who++)
		kill_client(who);
	again = drain();
	if (got & again || (got | again) != live)
		violated("messages %#llx were in the ring, %#llx came out",
			 (unsigned long long)live, (unsigned long long)(got | again));
	check_all_free();
	check_works_on();
}

/* -------------------------------------------------------------------- late --- */

static void put_out(struct reaper *r, uint32_t id)
{
	int i;

	for (i = 0; i < CLIENTS; i++)
		if (world->client[i].used && world->client[i].ep.id == id)
			world->client[i].evicted = world->client[i].dead = true;
}

/* Stopped for longer than any timeout: what it had is somebody else's, and it must notice. */
bool check_late(enum who late)
{
	struct client *c = &world->client[late];
	uint64_t live = scan(), owed = world->broadcast ? owed_by_living() : live;
	int ticks;

	reaper_evict = put_out;
	for (ticks = 0; ticks < 3; ticks++) {
		reaper_tick(world->reaper);
		world->clock += 40000000000ull;
	}
	c->late = true;
	if (world->broadcast && !world->waits)
		see_who_is_out();
	else if (scan() & ~live || owed & ~scan())
		violated("the tick changed the messages in the ring");
	join();
	drain();
	return !c->evicted;
}

/* Put out itself; or nobody is there to send to. */
static bool may_find_nobody(const struct client *c)
{
	return c->ep.role == SLUICE_CONSUMER ? c->out : world->client[HELPER].dead;
}

/* An operation is over. */
void check_finished(const struct client *c)
{
	const struct operation *op = &operations[c->operation];
	const struct sluice_hints *h = world->memory.hints;
	uint32_t i;

	if (c->result && c->result != -EAGAIN && !(c->late && c->result == -ESTALE) &&
	    !(world->broadcast && c->result == -ENOTCONN && may_find_nobody(c)))
		violated("%s returned %d (%s)", op->name, c->result, strerror(-c->result));
	if (world->broadcast)
		check_told(op->name);
	if (h->ready_sleepers && c->sent >> 32 && !(c->kicked & SLUICE_KICK_READY))
		violated("P5: %s published, and woke nobody", op->name);
	if (h->room_sleepers && c->acked && !(c->kicked & SLUICE_KICK_ROOM))
		violated("P5: %s acknowledged, and woke nobody", op->name);
	for (i = 0; i < NBUFS; i++)
		if (*buffer_word(&c->ep, i) == buf_word(c->ep.id, BUF_HELD))
			violated("%s is over and buffer %u is still held", op->name, i);
	check_history(scan());
}
