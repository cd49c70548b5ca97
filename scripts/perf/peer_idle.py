#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures the processor time of peers while their receiver waits and nothing comes.

Reads the list of scripts/perf/peers; each peer waits as it does with the least processor time.
Counts both sides and whatever they started (brokers, drivers). Prints JSON.

example: python3 scripts/perf/peer_idle.py build/perf/peers/peers.tsv
"""
import argparse
import ctypes
import json
import os
import pathlib
import subprocess
import sys
import time

from peers_pair import Pair, PeerFailed

PR_SET_CHILD_SUBREAPER = 36
SETTLE_S = 1
TICKS = os.sysconf("SC_CLK_TCK")


def descendants_cpu():
    """Seconds of processor time of everything below this process."""
    parents, used = {}, {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        pid = int(stat.parent.name)
        parents[pid] = int(fields[1])
        used[pid] = int(fields[11]) + int(fields[12])

    def is_ours(pid):
        while pid > 1:
            pid = parents.get(pid, 0)
            if pid == os.getpid():
                return True
        return False

    return sum(ticks for pid, ticks in used.items() if is_ours(pid)) / TICKS


def measure(command, mode, seconds):
    """Percent of a processor."""
    with Pair(command, mode) as pair:
        pair.ready()
        pair.tell("pong", "round 1")
        time.sleep(SETTLE_S)
        before, start = descendants_cpu(), time.monotonic()
        time.sleep(seconds)
        used, elapsed = descendants_cpu() - before, time.monotonic() - start
        # It was waiting for a message indeed.
        pair.tell("ping", "round 1")
        for side in ("ping", "pong"):
            pair.numbers(side, 1)
        pair.end()
    return 100 * used / elapsed


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", help="peers.tsv of scripts/perf/peers")
    parser.add_argument("--seconds", type=float, default=3, help="how long to look at each (3)")
    args = parser.parse_args()
    # What a peer leaves to itself, like a broker, is still found below this process.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    rows = []
    for line in pathlib.Path(args.list).read_text().splitlines():
        name, modes, _, title, command = line.split("\t")
        mode = "sleep" if "sleep" in modes.split(",") else "spin"
        row = {"peer": name, "title": title, "mode": mode}
        try:
            row["cpu_percent"] = measure(command, mode, args.seconds)
        except (PeerFailed, OSError, subprocess.TimeoutExpired) as error:
            row["failed"] = str(error)
        print(f"peer_idle: {name}, {mode}: {row.get('cpu_percent', row.get('failed'))}",
              file=sys.stderr)
        rows.append(row)
    print(json.dumps({"command": "peer-idle", "rows": rows}))


if __name__ == "__main__":
    main()
