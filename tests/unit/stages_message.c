// SPDX-License-Identifier: MIT
/*
 * Description: payloads of the pipeline (userspace/stages/message.c): what is well formed is
 * accepted, whatever else is refused, and nothing accepted points outside the payload
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../userspace/stages/message.h"

#define N_EMBD		16u
#define N_PROMPT	5u
#define AREA		65536u

/* A payload ends where memory that cannot be read begins. */
static char *area;

static int map_area(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	area = mmap(NULL, AREA + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return area == MAP_FAILED || mprotect(area + AREA, page, PROT_NONE);
}

static size_t data_of(enum msg_kind kind, uint32_t n)
{
	size_t vector = N_EMBD * sizeof(float);

	switch (kind) {
	case MSG_PREFILL:
		return n * vector;
	case MSG_KV:
		return msg_align(vector) + 256 * n;
	case MSG_STEP:
	case MSG_HIDDEN:
		return vector;
	case MSG_REQUEST:
	case MSG_ERROR:
		return 16;
	default:
		return 0;
	}
}

/* A well-formed message of any kind, its payload at the end of the area. */
static struct sluice_msg make(enum msg_kind kind)
{
	static const char stops[] = "END\0\n\n";
	static const int32_t ids[] = { 11, 12, 13, 14, 15, 16, 17 };
	bool history = kind != MSG_REQUEST && kind != MSG_CANCEL && kind != MSG_ERROR;
	uint32_t n = history ? N_PROMPT + (kind != MSG_PREFILL) : 0;
	struct msg_view from = { .tokens = ids };
	size_t size = msg_size(n, sizeof(stops), data_of(kind, n));
	struct msg_write w;

	from.head = (struct msg_head){
		.temperature = 0.5f, .top_p = 0.9f, .top_k = 40, .seed = 7, .max_tokens = 20,
		.n_ctx = history ? 64 : 0, .n_embd = history ? N_EMBD : 0,
		.n_prompt = history ? N_PROMPT : 0, .n_tokens = n,
		.flags = MSG_F_RAW, .n_stops = 2, .stop_bytes = sizeof(stops),
		.error = kind == MSG_ERROR ? EINVAL : 0, .reply = "reply.1.abc",
	};
	memcpy(from.stops, stops, sizeof(stops));
	memset(area, 0, AREA);
	assert_int_equal(msg_begin(area + AREA - size, size, &from, kind, n, data_of(kind, n), &w),
			 0);
	return (struct sluice_msg){
		.data = area + AREA - size, .len = (uint32_t)size, .kind = kind, .counter = n,
	};
}

/* Reads all that a view points to; a wrong size or offset faults. */
static void touch(const struct msg_view *v)
{
	volatile uint64_t sum = 0;

	for (uint32_t i = 0; i < v->head.n_tokens; i++)
		sum += (uint64_t)v->tokens[i];
	for (uint32_t i = 0; i < v->head.data_bytes; i++)
		sum += ((const unsigned char *)v->data)[i];
	for (uint32_t i = 0; i < v->head.n_stops; i++) {
		size_t len = strlen(msg_stop(v, i));

		assert_true(len > 0 && len < MSG_MAX_STOP);
		assert_in_range(msg_stop(v, i) + len - v->stops, 1, MSG_STOPS_BYTES - 1);
	}
	assert_true(memchr(v->head.reply, 0, sizeof(v->head.reply)) != NULL);
}

static void test_every_kind_is_accepted(void **state)
{
	struct msg_view v;

	for (int kind = MSG_REQUEST; kind <= MSG_ERROR; kind++) {
		struct sluice_msg m;

		if (kind == MSG_FREE)
			continue;
		m = make((enum msg_kind)kind);
		assert_int_equal(msg_read(&m, &v), 0);
		touch(&v);
		assert_string_equal(msg_stop(&v, 0), "END");
		assert_string_equal(msg_stop(&v, 1), "\n\n");
		if (v.head.n_tokens)
			assert_int_equal(v.tokens[0], 11);
		assert_int_equal((uintptr_t)v.data % 4, (uintptr_t)m.data % 4);
	}
}

/* Each line spoils one thing of an otherwise good STEP. */
#define SPOIL(what) do {							\
	struct sluice_msg m = make(MSG_STEP);					\
	struct msg_head *h = (struct msg_head *)m.data;				\
	struct msg_view v;							\
										\
	(void)h;								\
	what;									\
	if (msg_read(&m, &v) != -EBADMSG)					\
		fail_msg("accepted: %s", #what);				\
} while (0)

static void test_one_wrong_thing_is_refused(void **state)
{
	SPOIL(m.data = NULL);
	SPOIL(m.len = 0);
	SPOIL(m.len = sizeof(*h) - 1);
	SPOIL(m.len--);
	SPOIL(m.kind = MSG_HIDDEN);
	SPOIL(m.counter++);
	SPOIL(h->magic++);
	SPOIL(h->version++);
	SPOIL(h->kind = MSG_KV);
	SPOIL(h->size--);
	SPOIL(h->flags |= 1u << 31);
	SPOIL(h->attempt = 1);
	SPOIL(h->temperature = -1);
	SPOIL(h->temperature = NAN);
	SPOIL(h->temperature = INFINITY);
	SPOIL(h->top_p = 0);
	SPOIL(h->top_p = 1.5f);
	SPOIL(h->top_p = NAN);
	SPOIL(h->n_tokens = UINT32_MAX);
	SPOIL(h->n_tokens = 0);
	SPOIL(h->n_prompt = 0);
	SPOIL(h->n_prompt = h->n_tokens);
	SPOIL(h->n_prompt = h->n_tokens + 1);
	SPOIL(h->n_ctx = h->n_tokens - 1);
	SPOIL(h->n_ctx = MSG_MAX_CTX + 1);
	SPOIL(h->n_embd = 0);
	SPOIL(h->n_embd *= 2);
	SPOIL(h->n_embd = UINT32_MAX);
	SPOIL(h->n_stops = 1);
	SPOIL(h->n_stops = 3);
	SPOIL(h->n_stops = UINT32_MAX);
	SPOIL(h->stop_bytes = 0);
	SPOIL(h->stop_bytes = UINT32_MAX);
	SPOIL(h->data_bytes = UINT32_MAX);
	SPOIL(h->data_bytes = 0);
	SPOIL(h->n_hops = MSG_MAX_HOPS + 1);
	SPOIL(h->n_hops = 1; h->hops[0].stage = MSG_STAGE_COUNT);
	SPOIL(memset(h->reply, 'r', sizeof(h->reply)));
	SPOIL(strcpy(h->reply, "decoder"));
	SPOIL(strcpy(h->reply, "reply.../x"));
	SPOIL(h->reply[0] = 0);
	SPOIL(memset(h->model, 'm', sizeof(h->model)));
	SPOIL(strcpy(h->model, "two words"));
	SPOIL(h->model[0] = '\n');
}

static void test_reply_kinds_are_not_requests(void **state)
{
	static const uint16_t kinds[] = { 0, MSG_FREE, MSG_TEXT, MSG_END, MSG_KIND_COUNT, 65535 };
	struct msg_view v;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct sluice_msg m = make(MSG_TOKEN);

		m.kind = kinds[i];
		((struct msg_head *)m.data)->kind = kinds[i];
		assert_int_equal(msg_read(&m, &v), -EBADMSG);
	}
}

