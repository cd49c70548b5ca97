// SPDX-License-Identifier: MIT
/* check.c: reads the logs, checks what one log alone can show, and adds up. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_pvt.h"

static const char *const names[HISTORY_VIOLATIONS] = {
	[HISTORY_LOST]			= "lost",
	[HISTORY_FALSE_TOLD]		= "told of an ACK that was not given",
	[HISTORY_FALSE_FAILED]		= "told of a dead letter that is none",
	[HISTORY_INVENTED]		= "delivered more often than sent",
	[HISTORY_MIXED]			= "one ticket, two messages",
	[HISTORY_DAMAGED]		= "damaged",
	[HISTORY_SAME_ATTEMPT]		= "one attempt given to two",
	[HISTORY_ATTEMPTS]		= "too many attempts",
	[HISTORY_ACKED_TWICE]		= "acknowledged twice",
	[HISTORY_AFTER_ACK]		= "delivered after its ACK",
	[HISTORY_DEAD_ACKED]		= "dead and acknowledged",
	[HISTORY_NOT_CLAIMED]		= "acknowledged by another than the claimant",
	[HISTORY_CONSUMER_ORDER]	= "first deliveries out of order",
	[HISTORY_PRODUCER_ORDER]	= "a producer's sends out of order",
	[HISTORY_TIME_ORDER]		= "sends out of order in time",
	[HISTORY_EFFECT_TWICE]		= "two effects of one message",
	[HISTORY_EFFECT_ORDER]		= "a stream left the pipe out of order",
	[HISTORY_EFFECT_MISSING]	= "no effect",
	[HISTORY_GAP]			= "a member missed a message",
	[HISTORY_EARLY]			= "older than what the member joined at",
	[HISTORY_FREED]			= "over without a member's ACK",
	[HISTORY_EPOCH]			= "a generation went backwards",
	[HISTORY_ID_REUSED]		= "one number for two endpoints",
	[HISTORY_STUCK]			= "stuck",
	[HISTORY_NO_END]		= "nobody looked at the end",
	[HISTORY_EMPTY]			= "nothing happened",
	[HISTORY_OVERFLOW]		= "a log was full",
	[HISTORY_NONSENSE]		= "nonsense in a log",
};

const char *history_violation_name(enum history_violation v)
{
	return names[v];
}

void violation(struct check *c, enum history_violation v, const char *fmt, ...)
{
	struct history_result *res = c->res;
	va_list ap;

	res->found[v]++;
	if (res->nfound++ < HISTORY_WHYS) {
		char *why = res->why[res->nfound - 1];
		int n = snprintf(why, HISTORY_WHY_MAX, "%s: ", names[v]);

		va_start(ap, fmt);
		vsnprintf(why + n, HISTORY_WHY_MAX - (size_t)n, fmt, ap);
		va_end(ap);
	}
}

int add_latency(struct history_result *res, uint64_t ns)
{
	uint64_t n = res->nlatency;

	if (!(n & (n - 1))) {
		uint64_t *more = realloc(res->latency, (n ? 2 * n : 1) * sizeof(*more));

		if (!more)
			return -ENOMEM;
		res->latency = more;
	}
	res->latency[res->nlatency++] = ns;
	return 0;
}

/* ------------------------------------------------------------- one log --- */

/* What a walk over one log has to remember. */
struct walk {
	unsigned int	log;
	struct life	*life;
	struct history_event send;		/* the last one */
	uint64_t	first[HISTORY_MAX_LANES];	/* last first delivery + 1, of this life */
	uint64_t	sent[HISTORY_MAX_LANES];	/* last ticket + 1, of all lives */
	uint64_t	generation[HISTORY_MAX_LANES];
	bool		generation_seen[HISTORY_MAX_LANES];
};

static bool same_message(const struct history_event *a, const struct history_event *b)
{
	return a->lane == b->lane && a->stream == b->stream && a->counter == b->counter;
}

static void walk_order(struct check *c, struct walk *w, const struct history_event *e)
{
	if (e->what == HISTORY_DELIVERED && e->attempt == 1) {
		if (e->ticket < w->first[e->lane] && !c->rules->late)
			violation(c, HISTORY_CONSUMER_ORDER,
				  "log %u, lane %u: ticket %llu after %llu", w->log, e->lane,
				  (unsigned long long)e->ticket,
				  (unsigned long long)w->first[e->lane] - 1);
		w->first[e->lane] = e->ticket + 1;
	}
	if (e->what == HISTORY_SENT && e->ticket != HISTORY_NO_TICKET) {
		if (e->ticket < w->sent[e->lane])
			violation(c, HISTORY_PRODUCER_ORDER,
				  "log %u, lane %u: ticket %llu after %llu", w->log, e->lane,
				  (unsigned long long)e->ticket,
				  (unsigned long long)w->sent[e->lane] - 1);
		w->sent[e->lane] = e->ticket + 1;
	}
	if (e->what == HISTORY_GENERATION) {
		if (w->generation_seen[e->lane] &&
		    (int32_t)(e->value - w->generation[e->lane]) < 0)
			violation(c, HISTORY_EPOCH, "log %u, lane %u: %llu after %llu", w->log,
				  e->lane, (unsigned long long)e->value,
				  (unsigned long long)w->generation[e->lane]);
		w->generation[e->lane] = e->value;
		w->generation_seen[e->lane] = true;
	}
}

