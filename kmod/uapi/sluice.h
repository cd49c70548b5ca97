/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * sluice: the ABI between the kernel module and user space.
 *
 * /dev/sluice/control   creates, destroys, lists and inspects stages (ioctl)
 * /dev/sluice/<stage>   one ring: ioctl, mmap, poll, read, write, uring_cmd
 *
 * Unknown flags and non-zero reserved fields are refused with -EINVAL. Every
 * structure that may grow starts with its own size; a shorter one is extended
 * with zeroes, a longer one is accepted if what the kernel does not know is 0.
 */
#ifndef _UAPI_SLUICE_H
#define _UAPI_SLUICE_H

#include <linux/types.h>
#include <linux/ioctl.h>

#define SLUICE_ABI_VERSION	1

/* Limits that user space may rely on. */
#define SLUICE_NAME_MAX		48	/* with the terminating NUL */
#define SLUICE_MIN_SLOTS	64
#define SLUICE_MAX_SLOTS	(1u << 20)
#define SLUICE_MAX_BUFFERS	(1u << 16)
#define SLUICE_MAX_BUFFER_SIZE	(1u << 30)
#define SLUICE_MAX_ENDPOINTS	256
#define SLUICE_MAX_RECIPIENTS	64	/* consumers of a broadcast stage */
#define SLUICE_MAX_ATTEMPTS	254
#define SLUICE_INLINE_MAX	76
#define SLUICE_NO_BUFFER	0xffffffffu

/* Features, answered by SLUICE_IOC_FEATURES. All bits are listed here. */
#define SLUICE_F_URING		(1ull << 0)	/* WAIT, SEND, KICK as uring_cmd */
#define SLUICE_F_CANCEL		(1ull << 1)	/* parked commands are cancelable */
#define SLUICE_F_DEAD_LETTERS	(1ull << 2)
#define SLUICE_F_SOLE_PRODUCER	(1ull << 3)
#define SLUICE_F_POLICY		(1ull << 4)	/* others than SLUICE_POLICY_SHARED */
#define SLUICE_F_BROADCAST	(1ull << 5)	/* SLUICE_POLICY_BROADCAST */
#define SLUICE_F_FENCES		(1ull << 6)	/* sluice_hints.fences, SLUICE_KICK_CALM */
#define SLUICE_F_ALL		(SLUICE_F_URING | SLUICE_F_CANCEL | SLUICE_F_DEAD_LETTERS | \
				 SLUICE_F_SOLE_PRODUCER | SLUICE_F_POLICY | SLUICE_F_BROADCAST | \
				 SLUICE_F_FENCES)

/**
 * struct sluice_slot - one message in the ring, a pair of cache lines
 * @word:	who owns the slot, see slot.h; the only word that decides
 * @target:	in a stage with a policy: id of the consumer that it is for, 0 = anybody
 *		in a broadcast stage: bits of the consumers that have not acknowledged
 * @stream:	request or session the message belongs to
 * @counter:	position of the message in its stream
 * @time:	when it was published, in ticks of the publisher's cycle counter
 * @len:	payload bytes, inline or in the buffer
 * @buf:	buffer index, or SLUICE_NO_BUFFER when the payload is inline
 * @kind:	message type, the application's
 * @flags:	SLUICE_MSG_*
 * @data:	inline payload; up to 12 bytes touch one cache line only
 */
struct sluice_slot {
	__u64	word;
	__u64	target;
	__u64	stream;
	__u64	counter;
	__u64	time;
	__u32	len;
	__u32	buf;
	__u16	kind;
	__u16	flags;
	__u8	data[SLUICE_INLINE_MAX];
} __attribute__((aligned(128)));

/* struct sluice_slot.flags; set before publish, never changed after it */
#define SLUICE_MSG_TELL		(1u << 0)	/* sender waits for the ACK: tell the kernel */
#define SLUICE_MSG_OPEN		(1u << 1)	/* first message of its stream */
#define SLUICE_MSG_LAST		(1u << 2)	/* last message of its stream */
#define SLUICE_MSG_USER_SHIFT	8		/* bits 8..15 are the application's */
#define SLUICE_MSG_ALL		0xff07u

