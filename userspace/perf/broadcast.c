// SPDX-License-Identifier: MIT
/*
 * broadcast.c: sluice-perf broadcast: what one more consumer of every message costs
 */
#include <errno.h>
#include <string.h>

#include "figures.h"
#include "peer.h"
#include "team.h"

#define RUN		64	/* messages that are claimed and acknowledged together, at most */
#define TIMEOUT_S	60
#define SLOTS		8192

static uint64_t messages = 200000, most = 8;

static const struct figures_option options[] = {
	{ "messages", "N", &messages, 1, 100000000, false, "of a run, default 200000" },
	{ "most", "N", &most, 2, TEAM_MAX - 1, false, "consumers at most, default 8" },
	{ NULL, NULL, NULL, 0, 0, false, NULL },
};

static struct figures results = {
	.command = "broadcast",
	.about = "A producer, 2, 4, 8 consumers that each see and acknowledge every message of 64 bytes\n"
		 "(a slow one is waited for), beside the same processes with a stage for each consumer, to\n"
		 "which the producer sends the message, too. The figure is the time for a message, divided\n"
		 "by the consumers.\n",
	.example = "sluice-perf broadcast --most 4",
	.options = options,
	.x_name = "consumers",
	.unit = "ns/consumer",
	.base = "unicast",
	.rounds = 5,
};

struct broadcast {
	struct team team;
	char stage[TEAM_MAX][SLUICE_NAME_MAX];	/* of each consumer; unicast: all different */
	int consumers;
	bool everybody;		/* one stage for all */
	uint64_t begin;		/* ticks */
	uint64_t end[TEAM_MAX];	/* of each consumer's last ACK */
};

static int fails(const char *what)
{
	perf_error("broadcast: %s: %s", what, sluice_error());
	return PERF_EXIT_FAILED;
}

static int n_stages(const struct broadcast *b)
{
	return b->everybody ? 1 : b->consumers;
}

static int send_all(struct broadcast *b, struct sluice_ep **out, uint64_t number)
{
	uint64_t data[8] = { 0 };

	for (int i = 0; i < n_stages(b); i++) {
		struct sluice_msg msg = {
			.counter = number, .data = data, .len = sizeof(data),
			.buffer = SLUICE_NO_BUFFER,
		};

		if (sluice_send(out[i], &msg, SLUICE_FOREVER))
			return fails("send");
	}
	return 0;
}

static int produce(struct broadcast *b)
{
	struct sluice_ep *out[TEAM_MAX];
	struct sluice_ctx *ctx;

	if (sluice_ctx_create(0, &ctx))
		return fails("context");
	for (int i = 0; i < n_stages(b); i++)
		if (sluice_attach(ctx, b->stage[i], SLUICE_PRODUCER, 0, &out[i]))
			return fails("attach");
	team_ready(&b->team);
	b->begin = sluice_ticks();
	for (uint64_t i = 0; i < messages; i++)
		if (send_all(b, out, i))
			return PERF_EXIT_FAILED;
	/* Its end would be everybody's: stay until all have all. */
	team_ready(&b->team);
	return 0;
}

static int consume(struct broadcast *b, int index)
{
	struct sluice_msg msgs[RUN];
	struct sluice_ctx *ctx;
	struct sluice_ep *in;

	if (sluice_ctx_create(0, &ctx) ||
	    sluice_attach(ctx, b->stage[b->everybody ? 0 : index - 1], SLUICE_CONSUMER, 0, &in))
		return fails("attach");
	team_ready(&b->team);
	for (uint64_t i = 0; i < messages;) {
		int k = sluice_claim_batch(in, msgs, RUN, SLUICE_FOREVER);

		if (k < 0)
			return fails("claim");
		for (int m = 0; m < k; m++, i++)
			if (msgs[m].counter != i) {
				perf_error("broadcast: message %llu is not the next one",
					   (unsigned long long)msgs[m].counter);
				return PERF_EXIT_FAILED;
			}
		if (sluice_ack_batch(in, msgs, k) != k)
			return fails("ack");
	}
	b->end[index] = sluice_ticks();
	team_ready(&b->team);
	return 0;
}

static int member(void *arg, int index)
{
	return index ? consume(arg, index) : produce(arg);
}

static int create_stages(struct broadcast *b)
{
	for (int i = 0; i < n_stages(b); i++) {
		struct sluice_create c = { .nslots = SLOTS };
		char what[16];

		snprintf(what, sizeof(what), "to%d", i);
		perf_stage_name(b->stage[i], what);
		snprintf(c.name, sizeof(c.name), "%s", b->stage[i]);
		if (b->everybody) {
			c.policy = SLUICE_POLICY_BROADCAST;
			c.flags = SLUICE_CREATE_SLOW_WAITS;
		}
		if (sluice_create(&c))
			return -fails("create");
	}
	return 0;
}

static int run(struct broadcast *b, int consumers, bool everybody)
{
	uint64_t end = 0;
	int cpu[TEAM_MAX], err;

	memset(b, 0, sizeof(*b));
	b->consumers = consumers;
	b->everybody = everybody;
	team_init(&b->team, consumers + 1);
	for (int i = 0; i <= consumers; i++)
		cpu[i] = TEAM_SPREAD;
	err = create_stages(b);
	if (!err)
		err = team_run(&b->team, cpu, TIMEOUT_S, member, b);
	for (int i = 0; i < n_stages(b); i++)
		sluice_destroy(b->stage[i], 0, SLUICE_DESTROY_FORCE);
	for (int i = 1; i <= consumers; i++)
		if (b->end[i] > end)
			end = b->end[i];
	if (!err)
		figures_add(&results, everybody ? "broadcast" : "unicast", consumers,
			    (double)sluice_ticks_to_ns(end - b->begin) /
			    ((double)messages * consumers));
	return err;
}

int perf_broadcast_main(int argc, char **argv)
{
	struct broadcast *b = peer_map(sizeof(*b));
	int err = figures_parse(&results, argc, argv);

	if (err)
		return err > 0 ? 0 : PERF_EXIT_USAGE;
	perf_stages_sweep();
	err = b ? perf_signals_block() : -ENOMEM;
	for (unsigned int round = 0; !err && round < results.rounds; round++)
		for (int n = 2; !err && n <= (int)most; n *= 2) {
			err = run(b, n, false);
			if (!err)
				err = run(b, n, true);
		}
	if (!err)
		err = figures_report(&results);
	return figures_exit(err);
}
