// SPDX-License-Identifier: MIT
/*
 * point_to_point.c - one sender, one receiver: a few bytes in the slot, many in a payload buffer
 *
 *	insmod sluice.ko
 *	point_to_point
 *
 * The child receives. The parent sends a word, which is copied into the slot, and then a text that
 * it writes where the child will read it: nothing is copied. The child acknowledges each when it is
 * done with it; what it had not acknowledged would go to another receiver if it died.
 */
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sluice/sluice.h>

#define STAGE	"example.point"
#define LINES	10000u

#define MUST(call)	do { if (call) errx(1, "%s: %s", #call, sluice_error()); } while (0)

static int receiver(void)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	struct sluice_msg msg;
	bool mine;

	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_CONSUMER, 0, &in));
	for (int i = 0; i < 2; i++) {
		MUST(sluice_claim(in, &msg, SLUICE_FOREVER));
		printf("got %u bytes in the %s: %.5s...\n", msg.len,
		       msg.buffer == SLUICE_NO_BUFFER ? "slot" : "buffer",
		       (const char *)msg.data);
		/* Was it ours to the end, or were we so slow that somebody else has it? */
		mine = sluice_holds(in, &msg);
		if (!mine || sluice_ack(in, &msg))
			return 1;
	}
	sluice_ctx_destroy(ctx);
	return 0;
}

int main(void)
{
	struct sluice_create stage = {
		.name = STAGE, .nslots = 64, .nbufs = 4, .bufsize = LINES * 6,
	};
	struct sluice_msg word = {
		.data = "hello", .len = sizeof("hello"), .buffer = SLUICE_NO_BUFFER,
	};
	struct sluice_msg text = { .len = LINES * 6 };
	struct sluice_buffer buf;
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	MUST(sluice_create(&stage));
	if (!fork())
		_exit(receiver());
	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_PRODUCER, 0, &out));
	MUST(sluice_send(out, &word, SLUICE_FOREVER));

	MUST(sluice_buffer_take(out, &buf, SLUICE_FOREVER));
	for (unsigned int i = 0; i < LINES; i++)
		memcpy((char *)buf.data + i * 6, "water\n", 6);
	text.buffer = buf.index;	/* given over: it is free again after the ACK */
	MUST(sluice_send(out, &text, SLUICE_FOREVER));

	wait(&status);
	sluice_ctx_destroy(ctx);
	MUST(sluice_destroy(STAGE, 1000, SLUICE_DESTROY_FORCE));
	return status;
}
