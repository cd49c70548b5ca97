/* SPDX-License-Identifier: MIT */
/* start.h - start a daemon so that it cannot outlive its supervisor */
#ifndef SLUICECTL_START_H
#define SLUICECTL_START_H

#include <sys/types.h>

#include "pipeline.h"

/** spawn_find() - a program beside this one, else in PATH; allocated, NULL if there is none */
char *spawn_find(const char *program);

/**
 * spawn_daemon() - start one replica of a stage
 * @log_fd:	its stdout and stderr; its stdin is /dev/null
 * @pid:	out
 *
 * It gets a process group of its own (Ctrl-C is the supervisor's), SIGTERM when the supervisor
 * dies, and SLUICE_PIPELINE, SLUICE_STAGE, SLUICE_REPLICA in its environment.
 *
 * Return: 0, -ENOENT, -EAGAIN or -ENOMEM of fork().
 */
int spawn_daemon(const char *pipeline, const struct pipeline_stage *stage, unsigned int replica,
		 int log_fd, pid_t *pid);

#endif /* SLUICECTL_START_H */
