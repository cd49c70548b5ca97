// SPDX-License-Identifier: MIT
/*
 * pipeline_run.c: the processes of sluice-perf pipeline
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "peer.h"
#include "pipeline.h"

#define PATIENCE_S	30
#define HOP_MESSAGES	50

enum kind { KIND_EMPTY, KIND_WORK };

/* Stage i claims from ring i and publishes into ring i + 1; the client has both ends. */
struct rings {
	char name[PIPELINE_MAX_STAGES + 1][SLUICE_NAME_MAX];
	uint32_t n;
};

/* One end of the pipeline, or both: who claims here and publishes there. */
struct ends {
	struct sluice_ctx *ctx;
	struct sluice_ep *in, *out;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void sleep_until(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

/* Nobody spins: there may be more processes than processors. */
static int attach(struct ends *e, const char *in, const char *out)
{
	int err = sluice_ctx_create(SLUICE_CTX_NO_SPIN, &e->ctx);

	if (!err)
		err = sluice_attach(e->ctx, in, SLUICE_CONSUMER, 0, &e->in);
	if (!err)
		err = sluice_attach(e->ctx, out, SLUICE_PRODUCER, 0, &e->out);
	return err;
}

static int process_fails(struct pipeline_shared *sh, const char *why)
{
	if (!sh->error[0])
		snprintf(sh->error, sizeof(sh->error), "%s", why);
	return PERF_EXIT_FAILED;
}

/* ------------------------------------------------------------------ stage --- */

/* The work is a sleep of the given length, so that a stage needs no processor for it. */
static void work(struct pipeline *p, uint32_t i)
{
	uint64_t begin = now_ns();

	sleep_until(begin + p->in.stage[i].service_ns);
	__atomic_add_fetch(&p->sh->worked_ns[i], now_ns() - begin, __ATOMIC_RELAXED);
	__atomic_add_fetch(&p->sh->worked[i], 1, __ATOMIC_RELAXED);
}

/* A replica of stage @i: claims, works, publishes, acknowledges; ends when it is killed. */
static int stage(struct pipeline *p, const struct rings *rings, uint32_t i)
{
	struct sluice_msg msg;
	struct ends e;
	int err = attach(&e, rings->name[i], rings->name[i + 1]);

	if (!err)
		__atomic_add_fetch(&p->sh->attached, 1, __ATOMIC_SEQ_CST);
	while (!err && !(err = sluice_claim(e.in, &msg, SLUICE_FOREVER))) {
		struct sluice_msg result = { .stream = msg.stream, .counter = msg.counter,
					     .kind = msg.kind, .buffer = SLUICE_NO_BUFFER };

		if (msg.kind == KIND_WORK)
			work(p, i);
		err = sluice_post(e.out, &result);
		if (err >= 0)
			err = sluice_ack(e.in, &msg);
	}
	return process_fails(p->sh, sluice_error());
}

/* ----------------------------------------------------------------- client --- */

static int send_one(struct pipeline *p, struct ends *e, uint64_t number, enum kind kind)
{
	struct sluice_msg msg = { .stream = 1, .counter = number, .kind = kind,
				  .buffer = SLUICE_NO_BUFFER };

	return sluice_send(e->out, &msg, SLUICE_FOREVER) ? process_fails(p->sh, sluice_error()) : 0;
}

/* One result; each number comes once, and replicas may change their order. */
static int receive_one(struct pipeline *p, struct ends *e, uint64_t n, bool *seen)
{
	int64_t patience = PATIENCE_S * 1000000000ll + (int64_t)p->result.first_ns;
	struct sluice_msg msg;

	if (sluice_claim(e->in, &msg, patience))
		return process_fails(p->sh, sluice_error());
	if (msg.counter >= n || seen[msg.counter])
		return process_fails(p->sh, "a result came twice, or was never sent");
	seen[msg.counter] = true;
	return sluice_ack(e->in, &msg) ? process_fails(p->sh, sluice_error()) : 0;
}

static int send_all(struct pipeline *p, struct ends *e, uint64_t n, uint64_t *done)
{
	bool seen[PIPELINE_MAX_MESSAGES] = { false };
	uint64_t begin = now_ns();
	int status = 0;

	for (uint64_t k = 0; k < n && !status; k++)
		status = send_one(p, e, k, KIND_WORK);
	for (uint64_t k = 0; k < n && !status; k++) {
		status = receive_one(p, e, n, seen);
		done[k] = now_ns() - begin;
	}
	return status;
}

static int send_each(struct pipeline *p, struct ends *e, uint64_t n, enum kind kind,
		     uint64_t *done)
{
	bool seen[PIPELINE_MAX_MESSAGES] = { false };
	uint64_t begin = now_ns();
	int status = 0;

	for (uint64_t k = 0; k < n && !status; k++) {
		status = send_one(p, e, k, kind);
		if (!status)
			status = receive_one(p, e, n, seen);
		done[k] = now_ns() - begin;
	}
	return status;
}

/* The first of them warm everything up; the median, since a few may be late. */
static int measure_hop(struct pipeline *p, struct ends *e)
{
	uint64_t done[HOP_MESSAGES], trip[HOP_MESSAGES / 2];
	const size_t half = HOP_MESSAGES / 2;
	int status = send_each(p, e, HOP_MESSAGES, KIND_EMPTY, done);

	if (status)
		return status;
	for (size_t i = 0; i < half; i++)
		trip[i] = done[half + i] - done[half + i - 1];
	stats_sort(trip, half);
	p->sh->hop_ns = (double)stats_percentile(trip, half, 0.5) / (p->in.nstages + 1);
	return 0;
}

static int client(struct pipeline *p, const struct rings *rings)
{
	uint64_t n = p->in.messages;
	struct ends e;
	int status;

	if (attach(&e, rings->name[p->in.nstages], rings->name[0]))
		return process_fails(p->sh, sluice_error());
	status = measure_hop(p, &e);
	for (unsigned int i = 0; i < p->rounds && !status; i++) {
		uint64_t *done = p->sh->done[ASYNCHRONOUS][i];

		status = send_all(p, &e, n, done);
		if (status)
			break;
		perf_progress("round %u/%u  asynchronously %10.3f ms", i + 1, p->rounds,
			      (double)done[n - 1] / 1e6);
		done = p->sh->done[SYNCHRONOUS][i];
		status = send_each(p, &e, n, KIND_WORK, done);
		if (!status)
			perf_progress("round %u/%u  synchronously  %10.3f ms", i + 1, p->rounds,
				      (double)done[n - 1] / 1e6);
	}
	return status;
}

/* ------------------------------------------------------------------ whole --- */

static int create_rings(const struct pipeline *p, struct rings *rings)
{
	while (rings->n <= p->in.nstages) {
		struct sluice_create c = { .nslots = SLUICE_MIN_SLOTS };
		char what[24];
		int err;

		/* Never full: what a full ring does is not predicted. */
		while (c.nslots < p->in.messages)
			c.nslots *= 2;
		snprintf(what, sizeof(what), "pipeline%u", rings->n);
		perf_stage_name(rings->name[rings->n], what);
		memcpy(c.name, rings->name[rings->n], sizeof(c.name));
		err = sluice_create(&c);
		if (err) {
			perf_error("%s", sluice_error());
			return err;
		}
		rings->n++;
	}
	return 0;
}

struct processes {
	pid_t pid[PIPELINE_MAX_STAGES * PIPELINE_MAX_REPLICAS];
	int n;
};

static int start_stages(struct pipeline *p, const struct rings *rings, struct processes *all)
{
	for (uint32_t i = 0; i < p->in.nstages; i++) {
		for (uint32_t r = 0; r < p->in.stage[i].replicas; r++) {
			pid_t pid = perf_fork();

			if (pid == 0)
				_exit(stage(p, rings, i));
			if (pid < 0) {
				perf_error("cannot start a process: %s", strerror(-pid));
				return pid;
			}
			all->pid[all->n++] = pid;
		}
	}
	return 0;
}

static int await_stages(const struct pipeline *p, int n)
{
	const struct timespec ms = { 0, 1000000 };

	for (int waited = 0; waited < PATIENCE_S * 1000; waited++) {
		if (p->sh->error[0]) {
			perf_error("%s", p->sh->error);
			return -EIO;
		}
		if (__atomic_load_n(&p->sh->attached, __ATOMIC_SEQ_CST) == (uint32_t)n)
			return 0;
		nanosleep(&ms, NULL);
	}
	perf_error("only %u of %d stage processes attached within %d s", p->sh->attached, n,
		   PATIENCE_S);
	return -ETIMEDOUT;
}

/* The client is a process as well, so that whoever waits for it can end it. */
static int run_client(struct pipeline *p, const struct rings *rings)
{
	double seconds = (double)(p->result.pipelined_ns + p->result.synchronous_ns) / 1e9;
	pid_t pid = perf_fork();
	int status = 0, err;

	if (pid == 0)
		_exit(client(p, rings));
	if (pid < 0) {
		perf_error("cannot start a process: %s", strerror(-pid));
		return pid;
	}
	err = perf_wait(&pid, &status, 1, (unsigned int)(3 * seconds * p->rounds) + 2 * PATIENCE_S);
	if (err && err != -EINTR)
		perf_error("%s", p->sh->error[0] ? p->sh->error : "the client did not end in time");
	return err;
}

int pipeline_run(struct pipeline *p)
{
	struct processes all = { .n = 0 };
	struct rings rings = { .n = 0 };
	int err;

	p->sh = peer_map(sizeof(*p->sh));
	if (!p->sh) {
		perf_error("no memory");
		return -ENOMEM;
	}
	perf_stages_sweep();
	err = perf_signals_block();
	if (!err)
		err = create_rings(p, &rings);
	if (!err)
		err = start_stages(p, &rings, &all);
	if (!err)
		err = await_stages(p, all.n);
	if (!err)
		err = run_client(p, &rings);
	perf_kill(all.pid, all.n);
	for (uint32_t i = 0; i < rings.n; i++)
		sluice_destroy(rings.name[i], 0, SLUICE_DESTROY_FORCE);
	return err;
}
