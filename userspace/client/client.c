// SPDX-License-Identifier: MIT
/* client.c - requests out, replies in: in order, once */

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

#define NS_PER_S	1000000000ll
#define SEND_WAIT_NS	(5 * NS_PER_S)	/* for room in the first stage */
#define LOOK_NS		NS_PER_S	/* between two looks whether the pipeline is still there */
#define REPLY_BYTES	16384u		/* one reply, with the ids of a prompt of 3,000 tokens */
#define HELD_MAX	256u		/* replies of a stream that came too early */
#define OPEN_TRIES	8

/* A reply that has been copied out of the ring. */
struct event {
	struct event		*next;
	struct client_event	ev;
	char			payload[];	/* text, then ids */
};

struct open_stream {
	uint64_t		id;
	uint64_t		next;		/* index that comes next */
	char			model[SLUICE_MODEL_MAX];
	struct event		*held;		/* later ones, by index */
	unsigned int		n_held;
};

struct client {
	struct sluice_ctx	*ctx;
	struct sluice_ep	*in;
	struct sluice_ep	*out;
	const char		*stages[MSG_CLIENT];
	char			names[MSG_CLIENT][SLUICE_NAME_MAX];
	char			reply[SLUICE_NAME_MAX];
	bool			made_reply;
	struct open_stream	*stream;
	size_t			n_streams, max_streams;
	struct event		*current;	/* what the caller is looking at */
};

static __thread char error_text[512];

