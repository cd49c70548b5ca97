// SPDX-License-Identifier: MIT
/*
 * Description: the window at the end of the pipe against an obviously right one, and its bounds
 */
#include <stdio.h>
#include <time.h>

#include "lib_memory.h"

#include <sluice/order.h>

#define STREAMS		5u
#define COUNTERS	300u
#define WINDOW		16u
#define EVENTS_MAX	(COUNTERS + WINDOW + 8)

/* ---------------------------------------------------- an obviously right window --- */

enum what { NOTHING, MESSAGE, DEAD };

struct expected {
	u64 stream, counter;
	int reason;		/* 0: a message */
};

/* Everything there is to know of a stream, in arrays that are never forgotten. */
struct model {
	enum sluice_order_mode mode;
	struct model_stream {
		bool begun, ended;
		u64 next, end;
		enum what known[COUNTERS + 1];	/* came; strict: and waits */
		int reason[COUNTERS + 1];
	} stream[STREAMS];
	struct expected out[EVENTS_MAX];
	unsigned int nout;
};

static void model_emit(struct model *m, unsigned int s, u64 counter, int reason)
{
	m->out[m->nout++] = (struct expected){ s, counter, reason };
}

static void model_show(struct model *m, unsigned int s, u64 c)
{
	struct model_stream *t = &m->stream[s];

	model_emit(m, s, c, t->known[c] == DEAD ? t->reason[c] : 0);
	if (t->known[c] == MESSAGE && c == COUNTERS - 1)
		t->end = c + 1;
}

/* One step: what is first is shown if it is there, or given up if it must be. */
static bool model_step(struct model *m, unsigned int s, bool must)
{
	struct model_stream *t = &m->stream[s];

	if (t->ended || !t->begun || (!t->known[t->next] && !must))
		return false;
	if (!t->known[t->next])
		model_emit(m, s, t->next, EOVERFLOW);
	else if (m->mode == SLUICE_ORDER_STRICT)
		model_show(m, s, t->next);
	t->next++;
	t->ended = t->next >= t->end;
	return true;
}

static void model_arrives(struct model *m, unsigned int s, u64 c, enum what what, int reason)
{
	struct model_stream *t = &m->stream[s];

	if (t->ended || c < t->next)
		return;
	while (c - t->next >= WINDOW && model_step(m, s, true))
		;
	while (model_step(m, s, false))
		;
	if (t->ended)
		return;
	if (m->mode == SLUICE_ORDER_ONCE ? t->known[c] != NOTHING :
	    t->known[c] == MESSAGE || (t->known[c] == DEAD && what == DEAD))
		return;
	t->known[c] = what;
	t->reason[c] = reason;
	if (m->mode == SLUICE_ORDER_ONCE)
		model_show(m, s, c);
	while (model_step(m, s, false))
		;
}

static void model_put(struct model *m, unsigned int s, u64 c, enum what what, int reason,
		      bool opening)
{
	struct model_stream *t = &m->stream[s];
	u64 i;

	m->nout = 0;
	if (t->begun || (!c && (opening || what == DEAD))) {
		struct model_stream before = *t;

		if (!t->begun) {
			memset(t->known, 0, sizeof(t->known));
			t->begun = true;
			t->end = ~0ull;
			if (m->mode == SLUICE_ORDER_STRICT)
				memcpy(t->known + 1, before.known + 1, sizeof(t->known) -
				       sizeof(t->known[0]));
		}
		model_arrives(m, s, c, what, reason);
		if (!before.begun && m->mode == SLUICE_ORDER_ONCE)
			for (i = 1; i < WINDOW; i++)
				if (before.known[i])
					model_arrives(m, s, i, before.known[i], before.reason[i]);
		return;
	}
	if (c < WINDOW && (!t->known[c] || (t->known[c] == DEAD && what == MESSAGE))) {
		t->known[c] = what;
		t->reason[c] = reason;
	}
}

/* ------------------------------------------------------------------ random use --- */

/* Lengths on both sides of what fits into a slot. */
static u32 payload(unsigned int s, u64 c, unsigned char *data)
{
	u32 len = (u32)((s * 31 + c * 17) % 200);

	for (u32 i = 0; i < len; i++)
		data[i] = (unsigned char)(s * 7 + c * 3 + i);
	return len;
}

