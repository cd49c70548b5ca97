// SPDX-License-Identifier: MIT
/*
 * broadcast.c: what must hold where everybody gets everything.
 *
 * A member is a life whose HISTORY_START says at which ticket it joined. What was published from
 * there on it gets: up to the newest one that it has seen nothing is missing, and a member that came
 * to its HISTORY_END has had and acknowledged all of it. One that was put out for being slow notices
 * at its next walk, so a walk that found something shows that it was a member until then: nothing may
 * have been freed, and no sender told, without its ACK.
 */
#include <errno.h>
#include <stdlib.h>

#include "check_pvt.h"

typedef unsigned long long ull;

struct published {
	uint64_t	ticket, stream, counter;
};

/* What a member got, in order of tickets. */
struct got {
	uint64_t	ticket, ack_time;
	bool		acked;
};

/**
 * struct member - a life on a broadcast
 * @proof:	until then it certainly was one
 * @stale:	an ACK of it was refused
 */
struct member {
	uint64_t	start, proof, ngot;
	struct got	*got;
	uint32_t	log;
	bool		stale, ended;
};

struct broadcast {
	struct check	*c;
	unsigned int	lane;
	struct published *published, *messages;	/* by ticket, by message */
	size_t		npublished;
	struct member	*members;
	size_t		nmembers;
	struct got	*got;			/* all of them */
};

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int by_writer(const void *pa, const void *pb)
{
	const struct fact *a = pa, *b = pb;
	int d = compare(a->e->lane, b->e->lane);

	d = d ? d : compare(a->life, b->life);
	return d ? d : compare((uintptr_t)a->e, (uintptr_t)b->e);
}

static int by_ticket(const void *a, const void *b)
{
	return compare(((const struct published *)a)->ticket,
		       ((const struct published *)b)->ticket);
}

static int by_message(const void *pa, const void *pb)
{
	const struct published *a = pa, *b = pb;
	int d = compare(a->stream, b->stream);

	d = d ? d : compare(a->counter, b->counter);
	return d ? d : compare(a->ticket, b->ticket);
}

/* Sent, or seen by anybody. */
static void find_published(struct broadcast *b, const struct fact *f, size_t n)
{
	size_t i, k = 0;

	for (i = 0; i < n; i++) {
		const struct history_event *e = f[i].e;

		if ((e->what != HISTORY_SENT && e->what != HISTORY_DELIVERED) ||
		    e->ticket == HISTORY_NO_TICKET)
			continue;
		b->published[k++] = (struct published) { e->ticket, e->stream, e->counter };
	}
	qsort(b->published, k, sizeof(*b->published), by_ticket);
	for (i = 0; i < k; i++)
		if (!b->npublished || b->published[b->npublished - 1].ticket !=
				      b->published[i].ticket)
			b->published[b->npublished++] = b->published[i];
	for (i = 0; i < b->npublished; i++)
		b->messages[i] = b->published[i];
	qsort(b->messages, b->npublished, sizeof(*b->messages), by_message);
}

static struct got *find_got(const struct member *m, uint64_t ticket)
{
	uint64_t from = 0, to = m->ngot;

	while (from < to) {
		uint64_t at = from + (to - from) / 2;

		if (m->got[at].ticket == ticket)
			return &m->got[at];
		if (m->got[at].ticket < ticket)
			from = at + 1;
		else
			to = at;
	}
	return NULL;
}

/* ------------------------------------------------------------- one member --- */

static void missed(struct broadcast *b, const struct member *m, uint64_t ticket)
{
	violation(b->c, HISTORY_GAP, "log %u, lane %u: ticket %llu, member from %llu", m->log,
		  b->lane, (ull)ticket, (ull)m->start);
}

/* All that was published from @next to before @ticket it should have had. */
static size_t check_gap(struct broadcast *b, const struct member *m, size_t next, uint64_t ticket)
{
	for (; next < b->npublished && b->published[next].ticket < ticket; next++)
		if (b->published[next].ticket >= m->start)
			missed(b, m, b->published[next].ticket);
	return next;
}

static void check_ack(struct broadcast *b, struct member *m, const struct history_event *e)
{
	struct got *got = find_got(m, e->ticket);

	if (!got) {
		violation(b->c, HISTORY_NOT_CLAIMED, "log %u, lane %u ticket %llu", m->log, b->lane,
			  (ull)e->ticket);
		return;
	}
	if (e->what == HISTORY_ACK)
		got->ack_time = e->time;
	if (e->what == HISTORY_ACKED && got->acked)
		violation(b->c, HISTORY_ACKED_TWICE, "log %u, lane %u ticket %llu", m->log, b->lane,
			  (ull)e->ticket);
	got->acked |= e->what == HISTORY_ACKED;
}

/* A walk that was begun after event @before found it to be a member still. */
static void prove(struct broadcast *b, struct member *m, const struct history_event *before)
{
	if (before->what == HISTORY_DELIVERED)
		return;
	m->proof = before->time;
	if (m->stale)
		violation(b->c, HISTORY_FREED, "log %u, lane %u: an ACK was refused, and it is a "
			  "member", m->log, b->lane);
	m->stale = false;
}

