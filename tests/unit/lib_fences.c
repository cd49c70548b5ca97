// SPDX-License-Identifier: MIT
/*
 * Description: after whatever makes progress possible, a full fence (C), then a look at the sleepers
 *
 * The library's own source, with a note taken at each change of a word, each fence and each look.
 */
#include "lib_memory.h"

#define MAX_NOTES	512u

static char notes[MAX_NOTES + 1];
static unsigned int n_notes;

static u64 leaving;	/* bits of who goes away between address and publish */

/*
 * S a word was stored, C compared and swapped, which x86 orders; F a full fence, f one after C;
 * h a look at hints->fences; L a look at sleepers or at what the kernel keeps; K a kick, A one for
 * a sender, G one for who is gone, M one for calm
 */
static inline void note(char what)
{
	if (n_notes < MAX_NOTES)
		notes[n_notes++] = what;
}

static inline u32 noted_hint(const struct sluice_ep *ep, const u32 *p)
{
	if (p == &ep->hints->ready_sleepers || p == &ep->hints->room_sleepers ||
	    p == &ep->hints->queued)
		note('L');
	if (p == &ep->hints->fences)
		note('h');
	return hint(p);
}

static inline enum slot_result changed(enum slot_result r)
{
	if (r == SLOT_OK)
		note('C');
	return r;
}

static inline char kick_note(u32 what)
{
	return what & SLUICE_KICK_GONE ? 'G' : what & SLUICE_KICK_ACKED ? 'A' :
	       what & SLUICE_KICK_CALM ? 'M' : 'K';
}

static inline void leave(const struct sluice_ep *ep)
{
	((struct sluice_hints *)(uintptr_t)ep->hints)->recipients &= ~leaving;
}

#undef sl_fence
#define sl_fence()			note('F')
#define fence_after_cas()		note('f')
#define hint(p)				noted_hint(ep, p)
#define slot_publish_sole(w, lap)	(note('S'), slot_publish_sole(w, lap))
#define slot_publish(w, lap, owner)	(leave(ep), changed(slot_publish(w, lap, owner)))
#define slot_discard(w, lap, owner)	changed(slot_discard(w, lap, owner))
#define slot_ack(w, token)		changed(slot_ack(w, token))
#define slot_broadcast_ack(w, m, token, bit, last) \
	changed(slot_broadcast_ack(w, m, token, bit, last))
#define buf_drop(w, owner)		changed(buf_drop(w, owner))
#define buf_free_sent(w, ticket)	changed(buf_free_sent(w, ticket))
#define __sluice_kick(ep, what)		note(kick_note(what))
#define take				take_of_broadcast
#include "../../lib/broadcast.c"
#undef take
#include "../../lib/claim.c"
#include "../../lib/produce.c"
#undef hint

/* The last change, then a fence, then a look; @looks of them, of which none may be early. */
static void check(unsigned int looks)
{
	unsigned int i, last;

	notes[n_notes] = 0;
	for (last = n_notes; last && !strchr("CS", notes[last - 1]); last--)
		;
	assert_true(last > 0);
	last--;
	if (notes[last] == 'S' || notes[last + 1] != 'f')
		assert_int_equal('F', notes[last + 1]);
	for (i = 0; i < looks; i++)
		assert_int_equal('L', notes[last + 2 + i]);
	n_notes = 0;
}

static void forget(void)
{
	n_notes = 0;
}

static void test_sends(void **state)
{
	for (int sole = 0; sole < 2; sole++) {
		struct sluice_msg m = number(1), some[3] = { number(1), number(2), number(3) };
		struct ring r;
		void *data;

		make(&r, 0);
		r.out.sole = sole;
		forget();
		assert_int_equal(0, sluice_send(&r.out, &m, SLUICE_NOW));
		check(1);
		assert_int_equal(0, sluice_post(&r.out, &m));
		check(1);
		assert_int_equal(3, sluice_send_batch(&r.out, some, 3, SLUICE_NOW));
		check(1);
		assert_int_equal(0, sluice_reserve(&r.out, &m, &data, SLUICE_NOW));
		forget();
		assert_int_equal(0, sluice_publish(&r.out, &m));
		check(1);
		unmake(&r);
	}
}

/* ---------------------------------------------------- of a sole producer --- */

#define CALM	65536u

static void make_sole(struct ring *r, bool asym, u32 fences)
{
	make(r, 0);
	r->out.sole = true;
	r->hints->fences = fences;
	/* as __sluice_ep_layout() would say, but for ThreadSanitizer */
	r->out.asym_fence = asym;
	forget();
}

/* All messages are gone at once: room for the next ones. */
static void empty(struct ring *r)
{
	u64 t = r->out.ticket;

	for (u32 i = 0; i < NSLOTS; i++)
		slot_at(&r->out, t + i)->word = slot_free(ticket_lap(t + i, r->out.order));
}