static struct sluice_msg message(unsigned int s, u64 c, unsigned char *data)
{
	return (struct sluice_msg){
		.stream = s, .counter = c, .data = data, .len = payload(s, c, data),
		.buffer = SLUICE_NO_BUFFER, .kind = (uint16_t)c,
		.flags = (uint16_t)((c ? 0 : SLUICE_MSG_OPEN) |
				    (c == COUNTERS - 1 ? SLUICE_MSG_LAST : 0)),
	};
}

/* All that comes out, a gap of n as n gaps of one, is what the model says. */
static void compare(struct sluice_order *o, const struct model *m)
{
	unsigned char data[256];
	struct sluice_delivery d;
	unsigned int at = 0;

	while (!sluice_order_next(o, &d)) {
		u64 n = d.missing ? d.missing : 1;

		for (u64 i = 0; i < n; i++, at++) {
			assert_in_range(at + 1, 1, m->nout);
			assert_int_equal(m->out[at].stream, d.msg.stream);
			assert_int_equal(m->out[at].counter, d.msg.counter + i);
			assert_int_equal(m->out[at].reason, d.missing ? d.reason : 0);
		}
		if (d.missing)
			continue;
		assert_int_equal(payload((unsigned int)d.msg.stream, d.msg.counter, data),
				 d.msg.len);
		assert_memory_equal(data, d.msg.data, d.msg.len);
		assert_int_equal((uint16_t)d.msg.counter, d.msg.kind);
	}
	assert_int_equal(m->nout, at);
}

struct event {
	unsigned int s;
	u64 c;
	enum what what;
};

/* Each message at least once, some twice, some as tombstones, some not at all; then mixed. */
static unsigned int make_events(struct event *e, unsigned int lost, unsigned int reach)
{
	unsigned int n = 0, i;

	for (u64 c = 0; c < COUNTERS; c++)
		for (unsigned int s = 0; s < STREAMS; s++) {
			unsigned int dice = (unsigned int)rand() % 100;

			if (dice < lost && c)
				continue;
			e[n++] = (struct event){ s, c, dice < lost + 5 ? DEAD : MESSAGE };
			if (dice > 80)
				e[n++] = (struct event){ s, c, dice > 95 ? DEAD : MESSAGE };
		}
	for (i = 0; i + 1 < n; i++) {
		unsigned int range = n - i < reach ? n - i : reach;
		unsigned int j = i + (unsigned int)rand() % range;
		struct event t = e[i];

		e[i] = e[j];
		e[j] = t;
	}
	return n;
}

static void random_run(enum sluice_order_mode mode, unsigned int lost, unsigned int reach)
{
	static struct event e[2 * STREAMS * COUNTERS];
	const struct sluice_order_options opt = {
		.mode = mode, .streams = STREAMS, .window = WINDOW,
	};
	static struct model m;
	unsigned char data[256];
	struct sluice_order *o;
	unsigned int n = make_events(e, lost, reach);

	memset(&m, 0, sizeof(m));
	m.mode = mode;
	assert_int_equal(0, sluice_order_create(&opt, &o));
	for (unsigned int i = 0; i < n; i++) {
		struct sluice_msg msg = message(e[i].s, e[i].c, data);
		int reason = 1 + (int)(e[i].c % 7);

		model_put(&m, e[i].s, e[i].c, e[i].what, reason, true);
		if (e[i].what == DEAD)
			assert_int_equal(0, sluice_order_dead(o, e[i].s, e[i].c, reason));
		else
			assert_int_equal(0, sluice_order_put(o, NULL, &msg));
		compare(o, &m);
	}
	if (!lost && reach < WINDOW * STREAMS / 2 && mode == SLUICE_ORDER_STRICT)
		assert_int_equal(0, sluice_order_stats(o)->waiting);
	sluice_order_free(o);
}

static void test_random(void **state)
{
	const char *given = getenv("SLUICE_TEST_SEED");
	unsigned int seed = given ? (unsigned int)atoi(given) : (unsigned int)time(NULL);

	printf("# seed %u\n", seed);
	srand(seed);
	for (int i = 0; i < 60; i++) {
		random_run(SLUICE_ORDER_STRICT, 0, 30);
		random_run(SLUICE_ORDER_ONCE, 0, 30);
		random_run(SLUICE_ORDER_STRICT, 10, 20 + (unsigned int)rand() % 400);
		random_run(SLUICE_ORDER_ONCE, 10, 20 + (unsigned int)rand() % 400);
	}
}

