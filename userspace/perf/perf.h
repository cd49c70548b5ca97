/* SPDX-License-Identifier: MIT */
/*
 * perf.h: what the commands of sluice-perf share
 */
#ifndef SLUICE_PERF_H
#define SLUICE_PERF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct json_object;

/* Exit status: 0 measured, 1 it could not be, 2 the command line is wrong. */
#define PERF_EXIT_FAILED	1
#define PERF_EXIT_USAGE		2

/* One per command: argv[0] is the command's name. Return: exit status. */
int perf_latency_main(int argc, char **argv);
int perf_throughput_main(int argc, char **argv);
int perf_scaling_main(int argc, char **argv);
int perf_window_main(int argc, char **argv);
int perf_broadcast_main(int argc, char **argv);
int perf_load_main(int argc, char **argv);
int perf_pause_main(int argc, char **argv);
int perf_capacity_main(int argc, char **argv);
int perf_model_main(int argc, char **argv);
int perf_idle_main(int argc, char **argv);
int perf_recovery_main(int argc, char **argv);
int perf_failover_main(int argc, char **argv);
int perf_balance_main(int argc, char **argv);
int perf_order_main(int argc, char **argv);
int perf_batch_main(int argc, char **argv);
int perf_prefetch_main(int argc, char **argv);
int perf_pipeline_main(int argc, char **argv);
int perf_priority_main(int argc, char **argv);

/* ---------------------------------------------------------- options.c --- */

/** perf_error() - one line on stderr, with the program's name */
void perf_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/** perf_progress() - one line on stderr, unless --quiet was given */
void perf_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void perf_set_quiet(bool quiet);

/**
 * perf_no_arguments() - after getopt_long(): nothing is left on the command line
 * @command:	of sluice-perf, for the message
 *
 * Return: 0, or -EINVAL after a message.
 */
int perf_no_arguments(const char *command, int argc, char **argv);

/**
 * perf_parse_count() - a whole number from the command line; k, M and G multiply by 1000s
 * @option:	its name, for the message
 *
 * Return: 0, or -EINVAL after a message that says what is allowed.
 */
int perf_parse_count(const char *option, const char *text, uint64_t min, uint64_t max,
		     uint64_t *value);

/**
 * perf_parse_time() - a duration with its unit, such as 20ms, from 1 us to @max ns
 *
 * Return: 0, or -EINVAL after a message that says what is allowed.
 */
int perf_parse_time(const char *option, const char *text, uint64_t max, uint64_t *ns);

/**
 * perf_parse_cpus() - "a,b" into two processor numbers this process may run on
 * @text:	NULL takes the first two that are allowed (the same twice if there is one)
 */
int perf_parse_cpus(const char *text, int cpus[2]);

/* ---------------------------------------------------------- process.c --- */

/**
 * perf_fork() - fork a measured process that dies with its parent
 *
 * Signals that the coordinator blocked are unblocked in the child.
 * Return: as fork(), or a negative errno.
 */
pid_t perf_fork(void);

/**
 * perf_fork_on() - perf_fork() a process that stays on processor @cpu
 *
 * The parent is there, too, while it forks: what the kernel sets up for a process (and in
 * User-Mode Linux the host's process that stands for it) then belongs to that processor.
 */
pid_t perf_fork_on(int cpu);

/** perf_pin() - keep the calling process on one processor */
int perf_pin(int cpu);

/** perf_signals_block() - SIGCHLD, SIGINT, SIGTERM and SIGHUP wait for perf_wait() */
int perf_signals_block(void);

/**
 * perf_wait() - wait until all of @n processes have ended
 * @pids:	0 for those that are already reaped; set to 0 as they end
 * @status:	as waitpid() gave it, for each
 * @timeout_s:	for all of them together
 *
 * As soon as one fails, the rest is killed. Return: 0 all ended with 0, -ECHILD
 * one failed, -ETIMEDOUT, -EINTR (asked to stop); none is left in any case.
 */
int perf_wait(pid_t *pids, int *status, int n, unsigned int timeout_s);

/** perf_kill() - end and reap those of @n processes that are left */
void perf_kill(pid_t *pids, int n);

/* ----------------------------------------------------------- stages.c --- */

/** perf_stage_name() - of a stage of this process; @name has room for SLUICE_NAME_MAX */
void perf_stage_name(char *name, const char *what);

/** perf_stages_sweep() - destroy stages of measurements that were killed; nothing without module */
void perf_stages_sweep(void);

/* ---------------------------------------------------------- machine.c --- */

/** perf_machine_json() - processor, kernel, box; owned by the caller */
struct json_object *perf_machine_json(void);
/** perf_machine_print() - the same as a few lines */
void perf_machine_print(FILE *f);

#endif /* SLUICE_PERF_H */
