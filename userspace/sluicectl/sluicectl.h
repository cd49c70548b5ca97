/* SPDX-License-Identifier: MIT */
/*
 * sluicectl.h - what the commands of sluicectl share
 *
 * A command is one row of the table in main.c and one function here. It returns the exit status;
 * whoever finds an error prints it, once, with ctl_error() or ctl_library_error().
 */
#ifndef SLUICECTL_H
#define SLUICECTL_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include <json-c/json.h>
#include <sluice/sluice.h>

/* Exit statuses. The manual page and `sluicectl --help` list them: keep the three alike. */
enum ctl_exit {
	CTL_OK		= 0,
	CTL_FAILED	= 1,	/* the operation failed */
	CTL_USAGE	= 2,	/* wrong command line */
	CTL_BAD_FILE	= 3,	/* wrong pipeline file */
	CTL_NOT_FOUND	= 4,	/* no such stage, pipeline or file */
	CTL_DENIED	= 5,	/* permission denied */
	CTL_NO_MODULE	= 6,	/* no module, or one with another ABI version */
	CTL_TIMEOUT	= 7,	/* nothing came, or nothing was acknowledged, in time */
	CTL_BUSY	= 8,	/* the pipeline refuses work for now: try again later */
	CTL_INTERRUPTED	= 130,	/* Ctrl-C */
};

struct ctl_command;
typedef int ctl_run_fn(const struct ctl_command *cmd, int argc, char **argv);

/**
 * struct ctl_command - one row of the command table
 * @name:	first argument of sluicectl
 * @alias:	another name, or NULL
 * @run:	returns the exit status
 * @args:	positional arguments, for the usage line
 * @summary:	one line
 * @example:	shown under "Example:" by --help; lines separated by newlines
 * @control:	needs the module's control node: checked after the options were read
 */
struct ctl_command {
	const char	*name;
	const char	*alias;
	ctl_run_fn	*run;
	const char	*args;
	const char	*summary;
	const char	*example;
	bool		control;
};

ctl_run_fn cmd_create, cmd_destroy, cmd_repair, cmd_policy;
ctl_run_fn cmd_list, cmd_show, cmd_stats, cmd_check, cmd_top;
ctl_run_fn cmd_send, cmd_recv, cmd_dead;
ctl_run_fn cmd_up, cmd_down;
ctl_run_fn cmd_run, cmd_chat;
ctl_run_fn cmd_model;

/**
 * ctl_parse() - read a command's options, then check the module if the command needs it
 * @options:	argp's option table; --help, --usage and --version are added
 * @parser:	argp's parser; its state->input is @input
 *
 * Exits with CTL_USAGE on a wrong command line, as argp does.
 * Return: CTL_OK, or an exit status after an error was printed.
 */
int ctl_parse(const struct ctl_command *cmd, const struct argp_option *options,
	      argp_parser_t parser, int argc, char **argv, void *input);

#define CTL_OPTION_JSON	{ "json", 'j', NULL, 0, "Print JSON", 0 }

/* ---------------------------------------------------------------- report.c --- */

/** ctl_error() - "sluicectl: …" on stderr, one line */
void ctl_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** ctl_exit_of() - the exit status that stands for a negative errno value */
int ctl_exit_of(int err);

/**
 * ctl_library_error() - print what a failed libsluice call said about itself
 * @err:	the negative errno value it returned
 *
 * Return: the exit status.
 */
int ctl_library_error(int err);

/** ctl_check_module() - is a module of our ABI loaded? Prints the error and returns the status */
int ctl_check_module(void);

/** ctl_suggest() - the entry of a NULL-terminated list that @word may be a typo of, or NULL */
const char *ctl_suggest(const char *word, const char *const *list);

/** ctl_flush() - flush stdout; false after an error, which is printed unless a pipe just ended */
bool ctl_flush(void);

/** ctl_print_json() - print and free an object: one line, or for people on a terminal several */
void ctl_print_json(struct json_object *object);

