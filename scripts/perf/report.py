#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the measured part of docs/performance.md, and its plots, from the figures of perf-all.

What stands outside the two marks in the document is left alone. A step without figures is left
out, and its goals say so.
"""
import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
BEGIN, END = "<!-- measured: make perf writes from here -->", "<!-- measured: to here -->"
FOLD_ROWS = 16  # a longer table stands behind its plot
OURS = {"floor", "floor-data", "ring", "sluice", "sluice-batch"}


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figures", type=pathlib.Path, required=True, help="directory of JSON")
    parser.add_argument("--doc", type=pathlib.Path, required=True)
    parser.add_argument("--plots", type=pathlib.Path, required=True)
    return parser.parse_args()


class Figures:
    """The JSON files of the steps; a step that was not measured is None."""

    def __init__(self, directory):
        self.directory = directory
        self.steps = {}

    def __getitem__(self, step):
        if step not in self.steps:
            path = self.directory / f"{step}.json"
            self.steps[step] = json.loads(path.read_text()) if path.is_file() else None
        return self.steps[step]

    def rows(self, step, **wanted):
        """Rows of latency or throughput that were measured and are as wanted."""
        found = self[step]["rows"] if self[step] else []
        return [row for row in found if "failed" not in row and
                all(row.get(key) == value for key, value in wanted.items())]

    def row(self, step, **wanted):
        return next(iter(self.rows(step, **wanted)), None)

    def points(self, step, series):
        found = self[step]["points"] if self[step] else []
        return [point for point in found if point["series"] == series]

    def point(self, step, series, x):
        return next((p for p in self.points(step, series) if p["x"] == x), None)


# ---------------------------------------------------------------- numbers ---

def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def by_round(a, b):
    """Ratio of two lists of rounds: each round's two were measured within the same seconds."""
    return spread([x / y for x, y in zip(a, b)])


