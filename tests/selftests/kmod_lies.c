// SPDX-License-Identifier: MIT
/* Description: nonsense in shared memory is counted and costs its own stage only */
#include "kmod_process.h"
#include "kmod_uring.h"

#define SOON	scaled(3000)

FIXTURE(both)
{
	struct ends r, other;
};

FIXTURE_SETUP(both)
{
	const struct sluice_create c = {
		.nbufs = 4, .bufsize = PAGE, .ack_timeout_ms = 100, .write_timeout_ms = 100,
		.max_attempts = 2, .dead_slots = 4, .mode = 0600,
	};

	ASSERT_EQ(0, ends_make(&self->r, c, 0));
	ASSERT_EQ(0, stage_create("u", c));
	ASSERT_EQ(0, end_make(&self->other.out, "u", SLUICE_PRODUCER, 0));
	ASSERT_EQ(0, end_make(&self->other.in, "u", SLUICE_CONSUMER, 0));
}

/* Whatever happened to "t": the neighbour is as it was, and "t" goes. */
FIXTURE_TEARDOWN(both)
{
	EXPECT_STATE("u", BOTH);
	EXPECT_EQ(0, end_send(&self->other.out, "x", NULL));
	EXPECT_EQ(0, end_take_text(&self->other.in, "x"));
	end_close(&self->other.out);
	end_close(&self->other.in);
	EXPECT_EQ(0, stage_destroy("u", 0, SLUICE_DESTROY_FORCE));
	EXPECT_EQ(0, ends_close(&self->r));
}

/* States that do not exist are put right by the tick. */
TEST_F(both, impossible_states)
{
	struct sluice_info i;
	u64 deadline = now_ns() + SOON * MS;
	unsigned int n;

	for (n = 5; n < 16; n++)
		*end_word(&self->r.out, n) = slot_word(0, n, n, (enum slot_state)n);
	/* a slot in use keeps the tick going */
	do {
		ASSERT_EQ(0, stage_info("t", &i));
		end_kick(&self->r.in, SLUICE_KICK_READY);
		sleep_ms(5);
	} while (i.lies < 11 && now_ns() < deadline);
	EXPECT_EQ(11, i.lies);
	for (n = 5; n < 16; n++)
		EXPECT_EQ(SLOT_FREE, slot_state(*end_word(&self->r.out, n)));
}

/* Owners that are nobody: their words are the kernel's to finish. */
TEST_F(both, owners_that_are_nobody)
{
	*end_word(&self->r.out, 0) = slot_word(0, 4711, 0, SLOT_WRITING);
	*end_word(&self->r.out, 1) = slot_word(0, 4711, 1, SLOT_CLAIMED);
	*end_word(&self->r.out, 2) = slot_word(0, SLOT_OWNER_KERNEL, 0, SLOT_WRITING);
	*end_word(&self->r.out, 3) = slot_word(0, SLOT_OWNER_KERNEL, 1, SLOT_CLAIMED);
	*end_word(&self->r.out, 4) = slot_word(0, 0, 3, SLOT_DEAD);
	end_kick(&self->r.in, SLUICE_KICK_READY);
	AWAIT_STATE("t", SOON, BOTH, .ready = 2, .discarded = 2, .redelivered = 2,
		    .dead_letters = 1);
}

/* No reserve makes such a word, and its owner, who lives, has nothing to do with it. */
TEST_F(both, forged_writing)
{
	*end_word(&self->r.out, 5) = slot_word(0, self->r.out.id, 3, SLOT_WRITING);
	end_kick(&self->r.in, SLUICE_KICK_READY);
	AWAIT_STATE("t", SOON, BOTH, .lies = 1);
	EXPECT_EQ(SLOT_FREE, slot_state(*end_word(&self->r.out, 5)));
}

