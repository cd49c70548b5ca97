// SPDX-License-Identifier: MIT
/* Description: the history checker finds each kind of violation, and nothing in a good history */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "history.h"

#define LOGS	8
#define ROOM	256

/*
 * Everything that is allowed: log 0 sends, 1 and 2 work, 3 is the end of the pipe, 4 kills and
 * looks in the end. Message 0 goes straight through. Message 1's worker dies with it, the next one
 * is too slow, the third has it. The worker of message 2 dies at its ACK: nobody knows. Message 3
 * is sent twice, since the producer died in its publish, and its copies leave the pipe once.
 * Message 4 is a dead letter, message 5 was refused for want of room and is sent again later; its
 * first worker gives it back, the second dies at its ACK.
 */
static const char good[] =
	"0 start id=1\n" "1 start id=2\n" "1 start id=3 lane=1\n" "2 start id=5\n"
	"2 start id=6 lane=1\n" "3 start id=4 lane=1\n" "1 generation value=7\n"
	"0 send counter=0\n" "0 sent counter=0 ticket=10\n"
	"1 delivered counter=0 ticket=10 attempt=1\n" "1 send lane=1 counter=0\n"
	"1 sent lane=1 counter=0 ticket=20\n" "1 ack counter=0 ticket=10 attempt=1\n"
	"1 acked counter=0 ticket=10 attempt=1\n" "0 told counter=0\n"
	"3 delivered lane=1 counter=0 ticket=20 attempt=1\n" "3 effect counter=0\n"
	"3 ack lane=1 counter=0 ticket=20 attempt=1\n"
	"3 acked lane=1 counter=0 ticket=20 attempt=1\n"
	/* 1: killed, late, done */
	"0 send counter=1\n" "0 sent counter=1 ticket=11\n"
	"1 delivered counter=1 ticket=11 attempt=1\n" "4 kill value=1\n"
	"2 delivered counter=1 ticket=11 attempt=2\n" "1 start id=7\n" "1 start id=8 lane=1\n"
	"1 delivered counter=1 ticket=11 attempt=3\n" "2 ack counter=1 ticket=11 attempt=2\n"
	"2 stale counter=1 ticket=11 attempt=2\n" "1 send lane=1 counter=1\n"
	"1 sent lane=1 counter=1 ticket=21\n" "1 ack counter=1 ticket=11 attempt=3\n"
	"1 acked counter=1 ticket=11 attempt=3\n" "1 generation value=9\n"
	/* 2: killed at the ACK */
	"0 send counter=2\n" "0 sent counter=2 ticket=12\n"
	"1 delivered counter=2 ticket=12 attempt=1\n" "1 send lane=1 counter=2\n"
	"1 sent lane=1 counter=2 ticket=22\n" "1 ack counter=2 ticket=12 attempt=1\n"
	"4 kill value=1\n" "1 start id=9\n" "1 start id=10 lane=1\n"
	/* 3: the producer died in its publish; the first copy was published */
	"0 send counter=3\n" "4 kill value=0\n" "0 start id=11\n" "0 send counter=3\n"
	"0 sent counter=3 ticket=14\n" "2 delivered counter=3 ticket=13 attempt=1\n"
	"2 send lane=1 counter=3\n" "2 sent lane=1 counter=3 ticket=23\n"
	"2 ack counter=3 ticket=13 attempt=1\n" "2 acked counter=3 ticket=13 attempt=1\n"
	"1 delivered counter=3 ticket=14 attempt=1\n" "1 send lane=1 counter=3\n"
	"1 sent lane=1 counter=3 ticket=24\n" "1 ack counter=3 ticket=14 attempt=1\n"
	"1 acked counter=3 ticket=14 attempt=1\n"
	/* 4: a dead letter, and its sender knows */
	"0 send counter=4\n" "0 sent counter=4 ticket=15\n"
	"1 delivered counter=4 ticket=15 attempt=1\n" "1 nacked counter=4 ticket=15 attempt=1\n"
	"2 delivered counter=4 ticket=15 attempt=2\n" "2 nacked counter=4 ticket=15 attempt=2\n"
	"5 dead counter=4 ticket=15\n" "0 failed counter=4\n"
	/* 5: no room at first; accepted by the kernel's queue, so without a ticket */
	"0 send counter=5\n" "0 unsent counter=5\n" "0 send counter=5\n"
	"0 sent counter=5 ticket=0xffffffffffffffff\n"
	"1 delivered counter=5 ticket=16 attempt=1\n" "1 nacked counter=5 ticket=16 attempt=1\n"
	"2 delivered counter=5 ticket=16 attempt=2\n" "2 send lane=1 counter=5\n"
	"2 sent lane=1 counter=5 ticket=25\n" "2 ack counter=5 ticket=16 attempt=2\n"
	/* the end of the pipe */
	"3 delivered lane=1 counter=1 ticket=21 attempt=1\n" "3 effect counter=1\n"
	"3 ack lane=1 counter=1 ticket=21 attempt=1\n"
	"3 acked lane=1 counter=1 ticket=21 attempt=1\n"
	"3 delivered lane=1 counter=2 ticket=22 attempt=1\n" "3 effect counter=2\n"
	"3 ack lane=1 counter=2 ticket=22 attempt=1\n"
	"3 acked lane=1 counter=2 ticket=22 attempt=1\n"
	"3 delivered lane=1 counter=3 ticket=23 attempt=1\n" "3 effect counter=3\n"
	"3 ack lane=1 counter=3 ticket=23 attempt=1\n"
	"3 acked lane=1 counter=3 ticket=23 attempt=1\n"
	"3 delivered lane=1 counter=3 ticket=24 attempt=1\n"
	"3 ack lane=1 counter=3 ticket=24 attempt=1\n"
	"3 acked lane=1 counter=3 ticket=24 attempt=1\n"
	"3 delivered lane=1 counter=5 ticket=25 attempt=1\n" "3 gave-up counter=4\n"
	"3 effect counter=5\n" "3 ack lane=1 counter=5 ticket=25 attempt=1\n"
	"3 acked lane=1 counter=5 ticket=25 attempt=1\n"
	"4 left lane=0 id=1 value=0\n" "4 left lane=1 id=1 value=0\n";