/*
 * Memory of a stage: three regions, told apart by the mmap offset. The length
 * must be exactly what SLUICE_IOC_ATTACH returned.
 *
 *   hints    everyone reads, the kernel writes
 *   control  both sides read and write: slots, buffer words, tail hint
 *   payload  producers write; consumers can only read
 */
#define SLUICE_MMAP_HINTS	0x000000000ull
#define SLUICE_MMAP_CONTROL	0x100000000ull
#define SLUICE_MMAP_PAYLOAD	0x10000000000ull

/* struct sluice_hints.closed */
#define SLUICE_CLOSED_DRAIN	(1u << 0)	/* no new messages: producers get -ESHUTDOWN */
#define SLUICE_CLOSED_GONE	(1u << 1)	/* destroyed: so does everybody */

/**
 * struct sluice_member - a consumer that lives
 * @index:	of its counters in the control region
 */
struct sluice_member {
	__u32	id;
	__u32	index;
};

/**
 * struct sluice_hints - the read-only page
 *
 * One cache line per reader's interest, so that a change of one does not cost
 * the reader of another: constants; what a producer looks at after a publish;
 * what a consumer looks at after an ACK; what a walking consumer looks at.
 */
struct sluice_hints {
	/* constants */
	__u32	abi_version;
	__u32	nslots;
	__u32	nbufs;
	__u32	bufsize;
	__u32	max_attempts;
	__u32	ack_timeout_ms;
	__u64	features;
	__u32	buffers_offset;		/* of the buffer words, in the control region */
	__u32	slots_offset;		/* of slot 0, in the control region */
	__u32	policy;			/* enum sluice_policy; may change, with @membership */
	__u32	pad0;
	__u64	pad1;
	__u64	pad2;
	/* a producer looks here after publish and discard */
	__u32	ready_sleepers;		/* who waits for something to claim */
	__u32	closed;			/* SLUICE_CLOSED_* */
	__u32	membership;		/* changed: @policy or @members did; odd: they do now */
	__u32	fences;			/* SLUICE_F_FENCES: a sole producer has to fence */
	__u32	pad3[12];
	/* a consumer looks here after ack; a producer before it publishes */
	__u32	room_sleepers;		/* who waits for a slot or a buffer */
	__u32	queued;			/* messages in the kernel's queue (rule P30) */
	__u32	room_turn;		/* endpoint whose the next slot is, 0 = anybody's */
	__u32	buffer_turn;		/* the same for the next buffer */
	__u32	pad4[12];
	/* a consumer reads this before it walks */
	__u32	generation;		/* changed: go back one lap and walk again */
	__u32	consumers;		/* attached */
	__u32	producers;		/* attached */
	__u32	pad5;
	__u64	overdue;		/* up to this ticket nothing is kept for anybody */
	__u64	recipients;		/* broadcast: bits of the consumers that get what is sent */
	__u64	pad6[4];
	__u64	pad7[224];
	struct sluice_member members[SLUICE_MAX_ENDPOINTS];	/* @consumers of them, by id */
};

/**
 * struct sluice_counters - what an endpoint says of itself
 *
 * Written by user space, so the kernel reports but never believes them.
 */
struct sluice_counters {
	__u64	messages;		/* producer: published; consumer: claimed */
	__u64	bytes;
	__u64	acked;
	__u64	stale;			/* ACKs that came too late */
	__u64	redelivered;		/* claims with attempt > 1 */
	__u64	full;			/* producer: found no room; consumer: NACKs */
	__u64	spins;
	__u64	sleeps;
};

/**
 * struct sluice_control - head of the control region
 * @tail:	hint: no ticket below it is free; anyone may help it forward
 * @buffer_hint: hint: where the last free buffer was found
 * @endpoint:	by endpoint index
 */
