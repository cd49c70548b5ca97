/* SPDX-License-Identifier: MIT */
/*
 * libsluice: messages between the processes of a pipeline, in order, and nothing spills.
 *
 * Five verbs: reserve, publish, claim, ack, nack (and discard, renew).
 *
 *	struct sluice_ctx *ctx;
 *	struct sluice_ep *in, *out;
 *
 *	sluice_ctx_create(0, &ctx);
 *	sluice_attach(ctx, "decoder", SLUICE_CONSUMER, 0, &in);
 *	sluice_attach(ctx, "output", SLUICE_PRODUCER, 0, &out);
 *	while (!sluice_claim(in, &msg, SLUICE_FOREVER)) {
 *		sluice_buffer_take(out, &buf, SLUICE_FOREVER);
 *		work(msg.data, msg.len, buf.data);	// result goes straight into the buffer
 *		if (!sluice_holds(in, &msg)) {		// somebody else does it by now
 *			sluice_buffer_drop(out, &buf);
 *			continue;
 *		}
 *		sluice_post(out, &result);		// never refused for want of a slot
 *		sluice_ack(in, &msg);
 *	}
 *
 * Every function returns 0 or a negative errno value unless its comment says
 * otherwise; sluice_error() explains the last one in a sentence with a remedy.
 * A context and its endpoints belong to one thread; contexts are independent.
 */
#ifndef SLUICE_H
#define SLUICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <sluice/uapi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_FOREVER	(-1LL)		/* timeout: wait as long as it takes */
#define SLUICE_NOW	(0LL)		/* timeout: try, -EAGAIN */

struct sluice_ctx;
struct sluice_ep;

/* ------------------------------------------------------------- contexts --- */

#define SLUICE_CTX_NO_URING	(1u << 0)	/* poll and ioctl only; also SLUICE_NO_URING=1 */
#define SLUICE_CTX_NO_SPIN	(1u << 1)	/* sleep at once */
#define SLUICE_CTX_SPIN		(1u << 2)	/* never sleep: for benchmarks on cores of their own */

/**
 * sluice_ctx_create() - one thread's way into the kernel
 * @flags:	SLUICE_CTX_*
 * @ctx:	out, freed by sluice_ctx_destroy()
 *
 * Falls back to poll and ioctl by itself where io_uring is forbidden.
 * Return: 0, -ENOMEM, -EINVAL.
 */
int sluice_ctx_create(unsigned int flags, struct sluice_ctx **ctx);

/** sluice_ctx_destroy() - detach what is left and free it; NULL is allowed */
void sluice_ctx_destroy(struct sluice_ctx *ctx);

/** sluice_ctx_spin_us() - upper bound of the adaptive spin before a sleep; default 50 */
void sluice_ctx_spin_us(struct sluice_ctx *ctx, unsigned int us);

/** sluice_ctx_uses_uring() - false when it fell back to poll and ioctl */
bool sluice_ctx_uses_uring(const struct sluice_ctx *ctx);

/**
 * sluice_interrupt() - make the waits of a context return -EINTR, now or next
 *
 * Async-signal-safe and callable from other threads; for SIGTERM handlers.
 * It stays set until sluice_interrupt_clear(). Waits also return -EINTR when a
 * signal handler ran while they slept.
 */
void sluice_interrupt(struct sluice_ctx *ctx);
void sluice_interrupt_clear(struct sluice_ctx *ctx);

/** sluice_error() - what the last failed call of this thread says: one line, no newline */
const char *sluice_error(void);

/* ------------------------------------------------------------ endpoints --- */

/**
 * sluice_attach() - become a producer or a consumer of a stage
 * @ctx:	whose thread will use it
 * @stage:	name, as in /dev/sluice/<name>
 * @role:	SLUICE_PRODUCER or SLUICE_CONSUMER
 * @flags:	SLUICE_ATTACH_SOLE: the only producer; SLUICE_ATTACH_OLDEST: a consumer of a
 *		broadcast gets what is held already, too, and not only what is sent from now on
 * @ep:		out, freed by sluice_detach()
 *
 * Return: 0, -ENOENT (no such stage, or no module), -EACCES, -EBUSY (a sole
 * producer is there, or @flags ask to be it and another is), -EUSERS (too many
 * endpoints), -ESHUTDOWN, -EPROTONOSUPPORT (ABI), -EINVAL, -ENOMEM.
 */
