#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A Python queue over shared memory, in the manner of vLLM's message queue between its processes.

One process of a pair that sluice-perf measures; written anew for it after vLLM's design, not copied:
a ring of equal chunks in multiprocessing.shared_memory. Before each chunk there is one byte that the
writer sets when the chunk is written, and one byte for each reader (here one) that says it is read. A
writer waits for a chunk whose reader is done with it, a reader for one that is written and not yet
read; both poll the flags. Messages are pickled (protocol 5) straight into or out of their chunk.

Waiting: both call sched_yield() between two looks. A reader that has had no message for 10 s sleeps
for 0.1 s between them, as vLLM's does: no wake-up by the kernel, so mode sleep is not offered.

Flags and data are plain memory. As in vLLM, taking a lock of the process is the fence before a look
at the flags and between data and flag.
"""

import argparse
import os
import pickle
import struct
import sys
import threading
import time
from multiprocessing import resource_tracker, shared_memory

PATIENCE = 20.0
WORD = 8
LINE = 64
PICKLE_ROOM = 64  # a pickled bytes object of n bytes has at most n + 64
SPIN_SECONDS = 10.0
SLEEP_SECONDS = 0.1
FENCE = threading.Lock()


def fence():
    """What vLLM does for a memory barrier: a lock is taken and given back."""
    with FENCE:
        pass


class Waiter:
    """A reader yields the processor between two looks, and sleeps once nothing has come for long."""

    def __init__(self):
        self.last = time.monotonic()

    def wait(self):
        if time.monotonic() - self.last < SPIN_SECONDS:
            os.sched_yield()
        else:
            time.sleep(SLEEP_SECONDS)

    def done(self):
        self.last = time.monotonic()


class Ring:
    """One direction: the writer's process creates it, the reader's opens it."""

    def __init__(self, name, chunks, size, create):
        self.chunks = chunks
        self.size = size + PICKLE_ROOM
        self.create = create
        self.at = 0
        self.waiter = Waiter()
        total = chunks * self.size + 2 * chunks
        if create:
            self.memory = shared_memory.SharedMemory(name=name, create=True, size=total)
            self.memory.buf[chunks * self.size:total] = bytes(2 * chunks)
        else:
            self.memory = open_patiently(name)
        self.flags = self.memory.buf[chunks * self.size:total]
        self.data = self.memory.buf

    def close(self):
        self.flags.release()
        self.data = None
        self.memory.close()
        if self.create:
            self.memory.unlink()

    def put(self, message):
        """Pickles a message into the next chunk once its reader is done with it."""
        flags, at = self.flags, 2 * self.at
        fence()
        while flags[at] and not flags[at + 1]:
            os.sched_yield()
            fence()
        begin = self.at * self.size
        pickled = pickle.dumps(message, protocol=5)
        flags[at] = 0
        self.data[begin:begin + len(pickled)] = pickled
        flags[at + 1] = 0
        fence()
        flags[at] = 1
        fence()
        self.at = (self.at + 1) % self.chunks

    def get(self):
        """Unpickles the next message out of its chunk."""
        flags, at = self.flags, 2 * self.at
        fence()
        while not flags[at] or flags[at + 1]:
            self.waiter.wait()
            fence()
        begin = self.at * self.size
        message = pickle.loads(self.data[begin:begin + self.size])
        flags[at + 1] = 1
        fence()
        self.waiter.done()
        self.at = (self.at + 1) % self.chunks
        return message


def open_patiently(name):
    """Opens memory that the other side creates. The tracker must not remove it at our exit."""
    start = time.monotonic()
    while True:
        try:
            memory = shared_memory.SharedMemory(name=name)
            resource_tracker.unregister(memory._name, "shared_memory")
            return memory
        except (FileNotFoundError, ValueError):  # ValueError: it has no size yet
            if time.monotonic() - start > PATIENCE:
                raise RuntimeError("the other side did not come within 20 s") from None
            time.sleep(0.001)


def stamped(template, number):
    word = struct.pack("<Q", number)
    return word if len(template) <= WORD else word + template[WORD:-WORD] + word


def check(data, size, number):
    word = struct.pack("<Q", number)
    if len(data) != size or data[:WORD] != word or data[-WORD:] != word:
        raise RuntimeError(f"message {number} did not arrive whole and in order")


class Peer:
    """What one side does; a method for each command and side."""

    def __init__(self, out, inward, size):
        self.out = out
        self.inward = inward
        self.size = size

    def timed(self, count, message, answer_size):
        samples = []
        begin = time.monotonic_ns()
        for i in range(count):
            self.out.put(message(i))
            check(self.inward.get(), answer_size, i)
            end = time.monotonic_ns()
            samples.append(end - begin)
            begin = end
        return samples

    def ping_round(self, count):
        template = bytes(self.size)
        return self.timed(count, lambda i: stamped(template, i), self.size)

    def pong_round(self, count):
        for _ in range(count):
            self.out.put(self.inward.get())
        return [0]

    def ping_flow(self, count):
        template = bytes(self.size)
        begin = time.monotonic_ns()
        for i in range(count):
            self.out.put(stamped(template, i))
        return [time.monotonic_ns() - begin]

    def pong_flow(self, count):
        begin = None
        for i in range(count):
            data = self.inward.get()
            begin = begin or time.monotonic_ns()
            check(data, self.size, i)
        return [time.monotonic_ns() - begin if begin else 0]

    def ping_payload(self, count):
        words = self.size // WORD
        rest = bytes(self.size % WORD)
        return self.timed(count, lambda i: struct.pack("<Q", i + 1) * words + rest, WORD)

    def pong_payload(self, count):
        for i in range(count):
            data = self.inward.get()
            words = memoryview(data)[:len(data) // WORD * WORD].cast("Q")[::LINE // WORD]
            if len(data) != self.size or sum(words) != (i + 1) * len(words):
                raise RuntimeError(f"payload {i} is not what was written")
            self.out.put(struct.pack("<Q", i))
        return [0]


def reply(numbers):
    sys.stdout.buffer.write(struct.pack(f"<{len(numbers)}Q", *numbers))
    sys.stdout.buffer.flush()


def serve(peer, side):
    """Both sides are there once each has had the other's first message."""
    peer.out.put(b"")
    if peer.inward.get() != b"":
        raise RuntimeError("the other side's first message is not a greeting")
    reply([0])
    for line in sys.stdin:
        work, count = line.split()
        reply(getattr(peer, f"{side}_{work}")(int(count)))


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", choices=("ping", "pong"), required=True)
    parser.add_argument("--mode", choices=("spin",), required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--dir", required=True)
    return parser.parse_args()


def run(args):
    base = os.path.basename(os.path.normpath(args.dir))
    other = "pong" if args.side == "ping" else "ping"
    rings = [Ring(f"{base}-{args.side}", args.slots, args.size, create=True)]
    try:
        rings.append(Ring(f"{base}-{other}", args.slots, args.size, create=False))
        serve(Peer(*rings, args.size), args.side)
    finally:
        for ring in rings:
            ring.close()


def main():
    try:
        run(options())
    except (OSError, RuntimeError, ValueError, AttributeError, pickle.UnpicklingError) as error:
        sys.exit(f"shm_queue: {error}")


if __name__ == "__main__":
    main()