struct sluice_control {
	__u64	tail;
	__u64	pad0[15];
	__u64	buffer_hint;
	__u64	pad1[15];
	__u64	pad2[32];
	struct sluice_counters endpoint[SLUICE_MAX_ENDPOINTS];
};

/* Buffer words are one cache line apart. */
#define SLUICE_BUFFER_STRIDE	64

/* ------------------------------------------------ /dev/sluice/control --- */

/* Whom a message is for. Producers choose; see the library's sluice_set_policy(). */
enum sluice_policy {
	SLUICE_POLICY_SHARED		= 0,	/* whoever is idle claims */
	SLUICE_POLICY_ROUND_ROBIN	= 1,	/* one after the other */
	SLUICE_POLICY_LEAST_OUTSTANDING	= 2,	/* who has the fewest that are not acknowledged */
	SLUICE_POLICY_WEIGHTED		= 3,	/* in proportion to the measured service rate */
	SLUICE_POLICY_AFFINITY		= 4,	/* a stream stays with one consumer */
	SLUICE_POLICY_BROADCAST		= 5,	/* everybody; from creation on, and for good */
	SLUICE_POLICY_COUNT
};

/* struct sluice_create.flags */
#define SLUICE_CREATE_DEAD_STOPS (1u << 0)	/* a full dead-letter stage stops the lane */
#define SLUICE_CREATE_SLOW_WAITS (1u << 1)	/* broadcast: wait for who is slow, for ever */
#define SLUICE_CREATE_ALL	(SLUICE_CREATE_DEAD_STOPS | SLUICE_CREATE_SLOW_WAITS)

/**
 * struct sluice_create - SLUICE_IOC_CREATE
 * @size:	sizeof(struct sluice_create)
 * @flags:	SLUICE_CREATE_*
 * @name:	[A-Za-z0-9][A-Za-z0-9._-]*, unique; "control" is taken
 * @nslots:	power of two, SLUICE_MIN_SLOTS..SLUICE_MAX_SLOTS; at least peak
 *		rate x longest claim (rule P14)
 * @nbufs:	payload buffers, 0..SLUICE_MAX_BUFFERS
 * @bufsize:	bytes of each, rounded up to whole pages; 0 if and only if @nbufs is
 * @policy:	enum sluice_policy; a broadcast has no attempts and no dead letters
 * @max_attempts: charged failures before the message is dead, 1..254; 0 = 5
 * @ack_timeout_ms: a claim that does not move for so long is redelivered; 0 = 30000
 * @max_hold_ms: bound of one claim with all its renewals; 0 = 10 x ack_timeout
 * @write_timeout_ms: bound of WRITING by a living endpoint; 0 = 1000
 * @dead_slots:	size of the dead-letter stage "<name>.dead", at most
 *		SLUICE_MAX_BUFFERS, 0 = none; -ENAMETOOLONG when ".dead" does not fit
 * @queue_max:	messages the kernel holds when the ring is full, at most SLUICE_MAX_SLOTS;
 *		0 = nslots
 * @uid:	owner of the node
 * @gid:	group of the node
 * @mode:	permissions of the node, 0 = 0600
 */
struct sluice_create {
	__u32	size;
	__u32	flags;
	char	name[SLUICE_NAME_MAX];
	__u32	nslots;
	__u32	nbufs;
	__u32	bufsize;
	__u32	policy;
	__u32	max_attempts;
	__u32	ack_timeout_ms;
	__u32	max_hold_ms;
	__u32	write_timeout_ms;
	__u32	dead_slots;
	__u32	queue_max;
	__u32	uid;
	__u32	gid;
	__u32	mode;
	__u32	reserved[3];
};

/**
 * struct sluice_destroy - SLUICE_IOC_DESTROY
 * @drain_ms:	wait so long for the ring to empty. 0 refuses a stage that
 *		somebody is attached to with -EBUSY.
 * @flags:	SLUICE_DESTROY_FORCE: after the deadline, destroy it all the same
 */
