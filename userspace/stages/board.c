// SPDX-License-Identifier: MIT
/* board.c - a mapped file with a row for each daemon */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "board.h"

#define BOARD_MAGIC	0x44524f4253u	/* "SBORD" */
#define BOARD_ROWS_MAX	4096u

struct file {
	uint64_t		magic;
	uint32_t		rows;
	uint32_t		row_bytes;
	struct board_row	row[];
};

struct board {
	struct file	*file;
	size_t		bytes;
	uint32_t	rows;
};

uint64_t board_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int map(int fd, size_t bytes, bool writable, struct board **out)
{
	struct board *b = calloc(1, sizeof(*b));
	void *p;

	*out = NULL;
	if (!b)
		return -ENOMEM;
	p = mmap(NULL, bytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		free(b);
		return -errno;
	}
	b->file = p;
	b->bytes = bytes;
	*out = b;
	return 0;
}

int board_create(const char *path, uint32_t n, struct board **out)
{
	size_t bytes = sizeof(struct file) + n * sizeof(struct board_row);
	int fd, ret;

	*out = NULL;
	if (n > BOARD_ROWS_MAX)
		return -EINVAL;
	/* Anew: whoever still maps that of an earlier pipeline keeps it for himself. */
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	ret = ftruncate(fd, (off_t)bytes) ? -errno : map(fd, bytes, true, out);
	close(fd);
	if (ret)
		return ret;
	(*out)->rows = n;
	(*out)->file->rows = n;
	(*out)->file->row_bytes = sizeof(struct board_row);
	__atomic_store_n(&(*out)->file->magic, BOARD_MAGIC, __ATOMIC_RELEASE);
	return 0;
}

int board_open(const char *path, bool writable, struct board **out)
{
	int fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC), ret;
	struct stat st;

	*out = NULL;
	if (fd < 0)
		return -errno;
	ret = fstat(fd, &st) ? -errno :
	      st.st_size < (off_t)sizeof(struct file) ? -EBADMSG :
	      map(fd, (size_t)st.st_size, writable, out);
	close(fd);
	if (ret)
		return ret;
	(*out)->rows = (*out)->file->rows;
	if ((*out)->file->magic == BOARD_MAGIC && (*out)->rows <= BOARD_ROWS_MAX &&
	    (*out)->file->row_bytes == sizeof(struct board_row) &&
	    sizeof(struct file) + (*out)->rows * sizeof(struct board_row) <= (*out)->bytes)
		return 0;
	board_close(*out);
	*out = NULL;
	return -EBADMSG;
}

void board_close(struct board *b)
{
	if (!b)
		return;
	munmap(b->file, b->bytes);
	free(b);
}

uint32_t board_rows(const struct board *b)
{
	return b->rows;
}

struct board_row *board_row(struct board *b, uint32_t i)
{
	return &b->file->row[i];
}

static bool is_of(const struct board_row *row, const char *stage)
{
	return !strncmp(row->stage, stage, sizeof(row->stage));
}

struct board_row *board_find(struct board *b, const char *stage, uint32_t replica)
{
	for (uint32_t i = 0; i < b->rows; i++) {
		if (is_of(&b->file->row[i], stage) && b->file->row[i].replica == replica)
			return &b->file->row[i];
	}
	return NULL;
}

void board_show(struct board_breaker *to, const struct breaker *from)
{
	__atomic_store_n(&to->retry_at, from->retry_at, __ATOMIC_RELAXED);
	__atomic_store_n(&to->failures, from->count, __ATOMIC_RELAXED);
	__atomic_store_n(&to->trips, from->trips, __ATOMIC_RELAXED);
	__atomic_store_n(&to->state, from->state, __ATOMIC_RELEASE);
}

static uint64_t left(const struct board_breaker *b, uint64_t now)
{
	uint64_t at;

	if (__atomic_load_n(&b->state, __ATOMIC_ACQUIRE) != BREAKER_OPEN)
		return 0;
	at = __atomic_load_n(&b->retry_at, __ATOMIC_RELAXED);
	return at > now ? at - now : 0;
}

uint64_t board_refuses(const struct board_row *row, uint64_t now)
{
	uint64_t starts = left(&row->starts, now), work = left(&row->work, now);

	return starts > work ? starts : work;
}

const char *board_shut(struct board *b, uint64_t now, uint64_t *retry_ns)
{
	for (uint32_t i = 0; i < b->rows; i++) {
		const struct board_row *row = &b->file->row[i];
		uint64_t soonest = UINT64_MAX;

		if (!board_refuses(row, now))
			continue;
		for (uint32_t j = 0; j < b->rows; j++) {
			uint64_t wait = board_refuses(&b->file->row[j], now);

			if (is_of(&b->file->row[j], row->stage) && wait < soonest)
				soonest = wait;
		}
		*retry_ns = soonest;
		if (soonest)
			return row->stage;
	}
	return NULL;
}
