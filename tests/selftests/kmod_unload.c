// SPDX-License-Identifier: MIT
/* Description: the module goes whenever nobody uses it, with stages and messages, and not before */
#include <sys/syscall.h>

#include "kmod_process.h"
#include "kmod_uring.h"

static int unload(void)
{
	return syscall(SYS_delete_module, "sluice", O_NONBLOCK) ? -errno : 0;
}

static int load(void)
{
	const char *path = getenv("SLUICE_MODULE");
	int fd = open(path ?: "", O_RDONLY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = syscall(SYS_finit_module, fd, "", 0) ? -errno : 0;
	close(fd);
	return err;
}

/* What is left of a closed file goes with deferred work. */
static int unload_soon(void)
{
	int i, err = -EBUSY;

	for (i = 0; i < 100 && err; i++) {
		err = unload();
		sleep_ms(5);
	}
	return err;
}

FIXTURE(module)
{
};

FIXTURE_SETUP(module)
{
	if (!getenv("SLUICE_MODULE"))
		SKIP(return, "SLUICE_MODULE does not say where the module is: use tests/selftests/run");
}

FIXTURE_TEARDOWN(module)
{
	/* loaded again for the next, whatever happened */
	load();
}

TEST_F(module, idle)
{
	ASSERT_EQ(0, unload());
	EXPECT_EQ(-1, access(CONTROL, F_OK));
	EXPECT_EQ(0, load());
	EXPECT_EQ(0, access(CONTROL, F_OK));
}

TEST_F(module, open_descriptors)
{
	struct ends r;
	int fd = open(CONTROL, O_RDONLY);

	EXPECT_EQ(-EWOULDBLOCK, unload());
	close(fd);
	ASSERT_EQ(0, ends_make(&r, (struct sluice_create) { 0 }, 0));
	EXPECT_EQ(-EWOULDBLOCK, unload());
	/* a mapping alone is use enough, of a destroyed stage as well */
	close(r.in.fd);
	close(r.out.fd);
	EXPECT_EQ(-EWOULDBLOCK, unload());
	EXPECT_EQ(0, stage_destroy("t", 0, SLUICE_DESTROY_FORCE));
	EXPECT_EQ(-EWOULDBLOCK, unload());
	EXPECT_EQ(SLUICE_CLOSED_DRAIN | SLUICE_CLOSED_GONE, r.in.hints->closed);
	end_unmap(&r.in);
	end_unmap(&r.out);
	EXPECT_EQ(0, unload_soon());
}

/* Stages that nobody destroyed, with messages, letters, claims and a tick that runs. */
TEST_F(module, stages_left_over)
{
	const struct sluice_create c = {
		.nbufs = 4, .bufsize = PAGE, .dead_slots = 4, .ack_timeout_ms = 20,
	};
	u64 ticket, token;
	struct ends r;
	u32 buf;
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, ends_make(&r, c, 0));
		ASSERT_EQ(0, end_send(&r.out, "x", NULL));
		ASSERT_EQ(0, end_send_buffer(&r.out, "y", &ticket, &buf));
		ASSERT_EQ(0, end_claim(&r.in, &ticket, &token));
		ASSERT_EQ(0, end_nack(&r.in, ticket, token, SLUICE_NACK_DEAD, 0, 0));
		ASSERT_EQ(0, end_claim(&r.in, &ticket, &token));
		end_close(&r.in);
		end_close(&r.out);
		EXPECT_EQ(0, stage_create("u", c));
		EXPECT_EQ(0, unload_soon());
		EXPECT_EQ(-1, access(NODE "t", F_OK));
		EXPECT_EQ(0, load());
	}
}

/* Right behind a process that was killed with everything in its hands. */
TEST_F(module, after_a_kill)
{
	struct sluice_send s = send_text("x", 0);
	struct io_uring ring;
	struct child c;
	struct ends r;
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_GE(child_start(&c), 0);
		if (!c.pid) {
			CHILD_EXPECT(!ends_make(&r, (struct sluice_create) { 0 }, 0));
			CHILD_EXPECT(!io_uring_queue_init(4, &ring, 0));
			command_send(&ring, r.out.fd, &s, 1);
			command_wait(&ring, &r.in, SLUICE_WAIT_READY, 64, 2);
			io_uring_submit(&ring);
			tell_and_pause(&c, 1);
			_exit(0);
		}
		ASSERT_EQ(1, hear(&c));
		EXPECT_EQ(-EWOULDBLOCK, unload());
		EXPECT_EQ(0, child_kill(&c));
		EXPECT_EQ(0, unload_soon());
		EXPECT_EQ(0, load());
	}
}

TEST_HARNESS_MAIN
