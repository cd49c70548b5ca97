// SPDX-License-Identifier: MIT
/*
 * tokenizer_split.c - cut text into the pieces within which merging happens
 *
 * The patterns are those of the models' own tokenizers, with white space spelt out: PCRE2's \s also
 * takes U+180E, which Unicode has not counted as white space since version 6.3.
 */
#include <errno.h>
#include <string.h>

#include "tokenizer_pvt.h"

#define SPACES \
	"\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}" \
	"\\x{3000}"
#define S	"[" SPACES "]"
#define NOT_S	"[^" SPACES "]"
#define OTHER	"[^" SPACES "\\p{L}\\p{N}]"

/* The pattern of GPT-2, also called byte-level. */
#define GPT2_PATTERN \
	"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?" OTHER "+|" S "+(?!" NOT_S ")|" S "+"

/* Llama 3's; Qwen 2's differs in taking digits one by one. */
#define LLAMA3_PATTERN(digits) \
	"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?" OTHER \
	"+[\\r\\n]*|" S "*[\\r\\n]+|" S "+(?!" NOT_S ")|" S "+"

static const struct pretokenizer pretokenizers[] = {
	{ "smollm", GPT2_PATTERN, true, false },
	{ "gpt-2", GPT2_PATTERN, false, false },
	{ "llama-bpe", LLAMA3_PATTERN("\\p{N}{1,3}"), false, true },
	{ "qwen2", LLAMA3_PATTERN("\\p{N}"), false, false },
};

const char *pretokenizer_names(void)
{
	return "smollm, gpt-2, llama-bpe or qwen2";
}

const struct pretokenizer *pretokenizer_find(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(pretokenizers) / sizeof(pretokenizers[0]); i++) {
		const char *known = pretokenizers[i].name;

		if (len == strlen(known) && !memcmp(name, known, len))
			return &pretokenizers[i];
	}
	return NULL;
}

static int compile(const char *pattern, pcre2_code **out, struct model_error *err)
{
	PCRE2_UCHAR text[128];
	PCRE2_SIZE offset;
	int error;

	*out = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
			     &error, &offset, NULL);
	if (!*out) {
		pcre2_get_error_message(error, text, sizeof(text));
		return model_fail(err, EINVAL, "PCRE2 refuses '%s': %s at %zu; install a PCRE2 "
				  "with Unicode support", pattern, (char *)text, offset);
	}
	/* Where making code writable is forbidden this fails, and the interpreter does it. */
	pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE);
	return 0;
}

int pretokenizer_compile(struct tokenizer *t, struct model_error *err)
{
	int ret = compile(t->pre->pattern, &t->pattern, err);

	return ret ? ret : compile("\\p{N}", &t->number, err);
}

/* Cut text[0, len) by the pattern. The pattern matches at every character, so no gaps occur. */
static int split_by_pattern(struct encoder *e, const char *text, const char *shape, size_t len)
{
	const PCRE2_SIZE *found = pcre2_get_ovector_pointer(e->match);
	size_t pos = 0;
	int ret = 0;

	while (pos < len && !ret) {
		int n = pcre2_match(e->t->pattern, (PCRE2_SPTR)shape, len, pos, PCRE2_NO_UTF_CHECK,
				    e->match, e->context);
		size_t end = len;

		if (n == PCRE2_ERROR_NOMEMORY)
			return -ENOMEM;
		if (n < 0 && n != PCRE2_ERROR_NOMATCH)
			return -EINVAL;
		if (n > 0 && found[0] > pos)
			end = found[0];		/* unmatched text is a piece as well */
		else if (n > 0 && found[1] > pos)
			end = found[1];
		ret = encode_piece(e, (const uint8_t *)text + pos, end - pos);
		pos = end;
	}
	return ret;
}

/* Where the next numeric character after @pos lies: [*start, *end); both @len if there is none. */
static int next_number(struct encoder *e, const char *shape, size_t len, size_t pos, size_t *start,
		       size_t *end)
{
	const PCRE2_SIZE *found = pcre2_get_ovector_pointer(e->match);
	int n = pcre2_match(e->t->number, (PCRE2_SPTR)shape, len, pos, PCRE2_NO_UTF_CHECK,
			    e->match, e->context);

	*start = *end = len;
	if (n > 0) {
		*start = found[0];
		*end = found[1];
	}
	return n == PCRE2_ERROR_NOMEMORY ? -ENOMEM : n < 0 && n != PCRE2_ERROR_NOMATCH ? -EINVAL : 0;
}

int encode_text(struct encoder *e, const char *text, const char *shape, size_t len)
{
	size_t pos = 0, start, end;
	int ret = 0;

	if (!e->t->pre->split_digits)
		return split_by_pattern(e, text, shape, len);
	while (pos < len && !ret) {
		ret = next_number(e, shape, len, pos, &start, &end);
		if (!ret)
			ret = split_by_pattern(e, text + pos, shape + pos, start - pos);
		if (!ret && start < end)
			ret = encode_piece(e, (const uint8_t *)text + start, end - start);
		pos = end;
	}
	return ret;
}
