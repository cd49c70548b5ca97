// SPDX-License-Identifier: MIT
/*
 * plain.c - the plain path alone, by the calls that every version of the library has
 *
 * scripts/perf-compare builds it against two versions and runs them in turn. Prints ns for a
 * message: one way (each claimed and acknowledged), there and back spinning, there and back asleep.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sluice/sluice.h>

#define SLOTS		256u
#define BYTES		64u
#define WARMUP		5u	/* one in so many */

/* What the two processes share besides the rings: when the first message was claimed, and the last. */
struct times {
	uint64_t first, last;
};

static void die(const char *what)
{
	fprintf(stderr, "plain: %s: %s\n", what, sluice_error());
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void name_of(char name[SLUICE_NAME_MAX], pid_t owner, const char *way)
{
	snprintf(name, SLUICE_NAME_MAX, "plain-%d-%s", (int)owner, way);
}

static struct sluice_ep *attach(struct sluice_ctx *ctx, pid_t owner, const char *way,
				enum sluice_role role)
{
	unsigned int flags = role == SLUICE_PRODUCER ? SLUICE_ATTACH_SOLE : 0;
	char name[SLUICE_NAME_MAX];
	struct sluice_ep *ep;

	name_of(name, owner, way);
	if (sluice_attach(ctx, name, role, flags, &ep))
		die("attach");
	return ep;
}

static void send_one(struct sluice_ep *out, uint64_t number)
{
	uint64_t data[BYTES / sizeof(uint64_t)] = { number };
	struct sluice_msg m = {
		.counter = number, .data = data, .len = BYTES, .buffer = SLUICE_NO_BUFFER,
	};

	if (sluice_send(out, &m, SLUICE_FOREVER))
		die("send");
}

static void receive_one(struct sluice_ep *in, uint64_t number)
{
	struct sluice_msg m;

	if (sluice_claim(in, &m, SLUICE_FOREVER))
		die("claim");
	if (m.len != BYTES || memcmp(m.data, &number, sizeof(number)))
		die("a message is not what was sent");
	if (sluice_ack(in, &m))
		die("ack");
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* The other process: the receiver of a flow, or who sends everything back. */
static void answer(pid_t owner, unsigned int flags, uint64_t n, int back, struct times *t)
{
	struct sluice_ep *in, *out = NULL;
	struct sluice_ctx *ctx;

	if (sluice_ctx_create(flags, &ctx))
		die("context");
	in = attach(ctx, owner, "there", SLUICE_CONSUMER);
	if (back)
		out = attach(ctx, owner, "back", SLUICE_PRODUCER);
	for (uint64_t i = 0; i < n; i++) {
		receive_one(in, i);
		if (i == n / WARMUP)
			t->first = now_ns();
		if (back)
			send_one(out, i);
	}
	t->last = now_ns();
	sluice_ctx_destroy(ctx);
}

static void ask(pid_t owner, unsigned int flags, uint64_t n, int back, struct times *t)
{
	struct sluice_ep *out, *in = NULL;
	struct sluice_ctx *ctx;

	if (sluice_ctx_create(flags, &ctx))
		die("context");
	out = attach(ctx, owner, "there", SLUICE_PRODUCER);
	if (back)
		in = attach(ctx, owner, "back", SLUICE_CONSUMER);
	for (uint64_t i = 0; i < n; i++) {
		send_one(out, i);
		if (back)
			receive_one(in, i);
	}
	(void)t;
	sluice_ctx_destroy(ctx);
}

static void stages(int create)
{
	static const char *const ways[] = { "there", "back" };

	for (int i = 0; i < 2; i++) {
		struct sluice_create c = { .nslots = SLOTS };

		name_of(c.name, getpid(), ways[i]);
		if (create ? sluice_create(&c) : sluice_destroy(c.name, 1000, 0))
			die(create ? "create" : "destroy");
	}
}

/* A process starts on the processor where it stays: a box may tie it to one of the host's. */
static pid_t start(int cpu, void (*run)(pid_t, unsigned int, uint64_t, int, struct times *),
		   unsigned int flags, uint64_t n, int back, struct times *t)
{
	pid_t owner = getpid(), child;

	pin(cpu);
	child = fork();
	if (!child) {
		run(owner, flags, n, back, t);
		exit(0);
	}
	return child;
}

static void measure(const char *what, unsigned int flags, uint64_t n, int back, struct times *t)
{
	pid_t pid[2];
	int status;

	stages(1);
	pid[1] = start(1, answer, flags, n, back, t);
	pid[0] = start(0, ask, flags, n, back, t);
	for (int i = 0; i < 2; i++) {
		if (wait(&status) > 0 && !status)
			continue;
		/* The other one would wait for ever. */
		kill(pid[0], SIGKILL);
		kill(pid[1], SIGKILL);
		exit(1);
	}
	stages(0);
	printf("%s %.2f\n", what,
	       (double)(t->last - t->first) / (double)(n - n / WARMUP - 1));
	fflush(stdout);
}

int main(void)
{
	struct times *t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (t == MAP_FAILED)
		die("mmap");
	measure("flow", SLUICE_CTX_SPIN, 5000000, 0, t);
	measure("spin", SLUICE_CTX_SPIN, 1000000, 1, t);
	measure("sleep", SLUICE_CTX_NO_SPIN, 10000, 1, t);
	return 0;
}
