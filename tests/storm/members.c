// SPDX-License-Identifier: MIT
/* members.c: members of a broadcast: each gets everything from where it joined until it ends. */
#include <errno.h>
#include <unistd.h>

#include "storm.h"

#define BATCH	4

/* In any order: others have acknowledged what is newer, and not what is older. */
static void acknowledge_some(struct storm *s, struct seat *seat, struct sluice_ep *in,
			     const struct sluice_msg *m, int n)
{
	bool backwards = below(&seat->rng, 2);
	int i;

	for (i = 0; i < n; i++)
		acknowledge(s, seat, LANE_IN, in, &m[backwards ? n - 1 - i : i]);
}

/* Nothing is under way any more: whoever comes to the end of the round has had all of it. */
static void end(struct storm *s, struct seat *seat, struct sluice_ep *in)
{
	struct sluice_msg m;
	int ret = sluice_claim(in, &m, SLUICE_NOW);

	if (!ret)
		note_claim(s, seat, HISTORY_DELIVERED, LANE_IN, &m);
	end_unless_expected(seat, "last claim", ret == -EAGAIN ? 0 : ret);
	note(s, seat, (struct history_event) { .what = HISTORY_END, .lane = LANE_IN });
	_exit(EXIT_DONE);
}

void take_part(struct storm *s, struct seat *seat)
{
	struct sluice_ep *in = must_open(s, seat, LANE_IN, SLUICE_CONSUMER);
	struct sluice_msg m[BATCH];
	int n, i;

	while (stop_level(s) < 2) {
		n = sluice_claim_batch(in, m, 1 + (int)below(&seat->rng, BATCH), 20 * MS);
		end_unless_expected(seat, "claim", n < 0 && n != -EAGAIN ? n : 0);
		for (i = 0; i < n; i++)
			note_claim(s, seat, HISTORY_DELIVERED, LANE_IN, &m[i]);
		for (i = 0; i < n; i++)
			compare(s, seat, LANE_IN, in, &m[i]);
		if (!below(&seat->rng, 16))
			sleep_us(below(&seat->rng, 1000));
		obey(s, seat);
		if (n > 0)
			stop_if_asked(seat);
		acknowledge_some(s, seat, in, m, n);
	}
	end(s, seat, in);
}
