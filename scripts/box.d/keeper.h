/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BOX_KEEPER_H
#define SLUICE_BOX_KEEPER_H

#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

#define KEEPER_CHAN	3	/* descriptor of the machine that carries the streams */
#define KEEPER_LOG	4	/* descriptor of the machine that takes the console */

/* What the keeper starts and what it puts back. */
struct keeper {
	char **machine;		/* argument vector of UML or QEMU */
	int chan;		/* becomes KEEPER_CHAN */
	int log;		/* becomes KEEPER_LOG, and standard output and error */
	int tty;		/* terminal to restore, -1 for none */
	struct termios tio;	/* its state */
	const char *map_lock;	/* lock file for vm.max_map_count, NULL: leave it alone */
	long map_count;		/* wanted value */
	bool verbose;
};

pid_t parent_of(const char *pid);
pid_t keeper_start(struct keeper *keeper, int *life);

#endif
