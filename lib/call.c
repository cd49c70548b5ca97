// SPDX-License-Identifier: MIT
/*
 * call.c: calls: a request, its reply, and whatever else may come of it.
 *
 * A caller consumes a reply stage of its own. Each call has a place in a window, and a number that
 * is never used twice: what comes back with another number than that of a call under way is late,
 * or a second reply (its server died before the ACK), and is dropped. Requests are sent with a
 * completion, so that a dead letter is an answer, too.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "call.h"

#define LONGEST_NS	100000000000000000ll	/* three years: ticks of it fit into 63 bits */

/* --------------------------------------------------------------- the clock --- */

static u64 ticks_of(const struct sluice_caller *c, int64_t ns)
{
	return (u64)((unsigned __int128)(u64)ns * c->ticks_per_ns >> 32);
}

static void set_deadline(const struct sluice_caller *c, struct call *call, int64_t timeout_ns)
{
	if (timeout_ns < 0) {
		call->deadline = 0;
		call->expires = DEADLINE_NEVER;
		return;
	}
	if (timeout_ns > LONGEST_NS)
		timeout_ns = LONGEST_NS;
	call->deadline = (sluice_ticks() + ticks_of(c, timeout_ns)) ?: 1;
	call->expires = __sluice_now() + (u64)timeout_ns;
}

/* ---------------------------------------------------------- ends of a call --- */

static void end_call(struct sluice_caller *c, struct call *call, int result,
		     enum sluice_call_outcome outcome)
{
	board_remove(c->board.data, call->id);
	if (call->op)
		__sluice_send_release(c->ctx, call->op);
	call->op = NULL;
	call->result = result;
	call->outcome = outcome;
	call->state = CALL_OVER;
	TAILQ_INSERT_TAIL(&c->over, call, link);
}

/* The place is anybody's. It must not be on a list. */
static void free_call(struct sluice_caller *c, struct call *call)
{
	__atomic_store_n(&call->id, 0, __ATOMIC_RELAXED);
	call->state = CALL_FREE;
	TAILQ_INSERT_HEAD(&c->free, call, link);
}

void __sluice_call_drop_payload(struct sluice_caller *c, struct call *call)
{
	if (call->in_place) {
		sluice_ack(c->in, &call->msg);
		c->in_place--;
	}
	call->in_place = false;
	free(call->moved);
	call->moved = NULL;
}

static struct call *find_call(struct sluice_caller *c, u64 id)
{
	u32 index = call_index(id);

	return id && index < c->window && c->calls[index].id == id ? &c->calls[index] : NULL;
}

/* ----------------------------------------------------------------- replies --- */

/* Small ones are copied, so that slots go round; large ones are read where they are. */
static bool keep_reply(struct sluice_caller *c, struct call *call, const struct sluice_msg *msg)
{
	const char *body = (const char *)msg->data + sizeof(struct reply_envelope);
	u32 len = msg->len - (u32)sizeof(struct reply_envelope);

	call->msg = *msg;
	call->in_place = msg->buffer != SLUICE_NO_BUFFER;
	if (call->in_place) {
		c->in_place++;
		return true;
	}
	memcpy(call->data, body, len);
	/* Not ours any more: it comes again. */
	return !sluice_ack(c->in, msg);
}

static bool keep_reason(struct sluice_caller *c, struct call *call, const struct sluice_msg *msg)
{
	reason_copy(call->data, (const char *)msg->data + sizeof(struct reply_envelope),
		    msg->len - sizeof(struct reply_envelope));
	return !sluice_ack(c->in, msg);
}

/* A message of the reply stage was claimed: whose is it? */
static void arrived(struct sluice_caller *c, const struct sluice_msg *msg)
{
	struct reply_envelope e;
	struct call *call;

	if (reply_read(msg, &e)) {
		c->count.malformed++;
		sluice_ack(c->in, msg);
		return;
	}
	call = find_call(c, e.call);
	if (call && call->in_place && call->msg.ticket == msg->ticket) {
		/* Held for so long that the kernel gave it out again: to us. */
		call->msg.token = msg->token;
		return;
	}
	if (!call || call->state != CALL_LIVE) {
		c->count.late++;
		sluice_ack(c->in, msg);
		return;
	}
	if (e.error) {
		if (keep_reason(c, call, msg))
			end_call(c, call, -(int)e.error, SLUICE_CALL_REFUSED);
	} else if (keep_reply(c, call, msg)) {
		end_call(c, call, 0, SLUICE_CALL_REPLIED);
	}
}

