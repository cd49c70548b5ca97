// SPDX-License-Identifier: MIT
/*
 * ops_command.c: descriptors of the module: open, ioctl with right and wrong arguments, read,
 * write, poll, dup, passing to another process, close.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <slot.h>

#include "hostile.h"

int result_of(long ret)
{
	return ret < 0 ? -errno : ret > 0x7fffffff ? 0x7fffffff : (int)ret;
}

/* ---------------------------------------------------------------- tables --- */

/* One of the kind, if there is any; else one that is not, or an empty place. */
struct fd_slot *pick_fd(struct lane *l, enum fd_kind kind)
{
	struct fd_slot *f = &l->w->fds[rng_below(&l->rng, FDS)];
	uint32_t i;

	for (i = 0; i < FDS && f->kind != kind && !rng_one_in(&l->rng, 50); i++)
		f = &l->w->fds[rng_below(&l->rng, FDS)];
	return f;
}

/* One that is attached, most of the time. */
struct fd_slot *pick_end(struct lane *l)
{
	struct fd_slot *f = pick_fd(l, FD_STAGE);
	uint32_t i;

	for (i = 0; i < FDS && !f->id && !rng_one_in(&l->rng, 50); i++)
		f = pick_fd(l, FD_STAGE);
	return f;
}

/* Into the table, for what was there. */
int keep_fd(struct lane *l, int fd, enum fd_kind kind)
{
	struct fd_slot *f;
	uint32_t i;

	if (fd < 0)
		return -errno;
	f = &l->w->fds[rng_below(&l->rng, FDS)];
	for (i = 0; i < FDS / 2 && f->kind != FD_NONE; i++)
		f = &l->w->fds[rng_below(&l->rng, FDS)];
	if (f->kind != FD_NONE)
		close(f->fd);
	*f = (struct fd_slot) { .fd = fd, .kind = kind };
	return (int)(f - l->w->fds);
}

void pick_stage_name(struct lane *l, char *name)
{
	static const char *const strange[] = {
		"", ".", "..", "control", "h0/../" CALM, "a/b", "h 0", "h0.dead.dead", "\xff\xfe",
		"0123456789012345678901234567890123456789012345678", "h0\n", "-x", "%s%n",
	};
	u32 n = rng_below(&l->rng, STAGES);

	memset(name, 0, SLUICE_NAME_MAX);
	if (rng_one_in(&l->rng, 30))
		strncpy(name, RNG_PICK(&l->rng, strange), SLUICE_NAME_MAX);
	else
		snprintf(name, SLUICE_NAME_MAX, rng_one_in(&l->rng, 6) ? "h%u.dead" : "h%u", n);
}

/* Memory for an argument: mostly good, sometimes half there, read only, shared or wild. */
void *pick_buffer(struct lane *l, size_t len)
{
	struct map_slot *m = &l->w->maps[rng_below(&l->rng, MAPS)];
	static char *const wild[] = {
		NULL, (char *)1, (char *)-1, (char *)-4096, (char *)(1ull << 47),
		(char *)0xffff800000000000ull,
	};

	switch (rng_below(&l->rng, 24)) {
	case 0:
		return RNG_PICK(&l->rng, wild);
	case 1:		/* the end of the scratch memory, behind it is nothing */
		return l->scratch + SCRATCH - rng_below(&l->rng, (uint32_t)len + 1);
	case 2:		/* a mapping of the module's own, or where one was */
		return l->w->arena + (size_t)(m - l->w->maps) * MAP_SLOT +
		       rng_below(&l->rng, 1u << 16) * 8ull;
	default:
		return l->scratch + rng_below(&l->rng, SCRATCH / 2 / 64) * 64ull;
	}
}

/* Puts a structure where the kernel will look for it. */
static void *place(struct lane *l, const void *from, size_t len)
{
	unsigned char *p = pick_buffer(l, len);

	(void)GUARDED(memcpy(p, from, len));
	return p;
}

/* ------------------------------------------------------------- arguments --- */

