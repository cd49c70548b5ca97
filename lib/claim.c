// SPDX-License-Identifier: MIT
/* claim.c: the consumer's side: claim, holds, ack, nack, renew. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "internal.h"

/* Look at the generation before the words (P7): what it announces is in them by then (P6). */
static inline void look_back(struct sluice_ep *ep)
{
	u32 generation = __atomic_load_n(&ep->hints->generation, __ATOMIC_ACQUIRE);

	if (likely(generation == ep->generation))
		return;
	ep->generation = generation;
	look_at_members(ep);
	/* Something behind the cursor may be READY again; older than a lap nothing can be. */
	if (ticket_diff(ep->ticket, ep->high, ep->order) > 0)
		ep->high = ep->ticket;
	ep->ticket = ticket_add(ep->high, -(long long)ep->nslots, ep->order);
}

static int nack(struct sluice_ep *ep, u64 ticket, u64 token, u32 reason, u32 delay_ms, u32 flags)
{
	struct sluice_nack n = {
		.ticket = ticket,
		.token = token,
		.delay_ms = delay_ms,
		.reason = reason,
		.flags = flags,
	};

	count(&ep->count->full, 1);
	return ioctl(ep->fd, SLUICE_IOC_NACK, &n) ? -errno : 0;
}

/*
 * The message of a slot that was just claimed. Any endpoint may have written nonsense into
 * it: every field is read once, and nothing outside the slot or the pool is ever pointed to.
 */
bool __sluice_read_slot(struct sluice_ep *ep, const struct sluice_slot *slot, u64 token,
			struct sluice_msg *msg)
{
	u32 len = __atomic_load_n(&slot->len, __ATOMIC_RELAXED);
	u32 buf = __atomic_load_n(&slot->buf, __ATOMIC_RELAXED);

	if (buf == SLUICE_NO_BUFFER) {
		if (unlikely(len > SLUICE_INLINE_MAX))
			return false;
		msg->data = slot->data;
	} else {
		if (unlikely(buf >= ep->nbufs || len > ep->bufsize))
			return false;
		msg->data = ep->payload + (size_t)buf * ep->bufsize;
	}
	msg->len = len;
	msg->buffer = buf;
	msg->stream = sl_load(&slot->stream);
	msg->counter = sl_load(&slot->counter);
	msg->time = sl_load(&slot->time);
	msg->kind = __atomic_load_n(&slot->kind, __ATOMIC_RELAXED);
	msg->flags = __atomic_load_n(&slot->flags, __ATOMIC_RELAXED);
	msg->ticket = ep->ticket;
	msg->token = token;
	msg->attempt = slot_attempt(token);
	return true;
}

/* A slot was claimed at the cursor: true when there is a message in it. */
static bool take(struct sluice_ep *ep, struct sluice_slot *slot, u64 token, struct sluice_msg *msg)
{
	u64 ticket = ep->ticket;
	bool good;

	if (__atomic_load_n(&slot->buf, __ATOMIC_RELAXED) == SLUICE_NO_BUFFER &&
	    has_second_line(__atomic_load_n(&slot->len, __ATOMIC_RELAXED)))
		own_line((char *)slot + SECOND_LINE);
	good = __sluice_read_slot(ep, slot, token, msg);
	ep->ticket = ticket_add(ticket, 1, ep->order);
	/* Not to be written: who has to fill it may not have done so yet, and would lose it again. */
	__builtin_prefetch(slot_at(ep, ep->ticket));
	if (unlikely(!good)) {
		nack(ep, ticket, token, EBADMSG, 0, SLUICE_NACK_DEAD);
		return false;
	}
	count(&ep->count->messages, 1);
	count(&ep->count->bytes, msg->len);
	if (unlikely(msg->attempt > 1))
		count(&ep->count->redelivered, 1);
	return true;
}

