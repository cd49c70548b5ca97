/* SPDX-License-Identifier: MIT */
/*
 * kmod_common.h: what the module's selftests share: a stage, its endpoints, the five verbs in
 * mapped memory with the module's own slot.h, and one check of the stage's whole state.
 *
 * Nothing of libsluice is used here: these tests speak the ABI as it stands in sluice/uapi.h.
 * Results are 0 or a negative errno value.
 */
#ifndef SLUICE_TEST_KMOD_COMMON_H
#define SLUICE_TEST_KMOD_COMMON_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sluice/uapi.h>
#include <slot.h>

typedef __s64 s64;
typedef __u16 u16;

#include "kselftest_harness.h"

#define CONTROL		"/dev/sluice/control"
#define NODE		"/dev/sluice/"
#define MS		1000000ll	/* in ns */
#define SECOND		(1000 * MS)
#define PAGE		4096u
#define NSLOTS		64u
#define GARBAGE		0xcc		/* what outputs hold before a call */

/* ------------------------------------------------------------------ time --- */

static inline u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * SECOND + (u64)ts.tv_nsec;
}

/* Where everything is slow the runner says how much: deadlines are longer there. */
static inline unsigned int scaled(unsigned int ms)
{
	const char *scale = getenv("SLUICE_TEST_SCALE");
	int n = scale ? atoi(scale) : 1;

	return n > 1 ? (unsigned int)n * ms : ms;
}

static inline void sleep_ms(unsigned int ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * MS };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

/* --------------------------------------------------------------- control --- */

