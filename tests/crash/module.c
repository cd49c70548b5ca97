// SPDX-License-Identifier: MIT
/* module.c: a client's way into the module: its commands, answered by the module's own functions. */
#include "kernel_in_user.h"
#include <internal.h>

#include "../storm/reaper/reaper.h"

int module_ioctl(struct reaper *r, uint32_t id, unsigned long cmd, void *arg);

/* struct reaper begins with its stage. */
static struct sl_endpoint *endpoint(struct reaper *r, uint32_t id)
{
	return xa_load(&((struct sl_stage *)r)->endpoints, id);
}

/** module_ioctl() - what a command of endpoint @id returns; nobody sleeps in this kernel */
int module_ioctl(struct reaper *r, uint32_t id, unsigned long cmd, void *arg)
{
	struct sl_endpoint *ep = endpoint(r, id);

	if (!ep || ep->dead)
		return -ENOTCONN;
	switch (cmd) {
	case SLUICE_IOC_NACK:
		return sl_nack(ep, arg);
	case SLUICE_IOC_RENEW:
		return sl_renew(ep, arg);
	case SLUICE_IOC_KICK:
		if (((struct sluice_kick *)arg)->what & SLUICE_KICK_GONE)
			sl_broadcast_prune(ep->stage);
		return 0;
	case SLUICE_IOC_SEND:
	case SLUICE_IOC_WAIT:
		return -EAGAIN;		/* the queue is full; nothing yet */
	}
	return -ENOTTY;
}
