// SPDX-License-Identifier: MIT
/* Description: names of stages are checked, unique, and free again after a destroy */
#include "kmod_common.h"

static int create(const char *name)
{
	return stage_create(name, (struct sluice_create) { 0 });
}

TEST(bad_names)
{
	static const char *const names[] = {
		"", ".", "..", "-", "_a", ".a", "-a", "a/b", "/a", "a b", " a", "a\n", "a\x7f",
		"\xc3\xa4", "\xe4", "a\xe4", "a*", "a:b", "a,b", "a!b", "control", "../a", "a\\b",
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		EXPECT_EQ(-EINVAL, create(names[i])) TH_LOG("name %u", i);
}

TEST(name_without_end)
{
	struct sluice_create c = stage_named("t", (struct sluice_create) { 0 });
	struct sluice_info i = { .size = sizeof(i) };
	struct sluice_destroy d = { .size = sizeof(d) };
	struct sluice_endpoint_info e = { .size = sizeof(e) };

	memset(c.name, 'a', sizeof(c.name));
	memset(i.name, 'a', sizeof(i.name));
	memset(d.name, 'a', sizeof(d.name));
	memset(e.name, 'a', sizeof(e.name));
	EXPECT_EQ(-EINVAL, control(SLUICE_IOC_CREATE, &c));
	EXPECT_EQ(-EINVAL, control(SLUICE_IOC_INFO, &i));
	EXPECT_EQ(-EINVAL, control(SLUICE_IOC_DESTROY, &d));
	EXPECT_EQ(-EINVAL, control(SLUICE_IOC_ENDPOINT, &e));
}

TEST(good_names)
{
	static const char *const names[] = {
		"a", "0", "A.b_c-d", "controls", "Control", "reply.123.456", "a.dead",
		"a123456789b123456789c123456789d123456789e123456", /* 47 */
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		ASSERT_EQ(0, create(names[i])) TH_LOG("name %u", i);
		EXPECT_STATE(names[i], 0);
		EXPECT_GE(close(stage_open(names[i], O_RDWR)), 0);
	}
	for (i = 0; i < ARRAY_SIZE(names); i++)
		EXPECT_EQ(0, stage_destroy(names[i], 0, 0));
}

TEST(taken_names)
{
	ASSERT_EQ(0, create("a"));
	EXPECT_EQ(-EEXIST, create("a"));
	EXPECT_EQ(0, create("b"));
	EXPECT_EQ(0, stage_destroy("a", 0, 0));
	EXPECT_EQ(-ENOENT, stage_open("a", O_RDWR));
	EXPECT_EQ(0, create("a"));
	EXPECT_EQ(0, stage_destroy("a", 0, 0));
	EXPECT_EQ(0, stage_destroy("b", 0, 0));
	EXPECT_EQ(-ENOENT, stage_destroy("b", 0, 0));
}

/* The dead-letter stage comes and goes with its parent, all or nothing. */
TEST(dead_letter_names)
{
	struct sluice_create c = { .dead_slots = 1 };
	char longest[SLUICE_NAME_MAX] = "", name[SLUICE_NAME_MAX];

	memset(longest, 'a', SLUICE_NAME_MAX - sizeof(".dead"));
	EXPECT_EQ(0, stage_create(longest, c));
	EXPECT_EQ(0, stage_destroy(longest, 0, 0));
	snprintf(name, sizeof(name), "%.42sb", longest);
	EXPECT_EQ(-ENAMETOOLONG, stage_create(name, c));

	ASSERT_EQ(0, create("x.dead"));
	EXPECT_EQ(-EEXIST, stage_create("x", c));
	EXPECT_EQ(-ENOENT, stage_open("x", O_RDWR));
	EXPECT_EQ(0, stage_destroy("x.dead", 0, 0));
	ASSERT_EQ(0, stage_create("x", c));
	EXPECT_EQ(-EPERM, stage_destroy("x.dead", 0, SLUICE_DESTROY_FORCE));
	EXPECT_STATE("x.dead", 0);
	EXPECT_EQ(0, stage_destroy("x", 0, 0));
	EXPECT_EQ(-ENOENT, stage_open("x.dead", O_RDWR));
}

/* More of them than the kernel's table has a row for each: every one is found by its own. */
TEST(many)
{
	struct sluice_info i;
	char name[16];
	u32 n;

	for (n = 0; n < 60; n++) {
		snprintf(name, sizeof(name), "many%u", n);
		ASSERT_EQ(0, create(name));
	}
	for (n = 0; n < 60; n++) {
		snprintf(name, sizeof(name), "many%u", n);
		ASSERT_EQ(0, stage_info(name, &i));
		ASSERT_STREQ(name, i.name);
		snprintf(name, sizeof(name), "none%u", n);
		ASSERT_EQ(-ENOENT, stage_info(name, &i));
	}
	/* the last one first, with others behind it in its row */
	for (n = 60; n--;) {
		snprintf(name, sizeof(name), "many%u", n);
		ASSERT_EQ(0, stage_destroy(name, 0, 0));
	}
}

/* As many as the module's parameter says, and one that is refused leaves no trace. */
TEST(limit_of_stages)
{
	const char *param = "/sys/module/sluice/parameters/max_stages";
	FILE *f = fopen(param, "w");

	ASSERT_NE(NULL, f);
	fputs("2", f);
	ASSERT_EQ(0, fclose(f));
	EXPECT_EQ(0, create("a"));
	EXPECT_EQ(-ENOSPC, stage_create("b", (struct sluice_create) { .dead_slots = 8 }));
	EXPECT_EQ(-ENOENT, stage_open("b", O_RDWR));
	EXPECT_EQ(-ENOENT, stage_open("b.dead", O_RDWR));
	EXPECT_EQ(0, create("b"));
	EXPECT_EQ(-ENOSPC, create("c"));
	EXPECT_EQ(0, stage_destroy("a", 0, 0));
	EXPECT_EQ(0, create("c"));
	EXPECT_EQ(0, stage_destroy("b", 0, 0));
	EXPECT_EQ(0, stage_destroy("c", 0, 0));
}

TEST_HARNESS_MAIN