/* What a send did, from the store on. */
static const char *send_notes(struct ring *r)
{
	struct sluice_msg m = number(1);

	forget();
	empty(r);
	assert_int_equal(0, sluice_send(&r->out, &m, SLUICE_NOW));
	notes[n_notes] = 0;
	return strchr(notes, 'S');
}

static void test_sole_fences_when_told(void **state)
{
	struct sluice_msg m = number(1), some[3] = { number(1), number(2), number(3) };
	struct ring r;
	void *data;

	make_sole(&r, true, 0);
	assert_string_equal("ShL", send_notes(&r));
	r.hints->ready_sleepers = 1;
	assert_string_equal("ShLK", send_notes(&r));
	r.hints->ready_sleepers = 0;
	r.hints->fences = 1;
	assert_string_equal("ShFLL", send_notes(&r));
	r.hints->ready_sleepers = 1;
	assert_string_equal("ShFLLK", send_notes(&r));
	r.hints->ready_sleepers = 0;
	r.hints->fences = 0;
	/* the other ways to publish */
	forget();
	assert_int_equal(0, sluice_post(&r.out, &m));
	assert_int_equal(3, sluice_send_batch(&r.out, some, 3, SLUICE_NOW));
	assert_int_equal(0, sluice_reserve(&r.out, &m, &data, SLUICE_NOW));
	assert_int_equal(0, sluice_publish(&r.out, &m));
	notes[n_notes] = 0;
	assert_string_equal("ShLSSShLShL", notes);
	unmake(&r);
}

/* An older module has a 0 there that says nothing. */
static void test_sole_without_the_feature(void **state)
{
	struct ring r;
	u32 i;

	make_sole(&r, false, 0);
	assert_string_equal("SFL", send_notes(&r));
	for (i = 0; i < CALM; i++)
		assert_null(strchr(send_notes(&r), 'M'));
	unmake(&r);
	make(&r, 0);
	assert_false(r.out.asym_fence);
	r.hints->features = SLUICE_F_FENCES;
	attach(&r, &r.out, SLUICE_PRODUCER, 1, 0);
#ifndef __SANITIZE_THREAD__
	assert_true(r.out.asym_fence);
#endif
	r.hints->features = ~SLUICE_F_FENCES;
	attach(&r, &r.out, SLUICE_PRODUCER, 1, 0);
	assert_false(r.out.asym_fence);
	unmake(&r);
}

/* So many in a row that fenced for nobody: the kernel is told, and once. */
static void test_sole_says_calm(void **state)
{
	struct ring r;
	u32 i;

	make_sole(&r, true, 1);
	for (i = 1; i < CALM; i++)
		assert_string_equal("ShFLL", send_notes(&r));
	/* somebody sleeps, and it starts over */
	r.hints->ready_sleepers = 1;
	assert_string_equal("ShFLLK", send_notes(&r));
	r.hints->ready_sleepers = 0;
	for (i = 1; i < CALM; i++)
		assert_string_equal("ShFLL", send_notes(&r));
	assert_string_equal("ShFLML", send_notes(&r));
	assert_string_equal("ShFLL", send_notes(&r));
	/* where there is no fence, nothing is counted */
	r.hints->fences = 0;
	for (i = 0; i < CALM; i++)
		assert_string_equal("ShL", send_notes(&r));
	unmake(&r);
}

/* Consumers may pass it, and the next lap has room. */
static void test_discard(void **state)
{
	struct sluice_msg m = number(1);
	struct ring r;
	void *data;

	make(&r, 0);
	assert_int_equal(0, sluice_reserve(&r.out, &m, &data, SLUICE_NOW));
	forget();
	assert_int_equal(0, sluice_discard(&r.out, &m));
	check(3);
	unmake(&r);
}

static void test_buffer_comes_back(void **state)
{
	struct sluice_buffer b;
	struct ring r;

	make(&r, 0);
	assert_int_equal(0, sluice_buffer_take(&r.out, &b, SLUICE_NOW));
	forget();
	assert_int_equal(0, sluice_buffer_drop(&r.out, &b));
	check(2);
	unmake(&r);
}

/* Slot, then buffer, then the look: who waits for the buffer finds it (P17). */
static void test_acks(void **state)
{
	char big[200] = "more than a slot has room for";
	struct sluice_msg m = number(1), some[3];
	struct ring r;

	make(&r, 0);
	m.data = big;
	m.len = sizeof(big);
	for (int i = 0; i < 3; i++)
		assert_int_equal(0, sluice_send(&r.out, &m, SLUICE_NOW));
	assert_int_equal(3, sluice_claim_batch(&r.in, some, 3, SLUICE_NOW));
	forget();
	assert_int_equal(0, sluice_ack(&r.in, &some[0]));
	check(2);
	assert_int_equal(2, sluice_ack_batch(&r.in, &some[1], 2));
	check(2);
	unmake(&r);
}

