// SPDX-License-Identifier: MIT
/*
 * explore.c: one scenario. The first client stops after every instruction that changed the ring
 * (and after some that only read); from there the second one does its operation, and stops in the
 * same way. At each place one of them dies, or both, or one while the other goes on, or one is
 * late.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"

/* those by which a producer chooses; shared is before them, broadcast behind */
#define NPOLICIES	(SLUICE_POLICY_BROADCAST - 1)
#define READ_STOPS	96	/* one in so many instructions that change nothing is a stop, too */

struct figures figures;

static struct {
	uint32_t	number;
	const struct scenario *scenario;
	uint32_t	first_at, second_at;	/* instructions */
	const char	*what;
} here;

static uint64_t rng;

static uint32_t below(uint32_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)((rng >> 33) % n);
}

/* --------------------------------------------------------------- scenarios --- */

uint32_t scenario_count(void)
{
	return nprefills * KINDS * noperations * (NSECOND + 1);
}

static bool operation_fits(const struct scenario *s, uint32_t operation)
{
	if (operation == NONE)
		return true;
	return !s->broadcast || !operations[operation].not_broadcast;
}

/* False: there is none of that number. */
bool scenario_get(uint32_t number, struct scenario *s)
{
	uint32_t n = number;
	unsigned int where;

	memset(s, 0, sizeof(*s));
	s->second = n % (NSECOND + 1);
	n /= NSECOND + 1;
	s->first = n % noperations;
	n /= noperations;
	s->prefill = n % nprefills;
	n /= nprefills;
	s->sole = n == 1;
	s->broadcast = n == 2 || n == 3;
	s->waits = n == 3;
	if (n == 4)
		s->policy = 1 + (s->prefill + 3 * s->first + s->second) % NPOLICIES;
	if (s->second == NSECOND)
		s->second = NONE;
	s->sleepers = (s->prefill + s->first + s->second) & 1;
	s->wrap = (s->first + s->second) >> 1 & 1;
	where = prefills[s->prefill].where;
	if (s->broadcast)
		return !(where & NOT_BROADCAST) && operation_fits(s, s->first) &&
		       operation_fits(s, s->second);
	if (where & BROADCAST_ONLY)
		return false;
	if (s->policy)
		return !(where & NOT_POLICY);
	if (!s->sole)
		return true;
	return operations[s->first].role == SLUICE_PRODUCER && !(where & NOT_SOLE) &&
	       (s->second == NONE || operations[s->second].role == SLUICE_CONSUMER);
}

int scenario_describe(const struct scenario *s, char *text, size_t size)
{
	return snprintf(text, size, "%s%s%s%s%s%s; first %s, second %s", prefills[s->prefill].name,
			s->wrap ? ", at the last ticket of all laps" : "",
			s->sole ? ", sole producer" : s->waits ? ", patient broadcast" :
			s->broadcast ? ", broadcast" : "", s->policy ? ", policy " : "",
			s->policy ? sluice_policy_name(s->policy) : "", s->sleepers ? ", with sleepers" : "",
			operations[s->first].name,
			s->second == NONE ? "nobody" : operations[s->second].name);
}

void violated(const char *fmt, ...)
{
	char text[256];
	va_list args;

	scenario_describe(here.scenario, text, sizeof(text));
	printf("not ok 1 - ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n# scenario %u: %s\n# the first stopped after %u instructions, the second after "
	       "%u; %s\n# again: tests/crash/run --seed %llu --scenario %u\n1..1\n", here.number,
	       text, here.first_at, here.second_at, here.what, (unsigned long long)seed,
	       here.number);
	fflush(stdout);
	steps_exit();
	exit(1);
}

static void attach(struct client *c, enum sluice_role role, uint32_t flags, uint32_t first_id)
{
	if (world_attach(c, role, flags)) {
		fprintf(stderr, "crash: a client cannot attach\n");
		exit(2);
	}
	c->next_id = first_id;
}

static void begin(const struct scenario *s)
{
	struct sluice_create create = { .name = "crash", .nslots = NSLOTS, .nbufs = NBUFS,
					.bufsize = BUFSIZE };
	struct client *c = world->client, *producer = &c[s->sole ? FIRST : WRITER];
	uint32_t role = s->second == NONE ? SLUICE_CONSUMER : operations[s->second].role;
	int who;

	create.policy = s->broadcast ? SLUICE_POLICY_BROADCAST : s->policy;
	if (s->waits)
		create.flags = SLUICE_CREATE_SLOW_WAITS;
	world_reset();
	world->broadcast = s->broadcast;
	world->waits = s->waits;
	world->policy = s->policy;
	world->join_flags = s->broadcast && (s->prefill ^ s->first) & 1 ? SLUICE_ATTACH_OLDEST : 0;
	world->reaper = reaper_create(&create, s->wrap ? ticket_mask(3) - 1 : 0);
	world->memory = reaper_memory(world->reaper);
	if (s->sole)
		attach(&c[FIRST], SLUICE_PRODUCER, SLUICE_ATTACH_SOLE, 0);
	else
		attach(&c[FIRST], operations[s->first].role, 0, 32);
	attach(&c[SECOND], role, 0, 48);
	attach(&c[HELPER], SLUICE_CONSUMER, 0, 0);
	if (!s->sole)
		attach(&c[WRITER], SLUICE_PRODUCER, 0, 0);
	prefills[s->prefill].make(producer);
	if (s->sole)
		c[FIRST].next_id = 32;
	/* A look at the table is many steps, and none of them changes the ring. */
	for (who = FIRST; s->policy && who <= SECOND; who++)
		__sluice_members_changed(&c[who].ep);
	world->memory.hints->ready_sleepers = world->memory.hints->room_sleepers = s->sleepers;
	ring_changed();
}

