/* SPDX-License-Identifier: MIT */
/*
 * history.h: what every process of a run did, in logs that outlive kill -9, and the checker that
 * reads them.
 *
 *	history.c	the logs
 *	check.c		puts the logs in order, decides
 *	rules.c		what must hold of a ticket, of a message, of a stream
 *	broadcast.c	the same where everybody gets everything
 *	text.c		logs as lines of text, for eyes and for tests
 *	main.c		history-check: the checker for a file
 *
 * A log has one writer at a time. An event is a store of 64 bytes followed by a release store of
 * the count, into memory that is shared with a file or with the parent: a writer that is killed at
 * any instruction leaves whole events only. What a writer is about to do it says before
 * (HISTORY_SEND, HISTORY_ACK), what came of it afterwards. A log that ends between the two, or goes
 * on with the HISTORY_START of a successor, says "maybe": both outcomes are allowed then, nothing
 * else is.
 *
 *	producer			consumer
 *	SEND		maybe		DELIVERED	claimed, read, compared
 *	  publish			SEND, SENT	what it made of it, on the next lane
 *	SENT, or UNSENT	certain		ACK		maybe
 *	TOLD, or FAILED	the ACK came	  ack
 *					ACKED, or STALE	certain
 */
#ifndef SLUICE_TEST_HISTORY_H
#define SLUICE_TEST_HISTORY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum history_what {
	HISTORY_NOTHING,
	HISTORY_START,		/* a new writer of this log; @id its endpoint on @lane; of a
				 * broadcast's member @ticket is the first that it is to get */
	HISTORY_END,		/* of a broadcast's member: it ends, and has had everything */
	HISTORY_SEND,		/* about to publish */
	HISTORY_SENT,		/* published; @ticket, or HISTORY_NO_TICKET when only accepted */
	HISTORY_UNSENT,		/* certainly not published */
	HISTORY_TOLD,		/* the sender was told of its ACK */
	HISTORY_FAILED,		/* the sender was told that it is a dead letter */
	HISTORY_DELIVERED,	/* claimed; @ticket, @attempt */
	HISTORY_CORRUPT,	/* claimed, and it is not what was sent */
	HISTORY_ACK,		/* about to acknowledge @ticket, @attempt */
	HISTORY_ACKED,		/* it was still the caller's */
	HISTORY_STALE,		/* it was not */
	HISTORY_NACKED,		/* given back, and it was still the caller's */
	HISTORY_DEAD,		/* read in the dead-letter stage of @lane; its original @ticket */
	HISTORY_DROPPED,	/* @value dead letters were dropped for want of room */
	HISTORY_EFFECT,		/* left the end of the pipe, for good; it came in on @lane */
	HISTORY_GAVE_UP,	/* the end of the pipe goes on without it: it is a dead letter */
	HISTORY_GENERATION,	/* @value was seen in the hints of @lane */
	HISTORY_KILL,		/* the writer of log @value dies now; by whoever kills it */
	HISTORY_LEFT,		/* in the end @value things of kind @id are left on @lane */
	HISTORY_WHATS,
};

#define HISTORY_NO_TICKET	(~0ull)
#define HISTORY_MAX_LOGS	64
#define HISTORY_MAX_LANES	8

/**
 * struct history_event - one thing that happened
 * @time:	ns, CLOCK_MONOTONIC; 0: history_add() looks at the clock
 * @ticket:	sequence number on @lane
 * @value:	as the kind of event says
 * @id:		endpoint that did it
 * @lane:	which stage
 * @attempt:	of a delivery, 1 is the first
 */
struct history_event {
	uint64_t	time;
	uint64_t	stream;
	uint64_t	counter;
	uint64_t	ticket;
	uint64_t	value;
	uint32_t	id;
	uint16_t	attempt;
	uint8_t		what;
	uint8_t		lane;
	uint64_t	unused[2];
};

struct history;

/**
 * history_create() - empty logs
 * @path:	a new file, or NULL: memory that only children share
 * @nlogs:	at most HISTORY_MAX_LOGS
 * @nevents:	room in each log; a log that is full is a violation
 * Return: 0 or a negative errno value.
 */
int history_create(struct history **h, const char *path, unsigned int nlogs, uint64_t nevents);
/** history_open() - an existing file, to be read. Return: 0, -EBADMSG (no history), -errno. */
int history_open(struct history **h, const char *path);
void history_close(struct history *h);
/** history_reset() - empty again, while nobody writes */
void history_reset(struct history *h);
/** history_save() - a copy of the logs as a file. Return: 0 or a negative errno value. */
int history_save(const struct history *h, const char *path);

unsigned int history_logs(const struct history *h);
/** history_add() - append to log @log; when it is full the event is lost and the log says so */
void history_add(struct history *h, unsigned int log, struct history_event e);
/** history_read() - the events of a log so far; *@n how many */
const struct history_event *history_read(const struct history *h, unsigned int log, uint64_t *n);
/** history_full() - how many events found no room */
uint64_t history_full(const struct history *h, unsigned int log);
uint64_t history_now(void);

