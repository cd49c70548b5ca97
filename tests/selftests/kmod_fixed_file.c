// SPDX-License-Identifier: MIT
/* Description: a fixed file of io_uring keeps no dead endpoint alive, however its owner ends */
#include "kmod_process.h"
#include "kmod_uring.h"

#define SOON	scaled(3000)

FIXTURE(both)
{
	struct ends r;
	struct child c;
};

FIXTURE_SETUP(both)
{
	/* no tick would help within the test: it is the death that does it */
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) { .ack_timeout_ms = 600000 }, 0));
	ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
}

FIXTURE_TEARDOWN(both)
{
	EXPECT_EQ(0, ends_close(&self->r));
}

/*
 * A child that claims, makes its descriptor a fixed file, closes it, and parks a WAIT by the fixed
 * file; with @unmap it lives on without its mapping, else it waits for what comes.
 */
static void fixed(struct child *c, bool unmap)
{
	struct io_uring ring;
	u64 ticket, token;
	struct sluice_wait w;
	struct end in;
	int fd;

	if (child_start(c))
		return;
	CHILD_EXPECT(!end_make(&in, "t", SLUICE_CONSUMER, 0));
	CHILD_EXPECT(!end_claim(&in, &ticket, &token));
	CHILD_EXPECT(!io_uring_queue_init(8, &ring, 0));
	fd = in.fd;
	CHILD_EXPECT(!io_uring_register_files(&ring, &fd, 1));
	w = wait_for(&in, SLUICE_WAIT_READY, in.cursor);
	command(&ring, 0, SLUICE_CMD_WAIT, &w, sizeof(w), 1)->flags |= IOSQE_FIXED_FILE;
	CHILD_EXPECT(io_uring_submit(&ring) == 1);
	close(fd);
	/* it works, though no descriptor is left */
	CHILD_EXPECT(completion(&ring, 20, NULL) == NOTHING);
	if (unmap)
		end_unmap(&in);
	tell_and_pause(c, 1);
	if (unmap) {
		int res = completion(&ring, SOON, NULL);

		/* that it died, or, a moment sooner, that it should look again */
		CHILD_EXPECT(res == -ENOTCONN || res == 0);
	}
	_exit(0);
}

TEST_F(both, killed)
{
	fixed(&self->c, false);
	ASSERT_EQ(1, hear(&self->c));
	EXPECT_STATE("t", .producers = 1, .consumers = 2, .claimed = 1);
	ASSERT_EQ(0, child_kill(&self->c));
	AWAIT_STATE("t", SOON, BOTH, .ready = 1, .redelivered = 1, .deaths = 1);
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
}

TEST_F(both, exits)
{
	fixed(&self->c, false);
	ASSERT_EQ(1, hear(&self->c));
	ASSERT_EQ(0, child_end(&self->c));
	AWAIT_STATE("t", SOON, BOTH, .ready = 1, .redelivered = 1, .deaths = 1);
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
}

/* The mapping is what lives: without it the endpoint is dead, and its command is told. */
TEST_F(both, unmapped)
{
	fixed(&self->c, true);
	ASSERT_EQ(1, hear(&self->c));
	AWAIT_STATE("t", SOON, BOTH, .ready = 1, .redelivered = 1, .deaths = 1);
	ASSERT_EQ(0, child_end(&self->c));
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
}

TEST_HARNESS_MAIN