/* Whatever counters and marks somebody invents: bounds hold, nothing hangs. */
static u64 any_counter(void)
{
	switch (rand() % 5) {
	case 0:
		return (u64)rand() << 42 ^ (u64)rand() << 21 ^ (u64)rand();
	case 1:
		return ~0ull - (u64)rand() % 300;
	case 2:
		return (1ull << 63) + (u64)rand() % 300 - 150;
	default:
		return (u64)rand() % 100;
	}
}

static void one_nonsense(struct sluice_order *o)
{
	static const char data[100];
	const struct sluice_msg m = {
		.stream = (u64)rand() % 10, .counter = any_counter(), .data = data,
		.len = (u32)rand() % sizeof(data), .buffer = SLUICE_NO_BUFFER,
		.flags = (uint16_t)(SLUICE_MSG_OPEN * (rand() % 2) +
				    SLUICE_MSG_LAST * !(rand() % 30)),
	};

	switch (rand() % 20) {
	case 0:
		sluice_order_dead(o, m.stream, m.counter, EIO);
		break;
	case 1:
		sluice_order_open(o, m.stream);
		break;
	case 2:
		sluice_order_end(o, m.stream);
		break;
	default:
		sluice_order_put(o, NULL, &m);
	}
}

static void test_nonsense(void **state)
{
	const struct sluice_order_stats *stats;
	struct sluice_delivery d;
	struct sluice_order *o;
	unsigned int n;

	for (unsigned int seed = 0; seed < 100; seed++) {
		const struct sluice_order_options opt = {
			.mode = seed % 2, .streams = 1 + seed % 6, .window = 2u << seed % 8,
			.bytes = 500,
		};

		srand(seed);
		assert_int_equal(0, sluice_order_create(&opt, &o));
		stats = sluice_order_stats(o);
		for (int i = 0; i < 2000; i++) {
			one_nonsense(o);
			assert_in_range(stats->bytes, 0, 500);
			assert_in_range(stats->waiting, 0, opt.streams * opt.window);
			for (n = 0; rand() % 50 && !sluice_order_next(o, &d); n++)
				assert_in_range(n, 0, 2 * opt.window + 1);
		}
		sluice_order_free(o);
	}
}

/* ---------------------------------------------------------------- single rules --- */

static struct sluice_order *make_order(enum sluice_order_mode mode, u32 streams, u64 bytes,
				       u64 keep_ns)
{
	const struct sluice_order_options opt = {
		.mode = mode, .streams = streams, .window = WINDOW, .bytes = bytes,
		.keep_ns = keep_ns,
	};
	struct sluice_order *o;

	assert_int_equal(0, sluice_order_create(&opt, &o));
	return o;
}

static int put(struct sluice_order *o, u64 stream, u64 counter, uint16_t flags)
{
	const struct sluice_msg m = {
		.stream = stream, .counter = counter, .data = "abcd", .len = 4, .flags = flags,
		.buffer = SLUICE_NO_BUFFER,
	};

	return sluice_order_put(o, NULL, &m);
}

static void expect(struct sluice_order *o, u64 stream, u64 counter, u64 missing, int reason)
{
	struct sluice_delivery d;

	assert_int_equal(0, sluice_order_next(o, &d));
	assert_int_equal(stream, d.msg.stream);
	assert_int_equal(counter, d.msg.counter);
	assert_int_equal(missing, d.missing);
	assert_int_equal(reason, d.reason);
}

static void expect_nothing(struct sluice_order *o)
{
	struct sluice_delivery d;

	assert_int_equal(-EAGAIN, sluice_order_next(o, &d));
}

static void test_options(void **state)
{
	static const struct sluice_order_options bad[] = {
		{ .mode = SLUICE_ORDER_RAW + 1, .streams = 1, .window = 2 },
		{ .streams = 0, .window = 2 }, { .streams = 1, .window = 1 },
		{ .streams = 1, .window = 24 }, { .streams = 1, .window = 0 },
		{ .streams = 1, .window = 2 * SLUICE_ORDER_WINDOW_MAX },
	};
	struct sluice_order *o;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(-EINVAL, sluice_order_create(&bad[i], &o));
		assert_null(o);
		assert_true(strlen(sluice_error()) > 10);
	}
	sluice_order_free(NULL);
}

