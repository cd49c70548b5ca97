/* SPDX-License-Identifier: MIT */
/* pipeline_pvt.h - between pipeline.c, which reads the file, and shape.c, which connects stages */
#ifndef SLUICECTL_PIPELINE_PVT_H
#define SLUICECTL_PIPELINE_PVT_H

#include <sluice/route.h>

#include "expand.h"
#include "pipeline.h"
#include "toml.h"

struct loader {
	const char	*path;
	struct expand	*expand;
};

/** loader_fail() - print FILE:LINE:COLUMN: what. Return: CTL_BAD_FILE */
int loader_fail(const struct loader *l, unsigned int line, unsigned int column,
		const char *format, ...) __attribute__((format(printf, 4, 5)));

/** loader_text() - the text of a scalar with its variables put in; freed by the caller */
int loader_text(const struct loader *l, const struct toml_node *node, char **text);

int loader_no_memory(void);

/**
 * struct pipeline_routes - the rules of a stage
 * @text:	all of them, one a line, as daemons get them in SLUICE_ROUTES
 * @line, @column: where each rule stands in the file
 */
struct pipeline_routes {
	struct sluice_routes	rules;
	char			*text;
	unsigned int		line[SLUICE_ROUTES_MAX];
	unsigned int		column[SLUICE_ROUTES_MAX];
};

/** shape_read_routes() - the value of 'routes': 0, or an exit status after the error was printed */
int shape_read_routes(const struct loader *l, const struct toml_node *node,
		      struct pipeline_routes **routes);
void shape_free_routes(struct pipeline_routes *routes);

/**
 * shape_expand() - the last stage of @p, read and checked, becomes as many as it has shards
 *
 * Also a stage with rules and without a command gets `sluicectl route`. @p->stages has room for
 * PIPELINE_MAX_STAGES. Return: as above.
 */
int shape_expand(const struct loader *l, const struct toml_node *node, struct pipeline *p);

/** shape_check() - when all stages are known: do rules lead somewhere, and not back unmeant? */
int shape_check(const struct loader *l, const struct pipeline *p);

#endif /* SLUICECTL_PIPELINE_PVT_H */
