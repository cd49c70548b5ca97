// SPDX-License-Identifier: MIT
/*
 * balance.c - who of several workers gets a message, chosen by the stage and changed as it runs
 *
 *	insmod sluice.ko
 *	balance
 *
 * Three workers, the last one four times as slow. In turn, each gets a third, and the slow one holds
 * everybody up; by outstanding messages it gets fewer; streams stay where they are by affinity. The
 * policy changes between two messages, and nothing is lost.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sluice/sluice.h>

#define STAGE	"example.balance"
#define WORKERS	3u
#define EACH	90u		/* messages under each policy */

#define MUST(call)	do { if (call) errx(1, "%s: %s", #call, sluice_error()); } while (0)

static int worker(unsigned int number)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	struct sluice_msg msg;
	int err;

	MUST(sluice_ctx_create(SLUICE_CTX_NO_SPIN, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_CONSUMER, 0, &in));
	while (!(err = sluice_claim(in, &msg, SLUICE_FOREVER))) {
		usleep(number == WORKERS - 1 ? 4000 : 1000);
		MUST(sluice_ack(in, &msg));
	}
	sluice_ctx_destroy(ctx);
	return err != -ESHUTDOWN;
}

/* How many each worker has acknowledged, in the order of attaching. Returns the sum. */
static uint64_t acked(uint64_t by[WORKERS])
{
	struct sluice_endpoint_info e = { .index = 0 };
	uint64_t sum = 0;

	for (unsigned int n = 0; n < WORKERS && !sluice_endpoint(STAGE, &e); e.index++) {
		if (e.role != SLUICE_CONSUMER)
			continue;
		by[n++] = e.counters.acked;
		sum += e.counters.acked;
	}
	return sum;
}

static void run(struct sluice_ep *out, enum sluice_policy policy)
{
	uint64_t before[WORKERS], after[WORKERS], all = acked(before);

	MUST(sluice_set_policy(STAGE, policy));
	for (unsigned int i = 0; i < EACH; i++) {
		struct sluice_msg msg = {
			.stream = i % 7, .counter = i, .buffer = SLUICE_NO_BUFFER,
		};

		MUST(sluice_send(out, &msg, SLUICE_FOREVER));
		usleep(500);
	}
	while (acked(after) < all + EACH)
		usleep(1000);
	printf("%-18s", sluice_policy_name(policy));
	for (unsigned int i = 0; i < WORKERS; i++)
		printf(" %3llu", (unsigned long long)(after[i] - before[i]));
	printf("\n");
}

int main(void)
{
	struct sluice_create stage = { .name = STAGE, .nslots = 256 };
	struct sluice_info info = { .size = 0 };
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	int status, bad = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	MUST(sluice_create(&stage));
	for (unsigned int i = 0; i < WORKERS; i++) {
		if (!fork())
			_exit(worker(i));
		do	/* one after the other, so that the slow one is the last */
			MUST(sluice_info(STAGE, &info));
		while (info.consumers <= i);
	}
	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_PRODUCER, 0, &out));
	run(out, SLUICE_POLICY_ROUND_ROBIN);
	run(out, SLUICE_POLICY_LEAST_OUTSTANDING);
	run(out, SLUICE_POLICY_WEIGHTED);
	run(out, SLUICE_POLICY_AFFINITY);
	run(out, SLUICE_POLICY_SHARED);
	sluice_ctx_destroy(ctx);
	MUST(sluice_destroy(STAGE, 1000, SLUICE_DESTROY_FORCE));
	while (wait(&status) > 0)
		bad |= status;
	return bad;
}
