// SPDX-License-Identifier: MIT
/*
 * zmq.c: ZeroMQ, PAIR sockets over ipc://
 */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <zmq.h>

#include "program.h"

#define BUFFERS	2	/* of payload: one is written while the library lets go of the other */

static struct {
	void *context;
	void *socket;
	int flags;		/* ZMQ_DONTWAIT to spin */
	zmq_msg_t out, in;
	struct buffer {
		void *data;
		atomic_bool busy;
	} buffers[BUFFERS];
	unsigned int next;
} z;

static const struct program_peer zmq;

static void __attribute__((noreturn)) zmq_fail(const char *what)
{
	program_fail("%s: %s", what, zmq_strerror(zmq_errno()));
}

static void zmq_set(int option, int value)
{
	if (zmq_setsockopt(z.socket, option, &value, sizeof(value)))
		zmq_fail("zmq_setsockopt");
}

static void zmq_open(struct program *p)
{
	char *address = program_path(p, "ipc://", "zmq");

	z.flags = p->spin ? ZMQ_DONTWAIT : 0;
	z.context = zmq_ctx_new();
	z.socket = z.context ? zmq_socket(z.context, ZMQ_PAIR) : NULL;
	if (!z.socket)
		zmq_fail("zmq_socket");
	/* A PAIR socket that is full makes the sender wait; it drops nothing. */
	zmq_set(ZMQ_SNDHWM, (int)p->slots);
	zmq_set(ZMQ_RCVHWM, (int)p->slots);
	zmq_set(ZMQ_LINGER, 0);
	if (p->ping ? zmq_connect(z.socket, address) : zmq_bind(z.socket, address))
		zmq_fail(address);
	free(address);
	for (int i = 0; i < BUFFERS; i++)
		z.buffers[i].data = program_buffer(p->size);
}

static void zmq_close_all(struct program *p)
{
	if (z.socket)
		zmq_close(z.socket);
	if (z.context)
		zmq_ctx_term(z.context);
}

/*
 * The library's own thread, which does the reading and writing, is tied to the same processor: who
 * spins without letting it run waits for the end of a time slice.
 */
static bool zmq_again(void)
{
	if (zmq_errno() != EAGAIN)
		return false;
	sched_yield();
	return true;
}

static void *zmq_begin(struct program *p, size_t size)
{
	if (zmq_msg_init_size(&z.out, size))
		zmq_fail("zmq_msg_init_size");
	return zmq_msg_data(&z.out);
}

static void zmq_send_out(struct program *p, size_t size)
{
	while (zmq_msg_send(&z.out, z.socket, z.flags) < 0)
		if (!zmq_again())
			zmq_fail("zmq_msg_send");
}

static const void *zmq_receive(struct program *p, size_t *size)
{
	zmq_msg_init(&z.in);
	while (zmq_msg_recv(&z.in, z.socket, z.flags) < 0)
		if (!zmq_again())
			zmq_fail("zmq_msg_recv");
	*size = zmq_msg_size(&z.in);
	return zmq_msg_data(&z.in);
}

static void zmq_release(struct program *p)
{
	zmq_msg_close(&z.in);
}

/* In the library's thread. */
static void buffer_free(void *data, void *hint)
{
	struct buffer *b = hint;

	atomic_store_explicit(&b->busy, false, memory_order_release);
}

/* Zero copy as the manual describes it: memory of ours, given back by a call. */
static void *zmq_lend(struct program *p, size_t size)
{
	struct buffer *b = &z.buffers[z.next++ % BUFFERS];

	while (atomic_exchange_explicit(&b->busy, true, memory_order_acquire))
		sched_yield();
	if (zmq_msg_init_data(&z.out, b->data, size, buffer_free, b))
		zmq_fail("zmq_msg_init_data");
	return b->data;
}

static const struct program_way way = {
	.begin		= zmq_begin,
	.send		= zmq_send_out,
	.receive	= zmq_receive,
	.release	= zmq_release,
};

static const struct program_way lend = {
	.begin		= zmq_lend,
	.send		= zmq_send_out,
	.receive	= zmq_receive,
	.release	= zmq_release,
};

PROGRAM_WORKS(zmq, way, lend, way)

static const struct program_peer zmq = {
	.name		= "zmq",
	.open		= zmq_open,
	.close		= zmq_close_all,
	.way		= &way,
	.round		= zmq_round,
	.flow		= zmq_flow,
	.payload	= zmq_payload,
};

int main(int argc, char **argv)
{
	return program_main(argc, argv, &zmq);
}
