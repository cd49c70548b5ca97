// SPDX-License-Identifier: MIT
/*
 * decoder.c - one token for every stream that is ready
 *
 *	KV from encoder		keep a copy of the cache		HIDDEN to output
 *	STEP from embedding	one position through all layers		HIDDEN to output
 *	  without its KV						REBUILD to embedding
 *	FREE from embedding	forget the stream
 *
 * Steps that wait at the same time are computed as one batch. A cache holds the positions before
 * the step's; a step that was computed but not published may be computed again over it. There are
 * --max-streams caches; when another is needed, the one that waited longest makes room, and its
 * stream comes back by way of REBUILD.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <sluice/order.h>

#include "stage.h"

/* The KV of one stream, or of none (@len 0). */
struct cache {
	uint64_t	stream;
	uint64_t	used;		/* when, in uses of any cache */
	uint32_t	len;		/* positions that are valid */
	struct llama_kv	kv;
};

/* Steps of different streams, to be computed at once. */
struct group {
	int			n;
	struct stage_input	*in[STAGE_MAX_BATCH];
	struct stage_result	result[STAGE_MAX_BATCH];
	struct cache		*cache[STAGE_MAX_BATCH];
};

struct decoder {
	struct llama			*model;
	const struct llama_config	*cfg;
	struct llama_workspace		*ws;
	size_t				vector;		/* bytes of a hidden state */
	size_t				kv_bytes;
	struct cache			*cache;		/* [max_streams] */
	uint64_t			uses;
	float				*hidden;	/* [batch][n_embd] */
	struct group			group;
	struct sluice_streams		*streams;
};

