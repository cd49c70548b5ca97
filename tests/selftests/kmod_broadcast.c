// SPDX-License-Identifier: MIT
/* Description: the kernel's part in a broadcast: who gets a message, whose bit is cleared, read(2) and write(2) */
#include "kmod_process.h"
#include "kmod_uring.h"

#define ACK_TIMEOUT_MS	3600000	/* unless a test says otherwise nothing times out */

static int make(unsigned int ack_timeout_ms, u32 flags)
{
	return stage_create("t", (struct sluice_create) {
		.policy = SLUICE_POLICY_BROADCAST,
		.ack_timeout_ms = ack_timeout_ms,
		.flags = flags,
		.nbufs = 2,
		.bufsize = PAGE,
	});
}

FIXTURE(everybody)
{
	struct end out;
	int reader[2];		/* consumers that only read() */
};

static int open_reader(void)
{
	int fd = stage_open("t", O_RDWR | O_NONBLOCK);
	char buf[8];

	/* attached by it */
	return fd < 0 || (read(fd, buf, sizeof(buf)) < 0 && errno == EAGAIN) ? fd : -EPROTO;
}

FIXTURE_SETUP(everybody)
{
	ASSERT_EQ(0, make(ACK_TIMEOUT_MS, 0));
	ASSERT_EQ(0, end_make(&self->out, "t", SLUICE_PRODUCER, 0));
	self->reader[0] = open_reader();
	self->reader[1] = open_reader();
	ASSERT_GE(self->reader[0], 0);
	ASSERT_GE(self->reader[1], 0);
}

FIXTURE_TEARDOWN(everybody)
{
	close(self->reader[0]);
	close(self->reader[1]);
	end_close(&self->out);
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
}

static u64 owed(const struct end *e, u64 ticket)
{
	return sl_load(&end_slot(e, ticket)->target);
}

/* Reserved and filled, for all who are there; not published. */
static int address(struct end *out, u64 *ticket)
{
	int err = end_reserve(out, ticket);

	if (err)
		return err;
	end_fill(out, *ticket, "x", 1, SLUICE_NO_BUFFER);
	return mask_set(&end_slot(out, *ticket)->target, out->hints->recipients) ? 0 : -EBUSY;
}

static int read_one(int fd)
{
	char buf[8];
	ssize_t n = read(fd, buf, sizeof(buf));

	return n < 0 ? -errno : (int)n;
}

TEST_F(everybody, by_read_and_write)
{
	char text[] = "a longer message than a slot has room for, so that it goes through a buffer "
		      "of the stage's";
	char buf[128];
	int writer = stage_open("t", O_RDWR | O_NONBLOCK), i;

	ASSERT_GE(writer, 0);
	EXPECT_EQ(3, write(writer, "one", 3));
	ASSERT_EQ((ssize_t)sizeof(text), write(writer, text, sizeof(text)));
	for (i = 0; i < 2; i++) {
		/* too small: it stays, for this one */
		EXPECT_EQ(-1, read(self->reader[i], buf, 2));
		EXPECT_EQ(EMSGSIZE, errno);
		ASSERT_EQ(3, read(self->reader[i], buf, sizeof(buf)));
		EXPECT_EQ(0, memcmp("one", buf, 3));
		EXPECT_STATE("t", .producers = 2, .consumers = 2, .ready = 2 - i, .buffers = 1);
		ASSERT_EQ((ssize_t)sizeof(text), read(self->reader[i], buf, sizeof(buf)));
		EXPECT_EQ(0, memcmp(text, buf, sizeof(text)));
		EXPECT_EQ(-EAGAIN, read_one(self->reader[i]));
	}
	EXPECT_STATE("t", .producers = 2, .consumers = 2);
	close(writer);
}

/* The copy fails: it is there still. */
TEST_F(everybody, read_into_nothing)
{
	char *hole = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u64 ticket;

	ASSERT_NE(MAP_FAILED, hole);
	ASSERT_EQ(0, address(&self->out, &ticket));
	ASSERT_EQ(0, end_publish(&self->out, ticket));
	EXPECT_EQ(-1, read(self->reader[0], hole, 8));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(1, read_one(self->reader[0]));
	EXPECT_EQ(1, read_one(self->reader[1]));
	EXPECT_STATE("t", .producers = 1, .consumers = 2);
	munmap(hole, PAGE);
}

