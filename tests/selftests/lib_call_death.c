// SPDX-License-Identifier: MIT
/* Description: kill -9 of servers and callers: others answer, replies to nobody are dropped */
#include <sys/mman.h>

#include "lib_call.h"

#define ROUNDS	30u

FIXTURE(death)
{
	char stage[SLUICE_NAME_MAX];
	char room[BUFSIZE];
	struct sluice_ctx *ctx, *other;
	struct sluice_ep *to, *in;
	struct sluice_caller *caller;
	struct sluice_server *server;
	struct sluice_reply reply;
	struct sluice_request r;
	volatile uint64_t *said;	/* by children; shared */
};

FIXTURE_VARIANT(death)
{
	unsigned int ctx_flags;
};

FIXTURE_VARIANT_ADD(death, uring) { .ctx_flags = 0 };
FIXTURE_VARIANT_ADD(death, poll) { .ctx_flags = SLUICE_CTX_NO_URING };

FIXTURE_SETUP(death)
{
	struct sluice_create c = {
		.nbufs = 16, .bufsize = BUFSIZE, .max_attempts = 3, .ack_timeout_ms = 1000,
		.dead_slots = NSLOTS,
	};

	ASSERT_EQ(0, make_stage(self->stage, c)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &self->ctx));
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &self->other));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, 0, &self->to));
	ASSERT_EQ(0, sluice_caller_create(self->ctx, NULL, &self->caller))
		TH_LOG("%s", sluice_error());
	self->said = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->said);
}

FIXTURE_TEARDOWN(death)
{
	sluice_server_destroy(self->server);
	sluice_caller_destroy(self->caller);
	sluice_ctx_destroy(self->ctx);
	sluice_ctx_destroy(self->other);
	EXPECT_EQ(0, sluice_destroy(self->stage, 0, SLUICE_DESTROY_FORCE));
	munmap((void *)self->said, 4096);
}

/* A server in this process, too. */
#define SERVE_HERE() do {									\
	ASSERT_EQ(0, sluice_attach(self->other, self->stage, SLUICE_CONSUMER, 0, &self->in));	\
	ASSERT_EQ(0, sluice_server_create(self->in, &self->server));				\
} while (0)

static bool said(volatile uint64_t *where, uint64_t what)
{
	uint64_t end = now_ns() + LONG;

	while (*where != what && now_ns() < end)
		sleep_ms(1);
	return *where == what;
}

/* Claims a request, answers it or not, but does not acknowledge it; says so, and waits for death. */
static pid_t unfinished_server(const char *stage, unsigned int ctx_flags, bool reply,
			       volatile uint64_t *said)
{
	char name[SLUICE_NAME_MAX];
	struct sluice_ep *in, *out;
	struct sluice_server *server;
	struct sluice_request r;
	struct sluice_ctx *ctx;
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHILD_EXPECT(!sluice_ctx_create(ctx_flags, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_CONSUMER, 0, &in));
	CHILD_EXPECT(!sluice_server_create(in, &server));
	CHILD_EXPECT(!sluice_serve(server, &r, LONG));
	if (reply) {
		reply_stage_name(r.caller, name);
		CHILD_EXPECT(!sluice_attach(ctx, name, SLUICE_PRODUCER, 0, &out));
		CHILD_EXPECT(!send_raw_reply(out, r.call, "the first"));
	}
	*said = r.call;
	for (;;)
		pause();
}

/* The server dies with the request in its hands: the caller notices nothing. */
TEST_F(death, server)
{
	struct sluice_msg m = numbered(self->room, 1, 200);
	uint64_t id;
	pid_t pid;

	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	pid = unfinished_server(self->stage, variant->ctx_flags, false, self->said);
	ASSERT_TRUE(said(self->said, id));
	stop_server(pid);
	SERVE_HERE();
	ASSERT_EQ(0, sluice_serve(self->server, &self->r, LONG)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(2, self->r.msg.attempt);
	EXPECT_EQ(id, self->r.call);
	ASSERT_EQ(0, echo(self->server, &self->r)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_call_wait(self->caller, id, &self->reply, LONG));
	EXPECT_TRUE(is_numbered(self->reply.data, self->reply.len, 1, 200));
	EXPECT_EQ(0, sluice_caller_counters(self->caller)->late);
	sluice_reply_release(self->caller, &self->reply);
}

/* It dies between its reply and the ACK: there are two replies, and one effect. */
TEST_F(death, server_replied)
{
	struct sluice_msg m = numbered(self->room, 1, 20);
	uint64_t id;
	pid_t pid;

	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	pid = unfinished_server(self->stage, variant->ctx_flags, true, self->said);
	ASSERT_TRUE(said(self->said, id));
	stop_server(pid);
	SERVE_HERE();
	ASSERT_EQ(0, sluice_serve(self->server, &self->r, LONG)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, echo(self->server, &self->r)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_call_wait(self->caller, id, &self->reply, LONG));
	EXPECT_EQ(9, self->reply.len);
	EXPECT_EQ(0, memcmp("the first", self->reply.data, 9));
	EXPECT_EQ(1, sluice_caller_counters(self->caller)->late);
	sluice_reply_release(self->caller, &self->reply);
	/* had the caller seen the first one in time, nobody would have worked again */
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	sluice_server_destroy(self->server);
	self->server = NULL;
	sluice_detach(self->in);
	pid = unfinished_server(self->stage, variant->ctx_flags, true, self->said);
	ASSERT_TRUE(said(self->said, id));
	ASSERT_EQ(0, sluice_call_wait(self->caller, id, &self->reply, LONG));
	stop_server(pid);
	SERVE_HERE();
	EXPECT_EQ(-EAGAIN, sluice_serve(self->server, &self->r, SHORT));
	EXPECT_EQ(1, sluice_server_counters(self->server)->skipped);
	sluice_reply_release(self->caller, &self->reply);
}

/* All that try it die: the reason of the dead letter is the caller's. */
TEST_F(death, every_server)
{
	struct sluice_msg m = numbered(self->room, 1, 20);
	uint64_t id;

	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, SLUICE_FOREVER, &id));
	for (unsigned int i = 0; i < 3; i++) {
		pid_t pid = unfinished_server(self->stage, variant->ctx_flags, false, self->said);

		ASSERT_TRUE(said(self->said, id));
		*self->said = 0;
		stop_server(pid);
	}
	ASSERT_EQ(-EOWNERDEAD, sluice_call_wait(self->caller, id, &self->reply, LONG))
		TH_LOG("%s", sluice_error());
	EXPECT_EQ(SLUICE_CALL_LOST, self->reply.outcome);
}

