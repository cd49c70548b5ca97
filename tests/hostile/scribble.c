// SPDX-License-Identifier: MIT
/*
 * scribble.c: what a hostile endpoint writes into the pages that it may write, and what it tries
 * to write into those that it may not.
 */
#include <sys/mman.h>

#include <slot.h>

#include "hostile.h"

#define SLOTS_TOUCHED	4096u		/* memory that is touched is paid for */
#define BYTES_TOUCHED	(1ull << 20)

uint64_t rng_edge(struct rng *r)
{
	static const uint64_t edges[] = {
		0, 1, 2, 3, 7, 8, 63, 64, 65, 76, 77, 254, 255, 256, 4095, 4096, 4097, 65535, 65536,
		0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 1ull << 36, 1ull << 40, 1ull << 42,
		0x7fffffffffffffff, 1ull << 63, ~0ull - 1, ~0ull,
	};

	return rng_one_in(r, 3) ? rng_next(r) : RNG_PICK(r, edges);
}

/* A word that is nearly right: of a lap, an owner and an attempt that could be. */
uint64_t guess_word(struct rng *r, uint64_t near)
{
	static const u32 attempts[] = { 0, 0, 1, 2, 5, 253, 254, 255 };
	u64 lap = slot_lap(near) + rng_below(r, 4) - 1;
	u32 owner = rng_one_in(r, 8) ? SLOT_OWNER_KERNEL : rng_below(r, 40);
	/* one state that does not exist */
	u32 state = rng_below(r, 6);

	return slot_word(lap, owner, RNG_PICK(r, attempts), (enum slot_state)state);
}

/* One step of the protocol, done right, but by nobody in particular. */
static void scribble_step(struct rng *r, struct sluice_slot *slot)
{
	u64 *word = (u64 *)&slot->word, *mask = (u64 *)&slot->target;
	u64 w = sl_load(word), lap = slot_lap(w), token;
	u32 owner = rng_below(r, 40);
	bool last;

	switch (slot_state(w)) {
	case SLOT_FREE:
		slot_reserve(word, lap, owner);
		break;
	case SLOT_WRITING:
		if (rng_one_in(r, 4))
			mask_set(mask, 1ull << rng_below(r, 8));
		slot_publish(word, lap, slot_owner(w));
		break;
	case SLOT_READY:
		if (rng_one_in(r, 2))
			slot_broadcast_ack(word, mask, w, 1ull << rng_below(r, 8), &last);
		else
			slot_claim(word, lap, owner, &token);
		break;
	case SLOT_CLAIMED:
	case SLOT_DEAD:
		slot_ack(word, w);
		break;
	}
}

static void scribble_slot(struct rng *r, struct sluice_slot *slot)
{
	switch (rng_below(r, 8)) {
	case 0:
		slot->len = (u32)rng_edge(r);
		break;
	case 1:
		slot->buf = rng_one_in(r, 2) ? SLUICE_NO_BUFFER : (u32)rng_edge(r);
		break;
	case 2:
		slot->flags = (uint16_t)rng_next(r);
		slot->target = rng_one_in(r, 2) ? rng_next(r) :
			       slot->target ^ 1ull << rng_below(r, 64);
		break;
	case 3:
		slot->word = rng_edge(r);
		break;
	case 4:
	case 5:
		scribble_step(r, slot);
		break;
	default:
		slot->word = guess_word(r, slot->word);
	}
}

static void scribble_control(struct rng *r, const struct map_slot *m)
{
	u64 buffers = (sizeof(struct sluice_control) + PAGE - 1) & ~(PAGE - 1);
	u64 slots = (buffers + m->nbufs * SLUICE_BUFFER_STRIDE + PAGE - 1) & ~(PAGE - 1);
	struct sluice_control *c = m->addr;
	char *base = m->addr;
	u32 n = m->nslots < SLOTS_TOUCHED ? m->nslots : SLOTS_TOUCHED;
	u32 kind = rng_below(r, 16);
	u64 *word;

	if (kind < 8 && n) {
		scribble_slot(r, (struct sluice_slot *)(base + slots) + rng_below(r, n));
	} else if (kind < 11 && m->nbufs) {
		word = (u64 *)(base + buffers + (u64)rng_below(r, m->nbufs < SLOTS_TOUCHED ?
				m->nbufs : SLOTS_TOUCHED) * SLUICE_BUFFER_STRIDE);
		*word = rng_one_in(r, 4) ? rng_edge(r) :
			buf_word(rng_below(r, 200), (enum buf_state)rng_below(r, 4));
	} else if (kind < 13) {
		c->tail = rng_one_in(r, 2) ? rng_edge(r) : c->tail + rng_below(r, 200) - 100;
	} else if (kind < 14) {
		((u64 *)c->endpoint)[rng_below(r, sizeof(c->endpoint) / 8)] = rng_edge(r);
	} else {
		*(u64 *)(base + rng_below(r, (u32)(m->len < BYTES_TOUCHED ? m->len :
						   BYTES_TOUCHED) / 8) * 8ull) = rng_edge(r);
	}
}

/**
 * scribble() - one store into a mapping; false when it faulted
 *
 * A store that reaches a read-only mapping is what this test is there to find.
 */
bool scribble(struct rng *r, const struct map_slot *m)
{
	struct map_slot now = *m;	/* another thread may unmap it meanwhile */
	uint64_t *at;

	if (!now.parts || !now.addr || now.len < PAGE)
		return false;
	if (now.prot & PROT_WRITE && now.offset == SLUICE_MMAP_CONTROL)
		return GUARDED(scribble_control(r, &now));
	at = (uint64_t *)((char *)now.addr + rng_below(r, (uint32_t)(now.len < BYTES_TOUCHED ?
						now.len : BYTES_TOUCHED) / 8) * 8ull);
	if (now.prot & PROT_WRITE)
		return GUARDED(*(volatile uint64_t *)at = rng_next(r));
	if (rng_one_in(r, 64))
		return GUARDED((void)*(volatile uint64_t *)at);
	return false;
}
