// SPDX-License-Identifier: MIT
/*
 * load.c: sluice-perf load: latency against offered load
 *
 * The producer works by a timetable and does not wait for answers (open loop). A message's time
 * begins when the timetable says, not when it could be sent: who falls behind makes every message
 * late that had to be sent meanwhile, and this is counted (no coordinated omission).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "figures.h"
#include "peer.h"
#include "team.h"

#define RUN		64	/* messages that are claimed and acknowledged together, at most */
#define MAX_MESSAGES	4000000u
#define TIMEOUT_S	60

static uint64_t round_ns = 200000000, slots = 1024;

static const struct figures_option options[] = {
	{ "time", "T", &round_ns, 0, 10000000000ull, true, "of a load in a round, default 200ms" },
	{ "slots", "N", &slots, SLUICE_MIN_SLOTS, SLUICE_MAX_SLOTS, false, "default 1024" },
	{ NULL, NULL, NULL, 0, 0, false, NULL },
};

static const unsigned int percent[] = { 5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95, 100 };

static struct figures results = {
	.command = "load",
	.about = "First as many messages as go (the peak), then parts of it by a timetable: percentiles\n"
		 "of the time from when a message was due to its arrival. 64 bytes, one producer, one\n"
		 "consumer, both spin; each message is acknowledged.\n",
	.example = "sluice-perf load --time 500ms --plot-file load.dat",
	.options = options,
	.x_name = "% of peak",
	.unit = "ns",
	.rounds = 5,
};

/* Shared by the two processes of a run. */
struct load {
	struct team team;
	char stage[SLUICE_NAME_MAX];
	uint64_t messages;
	double interval;	/* ticks from one to the next; 0: as fast as they go */
	uint64_t begin;
	uint64_t end;
	uint64_t late[MAX_MESSAGES];
};

static int fails(const char *what)
{
	perf_error("load: %s: %s", what, sluice_error());
	return PERF_EXIT_FAILED;
}

static int attach(struct load *l, enum sluice_role role, unsigned int flags, struct sluice_ep **ep)
{
	struct sluice_ctx *ctx;

	if (sluice_ctx_create(SLUICE_CTX_SPIN, &ctx) ||
	    sluice_attach(ctx, l->stage, role, flags, ep))
		return fails("attach");
	return 0;
}

static int produce(struct load *l)
{
	uint64_t data[8] = { 0 };
	struct sluice_ep *out;

	if (attach(l, SLUICE_PRODUCER, SLUICE_ATTACH_SOLE, &out))
		return PERF_EXIT_FAILED;
	team_ready(&l->team);
	l->begin = sluice_ticks();
	for (uint64_t i = 0; i < l->messages; i++) {
		struct sluice_msg msg = {
			.stream = l->begin + (uint64_t)((double)i * l->interval), .counter = i,
			.data = data, .len = sizeof(data), .buffer = SLUICE_NO_BUFFER,
		};

		while (l->interval > 0 && sluice_ticks() < msg.stream)
			;
		if (sluice_send(out, &msg, SLUICE_FOREVER))
			return fails("send");
	}
	return 0;
}

static int consume(struct load *l)
{
	struct sluice_msg msgs[RUN];
	struct sluice_ep *in;

	if (attach(l, SLUICE_CONSUMER, 0, &in))
		return PERF_EXIT_FAILED;
	/* Its page tables are empty; to fill them meanwhile would be measured. */
	memset(l->late, 0, l->messages * sizeof(l->late[0]));
	team_ready(&l->team);
	for (uint64_t i = 0; i < l->messages;) {
		int k = sluice_claim_batch(in, msgs, RUN, SLUICE_FOREVER);
		uint64_t now = sluice_ticks();

		if (k < 0)
			return fails("claim");
		for (int m = 0; m < k; m++, i++)
			l->late[i] = now > msgs[m].stream ? now - msgs[m].stream : 0;
		if (sluice_ack_batch(in, msgs, k) != k)
			return fails("ack");
	}
	l->end = sluice_ticks();
	return 0;
}

static int member(void *arg, int index)
{
	return index ? consume(arg) : produce(arg);
}

static int run(struct load *l, uint64_t messages, double interval)
{
	struct sluice_create c = { .nslots = (uint32_t)slots };
	int cpu[2], err = perf_parse_cpus(NULL, cpu);

	if (err)
		return err;
	l->messages = messages > MAX_MESSAGES ? MAX_MESSAGES : messages;
	l->interval = interval;
	team_init(&l->team, 2);
	perf_stage_name(l->stage, "load");
	snprintf(c.name, sizeof(c.name), "%s", l->stage);
	if (sluice_create(&c))
		return -fails("create");
	err = team_run(&l->team, cpu, TIMEOUT_S, member, l);
	sluice_destroy(l->stage, 0, SLUICE_DESTROY_FORCE);
	return err;
}

static void add(struct load *l, unsigned int load, uint64_t *ticks)
{
	static const struct {
		const char *name;
		double p;
	} percentiles[] = { { "p50", 0.5 }, { "p99", 0.99 }, { "p99.9", 0.999 } };

	stats_sort(ticks, l->messages);
	for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
		figures_add(&results, percentiles[i].name, load, (double)sluice_ticks_to_ns(
				    stats_percentile(ticks, l->messages, percentiles[i].p)));
}

static int run_round(struct load *l)
{
	double peak;	/* ticks of a message */
	double ticks = (double)round_ns * (double)(1ull << 32) /
		       (double)sluice_ticks_to_ns(1ull << 32);
	int err = run(l, MAX_MESSAGES / 4, 0);

	if (err)
		return err;
	peak = (double)(l->end - l->begin) / (double)l->messages;
	figures_add(&results, "peak, ns each", 100, (double)sluice_ticks_to_ns((uint64_t)
			    (peak * 1024)) / 1024);
	for (size_t i = 0; !err && i < sizeof(percent) / sizeof(percent[0]); i++) {
		double interval = peak * 100 / percent[i];

		err = run(l, (uint64_t)(ticks / interval) + 1000, interval);
		if (!err)
			add(l, percent[i], l->late);
	}
	return err;
}

int perf_load_main(int argc, char **argv)
{
	struct load *l = peer_map(sizeof(*l));
	int err = figures_parse(&results, argc, argv);

	if (err)
		return err > 0 ? 0 : PERF_EXIT_USAGE;
	perf_stages_sweep();
	err = l ? perf_signals_block() : -ENOMEM;
	for (unsigned int round = 0; !err && round < results.rounds; round++)
		err = run_round(l);
	if (!err)
		err = figures_report(&results);
	return figures_exit(err);
}
