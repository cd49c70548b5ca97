// SPDX-License-Identifier: MIT
/* Description: the control device answers what it is, and refuses what it does not know */
#include "kmod_common.h"

TEST(features_are_told)
{
	struct sluice_features f;

	memset(&f, GARBAGE, sizeof(f));
	f.size = sizeof(f);
	ASSERT_EQ(0, control(SLUICE_IOC_FEATURES, &f));
	EXPECT_EQ(sizeof(f), f.size);
	EXPECT_EQ(SLUICE_ABI_VERSION, f.abi_version);
	EXPECT_EQ(0, f.features & ~SLUICE_F_ALL);
	EXPECT_EQ(SLUICE_F_ALL & ~SLUICE_F_CANCEL, f.features & ~SLUICE_F_CANCEL);
}

/* Whoever may only read may look. */
TEST(readers_may_ask)
{
	struct sluice_features f = { .size = sizeof(f) };
	struct sluice_create c = stage_named("t", (struct sluice_create) { 0 });
	struct sluice_destroy d = { .size = sizeof(d), .name = "t" };
	struct sluice_info i = { .size = sizeof(i), .name = "t" };

	EXPECT_EQ(0, control_as(O_RDONLY, SLUICE_IOC_FEATURES, &f));
	EXPECT_EQ(-ENOENT, control_as(O_RDONLY, SLUICE_IOC_INFO, &i));
	EXPECT_EQ(-EACCES, control_as(O_RDONLY, SLUICE_IOC_CREATE, &c));
	EXPECT_EQ(-EACCES, control_as(O_RDONLY, SLUICE_IOC_DESTROY, &d));
	EXPECT_EQ(-ENOENT, stage_open("t", O_RDWR));
}

/* A shorter structure is an older program's, a longer one a newer one's. */
TEST(sizes_may_differ)
{
	struct {
		struct sluice_features f;
		u64 more[2];
	} big;

	memset(&big, 0, sizeof(big));
	big.f.size = sizeof(big);
	EXPECT_EQ(0, control(SLUICE_IOC_FEATURES, &big));
	EXPECT_EQ(SLUICE_ABI_VERSION, big.f.abi_version);
	big.more[1] = 1;
	EXPECT_EQ(-E2BIG, control(SLUICE_IOC_FEATURES, &big));

	/* compiled with another size, so with another number */
	big.more[1] = 0;
	EXPECT_EQ(0, control(_IOWR(SLUICE_IOC_MAGIC, 0x00, big), &big));

	memset(&big, GARBAGE, sizeof(big));
	big.f.size = 8;
	EXPECT_EQ(0, control(SLUICE_IOC_FEATURES, &big));
	EXPECT_EQ(SLUICE_ABI_VERSION, big.f.abi_version);
	EXPECT_EQ(0xccccccccccccccccull, big.f.features);
}

TEST(impossible_sizes)
{
	struct sluice_features f = { 0 };
	static const u32 sizes[] = { 0, 1, 4, 7, PAGE + 1, 0x80000000u, 0xffffffffu };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		f.size = sizes[i];
		EXPECT_EQ(-EINVAL, control(SLUICE_IOC_FEATURES, &f)) TH_LOG("size %u", sizes[i]);
	}
	EXPECT_EQ(-EFAULT, control(SLUICE_IOC_FEATURES, NULL));
	EXPECT_EQ(-EFAULT, control(SLUICE_IOC_CREATE, (void *)8));
	EXPECT_EQ(-EFAULT, control(SLUICE_IOC_INFO, (void *)-PAGE));
}

/* Its size can be read, the rest of it cannot. */
TEST(structure_at_the_end_of_memory)
{
	char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sluice_features *f;

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, munmap(p + PAGE, PAGE));
	f = (void *)(p + PAGE - 8);
	f->size = sizeof(*f);
	EXPECT_EQ(-EFAULT, control(SLUICE_IOC_FEATURES, f));
	munmap(p, PAGE);
}

TEST(unknown_commands)
{
	char buf[256] = { 0 };

	EXPECT_EQ(-ENOTTY, control(_IOWR(SLUICE_IOC_MAGIC, 0x7f, struct sluice_features), buf));
	EXPECT_EQ(-ENOTTY, control(SLUICE_IOC_ATTACH, buf));
	EXPECT_EQ(-ENOTTY, control(SLUICE_IOC_KICK, buf));
}

/* Every number there is: unknown, or a structure whose size cannot be. */
TEST(all_numbers)
{
	char buf[256] = { 0 };
	u32 dir, nr;

	for (dir = 0; dir < 4; dir++) {
		for (nr = 0; nr < 256; nr++) {
			int ret = control(_IOC(dir, SLUICE_IOC_MAGIC, nr, 16), buf);

			EXPECT_TRUE(ret == -ENOTTY || ret == -EINVAL)
				TH_LOG("direction %u, number %u: %d", dir, nr, ret);
		}
	}
}

TEST_HARNESS_MAIN
