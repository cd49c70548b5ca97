// SPDX-License-Identifier: MIT
/* cmd_run.c - one prompt, one answer */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "sluicectl.h"

enum { OPT_RAW = 256, OPT_STATS, OPT_ECHO, OPT_SPECIAL, OPT_IGNORE_EOS };

struct run_args {
	struct ask ask;
	char *prompt;
	size_t len;
	bool json;
	bool stats;
	bool echo;
	/* collected while the answer comes */
	struct client_stats *timing;
	struct json_object *prompt_ids;
	struct json_object *token_ids;
	char *text;
	size_t text_len;
	FILE *text_stream;
	struct client_event end;
};

static const struct argp_option run_options[] = {
	{ "raw", OPT_RAW, NULL, 0, "Continue the text as it is, without the chat template", 0 },
	{ "special", OPT_SPECIAL, NULL, 0,
	  "With --raw: text such as <|im_start|> stands for the token", 0 },
	{ "ignore-eos", OPT_IGNORE_EOS, NULL, 0, "Go on after end-of-sequence, to measure", 0 },
	{ "echo", OPT_ECHO, NULL, 0, "Print the prompt before the answer", 0 },
	{ "stats", OPT_STATS, NULL, 0,
	  "Afterwards print where the time went, hop by hop, on stderr", 0 },
	ASK_OPTIONS,
	{ "json", 'j', NULL, 0,
	  "Print one object at the end: prompt ids, token ids, text, finish reason, error, timings", 0 },
	{ 0 }
};

static void add_word(struct argp_state *state, struct run_args *args, const char *word)
{
	char *text;

	if (asprintf(&text, "%s%s%s", args->prompt ?: "", args->prompt ? " " : "", word) < 0)
		argp_failure(state, CTL_FAILED, errno, "no memory");
	free(args->prompt);
	args->prompt = text;
	args->len = strlen(text);
}

static error_t run_parser(int key, char *arg, struct argp_state *state)
{
	struct run_args *args = state->input;

	switch (key) {
	case OPT_RAW:
		args->ask.request.raw = true;
		return 0;
	case OPT_SPECIAL:
		args->ask.request.parse_special = true;
		return 0;
	case OPT_IGNORE_EOS:
		args->ask.request.ignore_eos = true;
		return 0;
	case OPT_STATS:
		args->stats = true;
		return 0;
	case OPT_ECHO:
		args->echo = true;
		return 0;
	case 'j':
		args->json = true;
		return 0;
	case ARGP_KEY_ARG:
		add_word(state, args, arg);
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which prompt? '-' reads it from standard input");
		return 0;
	case ARGP_KEY_END:
		if (args->ask.request.parse_special && !args->ask.request.raw)
			argp_error(state, "--special goes with --raw: the chat template quotes "
					  "everything");
		return 0;
	default:
		return ask_option(&args->ask, key, arg, state);
	}
}

/* '-': all of standard input; in a chat its last newline is the terminal's, not the prompt's. */
static int read_prompt(struct run_args *args)
{
	char block[4096];
	size_t n, len = 0;
	FILE *whole;

	if (strcmp(args->prompt, "-"))
		return CTL_OK;
	free(args->prompt);
	args->prompt = NULL;
	whole = open_memstream(&args->prompt, &len);
	while (whole && (n = fread(block, 1, sizeof(block), stdin)))
		if (fwrite(block, 1, n, whole) < n)
			break;
	if (!whole || fclose(whole) || ferror(stdin)) {
		ctl_error("cannot read the prompt: %s", strerror(errno));
		return CTL_FAILED;
	}
	if (!args->ask.request.raw && len && args->prompt[len - 1] == '\n')
		len--;
	args->len = len;
	return CTL_OK;
}

static bool on_event(const struct client_event *ev, void *data)
{
	struct run_args *args = data;

	client_stats_add(args->timing, ev);
	for (uint32_t i = 0; ev->prompt_ids && i < ev->n_prompt; i++)
		json_object_array_add(args->prompt_ids, json_object_new_int(ev->prompt_ids[i]));
	if (ev->token >= 0)
		json_object_array_add(args->token_ids, json_object_new_int(ev->token));
	args->end = *ev;
	if (args->json) {
		fwrite(ev->text, 1, ev->text_len, args->text_stream);
		return true;
	}
	fwrite(ev->text, 1, ev->text_len, stdout);
	return ctl_flush();
}

static struct json_object *hops_json(const struct client_stats *timing)
{
	struct json_object *hops = json_object_new_array(), *hop;
	struct client_stats_row row;

