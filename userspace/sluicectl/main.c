// SPDX-License-Identifier: MIT
/* main.c - sluicectl: one row per command */

#include <errno.h>
#include <libgen.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluicectl.h"

#ifndef SLUICE_VERSION
#define SLUICE_VERSION "unknown"
#endif

static const struct ctl_command commands[] = {
	{ "create", NULL, cmd_create, "NAME",
	  "Create a stage: a ring, its buffers and the node /dev/sluice/NAME",
	  "sluicectl create greet --slots 256 --buffers 64 --buffer-size 64K", true },
	{ "destroy", NULL, cmd_destroy, "NAME...",
	  "Destroy stages and what is in them",
	  "sluicectl destroy greet --drain 5s", true },
	{ "repair", NULL, cmd_repair, "NAME...",
	  "Put stages back to work after a process wrote nonsense into them",
	  "sluicectl repair decoder --json", true },
	{ "policy", NULL, cmd_policy, "NAME POLICY",
	  "Change whom the messages of a stage are for: shared, round-robin, least-outstanding, "
	  "weighted, affinity",
	  "sluicectl policy decoder affinity", true },
	{ "list", "ls", cmd_list, "",
	  "List the stages with their state",
	  "sluicectl list --json | jq -r '.[] | select(.state == \"stalled\") | .name'", true },
	{ "show", NULL, cmd_show, "NAME",
	  "Show a stage: geometry, slots by state, who is attached",
	  "sluicectl show decoder", true },
	{ "stats", NULL, cmd_stats, "NAME...",
	  "Show the counters of stages, once or again and again",
	  "sluicectl stats --all --watch 1s", true },
	{ "top", NULL, cmd_top, "[NAME...]",
	  "Watch stages and endpoints: rates, backlog, who sleeps; q leaves",
	  "sluicectl top --interval 500ms\n"
	  "sluicectl top --once --json | jq '.stages[] | select(.health != \"healthy\")'", true },
	{ "check", NULL, cmd_check, "[NAME...]",
	  "Say by the exit status whether stages work: 0 healthy, 1 degraded, 2 broken, 3 unknown",
	  "sluicectl check decoder output --age 2s || alert", true },
	{ "send", NULL, cmd_send, "STAGE [TEXT...]",
	  "Send a message: the words, a file or standard input",
	  "sluicectl send greet --wait 'hello, world'\n"
	  "seq 1000 | sluicectl send greet --lines --stream 7\n"
	  "sluicectl send eyes --type image/png --file cat.png", false },
	{ "recv", NULL, cmd_recv, "STAGE",
	  "Receive messages and acknowledge each after it was written out",
	  "sluicectl recv greet --count 10 --timeout 5s --format json", false },
	{ "dead", NULL, cmd_dead, "list|show|requeue|drop STAGE",
	  "Look at the dead letters of a stage, send them again, or drop them",
	  "sluicectl dead list decoder\n"
	  "sluicectl dead requeue decoder --ticket 4711", true },
	{ "up", NULL, cmd_up, "FILE",
	  "Create the stages of a pipeline, start its daemons and keep them running",
	  "sluicectl up smollm2.toml --set model=SmolLM2-135M-Instruct.Q4_1.gguf --detach", false },
	{ "down", NULL, cmd_down, "NAME|FILE",
	  "Stop a pipeline that 'up' started: drain, stop the daemons, destroy the stages",
	  "sluicectl down smollm2", true },
	{ "run", NULL, cmd_run, "PROMPT...",
	  "Ask the model of a running pipeline; the answer is streamed ('-': prompt on stdin)",
	  "sluicectl run --tokens 48 'Give me three tips for staying healthy.'\n"
	  "sluicectl run --raw --stats 'Once upon a time'", false },
	{ "chat", NULL, cmd_chat, "",
	  "Talk with the model of a running pipeline (Ctrl-C: stop the answer, Ctrl-D: leave)",
	  "sluicectl chat --temperature 0.7 --top-p 0.9", false },
	{ "model", NULL, cmd_model, "[FILE] [STAGE=TIME...]",
	  "Predict first result, throughput and completion from the stages' service times",
	  "sluicectl model\n"
	  "sluicectl model encoder=3s decoder=4s --messages 100 --replicas decoder=2\n"
	  "sluicectl model a=1ms b=2ms -r b=8 --policy affinity --streams 12 --json\n"
	  "sluicectl model pipeline.toml first=20ms second=35ms --hop 80us", false },
};

