/* SPDX-License-Identifier: MIT */
/*
 * broadcast.pml: everybody gets everything (P21 to P23), step by step.
 *
 * What sluice.pml leaves out: the mask beside the word, which cannot change together with it. A
 * step is one access to what is shared: words and masks (both sides), recipients (the kernel
 * writes them). Kernel code runs under the stage's lock, one entry at a time, but user space runs
 * between any two of its steps. Sleeping and waking are those of sluice.pml, buffers too; here a
 * consumer just waits for its word.
 *
 * A seat is a consumer's process and those after it: it dies at any instruction, or is put out by
 * the tick for being slow, and attaches anew, with the lowest bit that is left. Tickets count from
 * SLOTS up; ticket t lives in slot t % SLOTS; what a message says is its ticket. GHOST is the
 * checker's.
 */
#ifndef SLOTS
#define SLOTS		2
#endif
#ifndef PRODUCERS
#define PRODUCERS	1
#endif
#ifndef CONSUMERS
#define CONSUMERS	2	/* seats, at most 3 */
#endif
#ifndef PRESENT
#define PRESENT		1	/* those that are attached when all begins */
#endif
#ifndef MESSAGES
#define MESSAGES	2	/* of each producer */
#endif
#ifndef JOINS
#define JOINS		1	/* attaches after that */
#endif
#ifndef OLDEST
#define OLDEST		0	/* they get what is held already, too */
#endif
#ifndef DEATHS
#define DEATHS		0	/* of consumers, */
#endif
#ifndef FALLS
#define FALLS		0	/* and of producers */
#endif
#ifndef EXPELS
#define EXPELS		0	/* the slow that are put out */
#endif
#ifndef HANGS
#define HANGS		0	/* consumers that stop for ever: they are slow, too */
#endif
#ifndef TICKS
#define TICKS		0	/* ticks that find nothing to do */
#endif
#ifndef TICKLESS
#define TICKLESS	0	/* no tick at all */
#endif
#ifndef DISCARDS
#define DISCARDS	0
#endif
#ifndef BATCH
#define BATCH		0	/* a consumer takes two before it works on the first */
#endif
#ifndef TWICE
#define TWICE		0	/* ACKs that a consumer repeats later */
#endif
#ifndef READERS
#define READERS		0	/* consumers use read(2): the kernel works in their name */
#endif
#ifndef WRITERS
#define WRITERS		0	/* producers use write(2): the kernel publishes */
#endif

#define BIT(n)		(1 << (n))
#define BITS		3
#define NOBODY		15

#define FREE		0
#define WRITING		1
#define READY		2

typedef Slot {
	byte ticket;
	byte state;
	byte owner;
	byte mask;		/* who has not acknowledged */
	byte data;
}

Slot slot[SLOTS];
byte tail = SLOTS;		/* the next ticket (P4 is the matter of sluice.pml) */
byte recipients;		/* hints page: who gets what is sent */
bit lock;			/* the kernel's, and what it guards: */
byte taken;			/* bits that are somebody's */
byte bit_of[3];			/* of each seat */
byte starts[BITS];
byte ki, kj, kt, ks, ko, kw, kb;

byte killed, hung, attached, inside, dead;	/* seats */
byte fallen, finished;				/* producers */
byte deaths = DEATHS, falls = FALLS, expels = EXPELS, hangs = HANGS, ticks = TICKS;
byte joins = JOINS, discards = DISCARDS, twice = TWICE;

unsigned published : 16, over : 16;	/* GHOST: tickets, a bit each */
byte living;			/* GHOST: seats that have joined, and were not put out */
byte start_of[3];		/* GHOST */
byte holder[BITS] = NOBODY;	/* GHOST: whose a bit is */
unsigned got0 : 16, got1 : 16, got2 : 16;	/* GHOST: what each seat acknowledged */