/*
 * Walk from the cursor to the next message that is ours (P7). -EAGAIN: the cursor stands at
 * a ticket that nothing has happened to yet. The walk is bounded, since what it walks over
 * can be changed under it for ever; -EAGAIN then is not the last word, and a WAIT at such a
 * cursor returns at once.
 */
static int walk(struct sluice_ep *ep, struct sluice_msg *msg)
{
	u32 steps = 4 * ep->nslots;

	look_back(ep);
	while (steps--) {
		struct sluice_slot *slot = slot_at(ep, ep->ticket);
		u64 lap = ticket_lap(ep->ticket, ep->order);
		u64 word = sl_load_acquire(&slot->word), token;

		switch (slot_look(word, lap)) {
		case LOOK_WAIT:
			return -EAGAIN;
		case LOOK_CLAIM:
			if (unlikely(ep->policy) && !__sluice_mine(ep, slot, word)) {
				ep->ticket = ticket_add(ep->ticket, 1, ep->order);
				break;
			}
			if (!msg)
				return 0;
			if (slot_claim(&slot->word, lap, ep->id, &token) == SLOT_OK) {
				if (take(ep, slot, token, msg))
					return 0;
				break;
			}
			/* Never READY (P2): somebody's nonsense, not worth waiting for. */
			if (slot_attempt(word) < SLOT_ATTEMPT_LAST)
				break;
			/* fallthrough */
		case LOOK_PASS:
			ep->ticket = ticket_skip(ep->ticket, word, 2, ep->order);
			break;
		}
	}
	return -EAGAIN;
}

static inline int next_message(struct sluice_ep *ep, struct sluice_msg *msg)
{
	return unlikely(ep->recipient) ? __sluice_broadcast_walk(ep, msg) : walk(ep, msg);
}

/* A stage that is being drained goes on until it is gone. */
static int claim_try(struct sluice_ep *ep, void *msg)
{
	int ret = next_message(ep, msg);

	if (unlikely(ret && hint(&ep->hints->closed) & SLUICE_CLOSED_GONE))
		return -ESHUTDOWN;
	return ret;
}

/* 0: there is something to claim; -EAGAIN: the cursor is where a sleep may begin. */
int __sluice_claim_peek(struct sluice_ep *ep)
{
	return claim_try(ep, NULL);
}

static int claim_failed(struct sluice_ep *ep, int ret)
{
	switch (ret) {
	case -EAGAIN:
		return __sluice_err_lazy(ret, ERROR_EMPTY, ep);
	case -EINTR:
		return __sluice_err_lazy(ret, ERROR_INTERRUPTED, ep);
	case -ESHUTDOWN:
		return __sluice_err_lazy(ret, ERROR_CLOSED, ep);
	case -ENOTCONN:
		return __sluice_err_lazy(ret, ERROR_EXPELLED, ep);
	default:
		return ret;
	}
}

hot_path int sluice_claim(struct sluice_ep *ep, struct sluice_msg *msg, int64_t timeout_ns)
{
	int ret;

	if (unlikely(ep->role != SLUICE_CONSUMER))
		return __sluice_err(-EINVAL, "stage '%s': a producer cannot claim", ep->name);
	ret = claim_try(ep, msg);
	if (likely(!ret))
		return 0;
	if (ret == -EAGAIN && timeout_ns)
		ret = __sluice_retry(ep, claim_try, msg, SLUICE_WAIT_READY,
				     deadline_of(timeout_ns));
	return ret ? claim_failed(ep, ret) : 0;
}

hot_path int sluice_claim_batch(struct sluice_ep *ep, struct sluice_msg *msgs, int n,
				int64_t timeout_ns)
{
	int ret, i;

	if (n < 1)
		return 0;
	ret = sluice_claim(ep, &msgs[0], timeout_ns);
	if (ret)
		return ret;
	for (i = 1; i < n; i++)
		if (next_message(ep, &msgs[i]))
			break;
	return i;
}

