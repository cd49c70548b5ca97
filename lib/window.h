/* SPDX-License-Identifier: MIT */
/* window.h: what the two halves of the end of the pipe share: order.c and window.c. */
#ifndef SLUICE_LIB_WINDOW_H
#define SLUICE_LIB_WINDOW_H

#include "streams.h"

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
 * @seen:	SLUICE_ORDER_ONCE: [streams][seen_bytes], a bit for each that came at @next or on
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

/* order.c: entries. Who is told to drop or to make ready an entry owns it. */
void __sluice_held_drop(struct sluice_order *o, struct held *h);
int __sluice_held_reserve(struct sluice_order *o, u32 n);
struct held *__sluice_held_missing(struct sluice_order *o, u64 stream, u64 counter, u64 n,
				   int reason);
void __sluice_held_ready(struct sluice_order *o, struct held *h);

/* window.c; __sluice_window_take() owns @h when it returns 0 */
int __sluice_window_take(struct sluice_order *o, struct held *h);
struct window *__sluice_window_new(struct sluice_order *o, u64 stream, bool live,
				   struct sluice_stream **s);
void __sluice_window_open(struct sluice_order *o, struct window *w, struct sluice_stream *s);
void __sluice_window_end(struct sluice_order *o, struct window *w, u64 stream);

#endif /* SLUICE_LIB_WINDOW_H */