static void count_event(struct check *c, const struct history_event *e)
{
	struct history_result *r = c->res;

	switch ((enum history_what)e->what) {
	case HISTORY_SEND:
		r->sends++;
		break;
	case HISTORY_SENT:
		r->sent++;
		break;
	case HISTORY_TOLD:
		r->told++;
		break;
	case HISTORY_DELIVERED:
		r->delivered++;
		r->again += e->attempt > 1;
		break;
	case HISTORY_ACKED:
		r->acked++;
		break;
	case HISTORY_STALE:
		r->stale++;
		break;
	case HISTORY_EFFECT:
		r->effects++;
		break;
	case HISTORY_GAVE_UP:
		r->gave_up++;
		break;
	case HISTORY_DROPPED:
		c->dropped += e->value;
		break;
	case HISTORY_CORRUPT:
		violation(c, HISTORY_DAMAGED, "lane %u ticket %llu, message %llu/%llu", e->lane,
			  (unsigned long long)e->ticket, (unsigned long long)e->stream,
			  (unsigned long long)e->counter);
		break;
	default:
		break;
	}
}

/* A START on a lane where this writer has an endpoint already is its successor's. */
static void walk_life(struct check *c, struct walk *w, const struct history_event *e)
{
	if (!w->life || (e->what == HISTORY_START && w->life->id[e->lane])) {
		w->life = &c->lives[c->nlives++];
		w->life->log = w->log;
		w->life->start = e->time;
		memset(w->first, 0, sizeof(w->first));
		memset(&w->send, 0, sizeof(w->send));
	}
	if (e->what == HISTORY_START)
		w->life->id[e->lane] = e->id;
	w->life->end = e->time;
}

static void walk_event(struct check *c, struct walk *w, const struct history_event *e)
{
	struct fact *f;

	if (!e->what || e->what >= HISTORY_WHATS || e->lane >= HISTORY_MAX_LANES) {
		violation(c, HISTORY_NONSENSE, "log %u: event %u on lane %u", w->log, e->what,
			  e->lane);
		return;
	}
	walk_life(c, w, e);
	walk_order(c, w, e);
	count_event(c, e);
	f = &c->facts[c->nfacts++];
	f->e = e;
	f->life = (uint32_t)(w->life - c->lives);
	if (e->what == HISTORY_SEND)
		w->send = *e;
	if (e->what == HISTORY_SENT && w->send.what && same_message(&w->send, e))
		f->begun = w->send.time;
}

static void read_log(struct check *c, const struct history *h, unsigned int log)
{
	struct walk w = { .log = log };
	const struct history_event *e;
	uint64_t n, i;

	e = history_read(h, log, &n);
	c->res->events += n;
	for (i = 0; i < n; i++)
		walk_event(c, &w, &e[i]);
	if (history_full(h, log))
		violation(c, HISTORY_OVERFLOW, "log %u: %llu events too many", log,
			  (unsigned long long)history_full(h, log));
}

/* -------------------------------------------------------------- all logs --- */

