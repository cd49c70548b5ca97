# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Suites that kill: processes of a pipeline, all the time, and a history that shows what became of
# every message.

# On the module: storm_on KERNEL LOAD OPTION..., with LOAD one of pipe, broadcast, calls, and
# classes of priority whose policies change all the time.
# shellcheck disable=SC2154 # logs is scripts/check's
storm_on() {
	local kernel=$1 load=$2 how=()
	shift 2
	case $load in
	pipe) ;;
	classes) how=(--classes --policies --producers 4) ;;
	*) how=("--$load") ;;
	esac
	tap "storm-$load-$kernel" tests/storm/run --kernel "$kernel" \
		--timeout "${BOX_TIMEOUT:-900}" --keep "$logs/storm-$load-$kernel.history" \
		"${how[@]}" "$@"
}

# What make check has time for.
suite_storm_short() {
	uml_ready
	tap history env CMOCKA_MESSAGE_OUTPUT=TAP "$O/tests/history_test"
	tap storm-user "$O/tests/storm/storm" --kills 10000 --seconds 20 \
		--keep "$logs/storm-user.history"
	tap storm-broadcast-user "$O/tests/storm/storm" --broadcast --kills 10000 --seconds 10 \
		--round 100 --keep "$logs/storm-broadcast-user.history"
	storm_on uml pipe --kills 100 --idle 20
	storm_on uml broadcast --kills 100
	storm_on uml classes --kills 100
	storm_on uml calls --kills 100
}

suite_storm() {
	uml_ready
	need model
	tap history env CMOCKA_MESSAGE_OUTPUT=TAP "$O/tests/history_test"
	tap storm-user "$O/tests/storm/storm" --kills 10000 --keep "$logs/storm-user.history"
	tap storm-broadcast-user "$O/tests/storm/storm" --broadcast --kills 5000 \
		--keep "$logs/storm-broadcast-user.history"
	storm_on uml pipe --kills 1000 --idle 50
	storm_on uml broadcast --kills 1000
	storm_on uml classes --kills 1000 --idle 50
	storm_on uml calls --kills 1000 --policies
	tap storm-classes-order tests/storm/run --kills 500 --classes --producers 4
	tap storm-no-uring tests/storm/run --kills 300 --idle 20 --no-uring
	tap storm-pipeline tests/e2e/kill_storm.sh --kills 40
}

# With a tiny random model: a real one is too slow on a processor in software.
suite_storm_kernels() {
	local kernel tiny=$O/tests/tiny.gguf
	need packages tcg
	need venv e2e tests/e2e/requirements.txt
	build tests
	"$(scripts/setup --print venv-e2e)/bin/python" tests/e2e/make_tiny_model.py "$tiny" ||
		failed=$((failed + 1))
	for kernel in 6.1 6.12 7.2; do
		need kernel-tcg "$kernel" headers "$kernel"
		BOX_TIMEOUT=3600 storm_on "$kernel" pipe --kills 1000 --idle 50
		BOX_TIMEOUT=3600 storm_on "$kernel" broadcast --kills 500
		BOX_TIMEOUT=3600 storm_on "$kernel" classes --kills 500
		BOX_TIMEOUT=3600 storm_on "$kernel" calls --kills 500
		tap "storm-pipeline-$kernel" env BOX_KERNEL="$kernel" MODEL="$tiny" \
			tests/e2e/kill_storm.sh --kills 30
	done
}