/* Words that nobody could ever reserve or claim: who waits for them sleeps, and does not spin. */
TEST_F(both, nobody_spins)
{
	struct end *out = &self->r.out, *in = &self->r.in;
	u64 t = sl_load(&out->control->tail), ticket, token;

	*end_word(out, t) = slot_word(0, 4711, 9, SLOT_FREE);
	EXPECT_EQ(-EAGAIN, end_wait(out, SLUICE_WAIT_ROOM, t, MS));
	EXPECT_EQ(-EAGAIN, end_reserve(out, &ticket));
	*end_word(out, t) = slot_free(0);
	EXPECT_EQ(0, end_wait(out, SLUICE_WAIT_ROOM, t, 0));

	ASSERT_EQ(0, end_send(out, "forged", NULL));
	*end_word(out, t) = slot_word(0, 0, SLOT_ATTEMPT_LAST, SLOT_READY);
	ASSERT_EQ(0, end_send(out, "good", NULL));
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	EXPECT_EQ(ticket_add(t, 1, out->order), ticket);
	EXPECT_EQ(0, end_ack(in, ticket, token));
	end_kick(in, SLUICE_KICK_READY);
	AWAIT_STATE("t", SOON, BOTH, .lies = 1);
}

/* Lengths and buffers that cannot be: read(2) rejects them, and goes on to the next. */
TEST_F(both, impossible_messages)
{
	struct end *out = &self->r.out;
	static const struct { u32 len, buf; } bad[] = {
		{ 77, SLUICE_NO_BUFFER }, { 0xffffffffu, SLUICE_NO_BUFFER }, { 1, 4 },
		{ 1, 0x7fffffffu }, { PAGE + 1, 0 }, { 0xffffffffu, 3 }, { 1, 0xfffffffeu },
	};
	int fd = stage_open("t", O_RDONLY | O_NONBLOCK);
	char byte[100];
	unsigned int i;
	u64 t;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ASSERT_EQ(0, end_reserve(out, &t));
		end_fill(out, t, "x", 1, SLUICE_NO_BUFFER);
		end_slot(out, t)->len = bad[i].len;
		end_slot(out, t)->buf = bad[i].buf;
		ASSERT_EQ(0, end_publish(out, t));
	}
	ASSERT_EQ(0, end_send(out, "good", NULL));
	EXPECT_EQ(4, read(fd, byte, sizeof(byte)));
	/* once at the claim, once for the letter */
	EXPECT_STATE("t", .producers = 1, .consumers = 2, .nacks = ARRAY_SIZE(bad),
		     .dead_letters = ARRAY_SIZE(bad), .lies = 2 * ARRAY_SIZE(bad));
	EXPECT_STATE("t.dead", .ready = ARRAY_SIZE(bad), .buffers = ARRAY_SIZE(bad));
	close(fd);
}

/* Flags, kind and target are the application's: nothing follows from them. */
TEST_F(both, strange_but_harmless)
{
	struct end *out = &self->r.out;
	u64 t;

	ASSERT_EQ(0, end_reserve(out, &t));
	end_fill(out, t, "x", 1, SLUICE_NO_BUFFER);
	end_slot(out, t)->flags = 0xffff;
	end_slot(out, t)->kind = 0xffff;
	end_slot(out, t)->target = ~0ull;
	ASSERT_EQ(0, end_publish(out, t));
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
	EXPECT_STATE("t", BOTH);
}

/* The tail hint says anything: the kernel's own writers still find the ring. */
TEST_F(both, tail_hint)
{
	/* the last two are behind the kernel's own, modulo the bits of a ticket */
	static const u64 tails[] = { 5, 63, 64, 1000, 1ull << 40, ~0ull, 1ull << 63 };
	struct sluice_send s = send_text("x", SLUICE_SEND_ACCEPT);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(tails); i++) {
		self->r.out.control->tail = tails[i];
		EXPECT_EQ(0, call(self->r.out.fd, SLUICE_IOC_SEND, &s));
		EXPECT_EQ(0, end_take_text(&self->r.in, "x")) TH_LOG("tail %llu", tails[i]);
	}
	EXPECT_STATE("t", BOTH, .sends = ARRAY_SIZE(tails), .lies = 5);
}

/* Buffer words: held by nobody, sent with a ticket of the past, or of no state. */
TEST_F(both, buffer_words)
{
	struct end *out = &self->r.out;

	ASSERT_EQ(0, end_send(out, "x", NULL));
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
	*end_buffer(out, 0) = buf_word(4711, BUF_HELD);
	*end_buffer(out, 1) = buf_word(~0ull >> 2, BUF_HELD);
	*end_buffer(out, 2) = buf_word(0, BUF_SENT);
	*end_buffer(out, 3) = buf_word(1ull << 61, BUF_FREE);
	end_kick(&self->r.in, SLUICE_KICK_READY);
	AWAIT_STATE("t", SOON, BOTH);
}

