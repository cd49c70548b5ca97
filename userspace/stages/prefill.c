// SPDX-License-Identifier: MIT
/* prefill.c - a whole history through some layers */

#include <errno.h>

#include "prefill.h"

int prefill_range(struct stage *st, struct stage_input *in, const struct llama *model,
		  struct llama_workspace *ws, struct llama_kv *kv, uint32_t first, uint32_t last,
		  float *out)
{
	const struct llama_config *cfg = llama_config(model);
	const float *vectors = in->v.data;
	uint32_t n = in->v.head.n_tokens, chunk;
	int ret = 0;

	for (uint32_t pos = 0; pos < n && !ret; pos += chunk) {
		size_t at = (size_t)pos * cfg->n_embd;

		chunk = n - pos < st->opt.chunk ? n - pos : st->opt.chunk;
		if (pos && (sluice_renew(st->in, &in->m) || !stage_holds(st, in)))
			return -ESTALE;
		/* Of all layers only the last token is asked for, of others each one. */
		ret = llama_prefill_range(model, ws, kv, pos, vectors + at, chunk, first, last,
					  last == cfg->n_layer ? out : out + at);
	}
	return ret;
}
