// SPDX-License-Identifier: MIT
/* Description: each failure is an errno of one meaning and a line with thing and remedy */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib_common.h"

#define EXPECT_SAYS(what) \
	EXPECT_NE(NULL, strstr(sluice_error(), what)) TH_LOG("it says: %s", sluice_error())

FIXTURE(error)
{
	char stage[SLUICE_NAME_MAX];
	struct sluice_ctx *ctx;
};

FIXTURE_SETUP(error)
{
	ASSERT_EQ(0, make_stage(self->stage, (struct sluice_create) { 0 }))
		TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_ctx_create(0, &self->ctx));
}

FIXTURE_TEARDOWN(error)
{
	sluice_ctx_destroy(self->ctx);
	EXPECT_EQ(0, sluice_destroy(self->stage, 0, 0)) TH_LOG("%s", sluice_error());
}

TEST_F(error, no_such_stage)
{
	struct sluice_info info;
	struct sluice_ep *ep;

	EXPECT_EQ(-ENOENT, sluice_attach(self->ctx, "nowhere", SLUICE_CONSUMER, 0, &ep));
	EXPECT_SAYS("'nowhere': no such stage");
	EXPECT_SAYS("sluicectl create nowhere");
	EXPECT_EQ(-ENOENT, sluice_info("nowhere", &info));
	EXPECT_SAYS("nowhere");
	EXPECT_EQ(-ENOENT, sluice_destroy("nowhere", 0, 0));
	EXPECT_SAYS("nowhere");
}

/* Destroyed while its node was being opened: a node that leads nowhere looks the same. */
TEST_F(error, destroyed_while_opened)
{
	static const char going[] = "/dev/sluice/going";
	char path[sizeof(going) + SLUICE_NAME_MAX];
	struct sluice_ep *ep;
	struct stat st;

	snprintf(path, sizeof(path), "/dev/sluice/%s", self->stage);
	ASSERT_EQ(0, stat(path, &st));
	ASSERT_EQ(0, mknod(going, S_IFCHR | 0600,
			   makedev(major(st.st_rdev), minor(st.st_rdev) + 1000)));
	EXPECT_EQ(-ENOENT, sluice_attach(self->ctx, "going", SLUICE_CONSUMER, 0, &ep));
	EXPECT_SAYS("'going': no such stage any more");
	EXPECT_EQ(0, unlink(going));
}

TEST_F(error, bad_names)
{
	const char *names[] = { "", "a/b", "..", ".x", "control", "x y",
				"0123456789012345678901234567890123456789012345678" };
	struct sluice_create c = { .nslots = 64 };
	struct sluice_ep *ep;
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		EXPECT_GT(0, sluice_attach(self->ctx, names[i], SLUICE_CONSUMER, 0, &ep))
			TH_LOG("'%s'", names[i]);
		memset(c.name, 0, sizeof(c.name));
		memcpy(c.name, names[i], strnlen(names[i], sizeof(c.name)));
		EXPECT_EQ(-EINVAL, sluice_create(&c)) TH_LOG("'%s'", names[i]);
	}
}

TEST_F(error, bad_geometry)
{
	struct sluice_create c = { .name = "geometry", .nslots = 100 };

	EXPECT_EQ(-EINVAL, sluice_create(&c));
	EXPECT_SAYS("power of two");
	c.nslots = 32;
	EXPECT_EQ(-EINVAL, sluice_create(&c));
	c = (struct sluice_create) { .name = "geometry", .nslots = 64, .nbufs = 70000,
				     .bufsize = 4096 };
	EXPECT_EQ(-EINVAL, sluice_create(&c));
	EXPECT_SAYS("70000 buffers");
	c = (struct sluice_create) { .name = "geometry", .nslots = 64, .flags = 1u << 31 };
	EXPECT_EQ(-EINVAL, sluice_create(&c));
}

TEST_F(error, exists)
{
	struct sluice_create c = { .nslots = 64 };

	strcpy(c.name, self->stage);
	EXPECT_EQ(-EEXIST, sluice_create(&c));
	EXPECT_SAYS("exists already");
}

