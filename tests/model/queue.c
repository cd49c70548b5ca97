// SPDX-License-Identifier: MIT
/*
 * queue.c: what the kernel publishes and keeps for senders. To be compared with
 * kmod/ring.c (kernel_publish) and kmod/queue.c (queue_send, pump, track, tell);
 * writer mirrors kmod/rw.c.
 */
#include "model.h"

static struct kring *ring(void)
{
	return &S->k[A->ring];
}

/*
 * sl_ring_publish(): message A->m, buffer A->b - 1, flag A->y; under the lock, so it
 * dies at no point between reserve and publish. A->ret: 0, 1 no room. A->kt: ticket.
 */
static enum step kernel_publish(bool queued)
{
	u64 *word;
	enum slot_room room;

	BEGIN(5)
	STEP;
	A->kt = mem_load(hint_at(H_TAIL));
	for (;;) {
		STEP;
		word = word_at(index_of(A->kt));
		room = slot_room(mem_load_acquire(word), lap_of(A->kt));
		A->ret = 1;
		if (room == ROOM_FULL)
			RETURN;
		if (room == ROOM_FREE) {
			STEP;
			word = word_at(index_of(A->kt));
			if (slot_reserve(word, lap_of(A->kt), SLOT_OWNER_KERNEL) == SLOT_OK)
				break;
		}
		STEP;
		mem_cas(hint_at(H_TAIL), A->kt, next_ticket(A->kt, 1));
		A->kt = next_ticket(A->kt, 1);
	}
	ghost_reserved(A->kt);
	if (MUT(fault_in_writing)) {
		A->faulting = 1;
		STEP;
		A->faulting = 0;
	}
	STEP;
	plain_store(data_at(index_of(A->kt)), slot_data(A->m, A->b, A->y));
	if (A->b) {
		STEP;
		if (queued)
			buf_send_queued(buffer_at(A->b - 1), A->kt);
		else
			buf_send(buffer_at(A->b - 1), endpoint_id(me()), A->kt);
	}
	STEP;
	CHECK(slot_publish(word_at(index_of(A->kt)), lap_of(A->kt), SLOT_OWNER_KERNEL) == SLOT_OK,
	      "the kernel's own reservation was taken away");
	ghost_published(A->kt, A->m);
	STEP;
	mem_cas(hint_at(H_TAIL), A->kt, next_ticket(A->kt, 1));
	A->ret = 0;
	END
}

/* stage->sent */
static void remember_sent(u64 t, u32 owner)
{
	struct kring *k = ring();
	struct send *s = &k->sent[k->nsent++];

	memset(s, 0, sizeof(*s));
	s->owner = (u8)owner;
	s->ticket = (u8)(ticket_rel(t) + 1);
}

/* sl_queue_pump(): in order, while there is room. The lock is held. */
enum step pump(void)
{
	struct kring *k = ring();
	u32 i;

	BEGIN(4)
	A->j = 0;
	while (k->nq) {
		A->m = k->q[0].msg;
		A->b = k->q[0].buf;
		A->y = k->q[0].tell;
		CALL(kernel_publish(true));
		if (A->ret)
			break;
		/* into `sent', then out of the queue: user space does not wait for the lock */
		if (A->y && k->q[0].owner) {
			STEP;
			remember_sent(A->kt, k->q[0].owner);
		}
		STEP;
		for (i = 1; i < k->nq; i++)
			k->q[i - 1] = k->q[i];
		memset(&k->q[--k->nq], 0, sizeof(k->q[0]));
		plain_store(hint_at(H_QUEUED), k->nq);
		A->j = 1;
	}
	if (A->j) {
		CALL(wake(WAIT_READY));
		if (!k->nq)
			CALL(wake(WAIT_ROOM | WAIT_BUFFER));
	}
	A->m = A->b = A->y = A->j = A->ret = 0;
	A->kt = 0;
	END
}

/*
 * SLUICE_CMD_SEND with ACCEPT: at once if there is room, else kept (P30). The
 * buffer is the kernel's from here on, whatever becomes of the sender.
 */
enum step queue_send(void)
{
	struct kring *k = ring();

	BEGIN(3)
	A->kernel = 1;
	STEP_WHEN(!peek(hint_at(H_LOCK)));
	kernel_lock(H_LOCK);
	if (A->b) {
		STEP;
		buf_queue(buffer_at(A->b - 1), endpoint_id(me()));
	}
	CHECK(k->nq < C->queue_max, "P30: the queue has no room for an admitted stream");
	if (k->nq < MAX_QUEUE) {
		struct send *q = &k->q[k->nq++];

		q->msg = A->m;
		q->buf = A->b;
		q->owner = (u8)endpoint_id(me());
		q->tell = wants_ack();
		S->g.accepted |= 1u << A->m;
		A->woken = 0;
	}
	/* its store of hints->queued, a full fence, then the look for room: (D) */
	plain_store(hint_at(H_QUEUED), k->nq);
	if (!MUT(queue_no_look)) {
		STEP;
		mem_fence();
		A->x = A->m;
		CALL(pump());
		A->m = A->x;
		A->x = 0;
	}
	kernel_unlock(H_LOCK);
	A->kernel = 0;
	END
}

/* ------------------------------------------------- senders that wait (P10) --- */

static void forget_sent(u32 i)
{
	struct kring *k = ring();

	for (; i + 1 < k->nsent; i++)
		k->sent[i] = k->sent[i + 1];
	memset(&k->sent[--k->nsent], 0, sizeof(k->sent[0]));
}

