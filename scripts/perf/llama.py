# SPDX-License-Identifier: MIT
"""Times llama.cpp on one thread: prefill of N tokens, then greedy decoding. Prints one JSON object.

usage: llama.py --model FILE.gguf [--prompt-tokens 512] [--tokens 64] [--prompt TEXT] [--repeat 3]
"""
import argparse
import importlib.metadata
import json
import os
import sys
import time

import llama_cpp
import numpy as np


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--prompt", default="Once upon a time")
    parser.add_argument("--repeat", type=int, default=3, help="prefills; the best counts")
    parser.add_argument("--cpu", type=int, help="run on this processor only")
    return parser.parse_args()


def load(options):
    if not os.access(options.model, os.R_OK):
        sys.exit(f"llama.py: cannot read {options.model}")
    longest = max(options.prompt_tokens, 64 + options.tokens)
    # One thread for both phases; a prompt is one batch, as llama-bench does it (-p 512).
    return llama_cpp.Llama(model_path=options.model, n_ctx=longest, n_threads=1,
                           n_threads_batch=1, n_batch=max(512, options.prompt_tokens),
                           n_ubatch=max(512, options.prompt_tokens), verbose=False)


def time_prefill(model, n, repeat):
    """Seconds of the fastest prefill of n tokens."""
    tokens = np.random.default_rng(1).integers(100, model.n_vocab() - 100, n).tolist()
    best = None
    for _ in range(repeat):
        model.reset()
        begin = time.perf_counter()
        model.eval(tokens)
        elapsed = time.perf_counter() - begin
        best = elapsed if best is None else min(best, elapsed)
    return best


def best_token(model):
    """The likeliest token after the last one that was evaluated."""
    logits = llama_cpp.llama_get_logits_ith(model.ctx, -1)
    return int(np.argmax(np.ctypeslib.as_array(logits, shape=(model.n_vocab(),))))


def time_decode(model, prompt, n):
    """Greedy ids and the seconds of each step after the first token."""
    model.reset()
    model.eval(model.tokenize(prompt.encode(), add_bos=False))
    ids, steps = [], []
    for _ in range(n):
        ids.append(best_token(model))
        begin = time.perf_counter()
        model.eval(ids[-1:])
        steps.append(time.perf_counter() - begin)
    return ids, steps


def main():
    options = parse_options()
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    model = load(options)
    result = {
        "program": "llama-cpp-python " + importlib.metadata.version("llama-cpp-python"),
        "system": llama_cpp.llama_print_system_info().decode(),
    }
    if options.prompt_tokens:
        seconds = time_prefill(model, options.prompt_tokens, options.repeat)
        result["prefill_s"] = seconds
        result["prefill_tokens_per_s"] = options.prompt_tokens / seconds
    if options.tokens:
        ids, steps = time_decode(model, options.prompt, options.tokens)
        result["ids"] = ids
        result["decode_tokens_per_s"] = len(steps) / sum(steps)
        result["decode_p50_s"] = float(np.median(steps))
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