static inline int call(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

static inline int control_as(int mode, unsigned long cmd, void *arg)
{
	int fd = open(CONTROL, mode | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = call(fd, cmd, arg);
	close(fd);
	return ret;
}

static inline int control(unsigned long cmd, void *arg)
{
	return control_as(O_RDWR, cmd, arg);
}

/* With @c's fields; what is 0 in it is the smallest that works. */
static inline struct sluice_create stage_named(const char *name, struct sluice_create c)
{
	c.size = sizeof(c);
	c.nslots = c.nslots ?: NSLOTS;
	snprintf(c.name, sizeof(c.name), "%s", name);
	return c;
}

static inline int stage_create(const char *name, struct sluice_create c)
{
	c = stage_named(name, c);
	return control(SLUICE_IOC_CREATE, &c);
}

static inline int stage_destroy(const char *name, u32 drain_ms, u32 flags)
{
	struct sluice_destroy d = { .size = sizeof(d), .flags = flags, .drain_ms = drain_ms };

	snprintf(d.name, sizeof(d.name), "%s", name);
	return control(SLUICE_IOC_DESTROY, &d);
}

static inline int stage_info(const char *name, struct sluice_info *info)
{
	memset(info, GARBAGE, sizeof(*info));
	info->size = sizeof(*info);
	snprintf(info->name, sizeof(info->name), "%s", name);
	return control(SLUICE_IOC_INFO, info);
}

static inline int stage_open(const char *name, int flags)
{
	char path[sizeof(NODE) + SLUICE_NAME_MAX];
	int fd;

	snprintf(path, sizeof(path), NODE "%s", name);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* ----------------------------------------------------------------- state --- */

/* Everything that a test may expect of a stage; what it does not name shall be 0. */
struct state {
	u64 producers, consumers, sole;
	u64 ready, claimed, writing, dead, buffers, queued;
	u64 redelivered, discarded, timeouts, nacks, deaths, evictions;
	u64 dead_letters, dead_dropped, sends, lies;
};

static inline int state_get(const char *name, struct state *s)
{
	struct sluice_info i;
	int err = stage_info(name, &i);

	if (err)
		return err;
	*s = (struct state) {
		.producers = i.producers, .consumers = i.consumers, .sole = i.sole,
		.ready = i.ready, .claimed = i.claimed, .writing = i.writing, .dead = i.dead,
		.buffers = i.buffers_used, .queued = i.queued,
		.redelivered = i.redelivered, .discarded = i.discarded, .timeouts = i.timeouts,
		.nacks = i.nacks, .deaths = i.deaths, .evictions = i.evictions,
		.dead_letters = i.dead_letters, .dead_dropped = i.dead_dropped,
		.sends = i.sends, .lies = i.lies,
	};
	return 0;
}

static inline void state_print(const char *what, const struct state *s)
{
	fprintf(stderr, "#   %s: producers %llu consumers %llu sole %llu | ready %llu claimed %llu "
		"writing %llu dead %llu buffers %llu queued %llu | redelivered %llu discarded %llu "
		"timeouts %llu nacks %llu deaths %llu evictions %llu letters %llu dropped %llu "
		"sends %llu lies %llu\n", what, s->producers, s->consumers, s->sole, s->ready,
		s->claimed, s->writing, s->dead, s->buffers, s->queued, s->redelivered,
		s->discarded, s->timeouts, s->nacks, s->deaths, s->evictions, s->dead_letters,
		s->dead_dropped, s->sends, s->lies);
}

/* Waits up to @ms for the state; says what differs. 0 or -errno. */
static inline int state_await(const char *name, unsigned int ms, struct state want)
{
	u64 deadline = now_ns() + (u64)ms * MS;
	struct state is;
	int err;

	for (;;) {
		err = state_get(name, &is);
		if (err || !memcmp(&is, &want, sizeof(is)))
			return err;
		if (now_ns() >= deadline)
			break;
		sleep_ms(1);
	}
	state_print("expected", &want);
	state_print("is      ", &is);
	return -ENOMSG;
}

/* Now, and within @ms. The fields not named are expected to be 0. */
#define EXPECT_STATE(name, ...) \
	EXPECT_EQ(0, state_await(name, 0, (struct state) { __VA_ARGS__ }))
#define AWAIT_STATE(name, ms, ...) \
	EXPECT_EQ(0, state_await(name, ms, (struct state) { __VA_ARGS__ }))

/* -------------------------------------------------------------- endpoint --- */

struct end {
	int fd;
	u32 id, index;
	u32 order, nslots, nbufs, bufsize;
	u64 hints_bytes, control_bytes, payload_bytes;
	const struct sluice_hints *hints;
	struct sluice_control *control;
	unsigned char *payload;
	u64 cursor;
	u32 generation;
};

static inline int attach_raw(int fd, u32 role, u32 flags, struct sluice_attach *a)
{
	memset(a, GARBAGE, sizeof(*a));
	a->size = sizeof(*a);
	a->abi_version = SLUICE_ABI_VERSION;
	a->role = role;
	a->flags = flags;
	a->start = 0;
	a->recipient = 0;
	memset(a->name, 0, sizeof(a->name));
	return call(fd, SLUICE_IOC_ATTACH, a);
}

static inline void *map_at(int fd, u64 offset, u64 bytes, int prot)
{
	return mmap(NULL, bytes, prot, MAP_SHARED, fd, (off_t)offset);
}

/* The three regions of an attached descriptor. */
static inline int end_map(struct end *e, const struct sluice_attach *a, u32 role)
{
	void *p;

	e->hints_bytes = a->hints_bytes;
	e->control_bytes = a->control_bytes;
	e->payload_bytes = a->payload_bytes;
	p = map_at(e->fd, SLUICE_MMAP_HINTS, a->hints_bytes, PROT_READ);
	if (p == MAP_FAILED)
		return -errno;
	e->hints = p;
	p = map_at(e->fd, SLUICE_MMAP_CONTROL, a->control_bytes, PROT_READ | PROT_WRITE);
	if (p == MAP_FAILED)
		return -errno;
	e->control = p;
	if (a->payload_bytes) {
		p = map_at(e->fd, SLUICE_MMAP_PAYLOAD, a->payload_bytes,
			   role == SLUICE_PRODUCER ? PROT_READ | PROT_WRITE : PROT_READ);
		if (p == MAP_FAILED)
			return -errno;
		e->payload = p;
	}
	e->nslots = e->hints->nslots;
	e->order = (u32)__builtin_ctz(e->nslots);
	e->nbufs = e->hints->nbufs;
	e->bufsize = e->hints->bufsize;
	e->cursor = ticket_add(a->tail, -(long long)e->nslots, e->order);
	e->generation = e->hints->generation;
	return 0;
}

/* Opened, attached and mapped; on failure nothing stays. */
static inline int end_make(struct end *e, const char *name, u32 role, u32 flags)
{
	struct sluice_attach a;
	int err;

	memset(e, 0, sizeof(*e));
	e->fd = stage_open(name, O_RDWR);
	if (e->fd < 0)
		return e->fd;
	err = attach_raw(e->fd, role, flags, &a);
	if (!err) {
		e->id = a.id;
		e->index = a.index;
		err = end_map(e, &a, role);
	}
	if (err)
		close(e->fd);
	return err;
}

static inline void end_unmap(struct end *e)
{
	if (e->hints)
		munmap((void *)e->hints, e->hints_bytes);
	if (e->control)
		munmap(e->control, e->control_bytes);
	if (e->payload)
		munmap(e->payload, e->payload_bytes);
	e->hints = NULL;
	e->control = NULL;
	e->payload = NULL;
}

static inline void end_close(struct end *e)
{
	end_unmap(e);
	if (e->fd > 0)
		close(e->fd);
	e->fd = -1;
}

/* ----------------------------------------------------------------- verbs --- */

static inline struct sluice_slot *end_slot(const struct end *e, u64 ticket)
{
	return (void *)((char *)e->control + e->hints->slots_offset +
			sizeof(struct sluice_slot) * ticket_index(ticket, e->order));
}

static inline u64 *end_word(const struct end *e, u64 ticket)
{
	return &end_slot(e, ticket)->word;
}

static inline u64 *end_buffer(const struct end *e, u32 index)
{
	return (void *)((char *)e->control + e->hints->buffers_offset +
			(size_t)index * SLUICE_BUFFER_STRIDE);
}

static inline int end_kick(const struct end *e, u32 what)
{
	struct sluice_kick k = { .what = what };

	return call(e->fd, SLUICE_IOC_KICK, &k);
}

/* The next ticket of the ring is WRITING by @e. -EAGAIN: full. */
static inline int end_reserve(struct end *e, u64 *ticket)
{
	u64 t = sl_load(&e->control->tail);

	for (;;) {
		u64 lap = ticket_lap(t, e->order), tail;

		switch (slot_room(sl_load_acquire(end_word(e, t)), lap)) {
		case ROOM_FULL:
			return -EAGAIN;
		case ROOM_FREE:
			if (slot_reserve(end_word(e, t), lap, e->id) != SLOT_OK)
				break;
			tail = sl_load(&e->control->tail);
			if (ticket_diff(t + 1, tail, e->order) > 0)
				sl_cas(&e->control->tail, tail, ticket_add(t, 1, e->order));
			*ticket = t;
			return 0;
		case ROOM_USED:
			t = ticket_add(t, 1, e->order);
			break;
		}
	}
}

/* What the slot of a reserved ticket says; @buf or, with SLUICE_NO_BUFFER, inline. */
static inline void end_fill(struct end *e, u64 ticket, const void *data, u32 len, u32 buf)
{
	struct sluice_slot *slot = end_slot(e, ticket);

	slot->target = 0;
	slot->stream = 7;
	slot->counter = ticket;
	slot->time = 1;
	slot->len = len;
	slot->buf = buf;
	slot->kind = 3;
	slot->flags = 0;
	if (buf == SLUICE_NO_BUFFER)
		memcpy(slot->data, data, len);
	else
		memcpy(e->payload + (size_t)buf * e->bufsize, data, len);
}

static inline int end_publish(struct end *e, u64 ticket)
{
	enum slot_result r = slot_publish(end_word(e, ticket), ticket_lap(ticket, e->order), e->id);

	sl_fence();	/* (C) */
	if (r == SLOT_OK && sl_load(&e->hints->ready_sleepers))
		end_kick(e, SLUICE_KICK_READY);
	return r == SLOT_OK ? 0 : -ESTALE;
}

/* reserve, fill inline, publish. */
static inline int end_send(struct end *e, const char *text, u64 *ticket)
{
	u64 t;
	int err = end_reserve(e, &t);

	if (err)
		return err;
	end_fill(e, t, text, (u32)strlen(text), SLUICE_NO_BUFFER);
	if (ticket)
		*ticket = t;
	return end_publish(e, t);
}

static inline int end_take(struct end *e, u32 *index)
{
	u32 i;

	for (i = 0; i < e->nbufs; i++) {
		if (buf_take(end_buffer(e, i), e->id) == SLOT_OK) {
			*index = i;
			return 0;
		}
	}
	return -ENOBUFS;
}

/* The same with the payload in a buffer. */
static inline int end_send_buffer(struct end *e, const char *text, u64 *ticket, u32 *buf)
{
	u64 t;
	int err = end_take(e, buf);

	err = err ?: end_reserve(e, &t);
	if (err)
		return err;
	end_fill(e, t, text, (u32)strlen(text), *buf);
	if (buf_send(end_buffer(e, *buf), e->id, t) != SLOT_OK)
		return -ESTALE;
	*ticket = t;
	return end_publish(e, t);
}

/* The first READY message in ticket order (P7). -EAGAIN: nothing. */
static inline int end_claim(struct end *e, u64 *ticket, u64 *token)
{
	u32 generation = sl_load(&e->hints->generation), i;

	sl_fence_acquire();
	if (generation != e->generation) {
		e->cursor = ticket_add(e->cursor, -(long long)e->nslots, e->order);
		e->generation = generation;
	}
	for (i = 0; i < 3 * e->nslots; i++) {
		u64 *word = end_word(e, e->cursor), lap = ticket_lap(e->cursor, e->order);

		switch (slot_look(sl_load_acquire(word), lap)) {
		case LOOK_WAIT:
			return -EAGAIN;
		case LOOK_CLAIM:
			if (slot_claim(word, lap, e->id, token) != SLOT_OK)
				break;
			*ticket = e->cursor;
			e->cursor = ticket_add(e->cursor, 1, e->order);
			return 0;
		case LOOK_PASS:
			e->cursor = ticket_add(e->cursor, 1, e->order);
			break;
		}
	}
	return -EAGAIN;
}

/* Slot, then buffer, then whoever sleeps for them (P5, P17). */
static inline int end_ack(struct end *e, u64 ticket, u64 token)
{
	struct sluice_slot *slot = end_slot(e, ticket);
	u32 buf = slot->buf, what = 0;
	u16 flags = slot->flags;

	if (slot_ack(&slot->word, token) != SLOT_OK)
		return -ESTALE;
	if (buf != SLUICE_NO_BUFFER)
		buf_free_sent(end_buffer(e, buf), ticket);
	sl_fence();	/* (C) */
	if (sl_load(&e->hints->room_sleepers) || sl_load(&e->hints->queued))
		what |= SLUICE_KICK_ROOM;
	if (flags & SLUICE_MSG_TELL)
		what |= SLUICE_KICK_ACKED;
	return what ? end_kick(e, what) : 0;
}

/* Claims the next message, checks that it says @text, and acknowledges it. */
static inline int end_take_text(struct end *e, const char *text)
{
	struct sluice_slot *slot;
	u64 ticket, token;
	const void *data;
	int err = end_claim(e, &ticket, &token);

	if (err)
		return err;
	slot = end_slot(e, ticket);
	data = slot->buf == SLUICE_NO_BUFFER ? slot->data :
	       e->payload + (size_t)slot->buf * e->bufsize;
	if (slot->len != strlen(text) || memcmp(data, text, slot->len))
		return -EBADMSG;
	return end_ack(e, ticket, token);
}

static inline int end_nack(struct end *e, u64 ticket, u64 token, u32 flags, u32 delay_ms,
			   u32 reason)
{
	struct sluice_nack n = {
		.ticket = ticket, .token = token, .flags = flags, .delay_ms = delay_ms,
		.reason = reason,
	};

	return call(e->fd, SLUICE_IOC_NACK, &n);
}

static inline int end_renew(struct end *e, u64 ticket, u64 token)
{
	struct sluice_nack n = { .ticket = ticket, .token = token };

	return call(e->fd, SLUICE_IOC_RENEW, &n);
}

static inline struct sluice_wait wait_for(const struct end *e, u16 what, u64 cursor)
{
	return (struct sluice_wait) {
		.cursor = cursor, .generation = e->generation, .what = what,
	};
}

/* SLUICE_IOC_WAIT; @timeout_ns as there. */
static inline int end_wait(struct end *e, u16 what, u64 cursor, s64 timeout_ns)
{
	struct sluice_wait_ioctl w = {
		.wait = wait_for(e, what, cursor), .timeout_ns = timeout_ns,
	};

	return call(e->fd, SLUICE_IOC_WAIT, &w);
}

/* Claims, sleeping up to @ms for a message. */
static inline int end_await(struct end *e, u64 *ticket, u64 *token, unsigned int ms)
{
	u64 deadline = now_ns() + (u64)scaled(ms) * MS;
	int err;

	for (;;) {
		err = end_claim(e, ticket, token);
		if (err != -EAGAIN || now_ns() >= deadline)
			return err;
		err = end_wait(e, SLUICE_WAIT_READY, e->cursor, (s64)(deadline - now_ns()));
		if (err && err != -EAGAIN)
			return err;
	}
}

/* -------------------------------------------------------------- fixtures --- */

/* Both ends of stage "t" in one process. */
#define BOTH		.producers = 1, .consumers = 1

struct ends {
	struct end out, in;
};

/* The stage and both ends; 0 or why not. */
static inline int ends_make(struct ends *r, struct sluice_create c, u32 attach_flags)
{
	int err = stage_create("t", c);

	err = err ?: end_make(&r->out, "t", SLUICE_PRODUCER, attach_flags);
	return err ?: end_make(&r->in, "t", SLUICE_CONSUMER, 0);
}

static inline int ends_close(struct ends *r)
{
	end_close(&r->out);
	end_close(&r->in);
	return stage_destroy("t", 0, SLUICE_DESTROY_FORCE);
}

#endif /* SLUICE_TEST_KMOD_COMMON_H */