/* A field of eight or four bytes becomes something else. */
static void spoil(struct rng *r, void *what, size_t len)
{
	uint64_t edge = rng_edge(r);
	size_t width = rng_one_in(r, 2) ? 4 : 8, at;

	if (!rng_one_in(r, 8) || len < 8)
		return;
	at = rng_below(r, (uint32_t)(len / width)) * width;
	memcpy((char *)what + at, &edge, width);
}

static uint32_t some_size(struct rng *r, uint32_t right)
{
	static const uint32_t sizes[] = { 0, 1, 4, 7, 8, 9, 64, 4095, 4096, 4097, 0x7fffffff, ~0u };

	if (!rng_one_in(r, 16))
		return right;
	return rng_one_in(r, 2) ? right + rng_below(r, 32) - 16 : RNG_PICK(r, sizes);
}

/* A stage that works, of one shape among many; small ones are likelier. */
void make_create(struct rng *r, uint32_t stage, struct sluice_create *c)
{
	static const uint32_t slots[] = { 64, 64, 64, 128, 256, 1024, 4096 };
	static const uint32_t bufs[] = { 0, 1, 4, 4, 16, 64, 300 };
	static const uint32_t sizes[] = { 1, 100, 4096, 4097, 16384, 1u << 20 };
	static const uint32_t times[] = { 1, 4, 20, 50, 200, 5000 };
	static const uint32_t few[] = { 0, 1, 2, 3, 8, 254 };

	*c = (struct sluice_create) {
		.policy = rng_one_in(r, 3) ? rng_below(r, SLUICE_POLICY_COUNT) : 0,
		.size = sizeof(*c), .nslots = RNG_PICK(r, slots), .nbufs = RNG_PICK(r, bufs),
		.max_attempts = RNG_PICK(r, few), .ack_timeout_ms = RNG_PICK(r, times),
		.max_hold_ms = rng_one_in(r, 2) ? 0 : RNG_PICK(r, times),
		.write_timeout_ms = RNG_PICK(r, times),
		.dead_slots = rng_one_in(r, 2) ? 0 : RNG_PICK(r, few),
		.queue_max = RNG_PICK(r, few), .flags = rng_below(r, 2), .mode = 0666,
	};
	if (rng_one_in(r, 4))
		c->policy = SLUICE_POLICY_BROADCAST;
	if (rng_one_in(r, 16) || c->policy == SLUICE_POLICY_BROADCAST)
		c->flags = rng_one_in(r, 4) ? SLUICE_CREATE_SLOW_WAITS : 0;
	/* what nobody can fail to deliver has no dead letters; and one that asks for them */
	if (c->policy == SLUICE_POLICY_BROADCAST && !rng_one_in(r, 16))
		c->dead_slots = 0;
	if (rng_one_in(r, 200))
		c->nslots = SLUICE_MAX_SLOTS;
	if (rng_one_in(r, 100))
		c->nbufs = SLUICE_MAX_BUFFERS;
	c->bufsize = c->nbufs ? RNG_PICK(r, sizes) : 0;
	if (c->nbufs && rng_one_in(r, 100))
		c->bufsize = SLUICE_MAX_BUFFER_SIZE;
	snprintf(c->name, sizeof(c->name), "h%u", stage);
}

/* Where a ring of this kind may be: the first laps, or the end of the numbers. */
uint64_t guess_ticket(struct lane *l, const struct fd_slot *f)
{
	uint32_t n = f->nslots ? f->nslots : 64;

	return rng_one_in(&l->rng, 8) ? rng_edge(&l->rng) : rng_below(&l->rng, 3 * n);
}

void make_wait(struct lane *l, const struct fd_slot *f, struct sluice_wait *w)
{
	*w = (struct sluice_wait) {
		.cursor = guess_ticket(l, f), .generation = rng_below(&l->rng, 64),
		.what = f->role == SLUICE_CONSUMER ? SLUICE_WAIT_READY :
			(uint16_t)((1 + rng_below(&l->rng, 3)) << 1),
	};
	spoil(&l->rng, w, sizeof(*w));
}

