// SPDX-License-Identifier: MIT
/*
 * output.c - the last stage: hidden states to tokens, tokens to text
 *
 *	HIDDEN from decoder	logits, sampling, text	TEXT to the client, TOKEN to embedding
 *	  the answer is over				END to the client, FREE to embedding
 *	CANCEL from embedding				END to the client, FREE to embedding
 *	ERROR from any stage				ERROR to the client, FREE to embedding
 *
 * It alone writes to clients, so they see each stream in order. The token chosen is a function of
 * hidden state, parameters and counter, the text a function of the history: a copy of a message
 * gives a copy of the reply, which the client knows by its counter.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/order.h>

#include "../model/sampler.h"
#include "../model/tokenizer.h"
#include "answer.h"
#include "replies.h"
#include "stage.h"

struct output {
	struct llama			*model;
	const struct llama_config	*cfg;
	struct llama_workspace		*ws;
	struct tokenizer		*tokenizer;
	struct sampler			*sampler;
	struct answer			*answer;
	struct replies			*replies;
	struct sluice_streams		*streams;
	float				*hidden;	/* [batch][n_embd] */
	float				*logits;	/* [batch][n_vocab] */
	int32_t				*ids;		/* [n_ctx + 1]: one history */
};

/* What a token does to its stream. */
struct verdict {
	int32_t		token;
	bool		over;
	enum msg_reason	reason;
	const char	*text;
	size_t		len;
};

static int make_memory(struct stage *st)
{
	struct output *o = st->priv;
	uint32_t batch = st->opt.batch;
	int ret = sampler_create(o->cfg->n_vocab, &o->sampler);

	if (!ret)
		ret = answer_create(o->tokenizer, &o->answer);
	if (!ret)
		ret = replies_create(st->ctx, 2 * st->opt.max_streams + 16, &o->replies);
	if (!ret)
		ret = sluice_streams_create(1024 + 4 * st->opt.max_streams, &o->streams);
	if (!ret)
		ret = llama_workspace_create(o->model, batch, batch, &o->ws);
	if (ret)
		return ret;
	o->hidden = malloc((size_t)batch * o->cfg->n_embd * sizeof(float));
	o->logits = malloc((size_t)batch * o->cfg->n_vocab * sizeof(float));
	o->ids = malloc(((size_t)st->opt.n_ctx + 1) * sizeof(*o->ids));
	return o->hidden && o->logits && o->ids ? 0 : -ENOMEM;
}

static int output_open(struct stage *st, struct model_error *err)
{
	struct llama_options opt = {
		.progress = stage_progress, .max_vectors = st->opt.batch,
	};
	struct output *o = calloc(1, sizeof(*o));
	int ret;

	if (!o)
		return -ENOMEM;
	st->priv = o;
	ret = llama_open(st->opt.model, LLAMA_ROLE_OUTPUT, &opt, &o->model, err);
	if (ret)
		return ret;
	o->cfg = llama_config(o->model);
	if (st->opt.n_ctx > o->cfg->n_ctx)
		st->opt.n_ctx = o->cfg->n_ctx;
	ret = tokenizer_open(st->opt.model, &o->tokenizer, err);
	if (!ret)
		ret = stage_need(st, MSG_EMBEDDING, msg_size(st->opt.n_ctx, MSG_STOPS_BYTES, 0),
				 err);
	return ret ? ret : make_memory(st);
}

static void output_close(struct stage *st)
{
	struct output *o = st->priv;

	if (!o)
		return;
	free(o->ids);
	free(o->logits);
	free(o->hidden);
	sluice_streams_free(o->streams);
	replies_free(o->replies);
	answer_free(o->answer);
	sampler_free(o->sampler);
	tokenizer_free(o->tokenizer);
	llama_workspace_free(o->ws);
	llama_close(o->model);
	free(o);
}

/* --------------------------------------------------------------- replies --- */

static int send_reply(struct stage *st, struct stage_input *in, struct msg_reply *r,
		      uint64_t counter, const char *text, const int32_t *ids)
{
	const struct msg_head *h = &in->v.head;
	struct output *o = st->priv;

	r->n_hops = h->n_hops < MSG_MAX_HOPS - 1 ? h->n_hops : MSG_MAX_HOPS - 2;
	memcpy(r->hops, h->hops, r->n_hops * sizeof(r->hops[0]));
	stage_hop(st, in, &r->hops[r->n_hops]);
	r->hops[r->n_hops++].done = sluice_ticks();
	return replies_send(o->replies, h->reply, in->m.stream, counter, r, text, ids);
}

/* The stream is over: nobody needs its state, and copies of its messages are dropped. */
static void end_stream(struct stage *st, struct stage_input *in)
{
	struct output *o = st->priv;

	stage_free(st, MSG_EMBEDDING, in->m.stream);
	sluice_streams_end(o->streams, in->m.stream);
	stage_ack(st, in);
}

