// SPDX-License-Identifier: MIT
/*
 * order.c: the window at the end of the pipe: counters in order, copies dropped, gaps reported.
 *
 * A window is a ring of places, one for each counter from the first that has not been delivered
 * (next) on: the reassembly queue of a transport protocol, with messages for bytes (RFC 9293,
 * 3.10.7.4), and the anti-replay bitmap of IPsec (RFC 4303, 3.4.3) where nothing is reordered.
 *
 *	stream	not begun	messages wait; counter 0 with the opening mark begins it
 *		open		what is before next is a copy; what is a window ahead moves next on
 *		ended		a tombstone: all is a copy
 *
 * What becomes ready goes to one list; nothing more goes in before that is fetched, so that the
 * list is never longer than a window.
 */
#include <stdlib.h>
#include <string.h>

#include "streams.h"

#define BYTES_DEFAULT	(64ull << 20)
#define SPARES_MAX	1024u	/* entries kept for the next messages */
#define NO_END		(~0ull)
#define GIVE_BACK_MS	20u

/**
 * struct held - a message that waits for its turn or to be fetched
 * @d:	@d.missing: a tombstone, or a gap
 */
struct held {
	struct held		*next;
	struct sluice_delivery	d;
	unsigned char		data[];
};

enum window_state {
	NOT_BEGUN,
	OPEN,
	ENDED,
};

/**
 * struct window - one stream
 * @next:	everything before it was delivered or reported
 * @end:	counter after the last one, once that was delivered; else NO_END
 * @held:	places that are taken
 */
struct window {
	u64			next;
	u64			end;
	u32			held;
	enum window_state	state;
};

/**
 * struct sluice_order
 * @place:	[streams][window]
 * @seen:	SLUICE_ORDER_ONCE: [streams][seen_bytes], a bit for each that came at @next or later
 * @ready:	to be fetched, oldest first
 * @current:	what the caller looks at
 * @spare:	entries with room for what fits into a slot
 */
struct sluice_order {
	enum sluice_order_mode	mode;
	u32			window;
	u32			nstreams;
	u32			seen_bytes;
	u64			bytes_max;
	u64			keep_ticks;
	struct sluice_streams	*streams;
	struct window		*windows;
	struct held		**place;
	unsigned char		*seen;
	struct held		*ready, **ready_tail;
	struct held		*current;
	struct held		*spare;
	u32			nspares;
	struct sluice_order_stats stats;
};

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

static void drop_entry(struct sluice_order *o, struct held *h)
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
static int reserve_entries(struct sluice_order *o, u32 n)
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

