/* SPDX-License-Identifier: MIT */
/*
 * storm.h: a pipeline of processes that are killed all the time.
 *
 *	producers --[in]--> workers --[out]--> sink		the end of the pipe: each stream in
 *			       |				order, once
 *			       +--[in.dead]--> undertaker	what was given up
 *
 * or, with --broadcast, a ring whose messages everybody gets:
 *
 *	producers --[in]--> members, who come and go	each of them all that is sent meanwhile
 *
 * or, with --calls, requests that are answered:
 *
 *	callers --[in]--> servers --[reply stages]--> callers	each call ends once
 *
 * With --classes half of the producers send to [in.high], and workers claim from both at once; what
 * is given up there is in [in.high.dead]. With --policies [in] and [in.high] have another policy at
 * every moment.
 *
 *	main.c		options, what is said about the run
 *	fleet.c		starts, kills, stops and waits for the processes
 *	round.c		one round: load and kills, then everything has to come to rest
 *	produce.c	producers: plain, posting, asking for the ACK
 *	roles.c		workers, sink, undertaker
 *	members.c	members of a broadcast
 *	calls.c		callers and servers
 *	user.c		the rings in plain memory; the reaper is the module's, called by the parent
 *	module.c	the rings of the module
 *
 * The processes use libsluice and nothing else. What they do they write into a history, which
 * outlives them and from which a successor learns where its predecessor stopped.
 */
#ifndef SLUICE_TEST_STORM_H
#define SLUICE_TEST_STORM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <sluice/lanes.h>
#include <sluice/sluice.h>

#include "../history/history.h"

#define MS		1000000ll
#define SECOND		(1000 * MS)

enum lane { LANE_IN, LANE_OUT, LANE_DEAD, LANE_HIGH, LANE_HIGH_DEAD, LANES };

enum role { PRODUCER, WORKER, SINK, UNDERTAKER, MEMBER };

#define MAX_PRODUCERS	8
#define MAX_SEATS	20
#define PRODUCER_LIMIT	(1u << 16)	/* messages of a producer in a round, at most */

/* What the parent may ask a process to do to itself, at its next convenience. */
enum order {
	ORDER_NONE,
	ORDER_EXIT,		/* exit with claims held and a command parked */
	ORDER_EXEC,		/* become another program */
	ORDER_FORK,		/* leave a child behind that has inherited the descriptors */
	ORDER_CLOSE,		/* close the descriptors, keep mapping and claims */
	ORDER_CLOSE_RING,	/* close io_uring with a command parked, keep mapping and claims */
	ORDERS,
};

/* How a process ends by itself. */
#define EXIT_DONE	0
#define EXIT_EVICTED	3	/* the kernel put it out for being late, and it has noticed */
#define EXIT_ORDERED	4	/* as it was asked */

/**
 * struct seat - a place in the pipeline; one process after the other sits there
 * @done:	its process ended because there is nothing left to do in this round
 * @stop:	it shall stop itself when it holds a claim
 * @order:	see above; @obeyed: it was, and its process only waits for its end
 * @suicide:	its process is about to kill itself
 * @holds:	idle phase: it holds a message and waits to be killed
 */
struct seat {
	enum role	role;
	unsigned int	log;
	pid_t		pid;
	uint32_t	lives;
	uint64_t	continue_at;	/* ns; stopped until then, or 0 */
	bool		done;
	/* shared with the process */
	uint32_t	order, obeyed, stop;
	uint32_t	suicide;
	uint32_t	holds;
	uint64_t	rng;
};

struct options {
	bool		module, no_uring, broadcast, calls, classes, policies;
	uint64_t	seed;
	unsigned int	kills, seconds, round_kills, producers, workers, idle, messages;
	unsigned int	spread_us;	/* between two kills, at most */
	unsigned int	scale;		/* where everything is slow */
	const char	*keep;
};

/* What was done and seen by the parent. */
struct tally {
	uint64_t	kills, stops, orders[ORDERS], suicides, evicted, bus_errors, bad_ends;
	uint64_t	redelivered, discarded, timeouts, deaths, evictions, dead_letters, lies;
	uint64_t	nacks, sends, expelled, policies, worst_drain_ns;
};

/**
 * struct storm - shared between parent and children
 * @stop:	1 producers end, 2 workers and undertaker, 3 the sink
 * @first:	ticket of the lane that messages come in on
 * @budget:	how many messages each producer may have begun by now
 */
struct storm {
	struct options	opt;
	const struct backend *backend;
	struct history	*history;
	struct tally	tally;
	unsigned int	nseats, parent_log;
	bool		kept;		/* opt.keep is written */
	uint64_t	rng, round, first;
	uint32_t	stop, budget, idle;
	struct seat	seat[MAX_SEATS];
};

