// SPDX-License-Identifier: MIT
/* replies.c - endpoints on clients' stages, attached when first used */

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "replies.h"

struct reply {
	char			name[SLUICE_NAME_MAX];
	struct sluice_ep	*ep;		/* NULL: entry is free */
	uint64_t		used;
};

struct replies {
	struct sluice_ctx	*ctx;
	struct reply		*reply;
	uint32_t		max;
	uint64_t		uses;
};

int replies_create(struct sluice_ctx *ctx, uint32_t max, struct replies **out)
{
	struct replies *t = calloc(1, sizeof(*t));

	*out = NULL;
	if (!t)
		return -ENOMEM;
	t->ctx = ctx;
	t->max = max;
	t->reply = calloc(max, sizeof(*t->reply));
	if (!t->reply) {
		free(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

static void detach(struct reply *r)
{
	sluice_detach(r->ep);
	r->ep = NULL;
}

void replies_free(struct replies *t)
{
	if (!t)
		return;
	for (uint32_t i = 0; i < t->max; i++)
		detach(&t->reply[i]);
	free(t->reply);
	free(t);
}

/* A client attaches before it sends its first request, so "nobody reads" means "gone". */
static bool gone(const struct reply *r)
{
	const struct sluice_hints *h = sluice_hints(r->ep);

	return __atomic_load_n(&h->closed, __ATOMIC_ACQUIRE) ||
	       !__atomic_load_n(&h->consumers, __ATOMIC_ACQUIRE);
}

static void bury(struct reply *r)
{
	char name[SLUICE_NAME_MAX];

	memcpy(name, r->name, sizeof(name));
	detach(r);
	sluice_destroy(name, 0, 0);	/* best effort: its owner may have done it, or be another */
}

void replies_sweep(struct replies *t)
{
	for (uint32_t i = 0; i < t->max; i++) {
		if (t->reply[i].ep && gone(&t->reply[i]))
			bury(&t->reply[i]);
	}
}

static struct reply *find(struct replies *t, const char *name)
{
	struct reply *oldest = &t->reply[0];

	for (uint32_t i = 0; i < t->max; i++) {
		struct reply *r = &t->reply[i];

		if (r->ep && !strcmp(r->name, name))
			return r;
		if (!r->ep)
			oldest = r;
		else if (oldest->ep && r->used < oldest->used)
			oldest = r;
	}
	return oldest;
}

static int get(struct replies *t, const char *name, struct reply **out)
{
	struct reply *r = find(t, name);
	int ret;

	if (!r->ep || strcmp(r->name, name)) {
		replies_sweep(t);
		detach(r);
		strncpy(r->name, name, sizeof(r->name) - 1);
		ret = sluice_attach(t->ctx, name, SLUICE_PRODUCER, 0, &r->ep);
		if (ret) {
			r->ep = NULL;
			return ret;
		}
	}
	if (gone(r)) {
		bury(r);
		return -ENOENT;
	}
	r->used = ++t->uses;
	*out = r;
	return 0;
}

int replies_alive(struct replies *t, const char *name)
{
	struct reply *r;

	return get(t, name, &r);
}

int replies_send(struct replies *t, const char *name, uint64_t stream, uint64_t counter,
		 struct msg_reply *r, const char *text, const int32_t *ids)
{
	struct sluice_msg m = { .stream = stream, .counter = counter, .kind = r->kind };
	struct sluice_buffer buf;
	struct reply *to;
	size_t room;
	int ret = get(t, name, &to);

	if (ret)
		return ret;
	room = sluice_buffer_size(to->ep);
	if (msg_reply_ids_offset(r->text_bytes) + (size_t)r->n_ids * sizeof(*ids) > room)
		r->n_ids = 0;
	r->magic = MSG_MAGIC;
	r->version = MSG_VERSION;
	r->size = (uint32_t)(msg_reply_ids_offset(r->text_bytes) + r->n_ids * sizeof(*ids));
	if (r->size > room)
		return -EMSGSIZE;
	ret = sluice_buffer_take(to->ep, &buf, SLUICE_NOW);
	if (ret)
		return ret == -ESHUTDOWN ? -ENOENT : ret;
	memcpy(buf.data, r, sizeof(*r));
	if (r->text_bytes)
		memcpy((char *)buf.data + sizeof(*r), text, r->text_bytes);
	if (r->n_ids)
		memcpy((char *)buf.data + msg_reply_ids_offset(r->text_bytes), ids,
		       r->n_ids * sizeof(*ids));
	m.len = r->size;
	m.buffer = buf.index;
	if (r->kind != MSG_TEXT)
		m.flags = SLUICE_MSG_LAST;
	ret = sluice_post(to->ep, &m);
	if (ret >= 0)
		return 0;
	sluice_buffer_drop(to->ep, &buf);
	return ret == -ESHUTDOWN ? -ENOENT : ret;
}
