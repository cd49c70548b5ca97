// SPDX-License-Identifier: MIT
/*
 * For measurements in User-Mode Linux: each processor of the machine is a thread of the host, and
 * each process in it a process of the host, started by that thread. The host puts them where it
 * likes, and with a processor and the process that runs on it on two processors of the host, every
 * system call costs two wake-ups across them: the same round trip then takes 50 or 120 us, for
 * seconds or minutes, by chance. Tied to one processor each, the threads keep their processes with
 * them, since affinity is inherited: a process stays where it was started.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "keeper.h"
#include "pin.h"

static int numeric(const struct dirent *entry)
{
	return entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
}

static int by_number(const struct dirent **a, const struct dirent **b)
{
	return atoi((*a)->d_name) - atoi((*b)->d_name);
}

static pid_t machine_of(pid_t keeper)
{
	struct dirent **list;
	int n = scandir("/proc", &list, numeric, by_number);
	pid_t found = -ESRCH;

	for (int i = 0; i < n; i++) {
		if (parent_of(list[i]->d_name) == keeper)
			found = atoi(list[i]->d_name);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	return found;
}

/* The @nth processor of those that this process may use, round and round. */
static int allowed_cpu(int nth)
{
	cpu_set_t set;
	int cpu;

	if (sched_getaffinity(0, sizeof(set), &set))
		return -errno;
	nth %= CPU_COUNT(&set);
	for (cpu = 0; !CPU_ISSET(cpu, &set) || nth--; cpu++)
		;
	return cpu;
}

static int pin_one(pid_t thread, int nth)
{
	int cpu = allowed_cpu(nth);
	cpu_set_t set;

	if (cpu < 0)
		return cpu;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(thread, sizeof(set), &set) ? -errno : 0;
}

/**
 * pin_machine() - Tie each processor of a User-Mode Linux to one of the host's.
 * @keeper: the machine's parent
 * @cpus: how many processors it has; they are its first threads, those for devices come later
 * Return: 0 or a negative errno value.
 */
int pin_machine(pid_t keeper, int cpus)
{
	pid_t machine = machine_of(keeper);
	struct dirent **list;
	char path[64];
	int n, err = 0;

	if (machine < 0)
		return machine;
	snprintf(path, sizeof(path), "/proc/%d/task", machine);
	n = scandir(path, &list, numeric, by_number);
	if (n < 0)
		return -errno;
	if (n < cpus)
		err = -ERANGE;
	for (int i = 0; i < n; i++) {
		if (i < cpus && !err)
			err = pin_one(atoi(list[i]->d_name), i);
		free(list[i]);
	}
	free(list);
	return err;
}