void make_send(struct lane *l, const struct fd_slot *f, struct sluice_send *s)
{
	struct rng *r = &l->rng;

	*s = (struct sluice_send) {
		.size = some_size(r, sizeof(*s)),
		.flags = rng_one_in(r, 8) ? rng_below(r, 16) : SLUICE_SEND_ACCEPT,
		.stream = rng_below(r, 4), .counter = l->number,
		.addr = (uintptr_t)pick_buffer(l, 64),
		.len = rng_one_in(r, 4) && f->bufsize ? rng_below(r, f->bufsize + 2) :
		       rng_below(r, SLUICE_INLINE_MAX + 2),
		.buf = rng_below(r, f->nbufs + 1), .kind = (uint16_t)rng_next(r),
		.msg_flags = (uint16_t)rng_below(r, 8), .ticket = guess_ticket(l, f),
		.target = rng_one_in(r, 2) ? rng_below(r, 16) : 0,
	};
	if (rng_one_in(r, 8))
		s->flags = SLUICE_SEND_BUFFER | rng_below(r, 2);
	if (rng_one_in(r, 8))
		s->flags = rng_one_in(r, 2) ? 0 : SLUICE_SEND_TRACK;
	spoil(r, s, sizeof(*s));
}

/* ----------------------------------------------------------- /dev/sluice --- */

/* A failing MAP_FIXED takes what was there: fill the hole, or a ring comes to lie in it. */
static void keep_view(char *at, int fd)
{
	if (mmap(at, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, SLUICE_MMAP_HINTS) == MAP_FAILED)
		mmap(at, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
		     -1, 0);
}

/* What the hints say of the ring; a view of them is kept, so that the endpoint lives on. */
static void learn(struct lane *l, struct fd_slot *f)
{
	struct sluice_hints *h;

	pthread_mutex_lock(&l->w->map_lock);
	h = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, f->fd, SLUICE_MMAP_HINTS);
	if (h != MAP_FAILED) {
		(void)GUARDED((f->nslots = h->nslots, f->nbufs = h->nbufs,
			       f->bufsize = h->bufsize));
		if (!rng_one_in(&l->rng, 8))
			keep_view(l->w->arena + MAPS * MAP_SLOT +
				  rng_below(&l->rng, HINTS_PAGES) * PAGE, f->fd);
		munmap(h, PAGE);
	}
	pthread_mutex_unlock(&l->w->map_lock);
}

/* @a goes to the kernel, and comes from it, at an address that may be nonsense. */
static int attach_at(int fd, struct sluice_attach *a, void *p)
{
	int volatile ret;	/* GUARDED() comes back by longjmp() */

	(void)GUARDED(memcpy(p, a, sizeof(*a)));
	ret = result_of(ioctl(fd, SLUICE_IOC_ATTACH, p));
	(void)GUARDED(memcpy(a, p, sizeof(*a)));
	return ret;
}

static int attach(struct lane *l, struct fd_slot *f, void *p)
{
	struct sluice_attach a = {
		.size = sizeof(a), .abi_version = SLUICE_ABI_VERSION,
		.role = 1 + rng_below(&l->rng, 2), .flags = rng_one_in(&l->rng, 8),
	};
	int ret;

	if (a.role == SLUICE_CONSUMER)
		a.flags = rng_one_in(&l->rng, 4) ? SLUICE_ATTACH_OLDEST : 0;
	if (rng_one_in(&l->rng, 16))
		pick_stage_name(l, a.name);
	if (rng_one_in(&l->rng, 4)) {
		a.size = some_size(&l->rng, sizeof(a));
		spoil(&l->rng, &a, sizeof(a));
	}
	ret = attach_at(f->fd, &a, p);
	if (ret || a.size < sizeof(a))
		return ret;
	f->role = a.role;
	f->id = a.id;
	f->control_bytes = a.control_bytes;
	f->payload_bytes = a.payload_bytes;
	learn(l, f);
	return 0;
}

