// SPDX-License-Identifier: MIT
/*
 * engine.c: breadth-first search through every interleaving.
 *
 * A state is known by a 96-bit fingerprint; the chance that two of 10^8 states
 * share one is below 10^-12. States that are not expanded yet are kept without
 * their zero words. Of those that are, two small records stay: how they were
 * reached, for the trace, and where they lead, for live.c.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "model.h"

const struct config *C;
struct state *S;
struct actor *A;
enum mutant mutant;
bool tracing;

static struct graph G;
static char failure[256];
static u32 choice, nchoices;
static size_t state_bytes;

enum move_kind { MOVE_STEP, MOVE_FLUSH, MOVE_KILL, MOVE_HANG };
#define MOVE(kind, actor, choice)	((u16)((kind) << 12 | (actor) << 8 | (choice)))
#define MOVE_KIND(m)			((enum move_kind)((m) >> 12))
#define MOVE_ACTOR(m)			((m) >> 8 & 15)
#define MOVE_CHOICE(m)			((m) & 255)

struct slot_of_table {
	u64	lo;
	u32	hi, node;
};

static struct {
	struct slot_of_table *table;
	u64	mask;
	u32	*parent;
	u16	*how;
	u32	cap;
	u64	edge_cap;
	u8	*now, *next;		/* packed states of two levels */
	size_t	now_len, next_len, next_cap, now_cap;
} E;

/* ------------------------------------------------------------------ services --- */

void model_fail(const char *fmt, ...)
{
	va_list ap;

	if (failure[0])
		return;
	va_start(ap, fmt);
	vsnprintf(failure, sizeof(failure), fmt, ap);
	va_end(ap);
}

u32 choose(u32 n)
{
	if (n < 2)
		return 0;
	nchoices = n;
	return choice;
}

static const char *actor_name(u32 i)
{
	static const char *const names[] = { "-", "producer", "consumer", "stage", "timer",
		"writer", "worker", "destroyer", "liar", "calmer" };
	static char s[32];

	snprintf(s, sizeof(s), "ep %u %s%s", i + 1, names[C->role[i].program],
		 S->a[i].dying ? " (dying)" : "");
	return s;
}

