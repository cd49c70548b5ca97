// SPDX-License-Identifier: MIT
/* Description: stages and memory of one user are bounded, whoever touches the memory */
#include <grp.h>
#include <setjmp.h>

#include "kmod_process.h"

#define USER		1001u
#define PARAMETERS	"/sys/module/sluice/parameters/"

static sigjmp_buf jump;

static void on_bus(int sig)
{
	siglongjmp(jump, sig);
}

static int set_parameter(const char *name, const char *value)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	f = fopen(path, "w");
	if (!f)
		return -errno;
	fputs(value, f);
	return fclose(f) ? -errno : 0;
}

FIXTURE(user)
{
	int fd;		/* control, opened by root; whoever has it may create */
	struct child c;
};

FIXTURE_SETUP(user)
{
	self->fd = open(CONTROL, O_RDWR | O_CLOEXEC);
	ASSERT_GT(self->fd, 0);
}

FIXTURE_TEARDOWN(user)
{
	EXPECT_EQ(0, set_parameter("max_user_stages", "0"));
	EXPECT_EQ(0, set_parameter("max_user_mb", "0"));
	close(self->fd);
}

static void become(u32 uid)
{
	CHILD_EXPECT(!setgroups(0, NULL));
	CHILD_EXPECT(!setresgid(uid, uid, uid));
	CHILD_EXPECT(!setresuid(uid, uid, uid));
	prctl(PR_SET_PDEATHSIG, SIGKILL);	/* changing ids clears it */
}

static int create_by(int fd, const char *name, struct sluice_create c)
{
	c = stage_named(name, c);
	return call(fd, SLUICE_IOC_CREATE, &c);
}

TEST_F(user, stages)
{
	struct sluice_create dead = { .dead_slots = 4 }, plain = { 0 };

	ASSERT_EQ(0, set_parameter("max_user_stages", "2"));
	if (!child_start(&self->c)) {
		become(USER);
		CHILD_EXPECT(!create_by(self->fd, "a", plain));
		/* a dead-letter stage counts, and a refusal leaves neither */
		CHILD_EXPECT(create_by(self->fd, "b", dead) == -EDQUOT);
		CHILD_EXPECT(!create_by(self->fd, "b", plain));
		CHILD_EXPECT(create_by(self->fd, "c", plain) == -EDQUOT);
		_exit(0);
	}
	EXPECT_EQ(0, child_wait(&self->c));
	EXPECT_EQ(-ENOENT, stage_open("b.dead", O_RDWR));
	/* others are not concerned, nor is root */
	if (!child_start(&self->c)) {
		become(USER + 1);
		CHILD_EXPECT(!create_by(self->fd, "d", plain));
		_exit(0);
	}
	EXPECT_EQ(0, child_wait(&self->c));
	EXPECT_EQ(0, stage_create("e", dead));
	EXPECT_EQ(0, stage_create("f", plain));
	EXPECT_EQ(0, stage_destroy("a", 0, 0));
	if (!child_start(&self->c)) {
		become(USER);
		CHILD_EXPECT(!create_by(self->fd, "a", plain));
		_exit(0);
	}
	EXPECT_EQ(0, child_wait(&self->c));
	EXPECT_EQ(0, stage_destroy("a", 0, 0));
	EXPECT_EQ(0, stage_destroy("b", 0, 0));
	EXPECT_EQ(0, stage_destroy("d", 0, 0));
	EXPECT_EQ(0, stage_destroy("e", 0, 0));
	EXPECT_EQ(0, stage_destroy("f", 0, 0));
}

/* Pages of two stages of one user that root can touch; the volatile counts over the jump. */
static u64 touch(struct end *e)
{
	volatile u64 i = 0;

	signal(SIGBUS, on_bus);
	if (!sigsetjmp(jump, 1))
		for (; i < e->payload_bytes; i += PAGE)
			e->payload[i] = 1;
	return i / PAGE;
}

TEST_F(user, memory)
{
	struct sluice_create c = { .nbufs = 2, .bufsize = 1 << 20, .mode = 0666 };
	struct end a, b;
	u64 pages;

	if (!child_start(&self->c)) {
		become(USER);
		CHILD_EXPECT(!create_by(self->fd, "a", c));
		CHILD_EXPECT(!create_by(self->fd, "b", c));
		_exit(0);
	}
	ASSERT_EQ(0, child_wait(&self->c));
	ASSERT_EQ(0, end_make(&a, "a", SLUICE_PRODUCER, 0));
	ASSERT_EQ(0, end_make(&b, "b", SLUICE_PRODUCER, 0));
	ASSERT_EQ(0, set_parameter("max_user_mb", "3"));
	EXPECT_EQ(512, touch(&a));
	pages = touch(&b);
	EXPECT_GT(pages, 200);
	EXPECT_LE(pages, 256);
	/* a stage that is gone but mapped still costs; unmapped it does not */
	EXPECT_EQ(0, stage_destroy("a", 0, SLUICE_DESTROY_FORCE));
	EXPECT_EQ(pages, touch(&b));
	end_close(&a);
	EXPECT_EQ(512, touch(&b));
	end_close(&b);
	EXPECT_EQ(0, stage_destroy("b", 0, 0));
}

TEST_HARNESS_MAIN
