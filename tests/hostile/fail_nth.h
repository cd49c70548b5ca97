/* SPDX-License-Identifier: MIT */
/* fail_nth.h: between the runner, which makes allocations fail, and the operations. */
#ifndef SLUICE_TEST_FAIL_NTH_H
#define SLUICE_TEST_FAIL_NTH_H

struct world;	/* fail_operations.c: what an operation works on */

struct operation {
	const char *name;
	int (*prepare)(struct world *w);
	int (*run)(struct world *w);		/* the one that fails */
	int (*check)(struct world *w, int result);	/* 0: the state is right */
	void (*undo)(struct world *w);
	/* the first that is ours to let fail (NULL: 1) of one that inserts the module itself */
	unsigned int (*first)(void);
};

/* fail_operations.c; the table ends with one that has no name */
extern const struct operation operations[];
struct world *world_new(void);

/* fail_nth.c */
int module_insert(const char *parameters);
unsigned int module_loader_allocations(void);

#endif /* SLUICE_TEST_FAIL_NTH_H */