/* Its length is nonsense: it is acknowledged in each reader's name, and the next one comes. */
TEST_F(everybody, nothing_to_read_in_it)
{
	char buf[SLUICE_INLINE_MAX + 2];
	u64 ticket;
	int i;

	ASSERT_EQ(0, address(&self->out, &ticket));
	end_slot(&self->out, ticket)->len = SLUICE_INLINE_MAX + 1;
	ASSERT_EQ(0, end_publish(&self->out, ticket));
	ASSERT_EQ(0, address(&self->out, &ticket));
	ASSERT_EQ(0, end_publish(&self->out, ticket));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(1, read(self->reader[i], buf, sizeof(buf)));
		EXPECT_EQ(-EAGAIN, read_one(self->reader[i]));
	}
	EXPECT_STATE("t", .producers = 1, .consumers = 2, .lies = 2);
}

TEST_F(everybody, polled)
{
	struct pollfd p = { .events = POLLIN };
	u64 ticket;
	int i;

	for (i = 0; i < 2; i++) {
		p.fd = self->reader[i];
		EXPECT_EQ(-EAGAIN, read_one(p.fd));	/* and has seen that others came */
		EXPECT_EQ(0, poll(&p, 1, 0));
	}
	ASSERT_EQ(0, address(&self->out, &ticket));
	ASSERT_EQ(0, end_publish(&self->out, ticket));
	for (i = 0; i < 2; i++) {
		p.fd = self->reader[i];
		EXPECT_EQ(1, poll(&p, 1, (int)scaled(5000)));
		EXPECT_EQ(1, read_one(p.fd));
		EXPECT_EQ(-EAGAIN, read_one(p.fd));
		EXPECT_EQ(0, poll(&p, 1, 0));
	}
}

TEST_F(everybody, to_nobody)
{
	struct sluice_send s = send_text("x", SLUICE_SEND_ACCEPT);
	int writer = stage_open("t", O_RDWR | O_NONBLOCK);

	ASSERT_GE(writer, 0);
	close(self->reader[0]);
	close(self->reader[1]);
	EXPECT_EQ(0, self->out.hints->recipients);
	EXPECT_EQ(-1, write(writer, "x", 1));
	EXPECT_EQ(ENOTCONN, errno);
	EXPECT_EQ(-ENOTCONN, call(self->out.fd, SLUICE_IOC_SEND, &s));
	EXPECT_EQ(0, end_slot(&self->out, 0)->word);
	self->reader[0] = open_reader();
	self->reader[1] = open_reader();
	EXPECT_EQ(1, write(writer, "x", 1));
	close(writer);
}

/* A full ring of what nobody is there to get any more: it is empty, and so is the queue. */
TEST_F(everybody, all_leave)
{
	struct sluice_send s = send_text("x", SLUICE_SEND_ACCEPT);
	u32 i;

	for (i = 0; i < NSLOTS; i++)
		ASSERT_EQ(0, call(self->out.fd, SLUICE_IOC_SEND, &s));
	ASSERT_EQ(1, call(self->out.fd, SLUICE_IOC_SEND, &s));
	close(self->reader[0]);
	EXPECT_STATE("t", .producers = 1, .consumers = 1, .ready = NSLOTS, .queued = 1,
		     .deaths = 1, .sends = NSLOTS + 1);
	close(self->reader[1]);
	EXPECT_STATE("t", .producers = 1, .deaths = 2, .sends = NSLOTS + 1);
	self->reader[0] = open_reader();
	self->reader[1] = open_reader();
}

/* It was addressed while it lived, and published after its death: the producer looks once more. */
TEST_F(everybody, addressed_to_the_dead)
{
	u64 ticket, before = self->out.hints->recipients, left;

	ASSERT_EQ(0, address(&self->out, &ticket));
	close(self->reader[1]);
	left = self->out.hints->recipients;
	EXPECT_EQ(1, __builtin_popcountll(before & ~left));
	/* what was there at the death is pruned; this is the bit of somebody who read it before */
	ASSERT_TRUE(mask_set(&end_slot(&self->out, ticket)->target, before));
	ASSERT_EQ(0, end_publish(&self->out, ticket));
	EXPECT_EQ(1, read_one(self->reader[0]));
	EXPECT_EQ(before & ~left, owed(&self->out, ticket));
	EXPECT_STATE("t", .producers = 1, .consumers = 1, .ready = 1, .deaths = 1);
	EXPECT_EQ(0, end_kick(&self->out, SLUICE_KICK_GONE));
	EXPECT_STATE("t", .producers = 1, .consumers = 1, .deaths = 1);
	self->reader[1] = open_reader();
}

