// SPDX-License-Identifier: MIT
/*
 * log.c: a replicated state machine on a broadcast stage.
 *
 * Four kinds of messages, all in the one order of the ring:
 *
 *	ENTRY     stream: epoch, 0 = not fenced; counter: sender      data: the entry
 *	LEAD      stream: the epoch that is asked for; counter: sender
 *	WANT      stream: sender; counter: its bit                    "give me a snapshot"
 *	SNAPSHOT  stream: for whom; counter: position                 data: struct head, the state
 *
 * A sender is a random number, made at the join: bits and endpoint ids are used again. Holders are those
 * who have the state; each holder knows all of them, since it sees the SNAPSHOTs, and is told of the
 * earlier ones in its own. The one with the lowest bit answers a WANT with the state as it is at that
 * place; should it go before it does, the next one answers. A joiner keeps what comes before its
 * snapshot and then plays what the snapshot does not have in it.
 *
 * When every recipient is a joiner there is no state any more, and the first one of them to have asked
 * begins a new one. It may say so only if it has seen all that the others sent before they went:
 * recipients first, then the kernel's queue, then the ring up to its end. No clock decides.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <sluice/log.h>

#include "internal.h"

enum kind {
	KIND_ENTRY	= 0x4c01,
	KIND_LEAD	= 0x4c02,
	KIND_WANT	= 0x4c03,
	KIND_SNAPSHOT	= 0x4c04,
};

#define SLOTS		256u
#define BUFFERS		32u
#define LOOK_EVERY_NS	5000000	/* while somebody waits for an answer: who is there may have changed */

/* In front of the state in a SNAPSHOT. */
struct head {
	u64	epoch;
	u64	leader;
	u64	holders;
	u64	applied;
};

/* A joiner that has no answer yet. */
struct want {
	u64	who;
	u64	ticket;
	bool	answered;	/* by this member */
};

/* What a joiner has seen and cannot apply yet. */
struct kept {
	struct kept	*next;
	struct sluice_msg msg;
	unsigned char	data[];
};

/**
 * struct sluice_log - one member
 * @me:		random
 * @bit:	of its consumer
 * @holders:	bits of those who have the state, and is one of them itself
 * @wants:	bits of joiners; @want says more of each
 * @seen:	the last ticket that was handled
 * @applied:	the last entry's
 * @scratch:	a copy of the message at hand: what is in the ring may be written again once this
 *		member is put out
 */
struct sluice_log {
	struct sluice_log_ops	ops;
	void			*state;
	struct sluice_ep	*in, *out;
	u64			me, bit;
	u64			holders, wants;
	struct want		want[SLUICE_MAX_RECIPIENTS];
	u64			seen, applied;
	u64			epoch, leader, fenced;
	int			failed;
	struct kept		*kept, **kept_end;
	unsigned char		*scratch;
};

static bool holds_state(const struct sluice_log *log)
{
	return log->holders & log->bit;
}

static u64 recipients(const struct sluice_log *log)
{
	return sl_load(&log->in->hints->recipients);
}

static struct want *want_of(struct sluice_log *log, u64 bit)
{
	return &log->want[__builtin_ctzll(bit)];
}

/* ------------------------------------------------------------------ send --- */

static int post(struct sluice_log *log, enum kind kind, u64 stream, u64 counter, const void *data,
		size_t len)
{
	struct sluice_msg msg = {
		.kind = kind,
		.stream = stream,
		.counter = counter,
		.data = data,
		.len = (u32)len,
		.buffer = SLUICE_NO_BUFFER,
	};
	int ret;

	if (len > SLUICE_INLINE_MAX && len > log->out->bufsize)
		return __sluice_err(-EMSGSIZE, "log '%s': %zu bytes are more than an entry may have "
				    "(%u)", log->in->name, len, log->out->bufsize);
	/* What the kernel's queue takes is published in its turn: the sender must not wait (P30). */
	ret = sluice_post(log->out, &msg);
	return ret < 0 ? ret : 0;
}

int sluice_log_append(struct sluice_log *log, const void *data, size_t len)
{
	return post(log, KIND_ENTRY, 0, log->me, data, len);
}

int sluice_log_append_fenced(struct sluice_log *log, const void *data, size_t len)
{
	if (!sluice_log_leads(log))
		return __sluice_err(-EPERM, "log '%s': this member does not lead epoch %llu",
				    log->in->name, log->epoch);
	return post(log, KIND_ENTRY, log->epoch, log->me, data, len);
}

