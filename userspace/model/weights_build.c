// SPDX-License-Identifier: MIT
/*
 * weights_build.c - dequantise a model into its cache file
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dequant.h"
#include "weights_pvt.h"

#define BUILD_CHUNK	(4u << 20)	/* bytes of f32 written at a time */
#define STALE_SECONDS	3600		/* a temporary file this old is nobody's any more */

struct build {
	struct weights_job *job;
	int fd;
	char tmp[PATH_MAX + 32];
	float *buf;
	uint64_t done;
	uint64_t total;
};

static int fail_write(struct build *b, int errnum)
{
	return model_fail(b->job->err, errnum,
			  "%s: cannot write the weights cache (%" PRIu64 " MB): %s; make room or "
			  "set SLUICE_CACHE to another place", b->tmp,
			  b->job->header.file_size >> 20, strerror(errnum));
}

static int write_at(struct build *b, const void *data, size_t len, uint64_t offset)
{
	const char *p = data;

	while (len) {
		ssize_t n = pwrite(b->fd, p, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail_write(b, n ? errno : ENOSPC);
		p += n;
		offset += n;
		len -= n;
	}
	return 0;
}

/* Dequantise one tensor to @offset of the file. */
static int write_tensor(struct build *b, const struct gguf_tensor *t, uint64_t offset)
{
	const struct dequant_format *f = dequant_format(t->type);
	uint64_t n_blocks = t->n_elements / f->block_elems;
	size_t step = BUILD_CHUNK / sizeof(float) / f->block_elems;
	const uint8_t *in = t->data;

	for (uint64_t i = 0; i < n_blocks; i += step) {
		size_t n = n_blocks - i < step ? n_blocks - i : step;
		size_t bytes = n * f->block_elems * sizeof(float);
		int ret;

		f->to_f32(in + i * f->block_bytes, b->buf, n);
		ret = write_at(b, b->buf, bytes, offset);
		if (ret)
			return ret;
		offset += bytes;
		b->done += bytes;
		weights_report(b->job, "dequantise", b->done, b->total);
	}
	return 0;
}

static int write_all(struct build *b)
{
	struct weights_job *job = b->job;
	int ret = 0;

	if (ftruncate(b->fd, job->header.file_size) < 0)
		return fail_write(b, errno);
	/* To learn of a full disk now instead of at the end; not every file system can. */
	if (fallocate(b->fd, 0, 0, job->header.file_size) < 0 && errno == ENOSPC)
		return fail_write(b, ENOSPC);
	for (size_t i = 0; i < job->plan->n; i++) {
		const struct weights_entry *e = &job->plan->entry[i];
		uint64_t offset = e->offset;

		for (unsigned int j = 0; j < e->n_parts && !ret; j++) {
			ret = write_tensor(b, e->part[j], offset);
			offset += e->part[j]->n_elements * sizeof(float);
		}
		if (ret)
			return ret;
	}
	/* The header last, and the data on disk before the name: no reader sees half a file. */
	ret = write_at(b, &job->header, sizeof(job->header), 0);
	if (!ret && fsync(b->fd) < 0)
		ret = fail_write(b, errno);
	return ret;
}

/* Remove what interrupted builds of the same file left behind. */
static void remove_stale(const char *path)
{
	const char *base = strrchr(path, '/') + 1;
	char dir[PATH_MAX];
	struct dirent *d;
	struct stat st;
	DIR *dp;

	snprintf(dir, sizeof(dir), "%.*s", (int)(base - path - 1), path);
	dp = opendir(dir);
	while (dp && (d = readdir(dp))) {
		if (strncmp(d->d_name, base, strlen(base)) ||
		    strncmp(d->d_name + strlen(base), ".tmp.", 5))
			continue;
		if (!fstatat(dirfd(dp), d->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
		    st.st_mtime + STALE_SECONDS < time(NULL))
			unlinkat(dirfd(dp), d->d_name, 0);
	}
	if (dp)
		closedir(dp);
}

static void sync_dir(const char *path)
{
	char dir[PATH_MAX];
	int fd;

	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
}

int weights_build(struct weights_job *job)
{
	struct build b = { .job = job };
	int ret;

	for (size_t i = 0; i < job->plan->n; i++)
		b.total += job->plan->entry[i].rows * job->plan->entry[i].cols * sizeof(float);

	remove_stale(job->path);
	/*
	 * The lock does not reach from a guest kernel to its host, which may share this directory:
	 * so the temporary name is unique, and whoever renames last wins with the same content.
	 */
	snprintf(b.tmp, sizeof(b.tmp), "%s.tmp.XXXXXX", job->path);
	b.fd = mkostemp(b.tmp, O_CLOEXEC);
	if (b.fd < 0)
		return fail_write(&b, errno);
	b.buf = malloc(BUILD_CHUNK);
	if (!b.buf)
		ret = model_fail(job->err, ENOMEM, "%s: no memory to dequantise", b.tmp);
	else
		ret = write_all(&b);
	if (!ret && (fchmod(b.fd, 0644) < 0 || rename(b.tmp, job->path) < 0))
		ret = fail_write(&b, errno);
	if (ret)
		unlink(b.tmp);
	else
		sync_dir(job->path);
	close(b.fd);
	free(b.buf);
	return ret;
}