/* What is there, a lap of it at most; -EAGAIN, or why nothing will come any more. */
static int take_arrivals(struct sluice_caller *c, struct sluice_msg *msg)
{
	u32 n = c->in->nslots;
	int ret;

	while (!(ret = sluice_claim(c->in, msg, SLUICE_NOW))) {
		arrived(c, msg);
		if (!--n)
			return -EAGAIN;
	}
	return ret;
}

/*
 * Does nothing come any more of what was sent until now? Not from the kernel's queue, and not from
 * behind a slot that somebody is writing: then no later one is taken (P4).
 */
static bool nothing_comes(struct sluice_caller *c)
{
	struct sluice_ep *in = c->in;
	struct sluice_msg msg;

	if (hint(&in->hints->queued))
		return false;
	take_arrivals(c, &msg);
	return slot_room(sl_load_acquire(&slot_at(in, in->ticket)->word),
			 ticket_lap(in->ticket, in->order)) == ROOM_FREE;
}

/* What else may have come of a call. */
static void look_at_call(struct sluice_caller *c, struct call *call)
{
	if (call->state != CALL_LIVE)
		return;
	if (__atomic_load_n(&call->cancelled, __ATOMIC_RELAXED) == call->id)
		end_call(c, call, -ECANCELED, SLUICE_CALL_CANCELLED);
	else if (call->deadline && deadline_passed(call->deadline, sluice_ticks()))
		end_call(c, call, -ETIME, SLUICE_CALL_EXPIRED);
	else if (!call->op || !call->op->finished)
		return;
	else if (call->op->result)
		/* Not sent, since the kernel's queue is full: -EAGAIN means something else here. */
		end_call(c, call, call->op->result == -EAGAIN ? -EBUSY : call->op->result,
			 SLUICE_CALL_LOST);
	/* The reply was there before the ACK, or there is none. */
	else if (nothing_comes(c) && call->state == CALL_LIVE)
		end_call(c, call, -ENOMSG, SLUICE_CALL_LOST);
}

static void look_at_all(struct sluice_caller *c)
{
	u32 i;

	c->cancels_seen = __atomic_load_n(&c->cancels, __ATOMIC_ACQUIRE);
	c->ctx->news = false;
	for (i = 0; i < c->window; i++)
		look_at_call(c, &c->calls[i]);
}

/* ------------------------------------------------------------------- start --- */

/* The slot of a ticket and that of one a lap later are the same: old replies are in the way. */
static int make_room(struct sluice_caller *c)
{
	struct sluice_ep *in = c->in;
	u32 i;

	for (i = 0; c->in_place && i < c->window; i++) {
		struct call *call = &c->calls[i];
		const char *body;

		if (!call->in_place ||
		    ticket_diff(in->ticket, call->msg.ticket, in->order) < (long long)in->nslots / 2)
			continue;
		if (call->state == CALL_HELD)
			return __sluice_err(-EBUSY, "stage '%s': a reply has been held for so many "
					    "calls that its slot is needed; release it",
					    call->stage);
		body = (const char *)call->msg.data + sizeof(struct reply_envelope);
		call->moved = malloc(call->msg.len);
		if (!call->moved)
			return __sluice_err(-ENOMEM, "stage '%s': out of memory", call->stage);
		memcpy(call->moved, body, call->msg.len - sizeof(struct reply_envelope));
		sluice_ack(in, &call->msg);
		call->in_place = false;
		c->in_place--;
	}
	return 0;
}

static int may_start(struct sluice_caller *c, struct sluice_ep *to, int64_t timeout_ns)
{
	if (to->ctx != c->ctx || to->role != SLUICE_PRODUCER)
		return __sluice_err(-EINVAL, "stage '%s': a call needs a producer of the caller's "
				    "own context", to->name);
	if (timeout_ns < 0 && c->flags & SLUICE_CALLER_UNTOLD)
		return __sluice_err(-EINVAL, "stage '%s': a caller that is not told of dead letters "
				    "(SLUICE_CALLER_UNTOLD) needs a deadline", to->name);
	return 0;
}

/* A free place with a number, before anything is sent. */
static int begin_call(struct sluice_caller *c, struct sluice_ep *to, int64_t timeout_ns,
		      struct call **result)
{
	struct call *call = TAILQ_FIRST(&c->free);

