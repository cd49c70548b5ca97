// SPDX-License-Identifier: MIT
/*
 * cmd_dead.c - dead letters: list, show, requeue, drop
 *
 * All letters of "STAGE.dead" are claimed, the chosen ones worked on, the others given back. The
 * stage keeps its letters meanwhile: whoever is killed here loses none, at worst one is sent twice.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "port.h"
#include "sluicectl.h"

enum dead_action { DEAD_LIST, DEAD_SHOW, DEAD_REQUEUE, DEAD_DROP };

static const char *const actions[] = { "list", "show", "requeue", "drop", NULL };

struct dead_args {
	int action;
	const char *stage;
	uint64_t ticket;
	bool one;		/* only @ticket */
	bool all;
	bool json;
	struct json_object *array;
	struct libscols_table *table;
	unsigned int done;
};

static const struct argp_option dead_options[] = {
	{ "ticket", 't', "N", 0, "Only the letter with this ticket, as 'dead list' shows it", 0 },
	{ "all", 'a', NULL, 0, "All letters (requeue and drop want one of the two)", 0 },
	CTL_OPTION_JSON,
	{ 0 }
};

static int find_action(struct argp_state *state, const char *word)
{
	for (int i = 0; actions[i]; i++)
		if (!strcmp(word, actions[i]))
			return i;
	argp_error(state, "'%s' is none of list, show, requeue, drop", word);
	return 0;
}

