// SPDX-License-Identifier: MIT
/* message.c - building and checking the payloads of message.h */

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "message.h"

_Static_assert(sizeof(struct msg_hop) == 32, "hops are 32 bytes");
_Static_assert(sizeof(struct msg_head) % 8 == 0, "no padding at the end of the head");

const char *msg_kind_name(unsigned int kind)
{
	static const char *const names[MSG_KIND_COUNT] = {
		[MSG_REQUEST] = "REQUEST", [MSG_PREFILL] = "PREFILL", [MSG_KV] = "KV",
		[MSG_STEP] = "STEP", [MSG_HIDDEN] = "HIDDEN", [MSG_TOKEN] = "TOKEN",
		[MSG_REBUILD] = "REBUILD", [MSG_CANCEL] = "CANCEL", [MSG_FREE] = "FREE",
		[MSG_ERROR] = "ERROR", [MSG_TEXT] = "TEXT", [MSG_END] = "END",
	};

	return kind < MSG_KIND_COUNT && names[kind] ? names[kind] : "unknown";
}

const char *msg_stage_name(unsigned int stage)
{
	static const char *const names[MSG_STAGE_COUNT] = {
		"embedding", "encoder", "decoder", "output", "client",
	};

	return stage < MSG_STAGE_COUNT ? names[stage] : "unknown";
}

const char *msg_reason_name(unsigned int reason)
{
	static const char *const names[MSG_REASON_COUNT] = {
		"unknown", "eos", "length", "stop", "cancel",
	};

	return reason < MSG_REASON_COUNT ? names[reason] : "unknown";
}

/* Where the parts are; every offset follows from the counts, so none can lie. */
static size_t tokens_offset(void)
{
	return msg_align(sizeof(struct msg_head));
}

static size_t stops_offset(uint32_t n_tokens)
{
	return msg_align(tokens_offset() + (size_t)n_tokens * sizeof(int32_t));
}

static size_t data_offset(uint32_t n_tokens, uint32_t stop_bytes)
{
	return msg_align(stops_offset(n_tokens) + stop_bytes);
}

size_t msg_size(uint32_t n_tokens, uint32_t stop_bytes, size_t data_bytes)
{
	size_t offset = data_offset(n_tokens, stop_bytes);

	return data_bytes > UINT32_MAX - offset ? 0 : offset + data_bytes;
}

/* -------------------------------------------------------------- reading --- */

static bool reply_name_ok(const char *name)
{
	size_t len = strnlen(name, SLUICE_NAME_MAX);

	if (len == SLUICE_NAME_MAX || strncmp(name, MSG_REPLY_PREFIX, strlen(MSG_REPLY_PREFIX)))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
			return false;
	}
	return true;
}

/* Shown to people, compared with patterns: no more than a file name may be. */
static bool model_name_ok(const char *name)
{
	size_t len = strnlen(name, SLUICE_MODEL_MAX);

	return len < SLUICE_MODEL_MAX && strspn(name, MSG_MODEL_LETTERS) == len;
}

static bool request_ok(const struct msg_head *h)
{
	return !(h->flags & ~MSG_F_ALL) &&
	       (h->kind == MSG_ERROR ? h->attempt <= SLUICE_MAX_ATTEMPTS + 1 : !h->attempt) &&
	       isfinite(h->temperature) && h->temperature >= 0 &&
	       isfinite(h->top_p) && h->top_p > 0 && h->top_p <= 1 &&
	       h->n_ctx <= MSG_MAX_CTX && h->n_embd <= MSG_MAX_EMBD &&
	       h->n_tokens <= h->n_ctx && h->n_prompt <= h->n_tokens &&
	       h->n_turns <= MSG_MAX_TURNS && h->n_hops <= MSG_MAX_HOPS &&
	       h->n_stops <= MSG_MAX_STOPS && h->stop_bytes <= h->n_stops * MSG_MAX_STOP &&
	       reply_name_ok(h->reply) && model_name_ok(h->model);
}

/* What must hold of counts and data, kind by kind. */
static bool kind_ok(const struct msg_head *h)
{
	size_t vector = (size_t)h->n_embd * sizeof(float);
	bool history = h->n_embd && h->n_prompt;

	switch ((enum msg_kind)h->kind) {
	case MSG_REQUEST:
		return !h->n_tokens && !h->n_hops &&
		       (h->flags & MSG_F_RAW ? !h->n_turns : h->n_turns > 0);
	case MSG_PREFILL:
		return history && h->data_bytes == h->n_tokens * vector;
	case MSG_KV:
		return history && h->data_bytes > msg_align(vector);
	case MSG_STEP:
		return history && h->n_tokens > h->n_prompt && h->data_bytes == vector;
	case MSG_HIDDEN:
		return history && h->data_bytes == vector;
	case MSG_TOKEN:
		return history && h->n_tokens > h->n_prompt && !h->data_bytes;
	case MSG_REBUILD:
		return history && !h->data_bytes;
	case MSG_CANCEL:
		return !h->data_bytes;
	case MSG_ERROR:
		return h->error && h->error < 4096 && h->stage < MSG_STAGE_COUNT &&
		       h->data_bytes <= MSG_MAX_TEXT;
	case MSG_FREE:
	case MSG_TEXT:
	case MSG_END:
	case MSG_KIND_COUNT:
		break;
	}
	return false;
}