	if (!call)
		return __sluice_err(-EBUSY, "stage '%s': all %u calls of the window are under way or "
				    "not released; wait for one, or make the caller with a larger "
				    "window", to->name, c->window);
	TAILQ_REMOVE(&c->free, call, link);
	c->pending++;
	set_deadline(c, call, timeout_ns);
	call->op = NULL;
	call->in_place = false;
	call->moved = NULL;
	memcpy(call->stage, to->name, sizeof(call->stage));
	__atomic_store_n(&call->id, call_id(c->sequence, (u32)(call - c->calls)), __ATOMIC_RELEASE);
	/* 48 bits of it; 0 would do no harm but in a call number of 0. */
	c->sequence = (c->sequence + 1) & (~0ull >> CALL_INDEX_BITS) ?: 1;
	call->state = CALL_LIVE;
	board_put(c->board.data, call->id);
	*result = call;
	return 0;
}

/* The envelope goes before the data: into the slot, into a buffer taken now, or the caller's. */
static int put_request(const struct call *call, const struct request_envelope *e,
		       struct sluice_ep *to, const struct sluice_msg *request, char *room,
		       struct sluice_msg *msg)
{
	struct sluice_buffer buf = { .index = request->buffer, .data = room };
	u64 now;
	int ret;

	*msg = *request;
	if (request->buffer != SLUICE_NO_BUFFER) {
		if (request->len < sizeof(*e) || request->buffer >= to->nbufs ||
		    sl_load(buffer_word(to, buf.index)) != buf_word(to->id, BUF_HELD))
			return __sluice_err(-EINVAL, "stage '%s': a request in a buffer begins after "
					    "%u bytes of a buffer that this endpoint holds",
					    to->name, SLUICE_CALL_HEADER);
		memcpy(to->payload + (size_t)buf.index * to->bufsize, e, sizeof(*e));
		return 0;
	}
	if (request->len > SLUICE_INLINE_MAX - sizeof(*e)) {
		if (to->nbufs && (u64)request->len + sizeof(*e) > to->bufsize)
			return __sluice_err(-EMSGSIZE, "stage '%s': %u bytes and %u of the call are "
					    "more than its buffers have (%u); create it with a "
					    "larger --buffer-size", to->name, request->len,
					    SLUICE_CALL_HEADER, to->bufsize);
		now = __sluice_now();
		ret = sluice_buffer_take(to, &buf, call->expires == DEADLINE_NEVER ? SLUICE_FOREVER :
					 call->expires > now ? (int64_t)(call->expires - now) : 0);
		if (ret)
			return ret;
	}
	memcpy(buf.data, e, sizeof(*e));
	if (request->len)
		memcpy((char *)buf.data + sizeof(*e), request->data, request->len);
	msg->data = room;
	msg->len = request->len + (u32)sizeof(*e);
	msg->buffer = buf.index;
	return 0;
}

static int send_request(struct sluice_caller *c, struct call *call, struct sluice_ep *to,
			const struct sluice_msg *request)
{
	struct request_envelope e = {
		.magic = ENVELOPE_REQUEST,
		.version = ENVELOPE_VERSION,
		.caller = c->id,
		.call = call->id,
		.deadline = call->deadline,
	};
	char room[SLUICE_INLINE_MAX];
	struct sluice_msg msg;
	u64 now;
	int ret = put_request(call, &e, to, request, room, &msg);

	if (ret)
		return ret;
	if (c->flags & SLUICE_CALLER_UNTOLD) {
		now = __sluice_now();
		ret = sluice_send(to, &msg, call->expires > now ? (int64_t)(call->expires - now) :
				  SLUICE_NOW);
	} else {
		ret = __sluice_send_own(to, &msg, call->expires, &call->op);
	}
	if (ret && msg.buffer != request->buffer) {
		struct sluice_buffer buf = { .index = msg.buffer };

		sluice_buffer_drop(to, &buf);
	}
	return ret;
}

int sluice_call_start(struct sluice_caller *c, struct sluice_ep *to,
		      const struct sluice_msg *request, int64_t timeout_ns, uint64_t *id)
{
	int ret = may_start(c, to, timeout_ns);
	struct sluice_msg msg;
	struct call *call;

	if (ret)
		return ret;
	/* What came meanwhile keeps slots and buffers that the new one may need. */
	if (!(c->flags & SLUICE_CALLER_UNTOLD))
		__sluice_send_look(c->ctx);
	take_arrivals(c, &msg);
	ret = make_room(c);
	if (!ret)
		ret = begin_call(c, to, timeout_ns, &call);
	if (ret)
		return ret;
	ret = send_request(c, call, to, request);
	if (ret) {
		board_remove(c->board.data, call->id);
		free_call(c, call);
		c->pending--;
		return ret;
	}
	c->count.started++;
	*id = call->id;
	return 0;
}

