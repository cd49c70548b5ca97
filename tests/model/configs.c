// SPDX-License-Identifier: MIT
/*
 * configs.c: what is explored, and the mistakes that must be found in it.
 */
#include "model.h"

#define P(n)		{ .program = PRODUCER, .msgs = (n) }
#define CONS		{ .program = CONSUMER }
#define TICKER		{ .program = TIMER }
#define WRAP		(~0ull)		/* the last ticket of all laps: the next one is 0 */

struct config configs[] = {
	{ .name = "pair", .what = "1 producer, 1 consumer, 2 slots, nobody dies",
	  .order = 1, .first = WRAP, .role = { P(3), CONS } },
	{ .name = "four", .what = "2 producers, 2 consumers, 2 slots, one dies anywhere",
	  .order = 1, .kills = 1, .first = WRAP, .role = { P(1), P(1), CONS, CONS } },
	{ .name = NULL },
};

const struct mutant_info mutants[] = {
	{ .name = NULL },
};
