/* SPDX-License-Identifier: MIT */
/* text_file.h: settings of the kernel that are files. Without the harness: also for fail_nth. */
#ifndef SLUICE_TEST_TEXT_FILE_H
#define SLUICE_TEST_TEXT_FILE_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* 0 or a negative errno. */
static inline int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

#endif /* SLUICE_TEST_TEXT_FILE_H */
