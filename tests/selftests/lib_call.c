// SPDX-License-Identifier: MIT
/* Description: a call gets its own reply, a refusal, or the reason why there is none */
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "lib_call.h"

/* Caller and server in this thread, each in a context of its own, so that every step is ours. */
FIXTURE(call)
{
	char stage[SLUICE_NAME_MAX];
	char room[BUFSIZE];
	struct sluice_ctx *ctx, *other;
	struct sluice_ep *to, *in;
	struct sluice_caller *caller;
	struct sluice_server *server;
	struct sluice_request r;
	struct sluice_reply reply;
};

FIXTURE_VARIANT(call)
{
	unsigned int ctx_flags;
	unsigned int attach_flags;
	struct sluice_caller_options options;
};

FIXTURE_VARIANT_ADD(call, uring) { .ctx_flags = 0 };
FIXTURE_VARIANT_ADD(call, uring_sole) { .attach_flags = SLUICE_ATTACH_SOLE };
FIXTURE_VARIANT_ADD(call, poll) { .ctx_flags = SLUICE_CTX_NO_URING };
FIXTURE_VARIANT_ADD(call, untold) { .options.flags = SLUICE_CALLER_UNTOLD };
FIXTURE_VARIANT_ADD(call, untold_poll)
{
	.ctx_flags = SLUICE_CTX_NO_URING, .options.flags = SLUICE_CALLER_UNTOLD,
};

FIXTURE_SETUP(call)
{
	struct sluice_create c = { .nbufs = 16, .bufsize = BUFSIZE, .dead_slots = NSLOTS };

	ASSERT_EQ(0, make_stage(self->stage, c)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &self->ctx));
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &self->other));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, variant->attach_flags,
				   &self->to)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_attach(self->other, self->stage, SLUICE_CONSUMER, 0, &self->in));
	ASSERT_EQ(0, sluice_caller_create(self->ctx, &variant->options, &self->caller))
		TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_server_create(self->in, &self->server));
}

FIXTURE_TEARDOWN(call)
{
	struct sluice_info info = { .cookie = 0 };

	sluice_server_destroy(self->server);
	sluice_caller_destroy(self->caller);
	sluice_ctx_destroy(self->ctx);
	sluice_ctx_destroy(self->other);
	EXPECT_EQ(0, sluice_destroy(self->stage, 0, SLUICE_DESTROY_FORCE));
	/* no reply stage stays behind */
	while (!sluice_next(&info))
		EXPECT_NE(0, strncmp(info.name, REPLY_PREFIX, strlen(REPLY_PREFIX)))
			TH_LOG("%s", info.name);
}

static bool is_told(const struct sluice_caller_options *o)
{
	return !(o->flags & SLUICE_CALLER_UNTOLD);
}

/* ------------------------------------------------------------- to and fro --- */

TEST_F(call, sync)
{
	static const uint32_t sizes[] = { 0, 1, 44, 45, 60, 61, 64, 1000, 4080 };
	pid_t pid = start_server(self->stage, variant->ctx_flags);
	struct sluice_buffer buf;
	struct sluice_msg m;

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		m = numbered(self->room, i, sizes[i]);
		ASSERT_EQ(0, sluice_call(self->caller, self->to, &m, &self->reply, LONG))
			TH_LOG("%u bytes: %s", sizes[i], sluice_error());
		EXPECT_EQ(SLUICE_CALL_REPLIED, self->reply.outcome);
		EXPECT_EQ(6, self->reply.kind);
		EXPECT_TRUE(is_numbered(self->reply.data, self->reply.len, i, sizes[i]));
		sluice_reply_release(self->caller, &self->reply);
		EXPECT_EQ(NULL, self->reply.data);
	}
	/* a buffer that the request was written into */
	ASSERT_EQ(0, sluice_buffer_take(self->to, &buf, LONG));
	m = numbered((char *)buf.data + SLUICE_CALL_HEADER, 99, 2000);
	m.data = NULL;
	m.len += SLUICE_CALL_HEADER;
	m.buffer = buf.index;
	ASSERT_EQ(0, sluice_call(self->caller, self->to, &m, &self->reply, LONG))
		TH_LOG("%s", sluice_error());
	EXPECT_TRUE(is_numbered(self->reply.data, self->reply.len, 99, 2000));
	sluice_reply_release(self->caller, &self->reply);
	EXPECT_EQ(10, sluice_caller_counters(self->caller)->replied);
	EXPECT_EQ(0, sluice_caller_counters(self->caller)->late);
	stop_server(pid);
}

