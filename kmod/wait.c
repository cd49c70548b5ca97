// SPDX-License-Identifier: GPL-2.0
/*
 * wait.c: park, wake, kick, poll.
 *
 * A sleeper is on the list and counted in the hints before it looks at the ring,
 * and only the kernel takes it off (P5). Whoever takes a waiter off the list
 * completes it: that happens under wait_lock, once. io_uring is called after the
 * lock is dropped.
 */
#include <linux/hrtimer.h>
#include <linux/sched/signal.h>

#include "internal.h"
#include "compat.h"

#define SL_PARKED_MAX	64	/* commands of one endpoint; the library needs two */

/* ------------------------------------------------------- list and counts --- */

static void sl_count_sleeper(struct sl_stage *s, u16 what, int n)
{
	struct sluice_hints *h = s->hints;

	lockdep_assert_held(&s->wait_lock);
	if (what & SLUICE_WAIT_READY)
		WRITE_ONCE(h->ready_sleepers, h->ready_sleepers + n);
	if (what & (SLUICE_WAIT_ROOM | SLUICE_WAIT_BUFFER))
		WRITE_ONCE(h->room_sleepers, h->room_sleepers + n);
}

/*
 * @wait: out, what it waits for; poll()'s may be told anew by another thread.
 * Return: all processors have to pass a fence before it looks, see fence.c
 */
static bool sl_enlist(struct sl_stage *s, struct sl_waiter *w, struct sluice_wait *wait)
{
	bool fence = false;

	spin_lock(&s->wait_lock);
	*wait = w->wait;
	if (!w->parked) {
		w->parked = true;
		w->ep->nwaiters++;
		list_add_tail(&w->list, &s->sleepers);
		sl_count_sleeper(s, w->wait.what, 1);
		sl_turn_parked(s, w);
	}
	if (wait->what & SLUICE_WAIT_READY)
		fence = sl_fence_begin(s);
	spin_unlock(&s->wait_lock);
	return fence;
}

static void sl_delist_locked(struct sl_stage *s, struct sl_waiter *w)
{
	w->parked = false;
	w->ep->nwaiters--;
	list_del_init(&w->list);
	sl_count_sleeper(s, w->wait.what, -1);
	/* However it left the list, it is awake and may claim (P11). */
	if (w->ep->role == SLUICE_CONSUMER)
		sl_tick_start(s);
}

/** sl_unpark() - take it off the list; false when a waker has it already */
bool sl_unpark(struct sl_stage *s, struct sl_waiter *w)
{
	bool mine;

	spin_lock(&s->wait_lock);
	mine = w->parked;
	if (mine)
		sl_delist_locked(s, w);
	spin_unlock(&s->wait_lock);
	return mine;
}

/* ------------------------------------------------------------------ look --- */

static bool sl_buffer_free(struct sl_stage *s)
{
	u32 i;

	for (i = 0; i < s->nbufs; i++) {
		u64 *word = sl_buffer_word(s, i, false);

		if (!word || READ_ONCE(*word) == buf_word(0, BUF_FREE))
			return true;
	}
	return false;
}

/**
 * sl_wait_over() - is there reason to look again? (P7, P9)
 *
 * For a consumer: unless the generation is as it was and the word at the cursor
 * is an older ticket, or FREE or WRITING of this one.
 */
bool sl_wait_over(struct sl_stage *s, const struct sl_waiter *waiter)
{
	const struct sluice_wait *wait = &waiter->wait;
	u64 cursor = wait->cursor & ticket_mask(s->order);
	u64 w = sl_slot_word(s, ticket_index(cursor, s->order));
	u64 lap = ticket_lap(cursor, s->order);
	bool room = false;

	if (READ_ONCE(s->gone))
		return true;
	if (wait->what & SLUICE_WAIT_READY)
		return READ_ONCE(s->hints->generation) != wait->generation ||
		       slot_look(w, lap) != LOOK_WAIT;
	if (READ_ONCE(s->closed))
		return true;
	/* what the kernel keeps comes before anything that is sent later (P30) */
	if (READ_ONCE(s->hints->queued) || !sl_turn_allows(s, waiter))
		return false;
	if (wait->what & SLUICE_WAIT_ROOM) {
		room = slot_room(w, lap) != ROOM_FULL;
		if (!room)
			return false;
	}
	if (wait->what & SLUICE_WAIT_BUFFER)
		return sl_buffer_free(s);
	return room;
}

/* ------------------------------------------------------------------ park --- */

/**
 * sl_park() - put @w to sleep unless it need not; interrupts on, no spinlock held
 * Return: 0 do not sleep, look again; -EIOCBQUEUED asleep, or being woken.
 */
