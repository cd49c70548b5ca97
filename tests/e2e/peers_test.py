#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The peer programs keep to their protocol, and leave nothing behind. Prints TAP.

Runs on the host or in a box; scripts/perf/peers must have built them. What is measured here is not
fit to be quoted: a few messages on a busy machine.

example: peers_test.py --peers zmq,ucx build/perf/peers/peers.tsv
"""

import argparse
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import tempfile
import time

from pipeline_box import Tap, wait_until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts/perf"))
from peers_pair import Pair, PeerFailed  # noqa: E402 - found by the line above

COUNTS = {"round": 100, "flow": 1000, "payload": 3}
MIB = 1 << 20
CAP_SYS_RESOURCE = 24
HERE = pathlib.Path(__file__).resolve().parent


def read_list(path):
    """Of the list: name to modes, works, title, command."""
    peers = {}
    for line in pathlib.Path(path).read_text().splitlines():
        name, modes, works, title, command = line.split("\t")
        peers[name] = (modes.split(","), works.split(","), title, command)
    return peers


def may_have_long_queues():
    for line in open("/proc/self/status"):
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_RESOURCE & 1)
    return False


class Leftovers:
    """What programs can leave: names and segments of shared memory, queues, processes."""

    def __init__(self):
        self.before = self.look()

    @staticmethod
    def look():
        found = set()
        for where in ("/dev/shm", "/dev/mqueue"):
            if os.path.isdir(where):
                found |= {f"{where}/{name}" for name in os.listdir(where)}
        with open("/proc/sysvipc/shm") as f:
            found |= {"segment " + line.split()[1] for line in f.readlines()[1:]}
        return {name for name in found if "peers-test-" in name or "segment" in name
                or "iox2" in name or "aeron" in name}

    @staticmethod
    def processes():
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if "peers-test-" in line and int(entry.name) != os.getpid():
                found.append(line)
        return found

    def check(self, tap, what):
        gone = wait_until(lambda: self.look() <= self.before and not self.processes(), 5)
        tap.ok(gone, f"{what}: nothing is left behind",
               f"{self.look() - self.before} {self.processes()}")


# ------------------------------------------------------------------ replies ---

def check_reply(tap, pair, work, what):
    """A command's replies have the right size, and times that can be true."""
    n, begin = COUNTS[work], time.monotonic_ns()
    ping, pong = pair.command_both(work, n)
    took = time.monotonic_ns() - begin
    if work == "flow":
        tap.ok(0 < ping[0] < took and 0 < pong[0] < took, f"{what}: times of both sides",
               f"{ping[0]} and {pong[0]} of {took} ns")
        return
    tap.ok(len(ping) == n and min(ping) > 20 and sum(ping) < took and pong == (0,),
           f"{what}: {n} times, which add up to less than it took",
           f"smallest {min(ping)}, sum {sum(ping)} of {took} ns, pong {pong}")


def check_pair(tap, what, command, mode, works, **settings):
    try:
        with Pair(command, mode, **settings) as pair:
            tap.equal(pair.ready(), (0, 0), f"{what}: both are ready")
            for work in works:
                check_reply(tap, pair, work, f"{what} {work}")
            status, more = pair.end()
            tap.equal((status, more), ([0, 0], b""), f"{what}: ends with its input")
    except (PeerFailed, subprocess.TimeoutExpired) as e:
        tap.ok(False, what, e)


def test_works(tap, name, peer):
    modes, works, _, command = peer
    short = [w for w in works if w != "payload"]
    for mode in modes:
        # Commands follow each other, the same one too.
        check_pair(tap, f"{name} {mode}", command, mode, short + short[:1])
        if "payload" not in works:
            continue
        size = MIB if name != "mq" or may_have_long_queues() else 4096
        check_pair(tap, f"{name} {mode} {size} bytes", command, mode, ["payload"], size=size)
    for size in (8, 4001):
        check_pair(tap, f"{name} {modes[-1]} {size} bytes", command, modes[-1], works, size=size)
    if "flow" in works:
        check_pair(tap, f"{name} {modes[-1]} 2 slots", command, modes[-1], ["flow"], slots=2)


# ----------------------------------------------------------------- failures ---

def one_line(text):
    return text.count("\n") == 1 and text.endswith("\n") and len(text) > 10


