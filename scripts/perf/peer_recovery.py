#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures how long peers that deliver again take to do so when a consumer is killed.

Reads the list of scripts/perf/peers; prints JSON, with no rows if there is no such peer in it.

example: python3 scripts/perf/peer_recovery.py build/perf/peers/peers.tsv
"""
import argparse
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

# By name in the list: what happens. The program prints ns, one a line.
TITLES = {
    "rabbitmq": "RabbitMQ: a consumer that holds a message is killed (broker notices the closed "
                "connection)",
}


def one_processor():
    """All on one, as sluice-perf has a peer's broker: on two, it may not get up in a box."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def measure(name, command, count):
    """The times of one peer, in ns."""
    # As sluice-perf does: the name of the directory is that of whatever the peer starts.
    with tempfile.TemporaryDirectory(prefix=f"sluice-recovery-{name}-", dir="/tmp") as place:
        run = subprocess.run([*shlex.split(command), "--recovery", str(count), place],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                             preexec_fn=one_processor)
    times = sorted(int(line) for line in run.stdout.split())
    if run.returncode or len(times) != count:
        sys.exit(f"peer_recovery: {name} ended with {run.returncode} after {len(times)} of {count}")
    return times


def row(name, times):
    def quantile(percent):
        # The smallest that so many are not above.
        return times[max(0, -(-len(times) * percent // 100) - 1)]

    return {"peer": name, "title": TITLES[name], "n": len(times), "p50": quantile(50),
            "p90": quantile(90), "p99": quantile(99), "max": times[-1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", help="peers.tsv of scripts/perf/peers")
    parser.add_argument("--count", type=int, default=20, help="kills of each peer (20)")
    args = parser.parse_args()
    path, rows = pathlib.Path(args.list), []
    for line in path.read_text().splitlines() if path.exists() else []:
        name, *_, command = line.split("\t")
        if name in TITLES:
            rows.append(row(name, measure(name, command, args.count)))
    print(json.dumps({"command": "peer-recovery", "rows": rows}))


if __name__ == "__main__":
    main()
