// SPDX-License-Identifier: MIT
/* Description: attach checks version, role, descriptor and flags; one endpoint a descriptor */
#include <stddef.h>
#include <sys/resource.h>

#include "kmod_common.h"

FIXTURE(stage)
{
	int fd;
};

FIXTURE_SETUP(stage)
{
	ASSERT_EQ(0, stage_create("t", (struct sluice_create) { .nbufs = 2, .bufsize = 5000 }));
	self->fd = stage_open("t", O_RDWR);
	ASSERT_GT(self->fd, 0);
}

FIXTURE_TEARDOWN(stage)
{
	close(self->fd);
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
}

static int attach_with(int fd, struct sluice_attach a)
{
	a.size = a.size ?: sizeof(a);
	return call(fd, SLUICE_IOC_ATTACH, &a);
}

#define EXPECT_REFUSED(err, ...) do {						\
	EXPECT_EQ(err, attach_with(self->fd, (struct sluice_attach) { __VA_ARGS__ }));	\
	EXPECT_STATE("t", 0);							\
} while (0)

TEST_F(stage, bad_fields)
{
	EXPECT_REFUSED(-EPROTONOSUPPORT, .role = SLUICE_PRODUCER);
	EXPECT_REFUSED(-EPROTONOSUPPORT, .abi_version = 2, .role = SLUICE_PRODUCER);
	EXPECT_REFUSED(-EINVAL, .abi_version = 1);
	EXPECT_REFUSED(-EINVAL, .abi_version = 1, .role = 3);
	EXPECT_REFUSED(-EINVAL, .abi_version = 1, .role = 0xffffffffu);
	EXPECT_REFUSED(-EINVAL, .abi_version = 1, .role = 1, .flags = ~SLUICE_ATTACH_ALL);
	EXPECT_REFUSED(-EINVAL, .abi_version = 1, .role = 2, .flags = SLUICE_ATTACH_SOLE);
	EXPECT_REFUSED(-EINVAL, .abi_version = 1, .role = 1, .start = 1);
	EXPECT_REFUSED(-EINVAL, .abi_version = 1, .role = 1, .recipient = 1ull << 63);
	EXPECT_REFUSED(-EINVAL, .size = 4, .abi_version = 1, .role = 1);
	EXPECT_EQ(-EFAULT, call(self->fd, SLUICE_IOC_ATTACH, NULL));
}

TEST_F(stage, outputs)
{
	struct sluice_attach a;

	ASSERT_EQ(0, attach_raw(self->fd, SLUICE_PRODUCER, 0, &a));
	EXPECT_GT(a.id, 0);
	EXPECT_LT(a.id, SLOT_OWNER_KERNEL);
	EXPECT_LT(a.index, SLUICE_MAX_ENDPOINTS);
	EXPECT_EQ(PAGE, a.hints_bytes);
	EXPECT_EQ(0, a.control_bytes % PAGE);
	EXPECT_GE(a.control_bytes, NSLOTS * sizeof(struct sluice_slot));
	EXPECT_EQ(2 * 8192, a.payload_bytes);
	EXPECT_EQ(0, a.tail);
	EXPECT_STATE("t", .producers = 1);
}

/* The stage that is meant, if one is named: a node's number may have been another's. */
TEST_F(stage, names_the_stage)
{
	EXPECT_REFUSED(-ENOENT, .abi_version = 1, .role = 1, .name = "u");
	EXPECT_REFUSED(-ENOENT, .abi_version = 1, .role = 1, .name = "tt");
	EXPECT_EQ(0, attach_with(self->fd, (struct sluice_attach) {
		.abi_version = 1, .role = 1, .name = "t",
	}));
	EXPECT_STATE("t", .producers = 1);
}

/* Programs of before there was a name: a shorter structure, and another command number. */
TEST_F(stage, older_program)
{
	struct sluice_attach a = {
		.size = offsetof(struct sluice_attach, name), .abi_version = 1, .role = 1,
	};

	memset(a.name, GARBAGE, sizeof(a.name));
	EXPECT_EQ(0, ioctl(self->fd, _IOC(_IOC_READ | _IOC_WRITE, SLUICE_IOC_MAGIC, 0x20, a.size), &a));
	EXPECT_EQ((char)GARBAGE, a.name[0]);
	EXPECT_STATE("t", .producers = 1);
}

TEST_F(stage, once_a_descriptor)
{
	struct sluice_attach a;

	ASSERT_EQ(0, attach_raw(self->fd, SLUICE_PRODUCER, 0, &a));
	EXPECT_EQ(-EALREADY, attach_raw(self->fd, SLUICE_PRODUCER, 0, &a));
	EXPECT_EQ(-EALREADY, attach_raw(self->fd, SLUICE_CONSUMER, 0, &a));
	EXPECT_STATE("t", .producers = 1);
	ASSERT_EQ(0, call(self->fd, SLUICE_IOC_DETACH, NULL));
	EXPECT_STATE("t", .deaths = 1);
	EXPECT_EQ(-EALREADY, attach_raw(self->fd, SLUICE_PRODUCER, 0, &a));
	EXPECT_STATE("t", .deaths = 1);
}

