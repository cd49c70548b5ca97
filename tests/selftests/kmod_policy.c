// SPDX-License-Identifier: MIT
/* Description: the kernel's part in a policy: who lives, what it publishes and claims, who may change it */
#include <grp.h>

#include "kmod_process.h"
#include "kmod_uring.h"

FIXTURE(both)
{
	struct ends r;
	int reader;		/* a consumer that only read()s; attached */
};

FIXTURE_SETUP(both)
{
	char buf[8];

	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.policy = SLUICE_POLICY_ROUND_ROBIN, .ack_timeout_ms = 3600000,
	}, 0));
	self->reader = stage_open("t", O_RDWR | O_NONBLOCK);
	ASSERT_GE(self->reader, 0);
	ASSERT_EQ(-1, read(self->reader, buf, sizeof(buf)));
	ASSERT_EQ(EAGAIN, errno);
}

FIXTURE_TEARDOWN(both)
{
	close(self->reader);
	ends_close(&self->r);
}

static int set_policy(u32 policy)
{
	struct sluice_set_policy p = { .size = sizeof(p), .name = "t", .policy = policy };

	return control(SLUICE_IOC_POLICY, &p);
}

static u32 reader_id(const struct end *in)
{
	const struct sluice_hints *h = in->hints;

	return h->members[h->members[0].id == in->id].id;
}

/* Published by the kernel: 0 in the ring, 1 in its queue. */
static int send_to(struct end *out, u32 target)
{
	struct sluice_send s = send_text("x", SLUICE_SEND_ACCEPT);

	s.target = target;
	return call(out->fd, SLUICE_IOC_SEND, &s);
}

TEST_F(both, the_table)
{
	const struct sluice_hints *h = self->r.in.hints;
	u32 before = h->membership;
	struct end third;

	EXPECT_EQ(0, before % 2);
	EXPECT_EQ(2, h->consumers);
	EXPECT_EQ(self->r.in.id, h->members[0].id);
	EXPECT_EQ(self->r.in.index, h->members[0].index);
	EXPECT_GT(h->members[1].id, h->members[0].id);
	ASSERT_EQ(0, end_make(&third, "t", SLUICE_CONSUMER, 0));
	EXPECT_EQ(before + 2, h->membership);
	EXPECT_EQ(third.id, h->members[2].id);
	end_close(&third);
	EXPECT_EQ(before + 4, h->membership);
	EXPECT_EQ(2, h->consumers);
	/* a producer is no member */
	ASSERT_EQ(0, end_make(&third, "t", SLUICE_PRODUCER, 0));
	EXPECT_EQ(before + 4, h->membership);
	end_close(&third);
}

TEST_F(both, a_reader_passes_what_is_for_others)
{
	struct end *in = &self->r.in;
	u64 ticket, token;
	char buf[8];

	ASSERT_EQ(0, send_to(&self->r.out, in->id));
	ASSERT_EQ(0, send_to(&self->r.out, reader_id(in)));
	ASSERT_EQ(0, send_to(&self->r.out, 0));
	EXPECT_EQ(1, read(self->reader, buf, sizeof(buf)));
	EXPECT_EQ(1, read(self->reader, buf, sizeof(buf)));
	EXPECT_EQ(-1, read(self->reader, buf, sizeof(buf)));
	/* once it has failed it is anybody's */
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	EXPECT_EQ(in->id, end_slot(in, ticket)->target);
	ASSERT_EQ(0, end_nack(in, ticket, token, 0, 0, 0));
	EXPECT_EQ(1, read(self->reader, buf, sizeof(buf)));
}

/* The reader was to have it, and is gone before it came. */
TEST_F(both, left_by_the_dead)
{
	u32 gone = reader_id(&self->r.in), i;
	u64 ticket, token;
	char buf[8];
	int fd;

	for (i = 0; i < 8; i++)
		ASSERT_EQ(0, send_to(&self->r.out, self->r.in.id));
	close(self->reader);
	end_close(&self->r.in);
	/* both are gone: the only one that comes has them all */
	fd = self->reader = stage_open("t", O_RDWR | O_NONBLOCK);
	ASSERT_GE(fd, 0);
	for (i = 0; i < 8; i++)
		EXPECT_EQ(1, read(fd, buf, sizeof(buf)));
	ASSERT_EQ(0, end_make(&self->r.in, "t", SLUICE_CONSUMER, 0));
	EXPECT_NE(gone, reader_id(&self->r.in));
	EXPECT_EQ(-EAGAIN, end_claim(&self->r.in, &ticket, &token));
}

