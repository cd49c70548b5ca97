// SPDX-License-Identifier: MIT
/*
 * batch.c - messages go out in runs, none later than a bound; they are worked in batches
 *
 *	insmod sluice.ko
 *	batch
 *
 * The child sends 20 numbers in runs of 8, and the last 4 because 5 ms are over. The parent waits
 * for 8 numbers, or 50 ms after the first, and adds up what it has.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sluice/batch.h>
#include <sluice/sluice.h>

#define STAGE	"example.batch"
#define NUMBERS	20u
#define RUN	8
#define MS	1000000ll

#define MUST(call)	do { if (call) errx(1, "%s: %s", #call, sluice_error()); } while (0)

/* What a loop does that has other things to wait for: it comes back in time. */
static void rest(int64_t ns)
{
	struct timespec t = { .tv_sec = ns / (1000 * MS), .tv_nsec = ns % (1000 * MS) };

	nanosleep(&t, NULL);
}

static int sender(void)
{
	struct sluice_batch *batch;
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	int n;

	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_PRODUCER, 0, &out));
	MUST(sluice_batch_create(out, RUN, 5 * MS, &batch));
	for (uint64_t i = 1; i <= NUMBERS; i++) {
		struct sluice_msg m = { .counter = i, .data = &i, .len = sizeof(i),
					.buffer = SLUICE_NO_BUFFER };

		n = sluice_batch_add(batch, &m);
		MUST(n < 0);
		if (n)
			printf("sent      %d: full, or overdue\n", n);
	}
	while (sluice_batch_count(batch)) {
		rest(sluice_batch_deadline(batch));
		n = sluice_batch_poll(batch);
		MUST(n < 0);
		if (n)
			printf("sent      %d: overdue\n", n);
	}
	sluice_batch_free(batch);
	sluice_ctx_destroy(ctx);
	return 0;
}

static uint64_t receive(struct sluice_ep *in)
{
	struct sluice_msg m[RUN];
	uint64_t sum = 0, got = 0;

	while (got < NUMBERS) {
		int n = sluice_batch_claim(in, m, RUN, SLUICE_FOREVER, 50 * MS);

		MUST(n < 0);
		for (int i = 0; i < n; i++) {
			uint64_t number;

			memcpy(&number, m[i].data, sizeof(number));
			sum += number;
		}
		MUST(sluice_ack_batch(in, m, n) != n);
		printf("received  %d at once\n", n);
		got += (uint64_t)n;
	}
	return sum;
}

int main(void)
{
	struct sluice_create stage = { .name = STAGE, .nslots = 64 };
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	uint64_t sum;
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	MUST(sluice_create(&stage));
	if (!fork())
		_exit(sender());
	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_CONSUMER, 0, &in));
	sum = receive(in);
	printf("the sum of 1 to %u is %u\n", NUMBERS, (unsigned int)sum);
	sluice_ctx_destroy(ctx);
	wait(&status);
	MUST(sluice_destroy(STAGE, 0, 0));
	return status || sum != NUMBERS * (NUMBERS + 1) / 2;
}
