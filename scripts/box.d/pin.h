/* SPDX-License-Identifier: MIT */
#ifndef BOX_PIN_H
#define BOX_PIN_H

#include <sys/types.h>

int pin_machine(pid_t keeper, int cpus);

#endif
