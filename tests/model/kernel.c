// SPDX-License-Identifier: MIT
/*
 * kernel.c: what the kernel does for the dead and the late. To be compared with
 * kmod/reap.c (reap), kmod/retry.c (timer, nack, renew, bury) and
 * kmod/stage.c (destroyer). Under the stage's lock throughout.
 */
#include "model.h"

static struct kring *ring(void)
{
	return &S->k[A->ring];
}

/* sl_shadow(): the notes on a slot, begun anew for another lap */
static void notes_for(u32 i, u64 lap)
{
	struct kring *k = ring();

	if (k->lap[i] == lap_rel(lap))
		return;
	k->lap[i] = (u8)lap_rel(lap);
	k->charges[i] = 0;
	k->held[i] = 0;
	k->fresh[i] = 0;
	k->shadow[i] = 0;
}

/* deaths, timeouts and NACKs so far */
static u32 failures(void)
{
	return (u32)(C->kills - S->kills + C->nacks - S->nacks) +
	       (C->ticks == UNLIMITED ? UNLIMITED : (u32)(C->ticks - S->ticks));
}

/*
 * sl_bury(): DEAD drains whatever the dead-letter stage says (P15). The slot is
 * A->i, its word A->v. The letter is copied first, and the sender told from the
 * kernel's own list (P16, P10).
 */
enum step bury(void)
{
	struct kring *k = ring();
	u64 data, *word = word_at(A->i);
	u32 rel = ticket_rel(word_ticket(A->v, A->i));

	BEGIN(5)
	if (MUT(bury_before_copy)) {
		STEP;
		slot_bury(word, A->v);
	}
	STEP;
	data = mem_load(data_at(A->i));
	A->m = (u8)data;
	A->b = (u8)(data >> 8);
	if (A->b) {
		STEP;
		if (mem_load(payload_at(A->b - 1)) != A->m)
			A->m = 255;
	}
	CHECK(A->m == S->g.msg[A->ring][rel], "P16: the dead letter of message %u says %u",
	      S->g.msg[A->ring][rel], A->m);
	if (MUT(dead_blocks))
		STEP_WHEN(k->letters < C->dead_slots);
	if (k->letters < C->dead_slots)
		k->letters++;
	else
		k->dropped++;
	CHECK(!(S->g.dead[A->ring] & 1u << rel), "buried twice");
	S->g.dead[A->ring] |= 1u << rel;
	CHECK((u32)__builtin_popcount(S->g.dead[A->ring]) <= failures(),
	      "P2: more messages died than there were failures");
	told((u8)(rel + 1), true);
	if (!MUT(bury_before_copy)) {
		STEP;
		CHECK(slot_bury(word, A->v) == SLOT_OK, "somebody changed a DEAD word");
	}
	if (A->b) {
		STEP;
		buf_free_sent(buffer_at(A->b - 1), word_ticket(A->v, A->i));
	}
	A->m = 0;
	A->b = 0;
	A->v = 0;
	END
}

/*
 * sl_retry_claim(): the claim A->w of slot A->i goes back, or is dead. @charge:
 * it counts against the message. Leaves in A->ret whether something was changed.
 */
static enum step retry_claim(bool charge, bool dead)
{
	struct kring *k = ring();
	u64 *word = word_at(A->i);
	enum slot_result r;

	BEGIN(4)
	notes_for(A->i, slot_lap(A->w));
	if (charge)
		k->charges[A->i]++;
	STEP;
	A->ret = 0;
	if (k->charges[A->i] >= C->max_attempts || dead ||
	    slot_attempt(A->w) >= SLOT_ATTEMPT_LAST) {
		if (slot_kill(word, A->w) != SLOT_OK)
			RETURN;
		ghost_lost(A->i, A->w);
		A->v = slot_word(slot_lap(A->w), 0, slot_attempt(A->w), SLOT_DEAD);
		CALL(bury());
	} else {
		if (MUT(retry_resets_attempt))
			r = mem_cas(word, A->w, slot_word(slot_lap(A->w), 0, 0, SLOT_READY)) ?
			    SLOT_OK : SLOT_STALE;
		else
			r = slot_retry(word, A->w);
		if (r != SLOT_OK)
			RETURN;
		ghost_lost(A->i, A->w);
		S->g.raised[A->ring] = 1;
	}
	A->ret = 1;
	END
}

/* ------------------------------------------------------------------- death --- */