/* The same, but a newcomer has the bit by then: it is not its message. */
TEST_F(everybody, addressed_to_a_predecessor)
{
	u64 ticket, before = self->out.hints->recipients;

	ASSERT_EQ(0, address(&self->out, &ticket));
	close(self->reader[1]);
	self->reader[1] = open_reader();
	ASSERT_GE(self->reader[1], 0);
	ASSERT_EQ(before, self->out.hints->recipients);
	ASSERT_TRUE(mask_set(&end_slot(&self->out, ticket)->target, before));
	ASSERT_EQ(0, end_publish(&self->out, ticket));
	EXPECT_EQ(1, read_one(self->reader[0]));
	EXPECT_EQ(-EAGAIN, read_one(self->reader[1]));
	EXPECT_STATE("t", .producers = 1, .consumers = 2, .deaths = 1);
	/* the next one is */
	ASSERT_EQ(0, address(&self->out, &ticket));
	ASSERT_EQ(0, end_publish(&self->out, ticket));
	EXPECT_EQ(1, read_one(self->reader[1]));
	EXPECT_EQ(1, read_one(self->reader[0]));
}

/* What was being written when somebody joins is for it, too, if it begins there; else it is not. */
TEST_F(everybody, joins_while_it_is_written)
{
	struct end tail, oldest;
	u64 held, ticket, both = self->out.hints->recipients, bits;

	ASSERT_EQ(0, address(&self->out, &held));
	ASSERT_EQ(0, end_publish(&self->out, held));
	ASSERT_EQ(0, end_reserve(&self->out, &ticket));
	ASSERT_EQ(0, end_make(&tail, "t", SLUICE_CONSUMER, 0));
	bits = self->out.hints->recipients & ~both;
	EXPECT_EQ(both, owed(&self->out, held));
	EXPECT_EQ(0, owed(&self->out, ticket));
	ASSERT_EQ(0, end_make(&oldest, "t", SLUICE_CONSUMER, SLUICE_ATTACH_OLDEST));
	bits = self->out.hints->recipients & ~both & ~bits;
	EXPECT_EQ(both | bits, owed(&self->out, held));
	EXPECT_EQ(bits, owed(&self->out, ticket));
	end_close(&oldest);
	EXPECT_EQ(both, owed(&self->out, held));
	EXPECT_EQ(0, owed(&self->out, ticket));
	end_close(&tail);
}

/* The message of somebody who died of writing it leaves nothing in the mask. */
TEST_F(everybody, died_writing)
{
	struct end other;
	u64 ticket;

	ASSERT_EQ(0, end_make(&other, "t", SLUICE_PRODUCER, 0));
	ASSERT_EQ(0, address(&other, &ticket));
	EXPECT_NE(0, owed(&self->out, ticket));
	end_close(&other);
	EXPECT_EQ(0, owed(&self->out, ticket));
	EXPECT_STATE("t", .producers = 1, .consumers = 2, .deaths = 1, .discarded = 1);
}

TEST_F(everybody, of_its_policy_for_good)
{
	struct sluice_set_policy p = { .size = sizeof(p), .name = "t" };
	struct end none;

	EXPECT_EQ(-EINVAL, control(SLUICE_IOC_POLICY, &p));
	p.policy = SLUICE_POLICY_BROADCAST;
	EXPECT_EQ(-EINVAL, control(SLUICE_IOC_POLICY, &p));
	ASSERT_EQ(0, stage_create("other", (struct sluice_create) { .nslots = 64 }));
	strcpy(p.name, "other");
	EXPECT_EQ(-EINVAL, control(SLUICE_IOC_POLICY, &p));
	EXPECT_EQ(-EINVAL, end_make(&none, "other", SLUICE_CONSUMER, SLUICE_ATTACH_OLDEST));
	EXPECT_EQ(0, stage_destroy("other", 0, 0));
	/* who is alone publishes without WRITING */
	end_close(&self->out);
	EXPECT_EQ(-EINVAL, end_make(&none, "t", SLUICE_PRODUCER, SLUICE_ATTACH_SOLE));
	EXPECT_EQ(-EINVAL, end_make(&none, "t", SLUICE_PRODUCER, SLUICE_ATTACH_OLDEST));
	ASSERT_EQ(0, end_make(&self->out, "t", SLUICE_PRODUCER, 0));
}

