// SPDX-License-Identifier: MIT
/*
 * async.c: sends that complete when the message is acknowledged.
 *
 * With io_uring the kernel keeps the command until then. Without it, nothing but a blocked
 * SLUICE_IOC_SEND learns of an ACK, so a thread per endpoint does one after the other: order
 * and answers are the same, but only one such message of an endpoint is under way at a time,
 * each costs two switches of thread, and the others wait in the process, not in the kernel.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"

struct send_worker {
	pthread_t		thread;
	pthread_mutex_t		lock;
	pthread_cond_t		more;
	struct send_list	pending;
	bool			stop;
};

/* ----------------------------------------------------------------- lists --- */

static void list_init(struct send_list *l)
{
	l->head = NULL;
	l->tail = &l->head;
}

static void list_add(struct send_list *l, struct send_op *op)
{
	op->next = NULL;
	*l->tail = op;
	l->tail = &op->next;
}

static struct send_op *list_pop(struct send_list *l)
{
	struct send_op *op = l->head;

	if (!op)
		return NULL;
	l->head = op->next;
	if (!l->head)
		l->tail = &l->head;
	return op;
}

static struct send_op *op_get(struct sluice_ctx *ctx, struct sluice_ep *ep, uint64_t cookie)
{
	struct send_op *op;

	pthread_mutex_lock(&ctx->done_lock);
	op = ctx->free_ops;
	if (op)
		ctx->free_ops = op->next;
	pthread_mutex_unlock(&ctx->done_lock);
	if (!op)
		op = malloc(sizeof(*op));
	if (!op)
		return NULL;
	memset(op, 0, sizeof(*op));
	op->ep = ep;
	op->cookie = cookie;
	op->buffer = SLUICE_NO_BUFFER;
	return op;
}

/* With done_lock held. */
static void op_put(struct sluice_ctx *ctx, struct send_op *op)
{
	op->next = ctx->free_ops;
	ctx->free_ops = op;
}

/* ------------------------------------------------------------ completion --- */

/*
 * A failed send whose buffer the kernel never accepted leaves it HELD. It is ours to drop
 * only if nobody has taken it for something else since; @sending remembers that.
 */
static void drop_unaccepted(struct send_op *op)
{
	struct sluice_ep *ep = op->ep;
	struct sluice_buffer buf = { .index = op->buffer };

	if (op->buffer == SLUICE_NO_BUFFER || !ep->sending || ep->sending[op->buffer] != op)
		return;
	ep->sending[op->buffer] = NULL;
	if (op->result && !ep->detached &&
	    sl_load(buffer_word(ep, op->buffer)) == buf_word(ep->id, BUF_HELD))
		sluice_buffer_drop(ep, &buf);
}

/* With io_uring: a SEND has completed. @result: >= 0 is the ticket. */
void __sluice_send_done(struct send_op *op, int result)
{
	struct sluice_ep *ep = op->ep;
	struct sluice_ctx *ctx = ep->ctx;

	op->result = result < 0 ? result : 0;
	drop_unaccepted(op);
	pthread_mutex_lock(&ctx->done_lock);
	ctx->inflight -= !op->own;
	if (op->abandoned || (ep->detached && !op->own))
		op_put(ctx, op);
	else if (op->own)
		op->finished = ctx->news = true;
	else
		list_add(&ctx->done, op);
	pthread_mutex_unlock(&ctx->done_lock);
	ep->commands--;
	__sluice_ep_put_zombie(ep);
}

/* ---------------------------------------------------------- without uring --- */

