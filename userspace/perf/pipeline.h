/* SPDX-License-Identifier: MIT */
/*
 * pipeline.h: a pipeline of real processes measured against its prediction
 */
#ifndef SLUICE_PERF_PIPELINE_H
#define SLUICE_PERF_PIPELINE_H

#include <sluice/sluice.h>

#include "../sluicectl/predict.h"
#include "perf.h"
#include "stats.h"

#define PIPELINE_MAX_STAGES	16
#define PIPELINE_MAX_REPLICAS	16
#define PIPELINE_MAX_MESSAGES	1000
#define PIPELINE_MAX_ROUNDS	100
#define PIPELINE_MAX_TIME_S	10	/* below the ack timeout of the stages, 30 s */

/* How a client sends: all at once, or each when the one before is back. */
enum pipeline_way { ASYNCHRONOUS, SYNCHRONOUS, PIPELINE_WAYS };

/**
 * struct pipeline_shared - what the processes tell
 * @attached:	stage processes that are ready
 * @worked:	of each stage: messages that were worked on, and how long that took in all
 * @hop_ns:	from one process to the next, measured with messages that nobody works on
 * @done:	ns from the first send until the k-th result
 * @error:	of the first that failed
 */
struct pipeline_shared {
	uint32_t attached;
	uint64_t worked[PIPELINE_MAX_STAGES];
	uint64_t worked_ns[PIPELINE_MAX_STAGES];
	double hop_ns;
	uint64_t done[PIPELINE_WAYS][PIPELINE_MAX_ROUNDS][PIPELINE_MAX_MESSAGES];
	char error[256];
};

/* What is compared. */
enum pipeline_row { ROW_FIRST, ROW_INTERVAL, ROW_ASYNCHRONOUS, ROW_SYNCHRONOUS, PIPELINE_ROWS };

/**
 * struct pipeline - settings and results
 * @in:		stages, messages and the hop that the prediction takes
 * @percent:	largest deviation that is accepted; negative: any
 * @predicted:	ns until the k-th result
 * @row:	predicted and measured, ns; the spread is that between rounds
 */
struct pipeline {
	struct predict_input in;
	unsigned int rounds;
	double percent;
	struct predict_result result;
	uint64_t predicted[PIPELINE_WAYS][PIPELINE_MAX_MESSAGES];
	struct pipeline_shared *sh;
	struct {
		double predicted;
		struct stats_spread measured;
	} row[PIPELINE_ROWS];
};

/** pipeline_run() - start the processes, measure all rounds into @p->sh, end them */
int pipeline_run(struct pipeline *p);

/** pipeline_compare() - fill the rows */
void pipeline_compare(struct pipeline *p);

/** pipeline_check() - 0, or -ERANGE after a message for each row that is too far off */
int pipeline_check(const struct pipeline *p);

/** pipeline_print() - the table */
void pipeline_print(const struct pipeline *p, FILE *f);
/** pipeline_write_json() - return: 0 or a negative errno */
int pipeline_write_json(const struct pipeline *p, FILE *f);
/** pipeline_write_plot() - lines of n and seconds: for each way predicted and measured */
int pipeline_write_plot(const struct pipeline *p, FILE *f);

#endif /* SLUICE_PERF_PIPELINE_H */