static bool stops_ok(const struct msg_view *v)
{
	const char *p = v->stops, *end = v->stops + v->head.stop_bytes;
	uint32_t n = 0;

	while (p < end) {
		size_t len = strnlen(p, (size_t)(end - p));

		if (!len || len == (size_t)(end - p) || len >= MSG_MAX_STOP)
			return false;
		p += len + 1;
		n++;
	}
	return n == v->head.n_stops;
}

/* ERROR and CANCEL are outside a stream's order; a request knows no tokens yet. */
static bool counter_ok(const struct sluice_msg *m, const struct msg_head *h)
{
	return h->kind == MSG_ERROR || h->kind == MSG_CANCEL || m->counter == h->n_tokens;
}

int msg_read(const struct sluice_msg *m, struct msg_view *v)
{
	const char *base = m->data;
	struct msg_head *h = &v->head;

	if (!base || m->len < sizeof(*h))
		return -EBADMSG;
	memcpy(h, base, sizeof(*h));
	if (h->magic != MSG_MAGIC || h->version != MSG_VERSION || h->kind != m->kind ||
	    h->size != m->len || !request_ok(h) || !kind_ok(h) || !counter_ok(m, h))
		return -EBADMSG;
	if (msg_size(h->n_tokens, h->stop_bytes, h->data_bytes) != m->len)
		return -EBADMSG;
	for (uint32_t i = 0; i < h->n_hops; i++) {
		if (h->hops[i].stage >= MSG_STAGE_COUNT)
			return -EBADMSG;
	}
	v->tokens = (const int32_t *)(base + tokens_offset());
	v->data = base + data_offset(h->n_tokens, h->stop_bytes);
	memcpy(v->stops, base + stops_offset(h->n_tokens), h->stop_bytes);
	return stops_ok(v) ? 0 : -EBADMSG;
}

const char *msg_stop(const struct msg_view *v, unsigned int i)
{
	const char *p = v->stops;

	while (i--)
		p += strlen(p) + 1;
	return p;
}

int msg_read_turns(const struct msg_head *h, const char *data, struct msg_content *turns)
{
	size_t pos = 0, size = h->data_bytes;

	for (uint32_t i = 0; i < h->n_turns; i++) {
		struct msg_turn turn;

		if (size - pos < sizeof(turn))
			return -EBADMSG;
		memcpy(&turn, data + pos, sizeof(turn));
		pos += sizeof(turn);
		if (turn.role >= MSG_ROLE_COUNT || turn.len > size - pos)
			return -EBADMSG;
		turns[i] = (struct msg_content){
			.role = (enum msg_role)turn.role, .len = turn.len, .text = data + pos,
		};
		pos += ((size_t)turn.len + 3) & ~(size_t)3;
		if (pos > size)
			return -EBADMSG;
	}
	return pos == size ? 0 : -EBADMSG;
}

/* -------------------------------------------------------------- writing --- */

int msg_begin(void *buf, size_t capacity, const struct msg_view *from, enum msg_kind kind,
	      uint32_t n_tokens, size_t data_bytes, struct msg_write *w)
{
	uint32_t stop_bytes = from->head.stop_bytes;
	uint32_t known = n_tokens < from->head.n_tokens ? n_tokens : from->head.n_tokens;
	size_t size = msg_size(n_tokens, stop_bytes, data_bytes);
	char *base = buf;

	if (!size || size > capacity)
		return -EMSGSIZE;
	w->head = buf;
	w->tokens = (int32_t *)(base + tokens_offset());
	w->data = base + data_offset(n_tokens, stop_bytes);
	*w->head = from->head;
	w->head->magic = MSG_MAGIC;
	w->head->version = MSG_VERSION;
	w->head->kind = kind;
	w->head->size = (uint32_t)size;
	w->head->n_tokens = n_tokens;
	w->head->data_bytes = (uint32_t)data_bytes;
	if (from->head.kind == MSG_ERROR && kind != MSG_ERROR) {	/* the new message has not failed */
		w->head->error = 0;
		w->head->attempt = 0;
		w->head->max_tokens = 0;
	}
	if (known)
		memcpy(w->tokens, from->tokens, known * sizeof(int32_t));
	memcpy(base + stops_offset(n_tokens), from->stops, stop_bytes);
	return 0;
}

/* ------------------------------------------------------------- failures --- */

