// SPDX-License-Identifier: MIT
/* Description: a dead producer's buffer is not given to others while its pages are pinned */
#include <liburing.h>
#include <linux/if_xdp.h>
#include <sys/socket.h>

#include "kmod_process.h"

#define TICK	scaled(50)	/* ms */
#define SOON	scaled(5000)

/*
 * Registered buffers pin their pages for as long as the ring lives, which the child shares with
 * its parent: so they stay pinned after the child's death, as those of a device would. Before
 * 6.3 io_uring takes no pages of a file; there the memory of an XDP socket is pinned instead.
 */
static int pin(struct io_uring *ring, int xdp, void *page)
{
	struct iovec pages = { .iov_base = page, .iov_len = PAGE };
	struct xdp_umem_reg umem = {
		.addr = (u64)(uintptr_t)page, .len = PAGE, .chunk_size = PAGE,
	};
	int err = io_uring_register_buffers(ring, &pages, 1);

	if (err != -EOPNOTSUPP)
		return err;
	return setsockopt(xdp, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)) ? -errno : 0;
}

static void unpin(struct io_uring *ring, int xdp)
{
	io_uring_unregister_buffers(ring);
	if (xdp >= 0)
		close(xdp);
}

TEST(waits_for_the_device)
{
	struct sluice_create c = {
		.nbufs = 2, .bufsize = 2 * PAGE, .ack_timeout_ms = 4 * TICK, .write_timeout_ms = 2 * TICK,
	};
	struct io_uring ring;
	struct child child;
	struct end in;
	int xdp = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);

	ASSERT_EQ(0, stage_create("t", c));
	ASSERT_EQ(0, end_make(&in, "t", SLUICE_CONSUMER, 0));
	if (io_uring_queue_init(4, &ring, 0))
		SKIP(goto out, "no io_uring here");
	ASSERT_GE(child_start(&child), 0);
	if (!child.pid) {
		struct end out;
		u32 buf, other;

		CHILD_EXPECT(!end_make(&out, "t", SLUICE_PRODUCER, 0));
		CHILD_EXPECT(!end_take(&out, &buf) && !end_take(&out, &other));
		/* its second page */
		CHILD_EXPECT(!pin(&ring, xdp,
				  memset(out.payload + (2 * buf + 1) * PAGE, 1, PAGE)));
		tell_and_pause(&child, buf);
	}
	ASSERT_LT(hear(&child), 2);
	EXPECT_STATE("t", BOTH, .buffers = 2);
	ASSERT_EQ(0, child_kill(&child));
	AWAIT_STATE("t", SOON, .consumers = 1, .buffers = 1, .deaths = 1);
	sleep_ms(10 * TICK);
	EXPECT_STATE("t", .consumers = 1, .buffers = 1, .deaths = 1);
	/* everybody sleeps: the buffer alone keeps the timer running */
	EXPECT_EQ(-EAGAIN, end_claim(&in, &(u64){ 0 }, &(u64){ 0 }));
	EXPECT_EQ(-EAGAIN, end_wait(&in, SLUICE_WAIT_READY, in.cursor, 0));
	sleep_ms(10 * TICK);
	unpin(&ring, xdp);
	AWAIT_STATE("t", SOON, .consumers = 1, .deaths = 1);
	io_uring_queue_exit(&ring);
out:
	end_close(&in);
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
}

TEST_HARNESS_MAIN
