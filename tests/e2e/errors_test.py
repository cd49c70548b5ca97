#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What goes wrong in a pipeline reaches the client: stage, attempt, errno, reason; and soon.

A poison prompt, types that are refused, a request that no rule matches, a stage that is not there, a
daemon that keeps dying and its circuit breaker. Runs in a box; prints TAP. errors_test.sh starts the box.

example: errors_test.py --model smollm2.gguf --module sluice.ko
"""

import argparse
import errno
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

from pipeline_box import BUILD, NAME, ROOT, SLUICECTL, Pipeline, Tap, wait_until

PROMPT = "Once upon a time"
POISON = "The quick brown fox jumps over the lazy dog. " * 180


def sluicectl(*args, **more):
    return subprocess.run([SLUICECTL, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          check=False, **more)


def failure(p, prompt, *options, timeout=180):
    """The error of a run as --json gives it, what it says to people, its exit status."""
    run = p.start(prompt, "--json", *options)
    out, err = run.communicate(timeout=timeout)
    try:
        error = json.loads(out).get("error", {})
    except ValueError:
        error = {}
    lines = [x for x in err.decode().splitlines() if "waiting: nobody serves" not in x]
    return error, lines, run.returncode


def check_failure(tap, name, got, stage, number, words, status=1, attempt=1):
    """All of what a client is to know; by its errno it was no time-out."""
    error, lines, code = got
    tap.equal((error.get("stage"), error.get("name"), error.get("attempt"), code),
              (stage, errno.errorcode[number], attempt, status),
              f"{name}: stage, errno, attempt, exit status")
    tap.ok(words in error.get("reason", ""), f"{name}: the reason", f"{error}\n{lines}")
    tap.ok(len(lines) == 1 and stage in lines[0] and words in lines[0],
           f"{name}: one line for people", lines)


def pipeline_file(directory, **changes):
    """smollm2.toml with lines added to, or replaced in, the tables of stages."""
    lines, stage = [], None
    text = (ROOT / "userspace" / "pipelines" / f"{NAME}.toml").read_text(encoding="utf-8")
    for line in text.splitlines():
        key = line.split("=")[0].strip()
        if key == "name":
            stage = line.split('"')[1]
        changed = changes.get(stage, {}) if stage != NAME else {}
        if key in changed:
            continue
        lines.append(line)
        if key == "name":
            lines += [f"{k} = {v}" for k, v in changed.items()]
    file = pathlib.Path(directory) / f"{NAME}.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def command(stage, *before):
    """The daemon's command of smollm2.toml behind another program's."""
    words = [*before, str(BUILD / "bin" / f"sluice-{stage}"), "--model", "${model}", "--ctx", "${context}",
             "--max-streams", "${streams}"]
    return json.dumps(words)


# ------------------------------------------------------------------------ poison ---

def letters_of(stage):
    return json.loads(sluicectl("dead", "list", stage, "--json").stdout)


def test_poison(args, tap, directory, attempts):
    """A prompt that costs more processor time than its daemon may use kills each that touches it.

    With one attempt it becomes a dead letter of the kernel's, and the supervisor tells the client;
    with several the last daemon that gets it does. Either way people find the letter.
    """
    file = pipeline_file(directory, encoder={
        "command": command("encoder", "prlimit", "--cpu=5:5"), "max_attempts": attempts})
    name = f"a poison prompt with {attempts} attempt{'s' * (attempts > 1)}"
    with Pipeline(args.model, args.module, file=file) as p:
        want = p.ask(PROMPT, "--raw", "--tokens", "24")["text"]
        other = p.start(PROMPT, "--raw", "--tokens", "24", "--json")
        check_failure(tap, name, failure(p, POISON, "--raw", "--tokens", "4"), "encoder",
                      errno.EOWNERDEAD, "gave up on a PREFILL message", attempt=attempts)
        tap.equal(json.loads(p.finish(other))["text"], want, f"{name}: another stream is unharmed")
        letters = letters_of("encoder")
        tap.equal([x["errno"] for x in letters], [errno.EOWNERDEAD],
                  f"{name}: the letter is there for people")
        wait_until(lambda: p.pid("encoder"))
        check = sluicectl("check", "--quiet", "encoder")
        tap.equal(check.returncode, 1, f"{name}: check says degraded")
        sluicectl("dead", "drop", "encoder", "--all")
        tap.equal(sluicectl("check", "encoder").returncode, 0, f"{name}: and healthy afterwards")
        tap.equal(p.ask(PROMPT, "--raw", "--tokens", "24")["text"], want, f"{name}: all go on")


# ------------------------------------------------------------------------- types ---

def test_types(args, tap, directory):
    file = pipeline_file(directory, encoder={"accepts": '["embedding:f32[?,64]"]'})
    with Pipeline(args.model, args.module, file=file) as p:
        check_failure(tap, "a type that a stage does not take",
                      failure(p, PROMPT, "--raw", "--tokens", "4"), "encoder", errno.EPROTOTYPE,
                      "takes embedding:f32[?,64]; got embedding:f32[4,576]")
        # A typed message by itself, from somebody who waits for its acknowledgement.
        sent = sluicectl("send", "embedding", "--type", "image/png", "--wait", "--timeout", "20s",
                         "no picture")
        tap.ok(sent.returncode == 1 and b"wrong type" in sent.stderr.lower(),
               "an unknown type: its sender is told", sent.stderr.decode())
        tap.ok(wait_until(lambda: [x["errno"] for x in letters_of("embedding")] ==
                          [errno.EPROTOTYPE]), "and the dead letter says why",
               letters_of("embedding"))
        log = pathlib.Path(os.environ.get("SLUICE_RUN_DIR", "/run/sluice")) / f"{NAME}.log"
        tap.ok("this stage takes text or tokens; got image/png" in log.read_text(encoding="utf-8"),
               "by its name in the log")


# ------------------------------------------------------------------------ no rule ---

REQUESTS = """
[client]
embedding = "requests"

