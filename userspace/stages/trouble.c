// SPDX-License-Identifier: MIT
/*
 * trouble.c - what a daemon does when it cannot do its work: errors are messages, too
 *
 * Whatever goes wrong with a message, its client gets one ERROR with stage, attempt, errno and a
 * line of text. It goes by way of the output stage, which ends the stream in all stages; if that is
 * gone, straight to the client's reply stage. A client gets the first of several and drops the
 * others: the stream is over by then.
 *
 * A daemon that fails message after message shuts itself off for a while (breaker.h): it refuses at
 * once what it would fail anyway, and then tries one. The first stage of the pipeline looks at all
 * of them before it lets a request in.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "breaker.h"
#include "replies.h"
#include "stage.h"
#include "stage_pvt.h"

#define NS_PER_MS	1000000ull
#define REPLIES		16u	/* clients that this daemon speaks to without the output stage */

/**
 * struct trouble - of one daemon
 * @accepts:	what the pipeline's file declares for this stage, or stage_ops.takes
 * @declared:	there is something in @accepts
 * @gone:	rings that were destroyed, bits by output
 * @failing:	a message is being settled as an error
 * @probe:	ticket of the message that decides whether the breaker closes, begun at @probe_at
 * @row:	this daemon's, NULL without a board
 */
struct trouble {
	struct sluice_accepts	accepts;
	bool			declared;
	uint64_t		gone;
	struct replies		*replies;
	struct breaker		breaker;
	bool			failing;
	bool			probing;
	uint64_t		probe;
	uint64_t		probe_at;
	struct board		*board;
	struct board_row	*row;
};

/* ------------------------------------------------------------ start and end --- */

static uint64_t from_environment(const char *name, uint64_t usual)
{
	const char *text = getenv(name);
	char *end;
	unsigned long long value = text ? strtoull(text, &end, 10) : 0;

	return text && *text && !*end ? value : usual;
}

/* As sluicectl up gives them to its daemons; the names are in docs/errors.md. */
static void read_policy(struct trouble *t)
{
	const struct breaker_policy policy = {
		.failures = (uint32_t)from_environment("SLUICE_BREAKER_FAILURES", 8),
		.window_ns = from_environment("SLUICE_BREAKER_WINDOW_MS", 30000) * NS_PER_MS,
		.backoff_ns = from_environment("SLUICE_BREAKER_BACKOFF_MS", 2000) * NS_PER_MS,
		.backoff_max_ns = from_environment("SLUICE_BREAKER_MAX_MS", 60000) * NS_PER_MS,
	};

	breaker_init(&t->breaker, &policy);
}

static int read_accepts(struct stage *st)
{
	struct trouble *t = st->trouble;
	const char *line = getenv("SLUICE_ACCEPTS");

	if (!line || !line[0])
		line = st->ops->takes;
	t->declared = line;
	if (!line || !sluice_accepts_parse(&t->accepts, line))
		return 0;
	stage_log("SLUICE_ACCEPTS: %s", sluice_error());
	return -EINVAL;
}

/* Without a board the pipeline works as well, only nobody sees this breaker. */
static void find_row(struct stage *st)
{
	struct trouble *t = st->trouble;
	const char *path = getenv(BOARD_ENVIRONMENT);

	if (!path || !path[0])
		return;
	if (board_open(path, true, &t->board)) {
		stage_log("cannot show breakers in %s: it is not a board of this release", path);
		return;
	}
	t->row = board_find(t->board, getenv("SLUICE_STAGE") ?: "",
			    (uint32_t)from_environment("SLUICE_REPLICA", 0));
	if (t->row)
		board_show(&t->row->work, &t->breaker);
}

int trouble_create(struct stage *st)
{
	int ret;

	st->trouble = calloc(1, sizeof(*st->trouble));
	if (!st->trouble)
		return -ENOMEM;
	read_policy(st->trouble);
	find_row(st);
	ret = read_accepts(st);
	return ret ? ret : replies_create(st->ctx, REPLIES, &st->trouble->replies);
}

void trouble_free(struct stage *st)
{
	struct trouble *t = st->trouble;

	if (!t)
		return;
	replies_free(t->replies);
	board_close(t->board);
	free(t);
	st->trouble = NULL;
}

/* ------------------------------------------------------------------ telling --- */

