// SPDX-License-Identifier: MIT
/*
 * cmd_route.c - a stage that only decides where its messages go
 *
 * A message is published in all stages that its rule names before it is acknowledged, so a router
 * that dies loses nothing; what it had not acknowledged is forwarded again, with the same stream
 * and counter, by which the end of the pipe knows it. A router that finds no room gives the message
 * back instead of waiting with it, and remembers who has it already.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/route.h>

#include "../stages/message.h"
#include "once.h"
#include "port.h"
#include "sluicectl.h"

#define ROOM_NS		(200 * 1000000ll)	/* for a buffer, while holding a claim */
#define GIVE_BACK_MS	20u
#define GIVEN_BACK	256u			/* messages that are remembered */

struct route_args {
	const char *stage;
	struct sluice_routes routes;
	bool once;
	bool verbose;
};

/* A message that was given back after some of its stages had got it. */
struct given_back {
	uint64_t ticket;
	uint32_t has;		/* bits by place in the rule */
};

struct router {
	struct route_args *args;
	struct port port;
	struct sluice_ep *out[SLUICE_ROUTE_STAGES];
	struct given_back back[GIVEN_BACK];
	unsigned int next_back;
	struct once *seen;
};

static const struct argp_option route_options[] = {
	{ "once", 'o', NULL, 0,
	  "Drop a message whose stream, counter and kind were those of one of the last 64K (not of "
	  "stream 0)", 0 },
	{ "verbose", 'v', NULL, 0, "Say on stderr which rule took each message", 0 },
	{ 0 }
};

static void add_rules(struct argp_state *state, struct route_args *args, const char *text)
{
	if (sluice_routes_parse(&args->routes, text))
		argp_error(state, "%s", sluice_error());
}

