// SPDX-License-Identifier: MIT
/*
 * Description: the ring against a list that is obviously right, in any order of the verbs
 *
 * The first byte says where tickets begin, each further byte is one verb of one endpoint; the last
 * of them is what the kernel does at a death or timeout. The list knows each message by its ticket.
 */
#include "ring.h"

#define HELD_MAX (2 * RING_SLOTS)

enum verb { SEND, SEND_BUFFER, RESERVE, PUBLISH, DISCARD, CLAIM, CLAIM_BATCH, ACK, ACK_OLD, RETRY,
	    VERBS };

/* The list: what is in the ring, oldest ticket first. */
struct entry {
	u64 ticket, number, token;
	u32 attempts;
	int owner;		/* consumer, or -1: to be claimed */
	bool reserved;
};

struct oracle {
	struct entry entry[RING_SLOTS];
	u32 n;
	u64 numbers;
	struct sluice_msg reserved[RING_PRODUCERS];
	bool has_reserved[RING_PRODUCERS];
	struct sluice_msg held[RING_CONSUMERS][HELD_MAX];
	u32 n_held[RING_CONSUMERS];
	struct sluice_msg old[RING_CONSUMERS];	/* a claim that is over */
	bool has_old[RING_CONSUMERS];
	u64 last_first[RING_CONSUMERS];	/* number of the last first delivery */
};

static struct ring ring;
static struct oracle oracle;

static struct entry *find(u64 ticket)
{
	for (u32 i = 0; i < oracle.n; i++) {
		if (oracle.entry[i].ticket == ticket)
			return &oracle.entry[i];
	}
	return NULL;
}

static void forget(struct entry *e)
{
	u32 after = oracle.n - (u32)(e - oracle.entry) - 1;

	memmove(e, e + 1, after * sizeof(*e));
	oracle.n--;
}

/* A ring is full when the oldest ticket in it is a lap behind, exactly. */
static bool full(u64 next)
{
	return oracle.n && ticket_diff(next, oracle.entry[0].ticket, RING_ORDER) >= RING_SLOTS;
}

static void added(u64 ticket, bool reserved)
{
	fuzz_check(oracle.n < RING_SLOTS && !full(ticket));
	fuzz_check(!oracle.n ||
		   ticket_diff(ticket, oracle.entry[oracle.n - 1].ticket, RING_ORDER) > 0);
	oracle.entry[oracle.n++] = (struct entry) { .ticket = ticket, .number = ++oracle.numbers,
						    .owner = -1, .reserved = reserved };
}

static void do_send(u32 who, bool buffer)
{
	static char data[200];
	struct sluice_msg m = { .counter = oracle.numbers + 1, .data = data,
				.len = buffer ? 200 : (u32)(oracle.numbers % 77),
				.buffer = SLUICE_NO_BUFFER };
	int ret;

	memset(data, (int)m.counter, m.len);
	ret = sluice_send(&ring.out[who], &m, SLUICE_NOW);
	fuzz_check(!ret || ret == -EAGAIN);
	if (!ret)
		added(m.ticket, false);
	else if (!buffer)
		fuzz_check(full(ring.out[who].ticket));
}

static void do_reserve(u32 who)
{
	struct sluice_msg m = { .len = 0, .buffer = SLUICE_NO_BUFFER };
	void *data;

	if (oracle.has_reserved[who] || sluice_reserve(&ring.out[who], &m, &data, SLUICE_NOW))
		return;
	added(m.ticket, true);
	m.counter = oracle.numbers;
	oracle.reserved[who] = m;
	oracle.has_reserved[who] = true;
}

static void do_publish(u32 who, bool discard)
{
	struct sluice_msg *m = &oracle.reserved[who];
	struct entry *e = oracle.has_reserved[who] ? find(m->ticket) : NULL;

	if (!e)
		return;
	fuzz_check(!(discard ? sluice_discard(&ring.out[who], m) : sluice_publish(&ring.out[who], m)));
	oracle.has_reserved[who] = false;
	if (discard)
		forget(e);
	else
		e->reserved = false;
}

static void check_message(u32 who, const struct sluice_msg *m)
{
	struct entry *e = find(m->ticket);
	const char *data = m->data;

	fuzz_check(e && !e->reserved && e->owner < 0 && m->counter == e->number);
	fuzz_check(m->attempt == ++e->attempts);
	for (u32 i = 0; i < m->len; i++)
		fuzz_check(data[i] == (char)m->counter);
	/* first deliveries come in the order of the tickets (P3) */
	if (m->attempt == 1) {
		fuzz_check(e->number > oracle.last_first[who]);
		oracle.last_first[who] = e->number;
	}
	e->owner = (int)who;
	e->token = m->token;
}