/* What the server sees of a request. */
TEST_F(call, request)
{
	struct sluice_msg m = numbered(self->room, 3, 40);
	uint64_t id;

	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	ASSERT_EQ(0, sluice_serve(self->server, &self->r, LONG)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(77, self->r.msg.stream);
	EXPECT_EQ(3, self->r.msg.counter);
	EXPECT_EQ(5, self->r.msg.kind);
	EXPECT_EQ(id, self->r.call);
	EXPECT_TRUE(is_numbered(self->r.data, self->r.len, 3, 40));
	EXPECT_TRUE(sluice_request_wanted(self->server, &self->r));
	/* the deadline is that of all processes' clock */
	EXPECT_GT(self->r.deadline, sluice_ticks());
	EXPECT_LE(sluice_ticks_to_ns(self->r.deadline - sluice_ticks()), LONG);
	ASSERT_EQ(0, echo(self->server, &self->r)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_call_wait(self->caller, id, &self->reply, LONG));
	EXPECT_EQ(id, self->reply.id);
	sluice_reply_release(self->caller, &self->reply);
	EXPECT_EQ(-ENOENT, sluice_call_wait(self->caller, id, &self->reply, LONG));
	EXPECT_EQ(-ENOENT, sluice_call_wait(self->caller, SLUICE_CALL_ANY, &self->reply, LONG));
}

static int serve_one(struct sluice_server *server)
{
	struct sluice_request r;
	int ret = sluice_serve(server, &r, LONG);

	return ret ? ret : echo(server, &r);
}

TEST_F(call, async)
{
	uint64_t id[4];

	for (unsigned int i = 0; i < 4; i++) {
		struct sluice_msg m = numbered(self->room, i, 30 + i);

		ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id[i]))
			TH_LOG("%s", sluice_error());
	}
	EXPECT_EQ(-EAGAIN, sluice_call_wait(self->caller, id[2], &self->reply, SLUICE_NOW));
	EXPECT_EQ(SLUICE_CALL_GOES_ON, self->reply.outcome);
	for (unsigned int i = 0; i < 4; i++)
		ASSERT_EQ(0, serve_one(self->server)) TH_LOG("%s", sluice_error());
	/* the last first, the others as they ended */
	ASSERT_EQ(0, sluice_call_wait(self->caller, id[3], &self->reply, LONG));
	EXPECT_TRUE(is_numbered(self->reply.data, self->reply.len, 3, 33));
	sluice_reply_release(self->caller, &self->reply);
	for (unsigned int i = 0; i < 3; i++) {
		ASSERT_EQ(0, sluice_call_wait(self->caller, SLUICE_CALL_ANY, &self->reply, LONG));
		EXPECT_EQ(id[i], self->reply.id);
		EXPECT_TRUE(is_numbered(self->reply.data, self->reply.len, i, 30 + i));
		sluice_reply_release(self->caller, &self->reply);
	}
}

