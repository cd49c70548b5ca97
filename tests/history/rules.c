// SPDX-License-Identifier: MIT
/* rules.c: what must hold of each ticket, message, stream and endpoint, over all logs. */
#include <stdlib.h>

#include "check_pvt.h"

typedef unsigned long long ull;

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* Events that name a ticket; the others come last. */
static uint64_t ticket_of_event(const struct history_event *e)
{
	switch ((enum history_what)e->what) {
	case HISTORY_SENT:
	case HISTORY_DELIVERED:
	case HISTORY_CORRUPT:
	case HISTORY_ACK:
	case HISTORY_ACKED:
	case HISTORY_STALE:
	case HISTORY_NACKED:
	case HISTORY_DEAD:
		return e->ticket;
	default:
		return HISTORY_NO_TICKET;
	}
}

/* Events that are about a message. */
static bool names_message(const struct history_event *e)
{
	switch ((enum history_what)e->what) {
	case HISTORY_SEND:
	case HISTORY_SENT:
	case HISTORY_UNSENT:
	case HISTORY_TOLD:
	case HISTORY_FAILED:
	case HISTORY_DELIVERED:
	case HISTORY_ACK:
	case HISTORY_ACKED:
	case HISTORY_STALE:
	case HISTORY_NACKED:
	case HISTORY_DEAD:
	case HISTORY_EFFECT:
	case HISTORY_GAVE_UP:
		return true;
	default:
		return false;
	}
}

static int by_ticket(const void *pa, const void *pb)
{
	const struct fact *a = pa, *b = pb;
	int d = compare(a->e->lane, b->e->lane);

	d = d ? d : compare(ticket_of_event(a->e), ticket_of_event(b->e));
	d = d ? d : compare(a->e->attempt, b->e->attempt);
	return d ? d : compare(a->e->time, b->e->time);
}

static int by_message(const void *pa, const void *pb)
{
	const struct fact *a = pa, *b = pb;
	int d = compare(names_message(b->e), names_message(a->e));

	d = d ? d : compare(a->e->lane, b->e->lane);
	d = d ? d : compare(a->e->stream, b->e->stream);
	d = d ? d : compare(a->e->counter, b->e->counter);
	d = d ? d : compare(ticket_of_event(a->e), ticket_of_event(b->e));
	return d ? d : compare(a->e->attempt, b->e->attempt);
}

/* --------------------------------------------------------------- tickets --- */

/* What became of a ticket, or of one attempt of it. */
struct outcome {
	unsigned int	sent, delivered, ack, acked, stale, dead;
	unsigned int	maybe;	/* ACKs of which nobody knows: who gave them died meanwhile */
};

static void outcome_add(struct outcome *o, const struct history_event *e)
{
	o->sent += e->what == HISTORY_SENT;
	o->delivered += e->what == HISTORY_DELIVERED;
	o->ack += e->what == HISTORY_ACK;
	o->acked += e->what == HISTORY_ACKED;
	o->stale += e->what == HISTORY_STALE;
	o->dead += e->what == HISTORY_DEAD;
}

/* Of the facts of one ticket, in order of attempts. */
static struct outcome outcome_of(const struct fact *f, size_t n)
{
	struct outcome all = { 0 };
	size_t i, k;

	for (i = 0; i < n; i = k) {
		struct outcome one = { 0 };

		for (k = i; k < n && f[k].e->attempt == f[i].e->attempt; k++) {
			outcome_add(&one, f[k].e);
			outcome_add(&all, f[k].e);
		}
		all.maybe += one.ack && !one.acked && !one.stale;
	}
	return all;
}

static bool finished(const struct outcome *o)
{
	return o->acked || o->dead || o->maybe;
}

/* Only who has claimed an attempt may acknowledge it. */
static void check_claimant(struct check *c, const struct fact *f, size_t n)
{
	const struct fact *claim = NULL;
	size_t i;

	for (i = 0; i < n; i++)
		if (f[i].e->what == HISTORY_DELIVERED)
			claim = &f[i];
	for (i = 0; i < n; i++)
		if ((f[i].e->what == HISTORY_ACK || f[i].e->what == HISTORY_ACKED) &&
		    (!claim || claim->life != f[i].life))
			violation(c, HISTORY_NOT_CLAIMED, "lane %u ticket %llu attempt %u",
				  f[i].e->lane, (ull)f[i].e->ticket, f[i].e->attempt);
}

