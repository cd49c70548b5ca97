// SPDX-License-Identifier: MIT
/*
 * capacity.c: sluice-perf capacity: does a stage cost more when there are many, or when it is large?
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "figures.h"
#include "peer.h"

#define GROUP		500	/* stages that one figure is the mean of */

static uint64_t stages = 10000, largest = 1u << 20;

static const struct figures_option options[] = {
	{ "stages", "N", &stages, GROUP, 16000, false, "default 10000" },
	{ "largest", "N", &largest, SLUICE_MIN_SLOTS, SLUICE_MAX_SLOTS, false,
	  "slots of the largest stage, default 1048576" },
	{ NULL, NULL, NULL, 0, 0, false, NULL },
};

static struct figures results = {
	.command = "capacity",
	.about = "Creates many stages of 64 slots, and attaches a producer to each: time for one, as they\n"
		 "become more. Then single stages from 64 slots on: time to create, to attach to, and to\n"
		 "destroy one, and the memory that it takes with one message in it.\n",
	.example = "sluice-perf capacity --stages 2000",
	.options = options,
	.x_name = "stages, slots",
	.unit = "us, KiB",
	.rounds = 3,
};

static int fails(const char *what)
{
	perf_error("capacity: %s: %s", what, sluice_error());
	return -EIO;
}

static double us_since(uint64_t begin)
{
	return (double)sluice_ticks_to_ns(sluice_ticks() - begin) / 1e3;
}

static void name_of(char *name, uint64_t i)
{
	char what[24];

	snprintf(what, sizeof(what), "n%llu", (unsigned long long)i);
	perf_stage_name(name, what);
}

/* A group of stages, counted from @first; endpoints stay attached. */
static int add_group(struct sluice_ctx *ctx, struct sluice_ep **ep, uint64_t first)
{
	uint64_t begin = sluice_ticks();

	for (uint64_t i = first; i < first + GROUP; i++) {
		struct sluice_create c = { .nslots = SLUICE_MIN_SLOTS };

		name_of(c.name, i);
		if (sluice_create(&c))
			return fails("create");
	}
	figures_add(&results, "create", (double)first + GROUP, us_since(begin) / GROUP);
	begin = sluice_ticks();
	for (uint64_t i = first; i < first + GROUP; i++) {
		char name[SLUICE_NAME_MAX];

		name_of(name, i);
		if (sluice_attach(ctx, name, SLUICE_PRODUCER, 0, &ep[i]))
			return fails("attach");
	}
	figures_add(&results, "attach", (double)first + GROUP, us_since(begin) / GROUP);
	return 0;
}

/* An endpoint is a file. */
static void raise_limit(void)
{
	struct rlimit limit = { .rlim_cur = stages + 100, .rlim_max = stages + 100 };

	setrlimit(RLIMIT_NOFILE, &limit);	/* attach says what to do where that is forbidden */
}

static int many_stages(void)
{
	struct sluice_ep **ep = calloc(stages, sizeof(*ep));
	struct sluice_ctx *ctx = NULL;
	uint64_t done = 0;
	int err = ep ? 0 : -ENOMEM;

	if (!err && sluice_ctx_create(0, &ctx))
		err = fails("context");
	for (; !err && done + GROUP <= stages; done += GROUP)
		err = add_group(ctx, ep, done);
	sluice_ctx_destroy(ctx);
	for (uint64_t i = 0; i < stages; i++) {
		char name[SLUICE_NAME_MAX];

		name_of(name, i);
		sluice_destroy(name, 0, SLUICE_DESTROY_FORCE);
	}
	free(ep);
	return err;
}

static int send_one(struct sluice_ep *out)
{
	uint64_t data[8] = { 0 };
	struct sluice_msg msg = { .data = data, .len = sizeof(data), .buffer = SLUICE_NO_BUFFER };

	return sluice_send(out, &msg, 0) ? fails("send") : 0;
}

static int one_stage(uint32_t slots)
{
	struct sluice_create c = { .nslots = slots };
	struct sluice_info info = { 0 };
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	uint64_t begin;
	int err;

	perf_stage_name(c.name, "large");
	if (sluice_ctx_create(0, &ctx))
		return fails("context");
	begin = sluice_ticks();
	if (sluice_create(&c))
		return fails("create");
	figures_add(&results, "create, by slots", slots, us_since(begin));
	begin = sluice_ticks();
	if (sluice_attach(ctx, c.name, SLUICE_PRODUCER, 0, &out))
		return fails("attach");
	figures_add(&results, "attach, by slots", slots, us_since(begin));
	err = send_one(out);
	if (!err && sluice_info(c.name, &info))
		err = fails("info");
	figures_add(&results, "KiB, by slots", slots, (double)info.bytes_resident / 1024);
	sluice_ctx_destroy(ctx);
	begin = sluice_ticks();
	if (sluice_destroy(c.name, 0, SLUICE_DESTROY_FORCE) && !err)
		err = fails("destroy");
	figures_add(&results, "destroy, by slots", slots, us_since(begin));
	return err;
}

int perf_capacity_main(int argc, char **argv)
{
	int err = figures_parse(&results, argc, argv);

	if (err)
		return err > 0 ? 0 : PERF_EXIT_USAGE;
	perf_stages_sweep();
	raise_limit();
	for (unsigned int round = 0; !err && round < results.rounds; round++) {
		err = many_stages();
		for (uint64_t slots = SLUICE_MIN_SLOTS; !err && slots <= largest; slots *= 4)
			err = one_stage((uint32_t)slots);
	}
	if (!err)
		err = figures_report(&results);
	return figures_exit(err);
}