/* The application's own sends with completion know nothing of calls, and the other way round. */
TEST_F(call, both)
{
	struct sluice_msg m = numbered(self->room, 8, 20), plain = text("one way"), got;
	char stage[SLUICE_NAME_MAX];
	struct sluice_create c = { .nslots = NSLOTS };
	struct sluice_completion done[4];
	struct sluice_ep *out, *end;
	pid_t pid;
	uint64_t id;

	ASSERT_EQ(0, make_stage(stage, c));
	ASSERT_EQ(0, sluice_attach(self->ctx, stage, SLUICE_PRODUCER, 0, &out));
	ASSERT_EQ(0, sluice_attach(self->other, stage, SLUICE_CONSUMER, 0, &end));
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	ASSERT_EQ(0, sluice_send_async(out, &plain, 4711));
	ASSERT_EQ(0, sluice_claim(end, &got, LONG));
	ASSERT_EQ(0, sluice_ack(end, &got));
	ASSERT_EQ(1, sluice_completions(self->ctx, done, 4, LONG));
	EXPECT_EQ(4711, done[0].cookie);
	ASSERT_EQ(0, serve_one(self->server));
	ASSERT_EQ(0, sluice_call_wait(self->caller, id, &self->reply, LONG));
	sluice_reply_release(self->caller, &self->reply);
	/* nothing is under way, so that this does not wait */
	EXPECT_EQ(0, sluice_completions(self->ctx, done, 4, SLUICE_FOREVER));
	/* one under way for long, others at once meanwhile */
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	ASSERT_EQ(0, sluice_serve(self->server, &self->r, LONG));
	if (!(variant->ctx_flags & SLUICE_CTX_NO_URING)) {
		pid = start_server(self->stage, variant->ctx_flags);
		for (unsigned int i = 0; i < 10; i++) {
			struct sluice_msg now = numbered(self->room, 100 + i, 50);

			ASSERT_EQ(0, sluice_call(self->caller, self->to, &now, &self->reply, LONG))
				TH_LOG("%s", sluice_error());
			EXPECT_TRUE(is_numbered(self->reply.data, self->reply.len, 100 + i, 50));
			sluice_reply_release(self->caller, &self->reply);
		}
		stop_server(pid);
	}
	ASSERT_EQ(0, echo(self->server, &self->r)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_call_wait(self->caller, id, &self->reply, LONG));
	EXPECT_TRUE(is_numbered(self->reply.data, self->reply.len, 8, 20));
	sluice_reply_release(self->caller, &self->reply);
	sluice_detach(out);
	sluice_detach(end);
	EXPECT_EQ(0, sluice_destroy(stage, 0, 0));
}

/* ------------------------------------------------------------------- errors --- */

TEST_F(call, refused)
{
	struct sluice_msg m = numbered(self->room, 1, 10);
	char long_reason[300];
	uint64_t id;

	memset(long_reason, 'a', sizeof(long_reason));
	long_reason[sizeof(long_reason) - 1] = '\0';
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	ASSERT_EQ(0, sluice_serve(self->server, &self->r, LONG));
	EXPECT_EQ(-EINVAL, sluice_reply_error(self->server, &self->r, 0, "none"));
	EXPECT_EQ(-EINVAL, sluice_reply_error(self->server, &self->r, 4096, "none"));
	ASSERT_EQ(0, sluice_reply_error(self->server, &self->r, EDOM, "no such\nlanguage"));
	ASSERT_EQ(-EDOM, sluice_call_wait(self->caller, id, &self->reply, LONG));
	EXPECT_EQ(SLUICE_CALL_REFUSED, self->reply.outcome);
	EXPECT_NE(NULL, strstr(sluice_error(), "refused the call: no such?language"))
		TH_LOG("%s", sluice_error());
	/* one that needs a buffer, and is cut */
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	ASSERT_EQ(0, sluice_serve(self->server, &self->r, LONG));
	ASSERT_EQ(0, sluice_reply_error(self->server, &self->r, ERANGE, long_reason));
	ASSERT_EQ(-ERANGE, sluice_call_wait(self->caller, id, &self->reply, LONG));
	EXPECT_NE(NULL, strstr(sluice_error(), "aaaa"));
	EXPECT_EQ(2, sluice_caller_counters(self->caller)->refused);
	EXPECT_EQ(2, sluice_server_counters(self->server)->refused);
}

