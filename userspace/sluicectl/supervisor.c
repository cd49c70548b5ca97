// SPDX-License-Identifier: MIT
/*
 * supervisor.c - start the daemons of a pipeline and keep them running
 *
 * One thread around sd-event: signals, deaths and timers are descriptors in one epoll, so that
 * nothing happens when nothing happens. Each event is a line on stderr: STAGE REPLICA PID EVENT.
 */

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <systemd/sd-event.h>

#include "../stages/board.h"
#include "letters.h"
#include "sluicectl.h"
#include "start.h"
#include "state.h"
#include "supervisor.h"

#define MS			1000ull			/* sd-event counts microseconds */
#define SECOND			(1000 * MS)
#define BACKOFF_FIRST		(10 * MS)
#define BACKOFF_MAX		(5 * SECOND)
#define FORGIVEN_AFTER		(10 * SECOND)
#define SETTLED_AFTER		(1 * SECOND)	/* so long ready: its start was no failure */
#define POLL_FIRST		(20 * MS)
#define POLL_MAX		(1 * SECOND)
#define PROGRESS_EVERY		(3 * SECOND)
#define MAX_EARLY_DEATHS	3	/* in a row, before the pipeline was ready once */

enum daemon_state { DAEMON_RUNNING, DAEMON_WAITING, DAEMON_FINISHED };

struct supervisor;

struct daemon {
	struct supervisor		*supervisor;
	const struct pipeline_stage	*stage;
	unsigned int			replica;
	enum daemon_state		state;
	pid_t				pid;
	uint64_t			started;	/* CLOCK_MONOTONIC, us */
	unsigned int			failures;	/* deaths in a row */
	unsigned int			restarts;
	bool				ready;
	uint64_t			ready_at;
	struct breaker			breaker;	/* its failures: deaths before it settled */
	struct board_row		*row;
	sd_event_source			*child;
	sd_event_source			*again;
	sd_event_source			*settled;
};

struct supervisor {
	const struct pipeline			*pipeline;
	const struct supervisor_options		*options;
	sd_event				*event;
	sd_event_source				*poll;
	sd_event_source				*deadline;
	uint64_t				poll_interval;
	uint64_t				told;		/* when progress was last shown */
	struct daemon				*daemons;
	size_t					ndaemons;
	struct board				*board;
	struct letters				*letters;
	bool					ready;
	bool					stopping;
	int					status;
};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + t.tv_nsec / 1000;
}