#define SLUICE_DESTROY_FORCE	(1u << 0)
struct sluice_destroy {
	__u32	size;
	__u32	flags;
	char	name[SLUICE_NAME_MAX];
	__u32	drain_ms;
	__u32	reserved;
};

enum sluice_health {
	SLUICE_LIVE		= 0,
	SLUICE_NO_CONSUMER	= 1,	/* messages wait, nobody is attached to claim */
	SLUICE_STALLED		= 2,	/* the oldest message is older than ack_timeout */
	SLUICE_IDLE		= 3,	/* nobody attached, nothing in it */
	SLUICE_CLOSING		= 4,
};

/**
 * struct sluice_info - SLUICE_IOC_INFO (by name) and SLUICE_IOC_NEXT (by order)
 *
 * For SLUICE_IOC_NEXT @cookie names where to go on: 0 to begin, then the value
 * returned; -ENOENT after the last one. Counters with (u) are sums of what
 * endpoints write about themselves.
 */
struct sluice_info {
	__u32	size;
	__u32	health;			/* enum sluice_health */
	__u64	cookie;
	char	name[SLUICE_NAME_MAX];
	__u32	nslots, nbufs, bufsize, policy;
	__u32	max_attempts, ack_timeout_ms, max_hold_ms, write_timeout_ms;
	__u32	dead_slots, queue_max, uid, gid;
	__u32	mode, producers, consumers, sole;
	__u32	ready, claimed, writing, dead;		/* slots by state, now */
	__u32	buffers_used, queued, ready_sleepers, room_sleepers;
	__u64	tail;			/* tickets given out */
	__u64	oldest_age_ns;		/* the oldest unacknowledged message */
	__u64	bytes_resident;		/* memory paid for */
	__u64	published;		/* (u) */
	__u64	claimed_total;		/* (u) */
	__u64	acked;			/* (u) */
	__u64	stale;			/* (u) */
	__u64	bytes;			/* (u) */
	__u64	redelivered;		/* by the kernel: claims given to somebody else */
	__u64	discarded;		/* by the kernel: half-written messages of the dead */
	__u64	timeouts;
	__u64	nacks;
	__u64	deaths;			/* endpoints reaped */
	__u64	evictions;		/* living endpoints put out */
	__u64	dead_letters;
	__u64	dead_dropped;		/* letters dropped for want of room */
	__u64	wakes;
	__u64	kicks;
	__u64	sends;			/* SEND commands accepted */
	__u64	lies;			/* impossible values found in shared memory */
	__u64	expelled;		/* consumers of a broadcast put out for being slow */
	__u64	reserved[3];
};

/** struct sluice_endpoint_info - SLUICE_IOC_ENDPOINT: one attached endpoint */
struct sluice_endpoint_info {
	__u32	size;
	__u32	index;			/* in: where to look from; out: the one found */
	char	name[SLUICE_NAME_MAX];
	__u32	id;
	__u32	role;			/* enum sluice_role */
	__u32	flags;			/* SLUICE_ATTACH_* */
	__u32	pid;			/* who attached, in the caller's pid namespace */
	__u32	held;			/* messages it owes an ACK for */
	__u32	parked;			/* it sleeps in the kernel */
	char	comm[16];
	struct sluice_counters counters;
	__u64	expelled;		/* 1: put out of the broadcast, to attach anew */
	__u64	reserved;
};

/**
 * struct sluice_repair - SLUICE_IOC_REPAIR: put a stage back to work
 * @flags:	0
 * @name:	in
 * @evicted:	endpoints that were put out (all: they attach anew)
 * @slots_reset: slots whose word made no sense: what was in them is lost
 * @slots_reaped: slots that somebody who is gone had left half done
 * @messages_dead: messages that could not be delivered, now dead letters
 * @buffers_freed: buffers that no message referred to
 */
