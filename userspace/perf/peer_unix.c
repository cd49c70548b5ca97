// SPDX-License-Identifier: MIT
/*
 * peer_unix.c: a pair of connected Unix sockets, stream and seqpacket
 */
#include <sys/socket.h>

#include "peer_fd.h"

static int unix_setup(struct peer_run *run, int type)
{
	struct fd_state *s = fd_state_create(run);
	int fds[2];

	if (!s)
		return -ENOMEM;
	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds))
		return peer_fail(run, errno, "socketpair: %s", strerror(errno));
	for (int side = PING; side <= PONG; side++)
		s->in[side] = s->out[side] = fds[side];
	return 0;
}

static int unix_stream_setup(struct peer_run *run)
{
	return unix_setup(run, SOCK_STREAM);
}

static int unix_seqpacket_setup(struct peer_run *run)
{
	return unix_setup(run, SOCK_SEQPACKET);
}

const struct peer peer_unix_stream = {
	.name		= "unix",
	.title		= "Unix stream socket pair, read(2) and write(2)",
	.modes		= MODE_SPIN | MODE_SLEEP,
	.setup		= unix_stream_setup,
	.open		= fd_open,
	.job[WORK_ROUND]	= { fd_ping, fd_pong },
	.job[WORK_FLOW]		= { fd_flow_ping, fd_flow_pong },
	.job[WORK_PAYLOAD]	= { fd_payload_ping, fd_payload_pong },
	.teardown	= fd_teardown,
};

const struct peer peer_unix_batch = {
	.name		= "unix-16",
	.title		= "Unix stream socket pair, 16 requests at a time, the time of one",
	.optional	= true,
	.modes		= MODE_SPIN | MODE_SLEEP,
	.setup		= unix_stream_setup,
	.open		= fd_open,
	.job[WORK_ROUND]	= { fd_ping_batch, fd_pong },
	.teardown	= fd_teardown,
};

const struct peer peer_unix_seqpacket = {
	.name		= "unix-seq",
	.title		= "Unix seqpacket socket pair, read(2) and write(2)",
	.max_size	= 1 << 16,	/* a message must fit into the socket's buffer */
	.modes		= MODE_SPIN | MODE_SLEEP,
	.setup		= unix_seqpacket_setup,
	.open		= fd_open,
	.job[WORK_ROUND]	= { fd_ping, fd_pong },
	.job[WORK_FLOW]		= { fd_flow_ping, fd_flow_pong },
	.job[WORK_PAYLOAD]	= { fd_payload_ping, fd_payload_pong },
	.teardown	= fd_teardown,
};