void note(const char *fmt, ...)
{
	va_list ap;

	if (!tracing)
		return;
	printf("#     %-20s ", actor_name(me()));
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

static void *grow(void *p, size_t bytes)
{
	p = realloc(p, bytes);
	if (!p) {
		fprintf(stderr, "model: no memory for %zu bytes; lower --max-mem\n", bytes);
		exit(1);
	}
	return p;
}

/* ------------------------------------------------------------------- states --- */

void engine_setup(struct config *c)
{
	u32 i;

	if (!c->rings)
		c->rings = 1;
	c->nslots = (u8)(1u << c->order);
	c->stride = (u8)(2 * c->nslots + 2 * c->nbufs + NHINTS);
	c->nmem = (u8)(c->stride * c->rings);
	c->nactors = 0;
	for (i = 0; i < MAX_ACTORS; i++)
		if (c->role[i].program != NOBODY) {
			c->nactors = (u8)(i + 1);
			c->closes |= c->role[i].program == DESTROYER;
		}
	c->queues = c->post || (c->tell && !c->sole);
	if (!c->run)
		c->run = 1;
	if (!c->max_attempts)
		c->max_attempts = 3;
	if (!c->max_hold)
		c->max_hold = 3;
	if (!c->queue_max)
		c->queue_max = MAX_QUEUE;
	if (!c->dead_slots)
		c->dead_slots = 1;
	c->first &= ticket_mask(c->order);
	C = c;
	state_bytes = sizeof(struct state) + c->nmem * sizeof(u64);
}

static void initial_ring(u32 r)
{
	struct kring *k = &S->k[r];
	u32 i, index;

	A = &S->a[0];
	A->ring = (u8)r;
	for (i = 0; i < C->nslots; i++) {
		u64 t = ticket_add(C->first, i, C->order);

		index = ticket_index(t, C->order);
		*word_at(index) = slot_free(ticket_lap(t, C->order));
	}
	*hint_at(H_TAIL) = C->first;
	k->timer = 1;
	k->tail = C->first;
	for (i = 0; i < C->nactors; i++)
		if (C->role[i].thread_of)
			continue;
		else if (C->rings == 1 || C->role[i].program == STAGE || C->role[i].ring == r)
			k->alive |= 1u << i;
	A->ring = 0;
}

static void initial_state(void)
{
	u32 i;

	memset(S, 0, state_bytes);
	S->kills = C->kills;
	S->hangs = C->hangs;
	S->ticks = C->ticks;
	S->nacks = C->nacks;
	S->discards = C->discards;
	S->lies = C->lies;
	S->renews = C->renews;
	S->evictions = C->evict;
	S->calms = C->calms;
	for (i = 0; i < C->rings; i++)
		initial_ring(i);
	for (i = 0; i < C->nactors; i++) {
		S->a[i].ring = C->role[i].ring;
		switch (C->role[i].program) {
		case STAGE:
			S->a[i].put = C->first;
			/* fall through */
		case CONSUMER:
			S->a[i].cursor = C->first;
			S->a[i].high = C->first;
			break;
		case PRODUCER:
			S->a[i].put = C->first;
			break;
		default:
			break;
		}
		if (C->role[i].program == NOBODY)
			S->a[i].state = ACTOR_DONE;
	}
}

void finish(enum actor_state how)
{
	flush_all(A);
	memset(A, 0, sizeof(*A));
	A->state = (u8)how;
}

enum step run_actor(void)
{
	if (A->dying)
		return reap();
	switch (C->role[me()].program) {
	case PRODUCER:
		return producer();
	case CONSUMER:
		return consumer();
	case STAGE:
		return stage();
	case TIMER:
		return timer();
	case WRITER:
		return writer();
	case WORKER:
		return worker();
	case DESTROYER:
		return destroyer();
	case LIAR:
		return liar();
	case CALMER:
		return calmer();
	case NOBODY:
		break;
	}
	return BLOCKED;
}

static void kill_actor(void)
{
	u8 ring = A->ring, nstores = A->nstores, first = A->last_first;
	u8 at[MAX_STORES];
	u64 val[MAX_STORES];

	/* what it has stored is stored, visible or not yet */
	memcpy(at, A->store_at, sizeof(at));
	memcpy(val, A->store_val, sizeof(val));
	memset(A, 0, sizeof(*A));
	memcpy(A->store_at, at, sizeof(at));
	memcpy(A->store_val, val, sizeof(val));
	A->nstores = nstores;
	A->ring = ring;
	A->last_first = first;
	A->dying = 1;
	A->kernel = 1;
	S->kills--;
	note("is killed");
}

/* Makes the move in S; false when it is not possible. */
static bool make_move(u16 m)
{
	A = &S->a[MOVE_ACTOR(m)];
	choice = MOVE_CHOICE(m);
	nchoices = 1;
	switch (MOVE_KIND(m)) {
	case MOVE_STEP:
		if (A->state != ACTOR_RUNS)
			return false;
		return run_actor() != BLOCKED;
	case MOVE_FLUSH:
		if (!A->nstores)
			return false;
		flush_one(A);
		return true;
	case MOVE_KILL:
		if (!may_die(MOVE_ACTOR(m)))
			return false;
		kill_actor();
		return true;
	case MOVE_HANG:
		if (!may_hang(MOVE_ACTOR(m)))
			return false;
		A->state = ACTOR_HUNG;
		S->hangs--;
		note("hangs, and does not die");
		return true;
	}
	return false;
}

/* ------------------------------------------------------------- fingerprints --- */

static u64 mix(u64 a, u64 b)
{
	__uint128_t p = (__uint128_t)(a ^ 0x9e3779b97f4a7c15ull) * (b ^ 0xe7037ed1a0b428dbull);

	return (u64)p ^ (u64)(p >> 64);
}

static void fingerprint(u64 *lo, u32 *hi)
{
	const u64 *p = (const u64 *)S;
	size_t i, n = state_bytes / 8;
	u64 a = 0x2545f4914f6cdd1dull, b = 0x8ebc6af09c88c6e3ull, c, d;

	for (i = 0; i < n; i += 2) {
		c = p[i];
		d = i + 1 < n ? p[i + 1] : n;
		a = mix(a ^ c, d);
		b = (b ^ c) * 0x9fb21c651e98df25ull;
		b = (b >> 29 ^ b) + d;
	}
	*lo = mix(a, b);
	*hi = (u32)mix(b, a + 0x589965cc75374cc3ull);
}

/* The node of S, and whether it is new. */
static u32 look_up(bool *is_new)
{
	u64 lo, i;
	u32 hi;

	fingerprint(&lo, &hi);
	for (i = lo & E.mask; E.table[i].node; i = (i + 1) & E.mask)
		if (E.table[i].lo == lo && E.table[i].hi == hi) {
			*is_new = false;
			return E.table[i].node - 1;
		}
	E.table[i].lo = lo;
	E.table[i].hi = hi;
	E.table[i].node = ++G.nstates;
	*is_new = true;
	return G.nstates - 1;
}

static void grow_table(void)
{
	struct slot_of_table *old = E.table;
	u64 i, j, n = E.mask ? (E.mask + 1) : 0, size = n ? n * 2 : 1 << 16;

	E.table = calloc(size, sizeof(*E.table));
	if (!E.table) {
		fprintf(stderr, "model: no memory for %llu fingerprints; lower --max-mem\n",
			(unsigned long long)size);
		exit(1);
	}
	E.mask = size - 1;
	for (i = 0; i < n; i++) {
		if (!old[i].node)
			continue;
		for (j = old[i].lo & E.mask; E.table[j].node; j = (j + 1) & E.mask)
			;
		E.table[j] = old[i];
	}
	free(old);
}

static void make_room(void)
{
	if ((u64)G.nstates * 4 >= E.mask * 3)
		grow_table();
	if (G.nstates < E.cap)
		return;
	E.cap = E.cap ? E.cap + E.cap / 2 : 1 << 16;
	E.parent = grow(E.parent, (size_t)E.cap * sizeof(*E.parent));
	E.how = grow(E.how, (size_t)E.cap * sizeof(*E.how));
	G.goal = grow(G.goal, E.cap);
	if (!C->no_live)
		G.first_edge = grow(G.first_edge, ((size_t)E.cap + 1) * sizeof(*G.first_edge));
}

/* ---------------------------------------------------------------- the queue --- */

/*
 * Bitmap of the words that are not zero; of each of those a bitmap of the bytes
 * that are not zero, and those bytes.
 */
static void push_state(void)
{
	const u64 *p = (const u64 *)S;
	size_t n = state_bytes / 8, i, head = (n + 7) / 8;
	u8 *bits, *to;
	u64 v;
	u32 b;

	if (E.next_len + head + n * 9 > E.next_cap) {
		E.next_cap = E.next_cap ? E.next_cap + E.next_cap / 2 : 1 << 20;
		E.next = grow(E.next, E.next_cap);
	}
	bits = E.next + E.next_len;
	memset(bits, 0, head);
	to = bits + head;
	for (i = 0; i < n; i++) {
		u8 *mask = to;

		if (!p[i])
			continue;
		bits[i / 8] |= (u8)(1u << i % 8);
		to++;
		*mask = 0;
		for (v = p[i], b = 0; v; v >>= 8, b++)
			if (v & 0xff) {
				*mask |= (u8)(1u << b);
				*to++ = (u8)v;
			}
	}
	E.next_len = (size_t)(to - E.next);
}

static size_t pop_state(struct state *s, size_t at)
{
	u64 *p = (u64 *)s;
	size_t n = state_bytes / 8, i, head = (n + 7) / 8;
	const u8 *bits = E.now + at, *from = bits + head;
	u32 mask;

	for (i = 0; i < n; i++) {
		p[i] = 0;
		if (!(bits[i / 8] >> i % 8 & 1))
			continue;
		for (mask = *from++; mask; mask &= mask - 1)
			p[i] |= (u64)*from++ << 8 * (u32)__builtin_ctz(mask);
	}
	return (size_t)(from - E.now);
}

static void swap_levels(void)
{
	u8 *p = E.now;
	size_t cap = E.now_cap;

	E.now = E.next;
	E.now_cap = E.next_cap;
	E.now_len = E.next_len;
	E.next = p;
	E.next_cap = cap;
	E.next_len = 0;
}

/* ------------------------------------------------------------------- search --- */

static bool is_fault(u16 m)
{
	if (MOVE_KIND(m) == MOVE_KILL || MOVE_KIND(m) == MOVE_HANG)
		return true;
	/* a tick that comes in time is none, but who needs it to be woken sleeps too long */
	return MOVE_KIND(m) == MOVE_STEP && C->ticks != UNLIMITED && !C->delay &&
	       C->role[MOVE_ACTOR(m)].program == TIMER && !C->hangs && !C->evict && !C->lies;
}

static void add_edge(u32 to, u16 m, bool fault)
{
	if (G.nedges == E.edge_cap) {
		E.edge_cap = E.edge_cap ? E.edge_cap + E.edge_cap / 2 : 1 << 18;
		G.edges = grow(G.edges, E.edge_cap * sizeof(*G.edges));
	}
	G.edges[G.nedges].to = to;
	G.edges[G.nedges].actor = (u8)MOVE_ACTOR(m) | (MOVE_KIND(m) == MOVE_FLUSH ? 16 : 0);
	G.edges[G.nedges++].fault = fault;
}

static char *moves_to(u32 node, int last)
{
	u32 n = 0, at;
	char *s, *p;

	for (at = node; at; at = E.parent[at])
		n++;
	s = grow(NULL, (n + 2) * 5 + 1);
	p = s + n * 5;
	*p = 0;
	if (last >= 0)
		sprintf(p, "%04x.", (u32)last);
	for (at = node; at; at = E.parent[at]) {
		char move[8];

		p -= 5;
		snprintf(move, sizeof(move), "%04x.", E.how[at]);
		memcpy(p, move, 5);
	}
	return s;
}

/* All moves from the state @from, node @node. Returns false at a violation. */
static bool expand(const struct state *from, u32 node, struct result *r, u32 *possible)
{
	u32 actor, kind, n;
	bool is_new;
	u16 m;

	if (!C->no_live)
		G.first_edge[node] = G.nedges;
	for (actor = 0; actor < C->nactors; actor++)
		for (kind = MOVE_STEP; kind <= MOVE_HANG; kind++)
			for (n = 0, nchoices = 1; n < nchoices; n++) {
				bool fault;
				u32 to;

				memcpy(S, from, state_bytes);
				m = MOVE(kind, actor, n);
				fault = is_fault(m) && !S->a[actor].kernel;
				if (!make_move(m))
					break;
				*possible += !fault;
				r->moves++;
				if (!failure[0])
					check_invariants();
				if (failure[0]) {
					r->replay = moves_to(node, m);
					return false;
				}
				make_room();
				to = look_up(&is_new);
				if (is_new) {
					E.parent[to] = node;
					E.how[to] = m;
					G.goal[to] = quiet();
					if (G.goal[to])
						check_quiet();
					push_state();
					if (failure[0]) {
						r->replay = moves_to(to, -1);
						return false;
					}
				}
				if (!C->no_live)
					add_edge(to, m, fault);
			}
	return true;
}

/* Nobody can move although not everything is quiet. */
static bool check_stuck(const struct state *from, u32 node, u32 possible, struct result *r)
{
	if (possible || G.goal[node])
		return true;
	memcpy(S, from, state_bytes);
	model_fail("stuck: something is to be done, and whoever could do it sleeps or is blocked");
	r->replay = moves_to(node, -1);
	return false;
}

/* --------------------------------------------------------------- entry points --- */

static void engine_free(void)
{
	free(E.table);
	free(E.parent);
	free(E.how);
	free(G.edges);
	free(G.first_edge);
	free(G.goal);
	free(E.now);
	free(E.next);
	memset(&E, 0, sizeof(E));
	memset(&G, 0, sizeof(G));
}

static u64 bytes_used(void)
{
	return (E.mask + 1) * sizeof(*E.table) + (u64)E.cap * (C->no_live ? 7 : 15) +
	       E.edge_cap * sizeof(*G.edges) + E.now_cap + E.next_cap;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool search(const struct options *o, struct result *r, struct state *from)
{
	u32 node = 0, possible;
	size_t at;

	while (E.next_len) {
		swap_levels();
		r->depth++;
		for (at = 0; at < E.now_len; node++) {
			at = pop_state(from, at);
			possible = 0;
			if (!expand(from, node, r, &possible) ||
			    !check_stuck(from, node, possible, r))
				return false;
			if (G.nstates >= o->max_states)
				return true;
		}
		if (bytes_used() > o->max_bytes)
			return true;
		if (o->verbose && !(r->depth % 10))
			fprintf(stderr, "# %s: depth %llu, %u states, %.0f MB\n", C->name,
				(unsigned long long)r->depth, G.nstates,
				(double)bytes_used() / 1e6);
	}
	r->complete = true;
	if (C->no_live)
		return true;
	G.first_edge[G.nstates] = G.nedges;
	if (check_liveness(&G, &node))
		return true;
	r->replay = moves_to(node, -1);
	return false;
}

void explore(const struct options *o, struct result *r)
{
	struct state *from = calloc(1, state_bytes);
	double start = seconds();
	bool is_new;

	S = calloc(1, state_bytes);
	memset(r, 0, sizeof(*r));
	failure[0] = 0;
	if (!from || !S) {
		fprintf(stderr, "model: no memory\n");
		exit(1);
	}
	initial_state();
	make_room();
	look_up(&is_new);
	G.goal[0] = 0;
	E.parent[0] = 0;
	push_state();
	search(o, r, from);
	snprintf(r->why, sizeof(r->why), "%s", failure);
	r->states = G.nstates;
	r->bytes = bytes_used();
	r->seconds = seconds() - start;
	free(from);
	free(S);
	S = NULL;
	engine_free();
}

/* Who is where at the end of a trace. */
static void print_actors(void)
{
	static const char *const states[] = { "runs", "is done", "is gone", "hangs" };
	u32 i;

	for (i = 0; i < C->nactors; i++)
		printf("# %s %s%s\n", actor_name(i),
		       S->a[i].asleep ? "sleeps" : states[S->a[i].state],
		       S->a[i].woken ? ", but is woken" : "");
}

/* Plays @moves (hex, each with a dot) and says what happens. */
void print_trace(const char *moves)
{
	const char *p = moves;
	u32 m, n = 0;

	S = calloc(1, state_bytes);
	failure[0] = 0;
	initial_state();
	tracing = true;
	while (sscanf(p, "%4x.", &m) == 1) {
		A = &S->a[MOVE_ACTOR(m)];
		if (!make_move((u16)m)) {
			printf("# move %u (%04x) is not possible here\n", n, m);
			break;
		}
		if (!failure[0])
			check_invariants();
		p += 5;
		n++;
	}
	if (quiet())
		check_quiet();
	tracing = false;
	print_actors();
	printf("# after %u moves: %s\n", n, failure[0] ? failure : "no property is violated yet");
	free(S);
	S = NULL;
}
