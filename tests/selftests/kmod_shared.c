// SPDX-License-Identifier: MIT
/* Description: threads that share a descriptor read, write, poll, wait and kick at once */
#include <poll.h>
#include <pthread.h>

#include "kmod_process.h"

#define ATTACH_ROUNDS	50

/* What every thread works on. */
struct shared {
	struct ends r;
	int stop;
	u64 sent, received;
	u32 bad;
};

FIXTURE(crowd)
{
	struct shared s;
};

FIXTURE_SETUP(crowd)
{
	ASSERT_EQ(0, ends_make(&self->s.r, (struct sluice_create) { 0 }, 0));
	fcntl(self->s.r.in.fd, F_SETFL, O_NONBLOCK);
	fcntl(self->s.r.out.fd, F_SETFL, O_NONBLOCK);
}

FIXTURE_TEARDOWN(crowd)
{
	EXPECT_EQ(0, ends_close(&self->s.r));
}

static void complain(struct shared *s, bool wrong)
{
	if (wrong)
		__atomic_fetch_add(&s->bad, 1, __ATOMIC_RELAXED);
}

static bool stopped(struct shared *s)
{
	return __atomic_load_n(&s->stop, __ATOMIC_RELAXED);
}

static void *reader(void *arg)
{
	struct shared *s = arg;
	char text[8];

	while (!stopped(s)) {
		ssize_t n = read(s->r.in.fd, text, sizeof(text));

		complain(s, n < 0 && errno != EAGAIN);
		if (n > 0)
			__atomic_fetch_add(&s->received, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void *writer(void *arg)
{
	struct shared *s = arg;

	while (!stopped(s)) {
		ssize_t n = write(s->r.out.fd, "x", 1);

		complain(s, n < 0 && errno != EAGAIN);
		if (n > 0)
			__atomic_fetch_add(&s->sent, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void *poller(void *arg)
{
	struct shared *s = arg;
	struct pollfd p[2] = {
		{ .fd = s->r.in.fd, .events = POLLIN },
		{ .fd = s->r.out.fd, .events = POLLOUT },
	};

	while (!stopped(s)) {
		complain(s, poll(p, 2, 1) < 0);
		complain(s, (p[0].revents | p[1].revents) & (POLLERR | POLLHUP));
	}
	return NULL;
}

/* Tells poll() where it is, again and again. */
static void *waiter(void *arg)
{
	struct shared *s = arg;
	struct end in = s->r.in, out = s->r.out;
	u64 cursor = 0;

	while (!stopped(s)) {
		int err = end_wait(&in, SLUICE_WAIT_READY, cursor++, 0);

		complain(s, err && err != -EAGAIN);
		in.generation = sl_load(&in.hints->generation);
		err = end_wait(&out, SLUICE_WAIT_ROOM, cursor, 0);
		complain(s, err && err != -EAGAIN);
	}
	return NULL;
}

static void *kicker(void *arg)
{
	struct shared *s = arg;

	while (!stopped(s)) {
		complain(s, end_kick(&s->r.in, SLUICE_KICK_ROOM | SLUICE_KICK_ACKED));
		complain(s, end_kick(&s->r.out, SLUICE_KICK_READY | SLUICE_KICK_TURN));
	}
	return NULL;
}

static void *lister(void *arg)
{
	struct shared *s = arg;
	struct sluice_info info;

	while (!stopped(s)) {
		complain(s, stage_info("t", &info));
		sleep_ms(1);
	}
	return NULL;
}

TEST_F(crowd, all_at_once)
{
	static void *(* const bodies[])(void *) = {
		reader, writer, poller, waiter, kicker, kicker, lister,
	};
	pthread_t threads[sizeof(bodies) / sizeof(bodies[0])];
	struct shared *s = &self->s;
	char text[8];
	size_t i;

	for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, bodies[i], s));
	sleep_ms(scaled(500));
	__atomic_store_n(&s->stop, 1, __ATOMIC_RELAXED);
	for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		pthread_join(threads[i], NULL);
	while (read(s->r.in.fd, text, sizeof(text)) > 0)
		s->received++;
	EXPECT_EQ(0, s->bad);
	EXPECT_GT(s->received, 0);
	EXPECT_EQ(s->sent, s->received);
}

/* Asks until it is attached: then all of the endpoint has to be there. */
static void *asker(void *arg)
{
	int *fd = arg;
	struct sluice_kick k = { .what = SLUICE_KICK_ROOM };
	int err;

	do {
		err = call(*fd, SLUICE_IOC_KICK, &k);
	} while (err == -ENOTCONN);
	return (void *)(long)err;
}

TEST_F(crowd, attach_seen_whole)
{
	struct sluice_attach a;
	pthread_t thread;
	void *err;
	int i, fd;

	for (i = 0; i < ATTACH_ROUNDS; i++) {
		fd = stage_open("t", O_RDWR);
		ASSERT_GE(fd, 0);
		ASSERT_EQ(0, pthread_create(&thread, NULL, asker, &fd));
		ASSERT_EQ(0, attach_raw(fd, SLUICE_CONSUMER, 0, &a));
		pthread_join(thread, &err);
		EXPECT_EQ(0, (long)err);
		close(fd);
	}
}

TEST_HARNESS_MAIN
