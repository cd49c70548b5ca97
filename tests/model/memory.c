// SPDX-License-Identifier: MIT
/*
 * memory.c: the memory that the actors share.
 *
 * With @tso a plain or a releasing store waits in its actor's store buffer, first
 * in first out; loads see their own stores; a compare-and-swap, a full fence and
 * time (the engine's flush moves) empty it. That is x86. With @weak a load that
 * follows a compare-and-swap or another load may have been satisfied before it,
 * unless a fence stands between, as on arm64.
 *
 * Each change of a slot's word is compared with the table at the head of slot.h.
 */
#include <stdarg.h>
#include <stdio.h>

#include "model.h"

bool no_oracle;

/* -------------------------------------------------------------- locations --- */

static u64 *location(u32 offset)
{
	return &S->mem[A->ring * C->stride + offset];
}

u64 *word_at(u32 index)
{
	return location(index);
}

u64 *data_at(u32 index)
{
	return location(C->nslots + index);
}

u64 *buffer_at(u32 b)
{
	return location(2u * C->nslots + b);
}

u64 *payload_at(u32 b)
{
	return location(2u * C->nslots + C->nbufs + b);
}

u64 *hint_at(enum hint h)
{
	return location(2u * C->nslots + 2u * C->nbufs + h);
}

u64 peek(const u64 *p)
{
	return *p;
}

/* -------------------------------------------------------------- describing --- */

u32 ticket_rel(u64 t)
{
	long long d = ticket_diff(t, C->first, C->order) + C->nslots;

	if (d < 0 || d >= MAX_TICKETS) {
		model_fail("a ticket from nowhere: first %+lld", d - C->nslots);
		return 0;
	}
	return (u32)d;
}

u64 ticket_at(u32 rel)
{
	return ticket_add(C->first, (long long)rel - C->nslots, C->order);
}

u32 lap_rel(u64 lap)
{
	return (u8)(lap_diff(lap, ticket_lap(C->first, C->order)) + 1);
}

int describe_word(char *s, u64 w)
{
	static const char *const names[] = { "FREE", "WRITING", "READY", "CLAIMED", "DEAD" };
	long long lap = lap_diff(slot_lap(w), ticket_lap(C->first, C->order));
	u32 st = slot_state(w), owner = slot_owner(w);
	int n = sprintf(s, "%s(lap %+lld", st < 5 ? names[st] : "?", lap);

	if (owner == SLOT_OWNER_KERNEL)
		n += sprintf(s + n, ", kernel");
	else if (owner)
		n += sprintf(s + n, ", ep %u", owner);
	if (slot_attempt(w))
		n += sprintf(s + n, ", attempt %u", slot_attempt(w));
	return n + sprintf(s + n, ")");
}

static void describe_buffer(char *s, u64 w)
{
	static const char *const names[] = { "FREE", "HELD", "QUEUED", "SENT" };

	if (buf_state(w) == BUF_SENT)
		sprintf(s, "SENT(ticket %+lld)", ticket_diff(buf_who(w), C->first, C->order));
	else if (buf_state(w) == BUF_HELD)
		sprintf(s, "HELD(ep %llu)", (unsigned long long)buf_who(w));
	else
		strcpy(s, names[buf_state(w)]);
}

static void describe(char *where, char *what, const u64 *p, u64 v)
{
	static const char *const hints[NHINTS] = { "ready_sleepers", "room_sleepers", "queued",
		"generation", "closed", "tail", "fences", "lock", "wait_lock" };
	u32 at = (u32)(p - S->mem), ring = at / C->stride;
	u32 n = C->nslots, b = C->nbufs;

	if (C->rings > 1)
		where += sprintf(where, "ring %u ", ring);
	at %= C->stride;
	sprintf(what, "%llu", (unsigned long long)v);
	if (at < n) {
		sprintf(where, "word[%u]", at);
		describe_word(what, v);
	} else if (at < 2 * n) {
		sprintf(where, "slot[%u]", at - n);
		sprintf(what, "message %u", (u32)(v & 0xff));
		if (v >> 8 & 0xff)
			sprintf(what + strlen(what), " buffer %u", (u32)(v >> 8 & 0xff) - 1);
	} else if (at < 2 * n + b) {
		sprintf(where, "buffer[%u]", at - 2 * n);
		describe_buffer(what, v);
	} else if (at < 2 * n + 2 * b) {
		sprintf(where, "payload[%u]", at - 2 * n - b);
		sprintf(what, "message %u", (u32)v);
	} else {
		at -= 2 * n + 2 * b;
		strcpy(where, hints[at]);
		if (at == H_TAIL)
			sprintf(what, "ticket %+lld", ticket_diff(v, C->first, C->order));
	}
}

static void note_access(const char *verb, const u64 *p, u64 v, const char *tail)
{
	char where[64], what[96];

	if (!tracing)
		return;
	describe(where, what, p, v);
	note("%s %s %s%s", verb, where, what, tail);
}

/* ------------------------------------------------------------------ oracle --- */

static bool legal_change(u64 old, u64 val, bool sole)
{
	u64 lap = slot_lap(old);
	bool same = slot_lap(val) == lap;
	bool next = val == slot_free(lap + 1);
	u32 a = slot_attempt(old);

	switch (slot_state(old)) {
	case SLOT_FREE:
		if (slot_state(val) == SLOT_READY)
			return sole && same && !slot_attempt(val);
		return !sole && same && slot_state(val) == SLOT_WRITING && slot_owner(val);
	case SLOT_WRITING:
		return next || val == slot_word(lap, 0, 0, SLOT_READY);
	case SLOT_READY:
		return same && slot_state(val) == SLOT_CLAIMED && slot_attempt(val) == a + 1 &&
		       slot_owner(val);
	case SLOT_CLAIMED:
		return next || (same && slot_attempt(val) == a && slot_state(val) != SLOT_FREE &&
				slot_state(val) != SLOT_WRITING);
	case SLOT_DEAD:
		return next;
	}
	return false;
}