/*
 * A broadcast: log 0 sends and asks, 1 is there from the beginning to the end, 2 dies with message
 * 1 and comes back for 3, 3 joins late, asks for what is held, is put out with message 2, whose
 * sender hears of it, and misses the rest. Message 4 nobody gets to see: 5 is the next.
 */
static const char good_broadcast[] =
	"0 start id=1 ticket=0xffffffffffffffff\n" "1 start id=2 ticket=10\n"
	"2 start id=3 ticket=10\n" "0 send counter=0\n"
	"1 delivered counter=0 ticket=10 attempt=1\n" "1 ack counter=0 ticket=10 attempt=1\n"
	"1 acked counter=0 ticket=10 attempt=1\n" "2 delivered counter=0 ticket=10 attempt=1\n"
	"2 ack counter=0 ticket=10 attempt=1\n" "2 acked counter=0 ticket=10 attempt=1\n"
	"0 told counter=0\n" "0 send counter=1\n"
	"2 delivered counter=1 ticket=11 attempt=1\n" "4 kill value=2\n"
	"1 delivered counter=1 ticket=11 attempt=1\n" "3 start id=4 ticket=11\n"
	"3 delivered counter=1 ticket=11 attempt=1\n" "3 ack counter=1 ticket=11 attempt=1\n"
	"3 acked counter=1 ticket=11 attempt=1\n" "1 ack counter=1 ticket=11 attempt=1\n"
	"1 acked counter=1 ticket=11 attempt=1\n" "0 told counter=1\n" "0 send counter=2\n"
	"3 delivered counter=2 ticket=13 attempt=1\n" "1 delivered counter=2 ticket=13 attempt=1\n"
	"1 ack counter=2 ticket=13 attempt=1\n" "1 acked counter=2 ticket=13 attempt=1\n"
	"0 sent counter=2 ticket=0xffffffffffffffff\n" "2 start id=5 ticket=14\n"
	"0 send counter=3\n" "0 sent counter=3 ticket=14\n"
	"2 delivered counter=3 ticket=14 attempt=1\n" "1 delivered counter=3 ticket=14 attempt=1\n"
	"1 ack counter=3 ticket=14 attempt=1\n" "1 acked counter=3 ticket=14 attempt=1\n"
	"2 ack counter=3 ticket=14 attempt=1\n" "2 acked counter=3 ticket=14 attempt=1\n"
	"3 ack counter=2 ticket=13 attempt=1\n" "3 stale counter=2 ticket=13 attempt=1\n"
	"0 send counter=4\n" "0 unsent counter=4\n" "0 send counter=5\n"
	"0 sent counter=5 ticket=15\n" "1 delivered counter=5 ticket=15 attempt=1\n"
	"1 ack counter=5 ticket=15 attempt=1\n" "1 acked counter=5 ticket=15 attempt=1\n"
	"4 kill value=2\n" "1 end\n" "4 left lane=0 id=1 value=0\n";

