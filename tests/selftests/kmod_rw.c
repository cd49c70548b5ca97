// SPDX-License-Identifier: MIT
/* Description: read(2) and write(2) move one message each, whole or not at all */
#include <sys/wait.h>

#include "kmod_process.h"

#define SOON	scaled(2000)

FIXTURE(stage)
{
	int in, out;
};

FIXTURE_SETUP(stage)
{
	ASSERT_EQ(0, stage_create("t", (struct sluice_create) { .nbufs = 2, .bufsize = 8192 }));
	self->in = stage_open("t", O_RDONLY | O_NONBLOCK);
	self->out = stage_open("t", O_WRONLY | O_NONBLOCK);
}

FIXTURE_TEARDOWN(stage)
{
	close(self->in);
	close(self->out);
	EXPECT_EQ(0, stage_destroy("t", 0, SLUICE_DESTROY_FORCE));
}

/* Not inline: the compiler would see that the addresses are bad. */
static __attribute__((noinline)) ssize_t get(int fd, void *buf, size_t len)
{
	ssize_t n = read(fd, buf, len);

	return n < 0 ? -errno : n;
}

static __attribute__((noinline)) ssize_t put(int fd, const void *buf, size_t len)
{
	ssize_t n = write(fd, buf, len);

	return n < 0 ? -errno : n;
}

TEST_F(stage, one_message_each)
{
	static const size_t sizes[] = { 0, 1, 12, 76, 77, 4096, 4097, 8192 };
	unsigned char text[8192], got[8193];
	size_t i, j;

	EXPECT_EQ(-EAGAIN, get(self->in, got, sizeof(got)));
	EXPECT_STATE("t", .consumers = 1);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (j = 0; j < sizes[i]; j++)
			text[j] = (unsigned char)(i + j);
		EXPECT_EQ(sizes[i], put(self->out, text, sizes[i]));
		EXPECT_STATE("t", BOTH, .ready = 1, .buffers = sizes[i] > 76);
		memset(got, GARBAGE, sizeof(got));
		EXPECT_EQ(sizes[i], get(self->in, got, sizeof(got)));
		EXPECT_EQ(0, memcmp(text, got, sizes[i]));
		EXPECT_EQ(GARBAGE, got[sizes[i]]);
		EXPECT_STATE("t", BOTH);
	}
	EXPECT_EQ(-EMSGSIZE, put(self->out, text, 8193));
	EXPECT_STATE("t", BOTH);
}

/* Two writes are two messages; one read is one. */
TEST_F(stage, boundaries_are_kept)
{
	char got[100];

	EXPECT_EQ(3, put(self->out, "abc", 3));
	EXPECT_EQ(2, put(self->out, "de", 2));
	EXPECT_EQ(3, get(self->in, got, sizeof(got)));
	EXPECT_EQ(2, get(self->in, got, sizeof(got)));
	EXPECT_EQ(-EAGAIN, get(self->in, got, sizeof(got)));
}

TEST_F(stage, too_small_leaves_it)
{
	char got[100], text[100];
	int i;

	memset(text, 'x', sizeof(text));
	EXPECT_EQ(3, put(self->out, "abc", 3));
	EXPECT_EQ(100, put(self->out, text, 100));
	EXPECT_EQ(-EMSGSIZE, get(self->in, got, 2));
	EXPECT_EQ(-EMSGSIZE, get(self->in, got, 0));
	EXPECT_STATE("t", BOTH, .ready = 2, .buffers = 1);
	EXPECT_EQ(3, get(self->in, got, 3));
	EXPECT_EQ(0, memcmp(got, "abc", 3));
	/* more often than a message may be claimed */
	for (i = 0; i < 300; i++)
		EXPECT_EQ(-EMSGSIZE, get(self->in, got, 99));
	EXPECT_EQ(100, get(self->in, got, 100));
	EXPECT_STATE("t", BOTH);
}