/* sl_reap_slot(): what the dead A->x + 1 holds in slot A->i, its word being A->w */
static enum step reap_slot(void)
{
	BEGIN(3)
	if (slot_state(A->w) == SLOT_WRITING && !MUT(reap_not_writing)) {
		STEP;
		slot_discard(word_at(A->i), slot_lap(A->w), slot_owner(A->w));
	} else if (slot_state(A->w) == SLOT_CLAIMED && !MUT(reap_not_claimed)) {
		/* charged only for the lowest ticket of its run (P2) */
		if (C->run == 1 || A->t == word_ticket(A->w, A->i) || MUT(charge_all))
			CALL(retry_claim(true, false));
		else
			CALL(retry_claim(false, false));
		A->ret = 0;
	}
	END
}

/* The ticket of the dead's run that it was working on: the lowest. */
static enum step lowest_claim(u32 id)
{
	u64 w, t;

	BEGIN(3)
	A->n = 0;
	for (A->i = 0; A->i < C->nslots; A->i++) {
		STEP;
		w = mem_load(word_at(A->i));
		t = word_ticket(w, A->i);
		if (slot_state(w) != SLOT_CLAIMED || slot_owner(w) != id)
			continue;
		if (!A->n || ticket_diff(t, A->t, C->order) < 0)
			A->t = t;
		A->n = 1;
	}
	A->n = 0;
	END
}

static enum step reap_slots(u32 id)
{
	BEGIN(2)
	for (A->i = 0; A->i < C->nslots; A->i++) {
		STEP;
		A->w = mem_load(word_at(A->i));
		if (slot_owner(A->w) == id)
			CALL(reap_slot());
	}
	A->w = 0;
	A->i = 0;
	END
}

/* P18: after the slots, HELD(dead), and SENT(t) that no slot goes with any more. */
static enum step reap_buffers(u32 id)
{
	struct kring *k = ring();
	u64 w, t;

	BEGIN(2)
	for (A->i = 0; A->i < C->nbufs; A->i++) {
		STEP;
		A->w = mem_load(buffer_at(A->i));
		if (buf_state(A->w) == BUF_HELD && buf_who(A->w) == id && !MUT(reap_not_held)) {
			STEP;
			buf_drop(buffer_at(A->i), id);
		}
		if (buf_state(A->w) != BUF_SENT)
			continue;
		STEP;
		t = buf_who(A->w);
		w = mem_load(word_at(index_of(t)));
		if (lap_diff(slot_lap(w), lap_of(t)) > 0 || MUT(reap_sent_any) ||
		    (w == slot_free(lap_of(t)) && k->sole == id && !MUT(reap_sole_never))) {
			STEP;
			buf_free_sent(buffer_at(A->i), buf_who(A->w));
		}
	}
	A->w = 0;
	A->i = 0;
	END
}

/* sl_ring_find_tail(): the newest ticket that was ever used, plus one (P4) */
enum step find_tail(void)
{
	u64 w, next;

	BEGIN(2)
	A->t = ring()->tail;
	for (A->i = 0; A->i < C->nslots; A->i++) {
		STEP;
		w = mem_load(word_at(A->i));
		/* FREE(t) was used up to t - N, the others up to t itself */
		next = word_ticket(w, A->i);
		if (slot_state(w) == SLOT_FREE)
			next = next_ticket(next, -(long long)C->nslots);
		next = next_ticket(next, 1);
		if (ticket_diff(next, A->t, C->order) > 0)
			A->t = next;
	}
	STEP;
	ring()->tail = A->t;
	plain_store(hint_at(H_TAIL), A->t);
	A->i = 0;
	A->t = 0;
	END
}

/* What the endpoint @id left in this ring. The lock is held. */
static enum step reap_ring(u32 id)
{
	BEGIN(1)
	if (MUT(reap_buffers_first))
		CALL(reap_buffers(id));
	if (C->run > 1)
		CALL(lowest_claim(id));
	CALL(reap_slots(id));
	A->t = 0;
	if (!MUT(reap_buffers_first))
		CALL(reap_buffers(id));
	CALL(find_tail());
	CALL(pump());
	if (!MUT(tell_not_at_death))
		CALL(tell());
	if (!MUT(no_generation_reap))
		CALL(generation());
	if (ring()->sole == id)
		ring()->sole = 0;
	END
}

/* sl_endpoint_die(), sl_reap(): on the way out of the dying process itself (P24) */
enum step reap(void)
{
	u32 id = endpoint_id(me());

