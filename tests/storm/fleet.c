// SPDX-License-Identifier: MIT
/* fleet.c: starts, kills, stops and waits for the processes. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "storm.h"

void sleep_us(uint32_t us)
{
	struct timespec ts = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000l };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

/* ------------------------------------------------------------------ begin --- */

static void run(struct storm *s, struct seat *seat)
{
	switch (seat->role) {
	case PRODUCER:
		if (s->opt.calls)
			call(s, seat);
		else
			produce(s, seat);
		break;
	case WORKER:
		if (s->opt.calls)
			serve(s, seat);
		else
			work(s, seat);
		break;
	case SINK:
		collect(s, seat);
		break;
	case UNDERTAKER:
		bury(s, seat);
		break;
	case MEMBER:
		take_part(s, seat);
		break;
	}
	_exit(1);
}

int seat_start(struct storm *s, struct seat *seat)
{
	pid_t parent = getpid(), pid;
	int ret = s->backend->seat_attach(s, seat);

	if (ret) {
		fprintf(stderr, "storm: no endpoint for log %u: %s\n", seat->log, strerror(-ret));
		return ret;
	}
	seat->lives++;
	seat->done = false;
	seat->order = ORDER_NONE;
	seat->obeyed = 0;
	seat->stop = 0;
	seat->suicide = 0;
	seat->holds = 0;
	seat->continue_at = 0;
	seat->rng = mix(s->opt.seed + seat->log, s->round << 32 | seat->lives) | 1;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		setpriority(PRIO_PROCESS, 0, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		run(s, seat);
	}
	if (pid < 0) {
		fprintf(stderr, "storm: fork: %s\n", strerror(errno));
		return -errno;
	}
	seat->pid = pid;	/* in shared memory: the parent alone writes it */
	return 0;
}

/* -------------------------------------------------------------------- end --- */

/* Was this end one that may happen? */
static bool end_ok(struct storm *s, struct seat *seat, int status, bool killed)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
		s->tally.suicides += !killed;
		return killed || seat->suicide;
	}
	/* its mapping was taken away while it was late: the next touch is a fault */
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS && s->backend->has_descriptors) {
		s->tally.bus_errors++;
		return true;
	}
	if (!WIFEXITED(status))
		return false;
	switch (WEXITSTATUS(status)) {
	case EXIT_DONE:
		/* the program that it became ends so, too */
		return s->stop || seat->order == ORDER_EXEC;
	case EXIT_EVICTED:
		s->tally.evicted++;
		return true;
	case EXIT_ORDERED:
		return seat->order == ORDER_EXIT || seat->order == ORDER_FORK;
	default:
		return false;
	}
}