static void answer(u32 i, bool dead)
{
	const struct send *s = &ring()->sent[i];
	u32 bit = 1u << (s->ticket - 1), owner = s->owner - 1u;

	if (dead)
		CHECK(S->g.dead[A->ring] & bit, "P10: a SEND failed whose message is not dead");
	else
		CHECK(S->g.acked[A->ring] & bit,
		      "P10: a SEND was completed as acknowledged, and its message was not");
	if (S->a[owner].state == ACTOR_RUNS && !S->a[owner].dying)
		S->a[owner].woken = 1;
	note("tells ep %u: %s", s->owner, dead ? "dead" : "acknowledged");
	forget_sent(i);
}

/* sl_queue_dead(): from the private list, before the slot says so (P16) */
void told(u8 rel, bool dead)
{
	struct kring *k = ring();
	u32 i;

	for (i = 0; i < k->nsent; i++)
		if (k->sent[i].ticket == rel) {
			answer(i, dead);
			return;
		}
}

/* sl_queue_check(): completes only from the word: its ticket is newer. Lock held. */
enum step tell(void)
{
	struct kring *k = ring();
	u64 w, t;

	BEGIN(4)
	for (A->j = 0; A->j < k->nsent;) {
		STEP;
		t = ticket_at(k->sent[A->j].ticket - 1);
		w = mem_load(word_at(index_of(t)));
		if (lap_diff(slot_lap(w), lap_of(t)) > 0 ||
		    (MUT(tell_by_free) && slot_state(w) != SLOT_READY))
			answer(A->j, false);
		else
			A->j++;
	}
	A->j = 0;
	END
}

/*
 * SLUICE_SEND_TRACK of ticket A->t, which a sole producer is about to publish. On
 * the list before that, or a message that died before the kernel heard of it
 * would count as acknowledged. Then the fence and the look, as ever (D).
 */
enum step track(void)
{
	BEGIN(3)
	A->kernel = 1;
	STEP_WHEN(!peek(hint_at(H_LOCK)));
	kernel_lock(H_LOCK);
	A->woken = 0;
	remember_sent(A->t, endpoint_id(me()));
	mem_fence();
	CALL(tell());
	kernel_unlock(H_LOCK);
	A->kernel = 0;
	END
}

enum step wait_told(void)
{
	BEGIN(3)
	A->kernel = 1;
	A->asleep = 1;
	STEP_WHEN(A->woken);
	A->asleep = 0;
	A->woken = 0;
	A->kernel = A->dying;
	END
}

/* sl_send_orphan(): the sender is dead; what was accepted survives it (P30) */
void orphan(u32 id)
{
	struct kring *k = ring();
	u32 i;

	for (i = 0; i < k->nsent;) {
		if (k->sent[i].owner == id)
			forget_sent(i);
		else
			i++;
	}
	for (i = 0; i < k->nq; i++)
		if (k->q[i].owner == id)
			k->q[i].owner = 0;
	if (MUT(queue_dies)) {
		for (i = 0; i < k->nq && k->q[i].owner; i++)
			;
		if (i < k->nq) {
			k->nq = (u8)i;
			memset(&k->q[i], 0, sizeof(k->q) - i * sizeof(k->q[0]));
			plain_store(hint_at(H_QUEUED), i);
		}
	}
}

/*
 * write(2) or SEND without a buffer: the message is copied from user memory, which
 * may fault for ever, before anything is reserved (P28).
 */
enum step writer(void)
{
	BEGIN(0)
	while (A->sent < C->role[me()].msgs) {
		A->kernel = 1;
		A->faulting = 1;
		STEP;
		A->faulting = 0;
		for (;;) {
			STEP_WHEN(!peek(hint_at(H_LOCK)));
			kernel_lock(H_LOCK);
			/* a ring with a sole producer refuses it with -EBUSY (P19) */
			if (ring()->sole && !MUT(kernel_publishes_sole))
				break;
			A->m = 100 + A->sent;
			CALL(kernel_publish(false));
			if (!A->ret)
				break;
			kernel_unlock(H_LOCK);
			A->what = WAIT_ROOM;
			A->wait_at = A->kt;
			A->ret = 0;
			CALL(park());
			A->kernel = 1;
		}
		A->kt = 0;
		A->m = 0;
		CALL(wake(WAIT_READY));
		kernel_unlock(H_LOCK);
		A->kernel = 0;
		A->sent++;
	}
	STEP;
	finish(ACTOR_DONE);
	END
}

/*
 * P25: a SEND with a buffer on a worker thread, in the name of another endpoint
 * that may die meanwhile. It counts itself busy under the lock or does not begin.
 */
enum step worker(void)
{
	u32 owner = C->role[me()].helper;

	BEGIN(0)
	A->kernel = 1;
	STEP_WHEN(!peek(hint_at(H_LOCK)));
	if (ring()->alive & 1u << owner) {
		kernel_lock(H_LOCK);
		ring()->busy |= 1u << owner;
		kernel_unlock(H_LOCK);
		for (A->i = 0; A->i < C->nbufs && !A->b; A->i++) {
			STEP;
			if (buf_take(buffer_at(A->i), endpoint_id(owner)) == SLOT_OK)
				A->b = A->i + 1;
		}
		A->i = 0;
		STEP_WHEN(!peek(hint_at(H_LOCK)));
		kernel_lock(H_LOCK);
		/* the dead's buffers are the reaper's, who comes after this */
		if (A->b && ring()->alive & 1u << owner) {
			STEP;
			buf_drop(buffer_at(A->b - 1), endpoint_id(owner));
			CALL(wake(WAIT_ROOM | WAIT_BUFFER));
		}
		A->b = 0;
		ring()->busy &= (u8)~(1u << owner);
		kernel_unlock(H_LOCK);
	}
	STEP;
	finish(ACTOR_DONE);
	END
}