	BEGIN(0)
	for (A->x = 0; A->x < C->rings; A->x++) {
		A->ring = A->x;
		if (!(ring()->alive & 1u << me()))
			continue;
		/* sl_unpark(): whatever it waited for */
		STEP_WHEN(!peek(hint_at(H_WAIT_LOCK)));
		kernel_lock(H_WAIT_LOCK);
		list_del(1u << me());
		kernel_unlock(H_WAIT_LOCK);
		/* P25: mark it dead, let work in its name end, then look */
		STEP_WHEN(!peek(hint_at(H_LOCK)));
		kernel_lock(H_LOCK);
		ring()->alive &= (u8)~(1u << me());
		if (!MUT(reap_not_waiting) && ring()->busy & 1u << me()) {
			kernel_unlock(H_LOCK);
			STEP_WHEN(!(ring()->busy & 1u << me()) && !peek(hint_at(H_LOCK)));
			kernel_lock(H_LOCK);
		}
		orphan(id);
		CALL(reap_ring(id));
		kernel_unlock(H_LOCK);
	}
	STEP;
	finish(ACTOR_GONE);
	END
}

/* -------------------------------------------------------------------- time --- */

static bool owner_lives(u64 w)
{
	u32 id = slot_owner(w);

	return id == SLOT_OWNER_KERNEL ||
	       (id && id <= C->nactors && ring()->alive & 1u << (id - 1));
}

/*
 * P26: a living endpoint that is late is put out: its mapping goes first, so that
 * it faults at its next store and what it has not stored yet never comes.
 */
static void put_out(u32 id)
{
	struct actor *late = &S->a[id - 1];

	S->evictions--;
	note("evicts ep %u", id);
	if (!MUT(evict_no_zap) && !MUT(publish_no_check)) {
		flush_all(late);
		memset(late, 0, sizeof(*late));
		late->state = ACTOR_GONE;
	}
	late->evicted = 1;
	ring()->alive &= (u8)~(1u << (id - 1));
}

static bool late_writer(u64 w)
{
	return slot_state(w) == SLOT_WRITING && S->evictions && owner_lives(w) &&
	       slot_owner(w) != SLOT_OWNER_KERNEL;
}

/* A slot at a tick: late, orphaned, or to be remembered. A->n counts changes. */
static enum step tick_slot(void)
{
	struct kring *k = ring();
	u64 w = A->w;
	bool same;

	BEGIN(3)
	notes_for(A->i, slot_lap(w));
	same = k->shadow[A->i] == w;
	k->shadow[A->i] = 0;
	if (!same)
		k->held[A->i] = k->fresh[A->i] = 0;
	if (slot_state(w) != SLOT_CLAIMED && slot_state(w) != SLOT_WRITING)
		RETURN;
	if (!owner_lives(w)) {
		if (MUT(unknown_owner))
			RETURN;
		/* P27: no living endpoint's */
		if (slot_state(w) == SLOT_WRITING) {
			STEP;
			slot_discard(word_at(A->i), slot_lap(w), slot_owner(w));
		} else {
			CALL(retry_claim(false, false));
			A->ret = 0;
		}
		A->n = 1;
		RETURN;
	}
	if (slot_state(w) == SLOT_WRITING)
		RETURN;
	if (slot_owner(w) == SLOT_OWNER_KERNEL) {
		/* a delayed NACK whose time has come */
		CALL(retry_claim(false, false));
		A->n |= A->ret;
		A->ret = 0;
		RETURN;
	}
	k->held[A->i]++;
	if ((same && !k->fresh[A->i]) || (k->held[A->i] > C->max_hold && !MUT(hold_unbounded))) {
		CALL(retry_claim(true, false));
		A->n |= A->ret;
		A->ret = 0;
		RETURN;
	}
	k->fresh[A->i] = 0;
	CHECK(k->held[A->i] <= C->max_hold, "P14: renewed beyond max_hold");
	k->shadow[A->i] = w;
	END
}

/* P11: may the timer stop? Asked under the lock, with all words seen FREE (not A->work). */
static bool timer_may_stop(void)
{
	const struct kring *k = ring();
	u32 i;

	if (A->work || k->nq || k->nsent)
		return false;
	for (i = 0; i < C->nactors && !MUT(timer_stops_early); i++)
		if (k->alive & 1u << i && C->role[i].program == CONSUMER &&
		    !(k->sleepers[0] & 1u << i))
			return false;
	return true;
}

