# SPDX-License-Identifier: MIT
"""Measures a decoder in one process against the same layers in several, by number of streams.

Runs where the module is loaded (scripts/perf-shards calls it in a box). Each round starts every
arrangement in turn, so that a ratio compares what ran in the same minute. Prints a table, writes
JSON. A rate is the sum over the streams of tokens a second from the first token to the last.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

TREE = pathlib.Path(__file__).resolve().parents[2]
FILE = TREE / "userspace/pipelines/smollm2-shards.toml"
PROMPT = "Once upon a time"


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="GGUF file")
    parser.add_argument("--build", required=True, help="where bin/sluicectl is")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--streams", default="1,8", help="numbers of streams, with commas")
    parser.add_argument("--shards", default="1,2", help="numbers of shards, with commas")
    parser.add_argument("--json-file", required=True)
    return parser.parse_args()


def say(text):
    print(text, file=sys.stderr, flush=True)


class Pipeline:
    """Up while the object is in use. A shard computes at most @batch streams at once."""

    def __init__(self, options, shards, streams, batch):
        self.ctl = os.path.join(options.build, "bin", "sluicectl")
        self.sets = {"model": options.model, "shards": shards, "batch": batch,
                     "streams": max(8, streams)}

    def __enter__(self):
        words = [self.ctl, "up", "--detach", FILE]
        for key, value in self.sets.items():
            words += ["--set", f"{key}={value}"]
        if subprocess.run(words, stdout=sys.stderr, stderr=subprocess.DEVNULL).returncode:
            sys.exit("perf-shards: sluicectl up failed; try it by hand")
        return self

    def __exit__(self, *_):
        subprocess.run([self.ctl, "down", FILE], stdout=sys.stderr, stderr=subprocess.DEVNULL)

    def rate(self, streams, tokens):
        """Tokens a second of so many runs at once, and the tokens of one of them."""
        words = [self.ctl, "run", "--raw", "--ignore-eos", "--json", "--tokens", str(tokens), "--",
                 PROMPT]
        runs = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(streams)]
        answers = [json.loads(run.communicate()[0]) for run in runs]
        if any(run.returncode for run in runs):
            sys.exit("perf-shards: sluicectl run failed; see the lines above")
        return sum(a["timings"]["tokens_per_second"] for a in answers), answers[0]["token_ids"]


def arrangements(streams, shards):
    """(shards, streams, batch): all streams at once; in groups, one for each shard, as one process
    and as shards."""
    for n in streams:
        for s in shards:
            batch = max(1, n // s)
            if s != shards[0] and batch != max(1, n // shards[0]):
                yield shards[0], n, batch
            yield s, n, batch


def measure(options, shards, streams, batch):
    with Pipeline(options, shards, streams, batch) as pipeline:
        pipeline.rate(streams, 4)
        return pipeline.rate(streams, options.tokens)


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main():
    options = parse_options()
    numbers = [int(n) for n in options.streams.split(",")]
    shards = [int(n) for n in options.shards.split(",")]
    rates = {a: [] for a in arrangements(numbers, shards)}
    ids = {}
    for number in range(options.rounds):
        for a in rates:
            rate, ids[a] = measure(options, *a)
            rates[a].append(rate)
        say(f"round {number + 1}/{options.rounds}  tokens/s: " + ", ".join(
            f"{n} streams, {s} shards of {b}: {r[-1]:.1f}" for (s, n, b), r in rates.items()))
    print(f"{options.rounds} rounds in turn, {options.tokens} tokens a stream\n")
    print(f"{'streams':>8}{'shards':>8}{'at once':>8}{'tokens/s':>10}  {'least-most':<14}"
          f"{'ratio to the first':>20}  least-most")
    rows = []
    for (s, n, b), values in rates.items():
        first = rates[shards[0], n, max(1, n // shards[0])]
        ratio = spread([x / y for x, y in zip(values, first)])
        rows.append({"streams": n, "shards": s, "batch": b, "tokens_per_s": spread(values),
                     "ratio": ratio, "measured": values})
        print(f"{n:>8}{s:>8}{b:>8}{statistics.median(values):>10.1f}  "
              f"{f'{min(values):.1f}-{max(values):.1f}':<14}{ratio['median']:>20.2f}  "
              f"{ratio['min']:.2f}-{ratio['max']:.2f}")
    alone = [ids[a] for a in ids if a[1] == 1]
    same = all(i == alone[0] for i in alone) if alone else None
    if same is not None:
        print(f"\ngreedy tokens of one stream: {'the same' if same else 'NOT the same'} "
              "in every arrangement")
    with open(options.json_file, "w", encoding="utf-8") as file:
        json.dump({"command": "perf-shards", "model": os.path.basename(options.model),
                   "tokens": options.tokens, "same_tokens": same, "rows": rows}, file, indent=2)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
