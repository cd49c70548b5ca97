# SPDX-License-Identifier: MIT
"""Every name in the tables of docs/protocol.md and docs/guarantees.md stands for something."""

import fnmatch
import re
import subprocess

LABELS = ("model", "spin", "mutants", "unit", "check")


def rows(text):
    """Cells of the tables, without heads and rules."""
    for line in text.splitlines():
        if line.startswith("|") and not re.match(r"\|[\s|:-]+$", line):
            yield [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def code(cell):
    return re.findall(r"`([^`]+)`", cell)


class Known:
    """What the tree has."""

    def __init__(self, top, mutants):
        self.top = top
        self.files = subprocess.run(["git", "ls-files"], cwd=top, check=True, text=True,
                                    stdout=subprocess.PIPE).stdout.split()
        sources = [f for f in self.files if re.match(r"(kmod|lib|userspace)/.*\.(c|h|cc)$", f)]
        self.words = set()
        for name in sources:
            self.words |= set(re.findall(r"\w+", (top / name).read_text(errors="replace")))
        self.tests = {f.rsplit("/", 1)[1].split(".")[0] for f in self.files
                      if re.match(r"tests/(selftests|unit|e2e|kbuild)/[^/]+(\.(c|py|sh))?$", f)}
        model = (top / "tests/model/configs.c").read_text()
        self.model = set(re.findall(r'\.name = "(\w+)"', model)) | \
            set(re.findall(r"^\tX\((\w+),", model, re.M))
        self.spin = set()
        for name in ("tests/spin/mutants", "tests/spin/configs"):
            if (top / name).is_file():
                self.spin |= set(re.findall(r"^(\w+)\s*\|", (top / name).read_text(), re.M))
        self.mutants = mutants
        self.suites = set()
        for name in self.files:
            if name.startswith("scripts/check.d/"):
                self.suites |= set(re.findall(r"^suite_(\w+)\(", (top / name).read_text(), re.M))

    def in_code(self, name):
        """A function, a structure, a macro, or a file."""
        if "/" in name or "." in name:
            return any(f == name or f.endswith("/" + name) for f in self.files)
        words = re.findall(r"\w+", name.replace("*", ""))
        if "*" in name:
            return any(fnmatch.fnmatch(w, name) for w in self.words)
        return all(w in self.words for w in words)

    def has(self, label, name):
        pool = {"model": self.model, "spin": self.spin, "mutants": self.mutants}.get(label)
        if pool is None:
            pool = self.tests
        return any(fnmatch.fnmatch(n, name) for n in pool)


def noticed_by(known, cell):
    """`label: a`, `b`; the label holds until the next one or the next semicolon."""
    for part in cell.split(";"):
        label = re.match(r"\s*(\w+)\b(?!`)", part)
        label = label.group(1) if label and label.group(1) in LABELS else ""
        for name in code(part):
            if not known.has(label, name):
                yield name, label or "test"


def missing(top, mutants):
    """Names in the tables that nothing answers to, one line each."""
    known = Known(top, mutants)
    wrong = []
    for cells in rows((top / "docs/protocol.md").read_text()):
        if len(cells) != 4 or not re.match(r"P\d+|\(\w\)", cells[0]):
            continue
        wrong += [f"docs/protocol.md: {cells[0]}: the tree has no `{name}`"
                  for name in code(cells[2]) if not known.in_code(name)]
        wrong += [f"docs/protocol.md: {cells[0]}: no {label} is called `{name}`"
                  for name, label in noticed_by(known, cells[3])]
    guarantees = top / "docs/guarantees.md"
    for name in code(guarantees.read_text()) if guarantees.is_file() else []:
        suite = re.fullmatch(r"(?:make )?check-([\w-]+)", name)
        if suite and suite.group(1).replace("-", "_") not in known.suites:
            wrong.append(f"docs/guarantees.md: there is no suite {suite.group(1)}")
        elif re.fullmatch(r"(kmod|lib)_[\w*]+", name) and not known.has("", name):
            wrong.append(f"docs/guarantees.md: no test is called `{name}`")
    return wrong