/* The last message ends its stream: from then on everything of it is a copy. */
static void test_ended(void **state)
{
	struct sluice_order *o = make_order(SLUICE_ORDER_STRICT, 4, 0, 0);

	assert_int_equal(0, put(o, 1, 0, SLUICE_MSG_OPEN));
	expect(o, 1, 0, 0, 0);
	assert_int_equal(1, sluice_order_stats(o)->live);
	assert_int_equal(0, put(o, 1, 1, SLUICE_MSG_LAST));
	expect(o, 1, 1, 0, 0);
	assert_int_equal(0, sluice_order_stats(o)->live);
	assert_int_equal(0, put(o, 1, 0, SLUICE_MSG_OPEN));
	assert_int_equal(0, put(o, 1, 2, 0));
	expect_nothing(o);
	assert_int_equal(2, sluice_order_stats(o)->copies);
	assert_int_equal(-EEXIST, sluice_order_open(o, 1));
	sluice_order_free(o);
}

/* What claims to come after the last one does not make the stream live again, nor wait. */
static void test_after_last(void **state)
{
	for (unsigned int mode = SLUICE_ORDER_STRICT; mode <= SLUICE_ORDER_ONCE; mode++) {
		struct sluice_order *o = make_order(mode, 4, 0, 0);

		assert_int_equal(0, sluice_order_open(o, 1));
		assert_int_equal(0, put(o, 1, 5, SLUICE_MSG_LAST));
		if (mode == SLUICE_ORDER_ONCE)
			expect(o, 1, 5, 0, 0);
		assert_int_equal(0, put(o, 1, WINDOW + 10, 0));
		expect(o, 1, 0, 5, EOVERFLOW);
		if (mode == SLUICE_ORDER_STRICT)
			expect(o, 1, 5, 0, 0);
		expect_nothing(o);
		assert_int_equal(0, sluice_order_stats(o)->live);
		assert_int_equal(0, sluice_order_stats(o)->waiting);
		sluice_order_free(o);
	}
}

/* The copy of one that waits is dropped at once. */
static void test_copy_waits(void **state)
{
	struct sluice_order *o = make_order(SLUICE_ORDER_STRICT, 4, 0, 0);

	assert_int_equal(0, sluice_order_open(o, 1));
	assert_int_equal(0, put(o, 1, 2, 0));
	assert_int_equal(0, put(o, 1, 2, 0));
	assert_int_equal(1, sluice_order_stats(o)->early);
	assert_int_equal(1, sluice_order_stats(o)->copies);
	assert_int_equal(1, sluice_order_stats(o)->waiting);
	sluice_order_free(o);
}

/* P33: what nobody has begun waits, is never shown, and makes room first. */
static void test_unknown(void **state)
{
	struct sluice_order *o = make_order(SLUICE_ORDER_STRICT, 2, 0, 0);

	assert_int_equal(0, put(o, 1, 3, 0));
	assert_int_equal(0, put(o, 1, 0, 0));		/* no opening mark */
	expect_nothing(o);
	assert_int_equal(2, sluice_order_stats(o)->waiting);
	assert_int_equal(0, put(o, 1, WINDOW, 0));
	assert_int_equal(1, sluice_order_stats(o)->strays);
	assert_int_equal(0, sluice_order_open(o, 1));
	expect(o, 1, 0, 0, 0);
	assert_int_equal(0, put(o, 2, 5, 0));
	assert_int_equal(0, put(o, 3, 0, SLUICE_MSG_OPEN));	/* in the place of 2 */
	expect(o, 3, 0, 0, 0);
	assert_int_equal(2, sluice_order_stats(o)->strays);
	assert_int_equal(1, sluice_order_stats(o)->waiting);
	assert_int_equal(-EUSERS, put(o, 4, 0, SLUICE_MSG_OPEN));
	assert_int_equal(-EUSERS, sluice_order_open(o, 4));
	sluice_order_end(o, 3);
	assert_int_equal(0, put(o, 4, 0, SLUICE_MSG_OPEN));	/* in the place of a tombstone */
	expect(o, 4, 0, 0, 0);
	sluice_order_free(o);
}