/* -------------------------------------------------------------------- wait --- */

/**
 * struct look - what a wait looks for
 * @msg:	first, since __sluice_retry() learns from its @time how long the wait was
 * @call:	the one that is waited for, or NULL: any
 */
struct look {
	struct sluice_msg	msg;
	struct sluice_caller	*caller;
	struct call		*call;
};

static bool is_over(const struct look *l)
{
	return l->call ? l->call->state == CALL_OVER : !TAILQ_EMPTY(&l->caller->over);
}

/* One look: 0 when a call that is waited for is over; -EAGAIN. */
static int look_try(struct sluice_ep *ep, void *arg)
{
	struct look *l = arg;
	struct sluice_caller *c = l->caller;
	int ret = take_arrivals(c, &l->msg);

	if (is_over(l))
		return 0;
	if (!(c->flags & SLUICE_CALLER_UNTOLD))
		__sluice_send_look(c->ctx);
	if (l->call)
		look_at_call(c, l->call);
	else if (c->ctx->news || c->cancels_seen != __atomic_load_n(&c->cancels, __ATOMIC_ACQUIRE))
		look_at_all(c);
	if (!is_over(l))
		return ret;
	l->msg.time = sluice_ticks();
	return 0;
}

/* When the first of those that are waited for expires, or the wait does. */
static u64 next_look(const struct look *l, u64 deadline)
{
	const struct sluice_caller *c = l->caller;
	u32 i;

	if (l->call)
		return l->call->expires < deadline ? l->call->expires : deadline;
	for (i = 0; i < c->window; i++)
		if (c->calls[i].state == CALL_LIVE && c->calls[i].expires < deadline)
			deadline = c->calls[i].expires;
	return deadline;
}

static int wait_failed(struct sluice_caller *c, int ret)
{
	switch (ret) {
	case -EAGAIN:
		return __sluice_err(ret, "stage '%s': no call is over in the given time", c->stage);
	case -EINTR:
		return __sluice_err_lazy(ret, ERROR_INTERRUPTED, c->in);
	case -ESHUTDOWN:
		return __sluice_err(ret, "stage '%s': somebody destroyed this caller's reply stage; "
				    "make another caller", c->stage);
	default:
		return ret;
	}
}

static int wait_over(struct look *l, int64_t timeout_ns)
{
	struct sluice_caller *c = l->caller;
	struct sluice_ctx *ctx = c->ctx;
	u64 deadline = deadline_of(timeout_ns);
	int ret;

	/* A request that is to go with our sleep must not wait for the end of a spin. */
	if (ctx->defer && ctx->may_spin)
		sluice_flush(ctx);
	for (;;) {
		ctx->news = false;
		ret = look_try(c->in, l);
		if (ret == -EAGAIN && timeout_ns)
			ret = __sluice_retry(c->in, look_try, l, SLUICE_WAIT_READY,
					     next_look(l, deadline));
		if (!ret)
			return 0;
		/* Whatever ended it: did one of them end, too? */
		look_at_all(c);
		if (is_over(l))
			return 0;
		if (ret != -EAGAIN || !timeout_ns || __sluice_now() >= deadline)
			return wait_failed(c, ret);
	}
}

static int explain(const struct call *call)
{
	switch (call->outcome) {
	case SLUICE_CALL_REFUSED:
		return __sluice_err(call->result, "stage '%s' refused the call: %s (%s)", call->stage,
				    call->data[0] ? call->data : "no reason given",
				    strerror(-call->result));
	case SLUICE_CALL_LOST:
		if (call->result == -ENOMSG)
			return __sluice_err(call->result, "stage '%s': the request was acknowledged "
					    "without a reply; does its consumer serve calls?",
					    call->stage);
		return __sluice_err(call->result, "stage '%s': nobody will answer: the request was "
				    "given up (%s); see its dead letters and sluicectl show %s",
				    call->stage, strerror(-call->result), call->stage);
	case SLUICE_CALL_EXPIRED:
		return __sluice_err(call->result, "stage '%s': no reply within the call's time; it "
				    "may still be worked on", call->stage);
	case SLUICE_CALL_CANCELLED:
		return __sluice_err(call->result, "stage '%s': the call was cancelled", call->stage);
	case SLUICE_CALL_REPLIED:
	case SLUICE_CALL_GOES_ON:
		break;
	}
	return 0;
}

