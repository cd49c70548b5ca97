/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BOX_VERDICT_H
#define SLUICE_BOX_VERDICT_H

#include <stdbool.h>

int verdict(int log_fd, const char *faults, const char *known);
void show_log_end(int log_fd, int count);

#endif