static int op_open(struct lane *l)
{
	static const int modes[] = { O_RDWR, O_RDWR, O_RDWR, O_RDONLY, O_WRONLY };
	static const int flags[] = {
		0, 0, O_NONBLOCK, O_CLOEXEC, O_NONBLOCK | O_CLOEXEC, O_APPEND, O_DIRECT, O_PATH,
		O_TRUNC, O_EXCL, O_DIRECTORY, O_ASYNC, O_SYNC,
	};
	char name[SLUICE_NAME_MAX], path[96];
	int fd, ret;

	pick_stage_name(l, name);
	name[SLUICE_NAME_MAX - 1] = 0;
	/* never the calm pair's by another name: that would be a member of its trust domain */
	if (strchr(name, '/'))
		return -EINVAL;
	snprintf(path, sizeof(path), "/dev/sluice/%s", name);
	fd = open(path, RNG_PICK(&l->rng, modes) | RNG_PICK(&l->rng, flags));
	ret = keep_fd(l, fd, FD_STAGE);
	if (ret >= 0 && !rng_one_in(&l->rng, 4))
		attach(l, &l->w->fds[ret], l->scratch);
	return ret;
}

/* Who is not root does not reach the calm pair's stage at all. */
static int op_trespass(struct lane *l)
{
	struct sluice_destroy d = {
		.size = sizeof(d), .name = CALM, .flags = SLUICE_DESTROY_FORCE,
	};
	int fd;

	if (l->w->root)
		return -EINVAL;
	fd = open("/dev/sluice/" CALM, O_RDWR);
	/* with its table of descriptors full it is not asked */
	if (fd >= 0 || (errno != EACCES && errno != EMFILE))
		broken("opening the calm stage as somebody else: %d, errno %d", fd, errno);
	if (!ioctl(FD_CONTROL, SLUICE_IOC_DESTROY, &d) || errno != EPERM)
		broken("destroying the calm stage as somebody else: errno %d", errno);
	return 0;
}

static int op_create(struct lane *l)
{
	struct sluice_create c;

	make_create(&l->rng, rng_below(&l->rng, STAGES), &c);
	c.size = some_size(&l->rng, sizeof(c));
	if (rng_one_in(&l->rng, 4))
		pick_stage_name(l, c.name);
	if (rng_one_in(&l->rng, 4))
		c.uid = c.gid = NOBODY;
	spoil(&l->rng, &c, sizeof(c));
	return result_of(ioctl(FD_CONTROL, SLUICE_IOC_CREATE, place(l, &c, sizeof(c))));
}

static int op_destroy(struct lane *l)
{
	struct sluice_destroy d = {
		.size = some_size(&l->rng, sizeof(d)),
		.flags = rng_one_in(&l->rng, 3) ? SLUICE_DESTROY_FORCE : 0,
		.drain_ms = rng_one_in(&l->rng, 2) ? rng_below(&l->rng, 10) : 0,
	};

	pick_stage_name(l, d.name);
	if (rng_one_in(&l->rng, 16))
		d.flags |= 1u << rng_below(&l->rng, 32);
	return result_of(ioctl(FD_CONTROL, SLUICE_IOC_DESTROY, place(l, &d, sizeof(d))));
}

static int op_policy(struct lane *l)
{
	struct sluice_set_policy p = {
		.size = some_size(&l->rng, sizeof(p)),
		.policy = rng_below(&l->rng, SLUICE_POLICY_COUNT),
	};

	pick_stage_name(l, p.name);
	spoil(&l->rng, &p, sizeof(p));
	return result_of(ioctl(FD_CONTROL, SLUICE_IOC_POLICY, place(l, &p, sizeof(p))));
}

static int op_repair(struct lane *l)
{
	struct sluice_repair r = { .size = some_size(&l->rng, sizeof(r)) };

	pick_stage_name(l, r.name);
	return result_of(ioctl(FD_CONTROL, SLUICE_IOC_REPAIR, place(l, &r, sizeof(r))));
}