static int redelivered(struct check *c, const struct fact *before, const struct fact *after)
{
	const struct life *l = &c->lives[before->life];

	if (!l->killed || before->life == after->life || after->e->time < l->killed)
		return 0;
	return add_latency(c->res, after->e->time - l->killed);
}

/* The attempts of a ticket, one after the other. */
static int check_attempts(struct check *c, const struct fact *f, size_t n)
{
	unsigned int max = c->rules->max_attempts[f->e->lane], acked_at = 0;
	const struct fact *before = NULL;
	size_t i, k;

	max = max ? max : 254;
	for (i = 0; i < n; i = k) {
		struct outcome o = { 0 };

		for (k = i; k < n && f[k].e->attempt == f[i].e->attempt; k++) {
			outcome_add(&o, f[k].e);
			if (f[k].e->what != HISTORY_DELIVERED)
				continue;
			if (before && redelivered(c, before, &f[k]))
				return -1;
			before = &f[k];
		}
		if (o.delivered > 1)
			violation(c, HISTORY_SAME_ATTEMPT,
				  "lane %u ticket %llu attempt %u: %u times", f->e->lane,
				  (ull)f->e->ticket, f[i].e->attempt, o.delivered);
		if (o.delivered && (!f[i].e->attempt || f[i].e->attempt > max))
			violation(c, HISTORY_ATTEMPTS, "lane %u ticket %llu attempt %u of %u",
				  f->e->lane, (ull)f->e->ticket, f[i].e->attempt, max);
		if (o.delivered && acked_at)
			violation(c, HISTORY_AFTER_ACK, "lane %u ticket %llu: attempt %u after the "
				  "ACK of attempt %u", f->e->lane, (ull)f->e->ticket, f[i].e->attempt,
				  acked_at);
		if (o.acked)
			acked_at = f[i].e->attempt;
		check_claimant(c, &f[i], k - i);
	}
	return 0;
}

/* A letter that was dropped for want of room tells nobody what it was about. */
static bool excused(struct check *c)
{
	if (c->excused == c->dropped)
		return false;
	c->excused++;
	return true;
}

static void check_ticket(struct check *c, const struct fact *f, size_t n)
{
	const struct history_event *e = f->e;
	struct outcome o = outcome_of(f, n);
	size_t i;

	for (i = 0; i < n; i++) {
		if (f[i].e->stream != e->stream || f[i].e->counter != e->counter) {
			violation(c, HISTORY_MIXED, "lane %u ticket %llu: %llu/%llu and %llu/%llu",
				  f->e->lane, (ull)e->ticket, (ull)e->stream, (ull)e->counter,
				  (ull)f[i].e->stream, (ull)f[i].e->counter);
			return;
		}
	}
	if (o.sent > 1)
		violation(c, HISTORY_MIXED, "lane %u ticket %llu was sent twice", f->e->lane,
			  (ull)e->ticket);
	c->res->maybe += o.maybe;
	c->res->dead += !!o.dead;
	if (c->rules->broadcast)
		return;
	if (o.acked > 1)
		violation(c, HISTORY_ACKED_TWICE, "lane %u ticket %llu", f->e->lane, (ull)e->ticket);
	if (o.acked && o.dead)
		violation(c, HISTORY_DEAD_ACKED, "lane %u ticket %llu", f->e->lane, (ull)e->ticket);
	if (o.sent && !finished(&o) && !c->rules->unfinished && !excused(c))
		violation(c, HISTORY_LOST, "lane %u ticket %llu, message %llu/%llu, %s", f->e->lane,
			  (ull)e->ticket, (ull)e->stream, (ull)e->counter,
			  o.delivered ? "delivered and not finished" : "never delivered");
}

