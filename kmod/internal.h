/* SPDX-License-Identifier: GPL-2.0 */
/*
 * internal.h: what the files of the module share.
 *
 *	main.c      module, control device
 *	stage.c     create, destroy, look up a stage and its node
 *	info.c      what is reported about stages and endpoints
 *	region.c    sparse memory that user space maps
 *	user.c      what the stages of one user may take
 *	endpoint.c  open, attach, mmap, release: who is alive
 *	ring.c      the kernel's own reserve, publish, claim and ack
 *	wait.c      park, wake, kick, poll
 *	turn.c      who waits for room is served
 *	command.c   ioctl and uring_cmd of a stage
 *	queue.c     messages that wait for room, senders that wait for the ACK
 *	reap.c      what the dead leave behind
 *	retry.c     timeouts, nack, renew, dead letters
 *	repair.c    a stage that somebody wrote nonsense into
 *	rw.c        read(2) and write(2)
 *
 * Locks, outermost first:
 *	sl_stages_lock  the table of stages
 *	stage->lock     endpoints, queue, shadow; a dead-letter stage's nests inside
 *			its parent's. Never held while user memory is touched: it is
 *			taken under mmap_lock (vm_ops->close).
 *	stage->wait_lock  sleepers; io_uring is called after it is dropped
 *
 * Shared memory is read once into a local, checked, and only the local is used.
 */
#ifndef SLUICE_INTERNAL_H
#define SLUICE_INTERNAL_H

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <uapi/sluice.h>
#include <slot.h>

struct io_uring_cmd;
struct sl_endpoint;
struct sl_stage;

#define SL_SLOTS_PER_PAGE	(PAGE_SIZE / sizeof(struct sluice_slot))
#define SL_FIRST_MINOR_STAGE	1
#define SL_MINORS		BIT(16)
/* A command that nothing can cancel may not stay parked for longer (6.1). */
#define SL_PARK_MAX		(5 * HZ)
/* An uncharged "busy" is not given back at once, or two busy consumers spin. */
#define SL_BUSY_DELAY_MS	1
/* How often one compare-and-swap against user space is tried (P29). */
#define SL_CAS_TRIES		16

/* Module parameters. */
extern unsigned int sl_max_stages;
extern unsigned int sl_max_stage_mb;
extern unsigned int sl_max_total_mb;
extern unsigned int sl_max_user_stages;
extern unsigned int sl_max_user_mb;
extern unsigned int sl_dead_letter_kb;
extern bool sl_asym_fence;

/* --------------------------------------------------------------- user.c --- */

/**
 * struct sl_user - the account of one user
 * @refs:	stages that exist, also those that are gone and still mapped
 * @stages:	stages in the table; under sl_stages_lock
 * @resident:	pages of them all
 */
struct sl_user {
	struct hlist_node	list;
	kuid_t			uid;
	unsigned int		refs;
	unsigned int		stages;
	atomic_long_t		resident;
};

struct sl_user *sl_user_get(kuid_t uid);
void sl_user_put(struct sl_user *u);
bool sl_user_may_create(const struct sl_user *u);
bool sl_user_may_grow(const struct sl_user *u);

/* ------------------------------------------------------------- region.c --- */

/**
 * struct sl_region - pages that appear when they are first touched
 * @pages:	page index -> struct page
 * @npages:	size of the region
 * @resident:	pages there are, by stage (shared counter)
 * @user:	who pays for them
 */
struct sl_region {
	struct xarray	pages;
	unsigned long	npages;
	atomic_long_t	*resident;
	struct sl_user	*user;
};

void sl_region_init(struct sl_region *r, unsigned long npages, struct sl_stage *s);
void sl_region_destroy(struct sl_region *r);
void *sl_region_peek(struct sl_region *r, unsigned long index);
void *sl_region_get(struct sl_region *r, unsigned long index);
struct page *sl_region_page(struct sl_region *r, unsigned long index, int *err);
int sl_region_copy(struct sl_region *dst, u64 to, struct sl_region *src, u64 from, size_t len);
int sl_region_copy_in(struct sl_region *r, u64 to, const void __user *from, size_t len);
int sl_region_copy_out(struct sl_region *r, u64 from, void __user *to, size_t len);
int sl_region_write(struct sl_region *r, u64 to, const void *from, size_t len);

