/* SPDX-License-Identifier: MIT */
/*
 * client.h - ask a pipeline for text and receive it token by token
 *
 *	struct client *c;
 *	struct client_event ev;
 *
 *	client_open(NULL, &c);
 *	client_submit(c, &(struct client_request){ .text = "Once upon a time", .len = 16,
 *						   .raw = true, .max_tokens = 24 }, &stream);
 *	while (!client_next(c, &ev, CLIENT_FOREVER)) {
 *		fwrite(ev.text, 1, ev.text_len, stdout);
 *		if (ev.type != CLIENT_TEXT)
 *			break;
 *	}
 *	client_close(c);
 *
 * A client owns a private reply stage, made by client_open() and destroyed by client_close(); when
 * the process dies without that, the pipeline notices and stops its streams. Tokens of a stream
 * arrive in order and once, whatever is killed in between.
 *
 * Functions return 0 or a negative errno value; client_error() has the sentence. A client belongs
 * to one thread.
 */
#ifndef SLUICE_CLIENT_H
#define SLUICE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <sluice/sluice.h>

#include "../stages/message.h"

#define CLIENT_FOREVER	SLUICE_FOREVER

struct client;

/**
 * struct client_options - all zero means the defaults
 * @stages:	names of the pipeline's stages by enum msg_stage; NULL = embedding, encoder, ...
 * @ctx_flags:	SLUICE_CTX_*
 * @reply_slots: replies that may wait unread before the stream is given up; 0 = 4096
 */
struct client_options {
	const char	*stages[MSG_CLIENT];
	unsigned int	ctx_flags;
	uint32_t	reply_slots;
};

struct client_turn {
	enum msg_role	role;
	const char	*content;	/* any bytes */
	size_t		len;
};

/**
 * struct client_request - what to answer and how
 * @turns:	a conversation, rendered by the model's chat template; or
 * @text:	with @raw: text to continue as it is; without: one turn of the user
 * @parse_special: with @raw: "<|im_start|>" and the like in the text are the tokens
 * @max_tokens:	tokens to generate; 0 = until the context is full
 * @temperature: 0 = greedy
 * @top_k:	0 = all
 * @top_p:	0 is taken as 1 = all
 * @stops:	at most MSG_MAX_STOPS strings of 1 to MSG_MAX_STOP - 1 bytes
 * @model:	the one that it is for, where rules between the stages choose by it; NULL = any
 * @deadline:	when the answer is wanted, ns of CLOCK_MONOTONIC, for rules likewise; 0 = no matter
 */
struct client_request {
	const struct client_turn *turns;
	size_t		n_turns;
	const char	*text;
	size_t		len;
	bool		raw;
	bool		parse_special;
	bool		ignore_eos;
	uint32_t	max_tokens;
	float		temperature;
	uint32_t	top_k;
	float		top_p;
	uint64_t	seed;
	const char *const *stops;
	size_t		n_stops;
	const char	*model;
	uint64_t	deadline;
};

enum client_event_type {
	CLIENT_TEXT	= 1,	/* one more token */
	CLIENT_END	= 2,	/* over; may carry the last token and its text */
	CLIENT_ERROR	= 3,	/* over; text and the members error* say why */
};

/**
 * struct client_event - pointers are valid until the next call for this client
 * @index:	of the token among the generated ones, from 0
 * @token:	its id, -1 if the event brings none
 * @text:	what it adds, valid UTF-8, not NUL terminated, maybe empty; ERROR: the message
 * @prompt_ids:	with index 0: the prompt as the model sees it; else NULL. @n_prompt always counts
 * @error:	negative errno
 * @error_stage: which of the pipeline's stages failed, MSG_CLIENT if none of them
 * @error_name:	as its ring is called; "" if it does not say
 * @error_attempt: how often the message had been claimed, 0 if it is not known
 * @retry_after_ms: with -EBUSY and -EHOSTDOWN: when it is worth trying again, 0 if it does not say
 * @hops:	the token's way here; the last one is MSG_CLIENT
 */
