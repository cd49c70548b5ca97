// SPDX-License-Identifier: MIT
/*
 * Description: a message that is accepted has all its parts inside, and can be continued
 *
 * What stage daemons and clients make of a payload that anybody may have written: one byte of
 * options (0x80: magic, version, kind and size are put right, so that the rest is looked at), kind,
 * counter, then the payload, allocated to the byte.
 */
#include "fuzz.h"
#include "stages/message.h"

static bool inside(const struct sluice_msg *m, const void *p, size_t len)
{
	const char *from = p, *base = m->data;

	return from >= base && from <= base + m->len && len <= (size_t)(base + m->len - from);
}

/* Tokens, hops and stop strings survive being carried on; one byte less room is refused. */
static void check_begin(const struct msg_view *v, enum msg_kind kind, uint32_t n_tokens)
{
	size_t size = msg_size(n_tokens, v->head.stop_bytes, 0);
	char *buf = malloc(size);
	struct sluice_msg m = { .data = buf, .len = (uint32_t)size, .kind = kind,
				.counter = n_tokens };
	static struct msg_view again;
	struct msg_write w;

	fuzz_check(buf && msg_begin(buf, size - 1, v, kind, n_tokens, 0, &w));
	fuzz_check(!msg_begin(buf, size, v, kind, n_tokens, 0, &w));
	w.head->n_prompt = kind == MSG_CANCEL ? 0 : w.head->n_prompt;
	fuzz_check(!msg_read(&m, &again));
	fuzz_check(again.head.n_tokens == n_tokens && again.head.seed == v->head.seed);
	fuzz_check(!memcmp(again.head.hops, v->head.hops, sizeof(v->head.hops)));
	if (n_tokens)
		fuzz_check(!memcmp(again.tokens, v->tokens, n_tokens * sizeof(*v->tokens)));
	for (uint32_t i = 0; i < v->head.n_stops; i++)
		fuzz_check(!strcmp(msg_stop(v, i), msg_stop(&again, i)));
	free(buf);
}

static void check_turns(const struct sluice_msg *m, const struct msg_view *v)
{
	struct msg_content *turns = calloc(v->head.n_turns, sizeof(*turns));

	fuzz_check(turns);
	if (!msg_read_turns(&v->head, v->data, turns)) {
		for (uint32_t i = 0; i < v->head.n_turns; i++) {
			fuzz_check(turns[i].role < MSG_ROLE_COUNT);
			fuzz_check(inside(m, turns[i].text, turns[i].len));
			fuzz_check(!i || turns[i].text >= turns[i - 1].text + turns[i - 1].len);
		}
	}
	free(turns);
}

static void check_view(const struct sluice_msg *m, const struct msg_view *v)
{
	const struct msg_head *h = &v->head;
	size_t stops = 0;

	fuzz_check(inside(m, v->tokens, h->n_tokens * sizeof(*v->tokens)));
	fuzz_check(inside(m, v->data, h->data_bytes));
	fuzz_check((const char *)(v->tokens + h->n_tokens) <= (const char *)v->data);
	fuzz_check(memchr(h->reply, 0, sizeof(h->reply)) && h->n_stops <= MSG_MAX_STOPS);
	for (uint32_t i = 0; i < h->n_stops; i++)
		stops += strlen(msg_stop(v, i)) + 1;
	fuzz_check(stops == h->stop_bytes);
	for (uint32_t i = 0; i < h->n_hops; i++)
		fuzz_check(h->hops[i].stage < MSG_STAGE_COUNT);
	if (h->kind == MSG_REQUEST && !(h->flags & MSG_F_RAW))
		check_turns(m, v);
	check_begin(v, MSG_CANCEL, 0);
	if (h->n_embd && h->n_prompt)
		check_begin(v, MSG_REBUILD, h->n_tokens);
}

static void check_reply(const struct sluice_msg *m, const struct msg_reply *r, const char *text,
			const int32_t *ids)
{
	fuzz_check(inside(m, text, r->text_bytes) && r->text_bytes <= MSG_MAX_TEXT);
	fuzz_check(inside(m, ids, r->n_ids * sizeof(*ids)) && r->n_ids <= MSG_MAX_CTX);
	fuzz_check((const char *)ids >= text + r->text_bytes);
	fuzz_check(r->n_hops < MSG_MAX_HOPS && r->stage < MSG_STAGE_COUNT);
}

/* A reply's fields stand where a message's do, up to the size. */
static void put_right(struct sluice_msg *m, char *payload)
{
	struct msg_reply head;

	if (m->len < sizeof(head))
		return;
	memcpy(&head, payload, sizeof(head));
	head.magic = MSG_MAGIC;
	head.version = MSG_VERSION;
	head.kind = m->kind;
	head.size = m->len;
	memcpy(payload, &head, sizeof(head));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	uint8_t options = (uint8_t)fuzz_take(&in, 1);
	struct sluice_msg m = { .kind = (uint16_t)fuzz_take(&in, 2) };
	static struct msg_view v;
	struct msg_reply r;
	const int32_t *ids;
	const char *text;
	char *payload;

	m.counter = fuzz_take(&in, 4);
	m.len = (uint32_t)in.left;
	payload = malloc(in.left + !in.left);
	fuzz_check(payload);
	memcpy(payload, in.data, in.left);
	if (options & 0x80)
		put_right(&m, payload);
	m.data = payload;
	if (!msg_read(&m, &v))
		check_view(&m, &v);
	if (!msg_read_reply(&m, &r, &text, &ids))
		check_reply(&m, &r, text, ids);
	free(payload);
	return 0;
}
