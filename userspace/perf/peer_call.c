// SPDX-License-Identifier: MIT
/*
 * peer_call.c: calls: one at a time, or as many as BATCH under way at a time
 *
 * Ping calls, pong serves. With the completion of each request, as a caller gets it by default, or
 * without (SLUICE_CALLER_UNTOLD). Of a batch each sample is the batch's time by its calls.
 */
#include <errno.h>
#include <sys/mman.h>

#include <sluice/call.h>

#include "peer.h"

#define BATCH		16u
#define PATIENCE_NS	60000000000ll

/* Shared, so that the coordinator can put away what the processes made. */
struct call_state {
	char name[SLUICE_NAME_MAX];
	char replies[SLUICE_NAME_MAX];
	bool created;
	struct sluice_ctx *ctx;
	struct sluice_ep *ep;
	struct sluice_caller *caller;
	struct sluice_server *server;
	char data[PEER_SIZE_MAX];
};

extern const struct peer peer_call_untold, peer_call_untold_batch;

static int call_setup(struct peer_run *run)
{
	struct call_state *s = peer_map(sizeof(*s));
	struct sluice_create c = {
		.nslots = run->slots, .nbufs = 4 * BATCH,
		.bufsize = (uint32_t)run->size + SLUICE_CALL_HEADER,
	};
	int err;

	run->state = s;
	if (!s)
		return peer_fail(run, ENOMEM, "no memory");
	perf_stage_name(s->name, "call");
	memcpy(c.name, s->name, sizeof(c.name));
	err = sluice_create(&c);
	if (err)
		return peer_fail(run, -err, "%s", sluice_error());
	s->created = true;
	return 0;
}

static int call_open_caller(struct peer_run *run, struct call_state *s)
{
	bool untold = run->peer == &peer_call_untold || run->peer == &peer_call_untold_batch;
	struct sluice_caller_options o = {
		.flags = untold ? SLUICE_CALLER_UNTOLD : 0,
		.window = 2 * BATCH,
		.reply_bytes = (uint32_t)run->size,
	};
	int err = sluice_attach(s->ctx, s->name, SLUICE_PRODUCER, 0, &s->ep);

	if (!err)
		err = sluice_caller_create(s->ctx, &o, &s->caller);
	if (!err)
		memcpy(s->replies, sluice_caller_stage(s->caller), sizeof(s->replies));
	return err;
}

static int call_open(struct peer_run *run, enum peer_side side)
{
	struct call_state *s = run->state, *own = peer_map(sizeof(*own));
	unsigned int flags = 0;
	int err;

	if (!own)
		return peer_fail(run, ENOMEM, "no memory");
	/* Pointers are each process's own; the name of the reply stage is for the coordinator. */
	memcpy(own, s, sizeof(*own));
	run->state = own;
	if (run->mode == MODE_SPIN)
		flags = SLUICE_CTX_SPIN;
	else if (run->mode == MODE_SLEEP)
		flags = SLUICE_CTX_NO_SPIN;
	err = sluice_ctx_create(flags, &own->ctx);
	if (!err && side == PING) {
		err = call_open_caller(run, own);
		memcpy(s->replies, own->replies, sizeof(s->replies));
	} else if (!err) {
		err = sluice_attach(own->ctx, own->name, SLUICE_CONSUMER, 0, &own->ep);
		if (!err)
			err = sluice_server_create(own->ep, &own->server);
	}
	if (err)
		return peer_fail(run, -err, "%s", sluice_error());
	/* As peer_sluice.c: who sleeps at once lets wake-ups go into the same system call. */
	sluice_defer_kicks(own->ctx, run->mode == MODE_SLEEP);
	return 0;
}

static struct sluice_msg call_request(struct peer_run *run, struct call_state *s, uint64_t number)
{
	peer_stamp(s->data, run->size, number);
	return (struct sluice_msg) {
		.counter = number, .data = s->data, .len = (uint32_t)run->size,
		.buffer = SLUICE_NO_BUFFER,
	};
}

static int call_check(struct peer_run *run, struct sluice_reply *reply, uint64_t number)
{
	struct call_state *s = run->state;

	if (reply->len != run->size || !peer_stamped(reply->data, run->size, number))
		return peer_fail(run, EBADMSG, "reply %llu is not to what was asked",
				 (unsigned long long)number);
	sluice_reply_release(s->caller, reply);
	return 0;
}

