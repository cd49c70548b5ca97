// SPDX-License-Identifier: MIT
/* round.c: load and kills for a while, then everything has to come to rest; and the idle phase. */
#include <stdio.h>
#include <string.h>

#include "storm.h"

/* Kinds of things that may be left, as HISTORY_LEFT says them. */
enum left { LEFT_READY = 1, LEFT_CLAIMED, LEFT_WRITING, LEFT_DEAD, LEFT_QUEUED, LEFT_BUFFERS,
	    LEFT_ENDPOINTS };

/* ------------------------------------------------------------------ rest --- */

static bool at_rest(struct storm *s)
{
	struct sluice_info info;
	unsigned int lane;

	for (lane = 0; lane < LANES; lane++) {
		if (!lane_exists(s, (enum lane)lane))
			continue;
		if (s->backend->info(s, (enum lane)lane, &info))
			return false;
		if (info.ready || info.claimed || info.writing || info.dead || info.queued)
			return false;
	}
	return true;
}

/* The producers are done: what is under way has to arrive without anybody's help. */
static void drain(struct storm *s)
{
	uint64_t start = history_now(), deadline = start + 30 * s->opt.scale * SECOND, took;

	while (!at_rest(s) && history_now() < deadline) {
		seats_look(s, true);
		seats_continue(s);
		s->backend->tick(s);
		sleep_us(1000);
	}
	took = history_now() - start;
	if (took > s->tally.worst_drain_ns)
		s->tally.worst_drain_ns = took;
}

static void note_left(struct storm *s, enum lane lane, enum left kind, uint64_t n)
{
	history_add(s->history, s->parent_log, (struct history_event) {
		.what = HISTORY_LEFT, .lane = (uint8_t)lane, .id = kind, .value = n,
	});
}

static void note_end_of(struct storm *s, enum lane lane)
{
	struct sluice_info info;

	if (s->backend->info(s, lane, &info)) {
		note_left(s, lane, LEFT_READY, 1);
		return;
	}
	note_left(s, lane, LEFT_READY, info.ready);
	note_left(s, lane, LEFT_CLAIMED, info.claimed);
	note_left(s, lane, LEFT_WRITING, info.writing);
	note_left(s, lane, LEFT_DEAD, info.dead);
	note_left(s, lane, LEFT_QUEUED, info.queued);
	note_left(s, lane, LEFT_BUFFERS, info.buffers_used);
	note_left(s, lane, LEFT_ENDPOINTS, info.producers + info.consumers);
}

/* Everybody has gone. */
static void note_end(struct storm *s)
{
	unsigned int lane;

	for (lane = 0; lane < LANES; lane++)
		if (lane_exists(s, (enum lane)lane))
			note_end_of(s, (enum lane)lane);
}

static void end_round(struct storm *s)
{
	/* the budget does not end what a producer has begun */
	seats_end(s, 1);
	drain(s);
	seats_end(s, 2);
	/* One that was held up between its look at its claim and its publish has sent a copy since. */
	drain(s);
	seats_end(s, 3);
	note_end(s);
}

static int begin_round(struct storm *s)
{
	unsigned int i;
	int ret = 0;

	history_reset(s->history);
	s->round++;
	s->stop = 0;
	s->budget = 0;
	for (i = 0; i < s->nseats && !ret; i++)
		ret = seat_start(s, &s->seat[i]);
	return ret;
}

static int check_round(struct storm *s, struct history_result *res)
{
	struct history_rules rules = {
		.effects = s->opt.broadcast ? 0 : 1u << LANE_IN | 1u << LANE_HIGH,
		.late = s->opt.policies, .broadcast = s->opt.broadcast,
	};
	struct history_result now;
	int ret = history_check(s->history, &rules, &now);

	if (ret)
		return ret;
	if (now.nfound && s->opt.keep && !s->kept && !history_save(s->history, s->opt.keep)) {
		s->kept = true;
		printf("# the history of this round is in %s (see history-check)\n", s->opt.keep);
	}
	return history_result_add(res, &now);
}

