// SPDX-License-Identifier: MIT
/*
 * user.c: what the processes do: the library's send, claim and ack, and the
 * programs that call them. To be compared with lib/.
 */
#include "model.h"

/* ------------------------------------------------------------------ ghosts --- */

/* P3: tickets are given out in order of reserve, in real time. */
void ghost_reserved(u64 t)
{
	u32 rel = ticket_rel(t);

	CHECK(rel + 1 > S->g.reserved[A->ring],
	      "P3: ticket %+d reserved after a newer one", (int)rel - C->nslots);
	S->g.reserved[A->ring] = (u8)(rel + 1);
}

static u32 sender_of(u8 msg)
{
	u32 i, base = 1;

	for (i = 0; i < C->nactors; i++) {
		if (msg >= base && msg < base + C->role[i].msgs)
			return i;
		base += C->role[i].msgs;
	}
	return MAX_ACTORS;
}

void ghost_published(u64 t, u8 msg)
{
	u32 rel = ticket_rel(t), i;

	S->g.msg[A->ring][rel] = msg;
	S->g.published[A->ring] |= 1u << rel;
	for (i = 0; i < MAX_TICKETS && !C->hops; i++) {
		u8 other = S->g.msg[A->ring][i];

		if (i == rel || !other || sender_of(other) != sender_of(msg))
			continue;
		CHECK((i < rel) == (other < msg),
		      "P3: messages %u and %u of one producer changed places", other, msg);
	}
}

/* The kernel took the claim away: an ACK with this token must be refused from now on. */
void ghost_lost(u32 index, u64 token)
{
	u32 i, j;

	for (i = 0; i < C->nactors; i++)
		for (j = 0; j < S->a[i].nclaims; j++)
			if (S->a[i].claim[j].token == token &&
			    index_of(S->a[i].claim[j].ticket) == index)
				S->a[i].claim[j].lost = 1;
}

/* ---------------------------------------------------------- producer side --- */

/* sluice_buffer_take(): a scan of the words (P17); A->b is the buffer + 1 */
static enum step take_buffer(void)
{
	BEGIN(2)
	for (;;) {
		for (A->i = 0; A->i < C->nbufs; A->i++) {
			STEP;
			if (buf_take(buffer_at(A->i), endpoint_id(me())) == SLOT_OK) {
				A->b = A->i + 1;
				A->i = 0;
				RETURN;
			}
		}
		A->i = 0;
		A->what = WAIT_BUFFER;
		if (C->both) {
			STEP;
			A->wait_at = mem_load(hint_at(H_TAIL));
			A->what |= WAIT_ROOM;
		}
		CALL(park());
		STEP_IF(C->closes);
		if (C->closes && mem_load(hint_at(H_CLOSED)))
			RETURN;
	}
	END
}

/* The tail hint goes forward only, and only over tickets that were seen used (P4). */
static enum step help_tail(void)
{
	BEGIN(4)
	STEP;
	A->w = mem_load(hint_at(H_TAIL));
	if (ticket_diff(A->put, A->w, C->order) > 0) {
		STEP_IF(!C->coarse);
		mem_cas(hint_at(H_TAIL), A->w, A->put);
	}
	A->w = 0;
	END
}

/* The next free ticket: A->t, A->ret 0; or a full ring: A->ret 1 (P4). */
static enum step find_room(void)
{
	enum slot_room room;
	u64 w;

	BEGIN(3)
	if (!C->sole) {
		STEP;
		w = mem_load(hint_at(H_TAIL));
		if (ticket_diff(w, A->put, C->order) > 0)
			A->put = w;
	}
	for (;;) {
		STEP;
		w = mem_load_acquire(word_at(index_of(A->put)));
		room = slot_room(w, lap_of(A->put));
		if (room != ROOM_USED)
			break;
		A->put = skip_over(A->put, w, 1);
	}
	A->t = A->put;
	A->ret = room == ROOM_FULL && !MUT(overwrite);
	if (A->ret && !C->sole)
		CALL(help_tail());
	END
}