struct sluice_repair {
	__u32	size;
	__u32	flags;
	char	name[SLUICE_NAME_MAX];
	__u32	evicted;
	__u32	slots_reset;
	__u32	slots_reaped;
	__u32	messages_dead;
	__u32	buffers_freed;
	__u32	reserved[5];
};

/**
 * struct sluice_set_policy - SLUICE_IOC_POLICY: from now on, without a loss
 * @policy:	enum sluice_policy; to or from a broadcast: -EINVAL
 */
struct sluice_set_policy {
	__u32	size;
	__u32	flags;			/* 0 */
	char	name[SLUICE_NAME_MAX];
	__u32	policy;
	__u32	reserved[3];
};

struct sluice_features {
	__u32	size;
	__u32	abi_version;
	__u64	features;
	__u64	reserved[2];
};

#define SLUICE_IOC_MAGIC	0xB7
#define SLUICE_IOC_FEATURES	_IOWR(SLUICE_IOC_MAGIC, 0x00, struct sluice_features)
#define SLUICE_IOC_CREATE	_IOWR(SLUICE_IOC_MAGIC, 0x01, struct sluice_create)
#define SLUICE_IOC_DESTROY	_IOW(SLUICE_IOC_MAGIC, 0x02, struct sluice_destroy)
#define SLUICE_IOC_INFO		_IOWR(SLUICE_IOC_MAGIC, 0x03, struct sluice_info)
#define SLUICE_IOC_NEXT		_IOWR(SLUICE_IOC_MAGIC, 0x04, struct sluice_info)
#define SLUICE_IOC_ENDPOINT	_IOWR(SLUICE_IOC_MAGIC, 0x05, struct sluice_endpoint_info)
#define SLUICE_IOC_REPAIR	_IOWR(SLUICE_IOC_MAGIC, 0x06, struct sluice_repair)
#define SLUICE_IOC_POLICY	_IOW(SLUICE_IOC_MAGIC, 0x07, struct sluice_set_policy)

/* ------------------------------------------------ /dev/sluice/<stage> --- */

enum sluice_role {
	SLUICE_PRODUCER	= 1,	/* needs a descriptor open for writing */
	SLUICE_CONSUMER	= 2,	/* needs one open for reading and writing */
};

/* struct sluice_attach.flags */
#define SLUICE_ATTACH_SOLE	(1u << 0)	/* the only producer, or -EBUSY */
#define SLUICE_ATTACH_OLDEST	(1u << 1)	/* broadcast: from the oldest one held */
#define SLUICE_ATTACH_ALL	(SLUICE_ATTACH_SOLE | SLUICE_ATTACH_OLDEST)

/**
 * struct sluice_attach - SLUICE_IOC_ATTACH
 *
 * One endpoint a descriptor. It belongs to the address space that attached:
 * mmap and commands from another one get -EPERM. It dies when the last mapping
 * of that address space goes, without a mapping at the descriptor's release.
 */
struct sluice_attach {
	__u32	size;
	__u32	abi_version;		/* in: SLUICE_ABI_VERSION, else -EPROTONOSUPPORT */
	__u32	role;			/* in */
	__u32	flags;			/* in */
	__u32	id;			/* out: owner in words, 1..65535 */
	__u32	index;			/* out: into sluice_control.endpoint */
	__u64	hints_bytes;		/* out: lengths to map */
	__u64	control_bytes;
	__u64	payload_bytes;		/* 0: the stage has no buffers */
	__u64	tail;			/* out: where a consumer's walk begins is tail - nslots */
	__u64	start;			/* out, broadcast: what is older is not for this consumer */
	__u64	recipient;		/* out, broadcast: the consumer's bit in the masks */
	/*
	 * in: the stage that is meant, or empty. -ENOENT if this is another one: the
	 * node of a destroyed stage may have got its number between look-up and open.
	 */
	char	name[SLUICE_NAME_MAX];
};

