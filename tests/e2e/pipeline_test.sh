#!/bin/bash
# SPDX-License-Identifier: MIT
# Makes the references with the independent implementation, then runs pipeline_test.py in a box.
# Everything must have been set up and built (scripts/check pipeline does that). Prints TAP.
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd -P)
export O=${O:-$top/build}
model=${MODEL:-$("$top/scripts/setup" --print model)}
python=$("$top/scripts/setup" --print venv-e2e)/bin/python

mkdir -p "$O/tests"
"$python" "$top/tests/e2e/pipeline_references.py" --model "$model" --out "$O/tests/references.json"
# BOX_KERNEL=uml (default), debug, or 6.1, 6.12, 7.2 under tcg; those want a small MODEL.
kernel=${BOX_KERNEL:-uml}
case $kernel in
uml) box=(--kind uml) ;;
debug) box=(--kind uml --kernel debug) ;;
*) box=(--kind tcg --kernel "$kernel") ;;
esac
exec "$top/scripts/box" "${box[@]}" --timeout "${BOX_TIMEOUT:-900}" -- \
	python3 "$top/tests/e2e/pipeline_test.py" --model "$model" \
	--module "$("$top/scripts/build-kmod" --print "$kernel")" --references "$O/tests/references.json"
