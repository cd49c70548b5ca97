// SPDX-License-Identifier: MIT
/*
 * embedding.c - the first stage: text to tokens, tokens to vectors
 *
 *	REQUEST from a client	tokenise, look up all vectors		PREFILL to encoder, or
 *								where a --route rule says
 *	TOKEN from output	look up one vector			STEP to decoder
 *	REBUILD from decoder	look up all vectors again		PREFILL to encoder
 *	CANCEL from a client						CANCEL to output
 *	FREE from output						FREE to decoder
 *
 * This is where streams are let in: at most --max-streams are under way, so that the rings behind
 * always have a buffer for each of them. What is refused is refused with an answer.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/order.h>

#include "../model/chat.h"
#include "../model/gguf.h"
#include "../model/tokenizer.h"
#include "stage.h"

struct embedding {
	struct llama			*model;
	const struct llama_config	*cfg;
	struct tokenizer		*tokenizer;
	struct chat			*chat;		/* NULL: the model has no known template */
	struct model_error		no_chat;	/* why */
	struct sluice_streams		*streams;
};

static int embedding_open(struct stage *st, struct model_error *err)
{
	struct llama_options opt = { .progress = stage_progress };
	struct embedding *e = calloc(1, sizeof(*e));
	size_t bytes;
	int ret;

	if (!e)
		return -ENOMEM;
	st->priv = e;
	ret = llama_open(st->opt.model, LLAMA_ROLE_EMBED, &opt, &e->model, err);
	if (ret)
		return ret;
	e->cfg = llama_config(e->model);
	if (st->opt.n_ctx > e->cfg->n_ctx)
		st->opt.n_ctx = e->cfg->n_ctx;
	ret = tokenizer_open(st->opt.model, &e->tokenizer, err);
	if (ret)
		return ret;
	if (chat_create(e->tokenizer, &e->chat, &e->no_chat))
		e->chat = NULL;
	bytes = (size_t)st->opt.n_ctx * e->cfg->n_embd * sizeof(float);
	ret = stage_need(st, MSG_ENCODER, msg_size(st->opt.n_ctx, MSG_STOPS_BYTES, bytes), err);
	return ret ? ret : sluice_streams_create(1024 + 4 * st->opt.max_streams, &e->streams);
}

static void embedding_close(struct stage *st)
{
	struct embedding *e = st->priv;

	if (!e)
		return;
	sluice_streams_free(e->streams);
	chat_free(e->chat);
	tokenizer_free(e->tokenizer);
	llama_close(e->model);
	free(e);
}

/* ----------------------------------------------------------- tokenising --- */

static ssize_t encode_raw(struct embedding *e, const struct msg_head *h, const char *text,
			  int32_t **ids)
{
	unsigned int flags = TOKENIZER_ADD_BOS;
	ssize_t n;

	if (h->flags & MSG_F_PARSE_SPECIAL)
		flags |= TOKENIZER_PARSE_SPECIAL;
	if (!h->data_bytes)
		return 0;
	*ids = malloc(((size_t)h->data_bytes + 1) * sizeof(**ids));
	if (!*ids)
		return -ENOMEM;
	n = tokenizer_encode(e->tokenizer, text, h->data_bytes, flags, *ids,
			     (size_t)h->data_bytes + 1);
	return n;
}

/* Turns of a request as the chat template wants them; -EBADMSG if they do not fit. */
static int read_turns(const struct msg_head *h, const char *data, struct chat_message *turns,
		      size_t *content)
{
	static const char *const roles[MSG_ROLE_COUNT] = { "system", "user", "assistant" };
	struct msg_content *found = calloc(h->n_turns, sizeof(*found));
	int ret = found ? msg_read_turns(h, data, found) : -ENOMEM;

	for (uint32_t i = 0; !ret && i < h->n_turns; i++) {
		turns[i] = (struct chat_message){
			.role = roles[found[i].role], .content = found[i].text, .len = found[i].len,
		};
		*content += found[i].len;
	}
	free(found);
	return ret;
}

