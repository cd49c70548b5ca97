#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compare the product's forward pass, in one process and without rings, with the reference.

Runs `sluice-perf model` greedily and reference.py on the same prompts, on the given model and on
two tiny random ones that have what it may lack: other quantised types, an output matrix of its own.
Prints TAP.

example: model_compare.py --perf build/bin/sluice-perf smollm2.gguf
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

from hf_tokenizer import load
from reference import Llama, compare, generate

HERE = pathlib.Path(__file__).parent
PROMPTS = [
    "Once upon a time",
    "def fibonacci(n):\n    \"\"\"Return the n-th number.\"\"\"\n",
    "Die Hauptstadt von Österreich ist 維也納 🇦🇹, founded in the year 1",
    # Longer than a block of attention, so that causal blocks and earlier keys meet.
    " ".join(f"Item {i}: the {w} costs {i * 7} coins." for i, w in enumerate(
        "apple lamp river stone cloud horse table piano rope mirror candle window".split())),
]


def product_ids(perf, model, prompt, tokens):
    """Ids that the product generates."""
    done = subprocess.run([perf, "model", "--model", model, "--prompt", prompt, "--tokens",
                           str(tokens), "--prompt-tokens", "0", "--json", "--quiet"],
                          stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)["ids"]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="GGUF file; without it only the tiny ones")
    parser.add_argument("--perf", required=True, help="the program sluice-perf")
    parser.add_argument("--tokens", type=int, default=40)
    args = parser.parse_args()
    n = failed = 0

    with tempfile.TemporaryDirectory() as tmp:
        models = [args.model] if args.model else []
        for name, options in (("tied", ["--seed", "2"]),
                              ("untied", ["--untied", "--kv-heads", "1", "--layers", "3"])):
            models.append(f"{tmp}/{name}.gguf")
            subprocess.run([sys.executable, HERE / "make_tiny_model.py", *options, models[-1]],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for path in models:
            plain, _, reader = load(path)
            weights = Llama(reader)
            for prompt in PROMPTS:
                weights.cache = [None] * weights.n_layer
                ids, margins = generate(weights, plain.encode(prompt).ids, args.tokens, set())
                wrong = compare({"ids": ids, "margins": margins},
                                product_ids(args.perf, path, prompt, args.tokens))
                n += 1
                failed += wrong is not None
                print(f"{'ok' if wrong is None else 'not ok'} {n} - {pathlib.Path(path).stem}: "
                      f"{prompt[:24]!r}, smallest margin {min(margins):.3f}", flush=True)
                if wrong:
                    print(f"# {wrong}", flush=True)
    print(f"1..{n}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