int sluice_attach(struct sluice_ctx *ctx, const char *stage, enum sluice_role role,
		  unsigned int flags, struct sluice_ep **ep);

/**
 * sluice_detach() - give back what is held and go; NULL is allowed
 *
 * Claims are redelivered to others, held buffers are free, completions of its
 * asynchronous sends will not be told (the messages stay sent).
 */
void sluice_detach(struct sluice_ep *ep);

const struct sluice_hints *sluice_hints(const struct sluice_ep *ep);
uint32_t sluice_id(const struct sluice_ep *ep);		/* 1..65534, in the words of the slots */
const char *sluice_stage_name(const struct sluice_ep *ep);
size_t sluice_buffer_size(const struct sluice_ep *ep);	/* bytes of a payload buffer */
/** sluice_fd() - the descriptor, to be polled after sluice_poll_arm() */
int sluice_fd(const struct sluice_ep *ep);
/** sluice_poll_arm() - 0: poll() will report it; 1: there is something now */
int sluice_poll_arm(struct sluice_ep *ep);

/* -------------------------------------------------------------- messages --- */

/**
 * struct sluice_buffer - a payload buffer that the caller holds
 * @data:	page aligned, sluice_buffer_size() bytes; keeps old contents
 */
struct sluice_buffer {
	void		*data;
	uint32_t	index;
};

/**
 * struct sluice_msg - a message, sent or received
 * @stream:	request or session id
 * @counter:	position in its stream
 * @data:	send: payload to copy (NULL with @buffer); claim: where it is, readable
 *		until the ACK, in the slot or in a read-only buffer
 * @len:	bytes
 * @kind:	message type, the application's
 * @flags:	SLUICE_MSG_*
 * @time:	claim: when it was published, in ticks of sluice_ticks(), of a batch to a few
 *		messages' time; send: ignored
 * @buffer:	send: index of a held buffer that has the payload, else SLUICE_NO_BUFFER;
 *		claim: index or SLUICE_NO_BUFFER
 * @ticket:	out: sequence number in its stage
 * @token:	claim: the fence of the ACK; the library's
 * @attempt:	claim: 1 on the first delivery
 */
struct sluice_msg {
	uint64_t	stream;
	uint64_t	counter;
	const void	*data;
	uint32_t	len;
	uint16_t	kind;
	uint16_t	flags;
	uint64_t	time;
	uint32_t	buffer;
	uint32_t	attempt;
	uint64_t	ticket;
	uint64_t	token;
};

/** sluice_ticks() - the clock of sluice_msg.time: the cycle counter where it is constant */
uint64_t sluice_ticks(void);
/** sluice_ticks_to_ns() - length of an interval; calibrates once, 10 ms */
uint64_t sluice_ticks_to_ns(uint64_t ticks);

/* ---------------------------------------------------------- producer side --- */

/**
 * sluice_buffer_take() - hold a payload buffer to write into
 * Return: 0, -EAGAIN (none free in time), -ENOBUFS (the stage has none),
 * -EINTR, -ESHUTDOWN.
 */
int sluice_buffer_take(struct sluice_ep *ep, struct sluice_buffer *buf, int64_t timeout_ns);
int sluice_buffer_drop(struct sluice_ep *ep, struct sluice_buffer *buf);

/**
 * sluice_send() - reserve, fill and publish one message
 * @msg:	@data is copied: up to SLUICE_INLINE_MAX bytes into the slot, more into
 *		a buffer taken for it; or @buffer is given over. @ticket is set.
 * @timeout_ns:	to wait for a slot and a buffer
 *
 * Return: 0 when it is published, -EAGAIN (full), -EMSGSIZE, -ENOBUFS, -EINTR,
 * -ESHUTDOWN. On failure a given @buffer stays the caller's.
 */
