// SPDX-License-Identifier: MIT
/*
 * scaling.c: sluice-perf scaling: many producers and consumers on one ring
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "figures.h"
#include "peer.h"
#include "team.h"

#define RUN		64	/* messages that are claimed and acknowledged together, at most */
#define IDLE_NS		5000000	/* a consumer that got nothing for so long looks whether all is done */
#define TIMEOUT_S	60

static uint64_t round_ns = 300000000, slots = 8192, most = 8;

static const struct figures_option options[] = {
	{ "time", "T", &round_ns, 0, 60000000000ull, true, "of a round, default 300ms" },
	{ "slots", "N", &slots, SLUICE_MIN_SLOTS, SLUICE_MAX_SLOTS, false, "default 8192" },
	{ "most", "N", &most, 1, TEAM_MAX / 2, false, "pairs of processes at most, default 8" },
	{ NULL, NULL, NULL, 0, 0, false, NULL },
};

static struct figures results = {
	.command = "scaling",
	.about = "1, 2, 4, ... producers and as many consumers, each a process, on one stage; messages\n"
		 "of 64 bytes, acknowledged. Nobody is the only producer. Every message is seen once.\n",
	.example = "sluice-perf scaling --most 4 --time 1s",
	.options = options,
	.x_name = "pairs",
	.unit = "million/s",
	.rounds = 5,
};

/* Shared by the processes of a run. */
struct scaling {
	struct team team;
	char stage[SLUICE_NAME_MAX];
	int pairs;
	uint64_t begin;		/* ticks, of the first producer to be ready */
	uint64_t end;		/* of the last ACK */
	uint64_t producing;	/* producers that are not done */
	uint64_t sent;
	uint64_t acked;
	uint64_t sum_sent;	/* of the numbers of the messages */
	uint64_t sum_acked;
};

static int fails(const char *what)
{
	perf_error("scaling: %s: %s", what, sluice_error());
	return PERF_EXIT_FAILED;
}

static int attach(struct scaling *s, enum sluice_role role, struct sluice_ep **ep)
{
	struct sluice_ctx *ctx;

	if (sluice_ctx_create(0, &ctx) || sluice_attach(ctx, s->stage, role, 0, ep))
		return fails("attach");
	return 0;
}

static int produce(struct scaling *s, int index)
{
	uint64_t limit = (uint64_t)((double)round_ns * (double)(1ull << 32) /
				    (double)sluice_ticks_to_ns(1ull << 32));
	uint64_t data[8] = { 0 }, i, sum = 0, begin;
	struct sluice_ep *out;

	if (attach(s, SLUICE_PRODUCER, &out))
		return PERF_EXIT_FAILED;
	team_ready(&s->team);
	begin = sluice_ticks();
	if (!index)
		__atomic_store_n(&s->begin, begin, __ATOMIC_RELAXED);
	for (i = 0; (i & 63) || sluice_ticks() - begin < limit; i++) {
		struct sluice_msg msg = {
			.counter = i + 1, .data = data, .len = sizeof(data),
			.buffer = SLUICE_NO_BUFFER,
		};

		if (sluice_send(out, &msg, SLUICE_FOREVER))
			return fails("send");
		sum += i + 1;
	}
	__atomic_fetch_add(&s->sent, i, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&s->sum_sent, sum, __ATOMIC_SEQ_CST);
	__atomic_fetch_sub(&s->producing, 1, __ATOMIC_SEQ_CST);
	return 0;
}

static void note_end(struct scaling *s, uint64_t ticks)
{
	uint64_t end = __atomic_load_n(&s->end, __ATOMIC_SEQ_CST);

	while (ticks > end && !__atomic_compare_exchange_n(&s->end, &end, ticks, false,
							   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
}

static bool all_done(struct scaling *s)
{
	return !__atomic_load_n(&s->producing, __ATOMIC_SEQ_CST) &&
	       __atomic_load_n(&s->acked, __ATOMIC_SEQ_CST) ==
		       __atomic_load_n(&s->sent, __ATOMIC_SEQ_CST);
}

static int consume(struct scaling *s)
{
	struct sluice_msg msgs[RUN];
	uint64_t last = 0, sum = 0;
	struct sluice_ep *in;

	if (attach(s, SLUICE_CONSUMER, &in))
		return PERF_EXIT_FAILED;
	team_ready(&s->team);
	for (;;) {
		int k = sluice_claim_batch(in, msgs, RUN, IDLE_NS);

		if (k == -EAGAIN && all_done(s))
			break;
		if (k == -EAGAIN)
			continue;
		if (k < 0)
			return fails("claim");
		for (int i = 0; i < k; i++)
			sum += msgs[i].counter;
		if (sluice_ack_batch(in, msgs, k) != k)
			return fails("ack");
		last = sluice_ticks();
		__atomic_fetch_add(&s->acked, (uint64_t)k, __ATOMIC_SEQ_CST);
	}
	__atomic_fetch_add(&s->sum_acked, sum, __ATOMIC_SEQ_CST);
	note_end(s, last);
	return 0;
}

static int member(void *arg, int index)
{
	struct scaling *s = arg;

	return index < s->pairs ? produce(s, index) : consume(s);
}

static int run(struct scaling *s, int pairs)
{
	struct sluice_create c = { .nslots = (uint32_t)slots };
	int cpu[TEAM_MAX], both[2], err = perf_parse_cpus(NULL, both);

	if (err)
		return err;
	memset(s, 0, sizeof(*s));
	s->pairs = pairs;
	s->producing = (uint64_t)pairs;
	team_init(&s->team, 2 * pairs);
	/* A producer and its consumer apart, as many on each processor. */
	for (int i = 0; i < 2 * pairs; i++)
		cpu[i] = pairs == 1 ? both[i] : TEAM_SPREAD;
	perf_stage_name(s->stage, "scaling");
	snprintf(c.name, sizeof(c.name), "%s", s->stage);
	if (sluice_create(&c))
		return -fails("create");
	err = team_run(&s->team, cpu, TIMEOUT_S, member, s);
	sluice_destroy(s->stage, 0, SLUICE_DESTROY_FORCE);
	if (!err && s->sum_sent != s->sum_acked) {
		perf_error("scaling: what was sent is not what was acknowledged");
		err = -EBADMSG;
	}
	if (!err)
		figures_add(&results, "sluice", pairs, (double)s->acked * 1e3 /
			    (double)sluice_ticks_to_ns(s->end - s->begin));
	return err;
}

int perf_scaling_main(int argc, char **argv)
{
	struct scaling *s = peer_map(sizeof(*s));
	int err = figures_parse(&results, argc, argv);

	if (err)
		return err > 0 ? 0 : PERF_EXIT_USAGE;
	perf_stages_sweep();
	err = s ? perf_signals_block() : -ENOMEM;
	for (unsigned int round = 0; !err && round < results.rounds; round++)
		for (int pairs = 1; !err && pairs <= (int)most; pairs *= 2)
			err = run(s, pairs);
	if (!err)
		err = figures_report(&results);
	return figures_exit(err);
}