/* (C): after publish and after discard; the kick is in A->n */
static enum step look_for_sleepers(u32 what)
{
	BEGIN(2)
	if (C->closes && what & KICK_READY) {
		/* destroyed meanwhile? Then it may never be delivered: -ESHUTDOWN (P20) */
		STEP;
		mem_fence();
		if (!MUT(closed_not_seen) && mem_load(hint_at(H_CLOSED)))
			S->g.published[A->ring] &= ~(1u << ticket_rel(A->t));
	}
	if (what & KICK_READY) {
		STEP_IF(C->asym);
		A->y = !C->asym || (mem_load(hint_at(H_FENCES)) && !MUT(fence_hint_not_seen));
		STEP;
		if (A->y && !MUT(no_fence_c) && !MUT(no_fence_c_weak))
			mem_fence();
		A->y = 0;
		if (mem_load(hint_at(H_READY_SLEEPERS)))
			A->n |= KICK_READY;
	}
	if (what & KICK_ROOM) {
		STEP;
		if (!MUT(no_fence_c_ack))
			mem_fence();
		if (mem_load(hint_at(H_ROOM_SLEEPERS)))
			A->n |= KICK_ROOM;
		if (C->queues && !(A->n & KICK_ROOM)) {
			STEP;
			if (mem_load(hint_at(H_QUEUED)))
				A->n |= KICK_ROOM;
		}
	}
	if (A->n)
		CALL(kick(A->n));
	A->n = 0;
	END
}

/* sluice_discard(): slot first, then the buffer, then the look (P5) */
static enum step discard(void)
{
	enum slot_result r;

	BEGIN(3)
	S->discards--;
	r = slot_discard(word_at(index_of(A->t)), lap_of(A->t), endpoint_id(me()));
	CHECK(r == SLOT_OK || A->evicted, "a reservation of the living was taken away");
	if (A->b) {
		STEP;
		/* A reaper that saw the newer slot may have freed it already (P18). */
		if (buf_unsend(buffer_at(A->b - 1), endpoint_id(me()), A->t) == SLOT_OK) {
			STEP;
			r = buf_drop(buffer_at(A->b - 1), endpoint_id(me()));
			CHECK(r == SLOT_OK, "a held buffer was taken away");
		}
	}
	A->b = 0;
	END
}

/* Write the slot's lines; the caller has the ticket. */
static void fill_slot(u8 told)
{
	plain_store(data_at(index_of(A->t)), slot_data(A->m, A->b, told));
}

/* Reserve to publish with several producers. A->ret: 0 published, 1 lost, 2 discarded. */
static enum step send_shared(void)
{
	enum slot_result r;

	BEGIN(2)
	if (MUT(tail_early)) {
		STEP;
		mem_cas(hint_at(H_TAIL), A->t, next_ticket(A->t, 1));
	}
	STEP_IF(mutant != M_none);
	A->ret = 1;
	if (MUT(overwrite) || MUT(reserve_no_check)) {
		*word_at(index_of(A->t)) = slot_word(lap_of(A->t), endpoint_id(me()), 0,
						     SLOT_WRITING);
	} else if (slot_reserve(word_at(index_of(A->t)), lap_of(A->t), endpoint_id(me())) !=
		   SLOT_OK) {
		RETURN;
	}
	ghost_reserved(A->t);
	/* the slot is mine alone: seen only by who may be put out, or through a store buffer */
	STEP_IF((C->evict && !MUT(publish_no_check)) || C->tso);
	fill_slot(false);
	A->put = next_ticket(A->t, 1);
	CALL(help_tail());
	if (A->b && !MUT(publish_before_send)) {
		STEP;
		r = buf_send(buffer_at(A->b - 1), endpoint_id(me()), A->t);
		CHECK(r == SLOT_OK, "P17: a held buffer was taken away");
	}
	A->ret = 0;
	STEP;
	if (S->discards && !(C->weak & EARLY_HINT) && choose(2)) {
		CALL(discard());
		A->ret = 2;
		RETURN;
	}
	if (C->weak & EARLY_HINT)
		load_early(hint_at(H_READY_SLEEPERS));
	STEP_IF(C->weak & EARLY_HINT);
	if (MUT(publish_no_check)) {
		*word_at(index_of(A->t)) = slot_word(lap_of(A->t), 0, 0, SLOT_READY);
		r = SLOT_OK;
	} else {
		r = slot_publish(word_at(index_of(A->t)), lap_of(A->t), endpoint_id(me()));
	}
	CHECK(r == SLOT_OK || A->evicted, "a reservation of the living was taken away");
	if (r == SLOT_OK)
		ghost_published(A->t, A->m);
	if (A->b && MUT(publish_before_send)) {
		STEP;
		buf_send(buffer_at(A->b - 1), endpoint_id(me()), A->t);
	}
	END
}

