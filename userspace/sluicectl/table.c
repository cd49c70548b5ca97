// SPDX-License-Identifier: MIT
/* table.c - tables on libsmartcols, as lsblk and findmnt print them */

#include <err.h>
#include <libsmartcols.h>
#include <stdarg.h>

#include "sluicectl.h"

struct libscols_table *ctl_table(const char *const *columns)
{
	struct libscols_table *table = scols_new_table();

	if (!table)
		err(CTL_FAILED, "no memory for a table");
	for (; *columns; columns++) {
		bool right = (*columns)[0] == '>';

		if (!scols_table_new_column(table, *columns + right, 0,
					    right ? SCOLS_FL_RIGHT : 0))
			err(CTL_FAILED, "no memory for a table");
	}
	return table;
}

void ctl_table_row(struct libscols_table *table, ...)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	size_t columns = scols_table_get_ncols(table);
	va_list args;

	if (!line)
		err(CTL_FAILED, "no memory for a table");
	va_start(args, table);
	for (size_t i = 0; i < columns; i++)
		if (scols_line_set_data(line, i, va_arg(args, const char *)))
			err(CTL_FAILED, "no memory for a table");
	va_end(args);
}

void ctl_table_print(struct libscols_table *table)
{
	scols_print_table(table);
	scols_unref_table(table);
}