/* A consumer acknowledges, so it has to be able to write. */
TEST_F(stage, modes_of_descriptors)
{
	int rd = stage_open("t", O_RDONLY), wr = stage_open("t", O_WRONLY);
	struct sluice_attach a;

	EXPECT_EQ(-EACCES, attach_raw(rd, SLUICE_CONSUMER, 0, &a));
	EXPECT_EQ(-EACCES, attach_raw(rd, SLUICE_PRODUCER, 0, &a));
	EXPECT_EQ(-EACCES, attach_raw(wr, SLUICE_CONSUMER, 0, &a));
	EXPECT_STATE("t", 0);
	EXPECT_EQ(0, attach_raw(wr, SLUICE_PRODUCER, 0, &a));
	EXPECT_STATE("t", .producers = 1);
	close(rd);
	close(wr);
}

/* Nothing is possible before, and after a detach nothing any more. */
TEST_F(stage, commands_need_an_endpoint)
{
	struct sluice_wait_ioctl w = { .wait = { .what = SLUICE_WAIT_READY } };
	struct sluice_nack n = { 0 };
	struct sluice_kick k = { 0 };
	struct sluice_send s = { .size = sizeof(s) };
	struct sluice_attach a;
	int i;

	for (i = 0; i < 2; i++) {
		EXPECT_EQ(-ENOTCONN, call(self->fd, SLUICE_IOC_WAIT, &w));
		EXPECT_EQ(-ENOTCONN, call(self->fd, SLUICE_IOC_KICK, &k));
		EXPECT_EQ(-ENOTCONN, call(self->fd, SLUICE_IOC_NACK, &n));
		EXPECT_EQ(-ENOTCONN, call(self->fd, SLUICE_IOC_RENEW, &n));
		EXPECT_EQ(-ENOTCONN, call(self->fd, SLUICE_IOC_SEND, &s));
		EXPECT_EQ(-ENOTCONN, call(self->fd, SLUICE_IOC_DETACH, NULL));
		EXPECT_EQ(-ENOTTY, call(self->fd, TCGETS, &w));
		EXPECT_EQ(MAP_FAILED, map_at(self->fd, SLUICE_MMAP_HINTS, PAGE, PROT_READ));
		EXPECT_EQ(ENOTCONN, errno);
		if (i)
			break;
		ASSERT_EQ(0, attach_raw(self->fd, SLUICE_CONSUMER, 0, &a));
		EXPECT_EQ(-ENOTTY, call(self->fd, _IO(SLUICE_IOC_MAGIC, 0x7f), NULL));
		EXPECT_EQ(-ENOTTY, call(self->fd, TCGETS, &w));
		ASSERT_EQ(0, call(self->fd, SLUICE_IOC_DETACH, NULL));
	}
}

/* Ids are not given again while others would do; an index is. */
TEST_F(stage, ids_move_on)
{
	struct sluice_attach a, b;
	int fd;

	ASSERT_EQ(0, attach_raw(self->fd, SLUICE_PRODUCER, 0, &a));
	fd = stage_open("t", O_RDWR);
	ASSERT_EQ(0, attach_raw(fd, SLUICE_CONSUMER, 0, &b));
	EXPECT_NE(a.id, b.id);
	EXPECT_NE(a.index, b.index);
	close(fd);
	fd = stage_open("t", O_RDWR);
	ASSERT_EQ(0, attach_raw(fd, SLUICE_CONSUMER, 0, &a));
	EXPECT_NE(a.id, b.id);
	EXPECT_EQ(a.index, b.index);
	close(fd);
}

TEST_F(stage, too_many)
{
	struct rlimit lim = { .rlim_cur = 1024, .rlim_max = 4096 };
	int fds[SLUICE_MAX_ENDPOINTS + 1], i;
	struct sluice_attach a;

	setrlimit(RLIMIT_NOFILE, &lim);
	for (i = 0; i < SLUICE_MAX_ENDPOINTS; i++) {
		fds[i] = stage_open("t", O_RDWR);
		ASSERT_EQ(0, attach_raw(fds[i], SLUICE_CONSUMER, 0, &a)) TH_LOG("%d", i);
	}
	fds[i] = stage_open("t", O_RDWR);
	EXPECT_EQ(-EUSERS, attach_raw(fds[i], SLUICE_CONSUMER, 0, &a));
	EXPECT_STATE("t", .consumers = SLUICE_MAX_ENDPOINTS);
	close(fds[3]);
	EXPECT_EQ(0, attach_raw(fds[i], SLUICE_CONSUMER, 0, &a));
	EXPECT_EQ(3, a.index);
	EXPECT_STATE("t", .consumers = SLUICE_MAX_ENDPOINTS, .deaths = 1);
	for (i = 0; i <= SLUICE_MAX_ENDPOINTS; i++)
		if (i != 3)
			close(fds[i]);
	AWAIT_STATE("t", 100, .deaths = SLUICE_MAX_ENDPOINTS + 1);
}

TEST_HARNESS_MAIN
