// SPDX-License-Identifier: MIT
/*
 * ops_process.c: fork with mappings alive, exec with commands parked, kill -9 at any time.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hostile.h"

/* Children that ended make room; the oldest is killed if need be. */
static pid_t *child_place(struct worker *w, uint32_t n)
{
	pid_t *p = &w->children[n % CHILDREN];

	if (*p > 0) {
		kill(*p, SIGKILL);
		waitpid(*p, NULL, 0);
	}
	*p = 0;
	return p;
}

/*
 * Mappings are not inherited unless MADV_DOFORK said so: their addresses must not become anybody
 * else's memory.
 */
static void fill_holes(struct worker *w)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	uint32_t i;

	for (i = 0; i < MAPS; i++) {
		struct map_slot *m = &w->maps[i];

		if (m->parts && mmap(m->addr, m->len, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1,
				     0) != MAP_FAILED)
			m->parts = 0;
	}
	mmap(w->arena + MAPS * MAP_SLOT, HINTS_PAGES * PAGE, PROT_NONE, flags | MAP_FIXED, -1, 0);
}

/* Some operations more on what it inherited, then it goes: quietly, or with a bang. */
static _Noreturn void child_main(struct lane *l, uint32_t ops)
{
	/* before anything asks for memory, which would come from there */
	fill_holes(l->w);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	l->child = true;
	make_timer(l);	/* timers are not inherited */
	memset(l->w->children, 0, sizeof(l->w->children));
	/* its parent's rings are its own too, unless it forgets them */
	if (rng_one_in(&l->rng, 2))
		rings_forget(l);
	while (ops--)
		worker_op(l, ops_process);
	if (rng_one_in(&l->rng, 2))
		raise(SIGKILL);
	if (rng_one_in(&l->rng, 2))
		execl("/bin/true", "true", NULL);
	_exit(0);
}

static int op_fork(struct lane *l)
{
	uint32_t ops = rng_below(&l->rng, 12), i;
	pid_t pid, *place;

	if (l->child)
		return -ECHILD;
	/* its copies of mappings die with it, or live longer than the parent's */
	for (i = 0; i < 3; i++) {
		struct map_slot m = *pick_map(l);

		if (m.parts)
			madvise(m.addr, m.len, MADV_DOFORK);
	}
	pthread_mutex_lock(&l->w->map_lock);
	place = child_place(l->w, rng_below(&l->rng, CHILDREN));
	pid = fork();
	if (pid > 0)
		*place = pid;
	pthread_mutex_unlock(&l->w->map_lock);
	if (!pid)
		child_main(l, ops);
	return pid < 0 ? -errno : 0;
}

/* An address space that is shared and not copied, until exec. */
static int op_vfork(struct lane *l)
{
	pid_t pid;

	if (l->child)
		return -ECHILD;
	pid = vfork();
	if (!pid) {
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	if (pid < 0)
		return -errno;
	return waitpid(pid, NULL, 0) == pid ? 0 : -errno;
}

static int op_reap(struct lane *l)
{
	pthread_mutex_lock(&l->w->map_lock);
	child_place(l->w, rng_below(&l->rng, CHILDREN));
	pthread_mutex_unlock(&l->w->map_lock);
	return 0;
}

/* Another image in the same process: descriptors without CLOEXEC stay, mappings go. */
static int op_exec(struct lane *l)
{
	char index[16];

	if (l->child)
		return -ECHILD;
	snprintf(index, sizeof(index), "%u", l->w->index);
	/* as it is at the end: what is parked is in the way of it */
	execl("/proc/self/exe", "sltest", "--worker", index, NULL);
	return -errno;
}

static int op_die(struct lane *l)
{
	if (l->child)
		return -ECHILD;
	if (rng_one_in(&l->rng, 4))
		_exit(0);
	return result_of(kill(getpid(), SIGKILL));
}

/* Not enough room for pages, descriptors or locked memory. */
static int op_limit(struct lane *l)
{
	struct rlimit low = { .rlim_cur = 0 }, before;
	int what = rng_one_in(&l->rng, 2) ? RLIMIT_MEMLOCK : RLIMIT_NOFILE, ret;

	if (l->child || getrlimit(what, &before))
		return -EINVAL;
	low.rlim_max = before.rlim_max;
	ret = result_of(setrlimit(what, &low));
	if (!ret) {
		keep_fd(l, open("/dev/sluice/h0", O_RDWR), FD_STAGE);
		setrlimit(what, &before);
	}
	return ret;
}

const struct op ops_process[] = {
	{ "fork", 4, false, op_fork },
	{ "vfork", 1, true, op_vfork },
	{ "reap", 3, true, op_reap },
	{ "exec", 1, false, op_exec },
	{ "die", 1, false, op_die },
	{ "limit", 4, false, op_limit },
	{ NULL, 0, false, NULL },
};