TEST_F(stage, bad_addresses)
{
	char got[100], text[100] = "x";

	EXPECT_EQ(-EFAULT, put(self->out, (void *)8, 5));
	EXPECT_EQ(-EFAULT, put(self->out, (void *)8, 4096));
	EXPECT_STATE("t", .producers = 1);
	EXPECT_EQ(5, put(self->out, "hello", 5));
	EXPECT_EQ(100, put(self->out, text, 100));
	EXPECT_EQ(-EFAULT, get(self->in, (void *)8, 100));
	EXPECT_STATE("t", BOTH, .ready = 2, .buffers = 1, .redelivered = 1);
	EXPECT_EQ(5, get(self->in, got, 100));
	EXPECT_EQ(-EFAULT, get(self->in, (void *)8, 100));
	EXPECT_EQ(100, get(self->in, got, 100));
	EXPECT_STATE("t", BOTH, .redelivered = 2);
}

/* A descriptor is one thing or the other, decided by its first use. */
TEST_F(stage, one_role)
{
	int fd = stage_open("t", O_RDWR | O_NONBLOCK);
	char got[10];

	EXPECT_EQ(-EBADF, get(self->out, got, sizeof(got)));
	EXPECT_EQ(-EBADF, put(self->in, "x", 1));
	EXPECT_EQ(1, put(fd, "x", 1));
	EXPECT_EQ(-EBADF, get(fd, got, sizeof(got)));
	EXPECT_STATE("t", .producers = 1, .ready = 1);
	close(fd);
	fd = stage_open("t", O_RDWR | O_NONBLOCK);
	EXPECT_EQ(1, get(fd, got, sizeof(got)));
	EXPECT_EQ(-EBADF, put(fd, "x", 1));
	EXPECT_STATE("t", .consumers = 1, .deaths = 1);
	close(fd);
}

TEST_F(stage, full)
{
	char text[100] = "x", got[100];
	int i;

	for (i = 0; i < (int)NSLOTS; i++)
		ASSERT_EQ(1, put(self->out, "x", 1));
	EXPECT_EQ(-EAGAIN, put(self->out, "x", 1));
	EXPECT_STATE("t", .producers = 1, .ready = NSLOTS);
	EXPECT_EQ(-EAGAIN, put(self->out, text, 100));
	EXPECT_STATE("t", .producers = 1, .ready = NSLOTS);
	EXPECT_EQ(1, get(self->in, got, sizeof(got)));
	EXPECT_EQ(100, put(self->out, text, 100));
	EXPECT_STATE("t", BOTH, .ready = NSLOTS, .buffers = 1);
}

TEST_F(stage, out_of_buffers)
{
	char text[100] = "x", got[100];

	EXPECT_EQ(100, put(self->out, text, 100));
	EXPECT_EQ(100, put(self->out, text, 100));
	EXPECT_EQ(-EAGAIN, put(self->out, text, 100));
	EXPECT_EQ(1, put(self->out, text, 1));
	EXPECT_STATE("t", .producers = 1, .ready = 3, .buffers = 2);
	EXPECT_EQ(100, get(self->in, got, sizeof(got)));
	EXPECT_EQ(100, put(self->out, text, 100));
	EXPECT_STATE("t", BOTH, .ready = 3, .buffers = 2);
}

/* Nothing seeks, and nothing is at an offset. */
TEST_F(stage, no_offsets)
{
	EXPECT_EQ(-1, lseek(self->out, 0, SEEK_SET));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(-1, pwrite(self->out, "x", 1, 0));
	EXPECT_EQ(ESPIPE, errno);
}

TEST_F(stage, blocking_read_is_woken)
{
	struct child c;
	int i;

	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		int fd = stage_open("t", O_RDONLY);
		char got[10];

		for (i = 0; i < 5; i++) {
			CHILD_EXPECT(read(fd, got, sizeof(got)) == 3);
			say(&c, (u64)got[0]);
		}
		_exit(0);
	}
	for (i = 0; i < 5; i++) {
		sleep_ms(10);
		EXPECT_EQ(3, put(self->out, "yes", 3));
		EXPECT_EQ('y', hear(&c));
	}
	EXPECT_EQ(0, child_wait(&c));
	AWAIT_STATE("t", SOON, .producers = 1, .deaths = 1);
}