[[stage]]
name = "requests"
slots = 128
buffers = 16
buffer_size = "256K"
dead_letters = 64
routes = ["model known* -> embedding"]
"""


def test_no_rule(args, tap, directory):
    """A request that no rule matches is a dead letter of the router's; its client is told."""
    file = pipeline_file(directory)
    file.write_text(file.read_text(encoding="utf-8") + REQUESTS, encoding="utf-8")
    ask = (PROMPT, "--pipeline", NAME, "--raw", "--tokens", "8", "--model")
    with Pipeline(args.model, args.module, file=file) as p:
        want = p.ask(*ask, "known-1")["text"]
        check_failure(tap, "no rule matches", failure(p, *ask, "other"), "requests",
                      errno.EDESTADDRREQ, "no rule for what is next matches it")
        tap.equal([x["errno"] for x in letters_of("requests")], [errno.EDESTADDRREQ],
                  "no rule matches: the letter is there for people")
        tap.equal(p.ask(*ask, "known-2")["text"], want, "no rule matches: others go on")


# ------------------------------------------------------------------ no downstream ---

def make_again(stage, size, buffers):
    sluicectl("create", stage, "--slots", "128", "--buffers", str(buffers), "--buffer-size", size,
              "--dead-letters", "64")


def test_downstream(args, tap, directory):
    file = pipeline_file(directory)
    with Pipeline(args.model, args.module, file=file) as p:
        want = p.ask(PROMPT, "--raw", "--tokens", "8")["text"]
        sluicectl("destroy", "--force", "encoder")
        check_failure(tap, "a stage that was destroyed",
                      failure(p, PROMPT, "--raw", "--tokens", "8"), "encoder", errno.ESHUTDOWN,
                      "destroyed")
        make_again("encoder", "5M", 16)
        tap.ok(wait_until(lambda: p.pid("encoder"), 60), "it is made again, and served")

        def same():
            run = p.start(PROMPT, "--raw", "--tokens", "8", "--json")
            out = run.communicate(timeout=60)[0]
            return not run.returncode and json.loads(out)["text"] == want
        tap.ok(wait_until(same, 30, 0.5), "and answers go on")
        sluicectl("destroy", "--force", "output")
        got = failure(p, PROMPT, "--raw", "--tokens", "8")
        tap.ok(got[2] and got[0].get("stage") == "output" and got[0].get("name") != "ETIMEDOUT",
               "the last stage was destroyed: told without it", got)
        tap.equal(sluicectl("check", "--quiet", "output").returncode, 3,
                  "check of what is not there")


# ---------------------------------------------------------------------- breakers ---