TEST_F(call, too_large)
{
	struct sluice_msg m = numbered(self->room, 1, 10), big;
	uint64_t id;

	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	ASSERT_EQ(0, sluice_serve(self->server, &self->r, LONG));
	big = numbered(self->room, 1, 4081);
	ASSERT_EQ(-EMSGSIZE, sluice_reply(self->server, &self->r, &big));
	ASSERT_EQ(-EMSGSIZE, sluice_call_wait(self->caller, id, &self->reply, LONG));
	EXPECT_EQ(SLUICE_CALL_REFUSED, self->reply.outcome);
	EXPECT_NE(NULL, strstr(sluice_error(), "4081 bytes, the caller takes 4080"))
		TH_LOG("%s", sluice_error());
	/* a request that is too large is not sent */
	m = numbered(self->room, 1, BUFSIZE);
	EXPECT_EQ(-EMSGSIZE, sluice_call(self->caller, self->to, &m, &self->reply, LONG));
	EXPECT_EQ(SLUICE_CALL_GOES_ON, self->reply.outcome);
	EXPECT_EQ(-EAGAIN, sluice_serve(self->server, &self->r, SLUICE_NOW));
}

/* A request that nobody will answer says why, without waiting for its deadline. */
TEST_F(call, dead_letter)
{
	struct sluice_msg m = numbered(self->room, 1, 10);
	bool told = is_told(&variant->options);
	uint64_t id;

	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, told ? LONG : SECOND, &id));
	ASSERT_EQ(0, sluice_serve(self->server, &self->r, LONG));
	ASSERT_EQ(0, sluice_nack(self->in, &self->r.msg, EPROTO, 0, SLUICE_NACK_DEAD));
	ASSERT_EQ(told ? -EPROTO : -ETIME, sluice_call_wait(self->caller, id, &self->reply, LONG))
		TH_LOG("%s", sluice_error());
	EXPECT_EQ(told ? SLUICE_CALL_LOST : SLUICE_CALL_EXPIRED, self->reply.outcome);
	/* nor who sleeps for any of them */
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, told ? LONG : SECOND, &id));
	ASSERT_EQ(0, sluice_serve(self->server, &self->r, LONG));
	ASSERT_EQ(0, sluice_nack(self->in, &self->r.msg, ENOSYS, 0, SLUICE_NACK_DEAD));
	ASSERT_EQ(told ? -ENOSYS : -ETIME,
		  sluice_call_wait(self->caller, SLUICE_CALL_ANY, &self->reply, LONG));
	EXPECT_EQ(id, self->reply.id);
}

/* Refuses one request for good, a while after it has got it. */
static pid_t nack_soon(const char *stage, unsigned int ctx_flags)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	struct sluice_msg m;
	pid_t pid = fork();

	if (pid)
		return pid;
	CHILD_EXPECT(!sluice_ctx_create(ctx_flags, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_CONSUMER, 0, &in));
	CHILD_EXPECT(!sluice_claim(in, &m, LONG));
	sleep_ms(50);
	CHILD_EXPECT(!sluice_nack(in, &m, ENXIO, 0, SLUICE_NACK_DEAD));
	sluice_ctx_destroy(ctx);
	_exit(0);
}

/* The same for somebody who sleeps by then. */
TEST_F(call, dead_letter_sleeping)
{
	struct sluice_msg m = numbered(self->room, 1, 10);
	bool told = is_told(&variant->options);
	pid_t pid = nack_soon(self->stage, variant->ctx_flags);

	ASSERT_EQ(told ? -ENXIO : -ETIME, sluice_call(self->caller, self->to, &m, &self->reply,
						      told ? LONG : 100 * MS))
		TH_LOG("%s", sluice_error());
	EXPECT_EQ(0, child_status(pid));
}

/* A consumer that knows nothing of calls takes the request and acknowledges it. */
TEST_F(call, no_reply)
{
	struct sluice_msg m = numbered(self->room, 1, 10), got;
	bool told = is_told(&variant->options);
	uint64_t id;

	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, told ? LONG : SHORT, &id));
	ASSERT_EQ(0, sluice_claim(self->in, &got, LONG));
	ASSERT_EQ(0, sluice_ack(self->in, &got));
	ASSERT_EQ(told ? -ENOMSG : -ETIME, sluice_call_wait(self->caller, id, &self->reply, LONG))
		TH_LOG("%s", sluice_error());
}

