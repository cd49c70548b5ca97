// SPDX-License-Identifier: MIT
/* produce.c: the producer's side: payload buffers; reserve, publish, discard; send, post. */
#include <string.h>
#include <sys/ioctl.h>

#include "internal.h"

/* A line comes from another processor in the time of some messages; a lap has 64 at least. */
#define PREFETCH_AHEAD	4
/* Of buffers that take turns: more than a processor's own caches have. */
#define WARM_BYTES	(4ull << 20)
/* Messages of a batch that share a look at the clock, which is a good part of what one costs. */
#define SAME_TIME	8

static int produce_failed(struct sluice_ep *ep, int ret, enum lazy_error full)
{
	switch (ret) {
	case -EAGAIN:
		return __sluice_err_lazy(ret, full, ep);
	case -EINTR:
		return __sluice_err_lazy(ret, ERROR_INTERRUPTED, ep);
	case -ESHUTDOWN:
		return __sluice_err_lazy(ret, ERROR_CLOSED, ep);
	case -ENOTCONN:
		return __sluice_err_lazy(ret, ep->policy == SLUICE_POLICY_BROADCAST ?
					      ERROR_NOBODY : ERROR_EXPELLED, ep);
	default:
		return ret;
	}
}

static int must_produce(const struct sluice_ep *ep)
{
	if (likely(ep->role == SLUICE_PRODUCER))
		return 0;
	return __sluice_err(-EINVAL, "stage '%s': a consumer cannot publish", ep->name);
}

/* Somebody has waited so long that what becomes free is its alone; see turn.c of the module. */
static inline bool not_our_turn(const struct sluice_ep *ep, u32 turn)
{
	return turn && turn != ep->id;
}

/* -------------------------------------------------------------- buffers --- */

/*
 * Some buffers take turns, as many as have WARM_BYTES. Their pages are there, and the pool does not
 * become resident from end to end. But it is not always the one that came back last: its consumer
 * has just read it and still shares its lines, and to write those costs more than to write some
 * that have left its caches since.
 */
static bool wants_another(const struct sluice_ep *ep)
{
	u32 most = ep->nbufs < BUFFER_TURNS ? ep->nbufs : BUFFER_TURNS;

	return ep->nturns < most && (u64)ep->nturns * ep->bufsize < WARM_BYTES;
}

static bool take_turn(struct sluice_ep *ep, u32 *index)
{
	u32 n;

	for (n = 0; n < ep->nturns; n++) {
		*index = ep->turns[ep->turn];
		ep->turn = ep->turn + 1 < ep->nturns ? ep->turn + 1 : 0;
		if (buf_take(buffer_word(ep, *index), ep->id) == SLOT_OK)
			return true;
	}
	return false;
}

/* Any of them, and beginning with one that it was not before. */
static bool take_any(struct sluice_ep *ep, u32 *index)
{
	u32 i = ep->buffer_hint, n;

	for (n = 0; n < ep->nbufs; n++) {
		i = i + 1 < ep->nbufs ? i + 1 : 0;
		if (buf_take(buffer_word(ep, i), ep->id) != SLOT_OK)
			continue;
		ep->buffer_hint = *index = i;
		return true;
	}
	return false;
}

static void take_turns_with(struct sluice_ep *ep, u32 index)
{
	u32 n;

	for (n = 0; n < ep->nturns; n++)
		if (ep->turns[n] == index)
			return;
	ep->turns[ep->nturns++] = index;
}

static int buffer_try(struct sluice_ep *ep, void *arg)
{
	u32 *index = arg;

	if (unlikely(hint(&ep->hints->closed)))
		return -ESHUTDOWN;
	if (unlikely(not_our_turn(ep, hint(&ep->hints->buffer_turn))))
		return -EAGAIN;
	if (wants_another(ep)) {
		if (!take_any(ep, index))
			return -EAGAIN;
		take_turns_with(ep, *index);
	} else if (!take_turn(ep, index) && !take_any(ep, index)) {
		return -EAGAIN;
	}
	if (ep->sending)
		ep->sending[*index] = NULL;
	return 0;
}

