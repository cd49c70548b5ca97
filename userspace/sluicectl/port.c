// SPDX-License-Identifier: MIT
/* port.c - an endpoint that Ctrl-C interrupts, and how a message is printed */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

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

static void print_json(const struct sluice_msg *msg)
{
	struct json_object *object = json_object_new_object(), *text;

	json_object_object_add(object, "ticket", json_object_new_uint64(msg->ticket));
	json_object_object_add(object, "stream", json_object_new_uint64(msg->stream));
	json_object_object_add(object, "counter", json_object_new_uint64(msg->counter));
	json_object_object_add(object, "kind", json_object_new_int(msg->kind));
	json_object_object_add(object, "flags", json_object_new_int(msg->flags));
	json_object_object_add(object, "attempt", json_object_new_uint64(msg->attempt));
	json_object_object_add(object, "bytes", json_object_new_uint64(msg->len));
	text = ctl_json_utf8(msg->data, msg->len);
	if (text)
		json_object_object_add(object, "text", text);
	else
		json_object_object_add(object, "hex", ctl_json_hex(msg->data, msg->len));
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

static void print_hex(const struct sluice_msg *msg)
{
	const unsigned char *byte = msg->data;

	for (uint32_t i = 0; i < msg->len; i++)
		printf("%02x", byte[i]);
	putchar('\n');
}

int message_print(const struct sluice_msg *msg, enum message_format format)
{
	errno = 0;
	switch (format) {
	case MESSAGE_RAW:
	case MESSAGE_LINE:
		fwrite(msg->data, 1, msg->len, stdout);
		if (format == MESSAGE_LINE)
			putchar('\n');
		break;
	case MESSAGE_HEX:
		print_hex(msg);
		break;
	case MESSAGE_JSON:
		print_json(msg);
		break;
	}
	if (!fflush(stdout) && !ferror(stdout))
		return 0;
	return errno ? -errno : -EIO;
}
