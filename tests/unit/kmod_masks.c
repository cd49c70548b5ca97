// SPDX-License-Identifier: MIT
/*
 * Description: the module's broadcast.c clears the bits of those who are gone, and nobody else's
 *
 * Over plain memory, with masks as a producer leaves them that looks, is slow, and writes, and with
 * something happening between two looks of a walk.
 */
#include <setjmp.h>

#include <cmocka.h>

#include <internal.h>

#include "reaper.h"

static void (*between)(void);	/* done before the next look of a walk at a slot, once */

static void happen(void)
{
	void (*what)(void) = between;

	between = NULL;
	if (what)
		what();
}

#define slot_look(w, lap)	(happen(), slot_look(w, lap))
#include "../../kmod/broadcast.c"
#undef slot_look

#define SLOTS	64u

static struct reaper *reaper;
static struct sl_stage *stage;	/* the first thing in it */
static struct reaper_endpoint out;

static int begin_with(u32 flags)
{
	const struct sluice_create c = {
		.name = "masks", .nslots = SLOTS, .nbufs = 4, .bufsize = 4096,
		.policy = SLUICE_POLICY_BROADCAST, .flags = flags, .ack_timeout_ms = 1,
	};

	reaper = reaper_create(&c, 0);
	stage = (struct sl_stage *)reaper;
	between = NULL;
	return reaper ? reaper_attach(reaper, SLUICE_PRODUCER, 0, &out) : -1;
}

static int begin(void **state)
{
	return begin_with(0);
}

static int begin_patient(void **state)
{
	return begin_with(SLUICE_CREATE_SLOW_WAITS);
}

static int end(void **state)
{
	reaper_destroy(reaper);
	return 0;
}

static struct reaper_endpoint join(u32 flags)
{
	struct reaper_endpoint ep;

	assert_int_equal(0, reaper_attach(reaper, SLUICE_CONSUMER, flags, &ep));
	assert_int_equal(1, __builtin_popcountll(ep.recipient));
	return ep;
}

/* Ticket @t published, as a producer does it that has seen @mask. */
static void publish(u64 t, u64 mask)
{
	struct sluice_slot *slot = sl_slot(stage, ticket_index(t, stage->order));
	u64 lap = ticket_lap(t, stage->order);

	assert_int_equal(SLOT_OK, slot_reserve(&slot->word, lap, out.id));
	assert_true(mask_set(&slot->target, mask));
	slot->buf = SLUICE_NO_BUFFER;
	assert_int_equal(SLOT_OK, slot_publish(&slot->word, lap, out.id));
}

static u64 word(u32 index)
{
	return sl_slot(stage, index)->word;
}

static u64 mask(u32 index)
{
	return sl_slot(stage, index)->target;
}

static bool ack(u64 t, u64 bit)
{
	struct sluice_slot *slot = sl_slot(stage, ticket_index(t, stage->order));
	u64 token = slot_word(ticket_lap(t, stage->order), 0, 0, SLOT_READY);
	bool last;

	return slot_broadcast_ack(&slot->word, &slot->target, token, bit, &last) == SLOT_OK;
}

static void wait_ms(long ms)
{
	const struct timespec ts = { .tv_nsec = ms * 1000000 };

	nanosleep(&ts, NULL);
}

/* Two looks at what stays as it is, further apart than the ack timeout. */
static void late(void)
{
	reaper_tick(reaper);
	wait_ms(5);
	reaper_tick(reaper);
}

static struct sluice_info info(void)
{
	struct sluice_info i;

	reaper_info(reaper, &i);
	return i;
}

/* ------------------------------------------------------------------- death --- */

static void test_the_dead_owe_nothing(void **state)
{
	struct reaper_endpoint a = join(0), b = join(0);

	publish(0, a.recipient | b.recipient);
	publish(1, b.recipient);
	reaper_died(reaper, b.id);
	assert_int_equal(a.recipient, mask(0));
	assert_int_equal(SLOT_READY, slot_state(word(0)));
	assert_int_equal(slot_free(1), word(1));
	assert_int_equal(a.recipient, stage->hints->recipients);
	assert_true(ack(0, a.recipient));
	assert_int_equal(slot_free(1), word(0));
}

