// SPDX-License-Identifier: MIT
/*
 * call.c - calls: one that waits for its reply, several at a time, one refused, one cancelled
 *
 *	insmod sluice.ko
 *	call
 *
 * The child serves: it answers a word with the word backwards. The parent calls.
 */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sluice/call.h>

#define STAGE	"example.call"
#define SECOND	1000000000ll
#define WORDS	5

#define MUST(call)	do { if (call) errx(1, "%s: %s", #call, sluice_error()); } while (0)

static const char *const words[WORDS] = { "pots", "stressed", "reward", "drawer", "live" };

/* -------------------------------------------------------------- who serves --- */

static int serve(void)
{
	struct sluice_server *server;
	struct sluice_request r;
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	char answer[64];

	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_CONSUMER, 0, &in));
	MUST(sluice_server_create(in, &server));
	for (;;) {
		struct sluice_msg reply = { .data = answer, .buffer = SLUICE_NO_BUFFER };

		MUST(sluice_serve(server, &r, SLUICE_FOREVER));
		if (!r.len || r.len > sizeof(answer)) {
			sluice_reply_error(server, &r, EINVAL, "not a word");
			continue;
		}
		for (uint32_t i = 0; i < r.len; i++)
			answer[i] = ((const char *)r.data)[r.len - 1 - i];
		reply.len = r.len;
		sluice_reply(server, &r, &reply);
	}
}

/* --------------------------------------------------------------- who calls --- */

static struct sluice_msg request(const char *word)
{
	return (struct sluice_msg) {
		.data = word, .len = (uint32_t)strlen(word), .buffer = SLUICE_NO_BUFFER,
	};
}

static void print_reply(const char *how, const char *word, const struct sluice_reply *reply)
{
	printf("%s %s -> %.*s\n", how, word, (int)reply->len, (const char *)reply->data);
}

/* Started in order, collected in whatever order they end. */
static void several(struct sluice_caller *caller, struct sluice_ep *to)
{
	struct sluice_reply reply;
	uint64_t id[WORDS];

	for (int i = 0; i < WORDS; i++) {
		struct sluice_msg m = request(words[i]);

		MUST(sluice_call_start(caller, to, &m, SECOND, &id[i]));
	}
	for (int n = 0; n < WORDS; n++) {
		MUST(sluice_call_wait(caller, SLUICE_CALL_ANY, &reply, SLUICE_FOREVER));
		for (int i = 0; i < WORDS; i++)
			if (id[i] == reply.id)
				print_reply("async:", words[i], &reply);
		sluice_reply_release(caller, &reply);
	}
}

int main(void)
{
	struct sluice_create stage = { .name = STAGE, .nslots = 64, .nbufs = 8, .bufsize = 4096 };
	struct sluice_msg hello = request("desserts"), nothing = request("");
	struct sluice_caller *caller;
	struct sluice_reply reply;
	struct sluice_ctx *ctx;
	struct sluice_ep *to;
	uint64_t id;
	pid_t child;
	int refused, cancelled;

	setvbuf(stdout, NULL, _IOLBF, 0);
	MUST(sluice_create(&stage));
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(serve());
	}
	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_PRODUCER, 0, &to));
	MUST(sluice_caller_create(ctx, NULL, &caller));

	MUST(sluice_call(caller, to, &hello, &reply, SECOND));
	print_reply("sync: ", "desserts", &reply);
	sluice_reply_release(caller, &reply);

	several(caller, to);

	refused = sluice_call(caller, to, &nothing, &reply, SECOND);
	printf("%s\n", sluice_error());

	kill(child, SIGSTOP);			/* so that nobody answers in time */
	MUST(sluice_call_start(caller, to, &hello, SECOND, &id));
	MUST(sluice_call_cancel(caller, id));
	cancelled = sluice_call_wait(caller, id, &reply, SLUICE_FOREVER);
	printf("%s\n", sluice_error());

	kill(child, SIGKILL);
	wait(NULL);
	sluice_caller_destroy(caller);
	sluice_ctx_destroy(ctx);
	MUST(sluice_destroy(STAGE, 0, 0));
	return refused != -EINVAL || cancelled != -ECANCELED;
}