#define AT(t)		slot[(t) % SLOTS]
#define IS(t, st)	(AT(t).ticket == (t) && AT(t).state == (st))
#define INDEX(b)	((b) >> 1)	/* of a bit: 1, 2, 4 */
#define GOT(c)		((c) == 0 -> got0 : ((c) == 1 -> got1 : got2))
#define SINCE(t)	(~(BIT(t) - 1))
#define PAID(c, t)	(!(living & BIT(c)) || start_of[c] > (t) || (GOT(c) & BIT(t)))

/* ----------------------------------------------------------------- words --- */

inline set_free(t)
{
	AT(t).ticket = AT(t).ticket + SLOTS;
	AT(t).state = FREE;
	AT(t).owner = 0
}

/* The ACK of the last one, or the kernel for it: everybody living it was for has acknowledged. */
inline set_over(t)
{
	assert(PAID(0, t) && PAID(1, t) && PAID(2, t));
	over = over | BIT(t);
	set_free(t)
}

inline broadcast_free(t)
{
	atomic {
		if
#ifdef MUTANT_BC_FREE_NO_TOKEN
		:: true -> AT(t).ticket = t; set_over(t)
#else
		:: IS(t, READY) -> set_over(t)
		:: else
#endif
		fi
	}
}

/* ---------------------------------------------------------------- kernel --- */

inline acquire()
{
	atomic { lock == 0 -> lock = 1 }
}

#ifdef MUTANT_BC_PRUNE_STARTS
#define EARLY(b)	(starts[INDEX(b)] > kt -> (b) : 0)
#define KEEP		(recipients & ~(EARLY(1) | EARLY(2) | EARLY(4)))
#elif defined(MUTANT_BC_EXPEL_KEEPS)
#define KEEP		taken
#define LEFT		taken
#else
#define KEEP		recipients
#endif
#ifndef LEFT
#define LEFT		recipients
#endif

/*
 * The bits of those who are gone; who they were for is not asked, the slot may be another's by now.
 * A mask that is empty then or was before is READY that nobody owes.
 */
inline prune()
{
	do
	:: atomic { kj < SLOTS -> kt = slot[kj].ticket; ks = slot[kj].state };
		atomic {
			slot[kj].mask = slot[kj].mask & (KEEP);
			if
#ifndef MUTANT_BC_EMPTY_STAYS
			:: ks == READY && slot[kj].mask == 0
#endif
			:: else -> kt = 0
			fi;
			ks = 0; kj++
		};
		if
		:: kt -> atomic { if :: IS(kt, READY) -> set_over(kt) :: else fi; kt = 0 }
		:: else
		fi
	:: else -> break
	od;
	kj = 0
}

inline leave(c)
{
	recipients = recipients & ~bit_of[c];
	prune();
	atomic {
		taken = taken & ~bit_of[c];
		if :: holder[INDEX(bit_of[c])] == c -> holder[INDEX(bit_of[c])] = NOBODY :: else fi;
		bit_of[c] = 0;
		attached = attached & ~BIT(c);
		lock = 0
	}
}

/*
 * A bit more in the mask of what is held; kb says whether it counts. An empty mask is that of a
 * message not addressed yet, or of one that everybody acknowledged and somebody is about to free.
 */
#ifdef MUTANT_BC_ADD_TO_EMPTY
#define ADDABLE		(ks != FREE)
#else
#define ADDABLE		(ks == WRITING || (ks == READY && ko))
#endif
inline add(t, b)
{
	atomic { kb = 0; kt = AT(t).ticket; ks = AT(t).state };
	if
	:: kt == (t) && ks != FREE ->
		ko = AT(t).mask;
		atomic {
			if
			:: ADDABLE && AT(t).mask == ko -> AT(t).mask = AT(t).mask | b; kb = 1
			:: else
			fi
		};
#ifndef MUTANT_BC_ADD_NO_REREAD
		atomic {
			if
			:: kb && ko -> kb = (AT(t).ticket == kt)
			:: kb && !ko ->
				ko = NOBODY;
				kw = AT(t).ticket; ks = AT(t).state;
				if
				:: kw != kt || ks == FREE -> kb = 0; ko = 0
#ifdef MUTANT_BC_ADD_TO_EMPTY
				:: kw == kt && ks == READY -> kb = 0; ko = 0
#endif
				:: else
				fi
			:: else
			fi
		};
		if
		:: kb && ko == NOBODY && ks == READY ->
			/* with others, it came in time; alone, everybody else is done */
			kb = (AT(t).mask != b);
			if
			:: !kb -> broadcast_free(kt)
			:: else
			fi
		:: else
		fi
#endif
	:: else
	fi;
	atomic { kt = 0; ks = 0; ko = 0; kw = 0 }
}

