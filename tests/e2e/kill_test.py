#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kill -9 of the pipeline's daemons at random moments: the greedy text stays the same.

Runs in a box; prints TAP. kill_test.sh starts the box.

example: kill_test.py --model smollm2.gguf --module sluice.ko --rounds 20 --seed 7
"""

import argparse
import os
import random
import signal
import time

from pipeline_box import STAGES, Pipeline, RunFailed, Tap, wait_until

PROMPTS = ("Give me three tips for staying healthy.", "Once upon a time",
           "Write a short poem about the sea.")
TOKENS = "48"


def answer_with(p, prompt, act):
    """The text of a run; act(shown) is called after each piece with what there is so far."""
    run = p.start(prompt, "--tokens", TOKENS)
    out = b""
    while piece := run.stdout.read(16):
        out += piece
        act(out)
    return out + p.finish(run)


def kill_after(p, stages, bytes_shown):
    """An act() that kills the daemons of some stages once so much text is there."""
    left = list(stages)

    def act(out):
        if len(out) >= bytes_shown:
            while left:
                p.signal(left.pop())
    return act


def check_same(tap, name, want, make):
    try:
        tap.equal(make(), want, name)
    except RunFailed as e:
        tap.ok(False, name, e)


def healthy(p, tap, name, given_up=0):
    """Everybody is back, nothing lies about, so many messages were given up."""
    tap.ok(wait_until(lambda: all(p.pids().values())), f"{name}: all four daemons serve again")
    tap.ok(p.quiet(), f"{name}: the rings are empty")
    letters = {s: p.show(s)["dead_letters"] for s in STAGES}
    tap.equal(sum(letters.values()), given_up, f"{name}: {given_up} dead letters")
    held = {s: p.show(s)["buffers_used"] for s in STAGES}
    tap.ok(max(held.values()) <= 4, f"{name}: buffers are free but for those in reserve", held)


def test_each_stage(p, tap, rng, want, rounds):
    for i in range(rounds):
        stage = STAGES[i % len(STAGES)]
        after = rng.randrange(1, len(want) * 9 // 10)
        check_same(tap, f"kill -9 {stage} after {after} bytes: same text", want,
                   lambda s=stage, a=after: answer_with(p, PROMPTS[0], kill_after(p, [s], a)))


def test_several(p, tap, rng, want):
    for stages in (("encoder", "decoder"), ("output", "embedding"), STAGES):
        after = rng.randrange(1, len(want) // 2)
        check_same(tap, f"kill -9 of {', '.join(stages)} at once: same text", want,
                   lambda s=stages, a=after: answer_with(p, PROMPTS[0], kill_after(p, s, a)))


def test_again_and_again(p, tap, want):
    """The decoder is killed whenever a few more words have come: a rebuild each time."""
    marks = list(range(20, len(want), 60))

    def act(out):
        if marks and len(out) >= marks[0]:
            marks.pop(0)
            p.signal("decoder")
    check_same(tap, f"the decoder killed {len(marks)} times: same text", want,
               lambda: answer_with(p, PROMPTS[0], act))


def long_prompt(p, sentences):
    """So many sentences, or as many as the model's context takes."""
    while True:
        prompt = "The quick brown fox jumps over the lazy dog. " * sentences
        try:
            p.finish(p.start(prompt, "--raw", "--tokens", "1"))
            return prompt
        except RunFailed as e:
            if "context" not in e.stderr or sentences < 2:
                raise
            sentences //= 2


def test_prefill(p, tap, rng):
    """Killed while it computes a long prompt."""
    prompt = long_prompt(p, 60)
    want = p.finish(p.start(prompt, "--raw", "--tokens", "4"))
    for stage in ("encoder", "embedding", "decoder"):
        run = p.start(prompt, "--raw", "--tokens", "4")
        time.sleep(rng.uniform(0.05, 1.0))
        p.signal(stage)
        check_same(tap, f"kill -9 {stage} during prefill: same text", want,
                   lambda r=run: p.finish(r))


def test_given_up(p, tap):
    """A message that ends its daemon on every attempt is given up, and its client is told."""
    name = "a message that always kills is given up"
    before, kills = p.show("encoder")["redelivered"], p.show("encoder")["max_attempts"] - 1
    run, given_up = p.start(long_prompt(p, 180), "--raw", "--tokens", "4"), 0
    for _ in range(kills):
        wait_until(lambda: p.show("encoder")["claimed"] or run.poll() is not None)
        killed = p.signal("encoder")
        wait_until(lambda old=killed: p.pid("encoder") != old)
    try:
        p.finish(run)
        # Killed between two messages, it had nothing to give back.
        early = p.show("encoder")["redelivered"] - before < kills
        tap.ok(early, name + " # SKIP this model is too fast to be killed so often" * early,
               "it was answered")
    except RunFailed as e:
        tap.ok("gave up" in e.stderr and "EOWNERDEAD, attempt" in e.stderr, name, e)
        given_up = 1
    tap.ok(p.finish(p.start("Hi", "--tokens", "4")), "and others are served")
    return given_up


def test_concurrent(p, tap, rng, rounds):
    """Three streams at once, and somebody is killed: each text as it is alone."""
    want = [p.finish(p.start(prompt, "--tokens", TOKENS)) for prompt in PROMPTS]
    for _ in range(rounds):
        stage = rng.choice(STAGES)
        runs = [p.start(prompt, "--tokens", TOKENS) for prompt in PROMPTS]
        time.sleep(rng.uniform(0.2, 2.5))
        p.signal(stage)
        for run, text, prompt in zip(runs, want, PROMPTS):
            check_same(tap, f"three streams, kill -9 {stage}: {prompt[:16]!r}", text,
                       lambda r=run: p.finish(r))


def test_stopped(p, tap, want):
    """A daemon that is stopped for a while is late, not dead: nothing is lost, nothing twice."""
    done = []

    def act(out):
        if len(out) >= 40 and not done:
            done.append(p.signal("decoder", signal.SIGSTOP))
            time.sleep(1)
            os.kill(done[0], signal.SIGCONT)
    check_same(tap, "SIGSTOP and SIGCONT of the decoder: same text", want,
               lambda: answer_with(p, PROMPTS[0], act))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--module", required=True)
    parser.add_argument("--rounds", type=int, default=12, help="single kills (default %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="for the moments of the kills")
    args = parser.parse_args()

    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 32)
    rng = random.Random(seed)
    tap = Tap()
    print(f"# seed {seed}", flush=True)
    with Pipeline(args.model, args.module) as p:
        want = p.finish(p.start(PROMPTS[0], "--tokens", TOKENS))
        tap.ok(len(want) > 100, "an answer to compare with", want)
        test_each_stage(p, tap, rng, want, args.rounds)
        healthy(p, tap, "after single kills")
        test_several(p, tap, rng, want)
        test_again_and_again(p, tap, want)
        test_prefill(p, tap, rng)
        given_up = test_given_up(p, tap)
        test_concurrent(p, tap, rng, max(2, args.rounds // 4))
        test_stopped(p, tap, want)
        healthy(p, tap, "in the end", given_up)
    tap.ok(not os.path.exists("/dev/sluice/control"), "the module could be removed")
    tap.finish()


if __name__ == "__main__":
    main()
