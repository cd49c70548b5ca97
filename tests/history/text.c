// SPDX-License-Identifier: MIT
/* text.c: logs as lines of text. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "history.h"

static const char *const whats[HISTORY_WHATS] = {
	[HISTORY_NOTHING] = "nothing", [HISTORY_START] = "start", [HISTORY_END] = "end",
	[HISTORY_SEND] = "send",
	[HISTORY_SENT] = "sent", [HISTORY_UNSENT] = "unsent", [HISTORY_TOLD] = "told",
	[HISTORY_FAILED] = "failed", [HISTORY_DELIVERED] = "delivered",
	[HISTORY_CORRUPT] = "corrupt", [HISTORY_ACK] = "ack", [HISTORY_ACKED] = "acked",
	[HISTORY_STALE] = "stale", [HISTORY_NACKED] = "nacked", [HISTORY_DEAD] = "dead",
	[HISTORY_DROPPED] = "dropped", [HISTORY_EFFECT] = "effect",
	[HISTORY_GAVE_UP] = "gave-up", [HISTORY_GENERATION] = "generation",
	[HISTORY_KILL] = "kill", [HISTORY_LEFT] = "left",
};

static uint8_t what_of(const char *word, size_t len)
{
	uint8_t i;

	for (i = 1; i < HISTORY_WHATS; i++)
		if (strlen(whats[i]) == len && !strncmp(whats[i], word, len))
			return i;
	return HISTORY_NOTHING;
}

/* key=value, into the event. */
static bool set_field(struct history_event *e, const char *word, size_t len)
{
	const char *equals = memchr(word, '=', len);
	char *end;
	uint64_t v;

	if (!equals)
		return false;
	v = strtoull(equals + 1, &end, 0);
	if (end != word + len || end == equals + 1)
		return false;
	len = (size_t)(equals - word);
#define FIELD(name) (len == sizeof(#name) - 1 && !memcmp(word, #name, len))
	if (FIELD(lane))
		e->lane = (uint8_t)v;
	else if (FIELD(stream))
		e->stream = v;
	else if (FIELD(counter))
		e->counter = v;
	else if (FIELD(ticket))
		e->ticket = v;
	else if (FIELD(attempt))
		e->attempt = (uint16_t)v;
	else if (FIELD(id))
		e->id = (uint32_t)v;
	else if (FIELD(value))
		e->value = v;
	else if (FIELD(time))
		e->time = v;
	else
		return false;
#undef FIELD
	return true;
}

static size_t word_at(const char **s)
{
	while (**s == ' ' || **s == '\t')
		(*s)++;
	return strcspn(*s, " \t\n#");
}

static bool parse_line(struct history *h, const char *s)
{
	struct history_event e = { 0 };
	size_t len = word_at(&s);
	unsigned long log;
	char *end;

	if (!len)
		return true;
	log = strtoul(s, &end, 10);
	if (end != s + len || log >= history_logs(h))
		return false;
	s += len;
	len = word_at(&s);
	e.what = what_of(s, len);
	if (!e.what)
		return false;
	for (s += len; (len = word_at(&s)); s += len)
		if (!set_field(&e, s, len))
			return false;
	history_add(h, (unsigned int)log, e);
	return true;
}

unsigned int history_parse(struct history *h, const char *text)
{
	unsigned int line = 1;

	for (; *text; line++) {
		if (!parse_line(h, text))
			return line;
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	return 0;
}

/* ------------------------------------------------------------------ write --- */

struct line {
	const struct history_event *e;
	unsigned int log;
};

static int by_time(const void *pa, const void *pb)
{
	const struct line *a = pa, *b = pb;

	if (a->e->time != b->e->time)
		return a->e->time < b->e->time ? -1 : 1;
	return a->e < b->e ? -1 : a->e > b->e;
}

static void write_field(FILE *to, const char *name, uint64_t v)
{
	if (v)
		fprintf(to, " %s=%llu", name, (unsigned long long)v);
}

static void write_line(FILE *to, const struct line *l)
{
	const struct history_event *e = l->e;

	fprintf(to, "%u %s", l->log, e->what < HISTORY_WHATS ? whats[e->what] : "nonsense");
	write_field(to, "lane", e->lane);
	write_field(to, "stream", e->stream);
	write_field(to, "counter", e->counter);
	write_field(to, "ticket", e->ticket);
	write_field(to, "attempt", e->attempt);
	write_field(to, "id", e->id);
	write_field(to, "value", e->value);
	write_field(to, "time", e->time);
	fputc('\n', to);
}

int history_write(const struct history *h, FILE *to)
{
	uint64_t total = 0, n, i;
	struct line *lines;
	unsigned int log;

	for (log = 0; log < history_logs(h); log++) {
		history_read(h, log, &n);
		total += n;
	}
	lines = calloc(total + 1, sizeof(*lines));
	if (!lines)
		return -ENOMEM;
	total = 0;
	for (log = 0; log < history_logs(h); log++) {
		const struct history_event *e = history_read(h, log, &n);

		for (i = 0; i < n; i++)
			lines[total++] = (struct line) { .e = &e[i], .log = log };
	}
	qsort(lines, total, sizeof(*lines), by_time);
	for (i = 0; i < total; i++)
		write_line(to, &lines[i]);
	free(lines);
	return 0;
}