#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

const char *argp_program_version = "sluicectl " SLUICE_VERSION;

static const char exit_statuses[] =
	"Exit status: 0 success, 1 the operation failed, 2 wrong command line, 3 wrong pipeline "
	"file, 4 no such stage or pipeline, 5 permission denied, 6 no module or another ABI "
	"version, 7 timed out, 8 refused for now, 130 interrupted.";

static void print_help(FILE *out)
{
	fputs("Usage: sluicectl COMMAND [OPTION...]\n"
	      "Manage the stages and pipelines of the sluice kernel module.\n\nCommands:\n", out);
	for (size_t i = 0; i < NCOMMANDS; i++)
		fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
	fputs("\n  sluicectl COMMAND --help   the options of a command, with an example\n"
	      "  sluicectl --version        the release and the ABI version\n\n"
	      "Example:\n"
	      "  sluicectl up smollm2.toml --detach && sluicectl run 'Why is the sky blue?'\n\n"
	      "Exit status:\n"
	      "  0 success                4 no such stage or pipeline\n"
	      "  1 the operation failed   5 permission denied\n"
	      "  2 wrong command line     6 no module, or another ABI version\n"
	      "  3 wrong pipeline file    7 timed out\n"
	      "  130 interrupted          8 refused for now: try again later\n"
	      "  ('check' has its own: 0 healthy, 1 degraded, 2 broken, 3 cannot tell)\n", out);
}

/* argp keeps a pointer to the documentation while it parses, so it lives until exit. */
static char *documentation(const struct ctl_command *cmd)
{
	char *examples = strdup(cmd->example), *text = NULL, *line, *rest = examples;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!examples || !out) {
		ctl_error("no memory");
		exit(CTL_FAILED);
	}
	fprintf(out, "%s.\vExample:\n", cmd->summary);
	while ((line = strsep(&rest, "\n")))
		fprintf(out, "  %s\n", line);
	fprintf(out, "\n%s", exit_statuses);
	fclose(out);
	free(examples);
	return text;
}

int ctl_parse(const struct ctl_command *cmd, const struct argp_option *options,
	      argp_parser_t parser, int argc, char **argv, void *input)
{
	char *doc = documentation(cmd);
	const struct argp argp = {
		.options = options,
		.parser = parser,
		.args_doc = cmd->args,
		.doc = doc,
	};
	static char name[64];
	int err;

	snprintf(name, sizeof(name), "sluicectl %s", cmd->name);
	argv[0] = name;
	argp_err_exit_status = CTL_USAGE;
	err = argp_parse(&argp, argc, argv, 0, NULL, input);
	free(doc);
	if (err) {
		ctl_error("%s: %s", cmd->name, strerror(err));
		return CTL_FAILED;
	}
	return cmd->control ? ctl_check_module() : CTL_OK;
}

static const struct ctl_command *find(const char *name)
{
	for (size_t i = 0; i < NCOMMANDS; i++)
		if (!strcmp(name, commands[i].name) ||
		    (commands[i].alias && !strcmp(name, commands[i].alias)))
			return &commands[i];
	return NULL;
}

static int unknown(const char *name)
{
	const char *names[NCOMMANDS + 1] = { NULL };
	const char *close;

	for (size_t i = 0; i < NCOMMANDS; i++)
		names[i] = commands[i].name;
	close = ctl_suggest(name, names);
	if (close)
		ctl_error("there is no command '%s'; did you mean '%s'?", name, close);
	else
		ctl_error("there is no command '%s'; 'sluicectl --help' lists them", name);
	return CTL_USAGE;
}

int main(int argc, char **argv)
{
	const struct ctl_command *cmd;
	int status;

	setlocale(LC_ALL, "");
	setlocale(LC_NUMERIC, "C");	/* 0.7 is 0.7 everywhere, and so is JSON */
	signal(SIGPIPE, SIG_IGN);	/* a write error is reported, and a claim given back */
	if (argc < 2) {
		print_help(stderr);
		return CTL_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_help(stdout);
		return CTL_OK;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("%s, ABI version %u\n", argp_program_version, SLUICE_ABI_VERSION);
		return CTL_OK;
	}
	cmd = find(argv[1]);
	if (!cmd)
		return unknown(argv[1]);
	status = cmd->run(cmd, argc - 1, argv + 1);
	if (status == CTL_OK && !ctl_flush())
		status = CTL_FAILED;
	return status;
}