static int take_buffer(struct sluice_ep *ep, u32 *index, u64 deadline)
{
	int ret;

	if (unlikely(!ep->nbufs))
		return __sluice_err(-ENOBUFS, "stage '%s': it has no payload buffers; a message "
				    "may have %u bytes, or create it with --buffers", ep->name,
				    SLUICE_INLINE_MAX);
	ret = buffer_try(ep, index);
	if (unlikely(ret == -EAGAIN && deadline != DEADLINE_NOW)) {
		count(&ep->count->full, 1);
		ret = __sluice_retry(ep, buffer_try, index, SLUICE_WAIT_BUFFER, deadline);
	}
	return ret ? produce_failed(ep, ret, ERROR_NO_BUFFER) : 0;
}

int sluice_buffer_take(struct sluice_ep *ep, struct sluice_buffer *buf, int64_t timeout_ns)
{
	int ret = must_produce(ep);

	if (!ret)
		ret = take_buffer(ep, &buf->index, deadline_of(timeout_ns));
	if (!ret)
		buf->data = ep->payload + (size_t)buf->index * ep->bufsize;
	return ret;
}

int sluice_buffer_drop(struct sluice_ep *ep, struct sluice_buffer *buf)
{
	if (buf->index >= ep->nbufs ||
	    buf_drop(buffer_word(ep, buf->index), ep->id) != SLOT_OK)
		return __sluice_err(-EINVAL, "stage '%s': buffer %u is not held by this endpoint",
				    ep->name, buf->index);
	buf->index = SLUICE_NO_BUFFER;
	buf->data = NULL;
	fence_after_cas();
	__sluice_look_room(ep);
	return 0;
}

/* ----------------------------------------------------------------- room --- */

/* The tail hint goes forward only, and only over tickets that were seen used (P4). */
static void help_tail(struct sluice_ep *ep)
{
	u64 tail = sl_load(&ep->control->tail);

	if (ticket_diff(ep->ticket, tail & ticket_mask(ep->order), ep->order) > 0)
		sl_cas(&ep->control->tail, tail, ep->ticket);
}

/* 0: the slot of ep->ticket is FREE for it. -EAGAIN: it is the one to wait for. */
static int find_room(struct sluice_ep *ep)
{
	u32 steps = 4 * ep->nslots;

	if (!ep->sole) {
		u64 tail = sl_load(&ep->control->tail) & ticket_mask(ep->order);

		if (ticket_diff(tail, ep->ticket, ep->order) > 0)
			ep->ticket = tail;
	}
	while (steps--) {
		/* (F) of the consumer that freed the slot: its reads are over. */
		u64 word = sl_load_acquire(&slot_at(ep, ep->ticket)->word);

		switch (slot_room(word, ticket_lap(ep->ticket, ep->order))) {
		case ROOM_FREE:
			return 0;
		case ROOM_USED:
			ep->ticket = ticket_skip(ep->ticket, word, 1, ep->order);
			break;
		case ROOM_FULL:
			if (!ep->sole)
				help_tail(ep);
			return -EAGAIN;
		}
	}
	return -EAGAIN;
}

/*
 * A ticket that nobody else can publish at: a sole producer just takes the next one, others
 * compete for it. Later messages must not overtake those in the kernel's queue (P30).
 */
int __sluice_room_try(struct sluice_ep *ep, void *ticket)
{
	u32 tries;
	int ret;

	if (unlikely(hint(&ep->hints->closed)))
		return -ESHUTDOWN;
	if (ep->sole) {
		ret = find_room(ep);
		*(u64 *)ticket = ep->ticket;
		return ret;
	}
	if (unlikely(hint(&ep->hints->queued) || not_our_turn(ep, hint(&ep->hints->room_turn))))
		return -EAGAIN;
	/* Each lost try is a message that somebody else published. */
	for (tries = ep->nslots; tries; tries--) {
		u64 t;

		ret = find_room(ep);
		if (ret)
			return ret;
		t = ep->ticket;
		if (slot_reserve(&slot_at(ep, t)->word, ticket_lap(t, ep->order), ep->id) !=
		    SLOT_OK)
			continue;
		*(u64 *)ticket = t;
		ep->ticket = ticket_add(t, 1, ep->order);
		help_tail(ep);
		return 0;
	}
	return -EAGAIN;
}

