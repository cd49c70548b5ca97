// SPDX-License-Identifier: MIT
/*
 * weights.c - lay out, check and map the f32 cache of a model
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "weights_pvt.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#endif

#define POPULATE_CHUNK	(16u << 20)
#define LOCK_POLL_NS	100000000L

struct weights {
	char *path;
	const uint8_t *map;
	size_t size;
};

/* Offsets of all entries and the size of the file; the plan's shapes must match its tensors. */
static int lay_out(struct weights_job *job)
{
	uint64_t offset = WEIGHTS_ALIGN;

	for (size_t i = 0; i < job->plan->n; i++) {
		struct weights_entry *e = &job->plan->entry[i];
		uint64_t elements = 0, bytes;

		for (unsigned int j = 0; j < e->n_parts; j++) {
			if (__builtin_add_overflow(elements, e->part[j]->n_elements, &elements))
				return model_fail(job->err, EOVERFLOW, "%s: '%s' overflows",
						  gguf_path(job->g), e->name);
		}
		if (!e->cols || elements % e->cols || elements / e->cols != e->rows)
			return model_fail(job->err, EINVAL,
					  "%s: '%s' is %" PRIu64 " x %" PRIu64 " in the plan, but "
					  "its tensors have %" PRIu64 " elements", gguf_path(job->g),
					  e->name, e->rows, e->cols, elements);
		e->offset = offset;
		if (__builtin_mul_overflow(elements, sizeof(float), &bytes) ||
		    __builtin_add_overflow(offset, bytes, &offset) ||
		    offset > (uint64_t)INT64_MAX - WEIGHTS_ALIGN)
			return model_fail(job->err, EOVERFLOW,
					  "%s: the f32 weights do not fit any file; get the file "
					  "again", gguf_path(job->g));
		offset = (offset + WEIGHTS_ALIGN - 1) & ~(uint64_t)(WEIGHTS_ALIGN - 1);
	}
	job->header.file_size = offset;
	return 0;
}

/* What the layout digest covers, per matrix. Padding is zeroed by the caller. */
struct layout_record {
	char name[WEIGHTS_NAME_MAX];
	uint64_t rows, cols, offset;
};

static int hash_layout(struct weights_job *job)
{
	struct layout_record *r = calloc(job->plan->n + 1, sizeof(*r));
	int ret;

	if (!r)
		return model_fail(job->err, ENOMEM, "%s: no memory", gguf_path(job->g));
	for (size_t i = 0; i < job->plan->n; i++) {
		const struct weights_entry *e = &job->plan->entry[i];

		memcpy(r[i].name, e->name, strnlen(e->name, sizeof(e->name) - 1));
		r[i].rows = e->rows;
		r[i].cols = e->cols;
		r[i].offset = e->offset;
	}
	ret = weights_sha256(r, job->plan->n * sizeof(*r), job->header.layout);
	free(r);
	return ret;
}

/* The header that a good cache file of this model has, and the file's name. */
static int expect_header(struct weights_job *job)
{
	struct weights_header *h = &job->header;
	char source[SHA256_HEX], layout[SHA256_HEX], dir[PATH_MAX];
	int ret;

	memcpy(h->magic, WEIGHTS_MAGIC, sizeof(h->magic));
	h->version = WEIGHTS_VERSION;
	h->n_entries = job->plan->n;
	ret = lay_out(job);
	if (!ret)
		ret = hash_layout(job);
	if (!ret)
		ret = weights_cache_dir(dir, job->err);
	if (!ret)
		ret = weights_source_hash(job, dir, h->source);
	if (!ret)
		ret = weights_sha256(h, sizeof(*h), h->check);
	if (ret)
		return ret;
	weights_hex(h->source, SHA256_BYTES, source);
	weights_hex(h->layout, 4, layout);
	snprintf(job->path, sizeof(job->path), "%.*s/%s-%s.f32", PATH_MAX - 192, dir, source,
		 layout);
	return 0;
}

/*
 * Map the cache file if it is good. -ESTALE means that it has to be made (again).
 */
