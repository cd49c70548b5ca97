// SPDX-License-Identifier: MIT
/* Description: late and doubled replies meet no other call; held replies keep nobody waiting */
#include "lib_call.h"

/* The smallest ring, and a window of one place: the next call is where the last one was. */
FIXTURE(window)
{
	char stage[SLUICE_NAME_MAX];
	char room[BUFSIZE];
	struct sluice_ctx *ctx, *other;
	struct sluice_ep *to, *in, *raw;
	struct sluice_caller *caller;
	struct sluice_server *server;
	struct sluice_reply reply;
};

FIXTURE_VARIANT(window)
{
	unsigned int ctx_flags;
};

FIXTURE_VARIANT_ADD(window, uring) { .ctx_flags = 0 };
FIXTURE_VARIANT_ADD(window, poll) { .ctx_flags = SLUICE_CTX_NO_URING };

FIXTURE_SETUP(window)
{
	struct sluice_create c = { .nbufs = 16, .bufsize = BUFSIZE };

	ASSERT_EQ(0, make_stage(self->stage, c)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &self->ctx));
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &self->other));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, 0, &self->to));
	ASSERT_EQ(0, sluice_attach(self->other, self->stage, SLUICE_CONSUMER, 0, &self->in));
	ASSERT_EQ(0, sluice_server_create(self->in, &self->server));
}

FIXTURE_TEARDOWN(window)
{
	sluice_server_destroy(self->server);
	sluice_caller_destroy(self->caller);
	sluice_ctx_destroy(self->ctx);
	sluice_ctx_destroy(self->other);
	EXPECT_EQ(0, sluice_destroy(self->stage, 0, SLUICE_DESTROY_FORCE));
}

#define MAKE(...) do {									\
	struct sluice_caller_options options = { __VA_ARGS__ };				\
											\
	ASSERT_EQ(0, sluice_caller_create(self->ctx, &options, &self->caller))		\
		TH_LOG("%s", sluice_error());						\
	ASSERT_EQ(0, sluice_attach(self->other, sluice_caller_stage(self->caller),	\
				   SLUICE_PRODUCER, 0, &self->raw));			\
} while (0)

static int answer(struct sluice_server *server)
{
	struct sluice_request r;
	int ret = sluice_serve(server, &r, LONG);

	return ret ? ret : echo(server, &r);
}

/* A reply to a call that has given up, when the next one is under way at the same place. */
TEST_F(window, late)
{
	struct sluice_msg m = numbered(self->room, 1, 10);
	struct sluice_request first;
	uint64_t old, id;

	MAKE(.window = 1);
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, SECOND, &old));
	ASSERT_EQ(0, sluice_serve(self->server, &first, LONG)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(-ETIME, sluice_call_wait(self->caller, old, &self->reply, LONG));
	ASSERT_EQ(0, sluice_ack(self->in, &first.msg));
	m = numbered(self->room, 2, 10);
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	EXPECT_EQ(call_index(old), call_index(id));
	EXPECT_NE(old, id);
	ASSERT_EQ(0, send_raw_reply(self->raw, old, "late"));
	EXPECT_EQ(-EAGAIN, sluice_call_wait(self->caller, id, &self->reply, SHORT));
	EXPECT_EQ(1, sluice_caller_counters(self->caller)->late);
	ASSERT_EQ(0, answer(self->server)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_call_wait(self->caller, id, &self->reply, LONG));
	EXPECT_TRUE(is_numbered(self->reply.data, self->reply.len, 2, 10));
	/* a second one to a call that has its reply, read or not */
	ASSERT_EQ(0, send_raw_reply(self->raw, id, "twice"));
	ASSERT_EQ(-EBUSY, sluice_call_start(self->caller, self->to, &m, LONG, &old));
	EXPECT_EQ(2, sluice_caller_counters(self->caller)->late);
	EXPECT_TRUE(is_numbered(self->reply.data, self->reply.len, 2, 10));
	sluice_reply_release(self->caller, &self->reply);
	ASSERT_EQ(0, send_raw_reply(self->raw, id, "thrice"));
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	EXPECT_EQ(3, sluice_caller_counters(self->caller)->late);
	/* and one of nobody */
	ASSERT_EQ(0, send_raw_reply(self->raw, call_id(12345, 400), "whose?"));
	EXPECT_EQ(-EAGAIN, sluice_call_wait(self->caller, id, &self->reply, SHORT));
	EXPECT_EQ(4, sluice_caller_counters(self->caller)->late);
}

TEST_F(window, full)
{
	struct sluice_msg m = numbered(self->room, 1, 10);
	struct sluice_reply again;
	uint64_t id[3];

	MAKE(.window = 2);
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id[0]));
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id[1]));
	ASSERT_EQ(-EBUSY, sluice_call_start(self->caller, self->to, &m, LONG, &id[2]));
	EXPECT_NE(NULL, strstr(sluice_error(), "all 2 calls of the window"));
	ASSERT_EQ(0, answer(self->server));
	ASSERT_EQ(0, sluice_call_wait(self->caller, SLUICE_CALL_ANY, &self->reply, LONG));
	/* read, but not released: over for whoever waits, and in its place all the same */
	EXPECT_EQ(-ENOENT, sluice_call_wait(self->caller, id[0], &again, SLUICE_NOW));
	ASSERT_EQ(-EBUSY, sluice_call_start(self->caller, self->to, &m, LONG, &id[2]));
	sluice_reply_release(self->caller, &self->reply);
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id[2]));
	/* nothing but a refusal for want of a buffer keeps a call from its answer */
	EXPECT_EQ(3, sluice_caller_counters(self->caller)->started);
}

