// SPDX-License-Identifier: MIT
/*
 * check.c: what must hold in every state, and when everything is quiet.
 */
#include "model.h"

static u64 mem_of(u32 ring, u32 offset)
{
	return S->mem[ring * C->stride + offset];
}

/* P17: as long as a slot may be read, its buffer goes with its ticket. */
static void check_buffers(u32 ring)
{
	u32 i, b;
	u64 w, want;

	for (i = 0; i < C->nslots; i++) {
		w = mem_of(ring, i);
		b = mem_of(ring, C->nslots + i) >> 8 & 0xff;
		if (!b || (slot_state(w) != SLOT_READY && slot_state(w) != SLOT_CLAIMED &&
			   slot_state(w) != SLOT_DEAD))
			continue;
		want = buf_word(word_ticket(w, i), BUF_SENT);
		CHECK(mem_of(ring, 2u * C->nslots + b - 1) == want,
		      "P17: buffer %u of a message that may be read is not SENT", b - 1);
	}
}

/* P4: no ticket below the tail hint is FREE; otherwise nobody would ever use it. */
static void check_tail(u32 ring)
{
	u64 w, tail = mem_of(ring, 2u * C->nslots + 2u * C->nbufs + H_TAIL);
	u32 i;

	for (i = 0; i < C->nslots; i++) {
		w = mem_of(ring, i);
		CHECK_RULE(slot_state(w) != SLOT_FREE ||
		      ticket_diff(word_ticket(w, i), tail, C->order) >= 0,
		      "P4: the tail hint passed a ticket that is FREE");
	}
}

/* P11: whoever is awake may claim and then stop; only the timer would see it. */
static void check_timer(u32 ring)
{
	const struct kring *k = &S->k[ring];
	u32 i;

	if (k->timer || S->ticks != UNLIMITED)
		return;
	for (i = 0; i < C->nslots; i++)
		CHECK_RULE(slot_state(mem_of(ring, i)) != SLOT_CLAIMED,
		      "P11: a claim is outstanding and the timer stopped");
}

/* What slot.h says cannot be, and the kernel puts right, may not come from slot.h itself. */
static void check_words(u32 ring)
{
	u32 i;

	for (i = 0; i < C->nslots; i++)
		CHECK(C->lies || !slot_forged(mem_of(ring, i)), "a transition made a word that cannot be");
}

void check_invariants(void)
{
	u32 r;

	for (r = 0; r < C->rings; r++) {
		check_words(r);
		if (C->nbufs)
			check_buffers(r);
		check_tail(r);
		check_timer(r);
		CHECK_RULE(!S->g.raised[r] || mem_of(r, 2u * C->nslots + 2u * C->nbufs + H_LOCK),
		      "P6: a message was given back without a new generation");
	}
}

/* An actor that needs nothing and waits for nothing that could come. */
static bool at_rest(u32 i)
{
	const struct actor *a = &S->a[i];

	if (a->nstores)
		return false;
	switch (a->state) {
	case ACTOR_DONE:
	case ACTOR_GONE:
	case ACTOR_HUNG:
		return true;
	case ACTOR_RUNS:
		break;
	}
	switch (C->role[i].program) {
	case NOBODY:
	case LIAR:
		return true;
	case CONSUMER:
	case STAGE:
		return a->asleep && !a->woken && !a->dying;
	case TIMER:
	case CALMER:
		return !a->kernel;
	case PRODUCER:
	case WRITER:
	case WORKER:
	case DESTROYER:
		return false;
	}
	return false;
}

/* Everything was delivered, everybody is done or waits for messages that do not exist. */
bool quiet(void)
{
	u32 i, r;

	for (i = 0; i < C->nactors; i++)
		if (!at_rest(i))
			return false;
	for (r = 0; r < C->rings; r++) {
		if (S->k[r].nq || S->k[r].nsent)
			return false;
		if (S->g.published[r] & ~(S->g.acked[r] | S->g.dead[r]))
			return false;
		for (i = 0; i < C->nslots; i++)
			if (slot_state(mem_of(r, i)) != SLOT_FREE && !S->k[r].closed &&
			    !(C->lies && !S->k[r].timer))
				return false;
		if (mem_of(r, 2u * C->nslots + 2u * C->nbufs + H_LOCK) ||
		    mem_of(r, 2u * C->nslots + 2u * C->nbufs + H_WAIT_LOCK))
			return false;
	}
	return true;
}

/* What must be true then, beside what quiet() asks for itself. */
void check_quiet(void)
{
	u32 r, i, seen = 0;

	for (i = 0; i < MAX_TICKETS; i++)
		seen |= 1u << (S->g.msg[0][i] & 15) | 1u << (S->g.msg[1][i] & 15);
	CHECK(!(S->g.accepted & ~seen), "P30: what the kernel had accepted was never published");
	for (r = 0; r < C->rings; r++) {
		for (i = 0; i < C->nbufs; i++)
			CHECK(mem_of(r, 2u * C->nslots + i) == buf_word(0, BUF_FREE),
			      "P18: buffer %u leaked: nobody holds it, and it is not FREE", i);
		CHECK(!(S->g.acked[r] & S->g.dead[r]), "acknowledged and dead");
		CHECK(S->k[r].letters + S->k[r].dropped == __builtin_popcount(S->g.dead[r]),
		      "P15: a dead letter is neither kept nor counted as dropped");
		CHECK(!mem_of(r, 2u * C->nslots + 2u * C->nbufs + H_QUEUED), "queue hint is wrong");
	}
}

/* Killed in user space or asleep; in the kernel a kill waits. The last consumer stays. */
bool may_die(u32 i)
{
	const struct actor *a = &S->a[i];
	u32 j, others = 0;

	if (!S->kills || a->state != ACTOR_RUNS || a->dying || (a->kernel && !a->asleep))
		return false;
	switch (C->role[i].program) {
	case PRODUCER:
		return true;
	case CONSUMER:
	case STAGE:
		break;
	default:
		return false;
	}
	for (j = 0; j < C->nactors; j++)
		others += j != i && C->role[j].program == C->role[i].program &&
			  S->a[j].state == ACTOR_RUNS && !S->a[j].dying;
	return others > 0;
}

/* Stops for ever without dying: user code in a loop, a stopped process, a page that never comes. */
bool may_hang(u32 i)
{
	const struct actor *a = &S->a[i];
	u32 j, others = 0;

	if (!S->hangs || a->state != ACTOR_RUNS || a->dying)
		return false;
	if (C->role[i].program == WRITER)
		return a->faulting;
	if (C->role[i].program != CONSUMER || a->kernel || (C->idle_hangs && a->nclaims))
		return false;
	for (j = 0; j < C->nactors; j++)
		others += j != i && C->role[j].program == CONSUMER && S->a[j].state == ACTOR_RUNS &&
			  !S->a[j].dying;
	return others > 0;
}
