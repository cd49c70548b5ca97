// SPDX-License-Identifier: MIT
/*
 * peers_corrupt.c: a message queue that changes the last byte of one message, for peers_test.py
 */
#include <dlfcn.h>
#include <mqueue.h>

#define WHICH	50	/* the first one is not counted */

ssize_t mq_receive(mqd_t queue, char *data, size_t room, unsigned int *priority)
{
	static ssize_t (*real)(mqd_t, char *, size_t, unsigned int *);
	static int count;
	ssize_t got;

	if (!real)
		real = (ssize_t (*)(mqd_t, char *, size_t, unsigned int *))dlsym(RTLD_NEXT,
										 "mq_receive");
	got = real(queue, data, room, priority);
	if (got > 0 && count++ == WHICH)
		data[got - 8] ^= 1;
	return got;
}