/* A large reply that nobody asks for stays, although the ring goes round many times meanwhile. */
TEST_F(window, uncollected)
{
	struct sluice_msg m = numbered(self->room, 1000, 3000);
	struct sluice_reply again;
	uint64_t first, id;

	MAKE(.window = 3);
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &first));
	ASSERT_EQ(0, answer(self->server)) TH_LOG("%s", sluice_error());
	for (unsigned int i = 0; i < 4 * NSLOTS; i++) {
		m = numbered(self->room, i, i % 2 ? 2000 : 20);
		ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id))
			TH_LOG("%u: %s", i, sluice_error());
		ASSERT_EQ(0, answer(self->server)) TH_LOG("%u: %s", i, sluice_error());
		ASSERT_EQ(0, sluice_call_wait(self->caller, id, &self->reply, LONG));
		ASSERT_TRUE(is_numbered(self->reply.data, self->reply.len, i, i % 2 ? 2000 : 20));
		sluice_reply_release(self->caller, &self->reply);
	}
	ASSERT_EQ(0, sluice_call_wait(self->caller, first, &self->reply, LONG));
	EXPECT_TRUE(is_numbered(self->reply.data, self->reply.len, 1000, 3000));
	sluice_reply_release(self->caller, &self->reply);

	/* one that is being read cannot be moved: that is said before anybody waits for ever */
	m = numbered(self->room, 2000, 3000);
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &first));
	ASSERT_EQ(0, answer(self->server));
	ASSERT_EQ(0, sluice_call_wait(self->caller, first, &self->reply, LONG));
	m = numbered(self->room, 1, 10);
	for (unsigned int i = 0; i < NSLOTS / 2 - 1; i++) {
		ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
		ASSERT_EQ(0, answer(self->server));
		ASSERT_EQ(0, sluice_call_wait(self->caller, id, &again, LONG));
		sluice_reply_release(self->caller, &again);
	}
	ASSERT_EQ(-EBUSY, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	EXPECT_NE(NULL, strstr(sluice_error(), "release it")) TH_LOG("%s", sluice_error());
	EXPECT_TRUE(is_numbered(self->reply.data, self->reply.len, 2000, 3000));
	sluice_reply_release(self->caller, &self->reply);
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
}

/* Replies find no buffer: the call ends with an error, and the server waits for nobody. */
TEST_F(window, no_buffers)
{
	struct sluice_msg m = numbered(self->room, 1, 1000);
	struct sluice_buffer buf;
	struct sluice_request r;
	uint64_t id;

	MAKE(.window = 1);
	while (!sluice_buffer_take(self->raw, &buf, SLUICE_NOW))
		;
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	ASSERT_EQ(0, sluice_serve(self->server, &r, LONG));
	ASSERT_EQ(-ENOBUFS, echo(self->server, &r)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(-ENOBUFS, sluice_call_wait(self->caller, id, &self->reply, LONG));
	EXPECT_EQ(SLUICE_CALL_REFUSED, self->reply.outcome);
	/* a reason is cut to what fits into a slot */
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	ASSERT_EQ(0, sluice_serve(self->server, &r, LONG));
	ASSERT_EQ(0, sluice_reply_error(self->server, &r, EIO,
					"a reason of more bytes than a slot has room for, and then some more"));
	ASSERT_EQ(-EIO, sluice_call_wait(self->caller, id, &self->reply, LONG));
	EXPECT_NE(NULL, strstr(sluice_error(), "a reason of more bytes")) TH_LOG("%s", sluice_error());
}

/* Not even a refusal finds room: the request is given back, and answered when there is. */
TEST_F(window, no_room)
{
	struct sluice_msg m = numbered(self->room, 1, 10), filler = text("nobody's");
	struct sluice_request r;
	uint64_t id;

	MAKE(.window = 1);
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	while (sluice_post(self->raw, &filler) >= 0)
		;
	ASSERT_EQ(0, sluice_serve(self->server, &r, LONG));
	ASSERT_EQ(-EAGAIN, echo(self->server, &r)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(-EAGAIN, sluice_call_wait(self->caller, id, &self->reply, 5 * SHORT));
	ASSERT_EQ(0, sluice_serve(self->server, &r, LONG)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(2, r.msg.attempt);
	ASSERT_EQ(0, echo(self->server, &r)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_call_wait(self->caller, id, &self->reply, LONG));
	EXPECT_TRUE(is_numbered(self->reply.data, self->reply.len, 1, 10));
	EXPECT_LE(2 * NSLOTS, sluice_caller_counters(self->caller)->malformed);
}

TEST_HARNESS_MAIN