/* Past the output stage: for when it is not there, or is who speaks. */
static void tell_directly(struct stage *st, const struct stage_input *in, const char *reply,
			  const struct msg_failure *f)
{
	struct msg_reply r = {
		.kind = MSG_ERROR, .token = -1, .error = (uint32_t)f->error, .stage = f->stage,
		.attempt = f->attempt, .retry_ms = f->retry_ms,
	};
	char text[MSG_MAX_TEXT];

	r.text_bytes = (uint32_t)msg_failure_text(f, text);
	if (replies_send(st->trouble->replies, reply, in->m.stream, in->m.counter, &r, text,
			 NULL) && st->opt.verbose)
		stage_log("stream %016llx: %s cannot be told: %s",
			  (unsigned long long)in->m.stream, reply, f->text);
	replies_sweep(st->trouble->replies);
}

/* By the output stage. Return: 0, -ESHUTDOWN if it is gone, or another reason why it did not go. */
static int tell_output(struct stage *st, const struct stage_input *in, const char *reply,
		       const struct msg_failure *f)
{
	struct sluice_msg m = {
		.stream = in->m.stream, .counter = in->m.counter, .kind = MSG_ERROR,
	};
	struct sluice_ep *ep = stage_out(st, MSG_OUTPUT);
	struct sluice_buffer buf;
	ssize_t len;
	int ret = ep ? stage_take_buffer(st, MSG_OUTPUT, &buf) : -ESHUTDOWN;

	if (ret)
		return ret;
	len = msg_failed(buf.data, sluice_buffer_size(ep), reply, f);
	m.len = len < 0 ? 0 : (uint32_t)len;
	m.buffer = buf.index;
	ret = len < 0 ? (int)len : sluice_post(ep, &m);
	if (ret >= 0)
		return 0;
	stage_put_buffer(st, MSG_OUTPUT, &buf);
	return ret;
}

/* Return: 0, or -EAGAIN when the claim should be given back: there is no room to say it. */
static int tell(struct stage *st, const struct stage_input *in, const char *reply,
		const struct msg_failure *f)
{
	int ret = tell_output(st, in, reply, f);

	if (!ret)
		return 0;
	if (ret == -EAGAIN || ret == -EINTR)
		return -EAGAIN;
	tell_directly(st, in, reply, f);
	return 0;
}

static void fail(struct stage *st, struct stage_input *in, const struct msg_failure *f)
{
	if (st->opt.verbose)
		stage_log("stream %016llx: %s", (unsigned long long)in->m.stream, f->text);
	st->trouble->failing = true;	/* an acknowledgement now is no success */
	if (st->ops->fail)
		st->ops->fail(st, in, f);
	else if (!stage_holds(st, in))
		;
	else if (tell(st, in, in->v.head.reply, f))
		stage_give_back(st, in);
	else
		stage_ack(st, in);
	st->trouble->failing = false;
}

static struct msg_failure failure_of(const struct stage *st, const struct stage_input *in,
				     int errnum, const char *text)
{
	return (struct msg_failure){
		.name = st->opt.names[st->ops->self] ?: msg_stage_name(st->ops->self),
		.stage = st->ops->self, .attempt = in->m.attempt, .error = errnum, .text = text,
	};
}

void stage_error(struct stage *st, struct stage_input *in, int errnum, const char *fmt, ...)
{
	struct msg_failure f;
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	f = failure_of(st, in, errnum, text);
	trouble_failed(st, in, errnum);
	fail(st, in, &f);
}

void stage_later(struct stage *st, struct stage_input *in, uint32_t retry_ms, const char *fmt, ...)
{
	struct msg_failure f;
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	f = failure_of(st, in, EBUSY, text);
	f.retry_ms = retry_ms;
	fail(st, in, &f);
}

void trouble_refuse(struct stage *st, struct stage_input *in, int errnum, const char *why)
{
	const struct msg_failure f = failure_of(st, in, errnum, why);
	char reply[SLUICE_NAME_MAX];

	stage_log("refused message %llu of stage %s (kind %u, %u bytes): %s",
		  (unsigned long long)in->m.ticket, sluice_stage_name(st->in), in->m.kind,
		  in->m.len, why);
	if (!msg_address(in->m.data, in->m.len, reply) && stage_holds(st, in)) {
		/* If there is no room now, whoever reads the letters tells it. */
		if (st->ops->fail)
			tell_directly(st, in, reply, &f);
		else
			tell(st, in, reply, &f);
	}
	sluice_nack(st->in, &in->m, errnum, 0, SLUICE_NACK_DEAD);
}