TEST_F(error, in_use)
{
	struct sluice_ep *ep;

	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0, &ep));
	EXPECT_EQ(-EBUSY, sluice_destroy(self->stage, 0, 0));
	EXPECT_SAYS("attached");
	sluice_detach(ep);
}

TEST_F(error, sole_producer)
{
	struct sluice_ep *sole, *other;

	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, SLUICE_ATTACH_SOLE,
				   &sole));
	EXPECT_EQ(-EBUSY, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, 0, &other));
	EXPECT_SAYS("sole producer");
	EXPECT_EQ(-EBUSY, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER,
					SLUICE_ATTACH_SOLE, &other));
	sluice_detach(sole);
	EXPECT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, 0, &other));
	sluice_detach(other);
}

TEST_F(error, wrong_role)
{
	struct sluice_ep *in, *out;
	struct sluice_msg m = text("x");
	struct sluice_buffer buf;

	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0, &in));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, 0, &out));
	EXPECT_EQ(-EINVAL, sluice_send(in, &m, SLUICE_NOW));
	EXPECT_EQ(-EINVAL, sluice_claim(out, &m, SLUICE_NOW));
	EXPECT_EQ(-EINVAL, sluice_attach(self->ctx, self->stage, (enum sluice_role)7, 0, &in));
	EXPECT_EQ(-EINVAL, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 1u << 30, &in));
	EXPECT_EQ(-ENOBUFS, sluice_buffer_take(out, &buf, SLUICE_FOREVER));
	EXPECT_SAYS("no payload buffers");
	m = (struct sluice_msg) { .data = buf.data, .len = 100, .buffer = SLUICE_NO_BUFFER };
	EXPECT_EQ(-ENOBUFS, sluice_send(out, &m, SLUICE_FOREVER));
}

TEST_F(error, unknown_flags)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	struct sluice_msg m = text("x");

	EXPECT_EQ(-EINVAL, sluice_ctx_create(1u << 20, &ctx));
	EXPECT_EQ(-EINVAL, sluice_ctx_create(SLUICE_CTX_SPIN | SLUICE_CTX_NO_SPIN, &ctx));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, 0, &out));
	m.flags = 0x80;
	EXPECT_EQ(-EINVAL, sluice_send(out, &m, SLUICE_NOW));
	EXPECT_SAYS("0x80");
	m = text("x");
	m.buffer = 0;
	EXPECT_EQ(-EINVAL, sluice_send(out, &m, SLUICE_NOW));
	EXPECT_SAYS("SLUICE_NO_BUFFER");
}

TEST_F(error, no_permission)
{
	pid_t pid = fork();

	if (!pid) {
		struct sluice_create c = { .name = "mine", .nslots = 64 };
		struct sluice_ep *ep;

		CHILD_EXPECT(!setgid(65534) && !setuid(65534));
		CHILD_EXPECT(sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0, &ep) ==
			     -EACCES);
		CHILD_EXPECT(strstr(sluice_error(), "0600"));
		CHILD_EXPECT(sluice_create(&c) == -EACCES);
		CHILD_EXPECT(strstr(sluice_error(), "/dev/sluice/control"));
		_exit(0);
	}
	EXPECT_EQ(0, child_status(pid));
}

/* In a forked child the endpoint is the parent's: no call works, and the parent's go on. */
TEST_F(error, forked_child)
{
	struct sluice_ep *in, *out;
	struct sluice_msg m = text("x");
	pid_t pid;

	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0, &in));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, 0, &out));
	pid = fork();
	if (!pid) {
		/* a fault as any other, also for a sanitizer that would report it */
		signal(SIGSEGV, SIG_DFL);
		CHILD_EXPECT(sluice_nack(in, &m, 0, 0, 0) < 0);
		_exit(0);
	}
	/* the mapping is not copied, so that looking at it is a fault: no silent corruption */
	EXPECT_NE(0, child_status(pid));
	EXPECT_EQ(0, sluice_send(out, &m, SLUICE_NOW));
	EXPECT_EQ(0, sluice_claim(in, &m, SLUICE_NOW));
	EXPECT_EQ(0, sluice_ack(in, &m));
}

TEST_HARNESS_MAIN
