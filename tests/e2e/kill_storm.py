#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A kill storm on the language-model pipeline: daemons, clients and the supervisor, at random.

Several answers are always under way. Whoever is killed, an answer that ends well is the text that
was given when nobody was killed; one whose client or supervisor was killed is the beginning of it.
Runs in a box; prints TAP. kill_storm.sh starts the box.

example: kill_storm.py --model smollm2.gguf --module sluice.ko --kills 40 --seed 7
"""

import argparse
import os
import pathlib
import random
import signal
import threading
import time

from kill_test import PROMPTS, TOKENS, healthy
from pipeline_box import STAGES, Pipeline, RunFailed, Tap, wait_until

STREAMS = 3


class Asker(threading.Thread):
    """Asks the same questions again and again, and compares."""

    absent = threading.Event()		# there is no supervisor

    def __init__(self, p, wants, number):
        super().__init__(daemon=True)
        self.p, self.wants, self.number = p, wants, number
        self.run_now = None
        self.excused = False		# client or supervisor were killed meanwhile
        self.stop = False
        self.whole = self.partial = 0
        self.wrong = []

    def ask(self, prompt, want):
        self.excused = self.absent.is_set()
        self.run_now = run = self.p.start(prompt, "--tokens", TOKENS)
        try:
            out, err = run.communicate(timeout=180)
        except Exception as e:  # pylint: disable=broad-except
            run.kill()
            self.wrong.append(f"{prompt!r}: {e}")
            return
        if not run.returncode:
            self.whole += 1
            if out != want:
                self.wrong.append(f"{prompt!r}: got {out!r}, want {want!r}")
            return
        if not self.excused and not self.absent.is_set():
            self.wrong.append(f"{prompt!r}: exit status {run.returncode}: {err.decode()}")
        self.partial += 1
        if not want.startswith(out.rstrip(b"\n")):
            self.wrong.append(f"{prompt!r}: got {out!r}, which does not begin {want!r}")
        time.sleep(0.2)

    def run(self):
        at = self.number
        while not self.stop:
            self.ask(PROMPTS[at % len(PROMPTS)], self.wants[at % len(PROMPTS)])
            at += 1


def parent_of(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("PPid:"):
            return int(line.split()[1])
    return 0


def kill_client(askers, rng):
    """A client in mid-answer."""
    asker = rng.choice(askers)
    run = asker.run_now
    if not run or run.poll() is not None:
        return False
    asker.excused = True
    run.kill()
    return True


def kill_supervisor(p, askers):
    """Its daemons end, its stages are put away by the next one; whoever was served asks again."""
    pid = wait_until(lambda: p.pid("decoder"))
    supervisor = parent_of(pid)
    Asker.absent.set()
    for asker in askers:
        asker.excused = True
    os.kill(supervisor, signal.SIGKILL)
    time.sleep(0.2)
    p.__enter__()
    # whoever began meanwhile may find out later
    for asker in askers:
        asker.excused = True
    Asker.absent.clear()
    return True


def kill_daemon(p, rng):
    """One, or two at once."""
    stages = rng.sample(STAGES, rng.choice((1, 1, 1, 2)))
    for stage in stages:
        pid = p.pid(stage)
        if pid:
            os.kill(pid, signal.SIGKILL)
    return len(stages)


def storm(p, askers, rng, kills):
    """Kills at random moments; how many of whom."""
    done = {"daemons": 0, "clients": 0, "supervisors": 0}
    supervisor_at = kills // 2
    while sum(done.values()) < kills and not any(a.wrong for a in askers):
        time.sleep(rng.uniform(0.05, 1.5))
        try:
            if sum(done.values()) >= supervisor_at:
                supervisor_at += kills
                done["supervisors"] += kill_supervisor(p, askers)
            elif rng.random() < 0.15:
                done["clients"] += kill_client(askers, rng)
            else:
                done["daemons"] += kill_daemon(p, rng)
        except ProcessLookupError:
            continue
    return done


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--module", required=True)
    parser.add_argument("--kills", type=int, default=40, help="processes (default %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="of victims and moments")
    args = parser.parse_args()

    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 32)
    rng = random.Random(seed)
    tap = Tap()
    print(f"# seed {seed}; again: tests/e2e/kill_storm.sh --kills {args.kills} --seed {seed}",
          flush=True)
    begun = time.monotonic()
    with Pipeline(args.model, args.module) as p:
        wants = [p.finish(p.start(prompt, "--tokens", TOKENS)) for prompt in PROMPTS]
        tap.ok(min(map(len, wants)) > 60, "answers to compare with", wants)
        askers = [Asker(p, wants, i) for i in range(STREAMS)]
        for asker in askers:
            asker.start()
        done = storm(p, askers, rng, args.kills)
        for asker in askers:
            asker.stop = True
        for asker in askers:
            asker.join(200)
        whole, partial = sum(a.whole for a in askers), sum(a.partial for a in askers)
        print(f"# killed: {done['daemons']} daemons, {done['clients']} clients, "
              f"{done['supervisors']} supervisors; {whole} whole answers, {partial} cut off with "
              f"their client or supervisor; {time.monotonic() - begun:.0f} s", flush=True)
        tap.equal([w for a in askers for w in a.wrong], [], "every answer is the right text")
        tap.ok(sum(done.values()) >= args.kills, f"{args.kills} processes were killed", done)
        tap.ok(whole >= STREAMS, f"answers came to their end all the same: {whole}")
        tap.ok(not any(a.is_alive() for a in askers), "no client hangs")
        healthy(p, tap, "in the end")
        try:
            tap.equal([p.finish(p.start(prompt, "--tokens", TOKENS)) for prompt in PROMPTS], wants,
                      "and the answers are what they were")
        except RunFailed as e:
            tap.ok(False, "and the answers are what they were", e)
        tap.ok(wait_until(lambda: not p.reply_stages(), 10), "no reply stage is left behind",
               p.reply_stages())
    tap.ok(not os.path.exists("/dev/sluice/control"), "the module could be removed")
    tap.finish()


if __name__ == "__main__":
    main()
