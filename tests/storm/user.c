// SPDX-License-Identifier: MIT
/* user.c: the rings in plain shared memory. The library runs over it; the parent is the kernel. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "../../lib/internal.h"
#include "reaper/reaper.h"
#include "storm.h"

/* Of one life: the endpoints that the parent has given it. */
struct life {
	struct reaper_endpoint end[LANES];
	bool	has[LANES];
};

static struct reaper *ring[LANES];
static struct life lives[MAX_SEATS];
static struct storm *evicting;	/* whom reaper_evict is about */

static void evict(struct reaper *r, uint32_t id)
{
	unsigned int i, lane;

	for (i = 0; i < evicting->nseats; i++)
		for (lane = 0; lane < LANES; lane++)
			if (lives[i].has[lane] && ring[lane] == r && lives[i].end[lane].id == id)
				seat_evict(evicting, &evicting->seat[i]);
}

static int broadcast_create(struct storm *s)
{
	const struct sluice_create c = {
		.name = "in", .nslots = 64, .nbufs = 16, .bufsize = 4096,
		.policy = SLUICE_POLICY_BROADCAST, .ack_timeout_ms = 40, .write_timeout_ms = 50,
	};

	ring[LANE_IN] = reaper_create(&c, s->first);
	return ring[LANE_IN] ? 0 : -ENOMEM;
}

static int user_create(struct storm *s)
{
	struct sluice_create in = {
		.name = "in", .nslots = 64, .nbufs = 16, .bufsize = 4096, .max_attempts = 3,
		.ack_timeout_ms = 40, .max_hold_ms = 400, .write_timeout_ms = 50, .dead_slots = 256,
	};
	struct sluice_create out = in;

	/* the laps begin anew in the middle of the storm */
	s->first = ticket_mask(6) - 3000;
	reaper_evict = evict;
	evicting = s;
	if (s->opt.broadcast)
		return broadcast_create(s);
	out.max_attempts = 254;
	out.dead_slots = 0;
	ring[LANE_IN] = reaper_create(&in, s->first);
	ring[LANE_OUT] = reaper_create(&out, 0);
	if (!ring[LANE_IN] || !ring[LANE_OUT])
		return -ENOMEM;
	ring[LANE_DEAD] = reaper_dead_stage(ring[LANE_IN]);
	return 0;
}

static void user_destroy(struct storm *s)
{
	reaper_destroy(ring[LANE_IN]);
	if (ring[LANE_OUT])
		reaper_destroy(ring[LANE_OUT]);
}

static int give(struct seat *seat, struct life *life, enum lane lane, enum sluice_role role)
{
	int ret = reaper_attach(ring[lane], role, attach_flags(seat), &life->end[lane]);

	life->has[lane] = !ret;
	return ret;
}

static int user_attach(struct storm *s, struct seat *seat)
{
	struct life *life = &lives[seat - s->seat];
	int ret;

	memset(life, 0, sizeof(*life));
	switch (seat->role) {
	case PRODUCER:
		return give(seat, life, LANE_IN, SLUICE_PRODUCER);
	case WORKER:
		ret = give(seat, life, LANE_IN, SLUICE_CONSUMER);
		return ret ? ret : give(seat, life, LANE_OUT, SLUICE_PRODUCER);
	case SINK:
		return give(seat, life, LANE_OUT, SLUICE_CONSUMER);
	case UNDERTAKER:
		return give(seat, life, LANE_DEAD, SLUICE_CONSUMER);
	case MEMBER:
		return give(seat, life, LANE_IN, SLUICE_CONSUMER);
	}
	return -EINVAL;
}

static void user_died(struct storm *s, struct seat *seat)
{
	struct life *life = &lives[seat - s->seat];
	unsigned int lane;

	for (lane = 0; lane < LANES; lane++)
		if (life->has[lane])
			reaper_died(ring[lane], life->end[lane].id);
	memset(life, 0, sizeof(*life));
}

static void user_tick(struct storm *s)
{
	reaper_tick(ring[LANE_IN]);
	if (ring[LANE_OUT])
		reaper_tick(ring[LANE_OUT]);
}

static int user_info(struct storm *s, enum lane lane, struct sluice_info *info)
{
	if (!ring[lane])
		return -ENOENT;
	reaper_info(ring[lane], info);
	return 0;
}

static int user_set_policy(struct storm *s, enum lane lane, enum sluice_policy policy)
{
	reaper_set_policy(ring[lane], policy);
	return 0;
}

/* In the child, as the library's own attach does it; what is not there it cannot wait for. */
static int user_open(struct storm *s, struct seat *seat, enum lane lane, enum sluice_role role,
		     struct sluice_ep **out)
{
	const struct reaper_endpoint *end = &lives[seat - s->seat].end[lane];
	struct reaper_memory memory = reaper_memory(ring[lane]);
	struct sluice_ep *ep = calloc(1, sizeof(*ep));

	if (!process_ctx) {
		process_ctx = calloc(1, sizeof(*process_ctx));
		process_ctx->flags = SLUICE_CTX_SPIN | SLUICE_CTX_NO_URING;
	}
	ep->ctx = process_ctx;
	ep->role = role;
	ep->id = end->id;
	ep->fd = -1;
	strcpy(ep->name, "storm");
	__sluice_ep_layout(ep, memory.hints, memory.control, memory.payload, end->index);
	ep->ticket = end->tail;
	if (role == SLUICE_CONSUMER)
		ep->ticket = ticket_add(end->tail, -(long long)ep->nslots, ep->order);
	ep->high = ep->ticket;
	ep->recipient = end->recipient;
	ep->start = end->start;
	ep->early = true;
	ep->buffer_hint = ep->nbufs ? ep->nbufs - 1 : 0;
	__sluice_members_changed(ep);
	*out = ep;
	return 0;
}

/** endpoint_start() - the first ticket that a member of a broadcast gets, else HISTORY_NO_TICKET */
uint64_t endpoint_start(const struct sluice_ep *ep)
{
	return ep->recipient ? ep->start : HISTORY_NO_TICKET;
}

const struct backend user_backend = {
	.name = "user space",
	.create = user_create, .destroy = user_destroy, .seat_attach = user_attach,
	.seat_died = user_died, .tick = user_tick, .info = user_info, .open = user_open,
	.set_policy = user_set_policy,
};
