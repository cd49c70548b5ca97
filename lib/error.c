// SPDX-License-Identifier: MIT
/* error.c: the last error of a thread, in one line that names the thing and the remedy. */
#include <stdio.h>
#include <string.h>

#include "internal.h"

#define ERROR_MAX	512

static _Thread_local struct {
	enum lazy_error what;
	char name[SLUICE_NAME_MAX];
	char text[ERROR_MAX];
} last;

int __sluice_err(int ret, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(last.text, sizeof(last.text), fmt, args);
	va_end(args);
	last.what = ERROR_NONE;
	return ret;
}

/* "Nothing there" is an answer, not a failure: no text is made for it on the fast path. */
int __sluice_err_lazy(int ret, enum lazy_error what, const struct sluice_ep *ep)
{
	last.what = what;
	if (ep)
		memcpy(last.name, ep->name, sizeof(last.name));
	else
		last.name[0] = '\0';
	return ret;
}

static const char *lazy_text(enum lazy_error what)
{
	switch (what) {
	case ERROR_EMPTY:
		return "nothing to claim in the given time";
	case ERROR_FULL:
		return "the ring is full: its consumers are slower than its producers; "
		       "add replicas, or create it with more --slots";
	case ERROR_NO_CREDIT:
		return "no credit is left: as many messages of this producer as it may have are "
		       "not acknowledged yet; wait, add replicas, or give it more credits";
	case ERROR_NO_BUFFER:
		return "no payload buffer is free: messages wait to be acknowledged; "
		       "create the stage with more --buffers";
	case ERROR_QUEUE_FULL:
		return "the ring and the kernel's queue are full; admit fewer streams, "
		       "or create it with a longer --queue";
	case ERROR_INTERRUPTED:
		return "interrupted by a signal or sluice_interrupt()";
	case ERROR_CLOSED:
		return "the stage was destroyed, or this endpoint was detached";
	case ERROR_STALE:
		return "the claim is no longer the caller's: it took longer than the "
		       "ack timeout and was given to somebody else; sluice_renew() in time, "
		       "or create it with a longer --ack-timeout";
	case ERROR_EXPELLED:
		return "this endpoint was put out: a broadcast had waited for its ACK for longer "
		       "than the ack timeout, or the stage was repaired; detach and attach anew";
	case ERROR_NOBODY:
		return "a broadcast to nobody: no consumer is attached";
	case ERROR_UNTYPED:
		return "the message has no type: it does not begin with the header that "
		       "sluice_tensor_begin() writes";
	case ERROR_NONE:
		break;
	}
	return "no error";
}

const char *sluice_error(void)
{
	if (last.what == ERROR_NONE)
		return last.text[0] ? last.text : lazy_text(ERROR_NONE);
	if (last.name[0])
		snprintf(last.text, sizeof(last.text), "stage '%s': %s", last.name,
			 lazy_text(last.what));
	else
		snprintf(last.text, sizeof(last.text), "%s", lazy_text(last.what));
	last.what = ERROR_NONE;
	return last.text;
}
