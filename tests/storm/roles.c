// SPDX-License-Identifier: MIT
/* roles.c: workers, the sink, the undertaker. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sluice/call.h>

#include "storm.h"

#define BATCH	4

struct sluice_ctx *process_ctx;

/* -------------------------------------------------------------- everybody --- */

void note(struct storm *s, const struct seat *seat, struct history_event e)
{
	/* the checker counts from 0, and knows nothing of laps that begin anew */
	if (e.lane == LANE_IN && e.ticket != HISTORY_NO_TICKET)
		e.ticket = (e.ticket - s->first) & ((1ull << (36 + 6)) - 1);
	history_add(s->history, seat->log, e);
}

void must(const struct seat *seat, const char *verb, int ret)
{
	if (!ret)
		return;
	fprintf(stderr, "# log %u: %s: %s (%s)\n", seat->log, verb, strerror(-ret), sluice_error());
	_exit(1);
}

/* Something went wrong that a death elsewhere does not explain. */
void end_unless_expected(struct seat *seat, const char *verb, int ret)
{
	if (!ret || ret == -EINTR)
		return;
	/* put out for being late: its endpoint is dead, its mapping gone */
	if (ret == -ENOTCONN || ret == -ESTALE || ret == -EPERM)
		_exit(EXIT_EVICTED);
	must(seat, verb, ret);
}

/* Those of this process; what it may be ordered to do is done to all of them. */
static struct sluice_ep *endpoints[LANES];
static unsigned int nendpoints;

static void opened(struct storm *s, struct seat *seat, enum lane lane, struct sluice_ep *ep)
{
	endpoints[nendpoints++] = ep;
	note(s, seat, (struct history_event) {
		.what = HISTORY_START, .lane = (uint8_t)lane, .id = sluice_id(ep),
		.ticket = endpoint_start(ep),
	});
}

struct sluice_ep *must_open(struct storm *s, struct seat *seat, enum lane lane,
			    enum sluice_role role)
{
	struct sluice_ep *ep;

	must(seat, "attach", s->backend->open(s, seat, lane, role, &ep));
	opened(s, seat, lane, ep);
	return ep;
}

static struct sluice_lanes *must_open_classes(struct storm *s, struct seat *seat)
{
	struct sluice_lanes *lanes;

	must(seat, "attach to classes", s->backend->open_classes(s, seat, &lanes));
	opened(s, seat, LANE_HIGH, sluice_lanes_ep(lanes, 0));
	opened(s, seat, LANE_IN, sluice_lanes_ep(lanes, 1));
	return lanes;
}

static void wait_for_the_end(struct seat *seat)
{
	__atomic_store_n(&seat->obeyed, 1, __ATOMIC_RELEASE);
	for (;;)
		pause();
}

/* What the parent has asked for, if anything: see enum order. */
void obey(struct storm *s, struct seat *seat)
{
	unsigned int i;

	switch ((enum order)__atomic_load_n(&seat->order, __ATOMIC_ACQUIRE)) {
	case ORDER_NONE:
	case ORDERS:
		return;
	case ORDER_EXIT:
		_exit(EXIT_ORDERED);
	case ORDER_EXEC:
		execl("/proc/self/exe", "storm", "--linger", "30", (char *)NULL);
		_exit(1);
	case ORDER_FORK:
		if (!fork()) {
			sleep_us(100000);
			_exit(0);
		}
		_exit(EXIT_ORDERED);
	case ORDER_CLOSE:
		for (i = 0; i < nendpoints; i++)
			close(sluice_fd(endpoints[i]));
		wait_for_the_end(seat);
		return;
	case ORDER_CLOSE_RING:
		s->backend->close_ring(endpoints[0]);
		wait_for_the_end(seat);
		return;
	}
}

/* Whoever holds a claim is late with it from here on. */
void stop_if_asked(struct seat *seat)
{
	if (__atomic_exchange_n(&seat->stop, 0, __ATOMIC_ACQ_REL))
		kill(getpid(), SIGSTOP);
}

static void note_generation(struct storm *s, const struct seat *seat, enum lane lane,
			    const struct sluice_ep *ep, uint32_t *seen)
{
	uint32_t now = __atomic_load_n(&sluice_hints(ep)->generation, __ATOMIC_RELAXED);

	if (now == *seen)
		return;
	*seen = now;
	note(s, seat, (struct history_event) {
		.what = HISTORY_GENERATION, .lane = (uint8_t)lane, .value = now,
	});
}

void note_claim(struct storm *s, const struct seat *seat, enum history_what what, enum lane lane,
		const struct sluice_msg *m)
{
	note(s, seat, (struct history_event) {
		.what = (uint8_t)what, .lane = (uint8_t)lane, .stream = m->stream,
		.counter = m->counter, .ticket = m->ticket, .attempt = (uint16_t)m->attempt,
	});
}

