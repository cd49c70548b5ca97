// SPDX-License-Identifier: MIT
/* Description: who is put out while it sleeps is told so, and does not die of its mappings */
#include "lib_common.h"

#define ASLEEP_MS	60000		/* at the most */

FIXTURE(evicted)
{
	char stage[SLUICE_NAME_MAX];
};

FIXTURE_VARIANT(evicted)
{
	unsigned int flags;
	enum sluice_role role;
};

FIXTURE_VARIANT_ADD(evicted, consumer_poll)
{
	.flags = SLUICE_CTX_NO_URING, .role = SLUICE_CONSUMER,
};
FIXTURE_VARIANT_ADD(evicted, producer_poll)
{
	.flags = SLUICE_CTX_NO_URING, .role = SLUICE_PRODUCER,
};
FIXTURE_VARIANT_ADD(evicted, consumer_uring) { .role = SLUICE_CONSUMER };
FIXTURE_VARIANT_ADD(evicted, producer_uring) { .role = SLUICE_PRODUCER };

FIXTURE_SETUP(evicted)
{
	ASSERT_EQ(0, make_stage(self->stage, (struct sluice_create) { 0 }))
		TH_LOG("%s", sluice_error());
}

FIXTURE_TEARDOWN(evicted)
{
	EXPECT_EQ(0, sluice_destroy(self->stage, 0, SLUICE_DESTROY_FORCE));
}

/* Sleeps for a message, or for room in a ring that it has filled. */
static int sleeps(struct sluice_ep *ep, enum sluice_role role)
{
	struct sluice_msg m = text("x"), got;
	int err;

	if (role == SLUICE_CONSUMER)
		return sluice_claim(ep, &got, SLUICE_FOREVER);
	do {
		err = sluice_send(ep, &m, SLUICE_FOREVER);
	} while (!err);
	return err;
}

static void sleeper(const char *stage, unsigned int flags, enum sluice_role role)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *ep;
	int err;

	CHILD_EXPECT(!sluice_ctx_create(flags, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, role, 0, &ep));
	err = sleeps(ep, role);
	if (err != -ENOTCONN)
		fprintf(stderr, "# it is told %s: %s\n", strerror(-err), sluice_error());
	CHILD_EXPECT(err == -ENOTCONN);
	/* nor does it get further at the next try */
	CHILD_EXPECT(sluice_fd(ep) >= 0);
	sluice_detach(ep);
	/* it can come again */
	CHILD_EXPECT(!sluice_attach(ctx, stage, role, 0, &ep));
	sluice_ctx_destroy(ctx);
	_exit(0);
}

/* Until somebody sleeps in the kernel. */
static int await_asleep(const char *stage)
{
	uint64_t deadline = now_ns() + ASLEEP_MS * MS;
	struct sluice_info i;
	int err;

	while (!(err = sluice_info(stage, &i)) && !i.ready_sleepers && !i.room_sleepers) {
		if (now_ns() >= deadline)
			return -ETIMEDOUT;
		sleep_ms(1);
	}
	return err;
}

static bool has_ended(pid_t pid)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | WNOHANG) || info.si_pid;
}

TEST_F_TIMEOUT(evicted, repaired, 300)
{
	struct sluice_repair found;
	pid_t pid = fork();
	int i;

	ASSERT_GE(pid, 0);
	if (!pid)
		sleeper(self->stage, variant->flags, variant->role);
	ASSERT_EQ(0, await_asleep(self->stage));
	/* long enough to be in poll() */
	sleep_ms(100);
	ASSERT_EQ(0, sluice_repair(self->stage, &found)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(1, found.evicted);
	for (i = 0; i < ASLEEP_MS && !has_ended(pid); i++)
		sleep_ms(1);
	EXPECT_TRUE(has_ended(pid));
	kill(pid, SIGKILL);
	EXPECT_EQ(0, child_status(pid));
}

TEST_HARNESS_MAIN
