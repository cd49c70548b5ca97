// SPDX-License-Identifier: MIT
/*
 * Description: a daemon's errors say stage, attempt and errno; one that fails everything is shut off
 */
#include <stdio.h>
#include <unistd.h>

#include "../../userspace/stages/board.h"
#include "../../userspace/stages/stage.h"
#include "../../userspace/stages/stage_pvt.h"
#include "lib_memory.h"

/* The stage's own ring, and that of the output stage. */
struct bench {
	struct ring	in, out;
	struct stage	st;
	uint64_t	counter;
};

static const struct stage_ops ops = {
	.self = MSG_DECODER, .outputs = 1u << MSG_OUTPUT,
	.accepts = 1u << MSG_STEP | 1u << MSG_REQUEST, .routed = MSG_ENCODER,
};

static void begin(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	make(&b->in, 0);
	make(&b->out, 0);
	b->st.ops = &ops;
	b->st.ctx = &b->in.ctx;
	b->st.in = &b->in.in;
	b->st.out[MSG_OUTPUT] = &b->out.out;
	b->st.opt.names[MSG_EMBEDDING] = "embedding";
	b->st.opt.names[MSG_ENCODER] = "encoder";
	b->st.opt.names[MSG_DECODER] = "my-decoder";
	b->st.opt.names[MSG_OUTPUT] = "output";
	setenv("SLUICE_BREAKER_FAILURES", "3", 1);
	setenv("SLUICE_BREAKER_WINDOW_MS", "60000", 1);
	setenv("SLUICE_BREAKER_BACKOFF_MS", "30", 1);
	setenv("SLUICE_BREAKER_MAX_MS", "30", 1);
	assert_int_equal(0, trouble_create(&b->st));
}

static void end(struct bench *b)
{
	trouble_free(&b->st);
	unmake(&b->in);
	unmake(&b->out);
	unsetenv("SLUICE_ACCEPTS");
	unsetenv(BOARD_ENVIRONMENT);
}

/* Send a message of @kind with @data to the stage and claim it, as the loop would. */
static void receive(struct bench *b, enum msg_kind kind, const void *data, uint32_t len,
		    struct stage_input *in)
{
	bool step = kind == MSG_STEP;
	struct msg_view from = { .head = {
		.top_p = 1, .n_ctx = step ? 8 : 0, .n_embd = step ? len / 4 : 0,
		.n_prompt = step, .flags = MSG_F_RAW, .reply = "reply.1.test",
	} };
	char buf[2048] = "";
	struct msg_write w;
	struct sluice_msg m = {
		.stream = 42, .counter = step ? 2 : 0, .kind = kind, .data = buf,
		.buffer = SLUICE_NO_BUFFER,
	};

	assert_int_equal(0, msg_begin(buf, sizeof(buf), &from, kind, step ? 2 : 0, len, &w));
	memcpy(w.data, data, len);
	m.len = w.head->size;
	memset(in, 0, sizeof(*in));
	assert_int_equal(0, sluice_send(&b->in.out, &m, SLUICE_NOW));
	assert_int_equal(0, sluice_claim(b->st.in, &in->m, SLUICE_NOW));
	assert_int_equal(0, msg_read(&in->m, &in->v));
}

static void receive_step(struct bench *b, struct stage_input *in)
{
	static const float vector[16];

	receive(b, MSG_STEP, vector, sizeof(vector), in);
}

static uint32_t last_retry_ms;	/* of the ERROR that was looked at last */

/* The next ERROR that went to the output stage. */
static void expect_error(struct bench *b, int error, const char *stage, uint32_t attempt,
			 const char *words)
{
	struct sluice_msg m;
	struct msg_view v;
	const char *text;

	assert_int_equal(0, sluice_claim(&b->out.in, &m, SLUICE_NOW));
	assert_int_equal(MSG_ERROR, m.kind);
	assert_int_equal(42, m.stream);
	assert_int_equal(0, msg_read(&m, &v));
	assert_int_equal(error, v.head.error);
	assert_int_equal(attempt, v.head.attempt);
	last_retry_ms = v.head.retry_ms;
	assert_string_equal("reply.1.test", v.head.reply);
	text = v.data;
	assert_string_equal(stage, text);
	assert_non_null(memmem(text + strlen(text) + 1, v.head.data_bytes - strlen(text) - 1, words,
			       strlen(words)));
	assert_int_equal(0, sluice_ack(&b->out.in, &m));
}

static void expect_no_error(struct bench *b)
{
	struct sluice_msg m;

	assert_int_equal(-EAGAIN, sluice_claim(&b->out.in, &m, SLUICE_NOW));
}

static void fail_one(struct bench *b, int error)
{
	struct stage_input in;

	receive_step(b, &in);
	assert_true(trouble_admit(&b->st, &in));
	stage_error(&b->st, &in, error, "the matrix is %s", "singular");
	expect_error(b, error, "my-decoder", 1, "the matrix is singular");
}