/* Who began to send after somebody else was done has the newer ticket. */
static void check_time(struct check *c)
{
	const struct fact *latest = NULL;
	size_t i;

	for (i = 0; i < c->nfacts; i++) {
		const struct fact *f = &c->facts[i];

		if (f->e->what != HISTORY_SENT || f->e->ticket == HISTORY_NO_TICKET || !f->begun)
			continue;
		if (latest && latest->e->lane == f->e->lane && latest->begun > f->e->time)
			violation(c, HISTORY_TIME_ORDER,
				  "lane %u: ticket %llu was begun after %llu was sent", f->e->lane,
				  (ull)latest->e->ticket, (ull)f->e->ticket);
		if (!latest || latest->e->lane != f->e->lane || latest->begun < f->begun)
			latest = f;
	}
}

int check_tickets(struct check *c)
{
	struct fact *f = c->facts;
	size_t i, k;

	qsort(f, c->nfacts, sizeof(*f), by_ticket);
	for (i = 0; i < c->nfacts; i = k) {
		uint64_t ticket = ticket_of_event(f[i].e);

		for (k = i; k < c->nfacts && f[k].e->lane == f[i].e->lane &&
		     ticket_of_event(f[k].e) == ticket; k++)
			;
		if (ticket == HISTORY_NO_TICKET)
			continue;
		check_ticket(c, &f[i], k - i);
		if (!c->rules->broadcast && check_attempts(c, &f[i], k - i))
			return -1;
	}
	check_time(c);
	return 0;
}

/* -------------------------------------------------------------- messages --- */

/* A message may have been sent several times, by a producer that did not know. */
struct message {
	unsigned int	sends, sent, unsent, told, failed, effects, gave_up;
	unsigned int	tickets, delivered, acked, dead, finished;	/* different tickets */
};

static void message_ticket(struct message *m, const struct fact *f, size_t n)
{
	struct outcome o = outcome_of(f, n);

	m->tickets++;
	m->delivered += !!o.delivered;
	m->acked += o.acked || o.maybe;
	m->dead += !!o.dead;
	m->finished += finished(&o);
}

static void message_add(struct message *m, const struct history_event *e)
{
	m->sends += e->what == HISTORY_SEND;
	m->sent += e->what == HISTORY_SENT;
	m->unsent += e->what == HISTORY_UNSENT;
	m->told += e->what == HISTORY_TOLD;
	m->failed += e->what == HISTORY_FAILED;
	m->effects += e->what == HISTORY_EFFECT;
	m->gave_up += e->what == HISTORY_GAVE_UP;
}

static bool died_anywhere(const struct check *c, const struct history_event *e)
{
	size_t i;

	for (i = 0; i < c->nfacts; i++)
		if (c->facts[i].e->what == HISTORY_DEAD && c->facts[i].e->stream == e->stream &&
		    c->facts[i].e->counter == e->counter)
			return true;
	return false;
}

static void check_message(struct check *c, const struct history_event *e, unsigned int lane,
			  const struct message *m)
{
	ull stream = e->stream, counter = e->counter;
	bool certain = m->sent || m->told;

	if (m->delivered + m->unsent > m->sends)
		violation(c, HISTORY_INVENTED, "lane %u message %llu/%llu: %u times, sent %u times",
			  lane, stream, counter, m->delivered, m->sends - m->unsent);
	if (m->effects && !m->sends)
		violation(c, HISTORY_INVENTED, "message %llu/%llu was never sent and had an effect",
			  stream, counter);
	if (m->sends > m->sent + m->unsent + m->told + m->failed)
		c->res->maybe++;
	if (c->rules->broadcast)
		return;		/* nobody may have been left to acknowledge it */
	if (m->told > m->acked)
		violation(c, HISTORY_FALSE_TOLD, "lane %u message %llu/%llu", lane, stream,
			  counter);
	if (m->failed > m->dead + c->dropped)
		violation(c, HISTORY_FALSE_FAILED, "lane %u message %llu/%llu", lane, stream,
			  counter);
	if (c->rules->unfinished)
		return;
	if (m->sent > m->finished + c->dropped)
		violation(c, HISTORY_LOST, "lane %u message %llu/%llu: sent %u times, %u finished",
			  lane, stream, counter, m->sent, m->finished);
	if (!(c->rules->effects >> lane & 1))
		return;
	if (certain && !m->effects && !m->gave_up)
		violation(c, HISTORY_EFFECT_MISSING, "message %llu/%llu", stream, counter);
	if (m->effects + m->gave_up > 1)
		violation(c, HISTORY_EFFECT_TWICE,
			  "message %llu/%llu: %u effects, given up %u times", stream, counter,
			  m->effects, m->gave_up);
	if (m->gave_up && !c->dropped && !died_anywhere(c, e))
		violation(c, HISTORY_EFFECT_MISSING,
			  "message %llu/%llu was given up, and is no dead letter", stream, counter);
}

