// SPDX-License-Identifier: MIT
/*
 * decoder.c - one token for every stream that is ready
 *
 *	KV from encoder		keep a copy of the cache		HIDDEN to output
 *	PREFILL from embedding	compute the cache here			HIDDEN to output
 *	STEP from embedding	one position through all layers		HIDDEN to output
 *	  without its KV						REBUILD to embedding
 *	FREE from embedding	forget the stream
 *
 * With --layers or --shard it holds a part of the layers. Then all but the last shard hand the same
 * kinds on to the next one, with the states behind their layers: KV without what they have kept,
 * PREFILL, STEP, FREE. A shard that lost a stream's KV asks for it like any decoder; the ones before
 * it let the copy that comes pass, although they have done this token.
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

#include "prefill.h"

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
	struct llama_workspace		*prefill_ws;	/* made when the first PREFILL comes */
	uint32_t			first, last;	/* layers [first, last) */
	bool				ends;		/* with the model's last layer */
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
		llama_kv_init_range(d->model, &d->cache[i].kv, p, st->opt.n_ctx, d->first,
				    d->last);
	}
	return 0;
}

/* --layers, --shard and --next, now that the number of layers is known. */
static int choose_layers(struct stage *st, struct model_error *err)
{
	struct decoder *d = st->priv;
	const struct stage_options *o = &st->opt;
	uint32_t all = d->cfg->n_layer;

	d->first = o->layer_first;
	d->last = o->layer_last ? o->layer_last : all;
	if (o->n_shards)
		llama_part(d->model, o->shard, o->n_shards, &d->first, &d->last);
	if (d->first >= d->last || d->last > all)
		return model_fail(err, EINVAL, "layers %u-%u: the model has %u, 0-%u", d->first,
				  d->last - 1, all, all - 1);
	d->ends = d->last == all;
	if (d->ends && o->next)
		return model_fail(err, EINVAL, "--next %s: layer %u is the model's last one, what "
				  "follows is the output stage; leave --next out", o->next,
				  all - 1);
	if (!d->ends && !o->next)
		return model_fail(err, EINVAL, "layers %u-%u are not the last of %u: name the ring "
				  "of the shard that has layer %u with --next", d->first,
				  d->last - 1, all, d->last);
	return 0;
}

/* What this shard may have to send: to the next one the KV of all layers behind its own. */
static int check_buffers(struct stage *st, struct model_error *err)
{
	struct decoder *d = st->priv;
	uint32_t n = st->opt.n_ctx;
	size_t step = msg_size(n, MSG_STOPS_BYTES, d->vector), kv;
	int ret = stage_need(st, MSG_OUTPUT, step, err);

	if (!ret)
		ret = stage_need(st, MSG_EMBEDDING, step, err);
	if (ret || d->ends)
		return ret;
	kv = msg_align(d->vector) + llama_kv_bytes_range(d->model, n, d->last, d->cfg->n_layer);
	return stage_need(st, STAGE_NEXT, msg_size(n, MSG_STOPS_BYTES, kv), err);
}

