// SPDX-License-Identifier: MIT
/* main.c: history-check, the checker for a history in a file. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "history.h"

static const char usage[] =
	"usage: history-check [OPTION...] FILE\n"
	"\n"
	"Checks what the processes of a run wrote down: nothing that was sent is lost, nothing\n"
	"has two effects, everything is in order, nothing is stuck. FILE is what a kill storm\n"
	"kept, or, with --text, lines 'LOG WHAT key=value...' as --print writes them;\n"
	"- is standard input.\n"
	"\n"
	"  --text            FILE is text\n"
	"  --print           write the events in order of time instead of checking them\n"
	"  --effects[=LANE]  streams that come in on LANE (default 0; again for another) leave\n"
	"                    an end of the pipe: in order, once, without gaps\n"
	"  --late            under a policy: consumers may see first deliveries out of order\n"
	"  --broadcast       everybody gets everything, from where it joined until it ends\n"
	"  --unfinished      the run was cut off: say nothing about what is missing or left\n"
	"  --max-attempts N  of one ticket (default 254)\n"
	"\n"
	"exit status: 0 all is well; 1 something is not; 2 the file cannot be read\n"
	"\n"
	"examples:\n"
	"  history-check --effects /tmp/storm.history\n"
	"  history-check --print /tmp/storm.history | grep ticket=4711\n";

static char *read_all(FILE *from)
{
	size_t size = 1 << 16, len = 0, got;
	char *text = malloc(size), *more;

	while (text && (got = fread(text + len, 1, size - len - 1, from))) {
		len += got;
		if (len < size - 1)
			continue;
		size *= 2;
		more = realloc(text, size);
		if (!more)
			free(text);
		text = more;
	}
	if (text)
		text[len] = '\0';
	return text;
}

static int read_text(struct history **h, const char *path)
{
	FILE *from = strcmp(path, "-") ? fopen(path, "r") : stdin;
	unsigned int line;
	char *text;
	int ret;

	if (!from)
		return -errno;
	text = read_all(from);
	ret = text ? history_create(h, NULL, HISTORY_MAX_LOGS, 1 << 20) : -ENOMEM;
	if (!ret) {
		line = history_parse(*h, text);
		if (line) {
			fprintf(stderr, "history-check: %s: line %u is no event "
				"(LOG WHAT key=value...)\n", path, line);
			exit(2);
		}
	}
	free(text);
	if (from != stdin)
		fclose(from);
	return ret;
}

static int check(const struct history *h, const struct history_rules *rules)
{
	struct history_result res;

	if (history_check(h, rules, &res)) {
		fputs("history-check: out of memory\n", stderr);
		return 2;
	}
	history_print(&res);
	printf("%s - history: %llu violations\n", res.nfound ? "not ok" : "ok",
	       (unsigned long long)res.nfound);
	history_result_free(&res);
	return res.nfound > 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "text", no_argument, NULL, 't' }, { "print", no_argument, NULL, 'p' },
		{ "effects", optional_argument, NULL, 'e' }, { "broadcast", no_argument, NULL, 'b' },
		{ "late", no_argument, NULL, 'l' }, { "unfinished", no_argument, NULL, 'u' },
		{ "max-attempts", required_argument, NULL, 'a' },
		{ "help", no_argument, NULL, 'h' }, { 0 },
	};
	struct history_rules rules = { 0 };
	bool text = false, print = false;
	struct history *h;
	unsigned int i;
	int o, ret;

	while ((o = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (o) {
		case 't':
			text = true;
			break;
		case 'p':
			print = true;
			break;
		case 'e':
			rules.effects |= 1u << (optarg ? (unsigned int)atoi(optarg) % HISTORY_MAX_LANES : 0);
			break;
		case 'l':
			rules.late = true;
			break;
		case 'b':
			rules.broadcast = true;
			break;
		case 'u':
			rules.unfinished = true;
			break;
		case 'a':
			for (i = 0; i < HISTORY_MAX_LANES; i++)
				rules.max_attempts[i] = (unsigned int)atoi(optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			return 2;
		}
	}
	if (optind + 1 != argc) {
		fputs("history-check: name one file (see --help)\n", stderr);
		return 2;
	}
	ret = text ? read_text(&h, argv[optind]) : history_open(&h, argv[optind]);
	if (ret) {
		fprintf(stderr, "history-check: %s: %s\n", argv[optind],
			ret == -EBADMSG ? "not a history (is it text? then --text)" :
			strerror(-ret));
		return 2;
	}
	ret = print ? history_write(h, stdout) : check(h, &rules);
	history_close(h);
	return ret;
}
