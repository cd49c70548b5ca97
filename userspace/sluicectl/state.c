// SPDX-License-Identifier: MIT
/* state.c - what a running pipeline leaves for others to find */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sluicectl.h"
#include "state.h"

static char *run_directory(void)
{
	const char *set = getenv("SLUICE_RUN_DIR"), *user = getenv("XDG_RUNTIME_DIR");
	char *path = NULL;

	if (set && set[0])
		path = strdup(set);
	else if (!geteuid())
		path = strdup("/run/sluice");
	else if (user && user[0] && asprintf(&path, "%s/sluice", user) < 0)
		path = NULL;
	return path;
}

static char *must_run_directory(void)
{
	char *path = run_directory();

	if (!path)
		ctl_error("no place for the state of pipelines: set SLUICE_RUN_DIR to a directory "
			  "of yours");
	return path;
}

char *state_path(const char *name, const char *suffix)
{
	char *directory = must_run_directory(), *path;

	if (!directory)
		return NULL;
	if (mkdir(directory, 0755) && errno != EEXIST) {
		ctl_error("cannot make '%s': %s; set SLUICE_RUN_DIR to a directory of yours",
			  directory, strerror(errno));
		path = NULL;
	} else if (asprintf(&path, "%s/%s%s", directory, name, suffix) < 0) {
		path = NULL;
	}
	free(directory);
	return path;
}

static int lock_file(const char *path)
{
	struct stat st;
	int fd, err;

	/* Whoever unlocks removes the file: what was opened before that is a lock on nothing. */
	do {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | LOCK_NB) || fstat(fd, &st)) {
			err = -errno;
			close(fd);
			return err;
		}
		if (!st.st_nlink)
			close(fd);
	} while (!st.st_nlink);
	return fd;
}

int state_lock(const char *name)
{
	char *path = state_path(name, ".lock");
	int fd;

	if (!path)
		return -EACCES;
	fd = lock_file(path);
	if (fd < 0 && fd != -EWOULDBLOCK)
		ctl_error("cannot lock '%s': %s; set SLUICE_RUN_DIR to a directory of yours", path,
			  strerror(-fd));
	free(path);
	return fd;
}

static void remove_file(const char *name, const char *suffix)
{
	char *path = state_path(name, suffix);

	if (path && unlink(path) && errno != ENOENT)
		ctl_error("cannot remove '%s': %s", path, strerror(errno));
	free(path);
}

void state_unlock(const char *name, int lock)
{
	remove_file(name, ".json");
	remove_file(name, ".board");
	remove_file(name, ".lock");
	close(lock);
}

int state_write(const char *name, struct json_object *state)
{
	char *path = state_path(name, ".json"), *temporary = NULL;
	int err = 0;

	if (!path || asprintf(&temporary, "%s.new", path) < 0) {
		free(path);
		return -ENOMEM;
	}
	if (json_object_to_file_ext(temporary, state, JSON_C_TO_STRING_PRETTY |
				    JSON_C_TO_STRING_NOSLASHESCAPE) || rename(temporary, path)) {
		err = -errno;
		ctl_error("cannot write '%s': %s", path, strerror(errno));
		unlink(temporary);
	}
	free(temporary);
	free(path);
	return err;
}

struct json_object *state_read(const char *name)
{
	char *path = state_path(name, ".json");
	struct json_object *state = NULL;

	if (path && !access(path, F_OK))
		state = json_object_from_file(path);
	free(path);
	return state;
}

int64_t state_number(struct json_object *state, const char *key)
{
	struct json_object *member;

	return json_object_object_get_ex(state, key, &member) ? json_object_get_int64(member) : 0;
}

const char *state_string(struct json_object *state, const char *key)
{
	struct json_object *member;

	if (!json_object_object_get_ex(state, key, &member) ||
	    !json_object_is_type(member, json_type_string))
		return "";
	return json_object_get_string(member);
}

typedef void *look_fn(struct json_object *state, const char *name, const char *what);

static void *look_at(const char *entry, look_fn *look, const char *what)
{
	size_t length = strlen(entry);
	struct json_object *state;
	void *found = NULL;
	char *name;

	if (length <= 5 || strcmp(entry + length - 5, ".json"))
		return NULL;
	name = strndup(entry, length - 5);
	state = name ? state_read(name) : NULL;
	if (state)
		found = look(state, name, what);
	json_object_put(state);
	free(name);
	return found;
}

