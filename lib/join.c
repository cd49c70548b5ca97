// SPDX-License-Identifier: MIT
/*
 * join.c: the parts of one (stream, counter) from several stages, held as claims until all are
 * there.
 *
 * Memory is bounded by the window: an input with so many parts waiting is not asked for more, so
 * its ring fills up and tells those who send. Parts that wait for each other behind full windows
 * come to an end by their deadline. Nobody waits for room meanwhile (rule P30): what is held waits
 * for messages of others, which are claimed independently of it.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sluice/join.h>

#include "internal.h"

#define NS_PER_MS	1000000ull
#define BACK_MS		20u
#define OVER_MAX	1024u	/* sets that are remembered when they are over */

/* The parts of one message; free when there is none. */
struct set {
	u64			stream;
	u64			counter;
	u64			deadline;
	u64			not_before;	/* given back: not told sooner */
	u32			have;
	bool			told;		/* the caller has it */
	struct sluice_msg	part[SLUICE_JOIN_INPUTS];
};

/* A set that is over: its late parts are copies, or came too late. */
struct over {
	u64	stream;
	u64	counter;
	int	reason;		/* 0: acknowledged */
	bool	used;
};

struct sluice_join {
	struct sluice_ep	*in[SLUICE_JOIN_INPUTS];
	u32			waiting[SLUICE_JOIN_INPUTS];	/* parts held of each */
	unsigned int		n;
	u32			window;
	u32			nsets;
	u64			deadline_ns;
	u64			renew_ns;
	u64			renew_at;
	u32			next_over;
	struct over		over[OVER_MAX];
	struct set		set[];
};

/* ------------------------------------------------------------ create, destroy --- */

static int check_input(struct sluice_ep *ep, struct sluice_ep *first, u64 deadline_ns, u32 window)
{
	struct sluice_info info;

	if (ep->role != SLUICE_CONSUMER || ep->ctx != first->ctx)
		return __sluice_err(-EINVAL, "stage '%s': the inputs of a join are consumers of one "
				    "context", ep->name);
	if (window > ep->nslots / 2)
		return __sluice_err(-EINVAL, "stage '%s': a window of %u is more than half of its "
				    "%u slots", ep->name, window, ep->nslots);
	if (!sluice_info(ep->name, &info) && deadline_ns > info.max_hold_ms * NS_PER_MS)
		return __sluice_err(-EINVAL, "stage '%s': a part may be held for %u ms, its max_hold, "
				    "which is less than the deadline of %llu ms: recreate it with a "
				    "longer max_hold", ep->name, info.max_hold_ms,
				    (unsigned long long)(deadline_ns / NS_PER_MS));
	return 0;
}

int sluice_join_create(struct sluice_ep *const *inputs, unsigned int n, int64_t deadline_ns,
		       uint32_t window, struct sluice_join **join)
{
	u32 max = window ? window : SLUICE_JOIN_WINDOW;
	struct sluice_join *j;
	u32 shortest = UINT32_MAX;
	int ret = 0;

	*join = NULL;
	if (!n || n > SLUICE_JOIN_INPUTS || deadline_ns <= 0)
		return __sluice_err(-EINVAL, "a join has 1 to %u inputs and a deadline",
				    SLUICE_JOIN_INPUTS);
	for (unsigned int i = 0; !ret && i < n; i++) {
		ret = check_input(inputs[i], inputs[0], (u64)deadline_ns, max);
		if (inputs[i]->hints->ack_timeout_ms < shortest)
			shortest = inputs[i]->hints->ack_timeout_ms;
	}
	if (ret)
		return ret;
	j = calloc(1, sizeof(*j) + (size_t)max * n * sizeof(j->set[0]));
	if (!j)
		return __sluice_err(-ENOMEM, "no memory for a join");
	memcpy(j->in, inputs, n * sizeof(inputs[0]));
	j->n = n;
	j->window = max;
	j->nsets = max * n;
	j->deadline_ns = (u64)deadline_ns;
	j->renew_ns = shortest * NS_PER_MS / 3;
	j->renew_at = __sluice_now() + j->renew_ns;
	*join = j;
	return 0;
}

void sluice_join_destroy(struct sluice_join *j)
{
	if (!j)
		return;
	for (u32 s = 0; s < j->nsets; s++)
		for (unsigned int i = 0; i < j->n; i++)
			if (j->set[s].have & 1u << i)
				sluice_nack(j->in[i], &j->set[s].part[i], 0, 0, SLUICE_NACK_BUSY);
	free(j);
}

