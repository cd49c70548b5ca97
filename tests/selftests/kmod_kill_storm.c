// SPDX-License-Identifier: MIT
/* Description: producers and consumers killed all the time: no published message is lost */
#include "kmod_process.h"
#include "kmod_uring.h"

#define PRODUCERS	3u
#define CONSUMERS	3u
#define MESSAGES	2000000u	/* at most, of each producer */
#define STORM_MS	3000

/* What each process says of itself, in memory that outlives it. */
struct shared {
	u32 sent[PRODUCERS];			/* published so many, that is certain */
	u32 begun[PRODUCERS];			/* and tried so many */
	unsigned char seen[PRODUCERS][MESSAGES];
	u64 claims, redelivered;
};

static void produce(struct shared *sh, u32 who)
{
	struct end out;
	u32 n;

	CHILD_EXPECT(!end_make(&out, "t", SLUICE_PRODUCER, 0));
	for (n = sh->begun[who]; n < MESSAGES; n++) {
		u64 t;
		u32 buf = SLUICE_NO_BUFFER;
		int err;

		while ((err = end_reserve(&out, &t)) == -EAGAIN)
			end_wait(&out, SLUICE_WAIT_ROOM, sl_load(&out.control->tail), 20 * MS);
		CHILD_EXPECT(!err);
		if (!(n % 4) && end_take(&out, &buf))
			buf = SLUICE_NO_BUFFER;
		end_fill(&out, t, &n, sizeof(n), buf);
		if (buf != SLUICE_NO_BUFFER)
			CHILD_EXPECT(buf_send(end_buffer(&out, buf), out.id, t) == SLOT_OK);
		end_slot(&out, t)->stream = who;
		end_slot(&out, t)->counter = n;
		__atomic_store_n(&sh->begun[who], n + 1, __ATOMIC_SEQ_CST);
		if (!(n % 64))
			usleep(200);	/* so that the end often comes here */
		/* put out for being slow: it was not published, and nothing is promised */
		if (slot_publish(end_word(&out, t), ticket_lap(t, out.order), out.id) != SLOT_OK)
			_exit(0);
		__atomic_store_n(&sh->sent[who], n + 1, __ATOMIC_SEQ_CST);
		sl_fence();
		if (sl_load(&out.hints->ready_sleepers))
			end_kick(&out, SLUICE_KICK_READY);
	}
	_exit(0);
}

static void consume(struct shared *sh, u32 who)
{
	struct io_uring ring;
	struct end in;
	u64 t, token;

	CHILD_EXPECT(!io_uring_queue_init(4, &ring, 0));
	CHILD_EXPECT(!end_make(&in, "t", SLUICE_CONSUMER, 0));
	for (;;) {
		struct sluice_slot *slot;
		u64 stream, counter;
		u32 n;

		while (end_claim(&in, &t, &token)) {
			if (who % 2) {
				command_wait(&ring, &in, SLUICE_WAIT_READY, in.cursor, 1);
				CHILD_EXPECT(submit_one(&ring) == 0);
			} else {
				end_wait(&in, SLUICE_WAIT_READY, in.cursor, -1);
			}
		}
		slot = end_slot(&in, t);
		stream = slot->stream;
		counter = slot->counter;
		memcpy(&n, slot->buf == SLUICE_NO_BUFFER ? (void *)slot->data :
		       (void *)(in.payload + (size_t)slot->buf % in.nbufs * in.bufsize), sizeof(n));
		__atomic_fetch_add(&sh->claims, 1, __ATOMIC_RELAXED);
		if (slot_attempt(token) > 1)
			__atomic_fetch_add(&sh->redelivered, 1, __ATOMIC_RELAXED);
		if (!(n % 64))
			usleep(200);
		if (!slot_holds(&slot->word, token))
			continue;	/* too late: another has it */
		CHILD_EXPECT(stream < PRODUCERS && counter < MESSAGES && n == counter);
		__atomic_fetch_add(&sh->seen[stream][counter], 1, __ATOMIC_SEQ_CST);
		end_ack(&in, t, token);
	}
}

static int start(struct child *c, struct shared *sh, u32 i)
{
	if (child_start(c))
		return c->pid < 0 ? -1 : 0;
	if (i < PRODUCERS)
		produce(sh, i);
	consume(sh, i - PRODUCERS);
	_exit(1);
}

/* One that ended by itself has found something wrong, unless it had sent everything. */
static int end_one(struct child *c)
{
	int status;

	kill(c->pid, SIGKILL);
	status = child_wait(c);
	return status == 256 + SIGKILL || !status ? 0 : -EPROTO;
}

TEST(storm)
{
	struct shared *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct child c[PRODUCERS + CONSUMERS];
	u64 deadline, total = 0, kills = 0, seed = now_ns() | 1;
	struct state is;
	u32 i, n, lost = 0, twice = 0;

	ASSERT_NE(MAP_FAILED, (void *)sh);
	ASSERT_EQ(0, stage_create("t", (struct sluice_create) {
		.nbufs = 16, .bufsize = PAGE, .max_attempts = 254, .ack_timeout_ms = 10000,
	}));
	for (i = 0; i < ARRAY_SIZE(c); i++)
		ASSERT_EQ(0, start(&c[i], sh, i));
	printf("# seed %llu\n", seed);
	for (deadline = now_ns() + STORM_MS * MS; now_ns() < deadline; kills++) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		usleep((useconds_t)(seed % 20000));
		i = (u32)(seed >> 32) % ARRAY_SIZE(c);
		ASSERT_EQ(0, end_one(&c[i])) TH_LOG("process %u", i);
		ASSERT_EQ(0, start(&c[i], sh, i));
	}
	for (i = 0; i < PRODUCERS; i++)
		ASSERT_EQ(0, end_one(&c[i]));
	/* what is left is worked off by the living, who may be asleep */
	deadline = now_ns() + scaled(10000) * MS;
	do {
		sleep_ms(5);
		ASSERT_EQ(0, state_get("t", &is));
	} while ((is.ready || is.claimed || is.writing) && now_ns() < deadline);
	for (i = PRODUCERS; i < ARRAY_SIZE(c); i++)
		ASSERT_EQ(0, end_one(&c[i]));
	for (i = 0; i < PRODUCERS; i++) {
		total += sh->sent[i];
		for (n = 0; n < sh->begun[i]; n++) {
			/* the last one before each death may or may not have been published */
			lost += !sh->seen[i][n];
			twice += sh->seen[i][n] > 1;
		}
	}
	printf("# %llu kills, %llu messages, %llu claims, %llu again, %u worked twice, %u of the dead\n",
	       kills, total, sh->claims, sh->redelivered, twice, lost);
	ASSERT_EQ(0, state_get("t", &is));
	EXPECT_EQ(0, is.ready + is.claimed + is.writing + is.dead + is.queued);
	EXPECT_EQ(0, is.buffers);
	EXPECT_EQ(0, is.producers + is.consumers);
	EXPECT_EQ(0, is.dead_letters);
	EXPECT_EQ(0, is.lies);
	/* a producer's death costs the message that it was writing, which it never promised */
	EXPECT_LE(lost, is.discarded);
	EXPECT_LE(is.discarded, is.deaths);
	EXPECT_GT(total, 100);
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
}

TEST_HARNESS_MAIN