static void lost_client(struct stage *st, struct stage_input *in, int err)
{
	if (err == -EAGAIN || st->opt.verbose)
		stage_log("stream %016llx: stopped, %s %s", (unsigned long long)in->m.stream,
			  in->v.head.reply, err == -EAGAIN ? "leaves its replies unread" :
			  "has nobody who reads it");
	end_stream(st, in);
}

static bool known_ended(struct stage *st, struct stage_input *in)
{
	struct output *o = st->priv;
	struct sluice_stream *s = sluice_streams_find(o->streams, in->m.stream);

	if (!s || s->live)
		return false;
	stage_ack(st, in);
	return true;
}

/* Used for ERROR messages of other stages and for this stage's own failures. */
static void reply_error(struct stage *st, struct stage_input *in, struct msg_reply *r,
			const char *text)
{
	r->kind = MSG_ERROR;
	r->token = -1;
	if (known_ended(st, in) || !stage_holds(st, in))
		return;
	send_reply(st, in, r, in->m.counter, text, NULL);
	end_stream(st, in);
}

static void output_fail(struct stage *st, struct stage_input *in, const struct msg_failure *f)
{
	struct msg_reply r = {
		.error = (uint32_t)f->error, .stage = f->stage, .attempt = f->attempt,
		.retry_ms = f->retry_ms,
	};
	char text[MSG_MAX_TEXT];

	r.text_bytes = (uint32_t)msg_failure_text(f, text);
	reply_error(st, in, &r, text);
}

static void on_error(struct stage *st, struct stage_input *in)
{
	const struct msg_head *h = &in->v.head;
	struct msg_reply r = {
		.error = h->error, .stage = h->stage, .attempt = h->attempt,
		.retry_ms = h->retry_ms,
		.text_bytes = h->data_bytes,
	};
	char text[MSG_MAX_TEXT];

	memcpy(text, in->v.data, h->data_bytes);
	reply_error(st, in, &r, text);
}

static void on_cancel(struct stage *st, struct stage_input *in)
{
	struct msg_reply r = {
		.kind = MSG_END, .token = -1, .reason = MSG_REASON_CANCEL,
	};

	if (known_ended(st, in) || !stage_holds(st, in))
		return;
	send_reply(st, in, &r, in->m.counter, NULL, NULL);
	end_stream(st, in);
}

/* ---------------------------------------------------------------- tokens --- */

static int judge(struct stage *st, struct stage_input *in, int32_t token, struct verdict *d)
{
	const struct msg_head *h = &in->v.head;
	struct output *o = st->priv;
	uint32_t n = h->n_tokens + 1 - h->n_prompt;	/* generated, with this one */
	bool eos = !(h->flags & MSG_F_IGNORE_EOS) && tokenizer_is_eog(o->tokenizer, token);
	bool full = (h->max_tokens && n >= h->max_tokens) || h->n_tokens + 1 > h->n_ctx;
	int ret;

	o->ids[h->n_tokens] = token;
	ret = answer_next(o->answer, &in->v, o->ids + h->n_prompt, n, full, eos, &d->text, &d->len);
	if (ret < 0)
		return ret;
	d->token = eos ? -1 : token;
	d->over = ret || eos || full;
	d->reason = ret ? MSG_REASON_STOP : eos ? MSG_REASON_EOS : MSG_REASON_LENGTH;
	return 0;
}

static int reply_token(struct stage *st, struct stage_input *in, const struct verdict *d)
{
	const struct msg_head *h = &in->v.head;
	struct output *o = st->priv;
	uint32_t index = h->n_tokens - h->n_prompt;
	struct msg_reply r = {
		.kind = d->over ? MSG_END : MSG_TEXT,
		.token = d->token,
		.reason = d->over ? d->reason : 0,
		.n_prompt = h->n_prompt,
		.n_generated = index + (d->token >= 0),
		.text_bytes = (uint32_t)d->len,
		.n_ids = index ? 0 : h->n_prompt,
	};

	return send_reply(st, in, &r, index, d->text, o->ids);
}

/* The answer goes on: the token back into the loop, then the text to the client, then the ack. */
static void publish_token(struct stage *st, struct stage_input *in, const struct verdict *d)
{
	const struct msg_head *h = &in->v.head;
	struct output *o = st->priv;
	struct stage_result r;
	int ret;

	if (stage_result(st, in, MSG_EMBEDDING, MSG_TOKEN, h->n_tokens + 1, 0, &r))
		return;
	r.w.tokens[h->n_tokens] = d->token;
	r.w.head->n_hops = 0;	/* the next token's chain begins here */
	r.hop = NULL;
	if (!stage_holds(st, in)) {
		stage_drop(st, &r);
		return;
	}
	if (stage_publish(st, in, &r, h->n_tokens + 1, 1))
		return;
	ret = reply_token(st, in, d);
	if (ret) {
		lost_client(st, in, ret);
		return;
	}
	sluice_streams_get(o->streams, in->m.stream)->done = h->n_tokens;
	stage_ack(st, in);
}

