// SPDX-License-Identifier: MIT
/* Description: repair puts a scribbled stage back to work and keeps what still makes sense */
#include <grp.h>

#include "kmod_process.h"
#include "text_file.h"
#include "kmod_uring.h"

#define BUFFERS		16
#define WAITING		20u	/* messages in the ring when it is spoilt */
#define ROUNDS		60

FIXTURE(spoilt)
{
	struct ends r;
	u64 first;		/* ticket of the first message that waits */
	unsigned int seed;
};

/* A few laps, so that laps mean something; then every third message that waits has a buffer. */
static int fill(struct ends *r, u64 *first)
{
	u64 ticket = 0;
	u32 i, buf;
	int err = 0;

	for (i = 0; i < 3 * NSLOTS + 5 && !err; i++)
		err = end_send(&r->out, "x", NULL) ?: end_take_text(&r->in, "x");
	for (i = 0; i < WAITING && !err; i++) {
		char text[16];

		snprintf(text, sizeof(text), "m%u", i);
		err = i % 3 ? end_send(&r->out, text, &ticket) :
			      end_send_buffer(&r->out, text, &ticket, &buf);
		if (!i)
			*first = ticket;
	}
	return err;
}

FIXTURE_SETUP(spoilt)
{
	const char *seed = getenv("SLUICE_TEST_SEED");

	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.nbufs = BUFFERS, .bufsize = PAGE, .dead_slots = 8,
	}, 0));
	ASSERT_EQ(0, fill(&self->r, &self->first));
	self->seed = seed ? (unsigned int)atoi(seed) : 1;
}

FIXTURE_TEARDOWN(spoilt)
{
	end_close(&self->r.out);
	end_close(&self->r.in);
	EXPECT_EQ(0, stage_destroy("t", 0, SLUICE_DESTROY_FORCE));
}

static int repair(const char *name, struct sluice_repair *r)
{
	memset(r, 0, sizeof(*r));
	r->size = sizeof(*r);
	snprintf(r->name, sizeof(r->name), "%s", name);
	return control(SLUICE_IOC_REPAIR, r);
}

static int attach_again(struct ends *r)
{
	end_close(&r->out);
	end_close(&r->in);
	return end_make(&r->out, "t", SLUICE_PRODUCER, 0) ?:
	       end_make(&r->in, "t", SLUICE_CONSUMER, 0);
}

/* Whatever waits, in ticket order; how many. */
static int drain(struct end *in)
{
	u64 ticket, token, last = 0;
	int n = 0;

	while (!end_claim(in, &ticket, &token)) {
		if (n && ticket_diff(ticket, last, in->order) <= 0)
			return -EILSEQ;
		last = ticket;
		if (end_ack(in, ticket, token))
			return -ESTALE;
		n++;
	}
	return n;
}

/* Two full laps through every slot and every buffer. */
static int works(struct ends *r)
{
	u32 i, lap, buf;
	u64 ticket;
	int err = 0;

	for (lap = 0; lap < 2 && !err; lap++) {
		for (i = 0; i < NSLOTS && !err; i++)
			err = i < BUFFERS ? end_send_buffer(&r->out, "new", &ticket, &buf) :
					    end_send(&r->out, "new", &ticket);
		if (!err && end_send(&r->out, "one too many", NULL) != -EAGAIN)
			err = -EOVERFLOW;
		for (i = 0; i < NSLOTS && !err; i++)
			err = end_take_text(&r->in, "new");
	}
	return err;
}

TEST_F(spoilt, what_is_sound_stays)
{
	struct sluice_repair r;
	char text[16];
	u32 i;

	ASSERT_EQ(0, repair("t", &r));
	EXPECT_EQ(2, r.evicted);
	EXPECT_EQ(0, r.slots_reset);
	EXPECT_EQ(0, r.slots_reaped);
	EXPECT_EQ(0, r.messages_dead);
	EXPECT_EQ(0, r.buffers_freed);
	ASSERT_EQ(0, attach_again(&self->r));
	for (i = 0; i < WAITING; i++) {
		snprintf(text, sizeof(text), "m%u", i);
		EXPECT_EQ(0, end_take_text(&self->r.in, text));
	}
	EXPECT_EQ(0, works(&self->r));
	EXPECT_STATE("t", BOTH, .deaths = 2 + 0, .evictions = 2);
}