/* -------------------------------------------------------------- stage.c --- */

/**
 * struct sl_shadow - what the kernel knows about a slot and nobody else can change
 * @word:	the word that the tick saw last
 * @since:	when it saw it first (ktime ns); RENEW sets it anew
 * @seen:	when the ticket was first seen in use
 * @claimed:	when the present claim was first seen, renewals do not change it
 * @not_before:	a deferred claim may be given to somebody else then
 * @lap:	the lap that @seen, @charges and @reason belong to
 * @charges:	failures of claims that were started
 * @reason:	the last one, positive errno
 */
struct sl_shadow {
	u64	word;
	u64	since;
	u64	seen;
	u64	claimed;
	u64	not_before;
	u64	lap;
	u16	charges;
	u16	reason;
};

/* What a turn is about, see turn.c. */
enum { SL_TURN_ROOM, SL_TURN_BUFFER, SL_TURNS };

/* The kernel's counters of a stage, for SLUICE_IOC_INFO. Under stage->lock, or racy by one. */
struct sl_counts {
	u64	redelivered, discarded, timeouts, nacks, deaths, evictions;
	u64	dead_letters, dead_dropped, wakes, kicks, sends, lies, expelled;
	/* what endpoints that are gone said of themselves */
	u64	published, claimed, acked, stale, bytes;
};

struct sl_stage {
	struct kref		ref;
	struct hlist_node	by_name;
	struct device		dev;
	char			name[SLUICE_NAME_MAX];
	u32			minor;

	/* geometry: written before the stage can be found, constant after that */
	u32			nslots, order, nbufs, bufsize;
	u32			max_attempts, queue_max, dead_slots, flags;
	u64			ack_timeout_ns, max_hold_ns, write_timeout_ns;
	kuid_t			uid;
	kgid_t			gid;
	struct sl_user		*user;		/* who created it */
	umode_t			mode;
	u32			buffers_offset, slots_offset;

	struct sluice_hints	*hints;		/* one page, read only in user space */
	struct sl_region	control;
	struct sl_region	payload;
	atomic_long_t		resident;	/* pages of both */

	struct mutex		lock;		/* endpoints, queue, shadow, tail */
	struct xarray		endpoints;	/* id -> struct sl_endpoint */
	u32			next_id;
	DECLARE_BITMAP(indices, SLUICE_MAX_ENDPOINTS);
	u32			producers, consumers;
	u32			policy;		/* enum sluice_policy */
	u64			recipients;	/* broadcast: bits of who gets what is sent */
	u64			bits_taken;	/* and of who was put out and is mapped */
	u64			*starts;	/* by bit: the first ticket of its consumer */
	struct sl_endpoint	*sole;		/* until its last mapping is gone (P20) */
	u64			tail;		/* the kernel's own idea of the tail hint */
	u32			buffer_hint;
	struct xarray		shadow;		/* slot page index -> struct sl_shadow[] */
	struct list_head	queue;		/* struct sl_send, waiting for room */
	struct list_head	sent;		/* struct sl_send, waiting for the ACK */
	struct list_head	fills;		/* struct sl_fill */
	u32			nqueue, nsent;
	bool			closed;		/* no new messages */
	u32			closers;	/* who drain it now */
	bool			gone;		/* destroyed; memory stays for who has it open */
	struct sl_stage		*dead;		/* dead-letter stage, or NULL */
	bool			is_dead;	/* this is one */
	struct delayed_work	tick;
	struct sl_counts	counts;

	spinlock_t		wait_lock;	/* sleepers, their counts in the hints, turns */
	bool			fenced;		/* under wait_lock, as the next two; see fence.c */
	u32			fencing;
	u64			calm_after;	/* jiffies */
	u64			turn_since[SL_TURNS];	/* jiffies */
	struct list_head	sleepers;	/* struct sl_waiter */
	wait_queue_head_t	pollq;
};

/* For those that are counted without stage->lock, too (kicks, lies, wakes): racy by one. */
#define sl_count_racy(s, what, n)	data_race((s)->counts.what += (n))
/* for SLUICE_IOC_INFO */
#define sl_count_look(s, what)		data_race((s)->counts.what)

