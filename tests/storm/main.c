// SPDX-License-Identifier: MIT
/* main.c: the options of a kill storm, and what is said about it. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "storm.h"

static const char usage[] =
	"usage: storm [OPTION...]\n"
	"\n"
	"Producers, workers and the end of a pipe, killed all the time. Everything that was sent\n"
	"for certain has one effect, in the order of its stream; nothing is stuck in the end.\n"
	"Or a broadcast: whoever is there gets everything, once, in order, without a gap.\n"
	"\n"
	"  --user           rings in plain memory, recovery by the module's own code in this\n"
	"                   process (default)\n"
	"  --module         rings of the module, which must be loaded; see scripts/box\n"
	"  --kills N        processes ended by force (default 1000)\n"
	"  --seconds N      or fewer: no round begins after that time\n"
	"  --round N        of these so many between two times of rest (default 250)\n"
	"  --messages N     of each producer in a round (default 4000)\n"
	"  --producers N    default 3\n"
	"  --workers N      default 3\n"
	"  --calls          --module: producers call and wait, workers answer; no second ring\n"
	"  --classes        --module: messages of two classes of priority; workers claim from both\n"
	"  --policies       the policy of the workers' ring is another one all the time\n"
	"  --broadcast      the workers are members of a broadcast, and there is no second ring\n"
	"  --spread US      time between two kills, at most (default 2000)\n"
	"  --idle N         --module: then kill an idle pipeline's workers so often, one message\n"
	"                   at a time, and say how long each redelivery took (default 0)\n"
	"  --no-uring       --module: by poll and ioctl only\n"
	"  --seed N         of what is chosen; the moments are the machine's\n"
	"  --keep FILE      save the history of the first round in which something is wrong\n"
	"\n"
	"examples:\n"
	"  storm --kills 10000\n"
	"  tests/storm/run --kills 1000 --idle 50 --seed 7\n";

static unsigned int number(const char *text, const char *name, unsigned long least,
			   unsigned long most)
{
	char *end;
	unsigned long n = strtoul(text, &end, 0);

	if (!*text || *end || n < least || n > most) {
		fprintf(stderr, "storm: --%s wants a number from %lu to %lu, not '%s'\n", name,
			least, most, text);
		exit(2);
	}
	return (unsigned int)n;
}

/* Who execs itself lingers as somebody else for a while. */
static void linger(const char *ms)
{
	sleep_us((uint32_t)atoi(ms) * 1000);
	exit(0);
}

/* Is there time for one more round? */
static bool time_left(const struct options *o, uint64_t start)
{
	return !o->seconds || history_now() - start < o->seconds * (uint64_t)SECOND;
}

static const struct option long_options[] = {
	{ "user", no_argument, NULL, 'u' }, { "module", no_argument, NULL, 'm' },
	{ "kills", required_argument, NULL, 'k' }, { "seconds", required_argument, NULL, 't' },
	{ "round", required_argument, NULL, 'r' },
	{ "messages", required_argument, NULL, 'n' },
	{ "producers", required_argument, NULL, 'p' }, { "workers", required_argument, NULL, 'w' },
	{ "spread", required_argument, NULL, 'd' }, { "idle", required_argument, NULL, 'i' },
	{ "broadcast", no_argument, NULL, 'b' }, { "calls", no_argument, NULL, 'C' },
	{ "classes", no_argument, NULL, 'c' },
	{ "policies", no_argument, NULL, 'P' }, { "no-uring", no_argument, NULL, 'x' },
	{ "seed", required_argument, NULL, 's' },
	{ "keep", required_argument, NULL, 'K' }, { "linger", required_argument, NULL, 'l' },
	{ "help", no_argument, NULL, 'h' }, { 0 },
};

static void set_option(struct options *o, int c)
{
	switch (c) {
	case 'u':
	case 'm':
		o->module = c == 'm';
		break;
	case 'k':
		o->kills = number(optarg, "kills", 1, 10000000);
		break;
	case 't':
		o->seconds = number(optarg, "seconds", 1, 1000000);
		break;
	case 'r':
		o->round_kills = number(optarg, "round", 1, 100000);
		break;
	case 'n':
		o->messages = number(optarg, "messages", 1, PRODUCER_LIMIT);
		break;
	case 'p':
		o->producers = number(optarg, "producers", 1, MAX_PRODUCERS);
		break;
	case 'w':
		o->workers = number(optarg, "workers", 1, MAX_SEATS - MAX_PRODUCERS - 2);
		break;
	case 'd':
		o->spread_us = number(optarg, "spread", 1, 1000000);
		break;
	case 'i':
		o->idle = number(optarg, "idle", 0, 100000);
		break;
	case 'b':
		o->broadcast = true;
		break;
	case 'C':
		o->calls = true;
		break;
	case 'c':
		o->classes = true;
		break;
	case 'P':
		o->policies = true;
		break;
	case 'x':
		o->no_uring = true;
		break;
	case 's':
		o->seed = strtoull(optarg, NULL, 0);
		break;
	case 'K':
		o->keep = optarg;
		break;
	case 'l':
		linger(optarg);
		break;
	case 'h':
		fputs(usage, stdout);
		exit(0);
	default:
		exit(2);
	}
}

