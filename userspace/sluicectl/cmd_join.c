// SPDX-License-Identifier: MIT
/*
 * cmd_join.c - a stage that waits for the parts of each message, and sends them on as one
 *
 * The parts stay in their rings, claimed, until the message with all of them is published. One that
 * does not come in time makes dead letters of those that did, so that whoever sent them is told.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/join.h>

#include "port.h"
#include "sluicectl.h"

#define ROOM_NS		(200 * 1000000ll)	/* for a buffer, while holding the parts */
#define GIVE_BACK_MS	20u

struct join_args {
	const char *name[SLUICE_JOIN_INPUTS + 1];	/* inputs, then where to */
	unsigned int n;
	int64_t deadline_ns;
	uint32_t window;
	bool verbose;
};

struct joiner {
	struct join_args *args;
	struct port port;				/* the first input */
	struct sluice_ep *in[SLUICE_JOIN_INPUTS];
	struct sluice_ep *out;
	struct sluice_join *join;
};

static const struct argp_option join_options[] = {
	{ "deadline", 'd', "TIME", 0,
	  "A part that comes so long after the first one is too late: the others become dead "
	  "letters (5s)", 0 },
	{ "window", 'w', "N", 0, "Parts of a stage that wait, at most; its ring waits then (16)", 0 },
	{ "verbose", 'v', NULL, 0, "Say on stderr what was joined", 0 },
	{ 0 }
};

static error_t join_parser(int key, char *arg, struct argp_state *state)
{
	struct join_args *args = state->input;

	switch (key) {
	case 'd':
		args->deadline_ns = ctl_option_duration(state, "--deadline", arg);
		if (args->deadline_ns <= 0)
			argp_error(state, "--deadline: a time is wanted, such as 2s");
		return 0;
	case 'w':
		args->window = (uint32_t)ctl_option_number(state, "--window", arg, 1 << 20);
		return 0;
	case 'v':
		args->verbose = true;
		return 0;
	case ARGP_KEY_ARG:
		if (args->n > SLUICE_JOIN_INPUTS)
			argp_error(state, "at most %u stages are joined, '%s' is too much",
				   SLUICE_JOIN_INPUTS, arg);
		args->name[args->n++] = arg;
		return 0;
	case ARGP_KEY_END:
		if (args->n < 3)
			argp_error(state, "name the stages to be joined, at least two, and the one "
				   "that gets the whole");
		args->n--;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* "seen, heard": whose part did not come. */
static const char *missing(const struct joiner *j, const struct sluice_joined *set,
			   char text[CTL_WHY_MAX])
{
	size_t used = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < j->args->n; i++) {
		if (set->have & 1u << i || used >= CTL_WHY_MAX)
			continue;
		used += (size_t)snprintf(text + used, CTL_WHY_MAX - used, "%s%s",
					 used ? ", " : "", j->args->name[i]);
	}
	return text;
}

static int fail(struct joiner *j, const struct sluice_joined *set, int reason, const char *why)
{
	int err = sluice_join_fail(j->join, set, reason);

	ctl_error("stream %llu counter %llu: %s", (unsigned long long)set->stream,
		  (unsigned long long)set->counter, why);
	return err && err != -ESTALE ? ctl_library_error(err) : CTL_OK;
}

static int too_late(struct joiner *j, const struct sluice_joined *set)
{
	char text[CTL_WHY_MAX], why[CTL_WHY_MAX + 64];

	snprintf(why, sizeof(why), "nothing came from %s in time; the other parts are dead letters",
		 missing(j, set, text));
	return fail(j, set, ETIME, why);
}

/* All parts into a buffer of the next stage, published before they are acknowledged. */
static int send_whole(struct joiner *j, const struct sluice_joined *set)
{
	size_t bytes = sluice_parts_bytes(set->part, j->args->n);
	struct sluice_msg whole = {
		.stream = set->stream, .counter = set->counter, .len = (uint32_t)bytes,
		.kind = set->part[0].kind,
	};
	struct sluice_buffer buf;
	int err;

	if (!bytes || bytes > sluice_buffer_size(j->out))
		return -EMSGSIZE;
	err = sluice_buffer_take(j->out, &buf, ROOM_NS);
	if (err == -EINTR)
		err = sluice_buffer_take(j->out, &buf, SLUICE_NOW);
	if (err)
		return err;
	err = sluice_parts_write(buf.data, sluice_buffer_size(j->out), set->part, j->args->n);
	if (!err && !sluice_join_holds(j->join, set))
		err = -ESTALE;
	whole.buffer = buf.index;
	if (!err)
		err = sluice_post(j->out, &whole);
	if (err < 0)
		sluice_buffer_drop(j->out, &buf);
	return err < 0 ? err : 0;
}

static int join_one(struct joiner *j, const struct sluice_joined *set)
{
	int err = send_whole(j, set);

	if (err == -ESTALE)	/* somebody else's by now, and no longer ours to settle */
		return CTL_OK;
	if (err == -EMSGSIZE)
		return fail(j, set, EMSGSIZE, "the parts together do not fit into a buffer of the "
			    "next stage; recreate that with a larger buffer_size");
	if (err == -ESHUTDOWN)
		return ctl_library_error(err);
	if (err) {
		sluice_join_back(j->join, set, GIVE_BACK_MS);
		return CTL_OK;
	}
	if (j->args->verbose)
		ctl_error("stream %llu counter %llu: joined", (unsigned long long)set->stream,
			  (unsigned long long)set->counter);
	err = sluice_join_ack(j->join, set);
	return err && err != -ESTALE ? ctl_library_error(err) : CTL_OK;
}

/* Until SIGTERM; what waits for parts then is given back. */
static int join_all(struct joiner *j)
{
	struct sluice_joined set;
	int err, status = CTL_OK;

	while (!status) {
		err = sluice_join_next(j->join, &set, SLUICE_FOREVER);
		if (!err)
			status = join_one(j, &set);
		else if (err == -ETIME)
			status = too_late(j, &set);
		else if (err == -EINTR || err == -ESHUTDOWN)
			break;
		else if (err != -EAGAIN)
			return ctl_library_error(err);
	}
	return status;
}

static int join_open(struct joiner *j)
{
	struct join_args *args = j->args;
	int err = sluice_attach(j->port.ctx, args->name[args->n], SLUICE_PRODUCER, 0, &j->out);

	j->in[0] = j->port.ep;
	for (unsigned int i = 1; !err && i < args->n; i++)
		err = sluice_attach(j->port.ctx, args->name[i], SLUICE_CONSUMER, 0, &j->in[i]);
	if (!err)
		err = sluice_join_create(j->in, args->n, args->deadline_ns, args->window, &j->join);
	return err ? ctl_library_error(err) : CTL_OK;
}

int cmd_join(const struct ctl_command *cmd, int argc, char **argv)
{
	static struct join_args args = { .deadline_ns = 5000000000 };
	struct joiner j = { .args = &args };
	int status = ctl_parse(cmd, join_options, join_parser, argc, argv, &args);

	if (!status)
		status = port_open(&j.port, args.name[0], SLUICE_CONSUMER);
	if (status)
		return status;
	status = join_open(&j);
	if (!status)
		status = join_all(&j);
	sluice_join_destroy(j.join);
	for (unsigned int i = 1; i < args.n; i++)
		sluice_detach(j.in[i]);
	sluice_detach(j.out);
	port_close(&j.port);
	return status;
}