/* FREE -> READY with one store: the slot is ours since nobody else may have it (P19). */
static enum step send_sole(void)
{
	BEGIN(2)
	ghost_reserved(A->t);
	if (wants_ack() && !MUT(track_late))
		CALL(track());
	STEP;
	fill_slot(wants_ack());
	if (A->b) {
		STEP;
		CHECK(buf_send(buffer_at(A->b - 1), endpoint_id(me()), A->t) == SLOT_OK,
		      "P17: a held buffer was taken away");
	}
	if (C->weak & EARLY_HINT) {
		STEP;
		load_early(hint_at(H_FENCES));
		STEP;
		load_early(hint_at(H_READY_SLEEPERS));
	}
	STEP;
	CHECK(peek(word_at(index_of(A->t))) == slot_free(lap_of(A->t)),
	      "P20: somebody changed a FREE word of a living exclusive ring");
	slot_publish_sole(word_at(index_of(A->t)), lap_of(A->t));
	ghost_published(A->t, A->m);
	A->put = next_ticket(A->t, 1);
	A->ret = 0;
	END
}

/* sluice_send(), or sluice_post() with @post: never waits for a slot */
enum step send_message(void)
{
	BEGIN(1)
	A->ret = 0;
	if (C->nbufs) {
		CALL(take_buffer());
		if (!A->b)
			goto out;
		STEP_IF(C->tso);
		plain_store(payload_at(A->b - 1), A->m);
	}
	/* with several producers the kernel publishes what it has to watch */
	if (wants_ack() && !C->sole) {
		CALL(queue_send());
		CALL(wait_told());
		goto out;
	}
	for (;;) {
		if (C->queues && !MUT(wait_with_claim)) {
			/* behind my earlier messages, if the kernel still has some (P30) */
			STEP;
			A->ret = mem_load(hint_at(H_QUEUED)) && !MUT(queue_overtaken);
			if (A->ret && C->post) {
				CALL(queue_send());
				goto out;
			}
		}
		if (A->ret)
			A->t = A->put;
		else
			CALL(find_room());
		if (A->ret) {
			if (C->post && !MUT(wait_with_claim)) {
				CALL(queue_send());
				goto out;
			}
			A->ret = 0;
			A->what = WAIT_ROOM;
			A->wait_at = A->t;
			CALL(park());
			STEP_IF(C->closes);
			if (C->closes && mem_load(hint_at(H_CLOSED)))
				goto out;
			continue;
		}
		if (C->sole)
			CALL(send_sole());
		else
			CALL(send_shared());
		if (A->ret != 1)
			break;
	}
	A->b = 0;
	if (!(A->ret ? MUT(no_look_after_discard) : MUT(no_look_after_publish))) {
		if (A->ret)
			CALL(look_for_sleepers(KICK_READY | KICK_ROOM));
		else
			CALL(look_for_sleepers(KICK_READY));
	}
	if (wants_ack() && !A->ret) {
		if (MUT(track_late))
			CALL(track());
		CALL(wait_told());
	}
out:
	A->t = 0;
	A->b = 0;
	A->ret = 0;
	END
}

static u8 first_message(void)
{
	u32 i, base = 1;

	for (i = 0; i < me(); i++)
		base += C->role[i].msgs;
	return (u8)base;
}

static bool may_be_sole(void)
{
	return !S->k[A->ring].sole || MUT(sole_ends_early);
}

enum step producer(void)
{
	BEGIN(0)
	if (C->sole) {
		/* SLUICE_IOC_ATTACH with SLUICE_ATTACH_SOLE: -EBUSY until then (P20) */
		STEP_WHEN(may_be_sole() && !peek(hint_at(H_LOCK)));
		kernel_lock(H_LOCK);
		S->k[A->ring].sole = (u8)endpoint_id(me());
		CALL(find_tail());
		STEP;
		A->put = mem_load(hint_at(H_TAIL));
		kernel_unlock(H_LOCK);
		A->kernel = 0;
	}
	while (A->sent < C->role[me()].msgs) {
		STEP_IF(C->closes);
		if (C->closes && mem_load(hint_at(H_CLOSED)))
			break;
		/* in a pipeline a stream is sent once and comes back by itself */
		A->m = C->hops ? (u8)(1 + A->sent * C->hops) : first_message() + A->sent;
		CALL(send_message());
		A->sent++;
	}
	A->m = 0;
	STEP;
	if (S->k[A->ring].sole == endpoint_id(me())) {
		/* with the mapping, which goes from every processor first */
		mem_fence();
		S->k[A->ring].sole = 0;
	}
	finish(ACTOR_DONE);
	END
}

/* ---------------------------------------------------------- consumer side --- */