/* One line of the good history is taken out (if there is one) and another put there. */
static const struct flaw {
	enum history_violation v;
	const char *what, *without, *with;
} flaws[] = {
	{ HISTORY_LOST, "never delivered again after a death",
	  "1 ack counter=0 ticket=10 attempt=1\n1 acked counter=0 ticket=10 attempt=1\n", "" },
	{ HISTORY_LOST, "sent and never delivered", NULL,
	  "0 send counter=6\n0 sent counter=6 ticket=17\n3 effect counter=6\n" },
	{ HISTORY_LOST, "accepted and never delivered", NULL,
	  "0 send counter=6\n0 sent counter=6 ticket=0xffffffffffffffff\n"
	  "3 effect counter=6\n" },
	{ HISTORY_LOST, "the last ACK came too late",
	  "1 acked counter=1 ticket=11 attempt=3\n", "1 stale counter=1 ticket=11 attempt=3\n" },
	{ HISTORY_LOST, "given back, and delivered to nobody any more",
	  "2 ack counter=5 ticket=16 attempt=2\n", "" },
	{ HISTORY_LOST, "a result is lost",
	  "3 ack lane=1 counter=2 ticket=22 attempt=1\n"
	  "3 acked lane=1 counter=2 ticket=22 attempt=1\n", "" },
	{ HISTORY_FALSE_TOLD, "told without an ACK", NULL, "0 told counter=4\n" },
	{ HISTORY_FALSE_TOLD, "told twice of one ACK", NULL, "0 told counter=0\n" },
	{ HISTORY_FALSE_FAILED, "told of a death that was none", NULL, "0 failed counter=1\n" },
	{ HISTORY_INVENTED, "nobody sent it", NULL,
	  "1 delivered stream=9 ticket=19 attempt=1\n" },
	{ HISTORY_INVENTED, "refused, and delivered all the same", NULL,
	  "2 delivered counter=5 ticket=17 attempt=1\n" },
	{ HISTORY_INVENTED, "an effect of nothing", NULL, "3 effect stream=9\n" },
	{ HISTORY_MIXED, "delivered as something else",
	  "2 delivered counter=1 ticket=11 attempt=2\n",
	  "2 delivered counter=0 ticket=11 attempt=2\n" },
	{ HISTORY_MIXED, "one ticket for two messages",
	  "0 sent counter=2 ticket=12\n", "0 sent counter=2 ticket=11\n" },
	{ HISTORY_DAMAGED, "the payload is not what was sent", NULL,
	  "1 corrupt counter=0 ticket=10 attempt=1\n" },
	{ HISTORY_SAME_ATTEMPT, "two consumers with one token",
	  "2 delivered counter=1 ticket=11 attempt=2\n",
	  "2 delivered counter=1 ticket=11 attempt=3\n" },
	{ HISTORY_ATTEMPTS, "more attempts than allowed", NULL,
	  "2 delivered counter=4 ticket=15 attempt=5\n" },
	{ HISTORY_ACKED_TWICE, "a late ACK was taken",
	  "2 stale counter=1 ticket=11 attempt=2\n", "2 acked counter=1 ticket=11 attempt=2\n" },
	{ HISTORY_AFTER_ACK, "delivered again although it was acknowledged", NULL,
	  "2 delivered counter=0 ticket=10 attempt=2\n" },
	{ HISTORY_DEAD_ACKED, "a dead letter of what was acknowledged", NULL,
	  "5 dead counter=0 ticket=10\n" },
	{ HISTORY_NOT_CLAIMED, "acknowledged by somebody else",
	  "1 ack counter=0 ticket=10 attempt=1\n1 acked counter=0 ticket=10 attempt=1\n",
	  "2 ack counter=0 ticket=10 attempt=1\n2 acked counter=0 ticket=10 attempt=1\n" },
	{ HISTORY_NOT_CLAIMED, "acknowledged by the successor of who claimed it",
	  "1 start id=7\n", "1 start id=7\n1 ack counter=1 ticket=11 attempt=1\n" },
	{ HISTORY_CONSUMER_ORDER, "an older first delivery comes later",
	  "3 delivered lane=1 counter=3 ticket=23 attempt=1\n",
	  "3 delivered lane=1 counter=3 ticket=26 attempt=1\n" },
	{ HISTORY_PRODUCER_ORDER, "the second send overtook the first",
	  "0 sent counter=0 ticket=10\n", "0 sent counter=0 ticket=19\n" },
	{ HISTORY_TIME_ORDER, "of two producers, the one that began later comes first", NULL,
	  "6 start id=30\n6 send stream=1\n6 sent stream=1 ticket=9\n" },
	{ HISTORY_EFFECT_TWICE, "a duplicate was let out", NULL, "3 effect counter=3\n" },
	{ HISTORY_EFFECT_TWICE, "given up and let out", NULL, "3 gave-up counter=1\n" },
	{ HISTORY_EFFECT_ORDER, "let out too early",
	  "3 effect counter=1\n3 ack lane=1 counter=1 ticket=21 attempt=1\n"
	  "3 acked lane=1 counter=1 ticket=21 attempt=1\n"
	  "3 delivered lane=1 counter=2 ticket=22 attempt=1\n3 effect counter=2\n",
	  "3 effect counter=2\n3 effect counter=1\n" },
	{ HISTORY_EFFECT_MISSING, "the last one never came out",
	  "3 effect counter=5\n", "" },
	{ HISTORY_EFFECT_MISSING, "given up without being dead",
	  "3 effect counter=5\n", "3 gave-up counter=5\n" },
	{ HISTORY_EPOCH, "a generation goes back",
	  "1 generation value=9\n", "1 generation value=6\n" },
	{ HISTORY_ID_REUSED, "two endpoints with one number",
	  "2 start id=5\n", "2 start id=2\n" },
	{ HISTORY_STUCK, "something is left",
	  "4 left lane=1 id=1 value=0\n", "4 left lane=1 id=1 value=2\n" },
	{ HISTORY_NO_END, "nobody looked",
	  "4 left lane=0 id=1 value=0\n4 left lane=1 id=1 value=0\n", "" },
	{ HISTORY_NONSENSE, "a lane that does not exist", NULL, "1 send lane=99\n" },
	{ HISTORY_NONSENSE, "a death of nobody", NULL, "4 kill value=77\n" },
};

