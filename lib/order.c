// SPDX-License-Identifier: MIT
/*
 * order.c: the end of the pipe: messages are copied out, acknowledged, and fetched in their turn.
 *
 * What becomes ready goes to one list; nothing more goes in before that is fetched, so that the
 * list is never longer than a window.
 */
#include <stdlib.h>
#include <string.h>

#include "window.h"

#define BYTES_DEFAULT	(64ull << 20)
#define SPARES_MAX	1024u	/* entries kept for the next messages */
#define GIVE_BACK_MS	20u

/* ---------------------------------------------------------- create and free --- */

static bool is_power_of_two(u32 n)
{
	return n && !(n & (n - 1));
}

static int check_options(const struct sluice_order_options *opt)
{
	if (opt->mode > SLUICE_ORDER_RAW)
		return __sluice_err(-EINVAL, "order: unknown mode %u", opt->mode);
	if (opt->mode == SLUICE_ORDER_RAW)
		return 0;
	if (!is_power_of_two(opt->window) || opt->window < 2 ||
	    opt->window > SLUICE_ORDER_WINDOW_MAX)
		return __sluice_err(-EINVAL, "order: a window is a power of two from 2 to %u, "
				    "not %u", SLUICE_ORDER_WINDOW_MAX, opt->window);
	return 0;
}

/* Places that nothing ever waits in cost address space, no memory. */
static int make_windows(struct sluice_order *o, u32 streams)
{
	int ret = sluice_streams_create(streams, &o->streams);

	if (ret)
		return ret;
	o->nstreams = streams;
	o->seen_bytes = (o->window + 7) / 8;
	o->windows = calloc(streams, sizeof(*o->windows));
	o->place = calloc((size_t)streams * o->window, sizeof(*o->place));
	if (o->mode == SLUICE_ORDER_ONCE)
		o->seen = calloc(streams, o->seen_bytes);
	if (!o->windows || !o->place || (o->mode == SLUICE_ORDER_ONCE && !o->seen))
		return __sluice_err(-ENOMEM, "order: no memory for %u windows of %u", streams,
				    o->window);
	return 0;
}

int sluice_order_create(const struct sluice_order_options *opt, struct sluice_order **order)
{
	int ret = check_options(opt);
	struct sluice_order *o;

	*order = NULL;
	if (ret)
		return ret;
	o = calloc(1, sizeof(*o));
	if (!o)
		return __sluice_err(-ENOMEM, "order: no memory");
	o->mode = opt->mode;
	o->window = opt->window;
	o->bytes_max = opt->bytes ? opt->bytes : BYTES_DEFAULT;
	if (opt->keep_ns)
		o->keep_ticks = (u64)((unsigned __int128)opt->keep_ns * 1000000000u /
				      sluice_ticks_to_ns(1000000000u));
	o->ready_tail = &o->ready;
	if (o->mode != SLUICE_ORDER_RAW)
		ret = make_windows(o, opt->streams);
	if (ret) {
		sluice_order_free(o);
		return ret;
	}
	*order = o;
	return 0;
}

/* ------------------------------------------------------------------ entries --- */

static void free_list(struct held *h)
{
	while (h) {
		struct held *next = h->next;

		free(h);
		h = next;
	}
}

void sluice_order_free(struct sluice_order *o)
{
	size_t i;

	if (!o)
		return;
	for (i = 0; o->stats.waiting; i++) {
		o->stats.waiting -= o->place[i] != NULL;
		free(o->place[i]);
	}
	free_list(o->ready);
	free_list(o->spare);
	free(o->current);
	free(o->windows);
	free(o->place);
	free(o->seen);
	sluice_streams_free(o->streams);
	free(o);
}

static struct held *new_entry(struct sluice_order *o, u32 len)
{
	struct held *h = o->spare;

	if (len > SLUICE_INLINE_MAX)
		return malloc(sizeof(*h) + len);
	if (!h)
		return malloc(sizeof(*h) + SLUICE_INLINE_MAX);
	o->spare = h->next;
	o->nspares--;
	return h;
}

void __sluice_held_drop(struct sluice_order *o, struct held *h)
{
	if (!h)
		return;
	if (h->d.msg.len > SLUICE_INLINE_MAX || o->nspares == SPARES_MAX) {
		free(h);
		return;
	}
	h->next = o->spare;
	o->spare = h;
	o->nspares++;
}

/* So that what follows can not fail. */
int __sluice_held_reserve(struct sluice_order *o, u32 n)
{
	while (o->nspares < n) {
		struct held *h = malloc(sizeof(*h) + SLUICE_INLINE_MAX);

		if (!h)
			return __sluice_err(-ENOMEM, "order: no memory for %u gaps", n);
		h->next = o->spare;
		o->spare = h;
		o->nspares++;
	}
	return 0;
}

static struct held *copy_message(struct sluice_order *o, const struct sluice_msg *msg)
{
	struct held *h = new_entry(o, msg->len);

	if (!h)
		return NULL;
	h->d.msg = *msg;
	h->d.msg.data = h->data;
	h->d.msg.buffer = SLUICE_NO_BUFFER;
	h->d.missing = 0;
	h->d.reason = 0;
	if (msg->len)
		memcpy(h->data, msg->data, msg->len);
	return h;
}

struct held *__sluice_held_missing(struct sluice_order *o, u64 stream, u64 counter, u64 n,
				  int reason)
{
	struct held *h = new_entry(o, 0);

	if (h)
		h->d = (struct sluice_delivery){
			.msg = { .stream = stream, .counter = counter,
				 .buffer = SLUICE_NO_BUFFER },
			.missing = n,
			.reason = reason,
		};
	return h;
}

