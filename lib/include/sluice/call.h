/* SPDX-License-Identifier: MIT */
/*
 * call.h: a request and its reply.
 *
 * A call is a message to a stage and a message back, over a reply stage that is the caller's own.
 * Nothing in the module knows of it: requests are claimed, given to somebody else when a server
 * dies, and become dead letters like any message. docs/calls.md says what holds.
 *
 *	sluice_attach(ctx, "tokenizer", SLUICE_PRODUCER, 0, &to);	// whoever calls
 *	sluice_caller_create(ctx, NULL, &caller);
 *	err = sluice_call(caller, to, &request, &reply, timeout_ns);
 *	if (!err) {
 *		use(reply.data, reply.len);
 *		sluice_reply_release(caller, &reply);
 *	}
 *
 *	sluice_call_start(caller, to, &request, timeout_ns, &first);	// several at a time
 *	sluice_call_start(caller, to, &other, timeout_ns, &second);
 *	sluice_call_wait(caller, SLUICE_CALL_ANY, &reply, SLUICE_FOREVER);
 *
 *	sluice_attach(ctx, "tokenizer", SLUICE_CONSUMER, 0, &in);	// whoever serves
 *	sluice_server_create(in, &server);
 *	while (!sluice_serve(server, &request, SLUICE_FOREVER)) {
 *		if (understood(request.data, request.len))
 *			sluice_reply(server, &request, &answer);
 *		else
 *			sluice_reply_error(server, &request, EINVAL, "not a prompt");
 *	}
 *
 * Caller and server belong to the thread of their context, as endpoints do; threads have one
 * each. Only sluice_call_cancel() may be called by others. Errors: as in sluice.h.
 */
#ifndef SLUICE_CALL_H
#define SLUICE_CALL_H

#include <sluice/sluice.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_CALL_HEADER	32u	/* bytes that the library writes before a request's data */
#define SLUICE_CALL_WINDOW_MAX	512u	/* calls of one caller at a time, at most */
#define SLUICE_CALL_ANY		0ull	/* sluice_call_wait(): whichever is over first */
#define SLUICE_CALL_ALL		0ull	/* sluice_call_cancel(): all that are under way */

/* ---------------------------------------------------------------- the caller --- */

struct sluice_caller;

/*
 * Requests are sent without a completion: two system calls fewer (none, if both sides are awake),
 * but nobody tells when a request has become a dead letter. So the deadline must, and each call
 * needs one.
 */
#define SLUICE_CALLER_UNTOLD	(1u << 0)

/**
 * struct sluice_caller_options - all zero is the default
 * @flags:	SLUICE_CALLER_*
 * @window:	calls at a time, with those whose reply is not released; 0: 64
 * @reply_bytes: longest reply; 0: 4080. Memory is paid when it is used.
 * @mode:	of the reply stage, 0: 0600, so that servers must be the caller's user, or root
 * @gid:	group of the reply stage, if @mode gives it anything; else 0
 */
struct sluice_caller_options {
	uint32_t	flags;
	uint32_t	window;
	uint32_t	reply_bytes;
	uint32_t	mode;
	uint32_t	gid;
	uint32_t	reserved[3];
};

/** struct sluice_caller_counters - what became of its calls */
struct sluice_caller_counters {
	uint64_t	started;
	uint64_t	replied;
	uint64_t	refused;
	uint64_t	lost;
	uint64_t	expired;
	uint64_t	cancelled;
	uint64_t	late;		/* replies dropped: of a call that is over, or twice */
	uint64_t	malformed;	/* messages dropped that were no reply */
};

/* How a call ended. */
enum sluice_call_outcome {
	SLUICE_CALL_GOES_ON	= 0,	/* it did not: wait again */
	SLUICE_CALL_REPLIED	= 1,
	SLUICE_CALL_REFUSED	= 2,	/* by the server, with this errno */
	SLUICE_CALL_LOST	= 3,	/* nobody will answer: a dead letter, or the stage is gone */
	SLUICE_CALL_EXPIRED	= 4,	/* -ETIME */
	SLUICE_CALL_CANCELLED	= 5,	/* -ECANCELED */
};

