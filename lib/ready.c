// SPDX-License-Identifier: MIT
/* ready.c: payload buffers that are held and touched before anybody asks for them. */
#include <stdlib.h>
#include <unistd.h>

#include <sluice/batch.h>

#include "internal.h"

/**
 * struct sluice_ready - a stack: the one put back last is the warmest
 * @touched:	by buffer: this process has its pages
 */
struct sluice_ready {
	struct sluice_ep	*ep;
	u32			max;
	u32			n;
	bool			*touched;
	u32			index[];
};

/* A store of what is there anyway: the page is this process's own from now on. */
static void touch(struct sluice_ready *r, struct sluice_buffer *buf)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), at;

	if (r->touched[buf->index])
		return;
	r->touched[buf->index] = true;
	for (at = 0; at < r->ep->bufsize; at += page) {
		volatile char *p = (char *)buf->data + at;

		*p = *p;
	}
}

unsigned int sluice_ready_fill(struct sluice_ready *r)
{
	struct sluice_buffer buf;

	while (r->n < r->max && !sluice_buffer_take(r->ep, &buf, SLUICE_NOW)) {
		touch(r, &buf);
		r->index[r->n++] = buf.index;
	}
	return r->n;
}

int sluice_ready_create(struct sluice_ep *out, unsigned int n, struct sluice_ready **ready)
{
	struct sluice_ready *r;

	*ready = NULL;
	if (out->role != SLUICE_PRODUCER)
		return __sluice_err(-EINVAL, "stage '%s': a consumer has no buffers to write into",
				    out->name);
	if (!out->nbufs)
		return __sluice_err(-ENOBUFS, "stage '%s': it has no payload buffers; create it "
				    "with --buffers", out->name);
	if (!n || n > out->nbufs)
		return __sluice_err(-EINVAL, "stage '%s': 1 to %u buffers can be kept ready, not "
				    "%u", out->name, out->nbufs, n);
	r = calloc(1, sizeof(*r) + n * sizeof(r->index[0]));
	if (r)
		r->touched = calloc(out->nbufs, sizeof(*r->touched));
	if (!r || !r->touched) {
		free(r);
		return __sluice_err(-ENOMEM, "stage '%s': no memory", out->name);
	}
	r->ep = out;
	r->max = n;
	sluice_ready_fill(r);
	*ready = r;
	return 0;
}

void sluice_ready_free(struct sluice_ready *r)
{
	if (!r)
		return;
	while (r->n) {
		struct sluice_buffer buf = { .index = r->index[--r->n] };

		sluice_buffer_drop(r->ep, &buf);
	}
	free(r->touched);
	free(r);
}

int sluice_ready_take(struct sluice_ready *r, struct sluice_buffer *buf, int64_t timeout_ns)
{
	if (!r->n)
		return sluice_buffer_take(r->ep, buf, timeout_ns);
	buf->index = r->index[--r->n];
	buf->data = r->ep->payload + (size_t)buf->index * r->ep->bufsize;
	return 0;
}

int sluice_ready_put(struct sluice_ready *r, struct sluice_buffer *buf)
{
	if (r->n == r->max)
		return sluice_buffer_drop(r->ep, buf);
	r->index[r->n++] = buf->index;
	buf->index = SLUICE_NO_BUFFER;
	buf->data = NULL;
	return 0;
}
