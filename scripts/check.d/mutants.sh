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

# Always the same ones, unless SEED= says which; of those that need no other kernel.
suite_mutants_short() {
	need kernel-uml
	build tests
	tap mutants-short tests/mutants/run --no-debug --count "${COUNT:-5}" --seed "${SEED:-1}"
	grep -h -e '^# seed' -e '^# score' "$logs/mutants-short.log"
}
