// SPDX-License-Identifier: MIT
/* health.c - the verdict on a stage; health_look.c collects what it is about */

#include <stdarg.h>
#include <stdio.h>

#include "health.h"

static enum health_level say(enum health_level level, char why[HEALTH_WHY], const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static enum health_level say(enum health_level level, char why[HEALTH_WHY], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, HEALTH_WHY, format, args);
	va_end(args);
	return level;
}

static enum health_level broken(const struct health *h, char why[HEALTH_WHY])
{
	const struct sluice_info *i = &h->info;
	uint32_t waiting = i->ready + i->queued;

	if (h->daemons && h->shut >= h->daemons)
		return say(HEALTH_BROKEN, why, "shut off after repeated failures, tried again in "
			   "%.1f s", (double)h->retry_ns / 1e9);
	if (!h->running && (i->health == SLUICE_NO_CONSUMER || waiting + i->claimed))
		return say(HEALTH_BROKEN, why, "no consumer, %u messages wait", waiting);
	if (h->daemons && !h->running)
		return say(HEALTH_BROKEN, why, "none of %u daemons is attached", h->daemons);
	if (i->health == SLUICE_STALLED)
		return say(HEALTH_BROKEN, why, "stalled: the oldest message is %.1f s old",
			   (double)i->oldest_age_ns / 1e9);
	return HEALTH_GOOD;
}

static enum health_level degraded(const struct health *h, char why[HEALTH_WHY])
{
	const struct sluice_info *i = &h->info;
	uint32_t waiting = i->ready + i->queued;
	uint32_t backlog = h->limits.backlog ?: i->nslots;
	uint64_t age_ns = (h->limits.age_ms ?: i->ack_timeout_ms / 2) * 1000000ull;

	if (i->health == SLUICE_CLOSING)
		return say(HEALTH_DEGRADED, why, "being destroyed");
	if (h->shut)
		return say(HEALTH_DEGRADED, why, "%u of %u daemons shut off", h->shut, h->daemons);
	if (h->probing)
		return say(HEALTH_DEGRADED, why, "tried again after failures");
	if (h->running < h->daemons)
		return say(HEALTH_DEGRADED, why, "%u of %u daemons attached", h->running,
			   h->daemons);
	if (i->oldest_age_ns > age_ns)
		return say(HEALTH_DEGRADED, why, "the oldest message is %.1f s old",
			   (double)i->oldest_age_ns / 1e9);
	if (waiting > backlog)
		return say(HEALTH_DEGRADED, why, "%u messages wait, more than %u", waiting, backlog);
	if (h->letters > h->limits.dead)
		return say(HEALTH_DEGRADED, why, "%u dead letters: 'sluicectl dead list %s'",
			   h->letters, i->name);
	return HEALTH_GOOD;
}

enum health_level health_level(const struct health *h, char why[HEALTH_WHY])
{
	enum health_level level;

	why[0] = 0;
	/* Its letters wait for people; what they mean is said of the stage that they are from. */
	if (h->is_dead)
		return HEALTH_GOOD;
	level = broken(h, why);
	return level ? level : degraded(h, why);
}

const char *health_level_name(enum health_level level)
{
	static const char *const names[] = { "healthy", "degraded", "broken", "unknown" };

	return names[level];
}

const char *health_breaker_name(const struct health *h)
{
	return !h->daemons ? "-" : h->shut ? "open" : h->probing ? "half-open" : "closed";
}