/* ---------------------------------------------------------- one message --- */

static int check_outgoing(struct sluice_ep *ep, const struct sluice_msg *msg)
{
	if (unlikely(msg->flags & ~SLUICE_MSG_ALL))
		return __sluice_err(-EINVAL, "stage '%s': unknown message flags 0x%x", ep->name,
				    msg->flags & ~SLUICE_MSG_ALL);
	if (msg->buffer == SLUICE_NO_BUFFER)
		return 0;
	if (unlikely(msg->buffer >= ep->nbufs ||
		     sl_load(buffer_word(ep, msg->buffer)) != buf_word(ep->id, BUF_HELD)))
		return __sluice_err(-EINVAL, "stage '%s': buffer %u is not held by this endpoint "
				    "(SLUICE_NO_BUFFER means none)", ep->name, msg->buffer);
	if (unlikely(msg->len > ep->bufsize))
		return __sluice_err(-EMSGSIZE, "stage '%s': %u bytes are more than its buffers "
				    "have (%u)", ep->name, msg->len, ep->bufsize);
	return 0;
}

static int copy_to_buffer(struct sluice_ep *ep, const struct sluice_msg *msg, struct outgoing *out,
			  u64 deadline)
{
	int ret;

	if (ep->nbufs && msg->len > ep->bufsize)
		return __sluice_err(-EMSGSIZE, "stage '%s': %u bytes are more than its buffers "
				    "have (%u); create it with a larger --buffer-size", ep->name,
				    msg->len, ep->bufsize);
	ret = take_buffer(ep, &out->buffer, deadline);
	if (ret)
		return ret;
	memcpy(ep->payload + (size_t)out->buffer * ep->bufsize, msg->data, msg->len);
	out->data = NULL;
	out->taken = true;
	return 0;
}

/* Check a message and put its payload where it can be published from. */
int __sluice_outgoing(struct sluice_ep *ep, const struct sluice_msg *msg, struct outgoing *out,
		      u64 deadline)
{
	int ret = must_produce(ep);

	if (!ret)
		ret = check_outgoing(ep, msg);
	if (unlikely(ret))
		return ret;
	look_at_members(ep);
	out->stream = msg->stream;
	out->counter = msg->counter;
	out->len = msg->len;
	out->buffer = msg->buffer;
	out->kind = msg->kind;
	out->flags = msg->flags & ~SLUICE_MSG_TELL;
	out->time = 0;
	out->taken = false;
	out->data = msg->buffer == SLUICE_NO_BUFFER ? msg->data : NULL;
	if (msg->buffer == SLUICE_NO_BUFFER && msg->len > SLUICE_INLINE_MAX)
		return copy_to_buffer(ep, msg, out, deadline);
	return 0;
}

/* It was not published: what the library took for it goes back. */
void __sluice_outgoing_drop(struct sluice_ep *ep, struct outgoing *out)
{
	struct sluice_buffer buf = { .index = out->buffer };

	if (out->taken)
		sluice_buffer_drop(ep, &buf);
}

/* Whom it is for. In a stage without a policy: anybody. */
static int address(struct sluice_ep *ep, struct sluice_slot *slot, u64 lap, u64 stream)
{
	int ret = 0;

	if (ep->policy != SLUICE_POLICY_BROADCAST) {
		slot->target = __sluice_choose(ep, stream);
		return 0;
	}
	ret = __sluice_broadcast_address(ep, slot);
	if (ret) {
		slot_discard(&slot->word, lap, ep->id);
		fence_after_cas();
		__sluice_look_ready(ep);
		__sluice_look_room(ep);
	}
	return ret;
}

/*
 * Fill the slot of a ticket that is ours and publish it (A). The buffer goes with the ticket
 * first (P17): whoever frees the slot finds it so.
 */
