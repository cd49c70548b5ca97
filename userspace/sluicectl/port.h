/* SPDX-License-Identifier: MIT */
/* port.h - an endpoint that Ctrl-C interrupts, and how a message is printed */
#ifndef SLUICECTL_PORT_H
#define SLUICECTL_PORT_H

#include <sluice/sluice.h>

#define MESSAGE_HOLD_MAX 4096	/* claims that one command holds at a time */

/** struct port - one context with one endpoint; SIGINT and SIGTERM interrupt its waits */
struct port {
	struct sluice_ctx *ctx;
	struct sluice_ep *ep;
};

/**
 * port_open() - attach to a stage
 *
 * One port at a time. Return: CTL_OK, or an exit status after the error was printed.
 */
int port_open(struct port *port, const char *stage, enum sluice_role role);
void port_close(struct port *port);

enum message_format {
	MESSAGE_RAW,		/* the bytes and nothing else */
	MESSAGE_LINE,		/* the bytes and a newline */
	MESSAGE_HEX,		/* a line of hexadecimal digits */
	MESSAGE_JSON,		/* one object a line */
};

/** message_format_parse() - 0, or -EINVAL for a word that is no format */
int message_format_parse(const char *text, enum message_format *format);

/**
 * message_print() - write to stdout and flush it
 *
 * Of a typed message the data; its type is part of the JSON object, else it is said on stderr.
 * Return: 0 or a negative errno value
 */
int message_print(const struct sluice_msg *msg, enum message_format format);

#endif /* SLUICECTL_PORT_H */