int sluice_log_lead(struct sluice_log *log)
{
	return post(log, KIND_LEAD, log->epoch + 1, log->me, NULL, 0);
}

/* The state as it is now, for one joiner. -EAGAIN: no room, later. */
static int post_snapshot(struct sluice_log *log, u64 who)
{
	struct head head = {
		.epoch = log->epoch,
		.leader = log->leader,
		.holders = log->holders,
		.applied = log->applied,
	};
	struct sluice_msg msg = { .kind = KIND_SNAPSHOT, .stream = who, .counter = log->seen };
	struct sluice_buffer buf;
	ssize_t len;
	int ret = sluice_buffer_take(log->out, &buf, SLUICE_NOW);

	if (ret)
		return ret;
	memcpy(buf.data, &head, sizeof(head));
	len = log->ops.save(log->state, (char *)buf.data + sizeof(head),
			    log->out->bufsize - sizeof(head));
	if (len < 0 || (size_t)len > log->out->bufsize - sizeof(head)) {
		sluice_buffer_drop(log->out, &buf);
		return __sluice_err(len < 0 ? (int)len : -EMSGSIZE,
				    "log '%s': its state does not fit into a snapshot (%zu bytes); "
				    "create it with a larger state_max", log->in->name,
				    log->out->bufsize - sizeof(head));
	}
	msg.len = (u32)(sizeof(head) + (size_t)len);
	msg.buffer = buf.index;
	ret = sluice_post(log->out, &msg);
	if (ret < 0)
		sluice_buffer_drop(log->out, &buf);
	return ret < 0 ? ret : 0;
}

/* The holder with the lowest bit answers those who wait. */
static int answer(struct sluice_log *log)
{
	u64 left = log->wants & ~log->bit, there = recipients(log) & log->holders;

	if (!holds_state(log) || (there & -there) != log->bit)
		return 0;
	while (left) {
		struct want *want = want_of(log, left & -left);

		left &= left - 1;
		if (!want->answered) {
			int ret = post_snapshot(log, want->who);

			if (ret)
				return ret == -EAGAIN ? 0 : ret;
		}
		want->answered = true;
	}
	return 0;
}

/* --------------------------------------------------------------- receive --- */

/* True when it was applied. */
static bool entry(struct sluice_log *log, const struct sluice_msg *msg)
{
	int ret;

	if (msg->stream && (msg->stream != log->epoch || msg->counter != log->leader)) {
		log->fenced++;
		return false;
	}
	log->applied = msg->ticket;
	ret = log->ops.apply(log->state, msg->data, msg->len, msg->ticket);
	if (ret < 0)
		log->failed = ret;
	return true;
}

static void lead(struct sluice_log *log, const struct sluice_msg *msg)
{
	if (msg->stream != log->epoch + 1)
		return;		/* somebody was first */
	log->epoch = msg->stream;
	log->leader = msg->counter;
}

static void want(struct sluice_log *log, const struct sluice_msg *msg)
{
	u64 bit = msg->counter;

	if (!bit || bit & (bit - 1))
		return;		/* nonsense */
	/* Who asks has nothing; whoever had this bit before is gone. */
	log->holders &= ~bit;
	log->wants |= bit;
	*want_of(log, bit) = (struct want) { .who = msg->stream, .ticket = msg->ticket };
}

/* Somebody has its answer. */
static void answered(struct sluice_log *log, u64 who)
{
	u64 left = log->wants;

	while (left) {
		u64 bit = left & -left;

		left &= left - 1;
		if (want_of(log, bit)->who != who)
			continue;
		log->wants &= ~bit;
		log->holders |= bit;
	}
}

/* Who asks, and who has its answer. */
static void note(struct sluice_log *log, const struct sluice_msg *msg)
{
	if (msg->kind == KIND_WANT)
		want(log, msg);
	else if (msg->kind == KIND_SNAPSHOT)
		answered(log, msg->stream);
}

/* True when it was an entry that counts. Messages of other kinds are somebody else's: passed. */
static bool apply(struct sluice_log *log, const struct sluice_msg *msg)
{
	log->seen = msg->ticket;
	switch (msg->kind) {
	case KIND_ENTRY:
		return entry(log, msg);
	case KIND_LEAD:
		lead(log, msg);
		return false;
	default:
		note(log, msg);
		return false;
	}
}

/* ------------------------------------------------------------------ join --- */