/* In the first lap, what was not used yet comes after what was: in a circle, not in numbers. */
TEST_F(spoilt, a_young_ring)
{
	struct sluice_repair r;
	u32 i;

	ASSERT_EQ(0, ends_close(&self->r));
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.nbufs = BUFFERS, .bufsize = PAGE,
	}, 0));
	for (i = 0; i < NSLOTS * 3 / 4; i++) {
		ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
		ASSERT_EQ(0, end_take_text(&self->r.in, "x"));
	}
	ASSERT_EQ(0, repair("t", &r));
	EXPECT_EQ(0, r.slots_reset);
	ASSERT_EQ(0, attach_again(&self->r));
	EXPECT_EQ(0, works(&self->r));
}

/* Laps from the past and the future, states that are not, a tail that lies: less than half. */
TEST_F(spoilt, a_minority_cannot_move_the_rest)
{
	static const int at[] = { 2, 3, 5, 7, 8, 11, 13, -1, -2, -9, -20, -33 };
	struct end *e = &self->r.out;
	u64 lap = ticket_lap(self->first, e->order);
	struct sluice_repair r;
	char text[16];
	u32 i, n;

	for (n = 0; n < sizeof(at) / sizeof(at[0]); n++) {
		u64 w = n % 3 == 0 ? slot_free(lap - 1000) :
			n % 3 == 1 ? slot_word(lap + (1ull << 35), 0, 0, SLOT_READY) :
				     slot_word(lap, 9, 9, (enum slot_state)(5 + n % 11));

		*end_word(e, ticket_add(self->first, at[n], e->order)) = w;
	}
	e->control->tail = ~0ull;
	e->control->buffer_hint = ~0ull;
	*end_buffer(e, BUFFERS - 1) = buf_word(12345, BUF_QUEUED);
	*end_buffer(e, BUFFERS - 2) = ~0ull;
	ASSERT_EQ(0, repair("t", &r));
	/* The tick may have found some of the states that do not exist. */
	EXPECT_LE(r.slots_reset, 12);
	EXPECT_GE(r.slots_reset, 8);
	EXPECT_GE(r.buffers_freed, 2);
	ASSERT_EQ(0, attach_again(&self->r));
	for (i = 0; i < WAITING; i++) {
		if (i == 2 || i == 3 || i == 5 || i == 7 || i == 8 || i == 11 || i == 13)
			continue;
		snprintf(text, sizeof(text), "m%u", i);
		EXPECT_EQ(0, end_take_text(&self->r.in, text)) TH_LOG("message %u", i);
	}
	EXPECT_EQ(0, works(&self->r));
}

/* What can be claimed but not delivered is a dead letter, not a trap. */
TEST_F(spoilt, undeliverable_messages_are_dead_letters)
{
	struct end *e = &self->r.out;
	struct sluice_info dead;
	struct sluice_repair r;
	u64 ready = slot_word(ticket_lap(self->first + 1, e->order), 0, SLOT_ATTEMPT_LAST,
			      SLOT_READY);

	*end_word(e, self->first + 1) = ready;			/* nobody could claim it */
	end_slot(e, self->first + 2)->len = 77;
	end_slot(e, self->first + 4)->buf = BUFFERS;
	end_slot(e, self->first + 5)->buf = end_slot(e, self->first)->buf;
	ASSERT_EQ(0, repair("t", &r));
	EXPECT_EQ(4, r.messages_dead);
	EXPECT_EQ(0, r.slots_reset);
	ASSERT_EQ(0, stage_info("t.dead", &dead));
	EXPECT_EQ(4, dead.ready);
	ASSERT_EQ(0, attach_again(&self->r));
	EXPECT_EQ(WAITING - 4, drain(&self->r.in));
	EXPECT_EQ(0, works(&self->r));
}

/* Random bytes over everything: nothing is promised but that it works again. */
TEST_F_TIMEOUT(spoilt, random_bytes_everywhere, 120)
{
	struct sluice_repair r;
	int round;

	TH_LOG("seed %u (SLUICE_TEST_SEED sets it)", self->seed);
	srand(self->seed);
	for (round = 0; round < ROUNDS; round++) {
		u64 *at = (u64 *)self->r.out.control;
		u64 words = self->r.out.control_bytes / sizeof(u64);
		u32 n = 1u << rand() % 12;

		while (n--) {
			u64 v = (u64)rand() << 33 ^ (u64)rand() << 16 ^ (u64)rand();

			/* some of it looks like words of this ring */
			if (rand() % 2)
				v = slot_word((u64)(rand() % 9), (u32)rand() % 4, (u32)rand() % 3,
					      (enum slot_state)(rand() % 6));
			at[(u64)rand() % words] = v;
		}
		ASSERT_EQ(0, repair("t", &r)) TH_LOG("round %d", round);
		ASSERT_EQ(0, attach_again(&self->r));
		ASSERT_LE(0, drain(&self->r.in)) TH_LOG("round %d", round);
		ASSERT_EQ(0, works(&self->r)) TH_LOG("round %d", round);
	}
}

