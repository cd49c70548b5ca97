// SPDX-License-Identifier: MIT
/* breaker.c - a circuit breaker, without clock and without work */

#include <string.h>

#include "breaker.h"

void breaker_init(struct breaker *b, const struct breaker_policy *policy)
{
	memset(b, 0, sizeof(*b));
	b->policy = *policy;
	if (b->policy.failures < 1)
		b->policy.failures = 1;
	if (b->policy.failures > BREAKER_MAX_FAILURES)
		b->policy.failures = BREAKER_MAX_FAILURES;
	if (b->policy.backoff_max_ns < b->policy.backoff_ns)
		b->policy.backoff_max_ns = b->policy.backoff_ns;
	b->backoff_ns = b->policy.backoff_ns;
}

bool breaker_allow(struct breaker *b, uint64_t now)
{
	switch (b->state) {
	case BREAKER_CLOSED:
		return true;
	case BREAKER_OPEN:
		if (now < b->retry_at)
			return false;
		b->state = BREAKER_HALF_OPEN;
		return true;
	case BREAKER_HALF_OPEN:
		break;
	}
	return false;
}

bool breaker_success(struct breaker *b)
{
	bool closes = b->state != BREAKER_CLOSED;

	b->state = BREAKER_CLOSED;
	b->count = 0;
	b->backoff_ns = b->policy.backoff_ns;
	return closes;
}

static void open_at(struct breaker *b, uint64_t now)
{
	b->state = BREAKER_OPEN;
	b->retry_at = now + b->backoff_ns;
	b->backoff_ns = b->backoff_ns > b->policy.backoff_max_ns / 2 ? b->policy.backoff_max_ns :
								       2 * b->backoff_ns;
	b->trips++;
}

/* Are the last policy.failures of them within the window? */
static bool too_many(const struct breaker *b, uint64_t now)
{
	uint32_t n = b->policy.failures;
	uint32_t oldest = (b->next + BREAKER_MAX_FAILURES - n) % BREAKER_MAX_FAILURES;

	return b->count >= n && now - b->at[oldest] <= b->policy.window_ns;
}

bool breaker_failure(struct breaker *b, uint64_t now)
{
	b->at[b->next] = now;
	b->next = (b->next + 1) % BREAKER_MAX_FAILURES;
	if (b->count < UINT32_MAX)
		b->count++;
	switch (b->state) {
	case BREAKER_CLOSED:
		if (!too_many(b, now))
			return false;
		break;
	case BREAKER_HALF_OPEN:
		break;
	case BREAKER_OPEN:	/* of work that was begun before it opened */
		return false;
	}
	open_at(b, now);
	return true;
}

void breaker_skip(struct breaker *b, uint64_t now)
{
	if (b->state != BREAKER_HALF_OPEN)
		return;
	b->state = BREAKER_OPEN;
	b->retry_at = now;
}

uint64_t breaker_retry_ns(const struct breaker *b, uint64_t now)
{
	return b->state == BREAKER_OPEN && b->retry_at > now ? b->retry_at - now : 0;
}

const char *breaker_state_name(unsigned int state)
{
	static const char *const names[] = { "closed", "open", "half-open" };

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}
