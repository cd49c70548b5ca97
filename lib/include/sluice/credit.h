/* SPDX-License-Identifier: MIT */
/*
 * credit.h: how many messages a producer may have under way.
 *
 *	struct sluice_credit *credit;
 *
 *	sluice_credit_create(out, 8, &credit);
 *	while (...)
 *		sluice_credit_send(credit, &msg, SLUICE_FOREVER);	// waits while 8 are
 *
 * A stage that several producers share is one ring: whoever sends fastest fills it. Credits bound
 * each producer's share from its own side, and with it how old its messages can get in the ring.
 *
 * A credit is back when the message's slot says that it is over: acknowledged, in whatever order,
 * or a dead letter. Nobody is told and nothing is counted twice; the word of the slot alone decides,
 * and it is looked at only when no credit is left. A message that was redelivered keeps its credit.
 *
 * Credits are of the process: what one that died has in the ring stays there and is worked, and who
 * comes after it begins with all its credits. (Credit-based flow control as in ATM and in AMQP
 * links; here the receiver need not send any back.)
 */
#ifndef SLUICE_CREDIT_H
#define SLUICE_CREDIT_H

#include <sluice/sluice.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_CREDITS_MAX	SLUICE_MAX_SLOTS

struct sluice_credit;

/**
 * sluice_credit_create() - credits for a producer
 * @ep:		who sends; several may be made for one endpoint, each counts what it has sent
 * @n:		messages under way at once, 1 to SLUICE_CREDITS_MAX
 * @credit:	out, freed by sluice_credit_free(), before @ep is detached
 * Return: 0, -EINVAL, -ENOMEM.
 */
int sluice_credit_create(struct sluice_ep *ep, unsigned int n, struct sluice_credit **credit);

/** sluice_credit_free() - forget what is under way (it stays so); NULL is allowed */
void sluice_credit_free(struct sluice_credit *credit);

/**
 * sluice_credit_set() - another number, from the next message on
 *
 * With fewer than are under way nothing is sent until enough of them are over.
 * Return: 0, -EINVAL, -ENOMEM.
 */
int sluice_credit_set(struct sluice_credit *credit, unsigned int n);

/** sluice_credit_outstanding() - messages under way now; looks at the slots of all of them */
unsigned int sluice_credit_outstanding(struct sluice_credit *credit);

/**
 * sluice_credit_wait() - until there is a credit
 *
 * With io_uring any of its messages ends the sleep. Without, only the oldest one does at once;
 * that another is over is noticed within 50 ms, since poll(2) looks at one slot only.
 * Return: 0, -EAGAIN (none in time), -EINTR, -ESHUTDOWN, -ENOTCONN.
 */
int sluice_credit_wait(struct sluice_credit *credit, int64_t timeout_ns);

/**
 * sluice_credit_send() - sluice_send() with a credit
 * @timeout_ns:	for a credit, a slot and a buffer together
 * Return: as sluice_send(); -EAGAIN also when no credit came back in time.
 */
int sluice_credit_send(struct sluice_credit *credit, struct sluice_msg *msg, int64_t timeout_ns);

/**
 * sluice_credit_post() - sluice_post() with a credit
 *
 * For stages that hold a claim: -EAGAIN at once without a credit; give the claim back then, do not
 * wait (rule P30), and use no credits on the edge that closes a loop. A message that the kernel
 * keeps in its queue has no ticket yet: its credit is back when the queue has been seen empty and
 * all that was in the ring then, of whomever, is over. That may be late, it is never early.
 * Return: as sluice_post(); -EAGAIN also without a credit.
 */
int sluice_credit_post(struct sluice_credit *credit, struct sluice_msg *msg);

#ifdef __cplusplus
}
#endif
#endif /* SLUICE_CREDIT_H */
