// SPDX-License-Identifier: MIT
/* Description: an endpoint is its address space's: not a child's, not of who got the descriptor */
#include "kmod_process.h"
#include "kmod_uring.h"

FIXTURE(both)
{
	struct ends r;
};

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) { 0 }, 0));
}

FIXTURE_TEARDOWN(both)
{
	EXPECT_EQ(0, ends_close(&self->r));
}

/* Everything that acts in the endpoint's name, from another address space. */
static void expect_eperm(struct end *e)
{
	struct sluice_send s = { .size = sizeof(s) };
	struct sluice_attach a;
	struct io_uring ring;
	char byte;

	CHILD_EXPECT(end_kick(e, SLUICE_KICK_READY) == -EPERM);
	CHILD_EXPECT(end_nack(e, 0, 0, 0, 0, 0) == -EPERM);
	CHILD_EXPECT(call(e->fd, SLUICE_IOC_SEND, &s) == -EPERM);
	CHILD_EXPECT(call(e->fd, SLUICE_IOC_DETACH, NULL) == -EPERM);
	CHILD_EXPECT(end_wait(e, SLUICE_WAIT_READY, 0, 0) == -EPERM);
	CHILD_EXPECT(read(e->fd, &byte, 1) == -1 && errno == EPERM);
	CHILD_EXPECT(map_at(e->fd, SLUICE_MMAP_HINTS, PAGE, PROT_READ) == MAP_FAILED);
	CHILD_EXPECT(errno == EPERM);
	CHILD_EXPECT(attach_raw(e->fd, SLUICE_CONSUMER, 0, &a) == -EALREADY);
	CHILD_EXPECT(!io_uring_queue_init(4, &ring, 0));
	command_wait(&ring, e, SLUICE_WAIT_READY, 0, 1);
	CHILD_EXPECT(submit_one(&ring) == -EPERM);
	command_kick(&ring, e, SLUICE_KICK_READY, 2);
	CHILD_EXPECT(submit_one(&ring) == -EPERM);
	io_uring_queue_exit(&ring);
}

TEST_F(both, child_may_do_nothing)
{
	struct child c;

	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		unsigned char in_core;

		CHILD_EXPECT(mincore(self->r.in.control, PAGE, &in_core) == -1);
		CHILD_EXPECT(errno == ENOMEM);
		expect_eperm(&self->r.in);
		_exit(0);
	}
	EXPECT_EQ(0, child_wait(&c));
	EXPECT_STATE("t", BOTH);
	ASSERT_EQ(0, end_send(&self->r.out, "still", NULL));
	EXPECT_EQ(0, end_take_text(&self->r.in, "still"));
}

/* A stranger who is given the descriptor is no better off. */
TEST_F(both, passed_descriptor)
{
	struct child c;
	u64 ticket, token;

	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		struct end e = self->r.in;

		close(self->r.in.fd);
		close(self->r.out.fd);
		e.fd = recv_fd(&c);
		CHILD_EXPECT(e.fd > 0);
		expect_eperm(&e);
		tell_and_pause(&c, 1);
		_exit(0);
	}
	ASSERT_EQ(0, send_fd(&c, self->r.in.fd));
	EXPECT_EQ(1, hear(&c));
	EXPECT_STATE("t", BOTH);
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	ASSERT_EQ(0, end_claim(&self->r.in, &ticket, &token));
	/* The owner's mappings end it, though another still has the descriptor. */
	end_close(&self->r.in);
	EXPECT_STATE("t", .producers = 1, .ready = 1, .redelivered = 1, .deaths = 1);
	say(&c, 0);
	EXPECT_EQ(0, child_wait(&c));
	EXPECT_STATE("t", .producers = 1, .ready = 1, .redelivered = 1, .deaths = 1);
}

/* Without a mapping, nobody can tell sooner than the last descriptor. */
TEST_F(both, unmapped_lives_as_long_as_its_descriptor)
{
	struct sluice_attach a;
	struct child c;
	int fd = stage_open("t", O_RDWR);

	ASSERT_EQ(0, attach_raw(fd, SLUICE_CONSUMER, 0, &a));
	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		tell_and_pause(&c, 1);
		_exit(0);
	}
	EXPECT_EQ(1, hear(&c));
	close(fd);
	EXPECT_STATE("t", .producers = 1, .consumers = 2);
	say(&c, 0);
	EXPECT_EQ(0, child_wait(&c));
	AWAIT_STATE("t", scaled(500), BOTH, .deaths = 1);
}

/* The parent dies, a child lives on with all its descriptors: its claims are free at once. */
TEST_F(both, child_survives_parent)
{
	struct child c;
	pid_t grandchild;

	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		struct end in;
		u64 ticket, token;

		CHILD_EXPECT(!end_make(&in, "t", SLUICE_CONSUMER, 0));
		CHILD_EXPECT(!end_claim(&in, &ticket, &token));
		grandchild = fork();
		if (!grandchild) {
			sleep_ms(scaled(3000));
			_exit(0);
		}
		tell_and_pause(&c, (u64)grandchild);
		_exit(0);
	}
	grandchild = (pid_t)hear(&c);
	ASSERT_GT(grandchild, 0);
	EXPECT_STATE("t", .producers = 1, .consumers = 2, .claimed = 1);
	ASSERT_EQ(0, child_kill(&c));
	EXPECT_EQ(0, kill(grandchild, 0));
	EXPECT_STATE("t", BOTH, .ready = 1, .redelivered = 1, .deaths = 1);
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
	kill(grandchild, SIGKILL);
}

/* exec leaves the address space, and with it the endpoint. */
TEST_F(both, exec_is_the_end)
{
	struct child c;

	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		struct end in;
		u64 ticket, token;

		CHILD_EXPECT(!end_make(&in, "t", SLUICE_CONSUMER, 0));
		fcntl(in.fd, F_SETFD, 0);	/* inherited */
		CHILD_EXPECT(!end_claim(&in, &ticket, &token));
		tell_and_pause(&c, 1);
		execl("/bin/sleep", "sleep", "5", NULL);
		_exit(1);
	}
	EXPECT_EQ(1, hear(&c));
	EXPECT_STATE("t", .producers = 1, .consumers = 2, .claimed = 1);
	say(&c, 0);
	AWAIT_STATE("t", scaled(1000), BOTH, .ready = 1, .redelivered = 1, .deaths = 1);
	EXPECT_EQ(0, kill(c.pid, 0));
	EXPECT_EQ(0, child_kill(&c));
	EXPECT_STATE("t", BOTH, .ready = 1, .redelivered = 1, .deaths = 1);
}

/* Threads share the address space, so they share the endpoint; vfork's child as well. */
TEST_F(both, same_address_space)
{
	struct end *in = &self->r.in;
	pid_t pid = vfork();
	int status;

	if (!pid)
		_exit(end_kick(in, SLUICE_KICK_READY) ? 1 : 0);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_STATE("t", BOTH);
}

TEST_HARNESS_MAIN
