/* SPDX-License-Identifier: MIT */
/*
 * run.h: one peer measured once, by two pinned processes
 */
#ifndef SLUICE_PERF_RUN_H
#define SLUICE_PERF_RUN_H

#include "peer.h"

/**
 * struct run_settings - how long and where
 * @warmup:	round trips before the measured ones
 * @messages:	round trips that are measured
 * @cpus:	of ping and of pong
 * @timeout_s:	a run that takes longer has failed
 */
struct run_settings {
	uint64_t warmup;
	uint64_t messages;
	int cpus[2];
	unsigned int timeout_s;
};

/**
 * run_peer() - set a peer up, let its two processes play, take it down
 * @run:	peer, mode, work, size and slots are the caller's, the rest is set here
 * @samples:	out: @set->messages round trips in ticks; WORK_FLOW: one, first to last message
 * @switches:	out: voluntary context switches of ping and pong while measured
 * @error:	out: one line on failure
 *
 * Return: 0 or a negative errno; -EINTR when asked to stop.
 */
int run_peer(struct peer_run *run, const struct run_settings *set, uint64_t *samples,
	     uint64_t switches[2], char *error, size_t error_size);

#endif /* SLUICE_PERF_RUN_H */
