// SPDX-License-Identifier: MIT
/* operations.c: messages, and what a client does with them: calls of libsluice, nothing else. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

#include "crash.h"

bool in_client;
static unsigned char content[IDS][128];

/* ---------------------------------------------------------------- messages --- */

static uint64_t stream_of(uint32_t id)
{
	return (id + 1) * 0x9e3779b97f4a7c15ull;
}

void messages_init(void)
{
	uint32_t id, i;

	for (id = 0; id < IDS; id++)
		for (i = 0; i < sizeof(content[id]); i++)
			content[id][i] = (unsigned char)(id * 37 + i * 11 + 1);
}

struct sluice_msg message(uint32_t id, uint32_t len)
{
	world->len[id] = len;
	world->begun |= bit(id);
	return (struct sluice_msg) {
		.stream = stream_of(id), .counter = id, .kind = (uint16_t)(id * 3 + 1),
		.len = len, .data = content[id], .buffer = SLUICE_NO_BUFFER,
		.flags = id % 2 ? SLUICE_MSG_OPEN : 0,
	};
}

/* Is it, to the last byte, the one that was sent? */
bool message_whole(const struct sluice_msg *m)
{
	uint32_t id = (uint32_t)m->counter;

	return m->counter < IDS && m->stream == stream_of(id) && m->len == world->len[id] &&
	       m->kind == (uint16_t)(id * 3 + 1) &&
	       m->flags == (id % 2 ? SLUICE_MSG_OPEN : 0) && !memcmp(m->data, content[id], m->len);
}

/* ------------------------------------------------------------------ kernel --- */

/*
 * In the place of the C library's. A client waits in a breakpoint until the tracer, which is the
 * kernel, has answered; the tracer's own endpoints just ask.
 */
int ioctl(int fd, unsigned long cmd, ...)
{
	struct client *c = &world->client[fd - 1000];
	va_list args;
	void *arg;
	int ret;

	va_start(args, cmd);
	arg = va_arg(args, void *);
	va_end(args);
	if (in_client) {
		c->request = (struct request) { .cmd = cmd, .arg = arg, .pending = true };
		__asm__ volatile("int3" ::: "memory");
		ret = c->request.answer;
	} else {
		ret = module_ioctl(world->reaper, c->ep.id, cmd, arg);
	}
	if (cmd == SLUICE_IOC_KICK && ret >= 0)
		c->kicked |= ((const struct sluice_kick *)arg)->what;
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}

/* --------------------------------------------------------------- producers --- */

static int wrote_down(struct client *c, uint32_t id, int ret)
{
	if (ret)
		c->refused |= bit(id);
	else
		c->sent |= bit(id);
	return ret;
}

int client_send(struct client *c, uint32_t len)
{
	uint32_t id = c->next_id++;
	struct sluice_msg m = message(id, len);

	return wrote_down(c, id, sluice_send(&c->ep, &m, SLUICE_NOW));
}

static int send_small(struct client *c)
{
	return client_send(c, 12);
}

static int send_two_lines(struct client *c)
{
	return client_send(c, SLUICE_INLINE_MAX);
}

/* too large for a slot: the library takes a buffer and copies */
static int send_copied(struct client *c)
{
	return client_send(c, 100);
}

static int send_two(struct client *c)
{
	int ret = client_send(c, 12);

	return ret ? ret : client_send(c, 100);
}

static int with_buffer(struct client *c, int (*send)(struct sluice_ep *, struct sluice_msg *))
{
	struct sluice_buffer buf;
	struct sluice_msg m;
	uint32_t id;
	int ret = sluice_buffer_take(&c->ep, &buf, SLUICE_NOW);

	if (ret)
		return ret;
	id = c->next_id++;
	m = message(id, 100);
	memcpy(buf.data, m.data, m.len);
	m.buffer = buf.index;
	ret = wrote_down(c, id, send(&c->ep, &m));
	if (ret)
		sluice_buffer_drop(&c->ep, &buf);
	return ret;
}

static int send_now(struct sluice_ep *ep, struct sluice_msg *m)
{
	return sluice_send(ep, m, SLUICE_NOW);
}

static int send_buffer(struct client *c)
{
	return with_buffer(c, send_now);
}

static int post_buffer(struct client *c)
{
	return with_buffer(c, sluice_post);
}

static int post(struct client *c)
{
	uint32_t id = c->next_id++;
	struct sluice_msg m = message(id, 40);

	return wrote_down(c, id, sluice_post(&c->ep, &m));
}

static int send_batch(struct client *c)
{
	uint32_t first = c->next_id, i;
	struct sluice_msg m[MAX_RUN];
	int ret;

	for (i = 0; i < MAX_RUN; i++)
		m[i] = message(first + i, i == 1 ? 100 : 20);
	c->next_id += MAX_RUN;
	ret = sluice_send_batch(&c->ep, m, MAX_RUN, SLUICE_NOW);
	for (i = 0; i < MAX_RUN; i++)
		wrote_down(c, first + i, (int)i < ret ? 0 : -EAGAIN);
	return ret < 0 ? ret : 0;
}