inline find_tail()
{
	do
	:: atomic { ki < SLOTS ->
		if
		:: slot[ki].state == FREE && slot[ki].ticket + 1 > kw + SLOTS ->
			kw = slot[ki].ticket + 1 - SLOTS
		:: slot[ki].state != FREE && slot[ki].ticket + 1 > kw -> kw = slot[ki].ticket + 1
		:: else
		fi;
		ki++ }
	:: else -> break
	od
}

/* The caller holds the lock. */
inline join(c, b, start, cur)
{
	atomic {
		b = (taken & 1 -> (taken & 2 -> 4 : 2) : 1);
		assert(!(taken & b));
		taken = taken | b;
		bit_of[c] = b;
		holder[INDEX(b)] = c
	};
#ifdef MUTANT_BC_TAIL_FIRST
	find_tail();
	recipients = recipients | b;
#else
	recipients = recipients | b;
	find_tail();
#endif
	atomic { start = kw; cur = kw - SLOTS; kw = 0; ki = 0 };
#if OLDEST
	do
	:: ki < SLOTS ->
		add(start - 1, b);
		if
		:: kb -> start--
		:: else -> break
		fi;
		ki++
	:: else -> break
	od;
#endif
	atomic {
		/* what it shall get is there still */
		assert(!(over & SINCE(start)));
		starts[INDEX(b)] = start;
		start_of[c] = start;
		living = living | BIT(c);
		attached = attached | BIT(c);
		inside = inside & ~BIT(c);
		if
		:: c == 0 -> got0 = 0
		:: c == 1 -> got1 = 0
		:: else -> got2 = 0
		fi;
		ki = 0; kw = 0; kb = 0; lock = 0
	}
}

#define SEAT_OF(b, c)	((b) & bit_of[c] -> BIT(c) : 0)
#define SEATS(b)	(SEAT_OF(b, 0) | SEAT_OF(b, 1) | SEAT_OF(b, 2))
#define HANGS_ON(i)	(slot[i].state == READY && (SEATS(slot[i].mask & recipients) & hung))

/* It was late, and some have not acknowledged it: out. Their bits stay taken (P21). */
inline expel(i)
{
	atomic { kt = slot[i].ticket; ks = slot[i].state };
	if
	:: ks == READY && (expels > 0 || HANGS_ON(i)) ->
		/* time has passed */
		atomic { ko = slot[i].mask & recipients; kw = slot[i].ticket };
		atomic {
			if
#ifndef MUTANT_BC_EXPEL_STALE
			:: !IS(kt, READY) -> ko = 0
#endif
			:: else
			fi;
			if
			:: ko ->
				/* nobody is put out for what it has had no time for */
				assert(kw == kt);
				if
				:: (SEATS(ko) & ~hung) && expels > 0 -> expels--
				:: else
				fi;
				recipients = recipients & ~ko;
				living = living & ~SEATS(ko)
			:: else
			fi;
#ifdef MUTANT_BC_BIT_EARLY
			taken = taken & ~ko;
#endif
			kt = 0; ks = 0; kw = 0
		};
		if
		:: ko -> ko = 0; prune()
		:: else
		fi
	:: else -> atomic { kt = 0; ks = 0 }
	fi
}

#define NEEDS_TICK(i)	(slot[i].state == READY && (!slot[i].mask || (slot[i].mask & ~LEFT)))
#if SLOTS > 1
#define ANY(what)	(what(0) || what(1))
#else
#define ANY(what)	(what(0))
#endif
#define HELD(i)		(slot[i].state == READY)

