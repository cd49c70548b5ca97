/* SPDX-License-Identifier: MIT */
/*
 * sluice.pml: the protocol of a stage, from both sides and in the middle.
 *
 * Written from docs/protocol.md, not from the code: tests/model runs kmod/slot.h itself, this
 * is a second opinion in another language and with another engine. README.md says what is
 * modelled and which property stands for which rule; configurations and mutants are in
 * configs and mutants beside it, ./run compiles and runs them.
 *
 * Tickets count from SLOTS up; ticket t lives in slot t % SLOTS. A word is (ticket, owner,
 * attempt, state) and changes in one atomic step. What a step does is what a process can do
 * without anybody else seeing the middle of it. Words behind GHOST are the checker's.
 */
#ifndef SLOTS
#define SLOTS		2
#endif
#ifndef PRODUCERS
#define PRODUCERS	2
#endif
#ifndef CONSUMERS
#define CONSUMERS	2
#endif
#ifndef MESSAGES
#define MESSAGES	1	/* of each producer */
#endif
#ifndef BUFFERS
#define BUFFERS		0
#endif
#ifndef QUEUE
#define QUEUE		0	/* messages that the kernel keeps (P30) */
#endif
#ifndef DEATHS
#define DEATHS		0
#endif
#ifndef TIMEOUTS
#define TIMEOUTS	0	/* claims that are taken from a living, working consumer */
#endif
#ifndef NACKS
#define NACKS		0
#endif
#ifndef DISCARDS
#define DISCARDS	0
#endif
#ifndef HANGS
#define HANGS		0	/* consumers that stop for ever in the middle of their work */
#endif
#ifndef ATTEMPTS
#define ATTEMPTS	100	/* charged failures until a message is dead */
#endif
#ifndef SOLE
#define SOLE		0	/* one producer, who publishes with a store (P19) */
#endif
#ifndef THREADS
#define THREADS		0	/* the consumers are threads of one endpoint */
#endif
#ifndef TSO
#define TSO		0	/* x86: a store may become visible later */
#endif

#define CLIENTS		(PRODUCERS + CONSUMERS)
#define BIT(n)		(1 << (n))
#define MASK(n)		(BIT(n) - 1)
#define KERNEL		14	/* owner of what the kernel writes */
#define NOTHING		15	/* what is in memory before anybody writes */
#if THREADS
#define OWNER(n)	(n < PRODUCERS -> n : PRODUCERS)
#else
#define OWNER(n)	(n)
#endif

/* states of a word, of a buffer, of the kernel */
#define FREE		0
#define WRITING		1
#define READY		2
#define CLAIMED		3
#define DEAD		4

#define HELD		1	/* buffers: FREE, HELD(client), QUEUED, SENT(ticket) */
#define QUEUED		2
#define SENT		3

#define IDLE		0
#define SEND		1
#define PUMP		2
#define NACK		3
#define REAP		4
#define TICK		5
#define DONE		6

typedef Slot {
	byte ticket;
	byte owner;
	byte attempt;
	byte state;
	byte msg;		/* what the slot carries: message and buffer + 1 */
	byte buf;
	byte charges;		/* the kernel's note (P2) */
	byte carries;		/* GHOST: the message that was published under this ticket */
	byte holder;		/* GHOST: the client that claimed it */
}

typedef Buffer {
	byte state;
	byte who;
	byte data;
}

typedef Kept {
	byte msg;
	byte buf;
}

Slot slot[SLOTS];
#if BUFFERS
Buffer buffer[BUFFERS];
#endif
#if QUEUE
Kept kept[QUEUE];
#endif
byte tail = SLOTS;		/* hint of the control page */
byte generation;		/* hints page */
byte nqueue;			/* hints page: queued */
byte ready_list, room_list;	/* the kernel's sleepers; the hints count them */
#if TSO
byte pending;			/* sleepers whose count is still in a store buffer */
bit publish_pending;		/* the sole producer's READY is */
byte publish_ticket;
#define SEEN(list)	((list) & ~pending)
#else
#define SEEN(list)	(list)
#endif

