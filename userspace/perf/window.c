// SPDX-License-Identifier: MIT
/*
 * window.c: sluice-perf window: sends that are told of their ACK, one at a time and many under way
 */
#include <errno.h>
#include <string.h>

#include "figures.h"
#include "peer.h"
#include "team.h"

#define RUN		64	/* messages that are claimed and acknowledged together, at most */
#define COMPLETIONS	64
#define TIMEOUT_S	120

static uint64_t messages = 20000, most = 256;

static const struct figures_option options[] = {
	{ "messages", "N", &messages, 1, 100000000, false, "of a run, default 20000" },
	{ "most", "N", &most, 1, 512, false, "under way at a time at most, default 256" },
	{ NULL, NULL, NULL, 0, 0, false, NULL },
};

static struct figures results = {
	.command = "window",
	.about = "A producer learns of every message that it was acknowledged: sluice_send_sync(), and\n"
		 "sluice_send_async() with 1, 4, 16, ... messages under way, completed by io_uring;\n"
		 "sends go to the kernel with the next look for completions (sluice_defer_kicks()).\n"
		 "Messages of 64 bytes; waiting as programs do it by default.\n",
	.example = "sluice-perf window --messages 5000",
	.options = options,
	.x_name = "under way",
	.unit = "ns/message",
	.rounds = 5,
};

struct window {
	struct team team;
	char stage[SLUICE_NAME_MAX];
	uint64_t under_way;	/* 0: sluice_send_sync() */
	uint64_t elapsed;
};

static int fails(const char *what)
{
	perf_error("window: %s: %s", what, sluice_error());
	return PERF_EXIT_FAILED;
}

static int send_sync(struct sluice_ep *out, struct sluice_msg *msg)
{
	for (uint64_t i = 0; i < messages; i++) {
		msg->counter = i;
		if (sluice_send_sync(out, msg, SLUICE_FOREVER))
			return fails("send");
	}
	return 0;
}

static int send_async(struct sluice_ctx *ctx, struct sluice_ep *out, struct sluice_msg *msg,
		      uint64_t under_way)
{
	struct sluice_completion done[COMPLETIONS];
	uint64_t sent = 0, acked = 0;

	while (acked < messages) {
		int n;

		for (; sent < messages && sent - acked < under_way; sent++) {
			msg->counter = sent;
			if (sluice_send_async(out, msg, sent))
				return fails("send");
		}
		n = sluice_completions(ctx, done, COMPLETIONS, SLUICE_FOREVER);
		if (n < 0)
			return fails("completions");
		for (int i = 0; i < n; i++)
			if (done[i].result) {
				perf_error("window: message %llu: %s",
					   (unsigned long long)done[i].cookie,
					   strerror(-done[i].result));
				return PERF_EXIT_FAILED;
			}
		acked += (uint64_t)n;
	}
	return 0;
}

static int produce(struct window *w)
{
	uint64_t data[8] = { 0 }, begin;
	struct sluice_msg msg = { .data = data, .len = sizeof(data), .buffer = SLUICE_NO_BUFFER };
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	int err;

	if (sluice_ctx_create(0, &ctx) || sluice_attach(ctx, w->stage, SLUICE_PRODUCER, 0, &out))
		return fails("attach");
	/* Sends go to the kernel together, with the next look for completions. */
	sluice_defer_kicks(ctx, w->under_way > 1);
	team_ready(&w->team);
	begin = sluice_ticks();
	err = w->under_way ? send_async(ctx, out, &msg, w->under_way) : send_sync(out, &msg);
	w->elapsed = sluice_ticks() - begin;
	return err;
}

static int consume(struct window *w)
{
	struct sluice_msg msgs[RUN];
	struct sluice_ctx *ctx;
	struct sluice_ep *in;

	if (sluice_ctx_create(0, &ctx) || sluice_attach(ctx, w->stage, SLUICE_CONSUMER, 0, &in))
		return fails("attach");
	team_ready(&w->team);
	for (uint64_t i = 0; i < messages;) {
		int k = sluice_claim_batch(in, msgs, RUN, SLUICE_FOREVER);

		if (k < 0 || sluice_ack_batch(in, msgs, k) != k)
			return fails("claim");
		i += (uint64_t)k;
	}
	return 0;
}

static int member(void *arg, int index)
{
	return index ? consume(arg) : produce(arg);
}

static int run(struct window *w, uint64_t under_way)
{
	struct sluice_create c = { .nslots = 1024 };
	int cpu[2], err = perf_parse_cpus(NULL, cpu);

	if (err)
		return err;
	memset(w, 0, sizeof(*w));
	w->under_way = under_way;
	team_init(&w->team, 2);
	perf_stage_name(w->stage, "window");
	snprintf(c.name, sizeof(c.name), "%s", w->stage);
	if (sluice_create(&c))
		return -fails("create");
	err = team_run(&w->team, cpu, TIMEOUT_S, member, w);
	sluice_destroy(w->stage, 0, SLUICE_DESTROY_FORCE);
	if (!err)
		figures_add(&results, under_way ? "async" : "sync", under_way ? (double)under_way : 1,
			    (double)sluice_ticks_to_ns(w->elapsed) / (double)messages);
	return err;
}

/* Beside the synchronous one of the same round, in the same table. */
static int run_all(struct window *w)
{
	int err = run(w, 0);

	for (uint64_t n = 1; !err && n <= most; n *= 4)
		err = run(w, n);
	return err;
}

int perf_window_main(int argc, char **argv)
{
	struct window *w = peer_map(sizeof(*w));
	int err = figures_parse(&results, argc, argv);

	if (err)
		return err > 0 ? 0 : PERF_EXIT_USAGE;
	perf_stages_sweep();
	err = w ? perf_signals_block() : -ENOMEM;
	for (unsigned int round = 0; !err && round < results.rounds; round++)
		err = run_all(w);
	if (!err)
		err = figures_report(&results);
	return figures_exit(err);
}