/* A victim's claims and slots in another's words: one trust domain, no crash. */
TEST_F(both, forged_ownership)
{
	u32 i;

	for (i = 0; i < NSLOTS; i++)
		*end_word(&self->r.in, i) = slot_word(i % 3, i % 2 ? self->r.in.id : self->r.out.id,
						      i, i % 2 ? SLOT_CLAIMED : SLOT_WRITING);
	end_kick(&self->r.in, SLUICE_KICK_READY);
	sleep_ms(300);
	end_close(&self->r.out);
	end_close(&self->r.in);
	EXPECT_EQ(0, end_make(&self->r.out, "t", SLUICE_PRODUCER, 0));
	EXPECT_EQ(0, end_make(&self->r.in, "t", SLUICE_CONSUMER, 0));
}

/* Random words, buffers and heads under the kernel's feet while it works. */
TEST_F(both, noise)
{
	u64 seed = 88172645463325252ull, deadline, word;
	struct sluice_send s = send_text("x", SLUICE_SEND_ACCEPT);
	struct child c[3];
	unsigned int i;
	char buf[PAGE];

	for (i = 0; i < 3; i++) {
		ASSERT_GE(child_start(&c[i]), 0);
		if (!c[i].pid) {
			int fd = stage_open("t", (i ? O_WRONLY : O_RDONLY) | O_NONBLOCK);
			struct end e;

			say(&c[i], 1);
			while (i < 2)
				(void)!(i ? write(fd, buf, 100) : read(fd, buf, sizeof(buf)));
			for (;;) {
				if (!end_make(&e, "t", SLUICE_CONSUMER, 0)) {
					u64 t, token;

					if (!end_claim(&e, &t, &token))
						end_nack(&e, t, token, 0, 0, 0);
					end_close(&e);
				}
			}
		}
		ASSERT_EQ(1, hear(&c[i]));
	}
	for (deadline = now_ns() + 1000 * MS; now_ns() < deadline;) {
		for (i = 0; i < 1000; i++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			word = seed >> 20;
			switch (seed % 8) {
			case 0:
				*end_word(&self->r.out, word) = seed;
				break;
			case 1:
				*end_word(&self->r.out, word) = slot_word(word % 3, (u32)(word % 9),
						(u32)word, (enum slot_state)(word % 5));
				break;
			case 2:
				*end_buffer(&self->r.out, (u32)(word % 4)) = buf_word(word % 200,
						(enum buf_state)(word % 4));
				break;
			case 3:
				end_slot(&self->r.out, word)->len = (u32)word;
				break;
			case 4:
				end_slot(&self->r.out, word)->buf = (u32)(word % 8);
				break;
			case 5:
				self->r.out.control->tail = word % 3 ? word % 300 : seed;
				break;
			default:
				end_slot(&self->r.out, word)->buf = SLUICE_NO_BUFFER;
			}
		}
		call(self->r.out.fd, SLUICE_IOC_SEND, &s);
	}
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, child_kill(&c[i]));
}

/* What was in a spoilt slot is not known: its sender is told so, and of no acknowledgement. */
TEST_F(both, senders_of_spoilt_slots)
{
	struct sluice_send s = send_text("x", 0);
	struct io_uring ring;
	u64 tag = 0;

	ASSERT_EQ(0, io_uring_queue_init(4, &ring, 0));
	command_send(&ring, self->r.out.fd, &s, 1);
	command_send(&ring, self->r.out.fd, &s, 2);
	ASSERT_EQ(2, io_uring_submit(&ring));
	*end_word(&self->r.out, 1) = slot_word(0, 0, 0, (enum slot_state)9);
	EXPECT_EQ(-EBADMSG, completion(&ring, SOON, &tag));
	EXPECT_EQ(2, tag);
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
	EXPECT_EQ(0, completion(&ring, SOON, &tag));
	EXPECT_EQ(1, tag);
	EXPECT_STATE("t", BOTH, .sends = 2, .lies = 1);
	io_uring_queue_exit(&ring);
}

TEST_HARNESS_MAIN