byte op, who, arg_m, arg_b, arg_t, arg_a, result;	/* one entry into the kernel at a time: its lock */

byte killed, inside, finished, hung;	/* clients: dying, in the kernel, done, stopped */
byte deaths = DEATHS, timeouts = TIMEOUTS, nacks = NACKS, discards = DISCARDS, hangs = HANGS;

byte published, acked, buried;	/* GHOST: messages, a bit each */
byte lost;			/* GHOST: consumers whose claim the kernel took away */
byte newest[PRODUCERS];		/* GHOST: ticket of the last message of each producer, */
byte order[PRODUCERS];		/* GHOST: and how many it was */

#define AT(t)		slot[(t) % SLOTS]
#define ALIVE(n)	(!(killed & BIT(n)))
#define CONSUMERS_LEFT	(MASK(CLIENTS) & ~MASK(PRODUCERS) & ~killed & ~hung)

/* ----------------------------------------------------------------- words --- */

/* P3: tickets of one producer in the order in which it sent. GHOST bookkeeping of a publish. */
inline note_publish(t, m)
{
	AT(t).carries = m;
	published = published | BIT(m);
	assert(t > newest[(m) / MESSAGES] && (m) % MESSAGES >= order[(m) / MESSAGES]);
	newest[(m) / MESSAGES] = t;
	order[(m) / MESSAGES] = (m) % MESSAGES + 1
}

inline set_free(t)
{
	AT(t).ticket = AT(t).ticket + SLOTS;
	AT(t).owner = 0;
	AT(t).attempt = 0;
	AT(t).state = FREE;
	AT(t).charges = 0;
	AT(t).carries = 0;
	AT(t).holder = 0
}

inline help_tail(t)
{
	atomic { if :: tail < (t) -> tail = (t) :: else fi }
}

/* How far a walk may go from a slot whose ticket is newer than t (skip_over() in lib). */
#define SKIP(t, laps)	((AT(t).ticket - (t)) / SLOTS > (laps) -> \
			 ((AT(t).ticket - (t)) / SLOTS - (laps)) * SLOTS : 1)

#ifdef MUTANT_OVERWRITE
#define ROOM(t)		(AT(t).state == FREE || (AT(t).ticket < (t) && AT(t).state == READY))
#else
#define ROOM(t)		(AT(t).ticket == (t) && AT(t).state == FREE)
#endif
#define USED(t)		(AT(t).ticket > (t) || (AT(t).ticket == (t) && AT(t).state != FREE))

inline reserve(t, id)
{
	AT(t).ticket = t;
	AT(t).owner = id;
	AT(t).state = WRITING
}

inline buffer_send(b, from, by, t)
{
#if BUFFERS
	atomic {
		assert(buffer[(b) - 1].state == from && buffer[(b) - 1].who == by);
		buffer[(b) - 1].state = SENT;
		buffer[(b) - 1].who = t
	}
#else
	skip
#endif
}

inline buffer_free_sent(b, t)
{
#if BUFFERS
	atomic {
		if
		:: b && buffer[b - 1].state == SENT && buffer[b - 1].who == t ->
			/* P17: nobody may still come to read it */
			assert(!(AT(t).ticket == t && AT(t).state >= READY && AT(t).buf == b));
			buffer[b - 1].state = FREE;
			buffer[b - 1].who = 0
		:: else
		fi
	}
#else
	skip
#endif
}

/* -------------------------------------------------------- sleep and wake --- */

inline wake_ready()
{
	d_step {
#if TSO
		pending = pending & ~ready_list;
#endif
		ready_list = 0
	}
}

inline wake_room()
{
	d_step {
#if TSO
		pending = pending & ~room_list;
#endif
		room_list = 0
	}
}

