// SPDX-License-Identifier: MIT
/* Description: a sole producer is alone until its last mapping is gone */
#include "kmod_common.h"

FIXTURE(stage)
{
	struct end sole;
};

FIXTURE_SETUP(stage)
{
	ASSERT_EQ(0, stage_create("t", (struct sluice_create) { .nbufs = 2, .bufsize = 4096 }));
	ASSERT_EQ(0, end_make(&self->sole, "t", SLUICE_PRODUCER, SLUICE_ATTACH_SOLE));
	EXPECT_STATE("t", .producers = 1, .sole = 1);
}

FIXTURE_TEARDOWN(stage)
{
	end_close(&self->sole);
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
}

TEST_F(stage, others_are_refused)
{
	struct sluice_send s = { .size = sizeof(s), .flags = SLUICE_SEND_ACCEPT };
	struct end other;
	int fd;

	EXPECT_EQ(-EBUSY, end_make(&other, "t", SLUICE_PRODUCER, 0));
	EXPECT_EQ(-EBUSY, end_make(&other, "t", SLUICE_PRODUCER, SLUICE_ATTACH_SOLE));
	fd = stage_open("t", O_RDWR);
	EXPECT_EQ(-1, write(fd, "x", 1));
	EXPECT_EQ(EBUSY, errno);
	close(fd);
	/* Nor does the kernel publish for it. */
	EXPECT_EQ(-EBUSY, call(self->sole.fd, SLUICE_IOC_SEND, &s));
	EXPECT_EQ(-1, write(self->sole.fd, "x", 1));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_STATE("t", .producers = 1, .sole = 1);
	ASSERT_EQ(0, end_make(&other, "t", SLUICE_CONSUMER, 0));
	EXPECT_STATE("t", BOTH, .sole = 1);
	end_close(&other);
}

TEST_F(stage, sole_wants_to_be_first)
{
	struct end a, b;

	end_close(&self->sole);
	AWAIT_STATE("t", 100, .deaths = 1);
	ASSERT_EQ(0, end_make(&a, "t", SLUICE_PRODUCER, 0));
	EXPECT_EQ(-EBUSY, end_make(&b, "t", SLUICE_PRODUCER, SLUICE_ATTACH_SOLE));
	EXPECT_STATE("t", .producers = 1, .deaths = 1);
	end_close(&a);
	ASSERT_EQ(0, end_make(&self->sole, "t", SLUICE_PRODUCER, SLUICE_ATTACH_SOLE));
	EXPECT_STATE("t", .producers = 1, .sole = 1, .deaths = 2);
}

/* Any mapping could still publish. */
TEST_F(stage, until_the_last_mapping)
{
	struct end *e = &self->sole, other;

	munmap(e->payload, e->payload_bytes);
	e->payload = NULL;
	EXPECT_EQ(-EBUSY, end_make(&other, "t", SLUICE_PRODUCER, 0));
	munmap(e->control, e->control_bytes);
	e->control = NULL;
	EXPECT_EQ(-EBUSY, end_make(&other, "t", SLUICE_PRODUCER, 0));
	EXPECT_STATE("t", .producers = 1, .sole = 1);
	munmap((void *)e->hints, e->hints_bytes);
	e->hints = NULL;
	EXPECT_STATE("t", .deaths = 1);
	ASSERT_EQ(0, end_make(&other, "t", SLUICE_PRODUCER, SLUICE_ATTACH_SOLE));
	EXPECT_STATE("t", .producers = 1, .sole = 1, .deaths = 1);
	end_close(&other);
}

/* Its descriptor closed first changes nothing: it has mappings. */
TEST_F(stage, descriptor_may_go_first)
{
	struct end other;

	close(self->sole.fd);
	EXPECT_STATE("t", .producers = 1, .sole = 1);
	EXPECT_EQ(-EBUSY, end_make(&other, "t", SLUICE_PRODUCER, 0));
	end_unmap(&self->sole);
	self->sole.fd = -1;
	AWAIT_STATE("t", 100, .deaths = 1);
	ASSERT_EQ(0, end_make(&other, "t", SLUICE_PRODUCER, 0));
	end_close(&other);
}

