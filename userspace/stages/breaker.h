/* SPDX-License-Identifier: MIT */
/*
 * breaker.h - a circuit breaker: what fails repeatedly is shut off and tried again later
 *
 *	CLOSED	--too many failures within the window-->	OPEN
 *	OPEN	--the backoff is over: one probe-->		HALF_OPEN
 *	HALF_OPEN --the probe succeeds-->			CLOSED
 *	HALF_OPEN --the probe fails-->				OPEN, twice as long
 *
 * A pure state machine: the caller brings the time and does the work. The idea is Nygard's
 * ("Release It!", 2007); names and states are those that everybody uses since.
 */
#ifndef SLUICE_BREAKER_H
#define SLUICE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_MAX_FAILURES 32u

enum breaker_state { BREAKER_CLOSED = 0, BREAKER_OPEN = 1, BREAKER_HALF_OPEN = 2 };

/**
 * struct breaker_policy - when and for how long
 * @failures:	so many without a success between them open it, 1 to BREAKER_MAX_FAILURES
 * @window_ns:	all of them within so long
 * @backoff_ns:	how long it stays open the first time; each failed probe doubles it
 * @backoff_max_ns: up to this
 */
struct breaker_policy {
	uint32_t	failures;
	uint64_t	window_ns;
	uint64_t	backoff_ns;
	uint64_t	backoff_max_ns;
};

/**
 * struct breaker - one of them; all members are the functions' own
 * @at:		when the last failures were, a ring; @next is where the next one goes
 * @count:	failures since the last success
 * @trips:	how often it opened
 */
struct breaker {
	struct breaker_policy	policy;
	enum breaker_state	state;
	uint64_t		at[BREAKER_MAX_FAILURES];
	uint32_t		next;
	uint32_t		count;
	uint64_t		backoff_ns;
	uint64_t		retry_at;
	uint64_t		trips;
};

/** breaker_init() - closed; numbers of @policy that make no sense become the nearest that do */
void breaker_init(struct breaker *b, const struct breaker_policy *policy);

/**
 * breaker_allow() - may work be begun now?
 *
 * When it is open and its time has come the answer is yes once, for the probe; then no until
 * breaker_success(), breaker_failure() or breaker_skip() has said what became of it.
 */
bool breaker_allow(struct breaker *b, uint64_t now);

/** breaker_success() - work went well. Return: true if this closed it */
bool breaker_success(struct breaker *b);

/** breaker_failure() - it did not. Return: true if this opened it */
bool breaker_failure(struct breaker *b, uint64_t now);

/** breaker_skip() - the probe said nothing about the work (its input was wrong): another one may go */
void breaker_skip(struct breaker *b, uint64_t now);

/** breaker_retry_ns() - how long until work may be begun again; 0 if it is not open */
uint64_t breaker_retry_ns(const struct breaker *b, uint64_t now);

/** breaker_state_name() - "closed", "open", "half-open"; never NULL */
const char *breaker_state_name(unsigned int state);

#endif /* SLUICE_BREAKER_H */