TEST_F(stage, blocking_write_is_woken)
{
	struct child c;
	char got[100];
	int i;

	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		int fd = stage_open("t", O_WRONLY);
		char text[100] = "x";

		for (i = 0; i < (int)NSLOTS + 3; i++)
			CHILD_EXPECT(write(fd, "x", 1) == 1);
		say(&c, 1);
		for (i = 0; i < 5; i++)
			CHILD_EXPECT(write(fd, text, 100) == 100);
		say(&c, 2);
		_exit(0);
	}
	AWAIT_STATE("t", SOON, .producers = 1, .ready = NSLOTS);
	for (i = 0; i < 3; i++)
		EXPECT_EQ(1, get(self->in, got, sizeof(got)));
	EXPECT_EQ(1, hear(&c));
	for (i = 0; i < (int)NSLOTS; i++)
		EXPECT_EQ(1, get(self->in, got, sizeof(got)));
	AWAIT_STATE("t", SOON, BOTH, .ready = 2, .buffers = 2);
	/* the writer has to wake up between two of them */
	for (i = 0; i < 3; i++) {
		int n;

		while ((n = get(self->in, got, sizeof(got))) == -EAGAIN)
			sleep_ms(1);
		EXPECT_EQ(100, n);
	}
	EXPECT_EQ(2, hear(&c));
	EXPECT_EQ(0, child_wait(&c));
}

static void on_alarm(int sig)
{
}

TEST_F(stage, signals)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	int fd = stage_open("t", O_RDONLY);
	char got[10];

	sigaction(SIGALRM, &sa, NULL);
	alarm(1);
	EXPECT_EQ(-EINTR, get(fd, got, sizeof(got)));
	close(fd);
}

/* As in a shell. */
TEST_F(stage, echo_and_cat)
{
	char line[20] = "", command[80];
	FILE *f;

	EXPECT_EQ(0, system("echo hello >" NODE "t && echo world >" NODE "t"));
	EXPECT_STATE("t", .ready = 2, .deaths = 2);
	snprintf(command, sizeof(command), "timeout %g cat " NODE "t", scaled(300) / 1000.0);
	f = popen(command, "r");
	ASSERT_NE(NULL, f);
	EXPECT_NE(NULL, fgets(line, sizeof(line), f));
	EXPECT_STREQ("hello\n", line);
	EXPECT_NE(NULL, fgets(line, sizeof(line), f));
	EXPECT_STREQ("world\n", line);
	pclose(f);
	AWAIT_STATE("t", SOON, .deaths = 3);
}

/* A kernel thread of execution at the mercy of who writes nonsense into the hint still sleeps. */
TEST_F(stage, blocked_writer_can_be_killed)
{
	struct end liar;
	struct child c;
	u64 deadline;
	int i;

	for (i = 0; i < (int)NSLOTS; i++)
		ASSERT_EQ(1, put(self->out, "x", 1));
	ASSERT_EQ(0, end_make(&liar, "t", SLUICE_PRODUCER, 0));
	ASSERT_GE(child_start(&c), 0);
	if (!c.pid) {
		int fd = stage_open("t", O_WRONLY);

		say(&c, 1);
		CHILD_EXPECT(write(fd, "x", 1) == 1);
		_exit(0);
	}
	ASSERT_EQ(1, hear(&c));
	for (deadline = now_ns() + 100 * MS; now_ns() < deadline;)
		sl_store_release(&liar.control->tail, 0);
	EXPECT_EQ(0, child_kill(&c));
	end_close(&liar);
}