/* struct sluice_wait.what; at least one */
#define SLUICE_WAIT_READY	(1u << 0)	/* consumer: something at or after cursor */
#define SLUICE_WAIT_ROOM	(1u << 1)	/* producer: a free slot at cursor */
#define SLUICE_WAIT_BUFFER	(1u << 2)	/* producer: a free buffer, with ROOM a slot too */
#define SLUICE_WAIT_AGAIN	(1u << 3)	/* I was woken for ROOM or BUFFER, too late */
#define SLUICE_WAIT_ALL		(SLUICE_WAIT_READY | SLUICE_WAIT_ROOM | SLUICE_WAIT_BUFFER)

/**
 * struct sluice_wait - SLUICE_CMD_WAIT, 16 bytes of sqe->cmd
 * @cursor:	the ticket that the caller looked at last and could not use
 * @generation:	of the hints, read before the walk
 * @what:	SLUICE_WAIT_*
 *
 * Completes with 0 when there is reason to look again, at once if there is one
 * already; -ETIME after some seconds on kernels without cancellation; -ESHUTDOWN
 * when the stage is closed; -EBUSY beyond 64 parked commands of one endpoint. Spurious
 * completions are allowed.
 */
struct sluice_wait {
	__u64	cursor;
	__u32	generation;
	__u16	what;
	__u16	reserved;
};

/* SLUICE_IOC_WAIT: the same, blocking, for those who may not use io_uring */
struct sluice_wait_ioctl {
	struct sluice_wait wait;
	__s64	timeout_ns;		/* < 0: for ever; 0: only look (-EAGAIN), and arm poll() */
};

/* struct sluice_send.flags */
#define SLUICE_SEND_ACCEPT	(1u << 0)	/* complete when accepted, not when acknowledged */
#define SLUICE_SEND_TRACK	(1u << 1)	/* sole producer: it publishes @ticket itself */
#define SLUICE_SEND_BUFFER	(1u << 2)	/* payload is in buffer @buf, held by the caller */
#define SLUICE_SEND_ALL		(SLUICE_SEND_ACCEPT | SLUICE_SEND_TRACK | SLUICE_SEND_BUFFER)

/**
 * struct sluice_send - SLUICE_CMD_SEND points to it, SLUICE_IOC_SEND takes it
 * @addr:	payload in the caller's memory (without SLUICE_SEND_BUFFER)
 * @len:	bytes; at most SLUICE_INLINE_MAX or the stage's buffer size
 * @buf:	with SLUICE_SEND_BUFFER: given over at acceptance
 * @target:	in a stage with a policy: the consumer that it is for, 0 = anybody
 * @ticket:	with SLUICE_SEND_TRACK: in
 *
 * Published in submission order. Completes with the low 31 bits of the ticket
 * on ACK (or, with ACCEPT: 0 = published, 1 = kept in the kernel's queue), or
 * -EAGAIN (queue full), -EMSGSIZE, -ENOBUFS (no buffer), -ESHUTDOWN, or when the
 * message is dead the reason: -ETIMEDOUT, -EOWNERDEAD, or what the consumer NACKed.
 * The structure is copied at submission; the caller may reuse it.
 */
struct sluice_send {
	__u32	size;
	__u32	flags;
	__u64	stream;
	__u64	counter;
	__u64	time;
	__u64	addr;
	__u32	len;
	__u32	buf;
	__u16	kind;
	__u16	msg_flags;
	__u32	target;
	__u64	ticket;
};

/* SLUICE_CMD_SEND, 16 bytes of sqe->cmd */
struct sluice_send_cmd {
	__u64	addr;			/* of a struct sluice_send */
	__u64	reserved;
};

