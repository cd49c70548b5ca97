/* SPDX-License-Identifier: MIT */
/*
 * kmod_process.h: children that hold endpoints of their own, and die.
 *
 * Parent and child talk over a socket, one 64-bit number at a time, so that a test
 * knows which step the other has done. Nobody waits for ever.
 */
#ifndef SLUICE_TEST_KMOD_PROCESS_H
#define SLUICE_TEST_KMOD_PROCESS_H

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "kmod_common.h"

#define HEAR_MS		10000

struct child {
	pid_t pid;
	int socket;	/* the own end, in parent and child */
};

/* In the child: what went wrong, as its exit status. */
#define CHILD_EXPECT(cond) do {							\
	if (!(cond)) {								\
		fprintf(stderr, "# %s:%d: child: %s (errno %d)\n", __FILE__,	\
			__LINE__, #cond, errno);				\
		_exit(1);							\
	}									\
} while (0)

/* Like fork(): 0 in the child, which dies with its parent. */
static inline pid_t child_start(struct child *c)
{
	int s[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s))
		return -1;
	c->pid = fork();
	if (!c->pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	c->socket = s[!c->pid];
	close(s[!!c->pid]);
	return c->pid;
}

static inline int say(struct child *c, u64 number)
{
	return send(c->socket, &number, sizeof(number), MSG_NOSIGNAL) == sizeof(number) ? 0 : -errno;
}

/* The other's next number; ~0 when it says nothing or has gone. */
static inline u64 hear(struct child *c)
{
	struct pollfd p = { .fd = c->socket, .events = POLLIN };
	u64 number;

	if (poll(&p, 1, (int)scaled(HEAR_MS)) != 1 ||
	    recv(c->socket, &number, sizeof(number), 0) != sizeof(number))
		return ~0ull;
	return number;
}

/* In the child: that it is where it shall die, or be told to go on. */
static inline void tell_and_pause(struct child *c, u64 number)
{
	say(c, number);
	hear(c);
}

static inline int child_wait(struct child *c)
{
	int status;

	if (waitpid(c->pid, &status, 0) != c->pid)
		return -errno;
	close(c->socket);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

/* One that paused may go on, and ends. */
static inline int child_end(struct child *c)
{
	say(c, 0);
	return child_wait(c);
}

/* kill -9, and gone. */
static inline int child_kill(struct child *c)
{
	kill(c->pid, SIGKILL);
	return child_wait(c) == 256 + SIGKILL ? 0 : -ECHILD;
}

/* Stopped, and seen to be. */
static inline int child_stop(struct child *c)
{
	int status;

	kill(c->pid, SIGSTOP);
	return waitpid(c->pid, &status, WUNTRACED) == c->pid && WIFSTOPPED(status) ? 0 : -ECHILD;
}

/* A descriptor to the other side. */
static inline int send_fd(struct child *c, int fd)
{
	char control_bytes[CMSG_SPACE(sizeof(int))] = { 0 }, byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control_bytes,
		.msg_controllen = sizeof(control_bytes),
	};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	return sendmsg(c->socket, &m, 0) == 1 ? 0 : -errno;
}

static inline int recv_fd(struct child *c)
{
	char control_bytes[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control_bytes,
		.msg_controllen = sizeof(control_bytes),
	};
	int fd;

	if (recvmsg(c->socket, &m, 0) != 1 || !CMSG_FIRSTHDR(&m))
		return -ENOMSG;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

/* Of a process, as ps shows it: 'S' sleeps, 'Z' has ended; '?' there is none. */
static inline char state_of(pid_t pid)
{
	char path[64], line[256], *at;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = read(fd, line, sizeof(line) - 1);
	close(fd);
	line[n > 0 ? n : 0] = 0;
	at = strrchr(line, ')');
	return at && at[1] ? at[2] : '?';
}

#endif /* SLUICE_TEST_KMOD_PROCESS_H */
