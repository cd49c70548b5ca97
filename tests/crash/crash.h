/* SPDX-License-Identifier: MIT */
/*
 * crash.h: a process dies between any two instructions, and the ring works on.
 *
 *	main.c		options, what is said
 *	explore.c	one scenario: every place where the first client can stop, every place
 *			where the second can, who of them dies there
 *	steps.c		two processes under ptrace, instruction by instruction
 *	operations.c	what they do: calls of libsluice, as it is compiled
 *	prefill.c	what the ring holds before
 *	check.c		recovery on a copy, invariants, the ring to its end
 *	broadcast.c	what else must hold where everybody gets everything
 *	world_heap.h	where policy.c of the library has its tables
 *	world.c		memory that all share, and copies of it
 *	module.c	the module's answers to a client (the rest of it is tests/storm/reaper)
 *
 * Everything that matters lies in one shared mapping, the world: the stage's memory, what the
 * kernel knows, the clients' endpoints and what they wrote down. A crash state is a copy of it.
 */
#ifndef SLUICE_TEST_CRASH_H
#define SLUICE_TEST_CRASH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../lib/internal.h"
#include "../storm/reaper/reaper.h"

#define NSLOTS		8u
#define NBUFS		4u
#define BUFSIZE		4096u
#define MAX_RUN		3
#define IDS		64
#define STACK_BYTES	(128u << 10)
#define COPIED_BYTES	256u	/* of each buffer: more is never written */

static inline u64 bit(u32 id)
{
	return 1ull << id;
}

/* ---------------------------------------------------------------- clients --- */

/* first and second move instruction by instruction; the others are there from the start */
enum who { FIRST, SECOND, HELPER, WRITER, CLIENTS };

/* What a client asked of the kernel, and waits for (operations.c, ioctl()). */
struct request {
	unsigned long	cmd;
	void		*arg;
	int		answer;
	bool		pending;
};

/**
 * struct client - an endpoint with what its process did; sets of messages, a bit each
 * @sent:	send returned 0
 * @refused:	it returned something else
 * @acking:	an ACK was begun
 * @acked:	it returned 0
 * @done:	the operation is over
 * @kicked:	SLUICE_KICK_* that reached the kernel
 * @late:	the clock ran away while it was stopped: -ESTALE is right
 * @evicted:	the kernel put it out, its stores would fault
 * @bad:	a message that was claimed is not what was sent
 * @out:	of a broadcast: put out for being slow
 * @older:	messages that were begun, and not in the ring for it, when it joined
 */
struct client {
	struct sluice_ep	ep;
	struct sluice_ctx	ctx;
	struct sluice_msg	msg[MAX_RUN];
	struct request		request;
	uint64_t		sent, refused, acking, acked, older;
	uint32_t		next_id, operation, kicked;
	int			result;
	bool			done, dead, late, evicted, out, bad, used;
};

/**
 * struct world - head of the shared mapping
 * @next:	bytes in use
 * @len:	of each message
 * @broadcast:	everybody gets everything
 * @waits:	and the slow are waited for
 * @policy:	who gets what, of those who would take it
 * @join_flags:	of who comes after the crash
 * @begun:	messages that somebody began to send
 */
struct world {
	size_t		next;
	uint64_t	clock;
	struct reaper	*reaper;
	struct reaper_memory memory;
	struct client	client[CLIENTS];
	struct client	rest[2];	/* producer and consumer that come after the crash */
	uint32_t	len[IDS];
	uint32_t	join_flags;
	uint64_t	begun;
	uint32_t	policy;
	bool		broadcast, waits;
};

extern struct world *world;

void world_map(void);
void world_reset(void);
void *world_calloc(size_t n, size_t size);
void *world_realloc(void *p, size_t size);
void *world_pages(size_t bytes);
u64 world_clock(void);
int world_attach(struct client *c, enum sluice_role role, uint32_t flags);

/* A copy of the world without the stacks. */
struct copy {
	void	*bytes;
	size_t	used;
};

void world_save(struct copy *copy);
void world_restore(const struct copy *copy);
/* What clients can write: has it changed since the last call? */
bool ring_changed(void);
uint64_t ring_hash(void);

/* --------------------------------------------------------------- module.c --- */

int module_ioctl(struct reaper *r, uint32_t id, unsigned long cmd, void *arg);

/* ----------------------------------------------------------- operations.c --- */

struct operation {
	const char	*name;
	enum sluice_role role;
	int		(*run)(struct client *c);
	bool		not_broadcast;
};

#define NSECOND		10u

extern const struct operation operations[];
extern const uint32_t noperations;
extern bool in_client;

void messages_init(void);
struct sluice_msg message(uint32_t id, uint32_t len);
bool message_whole(const struct sluice_msg *m);
void client_main(struct client *c);
int client_send(struct client *c, uint32_t len);

/* -------------------------------------------------------------- prefill.c --- */

/* Where a prefill makes no sense. */
#define NOT_SOLE	1u
#define NOT_BROADCAST	2u
#define BROADCAST_ONLY	4u
#define NOT_POLICY	8u

struct prefill {
	const char	*name;
	void		(*make)(struct client *producer);
	unsigned int	where;
};

extern const struct prefill prefills[];
extern const uint32_t nprefills;

/* ---------------------------------------------------------------- steps.c --- */

/* A stopped process: what the world does not hold. */
struct context {
	unsigned char	regs[256], extended[4096], stack[8192];
	size_t		extended_bytes, stack_bytes;
	uintptr_t	stack_from;
};

void steps_init(void);
void steps_exit(void);
void client_start(enum who who, uint32_t operation);
/* One instruction. False: the operation is over. */
bool client_step(enum who who);
/* To the end of its operation; what it holds in registers and stack is put back afterwards. */
void client_finish(enum who who);
void context_save(enum who who, struct context *context);
void context_restore(enum who who, const struct context *context);
extern uint64_t steps_taken;

/* ---------------------------------------------------------------- check.c --- */

/* Of the present state: everything that has to hold if these clients die now. */
void check_deaths(uint32_t dead);
/* The clock runs away: @late is stopped for longer than any timeout. Returns if it may go on. */
bool check_late(enum who late);
void check_end(void);
void check_finished(const struct client *c);

/* A violation: said with the place, and the test ends. */
void violated(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

struct client *client_at(int i);
void join(void);
/* The messages of the ring from ticket @start on; every word must be one that slot.h draws. */
#define ALL	(~0ull)
uint64_t scan_from(uint64_t start);

/* ------------------------------------------------------------ broadcast.c --- */

bool is_member(const struct client *c);
void check_masks(void);
void check_members(uint64_t sent, uint64_t live);
void check_gone(const struct client *c, const char *name);
uint64_t owed_by_living(void);
void check_told(const char *name);
void see_who_is_out(void);
void check_start(const struct client *c);

/* -------------------------------------------------------------- explore.c --- */

struct scenario {
	uint32_t	prefill, first, second;	/* second: operation, or NONE */
	uint32_t	policy;
	bool		sole, sleepers, wrap, broadcast, waits;
};

#define NONE	(~0u)
#define KINDS	5u	/* shared, with a sole producer, broadcast, patient broadcast, by policy */

struct figures {
	uint64_t	scenarios, changes, states, resumed, late, distinct;
};

extern struct figures figures;
extern uint64_t seed;		/* main.c */

uint32_t scenario_count(void);
bool scenario_get(uint32_t number, struct scenario *s);
void scenario_explore(uint32_t number, const struct scenario *s);
int scenario_describe(const struct scenario *s, char *text, size_t size);

#endif /* SLUICE_TEST_CRASH_H */