static void say(const struct daemon *d, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void say(const struct daemon *d, const char *format, ...)
{
	char event[256];
	va_list args;

	va_start(args, format);
	vsnprintf(event, sizeof(event), format, args);
	va_end(args);
	fprintf(stderr, "%s %u %d %s\n", d->stage->create.name, d->replica, (int)d->pid, event);
}

static void write_state(struct supervisor *s)
{
	struct json_object *daemons = json_object_new_array();

	for (size_t i = 0; i < s->ndaemons; i++) {
		const struct daemon *d = &s->daemons[i];
		struct json_object *row;

		if (d->state != DAEMON_RUNNING)
			continue;
		row = process_json(d->pid);
		json_object_object_add(row, "stage", json_object_new_string(d->stage->create.name));
		json_object_object_add(row, "replica", json_object_new_int((int)d->replica));
		json_object_object_add(row, "restarts", json_object_new_int((int)d->restarts));
		json_object_object_add(row, "ready", json_object_new_boolean(d->ready));
		json_object_array_add(daemons, row);
	}
	json_object_object_add(s->options->state, "daemons", daemons);
	state_write(s->pipeline->name, s->options->state);
}

static void finish(struct supervisor *s)
{
	sd_event_exit(s->event, 0);
}

/* ---------------------------------------------------------------- stopping --- */

static void signal_all(struct supervisor *s, int number)
{
	for (size_t i = 0; i < s->ndaemons; i++)
		if (s->daemons[i].state == DAEMON_RUNNING)
			kill(s->daemons[i].pid, number);
}

/* SIGTERM to the first stage that still has daemons; the next one follows when they are gone. */
static void drain_next(struct supervisor *s)
{
	const struct pipeline_stage *stage = NULL;

	for (size_t i = 0; i < s->ndaemons; i++) {
		struct daemon *d = &s->daemons[i];

		if (d->state != DAEMON_RUNNING || (stage && stage != d->stage))
			continue;
		if (!stage)
			stage = d->stage;
		kill(d->pid, SIGTERM);
	}
	if (!stage)
		finish(s);
}

static int on_deadline(sd_event_source *source, uint64_t when, void *data)
{
	struct supervisor *s = data;

	for (size_t i = 0; i < s->ndaemons; i++)
		if (s->daemons[i].state == DAEMON_RUNNING)
			say(&s->daemons[i], "has not finished in %u ms: SIGKILL",
			    s->pipeline->drain_ms);
	signal_all(s, SIGKILL);
	return 0;
}

static void stop(struct supervisor *s, int status)
{
	if (s->stopping) {
		signal_all(s, SIGKILL);
		return;
	}
	s->stopping = true;
	s->status = status;
	if (s->poll)
		sd_event_source_set_enabled(s->poll, SD_EVENT_OFF);
	for (size_t i = 0; i < s->ndaemons; i++) {
		s->daemons[i].again = sd_event_source_disable_unref(s->daemons[i].again);
		if (s->daemons[i].state == DAEMON_WAITING)
			s->daemons[i].state = DAEMON_FINISHED;
	}
	if (s->deadline)
		sd_event_source_disable_unref(s->deadline);
	s->deadline = NULL;
	sd_event_add_time_relative(s->event, &s->deadline, CLOCK_MONOTONIC,
				   s->pipeline->drain_ms * MS, 0, on_deadline, s);
	drain_next(s);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *data)
{
	struct supervisor *s = data;

	fprintf(stderr, "%s - - %s: %s\n", s->pipeline->name, strsignal((int)info->ssi_signo),
		s->stopping ? "killing the daemons" : "draining");
	stop(s, CTL_OK);
	return 0;
}

/* --------------------------------------------------------- circuit breakers --- */

static void show_breaker(struct daemon *d)
{
	if (d->row)
		board_show(&d->row->starts, &d->breaker);
}

/* Answers for the stage while none of its daemons runs and none is about to. */
static void stand_in(struct daemon *d, const char *what)
{
	struct supervisor *s = d->supervisor;
	uint64_t retry_at = 0;
	char why[160];

	for (size_t i = 0; i < s->ndaemons; i++) {
		const struct daemon *other = &s->daemons[i];

		if (other->stage != d->stage)
			continue;
		if (other->state != DAEMON_FINISHED && other->breaker.state != BREAKER_OPEN)
			return;
		if (other->state != DAEMON_FINISHED &&
		    (!retry_at || other->breaker.retry_at < retry_at))
			retry_at = other->breaker.retry_at;
	}
	snprintf(why, sizeof(why), retry_at ? "is shut off, its daemon keeps failing (%.80s)" :
		 "has no daemon: the last one %.80s and is not started again", what);
	letters_stand_in(s->letters, d->stage, EHOSTDOWN, why, retry_at);
}

/* A death: was it one too many? Returns how long it stays shut off, in us; 0: it does not. */
static uint64_t shut_off(struct daemon *d)
{
	uint64_t now = board_now();

	d->settled = sd_event_source_disable_unref(d->settled);
	if (d->ready && now_us() - d->ready_at >= SETTLED_AFTER)
		breaker_success(&d->breaker);
	else
		breaker_failure(&d->breaker, now);
	show_breaker(d);
	return breaker_retry_ns(&d->breaker, now) / 1000;
}

/* ------------------------------------------------------------------- ready --- */

static struct daemon *daemon_of(struct supervisor *s, const struct pipeline_stage *stage,
				uint32_t pid)
{
	for (size_t i = 0; i < s->ndaemons; i++)
		if (s->daemons[i].stage == stage && s->daemons[i].pid == (pid_t)pid)
			return &s->daemons[i];
	return NULL;
}

static int on_settled(sd_event_source *source, uint64_t when, void *data)
{
	struct daemon *d = data;

	d->settled = sd_event_source_disable_unref(d->settled);
	if (breaker_success(&d->breaker))
		say(d, "has settled, no longer shut off when it ends");
	show_breaker(d);
	return 0;
}

static void set_ready(struct daemon *d)
{
	if (d->ready)
		return;
	d->ready = true;
	d->ready_at = now_us();
	say(d, "ready after %.3f s", (d->ready_at - d->started) / 1e6);
	letters_stand_down(d->supervisor->letters, d->stage);
	if (d->breaker.count)
		sd_event_add_time_relative(d->supervisor->event, &d->settled, CLOCK_MONOTONIC,
					   SETTLED_AFTER, 0, on_settled, d);
}

/*
 * A daemon is ready when it is a consumer of its stage. One that was started by a wrapper has
 * another pid than ours; then it counts that there are as many consumers as replicas.
 */
static void look_at_stage(struct supervisor *s, const struct pipeline_stage *stage)
{
	struct sluice_endpoint_info endpoint = { .index = 0 };
	unsigned int consumers = 0;
	struct daemon *d;

	for (; !sluice_endpoint(stage->create.name, &endpoint); endpoint.index++) {
		/* Our own is the one that stands in, see letters.h. */
		if (endpoint.role != SLUICE_CONSUMER || endpoint.pid == (uint32_t)getpid())
			continue;
		consumers++;
		d = daemon_of(s, stage, endpoint.pid);
		if (d && d->state == DAEMON_RUNNING)
			set_ready(d);
	}
	for (size_t i = 0; consumers >= stage->replicas && i < s->ndaemons; i++)
		if (s->daemons[i].stage == stage && s->daemons[i].state == DAEMON_RUNNING)
			set_ready(&s->daemons[i]);
}

/* The first start may take a minute: weights are dequantised into the cache. */
static void show_progress(struct supervisor *s)
{
	uint64_t now = now_us();

	if (s->ready || now - s->told < PROGRESS_EVERY)
		return;
	s->told = now;
	for (size_t i = 0; i < s->ndaemons; i++)
		if (s->daemons[i].state == DAEMON_RUNNING && !s->daemons[i].ready)
			say(&s->daemons[i], "not ready yet, %.0f s",
			    (now - s->daemons[i].started) / 1e6);
}

static int on_poll(sd_event_source *source, uint64_t when, void *data)
{
	struct supervisor *s = data;
	bool all = true;

	for (size_t i = 0; i < s->pipeline->nstages; i++)
		if (s->pipeline->stages[i].command)
			look_at_stage(s, &s->pipeline->stages[i]);
	for (size_t i = 0; i < s->ndaemons; i++)
		if (!s->daemons[i].ready && s->daemons[i].state != DAEMON_FINISHED)
			all = false;
	if (!all) {
		show_progress(s);
		if (s->poll_interval < POLL_MAX)
			s->poll_interval += s->poll_interval / 4;
		sd_event_source_set_time_relative(source, s->poll_interval);
		return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	}
	write_state(s);
	if (s->ready)
		return 0;
	s->ready = true;
	if (s->deadline)
		s->deadline = sd_event_source_disable_unref(s->deadline);
	if (s->options->on_ready)
		s->options->on_ready(s->options->data);
	return 0;
}

static void poll_soon(struct supervisor *s)
{
	s->poll_interval = POLL_FIRST;
	sd_event_source_set_time_relative(s->poll, s->poll_interval);
	sd_event_source_set_enabled(s->poll, SD_EVENT_ONESHOT);
}

static int on_not_ready(sd_event_source *source, uint64_t when, void *data)
{
	struct supervisor *s = data;

	for (size_t i = 0; i < s->ndaemons; i++)
		if (!s->daemons[i].ready)
			ctl_error("stage '%s' replica %u did not attach within %u ms: see what it "
				  "said, or give it more ready_timeout",
				  s->daemons[i].stage->create.name, s->daemons[i].replica,
				  s->pipeline->ready_ms);
	stop(s, CTL_TIMEOUT);
	return 0;
}

/* ---------------------------------------------------------- life and death --- */

static int on_death(sd_event_source *source, const siginfo_t *info, void *data);

static int start(struct daemon *d)
{
	struct supervisor *s = d->supervisor;
	int err;

	d->ready = false;
	d->started = now_us();
	err = spawn_daemon(s->pipeline->name, d->stage, d->replica, s->options->log_fd, &d->pid);
	if (err) {
		ctl_error("cannot start '%s': %s", d->stage->command[0], strerror(-err));
		d->state = DAEMON_FINISHED;
		return err;
	}
	d->state = DAEMON_RUNNING;
	d->child = sd_event_source_unref(d->child);
	err = sd_event_add_child(s->event, &d->child, d->pid, WEXITED, on_death, d);
	if (err < 0) {
		ctl_error("cannot watch process %d: %s", (int)d->pid, strerror(-err));
		return err;
	}
	say(d, "started");
	return 0;
}

static int on_again(sd_event_source *source, uint64_t when, void *data)
{
	struct daemon *d = data;

	d->again = sd_event_source_disable_unref(d->again);
	d->restarts++;
	breaker_allow(&d->breaker, board_now());
	show_breaker(d);
	if (start(d) < 0) {
		stop(d->supervisor, CTL_FAILED);
		return 0;
	}
	write_state(d->supervisor);
	poll_soon(d->supervisor);
	return 0;
}

static uint64_t backoff(struct daemon *d)
{
	uint64_t delay;

	if (now_us() - d->started >= FORGIVEN_AFTER)
		d->failures = 0;
	if (!d->failures)
		delay = 0;
	else if (d->failures > 16)
		delay = BACKOFF_MAX;
	else
		delay = BACKOFF_FIRST << (d->failures - 1);
	d->failures++;
	return delay < BACKOFF_MAX ? delay : BACKOFF_MAX;
}

static bool wants_restart(const struct daemon *d, bool success)
{
	return d->stage->restart == RESTART_ALWAYS ||
	       (d->stage->restart == RESTART_ON_FAILURE && !success);
}

/*
 * @refused: it ended by itself and has said why. Before it was ever ready the next one would say
 * the same; one that was killed gets another try.
 */
static void restart(struct daemon *d, const char *what, bool refused)
{
	struct supervisor *s = d->supervisor;
	uint64_t delay = backoff(d), shut = shut_off(d);

	if (!s->ready && !d->ready && (refused || d->failures >= MAX_EARLY_DEATHS)) {
		say(d, "%s, given up", what);
		ctl_error("stage '%s': '%s' %s before it was ready; see what it said",
			  d->stage->create.name, d->stage->command[0], what);
		d->state = DAEMON_FINISHED;
		stop(s, CTL_FAILED);
		return;
	}
	if (shut > delay)
		delay = shut;
	if (shut)
		say(d, "%s, shut off for %llu ms after %u failures", what,
		    (unsigned long long)(shut / MS), d->breaker.count);
	else if (delay)
		say(d, "%s, starts again in %llu ms", what, (unsigned long long)(delay / MS));
	else
		say(d, "%s, starts again at once", what);
	d->state = DAEMON_WAITING;
	sd_event_add_time_relative(s->event, &d->again, CLOCK_MONOTONIC, delay, 1, on_again, d);
	if (shut)
		stand_in(d, what);
}

static int on_death(sd_event_source *source, const siginfo_t *info, void *data)
{
	struct daemon *d = data;
	struct supervisor *s = d->supervisor;
	bool success = info->si_code == CLD_EXITED && !info->si_status;
	char what[128];

	if (info->si_code == CLD_EXITED)
		snprintf(what, sizeof(what), "exited with status %d", info->si_status);
	else
		snprintf(what, sizeof(what), "killed by signal %d (%s)", info->si_status,
			 strsignal(info->si_status));
	d->state = DAEMON_FINISHED;
	if (s->stopping) {
		say(d, "%s", what);
		drain_next(s);
	} else if (wants_restart(d, success)) {
		restart(d, what, info->si_code == CLD_EXITED && !success);
	} else {
		say(d, "%s, finished", what);
		if (!success)
			s->status = CTL_FAILED;
		stand_in(d, what);
	}
	if (!s->stopping) {
		size_t i = 0;

		while (i < s->ndaemons && s->daemons[i].state == DAEMON_FINISHED)
			i++;
		if (i == s->ndaemons)
			finish(s);
	}
	return 0;
}

/* ------------------------------------------------------------------- whole --- */

static int block_signals(sigset_t *old)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	return -sigprocmask(SIG_BLOCK, &set, old);
}