static void ended(struct storm *s, struct seat *seat, int status, bool killed)
{
	if (!end_ok(s, seat, status, killed)) {
		s->tally.bad_ends++;
		fprintf(stderr, "# log %u ended by itself: %s %d\n", seat->log,
			WIFEXITED(status) ? "status" : "signal",
			WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	}
	seat->done = s->stop && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_DONE;
	seat->pid = 0;
	seat->continue_at = 0;
	s->backend->seat_died(s, seat);
}

/* kill -9, and gone. false: it had ended already. */
bool seat_kill(struct storm *s, struct seat *seat)
{
	int status;

	if (!seat->pid)
		return false;
	history_add(s->history, s->parent_log, (struct history_event) {
		.what = HISTORY_KILL, .value = seat->log,
	});
	kill(seat->pid, SIGKILL);
	if (waitpid(seat->pid, &status, 0) != seat->pid)
		return false;
	ended(s, seat, status, true);
	return true;
}

/* Whom the reaper wants gone (user space only): the same as if its mapping were taken away. */
void seat_evict(struct storm *s, struct seat *seat)
{
	int status;

	if (!seat->pid)
		return;
	kill(seat->pid, SIGKILL);
	waitpid(seat->pid, &status, 0);
	seat->pid = 0;
	seat->continue_at = 0;
	s->tally.evicted++;
	s->backend->seat_died(s, seat);
}

/*
 * Stopped for longer than any timeout; seats_continue() lets it go on. When the producers have to
 * end they have to go on, too; what a stopped worker holds is then given to another by the clock.
 */
void seat_stop(struct storm *s, struct seat *seat)
{
	uint32_t ms = s->opt.module ? 400 * slowness(s) : 60;
	unsigned int i;

	/* one at a time, or nothing moves */
	for (i = 0; i < s->nseats; i++)
		if (s->seat[i].continue_at)
			return;
	if (!seat->pid)
		return;
	/* a consumer with a claim in its hands, a producer anywhere */
	if (seat->role == PRODUCER)
		kill(seat->pid, SIGSTOP);
	else
		__atomic_store_n(&seat->stop, 1, __ATOMIC_RELEASE);
	seat->continue_at = history_now() + (ms + below(&s->rng, ms)) * MS;
	s->tally.stops++;
}

void seats_continue(struct storm *s)
{
	uint64_t now = history_now();
	unsigned int i;

	for (i = 0; i < s->nseats; i++) {
		struct seat *seat = &s->seat[i];

		if (!seat->continue_at || (now < seat->continue_at && s->stop < 2 &&
					   !(s->stop && seat->role == PRODUCER)))
			continue;
		seat->continue_at = 0;
		__atomic_store_n(&seat->stop, 0, __ATOMIC_RELEASE);
		kill(seat->pid, SIGCONT);
	}
}

/*
 * Ask it to end itself in another way. It does so at its next convenience; one that only waits
 * then, or does not come to it, is killed. false: there is nobody to ask.
 */
bool seat_order(struct storm *s, struct seat *seat, enum order order)
{
	uint64_t deadline = history_now() + 200 * s->opt.scale * MS;
	int status;

	if (!seat->pid || seat->continue_at)
		return false;
	__atomic_store_n(&seat->order, order, __ATOMIC_RELEASE);
	for (;;) {
		if (waitpid(seat->pid, &status, WNOHANG) == seat->pid) {
			ended(s, seat, status, false);
			break;
		}
		if (__atomic_load_n(&seat->obeyed, __ATOMIC_ACQUIRE)) {
			sleep_us(below(&s->rng, 2000));
			seat_kill(s, seat);
			break;
		}
		if (history_now() > deadline)
			return seat_kill(s, seat);
		sleep_us(100);
	}
	s->tally.orders[order]++;
	return true;
}

/* Takes note of who has ended; @restart: somebody else sits down, but where all is done. */
void seats_look(struct storm *s, bool restart)
{
	unsigned int i;
	int status;

	for (i = 0; i < s->nseats; i++) {
		struct seat *seat = &s->seat[i];

		if (seat->pid && waitpid(seat->pid, &status, WNOHANG) == seat->pid)
			ended(s, seat, status, false);
		if (!seat->pid && !seat->done && restart && seat_start(s, seat))
			s->tally.bad_ends++;
	}
}

/* Those of this level end by themselves; who does not within the time is a fault. */
void seats_end(struct storm *s, unsigned int stop)
{
	static const unsigned int levels[] = {
		[PRODUCER] = 1, [WORKER] = 2, [UNDERTAKER] = 3, [SINK] = 3, [MEMBER] = 2,
	};
	uint64_t deadline = history_now() + 20 * s->opt.scale * SECOND;
	bool any = true;
	unsigned int i;

	__atomic_store_n(&s->stop, stop, __ATOMIC_RELEASE);
	seats_continue(s);
	while (any && history_now() < deadline) {
		s->backend->tick(s);
		sleep_us(500);
		/* who died before it was done, of a message that kills perhaps, has a successor */
		seats_look(s, true);
		seats_continue(s);
		any = false;
		for (i = 0; i < s->nseats; i++)
			any |= levels[s->seat[i].role] <= stop && !s->seat[i].done;
	}
	for (i = 0; i < s->nseats; i++) {
		if (!s->seat[i].pid || levels[s->seat[i].role] > stop)
			continue;
		fprintf(stderr, "# log %u does not end\n", s->seat[i].log);
		s->tally.bad_ends++;
		seat_kill(s, &s->seat[i]);
	}
}
