// SPDX-License-Identifier: MIT
/* Description: an edge-triggered epoll tells who only reads and writes of every change */
#include <sys/epoll.h>

#include "kmod_process.h"

#define SOON	((int)scaled(5000))
#define ROUNDS	5

FIXTURE(edge)
{
	int fd, ep;
	struct child c;			/* the other end */
};

FIXTURE_VARIANT(edge)
{
	u32 role;			/* of the other end */
};

FIXTURE_VARIANT_ADD(edge, readable) { .role = SLUICE_PRODUCER };
FIXTURE_VARIANT_ADD(edge, writable) { .role = SLUICE_CONSUMER };

/* Whenever it is told a number, so many messages come, or go. */
static void other_end(struct child *c, u32 role)
{
	struct end e;
	u64 n;

	CHILD_EXPECT(!end_make(&e, "t", role, 0));
	say(c, 0);
	while ((n = hear(c)) && n != ~0ull) {
		while (n--) {
			if (role == SLUICE_PRODUCER)
				CHILD_EXPECT(!end_send(&e, "x", NULL));
			else
				CHILD_EXPECT(!end_take_text(&e, "x"));
		}
		say(c, 0);
	}
	_exit(0);
}

FIXTURE_SETUP(edge)
{
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_EQ(0, stage_create("t", (struct sluice_create) { 0 }));
	ASSERT_GE(child_start(&self->c), 0);
	if (!self->c.pid)
		other_end(&self->c, variant->role);
	ASSERT_EQ(0, hear(&self->c));
	self->fd = stage_open("t", O_RDWR | O_NONBLOCK);
	ASSERT_GE(self->fd, 0);
}

FIXTURE_TEARDOWN(edge)
{
	EXPECT_EQ(0, child_end(&self->c));
	close(self->ep);
	close(self->fd);
	EXPECT_EQ(0, stage_destroy("t", 0, SLUICE_DESTROY_FORCE));
}

/* Reads, or writes, until it would block; how often it did not. */
static int use_up(int fd, u32 other_role)
{
	char byte = 'x';
	int n = 0;

	while ((other_role == SLUICE_PRODUCER ? read(fd, &byte, 1) : write(fd, &byte, 1)) == 1)
		n++;
	return errno == EAGAIN ? n : -errno;
}

static int other_does(struct child *c, u64 n)
{
	return say(c, n) ?: hear(c) ? -ECHILD : 0;
}

/* What it reports now, if it may be for nothing. */
static void look_once(int ep)
{
	struct epoll_event got;

	(void)!epoll_wait(ep, &got, 1, 0);
}

TEST_F_TIMEOUT(edge, each_round, 300)
{
	u32 events = (variant->role == SLUICE_PRODUCER ? EPOLLIN : EPOLLOUT);
	struct epoll_event ev = { .events = events | EPOLLET }, got;
	int i, all = variant->role == SLUICE_PRODUCER ? 0 : (int)NSLOTS;

	ASSERT_EQ(all, use_up(self->fd, variant->role));
	ASSERT_EQ(0, epoll_ctl(self->ep, EPOLL_CTL_ADD, self->fd, &ev));
	for (i = 1; i <= ROUNDS; i++) {
		look_once(self->ep);
		ASSERT_EQ(0, other_does(&self->c, (u64)i));
		EXPECT_EQ(1, epoll_wait(self->ep, &got, 1, SOON)) TH_LOG("round %d", i);
		EXPECT_EQ(i, use_up(self->fd, variant->role));
	}
}

/* It is in the epoll before it has ever read or written, which is what attaches it. */
TEST_F_TIMEOUT(edge, before_it_is_attached, 300)
{
	u32 events = (variant->role == SLUICE_PRODUCER ? EPOLLIN : EPOLLOUT);
	struct epoll_event ev = { .events = events | EPOLLET }, got;
	int i, all = variant->role == SLUICE_PRODUCER ? 0 : (int)NSLOTS;

	ASSERT_EQ(0, epoll_ctl(self->ep, EPOLL_CTL_ADD, self->fd, &ev));
	look_once(self->ep);
	ASSERT_EQ(all, use_up(self->fd, variant->role));
	for (i = 1; i <= ROUNDS; i++) {
		look_once(self->ep);
		ASSERT_EQ(0, other_does(&self->c, (u64)i));
		EXPECT_EQ(1, epoll_wait(self->ep, &got, 1, SOON)) TH_LOG("round %d", i);
		EXPECT_EQ(i, use_up(self->fd, variant->role));
	}
}

TEST_HARNESS_MAIN