/* What the kernel keeps for the ring is not the ring's to spoil. */
TEST_F(spoilt, the_queue_survives)
{
	struct sluice_send s = { .size = sizeof(s), .flags = SLUICE_SEND_ACCEPT };
	struct end *out = &self->r.out;
	struct sluice_repair r;
	char big[200] = "queued with a buffer";

	while (!end_send(out, "full", NULL))
		;
	s.addr = (u64)(unsigned long)big;
	s.len = sizeof(big);
	ASSERT_EQ(1, call(out->fd, SLUICE_IOC_SEND, &s));
	*end_word(out, self->first) = ~0ull;
	ASSERT_EQ(0, repair("t", &r));
	ASSERT_EQ(0, attach_again(&self->r));
	/* all but the one that was spoilt, and the one that was queued */
	EXPECT_EQ(NSLOTS - 1 + 1, drain(&self->r.in));
	EXPECT_EQ(0, works(&self->r));
}

TEST_F(spoilt, who_was_put_out_notices)
{
	struct sluice_repair r;
	u64 ticket, token;

	ASSERT_EQ(0, end_claim(&self->r.in, &ticket, &token));
	ASSERT_EQ(0, repair("t", &r));
	EXPECT_EQ(-ENOTCONN, end_kick(&self->r.in, SLUICE_KICK_ROOM));
	EXPECT_EQ(-ENOTCONN, end_nack(&self->r.in, ticket, token, 0, 0, 0));
	ASSERT_EQ(0, attach_again(&self->r));
	/* the claim went back */
	EXPECT_EQ(WAITING, drain(&self->r.in));
}

/* A sole producer that was put out cannot write any more, and is in nobody's way. */
TEST_F(spoilt, a_new_sole_producer)
{
	struct sluice_repair r;
	struct end sole;

	end_close(&self->r.out);
	ASSERT_EQ(0, end_make(&self->r.out, "t", SLUICE_PRODUCER, SLUICE_ATTACH_SOLE));
	ASSERT_EQ(0, repair("t", &r));
	ASSERT_EQ(0, end_make(&sole, "t", SLUICE_PRODUCER, SLUICE_ATTACH_SOLE));
	end_close(&sole);
}

static int repair_as(struct child *c, u32 uid, int fd, int want)
{
	struct sluice_repair r = { .size = sizeof(r), .name = "t" };

	if (!child_start(c)) {
		CHILD_EXPECT(!setgroups(0, NULL) && !setresgid(uid, uid, uid));
		CHILD_EXPECT(!setresuid(uid, uid, uid));
		CHILD_EXPECT(call(fd, SLUICE_IOC_REPAIR, &r) == want);
		_exit(0);
	}
	return child_wait(c);
}

TEST_F(spoilt, bad_calls)
{
	struct sluice_repair r = { .size = sizeof(r), .name = "nobody" };
	int fd = open(CONTROL, O_RDWR | O_CLOEXEC);
	struct child c = { 0 };

	ASSERT_GT(fd, 0);
	EXPECT_EQ(-ENOENT, control(SLUICE_IOC_REPAIR, &r));
	snprintf(r.name, sizeof(r.name), "t");
	r.flags = 1;
	EXPECT_EQ(-EINVAL, control(SLUICE_IOC_REPAIR, &r));
	r.flags = 0;
	r.reserved[4] = 1;
	EXPECT_EQ(-EINVAL, control(SLUICE_IOC_REPAIR, &r));
	r.reserved[4] = 0;
	EXPECT_EQ(-EACCES, control_as(O_RDONLY, SLUICE_IOC_REPAIR, &r));
	memset(r.name, 'x', sizeof(r.name));
	EXPECT_EQ(-EINVAL, control(SLUICE_IOC_REPAIR, &r));
	/* somebody else's */
	EXPECT_EQ(0, repair_as(&c, 1001, fd, -EPERM));
	EXPECT_STATE("t", BOTH, .ready = WAITING, .buffers = 7);
	close(fd);
}

