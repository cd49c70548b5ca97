// SPDX-License-Identifier: MIT
/*
 * Description: any bytes become tokens that give the same bytes back, with every pre-tokenizer
 *
 * The first byte chooses pre-tokenizer and flags, the rest is the text. The vocabulary has a token
 * for every byte, so nothing may get lost.
 */
#include "fuzz.h"
#include "model_fixture.h"
#include "text.h"

static struct tokenizer *tokenizer[4];

static void make_tokenizers(void)
{
	static const char *const names[] = { "smollm", "gpt-2", "llama-bpe", "qwen2" };

	for (int i = 0; i < 4; i++) {
		struct fx_options opt = { .pre = names[i] };
		struct fx_buf model = fx_model(&opt);
		struct model_error err;

		fuzz_file(model.data, model.len);
		fuzz_check(!tokenizer_open("fixture.gguf", &tokenizer[i], &err));
		fuzz_file(NULL, 0);
		free(model.data);
	}
}

/* A text cut anywhere where no piece spans the cut gives the same pieces: cut at a special token. */
static void check_cut(const struct tokenizer *t, const char *text, size_t len, const int32_t *ids,
		      size_t n)
{
	size_t at = 0, piece, n_head;
	int32_t *head;

	for (size_t i = 0; i < n; i++) {
		if (tokenizer_is_special(t, ids[i])) {
			head = text_encode(t, text, at, TOKENIZER_PARSE_SPECIAL, &n_head);
			fuzz_check(n_head == i && !memcmp(head, ids, i * sizeof(*ids)));
			free(head);
			return;
		}
		tokenizer_piece(t, ids[i], &piece);
		at += piece;
	}
	fuzz_check(at == len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	uint8_t choice = (uint8_t)fuzz_take(&in, 1);
	unsigned int flags = choice & 4 ? TOKENIZER_PARSE_SPECIAL : 0;
	const char *text = (const char *)in.data;
	struct tokenizer *t;
	size_t n, len;
	int32_t *ids;
	char *back;

	if (!tokenizer[0])
		make_tokenizers();
	t = tokenizer[choice & 3];
	ids = text_encode(t, text, in.left, flags, &n);
	back = text_pieces(t, ids, n, &len);
	fuzz_check(len == in.left && !memcmp(back, text, len));
	if (flags)
		check_cut(t, text, len, ids, n);
	free(back);
	free(ids);
	return 0;
}
