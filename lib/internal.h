/* SPDX-License-Identifier: MIT */
/*
 * internal.h: what the files of libsluice share.
 *
 *	setup.c     contexts, attach, mapping, detach
 *	produce.c   reserve, publish, discard, send; payload buffers
 *	claim.c     claim, holds, ack, nack, renew
 *	broadcast.c the same where everybody gets everything
 *	wait.c      spin, sleep, kicks: the same for every way to sleep
 *	uring.c     sleeping and commands by io_uring
 *	poll.c      sleeping by poll and ioctl, where io_uring is forbidden
 *	async.c     sends that complete on the ACK
 *	caller.c    calls: a reply stage and a window
 *	call.c      calls: a request, its reply, the deadline
 *	serve.c     calls: the side that answers
 *	admin.c     the control device
 *	tensor.c    the type at the beginning of a message
 *	accepts.c   what a stage declares that it takes
 *	streams.c   which streams a process knows, and how far each has come
 *	order.c     the end of a pipe: each stream in order, once; window.c: one stream of it
 *	batch.c     runs and batches with a bound of time; the next payload asked for ahead
 *	ready.c     payload buffers kept ready
 *	peek.c      messages that are looked at and left where they are
 *	label.c     model and deadline before a message, and the facts that rules ask about
 *	join.c      parts of one message from several stages, held until all are there
 *	parts.c     several messages in one
 *	route.c     rules that name the next stage; route_*.c, the kinds of conditions
 *	any.c       the next message of several endpoints
 *	lanes.c     classes of priority, each a stage of its own
 *	backlog.c   what is under way in a ring, as the words say
 *	credit.c    how many messages of its own a producer may have under way
 *	admission.c whether the next one would be done in time
 *	error.c     sluice_error()
 *	ticks.c     the cycle counter as a clock
 *
 * What the kernel writes (hints) is trusted. What other endpoints can write (slots,
 * buffer words, tail) is read once into a local, checked, and only the local is used.
 *
 * Names: sluice_ is public, __sluice_ is shared between these files and not exported.
 */
#ifndef SLUICE_LIB_INTERNAL_H
#define SLUICE_LIB_INTERNAL_H

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/admission.h>
#include <sluice/credit.h>
#include <sluice/lanes.h>
#include <sluice/sluice.h>
#include <sluice/tensor.h>
#include <slot.h>

#define SLUICE_DEV_DIR		"/dev/sluice"
#define SLUICE_DEV_CONTROL	SLUICE_DEV_DIR "/control"
#define SLUICE_NO_MODULE	SLUICE_DEV_CONTROL " is missing: load the module " \
				"(insmod sluice.ko), or run this in scripts/box"

#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)

/* In one piece with all that it calls in its file: a message takes no longer than some calls. */
#define hot_path		__attribute__((flatten))

/* Deadlines are absolute, in ns of __sluice_now(). */
#define DEADLINE_NOW		0ull
#define DEADLINE_NEVER		(~0ull)

struct send_op;

/**
 * struct park - one WAIT command in the kernel's hands
 * @armed:	submitted and not completed; stays so across time-outs of our caller
 * @result:	of the last completion
 *
 * A producer has several, since it may wait for a slot and, later, for a buffer or a credit while
 * the first is still parked. All a stale one can do is wake us once too often.
 */
struct park {
	struct sluice_ep	*ep;
	bool			armed;
	int			result;
};

#define BUFFER_TURNS	64

enum { PARK_MAIN, PARK_BUFFER, PARK_CREDIT, PARKS };