TEST_F(both, the_queue_keeps_the_wish)
{
	struct end *in = &self->r.in;
	u64 ticket, token;
	int err;

	do {
		err = send_to(&self->r.out, in->id);
	} while (!err);
	ASSERT_EQ(1, err);	/* in the queue */
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	ASSERT_EQ(0, end_ack(in, ticket, token));
	ASSERT_EQ(0, end_kick(in, SLUICE_KICK_ROOM));
	EXPECT_EQ(in->id, end_slot(in, ticket)->target);
	EXPECT_EQ(SLOT_READY, slot_state(*end_word(in, ticket)));
}

TEST_F(both, a_change_is_told)
{
	const struct sluice_hints *h = self->r.in.hints;
	u32 generation = h->generation, membership = h->membership;

	ASSERT_EQ(0, set_policy(SLUICE_POLICY_AFFINITY));
	EXPECT_EQ(SLUICE_POLICY_AFFINITY, h->policy);
	EXPECT_NE(generation, h->generation);
	EXPECT_EQ(membership + 2, h->membership);
}

static int set_policy_as(struct child *c, u32 uid, int fd)
{
	struct sluice_set_policy p = {
		.size = sizeof(p), .name = "t", .policy = SLUICE_POLICY_WEIGHTED,
	};

	if (!child_start(c)) {
		CHILD_EXPECT(!setgroups(0, NULL) && !setresgid(uid, uid, uid));
		CHILD_EXPECT(!setresuid(uid, uid, uid));
		CHILD_EXPECT(call(fd, SLUICE_IOC_POLICY, &p) == -EPERM);
		_exit(0);
	}
	return child_wait(c);
}

TEST_F(both, bad_calls)
{
	struct sluice_set_policy p = { .size = sizeof(p), .name = "t" };
	int fd = open(CONTROL, O_RDWR | O_CLOEXEC);
	struct child c = { 0 };

	ASSERT_GT(fd, 0);
	EXPECT_EQ(0, set_policy_as(&c, 1001, fd));
	EXPECT_EQ(SLUICE_POLICY_ROUND_ROBIN, self->r.in.hints->policy);
	EXPECT_EQ(-EACCES, control_as(O_RDONLY, SLUICE_IOC_POLICY, &p));
	p.flags = 1;
	EXPECT_EQ(-EINVAL, control(SLUICE_IOC_POLICY, &p));
	p.flags = 0;
	p.reserved[2] = 1;
	EXPECT_EQ(-EINVAL, control(SLUICE_IOC_POLICY, &p));
	p.reserved[2] = 0;
	p.policy = SLUICE_POLICY_COUNT;
	EXPECT_EQ(-EINVAL, control(SLUICE_IOC_POLICY, &p));
	p.policy = 0;
	snprintf(p.name, sizeof(p.name), "nobody");
	EXPECT_EQ(-ENOENT, control(SLUICE_IOC_POLICY, &p));
	memset(p.name, 'x', sizeof(p.name));
	EXPECT_EQ(-EINVAL, control(SLUICE_IOC_POLICY, &p));
	EXPECT_EQ(-EINVAL, send_to(&self->r.out, 0xffff));
	close(fd);
}

/* The mark of what is overdue follows the tail: an old one would look like a new one some day. */
TEST_F(both, the_mark_does_not_grow_old)
{
	const struct sluice_hints *h = self->r.in.hints;
	struct end *out = &self->r.out;
	u64 end = now_ns() + scaled(10000) * MS, tail;
	u32 i;

	ASSERT_EQ(0, ends_close(&self->r));
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.policy = SLUICE_POLICY_ROUND_ROBIN, .ack_timeout_ms = 20,
	}, 0));
	h = self->r.in.hints;
	for (i = 0; i < 5 * NSLOTS; i++) {
		ASSERT_EQ(0, end_send(out, "x", NULL));
		ASSERT_EQ(0, end_take_text(&self->r.in, "x"));
	}
	do {
		sleep_ms(10);
		tail = sl_load(&out->control->tail);
	} while (ticket_diff(tail, sl_load(&h->overdue), out->order) > 2 * NSLOTS &&
		 now_ns() < end);
	EXPECT_LE(ticket_diff(tail, sl_load(&h->overdue), out->order), 2 * NSLOTS);
	EXPECT_GT(ticket_diff(tail, sl_load(&h->overdue), out->order), 0);
}

TEST_HARNESS_MAIN
