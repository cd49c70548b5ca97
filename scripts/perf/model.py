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

    def ask(self, prompt, tokens):
        answer = run_json([self.ctl, "run", "--raw", "--ignore-eos", "--json",
                           "--tokens", str(tokens), "--", prompt])
        if answer["tokens"] != tokens:
            sys.exit(f"perf-model: the pipeline made {answer['tokens']} tokens of {tokens}")
        return answer


def measure_single(options):
    result = run_json([os.path.join(options.build, "bin", "sluice-perf"), "model", "--json",
                     "--quiet", "--model", options.model, "--prompt", PROMPT,
                     "--tokens", str(options.tokens),
                     "--prompt-tokens", str(options.prompt_tokens), "--repeat", "2"])
    if not options.prompt_tokens:
        del result["prefill_tokens_per_s"]
    return result


def measure_llama(options):
    return run_json([options.python, TREE / "scripts/perf/llama.py", "--model", options.model,
                     "--prompt", PROMPT, "--tokens", str(options.tokens),
                     "--prompt-tokens", str(options.prompt_tokens), "--repeat", "2"])


def measure_pipeline(options, pipeline):
    """Decoding of a short prompt; then the time to the first token of a long one."""
    answer = pipeline.ask(PROMPT, options.tokens)
    result = {"decode_tokens_per_s": answer["timings"]["tokens_per_second"],
              "ids": answer["token_ids"]}
    if options.prompt_tokens:
        # Four tokens each time; the answer tells how many they really were.
        words = " ".join([PROMPT] * (options.prompt_tokens // 4))
        answer = pipeline.ask(words, 1)
        result["first_token_s"] = answer["timings"]["first_token_ns"] / 1e9
        result["prefill_tokens_per_s"] = answer["prompt_tokens"] / result["first_token_s"]
    return result


def measure(options):
    rounds = []
    with Pipeline(options) as pipeline:
        say("perf-model: one round to warm up")
        for number in range(options.rounds + 1):
            one = {"single": measure_single(options)}
            one["pipeline"] = measure_pipeline(options, pipeline)
            if options.python:
                one["llama.cpp"] = measure_llama(options)
            if number:
                rounds.append(one)
                rates = ", ".join(f"{name} {one[name]['decode_tokens_per_s']:.1f}" for name in one)
                say(f"round {number}/{options.rounds}  tokens/s: {rates}")
    return rounds


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def same_prefix(ids, reference):
    """How many tokens are the same before the first difference."""
    return next((i for i, (a, b) in enumerate(zip(ids, reference)) if a != b),
                min(len(ids), len(reference)))


def summarize(rounds):
    """Rates by program, and ratios formed round by round."""
    def of(name, key):
        return [one[name][key] for one in rounds]

    def ratio(a, b, key):
        return spread([x / y for x, y in zip(of(a, key), of(b, key))])

    rows, ratios = {}, {}
    for name in rounds[0]:
        rows[name] = {key: spread(of(name, key)) for key in
                      ("decode_tokens_per_s", "prefill_tokens_per_s") if key in rounds[0][name]}
    ratios["decode: pipeline / single process"] = ratio("pipeline", "single", "decode_tokens_per_s")
    ratios["decode: single process / memory limit"] = spread(of("single", "memory_fraction"))
    if "prefill_tokens_per_s" in rows["pipeline"]:
        ratios["prefill: pipeline, to the first token / single process"] = \
            ratio("pipeline", "single", "prefill_tokens_per_s")
    if "llama.cpp" in rows:
        if "prefill_tokens_per_s" in rows["llama.cpp"]:
            ratios["prefill: single process / llama.cpp"] = \
                ratio("single", "llama.cpp", "prefill_tokens_per_s")
        ratios["decode: single process / llama.cpp"] = \
            ratio("single", "llama.cpp", "decode_tokens_per_s")
    return rows, ratios


def print_tables(report):
    machine = report["machine"]
    print(f"machine: {machine['cpu']}, {machine['processors']} processors, Linux "
          f"{machine['kernel']} {machine['arch']}, box {machine['box']}")
    print(f"{report['blas']}; {report['rounds']} rounds interleaved, one stream, one thread "
          f"a process; {report['prompt_tokens']} tokens prefill, {report['tokens']} decoded\n")
    print(f"{'tokens/s':<56}{'decode':>10}{'prefill':>10}")
    for name, row in report["rows"].items():
        cells = [f"{row[key]['median']:10.1f}" if key in row else f"{'-':>10}"
                 for key in ("decode_tokens_per_s", "prefill_tokens_per_s")]
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
    rows, ratios = summarize(rounds)
    single = rounds[0]["single"]
    report = {
        "command": "perf-model", "machine": single["machine"], "blas": single["blas"],
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
