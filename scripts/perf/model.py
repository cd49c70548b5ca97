# SPDX-License-Identifier: MIT
"""Measures a model through the pipeline, in one process, and in llama.cpp, interleaved.

Runs where the module is loaded (scripts/perf-model calls it in a box). Each round measures all
three in turn, so that a ratio compares what ran in the same minute. Prints a table, writes JSON.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

TREE = pathlib.Path(__file__).resolve().parents[2]
PROMPT = "Once upon a time"


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="GGUF file")
    parser.add_argument("--build", required=True, help="where bin/sluice-perf is")
    parser.add_argument("--python", help="interpreter that has llama-cpp-python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--streams", type=int, default=8, help="decoded at once; 0 = none")
    parser.add_argument("--f32", action="store_true", help="one process with f32 weights, too")
    parser.add_argument("--json-file", required=True)
    return parser.parse_args()


def say(text):
    print(text, file=sys.stderr, flush=True)


def run_json(words):
    """The JSON object that a program prints; its own message and the end if it fails."""
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"perf-model: {' '.join(map(str, words[:2]))} failed with {done.returncode}")
    return json.loads(done.stdout)


class Pipeline:
    """The four daemons, up while the object is in use; they sleep while others are measured."""

    def __init__(self, options):
        self.ctl = os.path.join(options.build, "bin", "sluicectl")
        self.file = TREE / "userspace/pipelines/smollm2.toml"
        self.model = options.model

    def __enter__(self):
        say("perf-model: starting the pipeline")
        words = [self.ctl, "up", "--detach", "--set", f"model={self.model}", self.file]
        if subprocess.run(words, stdout=sys.stderr).returncode:
            sys.exit("perf-model: sluicectl up failed; see the lines above")
        return self

    def __exit__(self, *_):
        subprocess.run([self.ctl, "down", self.file], stdout=sys.stderr)

    def ask(self, prompt, tokens, streams=1):
        """The answers to the same prompt in so many streams at once."""
        words = [self.ctl, "run", "--raw", "--ignore-eos", "--json",
                 "--tokens", str(tokens), "--", prompt]
        runs = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(streams)]
        texts = [run.communicate()[0] for run in runs]
        if any(run.returncode for run in runs):
            sys.exit("perf-model: sluicectl run failed; see the lines above")
        answers = [json.loads(text) for text in texts]
        if any(answer["tokens"] != tokens for answer in answers):
            sys.exit(f"perf-model: the pipeline made other than {tokens} tokens")
        return answers


def single_process(options, streams, prompt_tokens, qmatmul=()):
    """What sluice-perf model measures."""
    return run_json([os.path.join(options.build, "bin", "sluice-perf"), "model", "--json",
                     "--quiet", "--model", options.model, "--prompt", PROMPT,
                     "--tokens", str(options.tokens), "--streams", str(streams),
                     "--prompt-tokens", str(prompt_tokens), "--repeat", "2", *qmatmul])


def measure_single(options, qmatmul=()):
    result = single_process(options, 1, options.prompt_tokens, qmatmul)
    if not options.prompt_tokens:
        del result["prefill_tokens_per_s"]
    if options.streams:
        many = single_process(options, options.streams, 0, qmatmul)
        result["streams_tokens_per_s"] = many["decode_tokens_per_s"]
        result["streams_p50_s"] = many["decode_p50_s"]
    return result


def measure_llama(options):
    return run_json([options.python, TREE / "scripts/perf/llama.py", "--model", options.model,
                     "--prompt", PROMPT, "--tokens", str(options.tokens),
                     "--prompt-tokens", str(options.prompt_tokens), "--repeat", "2",
                     "--streams", str(options.streams)])


def measure_pipeline(options, pipeline):
    """Decoding of a short prompt; then the time to the first token of a long one."""
    answer, = pipeline.ask(PROMPT, options.tokens)
    result = {"decode_tokens_per_s": answer["timings"]["tokens_per_second"],
              "ids": answer["token_ids"]}
    if options.prompt_tokens:
        # Four tokens each time; the answer tells how many they really were.
        words = " ".join([PROMPT] * (options.prompt_tokens // 4))
        answer, = pipeline.ask(words, 1)
        result["first_token_s"] = answer["timings"]["first_token_ns"] / 1e9
        result["prefill_tokens_per_s"] = answer["prompt_tokens"] / result["first_token_s"]
    if options.streams:
        answers = pipeline.ask(PROMPT, options.tokens, options.streams)
        result["streams_tokens_per_s"] = sum(a["timings"]["tokens_per_second"] for a in answers)
    return result


def measure(options):
    rounds = []
    with Pipeline(options) as pipeline:
        say("perf-model: one round to warm up")
        for number in range(options.rounds + 1):
            one = {"single": measure_single(options)}
            one["pipeline"] = measure_pipeline(options, pipeline)
            if options.f32:
                one["single, f32 weights"] = measure_single(options, ("--qmatmul", "off"))
            if options.python:
                one["llama.cpp"] = measure_llama(options)
            if number:
                rounds.append(one)
                rates = ", ".join(f"{name} {one[name]['decode_tokens_per_s']:.1f}"
                                  for name in one)
                say(f"round {number}/{options.rounds}  tokens/s: {rates}")
    return rounds


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def same_prefix(ids, reference):
    """How many tokens are the same before the first difference."""
    return next((i for i, (a, b) in enumerate(zip(ids, reference)) if a != b),
                min(len(ids), len(reference)))


RATES = {"decode_tokens_per_s": "one stream", "streams_tokens_per_s": "{} streams",
         "prefill_tokens_per_s": "prefill"}


def summarize(rounds, streams):
    """Rates by program, and ratios formed round by round."""
    def of(name, key):
        return [one[name][key] for one in rounds]

    rows, ratios = {}, {}
    for name in rounds[0]:
        rows[name] = {key: spread(of(name, key)) for key in RATES if key in rounds[0][name]}
    for key, what in RATES.items():
        for a, b in (("pipeline", "single"), ("single", "single, f32 weights"),
                     ("single", "llama.cpp")):
            if key in rows[a] and key in rows.get(b, {}):
                ratios[f"{what.format(streams)}: {a} / {b}"] = \
                    spread([x / y for x, y in zip(of(a, key), of(b, key))])
    ratios["one stream: single / memory limit"] = spread(of("single", "memory_fraction"))
    return rows, ratios


def print_tables(report):
    machine = report["machine"]
    print(f"machine: {machine['cpu']}, {machine['processors']} processors, Linux "
          f"{machine['kernel']} {machine['arch']}, box {machine['box']}")
    print(f"{report['blas']}; packed weights: {report['qmatmul']}; {report['rounds']} rounds "
          f"interleaved, one thread a process; {report['prompt_tokens']} tokens prefill (the "
          f"pipeline's to the first token), {report['tokens']} decoded in each stream\n")
    heads = "".join(f"{what.format(report['streams']):>12}" for what in RATES.values())
    print(f"{'tokens/s':<56}{heads}")
    for name, row in report["rows"].items():
        cells = [f"{row[key]['median']:12.1f}" if key in row else f"{'-':>12}" for key in RATES]
        print(f"{name:<56}{''.join(cells)}")
    print(f"\n{'ratio':<56}{'median':>10}  least-most")
    for name, value in report["ratios"].items():
        print(f"{name:<56}{value['median']:>10.3f}  {value['min']:.3f}-{value['max']:.3f}")
    print()
    for name, same in report["same_tokens"].items():
        print(f"greedy tokens of {name}: {same} of {report['tokens']} as in the single process")
    if "llama.cpp" in report["same_tokens"]:
        print("(llama.cpp multiplies with activations rounded to 8 bits, so near ties may differ)")


def main():
    options = parse_options()
    rounds = measure(options)
    rows, ratios = summarize(rounds, options.streams)
    single = rounds[0]["single"]
    report = {
        "command": "perf-model", "machine": single["machine"], "blas": single["blas"],
        "qmatmul": single["qmatmul"], "streams": options.streams,
        "model": os.path.basename(options.model), "rounds": options.rounds,
        "tokens": options.tokens, "prompt_tokens": options.prompt_tokens,
        "rows": rows, "ratios": ratios,
        "same_tokens": {name: min(same_prefix(one[name]["ids"], single["ids"]) for one in rounds)
                        for name in rounds[0] if name != "single"},
        "measured": rounds,
    }
    with open(options.json_file, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2)
    print_tables(report)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
