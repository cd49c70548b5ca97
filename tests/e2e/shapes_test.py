#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A decoder in shards, and without an encoder: the greedy text is that of four processes.

Also with kill -9 of each shard in mid-answer, and with several streams. Runs in a box; prints TAP.
shapes_test.sh starts the box.

example: shapes_test.py --model smollm2.gguf --module sluice.ko --rounds 4 --seed 7
"""

import argparse
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import tempfile

from kill_test import PROMPTS, TOKENS, answer_with, check_same, kill_after, long_prompt
from pipeline_box import ROOT, SLUICECTL, Pipeline, Tap, wait_until

SHARDED = "smollm2-shards"


def answers(p):
    return [p.finish(p.start(prompt, "--tokens", TOKENS)) for prompt in PROMPTS]


def passed(p, stage):
    """How many messages a stage has seen acknowledged."""
    out = subprocess.run([SLUICECTL, "stats", stage, "--json"], check=True,
                         stdout=subprocess.PIPE).stdout
    found = json.loads(out)
    return (found[0] if isinstance(found, list) else found)["acked"]


def test_same(p, tap, what, want):
    for prompt, text in zip(PROMPTS, want):
        check_same(tap, f"{what}: {prompt[:16]!r}", text,
                   lambda q=prompt: p.finish(p.start(q, "--tokens", TOKENS)))


def test_together(p, tap, want):
    """Several streams: one shard works on some while the other works on others."""
    runs = [p.start(prompt, "--tokens", TOKENS) for prompt in PROMPTS]
    for run, text, prompt in zip(runs, want, PROMPTS):
        check_same(tap, f"three streams at once: {prompt[:16]!r}", text,
                   lambda r=run: p.finish(r))


def test_kills(p, tap, rng, want, rounds, shards):
    for i in range(rounds):
        for stages in [[s] for s in shards] + [shards] * (i == 0):
            after = rng.randrange(1, len(want) * 9 // 10)
            check_same(tap, f"kill -9 of {' and '.join(stages)} after {after} bytes: same text",
                       want, lambda s=stages, a=after: answer_with(p, PROMPTS[0],
                                                                   kill_after(p, s, a)))
    everyone = ["embedding", "output", *shards]
    tap.ok(wait_until(lambda: all(p.pid(s) for s in everyone)), "all daemons serve again")
    tap.ok(p.quiet(), "the rings are empty")
    letters = {s: p.show(s)["dead_letters"] for s in everyone}
    tap.equal(sum(letters.values()), 0, "no dead letters")


def test_long(p, tap, prompt, want):
    check_same(tap, "a long prompt, in chunks: same text", want,
               lambda: p.finish(p.start(prompt, "--raw", "--tokens", "8")))


def test_two_models(p, tap, want):
    """The name of the model in the request decides who answers."""
    ask = ("--pipeline", "two-models", "--tokens", TOKENS)
    for name, stage, idle in (("other-7b", "other.decoder", "decoder"),
                              ("smollm2", "decoder", "other.decoder")):
        before = passed(p, idle)
        check_same(tap, f"a request for {name}: same text", want,
                   lambda n=name: p.finish(p.start(PROMPTS[0], "--model", n, *ask)))
        tap.ok(passed(p, stage) > 40 and passed(p, idle) == before, f"{stage} has answered")
    run = p.start(PROMPTS[0], "--model", "other", *ask)
    out = run.stdout.read(len(want) // 2)
    p.signal("requests")
    p.signal("other.decoder")
    check_same(tap, "kill -9 of the router and of the decoder that answers: same text", want,
               lambda: out + p.finish(run))
    run = p.start("Count to a thousand.", "--model", "other", *ask[:2], "--tokens", "1000")
    run.stdout.read(20)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    tap.ok(wait_until(lambda: p.show("other.embedding")["ready"] == 0 and
                      passed(p, "requests") == 4 + 1), "a cancellation goes the same way")


def two_shards(args, tap, rng, want, long):
    with Pipeline(args.model, args.module, SHARDED) as p:
        test_same(p, tap, "two shards", want)
        test_together(p, tap, want)
        test_long(p, tap, *long)
        tap.ok(passed(p, "encoder") > 0, "the encoder was asked")
        test_kills(p, tap, rng, want[0], args.rounds, ["decoder", "decoder.2"])


def three_shards(args, tap, rng, want, long):
    with Pipeline(args.model, args.module, SHARDED, shards=3, short=2048) as p:
        test_same(p, tap, "three shards, past the encoder", want)
        test_long(p, tap, *long)
        test_kills(p, tap, rng, want[0], 1, ["decoder", "decoder.2", "decoder.3"])
        tap.equal(passed(p, "encoder"), 0, "the encoder was never asked")


def short_prompts(args, tap, rng, want, long):
    with Pipeline(args.model, args.module, SHARDED, shards=1, short=100) as p:
        test_same(p, tap, "short prompts past the encoder, one decoder", want)
        tap.equal(passed(p, "encoder"), 0, "for short prompts the encoder was not asked")
        test_long(p, tap, *long)
        tap.equal(passed(p, "encoder"), 1, "for a long one it was")
        test_kills(p, tap, rng, want[0], 1, ["decoder"])


def layers(args, tap, rng, want, long):
    """Explicit ranges instead of equal parts."""
    text = (ROOT / "userspace" / "pipelines" / f"{SHARDED}.toml").read_text()
    text = re.sub(r'(?m)^shards = "\$.*$', 'layers = ["0-3", "4-28", "29-29"]', text)
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "layers.toml"
        file.write_text(text)
        with Pipeline(args.model, args.module, SHARDED, file) as p:
            test_same(p, tap, "layers 0-3, 4-28, 29", want)


def two_models(args, tap, rng, want, long):
    with Pipeline(args.model, args.module, "two-models") as p:
        test_two_models(p, tap, want[0])


PARTS = {f.__name__: f for f in (two_shards, three_shards, short_prompts, layers, two_models)}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--module", required=True)
    parser.add_argument("--rounds", type=int, default=2, help="kills of each (default %(default)s)")
    parser.add_argument("--parts", default=",".join(PARTS), help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=None, help="for the moments of the kills")
    args = parser.parse_args()

    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 32)
    rng = random.Random(seed)
    tap = Tap()
    print(f"# seed {seed}", flush=True)
    with Pipeline(args.model, args.module) as p:
        want = answers(p)
        prompt = long_prompt(p, 60)
        long_want = p.finish(p.start(prompt, "--raw", "--tokens", "8"))
    tap.ok(min(map(len, want)) > 50, "answers to compare with", want)

    for part in args.parts.split(","):
        PARTS[part](args, tap, rng, want, (prompt, long_want))
    tap.ok(not os.path.exists("/dev/sluice/control"), "the module could be removed")
    tap.finish()


if __name__ == "__main__":
    main()
