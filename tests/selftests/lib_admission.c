// SPDX-License-Identifier: MIT
/* Description: who comes too late is refused at the door, by what the stage is seen to do */
#include <fcntl.h>

#include <sluice/admission.h>

#include "lib_ring.h"

#define SERVICE_MS	4u

static int send_n(struct sluice_ep *out, unsigned int n)
{
	struct sluice_msg m = text("x");
	int err = 0;

	while (!err && n--)
		err = sluice_send(out, &m, SLUICE_NOW);
	return err;
}

/* Works on each message for a while, until it is killed; through read(2) if @reads. */
static pid_t worker(const char *stage, unsigned int ctx_flags, bool reads)
{
	char path[80], bytes[64];
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	struct sluice_msg m;
	pid_t pid = fork();
	int fd;

	if (pid)
		return pid;
	if (reads) {
		snprintf(path, sizeof(path), "/dev/sluice/%s", stage);
		fd = open(path, O_RDWR | O_CLOEXEC);
		CHILD_EXPECT(fd >= 0);
		while (read(fd, bytes, sizeof(bytes)) > 0)
			sleep_ms(SERVICE_MS);
		_exit(1);
	}
	CHILD_EXPECT(!sluice_ctx_create(ctx_flags, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_CONSUMER, 0, &in));
	for (;;) {
		CHILD_EXPECT(!sluice_claim(in, &m, SLUICE_FOREVER));
		sleep_ms(SERVICE_MS);
		CHILD_EXPECT(!sluice_ack(in, &m));
	}
}

static void kill_child(pid_t pid)
{
	kill(pid, SIGKILL);
	child_status(pid);
}

/* Looks until a rate is known and no more than @left are under way. */
static int watch(struct sluice_admission *d, unsigned int left, struct sluice_load *load)
{
	uint64_t end = now_ns() + 60 * SECOND;

	do {
		if (now_ns() > end)
			return -ETIMEDOUT;
		sleep_ms(1);
		sluice_admission_load(d, load);
	} while (load->backlog > left);
	return 0;
}

/*
 * The rate is that of the consumer, as far as a sleep has a bound: it lasts at least so long. Four
 * messages may be finished between two looks that are three of them apart.
 */
#define RATE_MAX	(1000.0 / SERVICE_MS * 4 / 3)

TEST_F_TIMEOUT(ring, by_the_measured_rate, 120)
{
	struct sluice_admission_limits limits = { .max_wait_ns = 10 * SERVICE_MS * MS };
	struct sluice_admission *d;
	struct sluice_load load;
	uint64_t retry = 77, end;
	bool reads;
	pid_t pid;
	int i, err;

	sluice_detach(self->in);
	ASSERT_EQ(0, sluice_admission_create(self->out, &limits, &d));
	EXPECT_EQ(0, sluice_admit(d, 1, &retry));
	EXPECT_EQ(0, retry);
	for (i = 0; i < 2; i++) {
		reads = i;
		pid = worker(self->stage, variant->ctx_flags, reads);
		ASSERT_EQ(0, send_n(self->out, NSLOTS));
		ASSERT_EQ(0, watch(d, NSLOTS / 2, &load));
		EXPECT_GT(load.rate, 0);
		EXPECT_LT(load.rate, RATE_MAX);
		EXPECT_EQ(1, load.consumers);
		/* some 30 are there, of which ten would be too many at that rate */
		EXPECT_EQ(-EBUSY, sluice_admit(d, 0, &retry)) TH_LOG("%u", (unsigned)load.backlog);
		EXPECT_GT(retry, 0);
		EXPECT_NE(NULL, strstr(sluice_error(), "busy, try again in"));
		/* who comes again as told is let in sooner or later, before it is empty */
		end = now_ns() + 60 * SECOND;
		while ((err = sluice_admit(d, 0, &retry)) == -EBUSY && now_ns() < end) {
			struct timespec ts = {
				.tv_sec = (time_t)(retry / SECOND), .tv_nsec = (long)(retry % SECOND),
			};

			ASSERT_LE(retry, 60 * SECOND);
			nanosleep(&ts, NULL);
		}
		EXPECT_EQ(0, err);
		ASSERT_EQ(0, watch(d, 0, &load));
		EXPECT_EQ(0, sluice_admit(d, 1, &retry));
		kill_child(pid);
	}
	sluice_admission_free(d);
	ASSERT_EQ(0, sluice_attach(self->other, self->stage, SLUICE_CONSUMER, 0, &self->in));
}

