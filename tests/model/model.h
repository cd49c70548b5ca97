/* SPDX-License-Identifier: MIT */
/*
 * model.h: the state of the model, and the words in which its actors are written.
 *
 *	engine.c	search, fingerprints, traces, liveness
 *	live.c		what must be possible in the end
 *	memory.c	shared memory with store buffers; which changes of a word are legal
 *	user.c		what the library does: producer, consumer, pipeline stage
 *	park.c		what the kernel does for sleepers: kmod/wait.c
 *	kernel.c	what it does for the dead and the late: kmod/reap.c, retry.c
 *	queue.c		what it keeps for senders: kmod/queue.c, ring.c
 *	configs.c	what is explored, and what the checker must catch
 *	check.c		properties of a state
 *	main.c		command line, TAP
 *
 * An actor is straight-line code cut into steps: the code between two STEPs runs
 * at once, so each STEP stands before the one access to shared memory that others
 * can see. A function that has STEPs keeps its place in pc[level]; it has no
 * locals that live across a STEP, those are fields of the actor.
 */
#ifndef SLUICE_MODEL_H
#define SLUICE_MODEL_H

#include <string.h>

#include "slot_env.h"
#include "slot.h"

#define MAX_ACTORS	6
#define MAX_RINGS	2
#define MAX_SLOTS	4
#define MAX_BUFS	3
#define MAX_TICKETS	24
#define MAX_MESSAGES	15
#define MAX_QUEUE	3
#define MAX_RUN		2
#define MAX_STORES	4
#define LEVELS		7

/* ------------------------------------------------------------------ state --- */

enum actor_state { ACTOR_RUNS, ACTOR_DONE, ACTOR_GONE, ACTOR_HUNG };

/* what an actor sleeps for, as in struct sluice_wait */
#define WAIT_READY	1u
#define WAIT_ROOM	2u
#define WAIT_BUFFER	4u
#define WAIT_ALL	7u
/* what a kick is for, as in struct sluice_kick */
#define KICK_READY	1u
#define KICK_ROOM	2u
#define KICK_ACKED	4u
#define KICK_CALM	8u

/* a claim: the token, what was read through it, and whether the kernel took it away since */
struct claim {
	u64	token, ticket;
	u8	data, buf, tell, lost;
};

struct actor {
	u16	pc[LEVELS];
	u8	state;
	u8	dying;		/* its program is the reaper now */
	u8	kernel;		/* in the kernel: a kill waits */
	u8	asleep;
	u8	evicted;	/* its mapping was zapped while it lived (P26) */
	u8	faulting;	/* in the kernel, over a fault in its memory (P28) */
	u8	ring;		/* where the present step works */
	u8	sent;		/* producer: messages done */
	u8	m, b;		/* message and buffer at hand; b is index + 1 */
	u8	what, ret, woken;
	u8	gen;		/* consumer: generation of its last look */
	u8	nclaims, work;
	u8	i, j, n, x, y;	/* locals of whoever runs */
	u8	nack_left;
	u64	t, w, v, kt;
	u64	cursor, high;	/* consumer: of its walk; the furthest that it came */
	u64	put;		/* producer: the next ticket that it tries */
	u64	wait_at;	/* struct sluice_wait.cursor and .generation */
	u8	wait_gen;
	u8	last_first;	/* ghost: last first delivery, ticket + 1 (P3) */
	struct claim claim[MAX_RUN];
	/* x86: stores wait here, oldest first */
	u8	nstores, store_at[MAX_STORES];
	u64	store_val[MAX_STORES];
	/* weaker machines: a load that was satisfied early */
	u8	early_at;	/* address + 1 */
	u64	early_val;
};

/* a message in the kernel's queue, or a SEND that waits for its ACK */
struct send {
	u8	msg, buf, tell, owner;
	u8	ticket;		/* + 1, relative; 0: not published yet */
};