int __sluice_publish_at(struct sluice_ep *ep, struct outgoing *out, u64 t)
{
	struct sluice_slot *slot = slot_at(ep, t);
	u64 lap = ticket_lap(t, ep->order);

	if (!out->time)
		out->time = ticks_now();
	ep->published_at = out->time;
	if (unlikely(ep->policy)) {
		int ret = address(ep, slot, lap, out->stream);

		if (ret)
			return ret;
	}
	if (out->buffer != SLUICE_NO_BUFFER &&
	    buf_send(buffer_word(ep, out->buffer), ep->id, t) != SLOT_OK) {
		if (!ep->sole)
			slot_discard(&slot->word, lap, ep->id);
		sl_fence();
		__sluice_look_ready(ep);
		return __sluice_err(-EINVAL, "stage '%s': buffer %u is not held by this endpoint",
				    ep->name, out->buffer);
	}
	/* Its second line first: then the first one, where the word is, is asked for once. */
	if (out->data)
		memcpy(slot->data, out->data, out->len);
	if (likely(!ep->policy))
		slot->target = 0;
	slot->stream = out->stream;
	slot->counter = out->counter;
	slot->time = out->time;
	slot->len = out->len;
	slot->buf = out->buffer;
	slot->kind = out->kind;
	slot->flags = out->flags;
	if (ep->sole) {
		slot_publish_sole(&slot->word, lap);
		ep->ticket = ticket_add(t, 1, ep->order);
		__atomic_store_n(&ep->control->tail, ep->ticket, __ATOMIC_RELAXED);
	} else if (slot_publish(&slot->word, lap, ep->id) != SLOT_OK) {
		return __sluice_err(-ESTALE, "stage '%s': the kernel took the slot back: it was "
				    "held for longer than the write timeout", ep->name);
	}
	count(&ep->count->messages, 1);
	count(&ep->count->bytes, out->len);
	/* That one will be like this one, and it takes some messages' time to come. */
	slot = slot_at(ep, ticket_add(t, PREFETCH_AHEAD, ep->order));
	prefetch_write(slot);
	if (out->data && has_second_line(out->len))
		prefetch_write((const char *)slot + SECOND_LINE);
	return 0;
}

/* After a publish and (C): does anybody sleep for it? */
void __sluice_look_ready(struct sluice_ep *ep)
{
	if (unlikely(hint(&ep->hints->ready_sleepers)))
		__sluice_kick(ep, SLUICE_KICK_READY);
	if (unlikely(ep->addressed))
		__sluice_broadcast_look(ep);
}

/* After a discard or a dropped buffer and (C): is there room for somebody now? */
void __sluice_look_room(struct sluice_ep *ep)
{
	if (unlikely(hint(&ep->hints->room_sleepers) || hint(&ep->hints->queued)))
		__sluice_kick(ep, SLUICE_KICK_ROOM);
}

#define CALM_AFTER	65536u

/* If nobody was asleep for so long, the kernel may take the fence away; it knows better. */
static __attribute__((noinline)) void fence_sole(struct sluice_ep *ep)
{
	sl_fence();
	if (!ep->asym_fence)
		return;
	if (hint(&ep->hints->ready_sleepers)) {
		ep->calm = 0;
	} else if (++ep->calm == CALM_AFTER) {
		ep->calm = 0;
		__sluice_kick(ep, SLUICE_KICK_CALM);
	}
}

/*
 * (C). A sole producer has published with a plain store. As long as hints->fences is 0 after it, who
 * goes to sleep later has this processor fence, before he looks; see fence.c of the module. The
 * compiler must keep the order of the two, and the processor need not.
 */
static inline void fence_after_publish(struct sluice_ep *ep)
{
	if (!ep->sole) {
		fence_after_cas();
		return;
	}
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (unlikely(!ep->asym_fence || hint(&ep->hints->fences)))
		fence_sole(ep);
}

/* ----------------------------------------------------------------- send --- */

int __sluice_send_try(struct sluice_ep *ep, void *arg)
{
	struct outgoing *out = arg;
	int ret = __sluice_room_try(ep, &out->ticket);

	return ret ? ret : __sluice_publish_at(ep, out, out->ticket);
}

