// SPDX-License-Identifier: MIT
/*
 * priority.c - a class of messages with room of its own, credits, and a door that says when to come
 *
 *	insmod sluice.ko
 *	priority
 *
 * The child works, each message for 2 ms. The parent floods the low class until its credits are
 * used up; a high message passes all of that. Then it asks at the door whether one more low message
 * would be done within 10 ms, is sent away with a time, and comes again.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sluice/admission.h>
#include <sluice/credit.h>
#include <sluice/lanes.h>

#define STAGE	"example.priority"
#define CREDITS	20u
#define LAST	99u		/* counter of the message that ends the child */

#define MUST(call)	do { if ((call) < 0) errx(1, "%s: %s", #call, sluice_error()); } while (0)

static const char *const classes[] = { "high" };

static void sleep_ns(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };

	nanosleep(&t, NULL);
}

/* Takes from both classes, the high one first, and prints the first few of what it takes. */
static int worker(void)
{
	struct sluice_lanes *in;
	struct sluice_ctx *ctx;
	struct sluice_ep *from;
	struct sluice_msg msg = { .counter = 0 };

	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_lanes_attach(ctx, STAGE, classes, 1, &in));
	for (int n = 0; msg.counter != LAST; n++) {
		MUST(sluice_lanes_claim(in, &msg, &from, SLUICE_FOREVER));
		if (n < 3)
			printf("%s %u\n", sluice_stage_name(from), (unsigned int)msg.counter);
		sleep_ns(2000000);
		MUST(sluice_ack(from, &msg));
	}
	sluice_lanes_detach(in);
	sluice_ctx_destroy(ctx);
	return 0;
}

static struct sluice_msg number(uint64_t n)
{
	return (struct sluice_msg) { .counter = n, .buffer = SLUICE_NO_BUFFER };
}

int main(void)
{
	struct sluice_create plain = { .name = STAGE, .nslots = 64 };
	struct sluice_lane high_lane = { .name = "high" };
	struct sluice_admission_limits limits = { .max_wait_ns = 10000000 };
	struct sluice_admission *door;
	struct sluice_credit *credit;
	struct sluice_ep *high, *low;
	struct sluice_ctx *ctx;
	struct sluice_msg msg;
	unsigned int sent = 0, away = 0;
	uint64_t retry_after_ns;
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	MUST(sluice_lanes_create(&plain, &high_lane, 1));
	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_lane_attach(ctx, STAGE, "high", 0, &high));
	MUST(sluice_lane_attach(ctx, STAGE, NULL, 0, &low));
	MUST(sluice_credit_create(low, CREDITS, &credit));
	MUST(sluice_admission_create(low, &limits, &door));

	for (msg = number(0); !sluice_credit_send(credit, &msg, SLUICE_NOW); msg = number(sent))
		sent++;
	printf("%u of the low class are under way: %s\n", sent, sluice_error());
	msg = number(1);
	MUST(sluice_send(high, &msg, SLUICE_NOW));

	if (!fork())
		_exit(worker());
	/* Let the door see how fast it goes, then ask until there is room. */
	while (sluice_credit_outstanding(credit) > CREDITS / 2) {
		sluice_admit(door, 0, NULL);
		sleep_ns(1000000);
	}
	while (sluice_admit(door, 0, &retry_after_ns) == -EBUSY) {
		if (!away++)
			printf("%s\n", sluice_error());
		sleep_ns(retry_after_ns);
	}
	msg = number(LAST);
	MUST(sluice_credit_send(credit, &msg, SLUICE_FOREVER));
	wait(&status);
	printf("let in after it had been sent away %s\n", away ? "for a while" : "never");
	sluice_admission_free(door);
	sluice_credit_free(credit);
	sluice_ctx_destroy(ctx);
	MUST(sluice_lanes_destroy(STAGE, classes, 1, 0, 0));
	return status || sent != CREDITS || !away;
}
