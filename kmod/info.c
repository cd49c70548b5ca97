// SPDX-License-Identifier: GPL-2.0
/*
 * info.c: what is reported about stages and endpoints.
 *
 * State is derived from who is attached and what moves, never from heartbeats.
 */
#include <linux/pid.h>
#include <linux/user_namespace.h>
#include <linux/cred.h>

#include "internal.h"

static void sl_info_geometry(const struct sl_stage *s, struct sluice_info *info)
{
	strscpy(info->name, s->name, sizeof(info->name));
	info->nslots = s->nslots;
	info->nbufs = s->nbufs;
	info->bufsize = s->bufsize;
	info->policy = s->policy;
	info->max_attempts = s->max_attempts;
	info->ack_timeout_ms = div_u64(s->ack_timeout_ns, NSEC_PER_MSEC);
	info->max_hold_ms = div_u64(s->max_hold_ns, NSEC_PER_MSEC);
	info->write_timeout_ms = div_u64(s->write_timeout_ns, NSEC_PER_MSEC);
	info->dead_slots = s->dead_slots;
	info->queue_max = s->queue_max;
	info->uid = from_kuid_munged(current_user_ns(), s->uid);
	info->gid = from_kgid_munged(current_user_ns(), s->gid);
	info->mode = s->mode;
}

static void sl_info_slot(struct sluice_info *info, u64 w)
{
	switch (slot_state(w)) {
	case SLOT_FREE:
		break;
	case SLOT_WRITING:
		info->writing++;
		break;
	case SLOT_READY:
		info->ready++;
		break;
	case SLOT_CLAIMED:
		info->claimed++;
		break;
	case SLOT_DEAD:
		info->dead++;
		break;
	}
}

static void sl_info_slots(struct sl_stage *s, struct sluice_info *info)
{
	u32 i;

	for (i = 0; sl_next_slot(s, &i); i++) {
		u64 w = sl_slot_word(s, i);
		struct sl_shadow *sh;

		sl_info_slot(info, w);
		if (slot_state(w) == SLOT_FREE)
			continue;
		sh = sl_shadow(s, i, slot_lap(w));	/* seen now, if not before */
		if (sh)
			info->oldest_age_ns = max(info->oldest_age_ns, ktime_get_ns() - sh->seen);
	}
	for (i = 0; i < s->nbufs; i++) {
		u64 *word = sl_buffer_word(s, i, false);

		info->buffers_used += word && buf_state(READ_ONCE(*word)) != BUF_FREE;
	}
}

static void sl_info_counts(struct sl_stage *s, struct sluice_info *info)
{
	const struct sl_counts *c = &s->counts;

	info->redelivered = c->redelivered;
	info->discarded = c->discarded;
	info->timeouts = c->timeouts;
	info->nacks = c->nacks;
	info->deaths = c->deaths;
	info->evictions = c->evictions;
	info->dead_letters = c->dead_letters;
	info->dead_dropped = c->dead_dropped;
	info->wakes = sl_count_look(s, wakes);
	info->kicks = sl_count_look(s, kicks);
	info->sends = c->sends;
	info->lies = sl_count_look(s, lies);
	info->expelled = c->expelled;
	info->published = c->published;
	info->claimed_total = c->claimed;
	info->acked = c->acked;
	info->stale = c->stale;
	info->bytes = c->bytes;
}

/** sl_info_keep() - an endpoint goes, what it said of itself stays in the sums */
void sl_info_keep(struct sl_endpoint *ep)
{
	const struct sluice_counters *c = sl_endpoint_counters(ep->stage, ep->index);
	struct sl_counts *sum = &ep->stage->counts;

	lockdep_assert_held(&ep->stage->lock);
	if (!c)
		return;
	sum->stale += READ_ONCE(c->stale);
	if (ep->role == SLUICE_PRODUCER) {
		sum->published += READ_ONCE(c->messages);
		sum->bytes += READ_ONCE(c->bytes);
	} else {
		sum->claimed += READ_ONCE(c->messages);
		sum->acked += READ_ONCE(c->acked);
	}
}