/* With its consumer killed it comes to a standstill, and whoever asks is told to wait for longer. */
TEST_F_TIMEOUT(ring, killed_consumer, 120)
{
	struct sluice_admission_limits limits = { .max_wait_ns = SERVICE_MS * MS };
	struct sluice_admission *d;
	struct sluice_load load;
	uint64_t first, later;
	pid_t pid;

	sluice_detach(self->in);
	ASSERT_EQ(0, sluice_admission_create(self->out, &limits, &d));
	pid = worker(self->stage, variant->ctx_flags, false);
	ASSERT_EQ(0, send_n(self->out, NSLOTS));
	ASSERT_EQ(0, watch(d, NSLOTS / 2, &load));
	kill_child(pid);
	sluice_admission_load(d, &load);
	EXPECT_EQ(0, load.consumers);
	EXPECT_EQ(-EBUSY, sluice_admit(d, 0, &first));
	sleep_ms(2000);
	EXPECT_EQ(-EBUSY, sluice_admit(d, 0, &later));
	EXPECT_GT(later, 2 * first);
	/* and when somebody does the work, things are as they were */
	pid = worker(self->stage, variant->ctx_flags, false);
	ASSERT_EQ(0, watch(d, 0, &load));
	EXPECT_EQ(0, sluice_admit(d, 1, &first));
	kill_child(pid);
	sluice_admission_free(d);
	ASSERT_EQ(0, sluice_attach(self->other, self->stage, SLUICE_CONSUMER, 0, &self->in));
}

TEST_F(ring, backlog_and_queue)
{
	struct sluice_admission_limits limits = { .max_backlog = NSLOTS + 2 };
	struct sluice_admission *d;
	struct sluice_load load;
	struct sluice_msg m;
	uint64_t retry;
	int i;

	if (variant->attach_flags & SLUICE_ATTACH_SOLE)
		SKIP(return, "the kernel queues nothing beside a sole producer");
	ASSERT_EQ(0, sluice_admission_create(self->out, &limits, &d));
	for (i = 0; i < (int)NSLOTS + 2; i++) {
		ASSERT_EQ(0, sluice_admit(d, 0, &retry));
		m = text("x");
		ASSERT_EQ(i >= (int)NSLOTS, sluice_post(self->out, &m));
	}
	sluice_admission_load(d, &load);
	EXPECT_EQ(NSLOTS, load.backlog);
	EXPECT_EQ(2, load.queued);
	EXPECT_EQ(-EBUSY, sluice_admit(d, 0, &retry));
	EXPECT_GT(retry, 0);
	ASSERT_EQ(0, sluice_claim(self->in, &m, SLUICE_NOW));
	EXPECT_EQ(-EBUSY, sluice_admit(d, 0, &retry));
	ASSERT_EQ(0, sluice_ack(self->in, &m));
	EXPECT_EQ(0, sluice_admit(d, 0, NULL));
	for (i = 0; i < (int)NSLOTS + 1; i++) {
		ASSERT_EQ(0, sluice_claim(self->in, &m, SECOND));
		ASSERT_EQ(0, sluice_ack(self->in, &m));
	}
	sluice_admission_free(d);
	EXPECT_EQ(-EINVAL, sluice_admission_create(self->in, &limits, &d));
}

TEST_F(ring, destroyed)
{
	struct sluice_admission *d;
	uint64_t retry = 77;

	ASSERT_EQ(0, sluice_admission_create(self->out, &(struct sluice_admission_limits) { 0 }, &d));
	ASSERT_EQ(0, sluice_destroy(self->stage, 0, SLUICE_DESTROY_FORCE));
	EXPECT_EQ(-ESHUTDOWN, sluice_admit(d, 0, &retry));
	EXPECT_EQ(0, retry);
	sluice_admission_free(d);
	/* for the teardown */
	ASSERT_EQ(0, make_stage(self->stage, (struct sluice_create) { 0 }));
}

TEST_HARNESS_MAIN
