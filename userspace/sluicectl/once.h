/* SPDX-License-Identifier: MIT */
/* once.h - which messages went by lately: a bounded set of (stream, counter, kind) */
#ifndef SLUICECTL_ONCE_H
#define SLUICECTL_ONCE_H

#include <stdbool.h>

#include <sluice/sluice.h>

#define ONCE_MAX 65536u		/* messages that are remembered; the oldest is forgotten first */

struct once;

/** once_create() - 0 or -ENOMEM; free with once_free() */
int once_create(struct once **out);
void once_free(struct once *o);

/** once_seen() - was it added? A message of stream 0 never was: nobody has numbered it */
bool once_seen(const struct once *o, const struct sluice_msg *msg);
void once_add(struct once *o, const struct sluice_msg *msg);

#endif /* SLUICECTL_ONCE_H */
