#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: MIT
# Description: which instrumented edges of sluice.ko were reached, and why the others were not
"""What a coverage run reached of the module, as TAP."""

import argparse
import collections
import fnmatch
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
HOOK = "__sanitizer_cov_trace_pc"
EXAMPLES = """
An edge is what KCOV calls one: a call that the compiler put at the beginning of a basic block, of
every copy of an inlined function. Each one that was not reached needs a line in the file of
reasons:

  FUNCTION | SOURCE TEXT | never: WHY      it is not reached in this run, ever
  FUNCTION | SOURCE TEXT | race: WHY       it is reached in some runs only

FUNCTION is a pattern for one of the functions that the edge is in: its own, those which that one
is inlined in, those of the kernel that are inlined there (the innermost is shown in brackets).
SOURCE TEXT is a part of the line in that function, or empty. The first line that fits counts. A
reason is out of date when it fits no edge, or when it says never and all that it fits was reached.

example: tests/coverage/report.py --module sluice.ko --layout layout *.hits
"""


class Frame:
    """A place in the source: where an edge is, or what inlined it."""

    def __init__(self, function, path, line):
        self.function, self.path, self.line = function, path, line

    def __str__(self):
        return f"{self.path}:{self.line} {self.function}"


class Edge:
    """One call of the hook: the frames that are ours, and what of the kernel is inlined there."""

    def __init__(self, section, at, frames, kernel):
        self.section, self.at, self.frames, self.kernel = section, at, frames, kernel
        self.hit = False
        self.reason = None

    @property
    def place(self):
        return self.frames[0]

    def __str__(self):
        return str(self.place) + (f" [{self.kernel[0].function}]" if self.kernel else "")


class Source:
    """Lines of the module's files, and of the kernel's."""

    def __init__(self, top):
        self.top, self.lines = top, {}

    def text(self, frame):
        if frame.path not in self.lines:
            path = self.top / frame.path
            self.lines[frame.path] = (path.read_text(errors="replace").splitlines()
                                      if path.is_file() else [])
        lines = self.lines[frame.path]
        return lines[frame.line - 1].strip() if 0 < frame.line <= len(lines) else ""


class Reason:
    """A line of the table."""

    def __init__(self, number, text):
        match = re.fullmatch(r"(\S+) \| (.*?) ?\| (never|race): (.+)", text)
        if not match:
            sys.exit(f"reasons:{number}: not FUNCTION | SOURCE TEXT | never or race: WHY")
        self.number, self.function, self.snippet = number, match.group(1), match.group(2)
        self.never, self.why = match.group(3) == "never", match.group(4)
        self.uncovered = self.covered = 0

    def fits(self, edge, source):
        return any(fnmatch.fnmatchcase(f.function, self.function) and
                   self.snippet in source.text(f) for f in edge.kernel + edge.frames)

    def __str__(self):
        return f"reasons:{self.number}: {self.function} | {self.snippet}"


def read_reasons(path):
    lines = path.read_text().splitlines() if path else []
    return [Reason(n, line) for n, line in enumerate(lines, 1)
            if line.strip() and not line.startswith("#")]


def output(*argv):
    return subprocess.run(argv, check=True, text=True, stdout=subprocess.PIPE).stdout


def call_sites(module):
    """(section, offset of what follows the call) of every call of the hook.

    The call is direct, or goes through a register that was loaded for it alone."""
    sites, section, loaded, last = [], None, {}, ""
    for line in output("objdump", "-dr", "--no-show-raw-insn", str(module)).splitlines():
        head = re.match(r"Disassembly of section (\S+):", line)
        insn = re.match(r"\s*([0-9a-f]+):\t(.*)", line)
        if head:
            section = head.group(1)
        elif ": R_X86_64_" in line and line.split()[-1].split("-")[0] == HOOK:
            register = re.search(r"movabs \$0x0,(%\w+)", last)
            if register and register.group(1) in loaded:
                sys.exit(f"report: {section}+{loaded[register.group(1)]}: no call follows")
            loaded[register.group(1) if register else "next"] = last.split(":")[0].strip()
        elif insn:
            called = re.match(r"call\s+\*?(%\w+)?", last.split("\t")[-1])
            if called and loaded.pop(called.group(1) or "next", None):
                sites.append((section, int(insn.group(1), 16)))
            last = line
    if loaded:
        sys.exit(f"report: no call follows {loaded}")
    return sites


def symbolise(module, sites, build):
    """Edges with the frames that are in the module's sources."""
    edges = []
    for section in sorted({s for s, _ in sites}):
        offsets = [at for s, at in sites if s == section]
        # the call itself, not what follows
        asked = "\n".join(hex(at - 1) for at in offsets)
        said = subprocess.run(["addr2line", "-aif", "-e", str(module), "-j", section],
                              input=asked, check=True, text=True, stdout=subprocess.PIPE).stdout
        for at, text in zip(offsets, re.split(r"^0x[0-9a-f]+\n", said, flags=re.M)[1:]):
            edges.append(Edge(section, at, *own_frames(text.splitlines(), build)))
    return edges


