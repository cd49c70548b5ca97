/* SPDX-License-Identifier: MIT */
/*
 * predict.h - how long a pipeline takes, from the service times of its stages
 *
 * Calculation only: no input, no output, no module. docs/model.md has the formulas and what is
 * assumed: all messages are there at the beginning, a stage needs the same time for each of them,
 * rings are never full, nobody dies, and every replica has a processor of its own.
 */
#ifndef SLUICECTL_PREDICT_H
#define SLUICECTL_PREDICT_H

#include <stdint.h>

#define PREDICT_MAX_STAGES	64
#define PREDICT_MAX_REPLICAS	64
#define PREDICT_MAX_STEPS	(1u << 20)	/* messages that are followed one by one */

/*
 * Which replica serves a message. With equal service times the first three are the same schedule
 * (least-outstanding: if ties go round): the replica whose turn it is was idle the longest.
 */
enum predict_policy {
	PREDICT_SHARED,			/* whoever is idle */
	PREDICT_ROUND_ROBIN,
	PREDICT_LEAST_OUTSTANDING,
	PREDICT_WEIGHTED,		/* in turn, since the replicas of a stage are equal */
	PREDICT_AFFINITY,		/* stream s at replica s mod r: as evenly as it can be */
};

extern const char *const predict_policies[];	/* by enum predict_policy, NULL at the end */

/**
 * struct predict_stage - one stage
 * @service_ns:	T_i, the time that one replica needs for one message
 * @replicas:	r_i, 1..PREDICT_MAX_REPLICAS
 */
struct predict_stage {
	uint64_t		service_ns;
	uint32_t		replicas;
	enum predict_policy	policy;
};

/**
 * struct predict_input - a pipeline and what it is asked
 * @nstages:	K, 1..PREDICT_MAX_STAGES, in the order in which messages pass
 * @messages:	n, at least 1
 * @hop_ns:	from one process to the next, K + 1 times; delays a message, occupies nobody
 * @streams:	message k is of stream k mod streams; PREDICT_AFFINITY with replicas needs it
 */
struct predict_input {
	struct predict_stage	stage[PREDICT_MAX_STAGES];
	uint32_t		nstages;
	uint64_t		messages;
	uint64_t		hop_ns;
	uint32_t		streams;
};

/**
 * struct predict_result - the answer
 * @first_ns:	until the first result: all T_i and all hops
 * @interval_ns: between results of a steady flow: that of the bottleneck
 * @per_second:	results of a steady flow; infinite if @interval_ns is 0
 * @pipelined_ns: until the last of @messages results, all sent at the beginning
 * @synchronous_ns: likewise, each sent when the one before is back
 * @bottleneck:	index of the stage with the longest interval, the first of several
 * @stage_interval_ns: what the interval would be if only this stage limited it
 * @utilisation: of a replica of the stage in a steady flow, on average, 0..1
 */
struct predict_result {
	uint64_t	first_ns;
	double		interval_ns;
	double		per_second;
	uint64_t	pipelined_ns;
	uint64_t	synchronous_ns;
	uint32_t	bottleneck;
	double		stage_interval_ns[PREDICT_MAX_STAGES];
	double		utilisation[PREDICT_MAX_STAGES];
};

/**
 * predict() - all of it
 *
 * Return: 0; -EINVAL (the input is outside of what its members say), -EOVERFLOW (a time does not
 * fit into 64 bits of nanoseconds, 584 years), -E2BIG (more than PREDICT_MAX_STEPS messages with
 * PREDICT_AFFINITY, whose schedule has no short cut), -ENOMEM.
 */
int predict(const struct predict_input *in, struct predict_result *out);

/**
 * predict_results() - when the results of the first @n messages are there
 * @n:		at most PREDICT_MAX_STEPS
 * @done:	out: @n times in ns, ascending
 *
 * Return: as predict().
 */
int predict_results(const struct predict_input *in, uint64_t n, uint64_t *done);

/**
 * struct predict_article - the formulas of the article, without replicas and hops
 * @synchronous_ns: T_s = max T_i
 * @asynchronous_ns: T_a = T_s + sum T_i
 * @balancers_ns: C = m * T_s
 *
 * Shown beside the prediction, never part of it.
 */
struct predict_article {
	uint64_t	synchronous_ns;
	uint64_t	asynchronous_ns;
	uint64_t	balancers_ns;
};

/** predict_article() - with @balancers balancers. Return: 0, -EINVAL or -EOVERFLOW */
int predict_article(const struct predict_input *in, uint64_t balancers,
		    struct predict_article *out);

#endif /* SLUICECTL_PREDICT_H */
