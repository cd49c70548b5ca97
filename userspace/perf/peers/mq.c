// SPDX-License-Identifier: MIT
/*
 * mq.c: POSIX message queues, one each way
 */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "program.h"

static struct {
	char *names[2];		/* of the queue that each side reads, ping's first */
	mqd_t in, out;
	void *in_buffer, *out_buffer;
	long room;		/* the queues' message size */
} q = { .in = -1, .out = -1 };

static const struct program_peer mq;

/* The longest queue that may be had without CAP_SYS_RESOURCE. */
static long length_limit(void)
{
	FILE *f = fopen("/proc/sys/fs/mqueue/msg_max", "re");
	long limit;

	if (!f || fscanf(f, "%ld", &limit) != 1)
		limit = 1;
	if (f)
		fclose(f);
	return limit;
}

static mqd_t queue_open(struct program *p, bool of_ping, int flags)
{
	struct mq_attr attr = { .mq_maxmsg = p->slots, .mq_msgsize = q.room };
	const char *name = q.names[!of_ping];
	mqd_t fd;

	flags |= p->spin ? O_NONBLOCK : 0;
	if (!p->ping)
		flags |= O_CREAT | O_EXCL;
	fd = mq_open(name, flags, 0600, &attr);
	if (fd == -1 && errno == EINVAL && attr.mq_maxmsg > length_limit()) {
		attr.mq_maxmsg = length_limit();
		fd = mq_open(name, flags, 0600, &attr);
	}
	if (fd == -1)
		program_fail("mq_open %s for %ld messages of %ld bytes: %s; see fs.mqueue", name,
			     attr.mq_maxmsg, attr.mq_msgsize, strerror(errno));
	return fd;
}

static void mq_open_both(struct program *p)
{
	static const struct rlimit any = { RLIM_INFINITY, RLIM_INFINITY };

	/* What all queues of a user may hold; if it may not be raised, it may still be enough. */
	setrlimit(RLIMIT_MSGQUEUE, &any);
	q.room = (long)p->size;
	for (int side = 0; side < 2; side++)
		if (asprintf(&q.names[side], "/sluice-perf-%s-%s", p->unique,
			     side ? "pong" : "ping") < 0)
			program_fail("no memory for a name");
	q.in_buffer = program_buffer(p->size);
	q.out_buffer = program_buffer(p->size);
	q.in = queue_open(p, p->ping, O_RDONLY);
	q.out = queue_open(p, !p->ping, O_WRONLY);
}

static void remove_names(struct program *p)
{
	for (int side = 0; side < 2; side++)
		if (!p->ping && q.names[side])
			mq_unlink(q.names[side]);
}

static void *mq_begin(struct program *p, size_t size)
{
	return q.out_buffer;
}

static void mq_send_out(struct program *p, size_t size)
{
	while (mq_send(q.out, q.out_buffer, size, 0))
		if (errno != EAGAIN && errno != EINTR)
			program_fail("mq_send: %s", strerror(errno));
}

static const void *mq_get(struct program *p, size_t *size)
{
	ssize_t got;

	while ((got = mq_receive(q.in, q.in_buffer, (size_t)q.room, NULL)) < 0)
		if (errno != EAGAIN && errno != EINTR)
			program_fail("mq_receive: %s", strerror(errno));
	*size = (size_t)got;
	return q.in_buffer;
}

static void mq_release(struct program *p)
{
}

static const struct program_way way = {
	.begin		= mq_begin,
	.send		= mq_send_out,
	.receive	= mq_get,
	.release	= mq_release,
};

PROGRAM_WORKS(mq, way, way, way)

static const struct program_peer mq = {
	.name		= "mq",
	.open		= mq_open_both,
	.joined		= remove_names,
	.close		= remove_names,
	.way		= &way,
	.round		= mq_round,
	.flow		= mq_flow,
	.payload	= mq_payload,
};

int main(int argc, char **argv)
{
	return program_main(argc, argv, &mq);
}