inline enlist(list, me)
{
	d_step {
		list = list | BIT(me);
		inside = inside | BIT(me);
#if TSO
		pending = pending | BIT(me)
#endif
	}
}

inline delist(list, me)
{
	d_step {
		list = list & ~BIT(me);
#if TSO
		pending = pending & ~BIT(me);
#endif
		inside = inside & ~BIT(me)
	}
}

/* (D) */
inline fence_of_sleeper(me)
{
#if TSO && !defined(MUTANT_NO_FENCE_D)
	(!(pending & BIT(me)))
#else
	skip
#endif
}

/* (C) after a store; a compare-and-swap is a full fence on x86. */
inline fence_of_publisher()
{
#if TSO && !defined(MUTANT_NO_FENCE_C)
	(!publish_pending)
#else
	skip
#endif
}

/* On the list, looked, nothing there: asleep until the kernel takes it off. A kill may come. */
inline sleep(list, me)
{
	inside = inside & ~BIT(me);
	(!(list & BIT(me)))
}

inline enter(what, me)
{
	atomic { op == IDLE -> op = what; who = me; inside = inside | BIT(me) }
}

inline leave(me)
{
	atomic { op == DONE && who == me -> op = IDLE; who = 0; inside = inside & ~BIT(me) }
}

#ifdef MUTANT_QUEUE_NO_LOOK
#define KEPT		0
#else
#define KEPT		nqueue
#endif

/* After whatever makes room (P5): who sleeps for it, what does the kernel keep? */
inline look_for_room(me)
{
	if
	:: SEEN(room_list) || KEPT ->
#if QUEUE
		if
		:: nqueue -> enter(PUMP, me); leave(me)
		:: else
		fi;
#endif
		wake_room()
	:: else
	fi
}

inline look_for_ready()
{
	if
	:: SEEN(ready_list) -> wake_ready()
	:: else
	fi
}

/* -------------------------------------------------------------- producer --- */

/* n is the local of the producer: how many it has sent */
#define PRODUCER_MESSAGE(me)	(me * MESSAGES + n)

#if BUFFERS
#define ANY_BUFFER	(buffer[0].state == FREE || buffer[BUFFERS - 1].state == FREE || \
			 buffer[BUFFERS / 2].state == FREE)

inline take_buffer(me, b)
{
	do
	:: b == 0 ->
		i = 0;
		do
		:: i < BUFFERS ->
			atomic {
				if
				:: buffer[i].state == FREE ->
					buffer[i].state = HELD;
					buffer[i].who = me;
					b = i + 1;
					break
				:: else -> i++
				fi
			}
		:: else -> break
		od;
		i = 0;
		if
		:: b == 0 ->
			enlist(room_list, me);
			fence_of_sleeper(me);
			if
			:: ANY_BUFFER -> delist(room_list, me)
			:: else -> sleep(room_list, me)
			fi
		:: else
		fi
	:: else -> break
	od;
	buffer[b - 1].data = PRODUCER_MESSAGE(me)
}
#endif

/* P9, P7: the slot at t; what the kernel keeps comes first (P30) */
inline park_for_room(me, t)
{
#ifdef MUTANT_LOOK_BEFORE_LIST
	if
	:: !(ROOM(t) || USED(t)) -> enlist(room_list, me); sleep(room_list, me)
	:: else
	fi
#else
	enlist(room_list, me);
	fence_of_sleeper(me);
	if
	:: nqueue -> sleep(room_list, me)
	:: else ->
		if
		:: ROOM(t) || USED(t) -> delist(room_list, me)
		:: else -> sleep(room_list, me)
		fi
	fi
#endif
}

inline publish_shared(me, t)
{
	atomic {
		/* nobody may have taken from the living what it holds (P26) */
		assert(AT(t).ticket == t && AT(t).state == WRITING && AT(t).owner == me);
		AT(t).state = READY;
		AT(t).owner = 0;
		note_publish(t, PRODUCER_MESSAGE(me))
	}
}

