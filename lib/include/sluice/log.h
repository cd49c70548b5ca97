/* SPDX-License-Identifier: MIT */
/*
 * log.h: state that several processes share, as an ordered log (a replicated state machine).
 *
 * Weights' version, configuration, a list of stop words: each member keeps a copy and changes it only
 * by the entries of the log, which is a broadcast stage. The ring's sequence numbers are the order, so
 * that all copies go through the same states. Who joins late gets a snapshot from a member and the
 * entries after it. (Schneider, "Implementing fault-tolerant services using the state machine
 * approach", 1990; here the kernel's ring is the order, and who lives is a fact, not a guess.)
 *
 *	struct sluice_log_ops ops = { .apply = apply, .save = save, .load = load };
 *
 *	sluice_log_join(ctx, "config", &ops, &state, SLUICE_FOREVER, &log);
 *	sluice_log_append(log, &change, sizeof(change));
 *	while (!sluice_log_step(log, SLUICE_FOREVER))
 *		;			// apply() was called for one entry
 *
 * A member takes part while it calls sluice_log_step(): it acknowledges entries and answers those who
 * join. One that does not for longer than the stage's ack timeout is put out (-ENOTCONN): it leaves
 * and joins again, and begins with a snapshot. The state is gone when the last member is.
 *
 * One thread uses a log, as with any endpoint. Hosts: one; agreement over several is another's job.
 */
#ifndef SLUICE_LOG_H
#define SLUICE_LOG_H

#include <sluice/sluice.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sluice_log;

/**
 * struct sluice_log_ops - what the log does with the state
 * @apply:	change it by one entry; @position is the entry's sequence number. Must do the same
 *		in every process: no clocks, no randomness. A negative result ends sluice_log_step()
 *		with it, and the entry counts as applied.
 * @save:	write all of it to @buf; returns how many bytes, -EMSGSIZE when @size is too few
 * @load:	replace it by what save() wrote elsewhere; a negative result ends the join with it
 */
struct sluice_log_ops {
	int (*apply)(void *state, const void *data, size_t len, uint64_t position);
	ssize_t (*save)(void *state, void *buf, size_t size);
	int (*load)(void *state, const void *data, size_t len);
};

/**
 * sluice_log_create() - a stage for a log
 * @name:	of the stage; sluice_destroy() removes it
 * @state_max:	bytes that save() may write, and that an entry may have
 * @ack_timeout_ms: how long a member may be away; 0 = 30000
 *
 * Return: 0, or as sluice_create().
 */
int sluice_log_create(const char *name, size_t state_max, unsigned int ack_timeout_ms);

/**
 * sluice_log_join() - become a member
 * @ops:	copied
 * @state:	as it is at the very beginning; load() replaces it if somebody is there already
 * @timeout_ns:	to get the snapshot; at least one member has to be in sluice_log_step() meanwhile
 * @log:	out, freed by sluice_log_leave()
 *
 * Return: 0, -EAGAIN (nobody answered in time), -EPROTO (the stage is no log), or as
 * sluice_attach() and sluice_send().
 */
int sluice_log_join(struct sluice_ctx *ctx, const char *name, const struct sluice_log_ops *ops,
		    void *state, int64_t timeout_ns, struct sluice_log **log);

/** sluice_log_leave() - the others go on; NULL is allowed */
void sluice_log_leave(struct sluice_log *log);

/**
 * sluice_log_append() - one entry, for all members and this one
 *
 * Applied here, too, only by sluice_log_step(), when its turn has come. Never waits: it would wait
 * for itself, who has entries to acknowledge.
 * Return: 0 it is in the log, -EAGAIN (no room: step first), -EMSGSIZE, -ENOTCONN (put out).
 */
int sluice_log_append(struct sluice_log *log, const void *data, size_t len);

/**
 * sluice_log_step() - apply the next entry
 *
 * Return: 0 one was applied, -EAGAIN (none in time), -ENOTCONN (put out: leave, and join again),
 * -EINTR, -ESHUTDOWN, or what apply() returned.
 */
int sluice_log_step(struct sluice_log *log, int64_t timeout_ns);

/** sluice_log_position() - sequence number of the last entry that is in the state */
uint64_t sluice_log_position(const struct sluice_log *log);

/**
 * sluice_log_lead() - ask to be the leader of a new epoch
 *
 * Decided by the order of the log, when sluice_log_step() comes to it: of several who ask for the
 * same epoch the first one has it. Return: 0 it is asked for, or as sluice_log_append().
 */
int sluice_log_lead(struct sluice_log *log);

/** sluice_log_epoch() - the present one, 0 before the first leader */
uint64_t sluice_log_epoch(const struct sluice_log *log);
/** sluice_log_leads() - is this member its leader, as far as it has seen? */
bool sluice_log_leads(const struct sluice_log *log);

/**
 * sluice_log_append_fenced() - an entry that counts only while its sender leads
 *
 * If another epoch begins before the entry's place in the log, no member applies it (a fence, as the
 * token of a late ACK), and sluice_log_fenced() counts it.
 * Return: -EPERM when this member does not lead; else as sluice_log_append().
 */
int sluice_log_append_fenced(struct sluice_log *log, const void *data, size_t len);
uint64_t sluice_log_fenced(const struct sluice_log *log);

#ifdef __cplusplus
}
#endif
#endif /* SLUICE_LOG_H */