	for (int stage = 0; stage < MSG_STAGE_COUNT; stage++) {
		if (client_stats_row(timing, stage, &row))
			continue;
		hop = json_object_new_object();
		json_object_object_add(hop, "stage", json_object_new_string(msg_stage_name(stage)));
		json_object_object_add(hop, "messages", json_object_new_uint64(row.messages));
		json_object_object_add(hop, "bytes", json_object_new_uint64(row.bytes));
		json_object_object_add(hop, "queue_p50_ns", json_object_new_uint64(row.queue_p50));
		json_object_object_add(hop, "queue_p99_ns", json_object_new_uint64(row.queue_p99));
		json_object_object_add(hop, "service_p50_ns",
				       json_object_new_uint64(row.service_p50));
		json_object_object_add(hop, "service_p99_ns",
				       json_object_new_uint64(row.service_p99));
		json_object_object_add(hop, "share", json_object_new_double(row.share));
		json_object_array_add(hops, hop);
	}
	return hops;
}

static struct json_object *failure_json(const struct ask_failure *f)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "stage", json_object_new_string(f->stage));
	json_object_object_add(object, "attempt", json_object_new_uint64(f->attempt));
	json_object_object_add(object, "errno", json_object_new_int(f->error));
	json_object_object_add(object, "name",
			       json_object_new_string(strerrorname_np(f->error) ?: "unknown"));
	if (f->retry_after_ms)
		json_object_object_add(object, "retry_after_ms",
				       json_object_new_uint64(f->retry_after_ms));
	json_object_object_add(object, "reason", json_object_new_string(f->reason));
	return object;
}

static void print_json(struct run_args *args, int status)
{
	struct json_object *object = json_object_new_object(), *timings = json_object_new_object();
	const struct client_event *end = &args->end;
	const char *reason;

	fflush(args->text_stream);
	json_object_object_add(object, "prompt",
			       json_object_new_string_len(args->prompt, (int)args->len));
	json_object_object_add(object, "raw", json_object_new_boolean(args->ask.request.raw));
	json_object_object_add(object, "seed", json_object_new_uint64(args->ask.request.seed));
	json_object_object_add(object, "prompt_tokens", json_object_new_uint64(end->n_prompt));
	json_object_object_add(object, "prompt_ids", json_object_get(args->prompt_ids));
	json_object_object_add(object, "tokens", json_object_new_uint64(end->n_generated));
	json_object_object_add(object, "token_ids", json_object_get(args->token_ids));
	json_object_object_add(object, "text",
			       json_object_new_string_len(args->text, (int)args->text_len));
	reason = status == CTL_OK ? msg_reason_name(end->reason) :
		 args->ask.failure.error ? "error" : "cancel";
	json_object_object_add(object, "finish_reason", json_object_new_string(reason));
	if (args->ask.failure.error)
		json_object_object_add(object, "error", failure_json(&args->ask.failure));
	json_object_object_add(timings, "first_token_ns",
			       json_object_new_uint64(client_stats_first(args->timing)));
	json_object_object_add(timings, "tokens_per_second",
			       json_object_new_double(client_stats_rate(args->timing)));
	json_object_object_add(timings, "hops", hops_json(args->timing));
	json_object_object_add(object, "timings", timings);
	ctl_print_json(object);
}

static int answer(struct run_args *args)
{
	int status;

	args->ask.request.text = args->prompt;
	args->ask.request.len = args->len;
	if (args->echo && !args->json)
		fwrite(args->prompt, 1, args->len, stdout);
	status = ask_answer(&args->ask, on_event, args);
	if (status != CTL_OK && status != CTL_INTERRUPTED && !args->ask.failure.error)
		return status;
	if (args->json)
		print_json(args, status);
	else if (args->ask.failure.error && !args->end.n_generated)
		return status;
	else
		putchar('\n');
	fflush(stdout);
	if (args->stats)
		client_stats_print(args->timing, stderr);
	return status;
}

int cmd_run(const struct ctl_command *cmd, int argc, char **argv)
{
	struct run_args args = { 0 };
	int status;

	ask_defaults(&args.ask);
	status = ctl_parse(cmd, run_options, run_parser, argc, argv, &args);
	if (!status)
		status = read_prompt(&args);
	if (!status)
		status = ask_check_utf8(args.prompt, args.len);
	if (!status)
		status = ask_open(&args.ask);
	if (status) {
		free(args.prompt);
		return status;
	}
	args.prompt_ids = json_object_new_array();
	args.token_ids = json_object_new_array();
	args.text_stream = open_memstream(&args.text, &args.text_len);
	if (!args.text_stream || client_stats_create(&args.timing)) {
		ctl_error("no memory");
		status = CTL_FAILED;
	} else {
		status = answer(&args);
	}
	ask_close(&args.ask);
	client_stats_free(args.timing);
	if (args.text_stream)
		fclose(args.text_stream);
	free(args.text);
	free(args.prompt);
	json_object_put(args.prompt_ids);
	json_object_put(args.token_ids);
	return status;
}
