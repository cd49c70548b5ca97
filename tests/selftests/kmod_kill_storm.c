// SPDX-License-Identifier: MIT
/* Description: producers and consumers killed all the time: no published message is lost */
#include "kmod_process.h"
#include "kmod_uring.h"
#include "../history/history.h"

#define PRODUCERS	3u
#define CONSUMERS	3u
#define MESSAGES	30000u	/* at most, of each producer */
#define EVENTS		(8 * MESSAGES)
#define STORM_MS	3000

/* Logs 0.. are the producers', then the consumers', the last one the parent's. */
#define PARENT		(PRODUCERS + CONSUMERS)

/* What a producer has begun, for its successor, which does not send it again. */
struct shared {
	u32 begun[PRODUCERS];
};

static void note(struct history *h, u32 log, enum history_what what, u64 stream, u64 counter,
		 u64 ticket)
{
	history_add(h, log, (struct history_event) {
		.what = what, .stream = stream, .counter = counter, .ticket = ticket,
	});
}

static void note_claim(struct history *h, u32 log, enum history_what what, u64 stream, u64 counter,
		       u64 ticket, u64 token)
{
	history_add(h, log, (struct history_event) {
		.what = what, .stream = stream, .counter = counter, .ticket = ticket,
		.attempt = (u16)slot_attempt(token),
	});
}

static void produce(struct shared *sh, struct history *h, u32 who)
{
	struct end out;
	u32 n;

	CHILD_EXPECT(!end_make(&out, "t", SLUICE_PRODUCER, 0));
	history_add(h, who, (struct history_event) { .what = HISTORY_START, .id = out.id });
	for (n = sh->begun[who]; n < MESSAGES; n++) {
		u64 t;
		u32 buf = SLUICE_NO_BUFFER;
		int err;

		sh->begun[who] = n + 1;
		note(h, who, HISTORY_SEND, who, n, 0);
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
		if (!(n % 16))
			usleep(200);	/* so that the end often comes here */
		/* put out for being slow: it was not published, and nothing is promised */
		if (slot_publish(end_word(&out, t), ticket_lap(t, out.order), out.id) != SLOT_OK)
			_exit(0);
		note(h, who, HISTORY_SENT, who, n, t);
		sl_fence();
		if (sl_load(&out.hints->ready_sleepers))
			end_kick(&out, SLUICE_KICK_READY);
	}
	_exit(0);
}

/* The message of a claim: compared, worked on, acknowledged. */
static void consume_one(struct history *h, u32 log, struct end *in, u64 t, u64 token)
{
	struct sluice_slot *slot = end_slot(in, t);
	u64 stream = slot->stream, counter = slot->counter;
	u32 n;

	memcpy(&n, slot->buf == SLUICE_NO_BUFFER ? (void *)slot->data :
	       (void *)(in->payload + (size_t)slot->buf % in->nbufs * in->bufsize), sizeof(n));
	note_claim(h, log, HISTORY_DELIVERED, stream, counter, t, token);
	if (!(n % 16))
		usleep(200);
	if (!slot_holds(&slot->word, token))
		return;		/* too late: another has it */
	if (n != counter)
		note_claim(h, log, HISTORY_CORRUPT, stream, counter, t, token);
	note_claim(h, log, HISTORY_ACK, stream, counter, t, token);
	note_claim(h, log, end_ack(in, t, token) == -ESTALE ? HISTORY_STALE : HISTORY_ACKED,
		   stream, counter, t, token);
}

static void consume(struct history *h, u32 log)
{
	struct io_uring ring;
	struct end in;
	u64 t, token;

	CHILD_EXPECT(!io_uring_queue_init(4, &ring, 0));
	CHILD_EXPECT(!end_make(&in, "t", SLUICE_CONSUMER, 0));
	history_add(h, log, (struct history_event) { .what = HISTORY_START, .id = in.id });
	for (;;) {
		while (end_claim(&in, &t, &token)) {
			if (log % 2) {
				command_wait(&ring, &in, SLUICE_WAIT_READY, in.cursor, 1);
				CHILD_EXPECT(submit_one(&ring) == 0);
			} else {
				end_wait(&in, SLUICE_WAIT_READY, in.cursor, -1);
			}
		}
		history_add(h, log, (struct history_event) {
			.what = HISTORY_GENERATION, .value = in.generation,
		});
		consume_one(h, log, &in, t, token);
	}
}

