// SPDX-License-Identifier: MIT
/* ask.c - what run and chat share: options of a request, waiting for its answer */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "ask.h"
#include "pipeline.h"
#include "sluicectl.h"
#include "state.h"

#define SECOND_NS	1000000000ll
#define PATIENCE_NS	(2 * SECOND_NS)		/* then look whether a stage is unserved */
#define RETRY_NS	(SECOND_NS / 10)	/* if the pipeline does not say when */
#define CANCEL_NS	(5 * SECOND_NS)		/* for the end of a stream after its cancellation */

static struct client *volatile interruptible;
static volatile sig_atomic_t interrupted, terminated;

void ask_defaults(struct ask *ask)
{
	*ask = (struct ask){ .timeout_ns = 300 * SECOND_NS };
}

static void add_stop(struct ask *ask, const char *text, struct argp_state *state)
{
	struct client_request *r = &ask->request;

	if (r->n_stops == MSG_MAX_STOPS)
		argp_error(state, "--stop: at most %u are possible", MSG_MAX_STOPS);
	if (!text[0] || strlen(text) >= MSG_MAX_STOP)
		argp_error(state, "--stop: a text of 1 to %u bytes is wanted", MSG_MAX_STOP - 1);
	ask->stops[r->n_stops++] = text;
}

