// SPDX-License-Identifier: MIT
/* steps.c: two processes that go one instruction at a time. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <elf.h>
#include <unistd.h>

#include "crash.h"

#define RED_ZONE	128

uint64_t steps_taken;

static struct {
	pid_t			pid;
	char			*stack;
	struct user_regs_struct	at_birth;
} process[2];

static void die(const char *what)
{
	fprintf(stderr, "crash: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void must(long ret, const char *what)
{
	if (ret < 0)
		die(what);
}

/* Waits for a stop. A client that does something else than to stop has made a mistake. */
static void wait_for_trap(enum who who)
{
	int status;

	if (waitpid(process[who].pid, &status, __WALL) < 0)
		die("waitpid");
	if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP)
		return;
	if (WIFSTOPPED(status))
		violated("the client got signal %d (%s)", WSTOPSIG(status),
			 strsignal(WSTOPSIG(status)));
	violated("the client is gone (status %#x)", status);
}

static void start(enum who who)
{
	int status;
	pid_t pid;

	process[who].stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (process[who].stack == MAP_FAILED)
		die("no memory for a stack");
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		in_client = true;
		if (ptrace(PTRACE_TRACEME, 0, 0, 0))
			_exit(1);
		raise(SIGSTOP);
		_exit(1);
	}
	must(pid, "fork");
	process[who].pid = pid;
	if (waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status)) {
		fprintf(stderr, "crash: a process cannot be traced here: ptrace is forbidden\n");
		exit(2);
	}
	must(ptrace(PTRACE_GETREGS, pid, 0, &process[who].at_birth), "PTRACE_GETREGS");
}

/* All on one processor: a stop is a switch to the tracer then, not a message to another core. */
void steps_init(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	sched_setaffinity(0, sizeof(here), &here);
	start(FIRST);
	start(SECOND);
}

void steps_exit(void)
{
	int i;

	for (i = FIRST; i <= SECOND; i++) {
		if (!process[i].pid)
			continue;
		kill(process[i].pid, SIGKILL);
		waitpid(process[i].pid, NULL, __WALL);
	}
}

void client_start(enum who who, uint32_t operation)
{
	struct user_regs_struct regs = process[who].at_birth;
	struct client *c = &world->client[who];

	c->operation = operation;
	c->done = false;
	/* as after a call: 8 bytes above a multiple of 16 */
	regs.rsp = (uintptr_t)process[who].stack + STACK_BYTES - 8;
	regs.rip = (uintptr_t)client_main;
	regs.rdi = (uintptr_t)c;
	regs.orig_rax = (unsigned long)-1;
	must(ptrace(PTRACE_SETREGS, process[who].pid, 0, &regs), "PTRACE_SETREGS");
}

/* What it asked of the kernel is done at once: inside the kernel a kill waits. */
static bool answered(struct client *c)
{
	struct request *r = &c->request;

	if (!r->pending)
		return false;
	r->answer = module_ioctl(world->reaper, c->ep.id, r->cmd, r->arg);
	r->pending = false;
	return true;
}

bool client_step(enum who who)
{
	struct client *c = &world->client[who];

	must(ptrace(PTRACE_SINGLESTEP, process[who].pid, 0, 0), "PTRACE_SINGLESTEP");
	wait_for_trap(who);
	steps_taken++;
	answered(c);
	return !c->done;
}

void client_finish(enum who who)
{
	struct client *c = &world->client[who];
	struct context *before = malloc(sizeof(*before));

	if (!before)
		die("no memory");
	context_save(who, before);
	while (!c->done) {
		must(ptrace(PTRACE_CONT, process[who].pid, 0, 0), "PTRACE_CONT");
		wait_for_trap(who);
		answered(c);
	}
	context_restore(who, before);
	free(before);
}

void context_save(enum who who, struct context *context)
{
	pid_t pid = process[who].pid;
	struct user_regs_struct *regs = (void *)context->regs;
	struct iovec v = { context->extended, sizeof(context->extended) };

	must(ptrace(PTRACE_GETREGS, pid, 0, regs), "PTRACE_GETREGS");
	must(ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &v), "PTRACE_GETREGSET");
	context->extended_bytes = v.iov_len;
	context->stack_from = regs->rsp - RED_ZONE;
	context->stack_bytes = (uintptr_t)process[who].stack + STACK_BYTES - context->stack_from;
	if (context->stack_bytes > sizeof(context->stack)) {
		fprintf(stderr, "crash: a client uses more stack than can be saved\n");
		exit(2);
	}
	memcpy(context->stack, (void *)context->stack_from, context->stack_bytes);
}

void context_restore(enum who who, const struct context *context)
{
	pid_t pid = process[who].pid;
	struct iovec v = { (void *)(uintptr_t)context->extended, context->extended_bytes };

	must(ptrace(PTRACE_SETREGS, pid, 0, context->regs), "PTRACE_SETREGS");
	must(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &v), "PTRACE_SETREGSET");
	memcpy((void *)context->stack_from, context->stack, context->stack_bytes);
}