static int map_cache(struct weights_job *job, struct weights *w)
{
	struct weights_header found;
	int fd, ret = -ESTALE;
	struct stat st;
	void *map;

	fd = open(job->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESTALE :
		       model_fail(job->err, errno, "%s: %s; remove it or set SLUICE_CACHE",
				  job->path, strerror(errno));
	if (!fstat(fd, &st) && (uint64_t)st.st_size == job->header.file_size &&
	    pread(fd, &found, sizeof(found), 0) == sizeof(found) &&
	    !memcmp(&found, &job->header, sizeof(found))) {
		map = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED) {
			ret = model_fail(job->err, errno, "%s: cannot map %jd bytes: %s",
					 job->path, (intmax_t)st.st_size, strerror(errno));
		} else {
			w->map = map;
			w->size = st.st_size;
			ret = 0;
		}
	}
	close(fd);
	return ret;
}

/* Take the lock file; whoever else holds it is writing the very file that we want. */
static int lock_cache(struct weights_job *job)
{
	char path[PATH_MAX + 8];
	struct timespec poll = { .tv_nsec = LOCK_POLL_NS };
	int fd;

	snprintf(path, sizeof(path), "%s.lock", job->path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0)
		return model_fail(job->err, errno, "%s: %s; set SLUICE_CACHE to a writable "
				  "directory", path, strerror(errno));
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int errnum = errno;

		if (errnum == EWOULDBLOCK) {
			weights_report(job, "wait", 0, job->header.file_size);
			nanosleep(&poll, NULL);
		} else if (errnum != EINTR) {
			close(fd);
			return model_fail(job->err, errnum, "%s: cannot lock: %s", path,
					  strerror(errnum));
		}
	}
	return fd;
}

static int map_or_build(struct weights_job *job, struct weights *w)
{
	int lock, ret;

	ret = map_cache(job, w);
	if (ret != -ESTALE)
		return ret;
	lock = lock_cache(job);
	if (lock < 0)
		return lock;
	/* Somebody else may have made it while we waited for the lock. */
	ret = map_cache(job, w);
	if (ret == -ESTALE) {
		ret = weights_build(job);
		if (!ret)
			ret = map_cache(job, w);
		if (ret == -ESTALE)
			ret = model_fail(job->err, EIO, "%s: the cache file just written does not "
					 "read back; check the file system", job->path);
	}
	close(lock);
	return ret;
}

int weights_open(const struct gguf *g, struct weights_plan *plan, weights_progress_fn progress,
		 void *ctx, struct weights **out, struct model_error *err)
{
	struct weights_job *job = calloc(1, sizeof(*job));
	struct weights *w = calloc(1, sizeof(*w));
	int ret = -ENOMEM;

	*out = NULL;
	if (!job || !w) {
		model_fail(err, ENOMEM, "%s: no memory", gguf_path(g));
		goto out;
	}
	job->g = g;
	job->plan = plan;
	job->progress = progress;
	job->ctx = ctx;
	job->err = err;
	ret = expect_header(job);
	if (!ret)
		ret = map_or_build(job, w);
	if (!ret) {
		w->path = strdup(job->path);
		if (!w->path)
			ret = model_fail(err, ENOMEM, "%s: no memory", gguf_path(g));
	}
out:
	if (ret)
		weights_close(w);
	else
		*out = w;
	free(job);
	return ret;
}

void weights_close(struct weights *w)
{
	if (!w)
		return;
	if (w->map)
		munmap((void *)w->map, w->size);
	free(w->path);
	free(w);
}

const float *weights_data(const struct weights *w, const struct weights_entry *e)
{
	return (const float *)(const void *)(w->map + e->offset);
}

const char *weights_path(const struct weights *w)
{
	return w->path;
}

/* Kernels before 5.14 do not know MADV_POPULATE_READ: touch each page. */
static void touch_pages(const volatile uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i += WEIGHTS_ALIGN)
		(void)p[i];
}

int weights_populate_run(const void *data, size_t len)
{
	uintptr_t pos = (uintptr_t)data & ~(uintptr_t)(WEIGHTS_ALIGN - 1);
	uintptr_t end = (uintptr_t)data + len;

	while (pos < end) {
		size_t n = end - pos < POPULATE_CHUNK ? end - pos : POPULATE_CHUNK;
		void *p = (void *)pos;

		if (madvise(p, n, MADV_POPULATE_READ) < 0) {
			if (errno != EINVAL && errno != EAGAIN && errno != EINTR)
				return -errno;
			touch_pages(p, n);
		}
		pos += n;
	}
	return 0;
}

int weights_populate(const struct weights *w, const struct weights_plan *plan, size_t first,
		     size_t last)
{
	uint64_t pos = plan->entry[first].offset;
	uint64_t end = last + 1 < plan->n ? plan->entry[last + 1].offset : w->size;

	return weights_populate_run(w->map + pos, end - pos);
}
