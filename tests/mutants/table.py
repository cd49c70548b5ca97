# SPDX-License-Identifier: MIT
"""Reads the table of mutants, and applies one to a source text."""

import dataclasses
import re


class Stale(Exception):
    """The table does not fit the source."""


def body(text, function):
    """Where the body of a C function begins and ends in @text."""
    found = [m for m in re.finditer(
        rf"^[A-Za-z_](?:[^\n;{{}}]*\W)?{re.escape(function)}\([^;{{}}]*\)\n\{{\n", text, re.M)]
    if len(found) != 1:
        raise Stale(f"function {function}() is there {len(found)} times")
    return found[0].end(), text.index("\n}", found[0].end()) + 1


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One place where the source is broken, and the test that has to notice."""

    name: str
    rule: str
    file: str
    function: str
    old: str
    new: str
    test: str

    def apply(self, text):
        try:
            begin, end = body(text, self.function) if self.function else (0, len(text))
        except Stale as error:
            raise Stale(f"mutant {self.name}: {self.file}: {error}") from None
        count = text.count(self.old, begin, end)
        if count != 1:
            raise Stale(f"mutant {self.name} is stale: its old text is there {count} times, in "
                        f"{self.file} {self.function}: {self.old!r}")
        return text[:begin] + text[begin:end].replace(self.old, self.new) + text[end:]

    def with_test(self, test):
        return dataclasses.replace(self, test=test)


def unescape(field):
    return field.strip().replace("\\n", "\n").replace("\\t", "\t")


def read(path):
    """name :: rule :: file [function] :: old text :: new text :: test"""
    mutants = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = re.split(r" ::(?= )", line)
        if len(fields) != 6:
            raise Stale(f"{path}:{number}: {len(fields)} fields instead of 6")
        name, rule, place, old, new, test = map(unescape, fields)
        file, _, function = place.partition(" ")
        mutants.append(Mutant(name, rule, file, function, old, new, test))
        if old == new:
            raise Stale(f"{path}:{number}: {name} changes nothing")
    double = {m.name for m in mutants if sum(n.name == m.name for n in mutants) > 1}
    if double:
        raise Stale(f"{path}: more than one mutant is called {', '.join(sorted(double))}")
    return mutants