/* What the kernel keeps to itself about a stage; kmod/internal.h, struct sl_stage. */
struct kring {
	u8	alive;		/* endpoints, a bit each */
	u8	busy;		/* endpoints in whose name the kernel works (P25) */
	u8	sole;		/* endpoint + 1 */
	u8	sleepers[2];	/* who waits for READY, for ROOM or BUFFER */
	u8	fenced, fencing;	/* kmod/fence.c */
	u8	gen, closed, timer;
	u8	nq, nsent;
	u8	letters, dropped, told;
	u8	lap[MAX_SLOTS], charges[MAX_SLOTS], held[MAX_SLOTS], fresh[MAX_SLOTS];
	u64	tail;		/* what the kernel believes of the hint */
	u64	shadow[MAX_SLOTS];
	struct send q[MAX_QUEUE], sent[MAX_QUEUE];
};

/* What only the checker knows. */
struct ghost {
	u32	published[MAX_RINGS], acked[MAX_RINGS], dead[MAX_RINGS];	/* by ticket */
	u16	done;				/* streams that left the pipeline */
	u16	accepted;			/* messages that the kernel's queue took */
	u8	msg[MAX_RINGS][MAX_TICKETS];	/* message of the ticket */
	u8	reserved[MAX_RINGS];		/* newest ticket given out + 1 (P3) */
	u8	starts[MAX_RINGS][MAX_TICKETS];	/* claims whose work was begun */
	u8	raised[MAX_RINGS];		/* a retry is in place, the generation as it was */
};

struct state {
	u8	kills, hangs, ticks, nacks, discards, lies, renews, evictions, calms;
	struct ghost g;
	struct kring k[MAX_RINGS];
	struct actor a[MAX_ACTORS];
	u64	mem[];
};

/* ---------------------------------------------------------- configuration --- */

enum program { NOBODY, PRODUCER, CONSUMER, STAGE, TIMER, WRITER, WORKER, DESTROYER, LIAR,
	       CALMER };

#define UNLIMITED	255
#define EARLY_HINT	1u
#define EARLY_WORD	2u
#define EARLY_DATA	4u

struct role {
	enum program program;
	u8	ring;		/* STAGE: reads here, publishes on the other one */
	u8	msgs;		/* PRODUCER, WRITER: how many */
	u8	helper;		/* WORKER: in whose name */
	u8	thread_of;	/* endpoint id of another actor: one more thread of that process */
};

struct config {
	const char *name, *what;
	u8	rings, order, nbufs;
	u8	tso, weak;	/* store buffers; which loads may be early, EARLY_* */
	u8	sole, post, both, run, hops, delay;
	u8	tell;		/* actors that wait for their ACKs, a bit each */
	u8	kills, hangs, ticks, nacks, discards, lies, renews, evict;
	u8	asym, calms;	/* who parks fences for the sole producer; KICK_CALMs */
	u8	idle_hangs;	/* only who holds no claim hangs: nobody needs the timer */
	u8	max_attempts, max_hold, queue_max, dead_slots;
	u64	first;		/* ticket that the run starts with; ~0ull: last of all laps */
	u8	only_long;	/* for check-long */
	u8	coarse;		/* fewer scheduling points, see README.md */
	u8	no_live;	/* too large for live.c; whoever is stuck is found all the same */
	struct role role[MAX_ACTORS];
	/* filled in by engine_setup() */
	u8	nactors, nslots, nmem, stride, closes, queues;
};

