// SPDX-License-Identifier: MIT
/*
 * worker.c: one hostile process. Two lanes do operations on the same descriptors and mappings, a
 * third thread scribbles. When it dies the supervisor starts it again, and each lane goes on
 * where it was.
 */
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "hostile.h"

#define GAP		(8ull << 20)	/* nothing, behind a lane's scratch memory */
#define BLOCKED_MS	5		/* a call that sleeps is interrupted after so long */

__thread sigjmp_buf guard;
__thread volatile sig_atomic_t guarded;
static __thread const char *doing;

static struct worker self;
static const struct op *const tables[] = { ops_command, ops_memory, ops_process, ops_uring };

#define TABLES	(sizeof(tables) / sizeof(tables[0]))

void broken(const char *fmt, ...)
{
	char text[sizeof(shared->broken_text)];
	uint32_t no = 0;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* the first one is told */
	if (__atomic_compare_exchange_n(&shared->broken, &no, 1, false, __ATOMIC_SEQ_CST,
					__ATOMIC_SEQ_CST)) {
		memcpy(shared->broken_text, text, sizeof(text));
		__atomic_store_n(&shared->broken, 2, __ATOMIC_SEQ_CST);
	}
}

/* ------------------------------------------------------------- operations --- */

const struct op *op_by_index(uint32_t index)
{
	size_t t;

	for (t = 0; t < TABLES; t++) {
		const struct op *op;

		for (op = tables[t]; op->name; op++)
			if (!index--)
				return op;
	}
	return NULL;
}

uint32_t op_count(void)
{
	uint32_t n = 0;

	while (op_by_index(n))
		n++;
	return n;
}

/* By weight, over all tables but one. */
static const struct op *choose(struct rng *r, const struct op *except, uint32_t *index)
{
	static uint32_t total[TABLES + 1];	/* of all tables but one; the last: of all */
	const struct op *op;
	uint32_t sum, at, i;
	size_t t, skip = TABLES;

	for (t = 0; t < TABLES; t++)
		if (tables[t] == except)
			skip = t;
	if (!total[skip]) {
		for (sum = 0, t = 0; t < TABLES; t++)
			for (op = tables[t]; op->name; op++)
				sum += t == skip ? 0 : op->weight;
		total[skip] = sum;
	}
	at = rng_below(r, total[skip]);
	for (i = 0, t = 0; t < TABLES; t++) {
		for (op = tables[t]; op->name; op++, i++) {
			if (t == skip)
				continue;
			if (at < op->weight) {
				*index = i;
				return op;
			}
			at -= op->weight;
		}
	}
	abort();
}

static int run_op(struct lane *l, const struct op *op)
{
	static const struct timespec soon = { .tv_nsec = BLOCKED_MS * 1000000 };
	/* again and again: the first may come before it sleeps */
	const struct itimerspec on = { soon, soon }, off = { 0 };
	int ret;

	if (!op->sleeps)
		return op->run(l);
	timer_settime(l->timer, 0, &on, NULL);
	ret = op->run(l);
	timer_settime(l->timer, 0, &off, NULL);
	return ret;
}

/* worker_op() - one operation of the lane's generator, of any table but @except */
void worker_op(struct lane *l, const struct op *except)
{
	struct trace *trace = &shared->trace[l->index][l->number % TRACE];
	const struct op *op;
	uint64_t started;
	uint32_t index;
	int ret;

	op = choose(&l->rng, except, &index);
	if (!l->child)
		*trace = (struct trace) { l->number, index, 1 };
	if (shared->replay) {
		printf("# lane %u %s%llu %s", l->index, l->child ? "child of " : "",
		       (unsigned long long)l->number, op->name);
		fflush(stdout);
	}
	doing = op->name;
	started = now_ns();
	ret = run_op(l, op);
	__atomic_fetch_add(&shared->spent_ns[index], now_ns() - started, __ATOMIC_RELAXED);
	if (shared->replay) {
		printf(" = %d\n", ret);
		fflush(stdout);
	}
	if (!l->child)
		trace->result = ret;
	__atomic_fetch_add(&shared->tried[index], 1, __ATOMIC_RELAXED);
	if (ret >= 0)
		__atomic_fetch_add(&shared->worked[index], 1, __ATOMIC_RELAXED);
}

/* ---------------------------------------------------------------- threads --- */

static void interrupt(int sig)
{
}

/* Whatever sleeps in this thread comes back with EINTR: a timer of its own. */
void make_timer(struct lane *l)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM };

	ev._sigev_un._tid = (int)syscall(SYS_gettid);
	if (timer_create(CLOCK_MONOTONIC, &ev, &l->timer)) {
		broken("no timer for a lane: %s", strerror(errno));
		_exit(98);
	}
}

static bool lane_next(struct lane *l)
{
	uint64_t n = __atomic_load_n(&shared->done[l->index], __ATOMIC_RELAXED);

	if (n >= shared->goal || __atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE))
		return false;
	/* counted before it is done: it may not come back */
	__atomic_store_n(&shared->done[l->index], n + 1, __ATOMIC_RELAXED);
	l->number = n;
	l->rng.s = rng_mix(shared->seed ^ rng_mix((uint64_t)l->index << 40 ^ n));
	return true;
}