/* Is fact @k there, and about the same message as @i? */
static bool same_message(const struct check *c, size_t i, size_t k)
{
	const struct fact *f = c->facts;

	return k < c->nfacts && names_message(f[k].e) && f[k].e->lane == f[i].e->lane &&
	       f[k].e->stream == f[i].e->stream && f[k].e->counter == f[i].e->counter;
}

void check_messages(struct check *c)
{
	struct fact *f = c->facts;
	size_t i, k, t;

	qsort(f, c->nfacts, sizeof(*f), by_message);
	for (i = 0; i < c->nfacts && names_message(f[i].e); i = k) {
		struct message m = { 0 };

		for (k = i; same_message(c, i, k); k = t) {
			uint64_t ticket = ticket_of_event(f[k].e);

			for (t = k; same_message(c, i, t) && ticket_of_event(f[t].e) == ticket; t++)
				message_add(&m, f[t].e);
			if (ticket != HISTORY_NO_TICKET)
				message_ticket(&m, &f[k], t - k);
		}
		check_message(c, f[i].e, f[i].e->lane, &m);
	}
}

/* --------------------------------------------------------------- streams --- */

static bool is_effect(const struct fact *f)
{
	return f->e->what == HISTORY_EFFECT || f->e->what == HISTORY_GAVE_UP;
}

/* In the order in which they were written: a log is one piece of memory. */
static int by_effect(const void *pa, const void *pb)
{
	const struct fact *a = pa, *b = pb;
	int d = compare(is_effect(b), is_effect(a));

	d = d ? d : compare(a->e->stream, b->e->stream);
	d = d ? d : compare(a->e->time, b->e->time);
	return d ? d : compare((uintptr_t)a->e, (uintptr_t)b->e);
}

void check_effects(struct check *c)
{
	struct fact *f = c->facts;
	uint64_t next = 0;
	size_t i;

	qsort(f, c->nfacts, sizeof(*f), by_effect);
	for (i = 0; i < c->nfacts && is_effect(&f[i]); i++) {
		if (!i || f[i].e->stream != f[i - 1].e->stream)
			next = 0;
		if (f[i].e->counter != next)
			violation(c, HISTORY_EFFECT_ORDER,
				  "stream %llu: %llu came where %llu was due",
				  (ull)f[i].e->stream, (ull)f[i].e->counter, (ull)next);
		next = f[i].e->counter + 1;
	}
}

/* ------------------------------------------------------------- endpoints --- */

struct endpoint {
	uint64_t	start, end;
	uint32_t	id, lane;
};

static int by_endpoint(const void *pa, const void *pb)
{
	const struct endpoint *a = pa, *b = pb;
	int d = compare(a->lane, b->lane);

	d = d ? d : compare(a->id, b->id);
	return d ? d : compare(a->start, b->start);
}

/* Two at the same time may not have the same number on the same lane. */
void check_lives(struct check *c)
{
	struct endpoint *ends = calloc(c->nlives * HISTORY_MAX_LANES + 1, sizeof(*ends));
	size_t i, n = 0;
	uint32_t lane;

	if (!ends)
		return;
	for (i = 0; i < c->nlives; i++)
		for (lane = 0; lane < HISTORY_MAX_LANES; lane++)
			if (c->lives[i].id[lane])
				ends[n++] = (struct endpoint) {
					.start = c->lives[i].start, .end = c->lives[i].end,
					.id = c->lives[i].id[lane], .lane = lane,
				};
	qsort(ends, n, sizeof(*ends), by_endpoint);
	for (i = 1; i < n; i++)
		if (ends[i].lane == ends[i - 1].lane && ends[i].id == ends[i - 1].id &&
		    ends[i].start < ends[i - 1].end)
			violation(c, HISTORY_ID_REUSED, "lane %u: endpoint %u", ends[i].lane,
				  ends[i].id);
	free(ends);
}
