#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A queue for Python objects over shared memory, as vLLM's processes use, as a peer program.

usage: shm_queue.py LIBSLUICE --side ping|pong --mode spin|sleep --size BYTES --slots N --dir DIR

The idea is that of vLLM's ShmRingBuffer and MessageQueue; no line is theirs. A ring of chunks of
one size in multiprocessing.shared_memory; beside it a byte for each chunk that says "written", and
one for each reader that says "read". The writer takes the next chunk when all have read it, the
reader polls; nobody is woken. Objects are pickled into the chunk and out of it.

LIBSLUICE is libsluice.so, for its clock: time.perf_counter_ns() is a system call in a box.
"""

import argparse
import ctypes
import os
import pathlib
import pickle
import signal
import struct
import sys
import time
from multiprocessing import resource_tracker, shared_memory

SIZE_MIN, SIZE_MAX, SLOTS_MAX, COMMANDS_MAX = 8, 1 << 20, 65536, 100_000_000
WAIT_S = 20
WORD, LINE = 8, 64
WORDS_OF_LINE = LINE // WORD
PICKLE_ROOM = 64  # bytes that a pickle has more than its object, at most
RING_MAX = 64 << 20  # bytes of a ring; fewer slots then, as in vLLM, which has 10
SLEEP_FIRST_S, SLEEP_MAX_S = 10e-6, 0.1
PR_SET_PDEATHSIG = 1
STAMP = struct.Struct("<Q")


class Failure(Exception):
    """What is said on standard error before the program ends with 1."""


# ------------------------------------------------------------------- waiting ---

class Spin:
    """vLLM's usual wait: the processor is offered to others, and that is all."""

    def again(self):
        os.sched_yield()

    def over(self):
        pass


class Sleep:
    """A yield, then sleeps that get longer, up to vLLM's tenth of a second.

    vLLM does so for readers that idle for long (VLLM_SLEEP_WHEN_IDLE), and polls for 3 s before.
    """

    def __init__(self):
        self.seconds = 0.0

    def again(self):
        if self.seconds:
            time.sleep(self.seconds)
            self.seconds = min(2 * self.seconds, SLEEP_MAX_S)
        else:
            os.sched_yield()
            self.seconds = SLEEP_FIRST_S

    def over(self):
        self.seconds = 0.0


# --------------------------------------------------------------------- queue ---

