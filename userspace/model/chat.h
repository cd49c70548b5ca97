/* SPDX-License-Identifier: MIT */
/*
 * chat.h - a conversation in the form the model was trained on
 *
 * A GGUF file carries its chat template as Jinja source. Jinja is a programming language; what is
 * implemented here is the family that SmolLM2, Qwen and many others share, ChatML:
 *
 *	<|im_start|>role\ncontent<|im_end|>\n
 *
 * with an optional default system message, taken from the template. Any other template is refused
 * with a message that suggests raw mode.
 *
 * The markers become tokens because they are written as tokens, never because somebody's content
 * contains their text: a user cannot close his own turn.
 */
#ifndef SLUICE_MODEL_CHAT_H
#define SLUICE_MODEL_CHAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "error.h"
#include "tokenizer.h"

struct chat_message {
	const char *role;	/* "system", "user" or "assistant"; NUL terminated */
	const char *content;
	size_t len;		/* bytes of content, any bytes */
};

struct chat;

/**
 * chat_create() - recognise a model's chat template
 * @t: the model's tokenizer, which must outlive the result
 * @out: free with chat_free()
 *
 * Return: 0, -ENODATA if the model has no template, -EOPNOTSUPP if it is none that is known,
 * -EINVAL if the vocabulary lacks its markers, -ENOMEM.
 */
int chat_create(const struct tokenizer *t, struct chat **out, struct model_error *err);

/** chat_free() - NULL is allowed */
void chat_free(struct chat *c);

/**
 * chat_render() - the text of a conversation, as the Jinja template would render it
 * @add_generation_prompt: end with the opening of the assistant's turn
 * @text: allocated, NUL terminated; free() it
 * @len: its length, without the NUL
 *
 * Return: 0, -EINVAL for no messages or a role with control characters, -ENOMEM.
 */
int chat_render(const struct chat *c, const struct chat_message *msg, size_t n,
		bool add_generation_prompt, char **text, size_t *len, struct model_error *err);

/**
 * chat_encode() - the token ids of a conversation
 * @ids: allocated; free() it
 * @n_ids: their number
 *
 * The same as encoding the rendered text with TOKENIZER_PARSE_SPECIAL, except that markers inside
 * role or content stay text.
 */
int chat_encode(const struct chat *c, const struct chat_message *msg, size_t n,
		bool add_generation_prompt, int32_t **ids, size_t *n_ids, struct model_error *err);

#endif /* SLUICE_MODEL_CHAT_H */
