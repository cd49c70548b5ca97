// SPDX-License-Identifier: MIT
/*
 * rabbitmq_recovery.c: how long until another consumer has the message of a killed one
 *
 * This process publishes and kills. Its children are the consumers: the first holds a message and
 * never acknowledges it; the second waits for one, all along.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rabbitmq.h"

#define QUEUE		"recovery"
#define COUNT_MAX	1000000
#define PATIENCE_S	60	/* for one message that is to come back */

/**
 * struct consumer - a child
 * @heard:	what it says: a zero when it is subscribed, then the ticks at which it had a message
 */
struct consumer {
	pid_t pid;
	int heard;
};

static struct rabbitmq_broker broker;
static struct consumer holder, heir;

static void late(int sig)
{
	static const char text[] = "rabbitmq: the message of the killed consumer did not come back\n";

	/* The broker and the consumers die with this process. */
	_exit(write(STDERR_FILENO, text, sizeof(text) - 1) < 0 ? 1 : 1);
}

static void say(int fd, uint64_t value)
{
	if (write(fd, &value, sizeof(value)) != sizeof(value))
		_exit(1);
}

static uint64_t listen_to(const struct consumer *c)
{
	uint64_t value;

	if (read(c->heard, &value, sizeof(value)) != sizeof(value))
		program_fail("a consumer ended; it says why above");
	return value;
}

/* In the child: never returns. */
static void consume(int to, uint64_t number, bool hold)
{
	amqp_connection_state_t c = rabbitmq_connect(broker.port);
	uint64_t tag, got = 0, when;
	bool again;

	rabbitmq_consume(c, QUEUE, 1);
	say(to, 0);
	rabbitmq_receive(c, &got, sizeof(got), &tag, &again);
	when = sluice_ticks();
	if (got != number || again == hold)
		program_fail("message %" PRIu64 " came as %" PRIu64 "%s", number, got,
			     again ? ", again" : "");
	say(to, when);
	while (hold)
		pause();
	rabbitmq_ack(c, tag);
	/* In the same connection, so that this is answered after the acknowledgement is done. */
	amqp_channel_close(c, RABBITMQ_CHANNEL, AMQP_REPLY_SUCCESS);
	_exit(0);
}

static struct consumer start(uint64_t number, bool hold)
{
	struct consumer c;
	int ends[2];

	if (pipe(ends) || (c.pid = fork()) < 0)
		program_fail("cannot start a consumer");
	if (!c.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* If it fails, the broker is not its to end. */
		broker = (struct rabbitmq_broker){ .port = broker.port };
		alarm(0);
		consume(ends[1], number, hold);
	}
	close(ends[1]);
	c.heard = ends[0];
	listen_to(&c);
	return c;
}

static void end(struct consumer *c)
{
	waitpid(c->pid, NULL, 0);
	close(c->heard);
}

static uint64_t recover_one(amqp_connection_state_t c, uint64_t number)
{
	uint64_t killed, had;

	alarm(PATIENCE_S);
	holder = start(number, true);
	rabbitmq_publish(c, QUEUE, &number, sizeof(number));
	listen_to(&holder);
	heir = start(number, false);
	killed = sluice_ticks();
	kill(holder.pid, SIGKILL);
	had = listen_to(&heir);
	end(&holder);
	end(&heir);
	alarm(0);
	return sluice_ticks_to_ns(had - killed);
}

static void recovery_close(struct program *p)
{
	rabbitmq_stop(&broker);
}

static const struct program_peer recovery = {
	.name	= "rabbitmq --recovery",
	.close	= recovery_close,
};

int rabbitmq_recovery(const char *count, const char *dir)
{
	const char *slash = strrchr(dir, '/');
	struct program p = { .size = sizeof(uint64_t), .slots = 1, .dir = dir };
	long n = strtol(count, NULL, 10);
	amqp_connection_state_t c;

	if (n < 1 || n > COUNT_MAX || !slash || !slash[1] || access(dir, W_OK)) {
		fputs("rabbitmq: --recovery COUNT DIR, with a directory to write to\n", stderr);
		return 2;
	}
	program_use(&recovery);
	p.unique = slash + 1;
	signal(SIGALRM, late);
	sluice_ticks_to_ns(1);
	rabbitmq_start(&p, &broker);
	c = rabbitmq_connect(broker.port);
	rabbitmq_queue(c, QUEUE);
	for (long i = 0; i < n; i++)
		printf("%" PRIu64 "\n", recover_one(c, (uint64_t)i));
	amqp_destroy_connection(c);
	rabbitmq_stop(&broker);
	return 0;
}
