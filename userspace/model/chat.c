// SPDX-License-Identifier: MIT
/*
 * chat.c - ChatML conversations as text and as token ids
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <errno.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat.h"

#define START	"<|im_start|>"
#define END	"<|im_end|>"

/*
 * The ChatML templates that are in use, in extended regex syntax; group 1 is the content of the
 * default system message, if there is one. A line feed in a Jinja string is itself or "\n".
 */
#define TAG(words)	"\\{%\\s*" words "\\s*%\\}"
#define NL		"(?:\\n|\\\\n)"
#define ITEM(name)	"message(?:\\['" name "'\\]|\\." name ")"
#define PLUS		"\\s*\\+\\s*"

static const char chatml_pattern[] =
	"^\\s*"
	"(?:" TAG("if not add_generation_prompt is defined")
		TAG("set add_generation_prompt = false") TAG("endif") ")?"
	TAG("for message in messages")
	"(?:" TAG("if loop\\.first and messages\\[0\\]\\['role'\\] != 'system'")
		"\\{\\{\\s*'<\\|im_start\\|>system" NL "((?:[^'\\\\]|\\\\.)*?)<\\|im_end\\|>" NL
		"'\\s*\\}\\}" TAG("endif") ")?"
	"\\{\\{\\s*'<\\|im_start\\|>'" PLUS ITEM("role") PLUS "'" NL "'" PLUS ITEM("content")
		PLUS "'<\\|im_end\\|>(?:'" PLUS "')?" NL "'\\s*\\}\\}"
	TAG("endfor")
	TAG("if add_generation_prompt")
		"\\{\\{\\s*'<\\|im_start\\|>assistant" NL "'\\s*\\}\\}"
	TAG("endif")
	"\\s*$";

struct chat {
	const struct tokenizer *t;
	int32_t start;
	int32_t end;
	char *system;		/* default system message, NULL if there is none */
};