TRACE = re.compile(r"(__probestub|trace_event|trace_raw|perf_trace|__bpf_trace|__traceiter)_")


def own_frames(lines, build):
    """Frames of ours, and of the kernel inside of the innermost; innermost first."""
    frames, kernel = [], []
    for function, place in zip(lines[::2], lines[1::2]):
        path, line = re.match(r"(.*):(\d+|\?)", place).groups()
        path, line = pathlib.Path(path), int(line) if line != "?" else 0
        if path.parent == build:
            frames.append(Frame(function, "kmod/" + path.name, line))
        elif not frames:
            kernel.append(Frame(function, str(path), line))
    if TRACE.match(lines[-2]):	# made by the kernel's macros from our events
        return [Frame(lines[-2], "kmod/trace.h", 0)], kernel[:-1]
    return frames or [Frame(lines[-2], "kmod/?", 0)], kernel


def read_hits(edges, layout, files):
    """The kernel says "core 1a2b"; the layout says where in that each section begins."""
    begins = {}
    for line in layout.read_text().splitlines():
        section, part, offset = line.split()
        begins[section] = (part, int(offset, 16))
    hits = {tuple(line.split()) for name in files for line in open(name, encoding="ascii")}
    hits = {(part, int(at, 16)) for part, at in hits}
    for edge in edges:
        part, begin = begins[edge.section]
        edge.hit = (part, begin + edge.at) in hits
    known = {(begins[e.section][0], begins[e.section][1] + e.at) for e in edges}
    if hits - known:
        sys.exit(f"report: {len(hits - known)} of {len(hits)} reached places are no edges of this "
                 "module: it, or the layout, is another one's")


def give_reasons(edges, reasons, source):
    for edge in edges:
        edge.reason = next((r for r in reasons if r.fits(edge, source)), None)
        if edge.reason and edge.hit:
            edge.reason.covered += 1
        elif edge.reason:
            edge.reason.uncovered += 1


class Tap:
    """Numbered results."""

    def __init__(self):
        self.n = self.failed = 0

    def result(self, good, text, details=()):
        self.n += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.n} - {text}")
        for line in details:
            print(f"# {line}")


def ratio(edges):
    hit = sum(e.hit for e in edges)
    return f"{100 * hit / len(edges):.1f} % ({hit} of {len(edges)})"


def listed(edges, source):
    """Equal places once."""
    places = collections.Counter((str(e), source.text(e.place)) for e in edges)
    for (place, text), n in sorted(places.items()):
        yield f"  {place}{f' x{n}' if n > 1 else ''}: {text}"


def print_uncovered(edges, reasons, source):
    print("# not reached, and why:")
    for reason in reasons:
        mine = [e for e in edges if not e.hit and e.reason is reason]
        if mine:
            kind = "never" if reason.never else "race"
            print(f"# {kind}: {reason.why}: {len(mine)}")
            for line in listed(mine, source):
                print("#" + line)


def report(edges, reasons, source, minimum):
    tap = Tap()
    print("TAP version 13")
    files = collections.defaultdict(list)
    for edge in edges:
        files[edge.place.path].append(edge)
    for path in sorted(files):
        print(f"# {path:20} {ratio(files[path])}")
    print_uncovered(edges, reasons, source)
    hit = sum(e.hit for e in edges)
    tap.result(100 * hit >= minimum * len(edges),
               f"edges of the module reached: {ratio(edges)}, at least {minimum} %")
    bare = [e for e in edges if not e.hit and not e.reason]
    tap.result(not bare, "every edge that was not reached has a reason" +
               (f": {len(bare)} have none" if bare else ""), listed(bare, source))
    old = [f"{r}: fits no edge" for r in reasons if not r.covered + r.uncovered]
    old += [f"{r}: all {r.covered} were reached" for r in reasons
            if r.never and r.covered and not r.uncovered]
    tap.result(not old, "no reason is out of date", old)
    print(f"1..{tap.n}")
    return 1 if tap.failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", type=pathlib.Path, required=True, help="the instrumented .ko")
    parser.add_argument("--layout", type=pathlib.Path, required=True,
                        help="lines of SECTION core|init OFFSET")
    parser.add_argument("--reasons", type=pathlib.Path, default=HERE / "reasons")
    parser.add_argument("--minimum", type=float, default=90, metavar="PERCENT")
    parser.add_argument("hits", nargs="+", help="what sluice_cov/hits said")
    args = parser.parse_args()
    module = args.module.resolve()
    source = Source(HERE.parents[1])
    edges = symbolise(module, call_sites(module), module.parent)
    read_hits(edges, args.layout, args.hits)
    # what KASAN adds to each file is not the module's
    edges = [e for e in edges if not e.frames[-1].function.startswith("_sub_")]
    reasons = read_reasons(args.reasons)
    give_reasons(edges, reasons, source)
    sys.exit(report(edges, reasons, source, args.minimum))


if __name__ == "__main__":
    main()
