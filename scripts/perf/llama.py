# SPDX-License-Identifier: MIT
"""Times llama.cpp on one thread: prefill of N tokens, then greedy decoding of one stream and of many.

Prints one JSON object.

usage: llama.py --model FILE.gguf [--prompt-tokens 512] [--tokens 64] [--prompt TEXT] [--repeat 3]
                [--streams 8]
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
    parser.add_argument("--streams", type=int, default=0, help="decode so many at once, too")
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


def many_streams_context(model, n_streams, longest):
    """A context of its own for several sequences, each with a cache of its own."""
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = n_streams * ((longest + 255) // 256 * 256)
    params.n_batch = params.n_ubatch = 512
    params.n_seq_max = n_streams
    params.n_threads = params.n_threads_batch = 1
    params.kv_unified = False
    context = llama_cpp.llama_init_from_model(model.model, params)
    if not context:
        sys.exit(f"llama.py: no context for {n_streams} streams")
    return context


def set_batch(batch, tokens, position, n_streams):
    """The same number of tokens for every stream; logits of each stream's last one."""
    batch.n_tokens = n_streams * len(tokens[0])
    for stream in range(n_streams):
        for i, token in enumerate(tokens[stream]):
            at = stream * len(tokens[stream]) + i
            batch.token[at] = token
            batch.pos[at] = position + i
            batch.n_seq_id[at] = 1
            batch.seq_id[at][0] = stream
            batch.logits[at] = i == len(tokens[stream]) - 1


def time_streams(model, prompt, n, n_streams):
    """Seconds of each step that decodes one token of every stream greedily."""
    ids = model.tokenize(prompt.encode(), add_bos=False)
    context = many_streams_context(model, n_streams, len(ids) + n + 1)
    batch = llama_cpp.llama_batch_init(n_streams * len(ids), 0, 1)
    tokens, position, steps = [ids] * n_streams, 0, []
    for _ in range(n + 1):
        set_batch(batch, tokens, position, n_streams)
        position += len(tokens[0])
        begin = time.perf_counter()
        if llama_cpp.llama_decode(context, batch):
            sys.exit(f"llama.py: cannot decode {n_streams} streams")
        logits = [llama_cpp.llama_get_logits_ith(context, (i + 1) * len(tokens[0]) - 1)
                  for i in range(n_streams)]
        steps.append(time.perf_counter() - begin)
        tokens = [[int(np.argmax(np.ctypeslib.as_array(one, shape=(model.n_vocab(),))))]
                  for one in logits]
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    return steps[1:]  # the first was the prompt


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
    if options.streams and options.tokens:
        steps = time_streams(model, options.prompt, options.tokens, options.streams)
        result["streams_tokens_per_s"] = options.streams * len(steps) / sum(steps)
        result["streams_p50_s"] = float(np.median(steps))
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
