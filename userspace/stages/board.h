/* SPDX-License-Identifier: MIT */
/*
 * board.h - where the processes of a pipeline show each other which circuit breakers are open
 *
 * A small file that all of them map: one row for each daemon. The supervisor writes whether it
 * starts the daemon at all, the daemon whether it takes work; the first stage reads all rows before
 * it lets a request in, `sluicectl` shows them. Nobody waits and nobody is told: a row is a few
 * words, each read and written by itself, and one that is a moment old costs one request.
 */
#ifndef SLUICE_BOARD_H
#define SLUICE_BOARD_H

#include <stdbool.h>
#include <stdint.h>

#include <sluice/sluice.h>

#include "breaker.h"

#define BOARD_ENVIRONMENT "SLUICE_BOARD"	/* the file's path, for daemons */

/**
 * struct board_breaker - what others may know of a breaker
 * @state:	enum breaker_state
 * @failures:	since the last success
 * @retry_at:	CLOCK_MONOTONIC, ns: when it is tried again
 * @trips:	how often it opened
 */
struct board_breaker {
	uint32_t	state;
	uint32_t	failures;
	uint64_t	retry_at;
	uint64_t	trips;
};

/**
 * struct board_row - one daemon
 * @starts:	the supervisor's: is it started when it ends?
 * @work:	the daemon's own: does it take messages?
 */
struct board_row {
	char			stage[SLUICE_NAME_MAX];
	uint32_t		replica;
	uint32_t		pad;
	struct board_breaker	starts;
	struct board_breaker	work;
};

struct board;

/** board_create() - make or empty the file for @n daemons, whose rows the caller names. 0, -errno */
int board_create(const char *path, uint32_t n, struct board **out);

/** board_open() - map a file that is there. Return: 0, -ENOENT, -EBADMSG, -errno */
int board_open(const char *path, bool writable, struct board **out);
void board_close(struct board *b);

/** board_rows() - how many daemons */
uint32_t board_rows(const struct board *b);
struct board_row *board_row(struct board *b, uint32_t i);

/** board_find() - a daemon's row; NULL if it has none */
struct board_row *board_find(struct board *b, const char *stage, uint32_t replica);

/** board_show() - write what has become of a breaker */
void board_show(struct board_breaker *to, const struct breaker *from);

/** board_refuses() - is the daemon shut off now, and for how long? 0: it is not */
uint64_t board_refuses(const struct board_row *row, uint64_t now);

/**
 * board_shut() - a stage all of whose daemons are shut off
 * @retry_ns:	out: until the first of them is tried again
 *
 * Return: its name, or NULL if every stage has a daemon that takes work.
 */
const char *board_shut(struct board *b, uint64_t now, uint64_t *retry_ns);

/** board_now() - CLOCK_MONOTONIC in nanoseconds */
uint64_t board_now(void);

#endif /* SLUICE_BOARD_H */