static int make_caches(struct stage *st)
{
	struct decoder *d = st->priv;

	d->cache = calloc(st->opt.max_streams, sizeof(*d->cache));
	if (!d->cache)
		return -ENOMEM;
	for (uint32_t i = 0; i < st->opt.max_streams; i++) {
		/* Paid for as the context grows; a block that is used again is paid already. */
		void *p = mmap(NULL, d->kv_bytes, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (p == MAP_FAILED)
			return -ENOMEM;
		llama_kv_init(d->model, &d->cache[i].kv, p, st->opt.n_ctx);
	}
	return 0;
}

static int decoder_open(struct stage *st, struct model_error *err)
{
	struct llama_options opt = { .progress = stage_progress };
	struct decoder *d = calloc(1, sizeof(*d));
	size_t size;
	int ret;

	if (!d)
		return -ENOMEM;
	st->priv = d;
	ret = llama_open(st->opt.model, LLAMA_ROLE_LAYERS, &opt, &d->model, err);
	if (ret)
		return ret;
	d->cfg = llama_config(d->model);
	d->vector = d->cfg->n_embd * sizeof(float);
	if (st->opt.n_ctx > d->cfg->n_ctx)
		st->opt.n_ctx = d->cfg->n_ctx;
	d->kv_bytes = llama_kv_bytes(d->model, st->opt.n_ctx);
	size = msg_size(st->opt.n_ctx, MSG_STOPS_BYTES, d->vector);
	ret = stage_need(st, MSG_OUTPUT, size, err);
	if (!ret)
		ret = stage_need(st, MSG_EMBEDDING, size, err);
	if (!ret)
		ret = make_caches(st);
	if (!ret)
		ret = llama_workspace_create(d->model, 1, st->opt.batch, &d->ws);
	if (!ret)
		ret = sluice_streams_create(1024 + 4 * st->opt.max_streams, &d->streams);
	d->hidden = ret ? NULL : malloc(st->opt.batch * d->vector);
	return ret || d->hidden ? ret : -ENOMEM;
}

static void decoder_close(struct stage *st)
{
	struct decoder *d = st->priv;

	if (!d)
		return;
	for (uint32_t i = 0; d->cache && i < st->opt.max_streams; i++) {
		if (d->cache[i].kv.data)
			munmap(d->cache[i].kv.data, d->kv_bytes);
	}
	free(d->cache);
	free(d->hidden);
	sluice_streams_free(d->streams);
	llama_workspace_free(d->ws);
	llama_close(d->model);
	free(d);
}

/* ---------------------------------------------------------------- caches --- */

static struct cache *cache_find(struct stage *st, uint64_t stream)
{
	struct decoder *d = st->priv;

	for (uint32_t i = 0; i < st->opt.max_streams; i++) {
		if (d->cache[i].len && d->cache[i].stream == stream) {
			d->cache[i].used = ++d->uses;
			return &d->cache[i];
		}
	}
	return NULL;
}

/* The stream's own cache, a free one, or the one that waited longest. */
static struct cache *cache_get(struct stage *st, uint64_t stream)
{
	struct decoder *d = st->priv;
	struct cache *c = cache_find(st, stream);

	if (c)
		return c;
	c = &d->cache[0];
	for (uint32_t i = 0; i < st->opt.max_streams; i++) {
		if (!d->cache[i].len) {
			c = &d->cache[i];
			break;
		}
		if (d->cache[i].used < c->used)
			c = &d->cache[i];
	}
	if (c->len && st->opt.verbose)
		stage_log("stream %016llx: KV evicted, it will be computed again",
			  (unsigned long long)c->stream);
	c->stream = stream;
	c->used = ++d->uses;
	c->len = 0;
	return c;
}

/* ----------------------------------------------------------------- steps --- */

static void publish_step(struct stage *st, struct stage_input *in, struct stage_result *r,
			 uint32_t batch)
{
	struct decoder *d = st->priv;
	uint32_t n = in->v.head.n_tokens;

	if (!stage_holds(st, in)) {
		stage_drop(st, r);
		return;
	}
	if (stage_publish(st, in, r, n, batch))
		return;
	sluice_streams_get(d->streams, in->m.stream)->done = n;
	stage_ack(st, in);
}

/* One stream's vector goes through the layers in the buffer it leaves in; several are gathered. */
static int compute(struct stage *st)
{
	struct decoder *d = st->priv;
	struct group *g = &d->group;
	struct llama_kv *kv[STAGE_MAX_BATCH];
	uint32_t pos[STAGE_MAX_BATCH];
	float *hidden = g->n == 1 ? g->result[0].w.data : d->hidden;
	int ret;

	for (int i = 0; i < g->n; i++) {
		memcpy(hidden + (size_t)i * d->cfg->n_embd, g->in[i]->v.data, d->vector);
		kv[i] = &g->cache[i]->kv;
		pos[i] = g->in[i]->v.head.n_tokens - 1;
	}
	ret = llama_decode(d->model, d->ws, kv, pos, (uint32_t)g->n, hidden);
	for (int i = 0; !ret && i < g->n; i++) {
		g->cache[i]->len = pos[i] + 1;
		if (g->n > 1)
			memcpy(g->result[i].w.data, hidden + (size_t)i * d->cfg->n_embd,
			       d->vector);
	}
	return ret;
}

static void run_group(struct stage *st)
{
	struct decoder *d = st->priv;
	struct group *g = &d->group;
	int ret;

	if (!g->n)
		return;
	ret = compute(st);
	for (int i = 0; i < g->n; i++) {
		if (!ret) {
			publish_step(st, g->in[i], &g->result[i], (uint32_t)g->n);
			continue;
		}
		stage_drop(st, &g->result[i]);
		stage_error(st, g->in[i], -ret, "decoding token %u failed: %s",
			    g->in[i]->v.head.n_tokens, strerror(-ret));
	}
	g->n = 0;
}

static void ask_rebuild(struct stage *st, struct stage_input *in)
{
	uint32_t n = in->v.head.n_tokens;
	struct stage_result r;

	if (stage_result(st, in, MSG_EMBEDDING, MSG_REBUILD, n, 0, &r))
		return;
	if (!stage_holds(st, in)) {
		stage_drop(st, &r);
		return;
	}
	if (st->opt.verbose)
		stage_log("stream %016llx: no KV for token %u, asking for it",
			  (unsigned long long)in->m.stream, n);
	if (!stage_publish(st, in, &r, n, 1))
		stage_ack(st, in);
}

static void on_step(struct stage *st, struct stage_input *in)
{
	struct decoder *d = st->priv;
	struct group *g = &d->group;
	uint32_t n = in->v.head.n_tokens;
	struct cache *c = cache_find(st, in->m.stream);

	if (!c || c->len < n - 1) {
		ask_rebuild(st, in);
		return;
	}
	if (stage_result(st, in, MSG_OUTPUT, MSG_HIDDEN, n, d->vector, &g->result[g->n]))
		return;
	g->in[g->n] = in;
	g->cache[g->n] = c;
	if (++g->n == (int)st->opt.batch)
		run_group(st);
}

/* ----------------------------------------------------------- other kinds --- */

static void on_kv(struct stage *st, struct stage_input *in)
{
	struct decoder *d = st->priv;
	uint32_t n = in->v.head.n_tokens;
	struct stage_result r;
	struct llama_kv from;
	struct cache *c;

	if (in->v.head.data_bytes != msg_align(d->vector) + llama_kv_bytes(d->model, n)) {
		stage_refuse(st, in, "KV block of another model");
		return;
	}
	if (stage_result(st, in, MSG_OUTPUT, MSG_HIDDEN, n, d->vector, &r))
		return;
	llama_kv_init(d->model, &from, (char *)in->v.data + msg_align(d->vector), n);
	c = cache_get(st, in->m.stream);
	c->len = 0;	/* until it is known that the buffer was ours to the end */
	llama_kv_copy(d->model, &c->kv, &from, n);
	memcpy(r.w.data, in->v.data, d->vector);
	if (!sluice_holds(st->in, &in->m)) {
		stage_drop(st, &r);
		return;
	}
	c->len = n;
	publish_step(st, in, &r, 1);
}

static void on_free(struct stage *st, struct stage_input *in)
{
	struct decoder *d = st->priv;
	struct cache *c = cache_find(st, in->m.stream);

	if (c)
		c->len = 0;
	sluice_streams_end(d->streams, in->m.stream);
	stage_ack(st, in);
}

/* Not of a stream that is over, not a copy, not of another model. */
static bool usable(struct stage *st, struct stage_input *in)
{
	struct decoder *d = st->priv;
	struct sluice_stream *s = sluice_streams_find(d->streams, in->m.stream);

	if (s && (!s->live || s->done >= in->m.counter)) {
		stage_ack(st, in);
		return false;
	}
	if (in->v.head.n_embd == d->cfg->n_embd && in->v.head.n_tokens <= st->opt.n_ctx)
		return true;
	stage_refuse(st, in, "sizes of another model or context");
	return false;
}

static bool in_group(const struct group *g, uint64_t stream)
{
	for (int i = 0; i < g->n; i++) {
		if (g->in[i]->m.stream == stream)
			return true;
	}
	return false;
}

static void decoder_run(struct stage *st, struct stage_input *in, int n)
{
	struct decoder *d = st->priv;

	for (int i = 0; i < n; i++) {
		/* A second message of a stream sees what the first one did; a KV may evict. */
		if (in[i].m.kind != MSG_STEP || in_group(&d->group, in[i].m.stream))
			run_group(st);
		if (in[i].m.kind == MSG_FREE)
			on_free(st, &in[i]);
		else if (!usable(st, &in[i]))
			continue;
		else if (in[i].m.kind == MSG_KV)
			on_kv(st, &in[i]);
		else
			on_step(st, &in[i]);
	}
	run_group(st);
}

int main(int argc, char **argv)
{
	static const struct stage_ops ops = {
		.self = MSG_DECODER,
		.summary = "Third stage of a sluice pipeline: computes one token of every stream "
			   "that is ready.",
		.accepts = 1u << MSG_KV | 1u << MSG_STEP | 1u << MSG_FREE,
		.outputs = 1u << MSG_OUTPUT | 1u << MSG_EMBEDDING,
		.batches = true,
		.open = decoder_open,
		.run = decoder_run,
		.close = decoder_close,
	};

	return stage_main(argc, argv, &ops);
}
