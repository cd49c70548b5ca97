# SPDX-License-Identifier: MIT
"""Turns the JSON of scripts/perf-model into the columns that model.gp plots.

usage: model_plot.py build/perf/model.json > build/perf/model.dat
"""
import json
import sys

KEYS = ("decode_tokens_per_s", "streams_tokens_per_s", "prefill_tokens_per_s")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        rows = json.load(file)["rows"]
    print("program decode least most streams least most prefill least most")
    for name, row in rows.items():
        cells = [row[key][part] if key in row else 0
                 for key in KEYS for part in ("median", "min", "max")]
        print(f'"{name}"', *(f"{cell:.2f}" for cell in cells))


if __name__ == "__main__":
    main()
