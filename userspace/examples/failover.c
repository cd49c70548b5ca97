// SPDX-License-Identifier: MIT
/*
 * failover.c - a worker dies with a message in its hands; another one has it a moment later
 *
 *	insmod sluice.ko
 *	failover
 *
 * Two workers. The first takes a message and is killed. Nobody watches and nobody restarts anything:
 * the kernel sees the process end and gives the message to the other worker, who is asleep. It comes
 * with its counter and as attempt 2, so that who has effects outside can look whether they are there.
 */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sluice/sluice.h>

#define STAGE	"example.failover"
#define LAST	9u

#define MUST(call)	do { if (call) errx(1, "%s: %s", #call, sluice_error()); } while (0)

/* Takes the first message and dies of it. */
static int mortal(void)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	struct sluice_msg msg;

	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_CONSUMER, 0, &in));
	MUST(sluice_claim(in, &msg, SLUICE_FOREVER));
	printf("first worker:  has message %u\n", (unsigned int)msg.counter);
	return kill(getpid(), SIGKILL);
}

static int survivor(void)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	struct sluice_msg msg = { .counter = 0 };
	uint64_t seen = 0;

	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_CONSUMER, 0, &in));
	while (seen != (2u << LAST) - 1) {
		MUST(sluice_claim(in, &msg, SLUICE_FOREVER));
		seen |= 1ull << msg.counter;
		if (msg.attempt > 1)
			printf("second worker: has message %u, attempt %u\n",
			       (unsigned int)msg.counter, msg.attempt);
		MUST(sluice_ack(in, &msg));
	}
	printf("second worker: all %u are done\n", LAST + 1);
	sluice_ctx_destroy(ctx);
	return 0;
}

int main(void)
{
	struct sluice_create stage = { .name = STAGE, .nslots = 64 };
	struct sluice_info info = { .size = 0 };
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	pid_t first, second;
	int died, status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	MUST(sluice_create(&stage));
	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_PRODUCER, 0, &out));
	first = fork();
	if (!first)
		_exit(mortal());
	for (unsigned int i = 0; i <= LAST; i++) {
		struct sluice_msg msg = { .counter = i, .buffer = SLUICE_NO_BUFFER };

		MUST(sluice_send(out, &msg, SLUICE_FOREVER));
	}
	waitpid(first, &died, 0);
	second = fork();
	if (!second)
		_exit(survivor());
	waitpid(second, &status, 0);
	MUST(sluice_info(STAGE, &info));
	printf("the stage: %u waiting, %llu given to somebody else\n", info.ready,
	       (unsigned long long)info.redelivered);
	sluice_ctx_destroy(ctx);
	MUST(sluice_destroy(STAGE, 1000, SLUICE_DESTROY_FORCE));
	return !WIFSIGNALED(died) || status || info.ready || info.redelivered != 1;
}
