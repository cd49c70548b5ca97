// SPDX-License-Identifier: MIT
/*
 * configs.c: what is explored, and the mistakes that must be found in it.
 */
#include "model.h"

#define P(n)		{ .program = PRODUCER, .msgs = (n) }
#define CONS		{ .program = CONSUMER }
#define THREAD_OF(id)	{ .program = CONSUMER, .thread_of = (id) }
#define TICKER		{ .program = TIMER }
#define WRITE(n)	{ .program = WRITER, .msgs = (n) }
#define WORK_FOR(i)	{ .program = WORKER, .helper = (i) }
#define CLOSER		{ .program = DESTROYER }
#define LIES		{ .program = LIAR }
#define INTO(r, n)	{ .program = PRODUCER, .ring = (r), .msgs = (n) }
#define REPLICA(r)	{ .program = STAGE, .ring = (r) }
#define WRAP		(~0ull)		/* the last ticket of all laps: the next one is 0 */

struct config configs[] = {
	{ .name = "pair", .what = "1 producer, 1 consumer, 2 slots, across the end of all laps",
	  .order = 1, .first = WRAP, .role = { P(4), CONS } },
	{ .name = "four", .coarse = 1, .what = "2 producers, 2 consumers, 2 slots, one dies anywhere",
	  .order = 1, .kills = 1, .first = WRAP, .role = { P(1), P(1), CONS, CONS } },
	{ .name = "full", .what = "2 producers, 1 consumer, 2 slots, full ring",
	  .order = 1, .first = WRAP, .role = { P(2), P(2), CONS } },
	{ .name = "full_kill", .what = "the same, and a producer dies anywhere",
	  .order = 1, .kills = 1, .first = WRAP, .role = { P(2), P(1), CONS } },
	{ .name = "discard", .what = "2 producers that may think better of it, 2 slots",
	  .order = 1, .discards = 1, .first = WRAP, .role = { P(2), P(2), CONS } },
	{ .name = "timeout", .coarse = 1, .what = "2 consumers, 1 of whom is late; timeouts anywhere",
	  .order = 1, .ticks = 2, .first = WRAP, .role = { P(2), CONS, CONS, TICKER } },
	{ .name = "timeout_buffer", .what = "timeouts and 1 buffer, 1 slot: reuse under a late consumer",
	  .order = 0, .nbufs = 1, .ticks = 2, .first = WRAP,
	  .role = { P(2), CONS, CONS, TICKER } },
	{ .name = "buffers", .what = "2 producers share 1 buffer, one of four dies anywhere",
	  .order = 1, .nbufs = 1, .kills = 1, .first = WRAP, .role = { P(1), P(1), CONS } },
	{ .name = "buffers_discard", .coarse = 1, .what = "buffers, discards and a death",
	  .order = 0, .nbufs = 1, .kills = 1, .discards = 1, .first = WRAP,
	  .role = { P(1), P(1), CONS, CONS } },
	{ .name = "both", .what = "producers sleep for a slot and a buffer at once",
	  .order = 0, .nbufs = 1, .both = 1, .first = WRAP, .role = { P(2), P(1), CONS } },
	{ .name = "run", .what = "runs of 2 claims, a consumer dies, 1 failure is fatal",
	  .order = 1, .run = 2, .kills = 1, .max_attempts = 1, .first = WRAP,
	  .role = { P(2), CONS, CONS } },
	{ .name = "nack", .what = "2 consumers, 2 NACKs",
	  .order = 1, .nacks = 2, .first = WRAP, .role = { P(2), CONS, CONS } },
	{ .name = "dead", .what = "NACK to the dead-letter stage, 1 letter fits, 1 buffer",
	  .order = 1, .nbufs = 1, .nacks = 2, .max_attempts = 1, .first = WRAP,
	  .role = { P(3), CONS, CONS } },
	{ .name = "delay", .coarse = 1, .what = "delayed NACK: the kernel keeps the claim",
	  .order = 0, .nacks = 1, .delay = 1, .ticks = UNLIMITED, .first = WRAP,
	  .role = { P(1), CONS, CONS, TICKER } },
	{ .name = "threads", .what = "two threads of one consumer, timeouts: may a token come again?",
	  .order = 0, .ticks = 3, .first = WRAP,
	  .role = { P(1), CONS, THREAD_OF(2), TICKER } },
	{ .name = "hang", .what = "a consumer stops for ever, the timer runs or rests",
	  .order = 0, .hangs = 1, .ticks = UNLIMITED, .max_attempts = 2, .first = WRAP,
	  .role = { P(1), CONS, CONS, TICKER } },
	{ .name = "renew", .what = "claims are renewed up to max_hold",
	  .order = 0, .renews = 2, .ticks = 3, .max_hold = 1, .first = WRAP,
	  .role = { P(1), CONS, CONS, TICKER } },
	{ .name = "evict", .what = "a living producer is late and put out",
	  .order = 1, .evict = 1, .ticks = 2, .first = WRAP, .role = { P(1), P(2), CONS, TICKER } },
	{ .name = "liar", .what = "words that name nobody",
	  .order = 1, .lies = 1, .ticks = UNLIMITED, .first = WRAP,
	  .role = { P(2), CONS, LIES, TICKER } },
	{ .name = "tell", .what = "senders wait for their ACK, a consumer dies",
	  .order = 0, .tell = 1, .kills = 1, .first = WRAP, .role = { P(1), P(1), CONS, CONS } },
	{ .name = "tell_sole", .what = "a sole producer waits for its ACKs, anybody dies",
	  .order = 1, .sole = 1, .tell = 1, .tso = 1, .kills = 1, .first = WRAP,
	  .role = { P(2), CONS, CONS } },
	{ .name = "tell_dead", .what = "senders wait for their ACK and get a dead letter",
	  .order = 0, .sole = 1, .tell = 1, .nacks = 1, .max_attempts = 1, .first = WRAP,
	  .role = { P(2), CONS, CONS } },
	{ .name = "write", .what = "write(2) faults for ever beside a producer",
	  .order = 1, .hangs = 1, .first = WRAP, .role = { WRITE(1), P(2), CONS } },
	{ .name = "worker", .what = "a worker thread takes a buffer for a process that dies",
	  .order = 0, .nbufs = 1, .kills = 1, .first = WRAP,
	  .role = { P(1), P(1), CONS, WORK_FOR(0) } },
	{ .name = "close", .what = "the stage is destroyed while a producer sleeps",
	  .order = 0, .first = WRAP, .role = { P(3), CONS, CLOSER } },
	{ .name = "sole", .what = "sole producer, 1 buffer, x86 store buffers, anybody dies",
	  .order = 1, .nbufs = 1, .sole = 1, .tso = 1, .kills = 1, .first = WRAP,
	  .role = { P(2), CONS, CONS } },
	{ .name = "sole_two", .what = "2 sole producers one after the other, write(2) beside them",
	  .order = 1, .sole = 1, .tso = 1, .first = WRAP, .role = { P(1), P(1), CONS, WRITE(1) } },
	{ .name = "sleep_tso", .what = "sole producer and consumer sleep and wake, store buffers",
	  .order = 0, .sole = 1, .tso = 1, .first = WRAP, .role = { P(3), CONS } },
	{ .name = "tso", .what = "2 producers, consumer, 1 buffer, store buffers",
	  .order = 1, .nbufs = 1, .tso = 1, .first = WRAP, .role = { P(1), P(1), CONS } },
	{ .name = "weak_hint", .what = "loads of the sleeper counts may be early",
	  .order = 0, .tso = 1, .weak = EARLY_HINT, .first = WRAP, .role = { P(2), P(1), CONS } },
	{ .name = "weak_word", .what = "loads of the word may be early, timeouts",
	  .order = 0, .weak = EARLY_WORD, .ticks = 2, .first = WRAP,
	  .role = { P(2), CONS, CONS, TICKER } },
	{ .name = "weak_data", .what = "loads of the message may be early",
	  .order = 1, .weak = EARLY_DATA, .first = WRAP, .role = { P(3), CONS, CONS } },
	{ .name = "queue", .what = "the kernel's queue, 1 slot, a sender dies",
	  .order = 0, .nbufs = 2, .post = 1, .kills = 1, .first = WRAP, .role = { P(3), CONS } },
	{ .name = "loop", .what = "2 stages in a circle, 1 slot each, 2 streams",
	  .rings = 2, .order = 0, .post = 1, .hops = 3, .first = WRAP,
	  .role = { REPLICA(0), REPLICA(1), INTO(0, 2) } },
	{ .name = NULL },
};

const struct mutant_info mutants[] = {
	{ .name = NULL },
};
