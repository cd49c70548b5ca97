// SPDX-License-Identifier: MIT
/* Description: owner and mode of a node are its creator's to give; permissions are files' */
#include <grp.h>

#include "kmod_process.h"

#define USER	1000u
#define OTHER	1001u

FIXTURE(control)
{
	int fd;		/* opened by root; whoever has it may create */
};

FIXTURE_SETUP(control)
{
	self->fd = open(CONTROL, O_RDWR | O_CLOEXEC);
	ASSERT_GT(self->fd, 0);
}

FIXTURE_TEARDOWN(control)
{
	close(self->fd);
}

static void become(u32 uid)
{
	CHILD_EXPECT(!setgroups(0, NULL));
	CHILD_EXPECT(!setresgid(uid, uid, uid));
	CHILD_EXPECT(!setresuid(uid, uid, uid));
	/* changing ids clears it */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static int create_as(int fd, struct sluice_create c)
{
	c = stage_named("t", c);
	return call(fd, SLUICE_IOC_CREATE, &c);
}

static int destroy_as(int fd, u32 flags)
{
	struct sluice_destroy d = { .size = sizeof(d), .flags = flags, .name = "t" };

	return call(fd, SLUICE_IOC_DESTROY, &d);
}

static int node_is(u32 uid, u32 gid, u32 mode)
{
	struct stat st;

	if (stat(NODE "t", &st))
		return -errno;
	if (st.st_uid == uid && st.st_gid == gid && st.st_mode == (S_IFCHR | mode))
		return 0;
	fprintf(stderr, "# node is %u:%u %o\n", st.st_uid, st.st_gid, st.st_mode);
	return -EPERM;
}

TEST_F(control, closed_to_others)
{
	struct child c;

	ASSERT_EQ(0, stage_create("t", (struct sluice_create) { 0 }));
	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		become(USER);
		CHILD_EXPECT(open(CONTROL, O_RDWR) == -1 && errno == EACCES);
		CHILD_EXPECT(open(CONTROL, O_RDONLY) == -1 && errno == EACCES);
		CHILD_EXPECT(stage_open("t", O_RDWR) == -EACCES);
		CHILD_EXPECT(stage_open("t", O_RDONLY) == -EACCES);
		/* with a descriptor that somebody gave it: it is not its stage */
		CHILD_EXPECT(destroy_as(self->fd, 0) == -EPERM);
		CHILD_EXPECT(destroy_as(self->fd, SLUICE_DESTROY_FORCE) == -EPERM);
		_exit(0);
	}
	EXPECT_EQ(0, child_wait(&c));
	EXPECT_STATE("t", 0);
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
}

/* Root may give away. */
TEST_F(control, given_away)
{
	struct child c;

	ASSERT_EQ(0, create_as(self->fd, (struct sluice_create) {
		.uid = USER, .gid = OTHER, .mode = 0640,
	}));
	EXPECT_EQ(0, node_is(USER, OTHER, 0640));
	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		struct end e;

		become(USER);
		CHILD_EXPECT(!end_make(&e, "t", SLUICE_CONSUMER, 0));
		end_close(&e);
		CHILD_EXPECT(destroy_as(self->fd, 0) == 0);
		_exit(0);
	}
	EXPECT_EQ(0, child_wait(&c));
	EXPECT_EQ(-ENOENT, stage_destroy("t", 0, 0));
}

/* The group may read: read(2) is all that needs. */
TEST_F(control, group_reads)
{
	struct child c;

	ASSERT_EQ(0, create_as(self->fd, (struct sluice_create) { .gid = OTHER, .mode = 0640 }));
	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		struct sluice_attach a;
		char byte;
		int fd;

		become(OTHER);
		CHILD_EXPECT(stage_open("t", O_RDWR) == -EACCES);
		CHILD_EXPECT(stage_open("t", O_WRONLY) == -EACCES);
		fd = stage_open("t", O_RDONLY | O_NONBLOCK);
		CHILD_EXPECT(fd > 0);
		CHILD_EXPECT(attach_raw(fd, SLUICE_CONSUMER, 0, &a) == -EACCES);
		CHILD_EXPECT(read(fd, &byte, 1) == -1 && errno == EAGAIN);
		_exit(0);
	}
	EXPECT_EQ(0, child_wait(&c));
	EXPECT_STATE("t", .deaths = 1);
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
}

/* An ordinary user's stages are its own. */
TEST_F(control, user_creates)
{
	struct child c;

	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		become(USER);
		CHILD_EXPECT(create_as(self->fd, (struct sluice_create) { .uid = OTHER }) == -EPERM);
		CHILD_EXPECT(create_as(self->fd, (struct sluice_create) { .gid = OTHER }) == -EPERM);
		CHILD_EXPECT(create_as(self->fd, (struct sluice_create) {
			.uid = USER, .gid = OTHER }) == -EPERM);
		CHILD_EXPECT(access(NODE "t", F_OK));
		CHILD_EXPECT(create_as(self->fd, (struct sluice_create) { .dead_slots = 1 }) == 0);
		CHILD_EXPECT(node_is(USER, USER, 0600) == 0);
		CHILD_EXPECT(destroy_as(self->fd, 0) == 0);
		CHILD_EXPECT(create_as(self->fd, (struct sluice_create) {
			.uid = USER, .gid = USER, .mode = 0666 }) == 0);
		CHILD_EXPECT(node_is(USER, USER, 0666) == 0);
		_exit(0);
	}
	EXPECT_EQ(0, child_wait(&c));
	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		become(OTHER);
		CHILD_EXPECT(destroy_as(self->fd, 0) == -EPERM);
		CHILD_EXPECT(close(stage_open("t", O_RDWR)) == 0);
		_exit(0);
	}
	EXPECT_EQ(0, child_wait(&c));
	/* root may always */
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
}

TEST_HARNESS_MAIN