static void *worker_main(void *arg)
{
	struct sluice_ep *ep = arg;
	struct sluice_ctx *ctx = ep->ctx;
	struct send_worker *w = ep->worker;
	uint64_t one = 1;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct send_op *op;
		ssize_t ignored;
		int ret;

		while (!w->pending.head && !w->stop)
			pthread_cond_wait(&w->more, &w->lock);
		op = list_pop(&w->pending);
		if (!op)
			break;
		pthread_mutex_unlock(&w->lock);
		/* -EINTR (a stop and go on): it is sent, and sending again would make two of it. */
		ret = ioctl(ep->fd, SLUICE_IOC_SEND, &op->arg);
		op->result = ret < 0 ? -errno : 0;
		pthread_mutex_lock(&ctx->done_lock);
		ctx->inflight -= !op->own;
		list_add(op->own ? &ctx->told : &ctx->done, op);
		if (op->own)
			__atomic_store_n(&ctx->any_told, true, __ATOMIC_RELEASE);
		pthread_mutex_unlock(&ctx->done_lock);
		ignored = write(ctx->done_fd, &one, sizeof(one));
		(void)ignored;
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static int worker_start(struct sluice_ep *ep)
{
	struct send_worker *w = calloc(1, sizeof(*w));
	sigset_t all, old;
	int err;

	if (!w)
		return __sluice_err(-ENOMEM, "stage '%s': out of memory", ep->name);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->more, NULL);
	list_init(&w->pending);
	ep->worker = w;
	/* The application's signals are for its own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&w->thread, NULL, worker_main, ep);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!err)
		return 0;
	ep->worker = NULL;
	pthread_cond_destroy(&w->more);
	pthread_mutex_destroy(&w->lock);
	free(w);
	return __sluice_err(-err, "stage '%s': no thread for asynchronous sends: %s", ep->name,
			    strerror(err));
}

/* The endpoint is detached: a blocked SEND has come back, those to come fail at once. */
static void worker_stop(struct sluice_ep *ep)
{
	struct send_worker *w = ep->worker;

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->more);
	pthread_mutex_destroy(&w->lock);
	free(w);
	ep->worker = NULL;
}

static int worker_send(struct sluice_ep *ep, struct send_op *op)
{
	int ret = ep->worker ? 0 : worker_start(ep);

	if (ret)
		return ret;
	pthread_mutex_lock(&ep->worker->lock);
	list_add(&ep->worker->pending, op);
	pthread_cond_signal(&ep->worker->more);
	pthread_mutex_unlock(&ep->worker->lock);
	return 0;
}

/* ---------------------------------------------------------------- detach --- */

/* Nobody fetches completions of an endpoint that is being detached. */
void __sluice_send_forget(struct sluice_ep *ep)
{
	struct sluice_ctx *ctx = ep->ctx;
	struct send_list kept;
	struct send_op *op;

	worker_stop(ep);
	list_init(&kept);
	pthread_mutex_lock(&ctx->done_lock);
	while ((op = list_pop(&ctx->done))) {
		if (op->ep == ep)
			op_put(ctx, op);
		else
			list_add(&kept, op);
	}
	list_init(&ctx->done);
	while ((op = list_pop(&kept)))
		list_add(&ctx->done, op);
	/* Its buffers are gone with its mapping. */
	for (op = ctx->told.head; op; op = op->next)
		if (op->ep == ep)
			op->buffer = SLUICE_NO_BUFFER;
	pthread_mutex_unlock(&ctx->done_lock);
}

void __sluice_send_exit(struct sluice_ctx *ctx)
{
	struct send_op *op;

	while ((op = list_pop(&ctx->done)) || (op = list_pop(&ctx->told)))
		free(op);
	while ((op = ctx->free_ops)) {
		ctx->free_ops = op->next;
		free(op);
	}
}

/* ------------------------------------------------------------------ send --- */

static void fill_arg(struct sluice_ep *ep, struct send_op *op, const struct outgoing *out)
{
	struct sluice_send *s = &op->arg;

	s->size = sizeof(*s);
	s->stream = out->stream;
	s->counter = out->counter;
	s->time = sluice_ticks();
	s->len = out->len;
	s->buf = out->buffer;
	s->kind = out->kind;
	s->msg_flags = out->flags;
	s->target = __sluice_target(ep, out->stream);
	if (out->buffer != SLUICE_NO_BUFFER) {
		s->flags |= SLUICE_SEND_BUFFER;
	} else if (out->len) {
		/* The caller's memory is the caller's again when we return. */
		memcpy(op->data, out->data, out->len);
		s->addr = (u64)(uintptr_t)op->data;
	}
}

