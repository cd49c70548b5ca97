// SPDX-License-Identifier: MIT
/* history.c: logs that outlive their writers. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "history.h"

#define MAGIC		0x79726f7473696821ull
#define VERSION		1u

_Static_assert(sizeof(struct history_event) == 64, "an event is one cache line");

/* Each count on a line of its own: its writer changes it with every event. */
struct log_head {
	uint64_t	count;
	uint64_t	full;
	uint64_t	unused[6];
};

struct history_file {
	uint64_t	magic;
	uint32_t	version;
	uint32_t	nlogs;
	uint64_t	nevents;
	uint64_t	unused[5];
	struct log_head	log[HISTORY_MAX_LOGS];
	struct history_event events[];
};

struct history {
	struct history_file *file;
	size_t		bytes;
};

uint64_t history_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static size_t bytes_for(uint64_t nlogs, uint64_t nevents)
{
	return sizeof(struct history_file) + nlogs * nevents * sizeof(struct history_event);
}

static int map(struct history *h, int fd, int prot)
{
	int flags = MAP_SHARED | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0);
	void *p = mmap(NULL, h->bytes, prot, flags, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	h->file = p;
	return 0;
}

int history_create(struct history **out, const char *path, unsigned int nlogs, uint64_t nevents)
{
	struct history *h;
	int fd = -1, ret = 0;

	if (!nlogs || nlogs > HISTORY_MAX_LOGS || !nevents || nevents > UINT32_MAX)
		return -EINVAL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->bytes = bytes_for(nlogs, nevents);
	if (path) {
		fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		if (fd < 0 || ftruncate(fd, (off_t)h->bytes))
			ret = -errno;
	}
	if (!ret)
		ret = map(h, fd, PROT_READ | PROT_WRITE);
	if (fd >= 0)
		close(fd);
	if (ret) {
		free(h);
		return ret;
	}
	h->file->magic = MAGIC;
	h->file->version = VERSION;
	h->file->nlogs = nlogs;
	h->file->nevents = nevents;
	*out = h;
	return 0;
}

/* A file may have been cut off or written by somebody else. */
static bool file_ok(const struct history *h)
{
	const struct history_file *f = h->file;
	unsigned int i;

	if (h->bytes < sizeof(*f) || f->magic != MAGIC || f->version != VERSION || !f->nlogs ||
	    f->nlogs > HISTORY_MAX_LOGS || !f->nevents || f->nevents > UINT32_MAX ||
	    h->bytes < bytes_for(f->nlogs, f->nevents))
		return false;
	for (i = 0; i < f->nlogs; i++)
		if (f->log[i].count > f->nevents)
			return false;
	return true;
}

int history_open(struct history **out, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret = 0;
	struct history *h;
	struct stat st;

	if (fd < 0)
		return -errno;
	h = calloc(1, sizeof(*h));
	if (!h)
		ret = -ENOMEM;
	else if (fstat(fd, &st))
		ret = -errno;
	else if (st.st_size < (off_t)sizeof(struct history_file))
		ret = -EBADMSG;
	if (!ret) {
		h->bytes = (size_t)st.st_size;
		ret = map(h, fd, PROT_READ);
	}
	close(fd);
	if (!ret && !file_ok(h)) {
		munmap(h->file, h->bytes);
		ret = -EBADMSG;
	}
	if (ret)
		free(h);
	else
		*out = h;
	return ret;
}

void history_close(struct history *h)
{
	if (!h)
		return;
	munmap(h->file, h->bytes);
	free(h);
}

void history_reset(struct history *h)
{
	memset(h->file->log, 0, sizeof(h->file->log));
}

unsigned int history_logs(const struct history *h)
{
	return h->file->nlogs;
}

uint64_t history_full(const struct history *h, unsigned int log)
{
	return __atomic_load_n(&h->file->log[log].full, __ATOMIC_RELAXED);
}

void history_add(struct history *h, unsigned int log, struct history_event e)
{
	struct history_file *f = h->file;
	uint64_t n = f->log[log].count;

	if (n == f->nevents) {
		__atomic_fetch_add(&f->log[log].full, 1, __ATOMIC_RELAXED);
		return;
	}
	e.time = e.time ? e.time : history_now();
	f->events[log * f->nevents + n] = e;
	__atomic_store_n(&f->log[log].count, n + 1, __ATOMIC_RELEASE);
}

const struct history_event *history_read(const struct history *h, unsigned int log, uint64_t *n)
{
	const struct history_file *f = h->file;

	*n = __atomic_load_n(&f->log[log].count, __ATOMIC_ACQUIRE);
	return &f->events[log * f->nevents];
}

int history_save(const struct history *h, const char *path)
{
	uint64_t most = 1, n;
	struct history *copy;
	unsigned int i;
	int ret;

	for (i = 0; i < history_logs(h); i++) {
		history_read(h, i, &n);
		most = n > most ? n : most;
	}
	ret = history_create(&copy, path, history_logs(h), most);
	if (ret)
		return ret;
	for (i = 0; i < history_logs(h); i++) {
		const struct history_event *e = history_read(h, i, &n);

		memcpy(&copy->file->events[i * most], e, n * sizeof(*e));
		copy->file->log[i] = h->file->log[i];
	}
	history_close(copy);
	return 0;
}
