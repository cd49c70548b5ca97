// SPDX-License-Identifier: MIT
/*
 * peer_sluice.c: two stages, one each way, a sole producer and a consumer on each
 *
 * As a stage of a pipeline does it: claim, use, check that it is still mine,
 * publish the result, acknowledge the input. Each message is acknowledged.
 */
#include <errno.h>
#include <stdlib.h>

#include "peer.h"

struct sluice_state {
	char name[2][SLUICE_NAME_MAX];	/* of the stage that each side sends on */
	bool created[2];
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	struct sluice_ep *in;
	char data[PEER_SIZE_MAX];
};

static int sluice_peer_setup(struct peer_run *run)
{
	struct sluice_state *s = calloc(1, sizeof(*s));
	struct sluice_create c = { .nslots = run->slots };

	run->state = s;
	if (!s)
		return peer_fail(run, ENOMEM, "no memory");
	if (c.nslots < SLUICE_MIN_SLOTS)
		c.nslots = SLUICE_MIN_SLOTS;
	if (run->size > SLUICE_INLINE_MAX || run->work == WORK_PAYLOAD) {
		c.nbufs = run->slots;
		c.bufsize = (uint32_t)run->size;
	}
	for (int side = PING; side <= PONG; side++) {
		int err;

		perf_stage_name(s->name[side], side == PING ? "ping" : "pong");
		snprintf(c.name, sizeof(c.name), "%s", s->name[side]);
		err = sluice_create(&c);
		if (err)
			return peer_fail(run, -err, "%s", sluice_error());
		s->created[side] = true;
	}
	return 0;
}

static int sluice_peer_open(struct peer_run *run, enum peer_side side)
{
	struct sluice_state *s = run->state;
	enum peer_side other = side == PING ? PONG : PING;
	unsigned int flags = 0;
	int err;

	if (run->mode == MODE_SPIN)
		flags = SLUICE_CTX_SPIN;
	else if (run->mode == MODE_SLEEP)
		flags = SLUICE_CTX_NO_SPIN;
	err = sluice_ctx_create(flags, &s->ctx);
	if (!err)
		err = sluice_attach(s->ctx, s->name[side], SLUICE_PRODUCER, SLUICE_ATTACH_SOLE,
				    &s->out);
	if (!err)
		err = sluice_attach(s->ctx, s->name[other], SLUICE_CONSUMER, 0, &s->in);
	if (err)
		return peer_fail(run, -err, "%s", sluice_error());
	/*
	 * Who sleeps at once lets the wake-up of the other side go into the same
	 * system call; who spins first must not keep the other side waiting for it.
	 */
	sluice_defer_kicks(s->ctx, run->mode == MODE_SLEEP);
	return 0;
}

static inline int sluice_peer_send(struct peer_run *run, struct sluice_state *s,
				   const void *data, uint64_t number)
{
	struct sluice_msg msg = {
		.counter = number, .data = data, .len = (uint32_t)run->size,
		.buffer = SLUICE_NO_BUFFER,
	};
	int err = sluice_send(s->out, &msg, SLUICE_FOREVER);

	return err ? peer_fail(run, -err, "send: %s", sluice_error()) : 0;
}

static inline int sluice_peer_round_trip(struct peer_run *run, uint64_t number)
{
	struct sluice_state *s = run->state;
	struct sluice_msg echo;
	int err;

	peer_stamp(s->data, run->size, number);
	err = sluice_peer_send(run, s, s->data, number);
	if (err)
		return err;
	err = sluice_claim(s->in, &echo, SLUICE_FOREVER);
	if (err)
		return peer_fail(run, -err, "claim: %s", sluice_error());
	if (echo.len != run->size || !peer_stamped(echo.data, run->size, number))
		return peer_fail(run, EBADMSG, "echo %llu is not what was sent",
				 (unsigned long long)number);
	err = sluice_ack(s->in, &echo);
	return err ? peer_fail(run, -err, "ack: %s", sluice_error()) : 0;
}

static int sluice_peer_ping(struct peer_run *run, uint64_t n, uint64_t *samples)
{
	return peer_ping_loop(run, n, samples, sluice_peer_round_trip);
}