/* FEATURES, INFO, NEXT, ENDPOINT, or a command that does not exist. */
static int op_look(struct lane *l)
{
	static const unsigned long commands[] = {
		SLUICE_IOC_FEATURES, SLUICE_IOC_INFO, SLUICE_IOC_INFO, SLUICE_IOC_NEXT,
		SLUICE_IOC_ENDPOINT, SLUICE_IOC_ENDPOINT,
	};
	union {
		uint32_t size;
		struct sluice_features f;
		struct sluice_info i;
		struct sluice_endpoint_info e;
	} a = { 0 };
	unsigned long command = RNG_PICK(&l->rng, commands);
	uint32_t size = _IOC_SIZE(command);

	if (command == SLUICE_IOC_ENDPOINT) {
		pick_stage_name(l, a.e.name);
		a.e.index = rng_below(&l->rng, 4);
	} else if (command != SLUICE_IOC_FEATURES) {
		pick_stage_name(l, a.i.name);
		a.i.cookie = rng_one_in(&l->rng, 4) ? rng_edge(&l->rng) : rng_below(&l->rng, 40);
	}
	a.size = some_size(&l->rng, size);
	if (rng_one_in(&l->rng, 20))
		command = rng_one_in(&l->rng, 2) ? (unsigned int)rng_next(&l->rng) :
			  _IOC(3, SLUICE_IOC_MAGIC, rng_below(&l->rng, 80),
			       rng_below(&l->rng, 1u << 14));
	return result_of(ioctl(rng_one_in(&l->rng, 30) ? pick_fd(l, FD_CTL)->fd : FD_CONTROL,
			       command, place(l, &a, sizeof(a))));
}

/* ------------------------------------------------------------- endpoints --- */

static int op_attach(struct lane *l)
{
	struct fd_slot *f = pick_fd(l, FD_STAGE);

	return attach(l, f, rng_one_in(&l->rng, 8) ? pick_buffer(l, sizeof(struct sluice_attach)) :
		      l->scratch);
}

static int op_wait(struct lane *l)
{
	struct fd_slot *f = pick_end(l);
	struct sluice_wait_ioctl w = { .timeout_ns = 0 };

	make_wait(l, f, &w.wait);
	if (rng_one_in(&l->rng, 4))
		w.timeout_ns = rng_one_in(&l->rng, 20) ? (int64_t)rng_edge(&l->rng) :
			       rng_below(&l->rng, 1000000);
	return result_of(ioctl(f->fd, SLUICE_IOC_WAIT, place(l, &w, sizeof(w))));
}

static int op_send(struct lane *l)
{
	struct fd_slot *f = pick_end(l);
	struct sluice_send s;

	make_send(l, f, &s);
	return result_of(ioctl(f->fd, SLUICE_IOC_SEND, place(l, &s, sizeof(s))));
}

static int op_kick(struct lane *l)
{
	struct sluice_kick k = { .what = rng_below(&l->rng, SLUICE_KICK_ALL + 1) };

	spoil(&l->rng, &k, sizeof(k));
	return result_of(ioctl(pick_end(l)->fd, SLUICE_IOC_KICK, place(l, &k, sizeof(k))));
}

/* What a claim looks like, of a mapped ring if there is one. */
static int op_nack(struct lane *l)
{
	struct fd_slot *f = pick_end(l);
	u64 order = (u64)__builtin_ctz(f->nslots ? f->nslots : 64);
	struct sluice_nack n = {
		.ticket = guess_ticket(l, f),
		.delay_ms = rng_one_in(&l->rng, 2) ? 0 : rng_below(&l->rng, 20),
		.reason = rng_below(&l->rng, 140), .flags = rng_below(&l->rng, 4),
	};
	unsigned long command = SLUICE_IOC_NACK;

	n.token = slot_word(ticket_lap(n.ticket, (u32)order), f->id, 1 + rng_below(&l->rng, 3),
			    SLOT_CLAIMED);
	if (rng_one_in(&l->rng, 3)) {
		command = SLUICE_IOC_RENEW;
		n.flags = n.reason = n.delay_ms = 0;
	}
	spoil(&l->rng, &n, sizeof(n));
	return result_of(ioctl(f->fd, command, place(l, &n, sizeof(n))));
}

static bool claim_slot(struct sluice_slot *slot, u32 id, u64 *token)
{
	volatile bool done = false;

	(void)GUARDED(done = slot_claim((u64 *)&slot->word, slot_lap(slot->word), id, token) ==
			     SLOT_OK);
	return done;
}

