// SPDX-License-Identifier: MIT
/*
 * failover.c: sluice-perf failover: a replica dies under load, and its streams go on elsewhere
 */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../client/client.h"
#include "perf.h"
#include "stats.h"

#define MAX_STREAMS	16u
#define MAX_TOKENS	1024u
#define MAX_ROUNDS	1000u
#define PATIENCE_NS	120000000000ll
#define RETURN_MS	60000		/* for a killed daemon to be back */

static const char usage_text[] =
"usage: sluice-perf failover [OPTION...]\n"
"\n"
"Asks a running pipeline for several streams at once, kills (SIGKILL) a random replica of a\n"
"stage at a random token, and measures for every stream how long it takes from the kill until\n"
"its next token, beside the time between tokens when nobody is killed. The texts must be those\n"
"of the undisturbed run.\n"
"\n"
"  --rounds N    runs with a kill, default 10\n"
"  --streams N   at once, default 4\n"
"  --tokens N    of each stream, default 48\n"
"  --stage NAME  whose replica is killed, default decoder\n"
"  --seed N      of victims and moments; default: of the clock\n"
"  --json        JSON instead of the table\n"
"  --quiet       no progress on standard error\n"
"\n"
"Exit status: 1 if a stream got an error or another text.\n"
"\n"
"example: sluice-perf failover --streams 6 --rounds 20\n";

static const char *const prompts[] = {
	"Once upon a time", "The capital of France is", "Water boils when", "In the beginning",
	"My favourite recipe begins with", "The history of the bicycle", "Two plus two is",
	"A good night's sleep",
};

enum pause_kind { UNDISTURBED, MOVED, STAYED, PAUSES };

static const char *const pause_names[PAUSES] = {
	"between two tokens, nobody killed", "kill to next token, stream of the dead",
	"kill to next token, other streams",
};

/* One stream of one run. */
struct track {
	uint64_t	id;
	int32_t		token[MAX_TOKENS];
	uint64_t	at[MAX_TOKENS];		/* ns, when each arrived */
	bool		rebuilt[MAX_TOKENS];	/* it came by way of the encoder */
	uint32_t	n;
	bool		over;
};

struct pauses {
	uint64_t	*ns;
	size_t		n, room;
};