static int keep(struct sluice_log *log, const struct sluice_msg *msg)
{
	struct kept *k = malloc(sizeof(*k) + msg->len);

	if (!k)
		return __sluice_err(-ENOMEM, "log '%s': no memory", log->in->name);
	k->next = NULL;
	k->msg = *msg;
	memcpy(k->data, msg->data, msg->len);
	k->msg.data = k->data;
	*log->kept_end = k;
	log->kept_end = &k->next;
	return 0;
}

static void forget_kept(struct sluice_log *log)
{
	while (log->kept) {
		struct kept *k = log->kept;

		log->kept = k->next;
		free(k);
	}
	log->kept_end = &log->kept;
}

/* The state is as of @position, and so is @holders: what came later is played. */
static void become_holder(struct sluice_log *log, u64 position, u64 holders)
{
	struct kept *k;

	/* Of those that the snapshot has in it: who still waits. */
	log->wants = 0;
	for (k = log->kept; k && ticket_diff(k->msg.ticket, position, log->in->order) <= 0;
	     k = k->next)
		note(log, &k->msg);
	log->holders = holders | log->bit;
	for (; k; k = k->next)
		apply(log, &k->msg);
	/* Our own question among it is answered. */
	log->wants &= ~log->bit;
	log->holders |= log->bit;
	forget_kept(log);
}

static int load(struct sluice_log *log, const struct sluice_msg *msg)
{
	struct head head;
	int ret;

	if (msg->len < sizeof(head))
		return __sluice_err(-EPROTO, "log '%s': a snapshot of %u bytes is none",
				    log->in->name, msg->len);
	memcpy(&head, msg->data, sizeof(head));
	ret = log->ops.load(log->state, (const char *)msg->data + sizeof(head),
			    msg->len - sizeof(head));
	if (ret < 0)
		return ret;
	log->epoch = head.epoch;
	log->leader = head.leader;
	log->applied = head.applied;
	become_holder(log, msg->counter, head.holders);
	return 0;
}

/* Of a joiner. */
static int joining(struct sluice_log *log, const struct sluice_msg *msg)
{
	int ret;

	if (msg->kind == KIND_SNAPSHOT && msg->stream == log->me)
		return load(log, msg);
	ret = keep(log, msg);
	if (ret)
		return ret;
	log->seen = msg->ticket;
	note(log, msg);
	return 0;
}

/* Every recipient asks, and this one asked first. */
static bool first_of_all(struct sluice_log *log, u64 there)
{
	u64 left = there;

	if (!(there & log->bit) || there & ~log->wants)
		return false;
	while (left) {
		u64 bit = left & -left;

		left &= left - 1;
		if (ticket_diff(want_of(log, bit)->ticket, want_of(log, log->bit)->ticket,
				log->in->order) < 0)
			return false;
	}
	return true;
}

/* One message, copied before it is believed. */
static int receive(struct sluice_log *log, struct sluice_msg *msg, int64_t timeout_ns)
{
	int ret = sluice_claim(log->in, msg, timeout_ns);

	if (ret)
		return ret;
	memcpy(log->scratch, msg->data, msg->len);
	msg->data = log->scratch;
	/* -ESTALE: put out, and the next claim says so */
	if (!sluice_holds(log->in, msg) || sluice_ack(log->in, msg))
		return -ENOTCONN;
	return 0;
}

static int join_look(struct sluice_log *log, int64_t timeout_ns)
{
	struct sluice_msg msg;
	u64 there = recipients(log);
	bool queued, any = false;
	int ret;

	sl_fence_acquire();
	queued = hint(&log->in->hints->queued);
	sl_fence_acquire();
	while (!(ret = receive(log, &msg, any ? SLUICE_NOW : timeout_ns))) {
		any = true;
		ret = joining(log, &msg);
		if (ret || holds_state(log))
			return ret;
	}
	if (ret != -EAGAIN)
		return ret;
	if (!any && !queued && first_of_all(log, there)) {
		/* there is nothing older, and its own question is the first thing that it knows */
		become_holder(log, want_of(log, log->bit)->ticket, 0);
	}
	return 0;
}

static int join(struct sluice_log *log, u64 deadline)
{
	u64 there = 0, before = 0;
	bool asked = false;
	int ret = 0;

	while (!ret && !holds_state(log)) {
		/* Who was to answer may have gone, and who is left may not know of the question. */
		if (before & ~there)
			asked = false;
		if (!asked) {
			ret = post(log, KIND_WANT, log->me, log->bit, NULL, 0);
			asked = !ret;
		}
		if (!ret || ret == -EAGAIN)
			ret = join_look(log, LOOK_EVERY_NS);
		if (!ret && !holds_state(log) && __sluice_now() >= deadline)
			return __sluice_err(-EAGAIN, "log '%s': no member gave a snapshot in time",
					    log->in->name);
		before = there;
		there = recipients(log);
	}
	return ret ? ret : log->failed;
}