#if !TICKLESS
proctype Tick()
{
	do
	:: atomic {
		if
#ifndef MUTANT_BC_EMPTY_STAYS
		:: lock == 0 && (ANY(NEEDS_TICK) || ANY(HANGS_ON))
#endif
		:: lock == 0 && ticks > 0 && ANY(HELD) -> ticks--
		:: lock == 0 && expels > 0 && ANY(HELD)
		fi;
		lock = 1 };
		prune();
#if EXPELS || HANGS
		if
		:: true
		:: expel(0)
#if SLOTS > 1
		:: expel(1)
#endif
		fi;
#endif
		lock = 0
	od
}
#endif

/* -------------------------------------------------------------- producer --- */

inline note_publish(t)
{
	published = published | BIT(t)
}

proctype Producer(byte me)
{
	byte n, t, r;

	{
	skip;
next:	atomic { if :: n == MESSAGES -> goto out :: else fi };
#if WRITERS
	acquire();
	if
	:: recipients == 0 || !IS(tail, FREE) ->
		atomic { r = recipients; lock = 0 };
		if
		:: r == 0 -> goto sent
		:: else -> (recipients == 0 || IS(tail, FREE)); r = 0; goto next
		fi
	:: else
	fi;
	r = recipients;
	atomic {
		if
		:: IS(tail, FREE) ->
			t = tail; tail++; AT(t).state = WRITING; AT(t).owner = me
		:: else -> lock = 0; r = 0; goto next
		fi
	};
	AT(t).mask = r;
	AT(t).data = t;
	atomic { AT(t).state = READY; AT(t).owner = 0; note_publish(t); lock = 0 };
	goto sent;
#else
#ifdef MUTANT_BC_RECIPIENTS_FIRST
	r = recipients;
#endif
	atomic {
		IS(tail, FREE) ->
			t = tail; tail++; AT(t).state = WRITING; AT(t).owner = me
	};
	atomic {
#ifndef MUTANT_BC_RECIPIENTS_FIRST
		r = recipients;
#endif
		if
		:: r == 0 -> goto nobody
		:: else
		fi
	};
	atomic {
		AT(t).data = t;
#ifdef MUTANT_BC_MASK_STORE
		AT(t).mask = r
#else
		AT(t).mask = AT(t).mask | r
#endif
	};
	if
	:: discards > 0 -> discards--; goto nobody
	:: true
	fi;
	atomic {
		assert(IS(t, WRITING) && AT(t).owner == me);
		AT(t).state = READY; AT(t).owner = 0; note_publish(t)
	};
#ifndef MUTANT_BC_NO_GONE_LOOK
	if
	:: r & ~recipients ->
		atomic { lock == 0 -> lock = 1; inside = inside | BIT(me + 4) };
		prune();
		atomic { lock = 0; inside = inside & ~BIT(me + 4) }
	:: else
	fi;
#endif
	goto sent;
nobody:	atomic { set_free(t) };		/* P23 */
#endif
sent:	atomic { n++; t = 0; r = 0; goto next }
	} unless { fallen & BIT(me) };
	/* the kernel: what it was writing is nobody's */
	acquire();
	ki = 0;
	do
	:: ki < SLOTS ->
		if
		:: slot[ki].state == WRITING && slot[ki].owner == me ->
			slot[ki].mask = 0;
			atomic { t = slot[ki].ticket; set_free(t) }
		:: else
		fi;
		ki++
	:: else -> break
	od;
	atomic { ki = 0; lock = 0 };
out:	atomic { finished = finished | BIT(me); n = 0; t = 0; r = 0 }
}

/* -------------------------------------------------------------- consumer --- */

#define LOOK_WAIT(t)	(AT(t).ticket < (t) || (AT(t).ticket == (t) && AT(t).state <= WRITING))
#define MEMBER(b)	(recipients & b)