static ssize_t encode_chat(struct embedding *e, const struct msg_head *h, const char *data,
			   int32_t **ids, struct model_error *err)
{
	struct chat_message *turns;
	size_t n = 0, content = 0;
	ssize_t ret;

	if (!e->chat)
		return model_fail(err, EOPNOTSUPP, "%s", e->no_chat.text);
	turns = calloc(h->n_turns, sizeof(*turns));
	if (!turns)
		return -ENOMEM;
	ret = read_turns(h, data, turns, &content);
	if (!ret && content)
		ret = chat_encode(e->chat, turns, h->n_turns, true, ids, &n, err);
	free(turns);
	return ret ? ret : (ssize_t)n;
}

/* The prompt's ids: their number, or a negative errno with a reason in @err. */
static ssize_t encode(struct embedding *e, const struct stage_input *in, int32_t **ids,
		      struct model_error *err)
{
	const struct msg_head *h = &in->v.head;
	char *data = malloc((size_t)h->data_bytes + 1);
	ssize_t n;

	*ids = NULL;
	if (!data)
		return model_fail(err, ENOMEM, "no memory for a prompt of %u bytes", h->data_bytes);
	memcpy(data, in->v.data, h->data_bytes);
	if (h->flags & MSG_F_RAW)
		n = encode_raw(e, h, data, ids);
	else
		n = encode_chat(e, h, data, ids, err);
	free(data);
	if (n == -EBADMSG || err->text[0])
		return n;
	if (!n)
		return model_fail(err, EINVAL, "the prompt is empty: give some text");
	return n < 0 ? model_fail(err, (int)-n, "cannot tokenise the prompt: %s",
				  strerror((int)-n)) : n;
}

/* -------------------------------------------------------------- messages --- */

/* Vectors of the whole history to the encoder; on success the stream has come to @n. */
static int send_prefill(struct stage *st, struct stage_input *in, uint32_t n)
{
	struct embedding *e = st->priv;
	struct stage_result r;

	if (stage_result(st, in, MSG_ENCODER, MSG_PREFILL, n,
			 (size_t)n * e->cfg->n_embd * sizeof(float), &r))
		return -1;
	if (llama_embed(e->model, r.w.tokens, n, r.w.data)) {
		stage_drop(st, &r);
		stage_refuse(st, in, "token id outside the vocabulary");
		return -1;
	}
	if (!stage_holds(st, in)) {
		stage_drop(st, &r);
		return -1;
	}
	if (stage_publish(st, in, &r, n, 1))
		return -1;
	sluice_streams_get(e->streams, in->m.stream)->done = n;
	stage_ack(st, in);
	return 0;
}

static void on_request(struct stage *st, struct stage_input *in)
{
	struct embedding *e = st->priv;
	struct sluice_stream *s = sluice_streams_find(e->streams, in->m.stream);
	struct model_error err = { .text = "" };
	int32_t *ids = NULL;
	ssize_t n;

	if (s) {	/* its PREFILL is out already, or it is over */
		stage_ack(st, in);
		return;
	}
	if (sluice_streams_live(e->streams, STREAM_IDLE_NS) >= st->opt.max_streams) {
		uint32_t ms = sluice_streams_retry_ms(e->streams);

		stage_later(st, in, ms, "busy, try again in %u ms: %u streams are under way, which "
			    "is the limit of --max-streams", ms, st->opt.max_streams);
		return;
	}
	n = encode(e, in, &ids, &err);
	if (n == -EBADMSG && !err.text[0]) {
		stage_refuse(st, in, "the turns of the conversation do not fit their sizes");
	} else if (n < 0) {
		stage_error(st, in, (int)-n, "%s", err.text);
	} else if (n > st->opt.n_ctx) {
		stage_error(st, in, E2BIG, "the prompt has %zd tokens, the context %u: shorten it, "
			    "or start the pipeline with a larger --ctx (the model can do %u)", n,
			    st->opt.n_ctx, e->cfg->n_ctx);
	} else {
		in->v.tokens = ids;
		in->v.head.n_turns = 0;
		in->v.head.n_ctx = st->opt.n_ctx;
		in->v.head.n_embd = e->cfg->n_embd;
		in->v.head.n_prompt = in->v.head.n_tokens = (uint32_t)n;
		send_prefill(st, in, (uint32_t)n);
	}
	free(ids);
}

