// SPDX-License-Identifier: MIT
/*
 * park.c: sleeping and waking, to be compared with kmod/wait.c line by line.
 *
 * Everything here runs in the kernel. The sleepers are under wait_lock alone, as is
 * kmod/fence.c; the generation is the stage's and changes under its lock.
 */
#include "model.h"

static u32 bits(u32 mask)
{
	return (u32)__builtin_popcount(mask);
}

/* hints->ready_sleepers, hints->room_sleepers: stores that others see later */
static void set_sleepers(u32 ready, u32 room, bool waker)
{
	struct kring *k = &S->k[A->ring];

	/* sl_tick_start(): somebody is awake again, however he came off the list (P11) */
	if (k->sleepers[0] & ~ready && !(MUT(unpark_no_timer) && !waker))
		k->timer = 1;
	if (k->sleepers[0] != ready) {
		k->sleepers[0] = (u8)ready;
		plain_store(hint_at(H_READY_SLEEPERS), bits(ready));
	}
	if (k->sleepers[1] != room) {
		k->sleepers[1] = (u8)room;
		plain_store(hint_at(H_ROOM_SLEEPERS), bits(room));
	}
}

static void list_add(u32 what)
{
	const struct kring *k = &S->k[A->ring];
	u32 bit = 1u << me();

	set_sleepers(k->sleepers[0] | (what & WAIT_READY ? bit : 0),
		     k->sleepers[1] | (what & (WAIT_ROOM | WAIT_BUFFER) ? bit : 0), false);
}

void list_del(u32 mask)
{
	const struct kring *k = &S->k[A->ring];

	set_sleepers(k->sleepers[0] & ~mask, k->sleepers[1] & ~mask, mask != 1u << me());
}

static bool on_list(void)
{
	const struct kring *k = &S->k[A->ring];

	return (k->sleepers[0] | k->sleepers[1]) & 1u << me();
}

/*
 * sl_wait_over(): is there reason to look again? The answer comes in A->x.
 * What was asked for is A->what, A->wait_at, A->wait_gen (struct sluice_wait).
 */
static enum step wait_over(void)
{
	u64 w, lap = lap_of(A->wait_at);

	BEGIN(5)
	A->x = 1;
	A->y = 0;
	if (!MUT(park_no_generation)) {
		STEP;
		if (mem_load(hint_at(H_GENERATION)) != A->wait_gen && A->what & WAIT_READY)
			RETURN;
	}
	if (C->closes) {
		STEP;
		if (A->what & WAIT_READY ? S->k[A->ring].closed :
		    !MUT(closed_not_seen) && mem_load(hint_at(H_CLOSED)))
			RETURN;
	}
	/* what the kernel keeps comes before anything that is sent later (P30) */
	if (C->queues && !(A->what & WAIT_READY)) {
		STEP;
		if (mem_load(hint_at(H_QUEUED)))
			goto out;
	}
	if (A->what & (WAIT_READY | WAIT_ROOM)) {
		STEP;
		w = mem_load(word_at(index_of(A->wait_at)));
		if (A->what & WAIT_READY && slot_look(w, lap) != LOOK_WAIT)
			RETURN;
		if (A->what & WAIT_ROOM && slot_room(w, lap) != ROOM_FULL) {
			if (!(A->what & WAIT_BUFFER) || MUT(wait_slot_only))
				RETURN;
			A->y = 1;
		}
	}
	/* both: a slot and a buffer (P9) */
	if (A->what & WAIT_BUFFER && (A->y || !(A->what & WAIT_ROOM))) {
		for (A->j = 0; A->j < C->nbufs; A->j++) {
			STEP;
			if (mem_load(buffer_at(A->j)) == buf_word(0, BUF_FREE))
				RETURN;
		}
	}
out:
	A->x = 0;
	END
}

/* sl_fence_begin(): A->y, everybody has to fence before this waiter looks */
static void fence_begin(void)
{
	struct kring *k = &S->k[A->ring];

	A->y = C->asym && A->what & WAIT_READY && !k->fenced;
	if (!A->y)
		return;
	if (MUT(park_ipi_of_another) && k->fencing)
		A->y = 0;
	else
		k->fencing++;
	if (!MUT(park_ipi_first))
		plain_store(hint_at(H_FENCES), 1);
}

/* sl_fence_everywhere() */
static enum step fence_everywhere(void)
{
	struct kring *k = &S->k[A->ring];

	BEGIN(5)
	STEP;
	if (!MUT(park_no_ipi))
		mem_fence_everywhere();
	STEP_WHEN(!peek(hint_at(H_WAIT_LOCK)));
	kernel_lock(H_WAIT_LOCK);
	if (MUT(park_ipi_first))
		plain_store(hint_at(H_FENCES), 1);
	k->fencing--;
	k->fenced = 1;
	kernel_unlock(H_WAIT_LOCK);
	A->y = 0;
	END
}