/* What @look finds first in the states of @directory, which is freed. */
static void *look_at_all(char *directory, look_fn *look, const char *what)
{
	DIR *dir = directory ? opendir(directory) : NULL;
	const struct dirent *entry;
	void *found = NULL;

	while (dir && !found && (entry = readdir(dir)))
		found = look_at(entry->d_name, look, what);
	if (dir)
		closedir(dir);
	free(directory);
	return found;
}

static void *name_if_from(struct json_object *state, const char *name, const char *file)
{
	return strcmp(state_string(state, "file"), file) ? NULL : strdup(name);
}

static char *find_by_file(const char *word)
{
	char file[PATH_MAX];

	if (!realpath(word, file))
		return NULL;
	return look_at_all(must_run_directory(), name_if_from, file);
}

static void *declared_for(struct json_object *state, const char *name, const char *stage)
{
	struct json_object *accepts;
	const char *line;

	if (!json_object_object_get_ex(state, "accepts", &accepts))
		return NULL;
	line = state_string(accepts, stage);
	return line[0] ? strdup(line) : NULL;
}

char *state_accepts(const char *stage)
{
	return look_at_all(run_directory(), declared_for, stage);
}

static void *about(struct json_object *state, const char *name, const char *stage)
{
	struct json_object *all, *one, *supervisor;

	if (!json_object_object_get_ex(state, "about", &all) ||
	    !json_object_object_get_ex(all, stage, &one))
		return NULL;
	if (json_object_object_get_ex(state, "supervisor", &supervisor))
		json_object_object_add(one, "supervisor",
				       json_object_new_int64(state_number(supervisor, "pid")));
	return json_object_get(one);
}

struct json_object *state_about(const char *stage)
{
	return look_at_all(run_directory(), about, stage);
}

static void *name_if_has(struct json_object *state, const char *name, const char *stage)
{
	struct json_object *all;

	if (!json_object_object_get_ex(state, "about", &all) ||
	    !json_object_object_get_ex(all, stage, NULL))
		return NULL;
	return strdup(name);
}

char *state_pipeline_of(const char *stage)
{
	return look_at_all(run_directory(), name_if_has, stage);
}

char *state_find(const char *word)
{
	struct json_object *state;

	if (!strchr(word, '/') && word[0] != '.') {
		state = state_read(word);
		if (state) {
			json_object_put(state);
			return strdup(word);
		}
	}
	return find_by_file(word);
}

/* -------------------------------------------------------------- processes --- */

const char *boot_id(void)
{
	static char id[64];
	FILE *file;

	if (id[0])
		return id;
	file = fopen("/proc/sys/kernel/random/boot_id", "re");
	if (file) {
		if (!fgets(id, sizeof(id), file))
			id[0] = 0;
		fclose(file);
	}
	id[strcspn(id, "\n")] = 0;
	return id;
}

/* Field 22 of /proc/PID/stat, in clock ticks since boot; 0 if there is no such process. */
static uint64_t start_time(pid_t pid)
{
	unsigned long long start = 0;
	char path[64], line[1024], *after_comm;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fgets(line, sizeof(line), file) && (after_comm = strrchr(line, ')')) &&
	    sscanf(after_comm + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d "
		   "%*d %*d %*d %*d %llu", &start) != 1)
		start = 0;
	fclose(file);
	return start;
}

struct json_object *process_json(pid_t pid)
{
	struct json_object *process = json_object_new_object();

	json_object_object_add(process, "pid", json_object_new_int((int)pid));
	json_object_object_add(process, "start", json_object_new_uint64(start_time(pid)));
	return process;
}

int process_open(struct json_object *state, struct json_object *process)
{
	pid_t pid = (pid_t)state_number(process, "pid");
	uint64_t start = (uint64_t)state_number(process, "start");
	int fd;

	if (pid <= 1 || !start || strcmp(state_string(state, "boot"), boot_id()))
		return -ESRCH;
	fd = pidfd_open(pid, 0);
	if (fd < 0)
		return -ESRCH;
	/* The descriptor holds the process that is looked at now, so this order has no race. */
	if (start_time(pid) == start)
		return fd;
	close(fd);
	return -ESRCH;
}

int process_wait(int pidfd, unsigned int ms)
{
	struct pollfd waiting = { .fd = pidfd, .events = POLLIN };
	int n;

	do
		n = poll(&waiting, 1, (int)ms);
	while (n < 0 && errno == EINTR);
	return n > 0 ? 0 : -ETIMEDOUT;
}
