// SPDX-License-Identifier: MIT
/*
 * nng.c: nanomsg's successor, pair sockets over ipc://
 */
#include <sched.h>
#include <stdlib.h>

#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>

#include "program.h"

#define QUEUE_MAX	8192	/* the library's limit of either queue */

static struct {
	nng_socket socket;
	bool open;
	int flags;		/* NNG_FLAG_NONBLOCK to spin */
	nng_msg *out, *in;
} g;

static const struct program_peer nng;

static void check(int err, const char *what)
{
	if (err)
		program_fail("%s: %s", what, nng_strerror(err));
}

static void nng_open(struct program *p)
{
	int slots = p->slots < QUEUE_MAX ? (int)p->slots : QUEUE_MAX;
	char *address = program_path(p, "ipc://", "nng");

	g.flags = p->spin ? NNG_FLAG_NONBLOCK : 0;
	check(nng_pair0_open(&g.socket), "nng_pair0_open");
	g.open = true;
	check(nng_socket_set_int(g.socket, NNG_OPT_SENDBUF, slots), "the send queue's length");
	check(nng_socket_set_int(g.socket, NNG_OPT_RECVBUF, slots), "the receive queue's length");
	/* 0 is no limit; without it, 1 MiB of payload would be at the edge. */
	check(nng_socket_set_size(g.socket, NNG_OPT_RECVMAXSZ, 0), "the message's length");
	if (p->ping)
		check(nng_dial(g.socket, address, NULL, 0), address);
	else
		check(nng_listen(g.socket, address, NULL, 0), address);
	free(address);
}

static void nng_close_all(struct program *p)
{
	if (g.open)
		nng_close(g.socket);
}

/* The library's threads share this processor; see zmq.c. */
static bool again(int err)
{
	if (err != NNG_EAGAIN)
		return false;
	sched_yield();
	return true;
}

/* Messages, not buffers: the library takes and gives them without a copy. */
static void *nng_begin(struct program *p, size_t size)
{
	check(nng_msg_alloc(&g.out, size), "nng_msg_alloc");
	return nng_msg_body(g.out);
}

static void nng_send_out(struct program *p, size_t size)
{
	int err;

	do {
		err = nng_sendmsg(g.socket, g.out, g.flags);
	} while (again(err));
	check(err, "nng_sendmsg");
}

static const void *nng_receive(struct program *p, size_t *size)
{
	int err;

	do {
		err = nng_recvmsg(g.socket, &g.in, g.flags);
	} while (again(err));
	check(err, "nng_recvmsg");
	*size = nng_msg_len(g.in);
	return nng_msg_body(g.in);
}

static void nng_release(struct program *p)
{
	nng_msg_free(g.in);
}

static const struct program_way way = {
	.begin		= nng_begin,
	.send		= nng_send_out,
	.receive	= nng_receive,
	.release	= nng_release,
};

PROGRAM_WORKS(nng, way, way, way)

static const struct program_peer nng = {
	.name		= "nng",
	.open		= nng_open,
	.close		= nng_close_all,
	.way		= &way,
	.round		= nng_round,
	.flow		= nng_flow,
	.payload	= nng_payload,
};

int main(int argc, char **argv)
{
	return program_main(argc, argv, &nng);
}