int sl_park(struct sl_stage *s, struct sl_waiter *w)
{
	struct sl_waiter look = { .ep = w->ep };

	/* queue ourselves */
	if (sl_enlist(s, w, &look.wait))
		sl_fence_everywhere(s);
	smp_mb();	/* (D) */
	/* check if there is something already */
	if (!sl_wait_over(s, &look))
		return -EIOCBQUEUED;	/* sleep */
	/* All who poll a descriptor share its waiter: it stays for the others, at a kick more. */
	if (w->kind == SL_WAIT_POLL)
		return 0;
	/* unqueue */
	return sl_unpark(s, w) ? 0 : -EIOCBQUEUED;
}

/* ------------------------------------------------------------------ wake --- */

/** sl_put_waiter() - of a command: who parks it looks at it after a waker may have completed it */
void sl_put_waiter(struct sl_waiter *w)
{
	if (refcount_dec_and_test(&w->refs))
		kfree(w);
}

static void sl_complete_waiter(struct sl_stage *s, struct sl_waiter *w, int result)
{
	struct task_struct *task;

	switch (w->kind) {
	case SL_WAIT_URING:
		sl_uring_complete(w->cmd, result);
		sl_put_waiter(w);
		break;
	case SL_WAIT_TASK:
		task = w->task;
		w->result = result;
		/* @result first, pairs with sl_sleep(); then @w may be gone from its stack */
		smp_store_release(&w->task, NULL);
		wake_up_process(task);
		put_task_struct(task);
		break;
	case SL_WAIT_POLL:
		break;	/* everybody on pollq is woken below */
	}
}

/* @result 0: there may be something for it; else it is told why there is not. */
static bool sl_wanted(struct sl_stage *s, const struct sl_waiter *w, u32 what,
		      const struct sl_endpoint *ep, int result)
{
	if (!(w->wait.what & what) || (ep && w->ep != ep))
		return false;
	return result || sl_turn_allows(s, w);
}

static void sl_wake_list(struct sl_stage *s, struct list_head *woken, int result)
{
	struct sl_waiter *w, *next;

	list_for_each_entry_safe(w, next, woken, list) {
		list_del_init(&w->list);
		/* Its mappings are gone, perhaps: it must not look at them (P26). */
		sl_complete_waiter(s, w, result ?: READ_ONCE(w->ep->dead) ? -ENOTCONN : 0);
	}
}

static void sl_wake_some(struct sl_stage *s, u32 what, const struct sl_endpoint *ep, int result)
{
	struct sl_waiter *w, *next;
	LIST_HEAD(woken);
	bool poll = false;

	spin_lock(&s->wait_lock);
	list_for_each_entry_safe(w, next, &s->sleepers, list) {
		if (!sl_wanted(s, w, what, ep, result))
			continue;
		sl_delist_locked(s, w);
		if (w->kind == SL_WAIT_POLL)
			poll = true;	/* stays where it is: in its endpoint */
		else
			list_add_tail(&w->list, &woken);
	}
	s->counts.wakes += !list_empty(&woken) || poll;
	spin_unlock(&s->wait_lock);
	/* nobody else can reach those on @woken now */
	sl_wake_list(s, &woken, result);
	if (poll)
		wake_up_interruptible_poll(&s->pollq, EPOLLIN | EPOLLOUT | EPOLLERR);
}

/** sl_wake() - everybody whom the policy may give it to (P8) */
void sl_wake(struct sl_stage *s, u32 what, int result)
{
	sl_wake_some(s, what, NULL, result);
}

void sl_wake_endpoint(struct sl_endpoint *ep, int result)
{
	sl_wake_some(ep->stage, SLUICE_WAIT_ALL, ep, result);
}

/**
 * sl_wake_expired() - parked commands that nothing could cancel (6.1)
 *
 * Bound, so that exec and the end of a ring do not hang; the library parks again.
 */
void sl_wake_expired(struct sl_stage *s)
{
	struct sl_waiter *w, *next;
	LIST_HEAD(woken);

	spin_lock(&s->wait_lock);
	list_for_each_entry_safe(w, next, &s->sleepers, list) {
		if (w->kind == SL_WAIT_URING && time_after_eq(jiffies, w->deadline)) {
			sl_delist_locked(s, w);
			list_add_tail(&w->list, &woken);
		}
	}
	spin_unlock(&s->wait_lock);
	sl_wake_list(s, &woken, -ETIME);
}

/** sl_cancel_wait() - io_uring gives up a parked WAIT; false when there is none any more */
bool sl_cancel_wait(struct sl_stage *s, struct io_uring_cmd *cmd)
{
	struct sl_waiter *w, *found = NULL;

	spin_lock(&s->wait_lock);
	list_for_each_entry(w, &s->sleepers, list) {
		if (w->kind == SL_WAIT_URING && w->cmd == cmd) {
			found = w;
			sl_delist_locked(s, w);
			break;
		}
	}
	spin_unlock(&s->wait_lock);
	if (found)
		sl_complete_waiter(s, found, -ECANCELED);
	return found;
}

