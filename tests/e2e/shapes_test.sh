#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs shapes_test.py in a box; arguments are passed on. Everything must have been set up and built
# (scripts/check shapes does that). Prints TAP.
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd -P)
export O=${O:-$top/build}
model=${MODEL:-$("$top/scripts/setup" --print model)}

# BOX_KERNEL=uml (default), debug, or 6.1, 6.12, 7.2 under tcg; those want a small MODEL.
kernel=${BOX_KERNEL:-uml}
case $kernel in
uml) box=(--kind uml) ;;
debug) box=(--kind uml --kernel debug) ;;
*) box=(--kind tcg --kernel "$kernel") ;;
esac
exec "$top/scripts/box" "${box[@]}" --timeout "${BOX_TIMEOUT:-900}" -- \
	python3 "$top/tests/e2e/shapes_test.py" --model "$model" \
	--module "$("$top/scripts/build-kmod" --print "$kernel")" "$@"
