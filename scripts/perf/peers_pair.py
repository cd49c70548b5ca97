# SPDX-License-Identifier: MIT
"""Both sides of a peer, driven by the protocol of userspace/perf/peers/program.h."""

import os
import pathlib
import shlex
import shutil
import struct
import subprocess
import tempfile
import threading

WORD = 8
SIDES = ("ping", "pong")


class PeerFailed(Exception):
    """A side that did not do what it was told; says what it wrote on standard error."""


class Pair:
    """Two processes of a peer, tied to a processor each. Use as a context."""

    def __init__(self, command, mode, size=64, slots=256, sides=SIDES, pong_env=None):
        self.command = shlex.split(command)
        self.mode, self.size, self.slots = mode, size, slots
        self.env = {"ping": None, "pong": {**os.environ, **(pong_env or {})}}
        self.started = sides
        self.sides = {}

    def arguments(self, side):
        return [*self.command, "--side", side, "--mode", self.mode, "--size", str(self.size),
                "--slots", str(self.slots), "--dir", str(self.dir)]

    def start(self, side, cpu):
        with open(self.dir / f"{side}.err", "wb") as stderr:
            self.sides[side] = subprocess.Popen(
                self.arguments(side), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=stderr, env=self.env[side],
                preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))

    def __enter__(self):
        root = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="peers-test-", dir=root))
        cpus = sorted(os.sched_getaffinity(0))
        try:
            for side in self.started:
                self.start(side, cpus[0 if side == "ping" else -1])
        except OSError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for side in self.sides.values():
            if side.poll() is None:
                side.kill()
            side.wait()
            side.stdout.close()
            try:
                side.stdin.close()
            except BrokenPipeError:
                pass
        shutil.rmtree(self.dir)

    def errors(self, side):
        return (self.dir / f"{side}.err").read_text(errors="replace")

    def numbers(self, side, count, timeout=60):
        """So many numbers from a side; it is killed if they take too long."""
        process = self.sides[side]
        timer = threading.Timer(timeout, process.kill)
        timer.start()
        data = process.stdout.read(count * WORD)
        timer.cancel()
        if len(data) != count * WORD:
            said = " ".join(self.errors(s).strip() for s in self.sides)
            raise PeerFailed(f"{side} ended after {len(data)} of {count * WORD} bytes: {said}")
        return struct.unpack(f"<{count}Q", data)

    def ready(self):
        return self.numbers("ping", 1) + self.numbers("pong", 1)

    def tell(self, side, line):
        self.sides[side].stdin.write(f"{line}\n".encode())
        self.sides[side].stdin.flush()

    def command_both(self, work, n):
        """The replies of ping and pong."""
        for side in reversed(SIDES):
            self.tell(side, f"{work} {n}")
        return self.numbers("ping", 1 if work == "flow" else n), self.numbers("pong", 1)

    def end(self, timeout=60):
        """Ends both; their exit statuses, and what they wrote after their last reply."""
        for side in self.sides.values():
            side.stdin.close()
        status = [side.wait(timeout) for side in self.sides.values()]
        return status, b"".join(side.stdout.read() for side in self.sides.values())