static void *lane_main(void *arg)
{
	struct lane *l = arg;

	make_timer(l);
	while (lane_next(l))
		worker_op(l, NULL);
	return NULL;
}

static void *scribbler_main(void *arg)
{
	struct worker *w = arg;
	struct rng r = { .s = rng_mix(shared->seed ^ (0x5c71bb1eull << w->index)) };
	uint32_t i, good;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	while (!__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE)) {
		for (i = 0, good = 0; i < 64; i++)
			good += scribble(&r, &w->maps[rng_below(&r, MAPS)]);
		__atomic_fetch_add(&shared->scribbles, good, __ATOMIC_RELAXED);
		usleep(rng_below(&r, 3000));
	}
	return NULL;
}

/* ------------------------------------------------------------------ set-up --- */

/* The mapping that @addr lies in, as /proc/self/maps says it, or "nothing is mapped". */
static void mapping_of(const void *addr, char *text, size_t len)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long from, to;
	char line[256];

	snprintf(text, len, "nothing is mapped");
	while (maps && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx", &from, &to) == 2 && (uintptr_t)addr >= from &&
		    (uintptr_t)addr < to)
			snprintf(text, len, "%.*s", (int)strcspn(line, "\n"), line);
	}
	if (maps)
		fclose(maps);
}

/* Not async-signal-safe, and worth it: the worker is at its end. */
static void caught(int sig, siginfo_t *info, void *context)
{
	char mapping[256];

	if (guarded) {
		__atomic_fetch_add(&shared->faults, 1, __ATOMIC_RELAXED);
		siglongjmp(guard, 1);
	}
	mapping_of(info->si_addr, mapping, sizeof(mapping));
	broken("a worker got signal %d (code %d) at %p while it did %s: %s", sig, info->si_code,
	       info->si_addr, doing ?: "nothing", mapping);
	_exit(99);
}

static void set_signals(void)
{
	struct sigaction fault = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_NODEFER };
	struct sigaction alarm = { .sa_handler = interrupt };

	sigaction(SIGSEGV, &fault, NULL);
	sigaction(SIGBUS, &fault, NULL);
	sigaction(SIGALRM, &alarm, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGIO, SIG_IGN);
}

/* Somebody without privileges, who may use the hostile stages and nothing else. */
static void become_nobody(void)
{
	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY)) {
		broken("becoming somebody else: %s", strerror(errno));
		_exit(98);
	}
	prctl(PR_SET_DUMPABLE, 1);
}

/* Address space where everything happens, so that a stray store meets nothing of the C library. */
static void make_arena(struct worker *w)
{
	uint64_t bytes = MAPS * MAP_SLOT + HINTS_PAGES * PAGE + LANES * (SCRATCH + GAP);
	uint32_t i;
	char *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		broken("no address space for a worker: %s", strerror(errno));
		_exit(98);
	}
	w->arena = p;
	for (i = 0; i < LANES; i++) {
		w->lanes[i].scratch = (unsigned char *)p + MAPS * MAP_SLOT + HINTS_PAGES * PAGE +
				      i * (SCRATCH + GAP);
		if (mprotect(w->lanes[i].scratch, SCRATCH, PROT_READ | PROT_WRITE))
			_exit(98);
	}
}

/* After an exec: descriptors that were left open belong to another address space's endpoints. */
static void adopt(struct worker *w)
{
	uint32_t n = 0;
	int fd;

	for (fd = 3; fd < FD_SHARED; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			continue;
		if (n < FDS)
			w->fds[n++] = (struct fd_slot) { .fd = fd, .kind = FD_STAGE };
		else
			close(fd);
	}
}

/* worker_main() - does not return; @inherited: after an exec, with what was open before it */
void worker_main(uint32_t index, bool inherited)
{
	struct worker *w = &self;
	pthread_t scribbler;
	uint32_t i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memset(w, 0, sizeof(*w));
	w->index = index;
	w->root = !(index % 2);
	pthread_mutex_init(&w->map_lock, NULL);
	for (i = 0; i < FDS; i++)
		w->fds[i].fd = -1;
	set_signals();
	if (!w->root && !geteuid())
		become_nobody();
	make_arena(w);
	if (inherited)
		adopt(w);
	for (i = 0; i < LANES; i++) {
		w->lanes[i].w = w;
		w->lanes[i].index = index * LANES + i;
	}
	if (shared->replay) {
		lane_main(&w->lanes[shared->replay_lane % LANES]);
		_exit(0);
	}
	if (pthread_create(&scribbler, NULL, scribbler_main, w))
		_exit(98);
	for (i = 0; i < LANES; i++)
		if (pthread_create(&w->lanes[i].thread, NULL, lane_main, &w->lanes[i]))
			_exit(98);
	for (i = 0; i < LANES; i++)
		pthread_join(w->lanes[i].thread, NULL);
	_exit(0);
}
