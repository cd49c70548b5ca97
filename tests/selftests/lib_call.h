/* SPDX-License-Identifier: MIT */
/* lib_call.h: a stage that serves calls, and both ends of them. */
#ifndef SLUICE_TEST_LIB_CALL_H
#define SLUICE_TEST_LIB_CALL_H

#include <sys/prctl.h>

#include <sluice/call.h>

#include "lib_common.h"
#include "envelope.h"

#define LONG	(30 * SECOND)
#define SHORT	(20 * MS)
#define BUFSIZE	8192u

/* The byte at @i of message @n: neither one is like another. */
static inline char byte_of(uint64_t n, uint32_t i)
{
	return (char)((n * 40503u + i * 2654435761u) >> 9);
}

static inline struct sluice_msg numbered(char *room, uint64_t n, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		room[i] = byte_of(n, i);
	return (struct sluice_msg) {
		.stream = 77, .counter = n, .kind = 5, .data = room, .len = len,
		.buffer = SLUICE_NO_BUFFER,
	};
}

static inline bool is_numbered(const void *data, uint32_t len, uint64_t n, uint32_t expected)
{
	for (uint32_t i = 0; i < len; i++)
		if (((const char *)data)[i] != byte_of(n, i))
			return false;
	return len == expected;
}

/* The request comes back, with its counter as the reply's. */
static inline int echo(struct sluice_server *server, const struct sluice_request *r)
{
	static char room[BUFSIZE];
	struct sluice_msg m = {
		.counter = r->msg.counter, .kind = 6, .data = room, .len = r->len,
		.buffer = SLUICE_NO_BUFFER,
	};

	memcpy(room, r->data, r->len);
	return sluice_reply(server, r, &m);
}

/* A server in a process of its own; it dies with its parent. Returns its pid. */
static inline pid_t start_server(const char *stage, unsigned int ctx_flags)
{
	struct sluice_server *server;
	struct sluice_request r;
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHILD_EXPECT(!sluice_ctx_create(ctx_flags, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_CONSUMER, 0, &in));
	CHILD_EXPECT(!sluice_server_create(in, &server));
	for (;;) {
		CHILD_EXPECT(!sluice_serve(server, &r, SLUICE_FOREVER));
		CHILD_EXPECT(echo(server, &r) >= 0);
	}
}

static inline void stop_server(pid_t pid)
{
	kill(pid, SIGKILL);
	child_status(pid);
}

/* A reply as a server would send it, whoever waits for it. */
static inline int send_raw_reply(struct sluice_ep *to, uint64_t call, const char *data)
{
	struct reply_envelope e = {
		.magic = ENVELOPE_REPLY, .version = ENVELOPE_VERSION, .call = call,
	};
	char room[SLUICE_INLINE_MAX];
	struct sluice_msg m = {
		.data = room, .len = (uint32_t)(sizeof(e) + strlen(data)),
		.buffer = SLUICE_NO_BUFFER,
	};

	memcpy(room, &e, sizeof(e));
	memcpy(room + sizeof(e), data, strlen(data));
	return sluice_send(to, &m, LONG);
}

#endif /* SLUICE_TEST_LIB_CALL_H */
