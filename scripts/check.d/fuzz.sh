# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Fuzzing of everything that reads what others wrote: EXECS= and SEED= may be set.

fuzz() {
	local name=$1
	shift
	need packages fuzz
	say "building the fuzz targets"
	if ! make -s -j"$(nproc)" -C tests/fuzz >"$logs/fuzz-build.log" 2>&1; then
		tail -n 20 "$logs/fuzz-build.log" >&2
		failed=$((failed + 1))
		return
	fi
	tap "$name" tests/fuzz/run ${SEED:+--seed "$SEED"} "$@"
	grep -E '^ok|^# ' "$logs/$name.log"
}

suite_fuzz() {
	fuzz fuzz --execs "${EXECS:-10000000}"
}

suite_fuzz_short() {
	fuzz fuzz-short --seconds 24
}
