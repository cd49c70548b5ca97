// SPDX-License-Identifier: MIT
/*
 * broadcast.c - one message for everybody: new weights are announced to three replicas
 *
 *	insmod sluice.ko
 *	broadcast
 *
 * Three children are consumers of one stage. Each gets both announcements, reads the same buffer, and
 * acknowledges; the parent waits until all of them have. Then one dies, and holds up nobody.
 */
#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sluice/sluice.h>

#define STAGE		"example.broadcast"
#define REPLICAS	3

#define MUST(call)	do { if (call) errx(1, "%s: %s", #call, sluice_error()); } while (0)

static void replica(int number, int ready)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	struct sluice_msg msg;

	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_CONSUMER, 0, &in));
	if (write(ready, "r", 1) != 1)
		err(1, "pipe");
	while (!sluice_claim(in, &msg, SLUICE_FOREVER)) {
		/* the second one dies of the second message */
		if (number == 2 && msg.counter == 2)
			raise(SIGKILL);
		printf("replica %d: %.*s (sequence number %llu)\n", number, (int)msg.len,
		       (const char *)msg.data, (unsigned long long)msg.ticket);
		fflush(stdout);
		MUST(sluice_ack(in, &msg));
		if (msg.flags & SLUICE_MSG_LAST)
			break;
	}
	sluice_ctx_destroy(ctx);
	_exit(0);
}

int main(void)
{
	static const char *const news[] = { "weights 1 are there", "weights 2 are there" };
	struct sluice_create c = { .name = STAGE, .nslots = 64, .policy = SLUICE_POLICY_BROADCAST };
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	char byte[REPLICAS];
	int ready[2], i, n;

	MUST(sluice_create(&c));
	if (pipe(ready))
		err(1, "pipe");
	for (i = 1; i <= REPLICAS; i++)
		if (!fork())
			replica(i, ready[1]);
	for (n = 0; n < REPLICAS; n++)
		if (read(ready[0], byte, 1) != 1)
			err(1, "pipe");
	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_PRODUCER, 0, &out));
	for (i = 0; i < 2; i++) {
		struct sluice_msg msg = {
			.data = news[i], .len = (uint32_t)strlen(news[i]), .counter = (uint64_t)i + 1,
			.flags = i ? SLUICE_MSG_LAST : 0, .buffer = SLUICE_NO_BUFFER,
		};

		/* back when everybody who lives has acknowledged */
		MUST(sluice_send_sync(out, &msg, SLUICE_FOREVER));
		printf("all have: %s\n", news[i]);
		fflush(stdout);
	}
	while (wait(NULL) > 0)
		;
	sluice_ctx_destroy(ctx);
	MUST(sluice_destroy(STAGE, 0, 0));
	return 0;
}
