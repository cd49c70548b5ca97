/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat.h: the differences between the kernels that sluice supports, and no others.
 *
 * Distributions backport, so a version number proves little: whatever can be told
 * from a header's presence or from a macro is told from that. The spelling is the
 * newest kernel's; older ones are brought up to it.
 */
#ifndef SLUICE_COMPAT_H
#define SLUICE_COMPAT_H

#include <linux/device.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/version.h>

#if __has_include("linux/io_uring/cmd.h")
#include <linux/io_uring/cmd.h>
#else
#include <linux/io_uring.h>
#endif

/* 6.2: the device of a devnode callback became const. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
#define sl_const_device	const struct device
#else
#define sl_const_device	struct device
#endif

/* 6.7: commands can be marked cancelable, and the cancellation comes to ->uring_cmd(). */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
#define SL_HAS_CANCEL		1
#define SL_FEATURES		SLUICE_F_ALL
static inline bool sl_task_leaves(struct task_struct *t)
{
	return false;
}
#else
#define SL_HAS_CANCEL		0
#define SL_FEATURES		(SLUICE_F_ALL & ~SLUICE_F_CANCEL)
#define IO_URING_F_CANCEL	0
/* Exec waits for the commands of its task before anything of ours is told. */
static inline bool sl_task_leaves(struct task_struct *t)
{
	return t->flags & PF_EXITING || t->in_execve;
}

static inline void io_uring_cmd_mark_cancelable(struct io_uring_cmd *cmd, unsigned int flags)
{
}
#endif

/* The 16 bytes of the command: in the SQE since 6.7, pointed to before. */
static inline const void *sl_sqe_cmd(struct io_uring_cmd *cmd)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	return cmd->sqe->cmd;
#else
	return cmd->cmd;
#endif
}

/*
 * A callback in the submitter's task, where a command is completed:
 *	SL_URING_CALLBACK(name, cmd, flags) { ... io_uring_cmd_done ... }
 * 7.0: it gets the request and a token instead of the command and its flags.
 */
#ifdef IO_URING_CMD_TASK_WORK_ISSUE_FLAGS
#define SL_URING_CALLBACK(name, cmd, flags)						\
static void name##_body(struct io_uring_cmd *cmd, unsigned int flags);			\
static void name(struct io_tw_req tw_req, io_tw_token_t tw)				\
{											\
	name##_body(io_uring_cmd_from_tw(tw_req), IO_URING_CMD_TASK_WORK_ISSUE_FLAGS);	\
}											\
static void name##_body(struct io_uring_cmd *cmd, unsigned int flags)
#define sl_cmd_done(cmd, result, flags)		io_uring_cmd_done(cmd, result, flags)
#else
#define SL_URING_CALLBACK(name, cmd, flags)						\
static void name(struct io_uring_cmd *cmd, unsigned int flags)
#define sl_cmd_done(cmd, result, flags)		io_uring_cmd_done(cmd, result, 0, flags)
#endif

/* 6.3: vm_flags are changed through functions that know of the VMA lock. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0) && !defined(SL_HAVE_VM_FLAGS_SET)
static inline void sl_vm_flags(struct vm_area_struct *vma, unsigned long set, unsigned long clear)
{
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
}
#else
static inline void sl_vm_flags(struct vm_area_struct *vma, unsigned long set, unsigned long clear)
{
	vm_flags_set(vma, set);
	vm_flags_clear(vma, clear);
}
#endif

#endif /* SLUICE_COMPAT_H */
