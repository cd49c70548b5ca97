// SPDX-License-Identifier: MIT
/* Description: a mapping moves or goes as a whole; the endpoint lives as long as one is left */
#include "kmod_process.h"

FIXTURE(end)
{
	struct end e;
};

FIXTURE_SETUP(end)
{
	ASSERT_EQ(0, stage_create("t", (struct sluice_create) { .nbufs = 2, .bufsize = 8192 }));
	ASSERT_EQ(0, end_make(&self->e, "t", SLUICE_CONSUMER, 0));
	EXPECT_STATE("t", .consumers = 1);
}

FIXTURE_TEARDOWN(end)
{
	end_close(&self->e);
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
}

TEST_F(end, partial_munmap)
{
	struct end *e = &self->e;

	EXPECT_EQ(-1, munmap(e->control, PAGE));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, munmap((char *)e->control + PAGE, PAGE));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, munmap((char *)e->control + e->control_bytes - PAGE, PAGE));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_STATE("t", .consumers = 1);
	EXPECT_EQ(0, e->control->tail);
}

TEST_F(end, mremap_moves)
{
	struct end *e = &self->e;
	void *to = mmap(NULL, e->control_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *p = mremap(e->control, e->control_bytes, e->control_bytes,
			 MREMAP_MAYMOVE | MREMAP_FIXED, to);

	ASSERT_EQ(to, p);
	e->control = p;
	EXPECT_STATE("t", .consumers = 1);
	e->control->endpoint[e->index].messages = 3;
	EXPECT_EQ(0, end_kick(e, SLUICE_KICK_READY));
	end_unmap(e);
	EXPECT_STATE("t", .deaths = 1);
}

TEST_F(end, mremap_changes_no_size)
{
	struct end *e = &self->e;

	EXPECT_EQ(MAP_FAILED, mremap(e->control, e->control_bytes, e->control_bytes + PAGE,
				     MREMAP_MAYMOVE));
	EXPECT_EQ(MAP_FAILED, mremap(e->control, e->control_bytes, e->control_bytes - PAGE, 0));
	EXPECT_EQ(MAP_FAILED, mremap(e->control, 0, e->control_bytes, MREMAP_MAYMOVE));
	EXPECT_STATE("t", .consumers = 1);
}

/* What is thrown away comes back from the stage, which keeps the pages. */
TEST_F(end, dontneed_loses_nothing)
{
	struct end *e = &self->e;

	e->control->endpoint[e->index].messages = 3;
	EXPECT_EQ(0, madvise(e->control, e->control_bytes, MADV_DONTNEED));
	EXPECT_EQ(3, e->control->endpoint[e->index].messages);
	EXPECT_NE(0, madvise(e->control, e->control_bytes, MADV_REMOVE));
	EXPECT_EQ(3, e->control->endpoint[e->index].messages);
	EXPECT_STATE("t", .consumers = 1);
}

/* Order of unmapping does not matter, the last counts; the descriptor does not. */
TEST_F(end, last_mapping_is_the_end)
{
	struct end *e = &self->e;

	munmap((void *)e->hints, e->hints_bytes);
	EXPECT_STATE("t", .consumers = 1);
	munmap(e->payload, e->payload_bytes);
	EXPECT_STATE("t", .consumers = 1);
	munmap(e->control, e->control_bytes);
	EXPECT_STATE("t", .deaths = 1);
	EXPECT_EQ(-ENOTCONN, end_kick(e, SLUICE_KICK_READY));
	EXPECT_EQ(MAP_FAILED, map_at(e->fd, SLUICE_MMAP_HINTS, PAGE, PROT_READ));
	EXPECT_EQ(ENOTCONN, errno);
	e->hints = NULL;
	e->control = NULL;
	e->payload = NULL;
	close(e->fd);
	e->fd = -1;
	EXPECT_STATE("t", .deaths = 1);
}

/* Twice mapped is alive until both are gone. */
TEST_F(end, mapped_twice)
{
	struct end *e = &self->e;
	void *again = map_at(e->fd, SLUICE_MMAP_HINTS, PAGE, PROT_READ);

	ASSERT_NE(MAP_FAILED, again);
	end_unmap(e);
	EXPECT_STATE("t", .consumers = 1);
	munmap(again, PAGE);
	EXPECT_STATE("t", .deaths = 1);
}

/* A child has no mapping, whatever its parent advised: it must not keep it alive, nor kill it. */
TEST_F(end, dofork)
{
	struct end *e = &self->e;
	struct child c;
	int advised = madvise(e->control, e->control_bytes, MADV_DOFORK);

	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		unsigned char in_core;

		CHILD_EXPECT(mincore((void *)e->hints, PAGE, &in_core) == -1 && errno == ENOMEM);
		if (advised)
			CHILD_EXPECT(mincore(e->control, PAGE, &in_core) == -1 && errno == ENOMEM);
		tell_and_pause(&c, 1);
		_exit(0);
	}
	EXPECT_EQ(1, hear(&c));
	EXPECT_STATE("t", .consumers = 1);
	/* The parent's are gone: dead, though a copy of one may live on in the child. */
	end_unmap(e);
	EXPECT_STATE("t", .deaths = 1);
	say(&c, 0);
	EXPECT_EQ(0, child_wait(&c));
	EXPECT_STATE("t", .deaths = 1);
}

/* Copies in another address space, where a kernel allows them, go without taking the owner along. */
TEST_F(end, copies_go)
{
	struct end *e = &self->e;
	struct child c;

	madvise((void *)e->hints, e->hints_bytes, MADV_DOFORK);
	madvise(e->control, e->control_bytes, MADV_DOFORK);
	if (e->payload)
		madvise(e->payload, e->payload_bytes, MADV_DOFORK);
	ASSERT_GE(child_start(&c), 0);
	if (!c.pid)
		_exit(0);
	EXPECT_EQ(0, child_wait(&c));
	EXPECT_STATE("t", .consumers = 1);
	EXPECT_EQ(0, end_kick(e, SLUICE_KICK_READY));
}

/* A mapping over it is the same as munmap. */
TEST_F(end, mapped_over)
{
	struct end *e = &self->e;
	void *p;

	p = mmap((void *)e->hints, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	ASSERT_EQ(e->hints, p);
	EXPECT_STATE("t", .consumers = 1);
	p = mmap(e->control, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	EXPECT_EQ(MAP_FAILED, p);
	EXPECT_STATE("t", .consumers = 1);
}

TEST_HARNESS_MAIN
