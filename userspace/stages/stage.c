// SPDX-License-Identifier: MIT
/* stage.c - the claim loop of a daemon, and how its results leave */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage.h"
#include "stage_pvt.h"

#define NS_PER_MS		1000000ll
#define ROOM_WAIT_NS		(200 * NS_PER_MS)	/* for a buffer, while holding a claim */
#define GIVE_BACK_MS		50u

/* --------------------------------------------------------------- results --- */

/* A buffer in reserve costs nothing and keeps the usual case from waiting with a claim. */
static void take_spares(struct stage *st)
{
	for (int i = 0; i < MSG_CLIENT; i++) {
		if (st->out[i] && !st->has_spare[i])
			st->has_spare[i] = !sluice_buffer_take(st->out[i], &st->spare[i],
							       SLUICE_NOW);
	}
}

int stage_take_buffer(struct stage *st, enum msg_stage to, struct sluice_buffer *buf)
{
	int ret;

	if (st->has_spare[to]) {
		*buf = st->spare[to];
		st->has_spare[to] = false;
		return 0;
	}
	ret = sluice_buffer_take(st->out[to], buf, ROOM_WAIT_NS);
	if (ret == -EINTR)	/* SIGTERM: finish what is held */
		ret = sluice_buffer_take(st->out[to], buf, SLUICE_NOW);
	return ret;
}

void stage_put_buffer(struct stage *st, enum msg_stage to, struct sluice_buffer *buf)
{
	if (!st->has_spare[to]) {
		st->spare[to] = *buf;
		st->has_spare[to] = true;
	} else {
		sluice_buffer_drop(st->out[to], buf);
	}
}

void stage_hop(const struct stage *st, const struct stage_input *in, struct msg_hop *hop)
{
	*hop = (struct msg_hop){
		.published = in->m.time,
		.claimed = in->claimed,
		.bytes = in->m.len,
		.stage = (uint8_t)st->ops->self,
		.attempt = (uint8_t)in->m.attempt,
		.batch = 1,
	};
}

/* The client adds itself at the end, so one entry stays free for it. */
static struct msg_hop *add_hop(const struct stage *st, const struct stage_input *in,
			       struct msg_head *head)
{
	struct msg_hop *hop;

	if (head->n_hops >= MSG_MAX_HOPS - 1)
		return NULL;
	hop = &head->hops[head->n_hops++];
	stage_hop(st, in, hop);
	return hop;
}

int stage_result(struct stage *st, struct stage_input *in, enum msg_stage to, enum msg_kind kind,
		 uint32_t n_tokens, size_t data_bytes, struct stage_result *r)
{
	int ret = stage_out(st, to) ? stage_take_buffer(st, to, &r->buf) : -ESHUTDOWN;

	r->to = to;
	if (ret == -ESHUTDOWN) {
		trouble_gone(st, in, to);
		return ret;
	}
	if (ret) {
		stage_give_back(st, in);
		return ret;
	}
	ret = msg_begin(r->buf.data, sluice_buffer_size(st->out[to]), &in->v, kind, n_tokens,
			data_bytes, &r->w);
	if (!ret) {
		r->hop = add_hop(st, in, r->w.head);
		return 0;
	}
	stage_put_buffer(st, to, &r->buf);
	stage_error(st, in, EMSGSIZE, "a %s message of %u tokens needs more than the %zu bytes "
		    "that a buffer of stage %s has: recreate it with a larger buffer_size",
		    msg_kind_name(kind), n_tokens, sluice_buffer_size(st->out[to]),
		    sluice_stage_name(st->out[to]));
	return ret;
}

void stage_drop(struct stage *st, struct stage_result *r)
{
	stage_put_buffer(st, r->to, &r->buf);
}

bool stage_holds(struct stage *st, struct stage_input *in)
{
	if (sluice_holds(st->in, &in->m))
		return true;
	if (st->opt.verbose)
		stage_log("stream %016llx: claim of %s %llu was lost, somebody else does it",
			  (unsigned long long)in->m.stream, msg_kind_name(in->m.kind),
			  (unsigned long long)in->m.counter);
	return false;
}

int stage_publish(struct stage *st, struct stage_input *in, struct stage_result *r,
		  uint64_t counter, uint32_t batch)
{
	struct msg_head *head = r->w.head;
	struct sluice_msg m = {
		.stream = in->m.stream,
		.counter = counter,
		.len = head->size,
		.kind = head->kind,
		.buffer = r->buf.index,
	};
	int ret;

	if (r->hop) {
		r->hop->batch = (uint16_t)batch;
		r->hop->done = sluice_ticks();
	}
	ret = sluice_post(st->out[r->to], &m);
	if (ret >= 0)
		return 0;
	stage_drop(st, r);
	if (ret == -ESHUTDOWN)
		trouble_gone(st, in, r->to);
	else
		stage_give_back(st, in);
	return ret;
}

void stage_free(struct stage *st, enum msg_stage to, uint64_t stream)
{
	struct sluice_msg m = {
		.stream = stream, .kind = MSG_FREE, .flags = SLUICE_MSG_LAST,
		.buffer = SLUICE_NO_BUFFER,
	};
	int ret;

	if (!stage_out(st, to))
		return;
	ret = sluice_post(st->out[to], &m);
	/* Only memory is late then: the decoder reuses the oldest KV when it needs room. */
	if (ret < 0)
		stage_log("stream %016llx: cannot tell stage %s that it is over: %s",
			  (unsigned long long)stream, msg_stage_name(to), sluice_error());
}

