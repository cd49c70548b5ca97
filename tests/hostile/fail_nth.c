// SPDX-License-Identifier: MIT
/*
 * fail_nth.c: every operation with its first, second, third ... allocation failing, until it has
 * no more of them. Each time it either works or says -ENOMEM (-EFAULT where a copy from or to
 * user space was made to fail), and the stage is as it was, or as it should be. See usage().
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fail_nth.h"
#include "text_file.h"

#define LIMIT	3000u		/* more allocations than this in one operation: something is wrong */

static const char *module;
static bool verbose;
static int tests, failures;

static void usage(void)
{
	puts("usage: fail_nth --module FILE [--verbose] [OPERATION...]\n"
	     "\n"
	     "Makes the n-th allocation of an operation fail, for n = 1, 2, ... until it has no more\n"
	     "(/proc/self/fail-nth). Each failure must be a clean errno that leaves everything as it\n"
	     "was. Needs the debug kernel; with --leaks the box looks for lost memory afterwards.\n"
	     "Nothing here is random: the same command is the replay.\n"
	     "\n"
	     "  --module FILE   insert and remove this module, also with failing allocations\n"
	     "  --verbose       say what every failure did\n"
	     "\n"
	     "example:\n"
	     "  scripts/box --kernel debug --leaks -- build/tests/hostile/fail_nth \\\n"
	     "          --module build/kmod/debug/sluice.ko create mmap");
}

/* ------------------------------------------------------------ the failure --- */

static int nth_fd = -1;

static void set_nth(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n), tries = 0;

	/* the copy of this very write may be what fails */
	while (pwrite(nth_fd, text, (size_t)len, 0) != len && errno == EFAULT && !tries++)
		;
	if (tries > 1) {
		fprintf(stderr, "fail_nth: /proc/self/fail-nth: %s; use the debug kernel\n",
			strerror(errno));
		exit(1);
	}
}

/* What is left of it: 0 when something was made to fail. */
static unsigned int get_nth(void)
{
	char text[16] = "";

	/* the copy of this very read was the first to fail */
	if (pread(nth_fd, text, sizeof(text) - 1, 0) < 0)
		return 1;
	return (unsigned int)atoi(text);
}

/* All allocations, also those that may sleep; quietly. */
static int arm(void)
{
	static const char *const settings[][2] = {
		{ "/sys/kernel/debug/failslab/ignore-gfp-wait", "N" },
		{ "/sys/kernel/debug/failslab/verbose", "0" },
		{ "/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N" },
		{ "/sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "/sys/kernel/debug/fail_page_alloc/min-order", "0" },
		{ "/sys/kernel/debug/fail_page_alloc/verbose", "0" },
		{ "/sys/kernel/debug/fail_usercopy/verbose", "0" },
	};
	unsigned int i;
	int err = 0;

	for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		err = err ?: write_file(settings[i][0], settings[i][1]);
	nth_fd = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	return nth_fd < 0 ? -errno : err;
}

static bool clean_errno(int result)
{
	return result == -ENOMEM || result == -EFAULT;
}

/* ----------------------------------------------------------------- module --- */

int module_insert(const char *parameters)
{
	int fd = open(module, O_RDONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = syscall(SYS_finit_module, fd, parameters, 0) ? -errno : 0;
	close(fd);
	return ret;
}

/*
 * Allocations of the kernel's loader, which are not ours to test (one of them makes the kernel's
 * tracing warn): as many as it makes before it refuses a parameter. What comes after them is
 * the module's directory in sysfs, and the module's own beginning.
 */
unsigned int module_loader_allocations(void)
{
	unsigned int i, n, most = 0;

	for (i = 0; i < 3; i++) {
		set_nth(1000000);
		module_insert("max_stages=many");
		n = 1000000 - get_nth();
		set_nth(0);
		most = n > most ? n : most;
	}
	return most + 8;
}

/* ------------------------------------------------------------------- main --- */

/* Once with the @n-th allocation failing. 0; 1 when there was no @n-th; or what is wrong. */
static int try_nth(const struct operation *o, unsigned int n, unsigned int *refused)
{
	struct world *w = world_new();
	int err, result, left;

	err = o->prepare(w);
	if (err) {
		printf("# %s %u: preparing it: %s\n", o->name, n, strerror(-err));
		return err;
	}
	set_nth(n);
	result = o->run(w);
	left = (int)get_nth();
	set_nth(0);
	if (verbose)
		printf("# %s %u: %d%s\n", o->name, n, result, left ? ", nothing failed" : "");
	if (result < 0) {
		(*refused)++;
		if (left || !clean_errno(result)) {
			printf("# %s %u: %s\n", o->name, n, strerror(-result));
			err = result;
		}
	}
	if (o->check(w, result)) {
		printf("# %s %u: the state after %d is not right\n", o->name, n, result);
		err = -EPROTO;
	}
	o->undo(w);
	return err ?: left ? 1 : 0;
}

static void run_operation(const struct operation *o)
{
	unsigned int first = o->first ? o->first() : 1, n, refused = 0;
	int ret = 0;

	for (n = first; n < first + LIMIT && !ret; n++)
		ret = try_nth(o, n, &refused);
	printf("%s %d - %s: %u allocations failed, %u times it was refused, else it went on\n",
	       ret == 1 ? "ok" : "not ok", ++tests, o->name, n - first - 1, refused);
	if (ret != 1) {
		printf("# again: fail_nth --module %s --verbose %s\n", module, o->name);
		failures++;
	}
	fflush(stdout);
}

static bool chosen(const char *name, char **names)
{
	if (!*names)
		return true;
	for (; *names; names++)
		if (!strcmp(name, *names))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "module", 1, NULL, 'm' }, { "verbose", 0, NULL, 'v' }, { "help", 0, NULL, 'h' },
		{ 0 },
	};
	const struct operation *o;
	int c, err;

	while ((c = getopt_long(argc, argv, "hv", options, NULL)) != -1) {
		switch (c) {
		case 'm': module = optarg; break;
		case 'v': verbose = true; break;
		case 'h': usage(); return 0;
		default: return 2;
		}
	}
	err = module ? arm() : -EINVAL;
	if (err) {
		fprintf(stderr, "fail_nth: %s; it needs --module and the debug kernel, see --help\n",
			strerror(-err));
		return 1;
	}
	setlinebuf(stdout);
	puts("TAP version 13");
	for (o = operations; o->name; o++) {
		if (!chosen(o->name, argv + optind))
			continue;
		err = o->first ? 0 : module_insert("");
		if (err) {
			fprintf(stderr, "fail_nth: inserting %s: %s\n", module, strerror(-err));
			return 1;
		}
		run_operation(o);
		/* a command's last reference goes with deferred work */
		for (c = 0; c < 50 && syscall(SYS_delete_module, "sluice", O_NONBLOCK) &&
		     errno != ENOENT; c++)
			usleep(100000);
		if (c == 50) {
			printf("not ok %d - %s: the module cannot be removed\n", ++tests, o->name);
			failures++;
			break;
		}
	}
	printf("1..%d\n", tests);
	return failures ? 1 : 0;
}