static const struct flaw broadcast_flaws[] = {
	{ HISTORY_GAP, "a member did not get what others did",
	  "1 delivered counter=2 ticket=13 attempt=1\n1 ack counter=2 ticket=13 attempt=1\n"
	  "1 acked counter=2 ticket=13 attempt=1\n", "" },
	{ HISTORY_GAP, "the last message is missing",
	  "1 delivered counter=5 ticket=15 attempt=1\n1 ack counter=5 ticket=15 attempt=1\n"
	  "1 acked counter=5 ticket=15 attempt=1\n", "" },
	{ HISTORY_GAP, "a late joiner begins behind its first message",
	  "3 start id=4 ticket=11\n3 delivered counter=1 ticket=11 attempt=1\n"
	  "3 ack counter=1 ticket=11 attempt=1\n3 acked counter=1 ticket=11 attempt=1\n",
	  "3 start id=4 ticket=11\n" },
	{ HISTORY_GAP, "put out, and it goes on behind what it missed",
	  "4 kill value=2\n1 end\n", "3 send counter=9\n"
	  "3 delivered counter=5 ticket=15 attempt=1\n4 kill value=2\n1 end\n" },
	{ HISTORY_EARLY, "a joiner gets what was sent before",
	  "3 start id=4 ticket=11\n", "3 start id=4 ticket=12\n" },
	{ HISTORY_FREED, "over without the ACK of a member",
	  "1 acked counter=3 ticket=14 attempt=1\n", "1 stale counter=3 ticket=14 attempt=1\n" },
	{ HISTORY_FREED, "at the end, not acknowledged",
	  "1 ack counter=5 ticket=15 attempt=1\n1 acked counter=5 ticket=15 attempt=1\n", "" },
	{ HISTORY_FALSE_TOLD, "told while a member had it",
	  "1 ack counter=1 ticket=11 attempt=1\n1 acked counter=1 ticket=11 attempt=1\n"
	  "0 told counter=1\n", "0 told counter=1\n1 ack counter=1 ticket=11 attempt=1\n"
	  "1 acked counter=1 ticket=11 attempt=1\n" },
	{ HISTORY_NOT_CLAIMED, "acknowledged by a member that did not get it",
	  "2 start id=5 ticket=14\n",
	  "2 start id=5 ticket=14\n2 ack counter=2 ticket=13 attempt=1\n" },
	{ HISTORY_ACKED_TWICE, "two ACKs of one member",
	  "1 acked counter=3 ticket=14 attempt=1\n",
	  "1 acked counter=3 ticket=14 attempt=1\n1 acked counter=3 ticket=14 attempt=1\n" },
	{ HISTORY_CONSUMER_ORDER, "one message twice for a member",
	  "1 delivered counter=5 ticket=15 attempt=1\n",
	  "1 delivered counter=5 ticket=15 attempt=1\n"
	  "1 delivered counter=5 ticket=15 attempt=1\n" },
};