/* ------------------------------------------------------------ crash states --- */

#define SEEN_BITS	21
static uint64_t *images;

/* Was there a ring like this before, with the same death? */
static void count_state(uint32_t what)
{
	uint64_t h = ring_hash() ^ (what + 1) * 0x9e3779b97f4a7c15ull;
	uint32_t at = (uint32_t)(h >> (64 - SEEN_BITS)), tries;

	figures.states++;
	if (!images)
		images = calloc(1u << SEEN_BITS, sizeof(*images));
	for (tries = 0; images && tries < 64; tries++) {
		uint64_t *image = &images[(at + tries) & ((1u << SEEN_BITS) - 1)];

		if (*image == h)
			return;
		if (!*image) {
			*image = h;
			figures.distinct++;
			return;
		}
	}
}

/* These die here, and nobody goes on. */
static void die_here(uint32_t dead, const char *what, const struct copy *copy)
{
	here.what = what;
	count_state(dead);
	check_deaths(dead);
	check_end();
	world_restore(copy);
}

/* One dies, or nobody, and the other goes on to the end of its operation. */
static void go_on(uint32_t dead, enum who goes, const char *what, const struct copy *copy)
{
	here.what = what;
	count_state(dead | 16);
	figures.resumed++;
	check_deaths(dead);
	/* somebody may join at any moment, and then the other goes on */
	if (world->broadcast)
		join();
	client_finish(goes);
	check_finished(&world->client[goes]);
	check_end();
	world_restore(copy);
}

static void late_here(enum who late, const char *what, const struct copy *copy)
{
	here.what = what;
	count_state(32u << late);
	figures.late++;
	if (check_late(late)) {
		client_finish(late);
		check_finished(&world->client[late]);
	}
	check_end();
	world_restore(copy);
}

/* ------------------------------------------------------------------ stops --- */

static bool stops_here(bool *changed)
{
	*changed = ring_changed();
	figures.changes += *changed;
	return *changed || !below(READ_STOPS);
}

/*
 * Both are somewhere; the second is at the end of its operation if @over. Where the memory is as
 * it was at the last stop, only what goes on from there is new.
 */
static void both_stopped(bool changed, bool over)
{
	static struct copy copy;

	world_save(&copy);
	if (changed) {
		die_here(bit(SECOND), "the second dies", &copy);
		die_here(bit(FIRST), "the first dies", &copy);
		die_here(bit(FIRST) | bit(SECOND), "both die", &copy);
	}
	go_on(bit(SECOND), FIRST, "the second dies, the first goes on", &copy);
	if (over) {
		go_on(0, FIRST, "the second is done, the first goes on", &copy);
		late_here(FIRST, "the second is done, the first is late", &copy);
	} else {
		go_on(bit(FIRST), SECOND, "the first dies, the second goes on", &copy);
		late_here(SECOND, "the second is late", &copy);
	}
}

static void second_moves(const struct scenario *s)
{
	bool more = true, changed;

	here.second_at = 0;
	client_start(SECOND, s->second);
	while (more) {
		more = client_step(SECOND);
		here.second_at++;
		if (stops_here(&changed) || !more)
			both_stopped(changed, !more);
	}
	check_finished(&world->client[SECOND]);
}

static void first_stopped(const struct scenario *s)
{
	static struct copy copy;
	static struct context context;

	world_save(&copy);
	context_save(FIRST, &context);
	here.second_at = 0;
	die_here(bit(FIRST), "the first dies", &copy);
	late_here(FIRST, "the first is late", &copy);
	if (s->second == NONE)
		return;
	second_moves(s);
	world_restore(&copy);
	context_restore(FIRST, &context);
	ring_changed();
}

void scenario_explore(uint32_t number, const struct scenario *s)
{
	bool more = true, changed;

	rng = (seed + 1) * 0x9e3779b97f4a7c15ull ^ (number + 1) * 0xbf58476d1ce4e5b9ull;
	here.number = number;
	here.scenario = s;
	here.first_at = here.second_at = 0;
	here.what = "nobody dies";
	begin(s);
	client_start(FIRST, s->first);
	first_stopped(s);
	while (more) {
		more = client_step(FIRST);
		here.first_at++;
		if (stops_here(&changed) && more)
			first_stopped(s);
	}
	here.what = "nobody dies";
	check_finished(&world->client[FIRST]);
	check_end();
	figures.scenarios++;
}
