// SPDX-License-Identifier: MIT
/*
 * health.c - how a stage is, from facts, without asking anybody who works there
 *
 *	insmod sluice.ko
 *	health
 *
 * The kernel knows who is attached and how old the oldest message is; nobody sends heartbeats that
 * could lie or be late. A stage is idle, then has messages and nobody to take them, then somebody who
 * took one and does nothing with it (stopped by SIGSTOP), then is live again.
 */
#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sluice/sluice.h>

#define STAGE	"example.health"

#define MUST(call)	do { if (call) errx(1, "%s: %s", #call, sluice_error()); } while (0)

static const char *const names[] = {
	[SLUICE_LIVE] = "live", [SLUICE_NO_CONSUMER] = "no consumer", [SLUICE_STALLED] = "stalled",
	[SLUICE_IDLE] = "idle", [SLUICE_CLOSING] = "closing",
};

static int worker(void)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	struct sluice_msg msg;

	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_CONSUMER, 0, &in));
	MUST(sluice_claim(in, &msg, SLUICE_FOREVER));
	raise(SIGSTOP);
	sluice_ack(in, &msg);		/* late, perhaps: then it is to be had once more */
	while (!sluice_claim(in, &msg, SLUICE_FOREVER))
		MUST(sluice_ack(in, &msg));
	return 0;
}

/* Waits until it is as expected, and says what else is known. */
static void expect(enum sluice_health health)
{
	struct sluice_info info = { .size = 0 };

	do {
		usleep(10000);
		MUST(sluice_info(STAGE, &info));
	} while (info.health != health);
	printf("%-12s %u producers, %u consumers, %u ready, %u claimed\n", names[health],
	       info.producers, info.consumers, info.ready, info.claimed);
}

int main(void)
{
	/* A worker that has not moved for 200 ms is taken for stuck. */
	struct sluice_create stage = { .name = STAGE, .nslots = 64, .ack_timeout_ms = 200 };
	struct sluice_msg msg = { .counter = 1, .buffer = SLUICE_NO_BUFFER };
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	pid_t child;

	setvbuf(stdout, NULL, _IOLBF, 0);
	MUST(sluice_create(&stage));
	expect(SLUICE_IDLE);
	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_PRODUCER, 0, &out));
	expect(SLUICE_LIVE);
	MUST(sluice_send(out, &msg, SLUICE_NOW));
	expect(SLUICE_NO_CONSUMER);
	child = fork();
	if (!child)
		_exit(worker());
	expect(SLUICE_STALLED);
	kill(child, SIGCONT);
	expect(SLUICE_LIVE);
	/* Consumers read the same without a system call. */
	printf("hints        %u producers, %u consumers\n", sluice_hints(out)->producers,
	       sluice_hints(out)->consumers);
	sluice_ctx_destroy(ctx);
	expect(SLUICE_LIVE);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	expect(SLUICE_IDLE);
	MUST(sluice_destroy(STAGE, 1000, SLUICE_DESTROY_FORCE));
	return 0;
}