static int check_stage(const struct sluice_log *log, const char *name)
{
	if (!log->bit || log->out->bufsize < sizeof(struct head))
		return __sluice_err(-EPROTO, "stage '%s' is no log: sluice_log_create() makes one",
				    name);
	return 0;
}

int sluice_log_create(const char *name, size_t state_max, unsigned int ack_timeout_ms)
{
	struct sluice_create c = {
		.nslots = SLOTS,
		.nbufs = BUFFERS,
		.policy = SLUICE_POLICY_BROADCAST,
		.ack_timeout_ms = ack_timeout_ms,
	};

	if (strlen(name) >= SLUICE_NAME_MAX || state_max > SLUICE_MAX_BUFFER_SIZE - sizeof(struct head))
		return __sluice_err(-EINVAL, "log '%s': name or state is too long", name);
	strcpy(c.name, name);
	c.bufsize = (u32)(state_max + sizeof(struct head));
	return sluice_create(&c);
}

int sluice_log_join(struct sluice_ctx *ctx, const char *name, const struct sluice_log_ops *ops,
		    void *state, int64_t timeout_ns, struct sluice_log **out)
{
	struct sluice_log *log = calloc(1, sizeof(*log));
	size_t longest;
	int ret;

	if (!log)
		return __sluice_err(-ENOMEM, "log '%s': no memory", name);
	log->ops = *ops;
	log->state = state;
	log->kept_end = &log->kept;
	ret = getrandom(&log->me, sizeof(log->me), 0) == sizeof(log->me) ? 0 : -errno;
	if (!ret)
		ret = sluice_attach(ctx, name, SLUICE_CONSUMER, 0, &log->in);
	if (!ret)
		ret = sluice_attach(ctx, name, SLUICE_PRODUCER, 0, &log->out);
	if (!ret) {
		log->bit = log->in->recipient;
		ret = check_stage(log, name);
	}
	if (!ret) {
		longest = log->in->bufsize > SLUICE_INLINE_MAX ? log->in->bufsize : SLUICE_INLINE_MAX;
		log->scratch = malloc(longest);
		ret = log->scratch ? join(log, deadline_of(timeout_ns)) : -ENOMEM;
	}
	if (ret) {
		sluice_log_leave(log);
		return ret;
	}
	*out = log;
	return 0;
}

void sluice_log_leave(struct sluice_log *log)
{
	if (!log)
		return;
	sluice_detach(log->in);
	sluice_detach(log->out);
	forget_kept(log);
	free(log->scratch);
	free(log);
}

/* ------------------------------------------------------------------ step --- */

/* Until when to wait at most: who is there may change without a message. */
static int64_t slice(const struct sluice_log *log, u64 deadline)
{
	u64 now = __sluice_now();
	bool waits = log->wants & ~log->bit;

	if (deadline == DEADLINE_NOW || now >= deadline)
		return SLUICE_NOW;
	if (waits && deadline - now > LOOK_EVERY_NS)
		return LOOK_EVERY_NS;
	return deadline == DEADLINE_NEVER ? SLUICE_FOREVER : (int64_t)(deadline - now);
}

int sluice_log_step(struct sluice_log *log, int64_t timeout_ns)
{
	u64 deadline = deadline_of(timeout_ns);

	for (;;) {
		struct sluice_msg msg;
		int ret = answer(log);
		int64_t wait = slice(log, deadline);

		if (ret)
			return ret;
		ret = receive(log, &msg, wait);
		if (ret == -EAGAIN && wait != SLUICE_NOW && wait != SLUICE_FOREVER)
			continue;
		if (ret)
			return ret;
		if (!apply(log, &msg))
			continue;
		ret = log->failed;
		log->failed = 0;
		return ret;
	}
}

uint64_t sluice_log_position(const struct sluice_log *log)
{
	return log->applied;
}

uint64_t sluice_log_epoch(const struct sluice_log *log)
{
	return log->epoch;
}

bool sluice_log_leads(const struct sluice_log *log)
{
	return log->epoch && log->leader == log->me;
}

uint64_t sluice_log_fenced(const struct sluice_log *log)
{
	return log->fenced;
}
