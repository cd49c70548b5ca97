// SPDX-License-Identifier: MIT
/*
 * Description: nobody's content becomes a marker; ids and text of a conversation say the same
 *
 * NUL-separated: one byte of options, the template (empty: the usual one), then role and content of
 * each message in turn.
 */
#include "chat.h"
#include "fuzz.h"
#include "model_fixture.h"
#include "text.h"

#define MAX_MESSAGES 8

struct conversation {
	struct chat_message m[MAX_MESSAGES];
	char *role[MAX_MESSAGES];
	size_t n;
	bool marker;		/* somebody wrote one, or a part of one */
};

static struct tokenizer *tokenizer;

static void make_tokenizer(void)
{
	struct fx_buf model = fx_model(NULL);
	struct model_error err;

	fuzz_file(model.data, model.len);
	fuzz_check(!tokenizer_open("fixture.gguf", &tokenizer, &err));
	fuzz_file(NULL, 0);
	free(model.data);
}

static struct conversation read_messages(struct fuzz_input *in)
{
	struct conversation c = { .n = 0 };

	for (; in->left && c.n < MAX_MESSAGES; c.n++) {
		struct fuzz_input role = fuzz_take_until(in, '\0');
		struct fuzz_input content = fuzz_take_until(in, '\0');

		c.role[c.n] = strndup((const char *)role.data, role.left);
		fuzz_check(c.role[c.n]);
		c.m[c.n] = (struct chat_message){ c.role[c.n], (const char *)content.data,
						    content.left };
		c.marker |= memchr(role.data, '<', role.left) ||
			     memchr(content.data, '<', content.left);
	}
	return c;
}

static void check_conversation(const struct chat *chat, const struct conversation *c, bool prompt)
{
	size_t len, n, n_same, markers = 0, starts = 0;
	struct model_error err = { "" };
	int32_t *ids, *same;
	char *text;
	int ret = chat_render(chat, c->m, c->n, prompt, &text, &len, &err);

	fuzz_check(ret == chat_encode(chat, c->m, c->n, prompt, &ids, &n, &err));
	if (ret) {
		fuzz_check(!text && !ids && err.text[0]);
		return;
	}
	fuzz_check(strlen(text) <= len);
	for (size_t i = 0; i < n; i++) {
		markers += tokenizer_is_special(tokenizer, ids[i]);
		starts += ids[i] == FX_START;
	}
	/* each message opens and closes; the default system message, and a prompt that only opens */
	fuzz_check(starts - c->n - prompt <= 1 && markers == 2 * starts - prompt);
	if (!c->marker) {
		same = text_encode(tokenizer, text, len, TOKENIZER_PARSE_SPECIAL, &n_same);
		fuzz_check(n == n_same && !memcmp(ids, same, n * sizeof(*ids)));
		free(same);
	}
	free(ids);
	free(text);
}

/* The tokenizer's own template, or another. */
static int create_chat(struct fuzz_input template, struct chat **chat)
{
	char *usual = tokenizer->chat_template, *other = NULL;
	struct model_error err = { "" };
	int ret;

	if (template.left) {
		other = strndup((const char *)template.data, template.left);
		fuzz_check(other);
		tokenizer->chat_template = other;
	}
	ret = chat_create(tokenizer, chat, &err);
	fuzz_check(ret ? !*chat && err.text[0] : *chat != NULL);
	tokenizer->chat_template = usual;
	free(other);
	return ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	bool prompt = fuzz_take(&in, 1) & 1;
	struct conversation c;
	struct chat *chat;

	if (!tokenizer)
		make_tokenizer();
	if (create_chat(fuzz_take_until(&in, '\0'), &chat))
		return 0;
	c = read_messages(&in);
	check_conversation(chat, &c, prompt);
	for (size_t i = 0; i < c.n; i++)
		free(c.role[i]);
	chat_free(chat);
	return 0;
}