TEST_F(call, malformed)
{
	struct sluice_msg m = numbered(self->room, 1, 10), bad = text("hello, this is no request");
	struct sluice_info info;
	struct sluice_ep *raw;
	uint64_t id;

	ASSERT_EQ(0, sluice_send(self->to, &bad, LONG));
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	ASSERT_EQ(0, sluice_serve(self->server, &self->r, LONG));
	EXPECT_EQ(id, self->r.call);
	EXPECT_EQ(1, sluice_server_counters(self->server)->malformed);
	ASSERT_EQ(0, sluice_info(self->stage, &info));
	EXPECT_EQ(1, info.dead_letters);
	/* likewise on the way back */
	ASSERT_EQ(0, sluice_attach(self->other, sluice_caller_stage(self->caller), SLUICE_PRODUCER,
				   0, &raw)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_send(raw, &bad, LONG));
	ASSERT_EQ(0, echo(self->server, &self->r));
	ASSERT_EQ(0, sluice_call_wait(self->caller, id, &self->reply, LONG));
	EXPECT_EQ(1, sluice_caller_counters(self->caller)->malformed);
	sluice_reply_release(self->caller, &self->reply);
	sluice_detach(raw);
}

TEST_F(call, refused_options)
{
	struct sluice_caller_options many = { .window = SLUICE_CALL_WINDOW_MAX + 1 };
	struct sluice_caller_options unknown = { .flags = 1u << 30 };
	struct sluice_msg m = numbered(self->room, 1, 10);
	struct sluice_caller *c;
	struct stat st;
	char path[128];
	uint64_t id;

	EXPECT_EQ(-EINVAL, sluice_caller_create(self->ctx, &many, &c));
	EXPECT_EQ(-EINVAL, sluice_caller_create(self->ctx, &unknown, &c));
	EXPECT_EQ(-EINVAL, sluice_call_start(self->caller, self->in, &m, LONG, &id));
	if (!is_told(&variant->options))
		EXPECT_EQ(-EINVAL, sluice_call_start(self->caller, self->to, &m, SLUICE_FOREVER,
						     &id));
	/* nobody else reads replies */
	snprintf(path, sizeof(path), "/dev/sluice/%s", sluice_caller_stage(self->caller));
	ASSERT_EQ(0, stat(path, &st));
	EXPECT_EQ(0600, st.st_mode & 0777);
	EXPECT_EQ(geteuid(), st.st_uid);
}

/* -------------------------------------------------------- giving up on a call --- */

TEST_F(call, deadline)
{
	struct sluice_msg m = numbered(self->room, 1, 10);
	uint64_t id, begun = now_ns();

	ASSERT_EQ(-ETIME, sluice_call(self->caller, self->to, &m, &self->reply, SHORT));
	EXPECT_GE(now_ns() - begun, SHORT);
	EXPECT_EQ(SLUICE_CALL_EXPIRED, self->reply.outcome);
	/* nobody works on it */
	EXPECT_EQ(-EAGAIN, sluice_serve(self->server, &self->r, SHORT));
	EXPECT_EQ(1, sluice_server_counters(self->server)->skipped);
	/* it passes while somebody does: the reply goes nowhere */
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, SECOND, &id));
	ASSERT_EQ(0, sluice_serve(self->server, &self->r, LONG));
	EXPECT_TRUE(sluice_request_wanted(self->server, &self->r));
	sleep_ms(1100);
	EXPECT_FALSE(sluice_request_wanted(self->server, &self->r));
	EXPECT_EQ(1, echo(self->server, &self->r));
	ASSERT_EQ(-ETIME, sluice_call_wait(self->caller, SLUICE_CALL_ANY, &self->reply, LONG));
	EXPECT_EQ(id, self->reply.id);
	EXPECT_EQ(0, sluice_caller_counters(self->caller)->late);
	EXPECT_EQ(2, sluice_caller_counters(self->caller)->expired);
}