/* Nothing to claim is true only if no message before the first reserved one is unclaimed. */
static void check_empty(void)
{
	for (u32 i = 0; i < oracle.n && !oracle.entry[i].reserved; i++)
		fuzz_check(oracle.entry[i].owner >= 0);
}

static void do_claim(u32 who, int max)
{
	struct sluice_msg *held = &oracle.held[who][oracle.n_held[who]];
	int n;

	if (oracle.n_held[who] + (u32)max > HELD_MAX)
		return;
	n = max > 1 ? sluice_claim_batch(&ring.in[who], held, max, SLUICE_NOW) :
		      sluice_claim(&ring.in[who], held, SLUICE_NOW);
	fuzz_check(n >= 0 || n == -EAGAIN);
	if (max == 1 && !n)
		n = 1;
	for (int i = 0; i < n; i++)
		check_message(who, &held[i]);
	oracle.n_held[who] += n > 0 ? (u32)n : 0;
	if (n < max)
		check_empty();
}

static void do_ack(u32 who, uint8_t which)
{
	u32 *n = &oracle.n_held[who], at;
	struct sluice_msg m;
	struct entry *e;
	int ret;

	if (!*n)
		return;
	at = which % *n;
	m = oracle.held[who][at];
	e = find(m.ticket);
	fuzz_check(sluice_holds(&ring.in[who], &m) == (e && e->token == m.token && e->owner >= 0));
	ret = sluice_ack(&ring.in[who], &m);
	/* fenced exactly if somebody else has it, or nobody any more */
	fuzz_check(ret == (e && e->token == m.token && e->owner == (int)who ? 0 : -ESTALE));
	if (!ret)
		forget(e);
	oracle.old[who] = m;
	oracle.has_old[who] = true;
	oracle.held[who][at] = oracle.held[who][--*n];
}

/* As the kernel does: READY again, then a new generation (P6). */
static void do_retry(uint8_t which)
{
	u32 n = 0;

	for (u32 i = 0; i < oracle.n; i++) {
		struct entry *e = &oracle.entry[i];

		if (e->owner < 0 || n++ != which % 8 || e->attempts > 200)
			continue;
		fuzz_check(slot_retry(&slot_at(&ring.in[0], e->ticket)->word, e->token) == SLOT_OK);
		e->owner = -1;
		ring.hints->generation++;
		return;
	}
}

static void step(uint8_t byte)
{
	u32 who = byte >> 4 & 1;
	uint8_t which = byte >> 5;

	switch ((enum verb)(byte % 16 % VERBS)) {
	case SEND:
	case SEND_BUFFER:
		do_send(who, byte % 16 % VERBS == SEND_BUFFER);
		break;
	case RESERVE:
		do_reserve(who);
		break;
	case PUBLISH:
	case DISCARD:
		do_publish(who, byte % 16 % VERBS == DISCARD);
		break;
	case CLAIM:
	case CLAIM_BATCH:
		do_claim(who, byte % 16 % VERBS == CLAIM ? 1 : 2 + which);
		break;
	case ACK:
		do_ack(who, which);
		break;
	case ACK_OLD:
		if (oracle.has_old[who])
			fuzz_check(sluice_ack(&ring.in[who], &oracle.old[who]) == -ESTALE);
		break;
	case RETRY:
		do_retry(which);
		break;
	case VERBS:
		break;
	}
}

/* Whoever holds something gives it up; what is left comes out once, and the ring is empty. */
static void drain(void)
{
	for (u32 who = 0; who < RING_PRODUCERS; who++)
		do_publish(who, true);
	while (oracle.n) {
		u32 before = oracle.n;

		do_retry(0);
		do_claim(0, 1);
		while (oracle.n_held[0])
			do_ack(0, 0);
		fuzz_check(oracle.n < before);
	}
	check_empty();
	for (u32 i = 0; i < RING_BUFFERS; i++)
		fuzz_check(*buffer_word(&ring.out[0], i) == buf_word(0, BUF_FREE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const u64 starts[] = { 0, ticket_mask(RING_ORDER) - 20, 1ull << 41, RING_SLOTS - 1 };

	ring_make(&ring, size ? starts[data[0] & 3] : 0);
	memset(&oracle, 0, sizeof(oracle));
	for (size_t i = 1; i < size; i++)
		step(data[i]);
	drain();
	return 0;
}