static const struct history_rules rules = {
	.max_attempts = { 4, 4 }, .effects = 1,
};

static const struct history_rules broadcast_rules = { .broadcast = true };

static void run_by(struct history *h, const struct history_rules *by, const char *text,
		   struct history_result *res)
{
	unsigned int line = history_parse(h, text);

	if (line)
		fail_msg("line %u of the history", line);
	assert_int_equal(0, history_check(h, by, res));
}

static void run(struct history *h, const char *text, struct history_result *res)
{
	run_by(h, &rules, text, res);
}

static void test_good(void **state)
{
	struct history_result res;
	struct history *h;

	assert_int_equal(0, history_create(&h, NULL, LOGS, ROOM));
	run(h, good, &res);
	if (res.nfound)
		fail_msg("%s", res.why[0]);
	assert_int_equal(3, res.kills);
	assert_int_equal(3, res.maybe);	/* the ACKs of 2 and 5, the first send of 3 */
	assert_int_equal(1, res.dead);
	assert_int_equal(5, res.effects);
	assert_int_equal(1, res.gave_up);
	assert_int_equal(1, res.stale);
	assert_int_equal(1, res.nlatency);
	history_result_free(&res);
	history_close(h);
}

static void test_good_broadcast(void **state)
{
	struct history_result res;
	struct history *h;

	assert_int_equal(0, history_create(&h, NULL, LOGS, ROOM));
	run_by(h, &broadcast_rules, good_broadcast, &res);
	if (res.nfound)
		fail_msg("%s", res.why[0]);
	assert_int_equal(10, res.delivered);
	assert_int_equal(8, res.acked);
	assert_int_equal(2, res.told);
	history_result_free(&res);
	history_close(h);
}

static void change(char *out, size_t size, const char *from, const struct flaw *f)
{
	const char *at = f->without ? strstr(from, f->without) : from + strlen(from);

	if (!at)
		fail_msg("'%s': its lines are not in the good history", f->what);
	snprintf(out, size, "%.*s%s%s", (int)(at - from), from, f->with,
		 at + (f->without ? strlen(f->without) : 0));
}

