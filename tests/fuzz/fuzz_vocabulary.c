// SPDX-License-Identifier: MIT
/*
 * Description: any vocabulary is refused, or encodes and decodes without adding or moving a byte
 *
 * The input is written into the metadata of a GGUF file (fuzz-gguf takes care of files that are
 * broken as such): one byte for the pre-tokenizer and options, then up to four NUL-separated parts:
 * tokens, one a line, the first character of each its type; merges, one a line; template; text.
 */
#include "chat.h"
#include "fuzz.h"
#include "model_fixture.h"
#include "text.h"

static const char *const pres[] = { "smollm", "gpt-2", "llama-bpe", "qwen2" };

static uint64_t count_lines(struct fuzz_input part)
{
	uint64_t n = 0;

	for (; part.left; n++)
		fuzz_take_until(&part, '\n');
	return n;
}

static void put_bytes(struct fx_buf *b, struct fuzz_input bytes)
{
	fx_u64(b, bytes.left);
	fx_put(b, bytes.data, bytes.left);
}

static void put_lines(struct fx_meta *m, const char *key, struct fuzz_input part, size_t skip)
{
	fx_kv_array(m, key, GGUF_STRING, count_lines(part));
	while (part.left) {
		struct fuzz_input line = fuzz_take_until(&part, '\n');

		fuzz_take(&line, skip);
		put_bytes(&m->buf, line);
	}
}

/* '1' to '5' are the types; other characters are types that do not exist. */
static void put_types(struct fx_meta *m, struct fuzz_input part)
{
	fx_kv_array(m, "tokenizer.ggml.token_type", GGUF_I32, count_lines(part));
	while (part.left) {
		struct fuzz_input line = fuzz_take_until(&part, '\n');

		fx_u32(&m->buf, (uint32_t)(fuzz_take(&line, 1) - '0'));
	}
}

/* Every single byte as a token of its own, so that short inputs are vocabularies too. */
static struct fuzz_input with_bytes(struct fuzz_input tokens)
{
	static struct fx_buf all;
	static size_t bytes;
	char c[4];

	for (int byte = 0; byte < 256 && !bytes; byte++) {
		fx_byte_char(byte, c);
		fx_put(&all, "1", 1);
		fx_put(&all, c, strlen(c));
		fx_put(&all, "\n", 1);
	}
	bytes = bytes ? bytes : all.len;
	all.len = bytes;
	fx_put(&all, tokens.data, tokens.left);
	return (struct fuzz_input) { all.data, all.len };
}

static struct fx_buf make_file(uint8_t options, struct fuzz_input *parts)
{
	static const struct fx_options usual;
	struct fx_meta meta = { .opt = &usual };
	struct fx_buf file = { 0 };
	struct fuzz_input tokens = parts[0];

	if (options & 4)
		tokens = with_bytes(tokens);
	fx_kv_str(&meta, "tokenizer.ggml.model", "gpt2");
	fx_kv_str(&meta, "tokenizer.ggml.pre", pres[options & 3]);
	put_lines(&meta, "tokenizer.ggml.tokens", tokens, 1);
	if (!(options & 8))
		put_types(&meta, tokens);
	put_lines(&meta, "tokenizer.ggml.merges", parts[1], 0);
	fx_kv_u32(&meta, "tokenizer.ggml.bos_token_id", options >> 4);
	if (fx_key(&meta, "tokenizer.ggml.add_bos_token", GGUF_BOOL))
		fx_put(&meta.buf, "\1", 1);
	if (parts[2].left && fx_key(&meta, "tokenizer.chat_template", GGUF_STRING))
		put_bytes(&meta.buf, parts[2]);
	fx_put(&file, "GGUF", 4);
	fx_u32(&file, 3);
	fx_u64(&file, 0);
	fx_u64(&file, meta.n);
	fx_put(&file, meta.buf.data, meta.buf.len);
	free(meta.buf.data);
	return file;
}

static void use(const struct tokenizer *t, struct fuzz_input text)
{
	const unsigned int flags[] = { 0, TOKENIZER_PARSE_SPECIAL | TOKENIZER_ADD_BOS };
	struct model_error err = { "" };
	struct chat *chat;
	size_t n, len;

	for (int i = 0; i < 2; i++)
		free(text_encode(t, (const char *)text.data, text.left, flags[i], &n));
	for (int32_t id = -1; id <= (int32_t)tokenizer_n_vocab(t); id++) {
		const char *piece = tokenizer_piece(t, id, &len);

		fuzz_check(!piece == (id < 0 || id == (int32_t)tokenizer_n_vocab(t)));
		tokenizer_is_eog(t, id);
		if (piece && len)
			fuzz_check(tokenizer_find(t, piece, len) >= 0);
	}
	if (!chat_create(t, &chat, &err))
		chat_free(chat);
	else
		fuzz_check(err.text[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size }, parts[4];
	uint8_t options = (uint8_t)fuzz_take(&in, 1);
	struct model_error err = { "" };
	struct tokenizer *t;
	struct fx_buf file;
	struct gguf *g;

	for (int i = 0; i < 4; i++)
		parts[i] = fuzz_take_until(&in, '\0');
	file = make_file(options, parts);
	fuzz_file(file.data, file.len);
	fuzz_check(!gguf_open("vocabulary.gguf", &g, &err));
	fuzz_file(NULL, 0);
	free(file.data);
	if (!tokenizer_create(g, &t, &err)) {
		use(t, parts[3]);
		tokenizer_free(t);
	} else {
		fuzz_check(!t && err.text[0]);
	}
	gguf_close(g);
	return 0;
}