/**
 * struct sluice_ep - one end of one stage
 * @ticket:	consumer: its cursor, everything older was passed or claimed (rule P7);
 *		producer: everything older was seen used (rule P4)
 * @high:	consumer: the furthest cursor so far; a walk again starts one lap below it
 * @generation:	of the hints, read before the walk that brought the cursor here
 * @buffer_hint: where the scan for a free buffer begins
 * @turns:	buffers that take turns, @nturns of them; @turn: whose it is
 * @policy:	of the stage, with consumers to choose from; else SLUICE_POLICY_SHARED
 * @membership:	of the hints, when @policy and @choices were read
 * @choices:	the stage's consumers (policy.c), NULL if there never was a policy
 * @recipient:	consumer of a broadcast: its bit in the masks, else 0
 * @start:	of a broadcast: what is older is not for this consumer
 * @early:	the cursor has not come to @start yet
 * @addressed:	producer of a broadcast: bits in masks since the last look for who is gone
 * @reserved:	sole producer: between sluice_reserve() and sluice_publish()
 * @asym_fence:	sole producer: hints->fences says whether a publish needs a fence of its own
 * @calm:	publishes in a row that fenced and met nobody asleep
 * @published_at: ticks of the last publish
 * @expect_ns:	how long waits take, on average; decides whether spinning pays
 * @waits:	how many there were
 * @kicks:	SLUICE_KICK_* owed to the kernel
 * @commands:	commands in the kernel's hands that point to this structure
 * @sending:	by buffer: the asynchronous send that the library took it for
 */
struct sluice_ep {
	struct sluice_slot	*slots;
	const struct sluice_hints *hints;
	struct sluice_control	*control;
	struct sluice_counters	*count;
	char			*buffer_words;
	char			*payload;
	u64			ticket;
	u64			high;
	u32			generation;
	u32			order;
	u32			nslots;
	u32			nbufs;
	u32			bufsize;
	u32			id;
	u32			buffer_hint;
	u32			turns[BUFFER_TURNS];
	u32			nturns;
	u32			turn;
	u32			policy;
	u32			membership;
	struct choices		*choices;
	u64			recipient;
	u64			start;
	u64			addressed;
	bool			early;
	bool			sole;
	bool			reserved;
	bool			asym_fence;
	u32			calm;

	struct sluice_ctx	*ctx;
	struct sluice_ep	*next;		/* in ctx->eps or ctx->zombies */
	struct sluice_ep	*next_kick;
	u32			kicks;
	u32			commands;
	bool			detached;
	bool			uring;
	u64			published_at;
	u64			expect_ns;
	u32			waits;
	struct park		park[PARKS];
	struct send_op		**sending;
	struct send_worker	*worker;

	int			fd;
	enum sluice_role	role;
	size_t			hints_bytes;
	size_t			control_bytes;
	size_t			payload_bytes;
	char			name[SLUICE_NAME_MAX];
};

/**
 * struct send_op - an asynchronous send, from submission until its completion is fetched
 * @arg:	what the kernel reads; it and @data live until the completion
 * @buffer:	taken by the library for this message, or SLUICE_NO_BUFFER
 * @abandoned:	nobody wants to know any more
 * @own:	a call's: it is not among the completions that the application fetches
 * @finished:	@own: @result is there
 */
struct send_op {
	struct send_op		*next;
	struct sluice_ep	*ep;
	u64			cookie;
	int			result;
	u32			buffer;
	bool			abandoned;
	bool			own;
	bool			finished;
	struct sluice_send	arg;
	unsigned char		data[SLUICE_INLINE_MAX];
};

struct send_list {
	struct send_op		*head;
	struct send_op		**tail;
};

#define SECOND_LINE	64u	/* of a slot: bytes from its beginning */

/**
 * struct early - whether to wake the reader of an answer before the answer is there (early.c)
 * @ep:		where the last answer went
 * @woken_at:	ticks when a sleep of this context ended
 * @credit:	what quick answers earned and wake-ups in vain cost; positive: do it
 * @armed:	the reader of @ep has been woken, or will be at our own wake-up
 */
struct early {
	struct sluice_ep	*ep;
	u64			woken_at;
	int			credit;
	bool			armed;
};

