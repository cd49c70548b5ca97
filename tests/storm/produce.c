// SPDX-License-Identifier: MIT
/* produce.c: the producers, and what their messages say. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storm.h"

#define WINDOW	16u

/* -------------------------------------------------------------- messages --- */

uint32_t message_len(uint64_t stream, uint64_t counter)
{
	uint32_t h = (uint32_t)mix(stream, counter);

	/* half fits into the first line of a slot, a quarter into the slot */
	return h % 4 < 2 ? h / 4 % 13 : h % 4 == 2 ? h / 4 % 77 : 77 + h / 4 % (MESSAGE_MAX - 77);
}

void message_fill(uint64_t stream, uint64_t counter, void *data, uint32_t len)
{
	uint64_t word = mix(counter, stream);
	unsigned char *p = data;
	uint32_t i;

	for (i = 0; i < len; i++) {
		if (!(i % 8))
			word = mix(word, i);
		p[i] = (unsigned char)(word >> i % 8 * 8);
	}
}

bool message_same(uint64_t stream, uint64_t counter, const void *data, uint32_t len)
{
	unsigned char want[MESSAGE_MAX];

	if (len != message_len(stream, counter))
		return false;
	message_fill(stream, counter, want, len);
	return !memcmp(want, data, len);
}

bool message_kills(const struct storm *s, uint64_t stream, uint64_t counter)
{
	return !s->idle && mix(stream + s->opt.seed, counter) % 400 == 7;
}

/* -------------------------------------------------------------- producer --- */

/**
 * struct producer - one that goes on where its predecessor stopped
 * @settled:	bit by counter: nobody has to send it any more
 * @next:	never sent so far
 * @again:	counters below it that are not settled are sent again
 */
struct producer {
	struct storm	*s;
	struct seat	*seat;
	struct sluice_ep *out;
	uint64_t	stream, next, again;
	unsigned int	under_way;
	bool		told;
	unsigned char	settled[PRODUCER_LIMIT / 8];
	unsigned char	busy[PRODUCER_LIMIT / 8];
};

static bool bit(const unsigned char *bits, uint64_t n)
{
	return bits[n / 8] >> n % 8 & 1;
}

static void set_bit(unsigned char *bits, uint64_t n, bool on)
{
	bits[n / 8] = (unsigned char)((bits[n / 8] & ~(1u << n % 8)) | (unsigned int)on << n % 8);
}

/* What the predecessors wrote down: what was begun, and what is certain of it. */
static void recover(struct producer *p)
{
	const struct history_event *e;
	uint64_t n, i;

	e = history_read(p->s->history, p->seat->log, &n);
	for (i = 0; i < n; i++) {
		bool certain = e[i].what == HISTORY_TOLD || e[i].what == HISTORY_FAILED ||
			       (e[i].what == HISTORY_SENT && (!p->told || p->s->opt.broadcast));

		if (e[i].counter >= PRODUCER_LIMIT)
			continue;
		if (e[i].what == HISTORY_SEND && e[i].counter >= p->next)
			p->next = e[i].counter + 1;
		if (certain)
			set_bit(p->settled, e[i].counter, true);
	}
}

static void note_message(struct producer *p, enum history_what what, uint64_t counter,
			 uint64_t ticket)
{
	note(p->s, p->seat, (struct history_event) {
		.what = (uint8_t)what, .lane = (uint8_t)lane_of(p->s, p->stream),
		.stream = p->stream, .counter = counter, .ticket = ticket,
	});
}

/* The next one to be sent, an old one first. false: nothing to do. */
static bool pick(struct producer *p, uint64_t *counter)
{
	for (; p->again < p->next; p->again++) {
		if (bit(p->settled, p->again) || bit(p->busy, p->again))
			continue;
		*counter = p->again;
		return true;
	}
	/* in the idle phase there is one message at a time */
	if (p->s->idle && p->seat->log)
		return false;
	if (stop_level(p->s) || p->next >= PRODUCER_LIMIT ||
	    p->next >= __atomic_load_n(&p->s->budget, __ATOMIC_RELAXED))
		return false;
	*counter = p->next;
	return true;
}

static struct sluice_msg make(struct producer *p, uint64_t counter, void *data)
{
	struct sluice_msg m = {
		.stream = p->stream, .counter = counter, .kind = 1, .data = data,
		.buffer = SLUICE_NO_BUFFER, .len = message_len(p->stream, counter),
		.ticket = HISTORY_NO_TICKET,	/* stays so when the kernel publishes it */
	};

	message_fill(m.stream, m.counter, data, m.len);
	return m;
}