/* -------------------------------------------------------------- downstream --- */

_Static_assert(STAGE_OUTPUTS <= 64, "a bit for each output");

struct sluice_ep *stage_out(struct stage *st, unsigned int to)
{
	return st->trouble && st->trouble->gone & 1ull << to ? NULL : st->out[to];
}

const char *stage_out_name(const struct stage *st, unsigned int to)
{
	if (to >= STAGE_ROUTED)
		return st->opt.routes.stage[to - STAGE_ROUTED];
	return to == STAGE_NEXT ? st->opt.next : st->opt.names[to];
}

void trouble_gone(struct stage *st, struct stage_input *in, unsigned int to)
{
	struct msg_failure f = failure_of(st, in, ESHUTDOWN, "was destroyed while a message was on "
					  "its way there: 'sluicectl up' makes it again");

	if (!(st->trouble->gone & 1ull << to))
		stage_log("stage %s was destroyed; its messages are errors until it is back",
			  stage_out_name(st, to));
	st->trouble->gone |= 1ull << to;
	f.name = stage_out_name(st, to);
	f.stage = to < MSG_CLIENT ? (enum msg_stage)to : MSG_CLIENT;
	fail(st, in, &f);
}

/* Results that were begun are gone with their buffers, so this is for between two claims. */
void trouble_return(struct stage *st)
{
	for (unsigned int i = 0; i < STAGE_OUTPUTS && st->trouble->gone; i++) {
		struct sluice_ep *ep;

		if (!(st->trouble->gone & 1ull << i) ||
		    sluice_attach(st->ctx, stage_out_name(st, i), SLUICE_PRODUCER, 0, &ep))
			continue;
		sluice_detach(st->out[i]);
		st->out[i] = ep;
		st->has_spare[i] = false;
		st->trouble->gone &= ~(1ull << i);
		stage_log("stage %s is back", stage_out_name(st, i));
	}
}

/* ------------------------------------------------------------------- types --- */

/* A typed message has nowhere to answer to, so it is refused even if its type is declared. */
void trouble_refuse_strange(struct stage *st, struct stage_input *in, const char *otherwise)
{
	struct trouble *t = st->trouble;
	char text[SLUICE_TYPE_TEXT], why[512];
	struct sluice_tensor type;
	const void *data;
	int err = EBADMSG, ret = sluice_tensor_read(&in->m, &type, &data);

	snprintf(why, sizeof(why), "%s", otherwise);
	if (!ret)	/* where nothing is declared, no type is taken */
		ret = sluice_tensor_check(&type, &t->accepts);
	if (!ret) {
		err = EDESTADDRREQ;
		snprintf(why, sizeof(why), "a message of type %s says no reply stage: put it into "
			 "a REQUEST", sluice_tensor_format(&type, text));
	} else if (ret != -ENOMSG) {
		err = -ret;
		snprintf(why, sizeof(why), "%s", sluice_error());
	}
	trouble_refuse(st, in, err, why);
}

/* What a client put into its request may say what it is; the text behind such a head is used. */
static int request_type(struct stage_input *in, struct sluice_tensor *type)
{
	const struct sluice_msg content = {
		.data = in->v.data, .len = in->v.head.data_bytes, .buffer = in->m.buffer,
	};
	const void *data;
	int ret = sluice_tensor_read(&content, type, &data);

	if (ret == -ENOMSG) {
		msg_type(&in->v.head, type);
		return 0;
	}
	if (ret)
		return ret;
	in->v.data = data;
	in->v.head.data_bytes = type->bytes;
	return 0;
}

static bool right_type(struct stage *st, struct stage_input *in)
{
	struct sluice_tensor type;
	int ret = 0;

	if (!st->trouble->declared)
		return true;
	if (in->m.kind == MSG_REQUEST)
		ret = request_type(in, &type);
	else if (!msg_type(&in->v.head, &type))
		return true;
	if (!ret)
		ret = sluice_tensor_check(&type, &st->trouble->accepts);
	if (ret)
		trouble_refuse(st, in, -ret, sluice_error());
	return !ret;
}

/* ---------------------------------------------------------------- breakers --- */

/* Whose fault is it? What the client can change is not ours, nor is another stage's absence. */
static bool ours(int errnum)
{
	switch (errnum) {
	case EINVAL:
	case E2BIG:
	case EBUSY:
	case EBADMSG:
	case EPROTOTYPE:
	case EOPNOTSUPP:
	case EHOSTDOWN:
	case ESHUTDOWN:
	case EOWNERDEAD:
		return false;
	default:
		return true;
	}
}