/* Remember which buffer goes back if the kernel refuses the message. */
static int remember_buffer(struct sluice_ep *ep, struct send_op *op, const struct outgoing *out)
{
	if (!out->taken)
		return 0;
	if (!ep->sending)
		ep->sending = calloc(ep->nbufs, sizeof(*ep->sending));
	if (!ep->sending)
		return __sluice_err(-ENOMEM, "stage '%s': out of memory", ep->name);
	ep->sending[out->buffer] = op;
	op->buffer = out->buffer;
	return 0;
}

static int submit(struct sluice_ep *ep, struct send_op *op)
{
	struct sluice_ctx *ctx = ep->ctx;
	int ret;

	pthread_mutex_lock(&ctx->done_lock);
	ctx->inflight += !op->own;
	pthread_mutex_unlock(&ctx->done_lock);
	ret = ep->uring ? __sluice_uring_send(ctx, op) : worker_send(ep, op);
	if (!ret)
		return 0;
	pthread_mutex_lock(&ctx->done_lock);
	ctx->inflight -= !op->own;
	pthread_mutex_unlock(&ctx->done_lock);
	return ret;
}

/*
 * The kernel publishes nothing beside a sole producer (P19): it tracks the ticket, we publish.
 * In this order, or a message that is dead before the kernel has heard of it would count as
 * acknowledged. A full ring is the caller's to wait for.
 */
static int send_tracked(struct sluice_ep *ep, struct send_op *op, struct outgoing *out)
{
	int ret = __sluice_room_try(ep, &out->ticket);

	if (ret == -EAGAIN) {
		count(&ep->count->full, 1);
		return __sluice_err_lazy(ret, ERROR_FULL, ep);
	}
	if (ret)
		return __sluice_err_lazy(ret, ERROR_CLOSED, ep);
	if (!ep->uring)
		return __sluice_err(-EOPNOTSUPP, "stage '%s': a sole producer learns of ACKs "
				    "through io_uring only; attach without SLUICE_ATTACH_SOLE",
				    ep->name);
	op->arg.size = sizeof(op->arg);
	op->arg.flags = SLUICE_SEND_TRACK;
	op->arg.buf = SLUICE_NO_BUFFER;
	op->arg.ticket = out->ticket;
	ret = submit(ep, op);
	if (!ret)
		ret = __sluice_uring_submit(ep->ctx);
	if (ret)
		return ret;
	out->flags |= SLUICE_MSG_TELL;
	ret = __sluice_publish_at(ep, out, out->ticket);
	if (ret) {
		/* Somebody else changed our buffer's word. The answer will be another message's. */
		op->abandoned = true;
		return ret;
	}
	sl_fence();
	__sluice_look_ready(ep);
	return 0;
}

static int send_kept(struct sluice_ep *ep, struct send_op *op, struct outgoing *out)
{
	int ret = remember_buffer(ep, op, out);

	if (ret)
		return ret;
	fill_arg(ep, op, out);
	ret = submit(ep, op);
	if (ret)
		return ret;
	count(&ep->count->messages, 1);
	count(&ep->count->bytes, out->len);
	return 0;
}