static int sluice_peer_pong(struct peer_run *run, uint64_t n)
{
	struct sluice_state *s = run->state;

	for (uint64_t i = 0; i < n; i++) {
		struct sluice_msg msg;
		int err = sluice_claim(s->in, &msg, SLUICE_FOREVER);

		if (err)
			return peer_fail(run, -err, "claim: %s", sluice_error());
		memcpy(s->data, msg.data, run->size);
		if (!sluice_holds(s->in, &msg))
			return peer_fail(run, ESTALE, "message %llu was taken away",
					 (unsigned long long)msg.counter);
		err = sluice_peer_send(run, s, s->data, msg.counter);
		if (err)
			return err;
		err = sluice_ack(s->in, &msg);
		if (err)
			return peer_fail(run, -err, "ack: %s", sluice_error());
	}
	/* A deferred wake-up has no next sleep to go with after the last message. */
	return run->mode == MODE_SLEEP ? sluice_flush(s->ctx) : 0;
}

/* ------------------------------------------------------------------- one way --- */

#define FLOW_BATCH	16	/* messages that are sent together */
#define FLOW_RUN	64	/* messages that are claimed and acknowledged together, at most */

/* Like the other peers that can, written where it is read. */
static int sluice_send_in_place(struct peer_run *run, struct sluice_state *s, uint64_t number)
{
	struct sluice_msg msg = { .counter = number, .len = (uint32_t)run->size };
	struct sluice_buffer buf;
	int err = sluice_buffer_take(s->out, &buf, SLUICE_FOREVER);

	if (!err) {
		peer_stamp(buf.data, run->size, number);
		msg.buffer = buf.index;
		err = sluice_send(s->out, &msg, SLUICE_FOREVER);
	}
	return err ? peer_fail(run, -err, "send: %s", sluice_error()) : 0;
}

static int sluice_flow_ping(struct peer_run *run, uint64_t n, uint64_t *samples)
{
	struct sluice_state *s = run->state;
	bool in_place = run->size > SLUICE_INLINE_MAX;

	for (uint64_t i = 0; i < n; i++) {
		int err;

		if (in_place) {
			err = sluice_send_in_place(run, s, i);
		} else {
			peer_stamp(s->data, run->size, i);
			err = sluice_peer_send(run, s, s->data, i);
		}
		if (err)
			return err;
	}
	return run->mode == MODE_SLEEP ? sluice_flush(s->ctx) : 0;
}

/* With one fence and one look for sleepers for all of a run. */
static int sluice_flow_ping_batch(struct peer_run *run, uint64_t n, uint64_t *samples)
{
	struct sluice_state *s = run->state;
	struct sluice_msg msgs[FLOW_BATCH];

	for (uint64_t i = 0; i < n;) {
		int k = n - i < FLOW_BATCH ? (int)(n - i) : FLOW_BATCH, sent = 0;

		for (int m = 0; m < k; m++) {
			char *data = s->data + (size_t)m * run->size;

			peer_stamp(data, run->size, i + (uint64_t)m);
			msgs[m] = (struct sluice_msg){
				.counter = i + (uint64_t)m, .data = data,
				.len = (uint32_t)run->size, .buffer = SLUICE_NO_BUFFER,
			};
		}
		while (sent < k) {
			int ret = sluice_send_batch(s->out, msgs + sent, k - sent, SLUICE_FOREVER);

			if (ret < 0)
				return peer_fail(run, -ret, "send: %s", sluice_error());
			sent += ret;
		}
		i += (uint64_t)k;
	}
	return run->mode == MODE_SLEEP ? sluice_flush(s->ctx) : 0;
}

static int sluice_flow_pong(struct peer_run *run, uint64_t n)
{
	struct sluice_state *s = run->state;
	struct sluice_msg msgs[FLOW_RUN];
	uint64_t begin = 0;

	for (uint64_t i = 0; i < n;) {
		uint64_t left = n - i;	/* what comes after it is the next command's */
		int k = sluice_claim_batch(s->in, msgs, left < FLOW_RUN ? (int)left : FLOW_RUN,
					   SLUICE_FOREVER);

		if (k < 0)
			return peer_fail(run, -k, "claim: %s", sluice_error());
		if (!i)
			begin = sluice_ticks();
		for (int m = 0; m < k; m++, i++)
			if (msgs[m].len != run->size || !peer_stamped(msgs[m].data, run->size, i))
				return peer_fail(run, EBADMSG, "message %llu, attempt %u, came "
						 "where %llu was due",
						 (unsigned long long)msgs[m].counter, msgs[m].attempt,
						 (unsigned long long)i);
		if (sluice_ack_batch(s->in, msgs, k) != k)
			return peer_fail(run, ESTALE, "ack: %s", sluice_error());
	}
	*run->elapsed = sluice_ticks() - begin;
	return 0;
}

