#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs kill_test.py in a box; arguments are passed on. Everything must have been set up and built
# (scripts/check kill does that). Prints TAP.
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd -P)
export O=${O:-$top/build}
model=${MODEL:-$("$top/scripts/setup" --print model)}

exec "$top/scripts/box" --kind uml --timeout "${BOX_TIMEOUT:-900}" -- \
	python3 "$top/tests/e2e/kill_test.py" --model "$model" \
	--module "$("$top/scripts/build-kmod" --print uml)" "$@"
