// SPDX-License-Identifier: MIT
/* Description: read(2) finds its way in a ring that is far ahead of it, and can always be killed */
#include "kmod_process.h"

#define SOON	scaled(10000)
#define READERS	6			/* more than processors */
#define LAPS	(1ull << SLOT_LAP_BITS)

FIXTURE(far)
{
	struct ends r;
	int fd;				/* read from, without a mapping */
};

FIXTURE_SETUP(far)
{
	char byte;

	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) { 0 }, 0));
	end_close(&self->r.in);
	self->fd = stage_open("t", O_RDWR | O_NONBLOCK);
	ASSERT_GE(self->fd, 0);
	EXPECT_EQ(-1, read(self->fd, &byte, 1));
	EXPECT_EQ(EAGAIN, errno);
}

FIXTURE_TEARDOWN(far)
{
	close(self->fd);
	EXPECT_EQ(0, ends_close(&self->r));
}

/* As if @lap laps had gone through the ring. */
static void move_to(struct end *e, u64 lap)
{
	u32 i;

	for (i = 0; i < e->nslots; i++)
		*end_word(e, i) = slot_free(lap);
	sl_fence();
	e->control->tail = ticket_of(lap, 0, e->order);
}

/* Who was away while others went on does not say that there is nothing. */
TEST_F_TIMEOUT(far, after_a_million_laps, 120)
{
	char got[8] = { 0 };
	u64 lap;

	for (lap = 1000; lap < 10000000; lap *= 10) {
		move_to(&self->r.out, lap);
		ASSERT_EQ(0, end_send(&self->r.out, "next", NULL));
		EXPECT_EQ(4, read(self->fd, got, sizeof(got))) TH_LOG("lap %llu", lap);
		EXPECT_STREQ("next", got);
		EXPECT_EQ(-1, read(self->fd, got, sizeof(got)));
		EXPECT_EQ(EAGAIN, errno);
	}
}

/* One that sleeps, too. */
static int reader(struct child *c)
{
	char got[8];
	ssize_t n;
	int fd;

	if (child_start(c))
		return c->pid < 0 ? -ECHILD : 0;
	fd = stage_open("t", O_RDWR);
	CHILD_EXPECT(fd >= 0);
	say(c, 1);
	n = read(fd, got, sizeof(got));
	tell_and_pause(c, (u64)n);
	_exit(0);
}

static bool sleepers_within(const struct end *e, u32 n, unsigned int ms)
{
	u64 deadline = now_ns() + (u64)ms * MS;

	while (sl_load(&e->hints->ready_sleepers) != n && now_ns() < deadline)
		sleep_ms(1);
	return sl_load(&e->hints->ready_sleepers) == n;
}

/* The half of all laps that counts as newer: it goes there, and sleeps there. */
TEST_F_TIMEOUT(far, sleeps_again, 300)
{
	struct end *out = &self->r.out;
	struct child c = { 0 };

	ASSERT_EQ(0, reader(&c));
	ASSERT_EQ(1, hear(&c));
	ASSERT_TRUE(sleepers_within(out, 1, SOON));
	move_to(out, 1ull << 34);
	EXPECT_EQ(0, end_kick(out, SLUICE_KICK_READY));
	sleep_ms(scaled(200));
	EXPECT_TRUE(sleepers_within(out, 1, SOON));
	sleep_ms(scaled(200));
	EXPECT_TRUE(sleepers_within(out, 1, SOON));
	ASSERT_EQ(0, end_send(out, "next", NULL));
	EXPECT_EQ(4, hear(&c));
	EXPECT_EQ(0, child_kill(&c));
}

/* Words each of which is newer than the one before, in a circle: there is no end to it. */
static void make_circle(struct end *e)
{
	u32 i;

	for (i = 0; i < e->nslots; i++)
		*end_word(e, i) = slot_free(i % 4 * (LAPS / 4));
}

static int kill_all(struct child *c, int n)
{
	u64 begun = now_ns();
	int i, err = 0;

	for (i = 0; i < n; i++)
		kill(c[i].pid, SIGKILL);
	for (i = 0; i < n; i++)
		err |= child_wait(&c[i]) != 256 + SIGKILL;
	return err ? -ECHILD : now_ns() - begun < SOON * MS ? 0 : -ETIMEDOUT;
}

/* They turn round for as long as they live, but the machine goes on, and they can be killed. */
TEST_F_TIMEOUT(far, without_end, 300)
{
	struct end *out = &self->r.out;
	struct child c[READERS];
	u64 begun;
	char byte;
	int i;

	for (i = 0; i < READERS; i++) {
		ASSERT_EQ(0, reader(&c[i]));
		ASSERT_EQ(1, hear(&c[i]));
	}
	ASSERT_TRUE(sleepers_within(out, READERS, SOON));
	make_circle(out);
	begun = now_ns();
	EXPECT_EQ(0, end_kick(out, SLUICE_KICK_READY));
	/* who must not block comes back */
	EXPECT_EQ(-1, read(self->fd, &byte, 1));
	EXPECT_EQ(EAGAIN, errno);
	sleep_ms(scaled(200));
	EXPECT_EQ(0, kill_all(c, READERS));
	EXPECT_LT(now_ns() - begun, SOON * MS + scaled(200) * MS);
	move_to(out, 7);
	EXPECT_EQ(0, end_send(out, "x", NULL));
}

FIXTURE(large) { };
FIXTURE_SETUP(large) { }
FIXTURE_TEARDOWN(large) { }

/* Of a large ring each walk is long, and who polls takes several: it can be killed in each. */
TEST_F_TIMEOUT(large, polls_a_circle, 300)
{
	struct child c = { 0 };
	struct end out;
	char byte;

	ASSERT_EQ(0, stage_create("t", (struct sluice_create) { .nslots = 1u << 18 }));
	ASSERT_EQ(0, end_make(&out, "t", SLUICE_PRODUCER, 0));
	make_circle(&out);
	if (!child_start(&c)) {
		struct pollfd p = { .events = POLLIN };

		p.fd = stage_open("t", O_RDWR | O_NONBLOCK);
		CHILD_EXPECT(p.fd >= 0);
		CHILD_EXPECT(poll(&p, 1, 0) >= 0);
		say(&c, 1);
		for (;;)
			CHILD_EXPECT(read(p.fd, &byte, 1) == -1);
	}
	ASSERT_EQ(1, hear(&c));
	sleep_ms(scaled(300));
	EXPECT_EQ(0, kill_all(&c, 1));
	end_close(&out);
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
}

TEST_HARNESS_MAIN
