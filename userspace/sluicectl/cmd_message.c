// SPDX-License-Identifier: MIT
/* cmd_message.c - send and receive by hand */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sluice/route.h>

#include "port.h"
#include "sluicectl.h"

/* ------------------------------------------------------------------- send --- */

struct send_args {
	struct sluice_msg msg;
	int64_t timeout_ns;
	const char *file;
	char *text;
	bool typed;
	struct sluice_tensor type;	/* as declared; '?' follows from the data's length */
	bool labelled;
	int64_t deadline_ns;
	struct sluice_label label;
	bool lines;
	bool wait;
	bool json;
	const char *stage;
};

enum { OPT_MODEL = 512, OPT_DEADLINE };

static const struct argp_option send_options[] = {
	{ "file", 'f', "FILE", 0, "Send the contents of FILE; '-' is standard input", 0 },
	{ "lines", 'l', NULL, 0, "Each line of the input is a message of its own", 0 },
	{ "type", 'T', "TYPE", 0, "Say what it is: image/png, text, tokens:i32[?], "
	  "image:u8[480,640,3], audio:f32[?]@16000; the receiver can check it", 0 },
	{ "model", OPT_MODEL, "NAME", 0, "Say which model it is for, where rules choose by it", 0 },
	{ "deadline", OPT_DEADLINE, "TIME", 0,
	  "Say that it is wanted within this time, for rules likewise", 0 },
	{ "kind", 'k', "N", 0, "Message type, 0..65535 (0)", 0 },
	{ "stream", 's', "N", 0, "Stream id (0)", 0 },
	{ "counter", 'c', "N", 0, "Position in the stream; rises by one each message (0)", 0 },
	{ "wait", 'w', NULL, 0, "Wait until it is acknowledged", 0 },
	{ "timeout", 't', "TIME", 0, "Wait so long for room, or for the ACK (for ever)", 0 },
	CTL_OPTION_JSON,
	{ 0 }
};

static void add_word(struct argp_state *state, struct send_args *args, const char *word)
{
	char *text;

	if (asprintf(&text, "%s%s%s", args->text ?: "", args->text ? " " : "", word) < 0)
		argp_failure(state, CTL_FAILED, errno, "no memory");
	free(args->text);
	args->text = text;
}

