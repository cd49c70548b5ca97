// SPDX-License-Identifier: MIT
/*
 * async.c - to wait for each acknowledgement, or to go on and learn of them later
 *
 *	insmod sluice.ko
 *	async
 *
 * The child works, each message for 1 ms, and refuses one. The parent sends 10 messages
 * synchronously: each waits for its ACK. Then 50 asynchronously: all are under way at once, and a
 * completion comes for each when it is acknowledged, or says why it will not be.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sluice/sluice.h>

#define STAGE	"example.async"
#define SYNC	10u
#define ASYNC	50u
#define BAD	(SYNC + 33u)

#define MUST(call)	do { if (call) errx(1, "%s: %s", #call, sluice_error()); } while (0)

static int worker(void)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	struct sluice_msg msg;

	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_CONSUMER, 0, &in));
	for (unsigned int i = 0; i < SYNC + ASYNC; i++) {
		MUST(sluice_claim(in, &msg, SLUICE_FOREVER));
		usleep(1000);
		if (msg.counter == BAD)
			MUST(sluice_nack(in, &msg, EDOM, 0, SLUICE_NACK_DEAD));
		else
			MUST(sluice_ack(in, &msg));
	}
	sluice_ctx_destroy(ctx);
	return 0;
}

static struct sluice_msg number(uint64_t n)
{
	return (struct sluice_msg) { .counter = n, .buffer = SLUICE_NO_BUFFER };
}

/* What became of all that are under way. Returns how many were acknowledged. */
static unsigned int collect(struct sluice_ctx *ctx)
{
	struct sluice_completion done[16];
	unsigned int good = 0;
	int n;

	while ((n = sluice_completions(ctx, done, 16, SLUICE_FOREVER)) > 0) {
		for (int i = 0; i < n; i++) {
			if (!done[i].result)
				good++;
			else
				printf("async: message %llu: %s\n",
				       (unsigned long long)done[i].cookie,
				       strerror(-done[i].result));
		}
	}
	return good;
}

int main(void)
{
	struct sluice_create stage = { .name = STAGE, .nslots = 64, .dead_slots = 16 };
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	struct sluice_msg msg;
	unsigned int i, good;
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	MUST(sluice_create(&stage));
	if (!fork())
		_exit(worker());
	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_PRODUCER, 0, &out));
	for (i = 0; i < SYNC; i++) {
		msg = number(i);
		MUST(sluice_send_sync(out, &msg, SLUICE_FOREVER));
	}
	printf("sync:  %u were acknowledged, one after the other\n", i);
	for (; i < SYNC + ASYNC; i++) {
		msg = number(i);
		MUST(sluice_send_async(out, &msg, i));	/* the cookie comes back */
	}
	printf("async: %u are under way\n", ASYNC);
	good = collect(ctx);
	printf("async: %u were acknowledged\n", good);
	wait(&status);
	sluice_ctx_destroy(ctx);
	MUST(sluice_destroy(STAGE, 1000, SLUICE_DESTROY_FORCE));
	return status || good != ASYNC - 1;
}
