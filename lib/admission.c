// SPDX-License-Identifier: MIT
/*
 * admission.c: whether the next message would be done in time.
 *
 * What has been finished between two looks follows from the ring alone: tickets given out, less
 * what is more under way than before. That counts whoever consumes, by whatever call, and does not
 * believe anybody's own counters, which go away with who dies.
 *
 * A rate means something only while there is work. As long as one message that was there at the
 * first look is still under way, the stage has had work all the time in between: that is a window.
 * In one that ended otherwise it was idle for a while, so it was at least so fast. And a window in
 * which hardly anything was finished shows at once that it has become slow, or stands.
 */
#include <stdlib.h>

#include "internal.h"

#define SAMPLE		4u		/* messages that make a measurement */
#define KEEP		0.5		/* of the old rate, in the new one */
#define UNKNOWN_NS	100000000ull	/* come again after it, when no rate is known */
#define LONGEST_NS	60000000000ull	/* nobody is sent away for longer */

/**
 * struct sluice_admission - limits, and what was measured
 * @first:	everything older is over
 * @began:	the window: when it began, ns; with @tail and @backlog of that moment
 * @rate:	messages a ns while there is work; 0 = not known
 */
struct sluice_admission {
	struct sluice_ep		*ep;
	struct sluice_admission_limits	limits;
	u64				first;
	u64				began;
	u64				tail;
	u64				backlog;
	double				rate;
};

/* ---------------------------------------------------------------- measure --- */

static void begin_window(struct sluice_admission *d, u64 now, u64 tail, u64 backlog)
{
	d->began = now;
	d->tail = tail;
	d->backlog = backlog;
}

static void learn(struct sluice_admission *d, double rate)
{
	d->rate = d->rate > 0 ? KEEP * d->rate + (1 - KEEP) * rate : rate;
}

/* Returns the rate to go by now, which may be less than what was measured before. */
static double measure(struct sluice_admission *d, u64 now, u64 tail, u64 backlog)
{
	u32 order = d->ep->order;
	long long given = ticket_diff(tail, d->tail, order), finished;
	double took = (double)(now - d->began), most;
	bool busy = d->backlog && backlog && ticket_diff(d->first, d->tail, order) < 0;

	finished = given - ((long long)backlog - (long long)d->backlog);
	if (now <= d->began || given < 0 || finished < 0) {
		begin_window(d, now, tail, backlog);
		return d->rate;
	}
	if (!busy) {
		if (d->rate > 0 && (double)finished / took > d->rate)
			learn(d, (double)finished / took);
		begin_window(d, now, tail, backlog);
		return d->rate;
	}
	if (finished >= SAMPLE) {
		learn(d, (double)finished / took);
		begin_window(d, now, tail, backlog);
		return d->rate;
	}
	/* The next one is not done yet. */
	most = (double)(finished + 1) / took;
	return d->rate > 0 && d->rate < most ? d->rate : most;
}

/* What it goes by, at @now; returns the rate in messages a ns. */
static double look(struct sluice_admission *d, u64 now, struct sluice_load *load)
{
	const struct sluice_hints *h = d->ep->hints;
	u64 tail = __sluice_tail(d->ep);
	double rate;

	load->backlog = __sluice_unfinished(d->ep, &d->first, tail);
	load->queued = hint(&h->queued);
	load->consumers = hint(&h->consumers);
	rate = measure(d, now, tail, load->backlog);
	load->rate = rate * 1e9;
	load->wait_ns = 0;
	/* Those before it, and then its own turn, which others of its kind have at the same time. */
	if (rate > 0)
		load->wait_ns = (u64)((double)(load->backlog + load->queued +
					       (load->consumers ?: 1)) / rate);
	return rate;
}

void sluice_admission_load(struct sluice_admission *door, struct sluice_load *load)
{
	look(door, __sluice_now(), load);
}

/* ------------------------------------------------------------------ admit --- */

/* How long until the backlog is below the limit? 0: it is. */
static u64 too_many(const struct sluice_admission *d, u64 ahead, double rate)
{
	u64 max = d->limits.max_backlog;

	if (!max || ahead < max)
		return 0;
	if (!(rate > 0))
		return UNKNOWN_NS;
	return (u64)((double)(ahead - max + 1) / rate) ?: 1;
}

static u64 too_late(u64 wait_ns, u64 allowed_ns)
{
	return allowed_ns && wait_ns > allowed_ns ? wait_ns - allowed_ns : 0;
}

int __sluice_admit_at(struct sluice_admission *d, u64 now, u64 deadline_ns, u64 *retry_after_ns)
{
	u64 ahead, retry, late, allowed = d->limits.max_wait_ns;
	struct sluice_load load;
	double rate;

	if (hint(&d->ep->hints->closed))
		return __sluice_err_lazy(-ESHUTDOWN, ERROR_CLOSED, d->ep);
	rate = look(d, now, &load);
	ahead = load.backlog + load.queued;
	if (deadline_ns && (!allowed || deadline_ns < allowed))
		allowed = deadline_ns;
	if (!ahead)
		return 0;
	retry = too_many(d, ahead, rate);
	late = too_late(load.wait_ns, allowed);
	if (late > retry)
		retry = late;
	if (!retry)
		return 0;
	if (retry > LONGEST_NS)
		retry = LONGEST_NS;
	if (retry_after_ns)
		*retry_after_ns = retry;
	return __sluice_err(-EBUSY, "stage '%s': busy, try again in %llu ms: %llu messages are "
			    "under way, of which its %u consumers finish %.3g a second",
			    d->ep->name, (unsigned long long)(retry + 999999) / 1000000,
			    (unsigned long long)ahead, load.consumers, load.rate);
}

int sluice_admit(struct sluice_admission *door, uint64_t deadline_ns, uint64_t *retry_after_ns)
{
	u64 retry = 0;
	int ret = __sluice_admit_at(door, __sluice_now(), deadline_ns, &retry);

	if (retry_after_ns)
		*retry_after_ns = retry;
	return ret;
}

/* ----------------------------------------------------------------- object --- */

int sluice_admission_create(struct sluice_ep *ep, const struct sluice_admission_limits *limits,
			    struct sluice_admission **out)
{
	struct sluice_admission *d;
	u64 tail;

	if (ep->role != SLUICE_PRODUCER)
		return __sluice_err(-EINVAL, "stage '%s': producers ask before they send, this is "
				    "a consumer", ep->name);
	d = calloc(1, sizeof(*d));
	if (!d)
		return __sluice_err(-ENOMEM, "stage '%s': out of memory", ep->name);
	d->ep = ep;
	d->limits = *limits;
	tail = __sluice_tail(ep);
	d->first = ticket_add(tail, -(long long)ep->nslots, ep->order);
	begin_window(d, __sluice_now(), tail, __sluice_unfinished(ep, &d->first, tail));
	*out = d;
	return 0;
}

void sluice_admission_free(struct sluice_admission *door)
{
	free(door);
}
