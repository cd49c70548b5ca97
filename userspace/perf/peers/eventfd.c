// SPDX-License-Identifier: MIT
/*
 * eventfd.c: no system at all: a message in shared memory, and an eventfd each way that says so
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "program.h"
#include "shared.h"

static struct shared s;
static int fds[2] = { -1, -1 };		/* what ping waits for, what pong waits for */
static int channel = -1;		/* on which they are passed */

static const struct program_peer eventfd_peer;

/* Pong makes the eventfds and passes them when ping has come, in joined(). */
static void eventfd_open(struct program *p)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char *path = program_path(p, "", "fds");

	shared_open(p, &s);
	channel = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (channel < 0 || strlen(path) >= sizeof(address.sun_path))
		program_fail("no socket %s", path);
	strcpy(address.sun_path, path);
	free(path);
	if (p->ping) {
		if (connect(channel, (struct sockaddr *)&address, sizeof(address)))
			program_fail("connect: %s", strerror(errno));
		return;
	}
	if (bind(channel, (struct sockaddr *)&address, sizeof(address)) || listen(channel, 1))
		program_fail("bind: %s", strerror(errno));
	for (int i = 0; i < 2; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC | (p->spin ? EFD_NONBLOCK : 0));
		if (fds[i] < 0)
			program_fail("eventfd: %s", strerror(errno));
	}
}

static void eventfd_joined(struct program *p)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(fds))];
	} control = { .head = { CMSG_LEN(sizeof(fds)), SOL_SOCKET, SCM_RIGHTS } };
	char byte = 0;
	struct iovec data = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control.room) };
	int to;

	if (p->ping) {
		if (recvmsg(channel, &msg, MSG_CMSG_CLOEXEC) != 1)
			program_fail("recvmsg: %s", strerror(errno));
		memcpy(fds, CMSG_DATA(&control.head), sizeof(fds));
		return;
	}
	memcpy(CMSG_DATA(&control.head), fds, sizeof(fds));
	to = accept4(channel, NULL, NULL, SOCK_CLOEXEC);
	if (to < 0 || sendmsg(to, &msg, 0) != 1)
		program_fail("passing the eventfds: %s", strerror(errno));
	close(to);
}

static void *eventfd_begin(struct program *p, size_t size)
{
	return s.out->data;
}

static void eventfd_send(struct program *p, size_t size)
{
	const uint64_t one = 1;

	s.out->size = size;
	if (write(fds[p->ping], &one, sizeof(one)) < 0)
		program_fail("write to an eventfd: %s", strerror(errno));
}

static const void *eventfd_receive(struct program *p, size_t *size)
{
	uint64_t count;

	while (read(fds[!p->ping], &count, sizeof(count)) < 0)
		if (errno != EAGAIN && errno != EINTR)
			program_fail("read from an eventfd: %s", strerror(errno));
	*size = s.in->size;
	return s.in->data;
}

static void eventfd_release(struct program *p)
{
}

static const struct program_way way = {
	.begin		= eventfd_begin,
	.send		= eventfd_send,
	.receive	= eventfd_receive,
	.release	= eventfd_release,
};

PROGRAM_WORKS(eventfd_peer, way, way, way)

static const struct program_peer eventfd_peer = {
	.name		= "eventfd",
	.open		= eventfd_open,
	.joined		= eventfd_joined,
	.way		= &way,
	.round		= eventfd_peer_round,
	.payload	= eventfd_peer_payload,
};

int main(int argc, char **argv)
{
	return program_main(argc, argv, &eventfd_peer);
}
