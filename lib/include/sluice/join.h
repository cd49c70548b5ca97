/* SPDX-License-Identifier: MIT */
/*
 * join.h: a stage that waits for the parts of one message from several stages.
 *
 * A message that was fanned out comes back in parts, one from each input, with the stream and the
 * counter of the whole. They are held as claims: nothing is copied, and when the process dies the
 * parts are delivered again to whoever joins next. A part that does not come in time fails the set.
 *
 *	struct sluice_ep *inputs[] = { seen, heard };	// consumers of one context
 *
 *	sluice_join_create(inputs, 2, 2000000000, 0, &join);
 *	while ((ret = sluice_join_next(join, &set, SLUICE_FOREVER)) != -EINTR) {
 *		if (ret == -ETIME)			// set.have tells which came
 *			sluice_join_fail(join, &set, ETIME);
 *		else if (!ret && work(set.part))	// publishes its result
 *			sluice_join_ack(join, &set);
 *	}
 *
 * One process joins a stream: a second one would get parts that the first one waits for.
 * docs/routing.md says more; `sluicectl join` is these functions with a command line.
 */
#ifndef SLUICE_JOIN_H
#define SLUICE_JOIN_H

#include <sluice/sluice.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_JOIN_INPUTS	8u
#define SLUICE_JOIN_WINDOW	16u	/* parts of an input that wait, by default */

struct sluice_join;

/**
 * struct sluice_joined - the parts of one message
 * @have:	bits by input: @part is there
 * @part:	as claimed, readable until the set is acknowledged or failed
 * @slot:	the library's
 */
struct sluice_joined {
	uint64_t		stream;
	uint64_t		counter;
	uint32_t		have;
	uint32_t		slot;
	struct sluice_msg	part[SLUICE_JOIN_INPUTS];
};

/**
 * sluice_join_create() - join what comes from some consumers
 * @inputs:	@n of them, 1 to SLUICE_JOIN_INPUTS, all of one context; they stay the caller's, who
 *		claims nothing from them meanwhile, and outlive the join
 * @deadline_ns: how long a set waits for its last part, from its first one on
 * @window:	parts of one input that may wait, at most half of its slots; 0 = SLUICE_JOIN_WINDOW
 *
 * Return: 0; -EINVAL, also when claims of an input may not be held for so long (its max_hold);
 * -ENOMEM.
 */
int sluice_join_create(struct sluice_ep *const *inputs, unsigned int n, int64_t deadline_ns,
		       uint32_t window, struct sluice_join **join);

/** sluice_join_destroy() - give back what waits, not charged; NULL is allowed */
void sluice_join_destroy(struct sluice_join *join);

/**
 * sluice_join_next() - wait for a set
 * @set:	out: of a result of 0 with all parts, of -ETIME with those that came
 *
 * Renews the claims that wait. A copy of a part (same stream and counter) is acknowledged and
 * dropped; a late part of a set that was failed becomes a dead letter (ETIME).
 *
 * Return: 0; -ETIME, a set whose deadline is over; -EAGAIN, nothing in @timeout_ns; -EINTR,
 * -ESHUTDOWN.
 */
int sluice_join_next(struct sluice_join *join, struct sluice_joined *set, int64_t timeout_ns);

/**
 * sluice_join_holds() - are all parts still ours? Ask before anything derived from them is published
 *
 * False after a stop of the process, or a max_hold: those that are lost come again, the others wait
 * for them in the join; @set is no longer the caller's.
 */
bool sluice_join_holds(struct sluice_join *join, const struct sluice_joined *set);

/** sluice_join_ack() - the result is published. Return: 0, or -ESTALE: a part comes again, as a copy */
int sluice_join_ack(struct sluice_join *join, const struct sluice_joined *set);

/** sluice_join_back() - not now: the set comes again, after @delay_ms at the earliest */
void sluice_join_back(struct sluice_join *join, const struct sluice_joined *set,
		      unsigned int delay_ms);

/** sluice_join_fail() - the parts that came become dead letters with this positive errno */
int sluice_join_fail(struct sluice_join *join, const struct sluice_joined *set, int reason);

/* ------------------------------------------------------------------- parts --- */

/*
 * All parts in one message: a head of 256 bytes, then each part at a multiple of 64.
 */
#define SLUICE_PARTS_MAGIC	0x54505393u	/* 0x93 "SPT": no text begins like this */
#define SLUICE_PARTS_VERSION	1u
#define SLUICE_PARTS_HEAD	256u

/**
 * struct sluice_parts - the head
 * @n:		parts, 1 to SLUICE_JOIN_INPUTS
 * @part:	where each lies in the message, and its kind; offsets rise, nothing overlaps
 */
struct sluice_parts {
	uint32_t	magic;
	uint16_t	version;
	uint16_t	n;
	uint64_t	reserved[7];
	struct {
		uint32_t	offset;
		uint32_t	len;
		uint16_t	kind;
		uint16_t	reserved[7];
	} part[SLUICE_JOIN_INPUTS];
};

/** sluice_parts_bytes() - of the message that holds @n parts; 0 if no message can */
size_t sluice_parts_bytes(const struct sluice_msg *part, unsigned int n);

/** sluice_parts_write() - copy @n parts into @buf. Return: 0, -EINVAL, -EMSGSIZE */
int sluice_parts_write(void *buf, size_t capacity, const struct sluice_msg *part, unsigned int n);

/**
 * sluice_parts_read() - find the parts of a received message
 * @part:	out: SLUICE_JOIN_INPUTS; data, len and kind of each, stream and counter of @msg
 *
 * After it all parts lie inside the message. Return: their number; -ENOMSG: it has none; -EBADMSG.
 */
int sluice_parts_read(const struct sluice_msg *msg, struct sluice_msg *part);

#ifdef __cplusplus
}
#endif
#endif /* SLUICE_JOIN_H */
