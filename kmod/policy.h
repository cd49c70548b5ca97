/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * policy.h: whom a message is for, in a stage that has a policy.
 *
 * A producer writes the id of the consumer that it has chosen into the slot, 0 for anybody. That is
 * a wish, kept by those who walk: they pass what is for somebody else. Nothing is lost by it: what
 * has failed once, what waits for longer than the stage's ack_timeout and what is for nobody who
 * lives may be claimed by others, and the word of the slot decides between them as ever.
 *
 * Compiled into the module and the library, as slot.h is; includes only what it includes.
 */
#ifndef SLUICE_POLICY_H
#define SLUICE_POLICY_H

#include "slot.h"

/* A score that is the same for everybody who asks (the finaliser of MurmurHash3). */
static inline u64 policy_score(u64 stream, u32 id)
{
	u64 x = stream ^ (u64)id * 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
	x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

/**
 * policy_home() - the consumer that a stream belongs to
 * @members:	[@n] those who live
 *
 * Rendezvous hashing (Thaler and Ravishankar, 1998): the highest score wins, so that a death moves
 * the streams of the dead and no others, and a newcomer takes only those that are its own.
 *
 * Return: its id, 0 when there is none.
 */
static inline u32 policy_home(u64 stream, const struct sluice_member *members, u32 n)
{
	u64 best = 0;
	u32 i, home = 0;

	for (i = 0; i < n; i++) {
		u32 id = sl_load(&members[i].id);
		u64 score = policy_score(stream, id);

		if (!home || score > best) {
			best = score;
			home = id;
		}
	}
	return home;
}

/**
 * policy_mine() - may consumer @me claim a READY message?
 * @target:	what the slot says
 * @word:	of the slot
 * @overdue:	it waits for longer than ack_timeout
 * @stream:	of the message
 * @members:	[@n] those who live
 */
static inline bool policy_mine(u64 target, u32 me, u64 word, bool overdue, u64 stream,
			       const struct sluice_member *members, u32 n)
{
	u32 i;

	if (!target || target == me || slot_attempt(word) || overdue)
		return true;
	for (i = 0; i < n; i++)
		if (sl_load(&members[i].id) == target)
			return false;
	/* Its consumer died before it came to it: to where its stream goes on. */
	return policy_home(stream, members, n) == me;
}

#endif /* SLUICE_POLICY_H */
