/* SPDX-License-Identifier: MIT */
/*
 * envelope.h: what goes before a request and before its reply, and the board that says which
 * calls are still wanted. docs/calls.md shows the bytes.
 *
 * An envelope lies in memory that others can write: it is read once, into a copy, and every field
 * of the copy is checked. The reply stage is named by a number, not by a text, so that a forged
 * request can make a server write to a reply stage at most, and never to any other.
 */
#ifndef SLUICE_LIB_ENVELOPE_H
#define SLUICE_LIB_ENVELOPE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <sluice/call.h>

#define ENVELOPE_REQUEST	0x514c5394u	/* 0x94 "SLQ": no UTF-8 text begins like this */
#define ENVELOPE_REPLY		0x524c5394u	/* 0x94 "SLR" */
#define ENVELOPE_VERSION	1u
#define ENVELOPE_ERROR_MAX	4095u		/* the largest errno */
#define ENVELOPE_REASON_MAX	200u		/* bytes of a refusal's reason */

#define REPLY_PREFIX		"reply."
#define REPLY_NAME_LEN		(sizeof(REPLY_PREFIX) - 1 + 16)

/**
 * struct request_envelope - the first 32 bytes of a request
 * @caller:	who is to be answered: the stage "reply.<16 hexadecimal digits>"; not 0
 * @call:	which of its calls, see call_id(); not 0
 * @deadline:	in ticks of sluice_ticks(), which all processes of a machine share; 0: none
 */
struct request_envelope {
	uint32_t	magic;
	uint16_t	version;
	uint16_t	zero;
	uint64_t	caller;
	uint64_t	call;
	uint64_t	deadline;
};

/**
 * struct reply_envelope - the first 16 bytes of a reply
 * @error:	0, or the errno that the server refuses with: what follows is its reason
 * @call:	the request's
 */
struct reply_envelope {
	uint32_t	magic;
	uint16_t	version;
	uint16_t	error;
	uint64_t	call;
};

_Static_assert(sizeof(struct request_envelope) == SLUICE_CALL_HEADER, "the data begins there");
_Static_assert(sizeof(struct reply_envelope) == 16, "the layout in docs/calls.md");

/* --------------------------------------------------------- calls by number --- */

#define CALL_INDEX_BITS		16

/* The @sequence is never used twice, so that a late reply meets no call of its number. */
static inline uint64_t call_id(uint64_t sequence, unsigned int index)
{
	return sequence << CALL_INDEX_BITS | index;
}

static inline unsigned int call_index(uint64_t id)
{
	return (unsigned int)(id & ((1u << CALL_INDEX_BITS) - 1));
}

/* The deadline of an envelope, against sluice_ticks(); both go round. */
static inline bool deadline_passed(uint64_t deadline, uint64_t ticks)
{
	return deadline && (int64_t)(ticks - deadline) >= 0;
}

/* --------------------------------------------------------- names of stages --- */

static inline void reply_stage_name(uint64_t caller, char name[SLUICE_NAME_MAX])
{
	snprintf(name, SLUICE_NAME_MAX, REPLY_PREFIX "%016llx", (unsigned long long)caller);
}

static inline bool is_reply_stage(const char *name)
{
	return strlen(name) == REPLY_NAME_LEN && !strncmp(name, REPLY_PREFIX,
							  sizeof(REPLY_PREFIX) - 1) &&
	       strspn(name + sizeof(REPLY_PREFIX) - 1, "0123456789abcdef") == 16;
}

/* ------------------------------------------------------------- on receipt --- */

/* 0, or -EBADMSG: this is no request of a call, or of a version that is not known here. */
static inline int request_read(const struct sluice_msg *msg, struct request_envelope *e)
{
	if (msg->len < sizeof(*e))
		return -EBADMSG;
	memcpy(e, msg->data, sizeof(*e));
	if (e->magic != ENVELOPE_REQUEST || e->version != ENVELOPE_VERSION || e->zero)
		return -EBADMSG;
	return e->caller && e->call ? 0 : -EBADMSG;
}

/* The same for a reply. */
static inline int reply_read(const struct sluice_msg *msg, struct reply_envelope *e)
{
	if (msg->len < sizeof(*e))
		return -EBADMSG;
	memcpy(e, msg->data, sizeof(*e));
	if (e->magic != ENVELOPE_REPLY || e->version != ENVELOPE_VERSION || !e->call ||
	    e->error > ENVELOPE_ERROR_MAX)
		return -EBADMSG;
	return e->error && msg->len - sizeof(*e) > ENVELOPE_REASON_MAX ? -EBADMSG : 0;
}

/* One line of printable ASCII out of whatever somebody gave as a reason. @text: REASON_MAX + 1. */
static inline void reason_copy(char *text, const void *data, size_t len)
{
	const unsigned char *from = data;
	size_t i;

	for (i = 0; i < len && i < ENVELOPE_REASON_MAX && from[i]; i++)
		text[i] = from[i] >= ' ' && from[i] <= '~' ? (char)from[i] : '?';
	text[i] = '\0';
}

/* -------------------------------------------------------------- the board --- */

/*
 * Buffer 0 of a reply stage, which the caller holds for as long as it lives: at each call's index
 * its number while somebody waits for it. So a server sees at once that a call was cancelled, or
 * given up, without a message. What a server scribbles there is believed by other servers only:
 * the caller does not read it.
 */
#define BOARD_CALLS_MAX	SLUICE_CALL_WINDOW_MAX

static inline bool board_has(const void *board, size_t bytes, uint64_t call)
{
	unsigned int index = call_index(call);

	if (!board || (index + 1) * sizeof(call) > bytes)
		return false;
	return __atomic_load_n((const uint64_t *)board + index, __ATOMIC_ACQUIRE) == call;
}

static inline void board_put(void *board, uint64_t call)
{
	__atomic_store_n((uint64_t *)board + call_index(call), call, __ATOMIC_RELEASE);
}

/* Only its own: the index may be another call's by now. */
static inline void board_remove(void *board, uint64_t call)
{
	__atomic_compare_exchange_n((uint64_t *)board + call_index(call), &call, 0, false,
				    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

#endif /* SLUICE_LIB_ENVELOPE_H */
