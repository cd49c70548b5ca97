// SPDX-License-Identifier: MIT
/*
 * caller.c: who calls: a reply stage of its own, a window of calls, and the end of both.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "call.h"

#define WINDOW_DEFAULT	64u
#define REPLY_DEFAULT	(4096u - sizeof(struct reply_envelope))
#define NAME_TRIES	8
/* A reply is held in place for as long as the application reads it: nobody else would want it. */
#define HOLD_MS		86400000u

/* Whose callers died, and whose servers have seen it. Not of those that somebody else owns. */
static void sweep(void)
{
	struct sluice_info info = { .cookie = 0 };

	while (!sluice_next(&info))
		if (is_reply_stage(info.name) && !info.consumers && !info.producers &&
		    info.uid == geteuid())
			sluice_destroy(info.name, 0, 0);
}

static int make_stage(struct sluice_caller *c, const struct sluice_caller_options *o)
{
	u32 reply = o->reply_bytes ?: (u32)REPLY_DEFAULT;
	struct sluice_create create = {
		.nslots = SLUICE_MIN_SLOTS,
		/* The board; a reply for each call; as many that nobody waits for any more. */
		.nbufs = 1 + 2 * c->window,
		.ack_timeout_ms = HOLD_MS,
		.max_attempts = SLUICE_MAX_ATTEMPTS,
		.uid = geteuid(),
		.gid = o->gid ?: getegid(),
		.mode = o->mode ?: 0600,
	};

	if (reply > SLUICE_MAX_BUFFER_SIZE - sizeof(struct reply_envelope))
		return __sluice_err(-EINVAL, "caller: replies of %u bytes; at most %zu", reply,
				    SLUICE_MAX_BUFFER_SIZE - sizeof(struct reply_envelope));
	create.bufsize = reply + (u32)sizeof(struct reply_envelope);
	while (create.nslots < 4 * c->window)
		create.nslots *= 2;
	if (getrandom(&c->id, sizeof(c->id), 0) != sizeof(c->id) || !c->id)
		return __sluice_err(-EIO, "caller: no random numbers");
	reply_stage_name(c->id, c->stage);
	memcpy(create.name, c->stage, sizeof(create.name));
	return sluice_create(&create);
}

static int attach(struct sluice_caller *c)
{
	int ret = sluice_attach(c->ctx, c->stage, SLUICE_CONSUMER, 0, &c->in);

	if (!ret)
		ret = sluice_attach(c->ctx, c->stage, SLUICE_PRODUCER, 0, &c->holder);
	if (!ret)
		ret = sluice_buffer_take(c->holder, &c->board, SLUICE_NOW);
	if (!ret && c->board.index)
		ret = __sluice_err(-EPROTO, "stage '%s': somebody else was there first", c->stage);
	if (ret)
		return ret;
	memset(c->board.data, 0, c->window * sizeof(u64));
	return 0;
}

static void leave(struct sluice_caller *c)
{
	sluice_detach(c->in);
	sluice_detach(c->holder);
	c->in = c->holder = NULL;
	sluice_destroy(c->stage, 0, SLUICE_DESTROY_FORCE);
}

/* Somebody who sweeps may take a stage for a dead caller's before anybody is attached. */
static int make_and_attach(struct sluice_caller *c, const struct sluice_caller_options *o)
{
	int ret, tries;

	for (tries = 0; tries < NAME_TRIES; tries++) {
		ret = make_stage(c, o);
		if (ret == -EEXIST)
			continue;
		if (ret)
			return ret;
		ret = attach(c);
		if (!ret)
			return 0;
		leave(c);
		if (ret != -ENOENT && ret != -ESHUTDOWN)
			return ret;
	}
	return ret;
}

static int make_window(struct sluice_caller *c)
{
	u32 i;

	c->calls = calloc(c->window, sizeof(*c->calls));
	if (!c->calls || getrandom(&c->sequence, sizeof(c->sequence), 0) != sizeof(c->sequence))
		return __sluice_err(-ENOMEM, "caller: out of memory");
	c->sequence = c->sequence >> CALL_INDEX_BITS ?: 1;
	/* 2^64 / (ns of 2^32 ticks): ticks of a ns, in units of 2^-32. */
	c->ticks_per_ns = (u64)(((unsigned __int128)1 << 64) / sluice_ticks_to_ns(1ull << 32));
	TAILQ_INIT(&c->free);
	TAILQ_INIT(&c->over);
	for (i = 0; i < c->window; i++)
		TAILQ_INSERT_TAIL(&c->free, &c->calls[i], link);
	return 0;
}

static int check_options(const struct sluice_caller_options *o)
{
	if (o->flags & ~SLUICE_CALLER_UNTOLD || o->reserved[0] || o->reserved[1] || o->reserved[2])
		return __sluice_err(-EINVAL, "caller: unknown options (flags 0x%x)", o->flags);
	if (o->window > SLUICE_CALL_WINDOW_MAX)
		return __sluice_err(-EINVAL, "caller: a window of %u calls; at most %u", o->window,
				    SLUICE_CALL_WINDOW_MAX);
	return 0;
}

int sluice_caller_create(struct sluice_ctx *ctx, const struct sluice_caller_options *options,
			 struct sluice_caller **out)
{
	static const struct sluice_caller_options defaults;
	struct sluice_caller *c;
	int ret;

	options = options ?: &defaults;
	ret = check_options(options);
	if (ret)
		return ret;
	c = calloc(1, sizeof(*c));
	if (!c)
		return __sluice_err(-ENOMEM, "caller: out of memory");
	c->ctx = ctx;
	c->flags = options->flags;
	c->window = options->window ?: WINDOW_DEFAULT;
	ret = make_window(c);
	if (!ret) {
		sweep();
		ret = make_and_attach(c, options);
	}
	if (ret) {
		free(c->calls);
		free(c);
		return ret;
	}
	ctx->callers++;
	*out = c;
	return 0;
}

void sluice_caller_destroy(struct sluice_caller *c)
{
	u32 i;

	if (!c)
		return;
	for (i = 0; i < c->window; i++) {
		struct call *call = &c->calls[i];

		if (call->op)
			__sluice_send_release(c->ctx, call->op);
		__sluice_call_drop_payload(c, call);
	}
	leave(c);
	c->ctx->callers--;
	free(c->calls);
	free(c);
}

const char *sluice_caller_stage(const struct sluice_caller *c)
{
	return c->stage;
}

const struct sluice_caller_counters *sluice_caller_counters(const struct sluice_caller *c)
{
	return &c->count;
}
