// SPDX-License-Identifier: GPL-2.0
/*
 * coverage.c: linked into the sluice.ko of a coverage build, not instrumented itself.
 *
 * A definition in the module goes before the kernel's own of the same name.
 */
#include <linux/compiler.h>
#include <linux/instruction_pointer.h>

void sluice_cov_hit(unsigned long ip);
void __sanitizer_cov_trace_pc(void);

notrace void __sanitizer_cov_trace_pc(void)
{
	sluice_cov_hit(_RET_IP_);
}
