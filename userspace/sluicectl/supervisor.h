/* SPDX-License-Identifier: MIT */
/* supervisor.h - start the daemons of a pipeline and keep them running */
#ifndef SLUICECTL_SUPERVISOR_H
#define SLUICECTL_SUPERVISOR_H

#include <json-c/json.h>

#include "pipeline.h"

/**
 * struct supervisor_options - how
 * @state:	the pipeline's state; the supervisor keeps "daemons" in it up to date and writes it
 * @log_fd:	stdout and stderr of the daemons
 * @on_ready:	called once, when all daemons have attached
 * @data:	for @on_ready
 */
struct supervisor_options {
	struct json_object	*state;
	int			log_fd;
	void			(*on_ready)(void *data);
	void			*data;
};

/**
 * supervisor_check() - can all commands be found?
 * Return: CTL_OK, or CTL_NOT_FOUND after the error was printed.
 */
int supervisor_check(const struct pipeline *p);

/**
 * supervisor_run() - run the daemons until SIGTERM, SIGINT or SIGHUP
 *
 * Who dies is started again, at once the first time, then after 10 ms doubling to 5 s; ten seconds
 * of life forgive all. Who dies again and again without a second of work is shut off for longer
 * (stages/breaker.h), and while no daemon of a stage runs its messages are answered with an error
 * (letters.h). At the end the daemons get SIGTERM stage by stage in the pipeline's order
 * and drain_ms in all, then SIGKILL. Nothing of it polls while all daemons are attached.
 *
 * Return: CTL_OK after a signal; CTL_TIMEOUT (not ready in time), CTL_FAILED (a daemon cannot
 * start, or all have finished with an error).
 */
int supervisor_run(const struct pipeline *p, const struct supervisor_options *options);

#endif /* SLUICECTL_SUPERVISOR_H */