inline publish_sole(me, t)
{
	atomic {
		assert(AT(t).ticket == t && AT(t).state == FREE);
#if TSO
		publish_pending = 1;
		publish_ticket = t;
#else
		AT(t).state = READY;
#endif
		note_publish(t, PRODUCER_MESSAGE(me))
	}
}

proctype Producer(byte me)
{
	byte n, t, put = SLOTS, b, i;

	{
	skip;
next:	if
	:: n == MESSAGES -> goto out
	:: else
	fi;
#if BUFFERS
	take_buffer(me, b);
#endif
again:
#if QUEUE && !defined(MUTANT_QUEUE_OVERTAKEN)
	if
	:: nqueue -> goto no_room
	:: else
	fi;
#endif
#if !SOLE
	atomic { if :: tail > put -> t = tail :: else -> t = put fi };
#else
	t = put;
#endif
#ifdef MUTANT_TAIL_EARLY
	if
	:: ROOM(t) -> help_tail(t + 1)
	:: else
	fi;
#endif
look:	atomic {
		if
		:: ROOM(t) ->
#if !SOLE
			reserve(t, me);
#endif
			put = t + 1
		:: !ROOM(t) && USED(t) -> t = t + SKIP(t, 1); goto look
		:: else -> goto no_room
		fi
	};
#if !SOLE
	help_tail(put);
	if
	:: atomic { discards > 0 -> discards--; set_free(t) };
#ifndef MUTANT_NO_LOOK_DISCARD
		look_for_ready();
		look_for_room(me);
#endif
		goto again
	:: true
	fi;
#endif
#if BUFFERS && !defined(MUTANT_PUBLISH_BEFORE_SENT)
	buffer_send(b, HELD, me, t);
#endif
	AT(t).msg = PRODUCER_MESSAGE(me);
#if BUFFERS
	AT(t).buf = b;
#endif
#if SOLE
	publish_sole(me, t);
	help_tail(put);
	fence_of_publisher();
#else
	publish_shared(me, t);
#endif
#if BUFFERS && defined(MUTANT_PUBLISH_BEFORE_SENT)
	buffer_send(b, HELD, me, t);
#endif
#ifndef MUTANT_NO_LOOK_PUBLISH
	look_for_ready();
#endif
	goto sent;

no_room: help_tail(t);
#if QUEUE
	/* sluice_post(): the kernel keeps it, if it still has room (P30) */
	atomic { op == IDLE -> op = SEND; who = me; inside = inside | BIT(me);
		 arg_m = PRODUCER_MESSAGE(me); arg_b = b };
	op == DONE && who == me;
	t = result;
	leave(me);
	if
	:: t -> goto sent
	:: else -> t = put
	fi;
#endif
	park_for_room(me, t);
	goto again;

sent:	atomic { n++; b = 0; t = 0; goto next };
	} unless { killed & BIT(me) };
out:	atomic {
		if
		:: ALIVE(me) -> finished = finished | BIT(me)
		:: else -> op == IDLE -> op = REAP; who = me
		fi;
		n = 0; t = 0; put = 0; b = 0; i = 0
	}
}

/* -------------------------------------------------------------- consumer --- */

#define SAME_TICKET(t)	(AT(t).ticket == (t))
#ifdef MUTANT_WALK_PASSES_WRITING
#define LOOK_WAIT(t)	(AT(t).ticket < (t) || (SAME_TICKET(t) && AT(t).state == FREE))
#else
#define LOOK_WAIT(t)	(AT(t).ticket < (t) || (SAME_TICKET(t) && AT(t).state <= WRITING))
#endif
#define LOOK_CLAIM(t)	(SAME_TICKET(t) && AT(t).state == READY)
#ifdef MUTANT_ACK_NO_TOKEN
#define MINE(t, a, me)	(SAME_TICKET(t) && AT(t).state == CLAIMED)
#else
#define MINE(t, a, me)	(SAME_TICKET(t) && AT(t).state == CLAIMED && \
			 AT(t).owner == OWNER(me) && AT(t).attempt == a)