static struct held *missing_entry(struct sluice_order *o, u64 stream, u64 counter, u64 n,
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

static void make_ready(struct sluice_order *o, struct held *h)
{
	if (h->d.missing)
		o->stats.missing += h->d.missing;
	else
		o->stats.delivered++;
	h->next = NULL;
	*o->ready_tail = h;
	o->ready_tail = &h->next;
}

/* ------------------------------------------------------------------- places --- */

static struct held **place_of(const struct sluice_order *o, const struct window *w, u64 counter)
{
	return &o->place[(size_t)(w - o->windows) * o->window + (counter & (o->window - 1))];
}

static void put_in_place(struct sluice_order *o, struct window *w, struct held *h)
{
	*place_of(o, w, h->d.msg.counter) = h;
	w->held++;
	o->stats.waiting++;
	o->stats.bytes += h->d.msg.len;
}

static struct held *take_from_place(struct sluice_order *o, struct window *w, u64 counter)
{
	struct held **place = place_of(o, w, counter), *h = *place;

	if (h) {
		*place = NULL;
		w->held--;
		o->stats.waiting--;
		o->stats.bytes -= h->d.msg.len;
	}
	return h;
}

static unsigned char *seen_by(const struct sluice_order *o, const struct window *w, u64 counter)
{
	return &o->seen[(size_t)(w - o->windows) * o->seen_bytes +
			(counter & (o->window - 1)) / 8];
}

static bool was_seen(const struct sluice_order *o, const struct window *w, u64 counter)
{
	return *seen_by(o, w, counter) & 1u << counter % 8;
}

static void set_seen(struct sluice_order *o, const struct window *w, u64 counter, bool seen)
{
	unsigned char *byte = seen_by(o, w, counter);

	if (seen)
		*byte |= (unsigned char)(1u << counter % 8);
	else
		*byte &= (unsigned char)~(1u << counter % 8);
}

/* For another stream, or because this one is over; @dropped counts the messages. */
static void empty_window(struct sluice_order *o, struct window *w,
			 uint64_t *dropped)
{
	u32 i;

	for (i = 0; w->held; i++) {
		struct held *h = take_from_place(o, w, i);

		*dropped += h && !h->d.missing;
		drop_entry(o, h);
	}
	if (o->seen)
		memset(seen_by(o, w, 0), 0, o->seen_bytes);
}

static void end_window(struct sluice_order *o, struct window *w, u64 stream)
{
	empty_window(o, w, &o->stats.copies);
	w->state = ENDED;
	sluice_streams_end(o->streams, stream);
}

/* ---------------------------------------------------------- the window moves --- */

/* This counter and those before it are done with. */
static void move_on(struct sluice_order *o, struct window *w, u64 stream, u64 next)
{
	w->next = next;
	if (w->next >= w->end)
		end_window(o, w, stream);
}

static void release(struct sluice_order *o, struct window *w, struct held *h)
{
	const struct sluice_msg *msg = &h->d.msg;

	if (!h->d.missing && msg->flags & SLUICE_MSG_LAST)
		w->end = msg->counter + 1;
	make_ready(o, h);
}

/* Whatever is at the beginning of the window can go. */
static void advance(struct sluice_order *o, struct window *w, u64 stream)
{
	while (w->state == OPEN) {
		if (o->mode == SLUICE_ORDER_ONCE) {
			if (!was_seen(o, w, w->next))
				return;
			set_seen(o, w, w->next, false);
		} else {
			struct held *h = take_from_place(o, w, w->next);

			if (!h)
				return;
			release(o, w, h);
		}
		move_on(o, w, stream, w->next + 1);
	}
}

static bool is_there(const struct sluice_order *o, const struct window *w, u64 counter)
{
	return o->mode == SLUICE_ORDER_ONCE ? was_seen(o, w, counter) :
					      *place_of(o, w, counter) != NULL;
}

/* Nothing is known at or beyond @w->next + window. */
static u64 hole(const struct sluice_order *o, const struct window *w, u64 from, u64 to)
{
	u64 at = from, known = w->next + o->window < to ? w->next + o->window : to;

	while (at < known && !is_there(o, w, at))
		at++;
	return at < known ? at : to;
}

static u32 count_holes(const struct sluice_order *o, const struct window *w, u64 to)
{
	u32 n = 0;
	u64 at;

	for (at = w->next; at < to; at++) {
		u64 end = hole(o, w, at, to);

		n += end > at;
		at = end;
	}
	return n;
}

/*
 * A message came that is a whole window ahead: what is missing before @to is not waited for any
 * longer, what waits behind it is.
 */
static int give_up(struct sluice_order *o, struct window *w, u64 stream, u64 to)
{
	int ret = reserve_entries(o, count_holes(o, w, to));

	if (ret)
		return ret;
	while (w->state == OPEN && w->next < to) {
		u64 end = hole(o, w, w->next, to);

		if (end > w->next)
			make_ready(o, missing_entry(o, stream, w->next, end - w->next, EOVERFLOW));
		move_on(o, w, stream, end);
		advance(o, w, stream);
	}
	return 0;
}

/* ------------------------------------------------------------ a message comes --- */

static int drop_copy(struct sluice_order *o, struct held *h)
{
	o->stats.copies += !h->d.missing;
	drop_entry(o, h);
	return 0;
}

static int refuse(struct sluice_order *o, int ret, const struct held *h)
{
	o->stats.refused++;
	if (ret == -ENOBUFS)
		return __sluice_err(ret, "order: %llu bytes wait for earlier messages already; "
				    "create it with more .bytes",
				    (unsigned long long)o->stats.bytes);
	return __sluice_err(ret, "order: no room for stream %llx: create it with more .streams",
			    (unsigned long long)h->d.msg.stream);
}

static int hold(struct sluice_order *o, struct window *w, struct held *h)
{
	struct held **place = place_of(o, w, h->d.msg.counter);

	/* A letter that was sent again: the message is better than the news of its death. */
	if (*place && (h->d.missing || !(*place)->d.missing))
		return drop_copy(o, h);
	drop_entry(o, take_from_place(o, w, h->d.msg.counter));
	o->stats.early += !h->d.missing;
	put_in_place(o, w, h);
	return 0;
}

/* Is it too far ahead, is there room for it? The window has moved where it must, on return. */
static int make_room(struct sluice_order *o, struct window *w, const struct held *h)
{
	u64 counter = h->d.msg.counter;

	if (o->mode == SLUICE_ORDER_STRICT && counter != w->next &&
	    h->d.msg.len > o->bytes_max - o->stats.bytes)
		return refuse(o, -ENOBUFS, h);
	if (counter - w->next < o->window)
		return 0;
	return give_up(o, w, h->d.msg.stream, counter - o->window + 1);
}

static int take_open(struct sluice_order *o, struct window *w, struct held *h)
{
	u64 stream = h->d.msg.stream, counter = h->d.msg.counter;
	int ret;

	if (counter < w->next)
		return drop_copy(o, h);
	ret = make_room(o, w, h);
	if (ret)
		return ret;
	if (w->state != OPEN)		/* after its last one */
		return drop_copy(o, h);
	if (o->mode == SLUICE_ORDER_ONCE) {
		if (was_seen(o, w, counter))
			return drop_copy(o, h);
		set_seen(o, w, counter, true);
		release(o, w, h);
	} else if (counter != w->next) {
		return hold(o, w, h);
	} else {
		drop_entry(o, take_from_place(o, w, counter));
		release(o, w, h);
		move_on(o, w, stream, counter + 1);
	}
	advance(o, w, stream);
	return 0;
}

/* It has begun: what came before its beginning is looked at again. */
static void open_window(struct sluice_order *o, struct window *w, struct sluice_stream *s)
{
	u64 counter;

	w->state = OPEN;
	__sluice_streams_live(o->streams, s);
	if (o->mode == SLUICE_ORDER_STRICT) {
		advance(o, w, s->id);
		return;
	}
	for (counter = 0; w->held && counter < o->window; counter++) {
		struct held *h = take_from_place(o, w, counter);

		if (h)
			take_open(o, w, h);
	}
}

static bool opens(const struct held *h)
{
	return !h->d.msg.counter && (h->d.missing || h->d.msg.flags & SLUICE_MSG_OPEN);
}

static int take_not_begun(struct sluice_order *o, struct window *w, struct sluice_stream *s,
			  struct held *h)
{
	int ret;

	if (opens(h)) {
		w->state = OPEN;
		__sluice_streams_live(o->streams, s);
		if (*place_of(o, w, 0))
			drop_copy(o, take_from_place(o, w, 0));
		ret = take_open(o, w, h);
		if (!ret && w->state == OPEN && o->mode == SLUICE_ORDER_ONCE)
			open_window(o, w, s);
		return ret;
	}
	if (h->d.msg.counter >= o->window) {
		o->stats.strays++;
		drop_entry(o, h);
		return 0;
	}
	if (h->d.msg.len > o->bytes_max - o->stats.bytes)
		return refuse(o, -ENOBUFS, h);
	return hold(o, w, h);
}

static struct window *new_window(struct sluice_order *o, u64 stream, bool live,
				 struct sluice_stream **s)
{
	struct window *w;

	*s = __sluice_streams_add(o->streams, stream, live, o->keep_ticks);
	if (!*s)
		return NULL;
	w = &o->windows[__sluice_streams_index(o->streams, *s)];
	empty_window(o, w, &o->stats.strays);
	*w = (struct window){ .end = NO_END, .state = live ? OPEN : NOT_BEGUN };
	return w;
}

static int take(struct sluice_order *o, struct held *h)
{
	struct sluice_stream *s = sluice_streams_find(o->streams, h->d.msg.stream);
	struct window *w;

	if (!s) {
		if (!opens(h) && h->d.msg.counter >= o->window) {
			o->stats.strays++;
			drop_entry(o, h);
			return 0;
		}
		w = new_window(o, h->d.msg.stream, opens(h), &s);
		if (!w)
			return refuse(o, -EUSERS, h);
	} else {
		w = &o->windows[__sluice_streams_index(o->streams, s)];
	}
	switch (w->state) {
	case NOT_BEGUN:
		return take_not_begun(o, w, s, h);
	case OPEN:
		return take_open(o, w, h);
	case ENDED:
		return drop_copy(o, h);
	}
	return -EINVAL;
}

static int enter(struct sluice_order *o, struct held *h)
{
	int ret;

	if (o->mode == SLUICE_ORDER_RAW) {
		make_ready(o, h);
		return 0;
	}
	ret = take(o, h);
	if (ret)
		drop_entry(o, h);
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
		drop_entry(o, h);
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
	h = missing_entry(o, stream, counter, 1, reason);
	if (!h)
		return __sluice_err(-ENOMEM, "order: no memory");
	return enter(o, h);
}

int sluice_order_next(struct sluice_order *o, struct sluice_delivery *d)
{
	struct held *h = o->ready;

	drop_entry(o, o->current);
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
		if (new_window(o, stream, true, &s))
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
		open_window(o, w, s);
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
		drop_entry(o, h);
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
		new_window(o, stream, false, &s);
	if (w)
		end_window(o, w, stream);
}

const struct sluice_order_stats *sluice_order_stats(struct sluice_order *o)
{
	o->stats.live = o->streams ? __sluice_streams_count(o->streams) : 0;
	return &o->stats;
}