static error_t route_parser(int key, char *arg, struct argp_state *state)
{
	struct route_args *args = state->input;

	switch (key) {
	case 'o':
		args->once = true;
		return 0;
	case 'v':
		args->verbose = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num)
			add_rules(state, args, arg);
		else
			args->stage = arg;
		return 0;
	case ARGP_KEY_END:
		if (!args->stage)
			argp_error(state, "from which stage? 'sluicectl list' shows them");
		if (!args->routes.n && getenv("SLUICE_ROUTES"))
			add_rules(state, args, getenv("SLUICE_ROUTES"));
		if (!args->routes.n)
			argp_error(state, "by which rules? such as 'length > 4K -> slow'");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Messages of the language model say in their own head what others say in a label. */
static int read_facts(const struct sluice_msg *msg, struct sluice_facts *f)
{
	struct msg_view v;
	int err = sluice_facts_read(msg, f);

	if (err || f->typed || msg->len < sizeof(v.head) || msg_read(msg, &v))
		return err;
	f->length = v.head.data_bytes;
	f->tokens = v.head.n_tokens;
	f->deadline_ns = sluice_time_left(v.head.deadline);
	memcpy(f->model, v.head.model, sizeof(f->model));
	return 0;
}

static struct given_back *find_back(struct router *r, uint64_t ticket)
{
	for (unsigned int i = 0; i < GIVEN_BACK; i++)
		if (r->back[i].has && r->back[i].ticket == ticket)
			return &r->back[i];
	return NULL;
}

/* Not now: later, and then without those who have it. */
static void give_back(struct router *r, const struct sluice_msg *msg, uint32_t has)
{
	struct given_back *b = find_back(r, msg->ticket);

	if (!b)
		b = &r->back[r->next_back++ % GIVEN_BACK];
	*b = (struct given_back){ .ticket = msg->ticket, .has = has };
	sluice_nack(r->port.ep, msg, EBUSY, GIVE_BACK_MS, SLUICE_NACK_BUSY);
}

/* A copy of @msg into @ep. 0, or a negative errno: of no room -EAGAIN. */
static int copy_to(struct sluice_ep *ep, const struct sluice_msg *msg)
{
	struct sluice_msg copy = {
		.stream = msg->stream, .counter = msg->counter, .kind = msg->kind,
		.flags = msg->flags & (uint16_t)~SLUICE_MSG_TELL, .buffer = SLUICE_NO_BUFFER,
		.data = msg->data, .len = msg->len,
	};
	struct sluice_buffer buf;
	int err;

	if (msg->len <= SLUICE_INLINE_MAX) {
		err = sluice_post(ep, &copy);
		return err < 0 ? err : 0;
	}
	if (msg->len > sluice_buffer_size(ep))
		return -EMSGSIZE;
	err = sluice_buffer_take(ep, &buf, ROOM_NS);
	if (err == -EINTR)
		err = sluice_buffer_take(ep, &buf, SLUICE_NOW);
	if (err)
		return err;
	memcpy(buf.data, msg->data, msg->len);
	copy.data = NULL;
	copy.buffer = buf.index;
	err = sluice_post(ep, &copy);
	if (err < 0)
		sluice_buffer_drop(ep, &buf);
	return err < 0 ? err : 0;
}

/* It will be the same for ever, so nobody is asked again. */
static int refuse(struct router *r, const struct sluice_msg *msg, int reason, const char *why)
{
	int err = sluice_nack(r->port.ep, msg, reason, 0, SLUICE_NACK_DEAD);

	ctl_error("stage '%s': ticket %llu (%u bytes) is a dead letter: %s", r->args->stage,
		  (unsigned long long)msg->ticket, msg->len, why);
	return err && err != -ESTALE ? ctl_library_error(err) : 0;
}

static int acknowledge(struct router *r, const struct sluice_msg *msg)
{
	struct given_back *b = find_back(r, msg->ticket);
	int err = sluice_ack(r->port.ep, msg);

	/* Too late: it comes again, here or elsewhere; here it is known. */
	if (err == -ESTALE) {
		if (!b)
			b = &r->back[r->next_back++ % GIVEN_BACK];
		*b = (struct given_back){ .ticket = msg->ticket, .has = ~0u };
		return 0;
	}
	if (b)
		b->has = 0;
	return err ? ctl_library_error(err) : 0;
}

static int forward(struct router *r, const struct sluice_msg *msg, int rule)
{
	const struct sluice_route *route = &r->args->routes.rule[rule];
	const struct given_back *b = find_back(r, msg->ticket);
	uint32_t has = b ? b->has : 0;
	int err;

	for (uint32_t i = 0; i < route->nto; i++) {
		const char *name = r->args->routes.stage[route->to[i]];

		if (has & 1u << i)
			continue;
		if (!sluice_holds(r->port.ep, msg))
			return 0;
		err = copy_to(r->out[route->to[i]], msg);
		if (err == -EMSGSIZE || err == -ENOBUFS) {
			char why[CTL_WHY_MAX];

			snprintf(why, sizeof(why), "it does not fit into a buffer of stage '%s'; "
				 "recreate that with a larger buffer_size", name);
			return refuse(r, msg, EMSGSIZE, why);
		}
		if (err == -ESHUTDOWN)
			return ctl_library_error(err);
		if (err) {
			give_back(r, msg, has);
			return 0;
		}
		has |= 1u << i;
	}
	if (r->seen)
		once_add(r->seen, msg);
	return acknowledge(r, msg);
}

static int route_one(struct router *r, const struct sluice_msg *msg)
{
	char text[SLUICE_ROUTE_TEXT];
	struct sluice_facts facts;
	int rule;

	if (r->seen && !find_back(r, msg->ticket) && once_seen(r->seen, msg))
		return acknowledge(r, msg);
	if (read_facts(msg, &facts))
		return refuse(r, msg, EBADMSG, sluice_error());
	rule = sluice_routes_match(&r->args->routes, &facts);
	if (rule < 0)
		return refuse(r, msg, EDESTADDRREQ, "no rule matches it; end the rules with one for "
			      "'default'");
	if (r->args->verbose)
		ctl_error("stream %llu counter %llu, %llu bytes: %s",
			  (unsigned long long)msg->stream, (unsigned long long)msg->counter,
			  (unsigned long long)facts.length,
			  sluice_route_format(&r->args->routes, (uint32_t)rule, text));
	return forward(r, msg, rule);
}

/* Until SIGTERM; what is in the ring by then is still forwarded. */
static int route_all(struct router *r)
{
	bool draining = false;
	struct sluice_msg msg;
	int err, status = 0;

	while (!status) {
		err = sluice_claim(r->port.ep, &msg, draining ? SLUICE_NOW : SLUICE_FOREVER);
		if (!err) {
			status = route_one(r, &msg);
		} else if (err == -EINTR && !draining) {
			sluice_interrupt_clear(r->port.ctx);
			draining = true;
		} else if (err == -EINTR || (err == -EAGAIN && draining)) {
			break;
		} else if (err != -EAGAIN) {
			return err == -ESHUTDOWN ? CTL_OK : ctl_library_error(err);
		}
	}
	return status;
}

static int route_open(struct router *r)
{
	const struct sluice_routes *routes = &r->args->routes;
	int err = 0;

	for (uint32_t i = 0; !err && i < routes->nstages; i++)
		err = sluice_attach(r->port.ctx, routes->stage[i], SLUICE_PRODUCER, 0, &r->out[i]);
	if (!err && r->args->once)
		err = once_create(&r->seen);
	return err;
}

int cmd_route(const struct ctl_command *cmd, int argc, char **argv)
{
	static struct route_args args;
	static struct router r = { .args = &args };
	int err, status = ctl_parse(cmd, route_options, route_parser, argc, argv, &args);

	if (!status)
		status = port_open(&r.port, args.stage, SLUICE_CONSUMER);
	if (status)
		return status;
	err = route_open(&r);
	status = err ? ctl_library_error(err) : route_all(&r);
	for (uint32_t i = 0; i < args.routes.nstages; i++)
		sluice_detach(r.out[i]);
	port_close(&r.port);
	once_free(r.seen);
	return status;
}