int sluice_send(struct sluice_ep *ep, struct sluice_msg *msg, int64_t timeout_ns);

/** sluice_send_batch() - up to @n messages; returns how many were published, or an error */
int sluice_send_batch(struct sluice_ep *ep, struct sluice_msg *msgs, int n, int64_t timeout_ns);

/**
 * sluice_post() - publish, or leave it in the kernel's queue when the ring is full
 *
 * For stages that hold a claim: nobody may wait for room meanwhile (rule P30).
 * The kernel publishes it in its turn even if the caller dies.
 * Return: 0 published, 1 queued, -EAGAIN (queue full), and as sluice_send().
 */
int sluice_post(struct sluice_ep *ep, struct sluice_msg *msg);

/**
 * sluice_reserve() - the verbs by themselves: take a slot, write into it, publish
 * @msg:	@len and optionally @buffer are set by the caller
 * @data:	out: where @msg->len inline bytes go; NULL with a buffer
 *
 * A slot is meant to be held for nanoseconds; compute before reserving. After the
 * stage's write timeout the kernel puts the endpoint out: its mappings are gone,
 * and touching them is SIGBUS. A sole producer has one reservation at a time.
 */
int sluice_reserve(struct sluice_ep *ep, struct sluice_msg *msg, void **data, int64_t timeout_ns);
int sluice_publish(struct sluice_ep *ep, struct sluice_msg *msg);
int sluice_discard(struct sluice_ep *ep, struct sluice_msg *msg);

/**
 * sluice_send_async() - send now, learn later that it was acknowledged
 * @cookie:	comes back in the completion
 *
 * Published in the order of submission; a full ring queues in the kernel. The
 * payload is copied, or its buffer given over: the caller may reuse its memory.
 * Completions come in any order (Linux 6.1 runs those of one moment backwards).
 *
 * A sole producer learns of ACKs through io_uring only (-EOPNOTSUPP without), and
 * a full ring is -EAGAIN for it: the kernel never publishes beside it. Without
 * io_uring one message of an endpoint is under way at a time, the others wait in
 * this process. Return: 0 submitted, -EAGAIN (no free buffer), or as sluice_send().
 */
int sluice_send_async(struct sluice_ep *ep, const struct sluice_msg *msg, uint64_t cookie);

/**
 * struct sluice_completion - what became of a sluice_send_async()
 * @result:	0 acknowledged; -ETIMEDOUT, -EOWNERDEAD or the NACK's reason when it is
 *		a dead letter; -EAGAIN when ring and queue were full, so that it was
 *		not sent; -ESHUTDOWN; -EINTR when it was sent but nothing will tell
 *		what became of it (without io_uring, the process stopped meanwhile)
 */
struct sluice_completion {
	struct sluice_ep *ep;
	uint64_t	cookie;
	int		result;
};

/**
 * sluice_completions() - what became of asynchronous sends
 *
 * Return: how many of at most @n there are; 0 when none came in time or none is
 * under way; -EINTR.
 */
int sluice_completions(struct sluice_ctx *ctx, struct sluice_completion *done, int n,
		       int64_t timeout_ns);

/**
 * sluice_send_sync() - send and wait for the ACK
 *
 * Return: 0 acknowledged, an error as in struct sluice_completion, -ETIME when
 * it was sent but is not acknowledged in time (it may still be), -EINTR.
 */
int sluice_send_sync(struct sluice_ep *ep, const struct sluice_msg *msg, int64_t timeout_ns);

/**
 * sluice_defer_kicks() - let the wake-up of others wait for this thread's next sleep
 *
 * Off by default: publish and ack wake sleepers at once. On, the kick goes into
 * the same system call as the next wait of the context, or sluice_flush().
 */
void sluice_defer_kicks(struct sluice_ctx *ctx, bool on);
int sluice_flush(struct sluice_ctx *ctx);

/* ---------------------------------------------------------- consumer side --- */

/**
 * sluice_claim() - take the next message
 * @timeout_ns:	0 tries, < 0 waits for ever; spins for a while, then sleeps
 *
 * Return: 0, -EAGAIN (nothing in time), -EINTR, -ESHUTDOWN (stage destroyed).
 */
