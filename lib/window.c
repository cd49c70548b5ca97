// SPDX-License-Identifier: MIT
/*
 * window.c: one stream at the end of the pipe: places for the counters to come.
 *
 * A window is a ring of places, one for each counter from the first that has not been delivered
 * (next) on: the reassembly queue of a transport protocol, with messages for bytes (RFC 9293,
 * 3.10.7.4), and the anti-replay bitmap of IPsec (RFC 4303, 3.4.3) where nothing is reordered.
 *
 *	stream	not begun	messages wait; counter 0 with the opening mark begins it
 *		open		what is before next is a copy; what is a window ahead moves it on
 *		ended		a tombstone: all is a copy
 */
#include <string.h>

#include "window.h"

#define NO_END		(~0ull)

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
static void empty_window(struct sluice_order *o, struct window *w, uint64_t *dropped)
{
	u32 i;

	for (i = 0; w->held; i++) {
		struct held *h = take_from_place(o, w, i);

		*dropped += h && !h->d.missing;
		__sluice_held_drop(o, h);
	}
	if (o->seen)
		memset(seen_by(o, w, 0), 0, o->seen_bytes);
}

void __sluice_window_end(struct sluice_order *o, struct window *w, u64 stream)
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
		__sluice_window_end(o, w, stream);
}

static void release(struct sluice_order *o, struct window *w, struct held *h)
{
	const struct sluice_msg *msg = &h->d.msg;

	if (!h->d.missing && msg->flags & SLUICE_MSG_LAST)
		w->end = msg->counter + 1;
	__sluice_held_ready(o, h);
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
	int ret = __sluice_held_reserve(o, count_holes(o, w, to));

	if (ret)
		return ret;
	while (w->state == OPEN && w->next < to) {
		u64 end = hole(o, w, w->next, to);

		if (end > w->next)
			__sluice_held_ready(o, __sluice_held_missing(o, stream, w->next,
								     end - w->next, EOVERFLOW));
		move_on(o, w, stream, end);
		advance(o, w, stream);
	}
	return 0;
}

/* ------------------------------------------------------------ a message comes --- */

static int drop_copy(struct sluice_order *o, struct held *h)
{
	o->stats.copies += !h->d.missing;
	__sluice_held_drop(o, h);
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
	__sluice_held_drop(o, take_from_place(o, w, h->d.msg.counter));
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
	} else {
		if (counter != w->next)
			return hold(o, w, h);
		release(o, w, h);
		move_on(o, w, stream, counter + 1);
	}
	advance(o, w, stream);
	return 0;
}

/* It has begun: what came before its beginning is looked at again. */
void __sluice_window_open(struct sluice_order *o, struct window *w, struct sluice_stream *s)
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
			__sluice_window_open(o, w, s);
		return ret;
	}
	if (h->d.msg.counter >= o->window) {
		o->stats.strays++;
		__sluice_held_drop(o, h);
		return 0;
	}
	if (h->d.msg.len > o->bytes_max - o->stats.bytes)
		return refuse(o, -ENOBUFS, h);
	return hold(o, w, h);
}

struct window *__sluice_window_new(struct sluice_order *o, u64 stream, bool live,
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

int __sluice_window_take(struct sluice_order *o, struct held *h)
{
	struct sluice_stream *s = sluice_streams_find(o->streams, h->d.msg.stream);
	struct window *w;

	if (!s) {
		if (!opens(h) && h->d.msg.counter >= o->window) {
			o->stats.strays++;
			__sluice_held_drop(o, h);
			return 0;
		}
		w = __sluice_window_new(o, h->d.msg.stream, opens(h), &s);
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