extern struct mutex sl_stages_lock;
extern struct workqueue_struct *sl_workqueue;

int sl_stages_init(void);
void sl_stages_exit(void);
int sl_stage_create(const struct sluice_create *c);
int sl_stage_destroy(const struct sluice_destroy *d);
int sl_stage_may_manage(const struct sl_stage *s);
struct sl_stage *sl_stage_by_name(const char *name);
struct sl_stage *sl_stage_by_minor(u32 minor);
struct sl_stage *sl_stage_after(u64 *cookie);
void sl_stage_put(struct sl_stage *s);

/* Slot @index, or NULL when its page was never touched: then its word is FREE(0). */
struct sluice_slot *sl_slot(struct sl_stage *s, u32 index);
u64 sl_slot_word(struct sl_stage *s, u32 index);
u64 *sl_buffer_word(struct sl_stage *s, u32 index, bool make);
struct sluice_control *sl_control(struct sl_stage *s);
struct sluice_counters *sl_endpoint_counters(struct sl_stage *s, u32 index);
struct sl_shadow *sl_shadow(struct sl_stage *s, u32 index, u64 lap);

/* --------------------------------------------------------------- info.c --- */

int sl_stage_info(struct sl_stage *s, struct sluice_info *info);
int sl_endpoint_info(struct sl_stage *s, struct sluice_endpoint_info *info);
void sl_info_keep(struct sl_endpoint *ep);

/* ----------------------------------------------------------- endpoint.c --- */

enum sl_waiter_kind { SL_WAIT_TASK, SL_WAIT_URING, SL_WAIT_POLL };

/**
 * struct sl_waiter - one sleeper
 *
 * Whoever clears @parked, under wait_lock, completes it.
 */
struct sl_waiter {
	struct list_head	list;
	bool			parked;		/* on stage->sleepers; under wait_lock */
	enum sl_waiter_kind	kind;
	struct sl_endpoint	*ep;
	struct io_uring_cmd	*cmd;
	struct task_struct	*task;
	struct sluice_wait	wait;
	unsigned long		deadline;	/* jiffies; uring on kernels that cannot cancel */
	refcount_t		refs;		/* of a command's: who parks it, who completes it */
	int			result;
};

/**
 * struct sl_endpoint - one open file on a stage
 * @mm:		who attached; held by mmgrab, so its address is not reused
 * @own_maps:	mappings in @mm: the endpoint lives as long as there are any (P24)
 * @all_maps:	mappings anywhere (MADV_DOFORK can copy them)
 * @mapped:	there was one
 * @polled:	somebody has called poll(), or waits in an epoll
 * @mapping:	so that this endpoint alone can be unmapped (P26)
 * @lost:	wake-ups in vain since the wait began; under wait_lock
 * @waits_since: when it began, in jiffies
 * @recipient:	of a broadcast: its bit in the masks, 0 = none
 * @joined:	when it got that, ktime ns
 * @cursor:	of read(2) and poll()
 */
struct sl_endpoint {
	struct sl_stage		*stage;
	struct mm_struct	*mm;
	fl_owner_t		files;
	struct pid		*pid;
	char			comm[TASK_COMM_LEN];
	u32			id, index, role, flags;
	bool			attached, dead, mapped, evicted, polled;
	u32			own_maps, all_maps;
	u32			nwaiters;	/* of its on stage->sleepers; under wait_lock */
	u32			lost[SL_TURNS];
	u64			waits_since[SL_TURNS];
	struct address_space	mapping;
	struct rw_semaphore	fault_lock;	/* @evicted against faults that insert */
	u64			recipient, joined;
	struct sl_waiter	poll;
	struct mutex		read_lock;	/* one read(2) at a time: cursor, generation */
	u64			cursor;
	u32			generation;
};

extern const struct file_operations sl_endpoint_fops;
int sl_endpoint_attach(struct file *file, struct sluice_attach *a);
int sl_endpoint_attach_implicit(struct file *file, u32 role);
int sl_endpoint_check(struct sl_endpoint *ep);
bool sl_endpoint_alive(struct sl_stage *s, u32 id);
void sl_endpoint_die(struct sl_endpoint *ep);
void sl_endpoint_evict(struct sl_endpoint *ep);