static void count_outcome(struct sluice_caller *c, enum sluice_call_outcome outcome)
{
	switch (outcome) {
	case SLUICE_CALL_GOES_ON:
		break;
	case SLUICE_CALL_REPLIED:
		c->count.replied++;
		break;
	case SLUICE_CALL_REFUSED:
		c->count.refused++;
		break;
	case SLUICE_CALL_LOST:
		c->count.lost++;
		break;
	case SLUICE_CALL_EXPIRED:
		c->count.expired++;
		break;
	case SLUICE_CALL_CANCELLED:
		c->count.cancelled++;
		break;
	}
}

/* It is over: tell how, and let it go, but for a reply that is to be read. */
static int collect(struct sluice_caller *c, struct call *call, struct sluice_reply *reply)
{
	int result = call->result;

	TAILQ_REMOVE(&c->over, call, link);
	c->pending--;
	count_outcome(c, call->outcome);
	reply->id = call->id;
	reply->outcome = call->outcome;
	if (call->outcome != SLUICE_CALL_REPLIED) {
		explain(call);
		free_call(c, call);
		return result;
	}
	call->state = CALL_HELD;
	reply->data = call->moved ?: call->in_place ?
		      (const char *)call->msg.data + sizeof(struct reply_envelope) : call->data;
	reply->len = call->msg.len - (u32)sizeof(struct reply_envelope);
	reply->kind = call->msg.kind;
	reply->flags = call->msg.flags;
	return 0;
}

int sluice_call_wait(struct sluice_caller *c, uint64_t id, struct sluice_reply *reply,
		     int64_t timeout_ns)
{
	struct look l = { .caller = c, .call = find_call(c, id) };
	int ret;

	*reply = (struct sluice_reply) { .id = id };
	if (id ? !l.call || l.call->state == CALL_HELD : !c->pending)
		return __sluice_err(-ENOENT, "stage '%s': there is no such call", c->stage);
	ret = wait_over(&l, timeout_ns);
	if (ret)
		return ret;
	return collect(c, l.call ?: TAILQ_FIRST(&c->over), reply);
}

int sluice_call(struct sluice_caller *c, struct sluice_ep *to, const struct sluice_msg *request,
		struct sluice_reply *reply, int64_t timeout_ns)
{
	struct call *call;
	uint64_t id;
	int ret;

	*reply = (struct sluice_reply) { .id = 0 };
	ret = sluice_call_start(c, to, request, timeout_ns, &id);
	if (ret)
		return ret;
	ret = sluice_call_wait(c, id, reply, SLUICE_FOREVER);
	call = find_call(c, id);
	if (ret && call) {
		/* Interrupted. Nobody could wait for it again: as if cancelled, but for the name. */
		end_call(c, call, ret, SLUICE_CALL_CANCELLED);
		TAILQ_REMOVE(&c->over, call, link);
		c->pending--;
		c->count.cancelled++;
		free_call(c, call);
	}
	return ret;
}

/* Marks only: the thread of the caller does the rest. Async-signal-safe. */
int sluice_call_cancel(struct sluice_caller *c, uint64_t wanted)
{
	int saved = errno, found = 0;
	uint64_t one = 1;
	ssize_t ignored;
	u32 i;

	for (i = 0; i < c->window; i++) {
		struct call *call = &c->calls[i];
		u64 id = __atomic_load_n(&call->id, __ATOMIC_ACQUIRE);

		if (!id || (wanted != SLUICE_CALL_ALL && id != wanted))
			continue;
		__atomic_store_n(&call->cancelled, id, __ATOMIC_RELAXED);
		board_remove(c->board.data, id);
		found++;
	}
	if (found) {
		__atomic_fetch_add(&c->cancels, 1, __ATOMIC_RELEASE);
		ignored = write(c->ctx->done_fd, &one, sizeof(one));
		(void)ignored;
	}
	errno = saved;
	return found ? 0 : -ENOENT;
}

void sluice_reply_release(struct sluice_caller *c, struct sluice_reply *reply)
{
	struct call *call = find_call(c, reply->id);

	reply->data = NULL;
	if (!call || call->state != CALL_HELD)
		return;
	__sluice_call_drop_payload(c, call);
	free_call(c, call);
}
