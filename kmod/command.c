// SPDX-License-Identifier: GPL-2.0
/*
 * command.c: ioctl and uring_cmd of a stage.
 *
 * Every argument of a uring_cmd fits into the 16 bytes of a plain SQE, is copied
 * at issue and not looked at again. Completion goes through the submitter's task
 * on every kernel; whoever took the waiter off its list completes it, once.
 */
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "internal.h"
#include "compat.h"

/* ------------------------------------------------------------------ ioctl --- */

static int sl_ioctl_attach(struct file *file, void __user *arg)
{
	struct sluice_attach a;
	int err = sl_copy_struct(&a, sizeof(a), arg);

	if (!err)
		err = sl_endpoint_attach(file, &a);
	if (err)
		return err;
	return copy_to_user(arg, &a, min_t(size_t, sizeof(a), a.size)) ? -EFAULT : 0;
}

static int sl_wait_check(const struct sl_endpoint *ep, const struct sluice_wait *w)
{
	u16 role = ep->role == SLUICE_CONSUMER ? SLUICE_WAIT_READY :
		   SLUICE_WAIT_ROOM | SLUICE_WAIT_BUFFER | SLUICE_WAIT_AGAIN;

	if (!(w->what & SLUICE_WAIT_ALL) || w->what & ~(SLUICE_WAIT_ALL | SLUICE_WAIT_AGAIN) ||
	    w->reserved)
		return -EINVAL;
	return w->what & ~role ? -EBADF : 0;
}

static int sl_ioctl_wait(struct sl_endpoint *ep, void __user *arg)
{
	struct sluice_wait_ioctl w;
	int err;

	if (copy_from_user(&w, arg, sizeof(w)))
		return -EFAULT;
	err = sl_wait_check(ep, &w.wait);
	if (err)
		return err;
	if (!w.timeout_ns)
		return sl_poll_look(ep, &w.wait);
	err = sl_wait(ep, &w.wait, w.timeout_ns);
	/* a timeout would begin anew with every signal: the caller decides */
	return err == -ERESTARTSYS ? -EINTR : err;
}

static int sl_ioctl_send(struct sl_endpoint *ep, void __user *arg)
{
	struct sluice_send a;
	int err = sl_copy_struct(&a, sizeof(a), arg);

	return err ?: sl_send(ep, &a, NULL, 0);
}

static int sl_ioctl_kick(struct sl_endpoint *ep, void __user *arg)
{
	struct sluice_kick k;

	if (copy_from_user(&k, arg, sizeof(k)))
		return -EFAULT;
	if (k.what & ~SLUICE_KICK_ALL || memchr_inv(k.reserved, 0, sizeof(k.reserved)))
		return -EINVAL;
	sl_kick(ep->stage, k.what);
	if (k.what & SLUICE_KICK_TURN)
		sl_turn_end(ep);
	return 0;
}

static int sl_ioctl_nack(struct sl_endpoint *ep, void __user *arg, bool renew)
{
	struct sluice_nack n;

	if (copy_from_user(&n, arg, sizeof(n)))
		return -EFAULT;
	return renew ? sl_renew(ep, &n) : sl_nack(ep, &n);
}

static int sl_ioctl_detach(struct sl_endpoint *ep)
{
	struct sl_stage *s = ep->stage;

	mutex_lock(&s->lock);
	/* other threads may still be writing through the mapping (P26) */
	if (!ep->dead && ep->own_maps)
		sl_endpoint_evict(ep);
	else
		sl_endpoint_die(ep);
	mutex_unlock(&s->lock);
	return 0;
}

long sl_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct sl_endpoint *ep = file->private_data;
	void __user *p = (void __user *)arg;
	int err;

	cmd = sl_ioctl_base(cmd);
	if (cmd == SLUICE_IOC_ATTACH)
		return sl_ioctl_attach(file, p);
	err = sl_endpoint_check(ep);
	if (err)
		return _IOC_TYPE(cmd) == SLUICE_IOC_MAGIC ? err : -ENOTTY;
	switch (cmd) {
	case SLUICE_IOC_WAIT:
		return sl_ioctl_wait(ep, p);
	case SLUICE_IOC_SEND:
		return sl_ioctl_send(ep, p);
	case SLUICE_IOC_KICK:
		return sl_ioctl_kick(ep, p);
	case SLUICE_IOC_NACK:
		return sl_ioctl_nack(ep, p, false);
	case SLUICE_IOC_RENEW:
		return sl_ioctl_nack(ep, p, true);
	case SLUICE_IOC_DETACH:
		return sl_ioctl_detach(ep);
	default:
		return -ENOTTY;
	}
}

/* -------------------------------------------------------------- uring_cmd --- */

/* In the command's 32 private bytes, from the claim of its completion on. */
struct sl_pdu {
	int result;
};

