// SPDX-License-Identifier: MIT
/* cmd_model.c - what the service times of stages make of a pipeline; needs no module */

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline.h"
#include "predict.h"
#include "sluicectl.h"

enum { OPT_HOP = 256, OPT_STREAMS, OPT_BALANCERS };

static const struct argp_option model_options[] = {
	{ "messages", 'n', "N", 0, "How many messages (10)", 0 },
	{ "replicas", 'r', "STAGE=N", 0, "Processes of a stage (1); may be repeated", 0 },
	{ "policy", 'p', "[STAGE=]NAME", 0,
	  "Who gets a message, in all stages or in one: shared (the default), round-robin, "
	  "least-outstanding, weighted, affinity; may be repeated", 0 },
	{ "streams", OPT_STREAMS, "N", 0,
	  "Streams that messages belong to in turn; affinity cannot use more replicas than that",
	  0 },
	{ "hop", OPT_HOP, "TIME", 0, "From one process to the next (0)", 0 },
	{ "balancers", OPT_BALANCERS, "N", 0, "m of the article's balancer cost", 0 },
	{ "set", 's', "KEY=VALUE", 0,
	  "Give a variable of the pipeline file a value; may be repeated", 0 },
	CTL_OPTION_JSON,
	{ 0 }
};

/* What was said on the command line, in order; as many as there may be stages. */
struct words {
	const char	*word[PREDICT_MAX_STAGES + 1];	/* NULL at the end */
	size_t		n;
};

struct model {
	const char		*file;		/* NULL: none */
	struct words		times, replicas, policies, sets;
	uint64_t		balancers;
	bool			json;
	char			name[PREDICT_MAX_STAGES][SLUICE_NAME_MAX];
	bool			timed[PREDICT_MAX_STAGES];
	struct predict_input	in;
};

/* ---------------------------------------------------------- command line --- */

static void add_word(struct argp_state *state, struct words *words, const char *word)
{
	if (words->n == PREDICT_MAX_STAGES)
		argp_error(state, "'%s' is too much, at most %d of a kind", word,
			   PREDICT_MAX_STAGES);
	words->word[words->n++] = word;
}

static void add_argument(struct argp_state *state, struct model *m, const char *word)
{
	if (strchr(word, '='))
		add_word(state, &m->times, word);
	else if (m->file)
		argp_error(state, "'%s' is too much: one pipeline file, and STAGE=TIME such as "
				  "decoder=4s", word);
	else
		m->file = word;
}

