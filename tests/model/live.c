// SPDX-License-Identifier: MIT
/*
 * live.c: what must be possible, on the finished graph of all states:
 *
 *   - from every state, without any further fault, everything can become quiet
 *     (all is delivered, nobody waits for what will not come);
 *   - nobody can go round in circles all by himself (he would spin, not sleep).
 */
#include <stdio.h>
#include <stdlib.h>

#include "model.h"

/* Marks in g->goal whatever can become quiet, by going backwards from what is. */
static bool check_reach(const struct graph *g, u32 *bad)
{
	u64 *start = calloc((size_t)g->nstates + 2, sizeof(*start)), e;
	u32 *from = malloc((g->nedges + 1) * sizeof(*from)), *frontier, n = 0, i;

	frontier = malloc(((size_t)g->nstates + 1) * sizeof(*frontier));
	if (!start || !from || !frontier) {
		fprintf(stderr, "model: no memory for the liveness check; use --no-live\n");
		exit(1);
	}
	for (e = 0; e < g->nedges; e++)
		if (!g->edges[e].fault)
			start[g->edges[e].to + 1]++;
	for (i = 0; i < g->nstates; i++)
		start[i + 1] += start[i];
	for (i = 0; i < g->nstates; i++)
		for (e = g->first_edge[i]; e < g->first_edge[i + 1]; e++)
			if (!g->edges[e].fault)
				from[start[g->edges[e].to]++] = i;
	/* start[i] is now where i + 1 used to start */
	for (i = 0; i < g->nstates; i++)
		if (g->goal[i])
			frontier[n++] = i;
	while (n) {
		u32 at = frontier[--n];

		for (e = at ? start[at - 1] : 0; e < start[at]; e++)
			if (!g->goal[from[e]]) {
				g->goal[from[e]] = 1;
				frontier[n++] = from[e];
			}
	}
	free(start);
	free(from);
	free(frontier);
	for (i = 0; i < g->nstates && g->goal[i]; i++)
		;
	if (i == g->nstates)
		return true;
	model_fail("lost: from here nothing that happens makes everything quiet again");
	*bad = i;
	return false;
}

static bool spins(u32 actor)
{
	u32 program = C->role[actor].program;

	return program != TIMER && program != NOBODY;
}

/* Takes away states without a step of @actor into others that are left; a rest is a circle. */
static bool check_alone(const struct graph *g, u32 actor, u32 *bad)
{
	u32 *in = calloc((size_t)g->nstates + 1, sizeof(*in)), *frontier, n = 0, i, left = g->nstates;
	u64 e;

	frontier = malloc(((size_t)g->nstates + 1) * sizeof(*frontier));
	if (!in || !frontier) {
		fprintf(stderr, "model: no memory for the liveness check; use --no-live\n");
		exit(1);
	}
	for (e = 0; e < g->nedges; e++)
		if ((g->edges[e].actor & 15) == actor && !g->edges[e].fault)
			in[g->edges[e].to]++;
	for (i = 0; i < g->nstates; i++)
		if (!in[i])
			frontier[n++] = i;
	while (n) {
		u32 at = frontier[--n];

		left--;
		for (e = g->first_edge[at]; e < g->first_edge[at + 1]; e++)
			if ((g->edges[e].actor & 15) == actor && !g->edges[e].fault &&
			    !--in[g->edges[e].to])
				frontier[n++] = g->edges[e].to;
	}
	for (i = 0; left && i < g->nstates && !in[i]; i++)
		;
	free(in);
	free(frontier);
	if (!left)
		return true;
	model_fail("spins: endpoint %u can go round in circles while nobody else moves", actor + 1);
	*bad = i;
	return false;
}

/* False, and a state in @bad, when one of the two does not hold. */
bool check_liveness(const struct graph *g, u32 *bad)
{
	u32 i;

	if (!check_reach(g, bad))
		return false;
	for (i = 0; i < C->nactors; i++)
		if (spins(i) && !check_alone(g, i, bad))
			return false;
	return true;
}
