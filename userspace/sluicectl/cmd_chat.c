// SPDX-License-Identifier: MIT
/* cmd_chat.c - a conversation; line editing and history are libedit's */

#include <errno.h>
#include <histedit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "sluicectl.h"

enum { OPT_SYSTEM = 256, OPT_STATS };

struct chat {
	struct ask ask;
	char *system;
	bool stats;
	struct client_turn *turns;
	size_t nturns, room;
	struct client_stats *timing;	/* of the answer that is coming */
	FILE *answer;
	EditLine *edit;			/* NULL: standard input is no terminal */
	History *history;
	char *line;			/* without a terminal */
	size_t line_size;
};

static const struct argp_option chat_options[] = {
	{ "system", OPT_SYSTEM, "TEXT", 0, "Instruction that comes before the conversation", 0 },
	{ "stats", OPT_STATS, NULL, 0, "After each answer print where the time went", 0 },
	ASK_OPTIONS,
	{ 0 }
};

static error_t chat_parser(int key, char *arg, struct argp_state *state)
{
	struct chat *chat = state->input;

	switch (key) {
	case OPT_SYSTEM:
		chat->system = arg;
		return 0;
	case OPT_STATS:
		chat->stats = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s' is too much: chat reads from standard input", arg);
		return 0;
	default:
		return ask_option(&chat->ask, key, arg, state);
	}
}

/* -------------------------------------------------------------------- lines --- */

static char *prompt(EditLine *edit)
{
	static char text[] = "> ";

	return text;
}

static void open_editor(struct chat *chat)
{
	HistEvent ev;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return;
	chat->edit = el_init("sluicectl", stdin, stdout, stderr);
	chat->history = history_init();
	if (!chat->edit || !chat->history)
		return;
	history(chat->history, &ev, H_SETSIZE, 1000);
	el_set(chat->edit, EL_PROMPT, prompt);
	el_set(chat->edit, EL_EDITOR, "emacs");
	el_set(chat->edit, EL_HIST, history, chat->history);
	el_source(chat->edit, NULL);	/* the user's ~/.editrc */
	fputs("Ctrl-C stops an answer, Ctrl-D leaves, /clear forgets the conversation.\n", stderr);
}

static void close_editor(struct chat *chat)
{
	if (chat->edit)
		el_end(chat->edit);
	if (chat->history)
		history_end(chat->history);
	free(chat->line);
}

/* The next line without its newline, *len bytes, or NULL at the end of the input. */
static const char *read_line(struct chat *chat, size_t *len)
{
	const char *line;
	HistEvent ev;
	ssize_t n;
	int count;

	while (chat->edit) {
		errno = 0;
		line = el_gets(chat->edit, &count);
		if (!line && ask_interrupted() && !ask_terminated()) {
			el_reset(chat->edit);
			putchar('\n');
			continue;
		}
		if (!line || count <= 0)
			return NULL;
		if (count > 1)
			history(chat->history, &ev, H_ENTER, line);
		*len = (size_t)count - (line[count - 1] == '\n');
		return line;
	}
	n = getline(&chat->line, &chat->line_size, stdin);
	if (n < 0)
		return NULL;
	*len = (size_t)n - (chat->line[n - 1] == '\n');
	return chat->line;
}

/* ------------------------------------------------------------- conversation --- */

/* Takes over @content. */
static int add_turn(struct chat *chat, enum msg_role role, char *content, size_t len)
{
	struct client_turn *grown = chat->turns;

	if (chat->nturns == chat->room) {
		chat->room = chat->room ? 2 * chat->room : 16;
		grown = realloc(chat->turns, chat->room * sizeof(*grown));
	}
	if (!grown || !content) {
		ctl_error("no memory");
		free(content);
		return CTL_FAILED;
	}
	chat->turns = grown;
	grown[chat->nturns++] = (struct client_turn){ role, content, len };
	return CTL_OK;
}

static void drop_turns(struct chat *chat, size_t keep)
{
	while (chat->nturns > keep)
		free((char *)chat->turns[--chat->nturns].content);
}

static bool on_event(const struct client_event *ev, void *data)
{
	struct chat *chat = data;

	client_stats_add(chat->timing, ev);
	fwrite(ev->text, 1, ev->text_len, chat->answer);
	fwrite(ev->text, 1, ev->text_len, stdout);
	return ctl_flush();
}

/* One question and its answer; a cut answer stays in the conversation as far as it came. */
static int exchange(struct chat *chat, const char *line, size_t len)
{
	size_t before = chat->nturns, size = 0;
	char *text = NULL;
	int status = add_turn(chat, MSG_USER, strndup(line, len), len);

	if (status)
		return status;
	chat->ask.request.turns = chat->turns;
	chat->ask.request.n_turns = chat->nturns;
	chat->answer = open_memstream(&text, &size);
	if (!chat->answer || client_stats_create(&chat->timing)) {
		ctl_error("no memory");
		return CTL_FAILED;
	}
	status = ask_answer(&chat->ask, on_event, chat);
	fclose(chat->answer);
	putchar('\n');
	if (chat->stats)
		client_stats_print(chat->timing, stderr);
	client_stats_free(chat->timing);
	chat->timing = NULL;
	if (status == CTL_OK || status == CTL_INTERRUPTED) {
		ask_interrupted();
		return add_turn(chat, MSG_ASSISTANT, text, size);
	}
	free(text);
	drop_turns(chat, before);
	return status;
}

static int talk(struct chat *chat)
{
	int status = CTL_OK, last = CTL_OK;
	const char *line;
	size_t len;

	if (chat->system)
		status = add_turn(chat, MSG_SYSTEM, strdup(chat->system), strlen(chat->system));
	while (!status && !ask_terminated() && (line = read_line(chat, &len))) {
		if (!len)
			continue;
		if (len == 6 && !memcmp(line, "/clear", 6)) {
			drop_turns(chat, chat->system ? 1 : 0);
			continue;
		}
		if (ask_check_utf8(line, len))
			continue;
		last = exchange(chat, line, len);
		/* A question that failed is told and forgotten; a lost pipeline ends the talk. */
		if (last == CTL_NO_MODULE || last == CTL_NOT_FOUND)
			status = last;
	}
	if (chat->edit)
		putchar('\n');
	return status ?: chat->edit ? CTL_OK : last;
}

int cmd_chat(const struct ctl_command *cmd, int argc, char **argv)
{
	struct chat chat = { 0 };
	int status;

	ask_defaults(&chat.ask);
	status = ctl_parse(cmd, chat_options, chat_parser, argc, argv, &chat);
	if (!status)
		status = ask_open(&chat.ask);
	if (status)
		return status;
	open_editor(&chat);
	status = talk(&chat);
	close_editor(&chat);
	ask_close(&chat.ask);
	drop_turns(&chat, 0);
	free(chat.turns);
	return status;
}