/* Payload that nobody wrote into. */
TEST_F(stage, untouched_buffer_reads_as_zeroes)
{
	unsigned char got[8192], zeroes[8192] = { 0 };
	struct end out;
	u32 buf;
	u64 t;

	ASSERT_EQ(0, end_make(&out, "t", SLUICE_PRODUCER, 0));
	ASSERT_EQ(0, end_take(&out, &buf));
	ASSERT_EQ(0, end_reserve(&out, &t));
	end_fill(&out, t, NULL, 0, buf);
	end_slot(&out, t)->len = 8192;
	ASSERT_EQ(SLOT_OK, buf_send(end_buffer(&out, buf), out.id, t));
	ASSERT_EQ(0, end_publish(&out, t));
	EXPECT_EQ(-EFAULT, get(self->in, (void *)8, 8192));
	memset(got, GARBAGE, sizeof(got));
	EXPECT_EQ(8192, get(self->in, got, sizeof(got)));
	EXPECT_EQ(0, memcmp(got, zeroes, sizeof(got)));
	end_close(&out);
}

/* Where the kernel's own memory begins, and where a page ends. */
TEST_F(stage, addresses_that_are_not_ones_own)
{
	char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned int i;

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, munmap(p + PAGE, PAGE));
	for (i = 0; i < 2; i++) {
		char *bad = i ? p + PAGE - 40 : (char *)-PAGE;

		EXPECT_EQ(-EFAULT, put(self->out, bad, 70));
		EXPECT_EQ(-EFAULT, put(self->out, bad, 100));
		EXPECT_EQ(70, put(self->out, p, 70));
		EXPECT_EQ(-EFAULT, get(self->in, bad, 70));
		EXPECT_EQ(70, get(self->in, p, 70));
		EXPECT_EQ(100, put(self->out, p, 100));
		EXPECT_EQ(-EFAULT, get(self->in, bad, 100));
		EXPECT_EQ(100, get(self->in, p, 100));
	}
	munmap(p, PAGE);
}

/* A child that writes @len bytes, and is woken in vain before a signal comes. */
static void interrupted_writer(struct child *c, size_t len)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	char text[100] = "x";
	int fd;

	sigaction(SIGALRM, &sa, NULL);
	fd = stage_open("t", O_WRONLY);
	say(c, 1);
	CHILD_EXPECT(put(fd, text, len) == -EINTR);
	tell_and_pause(c, 2);
	_exit(0);
}

TEST_F(stage, interrupted_write)
{
	/* for a slot, for a buffer, for a slot with a buffer in its hand */
	static const struct { size_t fill, len; u32 fills; } cases[] = {
		{ 1, 1, NSLOTS }, { 100, 100, 2 }, { 1, 100, NSLOTS },
	};
	const struct sluice_kick k = { .what = SLUICE_KICK_ROOM };
	char text[100] = "x";
	unsigned int i, n;
	struct child c;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		for (n = 0; n < cases[i].fills; n++)
			ASSERT_EQ(cases[i].fill, put(self->out, text, cases[i].fill));
		ASSERT_GE(child_start(&c), 0);
		if (!c.pid)
			interrupted_writer(&c, cases[i].len);
		ASSERT_EQ(1, hear(&c));
		for (n = 0; n < 3; n++) {
			sleep_ms(scaled(20));
			EXPECT_EQ(0, call(self->out, SLUICE_IOC_KICK, (void *)&k));
		}
		sleep_ms(scaled(20));
		kill(c.pid, SIGALRM);
		EXPECT_EQ(2, hear(&c));
		EXPECT_EQ(0, child_end(&c));
		/* nothing of it is left */
		for (n = 0; n < cases[i].fills; n++)
			ASSERT_EQ(cases[i].fill, get(self->in, text, sizeof(text)));
		EXPECT_EQ(-EAGAIN, get(self->in, text, sizeof(text)));
		EXPECT_STATE("t", BOTH, .deaths = i + 1);
	}
}

TEST_HARNESS_MAIN