/* Where the rings are. */
struct backend {
	const char *name;
	int (*create)(struct storm *s);
	void (*destroy)(struct storm *s);
	/* in the parent, before and after a life */
	int (*seat_attach)(struct storm *s, struct seat *seat);
	void (*seat_died)(struct storm *s, struct seat *seat);
	void (*tick)(struct storm *s);
	int (*info)(struct storm *s, enum lane lane, struct sluice_info *info);
	int (*set_policy)(struct storm *s, enum lane lane, enum sluice_policy policy);
	/* in the child */
	int (*open)(struct storm *s, struct seat *seat, enum lane lane, enum sluice_role role,
		    struct sluice_ep **ep);
	/* NULL where nobody can wait for several rings at once */
	int (*open_classes)(struct storm *s, struct seat *seat, struct sluice_lanes **lanes);
	/* orders that only make sense where there are descriptors */
	bool has_descriptors;
	void (*close_ring)(struct sluice_ep *ep);
};

extern const struct backend user_backend, module_backend;

/* ----------------------------------------------------------------- main.c --- */

/* xorshift; a state of 0 stays 0 */
static inline uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x * 0x2545f4914f6cdd1dull;
}

static inline uint32_t below(uint64_t *state, uint32_t n)
{
	return (uint32_t)((next_random(state) >> 32) * n >> 32);
}

static inline uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t x = (a << 32 ^ b) + 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* ---------------------------------------------------------------- fleet.c --- */

void sleep_us(uint32_t us);
int seat_start(struct storm *s, struct seat *seat);
bool seat_kill(struct storm *s, struct seat *seat);
void seat_stop(struct storm *s, struct seat *seat);
bool seat_order(struct storm *s, struct seat *seat, enum order order);
void seat_evict(struct storm *s, struct seat *seat);
void seats_look(struct storm *s, bool restart);
void seats_continue(struct storm *s);
void seats_end(struct storm *s, unsigned int stop);

/* ---------------------------------------------------------------- round.c --- */

int storm_round(struct storm *s, unsigned int kills, struct history_result *res);
int storm_idle(struct storm *s, unsigned int kills, struct history_result *res);

/* ----------------------------- produce.c, roles.c, members.c and calls.c --- */

/* What a message is, by stream and counter; the payload too. */
#define MESSAGE_MAX	600u
uint32_t message_len(uint64_t stream, uint64_t counter);
void message_fill(uint64_t stream, uint64_t counter, void *data, uint32_t len);
bool message_same(uint64_t stream, uint64_t counter, const void *data, uint32_t len);
/* Does it kill whoever works on it? */
bool message_kills(const struct storm *s, uint64_t stream, uint64_t counter);

/* Of the process: made by backend->open() when it opens its first endpoint. */
extern struct sluice_ctx *process_ctx;

/* A role's process: never returns. */
void produce(struct storm *s, struct seat *seat);
void work(struct storm *s, struct seat *seat);
void collect(struct storm *s, struct seat *seat);
void bury(struct storm *s, struct seat *seat);
void take_part(struct storm *s, struct seat *seat);
void call(struct storm *s, struct seat *seat);
void serve(struct storm *s, struct seat *seat);

struct sluice_ep *must_open(struct storm *s, struct seat *seat, enum lane lane,
			    enum sluice_role role);
void obey(struct storm *s, struct seat *seat);
/* Or this process ends, and so does the storm. */
void must(const struct seat *seat, const char *verb, int ret);
void end_unless_expected(struct seat *seat, const char *verb, int ret);
void note(struct storm *s, const struct seat *seat, struct history_event e);
void note_claim(struct storm *s, const struct seat *seat, enum history_what what, enum lane lane,
		const struct sluice_msg *m);
void compare(struct storm *s, struct seat *seat, enum lane lane, struct sluice_ep *in,
	     const struct sluice_msg *m);
void acknowledge(struct storm *s, struct seat *seat, enum lane lane, struct sluice_ep *in,
		 const struct sluice_msg *m);
void stop_if_asked(struct seat *seat);
uint64_t endpoint_start(const struct sluice_ep *ep);	/* user.c */

/* Every other member of a broadcast wants what is held already, too. */
static inline uint32_t attach_flags(const struct seat *seat)
{
	return seat->role == MEMBER && seat->lives % 2 ? SLUICE_ATTACH_OLDEST : 0;
}

/* Which of the rings of messages exist. */
static inline bool lane_exists(const struct storm *s, enum lane lane)
{
	switch (lane) {
	case LANE_OUT:
		return !s->opt.broadcast && !s->opt.calls;
	case LANE_DEAD:
		return !s->opt.broadcast;
	case LANE_HIGH:
	case LANE_HIGH_DEAD:
		return s->opt.classes;
	default:
		return true;
	}
}

/* The ring that a stream comes in on. */
static inline enum lane lane_of(const struct storm *s, uint64_t stream)
{
	return s->opt.classes && stream & 2 ? LANE_HIGH : LANE_IN;
}

/* Of the module's timeouts: QEMU is slower, but not as slow as a deadline has to allow for. */
static inline uint32_t slowness(const struct storm *s)
{
	return s->opt.scale > 1 ? 3 : 1;
}

static inline uint32_t stop_level(const struct storm *s)
{
	return __atomic_load_n(&s->stop, __ATOMIC_ACQUIRE);
}

#endif /* SLUICE_TEST_STORM_H */
