// SPDX-License-Identifier: MIT
/*
 * model.c: sluice-perf model: the pipeline's math in one process, without rings
 */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdlib.h>

#include "../model/bench.h"
#include "perf.h"

static const char usage_text[] =
"usage: sluice-perf model --model FILE.gguf [OPTION...]\n"
"\n"
"Runs a model in this one process: what the pipeline of four is compared with.\n"
"Prints tokens a second of decoding and of prefill, and how near one stream is to\n"
"the limit that reading the weights from memory sets.\n"
"\n"
"  --tokens N         to generate, default 64\n"
"  --prompt-tokens N  of the prefill measurement, default 512; 0 = none\n"
"  --prompt TEXT      what to continue, default 'Once upon a time'\n"
"  --streams N        decoded at once, default 1\n"
"  --repeat N         of prefill and memory reading; the best counts; default 3\n"
"  --qmatmul NAME     what multiplies packed weights: auto, avx512, avx2, portable, or\n"
"                     off to multiply f32 weights only; default: SLUICE_QMATMUL, or auto\n"
"  --cpu N            run on this processor only\n"
"  --json             JSON instead of text\n"
"  --quiet            no progress on standard error\n"
"\n"
"example: sluice-perf model --model SmolLM2-135M-Instruct.Q4_1.gguf --tokens 64\n";

struct model_options {
	struct model_bench_params bench;
	int cpu;			/* -1: wherever */
	bool json;
};

static void show_progress(void *ctx, const char *what, uint64_t done, uint64_t total)
{
	unsigned int *last = ctx;
	unsigned int percent = total ? (unsigned int)(done * 100 / total) : 0;

	if (percent / 10 == *last)
		return;
	*last = percent / 10;
	perf_progress("%s: %u %%", what, percent);
}

/* Return: 0 go on, 1 done already, or a negative errno. */
static int set_option(struct model_options *o, int opt)
{
	uint64_t v = 0;
	int err;

	switch (opt) {
	case 'm': o->bench.model = optarg; return 0;
	case 'p': o->bench.prompt = optarg; return 0;
	case 'j': o->json = true; return 0;
	case 'q': perf_set_quiet(true); return 0;
	case 'k': return setenv("SLUICE_QMATMUL", optarg, 1) ? -errno : 0;
	case 'h': fputs(usage_text, stdout); return 1;
	case 't':
		err = perf_parse_count("--tokens", optarg, 1, 1000000, &v);
		o->bench.n_tokens = (uint32_t)v;
		return err;
	case 'f':
		err = perf_parse_count("--prompt-tokens", optarg, 0, 1000000, &v);
		o->bench.n_prefill = (uint32_t)v;
		return err;
	case 's':
		err = perf_parse_count("--streams", optarg, 1, 256, &v);
		o->bench.n_streams = (uint32_t)v;
		return err;
	case 'r':
		err = perf_parse_count("--repeat", optarg, 1, 1000, &v);
		o->bench.repeat = (uint32_t)v;
		return err;
	case 'c':
		err = perf_parse_count("--cpu", optarg, 0, 4095, &v);
		o->cpu = (int)v;
		return err;
	}
	return -EINVAL;
}