/* A tombstone is kept for as long as a copy may be on its way. */
static void test_keep(void **state)
{
	struct sluice_order *o = make_order(SLUICE_ORDER_STRICT, 1, 0, 3600 * 1000000000ull);

	assert_int_equal(0, put(o, 1, 0, SLUICE_MSG_OPEN | SLUICE_MSG_LAST));
	expect(o, 1, 0, 0, 0);
	assert_int_equal(-EUSERS, put(o, 2, 0, SLUICE_MSG_OPEN));
	assert_int_equal(0, put(o, 1, 0, SLUICE_MSG_OPEN));
	expect_nothing(o);
	assert_int_equal(1, sluice_order_stats(o)->refused);
	sluice_order_free(o);
}

/* P34: a dead letter's place is taken by its tombstone, unless the message comes after all. */
static void test_dead(void **state)
{
	struct sluice_order *o = make_order(SLUICE_ORDER_STRICT, 4, 0, 0);

	assert_int_equal(0, sluice_order_dead(o, 1, 0, ETIMEDOUT));
	expect(o, 1, 0, 1, ETIMEDOUT);
	assert_int_equal(0, put(o, 1, 2, 0));
	assert_int_equal(0, sluice_order_dead(o, 1, 3, EOWNERDEAD));
	assert_int_equal(0, put(o, 1, 3, 0));
	assert_int_equal(0, sluice_order_dead(o, 1, 2, EIO));
	expect_nothing(o);
	assert_int_equal(0, sluice_order_dead(o, 1, 1, EBADMSG));
	expect(o, 1, 1, 1, EBADMSG);
	expect(o, 1, 2, 0, 0);
	expect(o, 1, 3, 0, 0);
	expect_nothing(o);
	assert_int_equal(2, sluice_order_stats(o)->missing);
	assert_int_equal(-EINVAL, sluice_order_dead(o, 1, 4, 0));
	sluice_order_free(o);
}

/* A message that is a window ahead, or the end of all counters: one gap, however wide. */
static void test_overflow(void **state)
{
	struct sluice_order *o = make_order(SLUICE_ORDER_STRICT, 4, 0, 0);
	u64 far = 1ull << 60;

	assert_int_equal(0, sluice_order_open(o, 1));
	assert_int_equal(0, put(o, 1, 2, 0));
	assert_int_equal(0, put(o, 1, WINDOW + 2, 0));
	expect(o, 1, 0, 2, EOVERFLOW);
	expect(o, 1, 2, 0, 0);
	expect_nothing(o);
	assert_int_equal(0, put(o, 1, far, 0));
	expect(o, 1, 3, WINDOW - 1, EOVERFLOW);
	expect(o, 1, WINDOW + 2, 0, 0);
	expect(o, 1, WINDOW + 3, far - 2 * WINDOW - 2, EOVERFLOW);
	expect_nothing(o);
	assert_int_equal(1, sluice_order_stats(o)->waiting);
	assert_int_equal(0, put(o, 1, ~0ull, 0));
	expect(o, 1, far - WINDOW + 1, WINDOW - 1, EOVERFLOW);
	expect(o, 1, far, 0, 0);
	sluice_order_free(o);
}

/* What waits is bounded in bytes; what need not wait passes all the same. */
static void test_bytes(void **state)
{
	struct sluice_order *o = make_order(SLUICE_ORDER_STRICT, 4, 10, 0);

	assert_int_equal(0, put(o, 1, 0, SLUICE_MSG_OPEN));
	expect(o, 1, 0, 0, 0);
	assert_int_equal(0, put(o, 1, 2, 0));
	assert_int_equal(0, put(o, 1, 3, 0));
	assert_int_equal(-ENOBUFS, put(o, 1, 4, 0));
	assert_int_equal(-ENOBUFS, put(o, 2, 4, 0));	/* not begun */
	assert_int_equal(8, sluice_order_stats(o)->bytes);
	assert_int_equal(0, put(o, 1, 1, 0));
	expect(o, 1, 1, 0, 0);
	expect(o, 1, 2, 0, 0);
	expect(o, 1, 3, 0, 0);
	assert_int_equal(0, sluice_order_stats(o)->bytes);
	assert_int_equal(0, put(o, 1, 5, 0));
	sluice_order_free(o);
}