/**
 * struct sluice_reply - how a call ended, and what came back
 * @id:		of the call
 * @data:	readable until sluice_reply_release(); NULL unless @outcome is REPLIED
 * @len:	bytes
 * @kind:	of the reply, the server's
 * @flags:	SLUICE_MSG_*
 * @outcome:	enum sluice_call_outcome
 */
struct sluice_reply {
	uint64_t	id;
	const void	*data;
	uint32_t	len;
	uint16_t	kind;
	uint16_t	flags;
	uint32_t	outcome;
};

/**
 * sluice_caller_create() - make a reply stage and attach to it
 * @ctx:	whose thread will call
 * @options:	NULL: the default
 * @caller:	out, freed by sluice_caller_destroy(), before its context
 *
 * Reply stages that died callers left behind and nobody else uses are destroyed by the way.
 * Return: 0, -EINVAL, and as sluice_create() and sluice_attach().
 */
int sluice_caller_create(struct sluice_ctx *ctx, const struct sluice_caller_options *options,
			 struct sluice_caller **caller);

/** sluice_caller_destroy() - give up what is under way, and go; NULL is allowed */
void sluice_caller_destroy(struct sluice_caller *caller);

/** sluice_caller_stage() - the name of its reply stage */
const char *sluice_caller_stage(const struct sluice_caller *caller);

const struct sluice_caller_counters *sluice_caller_counters(const struct sluice_caller *caller);

/**
 * sluice_call() - send a request and wait for its reply
 * @to:		a producer of the caller's context
 * @request:	as for sluice_send(). A @buffer that it gives over has the data after
 *		SLUICE_CALL_HEADER bytes, which are counted in @len
 * @reply:	out; to be released when 0 is returned, and only then
 * @timeout_ns:	from now to the reply. The server sees it, too.
 *
 * Return: 0; otherwise @reply->outcome says whose the error is: the server's own (REFUSED), the
 * reason of the dead letter, or -ENOMSG when the request was acknowledged without a reply (LOST),
 * -ETIME (EXPIRED), -ECANCELED (CANCELLED). GOES_ON: it was not sent, as sluice_call_start(); or it
 * was, and -EINTR (sluice_interrupt() or a signal) or -ESHUTDOWN (the reply stage was destroyed)
 * ended the wait. The call is given up then: whether it was worked on is not known.
 */
int sluice_call(struct sluice_caller *caller, struct sluice_ep *to,
		const struct sluice_msg *request, struct sluice_reply *reply, int64_t timeout_ns);

/**
 * sluice_call_start() - send a request, and do something else meanwhile
 * @timeout_ns:	as for sluice_call(): of the call, not of this function
 * @id:		out: for sluice_call_wait() and sluice_call_cancel(); never 0
 *
 * Each started call is ended by a sluice_call_wait(). @request's memory is the caller's again at
 * once. Waits for room if it must. Return: 0; -EBUSY: as many as the window has are under way, or
 * not released; -EAGAIN: no room in time; -EINVAL; and as sluice_send(). On failure nothing was
 * sent and a @buffer stays the caller's.
 */
int sluice_call_start(struct sluice_caller *caller, struct sluice_ep *to,
		      const struct sluice_msg *request, int64_t timeout_ns, uint64_t *id);

/**
 * sluice_call_wait() - until a call is over
 * @id:		of the call, or SLUICE_CALL_ANY: those that are over in the order in which they ended
 * @timeout_ns:	of this wait
 *
 * Return: as sluice_call(), and the call is no more, but for a reply to be released; or, with
 * GOES_ON, -EAGAIN (not in the time of this wait), -EINTR, -ESHUTDOWN: the call goes on, wait
 * again; or -ENOENT: there is no such call, or none at all.
 */
int sluice_call_wait(struct sluice_caller *caller, uint64_t id, struct sluice_reply *reply,
		     int64_t timeout_ns);

