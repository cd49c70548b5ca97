/* SPDX-License-Identifier: MIT */
/*
 * throughput.h: messages one way and payloads written in place, over message sizes
 */
#ifndef SLUICE_PERF_THROUGHPUT_H
#define SLUICE_PERF_THROUGHPUT_H

#include "peer.h"
#include "stats.h"

#define THROUGHPUT_MAX_ROWS	256
#define THROUGHPUT_MAX_ROUNDS	50
#define THROUGHPUT_MAX_SIZES	16

/**
 * struct throughput_row - one peer with one size, over all rounds
 * @slots:	of the ring, each way
 * @messages:	of a round, from the calibration; 0 = not yet known
 * @ns:		FLOW: for a message, in each round; PAYLOAD: median round trip of each round
 * @failed:	why it could not be measured; left out from then on
 */
struct throughput_row {
	const struct peer *peer;
	size_t size;
	uint32_t slots;
	uint64_t messages;
	double ns[THROUGHPUT_MAX_ROUNDS];
	char failed[160];
};

struct throughput {
	enum peer_work work;
	enum peer_mode mode;
	bool untouched;
	bool json;
	uint32_t slots;			/* 0: as many as suit the size */
	unsigned int rounds;
	uint64_t round_ns;
	int cpus[2];
	unsigned int timeout_s;
	size_t sizes[THROUGHPUT_MAX_SIZES];
	int n_sizes;
	const struct peer *selected[THROUGHPUT_MAX_ROWS];
	int n_selected;			/* 0: all */
	struct throughput_row row[THROUGHPUT_MAX_ROWS];
	int n_rows;
};

/** throughput_find() - the row of a peer with a size; NULL if there is none that was measured */
const struct throughput_row *throughput_find(const struct throughput *t, const char *peer,
					     size_t size);
/** throughput_ratio() - of times, round by round: both were measured within the same seconds */
struct stats_spread throughput_ratio(const struct throughput *t, const struct throughput_row *row,
				     const struct throughput_row *to);

void throughput_print(const struct throughput *t, FILE *f);
/** throughput_write_json(), throughput_write_plot() - return: 0 or a negative errno */
int throughput_write_json(const struct throughput *t, FILE *f);
/** A block a peer: its name in quotes, then bytes and GB/s (FLOW) or ns (PAYLOAD). */
int throughput_write_plot(const struct throughput *t, FILE *f);

#endif /* SLUICE_PERF_THROUGHPUT_H */