static inline int call_round_trip(struct peer_run *run, uint64_t number)
{
	struct call_state *s = run->state;
	struct sluice_msg msg = call_request(run, s, number);
	struct sluice_reply reply;
	int err = sluice_call(s->caller, s->ep, &msg, &reply, PATIENCE_NS);

	return err ? peer_fail(run, -err, "call: %s", sluice_error()) :
		     call_check(run, &reply, number);
}

static int call_ping(struct peer_run *run, uint64_t n, uint64_t *samples)
{
	return peer_ping_loop(run, n, samples, call_round_trip);
}

/* So many started, then all collected, in the order in which they end. */
static int call_batch(struct peer_run *run, uint64_t first, unsigned int k)
{
	struct call_state *s = run->state;
	struct sluice_reply reply;
	uint64_t id[BATCH];
	int err;

	for (unsigned int i = 0; i < k; i++) {
		struct sluice_msg msg = call_request(run, s, first + i);

		err = sluice_call_start(s->caller, s->ep, &msg, PATIENCE_NS, &id[i]);
		if (err)
			return peer_fail(run, -err, "call: %s", sluice_error());
	}
	for (unsigned int n = 0; n < k; n++) {
		unsigned int i = 0;

		err = sluice_call_wait(s->caller, SLUICE_CALL_ANY, &reply, SLUICE_FOREVER);
		if (err)
			return peer_fail(run, -err, "call: %s", sluice_error());
		while (i < k && id[i] != reply.id)
			i++;
		err = call_check(run, &reply, first + i);
		if (err)
			return err;
	}
	return 0;
}

static int call_ping_batch(struct peer_run *run, uint64_t n, uint64_t *samples)
{
	return peer_batch_loop(run, n, samples, BATCH, call_batch);
}

static int call_pong(struct peer_run *run, uint64_t n)
{
	struct call_state *s = run->state;

	for (uint64_t i = 0; i < n; i++) {
		struct sluice_msg msg = { .data = s->data, .buffer = SLUICE_NO_BUFFER };
		struct sluice_request r;
		int err = sluice_serve(s->server, &r, SLUICE_FOREVER);

		if (err)
			return peer_fail(run, -err, "serve: %s", sluice_error());
		memcpy(s->data, r.data, r.len);
		msg.len = r.len;
		err = sluice_reply(s->server, &r, &msg);
		if (err)
			return peer_fail(run, err < 0 ? -err : EPROTO, "reply: %s",
					 err < 0 ? sluice_error() : "nobody waits for it");
	}
	/* A deferred wake-up has no next sleep to go with after the last message. */
	return run->mode == MODE_SLEEP ? sluice_flush(s->ctx) : 0;
}

static void call_teardown(struct peer_run *run)
{
	struct call_state *s = run->state;

	if (!s)
		return;
	if (s->replies[0])
		sluice_destroy(s->replies, 0, SLUICE_DESTROY_FORCE);
	if (s->created)
		sluice_destroy(s->name, 0, SLUICE_DESTROY_FORCE);
	munmap(s, sizeof(*s));
}

#define CALL_PEER(ping_)							\
	.optional	= true,							\
	.modes		= MODE_SPIN | MODE_SLEEP | MODE_ADAPTIVE,		\
	.setup		= call_setup,						\
	.open		= call_open,						\
	.job[WORK_ROUND]	= { ping_, call_pong },						\
	.teardown	= call_teardown

const struct peer peer_call = {
	.name		= "call",
	.title		= "sluice_call(), told of dead letters",
	CALL_PEER(call_ping),
};

const struct peer peer_call_untold = {
	.name		= "call-untold",
	.title		= "sluice_call() that relies on its deadline",
	CALL_PEER(call_ping),
};

const struct peer peer_call_batch = {
	.name		= "call-16",
	.title		= "16 calls at a time, the time of one",
	CALL_PEER(call_ping_batch),
};

const struct peer peer_call_untold_batch = {
	.name		= "untold-16",
	.title		= "16 calls at a time that rely on their deadlines, the time of one",
	CALL_PEER(call_ping_batch),
};