/**
 * struct sluice_ctx - one thread's way into the kernel
 * @enabled:	the ring is this thread's; it is so from its first use on
 * @intr_fd:	eventfd of sluice_interrupt()
 * @intr_armed:	the ring watches @intr_fd
 * @done:	completed sends that nobody has fetched
 * @inflight:	sends submitted and not completed
 * @done_lock:	guards @done and @inflight where threads complete sends (no io_uring)
 * @done_fd:	eventfd that they raise, and who cancels a call
 * @done_armed:	the ring watches @done_fd
 * @callers:	that call in this context
 * @news:	of a call: a sleep has to end, whatever it waits for
 * @told:	without io_uring: sends of calls that completed and were not looked at
 * @any_told:	there are such
 */
struct sluice_ctx {
	unsigned int		flags;
	bool			uring;
	bool			enabled;
	bool			may_spin;
	bool			defer;
	int			interrupted;
	int			intr_fd;
	bool			intr_armed;
	u64			spin_ns;
	struct early		early;
	struct sluice_ep	*eps;
	struct sluice_ep	*zombies;
	struct sluice_ep	*kick_list;
	struct send_op		*free_ops;
	struct send_list	done;
	u32			inflight;
	pthread_mutex_t		done_lock;
	int			done_fd;
	bool			done_armed;
	bool			news;
	bool			any_told;
	u32			callers;
	struct send_list	told;
	struct io_uring		ring;
};

/* ------------------------------------------------------------- error.c --- */

/* Errors that are part of normal work: said in words only if somebody asks. */
enum lazy_error {
	ERROR_NONE,
	ERROR_EMPTY,
	ERROR_FULL,
	ERROR_NO_CREDIT,
	ERROR_NO_BUFFER,
	ERROR_QUEUE_FULL,
	ERROR_INTERRUPTED,
	ERROR_CLOSED,
	ERROR_STALE,
	ERROR_EXPELLED,
	ERROR_NOBODY,
	ERROR_UNTYPED,
};

