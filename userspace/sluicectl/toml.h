/* SPDX-License-Identifier: MIT */
/* toml.h - a TOML file as a tree of C structures, with the place of every value */
#ifndef SLUICECTL_TOML_H
#define SLUICECTL_TOML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum toml_type {
	TOML_TABLE, TOML_ARRAY, TOML_STRING, TOML_INTEGER, TOML_REAL, TOML_BOOLEAN, TOML_OTHER
};

/**
 * struct toml_node - one value
 * @key:	its name in a table; NULL in an array and at the root
 * @line:	where the value begins, from 1
 * @column:	likewise
 * @string:	NUL terminated; a string with a NUL inside is refused by toml_load()
 * @children:	of a table in the order of the file, of an array in order
 */
struct toml_node {
	enum toml_type		type;
	char			*key;
	unsigned int		line, column;
	char			*string;
	int64_t			integer;
	double			real;
	bool			boolean;
	struct toml_node	*children;
	size_t			nchildren;
};

#define TOML_ERROR_MAX 512

/**
 * toml_load() - parse a file
 * @path:	read whole
 * @root:	out, freed by toml_free()
 * @error:	out: "FILE:LINE:COLUMN: what" or "FILE: what", no newline
 *
 * Return: 0, -EINVAL (syntax), the error of reading it, or -ENOMEM.
 */
int toml_load(const char *path, struct toml_node **root, char error[TOML_ERROR_MAX]);
void toml_free(struct toml_node *root);

/** toml_type_name() - "a string", "a table", … */
const char *toml_type_name(enum toml_type type);

#ifdef __cplusplus
}
#endif
#endif /* SLUICECTL_TOML_H */
