/* SPDX-License-Identifier: MIT */
/*
 * answer.h - the text of an answer, token by token
 *
 * What a token adds to the text is a function of the history alone: the answer is decoded again
 * from its first token each time, so that a stage that was restarted in mid-answer goes on with
 * the same bytes. (2,000 tokens decode in less time than one layer of the model takes.)
 *
 * Text that could be the beginning of a stop string is held back until it cannot be any more.
 */
#ifndef SLUICE_ANSWER_H
#define SLUICE_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../model/tokenizer.h"
#include "message.h"

struct answer;

int answer_create(const struct tokenizer *t, struct answer **out);
void answer_free(struct answer *a);

/**
 * answer_next() - what the last of some tokens adds
 * @v:		for its stop strings
 * @ids:	[n] generated tokens, at least one
 * @last:	nothing will follow: give what was held back too
 * @end:	the last token is end-of-sequence and adds nothing itself (implies @last)
 * @text:	out: valid until the next call
 * @len:	out: its bytes
 *
 * Return: 0; 1 if a stop string ends the answer here (it is not part of the text); -EINVAL for an
 * id outside the vocabulary; -ENOMEM.
 */
int answer_next(struct answer *a, const struct msg_view *v, const int32_t *ids, uint32_t n,
		bool last, bool end, const char **text, size_t *len);

#endif /* SLUICE_ANSWER_H */