/* Claims a message as a consumer should, then gives it back, keeps it or forgets it. */
static int op_claim(struct lane *l)
{
	struct map_slot m = *pick_map(l);
	struct sluice_nack n = { .reason = EIO };
	struct sluice_slot *slot = NULL;
	bool done = false;
	u32 index, tries;

	if (!m.parts || m.offset != SLUICE_MMAP_CONTROL || !m.nslots || !m.id)
		return -EINVAL;
	for (tries = 0; tries < 8 && !done; tries++) {
		index = rng_below(&l->rng, m.nslots);
		slot = (struct sluice_slot *)((char *)m.addr + m.len -
					      (u64)m.nslots * sizeof(*slot)) + index;
		done = claim_slot(slot, m.id, (u64 *)&n.token);
	}
	if (!done)
		return -EAGAIN;
	n.ticket = slot_lap(n.token) * m.nslots + index;
	switch (rng_below(&l->rng, 4)) {
	case 0:
		(void)GUARDED(slot_ack((u64 *)&slot->word, n.token));
		return 0;
	case 1:
		n.reason = 0;
		return result_of(ioctl(m.fd, SLUICE_IOC_RENEW, &n));
	case 2:
		n.flags = rng_below(&l->rng, 4);
		n.delay_ms = rng_below(&l->rng, 10);
		return result_of(ioctl(m.fd, SLUICE_IOC_NACK, &n));
	}
	return 0;
}

static int op_detach(struct lane *l)
{
	return result_of(ioctl(pick_fd(l, FD_STAGE)->fd, SLUICE_IOC_DETACH, rng_next(&l->rng)));
}

/* Commands of the stage with any number, size and argument. */
static int op_ioctl_any(struct lane *l)
{
	unsigned long command = _IOC(rng_below(&l->rng, 4), SLUICE_IOC_MAGIC,
				     0x20 + rng_below(&l->rng, 0x24),
				     rng_below(&l->rng, 1u << 14));
	struct fd_slot *f = pick_fd(l, rng_one_in(&l->rng, 4) ? FD_OTHER : FD_STAGE);
	uint64_t junk[40];
	uint32_t i;

	for (i = 0; i < 40; i++)
		junk[i] = rng_edge(&l->rng);
	if (rng_one_in(&l->rng, 2))
		*(uint32_t *)junk = _IOC_SIZE(command);
	return result_of(ioctl(f->fd, command, place(l, junk, sizeof(junk))));
}

/* ------------------------------------------------------------ read, write --- */

static int op_read(struct lane *l)
{
	struct fd_slot *f = pick_end(l);
	size_t len = rng_one_in(&l->rng, 8) ? (size_t)rng_edge(&l->rng) : rng_below(&l->rng, 8192);

	return result_of(read(f->fd, pick_buffer(l, 4096), len));
}

static int op_write(struct lane *l)
{
	struct fd_slot *f = pick_end(l);
	size_t len = rng_below(&l->rng, rng_one_in(&l->rng, 3) ? 8192 : SLUICE_INLINE_MAX + 2);

	if (rng_one_in(&l->rng, 30))
		len = (size_t)rng_edge(&l->rng);
	return result_of(write(f->fd, pick_buffer(l, 4096), len));
}

static int op_poll(struct lane *l)
{
	struct pollfd p[4];
	uint32_t i;

	for (i = 0; i < 4; i++)
		p[i] = (struct pollfd) {
			.fd = pick_fd(l, FD_STAGE)->fd, .events = (short)rng_next(&l->rng),
		};
	return result_of(poll(p, 4, rng_one_in(&l->rng, 8) ? 1 : 0));
}

static int op_epoll(struct lane *l)
{
	struct epoll_event e = { .events = (uint32_t)rng_next(&l->rng) };
	struct fd_slot *ep = pick_fd(l, FD_OTHER);

	if (rng_one_in(&l->rng, 6))
		return keep_fd(l, epoll_create1(0), FD_OTHER);
	if (rng_one_in(&l->rng, 2))
		return result_of(epoll_wait(ep->fd, &e, 1, 0));
	return result_of(epoll_ctl(ep->fd, 1 + (int)rng_below(&l->rng, 3),
				   pick_fd(l, FD_STAGE)->fd, &e));
}