int msg_address(const void *data, size_t len, char reply[SLUICE_NAME_MAX])
{
	struct msg_head h;

	if (len < sizeof(h))
		return -EBADMSG;
	memcpy(&h, data, sizeof(h));
	if (h.magic != MSG_MAGIC || h.version != MSG_VERSION || !reply_name_ok(h.reply))
		return -EBADMSG;
	memcpy(reply, h.reply, sizeof(h.reply));
	return 0;
}

size_t msg_failure_text(const struct msg_failure *f, char text[MSG_MAX_TEXT])
{
	size_t name = strnlen(f->name, SLUICE_NAME_MAX - 1) + 1;
	size_t line = strnlen(f->text, MSG_MAX_TEXT - name);

	memcpy(text, f->name, name - 1);
	text[name - 1] = '\0';
	memcpy(text + name, f->text, line);
	return name + line;
}

ssize_t msg_failed(void *buf, size_t capacity, const char *reply, const struct msg_failure *f)
{
	struct msg_view nothing = { .head.top_p = 1 };
	char text[MSG_MAX_TEXT];
	size_t len = msg_failure_text(f, text);
	struct msg_write w;

	strncpy(nothing.head.reply, reply, SLUICE_NAME_MAX - 1);
	if (msg_begin(buf, capacity, &nothing, MSG_ERROR, 0, len, &w))
		return -EMSGSIZE;
	w.head->error = (uint32_t)f->error;
	w.head->stage = f->stage;
	w.head->attempt = f->attempt;
	w.head->retry_ms = f->retry_ms;
	memcpy(w.data, text, len);
	return w.head->size;
}

/* ---------------------------------------------------------------- types --- */

static void floats(struct sluice_tensor *type, enum sluice_modality modality, uint32_t rows,
		   uint32_t columns)
{
	*type = (struct sluice_tensor){
		.modality = (uint8_t)modality, .dtype = SLUICE_DTYPE_F32, .rank = 2,
		.shape = { rows, columns }, .bytes = rows * columns * (uint32_t)sizeof(float),
	};
}

bool msg_type(const struct msg_head *h, struct sluice_tensor *type)
{
	*type = (struct sluice_tensor){
		.dtype = SLUICE_DTYPE_U8, .rank = 1, .shape = { h->data_bytes },
		.bytes = h->data_bytes,
	};
	switch ((enum msg_kind)h->kind) {
	case MSG_REQUEST:
		type->modality = SLUICE_MODALITY_TEXT;
		return true;
	case MSG_PREFILL:
		floats(type, SLUICE_MODALITY_EMBEDDING, h->n_tokens, h->n_embd);
		return true;
	case MSG_KV:
		type->modality = SLUICE_MODALITY_KV;
		return true;
	case MSG_STEP:
		floats(type, SLUICE_MODALITY_EMBEDDING, 1, h->n_embd);
		return true;
	case MSG_HIDDEN:
		floats(type, SLUICE_MODALITY_HIDDEN, 1, h->n_embd);
		return true;
	case MSG_TOKEN:
		type->modality = SLUICE_MODALITY_TOKENS;
		type->dtype = SLUICE_DTYPE_I32;
		type->shape[0] = h->n_tokens;
		type->bytes = h->n_tokens * (uint32_t)sizeof(int32_t);
		return true;
	default:
		return false;
	}
}

/* -------------------------------------------------------------- replies --- */

size_t msg_reply_ids_offset(uint32_t text_bytes)
{
	return (sizeof(struct msg_reply) + text_bytes + 3) & ~(size_t)3;
}

int msg_read_reply(const struct sluice_msg *m, struct msg_reply *r, const char **text,
		   const int32_t **ids)
{
	const char *base = m->data;

	if (!base || m->len < sizeof(*r))
		return -EBADMSG;
	memcpy(r, base, sizeof(*r));
	if (r->magic != MSG_MAGIC || r->version != MSG_VERSION || r->kind != m->kind ||
	    r->size != m->len || r->text_bytes > MSG_MAX_TEXT || r->n_ids > MSG_MAX_CTX ||
	    r->n_hops >= MSG_MAX_HOPS || r->stage >= MSG_STAGE_COUNT || r->error >= 4096)
		return -EBADMSG;
	if (r->attempt > (r->kind == MSG_ERROR ? SLUICE_MAX_ATTEMPTS + 1 : 0) ||
	    (r->retry_ms && r->kind != MSG_ERROR))
		return -EBADMSG;
	if (r->kind != MSG_TEXT && r->kind != MSG_END && r->kind != MSG_ERROR)
		return -EBADMSG;
	if (msg_reply_ids_offset(r->text_bytes) + (size_t)r->n_ids * sizeof(int32_t) != m->len)
		return -EBADMSG;
	for (uint32_t i = 0; i < r->n_hops; i++) {
		if (r->hops[i].stage >= MSG_STAGE_COUNT)
			return -EBADMSG;
	}
	*text = base + sizeof(*r);
	*ids = (const int32_t *)(base + msg_reply_ids_offset(r->text_bytes));
	return 0;
}