static void test_error(void **state)
{
	struct stage_input in;
	struct bench b;

	begin(&b);
	fail_one(&b, EIO);
	/* the second attempt says so */
	receive_step(&b, &in);
	assert_int_equal(SLOT_OK, slot_retry(&slot_at(b.st.in, in.m.ticket)->word, in.m.token));
	b.in.hints->generation++;
	assert_int_equal(0, sluice_claim(b.st.in, &in.m, SLUICE_NOW));
	stage_error(&b.st, &in, ENOMEM, "no memory");
	expect_error(&b, ENOMEM, "my-decoder", 2, "no memory");
	assert_int_equal(-ESTALE, sluice_ack(b.st.in, &in.m));	/* it is settled */
	end(&b);
}

/* Refused for now: with a time, and however often that happens it is no failure of the daemon. */
static void test_later(void **state)
{
	struct stage_input in;
	struct bench b;

	begin(&b);
	for (int i = 0; i < 10; i++) {
		receive_step(&b, &in);
		assert_true(trouble_admit(&b.st, &in));
		stage_later(&b.st, &in, 340, "busy, try again in %u ms", 340);
		expect_error(&b, EBUSY, "my-decoder", 1, "try again in 340 ms");
		assert_int_equal(340, last_retry_ms);
	}
	fail_one(&b, EIO);
	assert_int_equal(0, last_retry_ms);
	end(&b);
}

/* Who has lost the claim says nothing: somebody else does the work, or says it. */
static void test_late_error(void **state)
{
	struct stage_input in;
	struct bench b;

	begin(&b);
	receive_step(&b, &in);
	assert_int_equal(SLOT_OK, slot_retry(&slot_at(b.st.in, in.m.ticket)->word, in.m.token));
	stage_error(&b.st, &in, EIO, "too late");
	stage_refuse(&b.st, &in, "too late");
	expect_no_error(&b);
	end(&b);
}

static void test_breaker(void **state)
{
	struct stage_input in;
	struct bench b;

	begin(&b);
	for (int i = 0; i < 3; i++)
		fail_one(&b, EIO);
	receive_step(&b, &in);
	assert_false(trouble_admit(&b.st, &in));
	expect_error(&b, EHOSTDOWN, "my-decoder", 1, "try again in 0.0 s");
	assert_true(last_retry_ms > 0);
	usleep(40000);
	/* one is tried; it fails, so that the next is refused at once */
	fail_one(&b, EIO);
	receive_step(&b, &in);
	assert_false(trouble_admit(&b.st, &in));
	expect_error(&b, EHOSTDOWN, "my-decoder", 1, "shut off");
	usleep(40000);
	/* one is tried and goes well: all are taken */
	receive_step(&b, &in);
	assert_true(trouble_admit(&b.st, &in));
	stage_ack(&b.st, &in);
	fail_one(&b, EIO);
	fail_one(&b, EIO);
	receive_step(&b, &in);
	assert_true(trouble_admit(&b.st, &in));
	expect_no_error(&b);
	end(&b);
}

/* What is wrong with requests does not count, and success between failures forgives them. */
static void test_not_ours(void **state)
{
	struct stage_input in;
	struct bench b;

	begin(&b);
	for (int i = 0; i < 5; i++)
		fail_one(&b, E2BIG);
	fail_one(&b, EIO);
	fail_one(&b, EIO);
	receive_step(&b, &in);
	assert_true(trouble_admit(&b.st, &in));
	stage_ack(&b.st, &in);
	fail_one(&b, EIO);
	fail_one(&b, EIO);
	receive_step(&b, &in);
	assert_true(trouble_admit(&b.st, &in));
	end(&b);
}

/* While one is tried the others wait for its outcome. */
static void test_probe(void **state)
{
	struct stage_input probe, other;
	struct bench b;

	begin(&b);
	for (int i = 0; i < 3; i++)
		fail_one(&b, EIO);
	usleep(40000);
	receive_step(&b, &probe);
	receive_step(&b, &other);
	assert_true(trouble_admit(&b.st, &probe));
	assert_false(trouble_admit(&b.st, &other));
	expect_no_error(&b);
	assert_true(trouble_admit(&b.st, &probe));	/* given back for want of room, and again */
	end(&b);
}

static void test_types(void **state)
{
	static const struct sluice_tensor image = {
		.magic = SLUICE_TENSOR_MAGIC, .version = SLUICE_TENSOR_VERSION,
		.modality = SLUICE_MODALITY_IMAGE, .dtype = SLUICE_DTYPE_U8, .rank = 1,
		.shape = { 4 }, .bytes = 4, .media = "png",
	};
	char typed[sizeof(image) + 4] = "";
	struct stage_input in;
	struct bench b;

	setenv("SLUICE_ACCEPTS", "embedding:f32[?,16], text", 1);
	begin(&b);
	receive_step(&b, &in);
	assert_true(trouble_admit(&b.st, &in));
	receive(&b, MSG_STEP, "xxxxxxxx", 8, &in);
	assert_false(trouble_admit(&b.st, &in));
	expect_error(&b, EPROTOTYPE, "my-decoder", 1, "got embedding:f32[1,2]");
	memcpy(typed, &image, sizeof(image));
	receive(&b, MSG_REQUEST, typed, sizeof(typed), &in);
	assert_false(trouble_admit(&b.st, &in));
	expect_error(&b, EPROTOTYPE, "my-decoder", 1, "got image/png");
	receive(&b, MSG_REQUEST, "some text", 9, &in);
	assert_true(trouble_admit(&b.st, &in));
	expect_no_error(&b);
	end(&b);
}