def show(value):
    """Three digits that mean something."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def show_spread(s):
    return f"{show(s['median'])} ({show(s['min'])} to {show(s['max'])})"


def show_ns(ns):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{show(ns / size)} {unit}"
    return f"{show(ns)} ns"


# ------------------------------------------------------------------ goals ---

class Goals:
    """Rows of the first table. @reached: None when it was not measured."""

    def __init__(self):
        self.lines = []

    def add(self, what, goal, measured, reached):
        sign = {True: "yes", False: "**no**", None: "not measured"}[reached]
        self.lines.append(f"| {what} | {goal} | {measured or ''} | {sign} |")

    def ratio(self, what, goal, s, most=None, least=None):
        """@s: a spread, or None."""
        if s is None:
            self.add(what, goal, None, None)
            return
        good = s["median"] <= most if most is not None else s["median"] >= least
        self.add(what, goal, show_spread(s), good)

    def table(self):
        return ["| | goal | measured: median (least to most of the rounds) | reached |",
                "| --- | --- | --- | --- |", *self.lines]


def peers_of(rows):
    return [row for row in rows if row["peer"] not in OURS]


def best(rows, key):
    return min(rows, key=key, default=None)


def latency_goals(figures, goals):
    spin = figures.row("latency", peer="sluice", mode="spin")
    goals.ratio("64 bytes there and back, spinning, acknowledged: times the floor", "≤ 1.3",
                spin and spin["ratio_floor"], most=1.3)
    rivals = peers_of(figures.rows("latency", mode="spin"))
    rival = best(rivals, lambda row: row["p50"])
    goals.ratio(f"the same, times the best peer's median ({rival['peer'] if rival else 'none'})",
                "≤ 1", spin and rival and by_round(spin["round_p50"], rival["round_p50"]), most=1)
    aeron = figures.row("latency", peer="aeron-embedded", mode="spin") or \
        best([r for r in rivals if r["peer"].startswith("aeron")], lambda row: row["p50"])
    goals.ratio("its p99, times Aeron's", "≤ 0.25", spin and aeron and
                spread([spin["p99"] / aeron["p99"]]), most=0.25)
    sleep = figures.row("latency", peer="sluice", mode="sleep")
    for name, title, most in (("unix", "a Unix stream's", 0.9), ("futex", "a futex's", 1.1)):
        other = figures.row("latency", peer=name, mode="sleep")
        goals.ratio(f"the same, sleeping, times {title}", f"≤ {most}", sleep and other and
                    by_round(sleep["round_p50"], other["round_p50"]), most=most)


SPIN_LIMIT_US = 50  # how long a context spins by default: the library's SLUICE_SPIN_US


def pause_goal(figures, goals):
    """Within its limit adaptive waiting has to be as good as spinning, beyond it as sleeping."""
    worst = {}
    for point in figures.points("pause", "adaptive"):
        spin, sleep = (figures.point("pause", name, point["x"])["value"]["median"]
                       for name in ("spin", "sleep"))
        mine = point["value"]["median"]
        beside = {"better": min(spin, sleep),
                  "own": spin if point["x"] < SPIN_LIMIT_US else sleep}
        for key, other in beside.items():
            if key not in worst or mine / other > worst[key][0]:
                worst[key] = mine / other, point["x"]

    def add(what, key):
        ratio, at = worst.get(key, (None, None))
        goals.add(what, "≤ 1.2", ratio and f"{show(ratio)} at {at:g} µs", ratio and ratio <= 1.2)

    add("adaptive waiting, times the better of spinning and sleeping, at any pause", "better")
    add(f"the same, times spinning up to pauses of {SPIN_LIMIT_US} µs, times sleeping beyond", "own")


def flow_goals(figures, goals):
    ours = figures.row("throughput", peer="sluice", size=64)
    ring = figures.row("throughput", peer="ring", size=64)
    rival = best(peers_of(figures.rows("throughput", size=64)), lambda row: row["ns"]["median"])
    goals.ratio(f"64 bytes one way: rate, times the best peer's ({rival['peer'] if rival else '-'})",
                "≥ 1.5", ours and rival and by_round(rival["round_ns"], ours["round_ns"]), least=1.5)
    goals.ratio("the same, times a raw ring's, which acknowledges nothing", "≥ 0.5",
                ours and ring and by_round(ring["round_ns"], ours["round_ns"]), least=0.5)
    batch = figures.row("throughput", peer="sluice-batch", size=64)
    goals.ratio("16 sent at a time: rate, times the best peer's", "≥ 1.5", batch and rival and
                by_round(rival["round_ns"], batch["round_ns"]), least=1.5)
    one, most = figures.point("scaling", "sluice", 1), figures.point("scaling", "sluice", 8)
    goals.ratio("8 producers, 8 consumers: total rate, times one pair's", "≥ 0.7",
                one and most and by_round(most["rounds"], one["rounds"]), least=0.7)


def payload_goals(figures, goals):
    ours = figures.row("payload", peer="sluice", size=1 << 20)
    ring = figures.row("payload", peer="ring", size=1 << 20)
    goals.ratio("1 MiB written in place, a word of each line read: times the raw ring", "≤ 1.05",
                ours and ring and by_round(ours["round_ns"], ring["round_ns"]), most=1.05)
    rival = best(peers_of(figures.rows("payload", size=1 << 20)), lambda row: row["ns"]["median"])
    goals.ratio(f"the same, times the best peer ({rival['peer'] if rival else 'none'})", "≤ 1",
                ours and rival and by_round(ours["round_ns"], rival["round_ns"]), most=1)
    small = figures.row("untouched", peer="sluice", size=4096)
    large = figures.row("untouched", peer="sluice", size=1 << 20)
    goals.ratio("payload that nobody touches: 1 MiB, times 4 KiB", "≈ 1 (≤ 1.1)", small and large
                and by_round(large["round_ns"], small["round_ns"]), most=1.1)


def load_knee(figures, series):
    """The largest load, in % of the peak, before a percentile leaves what it was."""
    values = {p["x"]: p["value"]["median"] for p in figures.points("load", series)}
    knee = None
    for load in sorted(values):
        if values[load] > 10 * values[min(values)]:
            break
        knee = load
    return knee


def other_goals(figures, goals):
    sync, window = figures.point("window", "sync", 1), figures.point("window", "async", 256)
    goals.ratio("sends told of their ACK: 256 under way, rate times one at a time", "≥ 5",
                sync and window and by_round(sync["rounds"], window["rounds"]), least=5)
    for n in (2, 4, 8):
        point = figures.point("broadcast", "broadcast", n)
        goals.ratio(f"broadcast to {n}: cost for each, times a unicast to each", "≤ 0.6",
                    point and point["ratio"], most=0.6)
    for series in ("p50", "p99"):
        knee = load_knee(figures, series)
        goals.add(f"knee of latency against load ({series} within 10 × its value at 5 %)",
                  "≥ 80 % of peak", knee and f"{knee:g} %", knee and knee >= 80)
    idle = figures["idle"]
    goals.add("100 sleeping endpoints", "0.0 % CPU", idle and f"{idle['cpu_percent']:.2f} %, "
              f"{idle['resident_bytes'] / idle['endpoints'] / 1024:.1f} KiB of stage memory each",
              idle and idle["cpu_percent"] < 0.05)


def capacity_goals(figures, goals):
    for series, what in (("create", "create"), ("attach", "attach to")):
        points = figures.points("capacity", series)
        ratio = points and by_round(points[-1]["rounds"], points[0]["rounds"])
        goals.ratio(f"{what} stage {points[-1]['x']:.0f}, times stage {points[0]['x']:.0f}"
                    if points else f"{what} the 10,000th stage", "≈ 1 (≤ 1.5)", ratio or None,
                    most=1.5)
    points = figures.points("capacity", "create, by slots")
    goals.ratio("create a stage of 2^20 slots, times one of 64", "O(1) (≤ 5)", points and
                by_round(points[-1]["rounds"], points[0]["rounds"]) or None, most=5)


def death_goals(figures, goals):
    recovery = figures["recovery"]
    for kind, title in (("holds", "holding a message"), ("parked", "and a parked command")):
        p99 = recovery and recovery[kind]["redelivered_ns"]["p99"]
        goals.add(f"death of a consumer {title}, to redelivery: p99", "< 1 ms",
                  p99 and show_ns(p99), p99 and p99 < 1e6)
    start = figures["start"]
    s = start and spread(start["first_token"])
    goals.add("`sluicectl up` to the first token", "≤ 1 s", s and f"{show_spread(s)} s",
              s and s["median"] <= 1)


MODEL_GOALS = (
    ("one stream: pipeline / single", "pipeline of four daemons, times one process, 1 stream",
     0.98),
    ("8 streams: pipeline / single", "the same, 8 streams", 0.98),
    ("prefill: single / llama.cpp", "prefill of 512 tokens, times llama.cpp", 2),
    ("one stream: single / llama.cpp", "one stream, times llama.cpp", 1),
    ("8 streams: single / llama.cpp", "8 streams, times llama.cpp", 1),
)


def model_goals(figures, goals):
    ratios = figures["model"]["ratios"] if figures["model"] else {}
    for key, title, least in MODEL_GOALS:
        goals.ratio(title, f"≥ {least}", ratios.get(key), least=least)


# ----------------------------------------------------------------- tables ---

def latency_table(figures, mode):
    lines = ["| peer | p50 | p99 | p99.9 | times the floor | sluice's p50, times it |",
             "| --- | --- | --- | --- | --- | --- |"]
    ours = figures.row("latency", peer="sluice", mode=mode)
    every = {row["peer"]: None for row in figures["latency"]["rows"]}
    for row in figures["latency"]["rows"]:
        if row["mode"] != mode:
            continue
        every.pop(row["peer"], None)
        if "failed" in row:
            lines.append(f"| {row['peer']} | failed: {row['failed']} | | | | |")
            continue
        beside = "" if not ours or row["peer"] == "sluice" else \
            show_spread(by_round(ours["round_p50"], row["round_p50"]))
        floor = show_spread(row["ratio_floor"]) if "ratio_floor" in row else ""
        lines.append(f"| {row['peer']} | {show_ns(row['p50'])} | {show_ns(row['p99'])} | "
                     f"{show_ns(row['p99_9'])} | {floor} | {beside} |")
    if every:
        lines += ["", f"Not made to wait like that: {', '.join(every)}."]
    return lines


def throughput_table(figures, step):
    lines = ["| peer | bytes | time | a second | GB/s | time, times the raw ring's |",
             "| --- | --- | --- | --- | --- | --- |"]
    for row in figures[step]["rows"]:
        if "failed" in row:
            lines.append(f"| {row['peer']} | {row['size']} | {row['failed']} | | | |")
            continue
        ns = row["ns"]["median"]
        ring = show_spread(row["ratio_ring"]) if "ratio_ring" in row else ""
        lines.append(f"| {row['peer']} | {row['size']} | {show_ns(ns)} | {1e9 / ns:,.0f} | "
                     f"{show(row['size'] / ns)} | {ring} |")
    return lines


def points_table(figures, step):
    data = figures[step]
    lines = [f"| | {data['x']} | {data['unit']} | ratio |", "| --- | --- | --- | --- |"]
    for point in data["points"]:
        ratio = show_spread(point["ratio"]) if "ratio" in point else ""
        lines.append(f"| {point['series']} | {point['x']:g} | {show_spread(point['value'])} | "
                     f"{ratio} |")
    return folded(lines) if len(data["points"]) > FOLD_ROWS else lines


def folded(lines):
    """A table that few read: the plot says it."""
    return ["<details><summary>The figures</summary>", "", *lines, "", "</details>"]


def idle_rows(figures):
    """Title, how it waits, percent of a processor."""
    idle = figures["idle"]
    rows = [("sluice", f"{idle['endpoints']} endpoints in all, asleep",
             idle["cpu_percent"])] if idle else []
    for row in (figures["peer-idle"] or {}).get("rows", []):
        rows.append((row["peer"], "asleep" if row["mode"] == "sleep" else "only spins",
                     row.get("cpu_percent", row.get("failed"))))
    return rows


def idle_table(figures):
    lines = ["| | waits | % of a processor |", "| --- | --- | --- |"]
    for name, how, percent in idle_rows(figures):
        shown = percent if isinstance(percent, str) else f"{percent:.1f}"
        lines.append(f"| {name} | {how} | {shown} |")
    return lines


def recovery_table(figures):
    lines = ["| | p50 | p90 | p99 | longest |", "| --- | --- | --- | --- | --- |"]
    for kind, title in (("holds", "sluice: a consumer that holds a message is killed"),
                        ("parked", "the same, with a command parked in io_uring")):
        p = figures["recovery"][kind]["redelivered_ns"]
        lines.append(f"| {title} | " + " | ".join(show_ns(p[k]) for k in
                                                  ("p50", "p90", "p99", "max")) + " |")
    for peer in (figures["peer-recovery"] or {}).get("rows", []):
        lines.append(f"| {peer['title']} | " + " | ".join(show_ns(peer[k]) for k in
                                                         ("p50", "p90", "p99", "max")) + " |")
    return lines


def model_table(figures):
    lines = ["| | tokens/s, one stream | prefill, tokens/s | 8 streams, tokens/s |",
             "| --- | --- | --- | --- |"]
    for name, row in figures["model"]["rows"].items():
        cells = [show_spread(row[key]) if key in row else "" for key in
                 ("decode_tokens_per_s", "prefill_tokens_per_s", "streams_tokens_per_s")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| ratio | |", "| --- | --- |"]
    lines += [f"| {name} | {show_spread(s)} |" for name, s in figures["model"]["ratios"].items()]
    return lines


# ------------------------------------------------------------------ plots ---

def gnuplot(script, **values):
    settings = "; ".join(f"{name}='{value}'" for name, value in values.items())
    try:
        done = subprocess.run(["gnuplot", "-e", settings, HERE / script], stdout=sys.stderr)
    except FileNotFoundError:
        sys.exit("report: plots need gnuplot; 'scripts/setup packages perf' installs it")
    if done.returncode:
        sys.exit(f"report: gnuplot failed on {values.get('data')}")


CURVES = (
    ("load", "Latency against offered load", "% of peak", "ns from when it was due", "y"),
    ("pause", "Round trips with pauses between them", "pause, us", "ns", "y"),
    ("sizes", "Messages one way, by size", "bytes", "GB/s", "x"),
    ("scaling", "Many producers and consumers on one ring", "pairs", "million/s", ""),
    ("broadcast", "Broadcast and unicast", "consumers", "ns for a message and consumer", ""),
)


def plots(figures, directory):
    directory.mkdir(parents=True, exist_ok=True)
    data = figures.directory / "latency.dat"
    if data.is_file():
        gnuplot("latency.gp", data=data, name=directory / "latency-distribution")
    for step, head, xname, yname, logs in CURVES:
        data = figures.directory / f"{step}.dat"
        if data.is_file():
            gnuplot("series.gp", data=data, name=directory / step, head=head, xname=xname,
                    yname=yname, logs=logs)
    if figures["recovery"]:
        plot_recovery(figures, directory)
    if figures["idle"]:
        data = figures.directory / "idle.dat"
        data.write_text("".join(f"{name}\t{percent}\n" for name, _, percent in idle_rows(figures)
                                if not isinstance(percent, str)))
        gnuplot("idle.gp", data=data, name=directory / "idle")


def plot_recovery(figures, directory):
    """Recovery percentiles as curves: the fraction of kills and how long they took."""
    data = figures.directory / "recovery.dat"
    places = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    series = [(kind, figures["recovery"][kind]["redelivered_ns"]) for kind in ("holds", "parked")]
    series += [(peer["peer"], peer) for peer in (figures["peer-recovery"] or {}).get("rows", [])]
    blocks = ['"%s"\n' % name + "".join(f"{x} {p[key]}\n" for key, x in places.items())
              for name, p in series]
    data.write_text("\n\n".join(blocks))
    gnuplot("series.gp", data=data, name=directory / "recovery",
            head="From the death of a consumer to its message elsewhere", xname="percentile",
            yname="ns", logs="y")


# --------------------------------------------------------------- document ---

def picture(options, name):
    path = options.plots / f"{name}.svg"
    return [f"![{name}]({options.plots.name}/{name}.svg)", ""] if path.is_file() else []


def section(title, lines):
    return [f"### {title}", "", *lines, ""]


def sections(figures, options):
    out = []
    if figures["latency"]:
        out += section("Round trips of 64 bytes, spinning", latency_table(figures, "spin"))
        out += section("Round trips of 64 bytes, sleeping", latency_table(figures, "sleep"))
        out += section("Round trips of 64 bytes, spinning for a while before sleeping",
                       latency_table(figures, "adaptive"))
        out += picture(options, "latency-distribution")
    for step, title in (("throughput", "One way, 64 bytes"), ("payload", "A payload of 1 MiB"),
                        ("untouched", "A payload of which only the first word is touched"),
                        ("sizes", "One way, by size")):
        if figures[step]:
            out += section(title, throughput_table(figures, step)) + picture(options, step)
    for step, title in (("scaling", "Many producers and consumers"), ("window", "Sends told of "
                        "their ACK"), ("broadcast", "Broadcast"), ("load", "Offered load"),
                        ("pause", "Pauses"), ("capacity", "Many stages, large stages")):
        if figures[step]:
            out += section(title, picture(options, step) + points_table(figures, step))
    if figures["idle"]:
        out += section("Idle", idle_table(figures)) + picture(options, "idle")
    if figures["recovery"]:
        out += section("Death to redelivery", recovery_table(figures)) + picture(options, "recovery")
    if figures["model"]:
        out += section("SmolLM2-135M", model_table(figures))
    return out


def measured(figures, options):
    goals = Goals()
    for add in (latency_goals, pause_goal, flow_goals, payload_goals, other_goals, capacity_goals,
                death_goals, model_goals):
        add(figures, goals)
    machine = next((figures[s]["machine"] for s in ("latency", "throughput", "scaling", "load")
                    if figures[s]), {})
    lines = ["## Measured", ""]
    if machine:
        lines += [f"On {machine['cpu']}, {machine['processors']} processors, Linux "
                  f"{machine['kernel']}, box `{machine['box']}`.", ""]
    return lines + goals.table() + [""] + sections(figures, options)


def main():
    options = parse_options()
    figures = Figures(options.figures)
    plots(figures, options.plots)
    text = options.doc.read_text() if options.doc.is_file() else f"{BEGIN}\n{END}\n"
    if not re.search(f"{BEGIN}.*{END}", text, re.S):
        sys.exit(f"report: {options.doc} has not the lines '{BEGIN}' and '{END}'")
    body = "\n".join([BEGIN, "", *measured(figures, options), END])
    options.doc.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: body, text, flags=re.S))


main()