static int set_up(struct supervisor *s)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	int err = sd_event_new(&s->event);

	for (int i = 0; err >= 0 && i < 3; i++)
		err = sd_event_add_signal(s->event, NULL, signals[i], on_signal, s);
	if (err >= 0)
		err = sd_event_add_time_relative(s->event, &s->poll, CLOCK_MONOTONIC, POLL_FIRST, 1,
						 on_poll, s);
	if (err >= 0)
		err = sd_event_add_time_relative(s->event, &s->deadline, CLOCK_MONOTONIC,
						 s->pipeline->ready_ms * MS, 0, on_not_ready, s);
	if (err >= 0)
		err = letters_create(s->pipeline, s->event, &s->letters);
	return err;
}

static void name_row(struct supervisor *s, struct daemon *d)
{
	const struct pipeline_breaker *b = &d->stage->breaker;
	const struct breaker_policy policy = {
		.failures = b->failures,
		.window_ns = b->window_ms * 1000000ull,
		.backoff_ns = b->backoff_ms * 1000000ull,
		.backoff_max_ns = b->backoff_max_ms * 1000000ull,
	};

	breaker_init(&d->breaker, &policy);
	if (!s->board)
		return;
	d->row = board_row(s->board, (uint32_t)(d - s->daemons));
	d->row->replica = d->replica;
	memcpy(d->row->stage, d->stage->create.name, sizeof(d->row->stage));
}