/* (F): mask, then word. Kernel code when it is read(2)'s. */
inline ack(me, t, b, owed)
{
	do
	:: atomic {
			owed = AT(t).mask;
			if
			:: !(owed & b) -> break
			:: else
			fi
		};
#ifndef MUTANT_BC_ACK_NO_TOKEN
		if
		:: !IS(t, READY) -> break
		:: else
		fi;
#endif
		if
		:: atomic { AT(t).mask == owed ->
			AT(t).mask = AT(t).mask & ~b;
			/* nobody's late ACK hits another's bit, or another ticket */
			assert(AT(t).ticket == t && AT(t).state == READY);
			assert(holder[INDEX(b)] == me);
			if
			:: me == 0 -> got0 = got0 | BIT(t)
			:: me == 1 -> got1 = got1 | BIT(t)
			:: else -> got2 = got2 | BIT(t)
			fi };
			if
			:: owed == b -> broadcast_free(t)
			:: else
			fi;
			break
		:: atomic { AT(t).mask != owed }
		fi
	od;
	owed = 0
}

/* From its first on, a consumer gets all that was published. */
#define BETWEEN(a, t)	((BIT(t) - 1) & SINCE(a))

proctype Consumer(byte me; bit present)
{
	byte b, cur, start, t, owed, data, q0, q1;
	byte first, last;	/* GHOST: taken */
	byte worked;		/* GHOST: derived from, the last */

	if
	:: present -> atomic { b = BIT(me); start = SLOTS; cur = 0; goto begin }
	:: else
	fi;
attach:	atomic { joins > 0 && lock == 0 -> joins--; lock = 1; inside = inside | BIT(me) };
	join(me, b, start, cur);
begin:	skip;
	{
	skip;
walk:	if
	:: !MEMBER(b) || (dead & BIT(me)) -> goto leaves
	:: else
	fi;
look:	atomic {
		if
		:: AT(cur).ticket > cur -> cur++; goto look
		:: LOOK_WAIT(cur) -> goto idle
		:: else -> t = cur; cur++
		fi
	};
	atomic {
		if
		:: !(AT(t).mask & b) -> t = 0; goto look
#ifndef MUTANT_BC_NO_START
		/* by a race, and nobody else clears it */
		:: (AT(t).mask & b) && t < start -> goto pay
#endif
		:: else
		fi
	};
	atomic {
#ifndef MUTANT_BC_TAKE_NO_MEMBER
		if :: !MEMBER(b) -> goto leaves :: else fi;
#endif
		/* the dead do not get what they read */
		assert(t >= start);
		assert((dead & BIT(me)) || !(published & BETWEEN((first -> last + 1 : start), t)));
		if :: !first -> first = t :: else fi;
		last = t;
		if :: q0 -> q1 = t :: else -> q0 = t fi;
		t = 0
	};
#if BATCH
	if
	:: !q1 -> goto walk
	:: true
	fi;
#endif
work:	atomic { t = q0; q0 = q1; q1 = 0; data = AT(t).data };
	/* (E), P12: mask, then word; then, is it anybody still? Then what is derived goes out. */
	atomic { if :: !(AT(t).mask & b) -> goto worked_on :: else fi };
	atomic { if :: !IS(t, READY) -> goto worked_on :: else fi };
	atomic {
#ifndef MUTANT_BC_HOLDS_NO_MEMBER
		if :: !MEMBER(b) -> goto worked_on :: else fi;
#endif
		assert((dead & BIT(me)) || data == t);
		assert((dead & BIT(me)) ||
		       !(published & BETWEEN((worked -> worked + 1 : start), t)));
		worked = t; data = 0
	};
pay:
#if READERS && !defined(MUTANT_BC_READ_UNLOCKED)
	acquire();
	if
	:: dead & BIT(me) -> lock = 0; goto leaves
	:: else
	fi;
	ack(me, t, b, owed);
	lock = 0;
#else
	ack(me, t, b, owed);
#endif
#if TWICE
	if
	:: atomic { twice > 0 -> twice-- };
		ack(me, t, b, owed)
	:: true
	fi;
#endif
worked_on:
	atomic {
		t = 0; data = 0;
		if
		:: q0 -> goto work
		:: else -> goto walk
		fi
	};
idle:	if
	:: q0 -> goto work
	:: else -> atomic { (!LOOK_WAIT(cur) || !MEMBER(b) || (dead & BIT(me))) -> goto walk }
	fi
	} unless { (killed | hung) & BIT(me) };
leaves:
	(!(hung & BIT(me)));
	if
#if READERS
	:: dead & BIT(me)
#endif
	:: else ->
		acquire();
		leave(me)
	fi;
	atomic {
		living = living & ~BIT(me);
		killed = killed & ~BIT(me);
		dead = dead & ~BIT(me);
		b = 0; cur = 0; start = 0; t = 0; owed = 0; data = 0; q0 = 0; q1 = 0;
		first = 0; last = 0; worked = 0;
		goto attach
	}
}