static void must_find(const char *from, const struct history_rules *by, const struct flaw *f)
{
	char text[sizeof(good) + sizeof(good_broadcast) + 1024];
	struct history_result res;
	struct history *h;

	assert_int_equal(0, history_create(&h, NULL, LOGS, ROOM));
	change(text, sizeof(text), from, f);
	run_by(h, by, text, &res);
	if (!res.found[f->v])
		fail_msg("'%s' was not found; %s", f->what,
			 res.nfound ? res.why[0] : "nothing was");
	history_result_free(&res);
	history_close(h);
}

static void test_flaws(void **state)
{
	size_t i;

	for (i = 0; i < sizeof(flaws) / sizeof(flaws[0]); i++)
		must_find(good, &rules, &flaws[i]);
}

static void test_broadcast_flaws(void **state)
{
	size_t i;

	for (i = 0; i < sizeof(broadcast_flaws) / sizeof(broadcast_flaws[0]); i++)
		must_find(good_broadcast, &broadcast_rules, &broadcast_flaws[i]);
}

/* Each kind has a flaw above, or a test of its own. */
static void test_all_kinds(void **state)
{
	bool seen[HISTORY_VIOLATIONS] = { [HISTORY_EMPTY] = true, [HISTORY_OVERFLOW] = true };
	size_t i;

	for (i = 0; i < sizeof(flaws) / sizeof(flaws[0]); i++)
		seen[flaws[i].v] = true;
	for (i = 0; i < sizeof(broadcast_flaws) / sizeof(broadcast_flaws[0]); i++)
		seen[broadcast_flaws[i].v] = true;
	for (i = 0; i < HISTORY_VIOLATIONS; i++) {
		assert_non_null(history_violation_name((enum history_violation)i));
		if (!seen[i])
			fail_msg("no history has '%s'",
				 history_violation_name((enum history_violation)i));
	}
}

static void test_empty(void **state)
{
	struct history_result res;
	struct history *h;

	assert_int_equal(0, history_create(&h, NULL, LOGS, ROOM));
	run(h, "0 start id=1\n0 left value=0\n", &res);
	assert_int_equal(1, res.found[HISTORY_EMPTY]);
	assert_int_equal(1, res.nfound);
	history_close(h);
}

static void test_full(void **state)
{
	struct history_result res;
	struct history *h;
	int i;

	assert_int_equal(0, history_create(&h, NULL, LOGS, ROOM));
	for (i = 0; i < ROOM + 3; i++)
		history_add(h, 2, (struct history_event) { .what = HISTORY_START, .id = 1 });
	assert_int_equal(3, history_full(h, 2));
	run(h, good, &res);
	assert_int_equal(1, res.found[HISTORY_OVERFLOW]);
	history_result_free(&res);
	history_close(h);
}

/* What was cut off is not lost. */
static void test_unfinished(void **state)
{
	struct history_rules cut = rules;
	struct history_result res;
	struct history *h;

	cut.unfinished = true;
	assert_int_equal(0, history_create(&h, NULL, LOGS, ROOM));
	assert_int_equal(0, history_parse(h, "0 start id=1\n0 send\n0 sent ticket=3\n1 start id=2\n"
					  "1 delivered ticket=3 attempt=1\n"));
	assert_int_equal(0, history_check(h, &cut, &res));
	assert_int_equal(0, res.nfound);
	history_close(h);
}

static uint64_t found(const struct history_rules *by, enum history_violation v, const char *text)
{
	struct history_result res;
	struct history *h;
	uint64_t n;

	assert_int_equal(0, history_create(&h, NULL, LOGS, ROOM));
	run_by(h, by, text, &res);
	n = res.found[v];
	assert_int_equal(n, res.nfound);
	history_result_free(&res);
	history_close(h);
	return n;
}

#define OVER(log, n, t) \
	log " delivered counter=" n " ticket=" t " attempt=1\n" \
	log " ack counter=" n " ticket=" t " attempt=1\n" \
	log " acked counter=" n " ticket=" t " attempt=1\n"