/**
 * sluice_call_cancel() - nobody wants the reply any more
 * @id:		of the call, or SLUICE_CALL_ALL
 *
 * Async-signal-safe and callable from other threads; the only function here that is. The wait for
 * the call returns -ECANCELED, unless the reply came first; other waits of the context go on,
 * unlike with sluice_interrupt(). Servers that have not begun do not, others can see it. Return: 0,
 * -ENOENT: no such call.
 */
int sluice_call_cancel(struct sluice_caller *caller, uint64_t id);

/** sluice_reply_release() - @reply->data was read; once for each call that returned 0 */
void sluice_reply_release(struct sluice_caller *caller, struct sluice_reply *reply);

/* ---------------------------------------------------------------- the server --- */

struct sluice_server;

/**
 * struct sluice_request - a request that was claimed
 * @data:	readable until it is answered
 * @len:	bytes
 * @msg:	the claim; stream, counter, kind, flags and attempt are the request's. For
 *		sluice_renew() while work takes long, sluice_nack() to give it to somebody else
 * @caller:	whom to answer
 * @call:	which call of its
 * @deadline:	in ticks of sluice_ticks(), 0: none
 */
struct sluice_request {
	const void	*data;
	uint32_t	len;
	struct sluice_msg msg;
	uint64_t	caller;
	uint64_t	call;
	uint64_t	deadline;
};

/** struct sluice_server_counters - what became of requests */
struct sluice_server_counters {
	uint64_t	served;		/* given to the application */
	uint64_t	replied;
	uint64_t	refused;
	uint64_t	skipped;	/* cancelled, or the deadline had passed */
	uint64_t	vanished;	/* skipped, since the caller is no more */
	uint64_t	malformed;	/* no request of a call: dead letters now, with EBADMSG */
};

/**
 * sluice_server_create() - answer the requests of a stage
 * @in:		a consumer; it stays the application's, which detaches it after the server
 * @server:	out, freed by sluice_server_destroy()
 */
int sluice_server_create(struct sluice_ep *in, struct sluice_server **server);

/** sluice_server_destroy() - requests that are not answered are the endpoint's; NULL is allowed */
void sluice_server_destroy(struct sluice_server *server);

const struct sluice_server_counters *sluice_server_counters(const struct sluice_server *server);

/**
 * sluice_serve() - claim the next request that somebody waits for
 *
 * Requests that nobody waits for are acknowledged and counted. Several may be claimed before one
 * is answered. Return: as sluice_claim(); -EMFILE, -ENOMEM and the like when this process cannot
 * attach to the reply stage: the request was given back.
 */
int sluice_serve(struct sluice_server *server, struct sluice_request *request, int64_t timeout_ns);

/**
 * sluice_request_wanted() - is somebody still waiting?
 *
 * To be asked now and then during long work; false after the deadline, a cancellation, or the
 * death of the caller. sluice_reply() then only acknowledges the request.
 */
bool sluice_request_wanted(struct sluice_server *server, const struct sluice_request *request);

/**
 * sluice_reply() - answer a request, then acknowledge it
 * @reply:	data (copied), len, kind and flags are the server's; stream and counter, too
 *
 * Never waits (rule P30): the reply is in the ring or in the kernel's queue before the request is
 * acknowledged, so that a death in between makes a second reply, which the caller drops.
 *
 * Return: 0; 1 nobody waits any more: acknowledged only; -ESTALE somebody else has the request by
 * now: not sent; -EMSGSIZE or -ENOBUFS: it is larger than the caller takes, or all the caller's
 * buffers are in use: the caller got that error instead; -EAGAIN no room at all: the request was
 * given back, to be tried again later.
 */
int sluice_reply(struct sluice_server *server, const struct sluice_request *request,
		 const struct sluice_msg *reply);

/**
 * sluice_reply_error() - refuse a request, then acknowledge it
 * @error:	positive errno, the result of the caller's call
 * @reason:	one line for the caller's sluice_error(), up to 200 bytes of ASCII; NULL: none
 *
 * Return: as sluice_reply().
 */
int sluice_reply_error(struct sluice_server *server, const struct sluice_request *request,
		       int error, const char *reason);

#ifdef __cplusplus
}
#endif
#endif /* SLUICE_CALL_H */
