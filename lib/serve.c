// SPDX-License-Identifier: MIT
/*
 * serve.c: who answers calls: claims requests that somebody waits for, posts the reply, then
 * acknowledges the request.
 *
 * A server keeps producers on the reply stages of its latest callers. Each is a reply stage of
 * somebody who may die at any time: a consumer less on it, and it is let go.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "envelope.h"

#define ENDS		64	/* callers whose reply stage stays attached */
#define BUSY_MS		10	/* a request that was given back comes again after it */

/**
 * struct reply_end - a producer on somebody's reply stage
 * @caller:	whose; 0: none
 * @used:	when, in requests
 */
struct reply_end {
	u64			caller;
	u64			used;
	struct sluice_ep	*ep;
};

/**
 * struct sluice_server - whoever serves
 * @in:		the application's consumer
 * @latest:	of @ends, used last
 * @looked_at:	of @ends, the one whose caller was last looked at by the way
 */
struct sluice_server {
	struct sluice_ep	*in;
	u64			time;
	u32			latest;
	u32			looked_at;
	struct reply_end	ends[ENDS];
	struct sluice_server_counters count;
};

/* -------------------------------------------------------------- reply stages --- */

/* Nobody is there to read a reply, and nobody will be: a caller attaches before it calls. */
static bool caller_is_gone(const struct sluice_ep *ep)
{
	return hint(&ep->hints->closed) || !hint(&ep->hints->consumers);
}

/* Without its caller the stage is nobody's: it goes with the last server that notices. */
static void let_go(struct reply_end *end)
{
	bool gone = caller_is_gone(end->ep);
	char name[SLUICE_NAME_MAX];

	reply_stage_name(end->caller, name);
	sluice_detach(end->ep);
	end->ep = NULL;
	end->caller = 0;
	if (gone)
		sluice_destroy(name, 0, 0);
}

/* A place for one more: a free one, or that of whoever called longest ago. */
static struct reply_end *make_place(struct sluice_server *s)
{
	struct reply_end *oldest = &s->ends[0];
	u32 i;

	for (i = 0; i < ENDS; i++) {
		if (!s->ends[i].caller)
			return &s->ends[i];
		if (s->ends[i].used < oldest->used)
			oldest = &s->ends[i];
	}
	let_go(oldest);
	return oldest;
}

static int attach_end(struct sluice_server *s, u64 caller, struct reply_end **result)
{
	struct reply_end *end = make_place(s);
	char name[SLUICE_NAME_MAX];
	struct sluice_ep *ep;
	int ret;

	reply_stage_name(caller, name);
	ret = sluice_attach(s->in->ctx, name, SLUICE_PRODUCER, 0, &ep);
	if (ret)
		return ret == -ESHUTDOWN ? -ENOENT : ret;
	end->ep = ep;
	end->caller = caller;
	*result = end;
	return 0;
}

/* 0, -ENOENT: there is no such caller any more; or why this process cannot attach. */
static int find_end(struct sluice_server *s, u64 caller, struct sluice_ep **ep)
{
	struct reply_end *end = &s->ends[s->latest];
	u32 i;
	int ret;

	for (i = 0; end->caller != caller && i < ENDS; i++)
		end = &s->ends[i];
	if (end->caller != caller) {
		ret = attach_end(s, caller, &end);
		if (ret)
			return ret;
	}
	if (caller_is_gone(end->ep)) {
		let_go(end);
		return -ENOENT;
	}
	s->latest = (u32)(end - s->ends);
	end->used = ++s->time;
	*ep = end->ep;
	return 0;
}

/* One at each request, so that dead callers' stages do not stay for as long as we live. */
static void look_at_one(struct sluice_server *s)
{
	struct reply_end *end = &s->ends[s->looked_at = (s->looked_at + 1) % ENDS];

	if (end->caller && caller_is_gone(end->ep))
		let_go(end);
}

/* -------------------------------------------------------------------- claim --- */

/* 1: somebody waits for it; 0: nobody does; -ENOENT: nobody is there; or why we cannot tell. */
static int is_wanted(struct sluice_server *s, const struct sluice_request *r, struct sluice_ep **ep)
{
	int ret;

	if (deadline_passed(r->deadline, sluice_ticks()))
		return 0;
	ret = find_end(s, r->caller, ep);
	if (ret)
		return ret;
	return (*ep)->nbufs && board_has((*ep)->payload, (*ep)->bufsize, r->call);
}

static void skip(struct sluice_server *s, const struct sluice_request *r, int why)
{
	if (why == -ENOENT)
		s->count.vanished++;
	else
		s->count.skipped++;
	sluice_ack(s->in, &r->msg);
}

