# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Suites with hostile neighbours, and with memory that runs out: OPS= and SEED= may be set.

# sltest on KERNEL, uml or debug: hostile_on NAME KERNEL OPTION...
hostile_on() {
	local name=$1 kernel=$2 box=(--kind uml)
	shift 2
	[ "$kernel" = uml ] || box+=(--kernel "$kernel")
	need "kernel-$kernel"
	scripts/build-kmod "$kernel" >/dev/null || failed=$((failed + 1))
	build tests
	tap "$name" inbox "${box[@]}" -- "$O/tests/hostile/sltest" \
		--module "$(scripts/build-kmod --print "$kernel")" "$@"
	# shellcheck disable=SC2154 # logs is scripts/check's
	grep -h -e '^# again' -e '^# seed' "$logs/$name.log"
}

# The same operations every time, unless SEED= says otherwise.
suite_hostile_short() {
	hostile_on hostile-short uml --seed "${SEED:-1}" --ops 1000000 --seconds 15
}

suite_hostile() {
	BOX_TIMEOUT=10800 hostile_on hostile debug --ops "${OPS:-1000000}" ${SEED:+--seed "$SEED"}
}

# fail_nth NAME OPERATION...: every allocation of these operations (default: all) fails once.
fail_nth() {
	local name=$1
	shift
	need kernel-debug
	scripts/build-kmod debug >/dev/null || failed=$((failed + 1))
	build tests
	BOX_TIMEOUT=3600 tap "$name" inbox --kind uml --kernel debug --leaks -- \
		"$O/tests/hostile/fail_nth" --module "$(scripts/build-kmod --print debug)" "$@"
}

suite_fail_nth() {
	fail_nth fail-nth
}
