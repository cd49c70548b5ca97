// SPDX-License-Identifier: MIT
/* Description: state shared by an ordered log: copies agree, joiners get snapshot and tail, epochs fence, deaths */
#include <fcntl.h>
#include <sys/mman.h>

#include <sluice/log.h>

#include "lib_common.h"

#define POSITIONS	(1u << 16)

/* What all processes of a test see: the digest that a copy has after each position. */
static uint64_t *digests;

struct copy {
	uint64_t digest;
	uint64_t entries;
	bool differs;
};

static int copy_apply(void *state, const void *data, size_t len, uint64_t position)
{
	struct copy *c = state;
	uint64_t n = 0, seen = 0;

	memcpy(&n, data, len < sizeof(n) ? len : sizeof(n));
	c->digest = (c->digest ^ n ^ position) * 0x9e3779b97f4a7c15ull + 1;
	c->entries++;
	/* whoever is first writes it; everybody else has to have the same */
	if (!__atomic_compare_exchange_n(&digests[position % POSITIONS], &seen, c->digest, false,
					 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		c->differs |= seen != c->digest;
	return 0;
}

static ssize_t copy_save(void *state, void *buf, size_t size)
{
	if (size < sizeof(struct copy))
		return -EMSGSIZE;
	memcpy(buf, state, sizeof(struct copy));
	return sizeof(struct copy);
}

static int copy_load(void *state, const void *data, size_t len)
{
	if (len != sizeof(struct copy))
		return -EPROTO;
	memcpy(state, data, len);
	return 0;
}

static const struct sluice_log_ops ops = { copy_apply, copy_save, copy_load };

FIXTURE(log)
{
	char stage[SLUICE_NAME_MAX];
	struct sluice_ctx *ctx;
};

FIXTURE_SETUP(log)
{
	static int n;

	snprintf(self->stage, sizeof(self->stage), "log.%d.%d", getpid(), n++);
	ASSERT_EQ(0, sluice_log_create(self->stage, 4096 - 64, 20000)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_ctx_create(0, &self->ctx));
	digests = mmap(NULL, POSITIONS * sizeof(*digests), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, digests);
}

FIXTURE_TEARDOWN(log)
{
	sluice_ctx_destroy(self->ctx);
	EXPECT_EQ(0, sluice_destroy(self->stage, 0, 0)) TH_LOG("%s", sluice_error());
	munmap(digests, POSITIONS * sizeof(*digests));
}

static int append(struct sluice_log *log, uint64_t n)
{
	return sluice_log_append(log, &n, sizeof(n));
}

TEST_F(log, alone)
{
	struct sluice_log *log;
	struct copy copy = { 0 }, want = { 0 };
	uint64_t n;

	ASSERT_EQ(0, sluice_log_join(self->ctx, self->stage, &ops, &copy, 5 * SECOND, &log))
		TH_LOG("%s", sluice_error());
	EXPECT_EQ(-EAGAIN, sluice_log_step(log, SLUICE_NOW));
	for (n = 0; n < 10; n++)
		ASSERT_EQ(0, append(log, n));
	EXPECT_EQ(0, copy.entries);
	for (n = 0; n < 10; n++) {
		ASSERT_EQ(0, sluice_log_step(log, SLUICE_NOW));
		memset(digests, 0, POSITIONS * sizeof(*digests));
		copy_apply(&want, &n, sizeof(n), sluice_log_position(log));
		EXPECT_EQ(want.digest, copy.digest);
	}
	EXPECT_EQ(-EAGAIN, sluice_log_step(log, 10 * MS));
	EXPECT_EQ(10, copy.entries);
	sluice_log_leave(log);
}

TEST_F(log, bad)
{
	struct sluice_create c = { .nslots = 64 };
	struct sluice_log *log;
	struct copy copy = { 0 };
	static char large[8192];

	strcpy(c.name, "no.log");
	ASSERT_EQ(0, sluice_create(&c));
	EXPECT_EQ(-EPROTO, sluice_log_join(self->ctx, "no.log", &ops, &copy, SLUICE_NOW, &log));
	EXPECT_TRUE(strstr(sluice_error(), "no log")) TH_LOG("%s", sluice_error());
	EXPECT_EQ(0, sluice_destroy("no.log", 0, 0));
	EXPECT_EQ(-ENOENT, sluice_log_join(self->ctx, "no.log", &ops, &copy, SLUICE_NOW, &log));
	ASSERT_EQ(0, sluice_log_join(self->ctx, self->stage, &ops, &copy, 5 * SECOND, &log));
	EXPECT_EQ(-EMSGSIZE, sluice_log_append(log, large, sizeof(large)));
	EXPECT_EQ(-EPERM, sluice_log_append_fenced(log, large, 8));
	/* with as much as fits, it goes through */
	EXPECT_EQ(0, sluice_log_append(log, large, 4096));
	EXPECT_EQ(0, sluice_log_step(log, SLUICE_NOW));
	sluice_log_leave(log);
}

/* A child that is a member until it has applied @entries more, and appends some. */
static void member(const char *stage, unsigned int entries, unsigned int appends, bool dies)
{
	struct sluice_ctx *ctx;
	struct sluice_log *log;
	struct copy copy = { 0 };
	unsigned int i;
	int ret;

	CHILD_EXPECT(!sluice_ctx_create(0, &ctx));
again:
	memset(&copy, 0, sizeof(copy));
	ret = sluice_log_join(ctx, stage, &ops, &copy, 30 * SECOND, &log);
	if (ret == -ENOTCONN)	/* not scheduled for longer than the ack timeout */
		goto again;
	CHILD_EXPECT(!ret);
	for (i = 0; i < entries; i++) {
		uint64_t n = (uint64_t)getpid() << 32 | i;

		if (i < appends && append(log, n) == -EAGAIN)
			i--;
		ret = sluice_log_step(log, 300 * MS);
		if (ret == -EAGAIN)
			break;
		if (ret == -ENOTCONN) {
			sluice_log_leave(log);
			goto again;
		}
		CHILD_EXPECT(!ret);
		CHILD_EXPECT(!copy.differs);
	}
	if (dies)
		kill(getpid(), SIGKILL);
	sluice_log_leave(log);
	sluice_ctx_destroy(ctx);
	_exit(0);
}

TEST_F(log, late_joiner)
{
	struct sluice_log *log;
	struct copy copy = { 0 };
	int pipes[2], i;
	uint64_t there[2];
	pid_t child;
	char c;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, sluice_log_join(self->ctx, self->stage, &ops, &copy, 5 * SECOND, &log));
	for (i = 0; i < 7; i++) {
		ASSERT_EQ(0, append(log, (uint64_t)i));
		ASSERT_EQ(0, sluice_log_step(log, SECOND));
	}
	child = fork();
	if (!child) {
		struct sluice_ctx *ctx;

		CHILD_EXPECT(!sluice_ctx_create(0, &ctx));
		memset(&copy, 0, sizeof(copy));
		CHILD_EXPECT(!sluice_log_join(ctx, self->stage, &ops, &copy, 20 * SECOND, &log));
		/* seven it never saw; what is appended from now on it does */
		there[0] = copy.entries;
		CHILD_EXPECT(write(pipes[1], "j", 1) == 1);
		CHILD_EXPECT(!sluice_log_step(log, 20 * SECOND));
		there[1] = copy.digest;
		CHILD_EXPECT(write(pipes[1], there, sizeof(there)) == sizeof(there));
		_exit(0);
	}
	/* nobody else answers it; it says so when it has its snapshot */
	fcntl(pipes[0], F_SETFL, O_NONBLOCK);
	while (read(pipes[0], &c, 1) != 1)
		ASSERT_EQ(-EAGAIN, sluice_log_step(log, 10 * MS));
	fcntl(pipes[0], F_SETFL, 0);
	ASSERT_EQ(0, append(log, 7));
	ASSERT_EQ(0, sluice_log_step(log, SECOND));
	ASSERT_EQ(sizeof(there), read(pipes[0], there, sizeof(there)));
	EXPECT_EQ(7, there[0]);
	EXPECT_EQ(copy.digest, there[1]);
	EXPECT_EQ(0, child_status(child));
	sluice_log_leave(log);
	close(pipes[0]);
	close(pipes[1]);
}

/* Members come, append, leave and die; all copies agree at every position. */
static void storm(struct __test_metadata *_metadata, const char *stage, unsigned int lives)
{
	unsigned int running = 0, started = 0, killed = 0;
	int status;

	while (started < lives || running) {
		if (started < lives && running < 4) {
			unsigned int n = started++;

			running++;
			if (!fork())
				member(stage, 5 + n * 7 % 61, n % 5 * 3, n % 3 == 1);
			continue;
		}
		ASSERT_LT(0, wait(&status));
		EXPECT_TRUE(!status || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
			TH_LOG("status %x", status);
		killed += WIFSIGNALED(status);
		running--;
	}
	TH_LOG("%u members, %u of them killed", started, killed);
}

TEST_F(log, come_and_go)
{
	storm(_metadata, self->stage, 60);
}

/* One that stays has to agree with all of them, and sees every entry. */
TEST_F(log, one_stays)
{
	struct sluice_log *log;
	struct copy copy = { 0 };
	pid_t stays = fork();
	int i;

	if (!stays) {
		struct sluice_ctx *ctx;

		CHILD_EXPECT(!sluice_ctx_create(0, &ctx));
		CHILD_EXPECT(!sluice_log_join(ctx, self->stage, &ops, &copy, 20 * SECOND, &log));
		for (i = 0;; i++) {
			int ret;

			if (i % 8 == 0)
				append(log, (uint64_t)i);
			ret = sluice_log_step(log, 2 * SECOND);

			if (ret == -EAGAIN)
				break;
			CHILD_EXPECT(!ret);
			CHILD_EXPECT(!copy.differs);
			CHILD_EXPECT(copy.entries == (uint64_t)i + 1);
			if (i > 4000)
				break;
		}
		_exit(0);
	}
	sleep_ms(100);
	storm(_metadata, self->stage, 30);
	EXPECT_EQ(0, child_status(stays));
}

/* Two in one thread: the first one's answer is made in its step, so the second joins in a child. */
TEST_F(log, epochs)
{
	struct sluice_log *log;
	struct copy copy = { 0 };
	int to[2], from[2];
	char c;
	pid_t child;

	ASSERT_EQ(0, pipe(to));
	ASSERT_EQ(0, pipe(from));
	ASSERT_EQ(0, sluice_log_join(self->ctx, self->stage, &ops, &copy, 5 * SECOND, &log));
	child = fork();
	if (!child) {
		struct sluice_ctx *ctx;

		memset(&copy, 0, sizeof(copy));
		CHILD_EXPECT(!sluice_ctx_create(0, &ctx));
		CHILD_EXPECT(!sluice_log_join(ctx, self->stage, &ops, &copy, 20 * SECOND, &log));
		CHILD_EXPECT(write(from[1], "j", 1) == 1);
		CHILD_EXPECT(read(to[0], &c, 1) == 1);
		/* both have asked for epoch 1, the parent first */
		CHILD_EXPECT(!sluice_log_lead(log));
		CHILD_EXPECT(write(from[1], "l", 1) == 1);
		CHILD_EXPECT(!sluice_log_step(log, 20 * SECOND));
		CHILD_EXPECT(sluice_log_epoch(log) == 1 && !sluice_log_leads(log));
		/* and now for 2, which it alone asks for */
		CHILD_EXPECT(!sluice_log_lead(log));
		CHILD_EXPECT(!append(log, 1));
		CHILD_EXPECT(write(from[1], "2", 1) == 1);
		CHILD_EXPECT(read(to[0], &c, 1) == 1);
		/* the parent's, fenced with 1, is not among them */
		CHILD_EXPECT(!sluice_log_step(log, 20 * SECOND));
		CHILD_EXPECT(sluice_log_epoch(log) == 2 && sluice_log_leads(log));
		CHILD_EXPECT(!sluice_log_append_fenced(log, &copy.entries, 8));
		CHILD_EXPECT(write(from[1], "3", 1) == 1);
		CHILD_EXPECT(!sluice_log_step(log, 20 * SECOND));
		CHILD_EXPECT(sluice_log_fenced(log) == 1);
		CHILD_EXPECT(copy.entries == 3);
		_exit(0);
	}
	/* until it has its snapshot */
	while (fcntl(from[0], F_SETFL, O_NONBLOCK), read(from[0], &c, 1) != 1)
		ASSERT_EQ(-EAGAIN, sluice_log_step(log, 10 * MS));
	fcntl(from[0], F_SETFL, 0);
	ASSERT_EQ(0, sluice_log_lead(log));
	EXPECT_FALSE(sluice_log_leads(log));
	ASSERT_EQ(1, write(to[1], "g", 1));
	ASSERT_EQ(1, read(from[0], &c, 1));
	ASSERT_EQ(0, append(log, 0));
	ASSERT_EQ(0, sluice_log_step(log, 5 * SECOND));
	EXPECT_EQ(1, sluice_log_epoch(log));
	EXPECT_TRUE(sluice_log_leads(log));
	ASSERT_EQ(1, read(from[0], &c, 1));
	/* it does not know yet that it leads no longer: its entry is after the child's LEAD */
	ASSERT_EQ(0, sluice_log_append_fenced(log, "stale", 5));
	ASSERT_EQ(1, write(to[1], "s", 1));
	ASSERT_EQ(0, sluice_log_step(log, 5 * SECOND));
	EXPECT_EQ(2, sluice_log_epoch(log));
	EXPECT_FALSE(sluice_log_leads(log));
	EXPECT_EQ(-EPERM, sluice_log_append_fenced(log, "stale", 5));
	ASSERT_EQ(1, read(from[0], &c, 1));
	ASSERT_EQ(0, sluice_log_step(log, 5 * SECOND));
	EXPECT_EQ(1, sluice_log_fenced(log));
	EXPECT_EQ(3, copy.entries);
	EXPECT_EQ(0, child_status(child));
	EXPECT_FALSE(copy.differs);
	sluice_log_leave(log);
	close(to[0]);
	close(to[1]);
	close(from[0]);
	close(from[1]);
}

TEST_HARNESS_MAIN