/* Everything else that can be done to a descriptor. */
static int op_file(struct lane *l)
{
	int fd = pick_fd(l, FD_STAGE)->fd;

	switch (rng_below(&l->rng, 10)) {
	case 0:
		return result_of(lseek(fd, (off_t)rng_edge(&l->rng), SEEK_SET));
	case 1:
		return result_of(pread(fd, pick_buffer(l, 100), 100, 0));
	case 2:
		return result_of(posix_fadvise(fd, 0, 0, (int)rng_below(&l->rng, 6)));
	case 3:
		return result_of(fsync(fd));
	case 4:
		return result_of(ftruncate(fd, (off_t)rng_below(&l->rng, 8192)));
	case 5:
		return result_of(fallocate(fd, (int)rng_below(&l->rng, 4), 0, 4096));
	case 6:
		return result_of(readahead(fd, 0, 1 << 20));
	case 7:
		return result_of(sync_file_range(fd, 0, 0, 7));
	case 8:
		return result_of(fcntl(fd, F_SETFL, rng_one_in(&l->rng, 3) ? 0 : O_NONBLOCK));
	default:
		return result_of(copy_file_range(fd, NULL, pick_fd(l, FD_STAGE)->fd, NULL, 100, 0));
	}
}

/* ------------------------------------------------------- dup, pass, close --- */

static int op_dup(struct lane *l)
{
	struct fd_slot *f = pick_fd(l, FD_STAGE), copy = *f;
	int i = keep_fd(l, fcntl(f->fd, rng_one_in(&l->rng, 2) ? F_DUPFD : F_DUPFD_CLOEXEC, 3),
			copy.kind);

	if (i >= 0) {
		copy.fd = l->w->fds[i].fd;
		l->w->fds[i] = copy;
	}
	return i;
}

union control_bytes {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(sizeof(int))];
};

static int op_pass(struct lane *l)
{
	union control_bytes c = { 0 };
	char byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c),
	};
	int fd = pick_fd(l, FD_STAGE)->fd;

	c.head.cmsg_level = SOL_SOCKET;
	c.head.cmsg_type = SCM_RIGHTS;
	c.head.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&c.head), &fd, sizeof(fd));
	return result_of(sendmsg(FD_MAIL, &m, MSG_DONTWAIT | MSG_NOSIGNAL));
}

static int op_receive(struct lane *l)
{
	union control_bytes c = { 0 };
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c),
	};
	struct cmsghdr *h;
	int fd;

	if (recvmsg(FD_MAIL + 1, &m, MSG_DONTWAIT) != 1)
		return -errno;
	h = CMSG_FIRSTHDR(&m);
	if (!h || h->cmsg_type != SCM_RIGHTS)
		return -ENOMSG;
	memcpy(&fd, CMSG_DATA(h), sizeof(fd));
	return keep_fd(l, fd, FD_STAGE);
}

static int op_close(struct lane *l)
{
	struct fd_slot *f = &l->w->fds[rng_below(&l->rng, FDS)];
	int fd = f->fd;

	if (f->kind == FD_NONE)
		return -EBADF;
	f->kind = FD_NONE;
	f->fd = -1;
	return result_of(close(fd));
}

const struct op ops_command[] = {
	{ "open", 60, false, op_open },
	{ "trespass", 2, false, op_trespass },
	{ "create", 12, false, op_create },
	{ "destroy", 4, true, op_destroy },
	{ "policy", 8, false, op_policy },
	{ "repair", 2, true, op_repair },
	{ "look", 30, false, op_look },
	{ "attach", 60, false, op_attach },
	{ "wait", 30, true, op_wait },
	{ "send", 50, true, op_send },
	{ "kick", 30, false, op_kick },
	{ "nack", 30, false, op_nack },
	{ "claim", 40, false, op_claim },
	{ "detach", 4, false, op_detach },
	{ "ioctl", 20, false, op_ioctl_any },
	{ "read", 20, true, op_read },
	{ "write", 20, true, op_write },
	{ "poll", 20, true, op_poll },
	{ "epoll", 10, true, op_epoll },
	{ "file", 10, true, op_file },
	{ "dup", 10, false, op_dup },
	{ "pass", 8, false, op_pass },
	{ "receive", 8, false, op_receive },
	{ "close", 30, true, op_close },
	{ NULL, 0, false, NULL },
};
