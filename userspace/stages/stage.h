/* SPDX-License-Identifier: MIT */
/*
 * stage.h - what the four daemons share: options, signals, the claim loop, publishing
 *
 * A daemon fills in a struct stage_ops and calls stage_main(). Its run() gets claimed messages that
 * msg_read() has accepted, and must settle each of them with exactly one of
 *
 *	stage_ack()		done: its results are published, or it is a copy of one that was
 *	stage_error()		the request cannot be served: its client is told
 *	stage_later()		not now: its client is told when to come again
 *	stage_refuse()		the message is malformed: dead letter, and its client is told
 *
 * or by a failing stage_result() or stage_publish(), which settle it themselves. Nobody waits for
 * room for long while holding a claim: when no buffer comes free in time the claim is given back.
 */
#ifndef SLUICE_STAGE_H
#define SLUICE_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include <sluice/route.h>
#include <sluice/sluice.h>

#include "../model/error.h"
#include "../model/llama.h"
#include "board.h"
#include "message.h"

#define STAGE_MAX_BATCH	64u

/* A stream that nobody has heard of for so long is over, whatever became of its end. */
#define STREAM_IDLE_NS	(300 * 1000000000ull)

/* Rings that a daemon produces for: by enum msg_stage, then the next shard, then those of rules. */
#define STAGE_NEXT	MSG_CLIENT
#define STAGE_ROUTED	(STAGE_NEXT + 1)
#define STAGE_OUTPUTS	(STAGE_ROUTED + SLUICE_ROUTE_STAGES)

struct stage;

/**
 * struct stage_input - a claimed message
 * @v:		its payload, checked; not set for FREE
 * @claimed:	when, in sluice_ticks()
 */
struct stage_input {
	struct sluice_msg	m;
	struct msg_view		v;
	uint64_t		claimed;
};

/**
 * struct stage_result - a message to another stage, being built in one of its buffers
 * @to:		which output
 * @hop:	this stage's entry in the timing chain; NULL if the chain is full or was cut
 */
struct stage_result {
	unsigned int		to;
	struct sluice_buffer	buf;
	struct msg_write	w;
	struct msg_hop		*hop;
};

/**
 * struct stage_ops - one daemon
 * @self:	whose ring it consumes
 * @summary:	for --help, one line
 * @accepts:	kinds of messages, bits by enum msg_kind; others are refused
 * @outputs:	rings it produces for, bits by enum msg_stage
 * @routed:	the one of @outputs that --route rules choose among; 0: it takes no rules
 * @sharded:	it may hold a part of the layers: --layers, --shard, --next
 * @batches:	run() wants as many messages as there are, up to --batch
 * @expect:	messages that come at the same time if they come, so that it is worth waiting a
 *		moment for them; NULL = never
 * @open:	load the model; 0 or a negative errno with a line in @err
 * @run:	work; @n is at least 1
 * @fail:	how an error reaches the client; NULL = by an ERROR message to the output stage
 * @takes:	declaration of types for a stage whose pipeline declares none; NULL = all of its kinds
 */
struct stage_ops {
	enum msg_stage	self;
	const char	*summary;
	unsigned int	accepts;
	unsigned int	outputs;
	enum msg_stage	routed;
	bool		sharded;
	bool		batches;
	uint32_t	(*expect)(struct stage *st);
	int		(*open)(struct stage *st, struct model_error *err);
	void		(*run)(struct stage *st, struct stage_input *in, int n);
	void		(*close)(struct stage *st);
	void		(*fail)(struct stage *st, struct stage_input *in,
				const struct msg_failure *failure);
	const char	*takes;
};

/**
 * struct stage_options - from the command line
 * @n_ctx:	tokens a stream may have
 * @max_streams: streams under way at once
 * @chunk:	tokens that prefill computes at once
 * @batch:	streams that decoder computes at once
 * @gather_us:	how long it waits for the next one of them
 * @layer_first, @layer_last: layers of this shard, [first, last); 0, 0 = all, or by @shard
 * @shard, @n_shards: which of so many equal parts, from 1; 0 = not said
 * @next:	ring of the shard behind this one; NULL = it is the last
 * @routes:	rules of --route and SLUICE_ROUTES
 */
