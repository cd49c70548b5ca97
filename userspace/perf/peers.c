// SPDX-License-Identifier: MIT
/*
 * peers.c: the table of peers and what they share
 */
#include <stdarg.h>
#include <sys/mman.h>

#include "peer_program.h"

extern const struct peer peer_floor, peer_floor_data, peer_ring, peer_pipe, peer_unix_stream,
	peer_unix_seqpacket, peer_sluice, peer_sluice_batch, peer_call, peer_call_untold, peer_call_batch,
	peer_call_untold_batch, peer_unix_batch;

static const struct peer *const built_in[] = {
	&peer_floor,
	&peer_floor_data,
	&peer_ring,
	&peer_sluice,
	&peer_sluice_batch,
	&peer_unix_stream,
	&peer_unix_seqpacket,
	&peer_pipe,
	&peer_call,
	&peer_call_untold,
	&peer_call_batch,
	&peer_call_untold_batch,
	&peer_unix_batch,
};

#define N_BUILT_IN	(sizeof(built_in) / sizeof(built_in[0]))

const struct peer *peer_at(size_t i)
{
	return i < N_BUILT_IN ? built_in[i] : peer_program_at(i - N_BUILT_IN);
}

const struct peer *peer_find(const char *name)
{
	const struct peer *p;

	for (size_t i = 0; (p = peer_at(i)); i++)
		if (!strcmp(p->name, name))
			return p;
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