/* Without it everything works; only the others do not see which breakers are open. */
static void make_board(struct supervisor *s, size_t n)
{
	char *path = state_path(s->pipeline->name, ".board");
	int err = path ? board_create(path, (uint32_t)n, &s->board) : -ENOENT;

	if (err)
		ctl_error("cannot make '%s': %s", path ?: "the board", strerror(-err));
	else
		setenv(BOARD_ENVIRONMENT, path, 1);
	free(path);
}

static int list_daemons(struct supervisor *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->pipeline->nstages; i++)
		if (s->pipeline->stages[i].command)
			n += s->pipeline->stages[i].replicas;
	s->daemons = calloc(n + 1, sizeof(*s->daemons));
	if (!s->daemons)
		return -ENOMEM;
	make_board(s, n);
	for (size_t i = 0; i < s->pipeline->nstages; i++) {
		const struct pipeline_stage *stage = &s->pipeline->stages[i];

		for (unsigned int r = 0; stage->command && r < stage->replicas; r++) {
			struct daemon *d = &s->daemons[s->ndaemons++];

			d->supervisor = s;
			d->stage = stage;
			d->replica = r;
			name_row(s, d);
		}
	}
	return 0;
}

static void run(struct supervisor *s)
{
	s->poll_interval = POLL_FIRST;
	s->told = now_us();
	for (size_t i = 0; i < s->ndaemons && !s->stopping; i++)
		if (start(&s->daemons[i]) < 0)
			stop(s, CTL_FAILED);
	write_state(s);
	sd_event_loop(s->event);
}