/* ----------------------------------------------------------------- storm --- */

static void one_kill(struct storm *s)
{
	struct seat *seat = &s->seat[below(&s->rng, s->nseats)];
	uint32_t how = below(&s->rng, 100);
	enum order order = ORDER_EXIT;
	bool done;

	if (how < 5) {
		seat_stop(s, seat);
		return;
	}
	/* most of those that are stopped shall live to be late */
	if (seat->continue_at && how % 16)
		return;
	if (s->backend->has_descriptors && how < 24)
		order = (enum order)(ORDER_EXIT + below(&s->rng, ORDERS - ORDER_EXIT));
	else if (how >= 8)
		order = ORDER_NONE;
	done = order == ORDER_NONE ? seat_kill(s, seat) : seat_order(s, seat, order);
	s->tally.kills += done;
}

/* Another one at every kill; broadcast stays what it is, and nothing else becomes it. */
static void change_policy(struct storm *s)
{
	enum lane lane = s->opt.classes && below(&s->rng, 2) ? LANE_HIGH : LANE_IN;
	enum sluice_policy policy = (enum sluice_policy)below(&s->rng, SLUICE_POLICY_BROADCAST);

	if (!s->opt.policies)
		return;
	if (s->backend->set_policy(s, lane, policy))
		s->tally.bad_ends++;
	s->tally.policies++;
}

/**
 * storm_round() - so many kills under load, then rest and judgement
 * Return: 0 (see @res for what was found), or a negative errno value.
 */
int storm_round(struct storm *s, unsigned int kills, struct history_result *res)
{
	uint64_t first = s->tally.kills, ticked = 0;
	int ret = begin_round(s);

	if (ret)
		return ret;
	while (s->tally.kills - first < kills && !s->tally.bad_ends) {
		uint64_t done = s->tally.kills - first;

		/* the load is spread over all kills of the round */
		__atomic_store_n(&s->budget, (uint32_t)((done + 1) * s->opt.messages / kills),
				 __ATOMIC_RELAXED);
		seats_look(s, true);
		seats_continue(s);
		if (history_now() - ticked > 2 * MS) {
			s->backend->tick(s);
			ticked = history_now();
		}
		sleep_us(below(&s->rng, s->opt.spread_us));
		change_policy(s);
		one_kill(s);
	}
	end_round(s);
	return check_round(s, res);
}

/* ------------------------------------------------------------------ idle --- */

static struct seat *holder(struct storm *s)
{
	uint64_t deadline = history_now() + 10 * s->opt.scale * SECOND;
	unsigned int i;

	while (history_now() < deadline) {
		for (i = 0; i < s->nseats; i++)
			if (__atomic_load_n(&s->seat[i].holds, __ATOMIC_ACQUIRE))
				return &s->seat[i];
		sleep_us(200);
	}
	return NULL;
}

/**
 * storm_idle() - death to redelivery on an idle consumer
 *
 * One message at a time. Who gets it first holds it, every other time with a command parked, and
 * is killed; the others sleep. Return: 0, or a negative errno value.
 */
int storm_idle(struct storm *s, unsigned int kills, struct history_result *res)
{
	struct seat *seat;
	unsigned int i;
	int ret;

	s->idle = 1;
	ret = begin_round(s);
	if (ret)
		return ret;
	for (i = 0; i < kills; i++) {
		__atomic_store_n(&s->budget, i + 1, __ATOMIC_RELAXED);
		seat = holder(s);
		if (!seat) {
			fprintf(stderr, "# idle: nobody got message %u\n", i);
			s->tally.bad_ends++;
			break;
		}
		sleep_us(3000);		/* everybody else is asleep by now */
		s->tally.kills += seat_kill(s, seat);
		drain(s);
		/* whoever sits down now is asleep, too, before the next message comes */
		seats_look(s, true);
		sleep_us(5000 * s->opt.scale);
	}
	end_round(s);
	s->idle = 0;
	return check_round(s, res);
}