/* Is it what was sent? Asked of what is still ours, or it may have been written over. */
void compare(struct storm *s, struct seat *seat, enum lane lane, struct sluice_ep *in,
	     const struct sluice_msg *m)
{
	if (!message_same(m->stream, m->counter, m->data, m->len) && sluice_holds(in, m))
		note_claim(s, seat, HISTORY_CORRUPT, lane, m);
}

void acknowledge(struct storm *s, struct seat *seat, enum lane lane, struct sluice_ep *in,
		 const struct sluice_msg *m)
{
	int ret;

	note_claim(s, seat, HISTORY_ACK, lane, m);
	ret = sluice_ack(in, m);
	note_claim(s, seat, ret ? HISTORY_STALE : HISTORY_ACKED, lane, m);
	end_unless_expected(seat, "ack", ret == -ESTALE ? 0 : ret);
}

/* ---------------------------------------------------------------- workers --- */

/**
 * struct worker - one that claims from [in], or from its classes
 * @in:		where the message that it works on came from, by its @lane
 * @classes:	NULL: there is only one ring, @in
 */
struct worker {
	struct storm	*s;
	struct seat	*seat;
	struct sluice_ep *in, *out;
	enum lane	lane;
	struct sluice_lanes *classes;
};

struct claim {
	struct sluice_msg m;
	struct sluice_ep *from;
	enum lane	lane;
};

static int claim_of_classes(struct worker *w, struct claim *c, int most, int64_t timeout)
{
	int n, class;

	for (n = 0; n < most; n++) {
		class = sluice_lanes_claim(w->classes, &c[n].m, &c[n].from,
					   n ? SLUICE_NOW : timeout);
		if (class < 0)
			return n ? n : class;
		c[n].lane = class ? LANE_IN : LANE_HIGH;
	}
	return n;
}

static int claim(struct worker *w, struct claim *c, int most, int64_t timeout)
{
	struct sluice_msg m[BATCH];
	int n, i;

	if (w->classes)
		return claim_of_classes(w, c, most, timeout);
	n = sluice_claim_batch(w->in, m, most, timeout);
	for (i = 0; i < n; i++)
		c[i] = (struct claim) { .m = m[i], .from = w->in, .lane = LANE_IN };
	return n;
}

/* The result onto the next lane. false: it found no room in the time that a claim has. */
static bool pass_on(struct worker *w, const struct sluice_msg *m)
{
	unsigned char data[MESSAGE_MAX];
	struct sluice_msg result = {
		.stream = m->stream, .counter = m->counter, .kind = 2, .data = data,
		.buffer = SLUICE_NO_BUFFER, .len = m->len,
		.ticket = HISTORY_NO_TICKET,	/* stays so when the kernel publishes it */
	};
	struct history_event e = {
		.what = HISTORY_SEND, .lane = LANE_OUT, .stream = m->stream,
		.counter = m->counter, .ticket = HISTORY_NO_TICKET,
	};
	int ret;

	memcpy(data, m->data, m->len < MESSAGE_MAX ? m->len : MESSAGE_MAX);
	/* rule P12: what was read was ours until now */
	if (!sluice_holds(w->in, m))
		return false;
	note(w->s, w->seat, e);
	ret = w->s->backend->has_descriptors ? sluice_post(w->out, &result) :
	      sluice_send(w->out, &result, 100 * MS);
	e.what = ret < 0 ? HISTORY_UNSENT : HISTORY_SENT;
	e.ticket = ret < 0 ? HISTORY_NO_TICKET : result.ticket;
	note(w->s, w->seat, e);
	end_unless_expected(w->seat, "pass on", ret == -EAGAIN || ret == 1 ? 0 : ret);
	return ret >= 0;
}

/* Busy, or not able to: rarely, and not where there is no kernel to be told. */
static bool give_back(struct worker *w, const struct sluice_msg *m)
{
	uint32_t how = below(&w->seat->rng, 400);
	int ret;

	if (how > 2 || w->s->idle || !w->s->backend->has_descriptors)
		return false;
	ret = sluice_nack(w->in, m, how ? EAGAIN : EIO, how * 5, how ? SLUICE_NACK_BUSY : 0);
	note_claim(w->s, w->seat, ret ? HISTORY_STALE : HISTORY_NACKED, w->lane, m);
	end_unless_expected(w->seat, "nack", ret == -ESTALE ? 0 : ret);
	return true;
}