bool sluice_holds(struct sluice_ep *ep, const struct sluice_msg *msg)
{
	if (unlikely(ep->recipient))
		return __sluice_broadcast_holds(ep, msg);
	return slot_holds(&slot_at(ep, msg->ticket)->word, msg->token);
}

static bool ack_broadcast(struct sluice_ep *ep, const struct sluice_msg *msg)
{
	bool owed = __sluice_broadcast_ack(ep, msg);

	count(owed ? &ep->count->acked : &ep->count->stale, 1);
	return owed;
}

/* The slot, then its buffer: SENT(t) with a slot newer than t is what the reaper frees (P17). */
static inline bool ack_one(struct sluice_ep *ep, const struct sluice_msg *msg)
{
	if (unlikely(ep->recipient))
		return ack_broadcast(ep, msg);
	if (slot_ack(&slot_at(ep, msg->ticket)->word, msg->token) != SLOT_OK) {
		count(&ep->count->stale, 1);
		return false;
	}
	if (msg->buffer < ep->nbufs)
		buf_free_sent(buffer_word(ep, msg->buffer), msg->ticket);
	count(&ep->count->acked, 1);
	return true;
}

/* (C) after ACKs: does anybody sleep for room, does any sender want to be told? */
void __sluice_look_after_ack(struct sluice_ep *ep, bool tell)
{
	u32 what = tell ? SLUICE_KICK_ACKED : 0;

	fence_after_cas();
	if (unlikely(hint(&ep->hints->room_sleepers) || hint(&ep->hints->queued)))
		what |= SLUICE_KICK_ROOM;
	if (unlikely(what))
		__sluice_kick(ep, what);
}

hot_path int sluice_ack(struct sluice_ep *ep, const struct sluice_msg *msg)
{
	if (unlikely(!ack_one(ep, msg)))
		return __sluice_err_lazy(-ESTALE, ERROR_STALE, ep);
	__sluice_look_after_ack(ep, msg->flags & SLUICE_MSG_TELL);
	return 0;
}

hot_path int sluice_ack_batch(struct sluice_ep *ep, const struct sluice_msg *msgs, int n)
{
	bool tell = false;
	int i, acked = 0;

	for (i = 0; i < n; i++) {
		if (!ack_one(ep, &msgs[i]))
			continue;
		tell |= msgs[i].flags & SLUICE_MSG_TELL;
		acked++;
	}
	if (acked)
		__sluice_look_after_ack(ep, tell);
	if (acked < n)
		__sluice_err_lazy(-ESTALE, ERROR_STALE, ep);
	return acked;
}

static int fenced(struct sluice_ep *ep, const char *verb, int ret)
{
	if (ret == -ESTALE) {
		count(&ep->count->stale, 1);
		return __sluice_err_lazy(ret, ERROR_STALE, ep);
	}
	if (ret)
		return __sluice_err(ret, "stage '%s': cannot %s: %s", ep->name, verb,
				    strerror(-ret));
	return 0;
}

static int no_retry(const struct sluice_ep *ep)
{
	return __sluice_err(-EOPNOTSUPP, "stage '%s': a broadcast gives nothing to somebody else; "
			    "acknowledge it", ep->name);
}

int sluice_nack(struct sluice_ep *ep, const struct sluice_msg *msg, int reason,
		unsigned int delay_ms, unsigned int flags)
{
	if (reason < 0)
		return __sluice_err(-EINVAL, "stage '%s': the reason of a nack is a positive "
				    "errno, not %d", ep->name, reason);
	if (ep->recipient)
		return no_retry(ep);
	return fenced(ep, "nack", nack(ep, msg->ticket, msg->token, (u32)reason, delay_ms, flags));
}

int sluice_renew(struct sluice_ep *ep, const struct sluice_msg *msg)
{
	struct sluice_nack n = { .ticket = msg->ticket, .token = msg->token };

	if (ep->recipient)
		return no_retry(ep);
	return fenced(ep, "renew", ioctl(ep->fd, SLUICE_IOC_RENEW, &n) ? -errno : 0);
}
