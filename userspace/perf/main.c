// SPDX-License-Identifier: MIT
/*
 * main.c: sluice-perf: measure sluice and what one would take instead
 */
#include <string.h>

#include "perf.h"

static const struct {
	const char *name;
	int (*main)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "latency", perf_latency_main, "round trips beside the cache line, pipes and sockets" },
	{ "throughput", perf_throughput_main, "messages one way, payloads, over sizes, beside peers" },
	{ "scaling", perf_scaling_main, "many producers and consumers on one ring" },
	{ "window", perf_window_main, "sends that are told of their ACK, many under way" },
	{ "broadcast", perf_broadcast_main, "what one more consumer of every message costs" },
	{ "load", perf_load_main, "latency against offered load" },
	{ "pause", perf_pause_main, "round trips with pauses between them, by way of waiting" },
	{ "capacity", perf_capacity_main, "many stages, large stages" },
	{ "model", perf_model_main, "a language model in one process, without rings" },
	{ "idle", perf_idle_main, "what sleeping endpoints cost" },
	{ "balance", perf_balance_main, "how each policy spreads work over replicas" },
	{ "priority", perf_priority_main, "a class of messages under a flood of another" },
	{ "recovery", perf_recovery_main, "from a consumer's death to its message elsewhere" },
	{ "order", perf_order_main, "the reorder window: in order, unordered, raw" },
	{ "batch", perf_batch_main, "runs of messages: rate and latency over how long they wait" },
	{ "prefetch", perf_prefetch_main, "payloads asked for ahead, buffers kept ready" },
	{ "failover", perf_failover_main, "a replica dies under load: how long its streams pause" },
	{ "pipeline", perf_pipeline_main, "real stages against what sluicectl model predicts" },
};

#define N_COMMANDS	(sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *f)
{
	fputs("usage: sluice-perf COMMAND [OPTION...]\n\n", f);
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].help);
	fputs("\nEach command has --help and --json. Rows of sluice itself need the module\n"
	      "(scripts/box -- runs a command on a kernel that has it).\n\n"
	      "examples: sluice-perf latency --mode spin,sleep --rounds 5\n"
	      "          sluice-perf latency --peers unix,pipe\n"
	      "          sluice-perf model --model model.gguf --tokens 64\n"
	      "          sluice-perf idle --endpoints 100 --seconds 10\n"
	      "          sluice-perf batch --mode adaptive --interval 5us\n"
	      "          sluice-perf recovery --rounds 500\n"
	      "          sluice-perf failover --streams 6 --rounds 20\n"
	      "          sluice-perf pipeline --times 60ms,90ms,120ms --messages 20\n", f);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return PERF_EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return 0;
	}
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].main(argc - 1, argv + 1);
	perf_error("no command '%s'; see sluice-perf --help", argv[1]);
	return PERF_EXIT_USAGE;
}