#endif

/* P7 */
inline park_for_ready(me, cur, gen)
{
#ifdef MUTANT_LOOK_BEFORE_LIST
	if
	:: generation == gen && LOOK_WAIT(cur) -> enlist(ready_list, me); sleep(ready_list, me)
	:: else
	fi
#else
	enlist(ready_list, me);
	fence_of_sleeper(me);
	if
#ifndef MUTANT_PARK_NO_GENERATION
	:: generation != gen -> delist(ready_list, me)
	:: generation == gen ->
#else
	:: true ->
#endif
		if
		:: LOOK_WAIT(cur) -> sleep(ready_list, me)
		:: else -> delist(ready_list, me)
		fi
	fi
#endif
}

inline claim(t, a, gm, first, me)
{
#ifndef MUTANT_NO_ATTEMPT
	AT(t).attempt++;
#endif
	AT(t).state = CLAIMED;
	AT(t).owner = OWNER(me);
	AT(t).holder = me;
	a = AT(t).attempt;
	gm = AT(t).carries;
	lost = lost & ~BIT(me);
	/* P3: first deliveries come in ticket order */
	if
	:: a == 1 -> assert(t > first); first = t
	:: else
	fi
}

inline ack(t, a, gm, me)
{
	/* P2: what the kernel took away cannot be acknowledged; nothing is twice */
	assert(!(lost & BIT(me)));
	assert(!((acked | buried) & BIT(gm)));
	acked = acked | BIT(gm);
	set_free(t)
}

proctype Consumer(byte me)
{
	byte cur, high, gen, t, a, gm, data, b, first;

	{
	skip;
walk:	atomic {
		t = 0; a = 0; gm = 0; data = 0; b = 0;
		if
		:: generation != gen ->
			gen = generation;
			if :: cur > high -> high = cur :: else fi;
			cur = (high > SLOTS -> high - SLOTS : 0)
		:: else
		fi
	};
look:	atomic {
		if
		:: LOOK_CLAIM(cur) -> t = cur; claim(t, a, gm, first, me); cur++
		:: LOOK_WAIT(cur) -> goto idle
		:: else -> cur = cur + SKIP(cur, 2); goto look
		fi
	};
	data = AT(t).msg;
#if BUFFERS
	b = AT(t).buf;
	atomic { if :: b && buffer[b - 1].data != data -> data = NOTHING :: else fi };
#endif
#if HANGS
	if
	:: atomic { hangs > 0 && (CONSUMERS_LEFT & ~BIT(me)) -> hangs--; hung = hung | BIT(me) };
		false
	:: true
	fi;
#endif
	/* (E), P12: still mine? Then what is derived from it goes out. */
	atomic {
		if
#ifndef MUTANT_NO_HOLDS
		:: !MINE(t, a, me) -> goto walk
#endif
		:: else -> assert(data == gm)
		fi
	};
	if
#ifdef MUTANT_NACK_USER
	:: atomic { nacks > 0 ->
			nacks--;
			if
			:: MINE(t, a, me) -> AT(t).state = READY; AT(t).owner = 0; AT(t).holder = 0
			:: else
			fi
		};
#else
	:: atomic { nacks > 0 && op == IDLE ->
			op = NACK; who = me; arg_t = t; arg_a = a;
			inside = inside | BIT(me); nacks-- };
		leave(me);
#endif
		goto walk
	:: true
	fi;
#if BUFFERS && defined(MUTANT_BUFFER_BEFORE_SLOT)
	buffer_free_sent(b, t);
#endif
	/* (F) */
	atomic {
		if
		:: MINE(t, a, me) -> ack(t, a, gm, me)
		:: else -> goto walk
		fi
	};
	buffer_free_sent(b, t);
#ifndef MUTANT_NO_LOOK_ACK
	look_for_room(me);
#endif
	goto walk;

idle:	park_for_ready(me, cur, gen);
	goto walk
	} unless { killed & BIT(me) };
	atomic {
		op == IDLE -> op = REAP; who = me;
		cur = 0; high = 0; gen = 0; t = 0; a = 0; gm = 0; data = 0; b = 0; first = 0
	}
}

