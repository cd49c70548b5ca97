// SPDX-License-Identifier: MIT
/*
 * pipeline_streams.c - several streams of one client at once, the first of them cancelled half way
 *
 *	pipeline_streams STREAMS TOKENS PROMPT
 *
 * Continues the same prompt in every stream and prints one line of JSON for each when it ends:
 * {"stream":0,"reason":"length","ids":[...]}. Fails if an event comes out of order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/client/client.h"

#define MAX_STREAMS	16
#define MAX_TOKENS	512

struct answer {
	uint64_t	stream;
	int		ids[MAX_TOKENS];
	unsigned int	n;
	uint64_t	next;
};

static void print_answer(int i, const struct answer *a, const struct client_event *ev)
{
	printf("{\"stream\":%d,\"reason\":\"%s\",\"ids\":[", i,
	       ev->type == CLIENT_ERROR ? "error" : msg_reason_name(ev->reason));
	for (unsigned int k = 0; k < a->n; k++)
		printf("%s%d", k ? "," : "", a->ids[k]);
	printf("]}\n");
}

static int take_event(struct answer *a, int i, const struct client_event *ev)
{
	bool cancelled = ev->type == CLIENT_END && ev->reason == MSG_REASON_CANCEL;

	if (!cancelled && ev->type != CLIENT_ERROR && ev->index != a->next++) {
		fprintf(stderr, "stream %d: token %llu came as number %llu\n", i,
			(unsigned long long)ev->index, (unsigned long long)a->next - 1);
		return -1;
	}
	if (ev->token >= 0 && a->n < MAX_TOKENS)
		a->ids[a->n++] = ev->token;
	if (ev->type != CLIENT_TEXT)
		print_answer(i, a, ev);
	return ev->type != CLIENT_TEXT;
}

static int run(struct client *c, int n, const struct client_request *r)
{
	static struct answer answer[MAX_STREAMS];
	struct client_event ev;
	int left = n, i, ret;

	for (i = 0; i < n; i++) {
		if (client_submit(c, r, &answer[i].stream))
			return -1;
	}
	while (left) {
		if (client_next(c, &ev, 60000000000ll))
			return -1;
		for (i = 0; i < n && answer[i].stream != ev.stream; i++)
			;
		if (i == n)
			return -1;
		ret = take_event(&answer[i], i, &ev);
		if (ret < 0)
			return -1;
		left -= ret;
		if (!i && ev.type == CLIENT_TEXT && answer[0].n == r->max_tokens / 2 &&
		    client_cancel(c, ev.stream))
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct client_request r = { .raw = true };
	struct client *c;
	int n, ret;

	if (argc != 4 || (n = atoi(argv[1])) < 1 || n > MAX_STREAMS) {
		fprintf(stderr, "usage: pipeline_streams STREAMS TOKENS PROMPT\n");
		return 2;
	}
	r.max_tokens = (uint32_t)atoi(argv[2]);
	r.text = argv[3];
	r.len = strlen(argv[3]);
	if (client_open(NULL, &c)) {
		fprintf(stderr, "pipeline_streams: %s\n", client_error());
		return 1;
	}
	ret = run(c, n, &r);
	if (ret)
		fprintf(stderr, "pipeline_streams: %s\n", client_error());
	client_close(c);
	return ret ? 1 : 0;
}
