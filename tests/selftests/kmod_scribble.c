// SPDX-License-Identifier: MIT
/* Description: lengths, buffers and words that change while the kernel reads them */
#include <sched.h>

#include "kmod_process.h"

#define ROUNDS	(scaled(1) > 1 ? 3000u : 10000u)

FIXTURE(both)
{
	struct ends r;
	int from, to;	/* without mappings, without blocking */
};

/* A length that was checked and one that overruns every array, in turn, at every slot. */
static void lengths(struct end *e, u64 *seed)
{
	u32 i;

	for (i = 0; i < NSLOTS; i++) {
		struct sluice_slot *slot = end_slot(e, i);

		__atomic_store_n(&slot->len, 3, __ATOMIC_RELAXED);
		__atomic_store_n(&slot->len, 0x7fff0000u, __ATOMIC_RELAXED);
		__atomic_store_n(&slot->len, 5, __ATOMIC_RELAXED);
	}
}

/* The same for the buffer. */
static void buffers(struct end *e, u64 *seed)
{
	u32 i;

	for (i = 0; i < NSLOTS; i++) {
		struct sluice_slot *slot = end_slot(e, i);

		__atomic_store_n(&slot->buf, i % 4, __ATOMIC_RELAXED);
		__atomic_store_n(&slot->buf, 0x40000000u + i, __ATOMIC_RELAXED);
		__atomic_store_n(&slot->buf, SLUICE_NO_BUFFER, __ATOMIC_RELAXED);
	}
}

/* xorshift: the same nonsense every time */
static u64 next(u64 *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void words(struct end *e, u64 *seed)
{
	u32 i = next(seed) % NSLOTS;
	u64 lap = next(seed) % 4, owner = next(seed) % 4, attempt = next(seed) % 256;

	sl_store_release(end_word(e, i), slot_word(lap, owner, attempt,
						   (enum slot_state)(next(seed) % 8)));
}

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.nbufs = 4, .bufsize = PAGE, .ack_timeout_ms = 20, .write_timeout_ms = 60000,
		.dead_slots = 4, .max_attempts = 2,
	}, 0));
	self->from = stage_open("t", O_RDWR | O_NONBLOCK);
	self->to = stage_open("t", O_WRONLY | O_NONBLOCK);
	ASSERT_GE(self->from, 0);
	ASSERT_GE(self->to, 0);
}

FIXTURE_TEARDOWN(both)
{
	close(self->from);
	close(self->to);
	EXPECT_EQ(0, ends_close(&self->r));
}

/* The scheduler of a small kernel may let both share a processor for long. */
static void run_on(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* A process of its own: threads of one process do not run at the same time everywhere. */
static int scribbler(struct child *c, void (*scribble)(struct end *, u64 *))
{
	u64 seed = 1;
	struct end e;

	if (child_start(c))
		return c->pid < 0 ? -1 : 0;
	CHILD_EXPECT(!end_make(&e, "t", SLUICE_PRODUCER, 0));
	run_on(1);
	say(c, 1);
	for (;;)
		scribble(&e, &seed);
}

/*
 * Written and read by system calls while somebody scribbles: what is read has a length that was
 * possible; the kernel's log is looked at afterwards. Returns how many reads got a message.
 */
static int race(int from, int to, u32 *bad)
{
	char text[PAGE];
	u32 i, n = 0;

	run_on(0);
	for (i = 0; i < ROUNDS; i++) {
		long len = write(to, "abc", 3);

		if (len < 0 && errno != EAGAIN && errno != EBADMSG)
			(*bad)++;
		len = read(from, text, sizeof(text));
		if (len > PAGE ||
		    (len < 0 && errno != EAGAIN && errno != EBADMSG && errno != EMSGSIZE))
			(*bad)++;
		n += len >= 0;
	}
	return (int)n;
}

static const struct {
	const char *name;
	void (*scribble)(struct end *e, u64 *seed);
} kinds[] = { { "lengths", lengths }, { "buffers", buffers }, { "words", words } };

/* Afterwards the stage may be spoilt; a repair puts it back to work. */
TEST_F(both, while_the_kernel_reads)
{
	struct sluice_repair repair = { .size = sizeof(repair), .name = "t" };
	struct sluice_info info;
	struct ends again;
	struct child c = { 0 };
	u64 ticket, token;
	u32 i, bad = 0;
	int n;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		ASSERT_EQ(0, scribbler(&c, kinds[i].scribble));
		ASSERT_EQ(1, hear(&c));
		n = race(self->from, self->to, &bad);
		EXPECT_EQ(0, child_kill(&c));
		ASSERT_EQ(0, stage_info("t", &info));
		printf("# %s: %d of %u reads got a message, %llu lies so far\n", kinds[i].name, n,
		       ROUNDS, info.lies);
		EXPECT_EQ(0, bad);
	}
	EXPECT_GT(info.lies, 0);
	ASSERT_EQ(0, control(SLUICE_IOC_REPAIR, &repair));
	ASSERT_EQ(0, end_make(&again.out, "t", SLUICE_PRODUCER, 0));
	ASSERT_EQ(0, end_make(&again.in, "t", SLUICE_CONSUMER, 0));
	while (!end_claim(&again.in, &ticket, &token))
		EXPECT_EQ(0, end_ack(&again.in, ticket, token));
	EXPECT_EQ(0, end_send(&again.out, "x", NULL));
	EXPECT_EQ(0, end_take_text(&again.in, "x"));
	end_close(&again.out);
	end_close(&again.in);
}

TEST_HARNESS_MAIN