/* ---------------------------------------------------------------- kernel --- */

/* P6: after the words, always; then everybody */
inline raise_generation()
{
#ifndef MUTANT_NO_GENERATION
	generation++;
#endif
#ifndef MUTANT_NO_WAKE
	wake_ready();
	wake_room()
#endif
}

inline see(k)
{
	atomic { kt = slot[k].ticket; ko = slot[k].owner; ka = slot[k].attempt }
}

inline take_away(k, charge)
{
	lost = lost | BIT(slot[k].holder);
	slot[k].owner = 0;
	slot[k].holder = 0;
	slot[k].charges = (ATTEMPTS < 100 -> slot[k].charges + charge : 0);
#ifdef MUTANT_RETRY_RESETS
	slot[k].attempt = 0;
#endif
	slot[k].state = (slot[k].charges >= ATTEMPTS -> DEAD : READY)
}

/*
 * A claim back to READY, or dead and buried (P13, P15, P16). The word was seen a moment ago as
 * (kt, ko, ka); moved says whether it still was so.
 */
inline retry(k, charge)
{
	atomic {
		moved = 0;
		if
		:: slot[k].ticket == kt && slot[k].owner == ko && slot[k].attempt == ka &&
		   slot[k].state == CLAIMED ->
			moved = 1;
			take_away(k, charge)
		:: else
		fi
	};
	if
	:: moved && slot[k].state == DEAD ->
		kb = slot[k].buf;
		atomic {
			/* the letter says what the message said */
			assert(slot[k].msg == slot[k].carries);
#if BUFFERS
			assert(buffer[kb - 1].data == slot[k].carries);
#endif
			assert(!((acked | buried) & BIT(slot[k].carries)));
			buried = buried | BIT(slot[k].carries)
		};
		atomic { set_free(kt) };
#if BUFFERS
		buffer_free_sent(kb, kt);
#endif
		kb = 0
	:: else
	fi;
	atomic { kt = 0; ko = 0; ka = 0 }
}

/* The kernel is one more producer, in the order of its queue. */
inline pump()
{
#if QUEUE
	more = nqueue > 0;
	do
	:: more && nqueue ->
		kt = tail;
		do
		:: atomic { ROOM(kt) -> reserve(kt, KERNEL); break }
		:: atomic { !ROOM(kt) && USED(kt) -> kt = kt + SKIP(kt, 1) }
		:: atomic { !ROOM(kt) && !USED(kt) -> more = 0; break }
		od;
		if
		:: more ->
			help_tail(kt + 1);
#if BUFFERS
			buffer_send(kept[0].buf, QUEUED, 0, kt);
			AT(kt).buf = kept[0].buf;
#endif
			atomic { kb = kept[0].msg; AT(kt).msg = kb };
			atomic {
				AT(kt).state = READY;
				AT(kt).owner = 0;
				note_publish(kt, kb);
				kb = 0
			};
			atomic {
				k = 0;
				do
				:: k < QUEUE - 1 ->
					kept[k].msg = kept[k + 1].msg;
					kept[k].buf = kept[k + 1].buf;
					k++
				:: else -> break
				od;
				kept[QUEUE - 1].msg = 0;
				kept[QUEUE - 1].buf = 0;
				k = 0;
				nqueue--
			};
			wake_ready()
		:: else
		fi
	:: else -> break
	od;
	kt = 0;
	if
	:: nqueue == 0 -> wake_room()
	:: else
	fi
#else
	skip
#endif
}