/* Sums of what endpoints say of themselves. */
static void sl_info_endpoints(struct sl_stage *s, struct sluice_info *info)
{
	struct sl_endpoint *ep;
	unsigned long id;

	xa_for_each(&s->endpoints, id, ep) {
		const struct sluice_counters *c = sl_endpoint_counters(s, ep->index);

		if (ep->dead || !c)
			continue;
		info->stale += READ_ONCE(c->stale);
		if (ep->role == SLUICE_PRODUCER) {
			info->published += READ_ONCE(c->messages);
			info->bytes += READ_ONCE(c->bytes);
		} else {
			info->claimed_total += READ_ONCE(c->messages);
			info->acked += READ_ONCE(c->acked);
		}
	}
}

static enum sluice_health sl_health(const struct sl_stage *s, const struct sluice_info *info)
{
	bool pending = info->ready || info->claimed || info->queued;

	if (s->closed)
		return SLUICE_CLOSING;
	if (pending && !s->consumers)
		return SLUICE_NO_CONSUMER;
	if (info->dead || (pending && info->oldest_age_ns > s->ack_timeout_ns))
		return SLUICE_STALLED;
	if (!s->producers && !s->consumers)
		return SLUICE_IDLE;
	return SLUICE_LIVE;
}

/** sl_stage_info() - SLUICE_IOC_INFO and SLUICE_IOC_NEXT; @info->size and cookie stay */
int sl_stage_info(struct sl_stage *s, struct sluice_info *info)
{
	u64 cookie = info->cookie;
	u32 size = info->size;

	memset(info, 0, sizeof(*info));
	info->size = size;
	info->cookie = cookie;
	mutex_lock(&s->lock);
	sl_info_geometry(s, info);
	sl_info_slots(s, info);
	sl_info_counts(s, info);
	sl_info_endpoints(s, info);
	sl_ring_find_tail(s);
	info->tail = s->tail;
	info->producers = s->producers;
	info->consumers = s->consumers;
	info->sole = !!s->sole;
	info->queued = s->nqueue;
	info->ready_sleepers = READ_ONCE(s->hints->ready_sleepers);
	info->room_sleepers = READ_ONCE(s->hints->room_sleepers);
	info->bytes_resident = (u64)atomic_long_read(&s->resident) << PAGE_SHIFT;
	info->health = sl_health(s, info);
	mutex_unlock(&s->lock);
	return 0;
}

static struct sl_endpoint *sl_endpoint_after(struct sl_stage *s, u32 index)
{
	struct sl_endpoint *ep, *best = NULL;
	unsigned long id;

	xa_for_each(&s->endpoints, id, ep)
		if (!ep->dead && ep->index >= index && (!best || ep->index < best->index))
			best = ep;
	return best;
}

static u32 sl_held(struct sl_stage *s, u32 id)
{
	u32 i, n = 0;

	for (i = 0; sl_next_slot(s, &i); i++) {
		u64 w = sl_slot_word(s, i);

		n += slot_state(w) == SLOT_CLAIMED && slot_owner(w) == id;
	}
	return n;
}

/** sl_endpoint_info() - SLUICE_IOC_ENDPOINT: the endpoint at or after @info->index, or -ENOENT */
int sl_endpoint_info(struct sl_stage *s, struct sluice_endpoint_info *info)
{
	const struct sluice_counters *c;
	struct sl_endpoint *ep;
	int err = -ENOENT;

	mutex_lock(&s->lock);
	ep = sl_endpoint_after(s, info->index);
	if (ep) {
		info->index = ep->index;
		info->id = ep->id;
		info->role = ep->role;
		info->flags = ep->flags;
		info->pid = pid_vnr(ep->pid);
		info->held = 0;
		if (ep->recipient)
			info->held = sl_broadcast_held(s, ep);
		else if (ep->role == SLUICE_CONSUMER)
			info->held = sl_held(s, ep->id);
		info->expelled = sl_broadcast_expelled(ep);
		info->parked = sl_endpoint_parked(ep);
		memcpy(info->comm, ep->comm, sizeof(info->comm));
		c = sl_endpoint_counters(s, ep->index);
		if (c)
			info->counters = *c;
		err = 0;
	}
	mutex_unlock(&s->lock);
	return err;
}