/* Undo the escapes of a Jinja string, in place. */
static void unescape(char *s)
{
	char *out = s;

	for (; *s; s++) {
		if (*s == '\\' && s[1]) {
			s++;
			*out++ = *s == 'n' ? '\n' : *s == 't' ? '\t' : *s == 'r' ? '\r' : *s;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

/* Match the template; 1 if it is ChatML, 0 if not. Takes a copy of the default message. */
static int recognise(struct chat *c, const char *template)
{
	PCRE2_SIZE offset, *found;
	pcre2_match_data *md;
	pcre2_code *re;
	int error, n, ret;

	re = pcre2_compile((PCRE2_SPTR)chatml_pattern, PCRE2_ZERO_TERMINATED, PCRE2_DOTALL,
			   &error, &offset, NULL);
	md = re ? pcre2_match_data_create_from_pattern(re, NULL) : NULL;
	if (!md) {
		pcre2_code_free(re);
		return -ENOMEM;
	}
	n = pcre2_match(re, (PCRE2_SPTR)template, strlen(template), 0, 0, md, NULL);
	ret = n > 0;
	found = pcre2_get_ovector_pointer(md);
	if (n > 1 && found[2] != PCRE2_UNSET) {
		c->system = strndup(template + found[2], found[3] - found[2]);
		if (c->system)
			unescape(c->system);
		else
			ret = -ENOMEM;
	}
	pcre2_match_data_free(md);
	pcre2_code_free(re);
	return ret;
}

int chat_create(const struct tokenizer *t, struct chat **out, struct model_error *err)
{
	const char *template = tokenizer_chat_template(t);
	struct chat *c;
	int ret;

	*out = NULL;
	if (!template)
		return model_fail(err, ENODATA, "the model has no chat template; use raw mode, which "
				  "continues the text as it is");
	c = calloc(1, sizeof(*c));
	if (!c)
		return model_fail(err, ENOMEM, "no memory for the chat template");
	c->t = t;
	ret = recognise(c, template);
	if (ret == -ENOMEM) {
		ret = model_fail(err, ENOMEM, "no memory for the chat template");
	} else if (!ret) {
		ret = model_fail(err, EOPNOTSUPP, "the model's chat template is not ChatML; use raw "
				 "mode, which continues the text as it is");
	} else {
		c->start = tokenizer_find(t, START, strlen(START));
		c->end = tokenizer_find(t, END, strlen(END));
		ret = 0;
		if (!tokenizer_is_special(t, c->start) || !tokenizer_is_special(t, c->end))
			ret = model_fail(err, EINVAL, "the model's vocabulary has no control tokens "
					 START " and " END "; use raw mode");
	}
	if (ret)
		chat_free(c);
	else
		*out = c;
	return ret;
}

void chat_free(struct chat *c)
{
	if (!c)
		return;
	free(c->system);
	free(c);
}

static int check_messages(const struct chat_message *msg, size_t n, struct model_error *err)
{
	if (!n)
		return model_fail(err, EINVAL, "a conversation needs at least one message");
	for (size_t i = 0; i < n; i++) {
		const char *role = msg[i].role;

		for (; *role; role++) {
			if ((unsigned char)*role < 0x20)
				break;
		}
		if (*role || role == msg[i].role)
			return model_fail(err, EINVAL, "message %zu: the role is empty or has "
					  "control characters; use system, user or assistant", i);
		if (msg[i].len > TOKENIZER_MAX_TEXT)
			return model_fail(err, E2BIG, "message %zu: %zu bytes are more than %u; "
					  "shorten it", i, msg[i].len, TOKENIZER_MAX_TEXT);
	}
	return 0;
}

/* The default system message comes first, unless the conversation brings its own. */
static bool needs_system(const struct chat *c, const struct chat_message *msg)
{
	return c->system && strcmp(msg[0].role, "system");
}

static void render_one(FILE *f, const struct chat_message *m)
{
	fprintf(f, START "%s\n", m->role);
	fwrite(m->content, 1, m->len, f);
	fputs(END "\n", f);
}

int chat_render(const struct chat *c, const struct chat_message *msg, size_t n,
		bool add_generation_prompt, char **text, size_t *len, struct model_error *err)
{
	int ret = check_messages(msg, n, err);
	bool failed;
	FILE *f;

	*text = NULL;
	if (ret)
		return ret;
	f = open_memstream(text, len);
	if (!f)
		return model_fail(err, ENOMEM, "no memory for the conversation");
	if (needs_system(c, msg)) {
		struct chat_message sys = { "system", c->system, strlen(c->system) };

		render_one(f, &sys);
	}
	for (size_t i = 0; i < n; i++)
		render_one(f, &msg[i]);
	if (add_generation_prompt)
		fputs(START "assistant\n", f);
	failed = ferror(f);
	if (fclose(f) || failed) {
		free(*text);
		*text = NULL;
		return model_fail(err, ENOMEM, "no memory for the conversation");
	}
	return 0;
}

/* Ids of a conversation as they are collected. */
struct turns {
	const struct chat *c;
	int32_t *ids;
	size_t n;
	size_t max;
};

/* Opening marker, role and content; the content in one piece with the line before it. */
static int add_open(struct turns *t, const char *role, const char *content, size_t len)
{
	size_t role_len = strlen(role);
	char *text = malloc(role_len + 1 + len);
	ssize_t n;

	if (!text)
		return -ENOMEM;
	memcpy(text, role, role_len);
	text[role_len] = '\n';
	if (len)
		memcpy(text + role_len + 1, content, len);
	t->ids[t->n++] = t->c->start;
	n = tokenizer_encode(t->c->t, text, role_len + 1 + len, 0, t->ids + t->n, t->max - t->n);
	free(text);
	if (n > 0)
		t->n += n;
	return n < 0 ? n : 0;
}

static int add_message(struct turns *t, const struct chat_message *m)
{
	int ret = add_open(t, m->role, m->content, m->len);
	ssize_t n;

	if (ret)
		return ret;
	t->ids[t->n++] = t->c->end;
	n = tokenizer_encode(t->c->t, "\n", 1, 0, t->ids + t->n, t->max - t->n);
	if (n > 0)
		t->n += n;
	return n < 0 ? n : 0;
}

/* Upper bound on the ids of a message: its bytes, two markers, two line feeds. */
static size_t message_bound(const struct chat_message *m)
{
	return strlen(m->role) + m->len + 4;
}

int chat_encode(const struct chat *c, const struct chat_message *msg, size_t n,
		bool add_generation_prompt, int32_t **ids, size_t *n_ids, struct model_error *err)
{
	struct chat_message sys = { "system", c->system, c->system ? strlen(c->system) : 0 };
	static const struct chat_message assistant = { "assistant", "", 0 };
	struct turns t = { .c = c };
	int ret = check_messages(msg, n, err);

	*ids = NULL;
	if (ret)
		return ret;
	t.max = message_bound(&sys) + message_bound(&assistant);
	for (size_t i = 0; i < n; i++)
		t.max += message_bound(&msg[i]);
	t.ids = malloc(t.max * sizeof(*t.ids));
	if (!t.ids)
		return model_fail(err, ENOMEM, "no memory for the conversation");
	if (needs_system(c, msg))
		ret = add_message(&t, &sys);
	for (size_t i = 0; i < n && !ret; i++)
		ret = add_message(&t, &msg[i]);
	if (add_generation_prompt && !ret)
		ret = add_open(&t, "assistant", NULL, 0);
	if (ret) {
		free(t.ids);
		return model_fail(err, -ret, "cannot tokenise the conversation: %s", strerror(-ret));
	}
	*ids = t.ids;
	*n_ids = t.n;
	return 0;
}
