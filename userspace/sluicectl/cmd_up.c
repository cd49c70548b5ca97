// SPDX-License-Identifier: MIT
/* cmd_up.c - up and down */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../stages/message.h"
#include "pipeline.h"
#include "sluicectl.h"
#include "state.h"
#include "supervisor.h"

#define DOWN_SLACK_MS	5000	/* beyond drain_timeout, to destroy the stages */

/* --------------------------------------------------------- stages of a pipeline --- */

/* Does the stage exist? 0: no; 1: yes, as wanted; else an exit status, negated. */
static int stage_exists(const struct pipeline *p, const struct pipeline_stage *stage)
{
	struct sluice_info info = { 0 };
	char why[CTL_WHY_MAX];
	int err = sluice_info(stage->create.name, &info);

	if (err == -ENOENT)
		return 0;
	if (err)
		return -ctl_library_error(err);
	if (!ctl_geometry_differs(&stage->create, &info, why))
		return 1;
	ctl_error("%s:%u: stage '%s' exists already, but %s: 'sluicectl destroy %s', or change the "
		  "file",
		  p->path, stage->line, stage->create.name, why, stage->create.name);
	return -CTL_FAILED;
}

/*
 * A client that was killed leaves its reply stage; the next client would put it away, but after the
 * pipeline there may be none.
 */
static void destroy_replies(void)
{
	struct sluice_info info = { .cookie = 0 };
	int pid;

	while (!sluice_next(&info))
		if (sscanf(info.name, MSG_REPLY_PREFIX "%d.", &pid) == 1 && pid > 0 &&
		    kill(pid, 0) && errno == ESRCH)
			sluice_destroy(info.name, 0, 0);
}

static void destroy_created(struct json_object *state)
{
	struct json_object *created;
	int err;

	destroy_replies();
	if (!json_object_object_get_ex(state, "created", &created))
		return;
	for (size_t i = 0; i < json_object_array_length(created); i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(created, i));

		err = sluice_destroy(name, 0, SLUICE_DESTROY_FORCE);
		if (err && err != -ENOENT)
			ctl_library_error(err);
	}
}

/*
 * The names go into the state before the stages are made: whoever is killed in between leaves a
 * name too many, never a stage that nobody will destroy.
 */
static int create_stages(const struct pipeline *p, struct json_object *state)
{
	bool missing[PIPELINE_MAX_STAGES] = { false };
	struct json_object *created = json_object_new_array();
	int err;

	json_object_object_add(state, "created", created);
	for (size_t i = 0; i < p->nstages; i++) {
		int there = stage_exists(p, &p->stages[i]);

		if (there < 0)
			return -there;
		missing[i] = !there;
		if (missing[i])
			json_object_array_add(created,
					      json_object_new_string(p->stages[i].create.name));
	}
	if (state_write(p->name, state))
		return CTL_FAILED;
	for (size_t i = 0; i < p->nstages; i++) {
		err = missing[i] ? sluice_create(&p->stages[i].create) : 0;
		if (err)
			return ctl_library_error(err);
	}
	return CTL_OK;
}

/* ---------------------------------------------------------------- leftovers --- */

static int for_daemons(struct json_object *state, int number, unsigned int wait_ms)
{
	struct json_object *daemons;
	int left = 0;

	if (!json_object_object_get_ex(state, "daemons", &daemons))
		return 0;
	for (size_t i = 0; i < json_object_array_length(daemons); i++) {
		int fd = process_open(state, json_object_array_get_idx(daemons, i));

		if (fd < 0)
			continue;
		pidfd_send_signal(fd, number, NULL, 0);
		if (process_wait(fd, wait_ms))
			left++;
		close(fd);
	}
	return left;
}

/* The supervisor is gone (kill -9): its daemons got SIGTERM by that; make an end of all of it. */
static void clean_stale(struct json_object *state)
{
	if (for_daemons(state, SIGTERM, (unsigned int)state_number(state, "drain_ms")))
		for_daemons(state, SIGKILL, 1000);
	destroy_created(state);
}

