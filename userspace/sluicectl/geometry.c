// SPDX-License-Identifier: MIT
/* geometry.c - the shape of a stage: what is allowed, what differs, what it is called */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sluicectl.h"

const char *const ctl_policies[] = {
	[SLUICE_POLICY_SHARED]			= "shared",
	[SLUICE_POLICY_ROUND_ROBIN]		= "round-robin",
	[SLUICE_POLICY_LEAST_OUTSTANDING]	= "least-outstanding",
	[SLUICE_POLICY_WEIGHTED]		= "weighted",
	[SLUICE_POLICY_AFFINITY]		= "affinity",
	[SLUICE_POLICY_BROADCAST]		= "broadcast",
	NULL
};

const char *const ctl_health[] = {
	[SLUICE_LIVE]		= "live",
	[SLUICE_NO_CONSUMER]	= "no consumer",
	[SLUICE_STALLED]	= "stalled",
	[SLUICE_IDLE]		= "idle",
	[SLUICE_CLOSING]	= "closing",
	NULL
};

static const char *name_of(const char *const *names, uint32_t value)
{
	for (uint32_t i = 0; names[i]; i++)
		if (i == value)
			return names[i];
	return "?";
}

const char *ctl_policy_name(uint32_t policy)
{
	return name_of(ctl_policies, policy);
}

const char *ctl_health_name(uint32_t health)
{
	return name_of(ctl_health, health);
}

static int check_name(const char *name, char why[CTL_WHY_MAX])
{
	static const char first[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	static const char rest[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

	if (!strcmp(name, "control")) {
		snprintf(why, CTL_WHY_MAX, "the name 'control' is taken by the module itself");
		return -EINVAL;
	}
	if (name[0] && strchr(first, name[0]) && !name[strspn(name, rest)])
		return 0;
	snprintf(why, CTL_WHY_MAX,
		 "the name '%.48s' must begin with a letter or digit and go on with letters, "
		 "digits, '.', '_' or '-'",
		 name);
	return -EINVAL;
}

static uint32_t next_power_of_two(uint32_t n)
{
	uint32_t power = SLUICE_MIN_SLOTS;

	while (power < n && power < SLUICE_MAX_SLOTS)
		power <<= 1;
	return power;
}

static int check_slots(const char *what, uint32_t n, char why[CTL_WHY_MAX])
{
	if (n >= SLUICE_MIN_SLOTS && n <= SLUICE_MAX_SLOTS && !(n & (n - 1)))
		return 0;
	snprintf(why, CTL_WHY_MAX, "%s must be a power of two from %u to %u, not %u (try %u)", what,
		 SLUICE_MIN_SLOTS, SLUICE_MAX_SLOTS, n, next_power_of_two(n));
	return -EINVAL;
}

int ctl_geometry_check(const struct sluice_create *create, char why[CTL_WHY_MAX])
{
	int err = check_name(create->name, why);

	if (!err)
		err = check_slots("slots", create->nslots, why);
	if (!err && create->dead_slots)
		err = check_slots("dead letters", create->dead_slots, why);
	if (err)
		return err;
	if (create->nbufs > SLUICE_MAX_BUFFERS) {
		snprintf(why, CTL_WHY_MAX, "at most %u buffers are possible, not %u",
			 SLUICE_MAX_BUFFERS, create->nbufs);
		return -EINVAL;
	}
	if (create->bufsize > SLUICE_MAX_BUFFER_SIZE) {
		snprintf(why, CTL_WHY_MAX, "a buffer has at most 1G, not %u bytes",
			 create->bufsize);
		return -EINVAL;
	}
	if (!create->nbufs != !create->bufsize) {
		snprintf(why, CTL_WHY_MAX, create->nbufs ?
			 "buffers without a size: say how many bytes each has" :
			 "a buffer size without buffers: say how many there are");
		return -EINVAL;
	}
	if (create->policy == SLUICE_POLICY_BROADCAST && create->dead_slots) {
		snprintf(why, CTL_WHY_MAX, "a broadcast has no dead letters: nobody fails for another");
		return -EINVAL;
	}
	if (create->policy != SLUICE_POLICY_BROADCAST && create->flags & SLUICE_CREATE_SLOW_WAITS) {
		snprintf(why, CTL_WHY_MAX, "only a broadcast has slow consumers to wait for");
		return -EINVAL;
	}
	if (create->max_attempts > SLUICE_MAX_ATTEMPTS) {
		snprintf(why, CTL_WHY_MAX, "at most %u attempts are possible, not %u",
			 SLUICE_MAX_ATTEMPTS, create->max_attempts);
		return -EINVAL;
	}
	return 0;
}

bool ctl_geometry_differs(const struct sluice_create *want, const struct sluice_info *have,
			  char why[CTL_WHY_MAX])
{
	uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE);
	uint32_t ack_timeout = want->ack_timeout_ms ?: 30000;
	/* What a zero stands for, see struct sluice_create. */
	const struct {
		const char *what;
		uint32_t want, have;
	} rows[] = {
		{ "slots", want->nslots, have->nslots },
		{ "buffers", want->nbufs, have->nbufs },
		{ "bytes a buffer", (want->bufsize + page - 1) / page * page, have->bufsize },
		{ "dead letters", want->dead_slots, have->dead_slots },
		{ "policy", want->policy, have->policy },
		{ "attempts", want->max_attempts ?: 5, have->max_attempts },
		{ "ms of ack timeout", ack_timeout, have->ack_timeout_ms },
		{ "ms of longest hold", want->max_hold_ms ?: 10 * ack_timeout, have->max_hold_ms },
		{ "ms of write timeout", want->write_timeout_ms ?: 1000, have->write_timeout_ms },
		{ "messages in the kernel's queue", want->queue_max ?: want->nslots,
		  have->queue_max },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].want == rows[i].have)
			continue;
		snprintf(why, CTL_WHY_MAX, "it has %u %s instead of %u", rows[i].have,
			 rows[i].what, rows[i].want);
		return true;
	}
	return false;
}