static int parse_options(struct model_options *o, int argc, char **argv)
{
	static const struct option options[] = {
		{ "model", required_argument, NULL, 'm' },
		{ "tokens", required_argument, NULL, 't' },
		{ "prompt-tokens", required_argument, NULL, 'f' },
		{ "prompt", required_argument, NULL, 'p' },
		{ "streams", required_argument, NULL, 's' },
		{ "repeat", required_argument, NULL, 'r' },
		{ "qmatmul", required_argument, NULL, 'k' },
		{ "cpu", required_argument, NULL, 'c' },
		{ "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int opt, err = 0;

	while (!err && (opt = getopt_long(argc, argv, "h", options, NULL)) != -1)
		err = set_option(o, opt);
	if (err)
		return err;
	err = perf_no_arguments("model", argc, argv);
	if (err)
		return err;
	if (!o->bench.model) {
		perf_error("model: name the GGUF file with --model; `scripts/setup model` gets one");
		return -EINVAL;
	}
	return 0;
}

static void print_text(const struct model_options *o, const struct model_bench_result *r)
{
	perf_machine_print(stdout);
	printf("%s, packed weights: %s\n", r->blas, r->qmatmul);
	printf("%u stream(s), loaded in %.2f s\n", o->bench.n_streams, r->load_s);
	printf("decode   %8.1f tokens/s   step p50 %.2f ms, p99 %.2f ms\n", r->decode_tok_s,
	       r->decode_p50_s * 1e3, r->decode_p99_s * 1e3);
	if (o->bench.n_prefill)
		printf("prefill  %8.1f tokens/s   %u tokens in %.3f s\n", r->prefill_tok_s,
		       o->bench.n_prefill, r->prefill_s);
	printf("weights  %8.1f GB/s of %.1f GB/s that memory gives: %.0f %% of the limit "
	       "(%.0f MB a step)\n",
	       r->decode_gb_s, r->read_gb_s, r->fraction * 100, (double)r->weight_bytes / 1e6);
}

static void add_double(struct json_object *o, const char *key, double v)
{
	json_object_object_add(o, key, json_object_new_double(v));
}

static void print_json(const struct model_options *opt, const struct model_bench_result *r)
{
	struct json_object *o = json_object_new_object(), *ids = json_object_new_array();

	json_object_object_add(o, "command", json_object_new_string("model"));
	json_object_object_add(o, "machine", perf_machine_json());
	json_object_object_add(o, "model", json_object_new_string(opt->bench.model));
	json_object_object_add(o, "blas", json_object_new_string(r->blas));
	json_object_object_add(o, "qmatmul", json_object_new_string(r->qmatmul));
	json_object_object_add(o, "streams", json_object_new_uint64(opt->bench.n_streams));
	json_object_object_add(o, "tokens", json_object_new_uint64(opt->bench.n_tokens));
	json_object_object_add(o, "prompt_tokens", json_object_new_uint64(opt->bench.n_prefill));
	add_double(o, "load_s", r->load_s);
	add_double(o, "decode_tokens_per_s", r->decode_tok_s);
	add_double(o, "decode_p50_s", r->decode_p50_s);
	add_double(o, "decode_p99_s", r->decode_p99_s);
	add_double(o, "prefill_tokens_per_s", r->prefill_tok_s);
	add_double(o, "prefill_s", r->prefill_s);
	add_double(o, "weights_gb_per_s", r->decode_gb_s);
	add_double(o, "memory_gb_per_s", r->read_gb_s);
	add_double(o, "memory_fraction", r->fraction);
	json_object_object_add(o, "weight_bytes", json_object_new_uint64(r->weight_bytes));
	for (uint32_t i = 0; i < r->n_ids; i++)
		json_object_array_add(ids, json_object_new_int(r->ids[i]));
	json_object_object_add(o, "ids", ids);
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY));
	json_object_put(o);
}

int perf_model_main(int argc, char **argv)
{
	unsigned int shown = ~0u;
	struct model_options o = {
		.bench = {
			.prompt = "Once upon a time", .n_tokens = 64, .n_prefill = 512,
			.n_streams = 1, .repeat = 3, .progress = show_progress,
			.progress_ctx = &shown,
		},
		.cpu = -1,
	};
	struct model_bench_result r = { 0 };
	struct model_error e = { "" };
	int err = parse_options(&o, argc, argv);

	if (err)
		return err > 0 ? 0 : PERF_EXIT_USAGE;
	if (o.cpu >= 0 && perf_pin(o.cpu)) {
		perf_error("--cpu: cannot run on processor %d", o.cpu);
		return PERF_EXIT_FAILED;
	}
	err = model_bench(&o.bench, &r, &e);
	if (err) {
		perf_error("%s", e.text[0] ? e.text : "the model cannot be measured");
		return PERF_EXIT_FAILED;
	}
	if (o.json)
		print_json(&o, &r);
	else
		print_text(&o, &r);
	free(r.ids);
	return 0;
}