/* Each is a mistake somebody could make; the checker has to find it. */
#define MUTANTS(X) \
	X(none) \
	X(no_fence_c) X(no_fence_c_weak) X(no_fence_c_ack) X(no_fence_d) X(no_fence_e) \
	X(fence_hint_not_seen) X(park_no_ipi) X(park_ipi_of_another) X(park_ipi_first) \
	X(calm_sleepers) X(calm_early) \
	X(no_release_a) X(no_acquire_b) X(read_after_ack_f) \
	X(publish_no_check) X(ack_no_token) X(retry_resets_attempt) X(short_lap_compare) \
	X(tail_early) X(reserve_no_check) \
	X(no_look_after_publish) X(no_look_after_discard) X(no_look_after_ack) \
	X(no_look_after_buffer) X(look_before_list) \
	X(no_generation_retry) X(generation_early) X(no_generation_reap) X(no_wake_retry) \
	X(walk_passes_writing) X(walk_passes_free) X(walk_no_rewind) X(park_no_generation) \
	X(wake_one) X(wait_slot_only) \
	X(tell_after_ack) X(tell_not_at_death) X(track_late) X(tell_by_free) X(timer_stops_early) \
	X(unpark_no_timer) X(kick_reads_sent_first) \
	X(no_holds) X(nack_in_user) X(renew_any) X(hold_unbounded) \
	X(dead_blocks) X(bury_before_copy) X(charge_all) \
	X(free_before_slot) X(publish_before_send) X(reap_not_held) X(reap_sent_any) \
	X(reap_buffers_first) X(reap_sole_never) X(stale_frees) \
	X(kernel_publishes_sole) X(sole_ends_early) X(closed_not_seen) \
	X(reap_not_waiting) X(evict_no_zap) X(reap_not_writing) X(reap_not_claimed) \
	X(unknown_owner) \
	X(fault_in_writing) X(wait_with_claim) X(queue_overtaken) X(queue_no_look) \
	X(queue_dies) X(overwrite)

enum mutant {
#define MUTANT_ENUM(name)	M_##name,
	MUTANTS(MUTANT_ENUM)
	NMUTANTS
};

struct mutant_info {
	enum mutant mutant;
	const char *name, *rule, *config, *what;
};

extern const struct mutant_info mutants[];
extern struct config configs[];

extern const struct config *C;	/* what is explored */
extern struct state *S;		/* the state that a step changes */
extern struct actor *A;		/* whose turn it is */
extern enum mutant mutant;
extern bool tracing;
extern bool no_oracle;	/* compare with losses only, not with rules */

#define MUT(name)	(mutant == M_##name)

static inline u32 me(void)
{
	return (u32)(A - S->a);
}

static inline u32 endpoint_id(u32 actor)
{
	return C->role[actor].thread_of ? C->role[actor].thread_of : actor + 1;
}

static inline bool wants_ack(void)
{
	return C->tell >> me() & 1;
}

/* ------------------------------------------------------------------ memory --- */

enum hint { H_READY_SLEEPERS, H_ROOM_SLEEPERS, H_QUEUED, H_GENERATION, H_CLOSED, H_TAIL,
	    H_FENCES, H_LOCK, H_WAIT_LOCK, NHINTS };

/* One location each; the ring is that of the actor. */
u64 *word_at(u32 index);
u64 *data_at(u32 index);
u64 *buffer_at(u32 b);
u64 *payload_at(u32 b);
u64 *hint_at(enum hint h);
u64 peek(const u64 *p);		/* memory itself: for guards and checks */

void plain_store(u64 *p, u64 v);
void load_early(const u64 *p);
void mem_fence_everywhere(void);
void kernel_lock(enum hint lock);
void kernel_unlock(enum hint lock);
void flush_one(struct actor *a);
void flush_all(struct actor *a);
int describe_word(char *s, u64 w);

/* Relative tickets for the ghost, laps for the kernel's notes. */
u32 ticket_rel(u64 t);
u32 lap_rel(u64 lap);
u64 ticket_at(u32 rel);
static inline u64 lap_of(u64 t)
{
	return ticket_lap(t, C->order);
}

static inline u32 index_of(u64 t)
{
	return ticket_index(t, C->order);
}

static inline u64 next_ticket(u64 t, long long n)
{
	return ticket_add(t, n, C->order);
}

static inline u64 word_ticket(u64 w, u32 index)
{
	return ticket_of(slot_lap(w), index, C->order);
}

/*
 * How far a walk may go on from a slot that holds a ticket at least @laps laps newer
 * than @t: lib/internal.h, skip_over().
 */
static inline u64 skip_over(u64 t, u64 w, int laps)
{
	long long newer = lap_diff(slot_lap(w), lap_of(t)) - laps;

	return next_ticket(t, newer > 0 ? newer * C->nslots : 1);
}

