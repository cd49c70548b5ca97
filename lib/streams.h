/* SPDX-License-Identifier: MIT */
/* streams.h: what the reorder window needs of the table of streams beyond its public part. */
#ifndef SLUICE_LIB_STREAMS_H
#define SLUICE_LIB_STREAMS_H

#include <sluice/order.h>

#include "internal.h"

/**
 * __sluice_streams_add() - a stream that is not known yet
 * @live:	else it is listed with the ended ones, which make room for others
 * @keep_ticks:	an entry touched within them is not given up
 *
 * A living stream is never given up for it. Return: NULL when there is no room.
 */
struct sluice_stream *__sluice_streams_add(struct sluice_streams *t, u64 id, bool live,
					   u64 keep_ticks);

/** __sluice_streams_live() - it was listed with the ended ones and has begun now */
void __sluice_streams_live(struct sluice_streams *t, struct sluice_stream *s);

/** __sluice_streams_index() - below the table's size; another's when @s was given up */
u32 __sluice_streams_index(const struct sluice_streams *t, const struct sluice_stream *s);

/** __sluice_streams_count() - how many are live */
u32 __sluice_streams_count(const struct sluice_streams *t);

#endif /* SLUICE_LIB_STREAMS_H */
