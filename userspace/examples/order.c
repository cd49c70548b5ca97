// SPDX-License-Identifier: MIT
/*
 * order.c - two workers, one of which dies; the end of the pipe sees each stream in order, once
 *
 *	insmod sluice.ko
 *	order
 *
 * The parent sends two streams of 12 messages to the stage of the workers and reads what comes out
 * of the second stage. Workers take runs and work them backwards, so that nothing is in order; one
 * dies between result and acknowledgement, so that a result comes twice; message 7 of stream 2 is
 * refused for good, so that one never comes.
 */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sluice/order.h>
#include <sluice/sluice.h>

#define FIRST		"example.order"
#define SECOND		"example.order.end"
#define MESSAGES	12u

#define MUST(call)	do { if (call) errx(1, "%s: %s", #call, sluice_error()); } while (0)

static void work(struct sluice_ep *in, struct sluice_ep *out, struct sluice_msg *m)
{
	struct sluice_msg result = *m;		/* the same stream, counter and marks */

	if (m->stream == 2 && m->counter == 7) {
		MUST(sluice_nack(in, m, EBADMSG, 0, SLUICE_NACK_DEAD));
		return;
	}
	result.buffer = SLUICE_NO_BUFFER;
	MUST(sluice_post(out, &result) < 0);
	if (m->stream == 1 && m->counter == 3 && m->attempt == 1)
		raise(SIGKILL);		/* its result is out, its input not acknowledged */
	MUST(sluice_ack(in, m));
}

static int worker(void)
{
	struct sluice_msg m[4];
	struct sluice_ctx *ctx;
	struct sluice_ep *in, *out;
	int n;

	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, FIRST, SLUICE_CONSUMER, 0, &in));
	MUST(sluice_attach(ctx, SECOND, SLUICE_PRODUCER, 0, &out));
	while ((n = sluice_claim_batch(in, m, 4, SLUICE_FOREVER)) > 0)
		while (n--)
			work(in, out, &m[n]);
	return 0;
}

/* A dead letter leaves a tombstone in the window, which then does not wait for it. */
static void read_letters(struct sluice_ep *letters, struct sluice_order *order)
{
	struct sluice_dead_letter letter;
	struct sluice_msg m;

	if (sluice_claim(letters, &m, SLUICE_NOW))
		return;
	memcpy(&letter, m.data, sizeof(letter));
	MUST(sluice_order_dead(order, m.stream, m.counter, (int)letter.reason));
	MUST(sluice_ack(letters, &m));
}

static void receive(struct sluice_ep *in, struct sluice_ep *letters)
{
	struct sluice_order_options opt = { .streams = 16, .window = 64 };
	struct sluice_order *order;
	struct sluice_delivery d;

	MUST(sluice_order_create(&opt, &order));
	for (unsigned int n = 0; n < 2 * MESSAGES; n++) {
		while (sluice_order_claim(order, in, &d, 20000000))
			read_letters(letters, order);
		if (d.missing)
			printf("stream %d: %2d is missing: %s\n", (int)d.msg.stream,
			       (int)d.msg.counter, strerror(d.reason));
		else
			printf("stream %d: %2d\n", (int)d.msg.stream, (int)d.msg.counter);
	}
	/* The copy of what the dead worker had published comes, too, sooner or later. */
	while (!sluice_order_stats(order)->copies)
		sluice_order_claim(order, in, &d, 20000000);
	printf("%d came early, %d copies were dropped\n", (int)sluice_order_stats(order)->early,
	       (int)sluice_order_stats(order)->copies);
	sluice_order_free(order);
}

int main(void)
{
	struct sluice_create first = { .name = FIRST, .nslots = 64, .dead_slots = 64 };
	struct sluice_create second = { .name = SECOND, .nslots = 64 };
	struct sluice_ep *out, *in, *letters;
	struct sluice_ctx *ctx;
	pid_t pid[2];

	setvbuf(stdout, NULL, _IOLBF, 0);
	MUST(sluice_create(&first));
	MUST(sluice_create(&second));
	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, FIRST, SLUICE_PRODUCER, 0, &out));
	MUST(sluice_attach(ctx, SECOND, SLUICE_CONSUMER, 0, &in));
	MUST(sluice_attach(ctx, FIRST ".dead", SLUICE_CONSUMER, 0, &letters));
	for (unsigned int i = 0; i < 2 * MESSAGES; i++) {
		struct sluice_msg m = { .stream = 1 + i % 2, .counter = i / 2,
					.buffer = SLUICE_NO_BUFFER };

		m.flags = m.counter ? 0 : SLUICE_MSG_OPEN;
		m.flags |= m.counter == MESSAGES - 1 ? SLUICE_MSG_LAST : 0;
		MUST(sluice_send(out, &m, SLUICE_NOW));
	}
	for (int i = 0; i < 2; i++) {
		pid[i] = fork();
		if (!pid[i])
			_exit(worker());
	}
	receive(in, letters);
	for (int i = 0; i < 2; i++)
		kill(pid[i], SIGKILL);
	while (wait(NULL) > 0)
		;
	sluice_ctx_destroy(ctx);
	MUST(sluice_destroy(FIRST, 0, 0));
	MUST(sluice_destroy(SECOND, 0, 0));
	return 0;
}