def gives_up(tap, pair, side, what, word=""):
    """A side ends with status 1 and one line, with that word in it."""
    try:
        status = pair.sides[side].wait(60)
    except subprocess.TimeoutExpired:
        status = None
    said = pair.errors(side)
    tap.ok(status == 1 and one_line(said) and word in said, what, f"status {status}: {said}")


def test_arguments(tap, name, command):
    with tempfile.TemporaryDirectory(prefix="peers-test-") as place:
        good = {"--side": "ping", "--mode": "sleep", "--size": "64", "--slots": "16",
                "--dir": place}
        for wrong in ({"--side": "pang"}, {"--mode": "doze"}, {"--size": "7"},
                      {"--size": "1048577"}, {"--slots": "0"}, {"--slots": "many"},
                      {"--dir": f"{place}/none"}, {"--dir": None}, {"--colour": "red"}):
            words = [w for pair in {**good, **wrong}.items() if pair[1] for w in pair]
            try:
                run = subprocess.run([*shlex.split(command), *words], input=b"",
                                     capture_output=True, timeout=60)
                said = run.stderr.decode(errors="replace")
                good_end = run.returncode in (1, 2) and one_line(said) and run.stdout == b""
                why = f"{run.returncode}: {said}"
            except subprocess.TimeoutExpired:
                good_end, why = False, "it goes on"
            tap.ok(good_end, f"{name} {wrong}: one line, status 1 or 2", why)


def test_command(tap, name, modes, command):
    with Pair(command, modes[-1]) as pair:
        pair.ready()
        pair.tell("pong", "dance 3")
        gives_up(tap, pair, "pong", f"{name}: an unknown command ends it with one line")


def test_kill(tap, left, name, modes, command):
    """The names that others see are gone before anything is measured."""
    with Pair(command, modes[0]) as pair:
        pair.ready()
        for side in pair.sides.values():
            side.send_signal(signal.SIGKILL)
    left.check(tap, f"{name} after kill -9")


def test_alone(tap, left, peers):
    """Whoever waits for the other side in vain says so. All at once: it takes 20 s."""
    pairs = [(f"{name} {side}", Pair(peer[3], peer[0][-1], sides=(side,)), side)
             for name, peer in peers.items() for side in ("ping", "pong")]
    for _, pair, _ in pairs:
        pair.__enter__()
    time.sleep(10)
    early = [what for what, pair, side in pairs if pair.sides[side].poll() is not None]
    tap.equal(early, [], "nobody gives up at once who is alone")
    for what, pair, side in pairs:
        gives_up(tap, pair, side, f"{what} alone: gives up with one line")
        pair.__exit__()
    left.check(tap, "who was alone")


def test_corruption(tap, command):
    """A message that is changed on its way is noticed, by whichever side should."""
    with tempfile.TemporaryDirectory() as place:
        shim = f"{place}/corrupt.so"
        subprocess.run(["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", shim,
                        HERE / "peers_corrupt.c"], check=True)
        # Of a payload, pong reads one word of each line.
        for work, size, notices, word in (("round", 64, "ping", "carries"),
                                          ("flow", 64, "pong", "carries"),
                                          ("payload", 8, "pong", "adds up")):
            with Pair(command, "sleep", size, pong_env={"LD_PRELOAD": shim}) as pair:
                pair.ready()
                for side in ("pong", "ping"):
                    pair.tell(side, f"{work} 100")
                gives_up(tap, pair, notices, f"{work}: {notices} notices a bit that changed", word)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", help="peers.tsv of scripts/perf/peers")
    parser.add_argument("--peers", help="only these, with commas between")
    parser.add_argument("--quick", action="store_true", help="only what is measured")
    args = parser.parse_args()
    tap, left = Tap(), Leftovers()
    peers = read_list(args.list)
    names = args.peers.split(",") if args.peers else list(peers)
    if set(names) - set(peers):
        sys.exit(f"not in the list: {' '.join(set(names) - set(peers))}")
    peers = {name: peers[name] for name in names}
    for name, peer in peers.items():
        test_works(tap, name, peer)
        left.check(tap, name)
        if not args.quick:
            test_arguments(tap, name, peer[3])
            test_command(tap, name, peer[0], peer[3])
            test_kill(tap, left, name, peer[0], peer[3])
    if not args.quick:
        test_alone(tap, left, peers)
        if "mq" in peers:
            test_corruption(tap, peers["mq"][3])
    tap.finish()


if __name__ == "__main__":
    main()