/* A sender that wants to be told is, once for all of a run. */
static void test_acks_that_tell(void **state)
{
	struct sluice_msg m = number(1), some[3];
	struct ring r;

	make(&r, 0);
	for (u64 t = 0; t < 4; t++) {
		assert_int_equal(0, sluice_send(&r.out, &m, SLUICE_NOW));
		if (t != 2)
			slot_at(&r.out, t)->flags = SLUICE_MSG_TELL;
	}
	assert_int_equal(0, sluice_claim(&r.in, &m, SLUICE_NOW));
	forget();
	assert_int_equal(0, sluice_ack(&r.in, &m));
	assert_int_equal('A', notes[n_notes - 1]);
	assert_int_equal(3, sluice_claim_batch(&r.in, some, 3, SLUICE_NOW));
	forget();
	assert_int_equal(2, sluice_ack_batch(&r.in, &some[1], 2));
	assert_int_equal('A', notes[n_notes - 1]);
	unmake(&r);
}

/* Only the kernel may say so (P10). */
static void test_nobody_forges_that(void **state)
{
	struct sluice_msg m = number(1);
	struct ring r;
	void *data;

	make(&r, 0);
	m.flags = SLUICE_MSG_TELL;
	assert_int_equal(0, sluice_send(&r.out, &m, SLUICE_NOW));
	assert_int_equal(0, slot_at(&r.out, m.ticket)->flags);
	m.flags = SLUICE_MSG_TELL;
	assert_int_equal(0, sluice_reserve(&r.out, &m, &data, SLUICE_NOW));
	assert_int_equal(0, sluice_publish(&r.out, &m));
	assert_int_equal(0, slot_at(&r.out, m.ticket)->flags);
	unmake(&r);
}

/* ------------------------------------------------------------- broadcast --- */

static void make_broadcast(struct ring *r)
{
	make(r, 0);
	r->hints->policy = SLUICE_POLICY_BROADCAST;
	r->hints->recipients = 3;
	r->out.policy = SLUICE_POLICY_BROADCAST;
	r->in.recipient = 1;
	r->other_in.recipient = 2;
	leaving = 0;
	forget();
}

/* Who went between address and publish cannot acknowledge it, and the kernel is told (P22). */
static void test_who_is_gone(void **state)
{
	struct sluice_msg m = number(1), some[3] = { number(1), number(2), number(3) };
	struct ring r;
	void *data;

	make_broadcast(&r);
	assert_int_equal(0, sluice_send(&r.out, &m, SLUICE_NOW));
	assert_null(memchr(notes, 'G', n_notes));
	check(1);
	leaving = 2;
	assert_int_equal(0, sluice_send(&r.out, &m, SLUICE_NOW));
	assert_int_equal('G', notes[n_notes - 1]);
	check(1);
	/* once; it is not addressed any more */
	assert_int_equal(0, sluice_send(&r.out, &m, SLUICE_NOW));
	assert_null(memchr(notes, 'G', n_notes));
	check(1);
	r.hints->recipients = 3;
	assert_int_equal(3, sluice_send_batch(&r.out, some, 3, SLUICE_NOW));
	assert_int_equal('G', notes[n_notes - 1]);
	r.hints->recipients = 3;
	forget();
	assert_int_equal(0, sluice_reserve(&r.out, &m, &data, SLUICE_NOW));
	assert_int_equal(0, sluice_publish(&r.out, &m));
	assert_int_equal('G', notes[n_notes - 1]);
	unmake(&r);
}

/* The last one frees slot and buffer, and looks; those before it make no room. */
static void test_broadcast_acks(void **state)
{
	char big[200] = "more than a slot has room for";
	struct sluice_msg m = number(1), mine, other;
	struct ring r;

	make_broadcast(&r);
	m.data = big;
	m.len = sizeof(big);
	assert_int_equal(0, sluice_send(&r.out, &m, SLUICE_NOW));
	assert_int_equal(0, sluice_claim(&r.in, &mine, SLUICE_NOW));
	assert_int_equal(0, sluice_claim(&r.other_in, &other, SLUICE_NOW));
	assert_int_equal(0, sluice_ack(&r.in, &mine));
	assert_int_equal(SLOT_READY, slot_state(slot_at(&r.out, 0)->word));
	assert_int_equal(BUF_SENT, buf_state(*buffer_word(&r.out, mine.buffer)));
	forget();
	assert_int_equal(0, sluice_ack(&r.other_in, &other));
	assert_int_equal(slot_free(1), slot_at(&r.out, 0)->word);
	assert_int_equal(BUF_FREE, buf_state(*buffer_word(&r.out, mine.buffer)));
	check(2);
	unmake(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sends),
		cmocka_unit_test(test_sole_fences_when_told),
		cmocka_unit_test(test_sole_without_the_feature),
		cmocka_unit_test(test_sole_says_calm),
		cmocka_unit_test(test_discard),
		cmocka_unit_test(test_buffer_comes_back),
		cmocka_unit_test(test_acks),
		cmocka_unit_test(test_acks_that_tell),
		cmocka_unit_test(test_nobody_forges_that),
		cmocka_unit_test(test_who_is_gone),
		cmocka_unit_test(test_broadcast_acks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
