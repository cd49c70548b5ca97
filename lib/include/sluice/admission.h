/* SPDX-License-Identifier: MIT */
/*
 * admission.h: refuse early what would come too late.
 *
 *	struct sluice_admission_limits limits = { .max_wait_ns = 2000000000 };
 *	struct sluice_admission *door;
 *	uint64_t retry_after_ns;
 *
 *	sluice_admission_create(out, &limits, &door);
 *	if (sluice_admit(door, 0, &retry_after_ns) == -EBUSY)
 *		...	// tell the client when to come again
 *	else
 *		sluice_send(out, &msg, timeout);
 *
 * Who is refused at the door knows at once and can go elsewhere; who waits in a ring that is too
 * long finds out when it is too late, and has made everybody behind it wait. What is decided is
 * decided by facts: the slots say how much is under way, and the library measures how fast it goes
 * (Little's law: what waits, divided by the rate at which it leaves, is how long it waits).
 *
 * Nothing is reserved by asking: of two who are let in at the same time both may send.
 */
#ifndef SLUICE_ADMISSION_H
#define SLUICE_ADMISSION_H

#include <sluice/sluice.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct sluice_admission_limits - 0 means no limit
 * @max_backlog: messages under way and in the kernel's queue, of everybody
 * @max_wait_ns: from now until the message would be acknowledged
 */
struct sluice_admission_limits {
	uint64_t	max_backlog;
	uint64_t	max_wait_ns;
};

/**
 * struct sluice_load - what an admission goes by
 * @backlog:	messages in the ring that are not acknowledged
 * @queued:	messages in the kernel's queue
 * @consumers:	attached
 * @rate:	messages a second that all consumers together finish while they have work, as it was
 *		measured; 0 = not known yet
 * @wait_ns:	until a message that is sent now would be acknowledged; 0 = not known
 */
struct sluice_load {
	uint64_t	backlog;
	uint64_t	queued;
	uint32_t	consumers;
	double		rate;
	uint64_t	wait_ns;
};

struct sluice_admission;

/**
 * sluice_admission_create() - a door to a stage
 * @ep:		one of its producers
 * @door:	out, freed by sluice_admission_free(), before @ep is detached
 * Return: 0, -EINVAL, -ENOMEM.
 */
int sluice_admission_create(struct sluice_ep *ep, const struct sluice_admission_limits *limits,
			    struct sluice_admission **door);

/** sluice_admission_free() - NULL is allowed */
void sluice_admission_free(struct sluice_admission *door);

/**
 * sluice_admit() - may one more message come?
 * @deadline_ns: of this message, from now: it is of no use later; 0 = none
 * @retry_after_ns: out, may be NULL: with -EBUSY, when it would be let in if nobody else came
 *
 * Into an empty stage every message is let in, and no message is refused for its time before a
 * rate is known. Walks over what is under way: meant for requests, not for every token.
 * Return: 0, -EBUSY, -ESHUTDOWN.
 */
int sluice_admit(struct sluice_admission *door, uint64_t deadline_ns, uint64_t *retry_after_ns);

/** sluice_admission_load() - what it would go by now */
void sluice_admission_load(struct sluice_admission *door, struct sluice_load *load);

#ifdef __cplusplus
}
#endif
#endif /* SLUICE_ADMISSION_H */