/* It had cleared the last bit, and died before it freed the slot. */
static void test_died_in_the_last_ack(void **state)
{
	struct reaper_endpoint a = join(0), b = join(0);

	publish(0, b.recipient);
	*sl_buffer_word(stage, 2, false) = buf_word(0, BUF_SENT);
	sl_slot(stage, 0)->buf = 2;
	sl_slot(stage, 0)->target = 0;
	reaper_died(reaper, b.id);
	assert_int_equal(slot_free(1), word(0));
	assert_int_equal(BUF_FREE, buf_state(*sl_buffer_word(stage, 2, false)));
	assert_int_equal(a.recipient, stage->recipients);
}

/* The producer had looked before, and dies before it can say so: the tick finds it. */
static void test_addressed_to_the_gone(void **state)
{
	struct reaper_endpoint a = join(0), b = join(0);

	reaper_died(reaper, b.id);
	publish(0, a.recipient | b.recipient);
	publish(1, b.recipient);
	reaper_tick(reaper);
	assert_int_equal(a.recipient, mask(0));
	assert_int_equal(slot_free(1), word(1));
}

/* Or it lives and says so: slot and buffer are free at once, without anybody's reaper. */
static void test_told_of_the_gone(void **state)
{
	struct reaper_endpoint a = join(0), b = join(0);

	reaper_died(reaper, b.id);
	publish(0, a.recipient | b.recipient);
	assert_false(sl_broadcast_prune(stage));
	*sl_buffer_word(stage, 2, false) = buf_word(1, BUF_SENT);
	publish(1, b.recipient);
	sl_slot(stage, 1)->buf = 2;
	assert_true(sl_broadcast_prune(stage));
	assert_int_equal(slot_free(1), word(1));
	assert_int_equal(BUF_FREE, buf_state(*sl_buffer_word(stage, 2, false)));
	assert_int_equal(a.recipient, mask(0));
}

/* It was writing: nobody owes anything for what was never sent. */
static void test_died_in_publish(void **state)
{
	struct reaper_endpoint a = join(0);
	struct sluice_slot *slot = sl_slot(stage, 0);

	assert_int_equal(SLOT_OK, slot_reserve(&slot->word, 0, out.id));
	slot->target = a.recipient;
	reaper_died(reaper, out.id);
	assert_int_equal(slot_free(1), word(0));
	assert_int_equal(0, mask(0));
}

/* ---------------------------------------------------------------- newcomers --- */

/*
 * A bit of a newcomer in an older ticket: its owner clears it, while the kernel has looked at the
 * slot and not at its mask. By then the mask is of a newer ticket, which the newcomer gets.
 */
static void test_only_the_owner_clears(void **state)
{
	struct reaper_endpoint a = join(0), b;
	u64 seen;

	publish(0, a.recipient);
	b = join(0);
	assert_int_equal(1, b.start);
	assert_true(mask_set(&sl_slot(stage, 0)->target, b.recipient));
	seen = word(0);
	assert_true(ack(0, b.recipient));
	assert_true(ack(0, a.recipient));
	publish(SLOTS, a.recipient | b.recipient);
	assert_false(sl_broadcast_tick(stage, 0, seen, false));
	assert_int_equal(a.recipient | b.recipient, mask(0));
	assert_int_equal(SLOT_READY, slot_state(word(0)));
}

/* A bit comes to somebody else only when it is in no mask any more. */
static void test_nothing_inherited(void **state)
{
	struct reaper_endpoint a = join(0), b = join(0), c;

	reaper_died(reaper, b.id);
	publish(0, a.recipient | b.recipient);
	publish(1, b.recipient);
	c = join(0);
	assert_int_equal(b.recipient, c.recipient);
	assert_int_equal(2, c.start);
	assert_int_equal(a.recipient, mask(0));
	reaper_tick(reaper);
	assert_int_equal(slot_free(1), word(1));
}

