/* SPDX-License-Identifier: MIT */
/* stage_pvt.h - between stage.c (the loop) and stage_main.c (start and end); not for daemons */
#ifndef SLUICE_STAGE_PVT_H
#define SLUICE_STAGE_PVT_H

#include "stage.h"

/** stage_loop() - claim and work until told to end; 0 or a negative errno */
int stage_loop(struct stage *st);

/** stage_draining() - how many times the process was asked to end */
int stage_draining(const struct stage *st);

/** stage_closed() - the ring @to was destroyed: this daemon has nothing left to do */
void stage_closed(struct stage *st, unsigned int to);

struct stage_busy *stage_busy_find(struct stage *st, uint64_t ticket);

#endif /* SLUICE_STAGE_PVT_H */
