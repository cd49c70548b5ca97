#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the independent reference says to the prompts of pipeline_test.py, as one JSON file.

Slow (a forward pass in numpy), so an answer is kept in the cache by the content of model, reference
and request.

example: pipeline_references.py --model smollm2.gguf --out references.json
"""

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
REQUESTS = [
    {"prompt": "Once upon a time", "raw": True, "tokens": 24},
    {"prompt": "Give me three tips for staying healthy.", "raw": False, "tokens": 32},
    {"prompt": "def fibonacci(n):\n    ", "raw": True, "tokens": 32},
    {"prompt": "Übersetze ins Englische: Größe, 你好, naïve café 🦊", "raw": False, "tokens": 24},
    {"prompt": "1 2 3 4 5 6 7", "raw": True, "tokens": 16},
    {"prompt": "The quick brown fox jumps over the lazy dog. " * 40, "raw": True, "tokens": 16},
    {"prompt": "What is 2 + 2? Answer with one number.", "raw": False, "tokens": 48},
]


def cache_dir():
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    path = pathlib.Path(os.environ.get("SLUICE_CACHE") or f"{home}/sluice") / "references"
    path.mkdir(parents=True, exist_ok=True)
    return path


def digest(*parts):
    h = hashlib.sha256()
    for part in parts:
        h.update(hashlib.sha256(part).digest())
    return h.hexdigest()


def answer(model, model_digest, request):
    """The reference's JSON, from the cache or computed now."""
    code = b"".join((HERE / name).read_bytes() for name in ("reference.py", "hf_tokenizer.py"))
    key = digest(model_digest, code, json.dumps(request, sort_keys=True).encode())
    path = cache_dir() / f"{key}.json"
    if not path.exists():
        print(f"# reference: {request['prompt'][:40]!r}", file=sys.stderr, flush=True)
        command = [sys.executable, str(HERE / "reference.py"), "--tokens", str(request["tokens"])]
        command += ["--raw"] * request["raw"] + [model, "-"]
        out = subprocess.run(command, input=request["prompt"].encode(), check=True,
                             stdout=subprocess.PIPE).stdout
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(out)
        temporary.rename(path)
    return json.loads(path.read_bytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()

    model_digest = hashlib.sha256(pathlib.Path(args.model).read_bytes()).digest()
    answers = [{"request": r, "reference": answer(args.model, model_digest, r)} for r in REQUESTS]
    pathlib.Path(args.out).write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main()