/* @own: a call's, which gave its buffer: on failure that stays the call's. */
static int send_async(struct sluice_ep *ep, const struct sluice_msg *msg, uint64_t cookie,
		      bool own, u64 deadline, struct send_op **result)
{
	struct sluice_ctx *ctx = ep->ctx;
	struct outgoing out;
	struct send_op *op;
	int ret;

	if (ep->reserved)
		return __sluice_err(-EBUSY, "stage '%s': publish or discard what is reserved first",
				    ep->name);
	ret = __sluice_outgoing(ep, msg, &out, deadline);
	if (ret)
		return ret;
	op = op_get(ctx, ep, cookie);
	if (!op) {
		__sluice_outgoing_drop(ep, &out);
		return __sluice_err(-ENOMEM, "stage '%s': out of memory", ep->name);
	}
	op->own = own;
	if (own && out.buffer != SLUICE_NO_BUFFER)
		out.taken = true;
	ret = ep->sole ? send_tracked(ep, op, &out) : send_kept(ep, op, &out);
	if (ret) {
		if (op->buffer != SLUICE_NO_BUFFER)
			ep->sending[op->buffer] = NULL;
		if (!own)
			__sluice_outgoing_drop(ep, &out);
		pthread_mutex_lock(&ctx->done_lock);
		if (!op->abandoned)
			op_put(ctx, op);
		pthread_mutex_unlock(&ctx->done_lock);
		return ret;
	}
	*result = op;
	return 0;
}

int sluice_send_async(struct sluice_ep *ep, const struct sluice_msg *msg, uint64_t cookie)
{
	struct send_op *op;

	return send_async(ep, msg, cookie, false, DEADLINE_NOW, &op);
}

/* ----------------------------------------------------------- completions --- */

static int fetch(struct sluice_ctx *ctx, struct sluice_completion *done, int n, bool *pending)
{
	struct send_op *op;
	int i = 0;

	if (ctx->uring)
		__sluice_uring_reap(ctx);
	pthread_mutex_lock(&ctx->done_lock);
	while (i < n && (op = list_pop(&ctx->done))) {
		done[i].ep = op->ep;
		done[i].cookie = op->cookie;
		done[i].result = op->result;
		pthread_mutex_unlock(&ctx->done_lock);
		if (!ctx->uring)
			drop_unaccepted(op);
		pthread_mutex_lock(&ctx->done_lock);
		/* A sluice_send_sync() has given up on it: without io_uring it comes all the same. */
		i += !op->abandoned;
		op_put(ctx, op);
	}
	*pending = ctx->inflight;
	pthread_mutex_unlock(&ctx->done_lock);
	return i;
}

int sluice_completions(struct sluice_ctx *ctx, struct sluice_completion *done, int n,
		       int64_t timeout_ns)
{
	u64 deadline = deadline_of(timeout_ns);
	bool pending;
	int got, ret;

	ret = sluice_flush(ctx);
	if (ret)
		return ret;
	for (;;) {
		got = fetch(ctx, done, n, &pending);
		if (got || !pending || deadline == DEADLINE_NOW)
			return got;
		ret = __sluice_wait_more(ctx, deadline);
		if (ret == -EAGAIN)
			return fetch(ctx, done, n, &pending);
		if (ret == -EINTR)
			return __sluice_err_lazy(ret, ERROR_INTERRUPTED, NULL);
		if (ret)
			return ret;
	}
}

/* Take one operation out of the completed ones. */
static bool fetch_op(struct sluice_ctx *ctx, struct send_op *wanted)
{
	struct send_op **at;
	bool found = false;

	if (ctx->uring)
		__sluice_uring_reap(ctx);
	pthread_mutex_lock(&ctx->done_lock);
	for (at = &ctx->done.head; *at; at = &(*at)->next) {
		if (*at != wanted)
			continue;
		*at = wanted->next;
		if (!*at)
			ctx->done.tail = at;
		found = true;
		break;
	}
	pthread_mutex_unlock(&ctx->done_lock);
	return found;
}

