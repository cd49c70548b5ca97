/* SPDX-License-Identifier: MIT */
/* check_pvt.h: what the two halves of the checker share. */
#ifndef SLUICE_TEST_HISTORY_CHECK_PVT_H
#define SLUICE_TEST_HISTORY_CHECK_PVT_H

#include <stddef.h>

#include "history.h"

/**
 * struct life - one writer of a log, from its HISTORY_START to the next one
 * @end:	time of its last event: it certainly lived until then
 * @killed:	when it was killed, or 0
 */
struct life {
	uint64_t	start, end, killed;
	uint32_t	id[HISTORY_MAX_LANES];
	uint32_t	log;
};

/**
 * struct fact - an event with who wrote it
 * @begun:	of HISTORY_SENT: when its HISTORY_SEND was
 */
struct fact {
	const struct history_event *e;
	uint64_t	begun;
	uint32_t	life;
};

struct check {
	const struct history_rules *rules;
	struct history_result *res;
	struct fact	*facts;
	size_t		nfacts;
	struct life	*lives;
	size_t		nlives;
	uint64_t	dropped, excused;
};

void violation(struct check *c, enum history_violation v, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int add_latency(struct history_result *res, uint64_t ns);

/* rules.c: each sorts the facts as it needs them */
int check_tickets(struct check *c);
void check_messages(struct check *c);
void check_effects(struct check *c);
void check_lives(struct check *c);

/* broadcast.c. Return: 0 or -ENOMEM. */
int check_broadcast(struct check *c);

#endif /* SLUICE_TEST_HISTORY_CHECK_PVT_H */