/* Without the look for sleepers, so that a batch has one for all. @time: of the publish; 0: now. */
static int send_one(struct sluice_ep *ep, struct sluice_msg *msg, u64 deadline, u64 time)
{
	struct outgoing out;
	int ret = __sluice_outgoing(ep, msg, &out, deadline);

	if (unlikely(ret))
		return ret;
	out.time = time;
	ret = __sluice_send_try(ep, &out);
	if (unlikely(ret == -EAGAIN)) {
		count(&ep->count->full, 1);
		if (deadline != DEADLINE_NOW)
			ret = __sluice_retry(ep, __sluice_send_try, &out, SLUICE_WAIT_ROOM,
					     deadline);
	}
	if (unlikely(ret)) {
		__sluice_outgoing_drop(ep, &out);
		return produce_failed(ep, ret, ERROR_FULL);
	}
	msg->ticket = out.ticket;
	return 0;
}

hot_path int sluice_send(struct sluice_ep *ep, struct sluice_msg *msg, int64_t timeout_ns)
{
	int ret;

	if (unlikely(ep->reserved))
		return __sluice_err(-EBUSY, "stage '%s': publish or discard what is reserved first",
				    ep->name);
	ret = send_one(ep, msg, deadline_of(timeout_ns), 0);
	if (ret)
		return ret;
	fence_after_publish(ep);
	__sluice_look_ready(ep);
	return 0;
}

hot_path int sluice_send_batch(struct sluice_ep *ep, struct sluice_msg *msgs, int n,
			       int64_t timeout_ns)
{
	int ret, i;

	if (n < 1)
		return 0;
	/* Only the first is worth waiting for; its sleepers learn of all at once. */
	if (unlikely(ep->reserved))
		return sluice_send(ep, &msgs[0], timeout_ns);
	ret = send_one(ep, &msgs[0], deadline_of(timeout_ns), 0);
	if (ret)
		return ret;
	for (i = 1; i < n; i++)
		if (send_one(ep, &msgs[i], DEADLINE_NOW, i % SAME_TIME ? ep->published_at : 0))
			break;
	fence_after_publish(ep);
	__sluice_look_ready(ep);
	return i;
}

/* ----------------------------------------------------------------- post --- */

/* The kernel keeps it and publishes it in its turn (P30). */
static int post_queued(struct sluice_ep *ep, const struct outgoing *out)
{
	struct sluice_send s = {
		.size = sizeof(s),
		.flags = SLUICE_SEND_ACCEPT,
		.stream = out->stream,
		.counter = out->counter,
		.time = sluice_ticks(),
		.addr = (u64)(uintptr_t)out->data,
		.len = out->len,
		.buf = out->buffer,
		.kind = out->kind,
		.msg_flags = out->flags,
		.target = __sluice_target(ep, out->stream),
	};
	int ret;

	if (out->buffer != SLUICE_NO_BUFFER)
		s.flags |= SLUICE_SEND_BUFFER;
	do {
		ret = ioctl(ep->fd, SLUICE_IOC_SEND, &s);
	} while (ret < 0 && errno == EINTR);
	if (ret < 0) {
		ret = -errno;
		if (ret == -EAGAIN || ret == -ESHUTDOWN || ret == -ENOTCONN)
			return produce_failed(ep, ret, ERROR_QUEUE_FULL);
		return __sluice_err(ret, "stage '%s': the kernel does not keep the message: %s",
				    ep->name, strerror(-ret));
	}
	count(&ep->count->messages, 1);
	count(&ep->count->bytes, out->len);
	return ret;
}

int sluice_post(struct sluice_ep *ep, struct sluice_msg *msg)
{
	struct outgoing out;
	int ret;

	if (unlikely(ep->reserved))
		return sluice_send(ep, msg, SLUICE_NOW);
	ret = __sluice_outgoing(ep, msg, &out, DEADLINE_NOW);
	if (ret)
		return ret;
	ret = __sluice_send_try(ep, &out);
	if (!ret) {
		msg->ticket = out.ticket;
		fence_after_publish(ep);
		__sluice_look_ready(ep);
		return 0;
	}
	/* The kernel never publishes beside a sole producer (P19), so it keeps nothing for it. */
	if (ret == -EAGAIN && !ep->sole)
		ret = post_queued(ep, &out);
	else
		ret = produce_failed(ep, ret, ERROR_FULL);
	if (ret < 0) {
		if (ret == -EAGAIN)
			count(&ep->count->full, 1);
		__sluice_outgoing_drop(ep, &out);
	}
	return ret;
}

