// SPDX-License-Identifier: MIT
/* Description: each event of a stage's life is in the kernel's trace, with its stage and ticket */
#include <sys/mount.h>

#include "kmod_process.h"

#define TRACING	"/sys/kernel/tracing"
#define LETTERS	64u		/* the smallest ring that there is */
#define SOON	scaled(3000)

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return err;
}

/* How often the trace says @text. */
static int said(const char *text)
{
	FILE *f = fopen(TRACING "/trace", "r");
	char line[512];
	int n = 0;

	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, text) != NULL;
	if (f)
		fclose(f);
	return n;
}

/* Exactly @times; else what there is of that event is shown. */
static int expect_said(int times, const char *text)
{
	char command[200];
	int n = said(text);

	if (n == times)
		return 0;
	fprintf(stderr, "#   %d times, not %d: %s\n", n, times, text);
	snprintf(command, sizeof(command), "grep -m 8 '%.*s' " TRACING "/trace | sed 's/^/#   /' >&2",
		 (int)strcspn(text, " "), text);
	return system(command) < 0 ? -errno : -ENOMSG;
}

#define EXPECT_SAID(times, text)	EXPECT_EQ(0, expect_said(times, text))

FIXTURE(traced)
{
	struct ends r;
	bool on;
};

FIXTURE_SETUP(traced)
{
	if (access(TRACING "/trace", F_OK))
		mount("none", TRACING, "tracefs", 0, NULL);
	if (access(TRACING "/events/sluice", F_OK))
		SKIP(return, "this kernel has no " TRACING "/events");
	ASSERT_EQ(0, write_file(TRACING "/trace", "\n"));
	ASSERT_EQ(0, write_file(TRACING "/events/sluice/enable", "1"));
	self->on = true;
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.nbufs = 4, .bufsize = PAGE, .dead_slots = LETTERS, .max_attempts = 3,
		.ack_timeout_ms = 200, .write_timeout_ms = 200,
	}, 0));
}

FIXTURE_TEARDOWN(traced)
{
	if (!self->on)
		return;
	end_close(&self->r.out);
	end_close(&self->r.in);
	stage_destroy("t", 0, SLUICE_DESTROY_FORCE);
	EXPECT_EQ(0, write_file(TRACING "/events/sluice/enable", "0"));
	EXPECT_EQ(0, write_file(TRACING "/trace", "\n"));
}

TEST_F(traced, stage_and_endpoints)
{
	struct sluice_repair repair = { .size = sizeof(repair), .name = "t" };
	char text[80];

	EXPECT_SAID(1, "sluice_create: stage=t nslots=64 nbufs=4 bufsize=4096");
	snprintf(text, sizeof(text), "sluice_attach: stage=t endpoint=%u role=producer",
		 self->r.out.id);
	EXPECT_SAID(1, text);
	snprintf(text, sizeof(text), "sluice_attach: stage=t endpoint=%u role=consumer",
		 self->r.in.id);
	EXPECT_SAID(1, text);
	end_close(&self->r.in);
	snprintf(text, sizeof(text), "sluice_death: stage=t endpoint=%u role=consumer",
		 self->r.in.id);
	EXPECT_SAID(1, text);
	ASSERT_EQ(0, control(SLUICE_IOC_REPAIR, &repair));
	snprintf(text, sizeof(text), "sluice_evict: stage=t endpoint=%u role=producer",
		 self->r.out.id);
	EXPECT_SAID(1, text);
	EXPECT_SAID(1, "sluice_repair: stage=t nslots=64");
	end_close(&self->r.out);
	EXPECT_SAID(2, "sluice_death: stage=t");
	EXPECT_EQ(0, stage_destroy("t", 0, SLUICE_DESTROY_FORCE));
	EXPECT_SAID(1, "sluice_destroy: stage=t nslots=64");
}

TEST_F(traced, tickets)
{
	struct end *in = &self->r.in, *out = &self->r.out;
	u64 ticket, token;

	ASSERT_EQ(0, end_send(out, "x", NULL));
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	EXPECT_EQ(0, end_nack(in, ticket, token, 0, 0, 5));
	EXPECT_SAID(1, "sluice_redeliver: stage=t ticket=0 attempt=1 reason=5");
	ASSERT_EQ(0, end_claim(in, &ticket, &token));
	EXPECT_EQ(0, end_nack(in, ticket, token, SLUICE_NACK_DEAD, 0, 7));
	EXPECT_SAID(1, "sluice_dead_letter: stage=t ticket=0 attempt=2 reason=7");
	/* half written, and its writer put out for it */
	ASSERT_EQ(0, end_reserve(out, &ticket));
	AWAIT_STATE("t", SOON, .consumers = 1, .redelivered = 1, .nacks = 2, .dead_letters = 1,
		    .evictions = 1, .deaths = 1, .discarded = 1);
	EXPECT_SAID(1, "sluice_evict: stage=t");
	EXPECT_SAID(1, "sluice_discard: stage=t ticket=1 attempt=0 reason=130");
}

TEST_F(traced, dropped_letter)
{
	struct end *in = &self->r.in;
	u64 ticket, token;
	unsigned int i;

	for (i = 0; i <= LETTERS; i++) {
		ASSERT_EQ(0, end_send(&self->r.out, "x", NULL));
		ASSERT_EQ(0, end_claim(in, &ticket, &token));
		ASSERT_EQ(0, end_nack(in, ticket, token, SLUICE_NACK_DEAD, 0, 0));
	}
	EXPECT_SAID((int)LETTERS + 1, "sluice_dead_letter: stage=t ");
	EXPECT_SAID(1, "sluice_dead_dropped: stage=t.dead ticket=0");
}

TEST_HARNESS_MAIN