/* Detached it is no longer attached, but who still has a mapping could write. */
TEST_F(stage, detached_but_mapped)
{
	struct end other;

	ASSERT_EQ(0, call(self->sole.fd, SLUICE_IOC_DETACH, NULL));
	EXPECT_EQ(-EBUSY, end_make(&other, "t", SLUICE_PRODUCER, 0));
	end_unmap(&self->sole);
	ASSERT_EQ(0, end_make(&other, "t", SLUICE_PRODUCER, 0));
	end_close(&other);
}

TEST_F(stage, publishes_without_reserving)
{
	struct end *e = &self->sole, in;
	u64 i;

	ASSERT_EQ(0, end_make(&in, "t", SLUICE_CONSUMER, 0));
	for (i = 0; i < 3 * NSLOTS; i++) {
		u64 lap = ticket_lap(i, e->order);

		ASSERT_EQ(slot_free(lap), sl_load_acquire(end_word(e, i)));
		end_fill(e, i, "x", 1, SLUICE_NO_BUFFER);
		slot_publish_sole(end_word(e, i), lap);
		e->control->tail = i + 1;
		EXPECT_EQ(0, end_take_text(&in, "x"));
	}
	EXPECT_STATE("t", BOTH, .sole = 1);
	end_close(&in);
}

/*
 * Its buffer is SENT before its ticket is published (P17). Another's death does not take it away,
 * its own death does, and of what is published nobody's (P18).
 */
TEST_F(stage, buffers_between_send_and_publish)
{
	struct end *e = &self->sole, in;
	u32 sent, half;

	ASSERT_EQ(0, end_take(e, &sent));
	end_fill(e, 0, "x", 1, sent);
	ASSERT_EQ(SLOT_OK, buf_send(end_buffer(e, sent), e->id, 0));
	slot_publish_sole(end_word(e, 0), 0);
	e->control->tail = 1;
	ASSERT_EQ(0, end_take(e, &half));
	ASSERT_EQ(SLOT_OK, buf_send(end_buffer(e, half), e->id, 1));
	ASSERT_EQ(0, end_make(&in, "t", SLUICE_CONSUMER, 0));
	end_close(&in);
	EXPECT_STATE("t", .producers = 1, .sole = 1, .ready = 1, .buffers = 2, .deaths = 1);
	EXPECT_EQ(buf_word(0, BUF_SENT), *end_buffer(e, sent));
	EXPECT_EQ(buf_word(1, BUF_SENT), *end_buffer(e, half));
	end_close(e);
	AWAIT_STATE("t", 100, .ready = 1, .buffers = 1, .deaths = 2);
	ASSERT_EQ(0, end_make(&in, "t", SLUICE_CONSUMER, 0));
	EXPECT_EQ(0, end_take_text(&in, "x"));
	EXPECT_STATE("t", .consumers = 1, .deaths = 2);
	end_close(&in);
}

/* What the kernel keeps for the dead it will publish: nobody can be alone until then. */
TEST_F(stage, not_beside_the_queue)
{
	struct sluice_send s = {
		.size = sizeof(s), .flags = SLUICE_SEND_ACCEPT, .addr = (u64)(uintptr_t)"x", .len = 1,
	};
	struct end other, in;

	end_close(&self->sole);
	ASSERT_EQ(0, end_make(&other, "t", SLUICE_PRODUCER, 0));
	while (!end_send(&other, "x", NULL))
		;
	ASSERT_EQ(1, call(other.fd, SLUICE_IOC_SEND, &s));
	end_close(&other);
	AWAIT_STATE("t", 100, .ready = NSLOTS, .queued = 1, .deaths = 2, .sends = 1);
	EXPECT_EQ(-EBUSY, end_make(&other, "t", SLUICE_PRODUCER, SLUICE_ATTACH_SOLE));
	ASSERT_EQ(0, end_make(&in, "t", SLUICE_CONSUMER, 0));
	EXPECT_EQ(0, end_take_text(&in, "x"));
	EXPECT_EQ(0, end_make(&other, "t", SLUICE_PRODUCER, SLUICE_ATTACH_SOLE));
	end_close(&other);
	end_close(&in);
}

TEST_HARNESS_MAIN