/** ctl_json_utf8() - a JSON string of @data if that is valid UTF-8, else NULL */
struct json_object *ctl_json_utf8(const void *data, size_t len);

/** ctl_json_hex() - a JSON string of hexadecimal digits */
struct json_object *ctl_json_hex(const void *data, size_t len);

#define CTL_TEXT_MAX 32		/* room for the results of the three functions below */
const char *ctl_format_size(char text[CTL_TEXT_MAX], uint64_t bytes);
const char *ctl_format_ns(char text[CTL_TEXT_MAX], uint64_t ns);
const char *ctl_format_count(char text[CTL_TEXT_MAX], uint64_t count);

/* --------------------------------------------------------------- options.c --- */

/*
 * Values as people write them. Each returns 0, or -EINVAL or -ERANGE and a sentence in @why that
 * says what was expected.
 */
#define CTL_WHY_MAX 256
int ctl_parse_number(const char *text, uint64_t max, uint64_t *value, char why[CTL_WHY_MAX]);
/** ctl_parse_size() - bytes: 4096, 64K, 2M, 1G (powers of 1024) */
int ctl_parse_size(const char *text, uint64_t max, uint64_t *bytes, char why[CTL_WHY_MAX]);
/** ctl_parse_duration() - 500ms, 5s, 2m, 1h; a bare number is seconds; the value is nanoseconds */
int ctl_parse_duration(const char *text, int64_t *ns, char why[CTL_WHY_MAX]);
/** ctl_parse_real() - a decimal fraction between @min and @max */
int ctl_parse_real(const char *text, double min, double max, double *value,
		   char why[CTL_WHY_MAX]);

/*
 * The same for an option of the command line: a wrong value ends the program with CTL_USAGE and
 * names @option.
 */
uint64_t ctl_option_number(struct argp_state *state, const char *option, const char *text,
			   uint64_t max);
uint64_t ctl_option_size(struct argp_state *state, const char *option, const char *text,
			 uint64_t max);
int64_t ctl_option_duration(struct argp_state *state, const char *option, const char *text);
/** ctl_option_ms() - a duration that must fit into 32 bits of milliseconds */
uint32_t ctl_option_ms(struct argp_state *state, const char *option, const char *text);
double ctl_option_real(struct argp_state *state, const char *option, const char *text,
		       double min, double max);

/* -------------------------------------------------------------- geometry.c --- */

extern const char *const ctl_policies[];	/* by enum sluice_policy, NULL at the end */
extern const char *const ctl_health[];		/* by enum sluice_health */

/** ctl_policy_name() - "shared", or "?" for one that this tool does not know */
const char *ctl_policy_name(uint32_t policy);
const char *ctl_health_name(uint32_t health);

/**
 * ctl_geometry_check() - will the kernel take this?
 *
 * The kernel decides; this says it in words, with the nearest value that would do.
 * Return: 0, or -EINVAL and a sentence in @why.
 */
int ctl_geometry_check(const struct sluice_create *create, char why[CTL_WHY_MAX]);

/**
 * ctl_geometry_differs() - compare a stage that exists with the one that is wanted
 * @why:	out: the first difference, "64 slots instead of 256"
 */
bool ctl_geometry_differs(const struct sluice_create *want, const struct sluice_info *have,
			  char why[CTL_WHY_MAX]);

/* ----------------------------------------------------------------- table.c --- */

struct libscols_table;

/**
 * ctl_table() - a table of text columns
 * @columns:	headings, NULL at the end; one that starts with '>' is aligned to the right
 *
 * Never NULL: without memory the program ends.
 */
struct libscols_table *ctl_table(const char *const *columns);

/** ctl_table_row() - append a row; one string (copied) for each column */
void ctl_table_row(struct libscols_table *table, ...);

/** ctl_table_print() - print to stdout and free */
void ctl_table_print(struct libscols_table *table);

#endif /* SLUICECTL_H */
