// SPDX-License-Identifier: MIT
/*
 * pause.c: sluice-perf pause: round trips with pauses between them, for each way of waiting
 */
#include <errno.h>
#include <stdlib.h>

#include "figures.h"
#include "latency.h"
#include "run.h"

#define TIMEOUT_S	60

static uint64_t messages = 1000, longest = 1000000;

static const struct figures_option options[] = {
	{ "messages", "N", &messages, 10, 1000000, false, "of a run, default 1000" },
	{ "longest", "T", &longest, 0, 1000000000, true, "pause, default 1ms" },
	{ NULL, NULL, NULL, 0, 0, false, NULL },
};

static struct figures results = {
	.command = "pause",
	.about = "A client that does something else between two requests, for so long: what a round trip\n"
		 "of 64 bytes then takes, spinning, sleeping, and spinning for a while before sleeping\n"
		 "(adaptive, what programs get by default).\n",
	.example = "sluice-perf pause --longest 200us --plot-file pause.dat",
	.options = options,
	.x_name = "pause, us",
	.unit = "ns",
	.base = "adaptive",
	.rounds = 5,
};

static const enum peer_mode modes[] = { MODE_SPIN, MODE_SLEEP, MODE_ADAPTIVE };

static int run(enum peer_mode mode, uint64_t pause_ns, uint64_t *samples)
{
	double ticks_of_ns = (double)(1ull << 32) / (double)sluice_ticks_to_ns(1ull << 32);
	struct peer_run run = {
		.peer = peer_find("sluice"), .mode = mode, .work = WORK_ROUND, .size = 64,
		.slots = 256, .pause = (uint64_t)((double)pause_ns * ticks_of_ns),
	};
	struct run_settings set = {
		.warmup = messages / 10 + 1, .messages = messages, .timeout_s = TIMEOUT_S,
	};
	uint64_t switches[2];
	char error[256];
	int err = perf_parse_cpus(NULL, set.cpus);

	if (!err)
		err = run_peer(&run, &set, samples, switches, error, sizeof(error));
	if (err) {
		if (err != -EINTR)
			perf_error("pause: %s", error);
		return err;
	}
	stats_sort(samples, messages);
	figures_add(&results, latency_mode_name(mode), (double)pause_ns / 1e3,
		    stats_median_grouped(samples, messages) / ticks_of_ns);
	return 0;
}

/* 1, 2, 5, 10, 20, 50 ... us */
static uint64_t next_pause(uint64_t ns)
{
	uint64_t power = 1;

	if (!ns)
		return 1000;
	while (ns / power >= 10)
		power *= 10;
	return ns / power == 2 ? ns / 2 * 5 : ns * 2;
}

int perf_pause_main(int argc, char **argv)
{
	int err = figures_parse(&results, argc, argv);
	uint64_t *samples;

	if (err)
		return err > 0 ? 0 : PERF_EXIT_USAGE;
	samples = malloc(messages * sizeof(*samples));
	perf_stages_sweep();
	err = samples ? perf_signals_block() : -ENOMEM;
	for (unsigned int round = 0; !err && round < results.rounds; round++)
		for (uint64_t ns = 0; !err && ns <= longest; ns = next_pause(ns))
			for (size_t i = 0; !err && i < sizeof(modes) / sizeof(modes[0]); i++)
				err = run(modes[i], ns, samples);
	free(samples);
	if (!err)
		err = figures_report(&results);
	return figures_exit(err);
}
