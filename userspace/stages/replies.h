/* SPDX-License-Identifier: MIT */
/*
 * replies.h - the output stage's way to its clients
 *
 * Every client has a stage of its own, which only it reads. A client that is gone leaves a stage
 * that nobody is attached to: it is destroyed here.
 */
#ifndef SLUICE_REPLIES_H
#define SLUICE_REPLIES_H

#include <stdint.h>

#include <sluice/sluice.h>

#include "message.h"

struct replies;

/** replies_create() - remember at most @max clients' stages at once; free with replies_free() */
int replies_create(struct sluice_ctx *ctx, uint32_t max, struct replies **out);
void replies_free(struct replies *t);

/** replies_sweep() - let go of clients that are gone */
void replies_sweep(struct replies *t);

/**
 * replies_alive() - is there somebody who would read it?
 * Return: 0, -ENOENT when the client is gone, or why its stage cannot be used.
 */
int replies_alive(struct replies *t, const char *name);

/**
 * replies_send() - send one reply
 * @name:	of the client's stage
 * @stream, @counter: of the message
 * @r:		its head; magic, version, size are filled in here
 * @text:	r->text_bytes bytes
 * @ids:	r->n_ids ids; left out if the client's buffers are too small for them
 *
 * Return: 0, -ENOENT when the client is gone, -EAGAIN when it has left so many replies unread
 * that there is no room.
 */
int replies_send(struct replies *t, const char *name, uint64_t stream, uint64_t counter,
		 struct msg_reply *r, const char *text, const int32_t *ids);

#endif /* SLUICE_REPLIES_H */
