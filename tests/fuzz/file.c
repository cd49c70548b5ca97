// SPDX-License-Identifier: MIT
/*
 * file.c - a file that is not there: its mapping is allocated to the byte
 *
 * A real mapping goes on to the end of its page, so reading some bytes too far would not be seen;
 * and ten million files take their time. The calls come here by the linker's --wrap.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "fuzz.h"

#define FD 1000

int __real_open(const char *path, int flags, ...);
int __real_fstat(int fd, struct stat *st);
void *__real_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *addr, size_t size);
int __real_close(int fd);
int __wrap_open(const char *path, int flags, ...);
int __wrap_fstat(int fd, struct stat *st);
void *__wrap_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset);
int __wrap_munmap(void *addr, size_t size);
int __wrap_close(int fd);

static const void *file;
static size_t file_size;
static void *mapping;

void fuzz_file(const void *data, size_t size)
{
	file = data;
	file_size = size;
}

int __wrap_open(const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);
	return file ? FD : __real_open(path, flags, mode);
}

int __wrap_fstat(int fd, struct stat *st)
{
	if (fd != FD)
		return __real_fstat(fd, st);
	memset(st, 0, sizeof(*st));
	st->st_mode = S_IFREG | 0644;
	st->st_size = (off_t)file_size;
	return 0;
}

void *__wrap_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	if (fd != FD)
		return __real_mmap(addr, size, prot, flags, fd, offset);
	fuzz_check(!mapping && size == file_size && !offset && prot == PROT_READ);
	mapping = malloc(size);
	fuzz_check(mapping);
	return memcpy(mapping, file, size);
}

int __wrap_munmap(void *addr, size_t size)
{
	if (!mapping || addr != mapping)
		return __real_munmap(addr, size);
	free(mapping);
	mapping = NULL;
	return 0;
}

int __wrap_close(int fd)
{
	return fd == FD ? 0 : __real_close(fd);
}