struct failover {
	unsigned int	rounds, streams, tokens;
	const char	*stage;
	uint64_t	seed;
	bool		json;
	struct client	*client;
	struct track	track[MAX_STREAMS];
	int32_t		want[MAX_STREAMS][MAX_TOKENS];
	uint64_t	killed_at;		/* ns; 0: nobody yet */
	struct pauses	pauses[PAUSES];
	unsigned int	wrong;			/* streams with an error or another text */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint32_t random_below(struct failover *f, uint32_t n)
{
	f->seed = f->seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(f->seed >> 33) % n;
}

static int add_pause(struct pauses *p, uint64_t ns)
{
	uint64_t *grown;

	if (p->n == p->room) {
		p->room = p->room ? 2 * p->room : 256;
		grown = realloc(p->ns, p->room * sizeof(*p->ns));
		if (!grown)
			return -ENOMEM;
		p->ns = grown;
	}
	p->ns[p->n++] = ns;
	return 0;
}

/* ------------------------------------------------------------------- victims --- */

/* Processes that claim from the stage; at most @max of them. */
static unsigned int replicas(const char *stage, pid_t *pids, unsigned int max)
{
	struct sluice_endpoint_info e = { .index = 0 };
	unsigned int n = 0;

	for (; n < max && !sluice_endpoint(stage, &e); e.index++)
		if (e.role == SLUICE_CONSUMER)
			pids[n++] = (pid_t)e.pid;
	return n;
}

static int kill_one(struct failover *f)
{
	pid_t pids[64];
	unsigned int n = replicas(f->stage, pids, 64);

	if (n < 2) {
		perf_error("stage '%s' has %u replicas, 2 are needed: bring the pipeline up with "
			   "--set decoders=2", f->stage, n);
		return -EINVAL;
	}
	f->killed_at = now_ns();
	if (!kill(pids[random_below(f, n)], SIGKILL))
		return 0;
	perf_error("cannot kill: %s", strerror(errno));
	return -errno;
}

static int wait_for_replicas(const char *stage, unsigned int n)
{
	const struct timespec nap = { 0, 20000000 };
	pid_t pids[64];

	for (int ms = 0; ms < RETURN_MS; ms += 20) {
		if (replicas(stage, pids, 64) >= n)
			return 0;
		nanosleep(&nap, NULL);
	}
	perf_error("stage '%s' has not been given a new replica within %d s: is it supervised by "
		   "'sluicectl up'?", stage, RETURN_MS / 1000);
	return -ETIMEDOUT;
}

/* ------------------------------------------------------------------- one run --- */

static struct track *track_of(struct failover *f, uint64_t id)
{
	for (unsigned int i = 0; i < f->streams; i++)
		if (f->track[i].id == id)
			return &f->track[i];
	return NULL;
}

static bool by_encoder(const struct client_event *ev)
{
	for (uint32_t i = 0; i < ev->n_hops; i++)
		if (ev->hops[i].stage == MSG_ENCODER)
			return true;
	return false;
}

static void take(struct track *t, const struct client_event *ev)
{
	t->over = ev->type != CLIENT_TEXT;
	if (ev->type == CLIENT_ERROR)
		perf_error("stage '%s', attempt %u: %.*s", ev->error_name, ev->error_attempt,
			   (int)ev->text_len, ev->text);
	if (ev->token < 0 || t->n == MAX_TOKENS)
		return;
	t->token[t->n] = ev->token;
	t->at[t->n] = now_ns();
	t->rebuilt[t->n++] = by_encoder(ev);
}

/* All streams from their first to their last token; somebody is killed after @kill_after of them. */
static int run(struct failover *f, uint32_t kill_after)
{
	struct client_request r = { .raw = true, .ignore_eos = true, .max_tokens = f->tokens };
	uint32_t left = f->streams, tokens = 0;
	struct client_event ev;
	int ret = 0;

	memset(f->track, 0, sizeof(f->track));
	f->killed_at = 0;
	for (unsigned int i = 0; i < f->streams; i++) {
		r.text = prompts[i % (sizeof(prompts) / sizeof(prompts[0]))];
		r.len = strlen(r.text);
		ret = client_submit(f->client, &r, &f->track[i].id);
		if (ret)
			break;
	}
	while (!ret && left) {
		struct track *t;

		ret = client_next(f->client, &ev, PATIENCE_NS);
		if (ret)
			break;
		t = track_of(f, ev.stream);
		if (!t)
			continue;
		take(t, &ev);
		left -= t->over;
		if (++tokens == kill_after && kill_one(f))
			return -EINVAL;
	}
	if (ret)
		perf_error("%s", client_error());
	return ret;
}

/* ------------------------------------------------------------------ evaluation --- */

static int keep_undisturbed(struct failover *f)
{
	int ret = 0;

	for (unsigned int i = 0; i < f->streams; i++) {
		const struct track *t = &f->track[i];

		if (t->n != f->tokens) {
			perf_error("stream %u ended after %u of %u tokens without a kill", i, t->n,
				   f->tokens);
			return -EPROTO;
		}
		memcpy(f->want[i], t->token, sizeof(t->token));
		for (uint32_t k = 1; !ret && k < t->n; k++)
			ret = add_pause(&f->pauses[UNDISTURBED], t->at[k] - t->at[k - 1]);
	}
	return ret;
}

static int judge(struct failover *f)
{
	int ret = 0;

	for (unsigned int i = 0; i < f->streams && !ret; i++) {
		const struct track *t = &f->track[i];
		uint32_t k = 0;

		if (t->n != f->tokens || memcmp(t->token, f->want[i], t->n * sizeof(*t->token))) {
			perf_error("stream %u: %u of %u tokens, another text", i, t->n, f->tokens);
			f->wrong++;
		}
		while (k < t->n && t->at[k] <= f->killed_at)
			k++;
		/* Its first token always comes by the encoder; one that was over has no pause. */
		if (k && k < t->n)
			ret = add_pause(&f->pauses[t->rebuilt[k] ? MOVED : STAYED],
					t->at[k] - f->killed_at);
	}
	return ret;
}

static int measure(struct failover *f)
{
	uint32_t all = f->streams * f->tokens;
	pid_t pids[64];
	unsigned int n = replicas(f->stage, pids, 64);
	int ret = run(f, 0);	/* what is loaded at the first request is loaded now */

	if (!ret)
		ret = run(f, 0);
	if (!ret)
		ret = keep_undisturbed(f);
	for (unsigned int round = 1; !ret && round <= f->rounds; round++) {
		ret = run(f, f->streams + random_below(f, all * 3 / 4));
		if (!ret)
			ret = judge(f);
		if (!ret)
			ret = wait_for_replicas(f->stage, n);
		if (!ret)
			perf_progress("round %u of %u", round, f->rounds);
	}
	return ret;
}

/* ---------------------------------------------------------------------- report --- */

static double ms(const struct pauses *p, double at)
{
	return (double)stats_percentile(p->ns, p->n, at) / 1e6;
}

static void print_text(const struct failover *f)
{
	perf_machine_print(stdout);
	printf("%u kills of a replica of '%s', %u streams of %u tokens\n\n"
	       "%-36s %6s %9s %9s %9s\n", f->rounds, f->stage, f->streams, f->tokens, "ms", "n",
	       "p50", "p99", "max");
	for (int k = 0; k < PAUSES; k++)
		if (f->pauses[k].n)
			printf("%-36s %6zu %9.1f %9.1f %9.1f\n", pause_names[k], f->pauses[k].n,
			       ms(&f->pauses[k], 0.5), ms(&f->pauses[k], 0.99),
			       ms(&f->pauses[k], 1));
	printf("\nthe same texts as without a kill: %s (%u of %u streams)\n",
	       f->wrong ? "NO" : "yes", f->rounds * f->streams - f->wrong,
	       f->rounds * f->streams);
}

static void print_json(const struct failover *f)
{
	static const char *const names[PAUSES] = { "undisturbed", "moved", "stayed" };
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "machine", perf_machine_json());
	json_object_object_add(o, "stage", json_object_new_string(f->stage));
	json_object_object_add(o, "kills", json_object_new_int((int)f->rounds));
	json_object_object_add(o, "streams", json_object_new_int((int)f->streams));
	json_object_object_add(o, "tokens", json_object_new_int((int)f->tokens));
	json_object_object_add(o, "wrong", json_object_new_int((int)f->wrong));
	for (int k = 0; k < PAUSES; k++) {
		struct json_object *row = json_object_new_object();

		json_object_object_add(row, "n", json_object_new_uint64(f->pauses[k].n));
		if (f->pauses[k].n) {
			json_object_object_add(row, "p50_ms",
					       json_object_new_double(ms(&f->pauses[k], 0.5)));
			json_object_object_add(row, "p99_ms",
					       json_object_new_double(ms(&f->pauses[k], 0.99)));
			json_object_object_add(row, "max_ms",
					       json_object_new_double(ms(&f->pauses[k], 1)));
		}
		json_object_object_add(o, names[k], row);
	}
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY));
	json_object_put(o);
}