static bool read_request(struct sluice_server *s, struct sluice_request *r)
{
	struct request_envelope e;

	if (request_read(&r->msg, &e)) {
		s->count.malformed++;
		sluice_nack(s->in, &r->msg, EBADMSG, 0, SLUICE_NACK_DEAD);
		return false;
	}
	r->data = (const char *)r->msg.data + sizeof(e);
	r->len = r->msg.len - (u32)sizeof(e);
	r->caller = e.caller;
	r->call = e.call;
	r->deadline = e.deadline;
	return true;
}

/*
 * A reply stage that is there and cannot be attached to. If it is not for us, the caller shall know
 * (its request is a dead letter with that reason); if it is our own trouble, somebody else may do.
 */
static int cannot_answer(struct sluice_server *s, const struct sluice_request *r, int ret)
{
	bool ours = ret == -EMFILE || ret == -ENFILE || ret == -ENOMEM;

	sluice_nack(s->in, &r->msg, -ret, ours ? BUSY_MS : 0,
		    ours ? SLUICE_NACK_BUSY : SLUICE_NACK_DEAD);
	return ours ? ret : 0;
}

int sluice_serve(struct sluice_server *s, struct sluice_request *r, int64_t timeout_ns)
{
	u64 deadline = deadline_of(timeout_ns), now;
	struct sluice_ep *ep;
	int ret;

	look_at_one(s);
	for (;;) {
		ret = sluice_claim(s->in, &r->msg, timeout_ns);
		if (ret)
			return ret;
		if (read_request(s, r)) {
			ret = is_wanted(s, r, &ep);
			if (ret > 0) {
				s->count.served++;
				return 0;
			}
			if (!ret || ret == -ENOENT)
				skip(s, r, ret);
			else if (cannot_answer(s, r, ret))
				return ret;
		}
		if (timeout_ns > 0) {
			now = __sluice_now();
			timeout_ns = deadline > now ? (int64_t)(deadline - now) : SLUICE_NOW;
		}
	}
}

bool sluice_request_wanted(struct sluice_server *s, const struct sluice_request *r)
{
	struct sluice_ep *ep;

	return is_wanted(s, r, &ep) > 0;
}

/* -------------------------------------------------------------------- reply --- */

/* The envelope, then the data, into a slot or into a buffer; and out. Never waits. */
static int post(struct sluice_ep *ep, const struct reply_envelope *e,
		const struct sluice_msg *reply)
{
	char room[SLUICE_INLINE_MAX];
	struct sluice_buffer buf = { .index = SLUICE_NO_BUFFER, .data = room };
	struct sluice_msg msg = *reply;
	int ret;

	if (reply->len > SLUICE_INLINE_MAX - sizeof(*e)) {
		if ((u64)reply->len + sizeof(*e) > sluice_buffer_size(ep))
			return -EMSGSIZE;
		ret = sluice_buffer_take(ep, &buf, SLUICE_NOW);
		if (ret)
			return ret == -EAGAIN ? -ENOBUFS : ret;
	}
	memcpy(buf.data, e, sizeof(*e));
	if (reply->len)
		memcpy((char *)buf.data + sizeof(*e), reply->data, reply->len);
	msg.data = room;
	msg.len = reply->len + (u32)sizeof(*e);
	msg.buffer = buf.index;
	ret = sluice_post(ep, &msg);
	if (ret < 0 && buf.index != SLUICE_NO_BUFFER)
		sluice_buffer_drop(ep, &buf);
	return ret < 0 ? ret : 0;
}

/* A refusal always fits into a slot, and so finds room when nothing else does. */
static int post_error(struct sluice_ep *ep, u64 call, int error, const char *reason)
{
	struct reply_envelope e = {
		.magic = ENVELOPE_REPLY, .version = ENVELOPE_VERSION,
		.error = (uint16_t)error, .call = call,
	};
	struct sluice_msg msg = { .buffer = SLUICE_NO_BUFFER };
	char text[ENVELOPE_REASON_MAX + 1];
	int ret;

	reason_copy(text, reason ?: "", reason ? strlen(reason) : 0);
	msg.data = text;
	msg.len = (u32)strlen(text);
	ret = post(ep, &e, &msg);
	if (ret != -EMSGSIZE && ret != -ENOBUFS)
		return ret;
	msg.len = (u32)(SLUICE_INLINE_MAX - sizeof(e));
	return post(ep, &e, &msg);
}