/* Who died when, and what was left in the end. */
static void check_ends(struct check *c, unsigned int nlogs)
{
	bool looked = false;
	size_t i, k;

	for (i = 0; i < c->nfacts; i++) {
		const struct history_event *e = c->facts[i].e;
		struct life *last = NULL;

		if (e->what == HISTORY_LEFT) {
			looked = true;
			if (e->value)
				violation(c, HISTORY_STUCK, "lane %u: %llu of kind %u are left",
					  e->lane, (unsigned long long)e->value, e->id);
		}
		if (e->what != HISTORY_KILL)
			continue;
		c->res->kills++;
		if (e->value >= nlogs)
			violation(c, HISTORY_NONSENSE, "nobody writes log %llu, and it was killed",
				  (unsigned long long)e->value);
		for (k = 0; k < c->nlives; k++)
			if (c->lives[k].log == e->value && c->lives[k].start <= e->time)
				last = &c->lives[k];
		if (last)
			last->killed = e->time;
	}
	if (!looked && !c->rules->unfinished)
		violation(c, HISTORY_NO_END, "there is no HISTORY_LEFT");
	if (!c->res->sends || !c->res->delivered)
		violation(c, HISTORY_EMPTY, "%llu sends, %llu deliveries",
			  (unsigned long long)c->res->sends, (unsigned long long)c->res->delivered);
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void sort_latency(struct history_result *res)
{
	if (res->nlatency)
		qsort(res->latency, res->nlatency, sizeof(*res->latency), by_number);
}

int history_check(const struct history *h, const struct history_rules *rules,
		  struct history_result *res)
{
	struct check c = { .rules = rules, .res = res };
	unsigned int log, nlogs = history_logs(h);
	uint64_t n, total = 1;
	int ret = -ENOMEM;

	memset(res, 0, sizeof(*res));
	for (log = 0; log < nlogs; log++) {
		history_read(h, log, &n);
		total += n;
	}
	c.facts = calloc(total, sizeof(*c.facts));
	c.lives = calloc(total, sizeof(*c.lives));
	if (c.facts && c.lives) {
		for (log = 0; log < nlogs; log++)
			read_log(&c, h, log);
		check_ends(&c, nlogs);
		ret = check_tickets(&c);
		check_messages(&c);
		if (!ret && rules->broadcast)
			ret = check_broadcast(&c);
		if (rules->effects)
			check_effects(&c);
		check_lives(&c);
		sort_latency(res);
	}
	free(c.facts);
	free(c.lives);
	return ret;
}

/* --------------------------------------------------------------- results --- */

int history_result_add(struct history_result *sum, struct history_result *round)
{
	uint64_t i, kept = sum->nfound < HISTORY_WHYS ? sum->nfound : HISTORY_WHYS;
	int ret = 0;

	for (i = 0; i < HISTORY_VIOLATIONS; i++)
		sum->found[i] += round->found[i];
	for (i = 0; kept + i < HISTORY_WHYS && i < round->nfound; i++)
		memcpy(sum->why[kept + i], round->why[i], HISTORY_WHY_MAX);
	sum->nfound += round->nfound;
	sum->events += round->events;
	sum->sends += round->sends;
	sum->sent += round->sent;
	sum->told += round->told;
	sum->delivered += round->delivered;
	sum->again += round->again;
	sum->acked += round->acked;
	sum->stale += round->stale;
	sum->maybe += round->maybe;
	sum->dead += round->dead;
	sum->effects += round->effects;
	sum->gave_up += round->gave_up;
	sum->kills += round->kills;
	for (i = 0; i < round->nlatency && !ret; i++)
		ret = add_latency(sum, round->latency[i]);
	sort_latency(sum);
	history_result_free(round);
	memset(round, 0, sizeof(*round));
	return ret;
}

void history_result_free(struct history_result *res)
{
	free(res->latency);
	res->latency = NULL;
	res->nlatency = 0;
}

uint64_t history_percentile(const struct history_result *res, unsigned int percent)
{
	return res->nlatency ? res->latency[(res->nlatency - 1) * percent / 100] : 0;
}

void history_print(const struct history_result *r)
{
	uint64_t i;

	printf("# %llu events: %llu sends (%llu certain, %llu told), %llu deliveries (%llu again), "
	       "%llu acknowledged, %llu too late, %llu maybe, %llu dead letters, %llu kills\n",
	       (unsigned long long)r->events, (unsigned long long)r->sends,
	       (unsigned long long)r->sent, (unsigned long long)r->told,
	       (unsigned long long)r->delivered, (unsigned long long)r->again,
	       (unsigned long long)r->acked, (unsigned long long)r->stale,
	       (unsigned long long)r->maybe, (unsigned long long)r->dead,
	       (unsigned long long)r->kills);
	if (r->effects || r->gave_up)
		printf("# end of the pipe: %llu effects, %llu given up\n",
		       (unsigned long long)r->effects, (unsigned long long)r->gave_up);
	if (r->nlatency)
		printf("# death to redelivery, %llu of them: median %.3f ms, 90 %% %.3f ms, "
		       "99 %% %.3f ms, max %.3f ms\n", (unsigned long long)r->nlatency,
		       (double)history_percentile(r, 50) / 1e6,
		       (double)history_percentile(r, 90) / 1e6,
		       (double)history_percentile(r, 99) / 1e6,
		       (double)history_percentile(r, 100) / 1e6);
	for (i = 0; i < r->nfound && i < HISTORY_WHYS; i++)
		printf("# violation: %s\n", r->why[i]);
	if (r->nfound > HISTORY_WHYS)
		printf("# and %llu more\n", (unsigned long long)(r->nfound - HISTORY_WHYS));
}