static int reserve(struct client *c, struct sluice_msg *m)
{
	void *data;
	int ret;

	*m = message(c->next_id++, 30);
	ret = sluice_reserve(&c->ep, m, &data, SLUICE_NOW);
	if (!ret)
		memcpy(data, m->data, m->len);
	return ret;
}

static int reserve_publish(struct client *c)
{
	struct sluice_msg m;
	int ret = reserve(c, &m);

	return wrote_down(c, (uint32_t)m.counter, ret ? ret : sluice_publish(&c->ep, &m));
}

static int reserve_discard(struct client *c)
{
	struct sluice_msg m;
	int ret = reserve(c, &m);

	c->refused |= bit((uint32_t)m.counter);
	return ret ? ret : sluice_discard(&c->ep, &m);
}

static int buffer_take_drop(struct client *c)
{
	struct sluice_buffer buf;
	int ret = sluice_buffer_take(&c->ep, &buf, SLUICE_NOW);

	return ret ? ret : sluice_buffer_drop(&c->ep, &buf);
}

/* --------------------------------------------------------------- consumers --- */

/* Is it what was sent, and to this one? */
static bool wrong(const struct client *c, const struct sluice_msg *m)
{
	if (c->ep.recipient && ticket_diff(m->ticket, c->ep.start, c->ep.order) < 0)
		return true;
	return !message_whole(m);
}

static int claim(struct client *c)
{
	int ret = sluice_claim(&c->ep, &c->msg[0], SLUICE_NOW);

	c->bad |= !ret && wrong(c, &c->msg[0]);
	return ret;
}

static int ack(struct client *c)
{
	uint64_t id = bit((uint32_t)c->msg[0].counter);
	int ret;

	c->acking |= id;
	ret = sluice_ack(&c->ep, &c->msg[0]);
	if (!ret)
		c->acked |= id;
	return ret;
}

static int claim_ack(struct client *c)
{
	int ret = claim(c);

	return ret ? ret : ack(c);
}

static int claim_ack_two(struct client *c)
{
	int ret = claim_ack(c);

	return ret ? ret : claim_ack(c);
}

static int claim_ack_batch(struct client *c)
{
	int n = sluice_claim_batch(&c->ep, c->msg, MAX_RUN, SLUICE_NOW), i, ret;
	uint64_t ids = 0;

	if (n < 0)
		return n;
	for (i = 0; i < n; i++) {
		c->bad |= wrong(c, &c->msg[i]);
		ids |= bit((uint32_t)c->msg[i].counter);
	}
	c->acking |= ids;
	ret = sluice_ack_batch(&c->ep, c->msg, n);
	if (ret == n)
		c->acked |= ids;
	return ret == n ? 0 : -ESTALE;
}

static int claim_nack(struct client *c)
{
	int ret = claim(c);

	return ret ? ret : sluice_nack(&c->ep, &c->msg[0], EIO, 0, 0);
}

static int claim_renew_ack(struct client *c)
{
	int ret = claim(c);

	if (!ret)
		ret = sluice_renew(&c->ep, &c->msg[0]);
	if (!ret)
		ret = sluice_holds(&c->ep, &c->msg[0]) ? ack(c) : -ESTALE;
	return ret;
}

/* The second client does one of the first NSECOND, which touch everything; the first does each. */
const struct operation operations[] = {
	{ "send", SLUICE_PRODUCER, send_small, false },
	{ "send_copied", SLUICE_PRODUCER, send_copied, false },
	{ "send_buffer", SLUICE_PRODUCER, send_buffer, false },
	{ "post", SLUICE_PRODUCER, post, false },
	{ "reserve_discard", SLUICE_PRODUCER, reserve_discard, false },
	{ "buffer_take_drop", SLUICE_PRODUCER, buffer_take_drop, false },
	{ "claim_ack", SLUICE_CONSUMER, claim_ack, false },
	{ "claim_ack_batch", SLUICE_CONSUMER, claim_ack_batch, false },
	{ "claim_nack", SLUICE_CONSUMER, claim_nack, true },
	{ "claim_renew_ack", SLUICE_CONSUMER, claim_renew_ack, true },
	{ "send_two_lines", SLUICE_PRODUCER, send_two_lines, false },
	{ "send_two", SLUICE_PRODUCER, send_two, false },
	{ "send_batch", SLUICE_PRODUCER, send_batch, false },
	{ "post_buffer", SLUICE_PRODUCER, post_buffer, false },
	{ "reserve_publish", SLUICE_PRODUCER, reserve_publish, false },
	{ "claim", SLUICE_CONSUMER, claim, false },
	{ "claim_ack_two", SLUICE_CONSUMER, claim_ack_two, false },
};

const uint32_t noperations = sizeof(operations) / sizeof(operations[0]);

/* Where a client begins; the tracer has put the stack into place (steps.c). */
void client_main(struct client *c)
{
	c->result = operations[c->operation].run(c);
	c->done = true;
	for (;;)
		__asm__ volatile("int3" ::: "memory");
}