error_t ask_option(struct ask *ask, int key, char *arg, struct argp_state *state)
{
	struct client_request *r = &ask->request;

	switch (key) {
	case 'n':
		r->max_tokens = (uint32_t)ctl_option_number(state, "--tokens", arg, UINT32_MAX);
		if (!r->max_tokens)
			argp_error(state, "--tokens: at least 1");
		return 0;
	case ASK_TEMPERATURE:
		r->temperature = (float)ctl_option_real(state, "--temperature", arg, 0, 100);
		return 0;
	case ASK_TOP_K:
		r->top_k = (uint32_t)ctl_option_number(state, "--top-k", arg, UINT32_MAX);
		return 0;
	case ASK_TOP_P:
		r->top_p = (float)ctl_option_real(state, "--top-p", arg, 0, 1);
		return 0;
	case ASK_SEED:
		r->seed = ctl_option_number(state, "--seed", arg, UINT64_MAX);
		ask->seeded = true;
		return 0;
	case ASK_STOP:
		add_stop(ask, arg, state);
		return 0;
	case ASK_PIPELINE:
		ask->pipeline = arg;
		return 0;
	case ASK_MODEL:
		r->model = arg;
		return 0;
	case ASK_DEADLINE:
		ask->deadline_ns = ctl_option_duration(state, "--deadline", arg);
		return 0;
	case ASK_RETRY:
		ask->retry_ns = ctl_option_duration(state, "--retry", arg);
		return 0;
	case ASK_TIMEOUT:
		ask->timeout_ns = ctl_option_duration(state, "--timeout", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* -------------------------------------------------------------- connection --- */

static void on_signal(int number)
{
	interrupted = 1;
	if (number != SIGINT)
		terminated = 1;
	if (interruptible)
		client_interrupt(interruptible);
}

bool ask_interrupted(void)
{
	bool was = interrupted;

	interrupted = 0;
	return was;
}

static int client_failed(int err)
{
	ctl_error("%s", client_error());
	return ctl_exit_of(err);
}

bool ask_terminated(void)
{
	return terminated;
}

/* Where the pipeline says that its stages have other names than the usual ones. */
static int name_stages(const char *pipeline, struct json_object *state,
		       struct client_options *options)
{
	struct json_object *client;

	if (!state) {
		ctl_error("no pipeline '%s' is up; 'sluicectl up FILE' brings one up", pipeline);
		return CTL_NOT_FOUND;
	}
	if (!json_object_object_get_ex(state, "client", &client))
		return CTL_OK;
	for (int i = 0; i < PIPELINE_ROLES; i++) {
		const char *name = state_string(client, pipeline_roles[i]);

		if (name[0])
			options->stages[i] = name;
	}
	return CTL_OK;
}

int ask_open(struct ask *ask)
{
	const struct sigaction action = { .sa_handler = on_signal };
	struct client_options options = { .ctx_flags = SLUICE_CTX_NO_SPIN };
	struct json_object *state = NULL;
	int err, status = CTL_OK;

	if (ask->pipeline) {
		state = state_read(ask->pipeline);
		status = name_stages(ask->pipeline, state, &options);
	}
	if (!status) {
		err = client_open(&options, &ask->client);
		status = err ? client_failed(err) : CTL_OK;
	}
	json_object_put(state);
	if (status)
		return status;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	return CTL_OK;
}

void ask_close(struct ask *ask)
{
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	client_close(ask->client);
	ask->client = NULL;
}

/* ------------------------------------------------------------------ answer --- */

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND_NS + t.tv_nsec;
}

static int too_late(const struct ask *ask, const char *stage)
{
	double seconds = ask->timeout_ns / 1e9;

	if (stage)
		ctl_error("no token came for %g s: nobody serves stage '%s'; 'sluicectl up' starts "
			  "and supervises its daemon", seconds, stage);
	else
		ctl_error("no token came for %g s: the pipeline is overloaded or stuck; 'sluicectl "
			  "list' tells more, a longer --timeout waits longer", seconds);
	return -ETIMEDOUT;
}

/* The next event; tells people once when it takes long because somebody is missing. */
static int next_event(struct ask *ask, struct client_event *ev, bool *told)
{
	int64_t deadline = now_ns() + ask->timeout_ns;
	const char *stage;
	int err;

	for (;;) {
		int64_t left = deadline - now_ns();

		if (left < 0)
			left = 0;
		err = client_next(ask->client, ev, left < PATIENCE_NS ? left : PATIENCE_NS);
		if (err != -EAGAIN)
			return err;
		stage = client_stalled(ask->client);
		if (!left)
			return too_late(ask, stage);
		if (stage && !*told)
			ctl_error("waiting: nobody serves stage '%s' at the moment", stage);
		*told = stage != NULL;
	}
}

/* What a stage says of its failure, in parts for --json. */
static int failed(struct ask *ask, const struct client_event *ev)
{
	struct ask_failure *f = &ask->failure;

	f->error = -ev->error;
	f->attempt = ev->error_attempt;
	f->retry_after_ms = ev->retry_after_ms;
	snprintf(f->stage, sizeof(f->stage), "%s",
		 ev->error_name[0] ? ev->error_name : msg_stage_name(ev->error_stage));
	snprintf(f->reason, sizeof(f->reason), "%.*s", (int)ev->text_len, ev->text ?: "");
	return f->error == EBUSY || f->error == EHOSTDOWN ? CTL_BUSY : CTL_FAILED;
}

/* The same in one line, for people. */
static void print_failure(struct ask_failure *f)
{
	f->told = true;
	ctl_error("stage '%s': %s (%s%s%.0u)", f->stage, f->reason,
		  strerrorname_np(f->error) ?: "unknown error", f->attempt ? ", attempt " : "",
		  f->attempt);
}

/* No stage could say it: the pipeline is gone, or silent. */
static void nobody_said(struct ask *ask, const char *stage, int error, const char *reason)
{
	struct ask_failure *f = &ask->failure;

	*f = (struct ask_failure){ .error = error, .told = true };
	snprintf(f->stage, sizeof(f->stage), "%s", stage ?: "");
	snprintf(f->reason, sizeof(f->reason), "%s", reason);
}

/* After Ctrl-C: stop the stream and drop what still comes of it. */
static void cancel(struct ask *ask, uint64_t stream)
{
	int64_t deadline = now_ns() + CANCEL_NS, left;
	struct client_event ev;
	int err = client_cancel(ask->client, stream);

	while (!err && (left = deadline - now_ns()) > 0) {
		err = client_next(ask->client, &ev, left);
		if (err == -EINTR)
			err = 0;
		else if (!err && ev.stream == stream && ev.type != CLIENT_TEXT)
			return;
	}
}

/* Does not print what a stage said of its failure: it may be worth another try. */
static int wait_for_end(struct ask *ask, uint64_t stream, ask_event_fn *on_event, void *data,
			bool *answered)
{
	struct client_event ev;
	bool told = false;
	int err;

	do {
		err = next_event(ask, &ev, &told);
		if (err == -EINTR) {
			cancel(ask, stream);
			return CTL_INTERRUPTED;
		}
		if (err == -ETIMEDOUT) {
			nobody_said(ask, client_stalled(ask->client), ETIMEDOUT,
				    "no token came in time");
			client_cancel(ask->client, stream);
			return CTL_TIMEOUT;
		}
		if (err == -ESHUTDOWN)
			nobody_said(ask, client_stalled(ask->client), ESHUTDOWN, client_error());
		if (err)
			return client_failed(err);
		if (ev.type == CLIENT_ERROR)
			return failed(ask, &ev);
		*answered = true;
		if (!on_event(&ev, data)) {
			if (ev.type != CLIENT_END)
				cancel(ask, stream);
			return CTL_FAILED;
		}
	} while (ev.type != CLIENT_END);
	return CTL_OK;
}

/* @answered: some of the answer has come, which cannot be taken back. */
static int ask_once(struct ask *ask, ask_event_fn *on_event, void *data, bool *answered)
{
	uint64_t stream;
	int err, status;

	ask->failure = (struct ask_failure){ .error = 0 };
	err = client_submit(ask->client, &ask->request, &stream);
	if (err)
		return client_failed(err);
	/* Only now: a Ctrl-C at the prompt of a chat is not meant for the next answer. */
	interrupted = 0;
	interruptible = ask->client;
	if (terminated)
		client_interrupt(ask->client);
	status = wait_for_end(ask, stream, on_event, data, answered);
	interruptible = NULL;
	return status;
}

/*
 * Until the pipeline said that it is worth trying again, and up to a quarter longer: all who were
 * refused at the same time were told the same. False: a signal, or past @give_up.
 */
static bool wait_for_retry(const struct ask *ask, int64_t give_up)
{
	int64_t ms = ask->failure.retry_after_ms, wait = ms ? ms * (SECOND_NS / 1000) : RETRY_NS;
	uint8_t share = 0;
	struct timespec t;

	if (getrandom(&share, sizeof(share), 0) == sizeof(share))
		wait += wait / 4 * share / UINT8_MAX;
	if (now_ns() + wait > give_up)
		return false;
	t = (struct timespec){ .tv_sec = wait / SECOND_NS, .tv_nsec = wait % SECOND_NS };
	return !nanosleep(&t, NULL) && !interrupted;
}

int ask_answer(struct ask *ask, ask_event_fn *on_event, void *data)
{
	struct client_request *r = &ask->request;
	int64_t give_up = now_ns() + ask->retry_ns;
	bool answered = false, again;
	int status;

	r->stops = ask->stops;
	/* 63 bits, so that every JSON reader can give it back. */
	if (!ask->seeded && getrandom(&r->seed, sizeof(r->seed), 0) == sizeof(r->seed))
		r->seed &= INT64_MAX;
	if (ask->deadline_ns > 0)
		r->deadline = (uint64_t)(now_ns() + ask->deadline_ns);
	do {
		status = ask_once(ask, on_event, data, &answered);
		again = status == CTL_BUSY && !answered && wait_for_retry(ask, give_up);
	} while (again);
	if (status == CTL_BUSY && interrupted)
		return CTL_INTERRUPTED;
	if (ask->failure.error && !ask->failure.told)
		print_failure(&ask->failure);
	return status;
}

int ask_check_utf8(const char *text, size_t len)
{
	struct json_object *string;

	if (!len) {
		ctl_error("the prompt is empty: say something");
		return CTL_USAGE;
	}
	string = ctl_json_utf8(text, len);
	if (!string) {
		ctl_error("the prompt is not UTF-8: convert it, such as with 'iconv -f latin1 -t "
			  "utf-8'");
		return CTL_USAGE;
	}
	json_object_put(string);
	return CTL_OK;
}
