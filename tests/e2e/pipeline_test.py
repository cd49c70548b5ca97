#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The pipeline of four daemons, from outside: right tokens, bad input, cancelling, idling, ending.

Runs in a box; prints TAP. pipeline_test.sh makes the references and starts the box.

example: pipeline_test.py --model smollm2.gguf --module sluice.ko --references references.json
"""

import argparse
import json
import os
import pathlib
import signal
import struct
import subprocess
import time

from pipeline_box import BUILD, STAGES, Pipeline, RunFailed, Tap, wait_until

SMALL_MARGIN = 0.02	# two f32 engines may disagree about tokens that are closer than this
KIND = {"REQUEST": 1, "PREFILL": 2, "KV": 3, "STEP": 4, "HIDDEN": 5, "TOKEN": 6, "REBUILD": 7,
        "CANCEL": 8, "FREE": 9, "ERROR": 10, "TEXT": 11, "END": 12}
LONG = "Tell me a very long story about a river, a mountain and the sea."


def disagreement(answer, reference):
    """None if the ids agree as far as the reference is sure, else what is wrong."""
    ids = answer["token_ids"]
    for i, (want, sure) in enumerate(zip(reference["ids"], reference["margins"])):
        if i == len(ids) and answer["finish_reason"] == "eos" and i == len(reference["ids"]) - 1:
            return None		# the reference lists the end token, the pipeline does not
        if i >= len(ids):
            return f"token {i} is missing, the reference has {want}"
        if ids[i] != want:
            return None if sure < SMALL_MARGIN else \
                f"token {i} is {ids[i]}, the reference has {want} by {sure:.4f}"
    return None


def options(request):
    return ["--tokens", str(request["tokens"])] + ["--raw"] * request["raw"]


def test_references(p, tap, references):
    for entry in references:
        request, reference = entry["request"], entry["reference"]
        answer = p.ask(request["prompt"], *options(request))
        name = repr(request["prompt"][:32])
        tap.equal(answer["prompt_ids"], reference["prompt_ids"], f"prompt ids of {name}")
        wrong = disagreement(answer, reference)
        tap.ok(wrong is None, f"token ids of {name}", wrong)
        if answer["token_ids"] == reference["ids"]:
            tap.equal(answer["text"].strip(), reference["text"].strip(), f"text of {name}")


def test_concurrent(p, tap, references):
    """All prompts at once: batches, and the same tokens."""
    runs = [(e, p.start(e["request"]["prompt"], "--json", *options(e["request"])))
            for e in references]
    for entry, run in runs:
        wrong = disagreement(json.loads(p.finish(run)), entry["reference"])
        tap.ok(wrong is None, f"{len(runs)} at once: {entry['request']['prompt'][:24]!r}", wrong)


def test_one_client_many_streams(p, tap, references):
    """Several streams over one reply stage, one of them cancelled."""
    out = subprocess.run([BUILD / "tests" / "pipeline_streams", "5", "24", "Once upon a time"],
                         stdout=subprocess.PIPE, check=False)
    lines = [json.loads(line) for line in out.stdout.decode().splitlines()]
    tap.equal(out.returncode, 0, "five streams of one client")
    whole = [line for line in lines if line["reason"] == "length"]
    tap.equal(sorted(line["reason"] for line in lines), ["cancel"] + 4 * ["length"],
              "the cancelled stream ends as cancelled, the others as they would")
    for line in whole:
        wrong = disagreement({"token_ids": line["ids"], "finish_reason": "length"},
                             references[0]["reference"])
        tap.ok(wrong is None, f"stream {line['stream']} has the right tokens", wrong)


def test_stop_and_length(p, tap):
    whole = p.ask("Once upon a time", "--raw", "--tokens", "24")
    tap.equal(whole["finish_reason"], "length", "the limit ends an answer")
    word = whole["text"].split()[-3]
    cut = whole["text"].index(word)
    stopped = p.ask("Once upon a time", "--raw", "--tokens", "24", "--stop", word)
    tap.equal(stopped["text"], whole["text"][:cut], f"the text ends before {word!r}")
    tap.equal(stopped["finish_reason"], "stop", "and says why")
    # A stop string that begins in the middle of a word and ends in another.
    middle = whole["text"][cut - 3:cut + 2]
    stopped = p.ask("Once upon a time", "--raw", "--tokens", "24", "--stop", middle)
    tap.equal(stopped["text"], whole["text"][:whole["text"].index(middle)],
              f"the text ends before {middle!r}")
    missing = p.ask("Once upon a time", "--raw", "--tokens", "24", "--stop", word + "\x01")
    tap.equal(missing["text"], whole["text"], "what was held back comes in the end")


def test_sampling(p, tap):
    def sample(seed):
        return p.ask("Once upon a time", "--raw", "--tokens", "16", "--temperature", "0.9",
                     "--top-k", "50", "--top-p", "0.95", "--seed", str(seed))["token_ids"]

    first = sample(1)
    tap.equal(sample(1), first, "the same seed gives the same tokens")
    tap.ok(any(sample(seed) != first for seed in (2, 3, 4)), "other seeds give others")
    greedy = p.ask("Once upon a time", "--raw", "--tokens", "16")["token_ids"]
    one = p.ask("Once upon a time", "--raw", "--tokens", "16", "--temperature", "5", "--top-k",
                "1")["token_ids"]
    tap.equal(one, greedy, "the best one of one is the greedy one, however hot")


def refused(p, tap, name, words, prompt, *more):
    """The run fails within seconds, and its one line has these words."""
    try:
        p.ask(prompt, *more, timeout=60)
        tap.ok(False, name, "it did not fail")
    except RunFailed as e:
        lines = e.stderr.strip().splitlines()
        tap.ok(e.status > 0 and len(lines) == 1 and all(w in lines[0] for w in words), name, e)


def test_bad_prompts(p, tap):
    before = p.pids()
    refused(p, tap, "an empty prompt is refused", ["empty"], "")
    refused(p, tap, "an empty raw prompt is refused", ["empty"], "", "--raw")
    refused(p, tap, "a prompt longer than the context is refused", ["tokens", "context 2048"],
            "word " * 3000)
    for size, name in ((120000, "that fits the buffer"), (100000 * 3, "larger than the buffers")):
        run = subprocess.run(p.command("-", "--tokens", "4"), input=b"a b " * (size // 4),
                             stderr=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
        tap.ok(run.returncode > 0 and len(run.stderr.splitlines()) == 1,
               f"a prompt of {size} bytes {name} is refused", run.stderr.decode())
    refused(p, tap, "a prompt that is not UTF-8 is refused", ["UTF-8"], b"caf\xe9 \xff\xfe")
    full = p.ask("a " * 2040, "--raw", "--tokens", "100")
    tap.equal((full["finish_reason"], full["prompt_tokens"] + full["tokens"] <= 2049),
              ("length", True), "a full context ends the answer")
    tap.equal(p.pids(), before, "no daemon was lost over it")


def head(kind, history=0, **fields):
    """struct msg_head of message.h, with the sizes that belong to it unless others are given."""
    values = {"magic": 0x45534c53, "version": 2, "kind": KIND[kind], "size": 0, "flags": 1,
              "seed": 0, "temperature": 0.0, "top_p": 1.0, "top_k": 0, "max_tokens": 4,
              "n_ctx": 2048, "n_embd": 576, "n_prompt": min(history, 1), "n_tokens": history,
              "n_turns": 0, "n_stops": 0, "stop_bytes": 0, "data_bytes": 0, "error": 0, "stage": 0,
              "n_hops": 0, "attempt": 0, "reply": b"reply.1.nobody", "hops": bytes(12 * 32)}
    data = fields.pop("data", b"")
    ids = fields.pop("ids", [28] * history)
    values["data_bytes"] = len(data)
    align = lambda n: (n + 63) & ~63
    offset = align(align(520) + 4 * history)
    values["size"] = offset + len(data)
    values.update(fields)
    packed = struct.pack("<IHHIIQff14I48s384s", *values.values())
    body = packed.ljust(align(520), b"\0") + struct.pack(f"<{history}i", *ids)
    return body.ljust(offset, b"\0") + data


def malformed():
    """(what it is, kind, counter, payload): all must be refused, by every stage."""
    vector = bytes(576 * 4)
    yield "nothing at all", 0, 0, b"x"
    yield "a short text", KIND["STEP"], 0, b"hello"
    yield "random bytes", KIND["HIDDEN"], 7, os.urandom(4096)
    for kind in KIND:
        yield f"{kind} with random bytes", KIND[kind], 3, os.urandom(1000)
        yield f"{kind} of zeroes", KIND[kind], 0, bytes(4096)
    for kind in ("PREFILL", "KV", "STEP", "HIDDEN", "TOKEN", "REBUILD"):
        yield f"{kind} with sizes near 2^32", KIND[kind], 2, \
            head(kind, 2, data=vector, n_tokens=0xffffffff, n_embd=0xffffffff)
        yield f"{kind} that is longer than it says", KIND[kind], 2, \
            head(kind, 2, data=vector) + b"x"
        yield f"{kind} with another counter", KIND[kind], 9, head(kind, 2, data=vector)
        yield f"{kind} of another model", KIND[kind], 2, \
            head(kind, 2, n_embd=64, data=bytes(64 * 4 * (2 if kind == "PREFILL" else 1)))
    yield "REQUEST whose turns do not fit", KIND["REQUEST"], 0, \
        head("REQUEST", flags=0, n_turns=3, n_ctx=0, n_embd=0, data=struct.pack("<II", 1, 1 << 30))
    yield "TOKEN with an id outside the vocabulary", KIND["TOKEN"], 2, \
        head("TOKEN", 2, ids=[28, 1 << 30])
    yield "PREFILL that is a KV", KIND["KV"], 2, head("PREFILL", 2, data=2 * vector)


def test_malformed(p, tap):
    """Every stage gets every malformed message; the daemons stay, and serve."""
    before = p.pids()
    dead = {s: p.show(s)["dead_letters"] for s in STAGES}
    messages = list(malformed())
    for stage in STAGES:
        failed = [name for name, kind, counter, payload in messages
                  if p.send(stage, payload, kind, stream=99, counter=counter)]
        tap.equal(failed, [], f"stage {stage} could be sent {len(messages)} malformed messages")
    tap.ok(p.quiet(), "all of them were taken")
    tap.equal(p.pids(), before, "no daemon ended")
    for stage in STAGES:
        letters = p.show(stage)["dead_letters"] - dead[stage]
        tap.ok(letters >= len(messages) - 4, f"stage {stage} refused them as dead letters",
               f"{letters} of {len(messages)}")


def test_forged(p, tap):
    """Well-formed messages of a stream that nobody knows, for a client that is not there."""
    before = p.pids()
    vector = struct.pack("<576f", *([0.5] * 576))
    poison = struct.pack("<576f", *([float("nan")] * 576))
    p.send("decoder", head("STEP", 3, data=vector), KIND["STEP"], 1001, 3)
    p.send("embedding", head("TOKEN", 3), KIND["TOKEN"], 1002, 3)
    p.send("embedding", head("CANCEL", n_ctx=0, n_embd=0), KIND["CANCEL"], 1003, 0)
    p.send("output", head("HIDDEN", 3, data=poison), KIND["HIDDEN"], 1004, 3)
    p.send("encoder", head("PREFILL", 3, data=3 * poison), KIND["PREFILL"], 1005, 3)
    tap.ok(p.quiet(), "forged messages come to an end")
    tap.equal(p.pids(), before, "and take no daemon along")


def test_cancel(p, tap, number, name):
    run = p.start(LONG, "--tokens", "1000")
    run.stdout.read(40)
    run.send_signal(number)
    run.communicate(timeout=30)
    tap.ok(run.returncode != 0, f"a run that gets {name} fails")
    tap.ok(p.quiet(), f"the stream stops after {name}")
    count = p.show("decoder")["tail"]
    time.sleep(1)
    tap.equal(p.show("decoder")["tail"], count, "and stays stopped")
    p.ask("Once upon a time", "--raw", "--tokens", "2")
    tap.ok(wait_until(lambda: not p.reply_stages(), 5), "no reply stage is left behind",
           p.reply_stages())


def test_admission(p, tap):
    """Twelve at once where eight are let in: who is refused is told, the others are served."""
    runs = [p.start(LONG, "--tokens", "40", "--json") for _ in range(12)]
    served, errors = 0, []
    for run in runs:
        try:
            served += json.loads(p.finish(run))["tokens"] > 0
        except RunFailed as e:
            errors.append(e.stderr.strip())
    tap.ok(all("limit" in e for e in errors), "each of twelve gets an answer or a refusal", errors)
    tap.ok(served >= 8, "eight are served", f"served {served}")


def cpu_ticks(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_idle(p, tap):
    pids = p.pids()
    p.quiet()
    before = {s: cpu_ticks(pid) for s, pid in pids.items()}
    time.sleep(3)
    used = {s: cpu_ticks(pid) - before[s] for s, pid in pids.items()}
    tap.ok(max(used.values()) <= 1, "an idle daemon uses no processor time", used)


def test_sigterm(p, tap):
    """SIGTERM in mid-answer: held work is finished, not taken over, and the text is the same."""
    want = p.ask(LONG, "--tokens", "48")["text"]
    for stage in STAGES:
        redelivered = p.show(stage)["redelivered"]
        run = p.start(LONG, "--tokens", "48")
        out = run.stdout.read(30)
        old = p.signal(stage, signal.SIGTERM)
        out += p.finish(run)
        tap.equal(out.decode().rstrip("\n"), want.rstrip("\n"),
                  f"the same text with SIGTERM to {stage}")
        tap.ok(wait_until(lambda: p.pid(stage) not in (None, old)), f"{stage} was replaced")
        tap.equal(p.show(stage)["redelivered"], redelivered, f"{stage} left no work behind")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--module", required=True)
    parser.add_argument("--references", required=True)
    args = parser.parse_args()
    references = json.loads(pathlib.Path(args.references).read_text(encoding="utf-8"))

    tap = Tap()
    tests = [
        lambda p: test_references(p, tap, references),
        lambda p: test_concurrent(p, tap, references),
        lambda p: test_one_client_many_streams(p, tap, references),
        lambda p: test_stop_and_length(p, tap),
        lambda p: test_sampling(p, tap),
        lambda p: test_bad_prompts(p, tap),
        lambda p: test_malformed(p, tap),
        lambda p: test_forged(p, tap),
        lambda p: test_cancel(p, tap, signal.SIGINT, "SIGINT"),
        lambda p: test_cancel(p, tap, signal.SIGKILL, "SIGKILL"),
        lambda p: test_admission(p, tap),
        lambda p: test_idle(p, tap),
        lambda p: test_sigterm(p, tap),
        lambda p: test_references(p, tap, references[:1]),
    ]
    with Pipeline(args.model, args.module) as p:
        for test in tests:
            begun = time.monotonic()
            test(p)
            print(f"# {time.monotonic() - begun:.1f} s", flush=True)
    tap.ok(not os.path.exists("/dev/sluice/control"), "the module could be removed")
    tap.finish()


if __name__ == "__main__":
    main()