static void on_token(struct stage *st, struct stage_input *in)
{
	struct embedding *e = st->priv;
	uint32_t n = in->v.head.n_tokens;
	struct stage_result r;

	if (stage_result(st, in, MSG_DECODER, MSG_STEP, n, e->cfg->n_embd * sizeof(float), &r))
		return;
	if (llama_embed(e->model, r.w.tokens + n - 1, 1, r.w.data)) {
		stage_drop(st, &r);
		stage_refuse(st, in, "token id outside the vocabulary");
		return;
	}
	if (!stage_holds(st, in)) {
		stage_drop(st, &r);
		return;
	}
	if (stage_publish(st, in, &r, n, 1))
		return;
	sluice_streams_get(e->streams, in->m.stream)->done = n;
	stage_ack(st, in);
}

static void on_cancel(struct stage *st, struct stage_input *in)
{
	struct embedding *e = st->priv;
	struct stage_result r;

	if (stage_result(st, in, MSG_OUTPUT, MSG_CANCEL, 0, 0, &r))
		return;
	r.w.head->n_prompt = 0;
	if (!stage_holds(st, in)) {
		stage_drop(st, &r);
		return;
	}
	if (stage_publish(st, in, &r, in->m.counter, 1))
		return;
	sluice_streams_end(e->streams, in->m.stream);
	stage_ack(st, in);
}

static void on_free(struct stage *st, struct stage_input *in)
{
	struct embedding *e = st->priv;

	stage_free(st, MSG_DECODER, in->m.stream);
	sluice_streams_end(e->streams, in->m.stream);
	stage_ack(st, in);
}

/* Messages of the loop: not of a stream that is over, not of another model. */
static bool usable(struct stage *st, struct stage_input *in, bool once)
{
	struct embedding *e = st->priv;
	struct sluice_stream *s = sluice_streams_find(e->streams, in->m.stream);

	if (s && (!s->live || (once && s->done >= in->m.counter))) {
		stage_ack(st, in);
		return false;
	}
	if (in->v.head.n_embd == e->cfg->n_embd && in->v.head.n_tokens <= st->opt.n_ctx)
		return true;
	stage_refuse(st, in, "sizes of another model or context");
	return false;
}

static void embedding_run(struct stage *st, struct stage_input *in, int n)
{
	for (int i = 0; i < n; i++) {
		switch ((enum msg_kind)in[i].m.kind) {
		case MSG_REQUEST:
			on_request(st, &in[i]);
			break;
		case MSG_TOKEN:
			if (usable(st, &in[i], true))
				on_token(st, &in[i]);
			break;
		case MSG_REBUILD:
			if (usable(st, &in[i], false))
				send_prefill(st, &in[i], in[i].v.head.n_tokens);
			break;
		case MSG_CANCEL:
			on_cancel(st, &in[i]);
			break;
		case MSG_FREE:
			on_free(st, &in[i]);
			break;
		default:	/* admit() lets no other kind through */
			abort();
		}
	}
}

int main(int argc, char **argv)
{
	static const struct stage_ops ops = {
		.self = MSG_EMBEDDING,
		.summary = "First stage of a sluice pipeline: turns text into tokens, and tokens "
			   "into vectors.",
		.accepts = 1u << MSG_REQUEST | 1u << MSG_TOKEN | 1u << MSG_REBUILD |
			   1u << MSG_CANCEL | 1u << MSG_FREE,
		.outputs = 1u << MSG_ENCODER | 1u << MSG_DECODER | 1u << MSG_OUTPUT,
		.routed = MSG_ENCODER,
		.open = embedding_open,
		.run = embedding_run,
		.close = embedding_close,
		.takes = "text, tokens",
	};

	return stage_main(argc, argv, &ops);
}
