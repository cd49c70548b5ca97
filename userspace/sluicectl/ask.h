/* SPDX-License-Identifier: MIT */
/* ask.h - what run and chat share: options of a request, waiting for its answer */
#ifndef SLUICECTL_ASK_H
#define SLUICECTL_ASK_H

#include <argp.h>
#include <json-c/json.h>

#include "../client/client.h"

/**
 * struct ask_failure - why a stage gave an answer up
 * @stage:	as its ring is called
 * @attempt:	how often the message had been claimed, 0 if it is not known
 * @error:	positive errno, 0: nothing failed
 * @retry_after_ms: when it is worth trying again, 0 if it is not said
 * @reason:	one line
 * @told:	a line about it was printed
 */
struct ask_failure {
	char		stage[SLUICE_NAME_MAX];
	uint32_t	attempt;
	uint32_t	retry_after_ms;
	int		error;
	char		reason[512];
	bool		told;
};

/**
 * struct ask - a pipeline and how it is asked
 * @request:	sampling and limits; text or turns come from the caller
 * @pipeline:	name of --pipeline, NULL: stages with the usual names
 * @timeout_ns:	longest time without a token
 * @deadline_ns: of --deadline, from the moment of asking; 0: none
 * @retry_ns:	how long a busy pipeline is asked again; 0: once only
 * @seeded:	--seed was given; else each request gets a seed of its own
 * @failure:	out: of the last ask_answer()
 */
struct ask {
	struct client_request	request;
	const char		*stops[MSG_MAX_STOPS];
	const char		*pipeline;
	int64_t			timeout_ns;
	int64_t			deadline_ns;
	int64_t			retry_ns;
	bool			seeded;
	struct ask_failure	failure;
	struct client		*client;
};

enum {
	ASK_TEMPERATURE = 512, ASK_TOP_K, ASK_TOP_P, ASK_SEED, ASK_STOP, ASK_PIPELINE, ASK_TIMEOUT,
	ASK_MODEL, ASK_DEADLINE, ASK_RETRY,
};

/* For the option table of a command; ask_option() reads them. */
#define ASK_OPTIONS								\
	{ "tokens", 'n', "N", 0, "At most N tokens (until the context is full)", 0 },	\
	{ "temperature", ASK_TEMPERATURE, "T", 0,				\
	  "0: always the likeliest token (the default); higher: more varied", 0 }, \
	{ "top-k", ASK_TOP_K, "K", 0, "Choose among the K likeliest tokens (0: all)", 0 }, \
	{ "top-p", ASK_TOP_P, "P", 0,						\
	  "Choose among the likeliest tokens that make up P (1: all)", 0 },	\
	{ "seed", ASK_SEED, "N", 0, "The same seed gives the same text (random)", 0 }, \
	{ "stop", ASK_STOP, "TEXT", 0, "Stop before this text; up to 8 times", 0 }, \
	{ "pipeline", ASK_PIPELINE, "NAME", 0, "Ask this running pipeline", 0 },	\
	{ "model", ASK_MODEL, "NAME", 0,					\
	  "Say which model it is for, where rules choose by it", 0 },		\
	{ "deadline", ASK_DEADLINE, "TIME", 0,					\
	  "Say that it is wanted within this time, for rules likewise", 0 },	\
	{ "retry", ASK_RETRY, "TIME", 0,					\
	  "If the pipeline is busy, ask again for so long, when it says (0)", 0 }, \
	{ "timeout", ASK_TIMEOUT, "TIME", 0,					\
	  "Give up after so long without a token (5m)", 0 }

/** ask_defaults() - before the options are read */
void ask_defaults(struct ask *ask);

/** ask_option() - one option. Return: 0 or ARGP_ERR_UNKNOWN */
error_t ask_option(struct ask *ask, int key, char *arg, struct argp_state *state);

/**
 * ask_open() - connect to the pipeline; from here on SIGINT, SIGTERM and SIGHUP stop an answer
 * Return: CTL_OK, or an exit status after the error was printed.
 */
int ask_open(struct ask *ask);
void ask_close(struct ask *ask);

/** ask_interrupted() - was there a signal since the last call? */
bool ask_interrupted(void);

/** ask_terminated() - was there a SIGTERM or SIGHUP? Then close and leave: the reply stage goes */
bool ask_terminated(void);

/** ask_event_fn - one CLIENT_TEXT or the CLIENT_END; false: stop, the answer cannot be used */
typedef bool ask_event_fn(const struct client_event *ev, void *data);

/**
 * ask_answer() - send the request and hand out its events
 *
 * Return: CTL_OK, CTL_INTERRUPTED after a SIGINT (the stream was cancelled, its end was waited
 * for), CTL_FAILED when @on_event said so (cancelled, too), CTL_BUSY or CTL_FAILED when a stage gave
 * it up (@ask->failure; BUSY when --retry was over), CTL_TIMEOUT or another exit status after the error was printed.
 */
int ask_answer(struct ask *ask, ask_event_fn *on_event, void *data);

/** ask_check_utf8() - a prompt must be UTF-8 and not empty: CTL_OK, or CTL_USAGE and an error */
int ask_check_utf8(const char *text, size_t len);

#endif /* SLUICECTL_ASK_H */