/* Random heads: a word becomes random, or nearly right. What is accepted must be readable. */
static void test_random_damage_never_leads_outside(void **state)
{
	unsigned int accepted = 0, refused = 0;
	struct msg_view v;

	srand(20);
	for (int round = 0; round < 300000; round++) {
		int kind = MSG_REQUEST + rand() % (MSG_ERROR - MSG_REQUEST + 1);
		struct sluice_msg m = make(kind == MSG_FREE ? MSG_TOKEN : (enum msg_kind)kind);
		uint32_t *words = (uint32_t *)m.data;

		for (int k = rand() % 3; k >= 0; k--) {
			size_t at = (size_t)rand() % (offsetof(struct msg_head, hops) / 4);

			words[at] = rand() % 2 ? (uint32_t)rand() * 2654435761u :
				    words[at] + (uint32_t)(rand() % 9) - 4;
		}
		if (msg_read(&m, &v)) {
			refused++;
			continue;
		}
		accepted++;
		touch(&v);
	}
	/* Else the damage was all of one sort and the test says nothing. */
	assert_true(accepted > 1000 && refused > 1000);
}

static void test_too_small_a_buffer_is_left_alone(void **state)
{
	struct msg_view from = { .head = { .n_tokens = 0 } };
	struct msg_write w;
	char small[64];

	memset(small, 0x5a, sizeof(small));
	assert_int_equal(msg_begin(small, sizeof(small), &from, MSG_CANCEL, 0, 0, &w), -EMSGSIZE);
	assert_int_equal(msg_begin(small, SIZE_MAX, &from, MSG_KV, 1, (size_t)UINT32_MAX, &w),
			 -EMSGSIZE);
	for (size_t i = 0; i < sizeof(small); i++)
		assert_int_equal(small[i], 0x5a);
}

