// SPDX-License-Identifier: MIT
/* Description: poll and epoll report messages and room, and sleepers are seen in the hints */
#include <sys/epoll.h>

#include "kmod_process.h"

#define SOON	((int)scaled(2000))

FIXTURE(both)
{
	struct ends r;
};

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) { 0 }, 0));
	self->r.in.generation = self->r.in.hints->generation;
}

FIXTURE_TEARDOWN(both)
{
	EXPECT_EQ(0, ends_close(&self->r));
}

static int poll_one(int fd, short events, int ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n = poll(&p, 1, ms);

	return n == 1 ? p.revents : n < 0 ? -errno : 0;
}

TEST_F(both, readable)
{
	struct end *in = &self->r.in;

	EXPECT_EQ(-EAGAIN, end_wait(in, SLUICE_WAIT_READY, 0, 0));
	EXPECT_EQ(0, poll_one(in->fd, POLLIN, 10));
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	EXPECT_EQ(POLLIN, poll_one(in->fd, POLLIN, SOON));
	EXPECT_EQ(0, end_wait(in, SLUICE_WAIT_READY, 0, 0));
	EXPECT_EQ(0, end_take_text(in, "x"));
	EXPECT_EQ(-EAGAIN, end_wait(in, SLUICE_WAIT_READY, in->cursor, 0));
	EXPECT_EQ(0, poll_one(in->fd, POLLIN, 10));
	EXPECT_STATE("t", BOTH);
}

TEST_F(both, writable)
{
	struct end *out = &self->r.out;
	int i;

	EXPECT_EQ(0, end_wait(out, SLUICE_WAIT_ROOM, 0, 0));
	EXPECT_EQ(POLLOUT, poll_one(out->fd, POLLOUT, 0));
	for (i = 0; i < (int)NSLOTS; i++)
		ASSERT_EQ(0, end_send(out, "x", NULL));
	EXPECT_EQ(-EAGAIN, end_wait(out, SLUICE_WAIT_ROOM, NSLOTS, 0));
	EXPECT_EQ(0, poll_one(out->fd, POLLOUT, 10));
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
	EXPECT_EQ(POLLOUT, poll_one(out->fd, POLLOUT, SOON));
	EXPECT_STATE("t", BOTH, .ready = NSLOTS - 1);
}

/* Whoever sends sees that somebody polls. */
TEST_F(both, sleeper_is_counted)
{
	struct end *in = &self->r.in, *out = &self->r.out;
	struct child c;

	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		struct end e;

		CHILD_EXPECT(!end_make(&e, "t", SLUICE_CONSUMER, 0));
		e.cursor = 0;
		CHILD_EXPECT(end_wait(&e, SLUICE_WAIT_READY, 0, 0) == -EAGAIN);
		say(&c, 0);
		say(&c, (u64)poll_one(e.fd, POLLIN, SOON));
		_exit(0);
	}
	/* It counts before it looks: only when it has looked it does not see the message itself. */
	EXPECT_EQ(0, hear(&c));
	EXPECT_EQ(1, out->hints->ready_sleepers);
	ASSERT_EQ(0, end_send(out, "x", NULL));
	EXPECT_EQ(POLLIN, hear(&c));
	EXPECT_EQ(0, child_wait(&c));
	EXPECT_EQ(0, end_take_text(in, "x"));
}

TEST_F(both, epoll_level)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = 5 }, got;
	int i, ep = epoll_create1(EPOLL_CLOEXEC);
	struct end *in = &self->r.in;

	EXPECT_EQ(-EAGAIN, end_wait(in, SLUICE_WAIT_READY, 0, 0));
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, in->fd, &ev));
	for (i = 0; i < 5; i++) {
		EXPECT_EQ(0, epoll_wait(ep, &got, 1, 0));
		ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
		EXPECT_EQ(1, epoll_wait(ep, &got, 1, SOON));
		EXPECT_EQ(5, got.data.u32);
		EXPECT_EQ(1, epoll_wait(ep, &got, 1, SOON));
		EXPECT_EQ(0, end_take_text(in, "x"));
		EXPECT_EQ(-EAGAIN, end_wait(in, SLUICE_WAIT_READY, in->cursor, 0));
	}
	close(ep);
}

/* Edge-triggered nobody asks again: arming alone has to be enough. */
TEST_F(both, epoll_edge)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET }, got;
	int i, ep = epoll_create1(EPOLL_CLOEXEC);
	struct end *in = &self->r.in;

	EXPECT_EQ(-EAGAIN, end_wait(in, SLUICE_WAIT_READY, 0, 0));
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, in->fd, &ev));
	for (i = 0; i < 5; i++) {
		EXPECT_EQ(0, epoll_wait(ep, &got, 1, 0));
		ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
		EXPECT_EQ(1, epoll_wait(ep, &got, 1, SOON)) TH_LOG("round %d", i);
		EXPECT_EQ(0, end_take_text(in, "x"));
		EXPECT_EQ(-EAGAIN, end_wait(in, SLUICE_WAIT_READY, in->cursor, 0));
	}
	close(ep);
}

TEST_F(both, not_attached)
{
	int fd = stage_open("t", O_RDWR);

	EXPECT_EQ(0, poll_one(fd, POLLIN, 0));
	EXPECT_EQ(POLLOUT, poll_one(fd, POLLOUT, 0));
	close(fd);
}

TEST_F(both, detached)
{
	ASSERT_EQ(0, call(self->r.in.fd, SLUICE_IOC_DETACH, NULL));
	EXPECT_EQ(POLLERR | POLLHUP, poll_one(self->r.in.fd, POLLIN, 0));
}

/* A reader without a mapping never says where it is: the kernel knows. */
TEST_F(both, read_and_poll)
{
	char buf[16];
	int fd = stage_open("t", O_RDWR | O_NONBLOCK), i;

	end_close(&self->r.in);
	EXPECT_EQ(-1, read(fd, buf, sizeof(buf)));
	EXPECT_EQ(EAGAIN, errno);
	for (i = 0; i < 5; i++) {
		EXPECT_EQ(0, poll_one(fd, POLLIN, 0));
		ASSERT_EQ(0, end_send(&self->r.out, "xyz", NULL));
		EXPECT_EQ(POLLIN, poll_one(fd, POLLIN, SOON));
		EXPECT_EQ(3, read(fd, buf, sizeof(buf)));
		EXPECT_EQ(-1, read(fd, buf, sizeof(buf)));
	}
	close(fd);
}

TEST_F(both, write_and_poll)
{
	int fd = stage_open("t", O_WRONLY | O_NONBLOCK), i;

	for (i = 0; i < (int)NSLOTS; i++)
		ASSERT_EQ(1, write(fd, "x", 1));
	EXPECT_EQ(-1, write(fd, "x", 1));
	EXPECT_EQ(EAGAIN, errno);
	for (i = 0; i < 5; i++) {
		EXPECT_EQ(0, poll_one(fd, POLLOUT, 10));
		EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
		EXPECT_EQ(POLLOUT, poll_one(fd, POLLOUT, SOON));
		EXPECT_EQ(1, write(fd, "x", 1));
	}
	close(fd);
}

TEST_HARNESS_MAIN
