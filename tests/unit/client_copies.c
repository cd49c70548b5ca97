// SPDX-License-Identifier: MIT
/*
 * Description: the end of the pipe gives each reply once and in order, and an ERROR ends a stream
 */
#include "../../userspace/client/client.c"

#include "lib_memory.h"

#define STREAM	0x1234u

/* A client with one stream under way, on plain memory. */
static void make_client(struct client *c, struct ring *r)
{
	make(r, 0);
	memset(c, 0, sizeof(*c));
	c->ctx = &r->ctx;
	c->in = &r->in;
	c->out = &r->out;	/* only its hints are looked at */
	c->stream = calloc(1, sizeof(*c->stream));
	c->stream->id = STREAM;
	c->n_streams = c->max_streams = 1;
}

static void unmake_client(struct client *c, struct ring *r)
{
	for (size_t i = 0; i < c->n_streams; i++) {
		for (struct event *e = c->stream[i].held, *next; e; e = next) {
			next = e->next;
			free(e);
		}
	}
	free(c->current);
	free(c->stream);
	unmake(r);
}

/* What the output stage sends for token @index. */
static void reply(struct ring *r, enum msg_kind kind, u64 index, uint32_t error)
{
	struct msg_reply head = {
		.magic = MSG_MAGIC, .version = MSG_VERSION, .kind = kind, .token = (int32_t)index,
		.error = error, .size = (uint32_t)msg_reply_ids_offset(0),
		.reason = kind == MSG_END ? MSG_REASON_LENGTH : 0,
		.retry_ms = error == EBUSY ? 340 : 0,
	};
	struct sluice_msg m = { .stream = STREAM, .counter = index, .kind = kind };
	struct sluice_buffer buf;

	assert_int_equal(0, sluice_buffer_take(&r->out, &buf, SLUICE_NOW));
	memcpy(buf.data, &head, sizeof(head));
	m.len = head.size;
	m.buffer = buf.index;
	assert_int_equal(0, sluice_send(&r->out, &m, SLUICE_NOW));
}

static void expect(struct client *c, enum client_event_type type, u64 index)
{
	struct client_event ev;

	assert_int_equal(0, client_next(c, &ev, 0));
	assert_int_equal(type, ev.type);
	assert_int_equal(index, ev.index);
}

static void expect_nothing(struct client *c)
{
	struct client_event ev;

	assert_int_equal(-EAGAIN, client_next(c, &ev, 0));
}

/* Worked twice somewhere before: the same reply again, at once or much later. */
static void test_copies(void **state)
{
	struct client c;
	struct ring r;

	make_client(&c, &r);
	reply(&r, MSG_TEXT, 0, 0);
	reply(&r, MSG_TEXT, 0, 0);
	expect(&c, CLIENT_TEXT, 0);
	reply(&r, MSG_TEXT, 1, 0);
	expect(&c, CLIENT_TEXT, 1);
	reply(&r, MSG_TEXT, 0, 0);
	reply(&r, MSG_TEXT, 1, 0);
	expect_nothing(&c);
	reply(&r, MSG_TEXT, 2, 0);
	expect(&c, CLIENT_TEXT, 2);
	unmake_client(&c, &r);
}

/* Late ones are waited for; a copy of one that waits is dropped, too. */
static void test_order(void **state)
{
	struct client c;
	struct ring r;

	make_client(&c, &r);
	reply(&r, MSG_TEXT, 2, 0);
	reply(&r, MSG_TEXT, 1, 0);
	reply(&r, MSG_TEXT, 2, 0);
	expect_nothing(&c);
	reply(&r, MSG_TEXT, 0, 0);
	expect(&c, CLIENT_TEXT, 0);
	expect(&c, CLIENT_TEXT, 1);
	expect(&c, CLIENT_TEXT, 2);
	expect_nothing(&c);
	reply(&r, MSG_END, 3, 0);
	expect(&c, CLIENT_END, 3);
	assert_int_equal(0, c.n_streams);
	unmake_client(&c, &r);
}

/* A message of the stream became a dead letter: told at once, whatever is missing before it. */
static void test_dead_letter(void **state)
{
	struct client_event ev;
	struct client c;
	struct ring r;

	make_client(&c, &r);
	reply(&r, MSG_TEXT, 0, 0);
	expect(&c, CLIENT_TEXT, 0);
	reply(&r, MSG_TEXT, 2, 0);
	expect_nothing(&c);
	reply(&r, MSG_ERROR, 7, EOWNERDEAD);
	expect(&c, CLIENT_ERROR, 7);
	assert_int_equal(0, c.n_streams);
	reply(&r, MSG_TEXT, 1, 0);
	assert_int_equal(-ENOENT, client_next(&c, &ev, 0));
	unmake_client(&c, &r);
}

/* Who is refused is told when to come again. */
static void test_busy(void **state)
{
	struct client_event ev;
	struct client c;
	struct ring r;

	make_client(&c, &r);
	reply(&r, MSG_ERROR, 0, EBUSY);
	assert_int_equal(0, client_next(&c, &ev, 0));
	assert_int_equal(CLIENT_ERROR, ev.type);
	assert_int_equal(-EBUSY, ev.error);
	assert_int_equal(340, ev.retry_after_ms);
	unmake_client(&c, &r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_dead_letter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