static error_t dead_parser(int key, char *arg, struct argp_state *state)
{
	struct dead_args *args = state->input;

	switch (key) {
	case 't':
		args->ticket = ctl_option_number(state, "--ticket", arg, UINT64_MAX);
		args->one = true;
		return 0;
	case 'a':
		args->all = true;
		return 0;
	case 'j':
		args->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num == 0)
			args->action = find_action(state, arg);
		else if (state->arg_num == 1)
			args->stage = arg;
		else
			argp_error(state, "one stage at a time, '%s' is too much", arg);
		return 0;
	case ARGP_KEY_END:
		if (!args->stage)
			argp_error(state, "say what to do (list, show, requeue, drop) and with "
					  "which stage");
		if (args->action >= DEAD_REQUEUE && args->one == args->all)
			argp_error(state, "%s: which letters? --ticket N or --all",
				   actions[args->action]);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static struct json_object *letter_json(const struct sluice_msg *msg,
				       const struct sluice_dead_letter *letter, const void *payload)
{
	struct json_object *object = json_object_new_object(), *text;
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{ "ticket", letter->ticket },	{ "stream", msg->stream },
		{ "counter", msg->counter },	{ "kind", letter->kind },
		{ "flags", letter->flags },	{ "attempts", letter->attempts },
		{ "charges", letter->charges }, { "errno", letter->reason },
		{ "bytes", letter->len },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		json_object_object_add(object, rows[i].name,
				       json_object_new_uint64(rows[i].value));
	json_object_object_add(object, "reason", json_object_new_string(strerror(letter->reason)));
	text = ctl_json_utf8(payload, letter->len);
	if (text)
		json_object_object_add(object, "text", text);
	else
		json_object_object_add(object, "hex", ctl_json_hex(payload, letter->len));
	return object;
}

static void letter_row(struct libscols_table *table, const struct sluice_msg *msg,
		       const struct sluice_dead_letter *letter)
{
	char ticket[CTL_TEXT_MAX], stream[CTL_TEXT_MAX], counter[CTL_TEXT_MAX];
	char kind[CTL_TEXT_MAX], attempts[CTL_TEXT_MAX], bytes[CTL_TEXT_MAX];

	ctl_table_row(table, ctl_format_count(ticket, letter->ticket),
		      ctl_format_count(stream, msg->stream),
		      ctl_format_count(counter, msg->counter), ctl_format_count(kind, letter->kind),
		      ctl_format_count(attempts, letter->attempts),
		      ctl_format_count(bytes, letter->len), strerror(letter->reason));
}

static int requeue(struct dead_args *args, struct sluice_ctx *ctx, const struct sluice_msg *msg,
		   const struct sluice_dead_letter *letter, const void *payload)
{
	struct sluice_msg again = {
		.stream = msg->stream, .counter = msg->counter, .data = payload,
		.len = letter->len, .kind = letter->kind,
		.flags = letter->flags & ~SLUICE_MSG_TELL, .buffer = SLUICE_NO_BUFFER,
	};
	struct sluice_ep *ep;
	int err = sluice_attach(ctx, args->stage, SLUICE_PRODUCER, 0, &ep);

	if (err)
		return err;
	err = sluice_send(ep, &again, SLUICE_NOW);
	sluice_detach(ep);
	return err;
}

/* Returns an errno value, or 1 when the letter is done with and to be acknowledged. */
static int work_on(struct dead_args *args, struct sluice_ctx *ctx, const struct sluice_msg *msg)
{
	struct sluice_dead_letter letter;
	const char *payload = (const char *)msg->data + sizeof(letter);
	int err;

	if (msg->len < sizeof(letter))
		return 0;
	memcpy(&letter, msg->data, sizeof(letter));
	if (letter.len > msg->len - sizeof(letter))
		letter.len = msg->len - sizeof(letter);	/* the payload was copied within limits */
	if (args->one && letter.ticket != args->ticket)
		return 0;
	args->done++;
	switch ((enum dead_action)args->action) {
	case DEAD_LIST:
	case DEAD_SHOW:
		if (args->array)
			json_object_array_add(args->array, letter_json(msg, &letter, payload));
		else
			letter_row(args->table, msg, &letter);
		return 0;
	case DEAD_REQUEUE:
		err = requeue(args, ctx, msg, &letter, payload);
		return err ?: 1;
	case DEAD_DROP:
		return 1;
	}
	return 0;
}

static int each_letter(struct dead_args *args, struct port *port)
{
	struct sluice_msg *held = calloc(MESSAGE_HOLD_MAX, sizeof(*held));
	int n = 0, err = held ? 0 : -ENOMEM;

	while (!err && n < MESSAGE_HOLD_MAX) {
		err = sluice_claim(port->ep, &held[n], SLUICE_NOW);
		if (err)
			break;
		err = work_on(args, port->ctx, &held[n]);
		if (err == 1)
			err = sluice_ack(port->ep, &held[n]);
		else
			n++;
	}
	for (int i = 0; i < n; i++)
		sluice_nack(port->ep, &held[i], 0, 0, SLUICE_NACK_BUSY);
	free(held);
	return err == -EAGAIN ? 0 : err;
}

static void print_result(struct dead_args *args)
{
	struct json_object *object;

	if (args->array) {
		ctl_print_json(args->array);
	} else if (args->table) {
		ctl_table_print(args->table);
	} else if (args->json) {
		object = json_object_new_object();
		json_object_object_add(object, actions[args->action],
				       json_object_new_int((int)args->done));
		ctl_print_json(object);
	} else {
		printf("%s: %u letters\n", actions[args->action], args->done);
	}
}

int cmd_dead(const struct ctl_command *cmd, int argc, char **argv)
{
	static const char *const columns[] = {
		">TICKET", ">STREAM", ">COUNTER", ">KIND", ">ATTEMPTS", ">BYTES", "REASON", NULL
	};
	struct dead_args args = { 0 };
	struct port port;
	char *dead_stage;
	int err, status = ctl_parse(cmd, dead_options, dead_parser, argc, argv, &args);

	if (status)
		return status;
	if (asprintf(&dead_stage, "%s.dead", args.stage) < 0) {
		ctl_error("no memory");
		return CTL_FAILED;
	}
	status = port_open(&port, dead_stage, SLUICE_CONSUMER);
	free(dead_stage);
	if (status)
		return status;
	if (args.action == DEAD_SHOW || (args.action == DEAD_LIST && args.json))
		args.array = json_object_new_array();
	else if (args.action == DEAD_LIST)
		args.table = ctl_table(columns);
	err = each_letter(&args, &port);
	port_close(&port);
	if (err)
		return ctl_library_error(err);
	print_result(&args);
	if (!args.one || args.done)
		return CTL_OK;
	ctl_error("stage '%s' has no dead letter with ticket %" PRIu64 "; 'sluicectl dead list %s'",
		  args.stage, args.ticket, args.stage);
	return CTL_NOT_FOUND;
}