/* data of a slot: what struct sluice_slot carries beside the word */
static inline u64 slot_data(u8 msg, u8 buf, u8 tell)
{
	return (u64)tell << 16 | (u64)buf << 8 | msg;
}

/* ------------------------------------------------------------------- steps --- */

enum step { BLOCKED, YIELD, FINISHED };

#define BEGIN(level)	enum { LEVEL = (level) }; switch (A->pc[LEVEL]) { case 0:
#define STEP		do { A->pc[LEVEL] = __LINE__; return YIELD; case __LINE__:; } while (0)
#define STEP_WHEN(cond)	do { A->pc[LEVEL] = __LINE__; return YIELD; \
			     case __LINE__: if (!(cond)) return BLOCKED; } while (0)
/* A step of its own only where somebody could see the difference: fewer states, same answers. */
#define STEP_IF(cond)	do { if (cond) { A->pc[LEVEL] = __LINE__; return YIELD; \
			     case __LINE__:; } } while (0)
#define CALL(f)		do { enum step s_; A->pc[LEVEL] = __LINE__; /* fall through */ \
			     case __LINE__: s_ = (f); if (s_ != FINISHED) return s_; } while (0)
#define RETURN		do { A->pc[LEVEL] = 0; return FINISHED; } while (0)
#define END		} A->pc[LEVEL] = 0; return FINISHED;

/* One of @n ways to go on; the engine tries them all. At most one in a step. */
u32 choose(u32 n);

#define CHECK(cond, ...)	do { if (!(cond)) model_fail(__VA_ARGS__); } while (0)

/* The program of A is over: forget what nobody will ask for. */
void finish(enum actor_state how);

/* A rule rather than a loss: left out for mutants, which have to show what they lead to. */
#define CHECK_RULE(cond, ...)	CHECK(no_oracle || (cond), __VA_ARGS__)

void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---------------------------------------------------------------- programs --- */

enum step run_actor(void);
/* user.c */
enum step producer(void), consumer(void), stage(void);
enum step send_message(void);
/* park.c: level 3 and, inside the kernel, 5 and 6 */
void list_del(u32 mask);
enum step park(void), kick(u32 what), wake(u32 what), generation(void);
/* kernel.c */
enum step find_tail(void);
enum step reap(void), timer(void), nack(struct claim *c), renew(struct claim *c), bury(void);
enum step destroyer(void), liar(void), calmer(void);
/* queue.c */
enum step queue_send(void), pump(void), tell(void), track(void), wait_told(void);
enum step writer(void), worker(void);
void told(u8 rel, bool dead);
void orphan(u32 id);

/* ghosts, user.c */
void ghost_reserved(u64 t);
void ghost_published(u64 t, u8 msg);
void ghost_lost(u32 index, u64 token);

/* check.c */
void check_invariants(void);
bool quiet(void);
void check_quiet(void);
bool may_die(u32 actor);
bool may_hang(u32 actor);

/* ------------------------------------------------------------------ engine --- */

/* A move from one state to another. */
struct edge {
	u32	to;
	u8	actor;		/* + 16: a store became visible */
	u8	fault;
};

/* All states, numbered as they were found; the edges of i begin at first_edge[i]. */
struct graph {
	u32	nstates;
	struct edge *edges;
	u64	nedges, *first_edge;
	u8	*goal;		/* everything is quiet, or can become so */
};

/* live.c */
bool check_liveness(const struct graph *g, u32 *bad);

struct options {
	u64	max_states, max_bytes;
	bool	verbose;
	const char *replay;
};

struct result {
	u64	states, moves, depth, bytes;
	double	seconds;
	bool	complete;
	char	why[256];	/* violation, empty when there is none */
	char	*replay;	/* moves to it, for --replay; malloc'd */
};

void engine_setup(struct config *c);
void explore(const struct options *o, struct result *r);
void print_trace(const char *moves);

#endif /* SLUICE_MODEL_H */