int sluice_claim(struct sluice_ep *ep, struct sluice_msg *msg, int64_t timeout_ns);

/** sluice_claim_batch() - waits for one, then takes what is there; returns how many, or an error */
int sluice_claim_batch(struct sluice_ep *ep, struct sluice_msg *msgs, int n, int64_t timeout_ns);

/**
 * sluice_holds() - is the claim still mine?
 *
 * Ask after the last read of the message and before anything derived from it is
 * published (rule P12): after a timeout somebody else has it, and the buffer may
 * have been written again.
 */
bool sluice_holds(struct sluice_ep *ep, const struct sluice_msg *msg);

/** sluice_ack() - done with it. Return: 0, -ESTALE (it was redelivered; counted) */
int sluice_ack(struct sluice_ep *ep, const struct sluice_msg *msg);
/** sluice_ack_batch() - returns how many were still the caller's */
int sluice_ack_batch(struct sluice_ep *ep, const struct sluice_msg *msgs, int n);

/**
 * sluice_nack() - give it back
 * @reason:	positive errno, told to the sender if it becomes a dead letter
 * @delay_ms:	nobody gets it sooner
 * @flags:	SLUICE_NACK_*
 */
int sluice_nack(struct sluice_ep *ep, const struct sluice_msg *msg, int reason,
		unsigned int delay_ms, unsigned int flags);

/** sluice_renew() - still working on it: start the timeout again, within max_hold */
int sluice_renew(struct sluice_ep *ep, const struct sluice_msg *msg);

/** sluice_counters() - what this endpoint did so far */
const struct sluice_counters *sluice_counters(const struct sluice_ep *ep);

/* ---------------------------------------------------------- administration --- */

/**
 * sluice_create() - make a stage
 * @c:		@size is set by the library; zero fields get the defaults
 * Return: 0, -EEXIST, -EINVAL, -EACCES, -ENOMEM, -ENOSPC (limits), -ENOENT (no module).
 */
int sluice_create(const struct sluice_create *c);

/** sluice_destroy() - @drain_ms: wait for it to empty; flags SLUICE_DESTROY_* */
int sluice_destroy(const char *name, unsigned int drain_ms, unsigned int flags);

/**
 * sluice_repair() - put a stage back to work after somebody wrote nonsense into it
 * @found:	out: what was wrong and is put right, see struct sluice_repair
 *
 * Everybody attached is put out (-ENOTCONN from then on) and attaches anew. Messages whose slots
 * still make sense stay, the others are lost; one that cannot be delivered is a dead letter.
 * Return: 0, -ENOENT, -EPERM (not the owner's), -ENOMEM (try again).
 */
int sluice_repair(const char *name, struct sluice_repair *found);

/**
 * sluice_set_policy() - whom later messages are for; those in the ring keep their consumer
 *
 * Nothing is lost or sent twice. What a consumer has failed at once, what it does not take for
 * ack_timeout and what is for one who died is given to others under every policy, who may have had
 * younger messages by then.
 * Return: 0, -EINVAL, -ENOENT, -EPERM (not the owner's).
 */
int sluice_set_policy(const char *name, enum sluice_policy policy);
/** sluice_policy_name() - "shared", "round-robin", …; sluice_policy_by_name() - back, or -EINVAL */
const char *sluice_policy_name(unsigned int policy);
int sluice_policy_by_name(const char *name);

/** sluice_info() - one stage by name */
int sluice_info(const char *name, struct sluice_info *info);

/** sluice_next() - walk all stages: info->cookie = 0 to begin; -ENOENT after the last */
int sluice_next(struct sluice_info *info);

/** sluice_endpoint() - walk a stage's endpoints: info->index = 0, then + 1; -ENOENT after the last */
int sluice_endpoint(const char *name, struct sluice_endpoint_info *info);

/** sluice_features() - ABI version and features of the loaded module */
int sluice_features(struct sluice_features *f);

#ifdef __cplusplus
}
#endif
#endif /* SLUICE_H */
