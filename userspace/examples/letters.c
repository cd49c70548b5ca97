// SPDX-License-Identifier: MIT
/*
 * letters.c - why messages died, told without taking the letters
 *
 *	insmod sluice.ko
 *	letters
 *
 * The child sends three messages and learns from each completion what became of it. The parent takes
 * one and refuses two, for different reasons; then it reads the dead letters as a reporter does, by
 * sluice_peek(): they are still there afterwards, for `sluicectl dead list`.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sluice/peek.h>
#include <sluice/sluice.h>

#define STAGE	"example.letters"

#define MUST(call)	do { if (call) errx(1, "%s: %s", #call, sluice_error()); } while (0)

static const char *const texts[] = { "fine", "too long for us", "not for us" };
static const int reasons[] = { 0, E2BIG, EPROTOTYPE };

static int sender(void)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	int wrong = 0;

	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_PRODUCER, 0, &out));
	for (unsigned int i = 0; i < 3; i++) {
		struct sluice_msg msg = {
			.stream = 7, .counter = i, .data = texts[i], .buffer = SLUICE_NO_BUFFER,
			.len = (uint32_t)strlen(texts[i]) + 1,
		};
		int ret = sluice_send_sync(out, &msg, SLUICE_FOREVER);

		printf("sent     '%s': %s\n", texts[i], ret ? strerror(-ret) : "acknowledged");
		wrong += ret != -reasons[i];
	}
	sluice_ctx_destroy(ctx);
	return wrong;
}

static void serve(struct sluice_ep *in)
{
	struct sluice_msg msg;

	for (unsigned int i = 0; i < 3; i++) {
		MUST(sluice_claim(in, &msg, SLUICE_FOREVER));
		if (reasons[i])
			MUST(sluice_nack(in, &msg, reasons[i], 0, SLUICE_NACK_DEAD));
		else
			MUST(sluice_ack(in, &msg));
	}
}

/* Returns how many there were. */
static int report(struct sluice_ctx *ctx)
{
	struct sluice_dead_letter letter;
	struct sluice_ep *dead;
	struct sluice_msg msg;
	char copy[256];
	int n = 0;

	MUST(sluice_attach(ctx, STAGE ".dead", SLUICE_CONSUMER, 0, &dead));
	for (; !sluice_peek(dead, &msg, copy, sizeof(copy)); n++) {
		memcpy(&letter, copy, sizeof(letter));
		printf("dead     '%s': stream %llu, counter %llu, attempt %u, %s\n",
		       copy + sizeof(letter), (unsigned long long)msg.stream,
		       (unsigned long long)msg.counter, letter.attempts,
		       strerror((int)letter.reason));
	}
	sluice_detach(dead);
	return n;
}

int main(void)
{
	struct sluice_create stage = { .name = STAGE, .nslots = 64, .dead_slots = 16 };
	struct sluice_info info = { .size = 0 };
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	int status, letters;

	setvbuf(stdout, NULL, _IOLBF, 0);
	MUST(sluice_create(&stage));
	if (!fork())
		_exit(sender());
	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_CONSUMER, 0, &in));
	serve(in);
	wait(&status);
	letters = report(ctx);
	MUST(sluice_info(STAGE ".dead", &info));
	printf("and %u letters are still there\n", info.ready);
	sluice_ctx_destroy(ctx);
	/* io_uring lets go of what a process had a moment after its end. */
	MUST(sluice_destroy(STAGE, 1000, SLUICE_DESTROY_FORCE));
	return status || letters != 2 || info.ready != 2;
}