static error_t model_parser(int key, char *arg, struct argp_state *state)
{
	struct model *m = state->input;

	switch (key) {
	case 'n':
		m->in.messages = ctl_option_number(state, "--messages", arg, UINT64_MAX);
		if (!m->in.messages)
			argp_error(state, "--messages: at least 1");
		return 0;
	case 'r':
		add_word(state, &m->replicas, arg);
		return 0;
	case 'p':
		add_word(state, &m->policies, arg);
		return 0;
	case 's':
		if (!strchr(arg, '=') || arg[0] == '=')
			argp_error(state, "--set: '%s' is not KEY=VALUE", arg);
		add_word(state, &m->sets, arg);
		return 0;
	case OPT_STREAMS:
		m->in.streams = (uint32_t)ctl_option_number(state, "--streams", arg, UINT32_MAX);
		return 0;
	case OPT_HOP:
		m->in.hop_ns = (uint64_t)ctl_option_duration(state, "--hop", arg);
		return 0;
	case OPT_BALANCERS:
		m->balancers = ctl_option_number(state, "--balancers", arg, UINT64_MAX);
		return 0;
	case 'j':
		m->json = true;
		return 0;
	case ARGP_KEY_ARG:
		add_argument(state, m, arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ----------------------------------------------------------------- stages --- */

/* Splits STAGE=VALUE; returns the value, or NULL if there is no stage's name before it. */
static const char *split(const char *word, char name[SLUICE_NAME_MAX])
{
	const char *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) : 0;

	if (!len || len >= SLUICE_NAME_MAX)
		return NULL;
	memcpy(name, word, len);
	name[len] = 0;
	return equals + 1;
}

static int find_stage(const struct model *m, const char *name)
{
	for (uint32_t i = 0; i < m->in.nstages; i++)
		if (!strcmp(m->name[i], name))
			return (int)i;
	return -1;
}

static int unknown_stage(const struct model *m, const char *option, const char *name)
{
	const char *names[PREDICT_MAX_STAGES + 1] = { NULL }, *close;

	for (uint32_t i = 0; i < m->in.nstages; i++)
		names[i] = m->name[i];
	close = ctl_suggest(name, names);
	if (close)
		ctl_error("model: %sthere is no stage '%s'; did you mean '%s'?", option, name,
			  close);
	else
		ctl_error("model: %sthere is no stage '%s'; the first is '%s'", option, name,
			  names[0]);
	return CTL_USAGE;
}

/* Never more than PREDICT_MAX_STAGES: so many words, or so many in a file. */
static struct predict_stage *add_stage(struct model *m, const char *name)
{
	struct predict_stage *stage = &m->in.stage[m->in.nstages];

	snprintf(m->name[m->in.nstages++], SLUICE_NAME_MAX, "%s", name);
	*stage = (struct predict_stage){ .replicas = 1 };
	return stage;
}

static int set_policy(struct predict_stage *stage, const char *name)
{
	for (int i = 0; predict_policies[i]; i++) {
		if (!strcmp(name, predict_policies[i])) {
			stage->policy = (enum predict_policy)i;
			return CTL_OK;
		}
	}
	ctl_error("model: the policy '%s' is unknown here: shared, round-robin, "
		  "least-outstanding, weighted or affinity", name);
	return CTL_USAGE;
}

_Static_assert(PIPELINE_MAX_STAGES <= PREDICT_MAX_STAGES, "a file's stages fit");
_Static_assert(PIPELINE_MAX_REPLICAS <= PREDICT_MAX_REPLICAS, "a file's replicas fit");

static int read_file(struct model *m)
{
	char *path = pipeline_find(m->file);
	struct pipeline *p = NULL;
	int status = path ? pipeline_load(path, m->sets.word, &p) : CTL_FAILED;

	free(path);
	for (size_t i = 0; !status && i < p->nstages; i++) {
		const struct pipeline_stage *from = &p->stages[i];
		struct predict_stage *stage = add_stage(m, from->create.name);

		stage->replicas = from->replicas;
		status = set_policy(stage, ctl_policy_name(from->create.policy));
	}
	pipeline_free(p);
	return status;
}

static int read_time(struct model *m, const char *word)
{
	char name[SLUICE_NAME_MAX], why[CTL_WHY_MAX];
	const char *text = split(word, name);
	int64_t ns;
	int i;

	if (!text) {
		ctl_error("model: '%s' is not STAGE=TIME, with a name of at most %d characters, "
			  "such as decoder=4s", word, SLUICE_NAME_MAX - 1);
		return CTL_USAGE;
	}
	if (ctl_parse_duration(text, &ns, why)) {
		ctl_error("model: stage '%s': %s", name, why);
		return CTL_USAGE;
	}
	i = find_stage(m, name);
	if (i < 0 && m->file)
		return unknown_stage(m, "", name);
	if (i < 0) {
		i = (int)m->in.nstages;
		add_stage(m, name);
	}
	if (m->timed[i]) {
		ctl_error("model: stage '%s' has a time already; replicas are --replicas %s=2",
			  name, name);
		return CTL_USAGE;
	}
	m->timed[i] = true;
	m->in.stage[i].service_ns = (uint64_t)ns;
	return CTL_OK;
}

static int read_times(struct model *m)
{
	static const char *const example[] = { "embedding=2s", "encoder=3s", "decoder=4s" };
	int status = CTL_OK;

	if (!m->file && !m->times.n) {
		for (; m->times.n < 3; m->times.n++)
			m->times.word[m->times.n] = example[m->times.n];
		if (!m->balancers)
			m->balancers = 3;
	}
	for (size_t i = 0; !status && i < m->times.n; i++)
		status = read_time(m, m->times.word[i]);
	for (uint32_t i = 0; !status && i < m->in.nstages; i++) {
		if (m->timed[i])
			continue;
		ctl_error("model: %s: stage '%s' has no service time: add %s=TIME, such as %s=4s",
			  m->file, m->name[i], m->name[i], m->name[i]);
		status = CTL_USAGE;
	}
	return status;
}

static int read_replicas(struct model *m, const char *word)
{
	char name[SLUICE_NAME_MAX], why[CTL_WHY_MAX];
	const char *text = split(word, name);
	uint64_t n;
	int i;

	if (!text) {
		ctl_error("model: --replicas: '%s' is not STAGE=N such as decoder=2", word);
		return CTL_USAGE;
	}
	i = find_stage(m, name);
	if (i < 0)
		return unknown_stage(m, "--replicas: ", name);
	if (ctl_parse_number(text, PREDICT_MAX_REPLICAS, &n, why) || !n) {
		ctl_error("model: --replicas: '%s' is not a whole number from 1 to %d", text,
			  PREDICT_MAX_REPLICAS);
		return CTL_USAGE;
	}
	m->in.stage[i].replicas = (uint32_t)n;
	return CTL_OK;
}

static int read_policy(struct model *m, const char *word)
{
	char name[SLUICE_NAME_MAX];
	const char *text = split(word, name);
	int i, status = CTL_OK;

	if (text) {
		i = find_stage(m, name);
		return i < 0 ? unknown_stage(m, "--policy: ", name) :
			       set_policy(&m->in.stage[i], text);
	}
	for (uint32_t s = 0; !status && s < m->in.nstages; s++)
		status = set_policy(&m->in.stage[s], word);
	return status;
}

static int check_streams(const struct model *m)
{
	for (uint32_t i = 0; i < m->in.nstages; i++) {
		const struct predict_stage *s = &m->in.stage[i];

		if (s->policy != PREDICT_AFFINITY || s->replicas == 1 || m->in.streams)
			continue;
		ctl_error("model: stage '%s': affinity keeps a stream at one of %u replicas, so "
			  "say how many streams there are: --streams 8", m->name[i], s->replicas);
		return CTL_USAGE;
	}
	return CTL_OK;
}

static int read_all(struct model *m)
{
	int status = m->file ? read_file(m) : CTL_OK;

	if (!status && !m->file && m->sets.n) {
		ctl_error("model: --set %s: it goes with a pipeline file", m->sets.word[0]);
		status = CTL_USAGE;
	}
	if (!status)
		status = read_times(m);
	for (size_t i = 0; !status && i < m->replicas.n; i++)
		status = read_replicas(m, m->replicas.word[i]);
	for (size_t i = 0; !status && i < m->policies.n; i++)
		status = read_policy(m, m->policies.word[i]);
	return status ? status : check_streams(m);
}

/* ----------------------------------------------------------------- report --- */

static const char *format_time(char text[CTL_TEXT_MAX], double ns)
{
	static const struct {
		double		from, unit;
		const char	*name;
	} units[] = { { 1e9, 1e9, "s" }, { 1e6, 1e6, "ms" }, { 1e3, 1e3, "us" }, { 0, 1, "ns" } };
	int i = 0;

	while (ns < units[i].from)
		i++;
	snprintf(text, CTL_TEXT_MAX, "%.6g%s", ns / units[i].unit, units[i].name);
	return text;
}

static void print_stages(const struct model *m, const struct predict_result *r)
{
	static const char *const columns[] = {
		"STAGE", ">TIME", ">REPLICAS", "POLICY", ">ONE EVERY", ">BUSY", "", NULL
	};
	char time[CTL_TEXT_MAX], replicas[CTL_TEXT_MAX], interval[CTL_TEXT_MAX];
	struct libscols_table *table = ctl_table(columns);

	for (uint32_t i = 0; i < m->in.nstages; i++) {
		const struct predict_stage *s = &m->in.stage[i];
		char busy[CTL_TEXT_MAX];

		snprintf(busy, sizeof(busy), "%.1f%%", 100 * r->utilisation[i]);
		ctl_table_row(table, m->name[i], format_time(time, (double)s->service_ns),
			      ctl_format_count(replicas, s->replicas),
			      predict_policies[s->policy],
			      format_time(interval, r->stage_interval_ns[i]), busy,
			      i == r->bottleneck ? "<- bottleneck" : "");
	}
	ctl_table_print(table);
}

static void print_line(const char *what, double ns, const char *formula)
{
	char text[CTL_TEXT_MAX];

	printf("  %-28s %-12s %s\n", what, format_time(text, ns), formula);
}

static void print_prediction(const struct model *m, const struct predict_result *r)
{
	printf("\nA pipeline of processes, %" PRIu64 " message%s:\n", m->in.messages,
	       m->in.messages == 1 ? "" : "s");
	print_line("first result after", (double)r->first_ns,
		   m->in.hop_ns ? "sum T_i, and all hops" : "sum T_i");
	print_line("then, steadily, one every", r->interval_ns, "max T_i / r_i");
	if (isinf(r->per_second))
		printf("  %-28s no limit\n", "throughput");
	else
		printf("  %-28s %.6g a second\n", "throughput", r->per_second);
	print_line("all of them, asynchronously", (double)r->pipelined_ns,
		   "sent at once, message by message through the stages");
	print_line("all of them, synchronously", (double)r->synchronous_ns,
		   "n * sum T_i: each sent when the one before is back");
}

/* Side by side with the prediction, and said what they are: they are no law of a pipeline. */
static void print_article(const struct model *m, const struct predict_article *a)
{
	char formula[CTL_TEXT_MAX + 16], interval[CTL_TEXT_MAX], sum[CTL_TEXT_MAX];

	puts("\nThe article's formulas on the same times, without replicas and hops:");
	print_line("T_s, \"synchronous\"", (double)a->synchronous_ns, "max T_i");
	print_line("T_a, \"asynchronous\"", (double)a->asynchronous_ns, "T_s + sum T_i");
	if (m->balancers) {
		snprintf(formula, sizeof(formula), "m * T_s, m = %" PRIu64, m->balancers);
		print_line("C, the balancers' cost", (double)a->balancers_ns, formula);
	}
	printf("Nothing above uses them. T_s (%s) is then the time between two results of a full "
	       "pipeline; who\nwaits for one message waits sum T_i (%s). T_a is when the second "
	       "of two messages is done, however\nmany follow. sluice has no balancers: replicas "
	       "claim by themselves, which is part of a hop.\n",
	       format_time(interval, (double)a->synchronous_ns),
	       format_time(sum, (double)(a->asynchronous_ns - a->synchronous_ns)));
}

static void add_ns(struct json_object *o, const char *key, uint64_t ns)
{
	json_object_object_add(o, key, json_object_new_uint64(ns));
}

static struct json_object *stages_json(const struct model *m, const struct predict_result *r)
{
	struct json_object *stages = json_object_new_array();

	for (uint32_t i = 0; i < m->in.nstages; i++) {
		const struct predict_stage *s = &m->in.stage[i];
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "name", json_object_new_string(m->name[i]));
		add_ns(o, "service_ns", s->service_ns);
		json_object_object_add(o, "replicas", json_object_new_uint64(s->replicas));
		json_object_object_add(o, "policy",
				       json_object_new_string(predict_policies[s->policy]));
		json_object_object_add(o, "interval_ns",
				       json_object_new_double(r->stage_interval_ns[i]));
		json_object_object_add(o, "utilisation",
				       json_object_new_double(r->utilisation[i]));
		json_object_array_add(stages, o);
	}
	return stages;
}

static void print_json(const struct model *m, const struct predict_result *r,
		       const struct predict_article *a)
{
	struct json_object *o = json_object_new_object(), *article = json_object_new_object();

	json_object_object_add(o, "stages", stages_json(m, r));
	json_object_object_add(o, "messages", json_object_new_uint64(m->in.messages));
	add_ns(o, "hop_ns", m->in.hop_ns);
	json_object_object_add(o, "streams", json_object_new_uint64(m->in.streams));
	add_ns(o, "first_result_ns", r->first_ns);
	json_object_object_add(o, "interval_ns", json_object_new_double(r->interval_ns));
	json_object_object_add(o, "per_second", isinf(r->per_second) ?
			       NULL : json_object_new_double(r->per_second));
	add_ns(o, "asynchronous_ns", r->pipelined_ns);
	add_ns(o, "synchronous_ns", r->synchronous_ns);
	json_object_object_add(o, "bottleneck", json_object_new_string(m->name[r->bottleneck]));
	add_ns(article, "synchronous_ns", a->synchronous_ns);
	add_ns(article, "asynchronous_ns", a->asynchronous_ns);
	json_object_object_add(article, "balancers", json_object_new_uint64(m->balancers));
	add_ns(article, "balancers_ns", a->balancers_ns);
	json_object_object_add(o, "article", article);
	ctl_print_json(o);
}

static int calculate(const struct model *m, struct predict_result *r, struct predict_article *a)
{
	int err = predict(&m->in, r);

	if (!err)
		err = predict_article(&m->in, m->balancers, a);
	switch (err) {
	case 0:
		return CTL_OK;
	case -EOVERFLOW:
		ctl_error("model: the answer is more than 584 years: fewer --messages or "
			  "--balancers, or shorter times");
		return CTL_USAGE;
	case -E2BIG:
		ctl_error("model: --messages: at most %u with affinity, which is followed message "
			  "by message", PREDICT_MAX_STEPS);
		return CTL_USAGE;
	default:
		ctl_error("model: %s", strerror(-err));
		return CTL_FAILED;
	}
}

int cmd_model(const struct ctl_command *cmd, int argc, char **argv)
{
	struct model m = { .in = { .messages = 10 } };
	struct predict_result result;
	struct predict_article article;
	int status = ctl_parse(cmd, model_options, model_parser, argc, argv, &m);

	if (!status)
		status = read_all(&m);
	if (!status)
		status = calculate(&m, &result, &article);
	if (status)
		return status;
	if (m.json) {
		print_json(&m, &result, &article);
		return CTL_OK;
	}
	print_stages(&m, &result);
	print_prediction(&m, &result);
	print_article(&m, &article);
	return CTL_OK;
}