SL_URING_CALLBACK(sl_uring_done, cmd, flags)
{
	struct sl_pdu *pdu = (struct sl_pdu *)cmd->pdu;

	sl_cmd_done(cmd, pdu->result, flags);
}

/** sl_uring_complete() - by the one who took it off its list; does not sleep */
void sl_uring_complete(struct io_uring_cmd *cmd, int result)
{
	struct sl_pdu *pdu = (struct sl_pdu *)cmd->pdu;

	BUILD_BUG_ON(sizeof(struct sl_pdu) > sizeof_field(struct io_uring_cmd, pdu));
	pdu->result = result;
	io_uring_cmd_complete_in_task(cmd, sl_uring_done);
}

static int sl_uring_wait(struct sl_endpoint *ep, struct io_uring_cmd *cmd, unsigned int flags)
{
	struct sl_stage *s = ep->stage;
	struct sl_waiter *w;
	struct sluice_wait wait;
	int err;

	memcpy(&wait, sl_sqe_cmd(cmd), sizeof(wait));
	err = sl_wait_check(ep, &wait);
	if (err)
		return err;
	/*
	 * An SQPOLL thread shares the mm: without cancellation exec and exit would
	 * wait for it before the mapping goes, and nothing would end the command.
	 */
	if (!SL_HAS_CANCEL && current->flags & PF_IO_WORKER)
		return -EAGAIN;
	if (READ_ONCE(s->gone))
		return -ESHUTDOWN;
	if (!sl_may_park(ep))
		return -EBUSY;
	w = kzalloc(sizeof(*w), GFP_KERNEL_ACCOUNT);
	if (!w)
		return -ENOMEM;
	INIT_LIST_HEAD(&w->list);
	w->kind = SL_WAIT_URING;
	w->ep = ep;
	w->cmd = cmd;
	w->wait = wait;
	w->deadline = jiffies + SL_PARK_MAX;
	refcount_set(&w->refs, 2);
	io_uring_cmd_mark_cancelable(cmd, flags);
	err = sl_park(s, w);
	if (err != -EIOCBQUEUED) {
		kfree(w);
		/* Returned, it would stay on io_uring's list of cancelable commands. */
		sl_cmd_done(cmd, err, flags);
		return -EIOCBQUEUED;
	}
	sl_put_waiter(w);
	if (READ_ONCE(ep->dead))
		sl_cancel_wait(s, cmd);	/* it died before the waiter was on the list */
	else if (!SL_HAS_CANCEL)
		sl_tick_start(s);
	return err;
}

static int sl_uring_send(struct sl_endpoint *ep, struct io_uring_cmd *cmd, unsigned int flags)
{
	struct sluice_send_cmd arg;
	struct sluice_send a;
	int err;

	memcpy(&arg, sl_sqe_cmd(cmd), sizeof(arg));
	if (arg.reserved)
		return -EINVAL;
	/* as in sl_uring_wait(): a worker does not show that its process execs */
	if (!SL_HAS_CANCEL && current->flags & PF_IO_WORKER)
		return -EAGAIN;
	err = sl_copy_struct(&a, sizeof(a), u64_to_user_ptr(arg.addr));
	return err ?: sl_send(ep, &a, cmd, flags);
}

static int sl_uring_kick(struct sl_endpoint *ep, struct io_uring_cmd *cmd)
{
	struct sluice_kick k;

	memcpy(&k, sl_sqe_cmd(cmd), sizeof(k));
	if (k.what & ~SLUICE_KICK_ALL || memchr_inv(k.reserved, 0, sizeof(k.reserved)))
		return -EINVAL;
	sl_kick(ep->stage, k.what);
	if (k.what & SLUICE_KICK_TURN)
		sl_turn_end(ep);
	return 0;
}

static int sl_uring_issue(struct sl_endpoint *ep, struct io_uring_cmd *cmd, unsigned int flags)
{
	int err = sl_endpoint_check(ep);

	if (err)
		return err;
	switch (cmd->cmd_op) {
	case SLUICE_CMD_WAIT:
		return sl_uring_wait(ep, cmd, flags);
	case SLUICE_CMD_SEND:
		return sl_uring_send(ep, cmd, flags);
	case SLUICE_CMD_KICK:
		return sl_uring_kick(ep, cmd);
	default:
		return -ENOTTY;
	}
}

int sl_uring_cmd(struct io_uring_cmd *cmd, unsigned int flags)
{
	struct sl_endpoint *ep = cmd->file->private_data;
	int ret;

	if (SL_HAS_CANCEL && flags & IO_URING_F_CANCEL) {
		if (!sl_cancel_wait(ep->stage, cmd))
			sl_send_cancel(ep->stage, cmd);
		return 0;
	}
	ret = sl_uring_issue(ep, cmd, flags);
	if (ret != -EAGAIN)
		return ret;
	/* Returned, it would send the command to a worker, and later ones would overtake it. */
	sl_uring_complete(cmd, ret);
	return -EIOCBQUEUED;
}
