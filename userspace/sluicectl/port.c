// SPDX-License-Identifier: MIT
/* port.c - an endpoint that Ctrl-C interrupts, and how a message is printed */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <sluice/route.h>

#include "port.h"
#include "sluicectl.h"

static struct sluice_ctx *interruptible;

static void on_signal(int number)
{
	sluice_interrupt(interruptible);
}

int port_open(struct port *port, const char *stage, enum sluice_role role)
{
	const struct sigaction action = { .sa_handler = on_signal };
	int err;

	*port = (struct port){ 0 };
	/* A person at a keyboard: sleeping at once costs nothing that anybody would notice. */
	err = sluice_ctx_create(SLUICE_CTX_NO_SPIN, &port->ctx);
	if (err)
		return ctl_library_error(err);
	err = sluice_attach(port->ctx, stage, role, 0, &port->ep);
	if (err) {
		err = ctl_library_error(err);
		sluice_ctx_destroy(port->ctx);
		return err;
	}
	interruptible = port->ctx;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	return CTL_OK;
}

void port_close(struct port *port)
{
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	interruptible = NULL;
	sluice_detach(port->ep);
	sluice_ctx_destroy(port->ctx);
}

int message_format_parse(const char *text, enum message_format *format)
{
	static const char *const names[] = {
		[MESSAGE_RAW] = "raw", [MESSAGE_LINE] = "line",
		[MESSAGE_HEX] = "hex", [MESSAGE_JSON] = "json",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(text, names[i])) {
			*format = (enum message_format)i;
			return 0;
		}
	}
	return -EINVAL;
}

/*
 * What is printed of a message: of a typed one the data; of one whose type makes no sense all of
 * it.
 * @label:	what it says of model and deadline
 * @why:	what is wrong with label or type, or ""
 */
struct body {
	const void *data;
	uint32_t len;
	bool typed;
	struct sluice_tensor type;
	struct sluice_label label;
	char why[CTL_WHY_MAX];
};

static void read_body(const struct sluice_msg *msg, struct body *b)
{
	struct sluice_msg payload;
	int err;

	*b = (struct body){ .typed = false };
	err = sluice_label_read(msg, &b->label, &payload);
	if (!err || err == -ENOMSG) {
		err = sluice_tensor_read(&payload, &b->type, &b->data);
		b->typed = !err;
	}
	b->len = b->type.bytes;
	if (!err)
		return;
	if (err != -ENOMSG)
		snprintf(b->why, sizeof(b->why), "%s", sluice_error());
	b->data = payload.data;
	b->len = payload.len;
}

static void add_type(struct json_object *object, const struct sluice_tensor *t)
{
	struct json_object *shape = json_object_new_array();
	char text[SLUICE_TYPE_TEXT];

	json_object_object_add(object, "type",
			       json_object_new_string(sluice_tensor_format(t, text)));
	json_object_object_add(object, "modality",
			       json_object_new_string(sluice_modality_name(t->modality)));
	json_object_object_add(object, "dtype",
			       json_object_new_string(sluice_dtype_name(t->dtype)));
	for (unsigned int i = 0; i < t->rank; i++)
		json_object_array_add(shape, json_object_new_uint64(t->shape[i]));
	json_object_object_add(object, "shape", shape);
	if (t->media[0])
		json_object_object_add(object, "media", json_object_new_string(t->media));
	if (t->rate)
		json_object_object_add(object, "rate", json_object_new_uint64(t->rate));
}

static void print_json(const struct sluice_msg *msg, const struct body *b)
{
	struct json_object *object = json_object_new_object(), *text;

	json_object_object_add(object, "ticket", json_object_new_uint64(msg->ticket));
	json_object_object_add(object, "stream", json_object_new_uint64(msg->stream));
	json_object_object_add(object, "counter", json_object_new_uint64(msg->counter));
	json_object_object_add(object, "kind", json_object_new_int(msg->kind));
	json_object_object_add(object, "flags", json_object_new_int(msg->flags));
	json_object_object_add(object, "attempt", json_object_new_uint64(msg->attempt));
	json_object_object_add(object, "bytes", json_object_new_uint64(b->len));
	if (b->label.model[0])
		json_object_object_add(object, "model", json_object_new_string(b->label.model));
	if (b->label.deadline)
		json_object_object_add(object, "time_left_ns",
				       json_object_new_int64(sluice_time_left(b->label.deadline)));
	if (b->typed)
		add_type(object, &b->type);
	else if (b->why[0])
		json_object_object_add(object, "type_error", json_object_new_string(b->why));
	text = ctl_json_utf8(b->data, b->len);
	if (text)
		json_object_object_add(object, "text", text);
	else
		json_object_object_add(object, "hex", ctl_json_hex(b->data, b->len));
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

static void print_hex(const struct body *b)
{
	const unsigned char *byte = b->data;

	for (uint32_t i = 0; i < b->len; i++)
		printf("%02x", byte[i]);
	putchar('\n');
}

/* Where it does not get between the bytes. */
static void say_type(const struct body *b)
{
	char text[SLUICE_TYPE_TEXT];

	if (b->typed)
		ctl_error("%s, %u bytes", sluice_tensor_format(&b->type, text), b->len);
	else if (b->why[0])
		ctl_error("%s; it is printed whole", b->why);
}

int message_print(const struct sluice_msg *msg, enum message_format format)
{
	struct body b;

	read_body(msg, &b);
	if (format != MESSAGE_JSON)
		say_type(&b);
	errno = 0;
	switch (format) {
	case MESSAGE_RAW:
	case MESSAGE_LINE:
		fwrite(b.data, 1, b.len, stdout);
		if (format == MESSAGE_LINE)
			putchar('\n');
		break;
	case MESSAGE_HEX:
		print_hex(&b);
		break;
	case MESSAGE_JSON:
		print_json(msg, &b);
		break;
	}
	if (!fflush(stdout) && !ferror(stdout))
		return 0;
	return errno ? -errno : -EIO;
}