/**
 * history_parse() - append what a text says: a line is an event, # begins a comment
 *
 *	LOG WHAT [lane=N] [stream=N] [counter=N] [ticket=N] [attempt=N] [id=N] [value=N] [time=N]
 *
 * Return: 0, or the number of the line that is wrong.
 */
unsigned int history_parse(struct history *h, const char *text);
/** history_write() - the same text, of all logs, in order of time. 0 or -ENOMEM. */
int history_write(const struct history *h, FILE *to);

/* ---------------------------------------------------------------- checking --- */

/* What can be wrong. The names are in check.c. */
enum history_violation {
	HISTORY_LOST,		/* sent for certain; neither acknowledged nor a dead letter */
	HISTORY_FALSE_TOLD,	/* the sender was told of an ACK that nobody gave */
	HISTORY_FALSE_FAILED,	/* the sender was told of a dead letter that does not exist */
	HISTORY_INVENTED,	/* delivered more often than sent */
	HISTORY_MIXED,		/* one ticket, two messages */
	HISTORY_DAMAGED,	/* delivered, but not what was sent */
	HISTORY_SAME_ATTEMPT,	/* one attempt was given to two */
	HISTORY_ATTEMPTS,	/* more attempts than allowed */
	HISTORY_ACKED_TWICE,	/* two ACKs of one ticket were accepted */
	HISTORY_AFTER_ACK,	/* delivered again after its ACK was accepted */
	HISTORY_DEAD_ACKED,	/* acknowledged and a dead letter */
	HISTORY_NOT_CLAIMED,	/* acknowledged without having been delivered to this process */
	HISTORY_CONSUMER_ORDER,	/* a consumer saw first deliveries out of order */
	HISTORY_PRODUCER_ORDER,	/* a later send of one producer has an older ticket */
	HISTORY_TIME_ORDER,	/* a send that began after another had ended has an older ticket */
	HISTORY_EFFECT_TWICE,	/* one message had two effects at the end of the pipe */
	HISTORY_EFFECT_ORDER,	/* a stream left the pipe out of order, or with a gap */
	HISTORY_EFFECT_MISSING,	/* sent for certain, and nothing came out */
	HISTORY_GAP,		/* a member of a broadcast missed a message */
	HISTORY_EARLY,		/* it got one that is older than what it joined at */
	HISTORY_FREED,		/* a message was over without the ACK of a living member */
	HISTORY_EPOCH,		/* a generation went backwards */
	HISTORY_ID_REUSED,	/* two endpoints with one number at the same time */
	HISTORY_STUCK,		/* something is left in the end */
	HISTORY_NO_END,		/* nobody looked whether something is left */
	HISTORY_EMPTY,		/* nothing was sent or nothing delivered: proves nothing */
	HISTORY_OVERFLOW,	/* a log was full */
	HISTORY_NONSENSE,	/* an event that nobody can have written */
	HISTORY_VIOLATIONS,
};

/**
 * struct history_rules - what holds in this run besides what always holds
 * @max_attempts: claims of one ticket, by lane; 0: at most 254
 * @effects:	lanes, as bits, whose messages leave an end of the pipe: each stream in order, once,
 *		without gaps
 * @late:	a policy chooses consumers: what was for one who died or did not come is first
 *		delivered to another, who may have had younger messages by then
 * @broadcast:	everybody gets everything: attempts, and who has a message, mean nothing
 * @unfinished:	the run was cut off: nothing is said about what is missing or left
 */
struct history_rules {
	unsigned int	max_attempts[HISTORY_MAX_LANES];
	unsigned int	effects;
	bool		late;
	bool		broadcast;
	bool		unfinished;
};

#define HISTORY_WHYS		8
#define HISTORY_WHY_MAX		200

/**
 * struct history_result - what the checker found
 * @found:	violations by kind; @nfound: all of them
 * @why:	the first ones in words
 * @maybe:	sends and ACKs of which nobody knows what became
 * @again:	deliveries of something that had been delivered before
 * @latency:	ns from a death to the redelivery of what it held, sorted; freed by
 *		history_result_free()
 */
struct history_result {
	uint64_t	found[HISTORY_VIOLATIONS], nfound;
	char		why[HISTORY_WHYS][HISTORY_WHY_MAX];
	uint64_t	events, sends, sent, told, delivered, again, acked, stale, maybe;
	uint64_t	dead, effects, gave_up, kills;
	uint64_t	*latency, nlatency;
};

const char *history_violation_name(enum history_violation v);
/** history_check() - is all of it allowed? Return: 0 (see @res->nfound) or -ENOMEM. */
int history_check(const struct history *h, const struct history_rules *rules,
		  struct history_result *res);
/** history_result_add() - sum up the rounds of a run; @round is emptied. 0 or -ENOMEM. */
int history_result_add(struct history_result *sum, struct history_result *round);
void history_result_free(struct history_result *res);
/** history_percentile() - of the sorted latencies, in ns; 0 when there are none */
uint64_t history_percentile(const struct history_result *res, unsigned int percent);
/** history_print() - figures, and violations if any, as TAP comments on stdout */
void history_print(const struct history_result *res);

#endif /* SLUICE_TEST_HISTORY_H */