/* -------------------------------------------------------------- settling --- */

void stage_ack(struct stage *st, struct stage_input *in)
{
	trouble_settled(st, in);
	/* -ESTALE: redelivered meanwhile; the copy will be recognised by its counter. */
	if (sluice_ack(st->in, &in->m) && st->opt.verbose)
		stage_log("stream %016llx: late ack: %s", (unsigned long long)in->m.stream,
			  sluice_error());
}

void stage_refuse(struct stage *st, struct stage_input *in, const char *why)
{
	trouble_refuse(st, in, EBADMSG, why);
}

void stage_give_back(struct stage *st, struct stage_input *in)
{
	struct stage_busy *b = stage_busy_find(st, in->m.ticket);

	if (!b) {
		b = &st->busy[st->busy_next++ % STAGE_BUSY_MEMORY];
		*b = (struct stage_busy){ .ticket = in->m.ticket };
	}
	b->count++;
	sluice_nack(st->in, &in->m, EBUSY, GIVE_BACK_MS, SLUICE_NACK_BUSY);
}

/* ------------------------------------------------------------- the loop --- */

struct stage_busy *stage_busy_find(struct stage *st, uint64_t ticket)
{
	for (unsigned int i = 0; i < STAGE_BUSY_MEMORY; i++) {
		if (st->busy[i].count && st->busy[i].ticket == ticket)
			return &st->busy[i];
	}
	return NULL;
}

/*
 * A message that has ended its consumer on every attempt but the last is not tried again: the
 * client is told now, rather than never.
 */
static bool last_attempt(struct stage *st, const struct stage_input *in)
{
	const struct stage_busy *b = stage_busy_find(st, in->m.ticket);
	uint32_t failures = in->m.attempt - 1 - (b ? b->count : 0);

	return in->m.attempt > 1 && failures + 1 >= sluice_hints(st->in)->max_attempts;
}

/* With a letter for people to look at; the output stage's clients are told by itself alone. */
static void give_up(struct stage *st, struct stage_input *in)
{
	char why[160];

	snprintf(why, sizeof(why), "gave up on a %s message after %u attempts: see the logs of "
		 "stage %s for what ended it", msg_kind_name(in->m.kind), in->m.attempt - 1,
		 sluice_stage_name(st->in));
	if (st->ops->fail)
		stage_error(st, in, EOWNERDEAD, "%s", why);
	else
		trouble_refuse(st, in, EOWNERDEAD, why);
}

/* True if run() shall see it. */
static bool admit(struct stage *st, struct stage_input *in)
{
	unsigned int kind = in->m.kind;

	if (kind >= MSG_KIND_COUNT || !(st->ops->accepts & 1u << kind)) {
		trouble_refuse_strange(st, in, "this stage takes no such message");
		return false;
	}
	if (kind == MSG_FREE) {
		if (!in->m.len)
			return true;
		stage_refuse(st, in, "FREE has no payload");
		return false;
	}
	if (msg_read(&in->m, &in->v)) {
		trouble_refuse_strange(st, in, "malformed payload");
		return false;
	}
	if (last_attempt(st, in)) {
		give_up(st, in);
		return false;
	}
	return trouble_admit(st, in);
}

static int claim(struct stage *st, struct stage_input *in, int64_t timeout_ns)
{
	static struct sluice_msg msgs[STAGE_MAX_BATCH];
	int max = st->ops->batches ? (int)st->opt.batch : 1;
	int n = sluice_claim(st->in, &msgs[0], timeout_ns);
	uint64_t now;

	if (n < 0)
		return n;
	n = 1;
	/* A message that has ended somebody is worked alone, so that it takes no others along. */
	if (max > 1 && msgs[0].attempt == 1) {
		int more = sluice_claim_batch(st->in, msgs + 1, max - 1, SLUICE_NOW);

		n += more > 0 ? more : 0;
	}
	now = sluice_ticks();
	for (int i = 0; i < n; i++) {
		in[i].m = msgs[i];
		in[i].claimed = now;
	}
	return n;
}

int stage_loop(struct stage *st)
{
	static struct stage_input in[STAGE_MAX_BATCH];
	int n, admitted;

	for (;;) {
		take_spares(st);
		n = claim(st, in, stage_draining(st) ? SLUICE_NOW : SLUICE_FOREVER);
		if (n == -EINTR && stage_draining(st) < 2) {
			sluice_interrupt_clear(st->ctx);
			continue;
		}
		if (n == -EINTR || (n == -EAGAIN && stage_draining(st)))
			break;
		if (n == -EAGAIN)
			continue;
		if (n == -ESHUTDOWN) {
			stage_log("stage %s was destroyed, leaving", sluice_stage_name(st->in));
			break;
		}
		if (n < 0) {
			stage_log("cannot claim from stage %s: %s", sluice_stage_name(st->in),
				  sluice_error());
			return n;
		}
		trouble_return(st);
		admitted = 0;
		for (int i = 0; i < n; i++) {
			if (!admit(st, &in[i]))
				continue;
			if (admitted != i)
				in[admitted] = in[i];
			admitted++;
		}
		if (admitted)
			st->ops->run(st, in, admitted);
	}
	return 0;
}
