# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Death between any two instructions of the library: SEED= and, for the long one, SECONDS_MAX=.

suite_crash() {
	tap crash tests/crash/run ${SEED:+--seed "$SEED"} ${SECONDS_MAX:+--seconds "$SECONDS_MAX"}
	tap crash-mutants tests/crash/run --mutants
	grep -h '^# ' "$logs/crash.log"
}

suite_crash_short() {
	tap crash tests/crash/run --seconds 20 ${SEED:+--seed "$SEED"}
	tap crash-mutants tests/crash/run --mutants tail_early reap_not_held
	tap crash-stale tests/crash/run --stale
	grep -h '^# ' "$logs/crash.log"
}
