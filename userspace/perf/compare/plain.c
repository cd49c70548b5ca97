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

/* When the first message was claimed, and the last; shared by the two processes. */
struct times {
	uint64_t first, last;
};

/**
 * struct run - what the two processes do
 * @owner:	whose stages they are
 * @flags:	SLUICE_CTX_*
 * @n:		messages
 * @back:	each is sent back
 */
struct run {
	pid_t owner;
	unsigned int flags;
	uint64_t n;
	bool back;
	struct times *t;
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
static void answer(const struct run *r)
{
	struct sluice_ep *in, *out = NULL;
	struct sluice_ctx *ctx;

	if (sluice_ctx_create(r->flags, &ctx))
		die("context");
	in = attach(ctx, r->owner, "there", SLUICE_CONSUMER);
	if (r->back)
		out = attach(ctx, r->owner, "back", SLUICE_PRODUCER);
	for (uint64_t i = 0; i < r->n; i++) {
		receive_one(in, i);
		if (i == r->n / WARMUP)
			r->t->first = now_ns();
		if (r->back)
			send_one(out, i);
	}
	r->t->last = now_ns();
	sluice_ctx_destroy(ctx);
}

static void ask(const struct run *r)
{
	struct sluice_ep *out, *in = NULL;
	struct sluice_ctx *ctx;

	if (sluice_ctx_create(r->flags, &ctx))
		die("context");
	out = attach(ctx, r->owner, "there", SLUICE_PRODUCER);
	if (r->back)
		in = attach(ctx, r->owner, "back", SLUICE_CONSUMER);
	for (uint64_t i = 0; i < r->n; i++) {
		send_one(out, i);
		if (r->back)
			receive_one(in, i);
	}
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
static pid_t start(int cpu, void (*work)(const struct run *r), const struct run *r)
{
	pid_t child;

	pin(cpu);
	child = fork();
	if (!child) {
		work(r);
		exit(0);
	}
	return child;
}

static void measure(const char *what, const struct run *r)
{
	pid_t pid[2];
	int status;

	stages(1);
	pid[1] = start(1, answer, r);
	pid[0] = start(0, ask, r);
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
	       (double)(r->t->last - r->t->first) / (double)(r->n - r->n / WARMUP - 1));
	fflush(stdout);
}

int main(void)
{
	struct times *t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (t == MAP_FAILED)
		die("mmap");
	measure("flow", &(struct run) { getpid(), SLUICE_CTX_SPIN, 5000000, false, t });
	measure("spin", &(struct run) { getpid(), SLUICE_CTX_SPIN, 1000000, true, t });
	measure("sleep", &(struct run) { getpid(), SLUICE_CTX_NO_SPIN, 10000, true, t });
	return 0;
}
