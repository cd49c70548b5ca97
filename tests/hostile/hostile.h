/* SPDX-License-Identifier: MIT */
/*
 * hostile.h: what the parts of sltest share.
 *
 *	sltest.c       supervisor: module, calm pair, workers, watchdog, verdict
 *	calm.c         two well-behaved processes on a stage of their own
 *	worker.c       one hostile process: two lanes of operations, one scribbler
 *	ops_command.c  open, ioctl, read, write, poll, dup, SCM_RIGHTS, close
 *	ops_memory.c   mmap, munmap, mremap, mprotect, madvise, splice
 *	ops_process.c  fork, exec, kill
 *	ops_uring.c    rings with commands parked, linked, cancelled, abandoned
 *	scribble.c     random and nearly right words in writable pages
 *
 * A lane is one sequence of operations. Operation i of lane l draws from a generator of its own,
 * seeded with (seed, l, i), so a lane can be run again alone, from any operation on.
 */
#ifndef SLUICE_HOSTILE_H
#define SLUICE_HOSTILE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include <liburing.h>
#include <sluice/uapi.h>

#define WORKERS_MAX	8u
#define LANES		2u		/* of a worker */
#define LANES_MAX	(WORKERS_MAX * LANES)
#define STAGES		6u		/* h0 .. h5, made and destroyed all the time */
#define FDS		24u		/* descriptors that a worker plays with */
#define MAPS		20u		/* and mappings */
#define MAP_SLOT	(64ull << 20)	/* address space kept for each of them */
#define HINTS_PAGES	256ull		/* kept so that endpoints stay alive */
#define RINGS		2u		/* of a lane */
#define SCRATCH		(64u << 10)	/* a lane's memory for arguments */
#define TRACE		32u		/* last operations of a lane that are shown */
#define OPS_MAX		64u		/* kinds of operations */
#define CHILDREN	3u		/* of a worker at a time */
#define NOBODY		65534u		/* odd workers are not root */
#define CALM		"calm"
#define PAGE		4096ull

/* Descriptors that survive exec, out of the way of the others. */
#define FD_SHARED	200
#define FD_MAIL		201		/* and 202: a socket that all workers share */
#define FD_CONTROL	203

/* An operation as it is remembered. */
struct trace {
	uint64_t number;
	uint32_t op;
	int32_t result;
};

/* Memory that outlives every worker. */
struct shared {
	uint64_t seed, goal;		/* operations of one lane */
	uint32_t workers;
	uint32_t stop;
	uint64_t done[LANES_MAX];
	uint64_t tried[OPS_MAX], worked[OPS_MAX], spent_ns[OPS_MAX];
	struct trace trace[LANES_MAX][TRACE];
	uint64_t scribbles, faults, spawned;
	/* one lane alone, every operation said before it is done */
	uint32_t replay, replay_lane;
	/* the calm pair */
	uint64_t calm_sent, calm_received, calm_slowest_ns;
	/* the first thing that must not happen, in words */
	uint32_t broken;
	char broken_text[256];
};

struct rng {
	uint64_t s;
};

enum fd_kind { FD_NONE, FD_STAGE, FD_CTL, FD_OTHER };

/* A descriptor; what is known of it may be out of date. */
struct fd_slot {
	int fd;
	enum fd_kind kind;
	uint32_t role, id;
	uint32_t nslots, nbufs, bufsize;
	uint64_t control_bytes, payload_bytes;
};

/* A mapping, always at the address that belongs to its place in the table. */
struct map_slot {
	void *addr;
	uint64_t len;
	int prot;
	uint64_t offset;	/* which region */
	uint32_t nslots, nbufs, bufsize;
	int fd;			/* of the endpoint that made it, if it still is there */
	uint32_t id;
	uint32_t parts;		/* 1: mapped */
};

struct lane {
	struct worker *w;
	uint32_t index;		/* in all */
	uint64_t number;	/* of the present operation */
	struct rng rng;
	struct io_uring ring[RINGS];
	bool ring_made[RINGS];
	unsigned char *scratch;
	bool child;		/* in a forked child: no more of those */
	timer_t timer;		/* interrupts what sleeps */
	pthread_t thread;
};

struct worker {
	uint32_t index;
	bool root;
	struct fd_slot fds[FDS];
	struct map_slot maps[MAPS];
	char *arena;
	pthread_mutex_t map_lock;	/* whoever changes the address space */
	pid_t children[CHILDREN];
	struct lane lanes[LANES];
};

struct op {
	const char *name;
	unsigned int weight;
	bool sleeps;			/* has to be interrupted */
	int (*run)(struct lane *l);	/* 0 or positive: it worked; else a negative errno value */
};

extern struct shared *shared;
extern const struct op ops_command[], ops_memory[], ops_process[], ops_uring[];

/* ---------------------------------------------------------------- random --- */

static inline uint64_t rng_mix(uint64_t z)
{
	z += 0x9e3779b97f4a7c15ull;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static inline uint64_t rng_next(struct rng *r)
{
	r->s += 0x9e3779b97f4a7c15ull;
	return rng_mix(r->s);
}

/* 0 .. n - 1 */
static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
	return (uint32_t)(rng_next(r) >> 32) % n;
}

static inline bool rng_one_in(struct rng *r, uint32_t n)
{
	return !rng_below(r, n);
}

#define RNG_PICK(r, array)	((array)[rng_below(r, (uint32_t)(sizeof(array) / sizeof((array)[0])))])

/* A number at the edge of something. */
uint64_t rng_edge(struct rng *r);

/* ---------------------------------------------------------------- worker --- */

_Noreturn void worker_main(uint32_t index, bool inherited);
void make_timer(struct lane *l);
void worker_op(struct lane *l, const struct op *except);
const struct op *op_by_index(uint32_t index);
uint32_t op_count(void);

/* Something happened that must not happen; the supervisor ends the run. */
void broken(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Memory may vanish under a thread's hands: GUARDED(body) is true when @body was done, false
 * when it faulted.
 */
extern __thread sigjmp_buf guard;
extern __thread volatile sig_atomic_t guarded;
#define GUARDED(body) ({						\
	volatile bool guard_ok_ = false;					\
	if (!sigsetjmp(guard, 0)) {					\
		guarded = 1;						\
		__asm__ volatile("" ::: "memory");			\
		body;							\
		__asm__ volatile("" ::: "memory");			\
		guard_ok_ = true;					\
	}								\
	guarded = 0;							\
	guard_ok_; })

/* ------------------------------------------------------------- operations --- */

struct fd_slot *pick_end(struct lane *l);
struct fd_slot *pick_fd(struct lane *l, enum fd_kind kind);
int keep_fd(struct lane *l, int fd, enum fd_kind kind);
struct map_slot *pick_map(struct lane *l);
void *pick_buffer(struct lane *l, size_t len);
void pick_stage_name(struct lane *l, char *name);
void make_send(struct lane *l, const struct fd_slot *f, struct sluice_send *s);
void make_wait(struct lane *l, const struct fd_slot *f, struct sluice_wait *w);
void make_create(struct rng *r, uint32_t stage, struct sluice_create *c);
uint64_t guess_ticket(struct lane *l, const struct fd_slot *f);
uint64_t guess_word(struct rng *r, uint64_t near);
int result_of(long ret);

bool scribble(struct rng *r, const struct map_slot *m);
void rings_forget(struct lane *l);

/* ------------------------------------------------------------ calm pair --- */

_Noreturn void calm_produce(void);
_Noreturn void calm_consume(void);
uint64_t now_ns(void);

#endif /* SLUICE_HOSTILE_H */