/* SLUICE_CMD_KICK (in sqe->cmd) and SLUICE_IOC_KICK (points to it) */
#define SLUICE_KICK_READY	(1u << 0)	/* after publish: somebody sleeps for messages */
#define SLUICE_KICK_ROOM	(1u << 1)	/* after ack: somebody wants room */
#define SLUICE_KICK_ACKED	(1u << 2)	/* after the ACK of messages with SLUICE_MSG_TELL */
#define SLUICE_KICK_TURN	(1u << 3)	/* hints say it is my turn: I had it */
#define SLUICE_KICK_GONE	(1u << 4)	/* broadcast: I addressed somebody who is gone */
#define SLUICE_KICK_CALM	(1u << 5)	/* with SLUICE_F_FENCES: nobody slept for long */
#define SLUICE_KICK_ALL		(SLUICE_KICK_READY | SLUICE_KICK_ROOM | SLUICE_KICK_ACKED | \
				 SLUICE_KICK_TURN | SLUICE_KICK_GONE | SLUICE_KICK_CALM)

struct sluice_kick {
	__u32	what;
	__u32	reserved[3];
};

/* struct sluice_nack.flags */
#define SLUICE_NACK_BUSY	(1u << 0)	/* not charged: try somebody else, or me later */
#define SLUICE_NACK_DEAD	(1u << 1)	/* do not try again: dead letter at once */
#define SLUICE_NACK_ALL		(SLUICE_NACK_BUSY | SLUICE_NACK_DEAD)

/**
 * struct sluice_nack - SLUICE_IOC_NACK and SLUICE_IOC_RENEW
 * @ticket:	of the claim
 * @token:	the word as the claim left it; the fence
 * @delay_ms:	NACK: nobody may claim it sooner (the slot stays claimed by the kernel),
 *		at most INT_MAX; 0 for RENEW
 * @reason:	NACK: positive errno up to 4095, told to the sender and in the dead letter;
 *		0 = EIO; 0 for RENEW
 * @flags:	SLUICE_NACK_*; 0 for RENEW
 *
 * -ESTALE when the claim is no longer the caller's.
 */
struct sluice_nack {
	__u64	ticket;
	__u64	token;
	__u32	delay_ms;
	__u32	reason;
	__u32	flags;
	__u32	reserved;
};

#define SLUICE_IOC_ATTACH	_IOWR(SLUICE_IOC_MAGIC, 0x20, struct sluice_attach)
#define SLUICE_IOC_WAIT		_IOW(SLUICE_IOC_MAGIC, 0x21, struct sluice_wait_ioctl)
#define SLUICE_IOC_SEND		_IOWR(SLUICE_IOC_MAGIC, 0x22, struct sluice_send)
#define SLUICE_IOC_KICK		_IOW(SLUICE_IOC_MAGIC, 0x23, struct sluice_kick)
#define SLUICE_IOC_NACK		_IOW(SLUICE_IOC_MAGIC, 0x24, struct sluice_nack)
#define SLUICE_IOC_RENEW	_IOW(SLUICE_IOC_MAGIC, 0x25, struct sluice_nack)
#define SLUICE_IOC_DETACH	_IO(SLUICE_IOC_MAGIC, 0x26)

/* sqe->cmd_op; the argument is the structure named above, in sqe->cmd */
#define SLUICE_CMD_WAIT		_IOW(SLUICE_IOC_MAGIC, 0x40, struct sluice_wait)
#define SLUICE_CMD_SEND		_IOW(SLUICE_IOC_MAGIC, 0x41, struct sluice_send_cmd)
#define SLUICE_CMD_KICK		_IOW(SLUICE_IOC_MAGIC, 0x42, struct sluice_kick)

/* --------------------------------------------------------- dead letters --- */

/**
 * struct sluice_dead_letter - head of every payload in "<name>.dead"
 *
 * Stream, counter and kind of the slot are those of the original message. The
 * original payload follows the head: @copied of its @len bytes, fewer only when it
 * is larger than the limit for dead letters.
 */
struct sluice_dead_letter {
	__u64	ticket;			/* in the stage where it died */
	__u32	attempts;		/* claims */
	__u32	charges;		/* failures charged to it */
	__u32	reason;			/* positive errno */
	__u32	len;
	__u16	kind;
	__u16	flags;
	__u32	copied;
	__u64	time;			/* of the original publish */
};

#endif /* _UAPI_SLUICE_H */