static int decoder_open(struct stage *st, struct model_error *err)
{
	struct llama_options opt = {
		.progress = stage_progress,
		.layer_first = st->opt.layer_first, .layer_last = st->opt.layer_last,
		.part = st->opt.shard, .parts = st->opt.n_shards,
		.max_vectors = st->opt.batch,	/* prompts of our own are the exception */
	};
	struct decoder *d = calloc(1, sizeof(*d));
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
	if (st->opt.chunk > st->opt.n_ctx)
		st->opt.chunk = st->opt.n_ctx;
	ret = choose_layers(st, err);
	if (ret)
		return ret;
	d->kv_bytes = llama_kv_bytes_range(d->model, st->opt.n_ctx, d->first, d->last);
	ret = check_buffers(st, err);
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
	llama_workspace_free(d->prefill_ws);
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

/* --------------------------------------------------------------- results --- */

/* To the output stage what leaves the last layer, to the next shard @kind with @bytes of data. */
static int result(struct stage *st, struct stage_input *in, enum msg_kind kind, size_t bytes,
		  struct stage_result *r)
{
	struct decoder *d = st->priv;
	uint32_t n = in->v.head.n_tokens;

	if (d->ends)
		return stage_result(st, in, MSG_OUTPUT, MSG_HIDDEN, n, d->vector, r);
	return stage_result(st, in, STAGE_NEXT, kind, n, bytes, r);
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
	uint32_t pos[STAGE_MAX_BATCH], one[STAGE_MAX_BATCH];
	float *hidden = g->n == 1 ? g->result[0].w.data : d->hidden;
	int ret;

	for (int i = 0; i < g->n; i++) {
		memcpy(hidden + (size_t)i * d->cfg->n_embd, g->in[i]->v.data, d->vector);
		kv[i] = &g->cache[i]->kv;
		pos[i] = g->in[i]->v.head.n_tokens - 1;
		one[i] = 1;
	}
	ret = llama_layers(d->model, d->ws, kv, pos, one, (uint32_t)g->n, hidden, d->first,
			   d->last);
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
	if (result(st, in, MSG_STEP, d->vector, &g->result[g->n]))
		return;
	g->in[g->n] = in;
	g->cache[g->n] = c;
	if (++g->n == (int)st->opt.batch)
		run_group(st);
}

/* ----------------------------------------------------------- other kinds --- */

/* The cache is the stream's from here on, with all its positions: go on with the last one. */
static void publish_first(struct stage *st, struct stage_input *in, struct cache *c,
			  struct stage_result *r)
{
	if (!sluice_holds(st->in, &in->m)) {
		stage_drop(st, r);
		return;
	}
	c->len = in->v.head.n_tokens;
	publish_step(st, in, r, 1);
}

/* The block has the layers from our first one to the model's last; ours stay here. */
static void on_kv(struct stage *st, struct stage_input *in)
{
	struct decoder *d = st->priv;
	uint32_t n = in->v.head.n_tokens;
	size_t at = msg_align(d->vector);
	size_t ours = llama_kv_bytes_range(d->model, n, d->first, d->last);
	size_t rest = llama_kv_bytes_range(d->model, n, d->first, d->cfg->n_layer) - ours;
	char *block = (char *)in->v.data + at;
	struct stage_result r;
	struct llama_kv from;
	struct cache *c;

	if (in->v.head.data_bytes != at + ours + rest) {
		stage_refuse(st, in, "KV block of another model, or of other layers");
		return;
	}
	if (result(st, in, MSG_KV, at + rest, &r))
		return;
	llama_kv_init_range(d->model, &from, block, n, d->first, d->last);
	c = cache_get(st, in->m.stream);
	c->len = 0;	/* until it is known that the buffer was ours to the end */
	llama_kv_copy(d->model, &c->kv, &from, n);
	memcpy(r.w.data, in->v.data, d->vector);
	if (rest)
		memcpy((char *)r.w.data + at, block + ours, rest);
	publish_first(st, in, c, &r);
}

/* Prefill without an encoder: in our own cache, then on to the next shard. */
static void on_prefill(struct stage *st, struct stage_input *in)
{
	struct decoder *d = st->priv;
	uint32_t n = in->v.head.n_tokens;
	struct stage_result r;
	struct cache *c;
	int ret = 0;

	if (!d->prefill_ws)
		ret = llama_workspace_create(d->model, st->opt.chunk, 1, &d->prefill_ws);
	if (ret) {
		stage_error(st, in, -ret, "no memory to compute a prompt");
		return;
	}
	if (result(st, in, MSG_PREFILL, n * d->vector, &r))
		return;
	c = cache_get(st, in->m.stream);
	c->len = 0;
	ret = prefill_range(st, in, d->model, d->prefill_ws, &c->kv, d->first, d->last, r.w.data);
	if (!ret) {
		publish_first(st, in, c, &r);
		return;
	}
	stage_drop(st, &r);
	if (ret != -ESTALE)
		stage_error(st, in, -ret, "prefill of %u tokens failed: %s", n, strerror(-ret));
}

static void on_free(struct stage *st, struct stage_input *in)
{
	struct decoder *d = st->priv;
	struct cache *c = cache_find(st, in->m.stream);

	if (c)
		c->len = 0;
	if (!d->ends)
		stage_free(st, STAGE_NEXT, in->m.stream);
	sluice_streams_end(d->streams, in->m.stream);
	stage_ack(st, in);
}

/* The KV of a token that is done is for a shard behind this one, which has lost it. */
static bool done(const struct decoder *d, const struct sluice_stream *s,
		 const struct stage_input *in)
{
	if (!d->ends && in->m.kind != MSG_STEP && s->done == in->m.counter)
		return false;
	return s->done >= in->m.counter;
}

/* Not of a stream that is over, not a copy, not of another model. */
static bool usable(struct stage *st, struct stage_input *in)
{
	struct decoder *d = st->priv;
	struct sluice_stream *s = sluice_streams_find(d->streams, in->m.stream);

	if (s && (!s->live || done(d, s, in))) {
		stage_ack(st, in);
		return false;
	}
	if (in->v.head.n_embd == d->cfg->n_embd && in->v.head.n_tokens <= st->opt.n_ctx)
		return true;
	stage_refuse(st, in, "sizes of another model or context");
	return false;
}

/* Streams under way: all of them have a step in each turn of the loop. */
static uint32_t decoder_expect(struct stage *st)
{
	struct decoder *d = st->priv;
	uint32_t n = 0;

	for (uint32_t i = 0; i < st->opt.max_streams; i++)
		n += d->cache[i].len > 0;
	return n;
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
		else if (in[i].m.kind == MSG_PREFILL)
			on_prefill(st, &in[i]);
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
		.accepts = 1u << MSG_KV | 1u << MSG_PREFILL | 1u << MSG_STEP | 1u << MSG_FREE,
		.outputs = 1u << MSG_OUTPUT | 1u << MSG_EMBEDDING,
		.sharded = true,
		.batches = true,
		.expect = decoder_expect,
		.open = decoder_open,
		.run = decoder_run,
		.close = decoder_close,
	};

	return stage_main(argc, argv, &ops);
}