/* sl_fence_calm() */
static enum step fence_calm(void)
{
	struct kring *k = &S->k[A->ring];

	BEGIN(5)
	STEP_WHEN(!peek(hint_at(H_WAIT_LOCK)));
	if (k->fenced && (!k->fencing || MUT(calm_early)) &&
	    (!k->sleepers[0] || MUT(calm_sleepers))) {
		kernel_lock(H_WAIT_LOCK);
		k->fenced = 0;
		plain_store(hint_at(H_FENCES), 0);
		kernel_unlock(H_WAIT_LOCK);
	}
	END
}

/* sl_park() and the sleep itself: queue ourselves / already there? / sleep / unqueue. */
enum step park(void)
{
	BEGIN(3)
	if (MUT(look_before_list)) {
		A->kernel = 1;
		CALL(wait_over());
		if (A->x)
			goto out;
	}
	/* queue ourselves */
	STEP_WHEN(!peek(hint_at(H_WAIT_LOCK)));
	kernel_lock(H_WAIT_LOCK);
	A->woken = 0;
	list_add(A->what);
	fence_begin();
	kernel_unlock(H_WAIT_LOCK);
	if (A->y)
		CALL(fence_everywhere());
	if (!MUT(look_before_list)) {
		/* already there? (D) */
		STEP;
		if (!MUT(no_fence_d))
			mem_fence();
		CALL(wait_over());
		if (A->x) {
			STEP_WHEN(!peek(hint_at(H_WAIT_LOCK)));
			kernel_lock(H_WAIT_LOCK);
			if (on_list())
				list_del(1u << me());
			kernel_unlock(H_WAIT_LOCK);
			goto out;
		}
	}
	/* sleep: only the kernel takes it off the list */
	A->asleep = 1;
	note("sleeps");
	STEP_WHEN(A->woken);
	note("is awake");
	A->asleep = 0;
out:
	A->woken = 0;
	A->x = A->y = A->j = 0;
	A->what = A->wait_gen = 0;
	A->wait_at = 0;
	A->kernel = A->dying;
	END
}

/* sl_wake(): all whom it may concern (P8) */
enum step wake(u32 what)
{
	struct kring *k = &S->k[A->ring];
	u32 i, mask;

	BEGIN(6)
	STEP_WHEN(!peek(hint_at(H_WAIT_LOCK)));
	mask = 0;
	if (what & WAIT_READY)
		mask |= k->sleepers[0];
	if (what & (WAIT_ROOM | WAIT_BUFFER))
		mask |= k->sleepers[1];
	if (MUT(wake_one))
		mask &= 0u - mask;
	if (mask) {
		u8 kernel = A->kernel;

		kernel_lock(H_WAIT_LOCK);
		A->kernel = kernel;
		for (i = 0; i < C->nactors; i++)
			if (mask & 1u << i)
				S->a[i].woken = 1;
		list_del(mask);
		kernel_unlock(H_WAIT_LOCK);
		note("wakes %#x", mask);
	} else {
		flush_all(A);
	}
	END
}

/*
 * sl_generation(): after the READY words are in place, then everybody (P6).
 * Called under the stage's lock.
 */
enum step generation(void)
{
	struct kring *k = &S->k[A->ring];

	BEGIN(5)
	STEP;
	k->gen++;
	S->g.raised[A->ring] = 0;
	plain_store(hint_at(H_GENERATION), k->gen);
	if (!MUT(no_wake_retry))
		CALL(wake(WAIT_ALL));
	END
}

/* sl_kick(): SLUICE_CMD_KICK */
enum step kick(u32 what)
{
	const struct kring *k = &S->k[A->ring];

	BEGIN(3)
	A->kernel = 1;
	if (what & KICK_READY)
		CALL(wake(WAIT_READY));
	/* a message may be on its way from queue to sent: the lock, not two counters, tells */
	STEP_IF(C->queues);
	A->y = what & KICK_ACKED || k->nq;
	if (MUT(kick_reads_sent_first)) {
		A->y = k->nsent;
		STEP;
		A->y += k->nq;
	}
	if (A->y) {
		STEP_WHEN(!peek(hint_at(H_LOCK)));
		kernel_lock(H_LOCK);
		CALL(pump());
		CALL(tell());
		kernel_unlock(H_LOCK);
	}
	A->y = 0;
	if (what & KICK_ROOM)
		CALL(wake(WAIT_ROOM | WAIT_BUFFER));
	if (what & KICK_CALM)
		CALL(fence_calm());
	A->kernel = 0;
	END
}
