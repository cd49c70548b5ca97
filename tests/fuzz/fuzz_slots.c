// SPDX-License-Identifier: MIT
/*
 * Description: whatever other endpoints write into a stage, calls come back with what lies inside
 *
 * Three bytes a step: a verb of one endpoint, or a store anywhere into slots, buffer words and tail.
 * Nothing is promised of a stage with a liar in it except that nobody leaves its memory or hangs.
 */
#include "ring.h"

static struct ring ring;
static struct sluice_msg held;
static bool has_held;

/* Values that are near the truth as well as any others. */
static u64 lie(uint8_t how, uint8_t what)
{
	u64 lap = ticket_lap(ring.in[0].ticket, RING_ORDER);

	switch (how & 3) {
	case 0:
		return slot_word(lap + what % 5 - 2, what >> 3 & 7, what >> 6, (what >> 4) % 6);
	case 1:
		return (u64)what << (how & 0xf8) % 64;
	case 2:
		return ~0ull << what % 64;
	default:
		return buf_word(what, (enum buf_state)(how >> 2 & 3));
	}
}

static void scribble(uint8_t where, uint8_t how, uint8_t what)
{
	struct sluice_slot *slot = &ring.in[0].slots[where % RING_SLOTS];
	u64 value = lie(how, what);

	switch (how >> 4 & 7) {
	case 0:
	case 1:
		slot->word = value;
		break;
	case 2:
		slot->len = (u32)value;
		break;
	case 3:
		slot->buf = how & 8 ? what % (RING_BUFFERS + 2) : (u32)value;
		break;
	case 4:
		slot->kind = (uint16_t)value;
		slot->flags = (uint16_t)(value >> 8);
		slot->time = value;
		break;
	case 5:
		*buffer_word(&ring.in[0], what % RING_BUFFERS) = value;
		break;
	case 6:
		ring.out[0].control->tail = value;
		break;
	default:
		ring.hints->generation += what;	/* the kernel's, and always allowed */
		break;
	}
}

static void check_inside(const struct sluice_msg *m)
{
	const char *data = m->data;
	volatile char last = 0;

	if (m->buffer == SLUICE_NO_BUFFER) {
		fuzz_check(m->len <= SLUICE_INLINE_MAX && data > ring.control &&
			   data + m->len <= ring.control + ring.control_bytes);
	} else {
		fuzz_check(m->buffer < RING_BUFFERS && m->len <= RING_BUFSIZE &&
			   data == ring.payload + m->buffer * RING_BUFSIZE);
	}
	for (u32 i = 0; i < m->len; i += 61)
		last = data[i];
	(void)last;
}

static void consume(struct sluice_ep *ep, uint8_t how)
{
	struct sluice_msg m[4];
	int n = sluice_claim_batch(ep, m, 1 + how % 4, SLUICE_NOW);

	fuzz_check(n == -EAGAIN || (n >= 1 && n <= 4));
	for (int i = 0; i < n; i++) {
		check_inside(&m[i]);
		if (how & 8) {
			held = m[i];
			has_held = true;
		} else if (sluice_holds(ep, &m[i])) {
			fuzz_check(!sluice_ack(ep, &m[i]));
			fuzz_check(sluice_ack(ep, &m[i]) == -ESTALE);
		}
	}
}

static void produce(struct sluice_ep *ep, uint8_t how)
{
	struct sluice_msg m = { .counter = how, .data = ring.payload, .len = how % 3 ? how % 77u : 500,
				.buffer = SLUICE_NO_BUFFER };
	struct sluice_buffer b;
	void *data;

	if (how & 0x80) {
		if (sluice_send(ep, &m, SLUICE_NOW))
			return;
	} else if (how & 0x40 && !sluice_buffer_take(ep, &b, SLUICE_NOW)) {
		fuzz_check(b.index < RING_BUFFERS &&
			   b.data == ring.payload + b.index * RING_BUFSIZE);
		m.buffer = b.index;
		if (how & 1 || sluice_send(ep, &m, SLUICE_NOW))
			sluice_buffer_drop(ep, &b);
	} else if (!(m.len = 7, sluice_reserve(ep, &m, &data, SLUICE_NOW))) {
		fuzz_check(data == slot_at(ep, m.ticket)->data);
		memset(data, how, m.len);
		if (how & 1)
			sluice_discard(ep, &m);
		else
			sluice_publish(ep, &m);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ring_make(&ring, size & 1 ? 0 : ticket_mask(RING_ORDER) - 70);
	has_held = false;
	for (size_t i = 0; i + 2 < size; i += 3) {
		uint8_t verb = data[i], how = data[i + 1];

		switch (verb & 3) {
		case 0:
			produce(&ring.out[verb >> 2 & 1], how);
			break;
		case 1:
			consume(&ring.in[verb >> 2 & 1], how);
			break;
		case 2:
			if (has_held)
				sluice_ack(&ring.in[verb >> 2 & 1], &held);
			break;
		default:
			scribble(verb >> 2, how, data[i + 2]);
			break;
		}
	}
	return 0;
}