static struct options parse(int argc, char **argv)
{
	const char *scale = getenv("SLUICE_TEST_SCALE");
	struct options o = {
		.kills = 1000, .round_kills = 250, .messages = 4000, .producers = 3, .workers = 3,
		.spread_us = 2000,
		.scale = scale && atoi(scale) > 1 ? (unsigned int)atoi(scale) : 1,
	};
	int c;

	if (getrandom(&o.seed, 4, 0) != 4)
		o.seed = history_now();
	while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1)
		set_option(&o, c);
	if (optind < argc) {
		fprintf(stderr, "storm: '%s' is too much (see --help)\n", argv[optind]);
		exit(2);
	}
	if ((o.calls || o.classes) && !o.module) {
		fputs("storm: --calls and --classes go with --module\n", stderr);
		exit(2);
	}
	if (o.classes && o.producers < 3) {
		fputs("storm: --classes wants three producers: the first two send to the low one\n",
		      stderr);
		exit(2);
	}
	if (o.calls + o.classes + o.broadcast > 1 || (o.policies && o.broadcast)) {
		fputs("storm: one of --calls, --classes and --broadcast; --policies not with "
		      "--broadcast\n", stderr);
		exit(2);
	}
	return o;
}

/* ------------------------------------------------------------------ setup --- */

static void add_seat(struct storm *s, enum role role)
{
	struct seat *seat = &s->seat[s->nseats];

	seat->role = role;
	seat->log = s->nseats++;
}

/* In shared memory: children are told things and say things. The undertaker follows the sink. */
static struct storm *make(struct options opt)
{
	struct storm *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t events = 64ull * opt.messages + 200ull * opt.round_kills + 4096;
	unsigned int i;
	int ret;

	if (s == MAP_FAILED)
		return NULL;
	s->opt = opt;
	s->backend = opt.module ? &module_backend : &user_backend;
	s->rng = mix(opt.seed, 1) | 1;
	for (i = 0; i < opt.producers; i++)
		add_seat(s, PRODUCER);
	for (i = 0; i < opt.workers; i++)
		add_seat(s, opt.broadcast ? MEMBER : WORKER);
	if (!opt.broadcast && !opt.calls)
		add_seat(s, SINK);
	if (!opt.broadcast)
		add_seat(s, UNDERTAKER);
	s->parent_log = s->nseats;
	ret = history_create(&s->history, NULL, s->nseats + 1, events);
	if (!ret)
		ret = s->backend->create(s);
	if (ret)
		fprintf(stderr, "storm: cannot begin: %s\n", strerror(-ret));
	return ret ? NULL : s;
}

/* ----------------------------------------------------------------- report --- */

static void sum_counters(struct storm *s)
{
	struct tally *t = &s->tally;
	struct sluice_info info;
	unsigned int lane;

	for (lane = 0; lane < LANES; lane++) {
		if (!lane_exists(s, (enum lane)lane) ||
		    s->backend->info(s, (enum lane)lane, &info))
			continue;
		t->redelivered += info.redelivered;
		t->discarded += info.discarded;
		t->timeouts += info.timeouts;
		t->deaths += info.deaths;
		t->evictions += info.evictions;
		t->dead_letters += info.dead_letters;
		t->lies += info.lies;
		t->nacks += info.nacks;
		t->sends += info.sends;
		t->expelled += info.expelled;
	}
}

typedef unsigned long long ull;