static void read_generation(void)
{
	u8 g = (u8)mem_load(hint_at(H_GENERATION));

	if (g == A->gen)
		return;
	A->gen = g;
	if (ticket_diff(A->cursor, A->high, C->order) > 0)
		A->high = A->cursor;
	if (!MUT(walk_no_rewind))
		A->cursor = next_ticket(A->high, -(long long)C->nslots);
}

static enum slot_look look_at_cursor(void)
{
	u64 w = mem_load_acquire(word_at(index_of(A->cursor)));
	enum slot_look look = slot_look(w, lap_of(A->cursor));

	A->w = w;
	if (slot_lap(w) == lap_of(A->cursor)) {
		if (MUT(walk_passes_writing) && slot_state(w) == SLOT_WRITING)
			return LOOK_PASS;
		if (MUT(walk_passes_free) && slot_state(w) == SLOT_FREE &&
		    A->cursor == C->first)
			return LOOK_PASS;
	}
	if (MUT(short_lap_compare))
		return slot_lap(w) > lap_of(A->cursor) ? LOOK_PASS :
		       slot_lap(w) < lap_of(A->cursor) ? LOOK_WAIT : look;
	return look;
}

static void remember_claim(u64 token)
{
	struct claim *c = &A->claim[A->nclaims++];
	u32 rel = ticket_rel(A->cursor);

	memset(c, 0, sizeof(*c));
	c->token = token;
	c->ticket = A->cursor;
	if (slot_attempt(token) == 1) {
		/* the mutant calls redeliveries first ones */
		CHECK(rel + 1 > A->last_first || MUT(retry_resets_attempt),
		      "P3: first delivery of ticket %+d after a newer one", (int)rel - C->nslots);
		A->last_first = (u8)(rel + 1);
	}
	A->cursor = next_ticket(A->cursor, 1);
}

/* sluice_claim_batch(): waits for one, then takes what is there (P7) */
static enum step claim_run(void)
{
	enum slot_look look;
	u64 token;

	BEGIN(1)
	for (;;) {
		STEP;
		read_generation();
		while (A->nclaims < C->run) {
			if (C->weak & EARLY_DATA) {
				STEP;
				load_early(data_at(index_of(A->cursor)));
			}
			STEP;
			look = look_at_cursor();
			if (look == LOOK_PASS)
				A->cursor = skip_over(A->cursor, A->w, 2);
			A->w = 0;
			if (look == LOOK_PASS)
				continue;
			if (look == LOOK_WAIT)
				break;
			/* slot_claim() looks for itself: nothing is lost without a STEP here */
			if (slot_claim(word_at(index_of(A->cursor)), lap_of(A->cursor),
				       endpoint_id(me()), &token) == SLOT_OK)
				remember_claim(token);
		}
		if (A->nclaims)
			RETURN;
		A->early_at = 0;
		A->early_val = 0;
		A->what = WAIT_READY;
		A->wait_at = A->cursor;
		A->wait_gen = A->gen;
		CALL(park());
		if (S->k[A->ring].closed)
			RETURN;	/* -ESHUTDOWN */
	}
	END
}

/* Copy of the message; what does not fit together becomes message 255. */
static enum step read_message(struct claim *c)
{
	u64 v;

	BEGIN(2)
	if (C->weak & EARLY_WORD) {
		STEP;
		load_early(word_at(index_of(c->ticket)));
	}
	STEP;
	v = mem_load(data_at(index_of(c->ticket)));
	c->data = (u8)v;
	c->buf = (u8)(v >> 8);
	c->tell = (u8)(v >> 16);
	S->g.starts[A->ring][ticket_rel(c->ticket)]++;
	if (c->buf) {
		STEP;
		if (mem_load(payload_at(c->buf - 1)) != c->data)
			c->data = 255;
	}
	END
}

/* What is derived from the message goes out: it must be that of the ticket. */
static void derive(const struct claim *c)
{
	u32 rel = ticket_rel(c->ticket);

	CHECK(c->data == S->g.msg[A->ring][rel],
	      "P12: a result of message %u was published for ticket %+d, which carries %u",
	      c->data, (int)rel - C->nslots, S->g.msg[A->ring][rel]);
	note("publishes what it derived from message %u", c->data);
}

static void acknowledge(struct claim *c)
{
	u64 *word = word_at(index_of(c->ticket));
	u32 bit = 1u << ticket_rel(c->ticket);
	enum slot_result r;

	if (MUT(ack_no_token))
		r = slot_state(*word) == SLOT_CLAIMED ? slot_ack(word, *word) : SLOT_STALE;
	else
		r = slot_ack(word, c->token);
	A->ret = r != SLOT_OK;
	if (r != SLOT_OK) {
		CHECK(c->lost, "a good ACK was refused");
		return;
	}
	CHECK(!c->lost, "P2: a late ACK was accepted: the claim was the kernel's to give away");
	CHECK(!(S->g.acked[A->ring] & bit), "acknowledged twice");
	CHECK(!(S->g.dead[A->ring] & bit), "acknowledged after its death");
	S->g.acked[A->ring] |= bit;
}

