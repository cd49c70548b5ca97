# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# The real source, broken one place at a time: does the named test notice? COUNT= and SEED= may be set.

suite_mutants() {
	need packages tcg
	need kernel-uml kernel-debug kernel-tcg 6.1 headers 6.1
	build tests
	tap mutants tests/mutants/run ${COUNT:+--count "$COUNT"} ${SEED:+--seed "$SEED"}
	# shellcheck disable=SC2154 # logs is scripts/check's
	grep -h -e '^# seed' -e '^# score' "$logs/mutants.log"
}

# A few that need no other kernel and little time, one of each kind of test; with SEED= others.
suite_mutants_short() {
	local -a which=(--brief)
	local name
	for name in nack_of_others repair_no_evict copies_come late_publish holds_stage; do
		which+=(--only "$name")
	done
	[ -z "${SEED:-}" ] || which=(--no-debug --count "${COUNT:-5}" --seed "$SEED")
	need kernel-uml
	build tests
	tap mutants-short tests/mutants/run "${which[@]}"
	grep -h -e '^# seed' -e '^# score' "$logs/mutants-short.log"
}