/* --------------------------------------------------------------------- options --- */

static int parse(struct failover *f, int argc, char **argv)
{
	static const struct option options[] = {
		{ "rounds", required_argument, NULL, 'r' },
		{ "streams", required_argument, NULL, 's' },
		{ "tokens", required_argument, NULL, 't' },
		{ "stage", required_argument, NULL, 'S' },
		{ "seed", required_argument, NULL, 'x' },
		{ "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 }
	};
	uint64_t v = 0;
	int c, ret = 0;

	while (!ret && (c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(usage_text, stdout);
			return 1;
		} else if (c == 'r') {
			ret = perf_parse_count("--rounds", optarg, 1, MAX_ROUNDS, &v);
			f->rounds = (unsigned int)v;
		} else if (c == 's') {
			ret = perf_parse_count("--streams", optarg, 1, MAX_STREAMS, &v);
			f->streams = (unsigned int)v;
		} else if (c == 't') {
			ret = perf_parse_count("--tokens", optarg, 4, MAX_TOKENS, &v);
			f->tokens = (unsigned int)v;
		} else if (c == 'S') {
			f->stage = optarg;
		} else if (c == 'x') {
			ret = perf_parse_count("--seed", optarg, 0, UINT64_MAX, &f->seed);
		} else if (c == 'j') {
			f->json = true;
		} else if (c == 'q') {
			perf_set_quiet(true);
		} else {
			ret = -EINVAL;
		}
	}
	if (!ret && optind < argc) {
		perf_error("unexpected argument '%s'", argv[optind]);
		ret = -EINVAL;
	}
	return ret;
}

int perf_failover_main(int argc, char **argv)
{
	static struct failover f = { .rounds = 10, .streams = 4, .tokens = 48, .stage = "decoder" };
	int ret;

	f.seed = now_ns();
	ret = parse(&f, argc, argv);
	if (ret)
		return ret < 0 ? PERF_EXIT_USAGE : 0;
	if (client_open(NULL, &f.client)) {
		perf_error("%s", client_error());
		return PERF_EXIT_FAILED;
	}
	ret = measure(&f);
	client_close(f.client);
	for (int k = 0; k < PAUSES; k++)
		stats_sort(f.pauses[k].ns, f.pauses[k].n);
	if (!ret && f.json)
		print_json(&f);
	else if (!ret)
		print_text(&f);
	for (int k = 0; k < PAUSES; k++)
		free(f.pauses[k].ns);
	return ret || f.wrong ? PERF_EXIT_FAILED : 0;
}