/* Typed text is the text behind its head. */
static void test_typed_text(void **state)
{
	struct sluice_tensor text = {
		.modality = SLUICE_MODALITY_TEXT, .dtype = SLUICE_DTYPE_U8, .rank = 1, .shape = { 5 },
	};
	char typed[SLUICE_TENSOR_HEADER + 5];
	struct stage_input in;
	struct bench b;
	void *data;

	setenv("SLUICE_ACCEPTS", "text", 1);
	begin(&b);
	assert_int_equal(0, sluice_tensor_begin(typed, sizeof(typed), &text, &data));
	memcpy(data, "hello", 5);
	receive(&b, MSG_REQUEST, typed, sizeof(typed), &in);
	assert_true(trouble_admit(&b.st, &in));
	assert_int_equal(5, in.v.head.data_bytes);
	assert_memory_equal("hello", in.v.data, 5);
	end(&b);
}

/* A request is not let in while another stage has no daemon that takes work. */
static void test_board(void **state)
{
	struct board_breaker open = { .state = BREAKER_OPEN, .retry_at = UINT64_MAX };
	char path[] = "/tmp/sluice-board.XXXXXX";
	struct stage_input in;
	struct board *board;
	struct bench b;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(0, board_create(path, 3, &board));
	for (uint32_t i = 0; i < 2; i++) {
		strcpy(board_row(board, i)->stage, "encoder");
		board_row(board, i)->replica = i;
	}
	strcpy(board_row(board, 2)->stage, "other.decoder");
	setenv(BOARD_ENVIRONMENT, path, 1);
	begin(&b);
	board_row(board, 2)->starts = open;		/* of another branch */
	board_row(board, 0)->starts = open;
	receive(&b, MSG_REQUEST, "hello", 5, &in);
	assert_true(trouble_admit(&b.st, &in));		/* the other replica takes it */
	board_row(board, 1)->work = open;
	receive(&b, MSG_REQUEST, "hello", 5, &in);
	assert_false(trouble_admit(&b.st, &in));
	expect_error(&b, EHOSTDOWN, "encoder", 1, "shut off");
	receive_step(&b, &in);
	assert_true(trouble_admit(&b.st, &in));		/* who is in already goes on */
	assert_int_equal(0, sluice_routes_parse(&b.st.opt.routes, "length > 4K -> decoder"));
	receive(&b, MSG_REQUEST, "hello", 5, &in);
	assert_true(trouble_admit(&b.st, &in));		/* a rule may lead past the encoder */
	board_close(board);
	unlink(path);
	end(&b);
}

/* A destroyed ring: the client is told its name; the output stage's ring is still there. */
static void check_gone(unsigned int by, unsigned int to, const char *name)
{
	struct stage_input in;
	struct stage_result r;
	struct ring ring;
	struct bench b;

	begin(&b);
	make(&ring, 0);
	b.st.out[to] = &ring.out;
	b.st.opt.next = "decoder.2";
	if (by != to)
		assert_int_equal(0, sluice_routes_parse(&b.st.opt.routes,
							"length > 4K -> a; default -> b"));
	receive_step(&b, &in);
	assert_int_equal(0, stage_result(&b.st, &in, by, MSG_STEP, 2, 64, &r));
	ring.hints->closed = SLUICE_CLOSED_GONE | SLUICE_CLOSED_DRAIN;
	assert_int_equal(-ESHUTDOWN, stage_publish(&b.st, &in, &r, 2, 1));
	expect_error(&b, ESHUTDOWN, name, 1, "destroyed");
	assert_null(stage_out(&b.st, to));
	assert_non_null(stage_out(&b.st, MSG_OUTPUT));
	receive_step(&b, &in);
	assert_int_equal(-ESHUTDOWN, stage_result(&b.st, &in, by, MSG_STEP, 2, 64, &r));
	expect_error(&b, ESHUTDOWN, name, 1, "destroyed");
	end(&b);
	unmake(&ring);
}

static void test_gone(void **state)
{
	check_gone(MSG_ENCODER, MSG_ENCODER, "encoder");
	check_gone(STAGE_NEXT, STAGE_NEXT, "decoder.2");
	check_gone(MSG_ENCODER, STAGE_ROUTED + 1, "b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error),
		cmocka_unit_test(test_later),
		cmocka_unit_test(test_late_error),
		cmocka_unit_test(test_breaker),
		cmocka_unit_test(test_not_ours),
		cmocka_unit_test(test_probe),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_typed_text),
		cmocka_unit_test(test_board),
		cmocka_unit_test(test_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