TEST_F(everybody, repaired)
{
	struct sluice_repair r = { .size = sizeof(r), .name = "t" };
	u64 ticket;

	ASSERT_EQ(0, address(&self->out, &ticket));
	ASSERT_EQ(0, end_publish(&self->out, ticket));
	end_slot(&self->out, 5)->target = ~0ull;
	ASSERT_EQ(0, control(SLUICE_IOC_REPAIR, &r));
	EXPECT_EQ(3, r.evicted);
	end_close(&self->out);
	EXPECT_EQ(-ENOTCONN, read_one(self->reader[0]));
	close(self->reader[0]);
	close(self->reader[1]);
	/* everybody has gone, so that nobody owes anything */
	ASSERT_EQ(0, end_make(&self->out, "t", SLUICE_PRODUCER, 0));
	EXPECT_EQ(0, owed(&self->out, 5));
	EXPECT_STATE("t", .producers = 1, .deaths = 3, .evictions = 3);
	self->reader[0] = open_reader();
	self->reader[1] = open_reader();
	ASSERT_EQ(0, address(&self->out, &ticket));
	ASSERT_EQ(0, end_publish(&self->out, ticket));
	EXPECT_EQ(1, read_one(self->reader[0]));
	EXPECT_EQ(1, read_one(self->reader[1]));
}

TEST(creation)
{
	struct sluice_create c = { .policy = SLUICE_POLICY_BROADCAST, .dead_slots = 4 };

	EXPECT_EQ(-EINVAL, stage_create("t", c));
	c = (struct sluice_create) { .flags = SLUICE_CREATE_SLOW_WAITS };
	EXPECT_EQ(-EINVAL, stage_create("t", c));
	c.policy = SLUICE_POLICY_BROADCAST;
	EXPECT_EQ(0, stage_create("t", c));
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
}

/* The tick finishes what somebody left between the last bit and the word (P22). */
TEST(left_half_way)
{
	u64 ticket;
	struct end out;
	u32 buf;
	int reader;

	ASSERT_EQ(0, make(100, SLUICE_CREATE_SLOW_WAITS));
	ASSERT_EQ(0, end_make(&out, "t", SLUICE_PRODUCER, 0));
	reader = open_reader();
	ASSERT_EQ(0, end_send_buffer(&out, "payload", &ticket, &buf));
	EXPECT_EQ(0, owed(&out, ticket));
	AWAIT_STATE("t", scaled(5000), .producers = 1, .consumers = 1);
	EXPECT_EQ(-EAGAIN, read_one(reader));
	close(reader);
	end_close(&out);
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
}

/* A reader that does not come is put out; it hears of it, and its bit waits for its end. */
TEST(put_out)
{
	struct sluice_endpoint_info info = { .size = sizeof(info), .name = "t" };
	u64 ticket, bit;
	struct end out;
	int slow, other;

	ASSERT_EQ(0, make(100, 0));
	ASSERT_EQ(0, end_make(&out, "t", SLUICE_PRODUCER, 0));
	slow = open_reader();
	ASSERT_GE(slow, 0);
	bit = out.hints->recipients;
	ASSERT_EQ(0, address(&out, &ticket));
	ASSERT_EQ(0, end_publish(&out, ticket));
	AWAIT_STATE("t", scaled(5000), .producers = 1, .consumers = 1);
	EXPECT_EQ(0, out.hints->recipients);
	EXPECT_EQ(-ENOTCONN, read_one(slow));
	ASSERT_EQ(0, control(SLUICE_IOC_ENDPOINT, &info));
	EXPECT_EQ(0, info.expelled);
	EXPECT_EQ(0, info.held);
	info.index++;
	ASSERT_EQ(0, control(SLUICE_IOC_ENDPOINT, &info));
	EXPECT_EQ(1, info.expelled);
	EXPECT_EQ(0, info.held);
	other = open_reader();
	EXPECT_NE(bit, out.hints->recipients);
	close(other);
	close(slow);
	other = open_reader();
	EXPECT_EQ(bit, out.hints->recipients);
	ASSERT_EQ(0, address(&out, &ticket));
	ASSERT_EQ(0, end_publish(&out, ticket));
	ASSERT_EQ(0, control(SLUICE_IOC_ENDPOINT, &info));
	EXPECT_EQ(1, info.held);
	EXPECT_EQ(1, read_one(other));
	close(other);
	end_close(&out);
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
}

TEST_HARNESS_MAIN
