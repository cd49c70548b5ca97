/* SPDX-License-Identifier: MIT */
/*
 * state.h - what a running pipeline leaves for others to find
 *
 * In the run directory ($SLUICE_RUN_DIR, else /run/sluice for root, else $XDG_RUNTIME_DIR/sluice):
 *
 *	NAME.lock	locked with flock() by the supervisor while it lives: the one proof of life
 *	NAME.json	who it is, which stages it made, which daemons it has; replaced atomically
 *	NAME.board	which circuit breakers are open, see stages/board.h
 *	NAME.log	what daemons and supervisor say after `up --detach`
 *
 * Processes are named by pid and start time, so that a recycled pid is never taken for them.
 */
#ifndef SLUICECTL_STATE_H
#define SLUICECTL_STATE_H

#include <stdint.h>
#include <sys/types.h>

#include <json-c/json.h>

/**
 * state_path() - a file of the run directory, which is made if need be
 * @suffix:	".json", ".lock", ".board", ".log"
 *
 * Return: an allocated path, or NULL after the error was printed.
 */
char *state_path(const char *name, const char *suffix);

/**
 * state_lock() - become the one supervisor of a pipeline
 * Return: a descriptor to keep; -EWOULDBLOCK: another one lives; another negative errno value
 * after the error was printed.
 */
int state_lock(const char *name);

/** state_unlock() - remove lock, board and state file, close @lock */
void state_unlock(const char *name, int lock);

/** state_write() - replace NAME.json. Return: 0, or a negative errno value after it was printed */
int state_write(const char *name, struct json_object *state);

/**
 * state_read() - the state of a pipeline, NULL if there is none that can be read
 *
 * The state may be stale: only the lock tells.
 */
struct json_object *state_read(const char *name);

/**
 * state_find() - the name of the pipeline that @word means: a name, or a file that was brought up
 * Return: allocated, NULL if no state is there.
 */
char *state_find(const char *word);

/**
 * state_accepts() - what a running pipeline declares that @stage takes, in one line
 * Return: allocated, NULL if none declares anything.
 */
char *state_accepts(const char *stage);

/**
 * state_about() - what a running pipeline says of @stage: daemons, limits of check, supervisor
 * Return: to be put by the caller; NULL if it is in none.
 */
struct json_object *state_about(const char *stage);

/** state_pipeline_of() - the running pipeline that @stage is in: allocated, or NULL */
char *state_pipeline_of(const char *stage);

/** state_number(), state_string() - a member; 0 and "" if it is not there or of another type */
int64_t state_number(struct json_object *state, const char *key);
const char *state_string(struct json_object *state, const char *key);

/** process_json() - {"pid": …, "start": …} of a living process */
struct json_object *process_json(pid_t pid);

/**
 * process_open() - a pidfd of the process that process_json() described
 * @state:	the whole state: it names the boot in which its processes lived
 *
 * Return: the descriptor, or -ESRCH if that process is gone, whoever has its pid now.
 */
int process_open(struct json_object *state, struct json_object *process);

/** process_wait() - wait until it has ended. Return: 0, -ETIMEDOUT */
int process_wait(int pidfd, unsigned int ms);

/** boot_id() - of the running kernel; "" if it does not tell */
const char *boot_id(void);

#endif /* SLUICECTL_STATE_H */
