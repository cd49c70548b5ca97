/* SPDX-License-Identifier: MIT */
/* prefill.h - a whole history through some layers, by an encoder or by the shards of a decoder */
#ifndef SLUICE_PREFILL_H
#define SLUICE_PREFILL_H

#include "stage.h"

/**
 * prefill_range() - run the vectors of a PREFILL through layers [first, last), in chunks
 * @kv:		holds these layers; positions 0 to n_tokens - 1 are written
 * @out:	as of llama_prefill_range(), not the message's own vectors
 *
 * Between two chunks the claim is renewed. Return: 0, -ESTALE when it was lost on the way, or what
 * llama_prefill_range() says.
 */
int prefill_range(struct stage *st, struct stage_input *in, const struct llama *model,
		  struct llama_workspace *ws, struct llama_kv *kv, uint32_t first, uint32_t last,
		  float *out);

#endif /* SLUICE_PREFILL_H */
