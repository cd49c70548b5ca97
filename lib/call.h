/* SPDX-License-Identifier: MIT */
/* call.h: what caller.c, which makes callers, and call.c, which calls, share. Not installed. */
#ifndef SLUICE_LIB_CALL_H
#define SLUICE_LIB_CALL_H

#include <sys/queue.h>

#include "internal.h"
#include "envelope.h"

/**
 * enum call_state - who has a place of the window
 * @CALL_FREE:	nobody; on the list @free
 * @CALL_LIVE:	the request is sent, nothing has come of it
 * @CALL_OVER:	it ended, and nobody has asked how; on the list @over
 * @CALL_HELD:	its reply is being read by the application
 */
enum call_state { CALL_FREE, CALL_LIVE, CALL_OVER, CALL_HELD };

/**
 * struct call - a place in the window
 * @id:		of the call, 0: free; read by whoever cancels
 * @cancelled:	the @id that is to be cancelled
 * @deadline:	in ticks, 0: none; what the envelope says
 * @expires:	the same in ns of __sluice_now()
 * @op:		the request's send, until its completion
 * @result:	0 or negative errno, with @outcome
 * @in_place:	the reply's payload is in a buffer of the stage, claimed by @msg
 * @moved:	memory it was moved to, since the ring needed the place
 * @data:	a small reply, or the reason of a refusal
 */
struct call {
	u64			id;
	u64			cancelled;
	enum call_state		state;
	TAILQ_ENTRY(call)	link;
	u64			deadline;
	u64			expires;
	struct send_op		*op;
	int			result;
	enum sluice_call_outcome outcome;
	bool			in_place;
	void			*moved;
	struct sluice_msg	msg;
	char			stage[SLUICE_NAME_MAX];
	char			data[ENVELOPE_REASON_MAX + 1];
};

TAILQ_HEAD(call_list, call);

/**
 * struct sluice_caller - whoever calls
 * @in:		consumer of the reply stage
 * @holder:	producer of it, for the sake of the board's buffer
 * @sequence:	of the next call's number
 * @pending:	calls that nobody has collected
 * @cancels:	how often somebody asked for a cancellation
 * @cancels_seen: those that were looked at
 * @in_place:	replies that keep a slot and a buffer
 */
struct sluice_caller {
	struct sluice_ctx	*ctx;
	struct sluice_ep	*in;
	struct sluice_ep	*holder;
	struct sluice_buffer	board;
	u64			id;
	u64			sequence;
	u64			ticks_per_ns;	/* 32.32 fixed point */
	u32			flags;
	u32			window;
	u32			pending;
	u32			in_place;
	u32			cancels;
	u32			cancels_seen;
	struct call_list	free;
	struct call_list	over;
	struct sluice_caller_counters count;
	struct call		*calls;
	char			stage[SLUICE_NAME_MAX];
};

void __sluice_call_drop_payload(struct sluice_caller *c, struct call *call);

#endif /* SLUICE_LIB_CALL_H */