/* Under a policy what was for another may come late; without one it may not. */
static void test_late(void **state)
{
	static const char late[] =
		"0 start id=1\n1 start id=2\n0 send counter=0\n0 sent counter=0 ticket=3\n"
		"0 send counter=1\n0 sent counter=1 ticket=4\n" OVER("1", "1", "4")
		OVER("1", "0", "3") "2 left value=0\n";
	static const struct history_rules with = { .late = true }, without = { 0 };

	assert_int_equal(0, found(&with, HISTORY_CONSUMER_ORDER, late));
	assert_int_equal(1, found(&without, HISTORY_CONSUMER_ORDER, late));
}

/* Messages come into a pipe on two lanes: each has to leave it where the rules say so. */
static void test_two_lanes_in(void **state)
{
	static const char no_effect[] =
		"0 start id=1 lane=3\n1 start id=2 lane=3\n0 send lane=3\n"
		"0 sent lane=3 ticket=3\n1 delivered lane=3 ticket=3 attempt=1\n"
		"1 ack lane=3 ticket=3 attempt=1\n1 acked lane=3 ticket=3 attempt=1\n"
		"2 left value=0\n";
	static const struct history_rules first = { .effects = 1 }, both = { .effects = 1 | 8 };
	char text[sizeof(no_effect) + 64];

	assert_int_equal(0, found(&first, HISTORY_EFFECT_MISSING, no_effect));
	assert_int_equal(1, found(&both, HISTORY_EFFECT_MISSING, no_effect));
	snprintf(text, sizeof(text), "%s2 effect lane=3\n", no_effect);
	assert_int_equal(0, found(&both, HISTORY_EFFECT_MISSING, text));
}

/* A writer that is killed anywhere leaves whole events, without a gap, and a file that opens. */
static void test_kill(void **state)
{
	char path[] = "/tmp/history_test.XXXXXX";
	uint64_t n, i, longest = 0;
	struct history *h, *again;
	unsigned int round;

	close(mkstemp(path));
	assert_int_equal(0, history_create(&h, path, 2, 1 << 20));
	for (round = 0; round < 50; round++) {
		const struct history_event *e;
		pid_t pid;

		history_reset(h);
		pid = fork();
		for (i = 0; !pid; i++)
			history_add(h, 1, (struct history_event) {
				.what = HISTORY_SEND, .counter = i, .stream = ~i, .ticket = 3 * i,
			});
		usleep(200 + 100 * round);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		assert_int_equal(0, history_open(&again, path));
		e = history_read(again, 1, &n);
		for (i = 0; i < n; i++)
			if (e[i].counter != i || e[i].stream != ~i || e[i].ticket != 3 * i)
				fail_msg("event %llu is not whole", (unsigned long long)i);
		longest = n > longest ? n : longest;
		history_close(again);
	}
	assert_true(longest > 100);
	history_close(h);
	unlink(path);
}

/* What is written as text says the same when it is read. */
static void test_text(void **state)
{
	struct history_result first, second;
	struct history *h, *copy;
	size_t size;
	char *text;
	FILE *f;

	assert_int_equal(0, history_create(&h, NULL, LOGS, ROOM));
	run(h, good, &first);
	f = open_memstream(&text, &size);
	assert_int_equal(0, history_write(h, f));
	fclose(f);
	assert_int_equal(0, history_create(&copy, NULL, LOGS, ROOM));
	run(copy, text, &second);
	assert_int_equal(first.events, second.events);
	assert_int_equal(first.nlatency, second.nlatency);
	assert_int_equal(first.latency[0], second.latency[0]);
	assert_int_equal(0, second.nfound);
	history_result_free(&first);
	history_result_free(&second);
	history_close(h);
	history_close(copy);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_good_broadcast),
		cmocka_unit_test(test_flaws),
		cmocka_unit_test(test_broadcast_flaws),
		cmocka_unit_test(test_all_kinds),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_unfinished),
		cmocka_unit_test(test_late),
		cmocka_unit_test(test_two_lanes_in),
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