class Queue:
    """One direction: a writer and one reader, over @view of shared memory.

    Chunks come first, then two bytes for each. They are plain stores: enough where stores are seen
    in their order (x86), and the interpreter is far slower than any store buffer elsewhere.
    """

    def __init__(self, view, chunks, room, wait):
        self.data, self.flags = view[:chunks * room], view[chunks * room:chunks * (room + 2)]
        self.chunks, self.room, self.wait, self.at = chunks, room, wait, 0

    @staticmethod
    def bytes(chunks, room):
        # The other direction's flags are in other lines.
        return -(-chunks * (room + 2) // (2 * LINE)) * 2 * LINE

    def put(self, message):
        written, read = 2 * self.at, 2 * self.at + 1
        flags, wait = self.flags, self.wait
        pickled = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        if len(pickled) > self.room:
            raise Failure(f"a pickle has {len(pickled)} bytes, a chunk has {self.room}")
        while flags[written] and not flags[read]:
            wait.again()
        wait.over()
        flags[written] = 0
        begin = self.at * self.room
        self.data[begin:begin + len(pickled)] = pickled
        flags[read] = 0
        flags[written] = 1
        self.at = (self.at + 1) % self.chunks

    def get(self):
        written, read = 2 * self.at, 2 * self.at + 1
        flags, wait = self.flags, self.wait
        while not flags[written] or flags[read]:
            wait.again()
        wait.over()
        begin = self.at * self.room
        # A pickle knows where it ends.
        message = pickle.loads(self.data[begin:begin + self.room])
        flags[read] = 1
        self.at = (self.at + 1) % self.chunks
        return message

    def close(self):
        self.data.release()
        self.flags.release()


def untracked(name):
    """Attaches. Python before 3.13 would have the memory unlinked by whoever ends first."""
    register = resource_tracker.register
    resource_tracker.register = lambda *_: None
    try:
        return shared_memory.SharedMemory(name)
    finally:
        resource_tracker.register = register


# ---------------------------------------------------------------- rendezvous ---

def announce(options, what):
    (options.dir / f"{options.side}.{what}").touch()


def await_other(options, what):
    other = "pong" if options.side == "ping" else "ping"
    deadline = time.monotonic() + WAIT_S
    while not (options.dir / f"{other}.{what}").exists():
        if time.monotonic() > deadline:
            raise Failure(f"{other} did not come within {WAIT_S} s")
        time.sleep(0.001)


def late(*_):
    raise Failure(f"the other side was not heard within {WAIT_S} s")


class Peer:
    """This side's two queues. Use as a context."""

    def __init__(self, options, clock):
        self.options, self.clock = options, clock
        self.memory, self.views, self.named = None, [], False

    def __enter__(self):
        return self

    def join(self):
        options = self.options
        room = options.size + PICKLE_ROOM
        chunks = max(1, min(options.slots, RING_MAX // room))
        one = Queue.bytes(chunks, room)
        name = f"sluice-{options.dir.name}"
        if options.side == "ping":
            await_other(options, "open")
            self.memory = untracked(name)
        else:
            # Killed before the other side has come, its tracker, a process, removes the name.
            self.memory = shared_memory.SharedMemory(name, create=True, size=2 * one)
            self.named = True
        wait = Spin if options.mode == "spin" else Sleep
        self.views = [Queue(self.memory.buf[at:at + one], chunks, room, wait())
                      for at in (0, one)]
        self.out, self.into = self.views if options.side == "ping" else self.views[::-1]
        announce(options, "open")
        await_other(options, "open")
        self.unlink()

    def unlink(self):
        if self.named:
            self.named = False
            self.memory.unlink()

    def __exit__(self, *_):
        self.unlink()
        for queue in self.views:
            queue.close()

    def hello(self):
        signal.signal(signal.SIGALRM, late)
        signal.alarm(WAIT_S)
        if self.options.side == "pong":
            self.into.get()
        self.out.put(bytes(WORD))
        if self.options.side == "ping":
            self.into.get()
        signal.alarm(0)


# --------------------------------------------------------------------- works ---

def check(message, size, number):
    if len(message) != size:
        raise Failure(f"message {number} has {len(message)} bytes instead of {size}")
    first, last = STAMP.unpack_from(message)[0], STAMP.unpack_from(message, size - WORD)[0]
    if first != number or last != number:
        raise Failure(f"message {number} carries the numbers {first} and {last}")


def check_sum(message, size, number):
    if len(message) != size:
        raise Failure(f"payload {number} has {len(message)} bytes instead of {size}")
    words = memoryview(message)[:size // WORD * WORD].cast("Q")[::WORDS_OF_LINE]
    total = sum(words)
    if total != (number + 1) * len(words):
        raise Failure(f"payload {number} adds up to {total} instead of "
                      f"{(number + 1) * len(words)}")


def stamped(message, number):
    STAMP.pack_into(message, len(message) - WORD, number)
    STAMP.pack_into(message, 0, number)
    return message


def ping_round(peer, n):
    now, put, get, size = peer.clock.now, peer.out.put, peer.into.get, peer.options.size
    message, times, begin = bytearray(size), [0] * n, now()
    for i in range(n):
        put(stamped(message, i))
        check(get(), size, i)
        end = now()
        times[i] = end - begin
        begin = end
    return times


def pong_round(peer, n):
    put, get = peer.out.put, peer.into.get
    for _ in range(n):
        put(get())
    return None


def ping_flow(peer, n):
    put, message, begin = peer.out.put, bytearray(peer.options.size), peer.clock.now()
    for i in range(n):
        put(stamped(message, i))
    return [peer.clock.now() - begin]


def pong_flow(peer, n):
    get, size = peer.into.get, peer.options.size
    check(get(), size, 0)
    begin = peer.clock.now()
    for i in range(1, n):
        check(get(), size, i)
    return [peer.clock.now() - begin]


def ping_payload(peer, n):
    now, put, get, size = peer.clock.now, peer.out.put, peer.into.get, peer.options.size
    times, begin = [0] * n, now()
    for i in range(n):
        word = STAMP.pack(i + 1)
        put(word * (size // WORD) + word[:size % WORD])
        answer = get()
        if answer != STAMP.pack(i):
            raise Failure(f"payload {i} was answered with {answer!r}")
        end = now()
        times[i] = end - begin
        begin = end
    return times


def pong_payload(peer, n):
    for i in range(n):
        check_sum(peer.into.get(), peer.options.size, i)
        peer.out.put(STAMP.pack(i))
    return None


WORKS = {(side, work): function for side, functions in {
    "ping": {"round": ping_round, "flow": ping_flow, "payload": ping_payload},
    "pong": {"round": pong_round, "flow": pong_flow, "payload": pong_payload},
}.items() for work, function in functions.items()}


# ------------------------------------------------------------------ commands ---

class Clock:
    """sluice_ticks(). PyDLL, as there is nobody to give the interpreter's lock to."""

    def __init__(self, path):
        library = ctypes.PyDLL(path)
        self.now, self.to_ns = library.sluice_ticks, library.sluice_ticks_to_ns
        self.now.restype = self.to_ns.restype = ctypes.c_uint64
        self.to_ns.argtypes = [ctypes.c_uint64]
        self.to_ns(1)  # calibrates


def obey(peer, replies):
    for line in sys.stdin:
        word, _, count = line.rstrip("\n").partition(" ")
        work = WORKS.get((peer.options.side, word))
        if not work:
            raise Failure(f"cannot do '{word}'")
        if not count.isdecimal() or not 1 <= int(count) <= COMMANDS_MAX:
            raise Failure(f"no command: '{line.strip()}'")
        times = work(peer, int(count))
        # Nothing to say is a zero.
        numbers = [peer.clock.to_ns(t) for t in times] if times else [0]
        replies.write(struct.pack(f"<{len(numbers)}Q", *numbers))
        replies.flush()


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"shm-queue: {message}\n")


def number(least, most):
    def parse(text):
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"'{text}' is no number from {least} to {most}")
        return int(text)
    return parse


def directory(text):
    path = pathlib.Path(text)
    if not path.name or not os.access(path, os.W_OK):
        raise argparse.ArgumentTypeError(f"'{text}' is no directory to write to, with a name")
    return path


def parse_options():
    parser = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("libsluice")
    parser.add_argument("--side", choices=("ping", "pong"), required=True)
    parser.add_argument("--mode", choices=("spin", "sleep"), required=True)
    parser.add_argument("--size", type=number(SIZE_MIN, SIZE_MAX), required=True)
    parser.add_argument("--slots", type=number(1, SLOTS_MAX), required=True)
    parser.add_argument("--dir", type=directory, required=True)
    return parser.parse_args()


def main():
    options = parse_options()
    # Who spins for a message would do so for ever if the coordinator were killed.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        with Peer(options, Clock(options.libsluice)) as peer:
            peer.join()
            peer.hello()
            sys.stdout.buffer.write(STAMP.pack(0))
            sys.stdout.buffer.flush()
            obey(peer, sys.stdout.buffer)
    except (Failure, OSError, ValueError, pickle.UnpicklingError) as why:
        print(f"shm-queue {options.side}: {why}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
