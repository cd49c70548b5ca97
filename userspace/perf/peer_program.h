/* SPDX-License-Identifier: MIT */
/*
 * peer_program.h: peers that are programs of their own
 */
#ifndef SLUICE_PERF_PEER_PROGRAM_H
#define SLUICE_PERF_PEER_PROGRAM_H

#include "peer.h"

/** peer_program_at() - the @i-th of those that peer_load_programs() added; NULL after the last */
const struct peer *peer_program_at(size_t i);

#endif /* SLUICE_PERF_PEER_PROGRAM_H */
