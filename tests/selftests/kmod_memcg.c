// SPDX-License-Identifier: MIT
/* Description: a stage's memory is charged to the memory cgroup of who touches it */
#include <sys/mount.h>
#include <sys/wait.h>

#include "kmod_process.h"

#define ROOT	"/tmp/cgroup"
#define GROUP	ROOT "/sluice-test"
#define LIMIT	(16u << 20)
#define PAYLOAD	(64u << 20)

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return err;
}

static long read_number(const char *path)
{
	FILE *f = fopen(path, "r");
	long n = -1;

	if (f && fscanf(f, "%ld", &n) != 1)
		n = -1;
	if (f)
		fclose(f);
	return n;
}

FIXTURE(group)
{
	bool mounted;
};

FIXTURE_SETUP(group)
{
	char limit[32];

	mkdir(ROOT, 0755);
	self->mounted = !mount("none", ROOT, "cgroup2", 0, NULL);
	if (!self->mounted || write_file(ROOT "/cgroup.subtree_control", "+memory"))
		SKIP(return, "no memory controller of cgroup v2 here");
	ASSERT_EQ(0, mkdir(GROUP, 0755));
	snprintf(limit, sizeof(limit), "%u", LIMIT);
	ASSERT_EQ(0, write_file(GROUP "/memory.max", limit));
	write_file(GROUP "/memory.swap.max", "0");
	ASSERT_EQ(0, stage_create("t", (struct sluice_create) {
		.nbufs = 1, .bufsize = PAYLOAD,
	}));
}

FIXTURE_TEARDOWN(group)
{
	if (!self->mounted)
		return;
	stage_destroy("t", 0, SLUICE_DESTROY_FORCE);
	rmdir(GROUP);
	umount(ROOT);
}

/* In the group: touches @bytes of the payload, tells, and waits. */
static pid_t toucher(struct child *c, u64 bytes)
{
	struct end e;
	u64 i;

	if (child_start(c))
		return c->pid;
	CHILD_EXPECT(!write_file(GROUP "/cgroup.procs", "0"));
	CHILD_EXPECT(!end_make(&e, "t", SLUICE_PRODUCER, 0));
	for (i = 0; i < bytes; i += PAGE)
		e.payload[i] = 1;
	tell_and_pause(c, 1);
	_exit(0);
}

TEST_F(group, charged)
{
	long before = read_number(GROUP "/memory.current"), after;
	struct child c;

	ASSERT_GT(toucher(&c, 8u << 20), 0);
	ASSERT_EQ(1, hear(&c));
	after = read_number(GROUP "/memory.current");
	EXPECT_GE(after - before, 8 << 20);
	EXPECT_EQ(0, child_end(&c));
	/* it is the stage's and stays charged until the stage goes */
	EXPECT_GE(read_number(GROUP "/memory.current") - before, 8 << 20);
}

TEST_F(group, limited)
{
	struct child c;
	struct sluice_info i;
	int status;

	ASSERT_GT(toucher(&c, PAYLOAD), 0);
	/* the out-of-memory killer, or a fault that cannot be served */
	status = child_wait(&c);
	EXPECT_TRUE(status == 256 + SIGKILL || status == 256 + SIGBUS) TH_LOG("status %d", status);
	ASSERT_EQ(0, stage_info("t", &i));
	EXPECT_LE(i.bytes_resident, LIMIT);
	EXPECT_GE(i.bytes_resident, LIMIT / 2);
}

TEST_HARNESS_MAIN