/** sl_parked_commands() - does a command wait that may have to be expired? */
bool sl_parked_commands(struct sl_stage *s)
{
	struct sl_waiter *w;
	bool any = false;

	spin_lock(&s->wait_lock);
	list_for_each_entry(w, &s->sleepers, list)
		any |= w->kind == SL_WAIT_URING;
	spin_unlock(&s->wait_lock);
	return any;
}

/** sl_all_parked() - is every consumer of the stage asleep? (P11) */
bool sl_all_parked(struct sl_stage *s)
{
	struct sl_endpoint *ep;
	unsigned long id;
	bool all = true;

	lockdep_assert_held(&s->lock);
	spin_lock(&s->wait_lock);
	xa_for_each(&s->endpoints, id, ep)
		if (ep->role == SLUICE_CONSUMER && !ep->dead)
			all &= ep->nwaiters > 0;
	spin_unlock(&s->wait_lock);
	return all;
}

/**
 * sl_may_park() - has @ep room for one more parked command?
 *
 * An end of its task cancels them one by one, each looked for on the stage's list.
 */
bool sl_may_park(struct sl_endpoint *ep)
{
	bool may;

	spin_lock(&ep->stage->wait_lock);
	may = ep->nwaiters < SL_PARKED_MAX;
	spin_unlock(&ep->stage->wait_lock);
	return may;
}

/** sl_endpoint_parked() - for the listing */
bool sl_endpoint_parked(struct sl_endpoint *ep)
{
	bool parked;

	spin_lock(&ep->stage->wait_lock);
	parked = ep->nwaiters > 0;
	spin_unlock(&ep->stage->wait_lock);
	return parked;
}

/** sl_generation() - something behind a cursor changed: everybody walks again (P6) */
void sl_generation(struct sl_stage *s)
{
	lockdep_assert_held(&s->lock);
	smp_wmb();	/* the words before the generation */
	WRITE_ONCE(s->hints->generation, s->hints->generation + 1);
	smp_mb();	/* (C) */
	sl_wake(s, SLUICE_WAIT_ALL, 0);
}

/**
 * sl_kick() - user space changed a word and saw that somebody sleeps
 *
 * Never under stage->lock.
 */
void sl_kick(struct sl_stage *s, u32 what)
{
	sl_count_racy(s, kicks, 1);
	if (what & SLUICE_KICK_READY)
		sl_wake(s, SLUICE_WAIT_READY, 0);
	if (what & SLUICE_KICK_GONE && sl_is_broadcast(s)) {
		mutex_lock(&s->lock);
		if (sl_broadcast_prune(s))
			what |= SLUICE_KICK_ROOM | SLUICE_KICK_ACKED;
		mutex_unlock(&s->lock);
	}
	/* A message may be on its way from queue to sent: the lock, not two counters, tells. */
	if (what & SLUICE_KICK_ACKED || (what & SLUICE_KICK_ROOM && READ_ONCE(s->nqueue))) {
		mutex_lock(&s->lock);
		sl_queue_pump(s);
		sl_queue_check(s);
		mutex_unlock(&s->lock);
	}
	if (what & SLUICE_KICK_ROOM)
		sl_wake(s, SLUICE_WAIT_ROOM | SLUICE_WAIT_BUFFER, 0);
	if (what & SLUICE_KICK_CALM)
		sl_fence_calm(s);
}

/* ------------------------------------------------------- synchronous wait --- */

static int sl_sleep(struct sl_stage *s, struct sl_waiter *w, s64 timeout_ns)
{
	ktime_t expires = ktime_add_safe(ktime_get(), ns_to_ktime(timeout_ns));
	int err = 0;

	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!smp_load_acquire(&w->task))	/* pairs with sl_complete_waiter() */
			break;
		if (signal_pending(current))
			err = -ERESTARTSYS;
		else if (timeout_ns < 0)
			schedule();
		else if (!schedule_hrtimeout(&expires, HRTIMER_MODE_ABS))
			err = -EAGAIN;
		if (err && sl_unpark(s, w)) {
			put_task_struct(current);
			__set_current_state(TASK_RUNNING);
			return err;
		}
		/* a waker has it: it will clear w->task in a moment */
		err = 0;
		cond_resched();
	}
	__set_current_state(TASK_RUNNING);
	return w->result;
}

/**
 * sl_wait() - SLUICE_IOC_WAIT, and the sleep of read(2) and write(2)
 * @timeout_ns:	< 0 for ever
 * Return: 0 look again, -EAGAIN timed out, -ERESTARTSYS, -ESHUTDOWN, -ENOTCONN.
 */
