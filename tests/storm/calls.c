// SPDX-License-Identifier: MIT
/*
 * calls.c: callers and servers. A caller's stream is its calls, one after the other: what came back
 * is the effect, and a call that it does not know the end of its successor makes again.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <sluice/call.h>

#include "storm.h"

#define REPLY_KIND	9u
#define REFUSED		EDOM	/* what a server says of a message that it does not like */

/* What a server makes of a message is another message, of the same length or not. */
static uint64_t reply_stream(uint64_t stream)
{
	return stream ^ 1ull << 40;
}

static bool refused(uint64_t stream, uint64_t counter)
{
	return mix(counter, stream) % 32 == 5;
}

/* ---------------------------------------------------------------- callers --- */

/**
 * struct caller - one that goes on where its predecessor stopped
 * @next:	calls before it are over
 * @begun:	calls before it were made, by somebody
 */
struct caller {
	struct storm	*s;
	struct seat	*seat;
	struct sluice_ep *to;
	struct sluice_caller *caller;
	uint64_t	stream, next, begun;
};

/* Where the predecessor stopped: what had come back it had written down. */
static void recover(struct caller *c)
{
	const struct history_event *e;
	uint64_t n, i;

	e = history_read(c->s->history, c->seat->log, &n);
	for (i = 0; i < n; i++) {
		if (e[i].what == HISTORY_EFFECT || e[i].what == HISTORY_GAVE_UP)
			c->next = e[i].counter + 1;
		else if (e[i].what == HISTORY_SEND)
			c->begun = e[i].counter + 1;
	}
}

static void note_call(struct caller *c, enum history_what what)
{
	note(c->s, c->seat, (struct history_event) {
		.what = (uint8_t)what, .lane = LANE_IN, .stream = c->stream, .counter = c->next,
		.ticket = HISTORY_NO_TICKET,
	});
}

/* Somebody's reply to this call, or a refusal of it: not of another one, and whole. */
static bool right_reply(const struct caller *c, const struct sluice_reply *r)
{
	return r->kind == REPLY_KIND && !refused(c->stream, c->next) &&
	       message_same(reply_stream(c->stream), c->next, r->data, r->len);
}

static void over(struct caller *c, bool right)
{
	note_call(c, HISTORY_TOLD);
	note_call(c, right ? HISTORY_EFFECT : HISTORY_CORRUPT);
	c->next++;
}

static void call_once(struct caller *c)
{
	unsigned char data[MESSAGE_MAX];
	struct sluice_msg m = {
		.stream = c->stream, .counter = c->next, .kind = 1, .data = data,
		.buffer = SLUICE_NO_BUFFER, .len = message_len(c->stream, c->next),
	};
	struct sluice_reply r;
	int ret;

	message_fill(m.stream, m.counter, data, m.len);
	c->begun = c->next + 1;
	note_call(c, HISTORY_SEND);
	ret = sluice_call(c->caller, c->to, &m, &r, SECOND * slowness(c->s));
	switch ((enum sluice_call_outcome)r.outcome) {
	case SLUICE_CALL_REPLIED:
		over(c, right_reply(c, &r));
		sluice_reply_release(c->caller, &r);
		return;
	case SLUICE_CALL_REFUSED:
		over(c, ret == -REFUSED && refused(c->stream, c->next));
		return;
	case SLUICE_CALL_LOST:
		note_call(c, HISTORY_FAILED);
		note_call(c, HISTORY_GAVE_UP);
		c->next++;
		return;
	case SLUICE_CALL_EXPIRED:
		return;		/* again */
	case SLUICE_CALL_CANCELLED:
	case SLUICE_CALL_GOES_ON:
		if (ret == -EAGAIN)
			note_call(c, HISTORY_UNSENT);
		end_unless_expected(c->seat, "call", ret == -EAGAIN ? 0 : ret);
		return;
	}
}

/* The end of the round ends nothing that was begun. */
static bool wants_to_call(const struct caller *c)
{
	return c->next < c->begun || (!stop_level(c->s) && c->next < PRODUCER_LIMIT &&
				      c->next < __atomic_load_n(&c->s->budget, __ATOMIC_RELAXED));
}

void call(struct storm *s, struct seat *seat)
{
	struct caller c = {
		.s = s, .seat = seat, .stream = s->round * MAX_PRODUCERS + seat->log,
	};

	recover(&c);
	c.to = must_open(s, seat, LANE_IN, SLUICE_PRODUCER);
	must(seat, "create a caller", sluice_caller_create(process_ctx, NULL, &c.caller));
	for (;;) {
		obey(s, seat);
		if (wants_to_call(&c))
			call_once(&c);
		else if (stop_level(s))
			break;
		else
			sleep_us(200);
	}
	sluice_caller_destroy(c.caller);
	_exit(EXIT_DONE);
}

/* ---------------------------------------------------------------- servers --- */

static int answer(struct sluice_server *server, const struct sluice_request *r)
{
	unsigned char data[MESSAGE_MAX];
	uint64_t stream = reply_stream(r->msg.stream), counter = r->msg.counter;
	struct sluice_msg m = {
		.stream = r->msg.stream, .counter = counter, .kind = REPLY_KIND, .data = data,
		.len = message_len(stream, counter), .buffer = SLUICE_NO_BUFFER,
	};

	if (refused(r->msg.stream, counter))
		return sluice_reply_error(server, r, REFUSED, "not to be answered");
	message_fill(stream, counter, data, m.len);
	return sluice_reply(server, r, &m);
}

/* What became of the claim: the library acknowledges behind the reply, or gives the request back. */
static enum history_what outcome_of(int ret)
{
	switch (ret) {
	case -ESTALE:
		return HISTORY_STALE;
	case -EAGAIN:
		return HISTORY_NACKED;
	default:
		return HISTORY_ACKED;
	}
}

static void serve_one(struct storm *s, struct seat *seat, struct sluice_ep *in,
		      struct sluice_server *server, const struct sluice_request *r)
{
	struct sluice_msg m = r->msg;	/* as its caller made it */
	int ret;

	m.data = r->data;
	m.len = r->len;
	if (message_kills(s, m.stream, m.counter)) {
		__atomic_store_n(&seat->suicide, 1, __ATOMIC_RELEASE);
		kill(getpid(), SIGKILL);
	}
	compare(s, seat, LANE_IN, in, &m);
	if (!below(&seat->rng, 6))
		sleep_us(below(&seat->rng, 1000));
	stop_if_asked(seat);
	note_claim(s, seat, HISTORY_ACK, LANE_IN, &m);
	ret = answer(server, r);
	end_unless_expected(seat, "reply", ret > 0 || ret == -ESTALE || ret == -EAGAIN ? 0 : ret);
	note_claim(s, seat, outcome_of(ret), LANE_IN, &m);
}

void serve(struct storm *s, struct seat *seat)
{
	struct sluice_ep *in = must_open(s, seat, LANE_IN, SLUICE_CONSUMER);
	struct sluice_server *server;
	struct sluice_request r;
	int ret;

	must(seat, "create a server", sluice_server_create(in, &server));
	while (stop_level(s) < 2) {
		ret = sluice_serve(server, &r, 20 * MS);
		end_unless_expected(seat, "serve", ret == -EAGAIN ? 0 : ret);
		if (!ret)
			note_claim(s, seat, HISTORY_DELIVERED, LANE_IN, &r.msg);
		obey(s, seat);
		if (!ret)
			serve_one(s, seat, in, server, &r);
	}
	_exit(EXIT_DONE);
}