inline keep()
{
#if QUEUE
	atomic {
		if
		:: nqueue < QUEUE ->
			kept[nqueue].msg = arg_m;
			kept[nqueue].buf = arg_b;
			nqueue++;
			published = published | BIT(arg_m);
#if BUFFERS
			assert(buffer[arg_b - 1].state == HELD);
			buffer[arg_b - 1].state = QUEUED;
			buffer[arg_b - 1].who = 0;
#endif
			result = 1
		:: else -> result = 0
		fi
	}
#else
	skip
#endif
}

inline reap_slots(id)
{
	k = 0;
	do
	:: k < SLOTS ->
		if
#ifdef MUTANT_REAP_LIVING
		:: slot[k].state == WRITING && slot[k].owner != KERNEL ->
#else
		:: slot[k].state == WRITING && slot[k].owner == OWNER(id) ->
#endif
			atomic { kt = slot[k].ticket; set_free(kt); kt = 0 }
#ifndef MUTANT_REAP_NOT_CLAIMED
		:: slot[k].state == CLAIMED && slot[k].owner == OWNER(id) -> see(k); retry(k, 1)
#endif
		:: else
		fi;
		k++
	:: else -> break
	od;
	k = 0
}

/* P18: HELD by the dead; SENT(t) when the slot went on, or a dead sole producer never published */
inline reap_buffers(id)
{
#if BUFFERS
	k = 0;
	do
	:: k < BUFFERS ->
		atomic {
			if
#ifndef MUTANT_REAP_NOT_HELD
			:: buffer[k].state == HELD && buffer[k].who == id ->
				buffer[k].state = FREE; buffer[k].who = 0
#endif
#ifdef MUTANT_REAP_SENT_ANY
			:: buffer[k].state == SENT -> buffer[k].state = FREE; buffer[k].who = 0
#else
			:: buffer[k].state == SENT && (AT(buffer[k].who).ticket > buffer[k].who ||
			   (SOLE && id < PRODUCERS && AT(buffer[k].who).state == FREE)) ->
				buffer[k].state = FREE; buffer[k].who = 0
#endif
			:: else
			fi
		};
		k++
	:: else -> break
	od;
	k = 0
#else
	skip
#endif
}

/* P4: from the words, which alone are true */
inline find_tail()
{
	atomic {
		k = 0;
		kt = tail;
		do
		:: k < SLOTS ->
			if
			:: slot[k].state == FREE && slot[k].ticket + 1 > kt + SLOTS ->
				kt = slot[k].ticket + 1 - SLOTS
			:: slot[k].state != FREE && slot[k].ticket + 1 > kt -> kt = slot[k].ticket + 1
			:: else
			fi;
			k++
		:: else -> break
		od;
		k = 0
	};
	atomic { tail = kt; kt = 0 }
}

inline reap(id)
{
#if TSO
	/* a processor that goes on to something else empties its store buffer */
	(!publish_pending && !(pending & BIT(id)));
#endif
	d_step { ready_list = ready_list & ~BIT(id); room_list = room_list & ~BIT(id) };
#ifdef MUTANT_REAP_BUFFERS_FIRST
	reap_buffers(id);
	reap_slots(id);
#else
	reap_slots(id);
	reap_buffers(id);
#endif
#ifdef MUTANT_QUEUE_DIES
	nqueue = 0;
#endif
	find_tail();
	pump();
	raise_generation()
}

#define MAY_TIME_OUT(n)	(slot[n].state == CLAIMED && \
			 (timeouts > 0 || (hung & BIT(slot[n].holder))))
#define TIME_OUT(n)	atomic { \
	op == IDLE && n < SLOTS && MAY_TIME_OUT(n) -> \
		op = TICK; \
		k = n; kt = slot[n].ticket; ko = slot[n].owner; ka = slot[n].attempt; \
		if :: hung & BIT(slot[n].holder) :: else -> timeouts-- fi }

