// SPDX-License-Identifier: MIT
/*
 * llama_populate.c - fault in the weights that a process uses, before they are asked for
 *
 * Packed weights are a sixth of the f32 ones and serve short inputs alone: with them a process is
 * ready, and a thread sees to the rest.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "llama_pvt.h"

/* Of each entry: what a product needs at once, or what may come later. */
enum when { AT_ONCE, LATER };

struct job {
	const struct llama *m;
	struct weights_plan plan;
	struct llama_options opt;
	unsigned int roles;
	atomic_bool stop;
};

struct llama_filler {
	struct job job;
	pthread_t thread;
};

static int populate_entry(struct job *j, size_t i, enum when when)
{
	uint32_t most = j->opt.max_vectors ? j->opt.max_vectors : UINT32_MAX;
	struct llama_matrix w;
	bool later;
	int ret = 0;

	llama_matrix_init(&w, j->m->weights, j->plan.entry + i);
	later = j->opt.background && w.n_parts;
	for (unsigned int p = 0; when == AT_ONCE && p < w.n_parts && !ret; p++)
		ret = weights_populate_run(w.part[p].data, qmatmul_bytes(&w.part[p]));
	/* f32 only for products that the packed parts do not serve */
	if (!ret && later == (when == LATER) && !llama_matrix_packed(&w, most))
		ret = weights_populate(j->m->weights, &j->plan, i, i);
	return ret;
}

static int populate_entries(struct job *j, size_t first, size_t last, enum when when)
{
	int ret = 0;

	for (size_t i = first; i <= last && !ret && !atomic_load(&j->stop); i++)
		ret = populate_entry(j, i, when);
	return ret;
}

/* In file order. */
static int populate(struct job *j, enum when when)
{
	const struct llama_config *c = &j->m->config;
	uint32_t first = j->opt.layer_first;
	uint32_t last = j->opt.layer_last ? j->opt.layer_last : c->n_layer;
	size_t norm = 1 + (size_t)c->n_layer * PLAN_PER_LAYER;
	int ret = 0;

	if (j->opt.parts)
		llama_part(j->m, j->opt.part, j->opt.parts, &first, &last);
	if (first >= last || last > c->n_layer)
		return -ERANGE;
	/* Of the embedding alone few rows are ever read: those come when they are needed. */
	if (j->roles & LLAMA_ROLE_OUTPUT && c->tied_output)
		ret = populate_entries(j, 0, 0, when);
	if (!ret && j->roles & LLAMA_ROLE_LAYERS)
		ret = populate_entries(j, 1 + (size_t)first * PLAN_PER_LAYER,
				       (size_t)last * PLAN_PER_LAYER, when);
	if (!ret && j->roles & LLAMA_ROLE_OUTPUT)
		ret = populate_entries(j, norm, j->plan.n - 1, when);
	return ret;
}

/* What cannot be read fails where it is used, as it would without this. */
static void *fill(void *arg)
{
	populate(arg, LATER);
	return NULL;
}

/* Signals are for the threads of the program. */
static int start(struct llama_filler *f)
{
	sigset_t all, old;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&f->thread, NULL, fill, &f->job);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -ret;
}

static int populate_later(struct llama *m, struct weights_plan *plan, const struct job *j)
{
	struct llama_filler *f = malloc(sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->job.m = j->m;
	f->job.plan = j->plan;
	f->job.opt = j->opt;
	f->job.roles = j->roles;
	atomic_init(&f->job.stop, false);
	if (start(f)) {		/* no thread: then now */
		int ret = populate(&f->job, LATER);

		free(f);
		return ret;
	}
	m->filler = f;
	plan->entry = NULL;
	return 0;
}

int llama_populate(struct llama *m, struct weights_plan *plan, unsigned int roles,
		   const struct llama_options *opt)
{
	struct job j = {
		.m = m, .plan = *plan, .opt = opt ? *opt : (struct llama_options){ .part = 0 },
		.roles = roles,
	};
	int ret = populate(&j, AT_ONCE);

	return ret || !j.opt.background ? ret : populate_later(m, plan, &j);
}

void llama_populate_stop(struct llama *m)
{
	struct llama_filler *f = m->filler;

	if (!f)
		return;
	atomic_store(&f->job.stop, true);
	pthread_join(f->thread, NULL);
	free(f->job.plan.entry);
	free(f);
	m->filler = NULL;
}