/* ------------------------------------------------------- chance, and time --- */

#define MAY_DIE(c)	(c < CONSUMERS && (attached & ~killed & ~hung & ~dead & BIT(c)))
#define KILL(c)		atomic { deaths > 0 && MAY_DIE(c) -> \
				deaths--; killed = killed | BIT(c); living = living & ~BIT(c) }
/* another thread of it unmaps, and this one is in the kernel */
#define UNMAP(c)	atomic { deaths > 0 && lock == 0 && MAY_DIE(c) -> \
				deaths--; lock = 1; dead = dead | BIT(c); \
				living = living & ~BIT(c) }; \
			leave(c)
#define HANG(c)		atomic { hangs > 0 && MAY_DIE(c) -> hangs--; hung = hung | BIT(c) }
#define FALL(p)		atomic { falls > 0 && p < PRODUCERS && \
				 !((fallen | finished) & BIT(p)) && !(inside & BIT(p + 4)) -> \
				falls--; fallen = fallen | BIT(p) }

#if DEATHS || HANGS || FALLS
proctype Fate()
{
	do
#if READERS
	:: UNMAP(0)
	:: UNMAP(1)
	:: UNMAP(2)
#elif DEATHS
	:: KILL(0)
	:: KILL(1)
	:: KILL(2)
#endif
#if HANGS
	:: HANG(0)
	:: HANG(1)
	:: HANG(2)
#endif
#if FALLS
	:: FALL(0)
	:: FALL(1)
#endif
	od
}
#endif

#define EVERYTHING(c)	(!(living & BIT(c)) || (hung & BIT(c)) || \
			 !(published & SINCE(start_of[c]) & ~GOT(c)))

/* When nothing can happen any more, everything has happened. */
proctype Monitor()
{
	byte i;

	timeout;
	d_step {
		assert(lock == 0);
		assert(finished == BIT(PRODUCERS) - 1);
		assert(EVERYTHING(0) && EVERYTHING(1) && EVERYTHING(2));
		i = 0;
		do
		:: i < SLOTS -> assert(slot[i].state == FREE); i++
		:: else -> break
		od
	}
}

init {
	byte i;

	atomic {
		do
		:: i < SLOTS -> slot[i].ticket = SLOTS + i; i++
		:: else -> break
		od;
		i = 0;
		do
		:: i < PRESENT ->
			recipients = recipients | BIT(i);
			bit_of[i] = BIT(i);
			holder[i] = i;
			starts[i] = SLOTS;
			start_of[i] = SLOTS;
			living = living | BIT(i);
			i++
		:: else -> break
		od;
		taken = recipients;
		attached = living;
		i = 0;
		do
		:: i < CONSUMERS -> run Consumer(i, i < PRESENT); i++
		:: else -> break
		od;
		i = 0;
		do
		:: i < PRODUCERS -> run Producer(i); i++
		:: else -> break
		od;
		i = 0;
#if !TICKLESS
		run Tick();
#endif
#if DEATHS || HANGS || FALLS
		run Fate();
#endif
		run Monitor()
	}
}
