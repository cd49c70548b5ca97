# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# What of the module the tests reach: SEED= and OPS= are those of the hostile program.

suite_coverage() {
	need kernel-debug
	tap coverage tests/coverage/run --fresh ${SEED:+--seed "$SEED"} ${OPS:+--ops "$OPS"}
	grep -E '^# kmod/|^(not )?ok' "$logs/coverage.log"
}
