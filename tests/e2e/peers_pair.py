# SPDX-License-Identifier: MIT
"""Both sides of a peer, driven by the protocol of userspace/perf/peers/program.h."""

import os
import pathlib
import shlex
import shutil
import struct
import subprocess
import tempfile

WORD = 8


class PeerFailed(Exception):
    """A side that did not do what it was told; says what it wrote on standard error."""


class Pair:
    """Two processes of a peer, tied to a processor each. Use as a context."""

    def __init__(self, command, mode, size=64, slots=256):
        self.command = shlex.split(command)
        self.mode, self.size, self.slots = mode, size, slots
        self.sides = {}

    def arguments(self, side):
        return [*self.command, "--side", side, "--mode", self.mode, "--size", str(self.size),
                "--slots", str(self.slots), "--dir", str(self.dir)]

    def start(self, side, cpu):
        self.sides[side] = subprocess.Popen(
            self.arguments(side), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=open(self.dir / f"{side}.err", "wb"),
            preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))

    def __enter__(self):
        root = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="peers-test-", dir=root))
        cpus = sorted(os.sched_getaffinity(0))
        try:
            self.start("ping", cpus[0])
            self.start("pong", cpus[-1])
        except OSError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for side in self.sides.values():
            if side.poll() is None:
                side.kill()
            side.wait()
            side.stdin.close()
            side.stdout.close()
        shutil.rmtree(self.dir)

    def errors(self, side):
        return (self.dir / f"{side}.err").read_text(errors="replace")

    def numbers(self, side, count):
        data = self.sides[side].stdout.read(count * WORD)
        if len(data) != count * WORD:
            raise PeerFailed(f"{side} ended in mid-reply after {len(data)} bytes: "
                             f"{' '.join(self.errors(s).strip() for s in self.sides)}")
        return struct.unpack(f"<{count}Q", data)

    def ready(self):
        return self.numbers("ping", 1) + self.numbers("pong", 1)

    def command_both(self, work, n):
        """The replies of ping and pong."""
        for side in ("pong", "ping"):
            self.sides[side].stdin.write(f"{work} {n}\n".encode())
            self.sides[side].stdin.flush()
        each = 1 if work == "flow" else n
        return self.numbers("ping", each), self.numbers("pong", 1)

    def end(self, timeout=20):
        """Ends both; their exit statuses and what more they said."""
        for side in self.sides.values():
            side.stdin.close()
        status = [side.wait(timeout) for side in self.sides.values()]
        more = [side.stdout.read() for side in self.sides.values()]
        return status, more
