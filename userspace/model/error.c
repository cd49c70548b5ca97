// SPDX-License-Identifier: MIT
/* error.c - one-line error messages */
#include <stdarg.h>
#include <stdio.h>

#include "error.h"

int model_fail(struct model_error *err, int errnum, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return -errnum;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);

	/* Names come from files that nobody vouches for: no escape sequence gets to a terminal. */
	for (char *c = err->text; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	}
	return -errnum;
}