static bool legal_buffer(u64 old, u64 val)
{
	switch (buf_state(old)) {
	case BUF_FREE:
		return buf_state(val) == BUF_HELD;
	case BUF_HELD:
		return buf_state(val) != BUF_HELD;
	case BUF_QUEUED:
		return buf_state(val) == BUF_SENT;
	case BUF_SENT:
		return buf_state(val) == BUF_FREE || buf_state(val) == BUF_HELD;
	}
	return false;
}

/* Memory itself changes. */
static void commit(u32 at, u64 val)
{
	u32 rel = at % C->stride, ring = at / C->stride;
	u64 old = S->mem[at];
	char a[64], b[64];

	S->mem[at] = val;
	if (no_oracle || old == val)
		return;
	if (rel < C->nslots) {
		describe_word(a, old);
		describe_word(b, val);
		CHECK(A - S->a < MAX_ACTORS && legal_change(old, val, S->k[ring].sole),
		      "no transition of slot.h: word[%u] %s -> %s", rel, a, b);
	} else if (rel >= 2u * C->nslots && rel < 2u * C->nslots + C->nbufs) {
		describe_buffer(a, old);
		describe_buffer(b, val);
		CHECK(legal_buffer(old, val), "no transition of slot.h: buffer[%u] %s -> %s",
		      rel - 2 * C->nslots, a, b);
	}
}

/* ---------------------------------------------------------- store buffers --- */

static void store(u64 *p, u64 v)
{
	u32 at = (u32)(p - S->mem);

	if (!C->tso) {
		commit(at, v);
		return;
	}
	if (A->nstores == MAX_STORES)
		flush_one(A);
	A->store_at[A->nstores] = (u8)at;
	A->store_val[A->nstores++] = v;
}

void flush_one(struct actor *a)
{
	u32 at = a->store_at[0], i;
	u64 v = a->store_val[0];

	for (i = 1; i < a->nstores; i++) {
		a->store_at[i - 1] = a->store_at[i];
		a->store_val[i - 1] = a->store_val[i];
	}
	a->nstores--;
	a->store_at[a->nstores] = 0;
	a->store_val[a->nstores] = 0;
	commit(at, v);
	note_access("(now visible)", &S->mem[at], v, "");
}

void flush_all(struct actor *a)
{
	while (a->nstores)
		flush_one(a);
}

/*
 * Mutant: the release of (A) is left out, so the word becomes visible before
 * what was stored earlier.
 */
static void store_ahead(u64 *p, u64 v)
{
	commit((u32)(p - S->mem), v);
}

/* ---------------------------------------------------------------- accesses --- */

static u64 load(const u64 *p)
{
	u32 at = (u32)(p - S->mem), i;

	if (A->early_at == at + 1) {
		u64 v = A->early_val;

		A->early_at = 0;
		A->early_val = 0;
		note_access("load (satisfied early)", p, v, "");
		return v;
	}
	for (i = A->nstores; i-- > 0;)
		if (A->store_at[i] == at)
			return A->store_val[i];
	note_access("load", p, S->mem[at], "");
	return S->mem[at];
}

static void forget_early(void)
{
	A->early_at = 0;
	A->early_val = 0;
}

void load_early(const u64 *p)
{
	if (!C->weak || !choose(2))
		return;
	A->early_at = (u8)(p - S->mem) + 1;
	A->early_val = *p;
	note_access("load early", p, *p, "");
}

u64 mem_load(const u64 *p)
{
	return load(p);
}

/* (B) */
u64 mem_load_acquire(const u64 *p)
{
	u64 v = load(p);

	if (!MUT(no_acquire_b))
		forget_early();
	return v;
}

void plain_store(u64 *p, u64 v)
{
	note_access("store", p, v, C->tso ? " (buffered)" : "");
	store(p, v);
}

/* (A) */
void mem_store_release(u64 *p, u64 v)
{
	note_access("store-release", p, v, C->tso ? " (buffered)" : "");
	if (MUT(no_release_a))
		store_ahead(p, v);
	else
		store(p, v);
}

/* Full barrier in the kernel; in user space what stands behind it may be satisfied early. */
bool mem_cas(u64 *p, u64 old, u64 val)
{
	bool ok;

	flush_all(A);
	if (A->kernel)
		forget_early();
	ok = *p == old;
	note_access("cas", p, val, ok ? "" : " FAILED");
	if (!ok)
		note_access("    it is", p, *p, "");
	if (ok)
		commit((u32)(p - S->mem), val);
	return ok;
}

/* (C) and (D) */
void mem_fence(void)
{
	flush_all(A);
	forget_early();
}

/*
 * on_each_cpu(): each actor passes a full fence wherever it is. A load that was satisfied early
 * stands behind the interrupt, so that it is done once more.
 */
void mem_fence_everywhere(void)
{
	struct actor *self = A;

	mem_fence();
	for (A = S->a; A < S->a + C->nactors; A++)
		mem_fence();
	A = self;
	note("has everybody fence");
}

/* (E) */
void mem_fence_acquire(void)
{
	if (!MUT(no_fence_e))
		forget_early();
}

/* Callers wait until it is free: STEP_WHEN(!peek(hint_at(lock))). */
void kernel_lock(enum hint lock)
{
	A->kernel = 1;
	flush_all(A);
	forget_early();
	*hint_at(lock) = endpoint_id(me());
}

void kernel_unlock(enum hint lock)
{
	store(hint_at(lock), 0);
}