/* ------------------------------------------------------------------ parts --- */

static struct set *find_set(struct sluice_join *j, const struct sluice_msg *m)
{
	struct set *unused = NULL;

	for (u32 s = 0; s < j->nsets; s++) {
		struct set *set = &j->set[s];

		if (!set->have && !set->told)
			unused = unused ? unused : set;
		else if (set->stream == m->stream && set->counter == m->counter)
			return set;
	}
	/*
	 * Each set that waits has a part, and no input has more than a window of them: only sets
	 * that the caller keeps, and has lost, can be too many.
	 */
	if (unused)
		*unused = (struct set){
			.stream = m->stream, .counter = m->counter,
			.deadline = __sluice_now() + j->deadline_ns,
		};
	return unused;
}

static const struct over *find_over(const struct sluice_join *j, const struct sluice_msg *m)
{
	for (u32 i = 0; i < OVER_MAX; i++)
		if (j->over[i].used && j->over[i].stream == m->stream &&
		    j->over[i].counter == m->counter)
			return &j->over[i];
	return NULL;
}

static void remember(struct sluice_join *j, const struct set *set, int reason)
{
	j->over[j->next_over++ % OVER_MAX] = (struct over){
		.stream = set->stream, .counter = set->counter, .reason = reason, .used = true,
	};
}

static void take(struct sluice_join *j, unsigned int input, const struct sluice_msg *m)
{
	const struct over *over = find_over(j, m);
	struct set *set;

	if (over && over->reason) {
		sluice_nack(j->in[input], m, over->reason, 0, SLUICE_NACK_DEAD);
		return;
	}
	if (over) {
		sluice_ack(j->in[input], m);
		return;
	}
	set = find_set(j, m);
	if (!set) {
		sluice_nack(j->in[input], m, EBUSY, BACK_MS, SLUICE_NACK_BUSY);
		return;
	}
	if (!(set->have & 1u << input)) {
		set->have |= 1u << input;
		set->part[input] = *m;
		j->waiting[input]++;
	} else if (set->part[input].ticket == m->ticket) {
		set->part[input] = *m;	/* delivered again: the claim before was lost */
	} else {
		sluice_ack(j->in[input], m);
	}
}

/* Parts whose claim is gone come again. */
static void drop_lost(struct sluice_join *j, struct set *set)
{
	for (unsigned int i = 0; i < j->n; i++) {
		if (!(set->have & 1u << i) || sluice_holds(j->in[i], &set->part[i]))
			continue;
		set->have &= ~(1u << i);
		j->waiting[i]--;
	}
}

static void renew(struct sluice_join *j, u64 now)
{
	if (now < j->renew_at)
		return;
	j->renew_at = now + j->renew_ns;
	for (u32 s = 0; s < j->nsets; s++) {
		for (unsigned int i = 0; i < j->n; i++)
			if (j->set[s].have & 1u << i)
				sluice_renew(j->in[i], &j->set[s].part[i]);
		drop_lost(j, &j->set[s]);
	}
}

/* ------------------------------------------------------------------- next --- */

/* What there is, from each input in turn, as far as its window goes. */
static int claim_all(struct sluice_join *j, bool *some)
{
	struct sluice_msg m;
	int ret;

	for (unsigned int i = 0; i < j->n; i++) {
		while (j->waiting[i] < j->window) {
			ret = sluice_claim(j->in[i], &m, SLUICE_NOW);
			if (ret == -EAGAIN)
				break;
			if (ret)
				return ret;
			take(j, i, &m);
			*some = true;
		}
	}
	return 0;
}

/* A set that is complete, else one that is late; also when the next one will be late. */
static struct set *due(struct sluice_join *j, u64 now, int *ret, u64 *next)
{
	struct set *late = NULL;

	*next = DEADLINE_NEVER;
	for (u32 s = 0; s < j->nsets; s++) {
		struct set *set = &j->set[s];

		if (!set->have || set->told)
			continue;
		if (set->have == (1u << j->n) - 1 && now >= set->not_before) {
			*ret = 0;
			return set;
		}
		if (now >= set->deadline && set->have != (1u << j->n) - 1)
			late = set;
		else if (set->have == (1u << j->n) - 1 && set->not_before < *next)
			*next = set->not_before;
		else if (set->deadline < *next)
			*next = set->deadline;
	}
	*ret = -ETIME;
	return late;
}

static void tell(struct sluice_join *j, struct set *set, struct sluice_joined *out)
{
	set->told = true;
	*out = (struct sluice_joined){
		.stream = set->stream, .counter = set->counter, .have = set->have,
		.slot = (u32)(set - j->set),
	};
	memcpy(out->part, set->part, sizeof(out->part));
}