/* Found by the fuzzer: a cancel that took over a failed message's attempts was refused. */
static void test_what_follows_a_failure_has_not_failed(void **state)
{
	char failed[4096], next[4096];
	const struct msg_failure f = {
		.name = "decoder", .stage = MSG_DECODER, .attempt = 3, .error = 5,
		.retry_ms = 7, .text = "lost",
	};
	ssize_t size = msg_failed(failed, sizeof(failed), "reply.x", &f);
	struct sluice_msg m = { .data = failed, .len = (uint32_t)size, .kind = MSG_ERROR };
	struct msg_view v, again;
	struct msg_write w;

	assert_true(size > 0);
	assert_int_equal(msg_read(&m, &v), 0);
	assert_int_equal(v.head.attempt, 3);
	assert_int_equal(msg_begin(next, sizeof(next), &v, MSG_CANCEL, 0, 0, &w), 0);
	m = (struct sluice_msg){ .data = next, .len = w.head->size, .kind = MSG_CANCEL };
	assert_int_equal(msg_read(&m, &again), 0);
	assert_true(!again.head.attempt && !again.head.error && !again.head.max_tokens);
}

static void test_replies(void **state)
{
	size_t size = msg_reply_ids_offset(5) + 4 * sizeof(int32_t);
	struct msg_reply *r = (struct msg_reply *)(area + AREA - size), out;
	struct sluice_msg m = { .data = r, .len = (uint32_t)size, .kind = MSG_TEXT };
	const struct msg_reply good = {
		.magic = MSG_MAGIC, .version = MSG_VERSION, .kind = MSG_TEXT,
		.size = (uint32_t)size, .text_bytes = 5, .n_ids = 4, .n_hops = 1,
	};
	const int32_t *ids;
	const char *text;

	memcpy(r, &good, sizeof(good));
	assert_int_equal(msg_read_reply(&m, &out, &text, &ids), 0);
	assert_ptr_equal(text, r + 1);
	assert_ptr_equal(ids + 4, area + AREA);
	for (size_t at = 0; at < offsetof(struct msg_reply, hops) / 4; at++) {
		memcpy(r, &good, sizeof(good));
		((uint32_t *)r)[at] += 0x10000000u;
		if (!msg_read_reply(&m, &out, &text, &ids)) {
			/* Numbers that are only shown may be anything. */
			assert_true(&((uint32_t *)r)[at] == (uint32_t *)&r->token ||
				    &((uint32_t *)r)[at] == &r->reason ||
				    &((uint32_t *)r)[at] == &r->n_prompt ||
				    &((uint32_t *)r)[at] == &r->n_generated);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_kind_is_accepted),
		cmocka_unit_test(test_one_wrong_thing_is_refused),
		cmocka_unit_test(test_reply_kinds_are_not_requests),
		cmocka_unit_test(test_random_damage_never_leads_outside),
		cmocka_unit_test(test_too_small_a_buffer_is_left_alone),
		cmocka_unit_test(test_what_follows_a_failure_has_not_failed),
		cmocka_unit_test(test_replies),
	};

	return cmocka_run_group_tests(tests, map_area, NULL);
}
