// SPDX-License-Identifier: MIT
/* Description: where a container forbids io_uring the library does without, by itself */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "lib_common.h"

/* As container runtimes do it: io_uring_setup() fails with EPERM. */
static int forbid_io_uring(int error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned int)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(filter) / sizeof(filter[0]), filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) ? -errno : 0;
}

/* A message there and back, asleep on both sides, in the process that is left. */
static void exchange(struct __test_metadata *_metadata)
{
	char stage[SLUICE_NAME_MAX];
	struct sluice_completion done;
	struct sluice_ep *in, *out;
	struct sluice_ctx *ctx;
	struct sluice_msg m, got;

	ASSERT_EQ(0, make_stage(stage, (struct sluice_create) { 0 }))
		TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_ctx_create(0, &ctx));
	EXPECT_FALSE(sluice_ctx_uses_uring(ctx));
	ASSERT_EQ(0, sluice_attach(ctx, stage, SLUICE_CONSUMER, 0, &in));
	ASSERT_EQ(0, sluice_attach(ctx, stage, SLUICE_PRODUCER, 0, &out));
	EXPECT_EQ(-EAGAIN, sluice_claim(in, &got, 10 * MS));
	m = text("x");
	ASSERT_EQ(0, sluice_send_async(out, &m, 3)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_claim(in, &got, SECOND));
	ASSERT_EQ(0, sluice_ack(in, &got));
	ASSERT_EQ(1, sluice_completions(ctx, &done, 1, SECOND));
	EXPECT_EQ(3, done.cookie);
	EXPECT_EQ(0, done.result);
	sluice_ctx_destroy(ctx);
	EXPECT_EQ(0, sluice_destroy(stage, 0, 0));
}

TEST(forbidden)
{
	int ret = forbid_io_uring(EPERM);

	if (ret)
		SKIP(return, "no seccomp filters here: %s", strerror(-ret));
	exchange(_metadata);
}

TEST(not_there)
{
	int ret = forbid_io_uring(ENOSYS);

	if (ret)
		SKIP(return, "no seccomp filters here: %s", strerror(-ret));
	exchange(_metadata);
}

/* As an administrator does it. */
TEST(by_sysctl)
{
	static const char path[] = "/proc/sys/kernel/io_uring_disabled";
	FILE *f = fopen(path, "w");

	if (!f)
		SKIP(return, "this kernel (before 6.6) has no kernel.io_uring_disabled");
	fputs("2", f);
	ASSERT_EQ(0, fclose(f));
	exchange(_metadata);
	f = fopen(path, "w");
	ASSERT_NE(NULL, f);
	fputs("0", f);
	ASSERT_EQ(0, fclose(f));
}

TEST(by_environment)
{
	setenv("SLUICE_NO_URING", "1", 1);
	exchange(_metadata);
}

TEST_HARNESS_MAIN
