#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs errors_test.py in a box. Everything must have been set up and built (scripts/check errors does
# that). Prints TAP.
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd -P)
export O=${O:-$top/build}
exec "$top/scripts/box" --kind uml --timeout "${BOX_TIMEOUT:-900}" -- \
	python3 "$top/tests/e2e/errors_test.py" --model "$("$top/scripts/setup" --print model)" \
	--module "$("$top/scripts/build-kmod" --print uml)" "$@"
