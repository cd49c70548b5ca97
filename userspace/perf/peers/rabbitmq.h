/* SPDX-License-Identifier: MIT */
/*
 * rabbitmq.h: a broker of our own, and connections to it
 *
 * Failures end the process: program_fail().
 */
#ifndef SLUICE_PERF_RABBITMQ_H
#define SLUICE_PERF_RABBITMQ_H

#include <sys/types.h>

#include <amqp.h>

#include "program.h"

#define RABBITMQ_CHANNEL	1	/* of any connection: the only one */

/**
 * struct rabbitmq_broker - processes of this one's, which end with it, however it ends
 * @epmd:	Erlang's name server, on a port of its own: that of the machine stays as it is
 * @server:	the broker
 * @port:	where it listens, on 127.0.0.1
 */
struct rabbitmq_broker {
	pid_t epmd, server;
	int port;
};

/** rabbitmq_start() - a broker that keeps its files in @p->dir; returns when it answers */
void rabbitmq_start(struct program *p, struct rabbitmq_broker *b);

/** rabbitmq_stop() - at once: all that it has is for this measurement; also if never started */
void rabbitmq_stop(struct rabbitmq_broker *b);

/** rabbitmq_connect() - a connection with RABBITMQ_CHANNEL open */
amqp_connection_state_t rabbitmq_connect(int port);

/** rabbitmq_queue() - makes a classic queue that is not durable */
void rabbitmq_queue(amqp_connection_state_t c, const char *name);

/** rabbitmq_consume() - asks for messages, @prefetch of them unacknowledged at most */
void rabbitmq_consume(amqp_connection_state_t c, const char *queue, unsigned int prefetch);

/** rabbitmq_publish() - through the default exchange, not persistent */
void rabbitmq_publish(amqp_connection_state_t c, const char *queue, void *data, size_t size);

/** rabbitmq_await_method() - the next frame, which must be the method @id; its arguments */
void *rabbitmq_await_method(amqp_connection_state_t c, amqp_method_number_t id);

/**
 * rabbitmq_receive() - the next message, copied
 * @data:	at least @room bytes
 * @tag:	to acknowledge it with
 * @again:	whether somebody else had it before; or NULL
 *
 * Return: bytes of it.
 */
size_t rabbitmq_receive(amqp_connection_state_t c, void *data, size_t room, uint64_t *tag,
			bool *again);

/** rabbitmq_ack() - one message */
void rabbitmq_ack(amqp_connection_state_t c, uint64_t tag);


/** rabbitmq_recovery() - `rabbitmq --recovery COUNT DIR`: so many lines of ns; exit status */
int rabbitmq_recovery(const char *count, const char *dir);

#endif /* SLUICE_PERF_RABBITMQ_H */
