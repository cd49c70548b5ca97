// SPDX-License-Identifier: MIT
/*
 * peer_pipe.c: two pipes, one each way
 */
#include "peer_fd.h"

static int pipe_setup(struct peer_run *run)
{
	struct fd_state *s = fd_state_create(run);
	int there[2], back[2];

	if (!s)
		return -ENOMEM;
	if (pipe2(there, O_CLOEXEC))
		return peer_fail(run, errno, "pipe: %s", strerror(errno));
	s->out[PING] = there[1];
	s->in[PONG] = there[0];
	if (pipe2(back, O_CLOEXEC))
		return peer_fail(run, errno, "pipe: %s", strerror(errno));
	s->out[PONG] = back[1];
	s->in[PING] = back[0];
	return 0;
}

const struct peer peer_pipe = {
	.name		= "pipe",
	.title		= "two pipes, read(2) and write(2)",
	.modes		= MODE_SPIN | MODE_SLEEP,
	.setup		= pipe_setup,
	.open		= fd_open,
	.job[WORK_ROUND]	= { fd_ping, fd_pong },
	.job[WORK_FLOW]		= { fd_flow_ping, fd_flow_pong },
	.job[WORK_PAYLOAD]	= { fd_payload_ping, fd_payload_pong },
	.teardown	= fd_teardown,
};
