// SPDX-License-Identifier: MIT
/* Description: stages and endpoints can be listed, by name and one after the other */
#include <stddef.h>

#include "kmod_common.h"

static int next_stage(u64 *cookie, char *name)
{
	struct sluice_info i;
	int err;

	memset(&i, GARBAGE, sizeof(i));
	i.size = sizeof(i);
	i.cookie = *cookie;
	err = control(SLUICE_IOC_NEXT, &i);
	if (!err) {
		*cookie = i.cookie;
		strcpy(name, i.name);
	}
	return err;
}

static int endpoint_info(const char *name, u32 index, struct sluice_endpoint_info *e)
{
	memset(e, GARBAGE, sizeof(*e));
	e->size = sizeof(*e);
	e->index = index;
	snprintf(e->name, sizeof(e->name), "%s", name);
	return control(SLUICE_IOC_ENDPOINT, e);
}

TEST(unknown_stage)
{
	struct sluice_endpoint_info e;
	struct sluice_info i;

	EXPECT_EQ(-ENOENT, stage_info("nobody", &i));
	EXPECT_EQ(-ENOENT, stage_info("", &i));
	EXPECT_EQ(-ENOENT, endpoint_info("nobody", 0, &e));
}

TEST(each_stage_once)
{
	static const char *const names[] = { "c", "a", "b" };
	u64 cookie = 0;
	unsigned int i, seen = 0;
	char name[SLUICE_NAME_MAX];

	EXPECT_EQ(-ENOENT, next_stage(&cookie, name));
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, stage_create(names[i], (struct sluice_create) { 0 }));
	while (!next_stage(&cookie, name))
		for (i = 0; i < 3; i++)
			seen += !strcmp(name, names[i]) ? 1u << (4 * i) : 0;
	EXPECT_EQ(0x111, seen);
	EXPECT_EQ(-ENOENT, next_stage(&cookie, name));
	cookie = ~0ull;
	EXPECT_EQ(-ENOENT, next_stage(&cookie, name));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, stage_destroy(names[i], 0, 0));
}

/* A listing goes on although what it saw last is gone. */
TEST(destroyed_while_listing)
{
	char name[SLUICE_NAME_MAX];
	u64 cookie = 0;

	ASSERT_EQ(0, stage_create("a", (struct sluice_create) { 0 }));
	ASSERT_EQ(0, stage_create("b", (struct sluice_create) { 0 }));
	ASSERT_EQ(0, next_stage(&cookie, name));
	EXPECT_EQ(0, stage_destroy(name, 0, 0));
	ASSERT_EQ(0, next_stage(&cookie, name));
	EXPECT_EQ(0, stage_destroy(name, 0, 0));
	EXPECT_EQ(-ENOENT, next_stage(&cookie, name));
}

TEST(short_info)
{
	struct sluice_info i;

	ASSERT_EQ(0, stage_create("t", (struct sluice_create) { 0 }));
	memset(&i, GARBAGE, sizeof(i));
	i.size = offsetof(struct sluice_info, nbufs);
	strcpy(i.name, "t");
	EXPECT_EQ(0, control(SLUICE_IOC_INFO, &i));
	EXPECT_EQ(NSLOTS, i.nslots);
	EXPECT_EQ(0xccccccccu, i.nbufs);
	EXPECT_EQ(offsetof(struct sluice_info, nbufs), i.size);
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
}