def test_breaker(args, tap, directory):
    """A decoder that cannot start any more is shut off, refused early, and tried again later."""
    flag = pathlib.Path(directory) / "broken"
    shell = f'test ! -e {flag} || exit 1; exec "$0" "$@"'
    file = pipeline_file(directory, decoder={
        "command": command("decoder", "sh", "-c", shell), "breaker_failures": 3,
        "breaker_backoff": '"3s"', "breaker_backoff_max": '"3s"'})
    with Pipeline(args.model, args.module, file=file) as p:
        want = p.ask(PROMPT, "--raw", "--tokens", "24")["text"]
        tap.equal(p.show("decoder")["breaker"]["state"], "closed", "the breaker is closed")
        running = p.start(PROMPT, "--raw", "--tokens", "1000", "--ignore-eos", "--json")
        wait_until(lambda: p.show("decoder")["tail"] > 30)
        flag.touch()
        p.signal("decoder", signal.SIGKILL)
        tap.ok(wait_until(lambda: p.show("decoder")["breaker"]["state"] == "open"),
               "it opens after repeated failures", p.show("decoder")["breaker"])
        tap.equal(sluicectl("check", "--quiet", "decoder").returncode, 2, "check says broken")
        top = json.loads(sluicectl("top", "--once", "--json", "--interval", "10ms",
                                   "decoder").stdout)["stages"][0]
        tap.equal((top["breaker"], top["health"]), ("open", "broken"), "top shows it")
        error, lines, status = failure(p, PROMPT, "--raw", "--tokens", "4")
        tap.ok((error.get("stage"), error.get("name"), status) == ("decoder", "EHOSTDOWN", 8) and
               "try again in" in error["reason"], "requests are refused with stage and retry-after",
               f"{error} {lines}")
        out, _ = running.communicate(timeout=60)
        tap.equal(json.loads(out)["error"]["name"], "EHOSTDOWN",
                  "who was in the middle of an answer is told, too")
        flag.unlink()
        tap.ok(wait_until(lambda: p.show("decoder")["breaker"]["state"] == "closed", 60),
               "it closes when a probe goes well", p.show("decoder")["breaker"])
        tap.equal(p.ask(PROMPT, "--raw", "--tokens", "24")["text"], want, "and answers go on")
        tap.ok(p.show("decoder")["breaker"]["trips"] >= 1, "how often it opened is counted")
        tap.ok(wait_until(lambda: not sluicectl("check", "--quiet").returncode, 10),
               "check says healthy", sluicectl("check").stderr.decode())


# -------------------------------------------------------------------------- busy ---

def test_busy(args, tap, directory):
    """One stream at a time: who comes meanwhile is told when to come again, and is let in then."""
    words = json.loads(command("embedding"))
    words[-1] = "1"
    file = pipeline_file(directory, embedding={"command": json.dumps(words)})
    with Pipeline(args.model, args.module, file=file) as p:
        want = p.ask(PROMPT, "--raw", "--tokens", "8")["text"]
        running = p.start(PROMPT, "--raw", "--tokens", "1500", "--ignore-eos", "--json")
        wait_until(lambda: p.show("decoder")["tail"] > 30)
        got = failure(p, PROMPT, "--raw", "--tokens", "8")
        check_failure(tap, "a stream too many", got, "embedding", errno.EBUSY,
                      "busy, try again in", status=8)
        after = got[0].get("retry_after_ms", 0)
        tap.ok(after > 0 and f"in {after} ms" in got[0]["reason"], "it is told when to come again",
               got[0])
        tap.equal(failure(p, PROMPT, "--raw", "--tokens", "8", "--retry", "1ms")[2], 8,
                  "--retry of less than that does not help")
        patient = p.start(PROMPT, "--raw", "--tokens", "8", "--retry", "2m", "--json")
        time.sleep(after / 1000)
        tap.equal(patient.poll(), None, "--retry waits")
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
        tap.equal(json.loads(p.finish(patient))["text"], want, "and gets its answer")
        tap.ok(wait_until(lambda: not failure(p, PROMPT, "--raw", "--tokens", "8")[2]),
               "and is let in when the other one has ended")
        tap.equal(p.ask(PROMPT, "--raw", "--tokens", "8")["text"], want, "with the same answer")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--module", required=True)
    parser.add_argument("--only", default="", help="run only the test with this name")
    args = parser.parse_args()

    tap = Tap()
    tests = {
        "poison": lambda d: [test_poison(args, tap, d, n) for n in (1, 3)],
        "types": lambda d: test_types(args, tap, d),
        "no_rule": lambda d: test_no_rule(args, tap, d),
        "downstream": lambda d: test_downstream(args, tap, d),
        "breaker": lambda d: test_breaker(args, tap, d),
        "busy": lambda d: test_busy(args, tap, d),
    }
    for name, test in tests.items():
        if args.only in ("", name):
            begun = time.monotonic()
            with tempfile.TemporaryDirectory() as directory:
                test(directory)
            print(f"# {name}: {time.monotonic() - begun:.1f} s", flush=True)
    tap.ok(not os.path.exists("/dev/sluice/control"), "the module could be removed")
    tap.finish()


if __name__ == "__main__":
    main()
