// SPDX-License-Identifier: MIT
/*
 * route.c - a stage that sends each message on by what it is
 *
 *	insmod sluice.ko
 *	route
 *
 * The child is the router: it takes what comes into the inbox, asks the rules, and publishes the
 * message in the stage that they name before it acknowledges it. The parent sends a short text, a
 * long one, a picture and a request for another model, and looks where each has come.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sluice/route.h>

#define INBOX	"example.inbox"
#define RULES	"model big* -> example.big;"		\
		"type image -> example.eyes;"		\
		"length > 4K -> example.slow;"		\
		"default -> example.fast"

#define MUST(call)	do { if (call) errx(1, "%s: %s", #call, sluice_error()); } while (0)

static const char *const stages[] = {
	"example.big", "example.eyes", "example.slow", "example.fast", INBOX,
};

#define LAST (sizeof(stages) / sizeof(stages[0]) - 1)	/* the inbox */

/* Nobody waits for room while it holds a message: what finds none is given back, and comes again. */
static void forward(struct sluice_ep *in, const struct sluice_msg *msg, struct sluice_ep *out)
{
	struct sluice_msg copy = {
		.stream = msg->stream, .counter = msg->counter, .kind = msg->kind,
		.len = msg->len,
	};
	struct sluice_buffer buf;

	if (sluice_buffer_take(out, &buf, 100000000)) {
		sluice_nack(in, msg, EBUSY, 10, SLUICE_NACK_BUSY);
		return;
	}
	memcpy(buf.data, msg->data, msg->len);
	copy.buffer = buf.index;
	if (!sluice_holds(in, msg)) {		/* too slow: somebody else has it */
		sluice_buffer_drop(out, &buf);
		return;
	}
	if (sluice_post(out, &copy) < 0)
		errx(1, "%s", sluice_error());
	sluice_ack(in, msg);
}

static int router(int messages)
{
	struct sluice_routes routes = { .n = 0 };
	struct sluice_ep *in, *out[SLUICE_ROUTE_STAGES];
	struct sluice_facts facts;
	struct sluice_ctx *ctx;
	struct sluice_msg msg;

	MUST(sluice_routes_parse(&routes, RULES));
	MUST(sluice_ctx_create(0, &ctx));
	for (unsigned int i = 0; i < routes.nstages; i++)
		MUST(sluice_attach(ctx, routes.stage[i], SLUICE_PRODUCER, 0, &out[i]));
	MUST(sluice_attach(ctx, INBOX, SLUICE_CONSUMER, 0, &in));
	while (messages--) {
		MUST(sluice_claim(in, &msg, SLUICE_FOREVER));
		MUST(sluice_facts_read(&msg, &facts));
		forward(in, &msg, out[routes.rule[sluice_routes_match(&routes, &facts)].to[0]]);
	}
	sluice_ctx_destroy(ctx);
	return 0;
}

static void send_all(struct sluice_ep *out)
{
	static unsigned char pixels[64 * 64 * 3];
	static char text[10000];
	struct sluice_tensor picture = {
		.modality = SLUICE_MODALITY_IMAGE, .dtype = SLUICE_DTYPE_U8,
		.rank = 3, .shape = { 64, 64, 3 },
	};
	struct sluice_label label = { .model = "big-70b" };
	struct sluice_msg msg = { .stream = 1, .data = "a short text", .len = 12,
				  .buffer = SLUICE_NO_BUFFER };
	char ask[SLUICE_LABEL_BYTES + 5];
	void *payload;

	MUST(sluice_send(out, &msg, SLUICE_FOREVER));
	msg = (struct sluice_msg){ .stream = 2, .data = text, .len = sizeof(text),
				   .buffer = SLUICE_NO_BUFFER };
	MUST(sluice_send(out, &msg, SLUICE_FOREVER));
	msg = (struct sluice_msg){ .stream = 3 };
	MUST(sluice_tensor_send(out, &msg, &picture, pixels, SLUICE_FOREVER));
	MUST(sluice_label_begin(ask, sizeof(ask), &label, &payload));
	memcpy(payload, "hello", 5);
	msg = (struct sluice_msg){ .stream = 4, .data = ask, .len = sizeof(ask),
				   .buffer = SLUICE_NO_BUFFER };
	MUST(sluice_send(out, &msg, SLUICE_FOREVER));
}

int main(void)
{
	struct sluice_create stage = { .nslots = 64, .nbufs = 8, .bufsize = 1u << 16 };
	struct sluice_ep *out, *end;
	struct sluice_ctx *ctx;
	struct sluice_msg msg;
	int status, wrong = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned int i = 0; i <= LAST; i++) {
		strcpy(stage.name, stages[i]);
		MUST(sluice_create(&stage));
	}
	if (!fork())
		_exit(router(4));
	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, INBOX, SLUICE_PRODUCER, 0, &out));
	send_all(out);
	for (unsigned int i = 0; i < LAST; i++) {
		MUST(sluice_attach(ctx, stages[i], SLUICE_CONSUMER, 0, &end));
		MUST(sluice_claim(end, &msg, SLUICE_FOREVER));
		printf("%-13s got message %llu, %u bytes\n", stages[i],
		       (unsigned long long)msg.stream, msg.len);
		wrong += msg.stream != LAST - i;
		MUST(sluice_ack(end, &msg));
	}
	sluice_ctx_destroy(ctx);
	wait(&status);
	for (unsigned int i = 0; i <= LAST; i++)
		MUST(sluice_destroy(stages[i], 0, 0));
	return wrong || status;
}
