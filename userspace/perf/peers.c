// SPDX-License-Identifier: MIT
/*
 * peers.c: the table of peers and what they share
 */
#include <stdarg.h>
#include <sys/mman.h>

#include "peer.h"

extern const struct peer peer_floor, peer_floor_data, peer_pipe, peer_unix_stream,
	peer_unix_seqpacket, peer_sluice, peer_call, peer_call_untold, peer_call_batch,
	peer_call_untold_batch, peer_unix_batch;

const struct peer *const peers[] = {
	&peer_floor,
	&peer_floor_data,
	&peer_sluice,
	&peer_unix_stream,
	&peer_unix_seqpacket,
	&peer_pipe,
	&peer_call,
	&peer_call_untold,
	&peer_call_batch,
	&peer_call_untold_batch,
	&peer_unix_batch,
	NULL,
};

const struct peer *peer_find(const char *name)
{
	for (const struct peer *const *p = peers; *p; p++)
		if (!strcmp((*p)->name, name))
			return *p;
	return NULL;
}

int peer_fail(struct peer_run *run, int errnum, const char *fmt, ...)
{
	va_list ap;

	if (run->error[0])
		return -errnum;
	va_start(ap, fmt);
	vsnprintf(run->error, run->error_size, fmt, ap);
	va_end(ap);
	return -errnum;
}

void *peer_map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}