/* ------------------------------------------------------------------ payloads --- */

static inline int sluice_payload_trip(struct peer_run *run, uint64_t number)
{
	struct sluice_state *s = run->state;
	struct sluice_msg msg = { .counter = number, .len = (uint32_t)run->size }, answer;
	struct sluice_buffer buf;
	int err = sluice_buffer_take(s->out, &buf, SLUICE_FOREVER);

	if (err)
		return peer_fail(run, -err, "buffer: %s", sluice_error());
	peer_fill(buf.data, run->touched, number);
	msg.buffer = buf.index;
	err = sluice_send(s->out, &msg, SLUICE_FOREVER);
	if (!err)
		err = sluice_claim(s->in, &answer, SLUICE_FOREVER);
	if (err)
		return peer_fail(run, -err, "payload: %s", sluice_error());
	if (answer.len != sizeof(number) || memcmp(answer.data, &number, sizeof(number)))
		return peer_fail(run, EBADMSG, "answer %llu is wrong", (unsigned long long)number);
	err = sluice_ack(s->in, &answer);
	return err ? peer_fail(run, -err, "ack: %s", sluice_error()) : 0;
}

static int sluice_payload_ping(struct peer_run *run, uint64_t n, uint64_t *samples)
{
	return peer_ping_loop(run, n, samples, sluice_payload_trip);
}

static int sluice_payload_pong(struct peer_run *run, uint64_t n)
{
	struct sluice_state *s = run->state;

	for (uint64_t i = 0; i < n; i++) {
		struct sluice_msg msg, answer = {
			.data = &i, .len = sizeof(i), .buffer = SLUICE_NO_BUFFER,
		};
		int err = sluice_claim(s->in, &msg, SLUICE_FOREVER);

		if (err)
			return peer_fail(run, -err, "claim: %s", sluice_error());
		if (msg.len != run->size || !peer_filled(msg.data, run->touched, i) ||
		    !sluice_holds(s->in, &msg))
			return peer_fail(run, EBADMSG, "payload %llu is not what was written",
					 (unsigned long long)i);
		err = sluice_send(s->out, &answer, SLUICE_FOREVER);
		if (!err)
			err = sluice_ack(s->in, &msg);
		if (err)
			return peer_fail(run, -err, "answer: %s", sluice_error());
	}
	return run->mode == MODE_SLEEP ? sluice_flush(s->ctx) : 0;
}

static void sluice_peer_teardown(struct peer_run *run)
{
	struct sluice_state *s = run->state;

	if (!s)
		return;
	for (int side = PING; side <= PONG; side++)
		if (s->created[side])
			sluice_destroy(s->name[side], 0, SLUICE_DESTROY_FORCE);
	free(s);
}

const struct peer peer_sluice = {
	.name		= "sluice",
	.title		= "two stages, sole producer, claimed and acknowledged",
	.modes		= MODE_SPIN | MODE_SLEEP | MODE_ADAPTIVE,
	.setup		= sluice_peer_setup,
	.open		= sluice_peer_open,
	.job[WORK_ROUND]	= { sluice_peer_ping, sluice_peer_pong },
	.job[WORK_FLOW]		= { sluice_flow_ping, sluice_flow_pong },
	.job[WORK_PAYLOAD]	= { sluice_payload_ping, sluice_payload_pong },
	.teardown	= sluice_peer_teardown,
};

const struct peer peer_sluice_batch = {
	.name		= "sluice-batch",
	.title		= "the same, 16 messages sent at a time",
	.modes		= MODE_SPIN | MODE_SLEEP,
	.max_size	= PEER_SIZE_MAX / FLOW_BATCH,
	.setup		= sluice_peer_setup,
	.open		= sluice_peer_open,
	.job[WORK_FLOW]		= { sluice_flow_ping_batch, sluice_flow_pong },
	.teardown	= sluice_peer_teardown,
};
