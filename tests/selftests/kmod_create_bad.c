// SPDX-License-Identifier: MIT
/* Description: create refuses every impossible field and leaves nothing behind */
#include "kmod_common.h"

/* No stage and no node: what was refused was not begun. */
static int nothing_there(void)
{
	struct sluice_info i = { .size = sizeof(i) };
	int err = control(SLUICE_IOC_NEXT, &i);

	if (err != -ENOENT)
		return err ?: -EEXIST;
	return access(NODE "t", F_OK) ? 0 : -EEXIST;
}

static int create(struct sluice_create c)
{
	return stage_create("t", c);
}

#define EXPECT_REFUSED(err, ...) do {						\
	EXPECT_EQ(err, create((struct sluice_create) { __VA_ARGS__ }));		\
	EXPECT_EQ(0, nothing_there());						\
} while (0)

TEST(geometry)
{
	EXPECT_REFUSED(-EINVAL, .nslots = 1);
	EXPECT_REFUSED(-EINVAL, .nslots = 32);
	EXPECT_REFUSED(-EINVAL, .nslots = 65);
	EXPECT_REFUSED(-EINVAL, .nslots = 96);
	EXPECT_REFUSED(-EINVAL, .nslots = SLUICE_MAX_SLOTS * 2);
	EXPECT_REFUSED(-EINVAL, .nslots = 0x80000000u);
	EXPECT_REFUSED(-EINVAL, .nslots = 0xffffffffu);
	EXPECT_REFUSED(-EINVAL, .nbufs = 1);
	EXPECT_REFUSED(-EINVAL, .bufsize = 4096);
	EXPECT_REFUSED(-EINVAL, .nbufs = SLUICE_MAX_BUFFERS + 1, .bufsize = 1);
	EXPECT_REFUSED(-EINVAL, .nbufs = 0xffffffffu, .bufsize = 1);
	EXPECT_REFUSED(-EINVAL, .nbufs = 1, .bufsize = SLUICE_MAX_BUFFER_SIZE + 1);
	EXPECT_REFUSED(-EINVAL, .nbufs = 1, .bufsize = 0xffffffffu);
	EXPECT_REFUSED(-EINVAL, .dead_slots = SLUICE_MAX_BUFFERS + 1);
	EXPECT_REFUSED(-EINVAL, .dead_slots = 0xffffffffu);
}

TEST(no_slots)
{
	struct sluice_create c = stage_named("t", (struct sluice_create) { 0 });

	c.nslots = 0;
	EXPECT_EQ(-EINVAL, control(SLUICE_IOC_CREATE, &c));
	EXPECT_EQ(0, nothing_there());
}

TEST(numbers_and_flags)
{
	EXPECT_REFUSED(-EINVAL, .flags = ~SLUICE_CREATE_ALL);
	EXPECT_REFUSED(-EINVAL, .flags = 1u << 31);
	EXPECT_REFUSED(-EINVAL, .policy = SLUICE_POLICY_COUNT);
	EXPECT_REFUSED(-EINVAL, .policy = 0xffffffffu);
	EXPECT_REFUSED(-EINVAL, .queue_max = SLUICE_MAX_SLOTS + 1);
	EXPECT_REFUSED(-EINVAL, .max_attempts = SLUICE_MAX_ATTEMPTS + 1);
	EXPECT_REFUSED(-EINVAL, .max_attempts = 0xffffffffu);
	EXPECT_REFUSED(-EINVAL, .mode = 01000);
	EXPECT_REFUSED(-EINVAL, .mode = 04755);
	EXPECT_REFUSED(-EINVAL, .mode = 0100600);
	EXPECT_REFUSED(-EINVAL, .reserved = { 1 });
	EXPECT_REFUSED(-EINVAL, .reserved = { 0, 1 });
	EXPECT_REFUSED(-EINVAL, .reserved = { 0, 0, 0x80000000u });
	EXPECT_REFUSED(-EINVAL, .uid = 0xffffffffu);
	EXPECT_REFUSED(-EINVAL, .gid = 0xffffffffu);
}

FIXTURE(edge) { };
FIXTURE_SETUP(edge) { }
FIXTURE_TEARDOWN(edge) { }

/* What is at the edge is possible; memory comes when it is touched. */
TEST_F_TIMEOUT(edge, limits_are_possible, 300)
{
	struct sluice_info i;

	ASSERT_EQ(0, create((struct sluice_create) {
		.nslots = SLUICE_MAX_SLOTS, .nbufs = SLUICE_MAX_BUFFERS,
		.bufsize = SLUICE_MAX_BUFFER_SIZE, .max_attempts = SLUICE_MAX_ATTEMPTS,
		.ack_timeout_ms = 0xffffffffu, .max_hold_ms = 0xffffffffu,
		.write_timeout_ms = 0xffffffffu, .queue_max = SLUICE_MAX_SLOTS,
		.dead_slots = SLUICE_MAX_BUFFERS, .mode = 0777,
	}));
	ASSERT_EQ(0, stage_info("t", &i));
	EXPECT_EQ(SLUICE_MAX_SLOTS, i.nslots);
	EXPECT_EQ(SLUICE_MAX_BUFFERS, i.nbufs);
	EXPECT_EQ(SLUICE_MAX_BUFFER_SIZE, i.bufsize);
	EXPECT_EQ(SLUICE_MAX_ATTEMPTS, i.max_attempts);
	EXPECT_EQ(0xffffffffu, i.ack_timeout_ms);
	EXPECT_EQ(0777, i.mode);
	EXPECT_LE(i.bytes_resident, 2 * PAGE);
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
	EXPECT_EQ(0, nothing_there());
}

/* What is not said has the default that the ABI names. */
TEST(defaults)
{
	struct sluice_info i;
	struct stat st;

	ASSERT_EQ(0, create((struct sluice_create) { .nbufs = 3, .bufsize = 1 }));
	ASSERT_EQ(0, stage_info("t", &i));
	EXPECT_EQ(sizeof(i), i.size);
	EXPECT_STREQ("t", i.name);
	EXPECT_EQ(SLUICE_IDLE, i.health);
	EXPECT_EQ(NSLOTS, i.nslots);
	EXPECT_EQ(3, i.nbufs);
	EXPECT_EQ(PAGE, i.bufsize);
	EXPECT_EQ(5, i.max_attempts);
	EXPECT_EQ(30000, i.ack_timeout_ms);
	EXPECT_EQ(300000, i.max_hold_ms);
	EXPECT_EQ(1000, i.write_timeout_ms);
	EXPECT_EQ(0, i.dead_slots);
	EXPECT_EQ(NSLOTS, i.queue_max);
	EXPECT_EQ(0600, i.mode);
	EXPECT_EQ(0, i.tail);
	EXPECT_EQ(0, i.oldest_age_ns);
	EXPECT_STATE("t", 0);
	ASSERT_EQ(0, stat(NODE "t", &st));
	EXPECT_EQ(S_IFCHR | 0600, st.st_mode);
	EXPECT_EQ(0, st.st_uid);
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
	EXPECT_EQ(0, nothing_there());
}

TEST_HARNESS_MAIN
