// SPDX-License-Identifier: MIT
/* Searches a kernel's console for reports of faults. */
#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "verdict.h"

#define PATTERNS_MAX	64
#define SHOW_BEFORE	3
#define KNOWN_LINES	5
#define SHOW_AFTER	60
#define START_MARK	"sluice-box: command starts"

struct patterns {
	regex_t regex[PATTERNS_MAX];
	int nr;
};

/* One extended regular expression a line; empty lines and those with # do not count. */
static int patterns_read(struct patterns *patterns, const char *path)
{
	FILE *file = fopen(path, "re");
	char line[512];

	if (!file) {
		fprintf(stderr, "box: %s: %s\n", path, strerror(errno));
		return -errno;
	}
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		if (!line[0] || line[0] == '#')
			continue;
		if (patterns->nr == PATTERNS_MAX ||
		    regcomp(&patterns->regex[patterns->nr], line, REG_EXTENDED | REG_NOSUB)) {
			fprintf(stderr, "box: %s: too many patterns, or a bad one: %s\n",
				path, line);
			fclose(file);
			return -EINVAL;
		}
		patterns->nr++;
	}
	fclose(file);
	return 0;
}

static bool matches(const struct patterns *patterns, const char *line)
{
	for (int i = 0; i < patterns->nr; i++)
		if (regexec(&patterns->regex[i], line, 0, NULL, 0) == 0)
			return true;
	return false;
}

static char *read_log(int fd)
{
	struct stat st;
	char *text;
	ssize_t len;

	if (fstat(fd, &st))
		return NULL;
	text = malloc(st.st_size + 1);
	if (!text)
		return NULL;
	len = pread(fd, text, st.st_size, 0);
	text[len > 0 ? len : 0] = 0;
	for (ssize_t i = 0; i < len; i++)	/* a zero would hide what follows it */
		if (!text[i] || text[i] == '\r')
			text[i] = ' ';
	return text;
}

/* Splits @text in place; the array is the caller's to free. */
static char **split_lines(char *text, int *nr)
{
	char **lines;
	int n = 1;

	for (char *p = text; *p; p++)
		n += *p == '\n';
	lines = calloc(n, sizeof(*lines));
	*nr = 0;
	for (char *line = text, *end; lines && *line; line = end + 1) {
		lines[(*nr)++] = line;
		end = strchr(line, '\n');
		if (!end)
			break;
		*end = 0;
	}
	return lines;
}

static void show(char **lines, int from, int to, int nr)
{
	for (int i = from < 0 ? 0 : from; i < to && i < nr; i++)
		fprintf(stderr, "  %s\n", lines[i]);
}

/* What was wrong may stand a few lines below the headline. */
static bool is_known(char **lines, int at, int nr, const struct patterns *known)
{
	for (int i = at; i < nr && i < at + KNOWN_LINES; i++)
		if (matches(known, lines[i]))
			return true;
	return false;
}

static int first_fault(char **lines, int nr, const struct patterns *faults,
		       const struct patterns *known)
{
	bool booting = true;

	for (int i = 0; i < nr; i++) {
		if (strstr(lines[i], START_MARK))
			booting = false;
		else if (matches(faults, lines[i]) && !(booting && is_known(lines, i, nr, known)))
			return i;
	}
	return -1;
}

/**
 * verdict() - Search a console log for reports of faults and show the first.
 * @log_fd: the log
 * @faults: path of the file with patterns of reports
 * @known: path of the file with patterns that are harmless before the command starts
 * Return: 1 if there is a report, 0 if not, a negative errno value if it cannot be known.
 */
int verdict(int log_fd, const char *faults, const char *known)
{
	static struct patterns bad, harmless;
	char *text, **lines;
	int nr = 0, first;

	if (patterns_read(&bad, faults) || patterns_read(&harmless, known))
		return -EINVAL;
	text = read_log(log_fd);
	lines = text ? split_lines(text, &nr) : NULL;
	if (!lines) {
		free(text);
		return -ENOMEM;
	}
	first = first_fault(lines, nr, &bad, &harmless);
	if (first >= 0) {
		fprintf(stderr, "box: the kernel reported a fault:\n");
		show(lines, first - SHOW_BEFORE, first + SHOW_AFTER, nr);
		if (first + SHOW_AFTER < nr)
			fprintf(stderr, "  ... %d more lines (--log FILE keeps them)\n",
				nr - first - SHOW_AFTER);
	}
	free(lines);
	free(text);
	return first >= 0;
}

/**
 * show_log_end() - Print the last lines of a console log on standard error.
 * @log_fd: the log
 * @count: number of lines
 */
void show_log_end(int log_fd, int count)
{
	char *text = read_log(log_fd), **lines;
	int nr = 0;

	lines = text ? split_lines(text, &nr) : NULL;
	if (lines)
		show(lines, nr - count, nr, nr);
	free(lines);
	free(text);
}