static error_t send_parser(int key, char *arg, struct argp_state *state)
{
	struct send_args *args = state->input;

	switch (key) {
	case 'f':
		args->file = arg;
		return 0;
	case 'l':
		args->lines = true;
		return 0;
	case 'T':
		if (sluice_type_parse(arg, &args->type))
			argp_error(state, "--type: %s", sluice_error());
		args->typed = true;
		return 0;
	case OPT_MODEL:
		snprintf(args->label.model, sizeof(args->label.model), "%s", arg);
		if (strlen(arg) >= sizeof(args->label.model))
			argp_error(state, "--model: a name has at most %zu letters",
				   sizeof(args->label.model) - 1);
		args->labelled = true;
		return 0;
	case OPT_DEADLINE:
		args->deadline_ns = ctl_option_duration(state, "--deadline", arg);
		args->labelled = true;
		return 0;
	case 'k':
		args->msg.kind = ctl_option_number(state, "--kind", arg, UINT16_MAX);
		return 0;
	case 's':
		args->msg.stream = ctl_option_number(state, "--stream", arg, UINT64_MAX);
		return 0;
	case 'c':
		args->msg.counter = ctl_option_number(state, "--counter", arg, UINT64_MAX);
		return 0;
	case 'w':
		args->wait = true;
		return 0;
	case 't':
		args->timeout_ns = ctl_option_duration(state, "--timeout", arg);
		return 0;
	case 'j':
		args->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (!state->arg_num)
			args->stage = arg;
		else
			add_word(state, args, arg);
		return 0;
	case ARGP_KEY_END:
		if (!args->stage)
			argp_error(state, "to which stage? 'sluicectl list' shows them");
		if (args->text && (args->file || args->lines))
			argp_error(state, "send the words or a file, not both");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static uint64_t deadline_of(const struct send_args *args)
{
	struct timespec now;

	if (!args->deadline_ns)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec +
	       (uint64_t)args->deadline_ns;
}

/* Bytes before the data that say what it is. */
static size_t head_bytes(const struct send_args *args)
{
	return (args->labelled ? SLUICE_LABEL_BYTES : 0) +
	       (args->typed ? SLUICE_TENSOR_HEADER : 0);
}

/* The payload with its label and its type, to be freed; NULL after the error was printed. */
static void *headed_payload(const struct send_args *args, struct sluice_tensor *type,
			    const void *data, size_t len)
{
	size_t size = head_bytes(args) + len;
	struct sluice_label label = args->label;
	char *payload = malloc(size);
	void *at = payload;
	int err = payload ? 0 : -ENOMEM;

	label.deadline = deadline_of(args);
	if (!err && args->labelled)
		err = sluice_label_begin(payload, size, &label, &at);
	if (!err && args->typed)
		err = sluice_tensor_fit(type, len) ?:
		      sluice_tensor_begin(at, size - ((char *)at - payload), type, &at);
	if (err) {
		ctl_error("stage '%s': %s", args->stage, payload ? sluice_error() : "no memory");
		free(payload);
		return NULL;
	}
	if (len)
		memcpy(at, data, len);
	return payload;
}

static void print_sent(const struct send_args *args, const struct sluice_tensor *type, size_t len)
{
	const struct sluice_msg *msg = &args->msg;
	struct json_object *object = json_object_new_object();
	char text[SLUICE_TYPE_TEXT];

	json_object_object_add(object, "stage", json_object_new_string(args->stage));
	json_object_object_add(object, "stream", json_object_new_uint64(msg->stream));
	json_object_object_add(object, "counter", json_object_new_uint64(msg->counter));
	if (args->typed)
		json_object_object_add(object, "type",
				       json_object_new_string(sluice_tensor_format(type, text)));
	json_object_object_add(object, "bytes", json_object_new_uint64(len));
	json_object_object_add(object, "acknowledged", json_object_new_boolean(args->wait));
	if (!args->wait)
		json_object_object_add(object, "ticket", json_object_new_uint64(msg->ticket));
	ctl_print_json(object);
}

static int send_one(struct sluice_ep *ep, struct send_args *args, const void *data, size_t len)
{
	struct sluice_tensor type = args->type;
	struct sluice_msg *msg = &args->msg;
	void *payload = NULL;
	int err;

	if (len > UINT32_MAX - head_bytes(args)) {
		ctl_error("stage '%s': the message is longer than 4G", args->stage);
		return CTL_FAILED;
	}
	if (head_bytes(args)) {
		payload = headed_payload(args, &type, data, len);
		if (!payload)
			return CTL_FAILED;
	}
	msg->data = payload ?: data;
	msg->len = (uint32_t)(head_bytes(args) + len);
	msg->buffer = SLUICE_NO_BUFFER;
	err = args->wait ? sluice_send_sync(ep, msg, args->timeout_ns) :
			   sluice_send(ep, msg, args->timeout_ns);
	free(payload);
	if (err)
		return ctl_library_error(err);
	if (args->json)
		print_sent(args, &type, len);
	msg->counter++;
	return CTL_OK;
}

static int send_lines(struct sluice_ep *ep, struct send_args *args, FILE *in)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int status = CTL_OK;

	while (!status && (len = getline(&line, &size, in)) >= 0) {
		if (len && line[len - 1] == '\n')
			len--;
		status = send_one(ep, args, line, len);
	}
	free(line);
	return status;
}

static int send_all(struct sluice_ep *ep, struct send_args *args, FILE *in)
{
	char block[65536], *text = NULL;
	size_t size, n;
	FILE *whole = open_memstream(&text, &size);
	int status;

	if (!whole) {
		ctl_error("no memory");
		return CTL_FAILED;
	}
	while ((n = fread(block, 1, sizeof(block), in)))
		if (fwrite(block, 1, n, whole) < n)
			break;
	if (fclose(whole) || ferror(in)) {
		ctl_error("%s: %s", args->file ?: "standard input", strerror(errno));
		status = CTL_FAILED;
	} else {
		status = send_one(ep, args, text, size);
	}
	free(text);
	return status;
}

static int send_input(struct sluice_ep *ep, struct send_args *args)
{
	bool from_stdin = !args->file || !strcmp(args->file, "-");
	FILE *in;
	int status;

	if (args->text)
		return send_one(ep, args, args->text, strlen(args->text));
	in = from_stdin ? stdin : fopen(args->file, "re");
	if (!in) {
		ctl_error("cannot read '%s': %s", args->file, strerror(errno));
		return ctl_exit_of(-errno);
	}
	status = args->lines ? send_lines(ep, args, in) : send_all(ep, args, in);
	if (!from_stdin)
		fclose(in);
	return status;
}

int cmd_send(const struct ctl_command *cmd, int argc, char **argv)
{
	struct send_args args = { .timeout_ns = SLUICE_FOREVER };
	struct port port;
	int status = ctl_parse(cmd, send_options, send_parser, argc, argv, &args);

	if (!status)
		status = port_open(&port, args.stage, SLUICE_PRODUCER);
	if (!status) {
		status = send_input(port.ep, &args);
		port_close(&port);
	}
	free(args.text);
	return status;
}

/* ------------------------------------------------------------------- recv --- */

enum { OPT_NO_ACK = 256, OPT_NACK };

struct recv_args {
	const char *stage;
	uint64_t count;
	int64_t timeout_ns;
	enum message_format format;
	bool no_ack;
	int nack;		/* reason, 0: acknowledge */
	struct sluice_accepts accepts;
	bool refused;
};

static const struct argp_option recv_options[] = {
	{ "count", 'n', "N", 0, "Stop after N messages; 0: go on until Ctrl-C (1)", 0 },
	{ "timeout", 't', "TIME", 0, "Wait so long for each message (for ever)", 0 },
	{ "format", 'f', "FORMAT", 0, "raw: just the bytes (default); line: and a newline; "
	  "hex; json: one object a line with stream, counter, kind, attempt, type", 0 },
	{ "json", 'j', NULL, 0, "The same as --format json", 0 },
	{ "accepts", 'a', "TYPES", 0, "Refuse for good what is none of these types, separated by "
	  "commas: tokens:i32[?], image/png <= 4M", 0 },
	{ "no-ack", OPT_NO_ACK, NULL, 0,
	  "Look without taking: give the messages back, not charged, when done", 0 },
	{ "nack", OPT_NACK, "ERRNO", OPTION_ARG_OPTIONAL,
	  "Refuse each message with this reason (5, EIO): a charged failure", 0 },
	{ 0 }
};

static error_t recv_parser(int key, char *arg, struct argp_state *state)
{
	struct recv_args *args = state->input;

	switch (key) {
	case 'n':
		args->count = ctl_option_number(state, "--count", arg, UINT64_MAX);
		return 0;
	case 't':
		args->timeout_ns = ctl_option_duration(state, "--timeout", arg);
		return 0;
	case 'f':
		if (message_format_parse(arg, &args->format))
			argp_error(state, "--format: '%s' is none of raw, line, hex, json", arg);
		return 0;
	case 'j':
		args->format = MESSAGE_JSON;
		return 0;
	case 'a':
		if (sluice_accepts_parse(&args->accepts, arg))
			argp_error(state, "--accepts: %s", sluice_error());
		return 0;
	case OPT_NO_ACK:
		args->no_ack = true;
		return 0;
	case OPT_NACK:
		args->nack = arg ? (int)ctl_option_number(state, "--nack", arg, 4095) : EIO;
		if (!args->nack)
			argp_error(state, "--nack: the reason is an errno value from 1");
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num)
			argp_error(state, "one stage at a time, '%s' is too much", arg);
		args->stage = arg;
		return 0;
	case ARGP_KEY_END:
		if (!args->stage)
			argp_error(state, "from which stage? 'sluicectl list' shows them");
		if (args->no_ack && (args->nack || args->accepts.n || !args->count ||
				     args->count > MESSAGE_HOLD_MAX))
			argp_error(state, "--no-ack goes with a --count from 1 to %d and without "
				   "--nack and --accepts", MESSAGE_HOLD_MAX);
		snprintf(args->accepts.stage, sizeof(args->accepts.stage), "%s", args->stage);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* 0 when it is one of the declared types, or none are; else why not, which was printed. */
static int check_type(const struct recv_args *args, const struct sluice_msg *msg)
{
	struct sluice_tensor type;
	const void *data;
	int err;

	if (!args->accepts.n)
		return 0;
	err = sluice_tensor_read(msg, &type, &data);
	if (err)
		ctl_error("stage '%s': ticket %llu: %s", args->stage,
			  (unsigned long long)msg->ticket, sluice_error());
	else if ((err = sluice_tensor_check(&type, &args->accepts)))
		ctl_error("ticket %llu: %s", (unsigned long long)msg->ticket, sluice_error());
	return err;
}

/* Written first, acknowledged afterwards: what could not be written goes to somebody else. */
static int deliver(struct sluice_ep *ep, struct recv_args *args, const struct sluice_msg *msg)
{
	int err = check_type(args, msg);

	/* It will be of the same type for ever, so nobody is asked again. */
	if (err) {
		args->refused = true;
		err = sluice_nack(ep, msg, -err, 0, SLUICE_NACK_DEAD);
		return err ? ctl_library_error(err) : CTL_OK;
	}
	err = message_print(msg, args->format);
	if (err) {
		ctl_error("standard output: %s; the message was given back", strerror(-err));
		sluice_nack(ep, msg, 0, 0, SLUICE_NACK_BUSY);
		return CTL_FAILED;
	}
	err = args->nack ? sluice_nack(ep, msg, args->nack, 0, 0) : sluice_ack(ep, msg);
	return err ? ctl_library_error(err) : CTL_OK;
}

static int receive(struct sluice_ep *ep, struct recv_args *args)
{
	struct sluice_msg msg;
	int err, status = CTL_OK;

	for (uint64_t n = 0; !status && (!args->count || n < args->count); n++) {
		err = sluice_claim(ep, &msg, args->timeout_ns);
		if (err == -EAGAIN) {
			ctl_error("stage '%s': no message came in time", args->stage);
			return CTL_TIMEOUT;
		}
		if (err)
			return ctl_library_error(err);
		status = deliver(ep, args, &msg);
	}
	return status ?: args->refused ? CTL_FAILED : CTL_OK;
}

/* Holds all claims until the end: one that were given back at once would come again. */
static int peek(struct sluice_ep *ep, struct recv_args *args)
{
	struct sluice_msg *held = calloc(args->count, sizeof(*held));
	uint64_t n = 0;
	int err = held ? 0 : -ENOMEM, status = CTL_OK;

	for (; !err && n < args->count; n++) {
		err = sluice_claim(ep, &held[n], args->timeout_ns);
		if (err)
			break;
		err = message_print(&held[n], args->format);
	}
	for (uint64_t i = 0; i < n; i++)
		sluice_nack(ep, &held[i], 0, 0, SLUICE_NACK_BUSY);
	if (err == -EAGAIN)
		ctl_error("stage '%s': only %lu messages came in time", args->stage, n);
	else if (err)
		ctl_error("stage '%s': %s", args->stage, strerror(-err));
	if (err)
		status = ctl_exit_of(err);
	free(held);
	return status;
}

int cmd_recv(const struct ctl_command *cmd, int argc, char **argv)
{
	struct recv_args args = { .count = 1, .timeout_ns = SLUICE_FOREVER };
	struct port port;
	int status = ctl_parse(cmd, recv_options, recv_parser, argc, argv, &args);

	if (!status)
		status = port_open(&port, args.stage, SLUICE_CONSUMER);
	if (status)
		return status;
	status = args.no_ack ? peek(port.ep, &args) : receive(port.ep, &args);
	port_close(&port);
	return status;
}