/* What was to be sent does not go; the caller gets that as its answer. */
static int post_instead(struct sluice_server *s, struct sluice_ep *ep,
			const struct sluice_request *r, int why, u32 len)
{
	char text[ENVELOPE_REASON_MAX];
	int ret;

	if (why == -EMSGSIZE)
		snprintf(text, sizeof(text), "the reply has %u bytes, the caller takes %zu", len,
			 sluice_buffer_size(ep) - sizeof(struct reply_envelope));
	else
		snprintf(text, sizeof(text), "all the caller's reply buffers are in use");
	ret = post_error(ep, r->call, -why, text);
	if (ret)
		return ret;
	s->count.refused++;
	sluice_ack(s->in, &r->msg);
	return __sluice_err(why, "stage '%s': %s", s->in->name, text);
}

/* It was not posted. */
static int not_posted(struct sluice_server *s, const struct sluice_request *r, int ret)
{
	switch (ret) {
	case -ESHUTDOWN:	/* destroyed, or repaired: the caller knows */
	case -ENOTCONN:
		skip(s, r, -ENOENT);
		return 1;
	case -EAGAIN:
		sluice_nack(s->in, &r->msg, EAGAIN, BUSY_MS, SLUICE_NACK_BUSY);
		return __sluice_err(ret, "stage '%s': the caller takes no more replies now; the "
				    "request was given back", s->in->name);
	default:
		sluice_nack(s->in, &r->msg, -ret, 0, 0);
		return ret;
	}
}

/* Whom to answer, if anybody: 0, or what to return. */
static int before_reply(struct sluice_server *s, const struct sluice_request *r,
			struct sluice_ep **ep)
{
	int ret;

	/* Whatever was computed from it may be nonsense by now (P12). */
	if (!sluice_holds(s->in, &r->msg)) {
		count(&s->in->count->stale, 1);
		return __sluice_err_lazy(-ESTALE, ERROR_STALE, s->in);
	}
	ret = is_wanted(s, r, ep);
	if (ret > 0)
		return 0;
	if (!ret || ret == -ENOENT) {
		skip(s, r, ret);
		return 1;
	}
	cannot_answer(s, r, ret);
	return ret;
}

int sluice_reply(struct sluice_server *s, const struct sluice_request *r,
		 const struct sluice_msg *reply)
{
	struct reply_envelope e = {
		.magic = ENVELOPE_REPLY, .version = ENVELOPE_VERSION, .call = r->call,
	};
	struct sluice_ep *ep;
	int ret = before_reply(s, r, &ep);

	if (ret)
		return ret;
	ret = post(ep, &e, reply);
	if (ret == -EMSGSIZE || ret == -ENOBUFS)
		ret = post_instead(s, ep, r, ret, reply->len);
	else if (!ret)
		s->count.replied++;
	if (ret == -EMSGSIZE || ret == -ENOBUFS)
		return ret;
	if (ret)
		return not_posted(s, r, ret);
	/* Too late now and then: whoever has it posts a second reply, which the caller drops. */
	sluice_ack(s->in, &r->msg);
	return 0;
}

int sluice_reply_error(struct sluice_server *s, const struct sluice_request *r, int error,
		       const char *reason)
{
	struct sluice_ep *ep;
	int ret;

	if (error < 1 || error > (int)ENVELOPE_ERROR_MAX)
		return __sluice_err(-EINVAL, "stage '%s': the error of a refusal is a positive errno, "
				    "not %d", s->in->name, error);
	ret = before_reply(s, r, &ep);
	if (ret)
		return ret;
	ret = post_error(ep, r->call, error, reason);
	if (ret)
		return not_posted(s, r, ret);
	s->count.refused++;
	sluice_ack(s->in, &r->msg);
	return 0;
}

/* -------------------------------------------------------------------- setup --- */

int sluice_server_create(struct sluice_ep *in, struct sluice_server **out)
{
	struct sluice_server *s;

	if (in->role != SLUICE_CONSUMER)
		return __sluice_err(-EINVAL, "stage '%s': a producer cannot serve", in->name);
	s = calloc(1, sizeof(*s));
	if (!s)
		return __sluice_err(-ENOMEM, "stage '%s': out of memory", in->name);
	s->in = in;
	*out = s;
	return 0;
}

void sluice_server_destroy(struct sluice_server *s)
{
	u32 i;

	if (!s)
		return;
	for (i = 0; i < ENDS; i++)
		if (s->ends[i].caller)
			let_go(&s->ends[i]);
	free(s);
}

const struct sluice_server_counters *sluice_server_counters(const struct sluice_server *s)
{
	return &s->count;
}