/* Until one of the inputs that have room in their window has something, or @until. */
static int sleep_until(struct sluice_join *j, u64 until)
{
	struct pollfd p[SLUICE_JOIN_INPUTS + 1] = {
		{ .fd = j->in[0]->ctx->intr_fd, .events = POLLIN },
	};
	struct timespec ts = { 0 };
	nfds_t n = 1;
	int armed;
	u64 now;

	for (unsigned int i = 0; i < j->n; i++) {
		if (j->waiting[i] >= j->window)
			continue;
		armed = sluice_poll_arm(j->in[i]);
		if (armed)
			return armed < 0 ? armed : 0;
		p[n++] = (struct pollfd){ .fd = sluice_fd(j->in[i]), .events = POLLIN };
	}
	now = __sluice_now();
	if (until > now) {
		ts.tv_sec = (time_t)((until - now) / 1000000000u);
		ts.tv_nsec = (long)((until - now) % 1000000000u);
	}
	if (ppoll(p, n, &ts, NULL) < 0)
		return -errno;
	if (!p[0].revents)
		return 0;
	__atomic_store_n(&j->in[0]->ctx->interrupted, 1, __ATOMIC_SEQ_CST);
	return -EINTR;
}

int sluice_join_next(struct sluice_join *j, struct sluice_joined *out, int64_t timeout_ns)
{
	u64 end = deadline_of(timeout_ns), next, now;
	struct set *set;
	int ret, which;

	for (;;) {
		bool some = false;

		if (interrupted(j->in[0]->ctx))
			return __sluice_err_lazy(-EINTR, ERROR_INTERRUPTED, j->in[0]);
		ret = claim_all(j, &some);
		if (ret)
			return ret;
		now = __sluice_now();
		renew(j, now);
		set = due(j, now, &which, &next);
		if (set)
			drop_lost(j, set);
		if (set && (which || set->have == (1u << j->n) - 1)) {
			tell(j, set, out);
			return which;
		}
		if (set || some)
			continue;
		if (now >= end)
			return __sluice_err_lazy(-EAGAIN, ERROR_EMPTY, j->in[0]);
		next = next < j->renew_at ? next : j->renew_at;
		ret = sleep_until(j, next < end ? next : end);
		if (ret)
			return ret;
	}
}

/* ----------------------------------------------------------------- settle --- */

static struct set *told_set(struct sluice_join *j, const struct sluice_joined *s)
{
	struct set *set = s->slot < j->nsets ? &j->set[s->slot] : NULL;

	return set && set->told && set->stream == s->stream && set->counter == s->counter ? set :
										     NULL;
}

static void forget(struct sluice_join *j, struct set *set)
{
	for (unsigned int i = 0; i < j->n; i++)
		j->waiting[i] -= set->have >> i & 1;
	*set = (struct set){ .have = 0 };
}

bool sluice_join_holds(struct sluice_join *j, const struct sluice_joined *s)
{
	struct set *set = told_set(j, s);

	if (!set)
		return false;
	drop_lost(j, set);
	if (set->have == s->have)
		return true;
	set->told = false;
	return false;
}

int sluice_join_ack(struct sluice_join *j, const struct sluice_joined *s)
{
	struct set *set = told_set(j, s);
	int ret = 0, err;

	if (!set)
		return -ESTALE;
	for (unsigned int i = 0; i < j->n; i++) {
		err = set->have & 1u << i ? sluice_ack(j->in[i], &set->part[i]) : 0;
		ret = ret ? ret : err;
	}
	remember(j, set, 0);
	forget(j, set);
	return ret;
}

void sluice_join_back(struct sluice_join *j, const struct sluice_joined *s, unsigned int delay_ms)
{
	struct set *set = told_set(j, s);

	if (!set)
		return;
	set->told = false;
	set->not_before = __sluice_now() + delay_ms * NS_PER_MS;
}

int sluice_join_fail(struct sluice_join *j, const struct sluice_joined *s, int reason)
{
	struct set *set = told_set(j, s);
	int ret = 0, err;

	if (!set)
		return -ESTALE;
	for (unsigned int i = 0; i < j->n; i++) {
		err = set->have & 1u << i ?
		      sluice_nack(j->in[i], &set->part[i], reason, 0, SLUICE_NACK_DEAD) : 0;
		ret = ret ? ret : err;
	}
	remember(j, set, reason);
	forget(j, set);
	return ret;
}
