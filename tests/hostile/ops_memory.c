// SPDX-License-Identifier: MIT
/*
 * ops_memory.c: mappings of a stage: right and wrong ones, torn, moved, raised, pinned, passed
 * to pipes. What must never work is checked here: a writable view of read-only pages, an
 * executable or private one, half of a region.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "hostile.h"

struct map_slot *pick_map(struct lane *l)
{
	struct map_slot *m = &l->w->maps[rng_below(&l->rng, MAPS)];
	uint32_t i;

	for (i = 0; i < MAPS && !m->parts; i++)
		m = &l->w->maps[rng_below(&l->rng, MAPS)];
	return m;
}

static char *home(struct lane *l, const struct map_slot *m)
{
	return l->w->arena + (size_t)(m - l->w->maps) * MAP_SLOT;
}

/* The place is empty again; its addresses stay ours, so that nobody else's memory gets there. */
static void vacate(struct lane *l, struct map_slot *m, uint64_t len)
{
	if (m->parts && m->len > len)
		len = m->len;
	m->parts = 0;
	if (!len)
		return;
	mmap(home(l, m), len, PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

/* ------------------------------------------------------------------ mmap --- */

struct request {
	uint64_t offset, len;
	int prot, flags;
};

/* What SLUICE_IOC_ATTACH said, or something near it. */
static void make_request(struct lane *l, const struct fd_slot *f, struct request *q)
{
	static const int prots[] = {
		PROT_READ, PROT_READ | PROT_WRITE, PROT_WRITE, PROT_NONE,
		PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE | PROT_EXEC,
	};
	struct rng *r = &l->rng;
	uint32_t region = rng_below(r, 5);

	*q = (struct request) { .offset = SLUICE_MMAP_CONTROL, .len = f->control_bytes,
				.prot = PROT_READ | PROT_WRITE, .flags = MAP_SHARED };
	if (region == 0)
		*q = (struct request) { SLUICE_MMAP_HINTS, PAGE, PROT_READ, MAP_SHARED };
	if (region == 1)
		*q = (struct request) { SLUICE_MMAP_PAYLOAD, f->payload_bytes,
			f->role == SLUICE_PRODUCER ? PROT_READ | PROT_WRITE : PROT_READ,
			MAP_SHARED };
	if (rng_one_in(r, 6))
		q->prot = RNG_PICK(r, prots);
	if (rng_one_in(r, 16))
		q->flags = MAP_PRIVATE;
	if (rng_one_in(r, 16))
		q->flags |= rng_one_in(r, 2) ? MAP_POPULATE : MAP_LOCKED;
	if (rng_one_in(r, 16))
		q->len = rng_one_in(r, 2) ? q->len + PAGE : q->len / 2;
	if (rng_one_in(r, 16))
		q->offset += PAGE * rng_below(r, 4);
	if (rng_one_in(r, 40))
		q->offset = rng_edge(r) & ~(PAGE - 1);
}

/* Was it right to allow this? */
static void check_mapped(const struct fd_slot *f, const struct request *q)
{
	bool read_only = q->offset == SLUICE_MMAP_HINTS;

	if (q->prot & PROT_EXEC)
		broken("mmap: region %llx is executable", (unsigned long long)q->offset);
	if (!(q->flags & MAP_SHARED))
		broken("mmap: region %llx is private", (unsigned long long)q->offset);
	if (read_only && q->prot & PROT_WRITE)
		broken("mmap: hints are writable");
	if (q->offset != SLUICE_MMAP_HINTS && q->offset != SLUICE_MMAP_CONTROL &&
	    q->offset != SLUICE_MMAP_PAYLOAD)
		broken("mmap: offset %llx was accepted", (unsigned long long)q->offset);
}

static int op_mmap(struct lane *l)
{
	struct fd_slot *f = pick_end(l), copy = *f;
	struct map_slot *m = &l->w->maps[rng_below(&l->rng, MAPS)];
	struct request q;
	void *p;
	int ret;

	make_request(l, &copy, &q);
	if (copy.kind != FD_STAGE || q.len > MAP_SLOT)
		return -EINVAL;
	pthread_mutex_lock(&l->w->map_lock);
	vacate(l, m, 0);
	p = mmap(home(l, m), q.len, q.prot, q.flags | MAP_FIXED, copy.fd, (off_t)q.offset);
	ret = p == MAP_FAILED ? -errno : 0;
	if (!ret && copy.fd == f->fd)
		check_mapped(&copy, &q);
	if (!ret)
		*m = (struct map_slot) {
			.addr = p, .len = (q.len + PAGE - 1) & ~(PAGE - 1), .prot = q.prot, .offset = q.offset,
			.nslots = copy.nslots, .nbufs = copy.nbufs, .bufsize = copy.bufsize,
			.fd = copy.fd, .id = copy.role == SLUICE_CONSUMER ? copy.id : 0, .parts = 1,
		};
	else
		vacate(l, m, q.len);	/* MAP_FIXED may have taken what was there */
	pthread_mutex_unlock(&l->w->map_lock);
	return ret;
}

static int op_munmap(struct lane *l)
{
	struct map_slot *m = pick_map(l);
	uint64_t from, len;
	int ret;

	if (!m->parts)
		return -EINVAL;
	pthread_mutex_lock(&l->w->map_lock);
	if (!m->parts) {
		pthread_mutex_unlock(&l->w->map_lock);
		return -EAGAIN;
	}
	if (m->parts && m->len > PAGE && rng_one_in(&l->rng, 3)) {
		/* half a region is nobody's idea of a ring */
		from = rng_below(&l->rng, (uint32_t)(m->len / PAGE)) * PAGE;
		len = PAGE * (1 + rng_below(&l->rng, (uint32_t)((m->len - from) / PAGE)));
		ret = result_of(munmap((char *)m->addr + from, len));
		if (!ret && len < m->len)
			broken("munmap of a part worked: %llu bytes of %llu",
			       (unsigned long long)len, (unsigned long long)m->len);
		if (!ret)
			vacate(l, m, 0);
	} else {
		ret = result_of(munmap(m->addr, m->len));
		vacate(l, m, 0);
	}
	pthread_mutex_unlock(&l->w->map_lock);
	return ret;
}

/* --------------------------------------------------------------- mremap --- */

static int op_mremap(struct lane *l)
{
	struct map_slot *m = pick_map(l), *to = &l->w->maps[rng_below(&l->rng, MAPS)];
	uint64_t old, len;
	int flags, ret;
	void *p;

	if (!m->parts || m == to)
		return -EINVAL;
	pthread_mutex_lock(&l->w->map_lock);
	if (!m->parts) {
		pthread_mutex_unlock(&l->w->map_lock);
		return -EAGAIN;
	}
	old = rng_one_in(&l->rng, 8) ? 0 : m->len;
	len = rng_one_in(&l->rng, 2) ? m->len : m->len + PAGE * rng_below(&l->rng, 4) - 2 * PAGE;
	if (!len || len > MAP_SLOT)
		len = PAGE;
	flags = MREMAP_MAYMOVE | MREMAP_FIXED | (rng_one_in(&l->rng, 6) ? 4 /* DONTUNMAP */ : 0);
	vacate(l, to, 0);
	p = mremap(m->addr, old, len, flags, home(l, to));
	ret = p == MAP_FAILED ? -errno : 0;
	if (!ret && (len != m->len || !old || flags & 4))
		broken("mremap of %llu bytes to %llu (old length %llu, flags %d) worked",
		       (unsigned long long)m->len, (unsigned long long)len,
		       (unsigned long long)old, flags);
	if (!ret) {
		*to = *m;
		to->addr = p;
		vacate(l, m, 0);
	} else {
		vacate(l, to, len);
	}
	pthread_mutex_unlock(&l->w->map_lock);
	return ret;
}

/* The old way to bend a shared mapping: the kernel makes a new one of it. */
static int op_remap_pages(struct lane *l)
{
	struct map_slot *m = pick_map(l);
	int ret;

	if (!m->parts)
		return -EINVAL;
	pthread_mutex_lock(&l->w->map_lock);
	if (!m->parts) {
		pthread_mutex_unlock(&l->w->map_lock);
		return -EAGAIN;
	}
	ret = result_of(syscall(SYS_remap_file_pages, m->addr, PAGE << rng_below(&l->rng, 3), 0,
				(m->offset >> 12) + rng_below(&l->rng, 4), 0));
	if (ret)
		vacate(l, m, 0);
	pthread_mutex_unlock(&l->w->map_lock);
	return ret;
}

/* ------------------------------------------------------------- mprotect --- */

static int op_mprotect(struct lane *l)
{
	static const int prots[] = {
		PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC,
		PROT_READ | PROT_WRITE | PROT_EXEC,
	};
	struct map_slot *m = pick_map(l);
	int prot = RNG_PICK(&l->rng, prots), ret;

	if (!m->parts)
		return -EINVAL;
	pthread_mutex_lock(&l->w->map_lock);
	if (!m->parts) {
		pthread_mutex_unlock(&l->w->map_lock);
		return -EAGAIN;
	}
	ret = result_of(mprotect(m->addr, m->len, prot));
	if (!ret && m->parts) {
		if (prot & PROT_EXEC)
			broken("mprotect made region %llx executable",
			       (unsigned long long)m->offset);
		if (m->offset == SLUICE_MMAP_HINTS && prot & PROT_WRITE)
			broken("mprotect made the hints writable");
		m->prot = prot;
	}
	pthread_mutex_unlock(&l->w->map_lock);
	return ret;
}

/* A consumer's view of the payload stays read only. */
static int op_raise(struct lane *l)
{
	struct fd_slot *f = pick_end(l), copy = *f;
	bool payload = copy.payload_bytes && rng_one_in(&l->rng, 2);
	uint64_t len = payload ? copy.payload_bytes : PAGE;
	int ret = 0;
	void *p;

	if (copy.kind != FD_STAGE || copy.role != SLUICE_CONSUMER)
		return -EINVAL;
	pthread_mutex_lock(&l->w->map_lock);
	p = mmap(NULL, len, PROT_READ, MAP_SHARED, copy.fd,
		 payload ? SLUICE_MMAP_PAYLOAD : SLUICE_MMAP_HINTS);
	if (p == MAP_FAILED) {
		ret = -errno;
		goto out;
	}
	/* the descriptor may be another endpoint's by now: then only the hints are certain */
	if (!mprotect(p, len, PROT_READ | PROT_WRITE) && (!payload || copy.fd == f->fd) &&
	    f->role == SLUICE_CONSUMER && f->kind == FD_STAGE)
		broken("mprotect made a consumer's %s writable", payload ? "payload" : "hints");
	munmap(p, len);
out:
	pthread_mutex_unlock(&l->w->map_lock);
	return ret;
}

/* Into read-only pages: by a store, by the kernel's own hand, or through /proc. */
static int op_force(struct lane *l)
{
	struct fd_slot *f = pick_end(l);
	struct iovec from = { .iov_base = l->scratch, .iov_len = 8 }, to = { .iov_len = 8 };
	uint32_t how = rng_below(&l->rng, 4);
	int fd = -1;
	long ret;
	char *p;

	pthread_mutex_lock(&l->w->map_lock);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, f->fd, SLUICE_MMAP_HINTS);
	if (f->kind != FD_STAGE || p == MAP_FAILED) {
		pthread_mutex_unlock(&l->w->map_lock);
		return -EBADF;
	}
	to.iov_base = p + rng_below(&l->rng, 32) * 8;
	switch (how) {
	case 0:
		ret = GUARDED(*(volatile uint64_t *)to.iov_base = 0x5c71bb1e) ? 8 : -EFAULT;
		break;
	case 1:
		ret = process_vm_writev(getpid(), &from, 1, &to, 1, 0);
		break;
	case 2:
		fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
		ret = pwrite(fd, l->scratch, 8, (off_t)(uintptr_t)to.iov_base);
		break;
	default:
		fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
		ret = read(fd, to.iov_base, 8);
	}
	if (fd >= 0)
		close(fd);
	if (ret == 8)
		broken("a store into the read-only hints worked, in way %u", how);
	munmap(p, PAGE);
	pthread_mutex_unlock(&l->w->map_lock);
	return result_of(ret);
}

/* --------------------------------------------------------------- the rest --- */

static int op_madvise(struct lane *l)
{
	struct map_slot m = *pick_map(l);
	/* not HWPOISON and SOFT_OFFLINE: root may break its own machine */
	static const int advice[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_WILLNEED, MADV_DONTNEED, MADV_REMOVE, MADV_DONTFORK,
		MADV_DOFORK, MADV_DOFORK, MADV_FREE, MADV_MERGEABLE, MADV_HUGEPAGE, MADV_DONTDUMP,
		MADV_DODUMP, MADV_WIPEONFORK, MADV_COLD, MADV_PAGEOUT, 22, 23, 24, 25,
	};
	int a = RNG_PICK(&l->rng, advice);
	uint64_t len = m.len;

	if (!m.parts)
		return -EINVAL;
	if (a >= 22 && len > PAGE * 256)
		len = PAGE * 256;	/* what is populated is paid for */
	if (rng_one_in(&l->rng, 4) && len > PAGE)
		len = PAGE;
	return result_of(madvise(m.addr, len, a));
}

static int op_lock(struct lane *l)
{
	struct map_slot m = *pick_map(l);
	unsigned char vec[16];

	if (!m.parts)
		return -EINVAL;
	switch (rng_below(&l->rng, 5)) {
	case 0:
		return result_of(mlock(m.addr, PAGE));
	case 1:
		return result_of(munlock(m.addr, m.len));
	case 2:
		return result_of(mincore(m.addr, m.len < 16 * PAGE ? m.len : 16 * PAGE, vec));
	case 3:
		return result_of(msync(m.addr, m.len, MS_SYNC));
	default:
		return result_of(mlock2(m.addr, PAGE, MLOCK_ONFAULT));
	}
}

/* Pages of a stage in a pipe outlive their mapping, and perhaps the stage. */
static int op_splice(struct lane *l)
{
	struct map_slot m = *pick_map(l);
	struct iovec iov = { .iov_base = m.addr, .iov_len = PAGE };
	struct fd_slot *f = pick_fd(l, FD_OTHER);
	char bytes[256];
	int p[2];

	if (rng_one_in(&l->rng, 4)) {
		if (pipe2(p, O_NONBLOCK))
			return -errno;
		keep_fd(l, p[0], FD_OTHER);
		return keep_fd(l, p[1], FD_OTHER);
	}
	switch (rng_below(&l->rng, 4)) {
	case 0:
		return m.parts ? result_of(vmsplice(f->fd, &iov, 1, SPLICE_F_NONBLOCK |
						    (rng_one_in(&l->rng, 2) ? SPLICE_F_GIFT : 0))) :
		       -EINVAL;
	case 1:
		return result_of(splice(f->fd, NULL, pick_fd(l, FD_STAGE)->fd, NULL, 100,
					SPLICE_F_NONBLOCK));
	case 2:
		return result_of(splice(pick_fd(l, FD_STAGE)->fd, NULL, f->fd, NULL, 100,
					SPLICE_F_NONBLOCK));
	default:
		return f->kind == FD_OTHER ? result_of(syscall(SYS_read, f->fd, bytes,
							       sizeof(bytes))) : -EBADF;
	}
}

static int op_scribble(struct lane *l)
{
	uint32_t i, n = 0;

	for (i = 0; i < 4; i++)
		n += scribble(&l->rng, pick_map(l));
	return n ? (int)n : -EFAULT;
}

/* Reads: the page that appears at the first touch. */
static int op_touch(struct lane *l)
{
	struct map_slot m = *pick_map(l);

	if (!m.parts || m.len < PAGE)
		return -EINVAL;
	return GUARDED((void)*(volatile uint64_t *)((char *)m.addr + PAGE *
		       rng_below(&l->rng, (uint32_t)(m.len < PAGE * 256 ? m.len / PAGE : 256)))) ?
	       0 : -EFAULT;
}

const struct op ops_memory[] = {
	{ "mmap", 80, false, op_mmap },
	{ "munmap", 25, false, op_munmap },
	{ "mremap", 15, false, op_mremap },
	{ "remap_pages", 5, false, op_remap_pages },
	{ "mprotect", 20, false, op_mprotect },
	{ "raise", 20, false, op_raise },
	{ "force", 20, false, op_force },
	{ "madvise", 30, false, op_madvise },
	{ "mlock", 15, false, op_lock },
	{ "splice", 20, true, op_splice },
	{ "scribble", 150, false, op_scribble },
	{ "touch", 30, false, op_touch },
	{ NULL, 0, false, NULL },
};
