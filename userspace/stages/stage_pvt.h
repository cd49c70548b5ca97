/* SPDX-License-Identifier: MIT */
/*
 * stage_pvt.h - between stage.c (the loop), stage_main.c (start and end) and trouble.c (errors); not
 * for daemons
 */
#ifndef SLUICE_STAGE_PVT_H
#define SLUICE_STAGE_PVT_H

#include "stage.h"

/** stage_loop() - claim and work until told to end; 0 or a negative errno */
int stage_loop(struct stage *st);

/** stage_draining() - how many times the process was asked to end */
int stage_draining(const struct stage *st);

struct stage_busy *stage_busy_find(struct stage *st, uint64_t ticket);

/** take_buffer(), put_buffer() - of ring @to, from and into the reserve */
int stage_take_buffer(struct stage *st, enum msg_stage to, struct sluice_buffer *buf);
void stage_put_buffer(struct stage *st, enum msg_stage to, struct sluice_buffer *buf);

/* ------------------------------------------------------------- trouble.c --- */

/** trouble_create() - what the pipeline declares and shows, from the environment. 0, -errno */
int trouble_create(struct stage *st);
void trouble_free(struct stage *st);

/** trouble_gone() - ring @to was destroyed: tell the client of @in, settle it */
void trouble_gone(struct stage *st, struct stage_input *in, enum msg_stage to);

/** trouble_return() - attach to rings that have come back; no result may be under way */
void trouble_return(struct stage *st);

/**
 * trouble_admit() - types, circuit breakers
 * Return: true; false when @in was refused and has been settled.
 */
bool trouble_admit(struct stage *st, struct stage_input *in);

/** trouble_refuse() - dead letter with this errno, and the client is told */
void trouble_refuse(struct stage *st, struct stage_input *in, int errnum, const char *why);

/** trouble_refuse_strange() - by its type if it has one, @otherwise for this reason */
void trouble_refuse_strange(struct stage *st, struct stage_input *in, const char *otherwise);

/** trouble_settled() - @in was acknowledged: a probe may have succeeded */
void trouble_settled(struct stage *st, const struct stage_input *in);

/** trouble_failed() - an error of ours, unless @errnum is the request's own fault */
void trouble_failed(struct stage *st, const struct stage_input *in, int errnum);

#endif /* SLUICE_STAGE_PVT_H */