void __sluice_held_ready(struct sluice_order *o, struct held *h)
{
	if (h->d.missing)
		o->stats.missing += h->d.missing;
	else
		o->stats.delivered++;
	h->next = NULL;
	*o->ready_tail = h;
	o->ready_tail = &h->next;
}

static int enter(struct sluice_order *o, struct held *h)
{
	int ret;

	if (o->mode == SLUICE_ORDER_RAW) {
		__sluice_held_ready(o, h);
		return 0;
	}
	ret = __sluice_window_take(o, h);
	if (ret)
		__sluice_held_drop(o, h);
	return ret;
}

/* ----------------------------------------------------------------- the verbs --- */

static int must_fetch(const struct sluice_order *o)
{
	return __sluice_err(-EBUSY, "order: fetch what is ready first, with sluice_order_next()");
}

int sluice_order_put(struct sluice_order *o, struct sluice_ep *in, const struct sluice_msg *msg)
{
	struct held *h;
	int ret;

	if (o->ready)
		return must_fetch(o);
	h = copy_message(o, msg);
	if (!h)
		return __sluice_err(-ENOMEM, "order: no memory for %u bytes", msg->len);
	/* Read to the end while it was ours (P12)? */
	if (in && !sluice_holds(in, msg)) {
		__sluice_held_drop(o, h);
		return __sluice_err_lazy(-ESTALE, ERROR_STALE, in);
	}
	ret = enter(o, h);
	/* Too late by now: whoever gets it again has a copy of what is here. */
	if (in && !ret)
		sluice_ack(in, msg);
	return ret;
}

int sluice_order_dead(struct sluice_order *o, uint64_t stream, uint64_t counter, int reason)
{
	struct held *h;

	if (reason <= 0)
		return __sluice_err(-EINVAL, "order: the reason of a dead letter is a positive "
				    "errno, not %d", reason);
	if (o->ready)
		return must_fetch(o);
	h = __sluice_held_missing(o, stream, counter, 1, reason);
	if (!h)
		return __sluice_err(-ENOMEM, "order: no memory");
	return enter(o, h);
}

int sluice_order_next(struct sluice_order *o, struct sluice_delivery *d)
{
	struct held *h = o->ready;

	__sluice_held_drop(o, o->current);
	o->current = h;
	if (!h)
		return -EAGAIN;
	o->ready = h->next;
	if (!o->ready)
		o->ready_tail = &o->ready;
	*d = h->d;
	return 0;
}

static bool no_room(int ret)
{
	return ret == -EUSERS || ret == -ENOBUFS || ret == -ENOMEM;
}

int sluice_order_claim(struct sluice_order *o, struct sluice_ep *in, struct sluice_delivery *d,
		       int64_t timeout_ns)
{
	u64 deadline = deadline_of(timeout_ns), now;
	struct sluice_msg msg;
	int64_t left = timeout_ns;
	int ret;

	while (sluice_order_next(o, d)) {
		ret = sluice_claim(in, &msg, left);
		if (ret)
			return ret;
		ret = sluice_order_put(o, in, &msg);
		if (no_room(ret))
			sluice_nack(in, &msg, EBUSY, GIVE_BACK_MS, SLUICE_NACK_BUSY);
		if (ret == -ENOMEM)
			return ret;
		if (timeout_ns > 0) {
			now = __sluice_now();
			left = now < deadline ? (int64_t)(deadline - now) : SLUICE_NOW;
		}
	}
	return 0;
}

int sluice_order_open(struct sluice_order *o, uint64_t stream)
{
	struct sluice_stream *s;
	struct window *w;

	if (o->mode == SLUICE_ORDER_RAW)
		return 0;
	if (o->ready)
		return must_fetch(o);
	s = sluice_streams_find(o->streams, stream);
	if (!s) {
		if (__sluice_window_new(o, stream, true, &s))
			return 0;
		o->stats.refused++;
		return __sluice_err(-EUSERS, "order: no room for stream %llx: create it with "
				    "more .streams", (unsigned long long)stream);
	}
	w = &o->windows[__sluice_streams_index(o->streams, s)];
	if (w->state == ENDED)
		return __sluice_err(-EEXIST, "order: stream %llx has ended already",
				    (unsigned long long)stream);
	if (w->state == NOT_BEGUN)
		__sluice_window_open(o, w, s);
	return 0;
}

static void drop_ready(struct sluice_order *o, u64 stream)
{
	struct held **at = &o->ready;

	while (*at) {
		struct held *h = *at;

		if (h->d.msg.stream != stream) {
			at = &h->next;
			continue;
		}
		*at = h->next;
		__sluice_held_drop(o, h);
	}
	o->ready_tail = at;
}

void sluice_order_end(struct sluice_order *o, uint64_t stream)
{
	struct sluice_stream *s;
	struct window *w;

	drop_ready(o, stream);
	if (o->mode == SLUICE_ORDER_RAW)
		return;
	s = sluice_streams_find(o->streams, stream);
	w = s ? &o->windows[__sluice_streams_index(o->streams, s)] :
		__sluice_window_new(o, stream, false, &s);
	if (w)
		__sluice_window_end(o, w, stream);
}

const struct sluice_order_stats *sluice_order_stats(struct sluice_order *o)
{
	o->stats.live = o->streams ? __sluice_streams_count(o->streams) : 0;
	return &o->stats;
}
