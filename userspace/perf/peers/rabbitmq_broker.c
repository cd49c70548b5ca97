// SPDX-License-Identifier: MIT
/*
 * rabbitmq_broker.c: a broker of our own, from Debian's package, without its service
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <amqp_tcp_socket.h>

#include "rabbitmq.h"

/* Not the wrapper in /usr/sbin, which changes to another user and another directory. */
#define SERVER		"/usr/lib/rabbitmq/bin/rabbitmq-server"

/* A port that is free now; nobody keeps it until the broker takes it. */
static int free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) ||
	    getsockname(fd, (struct sockaddr *)&a, &len))
		program_fail("no free port on 127.0.0.1: %s", strerror(errno));
	close(fd);
	return ntohs(a.sin_port);
}

static void set(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void set(const char *name, const char *fmt, ...)
{
	char value[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	setenv(name, value, 1);
}

static void write_file(const struct program *p, const char *name, const char *text)
{
	char *path = program_path(p, "", name);
	FILE *f = fopen(path, "we");

	if (!f || fputs(text, f) < 0 || fclose(f))
		program_fail("cannot write %s: %s", path, strerror(errno));
	free(path);
}

static void configure(const struct program *p, const struct rabbitmq_broker *b)
{
	char text[256];

	/* Nothing is persistent, so that a small tmpfs is no reason to block publishers. */
	snprintf(text, sizeof(text),
		 "listeners.tcp.1 = 127.0.0.1:%d\ndisk_free_limit.absolute = 1MB\n", b->port);
	write_file(p, "rabbitmq.conf", text);
	write_file(p, "plugins", "[].\n");
}

/* All that the broker would have in /var, /etc and its user's home, and no other's name or port. */
static void set_environment(const struct program *p, int epmd, int distribution)
{
	set("HOME", "%s", p->dir);
	set("ERL_EPMD_PORT", "%d", epmd);
	set("ERL_EPMD_ADDRESS", "127.0.0.1");
	set("RABBITMQ_NODENAME", "%s@localhost", p->unique);
	set("RABBITMQ_DIST_PORT", "%d", distribution);
	set("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
	    "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false");
	set("RABBITMQ_CONF_ENV_FILE", "%s/rabbitmq-env.conf", p->dir);
	set("RABBITMQ_CONFIG_FILE", "%s/rabbitmq", p->dir);
	set("RABBITMQ_ADVANCED_CONFIG_FILE", "%s/advanced.config", p->dir);
	set("RABBITMQ_ENABLED_PLUGINS_FILE", "%s/plugins", p->dir);
	set("RABBITMQ_MNESIA_BASE", "%s/mnesia", p->dir);
	set("RABBITMQ_LOG_BASE", "%s/log", p->dir);
	set("RABBITMQ_PID_FILE", "%s/pid", p->dir);
	set("RABBITMQ_GENERATED_CONFIG_DIR", "%s/generated", p->dir);
	/* So that the start script becomes the broker instead of its parent, and it dies with us. */
	set("detached", "1");
}

/* Its output goes to a file of @p->dir. */
static pid_t start(const struct program *p, const char *log, char *const *words)
{
	char *path = program_path(p, "", log);
	pid_t parent = getpid(), pid = fork();
	int in, out;

	if (pid < 0)
		program_fail("cannot start %s: %s", words[0], strerror(errno));
	if (pid) {
		free(path);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	in = open("/dev/null", O_RDONLY);
	out = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (getppid() == parent && in >= 0 && out >= 0 && dup2(in, STDIN_FILENO) >= 0 &&
	    dup2(out, STDOUT_FILENO) >= 0 && dup2(out, STDERR_FILENO) >= 0)
		execvp(words[0], words);
	_exit(127);
}

static bool answers(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool yes = fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof(a));

	if (fd >= 0)
		close(fd);
	return yes;
}

/* It listens when all else is up. */
static void await_broker(const struct program *p, struct rabbitmq_broker *b)
{
	struct timespec pause = { .tv_nsec = 20000000 };

	for (int left = PROGRAM_PREPARE_S * 50; !answers(b->port); left--) {
		if (waitpid(b->server, NULL, WNOHANG) == b->server) {
			b->server = 0;
			program_fail("the broker ended; see %s/server.out", p->dir);
		}
		if (!left)
			program_fail("the broker did not answer within %d s",
				     PROGRAM_PREPARE_S);
		nanosleep(&pause, NULL);
	}
}

void rabbitmq_start(struct program *p, struct rabbitmq_broker *b)
{
	int epmd = free_port();
	char port[16];

	if (access(SERVER, X_OK))
		program_fail("no %s; Debian has it in rabbitmq-server", SERVER);
	snprintf(port, sizeof(port), "%d", epmd);
	b->port = free_port();
	configure(p, b);
	set_environment(p, epmd, free_port());
	/* Started by the broker, it would be a daemon that outlives it. */
	b->epmd = start(p, "epmd.out", (char *[]){ "epmd", "-port", port, NULL });
	while (!answers(epmd))
		usleep(1000);
	b->server = start(p, "server.out", (char *[]){ SERVER, NULL });
	await_broker(p, b);
}

static void stop(pid_t *pid)
{
	if (*pid <= 0)
		return;
	kill(*pid, SIGKILL);
	waitpid(*pid, NULL, 0);
	*pid = 0;
}

void rabbitmq_stop(struct rabbitmq_broker *b)
{
	stop(&b->server);
	stop(&b->epmd);
}

/* --------------------------------------------------------- connections --- */

static void check(int status, const char *what)
{
	if (status < 0)
		program_fail("%s: %s", what, amqp_error_string2(status));
}

static void check_reply(amqp_rpc_reply_t reply, const char *what)
{
	if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
		program_fail("%s: %s", what, amqp_error_string2(reply.library_error));
	if (reply.reply_type != AMQP_RESPONSE_NORMAL)
		program_fail("%s: the broker refuses it", what);
}

amqp_connection_state_t rabbitmq_connect(int port)
{
	amqp_connection_state_t c = amqp_new_connection();
	amqp_socket_t *socket = c ? amqp_tcp_socket_new(c) : NULL;

	if (!socket)
		program_fail("no memory for a connection");
	check(amqp_socket_open(socket, "127.0.0.1", port), "connecting to the broker");
	/* No heartbeat: nobody would send it between two commands. */
	check_reply(amqp_login(c, "/", 0, AMQP_DEFAULT_FRAME_SIZE, 0, AMQP_SASL_METHOD_PLAIN,
			       "guest", "guest"), "logging in");
	amqp_channel_open(c, RABBITMQ_CHANNEL);
	check_reply(amqp_get_rpc_reply(c), "opening a channel");
	return c;
}

void rabbitmq_queue(amqp_connection_state_t c, const char *name)
{
	amqp_queue_declare(c, RABBITMQ_CHANNEL, amqp_cstring_bytes(name), 0, 0, 0, 0,
			   amqp_empty_table);
	check_reply(amqp_get_rpc_reply(c), "making a queue");
}

void rabbitmq_consume(amqp_connection_state_t c, const char *queue, unsigned int prefetch)
{
	amqp_basic_qos(c, RABBITMQ_CHANNEL, 0, (uint16_t)(prefetch < 65535 ? prefetch : 65535), 0);
	check_reply(amqp_get_rpc_reply(c), "setting the prefetch count");
	amqp_basic_consume(c, RABBITMQ_CHANNEL, amqp_cstring_bytes(queue), amqp_empty_bytes, 0, 0,
			   0, amqp_empty_table);
	check_reply(amqp_get_rpc_reply(c), "consuming");
}

void rabbitmq_publish(amqp_connection_state_t c, const char *queue, void *data, size_t size)
{
	amqp_basic_properties_t properties = { ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG,
					       .delivery_mode = AMQP_DELIVERY_NONPERSISTENT };
	amqp_bytes_t body = { .len = size, .bytes = data };

	check(amqp_basic_publish(c, RABBITMQ_CHANNEL, amqp_empty_bytes, amqp_cstring_bytes(queue),
				 0, 0, &properties, body), "publishing");
}

static amqp_frame_t await_frame(amqp_connection_state_t c, uint8_t type)
{
	amqp_frame_t frame;

	check(amqp_simple_wait_frame(c, &frame), "waiting for the broker");
	if (frame.frame_type != type)
		program_fail("the broker sent a frame of type %u instead of %u", frame.frame_type,
			     type);
	return frame;
}

void *rabbitmq_await_method(amqp_connection_state_t c, amqp_method_number_t id)
{
	amqp_frame_t frame = await_frame(c, AMQP_FRAME_METHOD);

	if (frame.payload.method.id != id)
		program_fail("the broker sent %s instead of %s",
			     amqp_method_name(frame.payload.method.id), amqp_method_name(id));
	return frame.payload.method.decoded;
}

size_t rabbitmq_receive(amqp_connection_state_t c, void *data, size_t room, uint64_t *tag,
			bool *again)
{
	amqp_basic_deliver_t *deliver;
	size_t size, have = 0;

	amqp_maybe_release_buffers(c);
	deliver = rabbitmq_await_method(c, AMQP_BASIC_DELIVER_METHOD);
	*tag = deliver->delivery_tag;
	if (again)
		*again = deliver->redelivered;
	size = await_frame(c, AMQP_FRAME_HEADER).payload.properties.body_size;
	if (size > room)
		program_fail("a message has %zu bytes, there is room for %zu", size, room);
	while (have < size) {
		amqp_bytes_t part = await_frame(c, AMQP_FRAME_BODY).payload.body_fragment;

		if (part.len > size - have)
			program_fail("a message has more than the %zu bytes that it says", size);
		memcpy((char *)data + have, part.bytes, part.len);
		have += part.len;
	}
	return size;
}

void rabbitmq_ack(amqp_connection_state_t c, uint64_t tag)
{
	check(amqp_basic_ack(c, RABBITMQ_CHANNEL, tag, 0), "acknowledging");
}