/* --------------------------------------------------------------- ring.c --- */

/* A message on its way through the kernel. */
struct sl_message {
	u64	stream, counter, time, target;
	u32	len, buf;
	u16	kind, flags;
	u8	data[SLUICE_INLINE_MAX];
};

int sl_ring_publish(struct sl_stage *s, struct sl_message *m, u32 buf_owner, u64 *ticket);
bool sl_walk_interrupted(u32 steps);
int sl_ring_claim(struct sl_stage *s, struct sl_endpoint *ep, size_t room, u64 *ticket,
		  u64 *token);
int sl_ring_message(struct sl_stage *s, u64 ticket, struct sl_message *m);
void sl_ring_acked(struct sl_stage *s, u64 ticket, const struct sl_message *m);
int sl_buffer_take(struct sl_stage *s, u32 owner, u32 *index);
void sl_buffer_drop(struct sl_stage *s, u32 index, u32 owner);
void sl_ring_find_tail(struct sl_stage *s);

/* --------------------------------------------------------------- fill.c --- */

/**
 * struct sl_fill - a buffer that is being filled, on its stage's list
 * @buf:	SLUICE_NO_BUFFER: none
 */
struct sl_fill {
	struct list_head	list;
	u32			buf;
};

int sl_fill(struct sl_endpoint *ep, struct sl_fill *f, const void __user *from, u32 len);
void sl_fill_end(struct sl_stage *s, struct sl_fill *f, bool used);

/* ------------------------------------------------------------- policy.c --- */

void sl_policy_members(struct sl_stage *s);
void sl_policy_set(struct sl_stage *s, u32 policy);
bool sl_policy_mine(struct sl_stage *s, const struct sl_endpoint *ep,
		    const struct sluice_slot *slot, u64 ticket, u64 word);
bool sl_policy_overdue(struct sl_stage *s, u64 ticket);
void sl_policy_tick(struct sl_stage *s);

/* ---------------------------------------------------------- broadcast.c --- */

static inline bool sl_is_broadcast(const struct sl_stage *s)
{
	return READ_ONCE(s->policy) == SLUICE_POLICY_BROADCAST;
}

void sl_broadcast_join(struct sl_stage *s, struct sl_endpoint *ep);
void sl_broadcast_leave(struct sl_endpoint *ep);
bool sl_broadcast_expelled(const struct sl_endpoint *ep);
bool sl_broadcast_prune(struct sl_stage *s);
void sl_broadcast_reset(struct sl_stage *s);
void sl_broadcast_starts(struct sl_stage *s);
bool sl_broadcast_tick(struct sl_stage *s, u32 index, u64 word, bool late);
int sl_broadcast_next(struct sl_stage *s, struct sl_endpoint *ep, size_t room, u64 *ticket,
		      u64 *token);
bool sl_broadcast_ack(struct sl_endpoint *ep, u64 ticket, u64 token);
u32 sl_broadcast_held(struct sl_stage *s, const struct sl_endpoint *ep);

/* --------------------------------------------------------------- wait.c --- */

int sl_park(struct sl_stage *s, struct sl_waiter *w);
bool sl_unpark(struct sl_stage *s, struct sl_waiter *w);
void sl_wake(struct sl_stage *s, u32 what, int result);
void sl_wake_endpoint(struct sl_endpoint *ep, int result);
void sl_wake_expired(struct sl_stage *s);
void sl_put_waiter(struct sl_waiter *w);
bool sl_cancel_wait(struct sl_stage *s, struct io_uring_cmd *cmd);
bool sl_parked_commands(struct sl_stage *s);
bool sl_all_parked(struct sl_stage *s);
bool sl_may_park(struct sl_endpoint *ep);
bool sl_endpoint_parked(struct sl_endpoint *ep);
bool sl_poll_again(struct sl_endpoint *ep, const struct sluice_wait *wait);
bool sl_wait_over(struct sl_stage *s, const struct sl_waiter *waiter);
int sl_wait(struct sl_endpoint *ep, const struct sluice_wait *wait, s64 timeout_ns);
void sl_generation(struct sl_stage *s);
void sl_kick(struct sl_stage *s, u32 what);
__poll_t sl_poll(struct file *file, poll_table *table);
int sl_poll_look(struct sl_endpoint *ep, const struct sluice_wait *wait);