static void deliver(struct broadcast *b, struct member *m, const struct history_event *e,
		    size_t *next)
{
	if (e->ticket < m->start)
		violation(b->c, HISTORY_EARLY, "log %u, lane %u: ticket %llu, member from %llu",
			  m->log, b->lane, (ull)e->ticket, (ull)m->start);
	if (m->ngot && e->ticket <= m->got[m->ngot - 1].ticket)
		return;		/* out of order, which is said elsewhere */
	*next = check_gap(b, m, *next, e->ticket);
	*next += *next < b->npublished && b->published[*next].ticket == e->ticket;
	m->got[m->ngot++] = (struct got) { .ticket = e->ticket };
}

/* The events of one life on this lane, in the order in which they were written. */
static void check_member(struct broadcast *b, struct member *m, const struct fact *f, size_t n)
{
	size_t next = 0, i;
	uint64_t k;

	for (i = 0; i < n; i++) {
		const struct history_event *e = f[i].e;

		if (i && (e->what == HISTORY_DELIVERED || e->what == HISTORY_END))
			prove(b, m, f[i - 1].e);
		if (e->what == HISTORY_DELIVERED)
			deliver(b, m, e, &next);
		if (e->what == HISTORY_ACK || e->what == HISTORY_ACKED || e->what == HISTORY_STALE)
			check_ack(b, m, e);
		m->stale |= e->what == HISTORY_STALE;
		m->ended |= e->what == HISTORY_END;
	}
	if (!m->ended)
		return;
	check_gap(b, m, next, HISTORY_NO_TICKET);
	for (k = 0; k < m->ngot; k++)
		if (!m->got[k].acked)
			violation(b->c, HISTORY_FREED, "log %u, lane %u: ticket %llu at the end",
				  m->log, b->lane, (ull)m->got[k].ticket);
}

static const struct history_event *start_of(const struct fact *f, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (f[i].e->what == HISTORY_START && f[i].e->ticket != HISTORY_NO_TICKET)
			return f[i].e;
	return NULL;
}

static void check_members(struct broadcast *b, const struct fact *f, size_t n)
{
	struct got *got = b->got;
	size_t i, k;

	for (i = 0; i < n; i = k) {
		const struct history_event *start;
		struct member *m = &b->members[b->nmembers];

		for (k = i; k < n && f[k].life == f[i].life; k++)
			;
		start = start_of(&f[i], k - i);
		if (!start)
			continue;
		*m = (struct member) {
			.start = start->ticket, .got = got, .log = b->c->lives[f[i].life].log,
		};
		b->nmembers++;
		check_member(b, m, &f[i], k - i);
		got += m->ngot;
	}
}

/* ---------------------------------------------------------------- senders --- */

/* Had everybody acknowledged @ticket at @time, who was there? */
static bool all_acked(const struct broadcast *b, uint64_t ticket, uint64_t time)
{
	size_t i;

	for (i = 0; i < b->nmembers; i++) {
		const struct member *m = &b->members[i];
		const struct got *got;

		if (m->start > ticket || m->proof <= time)
			continue;
		got = find_got(m, ticket);
		if (!got || !got->ack_time || got->ack_time > time)
			return false;
	}
	return true;
}

/* A producer that did not know may have sent it several times: of one of them it was told. */
static void check_told(struct broadcast *b, const struct history_event *e)
{
	size_t from = 0, to = b->npublished, at;
	bool any = false;

	while (from < to) {
		struct published key = { 0, e->stream, e->counter };

		at = from + (to - from) / 2;
		if (by_message(&b->messages[at], &key) < 0)
			from = at + 1;
		else
			to = at;
	}
	for (; from < b->npublished && b->messages[from].stream == e->stream &&
	     b->messages[from].counter == e->counter; from++) {
		any = true;
		if (all_acked(b, b->messages[from].ticket, e->time))
			return;
	}
	if (any)
		violation(b->c, HISTORY_FALSE_TOLD, "lane %u message %llu/%llu", b->lane,
			  (ull)e->stream, (ull)e->counter);
}

static void check_lane(struct broadcast *b, const struct fact *f, size_t n)
{
	size_t i;

	find_published(b, f, n);
	check_members(b, f, n);
	for (i = 0; i < n; i++)
		if (f[i].e->what == HISTORY_TOLD)
			check_told(b, f[i].e);
}

int check_broadcast(struct check *c)
{
	struct broadcast b = {
		.published = calloc(c->nfacts + 1, sizeof(*b.published)),
		.messages = calloc(c->nfacts + 1, sizeof(*b.messages)),
		.members = calloc(c->nlives + 1, sizeof(*b.members)),
		.got = calloc(c->nfacts + 1, sizeof(*b.got)),
	};
	bool room = b.published && b.messages && b.members && b.got;
	struct fact *f = c->facts;
	size_t i, k;

	qsort(f, c->nfacts, sizeof(*f), by_writer);
	for (i = 0; i < c->nfacts && room; i = k) {
		for (k = i; k < c->nfacts && f[k].e->lane == f[i].e->lane; k++)
			;
		b.c = c;
		b.lane = f[i].e->lane;
		b.npublished = b.nmembers = 0;
		check_lane(&b, &f[i], k - i);
	}
	free(b.published);
	free(b.messages);
	free(b.members);
	free(b.got);
	return room ? 0 : -ENOMEM;
}