/* Too slow: somebody else has the request, and the late server finds out before it sends. */
TEST_F(death, slow_server)
{
	struct sluice_msg m = numbered(self->room, 1, 20);
	struct sluice_server *second;
	struct sluice_request again;
	struct sluice_ep *in;
	uint64_t id;

	SERVE_HERE();
	ASSERT_EQ(0, sluice_attach(self->other, self->stage, SLUICE_CONSUMER, 0, &in));
	ASSERT_EQ(0, sluice_server_create(in, &second));
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	ASSERT_EQ(0, sluice_serve(self->server, &self->r, LONG));
	ASSERT_EQ(0, sluice_serve(second, &again, LONG)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(2, again.msg.attempt);
	EXPECT_EQ(-ESTALE, echo(self->server, &self->r));
	EXPECT_EQ(-ESTALE, sluice_reply_error(self->server, &self->r, EIO, "late"));
	ASSERT_EQ(0, echo(second, &again));
	ASSERT_EQ(0, sluice_call_wait(self->caller, id, &self->reply, LONG));
	EXPECT_TRUE(is_numbered(self->reply.data, self->reply.len, 1, 20));
	EXPECT_EQ(0, sluice_caller_counters(self->caller)->late);
	sluice_reply_release(self->caller, &self->reply);
	sluice_server_destroy(second);
}

/* Starts a call, says its number, and waits for death. */
static pid_t dying_caller(const char *stage, unsigned int ctx_flags, volatile uint64_t *said)
{
	struct sluice_msg m = text("whatever");
	struct sluice_caller *caller;
	struct sluice_ctx *ctx;
	struct sluice_ep *to;
	pid_t pid = fork();
	uint64_t id;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHILD_EXPECT(!sluice_ctx_create(ctx_flags, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_PRODUCER, 0, &to));
	CHILD_EXPECT(!sluice_caller_create(ctx, NULL, &caller));
	CHILD_EXPECT(!sluice_call_start(caller, to, &m, SLUICE_FOREVER, &id));
	/* the worker that sends without io_uring has its own time */
	*said = id;
	for (;;)
		pause();
}

static unsigned int reply_stages(void)
{
	struct sluice_info info = { .cookie = 0 };
	unsigned int n = 0;

	while (!sluice_next(&info))
		n += is_reply_stage(info.name);
	return n;
}

/* The caller dies while somebody works for it: the reply goes nowhere, and so does its stage. */
TEST_F(death, caller)
{
	struct sluice_msg m = numbered(self->room, 7, 20);
	uint64_t id;
	pid_t pid;

	SERVE_HERE();
	pid = dying_caller(self->stage, variant->ctx_flags, self->said);
	ASSERT_EQ(0, sluice_serve(self->server, &self->r, LONG)) TH_LOG("%s", sluice_error());
	ASSERT_TRUE(said(self->said, self->r.call));
	EXPECT_EQ(2, reply_stages());
	stop_server(pid);
	EXPECT_FALSE(sluice_request_wanted(self->server, &self->r));
	EXPECT_EQ(1, echo(self->server, &self->r)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(1, sluice_server_counters(self->server)->vanished);
	EXPECT_EQ(1, reply_stages());
	/* or before: nobody works at all */
	*self->said = 0;
	pid = dying_caller(self->stage, variant->ctx_flags, self->said);
	while (!*self->said)
		sleep_ms(1);
	sleep_ms(100);
	stop_server(pid);
	ASSERT_EQ(0, sluice_call_start(self->caller, self->to, &m, LONG, &id));
	ASSERT_EQ(0, sluice_serve(self->server, &self->r, LONG)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(id, self->r.call);
	EXPECT_EQ(2, sluice_server_counters(self->server)->vanished);
	ASSERT_EQ(0, echo(self->server, &self->r));
	ASSERT_EQ(0, sluice_call_wait(self->caller, id, &self->reply, LONG));
	sluice_reply_release(self->caller, &self->reply);
}

/* Reply stages of the dead are swept by whoever calls next, those of the living are not. */
TEST_F(death, swept)
{
	struct sluice_caller *next;
	pid_t pid = dying_caller(self->stage, variant->ctx_flags, self->said);

	while (!*self->said)
		sleep_ms(1);
	EXPECT_EQ(2, reply_stages());
	stop_server(pid);
	EXPECT_EQ(2, reply_stages());
	ASSERT_EQ(0, sluice_caller_create(self->ctx, NULL, &next)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(2, reply_stages());
	sluice_caller_destroy(next);
	EXPECT_EQ(1, reply_stages());
}

/* More callers than a server keeps ends for: each gets its own reply, the dead go one by one. */
TEST_F_TIMEOUT(death, many_callers, 300)
{
	struct sluice_caller *c[70];
	struct sluice_caller_options small = { .window = 1 };
	unsigned int n = sizeof(c) / sizeof(c[0]), i, round;
	struct sluice_info info;

	SERVE_HERE();
	for (i = 0; i < n; i++)
		ASSERT_EQ(0, sluice_caller_create(self->ctx, &small, &c[i]))
			TH_LOG("%u: %s", i, sluice_error());
	for (round = 0; round < 2; round++) {
		for (i = 0; i < n; i++) {
			struct sluice_msg m = numbered(self->room, i, 20);
			uint64_t id;

			ASSERT_EQ(0, sluice_call_start(c[i], self->to, &m, LONG, &id));
			ASSERT_EQ(0, sluice_serve(self->server, &self->r, LONG));
			ASSERT_EQ(0, echo(self->server, &self->r)) TH_LOG("%s", sluice_error());
			ASSERT_EQ(0, sluice_call_wait(c[i], id, &self->reply, LONG));
			ASSERT_TRUE(is_numbered(self->reply.data, self->reply.len, i, 20));
			sluice_reply_release(c[i], &self->reply);
		}
		/* those who called longest ago are let go: only the caller is attached itself */
		ASSERT_EQ(0, sluice_info(sluice_caller_stage(c[0]), &info));
		EXPECT_EQ(1, info.producers);
	}
	for (i = 0; i < n; i++)
		sluice_caller_destroy(c[i]);
	EXPECT_EQ(1, reply_stages());
}

/* Servers are killed at any moment, for as long as there are calls: each gets its own reply. */
TEST_F_TIMEOUT(death, storm, 120)
{
	const char *given = getenv("SLUICE_TEST_SEED");
	unsigned int seed = given ? (unsigned int)atoi(given) : (unsigned int)now_ns();
	struct sluice_ctx *ctx;
	struct sluice_create c = { .nbufs = 16, .bufsize = BUFSIZE, .max_attempts = 254 };
	char stage[SLUICE_NAME_MAX];
	struct sluice_ep *to;
	pid_t pid[2] = { 0, 0 };
	uint64_t n = 0, id[8];

	printf("# seed %u; again: SLUICE_TEST_SEED=%u tests/selftests/run lib_call_death\n", seed, seed);
	ASSERT_EQ(0, make_stage(stage, c));
	ctx = self->ctx;
	ASSERT_EQ(0, sluice_attach(ctx, stage, SLUICE_PRODUCER, 0, &to));
	for (unsigned int round = 0; round < ROUNDS; round++) {
		unsigned int victim = rand_r(&seed) % 2;

		for (unsigned int i = 0; i < 2; i++)
			if (!pid[i])
				pid[i] = start_server(stage, variant->ctx_flags);
		for (unsigned int i = 0; i < 8; i++) {
			struct sluice_msg m = numbered(self->room, n + i, i % 3 ? 30 : 700);

			ASSERT_EQ(0, sluice_call_start(self->caller, to, &m, LONG, &id[i]))
				TH_LOG("%s", sluice_error());
		}
		usleep(rand_r(&seed) % 4000);
		stop_server(pid[victim]);
		pid[victim] = 0;
		for (unsigned int i = 8; i--;) {
			ASSERT_EQ(0, sluice_call_wait(self->caller, id[i], &self->reply, LONG))
				TH_LOG("round %u, call %u: %s", round, i, sluice_error());
			ASSERT_TRUE(is_numbered(self->reply.data, self->reply.len, n + i,
						i % 3 ? 30 : 700));
			sluice_reply_release(self->caller, &self->reply);
		}
		n += 8;
	}
	for (unsigned int i = 0; i < 2; i++)
		if (pid[i])
			stop_server(pid[i]);
	EXPECT_EQ(n, sluice_caller_counters(self->caller)->replied);
	sluice_detach(to);
	EXPECT_EQ(0, sluice_destroy(stage, 0, 0)) TH_LOG("%s", sluice_error());
}

TEST_HARNESS_MAIN
