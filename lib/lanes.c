// SPDX-License-Identifier: MIT
/* lanes.c: classes of priority, each a stage of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/**
 * struct lane - a class, as a consumer sees it
 * @bound:	claims in a row from lanes above this one, before it is asked first; 0: never
 * @passed:	how many there were
 */
struct lane {
	struct sluice_ep	*ep;
	u32			bound;
	u32			passed;
};

struct sluice_lanes {
	u32		n;
	struct lane	lane[SLUICE_LANES_MAX];		/* the highest first */
};

/* ---------------------------------------------------------------- stages --- */

int sluice_lane_name(char name[SLUICE_NAME_MAX], const char *stage, const char *class_name)
{
	int len;

	/* "<stage>.dead" is where the kernel puts its dead letters. */
	if (class_name && (!class_name[0] || !strcmp(class_name, "dead")))
		return __sluice_err(-EINVAL, "'%s' cannot be the name of a class", class_name);
	len = snprintf(name, SLUICE_NAME_MAX, "%s%s%s", stage, class_name ? "." : "",
		       class_name ? class_name : "");
	if (len >= (int)SLUICE_NAME_MAX)
		return __sluice_err(-ENAMETOOLONG, "stage '%s': with a class it has more than %u "
				    "characters", stage, SLUICE_NAME_MAX - 1);
	return 0;
}

static int create_lane(const struct sluice_create *base, const struct sluice_lane *lane)
{
	struct sluice_create c = *base;
	int ret = sluice_lane_name(c.name, base->name, lane->name);

	if (ret)
		return ret;
	if (lane->nslots)
		c.nslots = lane->nslots;
	if (lane->nbufs)
		c.nbufs = lane->nbufs;
	if (lane->queue_max)
		c.queue_max = lane->queue_max;
	return sluice_create(&c);
}

static int check_classes(const char *stage, unsigned int n)
{
	if (n < SLUICE_LANES_MAX)
		return 0;
	return __sluice_err(-EINVAL, "stage '%s': it can have %u classes beside the plain one, "
			    "not %u", stage, SLUICE_LANES_MAX - 1, n);
}

int sluice_lanes_create(const struct sluice_create *base, const struct sluice_lane *lanes,
			unsigned int n)
{
	char name[SLUICE_NAME_MAX];
	unsigned int made;
	int ret = check_classes(base->name, n);

	for (made = 0; !ret && made < n; made++) {
		ret = create_lane(base, &lanes[made]);
		if (ret)
			break;
	}
	/* Last: who finds the plain lane finds the others, too. */
	if (!ret)
		ret = sluice_create(base);
	while (ret && made--)
		if (!sluice_lane_name(name, base->name, lanes[made].name))
			sluice_destroy(name, 0, SLUICE_DESTROY_FORCE);
	return ret;
}

int sluice_lanes_destroy(const char *stage, const char *const *classes, unsigned int n,
			 unsigned int drain_ms, unsigned int flags)
{
	char name[SLUICE_NAME_MAX];
	int ret = check_classes(stage, n), first = ret;
	unsigned int i;

	for (i = 0; !ret && i <= n; i++) {
		int one = sluice_lane_name(name, stage, i < n ? classes[i] : NULL);

		if (!one)
			one = sluice_destroy(name, drain_ms, flags);
		if (!first)
			first = one;
	}
	return first;
}

/* ------------------------------------------------------------- endpoints --- */

static int attach_lane(struct sluice_ctx *ctx, const char *stage, const char *class_name,
		  enum sluice_role role, unsigned int flags, struct sluice_ep **ep)
{
	char name[SLUICE_NAME_MAX];
	int ret = sluice_lane_name(name, stage, class_name);

	return ret ? ret : sluice_attach(ctx, name, role, flags, ep);
}

int sluice_lane_attach(struct sluice_ctx *ctx, const char *stage, const char *class_name,
		       unsigned int flags, struct sluice_ep **ep)
{
	return attach_lane(ctx, stage, class_name, SLUICE_PRODUCER, flags, ep);
}

int sluice_lanes_attach(struct sluice_ctx *ctx, const char *stage, const char *const *classes,
			unsigned int n, struct sluice_lanes **out)
{
	struct sluice_lanes *l;
	int ret = check_classes(stage, n);

	if (ret)
		return ret;
	l = calloc(1, sizeof(*l));
	if (!l)
		return __sluice_err(-ENOMEM, "stage '%s': out of memory", stage);
	for (; !ret && l->n <= n; l->n++) {
		struct lane *lane = &l->lane[l->n];

		lane->bound = SLUICE_LANES_BOUND;
		ret = attach_lane(ctx, stage, l->n < n ? classes[l->n] : NULL, SLUICE_CONSUMER, 0,
			     &lane->ep);
		if (ret)
			break;
	}
	if (ret) {
		sluice_lanes_detach(l);
		return ret;
	}
	*out = l;
	return 0;
}

void sluice_lanes_detach(struct sluice_lanes *lanes)
{
	u32 i;

	if (!lanes)
		return;
	for (i = 0; i < lanes->n; i++)
		sluice_detach(lanes->lane[i].ep);
	free(lanes);
}

struct sluice_ep *sluice_lanes_ep(const struct sluice_lanes *lanes, unsigned int i)
{
	return i < lanes->n ? lanes->lane[i].ep : NULL;
}

int sluice_lanes_bound(struct sluice_lanes *lanes, unsigned int i, unsigned int claims)
{
	if (i >= lanes->n)
		return __sluice_err(-EINVAL, "there are %u lanes, none has number %u", lanes->n, i);
	lanes->lane[i].bound = claims;
	return 0;
}

/* ----------------------------------------------------------------- claim --- */

static bool due(const struct lane *lane)
{
	return lane->bound && lane->passed >= lane->bound;
}

/*
 * The starvation bound. Whoever has been passed over often enough is asked before the lanes above
 * it. That it was asked and had nothing begins its count anew: nobody waited there.
 */
static u32 in_order(const struct sluice_lanes *l, struct sluice_ep **eps, u32 *lane)
{
	u32 i, n = 0;
	int pass;

	for (pass = 1; pass >= 0; pass--) {
		for (i = 0; i < l->n; i++) {
			if (due(&l->lane[i]) != pass)
				continue;
			eps[n] = l->lane[i].ep;
			lane[n++] = i;
		}
	}
	return n;
}

static void claimed(struct sluice_lanes *l, u32 from)
{
	bool from_due = due(&l->lane[from]);
	u32 i;

	for (i = 0; i < l->n; i++) {
		/* Of those that were due, the ones asked before the one that had a message. */
		bool asked = due(&l->lane[i]) && (!from_due || i < from);

		if (i == from || asked)
			l->lane[i].passed = 0;
	}
	for (i = from + 1; i < l->n; i++)
		l->lane[i].passed++;
}

int sluice_lanes_claim(struct sluice_lanes *lanes, struct sluice_msg *msg, struct sluice_ep **from,
		       int64_t timeout_ns)
{
	struct sluice_ep *eps[SLUICE_LANES_MAX];
	u32 lane[SLUICE_LANES_MAX];
	u32 n = in_order(lanes, eps, lane);
	int ret = sluice_claim_any(eps, n, msg, timeout_ns);

	if (ret < 0)
		return ret;
	*from = eps[ret];
	ret = (int)lane[ret];
	claimed(lanes, (u32)ret);
	return ret;
}
