// SPDX-License-Identifier: MIT
/*
 * stages.c: the stages that measurements make, and those that killed ones left behind
 */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include <sluice/sluice.h>

#include "perf.h"

void perf_stage_name(char *name, const char *what)
{
	snprintf(name, SLUICE_NAME_MAX, "perf-%d-%s", (int)getpid(), what);
}

static bool is_leftover(const char *name)
{
	int pid, end = 0;

	if (sscanf(name, "perf-%d-%n", &pid, &end) != 1 || !end || pid <= 0)
		return false;
	return kill(pid, 0) && errno == ESRCH;
}

void perf_stages_sweep(void)
{
	struct sluice_info info = { 0 };

	while (!sluice_next(&info)) {
		/* Whoever runs in another pid namespace is attached, and so it is refused. */
		if (is_leftover(info.name))
			sluice_destroy(info.name, 0, 0);
	}
}
