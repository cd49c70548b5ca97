// SPDX-License-Identifier: MIT
/*
 * rabbitmq.c: RabbitMQ, a queue each way of a broker that pong starts
 *
 * As its guide advises: a connection to publish and another to consume, so that flow control of
 * publishers does not stop consumers; publisher confirms, awaited later and not one by one;
 * acknowledgements by hand, and a prefetch count.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "rabbitmq.h"

static struct {
	struct rabbitmq_broker broker;	/* of pong */
	amqp_connection_state_t out, in;
	const char *to, *from;		/* queues */
	char *outgoing, *incoming;
	uint64_t tag;			/* of the message in incoming */
	uint64_t published, confirmed;	/* all up to here */
	bool early[PROGRAM_SLOTS_MAX];	/* after that, by tag: what is confirmed already */
} g;

static const struct program_peer rabbitmq;

/* Before pong says that it is open, ping does not look for it. */
static int the_port(const struct program *p, int port)
{
	char *path = program_path(p, "", "port");
	FILE *f = fopen(path, p->ping ? "re" : "we");

	if (!f || (p->ping ? fscanf(f, "%d", &port) != 1 : fprintf(f, "%d\n", port) < 0) ||
	    fclose(f))
		program_fail("%s: %s", path, strerror(errno));
	free(path);
	return port;
}

static void rabbitmq_prepare(struct program *p)
{
	rabbitmq_start(p, &g.broker);
}

static void rabbitmq_open(struct program *p)
{
	int port;

	g.to = p->ping ? "to-pong" : "to-ping";
	g.from = p->ping ? "to-ping" : "to-pong";
	g.outgoing = program_buffer(p->size);
	g.incoming = program_buffer(p->size);
	port = the_port(p, g.broker.port);
	g.out = rabbitmq_connect(port);
	g.in = rabbitmq_connect(port);
	if (!p->ping) {
		rabbitmq_queue(g.out, g.to);
		rabbitmq_queue(g.out, g.from);
	}
	amqp_confirm_select(g.out, RABBITMQ_CHANNEL);
	if (amqp_get_rpc_reply(g.out).reply_type != AMQP_RESPONSE_NORMAL)
		program_fail("publisher confirms: the broker refuses them");
	rabbitmq_consume(g.in, g.from, p->slots);
}

/* Sockets only: the other side may have ended the broker. */
static void rabbitmq_close(struct program *p)
{
	if (g.out)
		amqp_destroy_connection(g.out);
	if (g.in)
		amqp_destroy_connection(g.in);
	rabbitmq_stop(&g.broker);
}

/* One confirm may stand for all before it, and nothing says that they come in order. */
static void note_confirm(const amqp_basic_ack_t *ack)
{
	if (!ack->multiple)
		g.early[ack->delivery_tag % PROGRAM_SLOTS_MAX] = true;
	for (uint64_t t = g.confirmed + 1; ack->multiple && t <= ack->delivery_tag; t++)
		g.early[t % PROGRAM_SLOTS_MAX] = true;
	while (g.early[(g.confirmed + 1) % PROGRAM_SLOTS_MAX])
		g.early[++g.confirmed % PROGRAM_SLOTS_MAX] = false;
}

static void await_confirms(uint64_t open)
{
	while (g.published - g.confirmed > open) {
		amqp_maybe_release_buffers(g.out);
		note_confirm(rabbitmq_await_method(g.out, AMQP_BASIC_ACK_METHOD));
	}
}

static void rabbitmq_flush(struct program *p)
{
	await_confirms(0);
}

static void *rabbitmq_begin(struct program *p, size_t size)
{
	return g.outgoing;
}

static void rabbitmq_send(struct program *p, size_t size)
{
	await_confirms(p->slots - 1);
	rabbitmq_publish(g.out, g.to, g.outgoing, size);
	g.published++;
}

static const void *rabbitmq_take(struct program *p, size_t *size)
{
	*size = rabbitmq_receive(g.in, g.incoming, p->size, &g.tag, NULL);
	return g.incoming;
}

static void rabbitmq_release(struct program *p)
{
	rabbitmq_ack(g.in, g.tag);
}

static const struct program_way way = {
	.begin		= rabbitmq_begin,
	.send		= rabbitmq_send,
	.receive	= rabbitmq_take,
	.release	= rabbitmq_release,
};

PROGRAM_WORKS(rabbitmq, way, way, way)

static const struct program_peer rabbitmq = {
	.name		= "rabbitmq",
	.prepare	= rabbitmq_prepare,
	.open		= rabbitmq_open,
	.flush		= rabbitmq_flush,
	.close		= rabbitmq_close,
	.way		= &way,
	.round		= rabbitmq_round,
	.flow		= rabbitmq_flow,
	.payload	= rabbitmq_payload,
};

/* For scripts/perf/peer_recovery.py, with a broker of the same kind. */
int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "--recovery"))
		return rabbitmq_recovery(argv[2], argv[3]);
	return program_main(argc, argv, &rabbitmq);
}