TEST(endpoints)
{
	struct sluice_endpoint_info e;
	u64 ticket, token;
	struct ends r;

	ASSERT_EQ(0, ends_make(&r, (struct sluice_create) { 0 }, SLUICE_ATTACH_SOLE));
	ASSERT_EQ(0, endpoint_info("t", 0, &e));
	EXPECT_EQ(r.out.index, e.index);
	EXPECT_EQ(r.out.id, e.id);
	EXPECT_EQ(SLUICE_PRODUCER, e.role);
	EXPECT_EQ(SLUICE_ATTACH_SOLE, e.flags);
	EXPECT_EQ(getpid(), e.pid);
	EXPECT_EQ(0, e.held);
	EXPECT_EQ(0, e.parked);
	EXPECT_EQ(0, strncmp(e.comm, "kmod_info", sizeof(e.comm)));
	EXPECT_EQ(0, e.counters.messages);

	ASSERT_EQ(0, end_send(&r.out, "x", NULL));
	ASSERT_EQ(0, end_claim(&r.in, &ticket, &token));
	r.in.control->endpoint[r.in.index].messages = 5;
	ASSERT_EQ(0, endpoint_info("t", r.out.index + 1, &e));
	EXPECT_EQ(r.in.index, e.index);
	EXPECT_EQ(SLUICE_CONSUMER, e.role);
	EXPECT_EQ(1, e.held);
	EXPECT_EQ(5, e.counters.messages);
	EXPECT_EQ(-ENOENT, endpoint_info("t", r.in.index + 1, &e));
	EXPECT_EQ(-ENOENT, endpoint_info("t", 0xffffffffu, &e));

	/* The gone are not listed, and a new one begins with counters of its own. */
	end_close(&r.in);
	AWAIT_STATE("t", 100, .producers = 1, .sole = 1, .ready = 1, .redelivered = 1,
		    .deaths = 1);
	EXPECT_EQ(-ENOENT, endpoint_info("t", r.out.index + 1, &e));
	ASSERT_EQ(0, end_make(&r.in, "t", SLUICE_CONSUMER, 0));
	ASSERT_EQ(0, endpoint_info("t", r.out.index + 1, &e));
	EXPECT_EQ(0, e.counters.messages);
	EXPECT_EQ(0, ends_close(&r));
}

/* By their place, which is not the order in which they came. */
TEST(endpoints_by_place)
{
	struct sluice_endpoint_info e;
	struct end third;
	struct ends r;

	ASSERT_EQ(0, ends_make(&r, (struct sluice_create) { 0 }, 0));
	end_close(&r.out);
	ASSERT_EQ(0, end_make(&third, "t", SLUICE_CONSUMER, 0));
	EXPECT_LT(third.index, r.in.index);
	EXPECT_GT(third.id, r.in.id);
	ASSERT_EQ(0, endpoint_info("t", 0, &e));
	EXPECT_EQ(third.id, e.id);
	ASSERT_EQ(0, endpoint_info("t", e.index + 1, &e));
	EXPECT_EQ(r.in.id, e.id);
	end_close(&third);
	EXPECT_EQ(0, ends_close(&r));
}

/* Health comes from who is attached and what waits. */
TEST(health)
{
	struct sluice_info i;
	struct ends r;

	ASSERT_EQ(0, ends_make(&r, (struct sluice_create) { .ack_timeout_ms = 50 }, 0));
	ASSERT_EQ(0, stage_info("t", &i));
	EXPECT_EQ(SLUICE_LIVE, i.health);
	ASSERT_EQ(0, end_send(&r.out, "x", NULL));
	ASSERT_EQ(0, stage_info("t", &i));
	EXPECT_EQ(SLUICE_LIVE, i.health);
	sleep_ms(100);
	ASSERT_EQ(0, stage_info("t", &i));
	EXPECT_EQ(SLUICE_STALLED, i.health);
	EXPECT_GE(i.oldest_age_ns, 50ull * MS);
	EXPECT_LT(i.oldest_age_ns, 60ull * SECOND);
	end_close(&r.in);
	sleep_ms(20);
	ASSERT_EQ(0, stage_info("t", &i));
	EXPECT_EQ(SLUICE_NO_CONSUMER, i.health);
	EXPECT_EQ(0, ends_close(&r));
}

/* Memory is counted when it is touched. */
TEST(memory)
{
	struct sluice_info before, after;
	struct ends r;

	ASSERT_EQ(0, ends_make(&r, (struct sluice_create) { .nbufs = 8, .bufsize = 65536 }, 0));
	ASSERT_EQ(0, stage_info("t", &before));
	memset(r.out.payload, 1, 3 * PAGE);
	ASSERT_EQ(0, stage_info("t", &after));
	EXPECT_EQ(before.bytes_resident + 3 * PAGE, after.bytes_resident);
	EXPECT_EQ(1, r.in.payload[PAGE]);
	EXPECT_EQ(0, ends_close(&r));
}

TEST_HARNESS_MAIN