static void show(struct trouble *t)
{
	if (t->row)
		board_show(&t->row->work, &t->breaker);
}

static bool is_probe(const struct trouble *t, const struct stage_input *in)
{
	return t->probing && t->probe == in->m.ticket;
}

void trouble_failed(struct stage *st, const struct stage_input *in, int errnum)
{
	struct trouble *t = st->trouble;

	if (ours(errnum)) {
		if (breaker_failure(&t->breaker, board_now()))
			stage_log("shut off for %llu ms after %u failures in a row",
				  (unsigned long long)(breaker_retry_ns(&t->breaker, board_now()) /
						       NS_PER_MS), t->breaker.count);
	} else if (is_probe(t, in)) {
		breaker_skip(&t->breaker, board_now());
	} else {
		return;
	}
	t->probing = t->probing && !is_probe(t, in);
	show(t);
}

/* Acknowledged, and it did not fail: of a closed breaker this is the usual case. */
void trouble_settled(struct stage *st, const struct stage_input *in)
{
	struct trouble *t = st->trouble;

	if (!t->breaker.count && t->breaker.state == BREAKER_CLOSED)
		return;
	if (t->failing || (t->breaker.state != BREAKER_CLOSED && !is_probe(t, in)))
		return;
	if (breaker_success(&t->breaker))
		stage_log("takes work again");
	t->probing = false;
	show(t);
}

static void refuse_for_now(struct stage *st, struct stage_input *in, const char *stage,
			   uint64_t retry_ns)
{
	struct msg_failure f;
	char text[160];

	snprintf(text, sizeof(text), "is shut off after repeated failures: try again in %.1f s",
		 (double)retry_ns / 1e9);
	f = failure_of(st, in, EHOSTDOWN, text);
	f.retry_ms = (uint32_t)((retry_ns + NS_PER_MS - 1) / NS_PER_MS);
	if (stage) {
		f.name = stage;
		f.stage = MSG_CLIENT;
		for (int i = 0; i < MSG_CLIENT; i++)
			f.stage = strcmp(st->opt.names[i], stage) ? f.stage : (enum msg_stage)i;
	}
	fail(st, in, &f);
}

/* Not closed: one message is tried when the time has come, and the others wait for its outcome. */
static bool try_one(struct stage *st, struct stage_input *in, uint64_t now)
{
	struct trouble *t = st->trouble;

	/* A probe that nothing was heard of (its claim was lost) is not waited for. */
	if (t->probing && now - t->probe_at > t->breaker.policy.backoff_ns)
		breaker_skip(&t->breaker, now);
	if (breaker_allow(&t->breaker, now)) {
		t->probing = true;
		t->probe = in->m.ticket;
		t->probe_at = now;
		show(t);
		return true;
	}
	if (t->breaker.state == BREAKER_OPEN)
		refuse_for_now(st, in, NULL, breaker_retry_ns(&t->breaker, now));
	else
		stage_give_back(st, in);
	return false;
}

/* A stage without which no request gets through. Where rules choose, another may be taken. */
static const char *find_shut(const struct stage *st, uint64_t *retry_ns)
{
	const char *needed[MSG_CLIENT];
	size_t n = 0;

	for (int i = 0; i < MSG_CLIENT; i++) {
		if (i != (int)st->ops->self && !(st->opt.routes.n && i == (int)st->ops->routed))
			needed[n++] = st->opt.names[i];
	}
	return board_shut(st->trouble->board, needed, n, board_now(), retry_ns);
}

bool trouble_admit(struct stage *st, struct stage_input *in)
{
	struct trouble *t = st->trouble;
	uint64_t retry = 0;
	const char *shut;

	if (!right_type(st, in))
		return false;
	/* These bring a stream to its end: they are not what fails. */
	if (in->m.kind == MSG_CANCEL || in->m.kind == MSG_ERROR)
		return true;
	if (in->m.kind == MSG_REQUEST && t->board) {
		shut = find_shut(st, &retry);
		if (shut) {
			refuse_for_now(st, in, shut, retry);
			return false;
		}
	}
	if (t->breaker.state == BREAKER_CLOSED)
		return true;
	return is_probe(t, in) || try_one(st, in, board_now());
}