struct stage_options {
	const char	*names[MSG_CLIENT];
	const char	*model;
	uint32_t	n_ctx;
	uint32_t	max_streams;
	uint32_t	chunk;
	uint32_t	batch;
	uint32_t	gather_us;
	uint32_t	layer_first;
	uint32_t	layer_last;
	uint32_t	shard;
	uint32_t	n_shards;
	const char	*next;
	struct sluice_routes routes;
	int		cpu;
	unsigned int	spin_us;
	bool		no_uring;
	bool		verbose;
};

/* Claims that were given back for want of room: their next attempts are not failures. */
#define STAGE_BUSY_MEMORY 16u
struct stage_busy {
	uint64_t	ticket;
	uint32_t	count;
};

struct stage {
	const struct stage_ops	*ops;
	struct stage_options	opt;
	struct sluice_ctx	*ctx;
	struct sluice_ep	*in;
	struct sluice_ep	*out[STAGE_OUTPUTS];
	struct sluice_buffer	spare[STAGE_OUTPUTS];	/* taken before the claim */
	bool			has_spare[STAGE_OUTPUTS];
	struct stage_busy	busy[STAGE_BUSY_MEMORY];
	unsigned int		busy_next;
	struct trouble		*trouble;		/* trouble.c */
	void			*priv;			/* the daemon's own */
};

/** stage_main() - all of main(); returns the exit status */
int stage_main(int argc, char **argv, const struct stage_ops *ops);

/** stage_log() - one line on stderr with the daemon's name; a flood is cut short */
void stage_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/** stage_progress() - a weights_progress_fn that logs every tenth part */
void stage_progress(void *ctx, const char *what, uint64_t done, uint64_t total);

/**
 * stage_need() - check at start that buffers of ring @to hold @bytes; -EMSGSIZE with the remedy
 *
 * For the output that rules choose: those of all its rings.
 */
int stage_need(struct stage *st, unsigned int to, size_t bytes, struct model_error *err);

/**
 * stage_result() - begin a message to @to that continues the stream of @in
 * @to:		an output; of the one that has rules the first that matches names the ring
 * @n_tokens, @data_bytes: see msg_begin()
 *
 * Return: 0; otherwise @in has been settled.
 */
int stage_result(struct stage *st, struct stage_input *in, unsigned int to, enum msg_kind kind,
		 uint32_t n_tokens, size_t data_bytes, struct stage_result *r);

/** stage_drop() - forget a result that was begun */
void stage_drop(struct stage *st, struct stage_result *r);

/**
 * stage_holds() - is the claim still ours? Ask before the first publish (rule P12)
 * Return: true; if false @in needs no settling any more.
 */
bool stage_holds(struct stage *st, struct stage_input *in);

/**
 * stage_publish() - send a result
 * @counter:	of the message
 * @batch:	streams that were computed together, for the timing chain
 *
 * Return: 0; otherwise @in has been settled and the result dropped.
 */
int stage_publish(struct stage *st, struct stage_input *in, struct stage_result *r,
		  uint64_t counter, uint32_t batch);

/** stage_free() - tell @to that a stream is over */
void stage_free(struct stage *st, unsigned int to, uint64_t stream);

void stage_ack(struct stage *st, struct stage_input *in);
void stage_refuse(struct stage *st, struct stage_input *in, const char *why);
/** stage_give_back() - not now: somebody else, or this process later */
void stage_give_back(struct stage *st, struct stage_input *in);
void stage_error(struct stage *st, struct stage_input *in, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/** stage_later() - stage_error() with EBUSY, which is no failure, and when it is worth trying again */
void stage_later(struct stage *st, struct stage_input *in, uint32_t retry_ms, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/** stage_out() - the ring @to, or NULL while it does not exist: then messages for it are errors */
struct sluice_ep *stage_out(struct stage *st, unsigned int to);

/** stage_out_name() - what the ring @to is called, whether it exists or not */
const char *stage_out_name(const struct stage *st, unsigned int to);

/** stage_hop() - fill in this stage's entry of a timing chain, all but @done */
void stage_hop(const struct stage *st, const struct stage_input *in, struct msg_hop *hop);

#endif /* SLUICE_STAGE_H */
