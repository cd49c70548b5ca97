// SPDX-License-Identifier: MIT
/* Description: at its limit of memory a stage refuses or waits, loses nothing, and goes on after it */
#include "kmod_process.h"
#include "kmod_uring.h"

#define PARAMETERS	"/sys/module/sluice/parameters/"
#define SLOTS		256u		/* eight pages */
#define SLOTS_PER_PAGE	(PAGE / (u32)sizeof(struct sluice_slot))
#define LIMIT		(1u << 20)
#define SOON		scaled(3000)

FIXTURE(full)
{
	struct ends r;
};

FIXTURE_VARIANT(full)
{
	const char *parameter;
};

FIXTURE_VARIANT_ADD(full, stage) { .parameter = PARAMETERS "max_stage_mb" };
FIXTURE_VARIANT_ADD(full, total) { .parameter = PARAMETERS "max_total_mb" };

static int set_limit(const char *path, const char *value)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return -errno;
	fputs(value, f);
	return fclose(f) ? -errno : 0;
}

FIXTURE_SETUP(full)
{
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.nslots = SLOTS, .nbufs = 4, .bufsize = LIMIT, .dead_slots = 4,
		.ack_timeout_ms = 200,
	}, 0));
	/* the last buffer takes all that there is; of the others nothing was touched */
	memset(self->r.out.payload + 3 * LIMIT, 1, LIMIT);
}

FIXTURE_TEARDOWN(full)
{
	EXPECT_EQ(0, set_limit(variant->parameter, "0"));
	EXPECT_EQ(0, ends_close(&self->r));
}

static long put(int fd, size_t len)
{
	static const char text[200] = "x";
	long n = write(fd, text, len);

	return n < 0 ? -errno : n;
}

/* What was accepted is published as soon as there is room. */
TEST_F(full, a_send_waits)
{
	struct sluice_send s = send_text("x", SLUICE_SEND_ACCEPT);

	ASSERT_EQ(0, set_limit(variant->parameter, "1"));
	EXPECT_EQ(1, call(self->r.out.fd, SLUICE_IOC_SEND, &s));
	EXPECT_STATE("t", BOTH, .queued = 1, .sends = 1);
	ASSERT_EQ(0, set_limit(variant->parameter, "0"));
	AWAIT_STATE("t", SOON, BOTH, .ready = 1, .sends = 1);
	EXPECT_EQ(0, end_take_text(&self->r.in, "x"));
}

/* No slot, no word of a buffer, then no page for its payload: the writer is told, nothing stays. */
TEST_F(full, a_write_is_refused)
{
	int fd = stage_open("t", O_WRONLY);

	ASSERT_EQ(0, set_limit(variant->parameter, "1"));
	EXPECT_EQ(-ENOMEM, put(fd, 1));
	EXPECT_EQ(-ENOMEM, put(fd, 200));
	EXPECT_STATE("t", .producers = 2, .consumers = 1);
	ASSERT_EQ(0, set_limit(variant->parameter, "0"));
	*end_word(&self->r.out, 0) = 0;
	*end_buffer(&self->r.out, 0) = 0;
	ASSERT_EQ(0, set_limit(variant->parameter, "1"));
	EXPECT_EQ(-ENOMEM, put(fd, 200));
	EXPECT_STATE("t", .producers = 2, .consumers = 1);
	EXPECT_EQ(1, put(fd, 1));
	ASSERT_EQ(0, set_limit(variant->parameter, "0"));
	EXPECT_EQ(200, put(fd, 200));
	EXPECT_STATE("t", .producers = 2, .consumers = 1, .ready = 2, .buffers = 1);
	close(fd);
}

/* In a buffer, three pages. */
static int send_long(struct end *out)
{
	u64 ticket;
	u32 buf;
	int err = end_take(out, &buf) ?: end_reserve(out, &ticket);

	if (err)
		return err;
	end_fill(out, ticket, NULL, 0, buf);
	end_slot(out, ticket)->len = 3 * PAGE;
	if (buf_send(end_buffer(out, buf), out->id, ticket) != SLOT_OK)
		return -ESTALE;
	return end_publish(out, ticket);
}

/* A letter that has no room is counted as dropped, and holds nobody up. */
TEST_F(full, a_letter_is_dropped)
{
	bool total = strstr(variant->parameter, "total");
	struct end dead;
	u64 ticket, token, at;
	unsigned int i;

	ASSERT_EQ(0, end_make(&dead, "t.dead", SLUICE_CONSUMER, 0));
	for (i = 0; i < 4; i++) {
		/* no room for the word of its buffer, for its payload, for its slot */
		if (i == 1)
			(void)*(volatile u64 *)end_buffer(&dead, 0);
		for (at = 0; i == 2 && at < dead.payload_bytes; at += dead.bufsize)
			(void)*(volatile unsigned char *)(dead.payload + at);
		/* then for the rest of a longer one */
		ASSERT_EQ(0, i < 3 ? end_send(&self->r.out, "x", NULL) : send_long(&self->r.out));
		ASSERT_EQ(0, end_claim(&self->r.in, &ticket, &token));
		ASSERT_EQ(0, set_limit(variant->parameter, "1"));
		EXPECT_EQ(0, end_nack(&self->r.in, ticket, token, SLUICE_NACK_DEAD, 0, 0));
		ASSERT_EQ(0, set_limit(variant->parameter, "0"));
	}
	EXPECT_STATE("t", BOTH, .nacks = 4, .dead_letters = 4);
	/* the dead-letter stage is a stage of its own, far from its limit */
	EXPECT_STATE("t.dead", .consumers = 1, .ready = total ? 0 : 4, .buffers = total ? 0 : 4,
		     .dead_dropped = total ? 4 : 0);
	end_close(&dead);
}

/* A page that no slot was used of has to be made, or the ring is not what it should be. */
TEST_F(full, a_repair_waits)
{
	struct sluice_repair r = { .size = sizeof(r), .name = "t" };
	u32 i;

	for (i = 0; i < SLOTS - SLOTS_PER_PAGE; i++)
		*end_word(&self->r.out, i) = slot_free(3);
	ASSERT_EQ(0, set_limit(variant->parameter, "1"));
	EXPECT_EQ(-ENOMEM, control(SLUICE_IOC_REPAIR, &r));
	ASSERT_EQ(0, set_limit(variant->parameter, "0"));
	ASSERT_EQ(0, control(SLUICE_IOC_REPAIR, &r));
	EXPECT_EQ(SLOTS_PER_PAGE, r.slots_reset);
	end_close(&self->r.out);
	end_close(&self->r.in);
	ASSERT_EQ(0, end_make(&self->r.out, "t", SLUICE_PRODUCER, 0));
	ASSERT_EQ(0, end_make(&self->r.in, "t", SLUICE_CONSUMER, 0));
	for (i = 0; i < 2 * SLOTS; i++) {
		ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
		ASSERT_EQ(0, end_take_text(&self->r.in, "x"));
	}
}

TEST_HARNESS_MAIN