static void publish_last(struct stage *st, struct stage_input *in, const struct verdict *d)
{
	int ret;

	if (!stage_holds(st, in))
		return;
	ret = reply_token(st, in, d);
	if (ret)
		lost_client(st, in, ret);
	else
		end_stream(st, in);
}

static void choose(struct stage *st, struct stage_input *in, const float *logits)
{
	const struct msg_head *h = &in->v.head;
	struct output *o = st->priv;
	struct sampler_params p = {
		.temperature = h->temperature, .top_k = h->top_k, .top_p = h->top_p,
		.seed = h->seed,
	};
	int32_t token = sampler_sample(o->sampler, &p, h->n_tokens - h->n_prompt, logits);
	struct verdict d;
	int ret;

	if (token < 0) {
		stage_error(st, in, EDOM, "the model gave no finite logit for token %u: the file "
			    "may be damaged", h->n_tokens);
		return;
	}
	memcpy(o->ids, in->v.tokens, h->n_tokens * sizeof(*o->ids));
	ret = judge(st, in, token, &d);
	if (ret == -EINVAL)
		stage_refuse(st, in, "token id outside the vocabulary");
	else if (ret)
		stage_error(st, in, -ret, "no memory for the text of %u tokens", h->n_tokens);
	else if (d.over)
		publish_last(st, in, &d);
	else
		publish_token(st, in, &d);
}

/* Not of a stream that is over, not a copy, not of another model, not for nobody. */
static bool usable(struct stage *st, struct stage_input *in)
{
	const struct msg_head *h = &in->v.head;
	struct output *o = st->priv;
	struct sluice_stream *s = sluice_streams_find(o->streams, in->m.stream);
	int ret;

	if (s && (!s->live || s->done >= in->m.counter)) {
		stage_ack(st, in);
		return false;
	}
	if (h->n_embd != o->cfg->n_embd || h->n_tokens > st->opt.n_ctx) {
		stage_refuse(st, in, "sizes of another model or context");
		return false;
	}
	ret = replies_alive(o->replies, h->reply);
	if (ret)
		lost_client(st, in, ret);
	return !ret;
}

static void run_hidden(struct stage *st, struct stage_input **in, int n)
{
	struct output *o = st->priv;
	const float *hidden = n == 1 ? in[0]->v.data : o->hidden;

	if (!n)
		return;
	for (int i = 0; n > 1 && i < n; i++)
		memcpy(o->hidden + (size_t)i * o->cfg->n_embd, in[i]->v.data,
		       o->cfg->n_embd * sizeof(float));
	if (llama_logits(o->model, o->ws, hidden, (uint32_t)n, o->logits)) {
		for (int i = 0; i < n; i++)
			stage_error(st, in[i], EIO, "the final matrix product failed");
		return;
	}
	for (int i = 0; i < n; i++)
		choose(st, in[i], o->logits + (size_t)i * o->cfg->n_vocab);
}

/* Streams that go on: the decoder computes them together. */
static uint32_t output_expect(struct stage *st)
{
	struct output *o = st->priv;

	return sluice_streams_live(o->streams, STREAM_IDLE_NS);
}

static bool has_stream(struct stage_input *const *in, int n, uint64_t stream)
{
	for (int i = 0; i < n; i++) {
		if (in[i]->m.stream == stream)
			return true;
	}
	return false;
}

static void output_run(struct stage *st, struct stage_input *in, int n)
{
	struct stage_input *batch[STAGE_MAX_BATCH];
	struct output *o = st->priv;
	int k = 0;

	for (int i = 0; i < n; i++) {
		/* A second message of a stream sees what the first one did. */
		if (in[i].m.kind != MSG_HIDDEN || has_stream(batch, k, in[i].m.stream)) {
			run_hidden(st, batch, k);
			k = 0;
		}
		if (in[i].m.kind == MSG_CANCEL)
			on_cancel(st, &in[i]);
		else if (in[i].m.kind == MSG_ERROR)
			on_error(st, &in[i]);
		else if (usable(st, &in[i]))
			batch[k++] = &in[i];
	}
	run_hidden(st, batch, k);
	replies_sweep(o->replies);
}

int main(int argc, char **argv)
{
	static const struct stage_ops ops = {
		.self = MSG_OUTPUT,
		.summary = "Last stage of a sluice pipeline: chooses tokens and sends text to "
			   "clients.",
		.accepts = 1u << MSG_HIDDEN | 1u << MSG_CANCEL | 1u << MSG_ERROR,
		.outputs = 1u << MSG_EMBEDDING,
		.batches = true,
		.expect = output_expect,
		.open = output_open,
		.run = output_run,
		.close = output_close,
		.fail = output_fail,
	};

	return stage_main(argc, argv, &ops);
}