/* Its slot is made anew, which looks like an ACK: whoever sent it learns that it is lost. */
TEST_F(spoilt, lost_sends_are_told)
{
	struct end *out = &self->r.out, other;
	struct sluice_send s = send_text("x", 0);
	struct sluice_repair r;
	struct io_uring ring;
	u64 tag = 0;

	/* not its endpoint's end, which would answer first */
	ASSERT_EQ(0, io_uring_queue_init(4, &ring, 0));
	command_send(&ring, out->fd, &s, 1);
	command_send(&ring, out->fd, &s, 2);
	ASSERT_EQ(2, io_uring_submit(&ring));
	*end_word(out, self->first + WAITING) = slot_free(1000);
	ASSERT_EQ(0, repair("t", &r));
	EXPECT_EQ(1, r.slots_reset);
	/* both are told, and neither that it was acknowledged */
	EXPECT_GT(0, completion(&ring, scaled(2000), &tag));
	EXPECT_GT(0, completion(&ring, scaled(2000), &tag));
	ASSERT_EQ(0, end_make(&other, "t", SLUICE_CONSUMER, 0));
	EXPECT_EQ(WAITING + 1, drain(&other));
	end_close(&other);
	io_uring_queue_exit(&ring);
}

/* Not one word that a ring could have: it goes on from where the kernel knows to have been. */
TEST_F(spoilt, no_word_is_left)
{
	struct sluice_repair r;
	u32 i;

	for (i = 0; i < NSLOTS; i++)
		*end_word(&self->r.out, i) = slot_word(i, i, i, (enum slot_state)(5 + i % 11));
	ASSERT_EQ(0, repair("t", &r));
	/* a tick in between may have found some of them */
	EXPECT_LE(r.slots_reset, NSLOTS);
	ASSERT_EQ(0, attach_again(&self->r));
	EXPECT_EQ(0, drain(&self->r.in));
	EXPECT_EQ(0, works(&self->r));
}

/* Held by nobody, given back later: sound words whose owner only has to be found out. */
TEST_F(spoilt, claims_of_nobody)
{
	struct end *in = &self->r.in;
	u64 ticket, token, t = self->first;
	struct sluice_repair r;

	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	EXPECT_EQ(0, end_nack(in, ticket, token, 0, 3600 * 1000, 0));
	*end_word(in, t + 1) = slot_word(ticket_lap(t + 1, in->order), 4711, 1, SLOT_CLAIMED);
	*end_word(in, t + 2) = slot_word(ticket_lap(t + 2, in->order), 4711, 0, SLOT_WRITING);
	*end_word(in, t + 4) = slot_word(ticket_lap(t + 4, in->order), 0, 3, SLOT_DEAD);
	ASSERT_EQ(0, repair("t", &r));
	EXPECT_EQ(0, r.slots_reset);
	/* the tick may have been faster */
	EXPECT_LE(r.slots_reaped, 2);
	EXPECT_LE(r.messages_dead, 1);
	ASSERT_EQ(0, attach_again(&self->r));
	/* without the one that waits for its time, the discarded and the dead one */
	EXPECT_EQ(WAITING - 3, drain(&self->r.in));
}

/* Its own allocations fail, one after the other: it says so, and another try does the rest. */
TEST_F(spoilt, without_memory)
{
	const char *waits = "/sys/kernel/debug/failslab/ignore-gfp-wait";
	static const char *const quiet[] = { "failslab", "fail_page_alloc", "fail_usercopy" };
	char path[64];
	unsigned int i;
	struct sluice_repair r;
	char text[16], left[16];
	int fd, err, n = 0;

	if (write_file(waits, "N"))
		SKIP(return, "this kernel has no failslab");
	for (i = 0; i < ARRAY_SIZE(quiet); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/verbose", quiet[i]);
		write_file(path, "0");
	}
	fd = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	*end_word(&self->r.out, self->first + 1) = slot_free(1000);
	do {
		memset(left, 0, sizeof(left));
		snprintf(text, sizeof(text), "%d", ++n);
		(void)!pwrite(fd, text, strlen(text), 0);
		err = repair("t", &r);
		(void)!pread(fd, left, sizeof(left) - 1, 0);
		(void)!pwrite(fd, "0", 1, 0);
		ASSERT_TRUE(!err || err == -ENOMEM || err == -EFAULT) TH_LOG("%d: %d", n, err);
	} while (n < 200 && (err || !atoi(left)));
	write_file(waits, "Y");
	close(fd);
	EXPECT_LT(n, 200);
	ASSERT_EQ(0, attach_again(&self->r));
	EXPECT_EQ(WAITING - 1, drain(&self->r.in));
	EXPECT_EQ(0, works(&self->r));
}

TEST_HARNESS_MAIN