struct client_event {
	enum client_event_type type;
	uint64_t	stream;
	uint64_t	index;
	int32_t		token;
	const char	*text;
	size_t		text_len;
	enum msg_reason	reason;
	int		error;
	enum msg_stage	error_stage;
	const char	*error_name;
	uint32_t	error_attempt;
	uint32_t	retry_after_ms;
	uint32_t	n_prompt;
	uint32_t	n_generated;
	const int32_t	*prompt_ids;
	uint32_t	n_hops;
	struct msg_hop	hops[MSG_MAX_HOPS];
};

/**
 * client_open() - connect to a pipeline: make and attach to a reply stage
 * @opt:	NULL = defaults
 * Return: 0, -ENOENT (no module, or the pipeline is not up), -EACCES, -ENOSPC, -ENOMEM.
 */
int client_open(const struct client_options *opt, struct client **out);

/** client_close() - cancel what still runs, destroy the reply stage; NULL is allowed */
void client_close(struct client *c);

/**
 * client_submit() - send a request; several may be under way at once
 * @stream:	out: its id in events
 * Return: 0, -EINVAL (parameters), -EMSGSIZE (longer than a buffer of the first stage), -EAGAIN
 * (the pipeline takes nothing at the moment).
 */
int client_submit(struct client *c, const struct client_request *r, uint64_t *stream);

/**
 * client_next() - the next event of any stream
 *
 * A stage that nobody serves is no error: a supervisor may be restarting it, and the stream goes on
 * then. Whoever waits for a person calls with a timeout and asks client_stalled() after it.
 *
 * Return: 0, -EAGAIN (nothing in time), -EINTR (signal, or client_interrupt()), -ENOENT (no stream
 * is under way), -ESHUTDOWN (the pipeline was taken down).
 */
int client_next(struct client *c, struct client_event *ev, int64_t timeout_ns);

/** client_cancel() - stop a stream; its CLIENT_END with MSG_REASON_CANCEL still comes */
int client_cancel(struct client *c, uint64_t stream);

/** client_interrupt() - async-signal-safe: client_next() returns -EINTR once */
void client_interrupt(struct client *c);

/** client_stalled() - name of a stage that nobody serves right now, or NULL if all are served */
const char *client_stalled(struct client *c);

/** client_error() - what the last failed call of this thread says: one line, no newline */
const char *client_error(void);

/* ---------------------------------------------------------------- timing --- */

/* Where the time of a stream or of many went, hop by hop. */
struct client_stats;

/** struct client_stats_row - one hop; times in nanoseconds */
struct client_stats_row {
	enum msg_stage	stage;
	uint64_t	messages;
	uint64_t	bytes;
	uint64_t	queue_p50, queue_p99;
	uint64_t	service_p50, service_p99;
	uint64_t	queue_total, service_total;
	double		share;		/* of the sum of all hops' queueing and service */
};

int client_stats_create(struct client_stats **out);
void client_stats_free(struct client_stats *s);

/** client_stats_add() - count an event; call it for each one, in order. Return: 0, -ENOMEM */
int client_stats_add(struct client_stats *s, const struct client_event *ev);

/** client_stats_row() - 0, or -ENOENT for a stage that no message passed */
int client_stats_row(const struct client_stats *s, enum msg_stage stage,
		     struct client_stats_row *row);

/** client_stats_rate() - tokens a second from the first token to the last; 0 for fewer than two */
double client_stats_rate(const struct client_stats *s);

/** client_stats_first() - nanoseconds from the request to the first token */
uint64_t client_stats_first(const struct client_stats *s);

/** client_stats_print() - the table, as `sluicectl run --stats` shows it */
void client_stats_print(const struct client_stats *s, FILE *f);

#endif /* SLUICE_CLIENT_H */
