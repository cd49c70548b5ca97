/* SPDX-License-Identifier: MIT */
/*
 * pipeline.h - a pipeline file, checked and with its variables put in
 *
 *	[pipeline]                         # the whole
 *	name = "smollm2"
 *	[variables]                        # defaults; --set KEY=VALUE goes before them
 *	model = "${MODEL}"                 # ${KEY} or ${KEY:-default}: --set, here, environment
 *	[[stage]]                          # in the order in which messages pass
 *	name = "decoder"
 *	slots = 256
 *	buffers = 64
 *	buffer_size = "64K"
 *	command = ["sluice-decoder", "--model", "${model}"]
 *	replicas = 2
 *	accepts = ["tokens:i32[?]"]        # types of messages, see <sluice/tensor.h>
 *	[client]                           # which stage is what, for run and chat
 *	embedding = "embedding"
 *
 * All keys with their meaning are in the table of pipeline.c and in sluicectl(8).
 */
#ifndef SLUICECTL_PIPELINE_H
#define SLUICECTL_PIPELINE_H

#include <sluice/sluice.h>

#include "health.h"

#define PIPELINE_MAX_STAGES	64
#define PIPELINE_MAX_REPLICAS	64
#define PIPELINE_ROLES		4	/* embedding, encoder, decoder, output */

enum pipeline_restart { RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NEVER };

/** struct pipeline_breaker - a breaker_policy as it stands in the file; 0 = the default */
struct pipeline_breaker {
	uint32_t	failures;
	uint32_t	window_ms;
	uint32_t	backoff_ms;
	uint32_t	backoff_max_ms;
};

/**
 * struct pipeline_stage - one [[stage]]
 * @create:	name and geometry
 * @command:	NULL terminated; NULL: no daemon, the stage is only created
 * @environment: NAME=VALUE, NULL terminated; NULL: none
 * @breaker:	when its daemons are shut off, see stages/breaker.h; in the file's own units
 * @limits:	what `sluicectl check` takes for degraded
 * @accepts:	the types that it takes, as sluice_accepts_parse() reads them; NULL: it does not say
 */
struct pipeline_stage {
	struct sluice_create	create;
	char			**command;
	char			**environment;
	char			*accepts;
	uint32_t		replicas;
	enum pipeline_restart	restart;
	struct pipeline_breaker	breaker;
	struct health_limits	limits;
	unsigned int		line;
};

/**
 * struct pipeline - a file
 * @path:	absolute
 * @ready_ms:	how long all daemons together may take to attach
 * @drain_ms:	how long they may take to finish after SIGTERM
 * @client:	stage names by enum msg_stage, NULL where the file says nothing
 */
struct pipeline {
	char			*path;
	char			*name;
	char			*description;
	uint32_t		ready_ms;
	uint32_t		drain_ms;
	char			*client[PIPELINE_ROLES];
	struct pipeline_stage	*stages;
	size_t			nstages;
};

extern const char *const pipeline_roles[PIPELINE_ROLES + 1];
extern const char *const pipeline_restarts[];	/* by enum pipeline_restart, NULL at the end */

/**
 * pipeline_find() - the file that @word means
 *
 * A path; else NAME or NAME.toml in the installed share/sluice/pipelines beside the program.
 * Return: an allocated path, or NULL after an error was printed.
 */
char *pipeline_find(const char *word);

/**
 * pipeline_load() - read and check a file
 * @sets:	KEY=VALUE of --set, NULL terminated
 * @out:	freed by pipeline_free()
 *
 * Return: CTL_OK, or an exit status after the error was printed as FILE:LINE:COLUMN: what.
 */
int pipeline_load(const char *path, const char *const *sets, struct pipeline **out);
void pipeline_free(struct pipeline *pipeline);

#endif /* SLUICECTL_PIPELINE_H */
