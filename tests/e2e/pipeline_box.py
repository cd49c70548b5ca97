# SPDX-License-Identifier: MIT
"""A running pipeline inside a box, for the end-to-end tests; and TAP on standard output."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("O", ROOT / "build"))
SLUICECTL = BUILD / "bin" / "sluicectl"
STAGES = ("embedding", "encoder", "decoder", "output")
NAME = "smollm2"


class Tap:
    """Counts checks and prints them as TAP; a failed one says why in a diagnostic line."""

    def __init__(self):
        self.count = self.failed = 0

    def ok(self, good, name, why=""):
        self.count += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.count} - {name}", flush=True)
        if not good and why != "":
            for line in str(why).splitlines():
                print(f"# {line}", flush=True)
        return good

    def equal(self, got, want, name):
        return self.ok(got == want, name, f"got:  {got!r}\nwant: {want!r}")

    def finish(self):
        print(f"1..{self.count}", flush=True)
        sys.exit(self.failed > 0)


class RunFailed(Exception):
    """sluicectl run ended with an error."""

    def __init__(self, status, stderr):
        super().__init__(f"exit status {status}: {stderr.strip()}")
        self.status, self.stderr = status, stderr


def wait_until(condition, seconds=30.0, step=0.02):
    """The condition's value as soon as it is true; what it is at the end otherwise."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(step)
    return value


class Pipeline:
    """The module, four stages, four daemons. Use as a context."""

    def __init__(self, model, module, file=ROOT / "userspace" / "pipelines" / f"{NAME}.toml"):
        self.model, self.module, self.file = model, module, file
        self.inserted = False

    def __enter__(self):
        if not os.path.exists("/dev/sluice/control"):
            subprocess.run(["insmod", self.module], check=True)
            self.inserted = True
        up = [SLUICECTL, "up", "--detach", "--set", f"model={self.model}", self.file]
        subprocess.run(up, check=True, stdout=sys.stderr)
        return self

    def __exit__(self, *exc):
        subprocess.run([SLUICECTL, "down", NAME], check=not exc[0], stdout=sys.stderr)
        if self.inserted:
            subprocess.run(["rmmod", "sluice"], check=not exc[0])

    # ------------------------------------------------------------ asking

    @staticmethod
    def command(prompt, *options):
        return [SLUICECTL, "run", *options, "--", prompt]

    def start(self, prompt, *options):
        """A run whose standard output is read by the caller, byte by byte if he likes."""
        return subprocess.Popen(self.command(prompt, *options), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, bufsize=0)

    @staticmethod
    def finish(run, timeout=180):
        """What a run has printed, or RunFailed."""
        try:
            out, err = run.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            run.kill()
            raise RunFailed(-1, f"no end after {timeout} s: {run.communicate()[1]}") from None
        if run.returncode:
            raise RunFailed(run.returncode, err.decode(errors="replace"))
        return out

    def ask(self, prompt, *options, timeout=180):
        """The JSON of one run."""
        return json.loads(self.finish(self.start(prompt, "--json", *options), timeout))

    # ------------------------------------------------------------ looking

    @staticmethod
    def show(stage):
        out = subprocess.run([SLUICECTL, "show", stage, "--json"], check=True,
                             stdout=subprocess.PIPE).stdout
        found = json.loads(out)
        return found[0] if isinstance(found, list) else found

    def pid(self, stage):
        """The daemon of a stage, or None while there is none."""
        for e in self.show(stage)["endpoints"]:
            if e["role"] == "consumer":
                return e["pid"]
        return None

    def pids(self):
        return {stage: self.pid(stage) for stage in STAGES}

    @staticmethod
    def stage_names():
        out = subprocess.run([SLUICECTL, "list", "--json"], check=True,
                             stdout=subprocess.PIPE).stdout
        return [s["name"] for s in json.loads(out)]

    def reply_stages(self):
        return [n for n in self.stage_names() if n.startswith("reply.")]

    def signal(self, stage, number=signal.SIGKILL):
        """Send a signal to a stage's daemon as soon as it has one; its pid."""
        pid = wait_until(lambda: self.pid(stage))
        os.kill(pid, number)
        return pid

    def quiet(self):
        """Nothing is in the rings; True once that is so."""
        return wait_until(lambda: not any(
            self.show(s)[k] for s in STAGES for k in ("ready", "claimed", "writing", "queued")))

    def send(self, stage, payload, kind, stream=0, counter=0):
        """Inject a message; the status of sluicectl send."""
        return subprocess.run([SLUICECTL, "send", stage, "--kind", str(kind), "--stream",
                               str(stream), "--counter", str(counter), "--file", "-"],
                              input=payload, check=False).returncode
