/* SPDX-License-Identifier: MIT */
/*
 * lanes.h: classes of priority. Each class is a stage of its own, so that its slots, its buffers
 * and its place in the kernel's queue are reserved for it: no flood of another class takes them.
 *
 *	"decoder"	the plain lane, for everybody who knows nothing of classes; the lowest
 *	"decoder.high"	class "high" of it
 *
 *	const char *const classes[] = { "high" };	// highest first
 *	struct sluice_lanes *in;
 *	struct sluice_ep *from, *out;
 *
 *	sluice_lanes_attach(ctx, "decoder", classes, 1, &in);
 *	while (sluice_lanes_claim(in, &msg, &from, SLUICE_FOREVER) >= 0) {
 *		...
 *		sluice_ack(from, &msg);
 *	}
 *
 *	sluice_lane_attach(ctx, "decoder", "high", 0, &out);	// a producer of that class
 *
 * A claim of a lane is a claim as ever: ack, nack, holds and renew take the endpoint it came from.
 * Priority decides which message is next, it does not interrupt one that is being worked: what
 * docs/reservation.md says about reserved consumers is for that.
 */
#ifndef SLUICE_LANES_H
#define SLUICE_LANES_H

#include <sluice/sluice.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_ANY_MAX		16	/* endpoints that are waited for together */
#define SLUICE_LANES_MAX	8	/* classes of a stage, the plain one included */
#define SLUICE_LANES_BOUND	32u	/* default of sluice_lanes_bound() */

/**
 * sluice_claim_any() - take the next message of the first endpoint that has one
 * @eps:	[@n] consumers of one context, in the order in which they are asked
 * @n:		1 to SLUICE_ANY_MAX
 * @timeout_ns:	as for sluice_claim(): one spin, then one sleep, on all of them at once
 *
 * A stage that was destroyed is told only when none of the others has a message.
 * Return: the position in @eps whose message it is, >= 0; or -EAGAIN (nothing in time), -EINTR,
 * -ESHUTDOWN, -EINVAL, -ENOTCONN (the kernel put one of them out; sluice_error() names it).
 */
int sluice_claim_any(struct sluice_ep *const *eps, unsigned int n, struct sluice_msg *msg,
		     int64_t timeout_ns);

/* ---------------------------------------------------------------- stages --- */

/**
 * struct sluice_lane - what is reserved for a class
 * @name:	of the class: "high" makes the stage "<stage>.high"; "dead" is taken
 * @nslots, @nbufs, @queue_max: as in struct sluice_create; 0 = as many as the plain lane
 */
struct sluice_lane {
	const char	*name;
	uint32_t	nslots;
	uint32_t	nbufs;
	uint32_t	queue_max;
};

/**
 * sluice_lane_name() - the stage of a class
 * @name:	out
 * @class:	NULL: the plain lane
 * Return: 0, -EINVAL (no name for a class), -ENAMETOOLONG.
 */
int sluice_lane_name(char name[SLUICE_NAME_MAX], const char *stage, const char *class_name);

/**
 * sluice_lanes_create() - make a stage and its classes, all or none
 * @base:	the plain lane, and the model of the others
 * Return: 0, or as sluice_create().
 */
int sluice_lanes_create(const struct sluice_create *base, const struct sluice_lane *lanes,
			unsigned int n);

/**
 * sluice_lanes_destroy() - sluice_destroy() for the classes and the plain lane
 *
 * Goes on after an error. Return: 0, or the first error.
 */
int sluice_lanes_destroy(const char *stage, const char *const *classes, unsigned int n,
			 unsigned int drain_ms, unsigned int flags);

/* ------------------------------------------------------------- endpoints --- */

/** sluice_lane_attach() - become a producer of one class; NULL: of the plain lane */
int sluice_lane_attach(struct sluice_ctx *ctx, const char *stage, const char *class_name,
		       unsigned int flags, struct sluice_ep **ep);

struct sluice_lanes;

/**
 * sluice_lanes_attach() - become a consumer of all classes of a stage
 * @classes:	[@n] names, the highest first; the plain lane comes after them by itself
 * @lanes:	out, freed by sluice_lanes_detach(), before its context
 * Return: 0, -EINVAL, -ENAMETOOLONG, -ENOMEM, or as sluice_attach().
 */
int sluice_lanes_attach(struct sluice_ctx *ctx, const char *stage, const char *const *classes,
			unsigned int n, struct sluice_lanes **lanes);

/** sluice_lanes_detach() - of all lanes; NULL is allowed */
void sluice_lanes_detach(struct sluice_lanes *lanes);

/** sluice_lanes_ep() - the endpoint of lane @i: classes in order, then the plain one; NULL after */
struct sluice_ep *sluice_lanes_ep(const struct sluice_lanes *lanes, unsigned int i);

/**
 * sluice_lanes_bound() - how long lane @i may be passed over
 * @claims:	after so many claims in a row from lanes above it, it is asked before them;
 *		0: never, strictly by priority; SLUICE_LANES_BOUND unless told
 *
 * The reciprocal of the least share that the lane gets while it has messages: 1 in @claims + 1, or,
 * where several lanes are due at once, each within as many claims more as there are lanes.
 * Return: 0, -EINVAL.
 */
int sluice_lanes_bound(struct sluice_lanes *lanes, unsigned int i, unsigned int claims);

/**
 * sluice_lanes_claim() - the next message of the highest class that has one
 * @from:	out: the endpoint that it is to be acknowledged to
 * Return: the lane's number, 0 = the highest; or as sluice_claim_any().
 */
int sluice_lanes_claim(struct sluice_lanes *lanes, struct sluice_msg *msg, struct sluice_ep **from,
		       int64_t timeout_ns);

#ifdef __cplusplus
}
#endif
#endif /* SLUICE_LANES_H */
