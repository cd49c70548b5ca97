// SPDX-License-Identifier: MIT
/*
 * weights_hash.c - where caches lie, and the content hash that names them
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weights_pvt.h"

#define HASH_CHUNK	(8u << 20)	/* bytes between two progress reports */

int weights_sha256(const void *data, size_t len, uint8_t out[SHA256_BYTES])
{
	return EVP_Digest(data, len, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

void weights_hex(const uint8_t *bytes, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++)
		sprintf(out + 2 * i, "%02x", bytes[i]);
}

void weights_report(const struct weights_job *job, const char *what, uint64_t done, uint64_t total)
{
	if (job->progress)
		job->progress(job->ctx, what, done, total);
}

/* mkdir -p; an existing directory is fine. */
static int make_dirs(char *path)
{
	for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
		int ret;

		*slash = '\0';
		ret = mkdir(path, 0777);
		*slash = '/';
		if (ret < 0 && errno != EEXIST && errno != EROFS)
			return -errno;
	}
	return mkdir(path, 0777) < 0 && errno != EEXIST ? -errno : 0;
}

int weights_cache_dir(char *out, struct model_error *err)
{
	const char *own = getenv("SLUICE_CACHE");
	const char *xdg = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");
	int len, ret;

	if (own && *own)
		len = snprintf(out, PATH_MAX, "%s/weights", own);
	else if (xdg && *xdg)
		len = snprintf(out, PATH_MAX, "%s/sluice/weights", xdg);
	else if (home && *home)
		len = snprintf(out, PATH_MAX, "%s/.cache/sluice/weights", home);
	else
		return model_fail(err, ENOENT, "no place for the weights cache: none of "
				  "SLUICE_CACHE, XDG_CACHE_HOME and HOME is set; set SLUICE_CACHE "
				  "to a directory");
	/* Leave room for the file names below it. */
	if (len >= PATH_MAX - 256)
		return model_fail(err, ENAMETOOLONG, "the weights cache's path is too long; set "
				  "SLUICE_CACHE to a shorter one");
	ret = make_dirs(out);
	if (ret)
		return model_fail(err, -ret, "%s: cannot create the cache directory: %s; set "
				  "SLUICE_CACHE to a writable one", out, strerror(-ret));
	return 0;
}

static int hash_file(struct weights_job *job, uint8_t out[SHA256_BYTES])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	const uint8_t *map;
	size_t size;
	int ok;

	map = gguf_map(job->g, &size);
	ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL);
	for (size_t done = 0; ok && done < size; ) {
		size_t n = size - done < HASH_CHUNK ? size - done : HASH_CHUNK;

		ok = EVP_DigestUpdate(md, map + done, n);
		done += n;
		weights_report(job, "hash", done, size);
	}
	ok = ok && EVP_DigestFinal_ex(md, out, NULL);
	EVP_MD_CTX_free(md);
	if (!ok)
		return model_fail(job->err, EIO, "%s: computing its SHA-256 failed in libcrypto; "
				  "check the OpenSSL installation", gguf_path(job->g));
	return 0;
}

/* Name of the index entry of a file as it is now. */
static int index_path(const char *dir, const char *file, char *out)
{
	struct stat st;

	if (stat(file, &st) < 0)
		return -errno;
	snprintf(out, PATH_MAX, "%.*s/index/%jx-%jx-%jx-%jx.%09ld", PATH_MAX - 128, dir,
		 (uintmax_t)st.st_dev, (uintmax_t)st.st_ino, (uintmax_t)st.st_size,
		 (uintmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool index_read(const char *path, uint8_t out[SHA256_BYTES])
{
	char hex[SHA256_HEX];
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	n = read(fd, hex, sizeof(hex));
	close(fd);
	if (n != SHA256_HEX || hex[SHA256_HEX - 1] != '\n')
		return false;
	for (int i = 0; i < SHA256_BYTES; i++) {
		int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = high << 4 | low;
	}
	return true;
}

static void index_write(const char *path, const uint8_t hash[SHA256_BYTES])
{
	char tmp[PATH_MAX + 32], hex[SHA256_HEX];
	int fd;

	snprintf(tmp, sizeof(tmp), "%s.XXXXXX", path);
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return;
	weights_hex(hash, SHA256_BYTES, hex);
	hex[SHA256_HEX - 1] = '\n';
	if (write(fd, hex, sizeof(hex)) != sizeof(hex) || rename(tmp, path) < 0)
		unlink(tmp);
	close(fd);
}

int weights_source_hash(struct weights_job *job, const char *dir, uint8_t out[SHA256_BYTES])
{
	char path[PATH_MAX], index_dir[PATH_MAX];
	bool indexed;
	int ret;

	snprintf(index_dir, sizeof(index_dir), "%.*s/index", PATH_MAX - 16, dir);
	/* Before hashing: a file replaced meanwhile then fails to match, and is hashed again. */
	indexed = !index_path(dir, gguf_path(job->g), path);
	if (indexed && index_read(path, out))
		return 0;

	ret = hash_file(job, out);
	if (!ret && indexed && (!mkdir(index_dir, 0777) || errno == EEXIST))
		index_write(path, out);
	return ret;
}