static void say_what_happened(const struct storm *s)
{
	const struct tally *t = &s->tally;

	printf("# %llu ended by force: %llu exits, %llu execs, %llu forks, %llu with closed "
	       "descriptors, %llu with a closed ring, the others killed; %llu by messages that "
	       "kill, %llu stopped and continued\n", (ull)t->kills, (ull)t->orders[ORDER_EXIT],
	       (ull)t->orders[ORDER_EXEC], (ull)t->orders[ORDER_FORK], (ull)t->orders[ORDER_CLOSE],
	       (ull)t->orders[ORDER_CLOSE_RING], (ull)t->suicides, (ull)t->stops);
	printf("# the kernel's counters: %llu deaths, %llu redelivered, %llu discarded, "
	       "%llu timeouts, %llu evictions, %llu dead letters, %llu nacks, %llu sends, "
	       "%llu put out of a broadcast, %llu lies; %llu changes of policy\n",
	       (ull)t->deaths, (ull)t->redelivered, (ull)t->discarded, (ull)t->timeouts,
	       (ull)t->evictions, (ull)t->dead_letters, (ull)t->nacks, (ull)t->sends,
	       (ull)t->expelled, (ull)t->lies, (ull)t->policies);
	printf("# longest way to rest: %.0f ms\n", (double)t->worst_drain_ns / 1e6);
}

static unsigned int check(unsigned int n, bool good, const char *fmt, ull a, const char *b)
{
	printf("%s %u - ", good ? "ok" : "not ok", n);
	printf(fmt, a, b);
	putchar('\n');
	return !good;
}

static int report(struct storm *s, const struct history_result *storm,
		  const struct history_result *idle)
{
	const struct tally *t = &s->tally;
	unsigned int failed = 0, n = 0;

	say_what_happened(s);
	history_print(storm);
	failed += check(++n, !storm->nfound, "%llu kills in %s: nothing lost, doubled or stuck",
			t->kills, s->backend->name);
	failed += check(++n, !t->bad_ends, "every process ended as it was made to%.0llu%s", 0, "");
	failed += check(++n, !t->lies, "%llu impossible values found in shared memory%s", t->lies,
			"");
	if (s->opt.broadcast)
		failed += check(++n, storm->maybe > 0 && storm->acked > storm->sent,
				"there was something to lose: %llu ACKs%s", storm->acked, "");
	else
		failed += check(++n, storm->again > 0 && storm->maybe > 0 &&
				storm->sent + (s->opt.calls ? storm->told : 0) > t->kills,
				"there was something to lose: %llu redeliveries%s", storm->again,
				"");
	if (s->opt.idle) {
		uint64_t worst = history_percentile(idle, 100);

		puts("# idle consumers:");
		history_print(idle);
		failed += check(++n, !idle->nfound && idle->nlatency == s->opt.idle,
				"%llu kills beside idle consumers%s", s->opt.idle, "");
		failed += check(++n, worst && worst < 100 * s->opt.scale * MS,
				"redelivered to an idle consumer within %llu ms at most%s",
				(worst + MS - 1) / MS, "");
	}
	printf("1..%u\n", n);
	if (failed)
		printf("# again: %s --seed %llu --kills %u --round %u --messages %u "
		       "--producers %u --workers %u --spread %u --idle %u%s%s%s%s%s\n",
		       s->opt.module ? "tests/storm/run [--kernel NAME]" :
		       "build/tests/storm/storm", (ull)s->opt.seed, s->opt.kills,
		       s->opt.round_kills, s->opt.messages, s->opt.producers, s->opt.workers,
		       s->opt.spread_us, s->opt.idle, s->opt.no_uring ? " --no-uring" : "",
		       s->opt.broadcast ? " --broadcast" : "",
		       s->opt.calls ? " --calls" : "", s->opt.classes ? " --classes" : "",
		       s->opt.policies ? " --policies" : "");
	return failed > 0;
}

int main(int argc, char **argv)
{
	struct options opt = parse(argc, argv);
	struct history_result storm = { 0 }, idle = { 0 };
	uint64_t start = history_now();
	struct storm *s;
	int ret = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	/* so that it gets to kill while all the others are busy; not everybody may */
	setpriority(PRIO_PROCESS, 0, -10);
	printf("TAP version 13\n# seed %llu\n", (ull)opt.seed);
	s = make(opt);
	if (!s)
		return 1;
	while (!ret && s->tally.kills < opt.kills && !storm.nfound && !s->tally.bad_ends &&
	       time_left(&opt, start)) {
		uint64_t left = opt.kills - s->tally.kills;

		ret = storm_round(s, left < opt.round_kills ? (unsigned int)left :
				  opt.round_kills, &storm);
	}
	if (!ret && opt.idle && opt.module && !opt.broadcast && !opt.calls)
		ret = storm_idle(s, opt.idle, &idle);
	else
		s->opt.idle = 0;
	if (ret) {
		fprintf(stderr, "storm: %s\n", strerror(-ret));
		return 1;
	}
	sum_counters(s);
	printf("# %.1f s\n", (double)(history_now() - start) / 1e9);
	s->backend->destroy(s);
	ret = report(s, &storm, &idle);
	history_result_free(&storm);
	history_result_free(&idle);
	history_close(s->history);
	return ret;
}
