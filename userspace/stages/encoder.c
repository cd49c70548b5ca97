// SPDX-License-Identifier: MIT
/*
 * encoder.c - prefill: a whole history through all layers at once
 *
 *	PREFILL from embedding	[n][n_embd] through the layers		KV to decoder
 *
 * The KV cache grows where it is going to be sent from, in a payload buffer of the decoder's ring.
 * A long history is computed in chunks; between two of them the claim is renewed. The stage keeps
 * nothing from one message to the next.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "prefill.h"

struct encoder {
	struct llama			*model;
	const struct llama_config	*cfg;
	struct llama_workspace		*ws;
	size_t				vector;		/* bytes of a hidden state */
};

static int encoder_open(struct stage *st, struct model_error *err)
{
	struct llama_options opt = { .progress = stage_progress, .background = true };
	struct encoder *e = calloc(1, sizeof(*e));
	size_t bytes;
	int ret;

	if (!e)
		return -ENOMEM;
	st->priv = e;
	ret = llama_open(st->opt.model, LLAMA_ROLE_LAYERS, &opt, &e->model, err);
	if (ret)
		return ret;
	e->cfg = llama_config(e->model);
	e->vector = e->cfg->n_embd * sizeof(float);
	if (st->opt.n_ctx > e->cfg->n_ctx)
		st->opt.n_ctx = e->cfg->n_ctx;
	bytes = msg_align(e->vector) + llama_kv_bytes(e->model, st->opt.n_ctx);
	ret = stage_need(st, MSG_DECODER, msg_size(st->opt.n_ctx, MSG_STOPS_BYTES, bytes), err);
	if (ret)
		return ret;
	if (st->opt.chunk > st->opt.n_ctx)
		st->opt.chunk = st->opt.n_ctx;
	return llama_workspace_create(e->model, st->opt.chunk, 1, &e->ws);
}

static void encoder_close(struct stage *st)
{
	struct encoder *e = st->priv;

	if (!e)
		return;
	llama_workspace_free(e->ws);
	llama_close(e->model);
	free(e);
}

static void on_prefill(struct stage *st, struct stage_input *in)
{
	struct encoder *e = st->priv;
	uint32_t n = in->v.head.n_tokens;
	struct stage_result r;
	struct llama_kv kv;
	int ret;

	if (in->v.head.n_embd != e->cfg->n_embd || n > st->opt.n_ctx) {
		stage_refuse(st, in, "sizes of another model or context");
		return;
	}
	if (stage_result(st, in, MSG_DECODER, MSG_KV, n,
			 msg_align(e->vector) + llama_kv_bytes(e->model, n), &r))
		return;
	llama_kv_init(e->model, &kv, (char *)r.w.data + msg_align(e->vector), n);
	ret = prefill_range(st, in, e->model, e->ws, &kv, 0, e->cfg->n_layer, r.w.data);
	if (ret || !stage_holds(st, in)) {
		stage_drop(st, &r);
		if (ret && ret != -ESTALE)
			stage_error(st, in, -ret, "prefill of %u tokens failed: %s", n,
				    strerror(-ret));
		return;
	}
	if (!stage_publish(st, in, &r, n, 1))
		stage_ack(st, in);
}

static void encoder_run(struct stage *st, struct stage_input *in, int n)
{
	for (int i = 0; i < n; i++)
		on_prefill(st, &in[i]);
}

int main(int argc, char **argv)
{
	static const struct stage_ops ops = {
		.self = MSG_ENCODER,
		.summary = "Second stage of a sluice pipeline: computes the KV cache of a prompt.",
		.accepts = 1u << MSG_PREFILL,
		.outputs = 1u << MSG_DECODER | 1u << MSG_OUTPUT,
		.open = encoder_open,
		.run = encoder_run,
		.close = encoder_close,
	};

	return stage_main(argc, argv, &ops);
}
