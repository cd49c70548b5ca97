// SPDX-License-Identifier: MIT
/* report.c - errors, JSON and numbers for people */

#include <errno.h>
#include <iconv.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sluicectl.h"

#define CONTROL_NODE "/dev/sluice/control"

/*
 * One write, so that lines of several processes do not mix; one line, and nothing in it that a
 * terminal would obey, whatever names it was given.
 */
void ctl_error(const char *format, ...)
{
	char *text;
	va_list args;

	fflush(stdout);
	va_start(args, format);
	if (vasprintf(&text, format, args) >= 0) {
		for (char *c = text; *c; c++)
			if ((unsigned char)*c < ' ' || *c == 0x7f)
				*c = '?';
		fprintf(stderr, "sluicectl: %s\n", text);
		free(text);
	}
	va_end(args);
}

static bool module_loaded(void)
{
	return !access(CONTROL_NODE, F_OK);
}

int ctl_exit_of(int err)
{
	switch (-err) {
	case 0:
		return CTL_OK;
	case ENOENT:
		return module_loaded() ? CTL_NOT_FOUND : CTL_NO_MODULE;
	case EACCES:
	case EPERM:
		return CTL_DENIED;
	case EPROTONOSUPPORT:
		return CTL_NO_MODULE;
	case EAGAIN:
	case ETIME:
	case ETIMEDOUT:
		return CTL_TIMEOUT;
	case EINTR:
		return CTL_INTERRUPTED;
	default:
		return CTL_FAILED;
	}
}

int ctl_library_error(int err)
{
	int status = ctl_exit_of(err);

	if (status != CTL_INTERRUPTED)
		ctl_error("%s", sluice_error());
	return status;
}

int ctl_check_module(void)
{
	struct sluice_features features = { 0 };
	int err;

	if (!module_loaded()) {
		ctl_error("no sluice module is loaded here (" CONTROL_NODE " does not exist): "
			  "load it with 'insmod sluice.ko' as root, or use scripts/box");
		return CTL_NO_MODULE;
	}
	err = sluice_features(&features);
	if (err)
		return ctl_library_error(err);
	if (features.abi_version != SLUICE_ABI_VERSION) {
		ctl_error("the loaded module speaks ABI version %u, this tool version %u: "
			  "load the module of the same release", features.abi_version,
			  SLUICE_ABI_VERSION);
		return CTL_NO_MODULE;
	}
	return CTL_OK;
}

/* Levenshtein's distance; words longer than the row are never similar. */
static unsigned int distance(const char *a, const char *b)
{
	unsigned int row[64], n = strlen(b);

	if (n >= 64)
		return ~0u;
	for (unsigned int j = 0; j <= n; j++)
		row[j] = j;
	for (unsigned int i = 1; a[i - 1]; i++) {
		unsigned int diagonal = row[0];

		row[0] = i;
		for (unsigned int j = 1; j <= n; j++) {
			unsigned int best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[n];
}

const char *ctl_suggest(const char *word, const char *const *list)
{
	unsigned int length = strlen(word), best = length < 4 ? 2 : 3;
	const char *found = NULL;

	if (length >= 64)
		return NULL;
	for (; *list; list++) {
		unsigned int d = distance(word, *list);

		if (d < best) {
			best = d;
			found = *list;
		}
	}
	return found;
}

bool ctl_flush(void)
{
	static bool told;

	if (!fflush(stdout) && !ferror(stdout))
		return true;
	if (!told && errno != EPIPE)
		ctl_error("standard output: %s", strerror(errno));
	told = true;
	return false;
}

void ctl_print_json(struct json_object *object)
{
	int layout = isatty(STDOUT_FILENO) ? JSON_C_TO_STRING_PRETTY : JSON_C_TO_STRING_PLAIN;

	puts(json_object_to_json_string_ext(object, layout | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

static bool valid_utf8(const char *data, size_t len)
{
	iconv_t converter = iconv_open("UTF-32LE", "UTF-8");
	char sink[1024], *in = (char *)data;
	bool valid = converter != (iconv_t)-1;

	while (valid && len) {
		char *out = sink;
		size_t room = sizeof(sink);

		if (iconv(converter, &in, &len, &out, &room) == (size_t)-1 && errno != E2BIG)
			valid = false;
	}
	if (converter != (iconv_t)-1)
		iconv_close(converter);
	return valid;
}

struct json_object *ctl_json_utf8(const void *data, size_t len)
{
	return valid_utf8(data, len) ? json_object_new_string_len(data, (int)len) : NULL;
}

struct json_object *ctl_json_hex(const void *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	char *text = malloc(2 * len + 1);
	const unsigned char *byte = data;
	struct json_object *string;

	if (!text)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		text[2 * i] = digits[byte[i] >> 4];
		text[2 * i + 1] = digits[byte[i] & 15];
	}
	string = json_object_new_string_len(text, (int)(2 * len));
	free(text);
	return string;
}

const char *ctl_format_size(char text[CTL_TEXT_MAX], uint64_t bytes)
{
	static const char units[] = "BKMGTPE";
	double value = (double)bytes;
	int unit = 0;

	for (; value >= 1024 && unit < 6; unit++)
		value /= 1024;
	snprintf(text, CTL_TEXT_MAX, value == (uint64_t)value ? "%.0f%c" : "%.1f%c", value,
		 units[unit]);
	return text;
}

const char *ctl_format_ns(char text[CTL_TEXT_MAX], uint64_t ns)
{
	if (ns < 1000)
		snprintf(text, CTL_TEXT_MAX, "%" PRIu64 "ns", ns);
	else if (ns < 1000000)
		snprintf(text, CTL_TEXT_MAX, "%.1fus", ns / 1e3);
	else if (ns < 1000000000)
		snprintf(text, CTL_TEXT_MAX, "%.1fms", ns / 1e6);
	else
		snprintf(text, CTL_TEXT_MAX, "%.1fs", ns / 1e9);
	return text;
}

const char *ctl_format_count(char text[CTL_TEXT_MAX], uint64_t count)
{
	snprintf(text, CTL_TEXT_MAX, "%" PRIu64, count);
	return text;
}