int __sluice_err(int ret, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int __sluice_err_lazy(int ret, enum lazy_error what, const struct sluice_ep *ep);

/* ------------------------------------------------------------- ticks.c --- */

u64 __sluice_now(void);
/* Else the kernel's clock is asked. */
extern bool __sluice_tsc_is_a_clock __attribute__((visibility("hidden")));

static inline u64 deadline_of(int64_t timeout_ns)
{
	if (timeout_ns < 0)
		return DEADLINE_NEVER;
	return timeout_ns ? __sluice_now() + (u64)timeout_ns : DEADLINE_NOW;
}

/* The other way round: what is left of it. */
static inline int64_t timeout_until(u64 deadline)
{
	u64 now;

	if (deadline == DEADLINE_NEVER)
		return SLUICE_FOREVER;
	now = deadline == DEADLINE_NOW ? 0 : __sluice_now();
	return deadline > now ? (int64_t)(deadline - now) : SLUICE_NOW;
}

/* -------------------------------------------------------------- wait.c --- */

/* One attempt; -EAGAIN when there is reason to wait. */
typedef int (*try_fn)(struct sluice_ep *ep, void *arg);

int __sluice_retry(struct sluice_ep *ep, try_fn attempt, void *arg, u32 what, u64 deadline);
int __sluice_spin(struct sluice_ep *ep, try_fn attempt, void *arg, u64 start, u64 deadline);
void __sluice_slept(struct sluice_ep *ep, const struct sluice_msg *msg, u64 start);
void __sluice_kick(struct sluice_ep *ep, u32 what);
void __sluice_forget_kicks(struct sluice_ep *ep);
int __sluice_wait_more(struct sluice_ctx *ctx, u64 deadline);

static inline bool interrupted(const struct sluice_ctx *ctx)
{
	return __atomic_load_n(&ctx->interrupted, __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------- early.c --- */

void __sluice_early_woken(struct sluice_ctx *ctx);
void __sluice_early_kicked(struct sluice_ep *ep);
void __sluice_early_forget(struct sluice_ep *ep);
struct sluice_ep *__sluice_early_for(struct sluice_ctx *ctx);

/* ------------------------------------------------------------- uring.c --- */

int __sluice_uring_init(struct sluice_ctx *ctx);
void __sluice_uring_exit(struct sluice_ctx *ctx);
int __sluice_uring_send(struct sluice_ctx *ctx, struct send_op *op);
int __sluice_uring_submit(struct sluice_ctx *ctx);
int __sluice_uring_reap(struct sluice_ctx *ctx);
int __sluice_uring_wait(struct sluice_ctx *ctx, u64 deadline);
int __sluice_uring_park(struct sluice_ep *ep, u32 what, u64 deadline);
int __sluice_uring_park_any(struct sluice_ep *const *eps, u32 n, u64 deadline);
int __sluice_uring_park_look(struct sluice_ep *ep, u64 cursor, u64 deadline);

/* -------------------------------------------------------------- poll.c --- */

int __sluice_poll_park(struct sluice_ep *ep, u32 what, u64 deadline);
int __sluice_poll_park_at(struct sluice_ep *ep, u64 cursor, u32 what, u64 deadline);
int __sluice_poll_park_any(struct sluice_ep *const *eps, u32 n, u64 deadline);
int __sluice_poll_wait(struct sluice_ctx *ctx, u64 deadline);

/* ------------------------------------------------------------- async.c --- */

void __sluice_send_done(struct send_op *op, int result);
void __sluice_send_forget(struct sluice_ep *ep);
void __sluice_send_exit(struct sluice_ctx *ctx);
int __sluice_send_own(struct sluice_ep *ep, const struct sluice_msg *msg, u64 deadline,
		      struct send_op **result);
void __sluice_send_look(struct sluice_ctx *ctx);
void __sluice_send_release(struct sluice_ctx *ctx, struct send_op *op);
void __sluice_clear_event(int fd);

/* ------------------------------------------------------------- setup.c --- */

void __sluice_ep_layout(struct sluice_ep *ep, const struct sluice_hints *hints, void *control,
			void *payload, u32 index);
void __sluice_ep_put_zombie(struct sluice_ep *ep);

/* ----------------------------------------------------------- produce.c --- */

/**
 * struct outgoing - a message on its way into a slot
 * @data:	inline bytes, or NULL when they are in place or in @buffer
 * @time:	of its publish, in ticks; 0: now
 * @taken:	the library took @buffer for it
 */
struct outgoing {
	u64		stream;
	u64		counter;
	const void	*data;
	u64		ticket;
	u64		time;
	u32		len;
	u32		buffer;
	__u16		kind;
	__u16		flags;
	bool		taken;
};

int __sluice_outgoing(struct sluice_ep *ep, const struct sluice_msg *msg, struct outgoing *out,
		      u64 deadline);
void __sluice_outgoing_drop(struct sluice_ep *ep, struct outgoing *out);
int __sluice_send_try(struct sluice_ep *ep, void *outgoing);
int __sluice_room_try(struct sluice_ep *ep, void *ticket);
int __sluice_publish_at(struct sluice_ep *ep, struct outgoing *out, u64 ticket);
void __sluice_look_ready(struct sluice_ep *ep);
void __sluice_look_room(struct sluice_ep *ep);
int __sluice_claim_peek(struct sluice_ep *ep);

/* ------------------------------------------------------------- claim.c --- */

bool __sluice_read_slot(struct sluice_ep *ep, const struct sluice_slot *slot, u64 token,
			struct sluice_msg *msg);
void __sluice_look_after_ack(struct sluice_ep *ep, bool tell);

/* --------------------------------------------------------- broadcast.c --- */

int __sluice_broadcast_address(struct sluice_ep *ep, struct sluice_slot *slot);
void __sluice_broadcast_look(struct sluice_ep *ep);
int __sluice_broadcast_walk(struct sluice_ep *ep, struct sluice_msg *msg);
bool __sluice_broadcast_holds(struct sluice_ep *ep, const struct sluice_msg *msg);
bool __sluice_broadcast_ack(struct sluice_ep *ep, const struct sluice_msg *msg);

/* ----------------------------------------------------------- backlog.c --- */

bool __sluice_over(const struct sluice_ep *ep, u64 ticket);
u64 __sluice_tail(const struct sluice_ep *ep);
u64 __sluice_unfinished(const struct sluice_ep *ep, u64 *first, u64 tail);

/* --------------------------------------------------------- admission.c --- */

int __sluice_admit_at(struct sluice_admission *door, u64 now, u64 deadline_ns, u64 *retry_after_ns);

/* ------------------------------------------------------------ policy.c --- */

void __sluice_members_changed(struct sluice_ep *ep);
u32 __sluice_choose(struct sluice_ep *ep, u64 stream);
u32 __sluice_target(struct sluice_ep *ep, u64 stream);
bool __sluice_mine(struct sluice_ep *ep, const struct sluice_slot *slot, u64 word);

/* ------------------------------------------------------------ tensor.c --- */

#define SLUICE_KNOWN_MAX	96	/* all modalities, or all dtypes, in one line */

void __sluice_append(char *text, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
const char *__sluice_modalities(char known[SLUICE_KNOWN_MAX]);
const char *__sluice_dtypes(char known[SLUICE_KNOWN_MAX]);
bool __sluice_media_valid(const char media[SLUICE_MEDIA_MAX]);
bool __sluice_may_be_encoded(unsigned int modality);
int64_t __sluice_shape_bytes(const u32 *shape, u32 rank, size_t element);

/* ---------------------------------------------------------- accepts.c --- */

bool __sluice_type_matches(const struct sluice_tensor *t, const struct sluice_tensor *declared);

/* -------------------------------------------------------------- inline --- */

static inline struct sluice_slot *slot_at(const struct sluice_ep *ep, u64 ticket)
{
	return &ep->slots[ticket_index(ticket, ep->order)];
}

/*
 * Into this core's cache, to be changed there. The builtin asks for a read only, as long as the
 * compiler may not take for granted what each x86-64 processor runs, or skips.
 */
static inline void prefetch_write(const void *p)
{
#if defined(__x86_64__)
	__asm__ volatile("prefetchw %0" : : "m" (*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

/*
 * Makes a line that another processor has written this one's own, and leaves what is in it.
 *
 * Who only reads it leaves the writer with an old copy that others share, and the writer then
 * waits for leave to change it, message for message; a line that it does not have comes to it
 * ahead of time. Measured on AMD's Zen 4, see docs/performance.md. It may be somebody else's by
 * now, if the claim was lost: to change nothing is atomic, too.
 */
static inline void own_line(void *p)
{
#if defined(__x86_64__)
	__asm__ volatile("lock orl $0, %0" : "+m" (*(u32 *)p) : : "cc");
#endif
}

/* Does a message with @len bytes in its slot fill the slot's second line, too? */
static inline bool has_second_line(u32 len)
{
	return len > SECOND_LINE - offsetof(struct sluice_slot, data);
}

static inline u64 *buffer_word(const struct sluice_ep *ep, u32 index)
{
	return (u64 *)(ep->buffer_words + (size_t)index * SLUICE_BUFFER_STRIDE);
}

static inline u32 hint(const u32 *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

/* Who lives and what the policy is, if that has changed. */
static inline void look_at_members(struct sluice_ep *ep)
{
	if (unlikely(hint(&ep->hints->membership) != ep->membership))
		__sluice_members_changed(ep);
}

/* As sluice_ticks(). */
static inline u64 ticks_now(void)
{
#if defined(__x86_64__) || defined(__i386__)
	if (likely(__sluice_tsc_is_a_clock))
		return __builtin_ia32_rdtsc();
#endif
	return sluice_ticks();
}

/* Counters have one writer, this endpoint; readers see whole words. */
static inline void count(u64 *counter, u64 n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* (C) after a compare-and-swap, which on x86 is a full fence already. */
static inline void fence_after_cas(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
#else
	sl_fence();
#endif
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb" ::: "memory");
#else
	__asm__ volatile("" ::: "memory");
#endif
}

#endif /* SLUICE_LIB_INTERNAL_H */