static int sync_result(struct sluice_ep *ep, struct send_op *op)
{
	struct sluice_ctx *ctx = ep->ctx;
	int ret = op->result;

	if (!ctx->uring)
		drop_unaccepted(op);
	pthread_mutex_lock(&ctx->done_lock);
	op_put(ctx, op);
	pthread_mutex_unlock(&ctx->done_lock);
	if (ret == -ESHUTDOWN)
		return __sluice_err_lazy(ret, ERROR_CLOSED, ep);
	if (ret == -EAGAIN)
		return __sluice_err_lazy(ret, ERROR_QUEUE_FULL, ep);
	if (ret)
		return __sluice_err(ret, "stage '%s': the message was not acknowledged: %s",
				    ep->name, strerror(-ret));
	return 0;
}

/* The kernel's queue is not a sole producer's: it waits for its slot here. */
static int send_with_room(struct sluice_ep *ep, const struct sluice_msg *msg, bool own,
			  u64 deadline, struct send_op **op)
{
	int ret = send_async(ep, msg, 0, own, deadline, op);

	while (ret == -EAGAIN && ep->sole && deadline != DEADLINE_NOW) {
		u64 ticket;

		ret = __sluice_retry(ep, __sluice_room_try, &ticket, SLUICE_WAIT_ROOM, deadline);
		if (ret == -EAGAIN)
			return __sluice_err_lazy(ret, ERROR_FULL, ep);
		if (!ret)
			ret = send_async(ep, msg, 0, own, deadline, op);
	}
	return ret;
}

int sluice_send_sync(struct sluice_ep *ep, const struct sluice_msg *msg, int64_t timeout_ns)
{
	struct sluice_ctx *ctx = ep->ctx;
	u64 deadline = deadline_of(timeout_ns);
	struct send_op *op;
	int ret;

	ret = send_with_room(ep, msg, false, deadline, &op);
	if (ret)
		return ret;
	sluice_flush(ctx);
	while (!fetch_op(ctx, op)) {
		ret = __sluice_wait_more(ctx, deadline);
		if (!ret)
			continue;
		if (fetch_op(ctx, op))
			break;
		/* It is sent and may still be acknowledged; nobody will be told. */
		pthread_mutex_lock(&ctx->done_lock);
		op->abandoned = true;
		pthread_mutex_unlock(&ctx->done_lock);
		if (ret == -EINTR)
			return __sluice_err_lazy(ret, ERROR_INTERRUPTED, ep);
		return __sluice_err(-ETIME, "stage '%s': not acknowledged in the given time; it "
				    "may still be", ep->name);
	}
	return sync_result(ep, op);
}

/* ----------------------------------------------------------------- calls --- */

/*
 * Send the request of a call, whose payload is inline or in a buffer that the call gives over. The
 * operation is the call's until __sluice_send_release().
 */
int __sluice_send_own(struct sluice_ep *ep, const struct sluice_msg *msg, u64 deadline,
		      struct send_op **result)
{
	return send_with_room(ep, msg, true, deadline, result);
}

/* Whatever has become of such sends by now is in their @finished and @result. */
void __sluice_send_look(struct sluice_ctx *ctx)
{
	struct send_list told;
	struct send_op *op;

	if (ctx->uring)
		__sluice_uring_reap(ctx);
	if (!__atomic_load_n(&ctx->any_told, __ATOMIC_ACQUIRE))
		return;
	list_init(&told);
	pthread_mutex_lock(&ctx->done_lock);
	__atomic_store_n(&ctx->any_told, false, __ATOMIC_RELAXED);
	while ((op = list_pop(&ctx->told)))
		list_add(&told, op);
	pthread_mutex_unlock(&ctx->done_lock);
	while ((op = list_pop(&told))) {
		drop_unaccepted(op);
		op->finished = ctx->news = true;
		if (op->abandoned)
			__sluice_send_release(ctx, op);
	}
}

/* The call is over: if the send is not, nobody wants to know any more. */
void __sluice_send_release(struct sluice_ctx *ctx, struct send_op *op)
{
	pthread_mutex_lock(&ctx->done_lock);
	if (op->finished)
		op_put(ctx, op);
	else
		op->abandoned = true;
	pthread_mutex_unlock(&ctx->done_lock);
}