static void clean_up(struct supervisor *s)
{
	letters_free(s->letters);
	for (size_t i = 0; i < s->ndaemons; i++) {
		sd_event_source_disable_unref(s->daemons[i].child);
		sd_event_source_disable_unref(s->daemons[i].again);
		sd_event_source_disable_unref(s->daemons[i].settled);
	}
	board_close(s->board);
	sd_event_source_disable_unref(s->poll);
	sd_event_source_disable_unref(s->deadline);
	sd_event_unref(s->event);
	free(s->daemons);
}

int supervisor_check(const struct pipeline *p)
{
	for (size_t i = 0; i < p->nstages; i++) {
		char *program;

		if (!p->stages[i].command)
			continue;
		program = spawn_find(p->stages[i].command[0]);
		if (!program) {
			ctl_error("stage '%s': there is no program '%s' beside sluicectl or in "
				  "PATH",
				  p->stages[i].create.name, p->stages[i].command[0]);
			return CTL_NOT_FOUND;
		}
		free(program);
	}
	return CTL_OK;
}

int supervisor_run(const struct pipeline *p, const struct supervisor_options *options)
{
	struct supervisor s = { .pipeline = p, .options = options, .status = CTL_OK };
	sigset_t old;
	int err = block_signals(&old);

	if (!err)
		err = list_daemons(&s);
	if (!err)
		err = set_up(&s);
	if (err < 0) {
		ctl_error("cannot supervise: %s", strerror(-err));
		s.status = CTL_FAILED;
	} else {
		run(&s);
	}
	clean_up(&s);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return s.status;
}
