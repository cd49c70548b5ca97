// SPDX-License-Identifier: MIT
/* module.c: the rings of the module, and how the storm uses them through the library. */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>

#include "../../lib/envelope.h"
#include "../../lib/internal.h"
#include "storm.h"

static const char *const names[LANES] = {
	[LANE_IN] = "storm.in", [LANE_OUT] = "storm.out", [LANE_DEAD] = "storm.in.dead",
	[LANE_HIGH] = "storm.in.high", [LANE_HIGH_DEAD] = "storm.in.high.dead",
};

static const char *const classes[] = { "high" };

static int broadcast_create(struct storm *s)
{
	struct sluice_create c = {
		.nslots = 64, .nbufs = 32, .bufsize = 4096, .policy = SLUICE_POLICY_BROADCAST,
		.ack_timeout_ms = 300 * slowness(s), .write_timeout_ms = 300 * slowness(s),
	};
	int ret;

	strcpy(c.name, names[LANE_IN]);
	ret = sluice_create(&c);
	if (ret)
		fprintf(stderr, "storm: %s\n", sluice_error());
	return ret;
}

static int module_create(struct storm *s)
{
	struct sluice_create in = {
		.nslots = 64, .nbufs = 32, .bufsize = 4096, .max_attempts = 3,
		.ack_timeout_ms = 300 * slowness(s), .max_hold_ms = 3000 * slowness(s),
		.write_timeout_ms = 300 * slowness(s), .dead_slots = 256,
	};
	static const struct sluice_lane high = { .name = "high", .nslots = 64 };
	struct sluice_create out = in;
	int ret;

	if (s->opt.broadcast)
		return broadcast_create(s);
	strcpy(in.name, names[LANE_IN]);
	strcpy(out.name, names[LANE_OUT]);
	out.max_attempts = 254;
	out.dead_slots = 0;
	ret = sluice_lanes_create(&in, &high, s->opt.classes);
	if (!ret && !s->opt.calls)
		ret = sluice_create(&out);
	if (ret)
		fprintf(stderr, "storm: %s\n", sluice_error());
	return ret;
}

/* Whoever comes next takes away what dead callers have left behind: not a stage remains. */
static void sweep_reply_stages(struct storm *s)
{
	struct sluice_caller *caller;
	struct sluice_ctx *ctx;
	glob_t left;

	if (sluice_ctx_create(0, &ctx) || sluice_caller_create(ctx, NULL, &caller)) {
		s->tally.bad_ends++;
		return;
	}
	sluice_caller_destroy(caller);
	sluice_ctx_destroy(ctx);
	if (!glob("/dev/sluice/" REPLY_PREFIX "*", 0, NULL, &left)) {
		fprintf(stderr, "# storm: %zu reply stages are left, %s is one\n", left.gl_pathc,
			left.gl_pathv[0]);
		s->tally.bad_ends++;
		globfree(&left);
	}
}

static void module_destroy(struct storm *s)
{
	if (s->opt.calls)
		sweep_reply_stages(s);
	if (sluice_lanes_destroy(names[LANE_IN], classes, s->opt.classes, 1000, 0) ||
	    (lane_exists(s, LANE_OUT) && sluice_destroy(names[LANE_OUT], 1000, 0))) {
		fprintf(stderr, "# storm: %s\n", sluice_error());
		s->tally.bad_ends++;
	}
}

/* The kernel sees who comes and who dies. */
static int module_attach(struct storm *s, struct seat *seat)
{
	return 0;
}

static void module_died(struct storm *s, struct seat *seat)
{
}

static void module_tick(struct storm *s)
{
}

static int module_info(struct storm *s, enum lane lane, struct sluice_info *info)
{
	return sluice_info(names[lane], info);
}

static int module_set_policy(struct storm *s, enum lane lane, enum sluice_policy policy)
{
	return sluice_set_policy(names[lane], policy);
}

static int make_context(struct storm *s, struct seat *seat)
{
	/* one life in four does without io_uring */
	bool without = s->opt.no_uring || seat->lives % 4 == 3;

	if (process_ctx)
		return 0;
	return sluice_ctx_create(without ? SLUICE_CTX_NO_URING : 0, &process_ctx);
}

static int module_open(struct storm *s, struct seat *seat, enum lane lane, enum sluice_role role,
		       struct sluice_ep **ep)
{
	int ret = make_context(s, seat);

	return ret ? ret : sluice_attach(process_ctx, names[lane], role, attach_flags(seat), ep);
}

static int module_open_classes(struct storm *s, struct seat *seat, struct sluice_lanes **lanes)
{
	int ret = make_context(s, seat);

	return ret ? ret : sluice_lanes_attach(process_ctx, names[LANE_IN], classes, 1, lanes);
}

static void module_close_ring(struct sluice_ep *ep)
{
	if (ep->ctx->uring)
		io_uring_queue_exit(&ep->ctx->ring);
}

const struct backend module_backend = {
	.name = "the module",
	.create = module_create, .destroy = module_destroy, .seat_attach = module_attach,
	.seat_died = module_died, .tick = module_tick, .info = module_info, .open = module_open,
	.open_classes = module_open_classes, .set_policy = module_set_policy,
	.has_descriptors = true, .close_ring = module_close_ring,
};