static int start(struct child *c, struct shared *sh, struct history *h, u32 i)
{
	if (child_start(c))
		return c->pid < 0 ? -1 : 0;
	if (i < PRODUCERS)
		produce(sh, h, i);
	consume(h, i);
	_exit(1);
}

/* One that ended by itself has found something wrong, unless it had sent everything. */
static int end_one(struct child *c, struct history *h, u32 i)
{
	int status;

	history_add(h, PARENT, (struct history_event) { .what = HISTORY_KILL, .value = i });
	kill(c->pid, SIGKILL);
	status = child_wait(c);
	return status == 256 + SIGKILL || !status ? 0 : -EPROTO;
}

static void note_left(struct history *h, u64 n)
{
	history_add(h, PARENT, (struct history_event) { .what = HISTORY_LEFT, .value = n });
}

TEST(storm)
{
	struct shared *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct child c[PRODUCERS + CONSUMERS];
	const struct history_rules rules = { 0 };
	struct history_result found;
	const char *given = getenv("SLUICE_TEST_SEED");
	u64 deadline, seed = given ? strtoull(given, NULL, 0) | 1 : now_ns() | 1;
	struct history *h;
	struct state is;
	u32 i;

	ASSERT_NE(MAP_FAILED, (void *)sh);
	ASSERT_EQ(0, history_create(&h, NULL, PARENT + 1, EVENTS));
	ASSERT_EQ(0, stage_create("t", (struct sluice_create) {
		.nbufs = 16, .bufsize = PAGE, .max_attempts = 254, .ack_timeout_ms = 10000,
	}));
	for (i = 0; i < ARRAY_SIZE(c); i++)
		ASSERT_EQ(0, start(&c[i], sh, h, i));
	printf("# seed %llu; again: SLUICE_TEST_SEED=%llu tests/selftests/run kmod_kill_storm\n",
	       seed, seed);
	for (deadline = now_ns() + STORM_MS * MS; now_ns() < deadline;) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		usleep((useconds_t)(seed % 20000));
		i = (u32)(seed >> 32) % ARRAY_SIZE(c);
		ASSERT_EQ(0, end_one(&c[i], h, i)) TH_LOG("process %u", i);
		ASSERT_EQ(0, start(&c[i], sh, h, i));
	}
	for (i = 0; i < PRODUCERS; i++)
		ASSERT_EQ(0, end_one(&c[i], h, i));
	/* what is left is worked off by the living, who may be asleep */
	deadline = now_ns() + scaled(10000) * MS;
	do {
		sleep_ms(5);
		ASSERT_EQ(0, state_get("t", &is));
	} while ((is.ready || is.claimed || is.writing) && now_ns() < deadline);
	for (i = PRODUCERS; i < ARRAY_SIZE(c); i++)
		ASSERT_EQ(0, end_one(&c[i], h, i));
	ASSERT_EQ(0, state_get("t", &is));
	note_left(h, is.ready + is.claimed + is.writing + is.dead + is.queued);
	note_left(h, is.buffers);
	note_left(h, is.producers + is.consumers);
	ASSERT_EQ(0, history_check(h, &rules, &found));
	history_print(&found);
	EXPECT_EQ(0, found.nfound);
	EXPECT_GT(found.sent, 100);
	EXPECT_GT(found.again, 0);
	EXPECT_EQ(0, is.dead_letters);
	EXPECT_EQ(0, is.lies);
	EXPECT_LE(is.discarded, is.deaths);
	history_result_free(&found);
	history_close(h);
	EXPECT_EQ(0, stage_destroy("t", 0, 0));
}

TEST_HARNESS_MAIN