/* Idle phase: the first one that gets a message keeps it until it is killed. */
static void hold(struct worker *w, const struct sluice_msg *m)
{
	struct claim other;

	if (!w->s->idle || m->attempt > 1)
		return;
	__atomic_store_n(&w->seat->holds, 1, __ATOMIC_RELEASE);
	/* half of them with a command parked */
	while (m->counter % 2)
		pause();
	claim(w, &other, 1, 100 * SECOND);
	_exit(1);
}

static void work_on(struct worker *w, const struct claim *c)
{
	const struct sluice_msg *m = &c->m;
	bool early = below(&w->seat->rng, 2);

	w->in = c->from;
	w->lane = c->lane;

	if (message_kills(w->s, m->stream, m->counter)) {
		__atomic_store_n(&w->seat->suicide, 1, __ATOMIC_RELEASE);
		kill(getpid(), SIGKILL);
	}
	hold(w, m);
	compare(w->s, w->seat, w->lane, w->in, m);
	if (!below(&w->seat->rng, 6))
		sleep_us(below(&w->seat->rng, 1000));
	/* late before the result is out, or late with the ACK only */
	if (early)
		stop_if_asked(w->seat);
	obey(w->s, w->seat);
	if (give_back(w, m))
		return;
	while (!pass_on(w, m)) {
		if (!sluice_holds(w->in, m))
			return;
		sleep_us(1000);	/* ring and queue are full: the sink is stopped */
	}
	stop_if_asked(w->seat);
	acknowledge(w->s, w->seat, w->lane, w->in, m);
}

void work(struct storm *s, struct seat *seat)
{
	struct worker w = { .s = s, .seat = seat };
	uint32_t generation[LANES] = { 0 };
	struct claim c[BATCH];
	int n, i;

	if (s->opt.classes)
		w.classes = must_open_classes(s, seat);
	else
		w.in = must_open(s, seat, LANE_IN, SLUICE_CONSUMER);
	w.out = must_open(s, seat, LANE_OUT, SLUICE_PRODUCER);
	while (stop_level(s) < 2) {
		int most = s->idle ? 1 : 1 + (int)below(&seat->rng, BATCH);

		n = claim(&w, c, most, 20 * MS);
		end_unless_expected(seat, "claim", n < 0 && n != -EAGAIN ? n : 0);
		for (i = 0; i < n; i++)
			note_claim(s, seat, HISTORY_DELIVERED, c[i].lane, &c[i].m);
		obey(s, seat);
		for (i = 0; i < n; i++) {
			note_generation(s, seat, c[i].lane, c[i].from, &generation[c[i].lane]);
			work_on(&w, &c[i]);
		}
	}
	_exit(EXIT_DONE);
}

/* ------------------------------------------------------------------- sink --- */

/**
 * struct sink - the end of the pipe
 * @next:	per stream: everything before it is out
 * @here:	received, by counter; bits
 * @given_up:	a dead letter, by counter
 *
 * All of it is in its log: what it has received it has written down before it acknowledged it,
 * and that line is the effect. So a successor reads the log and goes on.
 */
struct sink {
	struct storm	*s;
	struct seat	*seat;
	uint64_t	next[MAX_PRODUCERS];
	unsigned char	here[MAX_PRODUCERS][PRODUCER_LIMIT / 8];
	unsigned char	given_up[MAX_PRODUCERS][PRODUCER_LIMIT / 8];
	uint64_t	letters_read;
	unsigned int	undertaker_log;
};

static bool known_stream(const struct sink *k, uint64_t stream, uint64_t counter)
{
	return stream / MAX_PRODUCERS == k->s->round && counter < PRODUCER_LIMIT;
}

static bool has(unsigned char (*bits)[PRODUCER_LIMIT / 8], uint64_t stream, uint64_t counter)
{
	return bits[stream % MAX_PRODUCERS][counter / 8] >> counter % 8 & 1;
}

static void mark(const struct sink *k, unsigned char (*bits)[PRODUCER_LIMIT / 8], uint64_t stream,
		 uint64_t counter)
{
	if (known_stream(k, stream, counter))
		bits[stream % MAX_PRODUCERS][counter / 8] |= (unsigned char)(1u << counter % 8);
}

static void remember(struct sink *k)
{
	const struct history_event *e;
	uint64_t n, i;

	e = history_read(k->s->history, k->seat->log, &n);
	for (i = 0; i < n; i++) {
		if (e[i].what == HISTORY_DELIVERED)
			mark(k, k->here, e[i].stream, e[i].counter);
		else if (e[i].what == HISTORY_EFFECT || e[i].what == HISTORY_GAVE_UP)
			k->next[e[i].stream % MAX_PRODUCERS] = e[i].counter + 1;
	}
}