/* --------------------------------------------------------------------- up --- */

struct up {
	const char		*word;
	const char		**sets;
	size_t			nsets;
	bool			detach;
	bool			json;
	struct pipeline		*pipeline;
	struct json_object	*state;
	int			lock;
	int			log_fd;
	int			report_fd;	/* detached: a byte here tells that it is up */
};

static const struct argp_option up_options[] = {
	{ "set", 's', "KEY=VALUE", 0, "Give a variable of the file a value; may be repeated", 0 },
	{ "detach", 'd', NULL, 0,
	  "Return when all daemons are ready, go on in the background", 0 },
	{ "json", 'j', NULL, 0, "When all daemons are ready print the state as JSON", 0 },
	{ 0 }
};

static error_t up_parser(int key, char *arg, struct argp_state *state)
{
	struct up *up = state->input;
	const char **grown;

	switch (key) {
	case 's':
		if (!strchr(arg, '=') || arg[0] == '=')
			argp_error(state, "--set: '%s' is not KEY=VALUE", arg);
		grown = realloc(up->sets, (up->nsets + 2) * sizeof(*up->sets));
		if (!grown)
			return ENOMEM;
		up->sets = grown;
		up->sets[up->nsets++] = arg;
		up->sets[up->nsets] = NULL;
		return 0;
	case 'd':
		up->detach = true;
		return 0;
	case 'j':
		up->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num)
			argp_error(state, "one file at a time, '%s' is too much", arg);
		up->word = arg;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which pipeline file?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* What check, show and top want to know of a stage. */
static struct json_object *about(const struct pipeline_stage *stage)
{
	struct json_object *object = json_object_new_object();
	const struct {
		const char *name;
		uint32_t value;
	} rows[] = {
		{ "daemons", stage->command ? stage->replicas : 0 },
		{ "check_backlog", stage->limits.backlog },
		{ "check_age_ms", stage->limits.age_ms },
		{ "check_dead", stage->limits.dead },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		json_object_object_add(object, rows[i].name, json_object_new_int64(rows[i].value));
	return object;
}

static struct json_object *new_state(const struct pipeline *p)
{
	struct json_object *state = json_object_new_object(), *stages = json_object_new_array();
	struct json_object *client = json_object_new_object();
	struct json_object *accepts = json_object_new_object();
	struct json_object *abouts = json_object_new_object();

	json_object_object_add(state, "pipeline", json_object_new_string(p->name));
	json_object_object_add(state, "file", json_object_new_string(p->path));
	json_object_object_add(state, "boot", json_object_new_string(boot_id()));
	json_object_object_add(state, "supervisor", process_json(getpid()));
	json_object_object_add(state, "drain_ms", json_object_new_int64(p->drain_ms));
	for (size_t i = 0; i < p->nstages; i++) {
		const struct pipeline_stage *stage = &p->stages[i];

		json_object_array_add(stages, json_object_new_string(stage->create.name));
		json_object_object_add(abouts, stage->create.name, about(stage));
		if (stage->accepts)
			json_object_object_add(accepts, stage->create.name,
					       json_object_new_string(stage->accepts));
	}
	json_object_object_add(state, "stages", stages);
	json_object_object_add(state, "accepts", accepts);
	json_object_object_add(state, "about", abouts);
	for (int i = 0; i < PIPELINE_ROLES; i++)
		if (p->client[i])
			json_object_object_add(client, pipeline_roles[i],
					       json_object_new_string(p->client[i]));
	json_object_object_add(state, "client", client);
	return state;
}

static void on_ready(void *data)
{
	struct up *up = data;

	if (up->json)
		ctl_print_json(json_object_get(up->state));
	else
		fprintf(stderr, "pipeline '%s' is up%s\n", up->pipeline->name,
			up->detach ? "" : "; Ctrl-C takes it down");
	fflush(stdout);
	if (!up->detach)
		return;
	/* The terminal is given back; what is said from now on goes to the log. */
	dup2(up->log_fd, STDOUT_FILENO);
	dup2(up->log_fd, STDERR_FILENO);
	if (write(up->report_fd, "", 1) != 1)
		ctl_error("the starting sluicectl is gone");
	close(up->report_fd);
}

static int supervise(struct up *up)
{
	struct supervisor_options options = {
		.log_fd = up->log_fd, .on_ready = on_ready, .data = up,
	};
	int status;

	up->state = new_state(up->pipeline);
	options.state = up->state;
	status = create_stages(up->pipeline, up->state);
	if (!status)
		status = supervisor_run(up->pipeline, &options);
	destroy_created(up->state);
	json_object_put(up->state);
	state_unlock(up->pipeline->name, up->lock);
	return status;
}

static pid_t detached;

static void pass_on(int number)
{
	kill(detached, SIGTERM);
}

/* In the foreground process: until the supervisor says that it is up, or ends. */
static int wait_for(pid_t supervisor, int report_fd, const char *name)
{
	const struct sigaction action = { .sa_handler = pass_on, .sa_flags = SA_RESTART };
	char *log, byte;
	ssize_t n;
	int status;

	detached = supervisor;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	do
		n = read(report_fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return CTL_OK;
	if (waitpid(supervisor, &status, 0) == supervisor && WIFEXITED(status))
		status = WEXITSTATUS(status);
	else
		status = CTL_FAILED;
	log = state_path(name, ".log");
	ctl_error("pipeline '%s' is not up; what its daemons said is in %s", name,
		  log ?: "the log");
	free(log);
	return status ?: CTL_INTERRUPTED;
}

static int open_log(struct up *up)
{
	char *path = state_path(up->pipeline->name, ".log");

	if (!path)
		return CTL_FAILED;
	up->log_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
	if (up->log_fd < 0)
		ctl_error("cannot write '%s': %s", path, strerror(errno));
	free(path);
	return up->log_fd < 0 ? CTL_FAILED : CTL_OK;
}

static int detach(struct up *up)
{
	int report[2], status = open_log(up);
	pid_t supervisor;

	if (status)
		return status;
	if (pipe2(report, O_CLOEXEC)) {
		ctl_error("pipe: %s", strerror(errno));
		return CTL_FAILED;
	}
	fflush(NULL);
	supervisor = fork();
	if (supervisor < 0) {
		ctl_error("fork: %s", strerror(errno));
		return CTL_FAILED;
	}
	if (supervisor) {
		close(report[1]);
		return wait_for(supervisor, report[0], up->pipeline->name);
	}
	close(report[0]);
	up->report_fd = report[1];
	setsid();
	if (!freopen("/dev/null", "r", stdin))
		close(STDIN_FILENO);
	return supervise(up);
}

/* Take the lock, and put away what a supervisor that was killed has left. */
static int become_supervisor(struct up *up)
{
	const char *name = up->pipeline->name;
	struct json_object *old, *supervisor;

	up->lock = state_lock(name);
	if (up->lock >= 0) {
		old = state_read(name);
		if (old) {
			ctl_error("pipeline '%s': its supervisor was killed; cleaning up after it",
				  name);
			clean_stale(old);
			json_object_put(old);
		}
		return CTL_OK;
	}
	if (up->lock != -EWOULDBLOCK)
		return CTL_FAILED;
	old = state_read(name);
	if (!json_object_object_get_ex(old, "supervisor", &supervisor))
		supervisor = NULL;
	ctl_error("pipeline '%s' is up already (supervisor %lld): 'sluicectl down %s' takes it "
		  "down", name, (long long)state_number(supervisor, "pid"), name);
	json_object_put(old);
	return CTL_FAILED;
}

int cmd_up(const struct ctl_command *cmd, int argc, char **argv)
{
	struct up up = { .log_fd = STDERR_FILENO, .report_fd = -1 };
	int status = ctl_parse(cmd, up_options, up_parser, argc, argv, &up);
	char *path;

	if (status)
		return status;
	path = pipeline_find(up.word);
	status = path ? pipeline_load(path, up.sets, &up.pipeline) : CTL_FAILED;
	free(path);
	free(up.sets);
	if (status)
		return status;
	status = supervisor_check(up.pipeline);
	if (!status)
		status = ctl_check_module();
	if (!status)
		status = become_supervisor(&up);
	if (!status)
		status = up.detach ? detach(&up) : supervise(&up);
	pipeline_free(up.pipeline);
	return status;
}

/* ------------------------------------------------------------------- down --- */

struct down_args {
	const char *word;
	int64_t timeout_ns;
	bool force;
	bool json;
};

static const struct argp_option down_options[] = {
	{ "timeout", 't', "TIME", 0, "Wait so long (the pipeline's drain_timeout and 5s)", 0 },
	{ "force", 'f', NULL, 0, "After that time kill supervisor and daemons", 0 },
	CTL_OPTION_JSON,
	{ 0 }
};

static error_t down_parser(int key, char *arg, struct argp_state *state)
{
	struct down_args *args = state->input;

	switch (key) {
	case 't':
		args->timeout_ns = ctl_option_duration(state, "--timeout", arg);
		return 0;
	case 'f':
		args->force = true;
		return 0;
	case 'j':
		args->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num)
			argp_error(state, "one pipeline at a time, '%s' is too much", arg);
		args->word = arg;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which pipeline?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* No supervisor holds the lock any more: we do. */
static int down_stale(const char *name, struct json_object *state, int lock)
{
	ctl_error("pipeline '%s': its supervisor was killed; cleaning up after it", name);
	clean_stale(state);
	state_unlock(name, lock);
	return CTL_OK;
}

static int force_down(const char *name, struct json_object *state, int pidfd)
{
	int lock;

	pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
	process_wait(pidfd, 1000);
	lock = state_lock(name);
	if (lock < 0) {
		ctl_error("pipeline '%s' cannot be killed", name);
		return CTL_FAILED;
	}
	for_daemons(state, SIGKILL, 1000);
	return down_stale(name, state, lock);
}

static int down_live(const struct down_args *args, const char *name, struct json_object *state)
{
	unsigned int ms = (unsigned int)state_number(state, "drain_ms") + DOWN_SLACK_MS;
	struct json_object *supervisor = NULL;
	int pidfd, status = CTL_OK;

	if (args->timeout_ns >= 0)
		ms = (unsigned int)(args->timeout_ns / 1000000);
	json_object_object_get_ex(state, "supervisor", &supervisor);
	pidfd = process_open(state, supervisor);
	if (pidfd < 0) {
		ctl_error("pipeline '%s' is supervised by a process that cannot be found from "
			  "here: take it down in its pid namespace, as the user who started it",
			  name);
		return CTL_FAILED;
	}
	if (pidfd_send_signal(pidfd, SIGTERM, NULL, 0)) {
		ctl_error("cannot stop the supervisor of '%s': %s", name, strerror(errno));
		status = ctl_exit_of(-errno);
	} else if (process_wait(pidfd, ms)) {
		if (args->force) {
			status = force_down(name, state, pidfd);
		} else {
			ctl_error("pipeline '%s' has not finished in %u ms: --force kills it", name,
				  ms);
			status = CTL_TIMEOUT;
		}
	}
	close(pidfd);
	return status;
}

int cmd_down(const struct ctl_command *cmd, int argc, char **argv)
{
	struct down_args args = { .timeout_ns = -1 };
	struct json_object *state, *result;
	char *name;
	int lock, status = ctl_parse(cmd, down_options, down_parser, argc, argv, &args);

	if (status)
		return status;
	name = state_find(args.word);
	if (!name) {
		ctl_error("no pipeline '%s' is up", args.word);
		return CTL_NOT_FOUND;
	}
	state = state_read(name);
	lock = state_lock(name);
	if (lock >= 0)
		status = down_stale(name, state, lock);
	else
		status = lock == -EWOULDBLOCK ? down_live(&args, name, state) : CTL_DENIED;
	json_object_put(state);
	if (!status && args.json) {
		result = json_object_new_object();
		json_object_object_add(result, "stopped", json_object_new_string(name));
		ctl_print_json(result);
	}
	free(name);
	return status;
}
