/* SPDX-License-Identifier: MIT */
/*
 * peer_fd.h: the loops of peers that are a pair of file descriptors with read and write
 */
#ifndef SLUICE_PERF_PEER_FD_H
#define SLUICE_PERF_PEER_FD_H

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "peer.h"

/* in[side], out[side]: where that process reads and writes */
struct fd_state {
	int in[2];
	int out[2];
	enum peer_side side;
	char data[PEER_SIZE_MAX];
};

/** fd_state_create() - all descriptors -1; NULL without memory, and that is noted */
struct fd_state *fd_state_create(struct peer_run *run);
int fd_open(struct peer_run *run, enum peer_side side);
int fd_ping(struct peer_run *run, uint64_t n, uint64_t *samples);
int fd_ping_batch(struct peer_run *run, uint64_t n, uint64_t *samples);
int fd_pong(struct peer_run *run, uint64_t n);
int fd_flow_ping(struct peer_run *run, uint64_t n, uint64_t *samples);
int fd_flow_pong(struct peer_run *run, uint64_t n);
int fd_payload_ping(struct peer_run *run, uint64_t n, uint64_t *samples);
int fd_payload_pong(struct peer_run *run, uint64_t n);
void fd_teardown(struct peer_run *run);

#endif /* SLUICE_PERF_PEER_FD_H */