/* ------------------------------------------------- the verbs by themselves --- */

int sluice_reserve(struct sluice_ep *ep, struct sluice_msg *msg, void **data, int64_t timeout_ns)
{
	int ret = must_produce(ep);
	u64 ticket;

	if (!ret)
		ret = check_outgoing(ep, msg);
	if (ret)
		return ret;
	if (ep->reserved)
		return __sluice_err(-EBUSY, "stage '%s': publish or discard what is reserved first",
				    ep->name);
	if (msg->buffer == SLUICE_NO_BUFFER && msg->len > SLUICE_INLINE_MAX)
		return __sluice_err(-EMSGSIZE, "stage '%s': %u bytes do not fit into a slot (%u); "
				    "take a buffer", ep->name, msg->len, SLUICE_INLINE_MAX);
	ret = __sluice_room_try(ep, &ticket);
	if (ret == -EAGAIN) {
		count(&ep->count->full, 1);
		if (timeout_ns)
			ret = __sluice_retry(ep, __sluice_room_try, &ticket, SLUICE_WAIT_ROOM,
					     deadline_of(timeout_ns));
	}
	if (ret)
		return produce_failed(ep, ret, ERROR_FULL);
	ep->reserved = ep->sole;
	msg->ticket = ticket;
	*data = msg->buffer == SLUICE_NO_BUFFER ? slot_at(ep, ticket)->data : NULL;
	return 0;
}

int sluice_publish(struct sluice_ep *ep, struct sluice_msg *msg)
{
	struct outgoing out = {
		.stream = msg->stream,
		.counter = msg->counter,
		.len = msg->len,
		.buffer = msg->buffer,
		.kind = msg->kind,
		.flags = msg->flags & ~SLUICE_MSG_TELL,
	};
	int ret;

	if (msg->len > (msg->buffer == SLUICE_NO_BUFFER ? SLUICE_INLINE_MAX : ep->bufsize))
		return __sluice_err(-EMSGSIZE, "stage '%s': %u bytes are more than were reserved",
				    ep->name, msg->len);
	if (msg->buffer != SLUICE_NO_BUFFER && msg->buffer >= ep->nbufs)
		return __sluice_err(-EINVAL, "stage '%s': no buffer %u", ep->name, msg->buffer);
	if (ep->sole && !ep->reserved)
		return __sluice_err(-EINVAL, "stage '%s': nothing is reserved", ep->name);
	ep->reserved = false;
	look_at_members(ep);
	ret = __sluice_publish_at(ep, &out, msg->ticket);
	if (ret)
		return ret == -ENOTCONN ? produce_failed(ep, ret, ERROR_NOBODY) : ret;
	fence_after_publish(ep);
	__sluice_look_ready(ep);
	return 0;
}

int sluice_discard(struct sluice_ep *ep, struct sluice_msg *msg)
{
	struct sluice_slot *slot = slot_at(ep, msg->ticket);

	/* A sole producer's ticket was not taken out of the ring yet. */
	if (ep->sole) {
		ep->reserved = false;
		return 0;
	}
	if (unlikely(ep->policy == SLUICE_POLICY_BROADCAST))
		mask_clear(&slot->target, ~0ull);
	if (slot_discard(&slot->word, ticket_lap(msg->ticket, ep->order), ep->id) != SLOT_OK)
		return __sluice_err(-ESTALE,
				    "stage '%s': the slot is not reserved by this endpoint",
				    ep->name);
	/* Consumers may pass it now, and the next lap has room. */
	fence_after_cas();
	__sluice_look_ready(ep);
	__sluice_look_room(ep);
	return 0;
}