static enum step look_after_ack(bool at_end)
{
	if (MUT(no_look_after_ack) || at_end == MUT(no_look_after_buffer))
		return FINISHED;
	return look_for_sleepers(KICK_ROOM);
}

/* sluice_ack(): slot, then buffer, then the look (P17, P5) */
static enum step ack(struct claim *c)
{
	BEGIN(1)
	if (MUT(free_before_slot) && c->buf) {
		STEP;
		buf_free_sent(buffer_at(c->buf - 1), c->ticket);
	}
	if (C->weak & EARLY_HINT) {
		STEP;
		load_early(hint_at(H_ROOM_SLEEPERS));
	}
	STEP;
	acknowledge(c);
	if (MUT(tell_after_ack)) {
		STEP;
		c->tell = (u8)(mem_load(data_at(index_of(c->ticket))) >> 16);
	}
	if (A->ret && MUT(stale_frees) && c->buf) {
		STEP;
		if (buf_state(peek(buffer_at(c->buf - 1))) == BUF_SENT)
			buf_free_sent(buffer_at(c->buf - 1),
				      buf_who(peek(buffer_at(c->buf - 1))));
	}
	if (A->ret)
		RETURN;
	if (c->tell)
		A->n |= KICK_ACKED;
	CALL(look_after_ack(false));
	if (c->buf && !MUT(free_before_slot)) {
		STEP;
		buf_free_sent(buffer_at(c->buf - 1), c->ticket);
	}
	CALL(look_after_ack(true));
	if (A->n)
		CALL(kick(A->n));
	A->n = 0;
	END
}

/* From claim to ACK, as in the example of sluice.h. */
enum step consumer(void)
{
	struct claim *c = &A->claim[A->work];

	BEGIN(0)
	for (;;) {
		CALL(claim_run());
		if (!A->nclaims)
			break;
		for (A->work = 0; A->work < A->nclaims; A->work++) {
			c = &A->claim[A->work];
			if (!MUT(read_after_ack_f))
				CALL(read_message(c));
			STEP_IF(!C->coarse);
			if (!MUT(no_holds) && !slot_holds(word_at(index_of(c->ticket)), c->token)) {
				note("drops its work: the claim is somebody else's");
				continue;
			}
			if (!MUT(read_after_ack_f))
				derive(c);
			if (S->nacks || S->renews) {
				STEP;
				switch (choose(1 + !!S->nacks + !!S->renews)) {
				case 1:
					A->nack_left = S->nacks ? 1 : 2;
					break;
				case 2:
					A->nack_left = 2;
				}
				if (A->nack_left == 2)
					CALL(renew(c));
				if (A->nack_left == 1)
					CALL(nack(c));
				if (A->nack_left == 1) {
					A->nack_left = 0;
					continue;
				}
				A->nack_left = 0;
			}
			CALL(ack(c));
			A->ret = 0;
			if (MUT(read_after_ack_f)) {
				CALL(read_message(c));
				derive(c);
			}
		}
		memset(A->claim, 0, sizeof(A->claim));
		A->nclaims = 0;
		A->work = 0;
	}
	STEP;
	finish(ACTOR_DONE);
	END
}

/*
 * One replica of a pipeline stage: its result goes onwards before its input is
 * acknowledged, and to the kernel's queue if there is no room (P30).
 */
enum step stage(void)
{
	struct claim *c = &A->claim[A->work];
	u8 in = C->role[me()].ring;

	BEGIN(0)
	for (;;) {
		CALL(claim_run());
		for (A->work = 0; A->work < A->nclaims; A->work++) {
			c = &A->claim[A->work];
			CALL(read_message(c));
			STEP;
			if (!slot_holds(word_at(index_of(c->ticket)), c->token))
				continue;
			derive(c);
			if (c->data % C->hops) {
				A->m = c->data + 1;
				A->ring = !in;
				CALL(send_message());
				A->ring = in;
				A->m = 0;
			} else {
				S->g.done |= 1u << (c->data / C->hops);
			}
			CALL(ack(c));
			A->ret = 0;
		}
		memset(A->claim, 0, sizeof(A->claim));
		A->nclaims = 0;
		A->work = 0;
	}
	END
}