/* The verbs one by one, with the payload in a buffer or in the slot. */
static int send_in_steps(struct producer *p, struct sluice_msg *m)
{
	struct sluice_buffer buf = { .index = SLUICE_NO_BUFFER };
	void *data = NULL;
	int ret = 0;

	if (m->len > SLUICE_INLINE_MAX) {
		ret = sluice_buffer_take(p->out, &buf, 20 * MS);
		if (ret)
			return ret;
		memcpy(buf.data, m->data, m->len);
		m->buffer = buf.index;
	}
	ret = sluice_reserve(p->out, m, &data, 20 * MS);
	if (!ret) {
		if (data)
			memcpy(data, m->data, m->len);
		/* give a kill time to come here */
		if (!below(&p->seat->rng, 3))
			sleep_us(below(&p->seat->rng, 100));
		if (!below(&p->seat->rng, 16)) {
			sluice_discard(p->out, m);
			ret = -EAGAIN;
		} else {
			ret = sluice_publish(p->out, m);
		}
	}
	if (ret && buf.index != SLUICE_NO_BUFFER && ret != -ESTALE)
		sluice_buffer_drop(p->out, &buf);
	return ret;
}

/*
 * A broadcast finds nobody for a moment: one more time. An endpoint that was put out hears the
 * same, and the end of it by its mapping.
 */
static int unless_nobody(const struct producer *p, int ret)
{
	return ret == -EAGAIN || (p->s->opt.broadcast && ret == -ENOTCONN) ? 0 : ret;
}

/* One message whose publish is all that the sender wants to know. */
static void send_plain(struct producer *p, uint64_t counter)
{
	char data[MESSAGE_MAX];
	struct sluice_msg m = make(p, counter, data);
	int ret;

	note_message(p, HISTORY_SEND, counter, HISTORY_NO_TICKET);
	switch (below(&p->seat->rng, 4)) {
	case 0:
		ret = send_in_steps(p, &m);
		break;
	case 1:
		if (p->s->backend->has_descriptors) {
			ret = sluice_post(p->out, &m);
			break;
		}
		/* fallthrough */
	default:
		ret = sluice_send(p->out, &m, 20 * MS);
		break;
	}
	if (ret < 0) {
		note_message(p, HISTORY_UNSENT, counter, HISTORY_NO_TICKET);
		end_unless_expected(p->seat, "send", unless_nobody(p, ret));
		sleep_us(500);
		return;
	}
	note_message(p, HISTORY_SENT, counter, m.ticket);
	set_bit(p->settled, counter, true);
}

/* ------------------------------------------------------- told of the ACK --- */

static void send_told(struct producer *p, uint64_t counter)
{
	char data[MESSAGE_MAX];
	struct sluice_msg m = make(p, counter, data);
	int ret;

	note_message(p, HISTORY_SEND, counter, HISTORY_NO_TICKET);
	ret = sluice_send_async(p->out, &m, counter);
	if (ret) {
		note_message(p, HISTORY_UNSENT, counter, HISTORY_NO_TICKET);
		end_unless_expected(p->seat, "send", unless_nobody(p, ret));
		sleep_us(500);
		return;
	}
	set_bit(p->busy, counter, true);
	p->under_way++;
}

static void hear(struct producer *p, int64_t timeout)
{
	struct sluice_completion done[WINDOW];
	int n = sluice_completions(process_ctx, done, WINDOW, timeout), i;

	end_unless_expected(p->seat, "completions", n < 0 ? n : 0);
	for (i = 0; i < n; i++) {
		uint64_t counter = done[i].cookie;
		bool again = done[i].result && !unless_nobody(p, done[i].result);
		/* of a broadcast: out, and not everybody will see it */
		bool missed = p->s->opt.broadcast && done[i].result == -ETIMEDOUT;

		p->under_way--;
		set_bit(p->busy, counter, false);
		if (counter < p->again)
			p->again = counter;
		if (done[i].result == -EINTR || done[i].result == -ECANCELED)
			continue;	/* sent, and nobody will tell: it goes out once more */
		if (again)
			sleep_us(500);
		note_message(p, again ? HISTORY_UNSENT : missed ? HISTORY_SENT :
			     done[i].result ? HISTORY_FAILED : HISTORY_TOLD, counter,
			     HISTORY_NO_TICKET);
		set_bit(p->settled, counter, !again);
	}
}

void produce(struct storm *s, struct seat *seat)
{
	static struct producer p;
	uint64_t counter;

	p.s = s;
	p.seat = seat;
	p.stream = s->round * MAX_PRODUCERS + seat->log;
	p.told = s->backend->has_descriptors && seat->log % 2;
	recover(&p);
	p.out = must_open(s, seat, lane_of(s, p.stream), SLUICE_PRODUCER);
	for (;;) {
		obey(s, seat);
		if (p.under_way < WINDOW && pick(&p, &counter)) {
			if (counter == p.next)
				p.next++;
			else
				p.again++;
			if (p.told)
				send_told(&p, counter);
			else
				send_plain(&p, counter);
			if (!bit(p.settled, counter) && !bit(p.busy, counter) && counter < p.again)
				p.again = counter;
			if (!below(&seat->rng, 16))
				sleep_us(below(&seat->rng, 300));
		} else if (p.under_way) {
			hear(&p, 20 * MS);
		} else if (stop_level(s)) {
			_exit(EXIT_DONE);
		} else {
			sleep_us(200);
		}
		if (p.under_way == WINDOW)
			hear(&p, 20 * MS);
	}
}
