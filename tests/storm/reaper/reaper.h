/* SPDX-License-Identifier: MIT */
/*
 * reaper.h: the module's own recovery, in user space.
 *
 * kmod/reap.c, retry.c, ring.c, policy.c and broadcast.c are compiled as they stand, over memory
 * that parent and children share; endpoints are processes of the caller, who says which has died.
 * What the kernel would do at a death, at a tick, in answer to an INFO is done here when it is
 * called.
 * One process does all of it: that is the stage's lock.
 */
#ifndef SLUICE_TEST_REAPER_H
#define SLUICE_TEST_REAPER_H

#include <stdint.h>

#include <sluice/uapi.h>

struct reaper;

/* What a child lays its endpoint over; see __sluice_ep_layout() of the library. */
struct reaper_memory {
	struct sluice_hints *hints;
	void	*control;
	void	*payload;
};

/* What an endpoint is told when it attaches. */
struct reaper_endpoint {
	uint32_t	id;
	uint32_t	index;
	uint64_t	tail;
	uint64_t	start, recipient;	/* of a broadcast */
};

/**
 * reaper_create() - a stage in shared anonymous memory, and its dead-letter stage if asked for
 * @first:	the first ticket, 0 or near the end of all laps
 * Return: NULL when there is no memory.
 */
struct reaper *reaper_create(const struct sluice_create *c, uint64_t first);
void reaper_destroy(struct reaper *r);
/** reaper_dead_stage() - of the dead letters, or NULL */
struct reaper *reaper_dead_stage(struct reaper *r);
struct reaper_memory reaper_memory(struct reaper *r);

/** reaper_set_policy() - as sluice_set_policy() */
void reaper_set_policy(struct reaper *r, enum sluice_policy policy);

/** reaper_attach() - before the process is started. 0, -EUSERS, -EBUSY. */
int reaper_attach(struct reaper *r, enum sluice_role role, uint32_t flags,
		  struct reaper_endpoint *ep);
/** reaper_died() - the endpoint's process is gone: what it owed is somebody else's */
void reaper_died(struct reaper *r, uint32_t id);
/** reaper_tick() - what is late */
void reaper_tick(struct reaper *r);
/** reaper_info() - what is in it now, and the counters of the kernel */
void reaper_info(struct reaper *r, struct sluice_info *info);

/**
 * reaper_evict - called for a living endpoint that is to be put out
 *
 * The module zaps its mapping; here its process is ended and waited for. Set by the caller.
 */
extern void (*reaper_evict)(struct reaper *r, uint32_t id);

#endif /* SLUICE_TEST_REAPER_H */
