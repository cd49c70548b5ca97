/* SPDX-License-Identifier: MIT */
/*
 * peek.h: look at messages without claiming them.
 *
 * For whoever reports what lies in a stage and leaves it there: a dead-letter stage keeps its
 * letters for people, while the supervisor tells the letters' senders what became of them.
 *
 *	sluice_attach(ctx, "decoder.dead", SLUICE_CONSUMER, 0, &ep);
 *	for (;;) {
 *		while (!sluice_peek(ep, &msg, copy, sizeof(copy)))
 *			report(&msg);
 *		while (!sluice_poll_arm(ep))
 *			poll(&(struct pollfd){ .fd = sluice_fd(ep), .events = POLLIN }, 1, -1);
 *	}
 */
#ifndef SLUICE_PEEK_H
#define SLUICE_PEEK_H

#include <sluice/sluice.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * sluice_peek() - copy the next message out, without claiming it
 * @ep:		a consumer; one that peeks does not claim
 * @msg:	out: as of sluice_claim(), but @data is @copy; @len is the whole length, even if @copy
 *		holds less of it; @attempt: how often it was claimed so far; @token is 0
 * @copy:	[size] bytes of the caller's
 *
 * Goes through the messages in ticket order, those that others have claimed included, and each of
 * them whole: what was freed or written again while it was copied is passed. After a redelivery
 * anywhere in the stage it may go back by a lap: whoever acts on messages remembers the ticket.
 * Nothing of the stage changes, and those who claim are not held up.
 *
 * Return: 0, -EAGAIN (nothing new), -ESHUTDOWN (stage destroyed), -EINVAL (a producer).
 */
int sluice_peek(struct sluice_ep *ep, struct sluice_msg *msg, void *copy, size_t size);

#ifdef __cplusplus
}
#endif
#endif /* SLUICE_PEEK_H */