static void test_tail_or_oldest(void **state)
{
	struct reaper_endpoint a = join(0), tail, oldest;
	u64 t;

	for (t = 0; t < 4; t++)
		publish(t, a.recipient);
	assert_true(ack(0, a.recipient));
	tail = join(0);
	oldest = join(SLUICE_ATTACH_OLDEST);
	assert_int_equal(4, tail.start);
	assert_int_equal(1, oldest.start);
	for (t = 1; t < 4; t++)
		assert_int_equal(a.recipient | oldest.recipient, mask((u32)t));
	assert_int_equal(slot_free(1), word(0));
}

/* Reserved, and not addressed yet: the producer adds to the bit that it finds. */
static void test_oldest_of_what_is_written(void **state)
{
	struct reaper_endpoint a = join(0), b;
	struct sluice_slot *slot = sl_slot(stage, 1);

	publish(0, a.recipient);
	assert_int_equal(SLOT_OK, slot_reserve(&slot->word, 0, out.id));
	b = join(SLUICE_ATTACH_OLDEST);
	assert_int_equal(0, b.start);
	assert_int_equal(b.recipient, mask(1));
	assert_true(mask_set(&slot->target, a.recipient));
	assert_int_equal(SLOT_OK, slot_publish(&slot->word, 0, out.id));
	assert_int_equal(a.recipient | b.recipient, mask(1));
}

/* Everybody has acknowledged it, and it is about to be free: it is not held any more. */
static void test_not_what_is_over(void **state)
{
	struct reaper_endpoint a = join(0), b;

	publish(0, a.recipient);
	publish(1, a.recipient);
	sl_slot(stage, 0)->target = 0;
	b = join(SLUICE_ATTACH_OLDEST);
	assert_int_equal(1, b.start);
}

static void test_sixty_four(void **state)
{
	struct reaper_endpoint ep[SLUICE_MAX_RECIPIENTS], none;
	u32 i;

	for (i = 0; i < SLUICE_MAX_RECIPIENTS; i++)
		ep[i] = join(0);
	assert_int_equal(~0ull, stage->hints->recipients);
	assert_int_equal(-EUSERS, reaper_attach(reaper, SLUICE_CONSUMER, 0, &none));
	publish(0, ~0ull);
	reaper_died(reaper, ep[40].id);
	none = join(0);
	assert_int_equal(ep[40].recipient, none.recipient);
	assert_int_equal(~ep[40].recipient, mask(0));
}

/* -------------------------------------------------------------------- slow --- */

static void test_the_slow_is_put_out(void **state)
{
	struct reaper_endpoint a = join(0), b = join(0), c;

	late();		/* they are no newcomers, who have their time in any case */
	*sl_buffer_word(stage, 2, false) = buf_word(0, BUF_SENT);
	publish(0, a.recipient | b.recipient);
	sl_slot(stage, 0)->buf = 2;
	publish(1, a.recipient | b.recipient);
	reaper_tick(reaper);
	assert_int_equal(0, info().expelled);
	assert_true(ack(0, a.recipient));
	assert_true(ack(1, a.recipient));
	late();
	assert_int_equal(1, info().expelled);
	assert_int_equal(slot_free(1), word(0));
	assert_int_equal(BUF_FREE, buf_state(*sl_buffer_word(stage, 2, false)));
	assert_int_equal(slot_free(1), word(1));
	assert_int_equal(a.recipient, stage->hints->recipients);
	/* its mapping is there, so its bit is nobody else's (P21) */
	c = join(0);
	assert_int_not_equal(b.recipient, c.recipient);
	reaper_died(reaper, b.id);
	assert_int_equal(b.recipient, join(0).recipient);
}