static int fail(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fail(int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(error_text, sizeof(error_text), fmt, ap);
	va_end(ap);
	return err;
}

const char *client_error(void)
{
	return error_text;
}

/* ---------------------------------------------------------- open and close --- */

/* Is it the reply stage of a process that is gone? A living one may be about to attach to it. */
static bool orphan(const struct sluice_info *info)
{
	long pid;

	if (info->consumers || info->producers ||
	    strncmp(info->name, MSG_REPLY_PREFIX, strlen(MSG_REPLY_PREFIX)))
		return false;
	pid = strtol(info->name + strlen(MSG_REPLY_PREFIX), NULL, 10);
	return pid > 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

/* Stages of clients that died without closing, and whose streams were over. */
static void sweep_leftovers(void)
{
	struct sluice_info info = { .cookie = 0 };

	while (!sluice_next(&info)) {
		if (orphan(&info))
			sluice_destroy(info.name, 0, 0);
	}
}

static uint32_t slots_for(uint32_t n)
{
	uint32_t slots = SLUICE_MIN_SLOTS;

	while (slots < n && slots < SLUICE_MAX_BUFFERS)
		slots *= 2;
	return slots;
}

/*
 * A client in another pid namespace may take the stage for an orphan's between create and attach:
 * then make another.
 */
static bool taken(int err)
{
	return err == -ENOENT || err == -ENXIO || err == -ESHUTDOWN || err == -EEXIST;
}

static int make_reply(struct client *c, uint32_t slots)
{
	struct sluice_create create = {
		.nslots = slots, .nbufs = slots, .bufsize = REPLY_BYTES,
		.uid = geteuid(), .gid = getegid(), .mode = 0600,
	};
	uint32_t random;
	int ret = -ENOENT;

	for (int i = 0; i < OPEN_TRIES && taken(ret); i++) {
		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			return fail(-EIO, "the system gives no random numbers");
		snprintf(c->reply, sizeof(c->reply), MSG_REPLY_PREFIX "%d.%08x", getpid(), random);
		memcpy(create.name, c->reply, sizeof(create.name));
		ret = sluice_create(&create);
		if (ret == -EEXIST)
			continue;
		if (ret)
			return fail(ret, "cannot make the reply stage: %s", sluice_error());
		c->made_reply = true;
		ret = sluice_attach(c->ctx, c->reply, SLUICE_CONSUMER, 0, &c->in);
	}
	return ret ? fail(ret, "cannot attach to the reply stage: %s", sluice_error()) : 0;
}

static int connect_stages(struct client *c, const struct client_options *opt)
{
	const char *entry;
	int ret;

	for (unsigned int i = 0; i < MSG_CLIENT; i++) {
		const char *name = opt->stages[i] ? opt->stages[i] : msg_stage_name(i);

		if (strlen(name) >= SLUICE_NAME_MAX)
			return fail(-EINVAL, "stage name '%.60s' is too long", name);
		strcpy(c->names[i], name);
		c->stages[i] = c->names[i];
	}
	ret = sluice_ctx_create(opt->ctx_flags, &c->ctx);
	if (ret)
		return fail(ret, "%s", sluice_error());
	entry = c->stages[MSG_EMBEDDING];
	ret = sluice_attach(c->ctx, entry, SLUICE_PRODUCER, 0, &c->out);
	if (ret == -ENOENT)
		return fail(ret, "there is no stage '%s': start the pipeline first, with "
			    "`sluicectl up smollm2.toml`", entry);
	return ret ? fail(ret, "%s", sluice_error()) : 0;
}

int client_open(const struct client_options *opt, struct client **out)
{
	static const struct client_options defaults;
	struct client *c = calloc(1, sizeof(*c));
	int ret;

	*out = NULL;
	if (!c)
		return fail(-ENOMEM, "no memory for a client");
	if (!opt)
		opt = &defaults;
	ret = connect_stages(c, opt);
	if (!ret) {
		sweep_leftovers();
		ret = make_reply(c, slots_for(opt->reply_slots ? opt->reply_slots : 4096));
	}
	if (ret) {
		client_close(c);
		return ret;
	}
	*out = c;
	return 0;
}

static void drop_stream(struct client *c, struct open_stream *s)
{
	while (s->held) {
		struct event *e = s->held;

		s->held = e->next;
		free(e);
	}
	*s = c->stream[--c->n_streams];
}

void client_close(struct client *c)
{
	if (!c)
		return;
	while (c->n_streams) {
		client_cancel(c, c->stream[0].id);
		drop_stream(c, &c->stream[0]);
	}
	sluice_detach(c->out);
	sluice_detach(c->in);
	/* The output stage may still be attached; it learns that its client is gone. */
	if (c->made_reply)
		sluice_destroy(c->reply, 0, SLUICE_DESTROY_FORCE);
	sluice_ctx_destroy(c->ctx);
	free(c->current);
	free(c->stream);
	free(c);
}

void client_interrupt(struct client *c)
{
	sluice_interrupt(c->ctx);
}

/* ---------------------------------------------------------------- requests --- */

static int check_model(const struct client_request *r)
{
	size_t len = r->model ? strlen(r->model) : 0;

	if (len < SLUICE_MODEL_MAX && (!len || strspn(r->model, MSG_MODEL_LETTERS) == len))
		return 0;
	return fail(-EINVAL, "a model's name has at most %d letters, digits and . _ - : / + @",
		    SLUICE_MODEL_MAX - 1);
}

static int check_request(const struct client_request *r)
{
	if (r->n_turns && (r->text || r->raw))
		return fail(-EINVAL, "a request has either turns or a text");
	if (r->n_turns > MSG_MAX_TURNS)
		return fail(-EINVAL, "a conversation has at most %u turns", MSG_MAX_TURNS);
	if (!isfinite(r->temperature) || r->temperature < 0)
		return fail(-EINVAL, "temperature must be 0 (greedy) or more");
	if (!isfinite(r->top_p) || r->top_p < 0 || r->top_p > 1)
		return fail(-EINVAL, "top-p must be from 0 to 1");
	if (r->n_stops > MSG_MAX_STOPS)
		return fail(-EINVAL, "at most %u stop strings are possible", MSG_MAX_STOPS);
	for (size_t i = 0; i < r->n_stops; i++) {
		size_t len = strlen(r->stops[i]);

		if (!len || len >= MSG_MAX_STOP)
			return fail(-EINVAL, "a stop string has 1 to %u bytes", MSG_MAX_STOP - 1);
		/* Cutting there would leave half a character in the text. */
		if (((unsigned char)r->stops[i][0] & 0xc0) == 0x80)
			return fail(-EINVAL, "a stop string must begin with a whole character");
	}
	return check_model(r);
}

static size_t turn_bytes(size_t len)
{
	return sizeof(struct msg_turn) + ((len + 3) & ~(size_t)3);
}

static size_t request_bytes(const struct client_request *r)
{
	size_t bytes = 0;

	if (r->raw)
		return r->len;
	if (!r->n_turns)
		return turn_bytes(r->len);
	for (size_t i = 0; i < r->n_turns; i++)
		bytes += turn_bytes(r->turns[i].len);
	return bytes;
}

static char *put_turn(char *p, enum msg_role role, const char *content, size_t len)
{
	struct msg_turn turn = { .role = role, .len = (uint32_t)len };
	size_t bytes = turn_bytes(len);

	memset(p, 0, bytes);
	memcpy(p, &turn, sizeof(turn));
	if (len)
		memcpy(p + sizeof(turn), content, len);
	return p + bytes;
}

static void put_data(char *p, const struct client_request *r)
{
	if (r->raw) {
		if (r->len)
			memcpy(p, r->text, r->len);
		return;
	}
	if (!r->n_turns)
		put_turn(p, MSG_USER, r->text, r->len);
	for (size_t i = 0; i < r->n_turns; i++)
		p = put_turn(p, r->turns[i].role, r->turns[i].content, r->turns[i].len);
}

static void fill_view(const struct client *c, const struct client_request *r, struct msg_view *v)
{
	char *p = v->stops;

	memset(v, 0, sizeof(*v));
	v->head = (struct msg_head){
		.flags = (r->raw ? MSG_F_RAW : 0) | (r->parse_special ? MSG_F_PARSE_SPECIAL : 0) |
			 (r->ignore_eos ? MSG_F_IGNORE_EOS : 0),
		.seed = r->seed,
		.temperature = r->temperature,
		.top_p = r->top_p > 0 ? r->top_p : 1,
		.top_k = r->top_k,
		.max_tokens = r->max_tokens,
		.n_turns = r->raw ? 0 : r->n_turns ? (uint32_t)r->n_turns : 1,
		.n_stops = (uint32_t)r->n_stops,
	};
	v->head.deadline = r->deadline;
	if (r->model)
		strcpy(v->head.model, r->model);
	memcpy(v->head.reply, c->reply, sizeof(v->head.reply));
	for (size_t i = 0; i < r->n_stops; i++)
		p = stpcpy(p, r->stops[i]) + 1;
	v->head.stop_bytes = (uint32_t)(p - v->stops);
}

/* Send a message without a history to the first stage. */
static int send_first(struct client *c, enum msg_kind kind, uint64_t stream,
		      const struct msg_view *v, const struct client_request *r)
{
	size_t bytes = r ? request_bytes(r) : 0;
	struct sluice_msg m = { .stream = stream, .kind = kind, .flags = SLUICE_MSG_OPEN };
	struct sluice_buffer buf;
	struct msg_write w;
	int ret = sluice_buffer_take(c->out, &buf, SEND_WAIT_NS);

	if (ret)
		return fail(ret, "stage '%s' has no room for a request: %s",
			    c->stages[MSG_EMBEDDING], sluice_error());
	ret = msg_begin(buf.data, sluice_buffer_size(c->out), v, kind, 0, bytes, &w);
	if (ret) {
		sluice_buffer_drop(c->out, &buf);
		return fail(ret, "the prompt has %zu bytes, the buffers of stage '%s' only %zu: "
			    "shorten it, or recreate it with a larger buffer_size", bytes,
			    c->stages[MSG_EMBEDDING], sluice_buffer_size(c->out));
	}
	if (r)
		put_data(w.data, r);
	m.len = w.head->size;
	m.buffer = buf.index;
	ret = sluice_send(c->out, &m, SEND_WAIT_NS);
	if (!ret)
		return 0;
	sluice_buffer_drop(c->out, &buf);
	return fail(ret, "cannot send to stage '%s': %s", c->stages[MSG_EMBEDDING],
		    sluice_error());
}

static int room_for_stream(struct client *c)
{
	size_t max = c->max_streams ? 2 * c->max_streams : 4;
	struct open_stream *p;

	if (c->n_streams < c->max_streams)
		return 0;
	p = realloc(c->stream, max * sizeof(*p));
	if (!p)
		return fail(-ENOMEM, "no memory for another stream");
	c->stream = p;
	c->max_streams = max;
	return 0;
}

int client_submit(struct client *c, const struct client_request *r, uint64_t *stream)
{
	struct msg_view v;
	uint64_t id = 0;
	int ret = check_request(r);

	if (!ret)
		ret = room_for_stream(c);
	if (ret)
		return ret;
	while (!id) {
		if (getrandom(&id, sizeof(id), 0) != sizeof(id))
			return fail(-EIO, "the system gives no random numbers");
	}
	fill_view(c, r, &v);
	ret = send_first(c, MSG_REQUEST, id, &v, r);
	if (ret)
		return ret;
	c->stream[c->n_streams] = (struct open_stream){ .id = id };
	memcpy(c->stream[c->n_streams++].model, v.head.model, SLUICE_MODEL_MAX);
	*stream = id;
	return 0;
}

static struct open_stream *find_stream(struct client *c, uint64_t id)
{
	for (size_t i = 0; i < c->n_streams; i++) {
		if (c->stream[i].id == id)
			return &c->stream[i];
	}
	return NULL;
}

/* It goes where the request went, so it names the same model. */
int client_cancel(struct client *c, uint64_t stream)
{
	const struct open_stream *open = find_stream(c, stream);
	const struct client_request nothing = {
		.raw = true, .model = open ? open->model : NULL,
	};
	struct msg_view v;

	fill_view(c, &nothing, &v);
	return send_first(c, MSG_CANCEL, stream, &v, NULL);
}

/* ----------------------------------------------------------------- replies --- */

/* What a failed stage says goes to terminals. */
static void make_printable(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = '?';
	}
}

/* Name, NUL, line; what has no NUL is a line. */
static void read_failure(struct event *e, const struct msg_reply *r)
{
	size_t name = strnlen(e->payload, r->text_bytes);

	e->ev.error_attempt = r->attempt;
	e->ev.retry_after_ms = r->retry_ms;
	e->ev.error_name = "";
	if (name < r->text_bytes) {
		make_printable(e->payload, name);
		e->ev.error_name = e->payload;
		e->ev.text += name + 1;
		e->ev.text_len -= name + 1;
	}
	make_printable(e->payload + (e->ev.text - e->payload), e->ev.text_len);
}

static struct event *copy_event(const struct sluice_msg *m, uint64_t claimed)
{
	struct client_event *ev;
	const int32_t *ids;
	const char *text;
	struct msg_reply r;
	struct event *e;

	if (msg_read_reply(m, &r, &text, &ids))
		return NULL;
	e = calloc(1, sizeof(*e) + msg_reply_ids_offset(r.text_bytes) + r.n_ids * sizeof(*ids));
	if (!e)
		return NULL;
	ev = &e->ev;
	*ev = (struct client_event){
		.type = r.kind == MSG_TEXT ? CLIENT_TEXT :
			r.kind == MSG_END ? CLIENT_END : CLIENT_ERROR,
		.stream = m->stream, .index = m->counter, .token = r.token,
		.text = e->payload, .text_len = r.text_bytes,
		.reason = (enum msg_reason)r.reason, .error = -(int)r.error,
		.error_name = "",
		.error_stage = (enum msg_stage)r.stage,
		.n_prompt = r.n_prompt, .n_generated = r.n_generated, .n_hops = r.n_hops + 1,
	};
	memcpy(e->payload, text, r.text_bytes);
	if (r.n_ids) {
		char *to = e->payload + msg_reply_ids_offset(r.text_bytes);

		memcpy(to, ids, r.n_ids * sizeof(*ids));
		ev->prompt_ids = (const int32_t *)to;
	}
	if (ev->type == CLIENT_ERROR)
		read_failure(e, &r);
	memcpy(ev->hops, r.hops, sizeof(ev->hops));
	ev->hops[r.n_hops] = (struct msg_hop){
		.published = m->time, .claimed = claimed, .done = sluice_ticks(),
		.bytes = m->len, .stage = MSG_CLIENT, .attempt = (uint8_t)m->attempt, .batch = 1,
	};
	return e;
}

/* ERROR and cancellation stand outside the order: they end the stream wherever it is. */
static bool ordered(const struct client_event *ev)
{
	return ev->type == CLIENT_TEXT ||
	       (ev->type == CLIENT_END && ev->reason != MSG_REASON_CANCEL);
}

/* Something between has been lost, whatever the reason: say so, rather than wait for ever. */
static void give_up(struct event *e)
{
	static const char text[] = "replies of the pipeline are missing";

	e->ev.type = CLIENT_ERROR;
	e->ev.error = -EPROTO;
	e->ev.error_stage = MSG_CLIENT;
	e->ev.error_name = "";
	e->ev.error_attempt = 0;
	e->ev.retry_after_ms = 0;
	e->ev.token = -1;
	e->ev.text = text;
	e->ev.text_len = sizeof(text) - 1;
	e->ev.prompt_ids = NULL;
}

/*
 * Keep it in its place among those that came early; copies are dropped. False when so many wait
 * for an earlier one that it cannot be on its way any more.
 */
static bool hold_event(struct open_stream *s, struct event *e)
{
	struct event **link = &s->held;

	if (s->n_held == HELD_MAX)
		return false;
	while (*link && (*link)->ev.index < e->ev.index)
		link = &(*link)->next;
	if (e->ev.index < s->next || (*link && (*link)->ev.index == e->ev.index)) {
		free(e);
		return true;
	}
	e->next = *link;
	*link = e;
	s->n_held++;
	return true;
}

static void deliver(struct client *c, struct open_stream *s, struct event *e,
		    struct client_event *ev)
{
	c->current = e;
	*ev = e->ev;
	s->next = e->ev.index + 1;
	if (ev->type != CLIENT_TEXT)
		drop_stream(c, s);
}

/* A held event whose turn has come. */
static bool deliver_held(struct client *c, struct client_event *ev)
{
	for (size_t i = 0; i < c->n_streams; i++) {
		struct open_stream *s = &c->stream[i];
		struct event *e = s->held;

		if (!e || e->ev.index != s->next)
			continue;
		s->held = e->next;
		s->n_held--;
		deliver(c, s, e, ev);
		return true;
	}
	return false;
}

/* One message off the ring: true when it gave the caller an event. */
static bool receive(struct client *c, const struct sluice_msg *m, struct client_event *ev)
{
	struct event *e = copy_event(m, sluice_ticks());
	struct open_stream *s = find_stream(c, m->stream);
	bool mine = sluice_holds(c->in, m);

	sluice_ack(c->in, m);
	if (!e || !s || !mine) {	/* malformed, or of a stream that is over */
		free(e);
		return false;
	}
	if (ordered(&e->ev)) {
		if (hold_event(s, e))
			return deliver_held(c, ev);
		give_up(e);
	}
	deliver(c, s, e, ev);
	return true;
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static bool pipeline_closed(const struct client *c)
{
	return __atomic_load_n(&sluice_hints(c->out)->closed, __ATOMIC_ACQUIRE);
}

int client_next(struct client *c, struct client_event *ev, int64_t timeout_ns)
{
	int64_t deadline = timeout_ns < 0 ? INT64_MAX : now_ns() + timeout_ns;
	int64_t left = 0;
	struct sluice_msg m;
	int ret;

	free(c->current);
	c->current = NULL;
	if (deliver_held(c, ev))
		return 0;
	while (c->n_streams) {
		left = deadline - now_ns();
		left = left < 0 ? 0 : left < LOOK_NS ? left : LOOK_NS;
		ret = sluice_claim(c->in, &m, left);
		if (!ret && receive(c, &m, ev))
			return 0;
		if (ret == -EINTR) {
			sluice_interrupt_clear(c->ctx);
			return fail(ret, "interrupted");
		}
		if (ret == -ESHUTDOWN || (ret == -EAGAIN && pipeline_closed(c)))
			return fail(-ESHUTDOWN, "the pipeline was taken down");
		if (ret && ret != -EAGAIN)
			return fail(ret, "%s", sluice_error());
		if (ret && now_ns() >= deadline)
			return fail(-EAGAIN, "nothing came in time");
	}
	return fail(-ENOENT, "no stream is under way");
}

const char *client_stalled(struct client *c)
{
	struct sluice_info info;

	for (int i = 0; i < MSG_CLIENT; i++) {
		if (sluice_info(c->stages[i], &info) || !info.consumers)
			return c->stages[i];
	}
	return NULL;
}