/* sl_tick() */
enum step timer(void)
{
	BEGIN(0)
	for (;;) {
		STEP_WHEN(S->ticks && ring()->timer && !peek(hint_at(H_LOCK)));
		if (S->ticks != UNLIMITED)
			S->ticks--;
		kernel_lock(H_LOCK);
		A->work = 0;
		A->n = 0;
		for (A->i = 0; A->i < C->nslots; A->i++) {
			STEP;
			A->w = mem_load(word_at(A->i));
			if (slot_state(A->w) != SLOT_FREE)
				A->work = 1;
			if (late_writer(A->w)) {
				A->x = (u8)slot_owner(A->w);
				put_out(A->x);
				CALL(reap_ring(A->x));
				A->x = 0;
				break;	/* the rest at the next tick */
			}
			if (MUT(generation_early) && slot_state(A->w) == SLOT_CLAIMED)
				CALL(generation());
			CALL(tick_slot());
		}
		A->i = 0;
		A->w = 0;
		CALL(pump());
		CALL(tell());
		if (A->n && !MUT(no_generation_retry) && !MUT(generation_early))
			CALL(generation());
		else if (A->n && MUT(no_generation_retry))
			CALL(wake(WAIT_ALL));
		A->n = 0;
		if (S->ticks == UNLIMITED && timer_may_stop())
			ring()->timer = 0;
		A->work = 0;
		kernel_unlock(H_LOCK);
		A->kernel = 0;
	}
	END
}

/* ---------------------------------------------------------------- commands --- */

/* sl_nack(): word, generation and wake under one lock (P13) */
enum step nack(struct claim *c)
{
	BEGIN(1)
	S->nacks--;
	if (MUT(nack_in_user)) {
		STEP;
		slot_retry(word_at(index_of(c->ticket)), c->token);
		ghost_lost(index_of(c->ticket), c->token);
		RETURN;
	}
	A->kernel = 1;
	STEP_WHEN(!peek(hint_at(H_LOCK)));
	kernel_lock(H_LOCK);
	A->i = (u8)index_of(c->ticket);
	A->w = c->token;
	if (C->delay) {
		STEP;
		if (slot_defer(word_at(A->i), A->w) == SLOT_OK)
			ghost_lost(A->i, A->w);
	} else {
		CALL(retry_claim(true, false));
		if (A->ret) {
			CALL(pump());
			CALL(generation());
		}
	}
	A->i = 0;
	A->w = 0;
	A->ret = 0;
	kernel_unlock(H_LOCK);
	A->kernel = 0;
	END
}

/* sl_renew(): the clock of a claim that is the caller's starts again */
enum step renew(struct claim *c)
{
	struct kring *k = ring();
	u32 i = index_of(c->ticket);

	BEGIN(1)
	S->renews--;
	A->kernel = 1;
	STEP_WHEN(!peek(hint_at(H_LOCK)));
	kernel_lock(H_LOCK);
	STEP;
	if (mem_load(word_at(i)) == c->token || MUT(renew_any)) {
		CHECK(!c->lost, "P14: a claim was renewed that is no longer the caller's");
		if (k->shadow[i] == c->token || MUT(renew_any))
			k->fresh[i] = 1;
	}
	kernel_unlock(H_LOCK);
	A->kernel = 0;
	END
}

static bool all_free(void)
{
	u32 i;

	for (i = 0; i < C->nslots; i++)
		if (slot_state(peek(word_at(i))) != SLOT_FREE)
			return false;
	return true;
}

/* sl_stage_destroy(): closed, then everybody looks (P20) */
enum step destroyer(void)
{
	BEGIN(0)
	STEP_WHEN(!peek(hint_at(H_LOCK)));
	kernel_lock(H_LOCK);
	plain_store(hint_at(H_CLOSED), 1);
	CALL(generation());
	kernel_unlock(H_LOCK);
	/* no new messages from here on; consumers go on until it is empty */
	STEP_WHEN(!peek(hint_at(H_LOCK)) && all_free());
	kernel_lock(H_LOCK);
	ring()->closed = 1;
	CALL(wake(WAIT_ALL));
	kernel_unlock(H_LOCK);
	A->kernel = 0;
	STEP;
	finish(ACTOR_DONE);
	END
}

/* Anybody may say that nobody sleeps, at any time: SLUICE_KICK_CALM. */
enum step calmer(void)
{
	BEGIN(0)
	while (S->calms) {
		STEP;
		S->calms--;
		CALL(kick(KICK_CALM));
	}
	finish(ACTOR_DONE);
	END
}

/* A hostile endpoint: writes words that name nobody (P27), or never holds still (P29). */
enum step liar(void)
{
	u64 w;

	BEGIN(0)
	while (S->lies) {
		STEP;
		S->lies--;
		A->i = (u8)choose(C->nslots);
		w = *word_at(A->i);
		if (slot_state(w) == SLOT_FREE)
			*word_at(A->i) = slot_word(slot_lap(w), 99, 0, SLOT_WRITING);
		A->i = 0;
	}
	finish(ACTOR_DONE);
	END
}
