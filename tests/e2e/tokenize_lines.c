// SPDX-License-Identifier: MIT
/*
 * tokenize_lines.c - the product's tokenizer on standard input, for tokenizer_compare.py
 *
 * Input: records of a 32-bit little-endian length and as many bytes. Output, per record: the
 * token ids in decimal on one line, separated by spaces.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat.h"
#include "tokenizer.h"

static const char usage[] =
	"usage: tokenize_lines MODEL.gguf [--special|--chat|--decode] < records\n"
	"\n"
	"Prints the token ids of each record, a record to a line.\n"
	"  --special  control tokens in the text are recognised\n"
	"  --chat     the record is a user's message: prints the whole conversation's ids\n"
	"  --decode   prints the decoded text of the record's tokens as hexadecimal digits instead\n"
	"\n"
	"example: printf '\\005\\0\\0\\0Hello' | tokenize_lines smollm2.gguf\n";

enum mode { PLAIN, SPECIAL, CHAT, DECODE };

static void print_ids(const int32_t *ids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		printf("%s%d", i ? " " : "", ids[i]);
	putchar('\n');
}

static void print_hex(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		printf("%02x", (unsigned char)text[i]);
}

static int print_decoded(const struct tokenizer *t, const int32_t *ids, size_t n)
{
	struct tokenizer_stream s = { 0 };
	char *out = malloc(tokenizer_stream_bound(t));

	for (size_t i = 0; i < n && out; i++) {
		ssize_t len = tokenizer_decode_stream(t, &s, ids[i], out);

		print_hex(out, len > 0 ? len : 0);
	}
	if (out)
		print_hex(out, tokenizer_decode_flush(&s, out));
	putchar('\n');
	free(out);
	return out ? 0 : -ENOMEM;
}

static int do_chat(const struct chat *c, const char *text, size_t len)
{
	struct chat_message msg = { "user", text, len };
	struct model_error err;
	int32_t *ids;
	size_t n;
	int ret = chat_encode(c, &msg, 1, true, &ids, &n, &err);

	if (ret) {
		fprintf(stderr, "tokenize_lines: %s\n", err.text);
		return ret;
	}
	print_ids(ids, n);
	free(ids);
	return 0;
}

static int do_record(const struct tokenizer *t, const struct chat *c, enum mode mode,
		     const char *text, size_t len)
{
	unsigned int flags = mode == SPECIAL ? TOKENIZER_PARSE_SPECIAL : 0;
	int32_t *ids;
	ssize_t n;

	if (mode == CHAT)
		return do_chat(c, text, len);
	ids = malloc((len + 1) * sizeof(*ids));
	n = ids ? tokenizer_encode(t, text, len, flags, ids, len + 1) : -ENOMEM;
	if (n < 0)
		fprintf(stderr, "tokenize_lines: a record of %zu bytes: %s\n", len, strerror(-n));
	else if (mode == DECODE)
		n = print_decoded(t, ids, n);
	else
		print_ids(ids, n);
	free(ids);
	return n < 0 ? n : 0;
}

static int run(const struct tokenizer *t, const struct chat *c, enum mode mode)
{
	uint32_t len;
	int ret = 0;

	while (!ret && fread(&len, sizeof(len), 1, stdin) == 1) {
		char *text = malloc((size_t)len + 1);

		if (!text || fread(text, 1, len, stdin) != len) {
			fprintf(stderr, "tokenize_lines: the last record is incomplete\n");
			ret = -EINVAL;
		} else {
			ret = do_record(t, c, mode, text, len);
		}
		free(text);
	}
	return ret;
}

int main(int argc, char **argv)
{
	enum mode mode = PLAIN;
	struct tokenizer *t = NULL;
	struct chat *c = NULL;
	struct model_error err;
	int ret;

	if (argc == 3)
		mode = !strcmp(argv[2], "--special") ? SPECIAL : !strcmp(argv[2], "--chat") ? CHAT :
		       !strcmp(argv[2], "--decode") ? DECODE : PLAIN;
	if (argc < 2 || argc > 3 || !strcmp(argv[1], "--help") || (argc == 3 && mode == PLAIN)) {
		bool asked = argc == 2 && !strcmp(argv[1], "--help");

		fputs(usage, asked ? stdout : stderr);
		return asked ? 0 : 2;
	}
	ret = tokenizer_open(argv[1], &t, &err);
	if (!ret && mode == CHAT)
		ret = chat_create(t, &c, &err);
	if (ret)
		fprintf(stderr, "tokenize_lines: %s\n", err.text);
	else
		ret = run(t, c, mode);
	chat_free(c);
	tokenizer_free(t);
	return ret ? 1 : 0;
}