TEST_F(call, cancel)
{
	struct sluice_msg m = numbered(self->room, 1, 10);
	uint64_t id, kept;

	/* before anybody has begun */
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	ASSERT_EQ(0, sluice_call_cancel(self->caller, id));
	EXPECT_EQ(-EAGAIN, sluice_serve(self->server, &self->r, SHORT));
	EXPECT_EQ(1, sluice_server_counters(self->server)->skipped);
	ASSERT_EQ(-ECANCELED, sluice_call_wait(self->caller, id, &self->reply, LONG))
		TH_LOG("%s", sluice_error());
	EXPECT_EQ(SLUICE_CALL_CANCELLED, self->reply.outcome);
	EXPECT_EQ(-ENOENT, sluice_call_cancel(self->caller, id));
	/* while somebody works on it; the other call goes on */
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	ASSERT_EQ(0, sluice_serve(self->server, &self->r, LONG));
	EXPECT_TRUE(sluice_request_wanted(self->server, &self->r));
	m = numbered(self->room, 2, 10);
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &kept));
	ASSERT_EQ(0, sluice_call_cancel(self->caller, id));
	EXPECT_FALSE(sluice_request_wanted(self->server, &self->r));
	EXPECT_EQ(1, echo(self->server, &self->r));
	ASSERT_EQ(0, serve_one(self->server));
	ASSERT_EQ(0, sluice_call_wait(self->caller, kept, &self->reply, LONG));
	EXPECT_TRUE(is_numbered(self->reply.data, self->reply.len, 2, 10));
	sluice_reply_release(self->caller, &self->reply);
	ASSERT_EQ(-ECANCELED, sluice_call_wait(self->caller, SLUICE_CALL_ANY, &self->reply, LONG));
	EXPECT_EQ(id, self->reply.id);
	EXPECT_EQ(2, sluice_caller_counters(self->caller)->cancelled);
}

static void *cancel_soon(void *caller)
{
	sleep_ms(50);
	sluice_call_cancel(caller, SLUICE_CALL_ALL);
	return NULL;
}

static void *interrupt_soon(void *ctx)
{
	sleep_ms(50);
	sluice_interrupt(ctx);
	return NULL;
}

/* From another thread: it ends the call that sleeps, and no other wait of the context. */
TEST_F(call, cancel_thread)
{
	struct sluice_msg m = numbered(self->room, 1, 10), none;
	struct sluice_ep *in;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, cancel_soon, self->caller));
	ASSERT_EQ(-ECANCELED, sluice_call(self->caller, self->to, &m, &self->reply, LONG))
		TH_LOG("%s", sluice_error());
	EXPECT_EQ(SLUICE_CALL_CANCELLED, self->reply.outcome);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	ASSERT_EQ(0, sluice_attach(self->ctx, sluice_caller_stage(self->caller), SLUICE_CONSUMER, 0,
				   &in)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(-EAGAIN, sluice_claim(in, &none, SHORT));
	sluice_detach(in);
}

/* An interrupt ends waits, not calls. */
TEST_F(call, interrupt)
{
	struct sluice_msg m = numbered(self->room, 1, 10);
	pthread_t thread;
	uint64_t id;

	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	ASSERT_EQ(0, pthread_create(&thread, NULL, interrupt_soon, self->ctx));
	ASSERT_EQ(-EINTR, sluice_call_wait(self->caller, id, &self->reply, LONG));
	EXPECT_EQ(SLUICE_CALL_GOES_ON, self->reply.outcome);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	sluice_interrupt_clear(self->ctx);
	ASSERT_EQ(0, serve_one(self->server)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_call_wait(self->caller, id, &self->reply, LONG));
	sluice_reply_release(self->caller, &self->reply);
	/* without a number nobody can wait again: the call is given up, and says by whom */
	ASSERT_EQ(0, pthread_create(&thread, NULL, interrupt_soon, self->ctx));
	ASSERT_EQ(-EINTR, sluice_call(self->caller, self->to, &m, &self->reply, LONG));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	sluice_interrupt_clear(self->ctx);
	EXPECT_EQ(-EAGAIN, sluice_serve(self->server, &self->r, SHORT));
	EXPECT_EQ(1, sluice_server_counters(self->server)->skipped);
	EXPECT_EQ(-ENOENT, sluice_call_wait(self->caller, SLUICE_CALL_ANY, &self->reply, LONG));
}

TEST_HARNESS_MAIN
