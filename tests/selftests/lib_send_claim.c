// SPDX-License-Identifier: MIT
/* Description: what is sent is claimed, whole and in order, through slots and buffers */
#include "lib_ring.h"

TEST_F(ring, small_message)
{
	struct sluice_msg sent = text("hello"), got;

	sent.stream = 7;
	sent.counter = 9;
	sent.kind = 3;
	sent.flags = SLUICE_MSG_OPEN | SLUICE_MSG_LAST;
	ASSERT_EQ(0, sluice_send(self->out, &sent, SLUICE_NOW)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_claim(self->in, &got, SLUICE_NOW)) TH_LOG("%s", sluice_error());
	EXPECT_EQ(7, got.stream);
	EXPECT_EQ(9, got.counter);
	EXPECT_EQ(3, got.kind);
	EXPECT_EQ(SLUICE_MSG_OPEN | SLUICE_MSG_LAST, got.flags);
	EXPECT_EQ(sent.ticket, got.ticket);
	EXPECT_EQ(1, got.attempt);
	EXPECT_EQ(SLUICE_NO_BUFFER, got.buffer);
	ASSERT_EQ(5, got.len);
	EXPECT_EQ(0, memcmp(got.data, "hello", 5));
	EXPECT_LE(got.time, sluice_ticks());
	EXPECT_TRUE(sluice_holds(self->in, &got));
	EXPECT_EQ(0, sluice_ack(self->in, &got));
	EXPECT_FALSE(sluice_holds(self->in, &got));
	EXPECT_EQ(-EAGAIN, sluice_claim(self->in, &got, SLUICE_NOW));
}

/* Every length around the borders between line, slot and buffer. */
TEST_F(ring, every_length)
{
	static unsigned char data[8192];
	uint32_t lengths[] = { 0, 1, 12, 13, 75, 76, 77, 4096, 8192 }, i, k;

	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct sluice_msg sent = { .data = data, .len = lengths[i],
					   .buffer = SLUICE_NO_BUFFER }, got;

		for (k = 0; k < lengths[i]; k++)
			data[k] = (unsigned char)(k * 31 + i);
		ASSERT_EQ(0, sluice_send(self->out, &sent, SLUICE_NOW))
			TH_LOG("%s", sluice_error());
		ASSERT_EQ(0, sluice_claim(self->in, &got, SLUICE_NOW));
		ASSERT_EQ(lengths[i], got.len);
		EXPECT_EQ(lengths[i] > SLUICE_INLINE_MAX, got.buffer != SLUICE_NO_BUFFER);
		EXPECT_EQ(0, memcmp(got.data, data, got.len));
		ASSERT_EQ(0, sluice_ack(self->in, &got));
	}
}

TEST_F(ring, order_over_many_laps)
{
	uint64_t next_sent = 0, next_got = 0;
	unsigned int seed = 1;

	while (next_got < 20 * NSLOTS) {
		struct sluice_msg m = { .buffer = SLUICE_NO_BUFFER };
		int burst = rand_r(&seed) % (2 * NSLOTS);

		while (burst--) {
			m.counter = next_sent;
			if (sluice_send(self->out, &m, SLUICE_NOW))
				break;
			next_sent++;
		}
		burst = rand_r(&seed) % (2 * NSLOTS);
		while (burst-- && !sluice_claim(self->in, &m, SLUICE_NOW)) {
			ASSERT_EQ(next_got, m.counter);
			next_got++;
			ASSERT_EQ(0, sluice_ack(self->in, &m));
		}
	}
	EXPECT_LE(next_sent - next_got, NSLOTS);
}

TEST_F(ring, own_buffer)
{
	struct sluice_buffer buf;
	struct sluice_msg m = { .len = 5000 }, got;

	ASSERT_EQ(0, sluice_buffer_take(self->out, &buf, SLUICE_NOW));
	memset(buf.data, 'x', 5000);
	m.buffer = buf.index;
	ASSERT_EQ(0, sluice_send(self->out, &m, SLUICE_NOW)) TH_LOG("%s", sluice_error());
	/* It went with the message. */
	EXPECT_EQ(-EINVAL, sluice_send(self->out, &m, SLUICE_NOW));
	EXPECT_EQ(-EINVAL, sluice_buffer_drop(self->out, &buf));
	ASSERT_EQ(0, sluice_claim(self->in, &got, SLUICE_NOW));
	EXPECT_EQ(buf.index, got.buffer);
	ASSERT_EQ(5000, got.len);
	EXPECT_EQ('x', ((const char *)got.data)[4999]);
	EXPECT_EQ(0, sluice_ack(self->in, &got));
}

TEST_F(ring, buffers_come_back)
{
	struct sluice_buffer buf[8], more;
	int i, round;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < 8; i++)
			ASSERT_EQ(0, sluice_buffer_take(self->out, &buf[i], SLUICE_NOW));
		EXPECT_EQ(-EAGAIN, sluice_buffer_take(self->out, &more, SLUICE_NOW));
		EXPECT_NE(NULL, strstr(sluice_error(), "buffer"));
		for (i = 0; i < 8; i++)
			ASSERT_EQ(0, sluice_buffer_drop(self->out, &buf[i]));
	}
}

TEST_F(ring, too_large)
{
	static char data[8193];
	struct sluice_msg m = { .data = data, .len = sizeof(data), .buffer = SLUICE_NO_BUFFER };
	struct sluice_buffer buf;
	int i;

	EXPECT_EQ(-EMSGSIZE, sluice_send(self->out, &m, SLUICE_NOW));
	EXPECT_NE(NULL, strstr(sluice_error(), "8192"));
	/* and nothing was taken for it */
	for (i = 0; i < 8; i++)
		ASSERT_EQ(0, sluice_buffer_take(self->out, &buf, SLUICE_NOW));
}

TEST_HARNESS_MAIN