int sl_wait(struct sl_endpoint *ep, const struct sluice_wait *wait, s64 timeout_ns)
{
	struct sl_stage *s = ep->stage;
	struct sl_waiter w = {
		.kind = SL_WAIT_TASK,
		.ep = ep,
		.wait = *wait,
		.task = current,
	};
	int err;

	if (READ_ONCE(s->gone))
		return -ESHUTDOWN;
	INIT_LIST_HEAD(&w.list);
	get_task_struct(current);
	err = sl_park(s, &w);
	if (err != -EIOCBQUEUED) {
		put_task_struct(current);
		return err;
	}
	/* an endpoint that died before the waiter was on the list wakes nobody */
	if (READ_ONCE(ep->dead) && sl_unpark(s, &w)) {
		put_task_struct(current);
		return -ENOTCONN;
	}
	return sl_sleep(s, &w, timeout_ns);
}

/* ------------------------------------------------------------------ poll --- */

/* What poll() shall look at from now on; counts as a sleeper once it looked. */
static void sl_poll_arm(struct sl_endpoint *ep, const struct sluice_wait *wait)
{
	struct sl_stage *s = ep->stage;

	sl_unpark(s, &ep->poll);
	spin_lock(&s->wait_lock);
	ep->poll.wait = *wait;
	spin_unlock(&s->wait_lock);
}

/**
 * sl_poll_look() - SLUICE_IOC_WAIT that does not sleep: look, and arm poll()
 *
 * It counts as a sleeper from here on: an edge-triggered epoll does not ask again.
 * Return: 0 look again, -EAGAIN nothing yet, -ESHUTDOWN.
 */
int sl_poll_look(struct sl_endpoint *ep, const struct sluice_wait *wait)
{
	if (READ_ONCE(ep->stage->gone))
		return -ESHUTDOWN;
	sl_poll_arm(ep, wait);
	if (!sl_park(ep->stage, &ep->poll))
		return 0;
	/* one that died before it was on the list wakes nobody */
	if (READ_ONCE(ep->dead))
		return -ENOTCONN;
	return -EAGAIN;
}

/**
 * sl_poll_again() - read(2) or write(2) says -EAGAIN to somebody who polls
 *
 * An edge-triggered epoll does not ask again: who has taken everything counts as a sleeper from
 * here on. True: look again first.
 */
bool sl_poll_again(struct sl_endpoint *ep, const struct sluice_wait *wait)
{
	if (!READ_ONCE(ep->polled))
		return false;
	return !sl_poll_look(ep, wait);
}

/* A reader without a mapping never says where it is: the kernel walks for it. */
static void sl_poll_default(struct sl_endpoint *ep)
{
	struct sluice_wait wait = {
		.cursor = READ_ONCE(ep->cursor),
		.generation = READ_ONCE(ep->generation),
		.what = ep->role == SLUICE_CONSUMER ? SLUICE_WAIT_READY : SLUICE_WAIT_ROOM,
	};

	if (ep->role == SLUICE_PRODUCER)
		wait.cursor = READ_ONCE(sl_control(ep->stage)->tail);
	sl_poll_arm(ep, &wait);
}

/* Did it say where it is? */
static bool sl_poll_told(struct sl_endpoint *ep)
{
	bool told;

	spin_lock(&ep->stage->wait_lock);
	told = ep->poll.wait.what && READ_ONCE(ep->mapped);
	spin_unlock(&ep->stage->wait_lock);
	return told;
}

/*
 * Readable, or writable: there is reason to look. A spurious report is possible
 * (another consumer was faster), a lost one is not.
 */
__poll_t sl_poll(struct file *file, poll_table *table)
{
	struct sl_endpoint *ep = file->private_data;
	struct sl_stage *s = ep->stage;
	__poll_t ready;

	poll_wait(file, &s->pollq, table);
	WRITE_ONCE(ep->polled, true);
	if (READ_ONCE(s->gone))
		return EPOLLERR | EPOLLHUP;
	if (!smp_load_acquire(&ep->attached))	/* pairs with sl_attach_locked() */
		return EPOLLOUT;
	if (READ_ONCE(ep->dead))
		return EPOLLERR | EPOLLHUP;
	ready = ep->role == SLUICE_CONSUMER ? EPOLLIN | EPOLLRDNORM : EPOLLOUT | EPOLLWRNORM;
	if (!sl_poll_told(ep))
		sl_poll_default(ep);
	if (!sl_park(s, &ep->poll))
		return ready;
	return READ_ONCE(ep->dead) ? EPOLLERR | EPOLLHUP : 0;
}