static void read_letters(struct sink *k)
{
	const struct history_event *e;
	uint64_t n;

	e = history_read(k->s->history, k->undertaker_log, &n);
	for (; k->letters_read < n; k->letters_read++)
		if (e[k->letters_read].what == HISTORY_DEAD)
			mark(k, k->given_up, e[k->letters_read].stream, e[k->letters_read].counter);
}

/* Whatever is next in its stream goes out; the line in the log is the effect. */
static void let_out(struct sink *k, unsigned int slot)
{
	uint64_t stream = k->s->round * MAX_PRODUCERS + slot;

	for (; k->next[slot] < PRODUCER_LIMIT; k->next[slot]++) {
		bool here = has(k->here, stream, k->next[slot]);

		if (!here && !has(k->given_up, stream, k->next[slot]))
			return;
		note(k->s, k->seat, (struct history_event) {
			.what = here ? HISTORY_EFFECT : HISTORY_GAVE_UP,
			.lane = (uint8_t)lane_of(k->s, stream), .stream = stream, .counter = k->next[slot],
		});
	}
}

static void let_all_out(struct sink *k)
{
	unsigned int i;

	read_letters(k);
	for (i = 0; i < MAX_PRODUCERS; i++)
		let_out(k, i);
}

void collect(struct storm *s, struct seat *seat)
{
	static struct sink k;
	struct sluice_ep *in;
	struct sluice_msg m;
	uint32_t generation = 0;

	k.s = s;
	k.seat = seat;
	k.undertaker_log = seat->log + 1;
	remember(&k);
	in = must_open(s, seat, LANE_OUT, SLUICE_CONSUMER);
	while (stop_level(s) < 3) {
		int ret = sluice_claim(in, &m, 20 * MS);

		note_generation(s, seat, LANE_OUT, in, &generation);
		end_unless_expected(seat, "claim", ret == -EAGAIN ? 0 : ret);
		if (ret) {
			let_all_out(&k);
		} else {
			note_claim(s, seat, HISTORY_DELIVERED, LANE_OUT, &m);
			compare(s, seat, LANE_OUT, in, &m);
			mark(&k, k.here, m.stream, m.counter);
			if (known_stream(&k, m.stream, m.counter))
				let_out(&k, (unsigned int)(m.stream % MAX_PRODUCERS));
		}
		obey(s, seat);
		if (!ret)
			stop_if_asked(seat);
		if (!ret)
			acknowledge(s, seat, LANE_OUT, in, &m);
	}
	let_all_out(&k);
	_exit(EXIT_DONE);
}

/* ------------------------------------------------------------- undertaker --- */

/* What comes in on lane @about and is given up comes here on @dead. */
struct letters {
	enum lane	about, dead;
};

static void read_letter(struct storm *s, struct seat *seat, const struct letters *l,
			struct sluice_ep *in, const struct sluice_msg *m)
{
	struct sluice_dead_letter head;
	struct history_event e = {
		.what = HISTORY_DEAD, .lane = (uint8_t)l->about, .stream = m->stream,
		.counter = m->counter,
	};
	uint32_t skip = s->opt.calls ? SLUICE_CALL_HEADER : 0;
	bool good = m->len >= sizeof(head);

	if (good) {
		memcpy(&head, m->data, sizeof(head));
		good = head.copied == head.len && head.len >= skip &&
		       m->len == sizeof(head) + head.copied &&
		       message_same(m->stream, m->counter,
				    (const char *)m->data + sizeof(head) + skip, head.len - skip);
		e.ticket = head.ticket;
		e.value = head.reason;
	}
	if (!sluice_holds(in, m))
		return;
	if (!good) {
		e.what = HISTORY_CORRUPT;
		e.lane = (uint8_t)l->dead;
		e.ticket = m->ticket;
	}
	note(s, seat, e);
	sluice_ack(in, m);
}

void bury(struct storm *s, struct seat *seat)
{
	static const struct letters letters[] = {
		{ LANE_IN, LANE_DEAD }, { LANE_HIGH, LANE_HIGH_DEAD },
	};
	unsigned int n = s->opt.classes ? 2 : 1, i;
	struct sluice_ep *in[2];
	struct sluice_msg m;
	int from;

	for (i = 0; i < n; i++)
		in[i] = must_open(s, seat, letters[i].dead, SLUICE_CONSUMER);
	while (stop_level(s) < 2) {
		/* without a kernel nobody can wait for several */
		from = n > 1 ? sluice_claim_any(in, n, &m, 20 * MS) :
		       sluice_claim(in[0], &m, 20 * MS);
		end_unless_expected(seat, "claim", from < 0 && from != -EAGAIN ? from : 0);
		obey(s, seat);
		if (from < 0)
			continue;
		stop_if_asked(seat);
		read_letter(s, seat, &letters[from], in[from], &m);
	}
	_exit(EXIT_DONE);
}