static void test_or_waited_for(void **state)
{
	struct reaper_endpoint a = join(0);

	publish(0, a.recipient);
	late();
	late();
	assert_int_equal(0, info().expelled);
	assert_int_equal(a.recipient, mask(0));
}

/* -------------------------------------------------------------------- read --- */

static int next(const struct reaper_endpoint *ep, size_t room, u64 *t)
{
	u64 token;

	return sl_broadcast_next(stage, xa_load(&stage->endpoints, ep->id), room, t, &token);
}

static void test_reads(void **state)
{
	struct reaper_endpoint a = join(0), b;
	u64 t = 99;

	publish(0, a.recipient);
	publish(1, a.recipient);
	sl_slot(stage, 1)->len = 5;
	b = join(0);
	/* older than its start: cleared by the way, not handed out */
	assert_true(mask_set(&sl_slot(stage, 1)->target, b.recipient));
	publish(2, a.recipient | b.recipient);
	assert_int_equal(0, next(&a, 8, &t));
	assert_int_equal(0, t);
	assert_int_equal(-EMSGSIZE, next(&a, 4, &t));
	assert_int_equal(0, next(&a, 5, &t));
	assert_int_equal(1, t);
	assert_int_equal(0, next(&b, 8, &t));
	assert_int_equal(2, t);
	assert_int_equal(a.recipient, mask(1));
	assert_int_equal(-EAGAIN, next(&b, 8, &t));
}

static struct reaper_endpoint first, second;

/* Put out, what was its is not any more; who had looked before sends it something newer. */
static void put_out(void)
{
	stage->recipients &= ~second.recipient;
	mask_clear(&sl_slot(stage, 0)->target, second.recipient);
	mask_clear(&sl_slot(stage, 1)->target, second.recipient);
	publish(2, first.recipient | second.recipient);
}

static void put_out_and_free(void)
{
	put_out();
	assert_true(ack(0, first.recipient));
	assert_true(ack(1, first.recipient));
	publish(SLOTS, first.recipient);
}

static void no_gap(void (*what)(void))
{
	u64 t;

	first = join(0);
	second = join(0);
	publish(0, first.recipient | second.recipient);
	publish(1, first.recipient | second.recipient);
	between = what;
	assert_int_equal(-ENOTCONN, next(&second, 8, &t));
	assert_int_equal(-ENOTCONN, next(&second, 8, &t));
}

static void test_no_gap_when_put_out(void **state)
{
	no_gap(put_out);
}

static void test_no_gap_when_freed(void **state)
{
	no_gap(put_out_and_free);
}

/* Half of all tickets later the start would be ahead again. */
static void test_starts_follow(void **state)
{
	struct reaper_endpoint a = join(0);
	u32 bit = (u32)__builtin_ctzll(a.recipient);

	stage->tail = 5 * SLOTS;
	sl_broadcast_starts(stage);
	assert_int_equal(3 * SLOTS, stage->starts[bit]);
	stage->tail = 5 * SLOTS + 1;
	stage->starts[bit] = 4 * SLOTS;
	sl_broadcast_starts(stage);
	assert_int_equal(4 * SLOTS, stage->starts[bit]);
}

int main(void)
{
#define CASE(name)	cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		CASE(test_the_dead_owe_nothing),
		CASE(test_died_in_the_last_ack),
		CASE(test_addressed_to_the_gone),
		CASE(test_told_of_the_gone),
		CASE(test_died_in_publish),
		CASE(test_only_the_owner_clears),
		CASE(test_nothing_inherited),
		CASE(test_tail_or_oldest),
		CASE(test_oldest_of_what_is_written),
		CASE(test_not_what_is_over),
		CASE(test_sixty_four),
		CASE(test_the_slow_is_put_out),
		cmocka_unit_test_setup_teardown(test_or_waited_for, begin_patient, end),
		CASE(test_reads),
		CASE(test_no_gap_when_put_out),
		CASE(test_no_gap_when_freed),
		CASE(test_starts_follow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