/* -------------------------------------------------------------- fence.c --- */

bool sl_fence_begin(struct sl_stage *s);
void sl_fence_everywhere(struct sl_stage *s);
void sl_fence_calm(struct sl_stage *s);

/* --------------------------------------------------------------- turn.c --- */

/* Is it @ep's, or nobody's? */
static inline bool sl_turn_is(const struct sl_endpoint *ep, u32 turn)
{
	return !turn || turn == ep->id;
}

bool sl_turn_allows(struct sl_stage *s, const struct sl_waiter *w);
void sl_turn_parked(struct sl_stage *s, struct sl_waiter *w);
void sl_turn_end(struct sl_endpoint *ep);
void sl_turn_tick(struct sl_stage *s);

/* -------------------------------------------------------------- queue.c --- */

/**
 * struct sl_send - a message that the kernel keeps or watches for its sender
 * @published:	in stage->sent, under @ticket; else in stage->queue
 * @owner:	endpoint id
 * @accept:	the sender was answered at acceptance
 * @missed:	broadcast: somebody who owed the ACK was put out for being slow
 * @cmd:	to be completed, or NULL: nobody waits any more
 * @task:	who submitted @cmd; held while there is one
 * @waiter:	task of SLUICE_IOC_SEND, or NULL
 */
struct sl_send {
	struct list_head	list;
	bool			published;
	struct sl_message	m;
	u64			ticket;
	u32			owner;
	bool			accept;
	bool			missed;
	struct io_uring_cmd	*cmd;
	struct task_struct	*task;
	struct completion	*waiter;
	int			*result;
};

int sl_send(struct sl_endpoint *ep, const struct sluice_send *arg, struct io_uring_cmd *cmd,
	    unsigned int issue_flags);
void sl_send_cancel(struct sl_stage *s, struct io_uring_cmd *cmd);
void sl_send_leavers(struct sl_stage *s);
void sl_send_orphan(struct sl_endpoint *ep);
void sl_queue_pump(struct sl_stage *s);
void sl_queue_check(struct sl_stage *s);
void sl_queue_dead(struct sl_stage *s, u64 ticket, int reason);
void sl_queue_lost(struct sl_stage *s, u32 index);
void sl_queue_missed(struct sl_stage *s, u32 index, u64 word);
void sl_queue_close(struct sl_stage *s);

/* --------------------------------------------------------------- reap.c --- */

void sl_reap(struct sl_stage *s, u32 id, bool was_sole);
bool sl_reap_slot(struct sl_stage *s, u32 index, u64 word, bool charge);
bool sl_next_slot(struct sl_stage *s, u32 *index);
bool sl_reap_buffers(struct sl_stage *s, u32 sole_id, bool *freed);

/* -------------------------------------------------------------- retry.c --- */

void sl_tick_start(struct sl_stage *s);
void sl_tick(struct work_struct *work);
bool sl_retry_claim(struct sl_stage *s, u32 index, u64 word, bool charge, int reason);
int sl_nack(struct sl_endpoint *ep, const struct sluice_nack *n);
int sl_renew(struct sl_endpoint *ep, const struct sluice_nack *n);
void sl_bury(struct sl_stage *s, u32 index, u64 word, int reason);

/* ------------------------------------------------------------- repair.c --- */

int sl_stage_repair(struct sluice_repair *found);

/* ----------------------------------------------------------------- rw.c --- */

ssize_t sl_read(struct file *file, char __user *buf, size_t len, loff_t *pos);
ssize_t sl_write(struct file *file, const char __user *buf, size_t len, loff_t *pos);

/* ------------------------------------------------------------ command.c --- */

long sl_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
int sl_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags);
void sl_uring_complete(struct io_uring_cmd *cmd, int result);
unsigned int sl_ioctl_base(unsigned int cmd);
int sl_copy_struct(void *dst, size_t ksize, const void __user *src);

#endif /* SLUICE_INTERNAL_H */