/* Nothing goes in before what is ready was fetched; the caller's end drops that, too. */
static void test_ready_first(void **state)
{
	struct sluice_order *o = make_order(SLUICE_ORDER_STRICT, 4, 0, 0);

	assert_int_equal(0, put(o, 1, 0, SLUICE_MSG_OPEN));
	assert_int_equal(-EBUSY, put(o, 2, 0, SLUICE_MSG_OPEN));
	assert_int_equal(-EBUSY, sluice_order_dead(o, 1, 1, EIO));
	assert_int_equal(-EBUSY, sluice_order_open(o, 2));
	sluice_order_end(o, 1);
	expect_nothing(o);
	assert_int_equal(0, put(o, 1, 1, 0));
	expect_nothing(o);
	sluice_order_end(o, 7);		/* never heard of: known as ended from now on */
	assert_int_equal(0, put(o, 7, 0, SLUICE_MSG_OPEN));
	expect_nothing(o);
	sluice_order_free(o);
}

static void test_raw(void **state)
{
	struct sluice_order *o = make_order(SLUICE_ORDER_RAW, 0, 0, 0);

	assert_int_equal(0, put(o, 1, 5, 0));
	expect(o, 1, 5, 0, 0);
	assert_int_equal(0, put(o, 1, 5, 0));
	expect(o, 1, 5, 0, 0);
	expect_nothing(o);
	sluice_order_free(o);
}

/* --------------------------------------------------------------- from a ring --- */

static void send_it(struct ring *r, u64 counter)
{
	struct sluice_msg m = {
		.stream = 1, .counter = counter, .data = &counter, .len = sizeof(counter),
		.buffer = SLUICE_NO_BUFFER, .flags = counter ? 0 : SLUICE_MSG_OPEN,
	};

	assert_int_equal(0, sluice_send(&r->out, &m, SLUICE_NOW));
}

/* Copied out and acknowledged: no claim is held, also of what waits. */
static void test_claims(void **state)
{
	struct sluice_order *o = make_order(SLUICE_ORDER_STRICT, 4, 0, 0);
	struct sluice_delivery d;
	struct ring r;

	make(&r, 0);
	send_it(&r, 2);
	send_it(&r, 0);
	send_it(&r, 0);
	assert_int_equal(0, sluice_order_claim(o, &r.in, &d, SLUICE_NOW));
	assert_int_equal(0, d.msg.counter);
	assert_memory_equal(&d.msg.counter, d.msg.data, 8);
	assert_int_equal(-EAGAIN, sluice_order_claim(o, &r.in, &d, SLUICE_NOW));
	assert_int_equal(3, sluice_counters(&r.in)->acked);
	send_it(&r, 1);
	for (u64 i = 1; i < 3; i++) {
		assert_int_equal(0, sluice_order_claim(o, &r.in, &d, SLUICE_NOW));
		assert_int_equal(i, d.msg.counter);
		assert_memory_equal(&i, d.msg.data, 8);
	}
	assert_int_equal(4, sluice_counters(&r.in)->acked);
	sluice_order_free(o);
	unmake(&r);
}

/* P12: what was lost while it was copied is not taken in, and comes again. */
static void test_lost_claim(void **state)
{
	struct sluice_order *o = make_order(SLUICE_ORDER_STRICT, 4, 0, 0);
	struct sluice_msg m;
	struct ring r;

	make(&r, 0);
	send_it(&r, 0);
	assert_int_equal(0, sluice_claim(&r.in, &m, SLUICE_NOW));
	assert_int_equal(SLOT_OK,
			 slot_retry(&slot_at(&r.in, m.ticket)->word, m.token));
	assert_int_equal(-ESTALE, sluice_order_put(o, &r.in, &m));
	expect_nothing(o);
	assert_int_equal(0, sluice_claim(&r.other_in, &m, SLUICE_NOW));
	assert_int_equal(2, m.attempt);
	assert_int_equal(0, sluice_order_put(o, &r.other_in, &m));
	expect(o, 1, 0, 0, 0);
	sluice_order_free(o);
	unmake(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_ended),
		cmocka_unit_test(test_after_last),
		cmocka_unit_test(test_copy_waits),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_dead),
		cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_ready_first),
		cmocka_unit_test(test_raw),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_lost_claim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