proctype Kernel()
{
	byte k, kt, ko, ka, kb;
	bit more, moved;

	do
	:: op == SEND ->
		keep();
		pump();
		atomic { arg_m = 0; arg_b = 0; op = DONE }
	:: op == PUMP -> pump(); op = DONE
	:: op == NACK ->
		atomic { k = arg_t % SLOTS; kt = arg_t; ka = arg_a; ko = OWNER(who); arg_t = 0; arg_a = 0 };
		retry(k, 1);
		k = 0;
		if
		:: moved -> pump(); raise_generation()
		:: else
		fi;
		op = DONE
	:: op == REAP -> reap(who); atomic { op = IDLE; who = 0 }
#if TIMEOUTS || HANGS
	:: TIME_OUT(0)
#if SLOTS > 1
	:: TIME_OUT(1)
#endif
#if SLOTS > 2
	:: TIME_OUT(2)
#endif
#if SLOTS > 3
	:: TIME_OUT(3)
#endif
	:: op == TICK ->
#ifdef MUTANT_GENERATION_EARLY
		raise_generation();
#endif
		retry(k, 1);
		k = 0;
		pump();
#ifndef MUTANT_GENERATION_EARLY
		if
		:: moved -> raise_generation()
		:: else
		fi;
#endif
		op = IDLE
#endif
	od
}

/* ------------------------------------------------------- chance, and time --- */

#if TSO
proctype StoreBuffers()
{
	do
	:: atomic { publish_pending -> publish_pending = 0; AT(publish_ticket).state = READY;
		    publish_ticket = 0 }
	:: pending & BIT(0) -> pending = pending & ~BIT(0)
	:: pending & BIT(1) -> pending = pending & ~BIT(1)
	:: pending & BIT(2) -> pending = pending & ~BIT(2)
	:: pending & BIT(3) -> pending = pending & ~BIT(3)
	od
}
#endif

#define MAY_DIE(n)	(n < CLIENTS && !((killed | inside | finished | hung) & BIT(n)) && \
			 (n < PRODUCERS || \
			  (CONSUMERS_LEFT & ~BIT(n))))
#define KILL(n)		atomic { deaths > 0 && MAY_DIE(n) -> deaths--; killed = killed | BIT(n) }

#if DEATHS
proctype Killer()
{
	do
	:: KILL(0)
	:: KILL(1)
	:: KILL(2)
	:: KILL(3)
	od
}
#endif

/* When nothing can happen any more, everything has happened. */
proctype Monitor()
{
	byte i;

	timeout;
	d_step {
		assert(op == IDLE);
		assert(((finished | killed) & MASK(PRODUCERS)) == MASK(PRODUCERS));
		assert(published == (acked | buried));
		assert(!(acked & buried));
		assert(nqueue == 0);
		assert((ready_list & CONSUMERS_LEFT) == CONSUMERS_LEFT);
		i = 0;
		do
		:: i < SLOTS -> assert(slot[i].state == FREE); i++
		:: else -> break
		od;
#if BUFFERS
		i = 0;
		do
		:: i < BUFFERS -> assert(buffer[i].state == FREE); i++
		:: else -> break
		od;
#endif
	}
}

init {
	byte i;

	atomic {
		i = 0;
		do
		:: i < SLOTS -> slot[i].ticket = SLOTS + i; slot[i].msg = NOTHING; i++
		:: else -> break
		od;
#if BUFFERS
		i = 0;
		do
		:: i < BUFFERS -> buffer[i].data = NOTHING; i++
		:: else -> break
		od;
#endif
		i = 0;
		do
		:: i < PRODUCERS -> run Producer(i); i++
		:: i >= PRODUCERS && i < CLIENTS -> run Consumer(i); i++
		:: else -> break
		od;
		i = 0;
		run Kernel();
#if TSO
		run StoreBuffers();
#endif
#if DEATHS
		run Killer();
#endif
		run Monitor()
	}
}
